//! Vaults.

use std::collections::HashMap;

use agent_vault_control::{Membership, StoreView, VaultView};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::answer::{Answer, Message, Outcome, Stamp};
use crate::body::JsonBody;
use crate::error::{ErrorBody, Refusals};
use crate::principal::Caller;
use crate::resources::stores::{StoreDetail, StoreSummary, StoreWish};
use crate::segment::Segment;
use crate::state::ApiState;

/// The seeded vault's name.
const DEFAULT: &str = "default";

/// A new vault.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewVault {
    #[serde(default)]
    name: String,
    /// Where its credentials come from; without it, it keeps its own.
    credential_store: Option<StoreWish>,
}

/// A vault that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedVault {
    id: String,
    name: String,
    created_at: Stamp,
    /// Present where its credentials come from an external store.
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_store: Option<StoreDetail>,
}

/// Makes a vault; whoever asks becomes its admin.
#[utoipa::path(post, operation_id = "vaults_create", path = "/v1/vaults", tag = "vaults", request_body = NewVault,
    responses((status = 201, description = "the vault", body = CreatedVault),
        (status = 502, description = "nothing can be fetched from the external store", body = ErrorBody), Refusals))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<NewVault>,
) -> Outcome<CreatedVault> {
    let control = state.control();
    let (vault, store) = match body.credential_store {
        None => {
            let vault = control.vaults().create(caller.actor(), &body.name).await?;
            (vault, None)
        }
        Some(wish) => {
            let stores = control.stores();
            stores
                .create_vault(caller.actor(), &body.name, wish.into_choice())
                .await?
        }
    };
    Ok(Answer::created(CreatedVault {
        id: vault.id.to_string(),
        name: vault.name,
        created_at: Stamp(vault.created_at),
        credential_store: store.map(StoreDetail::of),
    }))
}

/// A vault in one's list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VaultItem {
    id: String,
    name: String,
    /// Absent for owners who have not joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    /// `explicit` by a grant, `implicit` for owners without one.
    membership: &'static str,
    created_at: Stamp,
    /// That wait for a decision; 0 for owners who have not joined.
    pending_proposals: u64,
    /// Present where its credentials come from an external store.
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_store: Option<StoreSummary>,
}

/// One's vaults.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VaultList {
    vaults: Vec<VaultItem>,
}

/// Lists one's vaults; owners see all.
#[utoipa::path(get, operation_id = "vaults_list", path = "/v1/vaults", tag = "vaults",
    responses((status = 200, description = "one's vaults", body = VaultList), Refusals))]
pub(crate) async fn list(State(state): State<ApiState>, caller: Caller) -> Outcome<VaultList> {
    let vaults = state.control().vaults().list(caller.actor()).await?;
    let stores: HashMap<Uuid, StoreView> = state
        .control()
        .stores()
        .summaries()
        .await?
        .into_iter()
        .collect();
    let vaults = vaults
        .into_iter()
        .map(
            |VaultView {
                 id,
                 name,
                 membership,
                 created_at,
                 pending_proposals,
             }| VaultItem {
                credential_store: stores.get(&id).map(StoreSummary::of),
                id: id.to_string(),
                name,
                role: membership
                    .role()
                    .map(agent_vault_control::VaultRole::as_str),
                membership: match membership {
                    Membership::Explicit(_) => "explicit",
                    Membership::Implicit => "implicit",
                },
                created_at: Stamp(created_at),
                pending_proposals,
            },
        )
        .collect();
    Ok(Answer::ok(VaultList { vaults }))
}

/// A vault of the instance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InstanceVault {
    id: String,
    name: String,
    is_default: bool,
    created_at: Stamp,
}

/// Every vault.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InstanceVaultList {
    vaults: Vec<InstanceVault>,
}

/// Lists every vault, for owners.
#[utoipa::path(get, operation_id = "vaults_list_all", path = "/v1/admin/vaults", tag = "vaults",
    responses((status = 200, description = "every vault, by name", body = InstanceVaultList), Refusals))]
