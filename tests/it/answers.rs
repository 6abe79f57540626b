//! Nothing without an answer: whatever a server does to a request, the client gets exactly one
//! answer, and what may have run is not sent twice.
//!
//! In: broken, late, doubled and foreign answers, busy servers, servers that go away. Out:
//! well-behaved conversations (`streamable`), hostile amounts (`limits`), chance (`faults`).

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Bridge, Call, Gate, Legacy, LegacyRemote, Mailbox, Reply, StreamHandle, rpc};

/// How one kind of answer must be told to the client.
struct Case {
    name: &'static str,
    reply: fn(&Call) -> Reply,
    kind: &'static str,
    executed: &'static str,
    status: Option<u16>,
    /// Must stand in the message.
    words: &'static [&'static str],
}

impl Case {
    const fn new(
        name: &'static str,
        reply: fn(&Call) -> Reply,
        outcome: (&'static str, &'static str, Option<u16>),
        words: &'static [&'static str],
    ) -> Self {
        let (kind, executed, status) = outcome;
        Self {
            name,
            reply,
            kind,
            executed,
            status,
            words,
        }
    }
}

/// Valid HTTP up to the point where the connection closes.
fn cut_json(call: &Call) -> Reply {
    let whole = call.result_message(&call.echo()).to_string();
    let half = &whole[..whole.len() / 2];
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
    Reply::raw(format!("{head} {}\r\n\r\n{half}", whole.len()))
}

fn cut_head(_: &Call) -> Reply {
    Reply::raw("HTTP/1.1 200 OK\r\ncontent-type: appl")
}

fn cut_stream(_: &Call) -> Reply {
    Reply::stream(|stream| {
        stream.send("data: {\"jsonrpc\":\"2.0\",");
        stream.cut();
    })
}

fn half_json(call: &Call) -> Reply {
    let whole = call.result_message(&call.echo()).to_string();
    Reply::json_text(whole[..whole.len() / 2].to_owned())
}

fn login_page(_: &Call) -> Reply {
    Reply::html(200, "<html><head><title>Sign in</title></head></html>")
}

fn other_id(_: &Call) -> Reply {
    Reply::json(&rpc::response("somebody else's", json!({})))
}

fn only_a_note(_: &Call) -> Reply {
    Reply::json(&rpc::notification("notifications/cancelled", json!({})))
}

const BROKEN: (&str, &str, Option<u16>) = ("stream-ended", "unknown", None);
const BROKEN_200: (&str, &str, Option<u16>) = ("stream-ended", "unknown", Some(200));
const NOT_MCP: (&str, &str, Option<u16>) = ("not-mcp", "unknown", Some(200));

const fn http(status: u16, executed: &'static str) -> (&'static str, &'static str, Option<u16>) {
    ("http-status", executed, Some(status))
}

