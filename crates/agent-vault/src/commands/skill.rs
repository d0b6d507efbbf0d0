//! `agent-vault skill`: the same text that the server gives at `/v1/skills/cli`.

use crate::cli::App;
use crate::error::Result;

pub(crate) fn run(app: &App) -> Result {
    app.ui.data(agent_vault_api::SKILL)
}
