use std::fs::{self, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agent_vault_store::{
    DATABASE_FILE, DEFAULT_VAULT_ID, LogQuery, OpenOptions, Store, StoreError, StoreErrorKind,
};
use sqlx::sqlite::SqliteConnectOptions;

use crate::logs::{borrowed, row};
use crate::{at, entry, open, temp, vault};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn refused(path: &Path) -> StoreError {
    let error = Store::open(path, OpenOptions { now: at(0) })
        .await
        .unwrap_err();
    assert!(!error.message().contains('\n'), "{error}");
    assert!(error.hint().is_some(), "{error}");
    error
}

#[tokio::test]
async fn files_are_private() {
    let temp = temp();
    let folder = temp.path().join("new/data");
    let store = open(&folder).await;
    let mut tx = store.begin().await.unwrap();
    tx.insert_vault(&vault("x")).await.unwrap();
    tx.commit(&entry("x")).await.unwrap();
    store.unlock(None, at(1)).await.unwrap();
    assert_eq!(mode(&folder), 0o700);
    for name in [
        DATABASE_FILE,
        "agent-vault.db-wal",
        "agent-vault.db-shm",
        "data.key",
    ] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
    store.close().await;

    // What somebody opened up is closed again.
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(folder.join(DATABASE_FILE), Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(folder.join("data.key"), Permissions::from_mode(0o644)).unwrap();
    let store = open(&folder).await;
    store.unlock(None, at(1)).await.unwrap();
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join(DATABASE_FILE)), 0o600);
    assert_eq!(mode(&folder.join("data.key")), 0o600);
}

#[tokio::test]
async fn a_shared_folder_keeps_its_mode() {
    let temp = temp();
    let folder = temp.path().join("shared");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    fs::File::create(folder.join("something")).unwrap();
    let store = open(&folder).await;
    assert_eq!(mode(&folder), 0o755);
    assert_eq!(mode(store.path()), 0o600);
    let named = Store::open(&folder.join("named.db"), OpenOptions { now: at(0) })
        .await
        .unwrap();
    assert_eq!(named.path(), folder.join("named.db"));
    assert_eq!(named.key_file().path(), folder.join("named.key"));
    assert_eq!(store.key_file().path(), folder.join("data.key"));
}

#[tokio::test]
async fn unwritable_places() {
    let temp = temp();
    let file = temp.path().join("file");
    fs::File::create(&file).unwrap();
    // A folder below a file can be made by nobody, not even by root.
    assert_eq!(
        refused(&file.join("data")).await.kind(),
        StoreErrorKind::NotWritable
    );
    assert_eq!(refused(&file).await.kind(), StoreErrorKind::NotWritable);
    fs::create_dir_all(temp.path().join("folder").join(DATABASE_FILE)).unwrap();
    let error = Store::open(&temp.path().join("folder"), OpenOptions { now: at(0) })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NotWritable);
    assert_eq!(
        refused(Path::new("/proc/nothing/here")).await.kind(),
        StoreErrorKind::NotWritable
    );
}

#[tokio::test]
async fn a_file_that_is_no_database() {
    let temp = temp();
    let path = temp.path().join(DATABASE_FILE);
    fs::File::create(&path)
        .unwrap()
        .write_all(&[b'x'; 8192])
        .unwrap();
    let error = refused(temp.path()).await;
    assert_eq!(error.kind(), StoreErrorKind::Damaged);
    assert!(error.message().contains(DATABASE_FILE), "{error}");
    assert_eq!(fs::read(&path).unwrap(), [b'x'; 8192], "untouched");
}

#[tokio::test]
async fn a_damaged_database() {
    let temp = temp();
    let store = open(temp.path()).await;
    for n in 0..50 {
        let mut tx = store.begin().await.unwrap();
        tx.insert_vault(&vault(&format!("vault-{n}")))
            .await
            .unwrap();
        tx.commit(&entry("x")).await.unwrap();
    }
    let path = store.path().to_path_buf();
    store.close().await;
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0xA5; usize::try_from(length - 4096).unwrap()])
        .unwrap();
    drop(file);
    assert_eq!(refused(temp.path()).await.kind(), StoreErrorKind::Damaged);
}

