//! First contact in either era, where something goes wrong on the way: refusals, streams as answers,
//! people who sign in, memory that is wrong, both eras on one pipe.

use std::time::Duration;

use serde_json::{Value, json};

use super::eras::{discovered, error, unsupported};
use super::world::{Posted, World, head, initialize_result};
use crate::proto::bridge::{Credentials, Protocol};
use crate::proto::era::Era;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::transport::Transport;
use crate::proto::{Input, Prompt, Remembered};

/// A server that was modern at an earlier start, and that is to be asked again.
fn recalling_modern() -> World {
    recalling_modern_with(Credentials::Given)
}

fn recalling_modern_with(credentials: Credentials) -> World {
    World::with(|settings| {
        settings.credentials = credentials;
        settings.remembered = Some(remembered());
    })
}

fn remembered() -> Remembered {
    Remembered {
        era: Era::Modern,
        transport: Transport::StreamableHttp,
        discover: Some(discovered().to_string()),
        fresh: Duration::ZERO,
    }
}

fn prompt(opened: bool) -> Input {
    Input::SignInNeeded(Prompt {
        url: "https://login.example/x".to_owned(),
        instruction: None,
        opened,
    })
}

/// An `initialize` of the client that `World::modern_request` speaks for, with its words.
fn initialize_like_modern(world: &mut World, id: &str) {
    world.client_says(
        &json!({"jsonrpc": "2.0", "id": id, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {"roots": {}, "sampling": {}, "elicitation": {"form": {}, "url": {}}},
        "clientInfo": {"name": "c", "version": "3"}}}),
    );
}

/// Where this answer stands among the lines.
fn position(lines: &[Value], id: impl Into<Value>) -> Option<usize> {
    let id = id.into();
    lines
        .iter()
        .position(|line| line.get("method").is_none() && line["id"] == id)
}

#[test]
fn another_revision_of_initialize_is_asked_for_once_though_the_refusal_was_a_stream() {
    let mut world = World::new();
    world.initialize();
    let refused = world.take("initialize");
    world.stream(&refused);
    let data = json!({"supported": ["2025-03-26"], "requested": "2025-11-25"});
    let refusal = json!({"jsonrpc": "2.0", "id": "init", "error":
        {"code": -32602, "message": "Unsupported protocol version", "data": data}});
    world.event(&refused, &refusal);
    let again = world.take("initialize");
    assert_eq!(again.json["params"]["protocolVersion"], "2025-03-26");
    // The end of the old stream says nothing about the new request.
    world.end(&refused);
    assert!(world.is_running(&again));
    assert_eq!(world.pending(), Vec::<&str>::new());
    world.give_session(&again, "a");
    world.response("init");
    assert_eq!(world.count("initialize"), 2);
}

#[test]
fn a_probe_that_is_repeated_leaves_no_stream_behind() {
    let mut world = World::new();
    world.modern_request(0, "server/discover", &json!({}));
    let probe = world.take("server/discover");
    world.stream(&probe);
    let refusal = json!({"jsonrpc": "2.0", "id": probe.json["id"], "error":
        {"code": -32020, "message": "Header mismatch"}});
    world.event(&probe, &refusal);
    let again = world.take("server/discover");
    world.give(&again, &discovered());
    world.response(0);
    world.seconds(120);
    assert!(!world.is_running(&probe));
}

#[test]
fn what_a_busy_server_says_of_a_probe_is_no_evidence() {
    for status in [429, 503] {
        let mut world = World::new();
        world.modern_request(0, "server/discover", &json!({}));
        let probe = world.take("server/discover");
        let body = error(&probe, -32000, "Too many requests");
        world.answer(&probe, status, &[("retry-after", "1")], body);
        assert_eq!(world.pending(), Vec::<&str>::new(), "{status}");
        world.seconds(1);
        let probe = world.take("server/discover");
        world.give(&probe, &discovered());
        assert_eq!(world.count("initialize"), 0);
        assert_eq!(world.response(0)["result"]["ttlMs"], 0);
    }
}

