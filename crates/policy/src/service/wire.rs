//! The wire form: JSON with host, port and path joined in `host`, and the stored list of a vault.

use std::collections::HashSet;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::validate::{MAX_SERVICES, ServiceError, ValidationOptions};
use super::{Service, ServiceDraft};
use crate::glob::PathGlob;
use crate::host_pattern::HostPattern;
use crate::slug::slug_from;

impl Service {
    /// The service as JSON: `name`, `host` (joined), `auth`, and what differs from the defaults.
    #[must_use]
    pub fn to_wire(&self) -> Value {
        // The draft has string keys and plain values only, so it always has a JSON form.
        serde_json::to_value(ServiceDraft::from(self)).unwrap_or(Value::Null)
    }

    /// The stored form of a vault's services. Headers keep their order, which a [`Value`] would not.
    #[must_use]
    pub fn list_to_json(services: &[Self]) -> String {
        let drafts: Vec<ServiceDraft> = services.iter().map(ServiceDraft::from).collect();
        // As above; what is no list is read as an error.
        serde_json::to_string(&drafts).unwrap_or_default()
    }

    /// Reads a stored list; with [`ValidationOptions::stored`], so that a change of mode does not turn old rules into errors. Rules
    /// without a name, as old versions wrote them, get one from host, port and path.
    ///
    /// # Errors
    /// When the text is not a list of valid services: the caller must refuse, never pass through.
    pub fn list_from_json(
        json: &str,
        options: &ValidationOptions,
    ) -> Result<Vec<Self>, ServiceError> {
        let mut drafts = drafts_from_json(json)?;
        let mut taken: HashSet<_> = drafts
            .iter()
            .filter_map(|draft| draft.name.as_deref()?.parse().ok())
            .collect();
        for (index, draft) in drafts.iter_mut().enumerate() {
            if draft.name.as_deref().is_none_or(str::is_empty) {
                let matcher = draft
                    .matcher(options)
                    .map_err(|error| error.within(&format!("services[{index}]")))?;
                let slug = slug_from(&matcher.host, matcher.port, matcher.path.as_ref(), &taken);
                draft.name = Some(slug.to_string());
                taken.insert(slug);
            }
        }
        Self::list_from_drafts(drafts, options)
    }

    /// Validates a whole list: every service has a name of its own.
    ///
    /// # Errors
    /// Names the first wrong field, as in `services[2].auth.token`.
    pub fn list_from_drafts(
        drafts: Vec<ServiceDraft>,
        options: &ValidationOptions,
    ) -> Result<Vec<Self>, ServiceError> {
        if drafts.len() > MAX_SERVICES {
            return Err(ServiceError::new(
                "services",
                format!("a vault has at most {MAX_SERVICES} services"),
            ));
        }
        let mut names = HashSet::with_capacity(drafts.len());
        let mut services = Vec::with_capacity(drafts.len());
        for (index, draft) in drafts.into_iter().enumerate() {
            let at = format!("services[{index}]");
            let service = Self::from_draft(draft, options).map_err(|error| error.within(&at))?;
            if !names.insert(service.name.clone()) {
                let error = ServiceError::new("name", format!("`{}` is used twice", service.name));
                return Err(error
                    .hint("give each service of a vault a name of its own")
                    .within(&at));
            }
            services.push(service);
        }
        Ok(services)
    }
}

/// Reads a JSON list of drafts; errors name the field.
fn drafts_from_json(json: &str) -> Result<Vec<ServiceDraft>, ServiceError> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let drafts = serde_path_to_error::deserialize::<_, Vec<ServiceDraft>>(&mut deserializer)
        .map_err(|error| {
            let path = error.path().to_string();
            let field = if path == "." {
                "services".to_owned()
            } else {
                format!("services{path}")
            };
            ServiceError::new(field, error.into_inner().to_string())
        })?;
    deserializer
        .end()
        .map_err(|error| ServiceError::new("services", error.to_string()))?;
    Ok(drafts)
}

impl ServiceDraft {
    /// Reads one service from JSON; repeated and unknown fields are errors that name the field.
    ///
    /// # Errors
    /// When the text is not JSON of this shape.
    pub fn from_json(json: &str) -> Result<Self, ServiceError> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let draft: Self = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let path = error.path().to_string();
            ServiceError::new(
                if path == "." { String::new() } else { path },
                error.into_inner().to_string(),
            )
        })?;
        deserializer
            .end()
            .map_err(|error| ServiceError::new("", error.to_string()))?;
        Ok(draft)
    }
}

impl Serialize for Service {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ServiceDraft::from(self).serialize(serializer)
    }
}

/// `host[:port][/path]`.
pub(super) fn join_inline(
    host: &HostPattern,
    port: Option<u16>,
    path: Option<&PathGlob>,
) -> String {
    let mut joined = host.to_string();
    if let Some(port) = port {
        joined.push(':');
        joined.push_str(&port.to_string());
    }
    if let Some(path) = path {
        joined.push_str(path.as_str());
    }
    joined
}

/// Splits `host[:port][/path]`: the first `/` after position 0 starts the path, a numeric suffix after the last `:` is the port. A
/// suffix that is not a number stays in the host, which then fails.
pub(crate) fn split_inline(text: &str) -> (&str, Option<&str>, Option<&str>) {
    let slash = text
        .char_indices()
        .skip(1)
        .find(|&(_, c)| c == '/')
        .map(|(index, _)| index);
    let (authority, path) = match slash.and_then(|index| text.split_at_checked(index)) {
        Some((authority, path)) => (authority, Some(path)),
        None => (text, None),
    };
    // The colons of an IPv6 address do not start a port.
    let colon = match (authority.rfind(']'), authority.rfind(':')) {
        (None, Some(colon)) if authority.find(':') != Some(colon) => None,
        (_, colon) => colon,
    };
    if let Some((host, suffix)) = colon.and_then(|index| authority.split_at_checked(index)) {
        let digits = suffix.get(1..).unwrap_or_default();
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            return (host, Some(digits), path);
        }
    }
    (authority, None, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_split() {
        for (input, expected) in [
            ("api.x.com", ("api.x.com", None, None)),
            ("api.x.com:8443", ("api.x.com", Some("8443"), None)),
            ("api.x.com/v1/*", ("api.x.com", None, Some("/v1/*"))),
            (
                "api.x.com:8443/v1/*",
                ("api.x.com", Some("8443"), Some("/v1/*")),
            ),
            ("api.x.com/a:1", ("api.x.com", None, Some("/a:1"))),
            ("api.x.com:", ("api.x.com:", None, None)),
            ("api.x.com:a", ("api.x.com:a", None, None)),
            ("/api.x.com", ("/api.x.com", None, None)),
            ("[::1]:80/a", ("[::1]", Some("80"), Some("/a"))),
            ("[::1]", ("[::1]", None, None)),
            ("::1", ("::1", None, None)),
            ("", ("", None, None)),
        ] {
            assert_eq!(split_inline(input), expected, "{input}");
        }
    }
}
