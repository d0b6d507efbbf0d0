//! Leaves and the TLS configuration around each, made once per host and kept for a day.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use quick_cache::sync::{Cache, EntryAction, EntryResult};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::{NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};

use crate::key::P256Key;
use crate::leaf::{self, LEAF_REUSE};
use crate::name::LeafName;
use crate::ticket::HostTicketer;
use crate::validity::BACKDATE;
use crate::{CaError, RootCa};

/// How many hosts' configurations are kept. At the limit the least useful one goes; it is made again, in some 50 µs, when
/// it is asked for. So a client that walks through many names costs itself little and others nothing.
pub const MAX_CACHED_LEAVES: usize = 1024;

/// The application protocols that a configuration offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocols {
    /// `h2`, then `http/1.1`.
    Both,
    /// `http/1.1` alone.
    Http1,
}

impl Protocols {
    fn alpn(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Both => &[b"h2", b"http/1.1"],
            Self::Http1 => &[b"http/1.1"],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}

/// What a kept configuration is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// Answers as this host, inside a tunnel.
    Host(LeafName),
    /// Speaks for the server itself.
    Own {
        name: LeafName,
        /// An address that stands in the certificate beside the name.
        also: Option<IpAddr>,
        protocols: Protocols,
    },
}

/// Makes and keeps the server side TLS configuration for each host that agents ask for.
///
/// All leaves share one P-256 key, made when the issuer is; it lives in this process only. A lookup takes a short shard
/// lock; a miss signs outside of every lock, once per host however many ask, and delays nobody who wants another host.
pub struct LeafIssuer {
    root: RootCa,
    leaf_key: P256Key,
    signing_key: Arc<dyn SigningKey>,
    provider: Arc<CryptoProvider>,
    tickets: Arc<dyn ProducesTickets>,
    cache: Cache<Key, Issued>,
    signed: AtomicU64,
}

/// A configuration and the time for which it may be handed out.
#[derive(Clone)]
struct Issued {
    config: Arc<ServerConfig>,
    issued_at: Timestamp,
}

impl LeafIssuer {
    /// Makes the process's leaf key and an empty cache.
    ///
    /// # Errors
    /// [`CaError::Crypto`] when the provider fails.
    pub fn new(root: RootCa) -> Result<Self, CaError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let leaf_key = P256Key::generate()?;
        let encoded = PrivatePkcs8KeyDer::from(leaf_key.to_pkcs8()?.as_ref().to_vec());
        let signing_key = provider.key_provider.load_private_key(encoded.into())?;
        Ok(Self {
            root,
            leaf_key,
            signing_key,
            provider,
            tickets: rustls::crypto::aws_lc_rs::Ticketer::new()?,
            cache: Cache::new(MAX_CACHED_LEAVES),
            signed: AtomicU64::new(0),
        })
    }

    /// The root that signs.
    #[must_use]
    pub fn root(&self) -> &RootCa {
        &self.root
    }

    /// How many hosts' configurations are kept right now.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.cache.len()
    }

    /// How many leaves were signed since the start.
    #[must_use]
    pub fn signed(&self) -> u64 {
        self.signed.load(Ordering::Relaxed)
    }

    /// The configuration for answering as `host`, a DNS name or an address without brackets.
    ///
    /// TLS 1.2 and 1.3; ALPN `h2`, then `http/1.1`; no client certificates; no early data, because a replayed request
    /// would be answered with a credential; stateless session tickets that open for this host only. The chain is the leaf
    /// alone, as clients hold the root.
    ///
    /// A kept configuration is used again for [`LEAF_REUSE`] and dropped as well when the clock was set back before the
    /// leaf's own beginning.
    ///
    /// # Errors
    /// [`CaError::Name`] when the host cannot stand in a certificate, [`CaError::RootExpired`], [`CaError::Clock`] and
    /// [`CaError::Crypto`].
    pub fn server_config(&self, host: &str, now: Timestamp) -> Result<Arc<ServerConfig>, CaError> {
        self.kept(Key::Host(LeafName::parse(host)?), now)
    }

    /// The configuration for speaking as the server itself, under `name` and, where there is one, `also`.
    ///
    /// Kept and made as [`LeafIssuer::server_config`] does, with sessions of its own: one with the server resumes inside no
    /// tunnel.
    pub(crate) fn own_config(
        &self,
        name: LeafName,
        also: Option<IpAddr>,
        protocols: Protocols,
        now: Timestamp,
    ) -> Result<Arc<ServerConfig>, CaError> {
        let key = Key::Own {
            name,
            also,
            protocols,
        };
        self.kept(key, now)
    }

    fn kept(&self, key: Key, now: Timestamp) -> Result<Arc<ServerConfig>, CaError> {
        if let Some(issued) = self.cache.get(&key)
            && issued.is_fresh(now)
        {
            return Ok(issued.config);
        }
        let entry = self.cache.entry(&key, None, |_, issued| {
            if issued.is_fresh(now) {
                EntryAction::Retain(Arc::clone(&issued.config))
            } else {
                EntryAction::ReplaceWithGuard
            }
        });
        match entry {
            EntryResult::Retained(config) => Ok(config),
            EntryResult::Vacant(guard) | EntryResult::Replaced(guard, _) => {
                // When issuing fails the guard is dropped: the next caller tries for itself.
                let config = self.issue(&key, now)?;
                let issued = Issued {
                    config: Arc::clone(&config),
                    issued_at: now,
                };
                if guard.insert(issued).is_err() {
                    tracing::debug!(?key, "leaf was evicted while it was issued");
                }
                Ok(config)
            }
            // Neither can happen without a removal or a timeout; issuing without the cache is right in any case.
            EntryResult::Removed(..) | EntryResult::Timeout => self.issue(&key, now),
        }
    }

    fn issue(&self, key: &Key, now: Timestamp) -> Result<Arc<ServerConfig>, CaError> {
        let (name, also, protocols, tickets) = match key {
            Key::Host(name) => (name, None, Protocols::Both, name.as_key()),
            Key::Own {
                name,
                also,
                protocols,
            } => (
                name,
                *also,
                *protocols,
                // No host is spelt so.
                format!("own {protocols:?} {also:?} {}", name.as_key()),
            ),
        };
        let certificate = leaf::issue(&self.root, &self.leaf_key, name, also, now)?;
        self.signed.fetch_add(1, Ordering::Relaxed);
        let certified = CertifiedKey::new(vec![certificate], Arc::clone(&self.signing_key));
        let resolver = Arc::new(SingleCertAndKey::from(certified));
        self.config(resolver, protocols, &tickets)
    }

    /// A configuration around any certificate; `tickets` tells whose sessions it resumes.
    pub(crate) fn config(
        &self,
        resolver: Arc<dyn ResolvesServerCert>,
        protocols: Protocols,
        tickets: &str,
    ) -> Result<Arc<ServerConfig>, CaError> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = protocols.alpn();
        config.ticketer = Arc::new(HostTicketer::new(Arc::clone(&self.tickets), tickets));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        Ok(Arc::new(config))
    }
}

impl Issued {
    fn is_fresh(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.issued_at);
        // Half of the back-dating is room for a clock that was corrected backwards; the other half stays the client's.
        let set_back = SignedDuration::try_from(BACKDATE / 2).unwrap_or_default();
        let reuse = SignedDuration::try_from(LEAF_REUSE).unwrap_or_default();
        age >= -set_back && age < reuse
    }
}

impl fmt::Debug for LeafIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeafIssuer")
            .field("root", &self.root)
            .field("cached", &self.cache.len())
            .finish_non_exhaustive()
    }
}
