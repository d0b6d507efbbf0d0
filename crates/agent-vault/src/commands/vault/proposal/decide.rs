//! `agent-vault vault proposal approve`, `reject` and `review`.

use clap::Args;
use http::Method;
use serde::Serialize;

use super::super::credential::{self, Values};
use super::show;
use crate::cli::{App, Target, Yes};
use crate::client::types::{Proposal, ProposalPage};
use crate::client::{ApiPath, Call};
use crate::connect::Connection;
use crate::error::{CliError, Result};
use crate::ui::clean;

#[derive(Args)]
pub(super) struct ApproveArgs {
    /// Its number
    id: u32,
    /// A value: KEY (asks), KEY=- (stdin), or KEY=VALUE (visible to others on this machine)
    #[arg(value_name = "KEY[=-|=VALUE]")]
    values: Vec<String>,
    /// Read a value from a file, one trailing line end removed
    #[arg(long, value_name = "KEY=PATH")]
    from_file: Vec<String>,
    /// Take a value from the environment variable of the same name, or of another: KEY=VARIABLE
    #[arg(long, value_name = "KEY[=VARIABLE]")]
    from_env: Vec<String>,
    #[command(flatten)]
    yes: Yes,
}

#[derive(Serialize)]
struct ApprovalBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    vault: Option<&'a str>,
    credentials: Values,
    /// Of the services that were shown: nobody approves something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
}

#[derive(Serialize)]
struct RejectionBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    vault: Option<&'a str>,
    reason: &'a str,
}

fn path(id: u32, word: &'static str) -> ApiPath {
    ApiPath::new("/v1/admin/proposals")
        .segment(&id.to_string())
        .literal(word)
}

pub(super) async fn approve(app: &App, target: &Target, args: ApproveArgs) -> Result {
    let (connection, vault) = super::connect(app, target).await?;
    let proposal: Proposal = show::fetch_review(app, &connection, vault.as_deref(), args.id)
        .await?
        .json()?;
    show::print(app, &proposal)?;
    let values = credential::given(app, &args.values, &args.from_file, &args.from_env)?;
    for (key, _) in &values.0 {
        if !proposal
            .credentials
            .iter()
            .any(|slot| slot.action == "set" && slot.oauth.is_none() && slot.key == *key)
        {
            return Err(CliError::usage(format!(
                "proposal {} sets no credential {key}",
                args.id
            )));
        }
    }
    confirmed(
        app,
        &connection,
        vault.as_deref(),
        &proposal,
        values,
        args.yes,
    )
    .await
}

/// Asks, reads what is missing, and approves what was shown.
async fn confirmed(
    app: &App,
    connection: &Connection,
    vault: Option<&str>,
    proposal: &Proposal,
    mut values: Values,
    yes: Yes,
) -> Result {
    let id = proposal.id;
    if proposal.status != "pending" {
        return Err(CliError::new(format!(
            "proposal {id} is {}, not pending",
            proposal.status
        )));
    }
    if let Some(conflict) = proposal.preview.as_ref().and_then(|p| p.conflict.as_ref()) {
        return Err(
            CliError::new(format!("proposal {id} cannot be approved: {conflict}")).hint(format!(
                "reject it with `agent-vault vault proposal reject {id}`"
            )),
        );
    }
    app.ui
        .confirm(&format!("Approve proposal {id}?"), yes.yes)?;
    for slot in &proposal.credentials {
        let there = values.0.iter().any(|(key, _)| *key == slot.key);
        if slot.action == "set" && !slot.has_value && !there && slot.oauth.is_none() {
            values.0.extend(credential::typed(app, &slot.key)?.0);
        }
    }
    let body = ApprovalBody {
        vault,
        credentials: values,
        revision: proposal
            .preview
            .as_ref()
            .and_then(|preview| preview.revision),
    };
    let call = Call::new(Method::POST, path(id, "/approve")).json(&body);
    connection.send(app, call).await?;
    app.ui.success(&format!("proposal {id} is applied"))?;
    for slot in proposal
        .credentials
        .iter()
        .filter(|slot| slot.action == "set")
    {
        let Some(client) = &slot.oauth else {
            continue;
        };
        let key = clean(&slot.key);
        app.ui.note(&if client.authorization_url.is_empty() {
            format!("{key} works once it has tokens: `agent-vault vault credential oauth tokens {key}`")
        } else {
            format!("{key} works once it is connected: `agent-vault vault credential oauth connect {key}`")
        });
    }
    Ok(())
}

pub(super) async fn reject(app: &App, target: &Target, id: u32, reason: &str) -> Result {
    let (connection, vault) = super::connect(app, target).await?;
    turned_down(app, &connection, vault.as_deref(), id, reason).await
}

async fn turned_down(
    app: &App,
    connection: &Connection,
    vault: Option<&str>,
    id: u32,
    reason: &str,
) -> Result {
    let body = RejectionBody { vault, reason };
    let call = Call::new(Method::POST, path(id, "/reject")).json(&body);
    connection.send(app, call).await?;
    app.ui.success(&format!("proposal {id} is rejected"))
}

pub(super) async fn review(app: &App, target: &Target) -> Result {
    if !app.ui.is_interactive() {
        return Err(CliError::usage("`review` asks, and there is no terminal")
            .hint("agent-vault vault proposal approve <number> --yes"));
    }
    let (connection, vault) = super::connect(app, target).await?;
    let vault = vault.as_deref();
    let mut page: ProposalPage = show::fetch_all(app, &connection, vault, Some("pending"))
        .await?
        .json()?;
    // The oldest first: it has waited longest.
    page.proposals.sort_by_key(|proposal| proposal.id);
    if page.proposals.is_empty() {
        app.ui.note("no proposal waits");
        return Ok(());
    }
    let (mut approved, mut rejected) = (Vec::new(), Vec::new());
    for waiting in page.proposals {
        let id = waiting.id;
        let proposal: Proposal = show::fetch_review(app, &connection, vault, id)
            .await?
            .json()?;
        if proposal.status != "pending" {
            continue;
        }
        show::print(app, &proposal)?;
        let answer = app
            .ui
            .ask("[a]pprove, [r]eject, [s]kip or [q]uit", "--yes")?;
        let done = match answer.to_ascii_lowercase().as_str() {
            "a" | "approve" => {
                let none = Values(Vec::new());
                confirmed(app, &connection, vault, &proposal, none, super::given())
                    .await
                    .map(|()| approved.push(id.to_string()))
            }
            "r" | "reject" => {
                let reason = app.ui.ask("Reason, may be empty", "--reason")?;
                turned_down(app, &connection, vault, id, &reason)
                    .await
                    .map(|()| rejected.push(id.to_string()))
            }
            "q" | "quit" => break,
            _ => Ok(()),
        };
        // One that cannot be decided keeps nobody from the others.
        if let Err(error) = done {
            app.ui.error(&error);
        }
    }
    app.ui.line(&format!(
        "approved: {}; rejected: {}",
        listed(&approved),
        listed(&rejected)
    ))
}

fn listed(ids: &[String]) -> String {
    if ids.is_empty() {
        String::from("none")
    } else {
        ids.join(", ")
    }
}
