//! Requests that wait: for a server that is busy or away, for an answer on another stream, for a
//! stream to be continued. Each wait ends.

use std::time::Duration;

use serde_json::{Value, json};

use super::eras::discovered;
use super::world::{Posted, World};
use crate::proto::bridge::Credentials;
use crate::proto::{Input, TroubleKind};

fn call(world: &mut World, id: u64) -> Posted {
    world.request_with(id, "tools/call", &json!({"name": "t"}));
    world.take("tools/call")
}

#[track_caller]
fn failed(world: &mut World, id: u64, kind: &str, executed: &str) -> Value {
    let response = world.response(id);
    let data = &response["error"]["data"];
    assert_eq!(data["kind"], kind, "{response}");
    assert_eq!(data["executed"], executed, "{response}");
    response
}

/// A streaming answer that only says where it may be continued.
fn prime(world: &mut World, posted: &Posted, id: &str) {
    world.stream(posted);
    world.events(posted, None, Some(id), Some(100), "");
}

#[test]
fn t34_a_refused_stream_is_never_asked_for_again() {
    for status in [400, 404, 405, 406, 501, 200] {
        let mut world = World::new();
        world.initialize();
        let posted = world.take("initialize");
        world.give_session(&posted, "a");
        world.initialized();
        let posted = world.take("notifications/initialized");
        world.accept(&posted);
        let posted = world.take("GET");
        world.answer(&posted, status, &[], "no such thing");
        world.seconds(3600);
        assert_eq!(world.count("GET"), 1, "{status}");
        assert_eq!(world.count("initialize"), 1, "{status}");
    }
}

#[test]
fn t35_a_stream_that_stays_taken_is_asked_for_three_times() {
    let mut world = World::new();
    world.initialize();
    let posted = world.take("initialize");
    world.give_session(&posted, "a");
    world.initialized();
    let posted = world.take("notifications/initialized");
    world.accept(&posted);
    let mut posted = world.take("GET");
    for wait in [5, 15, 30] {
        world.answer(&posted, 409, &[], "");
        world.advance(Duration::from_millis(wait * 1000 - 1));
        assert_eq!(world.pending(), Vec::<&str>::new());
        world.advance(Duration::from_millis(1));
        posted = world.take("GET");
    }
    world.answer(&posted, 409, &[], "");
    world.seconds(3600);
    assert_eq!(world.count("GET"), 4);
}

#[test]
fn a_busy_server_is_left_alone_for_longer_and_longer() {
    let mut world = World::new();
    world.connect("a");
    let mut posted = call(&mut world, 1);
    for wait in [500, 1000, 2000] {
        world.answer(&posted, 429, &[], "");
        world.advance(Duration::from_millis(wait - 1));
        assert_eq!(world.pending(), Vec::<&str>::new());
        world.advance(Duration::from_millis(1));
        posted = world.take("tools/call");
        assert_eq!(posted.json["id"], 1);
    }
    world.answer(&posted, 429, &[], "");
    failed(&mut world, 1, "http-status", "no");
    assert_eq!(world.count("tools/call"), 4);
}

#[test]
fn half_a_minute_is_waited_for_and_no_second_more() {
    let mut world = World::new();
    world.connect("a");
    let posted = call(&mut world, 1);
    world.answer(&posted, 503, &[("retry-after", "30")], "");
    world.seconds(29);
    assert!(!world.is_answered(1) && world.pending().is_empty());
    world.seconds(1);
    let posted = world.take("tools/call");
    world.answer(&posted, 503, &[("retry-after", "31")], "");
    failed(&mut world, 1, "http-status", "no");
}

#[test]
fn a_server_that_nobody_can_reach_is_tried_for_ten_seconds() {
    let mut world = World::new();
    world.connect("a");
    let mut posted = call(&mut world, 1);
    for wait in [1, 3, 6] {
        world.refuse_connection(&posted);
        world.seconds(wait);
        posted = world.take("tools/call");
    }
    world.refuse_connection(&posted);
    failed(&mut world, 1, "connect", "no");
    world.seconds(3600);
    assert_eq!(world.count("tools/call"), 4);
}

