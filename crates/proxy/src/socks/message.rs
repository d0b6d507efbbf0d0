//! The messages of SOCKS 5, read to their last byte and not beyond: what follows the last one is the tunnel's.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use agent_vault_policy::{Authority, Host};
use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use zeroize::Zeroizing;

/// Version of the sub-negotiation with a password (RFC 1929 section 2).
const LOGIN_VERSION: u8 = 1;
/// Authentication by user name and password.
const PASSWORD: u8 = 2;
/// No method of authentication is acceptable.
const NO_METHOD: u8 = 0xff;
/// Address types (RFC 1928 section 5).
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// What a client sent is no message of SOCKS 5.
#[derive(Debug, thiserror::Error)]
pub(super) enum MessageError {
    #[error("a message of SOCKS 5 begins with the version {0}")]
    Version(u8),
    #[error("the reserved byte of a SOCKS 5 request is {0}")]
    Reserved(u8),
    #[error("a SOCKS 5 request has an address of the type {0}")]
    AddressType(u8),
    #[error("a SOCKS 5 user name or password is not text")]
    NotText,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The reply field of an answer (RFC 1928 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Succeeded = 0,
    Failed = 1,
    NotAllowed = 2,
    CommandNotSupported = 7,
    AddressNotSupported = 8,
}

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Connect,
    /// `BIND`, `UDP ASSOCIATE`, and what nobody knows.
    Other,
}

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    Ip(IpAddr),
    /// At most 255 bytes, as they came.
    Name(Vec<u8>),
}

/// A request, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) command: Command,
    address: Address,
    port: u16,
}

impl Request {
    /// The destination, in its one spelling.
    pub(super) fn authority(&self) -> Result<Authority, (Reply, String)> {
        let bad = |message: String| (Reply::Failed, message);
        if self.port == 0 {
            return Err(bad("the port is 0".to_owned()));
        }
        let host = match &self.address {
            Address::Ip(ip) => Host::parse(&ip.to_string()),
            Address::Name(name) => {
                let name = std::str::from_utf8(name)
                    .map_err(|_| bad("the host name is not text".to_owned()))?;
                Host::parse(name)
            }
        };
        host.map(|host| Authority::new(host, self.port))
            .map_err(|error| bad(format!("the host: {error}")))
    }

    /// For the log, whatever it is.
    pub(super) fn shown(&self) -> String {
        match self.authority() {
            Ok(authority) => authority.to_string(),
            Err(_) => match &self.address {
                Address::Ip(ip) => format!("{ip}:{}", self.port),
                Address::Name(name) => format!("{}:{}", name.escape_ascii(), self.port),
            },
        }
    }
}

/// Who says that they are.
pub(super) struct Login {
    user: Zeroizing<String>,
    password: Zeroizing<String>,
}

impl Login {
    /// `TOKEN:VAULT` as in the proxy URL, the vault maybe empty. Some clients want a password and fill in a user name for themselves, so
    /// `VAULT:TOKEN` is understood too: a token shows what it is.
    pub(super) fn token_and_vault(&self) -> (&str, Option<&str>) {
        let is_token = |text: &str| {
            ["av_agt_", "av_sess_"]
                .iter()
                .any(|prefix| text.starts_with(prefix))
        };
        let (token, vault) = if is_token(&self.password) && !is_token(&self.user) {
            (&self.password, &self.user)
        } else {
            (&self.user, &self.password)
        };
        (
            token,
            Some(vault.as_str()).filter(|vault| !vault.is_empty()),
        )
    }
}

