//! A proxy on the way out that connects every host to one address, so that a test can use names that lead nowhere, or
//! that belong to others, and nothing leaves this machine.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::JoinHandle;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::tasks::Tasks;
use crate::upstream::read_head;

/// A running one, on a thread of its own. Dropping it ends it, with all of its connections.
pub struct Switchboard {
    addr: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Switchboard {
    /// Starts one on a free port of 127.0.0.1 that connects every `CONNECT` to `to`.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener
            .set_nonblocking(true)
            .expect("a socket that does not block");
        let addr = listener
            .local_addr()
            .expect("the address of a listening socket");
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("switchboard".to_owned())
            .spawn(move || {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime")
                    .block_on(accept(listener, to, stopped));
            })
            .expect("a thread");
        Self {
            addr,
            stop,
            thread: Some(thread),
        }
    }

    /// Where it listens, as the URL of a proxy.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

impl Drop for Switchboard {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_default();
        }
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, stop: CancellationToken) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket of this runtime");
    let tasks = Tasks::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        if let Ok((stream, _)) = accepted {
            tasks.spawner().spawn(connect(stream, to));
        }
    }
    tasks.stop().await;
}

async fn connect(mut stream: TcpStream, to: SocketAddr) {
    let head = read_head(&mut stream).await;
    if !head.starts_with(b"CONNECT ") {
        return;
    }
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    };
    let Ok(socket) = socket else { return };
    let Ok(mut target) = socket.connect(to).await else {
        return;
    };
    stream.set_nodelay(true).unwrap_or_default();
    target.set_nodelay(true).unwrap_or_default();
    // However it ends, both ends see it.
    if stream
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await
        .is_ok()
    {
        drop(tokio::io::copy_bidirectional(&mut stream, &mut target).await);
    }
}
