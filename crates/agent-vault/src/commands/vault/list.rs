//! `agent-vault vault list`.

use crate::cli::{App, Output, Target};
use crate::client::Call;
use crate::client::types::Vaults;
use crate::commands::{or_dash, time};
use crate::connect::Connection;
use crate::error::Result;

pub(super) async fn run(app: &App, target: &Target, output: Output) -> Result {
    let connection = Connection::open(app, target.address.as_deref()).await?;
    let reply = connection.send(app, Call::get("/v1/vaults")).await?;
    if output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let vaults: Vaults = reply.json()?;
    let rows = vaults
        .vaults
        .into_iter()
        .map(|v| {
            vec![
                v.id,
                v.name,
                or_dash(&v.role),
                v.credential_store
                    .map_or_else(|| String::from("builtin"), |store| store.kind),
                time(&v.created_at),
            ]
        })
        .collect();
    app.ui.table(
        &["ID", "NAME", "ROLE", "STORE", "CREATED"],
        rows,
        "no vaults; make one with `agent-vault vault create <name>`",
    )
}
