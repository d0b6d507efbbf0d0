//! An OAuth provider on loopback: a page that consents at once, a token endpoint with a switch for every way in which one
//! misbehaves, and an API that takes the access token in force.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::canary::Canary;
use crate::gate::Gate;
use crate::upstream::{Alpn, ByteStream, Upstream, UpstreamBuilder};

/// Largest request that is read, in bytes.
const MAX_REQUEST: usize = 1 << 20;

/// How the token endpoint answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As RFC 6749 has it.
    #[default]
    Good,
    /// Status 200 with an error, and the refresh token in its text.
    ErrorInOk,
    /// Status 200 without an access token.
    NoToken,
    /// The life as a string.
    StringLife,
    /// No life.
    NoLife,
    /// A redirect (307) to this URL.
    Redirect(String),
    /// A body without end.
    Giant,
    /// Nothing, ever.
    Hang,
    /// This status, with text that quotes the request's secrets.
    Status(u16),
    /// Status 400 with this code.
    Refuse(String),
    /// A good answer over HTTP/1.0 without a length.
    Http10,
}

/// One request to the token endpoint.
#[derive(Clone, Debug, Default)]
pub struct TokenRequest {
    /// The fields of the form.
    pub form: HashMap<String, String>,
    /// The `Authorization` field.
    pub authorization: Option<String>,
    /// The `Accept` field.
    pub accept: Option<String>,
}

struct Inner {
    mode: Mode,
    life: u64,
    rotates: bool,
    gives_refresh: bool,
    denies: bool,
    gated: bool,
    codes: HashMap<String, Option<String>>,
    /// Those that the API takes, the newest last.
    access: Vec<String>,
    refresh: Option<String>,
    given: Vec<String>,
    requests: Vec<TokenRequest>,
    consents: Vec<HashMap<String, String>>,
    api: Vec<(String, u16)>,
}

struct Shared {
    inner: Mutex<Inner>,
    gate: Gate,
}

/// A provider, and the API that its tokens open. Ends when it is dropped.
pub struct OAuthProvider {
    upstream: Upstream,
    shared: Arc<Shared>,
}

impl OAuthProvider {
    /// Starts one over TLS, on `localhost`.
    #[must_use]
    pub fn start() -> Self {
        Self::on(Upstream::builder())
    }

    /// Starts one as `builder` describes its listener.
    #[must_use]
    pub fn on(builder: UpstreamBuilder) -> Self {
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                mode: Mode::Good,
                life: 3600,
                rotates: true,
                gives_refresh: true,
                denies: false,
                gated: false,
                codes: HashMap::new(),
                access: Vec::new(),
                refresh: None,
                given: Vec::new(),
                requests: Vec::new(),
                consents: Vec::new(),
                api: Vec::new(),
            }),
            gate: Gate::alone(),
        });
        let serving = Arc::clone(&shared);
        let upstream = builder
            .alpn(Alpn::H1Only)
            .raw(move |stream| serve(Arc::clone(&serving), stream))
            .start();
        Self { upstream, shared }
    }

    /// Where people consent.
    #[must_use]
    pub fn authorization_url(&self) -> String {
        self.upstream.url("/authorize")
    }

    /// Where tokens come from.
    #[must_use]
    pub fn token_url(&self) -> String {
        self.upstream.url("/token")
    }

    /// The listener.
    #[must_use]
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// The client secret that nobody else may see is up to the test; this is what the token endpoint does from now on.
    pub fn set_mode(&self, mode: Mode) {
        self.shared.lock().mode = mode;
    }

    /// The life of tokens from now on, in seconds.
    pub fn set_life(&self, seconds: u64) {
        self.shared.lock().life = seconds;
    }

    /// Whether each refresh gives another refresh token and ends the one before.
    pub fn set_rotates(&self, rotates: bool) {
        self.shared.lock().rotates = rotates;
    }

    /// Whether a consent gives a refresh token.
    pub fn set_gives_refresh(&self, gives: bool) {
        self.shared.lock().gives_refresh = gives;
    }

    /// Whether people say no.
    pub fn set_denies(&self, denies: bool) {
        self.shared.lock().denies = denies;
    }

    /// Lets token requests wait at [`OAuthProvider::gate`].
    pub fn set_gated(&self, gated: bool) {
        self.shared.lock().gated = gated;
    }

    /// Where gated token requests wait.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.shared.gate
    }

    /// Ends every access token before its time: the API refuses them from now on.
    pub fn revoke_access(&self) {
        self.shared.lock().access.clear();
    }

    /// Makes tokens outside of any consent, as if some other client had them. Answers access and refresh token.
    pub fn make_tokens(&self) -> (String, String) {
        let mut inner = self.shared.lock();
        let (access, refresh) = (token("access-"), token("refresh-"));
        inner.access.push(access.clone());
        inner.refresh = Some(refresh.clone());
        inner.given.extend([access.clone(), refresh.clone()]);
        (access, refresh)
    }

    /// The newest access token that the API takes.
    #[must_use]
    pub fn access(&self) -> Option<String> {
        self.shared.lock().access.last().cloned()
    }

    /// The refresh token that is good now.
    #[must_use]
    pub fn refresh(&self) -> Option<String> {
        self.shared.lock().refresh.clone()
    }

    /// Every token that was ever given.
    #[must_use]
    pub fn given(&self) -> Vec<String> {
        self.shared.lock().given.clone()
    }

    /// Requests to the token endpoint so far.
    #[must_use]
    pub fn token_requests(&self) -> Vec<TokenRequest> {
        self.shared.lock().requests.clone()
    }

    /// What people were sent with, so far.
    #[must_use]
    pub fn consents(&self) -> Vec<HashMap<String, String>> {
        self.shared.lock().consents.clone()
    }

    /// The `Authorization` of each API call so far, and the status that it got.
    #[must_use]
    pub fn api_calls(&self) -> Vec<(String, u16)> {
        self.shared.lock().api.clone()
    }
}

