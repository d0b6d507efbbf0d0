//! From draft to service: every check of a rule, each error with its field and what to do about it.

use std::collections::HashSet;
use std::fmt;

use super::draft::{AuthDraft, ScrubDraft, SelectDraft, ServiceDraft, SubstitutionDraft};
use super::wire::split_inline;
use super::{
    Auth, MAX_PLACEHOLDER_BYTES, Placeholder, Scrub, Select, Service, Substitution, Surface,
    SurfaceSet, Undecodable,
};
use crate::authority::parse_port;
use crate::credential::CredentialKey;
use crate::glob::PathGlob;
use crate::header_field::{HeaderField, validate_header_safe};
use crate::host_pattern::{HostPattern, HostPatternError};
use crate::slug::Slug;
use crate::template::Template;

/// Most services in one vault.
pub const MAX_SERVICES: usize = 10_000;

/// Most substitutions in one service.
pub const MAX_SUBSTITUTIONS: usize = 64;

/// Most headers of a custom injection.
pub(super) const MAX_CUSTOM_HEADERS: usize = 64;

/// Most agents of one `select`, and most header names of one substitution.
const MAX_NAMES: usize = 256;

/// Longest literal prefix of an `api-key` header.
const MAX_PREFIX_BYTES: usize = 256;

/// What changes the checks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ValidationOptions {
    /// Accepts internal names, single labels and addresses as hosts.
    pub dev_mode: bool,
}

impl ValidationOptions {
    /// For rules that come from the vault and were checked when they were written.
    #[must_use]
    pub fn stored() -> Self {
        Self { dev_mode: true }
    }
}

/// What is wrong with a service, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceError {
    /// The field, as in `services[2].auth.token`.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl ServiceError {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts what surrounds the field in front of it.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.field = match self.field.as_str() {
            "" => outer.to_owned(),
            inner if inner.starts_with('[') => format!("{outer}{inner}"),
            inner => format!("{outer}.{inner}"),
        };
        self
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

impl std::error::Error for ServiceError {}

/// Host, port and path of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Matcher {
    pub(crate) host: HostPattern,
    pub(crate) port: Option<u16>,
    pub(crate) path: Option<PathGlob>,
}

