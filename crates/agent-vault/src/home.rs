//! The data folder: where it is, and the small files that the client keeps there.
//!
//! The folder is made (0700) only by something that writes; reading never creates it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use agent_vault_seal::SecretBytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::connect::Address;
use crate::env::Env;
use crate::env_vars;
use crate::error::{CliError, Result};
use crate::profile::{self, ChosenBy, Profile};

/// The root certificate of the server of this folder, for commands that speak TLS to it on this machine.
pub(crate) const OWN_ROOT: &str = "ca.pem";

/// The data folder.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    dir: PathBuf,
    /// Whose logins and active vault are meant.
    profile: Profile,
}

/// A saved login.
#[derive(Debug)]
pub(crate) struct Session {
    /// The user's session token.
    pub(crate) token: SecretBytes,
    /// The only address that the token may be sent to.
    pub(crate) address: Address,
    /// Whose login it is.
    pub(crate) email: Option<String>,
    /// What the login is called in the list of sessions.
    pub(crate) device_label: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct SessionFile {
    token: String,
    address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_label: Option<String>,
}

/// The project's binding, meant for version control.
#[derive(Serialize, Deserialize)]
struct ProjectFile {
    vault: String,
}

impl Home {
    /// Where the data folder is: `AGENT_VAULT_HOME`, else `$HOME/.agent-vault`.
    ///
    /// # Errors
    /// Neither variable is set.
    pub(crate) fn locate(env: &Env) -> Result<Home> {
        if let Some(dir) = env.raw(env_vars::HOME.name).filter(|d| !d.is_empty()) {
            return Ok(Home::at(env.cwd().join(dir)));
        }
        match env.home() {
            Some(home) => Ok(Home::at(home.join(".agent-vault"))),
            None => Err(CliError::new("HOME is not set, so there is no data folder")
                .hint(format!("set HOME or {}", env_vars::HOME.name))),
        }
    }

    /// A data folder at a given place.
    pub(crate) fn at(dir: PathBuf) -> Home {
        Home {
            dir,
            profile: Profile::unnamed(),
        }
    }

    /// The same folder with the logins and the active vault of a profile.
    pub(crate) fn seen_by(self, profile: Profile) -> Home {
        Home { profile, ..self }
    }

    /// The profile whose logins and active vault are meant.
    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// A command of a hint, for this profile.
    fn with_profile(&self, command: &str) -> String {
        match self.profile.by {
            ChosenBy::Nothing => format!("`{command}`"),
            _ => format!("`{command} --profile {}`", self.profile.name),
        }
    }

    /// How to log in at a server with this profile.
    pub(crate) fn log_in_hint(&self, address: Option<&str>) -> String {
        let command = match address {
            Some(address) => format!("agent-vault auth login --address {address}"),
            None => String::from("agent-vault auth login"),
        };
        format!("log in with {}", self.with_profile(&command))
    }

    /// A file or folder of the profile.
    fn own_path(&self, name: &str) -> PathBuf {
        profile::folder(self, &self.profile.name).join(name)
    }

    /// The folder itself.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A file or folder in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Makes the folder, 0700, if it is not there.
    pub(crate) fn create(&self) -> Result {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(|e| {
                CliError::new(format!(
                    "cannot make the data folder {}: {e}",
                    self.dir.display()
                ))
            })
    }

    /// Makes the profile's folder, 0700, if it is not there.
    fn create_own(&self) -> Result {
        self.create()?;
        let own = profile::folder(self, &self.profile.name);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&own)
            .map_err(|e| CliError::new(format!("cannot make {}: {e}", own.display())))
    }

    /// Every login of the profile that can be read: the current one, and those kept for other servers.
    pub(crate) fn sessions(&self) -> Vec<Session> {
        let kept = fs::read_dir(self.own_path("sessions"))
            .into_iter()
            .flatten();
        let paths = kept.filter_map(|entry| Some(entry.ok()?.path()));
        std::iter::once(self.own_path("session.json"))
            .chain(paths)
            .filter_map(|path| self.read_session(&path).ok().flatten())
            .collect()
    }

    fn read_session(&self, path: &Path) -> Result<Option<Session>> {
        let Some(bytes) = read_if_there(path)? else {
            return Ok(None);
        };
        let damaged = |why: String| {
            let login = self.with_profile("agent-vault auth login");
            let logout = self.with_profile("agent-vault auth logout");
            CliError::new(format!("{} cannot be read: {why}", path.display()))
                .hint(format!("{login} writes it anew; {logout} removes it"))
        };
        let file: SessionFile =
            serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        let address = Address::parse(&file.address).map_err(|e| damaged(e.message().to_owned()))?;
        Ok(Some(Session {
            token: SecretBytes::new(file.token.into_bytes()),
            address,
            email: file.email,
            device_label: file.device_label,
        }))
    }

