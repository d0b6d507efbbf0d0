//! `agent-vault vault credential`: values go in by prompt, stdin, file or environment; they come out only by `get` and
//! `list --reveal`.

use std::path::{Path, PathBuf};

use agent_vault_policy::CredentialKey;
use agent_vault_seal::SecretBytes;
use clap::{Args, Subcommand};
use http::Method;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;

use crate::cli::{App, Output, Target, Yes};
use crate::client::types::{Credential, Credentials, StoredKeys};
use crate::client::{ApiPath, Call};
use crate::commands::time;
use crate::connect::Connection;
use crate::error::{CliError, Result};
use crate::ui::clean;
use crate::when::ahead;

/// Largest value that is read from a file, in bytes; the server takes bodies up to 1 MiB.
const MAX_VALUE_BYTES: u64 = 512 * 1024;

/// `agent-vault vault credential`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(super) struct CredentialArgs {
    #[command(subcommand)]
    command: CredentialCommand,
}

#[derive(Subcommand)]
enum CredentialCommand {
    /// List the keys; values only with --reveal
    #[command(alias = "ls")]
    List {
        /// Show the values
        #[arg(long)]
        reveal: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Print one value
    Get {
        /// Key
        key: String,
        #[command(flatten)]
        output: Output,
    },
    /// Set values
    #[command(after_help = "Examples:
  agent-vault vault credential set OPENAI_API_KEY                 asks without showing it
  pass show openai | agent-vault vault credential set OPENAI_API_KEY=-
  agent-vault vault credential set --from-env OPENAI_API_KEY
  agent-vault vault credential set --from-file TLS_KEY=./key.pem")]
    Set(SetArgs),
    /// Set the values of a `.env` file
    Import(super::import::ImportArgs),
    /// List the values that are kept of a key: numbers and times, never the values
    Versions(super::versions::VersionsArgs),
    /// Put a former value in force again
    Rollback(super::versions::RollbackArgs),
    /// Let a value end at a time, at once, or never
    Expire(super::versions::ExpireArgs),
    /// Delete a former value for good
    DeleteVersion(super::versions::DeleteVersionArgs),
    /// Credentials that a person consents to once, and whose tokens are fetched anew by themselves
    Oauth(super::oauth::OAuthArgs),
    /// Delete keys
    #[command(alias = "rm")]
    Delete {
        /// Keys
        #[arg(required = true)]
        keys: Vec<String>,
        #[command(flatten)]
        yes: Yes,
    },
}

#[derive(Args)]
struct SetArgs {
    /// KEY (asks), KEY=- (stdin), or KEY=VALUE (visible to others on this machine)
    #[arg(value_name = "KEY[=-|=VALUE]")]
    entries: Vec<String>,
    /// Read the value of the one KEY from stdin, one trailing line end removed
    #[arg(long)]
    stdin: bool,
    /// Read a value from a file, one trailing line end removed
    #[arg(long, value_name = "KEY=PATH")]
    from_file: Vec<String>,
    /// Take a value from the environment variable of the same name, or of another: KEY=VARIABLE
    #[arg(long, value_name = "KEY[=VARIABLE]")]
    from_env: Vec<String>,
    /// Let the values end then: a time, or a span from now such as `24h`
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
}

pub(super) async fn run(app: &App, target: &Target, args: CredentialArgs) -> Result {
    match args.command {
        CredentialCommand::List { reveal, output } => {
            let (connection, vault) = super::open(app, target).await?;
            list(app, &connection, &vault, reveal, output).await
        }
        CredentialCommand::Get { key, output } => {
            let (connection, vault) = super::open(app, target).await?;
            get(app, &connection, &vault, &key, output).await
        }
        CredentialCommand::Set(args) => set(app, target, args).await,
        CredentialCommand::Versions(args) => super::versions::list(app, target, args).await,
        CredentialCommand::Rollback(args) => super::versions::roll_back(app, target, args).await,
        CredentialCommand::Expire(args) => super::versions::expire(app, target, args).await,
        CredentialCommand::DeleteVersion(args) => super::versions::delete(app, target, args).await,
        CredentialCommand::Import(args) => super::import::run(app, target, args).await,
        CredentialCommand::Oauth(args) => super::oauth::run(app, target, args).await,
        CredentialCommand::Delete { keys, yes } => {
            let (connection, vault) = super::open(app, target).await?;
            app.ui.confirm(
                &format!("Delete {} from vault \"{vault}\"?", keys.join(", ")),
                yes.yes,
            )?;
            let body = json!({"vault": vault, "keys": keys});
            connection
                .send(
                    app,
                    Call::new(Method::DELETE, "/v1/credentials").json(&body),
                )
                .await?;
            app.ui.success(&format!("deleted {}", keys.join(", ")))
        }
    }
}

async fn list(
    app: &App,
    connection: &Connection,
    vault: &str,
    reveal: bool,
    output: Output,
) -> Result {
    let path = ApiPath::new("/v1/credentials")
        .query("vault", vault)
        .query_if("reveal", reveal.then_some("true"));
    let reply = connection.send(app, Call::get(path)).await?;
    if output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let found: Credentials = reply.json()?;
    let empty = "no credentials; add one with `agent-vault vault credential set KEY`";
    let Some(credentials) = found.credentials else {
        let rows = found.keys.into_iter().map(|k| vec![k]).collect();
        return app.ui.table(&["KEY"], rows, empty);
    };
    let kind = |c: &Credential| {
        if c.kind.is_empty() {
            String::from("static")
        } else {
            c.kind.clone()
        }
    };
    if reveal {
        let rows = credentials
            .iter()
            .map(|c| vec![c.key.clone(), kind(c), c.value.clone().unwrap_or_default()])
            .collect();
        return app.ui.table(&["KEY", "TYPE", "VALUE"], rows, empty);
    }
    if credentials.iter().any(|c| c.expires_at.is_some()) {
        let ends = |c: &Credential| c.expires_at.as_deref().map_or_else(String::new, time);
        let rows = credentials
            .iter()
            .map(|c| vec![c.key.clone(), kind(c), ends(c)])
            .collect();
        return app.ui.table(&["KEY", "TYPE", "EXPIRES"], rows, empty);
    }
    let rows = credentials
        .iter()
        .map(|c| vec![c.key.clone(), kind(c)])
        .collect();
    app.ui.table(&["KEY", "TYPE"], rows, empty)
}

async fn get(app: &App, connection: &Connection, vault: &str, key: &str, output: Output) -> Result {
    let path = ApiPath::new("/v1/credentials")
        .query("vault", vault)
        .query("reveal", "true")
        .query("key", key);
    let reply = match connection.try_send(app, Call::get(path)).await {
        Ok(reply) => reply,
        Err(e) if e.status == 404 => {
            return Err(CliError::new(e.message().to_owned()).hint(format!(
                "`agent-vault vault credential list --vault {vault}` shows the keys"
            )));
        }
        Err(e) => return Err(connection.explain(e)),
    };
    if output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let found: Credentials = reply.json()?;
    let credential = found
        .credentials
        .unwrap_or_default()
        .into_iter()
        .find(|c| c.key == key);
    match credential {
        Some(credential) => app.ui.data(&credential.value.unwrap_or_default()),
        None => Err(CliError::new(format!(
            "vault \"{vault}\" has no credential {key}, or you may not read it"
        ))),
    }
}

/// Values by key, in the order given, as the body wants them.
pub(in crate::commands) struct Values(pub(super) Vec<(String, SecretBytes)>);

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            let text = value.expose_str().map_err(serde::ser::Error::custom)?;
            map.serialize_entry(key, text)?;
        }
        map.end()
    }
}

