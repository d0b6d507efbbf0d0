-- How often an injected value was found in an answer, and replaced.
alter table request_logs add column scrubs integer not null default 0;

drop view request_log;
create view request_log as
    select l.id, l.vault_no, v.vault_id, s.actor_type, s.actor_id, s.session_id, s.label, s.ingress, s.method, s.host,
        l.path, s.matched_service, s.credential_keys, s.status, l.latency_ms, s.error_code, s.auth_scheme,
        s.auth_header, s.decision, s.warnings, l.scrubs, l.created_at
    from request_logs l
    join request_log_sources s on s.id = l.source_id
    join request_log_vaults v on v.no = l.vault_no;
