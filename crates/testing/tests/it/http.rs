use std::sync::Arc;
use std::time::Duration;

use agent_vault_testing::client::{self, Http};
use agent_vault_testing::recording::{BodyEnd, Ending};
use agent_vault_testing::{Alpn, Certificate, Home, Upstream, pki};
use http::Version;
use http_body_util::BodyExt as _;

use crate::connect;

const VERSIONS: [&str; 2] = ["http/1.1", "h2"];

#[tokio::test]
async fn a_request_is_recorded_whole_in_both_versions() {
    let upstream = Upstream::start();
    for (index, alpn) in VERSIONS.iter().enumerate() {
        let mut http = connect(&upstream, &[alpn]).await;
        assert_eq!(http.is_h2(), *alpn == "h2");
        let headers = [("x-test", "one"), ("x-test", "two")];
        let body = client::full("the body");
        let answer = http
            .exchange("POST", &upstream.authority(), "/echo?q=1", &headers, body)
            .await
            .unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["path"], "/echo?q=1");
        assert_eq!(answer.json()["headers"]["x-test"], "one, two");
        assert_eq!(answer.json()["body"], "the body");
        let recorded = &upstream.wait_for(index + 1).await[index];
        assert_eq!(recorded.method, "POST");
        assert_eq!(recorded.host(), Some(upstream.authority().as_str()));
        assert_eq!(recorded.path(), "/echo");
        assert_eq!(recorded.header_all("x-test"), ["one", "two"]);
        assert_eq!(recorded.body_text(), "the body");
        assert_eq!(recorded.sni.as_deref(), Some("localhost"));
        assert_eq!(recorded.body_ended().await, BodyEnd::Complete);
        assert_eq!(recorded.ended().await, Ending::Finished);
    }
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn canned_answers_are_what_they_say() {
    let upstream = Upstream::start();
    for alpn in VERSIONS {
        let mut http = connect(&upstream, &[alpn]).await;
        let authority = upstream.authority();
        let teapot = http.get(&authority, "/status/418", &[]).await.unwrap();
        assert_eq!(teapot.status, 418);
        let bytes = http.get(&authority, "/bytes/100000", &[]).await.unwrap();
        assert_eq!(
            (bytes.body.len(), bytes.headers["content-length"].as_bytes()),
            (100_000, &b"100000"[..])
        );
        let chunks = http.get(&authority, "/chunks/100000", &[]).await.unwrap();
        assert_eq!(
            (chunks.body.len(), chunks.headers.get("content-length")),
            (100_000, None)
        );
        let trailers = http
            .get(&authority, "/trailers", &[("te", "trailers")])
            .await
            .unwrap();
        assert_eq!(trailers.trailers.unwrap()["x-checksum"], "abc123");
        let redirect = http
            .get(&authority, "/redirect?to=/echo&status=307", &[])
            .await
            .unwrap();
        assert_eq!(
            (
                redirect.status.as_u16(),
                redirect.headers["location"].as_bytes()
            ),
            (307, &b"/echo"[..])
        );
        let cookies = http.get(&authority, "/set-cookie", &[]).await.unwrap();
        assert_eq!(cookies.headers.get_all("set-cookie").iter().count(), 2);
        for encoding in ["gzip", "br", "zstd", "deflate"] {
            let answer = http
                .get(&authority, &format!("/{encoding}"), &[])
                .await
                .unwrap();
            assert_eq!(answer.headers["content-encoding"], encoding);
        }
        let head = http
            .exchange("HEAD", &authority, "/bytes/5", &[], client::empty())
            .await
            .unwrap();
        assert!(head.body.is_empty());
        assert_eq!(
            upstream.latest("/bytes/5").unwrap().ended().await,
            Ending::Finished
        );
        let reset = http.get(&authority, "/reset", &[]).await;
        assert!(reset.is_err(), "a reset answer is no answer");
        let mut http = connect(&upstream, &[alpn]).await;
        assert!(
            http.get(&authority, "/truncate-chunked", &[])
                .await
                .is_err()
        );
        let mut http = connect(&upstream, &[alpn]).await;
        assert!(http.get(&authority, "/truncate-length", &[]).await.is_err());
        let mut http = connect(&upstream, &[alpn]).await;
        assert!(
            http.get(&authority, "/reset-connection", &[])
                .await
                .is_err()
        );
    }
}

