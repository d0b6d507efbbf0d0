-- While the data key is rotated, whoever still holds the former key alone (another process on the same database) must not
-- seal anything with it: that would be lost with the key. Bytes 2 to 9 of a sealed value are the id of its key.
create trigger credential_versions_key_insert before insert on credential_versions
when substr(new.sealed, 2, 8) <> (select substr(sentinel, 2, 8) from master_key)
begin
    select raise(abort, 'sealed with a key that is in use no more');
end;
create trigger credential_versions_key_update before update of sealed on credential_versions
when substr(new.sealed, 2, 8) <> (select substr(sentinel, 2, 8) from master_key)
begin
    select raise(abort, 'sealed with a key that is in use no more');
end;
create trigger ca_state_key_insert before insert on ca_state
when substr(new.root_key, 2, 8) <> (select substr(sentinel, 2, 8) from master_key)
begin
    select raise(abort, 'sealed with a key that is in use no more');
end;
create trigger ca_state_key_update before update of root_key on ca_state
when substr(new.root_key, 2, 8) <> (select substr(sentinel, 2, 8) from master_key)
begin
    select raise(abort, 'sealed with a key that is in use no more');
end;
create trigger email_codes_key_insert before insert on email_codes
when substr(new.sealed, 2, 8) <> (select substr(sentinel, 2, 8) from master_key)
begin
    select raise(abort, 'sealed with a key that is in use no more');
end;
create trigger user_totp_key_insert before insert on user_totp
when substr(new.sealed, 2, 8) <> (select substr(sentinel, 2, 8) from master_key)
begin
    select raise(abort, 'sealed with a key that is in use no more');
end;
create trigger user_totp_key_update before update of sealed on user_totp
when substr(new.sealed, 2, 8) <> (select substr(sentinel, 2, 8) from master_key)
begin
    select raise(abort, 'sealed with a key that is in use no more');
end;
