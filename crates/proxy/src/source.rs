//! The PROXY protocol (versions 1 and 2): a load balancer in front says whose connection it brings, so that limits and logs are about
//! the client and not about the balancer.
//!
//! Only configured peers may say so, and of them it is expected: whether a header is there is never guessed, or a client behind a
//! balancer that sends none could write its own.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;

/// Begins a header of version 1.
const TEXT: &[u8] = b"PROXY ";
/// Begins a header of version 2.
const BINARY: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest header of version 1, its line end included.
const MAX_TEXT_BYTES: usize = 107;
/// Longest rest of a header of version 2: addresses, and what balancers add to them.
const MAX_BINARY_BYTES: usize = 4 * 1024;

/// The peers whose word counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Balancers(Vec<IpNet>);

impl Balancers {
    pub(crate) fn new(networks: &[IpNet]) -> Self {
        Self(networks.to_vec())
    }

    pub(crate) fn include(&self, peer: IpAddr) -> bool {
        !self.0.is_empty() && {
            let peer = peer.to_canonical();
            self.0.iter().any(|network| network.contains(&peer))
        }
    }
}

/// Why a balancer's connection is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error(
        "it begins with no PROXY protocol header; a peer in AGENT_VAULT_PROXY_PROTOCOL_FROM has to send one"
    )]
    Absent,
    #[error("its PROXY protocol header is longer than {0} bytes")]
    TooLong(usize),
    #[error("its PROXY protocol header cannot be read: {0}")]
    Malformed(String),
    #[error("its PROXY protocol header is about another transport than TCP")]
    Transport,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Reads the header, and not a byte more. `peer` is who sent it; it counts itself where the header names nobody, as with health checks.
pub(crate) async fn read_header(
    socket: &mut (impl AsyncRead + Unpin),
    peer: IpAddr,
) -> Result<IpAddr, HeaderError> {
    let mut head = Vec::with_capacity(MAX_TEXT_BYTES);
    // No header is shorter.
    read_on(socket, &mut head, BINARY.len()).await?;
    let named = if head == BINARY {
        read_on(socket, &mut head, 4).await?;
        let length = match head.get(14..16) {
            Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
            _ => return Err(HeaderError::Absent),
        };
        if length > MAX_BINARY_BYTES {
            return Err(HeaderError::TooLong(MAX_BINARY_BYTES));
        }
        read_on(socket, &mut head, length).await?;
        binary(&head)?
    } else if head.starts_with(TEXT) {
        while !head.ends_with(b"\r\n") {
            if head.len() >= MAX_TEXT_BYTES {
                return Err(HeaderError::TooLong(MAX_TEXT_BYTES));
            }
            read_on(socket, &mut head, 1).await?;
        }
        text(&head)?
    } else {
        return Err(HeaderError::Absent);
    };
    // Loopback is exempt from limits here, and another machine's loopback is not ours.
    Ok(named
        .map(|named| named.to_canonical())
        .filter(|named| !named.is_loopback() || peer.to_canonical().is_loopback())
        .unwrap_or(peer))
}

async fn read_on(
    socket: &mut (impl AsyncRead + Unpin),
    head: &mut Vec<u8>,
    count: usize,
) -> io::Result<()> {
    let start = head.len();
    head.resize(start.saturating_add(count), 0);
    if let Some(room) = head.get_mut(start..) {
        socket.read_exact(room).await?;
    }
    Ok(())
}

fn text(head: &[u8]) -> Result<Option<IpAddr>, HeaderError> {
    use ppp::v1::{Addresses, Header};
    let header =
        Header::try_from(head).map_err(|error| HeaderError::Malformed(error.to_string()))?;
    Ok(match header.addresses {
        Addresses::Unknown => None,
        Addresses::Tcp4(ends) => Some(ends.source_address.into()),
        Addresses::Tcp6(ends) => Some(ends.source_address.into()),
    })
}

fn binary(head: &[u8]) -> Result<Option<IpAddr>, HeaderError> {
    use ppp::v2::{Addresses, Command, Header, Protocol};
    let header =
        Header::try_from(head).map_err(|error| HeaderError::Malformed(error.to_string()))?;
    if header.command == Command::Local {
        return Ok(None);
    }
    match (header.protocol, header.addresses) {
        (Protocol::Datagram, _) => Err(HeaderError::Transport),
        (_, Addresses::IPv4(ends)) => Ok(Some(ends.source_address.into())),
        (_, Addresses::IPv6(ends)) => Ok(Some(ends.source_address.into())),
        (_, Addresses::Unspecified | Addresses::Unix(_)) => Ok(None),
    }
}

