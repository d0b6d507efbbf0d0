//! `agent-vault backup` and `agent-vault restore`: one file out of a data folder, and a data folder out of it.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use agent_vault_seal::{SecretBytes, random_hex};
use agent_vault_store::{
    AuditActor, AuditEntry, AuditVerdict, DATABASE_FILE, MasterKey, OpenOptions as StoreOptions,
    Store, StoreError, UnlockError,
};
use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::server::strong_enough;
use crate::backup::{self, BackupError, Head};
use crate::cli::{App, Output};
use crate::config::ServerConfig;
use crate::env_vars;
use crate::error::{CliError, Result};
use crate::home::Home;
use crate::lock::ServerLock;

/// Largest key file.
const MAX_KEY_BYTES: u64 = 4096;
/// The key file's name in a data folder.
const KEY_FILE: &str = "data.key";

/// `agent-vault backup`.
#[derive(Args)]
#[command(
    after_help = "The server may run. The file holds everything: rules, sealed values, users, logs, the certificate authority.
With a passphrase it also holds the key file of a data folder without a master password.

Examples:
  agent-vault backup vault.avb
  agent-vault backup vault.avb --passphrase-stdin < /run/secrets/backup
  agent-vault backup vault.avb --no-passphrase --key-output /elsewhere/data.key"
)]
pub(crate) struct BackupArgs {
    /// File to write; it must not exist
    file: PathBuf,
    /// Read the passphrase from the first line of stdin
    #[arg(long, conflicts_with = "no_passphrase")]
    passphrase_stdin: bool,
    /// Do not encrypt. Sealed values stay sealed; the key file is left out
    #[arg(long)]
    no_passphrase: bool,
    /// Leave the key file out: the backup then opens nothing without it
    #[arg(long)]
    without_key: bool,
    /// Write a copy of the key file here, apart from the backup
    #[arg(long, value_name = "FILE")]
    key_output: Option<PathBuf>,
    /// Data folder [default: ~/.agent-vault] [env: AGENT_VAULT_HOME]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// `agent-vault restore`.
#[derive(Args)]
#[command(
    after_help = "Nothing is overwritten: the data folder must hold no vault. The backup is checked whole before anything is put in place.

Examples:
  agent-vault restore vault.avb
  agent-vault restore vault.avb --data-dir /srv/agent-vault --passphrase-stdin < /run/secrets/backup
  agent-vault restore vault.avb --key-file /elsewhere/data.key"
)]
pub(crate) struct RestoreArgs {
    /// The backup
    file: PathBuf,
    /// Read the passphrase from the first line of stdin
    #[arg(long)]
    passphrase_stdin: bool,
    /// The key file, where it is not in the backup
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Data folder [default: ~/.agent-vault] [env: AGENT_VAULT_HOME]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn backup(app: &App, args: BackupArgs) -> Result {
    let dir = data_dir(app, args.data_dir.as_deref())?;
    if !dir.join(DATABASE_FILE).exists() {
        return Err(CliError::new(format!("{} holds no vault", dir.display()))
            .hint("name the folder with --data-dir or AGENT_VAULT_HOME"));
    }
    let target = app.env.cwd().join(&args.file);
    if target.exists() {
        return Err(CliError::new(format!("{} exists", target.display()))
            .hint("choose another name; nothing is overwritten"));
    }
    let passphrase = if args.no_passphrase {
        None
    } else {
        Some(strong_enough(passphrase(
            app,
            args.passphrase_stdin,
            true,
        )?)?)
    };
    let store = open(&dir).await?;
    let record = store.master_key().await.map_err(|e| store_failed(&e))?;
    let master_password = matches!(record, Some(MasterKey::Password { .. }));
    let key_file = store.key_file().path().to_path_buf();
    let key = match master_password {
        true => None,
        false => read_key(&key_file)?,
    };
    if let (Some(path), Some(key)) = (&args.key_output, &key) {
        let path = app.env.cwd().join(path);
        let mut file = create_new(&path)?;
        file.write_all(key.expose())
            .and_then(|()| file.sync_all())
            .map_err(|e| io_failed("write", &path, &e))?;
    }
    let packed = key.filter(|_| passphrase.is_some() && !args.without_key);
    let head = Head {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        instance: store.instance_id().to_owned(),
        created_at: Timestamp::now().to_string(),
        master_password,
        encrypted: passphrase.is_some(),
        key: packed.is_some(),
    };
    // The record first, so that it is in the backup too.
    let entry = AuditEntry {
        actor_type: AuditActor::Local,
        detail: json!({"encrypted": head.encrypted, "key": head.key}),
        ..AuditEntry::system("instance.backup", "instance", Timestamp::now())
    };
    let tx = store.begin().await.map_err(|e| store_failed(&e))?;
    tx.commit(&entry).await.map_err(|e| store_failed(&e))?;
    let temporary = Temporary::beside(&target, "db")?;
    create_new(&temporary.0)?;
    store
        .copy_into(&temporary.0)
        .await
        .map_err(|e| store_failed(&e))?;
    store.close().await;
    let (part, shown) = (Temporary::beside(&target, "part")?, head.clone());
    let bytes =
        blocking(move || pack(&part, &temporary, &target, &shown, passphrase, packed)).await?;
    if args.output.json {
        let body = json!({"file": args.file, "bytes": bytes, "encrypted": head.encrypted, "key": head.key});
        return app.ui.line(&body.to_string());
    }
    app.ui.success(&format!(
        "{} holds the whole vault ({bytes} bytes)",
        args.file.display()
    ))?;
    match (head.master_password, head.key, &args.key_output) {
        (true, ..) => app.ui.note("it opens with the master password of today"),
        (false, true, _) => {}
        (false, false, Some(path)) => app.ui.note(&format!(
            "the key file is not in it but in {}: keep them apart, both are needed",
            path.display()
        )),
        (false, false, None) => app.ui.warn(&format!(
            "the key file is not in it, and nothing opens without: copy {} to another place",
            key_file.display()
        )),
    }
    Ok(())
}

/// Seals the copy of the database, and gives it its name once it is whole; answers its size.
fn pack(
    part: &Temporary,
    copy: &Temporary,
    target: &Path,
    head: &Head,
    passphrase: Option<SecretBytes>,
    key: Option<SecretBytes>,
) -> Result<u64> {
    let mut database = File::open(&copy.0).map_err(|e| io_failed("read", &copy.0, &e))?;
    let size = database
        .metadata()
        .map_err(|e| io_failed("read", &copy.0, &e))?
        .len();
    let mut out = BufWriter::new(create_new(&part.0)?);
    let none = || SecretBytes::new(Vec::new());
    backup::write(
        &mut out,
        head,
        &passphrase.unwrap_or_else(none),
        &key.unwrap_or_else(none),
        &mut database,
        size,
    )
    .map_err(|e| backup_failed(&e))?;
    let out = out
        .into_inner()
        .map_err(|e| io_failed("write", &part.0, e.error()))?;
    out.sync_all()
        .map_err(|e| io_failed("write", &part.0, &e))?;
    let bytes = out
        .metadata()
        .map_err(|e| io_failed("write", &part.0, &e))?
        .len();
    put_in_place(&part.0, target)?;
    Ok(bytes)
}

pub(crate) async fn restore(app: &App, args: RestoreArgs) -> Result {
    let dir = data_dir(app, args.data_dir.as_deref())?;
    let database = dir.join(DATABASE_FILE);
    let key_path = dir.join(KEY_FILE);
    for there in [&database, &key_path] {
        if there.exists() {
            return Err(CliError::new(format!(
                "{} exists; nothing is overwritten",
                there.display()
            ))
            .hint("name an empty folder with --data-dir, or move the old vault away first"));
        }
    }
    let source = app.env.cwd().join(&args.file);
    let file = File::open(&source).map_err(|e| io_failed("read", &source, &e))?;
    let opened = backup::open(BufReader::new(file)).map_err(|e| backup_failed(&e))?;
    let head = opened.head.clone();
    let given_key = match &args.key_file {
        Some(path) => {
            let path = app.env.cwd().join(path);
            let read = read_key(&path)?;
            Some(read.ok_or_else(|| CliError::new(format!("{} is not there", path.display())))?)
        }
        None => None,
    };
    if !head.master_password && !head.key && given_key.is_none() {
        return Err(CliError::new(
            "the key file is not in this backup, and nothing opens without it",
        )
        .hint("name it with --key-file"));
    }
    let passphrase = if head.encrypted {
        passphrase(app, args.passphrase_stdin, false)?
    } else {
        SecretBytes::new(Vec::new())
    };
    let home = Home::at(dir.clone());
    let lock = ServerLock::acquire(&home)?;
    let staged = Staged::new(&dir)?;
    let at = staged.database.0.clone();
    let packed_key = blocking(move || {
        let mut out = create_new(&at)?;
        let key = opened
            .read(&passphrase, &mut out)
            .map_err(|e| backup_failed(&e))?;
        out.sync_all().map_err(|e| io_failed("write", &at, &e))?;
        Ok(key)
    })
    .await?;
    let key = match (head.master_password, given_key) {
        (true, _) => None,
        (false, Some(key)) => Some(key),
        (false, None) => Some(packed_key),
    };
    if let Some(key) = &key {
        let mut out = create_new(&staged.key.0)?;
        out.write_all(key.expose())
            .and_then(|()| out.sync_all())
            .map_err(|e| io_failed("write", &staged.key.0, &e))?;
    }
    let records = check(&staged, &head).await?;
    // The key first: a folder with a database is a vault.
    if key.is_some() {
        put_in_place(&staged.key.0, &key_path)?;
    }
    put_in_place(&staged.database.0, &database)?;
    drop(lock);
    if args.output.json {
        let body = json!({"data_dir": dir, "instance": head.instance, "created_at": head.created_at, "audit_records": records,
            "master_password": head.master_password});
        return app.ui.line(&body.to_string());
    }
    app.ui.success(&format!(
        "{} holds the vault as it was at {}",
        dir.display(),
        super::time(&head.created_at)
    ))?;
    if head.master_password {
        app.ui
            .note("it opens with the master password of that time");
    }
    Ok(())
}

/// What is being restored, under names that nobody opens.
struct Staged {
    database: Temporary,
    key: Temporary,
}

impl Staged {
    fn new(dir: &Path) -> Result<Staged> {
        let name = format!(".restore-{}", suffix()?);
        // A store takes the key file beside it from its own name.
        Ok(Staged {
            database: Temporary(dir.join(format!("{name}.db"))),
            key: Temporary(dir.join(format!("{name}.key"))),
        })
    }
}

/// Opens the restored database with its key, brings it to this version's schema, and checks the chain of its records; answers
/// how many there are.
async fn check(staged: &Staged, head: &Head) -> Result<u64> {
    let store = open(&staged.database.0).await?;
    let record = store.master_key().await.map_err(|e| store_failed(&e))?;
    let protected = matches!(record, Some(MasterKey::Password { .. }));
    if store.instance_id() != head.instance || protected != head.master_password {
        return Err(CliError::new(
            "the backup holds another database than it says",
        ));
    }
    if !protected {
        let now = Timestamp::now();
        store.unlock(None, now).await.map_err(|e| key_failed(&e))?;
    }
    let records = match store.verify_audit().await.map_err(|e| store_failed(&e))? {
        AuditVerdict::Intact { records, .. } => records,
        AuditVerdict::Broken { seq } => {
            return Err(CliError::new(format!(
                "the audit log in the backup is broken at record {seq}: somebody changed the database before it was backed up"
            ))
            .hint("use an older backup; nothing was put in place"));
        }
    };
    let entry = AuditEntry {
        actor_type: AuditActor::Local,
        detail: json!({"backup_of": head.created_at, "made_by": head.program}),
        ..AuditEntry::system("instance.restore", "instance", Timestamp::now())
    };
    let tx = store.begin().await.map_err(|e| store_failed(&e))?;
    tx.commit(&entry).await.map_err(|e| store_failed(&e))?;
    store.truncate_wal().await.map_err(|e| store_failed(&e))?;
    store.close().await;
    Ok(records + 1)
}

fn data_dir(app: &App, flag: Option<&Path>) -> Result<PathBuf> {
    match flag {
        Some(dir) => Ok(app.env.cwd().join(dir)),
        None => Ok(ServerConfig::for_local(&app.env)?.data_dir.value),
    }
}

fn passphrase(app: &App, from_stdin: bool, new: bool) -> Result<SecretBytes> {
    if let Some(given) = app.env.get(&env_vars::BACKUP_PASSPHRASE)? {
        return Ok(SecretBytes::new(given.as_bytes().to_vec()));
    }
    if from_stdin {
        return app.ui.read_secret_line();
    }
    if new {
        let instead = "--passphrase-stdin` or `--no-passphrase";
        return app.ui.ask_new_secret("Passphrase of the backup", instead);
    }
    app.ui
        .ask_secret("Passphrase of the backup", "--passphrase-stdin")
}

fn read_key(path: &Path) -> Result<Option<SecretBytes>> {
    use std::io::Read as _;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_failed("read", path, &e)),
    };
    let mut bytes = Vec::with_capacity(MAX_KEY_BYTES as usize + 1);
    file.take(MAX_KEY_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| io_failed("read", path, &e))?;
    let key = SecretBytes::new(bytes);
    if key.len() as u64 > MAX_KEY_BYTES {
        return Err(CliError::new(format!("{} is no key file", path.display())));
    }
    Ok(Some(key))
}

