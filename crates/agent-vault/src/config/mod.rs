//! Settings of the server: flags, then environment, then `config.toml`, then defaults, each with its origin.
//!
//! A value that cannot be read is an error that names where it came from; nothing is ignored.

mod infisical;
mod layers;
mod values;

use std::cell::RefCell;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_vault_control::{LimitLayer, LimitSources, UnmatchedPolicy};
use agent_vault_seal::{SecretBytes, TokenHash};
use agent_vault_sources::infisical::InfisicalUrl;
use ipnet::IpNet;

pub(crate) use infisical::{InfisicalConfig, LoginConfig};
use layers::{FileLayer, Layers, Spec};
pub(crate) use layers::{Origin, Setting};
pub(crate) use values::{
    LogFormat, LogLevel, RateLimits, RateProfile, SmtpConfig, TlsMode, UpstreamProxyUrl,
};

use crate::env::Env;
use crate::env_vars as vars;
use crate::error::{CliError, Result};
use crate::home::Home;

/// Default port of the management API.
pub(crate) const DEFAULT_API_PORT: u16 = 14321;
/// Default port of the proxy.
pub(crate) const DEFAULT_PROXY_PORT: u16 = 14322;

/// Flags of `agent-vault server`, as text: they are read by the same code as the environment and the file.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ServerFlags {
    /// Port of the management API [default: 14321] [env: AGENT_VAULT_PORT, PORT]
    #[arg(short, long, value_name = "PORT")]
    pub(crate) port: Option<String>,
    /// Address that both listeners bind [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) host: Option<String>,
    /// Port of the proxy, 0 to switch it off [default: 14322]
    #[arg(long, value_name = "PORT")]
    pub(crate) mitm_port: Option<String>,
    /// PostgreSQL URL (not in this version: data is stored in SQLite)
    #[arg(long, value_name = "URL")]
    pub(crate) database_url: Option<String>,
    /// Data folder [default: ~/.agent-vault] [env: AGENT_VAULT_HOME]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// `info` or `debug` [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// `text` or `json` [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<String>,
    /// Largest request body through the proxy, in bytes, 0 for no limit [default: 0]
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_request_bytes: Option<String>,
    /// Largest response body through the proxy, in bytes, 0 for no limit [default: 0]
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_response_bytes: Option<String>,
    /// Proxy that outbound connections go through: http://[user:password@]host:port
    #[arg(long, value_name = "URL")]
    pub(crate) upstream_proxy: Option<String>,
    /// PEM file with roots to trust for upstreams besides the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) upstream_ca: Option<String>,
    /// `optional`: both ports take TLS and plain HTTP; `required`: TLS alone [default: optional]
    #[arg(long, value_name = "MODE")]
    pub(crate) tls: Option<String>,
    /// PEM file with the certificate chain that both ports show [default: one of Agent Vault's own CA]
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_cert: Option<String>,
    /// PEM file with the private key of `--tls-cert`
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<String>,
}

