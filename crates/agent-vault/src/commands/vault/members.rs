//! Who may use a vault: what `vault user` and `vault agent` do alike.

use http::Method;
use serde_json::json;

use crate::cli::{App, Output, Target, Yes};
use crate::client::{Call, Reply};
use crate::connect::Connection;
use crate::error::Result;
use crate::vault_choice::vault_path;

/// A kind of member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Agent,
    Person,
}

impl Kind {
    /// The name of their list in the API.
    fn list(self) -> &'static str {
        match self {
            Kind::Agent => "/agents",
            Kind::Person => "/users",
        }
    }

    /// What the API calls the member's name.
    fn field(self) -> &'static str {
        match self {
            Kind::Agent => "name",
            Kind::Person => "email",
        }
    }

    /// One of them, as a sentence has it.
    fn called(self, name: &str) -> String {
        match self {
            Kind::Agent => format!("agent \"{name}\""),
            Kind::Person => name.to_owned(),
        }
    }
}

/// The members of one kind of one vault.
pub(super) struct Members {
    connection: Connection,
    vault: String,
    kind: Kind,
}

impl Members {
    pub(super) async fn open(app: &App, target: &Target, kind: Kind) -> Result<Members> {
        let (connection, vault) = super::open(app, target).await?;
        Ok(Members {
            connection,
            vault,
            kind,
        })
    }

    pub(super) async fn add(&self, app: &App, name: &str, role: &str) -> Result {
        let path = vault_path(&self.vault).literal(self.kind.list());
        let body = json!({self.kind.field(): name, "role": role});
        let call = Call::new(Method::POST, path).json(&body);
        self.connection.send(app, call).await?;
        let (who, vault) = (self.kind.called(name), &self.vault);
        app.ui
            .success(&format!("{who} may use vault \"{vault}\" as {role}"))
    }

    /// The list; `None` when it was printed as it came.
    pub(super) async fn list(&self, app: &App, output: Output) -> Result<Option<Reply>> {
        let path = vault_path(&self.vault).literal(self.kind.list());
        let reply = self.connection.send(app, Call::get(path)).await?;
        if output.json {
            app.ui.line(reply.text().trim_end())?;
            return Ok(None);
        }
        Ok(Some(reply))
    }

    pub(super) async fn remove(&self, app: &App, name: &str, yes: Yes) -> Result {
        let (who, vault) = (self.kind.called(name), &self.vault);
        app.ui
            .confirm(&format!("Take vault \"{vault}\" from {who}?"), yes.yes)?;
        let path = vault_path(vault).literal(self.kind.list()).segment(name);
        self.connection
            .send(app, Call::new(Method::DELETE, path))
            .await?;
        app.ui
            .success(&format!("{who} may no longer use vault \"{vault}\""))
    }

    pub(super) async fn set_role(&self, app: &App, name: &str, role: &str) -> Result {
        let (who, vault) = (self.kind.called(name), &self.vault);
        let path = vault_path(vault).literal(self.kind.list()).segment(name);
        let call = Call::new(Method::POST, path.literal("/role")).json(&json!({"role": role}));
        self.connection.send(app, call).await?;
        app.ui
            .success(&format!("{who} is {role} in vault \"{vault}\""))
    }
}
