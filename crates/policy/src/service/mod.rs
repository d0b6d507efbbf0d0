//! A service: one brokering rule of a vault, already valid.
//!
//! [`ServiceDraft`] is what people write; [`Service::from_draft`] is the only door to a [`Service`].

mod draft;
mod validate;
mod wire;

use std::fmt;

pub use draft::{AuthDraft, ScrubDraft, SelectDraft, ServiceDraft, SubstitutionDraft};
pub use validate::{MAX_SERVICES, MAX_SUBSTITUTIONS, ServiceError, ValidationOptions};

use crate::credential::CredentialKey;
use crate::glob::PathGlob;
use crate::header_field::HeaderField;
use crate::host_pattern::HostPattern;
use crate::slug::Slug;
use crate::template::Template;

/// Longest placeholder in bytes.
pub const MAX_PLACEHOLDER_BYTES: usize = 256;

/// One rule: which requests it is for, and what is put into them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Unique in the vault.
    pub name: Slug,
    /// Which hosts.
    pub host: HostPattern,
    /// Which port; any when absent.
    pub port: Option<u16>,
    /// Which paths; all when absent.
    pub path: Option<PathGlob>,
    /// A disabled rule takes part in matching and refuses what it wins.
    pub enabled: bool,
    /// What is injected.
    pub auth: Auth,
    /// What is replaced, and where.
    pub substitutions: Vec<Substitution>,
    /// Whether its credentials go out over TLS only. On by default.
    pub require_tls: bool,
    /// Whether responses are searched for what was injected. On by default.
    pub scrub: Scrub,
    /// Which agent, or which placeholder in the request, chooses this rule among rules for the same host, port and path.
    pub select: Select,
}

/// How responses are searched for what a rule injects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scrub {
    /// What is found is replaced.
    pub enabled: bool,
    /// What is done with a response that cannot be searched.
    pub undecodable: Undecodable,
}

impl Default for Scrub {
    fn default() -> Self {
        Self {
            enabled: true,
            undecodable: Undecodable::Refuse,
        }
    }
}

/// What is done with a response whose body is encoded in a way that cannot be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecodable {
    /// The agent gets an error instead.
    Refuse,
    /// The agent gets it as it is; the request log says so.
    Pass,
}

impl Undecodable {
    /// The name in files and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Pass => "pass",
        }
    }
}

/// What a rule injects. Fields hold names of credentials, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer <token>`.
    Bearer {
        /// The token.
        token: CredentialKey,
    },
    /// `Authorization: Basic base64(username:password)` (RFC 7617).
    Basic {
        /// The user name.
        username: CredentialKey,
        /// The password; empty when absent.
        password: Option<CredentialKey>,
    },
    /// `<header>: <prefix><key>`.
    ApiKey {
        /// The key.
        key: CredentialKey,
        /// The field, `Authorization` by default.
        header: HeaderField,
        /// Literal text in front of the value.
        prefix: String,
    },
    /// Any fields, each from a template.
    Custom {
        /// Name and template, in the order written.
        headers: Vec<(HeaderField, Template)>,
    },
    /// Nothing: the client's own headers flow.
    Passthrough,
}

impl Auth {
    /// The type's name in files and on the wire.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Bearer { .. } => "bearer",
            Self::Basic { .. } => "basic",
            Self::ApiKey { .. } => "api-key",
            Self::Custom { .. } => "custom",
            Self::Passthrough => "passthrough",
        }
    }

    /// The referenced credentials in order, repetitions included.
    #[must_use]
    pub fn keys(&self) -> Vec<&CredentialKey> {
        match self {
            Self::Bearer { token } => vec![token],
            Self::Basic { username, password } => {
                std::iter::once(username).chain(password).collect()
            }
            Self::ApiKey { key, .. } => vec![key],
            Self::Custom { headers } => headers
                .iter()
                .flat_map(|(_, template)| template.keys())
                .collect(),
            Self::Passthrough => Vec::new(),
        }
    }
}

