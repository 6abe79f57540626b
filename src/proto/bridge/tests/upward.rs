//! A modern client before a legacy server: questions, logs, progress, addresses to open, tasks, and
//! sessions that have to declare more.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{Posted, World, initialize_result};
use crate::proto::Input;

const FORM: &str = "elicitation/create";

fn call(world: &mut World, id: u64) {
    world.modern_request(
        id,
        "tools/call",
        &json!({"name": "order", "arguments": {"n": 1}}),
    );
}

/// The server knows no `server/discover`; gives the `initialize` that follows.
fn first_initialize(world: &mut World) -> Posted {
    let probe = world.take("server/discover");
    let refusal = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#;
    world.answer(&probe, 400, &[], refusal);
    world.take("initialize")
}

/// A call under way, its stream open.
fn running(world: &mut World, id: u64) -> Posted {
    call(world, id);
    let posted = world.take("tools/call");
    world.stream(&posted);
    posted
}

/// The request that takes up a call with these answers.
fn retry(world: &mut World, id: u64, state: &Value, answers: &Value) {
    retry_with(world, id, state, answers, &json!({"n": 1}));
}

fn retry_with(world: &mut World, id: u64, state: &Value, answers: &Value, arguments: &Value) {
    let params = json!({"name": "order", "arguments": arguments, "requestState": state, "inputResponses": answers});
    world.modern_request(id, "tools/call", &params);
}

fn question(id: impl Into<Value>, method: &str) -> Value {
    let params = match method {
        FORM => {
            json!({"mode": "form", "message": "Which?", "requestedSchema": {"type": "object", "properties": {}},
            "elicitationId": "e", "task": {"ttl": 1}, "_meta": {"io.modelcontextprotocol/related-task": {"taskId": "t"}}})
        }
        "sampling/createMessage" => json!({"messages": [], "maxTokens": 5}),
        _ => json!({}),
    };
    json!({"jsonrpc": "2.0", "id": id.into(), "method": method, "params": params})
}

fn wait(world: &mut World) {
    world.advance(Duration::from_millis(60));
}

fn accepted() -> Value {
    json!({"action": "accept", "content": {"s": "M"}})
}

fn done(id: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": {"content": []}})
}

/// Suspends a call under this id; gives its stream and state.
fn suspended(world: &mut World, id: u64) -> (Posted, Value) {
    let posted = running(world, id);
    world.event(&posted, &question(0, FORM));
    wait(world);
    let asked = world.response(id);
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    (posted, asked["result"]["requestState"].clone())
}

#[track_caller]
fn reply(world: &mut World) -> Value {
    let posted = world.take("response");
    world.accept(&posted);
    let mut reply = posted.json;
    reply.as_object_mut().unwrap().remove("jsonrpc");
    reply
}

#[test]
fn t131_the_first_request_opens_the_session() {
    let mut world = World::new();
    call(&mut world, 1);
    let posted = first_initialize(&mut world);
    assert_eq!(
        posted.json["params"]["clientInfo"],
        json!({"name": "c", "version": "3"})
    );
    world.give_session(&posted, "a");
    assert_eq!(world.count("tools/call"), 0);
    world.finish_handshake("a");
    let posted = world.take("tools/call");
    world.give(&posted, &json!({"content": []}));
    let result = &world.response(1)["result"];
    assert_eq!(result["resultType"], "complete");
    assert_eq!(
        result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
        "s"
    );
    assert_eq!(result.get("ttlMs"), None);
}

#[test]
fn t133_a_legacy_server_sees_no_reserved_keys() {
    let mut world = World::new();
    world.connect_upward("a");
    let meta = json!({"traceparent": "00-0a", "com.example/k": 1, "io.modelcontextprotocol/logLevel": "info"});
    world.modern_request(1, "prompts/list", &json!({"cursor": "c", "_meta": meta}));
    let level = world.take("logging/setLevel");
    world.give(&level, &json!({}));
    let posted = world.take("prompts/list");
    let expected = json!({"cursor": "c", "_meta": {"traceparent": "00-0a", "com.example/k": 1}});
    assert_eq!(posted.json["params"], expected);
}

#[test]
fn t135_a_question_suspends_the_call_and_the_retry_takes_it_up() {
    let mut world = World::new();
    world.connect_upward("a");
    let posted = running(&mut world, 3);
    world.event(&posted, &question(0, FORM));
    assert!(!world.is_answered(3));
    wait(&mut world);
    let result = world.response(3)["result"].clone();
    let asked = json!({"q1": {"method": FORM, "params": {"mode": "form", "message": "Which?",
        "requestedSchema": {"type": "object", "properties": {}}}}});
    assert_eq!(result["inputRequests"], asked);
    assert_eq!(
        result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
        "s"
    );
    let state = result["requestState"].as_str().unwrap();
    assert!(state.starts_with("mb1.") && state.len() == 36, "{state}");
    assert!(world.is_running(&posted));
    let mut answer = accepted();
    answer["_meta"] = json!({"io.modelcontextprotocol/x": 1});
    retry(
        &mut world,
        4,
        &result["requestState"],
        &json!({"q1": answer, "other": {}}),
    );
    let answered = world.take("response");
    assert_eq!(answered.session(), "a");
    assert_eq!(
        answered.json,
        json!({"jsonrpc": "2.0", "id": 0, "result": accepted()})
    );
    world.accept(&answered);
    assert!(!world.is_answered(4));
    world.event(&posted, &done(&posted.json["id"]));
    assert_eq!(world.response(4)["result"]["resultType"], "complete");
    assert_eq!(world.count("tools/call"), 1);
    assert_eq!(world.unanswered(), 0);
    world.end(&posted);
    world.seconds(700);
    assert_eq!(world.count("notifications/cancelled"), 0);
}

#[test]
fn t135_a_second_question_is_a_second_round() {
    let mut world = World::new();
    world.connect_upward("a");
    let (posted, first) = suspended(&mut world, 3);
    retry(&mut world, 4, &first, &json!({"q1": accepted()}));
    reply(&mut world);
    world.event(&posted, &question("b", "sampling/createMessage"));
    wait(&mut world);
    let result = world.response(4)["result"].clone();
    assert_eq!(
        result["inputRequests"]["q1"]["method"],
        "sampling/createMessage"
    );
    assert_ne!(result["requestState"], first);
    // A client that uses the id of the request it repeats is served as well.
    let answer =
        json!({"role": "assistant", "content": {"type": "text", "text": "x"}, "model": "m"});
    retry(
        &mut world,
        4,
        &result["requestState"],
        &json!({"q1": answer}),
    );
    assert_eq!(reply(&mut world), json!({"id": "b", "result": answer}));
    world.event(&posted, &done(&posted.json["id"]));
    assert_eq!(world.response(4)["result"]["resultType"], "complete");
    assert_eq!(world.count("tools/call"), 1);
}

#[test]
fn t135_an_answer_that_comes_before_the_retry_waits_for_it() {
    let mut world = World::new();
    world.connect_upward("a");
    let (posted, state) = suspended(&mut world, 3);
    world.event(&posted, &done(&posted.json["id"]));
    world.end(&posted);
    retry(&mut world, 4, &state, &json!({"q1": accepted()}));
    assert_eq!(world.response(4)["result"]["content"], json!([]));
    // Nobody needs an answer to the question any more.
    assert_eq!(
        reply(&mut world),
        json!({"id": 0, "result": {"action": "cancel"}})
    );
}

