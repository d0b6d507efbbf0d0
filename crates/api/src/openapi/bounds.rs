//! What the fields of request bodies may hold, as far as it can be said in the description.
//!
//! The checks themselves stand with the actions, and their refusals name the field, the rule and an example. A test sends what
//! lies beyond every one of these bounds, so that the two cannot part.

use serde_json::{Value, json};
use utoipa::Number;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOf, ArrayItems, KnownFormat, Object, Schema, SchemaFormat, SchemaType,
    Type,
};
use utoipa::openapi::{OpenApi, RefOr};

/// What a field may hold.
#[derive(Debug, Clone, Copy)]
enum Bound {
    /// A name: lower-case letters, digits and single hyphens.
    Slug,
    /// The name of a credential.
    Key,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Characters, at least and at most.
    Length(usize, usize),
    /// A whole number, at least and at most.
    Range(u64, u64),
    /// At most so many entries.
    Entries(usize),
}

use Bound::{Entries, Key, Length, Range, Slug, Word};

const INSTANCE_ROLES: Bound = Word(&["owner", "member", "no-access"]);
const VAULT_ROLES: Bound = Word(&["proxy", "member", "admin"]);
const MEMBER_ROLES: Bound = Word(&["member", "admin"]);
const PASSWORD: Bound = Length(8, 1024);
const AGENT_TTL: Bound = Range(300, 315_360_000);
const COUNT: Bound = Range(0, 100_000);
const CLIENT_AUTH: Bound = Word(&["client_secret_post", "client_secret_basic", "none", ""]);

/// Schema, field, and what the field may hold.
const BOUNDS: &[(&str, &str, Bound)] = &[
    ("Registration", "password", PASSWORD),
    ("Registration", "email", Length(3, 254)),
    ("PasswordChange", "new_password", PASSWORD),
    ("InviteAnswer", "password", PASSWORD),
    ("InviteWanted", "email", Length(3, 254)),
    ("InviteWanted", "role", INSTANCE_ROLES),
    ("InviteWanted", "vaults", Entries(50)),
    ("VaultWanted", "vault_role", MEMBER_ROLES),
    ("RoleBody", "role", INSTANCE_ROLES),
    ("VaultAgentRole", "role", VAULT_ROLES),
    ("VaultUserRole", "role", MEMBER_ROLES),
    ("NewVault", "name", Slug),
    ("NameBody", "name", Slug),
    ("NewAgentBody", "name", Slug),
    ("NewAgentBody", "label", Length(0, 100)),
    ("NewAgentBody", "ttl_seconds", AGENT_TTL),
    ("NewAgentBody", "vaults", Entries(100)),
    ("RotationBody", "ttl_seconds", AGENT_TTL),
    ("NewTokenBody", "label", Length(0, 100)),
    ("NewTokenBody", "ttl_seconds", Range(300, 604_800)),
    ("NewTokenBody", "services", Entries(200)),
    ("NewTokenBody", "sources", Entries(32)),
    ("NewTokenBody", "request_budget", Range(1, 1_000_000_000)),
    ("StoreWish", "kind", Word(&["builtin", "infisical", ""])),
    ("StoreWish", "poll_interval_seconds", Range(10, 604_800)),
    ("OAuthConnect", "token_auth_method", CLIENT_AUTH),
    ("OAuthTokens", "token_auth_method", CLIENT_AUTH),
    ("SlotClientWanted", "token_auth_method", CLIENT_AUTH),
    ("WebhookWanted", "description", Length(0, 200)),
    ("WebhookChanges", "description", Length(0, 200)),
    ("SecretRotation", "overlap_seconds", Range(0, 604_800)),
    ("ProposalWanted", "message", Length(0, 2000)),
    ("ProposalWanted", "user_message", Length(0, 5000)),
    ("ProposalWanted", "services", Entries(10)),
    ("ProposalWanted", "credentials", Entries(10)),
    ("ProposedService", "action", Word(&["set", "delete"])),
    ("SlotWanted", "action", Word(&["set", "delete"])),
    ("SlotWanted", "key", Key),
    ("SlotWanted", "description", Length(0, 500)),
    ("SlotWanted", "obtain", Length(0, 500)),
    ("SlotWanted", "obtain_instructions", Length(0, 1000)),
    ("RejectionBody", "reason", Length(0, 2000)),
    (
        "RateLimitChange",
        "profile",
        Word(&["default", "strict", "loose", "off"]),
    ),
    ("TierChange", "rate", COUNT),
    ("TierChange", "burst", COUNT),
    ("TierChange", "max", COUNT),
    ("TierChange", "concurrency", Range(0, 8192)),
    ("RetentionChange", "max_age_hours", Range(0, 876_000)),
    ("SettingsWanted", "allowed_email_domains", Entries(100)),
    (
        "SettingsChange",
        "unmatched_host_policy",
        Word(&["passthrough", "deny", ""]),
    ),
    (
        "ServiceAuth",
        "type",
        Word(&["bearer", "basic", "api-key", "custom", "passthrough"]),
    ),
    ("ServiceScrub", "undecodable", Word(&["refuse", "pass"])),
    ("ServiceSubstitution", "placeholder", Length(4, 256)),
    ("ServiceTestBody", "headers", Entries(100)),
];

