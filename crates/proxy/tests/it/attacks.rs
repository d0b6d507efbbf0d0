//! One attack per promise; the families of them are in the modules below.

mod addresses;
mod bounds;
mod destinations;
mod downgrade;
mod exhaustion;
mod fields;
mod floods;
mod frames;
mod lanes;
mod methods;
mod path_tricks;
mod published;
mod slow;
mod smuggling;
mod upstreams;

use agent_vault_policy::EgressPolicy;
use agent_vault_testing::client::{self, Answer};
use agent_vault_testing::{Canary, Upstream};
use serde_json::json;

use crate::fixture::{Agent, Far, HOST, PATHS, Stage, Way, refusal};

/// An upstream that echoes what it was sent: in the body, compressed, streamed, in headers, in a redirect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reflected_credential_never_reaches_the_agent() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let secret = Canary::new("sk-reflected-");
        let pass = Canary::new("pass-");
        let stage = Stage::builder()
            .trusting(&upstream)
            .credential("TOKEN", secret.expose())
            .credential("PASS", pass.expose())
            .service(json!({"name": "basic", "host": format!("{HOST}/gzip"), "require_tls": false,
                "auth": {"type": "basic", "username": "TOKEN", "password": "PASS"}}))
            .service(json!({"name": "bearer", "host": HOST, "require_tls": false,
                "auth": {"type": "bearer", "token": "TOKEN"},
                "substitutions": [{"key": "PASS", "placeholder": "__pass__", "in": ["path", "query", "body"]}]}))
            .start()
            .await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let check = |answer: &Answer| {
            for canary in [&secret, &pass] {
                let found = canary.find(answer.received());
                assert!(
                    found.is_empty(),
                    "{way:?} {far:?} {found:?} in {}",
                    answer.received()
                );
            }
        };
        for path in ["/echo?p=__pass__", "/gzip", "/br", "/zstd", "/deflate"] {
            let answer = agent
                .get(path, &[("accept-encoding", "gzip, deflate, br, zstd")])
                .await;
            assert_eq!(
                answer.status,
                200,
                "{way:?} {far:?} {path} {}",
                answer.received()
            );
            check(&answer);
            assert!(
                answer.text().contains("authorization"),
                "{path}: the echo is readable"
            );
        }
        let moved = agent.get("/redirect?to=/x/__pass__", &[]).await;
        assert_eq!(moved.status, 302);
        check(&moved);
        assert!(
            moved.headers["location"]
                .to_str()
                .unwrap()
                .starts_with("/x/")
        );
        let streamed = agent
            .ask("POST", "/echo-stream", &[], client::full("a __pass__ b"))
            .await
            .unwrap();
        check(&streamed);
        assert_eq!(streamed.text(), "a __pass__ b");
        // Nothing of it in the log either.
        let logged = format!("{:?}", stage.logged(7).await);
        assert!(secret.find(&logged).is_empty() && pass.find(&logged).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reflected_credential_in_headers_trailers_and_interim_responses() {
    let secret = Canary::new("sk-reflected-");
    let answer = format!(
        "HTTP/1.1 103 Early Hints\r\nX-Hint: {0}\r\n\r\nHTTP/1.1 401 Bearer {0}\r\nX-Echo: Bearer {0}\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: {0}\r\n\r\n",
        secret.expose()
    );
    let upstream = Upstream::builder().name(HOST).raw_answer(answer).start();
    let stage = Stage::builder()
        .trusting(&upstream)
        .bearer(secret.expose())
        .start()
        .await;
    let authority = upstream.authority_of(HOST);
    let mut stream = crate::doors::tunnel(&stage, &authority).await;
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {authority}\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n"
    );
    tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes())
        .await
        .unwrap();
    let (got, _) = crate::doors::read_until(&mut stream, |_| false).await;
    assert!(got.to_lowercase().contains("x-sum: "), "{got}");
    assert!(got.contains(" 103 ") && got.contains(" 401 "), "{got}");
    assert!(secret.find(&got).is_empty(), "{got}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn destinations_cannot_be_confused() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let secret = Canary::new("sk-");
        let stage = Stage::builder()
            .trusting(&upstream)
            .bearer(secret.expose())
            .start()
            .await;
        // The bytes go to `other`, which has no rule; every name that a request carries says HOST, which has one.
        let mut agent =
            Agent::open(&stage, way, &upstream.authority_of("other.example.test")).await;
        let claimed = upstream.authority_of(HOST);
        let mut requests = Vec::new();
        let mut by_host = agent.request("GET", "/x", &[], client::empty());
        by_host
            .headers_mut()
            .insert("host", claimed.parse().unwrap());
        requests.push(by_host);
        if way.is_h2() {
            let mut by_authority = agent.request("GET", "/x", &[], client::empty());
            let scheme = if way == Way::H2 { "https" } else { "http" };
            *by_authority.uri_mut() = format!("{scheme}://{claimed}/x").parse().unwrap();
            requests.push(by_authority);
            let mut by_scheme = agent.request("GET", "/x", &[], client::empty());
            let scheme = if way == Way::H2 { "http" } else { "https" };
            *by_scheme.uri_mut() = format!("{scheme}://{}/x", agent.authority).parse().unwrap();
            requests.push(by_scheme);
        }
        for request in requests {
            let what = format!("{way:?} {far:?} {request:?}");
            let answer = Answer::read(agent.http.send(request).await.unwrap())
                .await
                .unwrap();
            assert!(
                [400, 421].contains(&answer.status.as_u16()),
                "{what} {}",
                answer.received()
            );
            refusal(&answer);
        }
        assert!(upstream.requests().is_empty(), "{way:?} {far:?}");
        // Other spellings of one name are one name.
        let mut shouting =
            Agent::open(&stage, way, &upstream.authority_of("API.Example.TEST")).await;
        if let Ok(answer) = shouting.ask("GET", "/y", &[], client::empty()).await {
            assert_eq!(answer.status, 200, "{way:?} {far:?}");
            let seen = upstream.latest("/y").unwrap();
            assert_eq!(
                seen.header("authorization").unwrap(),
                format!("Bearer {}", secret.expose())
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_token_in_the_wrong_header_does_not_leave() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = Stage::builder().trusting(&upstream).start().await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let token = format!("Bearer {}", stage.token);
        let plain = stage.token.clone();
        agent
            .get(
                "/",
                &[
                    ("authorization", &token),
                    ("x-api-key", &plain),
                    ("x-other", "kept"),
                ],
            )
            .await;
        let seen = upstream.requests().pop().unwrap();
        assert!(
            !format!("{seen:?}").contains(&stage.token),
            "{way:?} {far:?}"
        );
        assert_eq!(seen.header("x-other"), Some("kept"));
        let logged = stage.last_logged(1).await;
        assert!(
            logged
                .warnings
                .contains(&"vault_token_dropped:authorization".to_owned())
        );
        assert!(!format!("{logged:?}").contains(&stage.token));
    }
}

/// As above, in the form in which `git` and others send it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_token_inside_basic_does_not_leave() {
    let upstream = Far::H1.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let mut agent = Agent::open(&stage, Way::H1, &upstream.authority_of(HOST)).await;
    for text in [format!("{}:", stage.token), format!("x:{}", stage.token)] {
        let basic = crate::fixture::basic(&text);
        agent.get("/", &[("authorization", &basic)]).await;
        let seen = upstream.requests().pop().unwrap();
        assert!(!seen.headers.contains_key("authorization"), "{seen:?}");
    }
}

