//! A person comes back from a provider: the browser is checked, the code becomes tokens, and the credential is connected.

use agent_vault_broker::{TokenGrant, Tokens, known_oauth_code};
use agent_vault_policy::CredentialKey;
use agent_vault_seal::{SecretBytes, TokenHash};
use agent_vault_store::{
    Consent, ConsentActor, ConsentStatus, CredentialType, OAuthGrant, OAuthPart, Session,
    SessionKind,
};
use uuid::Uuid;

use super::{OAuth, Opened, end_of, open_part, seal_part};
use crate::Control;
use crate::access::{self, Member, VaultRef};
use crate::actor::{Actor, AgentActor, ScopedActor, UserActor};
use crate::credentials::{self, Origin};
use crate::error::ControlError;
use crate::line_breaks;
use crate::publish;
use crate::write::Write;

/// Longest code in bytes.
const MAX_CODE_BYTES: usize = 8 * 1024;

/// A cookie of the browser that came back, for one consent.
#[derive(Debug)]
pub struct BrowserCookie {
    /// The consent's public id.
    pub consent: String,
    /// What the browser was given.
    pub token: SecretBytes,
}

/// What the provider sent along.
#[derive(Debug)]
pub enum ProviderAnswer {
    /// A code for tokens.
    Code(SecretBytes),
    /// An error code (RFC 6749 section 4.1.2.1), or nothing that could be read.
    Refused(String),
}

/// What the person is told.
#[derive(Debug, PartialEq, Eq)]
pub struct ConsentReturn {
    /// The vault, once it is certain that this browser may know.
    pub vault: Option<String>,
    /// The credential, likewise.
    pub key: Option<String>,
    /// The consent, likewise: its cookie is of no more use.
    pub consent: Option<String>,
    /// Why nothing was connected, in our words; `None` when it was.
    pub failure: Option<String>,
}

impl ConsentReturn {
    fn unknown(why: &str) -> Self {
        Self {
            vault: None,
            key: None,
            consent: None,
            failure: Some(why.to_owned()),
        }
    }
}

impl OAuth<'_> {
    /// Finishes a consent: once, in time, in the browser that began it, and for somebody who may still do it. Goes on to its end when
    /// the browser leaves.
    ///
    /// # Errors
    /// When the database fails; everything else is told in the answer.
    pub async fn finish(
        &self,
        state: &str,
        answer: ProviderAnswer,
        cookies: Vec<BrowserCookie>,
    ) -> Result<ConsentReturn, ControlError> {
        let control = self.0.clone();
        let state = TokenHash::of(state);
        let finishing = self
            .0
            .tasks()
            .spawn(async move { finish(&control, state, answer, cookies).await });
        finishing
            .await
            .map_err(|error| ControlError::internal("the consent did not end", error))?
    }
}

async fn finish(
    control: &Control,
    state: TokenHash,
    answer: ProviderAnswer,
    cookies: Vec<BrowserCookie>,
) -> Result<ConsentReturn, ControlError> {
    const BEGIN_AGAIN: &str =
        "This consent is not known, was used already, or has run out; begin again";
    let store = control.store();
    let Some(known) = store.consent_by_state(state).await? else {
        return Ok(ConsentReturn::unknown(BEGIN_AGAIN));
    };
    let cookie = cookies
        .into_iter()
        .find(|cookie| cookie.consent == known.id)
        .and_then(|cookie| cookie.token.expose_str().ok().map(TokenHash::of));
    let taken = match cookie {
        Some(browser) => store.take_consent(state, browser, control.now()).await?,
        None => None,
    };
    let Some(consent) = taken else {
        if known.status == ConsentStatus::Pending && known.browser_hash != cookie {
            // The right browser may still come.
            let why = ControlError::forbidden("another browser came back");
            let target = format!("consent:{}", known.id);
            control
                .record_anonymous("credential.oauth.callback", target, &why)
                .await;
            return Ok(ConsentReturn::unknown(
                "This consent was begun in another browser; open the link in the browser in which you go on",
            ));
        }
        return Ok(ConsentReturn::unknown(BEGIN_AGAIN));
    };
    let vault = store
        .vault(consent.vault_id)
        .await?
        .map(|vault| vault.name)
        .unwrap_or_default();
    let connected = match answer {
        ProviderAnswer::Refused(code) => Err(match known_oauth_code(&code) {
            Some(code) => format!("the provider refused: {code}"),
            None => "the provider refused".to_owned(),
        }),
        ProviderAnswer::Code(code) => exchange(control, &consent, &vault, code).await,
    };
    if let Err(why) = &connected {
        tracing::info!(vault, key = consent.key, why, "a consent came to nothing");
        store.fail_consent(&consent.id, why).await?;
    }
    Ok(ConsentReturn {
        vault: Some(vault),
        key: Some(consent.key),
        consent: Some(consent.id),
        failure: connected.err(),
    })
}

