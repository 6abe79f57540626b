//! The first `initialize`: which transport, how often, and when it is given up.
//!
//! In: the order of tries and what the client is told. Out: redirects and broken connections
//! (`tests/it/first_contact.rs`).

use std::time::Duration;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::world::{Posted, World, head, initialize_result};
use crate::proto::transport::Strategy;
use crate::proto::{Body, Ending, Input, TroubleKind};

const ALL: [Strategy; 4] = [
    Strategy::HttpFirst,
    Strategy::SseFirst,
    Strategy::HttpOnly,
    Strategy::SseOnly,
];

fn with(strategy: Strategy) -> World {
    World::with(|settings| settings.strategy = strategy)
}

fn streamable(world: &mut World, posted: &Posted) {
    match posted.key() {
        "initialize" => world.give_session(posted, "s"),
        "GET" if posted.session().is_empty() => {
            world.answer(posted, 400, &[], "Bad Request: Missing session ID");
        }
        "GET" => world.stream(posted),
        "tools/list" => world.give(posted, &json!({})),
        _ => world.accept(posted),
    }
}

fn http_sse(world: &mut World, posted: &Posted) {
    let to_base = posted.request.url.path() == "/mcp";
    match posted.key() {
        "GET" => {
            world.stream(posted);
            world.endpoint(posted, "/m?sid=1");
        }
        _ if to_base => world.answer(posted, 405, &[], "Method Not Allowed"),
        "initialize" => {
            let answer = posted.result(&initialize_result("2024-11-05")).to_string();
            world.answer(posted, 200, &[], answer);
        }
        "tools/list" => world.give(posted, &json!({})),
        _ => world.accept(posted),
    }
}

fn neither(world: &mut World, posted: &Posted) {
    world.answer(posted, 404, &[], "<html><title>Not here</title></html>");
}

type Server = fn(&mut World, &Posted);

/// For a client that waits for the server itself.
const PATIENT: Duration = Duration::from_secs(3600);

#[test]
fn t53_every_strategy_against_every_server() {
    let to_streamable = ["initialize", "notifications/initialized", "GET"];
    let to_sse = ["GET", "initialize", "notifications/initialized"];
    let no_tries: &[&str] = &[];
    let cases: [(Strategy, Server, &[&str], &[&str]); 8] = [
        (Strategy::HttpFirst, streamable, no_tries, &to_streamable),
        (Strategy::HttpOnly, streamable, no_tries, &to_streamable),
        (Strategy::SseFirst, streamable, &["GET"], &to_streamable),
        (Strategy::SseOnly, streamable, &["GET"], no_tries),
        (Strategy::HttpFirst, http_sse, &["initialize"], &to_sse),
        (
            Strategy::HttpOnly,
            http_sse,
            &["initialize", "server/discover"],
            no_tries,
        ),
        (Strategy::SseFirst, http_sse, no_tries, &to_sse),
        (Strategy::SseOnly, http_sse, no_tries, &to_sse),
    ];
    for (strategy, server, tries, then) in cases {
        let mut world = with(strategy);
        world.initialize();
        world.play(server);
        let answer = world.response("init");
        if then.is_empty() {
            assert_eq!(answer["error"]["code"], -31000, "{strategy:?}: {answer}");
            assert_eq!(world.history, tries, "{strategy:?}");
            continue;
        }
        assert!(answer.get("result").is_some(), "{strategy:?}: {answer}");
        world.initialized();
        world.play(server);
        world.request(1, "tools/list");
        world.play(server);
        world.response(1);
        let expected = [tries, then, &["tools/list"]].concat();
        assert_eq!(world.history, expected, "{strategy:?}");
    }
    for strategy in ALL {
        let mut world = with(strategy);
        world.initialize();
        world.play(neither);
        let error = world.response("init")["error"].clone();
        assert_eq!(error["data"]["status"], 404, "{strategy:?}: {error}");
        let text = error["message"].as_str().unwrap().to_owned();
        assert!(text.contains("Not here"), "{strategy:?}: {text}");
        let tries: &[&str] = match strategy {
            Strategy::HttpFirst => &["initialize", "GET", "server/discover"],
            Strategy::SseFirst => &["GET", "initialize", "server/discover"],
            Strategy::HttpOnly => &["initialize", "server/discover"],
            Strategy::SseOnly => &["GET"],
        };
        assert_eq!(world.history, tries);
        // The next `initialize` looks anew.
        world.initialize_as("again");
        world.play(neither);
        world.response("again");
        assert_eq!(world.history.len(), 2 * tries.len());
    }
}

