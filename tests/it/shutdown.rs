//! How the program ends: its input ends, a signal comes, nobody reads its output, its parent dies.
//!
//! In: who still gets an answer, and that the session is left. Waits are tested on a clock that
//! the test moves. Out: what goes through the pipes before (`stdio`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use mcp_bridge::proto::{
    self, Body, Head, Input, Output, Request, StopReason, Ticket, Verb, transport::Strategy,
};
use serde_json::{Value, json};

use crate::support::{Bridge, Gate, Legacy, LegacyRemote, Remote, Reply, rpc};

/// What the client is told about a request that the end cut short.
#[track_caller]
fn assert_cut_short(answer: &Value) {
    assert_eq!(answer["error"]["code"], -31000, "{answer}");
    let data = &answer["error"]["data"];
    assert_eq!(
        (&data["source"], &data["kind"]),
        (&json!("mcp-bridge"), &json!("shutdown")),
        "{answer}"
    );
}

fn connect(remote: &Remote, arguments: &[&str]) -> Bridge {
    let mut bridge = Bridge::to(&remote.url()).args(arguments).start();
    bridge.handshake();
    remote.wait_call("notifications/initialized");
    bridge
}

/// A server whose `tools/call` waits for the gate.
fn gated() -> (LegacyRemote, Gate) {
    let gate = Gate::new();
    let behind = gate.clone();
    let remote = Legacy::sessions()
        .on("tools/call", move |_| Reply::usual().after(&behind))
        .start();
    (remote, gate)
}

/// A server whose `tools/call` is never answered.
fn hanging() -> LegacyRemote {
    Legacy::sessions()
        .on("tools/call", |_| Reply::never())
        .start()
}

// The end of stdin.

#[test]
fn t17_an_answer_after_the_end_of_input_is_written() {
    let (remote, gate) = gated();
    let mut bridge = connect(&remote, &["--debug"]);
    bridge.send(&rpc::echo(1, "late"));
    bridge.close_stdin();
    bridge.wait_stderr("the client closed its end");
    remote.wait_call("tools/call");
    assert_eq!(remote.calls_of("DELETE").len(), 0);
    gate.open();
    let ended = bridge.ended();
    assert!(ended.status.success());
    assert_eq!(ended.messages.len(), 1);
    assert_eq!(ended.messages[0]["result"]["content"][0]["text"], "late");
    assert_eq!(remote.calls_of("DELETE").len(), 1);
}

#[test]
fn t18_the_end_of_input_drops_the_stream_and_the_session() {
    let remote = Legacy::sessions().start();
    let bridge = connect(&remote, &[]);
    let stream = remote.wait_stream();
    let ended = bridge.finish();
    stream.wait_closed();
    assert_eq!(ended.messages, Vec::<Value>::new());
    let deletes = remote.calls_of("DELETE");
    assert_eq!(deletes.len(), 1);
    assert_eq!(deletes[0].session().as_deref(), Some("session-1"));
    assert_eq!(
        deletes[0].header("mcp-protocol-version").as_deref(),
        Some(rpc::VERSION)
    );
    assert_eq!(remote.keys().last().unwrap(), "DELETE");
}

#[test]
fn t19_a_session_that_cannot_be_left_holds_nobody_up() {
    let remote = Legacy::sessions().on("DELETE", |_| Reply::never()).start();
    let bridge = connect(&remote, &[]);
    bridge.finish();
    assert_eq!(remote.calls_of("DELETE").len(), 1);
}

#[test]
fn t51_a_server_that_refuses_delete_changes_nothing() {
    for reply in [
        || Reply::status(405),
        || Reply::text(500, "no"),
        || Reply::cut_before_head(),
    ] {
        let remote = Legacy::sessions().on("DELETE", move |_| reply()).start();
        let bridge = connect(&remote, &[]);
        let ended = bridge.finish();
        assert_eq!(ended.messages, Vec::<Value>::new());
        assert_eq!(remote.calls_of("DELETE").len(), 1);
    }
}

