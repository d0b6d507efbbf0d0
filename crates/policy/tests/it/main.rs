//! The rule language through its public surface.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod corpora;
mod decide;
mod egress;
mod leftover;
mod merge;
mod properties;
mod reference;
mod services;
mod support;
mod surfaces;
mod websocket;
