//! HTTP of the management plane.
//!
//! [`router`] makes an [`axum::Router`] over an [`ApiState`]; [`serve`] runs it on a listener. Each resource is a module below
//! `resources`; none decides anything: who may do what is `control`'s.
//!
//! # Defences, and where they stand
//! | against | where |
//! |---|---|
//! | pages of other origins, DNS rebinding (H5) | `origin` |
//! | claiming a new instance from afar (H4) | `client`, and `control`'s registration |
//! | floods, password guessing (H7, H9) | `limits`, and `control`'s hashing |
//! | ambiguous JSON and queries (H49, H50) | `body`, `query` |
//! | framing, sniffing, caching | `headers` |

mod absent;
mod answer;
mod body;
mod clean_path;
mod client;
mod cookie;
mod error;
mod follow;
mod headers;
mod limits;
mod openapi;
mod origin;
mod patience;
mod principal;
mod query;
mod reference;
mod resources;
mod router;
mod segment;
mod serve;
mod stall;
mod state;

pub use limits::{BucketKnobs, RateLimits, WindowKnobs};
pub use resources::catalog::catalog_document;
pub use resources::skills::SKILL;
pub use router::{openapi_document, router};
pub use serve::{Accepting, Duplex, Tls, TlsDoor, serve};
pub use state::{ApiState, Exposition, FlushLogs, OwnTls, ServerInfo};
