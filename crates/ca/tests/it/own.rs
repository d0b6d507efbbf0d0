//! What the server shows on its own ports.

use std::net::IpAddr;
use std::sync::Arc;

use agent_vault_ca::{
    CaError, Choice, GivenCertificate, GivenError, LeafIssuer, OwnIdentity, Protocols,
};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;

use crate::{NOON, at, client, issuer_at, shake};

const HERE: &str = "192.0.2.7";

/// A self-signed pair for these names, as PEM: certificate, key.
fn pair(names: &[&str]) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2028, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn given(names: &[&str]) -> GivenCertificate {
    let (certificate, key) = pair(names);
    GivenCertificate::parse(certificate.as_bytes(), key.as_bytes()).unwrap()
}

fn identity(names: &[&str], given: Option<GivenCertificate>) -> (Arc<LeafIssuer>, OwnIdentity) {
    let issuer = Arc::new(issuer_at(at(NOON)));
    let identity = OwnIdentity::new(Arc::clone(&issuer), names.iter().copied(), given).unwrap();
    (issuer, identity)
}

fn choose(identity: &OwnIdentity, asked: Option<&str>, protocols: Protocols) -> Choice {
    let here: IpAddr = HERE.parse().unwrap();
    identity.choose(asked, here, protocols, at(NOON)).unwrap()
}

/// The certificate of a choice, if it has one.
fn shown(choice: &Choice) -> Option<CertificateDer<'static>> {
    let (Choice::Own(config) | Choice::Stranger(config)) = choice;
    let mut accepting = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .dangerous()
    .with_custom_certificate_verifier(Arc::new(Anything))
    .with_no_client_auth();
    accepting.alpn_protocols = vec![b"http/1.1".to_vec()];
    let done = shake(&Arc::new(accepting), config, "whoever.example").ok()?;
    Some(done.peer_certificates()?.first()?.clone().into_owned())
}

#[derive(Debug)]
struct Anything;

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

fn accepted(issuer: &LeafIssuer, config: &Arc<ServerConfig>, name: &str) -> bool {
    let client = Arc::new(client(issuer.root().cert_der(), NOON, &[b"http/1.1"]));
    shake(&client, config, name).is_ok()
}

#[test]
fn own_names_have_a_leaf_that_clients_accept() {
    let (issuer, identity) = identity(&["Vault.Example", "box"], None);
    for name in [
        "vault.example",
        "VAULT.example",
        "box",
        "localhost",
        "host.docker.internal",
    ] {
        let Choice::Own(config) = choose(&identity, Some(name), Protocols::Http1) else {
            panic!("{name} is ours");
        };
        assert!(accepted(&issuer, &config, name), "{name}");
    }
    // Whoever dials an address sends no name.
    let Choice::Own(config) = choose(&identity, None, Protocols::Http1) else {
        panic!("the address is ours");
    };
    assert!(accepted(&issuer, &config, HERE));
    assert!(!accepted(&issuer, &config, "192.0.2.8"));
}

#[test]
fn a_strangers_name_has_no_certificate() {
    for given in [None, Some(given(&["vault.example"]))] {
        let (issuer, identity) = identity(&["box"], given);
        let before = issuer.cached();
        for name in [
            "api.openai.com",
            "evil.box",
            "xlocalhost",
            "localhost.",
            "a.localhost",
            "192.0.2.9",
            "",
            "no name",
        ] {
            let choice = choose(&identity, Some(name), Protocols::Http1);
            assert!(matches!(choice, Choice::Stranger(_)), "{name}");
            assert!(shown(&choice).is_none(), "{name}");
        }
        assert_eq!(issuer.cached(), before, "nothing was made for them");
    }
}

#[test]
fn a_forwarded_address_stands_beside_the_local_one() {
    let (issuer, identity) = identity(&["203.0.113.5"], None);
    let Choice::Own(config) = choose(&identity, None, Protocols::Both) else {
        panic!("the address is ours");
    };
    assert!(accepted(&issuer, &config, HERE));
    assert!(accepted(&issuer, &config, "203.0.113.5"));
}

