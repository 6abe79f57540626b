//! Lost sessions and streams, on both transports.
//!
//! In: one reopening for everybody, what is restored, what is repeated, when it is given up. Out:
//! the same over sockets (`tests/it/recovery.rs`).

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{Posted, World};
use crate::proto::{Level, TroubleKind};

/// A session with a log level and a subscription, as test 80 has it.
fn furnished() -> (World, Posted) {
    let mut world = World::new();
    let stream = world.connect("a");
    for (id, method, params) in [
        (1, "logging/setLevel", json!({"level": "warning"})),
        (2, "resources/subscribe", json!({"uri": "file:///x"})),
    ] {
        world.request_with(id, method, &params);
        let posted = world.take(method);
        world.give(&posted, &json!({}));
        world.response(id);
    }
    world.lines();
    (world, stream)
}

/// What follows the refusal of a request in a furnished session.
fn restores_everything(refuse: impl FnOnce(&mut World, &Posted)) {
    let (mut world, old_stream) = furnished();
    world.request(3, "tools/list");
    let list = world.take("tools/list");
    world.history.clear();
    refuse(&mut world, &list);
    assert!(!world.is_running(&old_stream), "the old stream was kept");

    let initialize = world.take("initialize");
    assert_eq!(world.pending(), Vec::<&str>::new());
    assert_eq!(initialize.session(), "");
    assert_eq!(initialize.header("mcp-protocol-version"), None);
    assert_eq!(initialize.json["params"]["protocolVersion"], "2025-11-25");
    assert_eq!(
        initialize.json["params"]["capabilities"],
        json!({"sampling": {}})
    );
    world.give_session(&initialize, "b");
    let initialized = world.take("notifications/initialized");
    assert_eq!(initialized.session(), "b");
    assert_eq!(world.pending(), Vec::<&str>::new());
    world.accept(&initialized);
    let level = world.take("logging/setLevel");
    assert_eq!(level.json["params"], json!({"level": "warning"}));
    world.give(&level, &json!({}));
    let subscription = world.take("resources/subscribe");
    assert_eq!(subscription.json["params"], json!({"uri": "file:///x"}));
    assert_eq!(world.lines(), Vec::<Value>::new());
    world.give(&subscription, &json!({}));
    let stream = world.take("GET");
    assert_eq!(stream.session(), "b");
    assert_eq!(stream.header("last-event-id"), None);
    let again = world.take("tools/list");
    assert_eq!(again.session(), "b");
    assert_eq!(
        world.history,
        [
            "initialize",
            "notifications/initialized",
            "logging/setLevel",
            "resources/subscribe",
            "GET",
            "tools/list"
        ]
    );
    let told: Vec<Value> = world.lines();
    assert_eq!(
        told,
        [
            json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}),
            json!({"jsonrpc": "2.0", "method": "notifications/resources/list_changed"}),
            json!({"jsonrpc": "2.0", "method": "notifications/resources/updated",
                "params": {"uri": "file:///x"}}),
        ]
    );
    world.give(&again, &json!({"tools": []}));
    assert_eq!(world.response(3)["result"], json!({"tools": []}));
    assert_eq!(world.lines(), Vec::<Value>::new());
    assert!(world.said.iter().all(|(level, _)| *level < Level::Warn));
    let told = world.said.iter().filter(|(level, text)| {
        *level > Level::Debug && text.starts_with("Connecting to remote server")
    });
    assert_eq!(
        told.count(),
        1,
        "people are told of the first contact alone"
    );
}

#[test]
fn t80_a_lost_session_is_reopened_and_furnished() {
    restores_everything(World::lose);
}

#[test]
fn t81_the_same_after_400() {
    restores_everything(|world, posted| {
        let text = "Bad Request: No valid session ID provided";
        world.answer(posted, 400, &[], text);
    });
}

#[test]
fn t82_the_same_after_401_without_a_challenge() {
    restores_everything(|world, posted| {
        world.answer(posted, 401, &[], "Unauthorized: Session not found");
    });
}

#[test]
fn t83_the_same_after_422() {
    restores_everything(|world, posted| {
        let text = "Unexpected message, expect initialize request";
        world.answer(posted, 422, &[], text);
    });
}

#[test]
fn every_other_disguise_is_seen_through() {
    let rpc = |code: i64, text: &str| {
        json!({"jsonrpc": "2.0", "id": null, "error": {"code": code, "message": text}}).to_string()
    };
    for (status, body) in [
        (404, String::new()),
        (404, "404 page not found".to_owned()),
        (404, rpc(-32600, "Session has been closed")),
        (410, String::new()),
        (
            400,
            rpc(-32000, "Bad Request: No valid session ID provided"),
        ),
        (
            400,
            rpc(-32000, "Bad Request: Mcp-Session-Id header is required"),
        ),
        (400, rpc(-32600, "Missing session ID")),
        (400, rpc(-32000, "Bad Request: Server not initialized")),
        (400, "Could not find session".to_owned()),
        (400, "No transport found for sessionId".to_owned()),
        (403, "session user mismatch".to_owned()),
        (500, "session terminated".to_owned()),
        (503, "session unknown on this instance".to_owned()),
    ] {
        restores_everything(|world, posted| world.answer(posted, status, &[], body));
    }
}

