//! The record of management actions, for instance owners.

use std::convert::Infallible;

use agent_vault_control::{AuditExportHead, AuditQuery, AuditRecord, AuditVerdict, MAX_AUDIT_PAGE};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::answer::{Answer, Outcome};
use crate::error::{ApiError, Refusals};
use crate::principal::Caller;
use crate::query::Query;
use crate::resources::log_filters::id;
use crate::state::ApiState;

/// Records of a page when the client does not say.
const DEFAULT_LIMIT: u32 = 50;

/// One action.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditItem {
    seq: i64,
    /// RFC 3339, UTC, to the millisecond.
    at: String,
    /// `user`, `agent`, `scoped`, `local` or `system`.
    actor_type: &'static str,
    actor_id: String,
    /// What the actor was called then.
    actor_name: String,
    /// The client's address; empty on the server's own machine.
    source: String,
    /// `noun.verb`.
    action: String,
    target: String,
    /// `done` or `refused`.
    outcome: &'static str,
    /// More: what was there before and after, names, numbers; never a secret.
    #[schema(value_type = Object)]
    detail: Value,
    /// The hash of this record and, through the one before, of all that are older.
    hash: String,
}

/// A page of records.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditPageBody {
    /// Newest first; with `after`, oldest first.
    records: Vec<AuditItem>,
    /// For `before`, or for `after` where that was given; null at the end.
    next_cursor: Option<i64>,
}

/// Reads audit records.
#[utoipa::path(get, operation_id = "audit_list", path = "/v1/audit", tag = "audit",
    params(("limit" = Option<u32>, Query, description = "records, 50 by default, at most 500"),
        ("before" = Option<i64>, Query, description = "only records older than this one"),
        ("after" = Option<i64>, Query, description = "the oldest records newer than this one"),
        ("actor" = Option<String>, Query, description = "id, address or name"),
        ("actor_type" = Option<String>, Query, description = "`user`, `agent`, `scoped`, `local` or `system`"),
        ("action" = Option<String>, Query, description = "`noun.verb`, or a noun for all of its verbs"),
        ("target" = Option<String>, Query, description = "a part of the target"),
        ("outcome" = Option<String>, Query, description = "`done` or `refused`"),
        ("source" = Option<String>, Query, description = "the client's address"),
        ("since" = Option<String>, Query, description = "at this time or later, RFC 3339"),
        ("until" = Option<String>, Query, description = "before this time, RFC 3339")),
    responses((status = 200, description = "records", body = AuditPageBody), Refusals))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    query: Query,
) -> Outcome<AuditPageBody> {
    let (before, after) = (id(&query, "before")?, id(&query, "after")?);
    if before.is_some() && after.is_some() {
        return Err(ApiError::bad_request("before and after exclude each other"));
    }
    let limit = query
        .get("limit")
        .map(|text| {
            text.parse::<u32>().map_err(|_| {
                ApiError::bad_request("limit must be a whole number").hint("for example `limit=50`")
            })
        })
        .transpose()?;
    let limit = limit
        .filter(|limit| *limit > 0)
        .unwrap_or(DEFAULT_LIMIT)
        .min(MAX_AUDIT_PAGE);
    let asked = AuditQuery {
        limit,
        before,
        after,
        ..filters(&query)?
    };
    let records = state
        .control()
        .audit()
        .records(caller.actor(), &asked)
        .await?;
    let full = records.len() >= limit as usize;
    Ok(Answer::ok(AuditPageBody {
        next_cursor: records.last().map(|record| record.seq).filter(|_| full),
        records: records.into_iter().map(item).collect(),
    }))
}

fn filters(query: &Query) -> Result<AuditQuery, ApiError> {
    let text = |name: &str| query.get(name).map(str::to_owned);
    let time = |name: &str| {
        let parse = |text: &str| {
            text.parse::<Timestamp>().map_err(|_| {
                ApiError::bad_request(format!(
                    "{name} must be a time in RFC 3339, such as `2030-01-31T12:00:00Z`"
                ))
            })
        };
        query.get(name).map(parse).transpose()
    };
    let actor_type = query.get("actor_type").map(|text| {
        text.parse().map_err(|_| {
            ApiError::bad_request("actor_type must be one of: user, agent, scoped, local, system")
        })
    });
    let outcome = query.get("outcome").map(|text| {
        text.parse()
            .map_err(|_| ApiError::bad_request("outcome must be one of: done, refused"))
    });
    Ok(AuditQuery {
        actor: text("actor"),
        actor_type: actor_type.transpose()?,
        action: text("action"),
        target: text("target"),
        outcome: outcome.transpose()?,
        source: text("source"),
        since: time("since")?,
        until: time("until")?,
        ..AuditQuery::default()
    })
}

