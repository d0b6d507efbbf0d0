//! The files that the child is pointed at, in a folder of their own for as long as the run lasts: the roots that it trusts
//! (the system's, those that the caller had added, and the proxy's), and what wget and Node need besides variables.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use agent_vault_ca::bundle::{Bundle, find_system_roots};
use rustix::fs::{FlockOperation, flock};

use crate::cli::App;
use crate::env_vars;
use crate::error::{CliError, Result};
use crate::home::{Home, write_atomically};

/// Variables by which people add a company's root; the child must trust it still.
const INHERITED: &[&str] = &[
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "AGENT_VAULT_CA",
];
/// Largest inherited file that is merged, in bytes.
const MAX_INHERITED_BYTES: u64 = 4 * 1024 * 1024;

/// Takes what old releases of Node send through the proxy.
const NODE_PROXY: &str = include_str!("node_proxy.cjs");
/// Largest settings file of the caller's that is carried over, in bytes.
const MAX_SETTINGS_BYTES: u64 = 256 * 1024;

/// Marks a finished folder; one that is being made has another name, so that nobody sweeps it.
const FOLDER_PREFIX: &str = "run-";
/// Held locked in a folder for as long as its run lives. Unlike a process number, it means the same in every container that
/// shares the data folder.
const LOCK_FILE: &str = "lock";

/// The file; gone when this is dropped.
#[derive(Debug)]
pub(super) struct BundleFile {
    folder: PathBuf,
    file: PathBuf,
    /// Unlocked when it is closed, however the process ends.
    _lock: File,
}

impl BundleFile {
    pub(super) fn path(&self) -> &Path {
        &self.file
    }

    /// For `WGETRC`: wget with GnuTLS reads no variable that names roots.
    pub(super) fn wgetrc(&self) -> PathBuf {
        self.folder.join("wgetrc")
    }

    /// For `APT_CONFIG`: apt reads no such variable either.
    pub(super) fn apt_conf(&self) -> PathBuf {
        self.folder.join("apt.conf")
    }

    /// For Node's `--require`.
    pub(super) fn node_proxy(&self) -> PathBuf {
        self.folder.join("node-proxy.cjs")
    }
}

impl Drop for BundleFile {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Writes the bundle, in the data folder or, where that cannot be written, in the folder for temporary files.
pub(super) fn write(app: &App, home: &Home, ca_pem: &str) -> Result<BundleFile> {
    let search = find_system_roots();
    for unusable in &search.unusable {
        app.ui.warn(&unusable.to_string());
    }
    let inherited = inherited(app);
    let pems = inherited
        .iter()
        .map(String::as_str)
        .chain(std::iter::once(ca_pem));
    let bundle = Bundle::merge(search.found.as_ref(), pems);
    if let Bundle::OursOnly { .. } = bundle {
        app.ui.warn("this system has no root certificates: hosts that are reached past the proxy will not be trusted");
    }
    let (folder, lock) = folder(home)?;
    let file = folder.join("ca-bundle.pem");
    let out = BundleFile {
        folder,
        file,
        _lock: lock,
    };
    write_atomically(&out.file, bundle.pem().as_bytes(), 0o644)?;
    let mut wgetrc = callers_wgetrc(app).unwrap_or_default();
    wgetrc.extend_from_slice(b"\nca_certificate = ");
    wgetrc.extend_from_slice(out.file.as_os_str().as_bytes());
    wgetrc.push(b'\n');
    write_atomically(&out.wgetrc(), &wgetrc, 0o600)?;
    let named = app.env.raw("APT_CONFIG").filter(|path| !path.is_empty());
    let mut apt_conf = named
        .and_then(|path| settings(&app.env.cwd().join(path)))
        .unwrap_or_default();
    apt_conf.extend_from_slice(b"\nAcquire::https::CaInfo \"");
    apt_conf.extend_from_slice(out.file.as_os_str().as_bytes());
    apt_conf.extend_from_slice(b"\";\n");
    write_atomically(&out.apt_conf(), &apt_conf, 0o644)?;
    write_atomically(&out.node_proxy(), NODE_PROXY.as_bytes(), 0o644)?;
    Ok(out)
}

/// What wget would read without us; a variable in place of the file in the home, as wget itself has it.
fn callers_wgetrc(app: &App) -> Option<Vec<u8>> {
    let path = match app.env.raw("WGETRC").filter(|path| !path.is_empty()) {
        Some(path) => app.env.cwd().join(path),
        None => Path::new(app.env.raw("HOME")?).join(".wgetrc"),
    };
    settings(&path)
}

/// A file of the caller's that ours takes the place of.
fn settings(path: &Path) -> Option<Vec<u8>> {
    let metadata = fs::metadata(path).ok()?;
    (metadata.is_file() && metadata.len() <= MAX_SETTINGS_BYTES)
        .then(|| fs::read(path).ok())
        .flatten()
}

/// What the caller trusts besides the system. Inside another run these name that run's bundle, which holds a foreign proxy's
/// root: it is left out.
fn inherited(app: &App) -> Vec<String> {
    if app
        .env
        .raw(env_vars::TOKEN.name)
        .is_some_and(|t| !t.is_empty())
    {
        return Vec::new();
    }
    INHERITED
        .iter()
        .filter_map(|name| app.env.raw(name))
        .filter(|path| !path.is_empty())
        .filter_map(|path| {
            let path = app.env.cwd().join(path);
            let small =
                fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() <= MAX_INHERITED_BYTES);
            small.then(|| fs::read_to_string(&path).ok()).flatten()
        })
        .collect()
}

