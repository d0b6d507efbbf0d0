use std::fs;

use agent_vault_seal::SecretBytes;
use agent_vault_store::{MasterKey, Protection, UnlockError};

use crate::{at, entry, open, temp};

fn password(text: &str) -> Option<SecretBytes> {
    Some(SecretBytes::from(text.to_owned()))
}

#[tokio::test]
async fn without_a_password_the_key_lies_beside_the_database() {
    let temp = temp();
    let store = open(temp.path()).await;
    let first = store.unlock(None, at(1)).await.unwrap();
    assert_eq!(
        (first.created, first.protection, first.password_unused),
        (true, Protection::KeyFile, false)
    );
    let again = store.unlock(password("ignored?"), at(2)).await.unwrap();
    assert_eq!((again.created, again.password_unused), (false, true));
    assert_eq!(again.keyring.key_id(), first.keyring.key_id());

    // The key is in no file but its own.
    store.truncate_wal().await.unwrap();
    let key = first.keyring.export();
    let database = fs::read(store.path()).unwrap();
    assert!(!database.windows(32).any(|window| window == key.expose()));
    let hex: String = key
        .expose()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert!(!String::from_utf8_lossy(&database).contains(&hex));
    assert!(
        fs::read_to_string(store.key_file().path())
            .unwrap()
            .contains(&hex)
    );
    assert_eq!(
        store.audit_page(None, 9).await.unwrap()[0].action,
        "master-key.create"
    );
}

#[tokio::test]
async fn with_a_password_there_is_no_key_file() {
    let temp = temp();
    let store = open(temp.path()).await;
    assert!(matches!(
        store.unlock(password(""), at(1)).await,
        Err(UnlockError::EmptyPassword)
    ));
    let first = store.unlock(password("right"), at(1)).await.unwrap();
    assert_eq!(
        (first.created, first.protection),
        (true, Protection::Password)
    );
    assert!(!store.key_file().path().exists());
    let before = store.master_key().await.unwrap();
    for (given, expected) in [(None, "protected"), (password("wrong"), "wrong")] {
        let error = store.unlock(given, at(2)).await.unwrap_err();
        assert!(
            error.to_string().contains(expected) && error.hint().is_some(),
            "{error}"
        );
    }
    assert_eq!(
        store.master_key().await.unwrap(),
        before,
        "a wrong password touches nothing"
    );
    assert_eq!(
        store
            .unlock(password("right"), at(3))
            .await
            .unwrap()
            .keyring
            .key_id(),
        first.keyring.key_id()
    );
}

#[tokio::test]
async fn a_first_start_killed_between_key_file_and_record_heals() {
    let temp = temp();
    let store = open(temp.path()).await;
    let made = store
        .key_file()
        .read_or_create(|| Ok(agent_vault_seal::Keyring::generate()?))
        .unwrap();
    // Also what a process left that was killed while it wrote the key.
    let leftover = temp.path().join(".data.key.new-0011223344556677");
    fs::File::create(&leftover).unwrap();
    let healed = store.unlock(None, at(1)).await.unwrap();
    assert!(healed.created);
    assert_eq!(healed.keyring.key_id(), made.key_id());
    assert!(!leftover.exists());
}

#[tokio::test]
async fn a_first_start_that_left_junk_or_another_mode_heals() {
    let temp = temp();
    let store = open(temp.path()).await;
    for junk in [
        b"".as_slice(),
        b"agent-vault-data-key-1:00",
        b"\xff\xfe",
        &[b'x'; 10_000],
    ] {
        std::io::Write::write_all(
            &mut fs::File::create(store.key_file().path()).unwrap(),
            junk,
        )
        .unwrap();
        assert!(matches!(
            store.key_file().read(),
            Err(UnlockError::KeyFileUnreadable { .. })
        ));
    }
    assert!(store.unlock(None, at(1)).await.unwrap().created);

    // With a password now: the key that was not recorded yet is taken over, and its file goes.
    let temp = crate::temp();
    let store = open(temp.path()).await;
    let made = store
        .key_file()
        .read_or_create(|| Ok(agent_vault_seal::Keyring::generate()?))
        .unwrap();
    let unlocked = store.unlock(password("right"), at(1)).await.unwrap();
    assert_eq!(
        (unlocked.created, unlocked.protection),
        (true, Protection::Password)
    );
    assert_eq!(unlocked.keyring.key_id(), made.key_id());
    assert!(!store.key_file().path().exists());

    // A key file of something else is nobody's to remove.
    let foreign = agent_vault_seal::Keyring::generate().unwrap();
    store.key_file().replace(&foreign).unwrap();
    store.unlock(password("right"), at(2)).await.unwrap();
    assert_eq!(
        store.key_file().read().unwrap().unwrap().key_id(),
        foreign.key_id()
    );
}

