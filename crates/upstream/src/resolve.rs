//! Names to addresses, with a short memory.
//!
//! The system's resolver is asked, so that the hosts file, `nsswitch`, split DNS of a VPN and mDNS work as they do for
//! every other program. It gives no time to live, hence the fixed and short one here.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use agent_vault_policy::Host;
use quick_cache::sync::{Cache, EntryAction, EntryResult};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::connect::MAX_ADDRESSES;

/// How long an answer is used again.
const POSITIVE_TTL: Duration = Duration::from_secs(20);

/// How long a failure is used again: long enough to spare the resolver a storm, short enough that nobody notices.
const NEGATIVE_TTL: Duration = Duration::from_secs(2);

/// How many names are remembered. At the limit the least useful one is forgotten and looked up again when asked for.
const MAX_CACHED_NAMES: usize = 4096;

/// How many lookups run at a time; each holds a thread of the blocking pool until the system answers. At the limit a
/// lookup waits for its turn, within the caller's time limit.
const MAX_LOOKUPS: usize = 128;

/// Why a name has no addresses.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub struct ResolveError {
    reason: Arc<str>,
}

impl ResolveError {
    /// An error with the resolver's own words, which go to the log only.
    #[must_use]
    pub fn new(reason: &str) -> Self {
        Self {
            reason: Arc::from(reason),
        }
    }
}

/// A lookup in progress.
pub type Resolving<'a> =
    Pin<Box<dyn Future<Output = Result<Arc<[IpAddr]>, ResolveError>> + Send + 'a>>;

/// Turns a host's name into its addresses, best first.
///
/// Never asked for a host that is an address already. An implementation puts a bound on the answer or leaves that to the
/// dialer, which looks at the first few only.
pub trait Resolver: Send + Sync + fmt::Debug {
    /// Looks `host` up. An empty answer counts as a failure.
    fn resolve<'a>(&'a self, host: &'a Host) -> Resolving<'a>;
}

/// Asks the operating system, each time.
#[derive(Debug)]
pub struct SystemResolver {
    lookups: Arc<Semaphore>,
}

impl SystemResolver {
    /// A resolver with its own bound of 128 lookups at a time.
    #[must_use]
    pub fn new() -> Self {
        Self {
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        }
    }

    async fn look_up(&self, host: &Host) -> Result<Arc<[IpAddr]>, ResolveError> {
        let failed = |error: &dyn fmt::Display| ResolveError::new(&error.to_string());
        let permit = Arc::clone(&self.lookups)
            .acquire_owned()
            .await
            .map_err(|error| failed(&error))?;
        let name = host.as_str().to_owned();
        // A lookup cannot be cancelled. The permit goes along, so that abandoned ones still count until they end.
        let answer = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            (name.as_str(), 0_u16)
                .to_socket_addrs()
                .map(|found| found.map(|address| address.ip()).collect::<Vec<_>>())
        })
        .await
        .map_err(|error| failed(&error))?
        .map_err(|error| failed(&error))?;
        let mut addresses: Vec<IpAddr> = Vec::with_capacity(answer.len().min(MAX_ADDRESSES));
        for address in answer {
            if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(ResolveError::new("the name has no address"));
        }
        Ok(addresses.into())
    }
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a Host) -> Resolving<'a> {
        Box::pin(self.look_up(host))
    }
}

/// Remembers another resolver's answers: addresses for 20 s, failures for 2 s, for at most 4096 names.
///
/// Callers who ask for one name at one time share one lookup. When the caller who started it leaves, the next one in line
/// starts over.
pub struct CachingResolver {
    inner: Arc<dyn Resolver>,
    positive: Duration,
    negative: Duration,
    cache: Cache<Host, Remembered>,
}

#[derive(Clone)]
struct Remembered {
    until: Instant,
    outcome: Result<Arc<[IpAddr]>, ResolveError>,
}

impl CachingResolver {
    /// Puts a memory in front of `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Resolver>) -> Self {
        Self::with_lifetimes(inner, POSITIVE_TTL, NEGATIVE_TTL)
    }

    /// The same with other lifetimes for addresses and for failures.
    #[must_use]
    pub fn with_lifetimes(
        inner: Arc<dyn Resolver>,
        positive: Duration,
        negative: Duration,
    ) -> Self {
        Self {
            inner,
            positive,
            negative,
            cache: Cache::new(MAX_CACHED_NAMES),
        }
    }

    async fn look_up(&self, host: &Host) -> Result<Arc<[IpAddr]>, ResolveError> {
        let now = Instant::now();
        if let Some(known) = self.cache.get(host)
            && known.until > now
        {
            return known.outcome;
        }
        let entry = self
            .cache
            .entry_async(host, |_, known| {
                if known.until > now {
                    EntryAction::Retain(known.outcome.clone())
                } else {
                    EntryAction::ReplaceWithGuard
                }
            })
            .await;
        match entry {
            EntryResult::Retained(outcome) => outcome,
            EntryResult::Vacant(guard) | EntryResult::Replaced(guard, _) => {
                let outcome = match self.inner.resolve(host).await {
                    Ok(addresses) if addresses.is_empty() => {
                        Err(ResolveError::new("the name has no address"))
                    }
                    outcome => outcome,
                };
                let ttl = if outcome.is_ok() {
                    self.positive
                } else {
                    self.negative
                };
                let remembered = Remembered {
                    until: Instant::now() + ttl,
                    outcome: outcome.clone(),
                };
                // Refused only when the name was evicted meanwhile: then it is looked up again next time.
                drop(guard.insert(remembered));
                outcome
            }
            // The callback removes nothing and there is no time limit; asking directly is right in any case.
            EntryResult::Removed(..) | EntryResult::Timeout => self.inner.resolve(host).await,
        }
    }
}

impl Resolver for CachingResolver {
    fn resolve<'a>(&'a self, host: &'a Host) -> Resolving<'a> {
        Box::pin(self.look_up(host))
    }
}

impl fmt::Debug for CachingResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachingResolver")
            .field("inner", &self.inner)
            .field("cached", &self.cache.len())
            .finish()
    }
}
