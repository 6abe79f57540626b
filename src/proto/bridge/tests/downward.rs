//! A legacy client before a modern server that is slow, sloppy or means harm.

use std::time::Duration;

use serde_json::{Value, json};

use super::eras::discovered;
use super::world::{Posted, World};
use crate::proto::{json::DEPTH_LIMIT, limits};

fn modern() -> World {
    let mut world = World::new();
    world.connect_modern();
    world
}

fn tools(world: &mut World, posted: &Posted, name: &str) {
    let tool = json!({"name": name, "inputSchema": {"type": "object"}});
    let page =
        json!({"resultType": "complete", "tools": [tool], "ttlMs": 60000, "cacheScope": "private"});
    world.give(posted, &page);
}

fn call(world: &mut World, id: u64) -> Posted {
    world.request_with(id, "tools/call", &json!({"name": "t", "arguments": {}}));
    world.take("tools/call")
}

#[test]
fn t114_a_subscriber_that_never_said_it_is_initialized_is_answered() {
    let mut world = World::new();
    world.initialize();
    let posted = world.take("initialize");
    world.answer(&posted, 400, &[], super::eras::unsupported(&posted));
    let probe = world.take("server/discover");
    world.give(&probe, &discovered());
    world.lines();

    world.request_with(1, "resources/subscribe", &json!({"uri": "a:b"}));
    let stream = world.take("subscriptions/listen");
    assert_eq!(
        stream.json["params"]["notifications"]["resourceSubscriptions"],
        json!(["a:b"])
    );
    world.stream(&stream);
    let params = json!({"notifications": stream.json["params"]["notifications"]});
    let method = "notifications/subscriptions/acknowledged";
    world.event(
        &stream,
        &json!({"jsonrpc": "2.0", "method": method, "params": params}),
    );
    assert_eq!(world.response(1)["result"], json!({}));
}

#[test]
fn an_answer_that_grows_too_deep_when_it_is_rewritten_is_an_error_and_no_silence() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    // The message and its answer are two levels. What is wrapped gets one more.
    let deepest = nested(DEPTH_LIMIT - 2);
    for answer in [
        format!(
            r#""result":{{"resultType":"complete","content":[],"structuredContent":{deepest}}}"#
        ),
        format!(r#""error":{{"code":-32020,"message":"m","data":{deepest}}}"#),
    ] {
        let mut world = modern();
        let posted = call(&mut world, 5);
        world.stream(&posted);
        let id = &posted.json["id"];
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},{answer}}}"#);
        world.events(&posted, None, None, None, &body);
        assert_eq!(world.response(5)["error"]["code"], -32603);
    }

    let mut world = World::new();
    world.connect_upward("s1");
    world.modern_request(5, "tools/call", &json!({"name": "t"}));
    let posted = world.take("tools/call");
    world.stream(&posted);
    let id = &posted.json["id"];
    let error = format!(r#"{{"code":-32020,"message":"m","data":{deepest}}}"#);
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#);
    world.events(&posted, None, None, None, &body);
    assert_eq!(world.response(5)["error"]["code"], -32603);
}

#[test]
fn a_list_that_was_asked_for_before_it_changed_is_not_kept() {
    let mut world = World::new();
    world.shake_hands_with_modern("2025-11-25", &discovered());
    let stream = world.take("subscriptions/listen");
    world.stream(&stream);
    let params = json!({"notifications": stream.json["params"]["notifications"]});
    let method = "notifications/subscriptions/acknowledged";
    world.event(
        &stream,
        &json!({"jsonrpc": "2.0", "method": method, "params": params}),
    );

    world.request(1, "tools/list");
    let before = world.take("tools/list");
    let changed = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
    world.event(&stream, &changed);
    tools(&mut world, &before, "old");
    assert_eq!(world.response(1)["result"]["tools"][0]["name"], "old");

    world.request(2, "tools/list");
    let after = world.take("tools/list");
    tools(&mut world, &after, "new");
    assert_eq!(world.response(2)["result"]["tools"][0]["name"], "new");

    world.request(3, "tools/list");
    assert_eq!(world.response(3)["result"]["tools"][0]["name"], "new");
}

#[test]
fn a_null_error_beside_a_result_does_not_make_it_an_error() {
    let mut world = modern();
    let posted = call(&mut world, 1);
    let question = json!({"method": "roots/list"});
    let asks = json!({"resultType": "input_required", "inputRequests": {"r": question}});
    let body = json!({"jsonrpc": "2.0", "id": posted.json["id"], "result": asks, "error": null});
    world.answer(&posted, 200, &[], body.to_string());
    assert!(!world.is_answered(1));
    let question = world.line("roots/list");
    world.client_says(
        &json!({"jsonrpc": "2.0", "id": question["id"], "result": {"roots": []}, "error": null}),
    );
    let again = world.take("tools/call");
    assert_eq!(
        again.json["params"]["inputResponses"]["r"],
        json!({"roots": []})
    );
    let body = json!({"jsonrpc": "2.0", "id": again.json["id"], "error": null,
        "result": {"resultType": "complete", "content": []}});
    world.answer(&again, 200, &[], body.to_string());
    assert_eq!(world.response(1)["result"], json!({"content": []}));
}

