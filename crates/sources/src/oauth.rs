//! OAuth token endpoints (RFC 6749): one form sent, one answer read, nothing followed.
//!
//! The endpoint is as foreign as any upstream. Its answer is bounded in size and time, redirects are refused (they would carry the
//! secrets of the form elsewhere), and nothing that it says goes into an error: only codes that RFC 6749 and a few large providers
//! define are named.

use std::sync::Arc;
use std::time::Duration;

use agent_vault_broker::{
    Asking, ClientAuth, TokenCall, TokenEndpoint, TokenFault, TokenGrant, Tokens, known_oauth_code,
};
use agent_vault_policy::{Authority, Scheme};
use agent_vault_seal::SecretBytes;
use agent_vault_upstream::{Body, Route, Upstream};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use serde::Deserialize;
use url::form_urlencoded;
use zeroize::Zeroizing;

/// How long a token endpoint may take from the dial to the last byte.
pub const TOKEN_DEADLINE: Duration = Duration::from_secs(30);
/// Largest answer in bytes; tokens of the largest providers take a few thousand.
pub const MAX_TOKEN_ANSWER_BYTES: usize = 64 * 1024;
/// Largest token in bytes. It has to fit in a header.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Longest life of a token that is believed, in seconds: ten years.
const MAX_LIFE_SECONDS: u32 = 10 * 365 * 24 * 3600;

/// Asks token endpoints over guarded connections.
#[derive(Debug)]
pub struct TokenClient {
    upstream: Arc<Upstream>,
}

impl TokenClient {
    /// One that goes out by `upstream`.
    #[must_use]
    pub fn new(upstream: Arc<Upstream>) -> Self {
        Self { upstream }
    }

    async fn call(&self, call: TokenCall) -> Result<Tokens, TokenFault> {
        let (route, request) = request(&call)?;
        let answer = self
            .upstream
            .send(&Arc::new(route), request, &())
            .await
            .map_err(|error| {
                // Its text names what was configured, and nothing that the provider said.
                TokenFault::passing(format!("the token endpoint cannot be reached: {error}"))
            })?;
        let (parts, body) = answer.response.into_parts();
        if parts.status.is_redirection() {
            return Err(TokenFault::permanent(
                "the token endpoint answers with a redirect, which is not followed; correct its URL",
            ));
        }
        let body = Limited::new(body, MAX_TOKEN_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|_| {
                TokenFault::passing(format!(
                    "the token endpoint's answer broke off or is larger than {MAX_TOKEN_ANSWER_BYTES} bytes"
                ))
            })?;
        answer.lease.finish();
        read(parts.status, &parts.headers, &body.to_bytes())
    }
}

impl TokenEndpoint for TokenClient {
    fn ask(&self, call: TokenCall) -> Asking<'_> {
        Box::pin(async move {
            match tokio::time::timeout(TOKEN_DEADLINE, self.call(call)).await {
                Ok(answered) => answered,
                Err(_) => Err(TokenFault::passing(format!(
                    "the token endpoint did not answer within {} seconds",
                    TOKEN_DEADLINE.as_secs()
                ))),
            }
        })
    }
}

fn request(call: &TokenCall) -> Result<(Route, Request<Body>), TokenFault> {
    let unfit = || TokenFault::permanent("the token URL cannot be used; correct it");
    let url = call.url.url();
    let scheme = match url.scheme() {
        "https" => Scheme::Https,
        _ => Scheme::Http,
    };
    let port = url.port_or_known_default().ok_or_else(unfit)?;
    let host = url.host_str().ok_or_else(unfit)?;
    let authority = Authority::parse(&format!("{host}:{port}")).map_err(|_| unfit())?;
    let route = Route::new(call.vault, scheme, authority).map_err(|_| unfit())?;
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let form = form(call);
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(target)
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(
            USER_AGENT,
            concat!("agent-vault/", env!("CARGO_PKG_VERSION")),
        )
        .header(CONTENT_LENGTH, form.len());
    if let Some(value) = authorization(call)? {
        request = request.header(AUTHORIZATION, value);
    }
    let body = Full::new(Bytes::from(form.as_bytes().to_vec()))
        .map_err(|never| match never {})
        .boxed_unsync();
    let request = request.body(body).map_err(|_| unfit())?;
    Ok((route, request))
}

fn form(call: &TokenCall) -> Zeroizing<String> {
    let text = |secret: &SecretBytes| {
        Zeroizing::new(String::from_utf8_lossy(secret.expose()).into_owned())
    };
    let mut form = form_urlencoded::Serializer::new(String::new());
    match &call.grant {
        TokenGrant::Code {
            code,
            redirect_uri,
            verifier,
        } => {
            form.append_pair("grant_type", "authorization_code");
            form.append_pair("code", &text(code));
            form.append_pair("redirect_uri", redirect_uri);
            if let Some(verifier) = verifier {
                form.append_pair("code_verifier", &text(verifier));
            }
        }
        TokenGrant::Refresh { token, scope } => {
            form.append_pair("grant_type", "refresh_token");
            form.append_pair("refresh_token", &text(token));
            if let Some(scope) = scope {
                form.append_pair("scope", scope);
            }
        }
    }
    form.append_pair("client_id", &call.client_id);
    if call.client_auth == ClientAuth::Post
        && let Some(secret) = &call.client_secret
    {
        form.append_pair("client_secret", &text(secret));
    }
    Zeroizing::new(form.finish())
}

