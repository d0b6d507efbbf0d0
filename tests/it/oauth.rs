//! Credentials by OAuth, with the real binary: a consent that a client follows, tokens that are fetched anew, and everything that a
//! provider can get wrong.

use std::net::SocketAddr;
use std::sync::Arc;

use agent_vault_testing::client::{self, Http};
use agent_vault_testing::oauth::{Mode, form};
use agent_vault_testing::{OAuthProvider, pki};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::stage::http::{self, Reply};
use crate::stage::instance::Instance;

const KEY: &str = "PROVIDER";
const SECRET: &str = "client-secret-canary-77aa";

/// A server, a provider with its API, a service for it, and an agent.
struct World {
    provider: OAuthProvider,
    instance: Instance,
    agent: String,
    root: String,
}

impl World {
    fn new() -> Self {
        let provider = OAuthProvider::start();
        let instance = Instance::builder()
            .env("AGENT_VAULT_RATELIMIT_PROFILE", "off")
            .upstream_ca(provider.upstream().ca_pem())
            .start();
        instance.register();
        let world = Self {
            agent: String::new(),
            root: instance.person(&["ca", "fetch"]).succeed().stdout,
            provider,
            instance,
        };
        world.service();
        let agent = world
            .instance
            .person(&["agent", "create", "robot", "--vault", "default:proxy"])
            .args(&["--token-only"])
            .succeed();
        Self {
            agent: agent.stdout.trim().to_owned(),
            ..world
        }
    }

    fn service(&self) {
        let body = json!({"services": [{
            "name": "api",
            "host": self.provider.upstream().authority(),
            "auth": {"type": "bearer", "token": KEY},
        }]});
        let reply = self.call("POST", "/v1/vaults/default/services", &body);
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.instance.api(method, path, &body.to_string())
    }

    fn config(&self) -> Value {
        json!({
            "vault": "default",
            "key": KEY,
            "authorization_url": self.provider.authorization_url(),
            "token_url": self.provider.token_url(),
            "client_id": "client-1",
            "client_secret": SECRET,
            "scopes": "read,write",
            "scope_separator": ",",
        })
    }

    /// Begins a consent; the answer, and the cookie that binds the browser.
    fn begin(&self, config: &Value) -> (Value, String) {
        let reply = self.call("POST", "/v1/credentials/oauth/connect", config);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let cookie = reply.header("set-cookie").expect("a cookie");
        assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
        let cookie = cookie.split(';').next().expect("a pair").to_owned();
        (reply.json(), cookie)
    }

    /// What the provider sends the browser back to.
    fn consent(&self, authorization_url: &str) -> String {
        let pem = self.provider.upstream().ca_pem().to_owned();
        let authority = self.provider.upstream().authority();
        let target = authorization_url
            .split_once(&authority)
            .expect("the provider's page")
            .1
            .to_owned();
        let config = Arc::new(pki::client_config(&pem, &["http/1.1"]));
        let addr = self.provider.upstream().addr();
        let answer = runtime().block_on(async {
            let mut http = Http::straight(addr, "localhost", &config).await?;
            http.get(&authority, &target, &[]).await
        });
        let answer = answer.expect("the provider's answer");
        assert_eq!(answer.status, 302);
        let to = answer.headers["location"].to_str().expect("text");
        to.to_owned()
    }

    /// Comes back as the browser that has `cookie`. Answers where the person ends.
    fn come_back(&self, location: &str, cookie: Option<&str>) -> String {
        let base = self.instance.address();
        let path = location
            .strip_prefix(&base)
            .expect("our callback")
            .to_owned();
        let cookie: Vec<(&str, &str)> = cookie
            .map(|cookie| ("cookie", cookie))
            .into_iter()
            .collect();
        let reply = http::call(self.instance.api_addr(), "GET", &path, &cookie, b"");
        assert_eq!(reply.status, 302, "{}", reply.text());
        let to = reply.header("location").expect("a place to go");
        assert!(
            to.starts_with(&format!("{base}/oauth/complete?status=")),
            "{to}"
        );
        to.to_owned()
    }

