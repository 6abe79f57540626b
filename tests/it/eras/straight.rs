//! 2026-07-28 on both sides: almost nothing is changed, but headers are made, cancellation is the
//! end of a connection, and broken streams are mended.

use serde_json::{Value, json};

use super::{ask, declared, end, lines_are_read, result, said, say};
use crate::support::{Bridge, Call, Listen, Mailbox, Modern, Reply, modern_request, rpc};

const SUBSCRIPTION: &str = "/params/_meta/io.modelcontextprotocol~1subscriptionId";

#[test]
fn t164_headers_are_made_and_the_body_stays() {
    let schema = json!({"type": "object", "properties": {
        "shard": {"type": "integer", "x-mcp-header": "Shard"},
    }});
    let remote = Modern::new()
        .tools(json!([{"name": "suche-geräte", "inputSchema": schema}]))
        .start();
    let bridge = Bridge::spawn(&remote.url());
    let list = ask(&bridge, 1, "tools/list", Value::Null);
    assert_eq!(result(&list)["tools"][0]["name"], "suche-geräte");
    assert_eq!(result(&list)["cacheScope"], "private");
    let params = json!({"name": "suche-geräte", "arguments": {"shard": 7, "n": "MARK"}});
    let message = modern_request(2, "tools/call", params, &declared());
    let arguments = r#"{"n":1.0e2,"shard":7}"#;
    let line = message
        .to_string()
        .replace(r#"{"n":"MARK","shard":7}"#, arguments);
    assert!(line.contains(arguments), "{line}");
    bridge.send_raw(format!("{line}\n"));
    result(&bridge.response(2));
    end(bridge);
    let call = remote.wait_call("tools/call");
    let name = call.header("mcp-name");
    assert_eq!(name.as_deref(), Some("=?base64?c3VjaGUtZ2Vyw6R0ZQ==?="));
    assert_eq!(call.header("mcp-param-shard").as_deref(), Some("7"));
    assert!(call.text().contains(arguments), "{}", call.text());
    let sent: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(*call.params(), sent["params"]);
    assert_eq!(remote.keys().first().unwrap(), "server/discover");
    assert_eq!(remote.keys().len(), 3);
}

#[test]
fn t165_cancelling_closes_the_connection() {
    let opened = Mailbox::new();
    let mailbox = opened.clone();
    let remote = Modern::new()
        .script("slow", move |_| Reply::stream(|stream| mailbox.put(stream)))
        .start();
    let bridge = Bridge::spawn(&remote.url());
    ask(&bridge, 1, "server/discover", Value::Null);
    say(&bridge, 2, "tools/call", json!({"name": "slow"}));
    let stream = opened.take();
    bridge.notify("notifications/cancelled", json!({"requestId": 2}));
    stream.wait_closed();
    ask(&bridge, 3, "tools/list", Value::Null);
    assert_eq!(end(bridge).messages, Vec::<Value>::new());
    let expected = ["server/discover", "tools/call", "tools/list"];
    assert_eq!(remote.keys(), expected);
}

/// Listens under this id, and takes the acknowledgement.
fn listen(bridge: &Bridge, id: &Value) {
    let params = json!({"notifications": {"toolsListChanged": true}});
    say(bridge, id.clone(), "subscriptions/listen", params);
    let acknowledged = bridge.recv_method("notifications/subscriptions/acknowledged");
    assert_eq!(acknowledged.pointer(SUBSCRIPTION), Some(id));
}

#[test]
fn t166_a_dropped_subscription_is_opened_anew() {
    let remote = Modern::new().start();
    let bridge = Bridge::spawn(&remote.url());
    ask(&bridge, 1, "server/discover", Value::Null);
    let id = json!("seven");
    listen(&bridge, &id);
    let change = "notifications/tools/list_changed";
    let first: Listen = remote.wait_listen(1);
    assert_eq!(first.call.id(), id);
    remote.change(change, &Value::Null);
    let told = bridge.recv_method(change);
    assert_eq!(told.pointer(SUBSCRIPTION), Some(&id));
    first.cut();
    let second = remote.wait_listen(2);
    assert_ne!(second.call.id(), id);
    assert_eq!(second.filter(), first.filter());
    // What may have been missed meanwhile, and what comes now: under the client's id.
    for turn in ["missed", "new"] {
        if turn == "new" {
            assert_eq!(remote.change(change, &Value::Null), 1);
        }
        let told = bridge.recv_method(change);
        assert_eq!(told.pointer(SUBSCRIPTION), Some(&id), "{turn}");
    }
    lines_are_read(&bridge);
    // One acknowledgement only; with the bridge it ends as intended.
    let ended = end(bridge).messages;
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert_eq!(ended[0]["id"], id);
    assert_eq!(ended[0]["result"]["resultType"], "complete");
}

#[test]
fn t167_a_subscription_that_the_server_ends_is_over() {
    let remote = Modern::new().start();
    let bridge = Bridge::spawn(&remote.url());
    ask(&bridge, 1, "server/discover", Value::Null);
    listen(&bridge, &json!(7));
    let listening = remote.wait_listen(1);
    listening.finish();
    let response = bridge.response(7);
    assert_eq!(result(&response)["resultType"], "complete");
    let meta = &result(&response)["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/subscriptionId"], 7);
    listening.stream.wait_closed();
    ask(&bridge, 8, "tools/list", Value::Null);
    assert_eq!(end(bridge).messages, Vec::<Value>::new());
    assert_eq!(remote.listens().len(), 1);
}

