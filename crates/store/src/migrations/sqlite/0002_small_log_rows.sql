-- A row of the request log holds what differs from request to request; all else is in its source. Rows lie in the order
-- of their vault and number, so that they need no index beside themselves.
drop view request_log;
drop trigger request_logs_of_gone_vaults;
drop index request_log_sources_vault;
drop index request_logs_vault;
alter table request_logs rename to request_logs_1;
alter table request_log_sources rename to request_log_sources_1;

create table request_log_sources (
    id integer primary key autoincrement,
    vault_no integer not null references request_log_vaults (no) on delete cascade,
    actor_type text not null,
    actor_id text not null,
    session_id text not null,
    label text not null,
    ingress text not null,
    method text not null,
    host text not null,
    matched_service text not null,
    credential_keys text not null,
    status integer not null,
    error_code text not null,
    auth_scheme text not null,
    auth_header text not null,
    decision text not null,
    warnings text not null,
    created_at integer not null
) strict;
create index request_log_sources_vault on request_log_sources (vault_no);

create table request_logs (
    vault_no integer not null,
    id integer not null,
    source_id integer not null,
    path text not null,
    latency_ms integer not null,
    created_at integer not null,
    primary key (vault_no, id)
) strict, without rowid;

-- The number of the next row, over all vaults. One row.
create table request_log_sequence (next integer not null) strict;
insert into request_log_sequence select coalesce(max(id), 0) + 1 from request_logs_1;

insert into request_log_sources (vault_no, actor_type, actor_id, session_id, label, ingress, method, host,
        matched_service, credential_keys, status, error_code, auth_scheme, auth_header, decision, warnings, created_at)
    select s.vault_no, s.actor_type, s.actor_id, s.session_id, s.label, s.ingress, l.method, s.host, s.matched_service,
        s.credential_keys, l.status, l.error_code, s.auth_scheme, s.auth_header, s.decision, l.warnings,
        min(s.created_at)
    from request_logs_1 l join request_log_sources_1 s on s.id = l.source_id
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16;
insert into request_logs (vault_no, id, source_id, path, latency_ms, created_at)
    select l.vault_no, l.id, n.id, l.path, l.latency_ms, l.created_at
    from request_logs_1 l
    join request_log_sources_1 s on s.id = l.source_id
    join request_log_sources n on n.vault_no = s.vault_no and n.actor_type = s.actor_type and n.actor_id = s.actor_id
        and n.session_id = s.session_id and n.label = s.label and n.ingress = s.ingress and n.method = l.method
        and n.host = s.host and n.matched_service = s.matched_service and n.credential_keys = s.credential_keys
        and n.status = l.status and n.error_code = l.error_code and n.auth_scheme = s.auth_scheme
        and n.auth_header = s.auth_header and n.decision = s.decision and n.warnings = l.warnings;
drop table request_logs_1;
drop table request_log_sources_1;

-- Instead of a foreign key, which would be looked up for each appended row.
create trigger request_logs_of_gone_vaults after delete on request_log_vaults
begin
    delete from request_logs where vault_no = old.no;
end;

create view request_log as
    select l.id, l.vault_no, v.vault_id, s.actor_type, s.actor_id, s.session_id, s.label, s.ingress, s.method, s.host,
        l.path, s.matched_service, s.credential_keys, s.status, l.latency_ms, s.error_code, s.auth_scheme,
        s.auth_header, s.decision, s.warnings, l.created_at
    from request_logs l
    join request_log_sources s on s.id = l.source_id
    join request_log_vaults v on v.no = l.vault_no;