#[test]
fn t84_many_refusals_mean_one_new_session() {
    let mut world = World::new();
    world.connect("a");
    for id in 1..=40 {
        world.request(id, "tools/list");
    }
    let refused: Vec<Posted> = (1..=40).map(|_| world.take("tools/list")).collect();
    for posted in &refused[..25] {
        world.lose(posted);
    }
    world.reopen("b");
    // Refusals of the old session that come late only send their requests again.
    for posted in &refused[25..] {
        world.lose(posted);
    }
    for _ in 1..=40 {
        let posted = world.take("tools/list");
        assert_eq!(posted.session(), "b");
        world.give(&posted, &json!({"tools": []}));
    }
    assert_eq!(world.count("initialize"), 2);
    assert_eq!(world.count("GET"), 2);
    assert_eq!(world.unanswered(), 0);
    for id in 1..=40 {
        assert!(world.response(id).get("result").is_some());
    }
}

#[test]
fn t84_on_http_sse_too() {
    let mut world = World::sse();
    let stream = world.connect_sse("/m?sid=a");
    for id in 1..=40 {
        world.request(id, "tools/call");
    }
    for _ in 1..=40 {
        let posted = world.take("tools/call");
        world.answer(&posted, 404, &[], "Could not find session");
    }
    assert!(!world.is_running(&stream));
    let stream = world.reopen_sse("/m?sid=b");
    let initialized = world.take("notifications/initialized");
    world.accept(&initialized);
    for _ in 1..=40 {
        let posted = world.take("tools/call");
        assert!(posted.request.url.as_str().ends_with("/m?sid=b"));
        world.accept(&posted);
        let answer = posted.result(&json!({}));
        world.event(&stream, &answer);
    }
    assert_eq!(world.count("GET"), 2);
    assert_eq!(world.unanswered(), 0);
}

#[test]
fn t85_a_call_of_the_lost_session_may_still_finish() {
    for finishes in [true, false] {
        let mut world = World::new();
        world.connect("a");
        world.request(1, "tools/call");
        let call = world.take("tools/call");
        world.stream(&call);
        world.request(2, "tools/list");
        let list = world.take("tools/list");
        world.lose(&list);
        world.reopen("b");
        assert!(
            world.is_running(&call),
            "the stream of a running call was cut"
        );
        if finishes {
            let answer = call.result(&json!({"content": []}));
            world.event(&call, &answer);
        }
        world.end(&call);
        let answer = world.response(1);
        if finishes {
            assert_eq!(answer["result"], json!({"content": []}));
        } else {
            assert_eq!(answer["error"]["code"], -31000);
            assert_eq!(answer["error"]["data"]["kind"], "session-lost");
            assert_eq!(answer["error"]["data"]["executed"], "unknown");
        }
        assert_eq!(world.count("tools/call"), 1);
        let list = world.take("tools/list");
        world.give(&list, &json!({"tools": []}));
        world.response(2);
    }
}

#[test]
fn t85_a_read_of_the_lost_session_is_repeated_once() {
    let mut world = World::new();
    world.connect("a");
    world.request(1, "resources/read");
    world.request(2, "tools/list");
    let (read, list) = (world.take("resources/read"), world.take("tools/list"));
    world.stream(&read);
    world.lose(&list);
    world.reopen("b");
    world.end(&read);
    let again = world.take("resources/read");
    assert_eq!(again.session(), "b");
    assert_ne!(again.json["id"], read.json["id"], "the old id may be known");
    world.give(&again, &json!({"contents": []}));
    assert_eq!(world.response(1)["result"], json!({"contents": []}));
}

#[test]
fn t86_questions_of_a_lost_session_are_withdrawn() {
    let mut world = World::new();
    let stream = world.connect("a");
    world.event(
        &stream,
        &json!({"jsonrpc": "2.0", "id": 9, "method": "sampling/createMessage", "params": {}}),
    );
    let question = world.lines().remove(0);
    world.request(1, "tools/list");
    let list = world.take("tools/list");
    world.lose(&list);
    let withdrawn = world.lines().remove(0);
    assert_eq!(withdrawn["method"], "notifications/cancelled");
    assert_eq!(withdrawn["params"]["requestId"], question["id"]);
    world.reopen("b");
    let list = world.take("tools/list");
    world.client_says(&json!({"jsonrpc": "2.0", "id": question["id"], "result": {}}));
    assert_eq!(
        world.pending(),
        Vec::<&str>::new(),
        "the late answer was sent"
    );
    world.give(&list, &json!({}));
}

#[test]
fn t86_what_a_lost_session_asks_late_is_not_shown() {
    let mut world = World::new();
    world.connect("a");
    world.request(1, "tools/call");
    let call = world.take("tools/call");
    world.stream(&call);
    world.request(2, "tools/list");
    let list = world.take("tools/list");
    world.lose(&list);
    // Its answer could not be sent.
    let question = json!({"jsonrpc": "2.0", "id": 1, "method": "roots/list"});
    world.event(&call, &question);
    let initialize = world.take("initialize");
    world.event(&call, &question);
    world.give_session(&initialize, "b");
    world.finish_handshake("b");
    world.event(&call, &question);
    assert!(!world.has_line("roots/list"));
    world.event(&call, &call.result(&json!({})));
    assert_eq!(world.response(1)["result"], json!({}));
}

