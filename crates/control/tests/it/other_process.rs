//! Two processes share one database.

use agent_vault_control::{Actor, InstanceRole, NewToken, VaultRef, VaultRole};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::instance::Instance;

#[tokio::test]
async fn what_one_process_writes_the_other_brokers() {
    let instance = Instance::new().await;
    let other = instance.other().await;
    let (cancelled, tasks) = (CancellationToken::new(), TaskTracker::new());
    let watching = other.clone();
    let stop = cancelled.clone();
    let watch = tasks.spawn(async move { watching.watch_database(stop).await });

    let mut changes = other.broker().revocations();
    let minted = instance
        .control
        .tokens()
        .mint(
            &Actor::LocalOperator,
            VaultRef::Implied,
            NewToken::default(),
        )
        .await
        .unwrap();
    let opens = || {
        other
            .broker()
            .authenticate(minted.token.expose(), Some("default"), instance.now())
            .is_ok()
    };
    while !opens() {
        changes.changed().await.unwrap();
    }
    instance
        .control
        .tokens()
        .revoke(&Actor::LocalOperator, VaultRef::Implied, &minted.id)
        .await
        .unwrap();
    while opens() {
        changes.changed().await.unwrap();
    }
    cancelled.cancel();
    watch.await.unwrap();
}

#[tokio::test]
async fn a_write_of_ours_brings_in_what_others_wrote_before() {
    let instance = Instance::new().await;
    let other = instance.other().await;
    let vaults = vec![("default".to_owned(), VaultRole::Proxy)];
    let (_, token) = instance.agent("bot", InstanceRole::NoAccess, vaults).await;
    let opens = || {
        other
            .broker()
            .authenticate(&token, None, instance.now())
            .is_ok()
    };
    assert!(!opens());
    // Nobody watches: the gap in the versions is what tells.
    other
        .vaults()
        .create(&Actor::LocalOperator, "unrelated")
        .await
        .unwrap();
    assert!(opens());
}

#[tokio::test]
async fn a_restart_shows_the_same() {
    let instance = Instance::new().await;
    let local = Actor::LocalOperator;
    let vaults = vec![("default".to_owned(), VaultRole::Proxy)];
    let (_, token) = instance.agent("bot", InstanceRole::NoAccess, vaults).await;
    let minted = instance
        .control
        .tokens()
        .mint(&local, VaultRef::Implied, NewToken::default())
        .await
        .unwrap();
    let again = instance.other().await;
    for token in [token.as_str(), minted.token.expose()] {
        assert!(
            again
                .broker()
                .authenticate(token, Some("default"), instance.now())
                .is_ok()
        );
    }
    let discovered = |control: agent_vault_control::Control| async move {
        control
            .discovery()
            .discover(&Actor::LocalOperator, VaultRef::Implied)
            .await
            .unwrap()
    };
    assert_eq!(
        discovered(instance.control.clone()).await,
        discovered(again).await
    );
}
