//! An Infisical on loopback: login, secrets, dynamic secrets and their leases, and a switch for every way in which one misbehaves.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::PATIENCE;
use crate::canary::Canary;
use crate::upstream::{Alpn, ByteStream, Upstream, UpstreamBuilder};

/// How it answers to everything but logins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoreMode {
    /// As it should.
    #[default]
    Good,
    /// This status, with a body that repeats the request's token.
    Status(u16),
    /// A redirect to this URL.
    Redirect(String),
    /// A body without end.
    Giant,
    /// Nothing, ever.
    Hang,
    /// Values that are hidden.
    Hidden,
}

/// A lease that was made.
#[derive(Clone, Debug)]
pub struct MadeLease {
    /// Its id.
    pub id: String,
    /// The dynamic secret.
    pub secret: String,
    /// The password in it.
    pub password: String,
    /// How often it was renewed.
    pub renewals: u32,
    /// Whether it was given back.
    pub revoked: bool,
}

struct Inner {
    mode: StoreMode,
    refuses_login: bool,
    refuses_leases: bool,
    secrets: BTreeMap<String, String>,
    dynamic: Vec<String>,
    lease_life: Duration,
    leases: Vec<MadeLease>,
    tokens: Vec<String>,
    logins: Vec<Value>,
    calls: HashMap<String, u32>,
}

/// A store. Ends when it is dropped.
pub struct InfisicalStore {
    upstream: Upstream,
    shared: Arc<Mutex<Inner>>,
}

impl InfisicalStore {
    /// The client secret that it takes.
    pub const CLIENT_SECRET: &str = "universal-secret-canary-51b7";
    /// The only project that it has.
    pub const PROJECT: &str = "project-1";

    /// Starts one over TLS, on `localhost`.
    #[must_use]
    pub fn start() -> Self {
        Self::on(Upstream::builder())
    }

    /// Starts one as `builder` describes its listener.
    #[must_use]
    pub fn on(builder: UpstreamBuilder) -> Self {
        let shared = Arc::new(Mutex::new(Inner {
            mode: StoreMode::Good,
            refuses_login: false,
            refuses_leases: false,
            secrets: BTreeMap::new(),
            dynamic: Vec::new(),
            lease_life: Duration::from_secs(3600),
            leases: Vec::new(),
            tokens: Vec::new(),
            logins: Vec::new(),
            calls: HashMap::new(),
        }));
        let serving = Arc::clone(&shared);
        let upstream = builder
            .alpn(Alpn::H1Only)
            .raw(move |stream| serve(Arc::clone(&serving), stream))
            .start();
        Self { upstream, shared }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        self.upstream.url("")
    }

    /// The listener.
    #[must_use]
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// What it does from now on.
    pub fn set_mode(&self, mode: StoreMode) {
        self.lock().mode = mode;
    }

    /// Whether it refuses logins.
    pub fn set_refuses_login(&self, refuses: bool) {
        self.lock().refuses_login = refuses;
    }

    /// Whether it refuses to make secrets.
    pub fn set_refuses_leases(&self, refuses: bool) {
        self.lock().refuses_leases = refuses;
    }

    /// Sets a secret.
    pub fn set(&self, name: &str, value: &str) {
        self.lock()
            .secrets
            .insert(name.to_owned(), value.to_owned());
    }

    /// Removes a secret.
    pub fn unset(&self, name: &str) {
        self.lock().secrets.remove(name);
    }

    /// The secrets that it makes on demand.
    pub fn set_dynamic(&self, names: &[&str]) {
        self.lock().dynamic = names.iter().map(|name| (*name).to_owned()).collect();
    }

    /// The life of leases from now on, also of renewed ones.
    pub fn set_lease_life(&self, life: Duration) {
        self.lock().lease_life = life;
    }

    /// Takes no token any more that it has given.
    pub fn forget_tokens(&self) {
        self.lock().tokens.clear();
    }

    /// The leases that were made so far.
    #[must_use]
    pub fn leases(&self) -> Vec<MadeLease> {
        self.lock().leases.clone()
    }

    /// The bodies of logins so far.
    #[must_use]
    pub fn logins(&self) -> Vec<Value> {
        self.lock().logins.clone()
    }

    /// How often a route was asked, as `GET /api/v3/secrets/raw`.
    #[must_use]
    pub fn calls(&self, route: &str) -> u32 {
        self.lock().calls.get(route).copied().unwrap_or_default()
    }