#[test]
fn a_refused_or_busy_look_says_nothing_of_the_era() {
    for status in [401, 403, 429, 503] {
        let mut world = recalling_modern();
        world.initialize();
        world.response("init");
        let look = world.take("server/discover");
        let body = error(&look, -32000, "Unauthorized");
        world.answer(&look, status, &[], body);
        assert_eq!(world.count("initialize"), 0, "{status}");
        assert!(!world.remembered.contains(&None), "{status}");
    }
}

#[test]
fn what_is_remembered_is_confirmed_after_the_sign_in() {
    let mut world = recalling_modern_with(Credentials::SignIn);
    world.initialize();
    world.response("init");
    world.initialized();
    let look = world.take("server/discover");
    world.answer(&look, 401, &[("www-authenticate", "Bearer")], "");
    world.client_says(
        &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x"}}),
    );
    world.play(|world, posted| world.answer(posted, 401, &[("www-authenticate", "Bearer")], ""));
    assert_eq!(world.authorizations(), 1);
    world.feed(Input::Authorized(Ok(())));
    // A legacy server would run the call.
    assert_eq!(world.pending().first(), Some(&"server/discover"));
    assert!(!world.pending().contains(&"tools/call"));
    let look = world.take("server/discover");
    world.answer(&look, 404, &[], error(&look, -32601, "Method not found"));
    let posted = world.take("initialize");
    world.give_session(&posted, "a");
    world.finish_handshake("a");
    let posted = world.take("tools/call");
    assert_eq!(posted.session(), "a");
    world.give(&posted, &json!({"content": []}));
    assert_eq!(world.response(1)["result"], json!({"content": []}));
}

#[test]
fn requests_that_come_back_to_a_lost_link_are_answered() {
    let mut world = World::new();
    world.connect_modern();
    world.request(1, "prompts/list");
    world.request(2, "resources/list");
    let first = world.take("prompts/list");
    let second = world.take("resources/list");
    world.answer(&first, 404, &[], "");
    let probe = world.take("server/discover");
    world.answer(&probe, 404, &[], "");
    world.play(|world, posted| world.answer(posted, 404, &[], ""));
    world.response(1);
    // The other one was refused just as well, and nothing is under way any more.
    world.answer(&second, 404, &[], "");
    world.seconds_with(30, |world, posted| world.answer(posted, 404, &[], ""));
    world.response(2);
    assert_eq!(world.unanswered(), 0);
}

#[test]
fn a_modern_server_that_was_away_is_found_though_its_refusal_names_nothing() {
    // Away when the client began.
    let mut world = World::new();
    world.initialize();
    let _silent = world.take("initialize");
    world.seconds(20);
    world.response("init");
    world.initialized();
    world.seconds(41);
    world.seconds_with(60, |world, posted| match posted.key() {
        "initialize" => world.answer(posted, 404, &[], error(posted, -32601, "Method not found")),
        "server/discover" => world.give(posted, &discovered()),
        "GET" => world.answer(posted, 405, &[], ""),
        _ => {}
    });
    assert!(world.has_line("notifications/tools/list_changed"));
    assert_eq!(world.remembered.pop().unwrap().unwrap().era, Era::Modern);
    // Away for a moment later.
    let mut world = World::new();
    world.connect_modern();
    world.request(1, "prompts/list");
    let posted = world.take("prompts/list");
    world.answer(&posted, 404, &[], "");
    world.play(|world, posted| world.answer(posted, 404, &[], ""));
    world.response(1);
    world.seconds(10);
    world.request(2, "prompts/list");
    world.play(|world, posted| match posted.key() {
        "initialize" => world.answer(posted, 404, &[], error(posted, -32601, "Method not found")),
        "server/discover" => world.give(posted, &discovered()),
        "prompts/list" => world.give(posted, &json!({"prompts": [], "resultType": "complete"})),
        "GET" => world.answer(posted, 405, &[], ""),
        _ => {}
    });
    assert_eq!(world.response(2)["result"]["prompts"], json!([]));
}

