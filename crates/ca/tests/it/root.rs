//! Keeping a root and loading it again.

use std::sync::Arc;

use agent_vault_ca::{CaError, LeafIssuer, RootCa};
use agent_vault_seal::SecretBytes;
use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

use crate::{NOON, at, client, shake};

#[test]
fn what_was_generated_loads_and_signs() {
    let (made, material) = RootCa::generate(at(NOON)).unwrap();
    let loaded = RootCa::load(&material.cert_pem, &material.key_der).unwrap();
    assert_eq!(loaded.cert_pem(), made.cert_pem());
    assert_eq!(loaded.cert_der(), made.cert_der());
    assert_eq!(loaded.expires_at(), made.expires_at());
    // A client that trusts the generated one accepts what the loaded one signs.
    let issuer = LeafIssuer::new(loaded).unwrap();
    let server = issuer.server_config("api.example.com", at(NOON)).unwrap();
    let client = Arc::new(client(made.cert_der(), NOON, &[]));
    shake(&client, &server, "api.example.com").unwrap();
}

#[test]
fn a_key_in_sec1_loads_too() {
    let (_, material) = RootCa::generate(at(NOON)).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, material.key_der.expose())
        .unwrap();
    let sec1: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().unwrap();
    let key = SecretBytes::new(sec1.as_ref().to_vec());
    assert!(RootCa::load(&material.cert_pem, &key).is_ok());
}

#[test]
fn broken_records() {
    let (_, one) = RootCa::generate(at(NOON)).unwrap();
    let (_, two) = RootCa::generate(at(NOON)).unwrap();
    let junk = SecretBytes::new(b"junk".to_vec());

    let load = |pem: &str, key: &SecretBytes| RootCa::load(pem, key).unwrap_err();
    assert!(matches!(
        load(&one.cert_pem, &two.key_der),
        CaError::KeyMismatch
    ));
    assert!(matches!(load(&one.cert_pem, &junk), CaError::RootKey));
    let halved = &one.cert_pem[..one.cert_pem.len() / 2];
    let doubled = format!("{}{}", one.cert_pem, two.cert_pem);
    for pem in [
        "",
        "not pem",
        halved,
        &doubled,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let error = load(pem, &one.key_der);
        assert!(
            matches!(error, CaError::RootCertificate { .. }),
            "{pem:?}: {error}"
        );
        assert!(error.hint().is_some());
    }
}

#[test]
fn a_certificate_that_may_not_sign_is_refused() {
    let key = rcgen::KeyPair::generate().unwrap();
    let plain = rcgen::CertificateParams::new(vec!["example.com".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let key = SecretBytes::new(key.serialize_der());
    let refused = RootCa::load(&plain.pem(), &key).unwrap_err();
    assert!(matches!(refused, CaError::RootCertificate { .. }));
}

#[test]
fn nothing_secret_is_printed() {
    let (root, material) = RootCa::generate(at(NOON)).unwrap();
    let issuer = LeafIssuer::new(root).unwrap();
    let printed = format!("{issuer:?} {:?} {material:?}", issuer.root());
    let key: String = material
        .key_der
        .expose()
        .iter()
        .map(|byte| format!("{byte}, "))
        .collect();
    assert!(!printed.contains(&key[..40]));
    assert!(!printed.contains("PRIVATE"));
}
