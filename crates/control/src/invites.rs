//! Invitations of people: a link that makes an account with an instance role and roles in vaults.
//!
//! The token in the link is stored as a hash and shown once; lists and management use a public id that opens nothing (H19). One
//! that has run out counts for nothing any more, on the moment (H20).

use agent_vault_seal::{PasswordHash, SecretBytes, Token, TokenHash, TokenKind, public_id};
use agent_vault_store::{
    ActorKind, ActorRef, Grant, InstanceRole, Invite, InviteStatus, InviteVault, User, VaultRole,
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::Control;
use crate::access::{self, InstanceAccess, InstanceMember, Rows};
use crate::actor::Actor;
use crate::email::Email;
use crate::error::{ControlError, ErrorKind};
use crate::hashing;
use crate::mail;
use crate::write::{Publication, Write};

/// Life of an invitation.
const LIFE: SignedDuration = SignedDuration::from_hours(48);
/// Invitations that may be open at one time.
const MAX_OPEN: u64 = 50;
/// Vaults that one invitation may open.
const MAX_VAULTS: usize = 50;

/// Actions on invitations.
#[derive(Debug, Clone, Copy)]
pub struct Invites<'c>(pub(crate) &'c Control);

/// Whom to invite, and to what.
#[derive(Debug, Clone)]
pub struct NewInvite {
    /// Address.
    pub email: String,
    /// Instance role.
    pub role: InstanceRole,
    /// Vaults by name, with the role there.
    pub vaults: Vec<(String, VaultRole)>,
}

/// How an invitation gets to the person.
#[derive(Debug)]
pub enum Delivery {
    /// By mail.
    Mailed,
    /// By whoever invites: the link, and why no mail went out where one should have.
    ByHand {
        /// The link. A secret.
        link: String,
        /// Why the mail failed.
        error: Option<String>,
    },
}

/// A new invitation.
#[derive(Debug)]
pub struct CreatedInvite {
    /// It, as lists show it.
    pub view: InviteView,
    /// How it gets to the person.
    pub delivery: Delivery,
}

/// What became of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InviteState {
    /// It can be accepted.
    Pending,
    /// It was accepted.
    Accepted,
    /// It was taken back.
    Revoked,
    /// It has run out.
    Expired,
}

impl InviteState {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }
}

/// An invitation as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteView {
    /// Public id.
    pub id: String,
    /// Who is invited.
    pub email: String,
    /// Instance role.
    pub role: InstanceRole,
    /// What became of it.
    pub state: InviteState,
    /// Id of who invited; empty for the local operator.
    pub created_by: String,
    /// The same as people read it.
    pub created_by_name: String,
    /// Vaults by name, with the role there.
    pub vaults: Vec<(String, VaultRole)>,
    /// When.
    pub created_at: Timestamp,
    /// Until when it can be accepted.
    pub expires_at: Timestamp,
}

/// An invitation as the one sees it who holds the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteDetails {
    /// What became of it.
    pub state: InviteState,
    /// Who is invited.
    pub email: String,
    /// Instance role.
    pub role: InstanceRole,
    /// Vaults by name, with the role there.
    pub vaults: Vec<(String, VaultRole)>,
    /// Whether accepting it makes an account, which needs a password.
    pub needs_account: bool,
}

/// An invitation that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedInvite {
    /// Whose account has the roles now.
    pub email: String,
    /// Whether the account is new.
    pub new_account: bool,
}

