//! The steps of the hot path by themselves: `cargo bench -p agent-vault-bench`.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark fails by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agent_vault_broker::{
    Broker, BrokerOptions, Image, LimitSettings, Principal, SealedCredential, SessionKind,
    SessionRecord, TokenBounds, VaultRecord, VaultRole, Verdict, credential_context,
};
use agent_vault_ca::{LeafIssuer, RootCa};
use agent_vault_policy::{
    Authority, CredentialKey, Facts, RequestTarget, Scheme, Service, ServiceDraft, UnmatchedPolicy,
    ValidationOptions,
};
use agent_vault_proxy::scrub::{Fit, Label, Scrubber, Secret};
use agent_vault_seal::{Keyring, Token, TokenKind};
use bytes::Bytes;
use divan::{Bencher, black_box};
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use uuid::Uuid;

const VAULT: Uuid = Uuid::from_u128(1);
/// September 2026.
const NOW: Timestamp = Timestamp::constant(1_790_000_000, 0);
const SECRET: &[u8] = b"bench-credential-0123456789";

fn main() {
    divan::main();
}

fn key() -> CredentialKey {
    CredentialKey::parse("TOKEN").unwrap()
}

/// `rules` services; each third has a wildcard for its host, and each has a path.
fn services(rules: usize) -> Vec<Service> {
    (0..rules)
        .map(|number| {
            let star = if number % 3 == 0 { "*." } else { "" };
            let draft: ServiceDraft = serde_json::from_value(serde_json::json!({
                "name": format!("rule-{number}"),
                "host": format!("{star}h{number}.example.com"),
                "path": format!("/v{number}/*"),
                "auth": {"type": "bearer", "token": "TOKEN"},
                "substitutions": [{"key": "TOKEN", "placeholder": "__the_token__", "in": ["header", "query"]}],
            }))
            .unwrap();
            Service::from_draft(draft, &ValidationOptions::stored()).unwrap()
        })
        .collect()
}

fn vault(keyring: &Keyring, rules: usize) -> VaultRecord {
    let owner = VAULT.to_string();
    let context = credential_context(&owner, "TOKEN", 1);
    VaultRecord {
        id: VAULT,
        name: "main".to_owned(),
        services: Ok(services(rules)),
        unmatched: UnmatchedPolicy::Passthrough,
        credentials: vec![(
            key(),
            SealedCredential {
                sealed: keyring.seal(&context, SECRET).unwrap(),
                version: 1,
                expires_at: None,
                oauth: None,
            },
        )],
        placeholders: Vec::new(),
    }
}

/// A broker with one vault of `rules` services, and somebody who may use it.
fn broker(rules: usize) -> (Broker, Arc<Keyring>, Principal) {
    let keyring = Arc::new(Keyring::generate().unwrap());
    let limits = LimitSettings {
        rate: None,
        concurrency: None,
    };
    let broker = Broker::new(Arc::clone(&keyring), BrokerOptions { limits });
    let token = Token::generate(TokenKind::Scoped).unwrap();
    broker.replace_all(Image {
        vaults: vec![vault(&keyring, rules)],
        agents: Vec::new(),
        sessions: vec![SessionRecord {
            token: token.hash(),
            public_id: token.hash().to_hex(),
            expires_at: None,
            label: None,
            bounds: TokenBounds::default(),
            kind: SessionKind::Scoped {
                vault: VAULT,
                role: VaultRole::Proxy,
                minted_by: None,
            },
        }],
    });
    let principal = broker.authenticate(token.expose(), None, NOW).unwrap();
    (broker, keyring, principal)
}

struct Request {
    authority: Authority,
    target: RequestTarget,
    headers: HeaderMap,
}

impl Request {
    fn for_rule(number: usize) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", HeaderValue::from_static("bench/1.0"));
        headers.insert("accept", HeaderValue::from_static("application/json"));
        headers.insert("x-note", HeaderValue::from_static("__the_token__"));
        let below = if number.is_multiple_of(3) { "api." } else { "" };
        Self {
            authority: Authority::parse(&format!("{below}h{number}.example.com:443")).unwrap(),
            target: RequestTarget::parse(&format!("/v{number}/things?page=2")).unwrap(),
            headers,
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            scheme: Scheme::Https,
            authority: &self.authority,
            target: &self.target,
            agent: None,
            headers: &self.headers,
        }
    }
}

/// The token is checked again and the rules decide: what each request pays.
#[divan::bench(args = [1, 200])]
fn decide(bencher: Bencher<'_, '_>, rules: usize) {
    let (broker, _, principal) = broker(rules);
    let request = Request::for_rule(rules - 1);
    bencher.bench_local(|| {
        let admission = broker.admit(black_box(&principal), NOW).unwrap();
        admission.decide(&request.facts())
    });
}

/// What the rule grants is put on: the values are open already, as they are after the first request.
#[divan::bench]
fn inject(bencher: Bencher<'_, '_>) {
    let (broker, _, principal) = broker(1);
    let request = Request::for_rule(0);
    let admission = broker.admit(&principal, NOW).unwrap();
    let Verdict::Inject(permit) = admission.decide(&request.facts()) else {
        unreachable!("the rule is for this request");
    };
    bencher
        .with_inputs(|| request.headers.clone())
        .bench_local_values(|mut headers| {
            let grant = permit.grant().unwrap();
            let target = permit
                .rule()
                .rewrite_target(&request.target, grant.as_ref())
                .unwrap();
            permit
                .rule()
                .rewrite_headers(&mut headers, grant.as_ref())
                .unwrap();
            for (name, value) in grant.headers() {
                headers.insert(name.clone(), value.clone());
            }
            (target, headers)
        });
}

fn chunk(with_secret: bool) -> Bytes {
    let mut text: Vec<u8> = (0..64 * 1024_u32)
        .map(|at| b'a' + (at % 23) as u8)
        .collect();
    if with_secret {
        text[30_000..30_000 + SECRET.len()].copy_from_slice(SECRET);
    }
    text.into()
}

/// 64 KiB of an answer, with and without something to mask.
#[divan::bench(args = [false, true])]
fn scrub(bencher: Bencher<'_, '_>, hit: bool) {
    let secret = Secret {
        value: SECRET,
        label: Label::new(None, "TOKEN"),
    };
    let scrubber = Scrubber::new(&[secret]).unwrap().unwrap();
    let chunk = chunk(hit);
    bencher
        .counter(divan::counter::BytesCount::new(chunk.len()))
        .bench_local(|| {
            scrubber
                .search()
                .stream(Fit::Same)
                .push(black_box(chunk.clone()))
        });
}

/// A certificate for a host that has none yet.
#[divan::bench]
fn leaf_issue(bencher: Bencher<'_, '_>) {
    let (root, _) = RootCa::generate(NOW).unwrap();
    let issuer = LeafIssuer::new(root).unwrap();
    let number = AtomicU64::new(0);
    bencher.bench_local(|| {
        let host = format!("h{}.example.com", number.fetch_add(1, Ordering::Relaxed));
        issuer.server_config(&host, NOW).unwrap()
    });
}

/// A vault changes: its rules are compiled and the snapshot is exchanged.
#[divan::bench(args = [1, 200])]
fn snapshot_swap(bencher: Bencher<'_, '_>, rules: usize) {
    let (broker, keyring, _) = broker(rules);
    bencher
        .with_inputs(|| vault(&keyring, rules))
        .bench_local_values(|record| broker.put_vault(record));
}
