//! `agent-vault master-password`: what protects the data key of this machine's data folder. The server must be stopped.

use std::path::PathBuf;

use agent_vault_seal::{Keyring, MAX_PASSWORD_BYTES, SecretBytes};
use agent_vault_store::{
    AuditActor, AuditEntry, DATABASE_FILE, MasterKey, OpenOptions, Store, StoreError, UnlockError,
};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use super::server::strong_enough;
use crate::cli::{App, Output};
use crate::config::ServerConfig;
use crate::env_vars;
use crate::error::{CliError, Result};
use crate::home::Home;
use crate::lock::ServerLock;

/// How often a wrong password may be typed.
const ATTEMPTS: u32 = 3;

/// `agent-vault master-password`.
#[derive(Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "The server of the data folder must be stopped. Without a terminal, passwords come from AGENT_VAULT_MASTER_PASSWORD and
AGENT_VAULT_NEW_MASTER_PASSWORD, or with --password-stdin from lines of stdin: the present one first, then the new one."
)]
pub(crate) struct MasterPasswordArgs {
    #[command(subcommand)]
    command: MasterPasswordCommand,
}

#[derive(Subcommand)]
enum MasterPasswordCommand {
    /// Protect a data folder that has no master password
    Set(Common),
    /// Replace the master password
    Change(Common),
    /// Take the master password away: the data key then lies in the data folder
    Remove(Common),
}

#[derive(Args)]
struct Common {
    /// Read passwords from stdin, one in each line
    #[arg(long)]
    password_stdin: bool,
    /// Data folder [default: ~/.agent-vault] [env: AGENT_VAULT_HOME]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Accepted for compatibility: the data folder's lock tells for certain whether a server runs
    #[arg(long, hide = true)]
    force: bool,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(app: &App, args: MasterPasswordArgs) -> Result {
    match args.command {
        MasterPasswordCommand::Set(common) => set(app, &common).await,
        MasterPasswordCommand::Change(common) => change(app, &common).await,
        MasterPasswordCommand::Remove(common) => remove(app, &common).await,
    }
}

async fn set(app: &App, common: &Common) -> Result {
    let folder = Folder::open(app, common).await?;
    if folder.is_protected {
        return Err(CliError::new("this data folder has a master password")
            .hint("replace it with `agent-vault master-password change`"));
    }
    let new = new_password(app, common, true)?;
    let keyring = unlock(&folder.store, None).await?;
    let entry = entry("master-password.set");
    folder
        .store
        .protect_with_password(keyring, new, &entry)
        .await
        .map_err(|error| failed(&error))?;
    folder.store.close().await;
    tell(
        app,
        common,
        "password",
        "the data key is protected by the master password; each start needs it from now on",
    )
}

async fn change(app: &App, common: &Common) -> Result {
    let folder = Folder::open(app, common).await?;
    folder.must_be_protected()?;
    let keyring = present(app, common, &folder.store).await?;
    let new = new_password(app, common, false)?;
    let entry = entry("master-password.change");
    folder
        .store
        .protect_with_password(keyring, new, &entry)
        .await
        .map_err(|error| failed(&error))?;
    folder.store.close().await;
    tell(app, common, "password", "the master password is changed")?;
    app.ui.note("backups from before open with the old one; `agent-vault key rotate` makes what is sealed from now on useless to them");
    Ok(())
}

async fn remove(app: &App, common: &Common) -> Result {
    let folder = Folder::open(app, common).await?;
    folder.must_be_protected()?;
    let keyring = present(app, common, &folder.store).await?;
    let entry = entry("master-password.remove");
    folder
        .store
        .protect_with_key_file(&keyring, &entry)
        .await
        .map_err(|error| failed(&error))?;
    let path = folder.store.key_file().path().display().to_string();
    folder.store.close().await;
    tell(app, common, "key-file", "the master password is gone")?;
    app.ui.note(&format!(
        "the data key lies in {path}: whoever can read the data folder can read the credentials"
    ));
    Ok(())
}

fn tell(app: &App, common: &Common, protection: &str, sentence: &str) -> Result {
    if common.output.json {
        app.ui
            .line(&json!({ "protection": protection }).to_string())
    } else {
        app.ui.success(sentence)
    }
}

/// The data folder, held against every server.
struct Folder {
    store: Store,
    is_protected: bool,
    _lock: ServerLock,
}

impl Folder {
    async fn open(app: &App, common: &Common) -> Result<Folder> {
        let _ = common.force;
        let dir = match &common.data_dir {
            Some(dir) => app.env.cwd().join(dir),
            None => ServerConfig::for_local(&app.env)?.data_dir.value,
        };
        if !dir.join(DATABASE_FILE).exists() {
            return Err(CliError::new(format!("{} holds no vault", dir.display()))
                .hint("name the folder with --data-dir or AGENT_VAULT_HOME"));
        }
        let lock = ServerLock::acquire(&Home::at(dir.clone()))?;
        let now = Timestamp::now();
        let store = Store::open(&dir, OpenOptions { now })
            .await
            .map_err(|error| store_failed(&error))?;
        let record = store
            .master_key()
            .await
            .map_err(|error| store_failed(&error))?;
        let is_protected = match record {
            Some(record) => matches!(record, MasterKey::Password { .. }),
            None => {
                return Err(CliError::new("this data folder has no data key yet")
                    .hint("the first start makes it: `agent-vault server --password-stdin`"));
            }
        };
        Ok(Folder {
            store,
            is_protected,
            _lock: lock,
        })
    }

