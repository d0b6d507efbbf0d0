//! Agents of the instance.

use agent_vault_control::{AgentView, NewAgent, Rotation, instance_role, vault_role};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Answer, Message, Outcome, Stamp};
use crate::body::{JsonBody, OptionalJsonBody, null_is_absent};
use crate::error::{ApiError, Refusals};
use crate::principal::Caller;
use crate::resources::users::{RoleBody, VaultRoleItem};
use crate::resources::vaults::{NameBody, Renamed};
use crate::segment::Segment;
use crate::state::ApiState;

/// A vault to grant, and the role there.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantBody {
    #[serde(default)]
    vault_name: String,
    /// `proxy` (the default), `member` or `admin`.
    #[serde(default, deserialize_with = "null_is_absent")]
    vault_role: String,
}

/// A new agent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAgentBody {
    #[serde(default)]
    name: String,
    /// `no-access` (the default), `member` or `owner`.
    #[serde(default, deserialize_with = "null_is_absent")]
    role: String,
    #[serde(default, deserialize_with = "null_is_absent")]
    vaults: Vec<GrantBody>,
    /// Life of the token in seconds; without one it never ends.
    ttl_seconds: Option<u64>,
    /// What the token is called in lists and logs.
    label: Option<String>,
}

/// An agent that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedAgentBody {
    /// Shown once.
    av_agent_token: String,
    name: String,
    role: &'static str,
    vaults: Vec<VaultRoleItem>,
    created_at: Stamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_expires_at: Option<Stamp>,
}

/// Makes an agent with its grants and its token.
#[utoipa::path(post, operation_id = "agents_create", path = "/v1/agents", tag = "agents", request_body = NewAgentBody,
    responses((status = 201, description = "the agent", body = CreatedAgentBody), Refusals))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<NewAgentBody>,
) -> Outcome<CreatedAgentBody> {
    let role = instance_role(if body.role.is_empty() {
        "no-access"
    } else {
        &body.role
    })?;
    let mut vaults = Vec::with_capacity(body.vaults.len());
    for grant in body.vaults {
        if grant.vault_name.is_empty() {
            return Err(ApiError::bad_request("vaults[].vault_name is required"));
        }
        let word = if grant.vault_role.is_empty() {
            "proxy"
        } else {
            &grant.vault_role
        };
        let role = vault_role(word)?;
        vaults.push((grant.vault_name, role));
    }
    let new = NewAgent {
        name: body.name,
        role,
        vaults,
        ttl_seconds: body.ttl_seconds,
        label: body.label,
    };
    let created = state.control().agents().create(caller.actor(), new).await?;
    Ok(Answer::created(CreatedAgentBody {
        av_agent_token: created.token.expose().to_owned(),
        name: created.view.name,
        role: created.view.role.as_str(),
        vaults: grants(created.view.vaults),
        created_at: Stamp(created.view.created_at),
        token_expires_at: created.token_expires_at.map(Stamp),
    }))
}

/// An agent in the directory.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AgentItem {
    name: String,
    role: &'static str,
    /// `active` or `revoked`.
    status: &'static str,
    vaults: Vec<VaultRoleItem>,
    created_at: Stamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Stamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_expires_at: Option<Stamp>,
    /// When its token was last used, by a request through the proxy or to this API.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Stamp>,
}

/// Agents.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AgentList {
    agents: Vec<AgentItem>,
}

/// Lists the agents that one may see.
#[utoipa::path(get, operation_id = "agents_list", path = "/v1/agents", tag = "agents",
    responses((status = 200, description = "agents, by name", body = AgentList), Refusals))]
pub(crate) async fn list(State(state): State<ApiState>, caller: Caller) -> Outcome<AgentList> {
    let agents = state.control().agents().list(caller.actor()).await?;
    Ok(Answer::ok(AgentList {
        agents: agents.into_iter().map(item).collect(),
    }))
}

/// One agent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AgentDetailBody {
    #[serde(flatten)]
    agent: AgentItem,
    /// Id of the actor that made it.
    created_by: String,
    updated_at: Stamp,
    active_tokens: usize,
}

/// Shows one agent.
#[utoipa::path(get, operation_id = "agents_get", path = "/v1/agents/{name}", tag = "agents",
    params(("name" = String, Path, description = "agent")),
    responses((status = 200, description = "the agent", body = AgentDetailBody), Refusals))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Outcome<AgentDetailBody> {
    let detail = state.control().agents().get(caller.actor(), &name).await?;
    Ok(Answer::ok(AgentDetailBody {
        created_by: detail
            .created_by
            .map(|id| id.to_string())
            .unwrap_or_default(),
        updated_at: Stamp(detail.updated_at),
        active_tokens: detail.active_tokens,
        agent: item(detail.view),
    }))
}

/// Revokes an agent: its tokens end, its name stays taken.
#[utoipa::path(delete, operation_id = "agents_revoke", path = "/v1/agents/{name}", tag = "agents",
    params(("name" = String, Path, description = "agent")),
    responses((status = 200, description = "revoked", body = Message), Refusals))]
