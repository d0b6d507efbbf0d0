//! The request log of a vault.

use agent_vault_control::{LogCursor, LogEntry, LogQuery};
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{Answer, Outcome, Stamp};
use crate::error::{ApiError, Refusals};
use crate::principal::Caller;
use crate::query::Query;
use crate::resources::log_filters::{LogFilters, MAX_LIMIT, filters, id};
use crate::segment::Segment;
use crate::state::ApiState;

/// Rows of a page when the client does not say.
const DEFAULT_LIMIT: u32 = 50;
/// Hosts of a page when the client does not say.
const DEFAULT_HOSTS: usize = 5;
/// Most hosts of a page.
const MAX_HOSTS: usize = 100;

/// One request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogItem {
    id: i64,
    ingress: String,
    method: String,
    host: String,
    path: String,
    matched_service: String,
    credential_keys: Vec<String>,
    /// The version of each, in the same order; empty when none was opened.
    credential_versions: Vec<u32>,
    /// What the client got; 0 when it got nothing.
    status: u16,
    latency_ms: u32,
    error_code: String,
    /// Who sent it, or who minted the token that did: `user`, `agent` or empty.
    actor_type: &'static str,
    actor_id: String,
    actor_name: String,
    /// What policy said.
    decision: String,
    /// Public id of the token.
    session: String,
    /// What the token is called.
    label: String,
    /// What the operator should know about it.
    warnings: Vec<String>,
    /// How often an injected value was found in the answer, and replaced.
    scrubs: u32,
    created_at: Stamp,
}

/// A page of the log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogPageBody {
    /// Newest first.
    logs: Vec<LogItem>,
    /// For `before`; null at the end and when following.
    next_cursor: Option<i64>,
    /// For `after`.
    latest_id: i64,
}

/// Reads a page of a vault's request log.
#[utoipa::path(get, operation_id = "logs_page", path = "/v1/vaults/{name}/logs", tag = "logs",
    params(("name" = String, Path, description = "vault"),
        ("limit" = Option<u32>, Query, description = "rows, 50 by default, at most 200"),
        ("before" = Option<i64>, Query, description = "only rows older than this one"),
        ("after" = Option<i64>, Query, description = "the oldest rows newer than this one"),
        LogFilters),
    responses((status = 200, description = "rows", body = LogPageBody), Refusals))]
pub(crate) async fn page(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
    query: Query,
) -> Outcome<LogPageBody> {
    let cursor = match (id(&query, "before")?, id(&query, "after")?) {
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_request("before and after exclude each other"));
        }
        (Some(id), None) => LogCursor::Before(id),
        (None, Some(id)) => LogCursor::After(id),
        (None, None) => LogCursor::Newest,
    };
    let limit = query.get("limit").and_then(|text| text.parse::<u32>().ok());
    let limit = limit
        .filter(|limit| *limit > 0)
        .unwrap_or(DEFAULT_LIMIT)
        .min(MAX_LIMIT);
    let filters = filters(&query)?;
    if let Some(flush) = &state.info().flush_logs {
        flush().await;
    }
    let page = state
        .control()
        .logs()
        .page(caller.actor(), &name, |vault_id| LogQuery {
            vault_id,
            limit,
            cursor,
            ..filters
        })
        .await?;
    Ok(Answer::ok(LogPageBody {
        logs: page.logs.into_iter().map(item).collect(),
        next_cursor: page.next_cursor,
        latest_id: page.latest_id,
    }))
}

/// A host that no service covers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HostItem {
    host: String,
    request_count: u64,
    last_seen: Stamp,
    #[serde(skip_serializing_if = "String::is_empty")]
    auth_scheme: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    auth_header: String,
}

/// Hosts that no service covers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HostList {
    hosts: Vec<HostItem>,
    total: usize,
}

/// Lists hosts that agents asked for and no service covers.
#[utoipa::path(get, operation_id = "logs_discovered_hosts", path = "/v1/vaults/{name}/discovered-hosts", tag = "logs",
    params(("name" = String, Path, description = "vault"),
        ("limit" = Option<u32>, Query, description = "hosts, 5 by default, at most 100, 0 for the number only")),
    responses((status = 200, description = "hosts, last seen first", body = HostList), Refusals))]
pub(crate) async fn discovered_hosts(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
    query: Query,
) -> Outcome<HostList> {
    let limit = query
        .get("limit")
        .and_then(|text| text.parse::<usize>().ok());
    let limit = limit.unwrap_or(DEFAULT_HOSTS).min(MAX_HOSTS);
    if let Some(flush) = &state.info().flush_logs {
        flush().await;
    }
    let found = state
        .control()
        .logs()
        .discovered_hosts(caller.actor(), &name, limit)
        .await?;
    let hosts = found
        .hosts
        .into_iter()
        .map(|host| HostItem {
            host: host.host,
            request_count: host.request_count,
            last_seen: Stamp(host.last_seen),
            auth_scheme: host.auth_scheme,
            auth_header: host.auth_header,
        })
        .collect();
    Ok(Answer::ok(HostList {
        hosts,
        total: found.total,
    }))
}

pub(crate) fn item(entry: LogEntry) -> LogItem {
    let LogEntry {
        id,
        row,
        actor_name,
    } = entry;
    LogItem {
        id,
        ingress: row.ingress,
        method: row.method,
        host: row.host,
        path: row.path,
        matched_service: row.matched_service,
        credential_keys: row.credential_keys,
        credential_versions: row.credential_versions,
        status: row.status,
        latency_ms: row.latency_ms,
        error_code: row.error_code,
        actor_type: row.actor.map_or("", |actor| actor.kind.as_str()),
        actor_id: row
            .actor
            .map(|actor| actor.id.to_string())
            .unwrap_or_default(),
        actor_name,
        decision: row.decision,
        session: row.session_id,
        label: row.label,
        warnings: row.warnings,
        scrubs: row.scrubs,
        created_at: Stamp(row.created_at),
    }
}
