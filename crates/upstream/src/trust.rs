//! Whom we believe to be an upstream: the platform's roots, the operator's extra roots, and nobody else.
//!
//! Verification has no off switch. Three traps are handled here. The platform verifier loads and parses some 300 KiB when
//! it is built, so it is built once and shared. It reads `SSL_CERT_FILE` and `SSL_CERT_DIR`, and inside an environment
//! that was prepared for an agent these name a bundle of ours: a server started there must not believe its own
//! certificates, so then both are ignored. And it is silent about roots that it cannot parse, so extra roots are parsed
//! here, and a bad one is an error.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The largest file of roots that is read, in bytes.
const MAX_ROOTS_BYTES: u64 = 16 * 1024 * 1024;

/// How many files of a certificate directory are looked at for a root of ours.
const MAX_DIRECTORY_FILES: usize = 4096;

/// Stands in the subject of every root that this product makes.
const OWN_ROOT_NAME: &[u8] = b"Agent Vault Root CA";

/// Where the system's bundle lies, for when the environment's word for it is not taken.
const SYSTEM_BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/etc/ssl/cert.pem",
];

/// Roots beyond the platform's, already parsed and each fit to be an anchor.
#[derive(Debug, Clone, Default)]
pub struct ExtraRoots {
    certificates: Vec<CertificateDer<'static>>,
}

impl ExtraRoots {
    /// Reads every certificate of a PEM text; `origin` names it in errors.
    ///
    /// # Errors
    /// [`TrustError::BadRoot`] for the first block that cannot be an anchor, [`TrustError::NoRoots`] when there is none.
    pub fn parse(origin: &str, pem: &str) -> Result<Self, TrustError> {
        let mut certificates = Vec::new();
        for (index, block) in CertificateDer::pem_slice_iter(pem.as_bytes()).enumerate() {
            let bad = |reason: String| TrustError::BadRoot {
                origin: origin.to_owned(),
                number: index + 1,
                reason,
            };
            let certificate = block.map_err(|error| bad(error.to_string()))?;
            RootCertStore::empty()
                .add(certificate.clone())
                .map_err(|error| bad(error.to_string()))?;
            certificates.push(certificate);
        }
        if certificates.is_empty() {
            return Err(TrustError::NoRoots {
                origin: origin.to_owned(),
            });
        }
        Ok(Self { certificates })
    }

    /// Reads every certificate of a PEM file of at most 16 MiB.
    ///
    /// # Errors
    /// As [`ExtraRoots::parse`], and [`TrustError::Unreadable`].
    pub fn read(path: &Path) -> Result<Self, TrustError> {
        let text = read_bounded(path).map_err(|source| TrustError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// How many roots there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.certificates.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// Adds another set's roots.
    pub fn extend(&mut self, other: Self) {
        self.certificates.extend(other.certificates);
    }
}

/// The two variables by which an environment replaces the system's roots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustEnvironment {
    /// `SSL_CERT_FILE`.
    pub file: Option<PathBuf>,
    /// The entries of `SSL_CERT_DIR`.
    pub directories: Vec<PathBuf>,
}

impl TrustEnvironment {
    /// What this process was started with. The platform verifier reads the same, so anything else is for tests.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self {
            file: std::env::var_os("SSL_CERT_FILE")
                .filter(|value| !value.is_empty())
                .map(PathBuf::from),
            directories: std::env::var_os("SSL_CERT_DIR").map_or_else(Vec::new, |value| {
                std::env::split_paths(&value)
                    .filter(|path| !path.as_os_str().is_empty())
                    .collect()
            }),
        }
    }

    /// Whether neither variable is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.file.is_none() && self.directories.is_empty()
    }

    /// The first place that holds a root of ours, if any: the mark of an environment that was prepared for an agent.
    fn prepared_for_an_agent(&self, own_root: Option<&CertificateDer<'_>>) -> Option<PathBuf> {
        let is_ours = |path: &Path| {
            CertificateDer::pem_file_iter(path).is_ok_and(|blocks| {
                blocks.flatten().any(|certificate| {
                    own_root.is_some_and(|own| *own == certificate)
                        || certificate
                            .windows(OWN_ROOT_NAME.len())
                            .any(|window| window == OWN_ROOT_NAME)
                })
            })
        };
        if let Some(file) = self.file.as_deref().filter(|file| is_ours(file)) {
            return Some(file.to_owned());
        }
        self.directories
            .iter()
            .filter_map(|directory| std::fs::read_dir(directory).ok())
            .flat_map(|entries| entries.flatten().take(MAX_DIRECTORY_FILES))
            .map(|entry| entry.path())
            .find(|path| path.is_file() && is_ours(path))
    }
}

