//! The data plane by itself, in a process of its own: the proxy with one vault in memory and a log that stores nothing.
//!
//! It is what instructions are counted of. They are then those of the request's path, and to build it takes no database.

use std::net::Ipv4Addr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use agent_vault_broker::{
    Broker, BrokerOptions, Image, LimitSettings, SealedCredential, SessionKind, SessionRecord,
    TokenBounds, VaultRecord, VaultRole, credential_context,
};
use agent_vault_ca::{LeafIssuer, RootCa};
use agent_vault_policy::{
    CredentialKey, EgressPolicy, Service, ServiceDraft, UnmatchedPolicy, ValidationOptions,
};
use agent_vault_proxy::{Journal, LogRecord, LogSink, Proxy, ProxyOptions};
use agent_vault_seal::{Keyring, Token, TokenKind};
use agent_vault_upstream::{
    CachingResolver, Dialer, DialerOptions, ExtraRoots, Limits, SystemResolver, Trust, Upstream,
};
use anyhow::Context as _;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::child;

const VAULT: Uuid = Uuid::from_u128(1);

/// Takes records and forgets them.
struct Nowhere;

impl LogSink for Nowhere {
    fn write(
        &self,
        batch: Vec<LogRecord>,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        drop(batch);
        Box::pin(async { Ok(()) })
    }
}

/// Runs it until the parent has gone. Writes the authority's certificate and an agent's token into files.
pub(crate) fn main(
    ca_out: &Path,
    token_out: &Path,
    upstream_ca: &Path,
    authority: &str,
) -> anyhow::Result<()> {
    let keyring = Arc::new(Keyring::generate()?);
    let (broker, token) = broker(&keyring, authority)?;
    let now = Timestamp::now();
    let (root, _) = RootCa::generate(now)?;
    child::write(ca_out, root.cert_pem())?;
    child::write(token_out, token.expose())?;
    let roots = std::fs::read_to_string(upstream_ca).context("the upstream's certificate")?;
    let trust = Trust::only(&ExtraRoots::parse("the upstream's certificate", &roots)?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let entered = runtime.enter();
    let upstream = Upstream::new(Dialer::new(DialerOptions {
        resolver: Arc::new(CachingResolver::new(Arc::new(SystemResolver::new()))),
        egress: EgressPolicy {
            allow_private: false,
            allow: EgressPolicy::parse_allow_list("127.0.0.0/8,::1/128").0,
        },
        trust,
        proxy: None,
        limits: Limits::default(),
    })?);
    let journal = Journal::start(
        Arc::new(Nowhere),
        &TaskTracker::new(),
        CancellationToken::new(),
    );
    let proxy = Proxy::new(
        broker,
        Arc::new(LeafIssuer::new(root)?),
        Arc::new(upstream),
        journal,
        ProxyOptions {
            base_url: None,
            max_request_bytes: None,
            max_response_bytes: None,
            auth_failures: Arc::new(|| None),
            own_identity: None,
            require_tls: false,
            proxy_protocol_from: Vec::new(),
            log_paths: true,
            clock: Arc::new(Timestamp::now),
        },
        CancellationToken::new(),
    );
    drop(entered);
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    child::ready(listener.local_addr()?)?;
    runtime.spawn(proxy.serve(listener));
    child::wait_for_parent()?;
    runtime.shutdown_background();
    Ok(())
}

/// One vault with one bearer service, and one session.
fn broker(keyring: &Arc<Keyring>, authority: &str) -> anyhow::Result<(Arc<Broker>, Token)> {
    let limits = LimitSettings {
        rate: None,
        concurrency: None,
    };
    let broker = Broker::new(Arc::clone(keyring), BrokerOptions { limits });
    let draft: ServiceDraft = serde_json::from_value(serde_json::json!({
        "name": "bench", "host": authority, "auth": {"type": "bearer", "token": "BENCH_TOKEN"},
    }))?;
    let key = CredentialKey::parse("BENCH_TOKEN")?;
    let owner = VAULT.to_string();
    let context = credential_context(&owner, key.as_str(), 1);
    let sealed = keyring.seal(&context, b"bench-credential-0123456789")?;
    let token = Token::generate(TokenKind::Scoped)?;
    broker.replace_all(Image {
        vaults: vec![VaultRecord {
            id: VAULT,
            name: "default".to_owned(),
            services: Ok(vec![Service::from_draft(
                draft,
                &ValidationOptions::stored(),
            )?]),
            unmatched: UnmatchedPolicy::Passthrough,
            credentials: vec![(
                key,
                SealedCredential {
                    sealed,
                    version: 1,
                    expires_at: None,
                    oauth: None,
                },
            )],
            placeholders: Vec::new(),
        }],
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
    Ok((Arc::new(broker), token))
}
