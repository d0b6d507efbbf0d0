//! What a vault and the instance hold, and the image of all of it.

use agent_vault_seal::{Keyring, Sealed};
use agent_vault_store::{
    ActorRef, CaRecord, Credential, CredentialType, CredentialWrite, DEFAULT_VAULT_ID,
    DEFAULT_VAULT_NAME, INSTANCE_ID_KEY, MAX_CREDENTIAL_VERSIONS, Session, SessionKind, Store,
    StoreErrorKind, Tx, VaultRole,
};
use uuid::Uuid;

use crate::{agent, at, entry, grant, open, session, temp, user, vault};

async fn put_value(
    tx: &mut Tx,
    keyring: &Keyring,
    vault_id: Uuid,
    key: &str,
    value: &[u8],
) -> (u32, Sealed) {
    let version = tx.next_credential_version(vault_id, key).await.unwrap();
    let sealed = keyring
        .seal(
            &Credential::seal_context(&vault_id.to_string(), key, version),
            value,
        )
        .unwrap();
    let write = CredentialWrite {
        vault_id,
        key,
        kind: CredentialType::Static,
        version,
        sealed: &sealed,
        expires_at: None,
        restored_from: None,
        at: at(2),
    };
    tx.put_credential(&write).await.unwrap();
    (version, sealed)
}

#[tokio::test]
async fn a_new_database_has_its_seed() {
    let temp = temp();
    let store = open(temp.path()).await;
    let vaults = store.vaults().await.unwrap();
    assert_eq!(vaults.len(), 1);
    assert_eq!(
        (vaults[0].id, vaults[0].name.as_str()),
        (DEFAULT_VAULT_ID, DEFAULT_VAULT_NAME)
    );
    assert_eq!(vaults[0].created_at, at(0));
    assert_eq!(
        store
            .services(DEFAULT_VAULT_ID)
            .await
            .unwrap()
            .unwrap()
            .json,
        "[]"
    );
    assert_eq!(store.instance_id().len(), 32);
    assert_eq!(store.version().await.unwrap(), 0);
    assert_eq!(store.user_count().await.unwrap(), 0);

    let id = store.instance_id().to_owned();
    store.close().await;
    assert_eq!(open(temp.path()).await.instance_id(), id);
}

#[tokio::test]
async fn credentials_keep_versions_bound_to_their_place() {
    let temp = temp();
    let store = open(temp.path()).await;
    let keyring = Keyring::generate().unwrap();
    let mut tx = store.begin().await.unwrap();
    let (first, old) = put_value(&mut tx, &keyring, DEFAULT_VAULT_ID, "KEY", b"one").await;
    let (second, _) = put_value(&mut tx, &keyring, DEFAULT_VAULT_ID, "KEY", b"two").await;
    assert_eq!((first, second), (1, 2));
    let stale = CredentialWrite {
        vault_id: DEFAULT_VAULT_ID,
        key: "KEY",
        kind: CredentialType::Static,
        version: 2,
        sealed: &old,
        expires_at: None,
        restored_from: None,
        at: at(3),
    };
    assert_eq!(
        tx.put_credential(&stale).await.unwrap_err().kind(),
        StoreErrorKind::Conflict
    );
    let nowhere = CredentialWrite {
        vault_id: Uuid::new_v4(),
        version: 1,
        ..stale
    };
    assert_eq!(
        tx.put_credential(&nowhere).await.unwrap_err().kind(),
        StoreErrorKind::NotFound
    );
    tx.commit(&entry("credential.set")).await.unwrap();

    let stored = store
        .credential(DEFAULT_VAULT_ID, "KEY")
        .await
        .unwrap()
        .unwrap();
    let id = stored.vault_id.to_string();
    let context = Credential::seal_context(&id, &stored.key, stored.version);
    assert_eq!(
        keyring.open(&context, &stored.sealed).unwrap().expose(),
        b"two"
    );
    // An old value in the place of the current one does not open.
    assert!(keyring.open(&context, &old).is_err());

    let mut tx = store.begin().await.unwrap();
    for _ in 0..MAX_CREDENTIAL_VERSIONS + 3 {
        put_value(&mut tx, &keyring, DEFAULT_VAULT_ID, "KEY", b"more").await;
    }
    put_value(&mut tx, &keyring, DEFAULT_VAULT_ID, "ANOTHER", b"x").await;
    tx.commit(&entry("credential.set")).await.unwrap();
    assert_eq!(
        store.credential_keys(DEFAULT_VAULT_ID).await.unwrap(),
        ["ANOTHER", "KEY"]
    );
    assert_eq!(
        count(&store, "select count(*) from credential_versions").await,
        i64::from(MAX_CREDENTIAL_VERSIONS) + 1
    );

    let mut tx = store.begin().await.unwrap();
    assert!(tx.delete_credential(DEFAULT_VAULT_ID, "KEY").await.unwrap());
    assert!(!tx.delete_credential(DEFAULT_VAULT_ID, "KEY").await.unwrap());
    tx.commit(&entry("credential.delete")).await.unwrap();
    assert_eq!(
        count(&store, "select count(*) from credential_versions").await,
        1
    );
}

