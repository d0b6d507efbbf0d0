//! The bundle of roots that a client behind the proxy is told to trust: the system's roots and ours.
//!
//! Most runtimes take one PEM file that *replaces* their roots (`SSL_CERT_FILE`, `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`,
//! `GIT_SSL_CAINFO`, `AWS_CA_BUNDLE`, …), so ours has to carry both. The system's bundle is looked for at the places where
//! operating systems put it. `SSL_CERT_FILE` in our own environment is ignored on purpose: inside an environment that was
//! prepared for an agent it names a bundle of ours, and merging that again would stack root upon root.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The largest system bundle that is read, in bytes. Real ones have 200–400 KiB.
pub const MAX_BUNDLE_BYTES: u64 = 16 * 1024 * 1024;

/// Where operating systems keep their bundle, in order of preference.
pub const SYSTEM_BUNDLES: [&str; 14] = [
    // Debian, Ubuntu, Arch, Gentoo, NixOS, Alpine with ca-certificates.
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora, RHEL, CentOS.
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    // openSUSE.
    "/etc/ssl/ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
    // NixOS.
    "/etc/ssl/certs/ca-bundle.crt",
    // OpenELEC.
    "/etc/pki/tls/cacert.pem",
    // macOS, Alpine, OpenBSD.
    "/etc/ssl/cert.pem",
    "/private/etc/ssl/cert.pem",
    // Homebrew and MacPorts.
    "/opt/homebrew/etc/ca-certificates/cert.pem",
    "/usr/local/etc/ca-certificates/cert.pem",
    "/opt/local/share/curl/curl-ca-bundle.crt",
    // FreeBSD.
    "/usr/local/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// The roots that the operating system ships, as it ships them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemRoots {
    /// Where they were found.
    pub path: PathBuf,
    /// The PEM text.
    pub pem: String,
    /// How many certificates it holds; at least one.
    pub count: usize,
}

/// A place that had a bundle which could not be used.
#[derive(Debug, thiserror::Error)]
pub enum UnusableBundle {
    /// It is there and cannot be read.
    #[error("`{}` cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is larger than [`MAX_BUNDLE_BYTES`].
    #[error("`{}` is larger than 16 MiB", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// No certificate in it.
    #[error("`{}` holds no certificate", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// What a search for the system's roots came to.
#[derive(Debug, Default)]
pub struct Search {
    /// The first usable bundle, or none on a system without one (scratch images, Windows).
    pub found: Option<SystemRoots>,
    /// Bundles that were passed over, worth a warning each.
    pub unusable: Vec<UnusableBundle>,
}

/// Looks for the system's bundle at [`SYSTEM_BUNDLES`]. Reads files; blocks for some milliseconds.
#[must_use]
pub fn find_system_roots() -> Search {
    find_system_roots_in(SYSTEM_BUNDLES.iter().map(Path::new))
}

/// Looks for a bundle at the given places and takes the first that holds a certificate.
pub fn find_system_roots_in<'a>(places: impl IntoIterator<Item = &'a Path>) -> Search {
    let mut search = Search::default();
    for path in places {
        match read_bundle(path) {
            Ok(Some(roots)) => {
                search.found = Some(roots);
                break;
            }
            Ok(None) => {}
            Err(unusable) => search.unusable.push(unusable),
        }
    }
    search
}

fn read_bundle(path: &Path) -> Result<Option<SystemRoots>, UnusableBundle> {
    let unreadable = |source| UnusableBundle::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BUNDLE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if u64::try_from(bytes.len()).map_or(true, |length| length > MAX_BUNDLE_BYTES) {
        return Err(UnusableBundle::TooLarge {
            path: path.to_owned(),
        });
    }
    // Old bundles carry comments in Latin-1; the certificates themselves are ASCII.
    let pem = String::from_utf8_lossy(&bytes).into_owned();
    let count = count_certificates(&pem);
    if count == 0 {
        return Err(UnusableBundle::Empty {
            path: path.to_owned(),
        });
    }
    Ok(Some(SystemRoots {
        path: path.to_owned(),
        pem,
        count,
    }))
}

fn count_certificates(pem: &str) -> usize {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .filter(Result::is_ok)
        .count()
}

/// A PEM bundle for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bundle {
    /// The system's roots, then ours: everything works, brokered or not.
    Complete {
        /// The PEM text.
        pem: String,
        /// Where the system's part came from.
        system: PathBuf,
    },
    /// Ours alone, because the system has none. Enough for everything that goes through the proxy; a client that is let
    /// past it, by `NO_PROXY` for example, trusts no public host. Whoever writes the file should say so.
    OursOnly {
        /// The PEM text.
        pem: String,
    },
}

impl Bundle {
    /// Joins the system's roots and `ours`, each a PEM text. A root of ours that the system already holds is not repeated.
    #[must_use]
    pub fn merge<'a>(
        system: Option<&SystemRoots>,
        ours: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut pem = system.map_or_else(String::new, |roots| roots.pem.clone());
        let mut held: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .flatten()
            .collect();
        for text in ours {
            let certificates: Vec<CertificateDer<'static>> =
                CertificateDer::pem_slice_iter(text.as_bytes())
                    .flatten()
                    .collect();
            if certificates.is_empty() || certificates.iter().all(|cert| held.contains(cert)) {
                continue;
            }
            held.extend(certificates);
            if !pem.is_empty() && !pem.ends_with('\n') {
                pem.push('\n');
            }
            pem.push_str(text);
        }
        if !pem.is_empty() && !pem.ends_with('\n') {
            pem.push('\n');
        }
        match system {
            Some(roots) => Self::Complete {
                pem,
                system: roots.path.clone(),
            },
            None => Self::OursOnly { pem },
        }
    }

    /// The PEM text, whichever it is.
    #[must_use]
    pub fn pem(&self) -> &str {
        match self {
            Self::Complete { pem, .. } | Self::OursOnly { pem } => pem,
        }
    }
}