/// Whether a connection whose first bytes are there begins with such a header. They stay where they are.
pub(crate) async fn begins_with_header(socket: &TcpStream) -> bool {
    let mut first = [0; BINARY.len()];
    socket.peek(&mut first).await.is_ok_and(|count| {
        let first = first.get(..count).unwrap_or_default();
        first.starts_with(TEXT) || first == BINARY
    })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const PEER: &str = "192.0.2.250";

    fn read(bytes: &[u8]) -> Result<(String, usize), String> {
        let mut left = bytes;
        let read = read_header(&mut left, PEER.parse().unwrap())
            .now_or_never()
            .unwrap();
        read.map(|ip| (ip.to_string(), left.len()))
            .map_err(|error| error.to_string())
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [BINARY.as_slice(), &[command, family], &length, rest].concat()
    }

    #[test]
    fn the_source_is_who_the_header_names() {
        let v4 = [198, 51, 100, 7, 10, 0, 0, 1, 0x1f, 0x90, 1, 0xbb];
        let v6: Vec<u8> = [[0x20, 1, 0xd, 0xb8].as_slice(), &[0; 11], &[7], &[0; 20]].concat();
        let unix = [0; 216];
        for (header, expected) in [
            (
                b"PROXY TCP4 198.51.100.7 10.0.0.1 8080 443\r\n".to_vec(),
                "198.51.100.7",
            ),
            (
                b"PROXY TCP6 2001:db8::7 ::1 8080 443\r\n".to_vec(),
                "2001:db8::7",
            ),
            (
                b"PROXY TCP6 ::ffff:198.51.100.7 ::1 8080 443\r\n".to_vec(),
                "198.51.100.7",
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), PEER),
            (b"PROXY UNKNOWN whatever\r\n".to_vec(), PEER),
            (b"PROXY TCP4 127.0.0.1 10.0.0.1 8080 443\r\n".to_vec(), PEER),
            (v2(0x21, 0x11, &v4), "198.51.100.7"),
            // With what some balancers add.
            (
                v2(0x21, 0x11, &[v4.as_slice(), &[4, 0, 1, 0]].concat()),
                "198.51.100.7",
            ),
            (v2(0x21, 0x21, &v6), "2001:db8::7"),
            (v2(0x20, 0, b""), PEER),
            (v2(0x20, 0x11, &v4), PEER),
            (v2(0x21, 0, b""), PEER),
            (v2(0x21, 0x31, &unix), PEER),
        ] {
            let told = [header.as_slice(), b"GET "].concat();
            assert_eq!(read(&told), Ok((expected.to_owned(), 4)), "{header:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let v4 = [198, 51, 100, 7, 10, 0, 0, 1, 0x1f, 0x90, 1, 0xbb];
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200], b"\r\n"].concat();
        for bytes in [
            b"GET / HTTP/1.1\r\n".to_vec(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00".to_vec(),
            b"PROXY TCP4 198.51.100.7\r\n".to_vec(),
            b"PROXY TCP4 198.51.100.700 10.0.0.1 8080 443\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::7 ::1 8080 443\r\n".to_vec(),
            b"PROXY TCP4 198.51.100.7 10.0.0.1 8080 443".to_vec(),
            b"PROXY TCP4 198.51.100.7 10.0.0.1 80800 443\r\n".to_vec(),
            b"PROXY UDP4 198.51.100.7 10.0.0.1 80 443\r\n".to_vec(),
            b"proxy TCP4 198.51.100.7 10.0.0.1 80 443\r\n".to_vec(),
            b"PROXY \xff\xff\xff\xff\xff\xff\r\n".to_vec(),
            long,
            v2(0x11, 0x11, &v4),
            v2(0x22, 0x11, &v4),
            v2(0x21, 0x11, &v4[..8]),
            v2(0x21, 0x12, &v4),
            v2(0x21, 0x41, &v4),
            v2(0x21, 0x11, &vec![0; MAX_BINARY_BYTES + 1]),
            v2(0x21, 0x11, &v4)[..20].to_vec(),
            BINARY.to_vec(),
            b"".to_vec(),
        ] {
            assert!(read(&bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn only_those_that_are_named_are_balancers() {
        let balancers =
            Balancers::new(&["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        for (peer, trusted) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("::1", true),
            ("11.0.0.1", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(balancers.include(peer.parse().unwrap()), trusted, "{peer}");
        }
        assert!(!Balancers::default().include("10.1.2.3".parse().unwrap()));
    }
}
