//! Invitations of people.

use agent_vault_control::{
    CreatedInvite, Delivery, InviteState, InviteView, NewInvite, instance_role, member_role,
};
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::users::VaultRoleItem;
use crate::answer::{Answer, Message, Outcome, Stamp};
use crate::body::{JsonBody, OptionalJsonBody, SecretField, null_is_absent};
use crate::error::{ApiError, Refusals};
use crate::principal::Caller;
use crate::query::Query;
use crate::segment::Segment;
use crate::state::ApiState;

/// Whom to invite.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InviteWanted {
    #[serde(default)]
    email: String,
    /// `member` unless given.
    role: Option<String>,
    #[serde(default, deserialize_with = "null_is_absent")]
    vaults: Vec<VaultWanted>,
}

/// A vault that the invitation opens.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VaultWanted {
    vault_name: String,
    /// `member` unless given, or `admin`.
    vault_role: Option<String>,
}

/// A new invitation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InviteMade {
    /// For revoking it and sending it again.
    id: String,
    email: String,
    role: &'static str,
    vaults: Vec<VaultRoleItem>,
    email_sent: bool,
    /// Only where no mail went out: to be handed on. Shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    invite_link: Option<String>,
    /// Why the mail failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    email_error: Option<String>,
    expires_at: Stamp,
}

impl From<CreatedInvite> for InviteMade {
    fn from(created: CreatedInvite) -> Self {
        let (email_sent, invite_link, email_error) = match created.delivery {
            Delivery::Mailed => (true, None, None),
            Delivery::ByHand { link, error } => (false, Some(link), error),
        };
        Self {
            role: created.view.role.as_str(),
            vaults: vaults(created.view.vaults),
            expires_at: Stamp(created.view.expires_at),
            id: created.view.id,
            email: created.view.email,
            email_sent,
            invite_link,
            email_error,
        }
    }
}

/// Invites somebody by address.
#[utoipa::path(post, operation_id = "invites_create", path = "/v1/users/invites", tag = "invites", request_body = InviteWanted,
    responses((status = 201, description = "the invitation", body = InviteMade), Refusals))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<InviteWanted>,
) -> Outcome<InviteMade> {
    if body.email.is_empty() {
        return Err(ApiError::bad_request("email is required"));
    }
    let role = instance_role(body.role.as_deref().unwrap_or("member"))?;
    let mut opened = Vec::with_capacity(body.vaults.len());
    for vault in body.vaults {
        let role = member_role(vault.vault_role.as_deref().unwrap_or("member"))?;
        opened.push((vault.vault_name, role));
    }
    let new = NewInvite {
        email: body.email,
        role,
        vaults: opened,
    };
    let created = state
        .control()
        .invites()
        .create(caller.actor(), new, &state.info().base_url)
        .await?;
    Ok(Answer::created(created.into()))
}

/// An invitation in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InviteItem {
    id: String,
    email: String,
    role: &'static str,
    /// The same as `id`: what the routes of one invitation take. The link's own token is stored nowhere.
    token: String,
    /// `pending`, `accepted`, `revoked` or `expired`.
    status: &'static str,
    /// Id of who invited.
    created_by: String,
    /// The same as people read it.
    created_by_name: String,
    vaults: Vec<VaultRoleItem>,
    expires_at: Stamp,
    created_at: Stamp,
}

impl From<InviteView> for InviteItem {
    fn from(view: InviteView) -> Self {
        Self {
            token: view.id.clone(),
            id: view.id,
            email: view.email,
            role: view.role.as_str(),
            status: view.state.as_str(),
            created_by: view.created_by,
            created_by_name: view.created_by_name,
            vaults: vaults(view.vaults),
            expires_at: Stamp(view.expires_at),
            created_at: Stamp(view.created_at),
        }
    }
}

/// Invitations.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InviteList {
    invites: Vec<InviteItem>,
}

/// Lists the invitations that one may manage, newest first.
#[utoipa::path(get, operation_id = "invites_list", path = "/v1/users/invites", tag = "invites",
    params(("status" = Option<String>, Query, description = "only `pending`, `accepted`, `revoked` or `expired` ones")),
    responses((status = 200, description = "invitations", body = InviteList), Refusals))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    query: Query,
) -> Outcome<InviteList> {
    let wanted = query.get("status");
    if wanted.is_some_and(|word| !matches!(word, "pending" | "accepted" | "revoked" | "expired")) {
        return Err(ApiError::bad_request(
            "status must be one of: pending, accepted, revoked, expired",
        ));
    }
    let invites = state
        .control()
        .invites()
        .list(caller.actor(), wanted)
        .await?;
    Ok(Answer::ok(InviteList {
        invites: invites.into_iter().map(InviteItem::from).collect(),
    }))
}

