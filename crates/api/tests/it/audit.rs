//! Reading, checking and exporting the record of management actions.

use agent_vault_store::{AuditExportCheck, AuditVerdict};
use http::StatusCode;
use serde_json::{Value, json};

use crate::world::{Cast, World};

async fn read(world: &World, cast: &Cast, path: &str) -> Value {
    let reply = world.get(path).token(&cast.owner).send().await;
    reply.expect(StatusCode::OK)
}

#[tokio::test]
async fn records_say_who_what_from_where_and_how_it_ended() {
    let (world, cast) = World::cast().await;
    let set = |token: &str, value: &str| {
        let body = json!({"vault": "default", "credentials": {"KEY": value}});
        world
            .post("/v1/credentials", body)
            .token(token)
            .peer("203.0.113.9:4000")
    };
    set(&cast.member, "canary-value")
        .send()
        .await
        .expect(StatusCode::OK);
    set(&cast.agent, "canary-value").send().await.refused(403);
    world
        .post(
            "/v1/vaults/default/users/member@x.io/role",
            json!({"role": "admin"}),
        )
        .token(&cast.owner)
        .send()
        .await
        .expect(StatusCode::OK);
    world
        .post(
            "/v1/auth/login",
            json!({"email": "nobody@x.io", "password": "wrong password"}),
        )
        .peer("198.51.100.7:1")
        .send()
        .await
        .refused(401);

    let all = read(&world, &cast, "/v1/audit?limit=4").await;
    let shown: Vec<[&str; 4]> = all["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| {
            ["actor_name", "source", "outcome", "target"].map(|name| record[name].as_str().unwrap())
        })
        .collect();
    assert_eq!(shown[0][1..3], ["198.51.100.7", "refused"]);
    assert_eq!(shown[1][..3], ["owner@x.io", "127.0.0.1", "done"]);
    assert_eq!(shown[2][..3], ["bot", "203.0.113.9", "refused"]);
    assert_eq!(
        shown[3],
        ["member@x.io", "203.0.113.9", "done", "vault:default"]
    );
    assert_eq!(all["records"][1]["detail"]["before"], "member");
    assert!(!all.to_string().contains("canary-value"));

    for (query, found) in [
        ("?actor=bot&outcome=refused", 1),
        ("?action=credential&target=default", 2),
        ("?action=credential.set&outcome=done", 1),
        ("?source=198.51.100.7", 1),
        ("?actor_type=scoped", 0),
        ("?until=2026-03-01T12:00:00Z", 0),
    ] {
        let page = read(&world, &cast, &format!("/v1/audit{query}")).await;
        assert_eq!(
            page["records"].as_array().unwrap().len(),
            found,
            "{query}: {page}"
        );
    }
    for bad in [
        "?before=1&after=1",
        "?after=x",
        "?outcome=maybe",
        "?actor_type=x",
        "?since=x",
    ] {
        let path = format!("/v1/audit{bad}");
        world
            .get(&path)
            .token(&cast.owner)
            .send()
            .await
            .refused(400);
    }
}

#[tokio::test]
async fn an_export_verifies_anywhere_and_a_changed_one_is_told_where() {
    let (world, cast) = World::cast().await;
    for n in 0..3 {
        let body = json!({"vault": "default", "credentials": {"KEY": n.to_string()}});
        world
            .post("/v1/credentials", body)
            .token(&cast.owner)
            .send()
            .await
            .expect(StatusCode::OK);
    }
    let text = world
        .get("/v1/audit/export")
        .token(&cast.owner)
        .send()
        .await
        .text;
    let check = |lines: &[String]| {
        let mut check = AuditExportCheck::default();
        for line in lines {
            if let Err(verdict) = check.push(line) {
                return verdict;
            }
        }
        check.end()
    };
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let count = lines.len() as u64 - 1;
    let verdict = read(&world, &cast, "/v1/audit/verify").await;
    assert_eq!(
        (&verdict["intact"], &verdict["records"]),
        (&json!(true), &json!(count))
    );
    match check(&lines) {
        Some(AuditVerdict::Intact { records, .. }) => assert_eq!(records, count),
        other => panic!("{other:?}"),
    }
    let mut changed = lines.clone();
    changed[3] = changed[3].replace("\"done\"", "\"refused\"");
    assert_eq!(check(&changed), Some(AuditVerdict::Broken { seq: 3 }));
    let mut without = lines.clone();
    without.remove(4);
    assert_eq!(check(&without), Some(AuditVerdict::Broken { seq: 4 }));
    let end = i64::try_from(count).unwrap();
    assert_eq!(
        check(&lines[..lines.len() - 1]),
        Some(AuditVerdict::Broken { seq: end })
    );
    assert_eq!(check(&lines[1..]), None);

    // In pages, the same text.
    let mut paged = world
        .get("/v1/audit/export?limit=2")
        .token(&cast.owner)
        .send()
        .await
        .text;
    let mut after = 2;
    while after < end {
        let path = format!("/v1/audit/export?limit=2&after={after}");
        paged += &world.get(&path).token(&cast.owner).send().await.text;
        after += 2;
    }
    assert_eq!(paged, text);
}
