//! Rotation of the data key, also by processes that are killed at any point of it.

use std::sync::Arc;

use agent_vault_control::{Actor, Clock, Control, ControlOptions, VaultRef};
use agent_vault_seal::{KeyId, SecretBytes};
use agent_vault_store::{OpenOptions, ResealPass, Store};
use jiff::Timestamp;

use crate::instance::no_limits;

const VALUES: usize = 150;

/// What a process does at its start.
pub(crate) async fn start(folder: &std::path::Path, password: Option<&str>) -> (Store, Control) {
    let now = Timestamp::UNIX_EPOCH;
    let store = Store::open(folder, OpenOptions { now }).await.unwrap();
    let unlocked = store.unlock(password.map(secret), now).await.unwrap();
    let control = Control::open(
        store.clone(),
        Arc::new(unlocked.keyring),
        Clock::new(move || now),
        ControlOptions {
            limits: no_limits(),
            mailer: None,
            retention: agent_vault_control::RetentionKnobs::default(),
            dev_mode: false,
            unmatched: agent_vault_control::UnmatchedPolicy::Passthrough,
        },
    )
    .await
    .unwrap();
    control.keep_keys_in(unlocked.home);
    (store, control)
}

pub(crate) fn secret(text: &str) -> SecretBytes {
    SecretBytes::new(text.as_bytes().to_vec())
}

async fn fill(control: &Control) {
    for round in ["old", "new"] {
        let values = (0..VALUES)
            .map(|n| (format!("KEY_{n}"), secret(&format!("{round} {n}"))))
            .collect();
        let credentials = control.credentials();
        credentials
            .set(&Actor::LocalOperator, VaultRef::Implied, values, None)
            .await
            .unwrap();
    }
}

/// Every value in force, and one that is not.
async fn check(control: &Control) {
    let credentials = control.credentials();
    let all = credentials
        .reveal(&Actor::LocalOperator, VaultRef::Implied, None)
        .await
        .unwrap();
    let all = all.credentials.unwrap();
    assert_eq!(all.len(), VALUES);
    for view in all {
        let n = view.key.strip_prefix("KEY_").unwrap();
        assert_eq!(view.value.unwrap().expose(), format!("new {n}").as_bytes());
    }
}

async fn key_of(control: &Control) -> (String, bool, u64) {
    let state = control.keys().state(&Actor::LocalOperator).await.unwrap();
    (state.key_id, state.rotating, state.remaining)
}

async fn at_rest(store: &Store, former: KeyId) -> u64 {
    let left = store.sealed_with(&[former]).await.unwrap();
    left.iter().map(|(_, count)| count).sum()
}

#[tokio::test]
async fn m3_a_rotation_that_is_killed_goes_on_and_ends_without_the_old_key() {
    for password in [None, Some("correct horse")] {
        let temp = tempfile::tempdir().unwrap();
        let (store, control) = start(temp.path(), password).await;
        fill(&control).await;
        let former = store
            .unlock(password.map(secret), Timestamp::UNIX_EPOCH)
            .await
            .unwrap()
            .keyring;
        let total = at_rest(&store, former.key_id()).await;
        // Both rounds, and the sentinel.
        assert_eq!(total, 2 * VALUES as u64 + 1);
        let begun = control.keys().rotate(&Actor::LocalOperator).await.unwrap();
        assert_ne!(begun.key_id, former.key_id().to_string());
        assert!(begun.rotating);
        assert_eq!(begun.remaining, 2 * VALUES as u64);
        control
            .keys()
            .rotate(&Actor::LocalOperator)
            .await
            .unwrap_err();
        check(&control).await;

        // A process gets so far, then another one starts: as after `kill -9`, nothing of the first is left but the files.
        let mut steps = 0;
        loop {
            let unlocked = store
                .unlock(password.map(secret), Timestamp::UNIX_EPOCH)
                .await
                .unwrap();
            assert_eq!(unlocked.keyring.key_id().to_string(), begun.key_id);
            let mut pass = ResealPass::default();
            store
                .reseal_step(&unlocked.keyring, &mut pass)
                .await
                .unwrap();
            let (other_store, other) = start(temp.path(), password).await;
            check(&other).await;
            other_store.close().await;
            if pass.resealed == 0 {
                break;
            }
            steps += 1;
        }
        assert!(steps > 2, "{steps}");
        store.close().await;

        let (store, control) = start(temp.path(), password).await;
        control.reseal().await.unwrap();
        assert_eq!(key_of(&control).await, (begun.key_id.clone(), false, 0));
        assert_eq!(at_rest(&store, former.key_id()).await, 0);
        check(&control).await;
        store.close().await;
        // The bytes of the old key are nowhere in the data folder.
        let raw = former.export();
        let hex: String = raw
            .expose()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        for entry in std::fs::read_dir(temp.path()).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            for needle in [raw.expose(), hex.as_bytes(), former.key_id().as_bytes()] {
                let found = bytes.windows(needle.len()).any(|window| window == needle);
                assert!(!found, "{}", path.display());
            }
        }
        let (_, control) = start(temp.path(), password).await;
        check(&control).await;
        assert_eq!(key_of(&control).await.0, begun.key_id);
    }
}