#[test]
fn a_server_that_is_silent_for_long_is_tried_again_all_the_time() {
    let mut world = World::new();
    world.initialize();
    let _silent = world.take("initialize");
    world.seconds(20);
    world.response("init");
    world.initialized();
    world.seconds(41);
    // Ten minutes without a network.
    world.seconds_with(600, World::refuse_connection);
    // The client has no tools to call, so that only the bridge can find out.
    world.seconds_with(90, |world, posted| match posted.key() {
        "initialize" => world.give_session(posted, "a"),
        "GET" => world.answer(posted, 405, &[], ""),
        _ => world.accept(posted),
    });
    assert!(world.has_line("notifications/tools/list_changed"));
}

#[test]
fn t157_an_initialize_after_a_discovery_is_answered_before_it() {
    for same in [true, false] {
        let mut world = World::new();
        world.modern_request(0, "server/discover", &json!({}));
        let probe = world.take("server/discover");
        world.answer(&probe, 400, &[], error(&probe, -32000, "No session"));
        let opening = world.take("initialize");
        // The client waits for it no longer.
        if same {
            initialize_like_modern(&mut world, "i");
        } else {
            world.initialize_as("i");
        }
        if world.is_running(&opening) {
            world.give_session(&opening, "a");
        }
        world.play(|world, posted| match posted.key() {
            "initialize" => world.give_session(posted, "b"),
            "GET" => world.answer(posted, 405, &[], ""),
            _ => world.accept(posted),
        });
        world.initialized();
        world.play(|world, posted| match posted.key() {
            "GET" => world.answer(posted, 405, &[], ""),
            _ => world.accept(posted),
        });
        let lines = world.lines();
        let (first, second) = (position(&lines, "i"), position(&lines, 0));
        assert!(first.is_some() && second.is_some(), "{lines:#?}");
        assert!(first < second, "{lines:#?}");
        assert_eq!(world.count("initialize"), if same { 1 } else { 2 });
    }
}

#[test]
fn t157_an_initialize_during_a_sign_in_for_a_discovery_is_stood_in_for() {
    for seconds_before in [0, 30] {
        let mut world = World::with(|settings| settings.credentials = Credentials::SignIn);
        world.modern_request(0, "server/discover", &json!({}));
        let probe = world.take("server/discover");
        world.answer(&probe, 401, &[("www-authenticate", "Bearer")], "");
        world.feed(prompt(true));
        world.response(0);
        world.seconds(seconds_before);
        initialize_like_modern(&mut world, "i");
        world.seconds(20);
        let result = world.response("i")["result"].clone();
        let words = result["instructions"].as_str().unwrap();
        assert!(words.contains("https://login.example/x"), "{words}");
        world.initialized();
        // The person is done.
        world.feed(Input::Authorized(Ok(())));
        let probe = world.take("server/discover");
        world.give(&probe, &discovered());
        assert!(world.has_line("notifications/tools/list_changed"));
        assert_eq!(world.unanswered(), 0);
    }
}

#[test]
fn t157_an_initialize_before_a_silent_server_is_stood_in_for() {
    for same in [true, false] {
        let mut world = World::new();
        world.modern_request(0, "server/discover", &json!({}));
        let _probe = world.take("server/discover");
        world.seconds(10);
        assert_eq!(world.count("initialize"), 1);
        if same {
            initialize_like_modern(&mut world, "i");
        } else {
            world.initialize_as("i");
        }
        world.seconds(20);
        world.response("i");
        world.seconds(60);
        assert_eq!(world.unanswered(), 0);
    }
}

#[test]
fn a_second_initialize_ends_what_was_said_in_the_servers_place() {
    let mut world = World::new();
    world.initialize();
    let _silent = world.take("initialize");
    world.seconds(20);
    world.response("init");
    world.initialize_as("again");
    let posted = world.take("initialize");
    world.give_session(&posted, "a");
    assert_eq!(world.response("again")["result"]["serverInfo"]["name"], "s");
    world.initialized();
    world.finish_handshake("a");
    world.request(1, "prompts/list");
    let posted = world.take("prompts/list");
    world.lose(&posted);
    let opening = world.take("initialize");
    // It is the server's to answer.
    world.request(2, "tools/list");
    assert!(!world.is_answered(2));
    world.give_session(&opening, "b");
    world.finish_handshake("b");
    let posted = world.take("tools/list");
    world.give(&posted, &json!({"tools": [{"name": "look"}]}));
    assert_eq!(world.response(2)["result"]["tools"][0]["name"], "look");
}

