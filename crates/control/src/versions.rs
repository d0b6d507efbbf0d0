//! Former values of credentials: which there are, back to one of them, an end by time, and away with those that nobody needs.

use agent_vault_broker::credential_context;
use agent_vault_policy::CredentialKey;
use jiff::Timestamp;

use crate::access::{self, Member, VaultRef};
use crate::actor::Actor;
use crate::credentials::{Credentials, Origin, put, target, unknown};
use crate::error::ControlError;
use crate::stores;
use crate::write::Write;
use crate::{line_breaks, publish};

/// One value that a credential has or had. Never the value itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionView {
    /// Its number, as request log rows give it.
    pub version: u32,
    /// Whether it is the one that is served.
    pub current: bool,
    /// When it was written.
    pub created_at: Timestamp,
    /// From when on it counts as absent.
    pub expires_at: Option<Timestamp>,
    /// The version that it was brought back from.
    pub restored_from: Option<u32>,
}

impl Credentials<'_> {
    /// The values that are kept of a credential, the newest first.
    ///
    /// # Errors
    /// Below vault member; `NotFound` for an unknown key.
    pub async fn versions(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        key: &str,
    ) -> Result<Vec<VersionView>, ControlError> {
        let mut rows = self.0.store().clone();
        let access = access::vault::<Member>(&mut rows, actor, vault).await?;
        let versions = rows.credential_versions(access.id(), key).await?;
        let Some(newest) = versions.first().map(|row| row.version) else {
            return Err(unknown(key));
        };
        Ok(versions
            .into_iter()
            .map(|row| VersionView {
                version: row.version,
                current: row.version == newest,
                created_at: row.created_at,
                expires_at: row.expires_at,
                restored_from: row.restored_from,
            })
            .collect())
    }

    /// Puts a former value in force again, as a new version without an end. Answers the new version. Like one that is typed in, it
    /// ends an OAuth grant.
    ///
    /// # Errors
    /// Below vault member; `NotFound` for an unknown key or version; `Conflict` for the one that is in force; `Invalid` when a
    /// service now puts it where it cannot stand.
    pub async fn roll_back(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        key: &str,
        version: u32,
    ) -> Result<u32, ControlError> {
        let mut write = self
            .0
            .begin(actor, "credential.rollback", target(vault))
            .await?;
        let outcome = roll_back(&mut write, actor, vault, key, version).await;
        write.finish(outcome).await
    }

    /// Sets from when on a credential counts as absent, or takes that away. A time that is past ends it at once.
    ///
    /// # Errors
    /// Below vault member; `NotFound` for an unknown key.
    pub async fn set_expiry(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        key: &str,
        expires_at: Option<Timestamp>,
    ) -> Result<(), ControlError> {
        let mut write = self
            .0
            .begin(actor, "credential.expire", target(vault))
            .await?;
        let outcome = set_expiry(&mut write, actor, vault, key, expires_at).await;
        write.finish(outcome).await
    }

    /// Deletes a former value for good.
    ///
    /// # Errors
    /// Below vault member; `NotFound` for an unknown key or version; `Conflict` for the one that is in force.
    pub async fn delete_version(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        key: &str,
        version: u32,
    ) -> Result<(), ControlError> {
        let mut write = self
            .0
            .begin(actor, "credential.delete-version", target(vault))
            .await?;
        let outcome = delete_version(&mut write, actor, vault, key, version).await;
        write.finish(outcome).await
    }
}

async fn roll_back(
    write: &mut Write,
    actor: &Actor,
    vault: VaultRef<'_>,
    key: &str,
    version: u32,
) -> Result<u32, ControlError> {
    let access = access::vault::<Member>(write.tx(), actor, vault).await?;
    write.retarget(format!("vault:{}", access.vault().name));
    stores::keeps_its_own(write, access.id()).await?;
    let versions = write.tx().credential_versions(access.id(), key).await?;
    let name = CredentialKey::parse(key).map_err(|_| unknown(key))?;
    let Some(current) = versions.first() else {
        return Err(unknown(key));
    };
    if current.version == version {
        return Err(in_force(key, version));
    }
    let former = versions
        .iter()
        .find(|row| row.version == version)
        .ok_or_else(|| no_version(key, version))?;
    let owner = access.id().to_string();
    let context = credential_context(&owner, key, version);
    let value = write.control().keyring().open(&context, &former.sealed)?;
    let services = match write.tx().services(access.id()).await? {
        Some(row) => publish::stored_services(&row.json).unwrap_or_default(),
        None => Vec::new(),
    };
    line_breaks::check_headers(&services, &name, value.expose())?;
    let before = current.version;
    let origin = Origin {
        restored_from: Some(version),
        ..Origin::default()
    };
    let new = put(write, &access, &name, &value, origin).await?;
    write.note("key", key);
    write.note("before", before);
    write.note("version", new);
    write.note("restored_from", version);
    write.publish_vault(access.id()).await?;
    Ok(new)
}

async fn set_expiry(
    write: &mut Write,
    actor: &Actor,
    vault: VaultRef<'_>,
    key: &str,
    expires_at: Option<Timestamp>,
) -> Result<(), ControlError> {
    let access = access::vault::<Member>(write.tx(), actor, vault).await?;
    write.retarget(format!("vault:{}", access.vault().name));
    stores::keeps_its_own(write, access.id()).await?;
    let Some(row) = write.tx().credential(access.id(), key).await? else {
        return Err(unknown(key));
    };
    write
        .tx()
        .set_credential_expiry(access.id(), key, expires_at)
        .await?;
    let text = |end: Option<Timestamp>| end.map(|end| end.to_string());
    write.note("key", key);
    write.note("version", row.version);
    write.note("before", text(row.expires_at));
    write.note("expires_at", text(expires_at));
    write.publish_vault(access.id()).await
}

async fn delete_version(
    write: &mut Write,
    actor: &Actor,
    vault: VaultRef<'_>,
    key: &str,
    version: u32,
) -> Result<(), ControlError> {
    let access = access::vault::<Member>(write.tx(), actor, vault).await?;
    write.retarget(format!("vault:{}", access.vault().name));
    stores::keeps_its_own(write, access.id()).await?;
    let Some(row) = write.tx().credential(access.id(), key).await? else {
        return Err(unknown(key));
    };
    if row.version == version {
        return Err(in_force(key, version));
    }
    if !write
        .tx()
        .delete_credential_version(access.id(), key, version)
        .await?
    {
        return Err(no_version(key, version));
    }
    write.note("key", key);
    write.note("version", version);
    Ok(())
}

fn in_force(key: &str, version: u32) -> ControlError {
    ControlError::conflict(format!(
        "Version {version} of \"{}\" is the one in force",
        access::shown(key)
    ))
    .hint("list the versions with `agent-vault vault credential versions`")
}

fn no_version(key: &str, version: u32) -> ControlError {
    ControlError::not_found(format!(
        "Credential \"{}\" has no version {version}",
        access::shown(key)
    ))
    .hint("list the versions with `agent-vault vault credential versions`; the newest ten are kept")
}
