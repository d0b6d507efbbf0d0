//! Sending a person to a provider: the consent, the browser that it is bound to, and the URL.

use agent_vault_broker::OAuthUrl;
use agent_vault_policy::CredentialKey;
use agent_vault_seal::{SecretBytes, Token, TokenHash, TokenKind, fill, public_id};
use agent_vault_store::{
    Consent, ConsentActor, ConsentStatus, CredentialType, OAuthClient, OAuthGrant, OAuthPart,
    TokenAuthMethod,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::input::{Described, Given, bad, credential_key};
use super::{MANUAL, OAuth, OAuthInput, open_part, seal_part, unconnected};
use crate::access::{self, Member, VaultRef};
use crate::actor::Actor;
use crate::credentials::{self, Origin, target};
use crate::error::{ControlError, ErrorKind};
use crate::write::Write;

/// How long a person has to come back from the provider.
const CONSENT_LIFE: SignedDuration = SignedDuration::from_mins(10);
/// Consents of one vault at a time.
const MAX_CONSENTS: u64 = 50;
/// Bytes of a PKCE verifier before encoding: 43 characters after (RFC 7636 section 4.1).
const VERIFIER_BYTES: usize = 32;

/// A consent that a person can be sent for.
#[derive(Debug)]
pub struct Connecting {
    /// Its public id.
    pub id: String,
    /// The provider's page, for the browser that has `browser` as its cookie.
    pub authorization_url: String,
    /// A page of ours that gives any browser the cookie, once a person has looked at it.
    pub start_url: String,
    /// The cookie of the browser that may come back.
    pub browser: Token,
    /// Until when it may.
    pub expires_at: Timestamp,
}

/// What a person sees before the browser is bound.
#[derive(Debug)]
pub struct ConsentLink {
    /// The vault.
    pub vault: String,
    /// The credential.
    pub key: String,
    /// Who asked.
    pub actor: String,
    /// Host of the provider's page.
    pub provider: String,
}

/// A browser that may come back.
#[derive(Debug)]
pub struct BoundConsent {
    /// The consent's public id.
    pub id: String,
    /// The provider's page.
    pub authorization_url: String,
    /// The cookie.
    pub browser: Token,
}

impl OAuth<'_> {
    /// Prepares a consent. A credential that works stays as it is until tokens have come back; one that is not there, or has no
    /// token yet, is there at once, without a value.
    ///
    /// # Errors
    /// Below vault member; `Invalid`, naming the field; `TooMany` when too many consents are open.
    pub async fn connect(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        key: &str,
        input: OAuthInput,
        base_url: &str,
    ) -> Result<Connecting, ControlError> {
        let key = credential_key(key)?;
        let described = Described::of(input, self.0.options().dev_mode)?;
        let mut write = self
            .0
            .begin(actor, "credential.oauth.connect", target(vault))
            .await?;
        let outcome = connect(&mut write, actor, vault, &key, described, base_url).await;
        write.finish(outcome).await
    }

    /// What a link is for.
    ///
    /// # Errors
    /// `NotFound` for one that opens nothing, or not any more.
    pub async fn link(&self, link: &str) -> Result<ConsentLink, ControlError> {
        let (consent, vault) = self.linked(link).await?;
        let url = OAuthUrl::parse(&consent.client.authorization_url, self.0.options().dev_mode);
        Ok(ConsentLink {
            vault,
            provider: url
                .ok()
                .and_then(|url| url.url().host_str().map(str::to_owned))
                .unwrap_or_default(),
            key: consent.key,
            actor: consent.actor_name,
        })
    }

    /// Gives a browser the cookie with which it may come back, and takes that right from any other.
    ///
    /// # Errors
    /// `NotFound` for a link that opens nothing, or not any more.
    pub async fn bind(&self, link: &str) -> Result<BoundConsent, ControlError> {
        let (consent, _) = self.linked(link).await?;
        let state = Token::generate(TokenKind::OAuthState)?;
        let browser = Token::generate(TokenKind::OAuthBrowser)?;
        let bound = self
            .0
            .store()
            .bind_consent(
                TokenHash::of(link),
                state.hash(),
                browser.hash(),
                self.0.now(),
            )
            .await?;
        if !bound {
            return Err(no_link());
        }
        let verifier = open_part(
            self.0.keyring(),
            consent.vault_id,
            &Consent::verifier_name(&consent.id),
            consent.verifier.as_ref(),
        )?;
        Ok(BoundConsent {
            authorization_url: authorization_url(
                &consent.client,
                &consent.redirect_uri,
                &state,
                verifier.as_ref(),
                self.0.options().dev_mode,
            )?,
            id: consent.id,
            browser,
        })
    }

    async fn linked(&self, link: &str) -> Result<(Consent, String), ControlError> {
        let store = self.0.store();
        let consent = store.consent_by_link(TokenHash::of(link)).await?;
        let consent = consent
            .filter(|consent| {
                consent.status == ConsentStatus::Pending && consent.expires_at > self.0.now()
            })
            .ok_or_else(no_link)?;
        let vault = store.vault(consent.vault_id).await?.ok_or_else(no_link)?;
        Ok((consent, vault.name))
    }
}

