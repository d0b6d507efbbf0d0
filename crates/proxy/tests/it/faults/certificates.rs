//! Upstreams whose certificate is no good: nothing is sent, and the refusal says what is wrong.

use agent_vault_testing::client;
use agent_vault_testing::pki::{Identity, TestCa, Validity};
use agent_vault_testing::tasks::Tasks;
use agent_vault_testing::upstream::read_head;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::fixture::{Agent, HOST, Stage, Way, refusal};

const SECRET: &str = "sk-secret-for-nobody";

#[tokio::test]
async fn every_bad_certificate_is_named_and_nothing_is_sent() {
    let ca = TestCa::new();
    let names = [HOST.to_owned()];
    let wrong = ["wrong.example.test".to_owned()];
    let own_root = TestCa::new();
    let cases: Vec<(Identity, &str, &str)> = vec![
        (
            ca.issue(&names, Validity::EXPIRED),
            "upstream_tls_expired",
            "renew",
        ),
        (
            ca.issue(&names, Validity::FUTURE),
            "upstream_tls_not_yet_valid",
            "clock",
        ),
        (
            ca.issue(&wrong, Validity::CURRENT),
            "upstream_tls_wrong_name",
            "name",
        ),
        (
            ca.issue_for_clients(&names),
            "upstream_tls_wrong_purpose",
            "server authentication",
        ),
        (
            Identity::self_signed(&names),
            "upstream_tls_untrusted",
            "--upstream-ca",
        ),
        (
            own_root.issue(&names, Validity::CURRENT),
            "upstream_tls_untrusted",
            "--upstream-ca",
        ),
        // Both at once: what is checked first is told first.
        (
            own_root.issue(&names, Validity::EXPIRED),
            "upstream_tls_expired",
            "renew",
        ),
    ];
    let stage = Stage::builder()
        .trusting_pem(&ca.pem())
        .bearer(SECRET)
        .start()
        .await;
    let tasks = Tasks::new();
    let mut logged = 0;
    for (identity, code, hint) in cases {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = format!("{HOST}:{}", listener.local_addr().unwrap().port());
        let acceptor = TlsAcceptor::from(identity.server_config(&["h2", "http/1.1"]));
        let (tell, mut told) = tokio::sync::mpsc::channel::<Vec<u8>>(16);
        tasks.spawner().spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                if let Ok(mut stream) = acceptor.accept(socket).await {
                    tell.send(read_head(&mut stream).await).await.unwrap();
                }
            }
        });
        for way in [Way::H1, Way::H2] {
            let mut agent = Agent::open(&stage, way, &authority).await;
            for (method, websocket) in [("GET", false), ("POST", false), ("GET", true)] {
                let what = format!("{code} {way:?} {method} websocket={websocket}");
                let answer = if websocket {
                    crate::upgrades::open(&mut agent, "/", &[])
                        .await
                        .unwrap()
                        .err()
                        .unwrap()
                } else {
                    agent
                        .ask(method, "/", &[], client::full("x"))
                        .await
                        .unwrap()
                };
                assert_eq!(answer.status, 502, "{what}");
                let body = refusal(&answer);
                assert_eq!(body["error"], "upstream_error", "{what}");
                assert_eq!(body["code"], code, "{what}");
                assert_eq!(body["fault"], "upstream", "{what}");
                assert!(
                    body["hint"].as_str().unwrap().contains(hint),
                    "{what}: {body}"
                );
                assert!(!answer.received().contains(SECRET), "{what}");
                logged += 1;
                assert_eq!(stage.last_logged(logged).await.error_code, code, "{what}");
                agent = Agent::open(&stage, way, &authority).await;
            }
        }
        // A handshake that the other side saw succeed brought it nothing.
        while let Ok(head) = told.try_recv() {
            assert!(
                head.is_empty(),
                "{code}: {}",
                String::from_utf8_lossy(&head)
            );
        }
    }
}
