//! The only place where an error becomes a response.
//!
//! Each refusal says what happened, whose fault it is and what to do next, and carries the marker header
//! `X-Agent-Vault-Proxy-Error: true`. The marker is removed from whatever an upstream sends, so it cannot be forged.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use agent_vault_broker::{AuthRefusal, BudgetRefusal, GrantError, LimitRefusal};
use agent_vault_policy::{CredentialKey, Denial, SubstitutionError};
use agent_vault_upstream::{CertificateFault, UpstreamError, UpstreamErrorKind};
use bytes::Bytes;
use http::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, PROXY_AUTHENTICATE, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::limits::{MAX_HEAD_BYTES, MAX_HEADERS};
use crate::relay::ResponseBody;
use crate::scrub::EncodingError;

/// Marks a response as ours.
pub(crate) const MARKER: HeaderName = HeaderName::from_static("x-agent-vault-proxy-error");
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The request is malformed or unauthorised.
    Agent,
    /// A rule, setting or credential of the vault stands in the way.
    Policy,
    /// The other side failed.
    Upstream,
    /// We did.
    Us,
}

impl Fault {
    /// The word that a response gives.
    fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Policy => "policy",
            Self::Upstream => "upstream",
            Self::Us => "agent-vault",
        }
    }
}

/// A request that gets our answer instead of an upstream's.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// Machine word in the body.
    pub(crate) error: &'static str,
    /// Machine word in the log.
    pub(crate) code: &'static str,
    pub(crate) fault: Fault,
    pub(crate) message: String,
    pub(crate) hint: String,
    extra: Extra,
}

#[derive(Debug, Default)]
struct Extra {
    authenticate: bool,
    proposal_host: Option<String>,
    retry_after: Option<Duration>,
    limit: Option<u32>,
    allow: Option<&'static str>,
    /// Where the next message begins is anybody's guess, so there is none.
    closes: bool,
}

