//! `agent-vault vault proposal create`.

use std::collections::HashSet;
use std::path::PathBuf;

use agent_vault_policy::{Service, ServiceDraft, Slug, slug_from};
use clap::Args;
use http::Method;
use serde_json::{Map, Value, json};

use super::super::service::add::{AddArgs, AuthType, draft};
use super::super::service::file;
use crate::cli::{App, Output, Target};
use crate::client::Call;
use crate::client::types::Discovery;
use crate::connect::Connection;
use crate::error::{CliError, Result};
use crate::vault_choice::text_of;
use crate::yaml;

#[derive(Args, Default)]
pub(super) struct CreateArgs {
    /// JSON file, `-` for stdin; instead of the flags for a service and credentials
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["host", "name", "auth_type", "credential", "substitute"])]
    file: Option<PathBuf>,
    /// `api.example.com` or `*.example.com`; `:port` and `/path*` may follow
    #[arg(long)]
    host: Option<String>,
    /// Name of the service [default: that of the service for this host, else made from the host]
    #[arg(long)]
    name: Option<String>,
    /// How the credential is put into the request
    #[arg(long, value_enum)]
    auth_type: Option<AuthType>,
    /// bearer: the credential's key
    #[arg(long, value_name = "KEY")]
    token_key: Option<String>,
    /// basic: the user name's key
    #[arg(long, value_name = "KEY")]
    username_key: Option<String>,
    /// basic: the password's key
    #[arg(long, value_name = "KEY")]
    password_key: Option<String>,
    /// api-key: the credential's key
    #[arg(long, value_name = "KEY")]
    api_key_key: Option<String>,
    /// api-key: header that carries it [default: Authorization]
    #[arg(long, value_name = "NAME")]
    api_key_header: Option<String>,
    /// api-key: text before it
    #[arg(long, value_name = "TEXT")]
    api_key_prefix: Option<String>,
    /// custom: a header; `{{ KEY }}` stands for a credential
    #[arg(long, value_name = "NAME: TEMPLATE")]
    header: Vec<String>,
    /// Replace a placeholder that you send, in the named places: path, query, header, body, websocket
    #[arg(long, value_name = "KEY=PLACEHOLDER[@WHERE,…]")]
    substitute: Vec<String>,
    /// A credential that a person is to give, and what it is
    #[arg(long, value_name = "KEY[=DESCRIPTION]")]
    credential: Vec<String>,
    /// What you want to do
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// More for the person who decides
    #[arg(long, value_name = "TEXT")]
    user_message: Option<String>,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(app: &App, target: &Target, args: CreateArgs) -> Result {
    let mut body = match &args.file {
        Some(path) => {
            let (name, text) = yaml::read(app, path)?;
            serde_json::from_str::<Map<String, Value>>(&text).map_err(|e| {
                CliError::new(format!("{name} is not a JSON object: {e}")).hint("nothing was sent")
            })?
        }
        None => from_flags(&args)?,
    };
    for (field, text) in [
        ("message", &args.message),
        ("user_message", &args.user_message),
    ] {
        if let Some(text) = text {
            body.insert(field.to_owned(), json!(text));
        }
    }
    let (connection, vault) = super::connect(app, target).await?;
    if args.file.is_none() && args.name.is_none() {
        name_services(app, &connection, vault.as_deref(), &mut body).await?;
    }
    let call = Call::new(Method::POST, "/v1/proposals")
        .json(&body)
        .vault(vault.as_deref());
    let reply = connection.send(app, call).await?;
    if args.output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let answer = reply.value()?;
    let number = answer.get("id").and_then(Value::as_u64).unwrap_or_default();
    app.ui
        .success(&format!("proposal {number} waits for a decision"))?;
    app.ui.field("Vault", &text_of(&answer, "vault"))?;
    app.ui
        .field("Approve at", &text_of(&answer, "approval_url"))?;
    app.ui.note(&format!(
        "`agent-vault vault proposal show {number} --wait` waits for the decision"
    ));
    Ok(())
}

