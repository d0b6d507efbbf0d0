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
        get("/v1/oauth/callback", [302; 9]),
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
async fn every_documented_route_is_in_the_table() {
    let (world, _) = stage().await;
    let document = world.get("/v1/openapi.json").send().await.json();
    let public = [
        "/health",
        "/ready",
        "/v1/status",
        "/v1/mitm/ca.pem",
        "/v1/auth/register",
        "/v1/auth/login",
        "/v1/auth/logout",
        "/v1/auth/verify",
        "/v1/auth/resend-verification",
        "/v1/auth/forgot-password",
        "/v1/auth/reset-password",
        "/v1/auth/device",
        "/v1/auth/device/token",
        "/v1/users/invites/{token}/details",
        "/v1/users/invites/{token}/accept",
        "/v1/service-catalog",
        "/v1/skills/cli",
        "/v1/proposals/approve-details",
    ];
    // It does not end by itself: see `logs::a_follower…`.
    let public = public.into_iter().chain(["/v1/vaults/{name}/logs/stream"]);
    let public: Vec<&str> = public.collect();
    let mut missing = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        if public.contains(&path.as_str()) {
            continue;
        }
        for method in methods.as_object().unwrap().keys() {
            let covered = cases().iter().any(|case| {
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
