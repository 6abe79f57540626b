//! Credentials that are refused, and a server that is not there yet: what the client hears.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{Posted, World};
use crate::proto::bridge::Credentials;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::{Input, Prompt};

const LINK: &str = "https://as.example/authorize?x=1";

fn world() -> World {
    World::with(|settings| settings.credentials = Credentials::SignIn)
}

fn connected() -> (World, Posted) {
    let mut world = world();
    let stream = world.connect("s1");
    (world, stream)
}

fn prompt(opened: bool) -> Input {
    Input::SignInNeeded(Prompt {
        url: LINK.to_owned(),
        instruction: None,
        opened,
    })
}

fn done(world: &mut World) {
    world.feed(Input::Authorized(Ok(())));
}

fn denied(world: &mut World) {
    let text = "the person said no";
    let failure = Failure::new(Kind::AuthorizationDenied, Executed::No, text);
    world.feed(Input::Authorized(Err(failure)));
}

fn call(world: &mut World, id: u64, tool: &str) {
    world.client_says(
        &json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool}}),
    );
}

fn refuse(world: &mut World, posted: &Posted) {
    world.answer(posted, 401, &[("www-authenticate", "Bearer")], "");
}

fn scope_wanted(world: &mut World, posted: &Posted) {
    let challenge = "Bearer error=\"insufficient_scope\", scope=\"admin\"";
    world.answer(posted, 403, &[("www-authenticate", challenge)], "");
}

/// The server takes the client's handshake.
fn connects(world: &mut World) {
    let posted = world.take("initialize");
    world.give_session(&posted, "a");
    let posted = world.take("notifications/initialized");
    world.accept(&posted);
}

#[test]
fn a01_a_refused_call_is_sent_again_after_the_sign_in() {
    let (mut world, _stream) = connected();
    call(&mut world, 1, "look");
    let refused = world.take("tools/call");
    refuse(&mut world, &refused);
    assert_eq!(world.authorizations(), 1);
    assert!(!world.is_answered(1));
    done(&mut world);
    let again = world.take("tools/call");
    assert_eq!(again.json, refused.json);
    world.give(&again, &json!({"content": []}));
    assert!(world.response(1).get("result").is_some());
}

#[test]
fn a28_parallel_refusals_ask_once_and_all_are_answered() {
    let (mut world, _stream) = connected();
    for id in 1..=50 {
        call(&mut world, id, "look");
    }
    let sent: Vec<Posted> = (0..50).map(|_| world.take("tools/call")).collect();
    for posted in &sent[..49] {
        refuse(&mut world, posted);
    }
    assert_eq!(world.authorizations(), 1);
    done(&mut world);
    // A refusal of the old credentials that comes late asks for nothing.
    refuse(&mut world, &sent[49]);
    assert_eq!(world.authorizations(), 1);
    for _ in 0..50 {
        let posted = world.take("tools/call");
        world.give(&posted, &json!({}));
    }
    for id in 1..=50 {
        assert!(world.response(id).get("result").is_some(), "{id}");
    }
}

#[test]
fn a28_a_failed_sign_in_answers_everybody_under_their_own_id() {
    let (mut world, _stream) = connected();
    call(&mut world, 1, "look");
    call(&mut world, 2, "look");
    for _ in 0..2 {
        let posted = world.take("tools/call");
        refuse(&mut world, &posted);
    }
    denied(&mut world);
    for id in [1, 2] {
        let error = world.response(id)["error"].clone();
        assert_eq!(error["data"]["kind"], "authorization_denied");
        assert_eq!(error["data"]["executed"], "no");
    }
}

#[test]
fn a31_only_refusals_of_the_token_start_a_sign_in() {
    for (status, challenge) in [
        (400, "Bearer error=\"invalid_token\""),
        (403, "Basic realm=\"x\""),
        (403, ""),
        (403, "Bearer error=\"other\""),
        (407, "Bearer"),
        (500, "Bearer"),
    ] {
        let (mut world, _stream) = connected();
        call(&mut world, 1, "look");
        let posted = world.take("tools/call");
        world.answer(&posted, status, &[("www-authenticate", challenge)], "no");
        world.seconds(5);
        assert_eq!(world.authorizations(), 0, "{status} {challenge}");
        assert_eq!(world.response(1)["error"]["data"]["status"], status);
    }
}

