//! What is said to an OAuth token endpoint, and what it answers (RFC 6749 sections 3.2, 4.1.3 and 6). No sockets here: whoever
//! keeps rows asks through [`TokenEndpoint`], and whoever may dial answers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use agent_vault_seal::SecretBytes;
use url::Url;
use uuid::Uuid;

/// Longest URL of a provider, in bytes.
pub const MAX_OAUTH_URL_BYTES: usize = 2048;

/// The URL of an endpoint of a provider: https with a host, no user, no fragment. A development instance also takes http.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthUrl(Url);

impl OAuthUrl {
    /// Parses what somebody configured.
    ///
    /// # Errors
    /// [`OAuthUrlError`], which says what is wrong with it.
    pub fn parse(text: &str, dev_mode: bool) -> Result<Self, OAuthUrlError> {
        if text.len() > MAX_OAUTH_URL_BYTES {
            return Err(OAuthUrlError::TooLong);
        }
        let url = Url::parse(text).map_err(|_| OAuthUrlError::Malformed)?;
        match url.scheme() {
            "https" => {}
            "http" if dev_mode => {}
            "http" => return Err(OAuthUrlError::InClear),
            _ => return Err(OAuthUrlError::Malformed),
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(OAuthUrlError::Malformed);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OAuthUrlError::User);
        }
        if url.fragment().is_some() {
            return Err(OAuthUrlError::Fragment);
        }
        Ok(Self(url))
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// As text, in its one spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// What is wrong with a provider's URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OAuthUrlError {
    /// No URL, or without a host.
    #[error("must be an https URL with a host")]
    Malformed,
    /// `http://`.
    #[error("must be https: tokens do not travel in clear")]
    InClear,
    /// `user:password@`.
    #[error("must not name a user")]
    User,
    /// `#…`.
    #[error("must not have a fragment")]
    Fragment,
    /// Longer than anybody's.
    #[error("must have at most {MAX_OAUTH_URL_BYTES} bytes")]
    TooLong,
}

/// How a client shows who it is (RFC 6749 section 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// Id and secret in the form.
    Post,
    /// Id and secret in an `Authorization` header, the id in the form too.
    Basic,
}

/// What a token is asked for with.
pub enum TokenGrant {
    /// A code that a person's consent gave.
    Code {
        /// It.
        code: SecretBytes,
        /// Where it was sent to.
        redirect_uri: String,
        /// The PKCE verifier (RFC 7636), where one was announced.
        verifier: Option<SecretBytes>,
    },
    /// A refresh token.
    Refresh {
        /// It.
        token: SecretBytes,
        /// Scopes with spaces between, where any are configured.
        scope: Option<String>,
    },
}

/// One question to a token endpoint.
pub struct TokenCall {
    /// Whose traffic it is.
    pub vault: Uuid,
    /// The endpoint.
    pub url: OAuthUrl,
    /// Who we are to the provider.
    pub client_id: String,
    /// What only we know, if anything.
    pub client_secret: Option<SecretBytes>,
    /// How we show it.
    pub client_auth: ClientAuth,
    /// What for.
    pub grant: TokenGrant,
}

impl fmt::Debug for TokenCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCall")
            .field("vault", &self.vault)
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}

/// What a token endpoint gave. The access token is never empty.
#[derive(Debug)]
pub struct Tokens {
    /// Opens the API.
    pub access: SecretBytes,
    /// Gets the next one, in the place of the one that was used.
    pub refresh: Option<SecretBytes>,
    /// Life of the access token in seconds, where the provider says.
    pub expires_in: Option<u32>,
}

/// Why there is no token. Never in the provider's own words: a token may be among them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TokenFault {
    /// Asking again with the same will not help: a person has to do something.
    pub permanent: bool,
    /// What happened, in our words.
    pub message: String,
}

impl TokenFault {
    /// One that a person has to mend.
    #[must_use]
    pub fn permanent(message: impl Into<String>) -> Self {
        Self {
            permanent: true,
            message: message.into(),
        }
    }

    /// One that may be gone the next time.
    #[must_use]
    pub fn passing(message: impl Into<String>) -> Self {
        Self {
            permanent: false,
            message: message.into(),
        }
    }
}

/// An answer on its way.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<Tokens, TokenFault>> + Send + 'a>>;

/// What asks token endpoints. Bounded in time and size by itself.
pub trait TokenEndpoint: Send + Sync {
    /// Asks once.
    fn ask(&self, call: TokenCall) -> Asking<'_>;
}

/// Error codes that may be named: RFC 6749 sections 4.1.2.1 and 5.2, and those of large providers.
const KNOWN_CODES: &[&str] = &[
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_response_type",
    "invalid_scope",
    "access_denied",
    "server_error",
    "temporarily_unavailable",
    "interaction_required",
    "login_required",
    "consent_required",
    "bad_verification_code",
    "bad_refresh_token",
    "incorrect_client_credentials",
    "redirect_uri_mismatch",
    "invalid_code",
    "bad_client_secret",
    "invalid_client_id",
    "bad_redirect_uri",
    "invalid_refresh_token",
    "token_expired",
    "token_revoked",
    "slow_down",
];

/// The code as one of those that may be named.
#[must_use]
pub fn known_oauth_code(code: &str) -> Option<&'static str> {
    KNOWN_CODES.iter().find(|known| **known == code).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_https_with_a_host() {
        for good in ["https://a.io/token", "https://a.io:8443/x?y=1"] {
            OAuthUrl::parse(good, false).unwrap();
        }
        for (bad, why) in [
            ("manual", OAuthUrlError::Malformed),
            ("ftp://a.io/", OAuthUrlError::Malformed),
            ("https://", OAuthUrlError::Malformed),
            ("http://a.io/token", OAuthUrlError::InClear),
            ("https://u:p@a.io/", OAuthUrlError::User),
            ("https://a.io/#x", OAuthUrlError::Fragment),
        ] {
            assert_eq!(OAuthUrl::parse(bad, false), Err(why), "{bad}");
        }
        OAuthUrl::parse("http://127.0.0.1:1/t", true).unwrap();
        let long = format!("https://a.io/{}", "x".repeat(MAX_OAUTH_URL_BYTES));
        assert_eq!(OAuthUrl::parse(&long, true), Err(OAuthUrlError::TooLong));
    }
}
