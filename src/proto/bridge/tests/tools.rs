//! Reading the server's list of tools for `--read-only`: what waits, for how long, and what happens
//! when the link fails meanwhile; and headers that are made anew after a 401.

use serde_json::{Value, json};

use super::world::{Posted, World};
use crate::proto::bridge::Credentials;
use crate::proto::filter::Filter;
use crate::proto::{Input, TroubleKind};

fn read_only() -> (World, Posted) {
    let mut world = World::with(|settings| settings.filter = Filter::new::<&str>(&[], &[], true));
    let stream = world.connect("s1");
    (world, stream)
}

fn call(world: &mut World, id: u64, tool: &str) {
    world.request_with(id, "tools/call", &json!({"name": tool}));
}

fn page(cursor: Option<&str>) -> Value {
    let mut page = json!({"tools": [
        {"name": "look", "annotations": {"readOnlyHint": true}},
        {"name": "write"},
    ]});
    if let Some(cursor) = cursor {
        page["nextCursor"] = json!(cursor);
    }
    page
}

#[track_caller]
fn assert_kind(response: &Value, kind: &str, words: &str) {
    assert_eq!(response["error"]["data"]["kind"], kind, "{response}");
    assert_eq!(response["error"]["data"]["executed"], "no", "{response}");
    let message = response["error"]["message"].as_str().unwrap();
    assert!(message.contains(words), "{words:?} is not in {message}");
}

#[test]
fn a_list_that_never_comes_is_waited_for_a_minute() {
    let (mut world, _stream) = read_only();
    call(&mut world, 1, "look");
    let list = world.take("tools/list");
    world.accept(&list);
    world.seconds(59);
    assert!(!world.is_answered(1));
    call(&mut world, 2, "look");
    assert_eq!(world.count("tools/list"), 1);
    world.seconds(1);
    for id in [1, 2] {
        assert_kind(
            &world.response(id),
            "tool-not-available",
            "longer than 60 s",
        );
    }
    assert_eq!(world.count("tools/call"), 0);
    call(&mut world, 3, "look");
    let list = world.take("tools/list");
    world.give(&list, &page(None));
    let sent = world.take("tools/call");
    assert_eq!(sent.json["id"], 3);
}

/// A late timer of one reading does not end the next.
#[test]
fn every_reading_has_its_own_minute() {
    let (mut world, _stream) = read_only();
    call(&mut world, 1, "other");
    let list = world.take("tools/list");
    world.seconds(50);
    world.give(&list, &page(None));
    assert_kind(&world.response(1), "tool-not-available", "does not list it");
    call(&mut world, 2, "other");
    let list = world.take("tools/list");
    world.seconds(50);
    assert!(!world.is_answered(2));
    world.give(&list, &page(None));
    assert_kind(&world.response(2), "tool-not-available", "does not list it");
}

#[test]
fn a_list_that_breaks_off_is_asked_for_once_more_from_where_it_stood() {
    let (mut world, _stream) = read_only();
    call(&mut world, 1, "look");
    let list = world.take("tools/list");
    assert!(list.json.get("params").is_none());
    world.give(&list, &page(Some("a \"quoted\" one")));
    let second = world.take("tools/list");
    assert_eq!(second.json["params"], json!({"cursor": "a \"quoted\" one"}));
    world.fail(&second, TroubleKind::Broken, true, "broken");
    let again = world.take("tools/list");
    assert_eq!(again.json["params"], second.json["params"]);
    assert_ne!(again.json["id"], second.json["id"]);
    world.fail(&again, TroubleKind::Broken, true, "broken");
    assert_kind(&world.response(1), "tool-not-available", "did not answer");
    assert_eq!(world.pending(), [""; 0]);
}

#[test]
fn a_reading_begins_anew_in_a_new_session() {
    let (mut world, _stream) = read_only();
    call(&mut world, 1, "look");
    let list = world.take("tools/list");
    world.give(&list, &page(Some("next")));
    let second = world.take("tools/list");
    world.request(2, "prompts/list");
    let other = world.take("prompts/list");
    world.lose(&other);
    let _stream = world.reopen("s2");
    let list = world.take("tools/list");
    assert_eq!((list.session(), list.json.get("params")), ("s2", None));
    world.lose(&second);
    world.give(&list, &page(None));
    let sent = world.take("tools/call");
    assert_eq!((sent.session(), sent.json["id"].as_u64()), ("s2", Some(1)));
    assert_eq!(world.count("tools/list"), 3);
    assert_eq!(world.count("initialize"), 2);
}

