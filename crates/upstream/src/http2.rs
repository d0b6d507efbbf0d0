//! HTTP/2 streams as this product uses them, on the client's side and on the server's: a body that arrives, a body
//! that is sent, and a pair of both as one byte stream.
//!
//! On the h2 crate itself and not on hyper, whose HTTP/2 neither hears interim responses (RFC 9110 section 15.2) as a
//! client nor can send them as a server. It also hands each request to another task and each answer back, which costs
//! more than everything that the proxy adds.

mod client;
mod duplex;
mod keep_alive;
mod receive;
mod send;
mod stirring;

pub use duplex::Duplex;
pub use keep_alive::KeepAlive;
pub use receive::{Lingering, Received};
pub use send::{SendBody, SendBodyError, reset_reason};

pub(crate) use client::{Failure, Http2, Stream, Upload, connect};
