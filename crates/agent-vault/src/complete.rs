//! Completion on the command line: the shell asks this program what may come next, so that names of vaults, services,
//! credentials, agents and profiles are among it.
//!
//! An answer has to be quick and quiet: nothing is made, nobody is asked, and a server that does not answer in
//! [`PATIENCE`] is taken for one without names.

use std::ffi::OsString;
use std::time::Duration;

use clap::Command;
use clap_complete::env::{CompleteEnv, Shells};
use clap_complete::{ArgValueCandidates, CompletionCandidate};
use serde_json::Value;

use crate::cli::{self, App};
use crate::config::ServerConfig;
use crate::connect::{Place, place};
use crate::env::Env;
use crate::env_vars;
use crate::error::{CliError, FAILURE, Result};
use crate::home::Home;
use crate::profile;
use crate::server::{KeyState, Server};
use crate::ui::Ui;

/// The name that is completed, and the program that is asked.
const PROGRAM: &str = "agent-vault";
/// Longest wait for a server.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Most names that are offered.
const MAX_NAMES: usize = 500;
/// Flags that say where names are looked for.
const CONTEXT: [&str; 3] = ["--profile", "--address", "--vault"];

/// Answers a shell, where one asks; the value is the exit code.
pub(crate) fn answer(args: &[OsString]) -> Option<u8> {
    let cwd = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(|| equip(cli::definition()))
        .var(env_vars::COMPLETE.name)
        .bin(PROGRAM)
        .completer(PROGRAM)
        .try_complete(args, cwd.as_deref());
    match asked {
        Ok(false) => None,
        Ok(true) => Some(0),
        // A word in the middle of a prompt would do harm; the shell takes the code for "no completion".
        Err(_) => Some(FAILURE),
    }
}

/// What a shell has to read to ask.
///
/// # Errors
/// A shell that cannot ask.
pub(crate) fn registration(shell: clap_complete::Shell) -> Result<Vec<u8>> {
    let name = shell.to_string();
    let failed = |why: &str| CliError::new(format!("no completion for {name}: {why}"));
    let mut script = Vec::new();
    Shells::builtins()
        .completer(&name)
        .ok_or_else(|| failed("the shell is not known"))?
        .write_registration(
            env_vars::COMPLETE.name,
            PROGRAM,
            PROGRAM,
            PROGRAM,
            &mut script,
        )
        .map_err(|e| failed(&e.to_string()))?;
    Ok(script)
}

/// Gives the arguments of the whole command tree the names that they may hold.
pub(crate) fn equip(root: Command) -> Command {
    let root = root.mut_args(|argument| match argument.get_id().as_str() {
        "profile" => argument.add(profiles()),
        _ => argument,
    });
    branches(root, "")
}

fn branches(command: Command, path: &str) -> Command {
    command.mut_subcommands(|child| {
        let path = format!("{path}{} ", child.get_name());
        let child = child.mut_args(
            |argument| match held_by(&path, argument.get_id().as_str()) {
                Some(names) => argument.add(names()),
                None => argument,
            },
        );
        branches(child, &path)
    })
}

type Names = fn() -> ArgValueCandidates;

/// What the argument `id` of the command at `path` holds. A name that is about to be given to something new is none.
fn held_by(path: &str, id: &str) -> Option<Names> {
    let path = path.trim_end();
    let (noun, verb) = path.rsplit_once(' ').unwrap_or(("", path));
    let names = match (noun, verb, id) {
        (_, "create", "name") => return None,
        ("profile", _, "name") => profiles,
        ("vault", "use" | "delete" | "join" | "leave", "name")
        | ("vault", "rename", "old")
        | ("owner vault", _, "name") => vaults,
        ("agent" | "vault agent", _, "name" | "old") => agents,
        ("vault service", _, "service") => services,
        ("vault credential", verb, "key" | "keys") if verb != "import" => credentials,
        ("vault service", "add", "token_key" | "username_key" | "password_key" | "api_key_key") => {
            credentials
        }
        (_, _, "vault") if path != "agent create" && !path.starts_with("user invite") => vaults,
        _ => return None,
    };
    Some(names)
}

/// Names of vaults.
fn vaults() -> ArgValueCandidates {
    ArgValueCandidates::new(|| names(&["vault", "list", "--json"], "vaults", "name"))
}