/// A new folder, locked: in the data folder or, where that cannot be written, in the folder for temporary files.
fn folder(home: &Home) -> Result<(PathBuf, File)> {
    let runs = home.path("run");
    if home.create().is_ok()
        && DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&runs)
            .is_ok()
    {
        sweep(&runs);
        if let Ok(made) = make(&runs, FOLDER_PREFIX) {
            return Ok(made);
        }
    }
    let temporary = std::env::temp_dir();
    make(&temporary, "agent-vault-run-").map_err(|e| {
        CliError::new(format!(
            "cannot write the CA bundle to {}: {e}",
            temporary.display()
        ))
    })
}

fn make(parent: &Path, prefix: &str) -> io::Result<(PathBuf, File)> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let (unfinished, finished) = (
        parent.join(format!("new-{id}")),
        parent.join(format!("{prefix}{id}")),
    );
    DirBuilder::new().mode(0o700).create(&unfinished)?;
    let locked = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(unfinished.join(LOCK_FILE))
        .and_then(|lock| {
            flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
            fs::rename(&unfinished, &finished)?;
            Ok(lock)
        });
    match locked {
        Ok(lock) => Ok((finished, lock)),
        Err(e) => {
            let _ = fs::remove_dir_all(&unfinished);
            Err(e)
        }
    }
}

/// Removes what runs left that were killed.
fn sweep(runs: &Path) {
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let ours = entry
            .file_name()
            .to_str()
            .is_some_and(|n| n.starts_with(FOLDER_PREFIX));
        if ours
            && let Ok(lock) = File::open(entry.path().join(LOCK_FILE))
            && flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use crate::cli::App;
    use crate::env::Env;
    use crate::home::Home;
    use crate::ui::Ui;

    #[test]
    fn the_file_is_readable_in_a_private_folder_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("h"));
        let app = App::new(Env::of(&[], dir.path()), Ui::captured("").0);
        let bundle = super::write(&app, &home, "").unwrap();
        let path = bundle.path().to_owned();
        let mode = |p: &std::path::Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o644, 0o700));
        // Left by a process that is gone: nobody holds its lock.
        let stale = home.path("run").join("run-stale");
        std::fs::create_dir(&stale).unwrap();
        crate::home::write_atomically(&stale.join(super::LOCK_FILE), b"", 0o600).unwrap();
        drop(super::write(&app, &home, "").unwrap());
        assert!(!stale.exists() && path.exists());
        drop(bundle);
        assert!(!path.exists());
    }

    #[test]
    fn the_callers_wgetrc_is_kept_and_the_roots_added() {
        let dir = tempfile::tempdir().unwrap();
        crate::home::write_atomically(&dir.path().join("mine"), b"tries = 3", 0o600).unwrap();
        let env = Env::of(&[("WGETRC", "mine")], dir.path());
        let app = App::new(env, Ui::captured("").0);
        let bundle = super::write(&app, &Home::at(dir.path().join("h")), "").unwrap();
        let text = std::fs::read_to_string(bundle.wgetrc()).unwrap();
        let roots = format!("ca_certificate = {}\n", bundle.path().display());
        assert!(
            text.starts_with("tries = 3\n") && text.ends_with(&roots),
            "{text}"
        );
        let text = std::fs::read_to_string(bundle.apt_conf()).unwrap();
        let roots = format!("Acquire::https::CaInfo \"{}\";", bundle.path().display());
        assert!(text.contains(&roots), "{text}");
        assert!(bundle.node_proxy().is_file());
    }
}
