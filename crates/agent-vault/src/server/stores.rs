//! The external store of secrets, where one is configured: the client, and the first login.

use std::sync::Arc;
use std::time::Duration;

use agent_vault_control::Clock;
use agent_vault_sources::infisical::{GoogleKey, Infisical, InfisicalLogin};
use agent_vault_upstream::Upstream;

use super::StartError;
use crate::config::{LoginConfig, ServerConfig};
use crate::error::CliError;
use crate::home::read_if_there;

/// How long the first login may take before the log says that it did not go well.
const FIRST_LOGIN: Duration = Duration::from_secs(10);

/// The client of the external store. Asks nothing yet.
pub(super) fn client(
    config: &ServerConfig,
    upstream: &Arc<Upstream>,
    clock: &Clock,
) -> Result<Option<Arc<Infisical>>, StartError> {
    let infisical = &config.infisical;
    let (Some(url), Some(login)) = (&infisical.url.value, &infisical.login) else {
        return Ok(None);
    };
    if url.is_in_clear() {
        tracing::warn!(
            "INFISICAL_URL is plain http: the login and every secret travel in clear between here and there"
        );
    }
    let clock = clock.clone();
    let client = Infisical::new(
        Arc::clone(upstream),
        url,
        of(login)?,
        Arc::new(move || clock.now()),
    )
    .map_err(|error| CliError::new(format!("{}: {error}", infisical.url.origin)))?;
    Ok(Some(Arc::new(client)))
}

fn of(login: &LoginConfig) -> Result<InfisicalLogin, StartError> {
    Ok(match login {
        LoginConfig::Universal {
            client_id,
            client_secret,
        } => InfisicalLogin::Universal {
            client_id: client_id.clone(),
            client_secret: client_secret.duplicate(),
        },
        LoginConfig::Kubernetes {
            identity_id,
            token_file,
        } => InfisicalLogin::Kubernetes {
            identity_id: identity_id.clone(),
            token_file: token_file.clone(),
        },
        LoginConfig::GoogleKey {
            identity_id,
            key_file,
        } => {
            let shown = key_file.display();
            let file = read_if_there(key_file)?
                .map(zeroize::Zeroizing::new)
                .ok_or_else(|| CliError::new(format!("{shown}: there is no such key file")))?;
            InfisicalLogin::GoogleKey {
                identity_id: identity_id.clone(),
                key: GoogleKey::from_json(&file)
                    .map_err(|error| CliError::new(format!("{shown} {error}")))?,
            }
        }
        LoginConfig::Ldap {
            identity_id,
            username,
            password,
        } => InfisicalLogin::Ldap {
            identity_id: identity_id.clone(),
            username: username.clone(),
            password: password.duplicate(),
        },
    })
}

/// Logs in once at the start and says how it went. What fails is tried again when it is needed.
pub(super) async fn first_login(client: Arc<Infisical>) {
    match tokio::time::timeout(FIRST_LOGIN, client.log_in()).await {
        Ok(Ok(())) => tracing::info!("logged in to Infisical"),
        Ok(Err(error)) => tracing::warn!(
            %error,
            "the login at Infisical failed; it is tried again, and vaults serve their last copies meanwhile"
        ),
        Err(_) => tracing::warn!(
            seconds = FIRST_LOGIN.as_secs(),
            "Infisical has not answered to the login yet; vaults serve their last copies meanwhile"
        ),
    }
}
