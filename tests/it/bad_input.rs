//! What no good client sends, and clients that leave: each gets an answer or a close, and harms nobody else.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex, Weak};

use crate::stage::ports::free_port;
use agent_vault_testing::{Home, PATIENCE};
use rustix::process::Signal;

use crate::stage::instance::Instance;
use crate::stage::process::Run;
use crate::stage::{Slot, Stage, binary, http};

fn stage() -> Arc<Stage> {
    static SLOT: Slot = Mutex::new(Weak::new());
    Stage::shared(&SLOT, Stage::bearer)
}

/// Bytes that are no request, or one that nobody may send.
const MALFORMED: [&[u8]; 10] = [
    b"\r\n\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\nhost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    b"GET / HTTP/1.1\r\nhost: x\r\nbad header: y\r\n\r\n",
    b"GET http://[::1/ HTTP/1.1\r\nhost: x\r\n\r\n",
    b"CONNECT not-an-authority HTTP/1.1\r\nhost: x\r\n\r\n",
];

/// Requests that name no host, or two: to a proxy that is a question of where they go.
const UNNAMED: [&[u8]; 2] = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
];

#[test]
fn malformed_requests_get_an_answer_or_a_close_on_both_ports() {
    let stage = stage();
    for to in [stage.instance.api_addr(), stage.instance.proxy_addr()] {
        let proxy_only = if to == stage.instance.proxy_addr() {
            &UNNAMED[..]
        } else {
            &[]
        };
        for bytes in MALFORMED.iter().chain(proxy_only) {
            let mut stream = http::connect(to);
            // It may be refused before it has been read whole.
            stream.write_all(bytes).unwrap_or_default();
            stream
                .shutdown(std::net::Shutdown::Write)
                .unwrap_or_default();
            let mut answer = Vec::new();
            match stream.read_to_end(&mut answer) {
                Ok(_) => {}
                Err(error) => assert_eq!(
                    error.kind(),
                    std::io::ErrorKind::ConnectionReset,
                    "{bytes:?}"
                ),
            }
            if let Some(reply) = http::parse(&answer) {
                assert!(
                    (400..=505).contains(&reply.status),
                    "{:?}: {reply:?}",
                    String::from_utf8_lossy(bytes)
                );
            }
        }
        let oversized = format!(
            "GET / HTTP/1.1\r\nhost: x\r\nx-big: {}\r\n\r\n",
            "a".repeat(4 << 20)
        );
        let mut stream = http::connect(to);
        stream.write_all(oversized.as_bytes()).unwrap_or_default();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        if let Some(reply) = http::parse(&answer) {
            assert!((400..=505).contains(&reply.status), "{reply:?}");
        }
    }
    stage.instance.assert_alive();
    let log = stage.instance.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn the_proxys_refusals_have_a_status_a_reason_and_a_hint() {
    let stage = stage();
    let proxy = stage.instance.proxy_addr();
    let basic = |user: &str| {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(user);
        format!("proxy-authorization: Basic {encoded}\r\n")
    };
    let good = basic(&format!("{}:default", stage.token));
    for (request, status) in [
        (
            "CONNECT localhost:443 HTTP/1.1\r\nhost: localhost:443\r\nconnection: close\r\n\r\n"
                .to_owned(),
            407,
        ),
        (
            "GET http://localhost/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
                .to_owned(),
            407,
        ),
        (
            format!(
                "CONNECT localhost:443 HTTP/1.1\r\nhost: localhost:443\r\nconnection: close\r\n{}\r\n",
                basic(&format!("{}:elsewhere", stage.token))
            ),
            403,
        ),
        (
            format!(
                "CONNECT 169.254.169.254:80 HTTP/1.1\r\nhost: 169.254.169.254:80\r\nconnection: close\r\n{good}\r\n"
            ),
            0,
        ),
        (
            format!(
                "GET http://localhost/ HTTP/1.1\r\nhost: other.example.com\r\nconnection: close\r\n{good}\r\n"
            ),
            421,
        ),
    ] {
        let answer = http::raw(proxy, request.as_bytes());
        if status == 0 {
            continue;
        }
        let answer = answer.expect("an answer");
        let reply = http::parse(&answer)
            .unwrap_or_else(|| panic!("{request}: {:?}", String::from_utf8_lossy(&answer)));
        assert_eq!(reply.status, status, "{request}: {reply:?}");
        assert_eq!(
            reply.header("x-agent-vault-proxy-error"),
            Some("true"),
            "{request}: {reply:?}"
        );
        let json = reply.json();
        for member in ["error", "message", "hint"] {
            assert!(
                json[member].as_str().is_some_and(|text| !text.is_empty()),
                "{member}: {json}"
            );
        }
        if reply.status == 407 {
            assert_eq!(
                reply.header("proxy-authenticate"),
                Some("Basic realm=\"agent-vault\"")
            );
        }
    }
}

#[test]
fn a_private_address_is_refused_with_a_reason() {
    let stage = stage();
    let outcome = stage
        .client(&[
            "curl",
            "-sS",
            "-i",
            "--max-time",
            "20",
            "http://169.254.169.254/latest/meta-data/",
        ])
        .finish();
    assert!(
        outcome
            .stdout
            .to_lowercase()
            .contains("x-agent-vault-proxy-error: true"),
        "{outcome:?}"
    );
    assert!(outcome.stdout.contains("hint"), "{outcome:?}");
    stage.sweep(&outcome);
}

#[test]
fn the_management_ports_refusals_are_json() {
    let stage = stage();
    for (method, path, body, status) in [
        ("POST", "/v1/credentials", "{not json", 400),
        ("POST", "/v1/credentials", "[]", 400),
        ("POST", "/v1/vaults", r#"{"name":"UPPER"}"#, 400),
        (
            "PUT",
            "/v1/vaults/default/services",
            r#"{"services":[{"name":"x"}]}"#,
            400,
        ),
        ("GET", "/v1/vaults/nowhere/services", "", 404),
        ("GET", "/v1/vaults/default/logs?before=1&after=1", "", 400),
    ] {
        let reply = stage.instance.api(method, path, body);
        assert_eq!(
            reply.status,
            status,
            "{method} {path}: {reply:?} {}",
            reply.text()
        );
        assert!(
            reply.json()["error"].is_string(),
            "{method} {path}: {}",
            reply.text()
        );
    }
    let huge = format!(
        r#"{{"vault":"default","credentials":{{"BIG":"{}"}}}}"#,
        "x".repeat(2 << 20)
    );
    let authorization = format!("Bearer {}", stage.instance.session());
    let mut stream = http::connect(stage.instance.api_addr());
    let head = format!(
        "POST /v1/credentials HTTP/1.1\r\nhost: {}\r\nauthorization: {authorization}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        stage.instance.api_addr(),
        huge.len()
    );
    stream.write_all(head.as_bytes()).expect("a head");
    stream.write_all(huge.as_bytes()).unwrap_or_default();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    if let Some(reply) = http::parse(&answer) {
        assert!([400, 413].contains(&reply.status), "{reply:?}");
    }
    stage.instance.assert_alive();
}

/// Those who leave, at every stage of a request, while somebody else works.
#[test]
fn clients_that_leave_harm_nobody() {
    let stage = stage();
    let proxy = stage.instance.proxy_addr();
    let authority = stage.upstream.authority();
    let authorization = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(format!("{}:default", stage.token))
    };
    let connect = format!(
        "CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\nproxy-authorization: Basic {authorization}\r\n\r\n"
    );
    let gate = "while-others-leave";
    let url = stage.upstream.url(&format!("/stall?gate={gate}"));
    let working = stage
        .client(&["curl", "-sS", "--fail", "--max-time", "60", &url])
        .spawn();
    block_on(stage.upstream.gate(gate).arrived(1));
    for round in 0..5 {
        // In the middle of the head, after the head, in the middle of the handshake, after a wrong handshake.
        let mut stream = http::connect(proxy);
        stream
            .write_all(&connect.as_bytes()[..connect.len() / 2])
            .expect("half a head");
        drop(stream);
        let mut stream = http::connect(proxy);
        stream.write_all(connect.as_bytes()).expect("a head");
        drop(stream);
        let mut stream = http::connect(proxy);
        stream.write_all(connect.as_bytes()).expect("a head");
        let mut established = [0_u8; 12];
        stream.read_exact(&mut established).expect("an answer");
        assert_eq!(&established, b"HTTP/1.1 200");
        stream
            .write_all(b"\x16\x03\x01\x02\x00\x01")
            .unwrap_or_default();
        drop(stream);
        // One that rejects our certificate, and one that is killed in the middle of a download and of an upload.
        let distrust = stage
            .client(&[
                "env",
                "-u",
                "CURL_CA_BUNDLE",
                "-u",
                "SSL_CERT_FILE",
                "curl",
                "-sS",
                &stage.upstream.url("/echo"),
            ])
            .finish();
        assert_eq!(distrust.status.code(), Some(60), "{distrust:?}");
        let stalled = format!("killed-{round}");
        let url = stage.upstream.url(&format!("/stall?gate={stalled}"));
        let killed = stage.client(&["curl", "-sS", &url]).spawn();
        block_on(stage.upstream.gate(&stalled).arrived(1));
        rustix::process::kill_process_group(killed.pid(), Signal::KILL).expect("a group to kill");
        killed.finish();
    }
    stage.upstream.gate(gate).open();
    let worked = working.finish();
    assert!(worked.status.success(), "{worked:?}");
    stage.instance.assert_alive();
    let log = stage.instance.log();
    assert!(!log.contains("panicked"), "{log}");
    stage.sweep(&worked);
}

/// Waits on the test's own thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(async {
            tokio::time::timeout(PATIENCE, future)
                .await
                .expect("in time")
        })
}

