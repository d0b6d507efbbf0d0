use std::path::Path;

use agent_vault_store::{
    AuditActor, AuditEntry, AuditOutcome, AuditQuery, AuditVerdict, Store, verify_audit_file,
};
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
        actor_name: "bot".to_owned(),
        source: "203.0.113.9".to_owned(),
        outcome: AuditOutcome::Refused,
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
    let AuditVerdict::Intact { records, head, .. } = store.verify_audit().await.unwrap() else {
        panic!("broken")
    };
    assert_eq!((records, head), (4, page[0].hash));
    let offline = verify_audit_file(store.path()).await.unwrap();
    assert_eq!(offline, store.verify_audit().await.unwrap());

    for (query, found) in [
        (
            AuditQuery {
                actor: Some("bot".to_owned()),
                ..AuditQuery::default()
            },
            vec![4],
        ),
        (
            AuditQuery {
                outcome: Some(AuditOutcome::Done),
                limit: 2,
                ..AuditQuery::default()
            },
            vec![3, 2],
        ),
        (
            AuditQuery {
                source: Some("203.0.113.9".to_owned()),
                ..AuditQuery::default()
            },
            vec![4],
        ),
        (
            AuditQuery {
                target: Some("ul".to_owned()),
                ..AuditQuery::default()
            },
            vec![4],
        ),
        (
            AuditQuery {
                action: Some("a".to_owned()),
                ..AuditQuery::default()
            },
            vec![1],
        ),
        (
            AuditQuery {
                after: Some(1),
                limit: 2,
                ..AuditQuery::default()
            },
            vec![2, 3],
        ),
        (
            AuditQuery {
                actor_type: Some(AuditActor::Agent),
                until: Some(at(1)),
                ..AuditQuery::default()
            },
            vec![],
        ),
    ] {
        let records = store.audit_records(&query).await.unwrap();
        let seqs: Vec<_> = records.iter().map(|record| record.seq).collect();
        assert_eq!(seqs, found, "{query:?}");
    }
}

#[tokio::test]
async fn records_cannot_be_changed_or_deleted() {
    let temp = temp();
    let store = open(temp.path()).await;
    record(&store, "a").await;
    for sql in [
        "update audit_log set action = 'b'",
        "delete from audit_log",
        "replace into audit_log select seq, at, 'user', '', '', '', '', previous, hash, 1, '', '', '' from audit_log",
        "insert into audit_log select seq + 5, at, 'user', '', '', '', '', previous, hash, 1, '', '', '' from audit_log",
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
        ("update audit_log set source = '127.0.0.1' where seq = 2", 2),
        ("update audit_log set outcome = 'refused' where seq = 2", 2),
        ("update audit_log set format = 1 where seq = 2", 2),
        // A cut that no record tells of.
        ("insert into audit_cut select 1, seq, hash from audit_log where seq = 2; delete from audit_log where seq <= 2", 3),
        ("update audit_log set actor_type = 'nobody' where seq = 3", 3),
        ("delete from audit_log where seq = 2", 2),
        ("update audit_log set seq = seq + 10 where seq = 4", 4),
        ("insert into audit_log select 0, at, actor_type, actor_id, action, target, detail, previous, hash, format, actor_name,
          source, outcome from audit_log where seq = 1", 1),
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

#[tokio::test]
async fn what_retention_cuts_leaves_a_chain_that_verifies() {
    let temp = temp();
    let store = open(temp.path()).await;
    let record_at = async |seconds| {
        let entry = AuditEntry {
            at: at(seconds),
            ..entry("x")
        };
        store.begin().await.unwrap().commit(&entry).await.unwrap();
    };
    for seconds in 1..=5 {
        record_at(seconds).await;
    }
    let cut = async |before| {
        let mut tx = store.begin().await.unwrap();
        match tx.cut_audit(at(before)).await.unwrap() {
            Some(cut) => {
                tx.commit(&cut.entry(at(100))).await.unwrap();
                Some(cut.through)
            }
            None => {
                tx.rollback().await.unwrap();
                None
            }
        }
    };
    let intact = |records, cut_through| move |verdict| matches!(verdict, AuditVerdict::Intact { records: r, cut_through: c, .. } if (r, c) == (records, cut_through));
    assert_eq!(cut(1).await, None);
    assert_eq!(cut(3).await, Some(2));
    // Killed before anything was deleted: whole, and checked whole.
    assert!(intact(6, 2)(store.verify_audit().await.unwrap()));
    assert_eq!(store.delete_cut_audit().await.unwrap(), 2);
    assert_eq!(store.delete_cut_audit().await.unwrap(), 0);
    assert!(intact(4, 2)(store.verify_audit().await.unwrap()));
    assert!(
        raw(store.path(), "delete from audit_log where seq = 3")
            .await
            .is_err()
    );

    record_at(6).await;
    assert_eq!(cut(5).await, Some(4));
    store.delete_cut_audit().await.unwrap();
    assert!(intact(4, 4)(store.verify_audit().await.unwrap()));
    // More went than was recorded.
    raw(
        store.path(),
        "drop trigger audit_log_no_delete; delete from audit_log where seq = 5",
    )
    .await
    .unwrap();
    assert_eq!(
        store.verify_audit().await.unwrap(),
        AuditVerdict::Broken { seq: 5 }
    );
    let none = verify_audit_file(&temp.path().join("none.db"))
        .await
        .unwrap_err();
    assert!(none.message().contains("none.db"));
}
