//! What goes through the two pipes, byte for byte: framing, bad lines, ids, order, back-pressure.
//!
//! In: one line and what comes of it. Out: batches (`batches`), the end (`shutdown`), stderr
//! (`words`).

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::{
    Bridge, Call, Gate, Legacy, LegacyRemote, Mailbox, Remote, Reply, StreamHandle, rpc,
};

fn connect(remote: &Remote) -> Bridge {
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge
}

/// The line asked for, and nothing else on stdout until the end.
#[track_caller]
fn nothing_more(bridge: Bridge) {
    assert_eq!(bridge.finish().messages, Vec::<Value>::new());
}

/// Answers `tools/call` with a result of exactly this text.
fn answering(result: &'static str) -> LegacyRemote {
    Legacy::sessions()
        .on("tools/call", move |call| call.result_text(result))
        .start()
}

#[test]
fn t01_crlf_line_ends_are_dropped() {
    let remote = Legacy::sessions().start();
    let bridge = Bridge::spawn(&remote.url());
    bridge.send_raw(format!("{}\r\n", rpc::initialize(1, rpc::VERSION)));
    let line = bridge.recv_raw();
    assert!(!line.contains(&b'\r'));
    bridge.send_raw(format!("{}\r\n", rpc::initialized()));
    bridge.send_raw(format!("{}\r\n", rpc::echo(2, "x")));
    assert_eq!(bridge.response(2)["result"]["content"][0]["text"], "x");
    nothing_more(bridge);
    let bodies = remote.calls();
    assert!(bodies.iter().all(|call| !call.body.contains(&b'\r')));
}

#[test]
fn t02_a_bom_at_the_start_is_skipped() {
    let remote = Legacy::sessions().start();
    let bridge = Bridge::spawn(&remote.url());
    let line = format!("\u{feff}{}\n", rpc::initialize(1, rpc::VERSION));
    bridge.send_raw(line.clone());
    let answer = bridge.recv();
    assert_eq!(answer["result"]["protocolVersion"], rpc::VERSION);
    nothing_more(bridge);
    let body = &remote.wait_call("initialize").body;
    assert_eq!(body, line.trim_end().trim_start_matches('\u{feff}'));
}

#[test]
fn t03_blank_lines_are_ignored() {
    let remote = Legacy::sessions().start();
    let bridge = Bridge::spawn(&remote.url());
    bridge.send_raw("\n  \t \n\r\n");
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    bridge.send_raw("\n\n     \n");
    bridge.send(&rpc::initialized());
    bridge.send_raw(" \r\n");
    bridge.send(&rpc::echo(2, "x"));
    assert_eq!(bridge.recv()["id"], 1);
    assert_eq!(bridge.recv()["id"], 2);
    nothing_more(bridge);
    assert_eq!(remote.calls_of("").len(), 0);
}

#[test]
fn t04_a_pretty_printed_answer_becomes_one_line() {
    let tools = json!([{
        "name": "echo",
        "description": "two  spaces,\ttab, { \"braces\" } \\ and \u{2028}",
        "inputSchema": {"type": "object", "properties": {"a": {"enum": [1, 2, 3, [], {}]}}},
    }]);
    let listed = tools.clone();
    let remote = Legacy::sessions()
        .on("tools/list", move |call| {
            let message = call.result_message(&json!({"tools": listed}));
            let text = serde_json::to_string_pretty(&message).unwrap();
            assert!(text.lines().count() > 20);
            Reply::json_text(text.replace('\n', "\r\n"))
        })
        .start();
    let mut bridge = connect(&remote);
    assert_eq!(
        bridge.request("tools/list", Value::Null)["result"]["tools"],
        tools
    );
    nothing_more(bridge);
}

