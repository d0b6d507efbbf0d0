//! What the caching resolver remembers.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agent_vault_policy::Host;
use agent_vault_upstream::{CachingResolver, Resolver, Resolving, SystemResolver};
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use crate::fixture::{LOOPBACK, PATIENCE, Script};

fn host(name: &str) -> Host {
    Host::parse(name).unwrap()
}

/// Answers when it is let through, and counts.
#[derive(Debug)]
struct Gated {
    gate: Semaphore,
    asked: AtomicUsize,
}

impl Gated {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            gate: Semaphore::new(0),
            asked: AtomicUsize::new(0),
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Resolver for Gated {
    fn resolve<'a>(&'a self, _: &'a Host) -> Resolving<'a> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let permit = self.gate.acquire().await.unwrap();
            permit.forget();
            Ok(Arc::from([LOOPBACK]))
        })
    }
}

#[tokio::test]
async fn one_lookup_for_all_who_ask() {
    let inner = Gated::new();
    let caching = CachingResolver::new(Arc::clone(&inner) as Arc<dyn Resolver>);
    let name = host("api.example.com");
    let asking = join_all((0..50).map(|_| caching.resolve(&name)));
    let opening = async {
        while inner.asked() == 0 {
            tokio::task::yield_now().await;
        }
        inner.gate.add_permits(1);
    };
    let (answers, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(asking, opening) })
        .await
        .unwrap();
    assert!(
        answers
            .iter()
            .all(|answer| answer.as_ref().unwrap().as_ref() == [LOOPBACK])
    );
    assert_eq!(inner.asked(), 1);
    caching.resolve(&name).await.unwrap();
    assert_eq!(inner.asked(), 1, "remembered");
}

#[tokio::test]
async fn when_the_first_asker_leaves_the_next_starts_over() {
    let inner = Gated::new();
    let caching = CachingResolver::new(Arc::clone(&inner) as Arc<dyn Resolver>);
    let name = host("api.example.com");
    let mut first = caching.resolve(&name);
    assert!(futures_util::poll!(&mut first).is_pending());
    let mut second = caching.resolve(&name);
    assert!(futures_util::poll!(&mut second).is_pending());
    assert_eq!(inner.asked(), 1, "the second waits for the first");
    drop(first);
    inner.gate.add_permits(1);
    tokio::time::timeout(PATIENCE, second)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(inner.asked(), 2);
}

#[tokio::test]
async fn answers_and_failures_run_out() {
    let ever = Duration::from_secs(3600);
    let ask_twice = async |inner: Arc<Script>, positive, negative| {
        let caching = CachingResolver::with_lifetimes(
            Arc::clone(&inner) as Arc<dyn Resolver>,
            positive,
            negative,
        );
        let first = caching.resolve(&host("api.example.com")).await.is_ok();
        let second = caching.resolve(&host("api.example.com")).await.is_ok();
        (first, second, inner.asked())
    };
    let found = || Script::new([&["192.0.2.1"]]);
    assert_eq!(
        ask_twice(found(), ever, Duration::ZERO).await,
        (true, true, 1)
    );
    assert_eq!(
        ask_twice(found(), Duration::ZERO, ever).await,
        (true, true, 2)
    );
    assert_eq!(
        ask_twice(Script::failing(), Duration::ZERO, ever).await,
        (false, false, 1)
    );
    assert_eq!(
        ask_twice(Script::failing(), ever, Duration::ZERO).await,
        (false, false, 2)
    );
    // No address at all is a failure, and remembered as one.
    assert_eq!(
        ask_twice(Script::new([&[]]), Duration::ZERO, ever).await,
        (false, false, 1)
    );
}

#[tokio::test]
async fn the_system_knows_localhost() {
    let system = SystemResolver::new();
    match system.resolve(&host("localhost")).await {
        Ok(addresses) => assert!(addresses.iter().all(IpAddr::is_loopback)),
        Err(error) => println!("SKIPPED: this system does not know localhost: {error}"),
    }
}
