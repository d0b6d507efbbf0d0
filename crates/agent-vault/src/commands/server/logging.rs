//! The process log: on stderr, as text or JSON.

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogLevel};

/// Starts logging. A second start in one process changes nothing.
pub(super) fn start(level: LogLevel, format: LogFormat) {
    // The protocol libraries' own debug output is about frames, and could hold header values.
    let filter = EnvFilter::new(match level {
        LogLevel::Info => {
            "warn,agent_vault=info,agent_vault_api=info,agent_vault_proxy=info,agent_vault_control=info,agent_vault_broker=info,agent_vault_store=info,agent_vault_upstream=info,agent_vault_ca=info"
        }
        LogLevel::Debug => {
            "info,agent_vault=debug,agent_vault_api=debug,agent_vault_proxy=debug,agent_vault_control=debug,agent_vault_broker=debug,agent_vault_store=debug,agent_vault_upstream=debug,agent_vault_ca=debug"
        }
    });
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A line that cannot be written would otherwise be told on stderr too, and whoever logged would panic when that is on the same
        // full disk.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let _ = match format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
