//! Everything that the command line prints, in one scripted world: text, JSON, failures and exit codes.
//!
//! The script and what it prints lie in `crates/agent-vault/tests/snapshots`; what differs from run to run is masked. The page
//! docs/cli.md, which another test holds to the program's own definition, says which commands there are, so none is forgotten.

mod mask;
mod script;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use agent_vault_testing::Home;

use crate::stage::instance::Instance;
use crate::stage::process::{Outcome, Run};
use mask::Mask;
use script::{Capture, Step, Who};

/// Nobody listens here: the port is one that only root may open, and it has no service.
const NOWHERE: &str = "http://127.0.0.1:1";

/// How to write the snapshots anew.
const UPDATE: &str = "UPDATE=1 cargo test -p agent-vault-tests cli_snapshots";

/// Commands that the script does not show succeeding, and where else they do.
const SUCCEED_ELSEWHERE: [(&str, &str); 17] = [
    ("server", "runs until it is stopped: server_command"),
    ("server stop", "server_command::in_the_background"),
    (
        "auth register",
        "every instance of these tests begins with it",
    ),
    (
        "auth verify",
        "needs mail: people::codes_and_invitations_by_mail",
    ),
    ("auth device show", "needs a device that waits: people"),
    ("auth device approve", "needs a device that waits: people"),
    ("auth device deny", "needs a device that waits: people"),
    (
        "account totp enable",
        "needs the code of this minute: people",
    ),
    (
        "account totp disable",
        "needs the code of this minute: people",
    ),
    (
        "owner email test",
        "needs mail: people::codes_and_invitations_by_mail",
    ),
    ("vault proposal review", "asks: needs a terminal"),
    (
        "account delete",
        "tests::auth of the program: w12_an_account_that_is_deleted_is_forgotten_here_too",
    ),
    (
        "owner user remove-totp",
        "needs somebody with a second factor: people",
    ),
    ("vault store connect", "needs an Infisical: stores"),
    ("vault store sync", "needs an Infisical: stores"),
    ("vault webhook test", "needs a receiver: webhooks"),
    ("owner webhook test", "needs a receiver: webhooks"),
];

/// Commands that cannot fail but by a word that nobody knows.
const CANNOT_FAIL: [(&str, &str); 8] = [
    ("status", "what is wrong is what it tells"),
    ("version", "reads nothing"),
    ("skill", "reads nothing"),
    ("catalog", "reads nothing"),
    ("profile list", "what is wrong is what it tells"),
    ("owner reset", "shown in `local`"),
    ("auth logout", "whoever is not logged in is told so"),
    ("vault proposal review", "shown in `proposals`"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/agent-vault/tests/snapshots")
}

/// One command of docs/cli.md that does something, and whether it has `--json`.
fn commands() -> BTreeMap<String, bool> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let page = std::fs::read_to_string(page).expect("a page");
    let sections = page.split("\n## `agent-vault").skip(1);
    sections
        .filter_map(|section| {
            let (name, text) = section.split_once("`\n")?;
            // A noun alone does nothing, unless its own usage says so.
            let acts = text
                .lines()
                .filter(|line| line.contains("Usage:"))
                .any(|line| !line.ends_with("<COMMAND>"));
            let name = name.trim().to_owned();
            (acts && !name.is_empty()).then(|| (name, text.contains("--json")))
        })
        .collect()
}

/// The command that a line types: the longest that its words begin with, flags before the verb left aside.
fn command_of<'c>(commands: &'c BTreeMap<String, bool>, words: &[String]) -> Option<&'c str> {
    let typed = words.join(" ");
    commands
        .keys()
        .filter(|name| typed == **name || typed.starts_with(&format!("{name} ")))
        .max_by_key(|name| name.len())
        .map(String::as_str)
}

/// The people of the world.
struct World {
    instance: Instance,
    bob: Home,
    agent: Home,
    local: Home,
    known: BTreeMap<String, String>,
}

impl World {
    fn new() -> Self {
        // The script types faster than a person, and what it shows must not hang on how fast.
        let instance = Instance::builder()
            .env("AGENT_VAULT_RATELIMIT_AUTHED_BURST", "100000")
            .start();
        instance.register();
        Self {
            instance,
            bob: Home::new(),
            agent: Home::new(),
            local: Home::new(),
            known: BTreeMap::new(),
        }
    }