#[test]
fn a_late_answer_has_two_seconds() {
    let mut world = World::new();
    let own = world.connect("a");
    for (id, late) in [(1, 1999), (2, 2000)] {
        let posted = call(&mut world, id);
        world.fail(&posted, TroubleKind::Broken, true, "broken");
        world.advance(Duration::from_millis(late));
        let answer = posted.result(&json!({}));
        world.event(&own, &answer);
        let response = world.response(id);
        assert_eq!(response.get("result").is_some(), id == 1, "{response}");
    }
    assert_eq!(world.count("tools/call"), 2);
}

#[test]
fn an_answer_on_another_stream_frees_the_exchange_of_its_own() {
    let mut world = World::new();
    let own = world.connect("a");
    // One that never began to answer, one that streams for ever.
    let silent = call(&mut world, 1);
    let talking = call(&mut world, 2);
    world.stream(&talking);
    for posted in [&silent, &talking] {
        world.event(&own, &posted.result(&json!({})));
    }
    assert!(world.response(1).get("result").is_some());
    assert!(world.response(2).get("result").is_some());
    world.seconds(11);
    assert!(!world.is_running(&silent) && !world.is_running(&talking));
    assert!(world.is_running(&own));
}

#[test]
fn an_accepted_call_fails_when_the_servers_stream_is_gone_for_good() {
    let mut world = World::new();
    let own = world.connect("a");
    world.events(&own, None, Some("g1"), None, "");
    let posted = call(&mut world, 1);
    world.accept(&posted);
    world.end(&own);
    world.seconds_with(120, World::refuse_connection);
    let response = world.response(1);
    assert_eq!(response["error"]["data"]["executed"], "unknown");
    assert_eq!(world.count("tools/call"), 1);
    let posted = world.history.iter().filter(|key| *key == "GET").count();
    assert!((6..20).contains(&posted), "{posted} GETs");
}

#[test]
fn an_accepted_call_is_answered_when_the_servers_stream_comes_back() {
    let mut world = World::new();
    let own = world.connect("a");
    world.events(&own, None, Some("g1"), None, "");
    let asked = call(&mut world, 1);
    world.accept(&asked);
    world.end(&own);
    world.seconds(2);
    let posted = world.take("GET");
    assert_eq!(posted.header("last-event-id"), Some("g1"));
    world.refuse_connection(&posted);
    world.seconds(3);
    let posted = world.take("GET");
    assert_eq!(posted.header("last-event-id"), Some("g1"));
    world.stream(&posted);
    world.event(&posted, &asked.result(&json!({"late": true})));
    assert_eq!(world.response(1)["result"]["late"], true);
}

#[test]
fn a_broken_stream_is_continued_five_times_in_vain() {
    let mut world = World::new();
    world.connect("a");
    let posted = call(&mut world, 1);
    prime(&mut world, &posted, "e1");
    world.end(&posted);
    for turn in 0..5 {
        world.seconds(31);
        let posted = world.take("GET");
        assert_eq!(posted.header("last-event-id"), Some("e1"), "{turn}");
        match turn % 3 {
            0 => world.refuse_connection(&posted),
            1 => world.answer(&posted, 503, &[], ""),
            _ => {
                // The same id again is no progress.
                prime(&mut world, &posted, "e1");
                world.end(&posted);
            }
        }
    }
    world.seconds(60);
    failed(&mut world, 1, "stream-ended", "unknown");
    assert_eq!(world.count("tools/call"), 1);
}

#[test]
fn an_empty_event_id_forgets_where_to_continue() {
    let mut world = World::new();
    let own = world.connect("a");
    world.end(&own);
    let posted = call(&mut world, 1);
    prime(&mut world, &posted, "e1");
    world.events(&posted, None, Some(""), None, "");
    world.end(&posted);
    failed(&mut world, 1, "stream-ended", "unknown");
}