const CASES: [Case; 25] = [
    Case::new("cut", |_| Reply::cut_before_head(), BROKEN, &["127.0.0.1"]),
    Case::new("reset", |_| Reply::reset(), BROKEN, &["127.0.0.1"]),
    Case::new("cut in the head", cut_head, BROKEN, &["127.0.0.1"]),
    Case::new("cut in the body", cut_json, BROKEN_200, &["tools/call"]),
    Case::new("cut stream", cut_stream, BROKEN_200, &["tools/call"]),
    Case::new("truncated JSON", half_json, NOT_MCP, &["HTTP 200"]),
    Case::new("web page", login_page, NOT_MCP, &["\"Sign in\"", "login"]),
    Case::new("text", |_| Reply::text(200, "hello"), NOT_MCP, &["hello"]),
    Case::new(
        "other JSON",
        |_| Reply::json(&json!({"status": "ok"})),
        NOT_MCP,
        &["status"],
    ),
    Case::new("another id", other_id, NOT_MCP, &["HTTP 200"]),
    Case::new("no response", only_a_note, NOT_MCP, &["HTTP 200"]),
    Case::new(
        "202",
        |_| Reply::accepted(),
        ("not-mcp", "unknown", None),
        &["empty body"],
    ),
    Case::new(
        "204",
        |_| Reply::status(204),
        ("not-mcp", "unknown", None),
        &["empty body"],
    ),
    Case::new(
        "200 without a body",
        |_| Reply::status(200),
        ("not-mcp", "unknown", None),
        &["empty body"],
    ),
    Case::new(
        "400",
        |_| Reply::text(400, "no such thing"),
        http(400, "no"),
        &["HTTP 400", "no such thing"],
    ),
    Case::new(
        "403",
        |_| Reply::text(403, "go away"),
        http(403, "no"),
        &["HTTP 403", "go away"],
    ),
    Case::new(
        "413",
        |_| Reply::html(413, "<title>Too large</title>"),
        http(413, "no"),
        &["HTTP 413", "Too large"],
    ),
    Case::new(
        "418",
        |_| Reply::status(418),
        http(418, "no"),
        &["HTTP 418", "empty body"],
    ),
    Case::new(
        "500",
        |_| Reply::text(500, "boom"),
        http(500, "unknown"),
        &["HTTP 500", "boom"],
    ),
    Case::new(
        "501",
        |_| Reply::text(501, "not made"),
        http(501, "unknown"),
        &["HTTP 501", "not made"],
    ),
    Case::new(
        "502",
        |_| Reply::text(502, "bad gateway"),
        http(502, "unknown"),
        &["HTTP 502", "bad gateway"],
    ),
    Case::new(
        "503",
        |_| Reply::text(503, "overloaded"),
        http(503, "unknown"),
        &["HTTP 503", "overloaded"],
    ),
    Case::new(
        "504",
        |_| Reply::text(504, "too slow"),
        http(504, "unknown"),
        &["HTTP 504", "too slow"],
    ),
    Case::new(
        "408",
        |_| Reply::text(408, "request timeout"),
        http(408, "unknown"),
        &["HTTP 408"],
    ),
    Case::new(
        "425",
        |_| Reply::text(425, "too early"),
        http(425, "unknown"),
        &["HTTP 425"],
    ),
];

/// The `text` argument of a call to `echo`.
fn argument(call: &Call) -> String {
    let text = call.params()["arguments"]["text"].as_str();
    text.unwrap_or_default().to_owned()
}

fn said(response: &Value) -> &str {
    response["result"]["content"][0]["text"]
        .as_str()
        .unwrap_or_else(|| panic!("no text in {response}"))
}

fn works(bridge: &mut Bridge) {
    let response = bridge.request("tools/call", rpc::echo_params("still here"));
    assert_eq!(said(&response), "still here");
}

/// A server that answers calls with the case of that name, or usually.
fn case_server(legacy: Legacy) -> LegacyRemote {
    let answer = |call: &Call| {
        let name = argument(call);
        let case = CASES.iter().find(|case| case.name == name);
        case.map_or_else(Reply::usual, |case| (case.reply)(call))
    };
    legacy.on("tools/call", answer).start()
}

#[test]
fn every_broken_answer_is_told_once_and_no_call_is_sent_twice() {
    let remote = case_server(Legacy::free());
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    for case in &CASES {
        bridge.send(&rpc::echo(case.name, case.name));
    }
    for case in &CASES {
        let response = bridge.response(case.name);
        let error = &response["error"];
        assert_eq!(error["code"], -31000, "{}: {response}", case.name);
        let mut data = json!({
            "source": "mcp-bridge", "kind": case.kind, "executed": case.executed,
        });
        if let Some(status) = case.status {
            data["status"] = status.into();
        }
        assert_eq!(error["data"], data, "{}: {error}", case.name);
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with("mcp-bridge: "), "{message}");
        for words in case.words {
            assert!(message.contains(words), "{}: {message}", case.name);
        }
    }
    works(&mut bridge);
    let calls = remote.calls_of("tools/call");
    for case in &CASES {
        let sent = calls.iter().filter(|call| argument(call) == case.name);
        assert_eq!(sent.count(), 1, "{}", case.name);
    }
    let ended = bridge.finish();
    assert!(ended.messages.is_empty(), "{:?}", ended.messages);
}