impl Invites<'_> {
    /// Invites somebody. `base_url` is what links begin with.
    ///
    /// # Errors
    /// Below instance member; `Forbidden` for more than one has oneself, and for an address that may not come in; `Conflict` for
    /// somebody who has an account or an open invitation; `TooMany` with fifty open ones.
    pub async fn create(
        &self,
        actor: &Actor,
        new: NewInvite,
        base_url: &str,
    ) -> Result<CreatedInvite, ControlError> {
        let email = Email::parse(&new.email)?;
        let mut write = self
            .0
            .begin(actor, "invite.create", format!("user:{email}"))
            .await?;
        let outcome = create(&mut write, actor, &email, new).await;
        let (view, token, owner) = write.finish(outcome).await?;
        let delivery = self.deliver(&view, &token, base_url, false, owner).await;
        Ok(CreatedInvite { view, delivery })
    }

    /// The invitations that one may manage, newest first; all of them for owners.
    ///
    /// # Errors
    /// Below instance member.
    pub async fn list(
        &self,
        actor: &Actor,
        state: Option<&str>,
    ) -> Result<Vec<InviteView>, ControlError> {
        let mut rows = self.0.store().clone();
        let access = access::instance::<InstanceMember>(&mut rows, actor).await?;
        let now = self.0.now();
        let mut views = Vec::new();
        for invite in self.0.store().invites().await? {
            if !may_manage(&mut rows, &access, &invite).await? {
                continue;
            }
            let name = name_of(&mut rows, invite.created_by).await?;
            let view = view(invite, name, now);
            if state.is_none_or(|state| state == view.state.as_str()) {
                views.push(view);
            }
        }
        Ok(views)
    }

    /// Takes an open invitation back. `handle` is its public id or its token.
    ///
    /// # Errors
    /// Below instance member; `Forbidden` unless one made it, is an owner, or administers one of its vaults; `NotFound` when it is
    /// not open.
    pub async fn revoke(&self, actor: &Actor, handle: &str) -> Result<(), ControlError> {
        let mut write = self.0.begin(actor, "invite.revoke", "invite").await?;
        let outcome = revoke(&mut write, actor, handle).await;
        write.finish(outcome).await
    }

    /// Takes an open invitation, or one that has run out, back and makes another like it.
    ///
    /// # Errors
    /// As [`Invites::revoke`]; `Conflict` when it was accepted or taken back.
    pub async fn again(
        &self,
        actor: &Actor,
        handle: &str,
        base_url: &str,
    ) -> Result<CreatedInvite, ControlError> {
        let mut write = self.0.begin(actor, "invite.again", "invite").await?;
        let outcome = again(&mut write, actor, handle).await;
        let (view, token, owner) = write.finish(outcome).await?;
        let delivery = self.deliver(&view, &token, base_url, true, owner).await;
        Ok(CreatedInvite { view, delivery })
    }

    /// What a link opens.
    ///
    /// # Errors
    /// `NotFound` for an unknown token.
    pub async fn details(&self, token: &str) -> Result<InviteDetails, ControlError> {
        let store = self.0.store();
        let invite = store.invite_by_token(TokenHash::of(token)).await?;
        let invite = invite.ok_or_else(unknown)?;
        let account = store.user_by_email(&invite.email).await?;
        Ok(InviteDetails {
            state: state_of(&invite, self.0.now()),
            needs_account: account.is_none_or(|user| !user.is_active),
            email: invite.email,
            role: invite.role,
            vaults: named(invite.vaults),
        })
    }

    /// Accepts an invitation: makes the account, or gives the one that is there its roles in the vaults.
    ///
    /// An address that somebody registered without confirming it gets the password that is set now, not the other one (H36, M21).
    ///
    /// # Errors
    /// `NotFound` for an unknown token; `Gone` for one that is not open any more; `Invalid` without a good password where one is
    /// needed; `Forbidden` for an address that may not come in.
    pub async fn accept(
        &self,
        token: &str,
        password: Option<SecretBytes>,
    ) -> Result<AcceptedInvite, ControlError> {
        let details = self.details(token).await?;
        open(details.state)?;
        let hash = if details.needs_account {
            self.0
                .loaded()
                .entrance
                .check_domain(&Email::parse(&details.email)?)?;
            let password = password.unwrap_or_else(|| SecretBytes::new(Vec::new()));
            hashing::check_new(&password)?;
            Some(self.0.hasher().hash(password).await?)
        } else {
            None
        };
        let mut write = self
            .0
            .begin_unattributed("invite.accept", format!("user:{}", details.email))
            .await?;
        let outcome = accept(&mut write, TokenHash::of(token), hash).await;
        write.finish(outcome).await
    }

    async fn deliver(
        &self,
        view: &InviteView,
        token: &Token,
        base_url: &str,
        again: bool,
        to_owner: bool,
    ) -> Delivery {
        let link = format!(
            "{}/invite/{}",
            base_url.trim_end_matches('/'),
            token.expose()
        );
        let Some(mailer) = self.0.options().mailer.clone() else {
            return Delivery::ByHand { link, error: None };
        };
        let vaults: Vec<String> = view.vaults.iter().map(|(name, _)| name.clone()).collect();
        let mail = mail::invitation(&view.email, &view.created_by_name, &vaults, &link, again);
        match mailer.send(mail).await {
            Ok(()) => Delivery::Mailed,
            Err(error) => {
                tracing::warn!(email = view.email, %error, "an invitation could not be mailed");
                // How the mail server answers is the operator's affair.
                let error = if to_owner {
                    error.to_string()
                } else {
                    "the mail could not be sent".to_owned()
                };
                Delivery::ByHand {
                    link,
                    error: Some(error),
                }
            }
        }
    }
}