#[test]
fn d28_the_error_code_decides_not_the_status() {
    let (mut world, _stream) = connected();
    call(&mut world, 1, "look");
    let posted = world.take("tools/call");
    let challenge = "Bearer error=\"invalid_token\"";
    world.answer(&posted, 403, &[("www-authenticate", challenge)], "");
    assert_eq!(world.authorizations(), 1);
}

#[test]
fn d05_a_given_header_is_never_replaced() {
    let mut world = World::with(|settings| settings.credentials = Credentials::Given);
    let _stream = world.connect("s1");
    call(&mut world, 1, "look");
    let posted = world.take("tools/call");
    refuse(&mut world, &posted);
    assert_eq!(world.authorizations(), 0);
    let error = world.response(1)["error"].clone();
    assert_eq!(error["data"]["kind"], "sign_in_required");
    assert!(error["message"].as_str().unwrap().contains("Authorization"));
}

#[test]
fn d21_a_request_that_stays_refused_is_given_up() {
    let (mut world, _stream) = connected();
    call(&mut world, 1, "look");
    for _ in 0..8 {
        let posted = world.take("tools/call");
        refuse(&mut world, &posted);
        done(&mut world);
    }
    let posted = world.take("tools/call");
    refuse(&mut world, &posted);
    assert_eq!(world.response(1)["error"]["data"]["kind"], "auth_loop");
}

#[test]
fn d23_a_want_of_scope_names_the_operation() {
    let (mut world, _stream) = connected();
    call(&mut world, 1, "delete");
    let posted = world.take("tools/call");
    scope_wanted(&mut world, &posted);
    let refused = world.refused();
    assert_eq!(refused.operation, "tools/call delete");
    assert_eq!(refused.challenge.scope.as_deref(), Some("admin"));
}

#[test]
fn f11_other_requests_go_on_while_a_person_signs_in() {
    let (mut world, _stream) = connected();
    call(&mut world, 1, "look");
    let posted = world.take("tools/call");
    refuse(&mut world, &posted);
    // Only a moment, perhaps: everything waits.
    world.request(2, "tools/list");
    assert_eq!(world.pending(), Vec::<&str>::new());
    world.feed(prompt(true));
    let list = world.take("tools/list");
    world.give(&list, &json!({"tools": []}));
    assert!(world.response(2).get("result").is_some());
    // Cancelled while it waits: neither answered nor sent again.
    world.client_says(
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
    );
    done(&mut world);
    assert_eq!(world.pending(), Vec::<&str>::new());
}