#[test]
fn initialized_that_did_not_arrive_is_sent_again() {
    for lost in [true, false] {
        let mut world = World::new();
        world.initialize();
        let posted = world.take("initialize");
        world.give_session(&posted, "a");
        world.response("init");
        world.initialized();
        world.request(1, "tools/list");
        for _ in 0..2 {
            let posted = world.take("notifications/initialized");
            if lost {
                world.fail(&posted, TroubleKind::Broken, true, "broken");
            } else {
                world.answer(&posted, 503, &[], "busy");
            }
            assert_eq!(world.pending(), Vec::<&str>::new());
            world.seconds(1);
        }
        let posted = world.take("notifications/initialized");
        assert_eq!(posted.session(), "a");
        world.accept(&posted);
        let posted = world.take("tools/list");
        world.give(&posted, &json!({"tools": []}));
        assert!(world.response(1).get("result").is_some());
    }
}

#[test]
fn initialized_that_never_arrives_holds_nothing_up_for_ever() {
    let mut world = World::new();
    world.initialize();
    let posted = world.take("initialize");
    world.give_session(&posted, "a");
    world.response("init");
    world.initialized();
    world.request(1, "tools/list");
    for _ in 0..3 {
        let posted = world.take("notifications/initialized");
        world.refuse_connection(&posted);
        world.seconds(1);
    }
    world.take("tools/list");
    assert_eq!(world.count("notifications/initialized"), 3);
}

#[test]
fn what_waits_while_a_second_handshake_fails_is_answered() {
    let mut world = World::new();
    world.connect("a");
    let busy = call(&mut world, 1);
    world.answer(&busy, 429, &[], "");
    world.request(2, "tools/list");
    let unsure = world.take("tools/list");
    world.answer(&unsure, 502, &[], "");
    let running = call(&mut world, 3);
    world.initialize_as("again");
    let posted = world.take("initialize");
    world.answer(&posted, 403, &[], "no");
    assert!(world.response("again").get("error").is_some());
    world.lose(&running);
    world.seconds(60);
    failed(&mut world, 1, "session-lost", "no");
    failed(&mut world, 2, "session-lost", "unknown");
    failed(&mut world, 3, "session-lost", "no");
    assert_eq!(world.unanswered(), 0);
}

#[test]
fn a_discovery_may_wait_too() {
    let mut world = World::with(|settings| settings.credentials = Credentials::Commands);
    world.request(1, "server/discover");
    let posted = world.take("server/discover");
    world.answer(&posted, 429, &[], "");
    world.seconds(1);
    let posted = world.take("server/discover");
    world.answer(&posted, 401, &[], "");
    assert!(!world.is_answered(1));
    world.feed(Input::Authorized(Ok(())));
    let posted = world.take("server/discover");
    world.give(&posted, &discovered());
    assert_eq!(world.response(1)["result"], discovered());
    assert_eq!(world.pending(), Vec::<&str>::new());
}

#[test]
fn an_accepted_call_waits_for_a_stream_that_opens_meanwhile() {
    let mut world = World::new();
    world.initialize();
    let posted = world.take("initialize");
    world.give_session(&posted, "a");
    world.response("init");
    world.initialized();
    let posted = world.take("notifications/initialized");
    world.accept(&posted);
    let opening = world.take("GET");
    let asked = call(&mut world, 1);
    world.accept(&asked);
    world.seconds(1);
    world.stream(&opening);
    world.seconds(60);
    assert!(!world.is_answered(1));
    world.event(&opening, &asked.result(&json!({"late": true})));
    assert_eq!(world.response(1)["result"]["late"], true);
    // Without such a stream the wait is short.
    world.end(&opening);
    let asked = call(&mut world, 2);
    world.accept(&asked);
    world.advance(Duration::from_millis(4999));
    assert!(!world.is_answered(2));
    world.advance(Duration::from_millis(1));
    failed(&mut world, 2, "not-mcp", "unknown");
}
