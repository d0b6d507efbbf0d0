//! `agent-vault vault rename`.

use http::Method;
use serde_json::json;

use crate::cli::{App, Target};
use crate::client::Call;
use crate::connect::Connection;
use crate::error::Result;
use crate::home;
use crate::vault_choice::vault_path;

pub(super) async fn run(app: &App, target: &Target, old: &str, new: &str) -> Result {
    let connection = Connection::open(app, target.address.as_deref()).await?;
    let call =
        Call::new(Method::POST, vault_path(old).literal("/rename")).json(&json!({"name": new}));
    connection.send(app, call).await?;
    let place = connection.place_name();
    if connection.home().active_vault(&place)?.as_deref() == Some(old) {
        connection.home().use_vault(new, &place)?;
    }
    if home::project_vault(&app.env).as_deref() == Some(old) {
        app.ui.note("agent-vault.json in this folder still names the old vault; `agent-vault vault init` rewrites it");
    }
    app.ui
        .success(&format!("renamed vault \"{old}\" to \"{new}\""))
}
