//! The Infisical client against one that behaves, and one that does not.

use std::sync::Arc;

use agent_vault_broker::{SecretStore, StoreFailure, StoreFault, StorePlace, StoreSnapshot};
use agent_vault_policy::EgressPolicy;
use agent_vault_seal::SecretBytes;
use agent_vault_sources::infisical::{Infisical, InfisicalLogin, InfisicalUrl};
use agent_vault_testing::{InfisicalStore, StoreMode};
use agent_vault_upstream::{
    Dialer, DialerOptions, ExtraRoots, Limits, SystemResolver, Trust, Upstream,
};
use jiff::Timestamp;

fn client_with(store: &InfisicalStore, allow_private: bool, login: InfisicalLogin) -> Infisical {
    let root = store.upstream().ca_pem();
    let dialer = Dialer::new(DialerOptions {
        resolver: Arc::new(SystemResolver::new()),
        egress: EgressPolicy {
            allow_private,
            allow: Vec::new(),
        },
        trust: Trust::only(&ExtraRoots::parse("test", root).unwrap()).unwrap(),
        proxy: None,
        limits: Limits::default(),
    })
    .unwrap();
    let url = InfisicalUrl::parse(&store.url()).unwrap();
    let clock = Arc::new(|| Timestamp::UNIX_EPOCH);
    Infisical::new(Arc::new(Upstream::new(dialer)), &url, login, clock).unwrap()
}

fn universal() -> InfisicalLogin {
    InfisicalLogin::Universal {
        client_id: "client-1".to_owned(),
        client_secret: SecretBytes::from(InfisicalStore::CLIENT_SECRET.to_owned()),
    }
}

fn client(store: &InfisicalStore) -> Infisical {
    client_with(store, true, universal())
}

fn place() -> StorePlace {
    StorePlace {
        project_id: InfisicalStore::PROJECT.to_owned(),
        environment: "prod".to_owned(),
        secret_path: "/a b".to_owned(),
    }
}

async fn read(client: &Infisical) -> Result<StoreSnapshot, StoreFailure> {
    client.snapshot(&place()).await
}

#[tokio::test]
async fn secrets_names_and_leases() {
    let store = InfisicalStore::start();
    store.set("A", "value \"a\"\n");
    store.set_dynamic(&["main-db"]);
    let client = client(&store);
    let snapshot = read(&client).await.unwrap();
    let (name, value) = snapshot.secrets.first().unwrap();
    assert_eq!(
        (name.as_str(), value.expose_str().unwrap()),
        ("A", "value \"a\"\n")
    );
    assert_eq!(snapshot.dynamic, Some(vec!["main-db".to_owned()]));
    let lease = client.lease(&place(), "main-db").await.unwrap();
    assert!(lease.expires_at.is_some());
    let port = lease
        .fields
        .iter()
        .find(|(name, _)| name == "PORT")
        .unwrap();
    assert_eq!(port.1.expose(), b"5432");
    assert!(client.renew(&place(), &lease.id).await.unwrap().is_some());
    client.revoke(&place(), &lease.id).await.unwrap();
    let again = client.revoke(&place(), &lease.id).await.unwrap_err();
    assert_eq!(again.fault, StoreFault::Absent);
    // One login for all of it, and the slug was asked for once.
    assert_eq!(store.logins().len(), 1);
    assert_eq!(store.calls("GET /api/v1/workspace/project-1"), 1);
}

#[tokio::test]
async fn every_method_logs_in_with_what_it_takes() {
    let folder = agent_vault_testing::Home::new();
    let file = folder.write("token", "pod-token-1\n");
    for (login, field, expected) in [
        (
            InfisicalLogin::Kubernetes {
                identity_id: "id".to_owned(),
                token_file: file.clone(),
            },
            "jwt",
            "pod-token-1",
        ),
        (
            InfisicalLogin::Ldap {
                identity_id: "id".to_owned(),
                username: "u".to_owned(),
                password: SecretBytes::from("p".to_owned()),
            },
            "password",
            "p",
        ),
    ] {
        let store = InfisicalStore::start();
        let client = client_with(&store, true, login);
        client.log_in().await.unwrap();
        let sent = store.logins().pop().unwrap();
        assert_eq!(sent[field], expected);
        assert_eq!(sent["identityId"], "id");
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once() {
    let store = InfisicalStore::start();
    let client = client(&store);
    read(&client).await.unwrap();
    store.forget_tokens();
    read(&client).await.unwrap();
    assert_eq!(store.logins().len(), 2);
}

#[tokio::test]
async fn m41_a_login_that_fails_rests_and_is_tried_again() {
    let store = InfisicalStore::start();
    store.set_refuses_login(true);
    let client = client(&store);
    for _ in 0..3 {
        assert_eq!(read(&client).await.unwrap_err().fault, StoreFault::Login);
    }
    // Whoever came while it rested heard the same, and nobody was bothered.
    let tried = store.logins().len();
    assert!(tried < 3, "{tried}");
    store.set_refuses_login(false);
    let end = tokio::time::Instant::now() + agent_vault_testing::PATIENCE;
    while read(&client).await.is_err() {
        assert!(tokio::time::Instant::now() < end, "it was not tried again");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn misbehaviour_is_bounded_and_quoted_nowhere() {
    let store = InfisicalStore::start();
    store.set("A", "value");
    let elsewhere = InfisicalStore::start();
    let client = client(&store);
    for (mode, fault) in [
        (StoreMode::Status(500), StoreFault::Unreachable),
        (StoreMode::Status(403), StoreFault::Refused),
        (StoreMode::Status(404), StoreFault::Absent),
        (
            StoreMode::Redirect(elsewhere.url()),
            StoreFault::Unreachable,
        ),
        (StoreMode::Giant, StoreFault::Unreachable),
        (StoreMode::Hidden, StoreFault::Refused),
    ] {
        store.set_mode(mode.clone());
        let failure = read(&client).await.unwrap_err();
        assert_eq!(failure.fault, fault, "{mode:?}");
        assert!(!failure.message.contains("ist-"), "{failure}");
    }
    assert_eq!(elsewhere.calls("GET /api/v3/secrets/raw"), 0);
    store.set_mode(StoreMode::Good);
    read(&client).await.unwrap();
}

#[tokio::test]
async fn a_private_address_is_reached_only_where_it_is_allowed() {
    let store = InfisicalStore::start();
    let failure = read(&client_with(&store, false, universal()))
        .await
        .unwrap_err();
    assert!(
        failure.message.contains("AGENT_VAULT_NETWORK_ALLOWLIST"),
        "{failure}"
    );
    assert!(store.logins().is_empty());
}
