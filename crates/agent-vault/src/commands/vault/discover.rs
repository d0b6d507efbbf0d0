//! `agent-vault vault discover`.

use serde_json::json;

use crate::cli::{App, Output, Target};
use crate::client::types::{Credentials, Discovery, Services};
use crate::client::{ApiPath, Call};
use crate::connect::{Connection, Identity};
use crate::error::Result;
use crate::vault_choice::{self, vault_path};

/// An agent asks `/discover`. A person has no vault scope there, so the same picture is made of what a person may read.
pub(super) async fn run(app: &App, target: &Target, output: Output) -> Result {
    let connection = Connection::open(app, target.address.as_deref()).await?;
    let (raw, found) = if connection.identity == Identity::Agent {
        let named = vault_choice::named(app, &connection, target.vault.as_deref())?.map(|c| c.name);
        let reply = connection
            .send(app, Call::get("/discover").vault(named.as_deref()))
            .await?;
        (reply.text(), reply.json::<Discovery>()?)
    } else {
        let vault = vault_choice::choose(app, &connection, target.vault.as_deref())
            .await?
            .name;
        let services: Services = connection
            .send(app, Call::get(vault_path(&vault).literal("/services")))
            .await?
            .json()?;
        let path = ApiPath::new("/v1/credentials").query("vault", &vault);
        let credentials: Credentials = connection.send(app, Call::get(path)).await?.json()?;
        let services: Vec<_> = services
            .services
            .iter()
            .map(|s| json!({"name": s.get("name"), "host": s.get("host"), "enabled": s.get("enabled")}))
            .collect();
        let value = json!({"vault": vault, "services": services, "available_credentials": credentials.keys});
        let found = serde_json::from_value(value.clone()).unwrap_or_default();
        (value.to_string(), found)
    };
    if output.json {
        return app.ui.line(raw.trim_end());
    }
    app.ui.field("Vault", &found.vault)?;
    let rows = found
        .services
        .into_iter()
        .map(|s| {
            vec![
                s.name,
                s.host,
                String::from(if s.enabled == Some(false) {
                    "disabled"
                } else {
                    ""
                }),
            ]
        })
        .collect();
    app.ui.table(
        &["NAME", "HOST", "STATUS"],
        rows,
        "no services: nothing is brokered",
    )?;
    if found.available_credentials.is_empty() {
        app.ui.note("no credentials");
        return Ok(());
    }
    app.ui
        .field("Credentials", &found.available_credentials.join(", "))
}