#[test]
fn a_call_that_waits_too_long_for_a_person_is_answered_with_the_link() {
    let (mut world, _stream) = connected();
    call(&mut world, 1, "look");
    let posted = world.take("tools/call");
    refuse(&mut world, &posted);
    world.feed(prompt(true));
    world.advance(Duration::from_millis(19_999));
    assert!(!world.is_answered(1));
    world.seconds(1);
    let result = world.response(1)["result"].clone();
    assert_eq!(result["isError"], true);
    assert!(
        result["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains(LINK)
    );
    // From then on at once, and other requests as errors.
    call(&mut world, 2, "look");
    let posted = world.take("tools/call");
    refuse(&mut world, &posted);
    assert_eq!(world.response(2)["result"]["isError"], true);
    world.request(3, "tools/list");
    let posted = world.take("tools/list");
    refuse(&mut world, &posted);
    let error = world.response(3)["error"].clone();
    assert_eq!(error["data"]["kind"], "sign_in_required");
    assert!(error["message"].as_str().unwrap().contains(LINK));
    // When the person is done, everything is as it was.
    done(&mut world);
    call(&mut world, 4, "look");
    let posted = world.take("tools/call");
    world.give(&posted, &json!({"content": []}));
    assert_eq!(world.response(4)["result"], json!({"content": []}));
}

fn stood_in(known: Option<&str>) -> (World, Value) {
    let mut world = World::with(|settings| {
        settings.credentials = Credentials::SignIn;
        settings.last_initialize = known.map(str::to_owned);
    });
    world.initialize();
    let posted = world.take("initialize");
    refuse(&mut world, &posted);
    world.feed(prompt(true));
    if known.is_none() {
        world.advance(Duration::from_millis(19_999));
        assert!(!world.is_answered("init"));
        world.seconds(1);
    }
    let result = world.response("init")["result"].clone();
    (world, result)
}

#[test]
fn initialize_is_answered_in_the_servers_place_when_a_person_takes_long() {
    let (mut world, result) = stood_in(None);
    assert_eq!(result["protocolVersion"], "2025-11-25");
    assert_eq!(result["capabilities"]["tools"]["listChanged"], true);
    assert!(result["instructions"].as_str().unwrap().contains(LINK));
    world.initialized();
    world.request(1, "tools/list");
    assert_eq!(world.response(1)["result"], json!({"tools": []}));
    world.request(2, "resources/templates/list");
    assert_eq!(
        world.response(2)["result"],
        json!({"resourceTemplates": []})
    );
    world.request(3, "ping");
    assert_eq!(world.response(3)["result"], json!({}));
    call(&mut world, 4, "look");
    assert_eq!(world.response(4)["result"]["isError"], true);
    assert_eq!(world.pending(), Vec::<&str>::new());
    // The person is done: the server gets the client's own handshake, and the client is told
    // that everything may have changed.
    done(&mut world);
    connects(&mut world);
    let changed: Vec<String> = world.notifications();
    for list in ["tools", "prompts", "resources"] {
        let method = format!("notifications/{list}/list_changed");
        assert!(changed.contains(&method), "{method} in {changed:?}");
    }
    world.request(5, "tools/list");
    let posted = world.take("tools/list");
    world.give(&posted, &json!({"tools": [{"name": "look"}]}));
    assert_eq!(world.response(5)["result"]["tools"][0]["name"], "look");
}

#[test]
fn what_the_server_last_said_is_told_at_once_when_a_person_is_needed() {
    let known = r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{},"logging":{}},
        "serverInfo":{"name":"real","version":"3"},"instructions":"Be kind."}"#;
    let (mut world, result) = stood_in(Some(known));
    assert_eq!(result["protocolVersion"], "2025-06-18");
    assert_eq!(result["serverInfo"]["name"], "real");
    assert_eq!(
        result["capabilities"],
        json!({"tools": {"listChanged": true}, "logging": {}})
    );
    let instructions = result["instructions"].as_str().unwrap();
    assert!(instructions.contains(LINK) && instructions.ends_with("Be kind."));
    // A call waits: the person may be done in a moment.
    world.initialized();
    call(&mut world, 1, "look");
    world.request(2, "tools/list");
    assert!(world.response(2).get("result").is_some());
    call(&mut world, 3, "look");
    world.seconds(10);
    assert!(!world.is_answered(1) && !world.is_answered(3));
    done(&mut world);
    connects(&mut world);
    for id in [1, 3] {
        let posted = world.take("tools/call");
        assert_eq!(posted.json["id"], id);
        world.give(&posted, &json!({"content": []}));
        assert!(world.response(id).get("result").is_some());
    }
}

