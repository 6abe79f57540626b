//! Hidden tools: `--ignore-tool`, `--only-tool`, `--read-only`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::{Bridge, Call, Gate, Legacy, LegacyRemote, Refusal, Reply, rpc};

fn names(response: &Value) -> Vec<&str> {
    let tools = response["result"]["tools"].as_array().unwrap();
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect()
}

fn call(id: impl Into<Value>, tool: &str) -> Value {
    rpc::request(
        id,
        "tools/call",
        json!({"name": tool, "arguments": {"text": tool}}),
    )
}

#[track_caller]
fn assert_hidden(response: &Value, words: &[&str]) {
    let error = &response["error"];
    assert_eq!(error["code"], -31000, "{response}");
    let data = json!({"source": "mcp-bridge", "kind": "tool-not-available", "executed": "no"});
    assert_eq!(error["data"], data, "{response}");
    let message = error["message"].as_str().unwrap();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message}");
    }
}

#[track_caller]
fn assert_echoed(response: &Value, text: &str) {
    assert_eq!(response["result"]["content"][0]["text"], text, "{response}");
}

fn plain(names: &[&str]) -> Value {
    names
        .iter()
        .map(|name| json!({"name": name, "inputSchema": {"type": "object"}}))
        .collect()
}

#[test]
fn ignored_tools_are_hidden_and_their_calls_stay_here() {
    for as_sse in [false, true] {
        let tools = [
            "delete",
            "deleteTask",
            "DELETEUser",
            "get.account",
            "xdelete",
            "getXaccount",
            " delete",
            "a*b",
        ];
        let mut legacy = Legacy::sessions().tools(plain(&tools));
        if as_sse {
            legacy = legacy.answers_as_sse();
        }
        let remote = legacy.start();
        let mut bridge = Bridge::to(&remote.url())
            .args(["--ignore-tool", "delete*", "--ignore-tool=get.ACCOUNT"])
            .start();
        bridge.handshake();
        let listed = bridge.request("tools/list", Value::Null);
        assert_eq!(names(&listed), &tools[4..]);
        for hidden in &tools[..4] {
            bridge.send(&call(*hidden, hidden));
            assert_hidden(&bridge.response(*hidden), &[hidden, "--ignore-tool"]);
        }
        for shown in &tools[4..] {
            bridge.send(&call(*shown, shown));
            assert_echoed(&bridge.response(*shown), shown);
        }
        bridge.notify("tools/call", json!({"name": "delete"}));
        bridge.finish();
        let calls = remote.calls_of("tools/call");
        let called: Vec<_> = calls
            .iter()
            .map(|call| call.params()["name"].clone())
            .collect();
        assert_eq!(called, &tools[4..]);
    }
}

#[test]
fn the_allow_list_yields_to_the_ignore_list() {
    let remote = Legacy::sessions()
        .tools(plain(&["get_a", "get_secret", "put_a"]))
        .start();
    let mut bridge = Bridge::to(&remote.url())
        .args(["--only-tool", "get_*", "--ignore-tool", "*secret"])
        .start();
    bridge.handshake();
    assert_eq!(names(&bridge.request("tools/list", Value::Null)), ["get_a"]);
    bridge.send(&call(1, "put_a"));
    assert_hidden(&bridge.response(1), &["put_a", "--only-tool"]);
    bridge.send(&call(2, "get_secret"));
    assert_hidden(&bridge.response(2), &["get_secret", "--ignore-tool"]);
    bridge.send(&call(3, "get_a"));
    assert_echoed(&bridge.response(3), "get_a");
    bridge.finish();
    assert_eq!(remote.calls_of("tools/call").len(), 1);
}