async fn create(
    write: &mut Write,
    actor: &Actor,
    email: &Email,
    new: NewInvite,
) -> Result<(InviteView, Token, bool), ControlError> {
    let access = access::instance::<InstanceMember>(write.tx(), actor).await?;
    if new.role == InstanceRole::Owner && !access.is_owner() {
        return Err(ControlError::forbidden("Only owners invite owners")
            .hint("ask an owner to invite them"));
    }
    let now = write.now();
    let account = write.tx().user_by_email(email.as_str()).await?;
    // An address that nobody has confirmed keeps nobody out.
    if account.is_some_and(|user| user.is_active) {
        return Err(
            ControlError::conflict("This address has an account already")
                .hint("add the person to a vault: `agent-vault vault user add`"),
        );
    }
    if write.tx().live_invite_for(email.as_str(), now).await? {
        return Err(
            ControlError::conflict("This address has an open invitation already")
                .hint("send it again: `agent-vault user invite resend`"),
        );
    }
    write.control().loaded().entrance.check_domain(email)?;
    room(write, now).await?;
    if new.vaults.len() > MAX_VAULTS {
        return Err(
            ControlError::invalid(format!("vaults: at most {MAX_VAULTS} of them"))
                .hint("add people to the others later, for example `POST /v1/vaults/work/users`"),
        );
    }
    let mut vaults: Vec<InviteVault> = Vec::new();
    for (name, role) in new.vaults {
        let vault = open_vault(write, &access, &name).await?;
        if vaults.iter().any(|other| other.vault_id == vault) {
            return Err(ControlError::invalid(format!(
                "vaults: `{}` is named twice",
                access::shown(&name)
            )));
        }
        vaults.push(InviteVault {
            vault_id: vault,
            vault_name: name,
            role,
        });
    }
    let (view, token) = insert(write, access.identity(), email.as_str(), new.role, vaults).await?;
    Ok((view, token, access.is_owner()))
}

/// A vault that the one who invites may open to others.
async fn open_vault(
    write: &mut Write,
    access: &InstanceAccess<InstanceMember>,
    name: &str,
) -> Result<Uuid, ControlError> {
    let refused = || {
        ControlError::forbidden(format!(
            "Only an admin of the vault `{}` invites to it",
            access::shown(name)
        ))
        .hint("ask one of its admins, or an owner")
    };
    let found = write.tx().vault_by_name(name).await?;
    match (found, access.is_owner(), access.identity()) {
        (Some(vault), true, _) => Ok(vault.id),
        (None, true, _) => Err(access::no_vault(name)),
        (Some(vault), false, Some(identity)) => {
            let grant = write.tx().grant(identity, vault.id).await?;
            match grant {
                Some(grant) if grant.role == VaultRole::Admin => Ok(vault.id),
                Some(_) | None => Err(refused()),
            }
        }
        // One answer whether it exists or not (H18).
        (_, false, _) => Err(refused()),
    }
}

async fn room(write: &mut Write, now: Timestamp) -> Result<(), ControlError> {
    if write.tx().live_invite_count(now).await? >= MAX_OPEN {
        return Err(ControlError::new(
            ErrorKind::TooMany,
            format!("{MAX_OPEN} invitations are open already"),
        )
        .hint("take some back, or wait until they run out"));
    }
    Ok(())
}

