//! A temporary instance with one of each principal, and a way to call it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use agent_vault_api::{ApiState, OwnTls, RateLimits, ServerInfo, router};
use agent_vault_control::{
    Clock, Control, ControlOptions, LimitLayer, LimitSources, Mail, MailError, Mailer, Profile,
    Sending,
};
use agent_vault_seal::{Keyring, PasswordHash, Token, TokenKind, public_id};
use agent_vault_store::{
    ActorRef, AuditEntry, AuditRecord, DEFAULT_VAULT_ID, Grant, InstanceRole, OpenOptions, Session,
    SessionKind, Store, User, VaultRole,
};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use uuid::Uuid;

pub(crate) const LOOPBACK: &str = "127.0.0.1:40000";
pub(crate) const ELSEWHERE: &str = "203.0.113.9:40000";

pub(crate) struct World {
    pub(crate) control: Control,
    pub(crate) store: Store,
    pub(crate) router: Router,
    pub(crate) info: ServerInfo,
    pub(crate) local_token: String,
    now: Arc<Mutex<Timestamp>>,
    _folder: tempfile::TempDir,
}

/// One token of each kind of principal, all about the vault `default`.
pub(crate) struct Cast {
    /// Instance owner, admin of `default`.
    pub(crate) owner: String,
    /// Instance owner without a grant on `default`.
    pub(crate) outsider_owner: String,
    /// Instance member without grants.
    pub(crate) outsider: String,
    /// Instance member, vault member of `default`.
    pub(crate) member: String,
    /// No instance role, vault admin of `default`.
    pub(crate) admin: String,
    /// Agent with the vault role `proxy`.
    pub(crate) agent: String,
    /// Agent with the vault role `member`.
    pub(crate) agent_member: String,
    /// Scoped session of `default`.
    pub(crate) scoped: String,
}

impl World {
    /// An instance without an owner and without limits.
    pub(crate) async fn empty() -> Self {
        Self::with(RateLimits::off(), |_| {}).await
    }

    pub(crate) async fn with(limits: RateLimits, shape: impl FnOnce(&mut ServerInfo)) -> Self {
        Self::build(Some(limits), None, no_limits(), shape).await
    }

    /// An instance with one of each principal, and a mailbox that catches its mail.
    pub(crate) async fn with_mail() -> (Self, Cast, Arc<Mailbox>) {
        let mailbox = Arc::new(Mailbox::default());
        let mailer = Arc::clone(&mailbox) as Arc<dyn Mailer>;
        let world = Self::build(Some(RateLimits::off()), Some(mailer), no_limits(), |_| {}).await;
        let cast = world.people().await;
        (world, cast, mailbox)
    }

    /// An instance that follows its stored limits.
    pub(crate) async fn live(sources: LimitSources) -> (Self, Cast) {
        let world = Self::build(None, None, sources, |_| {}).await;
        let cast = world.people().await;
        (world, cast)
    }

    async fn build(
        limits: Option<RateLimits>,
        mailer: Option<Arc<dyn Mailer>>,
        sources: LimitSources,
        shape: impl FnOnce(&mut ServerInfo),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let start: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let store = Store::open(folder.path(), OpenOptions { now: start })
            .await
            .unwrap();
        let now = Arc::new(Mutex::new(start));
        let shown = Arc::clone(&now);
        let control = Control::open(
            store.clone(),
            Arc::new(Keyring::generate().unwrap()),
            Clock::new(move || *shown.lock().unwrap()),
            ControlOptions {
                limits: sources,
                mailer,
                retention: agent_vault_control::RetentionKnobs::default(),
                dev_mode: false,
                unmatched: agent_vault_control::UnmatchedPolicy::Passthrough,
            },
        )
        .await
        .unwrap();
        let mut info = ServerInfo {
            version: "0.0.0-test".to_owned(),
            base_url: "http://127.0.0.1:14321".to_owned(),
            base_url_is_explicit: false,
            proxy_port: 14322,
            proxy_listening: Arc::new(AtomicBool::new(true)),
            own_tls: OwnTls::Optional,
            ca_pem: Arc::from("-----BEGIN CERTIFICATE-----\n"),
            flush_logs: None,
            trusted_proxies: Vec::new(),
            allow_remote_setup: false,
            closing: CancellationToken::new(),
            metrics: Some(Arc::new(|| Box::pin(async { "# EOF\n".to_owned() }))),
            metrics_token: None,
            tasks: TaskTracker::new(),
        };
        shape(&mut info);
        let local = Token::generate(TokenKind::Agent).unwrap();
        let state = match &limits {
            Some(limits) => {
                ApiState::with_local_operator(control.clone(), info.clone(), limits, &local)
            }
            None => ApiState::new(control.clone(), info.clone()),
        };
        Self {
            router: router(state),
            control,
            store,
            info,
            local_token: local.expose().to_owned(),
            now,
            _folder: folder,
        }
    }

