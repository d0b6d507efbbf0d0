//! Endpoints that are told of what happens: added, changed and looked at by people, told in the background.
//!
//! | file | what it holds |
//! |---|---|
//! | `event.rs` | what there is to tell, and its form |
//! | `input.rs` | what people may say about an endpoint |
//! | `notice.rs` | what the request log shows, brought down to few events |
//! | `deliver.rs` | sending: signatures, retries, parking |
//!
//! An event of a management action is queued by the very transaction that does it. The queue is the database's, so what was queued
//! is sent, by whichever process serves next.

mod deliver;
mod event;
mod input;
mod notice;

use agent_vault_seal::{SecretBytes, hmac_sha256, public_id, signing_secret};
use agent_vault_store::{Delivery, Vault, Webhook, WebhookSecret, WebhookState};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

pub(crate) use deliver::FULL_AGE;
pub use deliver::{Courier, Delivering, Parcel, Receipt};
pub use event::EventKind;
pub(crate) use event::{Event, Proposed, queue};
pub use input::WebhookUrl;
pub(crate) use notice::Hooks;

use crate::Control;
use crate::access::{self, InstanceOwner, Rows};
use crate::actor::Actor;
use crate::error::{ControlError, ErrorKind};
use crate::write::Write;

/// Endpoints of one vault, and of the instance.
const MAX_WEBHOOKS: usize = 20;
/// How long the former secret signs too after a rotation, unless somebody says otherwise.
const DEFAULT_OVERLAP: SignedDuration = SignedDuration::from_hours(24);
/// Longest that it may.
const MAX_OVERLAP: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Deliveries in one list.
const MAX_LISTED: u32 = 200;

/// Whose endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookScope<'a> {
    /// Those of a vault: for its admins and for instance owners.
    Vault(&'a str),
    /// Those of the instance, which hear of every vault: for instance owners.
    Instance,
}

/// A new endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewWebhook {
    /// Where it is.
    pub url: String,
    /// Names of events that it wants; empty for all.
    pub events: Vec<String>,
    /// What people call it.
    pub description: String,
}

/// What is to change; what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebhookChange {
    /// Where it is.
    pub url: Option<String>,
    /// Names of events that it wants; empty for all.
    pub events: Option<Vec<String>>,
    /// What people call it.
    pub description: Option<String>,
    /// On (a parked one starts anew) or off.
    pub enabled: Option<bool>,
}

/// An endpoint as its keepers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookView {
    /// Itself.
    pub webhook: Webhook,
    /// Until when the secret before the newest signs too.
    pub former_secret_until: Option<Timestamp>,
}

/// A signing secret, as receivers need it. Shown once.
pub struct ShownSecret(pub Zeroizing<String>);

impl std::fmt::Debug for ShownSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Actions on endpoints.
#[derive(Debug, Clone, Copy)]
pub struct Webhooks<'c>(pub(crate) &'c Control);

impl Control {
    /// Endpoints that are told of what happens.
    #[must_use]
    pub fn webhooks(&self) -> Webhooks<'_> {
        Webhooks(self)
    }
}

