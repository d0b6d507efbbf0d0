//! Vaults whose credentials come from Infisical, with the real binary: values that change there, a store that is away, secrets that it
//! makes on demand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_vault_testing::client::Http;
use agent_vault_testing::{Canary, InfisicalStore, StoreMode, Upstream, pki};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::stage::http::Reply;
use crate::stage::instance::Instance;

/// Longer than a tick of the worker and a refresh take.
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    store: InfisicalStore,
    api: Upstream,
    instance: Instance,
    root: String,
    agent: String,
}

impl World {
    fn new() -> Self {
        let store = InfisicalStore::start();
        let api = Upstream::builder().start();
        let roots = format!("{}\n{}", store.upstream().ca_pem(), api.ca_pem());
        let instance = Instance::builder()
            .env("AGENT_VAULT_RATELIMIT_PROFILE", "off")
            .env("INFISICAL_URL", &store.url())
            .env("INFISICAL_UNIVERSAL_AUTH_CLIENT_ID", "client-1")
            .env(
                "INFISICAL_UNIVERSAL_AUTH_CLIENT_SECRET",
                InfisicalStore::CLIENT_SECRET,
            )
            .upstream_ca(&roots)
            .start();
        instance.register();
        let root = instance.person(&["ca", "fetch"]).succeed().stdout;
        let agent = instance
            .person(&["agent", "create", "robot", "--vault", "default:member"])
            .args(&["--token-only"])
            .succeed()
            .stdout;
        Self {
            store,
            api,
            instance,
            root,
            agent: agent.trim().to_owned(),
        }
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.instance.api(method, path, &body.to_string())
    }

    fn connect(&self) {
        self.instance
            .person(&["vault", "store", "connect", "--vault", "default", "--yes"])
            .args(&[
                "--project-id",
                InfisicalStore::PROJECT,
                "--environment",
                "prod",
            ])
            .args(&["--poll-interval-seconds", "10"])
            .succeed();
    }

