//! A stand-in of three model APIs, enough for their SDKs and for coding agents in one turn: it answers every prompt with
//! [`ANSWER`], whole or as server-sent events.
//!
//! | path | API |
//! |---|---|
//! | `/v1/messages`, `…/count_tokens` | Anthropic |
//! | `/v1/chat/completions`, `/v1/responses`, `/v1/files` | OpenAI |
//! | `/v1beta/models/M:generateContent`, `…:streamGenerateContent`, `…:countTokens` | Gemini |
//! | `/v1/models` | the list of models |
//!
//! A request for the model `gate-NAME` gets each event after one release of the gate NAME, so that a test can tell
//! that nothing is held back.
#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value that lacks a name gives null, and each that is assigned to is an object"
)]

use std::fmt::Write as _;

use http::request::Parts;
use http::{HeaderValue, Response};
use serde_json::{Value, json};

use super::Connection;
use super::body::{self, ReplyBody};
use crate::BoxError;

/// What every prompt is answered with, in this many pieces.
pub(crate) const ANSWER: [&str; 3] = ["event 0 ", "event 1 ", "event 2 "];

/// Takes prompts over a WebSocket too.
pub(crate) const RESPONSES: &str = "/v1/responses";

/// Bytes of the file that `/v1/files/…/content` holds.
const FILE_BYTES: u64 = 5_000_000;

/// What a model that is gated is called.
const GATED: &str = "gate-";

pub(crate) fn is_at(path: &str) -> bool {
    let known = [
        "/v1/messages",
        "/v1/chat/completions",
        RESPONSES,
        "/v1/files",
        "/v1/models",
    ];
    let below = |folder: &&str| {
        path.strip_prefix(folder)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    path.starts_with("/v1beta/") || known.iter().any(below)
}

pub(crate) async fn answer(
    connection: &Connection,
    head: &Parts,
    body: &[u8],
) -> Result<Response<ReplyBody>, BoxError> {
    let path = head.uri.path();
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let model = asked["model"].as_str().unwrap_or("stand-in").to_owned();
    let streams = asked["stream"] == true || path.ends_with(":streamGenerateContent");
    if path.starts_with("/v1/files/") {
        return Ok(Response::new(body::pattern(FILE_BYTES)));
    }
    let (events, whole) = match path {
        "/v1/messages" => (message_events(&model), message(&model, true)),
        "/v1/chat/completions" => (completion_events(&model), completion(&model)),
        RESPONSES => (response_events(&model), response(&model, true)),
        "/v1/messages/count_tokens" => (String::new(), json!({"input_tokens": 1})),
        "/v1/models" => (
            String::new(),
            json!({"object": "list", "data": [{"id": "stand-in", "object": "model", "type": "model",
                "display_name": "stand-in", "created": 0, "created_at": "2026-01-01T00:00:00Z", "owned_by": "nobody"}],
                "has_more": false, "models": []}),
        ),
        "/v1/files" => (
            String::new(),
            json!({"id": "file-1", "object": "file", "bytes": body.len(), "created_at": 0, "filename": "f",
                "purpose": "user_data", "status": "processed"}),
        ),
        _ if path.ends_with(":countTokens") => (String::new(), json!({"totalTokens": 1})),
        _ if path.ends_with("enerateContent") => {
            (content_events(), content(&ANSWER.concat(), true))
        }
        _ => (String::new(), json!({})),
    };
    if !streams {
        return typed("application/json", body::full(whole.to_string()));
    }
    let gate = model
        .strip_prefix(GATED)
        .map(|name| connection.shared.gates.get(name));
    let body = body::produced(&connection.spawner, async move |out| {
        for event in events.split_inclusive("\n\n") {
            if let Some(gate) = &gate
                && ANSWER
                    .iter()
                    .any(|piece| event.contains(&format!("\"{piece}\"")))
            {
                tokio::select! {
                    () = out.gone() => return Err(body::Gone),
                    () = gate.pass() => {}
                }
            }
            out.data(event.to_owned()).await?;
        }
        Ok(())
    });
    typed("text/event-stream", body)
}

fn typed(content_type: &'static str, body: ReplyBody) -> Result<Response<ReplyBody>, BoxError> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static(content_type));
    Ok(response)
}

/// Events whose name is their `type`.
fn named(events: &[Value]) -> String {
    let mut text = String::new();
    for event in events {
        let name = event["type"].as_str().unwrap_or_default();
        write!(text, "event: {name}\ndata: {event}\n\n").expect("a string takes all");
    }
    text
}

fn message(model: &str, ended: bool) -> Value {
    let content = if ended {
        json!([{"type": "text", "text": ANSWER.concat()}])
    } else {
        json!([])
    };
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": content,
        "stop_reason": if ended { json!("end_turn") } else { Value::Null }, "stop_sequence": null,
        "usage": {"input_tokens": 1, "output_tokens": 3}})
}

