//! A stage: the proxy with everything behind it, an agent's side, and what the log was told.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_vault_broker::{
    Actor, ActorKind, AgentRecord, Broker, BrokerOptions, Image, LimitSettings, SealedCredential,
    SessionKind, SessionRecord, TokenBounds, VaultRecord, VaultRole, credential_context,
};
use agent_vault_ca::{LeafIssuer, OwnIdentity, RootCa};
use agent_vault_policy::{
    CredentialKey, EgressPolicy, Host, Service, ServiceDraft, UnmatchedPolicy, ValidationOptions,
};
use agent_vault_proxy::{Journal, LogRecord, LogSink, Proxy, ProxyOptions};
use agent_vault_seal::{Keyring, Token, TokenKind};
use agent_vault_testing::client::{self, Answer, Http, RequestBody};
use agent_vault_testing::{Alpn, BoxError, FakeClock, Upstream, UpstreamBuilder, within};
use agent_vault_upstream::{
    Dialer, DialerOptions, ExtraRoots, Limits, ResolveError, Resolver, Resolving, Trust,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version};
use hyper::body::Incoming;
use rustls::ClientConfig;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// The host that every upstream answers for.
pub(crate) const HOST: &str = "api.example.test";

/// What the proxy itself is called.
pub(crate) const PROXY_NAME: &str = "vault.example.test";

/// Names that lead to loopback, and whatever a test scripts beside them.
#[derive(Debug)]
pub(crate) struct Names {
    scripted: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    asked: AtomicUsize,
    held: watch::Sender<bool>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            scripted: Mutex::default(),
            asked: AtomicUsize::new(0),
            held: watch::Sender::new(false),
        }
    }
}

impl Names {
    /// Keeps whoever asks from now on waiting.
    pub(crate) fn hold(&self) {
        self.held.send_replace(true);
    }

    /// Answers those who wait, and all later ones.
    pub(crate) fn release(&self) {
        self.held.send_replace(false);
    }

    /// How often a name was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Gives `host` these answers in turn; the last one is repeated.
    pub(crate) fn script(&self, host: &str, answers: &[&[&str]]) {
        let answers = answers
            .iter()
            .rev()
            .map(|answer| answer.iter().map(|ip| ip.parse().unwrap()).collect())
            .collect();
        self.scripted
            .lock()
            .unwrap()
            .insert(host.to_owned(), answers);
    }
}

impl Resolver for Names {
    fn resolve<'a>(&'a self, host: &'a Host) -> Resolving<'a> {
        let mut scripted = self.scripted.lock().unwrap();
        let answer: Vec<IpAddr> = match scripted.get_mut(host.as_str()) {
            Some(answers) if answers.len() > 1 => answers.pop().unwrap(),
            Some(answers) => answers.last().cloned().unwrap_or_default(),
            None => vec![Ipv4Addr::LOCALHOST.into()],
        };
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut held = self.held.subscribe();
        Box::pin(async move {
            held.wait_for(|held| !held).await.unwrap();
            if answer.is_empty() {
                return Err(ResolveError::new("no such name"));
            }
            Ok(Arc::from(answer))
        })
    }
}

/// What the log was told.
#[derive(Debug, Default)]
pub(crate) struct Records(Mutex<Vec<LogRecord>>);

impl LogSink for Records {
    fn write(
        &self,
        batch: Vec<LogRecord>,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        self.0.lock().unwrap().extend(batch);
        Box::pin(async { Ok(()) })
    }
}

/// Describes a stage.
pub(crate) struct StageBuilder {
    services: Vec<Value>,
    credentials: Vec<(String, String)>,
    placeholders: Vec<(String, String)>,
    unmatched: UnmatchedPolicy,
    roots: Vec<String>,
    limits: LimitSettings,
    max_request_bytes: Option<u64>,
    max_response_bytes: Option<u64>,
    egress: EgressPolicy,
    broken: bool,
    require_tls: bool,
    balancers: Vec<ipnet::IpNet>,
    log_paths: bool,
}

impl StageBuilder {
    pub(crate) fn service(mut self, service: Value) -> Self {
        self.services.push(service);
        self
    }

    /// A rule that puts `Authorization: Bearer <TOKEN>` on everything for [`HOST`].
    pub(crate) fn bearer(self, secret: &str) -> Self {
        self.service(serde_json::json!({
            "name": "bearer", "host": HOST, "require_tls": false,
            "auth": {"type": "bearer", "token": "TOKEN"},
        }))
        .credential("TOKEN", secret)
    }

