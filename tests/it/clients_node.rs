//! Node: `fetch` and `WebSocket` of undici, through its proxy agent.

use std::sync::{Arc, Mutex, Weak};

use agent_vault_testing::Upstream;

use crate::stage::{KEY, Slot, Stage, programs};

/// What the agent writes where the key belongs.
const PLACEHOLDER: &str = "__demo_key__";

fn stage() -> Arc<Stage> {
    static SLOT: Slot = Mutex::new(Weak::new());
    Stage::shared(&SLOT, || {
        let stage = Stage::without_service(Upstream::builder());
        stage.add_service(&[
            "--auth-type",
            "bearer",
            "--token-key",
            KEY,
            "--substitute",
            &format!("{KEY}={PLACEHOLDER}@body,query,websocket"),
        ]);
        stage
    })
}

fn run(stage: &Stage, script: &str) {
    let prelude = r#"
const { createRequire } = require("node:module");
const { fetch, ProxyAgent, WebSocket } = createRequire(process.argv[2] + "/x.js")("undici");
const url = process.argv[1];
const dispatcher = new ProxyAgent(process.env.HTTPS_PROXY);
const assert = require("node:assert");
"#;
    let script = format!(
        "{prelude}\n(async () => {{ {script}\nconsole.log('done'); process.exit(0); }})().catch(error => {{ console.error(error); process.exit(1); }});"
    );
    let outcome = stage
        .client(&[
            "node",
            "-e",
            &script,
            &stage.upstream.url(""),
            &programs::node_modules(),
        ])
        .succeed();
    assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
    stage.sweep(&outcome);
}

#[test]
fn fetch() {
    let stage = stage();
    run(
        &stage,
        r#"
const headers = { authorization: "Bearer " + process.env.DEMO_KEY };
for (const n of [1, 2, 3]) {
    const answer = await fetch(`${url}/echo?case=fetch-${n}`, { dispatcher, headers });
    assert.equal(answer.status, 200);
    console.log([...answer.headers], await answer.text());
}
const posted = await fetch(`${url}/echo?case=fetch-post`, { dispatcher, method: "POST", body: JSON.stringify({ key: "__demo_key__" }), headers: { "content-type": "application/json" } });
console.log(posted.status, await posted.text());
const streamed = await fetch(`${url}/chunks/1000000`, { dispatcher });
let length = 0;
for await (const part of streamed.body) length += part.length;
assert.equal(length, 1000000);
"#,
    );
    for n in 1..=3 {
        stage.saw_bearer(&format!("/echo?case=fetch-{n}"));
    }
    let posted = stage.saw_bearer("/echo?case=fetch-post");
    assert!(
        posted.body_text() == format!(r#"{{"key":"{}"}}"#, stage.secret.expose()),
        "the placeholder in the body was not replaced"
    );
}

#[test]
fn websocket() {
    let stage = stage();
    run(
        &stage,
        r#"
const socket = new WebSocket(url.replace("https:", "wss:") + "/ws?case=websocket", { dispatcher });
const received = [];
await new Promise((resolve, reject) => {
    socket.onerror = event => reject(event.error ?? new Error("websocket"));
    socket.onopen = () => {
        socket.send(JSON.stringify({ type: "auth", key: "__demo_key__" }));
        socket.send("plain");
    };
    socket.onmessage = event => {
        received.push(event.data);
        if (received.length == 2) socket.close(1000, "bye");
    };
    socket.onclose = resolve;
});
assert.equal(received.length, 2);
assert.equal(received[1], "plain");
console.log(received);
"#,
    );
    let request = stage.saw_bearer("/ws?case=websocket");
    let messages = request.messages();
    let first = messages.first().expect("a message").to_text_lossy();
    assert!(
        first == format!(r#"{{"type":"auth","key":"{}"}}"#, stage.secret.expose()),
        "the placeholder in the message was not replaced"
    );
}

/// As Node's own documentation opens a tunnel: without a `Host` of its own, so that Node names the proxy in it.
#[test]
fn connect_as_nodes_documentation_has_it() {
    let stage = stage();
    run(
        &stage,
        r#"
const http = require("node:http"), https = require("node:https");
const proxy = new URL(process.env.HTTPS_PROXY), target = new URL(url);
const login = Buffer.from(`${proxy.username}:${decodeURIComponent(proxy.password)}`).toString("base64");
const socket = await new Promise((resolve, reject) => {
    http.request({
        host: proxy.hostname, port: proxy.port, method: "CONNECT", path: target.host,
        headers: { "proxy-authorization": `Basic ${login}` },
    }).on("connect", (answer, socket) => answer.statusCode === 200 ? resolve(socket) : reject(new Error(`CONNECT: ${answer.statusCode}`)))
        .on("error", reject).end();
});
const status = await new Promise((resolve, reject) => {
    https.get(`${url}/echo?case=node-connect`, { socket, agent: false, servername: target.hostname }, answer => {
        answer.resume().on("end", () => resolve(answer.statusCode));
    }).on("error", reject);
});
assert.equal(status, 200);
"#,
    );
    stage.saw_bearer("/echo?case=node-connect");
}
