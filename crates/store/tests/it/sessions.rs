use agent_vault_seal::TokenHash;
use agent_vault_store::{ActorRef, DEFAULT_VAULT_ID, Session, SessionKind, StoreErrorKind};
use uuid::Uuid;

use crate::{at, entry, open, session, temp, user};

#[tokio::test]
async fn m12_last_uses_of_tokens_are_written_together() {
    let temp = temp();
    let store = open(temp.path()).await;
    let ada = user("ada@x.io");
    let login = session(SessionKind::User, ada.id, "login");
    let scoped = session(SessionKind::Scoped, DEFAULT_VAULT_ID, "scoped");
    let mut tx = store.begin().await.unwrap();
    tx.insert_user(&ada).await.unwrap();
    for session in [&login, &scoped] {
        tx.insert_session(session).await.unwrap();
    }
    tx.commit(&entry("session.create")).await.unwrap();
    let version = store.version().await.unwrap();
    let last_use = async |hash| store.session(hash).await.unwrap().unwrap().last_used_at;

    let gone = TokenHash::of("gone");
    store
        .touch_tokens(&[(gone, at(50)), (scoped.hash, at(50)), (login.hash, at(50))])
        .await
        .unwrap();
    assert_eq!(last_use(scoped.hash).await, Some(at(50)));
    assert_eq!(
        last_use(login.hash).await,
        None,
        "logins have their own way"
    );
    // Another process may have seen a later use.
    store.touch_tokens(&[(scoped.hash, at(40))]).await.unwrap();
    assert_eq!(last_use(scoped.hash).await, Some(at(50)));
    assert_eq!(
        store.version().await.unwrap(),
        version,
        "nobody need load anew"
    );
}

#[tokio::test]
async fn sessions_live_and_end() {
    let temp = temp();
    let store = open(temp.path()).await;
    let ada = user("ada@x.io");
    let login = Session {
        expires_at: Some(at(1000)),
        idle_ttl_seconds: Some(100),
        last_ip: "192.0.2.1".to_owned(),
        created_by: Some(ActorRef::user(ada.id)),
        ..session(SessionKind::User, ada.id, "login")
    };
    let mut tx = store.begin().await.unwrap();
    tx.insert_user(&ada).await.unwrap();
    tx.insert_session(&login).await.unwrap();
    tx.commit(&entry("session.create")).await.unwrap();
    assert_eq!(
        store.session(login.hash).await.unwrap().as_ref(),
        Some(&login)
    );

    // Live to the end of its second, and dead after; idle likewise.
    assert!(login.is_live(at(101)) && !login.is_live(at(102)));
    store
        .touch_session(login.hash, at(90), "", "curl")
        .await
        .unwrap();
    store
        .touch_session(login.hash, at(120), "192.0.2.9", "late")
        .await
        .unwrap();
    let used = store.session(login.hash).await.unwrap().unwrap();
    assert_eq!(
        (used.last_used_at, used.last_ip.as_str()),
        (Some(at(90)), "192.0.2.1"),
        "once a minute"
    );
    assert_eq!(used.last_user_agent, "curl");
    assert!(used.is_live(at(190)) && !used.is_live(at(191)));
    store
        .touch_session(login.hash, at(190), "192.0.2.9", "")
        .await
        .unwrap();
    assert_eq!(
        store.session(login.hash).await.unwrap().unwrap().last_ip,
        "192.0.2.9"
    );

    assert_eq!(store.user_sessions(ada.id, at(200)).await.unwrap().len(), 1);
    assert!(
        store
            .user_sessions(ada.id, at(2000))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(store.purge_expired_sessions(at(290)).await.unwrap(), 0);
    assert_eq!(store.purge_expired_sessions(at(291)).await.unwrap(), 1);

    // A session whose fields do not fit its kind cannot be stored.
    let mut tx = store.begin().await.unwrap();
    let odd = Session {
        vault_id: None,
        ..session(SessionKind::Scoped, DEFAULT_VAULT_ID, "odd")
    };
    assert_eq!(
        tx.insert_session(&odd).await.unwrap_err().kind(),
        StoreErrorKind::Invalid
    );
    let scoped = session(SessionKind::Scoped, DEFAULT_VAULT_ID, "scoped");
    tx.insert_session(&scoped).await.unwrap();
    assert_eq!(
        tx.insert_session(&scoped).await.unwrap_err().kind(),
        StoreErrorKind::Conflict
    );
    assert_eq!(
        tx.delete_scoped_session(Uuid::new_v4(), &scoped.public_id)
            .await
            .unwrap(),
        None
    );
    assert_eq!(
        tx.delete_scoped_session(DEFAULT_VAULT_ID, &scoped.public_id)
            .await
            .unwrap(),
        Some(scoped.hash)
    );
    assert!(!tx.delete_session(scoped.hash).await.unwrap());
    tx.insert_session(&session(SessionKind::User, ada.id, "again"))
        .await
        .unwrap();
    assert_eq!(
        tx.delete_user_session(ada.id, "public-again")
            .await
            .unwrap(),
        Some(TokenHash::of("again"))
    );
    tx.insert_session(&session(SessionKind::User, ada.id, "last"))
        .await
        .unwrap();
    assert_eq!(tx.delete_user_sessions(ada.id).await.unwrap(), 1);
    tx.insert_session(&session(SessionKind::User, ada.id, "cascade"))
        .await
        .unwrap();
    assert!(tx.delete_user(ada.id).await.unwrap());
    assert!(
        tx.session(TokenHash::of("cascade"))
            .await
            .unwrap()
            .is_none()
    );
}
