//! The host part of a rule: one host, or every host one label below a suffix.

use std::fmt;

use crate::host::{Host, HostError};

/// Names that mean "this machine" or a platform's metadata service. Refused in rules outside development mode.
const INTERNAL_NAMES: [&str; 8] = [
    "localhost",
    "localhost.localdomain",
    "internal",
    "kubernetes",
    "kubernetes.default",
    "metadata.google.internal",
    "metadata.google",
    "instance-data",
];

/// Which hosts a rule is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// Exactly this host.
    Exact(Host),
    /// `*.suffix`: one label more than the suffix, never the suffix itself.
    Wildcard {
        /// What stands behind `*.`: at least two labels.
        suffix: Host,
    },
}

impl HostPattern {
    /// Parses `api.example.com` or `*.example.com`. With `dev_mode`, internal names, single labels and addresses are accepted too.
    ///
    /// # Errors
    /// On addresses, bare or inner wildcards, names without a dot, a last label without two letters, and internal names.
    pub fn parse(text: &str, dev_mode: bool) -> Result<Self, HostPatternError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(HostPatternError::Host(HostError::Empty));
        }
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if name.contains('*') {
            return Err(HostPatternError::Wildcard);
        }
        let host = Host::parse(name)?;
        if host.ip().is_some() {
            return if dev_mode && !wildcard {
                Ok(Self::Exact(host))
            } else {
                Err(HostPatternError::Address)
            };
        }
        if host
            .as_str()
            .split('.')
            .any(|label| label.starts_with('-') || label.ends_with('-'))
        {
            return Err(HostPatternError::Hyphen);
        }
        if wildcard {
            check_dotted(&host, HostPatternError::Wildcard)?;
            let covers_internal = INTERNAL_NAMES.iter().any(|name| {
                name.split_once('.')
                    .is_some_and(|(_, parent)| parent == host.as_str())
            });
            if covers_internal && !dev_mode {
                return Err(HostPatternError::Internal(format!("*.{host}")));
            }
            return Ok(Self::Wildcard { suffix: host });
        }
        if dev_mode {
            return Ok(Self::Exact(host));
        }
        if INTERNAL_NAMES.contains(&host.as_str()) {
            return Err(HostPatternError::Internal(host.to_string()));
        }
        check_dotted(&host, HostPatternError::SingleLabel)?;
        Ok(Self::Exact(host))
    }

    /// Whether the pattern covers the host.
    #[must_use]
    pub fn matches(&self, host: &Host) -> bool {
        match self {
            Self::Exact(own) => own == host,
            Self::Wildcard { suffix } => host.parent() == Some(suffix.as_str()),
        }
    }

    /// The host, or the suffix behind `*.`.
    #[must_use]
    pub fn host(&self) -> &Host {
        match self {
            Self::Exact(host) | Self::Wildcard { suffix: host } => host,
        }
    }

    /// Whether the pattern is a wildcard.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Wildcard { .. })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => match host.ip() {
                Some(std::net::IpAddr::V6(address)) => write!(f, "[{address}]"),
                _ => write!(f, "{host}"),
            },
            Self::Wildcard { suffix } => write!(f, "*.{suffix}"),
        }
    }
}

/// Why a text cannot be the host of a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostPatternError {
    /// Not a host at all.
    #[error(transparent)]
    Host(#[from] HostError),
    /// `*`, `*.com`, or a `*` elsewhere.
    #[error(
        "a wildcard stands only in front, as in *.example.com, with at least two labels behind it"
    )]
    Wildcard,
    /// An IP address.
    #[error("a rule names a host, not an IP address")]
    Address,
    /// No dot, or a last label that is not a top-level domain.
    #[error("a rule needs a full host name such as api.example.com")]
    SingleLabel,
    /// A label with a hyphen at its edge.
    #[error("a label of the host starts or ends with a hyphen")]
    Hyphen,
    /// An internal name.
    #[error("`{0}` is an internal name; it is accepted only with AGENT_VAULT_DEV_MODE=true")]
    Internal(String),
}

/// Two labels or more, the last of two letters or more (or an international one).
fn check_dotted(host: &Host, otherwise: HostPatternError) -> Result<(), HostPatternError> {
    let Some((_, last)) = host.as_str().rsplit_once('.') else {
        return Err(otherwise);
    };
    let letters = last.len() >= 2 && last.bytes().all(|b| b.is_ascii_alphabetic());
    if letters || last.starts_with("xn--") {
        Ok(())
    } else {
        Err(otherwise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted() {
        for (input, shown) in [
            ("api.example.com", "api.example.com"),
            (" API.Example.com ", "api.example.com"),
            ("*.Example.com", "*.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("api.пример.рф", "api.xn--e1afmkfd.xn--p1ai"),
        ] {
            assert_eq!(HostPattern::parse(input, false).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn refused() {
        for input in [
            "",
            "  ",
            "*",
            "*.com",
            "*.",
            "a.*.com",
            "*x.com",
            "*.*.com",
            "localhost",
            "api",
            "1.2.3.4",
            "::1",
            "[::1]",
            "a.b1",
            "a.b",
            "a@b.com",
            "a.com?x",
            "a.com#x",
            "a b.com",
            "a.com:443",
            "-a.com",
            "a-.com",
            "metadata.google.internal",
            "kubernetes.default",
            "LOCALHOST.localdomain",
            "*.google.internal",
            "metadata.google",
        ] {
            assert!(HostPattern::parse(input, false).is_err(), "{input:?}");
        }
    }

    #[test]
    fn development_mode_reaches_this_machine() {
        for input in [
            "localhost",
            "api",
            "127.0.0.1",
            "::1",
            "kubernetes.default",
            "*.google.internal",
        ] {
            assert!(HostPattern::parse(input, true).is_ok(), "{input:?}");
        }
        for input in ["*", "*.com", "*.127.0.0.1", "a@b"] {
            assert!(HostPattern::parse(input, true).is_err(), "{input:?}");
        }
    }

    #[test]
    fn wildcard_is_one_label() {
        let pattern = HostPattern::parse("*.example.com", false).unwrap();
        for (host, expected) in [
            ("a.example.com", true),
            ("example.com", false),
            ("a.b.example.com", false),
            ("aexample.com", false),
        ] {
            assert_eq!(
                pattern.matches(&Host::parse(host).unwrap()),
                expected,
                "{host}"
            );
        }
    }
}