async fn connect(
    write: &mut Write,
    actor: &Actor,
    vault: VaultRef<'_>,
    key: &CredentialKey,
    described: Described,
    base_url: &str,
) -> Result<Connecting, ControlError> {
    let access = access::vault::<Member>(write.tx(), actor, vault).await?;
    write.retarget(format!("vault:{}", access.vault().name));
    write.note("key", key.as_str());
    let vault_id = access.id();
    crate::stores::keeps_its_own(write, vault_id).await?;
    let now = write.now();
    if write.tx().pending_consents(vault_id, now).await? >= MAX_CONSENTS {
        return Err(ControlError::new(
            ErrorKind::TooMany,
            format!("{MAX_CONSENTS} consents of this vault are open already"),
        )
        .hint("wait ten minutes, until they have run out"));
    }
    let present = write.tx().credential(vault_id, key.as_str()).await?;
    let grant = write.tx().oauth_grant(vault_id, key.as_str()).await?;
    let Client { mut client, secret } = client(write, vault_id, key, described, grant.as_ref())?;
    write.note("token_url", client.token_url.as_str());
    let id = public_id()?;
    let verifier = client.pkce.then(verifier).transpose()?;
    let state = Token::generate(TokenKind::OAuthState)?;
    let link = Token::generate(TokenKind::OAuthLink)?;
    let browser = Token::generate(TokenKind::OAuthBrowser)?;
    let base = base_url.trim_end_matches('/');
    let redirect_uri = format!("{base}/v1/oauth/callback");
    let url = authorization_url(
        &client,
        &redirect_uri,
        &state,
        verifier.as_ref(),
        write.control().options().dev_mode,
    )?;
    let works = match (&present, &grant) {
        (None, _) => false,
        (Some(_), Some(grant)) => grant.connected_at.is_some(),
        (Some(_), None) => true,
    };
    if !works {
        let mut live = unconnected(client.clone());
        live.client.client_secret = seal_part(
            write.control().keyring(),
            vault_id,
            &OAuthPart::ClientSecret.name(key.as_str()),
            secret.as_ref(),
        )?;
        if present.is_none() {
            let empty = [(key.clone(), SecretBytes::new(Vec::new()))];
            let known = write.tx().credential_keys(vault_id).await?;
            credentials::room(&known, &empty)?;
            let [(_, nothing)] = &empty;
            let kind = CredentialType::OAuth;
            credentials::put(write, &access, key, nothing, Origin::of(kind)).await?;
        }
        write
            .tx()
            .put_oauth_grant(vault_id, key.as_str(), &live)
            .await?;
        write.publish_vault(vault_id).await?;
    }
    let keyring = write.control().keyring();
    client.client_secret = seal_part(
        keyring,
        vault_id,
        &Consent::secret_name(&id),
        secret.as_ref(),
    )?;
    let sealed = seal_part(
        keyring,
        vault_id,
        &Consent::verifier_name(&id),
        verifier.as_ref(),
    )?;
    let expires_at = now.saturating_add(CONSENT_LIFE).unwrap_or(Timestamp::MAX);
    let (kind, actor_id, actor_name) = who(actor);
    let consent = Consent {
        state_hash: state.hash(),
        link_hash: link.hash(),
        browser_hash: Some(browser.hash()),
        vault_id,
        key: key.as_str().to_owned(),
        actor: kind,
        actor_id,
        actor_name,
        session_id: actor.session().unwrap_or_default().to_owned(),
        redirect_uri,
        client,
        verifier: sealed,
        status: ConsentStatus::Pending,
        error: String::new(),
        created_at: now,
        expires_at,
        id,
    };
    write.tx().insert_consent(&consent).await?;
    write.note("consent", consent.id.as_str());
    Ok(Connecting {
        id: consent.id,
        authorization_url: url,
        start_url: format!("{base}/oauth/start?link={}", link.expose()),
        browser,
        expires_at,
    })
}

