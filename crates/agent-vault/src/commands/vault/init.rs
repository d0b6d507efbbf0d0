//! `agent-vault vault init`.

use crate::cli::{App, Target, Yes};
use crate::error::Result;
use crate::home;

pub(super) async fn run(app: &App, target: &Target, yes: Yes) -> Result {
    let bound = home::project_vault(&app.env);
    // The file that is about to be written must not choose what is written into it.
    let vault = match &target.vault {
        Some(name) => name.clone(),
        None => {
            let (_, vault) = super::open(app, target).await?;
            vault
        }
    };
    match bound {
        Some(bound) if bound == vault => {
            app.ui.note(&format!(
                "this folder is already bound to vault \"{vault}\""
            ));
            return Ok(());
        }
        Some(bound) => app.ui.confirm(
            &format!("This folder is bound to vault \"{bound}\". Bind it to \"{vault}\"?"),
            yes.yes,
        )?,
        None => {}
    }
    home::bind_project(&app.env, &vault)?;
    app.ui.success(&format!(
        "bound {} to vault \"{vault}\"",
        home::project_path(&app.env).display()
    ))
}
