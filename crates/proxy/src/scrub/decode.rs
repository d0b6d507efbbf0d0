//! Streaming decoders for compressed bodies. Sans-IO.
//!
//! Output is produced in chunks of at most [`OUTPUT_BYTES`] as it is asked for, so a body that expands a thousandfold
//! costs memory for one chunk, not for the whole. What a decoder has is given out before more input is asked for, so
//! an event that was flushed compressed arrives at once.

use std::collections::VecDeque;
use std::fmt;

use async_compression::codecs::{
    BrotliDecoder, DecodeV2, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder,
};
use async_compression::core::util::{PartialBuffer, WriteBuffer};
use async_compression::zstd::DParameter;
use bytes::{Buf, Bytes};

use super::encoding::Coding;

/// Bytes decoded at a time.
pub(super) const OUTPUT_BYTES: usize = 16 * 1024;

/// A body may expand to this many bytes at any ratio.
pub(super) const FREE_EXPANSION_BYTES: u64 = 64 * 1024 * 1024;

/// Beyond [`FREE_EXPANSION_BYTES`] a body may be this many times as long as its encoding. Gzip cannot reach it.
pub(super) const MAX_EXPANSION: u64 = 1100;

/// Largest zstd window, as a power of two: the 8 MiB of RFC 9659.
const ZSTD_WINDOW_LOG: u32 = 23;

/// A compressed response body could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not what `Content-Encoding` says.
    #[error("the response body is not valid {coding}")]
    Corrupt {
        /// The content coding.
        coding: &'static str,
        /// What the decoder says.
        #[source]
        cause: std::io::Error,
    },
    /// The body ended within the compressed data.
    #[error("the {coding} response body ends too early")]
    Truncated {
        /// The content coding.
        coding: &'static str,
    },
    /// The body expands further than any honest one.
    #[error("the {coding} response body expands too far")]
    Bomb {
        /// The content coding.
        coding: &'static str,
    },
}

/// Undoes the content codings of one body.
pub(super) struct Decoder {
    /// In the order in which they are undone.
    stages: Vec<Stage>,
    /// Input of the first stage.
    input: VecDeque<Bytes>,
}

impl Decoder {
    pub(super) fn new(codings: &[Coding]) -> Self {
        Self {
            stages: codings.iter().map(|coding| Stage::new(*coding)).collect(),
            input: VecDeque::new(),
        }
    }

    /// Takes encoded bytes. Call [`pull`](Self::pull) until it is empty before the next.
    pub(super) fn supply(&mut self, encoded: Bytes) {
        self.input.push_back(encoded);
    }

    /// Returns the next decoded bytes, or `None` when more input is needed first.
    pub(super) fn pull(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let last = self.stages.len();
        self.pull_stage(last)
    }

    /// `depth` counts the stages from the input on; 0 is the input itself. At most two stages exist.
    fn pull_stage(&mut self, depth: usize) -> Result<Option<Bytes>, DecodeError> {
        let Some(index) = depth.checked_sub(1) else {
            return Ok(self.input.pop_front());
        };
        loop {
            let Some(stage) = self.stages.get_mut(index) else {
                return Ok(None);
            };
            if let Some(decoded) = stage.step()? {
                return Ok(Some(decoded));
            }
            match self.pull_stage(index)? {
                Some(encoded) => {
                    if let Some(stage) = self.stages.get_mut(index) {
                        stage.supply(encoded);
                    }
                }
                None => return Ok(None),
            }
        }
    }

    /// Checks, at the end of the input and when [`pull`](Self::pull) is empty, that the data was whole.
    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        match self.stages.iter().find(|stage| !stage.is_whole()) {
            Some(stage) => Err(DecodeError::Truncated {
                coding: stage.coding.name(),
            }),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.stages.iter().map(|stage| stage.coding))
            .finish()
    }
}

struct Stage {
    coding: Coding,
    /// `None` until the first bytes of `deflate` show which of its two formats it is.
    codec: Option<Box<dyn DecodeV2 + Send + Sync>>,
    input: Bytes,
    output: Box<[u8]>,
    /// The codec filled the output and may hold more.
    more: bool,
    /// Input was taken since the last member ended.
    within_member: bool,
    /// The current member has given output.
    member_output: bool,
    /// Complete members so far.
    members: u64,
    /// Nothing more is decoded; further input is dropped.
    ended: bool,
    bytes_in: u64,
    bytes_out: u64,
}

