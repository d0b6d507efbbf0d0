-- Vaults whose static credentials are copies of what an external store holds.

create table vault_credential_stores (
    vault_id text primary key references vaults (id) on delete cascade,
    kind text not null check (kind in ('infisical')),
    -- Where in the store to look. No secret.
    config_json text not null,
    poll_interval_seconds integer not null check (poll_interval_seconds >= 10),
    -- Another one with each connect and each refresh by hand: what was leased under a former one is over, and what was
    -- fetched under it is not written.
    revision text not null,
    last_synced_at integer,
    last_sync_status text check (last_sync_status in ('ok', 'error')),
    last_sync_error text not null default '',
    last_success_at integer,
    -- The refresh that is under way, in whichever process, and when it counts as dead.
    claim text,
    claimed_until integer,
    created_at integer not null,
    updated_at integer not null,
    check ((claim is null) = (claimed_until is null))
) strict;

-- Secrets of the store that are made on demand, as the last refresh saw them.
create table dynamic_secrets (
    vault_id text not null references vault_credential_stores (vault_id) on delete cascade,
    name text not null,
    -- The names of the fields of the last lease, a JSON array; empty before the first.
    fields_json text not null default '[]',
    -- Whether the last lease was refused.
    unavailable integer not null default 0 check (unavailable in (0, 1)),
    primary key (vault_id, name)
) strict;

-- Leases that are to be given back. Not bound to the vault's row: they outlive it until they are revoked.
create table dynamic_secret_leases (
    lease_id text primary key,
    vault_id text not null,
    dynamic_secret_name text not null,
    project_id text not null,
    environment text not null,
    secret_path text not null,
    -- The process that uses it.
    holder text not null,
    expires_at integer,
    created_at integer not null
) strict;
create index dynamic_secret_leases_holder on dynamic_secret_leases (holder);

-- Processes that hold leases, and when each was last seen alive.
create table lease_holders (
    id text primary key,
    seen_at integer not null
) strict;
