//! The flags of `agent-vault server`.

use std::path::PathBuf;

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