    /// An instance with one of each principal.
    pub(crate) async fn cast() -> (Self, Cast) {
        let world = Self::empty().await;
        let cast = world.people().await;
        (world, cast)
    }

    pub(crate) async fn people(&self) -> Cast {
        let owner = self
            .user("owner@x.io", InstanceRole::Owner, Some(VaultRole::Admin))
            .await;
        let outsider_owner = self
            .user("other-owner@x.io", InstanceRole::Owner, None)
            .await;
        let outsider = self.user("outsider@x.io", InstanceRole::Member, None).await;
        let member = self
            .user("member@x.io", InstanceRole::Member, Some(VaultRole::Member))
            .await;
        let admin = self
            .user("admin@x.io", InstanceRole::NoAccess, Some(VaultRole::Admin))
            .await;
        let agent = self.agent(&owner, "bot", "proxy").await;
        let agent_member = self.agent(&owner, "bot-member", "member").await;
        let minted = self
            .post("/v1/sessions", json!({"vault": "default", "label": "cast"}))
            .token(&owner)
            .send()
            .await;
        let scoped = minted.expect(StatusCode::OK)["token"]
            .as_str()
            .unwrap()
            .to_owned();
        Cast {
            owner,
            outsider_owner,
            outsider,
            member,
            admin,
            agent,
            agent_member,
            scoped,
        }
    }

    /// A second vault, `work`, where everybody has the role that they have in `default`; and a token of it.
    pub(crate) async fn work(&self, cast: &Cast) -> String {
        let local = self.local_token.clone();
        let created = self
            .post("/v1/vaults", json!({"name": "work"}))
            .token(&local)
            .in_process()
            .send()
            .await;
        let id =
            Uuid::parse_str(created.expect(StatusCode::CREATED)["id"].as_str().unwrap()).unwrap();
        let mut tx = self.store.begin().await.unwrap();
        for grant in tx.grants_of_vault(DEFAULT_VAULT_ID).await.unwrap() {
            tx.put_grant(&Grant {
                vault_id: id,
                ..grant
            })
            .await
            .unwrap();
        }
        tx.commit(&AuditEntry::system("test.work", "vault:work", self.now()))
            .await
            .unwrap();
        self.control.refresh().await.unwrap();
        let minted = self
            .post("/v1/sessions", json!({"vault": "work"}))
            .token(&cast.owner)
            .send()
            .await;
        minted.expect(StatusCode::OK)["token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// A person with a login, put straight into the database: no password is hashed.
    pub(crate) async fn user(
        &self,
        email: &str,
        role: InstanceRole,
        vault: Option<VaultRole>,
    ) -> String {
        let now = self.now();
        let user = User {
            id: Uuid::new_v4(),
            email: email.to_owned(),
            password: PasswordHash {
                hash: vec![0; 32],
                salt: vec![0; 16],
                time: 3,
                memory: 65_536,
                threads: 4,
            },
            role,
            is_active: true,
            created_at: now,
            updated_at: now,
        };
        let token = Token::generate(TokenKind::UserSession).unwrap();
        let mut tx = self.store.begin().await.unwrap();
        tx.insert_user(&user).await.unwrap();
        if let Some(role) = vault {
            let grant = Grant {
                actor: ActorRef::user(user.id),
                vault_id: DEFAULT_VAULT_ID,
                role,
                created_at: now,
            };
            tx.put_grant(&grant).await.unwrap();
        }
        tx.insert_session(&Session {
            hash: token.hash(),
            kind: SessionKind::User,
            public_id: public_id().unwrap(),
            user_id: Some(user.id),
            agent_id: None,
            vault_id: None,
            vault_role: None,
            label: String::new(),
            device_label: "laptop".to_owned(),
            expires_at: Some(now + SignedDuration::from_hours(365 * 24)),
            idle_ttl_seconds: Some(30 * 24 * 3600),
            created_at: now,
            last_used_at: Some(now),
            last_ip: String::new(),
            last_user_agent: String::new(),
            created_by: None,
            services: None,
            budget: None,
            budget_spent: 0,
            sources: Vec::new(),
        })
        .await
        .unwrap();
        tx.commit(&AuditEntry::system("test.user", email, now))
            .await
            .unwrap();
        self.control.refresh().await.unwrap();
        token.expose().to_owned()
    }

    /// An agent with a grant on `default`, made through the API.
    pub(crate) async fn agent(&self, by: &str, name: &str, vault_role: &str) -> String {
        let body =
            json!({"name": name, "vaults": [{"vault_name": "default", "vault_role": vault_role}]});
        let created = self.post("/v1/agents", body).token(by).send().await;
        created.expect(StatusCode::CREATED)["av_agent_token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(crate) fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    pub(crate) fn advance(&self, by: SignedDuration) {
        let mut now = self.now.lock().unwrap();
        *now += by;
    }

    pub(crate) async fn audit(&self) -> Vec<AuditRecord> {
        self.store.audit_page(None, 500).await.unwrap()
    }

    /// The newest audit record.
    pub(crate) async fn last_audit(&self) -> AuditRecord {
        self.audit().await.remove(0)
    }

    /// Whether a token opens a vault at the proxy now.
    pub(crate) fn proxies(&self, token: &str, vault: &str) -> bool {
        let broker = self.control.broker();
        broker
            .authenticate(token, Some(vault), self.now())
            .and_then(|principal| broker.admit(&principal, self.now()))
            .is_ok()
    }

    pub(crate) fn proxy_off(&self) {
        self.info.proxy_listening.store(false, Ordering::Release);
    }

    pub(crate) fn get(&self, path: &str) -> Call<'_> {
        self.call(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Call<'_> {
        self.call(Method::POST, path).json(body)
    }

    pub(crate) fn delete(&self, path: &str) -> Call<'_> {
        self.call(Method::DELETE, path)
    }

    /// A GET as HTTP/2 has it: the target may hold the authority, and there may be no `Host`.
    pub(crate) fn http2(&self, target: &str, host: Option<&str>) -> Call<'_> {
        let mut call = self.get(target);
        call.request = call.request.version(http::Version::HTTP_2);
        match (host, call.request.headers_mut()) {
            (Some(host), _) => call.header("Host", host),
            (None, Some(headers)) => {
                headers.remove("host");
                call
            }
            (None, None) => call,
        }
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> Call<'_> {
        Call {
            world: self,
            request: Request::builder()
                .method(method)
                .uri(path)
                .header("Host", "127.0.0.1:14321"),
            body: Body::empty(),
            peer: Some(LOOPBACK.parse().unwrap()),
        }
    }
}

pub(crate) struct Call<'w> {
    world: &'w World,
    request: http::request::Builder,
    body: Body,
    peer: Option<SocketAddr>,
}

