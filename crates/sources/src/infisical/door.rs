//! One question to Infisical and its answer: guarded, bounded in time and size, nothing followed.

use std::sync::Arc;
use std::time::Duration;

use agent_vault_broker::{StoreFailure, StoreFault};
use agent_vault_policy::{Authority, Scheme};
use agent_vault_seal::SecretBytes;
use agent_vault_upstream::{Body, Route, Upstream, UpstreamErrorKind};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use serde::Serialize;
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Whose traffic it is: that of no vault, so that it shares no connection with any.
const OWN_TRAFFIC: Uuid = Uuid::from_u128(0x1f15_1ca1_0000_4000_8000_0000_0000_0001);

/// Where an Infisical is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InfisicalUrl(Url);

/// What is wrong with the address of an Infisical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InfisicalUrlError {
    /// No URL, no host, or a host that cannot be sent.
    #[error("must be `https://host` or `http://host`, with a port if it has one")]
    Malformed,
    /// `user:password@`, a query or a fragment.
    #[error("must have no user, query or fragment")]
    Parts,
}

impl InfisicalUrl {
    /// Parses what an operator configured. A path is what stands before `/api`.
    ///
    /// # Errors
    /// [`InfisicalUrlError`].
    pub fn parse(text: &str) -> Result<Self, InfisicalUrlError> {
        let url = Url::parse(text.trim()).map_err(|_| InfisicalUrlError::Malformed)?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(InfisicalUrlError::Malformed);
        }
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() || url.fragment().is_some() {
            return Err(InfisicalUrlError::Parts);
        }
        Ok(Self(url))
    }

    /// As text; it holds no secret.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether the login and every secret would travel in clear.
    #[must_use]
    pub fn is_in_clear(&self) -> bool {
        self.0.scheme() == "http"
    }
}

/// The way to one Infisical.
pub(super) struct Door {
    upstream: Arc<Upstream>,
    route: Arc<Route>,
    /// Stands before every target.
    prefix: String,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door")
            .field("host", &self.route.authority().to_string())
            .finish_non_exhaustive()
    }
}

/// What is asked.
pub(super) struct Question<'q> {
    /// What it is about, for errors.
    pub(super) what: &'q str,
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    /// JSON.
    pub(super) body: Option<Zeroizing<Vec<u8>>>,
    /// Longest from the dial to the last byte.
    pub(super) time: Duration,
    /// Largest answer in bytes.
    pub(super) most: usize,
}

/// A good answer's body.
pub(super) struct Answer(Bytes);

impl Answer {
    pub(super) fn read<T: serde::de::DeserializeOwned>(
        &self,
        question: &Question<'_>,
    ) -> Result<T, StoreFailure> {
        // serde's text may quote a value.
        serde_json::from_slice(&self.0).map_err(|_| {
            unreachable(format!(
                "Infisical's answer to {} cannot be read",
                question.what
            ))
        })
    }
}