    /// Waits until `found` says so, looking again and again.
    ///
    /// # Panics
    /// When it does not within the patience of a test.
    pub fn wait_until(&self, what: &str, found: impl Fn(&Self) -> bool) {
        let end = std::time::Instant::now() + PATIENCE;
        while !found(self) {
            assert!(std::time::Instant::now() < end, "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for InfisicalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InfisicalStore").finish_non_exhaustive()
    }
}

async fn serve(shared: Arc<Mutex<Inner>>, stream: Box<dyn ByteStream>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
    // The peer may go at any time.
    drop(served);
}

type Reply = Response<Full<Bytes>>;

fn reply(status: u16, body: &Value) -> Reply {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .expect("a reply")
}

async fn answer(shared: &Mutex<Inner>, request: Request<hyper::body::Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let path = head.uri.path().to_owned();
    let token = head
        .headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default()
        .to_owned();
    let mode = {
        let mut inner = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let route = format!("{} {path}", head.method);
        *inner.calls.entry(route).or_default() += 1;
        if path.starts_with("/api/v1/auth/") {
            return login(&mut inner, &path, body);
        }
        inner.mode.clone()
    };
    match mode {
        StoreMode::Good | StoreMode::Hidden => {}
        StoreMode::Status(status) => return reply(status, &json!({"message": token})),
        StoreMode::Redirect(to) => {
            return Response::builder()
                .status(307)
                .header("location", to)
                .body(Full::default())
                .expect("a reply");
        }
        StoreMode::Giant => {
            return Response::builder()
                .body(Full::new(Bytes::from(vec![b' '; 40 << 20])))
                .expect("a reply");
        }
        StoreMode::Hang => return std::future::pending().await,
    }
    let mut inner = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if !inner.tokens.contains(&token) {
        return reply(401, &json!({"message": "no"}));
    }
    let query = head.uri.query().unwrap_or_default();
    data(
        &mut inner,
        &head.method,
        &path,
        query,
        &body,
        mode == StoreMode::Hidden,
    )
}

fn field<'v>(body: &'v Value, name: &str) -> &'v Value {
    body.get(name).unwrap_or(&Value::Null)
}

fn login(inner: &mut Inner, path: &str, body: Value) -> Reply {
    let renewal = path.ends_with("/token/renew");
    let known = match path {
        "/api/v1/auth/universal-auth/login" => {
            field(&body, "clientSecret").as_str() == Some(InfisicalStore::CLIENT_SECRET)
        }
        "/api/v1/auth/token/renew" => {
            let token = field(&body, "accessToken").as_str().unwrap_or_default();
            inner.tokens.iter().any(|known| known == token)
        }
        _ => true,
    };
    if !renewal {
        inner.logins.push(body);
    }
    if inner.refuses_login || !known {
        return reply(401, &json!({"message": "Invalid credentials"}));
    }
    let token = Canary::new("ist-").expose().to_owned();
    inner.tokens.push(token.clone());
    reply(
        200,
        &json!({"accessToken": token, "expiresIn": 7200, "accessTokenMaxTTL": 86400, "tokenType": "Bearer"}),
    )
}

fn data(
    inner: &mut Inner,
    method: &Method,
    path: &str,
    query: &str,
    body: &Value,
    hidden: bool,
) -> Reply {
    let absent = || reply(404, &json!({"message": "not found"}));
    let end = |life: Duration| {
        let life = SignedDuration::try_from(life).expect("a life");
        (Timestamp::now() + life).to_string()
    };
    let lease_path = path.strip_prefix("/api/v1/dynamic-secrets/leases/");
    match (method.as_str(), path) {
        ("GET", "/api/v3/secrets/raw") => {
            if !query.contains(&format!("workspaceId={}", InfisicalStore::PROJECT)) {
                return absent();
            }
            let secrets: Vec<Value> = inner
                .secrets
                .iter()
                .map(|(name, value)| {
                    json!({"secretKey": name, "secretValue": value, "secretValueHidden": hidden, "version": 1})
                })
                .collect();
            reply(200, &json!({"secrets": secrets, "imports": []}))
        }
        ("GET", "/api/v1/workspace/project-1") => reply(
            200,
            &json!({"workspace": {"id": "project-1", "slug": "the-slug"}}),
        ),
        ("GET", "/api/v1/dynamic-secrets") => {
            let found: Vec<Value> = inner
                .dynamic
                .iter()
                .map(|name| json!({"id": name, "name": name, "type": "sql-database"}))
                .collect();
            reply(200, &json!({"dynamicSecrets": found}))
        }
        ("POST", "/api/v1/dynamic-secrets/leases") => {
            let name = field(body, "dynamicSecretName")
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if inner.refuses_leases {
                return reply(403, &json!({"message": "PermissionDenied"}));
            }
            if !inner.dynamic.contains(&name)
                || field(body, "projectSlug").as_str() != Some("the-slug")
            {
                return absent();
            }
            let id = format!("lease-{}", inner.leases.len() + 1);
            let password = Canary::new("leased-").expose().to_owned();
            inner.leases.push(MadeLease {
                id: id.clone(),
                secret: name,
                password: password.clone(),
                renewals: 0,
                revoked: false,
            });
            let life = inner.lease_life;
            reply(
                200,
                &json!({"lease": {"id": id, "expireAt": end(life)}, "data": {"DB_USERNAME": "user", "DB_PASSWORD": password, "PORT": 5432.0}}),
            )
        }
        ("POST", _) => {
            let id = lease_path.and_then(|rest| rest.strip_suffix("/renew"));
            let life = inner.lease_life;
            let found = inner
                .leases
                .iter_mut()
                .find(|lease| Some(lease.id.as_str()) == id && !lease.revoked);
            match found {
                None => absent(),
                Some(lease) => {
                    lease.renewals += 1;
                    reply(
                        200,
                        &json!({"lease": {"id": lease.id, "expireAt": end(life)}}),
                    )
                }
            }
        }
        ("DELETE", _) => {
            let found = inner
                .leases
                .iter_mut()
                .find(|lease| Some(lease.id.as_str()) == lease_path && !lease.revoked);
            match found {
                None => absent(),
                Some(lease) => {
                    lease.revoked = true;
                    reply(200, &json!({"lease": {"id": lease.id}}))
                }
            }
        }
        _ => absent(),
    }
}
