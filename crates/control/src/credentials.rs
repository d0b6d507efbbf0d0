//! Sealed values.

use std::collections::{BTreeSet, HashMap};

use agent_vault_broker::credential_context;
use agent_vault_policy::{CredentialKey, Service};
use agent_vault_seal::SecretBytes;
use agent_vault_store::{Credential, CredentialType, CredentialWrite, OAuthGrant, VaultRole};
use jiff::Timestamp;
use uuid::Uuid;

use crate::Control;
use crate::access::{self, Admin, AnyRole, Member, VaultAccess, VaultRef};
use crate::actor::Actor;
use crate::error::{ControlError, ErrorKind};
use crate::oauth::{self, OAuthView};
use crate::stores::{self, DynamicView};
use crate::write::Write;
use crate::{line_breaks, publish};

/// Most credentials in one vault.
pub(crate) const MAX_CREDENTIALS: usize = 10_000;
/// Largest value in bytes. A header cannot carry more than a fraction of it.
pub(crate) const MAX_VALUE_BYTES: usize = 256 * 1024;

/// One credential as a list shows it.
#[derive(Debug)]
pub struct CredentialView {
    /// Name.
    pub key: String,
    /// Where its value comes from.
    pub kind: CredentialType,
    /// The version that is served.
    pub version: u32,
    /// From when on it counts as absent.
    pub expires_at: Option<Timestamp>,
    /// The value, when it was revealed.
    pub value: Option<SecretBytes>,
    /// The grant behind it, where there is one.
    pub oauth: Option<OAuthView>,
}

/// A vault's credentials, as far as the one who asks may see them.
#[derive(Debug)]
pub struct CredentialListing {
    /// Every name.
    pub keys: Vec<String>,
    /// More about each, for members.
    pub credentials: Option<Vec<CredentialView>>,
    /// Those that an external store makes on demand, for members. Looking makes none.
    pub dynamic: Vec<DynamicView>,
}

/// Actions on credentials.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'c>(pub(crate) &'c Control);

impl Credentials<'_> {
    /// Names, and for members what kind each is. Never values.
    ///
    /// # Errors
    /// Without a role in the vault.
    pub async fn list(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
    ) -> Result<CredentialListing, ControlError> {
        let mut rows = self.0.store().clone();
        let access = access::vault::<AnyRole>(&mut rows, actor, vault).await?;
        if access.role() < VaultRole::Member {
            let keys = rows.credential_keys(access.id()).await?;
            let mut listing = CredentialListing {
                keys,
                credentials: None,
                dynamic: Vec::new(),
            };
            add_dynamic(&mut listing, self.0.stores().dynamic(access.id()).await?);
            listing.dynamic.clear();
            return Ok(listing);
        }
        let mut grants: HashMap<String, OAuthGrant> =
            rows.oauth_grants(access.id()).await?.into_iter().collect();
        let credentials: Vec<CredentialView> = rows
            .credentials(access.id())
            .await?
            .into_iter()
            .map(|row| shown(row, &mut grants, None))
            .collect();
        let mut listing = listing(credentials);
        add_dynamic(&mut listing, self.0.stores().dynamic(access.id()).await?);
        Ok(listing)
    }

    /// Names and values, of one key or of all. Recorded, with the names.
    ///
    /// # Errors
    /// Below vault member; `NotFound` for an unknown key; `Upstream` when an external store does not make it.
    pub async fn reveal(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        key: Option<&str>,
    ) -> Result<CredentialListing, ControlError> {
        if let Some(key) = key {
            self.made(actor, vault, key).await?;
        }
        let mut write = self
            .0
            .begin(actor, "credential.reveal", target(vault))
            .await?;
        let outcome = reveal(&mut write, actor, vault, key).await;
        write.finish(outcome).await
    }

    /// Has a value made that somebody wants to see, where an external store makes it on demand.
    async fn made(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        key: &str,
    ) -> Result<(), ControlError> {
        let mut rows = self.0.store().clone();
        let access = access::vault::<Member>(&mut rows, actor, vault).await?;
        if !self.0.stores().lends(access.id(), key)
            || rows.credential(access.id(), key).await?.is_some()
        {
            return Ok(());
        }
        self.0.borrow(access.id(), key).await.map_err(|_| {
            ControlError::new(
                ErrorKind::Upstream,
                format!("Infisical did not lease \"{}\"", access::shown(key)),
            )
            .labelled("infisical_fetch_failed")
            .hint("the server's log says why; its machine identity needs the permission to lease")
        })
    }

    /// Stores values, all or none; existing ones get a new version. Answers the names, sorted. From `expires_at` on they count as
    /// absent.
    ///
    /// # Errors
    /// Below vault member; `Invalid` for a bad name or size, for a line break at an end of a value, and for a control character
    /// in one that a service puts in a header.
    pub async fn set(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        values: Vec<(String, SecretBytes)>,
        expires_at: Option<Timestamp>,
    ) -> Result<Vec<String>, ControlError> {
        if values.is_empty() {
            return Err(ControlError::invalid("At least one credential is required"));
        }
        let values = checked(values)?;
        let mut write = self.0.begin(actor, "credential.set", target(vault)).await?;
        let outcome = set(&mut write, actor, vault, &values, expires_at).await;
        write.finish(outcome).await
    }

    /// Deletes credentials, all or none.
    ///
    /// # Errors
    /// Below vault member; `NotFound`, with nothing deleted, when one of them is unknown.
    pub async fn delete(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        keys: Vec<String>,
    ) -> Result<Vec<String>, ControlError> {
        if keys.is_empty() {
            return Err(ControlError::invalid("At least one key is required"));
        }
        let mut write = self
            .0
            .begin(actor, "credential.delete", target(vault))
            .await?;
        let outcome = delete(&mut write, actor, vault, keys).await;
        write.finish(outcome).await
    }
}