    fn home(&self, who: Who) -> &Home {
        match who {
            Who::Owner => self.instance.home(),
            Who::Bob => &self.bob,
            Who::Agent => &self.agent,
            Who::Local => &self.local,
        }
    }

    /// Words with what is known put in.
    fn filled(&self, words: &[String]) -> Vec<String> {
        let fill = |word: &String| {
            self.known.iter().fold(word.clone(), |word, (name, value)| {
                word.replace(&format!("${{{name}}}"), value)
            })
        };
        words.iter().map(fill).collect()
    }

    fn run(&self, who: Who, words: &[String], stdin: Option<&str>) -> Outcome {
        let home = self.home(who);
        let words = self.filled(words);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut run = Run::agent_vault(home)
            .args(&words)
            .current_dir(home.path())
            .env("COLUMNS", "100");
        if matches!(who, Who::Bob | Who::Agent) {
            run = run.env("AGENT_VAULT_ADDR", self.instance.address());
        }
        if who == Who::Agent {
            let token = self.known.get("TOKEN").expect("a token before an agent");
            run = run.env("AGENT_VAULT_TOKEN", token);
        }
        if let Some(stdin) = stdin {
            run = run.stdin(stdin);
        }
        run.finish()
    }

    fn mask(&self) -> Mask {
        let mut mask = Mask::default();
        for who in [Who::Owner, Who::Bob, Who::Agent, Who::Local] {
            let path = self.home(who).path();
            mask.replace(&path.display().to_string(), "<home>");
            if let Ok(path) = path.canonicalize() {
                mask.replace(&path.display().to_string(), "<home>");
            }
        }
        mask.replace(&self.instance.api_addr().to_string(), "<api>");
        mask.replace(&self.instance.proxy_addr().to_string(), "<proxy>");
        mask.replace(
            &format!("port {}", self.instance.proxy_addr().port()),
            "port <proxy port>",
        );
        mask.replace(
            &format!("\"port\":{}", self.instance.proxy_addr().port()),
            "\"port\":<proxy port>",
        );
        // A login is called by the machine's name.
        if let Ok(host) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
            let host = host.trim();
            mask.replace(
                &format!("\"device_label\":\"{host}\""),
                "\"device_label\":\"<host>\"",
            );
            mask.replace(&format!("┆ {host} "), "┆ <host> ");
        }
        mask.build();
        mask
    }
}

/// One command with all that it printed.
fn transcript(
    mask: &Mask,
    who: &str,
    words: &[String],
    stdin: Option<&str>,
    outcome: &Outcome,
) -> String {
    let mut text = format!("{who}$ agent-vault {}\n", script::typed(words));
    if let Some(stdin) = stdin {
        let _ = writeln!(text, "stdin: {stdin:?}");
    }
    let code = outcome
        .status
        .code()
        .map_or_else(|| String::from("killed"), |code| code.to_string());
    for (name, said) in [("out", &outcome.stdout), ("err", &outcome.stderr)] {
        for line in mask.apply(said).lines() {
            let _ = writeln!(text, "{name}: {line}");
        }
    }
    let _ = writeln!(text, "exit: {code}\n");
    text
}

/// Compares with what is on disk, or writes it there.
fn compare(found: &BTreeMap<String, String>) {
    let update = std::env::var_os("UPDATE").is_some();
    let mut differ = Vec::new();
    for (name, text) in found {
        let path = folder().join(format!("{name}.txt"));
        if update {
            let mut file = std::fs::File::create(&path).expect("a file that can be written");
            file.write_all(text.as_bytes()).expect("a whole file");
            continue;
        }
        let wanted = std::fs::read_to_string(&path).unwrap_or_default();
        if wanted != *text {
            let (line, (was, is)) = (1..)
                .zip(
                    wanted
                        .lines()
                        .chain(std::iter::repeat(""))
                        .zip(text.lines().chain(std::iter::repeat(""))),
                )
                .take(wanted.lines().count().max(text.lines().count()) + 1)
                .find(|(_, (was, is))| was != is)
                .unwrap_or((0, ("", "")));
            differ.push(format!(
                "{}:{line}\n  was: {was}\n  is:  {is}",
                path.display()
            ));
        }
    }
    assert!(
        differ.is_empty(),
        "the command line prints something else; if it is meant: {UPDATE}\n{}",
        differ.join("\n")
    );
}