#[test]
fn t86_a_question_of_a_running_call_lives_as_long_as_its_stream() {
    let mut world = World::new();
    world.connect("a");
    world.request(1, "tools/call");
    let call = world.take("tools/call");
    world.stream(&call);
    world.event(
        &call,
        &json!({"jsonrpc": "2.0", "id": 9, "method": "elicitation/create", "params": {}}),
    );
    let question = world.lines().remove(0);
    world.request(2, "tools/list");
    let list = world.take("tools/list");
    world.lose(&list);
    world.reopen("b");
    let told = world.lines();
    assert!(
        told.iter()
            .all(|line| line["method"] != "notifications/cancelled")
    );
    world.end(&call);
    let told = world.lines();
    let withdrawn = told
        .iter()
        .find(|line| line["method"] == "notifications/cancelled");
    assert_eq!(withdrawn.unwrap()["params"]["requestId"], question["id"]);
}

/// Opens sessions for whoever asks, and refuses every request in them.
fn forgets_at_once(world: &mut World, posted: &Posted) {
    match posted.key() {
        "initialize" => world.give_session(posted, "s"),
        "notifications/initialized" => world.accept(posted),
        "GET" => world.answer(posted, 405, &[], ""),
        _ => world.lose(posted),
    }
}

#[test]
fn t87_a_server_that_forgets_at_once_makes_no_storm() {
    let mut world = World::new();
    world.connect("a");
    for id in 1..=20 {
        world.request(id, "tools/call");
        world.play(forgets_at_once);
        let answer = world.response(id);
        assert_eq!(answer["error"]["data"]["kind"], "session-lost");
        assert_eq!(answer["error"]["data"]["executed"], "no");
    }
    assert_eq!(world.count("initialize"), 1 + 3);
    assert_eq!(world.count("tools/call"), 1 + 3 + 19);
    world.seconds(29);
    world.request(21, "tools/call");
    let call = world.take("tools/call");
    world.lose(&call);
    world.response(21);
    assert_eq!(world.pending(), Vec::<&str>::new());
    world.seconds(2);
    world.request(22, "tools/call");
    let call = world.take("tools/call");
    world.lose(&call);
    world.reopen("b");
    let call = world.take("tools/call");
    world.give(&call, &json!({}));
    assert!(world.response(22).get("result").is_some());
}

#[test]
fn t87_a_server_that_refuses_initialized_in_every_session_makes_no_storm() {
    let mut world = World::new();
    world.initialize();
    let mut refuses = |world: &mut World, posted: &Posted| match posted.key() {
        "initialize" => world.give_session(posted, "s"),
        _ => world.lose(posted),
    };
    world.play(&mut refuses);
    world.response("init");
    world.initialized();
    for id in 1..=5 {
        world.request(id, "tools/call");
        world.client_says(&json!({"jsonrpc": "2.0", "method": "notifications/progress"}));
        world.play(&mut refuses);
        assert_eq!(world.response(id)["error"]["data"]["executed"], "no");
    }
    assert_eq!(world.count("initialize"), 1 + 3);
}

#[test]
fn t87_on_http_sse_too() {
    let mut world = World::sse();
    world.connect_sse("/m?sid=a");
    world.request(1, "tools/call");
    let mut number = 0;
    let mut forgets = |world: &mut World, posted: &Posted| match posted.key() {
        "GET" => {
            number += 1;
            world.stream(posted);
            world.endpoint(posted, &format!("/m?sid={number}"));
        }
        // On this transport the answer may stand in the POST's own body.
        "initialize" => world.give_session(posted, "ignored"),
        "notifications/initialized" => world.accept(posted),
        _ => world.answer(posted, 404, &[], "Could not find session"),
    };
    world.play(&mut forgets);
    assert_eq!(world.response(1)["error"]["data"]["kind"], "session-lost");
    assert_eq!(world.count("initialize"), 1 + 3);
    world.seconds(300);
    assert_eq!(world.pending(), Vec::<&str>::new());
    assert_eq!(world.unanswered(), 0);
}

#[test]
fn t87_a_server_that_refuses_what_is_restored_is_used_without_it() {
    let (mut world, _stream) = furnished();
    world.request(3, "tools/list");
    let list = world.take("tools/list");
    world.lose(&list);
    world.play(|world, posted| match posted.key() {
        "logging/setLevel" | "resources/subscribe" => world.lose(posted),
        "tools/list" => world.give(posted, &json!({})),
        _ => forgets_at_once(world, posted),
    });
    assert!(world.response(3).get("result").is_some());
    assert_eq!(world.count("initialize"), 1 + 3);
}

#[test]
fn a_request_that_no_session_survives_is_given_up_while_others_go_on() {
    let mut world = World::new();
    world.connect("a");
    for round in 0..5 {
        let id = round * 2 + 1;
        world.request_with(id, "tools/call", &json!({"name": "poison"}));
        world.request_with(id + 1, "tools/call", &json!({"name": "fine"}));
        world.play(
            |world, posted| match posted.json["params"]["name"].as_str() {
                Some("poison") => world.answer(posted, 404, &[], "no such thing"),
                Some(_) => world.give(posted, &json!({})),
                None => forgets_at_once(world, posted),
            },
        );
        let answer = world.response(id);
        assert_eq!(answer["error"]["data"]["executed"], "no", "{answer}");
        assert!(world.response(id + 1).get("result").is_some());
    }
    assert!(world.count("initialize") <= 1 + 5 * 4);
}