impl Call<'_> {
    pub(crate) fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        if let Some(headers) = self.request.headers_mut() {
            let name: http::HeaderName = name.parse().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
        self
    }

    /// Beside what is there under that name.
    pub(crate) fn another_header(mut self, name: &str, value: &str) -> Self {
        if let Some(headers) = self.request.headers_mut() {
            let name: http::HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        self
    }

    pub(crate) fn json(self, body: Value) -> Self {
        self.raw(body.to_string())
            .header("Content-Type", "application/json")
    }

    pub(crate) fn raw(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self.header("Content-Length", "1")
    }

    pub(crate) fn peer(mut self, peer: &str) -> Self {
        self.peer = Some(peer.parse().unwrap());
        self
    }

    pub(crate) fn in_process(mut self) -> Self {
        self.peer = None;
        self
    }

    /// Sends, and leaves the body to be read.
    pub(crate) async fn open(self) -> http::Response<Body> {
        let mut request = self.request.body(self.body).unwrap();
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        self.world.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn send(self) -> Reply {
        let (parts, body) = self.open().await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&body).into_owned(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// The body, after checking the status.
    #[track_caller]
    pub(crate) fn expect(&self, status: StatusCode) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }

    /// The error text, after checking the status.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Nothing is limited, so that tests do not wait for each other.
fn no_limits() -> LimitSources {
    LimitSources {
        env: LimitLayer {
            profile: Some(Profile::Off),
            ..LimitLayer::default()
        },
        lock: false,
    }
}

/// Catches mail, or refuses it.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    letters: Mutex<Vec<Letter>>,
    pub(crate) broken: AtomicBool,
}

#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) to: String,
    pub(crate) subject: String,
    pub(crate) text: String,
}

impl Letter {
    /// The line that is a code.
    pub(crate) fn code(&self) -> String {
        let code = self
            .text
            .lines()
            .map(str::trim)
            .find(|line| line.len() == 6);
        code.unwrap().to_owned()
    }
}

impl Mailbox {
    pub(crate) fn letters(&self) -> Vec<Letter> {
        self.letters.lock().unwrap().clone()
    }
}

impl Mailer for Mailbox {
    fn send(&self, mail: Mail) -> Sending<'_> {
        let sent = if self.broken.load(Ordering::Acquire) {
            Err(MailError("the mail server is on fire".to_owned()))
        } else {
            self.letters.lock().unwrap().push(Letter {
                to: mail.to,
                subject: mail.subject,
                text: mail.text.to_string(),
            });
            Ok(())
        };
        Box::pin(std::future::ready(sent))
    }
}