impl fmt::Debug for OAuthProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthProvider").finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn token(prefix: &str) -> String {
    Canary::new(prefix).expose().to_owned()
}

struct Message {
    method: String,
    path: String,
    query: String,
    fields: HashMap<String, String>,
    body: Vec<u8>,
}

async fn serve(shared: Arc<Shared>, mut stream: Box<dyn ByteStream>) {
    while let Some(message) = read(&mut stream).await {
        let (answer, goes_on) = match (message.method.as_str(), message.path.as_str()) {
            ("GET", "/authorize") => (authorize(&shared, &message.query), true),
            ("POST", "/token") => match tokens(&shared, &message, &mut stream).await {
                Some(answer) => answer,
                None => return,
            },
            _ => (api(&shared, &message), true),
        };
        if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        if !goes_on {
            // The peer may have gone already.
            stream.shutdown().await.unwrap_or_default();
            return;
        }
    }
}

async fn read(stream: &mut Box<dyn ByteStream>) -> Option<Message> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.ok()?;
        if read == 0 || bytes.len() > MAX_REQUEST {
            return None;
        }
        bytes.extend_from_slice(chunk.get(..read)?);
    };
    let head = String::from_utf8_lossy(bytes.get(..end)?).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let fields: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = fields
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = bytes.split_off(end + 4);
    while body.len() < length.min(MAX_REQUEST) {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.ok()?;
        if read == 0 {
            return None;
        }
        body.extend_from_slice(chunk.get(..read)?);
    }
    Some(Message {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        fields,
        body,
    })
}

