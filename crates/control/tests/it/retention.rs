//! What sweeps remove.

use agent_vault_control::{Actor, LogRow, NewToken, RetentionKnobs, VaultRef};
use agent_vault_store::{AuditEntry, DEFAULT_VAULT_ID, LogQuery};
use jiff::SignedDuration;

use crate::instance::Instance;

fn row(instance: &Instance) -> LogRow {
    LogRow {
        vault_id: DEFAULT_VAULT_ID,
        actor: None,
        session_id: String::new(),
        label: String::new(),
        ingress: "mitm".to_owned(),
        method: "GET".to_owned(),
        host: "api.x.io:443".to_owned(),
        path: "/".to_owned(),
        matched_service: String::new(),
        credential_keys: Vec::new(),
        status: 200,
        latency_ms: 1,
        error_code: String::new(),
        auth_scheme: String::new(),
        auth_header: String::new(),
        decision: "forward".to_owned(),
        warnings: Vec::new(),
        scrubs: 0,
        created_at: instance.now(),
    }
}

#[tokio::test]
async fn by_age_by_number_by_setting_and_by_lock() {
    let instance = Instance::new().await;
    let writer = instance.control.log_writer();
    let count = async || {
        instance
            .store
            .log_page(&LogQuery::newest(DEFAULT_VAULT_ID))
            .await
            .unwrap()
            .logs
            .len()
    };
    let sweep = async |knobs: RetentionKnobs| instance.control.sweep(knobs).await.unwrap();
    writer
        .write(&[row(&instance).as_append(); 3])
        .await
        .unwrap();
    instance.advance(SignedDuration::from_hours(167));
    writer
        .write(&[row(&instance).as_append(); 6])
        .await
        .unwrap();
    assert_eq!(sweep(RetentionKnobs::default()).await, 0);
    instance.advance(SignedDuration::from_hours(2));
    let kept = RetentionKnobs {
        max_age_hours: Some(0),
        ..RetentionKnobs::default()
    };
    assert_eq!(sweep(kept).await, 0);
    assert_eq!(sweep(RetentionKnobs::default()).await, 3);

    let mut tx = instance.store.begin().await.unwrap();
    let now = instance.now();
    tx.put_instance_setting("logs_retention", Some(r#"{"max_rows_per_vault":4}"#), now)
        .await
        .unwrap();
    tx.commit(&AuditEntry::system("test", "", now))
        .await
        .unwrap();
    let locked = RetentionKnobs {
        lock: true,
        ..RetentionKnobs::default()
    };
    assert_eq!(sweep(locked).await, 0);
    assert_eq!(sweep(RetentionKnobs::default()).await, 2);
    let knob = RetentionKnobs {
        max_rows_per_vault: Some(1),
        ..RetentionKnobs::default()
    };
    assert_eq!(sweep(knob).await, 3);
    assert_eq!(count().await, 1);
}

#[tokio::test]
async fn ended_sessions_are_purged() {
    let instance = Instance::new().await;
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
    let there = async || {
        instance
            .store
            .session(minted.token.hash())
            .await
            .unwrap()
            .is_some()
    };
    instance
        .control
        .sweep(RetentionKnobs::default())
        .await
        .unwrap();
    assert!(there().await);
    instance.advance(SignedDuration::from_hours(25));
    instance
        .control
        .sweep(RetentionKnobs::default())
        .await
        .unwrap();
    assert!(!there().await);
}