#[test]
fn a_server_whose_output_nobody_reads_lives_on() {
    let stage = stage();
    // stdout and stderr are pipes whose readers leave after the first line.
    let home = Home::new();
    let port = free_port();
    let script = r#"
import os, signal, subprocess, sys, time, urllib.request
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
server = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, restore_signals=True)
server.stdout.readline(); server.stdout.readline()
server.stdout.close(); server.stderr.close()
try:
    port = sys.argv[sys.argv.index("--port") + 1]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(20):
        assert opener.open("http://127.0.0.1:%s/health" % port, timeout=20).status == 200
    server.send_signal(signal.SIGPIPE)
    assert opener.open("http://127.0.0.1:%s/health" % port, timeout=20).status == 200
    server.terminate()
    print("code", server.wait(timeout=20))
finally:
    if server.poll() is None:
        server.kill()
"#;
    let outcome = Run::program(&home, "python3")
        .args(&[
            "-c",
            script,
            &binary::agent_vault().to_string_lossy(),
            "server",
            "--log-level",
            "debug",
        ])
        .args(&[
            "--port",
            &port.to_string(),
            "--mitm-port",
            &free_port().to_string(),
        ])
        .succeed();
    assert_eq!(outcome.stdout, "code 0\n", "{outcome:?}");
    stage.instance.assert_alive();
}

#[test]
fn a_stopped_server_ends_soon_and_cleanly() {
    let mut instance = Instance::builder().start();
    instance.register();
    let address = instance.address();
    let outcome = instance.person(&["server", "stop"]).succeed();
    assert!(outcome.stdout.contains("stopped"), "{outcome:?}");
    instance.stop();
    let outcome = instance.person(&["vault", "list"]).fail(1);
    outcome
        .one_error_with_hint()
        .says(&["cannot reach", &address]);
    instance
        .person(&["server", "stop"])
        .fail(1)
        .says(&["no server runs"]);
    assert!(!instance.data_folder().join("agent-vault.pid").exists());
}