fn from_flags(args: &CreateArgs) -> Result<Map<String, Value>> {
    if args.host.is_none() && args.credential.is_empty() {
        return Err(CliError::usage("`--host`, `--credential` or `--file` is needed").hint(
            "agent-vault vault proposal create --host api.example.com --auth-type bearer --token-key EXAMPLE_KEY --credential EXAMPLE_KEY",
        ));
    }
    let mut body = Map::new();
    // A name alone would let the rest be taken from a service that is there; a proposal says what it wants.
    let mut service = AddArgs::default();
    service.host.clone_from(&args.host);
    service.auth_type = args.auth_type;
    service.token_key.clone_from(&args.token_key);
    service.username_key.clone_from(&args.username_key);
    service.password_key.clone_from(&args.password_key);
    service.api_key_key.clone_from(&args.api_key_key);
    service.api_key_header.clone_from(&args.api_key_header);
    service.api_key_prefix.clone_from(&args.api_key_prefix);
    service.header.clone_from(&args.header);
    service.substitute.clone_from(&args.substitute);
    if args.host.is_some() {
        let draft = ServiceDraft {
            name: args.name.clone(),
            ..draft(&service)?
        };
        let mut entry = serde_json::to_value(&draft)
            .map_err(|e| CliError::new(format!("cannot send the service: {e}")))?;
        if let Value::Object(fields) = &mut entry {
            fields.insert(String::from("action"), json!("set"));
        }
        body.insert(String::from("services"), json!([entry]));
    } else if args.name.is_some() || args.auth_type.is_some() || !args.substitute.is_empty() {
        return Err(CliError::usage("what is said of a service needs `--host`"));
    }
    let slots: Vec<Value> = args
        .credential
        .iter()
        .map(|entry| match entry.split_once('=') {
            Some((key, description)) => {
                json!({"action": "set", "key": key, "description": description})
            }
            None => json!({"action": "set", "key": entry}),
        })
        .collect();
    if !slots.is_empty() {
        body.insert(String::from("credentials"), Value::Array(slots));
    }
    Ok(body)
}

/// Gives a new service a name that no other has; one that is there for the same host keeps its own.
async fn name_services(
    app: &App,
    connection: &Connection,
    vault: Option<&str>,
    body: &mut Map<String, Value>,
) -> Result {
    let Some(Value::Array(services)) = body.get_mut("services") else {
        return Ok(());
    };
    let found: Discovery = connection
        .send(app, Call::get("/discover").vault(vault))
        .await?
        .json()?;
    for entry in services {
        let mut fields = entry.as_object().cloned().unwrap_or_default();
        fields.remove("action");
        let Ok(mut probe) = serde_json::from_value::<ServiceDraft>(Value::Object(fields)) else {
            continue;
        };
        probe.name = Some(String::from("unnamed"));
        let Ok(probe) = Service::from_draft(probe, &file::lenient()) else {
            continue;
        };
        if found.services.iter().any(|s| s.host == probe.inline_host()) {
            continue;
        }
        let taken: HashSet<Slug> = found
            .services
            .iter()
            .filter_map(|s| s.name.parse().ok())
            .collect();
        let name = slug_from(&probe.host, probe.port, probe.path.as_ref(), &taken);
        if let Some(fields) = entry.as_object_mut() {
            fields.insert(String::from("name"), json!(name.as_str()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_make_a_document_or_name_what_is_missing() {
        let args = CreateArgs {
            host: Some("api.pay.example".into()),
            auth_type: Some(AuthType::Bearer),
            token_key: Some("PAY".into()),
            credential: vec!["PAY=The key, a=b".into(), "OTHER".into()],
            ..CreateArgs::default()
        };
        let body = Value::Object(from_flags(&args).unwrap());
        assert_eq!(body["services"][0]["action"], "set");
        assert_eq!(body["services"][0]["auth"]["token"], "PAY");
        assert_eq!(body["credentials"][0]["description"], "The key, a=b");
        assert_eq!(
            body["credentials"][1],
            json!({"action": "set", "key": "OTHER"})
        );
        for bad in [
            CreateArgs::default(),
            CreateArgs {
                host: Some("api.pay.example".into()),
                ..CreateArgs::default()
            },
            CreateArgs {
                auth_type: Some(AuthType::Bearer),
                credential: vec!["K".into()],
                ..CreateArgs::default()
            },
            CreateArgs {
                name: Some("pay".into()),
                host: Some("api.pay.example".into()),
                ..CreateArgs::default()
            },
        ] {
            assert_eq!(from_flags(&bad).unwrap_err().code(), 2);
        }
    }
}
