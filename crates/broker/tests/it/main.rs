//! The snapshot seen from outside: who is let in, for how long, and what a write changes at once.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use agent_vault_broker::{
    AgentRecord, AuthRefusal, Broker, BrokerOptions, GrantError, Image, LimitRefusal,
    LimitSettings, SealedCredential, SessionKind, SessionRecord, TokenBounds, VaultRecord,
    VaultRole, Verdict, credential_context,
};
use agent_vault_policy::{
    Authority, CredentialKey, Facts, RequestTarget, Scheme, Service, ServiceDraft, UnmatchedPolicy,
    ValidationOptions,
};
use agent_vault_seal::{Keyring, Sealed, Token, TokenKind};
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

const ONE: Uuid = Uuid::from_u128(1);
const TWO: Uuid = Uuid::from_u128(2);
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

struct Setting {
    broker: Broker,
    keyring: Arc<Keyring>,
}

impl Setting {
    fn new(limits: LimitSettings) -> Self {
        let keyring = Arc::new(Keyring::generate().unwrap());
        let broker = Broker::new(Arc::clone(&keyring), BrokerOptions { limits });
        let setting = Self { broker, keyring };
        for (id, name) in [(ONE, "one"), (TWO, "two")] {
            setting.broker.put_vault(setting.vault(id, name));
        }
        setting
    }

    fn unlimited() -> Self {
        Self::new(LimitSettings {
            rate: None,
            concurrency: None,
        })
    }

    fn vault(&self, id: Uuid, name: &str) -> VaultRecord {
        let draft: ServiceDraft = serde_json::from_str(
            r#"{"name":"bearer","host":"api.example.com","auth":{"type":"bearer","token":"TOKEN"}}"#,
        )
        .unwrap();
        VaultRecord {
            id,
            name: name.to_owned(),
            services: Ok(vec![
                Service::from_draft(draft, &ValidationOptions::stored()).unwrap(),
            ]),
            unmatched: UnmatchedPolicy::Deny,
            credentials: vec![(
                key(),
                self.sealed(id, format!("value of {name}").as_bytes()),
            )],
            placeholders: Vec::new(),
        }
    }

    fn sealed(&self, vault: Uuid, value: &[u8]) -> SealedCredential {
        let owner = vault.to_string();
        SealedCredential {
            sealed: self
                .keyring
                .seal(&credential_context(&owner, "TOKEN", 3), value)
                .unwrap(),
            version: 3,
            expires_at: None,
            oauth: None,
        }
    }

    fn session(&self, kind: SessionKind, expires_at: Option<Timestamp>) -> Token {
        let token = Token::generate(TokenKind::Scoped).unwrap();
        self.broker.put_session(SessionRecord {
            token: token.hash(),
            public_id: token.hash().to_hex(),
            expires_at,
            label: None,
            kind,
            bounds: TokenBounds::default(),
        });
        token
    }

    fn scoped(&self, vault: Uuid) -> Token {
        self.session(
            SessionKind::Scoped {
                vault,
                role: VaultRole::Proxy,
                minted_by: None,
            },
            None,
        )
    }

    fn agent(&self, id: u128, grants: &[Uuid]) -> (Token, AgentRecord) {
        let record = AgentRecord {
            id: Uuid::from_u128(id),
            name: format!("agent-{id}"),
            active: true,
            grants: grants.iter().map(|id| (*id, VaultRole::Member)).collect(),
        };
        self.broker.put_agent(record.clone());
        let token = self.session(SessionKind::Agent { agent: record.id }, None);
        (token, record)
    }

    fn refused(&self, token: &Token, hint: Option<&str>) -> AuthRefusal {
        self.broker
            .authenticate(token.expose(), hint, NOW)
            .unwrap_err()
    }
}

fn key() -> CredentialKey {
    CredentialKey::parse("TOKEN").unwrap()
}