    /// The login that commands use where no address is named, if there is one.
    ///
    /// # Errors
    /// A file that is there and cannot be read is an error, not "no login".
    pub(crate) fn session(&self) -> Result<Option<Session>> {
        self.read_session(&self.own_path("session.json"))
    }

    /// The login at one server: the current one, or one that another took the place of.
    pub(crate) fn session_at(&self, address: &Address) -> Result<Option<Session>> {
        if let Some(current) = self.session()?
            && current.address == *address
        {
            return Ok(Some(current));
        }
        let kept = self.read_session(&self.kept_session(address))?;
        Ok(kept.filter(|session| session.address == *address))
    }

    /// Saves a login and makes it the current one. The one that was current stays for its own server.
    pub(crate) fn save_session(&self, session: &Session) -> Result {
        self.create_own()?;
        profile::save_address(self, &self.profile.name, &session.address)?;
        // What cannot be read cannot be kept; it is what this login replaces.
        if let Ok(Some(current)) = self.session()
            && current.address != session.address
        {
            let kept = self.kept_session(&current.address);
            if let Some(folder) = kept.parent() {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(folder)
                    .map_err(|e| CliError::new(format!("cannot make {}: {e}", folder.display())))?;
            }
            write_session(&kept, &current)?;
        }
        write_session(&self.own_path("session.json"), session)?;
        remove_if_there(&self.kept_session(&session.address)).map(|_| ())
    }

    /// Saves a renewed token of the login at its server, whether current or not.
    pub(crate) fn renew_session(&self, session: &Session) -> Result {
        match self.session()? {
            Some(current) if current.address != session.address => {
                write_session(&self.kept_session(&session.address), session)
            }
            _ => self.save_session(session),
        }
    }

    /// Forgets the login at one server; true if there was one.
    pub(crate) fn forget_session_at(&self, address: &Address) -> Result<bool> {
        let kept = remove_if_there(&self.kept_session(address))?;
        let is_current = self
            .session()?
            .is_some_and(|current| current.address == *address);
        Ok((is_current && self.forget_session()?) || kept)
    }

    /// Forgets the current login; true if there was one.
    pub(crate) fn forget_session(&self) -> Result<bool> {
        remove_if_there(&self.own_path("session.json"))
    }

    fn kept_session(&self, address: &Address) -> PathBuf {
        let name = utf8_percent_encode(&address.to_string(), NON_ALPHANUMERIC).to_string();
        self.own_path("sessions").join(format!("{name}.json"))
    }

    /// The active vault for a server: the first line is its name, the second, where present, the server it is meant for.
    pub(crate) fn active_vault(&self, place: &str) -> Result<Option<String>> {
        let Some(bytes) = read_if_there(&self.own_path("context"))? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines().map(str::trim);
        let name = lines.next().unwrap_or_default();
        let meant_for = lines.next().filter(|l| !l.is_empty());
        Ok((!name.is_empty() && meant_for.is_none_or(|m| m == place)).then(|| name.to_owned()))
    }

    /// Makes `vault` the active one for the server `place`.
    pub(crate) fn use_vault(&self, vault: &str, place: &str) -> Result {
        self.create_own()?;
        write_atomically(
            &self.own_path("context"),
            format!("{vault}\n{place}\n").as_bytes(),
            0o600,
        )
    }

    /// Forgets the active vault.
    pub(crate) fn forget_vault(&self) -> Result {
        remove_if_there(&self.own_path("context")).map(|_| ())
    }
}

fn write_session(path: &Path, session: &Session) -> Result {
    let file = SessionFile {
        token: String::from_utf8_lossy(session.token.expose()).into_owned(),
        address: session.address.to_string(),
        email: session.email.clone(),
        device_label: session.device_label.clone(),
    };
    let text = serde_json::to_vec(&file)
        .map_err(|e| CliError::new(format!("cannot write the session: {e}")))?;
    write_atomically(path, &text, 0o600)
}