#[test]
fn a_request_that_no_session_survives_is_given_up_even_if_every_session_helps_others() {
    let mut world = World::new();
    world.connect("a");
    world.request_with(1, "tools/call", &json!({"name": "poison"}));
    for id in 100..120 {
        if world.is_answered(1) {
            break;
        }
        let poison = world.take("tools/call");
        world.request(id, "tools/list");
        let list = world.take("tools/list");
        world.give(&list, &json!({}));
        world.answer(&poison, 404, &[], "no such thing");
        if world.pending() == ["initialize"] {
            world.reopen("b");
        }
    }
    let error = world.response(1)["error"].clone();
    assert_eq!(error["data"]["kind"], "session-lost");
    assert_eq!(error["data"]["executed"], "no");
    assert_eq!(world.count("initialize"), 1 + 3);
}

#[test]
fn the_rest_is_over_as_soon_as_a_session_helps() {
    let mut world = World::new();
    world.connect("a");
    world.request(1, "tools/call");
    world.play(forgets_at_once);
    world.request(2, "tools/call");
    world.play(forgets_at_once);
    assert!(world.response(2).get("error").is_some());
    world.request(3, "tools/call");
    let call = world.take("tools/call");
    world.give(&call, &json!({}));
    world.request(4, "tools/call");
    let call = world.take("tools/call");
    world.lose(&call);
    world.reopen("b");
    let call = world.take("tools/call");
    world.give(&call, &json!({}));
    assert!(world.response(4).get("result").is_some());
}

#[test]
fn a_server_that_forgets_every_second_call_answers_a_hundred() {
    let mut world = World::new();
    world.connect("s");
    let mut calls = 0;
    for id in 1..=100 {
        world.request(id, "tools/call");
        world.play(|world, posted| {
            if posted.key() != "tools/call" {
                calls = if posted.key() == "initialize" {
                    0
                } else {
                    calls
                };
                return forgets_at_once(world, posted);
            }
            calls += 1;
            if calls > 1 {
                world.lose(posted);
            } else {
                world.give(posted, &json!({}));
            }
        });
        assert!(world.response(id).get("result").is_some());
    }
    assert_eq!(world.count("initialize"), 100);
}

#[test]
fn a_server_that_forgets_every_third_call_answers_forty_at_once() {
    let mut world = World::new();
    world.connect("s");
    for id in 1..=40 {
        world.request(id, "tools/call");
    }
    let (mut session, mut calls) = (0, 0);
    world.play(|world, posted| match posted.key() {
        "initialize" => {
            (session, calls) = (session + 1, 0);
            world.give_session(posted, &format!("s{session}"));
        }
        "tools/call" if posted.session() == "s" || posted.session() == format!("s{session}") => {
            calls += 1;
            if calls > 2 {
                world.lose(posted);
            } else {
                world.give(posted, &json!({}));
            }
        }
        "tools/call" => world.lose(posted),
        _ => forgets_at_once(world, posted),
    });
    assert_eq!(world.unanswered(), 0);
    for id in 1..=40 {
        let answer = world.response(id);
        assert!(answer.get("result").is_some(), "{answer}");
    }
    assert_eq!(session, 19);
}

#[test]
fn two_back_ends_without_stickiness_make_no_storm() {
    // Every exchange goes to the other back end; each knows only its own sessions.
    for seed in 0..20_u64 {
        let mut world = World::new();
        let mut state = seed * 0x9e37_79b9 + 1;
        let mut coin = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state & 1 == 0
        };
        let mut opened = 0;
        let mut answered = 0;
        world.initialize();
        let mut server = |world: &mut World, posted: &Posted| {
            let here = if coin() { "x" } else { "y" };
            if posted.key() == "initialize" {
                opened += 1;
                return world.give_session(posted, &format!("{here}{opened}"));
            }
            if !posted.session().starts_with(here) {
                return world.lose(posted);
            }
            match posted.key() {
                "GET" => world.answer(posted, 405, &[], ""),
                "tools/call" => world.give(posted, &json!({})),
                _ => world.accept(posted),
            }
        };
        world.play(&mut server);
        world.initialized();
        world.play(&mut server);
        for id in 1..=50 {
            world.request(id, "tools/call");
            world.play(&mut server);
            let answer = world.response(id);
            if answer.get("result").is_some() {
                answered += 1;
            } else {
                assert_eq!(answer["error"]["data"]["kind"], "session-lost", "{answer}");
                assert_eq!(answer["error"]["data"]["executed"], "no");
            }
        }
        assert!(answered > 12, "{answered} of 50 with seed {seed}");
        assert!(opened <= 4 * 51, "{opened} sessions for 50 calls");
    }
}

#[test]
fn t88_an_unknown_method_is_no_lost_session() {
    let mut world = World::new();
    world.connect("a");
    world.request(1, "tools/call");
    let call = world.take("tools/call");
    let error = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "Method not found"}});
    world.answer(&call, 404, &[], error.to_string());
    assert_eq!(world.response(1), error);
    assert_eq!(world.pending(), Vec::<&str>::new());
}