/// A part of the request where placeholders may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Surface {
    /// The path.
    Path,
    /// Names and values of the query.
    Query,
    /// Values of header fields that the client sent.
    Header,
    /// The body.
    Body,
    /// WebSocket text messages from the client.
    Websocket,
}

impl Surface {
    /// All surfaces in their customary order.
    pub const ALL: [Self; 5] = [
        Self::Path,
        Self::Query,
        Self::Header,
        Self::Body,
        Self::Websocket,
    ];

    /// The name in files and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Body => "body",
            Self::Websocket => "websocket",
        }
    }

    /// The surface of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|surface| surface.as_str() == name)
    }
}

impl fmt::Display for Surface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of surfaces.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SurfaceSet(u8);

impl SurfaceSet {
    /// No surface.
    pub const EMPTY: Self = Self(0);
    /// Path and query, where a rule says nothing.
    pub const DEFAULT: Self = Self(0b11);

    /// Adds a surface; false when it was already there.
    pub fn insert(&mut self, surface: Surface) -> bool {
        let bit = Self::bit(surface);
        let added = self.0 & bit == 0;
        self.0 |= bit;
        added
    }

    /// Whether the surface is in the set.
    #[must_use]
    pub fn contains(self, surface: Surface) -> bool {
        self.0 & Self::bit(surface) != 0
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The surfaces in their customary order.
    pub fn iter(self) -> impl Iterator<Item = Surface> {
        Surface::ALL
            .into_iter()
            .filter(move |&surface| self.contains(surface))
    }

    fn bit(surface: Surface) -> u8 {
        match surface {
            Surface::Path => 1,
            Surface::Query => 2,
            Surface::Header => 4,
            Surface::Body => 8,
            Surface::Websocket => 16,
        }
    }
}

impl FromIterator<Surface> for SurfaceSet {
    fn from_iter<I: IntoIterator<Item = Surface>>(surfaces: I) -> Self {
        let mut set = Self::EMPTY;
        for surface in surfaces {
            set.insert(surface);
        }
        set
    }
}

impl fmt::Debug for SurfaceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The literal text that stands for a credential in what the agent sends.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Placeholder(String);

impl Placeholder {
    /// The placeholder as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One placeholder, the credential it stands for, and the surfaces where it is replaced. Elsewhere it goes out as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Substitution {
    /// The credential.
    pub key: CredentialKey,
    /// What is replaced.
    pub placeholder: Placeholder,
    /// Where. Never empty.
    pub surfaces: SurfaceSet,
    /// Limits the header surface to these fields; all of them when empty.
    pub headers: Vec<HeaderField>,
}

/// What chooses a rule among rules that match alike.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Select {
    /// The rule exists only for these agents; for everybody when empty.
    pub agents: Vec<Slug>,
    /// The rule is chosen by a request that carries this text.
    pub placeholder: Option<String>,
}

impl Select {
    /// Whether nothing is selected on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.agents.is_empty() && self.placeholder.is_none()
    }
}

impl Service {
    /// The credentials that the rule needs: those of the injection, then those of the substitutions, each once.
    #[must_use]
    pub fn keys(&self) -> Vec<CredentialKey> {
        let mut keys: Vec<CredentialKey> = Vec::new();
        for key in self.auth.keys().into_iter().chain(
            self.substitutions
                .iter()
                .map(|substitution| &substitution.key),
        ) {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        keys
    }

    /// Host, port and path in the joined form that people see and may give back: `host[:port][/path]`.
    #[must_use]
    pub fn inline_host(&self) -> String {
        wire::join_inline(&self.host, self.port, self.path.as_ref())
    }

    /// Whether both rules have the same host, port and path.
    #[must_use]
    pub fn same_matcher(&self, other: &Self) -> bool {
        self.host == other.host && self.port == other.port && self.path == other.path
    }
}
