//! Route × principal → status. The permission matrix of the contract, cell by cell.

use agent_vault_store::AuditOutcome;
use http::Method;
use serde_json::{Value, json};

use crate::world::{Cast, World};

/// Nobody, owner with a grant, owner without, member without a grant, vault member, vault admin without an instance role, proxy agent,
/// member agent, scoped session.
type Row = [u16; 9];

struct Case {
    method: Method,
    path: &'static str,
    body: Option<Value>,
    /// Whether a success changes what the next cell finds.
    fresh: bool,
    expected: Row,
}

fn case(method: Method, path: &'static str, expected: Row) -> Case {
    Case {
        method,
        path,
        body: None,
        fresh: false,
        expected,
    }
}

impl Case {
    fn with(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }
}

/// Any role in the vault.
const ACCESS: Row = [401, 200, 403, 403, 200, 200, 200, 200, 200];
/// Vault member and above.
const MEMBER: Row = [401, 200, 403, 403, 200, 200, 403, 200, 403];
/// Vault admin.
const ADMIN: Row = [401, 200, 403, 403, 403, 200, 403, 403, 403];
/// Vault admin or instance owner.
const CONTROL: Row = [401, 200, 200, 403, 403, 200, 403, 403, 403];
/// Instance member and above.
const INSTANCE: Row = [401, 200, 200, 200, 200, 403, 403, 403, 403];
/// Instance owner.
const OWNER: Row = [401, 200, 200, 403, 403, 403, 403, 403, 403];
/// An owner, of an agent that only members of its vault know of (H18).
const MANAGED: Row = [401, 200, 200, 404, 403, 403, 403, 403, 403];
/// Any actor of the instance.
const ACTOR: Row = [401, 200, 200, 200, 200, 200, 200, 200, 403];
/// People.
const PERSON: Row = [401, 200, 200, 200, 200, 200, 403, 403, 403];

/// Agents and vault tokens with any role in the vault.
const PROGRAM: Row = [401, 403, 403, 403, 403, 403, 200, 200, 200];

fn missing(row: Row) -> Row {
    row.map(|status| if status == 200 { 404 } else { status })
}

fn created(row: Row) -> Row {
    row.map(|status| if status == 200 { 201 } else { status })
}

