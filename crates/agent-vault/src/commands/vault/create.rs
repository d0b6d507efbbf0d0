//! `agent-vault vault create`.

use http::Method;
use serde_json::json;

use crate::cli::{App, Output, Target};
use crate::client::Call;
use crate::client::types::Vault;
use crate::connect::Connection;
use crate::error::Result;

pub(super) async fn run(app: &App, target: &Target, name: &str, output: Output) -> Result {
    let connection = Connection::open(app, target.address.as_deref()).await?;
    let call = Call::new(Method::POST, "/v1/vaults").json(&json!({"name": name}));
    let reply = connection.send(app, call).await?;
    if output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let vault: Vault = reply.json()?;
    app.ui
        .success(&format!("created vault \"{}\"", vault.name))?;
    app.ui.field("Id", &vault.id)?;
    app.ui.note(&format!(
        "use it with `agent-vault vault use {}`",
        vault.name
    ));
    Ok(())
}
