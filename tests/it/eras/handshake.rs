//! A client of the older revisions and a server of 2026-07-28: the handshake, what every request
//! says of itself, and what is not passed on.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{result, said, shake};
use crate::support::{Bridge, Gate, Home, Legacy, MODERN, Modern, NoHandshake, Reply, rpc};

/// Offers nothing that the bridge would listen for.
fn quiet() -> Modern {
    Modern::new().capabilities(json!({"tools": {}, "prompts": {}, "resources": {}}))
}

#[test]
fn t92_the_handshake_is_made_from_discovery() {
    let remote = Modern::new()
        .capabilities(json!({
            "tools": {"listChanged": true},
            "logging": {},
            "extensions": {"io.modelcontextprotocol/tasks": {}},
        }))
        .instructions("Ask before writing.")
        .start();
    let bridge = Bridge::spawn(&remote.url());
    bridge.send(&rpc::initialize(0, "2025-06-18"));
    let expected = json!({
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {"listChanged": true}, "logging": {}},
        "serverInfo": {"name": "depot", "version": "9"},
        "instructions": "Ask before writing.",
    });
    assert_eq!(*result(&bridge.response(0)), expected);
    assert_eq!(remote.keys(), ["initialize", "server/discover"]);
    let calls = remote.calls();
    let client = json!({"name": "test-client", "version": "1.0.0"});
    assert_eq!(*calls[1].stated("clientInfo"), client);
    let capabilities = json!({"roots": {}, "sampling": {}, "elicitation": {}});
    assert_eq!(*calls[1].stated("clientCapabilities"), capabilities);
    assert_eq!(*calls[1].stated("protocolVersion"), json!(MODERN));
    bridge.finish();
}

#[test]
fn t93_every_refusal_of_initialize_leads_to_discovery() {
    for refusal in NoHandshake::ALL {
        let remote = quiet().refuses(refusal).start();
        let mut bridge = Bridge::spawn(&remote.url());
        let response = bridge.handshake_at("2025-03-26");
        assert_eq!(response["result"]["protocolVersion"], "2025-03-26");
        assert_eq!(response["result"]["serverInfo"]["name"], "depot");
        assert_eq!(remote.keys(), ["initialize", "server/discover"]);
        let response = bridge.request("tools/call", rpc::echo_params("hi"));
        assert_eq!(said(&response), "hi", "{refusal:?}");
        bridge.finish();
    }
}

#[test]
fn t94_a_server_without_a_name_is_named_after_its_host() {
    let remote = quiet().nameless().start();
    let mut bridge = Bridge::spawn(&remote.url());
    let response = bridge.handshake();
    let info = &response["result"]["serverInfo"];
    assert_eq!(*info, json!({"name": "127.0.0.1", "version": "0"}));
}

#[test]
fn t95_every_request_speaks_for_itself() {
    for answers_as_sse in [false, true] {
        let server = if answers_as_sse {
            quiet().answers_as_sse()
        } else {
            quiet()
        };
        let remote = server.start();
        let mut bridge = Bridge::spawn(&remote.url());
        bridge.handshake();
        let list = bridge.request("tools/list", Value::Null);
        assert_eq!(result(&list)["tools"][0]["name"], "echo");
        let call = bridge.request("tools/call", rpc::echo_params("hi"));
        assert_eq!(said(&call), "hi");
        bridge.finish();
        // The server itself checks headers, `_meta` and ids.
        for key in ["tools/list", "tools/call"] {
            let call = remote.wait_call(key);
            assert_eq!(call.stated("clientInfo")["name"], "test-client");
            let capabilities = json!({"roots": {}, "sampling": {}, "elicitation": {}});
            assert_eq!(*call.stated("clientCapabilities"), capabilities);
        }
        let call = remote.wait_call("tools/call");
        assert_eq!(call.params()["arguments"], json!({"text": "hi"}));
        let expected = ["initialize", "server/discover", "tools/list", "tools/call"];
        assert_eq!(remote.keys(), expected);
    }
}

