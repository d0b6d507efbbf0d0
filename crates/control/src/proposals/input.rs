//! What an agent writes, and its bounds. Every refusal names the field, the rule and an example.

use agent_vault_policy::{CredentialKey, ServiceDraft};
use agent_vault_seal::SecretBytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::error::ControlError;
use crate::oauth::{OAuthInput, slot_client};

/// Most services, and most credentials, in one proposal.
const MAX_ITEMS: usize = 10;
/// Longest `message`, in bytes.
const MAX_MESSAGE: usize = 2000;
/// Longest `user_message`, in bytes.
const MAX_USER_MESSAGE: usize = 5000;
/// Longest `description` and `obtain`, in bytes.
const MAX_DESCRIPTION: usize = 500;
/// Longest `obtain_instructions`, in bytes.
const MAX_INSTRUCTIONS: usize = 1000;
/// Longest reason of a rejection, in bytes.
pub(super) const MAX_REASON: usize = 2000;

/// What is to happen to a service or a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProposedAction {
    /// It is added, changed or given a value.
    Set,
    /// It goes.
    Delete,
}

impl ProposedAction {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Delete => "delete",
        }
    }
}

/// A service that a proposal adds, changes or removes. Its JSON form is a service with `action`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedService {
    /// What is to happen.
    pub action: ProposedAction,
    /// To which service, and how it is to be.
    pub draft: ServiceDraft,
}

impl<'de> Deserialize<'de> for ProposedService {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        let action = fields.remove("action").ok_or_else(|| {
            D::Error::custom(
                "missing field `action`: it is `set` or `delete`, as in `\"action\": \"set\"`",
            )
        })?;
        let action = serde_json::from_value(action)
            .map_err(|_| D::Error::custom("`action` must be `set` or `delete`"))?;
        // What is wrong in it is named by its place.
        let draft = serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
            D::Error::custom(format_args!("`{}`: {}", error.path(), error.inner()))
        })?;
        Ok(Self { action, draft })
    }
}

impl Serialize for ProposedService {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        let mut value = serde_json::to_value(&self.draft).map_err(S::Error::custom)?;
        if let Value::Object(fields) = &mut value {
            fields.insert("action".to_owned(), Value::from(self.action.as_str()));
        }
        value.serialize(serializer)
    }
}

/// A credential that a proposal needs or removes, as an agent writes it.
#[derive(Debug)]
pub struct NewSlot {
    /// What is to happen.
    pub action: ProposedAction,
    /// Its key.
    pub key: String,
    /// `static`, which is what it is without a word.
    pub kind: Option<String>,
    /// What it is, for the person.
    pub description: String,
    /// Where a person gets one: an http or https URL.
    pub obtain: String,
    /// How.
    pub obtain_instructions: String,
    /// The value, when the agent has one.
    pub value: Option<SecretBytes>,
    /// The client at a provider, for `oauth`. Never with a secret.
    pub oauth: Option<OAuthInput>,
}

/// The client that an `oauth` slot names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotOAuth {
    /// Where a person consents; empty where tokens are given by hand.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub authorization_url: String,
    /// Where tokens come from.
    pub token_url: String,
    /// Who we are there; empty where the person says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client_id: String,
    /// Scopes, as the provider wants them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scopes: String,
    /// What stands between them.
    pub scope_separator: String,
    /// Leaves PKCE out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_pkce: bool,
    /// `client_secret_post` or `client_secret_basic`.
    pub token_auth_method: String,
}

/// What an agent asks for.
#[derive(Debug)]
pub struct NewProposal {
    /// Changes to services.
    pub services: Vec<ProposedService>,
    /// Credentials that are needed or go.
    pub credentials: Vec<NewSlot>,
    /// The agent's own words.
    pub message: String,
    /// What it says to the person.
    pub user_message: String,
}

/// A credential of a stored proposal. Never holds a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// What is to happen.
    pub action: ProposedAction,
    /// Its key.
    pub key: String,
    /// `static` or `oauth`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is, for the person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Where a person gets one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub obtain: String,
    /// How.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub obtain_instructions: String,
    /// Whether the agent gave a value, which is kept sealed while the proposal is open.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_value: bool,
    /// The client at a provider, for `oauth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth: Option<SlotOAuth>,
}

impl Slot {
    /// Whether its value comes from a consent, or from tokens that a person gives, and not with the decision.
    #[must_use]
    pub fn is_oauth(&self) -> bool {
        self.oauth.is_some()
    }
}

/// Values that came with a proposal, by key.
pub(super) type Offered = Vec<(CredentialKey, SecretBytes)>;

/// A malformed field.
pub(super) fn bad(field: &str, rule: &str, example: &str) -> ControlError {
    ControlError::invalid(format!("{field}: {rule}")).hint(format!("for example {example}"))
}

