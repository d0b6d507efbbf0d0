//! What sweeps remove.

use agent_vault_control::{Actor, LogRow, NewToken, RetentionKnobs, VaultRef};
use agent_vault_store::{AuditEntry, AuditVerdict, DEFAULT_VAULT_ID, LogQuery};
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
        credential_versions: Vec::new(),
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

/// The age of the oldest audit record that is left, in whole days.
async fn oldest_audit(instance: &Instance) -> i64 {
    let records = instance.store.audit_page(None, 500).await.unwrap();
    let oldest = records.last().unwrap().at;
    instance.now().duration_since(oldest).as_hours() / 24
}

#[tokio::test]
async fn the_audit_log_is_cut_at_the_start_and_each_day_and_the_rest_verifies() {
    let instance = Instance::new().await;
    let record = async || {
        let tx = instance.store.begin().await.unwrap();
        let entry = AuditEntry::system("test.day", "", instance.now());
        tx.commit(&entry).await.unwrap();
    };
    for _ in 0..10 {
        record().await;
        instance.advance(SignedDuration::from_hours(24));
    }
    // 0 keeps all: the task ends at once.
    let closing = tokio_util::sync::CancellationToken::new();
    instance.control.keep_audit(0, closing.clone()).await;
    assert_eq!(oldest_audit(&instance).await, 10);

    let (control, ended) = (instance.control.clone(), closing.clone());
    let keeping = async move { control.keep_audit(3, ended).await };
    let mut tasks = tokio::task::JoinSet::from_iter([keeping]);
    while oldest_audit(&instance).await > 3 {
        tokio::task::yield_now().await;
    }
    let verdict = instance.store.verify_audit().await.unwrap();
    assert!(
        matches!(verdict, AuditVerdict::Intact { .. }),
        "{verdict:?}"
    );

    // The next look is a day later by the timer, and cuts what is too old by the clock then.
    for _ in 0..2 {
        record().await;
        instance.advance(SignedDuration::from_hours(24));
    }
    assert_eq!(oldest_audit(&instance).await, 5);
    // While somebody blocks, the timer moves only when told to.
    let (release, released) = std::sync::mpsc::sync_channel::<()>(1);
    let holding = tokio::task::spawn_blocking(move || released.recv());
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_hours(23)).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(oldest_audit(&instance).await, 5);
    tokio::time::advance(std::time::Duration::from_hours(1)).await;
    while oldest_audit(&instance).await > 3 {
        tokio::task::yield_now().await;
    }
    drop(release);
    assert!(holding.await.unwrap().is_err());
    let verdict = instance.store.verify_audit().await.unwrap();
    assert!(
        matches!(verdict, AuditVerdict::Intact { .. }),
        "{verdict:?}"
    );
    closing.cancel();
    tasks.join_next().await.unwrap().unwrap();
}