/// Names of services.
fn services() -> ArgValueCandidates {
    ArgValueCandidates::new(|| names(&["vault", "service", "list", "--json"], "services", "name"))
}

/// Keys of credentials.
fn credentials() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let list = ["vault", "credential", "list", "--json"];
        names(&list, "credentials", "key")
    })
}

/// Names of agents.
fn agents() -> ArgValueCandidates {
    ArgValueCandidates::new(|| names(&["agent", "list", "--json"], "agents", "name"))
}

/// Names of profiles.
fn profiles() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let env = Env::from_process();
        let found = Home::locate(&env).and_then(|home| profile::all(&home));
        found
            .unwrap_or_default()
            .into_iter()
            .map(|name| CompletionCandidate::new(name.as_str()))
            .collect()
    })
}

/// What a command lists: the member `name` of each element of `list` in its JSON.
fn names(command: &[&str], list: &str, name: &str) -> Vec<CompletionCandidate> {
    let typed: Vec<_> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let Some(answer) = ask(command, &context(&typed)) else {
        return Vec::new();
    };
    let elements = answer.get(list).and_then(Value::as_array);
    elements
        .into_iter()
        .flatten()
        .filter_map(|element| element.get(name)?.as_str())
        .take(MAX_NAMES)
        .map(CompletionCandidate::new)
        .collect()
}

/// The flags that were typed so far and say where to look. The shell gives the line behind `--`; what is behind a second one
/// is another program's.
fn context(typed: &[String]) -> Vec<String> {
    let line = typed.iter().skip_while(|word| *word != "--").skip(1);
    let mut line = line.take_while(|word| *word != "--").peekable();
    let mut found = Vec::new();
    while let Some(word) = line.next() {
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (word.as_str(), None),
        };
        if !CONTEXT.contains(&flag) {
            continue;
        }
        let value = match value {
            Some(value) => Some(value),
            None => line
                .next_if(|next| !next.starts_with('-'))
                .map(String::as_str),
        };
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            found.push(format!("{flag}={value}"));
        }
    }
    found
}

/// Runs a command of ours without a terminal and reads its JSON; `None` where there is none to be had.
fn ask(command: &[&str], context: &[String]) -> Option<Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .ok()?;
    let (ui, out, _) = Ui::captured("");
    let app = App::new(Env::from_process(), ui);
    let flags: Vec<&str> = context
        .iter()
        .map(String::as_str)
        // Lists of the instance know no vault.
        .filter(|flag| command.first() == Some(&"vault") || !flag.starts_with("--vault"))
        .collect();
    let line = [command, &flags].concat();
    let code = runtime.block_on(async {
        let asking = async {
            if would_make_a_vault(&app, context).await {
                return FAILURE;
            }
            cli::run_line(&line, &app).await
        };
        tokio::time::timeout(PATIENCE, asking)
            .await
            .unwrap_or(FAILURE)
    });
    runtime.shutdown_background();
    if code != 0 {
        return None;
    }
    serde_json::from_str(&out.text()).ok()
}

/// Whether a command would begin a local vault, or need its master password.
async fn would_make_a_vault(app: &App, context: &[String]) -> bool {
    let address = context
        .iter()
        .find_map(|flag| flag.strip_prefix("--address="));
    if context.iter().any(|flag| flag.starts_with("--profile=")) || address.is_some() {
        return false;
    }
    match place(app, None) {
        Ok(Place::Server(_)) => false,
        Ok(Place::Local) => match ServerConfig::for_local(&app.env) {
            Ok(config) => !matches!(
                Server::inspect(&config).await,
                Ok(state) if state.key != KeyState::New
            ),
            Err(_) => true,
        },
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::context;

    #[test]
    fn the_line_says_where_to_look() {
        let found = |line: &str| {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            context(&words).join(" ")
        };
        for (line, wanted) in [
            ("agent-vault -- agent-vault vault list --vault", ""),
            (
                "agent-vault -- agent-vault --profile work vault --address=http://x service enable",
                "--profile=work --address=http://x",
            ),
            ("agent-vault -- agent-vault --vault --json", ""),
            (
                "agent-vault -- agent-vault run --vault a -- curl --profile b",
                "--vault=a",
            ),
            ("agent-vault --profile x", ""),
        ] {
            assert_eq!(found(line), wanted, "{line}");
        }
    }
}
