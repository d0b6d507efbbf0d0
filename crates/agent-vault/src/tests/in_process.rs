use agent_vault_seal::SecretBytes;
use http::Method;
use serde_json::json;

use super::fake::Fake;
use crate::client::types::Vaults;
use crate::client::{ApiPath, Call, Client, Transport};

#[tokio::test]
async fn the_router_is_called_as_a_server_would_be() {
    let fake = Fake::start().await;
    let token = SecretBytes::new(b"av_sess_local".to_vec());
    let client = Client::new(Transport::InProcess(fake.router()), Some(token));
    let vaults: Vaults = client
        .send(&Call::get("/v1/vaults"))
        .await
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(vaults.vaults[0].name, "work");
    let path = ApiPath::new("/v1/nothing").segment("a b");
    let error = client
        .send(
            &Call::new(Method::PUT, path)
                .json(&json!({"x": 1}))
                .vault(Some("work")),
        )
        .await
        .unwrap_err();
    assert_eq!((error.status, error.message()), (404, "not found"));
    let asked = fake.asked();
    assert_eq!(asked[0].token.as_deref(), Some("av_sess_local"));
    assert_eq!(
        (asked[1].line.as_str(), asked[1].vault.as_deref()),
        ("PUT /v1/nothing/a%20b", Some("work"))
    );
    assert_eq!(asked[1].body, json!({"x": 1}));
}
