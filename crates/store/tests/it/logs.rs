use agent_vault_store::{
    ActorRef, DEFAULT_VAULT_ID, LogAppend, LogCursor, LogQuery, LogRow, Retention, StatusBucket,
    Store,
};
use uuid::Uuid;

use crate::{agent, at, entry, open, temp, user, vault};

/// Rows, to be appended.
pub(crate) fn borrowed(rows: &[LogRow]) -> Vec<LogAppend<'_>> {
    rows.iter().map(LogRow::as_append).collect()
}

/// A successful request, `seconds` after the fixed moment.
pub(crate) fn row(vault_id: Uuid, seconds: i64) -> LogRow {
    LogRow {
        vault_id,
        actor: None,
        session_id: String::new(),
        label: String::new(),
        ingress: "mitm".to_owned(),
        method: "GET".to_owned(),
        host: "api.x.io:443".to_owned(),
        path: "/v1".to_owned(),
        matched_service: "x".to_owned(),
        credential_keys: vec!["KEY".to_owned()],
        credential_versions: vec![1],
        status: 200,
        latency_ms: 12,
        error_code: String::new(),
        auth_scheme: String::new(),
        auth_header: String::new(),
        decision: "inject".to_owned(),
        warnings: vec!["placeholder_unreplaced:KEY".to_owned()],
        scrubs: 3,
        created_at: at(seconds),
    }
}

async fn ids(store: &Store, query: &LogQuery) -> Vec<i64> {
    store
        .log_page(query)
        .await
        .unwrap()
        .logs
        .iter()
        .map(|entry| entry.id)
        .collect()
}

#[tokio::test]
async fn rows_round_trip_with_names() {
    let temp = temp();
    let store = open(temp.path()).await;
    let (ada, bot) = (user("ada@x.io"), agent("bot"));
    let mut tx = store.begin().await.unwrap();
    tx.insert_user(&ada).await.unwrap();
    tx.insert_agent(&bot).await.unwrap();
    tx.commit(&entry("x")).await.unwrap();
    let by = |actor| LogRow {
        actor: Some(actor),
        ..row(DEFAULT_VAULT_ID, 1)
    };
    let odd = LogRow {
        session_id: "0123".to_owned(),
        label: "it's \"quoted\" \\ 漢字 \u{1F980}\n".to_owned(),
        path: "/a b/%/\u{7f}'\"\\".to_owned(),
        credential_keys: vec!["A".to_owned(), "B".to_owned()],
        credential_versions: vec![1],
        status: 0,
        latency_ms: u32::MAX,
        error_code: "client_closed".to_owned(),
        auth_scheme: "bearer".to_owned(),
        auth_header: "authorization".to_owned(),
        created_at: at(1) + jiff::SignedDuration::from_millis(7),
        ..row(DEFAULT_VAULT_ID, 1)
    };
    let rows = [
        by(ActorRef::user(ada.id)),
        by(ActorRef::agent(bot.id)),
        by(ActorRef::agent(Uuid::new_v4())),
        odd,
    ];
    assert_eq!(store.append_logs(&borrowed(&rows)).await.unwrap(), 4);
    assert_eq!(store.version().await.unwrap(), 1, "no management commit");

    let page = store
        .log_page(&LogQuery::newest(DEFAULT_VAULT_ID))
        .await
        .unwrap();
    let stored: Vec<_> = page
        .logs
        .iter()
        .rev()
        .map(|entry| entry.row.clone())
        .collect();
    assert_eq!(stored, rows);
    let names: Vec<_> = page
        .logs
        .iter()
        .rev()
        .map(|entry| entry.actor_name.as_str())
        .collect();
    assert_eq!(names, ["ada@x.io", "bot", "", ""]);
}

