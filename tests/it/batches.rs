//! JSON-RPC batches of the client (MCP 2025-03-26, Overview, Batching).
//!
//! In: when a batch is taken, and how it is answered. Out: batches of the server (`streamable`).

use serde_json::{Value, json};

use crate::support::{Bridge, Gate, Legacy, LegacyRemote, Remote, Reply, rpc};

const REVISION: &str = "2025-03-26";

fn connect(remote: &Remote) -> Bridge {
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake_at(REVISION);
    bridge
}

fn ids(batch: &Value) -> Vec<Value> {
    let mut ids: Vec<_> = batch
        .as_array()
        .unwrap_or_else(|| panic!("no batch: {batch}"))
        .iter()
        .map(|message| message["id"].clone())
        .collect();
    ids.sort_by_key(Value::to_string);
    ids
}

#[track_caller]
fn assert_refused(answer: &Value, id: &Value) {
    assert_eq!(&answer["id"], id, "{answer}");
    assert_eq!(answer["error"]["code"], -32600, "{answer}");
}

/// What a server was asked after the handshake.
fn later_keys(remote: &LegacyRemote) -> Vec<String> {
    let handshake = ["initialize", "notifications/initialized", "GET", "DELETE"];
    let mut keys = remote.keys();
    keys.retain(|key| !handshake.contains(&key.as_str()));
    keys
}

#[test]
fn t22_a_batch_is_taken_apart_and_answered_as_one() {
    let gate = Gate::new();
    let behind = gate.clone();
    let remote = Legacy::sessions()
        .on("tools/list", move |_| Reply::usual().after(&behind))
        .start();
    let bridge = connect(&remote);
    bridge.send(&json!([
        rpc::request(1, "ping", Value::Null),
        rpc::request(2, "tools/list", Value::Null),
        rpc::notification("notifications/roots/list_changed", Value::Null),
    ]));
    remote.wait_call("ping");
    remote.wait_call("notifications/roots/list_changed");
    // What comes meanwhile does not wait for the batch.
    remote.say(&rpc::notification(
        "notifications/message",
        json!({"level": "info", "data": 1}),
    ));
    assert_eq!(bridge.recv()["method"], "notifications/message");
    bridge.send(&rpc::echo(3, "x"));
    assert_eq!(bridge.recv()["id"], 3);
    gate.open();
    let batch = bridge.recv();
    assert_eq!(ids(&batch), [1, 2]);
    assert!(
        batch
            .as_array()
            .unwrap()
            .iter()
            .all(|it| it.get("result").is_some())
    );
    assert_eq!(bridge.finish().messages, Vec::<Value>::new());
    let mut keys = later_keys(&remote);
    keys.sort();
    assert_eq!(
        keys,
        [
            "notifications/roots/list_changed",
            "ping",
            "tools/call",
            "tools/list"
        ]
    );
}

#[test]
fn t22_a_batch_of_notifications_gets_no_answer() {
    let remote = Legacy::sessions().start();
    let bridge = connect(&remote);
    bridge.send(&json!([
        rpc::notification("notifications/roots/list_changed", Value::Null),
        rpc::notification(
            "notifications/progress",
            json!({"progressToken": 1, "progress": 1})
        ),
    ]));
    remote.wait_call("notifications/progress");
    assert_eq!(bridge.finish().messages, Vec::<Value>::new());
    assert_eq!(
        later_keys(&remote),
        ["notifications/roots/list_changed", "notifications/progress"]
    );
}

#[test]
fn t22_a_bad_element_is_refused_within_the_answer() {
    let remote = Legacy::sessions().start();
    let bridge = connect(&remote);
    bridge.send(&json!([
        {"jsonrpc": "2.0", "id": 1},
        rpc::echo(2, "x"),
        17,
        {"jsonrpc": "2.0", "id": null, "method": "ping"},
    ]));
    let batch = bridge.recv();
    assert_eq!(ids(&batch), [1, 2]);
    let answers = batch.as_array().unwrap();
    let of = |id: u32| answers.iter().find(|it| it["id"] == id).unwrap();
    assert_refused(of(1), &json!(1));
    assert_eq!(of(2)["result"]["content"][0]["text"], "x");
    assert_eq!(bridge.finish().messages, Vec::<Value>::new());
}

