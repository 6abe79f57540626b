//! Hostile servers: endless, oversized, compressed, slow and countless things. The call gets its
//! error, the process lives on and its memory stays small.
//!
//! In: what a server can do to the bridge. Out: what a client can do to it (`stdio`).

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::{Bridge, Call, Legacy, LegacyRemote, Mailbox, Reply, rpc};

/// Peak memory allowed to a process whose messages are limited to 1 MiB, in KiB. A debug build
/// takes about a third of it before anything happens.
const PEAK: usize = 48 << 10;

/// A call must fail with this kind, and these words in its message.
struct Case {
    name: &'static str,
    reply: fn(&Call) -> Reply,
    kind: &'static str,
    words: &'static str,
}

const EVENT: &str = "an event above the limit of 1 MiB (--max-message-size";
const BODY: &str = "an answer above the limit of 1 MiB (--max-message-size";
const HEAD: &str = "more than 64 KiB or 100 fields of headers";
const ENCODING: &str = "which was not offered";

const CASES: [Case; 14] = [
    Case {
        name: "an endless line",
        reply: |_| stream_of("data: \"", &"x".repeat(64 << 10)),
        kind: "limit_exceeded",
        words: EVENT,
    },
    Case {
        name: "an endless event",
        reply: |_| stream_of("", &format!("data: {}\n", "x".repeat(1000)).repeat(64)),
        kind: "limit_exceeded",
        words: EVENT,
    },
    Case {
        name: "an endless comment",
        reply: |_| stream_of(": ", &"x".repeat(64 << 10)),
        kind: "limit_exceeded",
        words: EVENT,
    },
    Case {
        name: "an endless name",
        reply: |_| stream_of("", &"x".repeat(64 << 10)),
        kind: "limit_exceeded",
        words: EVENT,
    },
    Case {
        name: "an endless body",
        reply: |_| {
            let piece = Bytes::from("[1],".repeat(16 << 10));
            Reply::endless(move || Some(piece.clone()))
        },
        kind: "limit_exceeded",
        words: BODY,
    },
    Case {
        name: "a bomb as JSON",
        reply: |_| Reply::gzip_bomb(),
        kind: "limit_exceeded",
        words: BODY,
    },
    Case {
        name: "a bomb as a stream",
        reply: |_| Reply::gzip_bomb().header("content-type", "text/event-stream"),
        kind: "limit_exceeded",
        words: EVENT,
    },
    Case {
        name: "a bomb as an error",
        reply: |_| Reply::gzip_bomb().with_status(500),
        kind: "http-status",
        words: "HTTP 500",
    },
    Case {
        name: "gzip in gzip",
        reply: |call| packed(call, "gzip, gzip"),
        kind: "not-mcp",
        words: ENCODING,
    },
    Case {
        name: "brotli",
        reply: |call| packed(call, "br"),
        kind: "not-mcp",
        words: ENCODING,
    },
    Case {
        name: "zstd",
        reply: |call| packed(call, "zstd"),
        kind: "not-mcp",
        words: ENCODING,
    },
    Case {
        name: "a long header",
        reply: |_| head_of(&format!("x-long: {}\r\n", "x".repeat(1 << 20))),
        kind: "limit_exceeded",
        words: HEAD,
    },
    Case {
        name: "many headers",
        reply: |_| head_of(&"x-many: x\r\n".repeat(10_000)),
        kind: "limit_exceeded",
        words: HEAD,
    },
    Case {
        name: "deep JSON",
        reply: |_| Reply::json_text("[".repeat(900_000)),
        kind: "not-mcp",
        words: "HTTP 200",
    },
];

/// A stream that begins so and goes on like this for ever.
fn stream_of(start: &str, more: &str) -> Reply {
    let mut start = (!start.is_empty()).then(|| Bytes::from(start.to_owned()));
    let more = Bytes::from(more.to_owned());
    Reply::endless(move || start.take().or_else(|| Some(more.clone())))
        .header("content-type", "text/event-stream")
}

fn head_of(fields: &str) -> Reply {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    Reply::raw(format!("{head}{fields}content-length: 2\r\n\r\n{{}}"))
}