#[test]
fn a_broken_stream_with_event_ids_is_continued() {
    let remote = Legacy::sessions()
        .on("tools/call", |_| {
            Reply::stream(|stream| {
                stream.priming_event("e1");
                stream.send("retry: 1\n\n");
                stream.event_id("e2", &log("first"));
                stream.send("id: e3\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,\"res");
                stream.cut();
            })
        })
        .on("GET", |call| match call.header("last-event-id") {
            Some(id) => {
                assert_eq!(id, "e2", "an event that was cut off does not count");
                Reply::sse(&[log("second"), text_result(7, "whole")])
            }
            None => Reply::usual(),
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&rpc::echo(7, "x"));
    assert_eq!(bridge.recv(), log("first"));
    assert_eq!(bridge.recv(), log("second"));
    assert_eq!(said(&bridge.response(7)), "whole");
    assert_eq!(remote.calls_of("tools/call").len(), 1);
}

#[test]
fn a_stream_that_cannot_be_continued_leaves_the_outcome_open() {
    for status in [400, 404, 405] {
        let remote = Legacy::sessions()
            .on("tools/call", |_| {
                Reply::sse_text("id: e1\nretry: 1\ndata:\n\n")
            })
            .on("GET", move |_| Reply::text(status, "no"))
            .start();
        let mut bridge = Bridge::spawn(&remote.url());
        bridge.handshake();
        let response = bridge.request("tools/call", rpc::echo_params("x"));
        let data = &response["error"]["data"];
        assert_eq!(data["kind"], "stream-ended", "{status}: {response}");
        assert_eq!(data["executed"], "unknown");
        assert_eq!(remote.calls_of("tools/call").len(), 1);
        bridge.request("tools/list", json!({}));
    }
}

#[test]
fn fruitless_continuations_come_to_an_end() {
    let remote = Legacy::sessions()
        .on("tools/call", |_| {
            Reply::sse_text("id: e1\nretry: 1\ndata:\n\n")
        })
        .on("GET", |call| match call.header("last-event-id") {
            Some(_) => Reply::sse_text("retry: 1\n\n"),
            None => Reply::status(405),
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("x"));
    let data = &response["error"]["data"];
    assert_eq!(data["kind"], "stream-ended", "{response}");
    assert_eq!(data["executed"], "unknown");
    let resumed = remote.calls_of("GET");
    let resumed = resumed
        .iter()
        .filter(|it| it.header("last-event-id").is_some());
    assert_eq!(resumed.count(), 5);
}

#[test]
fn an_error_of_the_server_passes_whole_whatever_the_status() {
    let statuses = [400, 401, 403, 404, 409, 422, 429, 500, 501, 502, 503, 504];
    let error = r#"{"code":-32050,"message":"n\u006f","data":{"big":12345678901234567890}}"#;
    let remote = Legacy::free()
        .lenient()
        .on("tools/call", move |call| {
            let id = call.id();
            let body = format!(r#"{{"jsonrpc":"2.0", "id":{id}, "error":{error}}}"#);
            let status = argument(call).parse().unwrap();
            Reply::json_text(body)
                .with_status(status)
                .header("retry-after", "0")
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    for status in statuses {
        bridge.send(&rpc::echo(status, &status.to_string()));
    }
    for status in statuses {
        let line = String::from_utf8(bridge.response_raw(status)).unwrap();
        if status == 401 {
            // Credentials are the bridge's business.
            assert!(line.contains("no_registration_method"), "{line}");
        } else {
            assert!(
                line.contains(&format!(r#""error":{error}"#)),
                "{status}: {line}"
            );
        }
    }
    let calls = remote.calls_of("tools/call");
    for status in statuses {
        let sent = calls
            .iter()
            .filter(|call| argument(call) == status.to_string());
        let busy = matches!(status, 429 | 503);
        assert_eq!(sent.count(), if busy { 4 } else { 1 }, "{status}");
    }
}

#[test]
fn an_error_without_an_envelope_passes_too() {
    let remote = Legacy::free()
        .on("tools/call", |_| {
            Reply::json(&json!({"error": {"code": -32602, "message": "no"}})).with_status(400)
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("x"));
    assert_eq!(response["error"], json!({"code": -32602, "message": "no"}));
}

#[test]
fn g09_excerpts_reach_no_terminal_as_escapes() {
    let evil = "\x1b]0;owned\x07\x1b[2J\u{9b}31m \u{202e}txt\u{2028}\r\nmcp-bridge: fine\x08\0";
    let remote = Legacy::free()
        .on("tools/call", move |call| match argument(call).as_str() {
            "page" => Reply::html(500, format!("<title>{evil}</title>")),
            _ => Reply::text(500, format!("{evil}{}", "x".repeat(5000))),
        })
        .start();
    let mut bridge = Bridge::to(&remote.url())
        .args(["--header", "Authorization: Bearer canary-7f3a"])
        .start();
    bridge.handshake();
    for what in ["page", "text"] {
        let response = bridge.request("tools/call", rpc::echo_params(what));
        let message = response["error"]["message"].as_str().unwrap();
        assert!(message.contains("owned"), "{message}");
        assert!(message.chars().count() < 600, "{message}");
        let hidden = |char: char| char.is_control() || "\u{202e}\u{2028}".contains(char);
        assert!(!message.contains(hidden), "{message:?}");
        assert!(!message.contains("canary-7f3a"));
    }
    let words = bridge.finish().stderr;
    assert!(words.contains("owned"));
    let hidden = |char: char| (char.is_control() && char != '\n') || char == '\u{202e}';
    assert!(!words.contains(hidden), "{words:?}");
    assert!(!words.contains("canary-7f3a"), "{words}");
    assert!(
        !words
            .lines()
            .any(|line| line.starts_with("mcp-bridge: fine"))
    );
}

// Odd content.

#[test]
fn g20_answers_are_read_by_their_content() {
    let remote = Legacy::free()
        .on("tools/call", |call| {
            let message = call.result_message(&call.echo());
            let plain = Reply::text(200, message.to_string());
            match argument(call).as_str() {
                "typed as text" => plain,
                "untyped" => Reply::status(200).body(message.to_string()),
                "spaces around" => Reply::json_text(format!(" \r\n{message:#}\n\n")),
                "accepted with a body" => Reply::json(&message).with_status(202),
                "an odd stream type" => {
                    let stream = Reply::sse(&[message]);
                    stream.header("content-type", "Text/Event-Stream; charset=UTF-8")
                }
                _ => Reply::sse_text(format!("data: {message}")), // no empty line at the end
            }
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let names = [
        "typed as text",
        "untyped",
        "spaces around",
        "accepted with a body",
        "an odd stream type",
        "an unfinished event",
    ];
    for name in names {
        let response = bridge.request("tools/call", rpc::echo_params(name));
        assert_eq!(said(&response), name);
    }
    assert_eq!(remote.calls_of("tools/call").len(), names.len());
}

#[test]
fn g10_g11_no_trick_puts_a_second_message_on_stdout() {
    let tricks: [fn(&Value) -> String; 6] = [
        |message| format!("{message}\n{message}"),
        |message| format!("{message}\u{0}"),
        |message| message.to_string().replace("\"id\":", "\"id\":1,\"id\":"),
        |message| {
            message
                .to_string()
                .replace("\"result\":", "\"error\":{},\"result\":")
        },
        |message| message.to_string().replace("2.0", "2.0\n"),
        |message| format!("{message}]"),
    ];
    for as_stream in [false, true] {
        let remote = Legacy::free()
            .on("tools/call", move |call| {
                let message = call.result_message(&call.echo());
                let Ok(number) = argument(call).parse::<usize>() else {
                    return Reply::usual();
                };
                let text = tricks[number](&message);
                if as_stream {
                    let lines = text.replace('\n', "\ndata: ");
                    Reply::sse_text(format!("data: {lines}\n\n"))
                } else {
                    Reply::json_text(text)
                }
            })
            .start();
        let mut bridge = Bridge::spawn(&remote.url());
        bridge.handshake();
        for number in 0..tricks.len() {
            let params = rpc::echo_params(&number.to_string());
            let response = bridge.request("tools/call", params);
            let data = &response["error"]["data"];
            assert_eq!(data["source"], "mcp-bridge", "{number}: {response}");
            assert_eq!(data["executed"], "unknown", "{number}: {response}");
        }
        works(&mut bridge);
        let ended = bridge.finish();
        assert!(ended.messages.is_empty(), "{:?}", ended.messages);
    }
}

#[test]
fn g11_bytes_that_are_not_text_fail_their_call_alone() {
    let remote = Legacy::free()
        .on("tools/call", |call| {
            let mut text = call.result_message(&call.echo()).to_string().into_bytes();
            match argument(call).as_str() {
                "body" | "stream" => {
                    let at = text.len() - 6;
                    text.splice(at..at, [0xff, 0xfe]);
                }
                _ => return Reply::usual(),
            }
            if argument(call) == "body" {
                return Reply::json_text(text);
            }
            Reply::sse_text([b"data: ", text.as_slice(), b"\n\n"].concat())
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    for name in ["body", "stream"] {
        let response = bridge.request("tools/call", rpc::echo_params(name));
        let data = &response["error"]["data"];
        assert_eq!(data["executed"], "unknown", "{name}: {response}");
    }
    works(&mut bridge);
}

#[test]
fn g11_results_keep_every_byte() {
    let result = r#"{"n":[1.0e2,12345678901234567890123,-0.0,1E+2],"s":"\u2028\ud800\/","a":1,"a":2,"z":{"b":1,"a":2}}"#;
    let remote = Legacy::free()
        .on("tools/call", move |call| {
            let id = call.id();
            let message =
                format!(r#"{{"result":{result}, "x-new":[ 1 ],"id":{id},"jsonrpc":"2.0"}}"#);
            match argument(call).as_str() {
                "body" => Reply::json_text(message),
                _ => Reply::sse_text(format!("data:{message}\n\n")),
            }
        })
        .start();
    let bridge = {
        let mut bridge = Bridge::spawn(&remote.url());
        bridge.handshake();
        bridge
    };
    for name in ["body", "stream"] {
        bridge.send(&rpc::echo(name, name));
        let line = String::from_utf8(bridge.recv_raw()).unwrap();
        let expected =
            format!(r#"{{"result":{result}, "x-new":[ 1 ],"id":"{name}","jsonrpc":"2.0"}}"#);
        assert_eq!(line, expected);
    }
}

// Busy servers.

#[test]
fn a_server_that_stays_busy_is_not_asked_for_ever() {
    let remote = Legacy::free()
        .on("tools/call", |call| {
            let status = argument(call).parse().unwrap();
            Reply::text(status, "busy").header("retry-after", "0")
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    for status in [429, 503] {
        let response = bridge.request("tools/call", rpc::echo_params(&status.to_string()));
        let data = json!({
            "source": "mcp-bridge", "kind": "http-status", "executed": "no", "status": status,
        });
        assert_eq!(response["error"]["data"], data, "{response}");
    }
    assert_eq!(remote.calls_of("tools/call").len(), 8);
}

#[test]
fn a_wait_that_is_too_long_is_left_to_the_client() {
    let remote = Legacy::free()
        .on("tools/call", |call| {
            let status = argument(call).parse().unwrap();
            Reply::text(status, "maintenance").header("retry-after", "3600")
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    for status in [429, 503] {
        let response = bridge.request("tools/call", rpc::echo_params(&status.to_string()));
        assert_eq!(response["error"]["data"]["executed"], "no", "{response}");
        let message = response["error"]["message"].as_str().unwrap();
        assert!(message.contains("Retry-After: 3600"), "{message}");
    }
    assert_eq!(remote.calls_of("tools/call").len(), 2);
}

#[test]
fn a_wait_until_a_date_is_kept() {
    let remote = Legacy::free()
        .on("tools/call", |call| match call.nth {
            1 => Reply::text(503, "moment")
                .header("date", "Fri, 20 Nov 2026 10:00:00 GMT")
                .header("retry-after", "Fri, 20 Nov 2026 10:00:01 GMT"),
            _ => Reply::usual(),
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    works(&mut bridge);
    let calls = remote.calls_of("tools/call");
    assert!(calls[1].at - calls[0].at >= Duration::from_secs(1));
}

// Doubled, foreign and late answers.

/// A server whose calls wait for the test to write their streams.
fn streaming() -> (LegacyRemote, Mailbox<StreamHandle>) {
    let opened = Mailbox::new();
    let mailbox = opened.clone();
    let remote = Legacy::sessions()
        .on("tools/call", move |_| {
            Reply::stream(|stream| mailbox.put(stream))
        })
        .start();
    (remote, opened)
}

#[test]
fn g12_only_the_first_of_several_responses_counts() {
    let (remote, opened) = streaming();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&rpc::echo("a", "x"));
    let a = opened.take();
    bridge.send(&rpc::echo("b", "x"));
    let b = opened.take();
    a.event(&text_result("a", "first"));
    let error = json!({"jsonrpc": "2.0", "id": "a", "error": {"code": 1, "message": "no"}});
    a.event(&error);
    assert_eq!(said(&bridge.response("a")), "first");
    // On the stream of another call, and on the server's own.
    b.event(&text_result("a", "second"));
    remote.say(&text_result("a", "third"));
    b.event(&text_result("b", "hers"));
    assert_eq!(said(&bridge.response("b")), "hers");
    a.close();
    b.close();
    let note = rpc::notification("notifications/tools/list_changed", Value::Null);
    remote.say(&note);
    assert_eq!(bridge.recv(), note);
    let ended = bridge.finish();
    assert!(ended.messages.is_empty(), "{:?}", ended.messages);
}

#[test]
fn g13_responses_that_nobody_asked_for_are_dropped_and_said_once() {
    let (remote, opened) = streaming();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&rpc::echo(7, "x"));
    let stream = opened.take();
    for id in [json!(99), json!("init"), json!("8"), Value::Null] {
        // The null id could only belong to the call whose stream it comes on.
        remote.say(&text_result(id.clone(), "unasked"));
        if !id.is_null() {
            stream.event(&text_result(id, "unasked"));
        }
    }
    stream.event(&text_result(7, "asked"));
    assert_eq!(said(&bridge.response(7)), "asked");
    let note = rpc::notification("notifications/tools/list_changed", Value::Null);
    remote.say(&note);
    assert_eq!(bridge.recv(), note);
    let ended = bridge.finish();
    assert!(ended.messages.is_empty(), "{:?}", ended.messages);
    let times = ended.stderr.matches("response to no open request").count();
    assert_eq!(times, 1, "{}", ended.stderr);
}

#[test]
fn an_array_may_answer_other_calls_too() {
    let gate = Gate::new();
    let held = gate.clone();
    let remote = Legacy::free()
        .on("tools/call", move |call| match argument(call).as_str() {
            "slow" => Reply::usual().after(&held),
            "both" => {
                let both = call.result_message(&call.echo());
                Reply::json(&json!([both, text_result("slow", "early"), both]))
            }
            _ => Reply::usual(),
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&rpc::echo("slow", "slow"));
    remote.wait_call("tools/call");
    bridge.send(&rpc::echo("both", "both"));
    assert_eq!(said(&bridge.response("both")), "both");
    assert_eq!(said(&bridge.response("slow")), "early");
    gate.open();
    works(&mut bridge);
    let ended = bridge.finish();
    assert!(ended.messages.is_empty(), "{:?}", ended.messages);
}

#[test]
fn an_answer_that_comes_soon_on_the_servers_stream_still_counts() {
    let remote = Legacy::sessions()
        .on("tools/call", |_| Reply::text(504, "gateway timeout"))
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let own = remote.wait_stream();
    let note = rpc::notification("notifications/tools/list_changed", Value::Null);
    own.event(&note);
    assert_eq!(bridge.recv(), note); // the bridge knows that the stream is open
    bridge.send(&rpc::echo(7, "x"));
    remote.wait_call("tools/call");
    own.event(&text_result(7, "in time"));
    assert_eq!(said(&bridge.response(7)), "in time");
}

#[test]
fn an_answer_that_comes_after_the_error_is_dropped() {
    let remote = Legacy::sessions()
        .on("tools/call", |_| Reply::text(500, "boom"))
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&rpc::echo(7, "x"));
    assert_eq!(bridge.response(7)["error"]["code"], -31000);
    remote.say(&text_result(7, "too late"));
    let note = rpc::notification("notifications/tools/list_changed", Value::Null);
    remote.say(&note);
    assert_eq!(bridge.recv(), note);
}

#[test]
fn questions_left_behind_by_finished_calls_do_not_fill_the_table() {
    let (remote, opened) = streaming();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    // More than may be open at once; the client answers none.
    for turn in 0..300 {
        bridge.send(&rpc::echo(turn, "x"));
        let stream = opened.take();
        stream.event(&rpc::request(0, "roots/list", Value::Null));
        stream.event(&text_result(turn, "done"));
        stream.close();
        assert_eq!(said(&bridge.response(turn)), "done");
    }
    remote.say(&rpc::request("last", "sampling/createMessage", json!({})));
    let question = bridge.recv_method("sampling/createMessage");
    bridge.send(&rpc::response(question["id"].clone(), json!({})));
    assert_eq!(remote.wait_call("response").id(), "last");
}

// Many at once.

#[test]
fn a_fast_call_never_waits_behind_slow_ones() {
    let gate = Gate::new();
    let held = gate.clone();
    let remote = Legacy::sessions()
        .on("tools/call", move |call| {
            let text = argument(call);
            let result = call.result_message(&call.echo());
            match text.split_once(' ') {
                Some(("json", _)) => Reply::usual().after(&held),
                Some(("sse", _)) => {
                    // The head comes at once, the event later.
                    Reply::stream(|stream| {
                        let (stream, held) = (stream.clone(), held.clone());
                        tokio::spawn(async move {
                            held.opened().await;
                            stream.event(&result);
                            stream.close();
                        });
                    })
                }
                _ => Reply::usual(),
            }
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let slow: Vec<String> = (0..64)
        .map(|number| format!("{} {number}", ["json", "sse"][number % 2]))
        .collect();
    for name in &slow {
        bridge.send(&rpc::echo(name.as_str(), name));
    }
    remote.wait_for(|calls| calls.iter().filter(|it| it.key() == "tools/call").count() == 64);
    works(&mut bridge);
    assert_eq!(bridge.waiting(), Vec::<Value>::new());
    gate.open();
    for name in &slow {
        assert_eq!(said(&bridge.response(name.as_str())), name);
    }
}

#[test]
fn more_calls_than_may_be_open_at_once_are_all_answered() {
    const OPEN: usize = 200;
    const ALL: usize = 450;
    let gate = Gate::new();
    let held = gate.clone();
    let remote = Legacy::sessions()
        .on("tools/call", move |_| Reply::usual().after(&held))
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    for number in 0..ALL {
        bridge.send(&rpc::echo(number, &number.to_string()));
    }
    let open = |calls: &[Call]| calls.iter().filter(|it| it.key() == "tools/call").count();
    let calls = remote.wait_for(|calls| open(calls) == OPEN);
    assert_eq!(open(&calls), OPEN);
    gate.open();
    for number in 0..ALL {
        assert_eq!(said(&bridge.response(number)), number.to_string());
    }
    assert_eq!(open(&remote.calls()), ALL);
}

// Servers that come and go.

#[test]
fn a_server_that_is_away_at_the_start_is_waited_for() {
    let remote = Legacy::sessions().start();
    remote.stop();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.send(&rpc::initialize("init", rpc::VERSION));
    let words = bridge.wait_stderr("trying again in 1 s");
    assert!(words.contains("127.0.0.1"), "{words}");
    remote.restart();
    assert!(bridge.response("init")["result"].is_object());
    bridge.send(&rpc::initialized());
    works(&mut bridge);
    assert_eq!(remote.sessions_opened(), 1);
}

#[test]
fn a_server_that_goes_away_and_comes_back_is_found_again() {
    let remote = Legacy::sessions().start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    works(&mut bridge);
    remote.stop();
    // A request that may be repeated: whether it finds the broken connection or none is chance.
    bridge.send(&rpc::request("away", "tools/list", json!({})));
    bridge.send_raw("not json\n");
    bridge.response(Value::Null);
    remote.restart_on_same_port();
    assert!(bridge.response("away")["result"]["tools"].is_array());
    works(&mut bridge);
    assert_eq!(remote.sessions_opened(), 2);
    assert_eq!(remote.calls_of("tools/call").len(), 2);
}

fn text_result(id: impl Into<Value>, text: &str) -> Value {
    rpc::response(id, json!({"content": [{"type": "text", "text": text}]}))
}

fn log(text: &str) -> Value {
    rpc::notification(
        "notifications/message",
        json!({"level": "info", "data": text}),
    )
}