#[test]
fn a_given_certificate_serves_what_it_covers_and_can_be_replaced() {
    let first = given(&["vault.example", "*.apps.example", HERE]);
    let leaf = first.clone();
    assert_eq!(
        first.expires_at().to_string(),
        "2028-01-01T00:00:00Z",
        "as it says"
    );
    let (issuer, identity) = identity(&["vault.example"], Some(first));
    let of_first = shown(&choose(&identity, Some("vault.example"), Protocols::Http1)).unwrap();
    for asked in [Some("x.apps.example"), None] {
        let choice = choose(&identity, asked, Protocols::Http1);
        assert_eq!(shown(&choice).as_ref(), Some(&of_first), "{asked:?}");
    }
    drop(leaf);
    // What it does not cover is still ours, under our own root.
    let Choice::Own(local) = choose(&identity, Some("localhost"), Protocols::Http1) else {
        panic!("localhost is ours");
    };
    assert!(accepted(&issuer, &local, "localhost"));
    identity.replace(given(&["vault.example"])).unwrap();
    let of_second = shown(&choose(&identity, Some("vault.example"), Protocols::Http1)).unwrap();
    assert_ne!(of_first, of_second);
}

#[test]
fn the_proxy_port_offers_http1_alone() {
    let (issuer, identity) = identity(&[], None);
    let alpn = |protocols, offer: &[&[u8]]| {
        let Choice::Own(config) = choose(&identity, Some("localhost"), protocols) else {
            panic!("localhost is ours");
        };
        let client = Arc::new(client(issuer.root().cert_der(), NOON, offer));
        shake(&client, &config, "localhost")
            .map(|done| done.alpn_protocol().map(<[u8]>::to_vec))
            .map_err(|_| ())
    };
    let http1 = Some(b"http/1.1".to_vec());
    assert_eq!(alpn(Protocols::Http1, &[b"h2", b"http/1.1"]), Ok(http1));
    assert_eq!(alpn(Protocols::Http1, &[]), Ok(None));
    assert_eq!(alpn(Protocols::Http1, &[b"h2"]), Err(()));
    let http2 = Some(b"h2".to_vec());
    assert_eq!(alpn(Protocols::Both, &[b"h2", b"http/1.1"]), Ok(http2));
}

#[test]
fn a_session_with_the_server_does_not_resume_in_a_tunnel() {
    let (issuer, identity) = identity(&[], None);
    let Choice::Own(own) = choose(&identity, Some("localhost"), Protocols::Both) else {
        panic!("localhost is ours");
    };
    let inside = issuer.server_config("localhost", at(NOON)).unwrap();
    let client = Arc::new(client(issuer.root().cert_der(), NOON, &[]));
    shake(&client, &own, "localhost").unwrap();
    let again = shake(&client, &own, "localhost").unwrap();
    assert_eq!(again.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    let other = shake(&client, &inside, "localhost").unwrap();
    assert_eq!(other.handshake_kind(), Some(rustls::HandshakeKind::Full));
}

#[test]
fn broken_pairs_say_what_is_wrong() {
    let (certificate, key) = pair(&["vault.example"]);
    let (other, _) = pair(&["vault.example"]);
    let parse = |chain: &str, key: &str| {
        GivenCertificate::parse(chain.as_bytes(), key.as_bytes()).unwrap_err()
    };
    assert!(matches!(parse("", &key), GivenError::NoCertificate));
    assert!(matches!(parse(&key, &key), GivenError::NoCertificate));
    assert!(matches!(parse(&certificate, ""), GivenError::NoKey));
    assert!(matches!(
        parse(&certificate, &certificate),
        GivenError::NoKey
    ));
    assert!(matches!(parse(&other, &key), GivenError::Mismatch));
    let torn = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    assert!(matches!(
        parse(torn, &key),
        GivenError::Certificate { number: 1, .. }
    ));
    let second = format!("{certificate}{torn}");
    assert!(matches!(
        parse(&second, &key),
        GivenError::Certificate { number: 2, .. }
    ));
    assert!(matches!(
        parse(&certificate.repeat(17), &key),
        GivenError::TooMany
    ));
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let error = parse(&certificate, encrypted);
    assert!(matches!(error, GivenError::NoKey) && error.hint().contains("openssl pkey"));
}

#[test]
fn an_expired_root_speaks_for_nobody() {
    let (_, identity) = identity(&[], None);
    let late = at(NOON + 4000 * crate::DAY);
    let here: IpAddr = HERE.parse().unwrap();
    let refused = identity.choose(None, here, Protocols::Http1, late);
    assert!(matches!(refused, Err(CaError::RootExpired { .. })));
}
