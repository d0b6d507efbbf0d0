//! What every protocol path does alike: agent h1, h2, absolute-form and clear × upstream h1, h2 and plain.

use agent_vault_proxy::LogDecision;
use agent_vault_testing::{Canary, client};
use http::Version;
use serde_json::json;

use crate::fixture::{Agent, Far, HOST, PATHS, Stage, StageBuilder, Way, basic, refusal};

async fn bearer(far: &agent_vault_testing::Upstream, secret: &Canary) -> Stage {
    Stage::builder()
        .trusting(far)
        .bearer(secret.expose())
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_credential_arrives_and_the_request_is_the_clients_own() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let secret = Canary::new("sk-");
        let stage = bearer(&upstream, &secret).await;
        let authority = upstream.authority_of(HOST);
        let mut agent = Agent::open(&stage, way, &authority).await;
        let mut headers = vec![
            ("authorization", "Bearer placeholder"),
            ("anthropic-version", "2023-06-01"),
            ("openai-beta", "assistants=v2"),
            ("if-match", "\"abc\""),
            ("accept", "text/a"),
            ("accept", "text/b"),
            ("x-vault", "other"),
            ("te", "trailers"),
        ];
        if !way.is_h2() {
            headers.extend([
                ("connection", "x-private, keep-alive"),
                ("x-private", "1"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "keep-alive"),
                ("proxy-authenticate", "x"),
            ]);
            headers.retain(|(name, _)| *name != "te");
        }
        if way != Way::Absolute {
            headers.push(("proxy-authorization", "Bearer inner"));
        }
        let answer = agent
            .ask(
                "POST",
                "/a%20b/c?q=%2Fx&y",
                &headers,
                client::full("payload"),
            )
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{way:?} {far:?} {}", answer.received());
        let seen = upstream.requests().pop().unwrap();
        let what = format!("{way:?} {far:?} {seen:?}");
        assert_eq!(
            seen.header_all("authorization"),
            [format!("Bearer {}", secret.expose())],
            "{what}"
        );
        assert_eq!(seen.target, "/a%20b/c?q=%2Fx&y", "{what}");
        assert_eq!(seen.method, "POST");
        assert_eq!(seen.body_text(), "payload", "{what}");
        assert_eq!(seen.header_all("accept"), ["text/a", "text/b"], "{what}");
        for (name, value) in [
            ("anthropic-version", "2023-06-01"),
            ("openai-beta", "assistants=v2"),
            ("if-match", "\"abc\""),
            ("content-length", "7"),
        ] {
            assert_eq!(seen.header(name), Some(value), "{name} {what}");
        }
        for gone in [
            "x-vault",
            "x-private",
            "keep-alive",
            "proxy-connection",
            "proxy-authorization",
            "proxy-authenticate",
            "via",
            "forwarded",
            "x-forwarded-for",
            "transfer-encoding",
            "user-agent",
            "accept-encoding-added",
        ] {
            assert!(!seen.headers.contains_key(gone), "{gone} {what}");
        }
        assert_eq!(seen.host(), Some(authority.as_str()), "{what}");
        let version = if far == Far::H2 {
            Version::HTTP_2
        } else {
            Version::HTTP_11
        };
        assert_eq!(seen.version, version);

        let logged = stage.last_logged(1).await;
        assert_eq!(logged.decision, LogDecision::Brokered, "{what}");
        assert_eq!(logged.service.as_deref(), Some("bearer"));
        assert_eq!(
            logged.keys.as_deref(),
            Some(["TOKEN".to_owned()].as_slice())
        );
        assert_eq!(logged.host.as_ref(), authority);
        assert_eq!(logged.path, "/a b/c");
        assert_eq!(logged.status, 200);
        assert_eq!(logged.error_code, "");
        assert_eq!(logged.client_auth, Some(("bearer", "Authorization")));
        assert!(secret.find(format!("{logged:?}")).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_is_the_upstreams_own() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let secret = Canary::new("sk-");
        let stage = bearer(&upstream, &secret).await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let what = format!("{way:?} {far:?}");

        let cookies = agent.get("/set-cookie", &[]).await;
        assert_eq!(cookies.status, 200, "{what}");
        assert!(!cookies.headers.contains_key("set-cookie"), "{what}");

        let forged = agent.get("/forged-marker", &[]).await;
        assert_eq!(forged.status, 403);
        assert!(
            !forged.headers.contains_key("x-agent-vault-proxy-error"),
            "{what}"
        );

        let hops = agent.get("/hop-by-hop", &[]).await;
        for gone in [
            "x-hop",
            "keep-alive",
            "proxy-authenticate",
            "proxy-connection",
        ] {
            assert!(!hops.headers.contains_key(gone), "{gone} {what}");
        }
        assert_eq!(hops.headers.get("x-end").unwrap(), "kept");

        let moved = agent.get("/redirect?to=/elsewhere", &[]).await;
        assert_eq!(moved.status, 302);
        assert_eq!(moved.headers.get("location").unwrap(), "/elsewhere");

        let big = agent.get("/big-header/60000", &[]).await;
        assert_eq!(big.status, 200, "{what}");
        assert_eq!(big.headers.get("x-big").unwrap().len(), 60_000);

        for (path, length) in [("/bytes/0", 0), ("/bytes/70000", 70_000)] {
            let body = agent.get(path, &[]).await;
            assert_eq!(body.body.len(), length, "{what} {path}");
            if length > 0 {
                assert_eq!(
                    body.headers.get("content-length").unwrap(),
                    &length.to_string(),
                    "{what} {path}"
                );
            }
        }
        assert_eq!(agent.get("/chunks/70000", &[]).await.body.len(), 70_000);

        for (status, body) in [
            (204, ""),
            (304, ""),
            (404, "404 Not Found\n"),
            (500, "500 Internal Server Error\n"),
        ] {
            let answer = agent.get(&format!("/status/{status}"), &[]).await;
            assert_eq!(answer.status, status, "{what}");
            assert_eq!(answer.text(), body, "{what}");
            assert!(!answer.headers.contains_key("transfer-encoding") || status > 399);
        }
        for record in stage.logged(10).await {
            assert_eq!(record.error_code, "", "{what} {record:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_tells_the_length_and_has_no_body() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let secret = Canary::new("sk-");
        let stage = bearer(&upstream, &secret).await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let what = format!("{way:?} {far:?}");
        let known = agent
            .ask("HEAD", "/bytes/1234", &[], client::empty())
            .await
            .unwrap();
        assert_eq!(known.status, 200);
        assert_eq!(
            known.headers.get("content-length").unwrap(),
            "1234",
            "{what}"
        );
        assert!(known.body.is_empty());
        let unknown = agent
            .ask("HEAD", "/trailers", &[], client::empty())
            .await
            .unwrap();
        assert_eq!(unknown.headers.get("content-length"), None, "{what}");
        // The connection is still in order.
        assert_eq!(agent.get("/status/200", &[]).await.status, 200, "{what}");
        stage.logged(3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_no_service_matches() {
    for (way, far) in PATHS {
        let upstream = far.start();
        for deny in [false, true] {
            let secret = Canary::new("sk-");
            let mut builder = Stage::builder().trusting(&upstream).bearer(secret.expose());
            if deny {
                builder = builder.deny_unmatched();
            }
            let stage = builder.start().await;
            let authority = upstream.authority_of("other.example.test");
            let mut agent = Agent::open(&stage, way, &authority).await;
            let answer = agent
                .get("/x", &[("authorization", "Bearer own"), ("cookie", "a=b")])
                .await;
            let logged = stage.last_logged(1).await;
            assert_eq!(logged.service, None);
            if deny {
                assert_eq!(answer.status, 403, "{way:?} {far:?}");
                let body = refusal(&answer);
                assert_eq!(body["error"], "forbidden");
                assert_eq!(body["proposal_hint"]["host"], authority);
                assert_eq!(logged.error_code, "no_match");
                assert_eq!(logged.decision, LogDecision::Refused);
                // HEAD is refused without a body.
                let head = agent.ask("HEAD", "/x", &[], client::empty()).await.unwrap();
                assert_eq!(head.status, 403, "{way:?}");
                assert!(head.body.is_empty());
            } else {
                assert_eq!(answer.status, 200);
                let seen = upstream.requests().pop().unwrap();
                assert_eq!(seen.header("authorization"), Some("Bearer own"));
                assert_eq!(seen.header("cookie"), Some("a=b"));
                assert_eq!(logged.decision, LogDecision::Passed);
                // An account's own cookies pass where nothing was brokered.
                let cookies = agent.get("/set-cookie", &[]).await;
                assert_eq!(cookies.headers.get_all("set-cookie").iter().count(), 2);
            }
        }
    }
}

/// What a rule or the vault refuses: (case, status, `error`, code in the log).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_policy_refuses_is_refused_on_every_path() {
    type Build = fn(StageBuilder) -> StageBuilder;
    let cases: [(&str, Build, &str, &str, u16, &str, &str); 7] = [
        (
            "disabled",
            |b| {
                b.service(
                    json!({"name": "off", "host": HOST, "enabled": false, "require_tls": false,
                    "auth": {"type": "passthrough"}}),
                )
            },
            "GET",
            "/",
            403,
            "service_disabled",
            "service_disabled",
        ),
        (
            "no credential",
            |b| {
                b.service(
                    json!({"name": "missing", "host": HOST, "require_tls": false,
                    "auth": {"type": "bearer", "token": "TOKEN"}}),
                )
            },
            "GET",
            "/",
            502,
            "credential_not_found",
            "credential_not_found",
        ),
        (
            "two accounts",
            |b| {
                b.credential("TOKEN", "v")
                    .service(json!({"name": "one", "host": HOST, "require_tls": false,
                        "auth": {"type": "bearer", "token": "TOKEN"}, "select": {"placeholder": "__one__"}}))
                    .service(json!({"name": "two", "host": HOST, "require_tls": false,
                        "auth": {"type": "bearer", "token": "TOKEN"}, "select": {"placeholder": "__two__"}}))
            },
            "GET",
            "/",
            409,
            "",
            "",
        ),
        (
            "trace",
            |b| b.bearer("v"),
            "TRACE",
            "/",
            405,
            "method_not_allowed",
            "method_not_allowed",
        ),
        (
            "ambiguous path",
            |b| {
                b.credential("TOKEN", "v")
                    .service(json!({"name": "scoped", "host": format!("{HOST}/public/*"), "require_tls": false,
                        "auth": {"type": "bearer", "token": "TOKEN"}}))
            },
            "GET",
            "/public/%2e%2e/admin",
            400,
            "",
            "",
        ),
        (
            "broken rules",
            StageBuilder::broken_rules,
            "GET",
            "/",
            503,
            "internal",
            "rules_unreadable",
        ),
        (
            "a value that fits nowhere",
            |b| {
                b.credential("TOKEN", "line\nbreak")
                    .service(json!({"name": "broken", "host": HOST, "require_tls": false,
                        "auth": {"type": "bearer", "token": "TOKEN"}}))
            },
            "GET",
            "/",
            502,
            "substitution_error",
            "substitution_error",
        ),
    ];
    for (way, far) in PATHS {
        let upstream = far.start();
        for (name, build, method, path, status, error, code) in &cases {
            let stage = build(Stage::builder().trusting(&upstream)).start().await;
            let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
            let answer = agent.ask(method, path, &[], client::empty()).await.unwrap();
            let what = format!("{name} {way:?} {far:?} {}", answer.received());
            assert_eq!(answer.status, *status, "{what}");
            let body = refusal(&answer);
            let logged = stage.last_logged(1).await;
            if !error.is_empty() {
                assert_eq!(body["error"], *error, "{what}");
                assert_eq!(logged.error_code, *code, "{what}");
            }
            assert!(!logged.error_code.is_empty(), "{what}");
            assert_eq!(logged.status, *status);
            assert_eq!(logged.decision, LogDecision::Refused, "{what}");
            // The connection is still in order.
            let again = agent.get("/", &[]).await;
            assert!(again.status.as_u16() >= 200, "{what}");
        }
        assert!(
            upstream
                .requests()
                .iter()
                .all(|seen| seen.path() == "/" && seen.method == "GET"),
            "nothing that was refused left: {:?}",
            upstream.requests()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_required_keeps_a_credential_off_clear_text() {
    let upstream = Far::Plain.start();
    let secret = Canary::new("sk-");
    let stage = Stage::builder()
        .service(
            json!({"name": "strict", "host": HOST, "auth": {"type": "bearer", "token": "TOKEN"}}),
        )
        .credential("TOKEN", secret.expose())
        .start()
        .await;
    for way in [Way::Absolute, Way::Clear, Way::ClearH2] {
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let answer = agent.get("/", &[]).await;
        assert_eq!(answer.status, 403, "{way:?}");
        assert_eq!(refusal(&answer)["error"], "tls_required");
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_and_concurrency_limits_hold_on_every_path() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = Stage::builder()
            .trusting(&upstream)
            .bearer("sk-secret-value")
            .limits(Some((1, 2)), None)
            .start()
            .await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        assert_eq!(agent.get("/", &[]).await.status, 200);
        assert_eq!(agent.get("/", &[]).await.status, 200);
        let denied = agent.get("/", &[]).await;
        assert_eq!(denied.status, 429, "{way:?} {far:?}");
        assert_eq!(denied.headers.get("retry-after").unwrap(), "1");
        assert_eq!(denied.headers.get("x-ratelimit-limit").unwrap(), "2");
        assert_eq!(denied.headers.get("x-ratelimit-remaining").unwrap(), "0");
        assert_eq!(denied.json()["error"], "too_many_requests");
        stage
            .logged_that(|record| record.error_code == "rate_limit_scope")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_house_is_refused_after_two_seconds_and_streams_do_not_fill_it() {
    let upstream = Far::H2.start();
    let stage = Stage::builder()
        .trusting(&upstream)
        .bearer("sk-secret-value")
        .limits(None, Some(1))
        .start()
        .await;
    let mut agent = Agent::open(&stage, Way::H2, &upstream.authority_of(HOST)).await;
    // An event stream gives its place back once it streams.
    let events = agent
        .send("GET", "/sse", &[], client::empty())
        .await
        .unwrap();
    let (first, second) = {
        let mut other = Agent::open(&stage, Way::H1, &upstream.authority_of(HOST)).await;
        let slow = other.request("GET", "/slow?gate=slow", &[], client::empty());
        let held = tokio::spawn(async move { other.http.send(slow).await.map(|r| r.status()) });
        upstream.gate("slow").arrived(1).await;
        let denied = agent.get("/", &[]).await;
        upstream.gate("slow").release(1);
        (held, denied)
    };
    assert_eq!(second.status, 429);
    assert_eq!(second.headers.get("retry-after").unwrap(), "1");
    drop(first);
    drop(events);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_of_every_kind_and_every_surface() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let user = Canary::new("user-");
        let pass = Canary::new("pass-");
        let key = Canary::awkward("key-");
        let stage = Stage::builder()
            .trusting(&upstream)
            .credential("USER", user.expose())
            .credential("PASS", pass.expose())
            .credential("KEY", key.expose())
            .service(json!({"name": "basic", "host": format!("{HOST}/basic"), "require_tls": false,
                "auth": {"type": "basic", "username": "USER", "password": "PASS"}}))
            .service(json!({"name": "api", "host": format!("{HOST}/api"), "require_tls": false,
                "auth": {"type": "api-key", "key": "PASS", "header": "X-Api-Key", "prefix": "k="}}))
            .service(json!({"name": "custom", "host": format!("{HOST}/custom"), "require_tls": false,
                "auth": {"type": "custom", "headers": {"X-One": "{{ USER }}:{{PASS}}", "Cookie": "s={{USER}}"}}}))
            .service(json!({"name": "subst", "host": format!("{HOST}/echo*"), "require_tls": false,
                "auth": {"type": "passthrough"},
                "substitutions": [
                    {"key": "KEY", "placeholder": "__key__", "in": ["path", "query", "body"]},
                    {"key": "PASS", "placeholder": "__pass__", "in": ["header"], "headers": ["Authorization", "X-Named"]},
                ]}))
            .start()
            .await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let what = format!("{way:?} {far:?}");

        agent.get("/basic", &[("authorization", "Basic x")]).await;
        assert_eq!(
            upstream
                .latest("/basic")
                .unwrap()
                .header_all("authorization"),
            [basic(&format!("{}:{}", user.expose(), pass.expose()))],
            "{what}"
        );
        agent
            .get(
                "/api",
                &[("authorization", "Bearer own"), ("X-API-KEY", "mine")],
            )
            .await;
        let seen = upstream.latest("/api").unwrap();
        assert_eq!(
            seen.header_all("x-api-key"),
            [format!("k={}", pass.expose())]
        );
        assert_eq!(seen.header("authorization"), Some("Bearer own"));
        agent
            .get("/custom", &[("cookie", "theirs=1"), ("cookie", "b=2")])
            .await;
        let seen = upstream.latest("/custom").unwrap();
        assert_eq!(seen.header_all("cookie"), [format!("s={}", user.expose())]);
        assert_eq!(
            seen.header("x-one").unwrap(),
            format!("{}:{}", user.expose(), pass.expose())
        );

        let answer = agent
            .ask(
                "POST",
                "/echo-__key__?q=__key__&other=__pass__",
                &[
                    ("content-type", "application/vnd.api+json"),
                    ("authorization", &basic("git:__pass__")),
                    ("x-named", "a __pass__ b"),
                    ("x-unnamed", "__pass__ __key__"),
                ],
                client::full(r#"{"k":"__key__","p":"__pass__"}"#),
            )
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{what}");
        let seen = upstream.requests().pop().unwrap();
        let encode = |kept: &[u8]| {
            key.expose()
                .bytes()
                .map(|b| {
                    if b.is_ascii_alphanumeric() || kept.contains(&b) {
                        char::from(b).to_string()
                    } else {
                        format!("%{b:02X}")
                    }
                })
                .collect::<String>()
        };
        assert_eq!(
            seen.target,
            format!(
                "/echo-{}?q={}&other=__pass__",
                encode(b"-._~+&="),
                encode(b"-._~").replace("%20", "+")
            ),
            "{what}"
        );
        assert_eq!(
            seen.header("authorization").unwrap(),
            basic(&format!("git:{}", pass.expose()))
        );
        assert_eq!(
            seen.header("x-named").unwrap(),
            format!("a {} b", pass.expose())
        );
        assert_eq!(seen.header("x-unnamed").unwrap(), "__pass__ __key__");
        let body: serde_json::Value = serde_json::from_slice(&seen.body()).unwrap();
        assert_eq!(body["k"], key.expose(), "{what}");
        assert_eq!(body["p"], "__pass__");
        assert_eq!(
            seen.header("content-length").unwrap(),
            seen.body_length().to_string()
        );
        let logged = stage
            .logged_that(|record| record.path == "/echo-__key__")
            .await;
        assert!(
            logged
                .warnings
                .iter()
                .any(|w| w.starts_with("placeholder_unreplaced:")),
            "{logged:?}"
        );
        for secret in [&user, &pass, &key] {
            assert!(
                secret
                    .find(format!("{:?}", stage.logged(4).await))
                    .is_empty()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_on_two_ports_of_one_host() {
    for (way, far) in PATHS {
        let (one, two) = (far.start(), far.start());
        let service = |name: &str, port: u16, key: &str| {
            json!({"name": name, "host": format!("{HOST}:{port}"), "require_tls": false,
                "auth": {"type": "bearer", "token": key}})
        };
        let stage = Stage::builder()
            .trusting(&one)
            .trusting(&two)
            .credential("ONE", "value-of-one")
            .credential("TWO", "value-of-two")
            .service(service("one", one.port(), "ONE"))
            .service(service("two", two.port(), "TWO"))
            .start()
            .await;
        for (upstream, value) in [(&one, "Bearer value-of-one"), (&two, "Bearer value-of-two")] {
            let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
            assert_eq!(agent.get("/", &[]).await.status, 200);
            let seen = upstream.requests().pop().unwrap();
            assert_eq!(seen.header("authorization"), Some(value), "{way:?} {far:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn split_cookies_are_one_field_over_h1() {
    for far in [Far::H1, Far::H2] {
        let upstream = far.start();
        let stage = Stage::builder().trusting(&upstream).start().await;
        let mut agent = Agent::open(&stage, Way::H2, &upstream.authority_of(HOST)).await;
        agent
            .get("/", &[("cookie", "a=1"), ("cookie", "b=2")])
            .await;
        let cookies = upstream.requests().pop().unwrap().header_all("cookie");
        if far == Far::H1 {
            assert_eq!(cookies, ["a=1; b=2"]);
        } else {
            assert_eq!(cookies, ["a=1", "b=2"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_post_says_that_it_is_empty() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = Stage::builder().trusting(&upstream).start().await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let answer = agent.ask(method, "/x", &[], client::empty()).await.unwrap();
            assert_eq!(answer.status, 200, "{way:?} {far:?} {method}");
            let seen = upstream.requests().pop().unwrap();
            let said = seen.header("content-length");
            assert!(
                !seen.headers.contains_key("transfer-encoding"),
                "{way:?} {seen:?}"
            );
            if method.starts_with('P') && far != Far::H2 {
                assert_eq!(said, Some("0"), "{way:?} {far:?} {method}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_write_is_in_the_next_request() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let mut stage = Stage::builder()
            .trusting(&upstream)
            .bearer("first-secret-value")
            .start()
            .await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        agent.get("/", &[]).await;
        stage.vault.credentials = vec![("TOKEN".to_owned(), "second-secret-value".to_owned())];
        stage.publish();
        agent.get("/", &[]).await;
        stage.vault.services.clear();
        stage.publish();
        agent.get("/", &[]).await;
        let seen: Vec<Option<String>> = upstream
            .requests()
            .iter()
            .map(|seen| seen.header("authorization").map(str::to_owned))
            .collect();
        assert_eq!(
            seen,
            [
                Some("Bearer first-secret-value".to_owned()),
                Some("Bearer second-secret-value".to_owned()),
                None
            ],
            "{way:?} {far:?}"
        );
    }
}
