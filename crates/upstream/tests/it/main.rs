//! The outbound door seen from outside, over loopback sockets.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod chain;
mod config;
mod direct;
mod fixture;
mod resolving;
mod streams;
mod tls;
mod trust;
