//! The command line: what can be typed, and the way from there to an exit code.

use std::ffi::OsString;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::commands::{
    account, agent, apply, audit, auth, backup, ca, catalog, completions, key, master_password,
    owner, profile, reference, server, skill, status, user, vault, version,
};
use crate::env::Env;
use crate::error::{FAILURE, Result, USAGE};
use crate::profile::ProfileName;
use crate::run;
use crate::server::Opened;
use crate::ui::Ui;

/// How long a command waits for the local vault to close.
const CLOSING: Duration = Duration::from_secs(5);

/// What every command gets: the environment and the terminal.
pub(crate) struct App {
    pub(crate) env: Env,
    pub(crate) ui: Ui,
    /// What `--profile` names.
    profile: OnceLock<ProfileName>,
    /// The local vaults that the command has open; they end with it.
    opened: Mutex<Vec<Opened>>,
}

impl App {
    pub(crate) fn new(env: Env, ui: Ui) -> App {
        App {
            env,
            ui,
            profile: OnceLock::new(),
            opened: Mutex::default(),
        }
    }

    /// What `--profile` names.
    pub(crate) fn profile(&self) -> Option<&ProfileName> {
        self.profile.get()
    }

    /// Has a local vault closed when the command ends, however it ends.
    pub(crate) fn close_at_end(&self, opened: Opened) {
        let mut all = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(opened);
    }

    /// Closes what the command has open, within bounds.
    async fn close(&self) {
        let all = {
            let mut all = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *all)
        };
        let closing = async {
            for opened in all {
                opened.close().await;
            }
        };
        if tokio::time::timeout(CLOSING, closing).await.is_err() {
            self.ui.warn(&format!(
                "the local vault was not closed within {} s; nothing that was acknowledged is lost",
                CLOSING.as_secs()
            ));
        }
    }
}

/// Credentials for agents that never hold them: server, proxy and command line in one.
#[derive(Parser)]
#[command(
    name = "agent-vault",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:
  agent-vault vault credential set OPENAI_API_KEY
  agent-vault vault service add --host api.openai.com --auth-type bearer --token-key OPENAI_API_KEY
  agent-vault run -- python agent.py
  agent-vault server"
)]
struct Cli {
    /// Accepted for compatibility: this program reports nothing to anyone.
    #[arg(long, global = true, hide = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    telemetry: Option<bool>,
    /// Profile whose saved login and vault are used; see `agent-vault profile` [env: AGENT_VAULT_PROFILE]
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<ProfileName>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a command whose requests get their credentials on the way out
    Run {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        args: run::RunArgs,
    },
    /// Start the server and the proxy, or stop them
    Server(server::ServerArgs),
    /// Show server, proxy, vault and who you are, on one screen
    Status {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        output: Output,
    },
    /// Log in, register, log out, and see where you are logged in
    Auth(auth::AuthArgs),
    /// Logins at several servers, each under a name
    Profile(profile::ProfileArgs),
    /// See and change your own account
    Account(account::AccountArgs),
    /// Vaults and all that is in them: credentials, services, agents, tokens, logs
    Vault(vault::VaultArgs),
    /// Agents of this instance and their tokens
    Agent(agent::AgentArgs),
    /// Make vaults, services, agents, grants and settings as a file declares them
    Apply(apply::ApplyArgs),
    /// Print vaults as a declaration for `apply`, without values
    Export(apply::ExportArgs),
    /// People of the instance, and invitations
    User(user::UserArgs),
    /// What owners of the instance do: people, vaults, settings, mail, reset
    Owner(owner::OwnerArgs),
    /// The record of management actions: read, check, export
    Audit(audit::AuditArgs),
    /// The data key that seals every stored value
    Key(key::KeyArgs),
    /// Set, change or remove the master password of a stopped server
    MasterPassword(master_password::MasterPasswordArgs),
    /// Write the whole vault of this machine into one file
    Backup(backup::BackupArgs),
    /// Make a data folder out of a backup
    Restore(backup::RestoreArgs),
    /// The certificate authority of the proxy
    Ca(ca::CaArgs),
    /// Templates of services for well-known hosts
    Catalog(catalog::CatalogArgs),
    /// Print what agents are taught about this program, as Markdown
    Skill,
    /// Print version and build
    Version {
        #[command(flatten)]
        output: Output,
    },
    /// Print a shell completion script
    Completions(completions::CompletionsArgs),
    /// Print a page of the reference
    #[command(hide = true)]
    Reference(reference::ReferenceArgs),
}

