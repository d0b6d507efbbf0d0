//! Fetching the next access token. One process at a time, with what is stored at that moment; what came back is written whatever
//! becomes of those who wait for it.

use std::time::Duration;

use agent_vault_broker::{RenewalFault, RenewalOrder, TokenFault, TokenGrant, Tokens};
use agent_vault_seal::{SecretBytes, random_hex};
use agent_vault_store::{CredentialType, OAuthClaim, OAuthGrant, OAuthLease, OAuthPart};
use jiff::{SignedDuration, Timestamp};

use super::{Opened, end_of, seal_part};
use crate::Control;
use crate::credentials::{self, Origin};
use crate::error::{ControlError, ErrorKind};
use crate::write::Write;

/// How long one process has the right to refresh a grant: longer than a token endpoint is waited for.
const LEASE: SignedDuration = SignedDuration::from_secs(45);
/// How long the outcome of another process is waited for.
const MAX_TURNS: u32 = 150;
/// Time between two looks at it.
const TURN: Duration = Duration::from_millis(250);
/// How often the outcome is written when the database does not take it. A rotated refresh token must not be lost.
const WRITE_ATTEMPTS: u32 = 6;
/// Time between two attempts.
const WRITE_PAUSE: Duration = Duration::from_millis(500);

/// Fetches the token that `order` asks for; the broker shows it when this returns.
pub(crate) async fn refresh(control: &Control, order: &RenewalOrder) -> Result<(), RenewalFault> {
    match attempt(control, order).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                key = order.key.as_str(),
                "a token could not be fetched"
            );
            Err(RenewalFault::Failed)
        }
    }
}

async fn attempt(
    control: &Control,
    order: &RenewalOrder,
) -> Result<Result<(), RenewalFault>, ControlError> {
    let store = control.store();
    let key = order.key.as_str();
    let holder = random_hex::<16>()?;
    for _ in 0..MAX_TURNS {
        let now = control.now();
        let until = now.saturating_add(LEASE).unwrap_or(Timestamp::MAX);
        let claimed = store
            .claim_oauth_refresh(order.vault, key, &holder, now, until)
            .await?;
        match claimed {
            OAuthClaim::Granted(lease) => {
                let outcome = with_lease(control, order, &holder, *lease).await;
                // Gone already where a new grant was written.
                store
                    .release_oauth_refresh(order.vault, key, &holder)
                    .await?;
                return outcome;
            }
            OAuthClaim::Taken => tokio::time::sleep(TURN).await,
            OAuthClaim::Gone => {
                control.catch_up().await?;
                return Ok(Err(RenewalFault::Failed));
            }
        }
    }
    Ok(Err(RenewalFault::Failed))
}

async fn with_lease(
    control: &Control,
    order: &RenewalOrder,
    holder: &str,
    lease: OAuthLease,
) -> Result<Result<(), RenewalFault>, ControlError> {
    let OAuthLease { grant, version } = lease;
    if version != order.version {
        // Somebody else was faster: all that is missing is to see it.
        control.catch_up().await?;
        return Ok(Ok(()));
    }
    let opened = Opened::of(control.keyring(), order.vault, &order.key, &grant)?;
    let (Some(token), false) = (opened.refresh, grant.refresh_refused) else {
        return Ok(Err(RenewalFault::Refused));
    };
    let ask = TokenGrant::Refresh {
        token: token.duplicate(),
        scope: scope(&grant),
    };
    let answered = control
        .ask_for_tokens(order.vault, &grant.client, opened.secret, ask)
        .await;
    let fault = answered.as_ref().err().map(|fault| {
        if fault.permanent {
            RenewalFault::Refused
        } else {
            RenewalFault::Failed
        }
    });
    let came = Came {
        order,
        holder,
        grant,
        spent: token,
        answered,
    };
    for left in (0..WRITE_ATTEMPTS).rev() {
        match write_down(control, &came).await {
            Err(error) if error.kind() == ErrorKind::Unavailable && left > 0 => {
                tokio::time::sleep(WRITE_PAUSE).await;
            }
            // Somebody has connected it anew, or typed a value in: that counts, and is there to be seen.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Ok(())),
            written => {
                written?;
                break;
            }
        }
    }
    Ok(fault.map_or(Ok(()), Err))
}