/// What is waiting for the list fails with the link, not on its own.
#[test]
fn a_link_that_cannot_be_reopened_answers_what_waits_for_the_list() {
    let (mut world, _stream) = read_only();
    call(&mut world, 1, "look");
    let list = world.take("tools/list");
    world.lose(&list);
    let again = world.take("initialize");
    world.answer(&again, 400, &[], "no");
    assert_kind(&world.response(1), "http-status", "could not be reopened");
    assert_eq!(world.count("tools/call"), 0);
}

#[test]
fn what_one_session_listed_does_not_count_in_the_next() {
    let (mut world, _stream) = read_only();
    call(&mut world, 1, "look");
    let list = world.take("tools/list");
    world.give(&list, &page(None));
    let sent = world.take("tools/call");
    world.lose(&sent);
    let _stream = world.reopen("s2");
    let again = world.take("tools/call");
    world.give(&again, &json!({}));
    world.response(1);
    call(&mut world, 2, "look");
    assert_eq!(world.pending(), ["tools/list"]);
}

#[test]
fn a_client_that_waits_for_nothing_causes_no_list() {
    let (mut world, _stream) = read_only();
    world.request(1, "resources/list");
    world.request(2, "tools/list");
    assert_eq!(world.pending(), ["resources/list", "tools/list"]);
    let list = world.take("tools/list");
    world.give(&list, &page(None));
    assert_eq!(
        world.response(2)["result"]["tools"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    call(&mut world, 3, "look");
    assert_eq!(world.pending(), ["resources/list", "tools/call"]);
}

// ----- header commands -----

fn with_commands() -> (World, Posted) {
    let mut world = World::with(|settings| {
        settings.credentials = Credentials::Commands;
        settings.filter = Filter::new::<&str>(&[], &[], true);
    });
    let stream = world.connect("s1");
    (world, stream)
}

fn refuse(world: &mut World, posted: &Posted) {
    world.answer(posted, 401, &[], "expired");
}

#[test]
fn nothing_is_sent_while_the_header_commands_run() {
    let (mut world, _stream) = with_commands();
    world.request(1, "prompts/list");
    let refused = world.take("prompts/list");
    refuse(&mut world, &refused);
    world.request(2, "ping");
    world.client_says(&json!({"jsonrpc": "2.0", "method": "notifications/progress"}));
    call(&mut world, 3, "look");
    assert_eq!(world.pending(), [""; 0]);
    world.feed(Input::Authorized(Ok(())));
    assert_eq!(
        world.pending(),
        [
            "prompts/list",
            "ping",
            "tools/list",
            "notifications/progress"
        ]
    );
}

#[test]
fn a_401_to_the_list_runs_the_commands_once() {
    let (mut world, _stream) = with_commands();
    call(&mut world, 1, "look");
    let list = world.take("tools/list");
    refuse(&mut world, &list);
    assert_eq!(world.pending(), [""; 0]);
    world.feed(Input::Authorized(Ok(())));
    let list = world.take("tools/list");
    refuse(&mut world, &list);
    assert_kind(&world.response(1), "sign_in_required", "401");
}

#[test]
fn a_notification_that_stays_refused_is_dropped_after_one_more_run() {
    let (mut world, _stream) = with_commands();
    for _ in 0..2 {
        world.client_says(&json!({"jsonrpc": "2.0", "method": "notifications/progress"}));
    }
    let first = world.take("notifications/progress");
    refuse(&mut world, &first);
    world.feed(Input::Authorized(Ok(())));
    let again = world.take("notifications/progress");
    refuse(&mut world, &again);
    // The second one has a try of its own.
    let second = world.take("notifications/progress");
    world.accept(&second);
    assert_eq!(world.pending(), [""; 0]);
}
