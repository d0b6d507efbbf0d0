//! What is sent to Infisical's routes and what is read of their answers. Fields that are not needed are skipped.

use std::collections::BTreeMap;
use std::fmt;

use agent_vault_broker::{StoreFailure, StoreFault, StoreLease, StorePlace};
use agent_vault_seal::SecretBytes;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize};

/// RFC 3986 section 2.3: what needs no encoding anywhere.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
/// Longest id of a lease, in bytes.
const MAX_LEASE_ID_BYTES: usize = 256;

/// A value as part of a path or a query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// A secret's text, which goes from the answer to where it is wiped.
pub(super) struct Secret(pub(super) SecretBytes);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_str<E>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret(SecretBytes::new(text.as_bytes().to_vec())))
            }

            fn visit_string<E>(self, text: String) -> Result<Secret, E> {
                Ok(Secret(SecretBytes::from(text)))
            }
        }
        deserializer.deserialize_string(Text)
    }
}

/// The answer to a login or its renewal.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoggedIn {
    pub(super) access_token: Secret,
    /// Seconds.
    #[serde(default)]
    pub(super) expires_in: f64,
}

#[derive(Deserialize)]
pub(super) struct Secrets {
    secrets: Vec<OneSecret>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OneSecret {
    secret_key: String,
    secret_value: Secret,
    #[serde(default)]
    secret_value_hidden: bool,
}

impl Secrets {
    pub(super) fn values(self) -> Result<Vec<(String, SecretBytes)>, StoreFailure> {
        if self.secrets.iter().any(|one| one.secret_value_hidden) {
            // What stands there instead is no credential.
            return Err(StoreFailure::new(
                StoreFault::Refused,
                "Infisical hides values of the secrets from the server's machine identity",
            ));
        }
        Ok(self
            .secrets
            .into_iter()
            .map(|one| (one.secret_key, one.secret_value.0))
            .collect())
    }
}

#[derive(Deserialize)]
pub(super) struct WorkspaceAnswer {
    workspace: Workspace,
}

#[derive(Deserialize)]
struct Workspace {
    slug: String,
}

impl WorkspaceAnswer {
    pub(super) fn slug(self) -> String {
        self.workspace.slug
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DynamicSecrets {
    dynamic_secrets: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

impl DynamicSecrets {
    pub(super) fn names(self) -> Vec<String> {
        self.dynamic_secrets
            .into_iter()
            .map(|named| named.name)
            .collect()
    }
}

/// Where a lease is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LeasePlace<'a> {
    project_slug: &'a str,
    environment_slug: &'a str,
    path: &'a str,
}

impl<'a> LeasePlace<'a> {
    pub(super) fn of(slug: &'a str, at: &'a StorePlace) -> Self {
        Self {
            project_slug: slug,
            environment_slug: &at.environment,
            path: &at.secret_path,
        }
    }
}

/// A lease that is wanted, with the default life of its secret.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewLease<'a> {
    dynamic_secret_name: &'a str,
    #[serde(flatten)]
    place: LeasePlace<'a>,
}

impl<'a> NewLease<'a> {
    pub(super) fn of(name: &'a str, slug: &'a str, at: &'a StorePlace) -> Self {
        Self {
            dynamic_secret_name: name,
            place: LeasePlace::of(slug, at),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lease {
    id: String,
    #[serde(default)]
    expire_at: Option<String>,
}

impl Lease {
    fn ends(&self) -> Result<Option<Timestamp>, StoreFailure> {
        let Some(text) = &self.expire_at else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            StoreFailure::new(
                StoreFault::Unreachable,
                "Infisical says the end of a lease in a form that cannot be read",
            )
        })
    }
}

#[derive(Deserialize)]
pub(super) struct Leased {
    lease: Lease,
    data: BTreeMap<String, serde_json::Value>,
}

impl Leased {
    pub(super) fn into_lease(self) -> Result<StoreLease, StoreFailure> {
        let expires_at = self.lease.ends()?;
        if self.lease.id.is_empty() || self.lease.id.len() > MAX_LEASE_ID_BYTES {
            return Err(StoreFailure::new(
                StoreFault::Unreachable,
                "Infisical names a lease in a form that cannot be used",
            ));
        }
        let fields = self
            .data
            .into_iter()
            .map(|(name, value)| (name, text(value)))
            .collect();
        Ok(StoreLease {
            id: self.lease.id,
            expires_at,
            fields,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct Renewed {
    lease: Lease,
}

impl Renewed {
    pub(super) fn ends(&self) -> Result<Option<Timestamp>, StoreFailure> {
        self.lease.ends()
    }
}

/// A field as the text that is injected: whole numbers without a fraction, nothing for null.
fn text(value: serde_json::Value) -> SecretBytes {
    use serde_json::Value;
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        Value::Number(number) => {
            let whole = number
                .as_f64()
                .filter(|_| number.is_f64())
                .filter(|float| float.fract() == 0.0);
            whole.map_or_else(|| number.to_string(), |float| format!("{float:.0}"))
        }
        other @ (Value::Bool(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    };
    SecretBytes::from(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_become_text() {
        for (value, expected) in [
            (json!("a"), "a"),
            (json!(5432), "5432"),
            (json!(5432.0), "5432"),
            (json!(1.5), "1.5"),
            (json!(true), "true"),
            (json!(null), ""),
            (json!(["a"]), r#"["a"]"#),
        ] {
            assert_eq!(text(value).expose_str(), Ok(expected));
        }
    }

    #[test]
    fn hidden_values_are_no_values() {
        let answer = json!({"secrets": [
            {"secretKey": "A", "secretValue": "x", "id": "1"},
            {"secretKey": "B", "secretValue": "<hidden>", "secretValueHidden": true}]});
        let secrets: Secrets = serde_json::from_value(answer).unwrap();
        assert_eq!(secrets.values().unwrap_err().fault, StoreFault::Refused);
    }

    #[test]
    fn leases_with_and_without_an_end() {
        let leased = |end: serde_json::Value| {
            let answer = json!({"lease": {"id": "l1", "expireAt": end}, "data": {"USER": "u\n"}});
            serde_json::from_value::<Leased>(answer)
                .unwrap()
                .into_lease()
        };
        let lease = leased(json!("2030-01-01T00:00:00.000Z")).unwrap();
        assert_eq!(
            lease.expires_at,
            Some("2030-01-01T00:00:00Z".parse().unwrap())
        );
        assert_eq!(lease.fields.len(), 1);
        assert_eq!(leased(json!(null)).unwrap().expires_at, None);
        assert!(leased(json!("soon")).is_err());
    }

    #[test]
    fn everything_is_encoded() {
        assert_eq!(encoded("/a b&c=d?#%é"), "%2Fa%20b%26c%3Dd%3F%23%25%C3%A9");
    }
}