#[test]
fn the_decision_holds_for_the_life_of_the_process() {
    let mut world = World::new();
    world.initialize();
    world.play(http_sse);
    world.response("init");
    world.initialized();
    let mut stream = None;
    world.play(http_sse);
    for round in 0..5 {
        world.history.clear();
        world.request(round, "tools/list");
        let list = world.take("tools/list");
        world.answer(&list, 404, &[], "Could not find session");
        world.play(|world, posted| {
            if posted.key() == "GET" {
                stream = Some(posted.clone());
            }
            http_sse(world, posted);
        });
        assert!(world.response(round).get("result").is_some());
        assert_eq!(
            world.history,
            [
                "tools/list",
                "GET",
                "initialize",
                "notifications/initialized",
                "tools/list"
            ]
        );
    }
    // Also for a second `initialize` on the same pipe.
    world.history.clear();
    world.initialize_as("again");
    world.play(http_sse);
    world.response("again");
    assert_eq!(world.history, ["GET", "initialize"]);
    assert!(!world.is_running(&stream.unwrap()));
}

#[test]
fn t58_an_event_stream_without_endpoint_is_no_http_sse() {
    let mut world = World::sse();
    world.initialize();
    let stream = world.take("GET");
    world.stream(&stream);
    world.seconds(9);
    assert!(!world.is_answered("init"));
    world.seconds(2);
    let error = world.response("init")["error"].clone();
    assert_eq!(error["data"]["kind"], "not-mcp");
    assert_eq!(error["data"]["executed"], "no");
    assert!(error["message"].as_str().unwrap().contains("endpoint"));
    assert!(!world.is_running(&stream), "the stream was kept");
}

#[test]
fn t58_nor_is_one_that_begins_otherwise_or_ends() {
    for ends in [true, false] {
        let mut world = with(Strategy::SseFirst);
        world.initialize();
        let stream = world.take("GET");
        world.stream(&stream);
        if ends {
            world.end(&stream);
        } else {
            world.event(
                &stream,
                &json!({"jsonrpc": "2.0", "method": "notifications/x"}),
            );
            assert!(!world.is_running(&stream));
        }
        world.play(streamable);
        assert!(world.response("init").get("result").is_some());
    }
}

#[test]
fn t56_the_endpoint_on_another_host_is_named_whatever_came_before() {
    for strategy in [Strategy::HttpFirst, Strategy::SseFirst, Strategy::SseOnly] {
        let mut world = with(strategy);
        world.initialize();
        world.play(|world, posted| {
            if posted.key() == "GET" {
                world.stream(posted);
                world.endpoint(posted, "http://elsewhere.example/m");
            } else {
                http_sse(world, posted);
            }
        });
        let error = world.response("init")["error"].clone();
        assert_eq!(error["data"]["kind"], "endpoint_origin_mismatch");
        let text = error["message"].as_str().unwrap();
        assert!(
            text.contains("http://127.0.0.1:9") && text.contains("http://elsewhere.example"),
            "{text}"
        );
        assert_eq!(
            world.count("initialize"),
            usize::from(strategy == Strategy::HttpFirst)
        );
    }
}

#[test]
fn t62_the_newest_endpoint_counts() {
    let mut world = World::sse();
    let stream = world.connect_sse("/m?sid=a");
    world.endpoint(&stream, "/m?sid=b");
    world.request(1, "tools/list");
    let list = world.take("tools/list");
    assert_eq!(list.request.url.query(), Some("sid=b"));
    assert_eq!(world.count("initialize"), 1);
}