/// Takes an open invitation back.
#[utoipa::path(delete, operation_id = "invites_revoke", path = "/v1/users/invites/{token}", tag = "invites",
    params(("token" = String, Path, description = "id of the invitation, or the token of its link")),
    responses((status = 200, description = "taken back", body = Message), Refusals))]
pub(crate) async fn revoke(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(handle): Segment<String>,
) -> Outcome<Message> {
    let invites = state.control().invites();
    invites.revoke(caller.actor(), &handle).await?;
    Ok(Answer::ok(Message::new("Invite revoked")))
}

/// Takes an invitation back and makes another like it.
#[utoipa::path(post, operation_id = "invites_again", path = "/v1/users/invites/{token}/reinvite", tag = "invites",
    params(("token" = String, Path, description = "id of the invitation, or the token of its link")),
    responses((status = 201, description = "the new invitation", body = InviteMade), Refusals))]
pub(crate) async fn again(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(handle): Segment<String>,
) -> Outcome<InviteMade> {
    let created = state
        .control()
        .invites()
        .again(caller.actor(), &handle, &state.info().base_url)
        .await?;
    Ok(Answer::created(created.into()))
}

/// What a link opens; or, where it opens nothing any more, `error` and why.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct InviteFound {
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vaults: Option<Vec<VaultRoleItem>>,
    /// Whether a password is to be chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs_account: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_title: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'static str>,
}

/// Shows what a link opens. A link that opens nothing any more answers 200 with `error: true`, as clients expect.
#[utoipa::path(get, operation_id = "invites_details", path = "/v1/users/invites/{token}/details", tag = "invites", security(()),
    params(("token" = String, Path, description = "token of the link")),
    responses((status = 200, description = "what it opens", body = InviteFound), Refusals))]
pub(crate) async fn details(
    State(state): State<ApiState>,
    Segment(token): Segment<String>,
) -> Outcome<InviteFound> {
    let found = state.control().invites().details(&token).await?;
    let dead = |error_title, error_message| InviteFound {
        error: Some(true),
        error_title: Some(error_title),
        error_message: Some(error_message),
        ..InviteFound::default()
    };
    Ok(Answer::ok(match found.state {
        InviteState::Pending => InviteFound {
            email: Some(found.email),
            role: Some(found.role.as_str()),
            vaults: Some(vaults(found.vaults)),
            needs_account: Some(found.needs_account),
            ..InviteFound::default()
        },
        InviteState::Accepted => dead(
            "Already Accepted",
            "This invitation was accepted already. Log in to go on.",
        ),
        InviteState::Revoked => dead(
            "Invite Revoked",
            "This invitation was taken back. Ask who invited you for another.",
        ),
        InviteState::Expired => dead(
            "Invite Expired",
            "This invitation has run out. Ask who invited you for another.",
        ),
    }))
}

/// A password for a new account.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct InviteAnswer {
    /// Needed where there is no account yet.
    #[schema(value_type = Option<String>)]
    password: Option<SecretField>,
}

/// An accepted invitation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InviteAccepted {
    email: String,
    message: &'static str,
}

/// Accepts an invitation. Does not log in.
#[utoipa::path(post, operation_id = "invites_accept", path = "/v1/users/invites/{token}/accept", tag = "invites", security(()),
    request_body = Option<InviteAnswer>,
    params(("token" = String, Path, description = "token of the link")),
    responses((status = 200, description = "accepted", body = InviteAccepted),
        (status = 410, description = "not open any more", body = crate::error::ErrorBody), Refusals))]
pub(crate) async fn accept(
    State(state): State<ApiState>,
    Segment(token): Segment<String>,
    OptionalJsonBody(body): OptionalJsonBody<InviteAnswer>,
) -> Outcome<InviteAccepted> {
    let password = body.password.map(|password| password.0);
    let accepted = state.control().invites().accept(&token, password).await?;
    Ok(Answer::ok(InviteAccepted {
        email: accepted.email,
        message: if accepted.new_account {
            "Account created"
        } else {
            "Invite accepted"
        },
    }))
}

/// The page on which whoever follows the link accepts. The page itself says nothing about the invitation: its script asks.
pub(crate) async fn page() -> Response {
    super::page::page(include_str!("invite_page.html"))
}

/// The script of that page.
pub(crate) async fn script() -> Response {
    super::page::asset(
        "text/javascript; charset=utf-8",
        include_str!("invite_page.js"),
    )
}

fn vaults(vaults: Vec<(String, agent_vault_control::VaultRole)>) -> Vec<VaultRoleItem> {
    vaults
        .into_iter()
        .map(|(vault_name, role)| VaultRoleItem {
            vault_name,
            vault_role: role.as_str(),
        })
        .collect()
}
