use agent_vault_seal::{
    PasswordHash, SealError, Token, TokenHash, TokenKind, audit, hash_password, public_id,
    verify_dummy,
};

#[test]
fn token_format() {
    for (kind, prefix) in [
        (TokenKind::UserSession, "av_sess_"),
        (TokenKind::Scoped, "av_sess_"),
        (TokenKind::Agent, "av_agt_"),
        (TokenKind::Approval, "av_appr_"),
        (TokenKind::Invite, "av_uinv_"),
    ] {
        let token = Token::generate(kind).unwrap();
        let random = token.expose().strip_prefix(prefix).unwrap();
        assert_eq!(random.len(), 64);
        assert!(
            random
                .bytes()
                .all(|byte| b"0123456789abcdef".contains(&byte))
        );
        assert_eq!(token.hash(), TokenHash::of(token.expose()));
        assert_eq!(format!("{token:?}"), "[redacted]");
    }
}

#[test]
fn token_hash_is_sha256_and_round_trips() {
    let hash = TokenHash::of("abc");
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hash.to_hex(), hex);
    assert_eq!(TokenHash::from_hex(hex), Ok(hash));
    assert_eq!(TokenHash::from_hex("ba78"), Err(SealError::Format));
    assert_eq!(TokenHash::from_hex(&"g".repeat(64)), Err(SealError::Format));
}

#[test]
fn passwords() {
    let hash = hash_password("hunter2 hunter2").unwrap();
    assert_eq!((hash.time, hash.memory, hash.threads), (3, 65536, 4));
    assert_eq!((hash.hash.len(), hash.salt.len()), (32, 16));
    assert!(hash.verify("hunter2 hunter2"));
    assert!(!hash.verify("hunter2 hunter3"));
    assert!(!hash.needs_rehash());
    verify_dummy("anything");

    let cheaper = PasswordHash {
        time: 2,
        ..hash.clone()
    };
    assert!(cheaper.needs_rehash() && !cheaper.verify("hunter2 hunter2"));
    let damaged = PasswordHash {
        memory: u32::MAX,
        ..hash.clone()
    };
    assert!(!damaged.verify("hunter2 hunter2"));
    let emptied = PasswordHash {
        hash: Vec::new(),
        ..hash
    };
    assert!(!emptied.verify("hunter2 hunter2"));
    assert!(matches!(
        hash_password(&"x".repeat(1025)),
        Err(SealError::TooLong { .. })
    ));
}

#[test]
fn public_ids_are_20_hex_characters() {
    let id = public_id().unwrap();
    assert_eq!(id.len(), 20);
    assert_ne!(id, public_id().unwrap());
}

#[test]
fn chain_depends_on_everything_before() {
    let one = audit::chain_hash(&audit::GENESIS, b"one");
    let two = audit::chain_hash(&one, b"two");
    assert_ne!(two, audit::chain_hash(&audit::GENESIS, b"two"));
    assert_ne!(
        two,
        audit::chain_hash(&audit::chain_hash(&audit::GENESIS, b"One"), b"two")
    );
    let split = audit::Canonical::new().text("ab").text("c");
    assert_ne!(
        split.as_bytes(),
        audit::Canonical::new().text("a").text("bc").as_bytes()
    );
}
