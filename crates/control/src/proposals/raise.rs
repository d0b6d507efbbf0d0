//! Raising: all that an agent sends is checked against the vault before a row is written.

use agent_vault_seal::{Token, TokenKind};
use agent_vault_store::{ActorKind, Proposal, ProposalAuthor, ProposalStatus};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::input::{self, NewProposal, Offered};
use super::merge::{Moment, merge};
use super::view::{ProposalView, json, view};
use super::{context, for_programs, needed, note, people_refused, references, value_name};
use crate::access::{self, AnyRole, VaultRef};
use crate::actor::Actor;
use crate::error::{ControlError, ErrorKind};
use crate::webhooks::{self, Event, Proposed};
use crate::write::Write;
use crate::{credentials, line_breaks, services, stores};

/// How long a proposal waits for a decision.
const LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long the link to it shows it.
const LINK_LIFE: SignedDuration = SignedDuration::from_hours(24);
/// Proposals of one vault that may wait at a time.
const MAX_PENDING: u64 = 20;
/// People who are told of one proposal.
const MAX_TOLD: usize = 50;

pub(super) struct Raised {
    pub(super) view: ProposalView,
    pub(super) token: Token,
    /// Addresses of those who may decide.
    pub(super) tell: Vec<String>,
}

pub(super) async fn raise(
    write: &mut Write,
    actor: &Actor,
    vault: VaultRef<'_>,
    mut new: NewProposal,
    base_url: &str,
) -> Result<Raised, ControlError> {
    for_programs(actor)?;
    let access = access::vault::<AnyRole>(write.tx(), actor, vault).await?;
    write.retarget(format!("vault:{}", access.vault().name));
    let (slots, values) = input::check(&mut new, write.control().options().dev_mode)?;
    let now = write.now();
    let pending = write.tx().pending_proposal_count(access.id(), now).await?;
    if pending >= MAX_PENDING {
        return Err(ControlError::new(
            ErrorKind::TooMany,
            format!("{MAX_PENDING} proposals of this vault wait for a decision already"),
        )
        .hint("wait until a person has decided on some of them"));
    }
    let present = services::listing(write.tx().services(access.id()).await?)?;
    let known = write.tx().credential_keys(access.id()).await?;
    let merged = merge(
        &present.services,
        &new.services,
        &services::options(write),
        Moment::Raised,
    )?;
    if !slots.is_empty() {
        stores::keeps_its_own(write, access.id()).await?;
    }
    {
        let (stores, id) = (write.control().stores(), access.id());
        let lent = |key: &str| stores.lends(id, key);
        references(&merged, &slots, &known, &lent, Moment::Raised)?;
    }
    let values = match values.is_empty() {
        true => values,
        false => checked(values)?,
    };
    for (key, value) in &values {
        line_breaks::check_headers(&merged.services, key, value.expose())?;
    }
    let id = write.tx().next_proposal_id(access.id()).await?;
    let owner = access.id().to_string();
    let mut sealed = Vec::with_capacity(values.len());
    for (key, value) in &values {
        let name = value_name(id, key.as_str());
        let value = write
            .control()
            .keyring()
            .seal(&context(&owner, &name), value.expose())?;
        sealed.push((key.to_string(), value));
    }
    let (author, author_id, author_agent, author_name) = author(write, actor).await?;
    let token = Token::generate(TokenKind::Approval)?;
    let end = |life| now.saturating_add(life).unwrap_or(Timestamp::MAX);
    let row = Proposal {
        vault_id: access.id(),
        id,
        author,
        author_id,
        author_agent,
        author_name,
        status: ProposalStatus::Pending,
        services_json: json(&merged.items)?,
        credentials_json: json(&slots)?,
        message: new.message,
        user_message: new.user_message,
        review_note: String::new(),
        reviewed_by_name: String::new(),
        ended_at: None,
        approval_expires_at: end(LINK_LIFE),
        created_at: now,
        expires_at: end(LIFE),
    };
    write
        .tx()
        .insert_proposal(&row, token.hash(), &sealed)
        .await?;
    write.note("proposal", id);
    let view = view(&access.vault().name, row, now)?;
    note(write, &view);
    let event = Event::Raised {
        proposal: Proposed::from(&view),
        link: page(base_url, &view),
    };
    webhooks::queue(write, Some(access.vault()), &event).await?;
    let least = needed(&view.services);
    let tell = write
        .tx()
        .vault_users(access.id())
        .await?
        .into_iter()
        .filter(|user| user.is_active && user.role >= least)
        .take(MAX_TOLD)
        .map(|user| user.email)
        .collect();
    Ok(Raised { view, token, tell })
}

/// The page where a proposal is decided. Opens nothing without a login.
pub(super) fn page(base_url: &str, view: &ProposalView) -> String {
    let base = base_url.trim_end_matches('/');
    format!("{base}/approve/{}?vault={}", view.id, view.vault)
}

async fn author(
    write: &mut Write,
    actor: &Actor,
) -> Result<(ProposalAuthor, String, Option<Uuid>, String), ControlError> {
    match actor {
        Actor::Agent(agent) => Ok((
            ProposalAuthor::Agent,
            agent.id.to_string(),
            Some(agent.id),
            agent.name.clone(),
        )),
        Actor::Scoped(scoped) => {
            let session = write.tx().session_with_public_id(&scoped.session).await?;
            let agent = session
                .and_then(|session| session.created_by)
                .filter(|minter| minter.kind == ActorKind::Agent)
                .map(|minter| minter.id);
            let name = scoped
                .label
                .clone()
                .filter(|label| !label.is_empty())
                .unwrap_or_else(|| format!("vault token {}", scoped.session));
            Ok((ProposalAuthor::Scoped, scoped.session.clone(), agent, name))
        }
        Actor::User(_) | Actor::LocalOperator => Err(people_refused()),
    }
}

fn checked(values: Offered) -> Result<Offered, ControlError> {
    credentials::checked(
        values
            .into_iter()
            .map(|(key, value)| (key.to_string(), value))
            .collect(),
    )
}
