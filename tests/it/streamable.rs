//! Streamable HTTP of the revisions with sessions: headers, order, both kinds of answer, the
//! server's own stream, resumption, cancellation.
//!
//! In: what a well-behaved server sees and says. Out: answers that fail a request (`answers`),
//! lost sessions, HTTP+SSE.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Bridge, Call, Gate, Legacy, LegacyRemote, Mailbox, Reply, StreamHandle, rpc};

/// A server whose `tools/call`s are answered with streams that the test writes.
fn streaming() -> (LegacyRemote, Mailbox<(Call, StreamHandle)>) {
    let opened = Mailbox::new();
    let mailbox = opened.clone();
    let remote = Legacy::sessions()
        .on("tools/call", move |call| {
            Reply::stream(|stream| mailbox.put((call.clone(), stream)))
        })
        .start();
    (remote, opened)
}

/// Answers GETs that continue a stream by this; others as usual.
fn on_resume(
    legacy: Legacy,
    resumed: impl Fn(&Call, &str) -> Reply + Send + Sync + 'static,
) -> Legacy {
    legacy.on("GET", move |call| match call.header("last-event-id") {
        Some(id) => resumed(call, &id),
        None => Reply::usual(),
    })
}

fn priming(id: &str, retry_ms: u32) -> String {
    format!("id: {id}\nretry: {retry_ms}\ndata:\n\n")
}

fn text_result(id: impl Into<Value>, text: &str) -> Value {
    rpc::response(id, json!({"content": [{"type": "text", "text": text}]}))
}

fn said(response: &Value) -> &str {
    response["result"]["content"][0]["text"]
        .as_str()
        .unwrap_or_else(|| panic!("no text in {response}"))
}

/// Everything the bridge had to do with a line is done once a later line is answered.
fn lines_are_read(bridge: &Bridge) {
    bridge.send_raw("not json\n");
    let refusal = bridge.response(Value::Null);
    assert_eq!(refusal["error"]["code"], -32700);
}

#[test]
fn t26_headers_of_every_request() {
    let remote = Legacy::sessions().start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake_at("2025-06-18");
    bridge.request("tools/list", json!({}));
    remote.wait_stream();
    bridge.finish();
    let calls = remote.calls();
    let (first, later) = calls.split_first().unwrap();
    assert_eq!(first.key(), "initialize");
    assert_eq!(first.header("mcp-protocol-version"), None);
    assert_eq!(first.session(), None);
    let mut keys: Vec<&str> = later.iter().map(Call::key).collect();
    keys.sort_unstable();
    let expected = ["DELETE", "GET", "notifications/initialized", "tools/list"];
    assert_eq!(keys, expected);
    for call in later {
        let version = call.header("mcp-protocol-version");
        assert_eq!(version.as_deref(), Some("2025-06-18"), "{call:?}");
        assert_eq!(call.session().as_deref(), Some("session-1"), "{call:?}");
    }
    for call in calls.iter().filter(|call| call.verb == "POST") {
        let accept = call.header("accept").unwrap();
        assert!(accept.contains("application/json") && accept.contains("text/event-stream"));
        let kind = call.header("content-type");
        assert_eq!(kind.as_deref(), Some("application/json"));
    }
    assert!(calls.iter().all(|call| call.header("origin").is_none()));
}

#[test]
fn t27_an_older_server_settles_the_version() {
    let remote = Legacy::sessions().version("2025-06-18").start();
    let mut bridge = Bridge::spawn(&remote.url());
    let response = bridge.handshake_at("2025-11-25");
    assert_eq!(response["result"]["protocolVersion"], "2025-06-18");
    bridge.request("tools/list", json!({}));
    let call = remote.wait_call("tools/list");
    let version = call.header("mcp-protocol-version");
    assert_eq!(version.as_deref(), Some("2025-06-18"));
}

#[test]
fn t28_a_newer_server_is_hidden_from_an_older_client() {
    let remote = Legacy::sessions().version("2025-11-25").start();
    let mut bridge = Bridge::spawn(&remote.url());
    let response = bridge.handshake_at("2024-11-05");
    assert_eq!(response["result"]["protocolVersion"], "2024-11-05");
    assert_eq!(response["result"]["serverInfo"]["name"], "ready-made");
    bridge.request("tools/list", json!({}));
    let call = remote.wait_call("tools/list");
    let version = call.header("mcp-protocol-version");
    assert_eq!(version.as_deref(), Some("2025-11-25"));
}