#[test]
fn t59_an_answer_in_both_places_is_given_once() {
    for post_first in [true, false] {
        let mut world = World::sse();
        let stream = world.connect_sse("/m?sid=a");
        world.request(1, "tools/call");
        let call = world.take("tools/call");
        let answer = call.result(&json!({"content": []}));
        if post_first {
            world.answer(&call, 200, &[], answer.to_string());
            world.event(&stream, &answer);
        } else {
            world.event(&stream, &answer);
            world.answer(&call, 200, &[], answer.to_string());
        }
        assert_eq!(world.lines(), [answer]);
    }
}

#[test]
fn any_2xx_accepts_a_post_of_http_sse() {
    for (status, body) in [(200, ""), (200, "Accepted"), (202, "Accepted"), (204, "")] {
        let mut world = World::sse();
        world.initialize();
        let stream = world.take("GET");
        world.stream(&stream);
        world.endpoint(&stream, "/m");
        let initialize = world.take("initialize");
        world.answer(&initialize, status, &[], body);
        let answer = initialize.result(&initialize_result("2024-11-05"));
        world.event(&stream, &answer);
        world.response("init");
        world.initialized();
        let initialized = world.take("notifications/initialized");
        world.answer(&initialized, status, &[], body);
        world.request(1, "tools/call");
        let call = world.take("tools/call");
        assert_eq!(call.header("mcp-protocol-version"), Some("2024-11-05"));
        world.answer(&call, status, &[], body);
        assert!(!world.is_answered(1), "{status} {body:?}");
        let answer = call.result(&json!({}));
        world.event(&stream, &answer);
        assert!(world.response(1).get("result").is_some());
    }
}

#[test]
fn a_busy_or_unreachable_endpoint_of_http_sse_is_tried_again() {
    for busy in [true, false] {
        let mut world = World::sse();
        world.initialize();
        let stream = world.take("GET");
        world.stream(&stream);
        world.endpoint(&stream, "/m?sid=1");
        let initialize = world.take("initialize");
        if busy {
            world.answer(&initialize, 503, &[], "");
        } else {
            world.refuse_connection(&initialize);
        }
        world.seconds_with(3, http_sse);
        assert!(world.response("init").get("result").is_some());
        assert_eq!(world.count("GET"), 2);
    }
}

#[test]
fn a_stream_that_ends_before_the_answer_means_one_more_try() {
    let mut world = World::sse();
    world.initialize();
    let stream = world.take("GET");
    world.stream(&stream);
    world.endpoint(&stream, "/m?sid=1");
    let first = world.take("initialize");
    world.end(&stream);
    assert!(!world.is_running(&first), "two handshakes at once");
    let stream = world.take("GET");
    world.stream(&stream);
    world.endpoint(&stream, "/m?sid=2");
    world.take("initialize");
    world.end(&stream);
    let error = world.response("init")["error"].clone();
    assert_eq!(error["data"]["kind"], "stream-ended");
    world.seconds(120);
    assert_eq!(world.count("GET"), 2);
}

#[test]
fn a_retry_that_became_pointless_does_not_happen() {
    let mut world = World::sse();
    world.initialize();
    let stream = world.take("GET");
    world.stream(&stream);
    world.endpoint(&stream, "/m?sid=1");
    let initialize = world.take("initialize");
    world.fail(&initialize, TroubleKind::Broken, true, "reset");
    world.end(&stream);
    let stream = world.take("GET");
    world.seconds(5);
    assert!(world.is_running(&stream), "a retry of the past cut it off");
    http_sse(&mut world, &stream);
    world.play(http_sse);
    world.response("init");
    world.seconds(60);
    assert_eq!(world.count("GET"), 2);
    assert_eq!(world.count("initialize"), 2);
}