fn cases() -> Vec<Case> {
    let service = json!({"services": [{"name": "one", "host": "api.x.com", "auth": {"type": "passthrough"}}]});
    let get = |path, row| case(Method::GET, path, row);
    let post = |path, row| case(Method::POST, path, row);
    let put = |path, row| case(Method::PUT, path, row);
    let patch = |path, row| case(Method::PATCH, path, row);
    let delete = |path, row| case(Method::DELETE, path, row);
    vec![
        get("/v1/auth/me", [401, 200, 200, 200, 200, 200, 200, 200, 401]),
        get("/v1/auth/sessions", PERSON),
        delete(
            "/v1/auth/sessions/00000000000000000000",
            [401, 404, 404, 404, 404, 404, 403, 403, 403],
        ),
        delete(
            "/v1/auth/account",
            [401, 409, 409, 200, 200, 200, 403, 403, 403],
        )
        .fresh(),
        post(
            "/v1/auth/change-password",
            [401, 403, 403, 403, 403, 403, 403, 403, 403],
        )
        .with(json!({"current_password": "not this one", "new_password": "long enough"})),
        get("/v1/users", INSTANCE),
        get(
            "/v1/admin/users/me",
            [401, 200, 200, 200, 200, 200, 400, 400, 403],
        ),
        get(
            "/v1/admin/users/admin@x.io",
            [401, 200, 200, 403, 403, 200, 403, 403, 403],
        ),
        post("/v1/admin/users/member@x.io/role", OWNER).with(json!({"role": "member"})),
        delete(
            "/v1/admin/users/outsider@x.io",
            [401, 200, 200, 403, 403, 403, 403, 403, 403],
        )
        .fresh(),
        delete(
            "/v1/admin/users/member@x.io/totp",
            [401, 404, 404, 403, 403, 403, 403, 403, 403],
        ),
        get("/v1/auth/totp", PERSON),
        post(
            "/v1/auth/totp",
            [401, 403, 403, 403, 403, 403, 403, 403, 403],
        )
        .with(json!({"current_password": "not this one"})),
        post(
            "/v1/auth/totp/confirm",
            [401, 400, 400, 400, 400, 400, 403, 403, 403],
        )
        .with(json!({"code": "123456"})),
        post(
            "/v1/auth/totp/disable",
            [401, 403, 403, 403, 403, 403, 403, 403, 403],
        )
        .with(json!({"current_password": "not this one"})),
        get(
            "/v1/auth/device/BCDF-GHJK",
            [401, 404, 404, 404, 404, 404, 403, 403, 403],
        ),
        post(
            "/v1/auth/device/BCDF-GHJK/approve",
            [401, 404, 404, 404, 404, 404, 403, 403, 403],
        ),
        post(
            "/v1/auth/device/BCDF-GHJK/deny",
            [401, 404, 404, 404, 404, 404, 403, 403, 403],
        ),
        get("/v1/admin/codes", OWNER),
        get("/v1/users/invites", INSTANCE),
        post("/v1/users/invites", created(INSTANCE))
            .with(json!({"email": "invited@x.io"}))
            .fresh(),
        delete(
            "/v1/users/invites/00000000000000000000",
            [401, 404, 404, 404, 404, 403, 403, 403, 403],
        ),
        post(
            "/v1/users/invites/00000000000000000000/reinvite",
            [401, 404, 404, 404, 404, 403, 403, 403, 403],
        ),
        get("/v1/admin/settings", OWNER),
        put("/v1/admin/settings", OWNER).with(json!({"invite_only": true})),
        post("/v1/admin/settings/rate-limit/preview", OWNER).with(json!({"profile": "strict"})),
        post(
            "/v1/admin/email/test",
            [401, 400, 400, 403, 403, 403, 403, 403, 403],
        ),
        get("/v1/vaults", ACTOR),
        post("/v1/vaults", created(INSTANCE))
            .with(json!({"name": "another"}))
            .fresh(),
        get("/v1/admin/vaults", OWNER),
        get("/metrics", OWNER),
        get("/v1/instance/credential-stores", ACTOR),
        post(
            "/v1/vaults",
            [401, 503, 503, 403, 403, 403, 403, 403, 403],
        )
        .with(json!({"name": "external", "credential_store": {"kind": "infisical"}})),
        patch("/v1/vaults/default/credential-store", CONTROL).with(json!({"kind": "builtin"})),
        patch(
            "/v1/vaults/default/credential-store",
            [401, 503, 503, 403, 403, 403, 403, 403, 403],
        )
        .with(json!({"kind": "infisical"})),
        post(
            "/v1/vaults/default/sync",
            [401, 400, 403, 403, 400, 400, 403, 400, 403],
        ),
        get(
            "/v1/vaults/default/context",
            [401, 200, 403, 403, 200, 200, 200, 200, 403],
        ),
        post(
            "/v1/vaults/default/join",
            [401, 409, 200, 403, 403, 403, 403, 403, 403],
        )
        .fresh(),
        post(
            "/v1/vaults/default/leave",
            [401, 200, 403, 403, 200, 200, 200, 200, 403],
        )
        .fresh(),
        post("/v1/vaults/work/rename", CONTROL)
            .with(json!({"name": "renamed"}))
            .fresh(),
        delete("/v1/vaults/work", CONTROL).fresh(),
        delete(
            "/v1/vaults/default",
            [401, 400, 400, 400, 400, 400, 400, 400, 400],
        ),
        get(
            "/v1/vaults/default/settings",
            [401, 200, 200, 403, 200, 200, 200, 200, 200],
        ),
        patch("/v1/vaults/default/settings", CONTROL)
            .with(json!({"unmatched_host_policy": "deny"})),
        get("/v1/credentials?vault=default", ACCESS),
        get("/v1/credentials?vault=default&reveal=true", MEMBER),
        post("/v1/credentials", MEMBER)
            .with(json!({"vault": "default", "credentials": {"KEY": "v"}})),
        delete(
            "/v1/credentials",
            [401, 404, 403, 403, 404, 404, 403, 404, 403],
        )
        .with(json!({"vault": "default", "keys": ["NONE"]})),
        get(
            "/v1/credentials/NONE/versions?vault=default",
            [401, 404, 403, 403, 404, 404, 403, 404, 403],
        ),
        post(
            "/v1/credentials/NONE/rollback",
            [401, 404, 403, 403, 404, 404, 403, 404, 403],
        )
        .with(json!({"vault": "default", "version": 1})),
        post(
            "/v1/credentials/NONE/expiry",
            [401, 404, 403, 403, 404, 404, 403, 404, 403],
        )
        .with(json!({"vault": "default", "expires_at": null})),
        delete(
            "/v1/credentials/NONE/versions/1?vault=default",
            [401, 404, 403, 403, 404, 404, 403, 404, 403],
        ),
        post("/v1/credentials/oauth/connect", MEMBER).with(json!({"vault": "default", "key": "GRANT",
            "authorization_url": "https://p.io/a", "token_url": "https://p.io/t", "client_id": "id"})),
        get(
            "/v1/credentials/oauth/status?vault=default&key=NONE",
            [401, 404, 403, 403, 404, 404, 403, 404, 403],
        ),
        post("/v1/credentials/oauth/tokens", MEMBER)
            .with(json!({"vault": "default", "key": "TOKENS", "access_token": "token"})),
        get("/v1/vaults/default/services", ACCESS),
        get(
            "/v1/vaults/default/services/credential-usage?key=KEY",
            ACCESS,
        ),
        get(
            "/v1/vaults/default/services/none",
            [401, 404, 403, 403, 404, 404, 404, 404, 404],
        ),
        post("/v1/vaults/default/service-test", ACCESS).with(json!({"url": "https://api.x.com/"})),
        post("/v1/vaults/default/services", ADMIN).with(service.clone()),
        put("/v1/vaults/default/services", ADMIN).with(service),
        delete("/v1/vaults/default/services", ADMIN),
        patch(
            "/v1/vaults/default/services/none",
            [401, 404, 403, 403, 403, 404, 403, 403, 403],
        )
        .with(json!({"enabled": false})),
        delete(
            "/v1/vaults/default/services/none",
            [401, 404, 403, 403, 403, 404, 403, 403, 403],
        ),
        post("/v1/sessions", MEMBER).with(json!({"vault": "default"})),
        get("/v1/sessions?vault=default", MEMBER),
        delete(
            "/v1/sessions/none?vault=default",
            [401, 404, 403, 403, 404, 404, 403, 404, 403],
        ),
        get("/discover?vault=default", ACCESS),
        post("/v1/proposals?vault=default", created(PROGRAM))
            .with(json!({"credentials": [{"action": "set", "key": "KEY"}]}))
            .fresh(),
        get("/v1/proposals?vault=default", PROGRAM),
        get("/v1/proposals/9?vault=default", missing(PROGRAM)),
        get("/v1/admin/proposals?vault=default", ACCESS),
        get("/v1/admin/proposals/9?vault=default", missing(ACCESS)),
        post("/v1/admin/proposals/9/approve", missing(MEMBER)).with(json!({"vault": "default"})),
        post("/v1/admin/proposals/9/reject", missing(MEMBER)).with(json!({"vault": "default"})),
        get("/v1/vaults/default/webhooks", CONTROL),
        post("/v1/vaults/default/webhooks", created(CONTROL))
            .with(json!({"url": "https://hooks.example.com/"}))
            .fresh(),
        get("/v1/vaults/default/webhooks/none", missing(CONTROL)),
        patch("/v1/vaults/default/webhooks/none", missing(CONTROL)).with(json!({"enabled": true})),
        delete("/v1/vaults/default/webhooks/none", missing(CONTROL)),
        post("/v1/vaults/default/webhooks/none/rotate", missing(CONTROL)),
        post("/v1/vaults/default/webhooks/none/test", missing(CONTROL)),
        get(
            "/v1/vaults/default/webhooks/none/deliveries",
            missing(CONTROL),
        ),
        get("/v1/instance/webhooks", OWNER),
        post("/v1/instance/webhooks", created(OWNER))
            .with(json!({"url": "https://hooks.example.com/"}))
            .fresh(),
        get("/v1/instance/webhooks/none", missing(OWNER)),
        patch("/v1/instance/webhooks/none", missing(OWNER)).with(json!({"enabled": true})),
        delete("/v1/instance/webhooks/none", missing(OWNER)),
        post("/v1/instance/webhooks/none/rotate", missing(OWNER)),
        post("/v1/instance/webhooks/none/test", missing(OWNER)),
        get("/v1/instance/webhooks/none/deliveries", missing(OWNER)),
        get("/v1/instance/keys", OWNER),
        // The keys of these tests are kept nowhere.
        post(
            "/v1/instance/keys/rotate",
            [401, 503, 503, 403, 403, 403, 403, 403, 403],
        ),
        get("/v1/audit", OWNER),
        get("/v1/audit/verify", OWNER),
        get("/v1/audit/export", OWNER),
        get("/v1/vaults/default/logs", MEMBER),
        get("/v1/vaults/default/logs/export", MEMBER),
        get("/v1/vaults/default/discovered-hosts", MEMBER),
        post("/v1/agents", created(INSTANCE))
            .with(json!({"name": "fresh-agent"}))
            .fresh(),
        get("/v1/agents", INSTANCE),
        get(
            "/v1/agents/bot",
            [401, 200, 200, 404, 200, 403, 403, 403, 403],
        ),
        post("/v1/agents/bot/rotate", MANAGED).fresh(),
        get("/v1/agents/bot/tokens", MANAGED),
        delete(
            "/v1/agents/bot/tokens/00000000000000000000",
            missing(MANAGED),
        ),
        post("/v1/agents/bot/rename", MANAGED)
            .with(json!({"name": "other-bot"}))
            .fresh(),
        post("/v1/agents/bot/role", OWNER)
            .with(json!({"role": "member"}))
            .fresh(),
        post("/v1/agents/bot/delete", MANAGED).fresh(),
        delete("/v1/agents/bot", MANAGED).fresh(),
        get("/v1/vaults/default/agents", ACCESS),
        post(
            "/v1/vaults/default/agents",
            [401, 404, 403, 403, 403, 404, 403, 403, 403],
        )
        .with(json!({"name": "nobody"})),
        delete("/v1/vaults/default/agents/bot", ADMIN).fresh(),
        post("/v1/vaults/default/agents/bot/role", ADMIN).with(json!({"role": "proxy"})),
        get("/v1/vaults/default/users", ACCESS),
        post("/v1/vaults/default/users", created(ADMIN))
            .with(json!({"email": "outsider@x.io"}))
            .fresh(),
        delete("/v1/vaults/default/users/member@x.io", ADMIN).fresh(),
        post("/v1/vaults/default/users/member@x.io/role", ADMIN).with(json!({"role": "member"})),
    ]
}

