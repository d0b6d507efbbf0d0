//! M12: last uses of tokens reach the database.

use agent_vault_control::{Actor, NewToken, VaultRef};
use agent_vault_store::DEFAULT_VAULT_ID;
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use crate::instance::Instance;

#[tokio::test]
async fn m12_a_server_that_stops_has_written_the_last_uses() {
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
    let stored = async || {
        let sessions = instance
            .store
            .scoped_sessions(DEFAULT_VAULT_ID, instance.now())
            .await
            .unwrap();
        sessions[0].last_used_at
    };
    instance.advance(SignedDuration::from_secs(90));
    let broker = instance.control.broker();
    let principal = broker
        .authenticate(minted.token.expose(), None, instance.now())
        .unwrap();
    broker.admit(&principal, instance.now()).unwrap();
    assert_eq!(stored().await, None);

    let stopping = CancellationToken::new();
    stopping.cancel();
    instance.control.keep_uses(stopping).await;
    assert_eq!(stored().await, Some(instance.now()));
}
