//! `agent-vault vault service enable`, `disable`, `remove` and `clear`.

use http::Method;
use serde_json::json;

use super::plan;
use crate::cli::{App, Target, Yes};
use crate::client::{ApiPath, Call};
use crate::connect::Connection;
use crate::error::{CliError, Result};
use crate::vault_choice::{text_of, vault_path};

fn path(vault: &str, service: &str) -> ApiPath {
    vault_path(vault).literal("/services").segment(service)
}

/// The name, and the host where the name does not say it.
fn called(name: &str, host: &str) -> String {
    if host.is_empty() || host == name {
        name.to_owned()
    } else {
        format!("{name} ({host})")
    }
}

async fn send(
    app: &App,
    connection: &Connection,
    vault: &str,
    call: Call<'_>,
) -> Result<serde_json::Value> {
    match connection.try_send(app, call).await {
        Ok(reply) => reply.value(),
        // The server's own hint names no vault; where the vault is what is missing, it is the better one.
        Err(e) if e.status == 404 && !e.message().starts_with("Vault ") => {
            Err(CliError::new(e.message().to_owned()).hint(format!(
                "`agent-vault vault service list --vault {vault}` shows the services"
            )))
        }
        Err(e) => Err(connection.explain(e)),
    }
}

pub(super) async fn set_enabled(
    app: &App,
    target: &Target,
    service: &str,
    enabled: bool,
    dry_run: bool,
) -> Result {
    let (connection, vault) = super::super::open(app, target).await?;
    let body = json!({"enabled": enabled});
    if dry_run {
        let path = path(&vault, service);
        let planned = plan::ask(app, &connection, Method::PATCH, path, Some(&body)).await?;
        return plan::only(app, &planned);
    }
    let call = Call::new(Method::PATCH, path(&vault, service)).json(&body);
    let answer = send(app, &connection, &vault, call).await?;
    let word = if enabled { "enabled" } else { "disabled" };
    app.ui.success(&format!(
        "{word} {}",
        called(&text_of(&answer, "name"), &text_of(&answer, "host"))
    ))
}

pub(super) async fn remove(
    app: &App,
    target: &Target,
    service: &str,
    dry_run: bool,
    yes: Yes,
) -> Result {
    let (connection, vault) = super::super::open(app, target).await?;
    if dry_run {
        let path = path(&vault, service);
        let planned = plan::ask(app, &connection, Method::DELETE, path, None).await?;
        return plan::only(app, &planned);
    }
    app.ui.confirm(
        &format!("Remove service \"{service}\" from vault \"{vault}\"?"),
        yes.yes,
    )?;
    let answer = send(
        app,
        &connection,
        &vault,
        Call::new(Method::DELETE, path(&vault, service)),
    )
    .await?;
    app.ui.success(&format!(
        "removed {}",
        called(
            &text_of(&answer, "removed"),
            &text_of(&answer, "removed_host")
        )
    ))
}

pub(super) async fn clear(app: &App, target: &Target, dry_run: bool, yes: Yes) -> Result {
    let (connection, vault) = super::super::open(app, target).await?;
    if dry_run {
        let path = vault_path(&vault).literal("/services");
        let planned = plan::ask(app, &connection, Method::DELETE, path, None).await?;
        return plan::only(app, &planned);
    }
    app.ui.confirm(
        &format!("Remove all services of vault \"{vault}\"?"),
        yes.yes,
    )?;
    connection
        .send(
            app,
            Call::new(Method::DELETE, vault_path(&vault).literal("/services")),
        )
        .await?;
    app.ui
        .success(&format!("vault \"{vault}\" has no services now"))
}
