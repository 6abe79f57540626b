//! The messages a test's client says.

use serde_json::{Value, json};

/// The protocol revision a test speaks unless it says otherwise.
pub(crate) const VERSION: &str = "2025-11-25";

/// A JSON-RPC request.
pub(crate) fn request(id: impl Into<Value>, method: &str, params: Value) -> Value {
    let mut message = json!({"jsonrpc": "2.0", "id": id.into(), "method": method});
    if !params.is_null() {
        message["params"] = params;
    }
    message
}

/// A JSON-RPC notification.
pub(crate) fn notification(method: &str, params: Value) -> Value {
    let mut message = json!({"jsonrpc": "2.0", "method": method});
    if !params.is_null() {
        message["params"] = params;
    }
    message
}

/// The response to a request of the server.
pub(crate) fn response(id: impl Into<Value>, result: Value) -> Value {
    let mut message = json!({"jsonrpc": "2.0", "id": id.into()});
    message["result"] = result;
    message
}

/// An `initialize` request at this protocol revision.
pub(crate) fn initialize(id: impl Into<Value>, version: &str) -> Value {
    request(
        id,
        "initialize",
        json!({
            "protocolVersion": version,
            "capabilities": {"roots": {"listChanged": true}, "sampling": {}, "elicitation": {}},
            "clientInfo": {"name": "test-client", "version": "1.0.0"},
        }),
    )
}

/// A `tools/call` of the ready-made servers' `echo` tool.
pub(crate) fn echo(id: impl Into<Value>, text: &str) -> Value {
    request(
        id,
        "tools/call",
        json!({"name": "echo", "arguments": {"text": text}}),
    )
}

/// The parameters of [`echo`].
pub(crate) fn echo_params(text: &str) -> Value {
    json!({"name": "echo", "arguments": {"text": text}})
}

/// `notifications/initialized`.
pub(crate) fn initialized() -> Value {
    notification("notifications/initialized", Value::Null)
}
