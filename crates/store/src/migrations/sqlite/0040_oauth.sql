-- Credentials that come from an OAuth grant: what is needed to get the next access token, beside the credential that holds the
-- present one.
create table credential_oauth (
    credential_id text primary key references credentials (id) on delete cascade,
    -- Empty where tokens were given by hand.
    authorization_url text not null,
    -- Empty where nothing can be refreshed.
    token_url text not null,
    client_id text not null,
    client_secret blob,
    scopes text not null,
    scope_separator text not null,
    pkce integer not null check (pkce in (0, 1)),
    token_auth_method text not null check (token_auth_method in ('client_secret_post', 'client_secret_basic')),
    refresh_token blob,
    -- The provider said that the refresh token is good no more.
    refresh_refused integer not null default 0 check (refresh_refused in (0, 1)),
    token_expires_at integer,
    -- The life that the provider gave a token last, in seconds: for answers that leave it out.
    token_life integer,
    connected_at integer,
    last_refreshed_at integer,
    -- In our words; empty when the last refresh went well.
    last_refresh_error text not null default '',
    last_refresh_error_at integer,
    -- Who refreshes at this moment, among the processes that share the database.
    lease text,
    lease_until integer
) strict;

-- Consents that a person has been sent for. Single use; purged when they have run out.
create table oauth_consents (
    -- Public.
    id text primary key,
    -- SHA-256 of what the provider brings back, hex.
    state_hash text not null unique,
    -- SHA-256 of what the link that binds a browser carries, hex.
    link_hash text not null unique,
    -- SHA-256 of the cookie of the browser that may come back, hex; null until one was bound.
    browser_hash text,
    vault_id text not null references vaults (id) on delete cascade,
    key text not null,
    -- Who asked for it, and has to be allowed to when it comes back.
    actor_type text not null check (actor_type in ('user', 'agent', 'scoped', 'local')),
    actor_id text not null,
    actor_name text not null,
    session_id text not null,
    redirect_uri text not null,
    -- What becomes the credential's configuration with the consent, and not before.
    authorization_url text not null,
    token_url text not null,
    client_id text not null,
    client_secret blob,
    scopes text not null,
    scope_separator text not null,
    pkce integer not null check (pkce in (0, 1)),
    token_auth_method text not null check (token_auth_method in ('client_secret_post', 'client_secret_basic')),
    -- Sealed; null without PKCE.
    verifier blob,
    status text not null check (status in ('pending', 'used', 'done', 'failed')),
    error text not null default '',
    created_at integer not null,
    expires_at integer not null
) strict;
create index oauth_consents_expiry on oauth_consents (expires_at);
create index oauth_consents_vault on oauth_consents (vault_id);

-- As for every sealed value: nothing is sealed with a key that is in use no more.
create trigger credential_oauth_key_insert before insert on credential_oauth
when substr(new.client_secret, 2, 8) <> (select substr(sentinel, 2, 8) from master_key)
    or substr(new.refresh_token, 2, 8) <> (select substr(sentinel, 2, 8) from master_key)
begin
    select raise(abort, 'sealed with a key that is in use no more');
end;
create trigger credential_oauth_secret_update before update of client_secret on credential_oauth
when new.client_secret is not old.client_secret
    and substr(new.client_secret, 2, 8) <> (select substr(sentinel, 2, 8) from master_key)
begin
    select raise(abort, 'sealed with a key that is in use no more');
end;
create trigger credential_oauth_refresh_update before update of refresh_token on credential_oauth
when new.refresh_token is not old.refresh_token
    and substr(new.refresh_token, 2, 8) <> (select substr(sentinel, 2, 8) from master_key)
begin
    select raise(abort, 'sealed with a key that is in use no more');
end;
create trigger oauth_consents_key_insert before insert on oauth_consents
when substr(new.client_secret, 2, 8) <> (select substr(sentinel, 2, 8) from master_key)
    or substr(new.verifier, 2, 8) <> (select substr(sentinel, 2, 8) from master_key)
begin
    select raise(abort, 'sealed with a key that is in use no more');
end;