/// What to trust.
#[derive(Debug, Clone, Default)]
pub struct TrustOptions {
    /// Roots that the operator adds.
    pub extra: ExtraRoots,
    /// Our own root as PEM, so that an environment which was prepared for an agent is known by it, whatever its name.
    pub own_root_pem: Option<String>,
    /// What the environment says.
    pub environment: TrustEnvironment,
}

/// Where the roots came from; for the start-up line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustSource {
    /// The platform's store, as the environment may direct it.
    Platform,
    /// The system's bundle, because `SSL_CERT_FILE` or `SSL_CERT_DIR` names `ignored`, which holds a root of ours.
    SystemBundle {
        /// What the environment named.
        ignored: PathBuf,
        /// What was read in its place.
        bundle: PathBuf,
    },
    /// The built-in Mozilla roots, because the platform has none.
    BuiltIn,
    /// Exactly the given roots.
    Given,
}

impl fmt::Display for TrustSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform => f.write_str("platform store"),
            Self::SystemBundle { bundle, .. } => write!(f, "`{}`", bundle.display()),
            Self::BuiltIn => f.write_str("built-in roots"),
            Self::Given => f.write_str("configured roots only"),
        }
    }
}

/// Why trust could not be set up. Every one of these should stop the start.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file of extra roots cannot be read.
    #[error("`{}` cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A block of it is not a certificate that can be an anchor.
    #[error("certificate {number} of `{origin}` cannot be trusted as a root: {reason}")]
    BadRoot {
        /// The file, or what stands for it.
        origin: String,
        /// Which block, counted from one.
        number: usize,
        /// Why.
        reason: String,
    },
    /// It holds no certificate.
    #[error("`{origin}` holds no certificate in PEM form")]
    NoRoots {
        /// The file, or what stands for it.
        origin: String,
    },
    /// The environment names roots, and none could be loaded.
    #[error(
        "`SSL_CERT_FILE` or `SSL_CERT_DIR` is set, and no root certificate could be loaded from there: {reason}"
    )]
    Environment {
        /// Why.
        reason: String,
    },
    /// The verifier could not be built.
    #[error("the certificate verifier could not be built: {0}")]
    Verifier(String),
}

/// A verifier, built once and shared by every connection, and the provider that goes with it.
#[derive(Clone)]
pub struct Trust {
    pub(crate) verifier: Arc<dyn ServerCertVerifier>,
    pub(crate) provider: Arc<CryptoProvider>,
    source: TrustSource,
}

impl Trust {
    /// Loads the platform's roots and adds the extra ones. Reads files; blocks for tens of milliseconds.
    ///
    /// Where the platform has no roots at all (a scratch image), the built-in Mozilla set takes their place.
    ///
    /// # Errors
    /// [`TrustError::Environment`] when the environment's own roots cannot be loaded, [`TrustError::Verifier`], and
    /// [`TrustError::BadRoot`] for our own root.
    pub fn load(options: &TrustOptions) -> Result<Self, TrustError> {
        let provider = provider();
        let own_root = match &options.own_root_pem {
            Some(pem) => ExtraRoots::parse("our own root", pem)?
                .certificates
                .into_iter()
                .next(),
            None => None,
        };
        let extra = &options.extra.certificates;

        if let Some(ignored) = options.environment.prepared_for_an_agent(own_root.as_ref()) {
            tracing::warn!(
                path = %ignored.display(),
                "`SSL_CERT_FILE` or `SSL_CERT_DIR` names a bundle that was prepared for an agent; both are ignored"
            );
            return Self::from_system_bundle(ignored, extra, provider);
        }

        match rustls_platform_verifier::Verifier::new(Arc::clone(&provider)) {
            Ok(verifier) => {
                let verifier = if extra.is_empty() {
                    verifier
                } else {
                    rustls_platform_verifier::Verifier::new_with_extra_roots(
                        extra.iter().cloned(),
                        Arc::clone(&provider),
                    )
                    .map_err(|error| TrustError::Verifier(error.to_string()))?
                };
                Ok(Self {
                    verifier: Arc::new(verifier),
                    provider,
                    source: TrustSource::Platform,
                })
            }
            // Whoever named the roots meant these; falling back to the public ones would trust more than was asked for.
            Err(error) if !options.environment.is_empty() => Err(TrustError::Environment {
                reason: error.to_string(),
            }),
            Err(error) => {
                tracing::warn!(%error, "the system has no root certificates; the built-in ones are used");
                Self::built_in(extra, provider)
            }
        }
    }

