//! OAuth grants of credentials: the consent of a person, tokens by hand, and how a grant is.
//!
//! A consent is bound to the browser that may come back, by a cookie that is good for that one consent. Whoever asks from a browser
//! has it with the answer; for everybody else there is `start_url`, a page that gives it to the browser that opens it.

use agent_vault_control::{
    BrowserCookie, ConsentProgress, ConsentReturn, ConsentStatus, OAuthInput, OAuthUpload,
    ProviderAnswer, VaultRef,
};
use agent_vault_seal::{SecretBytes, Token};
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Answer, Outcome, Stamp};
use crate::body::{JsonBody, SecretField, null_is_absent};
use crate::client::Client;
use crate::error::{ApiError, Refusals};
use crate::principal::Caller;
use crate::query::Query;
use crate::state::ApiState;

/// Beginning of the cookies that bind browsers; the consent's id follows.
const COOKIE_PREFIX: &str = "av_oauth_";
/// Life of such a cookie in seconds, that of a consent.
const COOKIE_SECONDS: u32 = 600;
/// Cookies of one request that are looked at.
const MAX_COOKIES: usize = 64;
/// Characters of a message that the page at the end shows.
const MAX_SHOWN_CHARS: usize = 300;

/// A client at a provider. What is left out is what is stored already.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OAuthConnect {
    vault: Option<String>,
    /// Credential that is connected.
    #[serde(default, deserialize_with = "null_is_absent")]
    key: String,
    /// Where a person consents: https.
    authorization_url: Option<String>,
    /// Where tokens come from: https.
    token_url: Option<String>,
    client_id: Option<String>,
    /// `••••••••` or left out keeps the stored one while `token_url` stays; empty is none.
    #[schema(value_type = Option<String>)]
    client_secret: Option<SecretField>,
    /// As the provider wants them.
    scopes: Option<String>,
    /// What stands between scopes; a space without it.
    scope_separator: Option<String>,
    /// Leaves PKCE (RFC 7636) out.
    disable_pkce: Option<bool>,
    /// `client_secret_post`, `client_secret_basic` or `none`.
    token_auth_method: Option<String>,
}

/// A consent that a person can be sent for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OAuthConnecting {
    /// The provider's page, for the browser that made this request.
    authorization_url: String,
    /// A page for any browser, which leads to the provider's.
    start_url: String,
    /// Public id of the consent.
    consent: String,
    /// Until when a person may come back.
    expires_at: Stamp,
}

/// Prepares a consent. What works stays as it is until tokens have come back.
#[utoipa::path(post, operation_id = "oauth_connect", path = "/v1/credentials/oauth/connect", tag = "oauth", request_body = OAuthConnect,
    responses((status = 200, description = "where to send the person; sets a cookie that binds the browser", body = OAuthConnecting),
        Refusals))]
pub(crate) async fn connect(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<OAuthConnect>,
) -> Result<Response, ApiError> {
    let vault = VaultRef::from_input(body.vault.as_deref());
    let input = OAuthInput {
        authorization_url: body.authorization_url,
        token_url: body.token_url,
        client_id: body.client_id,
        client_secret: body.client_secret.map(|secret| secret.0),
        scopes: body.scopes,
        scope_separator: body.scope_separator,
        disable_pkce: body.disable_pkce,
        token_auth_method: body.token_auth_method,
    };
    let base = &state.info().base_url;
    let connecting = state
        .control()
        .oauth()
        .connect(caller.actor(), vault, &body.key, input, base)
        .await?;
    let cookie = cookie(&connecting.id, &connecting.browser, caller.client())?;
    let answer = Answer::ok(OAuthConnecting {
        authorization_url: connecting.authorization_url,
        start_url: connecting.start_url,
        consent: connecting.id,
        expires_at: Stamp(connecting.expires_at),
    });
    let mut response = answer.into_response();
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}