#[test]
fn t29_requests_wait_until_initialized_was_accepted() {
    let gate = Gate::new();
    let held = gate.clone();
    let remote = Legacy::sessions()
        .on("notifications/initialized", move |_| {
            Reply::usual().after(&held)
        })
        .start();
    let bridge = Bridge::spawn(&remote.url());
    let (open, done) = (rpc::initialize("init", rpc::VERSION), rpc::initialized());
    let list = rpc::request(2, "tools/list", json!({}));
    bridge.send_raw(format!("{open}\n{done}\n{list}\n"));
    bridge.response("init");
    remote.wait_call("notifications/initialized");
    lines_are_read(&bridge);
    assert_eq!(remote.keys(), ["initialize", "notifications/initialized"]);
    gate.open();
    // The server itself complains of a request that comes before its 202.
    assert!(bridge.response(2)["result"]["tools"].is_array());
}

#[test]
fn t30_json_and_stream_answers() {
    let remote = Legacy::sessions()
        .on("tools/list", |call| {
            let result = json!({"tools": [], "nth": call.nth});
            if call.nth == 1 {
                call.result(&result)
            } else {
                Reply::sse(&[call.result_message(&result)])
            }
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    for nth in 1..=2 {
        let response = bridge.request("tools/list", json!({}));
        assert_eq!(response["result"]["nth"], nth);
    }
    assert_eq!(remote.calls_of("tools/list").len(), 2);
}

#[test]
fn t31_progress_and_logs_come_in_order_before_the_result() {
    let progress = |step: u32| {
        let params = json!({"progressToken": "t", "progress": step});
        rpc::notification("notifications/progress", params)
    };
    let log = rpc::notification(
        "notifications/message",
        json!({"level": "info", "data": "x"}),
    );
    let script = [progress(1), progress(2), progress(3), log];
    let sent = script.clone();
    let remote = Legacy::sessions()
        .on("tools/call", move |call| {
            assert_eq!(call.progress_token(), "t");
            let mut messages = sent.to_vec();
            messages.push(call.result_message(&call.echo()));
            Reply::sse(&messages)
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let mut params = rpc::echo_params("done");
    params["_meta"] = json!({"progressToken": "t"});
    bridge.send(&rpc::request(7, "tools/call", params));
    for expected in script {
        assert_eq!(bridge.recv(), expected);
    }
    let last = bridge.recv();
    assert_eq!(last["id"], 7);
    assert_eq!(said(&last), "done");
}

#[test]
fn t32_equal_ids_of_two_questions_are_told_apart() {
    let (remote, opened) = streaming();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let mut streams = Vec::new();
    for name in ["a", "b"] {
        bridge.send(&rpc::echo(name, name));
        let (call, stream) = opened.take();
        assert_eq!(call.id(), name);
        let params = json!({"message": name, "requestedSchema": {"type": "object"}});
        stream.event(&rpc::request(0, "elicitation/create", params));
        streams.push((name, stream));
    }
    let first = bridge.recv_method("elicitation/create");
    let second = bridge.recv_method("elicitation/create");
    assert_ne!(first["id"], second["id"]);
    for question in [&second, &first] {
        let answer = json!({"action": "accept", "content": {"to": question["params"]["message"]}});
        bridge.send(&rpc::response(question["id"].clone(), answer));
    }
    let answers = remote.wait_for(|calls| {
        let is_answer = |call: &&Call| call.key() == "response";
        calls.iter().filter(is_answer).count() == 2
    });
    let answers: Vec<&Call> = answers.iter().filter(|it| it.key() == "response").collect();
    assert!(answers.iter().all(|call| call.id() == 0), "{answers:?}");
    let to = |call: &Call| call.json["result"]["content"]["to"].clone();
    assert_eq!(to(answers[0]), second["params"]["message"]);
    assert_eq!(to(answers[1]), first["params"]["message"]);
    for (name, stream) in streams {
        stream.event(&text_result(name, name));
        stream.close();
        assert_eq!(said(&bridge.response(name)), name);
    }
}

#[test]
fn t33_a_ping_of_the_server_is_answered_by_the_client() {
    let remote = Legacy::sessions().start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    remote.say(&rpc::request(5, "ping", Value::Null));
    let ping = bridge.recv_method("ping");
    bridge.send(&rpc::response(ping["id"].clone(), json!({})));
    let answer = remote.wait_call("response");
    assert_eq!(
        answer.json,
        json!({"jsonrpc": "2.0", "id": 5, "result": {}})
    );
    assert_eq!(answer.session().as_deref(), Some("session-1"));
}

#[test]
fn t34_a_refused_stream_is_not_asked_for_again() {
    type Refusal = (&'static str, fn() -> Reply);
    let refusals: [Refusal; 6] = [
        ("405", || Reply::status(405).header("allow", "POST")),
        ("404", || Reply::text(404, "Not Found")),
        ("406", || Reply::text(406, "Not Acceptable")),
        ("501", || Reply::text(501, "Not Implemented")),
        ("HTML", || {
            Reply::html(200, "<html><title>Hi</title></html>")
        }),
        ("JSON", || Reply::json(&json!({"status": "ok"}))),
    ];
    for (name, refusal) in refusals {
        let remote = Legacy::sessions().on("GET", move |_| refusal()).start();
        let mut bridge = Bridge::spawn(&remote.url());
        bridge.handshake();
        remote.wait_call("GET");
        for turn in 0..3 {
            let response = bridge.request("tools/call", rpc::echo_params("on"));
            assert_eq!(said(&response), "on", "GET answers {name}, call {turn}");
        }
        assert_eq!(remote.sessions_opened(), 1, "{name}");
        let ended = bridge.finish();
        assert!(ended.messages.is_empty(), "{name}: {:?}", ended.messages);
        assert_eq!(remote.calls_of("GET").len(), 1, "GET answers {name}");
    }
}

#[test]
fn t35_a_stream_that_is_taken_is_asked_for_later() {
    let remote = Legacy::sessions()
        .on("GET", |call| match call.nth {
            1 => Reply::text(409, "Conflict: Only one SSE stream is allowed per session"),
            _ => Reply::usual(),
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let (first, second) = (remote.wait_nth("GET", 1), remote.wait_nth("GET", 2));
    assert!(second.at - first.at >= Duration::from_secs(5));
    let note = rpc::notification("notifications/tools/list_changed", Value::Null);
    remote.say(&note);
    assert_eq!(bridge.recv(), note);
}

#[test]
fn t36_a_polled_answer_is_fetched_when_the_server_says() {
    let legacy = Legacy::sessions().on("tools/call", |_| Reply::sse_text(priming("e1", 700)));
    let remote = on_resume(legacy, |_, id| {
        assert_eq!(id, "e1");
        Reply::sse(&[text_result(7, "polled")])
    })
    .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&rpc::echo(7, "x"));
    assert_eq!(said(&bridge.response(7)), "polled");
    let calls = remote.calls();
    let asked = calls.iter().find(|it| it.key() == "tools/call").unwrap();
    let resumed = calls
        .iter()
        .find(|it| it.header("last-event-id").is_some())
        .unwrap();
    assert!(resumed.at - asked.at >= Duration::from_millis(700));
    assert_eq!(resumed.session().as_deref(), Some("session-1"));
    assert_eq!(remote.calls_of("tools/call").len(), 1);
}

#[test]
fn t37_every_poll_continues_where_the_last_one_ended() {
    let legacy = Legacy::sessions().on("tools/call", |_| Reply::sse_text(priming("e1", 0)));
    let remote = on_resume(legacy, |_, id| match id {
        "e1" => Reply::sse_text(priming("e2", 0)),
        "e2" => Reply::sse(&[text_result(7, "twice polled")]),
        other => panic!("Last-Event-ID: {other}"),
    })
    .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&rpc::echo(7, "x"));
    assert_eq!(said(&bridge.response(7)), "twice polled");
    assert_eq!(remote.calls_of("tools/call").len(), 1);
}

#[test]
fn a_long_call_may_be_polled_any_number_of_times() {
    let legacy = Legacy::sessions().on("tools/call", |_| Reply::sse_text(priming("0", 0)));
    let remote = on_resume(legacy, |_, id| match id.parse::<u32>().unwrap() {
        12 => Reply::sse(&[text_result(7, "at last")]),
        poll => Reply::sse_text(priming(&(poll + 1).to_string(), 0)),
    })
    .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&rpc::echo(7, "x"));
    assert_eq!(said(&bridge.response(7)), "at last");
    assert_eq!(remote.calls_of("tools/call").len(), 1);
}

#[test]
fn a_poll_that_finds_the_server_busy_is_repeated() {
    let legacy = Legacy::sessions().on("tools/call", |_| Reply::sse_text(priming("e1", 0)));
    let busy = std::sync::atomic::AtomicUsize::new(0);
    let remote = on_resume(legacy, move |_, _| {
        match busy.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => Reply::text(503, "restarting"),
            1 => Reply::cut_before_head(),
            _ => Reply::sse(&[text_result(7, "polled")]),
        }
    })
    .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&rpc::echo(7, "x"));
    assert_eq!(said(&bridge.response(7)), "polled");
    assert_eq!(remote.calls_of("tools/call").len(), 1);
}

#[test]
fn t38_a_stream_without_the_response_leaves_the_outcome_open() {
    for legacy in [Legacy::sessions(), Legacy::free()] {
        let remote = legacy
            .on("tools/call", |_| Reply::sse_text(": working\n\n"))
            .start();
        let mut bridge = Bridge::spawn(&remote.url());
        bridge.handshake();
        let response = bridge.request("tools/call", rpc::echo_params("x"));
        let error = &response["error"];
        assert_eq!(error["code"], -31000);
        let data = json!({
            "source": "mcp-bridge", "kind": "stream-ended", "executed": "unknown", "status": 200,
        });
        assert_eq!(error["data"], data);
        let words = error["message"].as_str().unwrap();
        assert!(words.starts_with("mcp-bridge: "), "{words}");
        assert_eq!(remote.calls_of("tools/call").len(), 1);
    }
}

#[test]
fn t39_a_harmless_request_is_repeated_once() {
    let remote = Legacy::sessions()
        .on("tools/list", |call| match call.nth {
            1 => Reply::sse_text(": working\n\n"),
            _ => Reply::usual(),
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let response = bridge.request("tools/list", json!({}));
    assert!(response["result"]["tools"].is_array(), "{response}");
    let calls = remote.calls_of("tools/list");
    assert_eq!(calls.len(), 2);
    assert_ne!(calls[0].id(), calls[1].id());
}

#[test]
fn t40_an_accepted_call_is_answered_on_the_servers_own_stream() {
    let remote = Legacy::sessions()
        .on("tools/call", |_| Reply::accepted())
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let stream = remote.wait_stream();
    bridge.send(&rpc::echo(7, "x"));
    remote.wait_call("tools/call");
    stream.event(&text_result(7, "late"));
    assert_eq!(said(&bridge.response(7)), "late");
    assert_eq!(remote.calls_of("tools/call").len(), 1);
}

#[test]
fn t41_an_accepted_call_without_a_stream_fails() {
    let remote = Legacy::free()
        .on("tools/call", |_| Reply::accepted())
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("x"));
    assert_eq!(response["error"]["data"]["kind"], "not-mcp");
    assert_eq!(response["error"]["data"]["executed"], "unknown");
    assert_eq!(remote.calls_of("tools/call").len(), 1);
}

#[test]
fn an_accepted_call_fails_when_the_servers_stream_does_not_come_back() {
    // With an event id the stream could be continued, but the server refuses.
    for replayable in [false, true] {
        let remote = Legacy::sessions()
            .on("tools/call", |_| Reply::accepted())
            .on("GET", |call| match call.nth {
                1 => Reply::usual(),
                _ => Reply::text(405, "no"),
            })
            .start();
        let mut bridge = Bridge::spawn(&remote.url());
        bridge.handshake();
        let stream = remote.wait_stream();
        if replayable {
            stream.send(priming("g1", 0));
        }
        let note = rpc::notification("notifications/tools/list_changed", Value::Null);
        stream.event(&note);
        assert_eq!(bridge.recv(), note);
        bridge.send(&rpc::echo(7, "x"));
        remote.wait_call("tools/call");
        stream.close();
        let response = bridge.response(7);
        assert_eq!(response["error"]["data"]["executed"], "unknown");
        assert_eq!(remote.calls_of("tools/call").len(), 1);
    }
}

#[test]
fn t42_a_replayed_result_is_dropped() {
    let legacy = Legacy::sessions().on("tools/call", |call| {
        let result = text_result(call.id(), "once");
        match call.nth {
            // Delivered on the second stream, replayed there and on the server's own.
            1 => Reply::sse_text(priming("e1", 0)),
            // Delivered on the first one.
            _ => Reply::sse(&[result.clone(), result]),
        }
    });
    let remote = on_resume(legacy, |_, _| {
        let result = text_result(7, "once");
        Reply::sse(&[result.clone(), result])
    })
    .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    for id in [7, 8] {
        bridge.send(&rpc::echo(id, "x"));
        assert_eq!(said(&bridge.response(id)), "once");
        remote.say(&text_result(id, "once"));
    }
    let note = rpc::notification("notifications/tools/list_changed", Value::Null);
    remote.say(&note);
    assert_eq!(bridge.recv(), note);
    let ended = bridge.finish();
    assert!(ended.messages.is_empty(), "{:?}", ended.messages);
    let said_once = ended.stderr.matches("response to no open request").count();
    assert_eq!(said_once, 1, "{}", ended.stderr);
}

#[test]
fn t43_a_cancellation_follows_its_request_and_silences_it() {
    let (remote, opened) = streaming();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let own = remote.wait_stream();
    bridge.send(&rpc::echo(7, "x"));
    let (_, stream) = opened.take();
    let params = json!({"requestId": 7, "reason": "the user is gone"});
    bridge.notify("notifications/cancelled", params.clone());
    let cancelled = remote.wait_call("notifications/cancelled");
    assert_eq!(cancelled.params(), &params);
    // Both places where a late result could come.
    stream.event(&text_result(7, "late"));
    own.event(&text_result(7, "late"));
    let note = rpc::notification("notifications/tools/list_changed", Value::Null);
    own.event(&note);
    assert_eq!(bridge.recv(), note);
    stream.wait_closed();
    let ended = bridge.finish();
    assert!(ended.messages.is_empty(), "{:?}", ended.messages);
}

#[test]
fn t44_a_cancellation_never_overtakes_its_request() {
    let gate = Mailbox::new();
    let gates = gate.clone();
    let remote = Legacy::sessions()
        .on("tools/call", |_| Reply::stream(drop))
        .on("tools/list", move |_| {
            let held = Gate::new();
            gates.put(held.clone());
            Reply::usual().after(&held)
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    for round in 1..=10 {
        // Idle connections for both. A server reads a new one and an old one in any order.
        let lists = [1, 2, 3].map(|number| format!("list {round} {number}"));
        for id in &lists {
            bridge.send(&rpc::request(id.as_str(), "tools/list", json!({})));
        }
        let held: Vec<Gate> = lists.iter().map(|_| gate.take()).collect();
        held.iter().for_each(Gate::open);
        for id in &lists {
            bridge.response(id.as_str());
        }
        let call = rpc::echo(round, "x");
        let cancel = rpc::notification("notifications/cancelled", json!({"requestId": round}));
        bridge.send_raw(format!("{call}\n{cancel}\n"));
        remote.wait_nth("notifications/cancelled", round);
    }
    let order: Vec<(String, Value)> = remote
        .calls()
        .iter()
        .filter_map(|call| match call.key() {
            "tools/call" => Some(("call".to_owned(), call.id())),
            "notifications/cancelled" => {
                Some(("cancel".to_owned(), call.params()["requestId"].clone()))
            }
            _ => None,
        })
        .collect();
    let pair = |round: usize| ["call", "cancel"].map(|what| (what.to_owned(), json!(round)));
    let expected: Vec<(String, Value)> = (1..=10).flat_map(pair).collect();
    assert_eq!(order, expected);
}

#[test]
fn t44_a_request_that_was_not_sent_yet_is_cancelled_here() {
    let gate = Gate::new();
    let held = gate.clone();
    let remote = Legacy::sessions()
        .on("notifications/initialized", move |_| {
            Reply::usual().after(&held)
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    remote.wait_call("notifications/initialized");
    bridge.send(&rpc::echo(7, "x"));
    bridge.notify("notifications/cancelled", json!({"requestId": 7}));
    lines_are_read(&bridge);
    gate.open();
    bridge.request("tools/list", json!({}));
    let ended = bridge.finish();
    assert!(ended.messages.is_empty(), "{:?}", ended.messages);
    let keys = remote.keys();
    let sent = |key: &str| keys.iter().any(|it| it == key);
    assert!(!sent("tools/call") && !sent("notifications/cancelled"));
}

#[test]
fn t45_an_array_with_the_response() {
    let remote = Legacy::sessions()
        .on("tools/call", |call| {
            let note = rpc::notification("notifications/message", json!({"level": "info"}));
            Reply::json(&json!([note, call.result_message(&call.echo())]))
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&rpc::echo(7, "in a batch"));
    assert_eq!(bridge.recv()["method"], "notifications/message");
    assert_eq!(said(&bridge.response(7)), "in a batch");
}

#[test]
fn t46_an_error_of_the_server_keeps_its_bytes_and_gets_the_clients_id() {
    let error = r#"{"code":-32602,"message":"bad \u0041rguments","data":{"n":1.0e2,"z":null}}"#;
    let remote = Legacy::sessions()
        .on("tools/call", move |_| {
            let body = format!(r#"{{"jsonrpc":"2.0","id":null,"error":{error}}}"#);
            Reply::status(400).body(body)
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&rpc::echo("seven", "x"));
    let line = String::from_utf8(bridge.response_raw("seven")).unwrap();
    assert!(line.contains(&format!(r#""error":{error}"#)), "{line}");
}

#[test]
fn t47_a_refused_notification_is_only_told_to_people() {
    let remote = Legacy::sessions()
        .on("notifications/roots/list_changed", |_| {
            Reply::text(400, "what is that?")
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.notify("notifications/roots/list_changed", Value::Null);
    bridge.wait_stderr("notifications/roots/list_changed: ");
    let words = bridge.wait_stderr("what is that?");
    assert!(words.contains("HTTP 400"), "{words}");
    bridge.request("tools/list", json!({}));
    let ended = bridge.finish();
    assert!(ended.messages.is_empty(), "{:?}", ended.messages);
    assert_eq!(remote.calls_of("notifications/roots/list_changed").len(), 1);
}

#[test]
fn t48_a_busy_server_is_asked_again_when_it_says() {
    let remote = Legacy::sessions()
        .on("tools/call", |call| match call.nth {
            1 => Reply::text(429, "slow down").header("retry-after", "1"),
            _ => Reply::usual(),
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("x"));
    assert_eq!(said(&response), "x");
    let calls = remote.calls_of("tools/call");
    assert_eq!(calls.len(), 2);
    assert!(calls[1].at - calls[0].at >= Duration::from_secs(1));
    assert_eq!(calls[0].id(), calls[1].id());
}

#[test]
fn t49_a_gateway_error_is_repeated_only_where_that_does_no_harm() {
    let remote = Legacy::free()
        .on("tools/call", |_| Reply::text(502, "Bad Gateway"))
        .on("tools/list", |_| Reply::text(502, "Bad Gateway"))
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    for (method, sent) in [("tools/call", 1), ("tools/list", 2)] {
        let response = bridge.request(method, rpc::echo_params("x"));
        let data = json!({
            "source": "mcp-bridge", "kind": "http-status", "executed": "unknown", "status": 502,
        });
        assert_eq!(response["error"]["data"], data, "{method}");
        let words = response["error"]["message"].as_str().unwrap();
        assert!(words.contains("502") && words.contains("Bad Gateway"));
        assert_eq!(remote.calls_of(method).len(), sent, "{method}");
    }
}

#[test]
fn t50_a_large_event_in_awkward_pieces_is_delivered_whole() {
    let (remote, opened) = streaming();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&rpc::echo(7, "x"));
    let (_, stream) = opened.take();
    let text = "täglich 私 ".repeat((20 << 20) / 13);
    assert!(text.len() > 19 << 20);
    let message = text_result(7, &text).to_string();
    let body =
        format!(": hello\r\n\r\nevent: message\r\n: aside\r\ndata: {message}\r\n: x\r\n\r\n");
    // An odd length: many of the pieces end inside a character.
    for piece in body.as_bytes().chunks(65_537) {
        stream.send(piece.to_vec());
    }
    assert_eq!(bridge.response_raw(7), message.as_bytes());
    stream.close();
    let ended = bridge.finish();
    assert!(
        ended.stderr.contains("a message of 20 MiB")
            || ended.stderr.contains("a message of 19 MiB")
    );
}

#[test]
fn messages_one_to_a_line_are_read_as_a_stream() {
    let streams = Mailbox::new();
    let posted = streams.clone();
    let remote = Legacy::sessions()
        .on("tools/call", move |call| {
            let box_of = posted.clone();
            let id = call.id();
            Reply::stream(move |stream| box_of.put((stream, id)))
                .header("content-type", "application/json")
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": rpc::echo_params("x")}));
    let (stream, id) = streams.take();
    let note = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1}});
    stream.send(format!("{note}\n"));
    // It is there before the answer is.
    assert_eq!(bridge.recv_method("notifications/message"), note);
    let answer = json!({"jsonrpc": "2.0", "id": id, "result": {"content": []}});
    stream.send(answer.to_string());
    stream.close();
    assert_eq!(bridge.response(7)["result"], answer["result"]);
    bridge.finish();
}
