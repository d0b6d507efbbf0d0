//! Finding the system's roots and putting ours beside them.

use std::io::Write;
use std::path::{Path, PathBuf};

use agent_vault_ca::RootCa;
use agent_vault_ca::bundle::{Bundle, UnusableBundle, find_system_roots, find_system_roots_in};

use crate::{NOON, at};

fn pem() -> String {
    RootCa::generate(at(NOON)).unwrap().1.cert_pem
}

fn file(directory: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::File::create(&path)
        .unwrap()
        .write_all(content)
        .unwrap();
    path
}

fn count(pem: &str) -> usize {
    pem.matches("-----BEGIN CERTIFICATE-----").count()
}

#[test]
fn the_first_usable_place_wins() {
    let directory = tempfile::tempdir().unwrap();
    let absent = directory.path().join("absent.pem");
    let empty = file(directory.path(), "empty.pem", b"# nothing here\n");
    let good = file(
        directory.path(),
        "good.pem",
        format!("# a comment\n{}{}", pem(), pem()).as_bytes(),
    );
    let later = file(directory.path(), "later.pem", pem().as_bytes());
    let places = [&absent, &empty, &good, &later];
    let search = find_system_roots_in(places.map(PathBuf::as_path));
    let found = search.found.unwrap();
    assert_eq!(found.path, good);
    assert_eq!(found.count, 2);
    assert!(matches!(&search.unusable[..], [UnusableBundle::Empty { path }] if *path == empty));
}

#[test]
fn a_directory_in_place_of_a_file_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let search = find_system_roots_in([directory.path()]);
    assert!(search.found.is_none());
    assert!(matches!(
        &search.unusable[..],
        [UnusableBundle::Unreadable { .. }]
    ));
}

#[test]
fn comments_in_latin1_do_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let mut content = b"# Autoridade de Certifica\xe7\xe3o\n".to_vec();
    content.extend_from_slice(pem().as_bytes());
    let path = file(directory.path(), "latin1.pem", &content);
    assert_eq!(
        find_system_roots_in([path.as_path()]).found.unwrap().count,
        1
    );
}

#[test]
fn merged_with_and_without_a_system() {
    let directory = tempfile::tempdir().unwrap();
    let (system_root, ours) = (pem(), pem());
    // No newline at the end, as some editors leave it.
    let path = file(
        directory.path(),
        "system.pem",
        system_root.trim_end().as_bytes(),
    );
    let system = find_system_roots_in([path.as_path()]).found.unwrap();

    let both = Bundle::merge(Some(&system), [ours.as_str()]);
    assert!(matches!(&both, Bundle::Complete { system, .. } if *system == path));
    assert_eq!(count(both.pem()), 2);
    assert!(both.pem().ends_with('\n'));
    assert!(
        both.pem().lines().all(|line| line.len() <= 64),
        "no block runs into the next"
    );

    let again = Bundle::merge(
        Some(&system),
        [ours.as_str(), ours.as_str(), system_root.as_str()],
    );
    assert_eq!(again, both, "nothing is repeated");

    let alone = Bundle::merge(None, [ours.as_str()]);
    assert_eq!(alone, Bundle::OursOnly { pem: ours });
}

#[test]
fn this_system() {
    let search = find_system_roots();
    match search.found {
        Some(found) => assert!(found.count > 0 && count(&found.pem) >= found.count),
        None => println!("SKIPPED: this system has no bundle of roots"),
    }
}