impl Webhooks<'_> {
    /// The endpoints, oldest first.
    ///
    /// # Errors
    /// For anybody whom the scope is not for.
    pub async fn list(
        &self,
        actor: &Actor,
        scope: WebhookScope<'_>,
    ) -> Result<Vec<WebhookView>, ControlError> {
        let mut rows = self.0.store().clone();
        let vault = allowed(&mut rows, actor, scope).await?;
        let mut views = Vec::new();
        for webhook in rows.webhooks(vault.map(|vault| vault.id)).await? {
            views.push(self.view(webhook).await?);
        }
        Ok(views)
    }

    /// One endpoint.
    ///
    /// # Errors
    /// For anybody whom the scope is not for; `NotFound`.
    pub async fn get(
        &self,
        actor: &Actor,
        scope: WebhookScope<'_>,
        id: &str,
    ) -> Result<WebhookView, ControlError> {
        let mut rows = self.0.store().clone();
        let vault = allowed(&mut rows, actor, scope).await?;
        let found = match id.parse::<Uuid>() {
            Ok(id) => rows.webhook(id).await?,
            Err(_) => None,
        };
        self.view(of_scope(found, vault.as_ref(), id)?).await
    }

    /// Adds an endpoint; answers it with the secret that signs what it is sent, which is shown this once.
    ///
    /// # Errors
    /// For anybody whom the scope is not for; `Invalid`, naming the field; `TooMany` beyond 20.
    pub async fn add(
        &self,
        actor: &Actor,
        scope: WebhookScope<'_>,
        new: NewWebhook,
    ) -> Result<(WebhookView, ShownSecret), ControlError> {
        let mut write = self.0.begin(actor, "webhook.add", target(scope)).await?;
        let outcome = add(&mut write, actor, scope, new).await;
        let (webhook, secret) = write.finish(outcome).await?;
        Ok((self.view(webhook).await?, secret))
    }

    /// Changes an endpoint. Switching it on, or giving it another URL, starts it anew: failures are forgotten, and what waits is sent.
    ///
    /// # Errors
    /// For anybody whom the scope is not for; `NotFound`; `Invalid`, naming the field.
    pub async fn change(
        &self,
        actor: &Actor,
        scope: WebhookScope<'_>,
        id: &str,
        change: WebhookChange,
    ) -> Result<WebhookView, ControlError> {
        let mut write = self.0.begin(actor, "webhook.change", target(scope)).await?;
        let outcome = apply(&mut write, actor, scope, id, change).await;
        let webhook = write.finish(outcome).await?;
        self.0.hooks().wake();
        self.view(webhook).await
    }

    /// Puts a new secret in force, which is shown this once. The one before it signs too for `overlap` seconds, a day if that is not
    /// said, so that the receiver can change over.
    ///
    /// # Errors
    /// For anybody whom the scope is not for; `NotFound`; `Invalid` for more than a week.
    pub async fn rotate(
        &self,
        actor: &Actor,
        scope: WebhookScope<'_>,
        id: &str,
        overlap: Option<u64>,
    ) -> Result<(WebhookView, ShownSecret), ControlError> {
        let mut write = self.0.begin(actor, "webhook.rotate", target(scope)).await?;
        let outcome = rotate(&mut write, actor, scope, id, overlap).await;
        let (webhook, secret) = write.finish(outcome).await?;
        Ok((self.view(webhook).await?, secret))
    }

    /// Queues a test event for an endpoint, whatever it wants; answers the event's id.
    ///
    /// # Errors
    /// For anybody whom the scope is not for; `NotFound`; `Conflict` when it is off or parked; `TooMany` when its queue is full.
    pub async fn test(
        &self,
        actor: &Actor,
        scope: WebhookScope<'_>,
        id: &str,
    ) -> Result<String, ControlError> {
        let mut write = self.0.begin(actor, "webhook.test", target(scope)).await?;
        let outcome = test(&mut write, actor, scope, id).await;
        let event = write.finish(outcome).await?;
        self.0.hooks().wake();
        Ok(event)
    }

    /// What was sent to an endpoint and waits for it, newest first, up to 200.
    ///
    /// # Errors
    /// For anybody whom the scope is not for; `NotFound`.
    pub async fn deliveries(
        &self,
        actor: &Actor,
        scope: WebhookScope<'_>,
        id: &str,
        limit: u32,
    ) -> Result<Vec<Delivery>, ControlError> {
        let webhook = self.get(actor, scope, id).await?.webhook;
        let limit = limit.clamp(1, MAX_LISTED);
        Ok(self.0.store().webhook_deliveries(webhook.id, limit).await?)
    }

    /// Removes an endpoint and what waits for it.
    ///
    /// # Errors
    /// For anybody whom the scope is not for; `NotFound`.
    pub async fn remove(
        &self,
        actor: &Actor,
        scope: WebhookScope<'_>,
        id: &str,
    ) -> Result<(), ControlError> {
        let mut write = self.0.begin(actor, "webhook.remove", target(scope)).await?;
        let outcome = remove(&mut write, actor, scope, id).await;
        write.finish(outcome).await
    }

    async fn view(&self, webhook: Webhook) -> Result<WebhookView, ControlError> {
        let now = self.0.now();
        let secrets = self.0.store().webhook_secrets(webhook.id).await?;
        Ok(WebhookView {
            former_secret_until: secrets
                .iter()
                .filter_map(|secret| secret.expires_at)
                .find(|end| *end > now),
            webhook,
        })
    }
}