/// From a code to a connected credential. Errors are what the person is told.
async fn exchange(
    control: &Control,
    consent: &Consent,
    vault: &str,
    code: SecretBytes,
) -> Result<(), String> {
    let told = |error: ControlError| {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "a consent could not be finished"
        );
        error.message().to_owned()
    };
    if code.is_empty() || code.len() > MAX_CODE_BYTES {
        return Err("the provider sent no code that could be used".to_owned());
    }
    let actor = actor(control, consent).await.map_err(told)?;
    let mut rows = control.store().clone();
    access::vault::<Member>(&mut rows, &actor, VaultRef::Named(vault))
        .await
        .map_err(told)?;
    let open = |name: &str, sealed| open_part(control.keyring(), consent.vault_id, name, sealed);
    let secret = open(
        &Consent::secret_name(&consent.id),
        consent.client.client_secret.as_ref(),
    )
    .map_err(told)?;
    let verifier = open(
        &Consent::verifier_name(&consent.id),
        consent.verifier.as_ref(),
    )
    .map_err(told)?;
    let grant = TokenGrant::Code {
        code,
        redirect_uri: consent.redirect_uri.clone(),
        verifier,
    };
    let kept = secret.as_ref().map(SecretBytes::duplicate);
    let tokens = control
        .ask_for_tokens(consent.vault_id, &consent.client, secret, grant)
        .await
        .map_err(|fault| fault.message)?;
    let mut write = control
        .begin(
            &actor,
            "credential.oauth.connected",
            format!("vault:{vault}"),
        )
        .await
        .map_err(told)?;
    let outcome = connected(&mut write, &actor, vault, consent, kept, tokens).await;
    write.finish(outcome).await.map_err(told)
}

async fn connected(
    write: &mut Write,
    actor: &Actor,
    vault: &str,
    consent: &Consent,
    secret: Option<SecretBytes>,
    tokens: Tokens,
) -> Result<(), ControlError> {
    let access = access::vault::<Member>(write.tx(), actor, VaultRef::Named(vault)).await?;
    if access.id() != consent.vault_id {
        return Err(ControlError::conflict("The vault is another by now"));
    }
    let (vault_id, now) = (access.id(), write.now());
    let key = CredentialKey::parse(&consent.key)
        .map_err(|error| ControlError::internal("the consent cannot be read", error))?;
    let before = write.tx().oauth_grant(vault_id, key.as_str()).await?;
    let refresh = match tokens.refresh {
        Some(refresh) => Some(refresh),
        // Some providers give one with the first consent only. It is good for the same client.
        None => match before.as_ref().filter(|before| {
            before.client.token_url == consent.client.token_url
                && before.client.client_id == consent.client.client_id
                && !before.refresh_refused
        }) {
            Some(before) => Opened::of(write.control().keyring(), vault_id, &key, before)?.refresh,
            None => None,
        },
    };
    let services = match write.tx().services(vault_id).await? {
        Some(row) => publish::stored_services(&row.json).unwrap_or_default(),
        None => Vec::new(),
    };
    line_breaks::check_headers(&services, &key, tokens.access.expose())?;
    let known = write.tx().credential_keys(vault_id).await?;
    let value = [(key.clone(), tokens.access)];
    credentials::room(&known, &value)?;
    let [(_, token)] = &value;
    let origin = Origin::of(CredentialType::OAuth);
    let version = credentials::put(write, &access, &key, token, origin).await?;
    let keyring = write.control().keyring();
    let seal = |part: OAuthPart, value: Option<&SecretBytes>| {
        seal_part(keyring, vault_id, &part.name(key.as_str()), value)
    };
    let mut client = consent.client.clone();
    client.client_secret = seal(OAuthPart::ClientSecret, secret.as_ref())?;
    let grant = OAuthGrant {
        client,
        refresh_token: seal(OAuthPart::RefreshToken, refresh.as_ref())?,
        refresh_refused: false,
        token_expires_at: end_of(now, tokens.expires_in, None),
        token_life: tokens.expires_in,
        connected_at: Some(now),
        last_refreshed_at: None,
        last_refresh_error: String::new(),
        last_refresh_error_at: None,
    };
    write
        .tx()
        .put_oauth_grant(vault_id, key.as_str(), &grant)
        .await?;
    write.tx().end_consent(&consent.id, None).await?;
    write.note("key", key.as_str());
    write.note("version", version);
    write.note("consent", consent.id.as_str());
    write.note("token_url", grant.client.token_url);
    write.note("refreshable", grant.refresh_token.is_some());
    write.publish_vault(vault_id).await
}

/// Whoever asked for the consent, as long as the session that they asked with is live.
async fn actor(control: &Control, consent: &Consent) -> Result<Actor, ControlError> {
    if consent.actor == ConsentActor::Local {
        return Ok(Actor::LocalOperator);
    }
    let gone = || {
        ControlError::forbidden("Whoever began this consent is not logged in any more; begin again")
    };
    let session = control
        .store()
        .session_with_public_id(&consent.session_id)
        .await?
        .filter(|session| session.is_live(control.now()))
        .ok_or_else(gone)?;
    let id = || consent.actor_id.parse::<Uuid>().map_err(|_| gone());
    match (consent.actor, &session) {
        (
            ConsentActor::User,
            Session {
                kind: SessionKind::User,
                user_id: Some(user),
                ..
            },
        ) if *user == id()? => Ok(Actor::User(UserActor {
            id: *user,
            email: consent.actor_name.clone(),
            session: session.public_id,
        })),
        (
            ConsentActor::Agent,
            Session {
                kind: SessionKind::Agent,
                agent_id: Some(agent),
                ..
            },
        ) if *agent == id()? => Ok(Actor::Agent(AgentActor {
            id: *agent,
            name: consent.actor_name.clone(),
            session: session.public_id,
        })),
        (
            ConsentActor::Scoped,
            Session {
                kind: SessionKind::Scoped,
                vault_id: Some(vault),
                vault_role: Some(role),
                ..
            },
        ) => Ok(Actor::Scoped(ScopedActor {
            vault: *vault,
            role: *role,
            label: Some(session.label.clone()).filter(|label| !label.is_empty()),
            session: session.public_id,
        })),
        _ => Err(gone()),
    }
}
