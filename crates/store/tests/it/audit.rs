use std::path::Path;

use agent_vault_store::{AuditActor, AuditEntry, AuditVerdict, Store};
use sqlx::sqlite::SqliteConnectOptions;

use crate::{at, entry, open, temp};

async fn record(store: &Store, action: &str) {
    store
        .begin()
        .await
        .unwrap()
        .commit(&entry(action))
        .await
        .unwrap();
}

async fn raw(database: &Path, sql: &'static str) -> Result<(), sqlx::Error> {
    let pool = sqlx::SqlitePool::connect_with(SqliteConnectOptions::new().filename(database))
        .await
        .unwrap();
    let result = sqlx::raw_sql(sql).execute(&pool).await.map(|_| ());
    pool.close().await;
    result
}

#[tokio::test]
async fn records_chain_and_verify() {
    let temp = temp();
    let store = open(temp.path()).await;
    assert!(matches!(
        store.verify_audit().await.unwrap(),
        AuditVerdict::Intact { records: 0, .. }
    ));
    for action in ["a", "b", "c"] {
        record(&store, action).await;
    }
    let long = AuditEntry {
        actor_type: AuditActor::Agent,
        actor_id: "id".to_owned(),
        action: "x".repeat(10_000),
        target: "nul\0".to_owned(),
        detail: serde_json::json!({ "long": "y".repeat(10_000) }),
        // Finer than the column: what is hashed must be what is read back.
        at: at(1) + jiff::SignedDuration::from_micros(123_456),
    };
    store.begin().await.unwrap().commit(&long).await.unwrap();

    let page = store.audit_page(None, 10).await.unwrap();
    assert_eq!(
        page.iter().map(|record| record.seq).collect::<Vec<_>>(),
        [4, 3, 2, 1]
    );
    assert_eq!(
        (page[0].action.len(), page[0].target.as_str()),
        (4096, "nul")
    );
    assert_eq!(page[0].detail, r#"{"truncated":true}"#);
    assert_eq!(
        (page[3].previous, page[2].previous),
        ([0; 32], page[3].hash)
    );
    assert_eq!(store.audit_page(Some(3), 1).await.unwrap()[0].seq, 2);
    let AuditVerdict::Intact { records, head } = store.verify_audit().await.unwrap() else {
        panic!("broken")
    };
    assert_eq!((records, head), (4, page[0].hash));
}

#[tokio::test]
async fn records_cannot_be_changed_or_deleted() {
    let temp = temp();
    let store = open(temp.path()).await;
    record(&store, "a").await;
    for sql in [
        "update audit_log set action = 'b'",
        "delete from audit_log",
        "replace into audit_log select seq, at, 'user', '', '', '', '', previous, hash from audit_log",
        "insert into audit_log select seq + 5, at, 'user', '', '', '', '', previous, hash from audit_log",
    ] {
        let error = raw(store.path(), sql).await.unwrap_err();
        assert!(
            error.to_string().contains("audit records are"),
            "{sql}: {error}"
        );
    }
    assert!(matches!(
        store.verify_audit().await.unwrap(),
        AuditVerdict::Intact { records: 1, .. }
    ));
}

#[tokio::test]
async fn tampering_is_found_where_it_happened() {
    for (sql, seq) in [
        ("update audit_log set action = 'z' where seq = 2", 2),
        ("update audit_log set at = at + 1 where seq = 3", 3),
        ("update audit_log set actor_type = 'nobody' where seq = 3", 3),
        ("delete from audit_log where seq = 2", 2),
        ("update audit_log set seq = seq + 10 where seq = 4", 4),
        ("insert into audit_log select 0, at, actor_type, actor_id, action, target, detail, previous, hash
          from audit_log where seq = 1", 1),
    ] {
        let temp = temp();
        let store = open(temp.path()).await;
        for action in ["a", "b", "c", "d"] {
            record(&store, action).await;
        }
        raw(store.path(), "drop trigger audit_log_no_update; drop trigger audit_log_no_delete; drop trigger audit_log_append_only").await.unwrap();
        raw(store.path(), sql).await.unwrap();
        assert_eq!(store.verify_audit().await.unwrap(), AuditVerdict::Broken { seq }, "{sql}");
    }
}
