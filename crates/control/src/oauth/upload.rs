//! Tokens that somebody has already.

use agent_vault_broker::{OAuthUrl, TokenGrant};
use agent_vault_policy::CredentialKey;
use agent_vault_seal::SecretBytes;
use agent_vault_store::{CredentialType, OAuthClient, OAuthGrant, OAuthPart, TokenAuthMethod};
use jiff::Timestamp;
use uuid::Uuid;

use super::input::{Described, Given, bad, credential_key};
use super::{MANUAL, OAuth, OAuthInput, Opened, end_of, seal_part};
use crate::access::{self, Member, VaultRef};
use crate::actor::Actor;
use crate::credentials::{self, Origin, target};
use crate::error::ControlError;
use crate::line_breaks;
use crate::publish;
use crate::write::Write;

/// Largest token in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Tokens, and the client that they were given to.
#[derive(Debug, Default)]
pub struct OAuthUpload {
    /// The client; what is left out is what is stored.
    pub client: OAuthInput,
    /// Opens the API. [`super::KEPT`] is the one that is stored.
    pub access_token: Option<SecretBytes>,
    /// Gets the next one, likewise. Used at once, to see that it works.
    pub refresh_token: Option<SecretBytes>,
}

/// What an upload came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadedTokens {
    /// Since when the credential is connected.
    pub connected_at: Timestamp,
    /// When its token ends, where that is known.
    pub expires_at: Option<Timestamp>,
    /// Whether the next one is fetched by itself.
    pub refreshable: bool,
}

