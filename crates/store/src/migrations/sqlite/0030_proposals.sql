-- Changes to a vault that an agent asks for and a person decides on.

create table proposals (
    vault_id text not null references vaults (id) on delete cascade,
    -- Counts from 1 in each vault.
    id integer not null check (id > 0),
    -- Who asks: an agent's id, or the public id of a vault token. Neither opens anything.
    author_type text not null check (author_type in ('agent', 'scoped')),
    author_id text not null,
    -- The agent whose hands these are: itself, or the one that minted the vault token.
    author_agent text,
    author_name text not null,
    status text not null check (status in ('pending', 'applied', 'rejected', 'expired')),
    services_json text not null,
    credentials_json text not null,
    message text not null,
    user_message text not null,
    review_note text not null default '',
    reviewed_by_type text check (reviewed_by_type in ('user', 'agent', 'local')),
    reviewed_by text,
    reviewed_by_name text not null default '',
    ended_at integer,
    -- SHA-256 of the token in the approval link, hex.
    approval_hash text not null unique,
    approval_expires_at integer not null,
    created_at integer not null,
    expires_at integer not null,
    primary key (vault_id, id),
    check ((status = 'pending') = (ended_at is null))
) strict;
create index proposals_open on proposals (vault_id, status);
create index proposals_expiry on proposals (expires_at) where status = 'pending';
create index proposals_end on proposals (ended_at) where ended_at is not null;

-- Values that the agent offered, sealed. They last as long as the proposal is open.
create table proposal_values (
    vault_id text not null,
    proposal_id integer not null,
    key text not null,
    sealed blob not null,
    primary key (vault_id, proposal_id, key),
    foreign key (vault_id, proposal_id) references proposals (vault_id, id) on delete cascade
) strict;
