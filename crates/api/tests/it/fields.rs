//! Every field of every body, as the API's description lists them: the wrong type, a zero byte, and what lies beyond its bounds.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::world::{Cast, World};

/// A body of the description with the route that takes it.
struct Taken {
    method: Method,
    path: String,
    schema: Value,
}

fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(name) => {
            let name = name.rsplit('/').next().unwrap();
            &document["components"]["schemas"][name]
        }
        None => schema,
    }
}

/// The one that is not `null`.
fn chosen<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    let choices = schema["oneOf"].as_array();
    let choice = choices.and_then(|all| all.iter().find(|each| each["type"] != "null"));
    resolved(document, choice.unwrap_or(schema))
}

fn bodies(document: &Value) -> Vec<Taken> {
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if schema.is_null() {
                continue;
            }
            let path = path
                .replace("{id}", "1")
                .replace("{version}", "1")
                .replace("{key}", "KEY")
                .replace("{email}", "member@x.io")
                .replace("{agent}", "bot")
                .replace(
                    "{name}",
                    if path.starts_with("/v1/agents") {
                        "bot"
                    } else {
                        "default"
                    },
                );
            found.push(Taken {
                method: Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(),
                path: path.replace("{ref}", "one").replace("{token}", "none"),
                schema: chosen(document, schema).clone(),
            });
        }
    }
    found
}

/// Where a field stands in its body, and its schema.
struct Field {
    steps: Vec<String>,
    schema: Value,
}

/// The fields of an object and of the objects in it.
fn fields(document: &Value, schema: &Value, above: &[String], found: &mut Vec<Field>) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (name, field) in properties {
        let mut steps = above.to_vec();
        steps.push(name.clone());
        let field = chosen(document, field);
        found.push(Field {
            steps: steps.clone(),
            schema: field.clone(),
        });
        // What is stored as it is, for another part to read.
        if field["properties"].is_null()
            && field["additionalProperties"].is_null()
            && types(field).contains(&"object")
        {
            found.pop();
        }
        fields(document, field, &steps, found);
        if field["items"].is_object() {
            steps.push("0".to_owned());
            let item = chosen(document, &field["items"]);
            found.push(Field {
                steps: steps.clone(),
                schema: item.clone(),
            });
            fields(document, item, &steps, found);
        } else if field["additionalProperties"].is_object() {
            steps.push("AUTH".to_owned());
            let value = chosen(document, &field["additionalProperties"]);
            found.push(Field {
                steps: steps.clone(),
                schema: value.clone(),
            });
            fields(document, value, &steps, found);
        }
    }
}

/// A body that has the value at its place, and beside it what is required.
fn only(document: &Value, schema: &Value, steps: &[String], value: Value) -> Value {
    let Some((step, rest)) = steps.split_first() else {
        return value;
    };
    if step == "0" {
        return json!([only(
            document,
            chosen(document, &schema["items"]),
            rest,
            value
        )]);
    }
    let mut object = Map::new();
    for required in schema["required"].as_array().into_iter().flatten() {
        let required = required.as_str().unwrap();
        object.insert(required.to_owned(), needed(required));
    }
    if !schema["properties"]["auth"].is_null() {
        object.insert("name".to_owned(), json!("one"));
        object.insert("host".to_owned(), needed("host"));
        object.insert("auth".to_owned(), needed("auth"));
    }
    let below = match &schema["properties"][step] {
        Value::Null => &schema["additionalProperties"],
        property => property,
    };
    object.insert(
        step.clone(),
        only(document, chosen(document, below), rest, value),
    );
    Value::Object(object)
}

/// A value of a required field.
fn needed(name: &str) -> Value {
    match name {
        "auth" => json!({"type": "passthrough"}),
        "type" => json!("passthrough"),
        "host" => json!("api.x.com"),
        "key" => json!("KEY"),
        "action" => json!("set"),
        "version" => json!(1),
        "services" => json!([]),
        "overrides" => json!({}),
        _ => json!("text"),
    }
}

fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn a_wrong_type_is_refused_with_its_place_wherever_it_stands() {
    let (world, cast) = World::cast().await;
    let document = world.get("/v1/openapi.json").send().await.json();
    let mut wrong = Vec::new();
    let mut tried = 0;
    for taken in bodies(&document) {
        let mut all = Vec::new();
        fields(&document, &taken.schema, &[], &mut all);
        for field in all {
            let known = types(&field.schema);
            let values = [
                ("boolean", json!(true)),
                ("object", json!({"a": 1})),
                ("array", json!([[1]])),
                ("string", json!("text")),
                ("integer", json!(-1)),
                ("number", json!(1.5)),
            ];
            for (kind, value) in values {
                // A map of words takes any object, and what has no type takes anything; each has places of its own here.
                let fits = known.is_empty()
                    || known.contains(&kind)
                    || (known.contains(&"integer") && kind == "number")
                    || (known.contains(&"number") && kind == "integer")
                    || (known.contains(&"array") && kind == "array");
                if fits && !(known.contains(&"integer") && matches!(kind, "integer" | "number")) {
                    continue;
                }
                tried += 1;
                let reply = world
                    .call(taken.method.clone(), &taken.path)
                    .json(only(&document, &taken.schema, &field.steps, value.clone()))
                    .token(token(&taken.path, &cast).unwrap_or(&cast.owner))
                    .header("X-Vault", "default")
                    .send()
                    .await;
                let name = field.steps.iter().rev().find(|step| *step != "0").unwrap();
                let error = reply.json()["error"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                if reply.status != StatusCode::BAD_REQUEST || !error.contains(name.as_str()) {
                    wrong.push(format!(
                        "{} {} {} = {value}: {} {}",
                        taken.method,
                        taken.path,
                        field.steps.join("."),
                        reply.status,
                        reply.text.trim()
                    ));
                }
            }
        }
    }
    assert!(tried > 300, "{tried}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn zero_bytes_huge_texts_and_depth_are_refused_or_taken_as_data() {
    let (world, cast) = World::cast().await;
    let document = world.get("/v1/openapi.json").send().await.json();
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    for taken in bodies(&document) {
        let mut all = Vec::new();
        fields(&document, &taken.schema, &[], &mut all);
        for field in all {
            for value in [
                json!("\0"),
                json!("a\r\nX-Injected: 1"),
                json!("x".repeat(50_000)),
                deep.clone(),
            ] {
                // These end the caller's own login or account where they are taken.
                if taken.path.ends_with("/delete") {
                    continue;
                }
                let reply = world
                    .call(taken.method.clone(), &taken.path)
                    .json(only(&document, &taken.schema, &field.steps, value))
                    .token(&cast.owner)
                    .send()
                    .await;
                let place = format!("{} {} {}", taken.method, taken.path, field.steps.join("."));
                assert!(
                    reply.status.as_u16() < 500,
                    "{place}: {} {}",
                    reply.status,
                    reply.text
                );
                assert!(reply.text.len() < 4096, "{place} is echoed");
                assert!(!reply.headers.contains_key("x-injected"), "{place}");
            }
        }
    }
}

/// A body that is taken, or refused for another reason than its form, by the name of its schema and of the one within it that `0` marks.
fn whole(schema: &str) -> Option<(Method, &'static str, Value, &'static str)> {
    let service = json!({"name": "one", "host": "api.x.com", "auth": {"type": "bearer", "token": "KEY"},
        "substitutions": [{"key": "KEY", "placeholder": "__KEY__"}], "scrub": {}});
    let post = |path, body, at| Some((Method::POST, path, body, at));
    match schema {
        "Registration" => post(
            "/v1/auth/register",
            json!({"email": "new@x.io", "password": "long enough"}),
            "",
        ),
        "PasswordChange" => post(
            "/v1/auth/change-password",
            json!({"current_password": "x", "new_password": "long enough"}),
            "",
        ),
        "InviteWanted" => post("/v1/users/invites", json!({"email": "new@x.io"}), ""),
        "VaultWanted" => post(
            "/v1/users/invites",
            json!({"email": "new@x.io", "vaults": [{"vault_name": "default"}]}),
            "/vaults/0",
        ),
        "RoleBody" => post("/v1/agents/bot/role", json!({"role": "member"}), ""),
        "VaultAgentRole" => post(
            "/v1/vaults/default/agents/bot/role",
            json!({"role": "proxy"}),
            "",
        ),
        "VaultUserRole" => post(
            "/v1/vaults/default/users/member@x.io/role",
            json!({"role": "member"}),
            "",
        ),
        "NewVault" => post("/v1/vaults", json!({"name": "another"}), ""),
        "StoreWish" => post(
            "/v1/vaults",
            json!({"name": "another", "credential_store": {}}),
            "/credential_store",
        ),
        "OAuthConnect" => post(
            "/v1/credentials/oauth/connect",
            json!({"vault": "default", "key": "GRANT", "authorization_url": "https://p.io/a",
                "token_url": "https://p.io/t", "client_id": "id"}),
            "",
        ),
        "OAuthTokens" => post(
            "/v1/credentials/oauth/tokens",
            json!({"vault": "default", "key": "GRANT", "access_token": "token"}),
            "",
        ),
        "SlotClientWanted" => post(
            "/v1/proposals?vault=default",
            json!({"credentials": [{"action": "set", "key": "GRANT", "type": "oauth", "oauth": {
                "authorization_url": "https://p.io/a", "token_url": "https://p.io/t"}}]}),
            "/credentials/0/oauth",
        ),
        "WebhookWanted" => post(
            "/v1/vaults/default/webhooks",
            json!({"url": "https://hooks.x.com/"}),
            "",
        ),
        "WebhookChanges" => Some((
            Method::PATCH,
            "/v1/vaults/default/webhooks/{webhook}",
            json!({}),
            "",
        )),
        "SecretRotation" => post(
            "/v1/vaults/default/webhooks/{webhook}/rotate",
            json!({}),
            "",
        ),
        "NameBody" => post("/v1/agents/bot/rename", json!({"name": "another"}), ""),
        "NewAgentBody" => post("/v1/agents", json!({"name": "another"}), ""),
        "RotationBody" => post("/v1/agents/bot/rotate", json!({}), ""),
        "NewTokenBody" => post("/v1/sessions", json!({"vault": "default"}), ""),
        "RejectionBody" => post(
            "/v1/admin/proposals/1/reject",
            json!({"vault": "default"}),
            "",
        ),
        "ServiceTestBody" => post(
            "/v1/vaults/default/service-test",
            json!({"url": "https://api.x.com/"}),
            "",
        ),
        "RateLimitChange" => post(
            "/v1/admin/settings/rate-limit/preview",
            json!({"overrides": {}}),
            "",
        ),
        "TierChange" => post(
            "/v1/admin/settings/rate-limit/preview",
            json!({"overrides": {"AUTH": {}}}),
            "/overrides/AUTH",
        ),
        "SettingsWanted" => Some((Method::PUT, "/v1/admin/settings", json!({}), "")),
        "RetentionChange" => Some((
            Method::PUT,
            "/v1/admin/settings",
            json!({"logs_retention": {}}),
            "/logs_retention",
        )),
        "SettingsChange" => Some((Method::PATCH, "/v1/vaults/default/settings", json!({}), "")),
        "ServiceAuth" => post(
            "/v1/vaults/default/services",
            json!({"services": [service]}),
            "/services/0/auth",
        ),
        "ServiceScrub" => post(
            "/v1/vaults/default/services",
            json!({"services": [service]}),
            "/services/0/scrub",
        ),
        "ServiceSubstitution" => post(
            "/v1/vaults/default/services",
            json!({"services": [service]}),
            "/services/0/substitutions/0",
        ),
        "ProposalWanted" => post(
            "/v1/proposals?vault=default",
            json!({"credentials": [{"action": "set", "key": "NEW_KEY"}]}),
            "",
        ),
        "SlotWanted" => post(
            "/v1/proposals?vault=default",
            json!({"credentials": [{"action": "set", "key": "NEW_KEY"}]}),
            "/credentials/0",
        ),
        "ProposedService" => post(
            "/v1/proposals?vault=default",
            json!({"services": [{"action": "set", "name": "one", "host": "api.x.com", "auth": {"type": "passthrough"}}]}),
            "/services/0",
        ),
        _ => None,
    }
}

/// Values that a bounded field does not take.
fn beyond(schema: &Value) -> Vec<Value> {
    let mut values = Vec::new();
    if let Some(most) = schema["maxLength"].as_u64() {
        values.push(json!("a".repeat(usize::try_from(most).unwrap() + 1)));
    }
    if let Some(least) = schema["minLength"].as_u64().filter(|least| *least > 1) {
        values.push(json!("a".repeat(usize::try_from(least).unwrap() - 1)));
    }
    if schema["pattern"].is_string() {
        values.push(json!("no, not this"));
    }
    if schema["enum"].is_array() {
        values.push(json!("no-such-word"));
    }
    if let Some(most) = schema["maximum"].as_u64() {
        values.push(json!(most + 1));
    }
    if let Some(least) = schema["minimum"].as_u64().filter(|least| *least > 0) {
        values.push(json!(least - 1));
    }
    if let Some(most) = schema["maxItems"].as_u64() {
        values.push(Value::Array(vec![
            Value::Null;
            usize::try_from(most).unwrap() + 1
        ]));
    }
    values
}

/// One entry more than may be, each good in itself.
fn entry(schema: &str, field: &str, number: usize) -> Value {
    match (schema, field) {
        ("ServiceTestBody", "headers") => json!({"name": "X-A", "value": "b"}),
        ("NewTokenBody", "services") => json!("one"),
        ("NewTokenBody", "sources") => json!("10.0.0.0/8"),
        ("SettingsWanted", "allowed_email_domains") => json!(format!("d{number}.example.com")),
        ("ProposalWanted", "services") => {
            json!({"action": "set", "name": format!("name-{number}"), "host": format!("h{number}.x.com"), "auth": {"type": "passthrough"}})
        }
        ("ProposalWanted", "credentials") => {
            json!({"action": "delete", "key": format!("KEY_{number}")})
        }
        _ => json!({"vault_name": "default"}),
    }
}

/// Whoever the route is for.
fn token<'c>(path: &str, cast: &'c Cast) -> Option<&'c str> {
    match path {
        "/v1/auth/register" => None,
        path if path.starts_with("/v1/proposals") => Some(&cast.agent),
        _ => Some(&cast.owner),
    }
}