/// `mcp-bridge URL < script | slow-reader`.
#[test]
fn a_slow_reader_gets_everything() {
    // More than the kernel's buffers hold.
    const NOTES: usize = 60;
    let remote = Legacy::sessions()
        .on("tools/call", |call| {
            let data = "x".repeat(64 << 10);
            let note = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": data}});
            let mut messages = vec![note; NOTES];
            messages.push(call.result_message(&json!({})));
            Reply::sse(&messages)
        })
        .start();
    let mut bridge = connect(&remote, &[]);
    bridge.pause_stdout();
    bridge.send(&rpc::echo(1, "big"));
    bridge.close_stdin();
    remote.wait_call("DELETE");
    // Longer than an end that somebody asks for would wait.
    std::thread::sleep(Duration::from_millis(800));
    bridge.resume_stdout();
    let ended = bridge.ended();
    assert!(ended.status.success());
    assert_eq!(ended.messages.len(), NOTES + 1);
    assert_eq!(ended.messages[NOTES]["id"], 1);
}

#[cfg(unix)]
#[test]
fn the_end_of_input_is_seen_while_nobody_reads_the_output() {
    let remote = Legacy::sessions().start();
    let mut bridge = connect(&remote, &[]);
    let stream = remote.wait_stream();
    bridge.may_cut_stdout();
    bridge.pause_stdout();
    let data = "x".repeat(64 << 10);
    let note =
        json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": data}});
    for _ in 0..200 {
        stream.event(&note);
    }
    bridge.close_stdin();
    remote.wait_call("DELETE");
    // It still waits for a reader; a signal puts an end to that.
    bridge.signal(rustix::process::Signal::TERM);
    assert!(bridge.wait_exit().success());
}

#[test]
fn nothing_is_sent_for_a_client_that_says_nothing() {
    let remote = Legacy::sessions().start();
    remote.must_stay_uncalled();
    let ended = Bridge::spawn(&remote.url()).finish();
    assert_eq!(ended.messages, Vec::<Value>::new());
    assert_eq!(ended.stderr, "");
    assert_eq!(remote.connections(), 0);
}

#[test]
fn lines_written_at_once_are_all_answered_before_the_end() {
    // As `printf '…\n…\n' | mcp-bridge URL` does, which sends no `notifications/initialized`.
    let gate = Gate::new();
    let behind = gate.clone();
    let remote = Remote::serve(move |call| match call.key() {
        "initialize" => call
            .result(&json!({"protocolVersion": rpc::VERSION, "capabilities": {}}))
            .header("mcp-session-id", "s")
            .after(&behind),
        "tools/list" => call.result(&json!({"tools": []})),
        _ => Reply::accepted(),
    });
    let mut bridge = Bridge::to(&remote.url()).args(["--debug"]).start();
    bridge.send_raw(format!(
        "{}\n{}",
        rpc::initialize(1, rpc::VERSION),
        rpc::request(2, "tools/list", Value::Null)
    ));
    bridge.close_stdin();
    bridge.wait_stderr("the client closed its end");
    gate.open();
    let ended = bridge.ended();
    assert!(ended.status.success());
    let ids: Vec<_> = ended
        .messages
        .iter()
        .map(|message| &message["id"])
        .collect();
    assert_eq!(ids, [1, 2]);
    assert!(ended.messages.iter().all(|it| it.get("result").is_some()));
    assert_eq!(remote.keys(), ["initialize", "tools/list", "DELETE"]);
}

#[test]
fn notifications_before_the_end_of_input_still_go_out() {
    let gate = Gate::new();
    let behind = gate.clone();
    let remote = Legacy::sessions()
        .on("notifications/initialized", move |_| {
            Reply::usual().after(&behind)
        })
        .start();
    let mut bridge = Bridge::to(&remote.url()).args(["--debug"]).start();
    bridge.handshake();
    bridge.notify("notifications/roots/list_changed", Value::Null);
    bridge.close_stdin();
    bridge.wait_stderr("the client closed its end");
    remote.wait_call("notifications/initialized");
    gate.open();
    assert!(bridge.ended().status.success());
    let keys: Vec<_> = remote
        .keys()
        .into_iter()
        .filter(|key| key != "GET")
        .collect();
    assert_eq!(
        keys,
        [
            "initialize",
            "notifications/initialized",
            "notifications/roots/list_changed",
            "DELETE"
        ]
    );
}

