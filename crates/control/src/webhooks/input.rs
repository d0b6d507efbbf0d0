//! What people may say about an endpoint.

use agent_vault_policy::{Authority, RequestTarget, Scheme};

use super::EventKind;
use crate::error::ControlError;

/// Longest URL of an endpoint, in bytes.
const MAX_URL_BYTES: usize = 2048;
/// Longest description, in characters.
const MAX_DESCRIPTION_CHARS: usize = 200;

/// Where an endpoint is: an absolute https URL without login and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    authority: Authority,
    target: String,
}

impl WebhookUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// `Invalid`, naming the rule. Whether its address may be reached is decided when something is sent, each time.
    pub fn parse(text: &str) -> Result<Self, ControlError> {
        let refused = |rule: &str| {
            ControlError::invalid(format!("url: {rule}"))
                .hint("for example `https://hooks.example.com/agent-vault`")
        };
        if text.is_empty() {
            return Err(refused("is required"));
        }
        if text.len() > MAX_URL_BYTES {
            return Err(refused(&format!("must be at most {MAX_URL_BYTES} bytes")));
        }
        let rest = text
            .strip_prefix("https://")
            .ok_or_else(|| refused("must begin with `https://`"))?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err(refused("must hold no user name and no password"));
        }
        let authority = Authority::parse_with_default(authority, Scheme::Https.default_port())
            .map_err(|error| refused(&format!("must name a host: {error}")))?;
        let target = RequestTarget::parse(target)
            .map_err(|error| refused(&format!("must have a path that can be sent: {error}")))?;
        Ok(Self {
            authority,
            target: target.as_str().to_owned(),
        })
    }

    /// Host and port; TLS verifies the host.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The host, with its port where that is not the usual one.
    pub(super) fn host(&self) -> String {
        self.authority.host_header(Scheme::Https)
    }
}

/// Checks names of events; each counts once, and all of them are the same as none.
pub(super) fn events(names: &[String]) -> Result<Vec<String>, ControlError> {
    let mut wanted: Vec<EventKind> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let kind = EventKind::parse(name).ok_or_else(|| {
            let known: Vec<&str> = EventKind::SELECTABLE.map(EventKind::as_str).to_vec();
            ControlError::invalid(format!(
                "events[{index}]: must be one of: {}",
                known.join(", ")
            ))
            .hint("for example `[\"proposal.raised\"]`; an empty list is all of them")
        })?;
        if !wanted.contains(&kind) {
            wanted.push(kind);
        }
    }
    if EventKind::SELECTABLE
        .iter()
        .all(|kind| wanted.contains(kind))
    {
        wanted.clear();
    }
    Ok(wanted
        .into_iter()
        .map(|kind| kind.as_str().to_owned())
        .collect())
}

pub(super) fn description(text: &str) -> Result<(), ControlError> {
    if text.chars().count() > MAX_DESCRIPTION_CHARS || text.chars().any(char::is_control) {
        return Err(ControlError::invalid(format!(
            "description: must be at most {MAX_DESCRIPTION_CHARS} characters on one line"
        ))
        .hint("for example `the team's chat`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_are_taken() {
        for (text, authority, target) in [
            (
                "https://hooks.example.com/a?b=c",
                "hooks.example.com:443",
                "/a?b=c",
            ),
            ("https://hooks.example.com", "hooks.example.com:443", "/"),
            ("https://[2001:db8::1]:8443?x", "[2001:db8::1]:8443", "/?x"),
        ] {
            let url = WebhookUrl::parse(text).unwrap();
            assert_eq!(url.authority().to_string(), authority);
            assert_eq!(url.target(), target);
        }
    }

    #[test]
    fn urls_that_are_refused() {
        let long = format!("https://a.example/{}", "a".repeat(MAX_URL_BYTES));
        for text in [
            "",
            "http://hooks.example.com/",
            "HTTPS://hooks.example.com/",
            "ftp://x",
            "//hooks.example.com/",
            "https://",
            "https:///path",
            "https://user:pass@hooks.example.com/",
            "https://hooks.example.com/#top",
            "https://hooks.example.com:0/",
            "https://hooks.example.com:99999/",
            "https://hooks.example.com/a b",
            "https://hooks.example.com/\r\nx: y",
            "https://hooks.example.com\\@evil.example/",
            "https://0x7f.1/",
            &long,
        ] {
            let refused = WebhookUrl::parse(text);
            assert!(
                refused.is_err_and(|error| error.message().starts_with("url: ")),
                "{text}"
            );
        }
    }

    #[test]
    fn events_count_once_and_all_are_none() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            events(&names(&["limit.hit", "limit.hit"])).unwrap(),
            ["limit.hit"]
        );
        assert!(events(&[]).unwrap().is_empty());
        let all = EventKind::SELECTABLE.map(|kind| kind.as_str().to_owned());
        assert!(events(&all).unwrap().is_empty());
        let refused = events(&names(&["limit.hit", "no.such"])).unwrap_err();
        assert!(refused.message().starts_with("events[1]: "), "{refused}");
        assert!(events(&names(&["webhook.test"])).is_err());
    }
}
