-- Who is told of what happens, over HTTP, and what is still to be said.

create table webhooks (
    id text not null primary key,
    -- Null for one of the instance, which hears of every vault.
    vault_id text references vaults (id) on delete cascade,
    url text not null,
    -- Names of events, each between commas; empty for all.
    events text not null,
    description text not null,
    state text not null check (state in ('active', 'parked', 'off')),
    -- Failed attempts in a row, and since when.
    failures integer not null default 0 check (failures >= 0),
    failing_since integer,
    parked_at integer,
    delivered_at integer,
    last_error text not null default '',
    -- Events that found the queue full.
    dropped integer not null default 0,
    -- A process is sending something until then at the latest.
    busy_until integer not null default 0,
    created_at integer not null,
    updated_at integer not null,
    check ((state = 'parked') = (parked_at is not null)),
    check ((failures = 0) = (failing_since is null))
) strict;
create index webhooks_vault on webhooks (vault_id);

-- What signs, sealed. The newest has no end; the one before it may still have a while.
create table webhook_secrets (
    webhook_id text not null references webhooks (id) on delete cascade,
    version integer not null check (version > 0),
    sealed blob not null,
    created_at integer not null,
    expires_at integer,
    primary key (webhook_id, version)
) strict;

create table webhook_deliveries (
    seq integer primary key autoincrement,
    webhook_id text not null references webhooks (id) on delete cascade,
    event_id text not null,
    event text not null,
    -- What it is about: events of the same subject within a while are one.
    subject text not null,
    payload text not null,
    status text not null check (status in ('pending', 'delivered', 'failed')),
    attempts integer not null default 0,
    next_at integer not null,
    -- Status of the last answer.
    answer integer,
    last_error text not null default '',
    created_at integer not null,
    ended_at integer,
    check ((status = 'pending') = (ended_at is null))
) strict;
create unique index webhook_deliveries_event on webhook_deliveries (webhook_id, event_id);
create index webhook_deliveries_due on webhook_deliveries (webhook_id, next_at) where status = 'pending';
create index webhook_deliveries_age on webhook_deliveries (created_at) where status = 'pending';
create index webhook_deliveries_subject on webhook_deliveries (webhook_id, subject, created_at);
create index webhook_deliveries_ended on webhook_deliveries (webhook_id, seq) where status <> 'pending';

-- As in 0022: nothing is sealed with a key that was rotated away.
create trigger webhook_secrets_key_insert before insert on webhook_secrets
when substr(new.sealed, 2, 8) <> (select substr(sentinel, 2, 8) from master_key)
begin
    select raise(abort, 'sealed with a key that is in use no more');
end;
create trigger webhook_secrets_key_update before update of sealed on webhook_secrets
when substr(new.sealed, 2, 8) <> (select substr(sentinel, 2, 8) from master_key)
begin
    select raise(abort, 'sealed with a key that is in use no more');
end;
create trigger if not exists proposal_values_key_insert before insert on proposal_values
when substr(new.sealed, 2, 8) <> (select substr(sentinel, 2, 8) from master_key)
begin
    select raise(abort, 'sealed with a key that is in use no more');
end;
create trigger if not exists proposal_values_key_update before update of sealed on proposal_values
when substr(new.sealed, 2, 8) <> (select substr(sentinel, 2, 8) from master_key)
begin
    select raise(abort, 'sealed with a key that is in use no more');
end;
