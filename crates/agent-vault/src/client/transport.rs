//! How a call reaches the API: over HTTP, or straight into a router in this process.

use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Limited};
use tower::ServiceExt;

use super::reply::Reply;
use crate::connect::Address;
use crate::error::{CliError, Result};

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// Where calls go.
pub(crate) enum Transport {
    /// A server at an address.
    Http {
        /// One client, whose proxy and trust settings fit the address.
        client: reqwest::Client,
        /// The server.
        address: Address,
    },
    /// The same API without a socket.
    InProcess(Router),
}

impl Transport {
    /// A transport to a server. `direct` keeps it off the proxies that the environment names: they may be our own. `roots`
    /// are trusted besides the system's.
    ///
    /// # Errors
    /// The TLS trust store cannot be loaded.
    pub(crate) fn http(
        address: &Address,
        direct: bool,
        roots: Vec<reqwest::Certificate>,
    ) -> Result<Transport> {
        let mut builder = reqwest::Client::builder()
            .timeout(TIMEOUT)
            // A redirect would carry the token to wherever the answer says.
            .redirect(reqwest::redirect::Policy::none());
        if direct || address.is_loopback() {
            builder = builder.no_proxy();
        }
        if address.is_https() {
            install_provider();
            builder = builder.tls_certs_merge(roots);
        } else {
            // Loading the system's roots costs more than the whole call.
            builder = builder.tls_backend_preconfigured(no_tls()?);
        }
        let client = builder
            .build()
            .map_err(|e| CliError::new(format!("cannot set up the HTTP client: {e}")))?;
        Ok(Transport::Http {
            client,
            address: address.clone(),
        })
    }

    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
    ) -> Result<Reply> {
        match self {
            Transport::Http { client, address } => {
                let unreachable = |e: reqwest::Error| unreachable_error(address, &e);
                let mut request = client
                    .request(method, format!("{address}{path}"))
                    .headers(headers);
                if let Some(body) = body {
                    request = request.body(body);
                }
                let response = request.send().await.map_err(unreachable)?;
                let status = response.status().as_u16();
                let headers = response.headers().clone();
                let body = Limited::new(reqwest::Body::from(response), MAX_ANSWER_BYTES);
                Ok(Reply {
                    status,
                    headers,
                    body: collect(body).await?,
                })
            }
            Transport::InProcess(router) => {
                let mut request = Request::builder().method(method).uri(path);
                if let Some(all) = request.headers_mut() {
                    *all = headers;
                    all.insert(
                        http::header::HOST,
                        http::HeaderValue::from_static("127.0.0.1"),
                    );
                }
                let request = request
                    .body(axum::body::Body::from(body.unwrap_or_default()))
                    .map_err(|e| CliError::new(format!("cannot make the request: {e}")))?;
                let Ok(response) = router.clone().oneshot(request).await;
                let (head, body) = response.into_parts();
                Ok(Reply {
                    status: head.status.as_u16(),
                    headers: head.headers,
                    body: collect(Limited::new(body, MAX_ANSWER_BYTES)).await?,
                })
            }
        }
    }
}

async fn collect<B>(body: B) -> Result<Bytes>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    match body.collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(e) => Err(CliError::new(format!("the server's answer broke off: {e}"))),
    }
}

fn unreachable_error(address: &Address, error: &reqwest::Error) -> CliError {
    if error.is_timeout() {
        return CliError::new(format!(
            "{address} did not answer within {} s",
            TIMEOUT.as_secs()
        ));
    }
    // The innermost cause says most: "Connection refused", "certificate has expired", …
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let cause = cause.to_string();
    let out = CliError::new(format!("cannot reach {address}: {cause}"));
    if cause.contains("UnknownIssuer") {
        return out.hint(format!(
            "if its certificate is of Agent Vault's own CA, get the root from whoever runs it (`agent-vault ca fetch` there) and name the file in {}",
            crate::env_vars::CA.name
        ));
    }
    if address.is_loopback() {
        out.hint("start it with `agent-vault server`; without a server, `agent-vault auth logout` (and no AGENT_VAULT_ADDR) leads to the local vault")
    } else {
        out.hint(
            "check the address; it comes from `--address`, AGENT_VAULT_ADDR or the saved login",
        )
    }
}

/// Makes aws-lc the process's cryptography, once; a second call changes nothing.
pub(crate) fn install_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A TLS configuration for a client that only ever speaks plain HTTP: it trusts nobody.
fn no_tls() -> Result<rustls::ClientConfig> {
    install_provider();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| CliError::new(format!("cannot set up TLS: {e}")))?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth())
}
