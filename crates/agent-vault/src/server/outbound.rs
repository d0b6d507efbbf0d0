//! The way out, as configured: what may be reached, whom to believe, through which proxy.

use std::sync::Arc;

use agent_vault_policy::EgressPolicy;
use agent_vault_upstream::{
    CachingResolver, Dialer, DialerOptions, ExtraRoots, Limits, NoProxy, ProxyCredentials,
    SystemResolver, Trust, TrustEnvironment, TrustOptions, Upstream, UpstreamProxy,
};
use percent_encoding::percent_decode_str;

use super::StartError;
use crate::config::{ServerConfig, UpstreamProxyUrl};
use crate::error::CliError;

/// Reads the extra roots for upstreams, if there are any. Apart from [`upstream`], so that a wrong setting is found before
/// a store is opened or made.
pub(super) fn extra_roots(config: &ServerConfig) -> Result<ExtraRoots, StartError> {
    Ok(match &config.upstream_ca.value {
        Some(path) => ExtraRoots::read(path).map_err(|error| {
            CliError::new(format!(
                "the extra upstream roots ({}): {error}",
                config.upstream_ca.origin
            ))
        })?,
        None => ExtraRoots::default(),
    })
}

/// Builds the only outbound door.
pub(super) fn upstream(
    config: &ServerConfig,
    extra: ExtraRoots,
    own_root: &str,
) -> Result<Upstream, StartError> {
    let trust = Trust::load(&TrustOptions {
        extra,
        own_root_pem: Some(own_root.to_owned()),
        environment: TrustEnvironment::of_this_process(),
    })
    .map_err(|error| CliError::new(format!("no roots to verify upstreams with: {error}")))?;
    let proxy = proxy(config)?;
    let dialer = Dialer::new(DialerOptions {
        resolver: Arc::new(CachingResolver::new(Arc::new(SystemResolver::new()))),
        egress: EgressPolicy {
            allow_private: config.allow_private_ranges.value,
            allow: config.network_allowlist.value.clone(),
        },
        trust,
        proxy,
        limits: Limits::default(),
    })
    .map_err(|error| CliError::new(format!("TLS towards upstreams cannot be set up: {error}")))?;
    Ok(Upstream::new(dialer))
}

/// The operator's proxy on the way out, if there is one.
pub(super) fn proxy(config: &ServerConfig) -> Result<Option<UpstreamProxy>, StartError> {
    config
        .upstream_proxy
        .value
        .as_ref()
        .map(|url| chained(url, config))
        .transpose()
}

fn chained(url: &UpstreamProxyUrl, config: &ServerConfig) -> Result<UpstreamProxy, StartError> {
    let wrong = |error: &dyn std::fmt::Display| {
        StartError::new(CliError::new(format!(
            "the upstream proxy ({}): {error}",
            config.upstream_proxy.origin
        )))
    };
    let mut proxy = UpstreamProxy::parse(&format!("http://{}", url.authority()))
        .map_err(|error| wrong(&error))?;
    if let Some((user, password)) = url.expose_credentials() {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        proxy = proxy.with_credentials(
            ProxyCredentials::basic(&decode(user), &decode(password))
                .map_err(|error| wrong(&error))?,
        );
    }
    if let Some(list) = &config.upstream_no_proxy.value {
        proxy = proxy.with_no_proxy(NoProxy::parse(list).map_err(|error| wrong(&error))?);
    }
    Ok(proxy)
}
