//! A client of the older revisions and a server of 2026-07-28: headers made of parameters, and
//! answers that no older server gives.

use serde_json::{Value, json};

use super::{code, result, said};
use crate::support::{Bridge, Call, Modern, Reply, rpc};

/// A tool with a header for every kind of parameter.
fn annotated() -> Value {
    let text = |header: &str| json!({"type": "string", "x-mcp-header": header});
    let schema = json!({"type": "object", "properties": {
        "place": {"type": "object", "properties": {"city": text("City")}},
        "pad": text("Pad"),
        "odd": text("Odd"),
        "none": text("None"),
        "never": text("Never"),
        "flag": {"type": "boolean", "x-mcp-header": "Flag"},
        "shard": {"type": "integer", "x-mcp-header": "Shard"},
        "plain": {"type": "string"},
    }});
    json!({"name": "find", "inputSchema": schema})
}

fn find() -> Value {
    let arguments = json!({
        "place": {"city": "Grüße"},
        "pad": " a",
        "odd": "=?base64?x?=",
        "none": null,
        "flag": true,
        "shard": 7,
        "plain": "x",
        "text": "found",
    });
    json!({"name": "find", "arguments": arguments})
}

/// The `Mcp-Param-*` fields, in alphabetical order.
fn param_headers(call: &Call) -> Vec<(String, String)> {
    let fields = call.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    let mut fields: Vec<_> = fields
        .filter(|(name, _)| name.starts_with("mcp-param-"))
        .collect();
    fields.sort();
    fields
}

#[track_caller]
fn assert_headers_of_find(call: &Call) {
    let expected = [
        ("mcp-param-city", "=?base64?R3LDvMOfZQ==?="),
        ("mcp-param-flag", "true"),
        ("mcp-param-odd", "=?base64?PT9iYXNlNjQ/eD89?="),
        ("mcp-param-pad", "=?base64?IGE=?="),
        ("mcp-param-shard", "7"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(param_headers(call), expected);
}

#[test]
fn t120_a_tool_with_an_ambiguous_header_is_left_out() {
    let twice = json!({"type": "object", "properties": {
        "a": {"type": "string", "x-mcp-header": "Shard"},
        "b": {"type": "string", "x-mcp-header": "shard"},
    }});
    let good = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
    let bad = json!({"name": "ambiguous-one", "inputSchema": twice});
    let remote = Modern::new()
        .capabilities(json!({"tools": {}}))
        .tool_pages(vec![json!([good("a"), bad, good("b")]), json!([good("c")])])
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let names = |response: &Value| -> Vec<Value> {
        let tools = result(response)["tools"].as_array().unwrap();
        tools.iter().map(|tool| tool["name"].clone()).collect()
    };
    let first = bridge.request("tools/list", json!({}));
    assert_eq!(names(&first), [json!("a"), json!("b")]);
    let cursor = &result(&first)["nextCursor"];
    assert_eq!(*cursor, json!("page-1"));
    let second = bridge.request("tools/list", json!({"cursor": cursor}));
    assert_eq!(names(&second), [json!("c")]);
    assert_eq!(result(&second).get("nextCursor"), None);
    bridge.wait_stderr("ambiguous-one");
}

#[test]
fn t121_parameters_become_headers() {
    let remote = Modern::new()
        .capabilities(json!({"tools": {}}))
        .tools(json!([annotated()]))
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.request("tools/list", json!({}));
    let response = bridge.request("tools/call", find());
    assert_eq!(said(&response), "found");
    bridge.finish();
    let calls = remote.calls_of("tools/call");
    assert_eq!(calls.len(), 1);
    assert_headers_of_find(&calls[0]);
    assert_eq!(calls[0].params()["arguments"], find()["arguments"]);
}

#[test]
fn t122_an_unlisted_tool_is_looked_up_when_headers_are_missed() {
    let remote = Modern::new()
        .capabilities(json!({"tools": {}}))
        .tool_pages(vec![json!([]), json!([annotated()])])
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let response = bridge.request("tools/call", find());
    assert_eq!(said(&response), "found");
    assert_eq!(bridge.finish().messages, Vec::<Value>::new());
    let calls = remote.calls_of("tools/call");
    assert_eq!(calls.len(), 2);
    assert_eq!(param_headers(&calls[0]), []);
    assert_headers_of_find(&calls[1]);
    assert_eq!(remote.calls_of("tools/list").len(), 2);
}

#[test]
fn t123_a_broken_stream_loses_only_what_may_have_had_effects() {
    let breaking = |call: &Call| {
        if call.nth > 1 {
            return Reply::usual();
        }
        Reply::stream(|stream| {
            stream.send(": still there\n\n");
            stream.cut();
        })
    };
    let remote = Modern::new()
        .capabilities(json!({"tools": {}, "resources": {}}))
        .on("tools/call", breaking)
        .on("resources/read", breaking)
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("hi"));
    code(&response);
    assert_eq!(response["error"]["data"]["executed"], "unknown");
    let response = bridge.request("resources/read", json!({"uri": "file:///a"}));
    assert_eq!(result(&response)["contents"][0]["text"], "in file:///a");
    bridge.finish();
    assert_eq!(remote.calls_of("tools/call").len(), 1);
    let reads = remote.calls_of("resources/read");
    assert_eq!(reads.len(), 2);
    assert_ne!(reads[0].id(), reads[1].id());
}

#[test]
fn t124_a_missing_resource_has_the_older_code() {
    let remote = Modern::new()
        .capabilities(json!({"resources": {}}))
        .script("file:///gone", |call| {
            let mut message = call.error_message(-32602, "Resource not found");
            message["error"]["data"] = json!({"uri": "file:///gone"});
            Reply::json(&message).with_status(400)
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let response = bridge.request("resources/read", json!({"uri": "file:///gone"}));
    assert_eq!(code(&response), -32002);
    assert_eq!(response["error"]["data"]["uri"], "file:///gone");
}

#[test]
fn t126_an_unknown_kind_of_result_is_none() {
    let remote = Modern::new()
        .capabilities(json!({"tools": {}}))
        .script("odd", |call| {
            call.complete(json!({"resultType": "x", "content": []}))
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let response = bridge.request("tools/call", json!({"name": "odd"}));
    assert_eq!(code(&response), -32603);
}