#[test]
fn what_the_client_says_of_itself_in_a_request_is_replaced() {
    let remote = quiet().start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let mut params = rpc::echo_params("hi");
    params["_meta"] = json!({
        "io.modelcontextprotocol/clientInfo": {"name": "somebody-else", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": {"extensions": {"a/b": {}}},
        "io.modelcontextprotocol/logLevel": "debug",
        "progressToken": 3,
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "com.example/own": [1],
    });
    bridge.request("tools/call", params.clone());
    let call = remote.wait_call("tools/call");
    assert_eq!(call.stated("clientInfo")["name"], "test-client");
    assert_eq!(call.stated("clientCapabilities").get("extensions"), None);
    assert_eq!(*call.stated("logLevel"), Value::Null);
    for key in ["progressToken", "traceparent", "com.example/own"] {
        assert_eq!(call.params()["_meta"][key], params["_meta"][key]);
    }
}

#[test]
fn t97_what_older_clients_do_not_know_is_taken_out() {
    let remote = quiet().fresh(60_000, "public").start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let uri = json!({"uri": "file:///a"});
    for (method, params, members) in [
        ("tools/list", Value::Null, &["tools"][..]),
        ("tools/call", rpc::echo_params("hi"), &["content"]),
        ("resources/read", uri, &["contents"]),
        ("prompts/get", json!({"name": "greet"}), &["messages"]),
        ("prompts/list", json!({}), &["prompts"]),
    ] {
        let response = bridge.request(method, params);
        let found: Vec<_> = result(&response).as_object().unwrap().keys().collect();
        assert_eq!(found, members, "{method}");
    }
}

#[test]
fn t98_ping_is_answered_here() {
    let remote = quiet().start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let response = bridge.request("ping", Value::Null);
    assert_eq!(*result(&response), json!({}));
    bridge.finish();
    assert_eq!(remote.keys(), ["initialize", "server/discover"]);
}

#[test]
fn t129_changed_roots_are_not_told() {
    let remote = quiet().start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.notify("notifications/roots/list_changed", Value::Null);
    bridge.request("tools/list", Value::Null);
    bridge.finish();
    let expected = ["initialize", "server/discover", "tools/list"];
    assert_eq!(remote.keys(), expected);
}

#[test]
fn pairs_that_always_worked_cost_not_one_request_more() {
    let opening = ["initialize", "notifications/initialized"];
    let with_sessions = ["GET", "tools/list", "tools/call", "DELETE"];
    for (server, stream, first, later) in [
        (Legacy::sessions(), true, &opening[..], &with_sessions[..]),
        (
            Legacy::free().capabilities(json!({"tools": {}})),
            false,
            &opening,
            // The bridge asks once whether there is a stream.
            &["GET", "tools/list", "tools/call"],
        ),
        (
            Legacy::http_sse(),
            true,
            &[
                "initialize",
                "GET",
                "initialize",
                "notifications/initialized",
            ],
            &["tools/list", "tools/call"],
        ),
    ] {
        let remote = server.start();
        let mut bridge = Bridge::spawn(&remote.url());
        shake(&bridge, rpc::VERSION, &json!({}));
        bridge.request("tools/list", Value::Null);
        bridge.request("tools/call", rpc::echo_params("hi"));
        if stream {
            remote.wait_stream();
        } else {
            remote.wait_call("GET");
        }
        bridge.finish();
        let keys = remote.keys();
        let (opened, mut rest) = (keys[..first.len()].to_vec(), keys[first.len()..].to_vec());
        assert_eq!(opened, first);
        let mut expected = later.to_vec();
        rest.sort_unstable();
        expected.sort_unstable();
        assert_eq!(rest, expected);
    }
}

#[test]
fn a_remembered_server_is_not_asked_before_the_handshake_is_answered() {
    let gate = Gate::new();
    let held = gate.clone();
    let remote = quiet()
        .fresh(3_600_000, "private")
        .instructions("Ask before writing.")
        .on("server/discover", move |call| {
            if call.nth == 1 {
                Reply::usual()
            } else {
                Reply::usual().after(&held)
            }
        })
        .start();
    let home = Arc::new(Home::new());
    let mut bridge = Bridge::to(&remote.url()).home(&home).start();
    let first = bridge.handshake();
    bridge.request("tools/list", Value::Null);
    bridge.finish();
    let before = remote.calls().len();
    let mut bridge = Bridge::to(&remote.url()).home(&home).start();
    // Whatever the server is asked now, nothing is answered.
    assert_eq!(bridge.handshake(), first);
    gate.open();
    let list = bridge.request("tools/list", Value::Null);
    assert_eq!(result(&list)["tools"][0]["name"], "echo");
    bridge.finish();
    let keys = remote.keys().split_off(before);
    assert!(!keys.contains(&"initialize".to_owned()), "{keys:?}");
    let discoveries = keys.iter().filter(|key| *key == "server/discover").count();
    assert!(discoveries <= 1, "{keys:?}");
}
