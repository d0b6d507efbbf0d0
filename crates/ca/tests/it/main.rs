//! The certificate authority seen from outside: what its certificates say, who accepts them, and what is kept.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says aloud what it skipped"
)]

mod bundle;
mod certificates;
mod handshake;
mod issuer;
mod own;
mod root;
mod strict;

use std::sync::Arc;

use agent_vault_ca::{LeafIssuer, RootCa};
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

/// 2027-01-15T08:00:00Z.
const NOON: i64 = 1_800_000_000;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// The real clock, for clients whose clock cannot be set.
fn real_now() -> Timestamp {
    Timestamp::now()
}

fn issuer_at(now: Timestamp) -> LeafIssuer {
    LeafIssuer::new(RootCa::generate(now).unwrap().0).unwrap()
}

#[derive(Debug)]
struct FixedClock(i64);

impl rustls::time_provider::TimeProvider for FixedClock {
    fn current_time(&self) -> Option<UnixTime> {
        let since_epoch = std::time::Duration::from_secs(u64::try_from(self.0).unwrap());
        Some(UnixTime::since_unix_epoch(since_epoch))
    }
}

/// A client that trusts `root` alone and whose clock stands at `second`.
fn client(root: &CertificateDer<'static>, second: i64, alpn: &[&[u8]]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let mut config = ClientConfig::builder_with_details(
        Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        Arc::new(FixedClock(second)),
    )
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots)
    .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

/// Runs a handshake in memory, until both sides have nothing more to say.
fn shake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &str,
) -> Result<ClientConnection, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    loop {
        let mut moved = 0;
        let mut wire = Vec::new();
        while client.wants_write() {
            moved += client.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            server.read_tls(&mut wire).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            moved += server.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            client.read_tls(&mut wire).unwrap();
            client.process_new_packets()?;
        }
        if moved == 0 {
            assert!(!client.is_handshaking() && !server.is_handshaking());
            return Ok(client);
        }
    }
}

/// The leaf that `issuer` presents for `host`.
fn leaf(issuer: &LeafIssuer, host: &str, now: i64) -> CertificateDer<'static> {
    let config = issuer.server_config(host, at(now)).unwrap();
    let client = Arc::new(client(issuer.root().cert_der(), now, &[]));
    let chain = shake(&client, &config, host).unwrap();
    let [leaf] = chain.peer_certificates().unwrap() else {
        panic!("the chain is the leaf alone");
    };
    leaf.clone().into_owned()
}