/// Everything that a server needs to know before it starts. Secrets are not in it.
#[derive(Debug, Clone)]
pub(crate) struct ServerConfig {
    /// The data folder.
    pub(crate) data_dir: Setting<PathBuf>,
    /// Address that both listeners bind.
    pub(crate) host: Setting<IpAddr>,
    /// Port of the management API; 0 lets the system choose (local mode, tests).
    pub(crate) api_port: Setting<u16>,
    /// Port of the proxy; `None` switches it off.
    pub(crate) proxy_port: Setting<Option<u16>>,
    /// Public base URL, only if one was set explicitly.
    pub(crate) base_url: Setting<Option<String>>,
    /// Verbosity of the process log.
    pub(crate) log_level: Setting<LogLevel>,
    /// Shape of the process log.
    pub(crate) log_format: Setting<LogFormat>,
    /// Cap on a request body, in bytes; 0 = none.
    pub(crate) max_request_bytes: Setting<u64>,
    /// Cap on a response body, in bytes; 0 = none.
    pub(crate) max_response_bytes: Setting<u64>,
    /// The proxy may reach private addresses.
    pub(crate) allow_private_ranges: Setting<bool>,
    /// Addresses that the proxy may reach although they are private.
    pub(crate) network_allowlist: Setting<Vec<IpNet>>,
    /// Peers whose `X-Forwarded-For` counts.
    pub(crate) trusted_proxies: Setting<Vec<IpNet>>,
    /// Load balancers whose connections to the proxy port begin with a PROXY protocol header.
    pub(crate) proxy_protocol_from: Setting<Vec<IpNet>>,
    /// Services on internal host names are allowed.
    /// Whether rows of the request log have the path.
    pub(crate) log_paths: Setting<bool>,
    pub(crate) dev_mode: Setting<bool>,
    /// For vaults without a setting of their own.
    pub(crate) unmatched_host_policy: Setting<UnmatchedPolicy>,
    /// The first owner may register from another machine.
    pub(crate) allow_remote_setup: Setting<bool>,
    /// A corporate proxy on the way out.
    pub(crate) upstream_proxy: Setting<Option<UpstreamProxyUrl>>,
    /// Hosts that are reached without it: a list as in `NO_PROXY`.
    pub(crate) upstream_no_proxy: Setting<Option<String>>,
    /// Extra roots for upstreams.
    pub(crate) upstream_ca: Setting<Option<PathBuf>>,
    /// What both ports take.
    pub(crate) tls: Setting<TlsMode>,
    /// The certificate chain that both ports show.
    pub(crate) tls_cert: Setting<Option<PathBuf>>,
    /// Its private key.
    pub(crate) tls_key: Setting<Option<PathBuf>>,
    /// The mail server.
    pub(crate) smtp: SmtpConfig,
    /// The external store of secrets.
    pub(crate) infisical: InfisicalConfig,
    /// Reads metrics and nothing else.
    pub(crate) metrics_token: Setting<Option<TokenHash>>,
    /// Rate limits.
    pub(crate) rate_limits: RateLimits,
    /// Age limit of request log rows in hours; 0 = none. Beats the stored setting unless it is the default.
    pub(crate) logs_max_age_hours: Setting<u64>,
    /// Request log rows kept per vault; 0 = all.
    pub(crate) logs_max_rows_per_vault: Setting<u64>,
    pub(crate) audit_max_age_days: Setting<u64>,
    /// The stored retention setting is ignored.
    pub(crate) logs_retention_lock: Setting<bool>,
}