pub(crate) async fn revoke(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Outcome<Message> {
    state
        .control()
        .agents()
        .revoke(caller.actor(), &name)
        .await?;
    Ok(Answer::ok(Message::new(format!("Agent {name} revoked"))))
}

/// Deletes an agent; its name becomes free.
#[utoipa::path(post, operation_id = "agents_delete", path = "/v1/agents/{name}/delete", tag = "agents",
    params(("name" = String, Path, description = "agent")),
    responses((status = 200, description = "gone", body = Message), Refusals))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Outcome<Message> {
    state
        .control()
        .agents()
        .delete(caller.actor(), &name)
        .await?;
    Ok(Answer::ok(Message::new(format!("Agent {name} deleted"))))
}

/// What the new token is to be.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotationBody {
    /// Life of the new token in seconds; without one it never ends.
    ttl_seconds: Option<u64>,
    /// For how long the former tokens, and what was minted with them, stay good: 0 to 604800. They end at once when absent.
    overlap_seconds: Option<u64>,
    /// What the new token is called in lists and logs.
    label: Option<String>,
}

/// A token that replaces all others.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RotatedBody {
    /// Shown once.
    av_agent_token: String,
    name: String,
    rotated_at: Stamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_expires_at: Option<Stamp>,
    /// Until when the former tokens are good at most; absent when they have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    former_tokens_end_at: Option<Stamp>,
    /// Whether a revoked agent became active by this; only owners can do that.
    reactivated: bool,
}

/// Replaces an agent's tokens by a new one, at once or with an overlap.
#[utoipa::path(post, operation_id = "agents_rotate", path = "/v1/agents/{name}/rotate", tag = "agents", request_body = Option<RotationBody>,
    params(("name" = String, Path, description = "agent")),
    responses((status = 200, description = "the new token", body = RotatedBody), Refusals))]
pub(crate) async fn rotate(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
    OptionalJsonBody(body): OptionalJsonBody<RotationBody>,
) -> Outcome<RotatedBody> {
    let rotated = state
        .control()
        .agents()
        .rotate(
            caller.actor(),
            &name,
            Rotation {
                ttl_seconds: body.ttl_seconds,
                overlap_seconds: body.overlap_seconds,
                label: body.label,
            },
        )
        .await?;
    Ok(Answer::ok(RotatedBody {
        av_agent_token: rotated.token.expose().to_owned(),
        name,
        rotated_at: Stamp(rotated.rotated_at),
        token_expires_at: rotated.token_expires_at.map(Stamp),
        former_tokens_end_at: rotated.former_ends_at.map(Stamp),
        reactivated: rotated.reactivated,
    }))
}

/// Renames an agent; its tokens stay good.
#[utoipa::path(post, operation_id = "agents_rename", path = "/v1/agents/{name}/rename", tag = "agents", request_body = NameBody,
    params(("name" = String, Path, description = "agent")),
    responses((status = 200, description = "the new name", body = Renamed), Refusals))]
pub(crate) async fn rename(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
    JsonBody(body): JsonBody<NameBody>,
) -> Outcome<Renamed> {
    let new_name = state
        .control()
        .agents()
        .rename(caller.actor(), &name, &body.name)
        .await?;
    Ok(Answer::ok(Renamed {
        message: "Agent renamed".to_owned(),
        old_name: name,
        new_name,
    }))
}

/// A role that was given.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AgentRoleChange {
    agent: String,
    old_role: &'static str,
    new_role: &'static str,
}

/// Changes an agent's instance role.
#[utoipa::path(post, operation_id = "agents_set_role", path = "/v1/agents/{name}/role", tag = "agents", request_body = RoleBody,
    params(("name" = String, Path, description = "agent")),
    responses((status = 200, description = "changed", body = AgentRoleChange), Refusals))]
pub(crate) async fn set_role(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
    JsonBody(body): JsonBody<RoleBody>,
) -> Outcome<AgentRoleChange> {
    let role = instance_role(body.role())?;
    let old = state
        .control()
        .agents()
        .set_role(caller.actor(), &name, role)
        .await?;
    Ok(Answer::ok(AgentRoleChange {
        agent: name,
        old_role: old.as_str(),
        new_role: role.as_str(),
    }))
}

fn item(view: AgentView) -> AgentItem {
    AgentItem {
        name: view.name,
        role: view.role.as_str(),
        status: view.status.as_str(),
        vaults: grants(view.vaults),
        created_at: Stamp(view.created_at),
        revoked_at: view.revoked_at.map(Stamp),
        token_expires_at: view.token_expires_at.map(Stamp),
        last_used_at: view.last_used_at.map(Stamp),
    }
}

fn grants(vaults: Vec<(String, agent_vault_control::VaultRole)>) -> Vec<VaultRoleItem> {
    vaults
        .into_iter()
        .map(|(vault_name, role)| VaultRoleItem {
            vault_name,
            vault_role: role.as_str(),
        })
        .collect()
}
