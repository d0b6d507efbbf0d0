//! TLS on the server's own ports: what it is called, and the certificate that the operator gave, read again when its files
//! change.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent_vault_api::{Accepting, Duplex, OwnTls, Tls, TlsDoor};
use agent_vault_ca::{GivenCertificate, LeafIssuer, OwnIdentity, Protocols};
use agent_vault_proxy::Door;
use agent_vault_seal::SecretBytes;
use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::config::{ServerConfig, TlsMode};
use crate::connect::Address;
use crate::error::{CliError, Result};

/// Largest certificate or key file, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// How often it is looked whether the files have changed.
const LOOK: Duration = Duration::from_secs(2);

/// A certificate file and its key file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What tells one state of a file from another without reading it.
type Stamp = [Option<(u64, u64, u64, i64, i64)>; 2];

impl Files {
    fn of(config: &ServerConfig) -> Option<Files> {
        Some(Files {
            certificate: config.tls_cert.value.clone()?,
            key: config.tls_key.value.clone()?,
        })
    }

    /// Blocks.
    fn read(&self) -> Result<GivenCertificate> {
        let chain = read_bounded(&self.certificate)?;
        let key = SecretBytes::new(read_bounded(&self.key)?);
        let given = GivenCertificate::parse(&chain, key.expose()).map_err(|error| {
            CliError::new(format!(
                "{} and {}: {error}",
                self.certificate.display(),
                self.key.display()
            ))
            .hint(error.hint())
        })?;
        if given.expires_at() <= Timestamp::now() {
            tracing::warn!(
                file = %self.certificate.display(),
                "the TLS certificate expired at {}: clients will refuse it",
                given.expires_at()
            );
        }
        Ok(given)
    }

