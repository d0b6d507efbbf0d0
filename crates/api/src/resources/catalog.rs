//! The service catalogue.

use std::collections::BTreeMap;

use agent_vault_control::catalog::{TEMPLATES, Template, TemplateAuth, TemplateSubstitution};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::Answer;
use crate::error::Refusals;

/// A template.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TemplateItem {
    id: &'static str,
    name: &'static str,
    host: &'static str,
    description: &'static str,
    auth_type: &'static str,
    suggested_credential_key: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'static str, &'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    substitutions: Vec<TemplateSubstitution>,
}

/// The templates.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Catalog {
    services: Vec<TemplateItem>,
}

/// Lists templates of services for well-known hosts.
#[utoipa::path(get, operation_id = "catalog_list", path = "/v1/service-catalog", tag = "status", security(()),
    responses((status = 200, description = "templates, by id", body = Catalog), Refusals))]
pub(crate) async fn list() -> Answer<Catalog> {
    Answer::ok(catalog())
}

fn catalog() -> Catalog {
    Catalog {
        services: TEMPLATES.iter().map(item).collect(),
    }
}

/// The catalogue as the route answers it: JSON and a line feed.
#[must_use]
pub fn catalog_document() -> String {
    // Strings and lists of strings always encode.
    let bytes = crate::answer::encode(&catalog()).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

fn item(template: &Template) -> TemplateItem {
    let (header, prefix) = match template.auth {
        TemplateAuth::ApiKey { header, prefix } => (Some(header), Some(prefix)),
        _ => (None, None),
    };
    let headers = match template.auth {
        TemplateAuth::Custom(headers) => headers.iter().copied().collect(),
        _ => BTreeMap::new(),
    };
    TemplateItem {
        id: template.id,
        name: template.name,
        host: template.host,
        description: template.description,
        auth_type: template.auth_type(),
        suggested_credential_key: template.key,
        header,
        prefix: prefix.filter(|prefix| !prefix.is_empty()),
        headers,
        substitutions: template.substitutions(),
    }
}
