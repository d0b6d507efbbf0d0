//! What agents ask to change in a vault, and the decisions of people on it.
//!
//! An agent raises, a person looks and decides. Nobody approves what came from their own hands: not the agent, nor any token that it
//! holds or minted. Approving takes the vault role that the change itself takes: admin for services, member for credentials.
//! Approval reads, merges, seals and writes in one transaction. Values that come with a proposal are sealed on arrival and gone
//! with its end.

mod input;
mod merge;
mod preview;

use std::collections::BTreeSet;

use agent_vault_policy::{CredentialKey, Service};
use agent_vault_seal::{SealContext, SealKind, Sealed, SecretBytes, Token, TokenHash, TokenKind};
use agent_vault_store::{
    ActorKind, Proposal, ProposalAuthor, ProposalEnd, ProposalStatus, Reviewer, VaultRole,
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

pub use input::{NewProposal, NewSlot, ProposedAction, ProposedService, Slot};
pub use preview::{KeyFlow, Preview, SlotPreview};

use crate::Control;
use crate::access::{self, Admin, AnyRole, Member, NeededRole, Rows, VaultAccess, VaultRef};
use crate::actor::Actor;
use crate::credentials::{self, Origin, target};
use crate::error::{ControlError, ErrorKind};
use crate::line_breaks;
use crate::mail::{self, ProposalNews};
use crate::services::{self, Conditions, ServiceListing};
use crate::write::Write;
use merge::{Merged, Moment, merge};

/// How long a proposal waits for a decision.
const LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long the link to it shows it.
const LINK_LIFE: SignedDuration = SignedDuration::from_hours(24);
/// Proposals of one vault that may wait at a time.
const MAX_PENDING: u64 = 20;
/// Most proposals in one list.
const MAX_LISTED: u32 = 500;
/// People who are told of one proposal.
const MAX_TOLD: usize = 50;
/// Characters of the message that a mail shows.
const MAX_MAILED_CHARS: usize = 200;

/// Actions on proposals.
#[derive(Debug, Clone, Copy)]
pub struct Proposals<'c>(pub(crate) &'c Control);

/// A proposal as its readers see it. Never holds a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposalView {
    /// Its number in the vault.
    pub id: u32,
    /// The vault's name.
    pub vault: String,
    /// What became of it.
    pub status: ProposalStatus,
    /// Changes to services, every name filled in.
    pub services: Vec<ProposedService>,
    /// Changes to credentials.
    pub credentials: Vec<Slot>,
    /// The agent's own words.
    pub message: String,
    /// What it says to the person.
    pub user_message: String,
    /// Name of the agent, or label of the vault token.
    pub author: String,
    /// What the one who decided said.
    pub review_note: String,
    /// Who decided; empty while nobody has.
    pub reviewed_by: String,
    /// When it was decided, or ran out.
    pub reviewed_at: Option<Timestamp>,
    /// When it was raised.
    pub created_at: Timestamp,
    /// Until when it can be decided.
    pub expires_at: Timestamp,
}

/// A proposal that was raised.
#[derive(Debug)]
pub struct RaisedProposal {
    /// It.
    pub view: ProposalView,
    /// The page that shows it to whoever has the link. A secret.
    pub approval_url: String,
}

/// What a link shows.
#[derive(Debug)]
pub struct LinkedProposal {
    /// The proposal.
    pub view: ProposalView,
    /// What it would do; why it cannot be done, where it cannot.
    pub preview: Result<Preview, ControlError>,
    /// Whether whoever is logged in may approve it.
    pub can_approve: bool,
}

/// What a person gives with a yes.
#[derive(Debug, Default)]
pub struct Approval {
    /// Values by key; those that no slot asks for are left out.
    pub values: Vec<(String, SecretBytes)>,
    /// The revision of the services that the person saw: refused when they have changed since.
    pub revision: Option<u64>,
}