async fn insert(
    write: &mut Write,
    by: Option<ActorRef>,
    email: &str,
    role: InstanceRole,
    vaults: Vec<InviteVault>,
) -> Result<(InviteView, Token), ControlError> {
    let now = write.now();
    let token = Token::generate(TokenKind::Invite)?;
    let invite = Invite {
        id: 0,
        public_id: public_id()?,
        email: email.to_owned(),
        role,
        status: InviteStatus::Pending,
        created_by: by,
        created_at: now,
        expires_at: now.saturating_add(LIFE).unwrap_or(Timestamp::MAX),
        vaults,
    };
    write.tx().insert_invite(&invite, token.hash()).await?;
    write.note("invite", invite.public_id.as_str());
    write.note("role", role.as_str());
    let opened: Vec<String> = invite
        .vaults
        .iter()
        .map(|vault| format!("{}:{}", vault.vault_name, vault.role))
        .collect();
    write.note("vaults", opened.join(","));
    let name = name_of(write.tx(), by).await?;
    Ok((view(invite, name, now), token))
}

async fn found(write: &mut Write, handle: &str) -> Result<Invite, ControlError> {
    let invite = if handle.starts_with(TokenKind::Invite.prefix()) {
        write.tx().invite_by_token(TokenHash::of(handle)).await?
    } else {
        write.tx().invite_by_public_id(handle).await?
    };
    invite.ok_or_else(unknown)
}

/// An invitation that the actor may manage.
async fn managed(
    write: &mut Write,
    actor: &Actor,
    handle: &str,
) -> Result<(Invite, InstanceAccess<InstanceMember>), ControlError> {
    let access = access::instance::<InstanceMember>(write.tx(), actor).await?;
    let invite = found(write, handle).await?;
    write.retarget(format!("user:{}", invite.email));
    write.note("invite", invite.public_id.as_str());
    if !may_manage(write.tx(), &access, &invite).await? {
        return Err(ControlError::forbidden(
            "Only who invited, an owner, or an admin of one of its vaults may do this",
        ));
    }
    Ok((invite, access))
}

