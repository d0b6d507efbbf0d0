//! `agent-vault vault service add`: one service from flags, or several from a file.

use std::collections::HashSet;
use std::path::PathBuf;

use agent_vault_policy::{
    AuthDraft, ScrubDraft, SelectDraft, Service, ServiceDraft, ServiceError, Slug,
    SubstitutionDraft, keep_unstated,
};
use clap::{ArgAction, Args, ValueEnum};
use http::Method;
use serde_json::{Value, json};

use super::{file, list, plan, preset};
use crate::cli::{App, Target};
use crate::client::types::{Credentials, Services};
use crate::client::{ApiPath, Call};
use crate::connect::Connection;
use crate::error::{CliError, Result};
use crate::vault_choice::vault_path;

#[derive(Args, Default)]
pub(in crate::commands::vault) struct AddArgs {
    /// YAML or JSON file, `-` for stdin; instead of the flags below
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["name", "host", "auth_type", "preset"])]
    file: Option<PathBuf>,
    /// Start from a template of the catalogue: its host, auth type and key, unless they are given
    #[arg(long, visible_alias = "from", value_name = "ID")]
    pub(super) preset: Option<String>,
    /// Name of the service [default: made from the host]
    #[arg(long)]
    pub(in crate::commands::vault) name: Option<String>,
    /// `api.example.com` or `*.example.com`; `:port` and `/path*` may follow
    #[arg(long)]
    pub(in crate::commands::vault) host: Option<String>,
    /// Only this port
    #[arg(long)]
    pub(in crate::commands::vault) port: Option<u16>,
    /// Only paths like this, `*` matches anything
    #[arg(long, value_name = "GLOB")]
    pub(in crate::commands::vault) path: Option<String>,
    /// How the credential is put into the request
    #[arg(long, value_enum)]
    pub(in crate::commands::vault) auth_type: Option<AuthType>,
    /// bearer: the credential's key
    #[arg(long, value_name = "KEY")]
    pub(in crate::commands::vault) token_key: Option<String>,
    /// basic: the user name's key
    #[arg(long, value_name = "KEY")]
    pub(in crate::commands::vault) username_key: Option<String>,
    /// basic: the password's key
    #[arg(long, value_name = "KEY")]
    pub(in crate::commands::vault) password_key: Option<String>,
    /// api-key: the credential's key
    #[arg(long, value_name = "KEY")]
    pub(in crate::commands::vault) api_key_key: Option<String>,
    /// api-key: header that carries it [default: Authorization]
    #[arg(long, value_name = "NAME")]
    pub(in crate::commands::vault) api_key_header: Option<String>,
    /// api-key: text before it
    #[arg(long, value_name = "TEXT")]
    pub(in crate::commands::vault) api_key_prefix: Option<String>,
    /// custom: a header; `{{ KEY }}` stands for a credential
    #[arg(long, value_name = "NAME: TEMPLATE")]
    pub(in crate::commands::vault) header: Vec<String>,
    /// Replace a placeholder that the agent sends, in the named places: path, query, header, body, websocket
    #[arg(long, value_name = "KEY=PLACEHOLDER[@WHERE,…]")]
    pub(in crate::commands::vault) substitute: Vec<String>,
    /// Drop the substitutions that the service has
    #[arg(long, conflicts_with = "substitute")]
    no_substitutions: bool,
    /// Broker plain http too when false; a credential then crosses the network in clear
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    require_tls: Option<bool>,
    /// Leave responses as they are when false: what the upstream repeats of the credential then reaches the agent
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    scrub: Option<bool>,
    /// What becomes of a response that cannot be searched for the credential
    #[arg(long, value_enum, value_name = "WHAT")]
    scrub_undecodable: Option<UndecodableArg>,
    /// Only for these agents
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    agents: Vec<String>,
    /// Only for requests that carry this placeholder: chooses among several accounts on one host
    #[arg(long, value_name = "PLACEHOLDER")]
    select_placeholder: Option<String>,
    /// Store it without brokering yet
    #[arg(long)]
    disabled: bool,
    /// Show what would change and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::commands::vault) enum AuthType {
    Bearer,
    Basic,
    ApiKey,
    Custom,
    Passthrough,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UndecodableArg {
    Refuse,
    Pass,
}

