//! Frames from the agent to the upstream: placeholders in text messages are replaced.

use std::fmt;

use tungstenite::protocol::frame::coding::{Data, OpCode};
use zeroize::Zeroizing;

use super::TextRewriter;
use super::frame::{
    Head, HeadReader, Kind, ProtocolError, Status, apply_mask, push_frame, random_mask,
};

/// Longest text frame that is rewritten as one frame, in bytes of payload. A longer one leaves as fragments, each as
/// large as what arrived at a time.
pub const WHOLE_FRAME_BYTES: u64 = 64 * 1024;

/// The agent's direction. Sans-IO; holds at most one frame of [`WHOLE_FRAME_BYTES`].
///
/// A frame in which nothing is replaced leaves byte for byte, with the agent's mask. A changed one gets its new length
/// and a fresh random mask. Text is rewritten across the fragments of a message.
pub struct ClientToUpstream {
    heads: HeadReader,
    state: State,
    rewriter: Option<Box<dyn TextRewriter + Send>>,
    /// A frame of the current text message has left, so the next one is a continuation.
    begun: bool,
    closed: bool,
}

enum State {
    Head,
    /// Payload that passes as it is; `left` bytes are to come.
    Pass {
        kind: Kind,
        left: u64,
    },
    /// A text frame that is collected; `raw` begins with its head.
    Whole {
        head: Head,
        raw: Vec<u8>,
    },
    /// A long text frame; `done` bytes of its payload have been rewritten.
    Pieces {
        head: Head,
        done: u64,
    },
}

impl ClientToUpstream {
    /// Without a rewriter frames are only checked.
    #[must_use]
    pub fn new(rewriter: Option<Box<dyn TextRewriter + Send>>) -> Self {
        Self {
            heads: HeadReader::new(true),
            state: State::Head,
            rewriter,
            begun: false,
            closed: false,
        }
    }

    /// Takes the next bytes and appends to `out` what goes to the upstream: at most the input, what is held, and what
    /// replacing adds.
    ///
    /// # Errors
    /// When the agent breaks the protocol. `out` then ends with a whole frame; the direction must not be used again.
    pub fn feed(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<Status, ProtocolError> {
        while !self.closed {
            match std::mem::replace(&mut self.state, State::Head) {
                State::Head => {
                    let Some(head) = self.heads.read(&mut input)? else {
                        return Ok(Status::Open);
                    };
                    self.begin(head, out);
                }
                State::Pass { kind, left } => {
                    let taken = take(&mut input, left);
                    out.extend_from_slice(taken);
                    let left = left - taken.len() as u64;
                    if left > 0 {
                        self.state = State::Pass { kind, left };
                        return Ok(Status::Open);
                    }
                    self.closed = kind == Kind::Close;
                }
                State::Whole { head, mut raw } => {
                    let held = (raw.len() - head.raw().len()) as u64;
                    raw.extend_from_slice(take(&mut input, head.len - held));
                    if ((raw.len() - head.raw().len()) as u64) < head.len {
                        self.state = State::Whole { head, raw };
                        return Ok(Status::Open);
                    }
                    self.rewrite_whole(&head, &raw, out)?;
                }
                State::Pieces { head, done } => {
                    let taken = take(&mut input, head.len - done);
                    if taken.is_empty() {
                        self.state = State::Pieces { head, done };
                        return Ok(Status::Open);
                    }
                    let reached = done + taken.len() as u64;
                    let fin = head.fin && reached == head.len;
                    let mut plain = taken.to_vec();
                    if let Some(mask) = head.mask {
                        apply_mask(&mut plain, mask, done);
                    }
                    let rewritten = self.rewrite(&plain, fin);
                    self.send_text(&rewritten, fin, out)?;
                    if reached < head.len {
                        self.state = State::Pieces {
                            head,
                            done: reached,
                        };
                    }
                }
            }
        }
        Ok(Status::Closed)
    }

    /// Everything that was sent forms whole frames, so that one of our own may follow.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        !matches!(self.state, State::Pass { .. })
    }

    /// The agent's stream may end here without cutting a frame.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Head) && self.heads.is_empty()
    }

    fn begin(&mut self, head: Head, out: &mut Vec<u8>) {
        if head.kind != Kind::Text || self.rewriter.is_none() {
            out.extend_from_slice(head.raw());
            self.state = State::Pass {
                kind: head.kind,
                left: head.len,
            };
            return;
        }
        if head.first {
            self.begun = false;
        }
        self.state = if head.len <= WHOLE_FRAME_BYTES {
            let mut raw = Vec::with_capacity(head.raw().len());
            raw.extend_from_slice(head.raw());
            State::Whole { head, raw }
        } else {
            State::Pieces { head, done: 0 }
        };
    }

    fn rewrite_whole(
        &mut self,
        head: &Head,
        raw: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), ProtocolError> {
        let payload = raw.get(head.raw().len()..).unwrap_or_default();
        let mut plain = payload.to_vec();
        if let Some(mask) = head.mask {
            apply_mask(&mut plain, mask, 0);
        }
        let rewritten = self.rewrite(&plain, head.fin);
        if *rewritten == plain && head.first != self.begun {
            out.extend_from_slice(raw);
            self.begun = true;
            return Ok(());
        }
        self.send_text(&rewritten, head.fin, out)
    }

    fn rewrite(&mut self, plain: &[u8], fin: bool) -> Zeroizing<Vec<u8>> {
        let mut rewritten = Zeroizing::new(Vec::with_capacity(plain.len()));
        if let Some(rewriter) = &mut self.rewriter {
            rewriter.feed(plain, fin, &mut rewritten);
        }
        rewritten
    }

    /// Sends a frame of the current message; nothing for an empty one that does not end it.
    fn send_text(
        &mut self,
        payload: &[u8],
        fin: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), ProtocolError> {
        if payload.is_empty() && !fin {
            return Ok(());
        }
        let opcode = if self.begun {
            Data::Continue
        } else {
            Data::Text
        };
        push_frame(
            out,
            OpCode::Data(opcode),
            fin,
            Some(random_mask()?),
            payload,
        );
        self.begun = true;
        Ok(())
    }
}

/// Splits up to `most` bytes off the front of `input`.
fn take<'i>(input: &mut &'i [u8], most: u64) -> &'i [u8] {
    let count = usize::try_from(most).map_or(input.len(), |most| most.min(input.len()));
    let (taken, rest) = input.split_at_checked(count).unwrap_or((input, &[]));
    *input = rest;
    taken
}

impl fmt::Debug for ClientToUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientToUpstream")
            .field("rewrites", &self.rewriter.is_some())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}