#[test]
fn t90_the_version_header_follows_a_new_session() {
    let mut world = World::new();
    world.connect("a");
    world.request(1, "tools/list");
    let list = world.take("tools/list");
    assert_eq!(list.header("mcp-protocol-version"), Some("2025-11-25"));
    world.lose(&list);
    let initialize = world.take("initialize");
    let answer = initialize.result(&super::world::initialize_result("2025-06-18"));
    world.answer(
        &initialize,
        200,
        &[("mcp-session-id", "b")],
        answer.to_string(),
    );
    let stream = world.finish_handshake("b");
    assert_eq!(stream.header("mcp-protocol-version"), Some("2025-06-18"));
    let list = world.take("tools/list");
    assert_eq!(list.header("mcp-protocol-version"), Some("2025-06-18"));
    world.give(&list, &json!({}));
    let told = world.lines();
    assert!(
        told.iter()
            .all(|line| !line.to_string().contains("2025-06-18"))
    );
}

/// MCP 2025-11-25, Transports, Protocol Version Header.
#[test]
fn a_server_that_refuses_the_version_later_gets_the_one_it_names() {
    let mut world = World::new();
    world.connect("a");
    world.request(1, "tools/list");
    let list = world.take("tools/list");
    let text = "Bad Request: Unsupported protocol version (supported versions: 2025-06-18)";
    world.answer(&list, 400, &[], text);
    let initialize = world.take("initialize");
    assert_eq!(initialize.json["params"]["protocolVersion"], "2025-06-18");
    let answer = initialize.result(&super::world::initialize_result("2025-06-18"));
    world.answer(
        &initialize,
        200,
        &[("mcp-session-id", "b")],
        answer.to_string(),
    );
    world.finish_handshake("b");
    let list = world.take("tools/list");
    assert_eq!(list.header("mcp-protocol-version"), Some("2025-06-18"));
    world.give(&list, &json!({}));
    assert_eq!(world.response(1)["result"], json!({}));
}

/// Some servers turn every error into an HTTP status.
#[test]
fn an_error_that_comes_as_404_in_every_session_is_the_answer() {
    let mut world = World::new();
    world.connect("a");
    world.request(1, "resources/read");
    let error = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32002, "message": "Resource not found"}});
    let read = world.take("resources/read");
    world.answer(&read, 404, &[], error.to_string());
    world.reopen("b");
    let read = world.take("resources/read");
    world.answer(&read, 404, &[], error.to_string());
    assert_eq!(world.response(1), error);
    assert_eq!(world.pending(), Vec::<&str>::new());
}

#[test]
fn t91_a_server_that_is_away_for_three_seconds() {
    let mut world = World::new();
    let stream = world.connect("a");
    world.end(&stream);
    world.request(1, "tools/call");
    let mut away = true;
    let server = |away: bool, world: &mut World, posted: &Posted| {
        if away {
            world.refuse_connection(posted);
        } else if posted.key() == "tools/call" && posted.session() == "b" {
            world.give(posted, &json!({}));
        } else if posted.key() == "initialize" {
            world.give_session(posted, "b");
        } else {
            forgets_at_once(world, posted);
        }
    };
    for _ in 0..60 {
        world.play(|world, posted| server(away, world, posted));
        world.advance(Duration::from_millis(100));
        if world.is_answered(1) {
            break;
        }
        away &= world.count("tools/call") < 3;
    }
    assert!(world.response(1).get("result").is_some());
    assert_eq!(world.count("initialize"), 2);
}

#[test]
fn a_failed_reopening_answers_what_waits_and_is_tried_again_with_the_next_request() {
    let mut world = World::new();
    world.connect("a");
    for id in 1..=3 {
        world.request(id, "tools/call");
    }
    for _ in 1..=3 {
        let call = world.take("tools/call");
        world.lose(&call);
    }
    let initialize = world.take("initialize");
    world.answer(&initialize, 500, &[], "no database");
    for id in 1..=3 {
        let error = world.response(id)["error"].clone();
        assert_eq!(error["data"]["executed"], "no", "{error}");
        assert_eq!(error["data"]["status"], 500);
        assert!(
            error["message"].as_str().unwrap().contains("no database"),
            "{error}"
        );
    }
    world.seconds(300);
    assert_eq!(
        world.pending(),
        Vec::<&str>::new(),
        "tried without being asked"
    );
    world.request(4, "tools/call");
    world.reopen("b");
    let call = world.take("tools/call");
    world.give(&call, &json!({}));
    assert!(world.response(4).get("result").is_some());
}

#[test]
fn a_reopening_that_never_answers_is_given_up_after_a_minute() {
    let mut world = World::new();
    world.connect("a");
    world.request(1, "tools/call");
    let call = world.take("tools/call");
    world.lose(&call);
    world.take("initialize");
    world.request(2, "tools/call");
    world.seconds(59);
    assert_eq!(world.unanswered(), 2);
    world.seconds(2);
    for id in [1, 2] {
        let error = world.response(id)["error"].clone();
        assert_eq!(error["data"]["kind"], "timeout");
        assert_eq!(error["data"]["executed"], "no", "{error}");
    }
}

