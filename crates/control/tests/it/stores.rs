//! External stores: what is written of a refresh, refreshes of several processes, and leases that are nobody's any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use agent_vault_broker::{
    FromStore, LimitSettings, SecretStore, StoreFailure, StoreFault, StoreLease, StorePlace,
    StoreSnapshot,
};
use agent_vault_control::{
    Actor, Conditions, Control, ErrorKind, InstanceRole, StoreChoice, VaultRef, VaultRole,
};
use agent_vault_seal::SecretBytes;
use agent_vault_store::DEFAULT_VAULT_ID;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::instance::Instance;
use crate::oauth::{carried, token};

#[derive(Default)]
struct Held {
    secrets: BTreeMap<String, String>,
    dynamic: Vec<String>,
    life: Option<SignedDuration>,
    made: u32,
    renewed: u32,
    revoked: Vec<String>,
    fails: Option<StoreFault>,
    keeps_leases: bool,
    gated: bool,
}

/// A store in memory. A gated fetch waits for the test.
struct Fake {
    held: Mutex<Held>,
    fetches: watch::Sender<u32>,
    gate: Semaphore,
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Fake {
    fn edit<T>(&self, edit: impl FnOnce(&mut Held) -> T) -> T {
        edit(&mut self.held.lock().unwrap())
    }

    fn set(&self, key: &str, value: &str) {
        self.edit(|held| held.secrets.insert(key.to_owned(), value.to_owned()));
    }
}

impl SecretStore for Fake {
    fn snapshot<'a>(&'a self, at: &'a StorePlace) -> FromStore<'a, StoreSnapshot> {
        Box::pin(async move {
            let (mut secrets, dynamic, gated, fails) = self.edit(|held| {
                let secrets = held.secrets.clone();
                (secrets, held.dynamic.clone(), held.gated, held.fails)
            });
            self.fetches.send_modify(|count| *count += 1);
            if gated {
                self.gate.acquire().await.unwrap().forget();
            }
            if let Some(fault) = fails {
                return Err(StoreFailure::new(fault, "the store is away"));
            }
            secrets.insert("PROJECT".to_owned(), at.project_id.clone());
            let secrets = secrets
                .into_iter()
                .map(|(key, value)| (key, SecretBytes::from(value)))
                .collect();
            Ok(StoreSnapshot {
                secrets,
                dynamic: Some(dynamic),
            })
        })
    }

    fn dynamic_names<'a>(&'a self, _: &'a StorePlace) -> FromStore<'a, Vec<String>> {
        Box::pin(async move { Ok(self.edit(|held| held.dynamic.clone())) })
    }

    fn lease<'a>(&'a self, _: &'a StorePlace, _: &'a str) -> FromStore<'a, StoreLease> {
        Box::pin(async move {
            let (number, life) = self.edit(|held| {
                held.made += 1;
                (held.made, held.life)
            });
            Ok(StoreLease {
                id: format!("lease-{number}"),
                expires_at: life.map(|life| (self.now)() + life),
                fields: vec![(
                    "TOKEN".to_owned(),
                    SecretBytes::from(format!("value-{number}")),
                )],
            })
        })
    }

    fn renew<'a>(&'a self, _: &'a StorePlace, _: &'a str) -> FromStore<'a, Option<Timestamp>> {
        Box::pin(async move {
            let life = self.edit(|held| {
                held.renewed += 1;
                held.life
            });
            Ok(life.map(|life| (self.now)() + life))
        })
    }

    fn revoke<'a>(&'a self, _: &'a StorePlace, lease: &'a str) -> FromStore<'a, ()> {
        Box::pin(async move {
            self.edit(|held| {
                if held.keeps_leases {
                    return Err(StoreFailure::new(StoreFault::Unreachable, "away"));
                }
                held.revoked.push(lease.to_owned());
                Ok(())
            })
        })
    }
}

fn fake(instance: &Instance) -> Arc<Fake> {
    let clock = instance.clock();
    Arc::new(Fake {
        held: Mutex::default(),
        fetches: watch::Sender::new(0),
        gate: Semaphore::new(0),
        now: Box::new(clock),
    })
}

fn choice(project: &str) -> StoreChoice {
    StoreChoice {
        kind: "infisical".to_owned(),
        place: Some(StorePlace {
            project_id: project.to_owned(),
            environment: "prod".to_owned(),
            secret_path: "/".to_owned(),
        }),
        poll_interval_seconds: None,
    }
}

