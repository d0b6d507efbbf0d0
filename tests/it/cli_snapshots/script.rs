//! The script: what is typed, by whom, in which order.

use std::path::Path;

/// Who types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Owner,
    Bob,
    Agent,
    Local,
}

impl Who {
    pub(super) fn name(self) -> &'static str {
        match self {
            Who::Owner => "owner",
            Who::Bob => "bob",
            Who::Agent => "agent",
            Who::Local => "local",
        }
    }
}

/// A value to remember from a command's stdout.
#[derive(Debug, Clone)]
pub(super) struct Capture {
    pub(super) name: String,
    /// A JSON pointer; `-` for all of it.
    pub(super) pointer: String,
}

/// One step.
#[derive(Debug)]
pub(super) enum Step {
    File {
        who: Who,
        name: String,
        text: String,
    },
    Command {
        file: String,
        who: Who,
        words: Vec<String>,
        stdin: Option<String>,
        capture: Option<Capture>,
    },
}

/// Reads the script; a line that is none fails the test.
pub(super) fn read(path: &Path) -> Vec<Step> {
    let text = std::fs::read_to_string(path).expect("the script");
    let (mut file, mut who) = (String::new(), Who::Local);
    let (mut stdin, mut capture) = (None, None);
    let mut steps = Vec::new();
    for line in text.lines() {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        match kind {
            "" | "#" => {}
            "==" => file = rest.to_owned(),
            "@owner" => who = Who::Owner,
            "@bob" => who = Who::Bob,
            "@agent" => who = Who::Agent,
            "@local" => who = Who::Local,
            "<" => stdin = Some(rest.replace("\\n", "\n")),
            "$" => steps.push(Step::Command {
                file: file.clone(),
                who,
                words: words(rest),
                stdin: stdin.take(),
                capture: capture.take(),
            }),
            "file" => {
                let (name, text) = rest.split_once(' ').expect("a name and a text");
                steps.push(Step::File {
                    who,
                    name: name.to_owned(),
                    text: text.replace("\\n", "\n"),
                });
            }
            _ => match kind.strip_prefix('=') {
                Some(name) => {
                    capture = Some(Capture {
                        name: name.to_owned(),
                        pointer: rest.to_owned(),
                    });
                }
                None if kind.starts_with('#') => {}
                None => panic!("not a line of a script: {line}"),
            },
        }
    }
    steps
}

/// Words as a shell splits them: quotes keep spaces, nothing else is special.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut begun, mut quote) = (String::new(), false, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                begun = true;
            }
            (None, ' ') if begun => {
                words.push(std::mem::take(&mut word));
                begun = false;
            }
            (None, ' ') => {}
            _ => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

/// Words as they would be typed.
pub(super) fn typed(words: &[String]) -> String {
    let word = |word: &String| {
        if word.is_empty() || word.contains([' ', '"', '$', '\'']) && !word.starts_with("${") {
            format!("'{word}'")
        } else {
            word.clone()
        }
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// What a command printed at a pointer.
pub(super) fn captured(stdout: &str, pointer: &str) -> Option<String> {
    if pointer == "-" {
        return Some(stdout.trim().to_owned());
    }
    let value: serde_json::Value = serde_json::from_str(stdout).ok()?;
    match value.pointer(pointer)? {
        serde_json::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
