//! The external store: where Infisical is and how the server logs in there.

use std::path::PathBuf;
use std::sync::Arc;

use agent_vault_seal::SecretBytes;
use agent_vault_sources::infisical::InfisicalUrl;

use super::layers::{Layers, Setting};
use super::secret_in;
use crate::env::Env;
use crate::env_vars as vars;
use crate::error::{CliError, Result};

/// Where a pod's token is unless somebody says otherwise.
const POD_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The external store, as configured.
#[derive(Debug, Clone)]
pub(crate) struct InfisicalConfig {
    /// Where it is; `None` where there is none.
    pub(crate) url: Setting<Option<InfisicalUrl>>,
    /// How to log in; there where `url` is.
    pub(crate) login: Option<LoginConfig>,
}

/// One login method with what it takes.
#[derive(Debug, Clone)]
pub(crate) enum LoginConfig {
    Universal {
        client_id: String,
        /// Printed by nobody, like every secret here.
        client_secret: Arc<SecretBytes>,
    },
    Kubernetes {
        identity_id: String,
        token_file: PathBuf,
    },
    GoogleKey {
        identity_id: String,
        key_file: PathBuf,
    },
    Ldap {
        identity_id: String,
        username: String,
        password: Arc<SecretBytes>,
    },
}

impl LoginConfig {
    /// What the method is called.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Universal { .. } => "universal",
            Self::Kubernetes { .. } => "kubernetes",
            Self::GoogleKey { .. } => "gcp-iam",
            Self::Ldap { .. } => "ldap",
        }
    }
}

/// Reads it. Without an address the rest is not looked at.
pub(super) fn read(layers: &Layers<'_>) -> Result<InfisicalConfig> {
    let url = layers.plain(
        "infisical_url",
        &vars::INFISICAL_URL,
        |text| {
            InfisicalUrl::parse(text)
                .map(Some)
                .map_err(|error| error.to_string())
        },
        || None,
    )?;
    let login = match &url.value {
        None => None,
        Some(_) => Some(login(layers.env)?),
    };
    Ok(InfisicalConfig { url, login })
}