#[tokio::test]
async fn text_is_bounded_and_free_of_nul() {
    let temp = temp();
    let store = open(temp.path()).await;
    let long = LogRow {
        path: format!("/\0{}", "é".repeat(5000)),
        host: "h".repeat(5000),
        credential_keys: vec!["K".to_owned(); 100],
        credential_versions: vec![1],
        ..row(DEFAULT_VAULT_ID, 1)
    };
    assert_eq!(store.append_logs(&[long.as_append()]).await.unwrap(), 1);
    let page = store
        .log_page(&LogQuery::newest(DEFAULT_VAULT_ID))
        .await
        .unwrap();
    let stored = &page.logs[0].row;
    assert!(stored.path.starts_with("/\u{fffd}é"));
    assert_eq!(stored.path.chars().count(), 2048);
    assert_eq!((stored.host.len(), stored.credential_keys.len()), (300, 64));
}

#[tokio::test]
async fn a_deleted_vault_loses_only_its_own_rows() {
    let temp = temp();
    let store = open(temp.path()).await;
    let mut rows: Vec<_> = (0..1201).map(|n| row(DEFAULT_VAULT_ID, n)).collect();
    for place in [0, 500, 1200] {
        rows[place].vault_id = Uuid::new_v4();
    }
    assert_eq!(store.append_logs(&borrowed(&rows)).await.unwrap(), 1198);
    assert_eq!(store.append_logs(&[]).await.unwrap(), 0);
    // Ids follow the order of the batch, also across statements.
    let page = store
        .log_page(&LogQuery {
            limit: 200,
            ..LogQuery::newest(DEFAULT_VAULT_ID)
        })
        .await
        .unwrap();
    assert!(
        page.logs
            .windows(2)
            .all(|pair| pair[0].row.created_at > pair[1].row.created_at)
    );
}

#[tokio::test]
async fn pages_and_cursors() {
    let temp = temp();
    let store = open(temp.path()).await;
    let rows: Vec<_> = (0..7).map(|n| row(DEFAULT_VAULT_ID, n)).collect();
    store.append_logs(&borrowed(&rows)).await.unwrap();
    let query = |limit, cursor| LogQuery {
        limit,
        cursor,
        ..LogQuery::newest(DEFAULT_VAULT_ID)
    };

    let first = store.log_page(&query(3, LogCursor::Newest)).await.unwrap();
    assert_eq!(
        first.logs.iter().map(|e| e.id).collect::<Vec<_>>(),
        [7, 6, 5]
    );
    assert_eq!((first.next_cursor, first.latest_id), (Some(5), 7));
    let second = store
        .log_page(&query(3, LogCursor::Before(5)))
        .await
        .unwrap();
    assert_eq!(
        second.logs.iter().map(|e| e.id).collect::<Vec<_>>(),
        [4, 3, 2]
    );
    let last = store
        .log_page(&query(3, LogCursor::Before(2)))
        .await
        .unwrap();
    assert_eq!(
        (last.logs.len(), last.next_cursor, last.latest_id),
        (1, None, 1)
    );

    // Following takes the oldest unseen rows, newest first, and never skips.
    let follow = store
        .log_page(&query(3, LogCursor::After(2)))
        .await
        .unwrap();
    assert_eq!(
        follow.logs.iter().map(|e| e.id).collect::<Vec<_>>(),
        [5, 4, 3]
    );
    assert_eq!((follow.next_cursor, follow.latest_id), (None, 5));
    let none = store
        .log_page(&query(3, LogCursor::After(7)))
        .await
        .unwrap();
    assert_eq!(
        (none.logs.len(), none.next_cursor, none.latest_id),
        (0, None, 7)
    );

    assert_eq!(ids(&store, &query(0, LogCursor::Newest)).await, [7]);
    assert_eq!(
        ids(&store, &query(u32::MAX, LogCursor::Newest)).await.len(),
        7
    );
    let empty = store
        .log_page(&LogQuery::newest(Uuid::new_v4()))
        .await
        .unwrap();
    assert_eq!(
        (empty.logs.len(), empty.next_cursor, empty.latest_id),
        (0, None, 0)
    );
}

