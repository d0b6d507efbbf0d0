//! A fake management API: answers in the contract's shapes, remembers what it was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) token: Option<String>,
    pub(crate) vault: Option<String>,
    pub(crate) body: Value,
}

/// Answers by `METHOD /path?query`; the longest matching start wins.
#[derive(Default)]
struct Script {
    answers: BTreeMap<String, (u16, Value)>,
    asked: Vec<Asked>,
}

#[derive(Clone)]
pub(crate) struct Fake {
    script: Arc<Mutex<Script>>,
    pub(crate) address: String,
    _server: Arc<JoinSet<()>>,
}

impl Fake {
    /// A server with one vault `work`, one service, one credential, and a proxy.
    pub(crate) async fn start() -> Fake {
        let script = Arc::new(Mutex::new(Script::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let mut server = JoinSet::new();
        let router = router(script.clone());
        server.spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        let fake = Fake {
            script,
            address,
            _server: Arc::new(server),
        };
        fake.on(
            "GET /v1/status",
            200,
            json!({"initialized": true, "needs_first_user": false}),
        );
        fake.on("GET /v1/vaults", 200, json!({"vaults": [{"id": "1", "name": "work", "role": "admin", "created_at": "2026-01-02T03:04:05Z"}]}));
        fake.on("GET /v1/vaults/work/services", 200, json!({"vault": "work", "services": [
            {"name": "pay", "host": "api.pay.example", "enabled": false, "auth": {"type": "bearer", "token": "PAY_KEY"},
             "substitutions": [{"key": "OTHER_KEY", "placeholder": "__other__", "in": ["path"]}]}
        ]}));
        fake.on(
            "POST /v1/vaults/work/services",
            200,
            json!({"vault": "work", "upserted": ["pay"], "services_count": 1}),
        );
        fake.on(
            "PUT /v1/vaults/work/services",
            200,
            json!({"vault": "work", "services_count": 1}),
        );
        fake.on(
            "GET /v1/credentials",
            200,
            json!({"keys": ["PAY_KEY"], "credentials": [{"key": "PAY_KEY", "type": "static"}]}),
        );
        fake.on("POST /v1/credentials", 200, json!({"set": ["PAY_KEY"]}));
        fake.on("GET /discover", 200, json!({"vault": "work", "services": [{"name": "pay", "host": "api.pay.example", "credential_keys": ["PAY_KEY"]}],
            "available_credentials": ["PAY_KEY"], "placeholders": {"PAY_KEY": "sk_test_stand_in"}}));
        fake.on("POST /v1/sessions", 200, json!({"token": "av_sess_scoped", "expires_at": "2026-01-02T03:04:05Z", "id": "0123456789abcdef0123"}));
        fake.on("DELETE /v1/sessions/", 200, json!({"status": "revoked"}));
        fake.on(
            "GET /v1/mitm/ca.pem",
            200,
            json!("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"),
        );
        fake.on(
            "GET /v1/vaults/work/logs",
            200,
            json!({"logs": [], "next_cursor": null, "latest_id": 0}),
        );
        fake
    }

    pub(crate) fn on(&self, start: &str, status: u16, answer: Value) {
        self.script
            .lock()
            .unwrap()
            .answers
            .insert(start.into(), (status, answer));
    }

    /// Everything asked so far, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.script.lock().unwrap().asked.clone()
    }

    /// The requests whose line starts so.
    pub(crate) fn asked_for(&self, start: &str) -> Vec<Asked> {
        self.asked()
            .into_iter()
            .filter(|a| a.line.starts_with(start))
            .collect()
    }

    /// The same API without a socket.
    pub(crate) fn router(&self) -> Router {
        router(self.script.clone())
    }
}

fn router(script: Arc<Mutex<Script>>) -> Router {
    Router::new().fallback(answer).with_state(script)
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let bytes = to_bytes(Body::new(body), 1 << 20).await.unwrap();
    let header = |name: &str| {
        head.headers
            .get(name)
            .map(|v| v.to_str().unwrap().to_owned())
    };
    let line = format!("{} {}", head.method, head.uri.path_and_query().unwrap());
    let asked = Asked {
        line: line.clone(),
        token: header("authorization").map(|v| v.trim_start_matches("Bearer ").to_owned()),
        vault: header("x-vault"),
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    };
    assert!(header("x-av-client").is_some_and(|v| v.starts_with("cli/")));
    let mut script = script.lock().unwrap();
    script.asked.push(asked);
    let found = script
        .answers
        .iter()
        .filter(|(start, _)| line.starts_with(*start))
        .max_by_key(|(start, _)| start.len());
    let (status, value) = found.map_or((404, json!({"error": "not found"})), |(_, (s, v))| {
        (*s, v.clone())
    });
    let status = http::StatusCode::from_u16(status).unwrap();
    match value {
        Value::String(text) => (status, [("x-mitm-port", "14999")], text).into_response(),
        value => (
            status,
            [("content-type", "application/json")],
            format!("{value}\n"),
        )
            .into_response(),
    }
}
