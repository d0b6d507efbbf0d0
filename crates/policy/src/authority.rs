//! Where a request goes: scheme, host and port, parsed strictly and once.

use std::fmt;

use crate::host::{Host, HostError};

/// The scheme towards the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// Clear text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// The port that an URL of this scheme leaves out.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// `http` or `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A host and a port. Two authorities are equal exactly when they name the same destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Authority {
    host: Host,
    port: u16,
}

impl Authority {
    /// Joins a host and a port. The parsers below never yield port 0.
    #[must_use]
    pub fn new(host: Host, port: u16) -> Self {
        Self { host, port }
    }

    /// Parses `host:port` with the port written out (the target of `CONNECT`, RFC 9110 section 9.3.6).
    ///
    /// # Errors
    /// Without a port, with one outside 1..=65535, or when [`Host::parse`] refuses the host.
    pub fn parse(text: &str) -> Result<Self, AuthorityError> {
        match split(text)? {
            (host, Some(port)) => Ok(Self::new(Host::parse(host)?, parse_port(port)?)),
            (_, None) => Err(AuthorityError::NoPort),
        }
    }

    /// Parses `host` or `host:port` (a `Host` field, an `:authority`, the authority of an URL).
    ///
    /// # Errors
    /// With an empty port or one outside 1..=65535, with userinfo, or when [`Host::parse`] refuses the host.
    pub fn parse_with_default(text: &str, default_port: u16) -> Result<Self, AuthorityError> {
        let (host, port) = split(text)?;
        let port = port.map_or(Ok(default_port), parse_port)?;
        Ok(Self::new(Host::parse(host)?, port))
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of the `Host` field towards the upstream: the port is left out when it is the scheme's default, IPv6 keeps its
    /// brackets. Request signatures depend on this form.
    #[must_use]
    pub fn host_header(&self, scheme: Scheme) -> String {
        if self.port == scheme.default_port() {
            match self.host.ip() {
                Some(std::net::IpAddr::V6(address)) => format!("[{address}]"),
                _ => self.host.as_str().to_owned(),
            }
        } else {
            self.to_string()
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.ip() {
            Some(std::net::IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl std::str::FromStr for Authority {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Self, AuthorityError> {
        Self::parse(text)
    }
}

/// Why a text is not an authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The port is needed here and missing.
    #[error("the target has no port; write host:port")]
    NoPort,
    /// The port is empty, not a number, or outside 1..=65535.
    #[error("the port must be a number from 1 to 65535")]
    BadPort,
    /// An IPv6 address outside brackets: its end cannot be told from a port.
    #[error("an IPv6 address needs brackets, as in [::1]:443")]
    Unbracketed,
    /// The host part.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// Splits at the colon that starts the port, if there is one.
fn split(text: &str) -> Result<(&str, Option<&str>), AuthorityError> {
    if text.starts_with('[') {
        let Some((inside, rest)) = text.split_once(']') else {
            return Err(AuthorityError::Host(HostError::BadIpv6));
        };
        // The address without its opening bracket; brackets around a name are refused here, not silently dropped.
        let host = inside.get(1..).unwrap_or_default();
        if !host.contains(':') {
            return Err(AuthorityError::Host(HostError::BadIpv6));
        }
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(AuthorityError::Host(HostError::BadIpv6)),
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((_, rest)) if rest.contains(':') => Err(AuthorityError::Unbracketed),
        Some((host, port)) => Ok((host, Some(port))),
    }
}

pub(crate) fn parse_port(text: &str) -> Result<u16, AuthorityError> {
    if text.is_empty() || text.len() > 5 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AuthorityError::BadPort);
    }
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(AuthorityError::BadPort),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints() {
        for (input, shown, https, http) in [
            (
                "API.x.com:443",
                "api.x.com:443",
                "api.x.com",
                "api.x.com:443",
            ),
            ("api.x.com:80", "api.x.com:80", "api.x.com:80", "api.x.com"),
            ("[::1]:443", "[::1]:443", "[::1]", "[::1]:443"),
            (
                "[2001:DB8::1]:8443",
                "[2001:db8::1]:8443",
                "[2001:db8::1]:8443",
                "[2001:db8::1]:8443",
            ),
            ("[::ffff:1.2.3.4]:1", "1.2.3.4:1", "1.2.3.4:1", "1.2.3.4:1"),
            (
                "localhost:65535",
                "localhost:65535",
                "localhost:65535",
                "localhost:65535",
            ),
        ] {
            let authority = Authority::parse(input).unwrap();
            assert_eq!(authority.to_string(), shown);
            assert_eq!(authority.host_header(Scheme::Https), https);
            assert_eq!(authority.host_header(Scheme::Http), http);
            assert_eq!(Authority::parse(shown).unwrap(), authority);
        }
    }

    #[test]
    fn refused() {
        for input in [
            "",
            ":",
            ":443",
            "a",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a:-1",
            "a:1x",
            "a:000001",
            "u@a:1",
            "u:p@a:1",
            "a:1/",
            "a/b:1",
            "a?b:1",
            "a#b:1",
            "a%41:1",
            "a\\b:1",
            "a b:1",
            "a\0:1",
            "::1:443",
            "[::1]",
            "[::1]443",
            "[::1]:",
            "[a]:443",
            "[1.2.3.4]:80",
            "a.:443",
            ".a:443",
            "a:1:2",
        ] {
            assert!(Authority::parse(input).is_err(), "{input:?}");
        }
        assert!(Authority::parse_with_default("a:", 80).is_err());
        assert!(Authority::parse_with_default("::1", 80).is_err());
        assert_eq!(Authority::parse_with_default("a", 80).unwrap().port(), 80);
        assert_eq!(
            Authority::parse_with_default("[::1]", 80)
                .unwrap()
                .to_string(),
            "[::1]:80"
        );
    }
}