#[test]
fn a_session_lost_with_the_barrier_up_is_reopened() {
    let mut world = World::new();
    world.initialize();
    let initialize = world.take("initialize");
    world.give_session(&initialize, "a");
    world.response("init");
    world.initialized();
    world.request(1, "tools/list");
    let initialized = world.take("notifications/initialized");
    world.lose(&initialized);
    world.reopen("b");
    let list = world.take("tools/list");
    world.give(&list, &json!({}));
    world.response(1);
}

#[test]
fn a_late_answer_to_the_old_initialized_does_not_open_the_new_session() {
    let mut world = World::sse();
    world.initialize();
    let stream = world.reopen_sse("/m?sid=a");
    world.response("init");
    world.initialized();
    let old = world.take("notifications/initialized");
    world.end(&stream);
    world.seconds(2);
    world.reopen_sse("/m?sid=b");
    let new = world.take("notifications/initialized");
    world.request(1, "tools/list");
    world.accept(&old);
    assert_eq!(world.pending(), Vec::<&str>::new());
    world.accept(&new);
    assert_eq!(world.pending(), ["tools/list"]);
}

#[test]
fn initialized_that_comes_while_the_stream_is_gone_is_not_lost() {
    let mut world = World::sse();
    world.initialize();
    let stream = world.reopen_sse("/m?sid=a");
    world.response("init");
    world.event(
        &stream,
        &json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}),
    );
    assert_eq!(world.lines(), Vec::<Value>::new(), "told before its time");
    world.end(&stream);
    world.initialized();
    world.seconds(2);
    world.reopen_sse("/m?sid=b");
    let initialized = world.take("notifications/initialized");
    assert!(initialized.request.url.as_str().ends_with("sid=b"));
    world.accept(&initialized);
    let told = world.lines();
    assert_eq!(told[0]["method"], "notifications/tools/list_changed");
}

#[test]
fn a_cut_stream_is_tried_again_ever_more_slowly() {
    let mut world = World::sse();
    let stream = world.connect_sse("/m?sid=a");
    world.end(&stream);
    let server = |world: &mut World, posted: &Posted| match posted.key() {
        "GET" => {
            world.stream(posted);
            world.endpoint(posted, "/m?sid=b");
        }
        "initialize" => world.give_session(posted, "ignored"),
        "notifications/initialized" => {
            world.accept(posted);
        }
        key => panic!("{key}"),
    };
    // Each new stream is cut as soon as it stands.
    let mut opened = Vec::new();
    for tenth in 0..6000 {
        world.advance(Duration::from_millis(100));
        if world.pending() == ["GET"] {
            let stream = world.take("GET");
            server(&mut world, &stream);
            world.play(server);
            world.end(&stream);
            opened.push(tenth);
        }
    }
    assert!((18..=30).contains(&opened.len()), "{opened:?}");
    assert!(opened[0] <= 12, "{opened:?}");
}

#[test]
fn a_stream_that_lived_a_minute_is_back_within_seconds() {
    let mut world = World::sse();
    let mut stream = world.connect_sse("/m?sid=a");
    for _ in 0..10 {
        world.seconds(61);
        world.end(&stream);
        world.seconds(2);
        stream = world.reopen_sse("/m?sid=b");
        let initialized = world.take("notifications/initialized");
        world.accept(&initialized);
    }
    assert_eq!(world.count("GET"), 11);
}

#[test]
fn a_stream_that_asks_for_quick_returns_does_not_spin() {
    let mut world = World::sse();
    let stream = world.connect_sse("/m?sid=a");
    world.events(&stream, None, None, Some(0), "");
    world.end(&stream);
    world.seconds_with(60, |world, posted| match posted.key() {
        "GET" => {
            world.stream(posted);
            world.events(posted, None, None, Some(0), "");
            world.end(posted);
        }
        key => panic!("{key}"),
    });
    assert!(world.count("GET") <= 2 + 60, "{}", world.count("GET"));
}

#[test]
fn calls_in_flight_on_a_cut_stream() {
    let mut world = World::sse();
    let stream = world.connect_sse("/m?sid=a");
    world.request(1, "tools/call");
    world.request(2, "tools/list");
    world.request(3, "tools/call");
    let (call, list) = (world.take("tools/call"), world.take("tools/list"));
    let unaccepted = world.take("tools/call");
    world.accept(&call);
    world.accept(&list);
    world.end(&stream);
    let error = world.response(1)["error"].clone();
    assert_eq!(error["data"]["kind"], "session-lost");
    assert_eq!(error["data"]["executed"], "unknown");
    // A POST whose answer is late belongs to the lost stream as well.
    world.accept(&unaccepted);
    assert_eq!(world.response(3)["error"]["data"]["executed"], "unknown");
    let stream = world.reopen_sse("/m?sid=b");
    let initialized = world.take("notifications/initialized");
    world.accept(&initialized);
    let again = world.take("tools/list");
    assert_ne!(again.json["id"], list.json["id"]);
    world.accept(&again);
    let answer = again.result(&json!({"tools": []}));
    world.event(&stream, &answer);
    assert_eq!(world.response(2)["result"], json!({"tools": []}));
    assert_eq!(world.count("tools/call"), 2);
}