#[test]
fn without_grace_the_end_of_input_cuts_requests_short() {
    let remote = hanging();
    let mut bridge = connect(&remote, &["--eof-grace", "0"]);
    bridge.send(&rpc::echo(1, "x"));
    remote.wait_call("tools/call");
    bridge.close_stdin();
    let ended = bridge.ended();
    assert!(ended.status.success());
    assert_eq!(ended.messages.len(), 1);
    assert_cut_short(&ended.messages[0]);
    assert_eq!(ended.messages[0]["error"]["data"]["executed"], "unknown");
    assert_eq!(remote.calls_of("DELETE").len(), 1);
}

#[test]
fn a_handshake_that_hangs_is_cut_short_and_answered() {
    let remote = Remote::serve(|_| Reply::never());
    let mut bridge = Bridge::to(&remote.url()).args(["--eof-grace", "0"]).start();
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    bridge.send(&rpc::request(2, "tools/list", Value::Null));
    remote.wait_call("initialize");
    bridge.close_stdin();
    let ended = bridge.ended();
    assert!(ended.status.success());
    assert_eq!(ended.messages.len(), 2);
    for answer in &ended.messages {
        assert_cut_short(answer);
        let executed = if answer["id"] == 1 { "unknown" } else { "no" };
        assert_eq!(answer["error"]["data"]["executed"], executed, "{answer}");
    }
    assert_eq!(remote.keys(), ["initialize"]);
}

#[test]
fn a_server_that_is_away_does_not_hold_up_the_end() {
    let remote = Remote::away(|_| Reply::never());
    let mut bridge = Bridge::to(&remote.url()).args(["--eof-grace", "0"]).start();
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    bridge.wait_stderr("trying again");
    bridge.close_stdin();
    let ended = bridge.ended();
    assert!(ended.status.success());
    assert_cut_short(&ended.messages[0]);
}

// Signals.

#[cfg(unix)]
mod signals {
    use rustix::process::Signal;

    use super::*;