#[test]
fn a_stream_that_is_continued_is_continued_for_a_suspended_call() {
    let mut world = World::new();
    world.connect_upward("a");
    let posted = running(&mut world, 3);
    world.events(
        &posted,
        None,
        Some("7"),
        Some(10),
        &question(0, FORM).to_string(),
    );
    wait(&mut world);
    let state = world.response(3)["result"]["requestState"].clone();
    world.end(&posted);
    world.seconds(1);
    let resumed = world.take("GET");
    assert_eq!(resumed.header("last-event-id"), Some("7"));
    world.stream(&resumed);
    // Told again, it is no second question.
    world.event(&resumed, &question(0, FORM));
    retry(&mut world, 4, &state, &json!({"q1": accepted()}));
    reply(&mut world);
    world.event(&resumed, &done(&posted.json["id"]));
    assert_eq!(world.response(4)["result"]["resultType"], "complete");
    assert_eq!(world.count("response"), 1);
}

#[test]
fn a_suspended_request_is_not_repeated_when_its_stream_breaks() {
    let mut world = World::new();
    let listen = world.connect_upward("a");
    world.end(&listen);
    world.modern_request(3, "prompts/get", &json!({"name": "p"}));
    let posted = world.take("prompts/get");
    world.stream(&posted);
    world.event(&posted, &question(0, FORM));
    wait(&mut world);
    let state = world.response(3)["result"]["requestState"].clone();
    world.end(&posted);
    world.seconds(3);
    assert_eq!(world.count("prompts/get"), 1);
    world.modern_request(
        4,
        "prompts/get",
        &json!({"name": "p", "requestState": state}),
    );
    let error = &world.response(4)["error"];
    assert_eq!(error["data"]["kind"], "stream-ended");
    assert_eq!(error["data"]["executed"], "unknown");
}

#[test]
fn t136_questions_that_come_together_are_asked_together() {
    let mut world = World::new();
    world.connect_upward("a");
    let posted = running(&mut world, 3);
    world.event(&posted, &question(0, FORM));
    world.advance(Duration::from_millis(20));
    world.event(&posted, &question(1, "roots/list"));
    wait(&mut world);
    let result = world.response(3)["result"].clone();
    assert_eq!(result["inputRequests"]["q1"]["method"], FORM);
    assert_eq!(result["inputRequests"]["q2"]["method"], "roots/list");
    retry(
        &mut world,
        4,
        &result["requestState"],
        &json!({"q2": {"roots": []}, "q1": accepted()}),
    );
    assert_eq!(reply(&mut world), json!({"id": 0, "result": accepted()}));
    assert_eq!(reply(&mut world), json!({"id": 1, "result": {"roots": []}}));
}

#[test]
fn t137_what_was_not_answered_is_asked_again() {
    let mut world = World::new();
    world.connect_upward("a");
    let posted = running(&mut world, 3);
    world.event(&posted, &question(0, FORM));
    world.event(&posted, &question(1, "roots/list"));
    wait(&mut world);
    let first = world.response(3)["result"].clone();
    retry(
        &mut world,
        4,
        &first["requestState"],
        &json!({"q1": accepted(), "q2": "no object"}),
    );
    assert_eq!(reply(&mut world), json!({"id": 0, "result": accepted()}));
    let second = world.response(4)["result"].clone();
    assert_eq!(second["resultType"], "input_required");
    assert_eq!(
        second["inputRequests"],
        json!({"q2": {"method": "roots/list", "params": {}}})
    );
    // What comes meanwhile is asked with it.
    world.event(&posted, &question(2, FORM));
    retry(
        &mut world,
        5,
        &second["requestState"],
        &json!({"q2": {"roots": []}}),
    );
    assert_eq!(reply(&mut world), json!({"id": 1, "result": {"roots": []}}));
    let third = world.response(5)["result"].clone();
    assert_eq!(third["inputRequests"]["q1"]["method"], FORM);
    for state in [&first["requestState"], &second["requestState"]] {
        retry(&mut world, 6, state, &json!({"q1": accepted()}));
        assert_eq!(world.response(6)["error"]["code"], -32602);
    }
    retry(
        &mut world,
        6,
        &third["requestState"],
        &json!({"q1": accepted()}),
    );
    reply(&mut world);
    world.event(&posted, &done(&posted.json["id"]));
    assert_eq!(world.response(6)["result"]["resultType"], "complete");
}

#[test]
fn t138_a_question_on_the_servers_own_stream_goes_with_the_running_call() {
    let mut world = World::new();
    let listen = world.connect_upward("a");
    let first = running(&mut world, 3);
    let newest = running(&mut world, 4);
    world.event(&listen, &question("x", "roots/list"));
    wait(&mut world);
    assert!(!world.is_answered(3) && world.is_running(&first));
    let state = world.response(4)["result"]["requestState"].clone();
    retry(&mut world, 5, &state, &json!({"q1": {"roots": []}}));
    assert_eq!(
        reply(&mut world),
        json!({"id": "x", "result": {"roots": []}})
    );
    world.event(&newest, &done(&newest.json["id"]));
    assert_eq!(world.response(5)["result"]["resultType"], "complete");
}

#[test]
fn t139_a_question_without_a_request_waits_for_the_next_one() {
    let mut world = World::new();
    let listen = world.connect_upward("a");
    world.event(&listen, &question(0, "roots/list"));
    world.seconds(2);
    assert_eq!(world.lines(), Vec::<Value>::new());
    // One that is answered at once is not troubled with it.
    call(&mut world, 1);
    let quick = world.take("tools/call");
    world.give(&quick, &json!({"content": []}));
    assert_eq!(world.response(1)["result"]["resultType"], "complete");
    let posted = running(&mut world, 2);
    wait(&mut world);
    let result = world.response(2)["result"].clone();
    assert_eq!(result["inputRequests"]["q1"]["method"], "roots/list");
    retry(
        &mut world,
        3,
        &result["requestState"],
        &json!({"q1": {"roots": []}}),
    );
    assert_eq!(reply(&mut world), json!({"id": 0, "result": {"roots": []}}));
    world.event(&posted, &done(&posted.json["id"]));
    assert_eq!(world.response(3)["result"]["resultType"], "complete");
}

#[test]
fn t140_a_question_that_no_request_comes_for_is_refused() {
    let mut world = World::new();
    let listen = world.connect_upward("a");
    for (id, method) in [(0, "roots/list"), (1, "sampling/createMessage"), (2, FORM)] {
        world.event(&listen, &question(id, method));
    }
    world.seconds(59);
    assert_eq!(world.count("response"), 0);
    world.seconds(1);
    assert_eq!(reply(&mut world)["error"]["code"], -32603);
    assert_eq!(reply(&mut world)["error"]["code"], -1);
    assert_eq!(reply(&mut world)["result"], json!({"action": "cancel"}));
    assert_eq!(world.lines(), Vec::<Value>::new());
}

