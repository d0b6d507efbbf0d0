//! Credentials of a vault.

use agent_vault_control::{
    CredentialListing, CredentialView, DynamicView, KEPT, OAuthView, VaultRef,
};
use agent_vault_policy::MIN_SCRUBBED_BYTES;
use agent_vault_seal::SecretBytes;
use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Answer, Outcome, Stamp};
use crate::body::{JsonBody, OptionalJsonBody, SecretFields};
use crate::error::{ApiError, Refusals};
use crate::principal::Caller;
use crate::query::Query;
use crate::state::ApiState;

/// A credential.
#[derive(Serialize, ToSchema)]
pub(crate) struct CredentialItem {
    key: String,
    /// `static`, `oauth`, or `dynamic`: made by an external store at first use.
    r#type: &'static str,
    /// The version that is served, as request log rows give it; none of what is made on demand.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    /// From when on it counts as absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Stamp>,
    /// Present and true where the external store refuses to make it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    unavailable: bool,
    /// Only when revealed, and not empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// The grant behind it, where it comes by OAuth.
    #[serde(flatten)]
    #[schema(inline)]
    grant: GrantItem,
}

/// The grant behind a credential; nothing of it for one that does not come by OAuth. Secrets as dots, where there are any.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct GrantItem {
    /// Since when it has a token; absent while it is not connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_at: Option<Stamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_refreshed_at: Option<Stamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_refresh_error: Option<String>,
    /// When the token ends, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_expires_at: Option<Stamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_auth_method: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'static str>,
}

impl GrantItem {
    fn of(view: OAuthView) -> Self {
        let filled = |text: String| Some(text).filter(|text| !text.is_empty());
        let mask = |there: bool| there.then_some(KEPT);
        Self {
            access_token: mask(view.connected_at.is_some()),
            client_secret: mask(view.has_client_secret),
            refresh_token: mask(view.has_refresh_token),
            connected_at: view.connected_at.map(Stamp),
            last_refreshed_at: view.last_refreshed_at.map(Stamp),
            last_refresh_error: filled(view.last_refresh_error),
            token_expires_at: view.token_expires_at.map(Stamp),
            authorization_url: filled(view.authorization_url),
            token_url: filled(view.token_url),
            client_id: filled(view.client_id),
            scopes: filled(view.scopes),
            token_auth_method: Some(view.token_auth_method),
        }
    }
}

/// Credentials of a vault.
#[derive(Serialize, ToSchema)]
pub(crate) struct CredentialList {
    keys: Vec<String>,
    /// For members of a vault that is not empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<Vec<CredentialItem>>,
}

/// Lists names, and reveals values to members with `reveal=true`.
#[utoipa::path(get, operation_id = "credentials_list", path = "/v1/credentials", tag = "credentials",
    params(("vault" = Option<String>, Query, description = "vault"),
        ("reveal" = Option<String>, Query, description = "`true` shows values"),
        ("key" = Option<String>, Query, description = "with `reveal=true`: only this one")),
    responses((status = 200, description = "credentials, by key", body = CredentialList), Refusals))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    query: Query,
) -> Outcome<CredentialList> {
    let vault = VaultRef::from_input(query.get("vault"));
    let credentials = state.control().credentials();
    let listing = if query.get("reveal") == Some("true") {
        credentials
            .reveal(caller.actor(), vault, query.get("key"))
            .await?
    } else {
        credentials.list(caller.actor(), vault).await?
    };
    let CredentialListing {
        keys,
        credentials,
        dynamic,
    } = listing;
    let mut items: Vec<CredentialItem> = credentials
        .unwrap_or_default()
        .into_iter()
        .map(item)
        .collect::<Result<_, _>>()?;
    for view in dynamic {
        items.push(dynamic_item(view)?);
    }
    let credentials = (!items.is_empty()).then_some(items);
    Ok(Answer::ok(CredentialList { keys, credentials }))
}

