//! Scoped sessions: short-lived tokens for one vault, with the role `proxy`.

use std::collections::HashMap;

use agent_vault_broker::TokenBounds;
use agent_vault_seal::{Token, TokenKind, public_id};
use agent_vault_store::{ActorKind, ActorRef, Session, SessionKind, VaultRole};
use jiff::{SignedDuration, Timestamp};

use crate::Control;
use crate::access::{self, Member, VaultAccess, VaultRef};
use crate::actor::Actor;
use crate::error::{ControlError, ErrorKind};
use crate::label;
use crate::publish;
use crate::services;
use crate::token_bounds::{self, BoundsView, NewBounds};
use crate::write::{Ended, Publication, Write};

/// Shortest life in seconds.
const MIN_TTL_SECONDS: u64 = 300;
/// Longest life in seconds: a week.
const MAX_TTL_SECONDS: u64 = 604_800;
/// Life when none is asked for: a day.
const DEFAULT_TTL_SECONDS: u64 = 86_400;
/// Most live scoped sessions of one vault.
const MAX_PER_VAULT: usize = 10_000;

/// A scoped session to be minted.
#[derive(Debug, Clone, Default)]
pub struct NewToken {
    /// Life in seconds; a day when absent.
    pub ttl_seconds: Option<u64>,
    /// What it is called.
    pub label: Option<String>,
    /// What it is confined to.
    pub bounds: NewBounds,
}

/// A scoped session that was minted; the token is shown once.
#[derive(Debug)]
pub struct MintedToken {
    /// The token.
    pub token: Token,
    /// Its public id, for logs and revocation.
    pub id: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Who minted a scoped session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minter {
    /// Person or agent.
    pub kind: ActorKind,
    /// Identity.
    pub id: String,
    /// Address or name; the id once the actor is gone.
    pub display_name: String,
}

/// A live scoped session in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenView {
    /// Public id.
    pub id: String,
    /// What it is called.
    pub label: Option<String>,
    /// Role in the vault.
    pub role: VaultRole,
    /// Who minted it.
    pub created_by: Option<Minter>,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when.
    pub expires_at: Option<Timestamp>,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
    /// What it is confined to, and what is left of that.
    pub bounds: BoundsView,
}

/// Actions on scoped sessions.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'c>(pub(crate) &'c Control);

impl Tokens<'_> {
    /// Mints a scoped session.
    ///
    /// # Errors
    /// Below vault member; `Invalid` for a life, label or bound that cannot be, and for a service that the vault does not have.
    pub async fn mint(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        new: NewToken,
    ) -> Result<MintedToken, ControlError> {
        let seconds = new.ttl_seconds.unwrap_or(DEFAULT_TTL_SECONDS);
        // Bounds first, arithmetic after (H47).
        if !(MIN_TTL_SECONDS..=MAX_TTL_SECONDS).contains(&seconds) {
            return Err(ControlError::invalid(format!(
                "ttl_seconds must be between {MIN_TTL_SECONDS} and {MAX_TTL_SECONDS}"
            ))
            .hint("for example `3600`, an hour"));
        }
        let life = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(0));
        let label = match new.label {
            Some(label) => label::token_label(&label)?,
            None => None,
        };
        let bounds = new.bounds.read()?;
        let target = match vault {
            VaultRef::Named(name) => format!("vault:{}", access::shown(name)),
            VaultRef::Implied => "vault:".to_owned(),
        };
        let mut write = self.0.begin(actor, "token.mint", target).await?;
        let outcome = mint(&mut write, actor, vault, life, label, bounds).await;
        write.finish(outcome).await
    }

    /// The live scoped sessions of a vault, newest first.
    ///
    /// # Errors
    /// Below vault member.
    pub async fn list(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
    ) -> Result<Vec<TokenView>, ControlError> {
        let mut rows = self.0.store().clone();
        let access = access::vault::<Member>(&mut rows, actor, vault).await?;
        self.0.write_uses().await;
        let sessions = rows.scoped_sessions(access.id(), self.0.now()).await?;
        let mut names: HashMap<ActorRef, Option<String>> = HashMap::new();
        let mut views = Vec::with_capacity(sessions.len());
        for session in sessions {
            let created_by = match session.created_by {
                None => None,
                Some(minter) => {
                    let name = match names.get(&minter) {
                        Some(name) => name.clone(),
                        None => {
                            let name = self.name_of(minter).await?;
                            names.insert(minter, name.clone());
                            name
                        }
                    };
                    let id = minter.id.to_string();
                    let display_name = name.unwrap_or_else(|| id.clone());
                    Some(Minter {
                        kind: minter.kind,
                        id,
                        display_name,
                    })
                }
            };
            let left = self.0.broker().budget_left(&session.hash);
            views.push(TokenView {
                bounds: token_bounds::view(&session, left),
                id: session.public_id,
                label: Some(session.label).filter(|label| !label.is_empty()),
                role: session.vault_role.unwrap_or(VaultRole::Proxy),
                created_by,
                created_at: session.created_at,
                expires_at: session.expires_at,
                last_used_at: session.last_used_at,
            });
        }
        Ok(views)
    }

    /// Ends a scoped session by its public id.
    ///
    /// # Errors
    /// Below vault member; `NotFound` for one that is not of this vault.
    pub async fn revoke(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        id: &str,
    ) -> Result<(), ControlError> {
        let target = format!("token:{}", access::shown(id));
        let mut write = self.0.begin(actor, "token.revoke", target).await?;
        let outcome = revoke(&mut write, actor, vault, id).await;
        write.finish(outcome).await
    }

    async fn name_of(&self, actor: ActorRef) -> Result<Option<String>, ControlError> {
        let store = self.0.store();
        Ok(match actor.kind {
            ActorKind::User => store.user(actor.id).await?.map(|user| user.email),
            ActorKind::Agent => store.agent(actor.id).await?.map(|agent| agent.name),
        })
    }
}