/// The vault that `agent-vault.json` in the working folder names; anything unreadable counts as absent.
pub(crate) fn project_vault(env: &Env) -> Option<String> {
    let bytes = fs::read(project_path(env)).ok()?;
    let file: ProjectFile = serde_json::from_slice(&bytes).ok()?;
    Some(file.vault.trim().to_owned()).filter(|v| !v.is_empty())
}

/// Where the project's binding is.
pub(crate) fn project_path(env: &Env) -> PathBuf {
    env.cwd().join("agent-vault.json")
}

/// Binds the working folder to a vault. The file is for version control, so anyone may read it.
pub(crate) fn bind_project(env: &Env, vault: &str) -> Result {
    let mut text = serde_json::to_vec_pretty(&ProjectFile {
        vault: vault.to_owned(),
    })
    .map_err(|e| CliError::new(format!("cannot write the project file: {e}")))?;
    text.push(b'\n');
    write_atomically(&project_path(env), &text, 0o644)
}

/// The content of a file, or `None` if there is none.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(e) => Err(CliError::new(format!(
            "cannot read {}: {e}",
            path.display()
        ))),
    }
}

fn remove_if_there(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(false)
        }
        Err(e) => Err(CliError::new(format!(
            "cannot remove {}: {e}",
            path.display()
        ))),
    }
}

/// Writes a file whole or not at all, with exactly the given mode.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> Result {
    let failed = |e: io::Error| CliError::new(format!("cannot write {}: {e}", path.display()));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let mut file: File = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&temporary)
        .map_err(failed)?;
    let written = file
        .set_permissions(Permissions::from_mode(mode))
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(e) = written {
        let _ = fs::remove_file(&temporary);
        return Err(failed(e));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use agent_vault_seal::SecretBytes;

    use super::{Home, Session};
    use crate::connect::Address;

    #[test]
    fn reading_creates_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("absent"));
        assert!(home.session().unwrap().is_none());
        assert!(home.active_vault("local").unwrap().is_none());
        assert!(!home.forget_session().unwrap());
        assert!(!home.dir().exists());
    }

    #[test]
    fn session_is_private_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("h"));
        home.save_session(&Session {
            token: SecretBytes::new(b"av_sess_x".to_vec()),
            address: Address::parse("http://127.0.0.1:14321/").unwrap(),
            email: Some("a@b.c".into()),
            device_label: None,
        })
        .unwrap();
        let mode = |p: &str| {
            std::fs::metadata(home.path(p))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!((mode(""), mode("session.json")), (0o700, 0o600));
        let session = home.session().unwrap().unwrap();
        assert_eq!(session.token.expose(), b"av_sess_x");
        assert_eq!(session.address.to_string(), "http://127.0.0.1:14321");
        std::fs::remove_file(home.path("session.json")).unwrap();
        home.use_vault("x", "local").unwrap();
        assert_eq!(home.active_vault("local").unwrap().as_deref(), Some("x"));
        assert_eq!(home.active_vault("http://elsewhere").unwrap(), None);
    }

    #[test]
    fn w11_a_login_for_each_server() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("h"));
        let login = |token: &str, address: &str| Session {
            token: SecretBytes::new(token.into()),
            address: Address::parse(address).unwrap(),
            email: None,
            device_label: None,
        };
        let (a, b) = (
            Address::parse("http://a:1").unwrap(),
            Address::parse("http://b:1").unwrap(),
        );
        let token_at = |address| {
            home.session_at(address)
                .unwrap()
                .map(|s| s.token.expose().to_vec())
        };
        home.save_session(&login("one", "http://a:1")).unwrap();
        home.save_session(&login("two", "http://b:1")).unwrap();
        assert_eq!(home.session().unwrap().unwrap().address, b);
        assert_eq!(
            (token_at(&a), token_at(&b)),
            (Some(b"one".to_vec()), Some(b"two".to_vec()))
        );
        home.renew_session(&login("three", "http://a:1")).unwrap();
        assert_eq!(home.session().unwrap().unwrap().address, b);
        assert_eq!(token_at(&a), Some(b"three".to_vec()));
        assert!(home.forget_session_at(&a).unwrap());
        assert_eq!((token_at(&a), token_at(&b)), (None, Some(b"two".to_vec())));
        assert!(home.forget_session_at(&b).unwrap());
        assert!(!home.forget_session_at(&b).unwrap());
    }

    #[test]
    fn a_damaged_session_is_an_error_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().to_owned());
        super::write_atomically(&home.path("session.json"), b"{", 0o600).unwrap();
        let error = home.session().unwrap_err();
        assert!(error.hints().iter().any(|h| h.contains("auth login")));
    }
}
