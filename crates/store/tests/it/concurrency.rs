use std::sync::Arc;

use agent_vault_store::AuditVerdict;
use tokio::sync::Barrier;

use crate::{at, entry, open, temp, vault};

/// Two handles are two sets of connections, as two processes have: SQLite arbitrates by file locks in
/// both cases. `crash.rs` has the real processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_handles_interleave_writes() {
    const WRITES: usize = 25;
    let temp = temp();
    let stores = [open(temp.path()).await, open(temp.path()).await];
    let start = Arc::new(Barrier::new(4));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let (store, start) = (stores[writer % 2].clone(), start.clone());
        writers.spawn(async move {
            start.wait().await;
            let mut versions = Vec::new();
            for n in 0..WRITES {
                let mut tx = store.begin().await.unwrap();
                // Check, then act: nobody gets in between.
                let before = tx.vaults().await.unwrap().len();
                tx.insert_vault(&vault(&format!("vault-{writer}-{n}")))
                    .await
                    .unwrap();
                assert_eq!(tx.vaults().await.unwrap().len(), before + 1);
                versions.push(tx.commit(&entry("vault.create")).await.unwrap());
                store
                    .append_logs(&[
                        crate::logs::row(agent_vault_store::DEFAULT_VAULT_ID, 1).as_append()
                    ])
                    .await
                    .unwrap();
            }
            versions
        });
    }
    let mut versions = writers.join_all().await.concat();
    versions.sort_unstable();
    let expected: Vec<i64> = (1..=4 * WRITES as i64).collect();
    assert_eq!(versions, expected, "every commit has a version of its own");
    for store in &stores {
        assert_eq!(store.vaults().await.unwrap().len(), 4 * WRITES + 1);
        assert_eq!(store.version().await.unwrap(), expected.len() as i64);
        let verdict = store.verify_audit().await.unwrap();
        assert!(
            matches!(verdict, AuditVerdict::Intact { records, .. } if records == expected.len() as u64)
        );
        assert_eq!(
            store.image(at(1)).await.unwrap().vaults.len(),
            4 * WRITES + 1
        );
    }
}

#[tokio::test]
async fn one_handle_sees_what_the_other_committed() {
    let temp = temp();
    let (one, two) = (open(temp.path()).await, open(temp.path()).await);
    let before = two.version().await.unwrap();
    let mut tx = one.begin().await.unwrap();
    tx.insert_vault(&vault("seen")).await.unwrap();
    assert!(
        two.vault_by_name("seen").await.unwrap().is_none(),
        "not before the commit"
    );
    assert_eq!(two.version().await.unwrap(), before);
    let version = tx.commit(&entry("vault.create")).await.unwrap();
    assert_eq!(two.version().await.unwrap(), version);
    assert!(two.vault_by_name("seen").await.unwrap().is_some());
}

/// A request that is cancelled while it waits or works must not leave the writer in a transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_writers_free_the_database() {
    let temp = temp();
    let store = open(temp.path()).await;
    for n in 0..40_u32 {
        let store = store.clone();
        let mut work = Box::pin(async move {
            let mut tx = store.begin().await.unwrap();
            tx.insert_vault(&vault(&format!("half-{n}"))).await.unwrap();
            tx.commit(&entry("vault.create")).await.unwrap();
        });
        // Polled so many times, then dropped: each round stops at another await.
        for _ in 0..n {
            if futures_poll(&mut work).await {
                break;
            }
        }
    }
    let mut tx = store.begin().await.unwrap();
    tx.insert_vault(&vault("after")).await.unwrap();
    tx.commit(&entry("vault.create")).await.unwrap();
    let vaults = store.vaults().await.unwrap().len() as i64;
    // `default` and whatever was committed, each with its record.
    assert_eq!(store.version().await.unwrap(), vaults - 1);
    assert!(matches!(
        store.verify_audit().await.unwrap(),
        AuditVerdict::Intact { .. }
    ));
}

/// Polls once and lets the runtime's other threads answer; whether it is done.
async fn futures_poll<F: Future + Unpin>(work: &mut F) -> bool {
    let done = std::future::poll_fn(|context| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *work).poll(context).is_ready())
    })
    .await;
    if !done {
        tokio::task::yield_now().await;
        std::thread::yield_now();
    }
    done
}
