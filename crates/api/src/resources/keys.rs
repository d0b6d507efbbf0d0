//! The data key of the instance, for its owners.

use agent_vault_control::KeyState;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{Answer, Outcome};
use crate::error::Refusals;
use crate::principal::Caller;
use crate::state::ApiState;

/// What may be told of the data key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyBody {
    /// Names the key in force, and tells nothing of it.
    key_id: String,
    /// Whether a master password protects it.
    master_password: bool,
    /// Whether older keys are still there.
    rotating: bool,
    /// Values that older keys sealed and that are to be sealed again.
    remaining: u64,
}

fn body(state: KeyState) -> KeyBody {
    KeyBody {
        key_id: state.key_id,
        master_password: state.password,
        rotating: state.rotating,
        remaining: state.remaining,
    }
}

/// Tells which data key is in force and how far a rotation is.
#[utoipa::path(get, operation_id = "keys_state", path = "/v1/instance/keys", tag = "instance",
    responses((status = 200, description = "the key in force", body = KeyBody), Refusals))]
pub(crate) async fn get(State(state): State<ApiState>, caller: Caller) -> Outcome<KeyBody> {
    let found = state.control().keys().state(caller.actor()).await?;
    Ok(Answer::ok(body(found)))
}

/// Puts a new data key in force; what older keys sealed is sealed again in the background, and then they are destroyed.
#[utoipa::path(post, operation_id = "keys_rotate", path = "/v1/instance/keys/rotate", tag = "instance",
    responses((status = 200, description = "the new key is in force", body = KeyBody), Refusals))]
pub(crate) async fn rotate(State(state): State<ApiState>, caller: Caller) -> Outcome<KeyBody> {
    let found = state.control().keys().rotate(caller.actor()).await?;
    Ok(Answer::ok(body(found)))
}
