//! Python: `requests` over HTTP/1.1 and `httpx` over HTTP/2, with nothing but the environment of `run`.

use std::sync::{Arc, Mutex, Weak};

use crate::stage::{Slot, Stage, programs};

fn stage() -> Arc<Stage> {
    static SLOT: Slot = Mutex::new(Weak::new());
    Stage::shared(&SLOT, Stage::bearer)
}

fn run(stage: &Stage, script: &str) {
    let outcome = stage
        .client(&[&programs::python(), "-c", script, &stage.upstream.url("")])
        .succeed();
    assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
    stage.sweep(&outcome);
}

#[test]
fn requests() {
    let stage = stage();
    run(
        &stage,
        r#"
import os, sys, requests
url = sys.argv[1]
session = requests.Session()
for case in ("one", "two"):
    answer = session.get(url + "/echo?case=requests-" + case, headers={"Authorization": "Bearer " + os.environ["DEMO_KEY"]}, timeout=20)
    answer.raise_for_status()
    print(answer.headers, answer.text)
answer = session.post(url + "/echo?case=requests-json", json={"key": os.environ["DEMO_KEY"]}, timeout=20)
print(answer.status_code, answer.text)
def chunks():
    for _ in range(100):
        yield b"x" * 10000
answer = session.post(url + "/echo-stream?case=requests-chunks", data=chunks(), timeout=20)
assert len(answer.content) == 1000000, len(answer.content)
with session.get(url + "/chunks/1000000", stream=True, timeout=20) as answer:
    assert sum(len(part) for part in answer.iter_content(4096)) == 1000000
print("done")
"#,
    );
    for case in ["one", "two", "json"] {
        stage.saw_bearer(&format!("/echo?case=requests-{case}"));
    }
    assert_eq!(
        stage
            .saw_bearer("/echo-stream?case=requests-chunks")
            .body_length(),
        1_000_000
    );
    // A request that merely quotes what no substitution of the service names goes through untouched.
    let quoted = stage.saw("/echo?case=requests-json").body_text();
    stage
        .secret
        .assert_absent("a body without a substitution", quoted);
}

#[test]
fn httpx_over_h2() {
    let stage = stage();
    run(
        &stage,
        r#"
import asyncio, os, sys, httpx
url = sys.argv[1]
headers = {"Authorization": "Bearer " + os.environ["DEMO_KEY"]}
with httpx.Client(http2=True, timeout=20) as client:
    answer = client.get(url + "/echo?case=httpx-sync", headers=headers)
    answer.raise_for_status()
    assert answer.http_version == "HTTP/2", answer.http_version
    print(answer.headers, answer.text)
    answer = client.post(url + "/echo-stream?case=httpx-upload", content=b"y" * 1500000, headers=headers)
    assert len(answer.content) == 1500000
async def many():
    async with httpx.AsyncClient(http2=True, timeout=20) as client:
        answers = await asyncio.gather(*(client.get(url + f"/echo?case=httpx-{n}", headers=headers) for n in range(20)))
        for answer in answers:
            answer.raise_for_status()
            assert answer.http_version == "HTTP/2"
            print(answer.headers, answer.text)
asyncio.run(many())
print("done")
"#,
    );
    stage.saw_bearer("/echo?case=httpx-sync");
    for n in 0..20 {
        stage.saw_bearer(&format!("/echo?case=httpx-{n}"));
    }
    assert_eq!(
        stage
            .saw_bearer("/echo-stream?case=httpx-upload")
            .body_length(),
        1_500_000
    );
}
