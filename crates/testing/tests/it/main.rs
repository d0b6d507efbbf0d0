//! The test support itself: each protocol of the upstream, straight, without a proxy.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test fails the test"
)]

mod git;
mod grpc;
mod http;
mod websocket;

use std::sync::Arc;

use agent_vault_testing::client::Http;
use agent_vault_testing::{Upstream, pki};

/// Connects to `upstream` offering `alpn`.
async fn connect(upstream: &Upstream, alpn: &[&str]) -> Http {
    let config = Arc::new(pki::client_config(upstream.ca_pem(), alpn));
    Http::straight(upstream.addr(), "localhost", &config)
        .await
        .expect("a connection")
}
