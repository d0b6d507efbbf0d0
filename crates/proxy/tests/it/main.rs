//! The data plane end to end: agents on one side, recording upstreams on the other, the proxy between them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and its tasks end with its runtime"
)]

mod abuse;
mod attacks;
mod bodies;
mod clients;
mod corpora;
mod doors;
mod faults;
mod fixture;
mod hints;
mod leftovers;
mod paths;
mod pool;
mod refusals;
mod revocation;
mod scrubbing;
mod secure;
mod socks;
mod streams;
mod stress;
mod upgrades;