#[tokio::test]
async fn an_interim_response_comes_first() {
    let upstream = Upstream::start();
    let mut http = connect(&upstream, &["http/1.1"]).await;
    let mut request = http.request("GET", &upstream.authority(), "/early-hints");
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    hyper::ext::on_informational(&mut request, move |interim| {
        sender.try_send(interim.status()).unwrap();
    });
    let response = http.send(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(receiver.recv().await.unwrap(), 103);
}

#[tokio::test]
async fn events_wait_for_the_test_and_a_client_that_leaves_is_seen() {
    let upstream = Upstream::start();
    for alpn in VERSIONS {
        upstream.clear();
        let gate = upstream.gate(alpn);
        let mut http = connect(&upstream, &[alpn]).await;
        let request = http.request(
            "GET",
            &upstream.authority(),
            &format!("/sse?n=9&gate={alpn}"),
        );
        let mut body = http.send(request).await.unwrap().into_body();
        gate.release(1);
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "id: 0\ndata: event 0\n\n");
        gate.arrived(2).await;
        drop(body);
        http.close().await;
        assert_eq!(upstream.requests()[0].ended().await, Ending::Cancelled);
    }
}

#[tokio::test]
async fn certificates_and_versions_are_as_ordered() {
    for certificate in [
        Certificate::Expired,
        Certificate::SelfSigned,
        Certificate::Stranger,
        Certificate::WrongName,
    ] {
        let upstream = Upstream::builder().certificate(certificate).start();
        let config = Arc::new(pki::client_config(upstream.ca_pem(), &["http/1.1"]));
        let refused = Http::straight(upstream.addr(), "localhost", &config).await;
        assert!(refused.is_err(), "{certificate:?} was accepted");
    }
    for (alpn, h2) in [
        (Alpn::H1Only, false),
        (Alpn::H2Only, true),
        (Alpn::Silent, false),
    ] {
        let upstream = Upstream::builder().alpn(alpn).name("api.test").start();
        let config = Arc::new(pki::client_config(upstream.ca_pem(), &["h2", "http/1.1"]));
        let mut http = Http::straight(upstream.addr(), "api.test", &config)
            .await
            .unwrap();
        assert_eq!(http.is_h2(), h2, "{alpn:?}");
        assert_eq!(http.get("api.test", "/", &[]).await.unwrap().text(), "ok\n");
    }
}

#[tokio::test]
async fn a_raw_answer_goes_out_byte_for_byte() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc";
    let upstream = Upstream::builder().raw_answer(answer).start();
    let mut http = connect(&upstream, &["http/1.1"]).await;
    assert!(http.get("localhost", "/", &[]).await.is_err());
}

#[tokio::test]
async fn curl_speaks_to_it_over_tls_and_plain() {
    let home = Home::new();
    let upstream = Upstream::start();
    let ca = home.write("ca.pem", upstream.ca_pem());
    let curl = |arguments: &[&str]| {
        let mut command = home.async_command("curl");
        command
            .args(["-sS", "--noproxy", "*", "--max-time", "20", "--cacert"])
            .arg(&ca)
            .args(arguments);
        command.output()
    };
    let output = curl(&[
        "--http2",
        "-H",
        "Expect: 100-continue",
        "-d",
        "x=1",
        &upstream.url("/echo"),
    ])
    .await
    .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(upstream.requests()[0].version, Version::HTTP_2);
    let output = curl(&[
        "--http1.1",
        "-H",
        "Expect: 100-continue",
        "-d",
        "x=1",
        &upstream.url_of("127.0.0.1", "/"),
    ]);
    assert!(output.await.unwrap().status.success());
    assert_eq!(
        upstream.requests()[1].header("expect"),
        Some("100-continue")
    );
    assert_eq!(upstream.requests()[1].body_text(), "x=1");
    assert_eq!(upstream.requests()[1].sni, None);

    let plain = Upstream::builder().plain().start();
    let output = curl(&[&plain.url("/echo")]).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(plain.requests()[0].sni, None);
}

#[tokio::test]
async fn the_program_prints_its_address_and_its_requests() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};

    let home = Home::new();
    let ca = home.join("ca.pem");
    let mut child = home
        .async_command(env!("CARGO_BIN_EXE_echo-upstream"))
        .args(["--until-stdin-ends", "--ca-out"])
        .arg(&ca)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let addr = lines.next_line().await.unwrap().unwrap().parse().unwrap();
    let config = Arc::new(pki::client_config(
        &std::fs::read_to_string(&ca).unwrap(),
        &["h2"],
    ));
    let mut http = Http::straight(addr, "localhost", &config).await.unwrap();
    http.get("localhost", "/seen", &[("authorization", "Bearer x")])
        .await
        .unwrap();
    let line: serde_json::Value =
        serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!(line["path"], "/seen");
    assert_eq!(line["headers"]["authorization"], "Bearer x");
    drop(child.stdin.take());
    let status = tokio::time::timeout(Duration::from_secs(20), child.wait())
        .await
        .unwrap()
        .unwrap();
    assert!(status.success());
}