    /// A whole consent. Answers where the person ends.
    fn connect(&self, config: &Value) -> String {
        let (started, cookie) = self.begin(config);
        let url = started["authorization_url"].as_str().expect("a URL");
        let back = self.consent(url);
        self.come_back(&back, Some(&cookie))
    }

    fn connected(&self) {
        let end = self.connect(&self.config());
        assert!(end.contains("status=success"), "{end}");
    }

    fn status(&self) -> Value {
        let path = format!("/v1/credentials/oauth/status?vault=default&key={KEY}");
        self.call("GET", &path, &Value::Null).json()
    }

    fn entry(&self) -> Value {
        let list = self
            .call("GET", "/v1/credentials?vault=default", &Value::Null)
            .json();
        list["credentials"][0].clone()
    }

    fn agent(&self) -> Agent {
        Agent {
            proxy: self.instance.proxy_addr(),
            authority: self.provider.upstream().authority(),
            auth: format!(
                "Basic {}",
                STANDARD.encode(format!("{}:default", self.agent))
            ),
            config: Arc::new(pki::client_config(&self.root, &["http/1.1"])),
        }
    }

    /// One request of the agent.
    fn ask(&self) -> client::Answer {
        runtime()
            .block_on(self.agent().get("/api"))
            .expect("an answer")
    }

    /// Insists that no token, nor the client secret, lies in the data folder or the log.
    fn nothing_leaked(&self) {
        let log = self.instance.log();
        let mut secrets = self.provider.given();
        secrets.push(SECRET.to_owned());
        for request in self.provider.token_requests() {
            secrets.extend(request.form.get("code_verifier").cloned());
            secrets.extend(request.form.get("code").cloned());
        }
        let mut files = vec![log.into_bytes()];
        for entry in std::fs::read_dir(self.instance.data_folder()).expect("the folder") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                files.push(std::fs::read(path).expect("a file"));
            }
        }
        for secret in &secrets {
            for file in &files {
                assert!(
                    memchr::memmem::find(file, secret.as_bytes()).is_none(),
                    "a secret in clear: {secret}"
                );
            }
        }
    }
}

#[derive(Clone)]
struct Agent {
    proxy: SocketAddr,
    authority: String,
    auth: String,
    config: Arc<rustls::ClientConfig>,
}

