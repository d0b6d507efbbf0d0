//! Tokens that are confined: an agent that holds one tries to use it from elsewhere, more often, or for another service.

use std::sync::Arc;

use agent_vault_broker::{Broker, RequestBudget, TokenBounds};
use agent_vault_testing::client::{self, Stream};
use agent_vault_testing::{Canary, within};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use super::path_tricks::{Carries, PATHS_TRIED};
use crate::fixture::{Agent, Far, HOST, PATHS, Stage, Way, basic, refusal};
use crate::upgrades;

fn only(services: &[&str]) -> TokenBounds {
    TokenBounds {
        services: Some(services.iter().map(ToString::to_string).collect()),
        ..TokenBounds::default()
    }
}

fn auth(token: &agent_vault_seal::Token) -> String {
    basic(&format!("{}:", token.expose()))
}

/// Whoever writes what was counted, for as long as the runtime lasts.
fn keep_writing(broker: Arc<Broker>) {
    tokio::spawn(async move {
        let mut totals = std::collections::HashMap::new();
        loop {
            broker.spent_is_due().await;
            for (token, count) in broker.take_spent() {
                let total = totals.entry(token).or_insert(0);
                *total += count;
                broker.settle_spent(&token, count, *total);
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_was_carried_elsewhere_opens_nothing() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = Stage::builder()
            .trusting(&upstream)
            .bearer("sk-secret-value")
            .start()
            .await;
        let token = stage.bounded(TokenBounds {
            sources: vec!["192.0.2.0/24".parse().unwrap(), "::/0".parse().unwrap()],
            ..TokenBounds::default()
        });
        let authority = upstream.authority_of(HOST);
        let forged = [
            ("x-forwarded-for", "192.0.2.7"),
            ("forwarded", "for=192.0.2.7"),
        ];
        if way == Way::Absolute {
            let mut agent = Agent::with_auth(&stage, way, &authority, &auth(&token))
                .await
                .unwrap();
            let answer = agent.get("/", &forged).await;
            assert_eq!(answer.status, 403, "{way:?} {far:?}");
            assert_eq!(refusal(&answer)["error"], "token_source");
        } else {
            let tasks = agent_vault_testing::tasks::Tasks::new();
            let mut connection = client::ProxyConnection::open(stage.addr, &tasks.spawner())
                .await
                .unwrap();
            let tunnel = connection.connect(&authority, Some(&auth(&token))).await;
            assert_eq!(tunnel.unwrap().refused().status, 403, "{way:?} {far:?}");
        }
        let record = stage.last_logged(1).await;
        assert_eq!((record.status, record.error_code), (403, "token_source"));
        assert_eq!(*record.session, token.hash().to_hex()[..20]);
        assert!(upstream.requests().is_empty(), "{way:?} {far:?}");
    }
}

/// The address that counts is the client's, which a balancer names and a client cannot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_token_comes_from_is_what_the_balancer_says() {
    let upstream = Far::Plain.start();
    let stage = Stage::builder().balanced_by("127.0.0.0/8").start().await;
    let token = stage.bounded(TokenBounds {
        sources: vec!["192.0.2.0/24".parse().unwrap()],
        ..TokenBounds::default()
    });
    let authority = upstream.authority_of(HOST);
    for (from, expected) in [("192.0.2.7", "200"), ("198.51.100.7", "403")] {
        for proxied in [
            format!("GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\n"),
            format!(
                "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nX-Forwarded-For: 192.0.2.9\r\n"
            ),
        ] {
            let mut stream: Stream = Box::new(client::dial(stage.addr).await.unwrap());
            let request = format!(
                "PROXY TCP4 {from} 10.0.0.1 8080 443\r\n{proxied}Proxy-Authorization: {}\r\n\r\n",
                auth(&token)
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut status = [0; 12];
            within("a status", stream.read_exact(&mut status))
                .await
                .unwrap();
            assert_eq!(status[9..], *expected.as_bytes(), "{from} {proxied}");
        }
    }
    assert_eq!(upstream.requests().len(), 1);
}

/// Hundreds of requests at once over HTTP/1.1, HTTP/2, in clear and as WebSockets: exactly as many go out as the token has.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_requests_get_no_more_than_the_budget() {
    const LIMIT: u64 = 77;
    let (tls, clear) = (Far::H1.start(), Far::Plain.start());
    let stage = Stage::builder()
        .trusting(&tls)
        .bearer("sk-secret-value")
        .start()
        .await;
    keep_writing(Arc::clone(&stage.broker));
    let token = stage.bounded(TokenBounds {
        budget: Some(RequestBudget {
            limit: LIMIT,
            spent: 0,
        }),
        ..TokenBounds::default()
    });
    let stage = Arc::new(stage);
    let mut racing = JoinSet::new();
    for n in 0..24 {
        let (way, authority) = match n % 3 {
            0 => (Way::H1, tls.authority_of(HOST)),
            1 => (Way::H2, tls.authority_of(HOST)),
            _ => (Way::Absolute, clear.authority_of(HOST)),
        };
        let (stage, auth) = (Arc::clone(&stage), auth(&token));
        racing.spawn(async move {
            let mut had = 0;
            let mut agent = Agent::with_auth(&stage, way, &authority, &auth)
                .await
                .unwrap();
            for _ in 0..8 {
                let answer = agent.get("/raced", &[]).await;
                match answer.status.as_u16() {
                    200 => had += 1,
                    403 => assert_eq!(refusal(&answer)["error"], "budget_spent"),
                    other => panic!("{other} {}", answer.received()),
                }
            }
            if way == Way::H1 {
                match upgrades::open(&mut agent, "/ws", &[]).await.unwrap() {
                    Ok(_) => had += 1,
                    Err(answer) => assert_eq!(answer.status, 403, "{}", answer.received()),
                }
            }
            had
        });
    }
    let had: u64 = racing.join_all().await.iter().sum();
    assert_eq!(had, LIMIT);
    let arrived = tls.requests().len() + clear.requests().len();
    assert_eq!(arrived as u64, LIMIT);
    assert_eq!(stage.broker.budget_left(&token.hash()), Some(0));
    let record = stage.logged_that(|record| record.status == 403).await;
    assert_eq!(record.error_code, "budget_spent");
    // Another token of the same vault is none the poorer.
    let mut other = Agent::open(&stage, Way::H1, &tls.authority_of(HOST)).await;
    assert_eq!(other.get("/", &[]).await.status, 200);
}

/// A request that policy refuses is none of those that a token has; one whose upstream fails is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_go_out_is_not_counted() {
    let upstream = Far::Plain.start();
    let stage = Stage::builder()
        .bearer("sk-secret-value")
        .deny_unmatched()
        .start()
        .await;
    keep_writing(Arc::clone(&stage.broker));
    let token = stage.bounded(TokenBounds {
        budget: Some(RequestBudget { limit: 9, spent: 4 }),
        ..TokenBounds::default()
    });
    let left = || stage.broker.budget_left(&token.hash()).unwrap();
    let open = |host: &str| {
        let authority = upstream.authority_of(host);
        let (stage, auth) = (&stage, auth(&token));
        async move {
            Agent::with_auth(stage, Way::Absolute, &authority, &auth)
                .await
                .unwrap()
        }
    };
    let refused = open("other.example.test").await.get("/", &[]).await;
    assert_eq!(refused.status, 403);
    let traced = open(HOST)
        .await
        .ask("TRACE", "/", &[], client::empty())
        .await;
    assert_eq!(traced.unwrap().status, 405);
    assert_eq!(left(), 5);
    assert_eq!(open(HOST).await.get("/", &[]).await.status, 200);
    assert_eq!(left(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reading_of_a_path_reaches_a_service_outside_of_the_token() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let (public, admin) = (Canary::new("sk-public-"), Canary::new("sk-admin-"));
        let stage = Stage::builder()
            .trusting(&upstream)
            .credential("PUBLIC", public.expose())
            .credential("ADMIN", admin.expose())
            // The wide one would take what the narrow one has, were that not there.
            .service(json!({"name": "public", "host": HOST,
                "require_tls": false, "auth": {"type": "bearer", "token": "PUBLIC"}}))
            .service(json!({"name": "admin", "host": format!("{HOST}/admin/*"),
                "require_tls": false, "auth": {"type": "bearer", "token": "ADMIN"},
                "substitutions": [{"key": "ADMIN", "placeholder": "__admin__", "in": ["path", "query", "header", "body"]}]}))
            .start()
            .await;
        let token = stage.bounded(only(&["public"]));
        let authority = upstream.authority_of(HOST);
        let mut agent = Agent::with_auth(&stage, way, &authority, &auth(&token))
            .await
            .unwrap();
        for (path, carries) in PATHS_TRIED {
            if *path == "*" || http::Request::builder().uri(*path).body(()).is_err() {
                continue;
            }
            upstream.clear();
            let answer = agent
                .ask("GET", path, &[], client::empty())
                .await
                .unwrap_or_else(|error| panic!("{path} {way:?} {far:?}: {error}"));
            let seen = format!("{:?}", upstream.requests());
            admin.assert_absent(path, &seen);
            if *carries == Carries::Admin {
                assert_eq!(answer.status, 403, "{path} {way:?} {far:?}");
                let body = refusal(&answer);
                assert_eq!(body["error"], "service_not_in_token");
                assert!(upstream.requests().is_empty(), "{path} {way:?} {far:?}");
            }
        }
        // The other service's placeholder, wherever it would have been replaced.
        upstream.clear();
        let body = client::full("__admin__");
        let _ = agent
            .ask(
                "POST",
                "/__admin__?q=__admin__",
                &[("x-own", "__admin__")],
                body,
            )
            .await;
        admin.assert_absent("a placeholder", format!("{:?}", upstream.requests()));
        if !way.is_h2() && far != Far::H2 {
            let refused = upgrades::open(&mut agent, "/admin/ws", &[]).await.unwrap();
            assert_eq!(refused.unwrap_err().status, 403, "{way:?} {far:?}");
        }
        let record = stage
            .logged_that(|record| record.error_code == "service_not_in_token")
            .await;
        assert_eq!(record.service.as_deref(), Some("admin"));
    }
}

/// A service that is added, or renamed to what it is not, is none of the token's; one that is replaced under the same name still is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_follows_names_and_nothing_else() {
    let upstream = Far::Plain.start();
    let mut stage = Stage::builder().bearer("sk-secret-value").start().await;
    let token = stage.bounded(only(&["bearer"]));
    let mut agent = Agent::with_auth(
        &stage,
        Way::Absolute,
        &upstream.authority_of(HOST),
        &auth(&token),
    )
    .await
    .unwrap();
    assert_eq!(agent.get("/", &[]).await.status, 200);
    stage.vault.services[0]["name"] = json!("renamed");
    stage.publish();
    let answer = agent.get("/", &[]).await;
    assert_eq!(refusal(&answer)["error"], "service_not_in_token");
    // None of that is about hosts that no service is for: the vault's policy is.
    let other = upstream.authority_of("other.example.test");
    let mut agent = Agent::with_auth(&stage, Way::Absolute, &other, &auth(&token))
        .await
        .unwrap();
    assert_eq!(agent.get("/", &[]).await.status, 200);
}
