//! Which names can stand in a leaf, and as which kind of subject alternative name.

use std::net::IpAddr;

use crate::CaError;

/// The longest DNS name that is put in a certificate, in bytes (RFC 1035, section 2.3.4).
pub const MAX_NAME_BYTES: usize = 253;

/// The longest common name that X.520 allows, in characters.
const MAX_COMMON_NAME: usize = 64;

/// A name that was checked: one spelling, and known to be either an address or a DNS name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LeafName {
    Ip(IpAddr),
    /// Lower-case, dot-separated labels of letters, digits, `-` and `_`.
    Dns(String),
}

impl LeafName {
    /// Reads a host: an address without brackets, or a DNS name. Case is folded; `_` is accepted, because hosts with it
    /// exist and clients verify them; wildcards and trailing dots are not.
    pub(crate) fn parse(host: &str) -> Result<Self, CaError> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Self::Ip(ip.to_canonical()));
        }
        let refuse = |reason| {
            Err(CaError::Name {
                name: host.chars().take(64).collect(),
                reason,
            })
        };
        if host.is_empty() {
            return refuse("it is empty");
        }
        if host.len() > MAX_NAME_BYTES {
            return refuse("it is longer than 253 bytes");
        }
        for label in host.split('.') {
            if label.is_empty() {
                return refuse("it has an empty label");
            }
            if label.len() > 63 {
                return refuse("a label is longer than 63 bytes");
            }
            if !label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            {
                return refuse("only letters, digits, `-`, `_` and `.` are allowed");
            }
        }
        Ok(Self::Dns(host.to_ascii_lowercase()))
    }

    /// The spelling that the cache is keyed by.
    pub(crate) fn as_key(&self) -> String {
        match self {
            Self::Ip(ip) => ip.to_string(),
            Self::Dns(name) => name.clone(),
        }
    }

    /// The common name to show, or nothing where it would be too long to be legal. Verifiers look at the subject
    /// alternative name only (RFC 9525, section 2).
    pub(crate) fn common_name(&self) -> Option<String> {
        Some(self.as_key()).filter(|name| name.len() <= MAX_COMMON_NAME)
    }

    /// The subject alternative name.
    pub(crate) fn san(&self) -> Result<rcgen::SanType, CaError> {
        Ok(match self {
            Self::Ip(ip) => rcgen::SanType::IpAddress(*ip),
            Self::Dns(name) => rcgen::SanType::DnsName(name.as_str().try_into()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted() {
        for (host, key) in [
            ("api.example.com", "api.example.com"),
            ("API.Example.COM", "api.example.com"),
            ("localhost", "localhost"),
            ("host.docker.internal", "host.docker.internal"),
            ("my_bucket.s3.example.com", "my_bucket.s3.example.com"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:DB8:0::1", "2001:db8::1"),
        ] {
            assert_eq!(LeafName::parse(host).unwrap().as_key(), key);
        }
    }

    #[test]
    fn refused() {
        let long_label = format!("{}.example.com", "a".repeat(64));
        let long_name = format!("{}com", "abcdefg.".repeat(32));
        for host in [
            "",
            ".",
            "example.com.",
            ".example.com",
            "a..b",
            "*.example.com",
            "a b",
            "a\0b",
            "bücher.example",
            "[::1]",
            "a/b",
            "host:443",
            &long_label,
            &long_name,
        ] {
            let refused = LeafName::parse(host);
            assert!(matches!(refused, Err(CaError::Name { .. })), "{host:?}");
        }
    }

    #[test]
    fn long_names_have_no_common_name() {
        let exactly = format!("{}.{}", "a".repeat(31), "b".repeat(32));
        assert_eq!(exactly.len(), 64);
        assert!(LeafName::parse(&exactly).unwrap().common_name().is_some());
        let beyond = format!("{exactly}.c");
        assert!(LeafName::parse(&beyond).unwrap().common_name().is_none());
    }
}