impl ServiceDraft {
    /// Host, port and path, whether written joined or apart.
    pub(crate) fn matcher(&self, options: &ValidationOptions) -> Result<Matcher, ServiceError> {
        let written = self.host.as_deref().map(str::trim).unwrap_or_default();
        if written.is_empty() {
            return Err(ServiceError::new("host", "is required"));
        }
        if written.contains("://") {
            let error = ServiceError::new("host", format!("{} is an URL", quoted(written)));
            return Err(error.hint("write host[:port][/path] without the scheme"));
        }
        let (host, inline_port, inline_path) = split_inline(written);
        let host = HostPattern::parse(host, options.dev_mode).map_err(|error| {
            let hint = match error {
                HostPatternError::Address
                | HostPatternError::Internal(_)
                | HostPatternError::SingleLabel => Some(
                    "for upstreams on this machine start the server with AGENT_VAULT_DEV_MODE=true",
                ),
                _ => None,
            };
            let error = ServiceError::new("host", format!("{}: {error}", quoted(written)));
            match hint {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })?;
        let inline_port = inline_port
            .map(parse_port)
            .transpose()
            .map_err(|error| ServiceError::new("host", format!("{}: {error}", quoted(written))))?;
        let field_port = self
            .port
            .map(|port| match u16::try_from(port) {
                Ok(port) if port > 0 => Ok(port),
                _ => Err(ServiceError::new(
                    "port",
                    "must be a number from 1 to 65535",
                )),
            })
            .transpose()?;
        let port = match (inline_port, field_port) {
            (Some(inline), Some(field)) if inline != field => {
                return Err(ServiceError::new(
                    "port",
                    format!("is {field}, but `host` says {inline}"),
                ));
            }
            (inline, field) => inline.or(field),
        };
        let field_path = self.path.as_deref().filter(|path| !path.is_empty());
        let (path_field, path) = match (inline_path, field_path) {
            (Some(inline), Some(field)) if inline != field => {
                return Err(ServiceError::new(
                    "path",
                    format!("is {}, but `host` says {}", quoted(field), quoted(inline)),
                ));
            }
            (Some(inline), _) => ("host", Some(inline)),
            (None, field) => ("path", field),
        };
        let path = path
            .map(PathGlob::parse)
            .transpose()
            .map_err(|error| ServiceError::new(path_field, error.to_string()))?;
        Ok(Matcher { host, port, path })
    }
}

impl Service {
    /// Validates a draft.
    ///
    /// # Errors
    /// Names the first wrong field, relative to the service (`auth.token`).
    pub fn from_draft(
        draft: ServiceDraft,
        options: &ValidationOptions,
    ) -> Result<Self, ServiceError> {
        let name = draft.name.as_deref().unwrap_or_default();
        if name.is_empty() {
            return Err(ServiceError::new("name", "is required"));
        }
        let name = Slug::parse(name)
            .map_err(|error| ServiceError::new("name", format!("{}: {error}", quoted(name))))?;
        let matcher = draft.matcher(options)?;
        let auth = draft.auth.ok_or_else(|| {
            ServiceError::new("auth", "is required")
                .hint("use {type: passthrough} to inject nothing")
        })?;
        let auth = auth.validate().map_err(|error| error.within("auth"))?;
        let substitutions = validate_substitutions(draft.substitutions.unwrap_or_default())?;
        let select = draft
            .select
            .unwrap_or_default()
            .validate()
            .map_err(|error| error.within("select"))?;
        let scrub = draft
            .scrub
            .unwrap_or_default()
            .validate()
            .map_err(|error| error.within("scrub"))?;
        Ok(Self {
            name,
            host: matcher.host,
            port: matcher.port,
            path: matcher.path,
            enabled: draft.enabled.unwrap_or(true),
            auth,
            substitutions,
            require_tls: draft.require_tls.unwrap_or(true),
            scrub,
            select,
        })
    }
}

impl ScrubDraft {
    fn validate(self) -> Result<Scrub, ServiceError> {
        let undecodable = match self.undecodable.as_deref() {
            None | Some("refuse") => Undecodable::Refuse,
            Some("pass") => Undecodable::Pass,
            Some(other) => {
                let message = format!("{} is neither `refuse` nor `pass`", quoted(other));
                return Err(ServiceError::new("undecodable", message).hint("for example `refuse`"));
            }
        };
        Ok(Scrub {
            enabled: self.enabled.unwrap_or(true),
            undecodable,
        })
    }
}

impl AuthDraft {
    fn validate(self) -> Result<Auth, ServiceError> {
        let kind = self.kind.as_deref().unwrap_or_default();
        let allowed: &[&str] = match kind {
            "bearer" => &["token"],
            "basic" => &["username", "password"],
            "api-key" => &["key", "header", "prefix"],
            "custom" => &["headers"],
            "passthrough" => &[],
            "" => return Err(ServiceError::new("type", "is required").hint(AUTH_TYPES)),
            other => {
                return Err(
                    ServiceError::new("type", format!("{} is not known", quoted(other)))
                        .hint(AUTH_TYPES),
                );
            }
        };
        for (field, present) in [
            ("token", self.token.is_some()),
            ("username", self.username.is_some()),
            ("password", self.password.is_some()),
            ("key", self.key.is_some()),
            ("header", self.header.is_some()),
            ("prefix", self.prefix.is_some()),
            ("headers", self.headers.is_some()),
        ] {
            if present && !allowed.contains(&field) {
                return Err(ServiceError::new(
                    field,
                    format!("does not belong to type `{kind}`"),
                ));
            }
        }
        match kind {
            "bearer" => Ok(Auth::Bearer {
                token: required_key("token", self.token.as_deref())?,
            }),
            "basic" => Ok(Auth::Basic {
                username: required_key("username", self.username.as_deref())?,
                password: optional_key("password", self.password.as_deref())?,
            }),
            "api-key" => Ok(Auth::ApiKey {
                key: required_key("key", self.key.as_deref())?,
                header: match self.header.as_deref() {
                    None | Some("") => HeaderField::authorization(),
                    Some(name) => HeaderField::parse_token(name)
                        .map_err(|error| ServiceError::new("header", error.to_string()))?,
                },
                prefix: validate_prefix(self.prefix.unwrap_or_default())?,
            }),
            "custom" => validate_custom(self.headers.unwrap_or_default()),
            _ => Ok(Auth::Passthrough),
        }
    }
}

const AUTH_TYPES: &str = "one of bearer, basic, api-key, custom, passthrough";

fn required_key(field: &str, text: Option<&str>) -> Result<CredentialKey, ServiceError> {
    optional_key(field, text)?.ok_or_else(|| {
        ServiceError::new(field, "is required").hint("name a stored credential, as in STRIPE_KEY")
    })
}

fn optional_key(field: &str, text: Option<&str>) -> Result<Option<CredentialKey>, ServiceError> {
    match text {
        None | Some("") => Ok(None),
        // The text may be a secret that somebody put in the wrong place, so it is not repeated.
        Some(text) => CredentialKey::parse(text).map(Some).map_err(|error| {
            ServiceError::new(field, error.to_string())
                .hint("name a stored credential, never its value")
        }),
    }
}

fn validate_prefix(prefix: String) -> Result<String, ServiceError> {
    if prefix.len() > MAX_PREFIX_BYTES {
        return Err(ServiceError::new(
            "prefix",
            format!("has at most {MAX_PREFIX_BYTES} bytes"),
        ));
    }
    validate_header_safe(prefix.as_bytes())
        .map_err(|error| ServiceError::new("prefix", error.to_string()))?;
    Ok(prefix)
}

fn validate_custom(headers: Vec<(String, String)>) -> Result<Auth, ServiceError> {
    if headers.is_empty() {
        return Err(ServiceError::new("headers", "needs at least one header"));
    }
    if headers.len() > MAX_CUSTOM_HEADERS {
        return Err(ServiceError::new(
            "headers",
            format!("has at most {MAX_CUSTOM_HEADERS} headers"),
        ));
    }
    let mut fields: Vec<(HeaderField, Template)> = Vec::with_capacity(headers.len());
    for (name, text) in headers {
        let at =
            |message: String| ServiceError::new(format!("headers.{}", shortened(&name)), message);
        let field = HeaderField::parse(&name).map_err(|error| at(error.to_string()))?;
        if fields.iter().any(|(known, _)| *known == field) {
            return Err(at("is given twice".to_owned()));
        }
        let template = Template::parse(&text).map_err(|error| at(error.to_string()))?;
        fields.push((field, template));
    }
    Ok(Auth::Custom { headers: fields })
}

fn validate_substitutions(
    drafts: Vec<SubstitutionDraft>,
) -> Result<Vec<Substitution>, ServiceError> {
    if drafts.len() > MAX_SUBSTITUTIONS {
        return Err(ServiceError::new(
            "substitutions",
            format!("a service has at most {MAX_SUBSTITUTIONS} substitutions"),
        ));
    }
    let mut seen = HashSet::new();
    let mut substitutions = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.into_iter().enumerate() {
        let at = format!("substitutions[{index}]");
        let substitution = draft.validate().map_err(|error| error.within(&at))?;
        if !seen.insert(substitution.placeholder.clone()) {
            let message = format!(
                "`{}` is used twice in this service",
                substitution.placeholder
            );
            return Err(ServiceError::new("placeholder", message).within(&at));
        }
        substitutions.push(substitution);
    }
    Ok(substitutions)
}

impl SubstitutionDraft {
    fn validate(self) -> Result<Substitution, ServiceError> {
        let key = required_key("key", self.key.as_deref())?;
        let placeholder = Placeholder::parse(self.placeholder.as_deref().unwrap_or_default())?;
        let mut surfaces = SurfaceSet::EMPTY;
        for (index, name) in self.surfaces.unwrap_or_default().iter().enumerate() {
            let at = |message: String| ServiceError::new(format!("in[{index}]"), message);
            let surface = Surface::from_name(name).ok_or_else(|| {
                at(format!("{} is not a surface", quoted(name)))
                    .hint("any of path, query, header, body, websocket")
            })?;
            if !surfaces.insert(surface) {
                return Err(at(format!("`{surface}` is given twice")));
            }
        }
        if surfaces.is_empty() {
            surfaces = SurfaceSet::DEFAULT;
        }
        let names = self.headers.unwrap_or_default();
        if !names.is_empty() && !surfaces.contains(Surface::Header) {
            return Err(ServiceError::new(
                "headers",
                "needs `header` among the surfaces in `in`",
            ));
        }
        if names.len() > MAX_NAMES {
            return Err(ServiceError::new(
                "headers",
                format!("has at most {MAX_NAMES} names"),
            ));
        }
        let mut headers: Vec<HeaderField> = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let at = |message: String| ServiceError::new(format!("headers[{index}]"), message);
            let field = HeaderField::parse_token(name).map_err(|error| at(error.to_string()))?;
            if headers.contains(&field) {
                return Err(at(format!("`{field}` is given twice")));
            }
            headers.push(field);
        }
        Ok(Substitution {
            key,
            placeholder,
            surfaces,
            headers,
        })
    }
}

