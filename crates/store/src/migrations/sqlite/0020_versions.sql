-- A value may end by time; one that was brought back says from where; a request's log row says which versions it used.
alter table credential_versions add column expires_at integer;
alter table credential_versions add column restored_from integer;

alter table request_log_sources add column credential_versions text not null default '[]';
-- The number of the first row that may name it. A source is named for a bounded number of rows, so that unused ones are
-- found without looking at the rows.
alter table request_log_sources add column first_row integer not null default 0;
update request_log_sources set first_row = (select next from request_log_sequence);
drop index request_log_sources_vault;
create index request_log_sources_use on request_log_sources (vault_no, first_row);

drop view request_log;
create view request_log as
    select l.id, l.vault_no, v.vault_id, s.actor_type, s.actor_id, s.session_id, s.label, s.ingress, s.method, s.host,
        l.path, s.matched_service, s.credential_keys, s.credential_versions, s.status, l.latency_ms, s.error_code,
        s.auth_scheme, s.auth_header, s.decision, s.warnings, l.scrubs, l.created_at
    from request_logs l
    join request_log_sources s on s.id = l.source_id
    join request_log_vaults v on v.no = l.vault_no;