#[test]
fn t22_a_cancelled_element_does_not_hold_up_the_others() {
    let remote = Legacy::sessions()
        .on("tools/call", |_| Reply::never())
        .start();
    let bridge = connect(&remote);
    bridge.send(&json!([
        rpc::echo(1, "never"),
        rpc::request(2, "ping", Value::Null),
    ]));
    remote.wait_call("tools/call");
    bridge.notify("notifications/cancelled", json!({"requestId": 1}));
    assert_eq!(ids(&bridge.recv()), [2]);
    assert_eq!(bridge.finish().messages, Vec::<Value>::new());
}

#[test]
fn t22_a_batch_at_the_end_of_input_is_answered() {
    let remote = Legacy::sessions().start();
    let mut bridge = connect(&remote);
    bridge.send(&json!([rpc::echo(1, "x"), rpc::echo(2, "y")]));
    bridge.close_stdin();
    let ended = bridge.ended();
    assert!(ended.status.success());
    assert_eq!(ended.messages.len(), 1);
    assert_eq!(ids(&ended.messages[0]), [1, 2]);
}

#[test]
fn t23_other_revisions_have_no_batches() {
    for revision in ["2024-11-05", "2025-06-18", "2025-11-25"] {
        let remote = Legacy::sessions().start();
        let mut bridge = Bridge::spawn(&remote.url());
        bridge.handshake_at(revision);
        bridge.send(&json!([
            rpc::request(1, "ping", Value::Null),
            rpc::notification("notifications/roots/list_changed", Value::Null),
            rpc::echo("b", "x"),
        ]));
        assert_refused(&bridge.recv(), &json!(1));
        assert_refused(&bridge.recv(), &json!("b"));
        assert_eq!(bridge.finish().messages, Vec::<Value>::new());
        assert_eq!(later_keys(&remote), Vec::<String>::new(), "{revision}");
    }
}

#[test]
fn t23_nor_are_there_batches_before_the_handshake() {
    let remote = Legacy::sessions().start();
    remote.must_stay_uncalled();
    let bridge = Bridge::spawn(&remote.url());
    bridge.send(&json!([rpc::request(1, "ping", Value::Null)]));
    assert_refused(&bridge.recv(), &json!(1));
    assert_eq!(bridge.finish().messages, Vec::<Value>::new());
}

#[test]
fn t24_initialize_is_no_part_of_a_batch() {
    let remote = Legacy::sessions().start();
    let mut bridge = Bridge::spawn(&remote.url());
    let batch = json!([
        rpc::initialize(1, REVISION),
        rpc::request(2, "ping", Value::Null)
    ]);
    bridge.send(&batch);
    assert_refused(&bridge.recv(), &json!(1));
    assert_refused(&bridge.recv(), &json!(2));
    bridge.handshake_at(REVISION);
    bridge.send(&batch);
    assert_refused(&bridge.recv(), &json!(1));
    assert_refused(&bridge.recv(), &json!(2));
    assert_eq!(bridge.finish().messages, Vec::<Value>::new());
    assert_eq!(remote.calls_of("initialize").len(), 1);
}

#[test]
fn an_empty_batch_is_mentioned_and_survived() {
    let remote = Legacy::sessions().start();
    let mut bridge = connect(&remote);
    bridge.send_raw("[]\n[ ]\n");
    bridge.wait_stderr("an empty batch");
    assert!(bridge.request("ping", Value::Null).get("result").is_some());
    assert_eq!(bridge.finish().messages, Vec::<Value>::new());
}

#[test]
fn a_batch_above_256_messages_is_refused() {
    let remote = Legacy::sessions().start();
    let bridge = connect(&remote);
    let batch: Vec<_> = (0..257).map(|id| rpc::echo(id, "x")).collect();
    bridge.send(&Value::from(batch));
    for id in 0..257 {
        assert_refused(&bridge.recv(), &json!(id));
    }
    assert_eq!(bridge.finish().messages, Vec::<Value>::new());
    assert_eq!(later_keys(&remote), Vec::<String>::new());
}
