//! curl, in both HTTP versions, by the environment that `run` gives it.

use std::sync::{Arc, Mutex, Weak};

use http::Version;

use crate::stage::{Slot, Stage};

fn stage() -> Arc<Stage> {
    static SLOT: Slot = Mutex::new(Weak::new());
    Stage::shared(&SLOT, Stage::bearer)
}

/// curl as an agent calls it: the key from its environment, everything that comes back on stdout.
const CURL: [&str; 6] = [
    "curl",
    "--silent",
    "--show-error",
    "--fail-with-body",
    "--max-time",
    "20",
];

fn curl<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&CURL[..], arguments].concat()
}

#[test]
fn both_versions_carry_the_credential_and_bring_nothing_back() {
    let stage = stage();
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let target = format!("/echo?case=version-{version}");
        let outcome = stage
            .client(&["sh", "-c", r#"exec curl -sS "$1" -D - -w '\nspoke %{http_version}\n' -H "Authorization: Bearer $DEMO_KEY" "$2""#])
            .args(&["sh", flag, &stage.upstream.url(&target)])
            .succeed();
        stage.saw_bearer(&target);
        assert!(
            outcome.stdout.contains(&format!("spoke {version}\n")),
            "{outcome:?}"
        );
        // The upstream echoed what it got, so the answer had it and lost it on the way.
        assert!(
            outcome.stdout.to_lowercase().contains("authorization"),
            "{outcome:?}"
        );
        stage.sweep(&outcome);
    }
}

#[test]
fn a_request_without_any_authorization_gets_it_too() {
    let stage = stage();
    let outcome = stage
        .client(&curl(&[&stage.upstream.url("/echo?case=bare")]))
        .succeed();
    let request = stage.saw_bearer("/echo?case=bare");
    assert!(request.header("proxy-authorization").is_none());
    stage.sweep(&outcome);
}

#[test]
fn uploads_and_downloads_arrive_whole() {
    let stage = stage();
    let size = 3_000_000;
    stage.agent.write("upload", "0123456789".repeat(size / 10));
    let file = stage.agent.join("upload").to_string_lossy().into_owned();
    for version in ["--http1.1", "--http2"] {
        let target = format!("/echo-stream?case=upload{version}");
        let outcome = stage
            .client(&curl(&[
                version,
                "-T",
                &file,
                "-X",
                "POST",
                &stage.upstream.url(&target),
            ]))
            .succeed();
        assert_eq!(outcome.stdout.len(), size, "the echo of {target}");
        assert_eq!(stage.saw_bearer(&target).body_length(), size as u64);
        let outcome = stage
            .client(&curl(&[
                version,
                &stage.upstream.url(&format!("/chunks/{size}")),
            ]))
            .succeed();
        assert_eq!(outcome.stdout.len(), size, "a download by {version}");
    }
}

#[test]
fn chunked_uploads_trailers_and_100_continue_pass() {
    let stage = stage();
    stage.agent.write("small", "x".repeat(2_000_000));
    let file = stage.agent.join("small").to_string_lossy().into_owned();
    let data = format!("@{file}");
    let target = "/echo-stream?case=chunked";
    let outcome = stage
        .client(&curl(&[
            "--http1.1",
            "-H",
            "Transfer-Encoding: chunked",
            "-H",
            "Expect: 100-continue",
            "--data-binary",
        ]))
        .args(&[&data, &stage.upstream.url(target)])
        .succeed();
    assert_eq!(outcome.stdout.len(), 2_000_000);
    let request = stage.saw_bearer(target);
    assert!(request.header("expect").is_none() || request.version == Version::HTTP_11);
    let outcome = stage
        .client(&curl(&[
            "--http1.1",
            "-D",
            "-",
            &stage.upstream.url("/trailers"),
        ]))
        .succeed();
    assert!(outcome.stdout.contains("x-checksum"), "{outcome:?}");
    stage.sweep(&outcome);
}

#[test]
fn compressed_answers_that_reflect_the_credential_lose_it() {
    let stage = stage();
    for encoding in ["gzip", "br", "zstd", "deflate"] {
        let outcome = stage
            .client(&curl(&[
                "--compressed",
                "-D",
                "-",
                &stage.upstream.url(&format!("/{encoding}")),
            ]))
            .succeed();
        assert!(
            outcome.stdout.contains("authorization"),
            "{encoding}: {outcome:?}"
        );
        stage.sweep(&outcome);
    }
}

#[test]
fn a_wrong_token_is_refused_with_reason_and_hint() {
    let stage = stage();
    let proxy = format!(
        "http://av_agt_{}:default@{}",
        "0".repeat(64),
        stage.instance.proxy_addr()
    );
    for version in ["--http1.1", "--http2"] {
        let outcome = stage
            .client(&[
                "curl",
                "-sS",
                version,
                "-v",
                "--proxy",
                &proxy,
                &stage.upstream.url("/echo?case=wrong-token"),
            ])
            .finish();
        // 56: curl's word for a CONNECT that was answered with an error.
        assert_eq!(outcome.status.code(), Some(56), "{outcome:?}");
        assert!(outcome.stderr.contains("407"), "{outcome:?}");
        assert!(
            outcome
                .stderr
                .to_lowercase()
                .contains("x-agent-vault-proxy-error: true"),
            "{outcome:?}"
        );
    }
    assert!(
        stage
            .upstream
            .requests()
            .iter()
            .all(|r| r.target != "/echo?case=wrong-token")
    );
}

#[test]
fn certificates_are_checked_on_both_sides() {
    let stage = stage();
    // Without the bundle that `run` names, curl does not trust us.
    let outcome = stage
        .client(&[
            "env",
            "-u",
            "CURL_CA_BUNDLE",
            "-u",
            "SSL_CERT_FILE",
            "curl",
            "-sS",
            &stage.upstream.url("/echo?case=untrusted"),
        ])
        .finish();
    assert_eq!(outcome.status.code(), Some(60), "{outcome:?}");
    stage.instance.assert_alive();
    stage
        .client(&curl(&[&stage.upstream.url("/echo?case=after-distrust")]))
        .succeed();
    stage.saw_bearer("/echo?case=after-distrust");
}

#[test]
fn events_arrive_as_they_happen() {
    let stage = stage();
    for version in ["--http1.1", "--http2"] {
        let gate = format!("events{version}");
        let url = stage.upstream.url(&format!("/sse?n=3&gate={gate}"));
        let running = stage.client(&curl(&["-N", version, &url])).spawn();
        for n in 1..=3 {
            // The next event exists only after this one has come through.
            stage.upstream.gate(&gate).release(1);
            running.stdout.wait_for(&format!("event {n}"), |text| {
                (text.matches("data:").count() >= n).then_some(())
            });
        }
        let outcome = running.finish();
        assert!(outcome.status.success(), "{outcome:?}");
    }
}
