//! `agent-vault catalog`: templates of services for well-known hosts.

use agent_vault_control::catalog::TEMPLATES;
use clap::Args;

use crate::cli::{AddressArg, App, Output};
use crate::client::Call;
use crate::client::types::{Catalog, CatalogEntry};
use crate::connect::{Connection, Place, place};
use crate::error::Result;

/// `agent-vault catalog`.
#[derive(Args)]
#[command(after_help = "Example: agent-vault vault service add --preset openai")]
pub(crate) struct CatalogArgs {
    #[command(flatten)]
    address: AddressArg,
    #[command(flatten)]
    output: Output,
}

/// A server's own catalogue, else the one of this program: no local vault is made for it.
pub(crate) async fn run(app: &App, args: CatalogArgs) -> Result {
    let address = args.address.address.as_deref();
    let entries = match place(app, address)? {
        Place::Local if args.output.json => {
            return app.ui.line(agent_vault_api::catalog_document().trim_end());
        }
        Place::Local => TEMPLATES
            .iter()
            .map(|template| CatalogEntry {
                id: template.id.to_owned(),
                name: template.name.to_owned(),
                host: template.host.to_owned(),
                auth_type: template.auth_type().to_owned(),
                suggested_credential_key: template.key.to_owned(),
                substitutions: template
                    .substitutions()
                    .iter()
                    .map(|_| serde_json::Value::Null)
                    .collect(),
            })
            .collect(),
        Place::Server(_) => {
            let connection = Connection::anonymous(app, address).await?;
            let reply = connection
                .send(app, Call::get("/v1/service-catalog"))
                .await?;
            if args.output.json {
                return app.ui.line(reply.text().trim_end());
            }
            reply.json::<Catalog>()?.services
        }
    };
    let rows = entries
        .into_iter()
        .map(|entry| {
            let auth = if entry.substitutions.is_empty() {
                entry.auth_type
            } else {
                format!("{} + substitution", entry.auth_type)
            };
            vec![
                entry.id,
                entry.name,
                entry.host,
                auth,
                entry.suggested_credential_key,
            ]
        })
        .collect();
    app.ui.table(
        &["ID", "NAME", "HOST", "AUTH TYPE", "SUGGESTED KEY"],
        rows,
        "the catalogue is empty",
    )
}