/// How a consent is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OAuthConsent {
    id: String,
    /// `pending`, `used`, `done` or `failed`.
    status: &'static str,
    /// Why it came to nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<ConsentProgress> for OAuthConsent {
    fn from(progress: ConsentProgress) -> Self {
        Self {
            id: progress.id,
            status: match progress.status {
                ConsentStatus::Pending => "pending",
                ConsentStatus::Used => "used",
                ConsentStatus::Done => "done",
                ConsentStatus::Failed => "failed",
            },
            error: Some(progress.error).filter(|error| !error.is_empty()),
        }
    }
}

/// How a credential's grant is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OAuthState {
    /// Whether it has a token.
    connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_at: Option<Stamp>,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    /// When the token ends, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Stamp>,
    /// The consent that was asked about, or the newest, for as long as it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    consent: Option<OAuthConsent>,
}

/// Tells how the grant of a credential is.
#[utoipa::path(get, operation_id = "oauth_status", path = "/v1/credentials/oauth/status", tag = "oauth",
    params(("key" = String, Query, description = "credential"),
        ("vault" = Option<String>, Query, description = "vault"),
        ("consent" = Option<String>, Query, description = "public id of a consent")),
    responses((status = 200, description = "state", body = OAuthState), Refusals))]
pub(crate) async fn status(
    State(state): State<ApiState>,
    caller: Caller,
    query: Query,
) -> Outcome<OAuthState> {
    let vault = VaultRef::from_input(query.get("vault"));
    let key = query.required("key")?;
    let status = state
        .control()
        .oauth()
        .status(caller.actor(), vault, key, query.get("consent"))
        .await?;
    Ok(Answer::ok(OAuthState {
        connected: status.connected,
        connected_at: status.connected_at.map(Stamp),
        last_error: status.last_error,
        expires_at: status.expires_at.map(Stamp),
        consent: status.consent.map(OAuthConsent::from),
    }))
}

/// Tokens that somebody has already, and the client that they were given to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OAuthTokens {
    vault: Option<String>,
    /// Credential that is connected.
    #[serde(default, deserialize_with = "null_is_absent")]
    key: String,
    /// `••••••••` keeps the stored one.
    #[schema(value_type = Option<String>)]
    access_token: Option<SecretField>,
    /// Used at once, to see that it works. `••••••••` keeps the stored one.
    #[schema(value_type = Option<String>)]
    refresh_token: Option<SecretField>,
    /// Where tokens come from: https. Without it nothing is refreshed.
    token_url: Option<String>,
    client_id: Option<String>,
    /// `••••••••` or left out keeps the stored one while `token_url` stays; empty is none.
    #[schema(value_type = Option<String>)]
    client_secret: Option<SecretField>,
    /// `client_secret_post`, `client_secret_basic` or `none`.
    token_auth_method: Option<String>,
    /// What a refresh asks for.
    scopes: Option<String>,
    scope_separator: Option<String>,
}

/// What an upload came to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OAuthConnected {
    connected: bool,
    connected_at: Stamp,
    /// When the token ends, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Stamp>,
    /// Whether the next token is fetched by itself.
    refreshable: bool,
}

/// Connects a credential with tokens that somebody has.
#[utoipa::path(post, operation_id = "oauth_tokens", path = "/v1/credentials/oauth/tokens", tag = "oauth", request_body = OAuthTokens,
    responses((status = 200, description = "connected", body = OAuthConnected), Refusals))]
pub(crate) async fn tokens(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<OAuthTokens>,
) -> Outcome<OAuthConnected> {
    let vault = VaultRef::from_input(body.vault.as_deref());
    let upload = OAuthUpload {
        client: OAuthInput {
            token_url: body.token_url,
            client_id: body.client_id,
            client_secret: body.client_secret.map(|secret| secret.0),
            token_auth_method: body.token_auth_method,
            scopes: body.scopes,
            scope_separator: body.scope_separator,
            ..OAuthInput::default()
        },
        access_token: body.access_token.map(|token| token.0),
        refresh_token: body.refresh_token.map(|token| token.0),
    };
    let uploaded = state
        .control()
        .oauth()
        .upload(caller.actor(), vault, &body.key, upload)
        .await?;
    Ok(Answer::ok(OAuthConnected {
        connected: true,
        connected_at: Stamp(uploaded.connected_at),
        expires_at: uploaded.expires_at.map(Stamp),
        refreshable: uploaded.refreshable,
    }))
}

