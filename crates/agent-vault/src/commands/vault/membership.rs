//! `agent-vault vault join` and `leave`: one's own role in a vault.

use http::Method;

use crate::cli::{App, Target, Yes};
use crate::client::Call;
use crate::connect::Connection;
use crate::error::Result;
use crate::vault_choice::vault_path;

/// For owners of the instance, who see every vault but may not look into those that they are not in.
pub(super) async fn join(app: &App, target: &Target, name: &str) -> Result {
    let connection = Connection::open(app, target.address.as_deref()).await?;
    let path = vault_path(name).literal("/join");
    connection.send(app, Call::new(Method::POST, path)).await?;
    app.ui
        .success(&format!("you are admin of vault \"{name}\""))
}

pub(super) async fn leave(app: &App, target: &Target, name: &str, yes: Yes) -> Result {
    let connection = Connection::open(app, target.address.as_deref()).await?;
    app.ui.confirm(
        &format!("Give up your role in vault \"{name}\", and the vault tokens that you minted?"),
        yes.yes,
    )?;
    let path = vault_path(name).literal("/leave");
    connection.send(app, Call::new(Method::POST, path)).await?;
    let place = connection.place_name();
    if connection.home().active_vault(&place)?.as_deref() == Some(name) {
        connection.home().forget_vault()?;
    }
    app.ui.success(&format!("left vault \"{name}\""))
}
