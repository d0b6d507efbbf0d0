//! Control bytes in values: what no request could use is refused when it is stored, not when an agent stumbles over it (C19).
//!
//! A line break at the end is what `echo` and editors leave. Inside, a value may have line breaks, as PEM keys do, unless a
//! service puts it in a header: no header carries one (RFC 9110 section 5.5, RFC 7617 section 2).

use agent_vault_policy::{CredentialKey, Service, Surface, validate_header_safe};

use crate::error::ControlError;

/// Refuses CR, LF and NUL at either end of a value, whatever it is for.
///
/// # Errors
/// `Invalid`, with a hint; the message says nothing about the rest of the value.
pub(crate) fn check_ends(key: &CredentialKey, value: &[u8]) -> Result<(), ControlError> {
    let stray = |byte: Option<&u8>| byte.is_some_and(|b| matches!(b, b'\r' | b'\n' | 0));
    let refused = |what: &str| {
        Err(ControlError::invalid(format!(
            "the value of `{key}` {what} with a line break or a zero byte"
        ))
        .hint("send it without; `printf %s` adds no line break where `echo` does, and `agent-vault vault credential set KEY=-` removes the one that `echo` adds"))
    };
    if stray(value.last()) {
        return refused("ends");
    }
    if stray(value.first()) {
        return refused("begins");
    }
    Ok(())
}

/// Refuses a value that one of the services puts in a header and that no header carries.
///
/// # Errors
/// `Invalid`, naming the service.
pub(crate) fn check_headers<'s>(
    services: impl IntoIterator<Item = &'s Service>,
    key: &CredentialKey,
    value: &[u8],
) -> Result<(), ControlError> {
    let Err(why) = validate_header_safe(value) else {
        return Ok(());
    };
    match services
        .into_iter()
        .find(|service| header_keys(service).contains(&key))
    {
        None => Ok(()),
        Some(service) => Err(ControlError::invalid(format!(
            "service \"{}\" puts `{key}` in a header: {why}",
            service.name
        ))
        .hint("store the value in one line, or let the service put another credential there")),
    }
}

/// The credentials that a service puts in a header, by injection or by substitution.
pub(crate) fn header_keys(service: &Service) -> Vec<&CredentialKey> {
    let substituted = service
        .substitutions
        .iter()
        .filter(|substitution| substitution.surfaces.contains(Surface::Header))
        .map(|substitution| &substitution.key);
    service.auth.keys().into_iter().chain(substituted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish;

    fn key(text: &str) -> CredentialKey {
        CredentialKey::parse(text).unwrap()
    }

    #[test]
    fn the_ends_are_clean() {
        for good in ["", "x", "a\nb", "a\0b", "\tx\t", " x "] {
            check_ends(&key("K"), good.as_bytes()).unwrap();
        }
        for bad in ["x\n", "x\r\n", "x\r", "x\0", "\nx", "\rx", "\0x", "\n"] {
            let refused = check_ends(&key("K"), bad.as_bytes()).unwrap_err();
            assert!(refused.to_string().contains("`K`"), "{bad:?}");
        }
    }

    #[test]
    fn only_what_goes_into_a_header_is_held_to_it() {
        let services = publish::stored_services(
            r#"[{"name":"bearer","host":"a.x.com","auth":{"type":"bearer","token":"TOKEN"}},
                {"name":"basic","host":"b.x.com","auth":{"type":"basic","username":"USER","password":"PASS"}},
                {"name":"swap","host":"c.x.com","auth":{"type":"passthrough"},"substitutions":[
                    {"key":"SENT","placeholder":"__sent__","in":["header"]},
                    {"key":"PEM","placeholder":"__pem__","in":["body"]}]}]"#,
        )
        .unwrap();
        for held in ["TOKEN", "USER", "PASS", "SENT"] {
            for bad in ["a\nb", "a\rb", "a\0b", "a\u{7f}b"] {
                check_headers(&services, &key(held), bad.as_bytes()).unwrap_err();
            }
            check_headers(&services, &key(held), b"a b\tc").unwrap();
        }
        for free in ["PEM", "UNUSED"] {
            check_headers(&services, &key(free), b"a\nb\0").unwrap();
        }
    }
}