async fn mint(
    write: &mut Write,
    actor: &Actor,
    vault: VaultRef<'_>,
    life: SignedDuration,
    label: Option<String>,
    bounds: TokenBounds,
) -> Result<MintedToken, ControlError> {
    let access = access::vault::<Member>(write.tx(), actor, vault).await?;
    write.retarget(format!("vault:{}", access.vault().name));
    let now = write.now();
    if write.tx().scoped_sessions(access.id(), now).await?.len() >= MAX_PER_VAULT {
        return Err(ControlError::new(
            ErrorKind::TooMany,
            format!("The vault has {MAX_PER_VAULT} live tokens"),
        )
        .hint("revoke some, or give them shorter lives"));
    }
    if bounds.services.is_some() {
        let services = write.tx().services(access.id()).await?;
        let known: Vec<String> = services::stored(services.map(|row| row.json))?
            .iter()
            .map(|service| service.name.to_string())
            .collect();
        token_bounds::check_services(&bounds, &known)?;
    }
    let expires_at = now
        .checked_add(life)
        .map_err(|_| ControlError::invalid("ttl_seconds reaches beyond the calendar"))?;
    let token = Token::generate(TokenKind::Scoped)?;
    let session = Session {
        label: label.unwrap_or_default(),
        ..session(&access, actor, &token, now, expires_at, bounds)?
    };
    write.tx().insert_session(&session).await?;
    let id = session.public_id.clone();
    write.note("session", id.as_str());
    write.note("label", session.label.as_str());
    write.note("expires_at", expires_at.to_string());
    note_bounds(write, &session);
    let names = match actor {
        Actor::User(user) => HashMap::from([(ActorRef::user(user.id), user.email.clone())]),
        Actor::Agent(agent) => HashMap::from([(ActorRef::agent(agent.id), agent.name.clone())]),
        Actor::Scoped(_) | Actor::LocalOperator => HashMap::new(),
    };
    if let Some(record) = publish::session(session, &names) {
        write.publish(Publication::Session(Box::new(record)));
    }
    Ok(MintedToken {
        token,
        id,
        expires_at,
    })
}

/// The row of a new scoped session. Needs proof that a member of the vault asked.
fn session(
    access: &VaultAccess<Member>,
    actor: &Actor,
    token: &Token,
    now: Timestamp,
    expires_at: Timestamp,
    bounds: TokenBounds,
) -> Result<Session, ControlError> {
    Ok(Session {
        hash: token.hash(),
        kind: SessionKind::Scoped,
        public_id: public_id()?,
        user_id: None,
        agent_id: None,
        vault_id: Some(access.id()),
        vault_role: Some(VaultRole::Proxy),
        label: String::new(),
        device_label: String::new(),
        expires_at: Some(expires_at),
        idle_ttl_seconds: None,
        created_at: now,
        last_used_at: None,
        last_ip: String::new(),
        last_user_agent: String::new(),
        created_by: actor.identity(),
        services: bounds.services,
        budget: bounds.budget.map(|budget| budget.limit),
        budget_spent: 0,
        sources: bounds.sources.iter().map(ToString::to_string).collect(),
    })
}

fn note_bounds(write: &mut Write, session: &Session) {
    if let Some(services) = &session.services {
        write.note("services", services.clone());
    }
    if let Some(requests) = session.budget {
        write.note("request_budget", requests);
    }
    if !session.sources.is_empty() {
        write.note("sources", session.sources.clone());
    }
}

async fn revoke(
    write: &mut Write,
    actor: &Actor,
    vault: VaultRef<'_>,
    id: &str,
) -> Result<(), ControlError> {
    let access = access::vault::<Member>(write.tx(), actor, vault).await?;
    write.note("vault", access.vault().name.as_str());
    if write
        .tx()
        .delete_scoped_session(access.id(), id)
        .await?
        .is_none()
    {
        return Err(ControlError::not_found("Session not found")
            .hint("list the live ones with `agent-vault vault token list`"));
    }
    write.publish(Publication::Sessions(Ended::One(id.to_owned())));
    Ok(())
}
