//! [`Image`]: everything that the data plane needs, loaded at once.

use std::collections::HashMap;

use agent_vault_seal::Sealed;
use jiff::Timestamp;
use sqlx::Acquire as _;
use uuid::Uuid;

use crate::dialect::Connection;
use crate::row::{self, Columns};
use crate::{
    AgentStatus, CredentialType, OAuthHealth, Session, Store, StoreError, VaultRole, agents,
    credentials, sessions,
};

/// The setting that says what happens to hosts that no service covers.
const UNMATCHED_SETTING: &str = "unmatched_host_policy";

/// One consistent view of the database.
#[derive(Debug, Clone)]
pub struct Image {
    /// The version that it shows; compare with [`Store::version`].
    pub version: i64,
    /// This instance's random id.
    pub instance_id: String,
    /// Every vault.
    pub vaults: Vec<VaultImage>,
    /// Every agent, revoked ones too.
    pub agents: Vec<AgentImage>,
    /// Addresses of all users, by id.
    pub users: HashMap<Uuid, String>,
    /// Every session that is live at the time of the image, logins too.
    pub sessions: Vec<Session>,
}

/// A vault as the data plane needs it.
#[derive(Debug, Clone)]
pub struct VaultImage {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its services, a JSON array.
    pub services_json: String,
    /// What happens to other hosts: the stored word, or `None` when none is stored.
    pub unmatched_policy: Option<String>,
    /// Its credentials, in no order.
    pub credentials: Vec<CredentialImage>,
}

/// A credential as the data plane needs it.
#[derive(Debug, Clone)]
pub struct CredentialImage {
    /// Its name.
    pub key: String,
    /// Where its value comes from.
    pub kind: CredentialType,
    /// The version that `sealed` is bound to.
    pub version: u32,
    /// Its value, sealed for (vault, key, version).
    pub sealed: Sealed,
    /// From when on it counts as absent.
    pub expires_at: Option<Timestamp>,
    /// When it got this value.
    pub updated_at: Timestamp,
    /// How the grant behind it is, when it has one.
    pub oauth: Option<OAuthHealth>,
}

/// An agent as the data plane needs it.
#[derive(Debug, Clone)]
pub struct AgentImage {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Whether it may act.
    pub status: AgentStatus,
    /// Its vaults, oldest grant first.
    pub grants: Vec<(Uuid, VaultRole)>,
}

impl Store {
    /// Loads everything in seven statements and one read transaction, so that no half of a commit
    /// shows.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read, or a row makes no sense.
    pub async fn image(&self, now: Timestamp) -> Result<Image, StoreError> {
        let mut reader = self.reader().await?;
        let mut snapshot = reader.begin().await?;
        let image = load(&mut snapshot, self.instance_id(), now).await?;
        snapshot.commit().await?;
        Ok(image)
    }
}

async fn load(
    connection: &mut Connection,
    instance_id: &str,
    now: Timestamp,
) -> Result<Image, StoreError> {
    let version = version(connection).await?;

    let rows = sqlx::query(
        "select v.id, v.name, b.services_json, s.value as unmatched
         from vaults v
         join broker_configs b on b.vault_id = v.id
         left join vault_settings s on s.vault_id = v.id and s.key = $1
         order by v.name",
    )
    .bind(UNMATCHED_SETTING)
    .fetch_all(&mut *connection)
    .await?;
    let mut vaults = row::all(rows, |row| {
        Ok(VaultImage {
            id: row.id("id")?,
            name: row.text("name")?,
            services_json: row.text("services_json")?,
            unmatched_policy: row.opt_text("unmatched")?,
            credentials: Vec::new(),
        })
    })?;

    let mut by_vault: HashMap<Uuid, Vec<CredentialImage>> = HashMap::new();
    for credential in credentials::all_credentials(connection).await? {
        by_vault
            .entry(credential.vault_id)
            .or_default()
            .push(CredentialImage {
                key: credential.key,
                kind: credential.kind,
                version: credential.version,
                sealed: credential.sealed,
                expires_at: credential.expires_at,
                updated_at: credential.updated_at,
                oauth: credential.oauth,
            });
    }
    for vault in &mut vaults {
        vault.credentials = by_vault.remove(&vault.id).unwrap_or_default();
    }

    let rows = sqlx::query(
        "select actor_id, vault_id, role from vault_grants where actor_type = 'agent' order by created_at, vault_id",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut by_agent: HashMap<Uuid, Vec<(Uuid, VaultRole)>> = HashMap::new();
    for row in &rows {
        by_agent
            .entry(row.id("actor_id")?)
            .or_default()
            .push((row.id("vault_id")?, row.word("role")?));
    }
    let agents = agents::agents(connection)
        .await?
        .into_iter()
        .map(|agent| AgentImage {
            grants: by_agent.remove(&agent.id).unwrap_or_default(),
            id: agent.id,
            name: agent.name,
            status: agent.status,
        })
        .collect();

    let rows = sqlx::query("select id, email from users")
        .fetch_all(&mut *connection)
        .await?;
    let users = row::all(rows, |row| Ok((row.id("id")?, row.text("email")?)))?
        .into_iter()
        .collect();

    let sessions = sessions::live_sessions(connection, now).await?;
    Ok(Image {
        version,
        instance_id: instance_id.to_owned(),
        vaults,
        agents,
        users,
        sessions,
    })
}

async fn version(connection: &mut Connection) -> Result<i64, StoreError> {
    Ok(
        sqlx::query_scalar("select counter from instance_version where id = 1")
            .fetch_one(connection)
            .await?,
    )
}

reads! {
    /// The instance's version: it grows with every management commit of any process that shares the
    /// database. Poll it, and load a new [`Image`] when it has changed.
    version() -> i64;
}
