//! Frames from the upstream to the agent: injected values are masked.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::frame::{Head, HeadReader, Kind, ProtocolError, Status};
use crate::scrub::{ScrubStream, Scrubber};

/// Most bytes of frame heads and control frames that wait behind held-back payload. At the limit the payload is
/// released as if the upstream had paused.
const MAX_WAITING_BYTES: usize = 16 * 1024;

/// The upstream's direction. Sans-IO.
///
/// A mask is as long as what it covers, so frames keep their heads and lengths; a value that is cut by fragments is
/// found, too. While the end of a fragment is held back because it may begin a value, the frames behind it wait.
pub struct UpstreamToClient {
    heads: HeadReader,
    state: State,
    scrubber: Option<(Arc<Scrubber>, ScrubStream)>,
    /// Payload bytes of the current message that went into the scrubber, and that left.
    taken: u64,
    left: u64,
    /// Heads and control frames, each to leave when `left` reaches its place.
    waiting: VecDeque<(u64, Vec<u8>)>,
    waiting_bytes: usize,
    closed: bool,
}

enum State {
    Head,
    /// Payload of a data frame, `left` bytes to come.
    Data {
        fin: bool,
        left: u64,
    },
    /// A control frame, collected because it is short.
    Control {
        head: Head,
        payload: Vec<u8>,
    },
}

impl UpstreamToClient {
    /// Without a scrubber frames are only checked.
    #[must_use]
    pub fn new(scrubber: Option<&Arc<Scrubber>>) -> Self {
        Self {
            heads: HeadReader::new(false),
            state: State::Head,
            scrubber: scrubber.map(|scrubber| (Arc::clone(scrubber), scrubber.stream())),
            taken: 0,
            left: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            closed: false,
        }
    }

    /// Takes the next bytes and appends to `out` what goes to the agent.
    ///
    /// # Errors
    /// When the upstream breaks the protocol; the direction must not be used again.
    pub fn feed(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<Status, ProtocolError> {
        while !self.closed {
            match std::mem::replace(&mut self.state, State::Head) {
                State::Head => {
                    let Some(head) = self.heads.read(&mut input)? else {
                        return Ok(Status::Open);
                    };
                    self.begin(head, out);
                }
                State::Data { fin, left } => {
                    let count =
                        usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
                    let (data, rest) = input.split_at_checked(count).unwrap_or((input, &[]));
                    input = rest;
                    self.data(data, out);
                    let left = left - data.len() as u64;
                    if left > 0 {
                        self.state = State::Data { fin, left };
                        return Ok(Status::Open);
                    }
                    if fin {
                        self.end_message(out);
                    }
                }
                State::Control { head, mut payload } => {
                    // At most 125 bytes, as `HeadReader` checks.
                    let missing = usize::try_from(head.len).unwrap_or(0) - payload.len();
                    let (data, rest) = input
                        .split_at_checked(missing.min(input.len()))
                        .unwrap_or((input, &[]));
                    input = rest;
                    payload.extend_from_slice(data);
                    if (payload.len() as u64) < head.len {
                        self.state = State::Control { head, payload };
                        return Ok(Status::Open);
                    }
                    self.control(&head, payload, out);
                }
            }
        }
        Ok(Status::Closed)
    }

    /// How long to wait for more input before [`release`](Self::release); `None` when nothing is held back.
    #[must_use]
    pub fn release_after(&self) -> Option<Duration> {
        self.scrubber
            .as_ref()
            .and_then(|(_, stream)| stream.release_after())
    }

    /// Lets go of what is held back, as [`ScrubStream::release`] does.
    pub fn release(&mut self, out: &mut Vec<u8>) {
        if let Some((_, stream)) = &mut self.scrubber {
            let held = stream.release();
            self.emit(&held, out);
        }
    }

    /// What was sent ends with a whole frame, so that one of our own may follow.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.left == self.taken
            && self.waiting.is_empty()
            && matches!(self.state, State::Head | State::Control { .. })
    }

    /// The upstream's stream may end here without cutting a frame.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Head) && self.heads.is_empty()
    }

    fn begin(&mut self, head: Head, out: &mut Vec<u8>) {
        if head.kind.is_control() {
            self.state = State::Control {
                head,
                payload: Vec::new(),
            };
            return;
        }
        self.place(head.raw().to_vec(), out);
        self.state = State::Data {
            fin: head.fin,
            left: head.len,
        };
    }

    fn data(&mut self, data: &[u8], out: &mut Vec<u8>) {
        match &mut self.scrubber {
            None => out.extend_from_slice(data),
            Some((_, stream)) => {
                self.taken += data.len() as u64;
                let clean = stream.push(Bytes::copy_from_slice(data));
                self.emit(&clean, out);
            }
        }
    }

    fn end_message(&mut self, out: &mut Vec<u8>) {
        if let Some((_, stream)) = &mut self.scrubber {
            let tail = stream.finish();
            self.emit(&tail, out);
        }
        self.taken = 0;
        self.left = 0;
    }

    fn control(&mut self, head: &Head, payload: Vec<u8>, out: &mut Vec<u8>) {
        let masked = self
            .scrubber
            .as_ref()
            .and_then(|(scrubber, _)| scrubber.mask(&payload));
        let mut frame = head.raw().to_vec();
        frame.extend_from_slice(&masked.unwrap_or(payload));
        if head.kind == Kind::Close {
            // The message that it interrupts is never completed.
            self.release(out);
            self.closed = true;
        }
        self.place(frame, out);
    }

    /// Puts frame bytes behind the payload taken so far.
    fn place(&mut self, bytes: Vec<u8>, out: &mut Vec<u8>) {
        if self.left == self.taken {
            out.extend_from_slice(&bytes);
            return;
        }
        self.waiting_bytes += bytes.len();
        self.waiting.push_back((self.taken, bytes));
        if self.waiting_bytes > MAX_WAITING_BYTES {
            self.release(out);
        }
    }

    /// Sends scrubbed payload with what waits between its bytes.
    fn emit(&mut self, mut payload: &[u8], out: &mut Vec<u8>) {
        loop {
            let until = self.waiting.front().map_or(u64::MAX, |(place, _)| *place);
            let count = usize::try_from(until - self.left)
                .map_or(payload.len(), |count| count.min(payload.len()));
            let (now, rest) = payload.split_at_checked(count).unwrap_or((payload, &[]));
            out.extend_from_slice(now);
            self.left += now.len() as u64;
            payload = rest;
            if self.left < until {
                return;
            }
            if let Some((_, bytes)) = self.waiting.pop_front() {
                self.waiting_bytes -= bytes.len();
                out.extend_from_slice(&bytes);
            }
        }
    }
}

impl fmt::Debug for UpstreamToClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamToClient")
            .field("scrubs", &self.scrubber.is_some())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}