pub(crate) async fn list_all(
    State(state): State<ApiState>,
    caller: Caller,
) -> Outcome<InstanceVaultList> {
    let vaults = state.control().vaults().list_all(caller.actor()).await?;
    let vaults = vaults
        .into_iter()
        .map(|vault| InstanceVault {
            id: vault.id.to_string(),
            is_default: vault.name == DEFAULT,
            name: vault.name,
            created_at: Stamp(vault.created_at),
        })
        .collect();
    Ok(Answer::ok(InstanceVaultList { vaults }))
}

/// One's role in a vault.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VaultContext {
    vault_name: String,
    vault_role: &'static str,
    /// Present where its credentials come from an external store.
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_store: Option<StoreDetail>,
}

/// Tells one's role in a vault.
#[utoipa::path(get, operation_id = "vaults_context", path = "/v1/vaults/{name}/context", tag = "vaults",
    params(("name" = String, Path, description = "vault")),
    responses((status = 200, description = "one's role", body = VaultContext), Refusals))]
pub(crate) async fn context(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Outcome<VaultContext> {
    let role = state.control().vaults().role(caller.actor(), &name).await?;
    let store = state
        .control()
        .stores()
        .seen_by(caller.actor(), &name)
        .await?;
    Ok(Answer::ok(VaultContext {
        vault_name: name,
        credential_store: store.map(StoreDetail::of),
        vault_role: role.as_str(),
    }))
}

/// A vault that is gone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeletedVault {
    name: String,
    deleted: bool,
}

/// Deletes a vault and everything in it.
#[utoipa::path(delete, operation_id = "vaults_delete", path = "/v1/vaults/{name}", tag = "vaults",
    params(("name" = String, Path, description = "vault")),
    responses((status = 200, description = "gone", body = DeletedVault), Refusals))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Outcome<DeletedVault> {
    state
        .control()
        .vaults()
        .delete(caller.actor(), &name)
        .await?;
    Ok(Answer::ok(DeletedVault {
        name,
        deleted: true,
    }))
}

/// A name to give.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NameBody {
    #[serde(default)]
    pub(crate) name: String,
}

/// A new name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Renamed {
    pub(crate) message: String,
    pub(crate) old_name: String,
    pub(crate) new_name: String,
}

/// Renames a vault.
#[utoipa::path(post, operation_id = "vaults_rename", path = "/v1/vaults/{name}/rename", tag = "vaults", request_body = NameBody,
    params(("name" = String, Path, description = "vault")),
    responses((status = 200, description = "the new name", body = Renamed), Refusals))]
pub(crate) async fn rename(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
    JsonBody(body): JsonBody<NameBody>,
) -> Outcome<Renamed> {
    let renamed = state
        .control()
        .vaults()
        .rename(caller.actor(), &name, &body.name)
        .await?;
    Ok(Answer::ok(Renamed {
        message: "Vault renamed".to_owned(),
        old_name: renamed.old_name,
        new_name: renamed.new_name,
    }))
}

/// A vault that was joined.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Joined {
    vault: String,
    role: &'static str,
    joined: bool,
}

/// Makes an owner of the instance admin of a vault.
#[utoipa::path(post, operation_id = "vaults_join", path = "/v1/vaults/{name}/join", tag = "vaults",
    params(("name" = String, Path, description = "vault")),
    responses((status = 200, description = "joined", body = Joined), Refusals))]
pub(crate) async fn join(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Outcome<Joined> {
    state.control().vaults().join(caller.actor(), &name).await?;
    Ok(Answer::ok(Joined {
        vault: name,
        role: "admin",
        joined: true,
    }))
}

/// Gives up one's own role in a vault.
#[utoipa::path(post, operation_id = "vaults_leave", path = "/v1/vaults/{name}/leave", tag = "vaults",
    params(("name" = String, Path, description = "vault")),
    responses((status = 200, description = "left", body = Message), Refusals))]
pub(crate) async fn leave(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Outcome<Message> {
    state
        .control()
        .vaults()
        .leave(caller.actor(), &name)
        .await?;
    Ok(Answer::ok(Message::new(format!("Left vault {name}"))))
}