impl ServerConfig {
    /// Reads all layers for `agent-vault server`.
    ///
    /// # Errors
    /// The first value that cannot be read, with its origin.
    pub(crate) fn load(flags: &ServerFlags, env: &Env) -> Result<ServerConfig> {
        let data_dir = match &flags.data_dir {
            Some(dir) => Setting {
                value: env.cwd().join(dir),
                origin: Origin::Flag("--data-dir"),
            },
            None => Setting {
                value: Home::locate(env)?.dir().to_owned(),
                origin: if env.raw(vars::HOME.name).is_some_and(|v| !v.is_empty()) {
                    Origin::Environment(vars::HOME.name)
                } else {
                    Origin::Default
                },
            },
        };
        let file = FileLayer::read(&data_dir.value.join("config.toml"))?;
        let layers = Layers { env, file: &file };
        refuse_postgres(&layers, flags)?;
        let config = ServerConfig {
            data_dir,
            host: layers.read(
                Spec {
                    key: "host",
                    flag: Some("--host"),
                    vars: &[&vars::HOST],
                },
                flags.host.as_deref(),
                values::host,
                || IpAddr::from([127, 0, 0, 1]),
            )?,
            api_port: layers.read(
                Spec {
                    key: "port",
                    flag: Some("--port"),
                    vars: &[&vars::PORT, &vars::GENERIC_PORT],
                },
                flags.port.as_deref(),
                values::port,
                || DEFAULT_API_PORT,
            )?,
            proxy_port: layers.read(
                Spec {
                    key: "mitm_port",
                    flag: Some("--mitm-port"),
                    vars: &[&vars::PROXY_PORT],
                },
                flags.mitm_port.as_deref(),
                values::port_or_off,
                || Some(DEFAULT_PROXY_PORT),
            )?,
            base_url: base_url(&layers)?,
            log_level: layers.read(
                Spec {
                    key: "log_level",
                    flag: Some("--log-level"),
                    vars: &[&vars::LOG_LEVEL],
                },
                flags.log_level.as_deref(),
                values::log_level,
                || LogLevel::Info,
            )?,
            log_format: layers.read(
                Spec {
                    key: "log_format",
                    flag: Some("--log-format"),
                    vars: &[&vars::LOG_FORMAT],
                },
                flags.log_format.as_deref(),
                values::log_format,
                || LogFormat::Text,
            )?,
            max_request_bytes: layers.read(
                Spec {
                    key: "max_request_bytes",
                    flag: Some("--max-request-bytes"),
                    vars: &[&vars::MAX_REQUEST_BYTES],
                },
                flags.max_request_bytes.as_deref(),
                values::count,
                || 0,
            )?,
            max_response_bytes: layers.read(
                Spec {
                    key: "max_response_bytes",
                    flag: Some("--max-response-bytes"),
                    vars: &[&vars::MAX_RESPONSE_BYTES],
                },
                flags.max_response_bytes.as_deref(),
                values::count,
                || 0,
            )?,
            allow_private_ranges: layers.plain(
                "allow_private_ranges",
                &vars::ALLOW_PRIVATE_RANGES,
                values::boolean,
                || false,
            )?,
            network_allowlist: layers.plain(
                "network_allowlist",
                &vars::NETWORK_ALLOWLIST,
                values::networks,
                Vec::new,
            )?,
            trusted_proxies: layers.plain(
                "trusted_proxies",
                &vars::TRUSTED_PROXIES,
                values::networks,
                Vec::new,
            )?,
            proxy_protocol_from: layers.plain(
                "proxy_protocol_from",
                &vars::PROXY_PROTOCOL_FROM,
                values::networks,
                Vec::new,
            )?,
            log_paths: layers.plain("log_paths", &vars::LOG_PATHS, values::boolean, || true)?,
            dev_mode: layers.plain("dev_mode", &vars::DEV_MODE, values::boolean, || false)?,
            unmatched_host_policy: layers.plain(
                "unmatched_host_policy",
                &vars::UNMATCHED_HOST_POLICY,
                values::unmatched_policy,
                || UnmatchedPolicy::Passthrough,
            )?,
            allow_remote_setup: layers.plain(
                "allow_remote_setup",
                &vars::ALLOW_REMOTE_SETUP,
                values::boolean,
                || false,
            )?,
            upstream_proxy: layers.read(
                Spec {
                    key: "upstream_proxy",
                    flag: Some("--upstream-proxy"),
                    vars: &[&vars::UPSTREAM_PROXY],
                },
                flags.upstream_proxy.as_deref(),
                |text| values::upstream_proxy(text).map(Some),
                || None,
            )?,
            upstream_no_proxy: layers.plain(
                "upstream_no_proxy",
                &vars::UPSTREAM_NO_PROXY,
                |text| Ok(Some(text.to_owned())),
                || None,
            )?,
            upstream_ca: layers.read(
                Spec {
                    key: "upstream_ca",
                    flag: Some("--upstream-ca"),
                    vars: &[&vars::UPSTREAM_CA],
                },
                flags.upstream_ca.as_deref(),
                |text| Ok(Some(env.cwd().join(text))),
                || None,
            )?,
            tls: layers.read(
                Spec {
                    key: "tls",
                    flag: Some("--tls"),
                    vars: &[&vars::TLS],
                },
                flags.tls.as_deref(),
                values::tls_mode,
                || TlsMode::Optional,
            )?,
            tls_cert: layers.read(
                Spec {
                    key: "tls_cert",
                    flag: Some("--tls-cert"),
                    vars: &[&vars::TLS_CERT],
                },
                flags.tls_cert.as_deref(),
                |text| Ok(Some(env.cwd().join(text))),
                || None,
            )?,
            tls_key: layers.read(
                Spec {
                    key: "tls_key",
                    flag: Some("--tls-key"),
                    vars: &[&vars::TLS_KEY],
                },
                flags.tls_key.as_deref(),
                |text| Ok(Some(env.cwd().join(text))),
                || None,
            )?,
            smtp: smtp(&layers)?,
            infisical: infisical::read(&layers)?,
            metrics_token: layers.plain(
                "metrics_token",
                &vars::METRICS_TOKEN,
                |text| values::metrics_token(text).map(Some),
                || None,
            )?,
            rate_limits: rate_limits(&layers)?,
            logs_max_age_hours: layers.plain(
                "logs_max_age_hours",
                &vars::LOGS_MAX_AGE_HOURS,
                values::count,
                || 168,
            )?,
            logs_max_rows_per_vault: layers.plain(
                "logs_max_rows_per_vault",
                &vars::LOGS_MAX_ROWS,
                values::count,
                || 10_000,
            )?,
            audit_max_age_days: layers.plain(
                "audit_max_age_days",
                &vars::AUDIT_MAX_AGE_DAYS,
                values::count,
                || 0,
            )?,
            logs_retention_lock: layers.plain(
                "logs_retention_lock",
                &vars::LOGS_RETENTION_LOCK,
                values::boolean,
                || false,
            )?,
        };
        file.refuse_unknown()?;
        let alone = match (&config.tls_cert.value, &config.tls_key.value) {
            (Some(_), None) => Some((&config.tls_cert.origin, "--tls-key", &vars::TLS_KEY)),
            (None, Some(_)) => Some((&config.tls_key.origin, "--tls-cert", &vars::TLS_CERT)),
            _ => None,
        };
        if let Some((origin, flag, variable)) = alone {
            return Err(CliError::new(format!(
                "a TLS certificate and its key go together: {origin} is set alone"
            ))
            .hint(format!("set `{flag}` or {} too", variable.name)));
        }
        if config.proxy_port.value == Some(config.api_port.value) {
            return Err(CliError::new(format!(
                "the management API ({}) and the proxy ({}) cannot share port {}",
                config.api_port.origin, config.proxy_port.origin, config.api_port.value
            )));
        }
        Ok(config)
    }

