//! A client of 2026-07-28 and a server of the older revisions: the session that the bridge holds
//! for it, what is added to answers, changes and logs.

use serde_json::{Value, json};

use super::{ask, code, declared, end, lines_are_read, old, result, said, say};
use crate::support::{
    Bridge, Call, Legacy, LegacyRemote, MODERN, Modern, Reply, Unaware, modern_request, rpc,
};

/// The requests that open a session, in order; not what probing it costs.
fn opening(remote: &LegacyRemote) -> Vec<String> {
    let kinds = ["initialize", "notifications/initialized"];
    let mut keys = remote.keys();
    keys.retain(|key| kinds.contains(&key.as_str()));
    keys
}

#[track_caller]
fn assert_complete(response: &Value) {
    assert_eq!(result(response)["resultType"], "complete", "{response}");
    let meta = &result(response)["_meta"];
    let name = &meta["io.modelcontextprotocol/serverInfo"]["name"];
    assert_eq!(*name, json!("ready-made"), "{response}");
}

#[test]
fn t130_discovery_is_made_from_a_handshake() {
    let remote = old()
        .capabilities(json!({
            "tools": {"listChanged": true},
            "resources": {"subscribe": true},
            "logging": {},
            "tasks": {"requests": {"tools": {"call": {}}}},
        }))
        .start();
    let bridge = Bridge::spawn(&remote.url());
    let response = ask(&bridge, "d1", "server/discover", Value::Null);
    assert_complete(&response);
    let result = result(&response);
    let versions = result["supportedVersions"].as_array().unwrap();
    assert_eq!(versions[0], MODERN);
    assert!(versions.contains(&json!("2025-11-25")), "{response}");
    let capabilities = json!({
        "tools": {"listChanged": true},
        "resources": {"subscribe": true},
        "logging": {},
    });
    assert_eq!(result["capabilities"], capabilities);
    assert_eq!(result["ttlMs"], 0);
    assert_eq!(result["cacheScope"], "private");
    assert_eq!(
        opening(&remote),
        ["initialize", "notifications/initialized"]
    );
    assert_eq!(remote.calls_of("server/discover").len(), 1);
    let initialize = remote.wait_call("initialize");
    let params = initialize.params();
    assert_eq!(params["protocolVersion"], "2025-11-25");
    assert_eq!(params["capabilities"], declared());
    let client = json!({"name": "test-client", "version": "1.0.0"});
    assert_eq!(params["clientInfo"], client);
    end(bridge);
    assert_eq!(remote.sessions_alive(), 0);
}

#[test]
fn every_refusal_of_discovery_leads_to_a_handshake() {
    let kinds = Unaware::WITH_SESSIONS
        .map(|how| (Legacy::sessions(), how))
        .into_iter()
        .chain(Unaware::WITHOUT_SESSIONS.map(|how| (Legacy::free(), how)))
        .chain([(Legacy::http_sse(), Unaware::NotAllowed)]);
    for (server, how) in kinds {
        let remote = server.unaware(how).start();
        let bridge = Bridge::spawn(&remote.url());
        assert_complete(&ask(&bridge, 1, "server/discover", Value::Null));
        let response = ask(&bridge, 2, "tools/call", rpc::echo_params("hi"));
        assert_complete(&response);
        assert_eq!(said(&response), "hi", "{how:?}");
        end(bridge);
        assert_eq!(remote.calls_of("server/discover").len(), 1, "{how:?}");
        assert_eq!(remote.calls_of("tools/call").len(), 1, "{how:?}");
        assert_eq!(remote.sessions_opened(), 1, "{how:?}");
    }
}