/// Where a provider sends a person's browser back to. Always leads on to the page that says how it ended.
#[utoipa::path(get, operation_id = "oauth_callback", path = "/v1/oauth/callback", tag = "oauth",
    params(("state" = Option<String>, Query, description = "what we gave the provider"),
        ("code" = Option<String>, Query, description = "what tokens are had for"),
        ("error" = Option<String>, Query, description = "why there is no code"),
        ("error_description" = Option<String>, Query, description = "not looked at")),
    responses((status = 302, description = "on to `/oauth/complete`"), Refusals))]
pub(crate) async fn callback(
    State(state): State<ApiState>,
    client: Client,
    method: Method,
    headers: HeaderMap,
    query: Result<Query, Response>,
) -> Result<Response, ApiError> {
    let unreadable = || ConsentReturn {
        vault: None,
        key: None,
        consent: None,
        failure: Some("The provider's answer cannot be read; begin again".to_owned()),
    };
    // HEAD changes nothing (RFC 9110 section 9.3.2).
    let returned = match (query, method) {
        (Ok(query), Method::GET) => match query.get("state") {
            Some(token) => {
                let answer = match (query.get("error"), query.get("code")) {
                    (None, Some(code)) => {
                        ProviderAnswer::Code(SecretBytes::new(code.as_bytes().to_vec()))
                    }
                    (error, _) => ProviderAnswer::Refused(error.unwrap_or_default().to_owned()),
                };
                let oauth = state.control().oauth();
                oauth.finish(token, answer, cookies(&headers)).await?
            }
            None => unreadable(),
        },
        _ => unreadable(),
    };
    let mut to = format!(
        "{}/oauth/complete?status={}",
        state.info().base_url.trim_end_matches('/'),
        if returned.failure.is_none() {
            "success"
        } else {
            "error"
        }
    );
    for (name, value) in [
        ("vault", &returned.vault),
        ("key", &returned.key),
        ("message", &returned.failure),
    ] {
        if let Some(value) = value {
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            to.push_str(&format!("&{name}={value}"));
        }
    }
    let to = HeaderValue::try_from(to).map_err(|_| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The base URL cannot stand in a header",
        )
    })?;
    let mut response = (StatusCode::FOUND, [(LOCATION, to)]).into_response();
    let gone = returned
        .consent
        .and_then(|id| set_cookie(&id, "", 0, &client));
    if let Some(gone) = gone {
        response.headers_mut().append(SET_COOKIE, gone);
    }
    Ok(response)
}

/// The page that says how a consent ended.
pub(crate) async fn complete(query: Result<Query, Response>) -> Response {
    let query = query.unwrap_or_default();
    let (title, said) = if query.get("status") == Some("success") {
        let what = match (query.get("key"), query.get("vault")) {
            (Some(key), Some(vault)) => format!(
                "<p><code>{}</code> of the vault <code>{}</code> is connected.</p>",
                escaped(key),
                escaped(vault)
            ),
            _ => String::new(),
        };
        ("Connected", what)
    } else {
        let why = query.get("message").unwrap_or("It is not known why.");
        (
            "Connection failed",
            format!("<p role=\"alert\">{}</p>", escaped(why)),
        )
    };
    Html(page(
        title,
        &format!("{said}<p>You can close this page.</p>"),
        "",
    ))
    .into_response()
}

/// The page that asks a person before their browser is bound to a consent.
pub(crate) async fn start(State(state): State<ApiState>, query: Query) -> Response {
    let link = query.get("link").unwrap_or_default();
    match state.control().oauth().link(link).await {
        Ok(view) => Html(page(
            "Connect a credential",
            &format!(
                "<p><strong>{actor}</strong> wants to connect <code>{key}</code> of the vault <code>{vault}</code> at \
                 <strong>{provider}</strong>.</p><p>Go on only if you began this yourself, or know who did: agents of that vault \
                 will act with the account that you consent with.</p>\
                 <form method=\"post\" action=\"/oauth/start?link={link}\"><button>Go on to {provider}</button></form>",
                actor = escaped(&view.actor),
                key = escaped(&view.key),
                vault = escaped(&view.vault),
                provider = escaped(&view.provider),
                link = utf8_percent_encode(link, NON_ALPHANUMERIC),
            ),
            "",
        ))
        .into_response(),
        Err(error) => no_start(error.message()),
    }
}

