//! Answers and refusals of the management API.

use bytes::Bytes;
use serde_json::Value;

use crate::error::CliError;

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

/// A refusal, in the server's words.
#[derive(Debug)]
pub(crate) struct ApiError {
    /// HTTP status; 0 where the server was not reached.
    pub(crate) status: u16,
    /// The machine word, where the server gave one.
    pub(crate) code: Option<String>,
    message: String,
    hint: Option<String>,
    transport: Option<CliError>,
}

impl Reply {
    /// The body as text, as the server sent it.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Reads every error shape of the contract: `{error}`, `{code, error}`, `{error, message}`, each with or without
    /// `hint` and `candidates`; else the status and the first line of a text body.
    pub(crate) fn into_error(self) -> ApiError {
        let json: Value = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        let text = |name: &str| {
            json.get(name)
                .and_then(Value::as_str)
                .filter(|s| !s.is_empty())
                .map(str::to_owned)
        };
        let (code, message) = match (text("code"), text("error"), text("message")) {
            (code, error, Some(message)) => (code.or(error), message),
            (code, Some(error), None) => (code, error),
            (code, None, None) => {
                let body = String::from_utf8_lossy(&self.body);
                let line: String = body
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .chars()
                    .take(200)
                    .collect();
                let plain = !line.is_empty() && !line.trim_start().starts_with(['<', '{']);
                let reason = if plain {
                    format!(": {line}")
                } else {
                    String::new()
                };
                (code, format!("the server answered {}{reason}", self.status))
            }
        };
        let mut hint = text("hint");
        if let Some(candidates) = json
            .get("candidates")
            .and_then(Value::as_array)
            .filter(|c| !c.is_empty())
        {
            let names: Vec<_> = candidates
                .iter()
                .filter_map(|c| c.get("name").and_then(Value::as_str).or_else(|| c.as_str()))
                .collect();
            hint.get_or_insert_with(|| format!("one of: {}", names.join(", ")));
        }
        if self.status == 429
            && let Some(seconds) = self.header("retry-after")
        {
            hint.get_or_insert_with(|| format!("try again in {seconds} s"));
        }
        ApiError {
            status: self.status,
            code,
            message,
            hint,
            transport: None,
        }
    }
}

impl ApiError {
    pub(crate) fn transport(error: CliError) -> ApiError {
        ApiError {
            status: 0,
            code: None,
            message: error.message().to_owned(),
            hint: None,
            transport: Some(error),
        }
    }

    /// True if the server knows this word or text.
    pub(crate) fn is_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl From<ApiError> for CliError {
    fn from(error: ApiError) -> CliError {
        if let Some(transport) = error.transport {
            return transport;
        }
        let uninitialised = error.is_code("not_initialized");
        let mut out = CliError::new(error.message);
        if let Some(hint) = error.hint {
            out = out.hint(hint);
        } else if error.status == 401 {
            out = out.hint("log in with `agent-vault auth login`");
        } else if uninitialised {
            out = out.hint("create the owner with `agent-vault auth register`");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::Reply;
    use crate::error::CliError;

    fn error(status: u16, body: &str) -> CliError {
        Reply {
            status,
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::copy_from_slice(body.as_bytes()),
        }
        .into_error()
        .into()
    }

    #[test]
    fn every_error_shape_gives_one_sentence() {
        for (status, body, message, hint) in [
            (400, r#"{"error":"bad name"}"#, "bad name", None),
            (
                502,
                r#"{"code":"infisical_fetch_failed","error":"no luck"}"#,
                "no luck",
                None,
            ),
            (
                503,
                r#"{"error":"not_initialized","message":"No owner yet"}"#,
                "No owner yet",
                Some("auth register"),
            ),
            (
                403,
                r#"{"error":"forbidden","message":"m","hint":"do x"}"#,
                "m",
                Some("do x"),
            ),
            (
                409,
                r#"{"error":"ambiguous","candidates":[{"name":"a","host":"h"},{"name":"b","host":"h"}]}"#,
                "ambiguous",
                Some("a, b"),
            ),
            (
                401,
                r#"{"error":"Session expired"}"#,
                "Session expired",
                Some("auth login"),
            ),
            (
                404,
                "404 page not found\n",
                "the server answered 404: 404 page not found",
                None,
            ),
            (502, "<html>", "the server answered 502", None),
        ] {
            let error = error(status, body);
            assert_eq!(error.message(), message);
            match hint {
                None => assert!(error.hints().is_empty(), "{body}"),
                Some(hint) => assert!(error.hints().concat().contains(hint), "{body}"),
            }
        }
    }
}
