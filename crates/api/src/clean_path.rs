//! One path per resource: `//`, `/./` and `/../` are answered with a redirect to the clean form.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};

/// Redirects a dirty path; the method stays (RFC 9110 section 15.4.9).
pub(crate) async fn redirect(request: Request, next: Next) -> Response {
    let Some(clean) = clean(request.uri().path()) else {
        return next.run(request).await;
    };
    let target = match request.uri().query() {
        Some(query) => format!("{clean}?{query}"),
        None => clean,
    };
    match HeaderValue::from_str(&target) {
        Ok(location) => (StatusCode::PERMANENT_REDIRECT, [(LOCATION, location)]).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// The clean form of a path that is not clean.
fn clean(path: &str) -> Option<String> {
    let dirty = path.contains("//") || path.split('/').any(|segment| matches!(segment, "." | ".."));
    if !dirty {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    let slash = path.ends_with('/') && !kept.is_empty();
    Some(format!(
        "/{}{}",
        kept.join("/"),
        if slash { "/" } else { "" }
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dirty_paths() {
        for (path, expected) in [
            ("/v1/vaults", None),
            ("/", None),
            ("//", Some("/")),
            ("//evil.example/x", Some("/evil.example/x")),
            ("/v1//vaults/", Some("/v1/vaults/")),
            ("/v1/../v1/./status", Some("/v1/status")),
            ("/../../x", Some("/x")),
            ("/v1/vaults/slack.com%2F..%2Fapi", None),
        ] {
            assert_eq!(clean(path).as_deref(), expected, "{path}");
        }
    }
}
