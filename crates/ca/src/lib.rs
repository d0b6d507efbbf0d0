//! Our certificate authority.
//!
//! To read and rewrite a request inside TLS, the proxy answers for the host that the agent asked for, with a certificate
//! that it makes on the spot. This crate owns that: the root ([`RootCa`]), leaf certificates and the server side TLS
//! configuration that goes with each ([`LeafIssuer`]), what the server shows on its own ports ([`OwnIdentity`]), and the
//! bundle of roots that an agent's environment is told to trust ([`bundle`]).
//!
//! It reads no clock, opens no socket and stores nothing. The root's private key comes in, and goes out once when it is
//! generated, as [`agent_vault_seal::SecretBytes`]; sealing and keeping it is the caller's work.
//!
//! # What strict verifiers ask for
//! Python 3.13 turns `VERIFY_X509_STRICT` on, Go and rustls are strict by nature. So the root carries `cA`, a path length
//! of zero, `keyCertSign` and a subject key identifier; a leaf carries an authority key identifier, `serverAuth`,
//! `digitalSignature` and a subject alternative name of the right kind (RFC 5280, sections 4.2 and 6.1). Both are dated
//! back by two hours ([`BACKDATE`]), because agents live in virtual machines whose clocks are wrong.

pub mod bundle;
mod error;
mod given;
mod issuer;
mod key;
mod leaf;
mod name;
mod own;
mod root;
mod ticket;
mod validity;

pub use error::CaError;
pub use given::{GivenCertificate, GivenError};
pub use issuer::{LeafIssuer, MAX_CACHED_LEAVES, Protocols};
pub use leaf::{LEAF_LIFETIME, LEAF_REUSE};
pub use name::MAX_NAME_BYTES;
pub use own::{Choice, LOCAL_NAME, OwnIdentity};
pub use root::{ROOT_LIFETIME, RootCa, RootMaterial};
pub use validity::BACKDATE;
