//! A database that takes no writes still answers those who only ask.

use agent_vault_control::{Actor, NewLogin, Seen, SetupPeer};
use agent_vault_seal::SecretBytes;
use agent_vault_store::DATABASE_FILE;
use jiff::SignedDuration;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor};

use crate::instance::Instance;

#[tokio::test]
async fn a_login_whose_last_use_cannot_be_written_is_still_a_login() {
    let instance = Instance::new().await;
    let registered = instance
        .control
        .registration()
        .first_owner(
            "ada@x.io",
            SecretBytes::new(b"long enough".to_vec()),
            SetupPeer::ThisMachine,
            None,
            NewLogin::default(),
        )
        .await
        .unwrap();
    let mut raw = SqliteConnectOptions::new()
        .filename(instance.folder.path().join(DATABASE_FILE))
        .connect()
        .await
        .unwrap();
    raw.execute(
        "create trigger full before update on sessions begin select raise(fail, 'disk full'); end",
    )
    .await
    .unwrap();
    raw.close().await.unwrap();
    for _ in 0..2 {
        instance.advance(SignedDuration::from_mins(3));
        let actor = instance
            .control
            .sessions()
            .authenticate(registered.login.token.expose(), Seen::default())
            .await
            .unwrap();
        assert!(matches!(actor, Actor::User(user) if user.email == "ada@x.io"));
    }
}