#[test]
fn t141_a_request_that_cannot_carry_questions_is_answered_without() {
    let mut world = World::new();
    world.connect_upward("a");
    world.modern_request(1, "tools/list", &json!({}));
    let posted = world.take("tools/list");
    world.stream(&posted);
    world.event(&posted, &question(0, FORM));
    world.seconds(60);
    assert_eq!(
        reply(&mut world),
        json!({"id": 0, "result": {"action": "cancel"}})
    );
    world.event(
        &posted,
        &json!({"jsonrpc": "2.0", "id": posted.json["id"], "result": {"tools": []}}),
    );
    let lines = world.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["result"]["tools"], json!([]));
}

#[test]
fn t142_what_a_request_does_not_declare_is_never_asked() {
    let mut world = World::new();
    world.connect_upward("a");
    let params = json!({"name": "order", "requestState": null});
    world.modern_request_with(3, "tools/call", &params, &json!({"elicitation": {}}));
    let posted = world.take("tools/call");
    world.stream(&posted);
    let mut address = question(9, FORM);
    address["params"] = json!({"mode": "url", "message": "m", "url": "https://x.example/"});
    world.event(&posted, &address);
    assert_eq!(
        reply(&mut world),
        json!({"id": 9, "result": {"action": "cancel"}})
    );
    for method in ["roots/list", "sampling/createMessage", "vendor/ask"] {
        world.event(&posted, &question(1, method));
        assert_eq!(reply(&mut world)["error"]["code"], -32601, "{method}");
    }
    wait(&mut world);
    assert_eq!(world.lines(), Vec::<Value>::new());
}

#[test]
fn t143_a_state_is_good_once_and_for_the_same_request() {
    let mut world = World::new();
    world.connect_upward("a");
    let (posted, state) = suspended(&mut world, 3);
    let answers = json!({"q1": accepted()});
    retry_with(&mut world, 4, &state, &answers, &json!({"n": 2}));
    assert_eq!(world.response(4)["error"]["code"], -32602);
    world.modern_request(
        5,
        "tools/call",
        &json!({"name": "other", "arguments": {"n": 1}, "requestState": state}),
    );
    assert_eq!(world.response(5)["error"]["code"], -32602);
    for forged in [
        json!("mb1.00000000000000000000000000000000"),
        json!(""),
        json!(7),
        json!({}),
    ] {
        retry(&mut world, 6, &forged, &answers);
        assert_eq!(world.response(6)["error"]["code"], -32602, "{forged}");
    }
    assert_eq!(world.count("response"), 0);
    retry(&mut world, 7, &state, &answers);
    reply(&mut world);
    retry(&mut world, 8, &state, &answers);
    assert_eq!(world.response(8)["error"]["code"], -32602);
    assert_eq!(world.count("tools/call"), 1);
    world.event(&posted, &done(&posted.json["id"]));
    assert_eq!(world.response(7)["result"]["resultType"], "complete");
}

#[test]
fn answers_without_a_state_are_left_out() {
    let mut world = World::new();
    world.connect_upward("a");
    let params = json!({"name": "order", "inputResponses": {"q1": accepted()}});
    world.modern_request(3, "tools/call", &params);
    assert_eq!(
        world.take("tools/call").json["params"],
        json!({"name": "order"})
    );
}

#[test]
fn t144_the_id_of_a_suspended_call_can_be_used_again() {
    let mut world = World::new();
    world.connect_upward("a");
    let (first, state) = suspended(&mut world, 3);
    let second = running(&mut world, 3);
    assert_ne!(second.json["id"], first.json["id"]);
    world.event(&second, &done(&second.json["id"]));
    assert_eq!(world.response(3)["result"]["resultType"], "complete");
    retry(&mut world, 4, &state, &json!({"q1": accepted()}));
    world.event(&first, &json!({"jsonrpc": "2.0", "id": 3, "result": {"content": [{"type": "text", "text": "first"}]}}));
    assert_eq!(world.response(4)["result"]["content"][0]["text"], "first");
}

#[test]
fn t145_a_call_whose_client_does_not_come_back_is_cancelled() {
    let mut world = World::new();
    world.connect_upward("a");
    let (posted, state) = suspended(&mut world, 3);
    world.seconds(601);
    assert_eq!(
        reply(&mut world),
        json!({"id": 0, "result": {"action": "cancel"}})
    );
    let note = world.take("notifications/cancelled");
    assert_eq!(note.json["params"]["requestId"], 3);
    world.accept(&note);
    assert!(!world.is_running(&posted));
    retry(&mut world, 4, &state, &json!({"q1": accepted()}));
    assert_eq!(world.response(4)["error"]["code"], -32602);
    assert_eq!(world.unanswered(), 0);
}

#[test]
fn t146_the_cancellation_of_a_retry_names_the_call() {
    let mut world = World::new();
    world.connect_upward("a");
    let (posted, state) = suspended(&mut world, 3);
    // The first request was answered: there is nothing to cancel.
    world.client_says(
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 3}}),
    );
    assert_eq!(world.count("notifications/cancelled"), 0);
    retry(&mut world, 4, &state, &json!({"q1": accepted()}));
    reply(&mut world);
    world.client_says(
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 4}}),
    );
    let note = world.take("notifications/cancelled");
    assert_eq!(note.json["params"]["requestId"], 3);
    world.accept(&note);
    assert!(!world.is_running(&posted));
    assert!(!world.is_answered(4));
}

#[test]
fn t147_progress_has_the_token_of_the_request_under_way() {
    let mut world = World::new();
    world.connect_upward("a");
    world.modern_request(
        3,
        "tools/call",
        &json!({"name": "order", "_meta": {"progressToken": 7}}),
    );
    let posted = world.take("tools/call");
    let token = posted.json["params"]["_meta"]["progressToken"].clone();
    assert_ne!(token, 7);
    world.stream(&posted);
    let progress = |value: u64| {
        json!({"jsonrpc": "2.0", "method": "notifications/progress",
        "params": {"progressToken": token, "progress": value, "message": "m"}})
    };
    for value in [1, 1, 2] {
        world.event(&posted, &progress(value));
    }
    let first = world.line("notifications/progress");
    assert_eq!(
        first["params"],
        json!({"progressToken": 7, "progress": 1, "message": "m"})
    );
    assert_eq!(
        world.line("notifications/progress")["params"]["progress"],
        2
    );
    world.event(&posted, &question(0, FORM));
    wait(&mut world);
    let state = world.response(3)["result"]["requestState"].clone();
    for value in [3, 4] {
        world.event(&posted, &progress(value));
    }
    assert_eq!(world.lines(), Vec::<Value>::new());
    let params = json!({"name": "order", "requestState": state, "inputResponses": {"q1": accepted()}, "_meta": {"progressToken": "t"}});
    world.modern_request(4, "tools/call", &params);
    let kept = world.line("notifications/progress");
    assert_eq!(
        kept["params"],
        json!({"progressToken": "t", "progress": 4, "message": "m"})
    );
    world.event(&posted, &progress(5));
    assert_eq!(
        world.line("notifications/progress")["params"]["progressToken"],
        "t"
    );
    world.event(&posted, &done(&posted.json["id"]));
    world.response(4);
    world.event(&posted, &progress(6));
    assert_eq!(world.lines(), Vec::<Value>::new());
}

fn leveled(world: &mut World, id: u64, level: &str) {
    let params = json!({"name": "order", "_meta": {"io.modelcontextprotocol/logLevel": level}});
    world.modern_request(id, "tools/call", &params);
}

fn log(level: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": level, "data": "d"}})
}

