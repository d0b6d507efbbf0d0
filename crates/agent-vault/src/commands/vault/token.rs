//! `agent-vault vault token`: tokens that open one vault's proxy for a while.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use crate::cli::{App, Output, Target, Yes};
use crate::client::types::{Minted, ScopedSessions};
use crate::client::{ApiPath, Call};
use crate::commands::{or_dash, time};
use crate::confine::{self, Confine};
use crate::error::{CliError, Result};

/// `agent-vault vault token`.
#[derive(Args)]
#[command(after_help = "Examples:
  AGENT_VAULT_TOKEN=$(agent-vault vault token --ttl 3600 --label nightly)
  agent-vault vault token --services github,stripe --budget 500 --source 10.20.0.0/16")]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: Option<TokenCommand>,
    /// Life in seconds, 300 to 604800, 0 for the default [default: 86400]
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u64>,
    /// What the token is called in lists and logs
    #[arg(long)]
    label: Option<String>,
    #[command(flatten)]
    confine: Confine,
    /// Networks or addresses that the token may be used from
    #[arg(long = "source", value_name = "NETWORK", value_delimiter = ',')]
    sources: Vec<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Subcommand)]
enum TokenCommand {
    /// List live tokens of the vault
    #[command(alias = "ls")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Revoke a token: its next request is refused, its open streams end
    Revoke {
        /// Id from the list
        id: String,
        #[command(flatten)]
        yes: Yes,
    },
}

pub(super) async fn run(app: &App, target: &Target, args: TokenArgs) -> Result {
    // Not left to clap, for which the inherited `--vault` would count as well.
    let for_new = args.ttl.is_some()
        || args.label.is_some()
        || args.confine.is_given()
        || !args.sources.is_empty();
    if args.command.is_some() && for_new {
        return Err(CliError::usage(
            "`--ttl`, `--label`, `--services`, `--budget` and `--source` are for a new token, not for `list` or `revoke`",
        ));
    }
    let (connection, vault) = super::open(app, target).await?;
    match args.command {
        None => {
            let mut body = serde_json::Map::new();
            body.insert("vault".to_owned(), json!(vault));
            if let Some(ttl) = args.ttl.filter(|ttl| *ttl != 0) {
                body.insert("ttl_seconds".to_owned(), json!(ttl));
            }
            if let Some(label) = args.label {
                body.insert("label".to_owned(), json!(label));
            }
            args.confine.put(&mut body);
            if !args.sources.is_empty() {
                body.insert("sources".to_owned(), json!(args.sources));
            }
            let reply = connection
                .send(app, Call::new(Method::POST, "/v1/sessions").json(&body))
                .await?;
            if args.output.json {
                return app.ui.line(reply.text().trim_end());
            }
            let minted: Minted = reply.json()?;
            app.ui.data(&minted.token)
        }
        Some(TokenCommand::List { output }) => {
            let reply = connection
                .send(
                    app,
                    Call::get(ApiPath::new("/v1/sessions").query("vault", &vault)),
                )
                .await?;
            if output.json {
                return app.ui.line(reply.text().trim_end());
            }
            let found: ScopedSessions = reply.json()?;
            let rows = found
                .sessions
                .into_iter()
                .map(|s| {
                    let confined = confine::shown(&s);
                    let by = s.created_by.map(|c| c.display_name).unwrap_or_default();
                    vec![
                        s.id,
                        or_dash(&s.label),
                        s.vault_role,
                        or_dash(&by),
                        time(&s.created_at),
                        or_dash(&time(&s.last_used_at)),
                        or_dash(&time(&s.expires_at)),
                        or_dash(&confined),
                    ]
                })
                .collect();
            app.ui.table(
                &[
                    "ID",
                    "LABEL",
                    "ROLE",
                    "CREATED BY",
                    "CREATED",
                    "LAST USED",
                    "EXPIRES",
                    "CONFINED TO",
                ],
                rows,
                "no live tokens",
            )
        }
        Some(TokenCommand::Revoke { id, yes }) => {
            app.ui
                .confirm(&format!("Revoke token {id} of vault \"{vault}\"?"), yes.yes)?;
            let path = ApiPath::new("/v1/sessions")
                .segment(&id)
                .query("vault", &vault);
            connection
                .send(app, Call::new(Method::DELETE, path))
                .await?;
            app.ui.success(&format!("revoked token {id}"))
        }
    }
}
