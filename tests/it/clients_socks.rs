//! Clients that reach the proxy by SOCKS 5, and a load balancer in front of it.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use agent_vault_testing::{Canary, Upstream};

use crate::stage::instance::Instance;
use crate::stage::process::Run;
use crate::stage::{Slot, Stage, http, programs};

fn stage() -> Arc<Stage> {
    static SLOT: Slot = Mutex::new(Weak::new());
    Stage::shared(&SLOT, Stage::bearer)
}

fn proxy(stage: &Stage) -> String {
    format!(
        "socks5h://{}:default@127.0.0.1:{}",
        stage.token,
        stage.instance.proxy_addr().port()
    )
}

fn curl(stage: &Stage) -> Run {
    Run::program(&stage.agent, "curl").args(&[
        "-sS",
        "--fail",
        "--max-time",
        "20",
        "--cacert",
        &stage.root,
    ])
}

#[test]
fn curl_in_both_versions_and_in_every_form_of_the_login() {
    let stage = stage();
    let port = stage.instance.proxy_addr().port();
    let address = format!("127.0.0.1:{port}");
    let user = format!("{}:default", stage.token);
    let swapped = format!("default:{}", stage.token);
    let alone = format!("{}:", stage.token);
    let url = proxy(&stage);
    for (case, flags) in [
        ("url", vec!["--http2", "--proxy", &url]),
        (
            "flag",
            vec![
                "--http1.1",
                "--socks5-hostname",
                &address,
                "--proxy-user",
                &user,
            ],
        ),
        (
            "swapped",
            vec![
                "--http2",
                "--socks5-hostname",
                &address,
                "--proxy-user",
                &swapped,
            ],
        ),
        (
            "alone",
            vec![
                "--http1.1",
                "--socks5-hostname",
                &address,
                "--proxy-user",
                &alone,
            ],
        ),
    ] {
        let target = format!("/echo?case=socks-{case}");
        let outcome = curl(&stage)
            .args(&flags)
            .args(&[&stage.upstream.url(&target)])
            .succeed();
        stage.saw_bearer(&target);
        stage
            .secret
            .assert_absent("the client's stdout", &outcome.stdout);
    }
    // 97: the proxy handshake failed. Without a login, and with a bad one.
    let bad = "av_agt_nobody:default";
    for flags in [vec![], vec!["--proxy-user", bad]] {
        let outcome = curl(&stage)
            .args(&["--socks5-hostname", &address])
            .args(&flags)
            .args(&[&stage.upstream.url("/echo?case=socks-refused")])
            .finish();
        assert_eq!(outcome.status.code(), Some(97), "{outcome:?}");
    }
    assert!(stage.instance.log().contains("SOCKS refused"));
    stage.sweep_stage();
}

#[test]
fn python_by_pysocks_and_by_socksio() {
    let stage = stage();
    let script = r#"
import sys, ssl, requests, httpx
url, proxy, root = sys.argv[1:]
proxies = {"http": proxy, "https": proxy}
for case in ("one", "two"):
    answer = requests.get(url + "/echo?case=socks-requests-" + case, proxies=proxies, verify=root, timeout=20)
    answer.raise_for_status()
answer = requests.post(url + "/echo-stream", data=b"x" * 1000000, proxies=proxies, verify=root, timeout=20)
assert len(answer.content) == 1000000
with httpx.Client(proxy=proxy, http2=True, verify=ssl.create_default_context(cafile=root), timeout=20) as client:
    answer = client.get(url + "/echo?case=socks-httpx")
    answer.raise_for_status()
    assert answer.http_version == "HTTP/2", answer.http_version
print("done")
"#;
    let outcome = Run::program(&stage.agent, programs::python())
        .args(&[
            "-c",
            script,
            &stage.upstream.url(""),
            &proxy(&stage),
            &stage.root,
        ])
        .succeed();
    assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
    for case in ["requests-one", "requests-two", "httpx"] {
        stage.saw_bearer(&format!("/echo?case=socks-{case}"));
    }
    stage.sweep_stage();
}

#[test]
fn a_load_balancer_in_front_says_whom_it_brings() {
    let stage = Stage::on(
        Instance::builder().env("AGENT_VAULT_PROXY_PROTOCOL_FROM", "127.0.0.0/8"),
        Canary::new("sk-canary-"),
        Upstream::builder(),
    );
    let ask = |header: &str| {
        let mut socket = http::connect(stage.instance.proxy_addr());
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let request =
            "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        socket
            .write_all(format!("{header}{request}").as_bytes())
            .unwrap();
        let mut answer = Vec::new();
        // A connection that is refused may be reset.
        let _ended = socket.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = ask("PROXY TCP4 198.51.100.77 10.0.0.1 5000 14322\r\n");
    assert!(answer.starts_with("HTTP/1.1 407 "), "{answer}");
    assert!(stage.instance.log().contains("198.51.100.77"));
    assert_eq!(ask(""), "");
    assert!(
        stage
            .instance
            .log()
            .contains("begins with no PROXY protocol header")
    );
}
