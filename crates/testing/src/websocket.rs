//! WebSocket endpoints over any byte stream (RFC 6455), frame by frame, with the frame codec of tungstenite.
//!
//! They show what a message API hides: fragments, reserved bits, masks. Both ends are here: the upstream's echo and
//! the client that tests use.

use std::io::{self, Cursor};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame, FrameHeader};

pub use tungstenite::handshake::derive_accept_key;

/// The largest message that an endpoint takes.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// A whole message, or a control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text, with the number of frames that carried it.
    Text(String, usize),
    /// Bytes, with the number of frames that carried them.
    Binary(Bytes, usize),
    /// A ping and its payload.
    Ping(Bytes),
    /// A pong and its payload.
    Pong(Bytes),
    /// A close with its code and reason, if it gave any.
    Close(Option<(u16, String)>),
}

impl Message {
    /// The payload as text, whatever kind it is.
    #[must_use]
    pub fn to_text_lossy(&self) -> String {
        match self {
            Self::Text(text, _) => text.clone(),
            Self::Binary(bytes, _) | Self::Ping(bytes) | Self::Pong(bytes) => {
                String::from_utf8_lossy(bytes).into_owned()
            }
            Self::Close(None) => String::new(),
            Self::Close(Some((code, reason))) => format!("{code} {reason}"),
        }
    }
}

/// One end of a WebSocket.
#[derive(Debug)]
pub struct WebSocket<S> {
    stream: S,
    buffer: BytesMut,
    masks: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// The client's end of a stream whose handshake is over: what it sends is masked.
    pub fn client(stream: S) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            masks: true,
        }
    }

    /// The server's end: what it sends is not masked.
    pub fn server(stream: S) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            masks: false,
        }
    }

    /// Sends text in one frame.
    ///
    /// # Errors
    /// When the stream is gone.
    pub async fn send_text(&mut self, text: &str) -> io::Result<()> {
        self.send_fragments(true, &[text.as_bytes()]).await
    }

    /// Sends bytes in one frame.
    ///
    /// # Errors
    /// When the stream is gone.
    pub async fn send_binary(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send_fragments(false, &[bytes]).await
    }

    /// Sends one message in as many frames as there are parts, each flushed on its own.
    ///
    /// # Errors
    /// When the stream is gone.
    pub async fn send_fragments(&mut self, text: bool, parts: &[&[u8]]) -> io::Result<()> {
        let last = parts.len().saturating_sub(1);
        for (index, part) in parts.iter().enumerate() {
            let data = match (index, text) {
                (0, true) => Data::Text,
                (0, false) => Data::Binary,
                _ => Data::Continue,
            };
            let frame = Frame::message(
                Bytes::copy_from_slice(part),
                OpCode::Data(data),
                index == last,
            );
            self.send_frame(frame).await?;
        }
        Ok(())
    }

    /// Sends a ping.
    ///
    /// # Errors
    /// When the stream is gone.
    pub async fn send_ping(&mut self, payload: &[u8]) -> io::Result<()> {
        self.send_frame(Frame::ping(Bytes::copy_from_slice(payload)))
            .await
    }

    /// Sends a close with a code.
    ///
    /// # Errors
    /// When the stream is gone.
    pub async fn send_close(&mut self, code: u16, reason: &str) -> io::Result<()> {
        let close = CloseFrame {
            code: CloseCode::from(code),
            reason: reason.into(),
        };
        self.send_frame(Frame::close(Some(close))).await
    }

    /// Sends a frame as it is, apart from the mask that a client must set.
    ///
    /// # Errors
    /// When the stream is gone.
    pub async fn send_frame(&mut self, mut frame: Frame) -> io::Result<()> {
        if self.masks {
            // A fixed mask: these tests do not defend caches against chosen plain text.
            frame.header_mut().mask = Some([0x37, 0xfa, 0x21, 0x3d]);
        }
        let mut wire = Vec::with_capacity(frame.len());
        frame.format(&mut wire).map_err(io::Error::other)?;
        self.stream.write_all(&wire).await?;
        self.stream.flush().await
    }

    /// Ends the sending side of the stream.
    ///
    /// # Errors
    /// When the stream is gone.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// The next frame with its payload unmasked; `None` when the peer has ended the stream between frames.
    ///
    /// # Errors
    /// When the stream breaks, ends inside a frame, or carries what is no frame.
    pub async fn next_frame(&mut self) -> io::Result<Option<(FrameHeader, Bytes)>> {
        loop {
            let mut cursor = Cursor::new(&self.buffer);
            let parsed = FrameHeader::parse(&mut cursor).map_err(io::Error::other)?;
            let head = usize::try_from(cursor.position()).map_err(io::Error::other)?;
            if let Some((header, length)) = parsed {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                if length > MAX_MESSAGE_BYTES {
                    return Err(io::Error::other("a frame beyond the limit"));
                }
                if self.buffer.len() >= head + length {
                    self.buffer.advance(head);
                    let mut payload = self.buffer.split_to(length);
                    if let Some(mask) = header.mask {
                        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
                            *byte ^= key;
                        }
                    }
                    return Ok(Some((header, payload.freeze())));
                }
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// The next message or control frame; `None` when the peer has ended the stream between frames.
    /// A control frame between the fragments of a message is passed over.
    ///
    /// # Errors
    /// As [`WebSocket::next_frame`], and when frames do not add up to a message.
    pub async fn next(&mut self) -> io::Result<Option<Message>> {
        let mut kind = Data::Continue;
        let mut payload = BytesMut::new();
        let mut frames = 0;
        while let Some((header, part)) = self.next_frame().await? {
            match header.opcode {
                OpCode::Control(control) if frames == 0 => {
                    return Ok(Some(control_message(control, &part)));
                }
                OpCode::Control(_) => continue,
                OpCode::Data(Data::Continue) if frames > 0 => {}
                OpCode::Data(data) if frames == 0 => kind = data,
                OpCode::Data(_) => return Err(io::Error::other("a fragment out of turn")),
            }
            frames += 1;
            payload.extend_from_slice(&part);
            if payload.len() > MAX_MESSAGE_BYTES {
                return Err(io::Error::other("a message beyond the limit"));
            }
            if header.is_final {
                return match kind {
                    Data::Text => {
                        let text = String::from_utf8(payload.to_vec()).map_err(io::Error::other)?;
                        Ok(Some(Message::Text(text, frames)))
                    }
                    Data::Binary => Ok(Some(Message::Binary(payload.freeze(), frames))),
                    _ => Err(io::Error::other("a continuation of nothing")),
                };
            }
        }
        if frames == 0 {
            Ok(None)
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// The next message, which must be text.
    ///
    /// # Panics
    /// When it is anything else, or does not come.
    pub async fn expect_text(&mut self) -> String {
        match crate::within("a text message", self.next()).await {
            Ok(Some(Message::Text(text, _))) => text,
            other => panic!("expected a text message, got {other:?}"),
        }
    }
}

fn control_message(control: Control, payload: &Bytes) -> Message {
    match control {
        Control::Ping => Message::Ping(payload.clone()),
        Control::Pong => Message::Pong(payload.clone()),
        Control::Close | Control::Reserved(_) => {
            Message::Close(payload.split_first_chunk().map(|(code, reason)| {
                (
                    u16::from_be_bytes(*code),
                    String::from_utf8_lossy(reason).into_owned(),
                )
            }))
        }
    }
}