#[test]
fn every_command_prints_what_it_did() {
    let commands = commands();
    let steps = script::read(&folder().join("script.txt"));
    let mut world = World::new();
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let (mut succeeded, mut failed, mut with_json) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for step in &steps {
        match step {
            Step::File { who, name, text } => {
                world.home(*who).write(name, text);
            }
            Step::Command {
                file,
                who,
                words,
                stdin,
                capture,
            } => {
                let outcome = world.run(*who, words, stdin.as_deref());
                if let Some(Capture { name, pointer }) = capture {
                    let value = script::captured(&outcome.stdout, pointer)
                        .unwrap_or_else(|| panic!("nothing at {pointer}: {outcome:?}"));
                    world.known.insert(name.clone(), value);
                }
                if let Some(command) = command_of(&commands, words) {
                    match outcome.status.success() {
                        true => succeeded.insert(command),
                        false => failed.insert(command),
                    };
                    if words.iter().any(|word| word == "--json") {
                        with_json.insert(command);
                        assert!(
                            !outcome.status.success()
                                || serde_json::from_str::<serde_json::Value>(&outcome.stdout)
                                    .is_ok(),
                            "no JSON: {outcome:?}"
                        );
                    }
                }
                let mask = world.mask();
                found.entry(file.clone()).or_default().push_str(&transcript(
                    &mask,
                    who.name(),
                    words,
                    stdin.as_deref(),
                    &outcome,
                ));
            }
        }
    }
    compare(&found);
    let elsewhere: BTreeSet<&str> = SUCCEED_ELSEWHERE.iter().map(|(name, _)| *name).collect();
    let cannot: BTreeSet<&str> = CANNOT_FAIL.iter().map(|(name, _)| *name).collect();
    let mut lacking = Vec::new();
    for (name, has_json) in &commands {
        let name = name.as_str();
        if !succeeded.contains(name) && !elsewhere.contains(name) {
            lacking.push(format!("{name}: no success"));
        }
        if !failed.contains(name) && !cannot.contains(name) {
            lacking.push(format!("{name}: no failure"));
        }
        if *has_json && !with_json.contains(name) {
            lacking.push(format!("{name}: no --json"));
        }
    }
    assert!(
        lacking.is_empty(),
        "add lines to {}/script.txt, then `{UPDATE}`:\n{}",
        folder().display(),
        lacking.join("\n")
    );
}

/// Each command once more with nobody at the keyboard, a server that is not there, and a home without anything in it: each
/// ends, and says what is wrong.
#[test]
fn no_command_waits_for_somebody() {
    let commands = commands();
    let steps = script::read(&folder().join("script.txt"));
    let mut seen = BTreeSet::new();
    let mut found = String::new();
    for step in &steps {
        let Step::Command { words, .. } = step else {
            continue;
        };
        let Some(command) = command_of(&commands, words) else {
            continue;
        };
        // A command that starts a program would start it here.
        if words.iter().any(|word| word == "--help") || !seen.insert(command) {
            continue;
        }
        let home = Home::new();
        let plain: Vec<&str> = words.iter().map(String::as_str).collect();
        let outcome = Run::agent_vault(&home)
            .args(&plain)
            .current_dir(home.path())
            .env("AGENT_VAULT_ADDR", NOWHERE)
            .env("COLUMNS", "100")
            .finish();
        let mut mask = Mask::default();
        mask.replace(&home.path().display().to_string(), "<home>");
        mask.build();
        found.push_str(&transcript(&mask, "", words, None, &outcome));
    }
    let missing: Vec<_> = commands
        .keys()
        .filter(|name| !seen.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "not in the script: {missing:?}");
    compare(&BTreeMap::from([(String::from("alone"), found)]));
}
