//! `agent-vault environment`: the reference table of environment variables, generated from their declaration.

use crate::cli::App;
use crate::env_vars;
use crate::error::Result;

pub(crate) fn run(app: &App) -> Result {
    app.ui.data(&env_vars::markdown())
}