/// A body as it is sent.
pub(super) fn json(value: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, StoreFailure> {
    serde_json::to_vec(value)
        .map(Zeroizing::new)
        .map_err(|_| unreachable("a question to Infisical cannot be written"))
}

impl Door {
    pub(super) fn new(
        upstream: Arc<Upstream>,
        url: &InfisicalUrl,
    ) -> Result<Self, InfisicalUrlError> {
        let url = &url.0;
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            _ => Scheme::Http,
        };
        let host = url.host_str().ok_or(InfisicalUrlError::Malformed)?;
        let port = url
            .port_or_known_default()
            .ok_or(InfisicalUrlError::Malformed)?;
        let authority = Authority::parse(&format!("{host}:{port}"))
            .map_err(|_| InfisicalUrlError::Malformed)?;
        let route =
            Route::new(OWN_TRAFFIC, scheme, authority).map_err(|_| InfisicalUrlError::Malformed)?;
        let path = url.path().trim_end_matches('/');
        Ok(Self {
            upstream,
            route: Arc::new(route),
            prefix: path.strip_suffix("/api").unwrap_or(path).to_owned(),
        })
    }

    /// Asks once.
    pub(super) async fn ask(
        &self,
        question: &Question<'_>,
        token: Option<&SecretBytes>,
    ) -> Result<Answer, StoreFailure> {
        match tokio::time::timeout(question.time, self.exchange(question, token)).await {
            Ok(answered) => answered,
            Err(_) => Err(unreachable(format!(
                "Infisical did not answer to {} within {} s",
                question.what,
                question.time.as_secs()
            ))),
        }
    }

    async fn exchange(
        &self,
        question: &Question<'_>,
        token: Option<&SecretBytes>,
    ) -> Result<Answer, StoreFailure> {
        let request = self.request(question, token)?;
        let answer = self
            .upstream
            .send(&self.route, request, &())
            .await
            .map_err(|error| match error.kind() {
                UpstreamErrorKind::Blocked => StoreFailure::new(
                    StoreFault::Unreachable,
                    "INFISICAL_URL leads into a private network; allow it with AGENT_VAULT_NETWORK_ALLOWLIST",
                ),
                _ => unreachable(format!("Infisical cannot be reached: {error}")),
            })?;
        let (parts, body) = answer.response.into_parts();
        if let Some(failure) = refusal(parts.status, question.what) {
            // Its words are not read; the connection ends with what is left of them.
            return Err(failure);
        }
        let body = Limited::new(body, question.most)
            .collect()
            .await
            .map_err(|_| {
                unreachable(format!(
                    "Infisical's answer to {} broke off or is larger than {} bytes",
                    question.what, question.most
                ))
            })?;
        answer.lease.finish();
        Ok(Answer(body.to_bytes()))
    }

    fn request(
        &self,
        question: &Question<'_>,
        token: Option<&SecretBytes>,
    ) -> Result<Request<Body>, StoreFailure> {
        let unfit = || unreachable("a question to Infisical cannot be sent");
        let mut request = Request::builder()
            .method(question.method.clone())
            .uri(format!("{}{}", self.prefix, question.target))
            .header(ACCEPT, "application/json")
            .header(
                USER_AGENT,
                concat!("agent-vault/", env!("CARGO_PKG_VERSION")),
            );
        if let Some(token) = token {
            let text = Zeroizing::new([b"Bearer ", token.expose()].concat());
            let mut value = HeaderValue::from_bytes(&text).map_err(|_| unfit())?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let body = match &question.body {
            None => Bytes::new(),
            Some(body) => {
                request = request
                    .header(CONTENT_TYPE, "application/json")
                    .header(CONTENT_LENGTH, body.len());
                Bytes::from(body.to_vec())
            }
        };
        let body = Full::new(body)
            .map_err(|never| match never {})
            .boxed_unsync();
        request.body(body).map_err(|_| unfit())
    }
}

fn refusal(status: StatusCode, what: &str) -> Option<StoreFailure> {
    if status.is_success() {
        return None;
    }
    let code = status.as_u16();
    Some(match code {
        401 => StoreFailure::new(
            StoreFault::Login,
            format!("Infisical does not know who asks for {what} (401)"),
        ),
        404 => StoreFailure::new(
            StoreFault::Absent,
            format!("Infisical has not got {what} (404)"),
        ),
        429 => unreachable(format!("Infisical was asked too often for {what} (429)")),
        300..=399 => unreachable(format!(
            "Infisical answers to {what} with a redirect ({code}), which is not followed; correct INFISICAL_URL"
        )),
        400..=499 => StoreFailure::new(
            StoreFault::Refused,
            format!("Infisical refuses {what} ({code})"),
        ),
        _ => unreachable(format!("Infisical fails at {what} ({code})")),
    })
}

pub(super) fn unreachable(message: impl Into<String>) -> StoreFailure {
    StoreFailure::new(StoreFault::Unreachable, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in [
            "https://app.infisical.com",
            "http://10.0.0.1:8080/",
            "https://a.io/infisical/api",
            " https://a.io ",
        ] {
            InfisicalUrl::parse(good).unwrap();
        }
        for (bad, why) in [
            ("app.infisical.com", InfisicalUrlError::Malformed),
            ("ftp://a.io", InfisicalUrlError::Malformed),
            ("https://u:p@a.io", InfisicalUrlError::Parts),
            ("https://a.io/?x=1", InfisicalUrlError::Parts),
            ("https://a.io/#x", InfisicalUrlError::Parts),
        ] {
            assert_eq!(InfisicalUrl::parse(bad), Err(why), "{bad}");
        }
        assert!(InfisicalUrl::parse("http://a.io").unwrap().is_in_clear());
    }

    #[test]
    fn refusals_say_whose_fault() {
        let fault = |code| refusal(StatusCode::from_u16(code).unwrap(), "x").map(|f| f.fault);
        assert_eq!(fault(200), None);
        assert_eq!(fault(401), Some(StoreFault::Login));
        assert_eq!(fault(403), Some(StoreFault::Refused));
        assert_eq!(fault(404), Some(StoreFault::Absent));
        assert_eq!(fault(302), Some(StoreFault::Unreachable));
        assert_eq!(fault(429), Some(StoreFault::Unreachable));
        assert_eq!(fault(500), Some(StoreFault::Unreachable));
    }
}