#[derive(serde::Serialize)]
struct SetBody<'a> {
    vault: &'a str,
    credentials: &'a Values,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

async fn set(app: &App, target: &Target, args: SetArgs) -> Result {
    // Everything that can be wrong here is found before a value is typed, and typed before a server is asked.
    let plan = plan(&args)?;
    let now = jiff::Timestamp::now();
    let expires = args.expires.as_deref().map(|text| ahead(text, now));
    let expires = expires.transpose()?;
    let values = read_values(app, plan)?;
    let (connection, vault) = super::open(app, target).await?;
    store(app, &connection, &vault, &values, expires).await
}

/// Sets values, all or none, and says which keys.
pub(super) async fn store(
    app: &App,
    connection: &Connection,
    vault: &str,
    values: &Values,
    expires: Option<jiff::Timestamp>,
) -> Result {
    send(app, connection, vault, values, expires).await?;
    let keys: Vec<_> = values.0.iter().map(|(key, _)| key.as_str()).collect();
    app.ui
        .success(&format!("set {} in vault \"{vault}\"", keys.join(", ")))
}

/// Sets values, all or none.
pub(in crate::commands) async fn send(
    app: &App,
    connection: &Connection,
    vault: &str,
    values: &Values,
    expires: Option<jiff::Timestamp>,
) -> Result {
    let body = SetBody {
        vault,
        credentials: values,
        expires_at: expires.map(|end| end.to_string()),
    };
    let reply = connection
        .send(app, Call::new(Method::POST, "/v1/credentials").json(&body))
        .await?;
    let stored: StoredKeys = reply.json()?;
    for warning in &stored.warnings {
        app.ui.warn(&clean(warning));
    }
    Ok(())
}

