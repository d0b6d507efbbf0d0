//! `agent-vault agent token`: an agent's own tokens, of which there are several after a rotation with an overlap.

use clap::Subcommand;
use http::Method;

use super::{or_dash, time};
use crate::cli::{App, Output, Yes};
use crate::client::types::AgentTokens;
use crate::client::{ApiPath, Call};
use crate::connect::Connection;
use crate::error::Result;

#[derive(Subcommand)]
pub(super) enum TokenCommand {
    /// List the live tokens of an agent
    #[command(alias = "ls")]
    List {
        /// Name of the agent
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// End one token of an agent: its next request is refused, its open streams end
    Revoke {
        /// Name of the agent
        name: String,
        /// Id from the list
        id: String,
        #[command(flatten)]
        yes: Yes,
    },
}

pub(super) async fn run(app: &App, connection: &Connection, command: TokenCommand) -> Result {
    let tokens = |name: &str| ApiPath::new("/v1/agents").segment(name).literal("/tokens");
    match command {
        TokenCommand::List { name, output } => {
            let reply = connection.send(app, Call::get(tokens(&name))).await?;
            if output.json {
                return app.ui.line(reply.text().trim_end());
            }
            let found: AgentTokens = reply.json()?;
            let rows = found
                .tokens
                .into_iter()
                .map(|token| {
                    vec![
                        token.id,
                        or_dash(&token.label),
                        time(&token.created_at),
                        or_dash(&time(&token.last_used_at)),
                        or_dash(&time(&token.expires_at)),
                    ]
                })
                .collect();
            app.ui.table(
                &["ID", "LABEL", "CREATED", "LAST USED", "EXPIRES"],
                rows,
                "no live tokens; make one with `agent-vault agent rotate <name>`",
            )
        }
        TokenCommand::Revoke { name, id, yes } => {
            app.ui
                .confirm(&format!("End token {id} of agent \"{name}\"?"), yes.yes)?;
            let path = tokens(&name).segment(&id);
            connection
                .send(app, Call::new(Method::DELETE, path))
                .await?;
            app.ui.success(&format!("ended token {id}"))
        }
    }
}
