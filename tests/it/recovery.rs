//! Lost sessions and servers that go away and come back, over real sockets.
//!
//! In: Streamable HTTP with the ready-made servers. Out: HTTP+SSE (`http_sse`); long waits and
//! rests, which need no socket (`src/proto/bridge/tests/recovery.rs`).

use std::sync::Mutex;

use serde_json::{Value, json};

use crate::support::{Bridge, Call, Gate, Legacy, LegacyRemote, Refusal, Remote, Reply, rpc};

#[track_caller]
fn echoes(bridge: &mut Bridge, text: &str) {
    let response = bridge.request("tools/call", rpc::echo_params(text));
    assert_eq!(response["result"]["content"][0]["text"], text, "{response}");
}

/// A bridge with a session, an open stream, a log level and a subscription.
fn furnished(remote: &LegacyRemote) -> Bridge {
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.request("logging/setLevel", json!({"level": "error"}));
    bridge.request("resources/subscribe", json!({"uri": "file:///a"}));
    bridge.request("resources/subscribe", json!({"uri": "file:///b"}));
    bridge.request("resources/unsubscribe", json!({"uri": "file:///b"}));
    remote.wait_stream();
    bridge
}

#[track_caller]
fn heals(refusal: Refusal) {
    let remote = Legacy::sessions().start();
    let mut bridge = furnished(&remote);
    let before = remote.calls().len();
    remote.expire_sessions(refusal);
    let response = bridge.request("tools/list", Value::Null);
    assert_eq!(response["result"]["tools"][0]["name"], "echo");
    for list in ["tools", "prompts", "resources"] {
        bridge.recv_method(&format!("notifications/{list}/list_changed"));
    }
    let updated = bridge.recv_method("notifications/resources/updated");
    assert_eq!(updated["params"]["uri"], "file:///a");
    remote.wait_stream();
    let ended = bridge.finish();
    assert!(ended.messages.is_empty(), "{:?}", ended.messages);
    let calls: Vec<Call> = remote.calls().split_off(before);
    let mut keys: Vec<&str> = calls.iter().map(Call::key).collect();
    // The stream and the list are asked for at the same time.
    assert!(keys.contains(&"GET"), "{keys:?}");
    keys.retain(|key| *key != "GET");
    assert_eq!(
        keys,
        [
            "tools/list",
            "initialize",
            "notifications/initialized",
            "logging/setLevel",
            "resources/subscribe",
            "tools/list",
            "DELETE"
        ],
        "{refusal:?}"
    );
    let sessions: Vec<_> = calls.iter().map(Call::session).collect();
    assert_eq!(sessions[0].as_deref(), Some("session-1"));
    assert_eq!(sessions[1], None);
    assert!(
        sessions[2..]
            .iter()
            .all(|it| it.as_deref() == Some("session-2"))
    );
    let level = calls.iter().find(|call| call.key() == "logging/setLevel");
    assert_eq!(level.unwrap().params()["level"], "error");
    assert_eq!(remote.calls_of("GET").len(), 2);
    assert_eq!(remote.sessions_opened(), 2);
}

#[test]
fn t80_a_lost_session_is_reopened_and_furnished() {
    heals(Refusal::NotFound);
    heals(Refusal::NotFoundText);
}

#[test]
fn t81_after_400_too() {
    heals(Refusal::BadRequest);
    heals(Refusal::BadRequestText);
}

#[test]
fn t82_after_401_too() {
    heals(Refusal::Unauthorized);
}

#[test]
fn t83_after_422_too() {
    heals(Refusal::Unprocessable);
    heals(Refusal::Unavailable);
}

