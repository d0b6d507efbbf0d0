//! An upstream that sends the first bytes of an answer and then ends its connection, in one of several ways.

use std::net::SocketAddr;
use std::sync::Arc;

use agent_vault_testing::TestCa;
use agent_vault_testing::pki::Validity;
use agent_vault_testing::tasks::Tasks;
use agent_vault_testing::upstream::read_head;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::OTHER;
use crate::fixture::HOST;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// As TCP and TLS have it: `close_notify`, where there is TLS, and FIN.
    Fin,
    /// FIN without `close_notify`, as somebody on the way could make one. TLS only.
    Bare,
    /// RST.
    Reset,
}

impl End {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::Bare => "bare",
            Self::Reset => "reset",
        }
    }

    fn of(word: &str) -> Self {
        [Self::Fin, Self::Bare, Self::Reset]
            .into_iter()
            .find(|end| end.word() == word)
            .unwrap()
    }
}

/// Serves `/SCRIPT/BYTES/END`.
pub(super) struct Cutter {
    pub(super) addr: SocketAddr,
    pub(super) ca_pem: String,
    _tasks: Tasks,
}

impl Cutter {
    pub(super) async fn start(is_tls: bool, scripts: Vec<Vec<u8>>) -> Self {
        let ca = TestCa::new();
        let names = [HOST.to_owned(), OTHER.to_owned()];
        let acceptor = is_tls.then(|| {
            TlsAcceptor::from(
                ca.issue(&names, Validity::CURRENT)
                    .server_config(&["http/1.1"]),
            )
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        let spawner = tasks.spawner();
        let scripts: Arc<[Vec<u8>]> = scripts.into();
        tasks.spawner().spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                socket.set_nodelay(true).unwrap();
                let (acceptor, scripts) = (acceptor.clone(), Arc::clone(&scripts));
                spawner.spawn(async move {
                    match acceptor {
                        None => serve_plain(socket, &scripts).await,
                        Some(acceptor) => {
                            // A handshake that fails shows on the other side.
                            if let Ok(stream) = acceptor.accept(socket).await {
                                serve_tls(stream, &scripts).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            addr,
            ca_pem: ca.pem(),
            _tasks: tasks,
        }
    }

    pub(super) fn authority(&self, host: &str) -> String {
        format!("{host}:{}", self.addr.port())
    }
}

pub(super) fn path(script: usize, bytes: usize, end: End) -> String {
    format!("/{script}/{bytes}/{}", end.word())
}

fn wanted<'s>(head: &[u8], scripts: &'s [Vec<u8>]) -> Option<(&'s [u8], End)> {
    let head = String::from_utf8_lossy(head);
    let target = head.split(' ').nth(1)?;
    let target = target.find("//").map_or(target, |scheme| {
        let rest = &target[scheme + 2..];
        &rest[rest.find('/').unwrap()..]
    });
    let mut parts = target.trim_start_matches('/').split('/');
    let script = &scripts[parts.next()?.parse::<usize>().ok()?];
    let bytes: usize = parts.next()?.parse().ok()?;
    Some((&script[..bytes], End::of(parts.next()?)))
}

// What is written to a peer that has gone is lost, and no failure of the test's.
async fn serve_plain(mut socket: TcpStream, scripts: &[Vec<u8>]) {
    let head = read_head(&mut socket).await;
    let Some((bytes, end)) = wanted(&head, scripts) else {
        return;
    };
    socket.write_all(bytes).await.unwrap_or_default();
    match end {
        End::Reset => socket.set_zero_linger().unwrap(),
        End::Fin | End::Bare => {
            socket.shutdown().await.unwrap_or_default();
            drain(socket).await;
        }
    }
}

async fn serve_tls(mut stream: tokio_rustls::server::TlsStream<TcpStream>, scripts: &[Vec<u8>]) {
    let head = read_head(&mut stream).await;
    let Some((bytes, end)) = wanted(&head, scripts) else {
        return;
    };
    stream.write_all(bytes).await.unwrap_or_default();
    stream.flush().await.unwrap_or_default();
    match end {
        End::Fin => stream.shutdown().await.unwrap_or_default(),
        End::Bare => stream.get_mut().0.shutdown().await.unwrap_or_default(),
        End::Reset => {
            stream.get_ref().0.set_zero_linger().unwrap();
            return;
        }
    }
    drain(stream).await;
}

/// Reads on, so that what was sent is not overtaken by the reset that unread bytes would cause.
async fn drain(mut stream: impl tokio::io::AsyncRead + Unpin) {
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
}
