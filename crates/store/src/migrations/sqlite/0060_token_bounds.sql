-- What a vault token is confined to: services by name (a JSON list; null is all), a number of requests, networks (a JSON list; null is
-- any).
alter table sessions add column services text;
alter table sessions add column budget integer check (budget > 0);
alter table sessions add column budget_spent integer not null default 0 check (budget_spent >= 0);
alter table sessions add column sources text;