#[tokio::test]
async fn an_empty_file_is_a_new_database() {
    // What a process leaves that is killed right after making the file.
    let temp = temp();
    fs::File::create(temp.path().join(DATABASE_FILE)).unwrap();
    assert_eq!(open(temp.path()).await.vaults().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let temp = temp();
    let store = open(temp.path()).await;
    let path = store.path().to_path_buf();
    store.close().await;
    raw(
        &path,
        "insert into schema_migrations values (99, '0099_future', 99, 0, 0)",
    )
    .await;
    let error = refused(temp.path()).await;
    assert_eq!(error.kind(), StoreErrorKind::NewerSchema);
    assert!(error.message().contains("version 99"), "{error}");
}

/// A database of the first schema, with what its log held, comes up under the present one; numbers go on.
#[tokio::test]
async fn the_log_of_the_first_schema_is_kept() {
    let temp = temp();
    let path = temp.path().join(DATABASE_FILE);
    raw(
        &path,
        include_str!("../../src/migrations/sqlite/0001_initial.sql"),
    )
    .await;
    raw(
        &path,
        "insert into schema_migrations values (1, '0001_initial', 1, 0, 0);
         insert into instance_settings values ('instance_id', 'i', 0);
         insert into vaults values ('00000000-0000-0000-0000-000000000000', 'default', 0, 0);
         insert into request_log_vaults values (1, '00000000-0000-0000-0000-000000000000');
         insert into request_log_sources values
             (5, 1, '', '', 's', 'l', 'mitm', 'a.io:443', 'x', '[\"KEY\"]', '', '', 'brokered', 3),
             (6, 1, '', '', 's', 'l', 'mitm', 'b.io:443', '', '[]', '', '', 'passed', 4);
         insert into request_logs values
             (1, 1, 5, 'GET', '/one', 200, 7, '', '[]', 11),
             (2, 1, 5, 'GET', '/two', 200, 8, '', '[]', 12),
             (4, 1, 6, 'POST', '/three', 502, 9, 'upstream_error', '[\"w\"]', 13)",
    )
    .await;
    let store = open(temp.path()).await;
    let query = LogQuery::newest(DEFAULT_VAULT_ID);
    let before = store.log_page(&query).await.unwrap().logs;
    let shown: Vec<_> = before
        .iter()
        .map(|entry| {
            let row = &entry.row;
            (
                entry.id,
                row.method.as_str(),
                row.host.as_str(),
                row.path.as_str(),
                row.status,
                row.latency_ms,
                row.error_code.as_str(),
                row.decision.as_str(),
                row.warnings.len() + row.credential_keys.len(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (
                4,
                "POST",
                "b.io:443",
                "/three",
                502,
                9,
                "upstream_error",
                "passed",
                1
            ),
            (2, "GET", "a.io:443", "/two", 200, 8, "", "brokered", 1),
            (1, "GET", "a.io:443", "/one", 200, 7, "", "brokered", 1),
        ]
    );
    let rows = [row(DEFAULT_VAULT_ID, 1)];
    store.append_logs(&borrowed(&rows)).await.unwrap();
    let page = store.log_page(&query).await.unwrap();
    assert_eq!((page.logs.len(), page.latest_id), (4, 5));
}

#[tokio::test]
async fn a_foreign_database_is_left_alone() {
    let temp = temp();
    let path = temp.path().join(DATABASE_FILE);
    raw(&path, "create table theirs (x)").await;
    let error = refused(temp.path()).await;
    assert_eq!(error.kind(), StoreErrorKind::Damaged);
    assert!(error.message().contains("another program"), "{error}");
}

#[tokio::test]
async fn an_unreadable_row_is_named() {
    let temp = temp();
    let store = open(temp.path()).await;
    raw(store.path(), "update vaults set id = 'not-an-id'").await;
    let error = store.vaults().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Damaged);
    assert!(error.message().contains("`id`"), "{error}");
}

#[tokio::test]
async fn deleted_values_leave_no_trace_in_the_files() {
    let temp = temp();
    let store = open(temp.path()).await;
    let canary = "canary-5b1f0e77";
    let mut tx = store.begin().await.unwrap();
    tx.put_instance_setting("x", Some(canary), at(1))
        .await
        .unwrap();
    tx.commit(&entry("x")).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.put_instance_setting("x", None, at(1)).await.unwrap();
    tx.commit(&entry("x")).await.unwrap();
    store.truncate_wal().await.unwrap();
    for file in fs::read_dir(temp.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let found = bytes
            .windows(canary.len())
            .any(|window| window == canary.as_bytes());
        assert!(!found, "{}", path.display());
    }
}

async fn raw(path: &Path, sql: &'static str) {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .foreign_keys(false);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    pool.close().await;
}