#[test]
fn null_parameters_count_as_none() {
    let mut world = modern();
    world.client_says(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": null}));
    let posted = world.take("tools/list");
    let version = &posted.json["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"];
    assert_eq!(version, "2026-07-28");
}

#[test]
fn parameters_of_an_unknown_method_are_nobodys_but_its_own() {
    let mut world = modern();
    let own = json!({"requestState": "mine", "inputResponses": 1});
    world.request_with(1, "vendor/work", &own);
    let posted = world.take("vendor/work");
    assert_eq!(posted.json["params"]["requestState"], "mine");
    assert_eq!(posted.json["params"]["inputResponses"], 1);
}

#[test]
fn a_cancellation_from_the_server_does_not_reach_a_client_it_cannot_ask() {
    let mut world = modern();
    let posted = call(&mut world, 1);
    world.stream(&posted);
    let cancelled = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": {"requestId": 1}});
    world.event(&posted, &cancelled);
    assert!(!world.has_line("notifications/cancelled"));
}

#[test]
fn a_stream_that_told_how_far_a_task_is_does_not_stay_open() {
    let mut world = modern();
    let posted = call(&mut world, 1);
    let task =
        json!({"resultType": "task", "taskId": "t", "status": "working", "pollIntervalMs": 1000});
    world.give(&posted, &task);
    world.seconds(1);
    let look = world.take("tasks/get");
    world.stream(&look);
    let mut working = task;
    working["resultType"] = "complete".into();
    world.event(&look, &look.result(&working));
    assert!(world.is_running(&look));
    world.advance(limits::LINGER + Duration::from_millis(1));
    assert!(!world.is_running(&look));
}

#[test]
fn t127_progress_of_another_token_than_the_calls_own_is_dropped() {
    let mut world = modern();
    let progress = |token: Value| {
        json!({"jsonrpc": "2.0", "method": "notifications/progress",
            "params": {"progressToken": token, "progress": 1}})
    };
    let posted = call(&mut world, 1);
    world.stream(&posted);
    world.event(&posted, &progress(json!(1)));
    assert!(!world.has_line("notifications/progress"));

    let params = json!({"name": "t", "_meta": {"progressToken": "p"}});
    world.request_with(2, "tools/call", &params);
    let posted = world.take("tools/call");
    world.stream(&posted);
    world.event(&posted, &progress(json!("q")));
    assert!(!world.has_line("notifications/progress"));
    world.event(&posted, &progress(json!("p")));
    assert_eq!(
        world.line("notifications/progress")["params"]["progressToken"],
        "p"
    );
}

#[test]
fn a_refused_cursor_makes_every_page_stale() {
    let mut world = modern();
    world.request(1, "tools/list");
    let posted = world.take("tools/list");
    tools(&mut world, &posted, "a");
    world.response(1);
    world.request(2, "tools/list");
    world.response(2);

    world.request_with(3, "tools/list", &json!({"cursor": "gone"}));
    let posted = world.take("tools/list");
    let refusal = json!({"jsonrpc": "2.0", "id": posted.json["id"],
        "error": {"code": -32602, "message": "Invalid cursor"}});
    world.answer(&posted, 400, &[], refusal.to_string());
    assert_eq!(world.response(3)["error"]["code"], -32602);
    world.request(4, "tools/list");
    world.take("tools/list");
}

#[test]
fn an_answer_beside_an_error_for_nobody_is_not_asked_for_twice() {
    let mut world = modern();
    let posted = call(&mut world, 1);
    let error = json!({"code": -32020, "message": "m"});
    let body = json!([
        {"jsonrpc": "2.0", "id": posted.json["id"], "result": {"resultType": "complete", "content": []}},
        {"jsonrpc": "2.0", "id": "another", "error": error},
    ]);
    world.answer(&posted, 200, &[], body.to_string());
    assert_eq!(world.response(1)["result"], json!({"content": []}));
    assert_eq!(world.pending(), [""; 0]);
}

#[test]
fn a_client_that_was_promised_tasks_stays_where_they_are() {
    let mut world = World::new();
    world.initialize();
    let posted = world.take("initialize");
    let tasks = json!({"requests": {"tools": {"call": {}}}});
    let result = json!({"protocolVersion": "2025-11-25", "serverInfo": {"name": "s", "version": "1"},
        "capabilities": {"tools": {"listChanged": true}, "tasks": tasks}});
    world.give(&posted, &result);
    world.response("init");
    world.initialized();
    let posted = world.take("notifications/initialized");
    world.accept(&posted);
    let get = world.take("GET");
    world.answer(&get, 405, &[], "");
    assert_eq!(world.pending(), [""; 0]);
    world.request_with(1, "tasks/get", &json!({"taskId": "t"}));
    assert_eq!(
        world.take("tasks/get").header("mcp-protocol-version"),
        Some("2025-11-25")
    );
}

#[test]
fn t122_a_list_of_tools_that_changes_whenever_it_is_read_is_given_up() {
    let mut world = modern();
    let posted = call(&mut world, 1);
    let refusal = json!({"jsonrpc": "2.0", "id": posted.json["id"],
        "error": {"code": -32020, "message": "Header mismatch"}});
    world.answer(&posted, 400, &[], refusal.to_string());
    let changed = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
    for _ in 0..limits::TOOL_PAGES {
        let list = world.take("tools/list");
        world.stream(&list);
        world.event(&list, &changed);
        assert!(!world.is_running(&list));
    }
    assert!(world.pending().is_empty());
    let message = world.response(1)["error"]["message"].to_string();
    assert!(message.contains("keeps changing"), "{message}");
}

#[test]
fn t122_a_list_of_tools_that_never_comes_is_not_left_waiting() {
    let mut world = modern();
    let posted = call(&mut world, 1);
    let refusal = json!({"jsonrpc": "2.0", "id": posted.json["id"],
        "error": {"code": -32020, "message": "Header mismatch"}});
    world.answer(&posted, 400, &[], refusal.to_string());
    let list = world.take("tools/list");
    world.advance(limits::TOOL_LIST);
    assert_eq!(world.response(1)["error"]["code"], -31000);
    assert!(!world.is_running(&list));
}