#[test]
fn t63_a_web_page_is_named_by_its_title() {
    let mut world = World::new();
    world.initialize();
    world.play(|world, posted| {
        let page = "<!doctype html><html><head><title>Our shop</title></head></html>";
        world.answer(posted, 200, &[("content-type", "text/html")], page);
    });
    let error = world.response("init")["error"].clone();
    assert_eq!(error["data"]["kind"], "not-mcp");
    let text = error["message"].as_str().unwrap();
    assert!(
        text.contains("web page") && text.contains("\"Our shop\""),
        "{text}"
    );
    assert_eq!(world.history, ["initialize", "GET"]);
}

#[test]
fn t69_401_is_never_a_reason_to_try_the_other_transport() {
    for strategy in ALL {
        let mut world = with(strategy);
        world.initialize();
        world.play(|world, posted| {
            let challenge = [("www-authenticate", "Bearer realm=\"x\"")];
            world.answer(posted, 401, &challenge, "");
        });
        let error = world.response("init")["error"].clone();
        assert_eq!(error["data"]["kind"], "sign_in_required");
        assert_eq!(world.history.len(), 1, "{strategy:?}");
    }
}

#[test]
fn t70_a_busy_server_is_waited_for() {
    for status in [408, 425, 429, 502, 503, 504] {
        let mut world = World::new();
        world.initialize();
        let mut tries = 0;
        world.seconds_with(5, |world, posted| {
            tries += 1;
            if tries <= 2 {
                world.answer(posted, status, &[], "{\"error\":\"busy\"}");
            } else {
                streamable(world, posted);
            }
        });
        assert!(world.response("init").get("result").is_some());
        assert_eq!(world.history, ["initialize"; 3], "{status}");
    }
}

#[test]
fn t70_retry_after_is_honoured_and_bounded() {
    let mut world = World::with(|settings| settings.initialize_wait = PATIENT);
    world.initialize();
    let initialize = world.take("initialize");
    world.answer(&initialize, 503, &[("retry-after", "20")], "");
    world.seconds(19);
    assert_eq!(world.pending(), Vec::<&str>::new());
    world.seconds(2);
    let initialize = world.take("initialize");
    world.answer(&initialize, 503, &[("retry-after", "3600")], "");
    assert_eq!(world.response("init")["error"]["data"]["status"], 503);
    // A server that is never ready is given up.
    world.initialize_as("again");
    world.seconds_with(60, |world, posted| world.answer(posted, 503, &[], ""));
    assert_eq!(world.response("again")["error"]["data"]["status"], 503);
    assert_eq!(world.count("initialize"), 2 + 5);
}

#[test]
fn t71_t76_some_answers_end_the_matter_at_once() {
    for (status, text) in [
        (403, "not from this network"),
        (413, "too large"),
        (414, "too long"),
        (431, "too many headers"),
        (409, "conflict"),
    ] {
        let mut world = World::new();
        world.initialize();
        let initialize = world.take("initialize");
        world.answer(&initialize, status, &[("content-type", "text/plain")], text);
        let error = world.response("init")["error"].clone();
        assert_eq!(error["data"]["status"], status);
        assert!(error["message"].as_str().unwrap().contains(text), "{error}");
        assert_eq!(world.history, ["initialize"], "{status}");
    }
}

#[test]
fn t71_a_server_that_breaks_down_is_asked_in_the_other_era_once() {
    let mut world = World::new();
    world.initialize();
    world.play(|world, posted| world.answer(posted, 500, &[], "database on fire"));
    let error = world.response("init")["error"].clone();
    assert_eq!(error["data"]["status"], 500);
    let text = error["message"].as_str().unwrap();
    assert!(text.contains("database on fire"), "{error}");
    assert_eq!(world.history, ["initialize", "server/discover"]);
}