fn item(view: CredentialView) -> Result<CredentialItem, ApiError> {
    let value = view.value.filter(|value| !value.is_empty());
    let value = value.map(|value| text(&view.key, &value)).transpose()?;
    Ok(CredentialItem {
        key: view.key,
        r#type: view.kind.as_str(),
        version: Some(view.version),
        unavailable: false,
        expires_at: view.expires_at.map(Stamp),
        value,
        grant: view.oauth.map(GrantItem::of).unwrap_or_default(),
    })
}

fn dynamic_item(view: DynamicView) -> Result<CredentialItem, ApiError> {
    let value = view.value.filter(|value| !value.is_empty());
    let value = value.map(|value| text(&view.key, &value)).transpose()?;
    Ok(CredentialItem {
        key: view.key,
        r#type: "dynamic",
        version: None,
        expires_at: None,
        unavailable: view.unavailable,
        value,
        grant: GrantItem::default(),
    })
}

fn text(key: &str, value: &SecretBytes) -> Result<String, ApiError> {
    value.expose_str().map(str::to_owned).map_err(|_| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the value of `{key}` is not text and cannot be shown"),
        )
    })
}

/// Values to store.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CredentialValues {
    vault: Option<String>,
    #[serde(default)]
    #[schema(value_type = std::collections::HashMap<String, String>)]
    credentials: SecretFields,
    /// From when on they count as absent, RFC 3339; never, without it.
    #[serde(default)]
    expires_at: Option<String>,
}

/// Names that were stored.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoredKeys {
    set: Vec<String>,
    /// What the operator should know of them; absent when there is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// Values that are too short to be looked for in responses.
fn short_values(values: &[(String, SecretBytes)]) -> Vec<String> {
    values
        .iter()
        .filter(|(_, value)| (1..MIN_SCRUBBED_BYTES).contains(&value.expose().trim_ascii().len()))
        .map(|(key, _)| {
            format!(
                "{key} is shorter than {MIN_SCRUBBED_BYTES} bytes: it is not replaced where a response repeats it"
            )
        })
        .collect()
}

/// Stores values, all or none.
#[utoipa::path(post, operation_id = "credentials_set", path = "/v1/credentials", tag = "credentials", request_body = CredentialValues,
    responses((status = 200, description = "stored", body = StoredKeys), Refusals))]
pub(crate) async fn set(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<CredentialValues>,
) -> Outcome<StoredKeys> {
    let vault = VaultRef::from_input(body.vault.as_deref());
    let expires_at = body.expires_at.as_deref().map(instant).transpose()?;
    let warnings = short_values(&body.credentials.0);
    let set = state
        .control()
        .credentials()
        .set(caller.actor(), vault, body.credentials.0, expires_at)
        .await?;
    Ok(Answer::ok(StoredKeys { set, warnings }))
}

/// An instant that a client sent.
pub(crate) fn instant(text: &str) -> Result<Timestamp, ApiError> {
    text.parse().map_err(|_| {
        ApiError::bad_request(
            "expires_at must be a time in RFC 3339, such as `2030-01-31T12:00:00Z`",
        )
    })
}

/// Names to delete.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CredentialKeys {
    vault: Option<String>,
    #[serde(default)]
    keys: Vec<String>,
}

/// Names that were deleted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeletedKeys {
    deleted: Vec<String>,
}

/// Deletes credentials, all or none. Names come in the body, or one as `key` in the query where a body gets lost on the way.
#[utoipa::path(delete, operation_id = "credentials_delete", path = "/v1/credentials", tag = "credentials", request_body = Option<CredentialKeys>,
    params(("vault" = Option<String>, Query, description = "vault, without a body"),
        ("key" = Option<String>, Query, description = "the one to delete, without a body")),
    responses((status = 200, description = "deleted", body = DeletedKeys), Refusals))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    query: Query,
    OptionalJsonBody(body): OptionalJsonBody<CredentialKeys>,
) -> Outcome<DeletedKeys> {
    let vault = body.vault.as_deref().or(query.get("vault"));
    let mut keys = body.keys;
    keys.extend(query.get("key").map(str::to_owned));
    let vault = VaultRef::from_input(vault);
    let deleted = state
        .control()
        .credentials()
        .delete(caller.actor(), vault, keys)
        .await?;
    Ok(Answer::ok(DeletedKeys { deleted }))
}
