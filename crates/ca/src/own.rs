//! What the server shows when TLS is spoken to its own ports: a certificate that the operator gave, or a leaf of ours for
//! one of the server's own names.
//!
//! Never one for any other name. The ports are open to whoever reaches them, before anybody has shown a token, and a
//! certificate for a stranger's name that clients of ours trust would be an oracle for impersonating that host.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::issuer::Protocols;
use crate::name::LeafName;
use crate::{CaError, GivenCertificate, LeafIssuer};

/// A name that is every server's own. With our root as the only anchor, whoever answers to it is the server that holds the
/// root, because leaf keys never leave its process; so clients that reach it through forwarded ports need no other name.
pub const LOCAL_NAME: &str = "localhost";

/// Names under which containers reach the machine that runs them.
const CONTAINER_NAMES: [&str; 2] = ["host.docker.internal", "host.containers.internal"];

/// The server's names and certificates.
pub struct OwnIdentity {
    issuer: Arc<LeafIssuer>,
    names: BTreeSet<String>,
    /// The address that clients are told to use, if it is one: it may be forwarded to us from elsewhere.
    public_address: Option<IpAddr>,
    given: RwLock<Option<Given>>,
    refusing: Arc<ServerConfig>,
}

#[derive(Clone)]
struct Given {
    certificate: GivenCertificate,
    both: Arc<ServerConfig>,
    http1: Arc<ServerConfig>,
}

impl Given {
    fn config(&self, protocols: Protocols) -> Arc<ServerConfig> {
        Arc::clone(match protocols {
            Protocols::Both => &self.both,
            Protocols::Http1 => &self.http1,
        })
    }
}

/// What to answer a client with.
#[derive(Debug, Clone)]
pub enum Choice {
    /// The configuration for a name of ours.
    Own(Arc<ServerConfig>),
    /// The name is not ours: the configuration holds no certificate, and ends the handshake with `access_denied`.
    Stranger(Arc<ServerConfig>),
}

impl OwnIdentity {
    /// `names` are what people call the server: DNS names or addresses, in any case. Loopback's and the names under which
    /// containers know their host are always among them; what cannot stand in a certificate is left out. `given` is used
    /// for the names that it covers.
    ///
    /// # Errors
    /// [`CaError::Crypto`] when the provider fails.
    pub fn new<'a>(
        issuer: Arc<LeafIssuer>,
        names: impl IntoIterator<Item = &'a str>,
        given: Option<GivenCertificate>,
    ) -> Result<Self, CaError> {
        let mut own: BTreeSet<String> = BTreeSet::new();
        let mut public_address = None;
        for name in CONTAINER_NAMES.into_iter().chain([LOCAL_NAME]).chain(names) {
            match LeafName::parse(name) {
                Ok(LeafName::Ip(address)) => public_address = Some(address),
                Ok(LeafName::Dns(name)) => {
                    own.insert(name);
                }
                Err(error) => tracing::debug!(%error, "this name of the server is left out"),
            }
        }
        let refusing = issuer.config(Arc::new(Nothing), Protocols::Both, "nothing")?;
        let identity = Self {
            issuer,
            names: own,
            public_address,
            given: RwLock::default(),
            refusing,
        };
        if let Some(given) = given {
            identity.replace(given)?;
        }
        Ok(identity)
    }

    /// Takes another certificate from now on.
    ///
    /// # Errors
    /// [`CaError::Crypto`] when the provider fails; the one before is kept.
    pub fn replace(&self, certificate: GivenCertificate) -> Result<(), CaError> {
        let config = |protocols, tickets| {
            let resolver = Arc::new(Always(Arc::clone(&certificate.certified)));
            self.issuer.config(resolver, protocols, tickets)
        };
        // Sessions outlive a certificate, as they do everywhere.
        let given = Given {
            both: config(Protocols::Both, "given both")?,
            http1: config(Protocols::Http1, "given http1")?,
            certificate,
        };
        *self.given.write().unwrap_or_else(PoisonError::into_inner) = Some(given);
        Ok(())
    }

    /// What to answer a client with that asked for `asked` (the server name of its hello, if it sent one) and reached us at
    /// `local`.
    ///
    /// # Errors
    /// As [`LeafIssuer::server_config`].
    pub fn choose(
        &self,
        asked: Option<&str>,
        local: IpAddr,
        protocols: Protocols,
        now: Timestamp,
    ) -> Result<Choice, CaError> {
        let given = self
            .given
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let local = local.to_canonical();
        if let Some(given) = given {
            let covered = match asked {
                Some(name) => given.certificate.covers(name),
                None => [Some(local), self.public_address]
                    .into_iter()
                    .flatten()
                    .any(|address| given.certificate.covers(&address.to_string())),
            };
            if covered {
                return Ok(Choice::Own(given.config(protocols)));
            }
        }
        let name = match asked {
            // Clients that dial an address send no name.
            None => LeafName::Ip(local),
            Some(asked) => match LeafName::parse(asked) {
                Ok(LeafName::Dns(name)) if self.names.contains(&name) => LeafName::Dns(name),
                _ => return Ok(Choice::Stranger(Arc::clone(&self.refusing))),
            },
        };
        let also = match name {
            LeafName::Ip(_) => self.public_address,
            LeafName::Dns(_) => None,
        };
        self.issuer
            .own_config(name, also, protocols, now)
            .map(Choice::Own)
    }
}

impl fmt::Debug for OwnIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnIdentity")
            .field("names", &self.names)
            .field("public_address", &self.public_address)
            .finish_non_exhaustive()
    }
}

/// One certificate, whatever is asked for.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// No certificate.
#[derive(Debug)]
struct Nothing;

impl ResolvesServerCert for Nothing {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}