    /// Settings of the local vault: as a server's, on loopback, on ports that the system chooses.
    pub(crate) fn for_local(env: &Env) -> Result<ServerConfig> {
        let mut config = ServerConfig::load(&ServerFlags::default(), env)?;
        config.host = Setting::default_of(IpAddr::from([127, 0, 0, 1]));
        config.api_port = Setting::default_of(0);
        config.proxy_port = Setting::default_of(Some(0));
        config.base_url = Setting::default_of(None);
        // No load balancer stands before it, and nothing of it leaves this machine.
        config.proxy_protocol_from = Setting::default_of(Vec::new());
        config.tls = Setting::default_of(TlsMode::Optional);
        config.tls_cert = Setting::default_of(None);
        config.tls_key = Setting::default_of(None);
        Ok(config)
    }

    /// Each setting with its value and origin, for `server --print-config`. Passwords in URLs are hidden.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String, String)> {
        fn list(nets: &[IpNet]) -> String {
            nets.iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(",")
        }
        fn row(
            name: &'static str,
            value: impl ToString,
            origin: &Origin,
        ) -> (&'static str, String, String) {
            (name, value.to_string(), origin.to_string())
        }
        let mut rows = vec![
            row(
                "data_dir",
                self.data_dir.value.display(),
                &self.data_dir.origin,
            ),
            row("host", self.host.value, &self.host.origin),
            row("port", self.api_port.value, &self.api_port.origin),
            row(
                "mitm_port",
                self.proxy_port.value.unwrap_or(0),
                &self.proxy_port.origin,
            ),
            row(
                "base_url",
                self.base_url.value.as_deref().unwrap_or(""),
                &self.base_url.origin,
            ),
            row("log_level", self.log_level.value, &self.log_level.origin),
            row("log_format", self.log_format.value, &self.log_format.origin),
            row(
                "max_request_bytes",
                self.max_request_bytes.value,
                &self.max_request_bytes.origin,
            ),
            row(
                "max_response_bytes",
                self.max_response_bytes.value,
                &self.max_response_bytes.origin,
            ),
            row(
                "allow_private_ranges",
                self.allow_private_ranges.value,
                &self.allow_private_ranges.origin,
            ),
            row(
                "network_allowlist",
                list(&self.network_allowlist.value),
                &self.network_allowlist.origin,
            ),
            row(
                "trusted_proxies",
                list(&self.trusted_proxies.value),
                &self.trusted_proxies.origin,
            ),
            row(
                "proxy_protocol_from",
                list(&self.proxy_protocol_from.value),
                &self.proxy_protocol_from.origin,
            ),
            row("log_paths", self.log_paths.value, &self.log_paths.origin),
            row("dev_mode", self.dev_mode.value, &self.dev_mode.origin),
            row(
                "unmatched_host_policy",
                agent_vault_control::unmatched_name(self.unmatched_host_policy.value),
                &self.unmatched_host_policy.origin,
            ),
            row(
                "allow_remote_setup",
                self.allow_remote_setup.value,
                &self.allow_remote_setup.origin,
            ),
            row(
                "upstream_proxy",
                self.upstream_proxy
                    .value
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                &self.upstream_proxy.origin,
            ),
            row(
                "upstream_no_proxy",
                self.upstream_no_proxy.value.as_deref().unwrap_or(""),
                &self.upstream_no_proxy.origin,
            ),
            row(
                "upstream_ca",
                self.upstream_ca
                    .value
                    .as_ref()
                    .map(|p| p.display().to_string())
                    .unwrap_or_default(),
                &self.upstream_ca.origin,
            ),
            row("tls", self.tls.value, &self.tls.origin),
            row(
                "tls_cert",
                self.tls_cert
                    .value
                    .as_ref()
                    .map(|p| p.display().to_string())
                    .unwrap_or_default(),
                &self.tls_cert.origin,
            ),
            row(
                "tls_key",
                self.tls_key
                    .value
                    .as_ref()
                    .map(|p| p.display().to_string())
                    .unwrap_or_default(),
                &self.tls_key.origin,
            ),
            row(
                "infisical_url",
                self.infisical
                    .url
                    .value
                    .as_ref()
                    .map_or("", InfisicalUrl::as_str),
                &self.infisical.url.origin,
            ),
            row(
                "infisical_login",
                self.infisical
                    .login
                    .as_ref()
                    .map_or("", LoginConfig::name),
                &self.infisical.url.origin,
            ),
            row(
                "smtp_host",
                self.smtp.host.value.as_deref().unwrap_or(""),
                &self.smtp.host.origin,
            ),
            row("smtp_port", self.smtp.port.value, &self.smtp.port.origin),
            row(
                "smtp_username",
                self.smtp.username.value.as_deref().unwrap_or(""),
                &self.smtp.username.origin,
            ),
            row(
                "smtp_from",
                self.smtp.from.value.as_deref().unwrap_or(""),
                &self.smtp.from.origin,
            ),
            row(
                "smtp_from_name",
                &self.smtp.from_name.value,
                &self.smtp.from_name.origin,
            ),
            row("smtp_tls_mode", self.smtp.tls.value, &self.smtp.tls.origin),
            row(
                "smtp_tls_skip_verify",
                self.smtp.skip_verify.value,
                &self.smtp.skip_verify.origin,
            ),
            row(
                "metrics_token",
                if self.metrics_token.value.is_some() {
                    "(set)"
                } else {
                    ""
                },
                &self.metrics_token.origin,
            ),
            row(
                "logs_max_age_hours",
                self.logs_max_age_hours.value,
                &self.logs_max_age_hours.origin,
            ),
            row(
                "logs_max_rows_per_vault",
                self.logs_max_rows_per_vault.value,
                &self.logs_max_rows_per_vault.origin,
            ),
            row(
                "audit_max_age_days",
                self.audit_max_age_days.value,
                &self.audit_max_age_days.origin,
            ),
            row(
                "logs_retention_lock",
                self.logs_retention_lock.value,
                &self.logs_retention_lock.origin,
            ),
            row(
                "ratelimit_profile",
                self.rate_limits.profile.value,
                &self.rate_limits.profile.origin,
            ),
            row(
                "ratelimit_lock",
                self.rate_limits.lock.value,
                &self.rate_limits.lock.origin,
            ),
        ];
        for (variable, text) in &self.rate_limits.knobs {
            rows.push(("ratelimit", text.clone(), variable.clone()));
        }
        rows
    }
}