/// Routes that need no token: the same for everybody, whatever token is presented, ended ones too.
fn open_cases() -> Vec<Case> {
    let open = |method, path, status| case(method, path, [status; 9]);
    let get = |path, status| open(Method::GET, path, status);
    let post = |path, status| open(Method::POST, path, status).with(json!({}));
    vec![
        get("/health", 200),
        get("/ready", 200),
        get("/v1/status", 200),
        get("/v1/mitm/ca.pem", 200),
        get("/v1/service-catalog", 200),
        get("/v1/skills/cli", 200),
        get("/v1/oauth/callback", 302),
        post("/v1/auth/register", 400),
        post("/v1/auth/login", 400),
        post("/v1/auth/verify", 400),
        post("/v1/auth/resend-verification", 400),
        post("/v1/auth/forgot-password", 400),
        post("/v1/auth/reset-password", 400),
        post("/v1/auth/device", 200),
        post("/v1/auth/device/token", 400),
        post("/v1/auth/logout", 200).fresh(),
        get("/v1/users/invites/av_uinv_0/details", 404),
        post("/v1/users/invites/av_uinv_0/accept", 404),
        get("/v1/proposals/approve-details", 400),
    ]
}

async fn ask(world: &World, case: &Case, token: Option<&str>) -> crate::world::Reply {
    let mut call = world.call(case.method.clone(), case.path);
    if let Some(body) = &case.body {
        call = call.json(body.clone());
    }
    if let Some(token) = token {
        call = call.token(token);
    }
    call.send().await
}