#[tokio::test]
async fn a_missing_junk_or_foreign_key_file_is_told_and_kept() {
    let temp = temp();
    let store = open(temp.path()).await;
    store.unlock(None, at(1)).await.unwrap();
    let path = store.key_file().path().to_path_buf();
    let backup = fs::read(&path).unwrap();

    fs::remove_file(&path).unwrap();
    assert!(matches!(
        store.unlock(None, at(2)).await,
        Err(UnlockError::KeyFileMissing { .. })
    ));
    assert!(!path.exists(), "no new key is made where one was used");

    std::io::Write::write_all(&mut fs::File::create(&path).unwrap(), b"junk").unwrap();
    assert!(matches!(
        store.unlock(None, at(2)).await,
        Err(UnlockError::KeyFileUnreadable { .. })
    ));
    assert_eq!(fs::read(&path).unwrap(), b"junk");

    store
        .key_file()
        .replace(&agent_vault_seal::Keyring::generate().unwrap())
        .unwrap();
    let error = store.unlock(None, at(2)).await.unwrap_err();
    assert!(matches!(error, UnlockError::KeyFileForeign { .. }) && error.hint().is_some());

    std::io::Write::write_all(&mut fs::File::create(&path).unwrap(), &backup).unwrap();
    store.unlock(None, at(3)).await.unwrap();
}

#[tokio::test]
async fn moving_between_key_file_and_password() {
    let temp = temp();
    let store = open(temp.path()).await;
    let first = store.unlock(None, at(1)).await.unwrap();
    let id = first.keyring.key_id();
    let key_file = fs::read(store.key_file().path()).unwrap();
    store
        .protect_with_password(
            first.keyring,
            SecretBytes::from("right".to_owned()),
            &entry("master-password.set"),
        )
        .await
        .unwrap();
    assert!(!store.key_file().path().exists());
    assert!(matches!(
        store.unlock(None, at(2)).await,
        Err(UnlockError::PasswordRequired)
    ));

    // Killed between record and removal: the file is still there, and goes at the next unlock.
    std::io::Write::write_all(
        &mut fs::File::create(store.key_file().path()).unwrap(),
        &key_file,
    )
    .unwrap();
    let unlocked = store.unlock(password("right"), at(2)).await.unwrap();
    assert_eq!(unlocked.keyring.key_id(), id);
    assert!(!store.key_file().path().exists());

    store
        .protect_with_key_file(&unlocked.keyring, &entry("master-password.remove"))
        .await
        .unwrap();
    assert!(matches!(
        store.master_key().await.unwrap(),
        Some(MasterKey::KeyFile { .. })
    ));
    assert_eq!(
        store.unlock(None, at(3)).await.unwrap().keyring.key_id(),
        id
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_first_starts_agree() {
    let temp = temp();
    let folder = temp.path().to_path_buf();
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let folder = folder.clone();
        starts.spawn(async move {
            let store = open(&folder).await;
            let unlocked = store.unlock(None, at(1)).await.unwrap();
            (
                unlocked.keyring.key_id(),
                store.instance_id().to_owned(),
                unlocked.created,
            )
        });
    }
    let results = starts.join_all().await;
    assert!(
        results
            .iter()
            .all(|(key, instance, _)| *key == results[0].0 && *instance == results[0].1)
    );
    assert_eq!(results.iter().filter(|(_, _, created)| *created).count(), 1);
}