#[test]
fn who_is_let_in() {
    let s = Setting::unlimited();
    let scoped = s.scoped(ONE);
    let login = s.session(SessionKind::User, None);
    let (one, _) = s.agent(11, &[ONE]);
    let (both, _) = s.agent(12, &[ONE, TWO]);
    let (none, _) = s.agent(13, &[]);
    for (token, hint, vault) in [
        (&scoped, None, ONE),
        (&scoped, Some("one"), ONE),
        (&one, None, ONE),
        (&one, Some("one"), ONE),
        (&both, Some("two"), TWO),
    ] {
        let principal = s.broker.authenticate(token.expose(), hint, NOW).unwrap();
        assert_eq!(principal.vault(), vault);
        assert!(s.broker.admit(&principal, NOW).is_ok());
    }
    assert_eq!(s.refused(&scoped, Some("two")), AuthRefusal::Mismatch);
    // A vault that is closed and one that is missing look alike (S17).
    assert_eq!(s.refused(&one, Some("two")), AuthRefusal::Denied);
    assert_eq!(s.refused(&one, Some("nowhere")), AuthRefusal::Denied);
    assert_eq!(s.refused(&none, None), AuthRefusal::NoVault);
    assert_eq!(s.refused(&login, None), AuthRefusal::NoVault);
    match s.refused(&both, None) {
        AuthRefusal::Ambiguous { mut vaults } => {
            vaults.sort();
            assert_eq!(vaults, ["one", "two"]);
        }
        other => panic!("{other:?}"),
    }
    let unknown = Token::generate(TokenKind::Agent).unwrap();
    assert_eq!(s.refused(&unknown, None), AuthRefusal::Invalid);
}

#[test]
fn what_ends_a_principal() {
    let s = Setting::unlimited();
    let changes = s.broker.revocations();
    let check = |end: &dyn Fn(&AgentRecord, &Token)| {
        let (token, record) = s.agent(21, &[ONE, TWO]);
        let principal = s
            .broker
            .authenticate(token.expose(), Some("one"), NOW)
            .unwrap();
        assert!(s.broker.admit(&principal, NOW).is_ok());
        let before = *changes.borrow();
        end(&record, &token);
        assert!(s.broker.admit(&principal, NOW).is_err());
        assert_ne!(before, *changes.borrow(), "open tunnels are told");
    };
    check(&|_, token| {
        s.broker
            .drop_sessions(|session| session.token == token.hash())
    });
    check(&|record, _| {
        let mut record = record.clone();
        record.grants.retain(|(vault, _)| *vault != ONE);
        s.broker.put_agent(record);
    });
    check(&|record, _| {
        let mut record = record.clone();
        record.active = false;
        s.broker.put_agent(record);
    });
    check(&|record, _| s.broker.drop_agent(record.id));
    check(&|_, _| s.broker.replace_all(Image::default()));
    s.broker.put_vault(s.vault(ONE, "one"));
    check(&|_, _| s.broker.drop_vault(ONE));
}

#[test]
fn expiry_is_strictly_after() {
    let s = Setting::unlimited();
    let end = NOW + SignedDuration::from_secs(60);
    let token = s.session(
        SessionKind::Scoped {
            vault: ONE,
            role: VaultRole::Proxy,
            minted_by: None,
        },
        Some(end),
    );
    let principal = s.broker.authenticate(token.expose(), None, NOW).unwrap();
    assert_eq!(s.broker.expiry(&principal), Some(end));
    assert!(s.broker.admit(&principal, end).is_ok());
    let after = end + SignedDuration::from_nanos(1);
    assert_eq!(
        s.broker.admit(&principal, after).unwrap_err(),
        AuthRefusal::Invalid
    );
    assert!(s.broker.authenticate(token.expose(), None, after).is_err());
}

