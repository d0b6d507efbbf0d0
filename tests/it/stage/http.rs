//! The plainest HTTP client: bytes out, bytes in. For the management port, and for what no real client would send.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use agent_vault_testing::PATIENCE;

/// A response over a connection that was then closed.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Status line and fields.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}\n{}", self.head, self.text()))
    }

    /// The value of a field, if it is there.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Connects; every read and write then has a deadline.
pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    try_connect(to).expect("a listener")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the client of a test dials where the test tells it"
)]
fn try_connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends exactly `bytes` and reads what comes until the peer closes.
pub(crate) fn raw(to: SocketAddr, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = try_connect(to)?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => Ok(answer),
        // A peer that resets after its answer has answered.
        Err(error) if !answer.is_empty() && error.kind() == std::io::ErrorKind::ConnectionReset => {
            Ok(answer)
        }
        Err(error) => Err(error),
    }
}

/// One request and its whole answer, on a connection of its own.
pub(crate) fn call(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    try_call(to, method, path, headers, body)
        .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

/// The same for a server that may die meanwhile.
pub(crate) fn try_call(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Reply> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let answer = raw(to, &[request.as_bytes(), body].concat())?;
    parse(&answer).ok_or_else(|| std::io::Error::other("not a whole answer"))
}

/// Splits an answer of known length, or one that ended with its connection; `None` if it was cut.
pub(crate) fn parse(answer: &[u8]) -> Option<Reply> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let reply = Reply {
        status,
        head,
        body: answer[end + 4..].to_vec(),
    };
    match reply
        .header("content-length")
        .and_then(|value| value.parse::<usize>().ok())
    {
        Some(length) if reply.body.len() < length => None,
        _ => Some(reply),
    }
}
