//! A gRPC echo service on bare HTTP/2: `/grpc.testing.Echo/{Unary,ServerStream,ClientStream,Bidi}`.
//!
//! Messages are opaque bytes, so that any client with raw serializers can call it. Request metadata steers it:
//! `x-count` (answers of `ServerStream`, 3), `x-grpc-status` (end with this status, before any message).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt as _;

use super::Incoming;
use super::body::{self, Gone, Producer, ReplyBody};
use crate::tasks::Spawner;

/// Largest message that the service takes.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Most answers that one `ServerStream` call may ask for.
const MAX_COUNT: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Unary,
    ServerStream,
    ClientStream,
    Bidi,
}

impl Call {
    pub(crate) fn at(path: &str) -> Option<Self> {
        Some(match path.strip_prefix("/grpc.testing.Echo/")? {
            "Unary" => Self::Unary,
            "ServerStream" => Self::ServerStream,
            "ClientStream" => Self::ClientStream,
            "Bidi" => Self::Bidi,
            _ => return None,
        })
    }
}

pub(crate) fn answer(
    call: Call,
    headers: &HeaderMap,
    request: Incoming,
    spawner: &Spawner,
) -> Response<ReplyBody> {
    let mut response = Response::new(body::empty());
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    response
        .headers_mut()
        .insert("x-initial", HeaderValue::from_static("upstream"));
    if let Some(status) = headers.get("x-grpc-status") {
        // Trailers-only: the status stands in the head.
        response.headers_mut().insert("grpc-status", status.clone());
        response
            .headers_mut()
            .insert("grpc-message", HeaderValue::from_static("as%20asked"));
        return response;
    }
    let count = number(headers, "x-count").unwrap_or(3).min(MAX_COUNT);
    *response.body_mut() = body::produced(spawner, move |producer| {
        run(call, count, Messages::new(request), producer)
    });
    response
}

async fn run(call: Call, count: usize, mut messages: Messages, out: Producer) -> Result<(), Gone> {
    let status = match serve(call, count, &mut messages, &out).await {
        Ok(()) => "0",
        Err(Failure::Gone) => return Err(Gone),
        Err(Failure::Status(status)) => status,
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    trailers.insert("x-echo-trailer", HeaderValue::from_static("kept"));
    out.trailers(trailers).await
}

async fn serve(
    call: Call,
    count: usize,
    messages: &mut Messages,
    out: &Producer,
) -> Result<(), Failure> {
    match call {
        Call::Unary | Call::ServerStream => {
            let message = messages.next().await?.ok_or(Failure::Status("3"))?;
            let copies = if call == Call::Unary { 1 } else { count };
            for _ in 0..copies {
                out.data(frame(&message)).await?;
            }
        }
        Call::ClientStream => {
            let mut all = BytesMut::new();
            while let Some(message) = messages.next().await? {
                if all.len() + message.len() > MAX_MESSAGE_BYTES {
                    return Err(Failure::Status("8"));
                }
                all.extend_from_slice(&message);
            }
            out.data(frame(&all)).await?;
        }
        Call::Bidi => {
            while let Some(message) = messages.next().await? {
                out.data(frame(&message)).await?;
            }
        }
    }
    Ok(())
}

enum Failure {
    Gone,
    Status(&'static str),
}

impl From<Gone> for Failure {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// Length-prefixed messages of a request body.
struct Messages {
    body: Incoming,
    buffer: BytesMut,
}

impl Messages {
    fn new(body: Incoming) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(message) = take_message(&mut self.buffer) {
                return message.map(Some).map_err(Failure::Status);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(_)) => return Err(Failure::Status("1")),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Failure::Status("13")),
            }
        }
    }
}

/// Takes the first whole message off `buffer`.
///
/// # Errors
/// The gRPC status to answer with, for a message that is compressed or too long.
pub fn take_message(buffer: &mut BytesMut) -> Option<Result<Bytes, &'static str>> {
    let (prefix, rest) = buffer.split_first_chunk::<5>()?;
    let [compressed, length @ ..] = *prefix;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if compressed != 0 {
        return Some(Err("12"));
    }
    if length > MAX_MESSAGE_BYTES {
        return Some(Err("8"));
    }
    if rest.len() < length {
        return None;
    }
    buffer.advance(5);
    Some(Ok(buffer.split_to(length).freeze()))
}

/// One message with its prefix.
///
/// # Panics
/// For a message of 4 GiB or more.
#[must_use]
pub fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("a message below 4 GiB"));
    framed.put_slice(message);
    framed.freeze()
}

fn number(headers: &HeaderMap, name: &str) -> Option<usize> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}
