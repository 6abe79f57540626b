//! A client of the older revisions and a server of 2026-07-28: changes, logs and cancellation,
//! which the two eras tell each other in different ways.

use serde_json::{Value, json};

use super::{code, is_answered, lines_are_read, result};
use crate::support::{Bridge, Mailbox, Modern, Reply, rpc};

#[test]
fn t108_cancelling_closes_the_connection() {
    let opened = Mailbox::new();
    let mailbox = opened.clone();
    let remote = Modern::new()
        .capabilities(json!({"tools": {}}))
        .script("slow", move |_| Reply::stream(|stream| mailbox.put(stream)))
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&rpc::request(1, "tools/call", json!({"name": "slow"})));
    let stream = opened.take();
    bridge.notify("notifications/cancelled", json!({"requestId": 1}));
    stream.wait_closed();
    bridge.request("tools/list", Value::Null);
    assert_eq!(bridge.finish().messages, Vec::<Value>::new());
    let expected = ["initialize", "server/discover", "tools/call", "tools/list"];
    assert_eq!(remote.keys(), expected);
}

#[test]
fn t112_changes_are_listened_for_after_the_handshake() {
    let listening = json!({"listChanged": true});
    for (capabilities, filter) in [
        (
            json!({"tools": listening}),
            json!({"toolsListChanged": true}),
        ),
        (
            json!({"tools": {}, "prompts": listening, "resources": listening}),
            json!({"promptsListChanged": true, "resourcesListChanged": true}),
        ),
    ] {
        let remote = Modern::new().capabilities(capabilities).start();
        let mut bridge = Bridge::spawn(&remote.url());
        bridge.send(&rpc::initialize(0, rpc::VERSION));
        result(&bridge.response(0));
        bridge.request("tools/list", Value::Null);
        assert_eq!(remote.listens().len(), 0);
        bridge.send(&rpc::initialized());
        assert_eq!(*remote.wait_listen(1).filter(), filter);
        bridge.request("tools/list", Value::Null);
        bridge.finish();
        assert_eq!(remote.listens().len(), 1);
    }
}

#[test]
fn t112_nothing_is_listened_for_without_need() {
    let remote = Modern::new()
        .capabilities(json!({"tools": {}, "resources": {"subscribe": true}}))
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.request("tools/list", Value::Null);
    bridge.request("tools/list", Value::Null);
    bridge.finish();
    assert_eq!(remote.listens().len(), 0);
}

#[test]
fn t113_changes_arrive_as_older_clients_know_them() {
    let remote = Modern::new().start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    remote.wait_listen(1);
    for method in [
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
    ] {
        assert_eq!(remote.change(method, &Value::Null), 1);
        let change = bridge.recv_method(method);
        assert!(!change.to_string().contains("subscriptionId"), "{change}");
        assert_eq!(change["params"]["_meta"], Value::Null, "{change}");
    }
    assert_eq!(bridge.finish().messages, Vec::<Value>::new());
}

#[test]
fn t114_subscribing_listens_anew_before_it_stops_listening() {
    let remote = Modern::new()
        .capabilities(json!({"resources": {"subscribe": true}}))
        .acknowledges_when_told()
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let uri = |name: &str| json!({"uri": format!("file:///{name}")});
    let wanted = |names: &[&str]| {
        let uris: Vec<_> = names.iter().map(|name| format!("file:///{name}")).collect();
        json!({"resourceSubscriptions": uris})
    };

    bridge.send(&rpc::request(1, "resources/subscribe", uri("a")));
    let first = remote.wait_listen(1);
    assert_eq!(*first.filter(), wanted(&["a"]));
    lines_are_read(&bridge);
    assert!(!is_answered(&bridge, &json!(1)));
    first.acknowledge();
    assert_eq!(*result(&bridge.response(1)), json!({}));

    bridge.send(&rpc::request(2, "resources/subscribe", uri("b")));
    let second = remote.wait_listen(2);
    assert_eq!(*second.filter(), wanted(&["a", "b"]));
    lines_are_read(&bridge);
    assert!(!is_answered(&bridge, &json!(2)));
    assert!(!first.stream.is_closed());
    second.acknowledge();
    assert_eq!(*result(&bridge.response(2)), json!({}));
    first.stream.wait_closed();

    let updated = "notifications/resources/updated";
    assert_eq!(remote.change(updated, &uri("a")), 1);
    assert_eq!(bridge.recv_method(updated)["params"], uri("a"));

    bridge.send(&rpc::request(3, "resources/unsubscribe", uri("a")));
    assert_eq!(*result(&bridge.response(3)), json!({}));
    let third = remote.wait_listen(3);
    assert_eq!(*third.filter(), wanted(&["b"]));
    assert!(!second.stream.is_closed());
    third.acknowledge();
    second.stream.wait_closed();
    assert_eq!(remote.change(updated, &uri("b")), 1);
    assert_eq!(bridge.recv_method(updated)["params"], uri("b"));
    bridge.finish();
    let mut keys = remote.keys();
    keys.dedup();
    let expected = ["initialize", "server/discover", "subscriptions/listen"];
    assert_eq!(keys, expected);
    assert_eq!(remote.listens().len(), 3);
}

#[test]
fn t117_a_log_level_goes_with_every_later_request() {
    let remote = Modern::new()
        .capabilities(json!({"tools": {}, "logging": {}}))
        .logs("chatty")
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let chatty = json!({"name": "chatty"});
    bridge.request("tools/call", chatty.clone());
    let response = bridge.request("logging/setLevel", json!({"level": "warning"}));
    assert_eq!(*result(&response), json!({}));
    let response = bridge.request("logging/setLevel", json!({"level": "bogus"}));
    assert_eq!(code(&response), -32602);
    bridge.request("tools/call", chatty);
    for level in ["warning", "error"] {
        let log = bridge.recv_method("notifications/message");
        let expected = json!({"level": level, "data": format!("a {level}")});
        assert_eq!(log["params"], expected);
    }
    bridge.request("tools/list", Value::Null);
    assert_eq!(bridge.finish().messages, Vec::<Value>::new());
    let levels = |key: &str| -> Vec<Value> {
        let calls = remote.calls_of(key);
        let level = calls.iter().map(|call| call.stated("logLevel").clone());
        level.collect()
    };
    assert_eq!(levels("server/discover"), [Value::Null]);
    assert_eq!(levels("tools/call"), [Value::Null, json!("warning")]);
    assert_eq!(levels("tools/list"), [json!("warning")]);
    assert_eq!(remote.calls_of("logging/setLevel").len(), 0);
}

#[test]
fn t118_a_server_that_does_not_log_has_no_level() {
    let remote = Modern::new().capabilities(json!({"tools": {}})).start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let response = bridge.request("logging/setLevel", json!({"level": "warning"}));
    assert_eq!(code(&response), -32601);
}