#[test]
fn a_modern_clients_requests_wait_for_initialized() {
    let mut world = World::new();
    initialize_like_modern(&mut world, "i");
    let posted = world.take("initialize");
    world.give_session(&posted, "a");
    world.response("i");
    // In the middle of the handshake.
    world.modern_request(1, "tools/list", &json!({}));
    assert_eq!(world.count("tools/list"), 0);
    world.play(|world, posted| match posted.key() {
        "GET" => world.answer(posted, 405, &[], ""),
        "tools/list" => world.give(posted, &json!({"tools": []})),
        _ => world.accept(posted),
    });
    world.response(1);
    world.initialized();
    assert_eq!(world.count("notifications/initialized"), 1);
}

#[test]
fn a_call_in_a_session_that_initialize_replaces_still_finishes() {
    let mut world = World::new();
    world.connect_upward("a");
    world.modern_request(1, "tools/call", &json!({"name": "x"}));
    let call = world.take("tools/call");
    world.stream(&call);
    world.initialize_as("i");
    let posted = world.take("initialize");
    world.give_session(&posted, "b");
    world.response("i");
    assert_eq!(world.count("DELETE"), 0);
    world.event(&call, &call.result(&json!({"content": []})));
    world.end(&call);
    assert_eq!(world.response(1)["result"]["resultType"], "complete");
    assert_eq!(world.take("DELETE").session(), "a");
}

#[test]
fn wrong_memory_of_a_modern_server_costs_a_modern_client_one_look() {
    let mut world = recalling_modern();
    world.modern_request(1, "tools/list", &json!({}));
    let look = world.take("server/discover");
    world.answer(&look, 404, &[], error(&look, -32601, "Method not found"));
    let posted = world.take("initialize");
    world.give_session(&posted, "a");
    world.finish_handshake("a");
    let posted = world.take("tools/list");
    world.give(&posted, &json!({"tools": []}));
    world.response(1);
    assert_eq!(world.count("server/discover"), 1);
}

#[test]
fn a_request_may_be_given_up_while_memory_is_confirmed() {
    let mut world = recalling_modern();
    world.initialize();
    world.response("init");
    world.initialized();
    world.request(1, "tools/list");
    world.request(2, "prompts/list");
    world.client_says(
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": {"requestId": 1}}),
    );
    // No answer at all.
    let look = world.take("server/discover");
    world.seconds(10);
    assert!(!world.is_running(&look));
    assert_eq!(world.count("tools/list"), 0);
    assert_eq!(world.count("prompts/list"), 1);
}

#[test]
fn the_session_of_a_refused_probe_is_left_though_the_refusal_was_a_stream() {
    let mut world = World::new();
    world.modern_request(0, "server/discover", &json!({}));
    let probe = world.take("server/discover");
    let answer = head(
        &probe,
        200,
        &[
            ("content-type", "text/event-stream"),
            ("mcp-session-id", "stray"),
        ],
    );
    world.stream_head(&probe, answer);
    let refusal = json!({"jsonrpc": "2.0", "id": probe.json["id"], "error":
        {"code": -32601, "message": "Method not found"}});
    world.event(&probe, &refusal);
    assert_eq!(world.take("DELETE").session(), "stray");
    let posted = world.take("initialize");
    world.answer(
        &posted,
        200,
        &[],
        posted.result(&initialize_result("2025-11-25")).to_string(),
    );
    assert_eq!(
        world
            .take("notifications/initialized")
            .header("mcp-session-id"),
        None
    );
}