async fn may_manage(
    rows: &mut impl Rows,
    access: &InstanceAccess<InstanceMember>,
    invite: &Invite,
) -> Result<bool, ControlError> {
    if access.is_owner() {
        return Ok(true);
    }
    let Some(identity) = access.identity() else {
        return Ok(false);
    };
    if invite.created_by == Some(identity) {
        return Ok(true);
    }
    for vault in &invite.vaults {
        let grant = rows.grant_of(identity, vault.vault_id).await?;
        if grant.is_some_and(|grant| grant.role == VaultRole::Admin) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn revoke(write: &mut Write, actor: &Actor, handle: &str) -> Result<(), ControlError> {
    let (invite, _) = managed(write, actor, handle).await?;
    let now = write.now();
    if !invite.is_live(now) {
        return Err(ControlError::not_found(
            "The invitation is not open any more",
        ));
    }
    write
        .tx()
        .end_invite(invite.id, InviteStatus::Revoked, now)
        .await?;
    Ok(())
}

async fn again(
    write: &mut Write,
    actor: &Actor,
    handle: &str,
) -> Result<(InviteView, Token, bool), ControlError> {
    let (invite, access) = managed(write, actor, handle).await?;
    if invite.status != InviteStatus::Pending {
        return Err(ControlError::conflict(
            "The invitation is not open any more",
        ));
    }
    // Whoever sends it again answers for it: nobody gives by this what they could not give by a new one.
    if invite.role == InstanceRole::Owner && !access.is_owner() {
        return Err(ControlError::forbidden("Only owners invite owners"));
    }
    for vault in &invite.vaults {
        open_vault(write, &access, &vault.vault_name).await?;
    }
    let now = write.now();
    let email = Email::parse(&invite.email)?;
    write.control().loaded().entrance.check_domain(&email)?;
    write
        .tx()
        .end_invite(invite.id, InviteStatus::Revoked, now)
        .await?;
    let account = write.tx().user_by_email(email.as_str()).await?;
    if account.is_some_and(|user| user.is_active) {
        return Err(ControlError::conflict(
            "This address has an account already",
        ));
    }
    if write.tx().live_invite_for(email.as_str(), now).await? {
        return Err(ControlError::conflict(
            "This address has a newer open invitation",
        ));
    }
    room(write, now).await?;
    let (view, token) = insert(
        write,
        access.identity(),
        email.as_str(),
        invite.role,
        invite.vaults,
    )
    .await?;
    Ok((view, token, access.is_owner()))
}

async fn accept(
    write: &mut Write,
    token: TokenHash,
    hash: Option<PasswordHash>,
) -> Result<AcceptedInvite, ControlError> {
    let now = write.now();
    let invite = write
        .tx()
        .invite_by_token(token)
        .await?
        .ok_or_else(unknown)?;
    open(state_of(&invite, now))?;
    write
        .tx()
        .end_invite(invite.id, InviteStatus::Accepted, now)
        .await?;
    write.note("invite", invite.public_id.as_str());
    let account = write.tx().user_by_email(&invite.email).await?;
    let needed = || {
        ControlError::conflict("The account changed in the meantime").hint("open the link again")
    };
    let (id, new_account) = match account {
        Some(user) if user.is_active => (user.id, false),
        Some(user) => {
            // Somebody registered the address and never showed that it is theirs.
            let hash = hash.ok_or_else(needed)?;
            write.tx().set_user_password(user.id, &hash, now).await?;
            write.tx().set_user_role(user.id, invite.role, now).await?;
            write.tx().set_user_active(user.id, true, now).await?;
            write
                .tx()
                .delete_email_codes(user.id, agent_vault_store::CodePurpose::Verify)
                .await?;
            (user.id, true)
        }
        None => {
            let user = User {
                id: Uuid::new_v4(),
                email: invite.email.clone(),
                password: hash.ok_or_else(needed)?,
                role: invite.role,
                is_active: true,
                created_at: now,
                updated_at: now,
            };
            write.tx().insert_user(&user).await?;
            (user.id, true)
        }
    };
    write.attribute_to_user(id);
    let actor = ActorRef::user(id);
    for vault in &invite.vaults {
        let before = write.tx().grant(actor, vault.vault_id).await?;
        // An invitation gives; it takes nothing away.
        if before.is_some_and(|grant| grant.role >= vault.role) {
            continue;
        }
        write
            .tx()
            .put_grant(&Grant {
                actor,
                vault_id: vault.vault_id,
                role: vault.role,
                created_at: now,
            })
            .await?;
    }
    write.publish(Publication::Everything);
    Ok(AcceptedInvite {
        email: invite.email,
        new_account,
    })
}

fn open(state: InviteState) -> Result<(), ControlError> {
    let text = match state {
        InviteState::Pending => return Ok(()),
        InviteState::Accepted => "This invitation was accepted already",
        InviteState::Revoked => "This invitation was taken back",
        InviteState::Expired => "This invitation has run out",
    };
    Err(ControlError::new(ErrorKind::Gone, text).hint("ask who invited you for another"))
}

fn state_of(invite: &Invite, now: Timestamp) -> InviteState {
    match invite.status {
        InviteStatus::Accepted => InviteState::Accepted,
        InviteStatus::Revoked => InviteState::Revoked,
        InviteStatus::Pending if invite.is_live(now) => InviteState::Pending,
        InviteStatus::Pending => InviteState::Expired,
    }
}

fn view(invite: Invite, created_by_name: String, now: Timestamp) -> InviteView {
    InviteView {
        state: state_of(&invite, now),
        created_by: invite
            .created_by
            .map_or_else(String::new, |actor| actor.id.to_string()),
        created_by_name,
        id: invite.public_id,
        email: invite.email,
        role: invite.role,
        vaults: named(invite.vaults),
        created_at: invite.created_at,
        expires_at: invite.expires_at,
    }
}

fn named(vaults: Vec<InviteVault>) -> Vec<(String, VaultRole)> {
    vaults
        .into_iter()
        .map(|vault| (vault.vault_name, vault.role))
        .collect()
}

async fn name_of(rows: &mut impl Rows, actor: Option<ActorRef>) -> Result<String, ControlError> {
    let Some(actor) = actor else {
        return Ok("the operator".to_owned());
    };
    Ok(rows.display_name(actor).await?.unwrap_or_else(|| {
        match actor.kind {
            ActorKind::User => "somebody who is gone",
            ActorKind::Agent => "an agent that is gone",
        }
        .to_owned()
    }))
}

fn unknown() -> ControlError {
    ControlError::not_found("Invitation not found").hint("ask who invited you for another")
}