#[test]
fn calls_wait_for_a_server_that_the_person_has_just_signed_in_to() {
    let (mut world, _) = stood_in(Some(r#"{"capabilities":{"tools":{}}}"#));
    world.initialized();
    call(&mut world, 1, "look");
    done(&mut world);
    call(&mut world, 2, "look");
    assert!(!world.is_answered(1) && !world.is_answered(2));
    connects(&mut world);
    for id in [1, 2] {
        let posted = world.take("tools/call");
        world.give(&posted, &json!({"content": []}));
        assert!(world.response(id)["result"].get("isError").is_none());
    }
}

#[test]
fn a_server_that_stays_away_after_the_sign_in_is_said_to_be_away() {
    let (mut world, _) = stood_in(Some(r#"{"capabilities":{"tools":{}}}"#));
    world.initialized();
    done(&mut world);
    call(&mut world, 1, "look");
    world.advance(Duration::from_millis(19_999));
    assert!(!world.is_answered(1));
    world.seconds(1);
    let result = world.response(1)["result"].clone();
    assert_eq!(result["isError"], true);
    assert!(
        result["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("does not answer yet")
    );
}

#[test]
fn lists_that_were_promised_in_vain_stay_empty() {
    let (mut world, _) = stood_in(None);
    world.initialized();
    done(&mut world);
    let posted = world.take("initialize");
    world.give(
        &posted,
        &json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
            "serverInfo": {"name": "s", "version": "1"}}),
    );
    let posted = world.take("notifications/initialized");
    world.accept(&posted);
    world.request(1, "prompts/list");
    assert_eq!(world.response(1)["result"], json!({"prompts": []}));
}

#[test]
fn a_denied_sign_in_leaves_the_next_request_a_try() {
    let (mut world, _) = stood_in(None);
    world.initialized();
    denied(&mut world);
    world.seconds(30);
    // Nobody opens a browser by himself.
    assert_eq!(world.pending(), Vec::<&str>::new());
    call(&mut world, 1, "look");
    let posted = world.take("initialize");
    refuse(&mut world, &posted);
    assert_eq!(world.authorizations(), 2);
}

#[test]
fn a_refused_initialized_is_owed_until_there_are_credentials() {
    let mut world = world();
    world.initialize();
    let posted = world.take("initialize");
    world.give_session(&posted, "a");
    world.initialized();
    let posted = world.take("notifications/initialized");
    refuse(&mut world, &posted);
    denied(&mut world);
    call(&mut world, 1, "look");
    let posted = world.take("tools/call");
    refuse(&mut world, &posted);
    done(&mut world);
    // First what is owed, then the call.
    assert!(!world.pending().contains(&"tools/call"));
    let posted = world.take("notifications/initialized");
    world.accept(&posted);
    let posted = world.take("tools/call");
    world.give(&posted, &json!({"content": []}));
    assert!(world.response(1).get("result").is_some());
}

#[test]
fn c37_a_person_who_is_late_still_brings_the_server() {
    let (mut world, _) = stood_in(None);
    world.initialized();
    denied(&mut world);
    assert_eq!(world.pending(), Vec::<&str>::new());
    // Nobody waits any more, and the sign-in succeeds all the same.
    done(&mut world);
    connects(&mut world);
    let changed = world.notifications();
    assert!(changed.contains(&"notifications/tools/list_changed".to_owned()));
}

#[test]
fn a_server_that_is_away_is_stood_in_for_and_tried_again() {
    let mut world = world();
    world.initialize();
    let _silent = world.take("initialize");
    world.seconds(20);
    let result = world.response("init")["result"].clone();
    assert!(
        result["instructions"]
            .as_str()
            .unwrap()
            .contains("does not answer yet")
    );
    world.initialized();
    // It is given up after a minute, and tried again by itself.
    world.seconds(41);
    let mut tries = 0;
    world.seconds_with(60, |world, posted| {
        tries += 1;
        if posted.key() == "initialize" {
            world.give_session(posted, "a");
        } else {
            world.accept(posted);
        }
    });
    assert!(tries >= 2);
    let changed = world.notifications();
    assert!(changed.contains(&"notifications/tools/list_changed".to_owned()));
}

#[test]
fn a_client_that_opens_addresses_is_asked_to_and_told_when_it_is_done() {
    let mut world = world();
    world.client_says(
        &json!({"jsonrpc": "2.0", "id": "init", "method": "initialize", "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {"elicitation": {"url": {}}},
            "clientInfo": {"name": "c", "version": "1"},
        }}),
    );
    let posted = world.take("initialize");
    world.give_session(&posted, "a");
    world.initialized();
    let posted = world.take("notifications/initialized");
    world.accept(&posted);
    call(&mut world, 1, "look");
    let posted = world.take("tools/call");
    refuse(&mut world, &posted);
    world.feed(prompt(false));
    let asked = world.line("elicitation/create");
    assert_eq!(asked["params"]["mode"], "url");
    assert_eq!(asked["params"]["url"], LINK);
    let id = asked["params"]["elicitationId"].clone();
    // Its answer is for us alone.
    world
        .client_says(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "accept"}}));
    // Another process takes over, with a link of its own: the one before leads nowhere.
    let later = "https://as.example/authorize?state=later";
    world.feed(Input::SignInNeeded(Prompt {
        url: later.to_owned(),
        instruction: None,
        opened: false,
    }));
    let complete = world.line("notifications/elicitation/complete");
    assert_eq!(complete["params"]["elicitationId"], id);
    let asked = world.line("elicitation/create");
    assert_eq!(asked["params"]["url"], later);
    let id = asked["params"]["elicitationId"].clone();
    done(&mut world);
    let complete = world.line("notifications/elicitation/complete");
    assert_eq!(complete["params"]["elicitationId"], id);
    world.take("tools/call");
}

#[test]
fn a_client_that_opens_none_is_asked_nothing() {
    let (mut world, _stream) = connected();
    call(&mut world, 1, "look");
    let posted = world.take("tools/call");
    refuse(&mut world, &posted);
    world.feed(prompt(false));
    world.seconds(60);
    assert!(world.notifications().is_empty());
    assert!(!world.has_line("elicitation/create"));
}
