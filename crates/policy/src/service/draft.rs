//! What people write: the serde form of a service, in JSON bodies and in YAML files. Nothing is checked here but names of fields.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Auth, Scrub, Service, Undecodable};

/// A service as written. Unknown and repeated fields are errors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceDraft {
    /// Slug, unique in the vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `host`, or joined `host[:port][/path]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// 1 to 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i64>,
    /// Path pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// True when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// What is injected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthDraft>,
    /// What is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub substitutions: Option<Vec<SubstitutionDraft>>,
    /// True when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_tls: Option<bool>,
    /// How responses are searched; searched and refused where that is impossible, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrub: Option<ScrubDraft>,
    /// What chooses this rule among its like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<SelectDraft>,
}

/// The `auth` object as written: the type and the fields of all types.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthDraft {
    /// `bearer`, `basic`, `api-key`, `custom` or `passthrough`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// For `bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// For `basic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For `basic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// For `api-key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// For `api-key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// For `api-key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// For `custom`: name to template, in the order written, repeated names refused.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "deserialize_headers",
        serialize_with = "serialize_headers"
    )]
    pub headers: Option<Vec<(String, String)>>,
}

/// One element of `substitutions` as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubstitutionDraft {
    /// Credential key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placeholder: Option<String>,
    /// Surfaces; path and query when absent or empty.
    #[serde(rename = "in", default, skip_serializing_if = "Option::is_none")]
    pub surfaces: Option<Vec<String>>,
    /// Limits the header surface to these fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<String>>,
}

/// The `scrub` object as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScrubDraft {
    /// True when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// `refuse`, which is meant when absent, or `pass`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undecodable: Option<String>,
}

/// The `select` object as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectDraft {
    /// Names of agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<Vec<String>>,
    /// Text that the request carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placeholder: Option<String>,
}

impl From<&Service> for ServiceDraft {
    /// The wire form: host, port and path joined; defaults left out.
    fn from(service: &Service) -> Self {
        let written = |text: &dyn fmt::Display| Some(text.to_string());
        let mut auth = AuthDraft {
            kind: written(&service.auth.type_name()),
            ..AuthDraft::default()
        };
        match &service.auth {
            Auth::Bearer { token } => auth.token = written(token),
            Auth::Basic { username, password } => {
                auth.username = written(username);
                auth.password = password.as_ref().map(ToString::to_string);
            }
            Auth::ApiKey {
                key,
                header,
                prefix,
            } => {
                auth.key = written(key);
                auth.header =
                    (header.name() != http::header::AUTHORIZATION).then(|| header.to_string());
                auth.prefix = (!prefix.is_empty()).then(|| prefix.clone());
            }
            Auth::Custom { headers } => {
                auth.headers = Some(
                    headers
                        .iter()
                        .map(|(name, template)| (name.to_string(), template.to_string()))
                        .collect(),
                );
            }
            Auth::Passthrough => {}
        }
        let substitutions: Vec<SubstitutionDraft> = service
            .substitutions
            .iter()
            .map(|substitution| SubstitutionDraft {
                key: written(&substitution.key),
                placeholder: written(&substitution.placeholder),
                surfaces: Some(
                    substitution
                        .surfaces
                        .iter()
                        .map(|surface| surface.to_string())
                        .collect(),
                ),
                headers: some_list(
                    substitution
                        .headers
                        .iter()
                        .map(ToString::to_string)
                        .collect(),
                ),
            })
            .collect();
        let select = (!service.select.is_empty()).then(|| SelectDraft {
            agents: some_list(
                service
                    .select
                    .agents
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            ),
            placeholder: service.select.placeholder.clone(),
        });
        Self {
            name: written(&service.name),
            host: Some(service.inline_host()),
            port: None,
            path: None,
            enabled: (!service.enabled).then_some(false),
            auth: Some(auth),
            substitutions: (!substitutions.is_empty()).then_some(substitutions),
            require_tls: (!service.require_tls).then_some(false),
            scrub: (service.scrub != Scrub::default()).then(|| ScrubDraft {
                enabled: (!service.scrub.enabled).then_some(false),
                undecodable: (service.scrub.undecodable != Undecodable::Refuse)
                    .then(|| service.scrub.undecodable.as_str().to_owned()),
            }),
            select,
        }
    }
}

fn some_list(list: Vec<String>) -> Option<Vec<String>> {
    (!list.is_empty()).then_some(list)
}

fn deserialize_headers<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<(String, String)>>, D::Error> {
    struct Headers;

    impl<'de> Visitor<'de> for Headers {
        type Value = Option<Vec<(String, String)>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of header names to templates")
        }

        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_none<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(
            self,
            deserializer: D,
        ) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_map(self)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut headers: Vec<(String, String)> = Vec::new();
            while let Some(name) = map.next_key::<String>()? {
                if headers
                    .iter()
                    .any(|(known, _)| known.eq_ignore_ascii_case(&name))
                {
                    return Err(serde::de::Error::custom(format_args!(
                        "duplicate header `{name}`"
                    )));
                }
                if headers.len() >= super::validate::MAX_CUSTOM_HEADERS {
                    return Err(serde::de::Error::custom("too many headers"));
                }
                headers.push((name, map.next_value()?));
            }
            Ok(Some(headers))
        }
    }

    deserializer.deserialize_option(Headers)
}

fn serialize_headers<S: Serializer>(
    headers: &Option<Vec<(String, String)>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let headers = headers.as_deref().unwrap_or_default();
    let mut map = serializer.serialize_map(Some(headers.len()))?;
    for (name, template) in headers {
        map.serialize_entry(name, template)?;
    }
    map.end()
}