#[test]
fn a_server_that_opens_sessions_and_wants_the_modern_era_in_them_is_found_out() {
    for modern in [true, false] {
        let mut world = World::new();
        world.connect("a");
        world.client_says(
            &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x"}}),
        );
        let call = world.take("tools/call");
        world.answer(&call, 400, &[], error(&call, -32020, "Header mismatch"));
        let look = world.take("server/discover");
        assert_eq!(world.pending(), Vec::<&str>::new());
        if modern {
            world.give(&look, &discovered());
            assert_eq!(world.take("DELETE").session(), "a");
            let call = world.take("tools/call");
            assert_eq!(call.header("mcp-protocol-version"), Some("2026-07-28"));
            assert_eq!(call.header("mcp-session-id"), None);
            world.give(&call, &json!({"content": [], "resultType": "complete"}));
            assert_eq!(world.response(1)["result"]["content"], json!([]));
        } else {
            // What it says of the session is no news: the question was asked outside of it.
            let body = error(&look, -32000, "Bad Request: No valid session ID provided");
            world.answer(&look, 400, &[], body);
            let call = world.take("tools/call");
            assert_eq!(call.session(), "a");
            world.answer(&call, 400, &[], error(&call, -32020, "Header mismatch"));
            assert_eq!(world.response(1)["error"]["code"], -32020);
            assert_eq!(world.count("initialize"), 1);
        }
    }
}

/// What a server of this kind does.
fn act(world: &mut World, posted: &Posted, server: &str) {
    match (posted.key(), server) {
        ("GET", _) => world.answer(posted, 405, &[], ""),
        ("initialize", "legacy") => world.give_session(posted, "a"),
        ("initialize", "modern") => world.answer(posted, 400, &[], unsupported(posted)),
        ("server/discover", "modern") => world.give(posted, &discovered()),
        ("server/discover", "legacy") => {
            world.answer(posted, 404, &[], error(posted, -32601, "Method not found"));
        }
        ("tools/list", "legacy" | "modern") => {
            world.give(posted, &json!({"tools": [], "resultType": "complete"}));
        }
        (_, "refusing") => world.answer(posted, 401, &[("www-authenticate", "Bearer")], ""),
        (_, "away") => world.refuse_connection(posted),
        (_, "busy") => world.answer(posted, 503, &[], error(posted, -32000, "later")),
        (_, "silent") => {}
        (_, "streaming") => {
            world.stream(posted);
            world.end(posted);
        }
        _ => world.accept(posted),
    }
}

/// Plays a whole conversation up to the step with this number, with a server of either era and with
/// refusals on the way. Whether there was such a step.
fn up_to(world: &mut World, step: usize, server: &str, client: &str) -> bool {
    let mut steps = 0;
    let mut next = || {
        steps += 1;
        steps <= step
    };
    if !next() {
        return true;
    }
    match client {
        "legacy" => world.initialize(),
        _ => world.modern_request(0, "server/discover", &json!({})),
    }
    for round in 0..12 {
        if !next() {
            return true;
        }
        match (round, client) {
            (1, "both") => world.initialize_as("init"),
            (3, "legacy" | "both") => world.initialized(),
            (4, "legacy" | "both") => world.request(5, "tools/list"),
            (5, "modern" | "both") => world.modern_request(6, "tools/list", &json!({})),
            _ => {}
        }
        if world.pending().is_empty() {
            world.seconds(1);
            continue;
        }
        let key = world
            .pending()
            .first()
            .map(|key| (*key).to_owned())
            .unwrap();
        let posted = world.take(&key);
        act(world, &posted, server);
    }
    false
}