    pub(crate) fn credential(mut self, key: &str, value: &str) -> Self {
        self.credentials.push((key.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn placeholder(mut self, key: &str, text: &str) -> Self {
        self.placeholders.push((key.to_owned(), text.to_owned()));
        self
    }

    pub(crate) fn deny_unmatched(mut self) -> Self {
        self.unmatched = UnmatchedPolicy::Deny;
        self
    }

    pub(crate) fn broken_rules(mut self) -> Self {
        self.broken = true;
        self
    }

    /// Nothing in clear on the proxy port.
    pub(crate) fn require_tls(mut self) -> Self {
        self.require_tls = true;
        self
    }

    /// Connections from here begin with a header of the PROXY protocol.
    pub(crate) fn balanced_by(mut self, network: &str) -> Self {
        self.balancers.push(network.parse().unwrap());
        self
    }

    pub(crate) fn limits(mut self, rate: Option<(u32, u32)>, concurrency: Option<u32>) -> Self {
        self.limits = LimitSettings {
            rate: rate.map(|(rate, burst)| (rate.try_into().unwrap(), burst.try_into().unwrap())),
            concurrency,
        };
        self
    }

    pub(crate) fn caps(mut self, request: Option<u64>, response: Option<u64>) -> Self {
        self.max_request_bytes = request;
        self.max_response_bytes = response;
        self
    }

    pub(crate) fn without_log_paths(mut self) -> Self {
        self.log_paths = false;
        self
    }

    pub(crate) fn egress(mut self, egress: EgressPolicy) -> Self {
        self.egress = egress;
        self
    }

    pub(crate) fn trusting(self, upstream: &Upstream) -> Self {
        self.trusting_pem(upstream.ca_pem())
    }

    pub(crate) fn trusting_pem(mut self, pem: &str) -> Self {
        self.roots.push(pem.to_owned());
        self
    }

    pub(crate) async fn start(self) -> Stage {
        let keyring = Arc::new(Keyring::generate().unwrap());
        let clock = FakeClock::at(started());
        let broker = Arc::new(Broker::new(
            Arc::clone(&keyring),
            BrokerOptions {
                limits: self.limits,
            },
        ));
        let vault = Uuid::from_u128(1);
        let mut stage = Vault {
            id: vault,
            name: "main".to_owned(),
            services: self.services,
            credentials: self.credentials,
            placeholders: self.placeholders,
            unmatched: self.unmatched,
            broken: self.broken,
        };
        let token = Token::generate(TokenKind::Scoped).unwrap();
        broker.replace_all(Image {
            vaults: vec![stage.record(&keyring)],
            agents: Vec::new(),
            sessions: vec![scoped(&token, vault)],
        });
        stage.services.shrink_to_fit();

        let (root, _) = RootCa::generate(clock.now()).unwrap();
        let ca_pem = root.cert_pem().to_owned();
        let issuer = Arc::new(LeafIssuer::new(root).unwrap());

        let mut roots: Option<ExtraRoots> = None;
        for pem in &self.roots {
            let parsed = ExtraRoots::parse("test", pem).unwrap();
            match &mut roots {
                Some(roots) => roots.extend(parsed),
                None => roots = Some(parsed),
            }
        }
        let roots = roots.unwrap_or_else(|| {
            ExtraRoots::parse("test", &agent_vault_testing::TestCa::new().pem()).unwrap()
        });
        let names = Arc::new(Names::default());
        let dialer = Dialer::new(DialerOptions {
            resolver: Arc::clone(&names) as Arc<dyn Resolver>,
            egress: self.egress,
            trust: Trust::only(&roots).unwrap(),
            proxy: None,
            limits: Limits::default(),
        })
        .unwrap();
        let upstream = Arc::new(agent_vault_upstream::Upstream::new(dialer));

        let tasks = TaskTracker::new();
        let closing = CancellationToken::new();
        let records = Arc::new(Records::default());
        let journal = Journal::start(
            Arc::clone(&records) as Arc<dyn LogSink>,
            &tasks,
            CancellationToken::new(),
        );
        let proxy_clock = clock.clone();
        let own = OwnIdentity::new(Arc::clone(&issuer), [PROXY_NAME], None).unwrap();
        let proxy = Proxy::new(
            Arc::clone(&broker),
            issuer,
            Arc::clone(&upstream),
            journal.clone(),
            ProxyOptions {
                base_url: Some(Arc::from("http://127.0.0.1:14321")),
                max_request_bytes: self.max_request_bytes,
                max_response_bytes: self.max_response_bytes,
                auth_failures: Arc::new(|| Some((50, Duration::from_secs(300)))),
                own_identity: Some(Arc::new(own)),
                require_tls: self.require_tls,
                proxy_protocol_from: self.balancers,
                log_paths: self.log_paths,
                clock: Arc::new(move || proxy_clock.now()),
            },
            closing.clone(),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let serving = tokio::spawn(proxy.serve(listener));
        Stage {
            addr,
            broker,
            keyring,
            clock,
            ca_pem,
            names,
            upstream,
            journal,
            records,
            closing,
            serving: Some(serving),
            token: token.expose().to_owned(),
            vault: stage,
        }
    }
}

/// A vault as records make it.
pub(crate) struct Vault {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) services: Vec<Value>,
    pub(crate) credentials: Vec<(String, String)>,
    pub(crate) placeholders: Vec<(String, String)>,
    pub(crate) unmatched: UnmatchedPolicy,
    pub(crate) broken: bool,
}

impl Vault {
    pub(crate) fn record(&self, keyring: &Keyring) -> VaultRecord {
        let key = |text: &str| CredentialKey::parse(text).unwrap();
        let services = self
            .services
            .iter()
            .map(|service| {
                let draft: ServiceDraft = serde_json::from_value(service.clone()).unwrap();
                Service::from_draft(draft, &ValidationOptions::stored()).unwrap()
            })
            .collect();
        VaultRecord {
            id: self.id,
            name: self.name.clone(),
            services: if self.broken {
                Err("unreadable".to_owned())
            } else {
                Ok(services)
            },
            unmatched: self.unmatched,
            credentials: self
                .credentials
                .iter()
                .map(|(name, value)| {
                    let owner = self.id.to_string();
                    let sealed = keyring
                        .seal(&credential_context(&owner, name, 1), value.as_bytes())
                        .unwrap();
                    (
                        key(name),
                        SealedCredential {
                            sealed,
                            version: 1,
                            expires_at: None,
                            oauth: None,
                        },
                    )
                })
                .collect(),
            placeholders: self
                .placeholders
                .iter()
                .map(|(name, text)| (key(name), text.clone()))
                .collect(),
        }
    }
}

pub(crate) fn scoped(token: &Token, vault: Uuid) -> SessionRecord {
    SessionRecord {
        token: token.hash(),
        public_id: token.hash().to_hex().chars().take(20).collect(),
        expires_at: None,
        label: Some("a test".to_owned()),
        kind: SessionKind::Scoped {
            vault,
            role: VaultRole::Proxy,
            minted_by: Some(Actor {
                kind: ActorKind::User,
                id: Uuid::from_u128(7),
                name: Arc::from("owner@example.test"),
            }),
        },
        bounds: TokenBounds::default(),
    }
}

/// The proxy in place. Dropping it stops it.
pub(crate) struct Stage {
    pub(crate) addr: SocketAddr,
    pub(crate) broker: Arc<Broker>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) clock: FakeClock,
    pub(crate) ca_pem: String,
    pub(crate) names: Arc<Names>,
    pub(crate) upstream: Arc<agent_vault_upstream::Upstream>,
    pub(crate) journal: Journal,
    pub(crate) records: Arc<Records>,
    pub(crate) closing: CancellationToken,
    pub(crate) serving: Option<JoinHandle<()>>,
    pub(crate) token: String,
    pub(crate) vault: Vault,
}

impl Stage {
    pub(crate) fn builder() -> StageBuilder {
        StageBuilder {
            services: Vec::new(),
            credentials: Vec::new(),
            placeholders: Vec::new(),
            unmatched: UnmatchedPolicy::Passthrough,
            roots: Vec::new(),
            limits: LimitSettings {
                rate: None,
                concurrency: None,
            },
            max_request_bytes: None,
            max_response_bytes: None,
            egress: EgressPolicy {
                allow_private: false,
                allow: vec!["127.0.0.1/32".parse().unwrap()],
            },
            broken: false,
            require_tls: false,
            balancers: Vec::new(),
            log_paths: true,
        }
    }

    /// `Proxy-Authorization` of the stage's own token.
    pub(crate) fn auth(&self) -> String {
        basic(&format!("{}:", self.token))
    }

    /// Writes the vault anew after a test has changed it.
    pub(crate) fn publish(&self) {
        self.broker.put_vault(self.vault.record(&self.keyring));
    }

    /// Adds a scoped session for `vault`.
    pub(crate) fn session(&self, vault: Uuid) -> Token {
        let token = Token::generate(TokenKind::Scoped).unwrap();
        self.broker.put_session(scoped(&token, vault));
        token
    }

    /// Adds a scoped session for the stage's vault that is confined.
    pub(crate) fn bounded(&self, bounds: TokenBounds) -> Token {
        let token = Token::generate(TokenKind::Scoped).unwrap();
        self.broker.put_session(SessionRecord {
            bounds,
            ..scoped(&token, self.vault.id)
        });
        token
    }

    /// Adds an agent with these grants.
    pub(crate) fn agent(&self, name: &str, grants: &[Uuid]) -> (Token, AgentRecord) {
        let id = Uuid::new_v4();
        let record = AgentRecord {
            id,
            name: name.to_owned(),
            active: true,
            grants: grants
                .iter()
                .map(|vault| (*vault, VaultRole::Proxy))
                .collect(),
        };
        self.broker.put_agent(record.clone());
        let token = Token::generate(TokenKind::Agent).unwrap();
        self.broker.put_session(SessionRecord {
            token: token.hash(),
            public_id: token.hash().to_hex().chars().take(20).collect(),
            expires_at: None,
            label: None,
            kind: SessionKind::Agent { agent: id },
            bounds: TokenBounds::default(),
        });
        (token, record)
    }

    pub(crate) fn tls(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        Arc::new(agent_vault_testing::pki::client_config(&self.ca_pem, alpn))
    }

    /// A connection to the proxy port.
    pub(crate) async fn dial(&self, door: Door) -> Result<client::Stream, BoxError> {
        let socket = client::dial(self.addr).await?;
        match door {
            Door::Clear => Ok(Box::new(socket)),
            Door::Tls => Ok(
                client::tls(socket, PROXY_NAME, &self.tls(&["h2", "http/1.1"]))
                    .await?
                    .0,
            ),
        }
    }

    /// Everything that was logged, once `count` records are there.
    pub(crate) async fn logged(&self, count: usize) -> Vec<LogRecord> {
        within(&format!("{count} log records"), async {
            loop {
                self.journal.flush().await;
                let records = self.records.0.lock().unwrap().clone();
                if records.len() >= count {
                    return records;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// The first record that `wanted` is true of, once there is one.
    pub(crate) async fn logged_that(&self, wanted: impl Fn(&LogRecord) -> bool) -> LogRecord {
        within("a certain log record", async {
            loop {
                self.journal.flush().await;
                let found = self
                    .records
                    .0
                    .lock()
                    .unwrap()
                    .iter()
                    .find(|r| wanted(r))
                    .cloned();
                if let Some(found) = found {
                    return found;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// The last record, once there are `count`.
    pub(crate) async fn last_logged(&self, count: usize) -> LogRecord {
        self.logged(count).await.pop().unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}

/// Certificates are checked by the system's clock, so the test's own begins where that stands.
fn started() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

pub(crate) fn basic(text: &str) -> String {
    format!("Basic {}", STANDARD.encode(text))
}

/// An agent's TLS inside a tunnel, with nothing spoken in it yet.
pub(crate) async fn inside(stage: &Stage, authority: &str, alpn: &str) -> client::Stream {
    let tasks = agent_vault_testing::tasks::Tasks::new();
    let mut connection = client::ProxyConnection::open(stage.addr, &tasks.spawner())
        .await
        .unwrap();
    let stream = connection
        .connect(authority, Some(&stage.auth()))
        .await
        .unwrap()
        .opened();
    // The upgraded stream needs no driver any more.
    drop(tasks);
    let host = authority.rsplit_once(':').unwrap().0;
    let (stream, is_h2) = client::tls(stream, host, &stage.tls(&[alpn]))
        .await
        .unwrap();
    assert_eq!(is_h2, alpn == "h2");
    stream
}

/// What is spoken to the proxy port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Clear,
    Tls,
}

/// How the agent speaks to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// CONNECT, TLS, HTTP/1.1.
    H1,
    /// CONNECT, TLS, HTTP/2.
    H2,
    /// `GET http://…` on the proxy port.
    Absolute,
    /// CONNECT, then HTTP/1.1 in clear, as `ws://` clients do.
    Clear,
    /// CONNECT, then HTTP/2 with prior knowledge in clear.
    ClearH2,
}

impl Way {
    pub(crate) fn is_h2(self) -> bool {
        matches!(self, Self::H2 | Self::ClearH2)
    }
}

/// What the upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Far {
    H1,
    H2,
    Plain,
}

/// Every path through the proxy.
pub(crate) const PATHS: [(Way, Far); 7] = [
    (Way::H1, Far::H1),
    (Way::H1, Far::H2),
    (Way::H2, Far::H1),
    (Way::H2, Far::H2),
    (Way::Absolute, Far::Plain),
    (Way::Clear, Far::Plain),
    (Way::ClearH2, Far::Plain),
];

impl Far {
    pub(crate) fn builder(self) -> UpstreamBuilder {
        let builder = Upstream::builder().name(HOST).name("other.example.test");
        match self {
            Self::H1 => builder.alpn(Alpn::H1Only),
            Self::H2 => builder.alpn(Alpn::H2Only),
            Self::Plain => builder.plain().alpn(Alpn::H1Only),
        }
    }

    pub(crate) fn start(self) -> Upstream {
        self.builder().start()
    }
}

/// An agent's connection.
pub(crate) struct Agent {
    pub(crate) http: Http,
    pub(crate) way: Way,
    pub(crate) authority: String,
    pub(crate) auth: String,
    _below: agent_vault_testing::tasks::Tasks,
}

impl Agent {
    /// Opens a connection for requests to `authority` with the stage's token.
    pub(crate) async fn open(stage: &Stage, way: Way, authority: &str) -> Self {
        Self::with_auth(stage, way, authority, &stage.auth())
            .await
            .unwrap()
    }

    pub(crate) async fn with_auth(
        stage: &Stage,
        way: Way,
        authority: &str,
        auth: &str,
    ) -> Result<Self, BoxError> {
        Self::by(stage, Door::Clear, way, authority, auth).await
    }

    pub(crate) async fn by(
        stage: &Stage,
        door: Door,
        way: Way,
        authority: &str,
        auth: &str,
    ) -> Result<Self, BoxError> {
        let below = agent_vault_testing::tasks::Tasks::new();
        let http = match way {
            Way::H1 | Way::H2 => {
                let alpn: &[&str] = if way == Way::H2 {
                    &["h2"]
                } else {
                    &["http/1.1"]
                };
                let proxy = stage.dial(door).await?;
                Http::through_stream(proxy, authority, Some(auth), &stage.tls(alpn)).await?
            }
            Way::Absolute => Http::begin(stage.dial(door).await?, false).await?,
            Way::Clear | Way::ClearH2 => {
                let proxy = stage.dial(door).await?;
                let mut connection = client::ProxyConnection::over(proxy, &below.spawner()).await?;
                let stream = connection.connect(authority, Some(auth)).await?.opened();
                Http::begin(stream, way == Way::ClearH2).await?
            }
        };
        assert_eq!(http.is_h2(), way.is_h2());
        Ok(Self {
            http,
            way,
            authority: authority.to_owned(),
            auth: auth.to_owned(),
            _below: below,
        })
    }

    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: RequestBody,
    ) -> Request<RequestBody> {
        let mut builder = Request::builder().method(method);
        builder = match self.way {
            Way::H1 | Way::Clear => builder.uri(path).header("host", &self.authority),
            Way::H2 => builder
                .uri(format!("https://{}{path}", self.authority))
                .version(Version::HTTP_2),
            Way::ClearH2 => builder
                .uri(format!("http://{}{path}", self.authority))
                .version(Version::HTTP_2),
            Way::Absolute => builder
                .uri(format!("http://{}{path}", self.authority))
                .header("host", &self.authority)
                .header("proxy-authorization", &self.auth),
        };
        let mut request = builder.body(body).unwrap();
        for (name, value) in headers {
            request.headers_mut().append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        request
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: RequestBody,
    ) -> Result<Response<Incoming>, BoxError> {
        let request = self.request(method, path, headers, body);
        within("an answer", self.http.send(request)).await
    }

    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: RequestBody,
    ) -> Result<Answer, BoxError> {
        let response = self.send(method, path, headers, body).await?;
        within("a whole answer", Answer::read(response)).await
    }

    pub(crate) async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers, client::empty())
            .await
            .unwrap()
    }
}

/// The JSON body of a refusal of ours, checked for its form.
pub(crate) fn refusal(answer: &Answer) -> Value {
    assert_refusal_headers(&answer.headers);
    let body = answer.json();
    for field in ["error", "message", "hint", "fault", "help"] {
        assert!(
            body.get(field).is_some_and(Value::is_string),
            "{field} in {body}"
        );
    }
    // Only what this version serves is recommended.
    let text = body.to_string();
    assert!(
        text.contains("/discover.") && text.contains("/v1/skills/cli."),
        "{text}"
    );
    for path in text.split("/v1/").skip(1) {
        assert!(
            path.starts_with("skills/cli") || path.starts_with("proposals"),
            "{text}"
        );
    }
    body
}

pub(crate) fn assert_refusal_headers(headers: &HeaderMap) {
    assert_eq!(
        headers.get("x-agent-vault-proxy-error").unwrap(),
        "true",
        "{headers:?}"
    );
    assert_eq!(headers.get("content-type").unwrap(), "application/json");
}
