//! What an approved proposal says about a client: kept until a person connects the credential. What works is not touched.

use agent_vault_policy::CredentialKey;
use agent_vault_seal::SecretBytes;
use agent_vault_store::{CredentialType, OAuthClient, TokenAuthMethod};

use super::unconnected;
use crate::access::{Member, VaultAccess};
use crate::credentials::{self, Origin};
use crate::error::ControlError;
use crate::proposals::SlotOAuth;
use crate::write::Write;

/// Keeps the client for `key`, which has no value until it is connected. Needs proof that a member of the vault asked.
///
/// # Errors
/// `Conflict` when the credential holds a value that was typed in, or is connected to another provider.
pub(crate) async fn prepare(
    write: &mut Write,
    access: &VaultAccess<Member>,
    key: &str,
    slot: &SlotOAuth,
) -> Result<(), ControlError> {
    let vault_id = access.id();
    let key = CredentialKey::parse(key)
        .map_err(|error| ControlError::internal("The stored proposal cannot be read", error))?;
    let token_auth_method: TokenAuthMethod = slot
        .token_auth_method
        .parse()
        .map_err(|error| ControlError::internal("The stored proposal cannot be read", error))?;
    let present = write.tx().credential(vault_id, key.as_str()).await?;
    let grant = write.tx().oauth_grant(vault_id, key.as_str()).await?;
    let mut client = OAuthClient {
        authorization_url: slot.authorization_url.clone(),
        token_url: slot.token_url.clone(),
        client_id: slot.client_id.clone(),
        client_secret: None,
        scopes: slot.scopes.clone(),
        scope_separator: slot.scope_separator.clone(),
        pkce: !slot.disable_pkce,
        token_auth_method,
    };
    match (present, grant) {
        (None, _) => {
            let known = write.tx().credential_keys(vault_id).await?;
            let empty = [(key.clone(), SecretBytes::new(Vec::new()))];
            credentials::room(&known, &empty)?;
            let [(_, nothing)] = &empty;
            let origin = Origin::of(CredentialType::OAuth);
            credentials::put(write, access, &key, nothing, origin).await?;
        }
        (Some(_), None) => {
            return Err(ControlError::conflict(format!(
                "Credential `{key}` holds a value that was typed in"
            ))
            .hint("connect it yourself, or delete it first; or reject the proposal"));
        }
        // Connected before the decision: there is nothing left to prepare.
        (Some(_), Some(grant))
            if grant.connected_at.is_some() && grant.client.token_url == client.token_url =>
        {
            return Ok(());
        }
        (Some(_), Some(grant)) if grant.connected_at.is_some() => {
            return Err(ControlError::conflict(format!(
                "Credential `{key}` is connected to another provider"
            ))
            .hint("connect it yourself, or delete it first; or reject the proposal"));
        }
        (Some(_), Some(grant)) => {
            if grant.client.token_url == client.token_url {
                client.client_secret = grant.client.client_secret;
                if client.client_id.is_empty() {
                    client.client_id = grant.client.client_id;
                }
            }
        }
    }
    write
        .tx()
        .put_oauth_grant(vault_id, key.as_str(), &unconnected(client))
        .await?;
    Ok(())
}