impl Proposals<'_> {
    /// Raises a proposal, tells the people who may decide, and answers it with a link that shows it.
    ///
    /// # Errors
    /// For people; without a role in the vault; `Invalid`, `NotFound` or `Conflict`, naming the field; `TooMany` when 20 wait.
    pub async fn raise(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        new: NewProposal,
        base_url: &str,
    ) -> Result<RaisedProposal, ControlError> {
        let mut write = self.0.begin(actor, "proposal.raise", target(vault)).await?;
        let outcome = raise(&mut write, actor, vault, new).await;
        let raised = write.finish(outcome).await?;
        let base = base_url.trim_end_matches('/');
        self.announce(&raised, base);
        Ok(RaisedProposal {
            approval_url: format!(
                "{base}/approve/{}?token={}",
                raised.view.id,
                raised.token.expose()
            ),
            view: raised.view,
        })
    }

    /// The vault's proposals as an agent sees them, newest first.
    ///
    /// # Errors
    /// For people; without a role in the vault; `Invalid` for what is no status.
    pub async fn list(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        status: Option<&str>,
    ) -> Result<Vec<ProposalView>, ControlError> {
        for_programs(actor)?;
        let (access, rows) = self.rows(actor, vault, status).await?;
        views(&access, rows, self.0.now())
    }

    /// One proposal as an agent sees it.
    ///
    /// # Errors
    /// For people; without a role in the vault; `NotFound`.
    pub async fn get(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        id: u32,
    ) -> Result<ProposalView, ControlError> {
        for_programs(actor)?;
        let mut rows = self.0.store().clone();
        for_programs(actor)?;
        let access = access::vault::<AnyRole>(&mut rows, actor, vault).await?;
        let row = rows.proposal(access.id(), id).await?;
        let row = row.ok_or_else(|| unknown(id))?;
        view(&access.vault().name, row, self.0.now())
    }

    /// The vault's proposals as a reviewer sees them, newest first; below member the pending ones.
    ///
    /// # Errors
    /// Without a role in the vault; `Invalid` for what is no status.
    pub async fn review_list(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        status: Option<&str>,
    ) -> Result<Vec<ProposalView>, ControlError> {
        let (access, rows) = self.rows(actor, vault, status).await?;
        let mut views = views(&access, rows, self.0.now())?;
        if access.role() < VaultRole::Member {
            views.retain(|view| view.status == ProposalStatus::Pending);
        }
        Ok(views)
    }

    /// One proposal as a reviewer sees it, with what it would do while it can be decided.
    ///
    /// # Errors
    /// Without a role in the vault; `NotFound`; `Forbidden` below member for one that is not pending.
    pub async fn review(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        id: u32,
    ) -> Result<(ProposalView, Option<Result<Preview, ControlError>>), ControlError> {
        let mut rows = self.0.store().clone();
        let access = access::vault::<AnyRole>(&mut rows, actor, vault).await?;
        let row = rows.proposal(access.id(), id).await?;
        let row = row.ok_or_else(|| unknown(id))?;
        let view = view(&access.vault().name, row, self.0.now())?;
        if view.status != ProposalStatus::Pending {
            return if access.role() < VaultRole::Member {
                Err(ControlError::forbidden(Member::REFUSAL)
                    .hint("the role `proxy` sees proposals that wait for a decision"))
            } else {
                Ok((view, None))
            };
        }
        let preview = self.preview(access.id(), &view).await;
        Ok((view, Some(preview)))
    }

    /// What a link shows, to anybody who has it; `viewer` is whoever is logged in beside it.
    ///
    /// # Errors
    /// `NotFound` for an unknown link; `Invalid` when `id` is another's; `Gone` after a day.
    pub async fn by_link(
        &self,
        token: &str,
        id: Option<u32>,
        viewer: Option<&Actor>,
    ) -> Result<LinkedProposal, ControlError> {
        let mut rows = self.0.store().clone();
        let row = rows.proposal_by_token(TokenHash::of(token)).await?;
        let row = row.ok_or_else(|| {
            ControlError::not_found("This link opens no proposal")
                .hint("ask the agent for another, or look with `agent-vault vault proposal list`")
        })?;
        if id.is_some_and(|id| id != row.id) {
            return Err(
                ControlError::invalid("id: this link is for another proposal")
                    .hint(format!("for example `id={}`", row.id)),
            );
        }
        if self.0.now() >= row.approval_expires_at {
            return Err(ControlError::new(ErrorKind::Gone, "This link has run out")
                .hint("log in and look with `agent-vault vault proposal list`"));
        }
        let vault = rows.vault_with(row.vault_id).await?;
        let vault = vault.ok_or_else(|| ControlError::not_found("the vault is gone"))?;
        let own = viewer.is_some_and(|viewer| is_own(viewer, &row));
        let view = view(&vault.name, row, self.0.now())?;
        let can_approve = match viewer {
            Some(viewer) if !own => {
                let role =
                    access::vault::<AnyRole>(&mut rows, viewer, VaultRef::Named(&vault.name)).await;
                role.is_ok_and(|access| access.role() >= needed(&view.services))
            }
            Some(_) | None => false,
        };
        Ok(LinkedProposal {
            preview: self.preview(vault.id, &view).await,
            view,
            can_approve,
        })
    }

    /// Does what a proposal asks for, all or nothing.
    ///
    /// # Errors
    /// Below the role that the change takes; `Forbidden` for the author; `Conflict` when it is not pending or the vault does not fit
    /// it any more; `Stale` when the services are not those that were seen; `Invalid` without a value that is needed.
    pub async fn approve(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        id: u32,
        approval: Approval,
    ) -> Result<(), ControlError> {
        let mut write = self
            .0
            .begin(actor, "proposal.approve", target(vault))
            .await?;
        let outcome = approve(&mut write, actor, vault, id, approval).await;
        write.finish(outcome).await
    }

    /// Turns a proposal down.
    ///
    /// # Errors
    /// Below vault member; for vault tokens; `Conflict` when it is not pending.
    pub async fn reject(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        id: u32,
        reason: &str,
    ) -> Result<(), ControlError> {
        input::bounded("reason", reason, input::MAX_REASON)?;
        let mut write = self
            .0
            .begin(actor, "proposal.reject", target(vault))
            .await?;
        let outcome = reject(&mut write, actor, vault, id, reason).await;
        write.finish(outcome).await
    }

    async fn rows(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        status: Option<&str>,
    ) -> Result<(VaultAccess<AnyRole>, Vec<Proposal>), ControlError> {
        let status = match status.filter(|status| !status.is_empty()) {
            None => None,
            Some(word) => Some(word.parse().map_err(|_| {
                input::bad(
                    "status",
                    "must be one of: pending, applied, rejected, expired",
                    "`pending`",
                )
            })?),
        };
        let mut rows = self.0.store().clone();
        let access = access::vault::<AnyRole>(&mut rows, actor, vault).await?;
        let found = rows
            .proposals(access.id(), status, self.0.now(), MAX_LISTED)
            .await?;
        Ok((access, found))
    }

    async fn preview(&self, vault: Uuid, view: &ProposalView) -> Result<Preview, ControlError> {
        let store = self.0.store();
        let present = services::listing(store.services(vault).await?)?;
        let known = store.credential_keys(vault).await?;
        let options = agent_vault_policy::ValidationOptions {
            dev_mode: self.0.options().dev_mode,
        };
        let merged = merge(&present.services, &view.services, &options, Moment::Decided)?;
        references(&merged, &view.credentials, &known, Moment::Decided)?;
        Ok(preview::preview(
            &present.services,
            &merged,
            &view.credentials,
            &known,
            present.revision,
        ))
    }

    /// The one place from which the world hears of a new proposal: a mail to each person who may decide.
    ///
    /// One letter each, so that nobody sees another's address, with a link that opens nothing without a login.
    fn announce(&self, raised: &Raised, base: &str) {
        let Some(mailer) = self.0.options().mailer.clone() else {
            return;
        };
        let (view, tell) = (raised.view.clone(), raised.tell.clone());
        let link = format!("{base}/approve/{}?vault={}", view.id, view.vault);
        let told = self.0.later("telling people of a proposal", async move {
            let said = if view.user_message.is_empty() {
                &view.message
            } else {
                &view.user_message
            };
            let message: String = said.chars().take(MAX_MAILED_CHARS).collect();
            let news = ProposalNews {
                vault: &view.vault,
                id: view.id,
                author: &view.author,
                message: &message,
                link: &link,
            };
            for email in &tell {
                // One address that does not work keeps nobody else from hearing.
                if let Err(error) = mailer.send(mail::proposal(email, &news)).await {
                    tracing::warn!(email, %error, "a person could not be told of a proposal");
                }
            }
            Ok(())
        });
        if let Err(error) = told {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "nobody is told of a proposal"
            );
        }
    }
}

