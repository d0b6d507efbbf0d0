//! Files in memory, each at one path: package indexes and what clients have stored.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};

use super::body::{self, ReplyBody};

/// Content by path.
#[derive(Debug, Default)]
pub(crate) struct Files(Mutex<BTreeMap<String, (&'static str, Bytes)>>);

impl Files {
    pub(crate) fn put(&self, path: &str, content_type: &'static str, content: Bytes) {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.insert(path.to_owned(), (content_type, content));
    }

    pub(crate) fn length(&self, path: &str) -> Option<usize> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.get(path).map(|(_, content)| content.len())
    }

    /// The answer to a request for `path`: the file, or 404 where its first segment has others; `None` elsewhere.
    pub(crate) fn at(&self, path: &str) -> Option<Response<ReplyBody>> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((content_type, content)) = files.get(path) else {
            let end = path.get(1..)?.find('/')? + 2;
            let folder = path.get(..end)?;
            if !files.keys().any(|name| name.starts_with(folder)) {
                return None;
            }
            let mut response = Response::new(body::empty());
            *response.status_mut() = StatusCode::NOT_FOUND;
            return Some(response);
        };
        let mut response = Response::new(body::full(content.clone()));
        response
            .headers_mut()
            .insert("content-type", HeaderValue::from_static(content_type));
        Some(response)
    }
}
