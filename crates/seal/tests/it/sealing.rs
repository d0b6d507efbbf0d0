use agent_vault_seal::{
    KEY_BYTES, Keyring, MAX_PLAINTEXT_BYTES, SealContext, SealError, SealKind, Sealed, SecretBytes,
    WrappedKey,
};
use proptest::prelude::*;

fn context<'a>(owner: &'a str, name: &'a str, version: u32) -> SealContext<'a> {
    SealContext {
        kind: SealKind::Credential,
        owner,
        name,
        version,
    }
}

proptest! {
    #[test]
    fn round_trip(owner in ".{0,40}", name in ".{0,40}", version: u32, plain: Vec<u8>) {
        let keyring = Keyring::generate().unwrap();
        let place = context(&owner, &name, version);
        let sealed = keyring.seal(&place, &plain).unwrap();
        let stored = Sealed::from_bytes(sealed.as_bytes().to_vec()).unwrap();
        let opened = keyring.open(&place, &stored).unwrap();
        prop_assert_eq!(opened.expose(), plain.as_slice());
        prop_assert_eq!(sealed.as_bytes().len(), 1 + 8 + 12 + plain.len() + 16);
    }

    #[test]
    fn any_flipped_bit_fails(plain in prop::collection::vec(any::<u8>(), 0..64), at: prop::sample::Index, bit in 0_u8..8) {
        let keyring = Keyring::generate().unwrap();
        let place = context("vault", "KEY", 1);
        let mut bytes = keyring.seal(&place, &plain).unwrap().as_bytes().to_vec();
        let index = at.index(bytes.len());
        bytes[index] ^= 1 << bit;
        let opened = Sealed::from_bytes(bytes).and_then(|sealed| keyring.open(&place, &sealed));
        prop_assert!(opened.is_err());
    }

    #[test]
    fn any_other_place_fails(owner in "[ab]{0,3}", name in "[ab]{0,3}", version in 0_u32..3,
                             owner2 in "[ab]{0,3}", name2 in "[ab]{0,3}", version2 in 0_u32..3) {
        // Short fields from a tiny alphabet: `ab`+`a` and `a`+`ba` must not share an encoding.
        let keyring = Keyring::generate().unwrap();
        let sealed = keyring.seal(&context(&owner, &name, version), b"value").unwrap();
        let same = (&owner, &name, version) == (&owner2, &name2, version2);
        let opened = keyring.open(&context(&owner2, &name2, version2), &sealed);
        prop_assert_eq!(opened.is_ok(), same);
    }
}

#[test]
fn kinds_do_not_open_each_other() {
    let keyring = Keyring::generate().unwrap();
    let kinds = [
        SealKind::Credential,
        SealKind::CaKey,
        SealKind::OAuth,
        SealKind::Proposal,
        SealKind::Sentinel,
    ];
    for sealed_as in kinds {
        let place = SealContext {
            kind: sealed_as,
            owner: "o",
            name: "n",
            version: 1,
        };
        let sealed = keyring.seal(&place, b"value").unwrap();
        for opened_as in kinds {
            let opened = keyring.open(
                &SealContext {
                    kind: opened_as,
                    ..place
                },
                &sealed,
            );
            assert_eq!(opened.is_ok(), sealed_as == opened_as);
        }
    }
}

#[test]
fn truncation_and_junk_fail_cleanly() {
    let keyring = Keyring::generate().unwrap();
    let place = context("v", "K", 1);
    let bytes = keyring.seal(&place, b"value").unwrap().as_bytes().to_vec();
    for length in 0..bytes.len() {
        let opened = Sealed::from_bytes(bytes[..length].to_vec())
            .and_then(|sealed| keyring.open(&place, &sealed));
        assert!(opened.is_err(), "{length}");
    }
    assert_eq!(
        Sealed::from_bytes(vec![9; 64]).unwrap_err(),
        SealError::Format
    );
}

#[test]
fn the_same_value_never_seals_alike() {
    let keyring = Keyring::generate().unwrap();
    let place = context("v", "K", 1);
    assert_ne!(
        keyring.seal(&place, b"x").unwrap().as_bytes(),
        keyring.seal(&place, b"x").unwrap().as_bytes()
    );
}

