//! Looking at the messages that leave for an upstream, without a hand in them.

use std::fmt;

use zeroize::Zeroizing;

use super::frame::{Head, HeadReader, apply_mask};

/// Bytes that are unmasked at a time.
const CHUNK: usize = 16 * 1024;

/// Is shown the payload of text and binary messages as they leave.
pub trait MessageWatcher {
    /// Takes the next bytes of the current message, in order. `fin` says that it ends with them.
    fn look(&mut self, payload: &[u8], fin: bool);
}

/// Reads the frames of what was sent and shows their payload. What is no WebSocket any more is not looked at further: that is for the
/// upstream to refuse.
pub(super) struct Overhearing {
    watcher: Box<dyn MessageWatcher + Send>,
    heads: HeadReader,
    /// The current frame and how much of its payload is past.
    frame: Option<(Head, u64)>,
    /// Zeroed, for what leaves may hold values.
    plain: Zeroizing<Vec<u8>>,
    lost: bool,
}

impl Overhearing {
    pub(super) fn new(watcher: Box<dyn MessageWatcher + Send>) -> Self {
        Self {
            watcher,
            heads: HeadReader::new(true),
            frame: None,
            plain: Zeroizing::default(),
            lost: false,
        }
    }

    /// Takes the next bytes of the stream.
    pub(super) fn look_at(&mut self, sent: &[u8]) {
        let mut sent = sent;
        while !self.lost {
            let (head, past) = match self.frame.take() {
                Some(frame) => frame,
                None => match self.heads.read(&mut sent) {
                    Ok(Some(head)) => (head, 0),
                    Ok(None) => return,
                    Err(_) => {
                        self.lost = true;
                        return;
                    }
                },
            };
            let count = usize::try_from(head.len - past)
                .map_or(sent.len(), |left| left.min(sent.len()))
                .min(CHUNK);
            let (payload, rest) = sent.split_at_checked(count).unwrap_or((sent, &[]));
            sent = rest;
            let reached = past + payload.len() as u64;
            let ended = reached == head.len;
            if !head.kind.is_control() {
                self.plain.clear();
                self.plain.extend_from_slice(payload);
                if let Some(mask) = head.mask {
                    apply_mask(&mut self.plain, mask, past);
                }
                self.watcher.look(&self.plain, ended && head.fin);
            }
            if !ended {
                self.frame = Some((head, reached));
                if sent.is_empty() {
                    return;
                }
            }
        }
    }
}

impl fmt::Debug for Overhearing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overhearing")
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}
