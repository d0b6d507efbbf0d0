//! Where values come from that are not typed in: one file per kind.
//!
//! A source speaks to one kind of server, over connections of `upstream` only, and hands back plain values. It keeps no rows and
//! decides nothing: what is stored, and when a value is fetched anew, is the business of `control` and `broker`.

pub mod infisical;
pub mod oauth;