async fn connect(control: &Control, project: &str) {
    control
        .stores()
        .choose(&Actor::LocalOperator, "default", choice(project))
        .await
        .unwrap();
}

async fn service(control: &Control, key: &str) {
    let text = format!(
        r#"[{{"name":"one","host":"api.p.io","auth":{{"type":"bearer","token":"{key}"}}}}]"#
    );
    let services = serde_json::from_str(&text).unwrap();
    control
        .services()
        .replace(
            &Actor::LocalOperator,
            "default",
            services,
            &Conditions::default(),
        )
        .await
        .unwrap();
    control.broker().set_limits(LimitSettings {
        rate: None,
        concurrency: None,
    });
}

/// One tick of the worker, with all that it begins. `begun` says when it may end.
async fn tick(control: &Control, begun: impl Future<Output = ()>) {
    let cancelled = CancellationToken::new();
    let end = cancelled.clone();
    tokio::join!(control.keep_stores(cancelled), async move {
        begun.await;
        end.cancel();
    });
}

async fn fetched(fake: &Fake, count: u32) {
    let mut fetches = fake.fetches.subscribe();
    fetches.wait_for(|seen| *seen >= count).await.unwrap();
}

async fn version(instance: &Instance, key: &str) -> u32 {
    let row = instance.store.credential(DEFAULT_VAULT_ID, key).await;
    row.unwrap().unwrap().version
}

#[tokio::test]
async fn m39_only_what_changed_is_written_and_one_process_polls() {
    let instance = Instance::new().await;
    let (control, store) = (&instance.control, fake(&instance));
    control.use_secret_store(Arc::clone(&store) as Arc<dyn SecretStore>);
    store.set("A", "one");
    store.set("B", "two");
    connect(control, "p1").await;
    let before = instance.store.version().await.unwrap();

    // Nothing new: no row, no record, no version; only the time of it.
    instance.advance(SignedDuration::from_secs(60));
    tick(control, fetched(&store, 2)).await;
    assert_eq!(instance.store.version().await.unwrap(), before);
    let row = instance.store.external_store(DEFAULT_VAULT_ID).await;
    assert_eq!(row.unwrap().unwrap().last_success_at, Some(instance.now()));

    // Another process finds it done.
    let other = instance.other().await;
    other.use_secret_store(Arc::clone(&store) as Arc<dyn SecretStore>);
    tick(&other, std::future::ready(())).await;
    assert_eq!(*store.fetches.borrow(), 2);

    store.set("A", "new");
    store.edit(|held| held.secrets.remove("B"));
    instance.advance(SignedDuration::from_secs(60));
    tick(control, fetched(&store, 3)).await;
    assert_eq!(version(&instance, "A").await, 2);
    assert_eq!(version(&instance, "PROJECT").await, 1);
    let gone = instance.store.credential(DEFAULT_VAULT_ID, "B").await;
    assert_eq!(gone.unwrap(), None);
}

#[tokio::test]
async fn one_refresh_at_a_time_and_a_failure_keeps_what_is_there() {
    let instance = Instance::new().await;
    let (control, store) = (&instance.control, fake(&instance));
    control.use_secret_store(Arc::clone(&store) as Arc<dyn SecretStore>);
    store.set("A", "one");
    connect(control, "p1").await;
    store.edit(|held| held.gated = true);
    let other = instance.other().await;
    other.use_secret_store(Arc::clone(&store) as Arc<dyn SecretStore>);
    let first = async {
        control
            .stores()
            .sync(&Actor::LocalOperator, "default")
            .await
    };
    let second = async {
        fetched(&store, 2).await;
        let refused = other.stores().sync(&Actor::LocalOperator, "default").await;
        store.gate.add_permits(1);
        refused
    };
    let (first, second) = tokio::join!(first, second);
    first.unwrap();
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Conflict);

    store.edit(|held| {
        held.gated = false;
        held.fails = Some(StoreFault::Unreachable);
    });
    let failed = control
        .stores()
        .sync(&Actor::LocalOperator, "default")
        .await;
    let failed = failed.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Upstream);
    assert_eq!(failed.label(), Some("infisical_fetch_failed"));
    assert_eq!(version(&instance, "A").await, 1);
    let health = control.stores().health().await.unwrap();
    assert_eq!((health.failing, health.stale), (1, 0));
    // Long enough, and it counts as stale.
    instance.advance(SignedDuration::from_mins(16));
    let health = control.stores().health().await.unwrap();
    assert_eq!((health.failing, health.stale), (1, 1));
    assert!(health.oldest_seconds >= 16 * 60);
    // Back again.
    store.edit(|held| held.fails = None);
    tick(control, fetched(&store, 4)).await;
    let health = control.stores().health().await.unwrap();
    assert_eq!((health.failing, health.stale), (0, 0));
}