/// Which server, and which vault of it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Target {
    /// Vault to use [env: AGENT_VAULT_VAULT]
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) vault: Option<String>,
    /// Server to use; without one, the local vault [env: AGENT_VAULT_ADDR]
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) address: Option<String>,
}

/// Which server.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AddressArg {
    /// Server to use; without one, the local vault [env: AGENT_VAULT_ADDR]
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) address: Option<String>,
}

/// For people or for programs.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Output {
    /// Print JSON instead of text for people: the server's answer, where it is one
    #[arg(long)]
    pub(crate) json: bool,
}

/// Skips the question before something that cannot be undone.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Yes {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// The definition of the command line, for completions and tests.
pub(crate) fn definition() -> clap::Command {
    Cli::command()
}

/// Runs one command line; the value is the exit code.
pub(crate) fn main(args: Vec<OsString>, env: Env, ui: Ui) -> u8 {
    let cli = match parse(args, &ui) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let mut builder = if matches!(
        cli.command,
        Command::Server(_) | Command::Run { .. } | Command::Vault(_)
    ) {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let app = App::new(env, ui);
    match builder.enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(execute(cli, &app));
            // A blocking read that nobody waits for any more must not keep the process.
            runtime.shutdown_background();
            code
        }
        Err(e) => {
            app.ui
                .error(&crate::error::CliError::new(format!("cannot start: {e}")));
            FAILURE
        }
    }
}

/// Like [`main`], inside a runtime.
pub(crate) async fn run_line(args: &[&str], app: &App) -> u8 {
    let args = std::iter::once("agent-vault")
        .chain(args.iter().copied())
        .map(OsString::from)
        .collect();
    match parse(args, &app.ui) {
        Ok(cli) => execute(cli, app).await,
        Err(code) => code,
    }
}

fn parse(args: Vec<OsString>, ui: &Ui) -> std::result::Result<Cli, u8> {
    use clap::error::ErrorKind;
    Cli::try_parse_from(args).map_err(|error| {
        let text = error.render().ansi().to_string();
        match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                ui.data(&text).map_or_else(|e| e.code(), |()| 0)
            }
            _ => {
                ui.progress(text.trim_end());
                USAGE
            }
        }
    })
}

async fn execute(cli: Cli, app: &App) -> u8 {
    let _ = cli.telemetry;
    if let Some(name) = cli.profile {
        let _ = app.profile.set(name);
    }
    let result: Result<u8> = match cli.command {
        Command::Run { target, args } => Box::pin(run::run(app, &target, args)).await,
        Command::Vault(args) => Box::pin(vault::run(app, args)).await,
        Command::Server(args) => Box::pin(server::run(app, args)).await.map(|()| 0),
        Command::Status { target, output } => Box::pin(status::run(app, &target, output))
            .await
            .map(|()| 0),
        Command::Auth(args) => Box::pin(auth::run(app, args)).await.map(|()| 0),
        Command::Profile(args) => Box::pin(profile::run(app, args)).await.map(|()| 0),
        Command::Account(args) => Box::pin(account::run(app, args)).await.map(|()| 0),
        Command::Agent(args) => Box::pin(agent::run(app, args)).await.map(|()| 0),
        Command::Apply(args) => Box::pin(apply::run(app, args)).await,
        Command::Export(args) => Box::pin(apply::export(app, args)).await.map(|()| 0),
        Command::User(args) => Box::pin(user::run(app, args)).await.map(|()| 0),
        Command::Owner(args) => Box::pin(owner::run(app, args)).await.map(|()| 0),
        Command::Audit(args) => Box::pin(audit::run(app, args)).await.map(|()| 0),
        Command::Key(args) => Box::pin(key::run(app, args)).await.map(|()| 0),
        Command::MasterPassword(args) => {
            Box::pin(master_password::run(app, args)).await.map(|()| 0)
        }
        Command::Backup(args) => Box::pin(backup::backup(app, args)).await.map(|()| 0),
        Command::Restore(args) => Box::pin(backup::restore(app, args)).await.map(|()| 0),
        Command::Ca(args) => Box::pin(ca::run(app, args)).await.map(|()| 0),
        Command::Catalog(args) => Box::pin(catalog::run(app, args)).await.map(|()| 0),
        Command::Skill => skill::run(app).map(|()| 0),
        Command::Version { output } => version::run(app, output).map(|()| 0),
        Command::Completions(args) => completions::run(app, args).map(|()| 0),
        Command::Reference(args) => reference::run(app, args).map(|()| 0),
    };
    app.close().await;
    match result {
        Ok(code) => code,
        Err(error) => {
            app.ui.error(&error);
            error.code()
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_definition_is_consistent() {
        super::definition().debug_assert();
    }
}