async fn reveal(
    write: &mut Write,
    actor: &Actor,
    vault: VaultRef<'_>,
    key: Option<&str>,
) -> Result<CredentialListing, ControlError> {
    let access = access::vault::<Member>(write.tx(), actor, vault).await?;
    write.retarget(format!("vault:{}", access.vault().name));
    let (rows, dynamic) = match key {
        None => {
            let rows = write.tx().credentials(access.id()).await?;
            let known = write.tx().dynamic_secrets(access.id()).await?;
            (rows, stores::views(known))
        }
        Some(key) => match write.tx().credential(access.id(), key).await? {
            Some(found) => (vec![found], Vec::new()),
            None if write.control().lending().value(access.id(), key).is_some() => {
                (Vec::new(), vec![DynamicView::of(key)])
            }
            None => return Err(unknown(key)),
        },
    };
    let mut grants = write
        .tx()
        .oauth_grants(access.id())
        .await?
        .into_iter()
        .collect();
    let credentials: Vec<CredentialView> = rows
        .into_iter()
        .map(|row| open(write.control(), &access, row, &mut grants))
        .collect::<Result<_, _>>()?;
    let mut listing = listing(credentials);
    let dynamic = dynamic
        .into_iter()
        .map(|view| DynamicView {
            value: write.control().lending().value(access.id(), &view.key),
            ..view
        })
        .collect();
    add_dynamic(&mut listing, dynamic);
    write.note("keys", listing.keys.clone());
    Ok(listing)
}

async fn set(
    write: &mut Write,
    actor: &Actor,
    vault: VaultRef<'_>,
    values: &[(CredentialKey, SecretBytes)],
    expires_at: Option<Timestamp>,
) -> Result<Vec<String>, ControlError> {
    let access = access::vault::<Member>(write.tx(), actor, vault).await?;
    write.retarget(format!("vault:{}", access.vault().name));
    stores::keeps_its_own(write, access.id()).await?;
    let known = write.tx().credential_keys(access.id()).await?;
    room(&known, values)?;
    // Services that cannot be read put nothing anywhere: the proxy refuses the whole vault then.
    let services = match write.tx().services(access.id()).await? {
        Some(row) => publish::stored_services(&row.json).unwrap_or_default(),
        None => Vec::new(),
    };
    let mut versions = Vec::with_capacity(values.len());
    for (key, value) in values {
        line_breaks::check_headers(&services, key, value.expose())?;
        let origin = Origin {
            expires_at,
            ..Origin::default()
        };
        versions.push(put(write, &access, key, value, origin).await?);
    }
    let names: Vec<String> = values
        .iter()
        .map(|(key, _)| key.as_str().to_owned())
        .collect();
    write.note("keys", names.clone());
    write.note("versions", versions);
    if let Some(end) = expires_at {
        write.note("expires_at", end.to_string());
    }
    write.publish_vault(access.id()).await?;
    Ok(names)
}