/// Id and secret, each encoded as in a form before they are joined (RFC 6749 section 2.3.1).
fn authorization(call: &TokenCall) -> Result<Option<HeaderValue>, TokenFault> {
    if call.client_auth != ClientAuth::Basic {
        return Ok(None);
    }
    let encoded = |bytes: &[u8]| form_urlencoded::byte_serialize(bytes).collect::<String>();
    let secret = call
        .client_secret
        .as_ref()
        .map_or(&[][..], SecretBytes::expose);
    let pair = Zeroizing::new(format!(
        "{}:{}",
        encoded(call.client_id.as_bytes()),
        encoded(secret)
    ));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
        .map_err(|_| TokenFault::permanent("the client id and secret cannot be sent"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// What matters of an answer; the rest is skipped.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
    #[serde(default)]
    error: Option<serde_json::Value>,
    /// `false` beside an error, at one provider.
    #[serde(default)]
    ok: Option<bool>,
}

fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<Tokens, TokenFault> {
    let answer = if is_form(headers) {
        Some(from_form(body))
    } else {
        serde_json::from_slice::<Answer>(body).ok()
    };
    let code = answer.as_ref().and_then(|answer| match &answer.error {
        Some(serde_json::Value::String(code)) => Some(known_oauth_code(code)),
        Some(serde_json::Value::Null) | None => None,
        Some(_) => Some(None),
    });
    if !status.is_success() {
        return Err(refused(status, code.flatten()));
    }
    let Some(answer) = answer else {
        return Err(TokenFault::passing(
            "the token endpoint's answer is no JSON object",
        ));
    };
    if code.is_some() || answer.ok == Some(false) {
        // Some providers report errors with status 200.
        return Err(refused(status, code.flatten()));
    }
    let Some(access) = answer.access_token.filter(|token| !token.is_empty()) else {
        return Err(TokenFault::passing(
            "the token endpoint's answer has no access token",
        ));
    };
    Ok(Tokens {
        access: checked(access)?,
        refresh: answer
            .refresh_token
            .filter(|token| !token.is_empty())
            .map(checked)
            .transpose()?,
        expires_in: answer.expires_in.as_ref().and_then(seconds),
    })
}

fn refused(status: StatusCode, code: Option<&'static str>) -> TokenFault {
    let said = match code {
        Some(code) => format!("the provider refused: {code}"),
        None => format!("the provider refused with status {}", status.as_u16()),
    };
    let passing = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
        )
        || matches!(
            code,
            Some("server_error" | "temporarily_unavailable" | "slow_down")
        );
    if passing {
        TokenFault::passing(said)
    } else {
        TokenFault::permanent(said)
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| {
            kind.trim()
                .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        })
}

fn from_form(body: &[u8]) -> Answer {
    let mut answer = Answer {
        access_token: None,
        refresh_token: None,
        expires_in: None,
        error: None,
        ok: None,
    };
    for (name, value) in form_urlencoded::parse(body) {
        match &*name {
            "access_token" => answer.access_token = Some(value.into_owned()),
            "refresh_token" => answer.refresh_token = Some(value.into_owned()),
            "expires_in" => answer.expires_in = Some(value.into_owned().into()),
            "error" => answer.error = Some(value.into_owned().into()),
            _ => {}
        }
    }
    answer
}

/// A life in whole seconds: a number, as RFC 6749 has it, or a string of digits. Nothing for what is no life.
fn seconds(value: &serde_json::Value) -> Option<u32> {
    let number = match value {
        serde_json::Value::Number(number) => number.as_f64()?,
        serde_json::Value::String(text) => text.trim().parse::<f64>().ok()?,
        _ => return None,
    };
    if !number.is_finite() || number < 1.0 {
        return None;
    }
    let most = f64::from(MAX_LIFE_SECONDS);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and ten years in seconds"
    )]
    let whole = number.min(most) as u32;
    Some(whole)
}

/// A token that can stand in a header.
fn checked(token: String) -> Result<SecretBytes, TokenFault> {
    let fits =
        token.len() <= MAX_TOKEN_BYTES && token.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let token = SecretBytes::from(token);
    if fits {
        Ok(token)
    } else {
        Err(TokenFault::passing(
            "the token endpoint's answer holds a token that cannot be sent",
        ))
    }
}

#[cfg(test)]
mod tests;
