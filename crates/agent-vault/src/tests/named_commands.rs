//! Every command that a page, a help text, a hint or a message names can be typed.

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Files below `folder` with that ending, this folder of tests left out.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            files(&path, ending, found);
        } else if path.extension().is_some_and(|e| e == ending) {
            found.push(path);
        }
    }
}

/// The commands in a text: between back quotes, and whole lines of examples.
pub(super) fn named(text: &str) -> Vec<String> {
    // A string in the source may go on in the next line.
    let mut joined = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut line = line.to_owned();
        while let Some(start) = line.strip_suffix('\\') {
            line = format!("{start}{}", lines.next().unwrap_or_default().trim_start());
        }
        joined.push_str(&line);
        joined.push('\n');
    }
    let quoted = joined
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|part| part.starts_with("agent-vault ") && !part.contains('\n'));
    let lines = joined
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("agent-vault ") && !line.contains('`'));
    quoted.chain(lines).map(str::to_owned).collect()
}

/// The words up to what belongs to a shell or to the reader.
pub(super) fn words(command: &str) -> Vec<String> {
    let command = command.replace("\\\"", "\"");
    let end = [
        "  ", " # ", " | ", " > ", " < ", "; ", " && ", r#"", "#, r#""))"#,
    ]
    .iter()
    .filter_map(|stop| command.find(stop))
    .min()
    .unwrap_or(command.len());
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in command.get(..end).unwrap_or(&command).chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') if !word.is_empty() => words.push(std::mem::take(&mut word)),
            (None, ' ') => {}
            _ => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !matches!(word.as_str(), "" | "…" | "..."));
    words
}

#[test]
fn w46_w50_every_command_that_is_named_exists() {
    let mut sources = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    files(&root().join("docs"), "md", &mut sources);
    for folder in std::fs::read_dir(root().join("crates")).unwrap() {
        files(&folder.unwrap().path().join("src"), "rs", &mut sources);
    }
    let mut checked = 0;
    let mut wrong = Vec::new();
    for source in sources {
        // Its lines are cut at a width, and it is made from the definition anyway.
        if source.ends_with("docs/cli.md") {
            continue;
        }
        for command in named(&std::fs::read_to_string(&source).unwrap()) {
            checked += 1;
            let Err(error) = crate::cli::definition().try_get_matches_from(words(&command)) else {
                continue;
            };
            if matches!(
                error.kind(),
                ErrorKind::UnknownArgument
                    | ErrorKind::InvalidSubcommand
                    | ErrorKind::ArgumentConflict
            ) {
                wrong.push(format!("{}: `{command}`", source.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 100, "only {checked} commands were found");
}