#[test]
fn t151_the_session_has_the_level_of_a_request_before_it_is_sent() {
    let mut world = World::new();
    let listen = world.connect_upward("a");
    leveled(&mut world, 1, "info");
    assert_eq!(world.count("tools/call"), 0);
    let level = world.take("logging/setLevel");
    assert_eq!(level.json["params"], json!({"level": "info"}));
    world.give(&level, &json!({}));
    let with = world.take("tools/call");
    world.stream(&with);
    let without = running(&mut world, 2);
    for (posted, level) in [
        (&with, "debug"),
        (&without, "error"),
        (&with, "info"),
        (&listen, "warning"),
    ] {
        world.event(posted, &log(level));
    }
    let levels: Vec<Value> = world
        .lines()
        .iter()
        .map(|line| line["params"]["level"].clone())
        .collect();
    assert_eq!(levels, ["info", "warning"]);
    // One that is content with less needs nothing; with two it is not clear whose they are.
    leveled(&mut world, 3, "error");
    let third = world.take("tools/call");
    world.event(&listen, &log("error"));
    assert_eq!(world.lines(), Vec::<Value>::new());
    leveled(&mut world, 4, "debug");
    let level = world.take("logging/setLevel");
    assert_eq!(level.json["params"], json!({"level": "debug"}));
    world.answer(&level, 500, &[], "");
    let fourth = world.take("tools/call");
    for posted in [&with, &without, &third, &fourth] {
        if world.is_running(posted) {
            world.give(posted, &json!({"content": []}));
        }
    }
    world.event(&with, &done(&with.json["id"]));
    world.event(&without, &done(&without.json["id"]));
    // When nobody needs it any more the level goes down.
    world.seconds(29);
    assert_eq!(world.count("logging/setLevel"), 2);
    world.seconds(2);
    let level = world.take("logging/setLevel");
    assert_eq!(level.json["params"], json!({"level": "emergency"}));
}

#[test]
fn t151_a_level_that_does_not_exist_is_refused_and_none_is_set_where_there_are_no_logs() {
    let mut world = World::new();
    world.connect_upward("a");
    leveled(&mut world, 1, "loud");
    assert_eq!(world.response(1)["error"]["code"], -32602);
    let mut world = World::new();
    call(&mut world, 0);
    let posted = first_initialize(&mut world);
    let mut result = initialize_result("2025-11-25");
    result["capabilities"]
        .as_object_mut()
        .unwrap()
        .remove("logging");
    world.give(&posted, &result);
    let note = world.take("notifications/initialized");
    world.accept(&note);
    leveled(&mut world, 1, "debug");
    assert_eq!(world.count("logging/setLevel"), 0);
    assert_eq!(world.count("tools/call"), 2);
}

#[test]
fn a_server_that_does_not_answer_about_the_level_holds_nothing_up_for_long() {
    let mut world = World::new();
    world.connect_upward("a");
    leveled(&mut world, 1, "info");
    leveled(&mut world, 2, "info");
    world.take("logging/setLevel");
    world.seconds(9);
    assert_eq!(world.count("tools/call"), 0);
    world.seconds(1);
    assert_eq!(world.count("tools/call"), 2);
    assert_eq!(world.count("logging/setLevel"), 1);
}

#[test]
fn the_level_is_set_in_a_new_session_too() {
    let mut world = World::new();
    world.connect_upward("a");
    leveled(&mut world, 1, "info");
    let level = world.take("logging/setLevel");
    world.give(&level, &json!({}));
    let posted = world.take("tools/call");
    world.lose(&posted);
    world.reopen("b");
    let level = world.take("logging/setLevel");
    assert_eq!(level.session(), "b");
    // Lost with the session, it is asked for in the next one.
    world.lose(&level);
    world.reopen("c");
    let level = world.take("logging/setLevel");
    world.give(&level, &json!({}));
    assert_eq!(world.take("tools/call").session(), "c");
}

#[test]
fn logs_of_a_suspended_call_wait_for_its_retry() {
    let mut world = World::new();
    world.connect_upward("a");
    leveled(&mut world, 1, "debug");
    let level = world.take("logging/setLevel");
    world.give(&level, &json!({}));
    let posted = world.take("tools/call");
    world.stream(&posted);
    world.event(&posted, &question(0, FORM));
    wait(&mut world);
    let state = world.response(1)["result"]["requestState"].clone();
    for number in 0..60 {
        let mut log = log("info");
        log["params"]["data"] = json!(number);
        world.event(&posted, &log);
    }
    assert_eq!(world.lines(), Vec::<Value>::new());
    let params =
        json!({"name": "order", "requestState": state, "inputResponses": {"q1": accepted()}});
    world.modern_request(2, "tools/call", &params);
    let lines = world.lines();
    assert_eq!(lines.len(), 50);
    assert_eq!(lines[0]["params"]["data"], 10);
}

fn url_required(posted: &Posted) -> String {
    let listed = json!([{"mode": "url", "elicitationId": "e1", "url": "https://x.example/in", "message": "Sign in"}]);
    json!({"jsonrpc": "2.0", "id": posted.json["id"], "error":
        {"code": -32042, "message": "first", "data": {"elicitations": listed}}})
    .to_string()
}

/// A call that is answered with an address to open; gives its state.
fn address_asked(world: &mut World, id: u64) -> Value {
    call(world, id);
    let posted = world.take("tools/call");
    world.answer(&posted, 200, &[], url_required(&posted));
    let result = world.response(id)["result"].clone();
    let asked = json!({"mode": "url", "message": "Sign in", "url": "https://x.example/in"});
    assert_eq!(
        result["inputRequests"],
        json!({"q1": {"method": FORM, "params": asked}})
    );
    result["requestState"].clone()
}

#[test]
fn t152_a_call_is_sent_again_after_the_address_was_opened() {
    let mut world = World::new();
    let listen = world.connect_upward("a");
    let complete = json!({"jsonrpc": "2.0", "method": "notifications/elicitation/complete", "params": {"elicitationId": "e1"}});
    let agreed = json!({"q1": {"action": "accept"}});
    let state = address_asked(&mut world, 1);
    retry(&mut world, 2, &state, &agreed);
    world.seconds(5);
    assert_eq!(world.count("tools/call"), 1);
    world.event(&listen, &complete);
    let posted = world.take("tools/call");
    assert_eq!(
        posted.json["params"],
        json!({"name": "order", "arguments": {"n": 1}})
    );
    assert_ne!(posted.json["id"], 1);
    // Once more: another round, and this time the word comes first.
    world.answer(&posted, 200, &[], url_required(&posted));
    let state = world.response(2)["result"]["requestState"].clone();
    world.event(&listen, &complete);
    retry(&mut world, 3, &state, &agreed);
    let posted = world.take("tools/call");
    world.give(&posted, &json!({"content": []}));
    assert_eq!(world.response(3)["result"]["resultType"], "complete");
    retry(&mut world, 4, &state, &agreed);
    assert_eq!(world.response(4)["error"]["code"], -32602);
    assert_eq!(world.lines(), Vec::<Value>::new());
}