fn message_events(model: &str) -> String {
    let mut events = vec![
        json!({"type": "message_start", "message": message(model, false)}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
    ];
    events.extend(ANSWER.map(|piece| {
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}})
    }));
    events.extend([
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
            "usage": {"output_tokens": 3}}),
        json!({"type": "message_stop"}),
    ]);
    named(&events)
}

fn completion(model: &str) -> Value {
    json!({"id": "c1", "object": "chat.completion", "created": 0, "model": model,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWER.concat()}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}})
}

fn completion_events(model: &str) -> String {
    let chunk = |delta: Value, finish: Value| {
        let chunk = json!({"id": "c1", "object": "chat.completion.chunk", "created": 0, "model": model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        format!("data: {chunk}\n\n")
    };
    let mut text = chunk(json!({"role": "assistant", "content": ""}), Value::Null);
    for piece in ANSWER {
        text.push_str(&chunk(json!({"content": piece}), Value::Null));
    }
    text.push_str(&chunk(json!({}), json!("stop")));
    text.push_str("data: [DONE]\n\n");
    text
}

fn response(model: &str, ended: bool) -> Value {
    json!({"id": "resp_1", "object": "response", "created_at": 0, "model": model,
        "status": if ended { "completed" } else { "in_progress" }, "error": null, "incomplete_details": null,
        "instructions": null, "metadata": {}, "parallel_tool_calls": true, "temperature": 1, "top_p": 1,
        "tool_choice": "auto", "tools": [],
        "output": if ended { json!([output_item(true)]) } else { json!([]) },
        "usage": if ended {
            json!({"input_tokens": 1, "output_tokens": 3, "total_tokens": 4,
                "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}})
        } else { Value::Null }})
}

fn output_item(ended: bool) -> Value {
    let content = if ended {
        json!([{"type": "output_text", "text": ANSWER.concat(), "annotations": []}])
    } else {
        json!([])
    };
    json!({"id": "msg_1", "type": "message", "role": "assistant",
        "status": if ended { "completed" } else { "in_progress" }, "content": content})
}

/// What a prompt over a WebSocket is answered with, one message each.
pub(crate) fn response_to(prompt: &str) -> Vec<Value> {
    let asked: Value = serde_json::from_str(prompt).unwrap_or_default();
    response_event_list(asked["model"].as_str().unwrap_or("stand-in"))
}

/// Events of the Responses API, in order.
fn response_event_list(model: &str) -> Vec<Value> {
    let text = ANSWER.concat();
    let place = json!({"item_id": "msg_1", "output_index": 0, "content_index": 0});
    let with = |kind: &str, more: Value| {
        let mut event = place.clone();
        event["type"] = json!(kind);
        for (name, value) in more.as_object().into_iter().flatten() {
            event[name] = value.clone();
        }
        event
    };
    let mut events = vec![
        json!({"type": "response.created", "response": response(model, false)}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": output_item(false)}),
        with(
            "response.content_part.added",
            json!({"part": {"type": "output_text", "text": "", "annotations": []}}),
        ),
    ];
    events.extend(ANSWER.map(|piece| {
        with(
            "response.output_text.delta",
            json!({"delta": piece, "logprobs": []}),
        )
    }));
    events.extend([
        with(
            "response.output_text.done",
            json!({"text": text, "logprobs": []}),
        ),
        with(
            "response.content_part.done",
            json!({"part": {"type": "output_text", "text": text, "annotations": []}}),
        ),
        json!({"type": "response.output_item.done", "output_index": 0, "item": output_item(true)}),
        json!({"type": "response.completed", "response": response(model, true)}),
    ]);
    for (number, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = json!(number);
    }
    events
}

fn response_events(model: &str) -> String {
    named(&response_event_list(model))
}

fn content(text: &str, ended: bool) -> Value {
    let mut candidate =
        json!({"index": 0, "content": {"role": "model", "parts": [{"text": text}]}});
    if ended {
        candidate["finishReason"] = json!("STOP");
    }
    json!({"candidates": [candidate], "modelVersion": "stand-in",
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 3, "totalTokenCount": 4}})
}

fn content_events() -> String {
    let [first, second, last] = ANSWER;
    let mut text = String::new();
    for (piece, ended) in [(first, false), (second, false), (last, true)] {
        write!(text, "data: {}\n\n", content(piece, ended)).expect("a string takes all");
    }
    text
}