#[test]
fn foreign_keys_are_named() {
    let place = context("v", "K", 1);
    let other = Keyring::generate().unwrap();
    let sealed = other.seal(&place, b"x").unwrap();
    let error = Keyring::generate()
        .unwrap()
        .open(&place, &sealed)
        .unwrap_err();
    assert_eq!(
        error,
        SealError::UnknownKey {
            key_id: other.key_id().to_string()
        }
    );
    assert_eq!(sealed.key_id(), Some(other.key_id()));
}

#[test]
fn rotation_keeps_old_values_readable() {
    let place = context("v", "K", 1);
    let first = Keyring::generate().unwrap();
    let sealed = first.seal(&place, b"old").unwrap();
    let mut keyring = first.rotated().unwrap();
    assert_ne!(keyring.key_id(), first.key_id());
    keyring = Keyring::from_dek(keyring.export()).unwrap();
    assert_eq!(keyring.open(&place, &sealed).unwrap().expose(), b"old");
    let newer = keyring.seal(&place, b"new").unwrap();
    assert!(first.open(&place, &newer).is_err());
}

#[test]
fn key_lengths_are_checked() {
    for length in [0, 1, KEY_BYTES - 1, KEY_BYTES + 1, KEY_BYTES * 17] {
        assert!(
            Keyring::from_dek(SecretBytes::new(vec![7; length])).is_err(),
            "{length}"
        );
    }
    for keys in [1, 16] {
        assert!(
            Keyring::from_dek(SecretBytes::new(vec![7; KEY_BYTES * keys])).is_ok(),
            "{keys}"
        );
    }
}

#[test]
fn plaintext_is_bounded() {
    let keyring = Keyring::generate().unwrap();
    let error = keyring
        .seal(&context("v", "K", 1), &vec![0; MAX_PLAINTEXT_BYTES + 1])
        .unwrap_err();
    assert_eq!(
        error,
        SealError::TooLong {
            max: MAX_PLAINTEXT_BYTES
        }
    );
}

#[test]
fn sentinel_tells_keyrings_apart() {
    let keyring = Keyring::generate().unwrap();
    let sentinel = keyring.sentinel().unwrap();
    assert_eq!(keyring.check_sentinel(&sentinel), Ok(()));
    assert!(
        Keyring::generate()
            .unwrap()
            .check_sentinel(&sentinel)
            .is_err()
    );
}

#[test]
fn wrapping_needs_the_password_and_every_field() {
    let keyring = Keyring::generate().unwrap();
    let password = SecretBytes::from("correct horse".to_owned());
    let wrapped = keyring.wrap(&password).unwrap();
    assert_eq!(
        (wrapped.memory_kib, wrapped.iterations, wrapped.parallelism),
        (65536, 3, 4)
    );
    assert_eq!(
        Keyring::unwrap(&wrapped, &password).unwrap().key_id(),
        keyring.key_id()
    );
    let wrong = SecretBytes::from("wrong".to_owned());
    assert_eq!(
        Keyring::unwrap(&wrapped, &wrong).unwrap_err(),
        SealError::WrongPassword
    );

    let mut other_salt = wrapped.clone();
    other_salt.salt[0] ^= 1;
    let mut other_body = wrapped.clone();
    other_body.sealed[20] ^= 1;
    let other_costs = WrappedKey {
        iterations: 2,
        ..wrapped.clone()
    };
    for changed in [other_salt, other_body, other_costs] {
        assert_eq!(
            Keyring::unwrap(&changed, &password).unwrap_err(),
            SealError::WrongPassword
        );
    }
    let absurd = WrappedKey {
        memory_kib: u32::MAX,
        ..wrapped.clone()
    };
    assert_eq!(
        Keyring::unwrap(&absurd, &password).unwrap_err(),
        SealError::Costs
    );
    let short = WrappedKey {
        sealed: vec![0; 20],
        ..wrapped
    };
    assert_eq!(
        Keyring::unwrap(&short, &password).unwrap_err(),
        SealError::Format
    );
}

#[test]
fn debug_output_tells_nothing() {
    let keyring = Keyring::from_dek(SecretBytes::new(vec![0xAB; KEY_BYTES])).unwrap();
    let wrapped = WrappedKey {
        salt: vec![1],
        memory_kib: 1,
        iterations: 1,
        parallelism: 1,
        sealed: vec![0xAB],
    };
    let text = format!(
        "{keyring:?} {wrapped:?} {:?}",
        keyring.seal(&context("v", "K", 1), b"x").unwrap()
    );
    assert!(
        !text.to_lowercase().contains("abab") && !text.contains("171"),
        "{text}"
    );
}
