//! Paths that one reader takes for another: an agent that may use one service tries to bring its credential to a path of another, or
//! the other's credential to a path of its own. A credential goes out only where every reading of the path agrees.

use agent_vault_testing::{Canary, client};
use serde_json::json;

use super::lanes::serves_on;
use crate::fixture::{Agent, HOST, PATHS, Stage};

/// Which credential may go out with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carries {
    /// None: refused, or sent without.
    Nothing,
    Public,
    Admin,
}

use Carries::{Admin, Nothing, Public};

pub(super) const PATHS_TRIED: &[(&str, Carries)] = &[
    ("/public/x", Public),
    ("/admin/x", Admin),
    ("/public/x.y/..z/.a", Public),
    ("/public/a%20b", Public),
    ("/public/%E2%82%AC", Public),
    ("/%70ublic/x", Public),
    ("/public/x/../y", Public),
    ("/admin/x?/../../public/x", Admin),
    ("/public/x?../../admin", Public),
    // Dot segments, plain and encoded, once and more often.
    ("/public/../admin/x", Nothing),
    ("/public/%2e%2e/admin/x", Nothing),
    ("/public/%2E./admin/x", Nothing),
    ("/public/.%2e%2fadmin/x", Nothing),
    ("/public/%252e%252e/admin/x", Nothing),
    ("/public/%252e%252e%252fadmin/x", Nothing),
    ("/public/%25252e%25252e/admin/x", Nothing),
    ("/public/..", Nothing),
    ("/public/../", Nothing),
    ("/public/x/../../admin/x", Nothing),
    ("/public/./../admin/x", Nothing),
    ("/admin/../public/x", Nothing),
    // Slashes that are none to some.
    ("/public/..%2fadmin%2fx", Nothing),
    ("/public%2f..%2fadmin/x", Nothing),
    ("/public/..%252fadmin/x", Nothing),
    ("/public\\..\\admin\\x", Nothing),
    ("/public/..\\admin/x", Nothing),
    ("/public/..%5cadmin%5cx", Nothing),
    ("/public/..%255cadmin/x", Nothing),
    ("/public//../admin/x", Nothing),
    ("/public/x//../../admin/x", Nothing),
    ("//admin/x", Nothing),
    ("//public/x", Nothing),
    ("/./admin/x", Nothing),
    ("/admin%2fx", Nothing),
    // Parameters.
    ("/public/..;/admin/x", Nothing),
    ("/public/..;a=b/admin/x", Nothing),
    ("/public/..%3b/admin/x", Nothing),
    ("/public/;/../admin/x", Nothing),
    ("/public;x/../admin/x", Nothing),
    ("/admin;x/y", Nothing),
    // Escapes that are none, overlong, or no text.
    ("/public/%2", Nothing),
    ("/public/%zz/../admin", Nothing),
    ("/public/%u002e%u002e/admin/x", Nothing),
    ("/public/%c0%ae%c0%ae/admin/x", Nothing),
    ("/public/..%c0%afadmin/x", Nothing),
    ("/public/..%e0%80%afadmin/x", Nothing),
    ("/public/%ff", Nothing),
    ("/public/x%00", Nothing),
    ("/admin/x%00/../../public/x", Nothing),
    ("/public/..%00/admin/x", Nothing),
    // What only looks like a slash or a dot, and is made one by some.
    ("/public/..%ef%bc%8fadmin/x", Nothing),
    ("/public/%ef%bc%8e%ef%bc%8e/admin/x", Nothing),
    ("/public/%e2%80%a5/admin/x", Nothing),
    ("/public/..%e2%88%95admin/x", Nothing),
    ("/public/..%ef%bc%bcadmin/x", Nothing),
    // Another case is another path.
    ("/ADMIN/x", Nothing),
    ("/Public/x", Nothing),
    ("/publicx", Nothing),
    ("/public", Nothing),
    ("/", Nothing),
    ("*", Nothing),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reading_of_a_path_reaches_anothers_credential() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let (public, admin) = (Canary::new("sk-public-"), Canary::new("sk-admin-"));
        let stage = Stage::builder()
            .trusting(&upstream)
            .credential("PUBLIC", public.expose())
            .credential("ADMIN", admin.expose())
            .service(json!({"name": "public", "host": format!("{HOST}/public/*"),
                "require_tls": false, "auth": {"type": "bearer", "token": "PUBLIC"}}))
            .service(json!({"name": "admin", "host": format!("{HOST}/admin/*"),
                "require_tls": false, "auth": {"type": "bearer", "token": "ADMIN"}}))
            .start()
            .await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        for (path, carries) in PATHS_TRIED {
            if *path == "*" && !way.is_h2() {
                continue;
            }
            upstream.clear();
            let request = http::Request::builder().uri(*path);
            if *path == "*" || request.body(()).is_err() {
                continue;
            }
            let answer = agent
                .ask("GET", path, &[], client::empty())
                .await
                .unwrap_or_else(|error| panic!("{path} {way:?} {far:?}: {error}"));
            let what = format!("{path} {way:?} {far:?} {}", answer.received());
            let sent = upstream.requests();
            let carried = |canary: &Canary| {
                sent.iter().any(|seen| {
                    seen.header("authorization") == Some(&format!("Bearer {}", canary.expose()))
                })
            };
            assert_eq!(carried(&public), *carries == Public, "{what}");
            assert_eq!(carried(&admin), *carries == Admin, "{what}");
            assert!(sent.len() <= 1, "{what}");
            // What was matched is what was sent.
            if let Some(seen) = sent.first() {
                assert_eq!(seen.target, *path, "{what}");
            }
            public.assert_absent(&what, answer.received());
            admin.assert_absent(&what, answer.received());
        }
        serves_on(&stage, way, &upstream).await;
    }
}

/// A service that is switched off stays so, however its path is written, though another covers the whole host.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reading_of_a_path_gets_around_a_service_that_is_off() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let secret = Canary::new("sk-wide-");
        let stage = Stage::builder()
            .trusting(&upstream)
            .bearer(secret.expose())
            .service(
                json!({"name": "off", "host": format!("{HOST}/admin*"), "enabled": false,
                "require_tls": false, "auth": {"type": "passthrough"}}),
            )
            .start()
            .await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        for path in [
            "/admin",
            "/admin/x",
            "//admin",
            "/./admin",
            "/x/../admin",
            "/%61dmin",
            "/%2561dmin",
            "/%2fadmin",
            "/;/admin",
            "/;x/admin",
            "/.;/admin",
            "/x/..;/admin",
            "/\\admin",
            "/%5cadmin",
            "/%c0%afadmin",
            "/%00/admin",
            "/%ef%bc%8fadmin",
            "/x/%2e%2e/admin",
            "/%zz/../admin",
        ] {
            let Ok(answer) = agent.ask("GET", path, &[], client::empty()).await else {
                panic!("{path} {way:?}");
            };
            assert!(
                [400, 403].contains(&answer.status.as_u16()),
                "{path} {way:?} {far:?} {}",
                answer.received()
            );
        }
        assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
        serves_on(&stage, way, &upstream).await;
    }
}