#[tokio::test]
async fn m40_what_was_fetched_before_a_switch_is_not_written_after_it() {
    let instance = Instance::new().await;
    let (control, store) = (&instance.control, fake(&instance));
    control.use_secret_store(Arc::clone(&store) as Arc<dyn SecretStore>);
    connect(control, "p1").await;
    instance.advance(SignedDuration::from_secs(60));
    store.set("STALE", "of the first project");
    store.edit(|held| held.gated = true);
    let switched = async {
        fetched(&store, 2).await;
        store.edit(|held| {
            held.gated = false;
            held.secrets.clear();
        });
        connect(control, "p2").await;
        store.gate.add_permits(1);
    };
    tick(control, switched).await;
    let stale = instance.store.credential(DEFAULT_VAULT_ID, "STALE").await;
    assert_eq!(stale.unwrap(), None);
    let row = instance.store.external_store(DEFAULT_VAULT_ID).await;
    assert!(row.unwrap().unwrap().config_json.contains("p2"));
    // Nor after the vault keeps its own.
    instance.advance(SignedDuration::from_secs(60));
    store.set("STALE", "of the second");
    store.edit(|held| held.gated = true);
    let left = async {
        fetched(&store, 4).await;
        let builtin = StoreChoice::default();
        let stores = control.stores();
        stores
            .choose(&Actor::LocalOperator, "default", builtin)
            .await
            .unwrap();
        store.gate.add_permits(1);
    };
    tick(control, left).await;
    let stale = instance.store.credential(DEFAULT_VAULT_ID, "STALE").await;
    assert_eq!(stale.unwrap(), None);
    assert_eq!(version(&instance, "PROJECT").await, 2);
}

#[tokio::test]
async fn m34_m35_leases_are_each_process_s_own_and_end_everywhere_with_the_connection() {
    let instance = Instance::new().await;
    let (control, store) = (&instance.control, fake(&instance));
    store.edit(|held| {
        held.dynamic = vec!["db".to_owned()];
        held.life = Some(SignedDuration::from_hours(1));
    });
    control.use_secret_store(Arc::clone(&store) as Arc<dyn SecretStore>);
    connect(control, "p1").await;
    service(control, "DB_TOKEN").await;
    let token = token(control).await;
    let other = instance.other().await;
    other.use_secret_store(Arc::clone(&store) as Arc<dyn SecretStore>);
    other.reload().await.unwrap();
    let one = carried(&instance, control, &token).await.unwrap();
    let two = carried(&instance, &other, &token).await.unwrap();
    assert_eq!(
        (one.as_str(), two.as_str()),
        ("Bearer value-1", "Bearer value-2")
    );

    // Whoever starts next sweeps nothing that a live process uses.
    let third = instance.other().await;
    third.use_secret_store(Arc::clone(&store) as Arc<dyn SecretStore>);
    tick(&third, std::future::ready(())).await;
    assert_eq!(
        store.edit(|held| held.revoked.clone()),
        Vec::<String>::new()
    );

    // A refresh by hand ends them all; the other process revokes its own, and serves it no more before that.
    control
        .stores()
        .sync(&Actor::LocalOperator, "default")
        .await
        .unwrap();
    assert_eq!(store.edit(|held| held.revoked.clone()), ["lease-1"]);
    other.refresh().await.unwrap();
    let two = carried(&instance, &other, &token).await.unwrap();
    assert_eq!(two, "Bearer value-3");
    other.stop_stores().await;
    let revoked = store.edit(|held| held.revoked.clone());
    assert_eq!(revoked, ["lease-1", "lease-2", "lease-3"]);

    // Another place: nothing of the one before is served.
    assert_eq!(
        carried(&instance, control, &token).await.unwrap(),
        "Bearer value-4"
    );
    connect(control, "p2").await;
    assert_eq!(
        carried(&instance, control, &token).await.unwrap(),
        "Bearer value-5"
    );
    assert!(store.edit(|held| held.revoked.contains(&"lease-4".to_owned())));
}

