//! `agent-vault vault`: vaults and what is in them.

mod agent;
mod create;
pub(in crate::commands) mod credential;
mod current;
mod delete;
mod discover;
mod dotenv;
mod hosts;
mod import;
mod init;
mod list;
mod logs;
mod members;
mod membership;
mod oauth;
mod oauth_providers;
mod proposal;
mod rename;
pub(in crate::commands) mod service;
mod settings;
mod store;
mod token;
mod use_vault;
mod user;
mod versions;

use clap::{Args, Subcommand};

use crate::cli::{App, Output, Target, Yes};
use crate::commands::webhook;
use crate::connect::Connection;
use crate::error::Result;
use crate::run;
use crate::vault_choice;

/// `agent-vault vault`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct VaultArgs {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: VaultCommand,
}

#[derive(Subcommand)]
enum VaultCommand {
    /// Run a command whose requests get their credentials on the way out (same as `agent-vault run`)
    Run(run::RunArgs),
    /// Make a vault
    Create {
        /// Name: 3 to 64 of a-z, 0-9 and single hyphens
        name: String,
        /// Where its credentials come from [default: builtin]
        #[arg(long, alias = "credential-store", value_enum, value_name = "KIND")]
        store: Option<store::Kind>,
        #[command(flatten)]
        place: store::PlaceArgs,
        #[command(flatten)]
        output: Output,
    },
    /// List the vaults that you may see
    #[command(alias = "ls")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Delete a vault with everything in it
    #[command(alias = "rm")]
    Delete {
        /// Name
        name: String,
        #[command(flatten)]
        yes: Yes,
    },
    /// Rename a vault; its tokens stay valid
    Rename {
        /// Present name
        old: String,
        /// New name
        new: String,
    },
    /// Become admin of a vault, as an owner of the instance
    Join {
        /// Name
        name: String,
    },
    /// Give up your own role in a vault
    Leave {
        /// Name
        name: String,
        #[command(flatten)]
        yes: Yes,
    },
    /// Choose the vault that commands use
    Use {
        /// Name
        name: String,
    },
    /// Print the vault that commands use, and why
    Current {
        #[command(flatten)]
        output: Output,
    },
    /// Bind the working folder to a vault by `agent-vault.json`
    Init {
        #[command(flatten)]
        yes: Yes,
    },
    /// Mint a token for this vault and print it; list and revoke such tokens
    Token(token::TokenArgs),
    /// Show what the vault brokers
    Discover {
        #[command(flatten)]
        output: Output,
    },
    /// Credentials of the vault
    #[command(alias = "creds")]
    Credential(credential::CredentialArgs),
    /// Services: which host gets which credential, and how
    Service(service::ServiceArgs),
    /// What agents ask to change: raise, see, approve, reject
    Proposal(proposal::ProposalArgs),
    /// Agents of the vault
    Agent(agent::VaultAgentArgs),
    /// People of the vault and their roles
    User(user::VaultUserArgs),
    /// Show and follow the request log
    Logs(logs::LogsArgs),
    /// Show hosts that agents asked for in vain and no service covers
    Hosts(hosts::HostsArgs),
    /// Show and change settings of the vault
    Settings(settings::SettingsArgs),
    /// Webhooks: who is told of proposals, missing credentials, failing services and limits
    Webhook(webhook::WebhookArgs),
    /// Where the vault's credentials come from: typed in, or copied from Infisical
    #[command(alias = "credential-store")]
    Store(store::StoreArgs),
}

pub(crate) async fn run(app: &App, args: VaultArgs) -> Result<u8> {
    let target = args.target;
    match args.command {
        VaultCommand::Run(args) => return run::run(app, &target, args).await,
        VaultCommand::Create {
            name,
            store,
            place,
            output,
        } => {
            let wish = place.wish(store.unwrap_or(store::Kind::Builtin))?;
            create::run(app, &target, &name, &wish, output).await
        }
        VaultCommand::List { output } => list::run(app, &target, output).await,
        VaultCommand::Delete { name, yes } => delete::run(app, &target, &name, yes).await,
        VaultCommand::Rename { old, new } => rename::run(app, &target, &old, &new).await,
        VaultCommand::Join { name } => membership::join(app, &target, &name).await,
        VaultCommand::Leave { name, yes } => membership::leave(app, &target, &name, yes).await,
        VaultCommand::Use { name } => use_vault::run(app, &target, &name).await,
        VaultCommand::Current { output } => current::run(app, &target, output).await,
        VaultCommand::Init { yes } => init::run(app, &target, yes).await,
        VaultCommand::Token(args) => token::run(app, &target, args).await,
        VaultCommand::Discover { output } => discover::run(app, &target, output).await,
        VaultCommand::Credential(args) => credential::run(app, &target, args).await,
        VaultCommand::Service(args) => service::run(app, &target, args).await,
        VaultCommand::Proposal(args) => proposal::run(app, &target, args).await,
        VaultCommand::Agent(args) => agent::run(app, &target, args).await,
        VaultCommand::User(args) => user::run(app, &target, args).await,
        VaultCommand::Logs(args) => logs::run(app, &target, args).await,
        VaultCommand::Hosts(args) => hosts::run(app, &target, args).await,
        VaultCommand::Settings(args) => settings::run(app, &target, args).await,
        VaultCommand::Webhook(args) => {
            let (connection, vault) = open(app, &target).await?;
            webhook::run(app, &connection, &webhook::Scope::Vault(vault), args).await
        }
        VaultCommand::Store(args) => store::run(app, &target, args).await,
    }
    .map(|()| 0)
}

/// Connects and applies the vault rule, as most commands here do.
pub(super) async fn open(app: &App, target: &Target) -> Result<(Connection, String)> {
    let connection = Connection::open(app, target.address.as_deref()).await?;
    let vault = vault_choice::choose(app, &connection, target.vault.as_deref())
        .await?
        .name;
    Ok((connection, vault))
}
