//! Webhooks: endpoints that are told of what happens, in a vault ([`vault`]) or in all of them ([`instance`]).

pub(crate) mod instance;
pub(crate) mod vault;

use agent_vault_control::{
    NewWebhook, ShownSecret, WebhookChange, WebhookDelivery, WebhookScope, WebhookView,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Answer, Outcome, Stamp};
use crate::body::null_is_absent;
use crate::error::ApiError;
use crate::principal::Caller;
use crate::query::Query;
use crate::state::ApiState;

/// Deliveries in an answer when the client does not say.
const DEFAULT_DELIVERIES: u32 = 50;

/// A webhook to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookWanted {
    /// Absolute https URL, up to 2048 bytes, without login and fragment.
    #[serde(default)]
    url: String,
    /// `proposal.raised`, `proposal.decided`, `proposal.expired`, `credential.missing`, `upstream.auth_failing`, `limit.hit`; all of
    /// them when empty or absent.
    #[serde(default, deserialize_with = "null_is_absent")]
    events: Vec<String>,
    /// Up to 200 characters.
    #[serde(default, deserialize_with = "null_is_absent")]
    description: String,
}

/// What is to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookChanges {
    url: Option<String>,
    /// An empty list is all events.
    events: Option<Vec<String>>,
    description: Option<String>,
    /// `true` switches it on, a parked one too, and sends what waits; `false` switches it off.
    enabled: Option<bool>,
}

/// A webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookItem {
    id: String,
    url: String,
    /// Empty for all.
    events: Vec<String>,
    description: String,
    /// `active`; `parked` when it did not answer for long; `off`.
    state: &'static str,
    /// What waits to be sent.
    pending: u64,
    /// Events that found its queue full.
    dropped: u64,
    /// Failed attempts since the last good one.
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<Stamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parked_at: Option<Stamp>,
    /// Why the last attempt failed; empty after a good one.
    last_error: String,
    /// When it last took something.
    delivered_at: Option<Stamp>,
    /// Until when the former secret signs too.
    #[serde(skip_serializing_if = "Option::is_none")]
    former_secret_until: Option<Stamp>,
    created_at: Stamp,
    updated_at: Stamp,
}

/// A webhook and its signing secret, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookWithSecret {
    #[serde(flatten)]
    webhook: WebhookItem,
    /// `whsec_` and base64. Shown once.
    secret: String,
}

/// Webhooks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookList {
    /// Oldest first.
    webhooks: Vec<WebhookItem>,
}

/// A new secret is wanted.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretRotation {
    /// How long the former secret signs too, 0 to 604800; a day when absent.
    overlap_seconds: Option<u64>,
}

/// A test event that waits to be sent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TestQueued {
    /// Its id, as `webhook-id` and in the list of deliveries.
    event_id: String,
}

/// An event for a webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryItem {
    event_id: String,
    event: String,
    /// `pending`, `delivered` or `failed`.
    status: &'static str,
    attempts: u32,
    /// While it is pending.
    next_attempt_at: Option<Stamp>,
    /// Status of the last answer, if there was one.
    response_status: Option<u16>,
    /// Why the last attempt failed; empty when it did not.
    error: String,
    created_at: Stamp,
    ended_at: Option<Stamp>,
}

/// What was sent to a webhook and waits for it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryList {
    /// Newest first.
    deliveries: Vec<DeliveryItem>,
}

fn item(view: WebhookView) -> WebhookItem {
    let webhook = view.webhook;
    WebhookItem {
        id: webhook.id.to_string(),
        url: webhook.url,
        events: webhook.events,
        description: webhook.description,
        state: webhook.state.as_str(),
        pending: webhook.pending,
        dropped: webhook.dropped,
        failures: webhook.failures,
        failing_since: webhook.failing_since.map(Stamp),
        parked_at: webhook.parked_at.map(Stamp),
        last_error: webhook.last_error,
        delivered_at: webhook.delivered_at.map(Stamp),
        former_secret_until: view.former_secret_until.map(Stamp),
        created_at: Stamp(webhook.created_at),
        updated_at: Stamp(webhook.updated_at),
    }
}

fn with_secret((view, secret): (WebhookView, ShownSecret)) -> WebhookWithSecret {
    WebhookWithSecret {
        webhook: item(view),
        secret: secret.0.to_string(),
    }
}

fn delivery(delivery: WebhookDelivery) -> DeliveryItem {
    DeliveryItem {
        event_id: delivery.event_id,
        event: delivery.event,
        status: delivery.status.as_str(),
        attempts: delivery.attempts,
        next_attempt_at: delivery.next_at.map(Stamp),
        response_status: delivery.answer,
        error: delivery.last_error,
        created_at: Stamp(delivery.created_at),
        ended_at: delivery.ended_at.map(Stamp),
    }
}

async fn listed(
    state: &ApiState,
    caller: &Caller,
    scope: WebhookScope<'_>,
) -> Outcome<WebhookList> {
    let webhooks = state.control().webhooks();
    let found = webhooks.list(caller.actor(), scope).await?;
    Ok(Answer::ok(WebhookList {
        webhooks: found.into_iter().map(item).collect(),
    }))
}

async fn added(
    state: &ApiState,
    caller: &Caller,
    scope: WebhookScope<'_>,
    body: WebhookWanted,
) -> Outcome<WebhookWithSecret> {
    let new = NewWebhook {
        url: body.url,
        events: body.events,
        description: body.description,
    };
    let webhooks = state.control().webhooks();
    let added = webhooks.add(caller.actor(), scope, new).await?;
    Ok(Answer::created(with_secret(added)))
}

async fn changed(
    state: &ApiState,
    caller: &Caller,
    scope: WebhookScope<'_>,
    id: &str,
    body: WebhookChanges,
) -> Outcome<WebhookItem> {
    let change = WebhookChange {
        url: body.url,
        events: body.events,
        description: body.description,
        enabled: body.enabled,
    };
    let webhooks = state.control().webhooks();
    let changed = webhooks.change(caller.actor(), scope, id, change).await?;
    Ok(Answer::ok(item(changed)))
}

async fn delivered(
    state: &ApiState,
    caller: &Caller,
    scope: WebhookScope<'_>,
    id: &str,
    query: &Query,
) -> Outcome<DeliveryList> {
    let limit = match query.get("limit") {
        None => DEFAULT_DELIVERIES,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| *limit > 0)
            .ok_or_else(|| {
                ApiError::bad_request("limit: must be a whole number from 1 to 200")
                    .hint("for example `50`")
            })?,
    };
    let webhooks = state.control().webhooks();
    let found = webhooks
        .deliveries(caller.actor(), scope, id, limit)
        .await?;
    Ok(Answer::ok(DeliveryList {
        deliveries: found.into_iter().map(delivery).collect(),
    }))
}