#[test]
fn the_client_may_leave_at_any_moment() {
    let servers = [
        "legacy",
        "modern",
        "refusing",
        "away",
        "busy",
        "silent",
        "streaming",
    ];
    for server in servers {
        for client in ["legacy", "modern", "both"] {
            for recalls in [true, false] {
                for step in 0.. {
                    let mut world = if recalls {
                        recalling_modern_with(Credentials::SignIn)
                    } else {
                        World::with(|settings| settings.credentials = Credentials::SignIn)
                    };
                    let more = up_to(&mut world, step, server, client);
                    world.feed(Input::LocalClosed);
                    world.seconds(10);
                    let left = world.unanswered();
                    assert_eq!(left, 0, "{server} {client} {recalls} {step}");
                    assert!(world.exited, "{server} {client} {recalls} {step}");
                    if !more {
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn every_request_is_answered_in_time_whatever_the_server_does() {
    let servers = [
        "legacy",
        "modern",
        "refusing",
        "away",
        "busy",
        "silent",
        "streaming",
    ];
    for server in servers {
        for client in ["legacy", "modern", "both"] {
            for recalls in [true, false] {
                for denied in [true, false] {
                    let mut world = if recalls {
                        recalling_modern_with(Credentials::SignIn)
                    } else {
                        World::with(|settings| settings.credentials = Credentials::SignIn)
                    };
                    up_to(&mut world, usize::MAX, server, client);
                    for _ in 0..10 {
                        world.feed(Input::Authorized(if denied {
                            let text = "the sign-in was denied";
                            Err(Failure::new(Kind::AuthorizationDenied, Executed::No, text))
                        } else {
                            Ok(())
                        }));
                        world.play(|world, posted| act(world, posted, server));
                    }
                    world.seconds_with(130, |world, posted| act(world, posted, server));
                    let left = world.unanswered();
                    // How long a request may take is the client's to say.
                    let waits = match server {
                        "silent" if recalls => left,
                        _ => 0,
                    };
                    assert!(
                        left <= waits,
                        "{server} {client} {recalls} {denied}: {left}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_the_user_settled_holds_in_every_cell() {
    for server in ["legacy", "modern", "busy", "streaming"] {
        for client in ["legacy", "modern", "both"] {
            for recalls in [true, false] {
                for (protocol, never) in [
                    (Protocol::Legacy, "server/discover"),
                    (Protocol::Modern, "initialize"),
                ] {
                    let mut world = World::with(|settings| {
                        settings.protocol = protocol;
                        if recalls {
                            settings.remembered = Some(remembered());
                        }
                    });
                    up_to(&mut world, usize::MAX, server, client);
                    world.seconds(30);
                    // A modern client's own request may reach a modern server.
                    let count = world.count(never);
                    assert_eq!(count, 0, "{server} {client} {recalls} {protocol:?}");
                }
            }
        }
    }
}

#[test]
fn a_modern_client_finds_a_server_that_comes_back() {
    let mut world = World::new();
    world.modern_request(0, "server/discover", &json!({}));
    world.seconds_with(15, World::refuse_connection);
    assert_eq!(world.response(0)["error"]["data"]["kind"], "connect");
    world.modern_request(1, "server/discover", &json!({}));
    let probe = world.take("server/discover");
    world.give(&probe, &discovered());
    assert_eq!(world.response(1)["result"]["ttlMs"], 0);
    // One that is silent is stood in for after twenty seconds, and given up after a minute.
    let mut world = World::new();
    world.modern_request(0, "server/discover", &json!({}));
    world.seconds(20);
    world.response(0);
    world.modern_request(1, "tools/list", &json!({}));
    world.response(1);
    world.seconds(50);
    world.modern_request(2, "tools/list", &json!({}));
    world.play(|world, posted| match posted.key() {
        "server/discover" => world.give(posted, &discovered()),
        "tools/list" => world.give(posted, &json!({"tools": [], "resultType": "complete"})),
        _ => {}
    });
    assert_eq!(world.response(2)["result"]["tools"], json!([]));
}

#[test]
fn a_client_nested_as_deeply_as_may_be_is_asked_for_without_its_name() {
    let mut world = World::new();
    let mut info = json!({"name": "deep"});
    for _ in 0..508 {
        info = json!([info]);
    }
    world.client_says(
        &json!({"jsonrpc": "2.0", "id": "init", "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": info, "version": "1"}}}),
    );
    // It is nested too deeply for the test to read it.
    let posted = world.take("response");
    let refusal = r#"{"jsonrpc":"2.0","id":"init","error":{"code":-32022,"message":"no","data":{"supported":["2026-07-28"]}}}"#;
    world.answer(&posted, 400, &[], refusal);
    let probe = world.take("server/discover");
    let meta = &probe.json["params"]["_meta"];
    assert_eq!(meta.get("io.modelcontextprotocol/clientInfo"), None);
    world.give(&probe, &discovered());
    assert!(world.response("init").get("result").is_some());
}