fn packed(call: &Call, encoding: &str) -> Reply {
    let text = call.result_message(&call.echo()).to_string();
    Reply::gzip(text.as_bytes()).header("content-encoding", encoding)
}

fn argument(call: &Call) -> String {
    let text = call.params()["arguments"]["text"].as_str();
    text.unwrap_or_default().to_owned()
}

fn works(bridge: &mut Bridge) {
    let response = bridge.request("tools/call", rpc::echo_params("still here"));
    assert_eq!(
        response["result"]["content"][0]["text"], "still here",
        "{response}"
    );
}

/// The process has never held more than [`PEAK`] in memory.
fn stayed_small(bridge: &Bridge) {
    stayed_below(bridge, PEAK);
}

/// The process has never held more than this in memory, in KiB. Linux tells; elsewhere the other
/// assertions have to do.
pub(crate) fn stayed_below(bridge: &Bridge, limit: usize) {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", bridge.id())) else {
        return;
    };
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|text| text.trim().strip_suffix(" kB"));
    let peak: usize = peak.expect("a peak").trim().parse().expect("a number");
    assert!(peak < limit, "{peak} KiB");
}

fn small(remote: &LegacyRemote) -> Bridge {
    Bridge::to(&remote.url())
        .args(["--max-message-size", "1"])
        .start()
}

#[test]
fn g01_g02_g04_every_hostile_answer_fails_its_call_alone() {
    let remote = Legacy::free()
        .on("tools/call", |call| {
            let name = argument(call);
            let case = CASES.iter().find(|case| case.name == name);
            case.map_or_else(Reply::usual, |case| (case.reply)(call))
        })
        .start();
    let mut bridge = small(&remote);
    bridge.handshake();
    for case in &CASES {
        let response = bridge.request("tools/call", rpc::echo_params(case.name));
        let error = &response["error"];
        let name = case.name;
        assert_eq!(error["code"], -31000, "{name}: {response}");
        assert_eq!(error["data"]["kind"], case.kind, "{name}: {response}");
        assert_eq!(error["data"]["executed"], "unknown", "{name}: {response}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(case.words), "{name}: {message}");
        works(&mut bridge);
    }
    stayed_small(&bridge);
    for case in &CASES {
        let calls = remote.calls_of("tools/call");
        let sent = calls.iter().filter(|call| argument(call) == case.name);
        assert_eq!(sent.count(), 1, "{}", case.name);
    }
    bridge.finish();
}

#[test]
fn g01_interim_answers_without_end_are_cut_off_in_time() {
    let remote = Legacy::free()
        .on("tools/call", |call| match argument(call).as_str() {
            "hints" => Reply::raw_stream(|stream| {
                let hint = "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n";
                stream.send(hint.repeat(20_000));
            }),
            _ => Reply::usual(),
        })
        .start();
    let mut bridge = Bridge::to(&remote.url())
        .args(["--headers-timeout", "2"])
        .start();
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("hints"));
    assert!(response["error"].is_object(), "{response}");
    works(&mut bridge);
    stayed_small(&bridge);
}