#[test]
fn t72_odd_statuses_lead_to_one_look_at_what_is_left() {
    let sse_first: &[&str] = &["initialize", "GET", "server/discover"];
    let discover_first: &[&str] = &["initialize", "server/discover", "GET"];
    let sse_alone: &[&str] = &["initialize", "GET"];
    for (status, tries) in [
        (vec![404, 405, 406, 410, 501], sse_first),
        (vec![400, 415, 422], discover_first),
        (vec![200, 202, 204], sse_alone),
    ]
    .into_iter()
    .flat_map(|(statuses, tries)| statuses.into_iter().map(move |status| (status, tries)))
    {
        let mut world = World::new();
        world.initialize();
        world.play(|world, posted| {
            let status = if posted.key() == "GET" { 404 } else { status };
            world.answer(posted, status, &[], "");
        });
        let error = world.response("init")["error"].clone();
        assert_eq!(error["data"]["status"], status, "{error}");
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .contains(&format!("HTTP {status}"))
        );
        assert_eq!(world.history, tries, "{status}");
    }
}

#[test]
fn t73_other_json_is_quoted() {
    let mut world = World::new();
    world.initialize();
    world.play(|world, posted| world.answer(posted, 200, &[], r#"{"status":"ok"}"#));
    let error = world.response("init")["error"].clone();
    assert_eq!(error["data"]["kind"], "not-mcp");
    let text = error["message"].as_str().unwrap();
    assert!(text.contains(r#"{"status":"ok"}"#), "{text}");
}

#[test]
fn t74_a_server_that_is_away_is_given_up_after_ten_seconds() {
    let mut world = World::new();
    world.initialize();
    world.seconds_with(9, World::refuse_connection);
    assert!(!world.is_answered("init"));
    world.seconds_with(2, World::refuse_connection);
    let error = world.response("init")["error"].clone();
    assert_eq!(error["data"]["kind"], "connect");
    assert_eq!(error["data"]["executed"], "no");
    assert_eq!(world.history, ["initialize"; 4]);
    world.seconds(600);
    assert_eq!(world.history.len(), 4);
    world.initialize_as("again");
    world.play(streamable);
    assert!(world.response("again").get("result").is_some());
}

#[test]
fn t74_names_and_certificates_are_not_tried_again() {
    for kind in [TroubleKind::Dns, TroubleKind::Tls, TroubleKind::Redirect] {
        let mut world = World::new();
        world.initialize();
        let initialize = world.take("initialize");
        world.fail(&initialize, kind, false, "the reason");
        let error = world.response("init")["error"].clone();
        assert!(error["message"].as_str().unwrap().contains("the reason"));
        assert_eq!(world.history.len(), 1);
    }
}

#[test]
fn t75_the_servers_own_revision_is_taken_up_once() {
    let mut world = World::new();
    world.initialize();
    let refuse = |posted: &Posted, supported: Value| {
        let error = json!({"code": -32602, "message": "Unsupported protocol version",
            "data": {"supported": supported}});
        json!({"jsonrpc": "2.0", "id": posted.json["id"], "error": error}).to_string()
    };
    let first = world.take("initialize");
    let body = refuse(&first, json!(["2024-11-05", "2025-03-26", "2099-01-01"]));
    world.answer(&first, 400, &[], body);
    let second = world.take("initialize");
    assert_eq!(second.json["params"]["protocolVersion"], "2025-03-26");
    assert_eq!(
        second.json["params"]["clientInfo"],
        first.json["params"]["clientInfo"]
    );
    let answer = second.result(&initialize_result("2025-03-26")).to_string();
    world.answer(&second, 200, &[], answer);
    assert_eq!(
        world.response("init")["result"]["protocolVersion"],
        "2025-03-26"
    );

    world.initialize_as("again");
    for _ in 0..2 {
        let posted = world.take("initialize");
        let body = refuse(&posted, json!(["2025-03-26"]));
        world.answer(&posted, 200, &[], body);
    }
    let probe = world.take("server/discover");
    world.answer(&probe, 404, &[], "");
    let answer = world.response("again");
    assert_eq!(answer["error"]["code"], -32602);
    assert_eq!(world.pending(), Vec::<&str>::new());
}

#[test]
fn t75_the_servers_refusal_reaches_the_client_whole() {
    for (status, tries) in [(200, 2), (500, 2), (400, 3), (404, 3), (405, 3)] {
        let mut world = World::new();
        world.initialize();
        let error = json!({"code": -32600, "message": "no", "data": {"why": [1, 2]}});
        world.play(|world, posted| {
            if posted.key() == "GET" {
                return neither(world, posted);
            }
            let body = json!({"jsonrpc": "2.0", "id": posted.json["id"], "error": error});
            world.answer(posted, status, &[], body.to_string());
        });
        assert_eq!(world.response("init")["error"], error, "{status}");
        assert_eq!(world.history.len(), tries, "{status}");
    }
}

#[test]
fn t77_silence_ends_after_a_minute() {
    for strategy in [Strategy::HttpFirst, Strategy::HttpOnly] {
        for streams in [true, false] {
            let mut world = World::with(|settings| {
                settings.strategy = strategy;
                settings.initialize_wait = PATIENT;
            });
            world.initialize();
            let initialize = world.take("initialize");
            if streams {
                world.stream(&initialize);
            }
            world.request(1, "tools/list");
            world.seconds(59);
            assert_eq!(world.unanswered(), 2);
            world.seconds(2);
            let error = world.response("init")["error"].clone();
            assert_eq!(error["data"]["kind"], "timeout");
            assert_eq!(world.response(1)["error"]["data"]["executed"], "no");
            assert!(!world.is_running(&initialize));
        }
    }
}

#[test]
fn a_resumed_initialize_keeps_its_session() {
    let mut world = World::new();
    world.initialize();
    let initialize = world.take("initialize");
    let with_session = head(
        &initialize,
        200,
        &[
            ("content-type", "text/event-stream"),
            ("mcp-session-id", "a"),
        ],
    );
    world.stream_head(&initialize, with_session);
    world.events(&initialize, None, Some("e1"), None, "");
    world.end(&initialize);
    world.seconds(2);
    let resumption = world.take("GET");
    assert_eq!(resumption.header("last-event-id"), Some("e1"));
    assert_eq!(resumption.session(), "a");
    world.stream(&resumption);
    let answer = initialize.result(&initialize_result("2025-11-25"));
    world.event(&resumption, &answer);
    world.response("init");
    world.initialized();
    assert_eq!(world.take("notifications/initialized").session(), "a");
    assert_eq!(world.count("initialize"), 1);
    // The stream has served its purpose.
    world.seconds(11);
    assert!(!world.is_running(&resumption));
}

#[test]
fn a_stream_that_brings_nothing_means_one_more_try() {
    let mut world = World::new();
    world.initialize();
    for _ in 0..2 {
        let initialize = world.take("initialize");
        world.stream(&initialize);
        world.end(&initialize);
    }
    let error = world.response("init")["error"].clone();
    assert_eq!(error["data"]["kind"], "stream-ended");
    assert_eq!(world.pending(), Vec::<&str>::new());
}

#[test]
fn the_stream_of_an_old_initialize_says_nothing_about_a_new_one() {
    let mut world = World::new();
    world.initialize();
    let initialize = world.take("initialize");
    world.stream(&initialize);
    let answer = initialize.result(&initialize_result("2025-11-25"));
    world.event(&initialize, &answer);
    world.response("init");
    world.initialize_as("again");
    let again = world.take("initialize");
    world.end(&initialize);
    assert!(world.is_running(&again));
    assert_eq!(world.pending(), Vec::<&str>::new());
}

#[test]
fn a_batch_may_hold_the_answer() {
    let mut world = World::new();
    world.initialize();
    let initialize = world.take("initialize");
    let log = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1}});
    let answer = initialize.result(&initialize_result("2025-03-26"));
    world.answer(&initialize, 200, &[], json!([log, answer]).to_string());
    assert!(world.response("init").get("result").is_some());
    assert_eq!(world.lines(), [log]);
}

#[test]
fn t65_a_permanent_move_is_remembered_on_both_transports() {
    let moved = |posted: &Posted, media: &'static str| {
        let mut head = head(posted, 200, &[("content-type", media)]);
        head.url = Arc::new("http://127.0.0.1:9/new/mcp".parse().unwrap());
        head.moved_permanently = true;
        head
    };
    let mut world = World::new();
    world.initialize();
    let initialize = world.take("initialize");
    let answer = initialize.result(&initialize_result("2025-11-25"));
    let there = moved(&initialize, "application/json");
    world.answer_head(&initialize, there, answer.to_string());
    world.response("init");
    world.initialized();
    let initialized = world.take("notifications/initialized");
    assert_eq!(initialized.request.url.path(), "/new/mcp");

    let mut world = World::sse();
    world.initialize();
    let stream = world.take("GET");
    let there = moved(&stream, "text/event-stream");
    world.stream_head(&stream, there);
    world.endpoint(&stream, "m?sid=1");
    let initialize = world.take("initialize");
    assert_eq!(initialize.request.url.path(), "/new/m");
    world.give_session(&initialize, "ignored");
    world.response("init");
    world.end(&stream);
    world.seconds(2);
    assert_eq!(world.take("GET").request.url.path(), "/new/mcp");
}