impl OAuth<'_> {
    /// Connects a credential with tokens that somebody has. A refresh token is tried at once, and what it gives is stored.
    ///
    /// # Errors
    /// Below vault member; `Invalid`, naming the field, or when the refresh token does not work; `Conflict` when the credential has
    /// changed in between.
    pub async fn upload(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
        key: &str,
        upload: OAuthUpload,
    ) -> Result<UploadedTokens, ControlError> {
        let key = credential_key(key)?;
        let described = Described::of(upload.client, self.0.options().dev_mode)?;
        let access = TokenGiven::of("access_token", upload.access_token)?;
        let refresh = TokenGiven::of("refresh_token", upload.refresh_token)?;
        if matches!((&access, &refresh), (TokenGiven::None, TokenGiven::None)) {
            return Err(bad(
                "access_token",
                "an access token or a refresh token is required",
                "`{\"key\": \"GITHUB\", \"access_token\": \"…\"}`",
            ));
        }
        let given = (access, refresh);
        let mut rows = self.0.store().clone();
        let access = access::vault::<Member>(&mut rows, actor, vault).await;
        let access = self
            .0
            .attempted(actor, "credential.oauth.tokens", &target(vault), access)
            .await?;
        crate::stores::keeps_own_rows(&rows, access.id()).await?;
        let vault_id = access.id();
        let before = rows.oauth_grant(vault_id, key.as_str()).await?;
        let plan = self.plan(vault_id, &key, described, given, before)?;
        let plan = self.tried(vault_id, plan).await?;
        let mut write = self
            .0
            .begin(actor, "credential.oauth.tokens", target(vault))
            .await?;
        let outcome = store(&mut write, actor, vault, &key, plan).await;
        write.finish(outcome).await
    }

    /// What is to be stored, before anything was tried.
    fn plan(
        &self,
        vault: Uuid,
        key: &CredentialKey,
        described: Described,
        (access, refresh): (TokenGiven, TokenGiven),
        before: Option<OAuthGrant>,
    ) -> Result<Plan, ControlError> {
        let opened = match &before {
            Some(grant) => Opened::of(self.0.keyring(), vault, key, grant)?,
            None => Opened {
                secret: None,
                refresh: None,
            },
        };
        let stored = before.as_ref().map(|grant| &grant.client);
        let token_url = match described.token_url {
            Some(url) => url.as_str().to_owned(),
            None => stored.map_or_else(|| MANUAL.to_owned(), |client| client.token_url.clone()),
        };
        let same_url = stored.is_some_and(|client| client.token_url == token_url);
        let secret = match described.client_secret {
            Given::New(secret) => Some(secret),
            Given::None => None,
            Given::Kept => opened.secret.filter(|_| same_url),
        };
        let has_url = OAuthUrl::parse(&token_url, self.0.options().dev_mode).is_ok();
        let connected = before
            .as_ref()
            .is_some_and(|grant| grant.connected_at.is_some());
        let nothing = |field: &str| {
            bad(
                field,
                "there is none stored that could be kept for this token URL",
                "the token itself",
            )
        };
        let (refresh, new_refresh) = match refresh {
            TokenGiven::New(token) => (Some(token), true),
            TokenGiven::Kept => match opened.refresh.filter(|_| same_url) {
                // Without an access token, it has to give one.
                Some(token) => (Some(token), !connected),
                None => return Err(nothing("refresh_token")),
            },
            TokenGiven::None => (opened.refresh.filter(|_| same_url), false),
        };
        let access = match access {
            TokenGiven::New(token) => Some(token),
            TokenGiven::Kept if !connected => return Err(nothing("access_token")),
            TokenGiven::Kept | TokenGiven::None => None,
        };
        if new_refresh && access.is_none() && !has_url {
            return Err(bad(
                "token_url",
                "is required: a refresh token alone needs somewhere to go",
                "`https://github.com/login/oauth/access_token`",
            ));
        }
        Ok(Plan {
            access,
            try_refresh: new_refresh && has_url,
            refresh,
            life: None,
            client: OAuthClient {
                authorization_url: described
                    .authorization_url
                    .map(|url| url.as_str().to_owned())
                    .or_else(|| stored.map(|client| client.authorization_url.clone()))
                    .unwrap_or_default(),
                token_url,
                client_id: described
                    .client_id
                    .or_else(|| stored.map(|client| client.client_id.clone()))
                    .filter(|id| !id.is_empty())
                    .unwrap_or_else(|| MANUAL.to_owned()),
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
            before,
        })
    }

    /// Uses a new refresh token, so that one that does not work is refused now and not in an hour.
    async fn tried(&self, vault: Uuid, plan: Plan) -> Result<Plan, ControlError> {
        let mut plan = plan;
        let Some(refresh) = plan.refresh.as_ref().filter(|_| plan.try_refresh) else {
            return Ok(plan);
        };
        let ask = TokenGrant::Refresh {
            token: refresh.duplicate(),
            scope: None,
        };
        let secret = plan.secret.as_ref().map(SecretBytes::duplicate);
        let tokens = self
            .0
            .ask_for_tokens(vault, &plan.client, secret, ask)
            .await
            .map_err(|fault| {
                ControlError::invalid(format!("Refresh token validation failed: {fault}"))
                    .hint("check token_url, client_id and client_secret; a refresh token that was used elsewhere may be spent")
            })?;
        plan.access = Some(tokens.access);
        if let Some(rotated) = tokens.refresh {
            plan.refresh = Some(rotated);
        }
        plan.life = tokens.expires_in;
        Ok(plan)
    }
}

/// What an upload is to store.
struct Plan {
    /// A new access token; `None` keeps the one that is stored.
    access: Option<SecretBytes>,
    refresh: Option<SecretBytes>,
    /// The refresh token is new and can be tried.
    try_refresh: bool,
    /// The life of the access token in seconds, where the provider said so just now.
    life: Option<u32>,
    /// Without its secret.
    client: OAuthClient,
    secret: Option<SecretBytes>,
    /// What was stored when the plan was made.
    before: Option<OAuthGrant>,
}