impl UndecodableArg {
    fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Pass => "pass",
        }
    }
}

impl AuthType {
    fn as_str(self) -> &'static str {
        match self {
            AuthType::Bearer => "bearer",
            AuthType::Basic => "basic",
            AuthType::ApiKey => "api-key",
            AuthType::Custom => "custom",
            AuthType::Passthrough => "passthrough",
        }
    }
}

pub(super) async fn run(app: &App, target: &Target, args: AddArgs) -> Result {
    let entries: Vec<Value>;
    let connection;
    let vault;
    let dry_run = args.dry_run;
    // What the entry was filled from: if somebody changes that meanwhile, the write is refused instead of undoing it.
    let mut expected = serde_json::Map::new();
    if let Some(path) = &args.file {
        let drafts = file::read(app, path, file::Names::Optional)?;
        entries = file::wire(&drafts)?;
        (connection, vault) = super::super::open(app, target).await?;
    } else {
        let draft = draft(&preset::fill(args)?)?;
        (connection, vault) = super::super::open(app, target).await?;
        let found = list::fetch(app, &connection, &vault).await?;
        let versions = found.versions.clone();
        let draft = merged(found, &vault, draft)?;
        if let Some(name) = draft.name.clone().filter(|_| !versions.is_empty()) {
            let version = versions
                .get(&name)
                .cloned()
                .map_or(Value::Null, Value::String);
            expected.insert(name, version);
        }
        entries = file::wire(&[draft])?;
    }
    if entries.is_empty() {
        return Err(CliError::new("the file holds no service").hint("nothing was changed"));
    }
    let mut body = json!({"services": entries});
    if let (false, Some(fields)) = (expected.is_empty(), body.as_object_mut()) {
        fields.insert(String::from("expected"), Value::Object(expected));
    }
    let services = vault_path(&vault).literal("/services");
    if dry_run {
        let planned = plan::ask(app, &connection, Method::POST, services, Some(&body)).await?;
        return plan::only(app, &planned);
    }
    let call = Call::new(Method::POST, services).json(&body);
    let answer = connection.send(app, call).await?.value()?;
    let names = answer
        .get("upserted")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for name in names.iter().filter_map(Value::as_str) {
        app.ui.success(&format!("service {name}"))?;
    }
    if let Some(count) = answer.get("services_count").and_then(Value::as_u64) {
        app.ui.note(&format!(
            "vault \"{vault}\" has {count} service{}",
            if count == 1 { "" } else { "s" }
        ));
    }
    warn_of_missing(app, &connection, &vault, &entries).await
}

/// Fills what the flags do not say from the stored service: its substitutions and its enabled state survive.
fn merged(found: Services, vault: &str, mut draft: ServiceDraft) -> Result<ServiceDraft> {
    let existing: Vec<Service> = found
        .services
        .into_iter()
        .filter_map(|s| serde_json::from_value::<ServiceDraft>(Value::Object(s)).ok())
        .filter_map(|d| Service::from_draft(d, &file::lenient()).ok())
        .collect();
    let given = draft.substitutions.clone().unwrap_or_default();
    draft = keep_unstated(&existing, draft, &file::lenient()).map_err(from_flags)?;
    if !given.is_empty() {
        // A new service of which nothing else is said only replaces placeholders.
        draft.auth.get_or_insert_with(|| AuthDraft {
            kind: Some(AuthType::Passthrough.as_str().to_owned()),
            ..AuthDraft::default()
        });
        // A substitution is added to those that are there; one for the same placeholder takes its place.
        let stored = existing
            .iter()
            .find(|s| draft.name.as_deref() == Some(s.name.as_str()));
        let mut all = stored
            .map(ServiceDraft::from)
            .and_then(|d| d.substitutions)
            .unwrap_or_default();
        all.retain(|old| given.iter().all(|new| new.placeholder != old.placeholder));
        all.extend(given);
        draft.substitutions = Some(all);
    }
    if draft.host.is_none() {
        let name = draft.name.unwrap_or_default();
        return Err(CliError::usage(format!(
            "there is no service \"{name}\" in vault \"{vault}\", so `--host` is needed"
        )));
    }
    if draft.name.is_none() {
        // Neither named nor adopted: a new service.
        let mut probe = draft.clone();
        probe.name = Some(String::from("unnamed"));
        let probe = Service::from_draft(probe, &file::lenient()).map_err(from_flags)?;
        let taken: HashSet<Slug> = existing.iter().map(|s| s.name.clone()).collect();
        let name =
            agent_vault_policy::slug_from(&probe.host, probe.port, probe.path.as_ref(), &taken);
        draft.name = Some(name.to_string());
    }
    Service::from_draft(draft.clone(), &file::lenient()).map_err(from_flags)?;
    Ok(draft)
}