fn target(scope: WebhookScope<'_>) -> String {
    match scope {
        WebhookScope::Vault(name) => format!("vault:{}", access::shown(name)),
        WebhookScope::Instance => "instance".to_owned(),
    }
}

async fn allowed(
    rows: &mut impl Rows,
    actor: &Actor,
    scope: WebhookScope<'_>,
) -> Result<Option<Vault>, ControlError> {
    match scope {
        WebhookScope::Vault(name) => {
            let control = access::vault_control(rows, actor, name).await?;
            Ok(Some(control.vault().clone()))
        }
        WebhookScope::Instance => {
            access::instance::<InstanceOwner>(rows, actor).await?;
            Ok(None)
        }
    }
}

/// An endpoint of another vault is as unknown as one that does not exist.
fn of_scope(
    found: Option<Webhook>,
    vault: Option<&Vault>,
    id: &str,
) -> Result<Webhook, ControlError> {
    found
        .filter(|webhook| webhook.vault_id == vault.map(|vault| vault.id))
        .ok_or_else(|| {
            ControlError::not_found(format!("Webhook {} not found", access::shown(id))).hint(
                if vault.is_some() {
                    "list them with `agent-vault vault webhook list`"
                } else {
                    "list them with `agent-vault owner webhook list`"
                },
            )
        })
}

/// An endpoint that is to be changed, and its vault.
async fn open(
    write: &mut Write,
    actor: &Actor,
    scope: WebhookScope<'_>,
    id: &str,
) -> Result<(Webhook, Option<Vault>), ControlError> {
    let vault = allowed(write.tx(), actor, scope).await?;
    let found = match id.parse::<Uuid>() {
        Ok(id) => write.tx().webhook(id).await?,
        Err(_) => None,
    };
    let webhook = of_scope(found, vault.as_ref(), id)?;
    write.note("webhook", webhook.id.to_string());
    Ok((webhook, vault))
}

/// What the audit log shows of an endpoint: paths of URLs may hold what opens a chat room, so only the host is said.
fn note(write: &mut Write, when: &str, webhook: &Webhook) {
    let host = WebhookUrl::parse(&webhook.url).map_or_else(|_| String::new(), |url| url.host());
    write.note(
        when,
        json!({"host": host, "events": webhook.events, "state": webhook.state.as_str()}),
    );
}

async fn add(
    write: &mut Write,
    actor: &Actor,
    scope: WebhookScope<'_>,
    new: NewWebhook,
) -> Result<(Webhook, ShownSecret), ControlError> {
    let vault = allowed(write.tx(), actor, scope).await?;
    let vault_id = vault.as_ref().map(|vault| vault.id);
    WebhookUrl::parse(&new.url)?;
    let events = input::events(&new.events)?;
    input::description(&new.description)?;
    if write.tx().webhooks(vault_id).await?.len() >= MAX_WEBHOOKS {
        return Err(ControlError::new(
            ErrorKind::TooMany,
            format!("{MAX_WEBHOOKS} webhooks are here already"),
        )
        .hint("remove one that nobody needs, or have one receiver hand events on"));
    }
    let webhook = Webhook {
        id: Uuid::new_v4(),
        vault_id,
        url: new.url,
        events,
        description: new.description,
        state: WebhookState::Active,
        failures: 0,
        failing_since: None,
        parked_at: None,
        delivered_at: None,
        last_error: String::new(),
        dropped: 0,
        pending: 0,
        created_at: write.now(),
        updated_at: write.now(),
    };
    write.note("webhook", webhook.id.to_string());
    note(write, "after", &webhook);
    write.tx().insert_webhook(&webhook).await?;
    let secret = put_secret(write, &webhook, 1, SignedDuration::ZERO).await?;
    Ok((webhook, secret))
}

async fn apply(
    write: &mut Write,
    actor: &Actor,
    scope: WebhookScope<'_>,
    id: &str,
    change: WebhookChange,
) -> Result<Webhook, ControlError> {
    let (mut webhook, _) = open(write, actor, scope, id).await?;
    note(write, "before", &webhook);
    let mut restart = false;
    if let Some(url) = change.url {
        WebhookUrl::parse(&url)?;
        restart |= url != webhook.url;
        webhook.url = url;
    }
    if let Some(events) = change.events {
        webhook.events = input::events(&events)?;
    }
    if let Some(description) = change.description {
        input::description(&description)?;
        webhook.description = description;
    }
    match change.enabled {
        Some(true) => {
            restart = true;
            webhook.state = WebhookState::Active;
        }
        Some(false) => webhook.state = WebhookState::Off,
        None => {}
    }
    webhook.updated_at = write.now();
    note(write, "after", &webhook);
    write.tx().change_webhook(&webhook, restart).await?;
    let changed = write.tx().webhook(webhook.id).await?;
    changed.ok_or_else(|| ControlError::not_found("the webhook is gone"))
}

