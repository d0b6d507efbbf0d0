//! Agents in a vault.

use agent_vault_control::vault_role;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Answer, Message, Outcome};
use crate::body::{JsonBody, null_is_absent};
use crate::error::{ApiError, Refusals};
use crate::principal::Caller;
use crate::segment::Segment;
use crate::state::ApiState;

/// An agent in a vault.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VaultAgentItem {
    name: String,
    agent_id: String,
    vault_role: &'static str,
    /// `active` or `revoked`.
    status: &'static str,
}

/// Agents in a vault.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VaultAgentList {
    agents: Vec<VaultAgentItem>,
}

/// Lists the agents in a vault.
#[utoipa::path(get, operation_id = "vault_agents_list", path = "/v1/vaults/{name}/agents", tag = "members",
    params(("name" = String, Path, description = "vault")),
    responses((status = 200, description = "agents, oldest grant first", body = VaultAgentList), Refusals))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Outcome<VaultAgentList> {
    let agents = state
        .control()
        .members()
        .agents(caller.actor(), &name)
        .await?;
    let agents = agents
        .into_iter()
        .map(|agent| VaultAgentItem {
            name: agent.name,
            agent_id: agent.id.to_string(),
            vault_role: agent.role.as_str(),
            status: agent.status.as_str(),
        })
        .collect();
    Ok(Answer::ok(VaultAgentList { agents }))
}

/// An agent to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewVaultAgent {
    #[serde(default)]
    name: String,
    /// `proxy` (the default), `member` or `admin`.
    #[serde(default, deserialize_with = "null_is_absent")]
    role: String,
}

/// Adds an agent to a vault.
#[utoipa::path(post, operation_id = "vault_agents_add", path = "/v1/vaults/{name}/agents", tag = "members", request_body = NewVaultAgent,
    params(("name" = String, Path, description = "vault")),
    responses((status = 201, description = "added", body = Message), Refusals))]
pub(crate) async fn add(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
    JsonBody(body): JsonBody<NewVaultAgent>,
) -> Outcome<Message> {
    if body.name.is_empty() {
        return Err(ApiError::bad_request("Agent name is required"));
    }
    let role = vault_role(if body.role.is_empty() {
        "proxy"
    } else {
        &body.role
    })?;
    let agent = state
        .control()
        .members()
        .add_agent(caller.actor(), &name, &body.name, role)
        .await?;
    Ok(Answer::created(Message::new(format!(
        "Agent {agent} added to vault {name} as {role}"
    ))))
}

/// Removes an agent from a vault; the vault tokens that it minted end.
#[utoipa::path(delete, operation_id = "vault_agents_remove", path = "/v1/vaults/{name}/agents/{agent}", tag = "members",
    params(("name" = String, Path, description = "vault"), ("agent" = String, Path, description = "agent")),
    responses((status = 200, description = "removed", body = Message), Refusals))]
pub(crate) async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Segment((name, agent)): Segment<(String, String)>,
) -> Outcome<Message> {
    state
        .control()
        .members()
        .remove_agent(caller.actor(), &name, &agent)
        .await?;
    Ok(Answer::ok(Message::new(format!(
        "Agent {agent} removed from vault {name}"
    ))))
}

/// A role to give.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VaultAgentRole {
    role: String,
}

/// A role that was given.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangedAgentRole {
    message: String,
    old_role: &'static str,
    new_role: &'static str,
}

/// Changes an agent's role in a vault.
#[utoipa::path(post, operation_id = "vault_agents_set_role", path = "/v1/vaults/{name}/agents/{agent}/role", tag = "members", request_body = VaultAgentRole,
    params(("name" = String, Path, description = "vault"), ("agent" = String, Path, description = "agent")),
    responses((status = 200, description = "changed", body = ChangedAgentRole), Refusals))]
pub(crate) async fn set_role(
    State(state): State<ApiState>,
    caller: Caller,
    Segment((name, agent)): Segment<(String, String)>,
    JsonBody(body): JsonBody<VaultAgentRole>,
) -> Outcome<ChangedAgentRole> {
    let role = vault_role(&body.role)?;
    let change = state
        .control()
        .members()
        .set_agent_role(caller.actor(), &name, &agent, role)
        .await?;
    Ok(Answer::ok(ChangedAgentRole {
        message: format!("Agent {agent} is now {} in vault {name}", change.new),
        old_role: change.old.as_str(),
        new_role: change.new.as_str(),
    }))
}
