//! One spelling per host: the only form in which this product compares, dials or shows a host.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// Longest host in bytes (RFC 1035 section 2.3.4, without the trailing dot).
pub const MAX_HOST_BYTES: usize = 253;

/// Longest label in bytes (RFC 1035 section 2.3.4).
const MAX_LABEL_BYTES: usize = 63;

/// A host in its one spelling: a lower-case name of A-labels without a trailing dot, or a canonical IP address.
///
/// IPv4-mapped IPv6 addresses become IPv4. Numeric forms that only some resolvers read as an address (`127.1`, `0x7f.0.0.1`,
/// `2130706433`) are refused, so that a name can never turn into an address behind our back. `_` is allowed in labels.
#[derive(Clone)]
pub struct Host {
    text: Arc<str>,
    ip: Option<IpAddr>,
}

impl Host {
    /// Parses a name or an address; an IPv6 address may stand in brackets.
    ///
    /// # Errors
    /// Refuses everything that could be read as something else than a host: empty, over [`MAX_HOST_BYTES`], userinfo, path, query,
    /// fragment, percent-escapes, spaces, control bytes, empty labels (leading, trailing or doubled dots), ambiguous numbers.
    pub fn parse(input: &str) -> Result<Self, HostError> {
        if input.is_empty() {
            return Err(HostError::Empty);
        }
        if input.len() > MAX_HOST_BYTES * 4 {
            return Err(HostError::TooLong);
        }
        if let Some(inner) = input.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(HostError::BadIpv6)?;
            return Self::parse_ipv6(inner);
        }
        if input.contains(':') {
            return Self::parse_ipv6(input);
        }
        if let Some(bad) = input.chars().find(|&c| is_forbidden(c)) {
            return Err(HostError::Forbidden(bad));
        }
        let ascii = if input.is_ascii() {
            Cow::Borrowed(input)
        } else {
            idna::domain_to_ascii_cow(input.as_bytes(), idna::AsciiDenyList::URL)
                .map_err(|_| HostError::Idna)?
        };
        Self::parse_ascii(&ascii)
    }

    /// The host as text; IPv6 without brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address, when the host is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// The name without its first label (`x.com` of `api.x.com`); nothing for addresses and single labels.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        if self.ip.is_some() {
            return None;
        }
        self.text.split_once('.').map(|(_, parent)| parent)
    }

    fn parse_ipv6(text: &str) -> Result<Self, HostError> {
        let address = Ipv6Addr::from_str(text).map_err(|_| HostError::BadIpv6)?;
        Ok(Self::from(IpAddr::V6(address)))
    }

    fn parse_ascii(text: &str) -> Result<Self, HostError> {
        if text.len() > MAX_HOST_BYTES {
            return Err(HostError::TooLong);
        }
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        let mut last = "";
        for label in text.split('.') {
            if label.is_empty() {
                return Err(HostError::EmptyLabel);
            }
            if label.len() > MAX_LABEL_BYTES {
                return Err(HostError::LabelTooLong);
            }
            if let Some(bad) = label
                .chars()
                .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')))
            {
                return Err(HostError::Forbidden(bad));
            }
            last = label;
        }
        if is_number(last) {
            let address = Ipv4Addr::from_str(text).map_err(|_| HostError::AmbiguousNumber)?;
            return Ok(Self::from(IpAddr::V4(address)));
        }
        let text = if text.bytes().any(|b| b.is_ascii_uppercase()) {
            Arc::from(text.to_ascii_lowercase())
        } else {
            Arc::from(text)
        };
        Ok(Self { text, ip: None })
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self {
            text: Arc::from(address.to_string()),
            ip: Some(address),
        }
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        Self::parse(text)
    }
}

impl PartialEq for Host {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Host {}

impl PartialOrd for Host {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Host {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for Host {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Borrow<str> for Host {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

/// Why a text is not a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// Nothing there.
    #[error("the host is empty")]
    Empty,
    /// Over [`MAX_HOST_BYTES`].
    #[error("the host is longer than 253 bytes")]
    TooLong,
    /// One label over 63 bytes.
    #[error("a label of the host is longer than 63 bytes")]
    LabelTooLong,
    /// A leading, trailing or doubled dot.
    #[error("the host has an empty label (a leading, trailing or doubled dot)")]
    EmptyLabel,
    /// A character that no host contains.
    #[error("the host contains {0:?}")]
    Forbidden(char),
    /// An international name that has no ASCII form (UTS 46).
    #[error("the host is not a valid international name")]
    Idna,
    /// Ends in a number without being a dotted quad.
    #[error("the host ends in a number but is not a dotted IPv4 address")]
    AmbiguousNumber,
    /// A colon or bracket without an IPv6 address.
    #[error("the host is not a valid IPv6 address")]
    BadIpv6,
}

fn is_forbidden(c: char) -> bool {
    c.is_control()
        || c.is_whitespace()
        || matches!(c, '@' | '?' | '#' | '/' | '\\' | '%' | '[' | ']')
}

/// The "ends in a number" test of the URL standard: such a label makes resolvers try an address.
fn is_number(label: &str) -> bool {
    if label.bytes().all(|b| b.is_ascii_digit()) {
        return true;
    }
    label
        .strip_prefix("0x")
        .or_else(|| label.strip_prefix("0X"))
        .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling() {
        for (input, expected) in [
            ("API.Example.COM", "api.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
            ("my_host.internal-zone", "my_host.internal-zone"),
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("１２７.0.0.1", "127.0.0.1"),
            ("[::1]", "::1"),
            ("::1", "::1"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("[::ffff:7f00:1]", "127.0.0.1"),
        ] {
            let host = Host::parse(input).unwrap();
            assert_eq!(host.as_str(), expected, "{input}");
            assert_eq!(Host::parse(host.as_str()).unwrap(), host);
        }
    }

    #[test]
    fn refused() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long = format!("{}example", "aaaa.".repeat(60));
        for input in [
            "",
            ".",
            "a..b",
            ".a",
            "a.",
            "a b",
            "a\tb",
            "a\u{7f}b",
            "a@b",
            "a?b",
            "a#b",
            "a/b",
            "a\\b",
            "a%b",
            "a*b",
            "*.a.b",
            "127.1",
            "0x7f.0.0.1",
            "2130706433",
            "0177.0.0.1",
            "1.2.3.4.5",
            "256.1.1.1",
            "[::1",
            "::1]",
            "fe80::1%eth0",
            "[]",
            "a:b",
            "xn--\u{1f4a9}..",
            "a\u{3002}\u{3002}b",
            &long_label,
            &long,
        ] {
            assert!(Host::parse(input).is_err(), "{input:?}");
        }
    }

    #[test]
    fn parent_is_one_label_up() {
        assert_eq!(Host::parse("a.b.c").unwrap().parent(), Some("b.c"));
        assert_eq!(Host::parse("a").unwrap().parent(), None);
        assert_eq!(Host::parse("10.0.0.1").unwrap().parent(), None);
    }
}
