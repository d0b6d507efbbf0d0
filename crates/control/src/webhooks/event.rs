//! What there is to tell, and the form in which it is told.
//!
//! Names, numbers and states; never a value, a token, a header or a body. What an agent wrote is cut.

use agent_vault_seal::random_hex;
use agent_vault_store::{QueuedEvent, Vault};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Control;
use crate::error::ControlError;
use crate::proposals::ProposalView;
use crate::write::Write;

/// Characters of an agent's or a person's words that are told.
const MAX_WORDS_CHARS: usize = 200;
/// Of what goes on and on (a service that fails, a limit that is hit), one event in this time.
pub(super) const QUIET: SignedDuration = SignedDuration::from_hours(1);

/// What happened, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// An agent asks for a change.
    ProposalRaised,
    /// Somebody decided on it.
    ProposalDecided,
    /// Nobody decided in time.
    ProposalExpired,
    /// A request needed a credential that the vault does not have.
    CredentialMissing,
    /// An upstream refuses a credential.
    UpstreamAuthFailing,
    /// A token may not send as much as it does.
    LimitHit,
    /// Somebody tries an endpoint.
    Test,
}

impl EventKind {
    /// Those that an endpoint may choose.
    pub const SELECTABLE: [Self; 6] = [
        Self::ProposalRaised,
        Self::ProposalDecided,
        Self::ProposalExpired,
        Self::CredentialMissing,
        Self::UpstreamAuthFailing,
        Self::LimitHit,
    ];

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProposalRaised => "proposal.raised",
            Self::ProposalDecided => "proposal.decided",
            Self::ProposalExpired => "proposal.expired",
            Self::CredentialMissing => "credential.missing",
            Self::UpstreamAuthFailing => "upstream.auth_failing",
            Self::LimitHit => "limit.hit",
            Self::Test => "webhook.test",
        }
    }

    /// Reads the name of one that may be chosen.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::SELECTABLE
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }
}

/// A proposal, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proposed {
    id: u32,
    author: String,
    message: String,
    services: Vec<Value>,
    credentials: Vec<Value>,
    expires_at: Timestamp,
}

impl From<&ProposalView> for Proposed {
    fn from(view: &ProposalView) -> Self {
        Self {
            id: view.id,
            author: view.author.clone(),
            message: words(&view.message),
            services: view
                .services
                .iter()
                .map(|item| json!({"action": item.action.as_str(), "name": item.draft.name, "host": item.draft.host}))
                .collect(),
            credentials: view
                .credentials
                .iter()
                .map(|slot| json!({"action": slot.action.as_str(), "key": slot.key}))
                .collect(),
            expires_at: view.expires_at,
        }
    }
}

impl Proposed {
    fn data<const N: usize>(&self, more: [(&str, Value); N]) -> Value {
        let own = [
            ("proposal", json!(self.id)),
            ("author", json!(self.author)),
            ("message", json!(self.message)),
            ("services", json!(self.services)),
            ("credentials", json!(self.credentials)),
            ("expires_at", json!(stamp(self.expires_at))),
        ];
        let fields = own.into_iter().chain(more);
        fields
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

/// A request that was refused, or whose credential was, as the log shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Name of the service.
    pub(crate) service: String,
    /// `host:port`.
    pub(crate) host: String,
    /// Names of the service's credentials.
    pub(crate) keys: Vec<String>,
    /// What the agent got.
    pub(crate) status: u16,
    /// The token's label; empty without one.
    pub(crate) label: String,
    /// Public id of the token.
    pub(crate) session: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Raised {
        proposal: Proposed,
        /// The page where it is decided. Opens nothing without a login.
        link: String,
    },
    Decided {
        proposal: Proposed,
        status: &'static str,
        by: String,
        note: String,
    },
    Expired(Proposed),
    Missing {
        refused: Refused,
        /// Those that are stored nowhere, as opposed to having ended.
        missing: Vec<String>,
    },
    AuthFailing(Refused),
    Limit {
        refused: Refused,
        which: &'static str,
    },
    Test {
        webhook: Uuid,
        mark: String,
    },
}

impl Event {
    pub(crate) fn kind(&self) -> EventKind {
        match self {
            Self::Raised { .. } => EventKind::ProposalRaised,
            Self::Decided { .. } => EventKind::ProposalDecided,
            Self::Expired(_) => EventKind::ProposalExpired,
            Self::Missing { .. } => EventKind::CredentialMissing,
            Self::AuthFailing(_) => EventKind::UpstreamAuthFailing,
            Self::Limit { .. } => EventKind::LimitHit,
            Self::Test { .. } => EventKind::Test,
        }
    }