#[test]
fn t152_no_word_from_the_server_is_waited_for_half_a_minute() {
    let mut world = World::new();
    world.connect_upward("a");
    let state = address_asked(&mut world, 1);
    retry(&mut world, 2, &state, &json!({}));
    let again = world.response(2)["result"].clone();
    assert_eq!(again["inputRequests"]["q1"]["method"], FORM);
    retry(
        &mut world,
        3,
        &again["requestState"],
        &json!({"q1": {"action": "accept"}}),
    );
    world.seconds(29);
    assert_eq!(world.count("tools/call"), 1);
    world.seconds(1);
    assert_eq!(world.count("tools/call"), 2);
}

#[test]
fn t152_a_refused_address_ends_the_call() {
    let mut world = World::new();
    world.connect_upward("a");
    let state = address_asked(&mut world, 1);
    retry(&mut world, 2, &state, &json!({"q1": {"action": "decline"}}));
    let result = &world.response(2)["result"];
    assert_eq!(result["isError"], true);
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["content"][0]["text"], "authorization declined");
    assert_eq!(world.count("tools/call"), 1);
}

#[test]
fn t152_an_address_that_is_asked_for_while_the_call_is_suspended() {
    let mut world = World::new();
    world.connect_upward("a");
    let (posted, state) = suspended(&mut world, 3);
    let error: Value = serde_json::from_str(&url_required(&posted)).unwrap();
    world.event(&posted, &error);
    // The answer is to another question.
    retry(&mut world, 4, &state, &json!({"q1": accepted()}));
    let asked = world.response(4)["result"].clone();
    assert_eq!(asked["inputRequests"]["q1"]["params"]["mode"], "url");
    assert_ne!(asked["requestState"], state);
    assert_eq!(world.count("tools/call"), 1);
}

#[test]
fn t153_a_client_that_opens_no_addresses_is_told_what_it_lacks() {
    let mut world = World::new();
    world.connect_upward("a");
    world.modern_request_with(
        1,
        "tools/call",
        &json!({"name": "order"}),
        &json!({"elicitation": {}}),
    );
    let posted = world.take("tools/call");
    world.answer(&posted, 200, &[], url_required(&posted));
    let error = &world.response(1)["error"];
    assert_eq!(error["code"], -32021);
    assert_eq!(
        error["data"]["requiredCapabilities"],
        json!({"elicitation": {"url": {}}})
    );
}

#[test]
fn t154_a_missing_resource_has_the_modern_code() {
    let mut world = World::new();
    world.connect_upward("a");
    world.modern_request(1, "resources/read", &json!({"uri": "u"}));
    let posted = world.take("resources/read");
    let error = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32002, "message": "gone", "data": {"uri": "u"}}});
    world.answer(&posted, 200, &[], error.to_string());
    let expected = json!({"code": -32602, "message": "gone", "data": {"uri": "u"}});
    assert_eq!(world.response(1)["error"], expected);
}

#[test]
fn t155_a_ping_of_the_server_is_answered_by_the_bridge() {
    let mut world = World::new();
    let listen = world.connect_upward("a");
    let posted = running(&mut world, 1);
    for stream in [&listen, &posted] {
        world.event(stream, &question("p", "ping"));
        assert_eq!(reply(&mut world), json!({"id": "p", "result": {}}));
    }
    assert_eq!(world.lines(), Vec::<Value>::new());
}

/// A modern client before a legacy server with tasks.
fn with_tasks() -> World {
    let mut world = World::new();
    world.modern_request(0, "server/discover", &json!({}));
    let posted = first_initialize(&mut world);
    let mut result = initialize_result("2025-11-25");
    result["capabilities"]["tasks"] = json!({"requests": {"tools": {"call": {}}}});
    let answer = posted.result(&result).to_string();
    world.answer(&posted, 200, &[("mcp-session-id", "a")], answer);
    world.finish_handshake("a");
    assert_eq!(
        world.response(0)["result"]["capabilities"].get("tasks"),
        None
    );
    world
}

fn task(status: &str) -> Value {
    json!({"taskId": "t1", "status": status, "createdAt": "x", "lastUpdatedAt": "x", "ttl": 1, "pollInterval": 500})
}

/// A call that has become a task; gives the upstream id.
fn task_running(world: &mut World, id: u64) -> Value {
    call(world, id);
    let posted = world.take("tools/call");
    let error = json!({"jsonrpc": "2.0", "id": posted.json["id"], "error": {"code": -32601, "message": "as a task"}});
    world.answer(&posted, 200, &[], error.to_string());
    let posted = world.take("tools/call");
    assert_eq!(
        posted.json["params"],
        json!({"name": "order", "arguments": {"n": 1}, "task": {"ttl": 3_600_000}})
    );
    assert_ne!(posted.json["id"], id);
    world.give(&posted, &json!({"task": task("working")}));
    posted.json["id"].clone()
}

#[test]
fn t156_a_tool_that_runs_as_a_task_gives_its_result() {
    let mut world = with_tasks();
    task_running(&mut world, 1);
    world.advance(Duration::from_millis(500));
    let poll = world.take("tasks/get");
    assert_eq!(poll.json["params"], json!({"taskId": "t1"}));
    assert_eq!(poll.session(), "a");
    world.refuse_connection(&poll);
    world.advance(Duration::from_millis(500));
    let poll = world.take("tasks/get");
    world.give(&poll, &task("completed"));
    let outcome = world.take("tasks/result");
    let related = json!({"io.modelcontextprotocol/related-task": {"taskId": "t1"}, "k": 1});
    world.give(
        &outcome,
        &json!({"content": [{"type": "text", "text": "done"}], "_meta": related}),
    );
    let result = world.response(1)["result"].clone();
    assert_eq!(result["content"][0]["text"], "done");
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["_meta"]["k"], 1);
    assert_eq!(
        result["_meta"].get("io.modelcontextprotocol/related-task"),
        None
    );
    assert_eq!(result.get("task"), None);
    world.seconds(5);
    assert_eq!(world.count("tasks/get") + world.count("tasks/cancel"), 2);
}

#[test]
fn t156_the_questions_of_a_task_come_beside_its_result() {
    let mut world = with_tasks();
    task_running(&mut world, 1);
    world.seconds(1);
    let poll = world.take("tasks/get");
    world.give(&poll, &task("input_required"));
    let outcome = world.take("tasks/result");
    world.stream(&outcome);
    world.event(&outcome, &question(0, FORM));
    wait(&mut world);
    let state = world.response(1)["result"]["requestState"].clone();
    retry(&mut world, 2, &state, &json!({"q1": accepted()}));
    assert_eq!(reply(&mut world), json!({"id": 0, "result": accepted()}));
    world.event(&outcome, &done(&outcome.json["id"]));
    assert_eq!(world.response(2)["result"]["resultType"], "complete");
}

#[test]
fn t156_a_cancelled_task_and_one_that_nobody_tells_of_end_the_call() {
    let mut world = with_tasks();
    task_running(&mut world, 1);
    world.client_says(
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
    );
    assert_eq!(
        world.take("tasks/cancel").json["params"],
        json!({"taskId": "t1"})
    );
    assert_eq!(world.count("notifications/cancelled"), 0);
    task_running(&mut world, 2);
    world.seconds(1);
    let poll = world.take("tasks/get");
    world.give(&poll, &task("cancelled"));
    assert_eq!(world.response(2)["error"]["code"], -32603);
    task_running(&mut world, 3);
    for _ in 0..4 {
        world.seconds(1);
        let poll = world.take("tasks/get");
        world.answer(&poll, 500, &[], "");
    }
    assert_eq!(world.response(3)["error"]["data"]["executed"], "unknown");
    world.seconds(9);
    assert_eq!(world.count("tasks/get"), 5);
}