/// The first method whose variables are complete, in the order of the documentation.
fn login(env: &Env) -> Result<LoginConfig> {
    let text = |variable| Ok::<_, CliError>(env.get(variable)?.map(str::to_owned));
    let mut complete = Vec::new();
    let mut unknown = None;
    let secret = secret_in(
        env,
        &vars::INFISICAL_UNIVERSAL_SECRET,
        &vars::INFISICAL_UNIVERSAL_SECRET_FILE,
    )?;
    if let (Some(client_id), Some(secret)) = (text(&vars::INFISICAL_UNIVERSAL_ID)?, secret) {
        complete.push(LoginConfig::Universal {
            client_id,
            client_secret: Arc::new(secret),
        });
    }
    if let Some(identity_id) = text(&vars::INFISICAL_KUBERNETES_ID)? {
        let file = text(&vars::INFISICAL_KUBERNETES_TOKEN)?;
        complete.push(LoginConfig::Kubernetes {
            identity_id,
            token_file: env.cwd().join(file.as_deref().unwrap_or(POD_TOKEN)),
        });
    }
    if text(&vars::INFISICAL_AWS_ID)?.is_some() && complete.is_empty() {
        unknown = Some((vars::INFISICAL_AWS_ID.name, "aws-iam"));
    }
    if let Some(identity_id) = text(&vars::INFISICAL_GCP_ID)? {
        match text(&vars::INFISICAL_GCP_KEY)? {
            Some(file) => complete.push(LoginConfig::GoogleKey {
                identity_id,
                key_file: env.cwd().join(file),
            }),
            None if complete.is_empty() && unknown.is_none() => {
                unknown = Some((vars::INFISICAL_GCP_ID.name, "gcp-id-token"));
            }
            None => {}
        }
    }
    let password = secret_in(
        env,
        &vars::INFISICAL_LDAP_PASSWORD,
        &vars::INFISICAL_LDAP_PASSWORD_FILE,
    )?;
    let identity_id = text(&vars::INFISICAL_LDAP_ID)?;
    let username = text(&vars::INFISICAL_LDAP_USERNAME)?;
    if let (Some(identity_id), Some(username), Some(password)) = (identity_id, username, password) {
        complete.push(LoginConfig::Ldap {
            identity_id,
            username,
            password: Arc::new(password),
        });
    }
    if let Some((variable, method)) = unknown {
        return Err(CliError::new(format!(
            "{variable}: this version has no login by {method} at Infisical"
        ))
        .hint("use universal, kubernetes, gcp-iam with a key file, or ldap: see docs/stores.md"));
    }
    if let [chosen, ignored, ..] = complete.as_slice() {
        tracing::warn!(
            used = chosen.name(),
            ignored = ignored.name(),
            "several login methods of Infisical are configured; the first is used"
        );
    }
    complete.into_iter().next().ok_or_else(|| {
        CliError::new(format!(
            "{} is set, but no login method is complete",
            vars::INFISICAL_URL.name
        ))
        .hint(format!(
            "set {} and {}, or the variables of another method: see docs/stores.md",
            vars::INFISICAL_UNIVERSAL_ID.name,
            vars::INFISICAL_UNIVERSAL_SECRET.name
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn chosen(vars: &[(&str, &str)]) -> Result<LoginConfig> {
        login(&Env::of(vars, Path::new("/work")))
    }

    const UNIVERSAL: [(&str, &str); 2] = [
        ("INFISICAL_UNIVERSAL_AUTH_CLIENT_ID", "id"),
        ("INFISICAL_UNIVERSAL_AUTH_CLIENT_SECRET", "canary-secret"),
    ];
    const LDAP: [(&str, &str); 3] = [
        ("INFISICAL_LDAP_AUTH_IDENTITY_ID", "id"),
        ("INFISICAL_LDAP_AUTH_USERNAME", "u"),
        ("INFISICAL_LDAP_AUTH_PASSWORD", "p"),
    ];
    const AWS: (&str, &str) = ("INFISICAL_AWS_IAM_AUTH_IDENTITY_ID", "id");

    #[test]
    fn the_first_complete_method_is_used() {
        let both = [&UNIVERSAL[..], &LDAP[..]].concat();
        assert_eq!(chosen(&both).unwrap().name(), "universal");
        let half = [&UNIVERSAL[..1], &LDAP[..]].concat();
        assert_eq!(chosen(&half).unwrap().name(), "ldap");
        let pod = chosen(&[("INFISICAL_KUBERNETES_IDENTITY_ID", "id")]).unwrap();
        let LoginConfig::Kubernetes { token_file, .. } = pod else {
            panic!("kubernetes");
        };
        assert_eq!(token_file, Path::new(POD_TOKEN));
        let google = [
            ("INFISICAL_GCP_AUTH_IDENTITY_ID", "id"),
            (
                "INFISICAL_GCP_IAM_SERVICE_ACCOUNT_KEY_FILE_PATH",
                "key.json",
            ),
        ];
        assert_eq!(chosen(&google).unwrap().name(), "gcp-iam");
        assert!(!format!("{:?}", chosen(&UNIVERSAL).unwrap()).contains("canary"));
    }

    #[test]
    fn what_is_not_there_or_not_whole_is_an_error_that_says_so() {
        let text = |vars: &[(&str, &str)]| chosen(vars).unwrap_err().to_string();
        assert!(text(&[]).contains("no login method is complete"));
        assert!(text(&UNIVERSAL[..1]).contains("no login method is complete"));
        assert!(text(&[AWS]).contains("aws-iam"));
        assert!(text(&[("INFISICAL_GCP_AUTH_IDENTITY_ID", "id")]).contains("gcp-id-token"));
        // One that comes first makes it unneeded.
        assert!(chosen(&[&UNIVERSAL[..], &[AWS]].concat()).is_ok());
    }
}
