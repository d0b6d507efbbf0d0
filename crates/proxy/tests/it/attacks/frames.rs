//! HTTP/2 by hand: frames and header blocks that no library would send.

use agent_vault_testing::client::Stream;
use agent_vault_testing::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::lanes::raw;
pub(crate) use crate::abuse::{
    CALM, CONTINUATION, DATA, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame,
    until_goaway,
};
use crate::fixture::{Door, Stage, Way};

pub(crate) const PRIORITY: u8 = 2;
pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;

/// The connection preface and an empty SETTINGS.
pub(crate) const HELLO: &[u8] =
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// A field of a header block.
pub(crate) type Field<'a> = (&'a [u8], &'a [u8]);

/// Fields as HPACK literals without indexing and without Huffman (RFC 7541 section 6.2.2), so that any byte can be sent.
pub(crate) fn block(fields: &[Field<'_>]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name);
        string(&mut block, value);
    }
    block
}

/// A string literal with its length as an integer with a prefix of seven bits (RFC 7541 section 5.1).
pub(crate) fn string(block: &mut Vec<u8>, text: &[u8]) {
    integer(block, 0, 7, text.len());
    block.extend(text);
}

pub(crate) fn integer(block: &mut Vec<u8>, pattern: u8, bits: u32, value: usize) {
    let most = (1 << bits) - 1;
    if value < most {
        block.push(pattern | u8::try_from(value).unwrap());
        return;
    }
    block.push(pattern | u8::try_from(most).unwrap());
    let mut rest = value - most;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 0x80);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// A connection that has sent its preface.
pub(crate) async fn h2(stage: &Stage, door: Door, way: Way, authority: &str) -> Stream {
    let mut stream = raw(stage, door, way, authority).await;
    stream.write_all(HELLO).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

/// How the peer ended a stream or the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// An answer with this status; zero where it is not among the first 62 entries of HPACK's table.
    Answered(u16),
    /// RST_STREAM with this code.
    Reset(u32),
    /// GOAWAY with this code.
    Gone(u32),
    /// Without a word.
    Closed,
}

/// Reads frames until the peer ends stream `id` one way or another. SETTINGS are acknowledged.
pub(crate) async fn outcome(stream: &mut Stream, id: u32) -> Ended {
    within("the end of a stream", async {
        loop {
            let Some((kind, flags, on, payload)) = read_frame(stream).await else {
                return Ended::Closed;
            };
            match kind {
                HEADERS if on == id => return Ended::Answered(status(&payload)),
                RST_STREAM if on == id => return Ended::Reset(code(&payload)),
                GOAWAY if code(&payload[4..]) != 0 => return Ended::Gone(code(&payload[4..])),
                SETTINGS if flags & 1 == 0 => {
                    let _ = stream.write_all(&frame(SETTINGS, 1, 0, &[])).await;
                    let _ = stream.flush().await;
                }
                _ => {}
            }
        }
    })
    .await
}

/// The next frame: kind, flags, stream, payload. `None` at the end.
pub(crate) async fn read_frame(stream: &mut Stream) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await.ok()?;
    let id = u32::from_be_bytes(head[5..9].try_into().unwrap());
    Some((head[3], head[4], id, payload))
}

fn code(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[..4].try_into().unwrap())
}

/// `:status` as the first field of a block: indexed, or a literal of three digits or its Huffman code.
fn status(block: &[u8]) -> u16 {
    // A change of the table's size may stand before it.
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20);
    let block = &block[start.unwrap_or(0)..];
    match block {
        [0x88, ..] => 200,
        [0x89, ..] => 204,
        [0x8a, ..] => 206,
        [0x8b, ..] => 304,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x8e, ..] => 500,
        [_, 3, digits @ ..] => std::str::from_utf8(&digits[..3])
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0),
        _ => 0,
    }
}
