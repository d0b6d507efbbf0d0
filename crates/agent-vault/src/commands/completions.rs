//! `agent-vault completions <shell>`.

use crate::cli::{self, App};
use crate::complete;
use crate::error::Result;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  agent-vault completions bash > ~/.local/share/bash-completion/completions/agent-vault
  agent-vault completions zsh > \"${fpath[1]}/_agent-vault\"
  agent-vault completions fish > ~/.config/fish/completions/agent-vault.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell to write for
    shell: clap_complete::Shell,
    /// Complete commands and flags alone, without asking the program for names of vaults, services and the like
    #[arg(long = "static")]
    fixed: bool,
}

pub(crate) fn run(app: &App, args: CompletionsArgs) -> Result {
    if !args.fixed {
        return app.ui.bytes(&complete::registration(args.shell)?);
    }
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut cli::definition(),
        "agent-vault",
        &mut script,
    );
    app.ui.bytes(&script)
}
