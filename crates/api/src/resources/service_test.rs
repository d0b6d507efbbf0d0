//! What the proxy would do with a request, without sending it.

use agent_vault_control::{ServiceName, TestedRequest};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Answer, Outcome};
use crate::body::{JsonBody, null_is_absent};
use crate::error::Refusals;
use crate::principal::Caller;
use crate::segment::Segment;
use crate::state::ApiState;

/// A header field.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestHeader {
    name: String,
    value: String,
}

/// A request that nobody sends.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceTestBody {
    /// `https://host[:port]/path?query`; also http, ws, wss. Without a scheme, https.
    url: String,
    /// Name of the agent that would ask.
    agent: Option<String>,
    /// Fields that it would send; they matter where a placeholder chooses the account. At most 100.
    #[serde(default, deserialize_with = "null_is_absent")]
    #[schema(value_type = Option<Vec<TestHeader>>)]
    headers: Vec<TestHeader>,
}

/// A service by what people call it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NamedService {
    name: String,
    host: String,
    enabled: bool,
}

impl From<ServiceName> for NamedService {
    fn from(service: ServiceName) -> Self {
        Self {
            name: service.name,
            host: service.host,
            enabled: service.enabled,
        }
    }
}

/// A placeholder that would be replaced.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplacedPlaceholder {
    placeholder: String,
    key: String,
    r#in: Vec<&'static str>,
}

/// How a service for the host stands to the request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConsideredRule {
    name: String,
    host: String,
    enabled: bool,
    /// `chosen`, `refuses`, `undecided`, `other_port`, `other_path`, `other_agent`, `other_account` or `less_specific`.
    standing: &'static str,
    why: String,
}

/// What the proxy would do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServiceTestResult {
    vault: String,
    /// `inject`, `forward` or `deny`.
    decision: &'static str,
    summary: String,
    /// Why it would be refused, as in the request log.
    code: Option<&'static str>,
    hint: Option<String>,
    /// The request's host, with its port where that is not the scheme's.
    host: String,
    /// The path as rules see it.
    path: String,
    /// The service that decides.
    service: Option<NamedService>,
    /// Fields that it sets, `{{ KEY }}` standing for values.
    sets: Vec<TestHeader>,
    /// Placeholders that it replaces.
    replaces: Vec<ReplacedPlaceholder>,
    /// Credentials that it names and the vault lacks.
    missing: Vec<String>,
    /// Every service for this host.
    considered: Vec<ConsideredRule>,
    /// How many services are for other hosts.
    elsewhere: usize,
}

/// Tells which service would decide a request, why the others would not, and what would be sent. Nothing is sent, no value is read.
#[utoipa::path(post, operation_id = "services_test", path = "/v1/vaults/{name}/service-test", tag = "services", request_body = ServiceTestBody,
    params(("name" = String, Path, description = "vault")),
    responses((status = 200, description = "what would happen", body = ServiceTestResult), Refusals))]
pub(crate) async fn test(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(vault): Segment<String>,
    JsonBody(body): JsonBody<ServiceTestBody>,
) -> Outcome<ServiceTestResult> {
    let request = TestedRequest {
        url: body.url,
        agent: body.agent,
        headers: body
            .headers
            .into_iter()
            .map(|field| (field.name, field.value))
            .collect(),
    };
    let test = state
        .control()
        .services()
        .test(caller.actor(), &vault, &request)
        .await?;
    Ok(Answer::ok(ServiceTestResult {
        vault,
        decision: test.decision,
        summary: test.summary,
        code: test.code,
        hint: test.hint,
        host: test.host,
        path: test.path,
        service: test.service.map(NamedService::from),
        sets: test
            .sets
            .into_iter()
            .map(|field| TestHeader {
                name: field.name,
                value: field.value,
            })
            .collect(),
        replaces: test
            .replaces
            .into_iter()
            .map(|replaced| ReplacedPlaceholder {
                placeholder: replaced.placeholder,
                key: replaced.key,
                r#in: replaced.surfaces,
            })
            .collect(),
        missing: test.missing,
        considered: test
            .considered
            .into_iter()
            .map(|rule| ConsideredRule {
                name: rule.service.name,
                host: rule.service.host,
                enabled: rule.service.enabled,
                standing: rule.standing,
                why: rule.why,
            })
            .collect(),
        elsewhere: test.elsewhere,
    }))
}