    fn service(&self, auth: &Value) {
        let body = json!({"services": [
            {"name": "api", "host": self.api.authority(), "auth": auth}]});
        let reply = self.call("PUT", "/v1/vaults/default/services", &body);
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// One request of the agent to a path that says what arrived.
    fn ask(&self) -> (u16, String) {
        let auth = format!(
            "Basic {}",
            STANDARD.encode(format!("{}:default", self.agent))
        );
        let config = Arc::new(pki::client_config(&self.root, &["http/1.1"]));
        let authority = self.api.authority();
        let answer = tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(async {
                let mut http =
                    Http::through(self.instance.proxy_addr(), &authority, Some(&auth), &config)
                        .await?;
                http.get(&authority, "/echo", &[]).await
            })
            .expect("an answer");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        (answer.status.as_u16(), text)
    }

    /// The `Authorization` that the upstream saw last.
    fn carried(&self) -> String {
        let seen = self.api.latest("/echo").expect("a request");
        seen.header("authorization").unwrap_or_default().to_owned()
    }

    fn health(&self) -> Value {
        let context = self.call("GET", "/v1/vaults/default/context", &Value::Null);
        context.json()["credential_store"].clone()
    }
}

fn eventually(what: &str, found: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !found() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn m39_m41_values_follow_the_store_and_outlive_its_absence() {
    let world = World::new();
    let (first, second) = (Canary::new("first-"), Canary::new("second-"));
    world.store.set("API_KEY", first.expose());
    world.store.set("OTHER", "unchanged-value");
    world.connect();
    world.service(&json!({"type": "bearer", "token": "API_KEY"}));
    let (status, body) = world.ask();
    assert_eq!(status, 200, "{body}");
    assert_eq!(world.carried(), format!("Bearer {}", first.expose()));
    first.assert_absent("the agent's answer", &body);

    // A change there is here with one of the next ticks, and only what changed is written.
    world.store.set("API_KEY", second.expose());
    eventually("the new value", || {
        world.ask();
        world.carried() == format!("Bearer {}", second.expose())
    });
    let list = world
        .call("GET", "/v1/credentials?vault=default", &Value::Null)
        .json();
    let version = |key: &str| {
        let all = list["credentials"].as_array().expect("a list");
        let one = all.iter().find(|one| one["key"] == key);
        one.expect("the key")["version"].clone()
    };
    assert_eq!((version("API_KEY"), version("OTHER")), (json!(2), json!(1)));

    // Away: the last values are served, and the health says so.
    world.store.set_mode(StoreMode::Status(503));
    eventually("the failure in the health", || {
        world.health()["last_sync_status"] == "error"
    });
    let health = world.health();
    assert!(health["last_success_at"].is_string(), "{health}");
    assert!(
        health["last_sync_error"]
            .as_str()
            .is_some_and(|text| text.contains("503")),
        "{health}"
    );
    let (status, _) = world.ask();
    assert_eq!(status, 200);
    assert_eq!(world.carried(), format!("Bearer {}", second.expose()));
    let shown = world
        .instance
        .person(&["vault", "store", "show", "--vault", "default"])
        .succeed();
    for part in ["infisical", "error", "Copies of", "503"] {
        assert!(shown.stdout.contains(part), "{shown:?}");
    }
    let ready = world.instance.api("GET", "/ready", "").json();
    assert_eq!(ready["checks"]["external_stores"], "failing");
    assert_eq!(ready["status"], "ready");
    let synced = world.call("POST", "/v1/vaults/default/sync", &Value::Null);
    assert_eq!(synced.status, 502, "{}", synced.text());
    assert_eq!(synced.json()["code"], "infisical_fetch_failed");

    // Back, with a token that is good no more.
    world.store.set_mode(StoreMode::Good);
    world.store.forget_tokens();
    let synced = world
        .instance
        .person(&["vault", "store", "sync", "--vault", "default", "--json"])
        .succeed()
        .json();
    assert_eq!(synced["credential_store"]["last_sync_status"], "ok");

    // Read-only here, until the vault keeps its own again.
    let set = json!({"vault": "default", "credentials": {"API_KEY": "typed"}});
    let refused = world.call("POST", "/v1/credentials", &set);
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert_eq!(refused.json()["code"], "external_credential_store");
    let left = world
        .instance
        .person(&[
            "vault",
            "store",
            "disconnect",
            "--vault",
            "default",
            "--yes",
        ])
        .succeed();
    assert!(left.stdout.contains("builtin"), "{left:?}");
    assert_eq!(world.call("POST", "/v1/credentials", &set).status, 200);
    world.ask();
    assert_eq!(world.carried(), "Bearer typed");

    for secret in [&first, &second, &Canary::of(InfisicalStore::CLIENT_SECRET)] {
        secret.assert_absent("the log", world.instance.log());
        secret.assert_absent_in_tree(world.instance.data_folder());
    }
}

#[test]
fn m38_m37_dynamic_secrets_are_made_at_first_use_renewed_and_given_back() {
    let mut world = World::new();
    world.store.set_dynamic(&["main-db"]);
    world.store.set_lease_life(Duration::from_secs(9));
    world.connect();
    world.service(&json!({"type": "basic", "username": "MAIN_DB_DB_USERNAME", "password": "MAIN_DB_DB_PASSWORD"}));

    // Looking makes none, and an agent learns what there is.
    let list = world
        .call("GET", "/v1/credentials?vault=default", &Value::Null)
        .json();
    assert_eq!(list["credentials"][0]["key"], "MAIN_DB_*", "{list}");
    assert_eq!(list["credentials"][0]["type"], "dynamic");
    let found = world.instance.person(&["vault", "discover", "--json"]);
    let found = found
        .env("AGENT_VAULT_TOKEN", &world.agent)
        .env("AGENT_VAULT_ADDR", world.instance.address())
        .env("AGENT_VAULT_VAULT", "default")
        .succeed()
        .json();
    assert_eq!(
        found["dynamic_credentials"],
        json!(["MAIN_DB_*"]),
        "{found}"
    );
    assert_eq!(found["missing_credentials"], json!([]), "{found}");
    assert!(world.store.leases().is_empty());

    let (status, body) = world.ask();
    assert_eq!(status, 200, "{body}\n{}", world.instance.log());
    let lease = world.store.leases().pop().expect("a lease");
    let pair = format!("user:{}", lease.password);
    assert_eq!(world.carried(), format!("Basic {}", STANDARD.encode(&pair)));
    Canary::of(lease.password.clone()).assert_absent("the agent's answer", &body);
    let list = world
        .call("GET", "/v1/credentials?vault=default", &Value::Null)
        .json();
    let keys: Vec<&str> = list["keys"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(
        keys,
        ["MAIN_DB_DB_PASSWORD", "MAIN_DB_DB_USERNAME", "MAIN_DB_PORT"],
        "{list}"
    );

    // Use keeps it alive, and it stays the same.
    eventually("a renewal", || {
        assert_eq!(world.ask().0, 200);
        world.store.leases().iter().any(|lease| lease.renewals > 0)
    });
    world.store.set_lease_life(Duration::from_secs(3600));
    let newest = || {
        let lease = world.store.leases().pop().expect("a lease");
        (lease.id, lease.renewals)
    };
    let before = newest();
    eventually("a long life", || {
        assert_eq!(world.ask().0, 200);
        newest() != before
    });
    let last = world.store.leases().pop().expect("a lease");

    // Revealed to a member who asks for it by name.
    let path = "/v1/credentials?vault=default&reveal=true&key=MAIN_DB_PORT";
    let shown = world.call("GET", path, &Value::Null).json();
    assert_eq!(shown["credentials"][0]["value"], "5432", "{shown}");

    world
        .instance
        .person(&[
            "vault",
            "store",
            "disconnect",
            "--vault",
            "default",
            "--yes",
        ])
        .succeed();
    world
        .store
        .wait_until("the end of every lease in use", |store| {
            store
                .leases()
                .iter()
                .any(|lease| lease.id == last.id && lease.revoked)
        });
    let (status, body) = world.ask();
    assert_eq!(status, 502, "{body}");
    assert!(body.contains("credential_not_found"), "{body}");

    // A server that stops in order gives back what it holds.
    world.connect();
    assert_eq!(world.ask().0, 200);
    let last = world.store.leases().pop().expect("a lease");
    let log = world.instance.log();
    world.instance.stop();
    let revoked = world
        .store
        .leases()
        .into_iter()
        .find(|lease| lease.id == last.id);
    assert!(revoked.expect("the lease").revoked);
    for lease in world.store.leases() {
        let password = Canary::of(lease.password);
        password.assert_absent("the log", &log);
        password.assert_absent_in_tree(world.instance.data_folder());
    }
}
