//! What a minted token is confined to: services, a number of requests, and where it may be used from.
//!
//! The number is counted here, without a lock. What was counted is written to the database by somebody else
//! ([`Broker::take_spent`](crate::Broker::take_spent)), and only so much of it may be unwritten at any time that a process
//! that dies gives no more than [`RequestBudget::slack`] back.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::Notify;

/// Largest number of requests that a token may be given.
pub const MAX_BUDGET: u64 = 1_000_000_000;
/// Most requests that were counted and not written.
const MAX_UNWRITTEN: u64 = 256;
/// Longest wait for what was counted to be written.
const WRITE_WAIT: Duration = Duration::from_secs(2);
/// The lower bits of a [`Budget`]'s word: what is not written. The rest of it is what is.
const UNWRITTEN_BITS: u32 = 16;
const UNWRITTEN: u64 = (1 << UNWRITTEN_BITS) - 1;

/// What a token is confined to. The default confines nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenBounds {
    /// Names of the services that it may use; `None` is all of them.
    pub services: Option<Vec<String>>,
    /// How many requests it has.
    pub budget: Option<RequestBudget>,
    /// Networks that it may be used from; none is any.
    pub sources: Vec<IpNet>,
}

/// A number of requests, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestBudget {
    /// All of them, 1 to [`MAX_BUDGET`].
    pub limit: u64,
    /// Those that were made.
    pub spent: u64,
}

impl RequestBudget {
    /// How many requests more a token gets at most when the process dies: a tenth of its number, at most 256.
    #[must_use]
    pub fn slack(limit: u64) -> u64 {
        (limit / 10).clamp(1, MAX_UNWRITTEN)
    }
}

/// Whether `address` is in one of `sources`; in none of none is anywhere.
#[must_use]
pub fn is_within(sources: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    sources.is_empty() || sources.iter().any(|network| network.contains(&address))
}

/// Why a request was not counted and does not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetRefusal {
    /// There were no more than these.
    Spent {
        /// All of them.
        limit: u64,
    },
    /// What was counted could not be written for a while.
    Unwritten,
}

/// The bounds in force of a token that has any.
#[derive(Debug)]
pub(crate) struct Bounds {
    services: Option<Vec<String>>,
    sources: Vec<IpNet>,
    budget: Option<Budget>,
}

impl Bounds {
    /// `None` where nothing is bounded. `known` are those of the same token so far, which may have counted on.
    pub(crate) fn of(
        bounds: &TokenBounds,
        known: Option<&Arc<Self>>,
        board: &Arc<Board>,
    ) -> Option<Arc<Self>> {
        if *bounds == TokenBounds::default() {
            return None;
        }
        if let Some(known) = known {
            if let (Some(counting), Some(stored)) = (&known.budget, bounds.budget) {
                counting.learn(stored.spent);
            }
            return Some(Arc::clone(known));
        }
        Some(Arc::new(Self {
            services: bounds.services.clone(),
            sources: bounds.sources.clone(),
            budget: bounds
                .budget
                .map(|budget| Budget::new(budget, Arc::clone(board))),
        }))
    }

    pub(crate) fn may_use(&self, service: &str) -> bool {
        self.services
            .as_ref()
            .is_none_or(|names| names.iter().any(|name| name == service))
    }

    pub(crate) fn may_come_from(&self, address: IpAddr) -> bool {
        is_within(&self.sources, address)
    }

    pub(crate) fn budget(&self) -> Option<&Budget> {
        self.budget.as_ref()
    }
}

/// Where whoever counts and whoever writes meet.
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// Something was counted.
    due: Notify,
    /// Somebody waits, or soon will.
    urgent: Notify,
    /// Something was written.
    written: Notify,
}

impl Board {
    pub(crate) async fn due(&self) {
        self.due.notified().await;
    }

    pub(crate) async fn urgent(&self) {
        self.urgent.notified().await;
    }

    /// Wakes whoever writes: what it had taken on was not written.
    pub(crate) fn again(&self) {
        self.due.notify_one();
    }
}

/// A number of requests that is being used up.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    slack: u64,
    /// What is written and what is not, in one word, so that both are read and changed at once.
    state: AtomicU64,
    board: Arc<Board>,
}

/// What became of one request.
enum Taken {
    Counted { unwritten: u64 },
    Spent,
    Full,
}

fn split(state: u64) -> (u64, u64) {
    (state >> UNWRITTEN_BITS, state & UNWRITTEN)
}

fn join(written: u64, unwritten: u64) -> u64 {
    written << UNWRITTEN_BITS | unwritten
}

impl Budget {
    fn new(stored: RequestBudget, board: Arc<Board>) -> Self {
        let limit = stored.limit.min(MAX_BUDGET);
        Self {
            limit,
            slack: RequestBudget::slack(limit),
            state: AtomicU64::new(join(stored.spent.min(limit), 0)),
            board,
        }
    }

    /// Counts one request, if there is one left. Waits only while too much is unwritten.
    pub(crate) async fn spend(&self) -> Result<(), BudgetRefusal> {
        match self.take() {
            Taken::Counted { unwritten } => {
                self.announce(unwritten);
                Ok(())
            }
            Taken::Spent => Err(self.spent()),
            Taken::Full => tokio::time::timeout(WRITE_WAIT, self.spend_when_written())
                .await
                .unwrap_or(Err(BudgetRefusal::Unwritten)),
        }
    }