#[test]
fn a_permit_opens_what_its_rule_needs_and_nothing_that_was_moved() {
    let s = Setting::unlimited();
    let decide_at = |vault: Uuid, at: Timestamp| {
        let token = s.scoped(vault);
        let principal = s.broker.authenticate(token.expose(), None, NOW).unwrap();
        let admission = s.broker.admit(&principal, at).unwrap();
        let authority = Authority::parse("api.example.com:443").unwrap();
        let target = RequestTarget::parse("/").unwrap();
        let headers = HeaderMap::new();
        let facts = Facts {
            scheme: Scheme::Https,
            authority: &authority,
            target: &target,
            agent: None,
            headers: &headers,
        };
        match admission.decide(&facts) {
            Verdict::Inject(permit) => permit,
            other => panic!("{other:?}"),
        }
    };
    let decide = |vault: Uuid| decide_at(vault, NOW);
    let grant = decide(ONE).grant().unwrap();
    let (name, value) = grant.headers().first().unwrap();
    assert_eq!(*name, http::header::AUTHORIZATION);
    assert_eq!(value, "Bearer value of one");
    assert!(value.is_sensitive());
    assert!(!format!("{grant:?}").contains("value of one"));
    // Opened once for as long as the vault stands.
    assert!(Arc::ptr_eq(&grant, &decide(ONE).grant().unwrap()));

    let mut moved = s.vault(TWO, "two");
    moved.credentials = s.vault(ONE, "one").credentials;
    s.broker.put_vault(moved);
    assert!(matches!(
        decide(TWO).grant(),
        Err(GrantError::Unreadable { .. })
    ));
    let mut cut = s.vault(TWO, "two");
    cut.credentials = vec![(
        key(),
        SealedCredential {
            sealed: Sealed::from_bytes({
                let mut bytes = s.sealed(TWO, b"value").sealed.as_bytes().to_vec();
                if let Some(last) = bytes.last_mut() {
                    *last ^= 1;
                }
                bytes
            })
            .unwrap(),
            version: 3,
            expires_at: None,
            oauth: None,
        },
    )];
    s.broker.put_vault(cut);
    assert!(decide(TWO).grant().is_err());
    // A value that has ended is absent, in what was opened before too; for a request that began earlier it stands.
    let mut ending = s.vault(TWO, "two");
    ending.credentials[0].1 = SealedCredential {
        expires_at: Some(NOW + SignedDuration::from_secs(1)),
        oauth: None,
        ..s.sealed(TWO, b"value")
    };
    s.broker.put_vault(ending);
    let early = decide(TWO);
    assert_eq!(early.grant().unwrap().versions()[..], [3]);
    let late = decide_at(TWO, NOW + SignedDuration::from_secs(1));
    assert!(matches!(late.grant(), Err(GrantError::Missing { .. })));
    assert!(early.grant().is_ok());
    let mut empty = s.vault(TWO, "two");
    empty.credentials.clear();
    s.broker.put_vault(empty);
    assert!(matches!(
        decide(TWO).grant(),
        Err(GrantError::Missing { .. })
    ));
    // A request under way keeps what it has.
    assert_eq!(grant.secrets().count(), 1);
}

/// A value that was replaced is told of for an hour from the first request after the change on; never more than four of
/// one key.
#[test]
fn former_values_are_remembered_for_a_while() {
    let s = Setting::unlimited();
    let token = s.scoped(ONE);
    let put = |value: &[u8]| {
        let mut record = s.vault(ONE, "one");
        record.credentials = vec![(key(), s.sealed(ONE, value))];
        s.broker.put_vault(record);
    };
    let former = |now: Timestamp| -> Vec<String> {
        let principal = s.broker.authenticate(token.expose(), None, now).unwrap();
        let admission = s.broker.admit(&principal, now).unwrap();
        let authority = Authority::parse("api.example.com:443").unwrap();
        let target = RequestTarget::parse("/").unwrap();
        let headers = HeaderMap::new();
        let facts = Facts {
            scheme: Scheme::Https,
            authority: &authority,
            target: &target,
            agent: None,
            headers: &headers,
        };
        let Verdict::Inject(permit) = admission.decide(&facts) else {
            panic!("no rule");
        };
        let grant = permit.grant().unwrap();
        grant
            .former()
            .map(|(_, value)| value.expose_str().unwrap().to_owned())
            .collect()
    };
    let later = |minutes: i64| NOW + SignedDuration::from_mins(minutes);
    put(b"the first value");
    put(b"the second value");
    assert_eq!(former(NOW), ["the first value", "value of one"]);
    // The time of the second begins with the next request, whenever it comes.
    put(b"the third value");
    assert_eq!(
        former(later(59)),
        ["the second value", "the first value", "value of one"]
    );
    assert_eq!(former(later(61)), ["the second value"]);
    assert_eq!(former(later(118)), ["the second value"]);
    assert_eq!(former(later(120)), Vec::<String>::new());
    for n in 0..9 {
        put(format!("value number {n}").as_bytes());
    }
    assert_eq!(
        former(later(200)),
        [
            "value number 7",
            "value number 6",
            "value number 5",
            "value number 4"
        ]
    );
    // The whole image from another process counts as a change too, and the same value again does not.
    let sealed = s.sealed(ONE, b"value of an image");
    let session = SessionRecord {
        token: token.hash(),
        public_id: token.hash().to_hex(),
        expires_at: None,
        label: None,
        kind: SessionKind::Scoped {
            vault: ONE,
            role: VaultRole::Proxy,
            minted_by: None,
        },
        bounds: TokenBounds::default(),
    };
    for _ in 0..3 {
        let mut record = s.vault(ONE, "one");
        record.credentials = vec![(key(), sealed.clone())];
        s.broker.replace_all(Image {
            vaults: vec![record],
            agents: Vec::new(),
            sessions: vec![session.clone()],
        });
    }
    assert_eq!(former(later(200)).first().unwrap(), "value number 8");
}