    #[test]
    fn t20_a_signal_answers_what_is_open_and_leaves_the_session() {
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            let remote = hanging();
            let mut bridge = connect(&remote, &[]);
            let stream = remote.wait_stream();
            bridge.send(&rpc::echo(1, "x"));
            remote.wait_call("tools/call");
            bridge.signal(signal);
            assert_cut_short(&bridge.recv());
            let ended = bridge.ended();
            assert_eq!(ended.status.code(), Some(0), "{signal:?}");
            assert_eq!(ended.messages, Vec::<Value>::new());
            assert_eq!(remote.calls_of("DELETE").len(), 1, "{signal:?}");
            stream.wait_closed();
        }
    }

    #[test]
    fn a_signal_ends_a_handshake_that_hangs() {
        for transport in ["http-only", "sse-only"] {
            let remote = Remote::serve(|_| Reply::never());
            let mut bridge = Bridge::to(&remote.url())
                .args(["--transport", transport])
                .start();
            bridge.send(&rpc::initialize(1, rpc::VERSION));
            remote.wait_for(|calls| !calls.is_empty());
            bridge.signal(Signal::TERM);
            assert_cut_short(&bridge.recv());
            assert_eq!(bridge.ended().status.code(), Some(0));
            assert_eq!(remote.calls().len(), 1, "{transport}");
        }
    }

    #[test]
    fn a_session_given_before_the_handshake_was_answered_is_left_too() {
        let remote = Remote::serve(|call| match call.key() {
            "initialize" => Reply::stream(|_| {}).header("mcp-session-id", "early"),
            _ => Reply::accepted(),
        });
        let mut bridge = Bridge::to(&remote.url()).args(["--debug"]).start();
        bridge.send(&rpc::initialize(1, rpc::VERSION));
        bridge.wait_stderr("event stream");
        bridge.signal(Signal::TERM);
        assert_cut_short(&bridge.recv());
        assert_eq!(bridge.ended().status.code(), Some(0));
        let deletes = remote.calls_of("DELETE");
        assert_eq!(deletes.len(), 1);
        assert_eq!(deletes[0].session().as_deref(), Some("early"));
    }

    #[test]
    fn a_signal_ends_a_bridge_that_did_nothing() {
        let remote = Legacy::sessions().start();
        remote.must_stay_uncalled();
        // A client that speaks to nobody shows that the handlers are in place.
        let mut bridge = Bridge::spawn(&remote.url());
        bridge.send(&rpc::request(1, "ping", Value::Null));
        assert_eq!(bridge.recv()["result"], json!({}));
        bridge.signal(Signal::INT);
        assert_eq!(bridge.ended().status.code(), Some(0));
    }

    #[test]
    fn a_signal_during_the_grace_ends_it() {
        let remote = hanging();
        let mut bridge = connect(&remote, &["--debug", "--eof-grace", "3600"]);
        bridge.send(&rpc::echo(1, "x"));
        bridge.close_stdin();
        bridge.wait_stderr("the client closed its end");
        bridge.signal(Signal::TERM);
        assert_cut_short(&bridge.recv());
        assert_eq!(bridge.ended().status.code(), Some(0));
        assert_eq!(remote.calls_of("DELETE").len(), 1);
    }

    #[test]
    fn a_second_signal_ends_the_wait_for_the_server() {
        let remote = Legacy::sessions().on("DELETE", |_| Reply::never()).start();
        let mut bridge = connect(&remote, &[]);
        bridge.signal(Signal::TERM);
        remote.wait_call("DELETE");
        bridge.signal(Signal::TERM);
        assert_eq!(bridge.ended().status.code(), Some(0));
    }
}

// Closed pipes.

#[cfg(unix)]
#[test]
fn t21_a_closed_stdout_ends_it() {
    let remote = Legacy::sessions().start();
    let mut bridge = connect(&remote, &[]);
    remote.wait_stream();
    bridge.close_stdout();
    remote.say(&rpc::notification(
        "notifications/message",
        json!({"level": "info", "data": "x"}),
    ));
    let ended = bridge.ended();
    assert_eq!(ended.status.code(), Some(0));
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    assert_eq!(remote.calls_of("DELETE").len(), 1);
}

#[cfg(unix)]
#[test]
fn a_closed_or_unread_stderr_changes_nothing() {
    for closed in [true, false] {
        let remote = Legacy::sessions().start();
        let (reader, writer) = std::io::pipe().unwrap();
        // A pipe holds 64 KiB; debug lines of a thousand calls are more.
        let reader = (!closed).then_some(reader);
        let mut bridge = Bridge::to(&remote.url())
            .args(["--debug"])
            .stderr(writer)
            .start();
        bridge.handshake();
        for number in 0..1000 {
            bridge.send(&rpc::echo(number, "x"));
        }
        for number in 0..1000 {
            assert!(bridge.response(number).get("result").is_some());
        }
        bridge.finish();
        drop(reader);
        assert_eq!(remote.calls_of("DELETE").len(), 1);
    }
}

