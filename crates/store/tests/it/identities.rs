//! Vaults, users, agents and grants.

use agent_vault_store::{
    ActorRef, DEFAULT_VAULT_ID, InstanceRole, SessionKind, StoreErrorKind, VaultRole,
};
use uuid::Uuid;

use crate::{agent, at, entry, grant, minted_by, open, session, temp, user, vault};

#[tokio::test]
async fn vaults_round_trip_and_conflict() {
    let temp = temp();
    let store = open(temp.path()).await;
    let one = vault("one");
    let mut tx = store.begin().await.unwrap();
    tx.insert_vault(&one).await.unwrap();
    assert_eq!(
        tx.insert_vault(&vault("one")).await.unwrap_err().kind(),
        StoreErrorKind::Conflict
    );
    // A conflict does not spoil the transaction.
    let two = vault("two");
    tx.insert_vault(&two).await.unwrap();
    assert_eq!(
        tx.rename_vault(two.id, "one", at(3))
            .await
            .unwrap_err()
            .kind(),
        StoreErrorKind::Conflict
    );
    tx.rename_vault(two.id, "three", at(3)).await.unwrap();
    assert_eq!(
        tx.rename_vault(Uuid::new_v4(), "four", at(3))
            .await
            .unwrap_err()
            .kind(),
        StoreErrorKind::NotFound
    );
    assert_eq!(tx.commit(&entry("vault.create")).await.unwrap(), 1);

    assert_eq!(store.vault(one.id).await.unwrap().as_ref(), Some(&one));
    let renamed = store.vault_by_name("three").await.unwrap().unwrap();
    assert_eq!((renamed.id, renamed.updated_at), (two.id, at(3)));
    let names: Vec<_> = store
        .vaults()
        .await
        .unwrap()
        .into_iter()
        .map(|vault| vault.name)
        .collect();
    assert_eq!(names, ["default", "one", "three"]);
}