/// A rotation of the data key seals every value again and then destroys the key that sealed it: neither makes former values of those
/// in force, nor loses those that there are.
#[test]
fn former_values_outlive_the_data_key_that_sealed_them() {
    let s = Setting::unlimited();
    let token = s.scoped(ONE);
    let store = |stored: &SealedCredential| {
        let mut record = s.vault(ONE, "one");
        record.credentials = vec![(key(), stored.clone())];
        s.broker.put_vault(record);
    };
    let put = |value: &[u8]| {
        let stored = s.sealed(ONE, value);
        store(&stored);
        stored
    };
    let values = || {
        let principal = s.broker.authenticate(token.expose(), None, NOW).unwrap();
        let admission = s.broker.admit(&principal, NOW).unwrap();
        let authority = Authority::parse("api.example.com:443").unwrap();
        let target = RequestTarget::parse("/").unwrap();
        let facts = Facts {
            scheme: Scheme::Https,
            authority: &authority,
            target: &target,
            agent: None,
            headers: &HeaderMap::new(),
        };
        let Verdict::Inject(permit) = admission.decide(&facts) else {
            panic!("no rule");
        };
        let grant = permit.grant().unwrap();
        let text = |value: &agent_vault_seal::SecretBytes| value.expose_str().unwrap().to_owned();
        let now: Vec<String> = grant.secrets().map(|(_, value)| text(value)).collect();
        let former: Vec<String> = grant.former().map(|(_, value)| text(value)).collect();
        (now, former)
    };
    put(b"the first value");
    let mut stored = put(b"the second value");
    let expected = (
        vec!["the second value".to_owned()],
        vec!["the first value".to_owned(), "value of one".to_owned()],
    );
    assert_eq!(values(), expected);
    for _ in 0..3 {
        // Both keys open, and what is stored is still sealed with the old one.
        let rotated = s.keyring.rotated().unwrap();
        s.keyring.replace(&rotated);
        store(&stored);
        assert_eq!(values(), expected);
        // It is sealed again, and the old key goes.
        s.keyring.replace(&s.keyring.without_older());
        stored = put(b"the second value");
        assert_eq!(values(), expected);
    }
    // One version, another value: deleted, and made anew.
    put(b"the third value");
    assert_eq!(values().1[0], "the second value");
}

#[tokio::test(start_paused = true)]
async fn limits_outlive_a_connection_and_a_token() {
    let s = Setting::new(LimitSettings {
        rate: Some((1.try_into().unwrap(), 2.try_into().unwrap())),
        concurrency: Some(1),
    });
    let (token, record) = s.agent(31, &[ONE]);
    let first = s.broker.authenticate(token.expose(), None, NOW).unwrap();
    let held = first.limits().admit().await.unwrap();
    // A new token of the same agent is the same scope.
    let rotated = s.session(SessionKind::Agent { agent: record.id }, None);
    let second = s.broker.authenticate(rotated.expose(), None, NOW).unwrap();
    assert!(matches!(
        second.limits().admit().await,
        Err(LimitRefusal::Concurrency { limit: 1 })
    ));
    drop(held);
    assert!(matches!(
        second.limits().admit().await,
        Err(LimitRefusal::Rate { limit: 2, .. })
    ));
    // Another scope is another bucket.
    let other = s.scoped(ONE);
    let other = s.broker.authenticate(other.expose(), None, NOW).unwrap();
    let mut slot = other.limits().admit().await.unwrap();
    slot.release();
    assert!(other.limits().admit().await.is_ok());
}