async fn rotate(
    write: &mut Write,
    actor: &Actor,
    scope: WebhookScope<'_>,
    id: &str,
    overlap: Option<u64>,
) -> Result<(Webhook, ShownSecret), ControlError> {
    let (webhook, _) = open(write, actor, scope, id).await?;
    let overlap = match overlap {
        None => DEFAULT_OVERLAP,
        Some(seconds) => i64::try_from(seconds)
            .map(SignedDuration::from_secs)
            .ok()
            .filter(|overlap| *overlap <= MAX_OVERLAP)
            .ok_or_else(|| {
                ControlError::invalid(format!(
                    "overlap_seconds: must be from 0 to {}",
                    MAX_OVERLAP.as_secs()
                ))
                .hint("for example `86400`, a day; 0 ends the former secret at once")
            })?,
    };
    let newest = write.tx().webhook_secrets(webhook.id).await?;
    let version = newest.first().map_or(0, |secret| secret.version);
    let secret = put_secret(write, &webhook, version.saturating_add(1), overlap).await?;
    write.note("overlap_seconds", overlap.as_secs());
    Ok((webhook, secret))
}

async fn put_secret(
    write: &mut Write,
    webhook: &Webhook,
    version: u32,
    overlap: SignedDuration,
) -> Result<ShownSecret, ControlError> {
    let secret = signing_secret()?;
    let (vault, id) = (
        webhook.vault_id.map(|id| id.to_string()),
        webhook.id.to_string(),
    );
    let context = WebhookSecret::seal_context(vault.as_deref(), &id, version);
    let sealed = write.control().keyring().seal(&context, secret.expose())?;
    let now = write.now();
    let row = WebhookSecret {
        version,
        sealed,
        created_at: now,
        expires_at: None,
    };
    let until = now.checked_add(overlap).unwrap_or(Timestamp::MAX);
    write
        .tx()
        .put_webhook_secret(webhook.id, &row, until)
        .await?;
    write.note("secret_version", version);
    Ok(ShownSecret(shown(&secret)))
}

/// The form that libraries of Standard Webhooks take.
fn shown(secret: &SecretBytes) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(64));
    text.push_str("whsec_");
    STANDARD.encode_string(secret.expose(), &mut text);
    text
}

/// One signature, as `webhook-signature` lists them.
fn signature(secret: &SecretBytes, message: &[u8]) -> String {
    format!("v1,{}", STANDARD.encode(hmac_sha256(secret, message)))
}

async fn test(
    write: &mut Write,
    actor: &Actor,
    scope: WebhookScope<'_>,
    id: &str,
) -> Result<String, ControlError> {
    let (webhook, vault) = open(write, actor, scope, id).await?;
    if webhook.state != WebhookState::Active {
        return Err(
            ControlError::conflict(format!("the webhook is {}", webhook.state)).hint(match scope {
                WebhookScope::Vault(_) => "switch it on: `agent-vault vault webhook enable`",
                WebhookScope::Instance => "switch it on: `agent-vault owner webhook enable`",
            }),
        );
    }
    let event = Event::Test {
        webhook: webhook.id,
        // Each is one of its own.
        mark: public_id()?,
    };
    let (id, queued) = queue(write, vault.as_ref(), &event).await?;
    if queued == 0 {
        return Err(
            ControlError::new(ErrorKind::TooMany, "the webhook's queue is full")
                .hint("see what it is stuck at: `agent-vault vault webhook deliveries`"),
        );
    }
    write.note("event", id.as_str());
    Ok(id)
}

async fn remove(
    write: &mut Write,
    actor: &Actor,
    scope: WebhookScope<'_>,
    id: &str,
) -> Result<(), ControlError> {
    let (webhook, _) = open(write, actor, scope, id).await?;
    note(write, "before", &webhook);
    write.tx().delete_webhook(webhook.id).await?;
    Ok(())
}