/// Checks all that can be told without looking at the vault. Answers the slots and the values that came with them.
pub(super) fn check(
    new: &mut NewProposal,
    dev_mode: bool,
) -> Result<(Vec<Slot>, Offered), ControlError> {
    const EXAMPLE: &str = r#"`{"services":[{"action":"set","name":"stripe","host":"api.stripe.com","auth":{"type":"bearer","token":"STRIPE_KEY"}}],"credentials":[{"action":"set","key":"STRIPE_KEY"}]}`"#;
    if new.services.is_empty() && new.credentials.is_empty() {
        return Err(bad(
            "services",
            "a proposal needs at least one service or credential",
            EXAMPLE,
        ));
    }
    for (field, count) in [
        ("services", new.services.len()),
        ("credentials", new.credentials.len()),
    ] {
        if count > MAX_ITEMS {
            return Err(bad(
                field,
                &format!("at most {MAX_ITEMS} of them, and there are {count}"),
                "two proposals",
            ));
        }
    }
    bounded("message", &new.message, MAX_MESSAGE)?;
    bounded("user_message", &new.user_message, MAX_USER_MESSAGE)?;
    let (mut slots, mut values): (Vec<Slot>, Vec<_>) = (Vec::new(), Vec::new());
    for (index, slot) in new.credentials.iter_mut().enumerate() {
        let at = |field: &str| format!("credentials[{index}].{field}");
        let key = CredentialKey::parse(&slot.key)
            .map_err(|error| bad(&at("key"), &error.to_string(), "`STRIPE_SECRET_KEY`"))?;
        if slots.iter().any(|other| other.key == slot.key) {
            return Err(bad(
                &at("key"),
                &format!("`{key}` is given twice"),
                "one entry for each key",
            ));
        }
        let oauth = match (slot.kind.as_deref(), slot.oauth.take()) {
            (None | Some("" | "static"), None) => None,
            (None | Some("" | "static"), Some(_)) => {
                return Err(bad(
                    &at("oauth"),
                    "goes with `\"type\": \"oauth\"` only",
                    "an entry without `oauth`",
                ));
            }
            (Some("oauth"), None) if slot.action == ProposedAction::Delete => None,
            (Some("oauth"), client) => {
                if slot.value.is_some() {
                    return Err(bad(
                        &at("value"),
                        "does not go with `oauth`: tokens come from a person's consent",
                        "an entry without `value`",
                    ));
                }
                let client = client.ok_or_else(|| {
                    bad(
                        &at("oauth.token_url"),
                        "is required",
                        "`\"oauth\": {\"token_url\": \"https://github.com/login/oauth/access_token\"}`",
                    )
                })?;
                Some(slot_oauth(client, dev_mode, &at("oauth"))?)
            }
            (Some(_), _) => {
                return Err(bad(
                    &at("type"),
                    "must be `static`, `oauth` or left out",
                    "`static`",
                ));
            }
        };
        bounded(&at("description"), &slot.description, MAX_DESCRIPTION)?;
        bounded(&at("obtain"), &slot.obtain, MAX_DESCRIPTION)?;
        bounded(
            &at("obtain_instructions"),
            &slot.obtain_instructions,
            MAX_INSTRUCTIONS,
        )?;
        if !slot.obtain.is_empty() && !is_link(&slot.obtain) {
            return Err(bad(
                &at("obtain"),
                "must be an http or https URL with a host",
                "`https://dashboard.stripe.com/apikeys`",
            ));
        }
        let value = slot.value.take();
        let has_value = value.is_some();
        if let Some(value) = value {
            if slot.action == ProposedAction::Delete {
                return Err(bad(
                    &at("value"),
                    "does not go with `delete`",
                    "an entry without `value`",
                ));
            }
            if value.is_empty() {
                return Err(bad(
                    &at("value"),
                    "must not be empty",
                    "no `value` at all, and the person who approves gives one",
                ));
            }
            values.push((key, value));
        }
        slots.push(Slot {
            action: slot.action,
            key: std::mem::take(&mut slot.key),
            kind: slot_kind(oauth.is_some()).to_owned(),
            description: std::mem::take(&mut slot.description),
            obtain: std::mem::take(&mut slot.obtain),
            obtain_instructions: std::mem::take(&mut slot.obtain_instructions),
            has_value,
            oauth,
        });
    }
    Ok((slots, values))
}

fn slot_kind(oauth: bool) -> &'static str {
    if oauth { "oauth" } else { "static" }
}

fn slot_oauth(client: OAuthInput, dev_mode: bool, at: &str) -> Result<SlotOAuth, ControlError> {
    let client = slot_client(client, dev_mode).map_err(|error| {
        let named = ControlError::invalid(format!("{at}.{}", error.message()));
        match error.hint_text() {
            Some(hint) => named.hint(hint),
            None => named,
        }
    })?;
    Ok(SlotOAuth {
        authorization_url: client.authorization_url,
        token_url: client.token_url,
        client_id: client.client_id,
        scopes: client.scopes,
        scope_separator: client.scope_separator,
        disable_pkce: !client.pkce,
        token_auth_method: client.token_auth_method.as_str().to_owned(),
    })
}

/// Refuses text over its bound, and control characters that could steer a terminal.
pub(super) fn bounded(field: &str, text: &str, most: usize) -> Result<(), ControlError> {
    if text.len() > most {
        return Err(bad(
            field,
            &format!("at most {most} bytes, and there are {}", text.len()),
            "one or two sentences",
        ));
    }
    if text
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    {
        return Err(bad(
            field,
            "must not hold control characters",
            "plain text with line breaks",
        ));
    }
    Ok(())
}