#[test]
fn t05_a_message_over_several_data_lines_becomes_one_line() {
    let remote = Legacy::sessions()
        .on("tools/list", |call| {
            let message = call.result_message(&json!({"tools": [{"name": "a  b"}]}));
            let pretty = serde_json::to_string_pretty(&message).unwrap();
            Reply::sse_text(format!("data: {}\n\n", pretty.replace('\n', "\ndata: ")))
        })
        .start();
    let mut bridge = connect(&remote);
    let answer = bridge.request("tools/list", Value::Null);
    assert_eq!(answer["result"], json!({"tools": [{"name": "a  b"}]}));
    nothing_more(bridge);
}

#[test]
fn t06_numbers_and_escapes_keep_their_spelling() {
    const RESULT: &str = r#"{"n":1.0e2,"big":12345678901234567890,"text":"\u2028\ud800 \/","z":-0,"a":{"n":1,"n":2}}"#;
    let remote = answering(RESULT);
    let bridge = connect(&remote);
    bridge.send(&rpc::echo(1, "x"));
    let line = bridge.recv_raw();
    let expected = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{RESULT}}}"#);
    assert_eq!(String::from_utf8(line).unwrap(), expected);
    nothing_more(bridge);
}

#[test]
fn t06_what_the_client_sends_keeps_its_spelling_too() {
    // The ready-made server cannot read a lone surrogate.
    let remote = Legacy::sessions()
        .lenient()
        .on("POST", |_| {
            Reply::json_text(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#)
        })
        .start();
    let bridge = connect(&remote);
    let line = r#"{ "method":"tools/call", "params" : {"arguments":{"text":"\ud800é","n":1.0E+2,"n":1}, "name":"echo"},"id":7 ,"jsonrpc":"2.0","x":[ ]}"#;
    bridge.send_raw(format!("{line}\n"));
    let answer = String::from_utf8(bridge.response_raw(7)).unwrap();
    assert!(answer.contains(r#""id":7"#), "{answer}");
    assert_eq!(remote.wait_call("POST").text(), line);
    nothing_more(bridge);
}

#[test]
fn t07_a_message_of_20_mib_comes_back_with_one_warning() {
    let remote = Legacy::sessions().start();
    let bridge = connect(&remote).patience(Duration::from_secs(120));
    for (id, mib) in [(1, 20), (2, 11)] {
        let text = "0123456789abcdef".repeat(mib << 16);
        bridge.send(&rpc::echo(id, &text));
        let answer = bridge.response(id);
        assert!(answer["result"]["content"][0]["text"] == text.as_str());
    }
    let ended = bridge.finish();
    let warnings = ended.stderr.matches("refuse lines above 10 MiB").count();
    assert_eq!(warnings, 1, "{}", ended.stderr);
}

#[test]
fn t08_a_line_over_the_limit_is_refused_by_its_id() {
    let remote = Legacy::sessions().start();
    let mut bridge = Bridge::to(&remote.url())
        .args(["--max-message-size", "1"])
        .start();
    bridge.handshake();
    let filler = "x".repeat(3 << 20);
    bridge.send(&rpc::echo(9, &filler));
    let refusal = bridge.response(9);
    assert_eq!(refusal["error"]["code"], -32600);
    let text = refusal["error"]["message"].as_str().unwrap();
    assert!(text.contains("--max-message-size"), "{text}");
    // Without an id in sight there is nobody to answer.
    bridge.send_raw(format!("{{\"filler\":\"{filler}\",\"id\":10}}\n"));
    let answer = bridge.request("tools/call", rpc::echo_params("next"));
    assert_eq!(answer["result"]["content"][0]["text"], "next");
    nothing_more(bridge);
    assert_eq!(remote.calls_of("tools/call").len(), 1);
}

#[test]
fn t08_a_line_without_end_costs_bounded_memory() {
    let remote = Legacy::sessions().start();
    let bridge = Bridge::to(&remote.url())
        .args(["--max-message-size", "1"])
        .start();
    let filler = "x".repeat(32 << 20);
    bridge.send_raw(format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{filler}\n"
    ));
    assert_eq!(bridge.response(1)["error"]["code"], -32600);
    #[cfg(target_os = "linux")]
    {
        let peak = peak_memory_mib(bridge.id());
        assert!(peak < 28, "the line took {peak} MiB");
    }
    bridge.send(&rpc::initialize(2, rpc::VERSION));
    assert!(bridge.response(2).get("result").is_some());
    nothing_more(bridge);
}

#[test]
fn t09_a_line_that_is_not_json_is_answered_and_survived() {
    let remote = Legacy::sessions().start();
    let mut bridge = connect(&remote);
    for line in ["{not json", "hello", "\u{7}\u{1b}[2J", "{\"id\":1}}", "[1,"] {
        bridge.send_raw(format!("{line}\n"));
        let refusal = bridge.recv();
        assert_eq!(refusal["error"]["code"], -32700, "{line}");
    }
    // The same with an id in sight: it is used.
    bridge.send_raw("{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":tools}\n");
    assert_eq!(bridge.response("a")["error"]["code"], -32700);
    let answer = bridge.request("tools/call", rpc::echo_params("next"));
    assert_eq!(answer["result"]["content"][0]["text"], "next");
    let ended = bridge.finish();
    assert!(
        ended.stderr.contains("this line is not JSON"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains('\u{1b}'));
    assert_eq!(remote.calls_of("").len(), 0);
}

#[test]
fn t10_invalid_utf8_is_refused_by_its_id() {
    let remote = Legacy::sessions().start();
    let mut bridge = connect(&remote);
    let mut line = rpc::echo(4, "<>").to_string().into_bytes();
    let place = line.windows(2).position(|pair| pair == b"<>").unwrap();
    line[place] = 0xff;
    line[place + 1] = 0xfe;
    line.push(b'\n');
    bridge.send_raw(line);
    assert_eq!(bridge.response(4)["error"]["code"], -32700);
    let answer = bridge.request("tools/call", rpc::echo_params("next"));
    assert_eq!(answer["result"]["content"][0]["text"], "next");
    nothing_more(bridge);
    assert_eq!(remote.calls_of("tools/call").len(), 1);
    assert_eq!(remote.calls_of("").len(), 0);
}

#[test]
fn t11_json_that_is_no_message_is_refused() {
    let remote = Legacy::sessions().start();
    let mut bridge = connect(&remote);
    for (line, id) in [
        (r#"{"jsonrpc":"2.0","id":5}"#, json!(5)),
        (r#"{"id":6,"method":"ping"}"#, json!(6)),
        (r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#, json!(7)),
        (r#"{"jsonrpc":"2.0","id":"b","method":8}"#, json!("b")),
    ] {
        bridge.send_raw(format!("{line}\n"));
        let refusal = bridge.recv();
        assert_eq!(refusal["id"], id, "{line}");
        assert_eq!(refusal["error"]["code"], -32600, "{line}");
    }
    // Nobody to answer: no id, or none that an answer may carry.
    for line in [
        r#"{"jsonrpc":"2.0"}"#,
        r#""text""#,
        "12",
        r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#,
    ] {
        bridge.send_raw(format!("{line}\n"));
    }
    let answer = bridge.request("tools/call", rpc::echo_params("next"));
    assert_eq!(answer["result"]["content"][0]["text"], "next");
    nothing_more(bridge);
    assert_eq!(remote.calls_of("ping").len(), 0);
}

#[test]
fn t11_nesting_beyond_512_is_refused() {
    let remote = Legacy::sessions().start();
    let bridge = connect(&remote);
    let nested = |id: u32, depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\
             \"params\":{{\"name\":\"echo\",\"arguments\":{{\"text\":\"x\",\"a\":{open}{close}}}}}}}\n"
        )
    };
    bridge.send_raw(nested(1, 600));
    assert_eq!(bridge.response(1)["error"]["code"], -32600);
    bridge.send_raw(nested(2, 100_000));
    assert_eq!(bridge.response(2)["error"]["code"], -32600);
    bridge.send_raw(nested(3, 100));
    assert!(bridge.response(3).get("result").is_some());
    nothing_more(bridge);
    assert_eq!(remote.calls_of("tools/call").len(), 1);
}

#[test]
fn t12_a_fraction_is_no_id() {
    let remote = Legacy::sessions().start();
    let bridge = connect(&remote);
    bridge.send_raw("{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"tools/list\"}\n");
    let refusal = bridge.recv();
    assert_eq!(refusal["id"], 1.5);
    assert_eq!(refusal["error"]["code"], -32600);
    nothing_more(bridge);
    assert_eq!(remote.calls_of("tools/list").len(), 0);
}

#[test]
fn t13_an_id_in_use_is_refused_to_the_second() {
    let gate = Gate::new();
    let behind = gate.clone();
    let remote = Legacy::sessions()
        .on("tools/call", move |_| Reply::usual().after(&behind))
        .start();
    let bridge = connect(&remote);
    bridge.send(&rpc::echo(7, "first"));
    bridge.send(&rpc::echo(7, "second"));
    let refusal = bridge.recv();
    assert_eq!(
        (&refusal["id"], &refusal["error"]["code"]),
        (&json!(7), &json!(-32600))
    );
    gate.open();
    assert_eq!(bridge.response(7)["result"]["content"][0]["text"], "first");
    // Once answered, the id is free again.
    bridge.send(&rpc::echo(7, "third"));
    assert_eq!(bridge.response(7)["result"]["content"][0]["text"], "third");
    nothing_more(bridge);
    assert_eq!(remote.calls_of("tools/call").len(), 2);
}

#[test]
fn t14_a_number_and_a_string_are_two_ids() {
    let gate = Gate::new();
    let behind = gate.clone();
    let remote = Legacy::sessions()
        .on("tools/call", move |call| {
            if call.id().is_number() {
                Reply::usual().after(&behind)
            } else {
                Reply::usual()
            }
        })
        .start();
    let bridge = connect(&remote);
    bridge.send(&rpc::echo(1, "number"));
    remote.wait_call("tools/call");
    bridge.send(&rpc::echo("1", "string"));
    let first = bridge.recv();
    assert_eq!(first["id"], "1");
    assert_eq!(first["result"]["content"][0]["text"], "string");
    gate.open();
    let second = bridge.recv();
    assert_eq!(second["id"], 1);
    assert_eq!(second["result"]["content"][0]["text"], "number");
    nothing_more(bridge);
}

#[test]
fn t14_an_id_comes_back_as_it_was_spelled() {
    let remote = Legacy::sessions().start();
    let bridge = connect(&remote);
    for id in [
        "0",
        "-1",
        "1.0",
        "1e3",
        "12345678901234567890123",
        r#""""#,
        r#""\u0041\/é""#,
    ] {
        let line = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\
             \"params\":{{\"name\":\"echo\",\"arguments\":{{\"text\":\"x\"}}}}}}\n"
        );
        bridge.send_raw(line);
        let answer = String::from_utf8(bridge.recv_raw()).unwrap();
        assert!(answer.contains(&format!(r#""id":{id},"#)), "{id}: {answer}");
        assert!(answer.contains("result"), "{id}: {answer}");
    }
    nothing_more(bridge);
}

/// Streams the answers to `tools/call`; each call comes with the stream of its answer.
fn scripted_calls() -> (LegacyRemote, Mailbox<(Call, StreamHandle)>) {
    let mailbox = Mailbox::new();
    let sender = mailbox.clone();
    let remote = Legacy::sessions()
        .on("tools/call", move |call| {
            Reply::stream(|stream| sender.put((call.clone(), stream)))
        })
        .start();
    (remote, mailbox)
}

#[test]
fn t15_a_response_on_another_requests_stream_is_delivered() {
    let (remote, mailbox) = scripted_calls();
    let bridge = connect(&remote);
    bridge.send(&rpc::echo("a", "1"));
    let (a, stream_a) = mailbox.take();
    bridge.send(&rpc::echo("b", "2"));
    let (b, stream_b) = mailbox.take();
    stream_b.event(&a.result_message(&a.echo()));
    let answer = bridge.recv();
    assert_eq!(answer, a.result_message(&a.echo()));
    assert!(!stream_b.is_closed());
    stream_b.event(&b.result_message(&b.echo()));
    assert_eq!(bridge.recv(), b.result_message(&b.echo()));
    // The copy on its own stream is one too many.
    stream_a.event(&a.result_message(&a.echo()));
    stream_a.close();
    stream_a.wait_closed();
    bridge.send(&rpc::echo("c", "3"));
    let (c, stream_c) = mailbox.take();
    stream_c.event(&c.result_message(&c.echo()));
    stream_c.close();
    assert_eq!(bridge.recv()["id"], "c");
    nothing_more(bridge);
}

#[test]
fn t16_an_id_spelled_otherwise_is_put_right() {
    let remote = Legacy::sessions()
        .on("tools/call", |call| {
            let id = call.id().to_string();
            Reply::json(&json!({"jsonrpc": "2.0", "id": id, "result": {"content": []}}))
        })
        .start();
    let bridge = connect(&remote);
    bridge.send(&rpc::echo(3, "x"));
    let answer = bridge.recv();
    assert_eq!(
        answer,
        json!({"jsonrpc": "2.0", "id": 3, "result": {"content": []}})
    );
    nothing_more(bridge);
}

#[test]
fn t25_a_response_to_no_question_is_dropped() {
    let remote = Legacy::sessions().start();
    let mut bridge = connect(&remote);
    bridge.send(&rpc::response(99, json!({})));
    bridge.send(&rpc::response("mb-0-s1", json!({})));
    bridge.wait_stderr("a response to no question of the server was dropped");
    let answer = bridge.request("tools/call", rpc::echo_params("next"));
    assert_eq!(answer["result"]["content"][0]["text"], "next");
    nothing_more(bridge);
    assert_eq!(remote.calls_of("response").len(), 0);
}

#[test]
fn a_last_line_without_its_end_counts_if_it_is_whole() {
    let remote = Legacy::sessions().start();
    let bridge = Bridge::spawn(&remote.url());
    bridge.send_raw(rpc::initialize(1, rpc::VERSION).to_string());
    let ended = bridge.finish();
    assert_eq!(ended.messages.len(), 1);
    assert_eq!(ended.messages[0]["result"]["protocolVersion"], rpc::VERSION);
}

// Order.

#[test]
fn handshake_and_calls_written_at_once_go_out_one_after_the_other() {
    let (first, second) = (Gate::new(), Gate::new());
    let (initialize, initialized) = (first.clone(), second.clone());
    let remote = Legacy::sessions()
        .on("initialize", move |_| Reply::usual().after(&initialize))
        .on("notifications/initialized", move |_| {
            Reply::usual().after(&initialized)
        })
        .start();
    let bridge = Bridge::to(&remote.url()).args(["--debug"]).start();
    let messages = [
        rpc::initialize(1, rpc::VERSION),
        rpc::initialized(),
        rpc::echo(2, "x"),
        rpc::notification("notifications/roots/list_changed", Value::Null),
        rpc::request(3, "tools/list", Value::Null),
    ];
    bridge.send_raw(messages.map(|message| format!("{message}\n")).concat());
    // Everything is read before anything is answered, and nothing overtakes.
    bridge.wait_stderr("client → tools/list 3");
    remote.wait_call("initialize");
    assert_eq!(remote.keys(), ["initialize"]);
    first.open();
    assert_eq!(bridge.recv()["id"], 1);
    remote.wait_call("notifications/initialized");
    assert_eq!(remote.keys(), ["initialize", "notifications/initialized"]);
    second.open();
    bridge.response(2);
    bridge.response(3);
    remote.wait_call("notifications/roots/list_changed");
    nothing_more(bridge);
}

#[test]
fn messages_of_one_stream_keep_their_order() {
    let (remote, mailbox) = scripted_calls();
    let bridge = connect(&remote);
    bridge.send(&rpc::echo(1, "x"));
    let (call, stream) = mailbox.take();
    let note = |number: usize| rpc::notification("notifications/message", json!({"n": number}));
    let mut text = String::new();
    for number in 0..500 {
        writeln!(text, "data: {}\n", note(number)).unwrap();
        if number % 100 == 0 {
            stream.send(std::mem::take(&mut text));
        }
    }
    stream.send(text);
    stream.event(&call.result_message(&call.echo()));
    stream.event(&note(500));
    stream.close();
    for number in 0..500 {
        assert_eq!(bridge.recv()["params"]["n"], number);
    }
    assert_eq!(bridge.recv()["id"], 1);
    assert_eq!(bridge.recv()["params"]["n"], 500);
    nothing_more(bridge);
}

#[test]
fn notifications_of_the_client_keep_their_order() {
    let remote = Legacy::sessions().start();
    let bridge = connect(&remote);
    for number in 0..50 {
        bridge.notify(
            "notifications/progress",
            json!({"progressToken": 1, "progress": number}),
        );
    }
    remote.wait_nth("notifications/progress", 50);
    let seen: Vec<_> = remote
        .calls_of("notifications/progress")
        .iter()
        .map(|call| call.params()["progress"].clone())
        .collect();
    assert_eq!(seen, (0..50).map(Value::from).collect::<Vec<_>>());
    nothing_more(bridge);
}

#[test]
fn fast_calls_do_not_wait_for_slow_ones() {
    let gate = Gate::new();
    let behind = gate.clone();
    let remote = Legacy::sessions()
        .on("tools/call", move |call| {
            let reply = Reply::usual();
            if call.echo()["content"][0]["text"] == "slow" {
                reply.after(&behind)
            } else {
                reply
            }
        })
        .start();
    let bridge = connect(&remote);
    for number in 0..20 {
        bridge.send(&rpc::echo(number, "slow"));
    }
    remote.wait_nth("tools/call", 20);
    for number in 100..110 {
        bridge.send(&rpc::echo(number, "fast"));
        assert_eq!(bridge.recv()["id"], number);
    }
    gate.open();
    for number in 0..20 {
        bridge.response(number);
    }
    nothing_more(bridge);
}

#[test]
fn before_initialized_the_client_gets_pings_and_log_messages_only() {
    let remote = Legacy::http_sse().start();
    let bridge = Bridge::to(&remote.url())
        .args(["--transport", "sse-only"])
        .start();
    bridge.send(&rpc::initialize(1, "2024-11-05"));
    assert!(bridge.recv().get("result").is_some());
    remote.say(&rpc::notification(
        "notifications/tools/list_changed",
        Value::Null,
    ));
    remote.say(&rpc::request(0, "roots/list", Value::Null));
    remote.say(&rpc::request(1, "ping", Value::Null));
    remote.say(&rpc::notification(
        "notifications/message",
        json!({"level": "info", "data": 1}),
    ));
    assert_eq!(bridge.recv()["method"], "ping");
    assert_eq!(bridge.recv()["method"], "notifications/message");
    bridge.send(&rpc::initialized());
    assert_eq!(bridge.recv()["method"], "notifications/tools/list_changed");
    assert_eq!(bridge.recv()["method"], "roots/list");
    nothing_more(bridge);
}

// Back-pressure.

#[test]
fn a_client_that_does_not_read_stops_the_servers_stream() {
    const SIZE: usize = 64 << 10;
    // More than the kernel's buffers and ours hold together.
    const COUNT: usize = 640;
    let remote = Legacy::sessions().start();
    let mut bridge = connect(&remote);
    let stream = remote.wait_stream();
    let answer = bridge.request("tools/call", rpc::echo_params("ready"));
    assert!(answer.get("result").is_some());
    #[cfg(target_os = "linux")]
    let before = peak_memory_mib(bridge.id());
    bridge.pause_stdout();
    let filler = "x".repeat(SIZE);
    let piece = |number: usize| -> Bytes {
        let note = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"n":{number},"data":"{filler}"}}}}"#
        );
        format!("data: {note}\n\n").into()
    };
    for number in 0..COUNT {
        stream.send(piece(number));
    }
    let left = settled(|| stream.queued());
    assert!(left > 0, "everything was read for a client that does not");
    #[cfg(target_os = "linux")]
    {
        let grown = peak_memory_mib(bridge.id()) - before;
        assert!(grown < 24, "the stream took {grown} MiB");
    }
    bridge.resume_stdout();
    for number in 0..COUNT {
        assert_eq!(bridge.recv()["params"]["n"], number);
    }
    let answer = bridge.request("tools/call", rpc::echo_params("still there"));
    assert!(answer.get("result").is_some());
    nothing_more(bridge);
}

#[cfg(unix)]
#[test]
fn a_client_that_does_not_read_can_still_end_the_bridge() {
    let remote = Legacy::sessions().start();
    let mut bridge = connect(&remote);
    let stream = remote.wait_stream();
    bridge.may_cut_stdout();
    bridge.pause_stdout();
    let line = format!(
        "data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{{\"data\":\"{}\"}}}}\n\n",
        "x".repeat(64 << 10)
    );
    for _ in 0..200 {
        stream.send(line.clone());
    }
    settled(|| stream.queued());
    // Hosts that are done send a signal next.
    bridge.signal(rustix::process::Signal::TERM);
    assert!(bridge.wait_exit().success());
    assert_eq!(remote.calls_of("DELETE").len(), 1);
}

#[test]
fn at_most_200_calls_are_open_at_once_and_all_are_answered() {
    let gate = Gate::new();
    let behind = gate.clone();
    let remote = Legacy::sessions()
        .on("tools/call", move |_| Reply::usual().after(&behind))
        .start();
    let mut bridge = Bridge::to(&remote.url()).args(["--debug"]).start();
    bridge.handshake();
    for number in 0..500 {
        bridge.send(&rpc::echo(number, "x"));
    }
    remote.wait_nth("tools/call", 200);
    bridge.wait_stderr("client → tools/call 499");
    assert_eq!(remote.calls_of("tools/call").len(), 200);
    gate.open();
    for number in 0..500 {
        assert!(bridge.response(number).get("result").is_some());
    }
    bridge.close_stdin();
    assert!(bridge.wait_exit().success());
    assert_eq!(remote.calls_of("tools/call").len(), 500);
}

#[test]
fn a_client_faster_than_the_server_is_made_to_wait() {
    const PIECES: u32 = 70;
    const LINES: u32 = 1000;
    let gate = Gate::new();
    let behind = gate.clone();
    let remote = Legacy::sessions()
        .on("initialize", move |_| Reply::text(403, "no").after(&behind))
        .start();
    let mut bridge = Bridge::spawn(&remote.url()).patience(Duration::from_secs(120));
    bridge.send(&rpc::initialize("init", rpc::VERSION));
    for piece in 0..PIECES {
        let lines = (piece * LINES..(piece + 1) * LINES)
            .map(|id| format!("{}\n", rpc::request(id, "tools/list", Value::Null)));
        bridge.send_raw(lines.collect::<String>());
    }
    assert!(settled(|| bridge.unread()) > 0, "everything was taken");
    // The server refuses, and so everything is answered without it.
    gate.open();
    bridge.close_stdin();
    let ended = bridge.ended();
    assert!(ended.status.success());
    assert_eq!(ended.messages.len() as u64, u64::from(PIECES * LINES) + 1);
    assert!(ended.messages.iter().all(|it| it.get("error").is_some()));
    assert_eq!(remote.keys(), ["initialize"]);
}

/// A number that has not changed for a while. Too short a while makes a test weaker, not wrong.
fn settled(number: impl Fn() -> usize) -> usize {
    let mut last = number();
    let mut same = 0;
    while same < 20 {
        std::thread::sleep(Duration::from_millis(25));
        let now = number();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

#[cfg(target_os = "linux")]
#[track_caller]
fn peak_memory_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.unwrap().trim().trim_end_matches("kB").trim();
    kib.parse::<u64>().unwrap() >> 10
}