#[test]
fn t168_an_unknown_method_is_refused_by_the_server() {
    let remote = Modern::new().start();
    let bridge = Bridge::spawn(&remote.url());
    ask(&bridge, 1, "server/discover", Value::Null);
    let response = ask(&bridge, "two", "example/unknown", json!({"a": 1}));
    let expected = json!({
        "code": -32601,
        "message": "Method not found",
        "data": {"method": "example/unknown"},
    });
    assert_eq!(response["error"], expected);
    end(bridge);
}

#[test]
fn t169_a_question_is_passed_on_as_it_is() {
    let question = r#"{"inputRequests":{"b":{"method":"roots/list"},"a":{"params":{"message":"\u0047o?","mode":"form","requestedSchema":{"type":"object","properties":{}}},"method":"elicitation/create"}},"requestState":"k9.\u002f\/=","resultType":"input_required","x":1.0e2}"#;
    let remote = Modern::new()
        .script("order", move |call| call.result_text(question))
        .start();
    let bridge = Bridge::spawn(&remote.url());
    ask(&bridge, 1, "server/discover", Value::Null);
    say(&bridge, 2, "tools/call", json!({"name": "order"}));
    let line = String::from_utf8(bridge.response_raw(2)).unwrap();
    assert!(line.contains(question), "{line}");
    let mut params = json!({"name": "order", "requestState": "MARK"});
    params["inputResponses"] = json!({"a": {"action": "cancel"}, "b": {"roots": []}});
    let message = modern_request(3, "tools/call", params.clone(), &declared());
    let line = message.to_string().replace("MARK", r"k9.\u002f\/=");
    bridge.send_raw(format!("{line}\n"));
    bridge.response(3);
    let retry = remote.wait_nth("tools/call", 2);
    assert!(retry.text().contains(r#""k9.\u002f\/=""#));
    let answers = &retry.params()["inputResponses"];
    assert_eq!(*answers, params["inputResponses"]);
    end(bridge);
}

#[test]
fn t170_a_list_whose_stream_breaks_is_asked_for_again() {
    let remote = Modern::new()
        .on("tools/list", |call: &Call| {
            if call.nth > 1 {
                return Reply::usual();
            }
            Reply::stream(|stream| {
                stream.send(": still there\n\n");
                stream.cut();
            })
        })
        .start();
    let bridge = Bridge::spawn(&remote.url());
    ask(&bridge, 1, "server/discover", Value::Null);
    let response = ask(&bridge, "list", "tools/list", Value::Null);
    assert_eq!(result(&response)["tools"][0]["name"], "echo");
    let call = ask(&bridge, 3, "tools/call", rpc::echo_params("hi"));
    assert_eq!(said(&call), "hi");
    end(bridge);
    let lists = remote.calls_of("tools/list");
    assert_eq!(lists.len(), 2);
    assert_ne!(lists[0].id(), lists[1].id());
}