impl Agent {
    async fn get(&self, path: &str) -> Result<client::Answer, agent_vault_testing::BoxError> {
        let mut http =
            Http::through(self.proxy, &self.authority, Some(&self.auth), &self.config).await?;
        http.get(&self.authority, path, &[]).await
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn code(answer: &client::Answer) -> String {
    assert_eq!(answer.status, 502, "{}", answer.text());
    answer.json()["error"].as_str().expect("a code").to_owned()
}

fn query(location: &str) -> std::collections::HashMap<String, String> {
    form(location.split_once('?').expect("a query").1.as_bytes())
}

#[test]
fn m25_m26_c2_a_consent_connects_a_credential_and_until_then_agents_are_told() {
    let world = World::new();
    let (started, cookie) = world.begin(&world.config());
    // There at once, without a value.
    assert_eq!(world.status()["connected"], false);
    assert_eq!(world.entry()["type"], "oauth");
    assert_eq!(world.entry()["client_secret"], "\u{2022}".repeat(8));
    assert!(world.entry().get("access_token").is_none());
    let refused = world.ask();
    assert_eq!(code(&refused), "oauth_not_connected");
    assert_eq!(refused.headers["x-agent-vault-proxy-error"], "true");

    let url = started["authorization_url"].as_str().expect("a URL");
    let back = world.consent(url);
    let asked = world.provider.consents()[0].clone();
    assert_eq!(asked["response_type"], "code");
    assert_eq!(asked["scope"], "read,write");
    assert_eq!(asked["code_challenge_method"], "S256");
    assert!(asked["state"].starts_with("av_oast_"));
    let end = world.come_back(&back, Some(&cookie));
    let said = query(&end);
    assert_eq!(
        (said["status"].as_str(), said["key"].as_str()),
        ("success", KEY)
    );
    let page = http::call(
        world.instance.api_addr(),
        "GET",
        end.strip_prefix(&world.instance.address()).expect("ours"),
        &[],
        b"",
    );
    assert!(page.text().contains("<h1>Connected</h1>") && !page.text().contains("<script"));

    assert_eq!(world.status()["connected"], true);
    let answer = world.ask();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (sent, _) = world.provider.api_calls()[0].clone();
    assert_eq!(
        sent,
        format!("Bearer {}", world.provider.access().expect("a token"))
    );
    let exchange = world.provider.token_requests()[0].clone();
    assert_eq!(exchange.form["grant_type"], "authorization_code");
    assert_eq!(exchange.form["client_secret"], SECRET);
    assert_eq!(exchange.form["code_verifier"].len(), 43);
    assert_eq!(exchange.accept.as_deref(), Some("application/json"));
    world.nothing_leaked();
}

#[test]
fn h13_m32_another_browser_and_a_second_return_get_nothing() {
    let world = World::new();
    let (started, cookie) = world.begin(&world.config());
    let back = world.consent(started["authorization_url"].as_str().expect("a URL"));
    for other in [
        None,
        Some("av_oauth_0000=x"),
        Some(cookie.split_once('=').expect("a pair").0),
    ] {
        let end = world.come_back(&back, other);
        assert!(end.contains("status=error"), "{end}");
        assert!(query(&end)["message"].contains("another browser"), "{end}");
        assert!(!query(&end).contains_key("key"), "{end}");
    }
    assert!(world.provider.token_requests().is_empty());
    // The right one still may, once.
    assert!(
        world
            .come_back(&back, Some(&cookie))
            .contains("status=success")
    );
    let again = world.come_back(&back, Some(&cookie));
    assert!(again.contains("status=error"), "{again}");
    assert_eq!(world.provider.token_requests().len(), 1);
    // Whoever asked and is gone by then connects nothing.
    let (started, cookie) = world.begin(&world.config());
    let back = world.consent(started["authorization_url"].as_str().expect("a URL"));
    let session = world.instance.session();
    let authorization = format!("Bearer {session}");
    http::call(
        world.instance.api_addr(),
        "POST",
        "/v1/auth/logout",
        &[("authorization", &authorization)],
        b"",
    );
    let end = world.come_back(&back, Some(&cookie));
    assert!(query(&end)["message"].contains("not logged in"), "{end}");
    assert_eq!(world.provider.token_requests().len(), 1);
}

#[test]
fn h13_the_start_page_binds_the_browser_that_goes_on_from_it() {
    let world = World::new();
    let (started, first) = world.begin(&world.config());
    let base = world.instance.address();
    let start = started["start_url"].as_str().expect("a URL");
    let path = start.strip_prefix(&base).expect("ours");
    let page = http::call(world.instance.api_addr(), "GET", path, &[], b"").text();
    for part in [KEY, "owner@example.com", "localhost", "method=\"post\""] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let foreign = http::call(
        world.instance.api_addr(),
        "POST",
        path,
        &[
            ("origin", "https://evil.example"),
            ("sec-fetch-site", "cross-site"),
        ],
        b"",
    );
    assert_eq!(foreign.status, 403);
    let gone = http::call(
        world.instance.api_addr(),
        "POST",
        path,
        &[("sec-fetch-site", "same-origin")],
        b"",
    );
    assert_eq!(gone.status, 200, "{}", gone.text());
    let cookie = gone.header("set-cookie").expect("a cookie");
    let cookie = cookie.split(';').next().expect("a pair").to_owned();
    let text = gone.text();
    let url = text.split_once("href=\"").expect("a link").1;
    let url = url
        .split('"')
        .next()
        .expect("its end")
        .replace("&amp;", "&");
    let back = world.consent(&url);
    // The browser that asked is not the one any more.
    assert!(
        world
            .come_back(&back, Some(&first))
            .contains("status=error")
    );
    assert!(
        world
            .come_back(&back, Some(&cookie))
            .contains("status=success")
    );
}

#[test]
fn h13_m8_what_a_provider_says_is_kept_and_shown_nowhere() {
    let world = World::new();
    world.provider.set_denies(true);
    let end = world.connect(&world.config());
    assert!(query(&end)["message"].contains("access_denied"), "{end}");
    assert!(!end.contains("description-"), "{end}");
    assert!(
        world.status()["last_error"]
            .as_str()
            .expect("why")
            .contains("access_denied")
    );
    world.provider.set_denies(false);
    for mode in [
        Mode::Status(400),
        Mode::Status(500),
        Mode::ErrorInOk,
        Mode::NoToken,
        Mode::Giant,
    ] {
        world.provider.set_mode(mode.clone());
        let end = world.connect(&world.config());
        assert!(end.contains("status=error"), "{mode:?}: {end}");
        assert!(!end.contains("client-secret"), "{mode:?}: {end}");
        assert_eq!(world.status()["connected"], false, "{mode:?}");
    }
    world.nothing_leaked();
}

#[test]
fn s20_m31_a_redirect_is_not_followed_with_the_secrets_of_the_form() {
    let world = World::new();
    let other = OAuthProvider::start();
    world.provider.set_mode(Mode::Redirect(other.token_url()));
    let end = world.connect(&world.config());
    assert!(query(&end)["message"].contains("redirect"), "{end}");
    assert!(other.token_requests().is_empty());
    // Without PKCE no verifier goes along; the secret goes where the client says.
    world.provider.set_mode(Mode::Good);
    let mut config = world.config();
    config["disable_pkce"] = json!(true);
    config["token_auth_method"] = json!("client_secret_basic");
    assert!(world.connect(&config).contains("status=success"));
    let request = world.provider.token_requests().pop().expect("a request");
    assert!(!request.form.contains_key("code_verifier"));
    assert!(!request.form.contains_key("client_secret"));
    let basic = format!("Basic {}", STANDARD.encode(format!("client-1:{SECRET}")));
    assert_eq!(request.authorization, Some(basic));
    assert!(
        !world
            .provider
            .consents()
            .pop()
            .expect("a consent")
            .contains_key("code_challenge")
    );
}

#[test]
fn m28_c4_one_refresh_for_fifty_requests_and_the_rotated_token_survives_a_restart() {
    let mut world = World::new();
    world.provider.set_life(1);
    world.connected();
    let first = world.provider.access().expect("a token");
    world.provider.set_life(3600);
    world.provider.set_gated(true);
    let agent = world.agent();
    let runtime = runtime();
    // Until the token has ended by the server's clock: each round is a whole exchange.
    let answers = runtime.block_on(async {
        loop {
            let asking = agent.clone();
            let mut one = Box::pin(async move { asking.get("/api").await });
            tokio::select! {
                answer = &mut one => {
                    assert_eq!(answer.expect("an answer").status, 200);
                }
                () = world.provider.gate().arrived(1) => break,
            }
        }
        let mut many = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let agent = agent.clone();
            many.spawn(async move { agent.get("/api").await });
        }
        // Whoever comes before the gate is open waits for the one refresh.
        world.provider.gate().open();
        let mut answers = Vec::new();
        while let Some(one) = many.join_next().await {
            answers.push(one.expect("a task").expect("an answer"));
        }
        answers
    });
    assert!(answers.iter().all(|answer| answer.status == 200));
    let refreshes: Vec<_> = world
        .provider
        .token_requests()
        .into_iter()
        .filter(|request| request.form["grant_type"] == "refresh_token")
        .collect();
    assert_eq!(refreshes.len(), 1, "one refresh for all");
    assert_eq!(refreshes[0].form["scope"], "read write");
    let second = world.provider.access().expect("a token");
    assert_ne!(first, second);
    assert!(world.status().get("last_error").is_none());
    assert!(world.entry()["last_refreshed_at"].is_string());
    world.nothing_leaked();

    world.instance.kill();
    world.instance.start();
    assert_eq!(world.ask().status, 200);
    world.provider.set_gated(false);
    world.provider.revoke_access();
    // The one token that is left was rotated before the restart.
    let answer = world.ask();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn c1_a_refused_token_is_fetched_anew_once_and_the_answer_stays_whole() {
    let world = World::new();
    world.connected();
    assert_eq!(world.ask().status, 200);
    world.provider.revoke_access();
    assert_eq!(world.ask().status, 200, "the request is sent once more");
    assert_eq!(world.provider.api_calls().len(), 3);
    assert_eq!(world.provider.token_requests().len(), 2);
    // Not again at once, and what the upstream said arrives as it was.
    world.provider.revoke_access();
    for _ in 0..3 {
        let answer = world.ask();
        assert_eq!(answer.status, 401);
        assert_eq!(answer.json(), json!({"good": false}));
    }
    assert_eq!(world.provider.token_requests().len(), 2);
    // A static credential is not a reason to ask anybody.
    let stored = world.call(
        "POST",
        "/v1/credentials",
        &json!({"vault": "default", "credentials": {KEY: "typed-in-value"}}),
    );
    assert_eq!(stored.status, 200);
    let calls = world.provider.api_calls().len();
    assert_eq!(world.ask().status, 401);
    assert_eq!(world.provider.api_calls().len(), calls + 1);
}

#[test]
fn m27_c5_a_permanent_refusal_is_asked_once_and_a_new_consent_mends_it() {
    let world = World::new();
    world.connected();
    world
        .provider
        .set_mode(Mode::Refuse("invalid_grant".to_owned()));
    world.provider.revoke_access();
    let asked = world.provider.token_requests().len();
    for _ in 0..3 {
        // The token has not ended: the upstream's own answer is what the agent gets.
        assert_eq!(world.ask().status, 401);
    }
    assert_eq!(world.provider.token_requests().len(), asked + 1);
    let status = world.status();
    assert_eq!(status["connected"], true);
    assert!(
        status["last_error"]
            .as_str()
            .expect("why")
            .contains("invalid_grant")
    );
    world.provider.set_mode(Mode::Good);
    world.connected();
    assert!(world.status().get("last_error").is_none());
    assert_eq!(world.ask().status, 200);
}

#[test]
fn m26_a_token_that_has_ended_and_cannot_be_fetched_says_so() {
    let world = World::new();
    world.provider.set_life(1);
    world.connected();
    world
        .provider
        .set_mode(Mode::Refuse("invalid_grant".to_owned()));
    let refused = loop {
        let answer = world.ask();
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(code(&refused), "oauth_refresh_failed");
    assert!(
        refused.text().contains("oauth status"),
        "{}",
        refused.text()
    );
    let asked = world.provider.token_requests().len();
    for _ in 0..3 {
        assert_eq!(code(&world.ask()), "oauth_refresh_failed");
    }
    assert_eq!(world.provider.token_requests().len(), asked);
    world.nothing_leaked();
}

#[test]
fn m29_c3_a_refresh_outlives_the_agent_that_caused_it() {
    let world = World::new();
    world.connected();
    world.provider.set_gated(true);
    world.provider.revoke_access();
    let agent = world.agent();
    runtime().block_on(async {
        let asking = Box::pin(async move { agent.get("/api").await });
        tokio::select! {
            _ = asking => panic!("the refresh waits"),
            () = world.provider.gate().arrived(1) => {}
        }
        // The agent is gone now.
    });
    let before = world.provider.refresh();
    world.provider.gate().open();
    // No sleep: each look is a whole request.
    while world.entry().get("last_refreshed_at").is_none() {}
    assert_ne!(world.provider.refresh(), before);
    assert_eq!(world.ask().status, 200);
    assert_eq!(world.provider.token_requests().len(), 2);
}

#[test]
fn m30_lives_as_strings_or_left_out_and_answers_over_http_1_0() {
    for mode in [Mode::StringLife, Mode::NoLife, Mode::Http10] {
        let world = World::new();
        world.provider.set_mode(mode.clone());
        world.connected();
        assert_eq!(world.ask().status, 200, "{mode:?}");
        let ends = world.entry()["token_expires_at"].is_string();
        assert_eq!(ends, mode != Mode::NoLife, "{mode:?}");
        // Without an end, a refused token is still fetched anew.
        world.provider.revoke_access();
        assert_eq!(world.ask().status, 200, "{mode:?}");
    }
}

#[test]
fn m33_h29_what_works_stays_until_a_consent_succeeds() {
    let world = World::new();
    world.connected();
    let other = OAuthProvider::start();
    let mut config = world.config();
    config["token_url"] = json!(other.token_url());
    config["authorization_url"] = json!(other.authorization_url());
    world.begin(&config);
    assert_eq!(world.ask().status, 200);
    let entry = world.entry();
    assert_eq!(entry["token_url"], world.provider.token_url());
    // Again without the secret: it is kept.
    let mut config = world.config();
    config
        .as_object_mut()
        .expect("an object")
        .remove("client_secret");
    assert!(world.connect(&config).contains("status=success"));
    let request = world.provider.token_requests().pop().expect("a request");
    assert_eq!(request.form["client_secret"], SECRET);
    // But it goes to no other URL.
    let mut config = world.config();
    config
        .as_object_mut()
        .expect("an object")
        .remove("client_secret");
    config["token_url"] = json!(format!("{}?tenant=2", world.provider.token_url()));
    assert!(world.connect(&config).contains("status=success"));
    let request = world.provider.token_requests().pop().expect("a request");
    assert!(!request.form.contains_key("client_secret"));
}

#[test]
fn h29_a_value_that_is_typed_in_ends_the_grant_and_a_static_one_stays_until_tokens_come() {
    let world = World::new();
    let set = |value: &str| {
        let body = json!({"vault": "default", "credentials": {KEY: value}});
        assert_eq!(world.call("POST", "/v1/credentials", &body).status, 200);
    };
    set("typed-in-value");
    let (started, cookie) = world.begin(&world.config());
    assert_eq!(world.entry()["type"], "static");
    world.ask();
    assert_eq!(world.provider.api_calls()[0].0, "Bearer typed-in-value");
    let back = world.consent(started["authorization_url"].as_str().expect("a URL"));
    assert!(
        world
            .come_back(&back, Some(&cookie))
            .contains("status=success")
    );
    assert_eq!(world.entry()["type"], "oauth");
    assert_eq!(world.ask().status, 200);
    set("typed-in-again");
    assert_eq!(world.entry()["type"], "static");
    assert!(world.entry().get("token_url").is_none());
    world.ask();
    assert_eq!(
        world.provider.api_calls().pop().expect("a call").0,
        "Bearer typed-in-again"
    );
    assert_eq!(world.provider.token_requests().len(), 1);
}

#[test]
fn h30_tokens_by_hand() {
    let world = World::new();
    let upload = |body: Value| {
        let mut all = json!({"vault": "default", "key": KEY});
        for (name, value) in body.as_object().expect("an object") {
            all[name] = value.clone();
        }
        world.call("POST", "/v1/credentials/oauth/tokens", &all)
    };
    let mask = "\u{2022}".repeat(8);
    for (body, says) in [
        (json!({}), "access_token"),
        (json!({"access_token": ""}), "access_token"),
        (json!({"access_token": mask}), "none stored"),
        (json!({"refresh_token": mask}), "none stored"),
        (json!({"refresh_token": "r"}), "token_url"),
        (
            json!({"refresh_token": "r", "token_url": "ftp://x/"}),
            "token_url",
        ),
        (json!({"access_token": "a b"}), "access_token"),
    ] {
        let reply = upload(body.clone());
        assert_eq!(reply.status, 400, "{body}: {}", reply.text());
        assert!(reply.text().contains(says), "{body}: {}", reply.text());
    }
    let (access, refresh) = world.provider.make_tokens();
    // As it is: nothing is known of its end, and nobody is asked for another.
    let reply = upload(json!({"access_token": access}));
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["connected"], true);
    assert_eq!(reply.json()["refreshable"], false);
    assert_eq!(world.entry()["token_url"], "manual");
    assert_eq!(world.ask().status, 200);
    // One that does not work is refused now.
    let client = json!({"token_url": world.provider.token_url(), "client_id": "client-1", "token_auth_method": "none"});
    let mut bad = client.clone();
    bad["refresh_token"] = json!("not-this-one");
    let reply = upload(bad);
    assert_eq!(reply.status, 400);
    assert!(
        reply
            .text()
            .contains("Refresh token validation failed: the provider refused: invalid_grant"),
        "{}",
        reply.text()
    );
    let mut good = client;
    good["refresh_token"] = json!(refresh);
    let reply = upload(good);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["refreshable"], true);
    assert!(reply.json()["expires_at"].is_string());
    assert_eq!(world.ask().status, 200);
    assert!(
        !world
            .provider
            .token_requests()
            .pop()
            .expect("a request")
            .form
            .contains_key("client_secret")
    );
    // Another token: the end of the one before says nothing of it.
    let reply = upload(
        json!({"access_token": world.provider.access(), "refresh_token": mask, "client_id": "client-2"}),
    );
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(world.entry().get("token_expires_at").is_none());
    assert_eq!(world.entry()["client_id"], "client-2");
    world.provider.revoke_access();
    assert_eq!(world.ask().status, 200);
    assert_eq!(
        world
            .provider
            .token_requests()
            .pop()
            .expect("a request")
            .form["client_id"],
        "client-2"
    );
    world.nothing_leaked();
}

#[test]
fn former_access_tokens_stay_scrubbed_and_the_token_is_not_echoed() {
    let world = World::new();
    world.connected();
    let first = world.provider.access().expect("a token");
    world.provider.revoke_access();
    assert_eq!(world.ask().status, 200);
    let second = world.provider.access().expect("a token");
    let agent = world.agent();
    let answer = runtime()
        .block_on(agent.get(&format!("/api/{first}/{second}")))
        .expect("an answer");
    assert_eq!(answer.status, 200);
    let received = answer.received();
    assert_eq!(received.matches("[redacted:").count(), 2, "{received}");
    assert!(
        !received.contains(&first) && !received.contains(&second),
        "{received}"
    );
}

#[test]
fn a_rotated_data_key_opens_the_grant_and_the_command_line_shows_it() {
    let world = World::new();
    world.connected();
    let reply = world.instance.api("POST", "/v1/instance/keys/rotate", "{}");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let state = || world.instance.api("GET", "/v1/instance/keys", "").json();
    // No sleep: each look is a whole request.
    while state()["rotating"] == true {}
    assert_eq!(state()["remaining"], 0);
    world.provider.revoke_access();
    assert_eq!(world.ask().status, 200);
    assert_eq!(
        world
            .provider
            .token_requests()
            .pop()
            .expect("a request")
            .form["client_secret"],
        SECRET
    );
    let shown = world
        .instance
        .person(&["vault", "credential", "oauth", "status", KEY])
        .succeed();
    assert!(shown.stdout.contains("yes"), "{}", shown.stdout);
}

#[test]
fn the_command_line_connects_and_imports() {
    let world = World::new();
    let started = world
        .instance
        .person(&[
            "vault",
            "credential",
            "oauth",
            "connect",
            KEY,
            "--no-wait",
            "--json",
        ])
        .args(&["--authorization-url", &world.provider.authorization_url()])
        .args(&["--token-url", &world.provider.token_url()])
        .args(&["--client-id", "client-1", "--client-secret-stdin"])
        .stdin(format!("{SECRET}\n"))
        .succeed();
    let started: Value = serde_json::from_str(&started.stdout).expect("JSON");
    let base = world.instance.address();
    let path = started["start_url"]
        .as_str()
        .expect("a URL")
        .strip_prefix(&base)
        .expect("ours")
        .to_owned();
    let gone = http::call(world.instance.api_addr(), "POST", &path, &[], b"");
    let cookie = gone
        .header("set-cookie")
        .expect("a cookie")
        .split(';')
        .next()
        .expect("a pair")
        .to_owned();
    let text = gone.text();
    let url = text
        .split_once("href=\"")
        .expect("a link")
        .1
        .split('"')
        .next()
        .expect("its end")
        .replace("&amp;", "&");
    let back = world.consent(&url);
    assert!(
        world
            .come_back(&back, Some(&cookie))
            .contains("status=success")
    );
    assert_eq!(
        world.provider.token_requests()[0].form["client_secret"],
        SECRET
    );
    assert_eq!(world.ask().status, 200);

    let (access, refresh) = world.provider.make_tokens();
    let file = world.instance.home().write(
        "credentials.json",
        json!({"claudeAiOauth": {"accessToken": access, "refreshToken": refresh, "expiresAt": 1}})
            .to_string(),
    );
    let said = world
        .instance
        .person(&[
            "vault",
            "credential",
            "oauth",
            "tokens",
            "CLAUDE",
            "--claude-code",
        ])
        .args(&[&file.to_string_lossy()])
        .args(&["--token-url", &world.provider.token_url(), "--json"])
        .succeed();
    let said: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(said["refreshable"], true);
    let request = world.provider.token_requests().pop().expect("a request");
    assert_eq!(
        request.form["client_id"],
        "9d1c250a-e61b-44d9-88ed-5944d1962f5e"
    );
    let providers = world
        .instance
        .person(&["vault", "credential", "oauth", "providers", "--json"])
        .succeed();
    let providers: Value = serde_json::from_str(&providers.stdout).expect("JSON");
    assert_eq!(providers["providers"].as_array().expect("a list").len(), 14);
    world.nothing_leaked();
}

#[test]
fn a_proposed_grant_is_configured_by_the_approval_and_connected_by_a_person() {
    let world = World::new();
    let authorization = format!("Bearer {}", world.agent);
    let raise = |slot: Value| {
        let body = json!({"credentials": [slot], "message": "needs the API"}).to_string();
        let headers = [
            ("authorization", authorization.as_str()),
            ("x-vault", "default"),
        ];
        http::call(
            world.instance.api_addr(),
            "POST",
            "/v1/proposals",
            &headers,
            body.as_bytes(),
        )
    };
    for (slot, field) in [
        (
            json!({"action": "set", "key": KEY, "type": "oauth"}),
            "credentials[0].oauth.token_url",
        ),
        (
            json!({"action": "set", "key": KEY, "type": "oauth", "value": "x", "oauth": {"token_url": "https://a.io/t"}}),
            "credentials[0].value",
        ),
        (
            json!({"action": "set", "key": KEY, "type": "oauth", "oauth": {"token_url": "nope"}}),
            "credentials[0].oauth.token_url",
        ),
    ] {
        let reply = raise(slot);
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert!(reply.text().contains(field), "{}", reply.text());
    }
    let reply = raise(
        json!({"action": "set", "key": KEY, "type": "oauth", "oauth": {
            "authorization_url": world.provider.authorization_url(),
            "token_url": world.provider.token_url(),
            "scopes": "read,write", "scope_separator": ",", "disable_pkce": true,
            "token_auth_method": "client_secret_basic",
        }}),
    );
    assert_eq!(reply.status, 201, "{}", reply.text());
    let shown = world
        .instance
        .person(&["vault", "proposal", "approve", "1", "--yes"])
        .succeed();
    assert!(shown.stderr.contains("oauth connect"), "{}", shown.stderr);
    assert_eq!(code(&world.ask()), "oauth_not_connected");
    // What is left to say is the client.
    let end = world.connect(
        &json!({"vault": "default", "key": KEY, "client_id": "client-1", "client_secret": SECRET}),
    );
    assert!(end.contains("status=success"), "{end}");
    let request = world.provider.token_requests().pop().expect("a request");
    assert!(request.authorization.is_some() && !request.form.contains_key("code_verifier"));
    assert_eq!(world.provider.consents()[0]["scope"], "read,write");
    assert_eq!(world.ask().status, 200);
}