/// Binds the browser and leads it on.
pub(crate) async fn go(
    State(state): State<ApiState>,
    client: Client,
    query: Query,
) -> Result<Response, ApiError> {
    let link = query.get("link").unwrap_or_default();
    let bound = match state.control().oauth().bind(link).await {
        Ok(bound) => bound,
        Err(error) => return Ok(no_start(error.message())),
    };
    // A page and no redirect: browsers hold a form's redirects to the page's own content policy.
    let url = escaped(&bound.authorization_url);
    let mut response = Html(page(
        "On to the provider",
        &format!("<p><a href=\"{url}\" rel=\"noreferrer\">Go on</a></p>"),
        &format!("<meta http-equiv=\"refresh\" content=\"0;url={url}\">"),
    ))
    .into_response();
    let cookie = cookie(&bound.id, &bound.browser, &client)?;
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}

fn no_start(why: &str) -> Response {
    (
        StatusCode::NOT_FOUND,
        Html(page(
            "This link is over",
            &format!("<p role=\"alert\">{}</p>", escaped(why)),
            "",
        )),
    )
        .into_response()
}

fn cookie(id: &str, token: &Token, client: &Client) -> Result<HeaderValue, ApiError> {
    set_cookie(id, token.expose(), COOKIE_SECONDS, client).ok_or_else(|| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The browser could not be bound",
        )
    })
}

/// `Lax`, because the browser comes back from another site.
fn set_cookie(id: &str, value: &str, seconds: u32, client: &Client) -> Option<HeaderValue> {
    let secure = if client.secure { "; Secure" } else { "" };
    let text = format!(
        "{COOKIE_PREFIX}{id}={value}; Path=/v1/oauth/callback; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}"
    );
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn cookies(headers: &HeaderMap) -> Vec<BrowserCookie> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter_map(|(name, value)| {
            Some(BrowserCookie {
                consent: name.strip_prefix(COOKIE_PREFIX)?.to_owned(),
                token: SecretBytes::new(value.as_bytes().to_vec()),
            })
        })
        .take(MAX_COOKIES)
        .collect()
}

fn page(title: &str, body: &str, head: &str) -> String {
    format!(
        r##"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">{head}
<title>{title}: Agent Vault</title>
<style>
body {{ font: 16px/1.6 system-ui, sans-serif; max-width: 30rem; margin: 3rem auto; padding: 0 1rem; }}
code {{ font: 0.9em ui-monospace, monospace; background: #8881; border-radius: 4px; padding: 0.1em 0.3em; }}
button {{ font: inherit; padding: 0.3em 1em; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"##
    )
}

/// Text of others as text of a page, cut to what fits one.
fn escaped(text: &str) -> String {
    let most = if text.starts_with("https://") || text.starts_with("http://") {
        usize::MAX
    } else {
        MAX_SHOWN_CHARS
    };
    let mut safe = String::with_capacity(text.len());
    for c in text.chars().take(most) {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_text() {
        assert_eq!(
            escaped("<a href='x'>\"&"),
            "&lt;a href=&#39;x&#39;&gt;&quot;&amp;"
        );
        assert_eq!(escaped(&"x".repeat(1000)).len(), MAX_SHOWN_CHARS);
    }

    #[test]
    fn cookies_of_consents_are_found_among_others() {
        let mut headers = HeaderMap::new();
        let text = "av_session=x; av_oauth_0a=one; other=y; av_oauth_0b=two";
        headers.insert(COOKIE, HeaderValue::from_static(text));
        let found: Vec<(String, Vec<u8>)> = cookies(&headers)
            .into_iter()
            .map(|cookie| (cookie.consent, cookie.token.expose().to_vec()))
            .collect();
        assert_eq!(
            found,
            [
                ("0a".to_owned(), b"one".to_vec()),
                ("0b".to_owned(), b"two".to_vec())
            ]
        );
    }
}
