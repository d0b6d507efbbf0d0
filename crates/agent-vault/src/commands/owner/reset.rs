//! `agent-vault owner reset`: erases what lies in the local data folder.
//!
//! It is about this folder and nothing else: no server is asked whether one may, and none is stopped. Whoever resets proves that the
//! folder is theirs by opening it, with its master password where it has one.

use std::fs;
use std::io;

use crate::cli::{App, Yes};
use crate::config::ServerConfig;
use crate::error::{CliError, Result};
use crate::home::{Home, OWN_ROOT};
use crate::lock;

/// What a server keeps in the folder. Logins to servers, configuration and logs of the process stay.
const FILES: [&str; 5] = [
    "agent-vault.db",
    "agent-vault.db-wal",
    "agent-vault.db-shm",
    "data.key",
    OWN_ROOT,
];

#[derive(clap::Args)]
pub(crate) struct ResetArgs {
    /// Print what would be erased, and erase nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    yes: Yes,
}

pub(super) async fn run(app: &App, args: ResetArgs) -> Result {
    let home = Home::locate(&app.env)?;
    let dir = home.dir().display().to_string();
    if let Some(server) = lock::running(&home)? {
        return Err(CliError::new(format!(
            "a server runs on {dir} (pid {}, {})",
            server.pid, server.address
        ))
        .hint("stop it with `agent-vault server stop`"));
    }
    let there: Vec<&str> = FILES
        .into_iter()
        .filter(|name| home.path(name).exists())
        .collect();
    if !there.contains(&"agent-vault.db") {
        return Err(CliError::new(format!("there are no vaults in {dir}"))
            .hint("another folder is chosen with AGENT_VAULT_HOME"));
    }
    // Opening it is the proof: a master password is asked for where there is one.
    let config = ServerConfig::for_local(&app.env)?;
    let local = crate::commands::server::open_local(app, &config).await?;
    local.opened().close().await;
    drop(local);
    for name in &there {
        app.ui.progress(&format!("  {}", home.path(name).display()));
    }
    if args.dry_run {
        app.ui.note("nothing was erased");
        return Ok(());
    }
    app.ui.confirm_typed(
        &format!(
            "This erases every vault, credential, person and log in {dir}. It cannot be undone."
        ),
        "reset",
        args.yes.yes,
    )?;
    // The key first: without it the rest is noise, also where a disk keeps what was deleted.
    let mut order = there;
    order.sort_by_key(|name| *name != "data.key");
    for name in order {
        match fs::remove_file(home.path(name)) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                return Err(CliError::new(format!(
                    "{} could not be erased: {e}",
                    home.path(name).display()
                ))
                .hint("run the command again once that is mended"));
            }
        }
    }
    app.ui.success(&format!("erased the vaults in {dir}"))?;
    app.ui.note("old backups and copies of the folder are not reached by this; neither are deleted blocks of a disk");
    Ok(())
}
