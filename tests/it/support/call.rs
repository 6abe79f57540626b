//! One request as a mock server saw it.

use std::fmt;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};

use super::reply::Reply;
use super::stream::StreamHandle;

/// A request with its body, and where it stands among the others.
#[derive(Clone)]
pub(crate) struct Call {
    /// 1 for the first request this server saw, of any kind.
    pub(crate) number: usize,
    /// 1 for the first request with this [`key`](Self::key).
    pub(crate) nth: usize,
    /// When the request had arrived. For lower bounds only: "not before".
    pub(crate) at: Instant,
    /// Method, in capitals.
    pub(crate) verb: String,
    /// Path without the query.
    pub(crate) path: String,
    /// Query without its question mark, if there is one.
    pub(crate) query: Option<String>,
    /// Whether it came over HTTP/2.
    pub(crate) http2: bool,
    /// Whether it came over TLS.
    pub(crate) secure: bool,
    /// Which connection it came on; 1 is the first that this server accepted.
    pub(crate) connection: usize,
    /// Header fields.
    pub(crate) headers: HeaderMap,
    /// Body as it came.
    pub(crate) body: Bytes,
    /// Body as JSON; null when it is none.
    pub(crate) json: Value,
    /// On the ready-made servers: the open event stream of this request's session (GET).
    pub(crate) stream: Option<StreamHandle>,
}

impl Call {
    /// A header's value; several fields of one name are joined by `, ` (RFC 9110 §5.3).
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self.headers.get_all(name).iter().collect();
        let texts = values
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        (!values.is_empty()).then(|| texts.collect::<Vec<_>>().join(", "))
    }

    /// The session id it carries.
    pub(crate) fn session(&self) -> Option<String> {
        self.header("mcp-session-id")
    }

    /// What it asks for: the JSON-RPC method of a POST, `response` or `batch` for a POST of those,
    /// otherwise the HTTP method in capitals.
    pub(crate) fn key(&self) -> &str {
        if self.verb == "POST" && !self.json.is_null() {
            self.rpc()
        } else {
            &self.verb
        }
    }

    /// The JSON-RPC method; `response`, `batch`, or empty where there is none.
    pub(crate) fn rpc(&self) -> &str {
        if let Some(method) = self.json.get("method").and_then(Value::as_str) {
            method
        } else if self.json.is_array() {
            "batch"
        } else if self.json.get("id").is_some() {
            "response"
        } else {
            ""
        }
    }

    /// The JSON-RPC id; null where there is none.
    pub(crate) fn id(&self) -> Value {
        self.json.get("id").cloned().unwrap_or_default()
    }

    /// The JSON-RPC parameters; null where there are none.
    pub(crate) fn params(&self) -> &Value {
        self.json.get("params").unwrap_or(&Value::Null)
    }

    /// The caller's progress token; null where there is none.
    pub(crate) fn progress_token(&self) -> Value {
        self.params()
            .pointer("/_meta/progressToken")
            .cloned()
            .unwrap_or_default()
    }

    /// Whether it expects a response.
    pub(crate) fn is_request(&self) -> bool {
        self.json.get("method").is_some() && self.json.get("id").is_some()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The response message that carries this result.
    pub(crate) fn result_message(&self, result: &Value) -> Value {
        json!({"jsonrpc": "2.0", "id": self.id(), "result": result})
    }

    /// The response message that carries this error.
    pub(crate) fn error_message(&self, code: i64, message: &str) -> Value {
        json!({"jsonrpc": "2.0", "id": self.id(), "error": {"code": code, "message": message}})
    }

    /// 200 with this result as JSON.
    pub(crate) fn result(&self, result: &Value) -> Reply {
        Reply::json(&self.result_message(result))
    }

    /// 200 with this result as JSON text, every byte of which is kept.
    pub(crate) fn result_text(&self, result: &str) -> Reply {
        let id = self.id();
        Reply::json_text(format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
        ))
    }

    /// 200 with this JSON-RPC error.
    pub(crate) fn error(&self, code: i64, message: &str) -> Reply {
        Reply::json(&self.error_message(code, message))
    }

    /// What the `echo` tool of the ready-made servers answers: the argument `text`, or else all
    /// arguments as JSON.
    pub(crate) fn echo(&self) -> Value {
        let arguments = self.params().get("arguments").cloned().unwrap_or_default();
        let text = match arguments.get("text").and_then(Value::as_str) {
            Some(text) => text.to_owned(),
            None => arguments.to_string(),
        };
        json!({"content": [{"type": "text", "text": text}]})
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body: String = self.text().chars().take(200).collect();
        let query = self
            .query
            .as_ref()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        let Self {
            number,
            connection,
            verb,
            path,
            ..
        } = self;
        write!(
            f,
            "#{number} (connection {connection}) {verb} {path}{query} "
        )?;
        write!(f, "session {:?} body {body}", self.session())
    }
}