fn answer(status: &str, fields: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{fields}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn json_answer(status: &str, body: &serde_json::Value) -> Vec<u8> {
    answer(
        status,
        "content-type: application/json\r\n",
        &body.to_string(),
    )
}

fn authorize(shared: &Shared, query: &str) -> Vec<u8> {
    let asked = form(query.as_bytes());
    let mut inner = shared.lock();
    inner.consents.push(asked.clone());
    let back = asked.get("redirect_uri").cloned().unwrap_or_default();
    let state = asked.get("state").cloned().unwrap_or_default();
    let to = if inner.denies {
        let said = Canary::new("description-");
        format!(
            "{back}?error=access_denied&error_description={}&state={state}",
            said.expose()
        )
    } else {
        let code = token("code-");
        inner
            .codes
            .insert(code.clone(), asked.get("code_challenge").cloned());
        format!("{back}?code={code}&state={state}")
    };
    answer("302 Found", &format!("location: {to}\r\n"), "")
}

async fn tokens(
    shared: &Shared,
    message: &Message,
    stream: &mut Box<dyn ByteStream>,
) -> Option<(Vec<u8>, bool)> {
    let asked = form(&message.body);
    let (mode, gated) = {
        let mut inner = shared.lock();
        inner.requests.push(TokenRequest {
            form: asked.clone(),
            authorization: message.fields.get("authorization").cloned(),
            accept: message.fields.get("accept").cloned(),
        });
        (inner.mode.clone(), inner.gated)
    };
    if gated {
        shared.gate.pass().await;
    }
    let quoted = String::from_utf8_lossy(&message.body).into_owned();
    Some(match mode {
        Mode::Hang => {
            // Until the peer goes.
            let mut nothing = [0; 1];
            while stream.read(&mut nothing).await.is_ok_and(|read| read > 0) {}
            return None;
        }
        Mode::Giant => {
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"x\":\"";
            let chunk = vec![b'x'; 16 * 1024];
            let mut written = stream.write_all(head).await;
            while written.is_ok() {
                written = stream.write_all(&chunk).await;
            }
            return None;
        }
        Mode::Redirect(to) => (
            answer("307 Temporary Redirect", &format!("location: {to}\r\n"), ""),
            true,
        ),
        Mode::Status(status) => (answer(&format!("{status} No"), "", &quoted), true),
        Mode::Refuse(code) => (
            json_answer(
                "400 Bad Request",
                &json!({"error": code, "error_description": quoted}),
            ),
            true,
        ),
        Mode::ErrorInOk => (
            json_answer(
                "200 OK",
                &json!({"error": "bad_refresh_token", "error_description": quoted}),
            ),
            true,
        ),
        Mode::NoToken => (json_answer("200 OK", &json!({"hello": quoted})), true),
        Mode::Good | Mode::StringLife | Mode::NoLife | Mode::Http10 => grant(shared, &asked, &mode),
    })
}

fn grant(shared: &Shared, asked: &HashMap<String, String>, mode: &Mode) -> (Vec<u8>, bool) {
    let mut inner = shared.lock();
    let field = |name: &str| asked.get(name).map(String::as_str).unwrap_or_default();
    let refused = |code: &str| {
        (
            json_answer("400 Bad Request", &json!({"error": code})),
            true,
        )
    };
    match field("grant_type") {
        "authorization_code" => {
            let Some(challenge) = inner.codes.remove(field("code")) else {
                return refused("invalid_grant");
            };
            let verified =
                challenge.is_none_or(|challenge| challenge == s256(field("code_verifier")));
            if !verified {
                return refused("invalid_grant");
            }
            inner.refresh = inner.gives_refresh.then(|| token("refresh-"));
        }
        "refresh_token" => {
            if inner.refresh.as_deref() != Some(field("refresh_token")) {
                return refused("invalid_grant");
            }
            if inner.rotates {
                inner.refresh = Some(token("refresh-"));
            }
        }
        _ => return refused("unsupported_grant_type"),
    }
    let access = token("access-");
    inner.access.push(access.clone());
    let refresh = inner.refresh.clone();
    inner.given.push(access.clone());
    inner.given.extend(refresh.clone());
    let rotated = inner.rotates || field("grant_type") == "authorization_code";
    let mut body = json!({"access_token": access, "token_type": "bearer"});
    if let Some(fields) = body.as_object_mut() {
        if let Some(refresh) = refresh.filter(|_| rotated) {
            fields.insert("refresh_token".to_owned(), refresh.into());
        }
        match mode {
            Mode::NoLife => {}
            Mode::StringLife => {
                fields.insert("expires_in".to_owned(), inner.life.to_string().into());
            }
            _ => {
                fields.insert("expires_in".to_owned(), inner.life.into());
            }
        }
    }
    if *mode == Mode::Http10 {
        let bytes = format!("HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{body}");
        return (bytes.into_bytes(), false);
    }
    (json_answer("200 OK", &body), true)
}

fn api(shared: &Shared, message: &Message) -> Vec<u8> {
    let mut inner = shared.lock();
    let authorization = message
        .fields
        .get("authorization")
        .cloned()
        .unwrap_or_default();
    let good = inner
        .access
        .iter()
        .any(|access| authorization == format!("Bearer {access}"));
    let (status, line) = if good {
        (200, "200 OK")
    } else {
        (401, "401 Unauthorized")
    };
    inner.api.push((authorization, status));
    if message.path.starts_with("/api/") {
        // An API that repeats what it is asked.
        return json_answer(line, &json!({"good": good, "path": message.path}));
    }
    json_answer(line, &json!({"good": good}))
}

fn s256(verifier: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    URL_SAFE_NO_PAD.encode(digest)
}

/// The fields of a form or a query.
#[must_use]
pub fn form(bytes: &[u8]) -> HashMap<String, String> {
    String::from_utf8_lossy(bytes)
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || {
                    rest.next()
                        .and_then(|digit| char::from(digit).to_digit(16))
                        .unwrap_or_default()
                };
                let (high, low) = (digit(), digit());
                u8::try_from(high * 16 + low).unwrap_or_default()
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
