//! What a client gets out of a configuration.

use std::sync::Arc;

use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Resumption};
use rustls::client::{Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::{CertificateError, Error, HandshakeKind, NamedGroup, ProtocolVersion};

use crate::{DAY, HOUR, NOON, at, client, issuer_at, shake};

#[test]
fn http2_is_preferred_and_http1_taken() {
    let issuer = issuer_at(at(NOON));
    let server = issuer.server_config("api.example.com", at(NOON)).unwrap();
    let both: &[&[u8]] = &[b"http/1.1", b"h2"];
    let http2: &[&[u8]] = &[b"h2"];
    let http1: &[&[u8]] = &[b"http/1.1"];
    for (offer, expected) in [
        (both, Some("h2")),
        (http2, Some("h2")),
        (http1, Some("http/1.1")),
        (&[], None),
    ] {
        let client = Arc::new(client(issuer.root().cert_der(), NOON, offer));
        let done = shake(&client, &server, "api.example.com").unwrap();
        assert_eq!(done.alpn_protocol(), expected.map(str::as_bytes));
        assert_eq!(done.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    }
    let strange = Arc::new(client(issuer.root().cert_der(), NOON, &[b"smtp"]));
    assert!(shake(&strange, &server, "api.example.com").is_err());
}

#[test]
fn tls12_still_works() {
    let issuer = issuer_at(at(NOON));
    let server = issuer.server_config("api.example.com", at(NOON)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(issuer.root().cert_der().clone()).unwrap();
    let old = rustls::ClientConfig::builder_with_details(
        Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        Arc::new(crate::FixedClock(NOON)),
    )
    .with_protocol_versions(&[&rustls::version::TLS12])
    .unwrap()
    .with_root_certificates(roots)
    .with_no_client_auth();
    let old = Arc::new(old);
    let first = shake(&old, &server, "api.example.com").unwrap();
    assert_eq!(first.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    let second = shake(&old, &server, "api.example.com").unwrap();
    assert_eq!(second.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn clocks_that_are_wrong_by_an_hour() {
    // Root and leaf are new, which is the hard case for a slow clock.
    let issuer = issuer_at(at(NOON));
    for host in ["api.example.com", "127.0.0.1"] {
        let server = issuer.server_config(host, at(NOON)).unwrap();
        for off in [-HOUR - 60, 0, HOUR + 60] {
            let client = Arc::new(client(issuer.root().cert_der(), NOON + off, &[]));
            shake(&client, &server, host).unwrap();
        }
        // And a fast clock just before the leaf is made anew.
        let late = NOON + DAY - 1;
        assert!(Arc::ptr_eq(
            &server,
            &issuer.server_config(host, at(late)).unwrap()
        ));
        let fast = Arc::new(client(issuer.root().cert_der(), late + HOUR, &[]));
        shake(&fast, &server, host).unwrap();
    }
}

#[test]
fn another_name_is_refused() {
    let issuer = issuer_at(at(NOON));
    let server = issuer.server_config("api.example.com", at(NOON)).unwrap();
    let client = Arc::new(client(issuer.root().cert_der(), NOON, &[]));
    let refused = shake(&client, &server, "www.example.com").unwrap_err();
    assert!(matches!(
        refused,
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })
    ));
}

#[test]
fn another_root_is_an_unknown_issuer() {
    let issuer = issuer_at(at(NOON));
    let other = issuer_at(at(NOON));
    let server = issuer.server_config("api.example.com", at(NOON)).unwrap();
    let client = Arc::new(client(other.root().cert_der(), NOON, &[]));
    let refused = shake(&client, &server, "api.example.com").unwrap_err();
    assert_eq!(
        refused,
        Error::InvalidCertificate(CertificateError::UnknownIssuer)
    );
}

#[test]
fn a_session_resumes_with_its_own_host() {
    let issuer = issuer_at(at(NOON));
    for host in ["api.example.com", "127.0.0.1"] {
        let client = Arc::new(client(issuer.root().cert_der(), NOON, &[b"h2"]));
        let server = issuer.server_config(host, at(NOON)).unwrap();
        let first = shake(&client, &server, host).unwrap();
        assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
        let second = shake(&client, &server, host).unwrap();
        assert_eq!(second.handshake_kind(), Some(HandshakeKind::Resumed));
    }
}

/// A client that offers a session to whomever it dials, as one that sends no server name may.
#[derive(Debug)]
struct OneSessionForAll(ClientSessionMemoryCache);

fn anywhere() -> ServerName<'static> {
    ServerName::try_from("anywhere.example").unwrap()
}

impl ClientSessionStore for OneSessionForAll {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(anywhere(), group);
    }
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&anywhere())
    }
    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(anywhere(), value);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&anywhere())
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&anywhere());
    }
    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(anywhere(), value);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&anywhere())
    }
}

#[test]
fn a_session_does_not_resume_with_another_host() {
    let issuer = issuer_at(at(NOON));
    for (one, other) in [
        ("10.0.0.1", "10.0.0.2"),
        ("a.example.com", "b.example.com"),
        ("a.example.com", "10.0.0.1"),
    ] {
        let mut config = client(issuer.root().cert_der(), NOON, &[b"h2"]);
        let store = OneSessionForAll(ClientSessionMemoryCache::new(8));
        config.resumption = Resumption::store(Arc::new(store));
        let client = Arc::new(config);
        let one_server = issuer.server_config(one, at(NOON)).unwrap();
        let other_server = issuer.server_config(other, at(NOON)).unwrap();
        shake(&client, &one_server, one).unwrap();
        let again = shake(&client, &one_server, one).unwrap();
        assert_eq!(
            again.handshake_kind(),
            Some(HandshakeKind::Resumed),
            "the store works"
        );
        let crossed = shake(&client, &other_server, other).unwrap();
        assert_eq!(
            crossed.handshake_kind(),
            Some(HandshakeKind::Full),
            "{one} to {other}"
        );
    }
}
