//! Frame heads: reading them, and the rules of RFC 6455 that both directions check.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Longest payload of a control frame (RFC 6455 section 5.5).
pub(super) const MAX_CONTROL_BYTES: u64 = 125;

/// Two bytes, eight of length, four of mask.
const MAX_HEAD_BYTES: usize = 14;

/// Status code of a close frame: protocol error (RFC 6455 section 7.4.1).
pub(super) const CLOSE_PROTOCOL_ERROR: u16 = 1002;
/// Status code of a close frame: an endpoint goes away.
pub(super) const CLOSE_GOING_AWAY: u16 = 1001;

/// The peer broke the WebSocket protocol; the connection ends with close code 1002.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A reserved bit is set although no extension was negotiated (section 5.2).
    #[error("a reserved bit is set")]
    ReservedBits,
    /// An opcode that the RFC does not define.
    #[error("the opcode is reserved")]
    Opcode,
    /// A frame from the agent is unmasked or one from the upstream is masked (section 5.1).
    #[error("the frame is masked by the wrong side")]
    Mask,
    /// A 64-bit length with the top bit set (section 5.2).
    #[error("the frame length is out of range")]
    Length,
    /// A control frame that is fragmented or longer than 125 bytes (section 5.5).
    #[error("a control frame is fragmented or too long")]
    Control,
    /// A continuation without a message, or a new message within another (section 5.4).
    #[error("frames of a message are out of order")]
    Continuation,
    /// No random mask could be drawn for a rewritten frame.
    #[error("no randomness for a frame mask")]
    Randomness,
}

/// Whether a direction goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// More frames may come.
    Open,
    /// A close frame passed; what follows it is ignored.
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Binary,
    Close,
    /// Ping or pong.
    Beat,
}

impl Kind {
    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Beat)
    }
}

/// A frame head that passed every check.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// The kind of the message that the frame belongs to, also for a continuation.
    pub(super) kind: Kind,
    /// The frame begins a message.
    pub(super) first: bool,
    pub(super) fin: bool,
    pub(super) mask: Option<[u8; 4]>,
    /// Payload bytes.
    pub(super) len: u64,
    raw: [u8; MAX_HEAD_BYTES],
    raw_len: usize,
}

impl Head {
    /// The head as it arrived.
    pub(super) fn raw(&self) -> &[u8] {
        self.raw.get(..self.raw_len).unwrap_or_default()
    }
}

/// Reads the heads of one direction and checks the order of its frames.
#[derive(Debug)]
pub(super) struct HeadReader {
    /// The sender is the agent, so frames are masked.
    masked: bool,
    raw: [u8; MAX_HEAD_BYTES],
    filled: usize,
    /// The unfinished message.
    message: Option<Kind>,
}

impl HeadReader {
    pub(super) fn new(masked: bool) -> Self {
        Self {
            masked,
            raw: [0; MAX_HEAD_BYTES],
            filled: 0,
            message: None,
        }
    }

    /// No byte of a head was read yet.
    pub(super) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Takes bytes from `input` until a head is complete.
    pub(super) fn read(&mut self, input: &mut &[u8]) -> Result<Option<Head>, ProtocolError> {
        loop {
            let wanted = self.wanted() - self.filled;
            if wanted == 0 {
                break;
            }
            let Some((taken, rest)) = input.split_at_checked(wanted.min(input.len())) else {
                return Ok(None);
            };
            if taken.is_empty() {
                return Ok(None);
            }
            if let Some(place) = self.raw.get_mut(self.filled..self.filled + taken.len()) {
                place.copy_from_slice(taken);
            }
            self.filled += taken.len();
            *input = rest;
        }
        let mut cursor = Cursor::new(self.raw.get(..self.filled).unwrap_or_default());
        let (header, len) = FrameHeader::parse(&mut cursor)
            .map_err(|_| ProtocolError::Opcode)?
            .ok_or(ProtocolError::Length)?;
        let head = self.check(&header, len)?;
        self.filled = 0;
        Ok(Some(head))
    }

    /// How long the head is, as far as what was read tells.
    fn wanted(&self) -> usize {
        let [_, second, ..] = self.raw;
        if self.filled < 2 {
            return 2;
        }
        let length = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if second & 0x80 == 0 { 0 } else { 4 }
    }

    fn check(&mut self, header: &FrameHeader, len: u64) -> Result<Head, ProtocolError> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(ProtocolError::ReservedBits);
        }
        if header.mask.is_some() != self.masked {
            return Err(ProtocolError::Mask);
        }
        if len >> 63 != 0 {
            return Err(ProtocolError::Length);
        }
        let (kind, first) = match (header.opcode, self.message) {
            (OpCode::Control(control), _) => {
                if !header.is_final || len > MAX_CONTROL_BYTES {
                    return Err(ProtocolError::Control);
                }
                match control {
                    Control::Close => (Kind::Close, true),
                    Control::Ping | Control::Pong => (Kind::Beat, true),
                    Control::Reserved(_) => return Err(ProtocolError::Opcode),
                }
            }
            (OpCode::Data(Data::Text), None) => (Kind::Text, true),
            (OpCode::Data(Data::Binary), None) => (Kind::Binary, true),
            (OpCode::Data(Data::Continue), Some(kind)) => (kind, false),
            (OpCode::Data(Data::Reserved(_)), _) => return Err(ProtocolError::Opcode),
            (OpCode::Data(_), _) => return Err(ProtocolError::Continuation),
        };
        if !kind.is_control() {
            self.message = (!header.is_final).then_some(kind);
        }
        Ok(Head {
            kind,
            first,
            fin: header.is_final,
            mask: header.mask,
            len,
            raw: self.raw,
            raw_len: self.filled,
        })
    }
}

/// Appends a frame; `payload` is masked with `mask`.
pub(super) fn push_frame(
    out: &mut Vec<u8>,
    opcode: OpCode,
    fin: bool,
    mask: Option<[u8; 4]>,
    payload: &[u8],
) {
    let header = FrameHeader {
        is_final: fin,
        opcode,
        mask,
        ..FrameHeader::default()
    };
    // Writing into a vector cannot fail.
    let _infallible = header.format(payload.len() as u64, out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let (Some(mask), Some(masked)) = (mask, out.get_mut(start..)) {
        apply_mask(masked, mask, 0);
    }
}

/// Appends a close frame of our own.
pub(super) fn push_close(out: &mut Vec<u8>, code: u16, mask: Option<[u8; 4]>) {
    push_frame(
        out,
        OpCode::Control(Control::Close),
        true,
        mask,
        &code.to_be_bytes(),
    );
}

/// Masks or unmasks bytes that begin `offset` bytes into a payload (section 5.3).
pub(super) fn apply_mask(bytes: &mut [u8], mut mask: [u8; 4], offset: u64) {
    mask.rotate_left((offset % 4) as usize);
    let word = u32::from_ne_bytes(mask);
    let (words, rest) = bytes.as_chunks_mut::<4>();
    for bytes in words {
        *bytes = (u32::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// Draws a mask for a frame of our own.
pub(super) fn random_mask() -> Result<[u8; 4], ProtocolError> {
    let mut mask = [0; 4];
    aws_lc_rs::rand::fill(&mut mask).map_err(|_| ProtocolError::Randomness)?;
    Ok(mask)
}
