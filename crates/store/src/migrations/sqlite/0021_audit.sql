-- Audit records say from where and how it ended. Records of format 1 have a hash that does not cover the new columns.
alter table audit_log add column format integer not null default 1;
alter table audit_log add column actor_name text not null default '';
alter table audit_log add column source text not null default '';
alter table audit_log add column outcome text not null default 'done';
drop trigger audit_log_no_update;
update audit_log set outcome = 'refused' where detail like '%"refused":%';
create trigger audit_log_no_update before update on audit_log
begin
    select raise(abort, 'audit records are never changed');
end;

-- How far the chain was cut off at its old end: number and hash of the last record that went. A record of the chain says the
-- same, so that a cut that the program did not make is told from one that it did.
create table audit_cut (
    id integer primary key check (id = 1),
    through integer not null,
    hash blob not null
) strict;
drop trigger audit_log_no_delete;
create trigger audit_log_no_delete before delete on audit_log
when old.seq > coalesce((select through from audit_cut), 0)
begin
    select raise(abort, 'audit records are never deleted');
end;