impl Placeholder {
    /// Checks the form: 4 to [`MAX_PLACEHOLDER_BYTES`] of `[A-Za-z0-9_.~-]`, at least one alphanumeric, and either `__`, our own mark, or one of
    /// `- . ~`, so that no ordinary word is taken for one.
    ///
    /// # Errors
    /// Says which of these fails; the field is `placeholder`.
    pub fn parse(text: &str) -> Result<Self, ServiceError> {
        let error = |message: String| {
            ServiceError::new("placeholder", message).hint("use a form like __stripe_key__")
        };
        if text.is_empty() {
            return Err(error("is required".to_owned()));
        }
        check_carried_text(text).map_err(error)?;
        if !text.contains("__") && !text.contains(['-', '.', '~']) && !is_stand_in(text) {
            return Err(error(
                "contains `__` or one of - . ~, so that it is not an ordinary word".to_owned(),
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// What somebody wrote, in backticks, fit for one line of an answer or a terminal.
fn quoted(text: &str) -> String {
    format!("`{}`", shortened(text))
}

/// At most 80 characters, control characters escaped.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 80;
    let shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        format!("{shown}…")
    } else {
        shown
    }
}

/// Text that every surface carries unchanged (the unreserved characters of RFC 3986) and that does not occur by chance.
fn check_carried_text(text: &str) -> Result<(), String> {
    if text.len() < 4 || text.len() > MAX_PLACEHOLDER_BYTES {
        return Err(format!("has 4 to {MAX_PLACEHOLDER_BYTES} characters"));
    }
    if !text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'~' | b'-'))
    {
        return Err("consists of letters, digits and _ . ~ -".to_owned());
    }
    if !text.bytes().any(|b| b.is_ascii_alphanumeric()) {
        return Err("contains at least one letter or digit".to_owned());
    }
    Ok(())
}

impl SelectDraft {
    fn validate(self) -> Result<Select, ServiceError> {
        let names = self.agents.unwrap_or_default();
        if names.len() > MAX_NAMES {
            return Err(ServiceError::new(
                "agents",
                format!("has at most {MAX_NAMES} names"),
            ));
        }
        let mut agents: Vec<Slug> = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let at = |message: String| ServiceError::new(format!("agents[{index}]"), message);
            let agent = Slug::parse(name).map_err(|error| at(error.to_string()))?;
            if agents.contains(&agent) {
                return Err(at(format!("`{agent}` is given twice")));
            }
            agents.push(agent);
        }
        if let Some(placeholder) = &self.placeholder {
            check_carried_text(placeholder)
                .map_err(|message| ServiceError::new("placeholder", message))?;
        }
        Ok(Select {
            agents,
            placeholder: self.placeholder,
        })
    }
}

/// Whether the text is one that stands for a credential in an agent's environment: shaped like the real key, with a mark
/// of ours in it, and random enough to be no ordinary word.
fn is_stand_in(text: &str) -> bool {
    ["agentvault", "AGENTVAULT", "a6e27fa017"]
        .iter()
        .any(|mark| text.contains(mark))
}
