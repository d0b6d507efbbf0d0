//! `agent-vault vault hosts`: where agents went that no service covers.

use clap::Args;

use crate::cli::{App, Output, Target};
use crate::client::Call;
use crate::client::types::DiscoveredHosts;
use crate::commands::{or_dash, time};
use crate::error::Result;
use crate::vault_choice::vault_path;

/// `agent-vault vault hosts`.
#[derive(Args)]
pub(super) struct HostsArgs {
    /// How many hosts to show, 0 to 100
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u8).range(0..=100))]
    limit: u8,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(app: &App, target: &Target, args: HostsArgs) -> Result {
    let (connection, vault) = super::open(app, target).await?;
    let path = vault_path(&vault)
        .literal("/discovered-hosts")
        .query("limit", args.limit);
    let reply = connection.send(app, Call::get(path)).await?;
    if args.output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let found: DiscoveredHosts = reply.json()?;
    if args.limit == 0 {
        return app.ui.line(&found.total.to_string());
    }
    let shown = found.hosts.len();
    let rows = found
        .hosts
        .into_iter()
        .map(|host| {
            let auth = match (host.auth_scheme.as_str(), host.auth_header.as_str()) {
                ("", header) => or_dash(header),
                (scheme, "") => scheme.to_owned(),
                (scheme, header) => format!("{scheme} in {header}"),
            };
            vec![
                host.host,
                host.request_count.to_string(),
                auth,
                time(&host.last_seen),
            ]
        })
        .collect();
    app.ui.table(
        &["HOST", "REQUESTS", "SENT AUTH", "LAST SEEN"],
        rows,
        "no host was refused or answered 401 or 403 without a service",
    )?;
    if shown > 0 {
        app.ui.note(&format!(
            "{shown} of {}; cover one with `agent-vault vault service add --vault {vault} --host HOST --auth-type bearer --token-key KEY`",
            found.total
        ));
    }
    Ok(())
}
