//! `agent-vault vault proposal list` and `show`.

use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::super::service::plan;
use crate::cli::{App, Output, Target};
use crate::client::types::{Proposal, ProposalPage, ProposalPreview};
use crate::client::{ApiPath, Call, Reply};
use crate::commands::time;
use crate::connect::{Connection, Identity};
use crate::error::{CliError, Result};
use crate::ui::{Ui, clean};

/// Pause between two questions, at first.
const OFTEN: Duration = Duration::from_secs(3);
/// How long that lasts.
const AT_FIRST: Duration = Duration::from_secs(30);
/// Pause between two questions, afterwards.
const SELDOM: Duration = Duration::from_secs(10);
/// Longest wait that can be asked for, in seconds: as long as a proposal lives.
const MAX_WAIT: u64 = 7 * 86_400;
/// Characters of a message in a table.
const SHOWN_CHARS: usize = 60;

#[derive(Args)]
pub(super) struct ShowArgs {
    /// Its number
    id: u32,
    /// Wait until it is decided
    #[arg(long)]
    wait: bool,
    /// Give up waiting after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "wait")]
    timeout: u64,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn list(
    app: &App,
    target: &Target,
    status: Option<&str>,
    output: Output,
) -> Result {
    let (connection, vault) = super::connect(app, target).await?;
    let reply = fetch_all(app, &connection, vault.as_deref(), status).await?;
    if output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let page: ProposalPage = reply.json()?;
    let rows = page
        .proposals
        .into_iter()
        .map(|p| {
            vec![
                p.id.to_string(),
                p.status.clone(),
                time(&p.created_at),
                short(&p.message),
            ]
        })
        .collect();
    app.ui
        .table(&["#", "STATUS", "CREATED", "MESSAGE"], rows, "no proposals")
}

fn short(message: &str) -> String {
    let line = message.replace(['\n', '\r', '\t'], " ");
    if line.chars().count() <= SHOWN_CHARS {
        return line;
    }
    let cut: String = line.chars().take(SHOWN_CHARS - 3).collect();
    format!("{cut}...")
}

/// All proposals, in the view of whoever asks.
pub(super) async fn fetch_all(
    app: &App,
    connection: &Connection,
    vault: Option<&str>,
    status: Option<&str>,
) -> Result<Reply> {
    if connection.identity == Identity::Agent {
        let path = ApiPath::new("/v1/proposals").query_if("status", status);
        return connection.send(app, Call::get(path).vault(vault)).await;
    }
    let path = ApiPath::new("/v1/admin/proposals")
        .query_if("vault", vault)
        .query_if("status", status);
    connection.send(app, Call::get(path)).await
}

/// One proposal, in the view of whoever asks.
async fn fetch(app: &App, connection: &Connection, vault: Option<&str>, id: u32) -> Result<Reply> {
    if connection.identity == Identity::Agent {
        let path = ApiPath::new("/v1/proposals").segment(&id.to_string());
        return connection.send(app, Call::get(path).vault(vault)).await;
    }
    fetch_review(app, connection, vault, id).await
}

/// One proposal with what it would do.
pub(super) async fn fetch_review(
    app: &App,
    connection: &Connection,
    vault: Option<&str>,
    id: u32,
) -> Result<Reply> {
    let path = ApiPath::new("/v1/admin/proposals")
        .segment(&id.to_string())
        .query_if("vault", vault);
    connection.send(app, Call::get(path)).await
}

pub(super) async fn run(app: &App, target: &Target, args: ShowArgs) -> Result {
    if args.timeout > MAX_WAIT {
        return Err(CliError::usage(format!(
            "`--timeout` is at most {MAX_WAIT}"
        )));
    }
    let (connection, vault) = super::connect(app, target).await?;
    let begun = Instant::now();
    let end = begun + Duration::from_secs(args.timeout);
    loop {
        let reply = fetch(app, &connection, vault.as_deref(), args.id).await?;
        let proposal: Proposal = reply.json()?;
        let open = proposal.status == "pending";
        if !args.wait || !open {
            return if args.output.json {
                app.ui.line(reply.text().trim_end())
            } else {
                print(app, &proposal)
            };
        }
        let pause = if begun.elapsed() < AT_FIRST {
            OFTEN
        } else {
            SELDOM
        };
        let next = Instant::now() + pause;
        if next > end {
            return Err(CliError::new(format!(
                "nobody has decided on proposal {} within {} s",
                args.id, args.timeout
            ))
            .hint("it still waits; ask again later"));
        }
        tokio::time::sleep_until(next).await;
    }
}

/// Prints a proposal for people.
pub(super) fn print(app: &App, proposal: &Proposal) -> Result {
    app.ui.field("Proposal", &proposal.id.to_string())?;
    app.ui.field("Status", &proposal.status)?;
    if !proposal.agent_name.is_empty() {
        app.ui.field("From", &proposal.agent_name)?;
    }
    app.ui.field("Created", &time(&proposal.created_at))?;
    for (label, text) in [
        ("Message", &proposal.message),
        ("For you", &proposal.user_message),
        ("Decided by", &proposal.reviewed_by),
        ("Note", &proposal.review_note),
    ] {
        if !text.is_empty() {
            app.ui.field(label, text)?;
        }
    }
    for service in &proposal.services {
        let text = |name: &str| {
            service
                .get(name)
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default()
        };
        let kind = service
            .get("auth")
            .and_then(|auth| auth.get("type"))
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        app.ui.line(&format!(
            "{} service {} {} {}",
            sign(text("action")),
            clean(text("name")),
            clean(text("host")),
            clean(kind)
        ))?;
    }
    for slot in &proposal.credentials {
        let mut line = format!("{} credential {}", sign(&slot.action), clean(&slot.key));
        if slot.has_value {
            line.push_str(" (the agent gave a value)");
        }
        if let Some(client) = &slot.oauth {
            line.push_str(&format!(" (by OAuth from {}", clean(&client.token_url)));
            if !client.scopes.is_empty() {
                line.push_str(&format!(", for {}", clean(&client.scopes)));
            }
            line.push(')');
        }
        for text in [&slot.description, &slot.obtain, &slot.obtain_instructions] {
            if !text.is_empty() {
                line.push_str(": ");
                line.push_str(&clean(text));
            }
        }
        app.ui.line(&line)?;
    }
    match &proposal.preview {
        Some(preview) => effects(app, preview),
        None => Ok(()),
    }
}

fn sign(action: &str) -> String {
    if action == "delete" {
        Ui::red("-")
    } else {
        Ui::green("+")
    }
}

/// What a yes would do: which key goes where comes first.
fn effects(app: &App, preview: &ProposalPreview) -> Result {
    if !preview.flows.is_empty() {
        app.ui.line("\nKeys that would go to hosts:")?;
    }
    for flow in &preview.flows {
        let which = if flow.stored {
            "the stored value"
        } else {
            "a value given with the approval"
        };
        let new = if flow.new { ", new" } else { "" };
        app.ui.line(&format!(
            "  {} → {} ({which}{new}; service {})",
            clean(&flow.key),
            clean(&flow.host),
            clean(&flow.service)
        ))?;
    }
    if !preview.changes.is_empty() {
        app.ui.line("\nServices that would change:")?;
    }
    for line in preview.changes.iter().flat_map(plan::lines) {
        app.ui.line(&format!("  {line}"))?;
    }
    for warning in &preview.warnings {
        app.ui.warn(&clean(warning));
    }
    if let Some(conflict) = &preview.conflict {
        app.ui
            .warn(&format!("it cannot be approved: {}", clean(conflict)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn messages_are_one_short_line() {
        assert_eq!(short("a\nb"), "a b");
        let cut = short(&"x".repeat(61));
        assert_eq!(cut.chars().count(), 60);
        assert!(cut.ends_with("..."));
    }
}
