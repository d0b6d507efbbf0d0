-- The schema of the first release. Times are integer milliseconds since the Unix epoch, UTC.

create table schema_migrations (
    id integer primary key,
    name text not null unique,
    version integer not null,
    migration_time integer not null,
    applied_at integer not null
) strict;

-- Bumped by every management commit, so that other processes notice.
create table instance_version (
    id integer primary key check (id = 1),
    counter integer not null
) strict;
insert into instance_version (id, counter) values (1, 0);

create table instance_settings (
    key text primary key,
    value text not null,
    updated_at integer not null
) strict;

create table vaults (
    id text primary key,
    name text not null unique,
    created_at integer not null,
    updated_at integer not null
) strict;

create table vault_grants (
    actor_id text not null,
    actor_type text not null check (actor_type in ('user', 'agent')),
    vault_id text not null references vaults (id) on delete cascade,
    role text not null default 'member' check (role in ('proxy', 'member', 'admin')),
    created_at integer not null,
    primary key (actor_id, vault_id)
) strict;
create index vault_grants_vault on vault_grants (vault_id, actor_type);

create table users (
    id text primary key,
    email text not null,
    -- Lower case, so that one mailbox is one account.
    email_lookup text not null unique,
    password_hash blob not null,
    password_salt blob not null,
    kdf_time integer not null,
    kdf_memory integer not null,
    kdf_threads integer not null,
    role text not null check (role in ('owner', 'member', 'no-access')),
    is_active integer not null default 0 check (is_active in (0, 1)),
    created_at integer not null,
    updated_at integer not null
) strict;

create table agents (
    id text primary key,
    name text not null unique,
    status text not null default 'active' check (status in ('active', 'revoked')),
    role text not null default 'no-access' check (role in ('owner', 'member', 'no-access')),
    created_by_type text check (created_by_type in ('user', 'agent')),
    created_by text,
    created_at integer not null,
    updated_at integer not null,
    revoked_at integer
) strict;

create table sessions (
    -- SHA-256 of the token, hex. The token itself is stored nowhere.
    id text primary key,
    kind text not null check (kind in ('user', 'agent', 'scoped')),
    public_id text not null unique,
    user_id text references users (id) on delete cascade,
    agent_id text references agents (id) on delete cascade,
    vault_id text references vaults (id) on delete cascade,
    vault_role text check (vault_role in ('proxy', 'member', 'admin')),
    label text not null default '',
    device_label text not null default '',
    expires_at integer,
    idle_ttl_seconds integer,
    created_at integer not null,
    last_used_at integer,
    last_ip text not null default '',
    last_user_agent text not null default '',
    created_by_actor_type text check (created_by_actor_type in ('user', 'agent')),
    created_by_actor_id text,
    check ((kind = 'user') = (user_id is not null)),
    check ((kind = 'agent') = (agent_id is not null)),
    check ((kind = 'scoped') = (vault_id is not null and vault_role is not null))
) strict;
create index sessions_user on sessions (user_id) where user_id is not null;
create index sessions_agent on sessions (agent_id) where agent_id is not null;
create index sessions_vault on sessions (vault_id) where vault_id is not null;
create index sessions_minter on sessions (created_by_actor_id) where created_by_actor_id is not null;
create index sessions_expiry on sessions (expires_at) where expires_at is not null;

create table credentials (
    id text primary key,
    vault_id text not null references vaults (id) on delete cascade,
    key text not null,
    type text not null default 'static' check (type in ('static', 'oauth')),
    -- The version that is served. Part of the sealed value's associated data.
    version integer not null check (version > 0),
    created_at integer not null,
    updated_at integer not null,
    unique (vault_id, key)
) strict;

create table credential_versions (
    credential_id text not null references credentials (id) on delete cascade,
    version integer not null check (version > 0),
    sealed blob not null,
    created_at integer not null,
    primary key (credential_id, version)
) strict;

create table broker_configs (
    vault_id text primary key references vaults (id) on delete cascade,
    services_json text not null default '[]',
    revision integer not null default 0,
    created_at integer not null,
    updated_at integer not null
) strict;

create table vault_settings (
    vault_id text not null references vaults (id) on delete cascade,
    key text not null,
    value text not null,
    updated_at integer not null,
    primary key (vault_id, key)
) strict;

-- How the data key is protected. In mode `key-file` the key lies beside the database, never in it.
create table master_key (
    id integer primary key check (id = 1),
    mode text not null check (mode in ('key-file', 'password')),
    sentinel blob not null,
    salt blob,
    memory_kib integer,
    iterations integer,
    parallelism integer,
    wrapped blob,
    created_at integer not null,
    updated_at integer not null,
    check ((mode = 'password') = (salt is not null and memory_kib is not null and iterations is not null
        and parallelism is not null and wrapped is not null))
) strict;

-- Certificate and sealed key in one row: there is no moment with the one and not the other.
create table ca_state (
    id integer primary key check (id = 1),
    root_cert text not null,
    root_key blob not null,
    source text not null,
    created_at integer not null
) strict;

-- The request log is split: what repeats from request to request is stored once as a source, so that a row is small
-- and cheap to append.
create table request_log_vaults (
    no integer primary key,
    vault_id text not null unique references vaults (id) on delete cascade
) strict;

create table request_log_sources (
    id integer primary key autoincrement,
    vault_no integer not null references request_log_vaults (no) on delete cascade,
    actor_type text not null,
    actor_id text not null,
    session_id text not null,
    label text not null,
    ingress text not null,
    host text not null,
    matched_service text not null,
    credential_keys text not null,
    auth_scheme text not null,
    auth_header text not null,
    decision text not null,
    created_at integer not null
) strict;
create index request_log_sources_vault on request_log_sources (vault_no);

create table request_logs (
    id integer primary key autoincrement,
    vault_no integer not null,
    source_id integer not null,
    method text not null,
    path text not null,
    status integer not null,
    latency_ms integer not null,
    error_code text not null,
    warnings text not null,
    created_at integer not null
) strict;
create index request_logs_vault on request_logs (vault_no, id desc);
-- Instead of a foreign key, which would be looked up for each appended row.
create trigger request_logs_of_gone_vaults after delete on request_log_vaults
begin
    delete from request_logs where vault_no = old.no;
end;

create view request_log as
    select l.id, l.vault_no, v.vault_id, s.actor_type, s.actor_id, s.session_id, s.label, s.ingress, l.method, s.host,
        l.path, s.matched_service, s.credential_keys, l.status, l.latency_ms, l.error_code, s.auth_scheme,
        s.auth_header, s.decision, l.warnings, l.created_at
    from request_logs l
    join request_log_sources s on s.id = l.source_id
    join request_log_vaults v on v.no = l.vault_no;

create table audit_log (
    seq integer primary key,
    at integer not null,
    actor_type text not null,
    actor_id text not null,
    action text not null,
    target text not null,
    detail text not null,
    previous blob not null,
    hash blob not null
) strict;
-- Also stops `insert or replace`, which deletes without firing the trigger below.
create trigger audit_log_append_only before insert on audit_log
when new.seq is not (select coalesce(max(seq), 0) + 1 from audit_log)
begin
    select raise(abort, 'audit records are only appended');
end;
create trigger audit_log_no_update before update on audit_log
begin
    select raise(abort, 'audit records are never changed');
end;
create trigger audit_log_no_delete before delete on audit_log
begin
    select raise(abort, 'audit records are never deleted');
end;
