//! `agent-vault vault create`.

use http::Method;
use serde_json::{Value, json};

use crate::cli::{App, Output, Target};
use crate::client::Call;
use crate::client::types::Vault;
use crate::connect::Connection;
use crate::error::Result;
use crate::vault_choice::text_of;

pub(super) async fn run(
    app: &App,
    target: &Target,
    name: &str,
    store: &Value,
    output: Output,
) -> Result {
    let connection = Connection::open(app, target.address.as_deref()).await?;
    let kind = text_of(store, "kind");
    let mut body = json!({"name": name});
    if let (true, Some(fields)) = (kind != "builtin", body.as_object_mut()) {
        fields.insert("credential_store".to_owned(), store.clone());
    }
    let call = Call::new(Method::POST, "/v1/vaults").json(&body);
    let reply = connection.send(app, call).await?;
    if output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let vault: Vault = reply.json()?;
    app.ui
        .success(&format!("created vault \"{}\"", vault.name))?;
    app.ui.field("Id", &vault.id)?;
    app.ui.field("Store", &kind)?;
    app.ui.note(&format!(
        "use it with `agent-vault vault use {}`",
        vault.name
    ));
    Ok(())
}
