//! TLS on both of the server's own ports, with the real binary and real clients.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use agent_vault_testing::pki::{TestCa, Validity};
use agent_vault_testing::{Canary, Home, PATIENCE, Upstream};

use crate::stage::instance::Instance;
use crate::stage::process::Run;
use crate::stage::{KEY, Slot, Stage, http, programs};

/// A server that takes TLS and plain HTTP.
fn both() -> Arc<Stage> {
    static SLOT: Slot = Mutex::new(Weak::new());
    Stage::shared(&SLOT, Stage::bearer)
}

/// A server that takes TLS alone.
fn tls_only() -> Arc<Stage> {
    static SLOT: Slot = Mutex::new(Weak::new());
    Stage::shared(&SLOT, || {
        let stage = Stage::on(
            Instance::builder().flag("--tls=required"),
            Canary::new("sk-canary-"),
            Upstream::builder(),
        );
        stage.add_service(&["--auth-type", "bearer", "--token-key", KEY]);
        stage
    })
}

/// curl without `run`, through the proxy at a URL of `scheme`.
fn curl(stage: &Stage, scheme: &str, host: &str, more: &[&str]) -> Run {
    let proxy = format!(
        "{scheme}://{}:default@{host}:{}",
        stage.token,
        stage.instance.proxy_addr().port()
    );
    Run::program(&stage.agent, "curl")
        .args(&["-sS", "--max-time", "20", "--cacert", &stage.root])
        .args(&["--proxy-cacert", &stage.root, "--proxy", &proxy])
        .args(more)
}

#[test]
fn s14_curl_reaches_the_same_port_over_tls_and_in_clear() {
    let stage = both();
    for (scheme, host) in [
        ("http", "127.0.0.1"),
        ("https", "127.0.0.1"),
        ("https", "localhost"),
    ] {
        for version in ["--http1.1", "--http2"] {
            let target = format!("/echo?case={scheme}-{host}-{version}");
            let outcome = curl(
                &stage,
                scheme,
                host,
                &[version, &stage.upstream.url(&target)],
            );
            let outcome = outcome.succeed();
            stage.saw_bearer(&target);
            stage
                .secret
                .assert_absent("the client's stdout", &outcome.stdout);
        }
    }
    stage.sweep_stage();
}

#[test]
fn a_proxy_under_a_strangers_name_is_refused() {
    let stage = both();
    let port = stage.instance.proxy_addr().port();
    let resolve = format!("api.openai.com:{port}:127.0.0.1");
    let outcome = curl(
        &stage,
        "https",
        "api.openai.com",
        &[
            "--resolve",
            &resolve,
            &stage.upstream.url("/echo?case=name"),
        ],
    )
    .finish();
    // 35: the handshake failed. Not 60, which would be a certificate that curl then did not believe.
    assert_eq!(outcome.status.code(), Some(35), "{outcome:?}");
    assert!(stage.instance.log().contains("none of this server's names"));
}

#[test]
fn s14_w16_nothing_in_clear_where_tls_is_required() {
    let stage = tls_only();
    let target = "/echo?case=clear";
    let url = stage.upstream.url(target);
    let outcome = curl(&stage, "http", "127.0.0.1", &["-v", &url]).finish();
    assert_eq!(outcome.status.code(), Some(56), "{outcome:?}");
    assert!(outcome.stderr.contains(" 403 "), "{outcome:?}");
    assert!(!stage.upstream.requests().iter().any(|r| r.target == target));
    let login = [("authorization", format!("Bearer {}", stage.token))];
    let login = login
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    for (path, fields) in [("/health", &[][..]), ("/discover", &login[..])] {
        let reply = http::call(stage.instance.api_addr(), "GET", path, fields, b"");
        assert_eq!(reply.status, 403, "{path}");
        assert!(reply.text().contains("https://"), "{path}");
    }
    let target = "/echo?case=tls";
    let url = stage.upstream.url(target);
    curl(&stage, "https", "localhost", &[&url]).succeed();
    stage.saw_bearer(target);
}

