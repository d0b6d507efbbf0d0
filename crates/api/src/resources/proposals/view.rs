//! What more than one page of a proposal shows: its parts, and what it would do.

use agent_vault_control::{ControlError, Preview, Slot, SlotOAuth};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::services::{AuthSchema, PlannedChange, SelectSchema, SubstitutionSchema};

/// A change to a service: a service with `action`.
#[derive(ToSchema)]
#[schema(as = ProposedService)]
#[expect(
    dead_code,
    reason = "describes what the control plane reads and writes"
)]
pub(crate) struct ProposedServiceSchema {
    /// `set` or `delete`.
    action: String,
    /// Slug. Without one a `set` adopts the service with the same host, port and path, and a `delete` goes by host.
    name: Option<String>,
    /// `host[:port][/path]`. Required for `set`.
    host: Option<String>,
    port: Option<u16>,
    path: Option<String>,
    /// Alone (with `host`): enables or disables a known service.
    enabled: Option<bool>,
    auth: Option<AuthSchema>,
    substitutions: Option<Vec<SubstitutionSchema>>,
    require_tls: Option<bool>,
    select: Option<SelectSchema>,
}

/// A credential of a proposal. Never a value.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SlotItem {
    /// `set` or `delete`.
    action: &'static str,
    key: String,
    r#type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    obtain: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    obtain_instructions: String,
    /// Whether the agent gave a value.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    has_value: bool,
    /// The client at a provider, for `oauth`.
    #[serde(skip_serializing_if = "Option::is_none")]
    oauth: Option<SlotClient>,
}

/// The client that an `oauth` credential of a proposal names.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SlotClient {
    /// Where a person consents; absent where tokens are given by hand.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    authorization_url: String,
    token_url: String,
    /// Absent where the person says.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    client_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    scopes: String,
    scope_separator: String,
    disable_pkce: bool,
    token_auth_method: String,
}

impl From<SlotOAuth> for SlotClient {
    fn from(slot: SlotOAuth) -> Self {
        Self {
            authorization_url: slot.authorization_url,
            token_url: slot.token_url,
            client_id: slot.client_id,
            scopes: slot.scopes,
            scope_separator: slot.scope_separator,
            disable_pkce: slot.disable_pkce,
            token_auth_method: slot.token_auth_method,
        }
    }
}

pub(super) fn slots(slots: Vec<Slot>) -> Vec<SlotItem> {
    slots
        .into_iter()
        .map(|slot| SlotItem {
            action: slot.action.as_str(),
            key: slot.key,
            r#type: slot.kind,
            description: slot.description,
            obtain: slot.obtain,
            obtain_instructions: slot.obtain_instructions,
            has_value: slot.has_value,
            oauth: slot.oauth.map(SlotClient::from),
        })
        .collect()
}

/// A key that would go to a host.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FlowItem {
    key: String,
    host: String,
    service: String,
    /// Whether it is the value that the vault has now.
    stored: bool,
    /// Whether it does not go there now.
    new: bool,
}

/// What happens to a credential.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SlotEffect {
    key: String,
    /// `set` or `delete`.
    action: &'static str,
    /// Whether the vault has it now.
    exists: bool,
    /// Whether the approval must bring a value.
    needs_value: bool,
    /// Services that use it after.
    used_by: Vec<String>,
}

/// What a proposal would do now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PreviewBody {
    changes: Vec<PlannedChange>,
    /// Which keys the changed services would send where.
    flows: Vec<FlowItem>,
    credentials: Vec<SlotEffect>,
    /// What deserves a second look.
    warnings: Vec<String>,
    /// With it in an approval, the approval does just this, or is refused (412).
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    /// Why the proposal does not fit the vault any more; then it cannot be approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    conflict: Option<String>,
}

pub(super) fn preview_body(preview: Result<Preview, ControlError>) -> PreviewBody {
    match preview {
        Ok(preview) => PreviewBody {
            changes: preview.changes.iter().map(PlannedChange::new).collect(),
            flows: preview
                .flows
                .into_iter()
                .map(|flow| FlowItem {
                    key: flow.key,
                    host: flow.host,
                    service: flow.service,
                    stored: flow.stored,
                    new: flow.new,
                })
                .collect(),
            credentials: preview
                .credentials
                .into_iter()
                .map(|slot| SlotEffect {
                    key: slot.key,
                    action: slot.action.as_str(),
                    exists: slot.exists,
                    needs_value: slot.needs_value,
                    used_by: slot.used_by,
                })
                .collect(),
            warnings: preview.warnings,
            revision: Some(preview.revision),
            conflict: None,
        },
        Err(error) => PreviewBody {
            changes: Vec::new(),
            flows: Vec::new(),
            credentials: Vec::new(),
            warnings: Vec::new(),
            revision: None,
            conflict: Some(error.message().to_owned()),
        },
    }
}