#[tokio::test]
async fn filters() {
    let temp = temp();
    let store = open(temp.path()).await;
    let base = row(DEFAULT_VAULT_ID, 1);
    let rows = [
        LogRow {
            status: 204,
            ..base.clone()
        },
        LogRow {
            status: 302,
            matched_service: "y".to_owned(),
            ..base.clone()
        },
        LogRow {
            status: 404,
            session_id: "s1".to_owned(),
            ..base.clone()
        },
        LogRow {
            status: 502,
            ingress: "explicit".to_owned(),
            ..base.clone()
        },
        LogRow {
            status: 200,
            error_code: "client_closed".to_owned(),
            ..base.clone()
        },
    ];
    store.append_logs(&borrowed(&rows)).await.unwrap();
    let all = LogQuery::newest(DEFAULT_VAULT_ID);
    for (bucket, expected) in [
        ("2xx", vec![5, 1]),
        ("3xx", vec![2]),
        ("4xx", vec![3]),
        ("5xx", vec![4]),
        ("err", vec![5, 4, 3]),
        ("bogus", vec![5, 4, 3, 2, 1]),
    ] {
        let query = LogQuery {
            status: StatusBucket::parse(bucket),
            ..all.clone()
        };
        assert_eq!(ids(&store, &query).await, expected, "{bucket}");
    }
    assert_eq!(
        ids(
            &store,
            &LogQuery {
                service: Some("y".to_owned()),
                ..all.clone()
            }
        )
        .await,
        [2]
    );
    assert_eq!(
        ids(
            &store,
            &LogQuery {
                ingress: Some("explicit".to_owned()),
                ..all.clone()
            }
        )
        .await,
        [4]
    );
    assert_eq!(
        ids(
            &store,
            &LogQuery {
                session: Some("s1".to_owned()),
                ..all.clone()
            }
        )
        .await,
        [3]
    );
    let others: [(LogQuery, &[i64]); 6] = [
        (
            LogQuery {
                exact_status: Some(302),
                ..all.clone()
            },
            &[2],
        ),
        (
            LogQuery {
                exact_status: Some(302),
                status: Some(StatusBucket::Error),
                ..all.clone()
            },
            &[],
        ),
        (
            LogQuery {
                label: Some("nobody's".to_owned()),
                ..all.clone()
            },
            &[],
        ),
        (
            LogQuery {
                host: Some("api.x.io".to_owned()),
                since: Some(at(1)),
                until: Some(at(2)),
                ..all.clone()
            },
            &[5, 4, 3, 2, 1],
        ),
        (
            LogQuery {
                since: Some(at(2)),
                ..all.clone()
            },
            &[],
        ),
        (
            LogQuery {
                host: Some("pi.x.io".to_owned()),
                ..all.clone()
            },
            &[],
        ),
    ];
    for (query, expected) in others {
        assert_eq!(ids(&store, &query).await, expected, "{query:?}");
    }
    let both = LogQuery {
        status: Some(StatusBucket::Error),
        cursor: LogCursor::After(3),
        ..all
    };
    assert_eq!(ids(&store, &both).await, [5, 4]);
}

