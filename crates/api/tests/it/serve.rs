//! The management port over a real socket.

use std::io;
use std::sync::Arc;

use agent_vault_api::{Accepting, Duplex, Tls, TlsDoor, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::world::World;

async fn connect(port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.connect(([127, 0, 0, 1], port).into()).await.unwrap()
}

async fn exchange(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    String::from_utf8(reply).unwrap()
}

#[tokio::test]
async fn a_plain_client_registers_the_owner_and_the_server_stops_gracefully() {
    let world = World::empty().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let serving = tasks.spawn(serve(listener, world.router.clone(), None, stop.clone()));

    let body = r#"{"email":"a@x.io","password":"long enough"}"#;
    let request = format!(
        "POST /v1/auth/register HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let reply = exchange(&mut connect(port).await, &request).await;
    assert!(reply.starts_with("HTTP/1.1 201 Created\r\n"), "{reply}");
    assert!(reply.contains("av_sess_") && reply.contains("x-frame-options: DENY"));

    // The local operator's token counts on no socket.
    let request = format!(
        "GET /v1/vaults HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        world.local_token
    );
    let reply = exchange(&mut connect(port).await, &request).await;
    assert!(reply.starts_with("HTTP/1.1 401 "), "{reply}");

    // A connection that sends nothing does not keep the server from stopping.
    let idle = connect(port).await;
    stop.cancel();
    serving.await.unwrap();
    drop(idle);
}

#[tokio::test]
async fn a_follower_of_the_log_does_not_keep_the_server_from_stopping() {
    let (world, cast) = World::cast().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let serving = tasks.spawn(serve(listener, world.router.clone(), None, stop.clone()));
    let mut stream = connect(port).await;
    let request = format!(
        "GET /v1/vaults/default/logs/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        cast.owner
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("retry: 2000\n\n") {
        assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
    }
    stop.cancel();
    serving.await.unwrap();
    stream.read_to_end(&mut seen).await.unwrap();
    // The last chunk: the answer ended, it was not cut off.
    assert!(
        seen.ends_with(b"\r\n0\r\n\r\n"),
        "{}",
        String::from_utf8_lossy(&seen)
    );
}

#[tokio::test]
async fn bytes_that_are_no_request_harm_nobody_else() {
    let world = World::empty().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    tasks.spawn(serve(listener, world.router.clone(), None, stop.clone()));
    for bytes in [
        "\x16\x03\x01\x02\x00\x01",
        "GET / HTTP/9.9\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost",
    ] {
        let mut stream = connect(port).await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    }
    let request = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let reply = exchange(&mut connect(port).await, request).await;
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    stop.cancel();
}

/// RFC 9112 section 3.2: without exactly one readable `Host`, it is not known which server is meant.
#[tokio::test]
async fn a_request_names_its_host_once() {
    let world = World::empty().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    tasks.spawn(serve(listener, world.router.clone(), None, stop.clone()));
    for (line, hosts, status) in [
        ("GET /health HTTP/1.1", "", 400),
        ("GET http://localhost/health HTTP/1.1", "", 400),
        (
            "GET /health HTTP/1.1",
            "Host: localhost\r\nHost: localhost\r\n",
            400,
        ),
        (
            "GET /health HTTP/1.1",
            "Host: localhost\r\nHost: evil.example\r\n",
            400,
        ),
        ("GET /health HTTP/1.1", "Host:\r\n", 400),
        ("GET /health HTTP/1.1", "Host: local host\r\n", 400),
        ("GET /health HTTP/1.1", "Host: é.example\r\n", 400),
        ("GET /health HTTP/1.1", "Host: evil@localhost\r\n", 400),
        ("GET /health HTTP/1.1", "Host: localhost\r\n", 200),
        (
            "GET http://evil.example/health HTTP/1.1",
            "Host: localhost\r\n",
            403,
        ),
        ("GET /health HTTP/1.0", "", 200),
    ] {
        let request = format!("{line}\r\n{hosts}Connection: close\r\n\r\n");
        let reply = exchange(&mut connect(port).await, &request).await;
        let got = reply.split(' ').nth(1).unwrap_or_default();
        assert_eq!(got, status.to_string(), "{request}{reply}");
        assert!(
            reply.contains("content-type: application/json"),
            "{request}{reply}"
        );
    }
    stop.cancel();
}

/// Each of these would otherwise hold one of the server's places for ever.
#[tokio::test]
async fn connections_that_never_ask_are_closed() {
    let world = World::empty().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    tasks.spawn(serve(listener, world.router.clone(), None, stop.clone()));
    tokio::time::pause();
    for bytes in [
        "",
        "PRI * HT",
        "GET /health HT",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let mut stream = connect(port).await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut taken = Vec::new();
        // The end, however it is told, and not the test's own patience.
        let minutes = std::time::Duration::from_mins(10);
        let ended = tokio::time::timeout(minutes, stream.read_to_end(&mut taken)).await;
        assert!(ended.is_ok(), "{bytes:?}");
    }
    stop.cancel();
}

/// Stands for TLS, whose first byte it shares: after [`Knock::HELLO`] comes what TLS would carry.
struct Knock;

impl Knock {
    const HELLO: &'static str = "\x16hello";
}

impl TlsDoor for Knock {
    fn accept(&self, mut socket: TcpStream) -> Accepting<'_> {
        Box::pin(async move {
            let mut hello = [0; Self::HELLO.len()];
            socket.read_exact(&mut hello).await?;
            if hello != Self::HELLO.as_bytes() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            Ok(Box::new(socket) as Box<dyn Duplex>)
        })
    }
}

async fn secured(world: &World, required: bool) -> (u16, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let tls = Tls {
        door: Arc::new(Knock),
        required,
    };
    tasks.spawn(serve(
        listener,
        world.router.clone(),
        Some(tls),
        stop.clone(),
    ));
    (port, stop)
}

fn registration() -> String {
    let body = r#"{"email":"a@x.io","password":"long enough"}"#;
    format!(
        "POST /v1/auth/register HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn w16_one_port_takes_both_and_a_cookie_given_over_tls_stays_there() {
    for (hello, secure) in [("", false), (Knock::HELLO, true)] {
        let world = World::empty().await;
        let (port, stop) = secured(&world, false).await;
        let request = format!("{hello}{}", registration());
        let reply = exchange(&mut connect(port).await, &request).await;
        assert!(reply.starts_with("HTTP/1.1 201 Created\r\n"), "{reply}");
        let cookie = reply
            .lines()
            .find(|line| line.starts_with("set-cookie: av_session="))
            .unwrap();
        assert_eq!(cookie.ends_with("; Secure"), secure, "{cookie}");
        stop.cancel();
    }
}

#[tokio::test]
async fn w16_clear_text_is_refused_where_tls_is_required() {
    let world = World::empty().await;
    let (port, stop) = secured(&world, true).await;
    let token = &world.local_token;
    for request in [
        registration(),
        "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(),
        format!(
            "GET /v1/vaults HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
        ),
    ] {
        let reply = exchange(&mut connect(port).await, &request).await;
        assert!(reply.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{reply}");
        assert!(reply.contains("https://") && reply.contains("\"hint\""));
        assert!(reply.contains("x-frame-options: DENY"), "{reply}");
    }
    // Nothing was done, so there is still an owner to register.
    let request = format!("{}{}", Knock::HELLO, registration());
    let reply = exchange(&mut connect(port).await, &request).await;
    assert!(reply.starts_with("HTTP/1.1 201 Created\r\n"), "{reply}");
    stop.cancel();
}

#[tokio::test]
async fn half_a_hello_or_a_wrong_one_harms_nobody() {
    let world = World::empty().await;
    let (port, stop) = secured(&world, false).await;
    let mut wrong = connect(port).await;
    wrong
        .write_all(b"\x16GET / HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut taken = Vec::new();
    // Closed, with a reset or without.
    let _ = wrong.read_to_end(&mut taken).await;
    assert!(taken.is_empty());
    let mut half = connect(port).await;
    half.write_all(b"\x16he").await.unwrap();
    let request = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for hello in ["", Knock::HELLO] {
        let reply = exchange(&mut connect(port).await, &format!("{hello}{request}")).await;
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    }
    tokio::time::pause();
    let ended = tokio::time::timeout(
        std::time::Duration::from_mins(10),
        half.read_to_end(&mut taken),
    )
    .await;
    assert!(ended.is_ok() && taken.is_empty());
    stop.cancel();
}
