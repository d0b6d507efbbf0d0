//! The request log.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agent_vault_api::RateLimits;
use agent_vault_control::{LogAppend, LogRow};
use agent_vault_store::{DEFAULT_VAULT_ID, InstanceRole, VaultRole};
use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::World;

fn borrowed(rows: &[LogRow]) -> Vec<LogAppend<'_>> {
    rows.iter().map(LogRow::as_append).collect()
}

fn row(world: &World, host: &str, status: u16) -> LogRow {
    LogRow {
        vault_id: DEFAULT_VAULT_ID,
        actor: None,
        session_id: "00112233445566778899".to_owned(),
        label: "run 1".to_owned(),
        ingress: "mitm".to_owned(),
        method: "GET".to_owned(),
        host: host.to_owned(),
        path: "/v1".to_owned(),
        matched_service: String::new(),
        credential_keys: Vec::new(),
        status,
        latency_ms: 12,
        error_code: String::new(),
        auth_scheme: "bearer".to_owned(),
        auth_header: "Authorization".to_owned(),
        decision: "forward".to_owned(),
        warnings: vec!["a placeholder left unreplaced".to_owned()],
        scrubs: 2,
        created_at: world.now(),
    }
}

#[tokio::test]
async fn pages_cursors_and_filters() {
    let flushed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&flushed);
    let world = World::with(RateLimits::off(), |info| {
        info.flush_logs = Some(Arc::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            Box::pin(async {})
        }));
    })
    .await;
    let member = world
        .user("m@x.io", InstanceRole::Member, Some(VaultRole::Member))
        .await;
    let read = async |query: &str| -> Value {
        let path = format!("/v1/vaults/default/logs{query}");
        world
            .get(&path)
            .token(&member)
            .send()
            .await
            .expect(StatusCode::OK)
    };
    let ids = |page: &Value| -> Vec<i64> {
        page["logs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|log| log["id"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(
        read("").await,
        json!({"logs": [], "next_cursor": null, "latest_id": 0})
    );

    let mut rows: Vec<LogRow> = (0..5).map(|_| row(&world, "api.x.io:443", 200)).collect();
    rows.push(LogRow {
        vault_id: Uuid::from_u128(7),
        ..row(&world, "gone.x.io:443", 200)
    });
    rows.push(LogRow {
        status: 403,
        matched_service: "x".to_owned(),
        session_id: "other".to_owned(),
        ..row(&world, "api.x.io:443", 403)
    });
    assert_eq!(
        world
            .control
            .log_writer()
            .write(&borrowed(&rows))
            .await
            .unwrap(),
        6
    );

    let page = read("?limit=2").await;
    assert_eq!(ids(&page), [6, 5]);
    assert_eq!(page["latest_id"], 6);
    let next = read(&format!("?limit=4&before={}", page["next_cursor"])).await;
    assert_eq!(ids(&next), [4, 3, 2, 1]);
    // H35: an empty tail begins at 0 and loses nothing of a first burst.
    let tail = read("?limit=2&after=0").await;
    assert_eq!(ids(&tail), [2, 1]);
    assert_eq!(tail["next_cursor"], Value::Null);
    assert_eq!(ids(&read("?limit=9&after=2").await), [6, 5, 4, 3]);
    assert_eq!(ids(&read("?status_bucket=err").await), [6]);
    assert_eq!(ids(&read("?status_bucket=2xx&limit=1").await), [5]);
    assert_eq!(ids(&read("?service=x").await), [6]);
    assert_eq!(ids(&read("?session=other").await), [6]);
    assert_eq!(ids(&read("?limit=junk&status_bucket=junk").await).len(), 6);
    assert!(flushed.load(Ordering::SeqCst) > 0);

    let first = &read("?before=2").await["logs"][0];
    assert_eq!(
        *first,
        json!({"id": 1, "ingress": "mitm", "method": "GET", "host": "api.x.io:443", "path": "/v1", "matched_service": "",
            "credential_keys": [], "status": 200, "latency_ms": 12, "error_code": "", "actor_type": "", "actor_id": "",
            "actor_name": "", "decision": "forward", "session": "00112233445566778899", "label": "run 1",
            "warnings": ["a placeholder left unreplaced"], "scrubs": 2, "created_at": "2026-03-01T12:00:00Z"})
    );
    for query in [
        "?before=1&after=1",
        "?before=x",
        "?after=%zz",
        "?limit=1;after=2",
    ] {
        world
            .get(&format!("/v1/vaults/default/logs{query}"))
            .token(&member)
            .send()
            .await
            .refused(400);
    }
}

#[tokio::test]
async fn discovered_hosts_without_those_that_a_service_covers() {
    let (world, cast) = World::cast().await;
    let rows = vec![
        row(&world, "api.one.com:443", 401),
        row(&world, "api.one.com:8443", 403),
        row(&world, "api.two.com:443", 403),
        row(&world, "fine.com:443", 200),
    ];
    world
        .control
        .log_writer()
        .write(&borrowed(&rows))
        .await
        .unwrap();
    let read = async |query: &str| -> Value {
        let path = format!("/v1/vaults/default/discovered-hosts{query}");
        world
            .get(&path)
            .token(&cast.member)
            .send()
            .await
            .expect(StatusCode::OK)
    };
    let found = read("").await;
    assert_eq!(found["total"], 2);
    let one = found["hosts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|host| host["host"] == "api.one.com")
        .unwrap();
    assert_eq!(one["request_count"], 2);
    assert_eq!(one["auth_header"], "Authorization");
    assert_eq!(read("?limit=0").await, json!({"hosts": [], "total": 2}));
    assert_eq!(
        read("?limit=-1").await["hosts"].as_array().unwrap().len(),
        2
    );
    let service = json!({"services": [{"name": "one", "host": "*.one.com", "enabled": false, "auth": {"type": "passthrough"}}]});
    world
        .post("/v1/vaults/default/services", service)
        .token(&cast.owner)
        .send()
        .await
        .expect(StatusCode::OK);
    let found = read("").await;
    assert_eq!(
        (&found["total"], &found["hosts"][0]["host"]),
        (&json!(1), &json!("api.two.com"))
    );
}