/// Scopes as a token endpoint wants them: with spaces between (RFC 6749 section 3.3).
fn scope(grant: &OAuthGrant) -> Option<String> {
    let client = &grant.client;
    let scope = client
        .scopes
        .split(client.scope_separator.as_str())
        .flat_map(str::split_whitespace)
        .collect::<Vec<_>>()
        .join(" ");
    (!scope.is_empty()).then_some(scope)
}

/// What came back, to be written.
struct Came<'o> {
    order: &'o RenewalOrder,
    holder: &'o str,
    grant: OAuthGrant,
    /// The refresh token that was used.
    spent: SecretBytes,
    answered: Result<Tokens, TokenFault>,
}

async fn write_down(control: &Control, came: &Came<'_>) -> Result<(), ControlError> {
    let action = match &came.answered {
        Ok(_) => "credential.oauth.refresh",
        Err(_) => "credential.oauth.refresh-failed",
    };
    let mut write = control.begin_unattributed(action, "vault:").await?;
    let outcome = written(&mut write, came).await;
    write.finish(outcome).await
}

async fn written(write: &mut Write, came: &Came<'_>) -> Result<(), ControlError> {
    let Came {
        order,
        holder,
        grant,
        spent,
        answered,
    } = came;
    let (vault_id, key, now) = (order.vault, &order.key, write.now());
    let vault = write
        .tx()
        .vault(vault_id)
        .await?
        .ok_or_else(|| ControlError::not_found("the vault is gone"))?;
    write.retarget(format!("vault:{}", vault.name));
    write.note("key", key.as_str());
    if !write
        .tx()
        .holds_oauth_lease(vault_id, key.as_str(), holder)
        .await?
    {
        return Err(ControlError::not_found(
            "the grant was replaced in the meantime",
        ));
    }
    let mut next = grant.clone();
    match answered {
        Ok(tokens) => {
            let version = credentials::put_unasked(
                write,
                vault_id,
                key,
                &tokens.access,
                Origin::of(CredentialType::OAuth),
            )
            .await?;
            // It has ended or is about to; versions are kept for values that somebody may want back.
            write
                .tx()
                .delete_credential_version(vault_id, key.as_str(), order.version)
                .await?;
            let refresh = tokens.refresh.as_ref().unwrap_or(spent);
            next.refresh_token = seal_part(
                write.control().keyring(),
                vault_id,
                &OAuthPart::RefreshToken.name(key.as_str()),
                Some(refresh),
            )?;
            next.client.client_secret = reseal_secret(write, order, grant)?;
            next.token_expires_at = end_of(now, tokens.expires_in, grant.token_life);
            next.token_life = tokens.expires_in.or(grant.token_life);
            next.last_refreshed_at = Some(now);
            next.last_refresh_error.clear();
            next.last_refresh_error_at = None;
            write.note("version", version);
            write.note("forced", order.forced);
            write.note("rotated", tokens.refresh.is_some());
        }
        Err(fault) => {
            next.refresh_token = seal_part(
                write.control().keyring(),
                vault_id,
                &OAuthPart::RefreshToken.name(key.as_str()),
                Some(spent),
            )?;
            next.client.client_secret = reseal_secret(write, order, grant)?;
            next.refresh_refused = fault.permanent;
            next.last_refresh_error.clone_from(&fault.message);
            next.last_refresh_error_at = Some(now);
            write.note("error", fault.message.as_str());
            write.note("permanent", fault.permanent);
        }
    }
    write
        .tx()
        .put_oauth_grant(vault_id, key.as_str(), &next)
        .await?;
    write.publish_vault(vault_id).await
}

/// The data key may have been rotated while the provider was asked.
fn reseal_secret(
    write: &Write,
    order: &RenewalOrder,
    grant: &OAuthGrant,
) -> Result<Option<agent_vault_seal::Sealed>, ControlError> {
    let keyring = write.control().keyring();
    let opened = Opened::of(keyring, order.vault, &order.key, grant)?;
    seal_part(
        keyring,
        order.vault,
        &OAuthPart::ClientSecret.name(order.key.as_str()),
        opened.secret.as_ref(),
    )
}