pub(in crate::commands::vault) fn draft(args: &AddArgs) -> Result<ServiceDraft> {
    if args.host.is_none() && args.name.is_none() {
        return Err(CliError::usage("`--host` or `--file` is needed; `--name` alone changes a service that is there")
            .hint("agent-vault vault service add --host api.example.com --auth-type bearer --token-key EXAMPLE_KEY"));
    }
    let draft = ServiceDraft {
        name: args.name.clone(),
        host: args.host.clone(),
        port: args.port.map(i64::from),
        path: args.path.clone(),
        enabled: args.disabled.then_some(false),
        auth: auth(args)?,
        substitutions: substitutions(args)?,
        require_tls: args.require_tls,
        scrub: (args.scrub.is_some() || args.scrub_undecodable.is_some()).then(|| ScrubDraft {
            enabled: args.scrub,
            undecodable: args.scrub_undecodable.map(|what| what.as_str().to_owned()),
        }),
        select: (!args.agents.is_empty() || args.select_placeholder.is_some()).then(|| {
            SelectDraft {
                agents: (!args.agents.is_empty()).then(|| args.agents.clone()),
                placeholder: args.select_placeholder.clone(),
            }
        }),
    };
    if draft.host.is_none() || draft.auth.is_none() {
        return Ok(draft);
    }
    // What is wrong in the flags is found before a server is asked.
    let mut probe = draft.clone();
    probe.name.get_or_insert_with(|| String::from("unnamed"));
    Service::from_draft(probe, &file::lenient()).map_err(from_flags)?;
    Ok(draft)
}

fn from_flags(error: ServiceError) -> CliError {
    let out = CliError::usage(error.to_string());
    match error.hint {
        Some(hint) => out.hint(hint),
        None => out,
    }
}

