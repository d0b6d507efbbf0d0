//! What agents ask to change in a vault, and the decisions of people on it.
//!
//! An agent raises, a person looks and decides. Nobody approves what came from their own hands: not the agent, nor any token that it
//! holds or minted. Approving takes the vault role that the change itself takes: admin for services, member for credentials.
//! Approval reads, merges, seals and writes in one transaction. Values that come with a proposal are sealed on arrival and gone
//! with its end.

mod decide;
mod expire;
mod input;
mod merge;
mod preview;
mod raise;
mod view;

use std::collections::BTreeSet;

use agent_vault_seal::{SealContext, SealKind, SecretBytes, TokenHash};
use agent_vault_store::{Proposal, ProposalStatus, VaultRole};
use uuid::Uuid;

pub use input::{NewProposal, NewSlot, ProposedAction, ProposedService, Slot, SlotOAuth};
pub use preview::{KeyFlow, Preview, SlotPreview};
pub use view::ProposalView;

use crate::Control;
use crate::access::{self, AnyRole, Member, NeededRole, Rows, VaultAccess, VaultRef};
use crate::actor::Actor;
use crate::credentials::target;
use crate::error::{ControlError, ErrorKind};
use crate::mail::{self, ProposalNews};
use crate::services;
use crate::write::Write;
use decide::{approve, reject};
use merge::{Merged, Moment, merge};
use raise::{Raised, page, raise};
use view::{view, views};

/// Most proposals in one list.
const MAX_LISTED: u32 = 500;
/// Characters of the message that a mail shows.
const MAX_MAILED_CHARS: usize = 200;

/// Actions on proposals.
#[derive(Debug, Clone, Copy)]
pub struct Proposals<'c>(pub(crate) &'c Control);

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
        let outcome = raise(&mut write, actor, vault, new, base_url).await;
        let raised = write.finish(outcome).await?;
        self.0.hooks().wake();
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
        write.finish(outcome).await?;
        self.0.hooks().wake();
        Ok(())
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
        write.finish(outcome).await?;
        self.0.hooks().wake();
        Ok(())
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
        let lent = |key: &str| self.0.stores().lends(vault, key);
        references(&merged, &view.credentials, &known, &lent, Moment::Decided)?;
        Ok(preview::preview(
            &present.services,
            &merged,
            &view.credentials,
            &known,
            present.revision,
        ))
    }

    /// A mail to each person who may decide. Webhooks hear of it by the transaction that raises it.
    ///
    /// One letter each, so that nobody sees another's address, with a link that opens nothing without a login.
    fn announce(&self, raised: &Raised, base: &str) {
        let Some(mailer) = self.0.options().mailer.clone() else {
            return;
        };
        let (view, tell) = (raised.view.clone(), raised.tell.clone());
        let link = page(base, &view);
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

/// Every key that a changed service uses is there, or comes with the proposal; every one that comes is used, when there are
/// services.
fn references(
    merged: &Merged,
    slots: &[Slot],
    known: &[String],
    lent: &dyn Fn(&str) -> bool,
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
            if !there && !has(ProposedAction::Set, key.as_str()) && !lent(key.as_str()) {
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