/// Reads the first message. True when the client can be asked for a password.
pub(super) async fn read_greeting(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<bool, MessageError> {
    version(stream, super::VERSION).await?;
    let methods = counted(stream).await?;
    Ok(methods.contains(&PASSWORD))
}

/// Reads the client's name and password.
pub(super) async fn read_login(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Login, MessageError> {
    version(stream, LOGIN_VERSION).await?;
    let user = text(counted(stream).await?)?;
    let password = text(counted(stream).await?)?;
    Ok(Login { user, password })
}

/// Reads what the client wants.
pub(super) async fn read_request(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Request, MessageError> {
    version(stream, super::VERSION).await?;
    let command = match stream.read_u8().await? {
        1 => Command::Connect,
        _ => Command::Other,
    };
    let reserved = stream.read_u8().await?;
    if reserved != 0 {
        return Err(MessageError::Reserved(reserved));
    }
    let address = match stream.read_u8().await? {
        IPV4 => Address::Ip(Ipv4Addr::from_bits(stream.read_u32().await?).into()),
        IPV6 => Address::Ip(Ipv6Addr::from_bits(stream.read_u128().await?).into()),
        NAME => Address::Name(counted(stream).await?.to_vec()),
        other => return Err(MessageError::AddressType(other)),
    };
    Ok(Request {
        command,
        address,
        port: stream.read_u16().await?,
    })
}

async fn version(stream: &mut (impl AsyncRead + Unpin), wanted: u8) -> Result<(), MessageError> {
    let version = stream.read_u8().await?;
    if version == wanted {
        Ok(())
    } else {
        Err(MessageError::Version(version))
    }
}

/// A length in one byte, and as many bytes.
async fn counted(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Zeroizing<Vec<u8>>> {
    let count = stream.read_u8().await?;
    let mut bytes = Zeroizing::new(vec![0; usize::from(count)]);
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn text(bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, MessageError> {
    std::str::from_utf8(&bytes)
        .map(|text| Zeroizing::new(text.to_owned()))
        .map_err(|_| MessageError::NotText)
}

/// None of the offered methods will do.
pub(super) fn no_method() -> Bytes {
    Bytes::from_static(&[super::VERSION, NO_METHOD])
}

/// A password is wanted.
pub(super) fn password_method() -> [u8; 2] {
    [super::VERSION, PASSWORD]
}

pub(super) fn login_accepted() -> [u8; 2] {
    [LOGIN_VERSION, 0]
}

pub(super) fn login_refused() -> Bytes {
    Bytes::from_static(&[LOGIN_VERSION, 1])
}

/// An answer to a request. The address that it has room for is that of a connection, and there is none yet.
pub(super) fn reply(reply: Reply) -> Bytes {
    Bytes::copy_from_slice(&[super::VERSION, reply as u8, 0, IPV4, 0, 0, 0, 0, 0, 0])
}

/// Reads any bytes as one message behind the other, and panics when something that must hold does not.
pub(crate) fn check(data: &[u8]) {
    let mut stream = data;
    let read = async {
        read_greeting(&mut stream).await?;
        let login = read_login(&mut stream).await?;
        let (token, vault) = login.token_and_vault();
        assert!(vault.is_none_or(|vault| !vault.is_empty()) && token.len() <= 255);
        let request = read_request(&mut stream).await?;
        if let Ok(authority) = request.authority() {
            // It has one spelling.
            let text = authority.to_string();
            assert_eq!(Authority::parse(&text).ok(), Some(authority));
            assert_eq!(request.shown(), text);
        }
        assert!(request.shown().is_ascii());
        Result::<(), MessageError>::Ok(())
    };
    // A slice never has to be waited for.
    assert!(read.now_or_never().is_some());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(bytes: &[u8]) -> Result<(Request, usize), MessageError> {
        let mut left = bytes;
        let read = read_request(&mut left).now_or_never().unwrap();
        read.map(|request| (request, left.len()))
    }

    #[test]
    fn requests_name_their_destination() {
        for (address, port, expected) in [
            (b"\x01\xc0\x00\x02\x07".as_slice(), 443, Ok("192.0.2.7:443")),
            (b"\x03\x0bExample.org", 8080, Ok("example.org:8080")),
            (b"\x03\x09192.0.2.7", 443, Ok("192.0.2.7:443")),
            (
                b"\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07",
                443,
                Ok("[2001:db8::7]:443"),
            ),
            (b"\x03\x00", 443, Err(Reply::Failed)),
            (b"\x03\x04a b.", 443, Err(Reply::Failed)),
            (b"\x03\x05u@a.b", 443, Err(Reply::Failed)),
            (b"\x03\x07a.b:443", 443, Err(Reply::Failed)),
            (b"\x03\x02\xff\xfe", 443, Err(Reply::Failed)),
            (b"\x03\x03a.b", 0, Err(Reply::Failed)),
        ] {
            let bytes = [
                b"\x05\x01\0".as_slice(),
                address,
                &u16::to_be_bytes(port),
                b"rest",
            ]
            .concat();
            let (request, left) = request(&bytes).unwrap();
            assert_eq!(left, 4, "{address:?}");
            assert_eq!(request.command, Command::Connect);
            let named = request.authority().map(|authority| authority.to_string());
            assert_eq!(
                named.as_deref().map_err(|(reply, _)| *reply),
                expected,
                "{address:?}"
            );
            assert!(request.shown().is_ascii());
        }
        for command in [0, 2, 3, 0xff] {
            let bytes = [5, command, 0, 1, 192, 0, 2, 7, 0, 80];
            assert_eq!(request(&bytes).unwrap().0.command, Command::Other);
        }
        for bytes in [
            b"\x04\x01\x00\x50\x01\x02\x03\x04\0\0".as_slice(),
            b"\x05\x01\x01\x01\x01\x02\x03\x04\0\x50",
            b"\x05\x01\x00\x02\x01\x02\x03\x04\0\x50",
            b"\x05\x01\x00\x03\x09a.b\0\x50",
            b"\x05\x01\x00\x01\x01\x02\x03",
            b"",
        ] {
            assert!(request(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_token_shows_what_it_is() {
        for (user, password, expected) in [
            ("av_agt_1", "work", ("av_agt_1", Some("work"))),
            ("av_sess_1", "", ("av_sess_1", None)),
            ("work", "av_agt_1", ("av_agt_1", Some("work"))),
            ("", "av_agt_1", ("av_agt_1", None)),
            ("else", "work", ("else", Some("work"))),
        ] {
            let login = Login {
                user: Zeroizing::new(user.to_owned()),
                password: Zeroizing::new(password.to_owned()),
            };
            assert_eq!(login.token_and_vault(), expected, "{user}:{password}");
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_end_nothing(data in prop::collection::vec(any::<u8>(), 0..600)) {
            check(&data);
            // Deep enough to reach the request.
            check(&[b"\x05\x01\x02\x01\x01a\x01b\x05\x01\x00\x03".as_slice(), &data].concat());
        }
    }
}
