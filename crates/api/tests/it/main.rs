//! The router over a temporary database, called as a client would.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod audit;
mod auth;
mod contract;
mod credentials;
mod discover;
mod fields;
mod hostile;
mod instance;
mod invites;
mod limits;
mod logs;
mod matrix;
mod openapi;
mod origin;
mod people;
mod proposals;
mod second_factor;
mod serve;
mod services;
mod setup;
mod status;
mod stores;
mod token_bounds;
mod tokens;
mod webhooks;
mod world;
