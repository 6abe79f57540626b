//! Every revision of the protocol on either side: with and without a handshake, translated where
//! the two sides differ.
//!
//! In: the whole program between a client of one era and a ready-made server of one or both. Out:
//! how single messages are rewritten (tested beside `proto::era`).
//!
//! | module | client | server |
//! |---|---|---|
//! | `handshake` | older | 2026-07-28 |
//! | `questions` | older | 2026-07-28, asking its client |
//! | `changes` | older | 2026-07-28, telling of changes |
//! | `requests` | older | 2026-07-28, headers and results of single requests |
//! | `translated` | 2026-07-28 | older |
//! | `parked` | 2026-07-28 | older, asking its client |
//! | `straight` | 2026-07-28 | 2026-07-28 |
//! | `limits` | either | hostile ones of both eras |
//! | `memory` | either | both eras, and what is remembered of a server |

mod changes;
mod handshake;
mod limits;
mod memory;
mod parked;
mod questions;
mod requests;
mod straight;
mod translated;

use serde_json::{Value, json};

use crate::support::{Bridge, Ended, Legacy, Unaware, modern_request, rpc};

/// Initializes with these capabilities; gives the result.
#[track_caller]
fn shake(bridge: &Bridge, version: &str, capabilities: &Value) -> Value {
    let mut message = rpc::initialize("init", version);
    message["params"]["capabilities"] = capabilities.clone();
    bridge.send(&message);
    let response = bridge.response("init");
    let result = response["result"].clone();
    assert!(result.is_object(), "initialize failed: {response}");
    bridge.send(&rpc::initialized());
    result
}

/// What the clients of 2026-07-28 declare here.
fn declared() -> Value {
    json!({"elicitation": {}})
}

/// Sends a request of 2026-07-28.
#[track_caller]
fn say(bridge: &Bridge, id: impl Into<Value>, method: &str, params: Value) {
    bridge.send(&modern_request(id, method, params, &declared()));
}

/// Sends a request of 2026-07-28 and takes its response.
#[track_caller]
fn ask(bridge: &Bridge, id: impl Into<Value>, method: &str, params: Value) -> Value {
    let id = id.into();
    say(bridge, id.clone(), method, params);
    bridge.response(id)
}

/// The result in a response.
#[track_caller]
fn result(response: &Value) -> &Value {
    let result = &response["result"];
    assert!(result.is_object(), "no result in {response}");
    result
}

/// The code of the error in a response.
#[track_caller]
fn code(response: &Value) -> i64 {
    let code = response["error"]["code"].as_i64();
    code.unwrap_or_else(|| panic!("no error in {response}"))
}

/// What `echo` said.
#[track_caller]
fn said(response: &Value) -> &str {
    let text = response["result"]["content"][0]["text"].as_str();
    text.unwrap_or_else(|| panic!("no text in {response}"))
}

/// Everything the bridge does at once with the lines so far is done when a later line is answered.
#[track_caller]
fn lines_are_read(bridge: &Bridge) {
    bridge.send_raw("not json\n");
    assert_eq!(code(&bridge.response(Value::Null)), -32700);
}

/// Whether a message that was not yet taken answers this id.
fn is_answered(bridge: &Bridge, id: &Value) -> bool {
    let answers = |it: &Value| it.get("method").is_none() && it.get("id") == Some(id);
    bridge.waiting().iter().any(answers)
}

/// Ends a conversation of 2026-07-28: its client must never see a request.
#[track_caller]
fn end(bridge: Bridge) -> Ended {
    let ended = bridge.finish();
    for message in &ended.messages {
        let is_request = message.get("method").is_some() && message.get("id").is_some();
        assert!(!is_request, "a request to a modern client: {message}");
    }
    ended
}

/// An older server with sessions.
fn old() -> Legacy {
    Legacy::sessions().unaware(Unaware::TypeScript)
}