    /// Blocks.
    fn stamp(&self) -> Stamp {
        [&self.certificate, &self.key].map(|path| {
            let found = fs::metadata(path).ok()?;
            Some((
                found.dev(),
                found.ino(),
                found.len(),
                found.mtime(),
                found.mtime_nsec(),
            ))
        })
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    let failed = |error: io::Error| CliError::new(format!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(failed)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if u64::try_from(bytes.len()).map_or(true, |length| length > MAX_FILE_BYTES) {
        return Err(CliError::new(format!(
            "{}: the file is larger than 1 MiB",
            path.display()
        )));
    }
    Ok(bytes)
}

/// The given certificate, as it was when it was read.
pub(super) struct Given {
    files: Files,
    seen: Stamp,
    certificate: GivenCertificate,
}

/// Reads the certificate that the operator gave, if there is one. Apart from [`identity`], so that a wrong setting is found
/// before a store is opened or made.
pub(super) fn given(config: &ServerConfig) -> std::result::Result<Option<Given>, StartError> {
    let Some(files) = Files::of(config) else {
        return Ok(None);
    };
    // Before the files are read: what changes in between is seen at the next look.
    let seen = files.stamp();
    let certificate = files.read().map_err(|error| {
        error.context(format!(
            "the TLS certificate ({}, {})",
            config.tls_cert.origin, config.tls_key.origin
        ))
    })?;
    Ok(Some(Given {
        files,
        seen,
        certificate,
    }))
}

/// What the server shows on its ports, and what keeps it up to date where there is something to.
pub(super) fn identity(
    config: &ServerConfig,
    issuer: &Arc<LeafIssuer>,
    given: Option<Given>,
) -> std::result::Result<(Arc<OwnIdentity>, Option<Watch>), StartError> {
    let public = config
        .base_url
        .value
        .as_deref()
        .and_then(|url| Address::parse(url).ok());
    let machine = rustix::system::uname();
    let names = public
        .iter()
        .map(|address| address.host().trim_matches(['[', ']']))
        .chain(machine.nodename().to_str());
    let certificate = given.as_ref().map(|given| given.certificate.clone());
    let identity = OwnIdentity::new(Arc::clone(issuer), names, certificate)
        .map_err(|error| CliError::new(format!("TLS cannot be set up: {error}")))?;
    let identity = Arc::new(identity);
    let watch = given.map(|given| Watch {
        files: given.files,
        seen: given.seen,
        identity: Arc::clone(&identity),
    });
    Ok((identity, watch))
}

/// Takes a renewed certificate without a restart.
pub(super) struct Watch {
    files: Files,
    seen: Stamp,
    identity: Arc<OwnIdentity>,
}

impl Watch {
    /// Looks at the files every two seconds until `closing`.
    pub(super) async fn run(mut self, closing: CancellationToken) {
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let looking = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            self = match looking.await {
                Ok(again) => again,
                Err(error) => {
                    tracing::error!(%error, "the TLS certificate is not watched any more");
                    return;
                }
            };
        }
    }

    /// Blocks. A pair that is broken, half written for example, changes nothing, and is told once.
    fn look(&mut self) {
        let now = self.files.stamp();
        if now == self.seen {
            return;
        }
        self.seen = now;
        let replaced = self.files.read().and_then(|certificate| {
            let expires_at = certificate.expires_at();
            self.identity
                .replace(certificate)
                .map_err(|error| CliError::new(error.to_string()))?;
            Ok(expires_at)
        });
        match replaced {
            Ok(expires_at) => tracing::info!(
                file = %self.files.certificate.display(),
                %expires_at,
                "the TLS certificate was read again"
            ),
            Err(error) => tracing::warn!(
                error = error.message(),
                "the TLS certificate has changed and cannot be used: the one before is kept"
            ),
        }
    }
}

/// What clients are told.
pub(super) fn mode(config: &ServerConfig) -> OwnTls {
    match config.tls.value {
        TlsMode::Optional => OwnTls::Optional,
        TlsMode::Required => OwnTls::Required,
    }
}

/// TLS for the management port.
pub(super) fn for_api(config: &ServerConfig, identity: &Arc<OwnIdentity>) -> Tls {
    let door = Door::new(
        Arc::clone(identity),
        Protocols::Both,
        Arc::new(Timestamp::now),
    );
    Tls {
        door: Arc::new(ApiDoor(door)),
        required: config.tls.value == TlsMode::Required,
    }
}

struct ApiDoor(Door);

impl TlsDoor for ApiDoor {
    fn accept(&self, socket: TcpStream) -> Accepting<'_> {
        Box::pin(async move {
            let peer = socket.peer_addr()?;
            match self.0.accept(socket).await {
                Ok(stream) => Ok(Box::new(stream) as Box<dyn Duplex>),
                Err(error) => {
                    if error.is_telling() {
                        tracing::info!(%peer, %error, "TLS to the management port failed");
                    }
                    Err(io::Error::other(error))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::os::unix::fs::symlink;

    use agent_vault_ca::{Choice, RootCa};

    use super::*;
    use crate::home::write_atomically;

    /// A self-signed pair for a name, written to a folder.
    fn write(folder: &Path, name: &str) {
        let (certificate, key) = pair(name);
        write_atomically(&folder.join("tls.crt"), certificate.as_bytes(), 0o644).unwrap();
        write_atomically(&folder.join("tls.key"), key.as_bytes(), 0o600).unwrap();
    }

    fn pair(name: &str) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn watched(folder: &Path) -> Watch {
        let files = Files {
            certificate: folder.join("tls.crt"),
            key: folder.join("tls.key"),
        };
        let (root, _) = RootCa::generate(Timestamp::now()).unwrap();
        let issuer = Arc::new(LeafIssuer::new(root).unwrap());
        let given = files.read().unwrap();
        Watch {
            seen: files.stamp(),
            identity: Arc::new(OwnIdentity::new(issuer, [], Some(given)).unwrap()),
            files,
        }
    }

    /// The configuration for `name`, by its address: the same one as long as nothing was replaced.
    fn shown(watch: &Watch, name: &str) -> Option<usize> {
        let here: IpAddr = [127, 0, 0, 1].into();
        match watch
            .identity
            .choose(Some(name), here, Protocols::Http1, Timestamp::now())
            .unwrap()
        {
            Choice::Own(config) => Some(Arc::as_ptr(&config).addr()),
            Choice::Stranger(_) => None,
        }
    }

    #[test]
    fn a_renewed_pair_is_taken_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "first.example");
        let mut watch = watched(folder.path());
        let first = shown(&watch, "first.example");
        assert!(first.is_some() && shown(&watch, "second.example").is_none());
        watch.look();
        assert_eq!(shown(&watch, "first.example"), first);

        // The certificate is there before its key.
        write_atomically(
            &folder.path().join("tls.crt"),
            pair("second.example").0.as_bytes(),
            0o644,
        )
        .unwrap();
        watch.look();
        assert_eq!(shown(&watch, "first.example"), first, "the one before");
        fs::remove_file(folder.path().join("tls.key")).unwrap();
        watch.look();
        assert_eq!(shown(&watch, "first.example"), first, "the one before");

        write(folder.path(), "second.example");
        watch.look();
        assert!(shown(&watch, "second.example").is_some());
        assert!(shown(&watch, "first.example").is_none());
    }

    /// As orchestrators mount secrets: the files are links into a folder that is exchanged.
    #[test]
    fn an_exchanged_folder_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, host) in [("one", "first.example"), ("two", "second.example")] {
            fs::create_dir(at(name)).unwrap();
            write(&at(name), host);
        }
        symlink("one", at("data")).unwrap();
        for file in ["tls.crt", "tls.key"] {
            symlink(format!("data/{file}"), at(file)).unwrap();
        }
        let mut watch = watched(folder.path());
        symlink("two", at("next")).unwrap();
        fs::rename(at("next"), at("data")).unwrap();
        watch.look();
        assert!(shown(&watch, "second.example").is_some());
    }
}