#[test]
fn t84_forty_calls_into_a_lost_session() {
    let remote = Legacy::sessions().start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    remote.wait_stream();
    remote.expire_sessions(Refusal::NotFound);
    for id in 1..=40 {
        bridge.send(&rpc::echo(id, &format!("call {id}")));
    }
    for id in 1..=40 {
        let response = bridge.response(id);
        assert_eq!(
            response["result"]["content"][0]["text"],
            format!("call {id}")
        );
    }
    remote.wait_stream();
    bridge.finish();
    assert_eq!(remote.sessions_opened(), 2);
    assert_eq!(remote.calls_of("GET").len(), 2);
    let calls = remote.calls_of("tools/call");
    let in_new = |call: &&Call| call.session().as_deref() == Some("session-2");
    assert_eq!(calls.iter().filter(in_new).count(), 40);
}

#[test]
fn t85_a_stream_of_the_lost_session_may_still_bring_its_result() {
    for finishes in [true, false] {
        let streams = crate::support::Mailbox::new();
        let sink = streams.clone();
        let remote = Legacy::sessions()
            .on("tools/call", move |call| {
                let call = call.clone();
                let sink = sink.clone();
                Reply::stream(move |stream| sink.put((call, stream)))
            })
            .start();
        let mut bridge = Bridge::spawn(&remote.url());
        bridge.handshake();
        bridge.send(&rpc::echo(1, "slow"));
        let (call, stream) = streams.take();
        remote.expire_sessions(Refusal::NotFound);
        bridge.request("tools/list", Value::Null);
        if finishes {
            stream.event(&call.result_message(&call.echo()));
        }
        stream.close();
        let response = bridge.response(1);
        if finishes {
            assert_eq!(response["result"]["content"][0]["text"], "slow");
        } else {
            assert_eq!(response["error"]["data"]["kind"], "session-lost");
            assert_eq!(response["error"]["data"]["executed"], "unknown");
        }
        bridge.finish();
        assert_eq!(remote.calls_of("tools/call").len(), 1);
    }
}

#[test]
fn t86_a_question_of_the_lost_session_is_withdrawn() {
    let remote = Legacy::sessions().start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    remote.say(&rpc::request(7, "roots/list", Value::Null));
    let question = bridge.recv_method("roots/list");
    remote.expire_sessions(Refusal::NotFound);
    bridge.request("tools/list", Value::Null);
    let withdrawn = bridge.recv_method("notifications/cancelled");
    assert_eq!(withdrawn["params"]["requestId"], question["id"]);
    bridge.send(&rpc::response(question["id"].clone(), json!({"roots": []})));
    echoes(&mut bridge, "behind the late answer");
    bridge.finish();
    assert_eq!(remote.calls_of("response").len(), 0);
}

#[test]
fn t87_a_server_that_forgets_every_session_at_once() {
    let remote = Legacy::sessions().start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    remote.wait_stream();
    remote.refuse_every_session(Refusal::NotFound);
    for _ in 0..10 {
        let response = bridge.request("tools/call", rpc::echo_params("x"));
        assert_eq!(response["error"]["data"]["kind"], "session-lost");
        assert_eq!(response["error"]["data"]["executed"], "no");
        assert_eq!(response["error"]["data"]["status"], 404);
    }
    bridge.finish();
    assert_eq!(remote.calls_of("initialize").len(), 1 + 3);
    assert!(remote.calls().len() < 40, "{:?}", remote.keys());
}