#[test]
fn t156_a_tool_that_is_not_there_is_tried_twice_at_most() {
    let mut world = with_tasks();
    call(&mut world, 1);
    for _ in 0..2 {
        let posted = world.take("tools/call");
        let error = json!({"jsonrpc": "2.0", "id": posted.json["id"], "error": {"code": -32601, "message": "no"}});
        world.answer(&posted, 200, &[], error.to_string());
    }
    assert_eq!(world.response(1)["error"]["message"], "no");
}

#[test]
fn t157_a_client_that_initializes_after_all_has_the_session() {
    let mut world = World::new();
    let listen = world.connect_upward("a");
    world.client_says(
        &json!({"jsonrpc": "2.0", "id": "init", "method": "initialize", "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {"roots": {}, "sampling": {}, "elicitation": {"form": {}, "url": {}}},
            "clientInfo": {"name": "c", "version": "3"},
        }}),
    );
    assert_eq!(
        world.response("init")["result"],
        initialize_result("2025-11-25")
    );
    world.initialized();
    assert_eq!(world.count("initialize"), 1);
    assert_eq!(world.count("notifications/initialized"), 1);
    // What comes on no request's stream is for the client as one of the older era.
    world.event(&listen, &question(0, "roots/list"));
    let asked = world.line("roots/list");
    world.client_says(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"roots": []}}));
    assert_eq!(reply(&mut world), json!({"id": 0, "result": {"roots": []}}));
    world.request(1, "tools/list");
    let posted = world.take("tools/list");
    world.give(&posted, &json!({"tools": []}));
    assert_eq!(world.response(1)["result"], json!({"tools": []}));
}

#[test]
fn t157_another_initialize_opens_another_session() {
    let mut world = World::new();
    world.connect_upward("a");
    world.initialize();
    world.take("DELETE");
    let posted = world.take("initialize");
    world.give_session(&posted, "b");
    assert_eq!(
        world.response("init")["result"]["protocolVersion"],
        "2025-11-25"
    );
}

/// A modern client before a server of HTTP+SSE; gives its stream.
fn over_sse() -> (World, Posted) {
    let mut world = World::sse();
    world.modern_request(0, "server/discover", &json!({}));
    let stream = world.reopen_sse("/m");
    let note = world.take("notifications/initialized");
    world.accept(&note);
    assert_eq!(world.response(0)["result"]["resultType"], "complete");
    (world, stream)
}

#[test]
fn t160_a_question_on_the_stream_of_http_sse_goes_with_the_call() {
    let (mut world, stream) = over_sse();
    call(&mut world, 3);
    let posted = world.take("tools/call");
    world.accept(&posted);
    world.event(&stream, &question(0, "sampling/createMessage"));
    wait(&mut world);
    let state = world.response(3)["result"]["requestState"].clone();
    let block = json!({"type": "text", "text": "x"});
    let answer = json!({"role": "assistant", "content": [{"type": "image", "data": "", "mimeType": "image/png"}, block], "model": "m"});
    retry(&mut world, 4, &state, &json!({"q1": answer}));
    // The server is of a revision that takes one block.
    assert_eq!(reply(&mut world)["result"]["content"], block);
    world.event(&stream, &done(&posted.json["id"]));
    assert_eq!(world.response(4)["result"]["resultType"], "complete");
    assert_eq!(world.count("tools/call"), 1);
}

#[test]
fn t160_the_stream_of_http_sse_ends_while_the_client_is_asked() {
    let (mut world, stream) = over_sse();
    call(&mut world, 3);
    let posted = world.take("tools/call");
    world.accept(&posted);
    world.event(&stream, &question(0, "roots/list"));
    wait(&mut world);
    let state = world.response(3)["result"]["requestState"].clone();
    world.end(&stream);
    retry(&mut world, 4, &state, &json!({"q1": {"roots": []}}));
    world.seconds(5);
    world.reopen_sse("/m");
    let note = world.take("notifications/initialized");
    world.accept(&note);
    assert_eq!(world.response(4)["error"]["data"]["kind"], "session-lost");
    assert_eq!(world.count("tools/call"), 1);
    assert_eq!(world.count("response"), 0);
}

#[test]
fn t162_a_session_that_is_lost_takes_suspended_calls_with_it() {
    let mut world = World::new();
    world.connect_upward("a");
    let (posted, state) = suspended(&mut world, 3);
    world.modern_request(5, "prompts/list", &json!({}));
    let other = world.take("prompts/list");
    world.lose(&other);
    world.reopen("b");
    let other = world.take("prompts/list");
    assert_eq!(other.session(), "b");
    world.give(&other, &json!({"prompts": []}));
    world.response(5);
    retry(&mut world, 4, &state, &json!({"q1": accepted()}));
    let error = &world.response(4)["error"];
    assert_eq!(error["data"]["kind"], "session-lost");
    assert_eq!(error["data"]["executed"], "unknown");
    assert!(!world.is_running(&posted));
    assert_eq!(world.count("response"), 0);
    retry(&mut world, 6, &state, &json!({"q1": accepted()}));
    assert_eq!(world.response(6)["error"]["code"], -32602);
    let next = running(&mut world, 7);
    assert_eq!(next.session(), "b");
}

#[test]
fn t163_a_client_can_be_sent_to_initialize() {
    let mut world = World::with(|settings| settings.legacy_first = true);
    world.modern_request(0, "server/discover", &json!({}));
    let posted = first_initialize(&mut world);
    world.give_session(&posted, "a");
    world.finish_handshake("a");
    assert_eq!(world.response(0)["error"]["code"], -32601);
    world.initialize();
    let posted = world.take("initialize");
    world.give_session(&posted, "b");
    world.response("init");
    world.initialized();
    let note = world.take("notifications/initialized");
    world.accept(&note);
    world.request(1, "tools/list");
    let posted = world.take("tools/list");
    world.give(&posted, &json!({"tools": []}));
    assert_eq!(world.response(1)["result"], json!({"tools": []}));
}

// Sessions that declare too little.

#[test]
fn a_request_that_declares_more_gets_a_session_that_does() {
    let mut world = World::new();
    world.modern_request_with(
        0,
        "tools/call",
        &json!({"name": "order", "arguments": {"n": 1}}),
        &json!({"elicitation": {}}),
    );
    let posted = first_initialize(&mut world);
    assert_eq!(
        posted.json["params"]["capabilities"],
        json!({"elicitation": {}})
    );
    world.give_session(&posted, "a");
    let old_stream = world.finish_handshake("a");
    let old = world.take("tools/call");
    world.stream(&old);
    world.event(&old, &question(0, FORM));
    wait(&mut world);
    let state = world.response(0)["result"]["requestState"].clone();
    call(&mut world, 1);
    call(&mut world, 2);
    let posted = world.take("initialize");
    let expected = json!({"elicitation": {"form": {}, "url": {}}, "roots": {}, "sampling": {}});
    assert_eq!(posted.json["params"]["capabilities"], expected);
    world.give_session(&posted, "b");
    world.finish_handshake("b");
    for _ in 0..2 {
        assert_eq!(world.take("tools/call").session(), "b");
    }
    // What runs in the old session goes on there.
    assert_eq!(world.count("DELETE"), 0);
    let params = json!({"name": "order", "arguments": {"n": 1}, "requestState": state, "inputResponses": {"q1": accepted()}});
    world.modern_request_with(3, "tools/call", &params, &json!({"elicitation": {}}));
    let answered = world.take("response");
    assert_eq!(answered.session(), "a");
    world.event(&old, &done(&old.json["id"]));
    world.end(&old);
    assert_eq!(world.response(3)["result"]["resultType"], "complete");
    assert_eq!(world.count("DELETE"), 0);
    world.accept(&answered);
    let end = world.take("DELETE");
    assert_eq!(end.session(), "a");
    assert!(!world.is_running(&old_stream));
    assert_eq!(world.count("initialize"), 2);
}