/// A value from a variable of the environment, or else from a file, checked as `set` checks it.
pub(in crate::commands) fn from_outside(
    app: &App,
    key: &str,
    variable: Option<&str>,
    path: Option<&Path>,
) -> Result<Values> {
    let source = match (variable, path) {
        (Some(variable), _) => Source::Variable(variable.to_owned()),
        (None, Some(path)) => Source::File(path.to_owned()),
        (None, None) => {
            return Err(CliError::new(format!(
                "nothing says where the value of {key} comes from"
            )));
        }
    };
    read_values(app, vec![(key.to_owned(), source)])
}

/// Values that were named on the command line, as `set` reads them; none when nothing was named.
pub(super) fn given(
    app: &App,
    entries: &[String],
    from_file: &[String],
    from_env: &[String],
) -> Result<Values> {
    if entries.is_empty() && from_file.is_empty() && from_env.is_empty() {
        return Ok(Values(Vec::new()));
    }
    let args = SetArgs {
        entries: entries.to_vec(),
        stdin: false,
        from_file: from_file.to_vec(),
        from_env: from_env.to_vec(),
        expires: None,
    };
    read_values(app, plan(&args)?)
}

/// A value that a person types.
pub(super) fn typed(app: &App, key: &str) -> Result<Values> {
    read_values(app, vec![(key.to_owned(), Source::Prompt)])
}

/// Where a value comes from.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    Prompt,
    Stdin,
    File(PathBuf),
    Variable(String),
    Argument(String),
}

fn plan(args: &SetArgs) -> Result<Vec<(String, Source)>> {
    let mut plan: Vec<(String, Source)> = Vec::new();
    for entry in &args.entries {
        plan.push(match entry.split_once('=') {
            None if args.stdin => (entry.clone(), Source::Stdin),
            None => (entry.clone(), Source::Prompt),
            Some((key, "-")) => (key.to_owned(), Source::Stdin),
            Some((key, value)) => (key.to_owned(), Source::Argument(value.to_owned())),
        });
    }
    for entry in &args.from_file {
        match entry.split_once('=') {
            Some((key, path)) if !path.is_empty() => {
                plan.push((key.to_owned(), Source::File(PathBuf::from(path))))
            }
            _ => {
                return Err(CliError::usage(format!(
                    "--from-file wants KEY=PATH, not `{entry}`"
                )));
            }
        }
    }
    for entry in &args.from_env {
        let (key, variable) = entry.split_once('=').unwrap_or((entry, entry));
        plan.push((key.to_owned(), Source::Variable(variable.to_owned())));
    }
    if plan.is_empty() {
        return Err(CliError::usage("no credential was named")
            .hint("`agent-vault vault credential set KEY` asks for the value without showing it"));
    }
    if plan.iter().filter(|(_, s)| *s == Source::Stdin).count() > 1 {
        return Err(CliError::usage("only one value can come from stdin"));
    }
    if args.stdin && !plan.iter().any(|(_, s)| *s == Source::Stdin) {
        return Err(CliError::usage("--stdin needs a KEY without a value"));
    }
    for (index, (key, _)) in plan.iter().enumerate() {
        CredentialKey::parse(key).map_err(|e| {
            CliError::usage(format!("`{key}` is not a credential key: {e}"))
                .hint("a key looks like OPENAI_API_KEY")
        })?;
        if plan.iter().take(index).any(|(other, _)| other == key) {
            return Err(CliError::usage(format!("{key} is given twice")));
        }
    }
    Ok(plan)
}

fn read_values(app: &App, plan: Vec<(String, Source)>) -> Result<Values> {
    let mut values = Vec::with_capacity(plan.len());
    for (key, source) in plan {
        let value = match source {
            Source::Prompt => app.ui.ask_secret(
                &format!("Value of {key}"),
                &format!("{key}=-` with the value on stdin, `--from-file {key}=PATH` or `--from-env {key}"),
            )?,
            Source::Stdin => without_line_end(app.ui.read_document()?),
            Source::File(path) => read_file(&app.env.cwd().join(path))?,
            Source::Variable(variable) => match app.env.raw(&variable) {
                Some(value) if !value.is_empty() => {
                    use std::os::unix::ffi::OsStrExt;
                    SecretBytes::new(value.as_bytes().to_vec())
                }
                _ => return Err(CliError::new(format!("environment variable {variable} is not set"))),
            },
            Source::Argument(value) => {
                app.ui.note(&format!(
                    "{key}: a value on the command line stays in the shell's history and shows in the process list; prefer `{key}=-`"
                ));
                SecretBytes::new(value.into_bytes())
            }
        };
        if value.is_empty() {
            return Err(CliError::new(format!("the value of {key} is empty")));
        }
        if value.expose_str().is_err() {
            return Err(CliError::new(format!(
                "the value of {key} is not valid UTF-8"
            )));
        }
        check_ends(&key, &value)?;
        values.push((key, value));
    }
    Ok(Values(values))
}

