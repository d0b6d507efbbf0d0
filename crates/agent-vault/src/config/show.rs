//! The settings as `server --print-config` shows them.

use agent_vault_sources::infisical::InfisicalUrl;
use ipnet::IpNet;

use super::{LoginConfig, Origin, ServerConfig};

impl ServerConfig {
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
                self.infisical.login.as_ref().map_or("", LoginConfig::name),
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