fn base_url(layers: &Layers<'_>) -> Result<Setting<Option<String>>> {
    let parse = |text: &str| {
        crate::connect::Address::parse(text)
            .map(|a| Some(a.to_string()))
            .map_err(|e| e.message().to_owned())
    };
    let explicit = layers.plain("base_url", &vars::ADDR, parse, || None)?;
    if explicit.value.is_some() {
        return Ok(explicit);
    }
    Ok(match layers.env.get(&vars::FLY_APP_NAME)? {
        Some(app) => Setting {
            value: Some(format!("https://{app}.fly.dev")),
            origin: Origin::Environment(vars::FLY_APP_NAME.name),
        },
        None => explicit,
    })
}

/// The mail server; a part of it alone is an error rather than mail that never goes out.
fn smtp(layers: &Layers<'_>) -> Result<SmtpConfig> {
    let text = |text: &str| Ok(Some(text.to_owned()));
    let smtp = SmtpConfig {
        host: layers.plain("smtp_host", &vars::SMTP_HOST, text, || None)?,
        port: layers.plain("smtp_port", &vars::SMTP_PORT, values::port, || 587)?,
        username: layers.plain("smtp_username", &vars::SMTP_USERNAME, text, || None)?,
        password: secret(layers, &vars::SMTP_PASSWORD, &vars::SMTP_PASSWORD_FILE)?,
        from: layers.plain("smtp_from", &vars::SMTP_FROM, text, || None)?,
        from_name: layers.plain(
            "smtp_from_name",
            &vars::SMTP_FROM_NAME,
            |text| Ok(text.to_owned()),
            || String::from("Agent Vault"),
        )?,
        tls: layers.plain(
            "smtp_tls_mode",
            &vars::SMTP_TLS_MODE,
            values::smtp_tls,
            || values::SmtpTls(agent_vault_mail::TlsMode::Opportunistic),
        )?,
        skip_verify: layers.plain(
            "smtp_tls_skip_verify",
            &vars::SMTP_TLS_SKIP_VERIFY,
            values::boolean,
            || false,
        )?,
    };
    if smtp.host.value.is_some() != smtp.from.value.is_some() {
        return Err(CliError::new(format!(
            "{} and {} go together: mail needs both",
            vars::SMTP_HOST.name,
            vars::SMTP_FROM.name
        )));
    }
    if smtp.username.value.is_some() != smtp.password.is_some() {
        return Err(CliError::new(format!(
            "{} and {} go together",
            vars::SMTP_USERNAME.name,
            vars::SMTP_PASSWORD.name
        )));
    }
    Ok(smtp)
}

