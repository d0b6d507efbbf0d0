//! `agent-vault vault service test`: what the proxy would do with a request, without sending it.

use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::cli::{App, Output, Target};
use crate::client::Call;
use crate::error::{CliError, Result};
use crate::ui::Ui;
use crate::vault_choice::vault_path;

/// The question.
#[derive(clap::Args)]
pub(super) struct TestArgs {
    /// As the agent would ask: `https://api.example.com/v1/items`; https where it has no scheme
    url: String,
    /// Ask as this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// A header that the agent would send; matters where a placeholder chooses the account
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    decision: String,
    summary: String,
    code: Option<String>,
    hint: Option<String>,
    host: String,
    path: String,
    service: Option<Named>,
    sets: Vec<Field>,
    replaces: Vec<Replaced>,
    considered: Vec<Considered>,
    elsewhere: usize,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
    host: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Field {
    name: String,
    value: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Replaced {
    placeholder: String,
    key: String,
    r#in: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Considered {
    name: String,
    host: String,
    standing: String,
    why: String,
}

pub(super) async fn run(app: &App, target: &Target, args: TestArgs) -> Result {
    let headers = args
        .header
        .iter()
        .map(|text| {
            let (name, value) = text.split_once(':').ok_or_else(|| {
                CliError::usage(format!("`--header {text}`: expected `Name: value`"))
            })?;
            Ok(json!({"name": name.trim(), "value": value.trim()}))
        })
        .collect::<Result<Vec<_>>>()?;
    let (connection, vault) = super::super::open(app, target).await?;
    let mut body = json!({"url": args.url, "headers": headers});
    if let (Some(agent), Some(fields)) = (&args.agent, body.as_object_mut()) {
        fields.insert(String::from("agent"), json!(agent));
    }
    let call = Call::new(Method::POST, vault_path(&vault).literal("/service-test")).json(&body);
    let reply = connection.send(app, call).await?;
    if args.output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let answer: Answer = reply.json()?;
    for line in lines(&answer) {
        app.ui.line(&line)?;
    }
    if let Some(hint) = &answer.hint {
        app.ui.note(&format!("hint: {hint}"));
    }
    Ok(())
}

fn lines(answer: &Answer) -> Vec<String> {
    let sign = match answer.decision.as_str() {
        "inject" => Ui::green("✓"),
        "deny" => Ui::red("✗"),
        _ => String::from("·"),
    };
    let mut lines = vec![
        format!("{} {}", answer.host, answer.path),
        match &answer.code {
            Some(code) => format!("{sign} {} ({code})", answer.summary),
            None => format!("{sign} {}", answer.summary),
        },
    ];
    if let Some(service) = &answer.service {
        lines.push(format!("  service   {} ({})", service.name, service.host));
    }
    for field in &answer.sets {
        lines.push(format!("  sets      {}: {}", field.name, field.value));
    }
    for replaced in &answer.replaces {
        lines.push(format!(
            "  replaces  {} by {{{{ {} }}}} in {}",
            replaced.placeholder,
            replaced.key,
            replaced.r#in.join(", ")
        ));
    }
    for rule in &answer.considered {
        if rule.standing != "chosen" {
            lines.push(format!(
                "  not       {} ({}): {}",
                rule.name, rule.host, rule.why
            ));
        }
    }
    if answer.elsewhere > 0 {
        let noun = if answer.elsewhere == 1 {
            "service is"
        } else {
            "services are"
        };
        lines.push(format!("  {} {noun} for other hosts", answer.elsewhere));
    }
    lines
}
