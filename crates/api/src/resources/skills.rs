//! What agents are taught about this program.

use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;

/// The agent skill, as Markdown with front matter.
pub const SKILL: &str = include_str!("skill.md");

/// Serves the agent skill.
#[utoipa::path(get, operation_id = "skills_cli", path = "/v1/skills/cli", tag = "agents", security(()),
    responses((status = 200, description = "Markdown with front matter", body = String, content_type = "text/markdown")))]
pub(crate) async fn cli() -> Response {
    let kind = HeaderValue::from_static("text/markdown; charset=utf-8");
    ([(CONTENT_TYPE, kind)], SKILL).into_response()
}