#[test]
fn a_post_accepted_between_the_streams_does_not_wait_for_ever() {
    let mut world = World::sse();
    let stream = world.connect_sse("/m?sid=a");
    world.request(1, "tools/call");
    let call = world.take("tools/call");
    world.end(&stream);
    world.accept(&call);
    assert_eq!(world.response(1)["error"]["data"]["kind"], "session-lost");
}

#[test]
fn a_deploy_does_not_make_a_zombie() {
    let mut world = World::sse();
    let stream = world.connect_sse("/m?sid=a");
    world.end(&stream);
    world.seconds_with(600, |world, posted| {
        assert_eq!(posted.key(), "GET");
        world.answer(posted, 503, &[], "deploying");
    });
    let tries = world.count("GET");
    assert!((20..=150).contains(&tries), "{tries} in ten minutes");
    let warnings = world
        .said
        .iter()
        .filter(|(level, _)| *level > Level::Debug)
        .count();
    assert!(warnings < 60, "{:#?}", world.said);
    world.request(1, "tools/call");
    world.seconds_with(60, |world, posted| {
        world.answer(posted, 503, &[], "deploying");
    });
    assert_eq!(world.response(1)["error"]["data"]["executed"], "no");
    // It is back, and nobody asks for anything.
    let before = world.count("notifications/initialized");
    world.seconds_with(60, |world, posted| match posted.key() {
        "GET" => {
            world.stream(posted);
            world.endpoint(posted, "/m?sid=b");
        }
        "initialize" => world.give_session(posted, "ignored"),
        "notifications/initialized" => world.accept(posted),
        key => panic!("{key}"),
    });
    assert_eq!(world.count("notifications/initialized"), before + 1);
    let told = world.lines();
    assert_eq!(
        told.iter()
            .filter(|line| line["method"] == "notifications/tools/list_changed")
            .count(),
        1
    );
}

#[test]
fn the_servers_own_stream_finds_a_restarted_server() {
    let mut world = World::new();
    let stream = world.connect("a");
    world.lines();
    world.end(&stream);
    world.seconds(2);
    let stream = world.take("GET");
    world.lose(&stream);
    world.reopen("b");
    assert_eq!(
        world.lines()[0]["method"],
        "notifications/tools/list_changed"
    );
}

#[test]
fn a_get_that_was_never_offered_loses_no_session() {
    for (status, text) in [
        (404, "Session not found"),
        (400, "Missing session ID"),
        (404, ""),
        (405, ""),
        (406, ""),
        (501, ""),
    ] {
        let mut world = World::new();
        world.initialize();
        let initialize = world.take("initialize");
        world.give_session(&initialize, "a");
        world.initialized();
        let initialized = world.take("notifications/initialized");
        world.accept(&initialized);
        let stream = world.take("GET");
        world.answer(&stream, status, &[], text);
        world.seconds(300);
        assert_eq!(world.count("initialize"), 1, "{status} {text}");
        assert_eq!(world.count("GET"), 1, "{status} {text}");
    }
}

#[test]
fn a_get_stream_that_is_withdrawn_takes_its_answers_along() {
    let mut world = World::new();
    let stream = world.connect("a");
    world.request(1, "tools/call");
    let call = world.take("tools/call");
    world.accept(&call);
    world.events(&stream, None, Some("e1"), None, "");
    world.end(&stream);
    world.seconds(2);
    let stream = world.take("GET");
    assert_eq!(stream.header("last-event-id"), Some("e1"));
    assert!(!world.is_answered(1));
    world.answer(&stream, 405, &[], "");
    assert_eq!(world.response(1)["error"]["data"]["executed"], "unknown");
}

#[test]
fn a_resumption_that_finds_the_session_gone_reopens_it() {
    let mut world = World::new();
    world.connect("a");
    world.request(1, "tools/call");
    let call = world.take("tools/call");
    world.stream(&call);
    world.events(&call, None, Some("e1"), None, "");
    world.end(&call);
    world.seconds(2);
    let resumption = world.take("GET");
    assert_eq!(resumption.header("last-event-id"), Some("e1"));
    world.lose(&resumption);
    let error = world.response(1)["error"].clone();
    assert_eq!(error["data"]["kind"], "session-lost");
    assert_eq!(error["data"]["executed"], "unknown");
    world.reopen("b");
    assert_eq!(world.count("tools/call"), 1);
}

#[test]
fn a_ping_heals_the_session_before_the_next_call() {
    let mut world = World::with(|settings| {
        settings.ping_interval = Some(Duration::from_secs(30));
    });
    world.connect("a");
    world.seconds(31);
    let ping = world.take("ping");
    assert_eq!(ping.session(), "a");
    world.give(&ping, &json!({}));
    world.seconds(30);
    let ping = world.take("ping");
    world.lose(&ping);
    world.reopen("b");
    world.request(1, "tools/call");
    let call = world.take("tools/call");
    assert_eq!(call.session(), "b");
    world.give(&call, &json!({}));
    world.response(1);
    assert_eq!(world.count("initialize"), 2);
    world.lines();
    assert_eq!(world.unanswered(), 0);
}