/// What takes no `https://` proxy works too: the child sees plain HTTP on loopback, the network sees TLS.
#[test]
fn w16_run_speaks_tls_to_the_proxy_for_every_client() {
    let stage = tls_only();
    let python = programs::python();
    let urllib = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read())";
    let url = |case: &str| stage.upstream.url(&format!("/echo?case={case}"));
    for (case, client) in [
        ("run-curl", vec!["curl", "-sS", "--fail", "--http2"]),
        ("run-urllib", vec![&python, "-c", urllib]),
    ] {
        let url = url(case);
        let mut line = client.clone();
        line.push(&url);
        let run = stage
            .client(&line)
            .env("AGENT_VAULT_CA", &stage.root)
            .succeed();
        stage.saw_bearer(&format!("/echo?case={case}"));
        assert!(!run.stderr.contains("in clear"), "{run:?}");
        stage.sweep(&run);
    }
    let shown = stage
        .client(&["sh", "-c", "echo $HTTPS_PROXY; echo $NO_PROXY"])
        .env("AGENT_VAULT_CA", &stage.root)
        .succeed();
    let expected = format!("http://{}:default@127.0.0.1:", stage.token);
    assert!(shown.stdout.starts_with(&expected), "{shown:?}");
    let port = stage.instance.proxy_addr().port();
    assert!(!shown.stdout.contains(&format!(":{port}")), "{shown:?}");
    // The child's own `agent-vault` reaches the server and believes it.
    let binary = crate::stage::binary::agent_vault();
    let inside = stage
        .client(&[&binary.to_string_lossy(), "vault", "discover"])
        .env("AGENT_VAULT_CA", &stage.root)
        .finish();
    assert!(!inside.stderr.contains("UnknownIssuer"), "{inside:?}");
    stage
        .as_agent(&["run", "--plain-proxy", "--", "true"])
        .env("AGENT_VAULT_CA", &stage.root)
        .fail(2)
        .says(&["--plain-proxy", "TLS only"]);
    // Without the root, nothing is believed and nothing is sent.
    stage
        .as_agent(&["run", "--", "true"])
        .fail(1)
        .says(&["UnknownIssuer", "AGENT_VAULT_CA"]);
}

/// A pair of files for `name`, as PEM.
fn pair(ca: &TestCa, name: &str) -> (String, String) {
    let identity = ca.issue(&[name.to_owned()], Validity::CURRENT);
    identity.to_pem()
}

#[test]
fn a_given_certificate_is_shown_and_read_again_when_it_changes() {
    let ca = TestCa::new();
    let home = Home::new();
    let root = home.write("root.pem", ca.pem());
    let write = |name: &str| {
        let (certificate, key) = pair(&ca, name);
        let files = [
            home.write("tls.crt", certificate),
            home.write("tls.key", key),
        ];
        files.map(|file| file.to_string_lossy().into_owned())
    };
    let [certificate, key] = write("first.example");
    let instance = Instance::builder()
        .env("AGENT_VAULT_TLS_CERT", &certificate)
        .env("AGENT_VAULT_TLS_KEY", &key)
        .start();
    let root = root.to_string_lossy().into_owned();
    let ask = |name: &str| {
        let (api, proxy) = (instance.api_addr().port(), instance.proxy_addr().port());
        let trusted = |port: u16, path: &str| {
            Run::program(&home, "curl")
                .args(&["-sS", "--max-time", "20", "--cacert", &root])
                .args(&["--resolve", &format!("{name}:{port}:127.0.0.1")])
                .args(&[&format!("https://{name}:{port}{path}")])
                .finish()
                .status
                .code()
        };
        // On the proxy port, to which this is no proxy request.
        [trusted(api, "/health"), trusted(proxy, "/")]
    };
    assert_eq!(ask("first.example"), [Some(0), Some(0)]);
    assert_eq!(ask("second.example"), [Some(35), Some(35)]);
    write("second.example");
    let deadline = Instant::now() + PATIENCE;
    while ask("second.example") != [Some(0), Some(0)] {
        assert!(Instant::now() < deadline, "{}", instance.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    // A broken pair changes nothing, and is told.
    home.write("tls.key", "no key");
    while !instance.log().contains("the one before is kept") {
        assert!(Instant::now() < deadline, "{}", instance.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(ask("second.example"), [Some(0), Some(0)]);
}
