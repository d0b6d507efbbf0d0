//! Settings of the server: flags, then environment, then `config.toml`, then defaults, each with its origin.
//!
//! A value that cannot be read is an error that names where it came from; nothing is ignored.

mod flags;
mod infisical;
mod layers;
mod limits;
mod mail;
mod secrets;
mod show;
mod values;

use std::net::IpAddr;
use std::path::PathBuf;

use agent_vault_control::UnmatchedPolicy;
use agent_vault_seal::TokenHash;
use ipnet::IpNet;

pub(crate) use flags::ServerFlags;
pub(crate) use infisical::{InfisicalConfig, LoginConfig};
pub(crate) use layers::{Origin, Setting};
pub(crate) use limits::RateLimits;
pub(crate) use mail::SmtpConfig;
pub(crate) use secrets::{secret_in, secret_of};
pub(crate) use values::{LogFormat, LogLevel, TlsMode, UpstreamProxyUrl};

use layers::{FileLayer, Layers, Spec};

use crate::env::Env;
use crate::env_vars as vars;
use crate::error::{CliError, Result};
use crate::home::Home;

/// Default port of the management API.
pub(crate) const DEFAULT_API_PORT: u16 = 14321;
/// Default port of the proxy.
pub(crate) const DEFAULT_PROXY_PORT: u16 = 14322;

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
    /// Whether rows of the request log have the path.
    pub(crate) log_paths: Setting<bool>,
    /// Services on internal host names are allowed.
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
    /// Age limit of audit records in days; 0 = none.
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
            smtp: mail::smtp(&layers)?,
            infisical: infisical::read(&layers)?,
            metrics_token: layers.plain(
                "metrics_token",
                &vars::METRICS_TOKEN,
                |text| values::metrics_token(text).map(Some),
                || None,
            )?,
            rate_limits: limits::rate_limits(&layers)?,
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
