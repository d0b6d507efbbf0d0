//! Where roots come from, and which environments are not believed.

use std::io::Write;
use std::path::{Path, PathBuf};

use agent_vault_upstream::{
    ExtraRoots, Trust, TrustEnvironment, TrustError, TrustOptions, TrustSource,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

use crate::fixture::Pki;

fn file(directory: &Path, name: &str, content: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::File::create(&path)
        .unwrap()
        .write_all(content.as_bytes())
        .unwrap();
    path
}

fn root_named(name: &str) -> String {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(DnType::CommonName, name);
    params
        .self_signed(&KeyPair::generate().unwrap())
        .unwrap()
        .pem()
}

#[test]
fn extra_roots_are_read_or_refused() {
    let (one, two) = (Pki::new().pem, Pki::new().pem);
    assert_eq!(
        ExtraRoots::parse("a", &format!("# text\n{one}\n{two}"))
            .unwrap()
            .len(),
        2
    );
    for empty in [
        "",
        "hello",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ] {
        assert!(
            matches!(
                ExtraRoots::parse("a", empty),
                Err(TrustError::NoRoots { .. })
            ),
            "{empty:?}"
        );
    }
    let not_a_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let not_base64 = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
    for bad in [not_a_certificate, not_base64] {
        let refused = ExtraRoots::parse("roots.pem", &format!("{one}{bad}")).unwrap_err();
        let TrustError::BadRoot { number, .. } = refused else {
            panic!("{refused}")
        };
        assert_eq!(number, 2);
        assert!(refused_text(&format!("{one}{bad}")).contains("certificate 2 of `roots.pem`"));
    }
    let cut = &one[..one.len() / 2];
    assert!(ExtraRoots::parse("roots.pem", cut).is_err());
}

fn refused_text(pem: &str) -> String {
    ExtraRoots::parse("roots.pem", pem).unwrap_err().to_string()
}

#[test]
fn extra_roots_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "extra.pem", &Pki::new().pem);
    assert_eq!(ExtraRoots::read(&path).unwrap().len(), 1);
    let absent = directory.path().join("absent.pem");
    assert!(matches!(
        ExtraRoots::read(&absent),
        Err(TrustError::Unreadable { .. })
    ));
}

#[test]
fn an_environment_for_agents_is_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let by_name = file(
        directory.path(),
        "bundle.pem",
        &format!(
            "{}{}",
            Pki::new().pem,
            root_named("Agent Vault Root CA 0a1b2c3d")
        ),
    );
    let renamed = root_named("Renamed");
    let by_bytes = file(directory.path(), "renamed.pem", &renamed);
    let hashed = tempfile::tempdir().unwrap();
    let in_directory = file(
        hashed.path(),
        "0123abcd.0",
        &root_named("Agent Vault Root CA 0a1b2c3d"),
    );

    let cases = [
        (
            TrustEnvironment {
                file: Some(by_name.clone()),
                directories: vec![],
            },
            by_name,
        ),
        (
            TrustEnvironment {
                file: Some(by_bytes.clone()),
                directories: vec![],
            },
            by_bytes,
        ),
        (
            TrustEnvironment {
                file: None,
                directories: vec![hashed.path().to_owned()],
            },
            in_directory,
        ),
    ];
    for (environment, named) in cases {
        let options = TrustOptions {
            own_root_pem: Some(renamed.clone()),
            environment,
            ..TrustOptions::default()
        };
        match Trust::load(&options).unwrap().source() {
            TrustSource::SystemBundle { ignored, .. } => assert_eq!(*ignored, named),
            TrustSource::BuiltIn => println!("SKIPPED in part: this system has no bundle of roots"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_environment_of_the_operators_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "corporate.pem", &Pki::new().pem);
    let environment = TrustEnvironment {
        file: Some(path),
        directories: vec![directory.path().join("absent")],
    };
    let options = TrustOptions {
        extra: Pki::new().roots(),
        environment,
        ..TrustOptions::default()
    };
    let source = Trust::load(&options).unwrap().source().clone();
    assert!(
        matches!(source, TrustSource::Platform | TrustSource::BuiltIn),
        "{source:?}"
    );
}

#[test]
fn trusting_nobody_is_an_error() {
    assert!(matches!(
        Trust::only(&ExtraRoots::default()),
        Err(TrustError::Verifier(_))
    ));
}