/// A name whose answer changes to an inside address after it was seen outside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rebinding_and_metadata_addresses() {
    let upstream = Far::Plain.start();
    // 127.0.0.1 is allowed, as an outside address would be; 127.0.0.2 stands for the inside.
    let stage = Stage::builder().start().await;
    let host = "rebind.example.test";
    stage.names.script(
        host,
        &[
            &["127.0.0.1"],
            &["127.0.0.2"],
            &["169.254.169.254"],
            &["10.0.0.1"],
            &["::"],
            &["::ffff:127.0.0.2"],
            &["fd00:ec2::254"],
        ],
    );
    let authority = upstream.authority_of(host);
    let mut agent = Agent::open(&stage, Way::Absolute, &authority).await;
    // The upstream closes, so that each request needs a connection, and so a look-up, of its own.
    assert_eq!(agent.get("/close", &[]).await.status, 200);
    for _ in 0..6 {
        let answer = agent.get("/close", &[]).await;
        assert_eq!(answer.status, 502, "{}", answer.received());
        let body = refusal(&answer);
        assert_eq!(body["error"], "upstream_error");
        assert!(
            !body["message"].as_str().unwrap().contains("10.0.0.1"),
            "{body}"
        );
    }
    assert_eq!(upstream.requests().len(), 1);

    // Metadata is never reached, whatever the operator allows.
    let stage = Stage::builder()
        .egress(EgressPolicy {
            allow_private: true,
            allow: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
        })
        .start()
        .await;
    for host in [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "[fd00:ec2::254]",
        "[fd20:ce::254]",
        "[::ffff:169.254.169.254]",
    ] {
        let mut agent = Agent::open(&stage, Way::Absolute, &format!("{host}:80")).await;
        let answer = agent.get("/latest/meta-data/", &[]).await;
        assert_eq!(answer.status, 502, "{host}");
        assert!(
            answer.text().contains("may not be connected to"),
            "{}",
            answer.text()
        );
    }
}

/// A placeholder stands for its value on the surfaces that the rule names and nowhere else, and a value that holds
/// another placeholder is not searched again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_does_not_choose_where_a_value_lands() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = Stage::builder()
            .trusting(&upstream)
            .credential("ONE", "__two__")
            .credential("TWO", "value-of-two")
            .service(json!({"name": "both", "host": HOST, "require_tls": false,
            "auth": {"type": "custom", "headers": {"X-Set": "{{ONE}}"}},
            "substitutions": [
                {"key": "ONE", "placeholder": "__one__", "in": ["query"]},
                {"key": "TWO", "placeholder": "__two__", "in": ["query", "header"]},
            ]}))
            .start()
            .await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        agent
            .get(
                "/__two__?a=__one__&b=__two__&c=__TWO__",
                &[("x-own", "__one__")],
            )
            .await;
        let seen = upstream.requests().pop().unwrap();
        assert_eq!(
            seen.target, "/__two__?a=__two__&b=value-of-two&c=__TWO__",
            "{way:?} {far:?}"
        );
        assert_eq!(seen.header("x-set"), Some("__two__"));
        assert_eq!(seen.header("x-own"), Some("__one__"));
    }
}
