//! Real clients, as they are installed here; what is not installed is passed over.

use agent_vault_testing::{Canary, Home};
use serde_json::json;

use crate::fixture::{Far, HOST, Stage};

/// Runs `program` with the proxy and our CA in its environment; `None` when there is no such program.
async fn run(
    stage: &Stage,
    home: &Home,
    program: &str,
    arguments: &[&str],
) -> Option<(bool, String)> {
    home.write("ca.pem", &stage.ca_pem);
    let proxy = format!("http://{}:main@{}", stage.token, stage.addr);
    let mut command = home.async_command(program);
    for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
        command.env(name, &proxy);
    }
    for name in [
        "CURL_CA_BUNDLE",
        "GIT_SSL_CAINFO",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_FILE",
    ] {
        command.env(name, home.join("ca.pem"));
    }
    let output = command
        .env("NO_PROXY", "")
        .env("no_proxy", "")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .args(arguments)
        .current_dir(home.join(""))
        .output()
        .await
        .ok()?;
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Some((output.status.success(), text))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl() {
    for far in [Far::H1, Far::H2] {
        let upstream = far.start();
        let secret = Canary::new("sk-");
        let stage = Stage::builder()
            .trusting(&upstream)
            .bearer(secret.expose())
            .start()
            .await;
        let home = Home::new();
        home.write("large", "x".repeat(3_000_000));
        let url = upstream.url_of(HOST, "/echo");
        for version in ["--http1.1", "--http2"] {
            for arguments in [
                vec!["-d", "a=b"],
                // Over 1 MB curl expects 100.
                vec!["-T", "large"],
                vec!["-H", "Transfer-Encoding: chunked", "-d", "@large"],
                vec!["--compressed"],
                vec!["-I"],
                vec!["--proxy-digest"],
            ] {
                let mut all = vec!["-sS", "-v", version];
                all.extend(arguments.iter().copied());
                all.push(&url);
                let Some((done, text)) = run(&stage, &home, "curl", &all).await else {
                    return;
                };
                let digest = arguments == ["--proxy-digest"];
                assert_eq!(done, !digest, "{far:?} {version} {arguments:?}: {text}");
                assert!(secret.find(&text).is_empty(), "{text}");
                if !digest {
                    let seen = upstream.requests().pop().unwrap();
                    assert_eq!(
                        seen.header("authorization").unwrap(),
                        format!("Bearer {}", secret.expose())
                    );
                    if arguments.contains(&"large") {
                        assert_eq!(seen.body_length(), 3_000_000, "{version}");
                    }
                }
            }
        }
    }
    let upstream = Far::Plain.start();
    let stage = Stage::builder().start().await;
    let home = Home::new();
    let url = upstream.url_of(HOST, "/echo");
    for arguments in [vec!["-sS", &url], vec!["-sS", "--proxytunnel", &url]] {
        let Some((done, text)) = run(&stage, &home, "curl", &arguments).await else {
            return;
        };
        assert!(done && text.contains("\"path\":\"/echo\""), "{text}");
    }
}

/// Clone and push through a bare CONNECT, 407 and a second try; the credential is the vault's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn git() {
    for far in [Far::H1, Far::H2] {
        let upstream = far.builder().git("robot", "the-secret-of-robot").start();
        let stage = Stage::builder()
            .trusting(&upstream)
            .credential("USER", "robot")
            .credential("PASS", "the-secret-of-robot")
            .service(json!({"name": "git", "host": HOST,
                "auth": {"type": "basic", "username": "USER", "password": "PASS"}}))
            .start()
            .await;
        let home = Home::new();
        let bare = upstream.git_repository("project");
        let url = upstream.url_of(HOST, "/git/project.git");
        let me = ["-c", "user.name=t", "-c", "user.email=t@t.test"];
        let steps: [&[&str]; 4] = [
            &["clone", &url, "work"],
            &["-C", "work", "add", "."],
            &["-C", "work", "commit", "-q", "-m", "first"],
            &["-C", "work", "push", "origin", "HEAD:main"],
        ];
        for step in steps {
            if step.contains(&"add") {
                home.write("work/file.txt", "a line\n".repeat(500_000));
            }
            let all: Vec<&str> = me.iter().chain(step).copied().collect();
            let Some((done, text)) = run(&stage, &home, "git", &all).await else {
                return;
            };
            assert!(done, "{far:?} {step:?}: {text}");
            assert!(!text.contains("the-secret-of-robot"), "{text}");
        }
        assert!(bare.join("refs/heads/main").exists());
        let again: Vec<&str> = vec!["clone", &url, "again"];
        let (done, text) = run(&stage, &home, "git", &again).await.unwrap();
        assert!(done, "{text}");
        assert_eq!(
            std::fs::read(home.join("again/file.txt")).unwrap().len(),
            3_500_000
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python() {
    let script = r#"
import json, os, ssl, sys, urllib.request
context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
context.verify_flags |= ssl.VERIFY_X509_STRICT
opener = urllib.request.build_opener(urllib.request.ProxyHandler(), urllib.request.HTTPSHandler(context=context))
print(opener.open(sys.argv[1], data=b"x" * 100000).status)
try:
    import requests
    session = requests.Session()
    for _ in range(3):
        print(session.post(sys.argv[1], data=b"y" * 100000).status_code)
except ImportError:
    pass
"#;
    let upstream = Far::H2.start();
    let secret = Canary::new("sk-");
    let stage = Stage::builder()
        .trusting(&upstream)
        .bearer(secret.expose())
        .start()
        .await;
    let home = Home::new();
    home.write("script.py", script);
    let url = upstream.url_of(HOST, "/x");
    let Some((done, text)) = run(&stage, &home, "python3", &["script.py", &url]).await else {
        return;
    };
    assert!(done && text.starts_with("200"), "{text}");
    for seen in upstream.requests() {
        assert_eq!(seen.body_length(), 100_000);
        assert_eq!(
            seen.header("authorization").unwrap(),
            format!("Bearer {}", secret.expose())
        );
    }
}
