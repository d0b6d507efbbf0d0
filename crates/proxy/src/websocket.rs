//! WebSocket after the handshake: frames from the agent get their placeholders replaced, frames from the upstream are
//! scrubbed, and everything else passes untouched (RFC 6455; the streams may be HTTP/1.1 upgrades or RFC 8441).
//!
//! [`relay`] is the driver. Where neither a rewriter nor a search is there it copies bytes and knows nothing of
//! frames. Otherwise both directions are parsed, without ever holding a whole message; the handshake must then have
//! removed `Sec-WebSocket-Extensions`, so that no payload is compressed and the reserved bits are zero.
//!
//! # Limits
//! - control frames: 125 bytes, as in the RFC; a text frame of at most [`WHOLE_FRAME_BYTES`] is rewritten as a whole,
//!   a longer one leaves as fragments; a text message in one frame of at most [`WHOLE_MESSAGE_BYTES`] from the upstream may
//!   change its length where a value was found, in all others a label has the length of what it replaces;
//! - no byte in either direction for [`RelayOptions::idle`] ends the relay: one clock for both, so a socket on which
//!   only the server speaks lives;
//! - after a close frame or the end of one side, the other gets [`RelayOptions::close_wait`] to answer.

mod frame;
mod overhear;
mod relay;
mod to_client;
mod to_upstream;

#[cfg(test)]
mod tests;

pub use self::frame::{ProtocolError, Status};
pub use self::overhear::MessageWatcher;
pub use self::relay::{CloseReason, RelayOptions, RelaySummary, Side, relay};
pub use self::to_client::{UpstreamToClient, WHOLE_MESSAGE_BYTES};
pub use self::to_upstream::{ClientToUpstream, WHOLE_FRAME_BYTES};

/// Replaces placeholders in text messages.
pub trait TextRewriter {
    /// Takes the next bytes of the current message, in order, and appends to `out` what can leave. `fin` says that
    /// the message ends with them; everything held back must then leave, and the next call begins a new message.
    fn feed(&mut self, payload: &[u8], fin: bool, out: &mut Vec<u8>);
}

impl TextRewriter for agent_vault_policy::WebsocketRewriter {
    fn feed(&mut self, payload: &[u8], fin: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(&Self::feed(self, payload, fin));
    }
}

/// Runs hostile bytes through both directions; the entry for fuzzing.
#[doc(hidden)]
pub fn fuzz_frames(data: &[u8]) {
    struct Echo;
    impl TextRewriter for Echo {
        fn feed(&mut self, payload: &[u8], _fin: bool, out: &mut Vec<u8>) {
            out.extend_from_slice(payload);
        }
    }
    let secret = crate::scrub::Secret {
        value: b"secret-value",
        label: crate::scrub::Label::new(None, "KEY"),
    };
    let search = crate::scrub::Scrubber::new(&[secret])
        .ok()
        .flatten()
        .map(|scrubber| scrubber.search());
    let mut up = ClientToUpstream::new(Some(Box::new(Echo)));
    let mut down = UpstreamToClient::new(search.as_ref());
    let mut out = Vec::new();
    for chunk in data.chunks(7) {
        if up.feed(chunk, &mut out).is_err() {
            break;
        }
    }
    for chunk in data.chunks(7) {
        if down.feed(chunk, &mut out).is_err() {
            break;
        }
    }
}
