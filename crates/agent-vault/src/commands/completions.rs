//! `agent-vault completions <shell>`.

use crate::cli::{self, App};
use crate::error::Result;

#[derive(clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell to write for
    shell: clap_complete::Shell,
}

pub(crate) fn run(app: &App, args: CompletionsArgs) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut cli::definition(),
        "agent-vault",
        &mut script,
    );
    app.ui.bytes(&script)
}
