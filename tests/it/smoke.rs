//! One short conversation: the handshake, a call, the end.

use serde_json::json;

use crate::support::{Bridge, Legacy, rpc};

#[test]
fn handshake_reaches_the_server_once() {
    let remote = Legacy::sessions().start();
    let mut bridge = Bridge::spawn(&remote.url());
    let response = bridge.handshake();
    assert_eq!(response["result"]["protocolVersion"], rpc::VERSION);
    assert_eq!(response["result"]["serverInfo"]["name"], "ready-made");
    remote.wait_call("notifications/initialized");
    bridge.finish();
    assert_eq!(remote.calls_of("initialize").len(), 1);
    assert_eq!(remote.sessions_opened(), 1);
}

#[test]
fn a_call_comes_back() {
    let remote = Legacy::sessions().start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("hello"));
    assert_eq!(
        response["result"]["content"],
        json!([{"type": "text", "text": "hello"}])
    );
    let ended = bridge.finish();
    assert_eq!(ended.messages, Vec::<serde_json::Value>::new());
}

#[test]
fn end_of_input_deletes_the_session() {
    let remote = Legacy::sessions().start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    remote.wait_call("notifications/initialized");
    bridge.finish();
    let calls = remote.calls_of("DELETE");
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].session().as_deref(), Some("session-1"));
    assert_eq!(remote.sessions_alive(), 0);
}