    /// Trusts exactly `roots` and nothing of the platform.
    ///
    /// # Errors
    /// [`TrustError::Verifier`] when `roots` is empty.
    pub fn only(roots: &ExtraRoots) -> Result<Self, TrustError> {
        Self::from_store(
            RootCertStore::empty(),
            &roots.certificates,
            provider(),
            TrustSource::Given,
        )
    }

    /// TLS as a client for a protocol that is not HTTP, mail for example: no ALPN. Dialling stays with the
    /// [`Dialer`](crate::Dialer), which gives the plain connection.
    ///
    /// # Errors
    /// [`TrustError::Verifier`] when TLS cannot be set up.
    pub fn client_config(&self) -> Result<rustls::ClientConfig, TrustError> {
        Ok(
            rustls::ClientConfig::builder_with_provider(Arc::clone(&self.provider))
                .with_safe_default_protocol_versions()
                .map_err(|error| TrustError::Verifier(error.to_string()))?
                .dangerous()
                .with_custom_certificate_verifier(Arc::clone(&self.verifier))
                .with_no_client_auth(),
        )
    }

    /// As [`Trust::client_config`], but any certificate is taken, for any name. Whoever is in between can read all: only for an
    /// operator who says so.
    ///
    /// # Errors
    /// [`TrustError::Verifier`] when TLS cannot be set up.
    pub fn danger_unverified_client_config(&self) -> Result<rustls::ClientConfig, TrustError> {
        let mut config = self.client_config()?;
        config
            .dangerous()
            .set_certificate_verifier(Arc::new(Unverified(Arc::clone(&self.provider))));
        Ok(config)
    }

    /// Where the roots came from.
    #[must_use]
    pub fn source(&self) -> &TrustSource {
        &self.source
    }

    fn from_system_bundle(
        ignored: PathBuf,
        extra: &[CertificateDer<'static>],
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TrustError> {
        for bundle in SYSTEM_BUNDLES.iter().map(Path::new) {
            let Ok(text) = read_bounded(bundle) else {
                continue;
            };
            let mut store = RootCertStore::empty();
            let (added, _) = store.add_parsable_certificates(
                CertificateDer::pem_slice_iter(text.as_bytes()).flatten(),
            );
            if added > 0 {
                let source = TrustSource::SystemBundle {
                    ignored,
                    bundle: bundle.to_owned(),
                };
                return Self::from_store(store, extra, provider, source);
            }
        }
        tracing::warn!("no system bundle was found; the built-in roots are used");
        Self::built_in(extra, provider)
    }

    fn built_in(
        extra: &[CertificateDer<'static>],
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TrustError> {
        let mut store = RootCertStore::empty();
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Self::from_store(store, extra, provider, TrustSource::BuiltIn)
    }

    fn from_store(
        mut store: RootCertStore,
        extra: &[CertificateDer<'static>],
        provider: Arc<CryptoProvider>,
        source: TrustSource,
    ) -> Result<Self, TrustError> {
        let failed = |error: String| TrustError::Verifier(error);
        for certificate in extra {
            store
                .add(certificate.clone())
                .map_err(|error| failed(error.to_string()))?;
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider))
                .build()
                .map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            verifier,
            provider,
            source,
        })
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn read_bounded(path: &Path) -> io::Result<String> {
    use io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_ROOTS_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).map_or(true, |length| length > MAX_ROOTS_BYTES) {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it is larger than 16 MiB",
        ));
    }
    // Comments in old bundles are Latin-1; the certificates are ASCII.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
/// Takes any certificate; signatures of the handshake are still checked.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &rustls::pki_types::ServerName<'_>,
        _ocsp_response: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