#[tokio::test]
async fn discovered_hosts_merge_ports() {
    let temp = temp();
    let store = open(temp.path()).await;
    let miss = |host: &str, seconds: i64, scheme: &str| LogRow {
        host: host.to_owned(),
        matched_service: String::new(),
        status: 403,
        error_code: "no_match".to_owned(),
        auth_scheme: scheme.to_owned(),
        ..row(DEFAULT_VAULT_ID, seconds)
    };
    let rows = [
        miss("a.io:443", 1, "basic"),
        miss("b.io:443", 2, ""),
        miss("[::1]:443", 3, ""),
        miss("a.io:8443", 4, "bearer"),
        miss("a.io:443", 3, "basic"),
        LogRow {
            error_code: String::new(),
            status: 401,
            ..miss("c.io:443", 4, "api-key")
        },
        // Not to be found: passed, or matched.
        LogRow {
            error_code: String::new(),
            status: 200,
            ..miss("fine.io:443", 9, "")
        },
        LogRow {
            matched_service: "s".to_owned(),
            ..miss("known.io:443", 9, "")
        },
        LogRow {
            vault_id: Uuid::new_v4(),
            ..miss("other.io:443", 9, "")
        },
    ];
    store.append_logs(&borrowed(&rows)).await.unwrap();
    let hosts = store.discovered_hosts(DEFAULT_VAULT_ID).await.unwrap();
    let found: Vec<_> = hosts
        .iter()
        .map(|host| {
            (
                host.host.as_str(),
                host.request_count,
                host.last_seen,
                host.auth_scheme.as_str(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("a.io", 3, at(4), "basic"),
            ("c.io", 1, at(4), "api-key"),
            ("[::1]", 1, at(3), ""),
            ("b.io", 1, at(2), ""),
        ]
    );
}

#[tokio::test]
async fn retention_by_age_and_number() {
    let temp = temp();
    let store = open(temp.path()).await;
    let other = vault("other");
    let mut tx = store.begin().await.unwrap();
    tx.insert_vault(&other).await.unwrap();
    tx.commit(&entry("x")).await.unwrap();
    let hour = 3600;
    let mut rows: Vec<_> = (0..2500).map(|_| row(DEFAULT_VAULT_ID, 0)).collect();
    rows.extend((0..30).map(|n| row(DEFAULT_VAULT_ID, hour + n)));
    rows.extend((0..5).map(|n| row(other.id, hour + n)));
    store.append_logs(&borrowed(&rows)).await.unwrap();

    let unlimited = Retention {
        max_age_hours: 0,
        max_rows_per_vault: 0,
    };
    assert_eq!(
        store.trim_logs(unlimited, at(1000 * hour)).await.unwrap(),
        0
    );
    let retention = Retention {
        max_age_hours: 1,
        max_rows_per_vault: 10,
    };
    assert_eq!(
        store.trim_logs(retention, at(hour + 1)).await.unwrap(),
        2500 + 20
    );
    assert_eq!(store.trim_logs(retention, at(hour + 1)).await.unwrap(), 0);
    let page = store
        .log_page(&LogQuery::newest(DEFAULT_VAULT_ID))
        .await
        .unwrap();
    assert_eq!(page.logs.len(), 10);
    assert_eq!(page.logs.last().unwrap().row.created_at, at(hour + 20));
    assert_eq!(
        store
            .log_page(&LogQuery::newest(other.id))
            .await
            .unwrap()
            .logs
            .len(),
        5
    );
}

#[tokio::test]
async fn p10_sources_that_no_row_names_go_without_a_look_at_the_rows() {
    let temp = temp();
    let store = open(temp.path()).await;
    let batch = |label: &str, count: usize| -> Vec<LogRow> {
        let one = LogRow {
            label: label.to_owned(),
            ..row(DEFAULT_VAULT_ID, 1)
        };
        vec![one; count]
    };
    let sources = async || -> i64 {
        let pool = sqlx::SqlitePool::connect_with(
            sqlx::sqlite::SqliteConnectOptions::new().filename(store.path()),
        )
        .await
        .unwrap();
        let count = sqlx::query_scalar("select count(*) from request_log_sources");
        count.fetch_one(&pool).await.unwrap()
    };
    store
        .append_logs(&borrowed(&batch("once", 1)))
        .await
        .unwrap();
    // Beyond the number of rows for which a source may be named.
    let many = batch("often", 10_000);
    for _ in 0..6 {
        store.append_logs(&borrowed(&many)).await.unwrap();
    }
    // One that is named for so long is stored a second time.
    assert_eq!(sources().await, 3);
    let keep = Retention {
        max_age_hours: 0,
        max_rows_per_vault: 100,
    };
    assert_eq!(store.trim_logs(keep, at(2)).await.unwrap(), 59_901);
    assert_eq!(sources().await, 1, "the one that the rows name");
    let page = store
        .log_page(&LogQuery::newest(DEFAULT_VAULT_ID))
        .await
        .unwrap();
    assert_eq!(page.logs[0].row.label, "often");
}
