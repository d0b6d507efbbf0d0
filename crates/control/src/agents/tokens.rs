//! An agent's own tokens: issued, replaced with or without an overlap, listed, ended one by one.

use agent_vault_broker::{SessionKind as BrokerKind, SessionRecord, TokenBounds};
use agent_vault_seal::{Token, TokenKind, public_id};
use agent_vault_store::{ActorRef, AgentStatus, Session, SessionKind};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{Agents, manageable, managed_by, target};
use crate::access::{self, InstanceMember};
use crate::actor::Actor;
use crate::error::{ControlError, ErrorKind};
use crate::label;
use crate::write::{Ended, Publication, Write};

/// Shortest life that an agent's token may be given, in seconds.
const MIN_TTL_SECONDS: u64 = 300;
/// Longest life that an agent's token may be given, in seconds: ten years.
const MAX_TTL_SECONDS: u64 = 10 * 365 * 24 * 3600;
/// Longest time that former tokens stay good after a rotation, in seconds: a week.
const MAX_OVERLAP_SECONDS: u64 = 604_800;
/// Most live tokens of one agent. Rotations with an overlap add up to more than one.
const MAX_LIVE_TOKENS: usize = 10;

/// How a token is to be replaced.
#[derive(Debug, Clone, Default)]
pub struct Rotation {
    /// Life of the new token in seconds; without one it never ends.
    pub ttl_seconds: Option<u64>,
    /// For how many seconds the former tokens, and what was minted with them, stay good; zero when absent.
    pub overlap_seconds: Option<u64>,
    /// What the new token is called.
    pub label: Option<String>,
}

/// A token that replaces all others of an agent, shown once.
#[derive(Debug)]
pub struct RotatedAgent {
    /// The token.
    pub token: Token,
    /// When it ends.
    pub token_expires_at: Option<Timestamp>,
    /// Since when.
    pub rotated_at: Timestamp,
    /// Until when the former tokens are good at most; `None` when they ended with the rotation.
    pub former_ends_at: Option<Timestamp>,
    /// Whether a revoked agent became active by this.
    pub reactivated: bool,
}

/// A live token of an agent in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentTokenView {
    /// Public id, as in logs.
    pub id: String,
    /// What it is called.
    pub label: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when; `None` is without end.
    pub expires_at: Option<Timestamp>,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
}

impl Agents<'_> {
    /// Replaces an agent's tokens by a new one. The former ones, and the scoped sessions that it minted, end at once, or at the end of
    /// the overlap that was asked for.
    ///
    /// A revoked agent becomes active again when an owner asks. A creator who is not an owner cannot undo a revocation by somebody else
    /// (M12), nor act with grants that others gave the agent later than they themselves could (H17).
    ///
    /// # Errors
    /// Unless owner or creator; `Invalid` for times out of bounds; `TooMany` when overlaps have added up to ten live tokens.
    pub async fn rotate(
        &self,
        actor: &Actor,
        name: &str,
        rotation: Rotation,
    ) -> Result<RotatedAgent, ControlError> {
        let mut write = self.0.begin(actor, "agent.rotate", target(name)).await?;
        let outcome = rotate(&mut write, actor, name, rotation).await;
        write.finish(outcome).await
    }

    /// The live tokens of an agent, newest first.
    ///
    /// # Errors
    /// Unless owner or creator.
    pub async fn tokens(
        &self,
        actor: &Actor,
        name: &str,
    ) -> Result<Vec<AgentTokenView>, ControlError> {
        let mut rows = self.0.store().clone();
        let access = access::instance::<InstanceMember>(&mut rows, actor).await?;
        let agent = rows.agent_by_name(name).await?;
        let (agent, _) = managed_by(&mut rows, &access, agent, name).await?;
        self.0.write_uses().await;
        let sessions = rows.agent_sessions(agent.id, self.0.now()).await?;
        Ok(sessions
            .into_iter()
            .map(|session| AgentTokenView {
                id: session.public_id,
                label: Some(session.label).filter(|label| !label.is_empty()),
                created_at: session.created_at,
                expires_at: session.expires_at,
                last_used_at: session.last_used_at,
            })
            .collect())
    }

    /// Ends one of an agent's tokens by its public id. What it minted stays: that is the agent's, not the token's.
    ///
    /// # Errors
    /// Unless owner or creator; `NotFound` for one that is not this agent's.
    pub async fn revoke_token(
        &self,
        actor: &Actor,
        name: &str,
        id: &str,
    ) -> Result<(), ControlError> {
        let mut write = self
            .0
            .begin(actor, "agent.token_revoke", target(name))
            .await?;
        let outcome = revoke_token(&mut write, actor, name, id).await;
        write.finish(outcome).await
    }
}

async fn rotate(
    write: &mut Write,
    actor: &Actor,
    name: &str,
    rotation: Rotation,
) -> Result<RotatedAgent, ControlError> {
    let (agent, owner) = manageable(write, actor, name).await?;
    let now = write.now();
    let expires_at = expiry(now, rotation.ttl_seconds)?;
    let overlap = overlap_end(now, rotation.overlap_seconds)?;
    let reactivated = agent.status == AgentStatus::Revoked;
    if reactivated && !owner {
        return Err(ControlError::conflict("The agent is revoked")
            .hint("an owner can make it active again by rotating its token"));
    }
    if !owner {
        may_wield_grants(write, actor, agent.id).await?;
    }
    let former_ends_at = match overlap {
        Some(end) => overlap_former(write, agent.id, end).await?.then_some(end),
        None => {
            end_former(write, agent.id).await?;
            None
        }
    };
    if reactivated {
        write.tx().activate_agent(agent.id, now).await?;
    }
    let (token, session) = issue(write, agent.id, expires_at, rotation.label.as_deref()).await?;
    write.note("reactivated", reactivated);
    write.publish_agent(agent.id).await?;
    write.publish(Publication::Session(Box::new(session)));
    Ok(RotatedAgent {
        token,
        token_expires_at: expires_at,
        rotated_at: now,
        former_ends_at,
        reactivated,
    })
}

