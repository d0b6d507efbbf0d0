//! Client of the management API: one request, one answer, the same over a socket and in-process.

mod path;
mod reply;
mod transport;
pub(crate) mod types;

use std::sync::Mutex;

use agent_vault_seal::SecretBytes;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use path::ApiPath;
pub(crate) use reply::{ApiError, Reply};
pub(crate) use transport::Transport;

use crate::error::{CliError, Result};

/// Sent as `X-AV-Client`.
const CLIENT_NAME: &str = concat!("cli/", env!("CARGO_PKG_VERSION"));

/// What goes out.
pub(crate) struct Call<'a> {
    method: Method,
    path: ApiPath,
    body: Option<Vec<u8>>,
    vault: Option<&'a str>,
    token: Option<&'a SecretBytes>,
    if_match: Option<String>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: Method, path: impl Into<ApiPath>) -> Call<'a> {
        Call {
            method,
            path: path.into(),
            body: None,
            vault: None,
            token: None,
            if_match: None,
        }
    }

    pub(crate) fn get(path: impl Into<ApiPath>) -> Call<'a> {
        Call::new(Method::GET, path)
    }

    /// A JSON body.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Call<'a> {
        // Serialising our own maps and strings cannot fail; an empty body would be refused by the server.
        self.body = Some(serde_json::to_vec(body).unwrap_or_default());
        self
    }

    /// Names the vault in `X-Vault`, as `/discover` wants it.
    #[must_use]
    pub(crate) fn vault(mut self, vault: Option<&'a str>) -> Call<'a> {
        self.vault = vault;
        self
    }

    /// Has the server refuse the write if what it rests on is not at this revision or version any more.
    #[must_use]
    pub(crate) fn if_match(mut self, tag: impl std::fmt::Display) -> Call<'a> {
        self.if_match = Some(format!("\"{tag}\""));
        self
    }

    /// Uses another token than the client's own.
    #[must_use]
    pub(crate) fn token(mut self, token: &'a SecretBytes) -> Call<'a> {
        self.token = Some(token);
        self
    }
}

/// A client bound to one server and, mostly, one token.
pub(crate) struct Client {
    transport: Transport,
    token: Mutex<Option<SecretBytes>>,
}

impl Client {
    pub(crate) fn new(transport: Transport, token: Option<SecretBytes>) -> Client {
        Client {
            transport,
            token: Mutex::new(token),
        }
    }

    /// Uses `token` from now on.
    pub(crate) fn set_token(&self, token: SecretBytes) {
        if let Ok(mut slot) = self.token.lock() {
            *slot = Some(token);
        }
    }

    /// A copy of the token, for a child that acts with it.
    pub(crate) fn token(&self) -> Option<SecretBytes> {
        self.token.lock().ok()?.as_ref().map(SecretBytes::duplicate)
    }

    /// Sends a call and returns the answer whatever its status.
    ///
    /// # Errors
    /// Only transport failures.
    pub(crate) async fn raw(&self, call: &Call<'_>) -> Result<Reply> {
        let own;
        let token = match call.token {
            Some(token) => Some(token),
            None => {
                own = self.token();
                own.as_ref()
            }
        };
        let mut headers = http::HeaderMap::new();
        headers.insert("x-av-client", http::HeaderValue::from_static(CLIENT_NAME));
        if let Some(token) = token {
            let mut value = http::HeaderValue::try_from(format!(
                "Bearer {}",
                String::from_utf8_lossy(token.expose())
            ))
            .map_err(|_| CliError::new("the token holds characters that no token has"))?;
            value.set_sensitive(true);
            headers.insert(http::header::AUTHORIZATION, value);
        }
        if let Some(vault) = call.vault {
            let value = http::HeaderValue::try_from(vault).map_err(|_| {
                CliError::new("the vault's name holds characters that no vault name has")
            })?;
            headers.insert("x-vault", value);
        }
        if let Some(tag) = &call.if_match {
            let value = http::HeaderValue::try_from(tag)
                .map_err(|_| CliError::usage("a version holds characters that no version has"))?;
            headers.insert(http::header::IF_MATCH, value);
        }
        if call.body.is_some() {
            headers.insert(
                http::header::CONTENT_TYPE,
                http::HeaderValue::from_static("application/json"),
            );
        }
        if call.path.lacks_a_name() {
            return Err(CliError::usage("a name is empty").hint("is a variable not set?"));
        }
        self.transport
            .send(
                call.method.clone(),
                call.path.as_str(),
                headers,
                call.body.clone(),
            )
            .await
    }

    /// Sends a call and insists on success.
    ///
    /// # Errors
    /// Transport failures; any status of 400 and above, as the server words it.
    pub(crate) async fn send(&self, call: &Call<'_>) -> std::result::Result<Reply, ApiError> {
        let reply = self.raw(call).await.map_err(ApiError::transport)?;
        if reply.status < 400 {
            Ok(reply)
        } else {
            Err(reply.into_error())
        }
    }
}

impl Reply {
    /// Reads the body as `T`.
    ///
    /// # Errors
    /// A body that is not the expected JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|e| {
            CliError::new(format!(
                "the server's answer is not what this version expects: {e}"
            ))
        })
    }

    /// Reads the body as any JSON.
    pub(crate) fn value(&self) -> Result<Value> {
        self.json()
    }
}