fn item(record: AuditRecord) -> AuditItem {
    AuditItem {
        seq: record.seq,
        at: record.at.to_string(),
        actor_type: record.actor_type.as_str(),
        actor_id: record.actor_id,
        actor_name: record.actor_name,
        source: record.source,
        action: record.action,
        target: record.target,
        outcome: record.outcome.as_str(),
        detail: serde_json::from_str(&record.detail).unwrap_or(Value::Null),
        hash: hex(&record.hash),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What checking found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditVerdictBody {
    intact: bool,
    /// How many records were checked; 0 when the chain is broken.
    records: u64,
    /// The newest record's hash. Kept elsewhere, it later proves that nothing was cut off the end.
    head: Option<String>,
    /// The last record that retention has cut off the beginning; 0 when none was.
    cut_through: i64,
    /// The first record that was changed, removed or slipped in.
    first_broken: Option<i64>,
}

/// Checks the whole chain of records.
#[utoipa::path(get, operation_id = "audit_verify", path = "/v1/audit/verify", tag = "audit",
    responses((status = 200, description = "what was found", body = AuditVerdictBody), Refusals))]
pub(crate) async fn verify(
    State(state): State<ApiState>,
    caller: Caller,
) -> Outcome<AuditVerdictBody> {
    let verdict = state.control().audit().verify(caller.actor()).await?;
    Ok(Answer::ok(match verdict {
        AuditVerdict::Intact {
            records,
            head,
            cut_through,
        } => AuditVerdictBody {
            intact: true,
            records,
            head: Some(hex(&head)),
            cut_through,
            first_broken: None,
        },
        AuditVerdict::Broken { seq } => AuditVerdictBody {
            intact: false,
            records: 0,
            head: None,
            cut_through: 0,
            first_broken: Some(seq),
        },
    }))
}

/// Gives the audit log as JSON lines, the oldest record first, behind a line that says where it begins and ends.
///
/// Each record has all that its hash covers, so that `agent-vault audit verify --export` can check it anywhere. With `after`, an export
/// goes on where another one stopped, without its first line.
#[utoipa::path(get, operation_id = "audit_export", path = "/v1/audit/export", tag = "audit",
    params(("after" = Option<i64>, Query, description = "only records newer than this one, without the first line"),
        ("limit" = Option<u64>, Query, description = "most records; all, without it")),
    responses((status = 200, description = "a head, then one record in each line", body = String, content_type = "application/x-ndjson"), Refusals))]
pub(crate) async fn export(
    State(state): State<ApiState>,
    caller: Caller,
    query: Query,
) -> Result<Response, ApiError> {
    let asked_after = id(&query, "after")?;
    let limit = query
        .get("limit")
        .map(|text| {
            text.parse::<u64>()
                .map_err(|_| ApiError::bad_request("limit must be a whole number"))
        })
        .transpose()?;
    let head = state.control().audit().export(caller.actor()).await?;
    let place = state.followers().enter(caller.key())?;
    let first = match asked_after {
        Some(_) => String::new(),
        None => format!("{}\n", head.to_json()),
    };
    let export = Export {
        after: asked_after.unwrap_or(0),
        left: limit.unwrap_or(u64::MAX),
        head,
        state,
        caller,
    };
    let start = (place, Some((first, export)));
    let body = Body::from_stream(stream::unfold(start, |(place, export)| async move {
        let (waiting, mut export) = export?;
        let (text, more) = export.next(waiting).await?;
        let chunk = Ok::<_, Infallible>(Bytes::from(text));
        Some((chunk, (place, more.then_some((String::new(), export)))))
    }));
    let kind = HeaderValue::from_static("application/x-ndjson");
    Ok(([(CONTENT_TYPE, kind)], body).into_response())
}

/// An export, between two chunks.
struct Export {
    state: ApiState,
    caller: Caller,
    head: AuditExportHead,
    after: i64,
    left: u64,
}

impl Export {
    /// The next chunk, behind `text`, and whether there are more. `None` when it cannot go on: whoever reads sees that its end is
    /// not there.
    async fn next(&mut self, mut text: String) -> Option<(String, bool)> {
        let query = AuditQuery {
            limit: MAX_AUDIT_PAGE.min(u32::try_from(self.left).unwrap_or(MAX_AUDIT_PAGE)),
            after: Some(self.after),
            ..AuditQuery::default()
        };
        if self.left == 0 {
            return Some((text, false));
        }
        let control = self.state.control();
        if let Err(error) = control.sessions().check(self.caller.actor()).await {
            tracing::debug!(%error, "an export of the audit log ends with the login of whoever reads it");
            return None;
        }
        let records = control.audit().records(self.caller.actor(), &query).await;
        let records = records
            .inspect_err(|error| tracing::warn!(%error, "an export of the audit log breaks off"))
            .ok()?;
        let got = records.len();
        for record in records
            .into_iter()
            .filter(|record| record.seq <= self.head.end)
        {
            self.after = record.seq;
            self.left = self.left.saturating_sub(1);
            text.push_str(&record.to_json().to_string());
            text.push('\n');
        }
        let more = self.left > 0 && self.after < self.head.end && got > 0;
        Some((text, more))
    }
}
