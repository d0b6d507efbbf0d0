//! `agent-vault vault delete`.

use http::Method;

use crate::cli::{App, Target, Yes};
use crate::client::Call;
use crate::connect::Connection;
use crate::error::Result;
use crate::vault_choice::vault_path;

pub(super) async fn run(app: &App, target: &Target, name: &str, yes: Yes) -> Result {
    let connection = Connection::open(app, target.address.as_deref()).await?;
    app.ui.confirm_typed(
        &format!("This deletes vault \"{name}\" with its credentials, services, tokens and log. It cannot be undone."),
        name,
        yes.yes,
    )?;
    connection
        .send(app, Call::new(Method::DELETE, vault_path(name)))
        .await?;
    let place = connection.place_name();
    if connection.home().active_vault(&place)?.as_deref() == Some(name) {
        connection.home().forget_vault()?;
    }
    app.ui.success(&format!("deleted vault \"{name}\""))
}
