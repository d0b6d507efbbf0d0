//! proxy

pub mod scrub;
pub mod websocket;