async fn end_former(write: &mut Write, agent: Uuid) -> Result<(), ControlError> {
    let minter = ActorRef::agent(agent);
    write.tx().delete_agent_sessions(agent).await?;
    let minted = write.tx().delete_sessions_minted_by(minter, None).await?;
    write.note("ended_tokens", minted);
    write.publish(Publication::Sessions(Ended::OfAgent(agent)));
    write.publish(Publication::Sessions(Ended::MintedBy(minter, None)));
    Ok(())
}

/// Lets the former tokens end at `end` at the latest. Answers whether there are any.
async fn overlap_former(
    write: &mut Write,
    agent: Uuid,
    end: Timestamp,
) -> Result<bool, ControlError> {
    let now = write.now();
    let live = write.tx().agent_sessions(agent, now).await?.len();
    if live >= MAX_LIVE_TOKENS {
        return Err(ControlError::new(
            ErrorKind::TooMany,
            format!("The agent has {MAX_LIVE_TOKENS} live tokens"),
        )
        .hint("rotate without an overlap, or end some with `agent-vault agent token revoke`"));
    }
    write.tx().end_agent_sessions_by(agent, end).await?;
    write.note("former_tokens", live);
    write.note("former_end_at", end.to_string());
    // Wide: what the agent minted may be in any vault.
    write.publish(Publication::Everything);
    Ok(live > 0)
}

async fn revoke_token(
    write: &mut Write,
    actor: &Actor,
    name: &str,
    id: &str,
) -> Result<(), ControlError> {
    let (agent, _) = manageable(write, actor, name).await?;
    write.note("session", access::shown(id).to_string());
    if !write.tx().delete_agent_session(agent.id, id).await? {
        return Err(ControlError::not_found("Token not found")
            .hint("list the live ones with `agent-vault agent token list`"));
    }
    write.publish(Publication::Sessions(Ended::One(id.to_owned())));
    Ok(())
}

/// Whoever gets an agent's token acts with its grants, so its creator needs as much in each of its vaults (H17).
async fn may_wield_grants(
    write: &mut Write,
    actor: &Actor,
    agent: Uuid,
) -> Result<(), ControlError> {
    let Some(identity) = actor.identity() else {
        return Ok(());
    };
    for membership in write.tx().vaults_of(ActorRef::agent(agent)).await? {
        let own = write.tx().grant(identity, membership.vault.id).await?;
        if own.is_none_or(|own| own.role < membership.role) {
            return Err(ControlError::forbidden(format!(
                "The agent is `{}` in the vault `{}`, where you are less",
                membership.role, membership.vault.name
            ))
            .hint("ask an owner to rotate its token"));
        }
    }
    Ok(())
}

pub(super) async fn issue(
    write: &mut Write,
    agent: Uuid,
    expires_at: Option<Timestamp>,
    wanted: Option<&str>,
) -> Result<(Token, SessionRecord), ControlError> {
    let label = wanted.map(label::token_label).transpose()?.flatten();
    let token = Token::generate(TokenKind::Agent)?;
    let session = Session {
        hash: token.hash(),
        kind: SessionKind::Agent,
        public_id: public_id()?,
        user_id: None,
        agent_id: Some(agent),
        vault_id: None,
        vault_role: None,
        label: label.clone().unwrap_or_default(),
        device_label: String::new(),
        expires_at,
        idle_ttl_seconds: None,
        created_at: write.now(),
        last_used_at: None,
        last_ip: String::new(),
        last_user_agent: String::new(),
        created_by: None,
        services: None,
        budget: None,
        budget_spent: 0,
        sources: Vec::new(),
    };
    write.tx().insert_session(&session).await?;
    write.note("session", session.public_id.as_str());
    let record = SessionRecord {
        token: session.hash,
        public_id: session.public_id,
        expires_at,
        label,
        kind: BrokerKind::Agent { agent },
        bounds: TokenBounds::default(),
    };
    Ok((token, record))
}

pub(super) fn expiry(
    now: Timestamp,
    ttl_seconds: Option<u64>,
) -> Result<Option<Timestamp>, ControlError> {
    let Some(seconds) = ttl_seconds else {
        return Ok(None);
    };
    // Bounds first, arithmetic after (H47).
    if !(MIN_TTL_SECONDS..=MAX_TTL_SECONDS).contains(&seconds) {
        return Err(ControlError::invalid(format!(
            "ttl_seconds must be between {MIN_TTL_SECONDS} and {MAX_TTL_SECONDS}"
        ))
        .hint("for example `3600`, an hour"));
    }
    after(now, seconds, "ttl_seconds").map(Some)
}

fn overlap_end(now: Timestamp, seconds: Option<u64>) -> Result<Option<Timestamp>, ControlError> {
    match seconds {
        None | Some(0) => Ok(None),
        Some(seconds) if seconds > MAX_OVERLAP_SECONDS => Err(ControlError::invalid(format!(
            "overlap_seconds must be between 0 and {MAX_OVERLAP_SECONDS}"
        ))
        .hint("600 leaves ten minutes to bring the new token where the former one is used")),
        Some(seconds) => after(now, seconds, "overlap_seconds").map(Some),
    }
}

fn after(now: Timestamp, seconds: u64, field: &str) -> Result<Timestamp, ControlError> {
    let life = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    now.checked_add(life)
        .map_err(|_| ControlError::invalid(format!("{field} reaches beyond the calendar")))
}
