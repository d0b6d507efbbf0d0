//! A placeholder that chooses the account, and what the log says of requests that went out half right.

use serde_json::json;

use crate::fixture::{Agent, HOST, PATHS, Stage, Way, basic, refusal};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_are_chosen_by_placeholder_and_by_agent() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let service = |name: &str, key: &str, select: serde_json::Value| {
            json!({"name": name, "host": HOST, "require_tls": false,
                "auth": {"type": "bearer", "token": key}, "select": select})
        };
        let stage = Stage::builder()
            .trusting(&upstream)
            .credential("ONE", "value-of-one")
            .credential("TWO", "value-of-two")
            .credential("BOT", "value-of-bot")
            .service(service("one", "ONE", json!({"placeholder": "__one__"})))
            .service(service("two", "TWO", json!({"placeholder": "__two__"})))
            .service(service("bot", "BOT", json!({"agents": ["builder"]})))
            .start()
            .await;
        let authority = upstream.authority_of(HOST);
        let mut agent = Agent::open(&stage, way, &authority).await;
        for (placeholder, value) in [("__one__", "value-of-one"), ("__two__", "value-of-two")] {
            let own = format!("Bearer {placeholder}");
            agent.get("/", &[("authorization", &own)]).await;
            let seen = upstream.requests().pop().unwrap();
            assert_eq!(
                seen.header_all("authorization"),
                [format!("Bearer {value}")],
                "{way:?} {far:?}"
            );
        }
        let (token, _) = stage.agent("builder", &[stage.vault.id]);
        let auth = basic(token.expose());
        let mut bot = Agent::with_auth(&stage, way, &authority, &auth)
            .await
            .unwrap();
        bot.get("/", &[]).await;
        let seen = upstream.requests().pop().unwrap();
        assert_eq!(seen.header("authorization"), Some("Bearer value-of-bot"));
        stage
            .logged_that(|record| {
                record
                    .actor
                    .is_some_and(|actor| actor.0.as_str() == "agent")
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_placeholder_that_leaves_unreplaced_is_noted() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = Stage::builder()
            .trusting(&upstream)
            .credential("KEY", "value-of-key")
            .placeholder("KEY", "av_ph_0123456789abcdef")
            .service(
                json!({"name": "elsewhere", "host": "elsewhere.example.test",
                "auth": {"type": "bearer", "token": "KEY"}}),
            )
            .start()
            .await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        agent
            .get(
                "/status/401",
                &[("authorization", "Bearer av_ph_0123456789abcdef")],
            )
            .await;
        let logged = stage.last_logged(1).await;
        assert_eq!(
            logged.warnings,
            ["placeholder_unreplaced:KEY"],
            "{way:?} {far:?}"
        );
        assert_eq!(logged.status, 401);
        assert_eq!(logged.label.as_deref(), Some("a test"));
        assert_eq!(logged.actor.unwrap().0.as_str(), "user");
        // Inside Basic too (W48).
        let inside = basic("user:av_ph_0123456789abcdef");
        agent.get("/", &[("authorization", &inside)]).await;
        assert_eq!(
            stage.last_logged(2).await.warnings,
            ["placeholder_unreplaced:KEY"],
            "{way:?} {far:?}"
        );
    }
}

/// The host stands as people write it: without the port that its URL leaves out. The log names the port always.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c18_a_refusal_names_the_host_without_its_default_port() {
    for (way, port) in [(Way::H1, 443), (Way::H2, 443), (Way::Absolute, 80)] {
        let stage = Stage::builder().deny_unmatched().start().await;
        let authority = format!("{HOST}:{port}");
        let mut agent = Agent::open(&stage, way, &authority).await;
        let body = refusal(&agent.get("/", &[]).await);
        assert_eq!(body["error"], "forbidden", "{way:?}");
        assert_eq!(body["proposal_hint"]["host"], HOST, "{way:?}");
        assert_eq!(body["proposal_hint"]["endpoint"], "POST /v1/proposals");
        for field in ["message", "hint"] {
            let text = body[field].as_str().unwrap();
            assert!(text.contains(HOST), "{way:?} {text}");
            assert!(!text.contains(&authority), "{way:?} {text}");
        }
        assert_eq!(*stage.last_logged(1).await.host, authority, "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_is_missing_is_named_in_the_log() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = Stage::builder()
            .trusting(&upstream)
            .credential("USER_NAME", "there")
            .service(
                json!({"name": "missing", "host": HOST, "require_tls": false,
                "auth": {"type": "basic", "username": "USER_NAME", "password": "PASSWORD"}}),
            )
            .start()
            .await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        assert_eq!(agent.get("/", &[]).await.status, 502);
        let logged = stage.last_logged(1).await;
        assert_eq!(logged.error_code, "credential_not_found");
        assert_eq!(
            logged.keys.as_deref(),
            Some(["USER_NAME".to_owned(), "PASSWORD".to_owned()].as_slice()),
            "{way:?} {far:?}"
        );
    }
}