/// Writes the bounds into a document; the ones for which it has no field come back.
pub(super) fn apply(document: &mut OpenApi) -> Vec<String> {
    let Some(components) = document.components.as_mut() else {
        return Vec::new();
    };
    for schema in components.schemas.values_mut() {
        unsigned(schema);
        either(schema);
    }
    let mut unknown = Vec::new();
    for (name, field, bound) in BOUNDS {
        let property = match components.schemas.get_mut(*name) {
            Some(RefOr::T(Schema::Object(object))) => object.properties.get_mut(*field),
            _ => None,
        };
        if !property.is_some_and(|property| bind(property, *bound)) {
            unknown.push(format!("{name}.{field}"));
        }
    }
    for path in document.paths.paths.values_mut() {
        let operations = [
            &mut path.get,
            &mut path.post,
            &mut path.put,
            &mut path.patch,
            &mut path.delete,
        ];
        for operation in operations.into_iter().flatten() {
            for parameter in operation.parameters.iter_mut().flatten() {
                if let RefOr::T(parameter) = parameter
                    && let Some(schema) = parameter.schema.as_mut()
                {
                    unsigned(schema);
                }
            }
        }
    }
    unknown
}

fn bind(property: &mut RefOr<Schema>, bound: Bound) -> bool {
    match (property, bound) {
        (RefOr::T(Schema::Array(array)), Entries(most)) => {
            array.max_items = Some(most);
            true
        }
        (RefOr::T(Schema::Object(object)), bound) => {
            bind_value(object, bound);
            !matches!(bound, Entries(_))
        }
        _ => false,
    }
}

fn bind_value(object: &mut Object, bound: Bound) {
    let length = |object: &mut Object, least: usize, most: usize| {
        object.min_length = (least > 0).then_some(least);
        object.max_length = Some(most);
    };
    match bound {
        Slug => {
            length(object, 3, 64);
            object.pattern = Some("^[a-z0-9]+(-[a-z0-9]+)*$".to_owned());
            object.example = Some(json!("my-name"));
        }
        Key => {
            length(object, 1, 128);
            object.pattern = Some("^[A-Z][A-Z0-9_]*$".to_owned());
            object.example = Some(json!("GITHUB_TOKEN"));
        }
        Word(words) => {
            let null = may_be_null(object).then_some(Value::Null);
            let words = words.iter().map(|word| json!(word));
            object.enum_values = Some(words.chain(null).collect());
        }
        Length(least, most) => length(object, least, most),
        Range(least, most) => {
            object.minimum = Some(whole(least));
            object.maximum = Some(whole(most));
        }
        Entries(_) => {}
    }
}

fn whole(number: u64) -> Number {
    usize::try_from(number).map_or(Number::Float(f64::MAX), Number::UInt)
}

fn may_be_null(object: &Object) -> bool {
    matches!(&object.schema_type, SchemaType::Array(types) if types.contains(&Type::Null))
}

/// An answer of one of several shapes: one of them may have all that another one needs, so more than one may fit.
fn either(schema: &mut RefOr<Schema>) {
    if let RefOr::T(Schema::OneOf(choice)) = schema {
        let mut any = AnyOf::new();
        any.items = std::mem::take(&mut choice.items);
        any.description = choice.description.take();
        *schema = RefOr::T(Schema::AnyOf(any));
    }
}

/// Whole numbers without a sign: the formats of OpenAPI say half of what they hold.
fn unsigned(schema: &mut RefOr<Schema>) {
    let RefOr::T(schema) = schema else {
        return;
    };
    match schema {
        Schema::Object(object) => {
            if object.minimum.is_some() {
                let name = match object.format {
                    Some(SchemaFormat::KnownFormat(KnownFormat::Int32)) => Some("uint32"),
                    Some(SchemaFormat::KnownFormat(KnownFormat::Int64)) => Some("uint64"),
                    _ => None,
                };
                if let Some(name) = name {
                    object.format = Some(SchemaFormat::Custom(name.to_owned()));
                }
            }
            object.properties.values_mut().for_each(unsigned);
            if let Some(AdditionalProperties::RefOr(values)) =
                object.additional_properties.as_deref_mut()
            {
                unsigned(values);
            }
        }
        Schema::Array(array) => {
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                unsigned(items);
            }
        }
        Schema::OneOf(choice) => choice.items.iter_mut().for_each(unsigned),
        Schema::AllOf(parts) => parts.items.iter_mut().for_each(unsigned),
        Schema::AnyOf(choice) => choice.items.iter_mut().for_each(unsigned),
        _ => {}
    }
}