#[test]
fn t131_a_call_may_come_first() {
    let remote = old().start();
    let bridge = Bridge::spawn(&remote.url());
    let response = ask(&bridge, 1, "tools/call", rpc::echo_params("hi"));
    assert_complete(&response);
    assert_eq!(said(&response), "hi");
    end(bridge);
    let mut keys = remote.keys();
    keys.retain(|key| key != "GET" && key != "DELETE");
    let expected = [
        "server/discover",
        "initialize",
        "notifications/initialized",
        "tools/call",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn t132_listening_may_come_first() {
    let remote = old().start();
    let bridge = Bridge::spawn(&remote.url());
    let filter = json!({"notifications": {"toolsListChanged": true}});
    say(&bridge, "seven", "subscriptions/listen", filter);
    let acknowledged = bridge.recv_method("notifications/subscriptions/acknowledged");
    let id = "/params/_meta/io.modelcontextprotocol~1subscriptionId";
    assert_eq!(acknowledged.pointer(id), Some(&json!("seven")));
    let change = "notifications/tools/list_changed";
    remote.say(&rpc::notification(change, Value::Null));
    let told = bridge.recv_method(change);
    assert_eq!(told.pointer(id), Some(&json!("seven")));
    assert_eq!(
        opening(&remote),
        ["initialize", "notifications/initialized"]
    );
}

#[test]
fn t133_reserved_keys_do_not_reach_older_servers() {
    // This server refuses them.
    let remote = old().start();
    let bridge = Bridge::spawn(&remote.url());
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut params = rpc::echo_params("hi");
    params["_meta"] = json!({"progressToken": 3, "traceparent": trace});
    assert_complete(&ask(&bridge, 1, "tools/call", params.clone()));
    let call = remote.wait_call("tools/call");
    let meta = &call.params()["_meta"];
    assert_eq!(meta["traceparent"], trace);
    assert!(!meta["progressToken"].is_null());
    assert_eq!(meta.as_object().unwrap().len(), 2);
    assert_eq!(call.params()["arguments"], params["arguments"]);
    assert_complete(&ask(&bridge, 2, "tools/list", Value::Null));
    let list = remote.wait_call("tools/list");
    assert_eq!(list.params()["_meta"], Value::Null);
}

#[test]
fn t134_lists_say_that_they_must_not_be_kept() {
    let remote = old().start();
    let bridge = Bridge::spawn(&remote.url());
    for (id, method) in [
        (1, "tools/list"),
        (2, "prompts/list"),
        (3, "resources/list"),
    ] {
        let response = ask(&bridge, id, method, Value::Null);
        assert_complete(&response);
        assert_eq!(result(&response)["ttlMs"], 0, "{response}");
        assert_eq!(result(&response)["cacheScope"], "private", "{response}");
    }
    let response = ask(&bridge, 4, "tools/call", rpc::echo_params("hi"));
    assert_eq!(result(&response).get("ttlMs"), None);
}

#[test]
fn t148_two_subscriptions_have_changes_of_their_own() {
    let remote = old().start();
    let bridge = Bridge::spawn(&remote.url());
    let id_of = |message: &Value| {
        let id = "/params/_meta/io.modelcontextprotocol~1subscriptionId";
        message.pointer(id).cloned().unwrap_or_default()
    };
    let tools = json!({"toolsListChanged": true});
    let uri = json!({"resourceSubscriptions": ["file:///a"]});
    for (id, filter) in [(json!(7), &tools), (json!("seven"), &uri)] {
        let params = json!({"notifications": filter});
        say(&bridge, id.clone(), "subscriptions/listen", params);
        let acknowledged = bridge.recv_method("notifications/subscriptions/acknowledged");
        assert_eq!(id_of(&acknowledged), id);
        assert_eq!(acknowledged["params"]["notifications"], *filter);
    }
    let subscribed = remote.wait_call("resources/subscribe");
    assert_eq!(subscribed.params()["uri"], "file:///a");
    let changed = |name: &str, params: Value| {
        let method = format!("notifications/{name}");
        remote.say(&rpc::notification(&method, params));
        method
    };
    // Nobody asked for these two.
    changed("prompts/list_changed", Value::Null);
    changed("resources/updated", json!({"uri": "file:///b"}));
    let updated = changed("resources/updated", json!({"uri": "file:///a"}));
    let listed = changed("tools/list_changed", Value::Null);
    let told = bridge.recv();
    assert_eq!(told["method"], *updated, "{told}");
    assert_eq!(told["params"]["uri"], "file:///a");
    assert_eq!(id_of(&told), "seven");
    let told = bridge.recv();
    assert_eq!(told["method"], *listed, "{told}");
    assert_eq!(id_of(&told), 7);
    lines_are_read(&bridge);
    assert_eq!(bridge.waiting(), Vec::<Value>::new());
}

#[test]
fn t151_a_request_that_wants_logs_sets_the_level() {
    let remote = old()
        .on("tools/call", |call| {
            let params = json!({"level": "debug", "data": "about to echo"});
            let log = rpc::notification("notifications/message", params);
            Reply::sse(&[log, call.result_message(&call.echo())])
        })
        .start();
    let bridge = Bridge::spawn(&remote.url());
    ask(&bridge, 1, "tools/call", rpc::echo_params("quiet"));
    let mut params = rpc::echo_params("loud");
    params["_meta"] = json!({"io.modelcontextprotocol/logLevel": "debug"});
    ask(&bridge, 2, "tools/call", params);
    let log = bridge.recv_method("notifications/message");
    assert_eq!(log["params"]["data"], "about to echo");
    ask(&bridge, 3, "tools/call", rpc::echo_params("quiet"));
    assert_eq!(end(bridge).messages, Vec::<Value>::new());
    let level = remote.wait_call("logging/setLevel");
    assert_eq!(level.params()["level"], "debug");
    let loud = remote.wait_nth("tools/call", 2);
    assert!(level.number < loud.number);
    assert!(level.number > remote.wait_call("tools/call").number);
}

#[test]
fn t155_a_ping_of_the_server_is_answered_here() {
    let remote = old()
        .on("tools/call", |call| {
            let ping = rpc::request("p1", "ping", Value::Null);
            Reply::sse(&[ping, call.result_message(&call.echo())])
        })
        .start();
    let bridge = Bridge::spawn(&remote.url());
    let response = ask(&bridge, 1, "tools/call", rpc::echo_params("hi"));
    assert_eq!(said(&response), "hi");
    let answer = remote.wait_call("response").json;
    assert_eq!(answer, rpc::response("p1", json!({})));
    assert_eq!(end(bridge).messages, Vec::<Value>::new());
}

#[test]
fn t157_a_client_may_discover_and_initialize() {
    let remote = old().start();
    let bridge = Bridge::spawn(&remote.url());
    assert_complete(&ask(&bridge, 1, "server/discover", Value::Null));
    let mut initialize = rpc::initialize(2, "2025-11-25");
    initialize["params"]["capabilities"] = declared();
    bridge.send(&initialize);
    let response = bridge.response(2);
    assert_eq!(result(&response)["protocolVersion"], "2025-11-25");
    assert_eq!(result(&response)["serverInfo"]["name"], "ready-made");
    assert_eq!(result(&response).get("resultType"), None);
    bridge.send(&rpc::initialized());
    bridge.send(&rpc::request(3, "tools/list", Value::Null));
    let list = bridge.response(3);
    assert_eq!(result(&list).get("resultType"), None, "{list}");
    assert_complete(&ask(&bridge, 4, "tools/list", Value::Null));
    bridge.finish();
    assert_eq!(
        opening(&remote),
        ["initialize", "notifications/initialized"]
    );
    assert_eq!(remote.sessions_opened(), 1);
}

#[test]
fn t158_an_unknown_revision_is_named_with_those_that_are_known() {
    let check = |url: &str| {
        let bridge = Bridge::spawn(url);
        let mut message = modern_request(1, "tools/list", Value::Null, &declared());
        message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2031-01-01");
        bridge.send(&message);
        let response = bridge.response(1);
        assert_eq!(code(&response), -32022, "{response}");
        let data = &response["error"]["data"];
        assert_eq!(data["requested"], "2031-01-01");
        let supported = data["supported"].as_array().unwrap();
        assert!(supported.contains(&json!(MODERN)), "{response}");
        end(bridge);
    };
    let remote = old().start();
    remote.may_stay_uncalled();
    check(&remote.url());
    let remote = Modern::new().start();
    remote.may_stay_uncalled();
    check(&remote.url());
}

#[test]
fn t159_capabilities_must_be_stated() {
    let check = |url: &str| {
        let bridge = Bridge::spawn(url);
        let mut message = modern_request(1, "tools/list", Value::Null, &declared());
        let meta = message["params"]["_meta"].as_object_mut().unwrap();
        meta.remove("io.modelcontextprotocol/clientCapabilities");
        bridge.send(&message);
        assert_eq!(code(&bridge.response(1)), -32602);
        end(bridge);
    };
    let remote = old().start();
    remote.may_stay_uncalled();
    check(&remote.url());
    assert_eq!(remote.calls_of("tools/list").len(), 0);
    // Either may refuse it.
    let remote = Modern::new().lenient().start();
    remote.may_stay_uncalled();
    check(&remote.url());
}

#[test]
fn t161_what_cannot_be_told_is_not_promised() {
    let remote = Legacy::free().unaware(Unaware::TypeScriptFree).start();
    let bridge = Bridge::spawn(&remote.url());
    let response = ask(&bridge, 1, "server/discover", Value::Null);
    assert_complete(&response);
    let capabilities = &result(&response)["capabilities"];
    assert!(capabilities["tools"].is_object(), "{response}");
    for pointer in [
        "/tools/listChanged",
        "/prompts/listChanged",
        "/resources/listChanged",
        "/resources/subscribe",
    ] {
        let promised = capabilities.pointer(pointer);
        assert_ne!(promised, Some(&json!(true)), "{pointer}: {response}");
    }
    let filter = json!({"notifications": {"toolsListChanged": true}});
    say(&bridge, 2, "subscriptions/listen", filter);
    let acknowledged = bridge.recv_method("notifications/subscriptions/acknowledged");
    assert_eq!(acknowledged["params"]["notifications"], json!({}));
    end(bridge);
    let methods: Vec<Call> = remote.calls_of("resources/subscribe");
    assert!(methods.is_empty(), "{methods:?}");
}