impl Refusal {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        fault: Fault,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            status,
            error: code,
            code,
            fault,
            message: message.into(),
            hint: hint.into(),
            extra: Extra::default(),
        }
    }

    pub(crate) fn bad_request(code: &'static str, message: impl Into<String>, hint: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, Fault::Agent, message, hint)
    }

    /// A message over HTTP/1.1 whose end two readers would see in different places: the connection ends with the answer.
    pub(crate) fn bad_framing(message: &str, hint: &str) -> Self {
        let mut refusal = Self::bad_request("bad_framing", message, hint);
        refusal.extra.closes = true;
        refusal
    }

    /// No usable `Proxy-Authorization` (RFC 9110 section 11.7).
    pub(crate) fn credentials_required() -> Self {
        let mut refusal = Self::new(
            StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            "proxy_auth_required",
            Fault::Agent,
            "this proxy needs an Agent Vault token",
            "put the token in the proxy URL: http://TOKEN:VAULT@host:port",
        );
        refusal.extra.authenticate = true;
        refusal
    }

    pub(crate) fn unauthenticated(refusal: &AuthRefusal) -> Self {
        match refusal {
            AuthRefusal::Invalid => {
                let mut made = Self::new(
                    StatusCode::PROXY_AUTHENTICATION_REQUIRED,
                    "proxy_auth_invalid",
                    Fault::Agent,
                    refusal.to_string(),
                    "get a new one: `agent-vault vault token`, or `agent-vault agent rotate NAME`",
                );
                made.extra.authenticate = true;
                made
            }
            AuthRefusal::Ambiguous { vaults } => Self::bad_request(
                "vault_ambiguous",
                refusal.to_string(),
                &format!(
                    "name one in the password field of the proxy URL, http://TOKEN:VAULT@host:port; this agent may use: {}",
                    vaults.join(", ")
                ),
            ),
            AuthRefusal::NoVault => Self::bad_request(
                "vault_required",
                refusal.to_string(),
                "use an agent token or `agent-vault vault token`, and name the vault in the password field of the proxy URL",
            ),
            AuthRefusal::Denied | AuthRefusal::Mismatch => Self::new(
                StatusCode::FORBIDDEN,
                "vault_denied",
                Fault::Agent,
                refusal.to_string(),
                "check the vault name in the password field of the proxy URL, or grant the agent that vault",
            ),
        }
    }

    pub(crate) fn too_many_failures(retry_after: Duration, limit: u32) -> Self {
        let mut refusal = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            Fault::Agent,
            "too many failed authentications from this address",
            "wait, then retry with a valid token",
        );
        refusal.extra.retry_after = Some(retry_after);
        refusal.extra.limit = Some(limit);
        refusal
    }

    pub(crate) fn limited(refusal: LimitRefusal) -> Self {
        let (code, message, retry_after, limit) = match refusal {
            LimitRefusal::Rate { limit, retry_after } => (
                "rate_limit_scope",
                "this token sends requests faster than it may",
                retry_after,
                limit,
            ),
            LimitRefusal::Concurrency { limit } => (
                "concurrency_scope",
                "this token has as many requests in flight as it may",
                Duration::from_secs(1),
                limit,
            ),
        };
        let mut made = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            code,
            Fault::Agent,
            message,
            "slow down, or raise AGENT_VAULT_RATELIMIT_PROXY_RATE, _BURST or _CONCURRENCY on the server",
        );
        made.error = "too_many_requests";
        made.extra.retry_after = Some(retry_after);
        made.extra.limit = Some(limit);
        made
    }

    pub(crate) fn too_many_tunnels() -> Self {
        let mut refusal = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "tunnels_scope",
            Fault::Agent,
            "this token has as many tunnels open as it may",
            "close some, or reuse them",
        );
        refusal.error = "too_many_requests";
        refusal.extra.retry_after = Some(Duration::from_secs(1));
        refusal
    }

    /// A token from where it may not be used.
    pub(crate) fn outside_sources(peer: IpAddr) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "token_source",
            Fault::Agent,
            format!("this token may not be used from {}", peer.to_canonical()),
            "use it from the networks that it was minted for, or have one minted for this one: `agent-vault vault token --source NETWORK`",
        )
    }

    /// A service that the token may not use.
    pub(crate) fn withheld(service: &str, vault: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "service_not_in_token",
            Fault::Policy,
            format!("this token may not use the service \"{service}\" of vault \"{vault}\""),
            format!(
                "see which it may at GET /discover; for others have one minted: `agent-vault vault token --vault {vault} --services {service}`"
            ),
        )
    }

    /// A request that is not among those that the token has, or that could not be counted.
    pub(crate) fn over_budget(refusal: BudgetRefusal) -> Self {
        match refusal {
            // Waiting helps nobody, so it is none of those that clients repeat.
            BudgetRefusal::Spent { limit } => Self::new(
                StatusCode::FORBIDDEN,
                "budget_spent",
                Fault::Policy,
                format!("this token has made all of its {limit} requests"),
                "have another one minted: `agent-vault vault token --budget N`",
            ),
            BudgetRefusal::Unwritten => {
                let mut made = Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "budget_unwritten",
                    Fault::Us,
                    "this token's requests are counted, and the count cannot be written",
                    "try again; if it lasts, the server's log says why its database cannot be written",
                );
                made.extra.retry_after = Some(Duration::from_secs(1));
                made
            }
        }
    }

    pub(crate) fn denied(denial: &Denial, target: &str, vault: &str) -> Self {
        match denial {
            Denial::NoMatch { host } => {
                let mut made = Self::new(
                    StatusCode::FORBIDDEN,
                    "no_match",
                    Fault::Policy,
                    format!(
                        "no service of vault \"{vault}\" matches {host}, and the vault denies what no service matches"
                    ),
                    format!(
                        "add one: `agent-vault vault service add --vault {vault} --host {host} …`, or let such hosts pass: `agent-vault vault settings --unmatched-host-policy passthrough`"
                    ),
                );
                made.error = "forbidden";
                made.extra.proposal_host = Some(host.clone());
                made
            }
            other => {
                let status = match other {
                    Denial::AmbiguousPath { .. } => StatusCode::BAD_REQUEST,
                    Denial::AmbiguousAccount { .. } => StatusCode::CONFLICT,
                    _ => StatusCode::FORBIDDEN,
                };
                Self::new(
                    status,
                    other.code(),
                    Fault::Policy,
                    format!("{other} ({target}, vault \"{vault}\")"),
                    other.hint(),
                )
            }
        }
    }

    pub(crate) fn broken_rules(vault: &str) -> Self {
        let mut made = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "rules_unreadable",
            Fault::Us,
            format!("the services of vault \"{vault}\" cannot be read, so nothing goes out"),
            "store them again: `agent-vault vault service set -f FILE`",
        );
        made.error = "internal";
        made
    }

    pub(crate) fn ungranted(error: &GrantError, service: &str, vault: &str) -> Self {
        match error {
            GrantError::Missing { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                "credential_not_found",
                Fault::Policy,
                format!(
                    "service \"{service}\" names a credential that vault \"{vault}\" does not hold"
                ),
                format!(
                    "see which: `agent-vault vault service list --vault {vault}`; then `agent-vault vault credential set --vault {vault} KEY`"
                ),
            ),
            GrantError::Unreadable { .. } => {
                let mut made = Self::new(
                    StatusCode::BAD_GATEWAY,
                    "credential_unreadable",
                    Fault::Us,
                    format!("a credential of service \"{service}\" cannot be opened"),
                    format!(
                        "store it again: `agent-vault vault credential set --vault {vault} KEY`"
                    ),
                );
                made.error = "credential_not_found";
                made
            }
            GrantError::NotConnected { key } => Self::new(
                StatusCode::BAD_GATEWAY,
                "oauth_not_connected",
                Fault::Policy,
                format!(
                    "a credential of service \"{service}\" is not connected to its provider yet"
                ),
                format!(
                    "a person connects it: `agent-vault vault credential oauth connect {key} --vault {vault}`; trying again before that does not help"
                ),
            ),
            GrantError::Ended { order } => Self::not_renewed(&order.key, service, vault),
            GrantError::NotRenewed { key } => Self::not_renewed(key, service, vault),
            GrantError::Substitution(error) => Self::substitution(error),
        }
    }

    /// An access token has ended and the provider gave no new one.
    fn not_renewed(key: &CredentialKey, service: &str, vault: &str) -> Self {
        Self::new(
            StatusCode::BAD_GATEWAY,
            "oauth_refresh_failed",
            Fault::Upstream,
            format!(
                "the access token of service \"{service}\" has ended and its provider gave no new one"
            ),
            format!(
                "see why: `agent-vault vault credential oauth status {key} --vault {vault}`; a person may have to connect it again"
            ),
        )
    }

    pub(crate) fn substitution(error: &SubstitutionError) -> Self {
        Self::new(
            StatusCode::BAD_GATEWAY,
            "substitution_error",
            Fault::Policy,
            error.to_string(),
            "store a value that fits where the service puts it, or change the service",
        )
    }

    pub(crate) fn upstream(error: &UpstreamError, target: &str) -> Self {
        let hint = error.hint().unwrap_or_else(|| match error.kind() {
            UpstreamErrorKind::Blocked => {
                "the network guard refuses this address; the operator may allow it with AGENT_VAULT_NETWORK_ALLOWLIST"
            }
            UpstreamErrorKind::Resolve => "check the host name",
            _ => "the upstream may be down; try again",
        });
        let mut made = Self::new(
            StatusCode::BAD_GATEWAY,
            "upstream_error",
            Fault::Upstream,
            format!("{target}: {error}"),
            hint,
        );
        // Clients get one word; whoever reads the log needs to know what to mend.
        made.code = match error.kind() {
            UpstreamErrorKind::Blocked => "upstream_blocked",
            UpstreamErrorKind::Tls => tls_code(error.certificate()),
            UpstreamErrorKind::Resolve => "upstream_unresolved",
            _ => "upstream_error",
        };
        made
    }

    pub(crate) fn request_too_large(cap: u64) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_too_large",
            Fault::Agent,
            format!("the request body is larger than {cap} bytes"),
            "send less, or raise --max-request-bytes on the server; a service that substitutes in bodies holds them in memory",
        )
    }

    /// The client's body was malformed or broke off.
    pub(crate) fn unreadable_body() -> Self {
        Self::bad_request(
            "request_read_error",
            "the request body could not be read to its end",
            "send it again, well-formed",
        )
    }

    /// The client stopped sending its body.
    pub(crate) fn stalled_body() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_read_error",
            Fault::Agent,
            "the request body stopped coming",
            "send it again",
        )
    }

    pub(crate) fn response_too_large(cap: u64) -> Self {
        Self::new(
            StatusCode::BAD_GATEWAY,
            "response_too_large",
            Fault::Policy,
            format!("the response is larger than {cap} bytes"),
            "raise --max-response-bytes on the server",
        )
    }

    /// A response that cannot be searched for the credential.
    pub(crate) fn not_scrubbable(error: &EncodingError) -> Self {
        Self::new(
            StatusCode::BAD_GATEWAY,
            "response_not_scrubbable",
            Fault::Upstream,
            error.to_string(),
            "a response that cannot be searched for the credential is not passed on, unless the service says `scrub: {undecodable: pass}`",
        )
    }

    pub(crate) fn trace() -> Self {
        let mut made = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            Fault::Agent,
            "this method would hand the injected credential back",
            "use another method",
        );
        made.extra.allow = Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        made
    }

    /// A head over our bounds.
    pub(crate) fn head_too_large() -> Self {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "head_too_large",
            Fault::Agent,
            format!(
                "the request head is larger than {} KiB or has more than {MAX_HEADERS} fields",
                MAX_HEAD_BYTES / 1024
            ),
            "send fewer or shorter header fields; cookies are the usual cause",
        )
    }

    /// A head that could not be read, which HTTP/1 answers with `status`.
    pub(crate) fn unreadable_head(status: StatusCode) -> Self {
        match status {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Self::head_too_large(),
            StatusCode::URI_TOO_LONG => Self::new(
                status,
                "target_too_long",
                Fault::Agent,
                "the request target is too long",
                "put what is long into the request body",
            ),
            _ => Self::bad_request(
                "malformed_request",
                "the request is not valid HTTP/1.1",
                "the client, or something between it and this proxy, is at fault; both framings or a stray line break are the usual cause",
            ),
        }
    }

    /// The preface of HTTP/2 on a connection that speaks HTTP/1.1.
    pub(crate) fn http2_not_spoken() -> Self {
        Self::bad_request(
            "http2_not_spoken",
            "this connection speaks HTTP/1.1, and the client has begun HTTP/2",
            "speak HTTP/1.1 to the proxy itself and use CONNECT; inside the tunnel HTTP/2 is spoken where TLS agrees on `h2` (ALPN), or without TLS from the first byte on",
        )
    }

    /// The response on the wire of an HTTP/1.1 connection that ends with it.
    pub(crate) fn into_last_words(self, base_url: Option<&Arc<str>>) -> Bytes {
        let response = self.into_response(base_url);
        let status = response.status();
        let mut words = format!(
            "HTTP/1.1 {} {}\r\n",
            status.as_str(),
            status.canonical_reason().unwrap_or("Refused")
        )
        .into_bytes();
        for (name, value) in response.headers() {
            words.extend_from_slice(name.as_str().as_bytes());
            words.extend_from_slice(b": ");
            words.extend_from_slice(value.as_bytes());
            words.extend_from_slice(b"\r\n");
        }
        let body = match response.into_body() {
            ResponseBody::Own(body) => body,
            ResponseBody::Relayed(_) => Bytes::new(),
        };
        words.extend_from_slice(
            format!(
                "content-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            )
            .as_bytes(),
        );
        words.extend_from_slice(&body);
        words.into()
    }

    /// The response. `base_url` names the management plane in the help text, when it is known.
    pub(crate) fn into_response(self, base_url: Option<&Arc<str>>) -> Response<ResponseBody> {
        let mut body = Map::new();
        body.insert("error".into(), json!(self.error));
        if self.code != self.error {
            body.insert("code".into(), json!(self.code));
        }
        body.insert("message".into(), json!(self.message));
        body.insert("hint".into(), json!(self.hint));
        body.insert("fault".into(), json!(self.fault.as_str()));
        if let Some(base) = base_url {
            let lead = if self.extra.proposal_host.is_some() {
                "Agent Vault intercepted this request. "
            } else {
                ""
            };
            body.insert(
                "help".into(),
                json!(format!(
                    "{lead}See which services and credentials the vault has at GET {base}/discover. \
                     How to ask for more is told at GET {base}/v1/skills/cli."
                )),
            );
        }
        if let Some(host) = &self.extra.proposal_host {
            body.insert(
                "proposal_hint".into(),
                json!({
                    "host": host,
                    "endpoint": "POST /v1/proposals",
                    "supported_auth_types": ["bearer", "basic", "api-key", "custom", "passthrough"],
                }),
            );
        }
        let mut text = Value::Object(body).to_string();
        text.push('\n');
        let mut response = Response::new(ResponseBody::Own(Bytes::from(text)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(MARKER, HeaderValue::from_static("true"));
        if self.extra.authenticate {
            headers.insert(
                PROXY_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"agent-vault\""),
            );
        }
        if let Some(wait) = self.extra.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
            headers.insert(REMAINING, HeaderValue::from_static("0"));
        }
        if let Some(limit) = self.extra.limit {
            headers.insert(LIMIT, HeaderValue::from(limit));
        }
        if let Some(allow) = self.extra.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.extra.closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The word for a TLS handshake that failed: what whoever mends it has to look at.
fn tls_code(certificate: Option<CertificateFault>) -> &'static str {
    match certificate {
        None | Some(CertificateFault::Unacceptable) => "upstream_tls",
        Some(CertificateFault::Expired) => "upstream_tls_expired",
        Some(CertificateFault::NotYetValid) => "upstream_tls_not_yet_valid",
        Some(CertificateFault::Revoked) => "upstream_tls_revoked",
        Some(CertificateFault::UnknownIssuer) => "upstream_tls_untrusted",
        Some(CertificateFault::WrongName) => "upstream_tls_wrong_name",
        Some(CertificateFault::WrongPurpose) => "upstream_tls_wrong_purpose",
    }
}