/// A secret of the environment, or of a file that the environment names: its first line.
pub(crate) fn secret_in(
    env: &Env,
    variable: &vars::Variable,
    file: &vars::Variable,
) -> Result<Option<SecretBytes>> {
    let value = env.get(variable)?;
    let path = env.get(file)?;
    match (value, path) {
        (Some(_), Some(_)) => Err(CliError::new(format!(
            "{} and {} are both set",
            variable.name, file.name
        ))),
        (Some(value), None) => Ok(Some(SecretBytes::new(value.as_bytes().to_vec()))),
        (None, Some(path)) => secret_of(env.cwd(), Path::new(path), &file.name).map(Some),
        (None, None) => Ok(None),
    }
}

/// The first line of a file, as a secret; `named_by` is told when it cannot be had.
pub(crate) fn secret_of(
    cwd: &Path,
    path: &Path,
    named_by: &dyn std::fmt::Display,
) -> Result<SecretBytes> {
    let path = cwd.join(path);
    let failed = |why: &dyn std::fmt::Display| {
        CliError::new(format!("{named_by}: {}: {why}", path.display()))
    };
    let bytes =
        crate::home::read_if_there(&path)?.ok_or_else(|| failed(&"there is no such file"))?;
    let bytes = zeroize::Zeroizing::new(bytes);
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(failed(&"its first line is empty"));
    }
    Ok(SecretBytes::new(line.to_vec()))
}

