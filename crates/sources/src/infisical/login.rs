//! The ways in which the server shows Infisical who it is.

use std::fmt;
use std::path::PathBuf;

use agent_vault_broker::{StoreFailure, StoreFault};
use agent_vault_seal::SecretBytes;
use http::Method;
use jiff::Timestamp;
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use super::api::LoggedIn;
use super::door::{self, Door, Question};
use super::gcp::GoogleKey;
use super::{CALL_TIME, MAX_ANSWER_BYTES};

/// Largest service account token in bytes.
const MAX_TOKEN_FILE_BYTES: u64 = 64 * 1024;

/// How the server logs in.
pub enum InfisicalLogin {
    /// A client id and its secret.
    Universal {
        /// The id.
        client_id: String,
        /// The secret.
        client_secret: SecretBytes,
    },
    /// The token of a Kubernetes service account, read anew at each login because it rotates.
    Kubernetes {
        /// The machine identity.
        identity_id: String,
        /// Where the token is.
        token_file: PathBuf,
    },
    /// A name and a password in a directory.
    Ldap {
        /// The machine identity.
        identity_id: String,
        /// The name.
        username: String,
        /// The password.
        password: SecretBytes,
    },
    /// A statement signed with the key of a Google service account.
    GoogleKey {
        /// The machine identity.
        identity_id: String,
        /// The key.
        key: GoogleKey,
    },
}

impl fmt::Debug for InfisicalLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl InfisicalLogin {
    /// What the method is called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Universal { .. } => "universal",
            Self::Kubernetes { .. } => "kubernetes",
            Self::Ldap { .. } => "ldap",
            Self::GoogleKey { .. } => "gcp-iam",
        }
    }

    pub(super) async fn log_in(
        &self,
        door: &Door,
        now: Timestamp,
    ) -> Result<LoggedIn, StoreFailure> {
        let (path, body) = match self {
            Self::Universal {
                client_id,
                client_secret,
            } => (
                "universal-auth",
                body(&[("clientId", client_id)], "clientSecret", client_secret)?,
            ),
            Self::Kubernetes {
                identity_id,
                token_file,
            } => (
                "kubernetes-auth",
                body(
                    &[("identityId", identity_id)],
                    "jwt",
                    &token_in(token_file).await?,
                )?,
            ),
            Self::Ldap {
                identity_id,
                username,
                password,
            } => (
                "ldap-auth",
                body(
                    &[("identityId", identity_id), ("username", username)],
                    "password",
                    password,
                )?,
            ),
            Self::GoogleKey { identity_id, key } => (
                "gcp-auth",
                body(
                    &[("identityId", identity_id)],
                    "jwt",
                    &key.statement(identity_id, now)?,
                )?,
            ),
        };
        let question = Question {
            what: "the login",
            method: Method::POST,
            target: format!("/api/v1/auth/{path}/login"),
            body: Some(body),
            time: CALL_TIME,
            most: MAX_ANSWER_BYTES,
        };
        let answer = door.ask(&question, None).await.map_err(|failure| {
            // Whatever it refuses of a login, it is the login.
            match failure.fault {
                StoreFault::Refused | StoreFault::Absent => {
                    StoreFailure::new(StoreFault::Login, failure.message)
                }
                StoreFault::Login | StoreFault::Unreachable => failure,
            }
        })?;
        let logged_in: LoggedIn = answer.read(&question)?;
        if logged_in.access_token.0.is_empty() {
            return Err(door::unreachable("Infisical gave an empty token"));
        }
        Ok(logged_in)
    }
}

/// A body with one secret in it.
fn body(
    fields: &[(&str, &String)],
    name: &str,
    secret: &SecretBytes,
) -> Result<Zeroizing<Vec<u8>>, StoreFailure> {
    let text = secret
        .expose_str()
        .map_err(|_| door::unreachable("the login's secret is not text"))?;
    let map: std::collections::BTreeMap<&str, &str> = fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .chain([(name, text)])
        .collect();
    door::json(&map)
}

async fn token_in(file: &PathBuf) -> Result<SecretBytes, StoreFailure> {
    let failed = |what: String| {
        StoreFailure::new(
            StoreFault::Login,
            format!("the service account token in {} {what}", file.display()),
        )
    };
    let open = tokio::fs::File::open(file)
        .await
        .map_err(|error| failed(format!("cannot be read: {error}")))?;
    let mut text = Zeroizing::new(String::new());
    open.take(MAX_TOKEN_FILE_BYTES)
        .read_to_string(&mut text)
        .await
        .map_err(|error| failed(format!("cannot be read: {error}")))?;
    let token = text.trim();
    if token.is_empty() {
        return Err(failed("is empty".to_owned()));
    }
    Ok(SecretBytes::new(token.as_bytes().to_vec()))
}
