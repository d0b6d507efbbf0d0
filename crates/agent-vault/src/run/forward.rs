//! From the child to a proxy on another machine: plain HTTP on loopback here, TLS on the network.
//!
//! Many clients take no `https://` proxy: some refuse it, some speak HTTP in clear to it, some go past it without a word. So
//! the child is given an `http://` one that listens on loopback for as long as the run lives, and what it says there leaves
//! this machine inside TLS. Bytes are carried as they are; the token that makes them worth anything is the child's own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use agent_vault_upstream::{OwnProxy, OwnProxyError};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::{CliError, Result};

/// Most connections at one time; further ones wait in the system's queue.
const MAX_CONNECTIONS: usize = 1024;
/// Bytes under way in each direction of a connection.
const BUFFER: usize = 16 * 1024;
/// Wait after an accept failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a client may go on sending after it was told that the proxy is not reached.
const LINGER: Duration = Duration::from_secs(1);

/// The listener on loopback, and what it carries.
pub(super) struct Forwarder {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Forwarder {
    /// Listens.
    ///
    /// # Errors
    /// No port can be had.
    pub(super) async fn listen(proxy: OwnProxy) -> Result<Forwarder> {
        let failed =
            |e: std::io::Error| CliError::new(format!("cannot listen for the command: {e}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(failed)?;
        let forwarder = Forwarder {
            address: listener.local_addr().map_err(failed)?,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let (tasks, stop) = (forwarder.tasks.clone(), forwarder.stop.clone());
        forwarder
            .tasks
            .spawn(accept(listener, Arc::new(proxy), tasks, stop));
        Ok(forwarder)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the listener and every connection.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn accept(
    listener: TcpListener,
    proxy: Arc<OwnProxy>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => return,
        };
        let Ok((socket, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (proxy, stop) = (Arc::clone(&proxy), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = carry(socket, &proxy) => {}
                () = stop.cancelled() => {}
            }
            drop(place);
        });
    }
}

async fn carry(mut socket: TcpStream, proxy: &OwnProxy) {
    let _ = socket.set_nodelay(true);
    match proxy.connect().await {
        Ok(mut secured) => {
            // However it ends, both ends see it.
            let _ =
                tokio::io::copy_bidirectional_with_sizes(&mut socket, &mut secured, BUFFER, BUFFER)
                    .await;
        }
        Err(error) => {
            let _ = tokio::time::timeout(LINGER, refuse(&mut socket, &error)).await;
        }
    }
}

/// Says why nothing is carried, in the form in which the proxy itself refuses.
async fn refuse(socket: &mut TcpStream, error: &OwnProxyError) -> std::io::Result<()> {
    let body = json!({
        "error": "proxy_unreachable",
        "message": format!("the proxy on the other machine is not reached: {error}"),
        "hint": "see that the server runs and can be reached from here",
        "fault": "agent-vault",
    })
    .to_string();
    let answer = format!(
        "HTTP/1.1 502 Bad Gateway\r\nContent-Type: application/json\r\nContent-Length: {}\r\nX-Agent-Vault-Proxy-Error: true\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await?;
    // A reset might overtake the answer while there is something unread.
    let mut room = [0; 4096];
    while socket.read(&mut room).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use agent_vault_ca::{LOCAL_NAME, LeafIssuer, OwnIdentity, Protocols, RootCa};
    use agent_vault_proxy::Door;
    use jiff::Timestamp;

    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "the client of a test dials where the test tells it"
    )]
    async fn ask(forwarder: &Forwarder, request: &str) -> String {
        let mut socket = TcpStream::connect(forwarder.address()).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// A server that says back what it is told, inside TLS under `root`; its port.
    async fn echo(root: RootCa, tasks: &TaskTracker) -> u16 {
        let issuer = Arc::new(LeafIssuer::new(root).unwrap());
        let identity = Arc::new(OwnIdentity::new(issuer, [], None).unwrap());
        let door = Door::new(identity, Protocols::Http1, Arc::new(Timestamp::now));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tasks.spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let Ok(stream) = door.accept(socket).await else {
                    continue;
                };
                let (mut read, mut write) = tokio::io::split(stream);
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            }
        });
        port
    }

    fn proxy(port: u16, root: &RootCa) -> OwnProxy {
        OwnProxy::new("127.0.0.1", port, root.cert_pem(), LOCAL_NAME).unwrap()
    }

    fn root() -> RootCa {
        RootCa::generate(Timestamp::now()).unwrap().0
    }

    #[tokio::test]
    async fn bytes_arrive_as_they_were_sent() {
        let tasks = TaskTracker::new();
        let root = root();
        let pem = root.cert_pem().to_owned();
        let port = echo(root, &tasks).await;
        let proxy = OwnProxy::new("127.0.0.1", port, &pem, LOCAL_NAME).unwrap();
        let forwarder = Forwarder::listen(proxy).await.unwrap();
        let text = "CONNECT a.example:443 HTTP/1.1\r\n\r\n".repeat(4000);
        assert!(ask(&forwarder, &text).await == text);
        forwarder.stop().await;
    }

    #[tokio::test]
    async fn another_root_is_not_believed() {
        let tasks = TaskTracker::new();
        let port = echo(root(), &tasks).await;
        let failed = proxy(port, &root()).connect().await;
        assert!(matches!(failed, Err(OwnProxyError::Tls(_))));
    }

    #[tokio::test]
    async fn a_proxy_that_is_gone_is_told_to_the_client() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let forwarder = Forwarder::listen(proxy(port, &root())).await.unwrap();
        let answer = ask(&forwarder, "CONNECT a.example:443 HTTP/1.1\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"], "proxy_unreachable");
        forwarder.stop().await;
    }
}
