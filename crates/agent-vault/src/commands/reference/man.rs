//! Manual pages: one for each command, from the same definition as `--help`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::error::{CliError, Result};
use crate::home::write_atomically;

/// A page's file name and text.
pub(super) struct ManPage {
    pub(super) file: String,
    pub(super) text: Vec<u8>,
}

/// Every page, the program's own first.
///
/// # Errors
/// A page that cannot be rendered.
pub(super) fn pages(mut root: clap::Command) -> Result<Vec<ManPage>> {
    root = root.disable_help_subcommand(true);
    root.build();
    let mut found = Vec::new();
    collect(&root, "agent-vault", &mut found)?;
    Ok(found)
}

/// Writes every page into a folder, which is made; the value is the number of pages.
pub(super) fn write(root: clap::Command, folder: &Path) -> Result<usize> {
    std::fs::create_dir_all(folder)
        .map_err(|e| CliError::new(format!("cannot make {}: {e}", folder.display())))?;
    let found = pages(root)?;
    for page in &found {
        let path: PathBuf = folder.join(&page.file);
        write_atomically(&path, &page.text, 0o644)?;
    }
    Ok(found.len())
}

fn collect(command: &clap::Command, path: &str, found: &mut Vec<ManPage>) -> Result {
    found.push(page(command, path)?);
    for child in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        collect(child, &format!("{path} {}", child.get_name()), found)?;
    }
    Ok(())
}

fn page(command: &clap::Command, path: &str) -> Result<ManPage> {
    let name = path.replace(' ', "-");
    let man = Man::new(
        command
            .clone()
            .display_name(name.clone())
            .bin_name(path.to_owned()),
    )
    .title(name.to_uppercase())
    .source(format!("Agent Vault {}", env!("CARGO_PKG_VERSION")))
    .manual("Agent Vault");
    let mut text = Vec::new();
    render(command, path, &man, &mut text)
        .map_err(|e| CliError::new(format!("the page of `{path}` cannot be written: {e}")))?;
    Ok(ManPage {
        file: format!("{name}.1"),
        text,
    })
}

fn render(
    command: &clap::Command,
    path: &str,
    man: &Man,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    if command
        .get_arguments()
        .any(|argument| !argument.is_hide_set())
    {
        man.render_options_section(out)?;
    }
    let children: Vec<_> = command
        .get_subcommands()
        .filter(|child| !child.is_hide_set())
        .collect();
    if !children.is_empty() {
        man.render_subcommands_section(out)?;
    }
    let mut rest = Roff::new();
    if let Some(help) = command
        .get_after_long_help()
        .or_else(|| command.get_after_help())
    {
        // Examples are lines as they are typed: nothing may be filled.
        rest.control("SH", ["EXAMPLES"]);
        rest.control("nf", []);
        let help = help.to_string();
        let heading = |line: &&str| matches!(*line, "Examples:" | "Example:");
        for line in help.lines().skip_while(heading) {
            rest.text([roman(line)]);
        }
        rest.control("fi", []);
    }
    if let Some((parent, _)) = path.rsplit_once(' ') {
        rest.control("SH", ["SEE ALSO"]);
        rest.text([roman(format!("{}(1)", parent.replace(' ', "-")))]);
    }
    rest.to_writer(out)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::{Command, Stdio};

    use super::{pages, write};
    use crate::cli;

    #[test]
    fn every_command_has_a_page_with_its_examples() {
        let found = pages(cli::definition()).unwrap();
        let files: BTreeSet<_> = found.iter().map(|page| page.file.as_str()).collect();
        assert_eq!(files.len(), found.len(), "two pages of one name");
        assert!(files.contains("agent-vault.1"));
        assert!(files.contains("agent-vault-vault-service-add.1"));
        assert!(!files.contains("agent-vault-reference.1"), "hidden");
        let run = found
            .iter()
            .find(|page| page.file == "agent-vault-run.1")
            .unwrap();
        let text = String::from_utf8_lossy(&run.text).into_owned();
        assert!(text.contains(".SH EXAMPLES\n.nf\n"), "{text}");
        assert!(
            text.contains(".SH \"SEE ALSO\"\n") && text.contains("agent\\-vault(1)"),
            "{text}"
        );
    }

    /// Where groff is, it reads every page without a word.
    #[test]
    fn pages_render_without_warnings() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write(cli::definition(), dir.path()).unwrap() > 100);
        if Command::new("groff").arg("--version").output().is_err() {
            return;
        }
        let files = std::fs::read_dir(dir.path()).unwrap();
        let done = Command::new("groff")
            .args(["-Kutf8", "-man", "-Tutf8", "-ww", "-z"])
            .args(files.map(|file| file.unwrap().path()))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && said.is_empty(), "{said}");
    }
}
