//! Settings of a vault.

use agent_vault_policy::UnmatchedPolicy;

use crate::Control;
use crate::access::{self, AnyRole, VaultRef};
use crate::actor::Actor;
use crate::error::{ControlError, ErrorKind};
use crate::write::Write;

/// Name of the stored setting.
pub(crate) const UNMATCHED_KEY: &str = "unmatched_host_policy";

/// Reads the stored policy; nothing stored is the instance's default, and a word that nobody wrote here refuses.
pub(crate) fn unmatched(stored: Option<&str>, default: UnmatchedPolicy) -> UnmatchedPolicy {
    match stored {
        None | Some("") => default,
        Some("passthrough") => UnmatchedPolicy::Passthrough,
        Some(_) => UnmatchedPolicy::Deny,
    }
}

/// The contract's word for a policy.
#[must_use]
pub fn unmatched_name(policy: UnmatchedPolicy) -> &'static str {
    match policy {
        UnmatchedPolicy::Passthrough => "passthrough",
        UnmatchedPolicy::Deny => "deny",
    }
}

/// Actions on the settings of a vault.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'c>(pub(crate) &'c Control);

impl Settings<'_> {
    /// What happens to requests that no service matches.
    ///
    /// # Errors
    /// Without a role in the vault; owners of the instance may read it too, as they may change it.
    pub async fn unmatched(
        &self,
        actor: &Actor,
        vault: &str,
    ) -> Result<UnmatchedPolicy, ControlError> {
        let mut rows = self.0.store().clone();
        let id = match access::vault_control(&mut rows, actor, vault).await {
            Ok(control) => control.vault().id,
            Err(refused) if refused.kind() == ErrorKind::Forbidden => {
                access::vault::<AnyRole>(&mut rows, actor, VaultRef::Named(vault))
                    .await?
                    .id()
            }
            Err(error) => return Err(error),
        };
        Ok(unmatched(
            rows.vault_setting(id, UNMATCHED_KEY).await?.as_deref(),
            self.0.options().unmatched,
        ))
    }

    /// The policy as one sees it who may change it.
    ///
    /// # Errors
    /// Unless the actor is vault admin or instance owner.
    pub async fn changeable(
        &self,
        actor: &Actor,
        vault: &str,
    ) -> Result<UnmatchedPolicy, ControlError> {
        let mut rows = self.0.store().clone();
        let id = access::vault_control(&mut rows, actor, vault)
            .await?
            .vault()
            .id;
        Ok(unmatched(
            rows.vault_setting(id, UNMATCHED_KEY).await?.as_deref(),
            self.0.options().unmatched,
        ))
    }

    /// Changes it; `None` goes back to the instance's default.
    ///
    /// # Errors
    /// Unless the actor is vault admin or instance owner.
    pub async fn set_unmatched(
        &self,
        actor: &Actor,
        vault: &str,
        policy: Option<UnmatchedPolicy>,
    ) -> Result<UnmatchedPolicy, ControlError> {
        let mut write = self
            .0
            .begin(actor, "vault.settings", format!("vault:{vault}"))
            .await?;
        let default = self.0.options().unmatched;
        let outcome = set_unmatched(&mut write, actor, vault, policy, default).await;
        write.finish(outcome).await
    }
}

async fn set_unmatched(
    write: &mut Write,
    actor: &Actor,
    vault: &str,
    policy: Option<UnmatchedPolicy>,
    default: UnmatchedPolicy,
) -> Result<UnmatchedPolicy, ControlError> {
    let control = access::vault_control(write.tx(), actor, vault).await?;
    let (id, now) = (control.vault().id, write.now());
    let before = unmatched(
        write
            .tx()
            .vault_setting(id, UNMATCHED_KEY)
            .await?
            .as_deref(),
        default,
    );
    write
        .tx()
        .put_vault_setting(id, UNMATCHED_KEY, policy.map(unmatched_name), now)
        .await?;
    let after = policy.unwrap_or(default);
    write.note("unmatched_host_policy", unmatched_name(after));
    write.note("before", unmatched_name(before));
    write.publish_vault(id).await?;
    Ok(after)
}
