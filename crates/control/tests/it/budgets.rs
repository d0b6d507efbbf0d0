//! Requests that a token was given: what a restart gives back.

use agent_vault_broker::{Admission, BudgetRefusal, RequestBudget};
use agent_vault_control::{Actor, Control, NewBounds, NewToken, VaultRef};
use agent_vault_seal::Token;
use agent_vault_store::DEFAULT_VAULT_ID;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::instance::Instance;

async fn mint(instance: &Instance, requests: u64) -> Token {
    let new = NewToken {
        bounds: NewBounds {
            requests: Some(requests),
            ..NewBounds::default()
        },
        ..NewToken::default()
    };
    let tokens = instance.control.tokens();
    let minted = tokens.mint(&Actor::LocalOperator, VaultRef::Implied, new);
    minted.await.unwrap().token
}

fn admit(control: &Control, token: &Token, now: Timestamp) -> Admission {
    let broker = control.broker();
    let principal = broker.authenticate(token.expose(), None, now).unwrap();
    broker.admit(&principal, now).unwrap()
}

async fn left(control: &Control) -> Option<u64> {
    let tokens = control.tokens();
    let list = tokens.list(&Actor::LocalOperator, VaultRef::Implied);
    let list = list.await.unwrap();
    list.first().unwrap().bounds.requests_left
}

/// A server in the place of one that was killed: it knows what was written, and that is no less than all but a tenth.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_gives_back_no_more_than_a_tenth() {
    for limit in [1, 5, 40, 1_000] {
        let instance = Instance::new().await;
        let token = mint(&instance, limit).await;
        let stopping = CancellationToken::new();
        let keeper = instance.control.clone();
        let stopped = stopping.clone();
        let mut keeping = tokio::task::JoinSet::new();
        keeping.spawn(async move { keeper.keep_budgets(stopped).await });
        let admission = admit(&instance.control, &token, instance.now());
        let mut made = 0;
        while admission.spend().await.is_ok() {
            made += 1;
        }
        assert_eq!(made, limit);
        assert_eq!(left(&instance.control).await, Some(0));

        let other = instance.other().await;
        let again = left(&other).await.unwrap();
        let slack = RequestBudget::slack(limit);
        assert!(again <= slack, "{again} of {limit}");
        let admission = admit(&other, &token, instance.now());
        for _ in 0..again {
            assert_eq!(admission.spend().await, Ok(()));
        }
        assert_eq!(admission.spend().await, Err(BudgetRefusal::Spent { limit }));

        // One that stops in order gives nothing back.
        stopping.cancel();
        keeping.join_all().await;
        let sessions = instance
            .store
            .scoped_sessions(DEFAULT_VAULT_ID, instance.now())
            .await
            .unwrap();
        assert_eq!(sessions.first().unwrap().budget_spent, limit);
        assert_eq!(left(&instance.other().await).await, Some(0));
    }
}

/// Two servers on one database: each hears what the other has counted, at the latest when it writes itself.
#[tokio::test]
async fn what_other_processes_count_counts() {
    let instance = Instance::new().await;
    let token = mint(&instance, 100).await;
    let other = instance.other().await;
    let stopping = CancellationToken::new();
    stopping.cancel();
    for (control, expected) in [
        (&instance.control, 90),
        (&other, 80),
        (&instance.control, 70),
    ] {
        let admission = admit(control, &token, instance.now());
        for _ in 0..10 {
            assert_eq!(admission.spend().await, Ok(()));
        }
        control.keep_budgets(stopping.clone()).await;
        assert_eq!(left(control).await, Some(expected));
    }
    // A change to a token's surroundings loads it anew, and forgets nothing.
    let admission = admit(&other, &token, instance.now());
    assert_eq!(admission.spend().await, Ok(()));
    other.refresh().await.unwrap();
    instance
        .agent("bot", agent_vault_control::InstanceRole::Member, Vec::new())
        .await;
    other.refresh().await.unwrap();
    assert_eq!(left(&other).await, Some(69));
}

/// A database that cannot be written: what is counted and not written stays within its bound, and the token is refused beyond it.
#[tokio::test]
async fn nothing_goes_out_uncounted() {
    let instance = Instance::new().await;
    let token = mint(&instance, 1_000).await;
    let admission = admit(&instance.control, &token, instance.now());
    for _ in 0..RequestBudget::slack(1_000) {
        assert_eq!(admission.spend().await, Ok(()));
    }
    // Nobody writes.
    assert_eq!(admission.spend().await, Err(BudgetRefusal::Unwritten));
}
