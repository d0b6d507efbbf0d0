use serde_json::json;

use super::Shell;
use super::fake::Fake;

fn rows() -> serde_json::Value {
    json!({"logs": [
        {"id": 3, "method": "POST", "host": "api.pay.example:443", "path": "/v1\u{1b}[31m", "matched_service": "pay", "credential_keys": ["PAY_KEY"],
         "status": 401, "latency_ms": 12, "error_code": "", "actor_name": "", "created_at": "2026-01-02T03:04:07Z", "decision": "inject", "label": "run: curl", "scrubs": 3},
        {"id": 2, "method": "GET", "host": "other.example:443", "path": "/", "matched_service": "", "credential_keys": [],
         "status": 403, "latency_ms": 1, "error_code": "no_match", "actor_name": "bot", "created_at": "2026-01-02T03:04:06Z", "decision": "deny", "warnings": ["placeholder_unreplaced:PAY_KEY"]}
    ], "next_cursor": null, "latest_id": 3})
}

#[tokio::test]
async fn oldest_first_with_what_mends_each_failure() {
    let fake = Fake::start().await;
    fake.on("GET /v1/vaults/work/logs", 200, rows());
    let done = Shell::logged_in(&fake.address)
        .run(&["vault", "logs", "--limit", "2", "--status", "err"])
        .await;
    assert_eq!(done.code, 0, "{}", done.err);
    let lines: Vec<_> = done.out.lines().collect();
    assert!(
        lines[0].contains("03:04:06")
            && lines[0].contains("refused")
            && lines[0].contains("no_match")
            && lines[0].contains("[bot]"),
        "{}",
        done.out
    );
    assert!(
        done.out.contains("run: curl")
            && done.out.contains("brokered PAY_KEY")
            && done.out.contains("3 scrubbed")
    );
    for mend in [
        "service add --vault work --host other.example",
        "credential set PAY_KEY --vault work",
        "placeholder of PAY_KEY",
        "--substitute PAY_KEY=sk_test_stand_in@",
    ] {
        assert!(done.out.contains(mend), "{mend}: {}", done.out);
    }
    assert!(!done.out.contains('\u{1b}'));
    assert!(
        fake.asked_for("GET /v1/vaults/work/logs")[0]
            .line
            .contains("status_bucket=err&limit=2")
    );
}

#[tokio::test]
async fn following_asks_after_the_last_seen_and_shows_each_row_once() {
    let fake = Fake::start().await;
    fake.on("GET /v1/vaults/work/logs", 200, rows());
    fake.on("GET /v1/vaults/work/logs?limit=200&after=3", 200, json!({"logs": [{"id": 4, "method": "GET", "host": "last.example", "status": 200}], "next_cursor": null, "latest_id": 4}));
    // The tail ends with the first error.
    fake.on(
        "GET /v1/vaults/work/logs?limit=200&after=4",
        500,
        json!({"error": "gone"}),
    );
    let done = Shell::logged_in(&fake.address)
        .run(&["vault", "logs", "--follow", "--json"])
        .await;
    assert_eq!(done.code, 1);
    let ids: Vec<_> = done
        .out
        .lines()
        .map(|l| {
            serde_json::from_str::<serde_json::Value>(l).unwrap()["id"]
                .as_i64()
                .unwrap()
        })
        .collect();
    assert_eq!(ids, [2, 3, 4]);
}
