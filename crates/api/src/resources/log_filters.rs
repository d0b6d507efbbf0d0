//! Which rows of the request log are meant: the same parameters for a page, a stream and an export.

use agent_vault_control::{LogQuery, StatusBucket};
use jiff::Timestamp;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::error::ApiError;
use crate::query::Query;

/// Most rows of a page.
pub(crate) const MAX_LIMIT: u32 = 200;

/// The parameters that choose rows, as the API describes them; [`filters`] reads them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "a description: what does not read as a filter is handled by `filters`"
)]
pub(crate) struct LogFilters {
    /// `2xx`, `3xx`, `4xx`, `5xx` or `err`
    status_bucket: Option<String>,
    /// name of the matched service
    service: Option<String>,
    /// `mitm`
    ingress: Option<String>,
    /// public id of a token
    session: Option<String>,
    /// name of an agent, or address of a person, by whom or whose token
    agent: Option<String>,
    /// what the token is called
    label: Option<String>,
    /// host, with or without its port
    host: Option<String>,
    /// exactly this status
    status: Option<u16>,
    /// `brokered`, `passed` or `refused`
    decision: Option<String>,
    /// began at this time or later, RFC 3339
    since: Option<String>,
    /// began before this time, RFC 3339
    until: Option<String>,
}

/// What a query says about which rows; the vault and the place in the log are left to the caller.
pub(crate) fn filters(query: &Query) -> Result<LogQuery, ApiError> {
    let text = |name: &str| query.get(name).map(str::to_owned);
    let time = |name: &str| {
        query
            .get(name)
            .map(|text| {
                text.parse::<Timestamp>().map_err(|_| {
                    ApiError::bad_request(format!(
                        "{name} must be a time in RFC 3339, such as `2030-01-31T12:00:00Z`"
                    ))
                })
            })
            .transpose()
    };
    let exact_status = query
        .get("status")
        .map(|text| {
            text.parse::<u16>()
                .map_err(|_| ApiError::bad_request("status must be a number, such as `404`"))
        })
        .transpose()?;
    Ok(LogQuery {
        limit: MAX_LIMIT,
        status: query.get("status_bucket").and_then(StatusBucket::parse),
        service: text("service"),
        ingress: text("ingress"),
        session: text("session"),
        actor: text("agent"),
        label: text("label"),
        host: text("host").map(|host| host.to_ascii_lowercase()),
        exact_status,
        decision: text("decision"),
        since: time("since")?,
        until: time("until")?,
        ..LogQuery::newest(Uuid::nil())
    })
}

/// A cursor; unlike a filter, one that does not read cannot be left out without showing other rows than meant.
pub(crate) fn id(query: &Query, name: &str) -> Result<Option<i64>, ApiError> {
    query
        .get(name)
        .map(|text| {
            text.parse::<i64>()
                .map_err(|_| ApiError::bad_request(format!("{name} must be a row's id")))
        })
        .transpose()
}
