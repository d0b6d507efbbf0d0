//! SOCKS 5 (RFC 1928) on the proxy port, for sandboxes that offer nothing else: a tunnel like that of CONNECT.
//!
//! A user name and password are asked for (RFC 1929), no other method: the token and the vault, as in the proxy URL. Of the commands
//! CONNECT is served. What goes through the tunnel is dealt with as what goes through CONNECT's, by the same code.

mod message;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use agent_vault_broker::Principal;
use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Shared;
use crate::authenticate::authenticate_as;
use crate::door::{ClientSocket, clear_refused};
use crate::journal::Entry;
use crate::limits::{HEAD_TIMEOUT, LINGER, MAX_LINGER_BYTES};
use crate::meters::Protocol;
use crate::respond::{Fault, Refusal};
use crate::tunnel::Opened;
pub(crate) use message::check as check_messages;
use message::{Command, MessageError, Reply, Request};

/// First byte of what a client of SOCKS 5 sends. No method of HTTP begins with it, nor does TLS.
pub(crate) const VERSION: u8 = 5;

/// Why a client's handshake led to nothing.
enum Failure {
    /// What the client is told before the connection ends, and why.
    Refused(Bytes, Refusal),
    /// It sent something else, and is told nothing.
    Message(MessageError),
    /// It is gone.
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<MessageError> for Failure {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::Io(error) => Self::Io(error),
            error => Self::Message(error),
        }
    }
}

/// Serves a connection whose first byte is [`VERSION`].
pub(crate) async fn serve(shared: Arc<Shared>, peer: IpAddr, socket: TcpStream) {
    let mut socket = socket;
    let made = tokio::select! {
        made = timeout(HEAD_TIMEOUT, shake(&shared, peer, &mut socket)) => made,
        () = shared.closing.cancelled() => return,
    };
    match made {
        Ok(Ok(opened)) => {
            opened
                .carry(Bytes::new(), ClientSocket::Clear(socket))
                .await;
        }
        Ok(Err(Failure::Refused(answer, refusal))) => {
            tracing::info!(%peer, code = refusal.code, message = %refusal.message, hint = %refusal.hint, "SOCKS refused");
            farewell(&mut socket, &answer).await;
        }
        Ok(Err(Failure::Message(error))) => {
            tracing::info!(%peer, %error, code = "malformed_request", "SOCKS refused");
        }
        Ok(Err(Failure::Io(error))) => tracing::debug!(%peer, %error, "a SOCKS client left"),
        Err(_) => tracing::debug!(%peer, "connection closed: its client took too long"),
    }
}

/// Finds out who asks, and for what.
async fn shake(
    shared: &Arc<Shared>,
    peer: IpAddr,
    socket: &mut TcpStream,
) -> Result<Opened, Failure> {
    let offers_password = message::read_greeting(socket).await?;
    if shared.options.require_tls {
        return Err(Failure::Refused(message::no_method(), clear_refused()));
    }
    if !offers_password {
        shared
            .journal
            .meters()
            .not_authenticated("proxy_auth_required");
        let refusal = Refusal::credentials_required();
        return Err(Failure::Refused(message::no_method(), refusal));
    }
    socket.write_all(&message::password_method()).await?;
    let login = message::read_login(socket).await?;
    let now = shared.now();
    let (token, vault) = login.token_and_vault();
    let principal = authenticate_as(&shared.broker, &shared.failures, token, vault, peer, now)
        .map_err(|refusal| {
            shared.journal.meters().not_authenticated(refusal.code);
            Failure::Refused(message::login_refused(), refusal)
        })?;
    drop(login);
    socket.write_all(&message::login_accepted()).await?;
    let request = match message::read_request(socket).await {
        Err(MessageError::Io(error)) => return Err(error.into()),
        request => request,
    };
    let host = request
        .as_ref()
        .map_or_else(|_| "-".to_owned(), Request::shown);
    let opened = admit(shared, peer, &principal, request).map_err(|(reply, refusal)| {
        let mut entry = Entry::open(
            &shared.journal,
            &principal,
            Protocol::Connect,
            &Method::CONNECT,
            &Arc::from(host),
            now,
        );
        entry.answered(refusal.status);
        entry.complete(refusal.code);
        Failure::Refused(message::reply(reply), refusal)
    })?;
    // As with CONNECT, nothing has been dialled.
    socket.write_all(&message::reply(Reply::Succeeded)).await?;
    Ok(opened)
}

fn admit(
    shared: &Arc<Shared>,
    peer: IpAddr,
    principal: &Principal,
    request: Result<Request, MessageError>,
) -> Result<Opened, (Reply, Refusal)> {
    let request = request.map_err(|error| {
        let reply = match error {
            MessageError::AddressType(_) => Reply::AddressNotSupported,
            _ => Reply::Failed,
        };
        let hint = "the client is at fault; RFC 1928 section 4 says what a request looks like";
        let refusal = Refusal::bad_request("malformed_request", error.to_string(), hint);
        (reply, refusal)
    })?;
    if request.command != Command::Connect {
        let refusal = Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "socks_command",
            Fault::Agent,
            "of the commands of SOCKS 5 only CONNECT is served",
            "use TCP; for names, let the proxy resolve them (socks5h://)",
        );
        return Err((Reply::CommandNotSupported, refusal));
    }
    let authority = request.authority().map_err(|(reply, message)| {
        let hint = "send a host name or an address, and a port from 1 to 65535";
        (reply, Refusal::bad_request("bad_target", message, hint))
    })?;
    Opened::new(shared, peer, principal, authority).map_err(|refusal| (Reply::NotAllowed, refusal))
}

/// Says the last word. What the client still sends is read for a moment, or the system's reset might overtake it.
async fn farewell(socket: &mut TcpStream, answer: &[u8]) {
    let words = async {
        socket.write_all(answer).await?;
        socket.shutdown().await?;
        let mut room = [0; 1024];
        let mut read = 0;
        while read < MAX_LINGER_BYTES {
            match socket.read(&mut room).await? {
                0 => break,
                count => read += count,
            }
        }
        io::Result::Ok(())
    };
    if let Ok(Err(error)) = timeout(LINGER, words).await {
        tracing::debug!(%error, "a SOCKS client did not wait for its answer");
    }
}