/// Refuses more credentials than a vault holds.
pub(crate) fn room(
    known: &[String],
    values: &[(CredentialKey, SecretBytes)],
) -> Result<(), ControlError> {
    let new = values
        .iter()
        .filter(|(key, _)| !known.iter().any(|known| known == key.as_str()))
        .count();
    if known.len().saturating_add(new) > MAX_CREDENTIALS {
        return Err(ControlError::conflict(format!(
            "a vault has at most {MAX_CREDENTIALS} credentials"
        )));
    }
    Ok(())
}

/// What a new value is besides itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// Where it comes from. A value that was typed in ends the grant behind the one before.
    pub(crate) kind: CredentialType,
    /// From when on it counts as absent.
    pub(crate) expires_at: Option<Timestamp>,
    /// The version that it is brought back from.
    pub(crate) restored_from: Option<u32>,
}

impl Origin {
    /// A new value of this kind, without an end.
    pub(crate) fn of(kind: CredentialType) -> Self {
        Self {
            kind,
            expires_at: None,
            restored_from: None,
        }
    }
}

impl Default for Origin {
    fn default() -> Self {
        Self::of(CredentialType::Static)
    }
}

/// Seals and writes one value; answers its version. Needs proof that a member of the vault asked.
pub(crate) async fn put(
    write: &mut Write,
    access: &VaultAccess<Member>,
    key: &CredentialKey,
    value: &SecretBytes,
    origin: Origin,
) -> Result<u32, ControlError> {
    put_unasked(write, access.id(), key, value, origin).await
}

/// The same for a value that nobody asks for: one that is fetched by itself.
pub(crate) async fn put_unasked(
    write: &mut Write,
    vault_id: Uuid,
    key: &CredentialKey,
    value: &SecretBytes,
    origin: Origin,
) -> Result<u32, ControlError> {
    let at = write.now();
    let version = write
        .tx()
        .next_credential_version(vault_id, key.as_str())
        .await?;
    let owner = vault_id.to_string();
    let context = credential_context(&owner, key.as_str(), version);
    let sealed = write.control().keyring().seal(&context, value.expose())?;
    let row = CredentialWrite {
        vault_id,
        key: key.as_str(),
        kind: origin.kind,
        version,
        sealed: &sealed,
        expires_at: origin.expires_at,
        restored_from: origin.restored_from,
        at,
    };
    write.tx().put_credential(&row).await?;
    Ok(version)
}

async fn delete(
    write: &mut Write,
    actor: &Actor,
    vault: VaultRef<'_>,
    mut keys: Vec<String>,
) -> Result<Vec<String>, ControlError> {
    let access = access::vault::<Member>(write.tx(), actor, vault).await?;
    write.retarget(format!("vault:{}", access.vault().name));
    stores::keeps_its_own(write, access.id()).await?;
    keys.sort();
    keys.dedup();
    for key in &keys {
        if !write.tx().delete_credential(access.id(), key).await? {
            return Err(unknown(key));
        }
    }
    write.note("keys", keys.clone());
    write.publish_vault(access.id()).await?;
    Ok(keys)
}

fn open(
    control: &Control,
    access: &VaultAccess<Member>,
    row: Credential,
    grants: &mut HashMap<String, OAuthGrant>,
) -> Result<CredentialView, ControlError> {
    let value = unseal(control, access.id(), &row)?;
    Ok(shown(row, grants, Some(value)))
}

fn shown(
    row: Credential,
    grants: &mut HashMap<String, OAuthGrant>,
    value: Option<SecretBytes>,
) -> CredentialView {
    CredentialView {
        oauth: grants.remove(&row.key).map(oauth::view),
        key: row.key,
        kind: row.kind,
        version: row.version,
        expires_at: row.expires_at,
        value,
    }
}