#[test]
fn odd_capabilities_do_not_cost_the_version_header() {
    for (capabilities, version, header) in [
        (
            json!({"tools": null}),
            json!("2025-06-18"),
            Some("2025-06-18"),
        ),
        (json!("none"), json!("2025-06-18"), Some("2025-06-18")),
        (json!({}), json!(""), None),
        (json!({}), json!(7), None),
        (json!({}), json!("1\n2"), None),
    ] {
        let mut world = World::new();
        world.initialize();
        let initialize = world.take("initialize");
        let result = json!({"protocolVersion": version, "capabilities": capabilities});
        let answer = initialize.result(&result).to_string();
        world.answer(&initialize, 200, &[], answer);
        assert_eq!(world.response("init")["result"], result);
        world.request(1, "tools/list");
        let list = world.take("tools/list");
        assert_eq!(list.header("mcp-protocol-version"), header, "{result}");
    }
}

#[test]
fn an_error_says_that_the_other_transport_was_ruled_out() {
    for (strategy, named) in [
        (Strategy::HttpOnly, true),
        (Strategy::SseOnly, true),
        (Strategy::HttpFirst, false),
    ] {
        let mut world = with(strategy);
        world.initialize();
        world.play(|world, posted| world.answer(posted, 404, &[], "Not Found"));
        let message = world.response("init")["error"]["message"].to_string();
        let words = format!("--transport {}", strategy.as_str());
        assert_eq!(message.contains(&words), named, "{message}");
    }
}