#[tokio::test]
async fn m36_a_lease_stays_on_record_until_it_is_given_back_and_one_without_end_lasts() {
    let instance = Instance::new().await;
    let (control, store) = (&instance.control, fake(&instance));
    store.edit(|held| held.dynamic = vec!["db".to_owned()]);
    control.use_secret_store(Arc::clone(&store) as Arc<dyn SecretStore>);
    connect(control, "p1").await;
    service(control, "DB_TOKEN").await;
    let token = token(control).await;
    for _ in 0..3 {
        assert_eq!(
            carried(&instance, control, &token).await.unwrap(),
            "Bearer value-1"
        );
        instance.advance(SignedDuration::from_hours(1));
    }
    assert_eq!(store.edit(|held| held.made), 1);

    // The store is away when the vault leaves it.
    store.edit(|held| held.keeps_leases = true);
    control
        .stores()
        .choose(&Actor::LocalOperator, "default", StoreChoice::default())
        .await
        .unwrap();
    assert!(carried(&instance, control, &token).await.is_err());
    assert_eq!(instance.store.secret_leases().await.unwrap().len(), 1);

    // Some other process gives it back once the store is there.
    store.edit(|held| held.keeps_leases = false);
    let other = instance.other().await;
    other.use_secret_store(Arc::clone(&store) as Arc<dyn SecretStore>);
    let gone = async {
        while !instance.store.secret_leases().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tick(&other, gone).await;
    assert_eq!(store.edit(|held| held.revoked.clone()), ["lease-1"]);
}

#[tokio::test]
async fn m38_m37_h37_listing_makes_nothing_and_names_what_could_be_made() {
    let instance = Instance::new().await;
    let (control, store) = (&instance.control, fake(&instance));
    store.edit(|held| {
        held.dynamic = vec!["db".to_owned(), "never.used".to_owned()];
        held.life = Some(SignedDuration::from_hours(1));
    });
    control.use_secret_store(Arc::clone(&store) as Arc<dyn SecretStore>);
    connect(control, "p1").await;
    let operator = Actor::LocalOperator;
    let credentials = control.credentials();
    let keys = |listing: agent_vault_control::CredentialListing| -> Vec<String> {
        listing.dynamic.into_iter().map(|view| view.key).collect()
    };
    let listed = credentials
        .list(&operator, VaultRef::Implied)
        .await
        .unwrap();
    assert_eq!(keys(listed), ["DB_*", "NEVER_USED_*"]);
    let listed = credentials
        .reveal(&operator, VaultRef::Implied, None)
        .await
        .unwrap();
    assert_eq!(keys(listed), ["DB_*", "NEVER_USED_*"]);
    assert_eq!(store.edit(|held| held.made), 0);

    // Only for somebody who wants this very value.
    let shown = credentials
        .reveal(&operator, VaultRef::Implied, Some("DB_TOKEN"))
        .await
        .unwrap();
    let value = shown.dynamic.first().and_then(|view| view.value.as_ref());
    assert_eq!(value.unwrap().expose(), b"value-1");
    let listed = credentials
        .list(&operator, VaultRef::Implied)
        .await
        .unwrap();
    assert_eq!(keys(listed), ["DB_TOKEN", "NEVER_USED_*"]);
    assert_eq!(store.edit(|held| held.made), 1);
    let missing = credentials
        .reveal(&operator, VaultRef::Implied, Some("DB_OTHER"))
        .await;
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::Upstream);

    // A proposal may use it.
    let vaults = vec![("default".to_owned(), VaultRole::Proxy)];
    let (agent, _) = instance.agent("bot", InstanceRole::NoAccess, vaults).await;
    let new = |key: &str| {
        let text = format!(
            r#"[{{"action":"set","name":"one","host":"api.p.io","auth":{{"type":"bearer","token":"{key}"}}}}]"#
        );
        agent_vault_control::NewProposal {
            services: serde_json::from_str(&text).unwrap(),
            message: "please".to_owned(),
            credentials: Vec::new(),
            user_message: String::new(),
        }
    };
    let raise = |key: &'static str| {
        let (proposals, agent, new) = (control.proposals(), &agent, new(key));
        async move {
            proposals
                .raise(agent, VaultRef::Implied, new, "http://x")
                .await
        }
    };
    raise("NEVER_USED_PASSWORD").await.unwrap();
    assert_eq!(
        raise("UNKNOWN_KEY").await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
}
