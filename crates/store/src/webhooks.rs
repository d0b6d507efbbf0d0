//! Endpoints that are told of what happens, of one vault or of the instance, with their signing secrets, sealed.
//!
//! `webhook_queue.rs` has what is still to be said to them.

use agent_vault_seal::{SealContext, SealKind, Sealed};
use jiff::Timestamp;
use uuid::Uuid;

use crate::actors::words;
use crate::dialect::{Connection, Row};
use crate::row::{self, Columns};
use crate::{StoreError, Tx};

/// The owner in the seal of a secret that belongs to the instance.
const INSTANCE: &str = "instance";

words! {
    /// Whether an endpoint is told of anything.
    WebhookState("webhook state") {
        /// It is.
        Active = "active",
        /// It did not answer for long; what happens is kept for it, within bounds, until somebody switches it on again.
        Parked = "parked",
        /// Somebody switched it off.
        Off = "off",
    }
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: Uuid,
    /// The vault that it hears of; `None` for one of the instance, which hears of all.
    pub vault_id: Option<Uuid>,
    /// Where it is.
    pub url: String,
    /// Names of the events that it wants; empty for all.
    pub events: Vec<String>,
    /// What people call it.
    pub description: String,
    /// Whether it is told of anything.
    pub state: WebhookState,
    /// Failed attempts since the last good one.
    pub failures: u32,
    /// When the first of them was.
    pub failing_since: Option<Timestamp>,
    /// When it was parked.
    pub parked_at: Option<Timestamp>,
    /// When it last took something.
    pub delivered_at: Option<Timestamp>,
    /// Why the last attempt failed; empty after a good one.
    pub last_error: String,
    /// Events that found its queue full.
    pub dropped: u64,
    /// What waits to be sent to it.
    pub pending: u64,
    /// When it was added.
    pub created_at: Timestamp,
    /// When somebody last changed it.
    pub updated_at: Timestamp,
}

/// What signs for an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSecret {
    /// Counts from 1.
    pub version: u32,
    /// The secret, sealed for [`WebhookSecret::seal_context`].
    pub sealed: Sealed,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it signs; `None` for the newest.
    pub expires_at: Option<Timestamp>,
}

impl WebhookSecret {
    /// The place that a secret is sealed for. `vault` and `webhook` are ids as text; no vault stands for the instance.
    pub fn seal_context<'a>(
        vault: Option<&'a str>,
        webhook: &'a str,
        version: u32,
    ) -> SealContext<'a> {
        SealContext {
            kind: SealKind::Webhook,
            owner: vault.unwrap_or(INSTANCE),
            name: webhook,
            version,
        }
    }
}

const COLUMNS: &str = "w.id, w.vault_id, w.url, w.events, w.description, w.state, w.failures, w.failing_since, w.parked_at, \
    w.delivered_at, w.last_error, w.dropped, w.created_at, w.updated_at, \
    (select count(*) from webhook_deliveries d where d.webhook_id = w.id and d.status = 'pending') as pending";