impl Stage {
    fn new(coding: Coding) -> Self {
        let codec: Option<Box<dyn DecodeV2 + Send + Sync>> = match coding {
            Coding::Gzip => Some(Box::new(GzipDecoder::new())),
            Coding::Deflate => None,
            Coding::Brotli => Some(Box::new(BrotliDecoder::new())),
            Coding::Zstd => Some(Box::new(ZstdDecoder::new_with_params(&[
                DParameter::window_log_max(ZSTD_WINDOW_LOG),
            ]))),
        };
        Self {
            coding,
            codec,
            input: Bytes::new(),
            output: vec![0; OUTPUT_BYTES].into_boxed_slice(),
            more: false,
            within_member: false,
            member_output: false,
            members: 0,
            ended: false,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    fn supply(&mut self, encoded: Bytes) {
        if self.input.is_empty() {
            self.input = encoded;
        } else {
            // Only while `deflate` waits for its second byte.
            let mut joined = Vec::with_capacity(self.input.len() + encoded.len());
            joined.extend_from_slice(&self.input);
            joined.extend_from_slice(&encoded);
            self.input = joined.into();
        }
    }

    /// Decodes until there is output; `None` when the input is used up.
    fn step(&mut self) -> Result<Option<Bytes>, DecodeError> {
        loop {
            if self.ended {
                self.input.clear();
                return Ok(None);
            }
            if self.input.is_empty() && !self.more {
                return Ok(None);
            }
            let codec = match &mut self.codec {
                Some(codec) => codec,
                None => match deflate_codec(&self.input) {
                    Some(codec) => self.codec.insert(codec),
                    None => return Ok(None),
                },
            };
            let had_input = !self.input.is_empty();
            let mut input = PartialBuffer::new(&*self.input);
            let mut output = WriteBuffer::new_initialized(&mut self.output);
            let result = codec.decode(&mut input, &mut output);
            let taken = input.written_len();
            let given = output.written_len();
            self.more = output.has_no_spare_space();
            self.input.advance(taken);
            self.bytes_in += taken as u64;
            self.bytes_out += given as u64;
            self.within_member |= taken > 0;
            self.member_output |= given > 0;
            match result {
                Ok(true) => {
                    self.members += 1;
                    self.more = false;
                    self.within_member = false;
                    self.member_output = false;
                    if self.coding.has_members() {
                        codec.reinit().map_err(|cause| DecodeError::Corrupt {
                            coding: self.coding.name(),
                            cause,
                        })?;
                    } else {
                        self.ended = true;
                    }
                }
                Ok(false) if had_input && taken == 0 && given == 0 => {
                    return Err(self.corrupt(std::io::ErrorKind::InvalidData.into()));
                }
                Ok(false) => {}
                // Asked for more output than there was.
                Err(_) if !had_input => self.more = false,
                // Padding behind the last member, as tar and some servers leave it.
                Err(_) if self.members > 0 && !self.member_output => self.ended = true,
                Err(cause) => return Err(self.corrupt(cause)),
            }
            if self.bytes_out > FREE_EXPANSION_BYTES
                && self.bytes_out / self.bytes_in.max(1) > MAX_EXPANSION
            {
                return Err(DecodeError::Bomb {
                    coding: self.coding.name(),
                });
            }
            if given > 0 {
                return Ok(self.output.get(..given).map(Bytes::copy_from_slice));
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.ended
            || (self.bytes_in == 0 && self.input.is_empty())
            || (self.members > 0 && !self.member_output)
    }

    fn corrupt(&self, cause: std::io::Error) -> DecodeError {
        DecodeError::Corrupt {
            coding: self.coding.name(),
            cause,
        }
    }
}

/// `deflate` means the zlib format (RFC 9110 section 8.4.1.2), yet some servers send the bare one. The two bytes of a
/// zlib head tell.
fn deflate_codec(input: &[u8]) -> Option<Box<dyn DecodeV2 + Send + Sync>> {
    let [method, flags] = *input.first_chunk::<2>()?;
    let zlib = method & 0x0f == 8
        && method >> 4 <= 7
        && u16::from_be_bytes([method, flags]).is_multiple_of(31);
    Some(if zlib {
        Box::new(ZlibDecoder::new())
    } else {
        Box::new(DeflateDecoder::new())
    })
}
