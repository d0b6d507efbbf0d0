//! Leaves and the TLS configuration around each, made once per host and kept for a day.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use quick_cache::sync::{Cache, EntryAction, EntryResult};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
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

/// The application protocols that we offer to agents, the preferred one first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

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
    cache: Cache<LeafName, Issued>,
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
        let name = LeafName::parse(host)?;
        if let Some(issued) = self.cache.get(&name)
            && issued.is_fresh(now)
        {
            return Ok(issued.config);
        }
        let entry = self.cache.entry(&name, None, |_, issued| {
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
                let config = self.issue(&name, now)?;
                let issued = Issued {
                    config: Arc::clone(&config),
                    issued_at: now,
                };
                if guard.insert(issued).is_err() {
                    tracing::debug!(host, "leaf was evicted while it was issued");
                }
                Ok(config)
            }
            // Neither can happen without a removal or a timeout; issuing without the cache is right in any case.
            EntryResult::Removed(..) | EntryResult::Timeout => self.issue(&name, now),
        }
    }

    fn issue(&self, name: &LeafName, now: Timestamp) -> Result<Arc<ServerConfig>, CaError> {
        let certificate = leaf::issue(&self.root, &self.leaf_key, name, now)?;
        let certified = CertifiedKey::new(vec![certificate], Arc::clone(&self.signing_key));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = ALPN.iter().map(|protocol| protocol.to_vec()).collect();
        config.ticketer = Arc::new(HostTicketer::new(Arc::clone(&self.tickets), &name.as_key()));
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
