//! One's own account.

use agent_vault_seal::{PasswordHash, SecretBytes};
use agent_vault_store::{ActorRef, CodePurpose, InstanceRole, User};
use uuid::Uuid;

use crate::Control;
use crate::access::{self, AnyActor};
use crate::actor::{Actor, UserActor};
use crate::agents;
use crate::error::ControlError;
use crate::hashing;
use crate::owners;
use crate::sessions::{self, Login, NewLogin, Seen};
use crate::users::RemovedUser;
use crate::write::{Ended, Publication, Write};

/// Actions on one's own account.
#[derive(Debug, Clone, Copy)]
pub struct Account<'c>(pub(crate) &'c Control);

impl Account<'_> {
    /// One's own instance role.
    ///
    /// # Errors
    /// `Forbidden` for scoped sessions, which nobody stands behind.
    pub async fn role(&self, actor: &Actor) -> Result<InstanceRole, ControlError> {
        let mut rows = self.0.store().clone();
        Ok(access::instance::<AnyActor>(&mut rows, actor).await?.role())
    }

    /// Changes the password, ends every login and opens a new one with the old device label.
    ///
    /// A wrong current password is `Forbidden`, not `Unauthenticated` (H40): clients take the latter for an expired session.
    ///
    /// # Errors
    /// Unless a person asks who knows the current password.
    pub async fn change_password(
        &self,
        actor: &Actor,
        current: SecretBytes,
        new: SecretBytes,
        seen: Seen,
    ) -> Result<Login, ControlError> {
        let me = actor.user()?;
        hashing::check_new(&new)?;
        let user = self.0.store().user(me.id).await?.ok_or_else(gone)?;
        let known = user.password.clone();
        let good = self.0.hasher().verify(Some(user.password), current).await?;
        let hash = if good {
            Some(self.0.hasher().hash(new).await?)
        } else {
            None
        };
        let target = format!("user:{}", me.email);
        let mut write = self.0.begin(actor, "user.change_password", target).await?;
        let outcome = match hash {
            Some(hash) => replace_password(&mut write, me, &known, &hash, seen).await,
            None => Err(ControlError::forbidden("Current password is incorrect")),
        };
        write.finish(outcome).await
    }

    /// Deletes the account with its logins, grants and the scoped sessions it minted. Agents that it made are revoked: nobody
    /// leaves and keeps their tokens (H17). Vaults stay.
    ///
    /// # Errors
    /// `Conflict` for an owner, and for the last admin of a vault.
    pub async fn delete(&self, actor: &Actor) -> Result<RemovedUser, ControlError> {
        let me = actor.user()?;
        let target = format!("user:{}", me.email);
        let mut write = self.0.begin(actor, "user.delete", target).await?;
        let outcome = delete(&mut write, me).await;
        write.finish(outcome).await
    }
}

async fn replace_password(
    write: &mut Write,
    me: &UserActor,
    known: &PasswordHash,
    hash: &PasswordHash,
    seen: Seen,
) -> Result<Login, ControlError> {
    let user = write.tx().user(me.id).await?.ok_or_else(gone)?;
    if user.password != *known {
        return Err(ControlError::conflict(
            "The password was changed in the meantime",
        ));
    }
    let now = write.now();
    let device_label = write
        .tx()
        .user_sessions(me.id, now)
        .await?
        .into_iter()
        .find(|session| session.public_id == me.session)
        .map(|session| session.device_label)
        .filter(|label| !label.is_empty());
    put_password(write, me.id, hash).await?;
    let new = NewLogin { device_label, seen };
    sessions::open_login(write, me.id, new).await
}

/// Sets a password and ends whatever was begun under the one before: logins, those that devices wait for, mailed codes, and vault
/// tokens that it minted.
pub(crate) async fn put_password(
    write: &mut Write,
    user: Uuid,
    hash: &PasswordHash,
) -> Result<(), ControlError> {
    let now = write.now();
    write.tx().set_user_password(user, hash, now).await?;
    let ended = write.tx().delete_user_sessions(user).await?;
    write.note("ended_sessions", ended);
    write.tx().delete_device_logins_of(user).await?;
    write
        .tx()
        .delete_email_codes(user, CodePurpose::Reset)
        .await?;
    end_minted(write, ActorRef::user(user)).await?;
    // Wide: the ended logins are known by their user only.
    write.publish(Publication::Everything);
    Ok(())
}

/// Scoped sessions that somebody minted end with the password that they were minted under (H3).
async fn end_minted(write: &mut Write, actor: ActorRef) -> Result<(), ControlError> {
    let minted = write.tx().delete_sessions_minted_by(actor, None).await?;
    write.note("ended_tokens", minted);
    write.publish(Publication::Sessions(Ended::MintedBy(actor, None)));
    Ok(())
}

async fn delete(write: &mut Write, me: &UserActor) -> Result<RemovedUser, ControlError> {
    let User {
        id, email, role, ..
    } = write.tx().user(me.id).await?.ok_or_else(gone)?;
    if role == InstanceRole::Owner {
        return Err(
            ControlError::conflict("Owners cannot delete their own account")
                .hint("have another owner change the role first"),
        );
    }
    owners::keep_admins_everywhere(write.tx(), ActorRef::user(id)).await?;
    let agents_revoked = agents::revoke_made_by(write, ActorRef::user(id)).await?;
    write.tx().delete_user(id).await?;
    write.publish(Publication::Everything);
    Ok(RemovedUser {
        email,
        agents_revoked,
    })
}

fn gone() -> ControlError {
    ControlError::unauthenticated("Invalid or expired session")
}
