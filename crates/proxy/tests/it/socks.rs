//! SOCKS 5 on the proxy port: the same tunnel by another handshake; and the PROXY protocol before any of them.

use agent_vault_testing::client::{self, Answer, Http, Stream};
use agent_vault_testing::{Canary, within};
use http::{Request, Version};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fixture::{Far, HOST, Stage, basic, refusal};

/// What a client sends for a name.
pub(crate) fn connect(host: &str, port: u16) -> Vec<u8> {
    let length = u8::try_from(host.len()).unwrap();
    [
        b"\x05\x01\x00\x03".as_slice(),
        &[length],
        host.as_bytes(),
        &port.to_be_bytes(),
    ]
    .concat()
}

fn login(user: &str, password: &str) -> Vec<u8> {
    let counted = |text: &str| {
        let mut bytes = vec![u8::try_from(text.len()).unwrap()];
        bytes.extend_from_slice(text.as_bytes());
        bytes
    };
    [vec![1], counted(user), counted(password)].concat()
}

/// Reads so many bytes; fewer when the connection ends.
pub(crate) async fn read(stream: &mut Stream, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    within(
        "an answer",
        stream.take(count as u64).read_to_end(&mut bytes),
    )
    .await
    .unwrap();
    bytes
}

/// A connection on which the greeting and the login went well.
pub(crate) async fn known(stage: &Stage, user: &str, password: &str) -> Stream {
    let mut stream: Stream = Box::new(client::dial(stage.addr).await.unwrap());
    stream.write_all(b"\x05\x02\x00\x02").await.unwrap();
    assert_eq!(read(&mut stream, 2).await, [5, 2]);
    stream.write_all(&login(user, password)).await.unwrap();
    assert_eq!(read(&mut stream, 2).await, [1, 0], "{user}:{password}");
    stream
}

