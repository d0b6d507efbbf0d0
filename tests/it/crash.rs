//! `kill -9` while writes are being acknowledged: what was acknowledged is there afterwards, and the server starts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::stage::http;
use crate::stage::instance::Instance;

/// How often the server is killed.
const ROUNDS: usize = 6;
/// How many clients write at once.
const WRITERS: usize = 3;
/// Acknowledged writes before the kill, over all writers.
const WRITES: usize = 25;

#[test]
fn what_was_acknowledged_survives_and_the_server_starts() {
    let mut instance = Instance::builder()
        .env("AGENT_VAULT_RATELIMIT_PROFILE", "off")
        .start();
    instance.register();
    let session = instance.session();
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    let mut vaults: Vec<String> = Vec::new();
    for round in 0..ROUNDS {
        let stop = Arc::new(AtomicBool::new(false));
        let (acknowledge, acknowledged) =
            std::sync::mpsc::sync_channel::<(String, String)>(WRITERS);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let to = instance.api_addr();
                let (stop, acknowledge, session) =
                    (Arc::clone(&stop), acknowledge.clone(), session.clone());
                std::thread::spawn(move || {
                    let authorization = format!("Bearer {session}");
                    for n in 0.. {
                        let key = format!("KEY_{round}_{writer}_{}", n % 5);
                        let value = format!("value-{round}-{writer}-{n}");
                        let body =
                            json!({"vault": "default", "credentials": {&key: &value}}).to_string();
                        let headers = [
                            ("authorization", authorization.as_str()),
                            ("content-type", "application/json"),
                        ];
                        let reply = http_post(to, "/v1/credentials", &headers, body.as_bytes());
                        match reply {
                            Some(status) if (200..300).contains(&status) => {
                                if acknowledge.send((key, value)).is_err() {
                                    return;
                                }
                            }
                            Some(status) => panic!("a write was refused with {status}"),
                            // Killed in between: not acknowledged, so it may be there or not.
                            None => return,
                        }
                        if stop.load(Ordering::SeqCst) {
                            return;
                        }
                    }
                })
            })
            .collect();
        drop(acknowledge);
        let mut count = 0;
        let mut killed = false;
        // Every acknowledgement that reached us counts, also those that were on their way at the kill.
        while let Ok((key, value)) = acknowledged.recv() {
            expected.insert(key, value);
            count += 1;
            if count == WRITES && !killed {
                instance.kill();
                killed = true;
                stop.store(true, Ordering::SeqCst);
            }
        }
        assert!(killed, "the writers ended before the kill");
        for writer in writers {
            writer.join().expect("a writer");
        }
        instance.start();
        // The login survived; so did every value. One that was written but never acknowledged may have come after the
        // last acknowledged one of the same key, and no other may.
        let reply = get(
            &instance,
            &session,
            "/v1/credentials?vault=default&reveal=true",
        );
        let stored: BTreeMap<String, String> = reply["credentials"]
            .as_array()
            .unwrap_or_else(|| panic!("{reply}"))
            .iter()
            .map(|entry| {
                let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
                (text("key"), text("value"))
            })
            .collect();
        for (key, value) in &mut expected {
            let found = stored
                .get(key)
                .unwrap_or_else(|| panic!("round {round}: {key} is lost"));
            let number = |value: &str| value.rsplit('-').next().and_then(|n| n.parse::<u64>().ok());
            assert!(
                number(found) >= number(value),
                "round {round}: {key} went back from {value} to {found}"
            );
            value.clone_from(found);
        }
        // A second kind of write, whose acknowledgement is the last thing before the next kill.
        let name = format!("vault-{round}");
        let body = json!({"name": name}).to_string();
        let authorization = format!("Bearer {session}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
        ];
        let status = http_post(instance.api_addr(), "/v1/vaults", &headers, body.as_bytes());
        assert!(
            status.is_some_and(|status| (200..300).contains(&status)),
            "{status:?}"
        );
        instance.kill();
        vaults.push(name);
        instance.start();
        let listed = get(&instance, &session, "/v1/vaults").to_string();
        for name in &vaults {
            assert!(
                listed.contains(&format!("\"{name}\"")),
                "round {round}: {name} is lost"
            );
        }
    }
    // The certificate authority is the same that clients already trust.
    let first = instance
        .person(&["ca", "fetch", "--address", &instance.address()])
        .succeed()
        .stdout;
    instance.kill();
    instance.start();
    let again = instance
        .person(&["ca", "fetch", "--address", &instance.address()])
        .succeed()
        .stdout;
    assert_eq!(first, again);
}

fn get(instance: &Instance, session: &str, path: &str) -> serde_json::Value {
    let authorization = format!("Bearer {session}");
    let reply = http::call(
        instance.api_addr(),
        "GET",
        path,
        &[("authorization", &authorization)],
        b"",
    );
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.json()
}

/// The status of an answer; `None` when the server died meanwhile.
fn http_post(
    to: std::net::SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<u16> {
    http::try_call(to, "POST", path, headers, body)
        .ok()
        .map(|reply| reply.status)
}