#[tokio::test]
async fn services_settings_and_ca() {
    let temp = temp();
    let store = open(temp.path()).await;
    let keyring = Keyring::generate().unwrap();
    let ca = CaRecord {
        cert_pem: "PEM".to_owned(),
        sealed_key: keyring.seal(&CaRecord::SEAL_CONTEXT, b"der").unwrap(),
        source: "auto".to_owned(),
        created_at: at(1),
    };
    let mut tx = store.begin().await.unwrap();
    tx.put_services(DEFAULT_VAULT_ID, r#"[{"name":"x"}]"#, at(4))
        .await
        .unwrap();
    assert_eq!(
        tx.put_services(Uuid::new_v4(), "[]", at(4))
            .await
            .unwrap_err()
            .kind(),
        StoreErrorKind::NotFound
    );
    tx.put_vault_setting(
        DEFAULT_VAULT_ID,
        "unmatched_host_policy",
        Some("deny"),
        at(4),
    )
    .await
    .unwrap();
    tx.put_instance_setting("invite_only", Some("false"), at(4))
        .await
        .unwrap();
    tx.put_instance_setting("invite_only", Some("true"), at(5))
        .await
        .unwrap();
    assert_eq!(
        tx.put_instance_setting(INSTANCE_ID_KEY, Some("x"), at(4))
            .await
            .unwrap_err()
            .kind(),
        StoreErrorKind::Invalid
    );
    assert!(tx.insert_ca_if_absent(&ca).await.unwrap());
    assert!(
        !tx.insert_ca_if_absent(&CaRecord {
            cert_pem: "other".to_owned(),
            ..ca.clone()
        })
        .await
        .unwrap()
    );
    tx.commit(&entry("settings.put")).await.unwrap();

    let services = store.services(DEFAULT_VAULT_ID).await.unwrap().unwrap();
    assert_eq!(
        (
            services.json.as_str(),
            services.revision,
            services.updated_at
        ),
        (r#"[{"name":"x"}]"#, 1, at(4))
    );
    assert_eq!(
        store
            .vault_setting(DEFAULT_VAULT_ID, "unmatched_host_policy")
            .await
            .unwrap()
            .as_deref(),
        Some("deny")
    );
    assert_eq!(
        store.vault_settings(DEFAULT_VAULT_ID).await.unwrap().len(),
        1
    );
    assert_eq!(
        store
            .instance_setting("invite_only")
            .await
            .unwrap()
            .as_deref(),
        Some("true")
    );
    assert_eq!(store.ca_record().await.unwrap(), Some(ca));

    let mut tx = store.begin().await.unwrap();
    tx.put_vault_setting(DEFAULT_VAULT_ID, "unmatched_host_policy", None, at(6))
        .await
        .unwrap();
    tx.put_instance_setting("invite_only", None, at(6))
        .await
        .unwrap();
    tx.commit(&entry("settings.put")).await.unwrap();
    assert!(
        store
            .vault_settings(DEFAULT_VAULT_ID)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(store.instance_settings().await.unwrap().len(), 1);
}

#[tokio::test]
async fn deleting_a_vault_takes_everything_in_it() {
    let temp = temp();
    let store = open(temp.path()).await;
    let keyring = Keyring::generate().unwrap();
    let (doomed, bot) = (vault("doomed"), agent("bot"));
    let mut tx = store.begin().await.unwrap();
    tx.insert_vault(&doomed).await.unwrap();
    tx.insert_agent(&bot).await.unwrap();
    tx.put_grant(&grant(
        ActorRef::agent(bot.id),
        doomed.id,
        VaultRole::Proxy,
        1,
    ))
    .await
    .unwrap();
    tx.insert_session(&session(SessionKind::Scoped, doomed.id, "scoped"))
        .await
        .unwrap();
    put_value(&mut tx, &keyring, doomed.id, "KEY", b"value").await;
    tx.put_services(doomed.id, "[1]", at(2)).await.unwrap();
    tx.put_vault_setting(doomed.id, "k", Some("v"), at(2))
        .await
        .unwrap();
    tx.commit(&entry("vault.create")).await.unwrap();
    store
        .append_logs(&[crate::logs::row(doomed.id, 1).as_append()])
        .await
        .unwrap();

    let mut tx = store.begin().await.unwrap();
    assert!(tx.delete_vault(doomed.id).await.unwrap());
    assert!(!tx.delete_vault(doomed.id).await.unwrap());
    tx.commit(&entry("vault.delete")).await.unwrap();
    for (sql, left) in [
        ("select count(*) from vaults", 1),
        ("select count(*) from broker_configs", 1),
        ("select count(*) from vault_grants", 0),
        ("select count(*) from sessions", 0),
        ("select count(*) from credentials", 0),
        ("select count(*) from credential_versions", 0),
        ("select count(*) from vault_settings", 0),
        ("select count(*) from request_logs", 0),
    ] {
        assert_eq!(count(&store, sql).await, left, "{sql}");
    }
}

#[tokio::test]
async fn the_image_holds_what_the_data_plane_needs() {
    let temp = temp();
    let store = open(temp.path()).await;
    let keyring = Keyring::generate().unwrap();
    let (ada, bot, other) = (user("ada@x.io"), agent("bot"), vault("other"));
    let mut tx = store.begin().await.unwrap();
    tx.insert_user(&ada).await.unwrap();
    tx.insert_agent(&bot).await.unwrap();
    tx.insert_vault(&other).await.unwrap();
    tx.put_grant(&grant(
        ActorRef::agent(bot.id),
        other.id,
        VaultRole::Proxy,
        1,
    ))
    .await
    .unwrap();
    tx.put_grant(&grant(
        ActorRef::agent(bot.id),
        DEFAULT_VAULT_ID,
        VaultRole::Member,
        2,
    ))
    .await
    .unwrap();
    put_value(&mut tx, &keyring, other.id, "KEY", b"old").await;
    put_value(&mut tx, &keyring, other.id, "KEY", b"value").await;
    tx.put_services(other.id, "[1]", at(2)).await.unwrap();
    tx.put_vault_setting(other.id, "unmatched_host_policy", Some("deny"), at(2))
        .await
        .unwrap();
    tx.insert_session(&session(SessionKind::Agent, bot.id, "agent"))
        .await
        .unwrap();
    tx.insert_session(&session(SessionKind::User, ada.id, "login"))
        .await
        .unwrap();
    let dead = Session {
        expires_at: Some(at(5)),
        ..session(SessionKind::Scoped, other.id, "dead")
    };
    tx.insert_session(&dead).await.unwrap();
    let version = tx.commit(&entry("all")).await.unwrap();

    let image = store.image(at(6)).await.unwrap();
    assert_eq!(
        (image.version, image.instance_id.as_str()),
        (version, store.instance_id())
    );
    assert_eq!(image.vaults.len(), 2);
    let shown = image
        .vaults
        .iter()
        .find(|vault| vault.id == other.id)
        .unwrap();
    assert_eq!(
        (shown.name.as_str(), shown.services_json.as_str()),
        ("other", "[1]")
    );
    assert_eq!(shown.unmatched_policy.as_deref(), Some("deny"));
    assert_eq!(
        (
            shown.credentials[0].key.as_str(),
            shown.credentials[0].version
        ),
        ("KEY", 2)
    );
    let id = other.id.to_string();
    let opened = keyring
        .open(
            &Credential::seal_context(&id, "KEY", 2),
            &shown.credentials[0].sealed,
        )
        .unwrap();
    assert_eq!(opened.expose(), b"value");
    assert_eq!(
        image.agents[0].grants,
        [
            (other.id, VaultRole::Proxy),
            (DEFAULT_VAULT_ID, VaultRole::Member)
        ]
    );
    assert_eq!(image.users[&ada.id], "ada@x.io");
    assert_eq!(image.sessions.len(), 2);
}

/// Counts rows through a connection of the test's own.
async fn count(store: &Store, sql: &'static str) -> i64 {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(store.path());
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let count = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
    pool.close().await;
    count
}

#[tokio::test]
async fn former_values_are_listed_ended_and_removed() {
    let temp = temp();
    let store = open(temp.path()).await;
    let keyring = Keyring::generate().unwrap();
    let mut tx = store.begin().await.unwrap();
    for value in [b"one", b"two"] {
        put_value(&mut tx, &keyring, DEFAULT_VAULT_ID, "KEY", value).await;
    }
    put_value(&mut tx, &keyring, DEFAULT_VAULT_ID, "OTHER", b"x").await;
    assert!(
        tx.set_credential_expiry(DEFAULT_VAULT_ID, "KEY", Some(at(50)))
            .await
            .unwrap()
    );
    assert!(
        !tx.set_credential_expiry(DEFAULT_VAULT_ID, "NONE", None)
            .await
            .unwrap()
    );
    tx.commit(&entry("credential.expire")).await.unwrap();
    let versions = store
        .credential_versions(DEFAULT_VAULT_ID, "KEY")
        .await
        .unwrap();
    let shown: Vec<_> = versions.iter().map(|v| (v.version, v.expires_at)).collect();
    assert_eq!(shown, [(2, Some(at(50))), (1, None)]);
    for (now, keys) in [(49, vec!["KEY", "OTHER"]), (50, vec!["OTHER"])] {
        let live = store
            .live_credential_keys(DEFAULT_VAULT_ID, at(now))
            .await
            .unwrap();
        assert_eq!(live, keys);
    }
    let mut tx = store.begin().await.unwrap();
    for (version, removed) in [(2, false), (1, true), (1, false)] {
        let gone = tx
            .delete_credential_version(DEFAULT_VAULT_ID, "KEY", version)
            .await
            .unwrap();
        assert_eq!(gone, removed, "{version}");
    }
}