fn is_link(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri
                .authority()
                .is_some_and(|authority| !authority.as_str().contains('@'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(key: &str) -> NewSlot {
        NewSlot {
            action: ProposedAction::Set,
            key: key.to_owned(),
            kind: None,
            description: String::new(),
            obtain: String::new(),
            obtain_instructions: String::new(),
            value: None,
            oauth: None,
        }
    }

    fn refusal(shape: impl FnOnce(&mut NewProposal)) -> String {
        let mut new = NewProposal {
            services: Vec::new(),
            credentials: vec![slot("KEY")],
            message: String::new(),
            user_message: String::new(),
        };
        shape(&mut new);
        let refused = check(&mut new, false).unwrap_err();
        assert!(
            refused
                .hint_text()
                .is_some_and(|hint| hint.starts_with("for example "))
        );
        refused.message().to_owned()
    }

    #[test]
    fn h24_every_bound_is_enforced_and_named() {
        let long = |bytes: usize| "x".repeat(bytes);
        for (start, refused) in [
            ("services: ", refusal(|new| new.credentials.clear())),
            (
                "credentials: ",
                refusal(|new| {
                    new.credentials
                        .extend((0..10).map(|n| slot(&format!("K{n}"))))
                }),
            ),
            (
                "message: ",
                refusal(|new| new.message = long(MAX_MESSAGE + 1)),
            ),
            (
                "user_message: ",
                refusal(|new| new.user_message = long(MAX_USER_MESSAGE + 1)),
            ),
            (
                "message: ",
                refusal(|new| new.message = "\u{1b}[2J".to_owned()),
            ),
            (
                "credentials[0].key: ",
                refusal(|new| new.credentials[0].key = "lower".to_owned()),
            ),
            (
                "credentials[1].key: ",
                refusal(|new| new.credentials.push(slot("KEY"))),
            ),
            (
                "credentials[0].oauth.token_url: ",
                refusal(|new| new.credentials[0].kind = Some("oauth".to_owned())),
            ),
            (
                "credentials[0].oauth: ",
                refusal(|new| new.credentials[0].oauth = Some(OAuthInput::default())),
            ),
            (
                "credentials[0].oauth.token_url: ",
                refusal(|new| {
                    new.credentials[0].kind = Some("oauth".to_owned());
                    new.credentials[0].oauth = Some(OAuthInput {
                        token_url: Some("http://in.clear/token".to_owned()),
                        ..OAuthInput::default()
                    });
                }),
            ),
            (
                "credentials[0].type: ",
                refusal(|new| new.credentials[0].kind = Some("magic".to_owned())),
            ),
            (
                "credentials[0].description: ",
                refusal(|new| new.credentials[0].description = long(MAX_DESCRIPTION + 1)),
            ),
            (
                "credentials[0].obtain: ",
                refusal(|new| new.credentials[0].obtain = "javascript:alert(1)".to_owned()),
            ),
            (
                "credentials[0].obtain: ",
                refusal(|new| new.credentials[0].obtain = "https://a@b.io/".to_owned()),
            ),
            (
                "credentials[0].obtain_instructions: ",
                refusal(|new| new.credentials[0].obtain_instructions = long(MAX_INSTRUCTIONS + 1)),
            ),
            (
                "credentials[0].value: ",
                refusal(|new| new.credentials[0].value = Some(SecretBytes::new(Vec::new()))),
            ),
        ] {
            assert!(refused.starts_with(start), "{start} {refused}");
        }
    }

    #[test]
    fn values_leave_the_slots() {
        let mut new = NewProposal {
            services: Vec::new(),
            credentials: vec![slot("ONE"), slot("TWO")],
            message: long_enough(),
            user_message: String::new(),
        };
        new.credentials[0].value = Some(SecretBytes::new(b"canary".to_vec()));
        let (slots, values) = check(&mut new, false).unwrap();
        assert!(slots[0].has_value && !slots[1].has_value);
        assert_eq!(values.len(), 1);
        assert!(!serde_json::to_string(&slots).unwrap().contains("canary"));
    }

    fn long_enough() -> String {
        "x".repeat(MAX_MESSAGE)
    }

    #[test]
    fn a_service_reads_and_writes_with_its_action() {
        let text = r#"{"action":"set","auth":{"token":"K","type":"bearer"},"host":"api.x.com","name":"x"}"#;
        let service: ProposedService = serde_json::from_str(text).unwrap();
        assert_eq!(
            serde_json::to_string(&serde_json::to_value(&service).unwrap()).unwrap(),
            text
        );
        for (bad, word) in [
            (r#"{"host":"api.x.com"}"#, "action"),
            (r#"{"action":"put","host":"api.x.com"}"#, "action"),
            (r#"{"action":"set","description":"x"}"#, "description"),
        ] {
            let error = serde_json::from_str::<ProposedService>(bad)
                .unwrap_err()
                .to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