struct Raised {
    view: ProposalView,
    token: Token,
    /// Addresses of those who may decide.
    tell: Vec<String>,
}

async fn raise(
    write: &mut Write,
    actor: &Actor,
    vault: VaultRef<'_>,
    mut new: NewProposal,
) -> Result<Raised, ControlError> {
    let access = access::vault::<AnyRole>(write.tx(), actor, vault).await?;
    write.retarget(format!("vault:{}", access.vault().name));
    let (slots, values) = input::check(&mut new)?;
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
    references(&merged, &slots, &known, Moment::Raised)?;
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

async fn approve(
    write: &mut Write,
    actor: &Actor,
    vault: VaultRef<'_>,
    id: u32,
    approval: Approval,
) -> Result<(), ControlError> {
    let (access, row) = open(write, actor, vault, id).await?;
    if is_own(actor, &row) {
        return Err(
            ControlError::forbidden("Nobody approves a proposal of their own")
                .hint("a person decides: `agent-vault vault proposal approve`"),
        );
    }
    let own = VaultRef::Named(&access.vault().name);
    let admin = match needed(&parse::<ProposedService>(&row.services_json)?) {
        VaultRole::Admin => Some(access::vault::<Admin>(write.tx(), actor, own).await?),
        _ => None,
    };
    let vault_id = access.id();
    let view = view(&access.vault().name, row, write.now())?;
    let present = services::listing(write.tx().services(vault_id).await?)?;
    let seen = Conditions {
        revision: approval.revision,
        ..Conditions::default()
    };
    services::check(&present, &seen)?;
    let merged = merge(
        &present.services,
        &view.services,
        &services::options(write),
        Moment::Decided,
    )?;
    let known = write.tx().credential_keys(vault_id).await?;
    references(&merged, &view.credentials, &known, Moment::Decided)?;
    let values = values(write, vault_id, &view, approval.values).await?;
    credentials::room(&known, &values)?;
    let mut versions = Vec::with_capacity(values.len());
    for (key, value) in &values {
        line_breaks::check_headers(&merged.services, key, value.expose())?;
        versions.push(credentials::put(write, &access, key, value, Origin::default()).await?);
    }
    for slot in &view.credentials {
        if slot.action == ProposedAction::Delete
            && !write.tx().delete_credential(vault_id, &slot.key).await?
        {
            return Err(ControlError::conflict(format!(
                "Credential `{}` is gone since the proposal was made",
                slot.key
            ))
            .hint("reject the proposal"));
        }
    }
    end(write, actor, &access, &view, ProposalStatus::Applied, "").await?;
    note(write, &view);
    write.note("versions", versions);
    match admin {
        None => write.publish_vault(vault_id).await,
        Some(admin) => {
            let set: Vec<&Service> = merged.set.iter().map(|(_, service)| service).collect();
            credentials::check_headers(write, &admin, &set).await?;
            store(write, &admin, &present, &merged).await
        }
    }
}

async fn store(
    write: &mut Write,
    admin: &VaultAccess<Admin>,
    present: &ServiceListing,
    merged: &Merged,
) -> Result<(), ControlError> {
    services::store(write, admin, present, &merged.services, ())
        .await
        .map(|_| ())
}

async fn reject(
    write: &mut Write,
    actor: &Actor,
    vault: VaultRef<'_>,
    id: u32,
    reason: &str,
) -> Result<(), ControlError> {
    let (access, row) = open(write, actor, vault, id).await?;
    let view = view(&access.vault().name, row, write.now())?;
    end(
        write,
        actor,
        &access,
        &view,
        ProposalStatus::Rejected,
        reason,
    )
    .await
}

/// A pending proposal, for one who decides.
async fn open(
    write: &mut Write,
    actor: &Actor,
    vault: VaultRef<'_>,
    id: u32,
) -> Result<(VaultAccess<Member>, Proposal), ControlError> {
    let access = access::vault::<Member>(write.tx(), actor, vault).await?;
    write.retarget(format!("vault:{}", access.vault().name));
    write.note("proposal", id);
    if matches!(actor, Actor::Scoped(_)) {
        return Err(ControlError::forbidden("A vault token decides nothing")
            .hint("log in with `agent-vault auth login`"));
    }
    let row = write.tx().proposal(access.id(), id).await?;
    let row = row.ok_or_else(|| unknown(id))?;
    match row.status_at(write.now()) {
        ProposalStatus::Pending => Ok((access, row)),
        ended => Err(decided(id, ended)),
    }
}

async fn end(
    write: &mut Write,
    actor: &Actor,
    access: &VaultAccess<Member>,
    view: &ProposalView,
    status: ProposalStatus,
    note: &str,
) -> Result<(), ControlError> {
    let by = reviewer(write, actor).await?;
    let end = ProposalEnd {
        vault_id: access.id(),
        id: view.id,
        status,
        note,
        by: &by,
        at: write.now(),
    };
    if write.tx().end_proposal(&end).await? {
        return Ok(());
    }
    Err(decided(view.id, status))
}

/// The value of each slot that is set: what the person gives, else what the agent gave.
async fn values(
    write: &mut Write,
    vault: Uuid,
    view: &ProposalView,
    given: Vec<(String, SecretBytes)>,
) -> Result<Vec<(CredentialKey, SecretBytes)>, ControlError> {
    let mut offered: Vec<(String, Sealed)> = write.tx().proposal_values(vault, view.id).await?;
    let mut given = given;
    let owner = vault.to_string();
    let mut found = Vec::new();
    for slot in &view.credentials {
        if slot.action != ProposedAction::Set {
            continue;
        }
        let value = if let Some(at) = given.iter().position(|(key, _)| *key == slot.key) {
            given.swap_remove(at).1
        } else if let Some(at) = offered.iter().position(|(key, _)| *key == slot.key) {
            let (key, sealed) = offered.swap_remove(at);
            let name = value_name(view.id, &key);
            write
                .control()
                .keyring()
                .open(&context(&owner, &name), &sealed)
                .map_err(|error| {
                    ControlError::internal(
                        format!("the offered value of `{key}` cannot be opened"),
                        error,
                    )
                    .hint("give a value with the approval")
                })?
        } else {
            return Err(ControlError::invalid(format!(
                "Missing value for credential {}",
                slot.key
            ))
            .hint(format!(
                "give one, for example `\"credentials\": {{\"{}\": \"…\"}}`",
                slot.key
            )));
        };
        if value.is_empty() {
            return Err(ControlError::invalid(format!(
                "The value for credential {} is empty",
                slot.key
            ))
            .hint("give one, or reject the proposal"));
        }
        found.push((slot.key.clone(), value));
    }
    credentials::checked(found)
}

/// Every key that a changed service uses is there, or comes with the proposal; every one that comes is used, when there are
/// services.
fn references(
    merged: &Merged,
    slots: &[Slot],
    known: &[String],
    moment: Moment,
) -> Result<(), ControlError> {
    let has = |action: ProposedAction, key: &str| {
        slots
            .iter()
            .any(|slot| slot.action == action && slot.key == key)
    };
    let mut used: BTreeSet<String> = BTreeSet::new();
    for (index, service) in &merged.set {
        for key in service.keys() {
            let there = known.iter().any(|known| known == key.as_str())
                && !has(ProposedAction::Delete, key.as_str());
            if !there && !has(ProposedAction::Set, key.as_str()) {
                let what = format!(
                    "services[{index}]: uses `{key}`, which is neither a stored credential nor one that the proposal sets"
                );
                return Err(match moment {
                    Moment::Raised => ControlError::invalid(what).hint(format!(
                        "for example `\"credentials\": [{{\"action\": \"set\", \"key\": \"{key}\"}}]`"
                    )),
                    Moment::Decided => ControlError::conflict(what)
                        .hint(format!("set `{key}` first, or reject the proposal")),
                });
            }
            used.insert(key.to_string());
        }
    }
    if moment == Moment::Decided {
        return Ok(());
    }
    for (index, slot) in slots.iter().enumerate() {
        let field = format!("credentials[{index}].key");
        if slot.action == ProposedAction::Delete && !known.contains(&slot.key) {
            return Err(ControlError::not_found(format!(
                "{field}: the vault has no credential `{}`",
                slot.key
            ))
            .hint("see what it has with `agent-vault vault discover`"));
        }
        if slot.action == ProposedAction::Set
            && !merged.items.is_empty()
            && !used.contains(&slot.key)
        {
            return Err(input::bad(
                &field,
                &format!("no service of the proposal uses `{}`", slot.key),
                "a proposal of its own for it, without services",
            ));
        }
    }
    Ok(())
}

/// The vault role that the change itself takes.
fn needed(services: &[ProposedService]) -> VaultRole {
    if services.is_empty() {
        VaultRole::Member
    } else {
        VaultRole::Admin
    }
}

/// Whether a proposal came from the actor's own hands.
fn is_own(actor: &Actor, row: &Proposal) -> bool {
    match actor {
        Actor::Agent(agent) => row.author_agent == Some(agent.id),
        Actor::Scoped(_) => true,
        Actor::User(_) | Actor::LocalOperator => false,
    }
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

async fn reviewer(write: &mut Write, actor: &Actor) -> Result<Reviewer, ControlError> {
    let Some(identity) = actor.identity() else {
        return Ok(Reviewer {
            kind: "local",
            id: None,
            name: "local operator".to_owned(),
        });
    };
    let name = write.tx().display_name(identity).await?;
    Ok(Reviewer {
        kind: identity.kind.as_str(),
        id: Some(identity.id),
        name: name.unwrap_or_default(),
    })
}

fn for_programs(actor: &Actor) -> Result<(), ControlError> {
    match actor {
        Actor::Agent(_) | Actor::Scoped(_) => Ok(()),
        Actor::User(_) | Actor::LocalOperator => Err(people_refused()),
    }
}

fn people_refused() -> ControlError {
    ControlError::forbidden("Proposals are raised by agents")
        .hint("change the vault yourself with `agent-vault vault service add`, or review with `agent-vault vault proposal list`")
}

fn unknown(id: u32) -> ControlError {
    ControlError::not_found(format!("Proposal {id} not found"))
        .hint("list them with `agent-vault vault proposal list`")
}

fn decided(id: u32, status: ProposalStatus) -> ControlError {
    ControlError::conflict(format!("Proposal {id} is {status}, not pending"))
        .hint("what has ended stays as it is")
}

fn checked(
    values: Vec<(CredentialKey, SecretBytes)>,
) -> Result<Vec<(CredentialKey, SecretBytes)>, ControlError> {
    credentials::checked(
        values
            .into_iter()
            .map(|(key, value)| (key.to_string(), value))
            .collect(),
    )
}

/// What was asked for, without values.
fn note(write: &mut Write, view: &ProposalView) {
    let services: Vec<serde_json::Value> = view
        .services
        .iter()
        .map(|item| serde_json::to_value(item).unwrap_or_default())
        .collect();
    let keys: Vec<String> = view
        .credentials
        .iter()
        .map(|slot| format!("{} {}", slot.action.as_str(), slot.key))
        .collect();
    write.note("author", view.author.as_str());
    write.note("services", services);
    write.note("credentials", keys);
}

fn views(
    access: &VaultAccess<AnyRole>,
    rows: Vec<Proposal>,
    now: Timestamp,
) -> Result<Vec<ProposalView>, ControlError> {
    rows.into_iter()
        .map(|row| view(&access.vault().name, row, now))
        .collect()
}

fn view(vault: &str, row: Proposal, now: Timestamp) -> Result<ProposalView, ControlError> {
    let status = row.status_at(now);
    Ok(ProposalView {
        id: row.id,
        vault: vault.to_owned(),
        status,
        services: parse(&row.services_json)?,
        credentials: parse(&row.credentials_json)?,
        message: row.message,
        user_message: row.user_message,
        author: row.author_name,
        review_note: row.review_note,
        reviewed_by: row.reviewed_by_name,
        reviewed_at: row
            .ended_at
            .or((status == ProposalStatus::Expired).then_some(row.expires_at)),
        created_at: row.created_at,
        expires_at: row.expires_at,
    })
}

fn parse<T: serde::de::DeserializeOwned>(json: &str) -> Result<Vec<T>, ControlError> {
    serde_json::from_str(json)
        .map_err(|error| ControlError::internal("The stored proposal cannot be read", error))
}

fn json<T: serde::Serialize>(items: &[T]) -> Result<String, ControlError> {
    serde_json::to_string(items)
        .map_err(|error| ControlError::internal("the proposal cannot be written", error))
}

fn value_name(id: u32, key: &str) -> String {
    format!("{id}/{key}")
}

/// A value is bound to its vault, proposal and key.
fn context<'a>(owner: &'a str, name: &'a str) -> SealContext<'a> {
    SealContext {
        kind: SealKind::Proposal,
        owner,
        name,
        version: 1,
    }
}
