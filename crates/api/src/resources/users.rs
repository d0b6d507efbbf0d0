//! The user directory.

use agent_vault_control::{MadeAgents, UserView, instance_role};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Answer, Outcome, Stamp};
use crate::body::JsonBody;
use crate::error::{ApiError, Refusals};
use crate::principal::Caller;
use crate::query::Query;
use crate::segment::Segment;
use crate::state::ApiState;

/// A vault and a role there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VaultRoleItem {
    pub(crate) vault_name: String,
    pub(crate) vault_role: &'static str,
}

/// A person in the directory.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserItem {
    /// Stands in paths in the place of the address.
    id: String,
    email: String,
    role: &'static str,
    created_at: Stamp,
    /// For owners only.
    #[serde(skip_serializing_if = "Option::is_none")]
    vaults: Option<Vec<VaultRoleItem>>,
}

/// Everybody.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserList {
    users: Vec<UserItem>,
}

/// Lists everybody.
#[utoipa::path(get, operation_id = "users_list", path = "/v1/users", tag = "users",
    responses((status = 200, description = "everybody, by address", body = UserList), Refusals))]
pub(crate) async fn list(State(state): State<ApiState>, caller: Caller) -> Outcome<UserList> {
    let users = state.control().users().list(caller.actor()).await?;
    let users = users
        .into_iter()
        .map(|user| UserItem {
            id: user.id.to_string(),
            email: user.email,
            role: user.role.as_str(),
            created_at: Stamp(user.created_at),
            vaults: user.vaults.map(|vaults| {
                vaults
                    .into_iter()
                    .map(|(vault_name, role)| VaultRoleItem {
                        vault_name,
                        vault_role: role.as_str(),
                    })
                    .collect()
            }),
        })
        .collect();
    Ok(Answer::ok(UserList { users }))
}

/// A person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserDetail {
    id: String,
    email: String,
    role: &'static str,
    /// Names of the vaults that they have a role in.
    vaults: Vec<String>,
    created_at: Stamp,
}

/// Shows one person; `me` is the one who asks.
#[utoipa::path(get, operation_id = "users_get", path = "/v1/admin/users/{email}", tag = "users",
    params(("email" = String, Path, description = "address or id, or `me`")),
    responses((status = 200, description = "the person", body = UserDetail), Refusals))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(email): Segment<String>,
) -> Outcome<UserDetail> {
    let UserView {
        id,
        email,
        role,
        vaults,
        created_at,
    } = state.control().users().get(caller.actor(), &email).await?;
    Ok(Answer::ok(UserDetail {
        id: id.to_string(),
        email,
        role: role.as_str(),
        vaults: vaults
            .unwrap_or_default()
            .into_iter()
            .map(|(name, _)| name)
            .collect(),
        created_at: Stamp(created_at),
    }))
}

/// A role to give.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleBody {
    role: String,
}

impl RoleBody {
    pub(crate) fn role(&self) -> &str {
        &self.role
    }
}

/// A person's role.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserRole {
    email: String,
    role: &'static str,
}

/// Changes a person's instance role.
#[utoipa::path(post, operation_id = "users_set_role", path = "/v1/admin/users/{email}/role", tag = "users", request_body = RoleBody,
    params(("email" = String, Path, description = "address or id")),
    responses((status = 200, description = "the new role", body = UserRole), Refusals))]
pub(crate) async fn set_role(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(email): Segment<String>,
    JsonBody(body): JsonBody<RoleBody>,
) -> Outcome<UserRole> {
    let role = instance_role(body.role())?;
    let user = state
        .control()
        .users()
        .set_role(caller.actor(), &email, role)
        .await?;
    Ok(Answer::ok(UserRole {
        email: user.email,
        role: user.role.as_str(),
    }))
}

/// A person who is gone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RemovedUserBody {
    status: &'static str,
    email: String,
    /// Agents that the person had made, whose tokens ended therefore.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    agents_revoked: Vec<String>,
}

/// Removes a person. Agents that they made are revoked, for they may have kept the tokens; an owner can make one active again by
/// rotating its token.
#[utoipa::path(delete, operation_id = "users_delete", path = "/v1/admin/users/{email}", tag = "users",
    params(("email" = String, Path, description = "address or id"),
        ("agents" = Option<String>, Query, description = "what becomes of the agents that the person made: `revoke` (the default) or `keep`")),
    responses((status = 200, description = "gone", body = RemovedUserBody), Refusals))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(email): Segment<String>,
    query: Query,
) -> Outcome<RemovedUserBody> {
    let agents = match query.get("agents") {
        None | Some("revoke") => MadeAgents::Revoke,
        Some("keep") => MadeAgents::Keep,
        Some(_) => {
            return Err(ApiError::bad_request("agents must be one of: revoke, keep"));
        }
    };
    let removed = state
        .control()
        .users()
        .delete(caller.actor(), &email, agents)
        .await?;
    Ok(Answer::ok(RemovedUserBody {
        status: "removed",
        email: removed.email,
        agents_revoked: removed.agents_revoked,
    }))
}