#[cfg(unix)]
#[test]
fn it_works_without_any_stderr() {
    let remote = Legacy::sessions().start();
    let mut bridge = Bridge::to(&remote.url())
        .args(["--debug"])
        .under(["/bin/sh", "-c", r#"exec "$0" "$@" 2>&-"#])
        .start();
    bridge.handshake();
    let answer = bridge.request("tools/call", rpc::echo_params("x"));
    assert!(answer.get("result").is_some());
    bridge.finish();
}

// The parent's death.

#[cfg(target_os = "linux")]
#[test]
fn the_death_of_the_parent_ends_it_while_somebody_holds_stdin() {
    let remote = hanging();
    // The shell is the parent. Its own end of the pipe dies with it, the test's stays open.
    let mut bridge = Bridge::to(&remote.url())
        .under(["/bin/sh", "-c", r#"exec 3<&0; "$0" "$@" <&3 3<&- & wait"#])
        .start();
    bridge.handshake();
    bridge.send(&rpc::echo(1, "x"));
    remote.wait_call("tools/call");
    bridge.signal(rustix::process::Signal::KILL);
    let ended = bridge.ended();
    assert!(
        ended
            .stderr
            .contains("the program that started the bridge is gone"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.messages.len(), 1);
    assert_cut_short(&ended.messages[0]);
    assert_eq!(remote.calls_of("DELETE").len(), 1);
}

// On a clock that the test moves.

/// The deciding half alone, its orders, and the time.
struct World {
    bridge: proto::Bridge,
    now: Instant,
    orders: Vec<Output>,
}

impl World {
    fn new() -> Self {
        let settings = proto::Settings {
            url: Arc::new("https://example.com/mcp".parse().unwrap()),
            strategy: Strategy::HttpOnly,
            filter: proto::filter::Filter::default(),
            call_timeout: None,
            heartbeat: None,
            ping_interval: None,
            eof_grace: Duration::from_secs(5),
            message_limit: 64 << 20,
            credentials: proto::bridge::Credentials::Given,
            initialize_wait: Duration::from_secs(20),
            last_initialize: None,
            protocol: proto::bridge::Protocol::Auto,
            upgrade: true,
            legacy_first: false,
            remembered: None,
            debug: false,
            nonce: "n".to_owned(),
            seed: 1,
        };
        let now = Instant::now();
        Self {
            bridge: proto::Bridge::new(settings, now),
            now,
            orders: Vec::new(),
        }
    }

    /// A session that stands, with everything sent so far answered.
    fn connected() -> Self {
        let mut world = Self::new();
        world.says(&rpc::initialize(0, rpc::VERSION));
        let (ticket, _) = world.sent(Verb::Post);
        let result = json!({"protocolVersion": rpc::VERSION, "capabilities": {}});
        world.answered(
            ticket,
            200,
            &json!({"jsonrpc": "2.0", "id": 0, "result": result}),
        );
        world.says(&rpc::initialized());
        let (ticket, _) = world.sent(Verb::Post);
        world.answered(ticket, 202, &Value::Null);
        let (ticket, _) = world.sent(Verb::Get);
        world.answered(ticket, 405, &Value::Null);
        world.orders.clear();
        world
    }

    fn tell(&mut self, input: Input) {
        self.bridge.handle(self.now, input, &mut self.orders);
    }

    fn says(&mut self, message: &Value) {
        self.tell(Input::Line(message.to_string().into()));
    }

    fn answered(&mut self, ticket: Ticket, status: u16, message: &Value) {
        let mut headers = HeaderMap::new();
        headers.insert("mcp-session-id", HeaderValue::from_static("session"));
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let head = Head {
            status,
            headers,
            url: Arc::new("https://example.com/mcp".parse().unwrap()),
            moved_permanently: false,
            credentials: 0,
        };
        let bytes = if message.is_null() {
            Bytes::new()
        } else {
            message.to_string().into()
        };
        self.tell(Input::Answer(ticket, head, Body { bytes, cut: None }));
    }

    /// Moves the clock; the bridge is woken whenever it asked for it.
    fn advance(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.bridge.wake_at().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.tell(Input::Wake);
        }
        self.now = until;
    }

    /// Takes the first request of this kind that was sent.
    #[track_caller]
    fn sent(&mut self, verb: Verb) -> (Ticket, Request) {
        let is_it =
            |order: &Output| matches!(order, Output::Send(_, request) if request.verb == verb);
        let index = self.orders.iter().position(is_it);
        match self.orders.remove(index.expect("it was sent")) {
            Output::Send(ticket, request) => (ticket, request),
            _ => unreachable!(),
        }
    }

    /// Lines written so far.
    fn lines(&self) -> Vec<Value> {
        let line = |order: &Output| match order {
            Output::Line(line) => Some(serde_json::from_slice(line).unwrap()),
            _ => None,
        };
        self.orders.iter().filter_map(line).collect()
    }

    fn has_ended(&self) -> bool {
        self.orders
            .iter()
            .any(|order| matches!(order, Output::Exit { .. }))
    }
}

#[test]
fn t17_open_requests_get_five_seconds_after_the_end_of_input() {
    let mut world = World::connected();
    world.says(&rpc::echo(1, "x"));
    world.tell(Input::LocalClosed);
    world.advance(Duration::from_millis(4900));
    assert_eq!(world.lines(), Vec::<Value>::new());
    world.advance(Duration::from_millis(200));
    let lines = world.lines();
    assert_eq!(lines.len(), 1);
    assert_cut_short(&lines[0]);
    assert_eq!(lines[0]["id"], 1);
    let (ticket, _) = world.sent(Verb::Delete);
    assert!(!world.has_ended());
    world.answered(ticket, 200, &Value::Null);
    assert!(world.has_ended());
}

#[test]
fn t19_the_server_gets_less_than_two_seconds_to_end_the_session() {
    for reason in [
        StopReason::Signal,
        StopReason::ParentGone,
        StopReason::OutputClosed,
    ] {
        let mut world = World::connected();
        world.tell(Input::Stop(reason));
        world.sent(Verb::Delete);
        assert!(!world.has_ended());
        world.advance(Duration::from_millis(1600));
        assert!(world.has_ended(), "{reason:?}");
    }
}

#[test]
fn only_a_second_signal_ends_the_wait_for_the_server() {
    use StopReason::{OutputClosed, ParentGone, Signal};

    // A dying parent takes its pipes with it, and the terminal sends a signal: one end, not two.
    for (first, second, at_once) in [
        (Signal, Signal, true),
        (Signal, ParentGone, false),
        (Signal, OutputClosed, false),
        (ParentGone, Signal, false),
        (OutputClosed, ParentGone, false),
    ] {
        let mut world = World::connected();
        world.tell(Input::Stop(first));
        world.tell(Input::Stop(second));
        world.sent(Verb::Delete);
        assert_eq!(world.has_ended(), at_once, "{first:?}, {second:?}");
    }
}

#[test]
fn lines_wait_for_the_server_up_to_64_mib() {
    let mut world = World::new();
    world.says(&rpc::initialize(0, rpc::VERSION));
    let filler = "x".repeat(1 << 20);
    let mut count = 0;
    while world.bridge.wants_lines() {
        count += 1;
        let line = format!(
            r#"{{"jsonrpc":"2.0","id":{count},"method":"tools/call","params":"{filler}"}}"#
        );
        world.tell(Input::Line(line.into()));
        assert!(count <= 64, "too much is taken");
    }
    assert!(count >= 60, "{count} MiB is too little");
    let (ticket, _) = world.sent(Verb::Post);
    let result = json!({"protocolVersion": rpc::VERSION, "capabilities": {}});
    world.answered(
        ticket,
        200,
        &json!({"jsonrpc": "2.0", "id": 0, "result": result}),
    );
    assert!(world.bridge.wants_lines());
    for _ in 0..count {
        world.sent(Verb::Post);
    }
}

#[test]
fn many_small_lines_that_wait_are_bounded_too() {
    let mut world = World::new();
    world.says(&rpc::initialize(0, rpc::VERSION));
    let mut count = 0;
    while world.bridge.wants_lines() {
        count += 1;
        world.says(&rpc::request(count, "ping", Value::Null));
        assert!(count <= 100_000, "too many are taken");
    }
    assert!(count >= 10_000, "{count} is too little");
}
