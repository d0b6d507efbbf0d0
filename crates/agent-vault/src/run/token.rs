//! The token that the child holds: minted for the run and ended with it, or the one that was given.

use agent_vault_seal::SecretBytes;
use http::Method;
use serde_json::json;

use super::RunArgs;
use crate::cli::App;
use crate::client::types::{Minted, ScopedSessions};
use crate::client::{ApiPath, Call};
use crate::connect::{Connection, Identity};
use crate::error::{CliError, Result};

/// Longest label that a server takes, in characters.
const MAX_LABEL_CHARS: usize = 100;

/// The child's token.
pub(super) struct RunToken {
    secret: SecretBytes,
    vault: String,
    /// What the server calls the minted token; `None` for a token that was given, which is not ours to end.
    minted: Option<String>,
}

impl RunToken {
    /// Mints a token for the run; with an agent's identity, takes that token itself, unless the run is to be confined.
    pub(super) async fn obtain(
        app: &App,
        connection: &Connection,
        vault: &str,
        args: &RunArgs,
        program: &str,
    ) -> Result<RunToken> {
        if connection.identity == Identity::Agent && !args.confine.is_given() {
            let secret = connection
                .client
                .token()
                .ok_or_else(|| CliError::new("there is no token"))?;
            return Ok(RunToken {
                secret,
                vault: vault.to_owned(),
                minted: None,
            });
        }
        let label = label(program);
        let mut body = json!({"vault": vault, "label": label});
        if let Some(object) = body.as_object_mut() {
            if let Some(ttl) = args.ttl.filter(|ttl| *ttl != 0) {
                object.insert(String::from("ttl_seconds"), json!(ttl));
            }
            args.confine.put(object);
        }
        let call = Call::new(Method::POST, "/v1/sessions").json(&body);
        let reply = connection.try_send(app, call).await.map_err(|refused| {
            let may_not_mint = refused.status == 403 && connection.identity == Identity::Agent;
            let error = connection.explain(refused);
            if may_not_mint {
                error.hint("a run that is confined gets a token of its own, and for that the agent has to be `member` of the vault")
            } else {
                error
            }
        })?;
        let minted: Minted = reply.json()?;
        let id = match minted.id {
            Some(id) => Some(id),
            None => newest_with_label(app, connection, vault, &label).await,
        };
        Ok(RunToken {
            secret: SecretBytes::new(minted.token.into_bytes()),
            vault: vault.to_owned(),
            minted: id,
        })
    }

    pub(super) fn secret(&self) -> &SecretBytes {
        &self.secret
    }

    /// The public id of a token that was minted for this run.
    pub(super) fn id(&self) -> Option<&str> {
        self.minted.as_deref()
    }

    /// Ends a token that was minted for this run. Its life is bounded anyway, so a server that is gone is no failure.
    pub(super) async fn end(&self, app: &App, connection: &Connection) {
        let Some(id) = &self.minted else { return };
        let path = ApiPath::new("/v1/sessions")
            .segment(id)
            .query("vault", &self.vault);
        if let Err(e) = connection
            .client
            .send(&Call::new(Method::DELETE, path))
            .await
            && e.status != 404
        {
            app.ui.warn(&format!(
                "the run's token could not be revoked: {}; it ends by itself",
                e.message()
            ));
        }
    }
}

/// `run: <command>`, in the characters and length that a server takes.
fn label(program: &str) -> String {
    format!("run: {program}")
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_LABEL_CHARS)
        .collect()
}

/// For servers that do not tell the id of what they mint: the list is newest first.
async fn newest_with_label(
    app: &App,
    connection: &Connection,
    vault: &str,
    label: &str,
) -> Option<String> {
    let path = ApiPath::new("/v1/sessions").query("vault", vault);
    let found: ScopedSessions = connection
        .send(app, Call::get(path))
        .await
        .ok()?
        .json()
        .ok()?;
    found
        .sessions
        .into_iter()
        .find(|s| s.label == label)
        .map(|s| s.id)
}

#[cfg(test)]
mod tests {
    #[test]
    fn labels_fit() {
        assert_eq!(super::label("cl\u{7}aude"), "run: claude");
        assert_eq!(super::label(&"x".repeat(300)).chars().count(), 100);
    }
}