/// The spelling of everything else survives.
#[test]
fn the_other_bytes_of_a_list_stay_as_they_are() {
    let before = r#"{ "x":1.0, "tools" : [ {"name":"a","n":1e2,"n2":0.10},"#;
    let hidden = r#" {"name":"b","note":"gone"},"#;
    let after = r#"{"description":"é\u00e9","name":"c"} ] ,"nextCursor":"p2","_meta":{"k":[]}}"#;
    let page = format!("{before}{hidden}{after}");
    for as_sse in [false, true] {
        let page = page.clone();
        let remote = Legacy::sessions()
            .on("tools/list", move |call: &Call| {
                let id = call.id();
                let text = format!(r#"{{"id":{id},"jsonrpc":"2.0", "result":{page}}}"#);
                if as_sse {
                    Reply::sse_text(format!("event: message\ndata: {text}\n\n"))
                } else {
                    Reply::json_text(text)
                }
            })
            .start();
        let mut bridge = Bridge::to(&remote.url())
            .args(["--ignore-tool", "b"])
            .start();
        bridge.handshake();
        bridge.send(&rpc::request(7, "tools/list", Value::Null));
        let line = String::from_utf8(bridge.response_raw(7)).unwrap();
        let expected = format!(r#"{{"id":7,"jsonrpc":"2.0", "result":{before}{after}}}"#);
        assert_eq!(line, expected);
        bridge.finish();
    }
}

/// A server that lists these pages, each a list of tools.
fn paged(pages: Vec<Value>) -> Legacy {
    Legacy::sessions().on("tools/list", move |call| {
        let at = match call.params()["cursor"].as_str() {
            Some(cursor) => cursor.strip_prefix("page ").unwrap().parse().unwrap(),
            None => 0_usize,
        };
        let mut result = json!({"tools": pages[at]});
        if at + 1 < pages.len() {
            result["nextCursor"] = json!(format!("page {}", at + 1));
        }
        call.result(&result)
    })
}

#[test]
fn every_page_is_filtered() {
    let remote = paged(vec![
        plain(&["a", "delete_a"]),
        plain(&["delete_b"]),
        plain(&["c", "delete_c"]),
    ])
    .start();
    let mut bridge = Bridge::to(&remote.url())
        .args(["--ignore-tool", "delete*"])
        .start();
    bridge.handshake();
    let mut cursor = Value::Null;
    for expected in [&["a"][..], &[], &["c"]] {
        let params = if cursor.is_null() {
            Value::Null
        } else {
            json!({"cursor": cursor})
        };
        let page = bridge.request("tools/list", params);
        assert_eq!(names(&page), expected);
        cursor = page["result"]["nextCursor"].clone();
    }
    assert!(cursor.is_null());
    bridge.finish();
}

/// Readers differ in which of two names counts, so neither a list nor a call passes with both.
#[test]
fn doubled_names_do_not_slip_through() {
    let remote = Legacy::sessions()
        .on("tools/list", |call| {
            call.result_text(r#"{"tools":[{"name":"safe","name":"delete"},{"name":"ok"}]}"#)
        })
        .start();
    let mut bridge = Bridge::to(&remote.url())
        .args(["--ignore-tool", "delete"])
        .start();
    bridge.handshake();
    assert_eq!(names(&bridge.request("tools/list", Value::Null)), ["ok"]);
    for params in [
        r#"{"name":"safe","name":"delete"}"#,
        r#"{"name":"delete","name":"safe"}"#,
        r#"{"name":"\u0064elete"}"#,
        r#"{"n\u0061me":"delete"}"#,
        r#"{"name":["delete"]}"#,
        "{}",
        r#"["delete"]"#,
    ] {
        bridge.send_raw(format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":\"{}\",\"method\":\"tools/call\",\"params\":{params}}}\n",
            params.len()
        ));
        assert_hidden(&bridge.response(params.len().to_string()), &[]);
    }
    bridge.send_raw("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\"}\n");
    assert_hidden(&bridge.response(1), &[]);
    bridge.finish();
    assert_eq!(remote.calls_of("tools/call").len(), 0);
}

#[test]
fn a_hidden_call_in_a_batch_is_answered_in_it() {
    let remote = Legacy::sessions().version("2025-03-26").start();
    let mut bridge = Bridge::to(&remote.url())
        .args(["--ignore-tool", "delete"])
        .start();
    bridge.handshake_at("2025-03-26");
    bridge.send(&json!([call(1, "delete"), call(2, "echo")]));
    let line = bridge.recv_where(Value::is_array);
    let answers = line.as_array().unwrap();
    let answer = |id: i64| answers.iter().find(|answer| answer["id"] == id).unwrap();
    assert_hidden(answer(1), &["delete"]);
    assert_echoed(answer(2), "echo");
    bridge.finish();
    assert_eq!(remote.calls_of("tools/call").len(), 1);
}

#[test]
fn hidden_tools_stay_hidden_after_the_list_changed() {
    let remote = Legacy::sessions()
        .on("tools/list", |call| {
            let names = if call.nth == 1 {
                &["a", "delete"][..]
            } else {
                &["b", "delete", "deleteMore"]
            };
            call.result(&json!({"tools": plain(names)}))
        })
        .start();
    let mut bridge = Bridge::to(&remote.url())
        .args(["--ignore-tool", "delete*"])
        .start();
    bridge.handshake();
    assert_eq!(names(&bridge.request("tools/list", Value::Null)), ["a"]);
    remote.say(&rpc::notification(
        "notifications/tools/list_changed",
        Value::Null,
    ));
    bridge.recv_method("notifications/tools/list_changed");
    assert_eq!(names(&bridge.request("tools/list", Value::Null)), ["b"]);
    bridge.send(&call(1, "deleteMore"));
    assert_hidden(&bridge.response(1), &["deleteMore"]);
    bridge.finish();
}

// ----- --read-only -----

fn tool(name: &str, read_only: bool) -> Value {
    json!({"name": name, "annotations": {"readOnlyHint": read_only}})
}

fn mixed() -> Value {
    json!([
        tool("look", true),
        tool("write", false),
        {"name": "silent"},
        {"name": "odd", "annotations": {"readOnlyHint": "true"}},
    ])
}

fn read_only(remote: &LegacyRemote) -> Bridge {
    let mut bridge = Bridge::to(&remote.url()).args(["--read-only"]).start();
    bridge.handshake();
    bridge
}

#[test]
fn read_only_shows_and_calls_what_is_marked() {
    let remote = Legacy::sessions().tools(mixed()).start();
    let mut bridge = read_only(&remote);
    assert_eq!(names(&bridge.request("tools/list", Value::Null)), ["look"]);
    for hidden in ["write", "silent", "odd"] {
        bridge.send(&call(hidden, hidden));
        assert_hidden(
            &bridge.response(hidden),
            &[hidden, "--read-only", "does not mark it"],
        );
    }
    bridge.send(&call(1, "look"));
    assert_echoed(&bridge.response(1), "look");
    bridge.finish();
    assert_eq!(remote.calls_of("tools/call").len(), 1);
    assert_eq!(remote.calls_of("tools/list").len(), 1);
}

/// A client that remembers its tools calls them without asking: the list is read for it, once.
#[test]
fn read_only_reads_all_pages_itself_once_for_many_calls() {
    let first = json!([tool("other", true)]);
    let last = json!([tool("last", true)]);
    let remote = paged(vec![first, mixed(), last]).start();
    let bridge = read_only(&remote);
    for id in 0..10 {
        bridge.send(&call(id, "look"));
        bridge.send(&call(100 + id, "write"));
    }
    bridge.send(&call(200, "unknown"));
    bridge.send(&call(201, "last"));
    for id in 0..10 {
        assert_echoed(&bridge.response(id), "look");
        assert_hidden(&bridge.response(100 + id), &["write", "does not mark it"]);
    }
    assert_hidden(
        &bridge.response(200),
        &["unknown", "--read-only", "does not list it"],
    );
    assert_echoed(&bridge.response(201), "last");
    bridge.send(&call(202, "last"));
    assert_echoed(&bridge.response(202), "last");
    let ended = bridge.finish();
    assert_eq!(
        ended.messages,
        [json!(null); 0],
        "the client sees nothing of it"
    );
    assert_eq!(remote.calls_of("tools/call").len(), 12);
    let lists = remote.calls_of("tools/list");
    assert_eq!(lists.len(), 3);
    for list in lists {
        assert!(list.id().as_str().unwrap().starts_with("mb-"), "{list:?}");
    }
}

#[test]
fn read_only_reads_the_list_from_event_streams() {
    for (legacy, transport) in [
        (Legacy::http_sse(), "sse-only"),
        (Legacy::sessions().answers_as_sse(), "http-only"),
    ] {
        let remote = legacy.tools(mixed()).start();
        let mut bridge = Bridge::to(&remote.url())
            .args(["--transport", transport, "--read-only"])
            .start();
        bridge.handshake();
        bridge.send(&call(1, "look"));
        bridge.send(&call(2, "write"));
        assert_echoed(&bridge.response(1), "look");
        assert_hidden(&bridge.response(2), &["write"]);
        bridge.finish();
        assert_eq!(remote.calls_of("tools/list").len(), 1);
    }
}

#[test]
fn other_requests_do_not_wait_for_the_list_that_a_call_waits_for() {
    let gate = Gate::new();
    let held = gate.clone();
    let remote = Legacy::sessions()
        .tools(mixed())
        .on("tools/list", move |_| Reply::usual().after(&held))
        .start();
    let mut bridge = read_only(&remote);
    bridge.send(&call(1, "look"));
    bridge.send(&call(2, "look"));
    remote.wait_call("tools/list");
    assert_eq!(bridge.request("ping", Value::Null)["result"], json!({}));
    bridge.notify("notifications/cancelled", json!({"requestId": 2}));
    bridge.send(&rpc::request(2, "prompts/list", Value::Null));
    assert!(bridge.response(2)["result"]["prompts"].is_array());
    assert_eq!(remote.calls_of("tools/call").len(), 0);
    gate.open();
    assert_echoed(&bridge.response(1), "look");
    bridge.finish();
    assert_eq!(remote.calls_of("tools/call").len(), 1);
    assert_eq!(remote.calls_of("notifications/cancelled").len(), 0);
}

#[test]
fn a_list_that_cannot_be_read_refuses_the_calls_and_is_asked_for_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let remote = Legacy::sessions()
        .tools(mixed())
        .on("tools/list", move |call| {
            match count.fetch_add(1, Ordering::SeqCst) {
                0 => call.error(-32603, "the shelf is empty"),
                1 => Reply::text(500, "broken"),
                2 => Reply::html(200, "<title>Log in</title>"),
                3 => Reply::text(200, ""),
                4 => Reply::cut_before_head(),
                5 => Reply::sse_text(": nothing\n\n"),
                6 => call.result_text(r#"{"tools":[{"name":"look"}],"tools":[]}"#),
                _ => Reply::usual(),
            }
        })
        .start();
    let bridge = read_only(&remote);
    for (id, words) in [
        (1, "the shelf is empty"),
        (2, "HTTP 500"),
        // Asked for twice each: no answer came.
        (3, "did not answer"),
        (4, "did not answer"),
        (5, "ambiguous"),
    ] {
        bridge.send(&call(id, "look"));
        let response = bridge.response(id);
        let message = response["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("--read-only") && message.contains(words),
            "{id}: {message}"
        );
        assert_eq!(response["error"]["data"]["kind"], "tool-not-available");
        assert_eq!(response["error"]["data"]["executed"], "no");
    }
    bridge.send(&call(6, "look"));
    assert_echoed(&bridge.response(6), "look");
    bridge.finish();
    assert_eq!(asked.load(Ordering::SeqCst), 8);
    assert_eq!(remote.calls_of("tools/call").len(), 1);
}

#[test]
fn a_list_without_end_is_read_so_far_and_no_further() {
    let remote = Legacy::sessions()
        .on("tools/list", |call| {
            call.result(
                &json!({"tools": [tool("look", true)], "nextCursor": format!("c{}", call.nth)}),
            )
        })
        .start();
    let bridge = read_only(&remote);
    bridge.send(&call(1, "missing"));
    assert_hidden(&bridge.response(1), &["missing", "does not list it"]);
    assert_eq!(remote.calls_of("tools/list").len(), 100);
    bridge.finish();
}

#[test]
fn a_cursor_that_stays_the_same_ends_the_list() {
    let remote = Legacy::sessions()
        .on("tools/list", |call| {
            call.result(&json!({"tools": [tool("look", true)], "nextCursor": "same"}))
        })
        .start();
    let bridge = read_only(&remote);
    bridge.send(&call(1, "look"));
    assert_echoed(&bridge.response(1), "look");
    assert_eq!(remote.calls_of("tools/list").len(), 2);
    bridge.finish();
}

#[test]
fn a_tool_that_stops_being_read_only_is_hidden_from_the_next_call_on() {
    let remote = Legacy::sessions()
        .on("tools/list", |call| {
            call.result(&json!({"tools": [tool("look", call.nth == 1)]}))
        })
        .start();
    let bridge = read_only(&remote);
    bridge.send(&call(1, "look"));
    assert_echoed(&bridge.response(1), "look");
    remote.say(&rpc::notification(
        "notifications/tools/list_changed",
        Value::Null,
    ));
    bridge.recv_method("notifications/tools/list_changed");
    bridge.send(&call(2, "look"));
    assert_hidden(&bridge.response(2), &["look", "does not mark it"]);
    bridge.finish();
    assert_eq!(remote.calls_of("tools/list").len(), 2);
}

#[test]
fn the_list_is_read_anew_in_a_reopened_session() {
    let remote = Legacy::sessions().tools(mixed()).start();
    let bridge = read_only(&remote);
    remote.wait_stream();
    remote.expire_sessions(Refusal::NotFound);
    bridge.send(&call(1, "look"));
    bridge.send(&call(2, "write"));
    assert_echoed(&bridge.response(1), "look");
    assert_hidden(&bridge.response(2), &["write"]);
    assert_eq!(remote.sessions_opened(), 2);
    bridge.finish();
    assert_eq!(remote.calls_of("tools/call").len(), 1);
}

#[test]
fn a_401_to_the_list_says_that_a_sign_in_is_missing() {
    let remote = Legacy::sessions()
        .lenient()
        .on("tools/list", |_| Reply::text(401, "no"))
        .start();
    let bridge = read_only(&remote);
    bridge.send(&call(1, "look"));
    let response = bridge.response(1);
    assert_eq!(
        response["error"]["data"]["kind"], "no_registration_method",
        "{response}"
    );
    bridge.finish();
    assert_eq!(remote.calls_of("tools/call").len(), 0);
}

#[test]
fn a_call_that_waits_for_the_list_is_answered_at_the_end() {
    let remote = Legacy::sessions()
        .on("tools/list", |_| Reply::never())
        .start();
    let mut bridge = Bridge::to(&remote.url())
        .args(["--read-only", "--eof-grace=0.1"])
        .start();
    bridge.handshake();
    bridge.send(&call(1, "look"));
    remote.wait_call("tools/list");
    let ended = bridge.finish();
    assert_eq!(ended.messages.len(), 1);
    assert_eq!(ended.messages[0]["error"]["data"]["kind"], "shutdown");
}