/// A file that goes when nobody needs it any more, with what SQLite keeps beside it.
struct Temporary(PathBuf);

impl Temporary {
    fn beside(path: &Path, kind: &str) -> Result<Temporary> {
        let name = format!(".agent-vault-{}.{kind}", suffix()?);
        Ok(Temporary(path.with_file_name(name)))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm", "-journal"] {
            let mut path = self.0.clone().into_os_string();
            path.push(end);
            // Mostly it is not there: it has its name by now, or was never made.
            let _ = fs::remove_file(path);
        }
    }
}

/// Gives a whole file its name, unless there is one of that name.
fn put_in_place(from: &Path, to: &Path) -> Result {
    let failed = |e: std::io::Error| io_failed("write", to, &e);
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from).map_err(failed)?,
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Err(failed(e)),
        // Some file systems have no links.
        Err(_) if !to.exists() => fs::rename(from, to).map_err(failed)?,
        Err(e) => return Err(failed(e)),
    }
    let folder = to.parent().unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)
}

fn create_new(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| io_failed("write", path, &e))
}

fn suffix() -> Result<String> {
    random_hex::<8>().map_err(|e| CliError::new(format!("no randomness: {e}")))
}

async fn open(path: &Path) -> Result<Store> {
    let now = Timestamp::now();
    Store::open(path, StoreOptions { now })
        .await
        .map_err(|e| store_failed(&e))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| CliError::new("the work was interrupted"))?
}

fn io_failed(doing: &str, path: &Path, error: &std::io::Error) -> CliError {
    CliError::new(format!("cannot {doing} {}: {error}", path.display()))
}

fn backup_failed(error: &BackupError) -> CliError {
    let failed = CliError::new(error.to_string());
    match error {
        BackupError::Newer => failed.hint("upgrade agent-vault"),
        BackupError::Unopened => {
            failed.hint("nothing was put in place; try again, or use another backup")
        }
        _ => failed,
    }
}

fn store_failed(error: &StoreError) -> CliError {
    let failed = CliError::new(error.to_string());
    match error.hint() {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

fn key_failed(error: &UnlockError) -> CliError {
    CliError::new(match error {
        UnlockError::KeyFileForeign { .. } => {
            "the key file belongs to another vault than the backup".to_owned()
        }
        UnlockError::KeyFileUnreadable { .. } => "the key file holds no key".to_owned(),
        other => other.to_string(),
    })
    .hint("nothing was put in place; name the key file of that vault with --key-file")
}
