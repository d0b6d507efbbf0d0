//! The rule language of Agent Vault: what a request is matched against, and where a credential may be put.
//!
//! Everything here is pure: no sockets, no clock, no async, no storage. A vault's services are validated once ([`Service`]), compiled
//! once ([`RuleSet`]) and then decided per request from [`Facts`] without looking anywhere else. Values never live in this crate:
//! they are borrowed through [`Values`] for the length of one call.
//!
//! ```text
//! ServiceDraft ── validate ──▶ Service ── compile ──▶ RuleSet ── decide(Facts) ──▶ Decision ── Inject(Rule) ──▶ surfaces
//! ```

mod authority;
mod credential;
mod egress;
mod glob;
mod header_field;
mod host;
mod host_pattern;
mod leftover;
mod merge;
mod ruleset;
mod service;
mod slug;
mod surface;
mod target;
mod template;

pub use authority::{Authority, AuthorityError, Scheme};
pub use credential::{
    CredentialKey, CredentialKeyError, MAX_CREDENTIAL_KEY_BYTES, MIN_SCRUBBED_BYTES,
};
pub use egress::{AllowListWarning, BlockKind, Blocked, EgressPolicy};
pub use glob::{GlobError, MAX_PATH_GLOB_CHARS, PathGlob};
pub use header_field::{HeaderField, HeaderFieldError, HeaderUnsafe, validate_header_safe};
pub use host::{Host, HostError, MAX_HOST_BYTES};
pub use host_pattern::{HostPattern, HostPatternError};
pub use leftover::{LeftoverWatch, Leftovers, MAX_LEFTOVERS, Standing};
pub use merge::{
    ReferenceError, Upserted, find_service, keep_unstated, remove_service, set_enabled, upsert,
};
pub use ruleset::{Decision, Denial, Facts, Rule, RuleSet, UnmatchedPolicy};
pub use service::{
    Auth, AuthDraft, MAX_PLACEHOLDER_BYTES, MAX_SERVICES, MAX_SUBSTITUTIONS, Placeholder, Scrub,
    ScrubDraft, Select, SelectDraft, Service, ServiceDraft, ServiceError, Substitution,
    SubstitutionDraft, Surface, SurfaceSet, Undecodable, ValidationOptions,
};
pub use slug::{Slug, SlugError, slug_from};
pub use surface::{Fed, MAX_REWRITTEN_BYTES, SubstitutionError, Values, WebsocketRewriter};
pub use target::{MAX_TARGET_BYTES, RequestTarget, TargetError};
pub use template::{Template, TemplateError};