/// A tunnel to an authority.
async fn tunnel(stage: &Stage, host: &str, port: u16) -> Stream {
    let mut stream = known(stage, &stage.token, "").await;
    stream.write_all(&connect(host, port)).await.unwrap();
    assert_eq!(read(&mut stream, 10).await, [5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    stream
}

async fn get(http: &mut Http, uri: &str, host: Option<&str>) -> Answer {
    let mut request = Request::builder().uri(uri);
    if let Some(host) = host {
        request = request.header("host", host);
    } else {
        request = request.version(Version::HTTP_2);
    }
    let response = http.send(request.body(client::empty()).unwrap());
    Answer::read(within("an answer", response).await.unwrap())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_by_socks_is_a_tunnel() {
    let secret = Canary::new("sk-");
    for (far, alpn) in [
        (Far::H1, Some("http/1.1")),
        (Far::H1, Some("h2")),
        (Far::H2, Some("h2")),
        (Far::Plain, None),
    ] {
        let upstream = far.start();
        let stage = Stage::builder()
            .trusting(&upstream)
            .bearer(secret.expose())
            .start()
            .await;
        let authority = upstream.authority_of(HOST);
        let port: u16 = authority.rsplit_once(':').unwrap().1.parse().unwrap();
        let stream = tunnel(&stage, HOST, port).await;
        let what = format!("{far:?} {alpn:?}");
        let mut http = match alpn {
            None => Http::begin(stream, false).await.unwrap(),
            Some(alpn) => {
                let (stream, is_h2) = client::tls(stream, HOST, &stage.tls(&[alpn]))
                    .await
                    .unwrap();
                assert_eq!(is_h2, alpn == "h2");
                Http::begin(stream, is_h2).await.unwrap()
            }
        };
        let answer = if alpn == Some("h2") {
            get(&mut http, &format!("https://{authority}/echo"), None).await
        } else {
            get(&mut http, "/echo", Some(&authority)).await
        };
        assert_eq!(answer.status, 200, "{what}");
        let seen = upstream.latest("/echo").unwrap();
        let bearer = format!("Bearer {}", secret.expose());
        assert_eq!(
            seen.header("authorization"),
            Some(bearer.as_str()),
            "{what}"
        );
        assert!(secret.find(answer.received()).is_empty());
        let logged = stage.last_logged(1).await;
        assert_eq!(
            (logged.host.as_ref(), logged.status),
            (authority.as_str(), 200)
        );
        assert_eq!(logged.label.as_deref(), Some("a test"));
        // Inside, another destination is as wrong as in CONNECT's tunnel.
        if alpn != Some("h2") {
            let answer = get(&mut http, "/echo", Some("evil.example")).await;
            assert_eq!(answer.status, 421, "{what}");
            assert_eq!(refusal(&answer)["error"], "destination_mismatch");
        }
        // And the tunnel ends with the token.
        stage.broker.drop_sessions(|_| true);
        let gone = http.send(
            Request::builder()
                .uri(format!("https://{authority}/echo"))
                .header("host", &authority)
                .body(client::empty())
                .unwrap(),
        );
        if let Ok(answer) = within("an end", gone).await {
            assert_eq!(answer.status(), 407, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_socks_refuses_and_how() {
    let upstream = Far::H1.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let token = stage.token.as_str();
    let good = login(token, "main");
    let swapped = login("main", token);
    let v6 = b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb".to_vec();
    let failed = |code: u8| vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0];
    let asked = |greeting: &[u8]| vec![(greeting.to_vec(), vec![5, 0xff])];
    let logged_in = |login: &[u8]| {
        vec![
            (b"\x05\x01\x02".to_vec(), vec![5, 2]),
            (login.to_vec(), vec![1, 0]),
        ]
    };
    let refused = |login: &[u8]| {
        vec![
            (b"\x05\x01\x02".to_vec(), vec![5, 2]),
            (login.to_vec(), vec![1, 1]),
        ]
    };
    let request = |request: Vec<u8>, answer: Vec<u8>| {
        let mut steps = logged_in(&good);
        steps.push((request, answer));
        steps
    };
    let mut logged = 0;
    // What is sent and what comes back, step by step; whether it is in the request log; whether the connection is over.
    for (steps, code, is_over) in [
        // No authentication, GSSAPI, none at all.
        (asked(b"\x05\x01\x00"), "", true),
        (asked(b"\x05\x02\x00\x01"), "", true),
        (asked(b"\x05\x00"), "", true),
        (refused(&login("av_agt_nobody", "main")), "", true),
        (refused(&login("", "")), "", true),
        (refused(&login(token, "another-vault")), "", true),
        (logged_in(&swapped), "", false),
        (logged_in(&login(token, "")), "", false),
        (
            request(connect("api.example.test", 443), failed(0)),
            "",
            false,
        ),
        (request(v6, failed(0)), "", false),
        (
            request(b"\x05\x02\x00\x01\x7f\0\0\x01\x00\x50".to_vec(), failed(7)),
            "socks_command",
            true,
        ),
        (
            request(b"\x05\x03\x00\x01\0\0\0\0\0\0".to_vec(), failed(7)),
            "socks_command",
            true,
        ),
        (
            request(b"\x05\x01\x00\x02\x01".to_vec(), failed(8)),
            "malformed_request",
            true,
        ),
        (
            request(b"\x05\x01\x07\x01\x7f\0\0\x01\x00\x50".to_vec(), failed(1)),
            "malformed_request",
            true,
        ),
        (request(connect("a b", 443), failed(1)), "bad_target", true),
        (
            request(connect("user@api.example.test", 443), failed(1)),
            "bad_target",
            true,
        ),
        (
            request(connect("api.example.test", 0), failed(1)),
            "bad_target",
            true,
        ),
    ] {
        let mut stream: Stream = Box::new(client::dial(stage.addr).await.unwrap());
        for (sent, answered) in &steps {
            stream.write_all(sent).await.unwrap();
            assert_eq!(
                &read(&mut stream, answered.len()).await,
                answered,
                "{steps:?}"
            );
        }
        if is_over {
            assert!(read(&mut stream, 1).await.is_empty(), "{steps:?}");
        }
        if !code.is_empty() {
            logged += 1;
            let record = stage.last_logged(logged).await;
            assert_eq!(
                (record.error_code, record.method.as_str()),
                (code, "CONNECT")
            );
        }
    }
    assert_eq!(stage.logged(logged).await.len(), logged);
    // SOCKS 4, and what breaks off or changes its mind.
    for bytes in [
        b"\x04\x01\x00\x50\x7f\0\0\x01\0".as_slice(),
        b"\x05",
        b"\x05\x05\x02",
        b"\x05\x01\x02\x05",
        b"\x05\x01\x02\x01\xff\x00",
    ] {
        let mut stream: Stream = Box::new(client::dial(stage.addr).await.unwrap());
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = read(&mut stream, 1000).await;
        assert!(!answer.ends_with(&[0, 0, 0, 0]), "{bytes:?}");
    }
    // All of it at once, with the first bytes of the tunnel: none of them are lost.
    let authority = upstream.authority_of(HOST);
    let (host, port) = authority.rsplit_once(':').unwrap();
    let mut stream: Stream = Box::new(client::dial(stage.addr).await.unwrap());
    let all = [
        b"\x05\x01\x02".to_vec(),
        good.clone(),
        connect(host, port.parse().unwrap()),
        b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_vec(),
    ];
    stream.write_all(&all.concat()).await.unwrap();
    assert_eq!(read(&mut stream, 14).await[..4], [5, 2, 1, 0]);
    assert!(read(&mut stream, 12).await.starts_with(b"HTTP/1.1 421"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn socks_in_clear_is_refused_where_tls_is_required() {
    let stage = Stage::builder().require_tls().start().await;
    let mut stream: Stream = Box::new(client::dial(stage.addr).await.unwrap());
    stream.write_all(b"\x05\x01\x02").await.unwrap();
    // Before anybody is asked for a token.
    assert_eq!(read(&mut stream, 10).await, [5, 0xff]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balancer_says_whom_it_brings() {
    const V1: &[u8] = b"PROXY TCP4 198.51.100.7 10.0.0.1 8080 443\r\n";
    const BAD_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0";
    const V2: &[u8] =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x07\x0a\0\0\x01\x1f\x90\x01\xbb";
    let upstream = Far::Plain.start();
    let stage = Stage::builder().balanced_by("127.0.0.0/8").start().await;
    let authority = upstream.authority_of(HOST);
    let asked = |token: &str| {
        format!(
            "GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\nProxy-Authorization: {}\r\nConnection: close\r\n\r\n",
            basic(token)
        )
    };
    let good = asked(&format!("{}:", stage.token));
    let bad = asked("av_agt_nobody:");
    let get = async |bytes: &[u8]| {
        let mut stream: Stream = Box::new(client::dial(stage.addr).await.unwrap());
        // It may be over before all is sent.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = within("an end", stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    for header in [V1, V2, b"PROXY UNKNOWN\r\n"] {
        let answer = get(&[header, good.as_bytes()].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        // SOCKS behind it, too.
        let socks = [header, b"\x05\x01\x00"].concat();
        assert_eq!(get(&socks).await.as_bytes()[0], 5);
    }
    // A balancer that sends none, or one that is none: whoever is behind it might have written what follows.
    for header in [b"".as_slice(), b"PROXY TCP4 nonsense\r\n", BAD_V2] {
        let answer = get(&[header, good.as_bytes()].concat()).await;
        assert_eq!(answer, "", "{header:?}");
    }
    // Whose failures are counted: the client's, for loopback itself is exempt.
    let fail = [V1, bad.as_bytes()].concat();
    let mut statuses = Vec::new();
    for _ in 0..51 {
        statuses.push(get(&fail).await[9..12].to_owned());
    }
    assert_eq!(statuses[..50], vec!["407"; 50]);
    assert_eq!(statuses[50], "429");
    let other = V1.to_vec();
    let other = [
        String::from_utf8(other).unwrap().replace(".7 ", ".8 "),
        bad.clone(),
    ]
    .concat();
    assert_eq!(get(other.as_bytes()).await[9..12], *"407");

    // From anybody else such a header is no request.
    let stage = Stage::builder().balanced_by("192.0.2.0/24").start().await;
    for header in [V1, V2] {
        let mut stream: Stream = Box::new(client::dial(stage.addr).await.unwrap());
        let _ = stream.write_all(&[header, good.as_bytes()].concat()).await;
        let mut answer = Vec::new();
        let _ = within("an end", stream.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"], json!("malformed_request"));
    }
}
