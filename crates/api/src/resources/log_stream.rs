//! The request log as it goes on: server-sent events, and the whole of it as JSON lines.

use std::convert::Infallible;
use std::time::Duration;

use agent_vault_control::{Actor, ControlError, ErrorKind, LogEntry, LogQuery};
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{ApiError, Refusals};
use crate::follow::{Place, Stopping};
use crate::principal::Caller;
use crate::query::Query;
use crate::resources::log_filters::{LogFilters, filters, id};
use crate::resources::logs::item;
use crate::segment::Segment;
use crate::state::ApiState;

/// What a client that was cut off sends: the last event that it has seen (HTML, server-sent events).
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Time between two looks for rows that another process has appended.
const POLL: Duration = Duration::from_secs(1);
/// Longest silence: a comment goes out then, so that nobody in between takes the connection for dead.
const SILENCE: Duration = Duration::from_secs(15);
/// First thing in a stream: how long a client waits before it connects anew, in milliseconds.
const HELLO: &str = "retry: 2000\n\n";

/// Follows a vault's request log by server-sent events.
///
/// Begins after `Last-Event-ID`, or `after`, or with what comes from now on. Each event `log` has the row's id as its id and the row,
/// as a page has it, as its data. An event `end` says why it is over when the caller's right has ended.
#[utoipa::path(get, operation_id = "logs_stream", path = "/v1/vaults/{name}/logs/stream", tag = "logs",
    params(("name" = String, Path, description = "vault"),
        ("after" = Option<i64>, Query, description = "only rows newer than this one"),
        LogFilters),
    responses((status = 200, description = "events", body = String, content_type = "text/event-stream"), Refusals))]
pub(crate) async fn follow(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
    headers: HeaderMap,
    stopping: Option<Extension<Stopping>>,
    query: Query,
) -> Result<Response, ApiError> {
    let logs = state.control().logs();
    let last_seen = match headers.get(LAST_EVENT_ID) {
        Some(value) => Some(
            value
                .to_str()
                .ok()
                .and_then(|text| text.trim().parse::<i64>().ok())
                .ok_or_else(|| ApiError::bad_request("Last-Event-ID must be a row's id"))?,
        ),
        None => id(&query, "after")?,
    };
    let query = filters(&query)?;
    // Subscribed before anything is read, so that nothing is missed in between.
    let news = logs.news();
    let revocations = state.control().broker().revocations();
    let after = match last_seen {
        Some(after) => after,
        None => logs.head().await?,
    };
    // The right is checked before the first byte, so that a refusal is a status.
    let (rows, reached) = logs.next(caller.actor(), &name, &query, after).await?;
    let follower = Follower {
        place: state.followers().enter(caller.key())?,
        state: state.clone(),
        actor: caller.actor().clone(),
        vault: name,
        query,
        after: reached,
        waiting: Some(format!("{HELLO}{}", events(rows))),
        news,
        revocations,
        stop: stopping.map_or_else(CancellationToken::new, |Extension(Stopping(stop))| stop),
        spoke: Instant::now(),
        over: false,
    };
    let body = Body::from_stream(stream::unfold(follower, |mut follower| async move {
        let chunk = follower.next().await?;
        Some((Ok::<_, Infallible>(chunk), follower))
    }));
    let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
    Ok(([(CONTENT_TYPE, kind)], body).into_response())
}

/// A client that follows, between two chunks.
struct Follower {
    place: Place,
    state: ApiState,
    actor: Actor,
    vault: String,
    query: LogQuery,
    after: i64,
    /// Goes out first.
    waiting: Option<String>,
    news: watch::Receiver<u64>,
    revocations: watch::Receiver<u64>,
    stop: CancellationToken,
    /// When the last chunk went out.
    spoke: Instant,
    over: bool,
}

impl Follower {
    /// The next chunk; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        let chunk = self.chunk().await?;
        self.spoke = Instant::now();
        Some(Bytes::from(chunk))
    }

    async fn chunk(&mut self) -> Option<String> {
        if let Some(first) = self.waiting.take() {
            return Some(first);
        }
        loop {
            if self.over || self.stop.is_cancelled() {
                return None;
            }
            let next = self
                .state
                .control()
                .logs()
                .next(&self.actor, &self.vault, &self.query, self.after)
                .await;
            match next {
                Ok((rows, reached)) => {
                    self.after = reached;
                    if !rows.is_empty() {
                        return Some(events(rows));
                    }
                }
                Err(error) if is_final(&error) => {
                    self.over = true;
                    return Some(farewell(&error));
                }
                Err(error) => tracing::debug!(
                    who = self.place.who(),
                    error = &error as &dyn std::error::Error,
                    "the request log cannot be read; a follower waits"
                ),
            }
            let silent = self.spoke + SILENCE;
            tokio::select! {
                () = self.stop.cancelled() => return None,
                _ = self.news.changed() => {}
                _ = self.revocations.changed() => {}
                () = tokio::time::sleep(POLL) => {}
                () = tokio::time::sleep_until(silent) => return Some(String::from(":\n\n")),
            }
        }
    }
}

/// Whether asking again cannot help.
fn is_final(error: &ControlError) -> bool {
    !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Internal)
}

fn events(rows: Vec<LogEntry>) -> String {
    let mut text = String::new();
    for row in rows {
        let id = row.id;
        if let Ok(data) = serde_json::to_string(&item(row)) {
            text.push_str(&format!("id: {id}\nevent: log\ndata: {data}\n\n"));
        }
    }
    text
}

fn farewell(error: &ControlError) -> String {
    let data = serde_json::json!({ "error": error.message() });
    format!("event: end\ndata: {data}\n\n")
}

/// Gives a vault's request log as JSON lines, the oldest row first.
///
/// Rows are those of a page. An answer that breaks off was cut: it ends with a line feed only when it is whole.
#[utoipa::path(get, operation_id = "logs_export", path = "/v1/vaults/{name}/logs/export", tag = "logs",
    params(("name" = String, Path, description = "vault"),
        ("after" = Option<i64>, Query, description = "only rows newer than this one"),
        LogFilters),
    responses((status = 200, description = "one row in each line", body = String, content_type = "application/x-ndjson"), Refusals))]
pub(crate) async fn export(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let after = id(&query, "after")?.unwrap_or(0);
    let query = filters(&query)?;
    if let Some(flush) = &state.info().flush_logs {
        flush().await;
    }
    let logs = state.control().logs();
    // Rows that come later are for the next export: this one ends.
    let end = logs.head().await?;
    let (rows, reached) = logs.next(caller.actor(), &name, &query, after).await?;
    let place = state.followers().enter(caller.key())?;
    let actor = caller.actor().clone();
    let start = (state, place, Some((rows, reached)));
    let body = Body::from_stream(stream::try_unfold(start, move |(state, place, ready)| {
        let (actor, name, query) = (actor.clone(), name.clone(), query.clone());
        async move {
            let Some((rows, reached)) = ready else {
                return Ok::<_, ControlError>(None);
            };
            let mut text = String::new();
            for row in rows.into_iter().filter(|row| row.id <= end) {
                if let Ok(line) = serde_json::to_string(&item(row)) {
                    text.push_str(&line);
                    text.push('\n');
                }
            }
            let next = if reached >= end {
                None
            } else {
                let logs = state.control().logs();
                Some(logs.next(&actor, &name, &query, reached).await?)
            };
            Ok(Some((Bytes::from(text), (state, place, next))))
        }
    }));
    let kind = HeaderValue::from_static("application/x-ndjson");
    Ok(([(CONTENT_TYPE, kind)], body).into_response())
}
