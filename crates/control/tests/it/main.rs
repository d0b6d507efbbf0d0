//! Management actions from outside: races, other processes on the same database, clients that leave.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod authority;
mod budgets;
mod cancelled;
mod full_disk;
mod instance;
mod keys;
mod oauth;
mod other_process;
mod proposals;
mod races;
mod retention;
mod stores;
mod usage;
mod webhooks;