#[test]
fn a_retired_session_that_is_lost_does_no_harm_to_the_present_one() {
    let mut world = World::new();
    world.connect_upward("a");
    let (_, state) = suspended(&mut world, 3);
    let more = json!({"roots": {}, "sampling": {}, "elicitation": {"form": {}, "url": {}}, "experimental": {"x": {}}});
    world.modern_request_with(4, "tools/call", &json!({"name": "order"}), &more);
    world.reopen("b");
    let running = world.take("tools/call");
    assert_eq!(running.session(), "b");
    retry(&mut world, 5, &state, &json!({"q1": accepted()}));
    let answered = world.take("response");
    assert_eq!(answered.session(), "a");
    world.lose(&answered);
    assert_eq!(world.count("initialize"), 2);
    assert_eq!(world.count("response"), 1);
    world.give(&running, &json!({"content": []}));
    assert_eq!(world.response(4)["result"]["resultType"], "complete");
}

#[test]
fn a_question_of_one_session_does_not_go_with_a_request_of_another() {
    let mut world = World::new();
    world.connect_upward("a");
    let old = running(&mut world, 1);
    let more = json!({"roots": {}, "experimental": {"x": {}}});
    world.modern_request_with(2, "prompts/list", &json!({}), &more);
    let listen = world.reopen("b");
    let other = world.take("prompts/list");
    world.give(&other, &json!({"prompts": []}));
    world.response(2);
    world.event(&listen, &question(0, "roots/list"));
    wait(&mut world);
    assert!(!world.is_answered(1) && world.is_running(&old));
    let _next = running(&mut world, 3);
    wait(&mut world);
    assert_eq!(world.response(3)["result"]["resultType"], "input_required");
}

#[test]
fn sessions_are_not_replaced_without_end() {
    let mut world = World::new();
    world.connect_upward("a");
    for number in 0..10_u64 {
        // Each is still in use when the next request wants more.
        let posted = running(&mut world, 100 + number);
        let more = json!({"experimental": {format!("x{number}"): {}}});
        world.modern_request_with(number + 1, "tools/call", &json!({"name": "order"}), &more);
        if world.pending().contains(&"initialize") {
            world.reopen(&format!("s{number}"));
        }
        assert!(world.is_running(&posted));
        world.take("tools/call");
    }
    assert_eq!(world.count("initialize"), 5);
    world.feed(Input::Stop(crate::proto::StopReason::Signal));
    assert_eq!(world.count("DELETE"), 5);
    assert_eq!(world.unanswered(), 0);
}

#[test]
fn a_session_of_http_sse_that_declares_too_little_is_replaced_as_well() {
    let mut world = World::sse();
    world.modern_request_with(0, "tools/call", &json!({"name": "order"}), &json!({}));
    let old_stream = world.reopen_sse("/m1");
    let note = world.take("notifications/initialized");
    world.accept(&note);
    let old = world.take("tools/call");
    world.accept(&old);
    call(&mut world, 1);
    let stream = world.reopen_sse("/m2");
    let note = world.take("notifications/initialized");
    world.accept(&note);
    let posted = world.take("tools/call");
    assert!(posted.request.url.as_str().ends_with("/m2"));
    world.accept(&posted);
    world.event(&stream, &question(0, "roots/list"));
    wait(&mut world);
    assert_eq!(world.response(1)["result"]["resultType"], "input_required");
    assert!(world.is_running(&old_stream));
    world.event(&old_stream, &done(&old.json["id"]));
    assert_eq!(world.response(0)["result"]["resultType"], "complete");
    assert!(!world.is_running(&old_stream) && world.is_running(&stream));
}

#[test]
fn what_was_to_come_on_a_stream_that_ends_with_its_session_is_given_up() {
    let mut world = World::sse();
    world.modern_request_with(0, "tools/call", &json!({"name": "order"}), &json!({}));
    let old_stream = world.reopen_sse("/m1");
    let note = world.take("notifications/initialized");
    world.accept(&note);
    let old = world.take("tools/call");
    call(&mut world, 1);
    // Accepted and ended while the new session is being opened.
    world.accept(&old);
    world.end(&old_stream);
    assert_eq!(world.response(0)["error"]["data"]["kind"], "session-lost");
    world.reopen_sse("/m2");
    let note = world.take("notifications/initialized");
    world.accept(&note);
    assert_eq!(world.count("tools/call"), 2);
}

#[test]
fn both_eras_on_one_pipe_keep_to_themselves() {
    let mut world = World::new();
    let listen = world.connect("a");
    world.request_with(
        1,
        "tools/call",
        &json!({"name": "order", "_meta": {"progressToken": 1}}),
    );
    let legacy = world.take("tools/call");
    world.stream(&legacy);
    let modern = running(&mut world, 2);
    assert_eq!(world.count("initialize"), 1);
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}});
    world.event(&legacy, &progress);
    assert_eq!(world.line("notifications/progress"), progress);
    for (stream, shown) in [(&legacy, true), (&listen, true), (&modern, false)] {
        world.event(stream, &question("q", "sampling/createMessage"));
        world.event(stream, &log("error"));
        assert_eq!(world.has_line("sampling/createMessage"), shown);
        assert_eq!(world.has_line("notifications/message"), shown);
        world.lines();
    }
    wait(&mut world);
    let state = world.response(2)["result"]["requestState"].clone();
    // The id that the suspended call has at the server is free for the other era too.
    world.request(2, "prompts/list");
    let other = world.take("prompts/list");
    assert_ne!(other.json["id"], 2);
    world.give(&other, &json!({"prompts": []}));
    assert_eq!(world.response(2)["result"], json!({"prompts": []}));
    retry(&mut world, 3, &state, &json!({"q1": {"role": "assistant"}}));
    world.event(&modern, &done(&modern.json["id"]));
    assert_eq!(world.response(3)["result"]["resultType"], "complete");
}

#[test]
fn a_cancelled_request_that_was_not_sent_is_not_cancelled_at_the_server() {
    let mut world = World::new();
    world.connect_upward("a");
    leveled(&mut world, 1, "info");
    world.client_says(
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
    );
    let level = world.take("logging/setLevel");
    world.give(&level, &json!({}));
    assert_eq!(
        world.count("notifications/cancelled") + world.count("tools/call"),
        0
    );
}

