//! For people who decide.

use agent_vault_control::{Approval, ProposalStatus, VaultRef};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::number;
use crate::answer::{Answer, Outcome};
use crate::body::{OptionalJsonBody, SecretFields, null_is_absent};
use crate::error::Refusals;
use crate::principal::Caller;
use crate::segment::Segment;
use crate::state::ApiState;

/// A yes.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApprovalBody {
    vault: Option<String>,
    /// Values by key. One that is given wins over the agent's own.
    #[serde(default, deserialize_with = "null_is_absent")]
    #[schema(value_type = std::collections::HashMap<String, String>)]
    credentials: SecretFields,
    /// `preview.revision` of what was seen. Refused (412) when the services have changed since.
    revision: Option<u64>,
}

/// What became of a proposal.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Decided {
    id: u32,
    /// `applied` or `rejected`.
    status: &'static str,
}

/// Does what a proposal asks for, all or nothing.
#[utoipa::path(post, operation_id = "proposals_approve", path = "/v1/admin/proposals/{id}/approve", tag = "proposals", request_body = Option<ApprovalBody>,
    params(("id" = String, Path, description = "number")),
    responses((status = 200, description = "done", body = Decided),
        (status = 412, description = "the services are not those that were seen", body = crate::error::ErrorBody), Refusals))]
pub(crate) async fn approve(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(id): Segment<String>,
    OptionalJsonBody(body): OptionalJsonBody<ApprovalBody>,
) -> Outcome<Decided> {
    let id = number(&id)?;
    let approval = Approval {
        values: body.credentials.0,
        revision: body.revision,
    };
    state
        .control()
        .proposals()
        .approve(
            caller.actor(),
            VaultRef::from_input(body.vault.as_deref()),
            id,
            approval,
        )
        .await?;
    Ok(Answer::ok(Decided {
        id,
        status: ProposalStatus::Applied.as_str(),
    }))
}

/// A no.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RejectionBody {
    vault: Option<String>,
    /// The agent sees it. Up to 2000 bytes.
    #[serde(default, deserialize_with = "null_is_absent")]
    reason: String,
}

/// Turns a proposal down.
#[utoipa::path(post, operation_id = "proposals_reject", path = "/v1/admin/proposals/{id}/reject", tag = "proposals", request_body = Option<RejectionBody>,
    params(("id" = String, Path, description = "number")),
    responses((status = 200, description = "turned down", body = Decided), Refusals))]
pub(crate) async fn reject(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(id): Segment<String>,
    OptionalJsonBody(body): OptionalJsonBody<RejectionBody>,
) -> Outcome<Decided> {
    let id = number(&id)?;
    state
        .control()
        .proposals()
        .reject(
            caller.actor(),
            VaultRef::from_input(body.vault.as_deref()),
            id,
            &body.reason,
        )
        .await?;
    Ok(Answer::ok(Decided {
        id,
        status: ProposalStatus::Rejected.as_str(),
    }))
}