#[test]
fn an_answer_to_initialize_that_breaks_off_is_asked_for_once_more() {
    let broken = |ending: Ending| Body {
        bytes: Bytes::from_static(br#"{"jsonrpc":"2.0","id":"init","res"#),
        cut: Some(ending),
    };
    let mut world = World::new();
    world.initialize();
    for _ in 0..2 {
        let initialize = world.take("initialize");
        let head = head(&initialize, 200, &[]);
        let cut = broken(Ending::Cut("reset".to_owned()));
        world.feed(Input::Answer(initialize.ticket, head, cut));
    }
    assert_eq!(
        world.response("init")["error"]["data"]["kind"],
        "stream-ended"
    );
    assert_eq!(
        world.pending(),
        Vec::<&str>::new(),
        "the other transport was tried"
    );

    for (ending, kind) in [
        (Ending::TooLarge("too large".to_owned()), "limit_exceeded"),
        (Ending::Silent("silent".to_owned()), "timeout"),
    ] {
        let mut world = World::new();
        world.initialize();
        let initialize = world.take("initialize");
        let head = head(&initialize, 200, &[]);
        world.feed(Input::Answer(initialize.ticket, head, broken(ending)));
        assert_eq!(world.response("init")["error"]["data"]["kind"], kind);
    }
}

#[test]
fn a_server_that_takes_nothing_is_told_of_with_one_hint_at_doctor() {
    let mut world = World::new();
    world.initialize();
    world.play(|world, posted| world.answer(posted, 400, &[], ""));
    let response = world.response("init");
    let text = response["error"]["message"].as_str().unwrap();
    assert_eq!(text.matches("mcp-bridge doctor").count(), 1, "{text}");
}
