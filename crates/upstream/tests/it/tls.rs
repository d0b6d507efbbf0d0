//! Who is believed, and which protocol comes out.

use std::time::Duration;

use agent_vault_policy::Scheme;
use agent_vault_upstream::{AlpnOffer, Limits, Negotiated, UpstreamErrorKind};
use rcgen::CertificateParams;
use rustls::HandshakeKind;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use crate::fixture::{Peer, Pki, Setup, dial, echoes, secure};

#[tokio::test]
async fn a_trusted_upstream() {
    let pki = Pki::new();
    let peer = Peer::tls(pki.server(&["api.example.com", "my_bucket.example.com"], &[])).await;
    let dialer = Setup::new(&pki).dialer();
    for host in ["api.example.com", "my_bucket.example.com"] {
        let mut dialed = secure(&dialer, &peer.at(host), AlpnOffer::Any)
            .await
            .unwrap();
        assert!(dialed.io.is_tls());
        assert_eq!(dialed.negotiated, None, "the upstream chose nothing");
        echoes(&mut dialed).await;
    }
}

#[tokio::test]
async fn an_address_is_verified_as_an_address() {
    let pki = Pki::new();
    let dialer = Setup::new(&pki).dialer();
    let right = Peer::tls(pki.server(&["127.0.0.1"], &[])).await;
    assert!(
        secure(&dialer, &right.at("127.0.0.1"), AlpnOffer::Any)
            .await
            .is_ok()
    );
    let wrong = Peer::tls(pki.server(&["127.0.0.2", "localhost"], &[])).await;
    let refused = secure(&dialer, &wrong.at("127.0.0.1"), AlpnOffer::Any)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), UpstreamErrorKind::Tls);
}

#[tokio::test]
async fn certificates_that_are_not_accepted() {
    let pki = Pki::new();
    let stranger = Pki::new();
    let names = || CertificateParams::new(vec!["api.example.com".to_owned()]).unwrap();
    let mut expired = names();
    expired.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let mut early = names();
    early.not_before = rcgen::date_time_ymd(3000, 1, 1);
    let mut client_only = names();
    client_only.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    for (config, words) in [
        (
            stranger.server(&["api.example.com"], &[]),
            "authority that is not trusted",
        ),
        (pki.server(&["www.example.com"], &[]), "is for another name"),
        (pki.server(&["127.0.0.1"], &[]), "is for another name"),
        (pki.server_with(expired, &[]), "has expired"),
        (pki.server_with(early, &[]), "is not valid yet"),
        (pki.server_with(client_only, &[]), "not meant for servers"),
    ] {
        let peer = Peer::tls(config).await;
        let refused = secure(
            &Setup::new(&pki).dialer(),
            &peer.at("api.example.com"),
            AlpnOffer::Any,
        )
        .await
        .unwrap_err();
        assert_eq!(refused.kind(), UpstreamErrorKind::Tls);
        assert!(refused.certainly_not_sent());
        assert!(refused.message().contains(words), "{refused:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_speak_tls() {
    let pki = Pki::new();
    let peer = Peer::serving(|mut socket| async move {
        let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        std::future::pending::<()>().await;
    })
    .await;
    let refused = secure(
        &Setup::new(&pki).dialer(),
        &peer.at("api.example.com"),
        AlpnOffer::Any,
    )
    .await
    .unwrap_err();
    assert_eq!(refused.kind(), UpstreamErrorKind::Tls);
    assert!(
        refused.message().contains("does not speak TLS"),
        "{refused}"
    );

    let hangs_up = Peer::serving(|socket| async move { drop(socket) }).await;
    let refused = secure(
        &Setup::new(&pki).dialer(),
        &hangs_up.at("api.example.com"),
        AlpnOffer::Any,
    )
    .await
    .unwrap_err();
    assert_eq!(refused.kind(), UpstreamErrorKind::Tls);
}

#[tokio::test]
async fn a_handshake_that_stalls() {
    let pki = Pki::new();
    let peer = Peer::silent().await;
    let mut setup = Setup::new(&pki);
    setup.limits = Limits {
        handshake: Duration::from_millis(50),
        ..Limits::default()
    };
    let error = secure(&setup.dialer(), &peer.at("api.example.com"), AlpnOffer::Any)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), UpstreamErrorKind::Timeout);
    assert!(error.message().contains("TLS handshake"), "{error}");
}

#[tokio::test]
async fn versions_are_negotiated() {
    const H1: Option<Negotiated> = Some(Negotiated::Http1);
    const H2: Option<Negotiated> = Some(Negotiated::Http2);
    let pki = Pki::new();
    let dialer = Setup::new(&pki).dialer();
    for (speaks, offer, expected) in [
        (&["h2", "http/1.1"][..], AlpnOffer::Any, Ok(H2)),
        (&["h2", "http/1.1"], AlpnOffer::Http1, Ok(H1)),
        (&["h2", "http/1.1"], AlpnOffer::Http2, Ok(H2)),
        (&["http/1.1"], AlpnOffer::Any, Ok(H1)),
        (&["http/1.1"], AlpnOffer::Http1, Ok(H1)),
        (&["http/1.1"], AlpnOffer::Http2, Err(UpstreamErrorKind::Tls)),
        (&["h2"], AlpnOffer::Any, Ok(H2)),
        (&["h2"], AlpnOffer::Http1, Err(UpstreamErrorKind::Tls)),
        (&[], AlpnOffer::Any, Ok(None)),
        (&[], AlpnOffer::Http1, Ok(None)),
        (&[], AlpnOffer::Http2, Err(UpstreamErrorKind::Protocol)),
    ] {
        let peer = Peer::tls(pki.server(&["api.example.com"], speaks)).await;
        let outcome = secure(&dialer, &peer.at("api.example.com"), offer)
            .await
            .map(|dialed| dialed.negotiated)
            .map_err(|error| error.kind());
        assert_eq!(outcome, expected, "{speaks:?} {offer:?}");
    }
}

#[tokio::test]
async fn sessions_are_resumed_within_a_vault_and_not_across() {
    let pki = Pki::new();
    let peer = Peer::tls(pki.server(&["api.example.com"], &["h2", "http/1.1"])).await;
    let dialer = Setup::new(&pki).dialer();
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    for (vault, offer) in [
        (one, AlpnOffer::Any),
        (one, AlpnOffer::Any),
        (two, AlpnOffer::Any),
        (one, AlpnOffer::Http1),
        (two, AlpnOffer::Any),
    ] {
        let mut dialed = dial(
            &dialer,
            Scheme::Https,
            &peer.at("api.example.com"),
            offer,
            vault,
        )
        .await
        .unwrap();
        // Tickets come after the handshake and are taken in with the first bytes.
        echoes(&mut dialed).await;
    }
    use HandshakeKind::{Full, Resumed};
    assert_eq!(
        *peer.handshakes.lock().unwrap(),
        [Full, Resumed, Full, Resumed, Resumed]
    );
}
