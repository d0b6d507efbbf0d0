//! How each kind of value is read.

use std::fmt;
use std::net::IpAddr;

use agent_vault_control::{UnmatchedPolicy, unmatched_name};
use agent_vault_seal::TokenHash;
use ipnet::IpNet;
use url::Url;

/// What a value reads as, or what is wrong with it.
pub(super) type Parsed<T> = Result<T, String>;

/// Verbosity of the process log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogLevel {
    Info,
    Debug,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        })
    }
}

/// What both ports take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsMode {
    /// TLS and HTTP in clear.
    Optional,
    /// TLS alone.
    Required,
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsMode::Optional => "optional",
            TlsMode::Required => "required",
        })
    }
}

/// Shape of the process log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        })
    }
}

/// `http://[user:password@]host:port`; shown without the password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct UpstreamProxyUrl(Url);

impl UpstreamProxyUrl {
    /// Host and port to connect to.
    pub(crate) fn authority(&self) -> String {
        format!(
            "{}:{}",
            self.0.host_str().unwrap_or_default(),
            self.0.port_or_known_default().unwrap_or(80)
        )
    }

    /// User and password, still percent-encoded, where given. Loud: this is a secret.
    pub(crate) fn expose_credentials(&self) -> Option<(&str, &str)> {
        (!self.0.username().is_empty())
            .then(|| (self.0.username(), self.0.password().unwrap_or_default()))
    }
}

impl fmt::Display for UpstreamProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = if self.0.username().is_empty() {
            ""
        } else {
            "[redacted]@"
        };
        write!(f, "http://{user}{}", self.authority())
    }
}

impl fmt::Debug for UpstreamProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub(super) fn host(text: &str) -> Parsed<IpAddr> {
    if text == "localhost" {
        return Ok(IpAddr::from([127, 0, 0, 1]));
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse()
        .map_err(|_| format!("`{text}` is not an IP address (use 127.0.0.1, 0.0.0.0, ::1, ::)"))
}

/// 0 lets the system choose; the chosen port is announced.
pub(super) fn port(text: &str) -> Parsed<u16> {
    text.parse()
        .map_err(|_| format!("`{text}` is not a port (1 to 65535, or 0 for a free one)"))
}

pub(super) fn port_or_off(text: &str) -> Parsed<Option<u16>> {
    match text.parse() {
        Ok(0) => Ok(None),
        Ok(port) => Ok(Some(port)),
        Err(_) => Err(format!("`{text}` is not a port (1 to 65535, or 0 for off)")),
    }
}

pub(super) fn count(text: &str) -> Parsed<u64> {
    text.parse()
        .map_err(|_| format!("`{text}` is not a number of 0 or more"))
}

pub(super) fn boolean(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

pub(super) fn networks(text: &str) -> Parsed<Vec<IpNet>> {
    text.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .map(|entry| {
            entry
                .parse::<IpNet>()
                .or_else(|_| entry.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| format!("`{entry}` is neither an IP address nor a CIDR"))
        })
        .collect()
}

pub(super) fn log_level(text: &str) -> Parsed<LogLevel> {
    match text.to_ascii_lowercase().as_str() {
        "info" => Ok(LogLevel::Info),
        "debug" => Ok(LogLevel::Debug),
        _ => Err(format!("`{text}` is neither `info` nor `debug`")),
    }
}

pub(super) fn unmatched_policy(text: &str) -> Parsed<UnmatchedPolicy> {
    [UnmatchedPolicy::Passthrough, UnmatchedPolicy::Deny]
        .into_iter()
        .find(|policy| text.eq_ignore_ascii_case(unmatched_name(*policy)))
        .ok_or_else(|| format!("`{text}` is neither `passthrough` nor `deny`"))
}

pub(super) fn tls_mode(text: &str) -> Parsed<TlsMode> {
    match text.to_ascii_lowercase().as_str() {
        "optional" => Ok(TlsMode::Optional),
        "required" => Ok(TlsMode::Required),
        _ => Err(format!("`{text}` is neither `optional` nor `required`")),
    }
}

pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    match text.to_ascii_lowercase().as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("`{text}` is neither `text` nor `json`")),
    }
}

/// A scrape token, of which only the hash is kept.
pub(super) fn metrics_token(text: &str) -> Parsed<TokenHash> {
    const MIN_CHARS: usize = 16;
    if text.chars().count() < MIN_CHARS {
        return Err(format!("a token needs at least {MIN_CHARS} characters"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a token is made of visible ASCII characters".to_owned());
    }
    Ok(TokenHash::of(text))
}

/// The message never repeats the text: it may hold a password.
pub(super) fn upstream_proxy(text: &str) -> Parsed<UpstreamProxyUrl> {
    let url = Url::parse(text).map_err(|e| format!("not a URL: {e}"))?;
    if url.scheme() != "http" {
        return Err(String::from("only http:// proxies (CONNECT) are supported"));
    }
    if url.host_str().is_none() || !matches!(url.path(), "" | "/") || url.query().is_some() {
        return Err(String::from("expected http://[user:password@]host:port"));
    }
    Ok(UpstreamProxyUrl(url))
}