/// A client, and its secret in the open.
pub(super) struct Client {
    /// Without its secret.
    pub(super) client: OAuthClient,
    pub(super) secret: Option<SecretBytes>,
}

/// What was described, filled up with what is stored. A stored secret goes to the token URL that it was stored for, and to no
/// other.
fn client(
    write: &Write,
    vault: Uuid,
    key: &CredentialKey,
    described: Described,
    grant: Option<&OAuthGrant>,
) -> Result<Client, ControlError> {
    let stored = grant.map(|grant| &grant.client);
    let dev_mode = write.control().options().dev_mode;
    let url = |field: &str, given: Option<OAuthUrl>, stored: Option<&String>| {
        let given = match given {
            Some(url) => Some(url),
            None => stored.and_then(|text| OAuthUrl::parse(text, dev_mode).ok()),
        };
        given
            .map(|url| url.as_str().to_owned())
            .ok_or_else(|| bad(field, "is required", "`https://provider.example/oauth/…`"))
    };
    let authorization_url = url(
        "authorization_url",
        described.authorization_url,
        stored.map(|client| &client.authorization_url),
    )?;
    let token_url = url(
        "token_url",
        described.token_url,
        stored.map(|client| &client.token_url),
    )?;
    let client_id = described
        .client_id
        .or_else(|| stored.map(|client| client.client_id.clone()))
        .filter(|id| !id.is_empty() && id != MANUAL)
        .ok_or_else(|| {
            bad(
                "client_id",
                "is required",
                "the id that the provider gave your application",
            )
        })?;
    let secret = match described.client_secret {
        Given::New(secret) => Some(secret),
        Given::None => None,
        Given::Kept => match stored.filter(|client| client.token_url == token_url) {
            Some(client) => open_part(
                write.control().keyring(),
                vault,
                &OAuthPart::ClientSecret.name(key.as_str()),
                client.client_secret.as_ref(),
            )?,
            None => None,
        },
    };
    Ok(Client {
        client: OAuthClient {
            authorization_url,
            token_url,
            client_id,
            client_secret: None,
            scopes: described
                .scopes
                .or_else(|| stored.map(|client| client.scopes.clone()))
                .unwrap_or_default(),
            scope_separator: described
                .scope_separator
                .or_else(|| stored.map(|client| client.scope_separator.clone()))
                .unwrap_or_else(|| " ".to_owned()),
            pkce: described
                .pkce
                .or_else(|| stored.map(|client| client.pkce))
                .unwrap_or(true),
            token_auth_method: described
                .token_auth_method
                .or_else(|| stored.map(|client| client.token_auth_method))
                .unwrap_or(TokenAuthMethod::Post),
        },
        secret,
    })
}