fn secret(
    layers: &Layers<'_>,
    variable: &vars::Variable,
    file: &vars::Variable,
) -> Result<Option<Arc<SecretBytes>>> {
    Ok(secret_in(layers.env, variable, file)?.map(Arc::new))
}

/// The limits as the API reads them, so that what is shown is what is held to.
fn rate_limits(layers: &Layers<'_>) -> Result<RateLimits> {
    let profile = layers.plain(
        "ratelimit_profile",
        &vars::RATELIMIT_PROFILE,
        values::profile,
        || RateProfile::Default,
    )?;
    let lock = layers.plain(
        "ratelimit_lock",
        &vars::RATELIMIT_LOCK,
        values::boolean,
        || false,
    )?;
    let knobs = RefCell::new(Vec::new());
    let variable = |name: &str| {
        if name == vars::RATELIMIT_PROFILE.name {
            return (profile.origin != Origin::Default).then(|| profile.value.to_string());
        }
        let text = layers.env.raw(name)?.to_string_lossy().into_owned();
        if !text.trim().is_empty() {
            knobs.borrow_mut().push((name.to_owned(), text.clone()));
        }
        Some(text)
    };
    let limits = LimitSources {
        env: LimitLayer::from_env(variable)
            .map_err(|error| CliError::new(format!("environment variable {error}")))?,
        lock: lock.value,
    };
    Ok(RateLimits {
        profile,
        lock,
        limits,
        knobs: knobs.into_inner(),
    })
}

/// A database that was asked for and is not used would look like data loss.
fn refuse_postgres(layers: &Layers<'_>, flags: &ServerFlags) -> Result {
    let asked: Setting<Option<String>> = layers.read(
        Spec {
            key: "database_url",
            flag: Some("--database-url"),
            vars: &[&vars::DATABASE_URL],
        },
        flags.database_url.as_deref(),
        |text| Ok(Some(text.to_owned())),
        || None,
    )?;
    match asked.value {
        Some(url) if !url.is_empty() => Err(CliError::new(format!(
            "PostgreSQL ({}) is not in this version: data is stored in SQLite",
            asked.origin
        ))
        .hint("leave it out; the data folder is set with `--data-dir`")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