    async fn spend_when_written(&self) -> Result<(), BudgetRefusal> {
        loop {
            let mut written = std::pin::pin!(self.board.written.notified());
            // From here on no write is missed.
            written.as_mut().enable();
            match self.take() {
                Taken::Counted { unwritten } => {
                    self.announce(unwritten);
                    return Ok(());
                }
                Taken::Spent => return Err(self.spent()),
                Taken::Full => self.board.urgent.notify_one(),
            }
            written.await;
        }
    }

    fn take(&self) -> Taken {
        let taken = self
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                let (written, unwritten) = split(state);
                (written + unwritten < self.limit && unwritten < self.slack)
                    .then(|| join(written, unwritten + 1))
            });
        match taken.map(split) {
            Ok((_, unwritten)) => Taken::Counted {
                unwritten: unwritten + 1,
            },
            Err(state) => {
                let (written, unwritten) = split(state);
                if written + unwritten < self.limit {
                    Taken::Full
                } else {
                    Taken::Spent
                }
            }
        }
    }

    fn announce(&self, unwritten: u64) {
        if unwritten == 1 {
            self.board.due.notify_one();
        }
        if unwritten == self.slack.div_ceil(2) && self.slack > 1 {
            self.board.urgent.notify_one();
        }
    }

    fn spent(&self) -> BudgetRefusal {
        BudgetRefusal::Spent { limit: self.limit }
    }

    pub(crate) fn left(&self) -> u64 {
        let (written, unwritten) = split(self.state.load(Ordering::Acquire));
        self.limit.saturating_sub(written + unwritten)
    }

    /// What is to be written. It counts as unwritten until [`settle`](Self::settle).
    pub(crate) fn unwritten(&self) -> Option<u64> {
        let (_, unwritten) = split(self.state.load(Ordering::Acquire));
        (unwritten > 0).then_some(unwritten)
    }

    /// So many were written, and the database has `total` now; another process may have counted too.
    pub(crate) fn settle(&self, count: u64, total: u64) {
        let settled = self
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                let (written, unwritten) = split(state);
                let written = (written + count).max(total).min(MAX_BUDGET);
                Some(join(written, unwritten.saturating_sub(count)))
            });
        if settled.is_ok_and(|state| split(state).1 > count) {
            self.board.due.notify_one();
        }
        self.board.written.notify_waiters();
    }

    /// The database has `total`.
    fn learn(&self, total: u64) {
        // Never fails: the closure always has an answer.
        let _ = self
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                let (written, unwritten) = split(state);
                Some(join(written.max(total).min(MAX_BUDGET), unwritten))
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(limit: u64, spent: u64) -> Arc<Budget> {
        Arc::new(Budget::new(
            RequestBudget { limit, spent },
            Arc::new(Board::default()),
        ))
    }

    /// Whoever writes, for as long as the test lasts.
    async fn write(budget: &Budget, total: &AtomicU64) {
        loop {
            if let Some(count) = budget.unwritten() {
                let all = total.fetch_add(count, Ordering::SeqCst) + count;
                budget.settle(count, all);
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn exactly_so_many_whoever_races() {
        for limit in [1_u64, 7, 40, 3_000] {
            let budget = budget(limit, 0);
            let total = Arc::new(AtomicU64::new(0));
            let mut racing = tokio::task::JoinSet::new();
            for _ in 0..16 {
                let budget = Arc::clone(&budget);
                racing.spawn(async move {
                    let mut had = 0;
                    while budget.spend().await.is_ok() {
                        had += 1;
                    }
                    had
                });
            }
            let had: Vec<u64> = tokio::select! {
                had = racing.join_all() => had,
                () = write(&budget, &total) => Vec::new(),
            };
            assert_eq!(had.iter().sum::<u64>(), limit);
            assert_eq!(budget.left(), 0);
            let unwritten = budget.unwritten().unwrap_or(0);
            assert_eq!(total.load(Ordering::SeqCst) + unwritten, limit);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_written_is_not_given() {
        let budget = budget(100, 95);
        for _ in 0..5 {
            assert_eq!(budget.spend().await, Ok(()));
        }
        assert_eq!(
            budget.spend().await,
            Err(BudgetRefusal::Spent { limit: 100 })
        );
        let budget = self::budget(100, 0);
        for _ in 0..RequestBudget::slack(100) {
            assert_eq!(budget.spend().await, Ok(()));
        }
        assert_eq!(budget.spend().await, Err(BudgetRefusal::Unwritten));
        // Another process has counted 60 too.
        budget.settle(10, 70);
        assert_eq!(budget.left(), 30);
        assert_eq!(budget.spend().await, Ok(()));
        budget.learn(99);
        assert_eq!(
            budget.spend().await,
            Err(BudgetRefusal::Spent { limit: 100 })
        );
    }

    #[test]
    fn addresses_within() {
        let sources: Vec<IpNet> = ["10.0.0.0/8", "2001:db8::/32"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        for (address, within) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.1", false),
            ("2001:db8::7", true),
            ("2001:db9::7", false),
            ("127.0.0.1", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(is_within(&sources, address), within, "{address}");
            assert!(is_within(&[], address));
        }
    }
}