fn who(actor: &Actor) -> (ConsentActor, String, String) {
    match actor {
        Actor::User(user) => (ConsentActor::User, user.id.to_string(), user.email.clone()),
        Actor::Agent(agent) => (
            ConsentActor::Agent,
            agent.id.to_string(),
            agent.name.clone(),
        ),
        Actor::Scoped(scoped) => (
            ConsentActor::Scoped,
            scoped.session.clone(),
            scoped
                .label
                .clone()
                .filter(|label| !label.is_empty())
                .unwrap_or_else(|| format!("vault token {}", scoped.session)),
        ),
        Actor::LocalOperator => (
            ConsentActor::Local,
            String::new(),
            "the local operator".to_owned(),
        ),
    }
}

fn verifier() -> Result<SecretBytes, ControlError> {
    let mut bytes = Zeroizing::new([0; VERIFIER_BYTES]);
    fill(bytes.as_mut_slice())?;
    Ok(SecretBytes::from(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

/// The challenge that belongs to a verifier (RFC 7636 section 4.2, `S256`).
fn challenge(verifier: &SecretBytes) -> Result<String, ControlError> {
    let text = verifier.expose_str()?;
    Ok(URL_SAFE_NO_PAD.encode(TokenHash::of(text).as_bytes()))
}

/// Where the person goes (RFC 6749 section 4.1.1). Parameters of the configured URL stay.
fn authorization_url(
    client: &OAuthClient,
    redirect_uri: &str,
    state: &Token,
    verifier: Option<&SecretBytes>,
    dev_mode: bool,
) -> Result<String, ControlError> {
    let url = OAuthUrl::parse(&client.authorization_url, dev_mode).map_err(|error| {
        bad(
            "authorization_url",
            &error.to_string(),
            "`https://github.com/login/oauth/authorize`",
        )
    })?;
    let mut url = url.url().clone();
    {
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &client.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("state", state.expose());
        if let Some(verifier) = verifier {
            query
                .append_pair("code_challenge", &challenge(verifier)?)
                .append_pair("code_challenge_method", "S256");
        }
        if !client.scopes.is_empty() {
            query.append_pair("scope", &client.scopes);
        }
    }
    Ok(url.into())
}

fn no_link() -> ControlError {
    ControlError::not_found("This link opens nothing, or not any more")
        .hint("begin again: `agent-vault vault credential oauth connect`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(pkce: bool) -> OAuthClient {
        OAuthClient {
            authorization_url: "https://p.io/auth?prompt=consent&x=a%20b".to_owned(),
            token_url: "https://p.io/token".to_owned(),
            client_id: "id&1".to_owned(),
            client_secret: None,
            scopes: "repo,read:user".to_owned(),
            scope_separator: ",".to_owned(),
            pkce,
            token_auth_method: TokenAuthMethod::Post,
        }
    }

    #[test]
    fn the_challenge_is_that_of_rfc_7636_appendix_b() {
        let verifier = SecretBytes::from("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned());
        assert_eq!(
            challenge(&verifier).unwrap(),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
        assert_eq!(super::verifier().unwrap().len(), 43);
    }

    #[test]
    fn the_persons_url_keeps_what_was_configured() {
        let state = Token::generate(TokenKind::OAuthState).unwrap();
        let verifier = verifier().unwrap();
        let with = authorization_url(
            &client(true),
            "https://v.io/cb",
            &state,
            Some(&verifier),
            false,
        )
        .unwrap();
        assert!(with.starts_with(
            "https://p.io/auth?prompt=consent&x=a%20b&response_type=code&client_id=id%261"
        ));
        assert!(with.contains("&state=av_oast_") && with.contains("&code_challenge_method=S256"));
        assert!(with.ends_with("&scope=repo%2Cread%3Auser"));
        assert!(!with.contains(verifier.expose_str().unwrap()));
        let without =
            authorization_url(&client(false), "https://v.io/cb", &state, None, false).unwrap();
        assert!(!without.contains("challenge"));
    }
}