#[tokio::test]
async fn whatever_lies_beyond_a_bound_is_a_400_that_names_field_rule_and_example() {
    let (world, cast) = World::cast().await;
    let document = world.get("/v1/openapi.json").send().await.json();
    let mut used = Vec::new();
    for taken in bodies(&document) {
        collect(&document, &taken.schema, &mut used);
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        if bodies(&document)
            .iter()
            .any(|taken| taken.schema == *schema)
        {
            used.push(name.clone());
        }
    }
    let hook = world
        .post(
            "/v1/vaults/default/webhooks",
            json!({"url": "https://hooks.x.com/"}),
        )
        .token(&cast.owner)
        .send()
        .await
        .expect(StatusCode::CREATED);
    let hook = hook["id"].as_str().unwrap().to_owned();
    let mut wrong = Vec::new();
    let mut tried = 0;
    for name in used {
        let schema = &document["components"]["schemas"][&name];
        for (field, bound) in schema["properties"].as_object().into_iter().flatten() {
            let values = beyond(bound);
            // The page of an invitation has its own route and needs an open one: `invites::acceptance…`.
            if values.is_empty() || name == "InviteAnswer" {
                continue;
            }
            let Some((method, path, base, at)) = whole(&name) else {
                wrong.push(format!(
                    "{name}.{field} has a bound, and this test has no body for it"
                ));
                continue;
            };
            for mut value in values {
                if let Value::Array(items) = &mut value {
                    for (number, item) in items.iter_mut().enumerate() {
                        *item = entry(&name, field, number);
                    }
                }
                let mut body = base.clone();
                body.pointer_mut(at).unwrap()[field] = value.clone();
                let path = path.replace("{webhook}", &hook);
                let mut call = world.call(method.clone(), &path).json(body);
                if let Some(token) = token(&path, &cast) {
                    call = call.token(token);
                }
                let reply = call.send().await;
                tried += 1;
                let answer = reply.json();
                let said = format!(
                    "{} {} {}",
                    answer["error"], answer["message"], answer["hint"]
                )
                .to_lowercase();
                let short = field.rsplit('_').next().unwrap().trim_end_matches('s');
                let shown = value.to_string().chars().take(40).collect::<String>();
                if reply.status != StatusCode::BAD_REQUEST
                    || !said.contains(short)
                    || !answer["hint"].is_string()
                {
                    wrong.push(format!(
                        "{name}.{field} = {shown}: {} {}",
                        reply.status,
                        reply.text.trim()
                    ));
                }
            }
        }
    }
    assert!(tried > 50, "{tried}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Names of the schemas that a body is made of.
fn collect(document: &Value, schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(name) = object.get("$ref").and_then(Value::as_str) {
                let name = name.rsplit('/').next().unwrap().to_owned();
                if !found.contains(&name) {
                    found.push(name.clone());
                    collect(document, &document["components"]["schemas"][&name], found);
                }
            }
            object
                .values()
                .for_each(|value| collect(document, value, found));
        }
        Value::Array(items) => items
            .iter()
            .for_each(|value| collect(document, value, found)),
        _ => {}
    }
}
