//! How a grant is, for people.

use agent_vault_store::{ConsentStatus, OAuthGrant};
use jiff::Timestamp;

use super::OAuth;
use super::input::credential_key;
use crate::access::{self, Member, VaultRef};
use crate::actor::Actor;
use crate::credentials::unknown;
use crate::error::ControlError;

/// How a consent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentProgress {
    /// Its public id.
    pub id: String,
    /// How far it has come; a pending one that has run out counts as failed.
    pub status: ConsentStatus,
    /// Why it came to nothing, in our words.
    pub error: String,
}

/// How a credential's grant is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthStatus {
    /// Whether it has a token.
    pub connected: bool,
    /// Since when.
    pub connected_at: Option<Timestamp>,
    /// What went wrong last, in our words.
    pub last_error: Option<String>,
    /// When the token ends, where that is known.
    pub expires_at: Option<Timestamp>,
    /// The consent that was asked about, or the newest.
    pub consent: Option<ConsentProgress>,
}

/// What lists show of a grant. Secrets only as being there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthView {
    /// Since when it has a token.
    pub connected_at: Option<Timestamp>,
    /// When the token was last fetched anew.
    pub last_refreshed_at: Option<Timestamp>,
    /// Why it could not be.
    pub last_refresh_error: String,
    /// When the token ends.
    pub token_expires_at: Option<Timestamp>,
    /// Where a person consents.
    pub authorization_url: String,
    /// Where tokens come from.
    pub token_url: String,
    /// Who we are there.
    pub client_id: String,
    /// Scopes.
    pub scopes: String,
    /// How we show who we are.
    pub token_auth_method: &'static str,
    /// Whether a client secret is stored.
    pub has_client_secret: bool,
    /// Whether a refresh token is stored.
    pub has_refresh_token: bool,
}

pub(crate) fn view(grant: OAuthGrant) -> OAuthView {
    OAuthView {
        connected_at: grant.connected_at,
        last_refreshed_at: grant.last_refreshed_at,
        last_refresh_error: grant.last_refresh_error,
        token_expires_at: grant.token_expires_at,
        has_client_secret: grant.client.client_secret.is_some(),
        has_refresh_token: grant.refresh_token.is_some(),
        authorization_url: grant.client.authorization_url,
        token_url: grant.client.token_url,
        client_id: grant.client.client_id,
        scopes: grant.client.scopes,
        token_auth_method: grant.client.token_auth_method.as_str(),
    }
}

impl OAuth<'_> {
    /// How the grant of a credential is, and how the consent `consent`, or the newest, is.
    ///
    /// # Errors
    /// Below vault member; `NotFound` for a key that has neither a grant nor a consent.
    pub async fn status(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        key: &str,
        consent: Option<&str>,
    ) -> Result<OAuthStatus, ControlError> {
        let mut rows = self.0.store().clone();
        let access = access::vault::<Member>(&mut rows, actor, vault).await?;
        let key = credential_key(key)?;
        let grant = rows.oauth_grant(access.id(), key.as_str()).await?;
        let found = match consent {
            Some(id) => rows
                .consent(access.id(), id)
                .await?
                .filter(|consent| consent.key == key.as_str()),
            None => rows.newest_consent(access.id(), key.as_str()).await?,
        };
        if grant.is_none() && found.is_none() {
            return Err(unknown(key.as_str()));
        }
        let now = self.0.now();
        let consent = found.map(|found| {
            let late = found.status == ConsentStatus::Pending && found.expires_at <= now;
            ConsentProgress {
                id: found.id,
                status: if late {
                    ConsentStatus::Failed
                } else {
                    found.status
                },
                error: if late {
                    "nobody consented in time; connect again".to_owned()
                } else {
                    found.error
                },
            }
        });
        let connected_at = grant.as_ref().and_then(|grant| grant.connected_at);
        let last_error = grant
            .as_ref()
            .map(|grant| grant.last_refresh_error.clone())
            .filter(|error| !error.is_empty())
            .or_else(|| {
                // While nothing is connected, what matters is why the consent came to nothing.
                consent
                    .as_ref()
                    .filter(|_| connected_at.is_none())
                    .map(|consent| consent.error.clone())
                    .filter(|error| !error.is_empty())
            });
        Ok(OAuthStatus {
            connected: connected_at.is_some(),
            connected_at,
            last_error,
            expires_at: grant.and_then(|grant| grant.token_expires_at),
            consent,
        })
    }
}