fn read_file(path: &Path) -> Result<SecretBytes> {
    read_bounded(path).map(without_line_end)
}

/// A whole file, up to the largest size that a value may have.
pub(super) fn read_bounded(path: &Path) -> Result<SecretBytes> {
    use std::io::Read;
    let failed = |e: std::io::Error| CliError::new(format!("cannot read {}: {e}", path.display()));
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_VALUE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if u64::try_from(bytes.len()).map_or(true, |n| n > MAX_VALUE_BYTES) {
        return Err(CliError::new(format!(
            "{} is larger than {MAX_VALUE_BYTES} bytes",
            path.display()
        )));
    }
    Ok(SecretBytes::new(bytes))
}

/// Refuses line breaks and zero bytes at an end, of which no service could make use; the server would too.
pub(super) fn check_ends(key: &str, value: &SecretBytes) -> Result {
    let stray = |byte: Option<&u8>| byte.is_some_and(|b| matches!(b, b'\r' | b'\n' | 0));
    let bytes = value.expose();
    let end = match (stray(bytes.first()), stray(bytes.last())) {
        (_, true) => "ends",
        (true, false) => "begins",
        (false, false) => return Ok(()),
    };
    Err(CliError::new(format!(
        "the value of {key} {end} with a line break or a zero byte"
    ))
    .hint("one line break at the end of stdin or of a file is removed, no more"))
}

/// Removes the one line end that `echo` and editors add.
pub(super) fn without_line_end(value: SecretBytes) -> SecretBytes {
    let bytes = value.expose();
    let bytes = bytes
        .strip_suffix(b"\n")
        .map_or(bytes, |b| b.strip_suffix(b"\r").unwrap_or(b));
    SecretBytes::new(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use agent_vault_seal::SecretBytes;

    use super::{SetArgs, Source, check_ends, plan, without_line_end};

    fn args(entries: &[&str], stdin: bool, files: &[&str], envs: &[&str]) -> SetArgs {
        let own = |all: &[&str]| all.iter().map(ToString::to_string).collect();
        SetArgs {
            entries: own(entries),
            stdin,
            from_file: own(files),
            expires: None,
            from_env: own(envs),
        }
    }

    #[test]
    fn w18_every_way_in() {
        let plan = plan(&args(
            &["A", "B=-", "C=x=y"],
            false,
            &["D=./f"],
            &["E", "F=OTHER"],
        ))
        .unwrap();
        let sources: Vec<_> = plan.into_iter().map(|(_, s)| s).collect();
        assert_eq!(
            sources,
            [
                Source::Prompt,
                Source::Stdin,
                Source::Argument("x=y".into()),
                Source::File("./f".into()),
                Source::Variable("E".into()),
                Source::Variable("OTHER".into()),
            ]
        );
    }

    #[test]
    fn bad_plans_are_refused_before_anything_is_read() {
        for bad in [
            args(&[], false, &[], &[]),
            args(&["lower=x"], false, &[], &[]),
            args(&["=x"], false, &[], &[]),
            args(&["A=-", "B=-"], false, &[], &[]),
            args(&["A", "B"], true, &[], &[]),
            args(&["A=x"], true, &[], &[]),
            args(&["A=x", "A=y"], false, &[], &[]),
            args(&[], false, &["A"], &[]),
        ] {
            assert_eq!(plan(&bad).unwrap_err().code(), 2);
        }
    }

    #[test]
    fn c19_more_than_one_line_end_is_an_error() {
        for good in ["x", "a\nb", " x"] {
            check_ends("K", &SecretBytes::new(good.into())).unwrap();
        }
        for bad in ["x\n", "x\r", "\nx", "x\0", "\n"] {
            check_ends("K", &SecretBytes::new(bad.into())).unwrap_err();
        }
    }

    #[test]
    fn one_line_end_goes() {
        for (given, kept) in [
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            ("a", "a"),
            ("a\r", "a\r"),
            ("\n", ""),
        ] {
            assert_eq!(
                without_line_end(SecretBytes::new(given.into())).expose(),
                kept.as_bytes()
            );
        }
    }
}
