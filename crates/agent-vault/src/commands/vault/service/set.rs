//! `agent-vault vault service set`: replaces the list, says before what that changes, and then does that or nothing.

use std::path::Path;

use http::Method;
use serde_json::json;

use super::{file, plan};
use crate::cli::{App, Target, Yes};
use crate::client::Call;
use crate::error::Result;
use crate::vault_choice::vault_path;

pub(super) async fn run(
    app: &App,
    target: &Target,
    path: &Path,
    dry_run: bool,
    yes: Yes,
) -> Result {
    // The file is right before anybody is asked anything.
    let drafts = file::read(app, path, file::Names::Required)?;
    let body = json!({"services": file::wire(&drafts)?});
    let (connection, vault) = super::super::open(app, target).await?;
    let services = vault_path(&vault).literal("/services");
    let planned = plan::ask(app, &connection, Method::PUT, services.clone(), Some(&body)).await?;
    if dry_run {
        return plan::only(app, &planned);
    }
    plan::show(app, &planned);
    let removed = planned
        .changes
        .iter()
        .filter(|change| change.after.is_none())
        .count();
    if removed > 0 {
        let question = format!("This removes {removed} of the services of vault \"{vault}\".");
        app.ui.confirm(&question, yes.yes)?;
    }
    let call = Call::new(Method::PUT, services)
        .json(&body)
        .if_match(planned.revision);
    connection.send(app, call).await?;
    app.ui.success(&format!(
        "vault \"{vault}\" has {} services",
        planned.services_count
    ))
}
