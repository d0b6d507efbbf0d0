//! People in a vault.

use agent_vault_control::member_role;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Answer, Message, Outcome};
use crate::body::{JsonBody, null_is_absent};
use crate::error::{ApiError, Refusals};
use crate::principal::Caller;
use crate::segment::Segment;
use crate::state::ApiState;

/// A person in a vault.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VaultUserItem {
    email: String,
    role: &'static str,
    /// `active` or `pending`.
    status: &'static str,
}

/// People in a vault.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VaultUserList {
    users: Vec<VaultUserItem>,
}

/// Lists the people in a vault.
#[utoipa::path(get, operation_id = "vault_users_list", path = "/v1/vaults/{name}/users", tag = "members",
    params(("name" = String, Path, description = "vault")),
    responses((status = 200, description = "people, oldest grant first", body = VaultUserList), Refusals))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Outcome<VaultUserList> {
    let users = state
        .control()
        .members()
        .users(caller.actor(), &name)
        .await?;
    let users = users
        .into_iter()
        .map(|user| VaultUserItem {
            email: user.email,
            role: user.role.as_str(),
            status: if user.active { "active" } else { "pending" },
        })
        .collect();
    Ok(Answer::ok(VaultUserList { users }))
}

/// A person to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewVaultUser {
    #[serde(default)]
    email: String,
    /// `member` (the default) or `admin`.
    #[serde(default, deserialize_with = "null_is_absent")]
    role: String,
}

/// A person who was added.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddedUser {
    email: String,
    role: &'static str,
}

/// Adds a person who has an account.
#[utoipa::path(post, operation_id = "vault_users_add", path = "/v1/vaults/{name}/users", tag = "members", request_body = NewVaultUser,
    params(("name" = String, Path, description = "vault")),
    responses((status = 201, description = "added", body = AddedUser), Refusals))]
pub(crate) async fn add(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
    JsonBody(body): JsonBody<NewVaultUser>,
) -> Outcome<AddedUser> {
    if body.email.is_empty() {
        return Err(ApiError::bad_request("Email is required"));
    }
    let role = member_role(if body.role.is_empty() {
        "member"
    } else {
        &body.role
    })?;
    let email = state
        .control()
        .members()
        .add_user(caller.actor(), &name, &body.email, role)
        .await?;
    Ok(Answer::created(AddedUser {
        email,
        role: role.as_str(),
    }))
}

/// Removes a person from a vault; the vault tokens that they minted end.
#[utoipa::path(delete, operation_id = "vault_users_remove", path = "/v1/vaults/{name}/users/{email}", tag = "members",
    params(("name" = String, Path, description = "vault"), ("email" = String, Path, description = "address")),
    responses((status = 200, description = "removed", body = Message), Refusals))]
pub(crate) async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Segment((name, email)): Segment<(String, String)>,
) -> Outcome<Message> {
    state
        .control()
        .members()
        .remove_user(caller.actor(), &name, &email)
        .await?;
    Ok(Answer::ok(Message::new(format!(
        "Removed {email} from vault {name}"
    ))))
}

/// A role to give.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VaultUserRole {
    role: String,
}

/// A role that was given.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangedUserRole {
    email: String,
    role: &'static str,
    message: String,
}

/// Changes a person's role in a vault.
#[utoipa::path(post, operation_id = "vault_users_set_role", path = "/v1/vaults/{name}/users/{email}/role", tag = "members", request_body = VaultUserRole,
    params(("name" = String, Path, description = "vault"), ("email" = String, Path, description = "address")),
    responses((status = 200, description = "changed", body = ChangedUserRole), Refusals))]
pub(crate) async fn set_role(
    State(state): State<ApiState>,
    caller: Caller,
    Segment((name, email)): Segment<(String, String)>,
    JsonBody(body): JsonBody<VaultUserRole>,
) -> Outcome<ChangedUserRole> {
    let role = member_role(&body.role)?;
    let change = state
        .control()
        .members()
        .set_user_role(caller.actor(), &name, &email, role)
        .await?;
    Ok(Answer::ok(ChangedUserRole {
        message: format!("{email} is now {} in vault {name}", change.new),
        email,
        role: role.as_str(),
    }))
}
