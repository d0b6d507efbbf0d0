//! What an agent may know.

use http::StatusCode;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn services_keys_and_placeholders() {
    let (world, cast) = World::cast().await;
    let services = json!({"services": [
        {"name": "openai", "host": "api.openai.com", "auth": {"type": "bearer", "token": "OPENAI_API_KEY"}},
        {"name": "telegram", "host": "api.telegram.org", "auth": {"type": "passthrough"},
         "substitutions": [{"key": "TELEGRAM_BOT_TOKEN", "placeholder": "__TELEGRAM_BOT_TOKEN__", "in": ["path"]}]},
        {"name": "off", "host": "api.off.com", "enabled": false, "auth": {"type": "bearer", "token": "OFF_KEY"}}]});
    world
        .post("/v1/vaults/default/services", services)
        .token(&cast.owner)
        .send()
        .await
        .expect(StatusCode::OK);
    let secret = json!({"vault": "default", "credentials": {"OPENAI_API_KEY": "sk-real-canary"}});
    world
        .post("/v1/credentials", secret)
        .token(&cast.owner)
        .send()
        .await
        .expect(StatusCode::OK);

    let reply = world.get("/discover").token(&cast.scoped).send().await;
    assert!(!reply.text.contains("canary"));
    let found = reply.expect(StatusCode::OK);
    assert_eq!(found["vault"], "default");
    assert_eq!(
        found["services"],
        json!([{"name": "openai", "host": "api.openai.com", "enabled": true},
            {"name": "telegram", "host": "api.telegram.org", "enabled": true},
            {"name": "off", "host": "api.off.com", "enabled": false}])
    );
    assert_eq!(found["available_credentials"], json!(["OPENAI_API_KEY"]));
    assert_eq!(found["missing_credentials"], json!(["TELEGRAM_BOT_TOKEN"]));
    let placeholders = found["placeholders"].as_object().unwrap();
    assert_eq!(placeholders.len(), 2);
    assert_eq!(placeholders["TELEGRAM_BOT_TOKEN"], "__TELEGRAM_BOT_TOKEN__");
    assert!(
        placeholders["OPENAI_API_KEY"]
            .as_str()
            .unwrap()
            .starts_with("sk-")
    );
    // Stable, so that two runs agree.
    let again = world
        .get("/discover")
        .token(&cast.scoped)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(again["placeholders"], found["placeholders"]);
}

#[tokio::test]
async fn which_vault_is_discovered() {
    let (world, cast) = World::cast().await;
    let of_work = world.work(&cast).await;
    // The header is for those who could choose.
    let scoped = world
        .get("/discover")
        .header("X-Vault", "default")
        .token(&of_work)
        .send()
        .await;
    assert_eq!(scoped.expect(StatusCode::OK)["vault"], "work");
    let agent = world
        .get("/discover")
        .header("X-Vault", "work")
        .token(&cast.agent)
        .send()
        .await;
    assert_eq!(agent.expect(StatusCode::OK)["vault"], "work");
    world
        .get("/discover")
        .token(&cast.agent)
        .send()
        .await
        .refused(400);
    world
        .get("/discover")
        .header("X-Vault", "missing")
        .token(&cast.agent)
        .send()
        .await
        .refused(403);
    // Which of two counts, nobody can know.
    world
        .get("/discover")
        .header("X-Vault", "work")
        .another_header("X-Vault", "default")
        .token(&cast.agent)
        .send()
        .await
        .refused(400);
    let person = world.get("/discover").token(&cast.member).send().await;
    assert_eq!(person.refused(403), "Session requires vault scope");
    let named = world
        .get("/discover")
        .header("X-Vault", "work")
        .token(&cast.member)
        .send()
        .await;
    assert_eq!(named.expect(StatusCode::OK)["vault"], "work");
}