async fn store(
    write: &mut Write,
    actor: &Actor,
    vault: VaultRef<'_>,
    key: &CredentialKey,
    plan: Plan,
) -> Result<UploadedTokens, ControlError> {
    let access = access::vault::<Member>(write.tx(), actor, vault).await?;
    write.retarget(format!("vault:{}", access.vault().name));
    write.note("key", key.as_str());
    let (vault_id, now) = (access.id(), write.now());
    crate::stores::keeps_its_own(write, vault_id).await?;
    let present = write.tx().oauth_grant(vault_id, key.as_str()).await?;
    let fresh = plan.access.is_some();
    if !fresh || !plan.try_refresh {
        // Something stored is kept: it has to be what was looked at.
        let same = match (&present, &plan.before) {
            (Some(present), Some(before)) => {
                present.refresh_token == before.refresh_token
                    && present.client == before.client
                    && present.connected_at == before.connected_at
            }
            (None, None) => true,
            _ => false,
        };
        if !same {
            return Err(
                ControlError::conflict("The credential was changed in the meantime")
                    .hint("look at it and try again"),
            );
        }
    }
    let token = match plan.access {
        Some(token) => token,
        None => credentials::present(write, &access, key).await?,
    };
    let services = match write.tx().services(vault_id).await? {
        Some(row) => publish::stored_services(&row.json).unwrap_or_default(),
        None => Vec::new(),
    };
    line_breaks::check_headers(&services, key, token.expose())?;
    let known = write.tx().credential_keys(vault_id).await?;
    let value = [(key.clone(), token)];
    credentials::room(&known, &value)?;
    let [(_, token)] = &value;
    let version = credentials::put(
        write,
        &access,
        key,
        token,
        Origin::of(CredentialType::OAuth),
    )
    .await?;
    let keyring = write.control().keyring();
    let seal = |part: OAuthPart, value: Option<&SecretBytes>| {
        seal_part(keyring, vault_id, &part.name(key.as_str()), value)
    };
    let mut client = plan.client;
    client.client_secret = seal(OAuthPart::ClientSecret, plan.secret.as_ref())?;
    let before = present.as_ref();
    // The end of another token says nothing of this one.
    let token_expires_at = if fresh {
        end_of(now, plan.life, None)
    } else {
        before.and_then(|grant| grant.token_expires_at)
    };
    let grant = OAuthGrant {
        client,
        refresh_token: seal(OAuthPart::RefreshToken, plan.refresh.as_ref())?,
        refresh_refused: false,
        token_expires_at,
        token_life: plan
            .life
            .or_else(|| before.filter(|_| !fresh).and_then(|grant| grant.token_life)),
        connected_at: Some(now),
        last_refreshed_at: plan.try_refresh.then_some(now),
        last_refresh_error: String::new(),
        last_refresh_error_at: None,
    };
    write
        .tx()
        .put_oauth_grant(vault_id, key.as_str(), &grant)
        .await?;
    let refreshable = grant.refresh_token.is_some() && grant.client.token_url != MANUAL;
    write.note("version", version);
    write.note("token_url", grant.client.token_url);
    write.note("refreshable", refreshable);
    write.publish_vault(vault_id).await?;
    Ok(UploadedTokens {
        connected_at: now,
        expires_at: token_expires_at,
        refreshable,
    })
}

/// What a request says about a token.
enum TokenGiven {
    /// Nothing.
    None,
    /// That the stored one stays.
    Kept,
    /// This one.
    New(SecretBytes),
}

impl TokenGiven {
    fn of(field: &str, token: Option<SecretBytes>) -> Result<Self, ControlError> {
        Ok(match token.map(|token| Given::of(Some(token))) {
            None | Some(Given::None) => Self::None,
            Some(Given::Kept) => Self::Kept,
            Some(Given::New(token)) => Self::New(token_fits(field, token)?),
        })
    }
}

/// A token that can stand in a header and a form.
fn token_fits(field: &str, token: SecretBytes) -> Result<SecretBytes, ControlError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(bad(
            field,
            &format!("at most {MAX_TOKEN_BYTES} bytes"),
            "the token alone",
        ));
    }
    if !token
        .expose()
        .iter()
        .all(|byte| (0x21..0x7f).contains(byte))
    {
        return Err(bad(
            field,
            "must hold neither spaces nor line breaks nor anything but printable ASCII",
            "the token alone, as the provider shows it",
        ));
    }
    Ok(token)
}
