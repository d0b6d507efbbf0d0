//! What the tests and the benchmark share: a recording TLS upstream, a client that goes through a proxy, canary
//! secrets, a clock that only moves when told to, and temporary homes for child processes.
//!
//! Nothing here is part of the product, and nothing here knows a crate of the product. A helper that cannot do its
//! work panics with what it was about to do: a test that cannot set its stage has failed.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "test support: a stage that cannot be set must fail the test at once, with the place and the reason"
)]

pub mod canary;
pub mod client;
pub mod clock;
pub mod gate;
pub mod home;
pub mod infisical;
pub mod oauth;
pub mod pki;
pub mod recording;
pub mod smtp;
pub mod switchboard;
pub mod tasks;
pub mod upstream;
pub mod websocket;

pub use canary::Canary;
pub use clock::FakeClock;
pub use gate::Gate;
pub use home::Home;
pub use infisical::{InfisicalStore, StoreMode};
pub use oauth::OAuthProvider;
pub use pki::TestCa;
pub use recording::Recorded;
pub use switchboard::Switchboard;
pub use upstream::{Alpn, Certificate, Upstream, UpstreamBuilder};

use std::future::Future;
use std::time::Duration;

/// How long a test waits for something that has to happen before it is called a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An error of any kind, as bodies and handlers of the upstream carry it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Waits for `future`, and panics naming `what` when [`PATIENCE`] has run out.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {} s in vain for {what}", PATIENCE.as_secs()),
    }
}
