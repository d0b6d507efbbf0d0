//! Credentials that come from an OAuth grant: a person consents once, and access tokens are fetched anew for as long as the grant
//! lasts.
//!
//! What works stays as it is until something better is there: a consent carries its configuration with it and becomes the
//! credential's only when tokens have come back. Tokens are fetched outside of any transaction, and the outcome is written in one.
//! Nothing that a provider says is kept or shown in its own words.

mod callback;
mod connect;
mod input;
mod prepare;
mod refresh;
mod status;
mod upload;

use agent_vault_broker::{ClientAuth, OAuthUrl, TokenCall, TokenFault, TokenGrant, Tokens};
use agent_vault_policy::CredentialKey;
use agent_vault_seal::{Keyring, Sealed, SecretBytes};
use agent_vault_store::{OAuthClient, OAuthGrant, OAuthPart, TokenAuthMethod};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

pub use callback::{BrowserCookie, ConsentReturn, ProviderAnswer};
pub use connect::{BoundConsent, Connecting, ConsentLink};
pub use input::{KEPT, OAuthInput};
pub use status::{ConsentProgress, OAuthStatus, OAuthView};
pub use upload::{OAuthUpload, UploadedTokens};

pub(crate) use input::slot_client;
pub(crate) use prepare::prepare;
pub(crate) use refresh::refresh;
pub(crate) use status::view;

use crate::Control;
use crate::error::ControlError;

/// Stands in listings for a client or token URL that was never given.
pub(crate) const MANUAL: &str = "manual";

/// Actions on OAuth grants.
#[derive(Debug, Clone, Copy)]
pub struct OAuth<'c>(pub(crate) &'c Control);

impl Control {
    /// Asks the token endpoint of a client.
    async fn ask_for_tokens(
        &self,
        vault: Uuid,
        client: &OAuthClient,
        secret: Option<SecretBytes>,
        grant: TokenGrant,
    ) -> Result<Tokens, TokenFault> {
        let Some(endpoint) = self.token_endpoint() else {
            return Err(TokenFault::passing(
                "this process does not ask token endpoints",
            ));
        };
        let url = OAuthUrl::parse(&client.token_url, self.options().dev_mode)
            .map_err(|error| TokenFault::permanent(format!("the token URL {error}")))?;
        let call = TokenCall {
            vault,
            url,
            client_id: client.client_id.clone(),
            client_secret: secret,
            client_auth: match client.token_auth_method {
                TokenAuthMethod::Post => ClientAuth::Post,
                TokenAuthMethod::Basic => ClientAuth::Basic,
            },
            grant,
        };
        endpoint.ask(call).await
    }
}

/// A part of a grant, opened.
fn open_part(
    keyring: &Keyring,
    vault: Uuid,
    name: &str,
    sealed: Option<&Sealed>,
) -> Result<Option<SecretBytes>, ControlError> {
    let Some(sealed) = sealed else {
        return Ok(None);
    };
    let owner = vault.to_string();
    let opened = keyring.open(&OAuthGrant::seal_context(&owner, name), sealed);
    opened.map(Some).map_err(|error| {
        ControlError::internal(format!("`{name}` cannot be opened"), error)
            .hint("connect the credential again")
    })
}

/// A part of a grant, sealed.
fn seal_part(
    keyring: &Keyring,
    vault: Uuid,
    name: &str,
    value: Option<&SecretBytes>,
) -> Result<Option<Sealed>, ControlError> {
    let Some(value) = value else {
        return Ok(None);
    };
    let owner = vault.to_string();
    let sealed = keyring.seal(&OAuthGrant::seal_context(&owner, name), value.expose())?;
    Ok(Some(sealed))
}

/// The client secret and the refresh token of a grant, opened.
struct Opened {
    secret: Option<SecretBytes>,
    refresh: Option<SecretBytes>,
}

impl Opened {
    fn of(
        keyring: &Keyring,
        vault: Uuid,
        key: &CredentialKey,
        grant: &OAuthGrant,
    ) -> Result<Self, ControlError> {
        let part =
            |part: OAuthPart, sealed| open_part(keyring, vault, &part.name(key.as_str()), sealed);
        Ok(Self {
            secret: part(OAuthPart::ClientSecret, grant.client.client_secret.as_ref())?,
            refresh: part(OAuthPart::RefreshToken, grant.refresh_token.as_ref())?,
        })
    }
}

/// A grant that has no token yet.
fn unconnected(client: OAuthClient) -> OAuthGrant {
    OAuthGrant {
        client,
        refresh_token: None,
        refresh_refused: false,
        token_expires_at: None,
        token_life: None,
        connected_at: None,
        last_refreshed_at: None,
        last_refresh_error: String::new(),
        last_refresh_error_at: None,
    }
}

/// When a token that came at `now` ends. A provider that does not say how long it lives means what it said before.
fn end_of(now: Timestamp, given: Option<u32>, before: Option<u32>) -> Option<Timestamp> {
    let seconds = given.or(before)?;
    now.checked_add(SignedDuration::from_secs(i64::from(seconds)))
        .ok()
}

/// The part of a token's life, before its end, in which the next one is fetched beside the traffic: five minutes, or half of a life
/// that is shorter than ten.
pub(crate) fn renew_from(got: Timestamp, ends: Timestamp) -> Timestamp {
    const LEAD: SignedDuration = SignedDuration::from_mins(5);
    let half = ends.duration_since(got) / 2;
    let lead = LEAD.min(half).max(SignedDuration::ZERO);
    ends.saturating_sub(lead).unwrap_or(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_fetched_ahead_of_their_end() {
        let start = Timestamp::UNIX_EPOCH;
        let at = |seconds| start + SignedDuration::from_secs(seconds);
        assert_eq!(renew_from(start, at(3600)), at(3300));
        assert_eq!(renew_from(start, at(60)), at(30));
        assert_eq!(renew_from(at(60), start), start);
    }

    #[test]
    fn m30_a_life_that_is_left_out_is_the_one_before() {
        let start = Timestamp::UNIX_EPOCH;
        let after = |seconds| Some(start + SignedDuration::from_secs(seconds));
        assert_eq!(end_of(start, Some(60), Some(3600)), after(60));
        assert_eq!(end_of(start, None, Some(3600)), after(3600));
        assert_eq!(end_of(start, None, None), None);
    }
}