#[tokio::test]
async fn a_dropped_transaction_leaves_nothing() {
    let temp = temp();
    let store = open(temp.path()).await;
    let mut tx = store.begin().await.unwrap();
    tx.insert_vault(&vault("gone")).await.unwrap();
    assert!(tx.vault_by_name("gone").await.unwrap().is_some());
    drop(tx);
    // The writer is free again, and clean.
    let mut tx = store.begin().await.unwrap();
    assert!(tx.vault_by_name("gone").await.unwrap().is_none());
    tx.insert_vault(&vault("kept")).await.unwrap();
    tx.commit(&entry("vault.create")).await.unwrap();
    assert_eq!(store.version().await.unwrap(), 1);
    assert_eq!(store.audit_page(None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn users_are_one_per_mailbox() {
    let temp = temp();
    let store = open(temp.path()).await;
    let ada = user("Ada@Example.org");
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.user_count().await.unwrap(), 0);
    tx.insert_user(&ada).await.unwrap();
    assert_eq!(
        tx.insert_user(&user(" ada@example.ORG"))
            .await
            .unwrap_err()
            .kind(),
        StoreErrorKind::Conflict
    );
    tx.set_user_role(ada.id, InstanceRole::Member, at(5))
        .await
        .unwrap();
    tx.set_user_active(ada.id, false, at(6)).await.unwrap();
    let mut password = ada.password.clone();
    password.hash = vec![9; 32];
    tx.set_user_password(ada.id, &password, at(7))
        .await
        .unwrap();
    assert_eq!(
        tx.set_user_role(Uuid::new_v4(), InstanceRole::Owner, at(5))
            .await
            .unwrap_err()
            .kind(),
        StoreErrorKind::NotFound
    );
    tx.commit(&entry("user.create")).await.unwrap();

    let stored = store
        .user_by_email("ADA@example.org")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored.email, "Ada@Example.org");
    assert_eq!(
        (stored.role, stored.is_active),
        (InstanceRole::Member, false)
    );
    assert_eq!((&stored.password, stored.updated_at), (&password, at(7)));
    assert_eq!(store.active_owner_users().await.unwrap(), 0);
}

#[tokio::test]
async fn agents_and_their_end() {
    let temp = temp();
    let store = open(temp.path()).await;
    let bot = agent("bot");
    let me = ActorRef::agent(bot.id);
    let mut tx = store.begin().await.unwrap();
    tx.insert_agent(&bot).await.unwrap();
    assert_eq!(
        tx.insert_agent(&agent("bot")).await.unwrap_err().kind(),
        StoreErrorKind::Conflict
    );
    tx.put_grant(&grant(me, DEFAULT_VAULT_ID, VaultRole::Proxy, 1))
        .await
        .unwrap();
    tx.insert_session(&session(SessionKind::Agent, bot.id, "token"))
        .await
        .unwrap();
    tx.insert_session(&minted_by(
        me,
        session(SessionKind::Scoped, DEFAULT_VAULT_ID, "minted"),
    ))
    .await
    .unwrap();
    tx.commit(&entry("agent.create")).await.unwrap();
    assert_eq!(store.agent_sessions(bot.id, at(2)).await.unwrap().len(), 1);

    let mut tx = store.begin().await.unwrap();
    tx.revoke_agent(bot.id, at(9)).await.unwrap();
    tx.commit(&entry("agent.revoke")).await.unwrap();
    let revoked = store.agent_by_name("bot").await.unwrap().unwrap();
    assert_eq!(
        (revoked.status.as_str(), revoked.revoked_at),
        ("revoked", Some(at(9)))
    );
    assert!(
        store
            .agent_sessions(bot.id, at(9))
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        store
            .scoped_sessions(DEFAULT_VAULT_ID, at(9))
            .await
            .unwrap()
            .is_empty()
    );
    assert!(store.grant(me, DEFAULT_VAULT_ID).await.unwrap().is_some());

    let mut tx = store.begin().await.unwrap();
    tx.activate_agent(bot.id, at(10)).await.unwrap();
    tx.rename_agent(bot.id, "robot", at(10)).await.unwrap();
    assert!(tx.delete_agent(bot.id).await.unwrap());
    assert!(!tx.delete_agent(bot.id).await.unwrap());
    tx.commit(&entry("agent.delete")).await.unwrap();
    assert!(store.agents().await.unwrap().is_empty());
    assert!(store.grant(me, DEFAULT_VAULT_ID).await.unwrap().is_none());
}

#[tokio::test]
async fn grants() {
    let temp = temp();
    let store = open(temp.path()).await;
    let (ada, bot, other) = (user("ada@x.io"), agent("bot"), vault("other"));
    let mut tx = store.begin().await.unwrap();
    tx.insert_user(&ada).await.unwrap();
    tx.insert_agent(&bot).await.unwrap();
    tx.insert_vault(&other).await.unwrap();
    let (a, b) = (ActorRef::user(ada.id), ActorRef::agent(bot.id));
    tx.put_grant(&grant(a, other.id, VaultRole::Admin, 1))
        .await
        .unwrap();
    tx.put_grant(&grant(a, DEFAULT_VAULT_ID, VaultRole::Admin, 2))
        .await
        .unwrap();
    tx.put_grant(&grant(b, other.id, VaultRole::Proxy, 3))
        .await
        .unwrap();
    tx.put_grant(&grant(b, other.id, VaultRole::Admin, 4))
        .await
        .unwrap();
    let missing = grant(b, Uuid::new_v4(), VaultRole::Proxy, 4);
    assert_eq!(
        tx.put_grant(&missing).await.unwrap_err().kind(),
        StoreErrorKind::NotFound
    );
    tx.commit(&entry("grant.put")).await.unwrap();

    let mine: Vec<_> = store
        .vaults_of(a)
        .await
        .unwrap()
        .into_iter()
        .map(|m| m.vault.name)
        .collect();
    assert_eq!(mine, ["other", "default"]);
    assert_eq!(store.vault_admin_count(other.id).await.unwrap(), 2);
    let regranted = store.grant(b, other.id).await.unwrap().unwrap();
    assert_eq!(
        (regranted.role, regranted.created_at),
        (VaultRole::Admin, at(3))
    );
    assert_eq!(store.grants_of_vault(other.id).await.unwrap().len(), 2);
    assert_eq!(
        store.vault_users(other.id).await.unwrap()[0].email,
        "ada@x.io"
    );
    assert_eq!(store.vault_agents(other.id).await.unwrap()[0].name, "bot");

    // What an actor minted in a vault ends with its grant there, and nowhere else.
    let mut tx = store.begin().await.unwrap();
    tx.insert_session(&minted_by(
        a,
        session(SessionKind::Scoped, other.id, "here"),
    ))
    .await
    .unwrap();
    tx.insert_session(&minted_by(
        a,
        session(SessionKind::Scoped, DEFAULT_VAULT_ID, "there"),
    ))
    .await
    .unwrap();
    assert!(tx.delete_grant(a, other.id).await.unwrap());
    assert!(!tx.delete_grant(a, other.id).await.unwrap());
    tx.revoke_agent(bot.id, at(5)).await.unwrap();
    assert_eq!(tx.vault_admin_count(other.id).await.unwrap(), 0);
    tx.commit(&entry("grant.delete")).await.unwrap();
    assert!(
        store
            .scoped_sessions(other.id, at(5))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        store
            .scoped_sessions(DEFAULT_VAULT_ID, at(5))
            .await
            .unwrap()
            .len(),
        1
    );
}
