//! Sources against servers on loopback.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod oauth;
mod stores;