#[test]
fn g05_slow_heads_and_bodies_end_in_time() {
    let remote = Legacy::free()
        .on("tools/call", |call| {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
            match argument(call).as_str() {
                "never" => Reply::never(),
                "slow head" => Reply::drip(head.repeat(20), Duration::from_millis(200)),
                "slow body" => Reply::raw_stream(|stream| {
                    stream.send(format!("{head}content-length: 100\r\n\r\n{{"));
                }),
                "silent stream" => Reply::stream(|stream| stream.send(": hello\n\n")),
                _ => Reply::usual(),
            }
        })
        .start();
    let mut bridge = Bridge::to(&remote.url())
        .args(["--headers-timeout", "2", "--body-timeout=2"])
        .start();
    bridge.handshake();
    let cases = [
        ("never", "--headers-timeout"),
        ("slow head", "--headers-timeout"),
        ("slow body", "--body-timeout"),
        ("silent stream", "--body-timeout"),
    ];
    for (name, _) in cases {
        bridge.send(&rpc::echo(name, name));
    }
    for (name, flag) in cases {
        let error = &bridge.response(name)["error"];
        assert_eq!(error["data"]["kind"], "timeout", "{name}: {error}");
        assert_eq!(error["data"]["executed"], "unknown", "{name}: {error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(flag), "{name}: {message}");
    }
    works(&mut bridge);
    bridge.finish();
    assert_eq!(remote.calls_of("tools/call").len(), cases.len() + 1);
}

#[test]
fn g03_a_flood_of_notifications_arrives_in_order() {
    const COUNT: usize = 30_000;
    let remote = Legacy::free()
        .on("tools/call", |call| {
            let result = call.result_message(&call.echo());
            Reply::stream(|stream| {
                for number in 0..COUNT {
                    let params = json!({"level": "info", "data": number});
                    stream.event(&rpc::notification("notifications/message", params));
                }
                stream.event(&result);
                stream.close();
            })
        })
        .start();
    let mut bridge = small(&remote);
    bridge.handshake();
    bridge.send(&rpc::echo(7, "x"));
    bridge.response(7);
    stayed_small(&bridge);
    let ended = bridge.finish();
    assert_eq!(ended.messages.len(), COUNT);
    for (number, message) in ended.messages.iter().enumerate() {
        assert_eq!(message["params"]["data"], number);
    }
}

#[test]
fn g03_large_messages_for_a_client_that_does_not_read_stay_with_the_server() {
    const COUNT: usize = 24;
    let opened = Mailbox::new();
    let mailbox = opened.clone();
    let remote = Legacy::free()
        .on("tools/call", move |call| {
            Reply::stream(|stream| mailbox.put((call.clone(), stream)))
        })
        .start();
    let mut bridge = Bridge::to(&remote.url())
        .args(["--max-message-size", "4"])
        .start();
    bridge.handshake();
    bridge.pause_stdout();
    bridge.send(&rpc::echo(7, "x"));
    let (call, stream) = opened.take();
    let data = "x".repeat(3 << 20);
    for number in 0..COUNT {
        let params = json!({"level": "info", "logger": number.to_string(), "data": data});
        stream.event(&rpc::notification("notifications/message", params));
    }
    stream.event(&call.result_message(&call.echo()));
    stream.close();
    // Until the bridge takes no more for a while.
    let mut left = usize::MAX;
    while stream.waiting() < left {
        left = stream.waiting();
        std::thread::sleep(Duration::from_millis(500));
    }
    stayed_small(&bridge);
    bridge.resume_stdout();
    bridge.response(7);
    stayed_small(&bridge);
    let ended = bridge.finish();
    assert_eq!(ended.messages.len(), COUNT);
    for (number, message) in ended.messages.iter().enumerate() {
        assert_eq!(message["params"]["logger"], number.to_string());
    }
}

#[test]
fn g15_a_flood_of_questions_is_bounded() {
    const ASKED: usize = 100_000;
    const OPEN: usize = 256;
    let opened = Mailbox::new();
    let mailbox = opened.clone();
    let remote = Legacy::free()
        .on("tools/call", move |call| match argument(call).as_str() {
            "ask" => Reply::stream(|stream| mailbox.put((call.clone(), stream))),
            _ => Reply::usual(),
        })
        .start();
    let mut bridge = small(&remote);
    bridge.handshake();
    bridge.send(&rpc::echo(7, "ask"));
    let (call, stream) = opened.take();
    for number in 0..ASKED {
        stream.event(&rpc::request(number, "roots/list", Value::Null));
    }
    let mut asked: Vec<Value> = (0..OPEN)
        .map(|_| bridge.recv_method("roots/list"))
        .collect();
    stream.event(&call.result_message(&call.echo()));
    bridge.response(7);
    works(&mut bridge);
    stayed_small(&bridge);
    let last = asked.pop().unwrap();
    bridge.send(&rpc::response(last["id"].clone(), json!({"roots": []})));
    assert_eq!(remote.wait_call("response").id(), OPEN - 1);
    let ended = bridge.finish();
    assert!(
        ended.messages.is_empty(),
        "{} messages",
        ended.messages.len()
    );
    assert!(ended.stderr.contains("more than 256 unanswered requests"));
}

#[test]
fn questions_with_huge_ids_are_not_kept() {
    let opened = Mailbox::new();
    let mailbox = opened.clone();
    let remote = Legacy::free()
        .on("tools/call", move |call| {
            Reply::stream(|stream| mailbox.put((call.clone(), stream)))
        })
        .start();
    let mut bridge = small(&remote);
    bridge.handshake();
    bridge.send(&rpc::echo(7, "ask"));
    let (call, stream) = opened.take();
    let huge = "x".repeat(1 << 19);
    for number in 0..60 {
        let id = format!("{huge}{number}");
        stream.event(&rpc::request(id, "roots/list", Value::Null));
        stream.wait_taken();
    }
    stream.event(&call.result_message(&call.echo()));
    bridge.response(7);
    stayed_small(&bridge);
    let ended = bridge.finish();
    assert!(
        ended.messages.is_empty(),
        "{} messages",
        ended.messages.len()
    );
}

#[test]
fn what_waits_for_the_client_to_be_initialized_is_bounded() {
    let opened = Mailbox::new();
    let mailbox = opened.clone();
    let remote = Legacy::free()
        .on("initialize", move |call| {
            Reply::stream(|stream| mailbox.put((call.clone(), stream)))
        })
        .start();
    let bridge = small(&remote);
    bridge.send(&rpc::initialize("init", rpc::VERSION));
    let (call, stream) = opened.take();
    let uri = "x".repeat(900 << 10);
    for _ in 0..60 {
        let note = rpc::notification("notifications/resources/updated", json!({"uri": uri}));
        stream.event(&note);
        stream.wait_taken();
    }
    let result = json!({
        "protocolVersion": rpc::VERSION,
        "capabilities": {},
        "serverInfo": {"name": "flood", "version": "1"},
    });
    stream.event(&call.result_message(&result));
    bridge.response("init");
    stayed_small(&bridge);
    bridge.wait_stderr("the server sends too much before the client is initialized");
}

#[test]
fn g17_odd_event_ids_and_waits_are_harmless() {
    let remote = Legacy::sessions()
        .on("tools/call", |_| {
            let numbers: Vec<String> = (0..50_000).map(|it| format!("id: {it}\n\n")).collect();
            let huge = "x".repeat(10 << 10);
            // Too long, with a NUL, not fit for a header: each is ignored.
            let odd = format!("id: {huge}\n\nid: a\0b\n\nid: \u{e4}\u{79c1}\n\n");
            let waits = "retry: 18446744073709551616\nretry: -1\nretry: soon\nretry: 0\n\n";
            let good = "id: good\ndata:\n\n";
            Reply::sse_text([&numbers.concat(), good, &odd, waits].concat())
        })
        .on("GET", |call| match call.header("last-event-id") {
            Some(id) => Reply::sse(&[rpc::response(7, json!({"id": id}))]),
            None => Reply::usual(),
        })
        .start();
    let mut bridge = small(&remote);
    bridge.handshake();
    bridge.send(&rpc::echo(7, "x"));
    assert_eq!(bridge.response(7)["result"]["id"], "good");
    let calls = remote.calls();
    let asked = calls.iter().find(|it| it.key() == "tools/call").unwrap();
    let resumed = |call: &&Call| call.header("last-event-id").is_some();
    let resumed = calls.iter().find(resumed).unwrap();
    assert!(resumed.at - asked.at >= Duration::from_millis(100));
    stayed_small(&bridge);
}

#[test]
fn g18_unfit_session_ids_are_not_used() {
    for (name, id) in [
        ("a space", "a b".to_owned()),
        ("10 KiB", "x".repeat(10 << 10)),
    ] {
        let remote = Legacy::free()
            .on("initialize", move |call| {
                let result = json!({
                    "protocolVersion": rpc::VERSION,
                    "capabilities": {},
                    "serverInfo": {"name": "odd", "version": "1"},
                });
                call.result(&result).header("mcp-session-id", &id)
            })
            .start();
        let mut bridge = small(&remote);
        bridge.handshake();
        works(&mut bridge);
        let words = bridge.finish().stderr;
        assert!(words.contains("Mcp-Session-Id"), "{name}: {words}");
        assert!(!words.contains("xxxx"), "{words}");
        let calls = remote.calls();
        assert!(calls.iter().all(|call| call.session().is_none()), "{name}");
    }
}
