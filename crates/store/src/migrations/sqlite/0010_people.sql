-- People: invitations, codes by mail, logins from a device without a browser, second factors.

create table user_invites (
    id integer primary key autoincrement,
    -- What may be shown and used to manage the invitation. It opens nothing.
    public_id text not null unique,
    -- SHA-256 of the token, hex.
    token_hash text not null unique,
    email text not null,
    email_lookup text not null,
    role text not null check (role in ('owner', 'member', 'no-access')),
    status text not null check (status in ('pending', 'accepted', 'revoked')),
    created_by_type text check (created_by_type in ('user', 'agent')),
    created_by text,
    created_at integer not null,
    expires_at integer not null,
    ended_at integer
) strict;
create index user_invites_email on user_invites (email_lookup, status);
create index user_invites_expiry on user_invites (expires_at);

create table user_invite_vaults (
    invite_id integer not null references user_invites (id) on delete cascade,
    vault_id text not null references vaults (id) on delete cascade,
    vault_role text not null check (vault_role in ('member', 'admin')),
    primary key (invite_id, vault_id)
) strict;
create index user_invite_vaults_vault on user_invite_vaults (vault_id);

-- Six digits are guessed at once from a hash of any kind, so codes are sealed.
create table email_codes (
    id text primary key,
    purpose text not null check (purpose in ('verify', 'reset')),
    user_id text not null references users (id) on delete cascade,
    sealed blob not null,
    -- Whether a mail took it away; one that did not waits for an owner to hand it on.
    mailed integer not null check (mailed in (0, 1)),
    -- How often something was compared with it.
    guesses integer not null default 0,
    created_at integer not null,
    expires_at integer not null
) strict;
create index email_codes_user on email_codes (user_id, purpose);
create index email_codes_expiry on email_codes (expires_at);

create table device_logins (
    -- SHA-256 of what the device polls with, hex.
    device_hash text primary key,
    -- What the device shows and a person types.
    user_code text not null unique,
    device_label text not null,
    ip text not null,
    user_agent text not null,
    status text not null check (status in ('pending', 'approved', 'denied')),
    user_id text references users (id) on delete cascade,
    created_at integer not null,
    expires_at integer not null,
    check ((status = 'approved') = (user_id is not null))
) strict;
create index device_logins_expiry on device_logins (expires_at);

create table user_totp (
    user_id text primary key references users (id) on delete cascade,
    sealed blob not null,
    -- 0 until a first code has shown that the secret arrived.
    confirmed integer not null check (confirmed in (0, 1)),
    -- The time step of the last code that was taken: none is taken twice.
    last_step integer not null,
    -- Since the last right code.
    guesses integer not null default 0,
    -- No code is looked at before.
    locked_until integer not null default 0,
    created_at integer not null
) strict;

create table user_recovery_codes (
    user_id text not null references users (id) on delete cascade,
    code_hash text not null,
    primary key (user_id, code_hash)
) strict;