fn read(row: &Row) -> Result<Webhook, StoreError> {
    Ok(Webhook {
        id: row.id("id")?,
        vault_id: row.opt_id("vault_id")?,
        url: row.text("url")?,
        events: split(&row.text("events")?),
        description: row.text("description")?,
        state: row.word("state")?,
        failures: row.uint("failures")?,
        failing_since: row.opt_time("failing_since")?,
        parked_at: row.opt_time("parked_at")?,
        delivered_at: row.opt_time("delivered_at")?,
        last_error: row.text("last_error")?,
        dropped: row.int("dropped")?.unsigned_abs(),
        pending: row.int("pending")?.unsigned_abs(),
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}

/// `,a,b,`: a name can be looked for with its commas, and is then that name and no other.
fn joined(events: &[String]) -> String {
    if events.is_empty() {
        return String::new();
    }
    format!(",{},", events.join(","))
}

fn split(events: &str) -> Vec<String> {
    events
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

async fn webhooks(
    connection: &mut Connection,
    vault_id: Option<Uuid>,
) -> Result<Vec<Webhook>, StoreError> {
    let sql = format!(
        "select {COLUMNS} from webhooks w where coalesce(w.vault_id, '') = $1 order by w.created_at, w.id"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(vault_id.map(|id| id.to_string()).unwrap_or_default())
        .fetch_all(connection)
        .await?;
    row::all(rows, read)
}

async fn webhook(connection: &mut Connection, id: Uuid) -> Result<Option<Webhook>, StoreError> {
    let sql = format!("select {COLUMNS} from webhooks w where w.id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    row::one(row, read)
}

async fn webhook_secrets(
    connection: &mut Connection,
    id: Uuid,
) -> Result<Vec<WebhookSecret>, StoreError> {
    let rows = sqlx::query(
        "select version, sealed, created_at, expires_at from webhook_secrets where webhook_id = $1 order by version desc",
    )
    .bind(id.to_string())
    .fetch_all(connection)
    .await?;
    row::all(rows, |row| {
        Ok(WebhookSecret {
            version: row.uint("version")?,
            sealed: row.sealed("sealed")?,
            created_at: row.time("created_at")?,
            expires_at: row.opt_time("expires_at")?,
        })
    })
}

reads! {
    /// The endpoints of a vault, or those of the instance, oldest first.
    webhooks(vault_id: Option<Uuid>) -> Vec<Webhook>;
    /// One endpoint.
    webhook(id: Uuid) -> Option<Webhook>;
    /// What signs for an endpoint, newest first.
    webhook_secrets(id: Uuid) -> Vec<WebhookSecret>;
}

impl Tx {
    /// Adds an endpoint.
    ///
    /// # Errors
    /// `Conflict` for an id that is taken; `NotFound` for an unknown vault.
    pub async fn insert_webhook(&mut self, webhook: &Webhook) -> Result<(), StoreError> {
        sqlx::query(
            "insert into webhooks (id, vault_id, url, events, description, state, created_at, updated_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(webhook.id.to_string())
        .bind(webhook.vault_id.map(|id| id.to_string()))
        .bind(&webhook.url)
        .bind(joined(&webhook.events))
        .bind(&webhook.description)
        .bind(webhook.state.as_str())
        .bind(webhook.created_at.as_millisecond())
        .bind(webhook.updated_at.as_millisecond())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Writes what people may change of an endpoint: where it is, what it wants, whether it is on. One that is switched on starts
    /// anew, with what waits for it due at once.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn change_webhook(
        &mut self,
        webhook: &Webhook,
        restart: bool,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "update webhooks set url = $2, events = $3, description = $4, state = $5, updated_at = $6,
                 parked_at = case when $5 = 'parked' then parked_at end where id = $1",
        )
        .bind(webhook.id.to_string())
        .bind(&webhook.url)
        .bind(joined(&webhook.events))
        .bind(&webhook.description)
        .bind(webhook.state.as_str())
        .bind(webhook.updated_at.as_millisecond())
        .execute(self.connection())
        .await?;
        if restart {
            sqlx::query(
                "update webhooks set failures = 0, failing_since = null, last_error = '' where id = $1",
            )
            .bind(webhook.id.to_string())
            .execute(self.connection())
            .await?;
            sqlx::query(
                "update webhook_deliveries set next_at = $2
                 where webhook_id = $1 and status = 'pending' and next_at > $2",
            )
            .bind(webhook.id.to_string())
            .bind(webhook.updated_at.as_millisecond())
            .execute(self.connection())
            .await?;
        }
        Ok(())
    }

    /// Removes an endpoint with its secrets and all that waits for it. Answers whether it was there.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_webhook(&mut self, id: Uuid) -> Result<bool, StoreError> {
        let deleted = sqlx::query("delete from webhooks where id = $1")
            .bind(id.to_string())
            .execute(self.connection())
            .await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// Adds a signing secret. The one before it signs until `overlap`; those before that one are removed.
    ///
    /// # Errors
    /// `NotFound` for an unknown endpoint; `Conflict` for a version that is taken.
    pub async fn put_webhook_secret(
        &mut self,
        id: Uuid,
        secret: &WebhookSecret,
        overlap: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("delete from webhook_secrets where webhook_id = $1 and expires_at is not null")
            .bind(id.to_string())
            .execute(self.connection())
            .await?;
        sqlx::query(
            "update webhook_secrets set expires_at = $2 where webhook_id = $1 and expires_at is null",
        )
        .bind(id.to_string())
        .bind(overlap.as_millisecond())
        .execute(self.connection())
        .await?;
        sqlx::query(
            "insert into webhook_secrets (webhook_id, version, sealed, created_at, expires_at) values ($1, $2, $3, $4, $5)",
        )
        .bind(id.to_string())
        .bind(i64::from(secret.version))
        .bind(secret.sealed.as_bytes())
        .bind(secret.created_at.as_millisecond())
        .bind(secret.expires_at.map(Timestamp::as_millisecond))
        .execute(self.connection())
        .await?;
        Ok(())
    }
}