/// The value that a credential has now, for one who may read it. Needs proof that a member of the vault asked.
pub(crate) async fn present(
    write: &mut Write,
    access: &VaultAccess<Member>,
    key: &CredentialKey,
) -> Result<SecretBytes, ControlError> {
    let row = write.tx().credential(access.id(), key.as_str()).await?;
    let row = row.ok_or_else(|| unknown(key.as_str()))?;
    unseal(write.control(), access.id(), &row)
}

/// Refuses services that put a stored value in a header that cannot carry it. Needs proof that an admin of the vault asked.
pub(crate) async fn check_headers(
    write: &mut Write,
    access: &VaultAccess<Admin>,
    services: &[&Service],
) -> Result<(), ControlError> {
    let keys: BTreeSet<&CredentialKey> = services
        .iter()
        .flat_map(|service| line_breaks::header_keys(service))
        .collect();
    for key in keys {
        let Some(row) = write.tx().credential(access.id(), key.as_str()).await? else {
            continue;
        };
        // A value that cannot be opened is another trouble, told where it is used.
        if let Ok(value) = unseal(write.control(), access.id(), &row) {
            line_breaks::check_headers(services.iter().copied(), key, value.expose())?;
        }
    }
    Ok(())
}

fn unseal(control: &Control, vault: Uuid, row: &Credential) -> Result<SecretBytes, ControlError> {
    let owner = vault.to_string();
    let context = credential_context(&owner, &row.key, row.version);
    control
        .keyring()
        .open(&context, &row.sealed)
        .map_err(|error| {
            ControlError::internal(
                format!("the value of `{}` cannot be opened", row.key),
                error,
            )
            .hint("set it again with `agent-vault vault credential set`")
        })
}

/// Validates every name, size and end before anything is written; sorted by name.
pub(crate) fn checked(
    values: Vec<(String, SecretBytes)>,
) -> Result<Vec<(CredentialKey, SecretBytes)>, ControlError> {
    let mut checked = Vec::with_capacity(values.len());
    for (key, value) in values {
        let key = CredentialKey::parse(&key).map_err(|error| {
            ControlError::invalid(format!(
                "Invalid credential key \"{}\": {error}",
                access::shown(&key)
            ))
            .hint("use capital letters, digits and `_`, as in `STRIPE_SECRET_KEY`")
        })?;
        if value.len() > MAX_VALUE_BYTES {
            return Err(ControlError::invalid(format!(
                "the value of `{key}` is larger than {MAX_VALUE_BYTES} bytes"
            ))
            .hint("for example a token; a file of this size does not go into a request"));
        }
        line_breaks::check_ends(&key, value.expose())?;
        checked.push((key, value));
    }
    checked.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(checked)
}

fn listing(credentials: Vec<CredentialView>) -> CredentialListing {
    let keys: Vec<String> = credentials
        .iter()
        .map(|credential| credential.key.clone())
        .collect();
    let credentials = (!credentials.is_empty()).then_some(credentials);
    CredentialListing {
        keys,
        credentials,
        dynamic: Vec::new(),
    }
}

/// Adds what is made on demand. A stored one of the same name is what is served.
fn add_dynamic(listing: &mut CredentialListing, dynamic: Vec<DynamicView>) {
    let dynamic: Vec<DynamicView> = dynamic
        .into_iter()
        .filter(|view| !listing.keys.contains(&view.key))
        .collect();
    listing.keys.extend(
        dynamic
            .iter()
            .filter(|view| !view.key.ends_with('*'))
            .map(|view| view.key.clone()),
    );
    listing.dynamic = dynamic;
}

pub(crate) fn target(vault: VaultRef<'_>) -> String {
    match vault {
        VaultRef::Named(name) => format!("vault:{}", access::shown(name)),
        VaultRef::Implied => "vault:".to_owned(),
    }
}

pub(crate) fn unknown(key: &str) -> ControlError {
    ControlError::not_found(format!("Credential \"{}\" not found", access::shown(key)))
        .hint("list the names with `agent-vault vault credential list`")
}
