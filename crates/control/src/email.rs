//! E-mail addresses: one spelling per mailbox, so that two accounts cannot share one.

use std::fmt;

use crate::ControlError;

/// RFC 5321 section 4.5.3.1: local part, domain, and a path without its brackets.
const MAX_LOCAL_BYTES: usize = 64;
const MAX_DOMAIN_BYTES: usize = 253;
const MAX_ADDRESS_BYTES: usize = 254;
const MAX_LABEL_BYTES: usize = 63;

/// A bare address, lower-case. Display names, quoted local parts, comments and address literals are not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Email(String);

impl Email {
    /// Reads an address; surrounding white space is dropped.
    ///
    /// # Errors
    /// When it is not `local@domain` of bounded length in the dot-atom form of RFC 5322 section 3.4.1.
    pub fn parse(text: &str) -> Result<Self, ControlError> {
        let text = text.trim();
        if text.len() > MAX_ADDRESS_BYTES {
            return Err(refused());
        }
        let (local, domain) = text.rsplit_once('@').ok_or_else(refused)?;
        if !is_local(local) || !is_domain(domain) {
            return Err(refused());
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// What stands behind the `@`, lower-case.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn refused() -> ControlError {
    ControlError::invalid("A valid email is required")
        .hint("give a bare address such as `you@example.com`")
}

fn is_local(local: &str) -> bool {
    local.len() <= MAX_LOCAL_BYTES
        && local.split('.').all(|atom| {
            !atom.is_empty()
                && atom
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c))
        })
}

/// `localhost` and other one-label names are domains too: private instances use them.
pub(crate) fn is_domain(domain: &str) -> bool {
    domain.len() <= MAX_DOMAIN_BYTES
        && domain.split('.').all(|label| {
            (1..=MAX_LABEL_BYTES).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling() {
        assert_eq!(
            Email::parse(" Ada.L@Example.COM ").unwrap().as_str(),
            "ada.l@example.com"
        );
        assert_eq!(
            Email::parse("a+b@localhost").unwrap().as_str(),
            "a+b@localhost"
        );
    }

    #[test]
    fn refused_forms() {
        let long_local = format!("{}@x.io", "a".repeat(65));
        let long_domain = format!("a@{}.io", "b".repeat(64));
        for text in [
            "",
            "a",
            "@x.io",
            "a@",
            "Ada <a@x.io>",
            "a b@x.io",
            "a@x..io",
            "a@-x.io",
            "a@x-.io",
            ".a@x.io",
            "a.@x.io",
            "a@[127.0.0.1]",
            "a@x.io\r\nBcc: b@y.io",
            "\"a\"@x.io",
            "a@.",
            "ä@x.io",
            &long_local,
            &long_domain,
        ] {
            assert!(Email::parse(text).is_err(), "{text:?}");
        }
    }
}
