//! What a person sees who opens the management port in a browser, and what its pages share.

use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::reference;
use crate::state::ApiState;

/// One plain page without scripts.
pub(crate) async fn index(State(state): State<ApiState>) -> Response {
    let version: String = state
        .info()
        .version
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || ".-+".contains(*c))
        .collect();
    Html(include_str!("index_page.html").replace("{version}", &version)).into_response()
}

/// The style of every page.
pub(crate) async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("pages.css"))
}

/// What the scripts of the pages share.
pub(crate) async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("pages.js"))
}

/// A page whose script is a file of its own, as the content policy asks.
pub(crate) fn page(text: &'static str) -> Response {
    let kept = HeaderValue::from_static("no-store");
    ([(CACHE_CONTROL, kept)], Html(text)).into_response()
}

/// A file that a page loads. Browsers ask each time whether it is still the same program that answers.
pub(crate) fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, text).into_response()
}

/// The description of the API for people, made when somebody first asks for it.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    document: Arc<str>,
    page: Arc<OnceLock<Bytes>>,
}

impl Reference {
    /// Of a document that is JSON.
    pub(crate) fn of(document: Arc<str>) -> Self {
        Self {
            document,
            page: Arc::default(),
        }
    }

    /// The page; its examples call the server at `base_url`.
    pub(crate) fn show(&self, base_url: &str) -> Response {
        let page = self.page.get_or_init(|| {
            let document = serde_json::from_str(&self.document).unwrap_or_default();
            Bytes::from(reference::page(&document, base_url))
        });
        Html(page.clone()).into_response()
    }
}

/// Whether a browser wants to show the answer to a person.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|kind| kind.trim_start().starts_with("text/html"))
}

/// For a person whose link leads to a page that is not here.
pub(crate) fn absent() -> Response {
    (
        StatusCode::NOT_FOUND,
        Html(include_str!("absent_page.html")),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT;
    use http::{HeaderMap, HeaderValue};

    use super::is_wanted;

    #[test]
    fn browsers_say_that_they_want_a_page() {
        let wanted = |accept: &'static str| {
            is_wanted(&HeaderMap::from_iter([(
                ACCEPT,
                HeaderValue::from_static(accept),
            )]))
        };
        assert!(wanted(
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
        ));
        assert!(!wanted("application/json, */*"));
        assert!(!wanted("*/*"));
        assert!(!is_wanted(&HeaderMap::new()));
    }
}
