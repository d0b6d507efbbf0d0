//! Frames from the upstream to the agent: injected values are replaced.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::frame::{Head, HeadReader, Kind, ProtocolError, Status, push_frame};
use crate::scrub::{Fit, ScrubStream, Search};

/// Most bytes of frame heads and control frames that wait behind held-back payload. At the limit the payload is
/// released as if the upstream had paused.
const MAX_WAITING_BYTES: usize = 16 * 1024;

/// A text message in one frame of at most this many bytes is collected, so that its length may change; nobody can use a part
/// of it anyway.
pub const WHOLE_MESSAGE_BYTES: u64 = 64 * 1024;

/// How long the rest of such a frame is waited for; then it goes out as it comes.
const WHOLE_MESSAGE_WAIT: Duration = Duration::from_millis(200);

/// The upstream's direction. Sans-IO.
///
/// A text message in one short frame gets a new head when a value was found in it. In all else a label is as long as what
/// it replaces, so frames keep their heads and lengths; a value that is cut by fragments is found, too. While the end of a
/// fragment is held back because it may begin a value, the frames behind it wait. A message without a find leaves byte for
/// byte.
pub struct UpstreamToClient {
    heads: HeadReader,
    state: State,
    search: Option<(Search, ScrubStream)>,
    /// Payload bytes of the current message that went into the search, and that left.
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
    /// A text message in one frame, collected because it is short.
    Whole {
        head: Head,
        payload: Vec<u8>,
    },
    /// A control frame, collected because it is short.
    Control {
        head: Head,
        payload: Vec<u8>,
    },
}

impl UpstreamToClient {
    /// Without a search frames are only checked.
    #[must_use]
    pub fn new(search: Option<&Search>) -> Self {
        Self {
            heads: HeadReader::new(false),
            state: State::Head,
            search: search.map(|search| (search.clone(), search.stream(Fit::Same))),
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
                State::Whole { head, mut payload } => {
                    let data = missing(&head, &payload, &mut input);
                    payload.extend_from_slice(data);
                    if (payload.len() as u64) < head.len {
                        self.state = State::Whole { head, payload };
                        return Ok(Status::Open);
                    }
                    self.whole(&head, &payload, out);
                }
                State::Control { head, mut payload } => {
                    // At most 125 bytes, as `HeadReader` checks.
                    let data = missing(&head, &payload, &mut input);
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
        if matches!(self.state, State::Whole { .. }) {
            return Some(WHOLE_MESSAGE_WAIT);
        }
        self.search
            .as_ref()
            .and_then(|(_, stream)| stream.release_after())
    }

    /// Lets go of what is held back, as [`ScrubStream::release`] does. The rest of a frame that was collected goes out as it
    /// comes.
    pub fn release(&mut self, out: &mut Vec<u8>) {
        match std::mem::replace(&mut self.state, State::Head) {
            State::Whole { head, payload } => {
                self.place(head.raw().to_vec(), out);
                self.data(&payload, out);
                self.state = State::Data {
                    fin: true,
                    left: head.len.saturating_sub(payload.len() as u64),
                };
                return;
            }
            other => self.state = other,
        }
        if let Some((_, stream)) = &mut self.search {
            let held = stream.release();
            self.emit(&held, out);
        }
    }

    /// What was sent ends with a whole frame, so that one of our own may follow.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.left == self.taken
            && self.waiting.is_empty()
            && matches!(
                self.state,
                State::Head | State::Control { .. } | State::Whole { .. }
            )
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
        // Nothing waits before the first frame of a message.
        let whole = head.kind == Kind::Text
            && head.first
            && head.fin
            && (1..=WHOLE_MESSAGE_BYTES).contains(&head.len);
        if self.search.is_some() && whole {
            self.state = State::Whole {
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

    fn whole(&mut self, head: &Head, payload: &[u8], out: &mut Vec<u8>) {
        let replaced = self
            .search
            .as_ref()
            .and_then(|(search, _)| search.replace(payload, Fit::Free));
        match replaced {
            Some(text) => push_frame(out, OpCode::Data(Data::Text), true, None, &text),
            None => {
                out.extend_from_slice(head.raw());
                out.extend_from_slice(payload);
            }
        }
    }

    fn data(&mut self, data: &[u8], out: &mut Vec<u8>) {
        match &mut self.search {
            None => out.extend_from_slice(data),
            Some((_, stream)) => {
                self.taken += data.len() as u64;
                let clean = stream.push(Bytes::copy_from_slice(data));
                self.emit(&clean, out);
            }
        }
    }

    fn end_message(&mut self, out: &mut Vec<u8>) {
        if let Some((_, stream)) = &mut self.search {
            let tail = stream.finish();
            self.emit(&tail, out);
        }
        self.taken = 0;
        self.left = 0;
    }

    fn control(&mut self, head: &Head, payload: Vec<u8>, out: &mut Vec<u8>) {
        let replaced = self
            .search
            .as_ref()
            .and_then(|(search, _)| search.replace(&payload, Fit::Same));
        let mut frame = head.raw().to_vec();
        frame.extend_from_slice(&replaced.unwrap_or(payload));
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

/// Takes what `payload` lacks of its frame off `input`.
fn missing<'i>(head: &Head, payload: &[u8], input: &mut &'i [u8]) -> &'i [u8] {
    let missing = usize::try_from(head.len)
        .unwrap_or(usize::MAX)
        .saturating_sub(payload.len());
    let (data, rest) = input
        .split_at_checked(missing.min(input.len()))
        .unwrap_or((input, &[]));
    *input = rest;
    data
}

impl fmt::Debug for UpstreamToClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamToClient")
            .field("scrubs", &self.search.is_some())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}