fn tokens(cast: &Cast, scoped: &str) -> [Option<String>; 9] {
    [
        None,
        Some(cast.owner.clone()),
        Some(cast.outsider_owner.clone()),
        Some(cast.outsider.clone()),
        Some(cast.member.clone()),
        Some(cast.admin.clone()),
        Some(cast.agent.clone()),
        Some(cast.agent_member.clone()),
        Some(scoped.to_owned()),
    ]
}

const NAMES: [&str; 9] = [
    "nobody",
    "owner",
    "owner without grant",
    "member without grant",
    "vault member",
    "vault admin",
    "proxy agent",
    "member agent",
    "scoped session",
];

async fn stage() -> (World, [Option<String>; 9]) {
    let (world, cast) = World::cast().await;
    world.work(&cast).await;
    let tokens = tokens(&cast, &cast.scoped);
    (world, tokens)
}

#[tokio::test]
async fn every_route_for_every_principal() {
    let mut wrong = Vec::new();
    let (shared, shared_tokens) = stage().await;
    for case in cases() {
        for (column, expected) in case.expected.iter().enumerate() {
            let renewed;
            let renew = case.fresh && *expected < 300;
            let (world, tokens) = if renew {
                renewed = stage().await;
                (&renewed.0, &renewed.1)
            } else {
                (&shared, &shared_tokens)
            };
            let mut call = world.call(case.method.clone(), case.path);
            if let Some(body) = &case.body {
                call = call.json(body.clone());
            }
            if let Some(token) = &tokens[column] {
                call = call.token(token);
            }
            let reply = call.send().await;
            if reply.status.as_u16() != *expected {
                wrong.push(format!(
                    "{} {} as {}: {} instead of {expected}: {}",
                    case.method,
                    case.path,
                    NAMES[column],
                    reply.status.as_u16(),
                    reply.text.trim()
                ));
            } else if *expected >= 400 {
                assert!(reply.json()["error"].is_string(), "{}", reply.text);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn open_routes_are_the_same_for_everybody() {
    let (shared, tokens) = stage().await;
    for case in open_cases() {
        for (column, expected) in case.expected.iter().enumerate() {
            let own;
            // It ends the login that it is called with.
            let (world, tokens) = if case.fresh {
                own = stage().await;
                (&own.0, &own.1)
            } else {
                (&shared, &tokens)
            };
            let reply = ask(world, &case, tokens[column].as_deref()).await;
            assert_eq!(
                reply.status.as_u16(),
                *expected,
                "{} {} as {}: {}",
                case.method,
                case.path,
                NAMES[column],
                reply.text
            );
        }
    }
}

/// Every route with each of these tokens: none of them is anybody.
async fn nobody(world: &World, ended: &[(&str, String)]) {
    for case in cases() {
        for (what, token) in ended {
            let reply = ask(world, &case, Some(token)).await;
            assert_eq!(
                reply.status.as_u16(),
                401,
                "{} {} with {what}: {}",
                case.method,
                case.path,
                reply.text
            );
        }
    }
    for case in open_cases() {
        for (what, token) in ended {
            let reply = ask(world, &case, Some(token)).await;
            assert_eq!(
                reply.status.as_u16(),
                case.expected[0],
                "{} {} with {what}: {}",
                case.method,
                case.path,
                reply.text
            );
        }
    }
}

#[tokio::test]
async fn revoked_tokens_open_nothing() {
    let (world, cast) = World::cast().await;
    world.work(&cast).await;
    let owner = |method, path: &str, body: Value| {
        world
            .call(method, path)
            .json(body)
            .token(&cast.owner)
            .send()
    };
    // The old token of a rotated agent, an agent that was revoked, one that was deleted.
    owner(Method::POST, "/v1/agents/bot/rotate", json!({}))
        .await
        .expect(http::StatusCode::OK);
    owner(Method::DELETE, "/v1/agents/bot-member", json!({}))
        .await
        .expect(http::StatusCode::OK);
    let deleted = world.agent(&cast.owner, "gone", "admin").await;
    owner(Method::POST, "/v1/agents/gone/delete", json!({}))
        .await
        .expect(http::StatusCode::OK);
    // A vault token by its id, a login by logging out, and the login of a person who is gone.
    let listed = world
        .get("/v1/sessions?vault=default")
        .token(&cast.owner)
        .send()
        .await
        .expect(http::StatusCode::OK);
    let id = listed["sessions"][0]["id"].as_str().unwrap();
    owner(
        Method::DELETE,
        &format!("/v1/sessions/{id}?vault=default"),
        json!({}),
    )
    .await
    .expect(http::StatusCode::OK);
    world
        .post("/v1/auth/logout", json!({}))
        .token(&cast.admin)
        .send()
        .await
        .expect(http::StatusCode::OK);
    owner(Method::DELETE, "/v1/admin/users/outsider@x.io", json!({}))
        .await
        .expect(http::StatusCode::OK);
    let ended = [
        ("the old token of an agent", cast.agent.clone()),
        ("the token of a revoked agent", cast.agent_member.clone()),
        ("the token of a deleted agent", deleted),
        ("a revoked vault token", cast.scoped.clone()),
        ("a login that was ended", cast.admin.clone()),
        ("the login of a deleted account", cast.outsider.clone()),
    ];
    nobody(&world, &ended).await;
}

#[tokio::test]
async fn expired_tokens_open_nothing() {
    let (world, cast) = World::cast().await;
    world.work(&cast).await;
    let body = json!({"name": "brief", "ttl_seconds": 300, "vaults": [{"vault_name": "default", "vault_role": "admin"}]});
    let made = world
        .post("/v1/agents", body)
        .token(&cast.owner)
        .send()
        .await;
    let agent = made.expect(http::StatusCode::CREATED)["av_agent_token"]
        .as_str()
        .unwrap()
        .to_owned();
    // Longer than a login may lie idle, and than any vault token lives.
    world.advance(jiff::SignedDuration::from_hours(31 * 24));
    let ended = [
        ("an expired agent token", agent),
        ("an expired vault token", cast.scoped.clone()),
        ("a login that lay idle", cast.owner.clone()),
    ];
    nobody(&world, &ended).await;
}

#[tokio::test]
async fn every_documented_route_is_in_the_table() {
    let (world, _) = stage().await;
    let document = world.get("/v1/openapi.json").send().await.json();
    let mut missing = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        // It does not end by itself: see `logs::a_follower…`.
        if path == "/v1/vaults/{name}/logs/stream" {
            continue;
        }
        for method in methods.as_object().unwrap().keys() {
            let covered = cases().iter().chain(&open_cases()).any(|case| {
                case.method.as_str().eq_ignore_ascii_case(method) && fits(path, case.path)
            });
            if !covered {
                missing.push(format!("{method} {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

fn fits(template: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap();
    let (template, path): (Vec<_>, Vec<_>) =
        (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template
            .iter()
            .zip(&path)
            .all(|(part, segment)| part.starts_with('{') || part == segment)
}

#[tokio::test]
async fn every_write_leaves_a_record_and_every_refused_attempt_too() {
    let (shared, shared_tokens) = stage().await;
    for case in cases() {
        // Questions that are put in a body.
        let asks = ["/preview", "/service-test"]
            .iter()
            .any(|end| case.path.ends_with(end));
        if matches!(case.method, Method::GET) || asks || case.path == "/v1/auth/account" {
            continue;
        }
        for column in [6, 1] {
            let renewed;
            let (world, tokens) = if case.fresh && column == 1 {
                renewed = stage().await;
                (&renewed.0, &renewed.1)
            } else {
                (&shared, &shared_tokens)
            };
            let token = &tokens[column];
            let before = world.audit().await.first().map_or(0, |record| record.seq);
            let mut call = world
                .call(case.method.clone(), case.path)
                .token(token.as_deref().unwrap());
            if let Some(body) = &case.body {
                call = call.json(body.clone());
            }
            let reply = call.send().await;
            let after = world.last_audit().await;
            if after.seq > before {
                assert_eq!(after.source, "127.0.0.1", "{} {}", case.method, case.path);
                let refused = reply.status.as_u16() >= 400;
                assert_eq!(
                    after.outcome == AuditOutcome::Refused,
                    refused,
                    "{} {}",
                    case.method,
                    case.path
                );
                assert!(
                    !after.actor_name.is_empty(),
                    "{} {}",
                    case.method,
                    case.path
                );
            }
            // Slips of the pen and things that are not there are no attempts; people's own affairs end before an action begins.
            let silent = matches!(reply.status.as_u16(), 400 | 404 | 503)
                || (reply.status == 403
                    && case.path.starts_with("/v1/auth/")
                    && token == &tokens[6]);
            assert_eq!(
                after.seq > before,
                !silent,
                "{} {}: {}",
                case.method,
                case.path,
                reply.text
            );
            if reply.status.as_u16() >= 400 && !silent {
                assert!(
                    after.detail.contains("refused"),
                    "{} {}",
                    case.method,
                    case.path
                );
            }
        }
    }
    assert!(matches!(
        shared.store.verify_audit().await.unwrap(),
        agent_vault_store::AuditVerdict::Intact { .. }
    ));
}