/// The auth that the flags say; `None` if they say none and a service of that name may have one.
fn auth(args: &AddArgs) -> Result<Option<AuthDraft>> {
    let given: [(&str, AuthType, bool); 7] = [
        ("--token-key", AuthType::Bearer, args.token_key.is_some()),
        (
            "--username-key",
            AuthType::Basic,
            args.username_key.is_some(),
        ),
        (
            "--password-key",
            AuthType::Basic,
            args.password_key.is_some(),
        ),
        (
            "--api-key-key",
            AuthType::ApiKey,
            args.api_key_key.is_some(),
        ),
        (
            "--api-key-header",
            AuthType::ApiKey,
            args.api_key_header.is_some(),
        ),
        (
            "--api-key-prefix",
            AuthType::ApiKey,
            args.api_key_prefix.is_some(),
        ),
        ("--header", AuthType::Custom, !args.header.is_empty()),
    ];
    let mut set = given.iter().filter(|(_, _, is_set)| *is_set);
    let kind = match args.auth_type {
        Some(kind) => kind,
        None => match set.clone().next() {
            Some((_, kind, _)) => *kind,
            None if args.name.is_some() => return Ok(None),
            None if !args.substitute.is_empty() => AuthType::Passthrough,
            None => {
                return Err(CliError::usage(
                    "`--auth-type` is needed: bearer, basic, api-key, custom or passthrough",
                ));
            }
        },
    };
    if let Some((flag, _, _)) = set.find(|(_, of, _)| *of != kind) {
        return Err(CliError::usage(format!(
            "`{flag}` does not go with auth type `{}`",
            kind.as_str()
        )));
    }
    let needed = |value: &Option<String>, flag: &str| match value {
        Some(value) => Ok(Some(value.clone())),
        None => Err(CliError::usage(format!(
            "auth type `{}` needs `{flag}`",
            kind.as_str()
        ))),
    };
    let mut auth = AuthDraft {
        kind: Some(kind.as_str().to_owned()),
        ..AuthDraft::default()
    };
    match kind {
        AuthType::Bearer => auth.token = needed(&args.token_key, "--token-key")?,
        AuthType::Basic => {
            auth.username = needed(&args.username_key, "--username-key")?;
            auth.password = args.password_key.clone();
        }
        AuthType::ApiKey => {
            auth.key = needed(&args.api_key_key, "--api-key-key")?;
            auth.header = args.api_key_header.clone();
            auth.prefix = args.api_key_prefix.clone();
        }
        AuthType::Custom => {
            if args.header.is_empty() {
                return Err(CliError::usage("auth type `custom` needs `--header`"));
            }
            auth.headers = Some(
                args.header
                    .iter()
                    .map(|h| header(h))
                    .collect::<Result<_>>()?,
            );
        }
        AuthType::Passthrough => {}
    }
    Ok(Some(auth))
}

/// `Name: template` or `Name=template`.
fn header(text: &str) -> Result<(String, String)> {
    let split = text
        .find([':', '='])
        .and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?)));
    match split {
        Some((name, template)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), template.trim().to_owned()))
        }
        _ => Err(
            CliError::usage(format!("`--header {text}`: expected `Name: template`"))
                .hint("--header 'Authorization: Token token={{ PAGER_KEY }}'"),
        ),
    }
}

fn substitutions(args: &AddArgs) -> Result<Option<Vec<SubstitutionDraft>>> {
    if args.no_substitutions {
        return Ok(Some(Vec::new()));
    }
    if args.substitute.is_empty() {
        return Ok(None);
    }
    args.substitute
        .iter()
        .map(|s| substitution(s))
        .collect::<Result<_>>()
        .map(Some)
}

/// `KEY=placeholder[@where,…]`; without `@`, path and query.
fn substitution(text: &str) -> Result<SubstitutionDraft> {
    let bad = || {
        CliError::usage(format!(
            "`--substitute {text}`: expected KEY=PLACEHOLDER[@WHERE,…]"
        ))
        .hint("--substitute BOT_TOKEN=__bot_token__@path,header")
    };
    let (key, rest) = text.split_once('=').ok_or_else(bad)?;
    let (placeholder, places) = match rest.rsplit_once('@') {
        Some((placeholder, places)) => (placeholder, Some(places)),
        None => (rest, None),
    };
    if key.is_empty() || placeholder.is_empty() || places.is_some_and(str::is_empty) {
        return Err(bad());
    }
    Ok(SubstitutionDraft {
        key: Some(key.to_owned()),
        placeholder: Some(placeholder.to_owned()),
        surfaces: places.map(|p| p.split(',').map(|s| s.trim().to_owned()).collect()),
        headers: None,
    })
}

