//! Git LFS: the batch API beside each repository, and the objects at `/lfs/<oid>`, kept in memory.
#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value that lacks a name gives null, and each that is assigned to is an object"
)]

use bytes::BytesMut;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::Incoming;
use super::body::{self, ReplyBody};
use super::files::Files;
use crate::BoxError;

/// What the batch API ends with.
const BATCH: &str = "/info/lfs/objects/batch";
/// Where objects are.
const OBJECTS: &str = "/lfs/";
const MEDIA_TYPE: &str = "application/vnd.git-lfs+json";
/// Largest object that is kept.
const MAX_OBJECT_BYTES: usize = 64 << 20;

pub(crate) fn is_at(path: &str) -> bool {
    path.starts_with(OBJECTS) || path.contains("/info/lfs/")
}

pub(crate) async fn answer(
    head: &Parts,
    mut request: Incoming,
    files: &Files,
) -> Result<Response<ReplyBody>, BoxError> {
    let mut content = BytesMut::new();
    while let Some(frame) = request.frame().await {
        if let Ok(data) = frame?.into_data() {
            if content.len() + data.len() > MAX_OBJECT_BYTES {
                return status(StatusCode::PAYLOAD_TOO_LARGE);
            }
            content.extend_from_slice(&data);
        }
    }
    let path = head.uri.path();
    if head.method == Method::PUT && path.starts_with(OBJECTS) {
        files.put(path, "application/octet-stream", content.freeze());
        return status(StatusCode::OK);
    }
    if head.method == Method::GET
        && let Some(object) = files.at(path)
    {
        return Ok(object);
    }
    if head.method == Method::POST && path.ends_with(BATCH) {
        let host = head
            .uri
            .host()
            .or_else(|| head.headers.get("host")?.to_str().ok());
        let host = host.ok_or("a request without a host")?;
        let asked: Value = serde_json::from_slice(&content)?;
        let batch = batch(host, &asked, files);
        let mut response = Response::new(body::full(batch.to_string()));
        response
            .headers_mut()
            .insert("content-type", HeaderValue::from_static(MEDIA_TYPE));
        return Ok(response);
    }
    status(StatusCode::NOT_FOUND)
}

fn batch(host: &str, asked: &Value, files: &Files) -> Value {
    let operation = asked["operation"].as_str().unwrap_or_default();
    let objects = asked["objects"].as_array().cloned().unwrap_or_default();
    let objects: Vec<Value> = objects
        .iter()
        .map(|object| {
            let path = format!("{OBJECTS}{}", object["oid"].as_str().unwrap_or_default());
            let mut answer = json!({"oid": object["oid"], "size": object["size"]});
            let stored = files.length(&path).is_some();
            match operation {
                "upload" if stored => {}
                "download" if !stored => {
                    answer["error"] = json!({"code": 404, "message": "not stored here"});
                }
                _ => {
                    answer["actions"] =
                        json!({operation: {"href": format!("https://{host}{path}")}})
                }
            }
            answer
        })
        .collect();
    json!({"transfer": "basic", "objects": objects})
}

fn status(code: StatusCode) -> Result<Response<ReplyBody>, BoxError> {
    Ok(Response::builder().status(code).body(body::empty())?)
}