    /// What it is about, within its vault.
    pub(super) fn subject(&self) -> String {
        let kind = self.kind().as_str();
        match self {
            Self::Raised { proposal, .. }
            | Self::Decided { proposal, .. }
            | Self::Expired(proposal) => format!("{kind} {}", proposal.id),
            Self::Missing { refused, .. } | Self::AuthFailing(refused) => {
                format!("{kind} {}", refused.service)
            }
            Self::Limit { refused, which } => format!("{kind} {which} {}", refused.session),
            Self::Test { mark, .. } => format!("{kind} {mark}"),
        }
    }

    fn data(&self) -> Value {
        match self {
            Self::Raised { proposal, link } => proposal.data([("link", json!(link))]),
            Self::Decided {
                proposal,
                status,
                by,
                note,
            } => proposal.data([
                ("status", json!(status)),
                ("decided_by", json!(by)),
                ("note", json!(words(note))),
            ]),
            Self::Expired(proposal) => proposal.data([]),
            Self::Missing { refused, missing } => json!({
                "service": refused.service,
                "host": refused.host,
                "keys": refused.keys,
                "missing": missing,
                "token_label": refused.label,
                "token_id": refused.session,
            }),
            Self::AuthFailing(refused) => json!({
                "service": refused.service,
                "host": refused.host,
                "keys": refused.keys,
                "status": refused.status,
            }),
            Self::Limit { refused, which } => json!({
                "limit": which,
                "token_label": refused.label,
                "token_id": refused.session,
            }),
            Self::Test { webhook, .. } => json!({"webhook": webhook}),
        }
    }

    /// The event as the queue takes it.
    pub(super) fn queued(
        &self,
        control: &Control,
        vault: Option<&Vault>,
        at: Timestamp,
    ) -> Result<QueuedEvent, ControlError> {
        let id = format!("evt_{}", random_hex::<16>()?);
        let payload = json!({
            "id": id,
            "type": self.kind().as_str(),
            "timestamp": stamp(at),
            "instance": String::from_utf8_lossy(control.instance_id()),
            "vault": vault.map(|vault| vault.name.as_str()),
            "data": self.data(),
        });
        let subject = match vault {
            Some(vault) => format!("{} {}", vault.id, self.subject()),
            None => self.subject(),
        };
        Ok(QueuedEvent {
            id,
            event: self.kind().as_str(),
            vault_id: vault.map(|vault| vault.id),
            only: match self {
                Self::Test { webhook, .. } => Some(*webhook),
                _ => None,
            },
            subject,
            quiet: match self {
                Self::Missing { .. } | Self::AuthFailing(_) | Self::Limit { .. } => Some(QUIET),
                Self::Raised { .. }
                | Self::Decided { .. }
                | Self::Expired(_)
                | Self::Test { .. } => None,
            },
            payload: payload.to_string(),
            at,
        })
    }
}

/// Queues an event with the write that it tells of; answers its id, and how many endpoints will hear it.
pub(crate) async fn queue(
    write: &mut Write,
    vault: Option<&Vault>,
    event: &Event,
) -> Result<(String, u64), ControlError> {
    let at = write.now();
    let event = event.queued(write.control(), vault, at)?;
    let queued = write.tx().queue_event(&event).await?;
    Ok((event.id, queued))
}

fn words(text: &str) -> String {
    text.chars().take(MAX_WORDS_CHARS).collect()
}

/// RFC 3339, UTC, whole seconds.
fn stamp(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second())
        .unwrap_or(at)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for kind in EventKind::SELECTABLE {
            assert_eq!(EventKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(EventKind::parse(EventKind::Test.as_str()), None);
    }
}
