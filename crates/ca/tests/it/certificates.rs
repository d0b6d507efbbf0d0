//! What stands in root and leaf.

use std::time::Duration;

use agent_vault_ca::{BACKDATE, LEAF_LIFETIME, ROOT_LIFETIME, RootCa};
use x509_parser::prelude::*;

use crate::{DAY, NOON, at, issuer_at, leaf};

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap()
}

#[test]
fn root() {
    let (root, _) = RootCa::generate(at(NOON)).unwrap();
    let (_, cert) = X509Certificate::from_der(root.cert_der()).unwrap();

    let basic = cert.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && basic.value.ca);
    assert_eq!(basic.value.path_len_constraint, Some(0));
    let usage = cert.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
    assert!(!usage.value.digital_signature());

    let ski = subject_key_id(&cert);
    let short: String = ski
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        common_name(&cert).unwrap(),
        format!("Agent Vault Root CA {short}")
    );
    assert_eq!(cert.subject(), cert.issuer());

    assert_eq!(
        cert.validity().not_before.timestamp(),
        NOON - seconds(BACKDATE)
    );
    assert_eq!(
        cert.validity().not_after.timestamp(),
        NOON + seconds(ROOT_LIFETIME)
    );
    assert_eq!(root.expires_at(), at(NOON + 3650 * DAY));
    assert_serial(&cert);
}

#[test]
fn leaf_of_a_name() {
    let issuer = issuer_at(at(NOON));
    let der = leaf(&issuer, "api.example.com", NOON);
    let (_, cert) = X509Certificate::from_der(&der).unwrap();
    let (_, root) = X509Certificate::from_der(issuer.root().cert_der()).unwrap();

    assert_eq!(cert.issuer(), root.subject());
    assert_eq!(authority_key_id(&cert), subject_key_id(&root));
    assert!(!cert.basic_constraints().unwrap().unwrap().value.ca);
    let usage = cert.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature());
    assert!(!usage.value.key_cert_sign());
    let extended = cert.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && !extended.client_auth && !extended.any);
    assert_eq!(common_name(&cert).as_deref(), Some("api.example.com"));
    let sans = cert.subject_alternative_name().unwrap().unwrap();
    assert!(!sans.critical);
    assert!(matches!(
        sans.value.general_names[..],
        [GeneralName::DNSName("api.example.com")]
    ));

    assert_eq!(
        cert.validity().not_before.timestamp(),
        NOON - seconds(BACKDATE)
    );
    assert_eq!(
        cert.validity().not_after.timestamp(),
        NOON + seconds(LEAF_LIFETIME)
    );
    assert!(seconds(LEAF_LIFETIME) + seconds(BACKDATE) <= 30 * DAY);
    assert_serial(&cert);
}

#[test]
fn leaf_of_an_address() {
    let issuer = issuer_at(at(NOON));
    for (host, expected) in [
        ("127.0.0.1", vec![127, 0, 0, 1]),
        ("::1", [vec![0; 15], vec![1]].concat()),
    ] {
        let der = leaf(&issuer, host, NOON);
        let (_, cert) = X509Certificate::from_der(&der).unwrap();
        let sans = cert.subject_alternative_name().unwrap().unwrap();
        let [GeneralName::IPAddress(octets)] = sans.value.general_names[..] else {
            panic!("one address");
        };
        assert_eq!(octets, expected);
    }
}

/// C14: names that the original could not mint, or put into an illegal common name.
#[test]
fn odd_names() {
    let issuer = issuer_at(at(NOON));
    let der = leaf(&issuer, "my_bucket.s3.example.com", NOON);
    let (_, cert) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(
        common_name(&cert).as_deref(),
        Some("my_bucket.s3.example.com")
    );

    let long = format!("{}.{}.example.com", "a".repeat(63), "b".repeat(63));
    let der = leaf(&issuer, &long, NOON);
    let (_, cert) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(common_name(&cert), None);
    let sans = cert.subject_alternative_name().unwrap().unwrap();
    assert!(sans.critical, "as RFC 5280 asks when the subject is empty");
}

#[test]
fn two_roots_have_two_names() {
    let one = RootCa::generate(at(NOON)).unwrap().0;
    let two = RootCa::generate(at(NOON)).unwrap().0;
    let (_, one) = X509Certificate::from_der(one.cert_der()).unwrap();
    let (_, two) = X509Certificate::from_der(two.cert_der()).unwrap();
    assert_ne!(one.subject(), two.subject());
    assert_ne!(one.serial, two.serial);
}

#[test]
fn a_leaf_does_not_outlive_its_root() {
    let issuer = issuer_at(at(NOON));
    let last_day = NOON + 3649 * DAY;
    let der = leaf(&issuer, "api.example.com", last_day);
    let (_, cert) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(cert.validity().not_after.timestamp(), NOON + 3650 * DAY);
}

fn common_name(cert: &X509Certificate<'_>) -> Option<String> {
    cert.subject()
        .iter_common_name()
        .next()
        .map(|name| name.as_str().unwrap().to_owned())
}

fn subject_key_id(cert: &X509Certificate<'_>) -> Vec<u8> {
    cert.iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        })
        .unwrap()
}

fn authority_key_id(cert: &X509Certificate<'_>) -> Vec<u8> {
    cert.iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref(),
            _ => None,
        })
        .unwrap()
        .0
        .to_vec()
}

fn assert_serial(cert: &X509Certificate<'_>) {
    let serial = cert.raw_serial();
    assert_eq!(serial.len(), 16);
    assert!(serial.first().unwrap() & 0x80 == 0, "positive");
}