#[test]
fn a_retry_that_waits_for_a_session_keeps_its_call_when_the_client_closes_its_end() {
    let mut world = World::new();
    world.connect_upward("a");
    let (posted, state) = suspended(&mut world, 1);
    let more = json!({"roots": {}, "sampling": {}, "elicitation": {"form": {}, "url": {}}, "experimental": {}});
    world.modern_request_with(2, "tools/call", &json!({"name": "order"}), &more);
    retry(&mut world, 3, &state, &json!({"q1": accepted()}));
    world.feed(Input::LocalClosed);
    world.reopen("b");
    assert_eq!(reply(&mut world), json!({"id": 0, "result": accepted()}));
    world.event(&posted, &done(&posted.json["id"]));
    assert_eq!(world.response(3)["result"]["resultType"], "complete");
}

#[test]
fn a_task_whose_session_cannot_be_opened_again_ends() {
    let mut world = with_tasks();
    task_running(&mut world, 1);
    world.seconds(1);
    let poll = world.take("tasks/get");
    world.lose(&poll);
    let posted = world.take("initialize");
    world.answer(&posted, 500, &[], "");
    world.seconds_with(120, |world, posted| world.answer(posted, 500, &[], ""));
    assert_eq!(world.response(1)["error"]["data"]["executed"], "unknown");
}

#[test]
fn a_task_goes_on_in_a_new_session_and_has_its_error_as_the_answer() {
    let mut world = with_tasks();
    task_running(&mut world, 1);
    world.seconds(1);
    let poll = world.take("tasks/get");
    world.lose(&poll);
    world.reopen("b");
    world.seconds(1);
    let poll = world.take("tasks/get");
    assert_eq!(poll.session(), "b");
    let error = json!({"jsonrpc": "2.0", "id": poll.json["id"], "error": {"code": -32602, "message": "no such task"}});
    world.answer(&poll, 200, &[], error.to_string());
    assert_eq!(world.response(1)["error"]["message"], "no such task");
    assert_eq!(world.count("tasks/cancel"), 0);
}

// Peers that mean no good.

#[test]
fn a_server_that_asks_without_end_is_refused() {
    let mut world = World::new();
    let listen = world.connect_upward("a");
    let posted = running(&mut world, 1);
    for number in 0..10_000 {
        world.event(&posted, &question(number, FORM));
        if number % 10 == 0 {
            world.event(&listen, &question(format!("s{number}"), "roots/list"));
            world.event(&listen, &question(format!("p{number}"), "ping"));
        }
    }
    wait(&mut world);
    let result = world.response(1)["result"].clone();
    let asked = result["inputRequests"].as_object().unwrap();
    assert_eq!(asked.len(), 64);
    assert_eq!(asked["q1"]["method"], FORM);
    // The first refusal is on its way; the others are bounded too.
    let mut replies = 0;
    world.play(|world, posted| {
        replies += usize::from(posted.key() == "response");
        world.accept(posted);
    });
    assert!(replies <= 300, "{replies}");
    world.seconds(700);
    world.play(World::accept);
    assert_eq!(world.unanswered(), 0);
}

#[test]
fn a_client_that_never_comes_back_holds_little() {
    let mut world = World::new();
    world.connect_upward("a");
    let mut streams = Vec::new();
    for id in 1..=70 {
        let (posted, _) = suspended(&mut world, id);
        streams.push(posted);
        world.play(World::accept);
    }
    let open = streams
        .iter()
        .filter(|stream| world.is_running(stream))
        .count();
    assert_eq!(open, 64);
    assert!(!world.is_running(&streams[0]));
    assert_eq!(world.count("notifications/cancelled"), 6);
    world.seconds_with(700, World::accept);
    assert_eq!(world.count("notifications/cancelled"), 70);
}

#[test]
fn what_is_kept_for_a_client_is_bounded() {
    let mut world = World::new();
    world.connect_upward("a");
    let (small, kept) = suspended(&mut world, 1);
    world.event(&small, &done(&small.json["id"]));
    let (posted, state) = suspended(&mut world, 2);
    let text = "x".repeat(64 << 20);
    let large = format!(r#"{{"jsonrpc":"2.0","id":2,"result":{{"content":[],"x":"{text}"}}}}"#);
    world.events(&posted, None, None, None, &large);
    retry(&mut world, 3, &state, &json!({"q1": accepted()}));
    assert_eq!(world.response(3)["error"]["data"]["kind"], "limit_exceeded");
    retry(&mut world, 4, &kept, &json!({"q1": accepted()}));
    assert_eq!(world.response(4)["result"]["resultType"], "complete");
}

#[test]
fn a_question_that_the_server_takes_back_is_not_asked() {
    let mut world = World::new();
    let listen = world.connect_upward("a");
    let withdrawn = |id: Value| json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
    let posted = running(&mut world, 1);
    world.event(&posted, &question(0, FORM));
    world.event(&posted, &withdrawn(json!(0)));
    wait(&mut world);
    assert_eq!(world.lines(), Vec::<Value>::new());
    world.event(&posted, &question(1, FORM));
    wait(&mut world);
    let state = world.response(1)["result"]["requestState"].clone();
    world.event(&listen, &withdrawn(json!(1)));
    retry(&mut world, 2, &state, &json!({"q1": accepted()}));
    assert_eq!(world.count("response"), 0);
    world.event(&posted, &done(&posted.json["id"]));
    assert_eq!(world.response(2)["result"]["resultType"], "complete");
    assert_eq!(world.lines(), Vec::<Value>::new());
}

#[test]
fn the_end_of_the_client_ends_what_waits_for_it() {
    let mut world = World::new();
    let listen = world.connect_upward("a");
    let (suspended, _) = suspended(&mut world, 1);
    world.event(&listen, &question("h", "roots/list"));
    wait(&mut world);
    let running = running(&mut world, 2);
    world.feed(Input::LocalClosed);
    assert_eq!(reply(&mut world)["result"], json!({"action": "cancel"}));
    let note = world.take("notifications/cancelled");
    assert_eq!(note.json["params"]["requestId"], 1);
    world.accept(&note);
    assert!(!world.is_running(&suspended));
    world.play(|world, posted| {
        if posted.key() == "response" {
            world.accept(posted);
        }
    });
    // What is asked now has nobody to go to.
    world.event(&running, &question(5, FORM));
    assert_eq!(
        reply(&mut world),
        json!({"id": 5, "result": {"action": "cancel"}})
    );
    world.event(&running, &done(&running.json["id"]));
    assert_eq!(world.response(2)["result"]["resultType"], "complete");
    let end = world.take("DELETE");
    world.accept(&end);
    assert!(world.exited);
}

#[test]
fn notices_that_a_modern_client_did_not_ask_for_are_dropped() {
    let mut world = World::new();
    let listen = world.connect_upward("a");
    for method in [
        "notifications/tools/list_changed",
        "notifications/resources/updated",
        "notifications/tasks/status",
        "notifications/elicitation/complete",
        "notifications/message",
        "notifications/progress",
        "notifications/cancelled",
    ] {
        world.event(&listen, &json!({"jsonrpc": "2.0", "method": method, "params": {"uri": "u", "progressToken": 3}}));
    }
    assert_eq!(world.lines(), Vec::<Value>::new());
    world.event(&listen, &json!({"jsonrpc": "2.0", "method": "vendor/x", "params": {"a": 1, "_meta": {"io.modelcontextprotocol/y": 1}}}));
    assert_eq!(world.line("vendor/x")["params"], json!({"a": 1}));
}
