//! `agent-vault reference`: the pages under `docs/` that are generated from declarations.

mod man;

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::{self, App};
use crate::env_vars;
use crate::error::{CliError, Result};

/// Width of the help texts on the page, whatever the terminal's.
const WIDTH: usize = 100;

/// `agent-vault reference`.
#[derive(Args)]
pub(crate) struct ReferenceArgs {
    /// Which page
    #[arg(value_enum)]
    page: Page,
    /// Folder that the manual pages are written to
    #[arg(long, value_name = "DIR", required_if_eq("page", "man"))]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Page {
    /// Every command with its flags
    Cli,
    /// Every environment variable
    Environment,
    /// A manual page for each command
    Man,
}

pub(crate) fn run(app: &App, args: ReferenceArgs) -> Result {
    match (args.page, args.out) {
        (Page::Cli, None) => app.ui.data(&commands()),
        (Page::Environment, None) => app.ui.data(&environment()),
        (Page::Man, Some(folder)) => {
            let folder = app.env.cwd().join(folder);
            let count = man::write(cli::definition(), &folder)?;
            app.ui.success(&format!(
                "wrote {count} manual pages to {}",
                folder.display()
            ))
        }
        (Page::Cli | Page::Environment, Some(_)) => Err(CliError::usage(
            "this page goes to stdout; `--out` is for `man`",
        )),
        (Page::Man, None) => Err(CliError::usage("manual pages need `--out`")),
    }
}

fn environment() -> String {
    format!(
        "# Environment variables\n\nGenerated: `agent-vault reference environment > docs/environment.md`. Flags win over these, these \
         over `config.toml` in the data folder. A value that cannot be read is an error.\n\n{}",
        env_vars::markdown()
    )
}

fn commands() -> String {
    let mut out =
        String::from("# Commands\n\nGenerated: `agent-vault reference cli > docs/cli.md`.\n");
    let mut root = cli::definition().term_width(WIDTH);
    root.build();
    describe(&root, "agent-vault", &mut out);
    out
}

fn describe(command: &clap::Command, path: &str, out: &mut String) {
    let help = command.clone().term_width(WIDTH).render_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _ = write!(
        out,
        "\n## `{path}`\n\n```text\n{}\n```\n",
        help.join("\n").trim()
    );
    for child in command
        .get_subcommands()
        .filter(|c| !c.is_hide_set() && c.get_name() != "help")
    {
        describe(child, &format!("{path} {}", child.get_name()), out);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checked_in_pages_are_up_to_date() {
        for (page, text, checked_in) in [
            (
                "cli",
                super::commands(),
                include_str!("../../../../../docs/cli.md"),
            ),
            (
                "environment",
                super::environment(),
                include_str!("../../../../../docs/environment.md"),
            ),
        ] {
            assert!(
                text == checked_in,
                "run `agent-vault reference {page} > docs/{page}.md`"
            );
        }
    }
}