#[test]
fn t88_an_unknown_method_is_passed_on() {
    let remote = Legacy::sessions()
        .on("tools/call", |call| {
            call.error(-32601, "Method not found").with_status(404)
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("x"));
    assert_eq!(
        response["error"],
        json!({"code": -32601, "message": "Method not found"})
    );
    bridge.finish();
    assert_eq!(remote.calls_of("initialize").len(), 1);
}

#[test]
fn t90_the_header_follows_the_new_sessions_version() {
    let remote = Legacy::sessions()
        .on("initialize", |call| {
            if call.nth == 1 {
                return Reply::usual();
            }
            call.result(
                &json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                "serverInfo": {"name": "s", "version": "2"}}),
            )
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    echoes(&mut bridge, "one");
    remote.expire_sessions(Refusal::NotFound);
    // The ready-made server notes a wrong header.
    echoes(&mut bridge, "two");
    bridge.finish();
    let call = remote.calls_of("tools/call").pop().unwrap();
    assert_eq!(
        call.header("mcp-protocol-version").as_deref(),
        Some("2025-06-18")
    );
}

#[test]
fn t91_a_server_restarted_between_two_calls() {
    let remote = Legacy::sessions().start();
    let mut bridge = Bridge::to(&remote.url()).args(["--debug"]).start();
    bridge.handshake();
    echoes(&mut bridge, "one");
    remote.wait_stream();
    remote.stop();
    // Until the bridge has noticed, a call might go into a dead connection.
    bridge.wait_stderr("the server's stream is gone");
    bridge.send(&rpc::echo(1, "two"));
    remote.restart_on_same_port();
    assert_eq!(bridge.response(1)["result"]["content"][0]["text"], "two");
    bridge.finish();
    assert_eq!(remote.sessions_opened(), 2);
    let executed = remote
        .calls_of("tools/call")
        .iter()
        .filter(|call| call.params()["arguments"]["text"] == "two")
        .filter(|call| call.session().as_deref() == Some("session-2"))
        .count();
    assert_eq!(executed, 1);
}

#[test]
fn a_server_restarted_in_the_middle_of_calls() {
    let gate = Gate::new();
    let held = gate.clone();
    let remote = Legacy::sessions()
        .on("tools/call", move |call| {
            if call.nth == 1 {
                Reply::usual().after(&held)
            } else {
                Reply::usual()
            }
        })
        .on("resources/list", |call| {
            if call.nth == 1 {
                Reply::never()
            } else {
                Reply::usual()
            }
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&rpc::echo(1, "lost"));
    bridge.send(&rpc::request(2, "resources/list", Value::Null));
    remote.wait_call("tools/call");
    remote.wait_call("resources/list");
    remote.stop();
    remote.restart_on_same_port();
    let error = bridge.response(1)["error"].clone();
    assert_eq!(error["code"], -31000);
    assert_eq!(error["data"]["executed"], "unknown");
    assert_eq!(bridge.response(2)["result"], json!({"resources": []}));
    echoes(&mut bridge, "the new server");
    gate.open();
    bridge.finish();
    assert_eq!(remote.calls_of("tools/call").len(), 2);
    assert_eq!(remote.sessions_opened(), 2);
}

#[test]
fn one_session_and_one_stream_for_a_whole_life() {
    let remote = Legacy::sessions().start();
    let mut bridge = furnished(&remote);
    for number in 0..30 {
        echoes(&mut bridge, &format!("call {number}"));
        bridge.notify("notifications/roots/list_changed", Value::Null);
    }
    remote.wait_nth("notifications/roots/list_changed", 30);
    bridge.finish();
    assert_eq!(remote.sessions_opened(), 1);
    for (key, times) in [
        ("initialize", 1),
        ("notifications/initialized", 1),
        ("GET", 1),
        ("DELETE", 1),
        ("tools/call", 30),
        ("notifications/roots/list_changed", 30),
    ] {
        assert_eq!(remote.calls_of(key).len(), times, "{key}");
    }
}

#[test]
fn a_server_that_forgets_every_second_call_answers_a_hundred() {
    let remote = Legacy::sessions().start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    for number in 0..100 {
        if number % 2 == 1 {
            remote.expire_sessions(Refusal::NotFound);
        }
        echoes(&mut bridge, &format!("call {number}"));
    }
    bridge.finish();
    assert_eq!(remote.sessions_opened(), 51);
}

#[test]
fn two_back_ends_without_stickiness_are_answered_or_refused_clearly() {
    // Each request goes to the other one, and each knows only its own sessions.
    let turn = Mutex::new(0_u32);
    let remote = Remote::serve(move |call| {
        let mut turn = turn.lock().unwrap();
        *turn += 1;
        // Uneven, so that some sessions are found again.
        let here = if turn.is_multiple_of(3) { "x" } else { "y" };
        match call.key() {
            "initialize" => call
                .result(&json!({"protocolVersion": rpc::VERSION, "capabilities": {},
                    "serverInfo": {"name": "s", "version": "1"}}))
                .header("mcp-session-id", &format!("{here}{turn}")),
            _ if !call.session().unwrap_or_default().starts_with(here) => Refusal::NotFound.reply(),
            "GET" => Reply::status(405),
            "tools/call" => call.result(&call.echo()),
            _ => Reply::accepted(),
        }
    });
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let mut answered = 0;
    for _ in 0..30 {
        let response = bridge.request("tools/call", rpc::echo_params("x"));
        if response.get("result").is_some() {
            answered += 1;
        } else {
            assert_eq!(response["error"]["data"]["kind"], "session-lost");
            assert_eq!(response["error"]["data"]["executed"], "no");
        }
    }
    bridge.finish();
    assert!(answered > 5, "{answered} of 30");
    assert!(remote.calls_of("initialize").len() <= 4 * 31);
}

#[test]
fn a_ping_finds_and_heals_a_lost_session() {
    let remote = Legacy::sessions().start();
    let mut bridge = Bridge::to(&remote.url())
        .args(["--keep-alive", "--ping-interval", "1"])
        .start();
    bridge.handshake();
    remote.wait_call("ping");
    remote.expire_sessions(Refusal::NotFound);
    remote.wait_nth("notifications/initialized", 2);
    let before = remote.calls_of("initialize").len();
    echoes(&mut bridge, "at once");
    bridge.finish();
    assert_eq!(before, 2);
    assert_eq!(remote.calls_of("initialize").len(), 2);
    assert_eq!(remote.calls_of("tools/call").len(), 1);
}

#[test]
fn a_second_initialize_opens_a_session_of_its_own() {
    let remote = Legacy::sessions().start();
    let mut bridge = furnished(&remote);
    bridge.send(&rpc::initialize("again", rpc::VERSION));
    let response = bridge.response("again");
    assert!(response.get("result").is_some(), "{response}");
    bridge.send(&rpc::initialized());
    echoes(&mut bridge, "in the new one");
    bridge.finish();
    assert_eq!(remote.sessions_opened(), 2);
    assert_eq!(remote.sessions_alive(), 0);
    let deleted: Vec<_> = remote
        .calls_of("DELETE")
        .iter()
        .map(Call::session)
        .collect();
    assert_eq!(
        deleted,
        [Some("session-1".to_owned()), Some("session-2".to_owned())]
    );
    let call = remote.calls_of("tools/call").pop().unwrap();
    assert_eq!(call.session().as_deref(), Some("session-2"));
}

#[test]
fn messages_before_initialized_are_held() {
    let remote = Legacy::http_sse().start();
    let bridge = Bridge::to(&remote.url())
        .args(["--transport", "sse-only"])
        .start();
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    bridge.response(1);
    remote.say(&rpc::notification(
        "notifications/tools/list_changed",
        Value::Null,
    ));
    remote.say(&rpc::request(5, "ping", Value::Null));
    let ping = bridge.recv();
    assert_eq!(ping["method"], "ping");
    bridge.send(&rpc::initialized());
    let held = bridge.recv();
    assert_eq!(held["method"], "notifications/tools/list_changed");
    bridge.finish();
}

#[test]
fn a_server_without_sessions_needs_no_healing() {
    let remote = Legacy::free().start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    echoes(&mut bridge, "one");
    remote.wait_call("GET");
    remote.stop();
    remote.restart();
    // Reading is repeated if it went into a connection that was dead already.
    let response = bridge.request("tools/list", Value::Null);
    assert_eq!(response["result"]["tools"][0]["name"], "echo");
    bridge.finish();
    assert_eq!(remote.calls_of("initialize").len(), 1);
    assert_eq!(remote.calls_of("DELETE").len(), 0);
}