    fn must_be_protected(&self) -> Result {
        if self.is_protected {
            return Ok(());
        }
        Err(CliError::new("this data folder has no master password")
            .hint("set one with `agent-vault master-password set`"))
    }
}

/// The keyring, opened with the present password.
async fn present(app: &App, common: &Common, store: &Store) -> Result<Keyring> {
    if let Some(password) = app.env.get(&env_vars::MASTER_PASSWORD)? {
        return unlock(store, Some(SecretBytes::new(password.as_bytes().to_vec()))).await;
    }
    if common.password_stdin {
        return unlock(store, Some(app.ui.read_secret_line()?)).await;
    }
    for left in (0..ATTEMPTS).rev() {
        let password = app
            .ui
            .ask_secret("Present master password", "--password-stdin")?;
        match store.unlock(Some(password), Timestamp::now()).await {
            Ok(unlocked) => return Ok(unlocked.keyring),
            Err(UnlockError::WrongPassword) if left > 0 => {
                app.ui.warn(&format!("wrong master password; {left} more"));
            }
            Err(error) => return Err(failed(&error)),
        }
    }
    Err(CliError::new("wrong master password"))
}

/// The new password. The variable of the present one serves too where there is none yet.
fn new_password(app: &App, common: &Common, first: bool) -> Result<SecretBytes> {
    let mut given = app.env.get(&env_vars::NEW_MASTER_PASSWORD)?;
    if given.is_none() && first {
        given = app.env.get(&env_vars::MASTER_PASSWORD)?;
    }
    let password = match given {
        Some(password) => SecretBytes::new(password.as_bytes().to_vec()),
        None if common.password_stdin => app.ui.read_secret_line()?,
        None => app
            .ui
            .ask_new_secret("New master password", "--password-stdin")?,
    };
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(CliError::new(format!(
            "the master password is longer than {MAX_PASSWORD_BYTES} bytes"
        )));
    }
    strong_enough(password)
}

async fn unlock(store: &Store, password: Option<SecretBytes>) -> Result<Keyring> {
    store
        .unlock(password, Timestamp::now())
        .await
        .map(|unlocked| unlocked.keyring)
        .map_err(|error| failed(&error))
}

fn entry(action: &str) -> AuditEntry {
    AuditEntry {
        actor_type: AuditActor::Local,
        ..AuditEntry::system(action, "instance", Timestamp::now())
    }
}

fn failed(error: &UnlockError) -> CliError {
    let failed = CliError::new(error.to_string());
    match error.hint() {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

fn store_failed(error: &StoreError) -> CliError {
    let failed = CliError::new(error.to_string());
    match error.hint() {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}
