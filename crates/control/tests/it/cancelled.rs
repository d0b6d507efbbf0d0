//! Clients that leave in the middle.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use agent_vault_control::{Actor, VaultRef};
use agent_vault_seal::SecretBytes;
use agent_vault_store::DEFAULT_VAULT_ID;

use crate::instance::{Instance, unknown_token};

/// However often a write is polled before its caller leaves, it is done whole or not at all, and the next write goes on.
#[tokio::test]
async fn a_write_whose_caller_leaves_is_whole_or_not_there() {
    let instance = Instance::new().await;
    let local = Actor::LocalOperator;
    for polls in 0..40 {
        let key = format!("KEY_{polls}");
        {
            let credentials = instance.control.credentials();
            let values = vec![
                (key.clone(), SecretBytes::new(b"a".to_vec())),
                (format!("{key}_TWIN"), SecretBytes::new(b"b".to_vec())),
            ];
            let mut write = pin!(credentials.set(&local, VaultRef::Implied, values, None));
            for _ in 0..polls {
                let poll = write.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                if matches!(poll, Poll::Ready(_)) {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        // The writer is free again.
        let marker = vec![("MARKER".to_owned(), SecretBytes::new(b"m".to_vec()))];
        instance
            .control
            .credentials()
            .set(&local, VaultRef::Implied, marker, None)
            .await
            .unwrap();
        let keys = instance
            .store
            .credential_keys(DEFAULT_VAULT_ID)
            .await
            .unwrap();
        let (one, twin) = (keys.contains(&key), keys.contains(&format!("{key}_TWIN")));
        assert_eq!(one, twin, "after {polls} polls");
    }
    instance.control.drain().await;
}

#[tokio::test]
async fn an_unknown_token_opens_nothing() {
    let instance = Instance::new().await;
    let refused = instance
        .control
        .sessions()
        .authenticate(&unknown_token(), Default::default())
        .await;
    assert!(refused.is_err());
}
