//! Webhooks of a vault, for its admins and instance owners.

use agent_vault_control::WebhookScope;
use axum::extract::State;

use super::{
    DeliveryList, SecretRotation, TestQueued, WebhookChanges, WebhookItem, WebhookList,
    WebhookWanted, WebhookWithSecret,
};
use crate::answer::{Answer, Message, Outcome};
use crate::body::{JsonBody, OptionalJsonBody};
use crate::error::Refusals;
use crate::principal::Caller;
use crate::query::Query;
use crate::segment::Segment;
use crate::state::ApiState;

/// Lists the webhooks of a vault.
#[utoipa::path(get, operation_id = "vault_webhooks_list", path = "/v1/vaults/{name}/webhooks", tag = "webhooks",
    params(("name" = String, Path, description = "vault")),
    responses((status = 200, description = "oldest first", body = WebhookList), Refusals))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Outcome<WebhookList> {
    super::listed(&state, &caller, WebhookScope::Vault(&name)).await
}

/// Adds a webhook to a vault.
#[utoipa::path(post, operation_id = "vault_webhooks_add", path = "/v1/vaults/{name}/webhooks", tag = "webhooks", request_body = WebhookWanted,
    params(("name" = String, Path, description = "vault")),
    responses((status = 201, description = "added, with its secret, which is shown this once", body = WebhookWithSecret), Refusals))]
pub(crate) async fn add(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
    JsonBody(body): JsonBody<WebhookWanted>,
) -> Outcome<WebhookWithSecret> {
    super::added(&state, &caller, WebhookScope::Vault(&name), body).await
}

/// Shows a webhook.
#[utoipa::path(get, operation_id = "vault_webhooks_get", path = "/v1/vaults/{name}/webhooks/{id}", tag = "webhooks",
    params(("name" = String, Path, description = "vault"), ("id" = String, Path, description = "webhook")),
    responses((status = 200, description = "the webhook", body = WebhookItem), Refusals))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    Segment((name, id)): Segment<(String, String)>,
) -> Outcome<WebhookItem> {
    let webhooks = state.control().webhooks();
    let found = webhooks
        .get(caller.actor(), WebhookScope::Vault(&name), &id)
        .await?;
    Ok(Answer::ok(super::item(found)))
}

/// Changes a webhook, or switches it on or off.
#[utoipa::path(patch, operation_id = "vault_webhooks_change", path = "/v1/vaults/{name}/webhooks/{id}", tag = "webhooks", request_body = WebhookChanges,
    params(("name" = String, Path, description = "vault"), ("id" = String, Path, description = "webhook")),
    responses((status = 200, description = "changed", body = WebhookItem), Refusals))]
pub(crate) async fn change(
    State(state): State<ApiState>,
    caller: Caller,
    Segment((name, id)): Segment<(String, String)>,
    JsonBody(body): JsonBody<WebhookChanges>,
) -> Outcome<WebhookItem> {
    super::changed(&state, &caller, WebhookScope::Vault(&name), &id, body).await
}

/// Removes a webhook and what waits for it.
#[utoipa::path(delete, operation_id = "vault_webhooks_remove", path = "/v1/vaults/{name}/webhooks/{id}", tag = "webhooks",
    params(("name" = String, Path, description = "vault"), ("id" = String, Path, description = "webhook")),
    responses((status = 200, description = "removed", body = Message), Refusals))]
pub(crate) async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Segment((name, id)): Segment<(String, String)>,
) -> Outcome<Message> {
    let webhooks = state.control().webhooks();
    webhooks
        .remove(caller.actor(), WebhookScope::Vault(&name), &id)
        .await?;
    Ok(Answer::ok(Message::new(format!("Removed webhook {id}"))))
}

/// Puts a new signing secret in force; the former one signs too for a while.
#[utoipa::path(post, operation_id = "vault_webhooks_rotate", path = "/v1/vaults/{name}/webhooks/{id}/rotate", tag = "webhooks", request_body = Option<SecretRotation>,
    params(("name" = String, Path, description = "vault"), ("id" = String, Path, description = "webhook")),
    responses((status = 200, description = "the new secret, which is shown this once", body = WebhookWithSecret), Refusals))]
pub(crate) async fn rotate(
    State(state): State<ApiState>,
    caller: Caller,
    Segment((name, id)): Segment<(String, String)>,
    OptionalJsonBody(body): OptionalJsonBody<SecretRotation>,
) -> Outcome<WebhookWithSecret> {
    let webhooks = state.control().webhooks();
    let rotated = webhooks
        .rotate(
            caller.actor(),
            WebhookScope::Vault(&name),
            &id,
            body.overlap_seconds,
        )
        .await?;
    Ok(Answer::ok(super::with_secret(rotated)))
}

/// Sends a test event to a webhook, whatever it wants. What became of it is in its deliveries.
#[utoipa::path(post, operation_id = "vault_webhooks_test", path = "/v1/vaults/{name}/webhooks/{id}/test", tag = "webhooks",
    params(("name" = String, Path, description = "vault"), ("id" = String, Path, description = "webhook")),
    responses((status = 202, description = "it will be sent", body = TestQueued), Refusals))]
pub(crate) async fn test(
    State(state): State<ApiState>,
    caller: Caller,
    Segment((name, id)): Segment<(String, String)>,
) -> Outcome<TestQueued> {
    let webhooks = state.control().webhooks();
    let event_id = webhooks
        .test(caller.actor(), WebhookScope::Vault(&name), &id)
        .await?;
    Ok(Answer::with(
        http::StatusCode::ACCEPTED,
        TestQueued { event_id },
    ))
}

/// Lists what was sent to a webhook and waits for it: all that is pending, and the last hundred that ended.
#[utoipa::path(get, operation_id = "vault_webhooks_deliveries", path = "/v1/vaults/{name}/webhooks/{id}/deliveries", tag = "webhooks",
    params(("name" = String, Path, description = "vault"), ("id" = String, Path, description = "webhook"), ("limit" = Option<u32>, Query, description = "how many, 50 by default, at most 200")),
    responses((status = 200, description = "newest first", body = DeliveryList), Refusals))]
pub(crate) async fn deliveries(
    State(state): State<ApiState>,
    caller: Caller,
    Segment((name, id)): Segment<(String, String)>,
    query: Query,
) -> Outcome<DeliveryList> {
    super::delivered(&state, &caller, WebhookScope::Vault(&name), &id, &query).await
}