#[tokio::test]
async fn a_key_file_that_was_written_before_the_commit_changes_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let (store, control) = start(temp.path(), None).await;
    fill(&control).await;
    let before = key_of(&control).await.0;
    let keyring = store
        .unlock(None, Timestamp::UNIX_EPOCH)
        .await
        .unwrap()
        .keyring;
    store
        .key_file()
        .replace(&keyring.rotated().unwrap())
        .unwrap();
    let (_, control) = start(temp.path(), None).await;
    check(&control).await;
    assert_eq!(key_of(&control).await.0, before);
    // The key that seals nothing goes with the next pass.
    control.reseal().await.unwrap();
    assert_eq!(key_of(&control).await, (before, false, 0));
    check(&control).await;
}

#[tokio::test]
async fn another_process_takes_the_new_key_over_and_cannot_seal_with_the_old_one() {
    let temp = tempfile::tempdir().unwrap();
    let (_, control) = start(temp.path(), None).await;
    fill(&control).await;
    let (_, other) = start(temp.path(), None).await;
    control.keys().rotate(&Actor::LocalOperator).await.unwrap();
    let set = async || {
        let credentials = other.credentials();
        let values = vec![("KEY_0".to_owned(), secret("new 0"))];
        credentials
            .set(&Actor::LocalOperator, VaultRef::Implied, values, None)
            .await
    };
    // It has not heard of it yet: what it would seal would be lost with the key.
    assert_eq!(
        set().await.unwrap_err().kind(),
        agent_vault_control::ErrorKind::Unavailable
    );
    other.refresh().await.unwrap();
    set().await.unwrap();
    control.refresh().await.unwrap();
    control.reseal().await.unwrap();
    other.refresh().await.unwrap();
    check(&other).await;
    other.reseal().await.unwrap();
    assert_eq!(key_of(&other).await, key_of(&control).await);
    let (_, third) = start(temp.path(), None).await;
    check(&third).await;
}

/// What was replaced shortly before a rotation is searched for in responses after it too, though the key that sealed it is gone.
#[tokio::test]
async fn former_values_are_known_after_a_rotation() {
    use agent_vault_broker::Verdict;
    use agent_vault_control::{Conditions, NewToken};
    use agent_vault_policy::{Authority, Facts, RequestTarget, Scheme};

    let temp = tempfile::tempdir().unwrap();
    let (_, control) = start(temp.path(), None).await;
    let local = Actor::LocalOperator;
    let draft = serde_json::from_str(
        r#"{"name":"api","host":"api.x.com","auth":{"type":"bearer","token":"API_KEY"}}"#,
    )
    .unwrap();
    control
        .services()
        .upsert(&local, "default", vec![draft], &Conditions::default())
        .await
        .unwrap();
    for value in ["the first value", "the second value"] {
        let values = vec![("API_KEY".to_owned(), secret(value))];
        control
            .credentials()
            .set(&local, VaultRef::Implied, values, None)
            .await
            .unwrap();
    }
    let token = control
        .tokens()
        .mint(&local, VaultRef::Implied, NewToken::default())
        .await
        .unwrap()
        .token;
    let former = || -> Vec<String> {
        let broker = control.broker();
        let now = Timestamp::UNIX_EPOCH;
        let principal = broker.authenticate(token.expose(), None, now).unwrap();
        let facts = Facts {
            scheme: Scheme::Https,
            authority: &Authority::parse("api.x.com:443").unwrap(),
            target: &RequestTarget::parse("/").unwrap(),
            agent: None,
            headers: &http::HeaderMap::new(),
        };
        let Verdict::Inject(permit) = broker.admit(&principal, now).unwrap().decide(&facts) else {
            panic!("no rule");
        };
        let grant = permit.grant().unwrap();
        grant
            .former()
            .map(|(_, value)| value.expose_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(former(), ["the first value"]);
    for _ in 0..2 {
        control.keys().rotate(&local).await.unwrap();
        assert_eq!(former(), ["the first value"]);
        control.reseal().await.unwrap();
        assert!(!key_of(&control).await.1);
        assert_eq!(former(), ["the first value"]);
    }
}