/// A rule that names a credential the vault lacks refuses every request: better said now.
async fn warn_of_missing(
    app: &App,
    connection: &Connection,
    vault: &str,
    entries: &[Value],
) -> Result {
    let path = ApiPath::new("/v1/credentials").query("vault", vault);
    let Ok(reply) = connection.try_send(app, Call::get(path)).await else {
        return Ok(());
    };
    let found: Credentials = reply.json()?;
    let mut missing: Vec<String> = entries
        .iter()
        .filter_map(|e| serde_json::from_value::<ServiceDraft>(e.clone()).ok())
        .filter_map(|d| Service::from_draft(d, &file::lenient()).ok())
        .flat_map(|s| s.keys().iter().map(ToString::to_string).collect::<Vec<_>>())
        .filter(|key| !found.keys.contains(key))
        .collect();
    missing.sort();
    missing.dedup();
    for key in missing {
        app.ui.warn(&format!("vault \"{vault}\" has no credential {key} yet; set it with `agent-vault vault credential set {key} --vault {vault}`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{AddArgs, AuthType, UndecodableArg, draft, header, substitution};

    fn args(host: &str) -> AddArgs {
        AddArgs {
            host: Some(host.into()),
            ..AddArgs::default()
        }
    }

    #[test]
    fn w51_substitutions_have_a_flag() {
        let s = substitution("BOT_TOKEN=__bot__@header,body").unwrap();
        assert_eq!(s.key.as_deref(), Some("BOT_TOKEN"));
        assert_eq!(s.placeholder.as_deref(), Some("__bot__"));
        assert_eq!(s.surfaces.unwrap(), ["header", "body"]);
        assert!(substitution("BOT=__x__").unwrap().surfaces.is_none());
        for bad in ["BOT", "=__x__", "BOT=", "BOT=__x__@"] {
            assert!(substitution(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_switch_for_scrubbing_has_flags() {
        let plain = AddArgs {
            token_key: Some("K".into()),
            ..args("api.x.example")
        };
        assert_eq!(draft(&plain).unwrap().scrub, None);
        let half = AddArgs {
            scrub_undecodable: Some(UndecodableArg::Pass),
            ..plain
        };
        let scrub = draft(&half).unwrap().scrub.unwrap();
        assert_eq!(
            (scrub.enabled, scrub.undecodable.as_deref()),
            (None, Some("pass"))
        );
    }

    #[test]
    fn headers_are_split_at_the_first_separator() {
        assert_eq!(
            header("X-A: Token a={{ K }}").unwrap(),
            ("X-A".into(), "Token a={{ K }}".into())
        );
        assert_eq!(header("X-A=b").unwrap(), ("X-A".into(), "b".into()));
        assert!(header("X-A").is_err());
    }

    #[test]
    fn flags_make_drafts_or_name_what_is_missing() {
        let good = AddArgs {
            token_key: Some("K".into()),
            ..args("api.x.example")
        };
        assert_eq!(
            draft(&good).unwrap().auth.unwrap().kind.as_deref(),
            Some("bearer")
        );
        let custom = AddArgs {
            header: vec!["X-Team: {{ TEAM }}".into()],
            ..args("api.x.example")
        };
        assert_eq!(
            draft(&custom).unwrap().auth.unwrap().kind.as_deref(),
            Some("custom")
        );
        for (bad, word) in [
            (AddArgs::default(), "--host"),
            (args("api.x.example"), "--auth-type"),
            (
                AddArgs {
                    auth_type: Some(AuthType::Bearer),
                    ..args("api.x.example")
                },
                "--token-key",
            ),
            (
                AddArgs {
                    auth_type: Some(AuthType::Custom),
                    ..args("api.x.example")
                },
                "--header",
            ),
            (
                AddArgs {
                    auth_type: Some(AuthType::Passthrough),
                    token_key: Some("K".into()),
                    ..args("api.x.example")
                },
                "--token-key",
            ),
            (
                AddArgs {
                    token_key: Some("lower".into()),
                    ..args("api.x.example")
                },
                "token",
            ),
            (
                AddArgs {
                    token_key: Some("K".into()),
                    port: Some(1),
                    ..args("api.x.example:2")
                },
                "port",
            ),
        ] {
            let error = draft(&bad).unwrap_err();
            assert!(error.message().contains(word), "{error}");
            assert_eq!(error.code(), 2);
        }
    }
}