#[test]
fn pings_go_on_after_one_that_was_never_answered() {
    let mut world = World::sse();
    let mut world_ping = World::with(|settings| {
        settings.strategy = crate::proto::transport::Strategy::SseOnly;
        settings.ping_interval = Some(Duration::from_secs(30));
    });
    std::mem::swap(&mut world, &mut world_ping);
    let stream = world.connect_sse("/m?sid=a");
    world.seconds(31);
    let ping = world.take("ping");
    world.accept(&ping);
    world.seconds(30);
    let ping = world.take("ping");
    world.accept(&ping);
    world.end(&stream);
    world.seconds(2);
    world.reopen_sse("/m?sid=b");
    let initialized = world.take("notifications/initialized");
    world.accept(&initialized);
    world.seconds(30);
    world.take("ping");
    // One that is still on its way is not joined by another.
    world.seconds(60);
    assert_eq!(world.pending(), Vec::<&str>::new());
}

#[test]
fn a_second_initialize_leaves_the_first_session() {
    let mut world = World::new();
    let stream = world.connect("a");
    world.request_with(1, "resources/subscribe", &json!({"uri": "u"}));
    let subscribe = world.take("resources/subscribe");
    world.give(&subscribe, &json!({}));
    world.request(2, "tools/call");
    let call = world.take("tools/call");
    world.initialize_as("again");
    assert!(!world.is_running(&stream));
    let delete = world.take("DELETE");
    assert_eq!(delete.session(), "a");
    let initialize = world.take("initialize");
    assert_eq!(initialize.session(), "");
    world.give_session(&initialize, "b");
    world.response("again");
    world.give(&call, &json!({}));
    assert!(world.response(2).get("result").is_some());
    world.initialized();
    world.finish_handshake("b");
    // What the client set up before is its own business now.
    world.request(3, "tools/list");
    let list = world.take("tools/list");
    world.lose(&list);
    world.reopen("c");
    assert_eq!(world.pending(), ["tools/list"]);
}

#[test]
fn a_second_initialize_takes_over_from_a_reopening() {
    let mut world = World::new();
    world.connect("a");
    world.request(1, "tools/list");
    let list = world.take("tools/list");
    world.lose(&list);
    let reopening = world.take("initialize");
    world.initialize_as("again");
    assert!(!world.is_running(&reopening));
    let initialize = world.take("initialize");
    world.give_session(&initialize, "b");
    assert!(world.response("again").get("result").is_some());
    world.initialized();
    let list = world.take("tools/list");
    assert_eq!(list.session(), "b");
    world.give(&list, &json!({}));
    world.response(1);
}

#[test]
fn a_client_that_never_says_initialized_is_served() {
    let mut world = World::new();
    world.initialize();
    let initialize = world.take("initialize");
    world.give_session(&initialize, "a");
    world.request(1, "tools/list");
    let list = world.take("tools/list");
    world.lose(&list);
    let initialize = world.take("initialize");
    world.give_session(&initialize, "b");
    let list = world.take("tools/list");
    assert_eq!(list.session(), "b");
    world.give(&list, &json!({}));
    world.response(1);
    assert_eq!(world.count("notifications/initialized"), 0);
    assert_eq!(world.count("GET"), 0);
}

#[test]
fn messages_before_initialized_are_held() {
    let mut world = World::sse();
    world.initialize();
    let stream = world.reopen_sse("/m?sid=a");
    world.response("init");
    for message in [
        json!({"jsonrpc": "2.0", "method": "notifications/resources/list_changed"}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "roots/list"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "ping"}),
        json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1}}),
    ] {
        world.event(&stream, &message);
    }
    let early: Vec<Value> = world.lines();
    let methods = |lines: &[Value]| -> Vec<String> {
        let names = lines.iter().map(|line| line["method"].as_str().unwrap());
        names.map(str::to_owned).collect()
    };
    assert_eq!(methods(&early), ["ping", "notifications/message"]);
    world.initialized();
    let initialized = world.take("notifications/initialized");
    world.accept(&initialized);
    assert_eq!(
        methods(&world.lines()),
        ["notifications/resources/list_changed", "roots/list"]
    );
}

#[test]
fn what_may_have_run_is_not_said_to_have_not() {
    // The list was cut once (so it may have run), repeated, and then refused with its session.
    let mut world = World::new();
    world.connect("a");
    world.request(1, "tools/list");
    let list = world.take("tools/list");
    world.fail(&list, TroubleKind::Broken, true, "reset");
    world.seconds(2);
    let list = world.take("tools/list");
    world.lose(&list);
    let initialize = world.take("initialize");
    world.answer(&initialize, 500, &[], "");
    assert_eq!(world.response(1)["error"]["data"]["executed"], "unknown");
}

#[test]
fn g08_an_endpoint_that_moves_to_another_origin_later_is_not_followed() {
    let mut world = World::sse();
    let stream = world.connect_sse("/m?sid=1");
    world.request(1, "tools/call");
    let call = world.take("tools/call");
    world.accept(&call);
    world.endpoint(&stream, "https://elsewhere.example/m");
    assert!(world.is_running(&stream));
    world.request(2, "tools/list");
    let list = world.take("tools/list");
    assert_eq!(list.request.url.path(), "/m");
    assert_eq!(list.request.url.host_str(), call.request.url.host_str());
    world.accept(&list);
    for posted in [&call, &list] {
        world.event(&stream, &posted.result(&json!({})));
    }
    assert_eq!(world.response(1)["result"], json!({}));
    assert_eq!(world.response(2)["result"], json!({}));
}
