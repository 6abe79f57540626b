//! A modern server's questions and tasks before a legacy client.

use std::time::Duration;

use serde_json::{Value, json};

use super::eras::{discovered, unsupported};
use super::world::{Posted, World};
use crate::proto::bridge::Credentials;
use crate::proto::{Input, TroubleKind, limits};

const PROMPT: &str = r#"{"message":"Which size?","requestedSchema":{"type":"object","properties":{"s":{"type":"string","enum":["S","M"]}}}}"#;

/// What a server tells of itself that has nothing to tell of later.
fn quiet() -> Value {
    let mut quiet = discovered();
    quiet["capabilities"] = json!({"tools": {}, "prompts": {}, "resources": {}, "logging": {}});
    quiet
}

fn modern() -> World {
    let mut world = World::new();
    world.connect_modern_as("2025-11-25", &quiet());
    world
}

/// The same where credentials can be got by signing in.
fn signed_in() -> World {
    let mut world = World::with(|settings| settings.credentials = Credentials::SignIn);
    world.connect_modern_as("2025-11-25", &quiet());
    world
}

/// A legacy client of this revision and with these capabilities, before a modern server.
fn connected(version: &str, capabilities: &Value) -> World {
    let mut world = World::new();
    world.client_says(
        &json!({"jsonrpc": "2.0", "id": "init", "method": "initialize", "params": {
            "protocolVersion": version,
            "capabilities": capabilities,
            "clientInfo": {"name": "c", "version": "1"},
        }}),
    );
    let posted = world.take("initialize");
    world.answer(&posted, 400, &[], unsupported(&posted));
    let probe = world.take("server/discover");
    world.give(&probe, &quiet());
    world.response("init");
    world.initialized();
    world
}

fn call(world: &mut World, id: u64) -> Posted {
    let params =
        json!({"name": "order", "arguments": {"item": 3}, "_meta": {"progressToken": "p"}});
    world.request_with(id, "tools/call", &params);
    world.take("tools/call")
}

fn elicitation() -> Value {
    json!({"method": "elicitation/create", "params": serde_json::from_str::<Value>(PROMPT).unwrap()})
}

fn sampling() -> Value {
    json!({"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 9}})
}

fn link(url: &str) -> Value {
    json!({"method": "elicitation/create", "params": {"mode": "url", "message": "Sign in", "url": url}})
}

/// Answers with these questions and this state.
fn asks(world: &mut World, posted: &Posted, questions: &Value, state: Option<&str>) {
    let mut result = json!({"resultType": "input_required", "inputRequests": questions});
    if let Some(state) = state {
        result["requestState"] = state.into();
    }
    world.give(posted, &result);
}

fn waits(world: &mut World, posted: &Posted, state: &str) {
    world.give(
        posted,
        &json!({"resultType": "input_required", "requestState": state}),
    );
}

fn replies(world: &mut World, question: &Value, result: &Value) {
    world.client_says(&json!({"jsonrpc": "2.0", "id": question["id"], "result": result}));
}

fn refuses(world: &mut World, question: &Value, code: i64) {
    let error = json!({"code": code, "message": "User rejected\u{1b} it"});
    world.client_says(&json!({"jsonrpc": "2.0", "id": question["id"], "error": error}));
}

fn done(world: &mut World, posted: &Posted) {
    world.give(
        posted,
        &json!({"resultType": "complete", "content": [{"type": "text", "text": "done"}]}),
    );
}

/// The words of a failed call.
#[track_caller]
fn failed_call(world: &mut World, id: u64) -> String {
    let response = world.response(id);
    assert_eq!(response["result"]["isError"], true, "{response}");
    response["result"]["content"][0]["text"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[track_caller]
fn assert_internal(response: &Value, words: &str) {
    assert_eq!(response["error"]["code"], -32603, "{response}");
    let message = response["error"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("mcp-bridge: ") && message.contains(words),
        "{message}"
    );
}

#[track_caller]
fn assert_withdrawn(world: &mut World, question: &Value) {
    let note = world.line("notifications/cancelled");
    assert_eq!(note["params"]["requestId"], question["id"]);
}

#[test]
fn t99_a_question_is_asked_and_the_request_sent_again_with_the_answer() {
    let mut world = modern();
    let first = call(&mut world, 12);
    let result = concat!(
        r#"{"resultType":"input_required","requestState":"k9.\u005am9v\/","inputRequests":{"size":"#,
        r#"{"method":"elicitation/create","params":{"mode":"form","message":"Which size?","#,
        r#""requestedSchema":{"type":"object","properties":{"n":{"minimum":1.0}}},"#,
        r#""_meta":{"io.modelcontextprotocol/x":1}}}}}"#,
    );
    let id = &first.json["id"];
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
    world.answer(&first, 200, &[], body);
    let question = world.line("elicitation/create");
    assert_eq!(
        question["params"],
        json!({
            "mode": "form", "message": "Which size?",
            "requestedSchema": {"type": "object", "properties": {"n": {"minimum": 1.0}}},
        })
    );
    assert!(question["id"].as_str().unwrap().starts_with("mb-n-s"));
    assert!(world.pending().is_empty());
    replies(
        &mut world,
        &question,
        &json!({"action": "accept", "content": {"n": 2},
        "_meta": {"io.modelcontextprotocol/y": 1}}),
    );
    let second = world.take("tools/call");
    assert_ne!(second.json["id"], first.json["id"]);
    let text = std::str::from_utf8(&second.request.body).unwrap();
    assert!(
        text.contains(r#""requestState":"k9.\u005am9v\/""#),
        "{text}"
    );
    let params = &second.json["params"];
    assert_eq!(
        params["inputResponses"],
        json!({"size": {"action": "accept", "content": {"n": 2}}})
    );
    assert_eq!(params["arguments"], json!({"item": 3}));
    assert_eq!(params["_meta"]["progressToken"], "p");
    assert_eq!(second.header("mcp-method"), first.header("mcp-method"));
    assert_eq!(second.header("mcp-name"), Some("order"));
    done(&mut world, &second);
    let response = world.response(12);
    assert_eq!(
        response["result"],
        json!({"content": [{"type": "text", "text": "done"}]})
    );
    assert_eq!(world.unanswered(), 0);
    assert!(world.notifications().is_empty());
}

#[test]
fn t99_answers_and_state_are_those_of_the_last_round_alone() {
    let mut world = modern();
    let first = call(&mut world, 1);
    asks(
        &mut world,
        &first,
        &json!({"a": elicitation()}),
        Some("one"),
    );
    let question = world.line("elicitation/create");
    replies(&mut world, &question, &json!({"action": "decline"}));
    let second = world.take("tools/call");
    asks(
        &mut world,
        &second,
        &json!({"b": {"method": "roots/list"}}),
        None,
    );
    let question = world.line("roots/list");
    assert_eq!(question.get("params"), None);
    replies(&mut world, &question, &json!({"roots": []}));
    let third = world.take("tools/call");
    assert_eq!(
        third.json["params"]["inputResponses"],
        json!({"b": {"roots": []}})
    );
    assert_eq!(third.json["params"].get("requestState"), None);
    let ids = [&first, &second, &third].map(|leg| leg.json["id"].clone());
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    done(&mut world, &third);
    world.response(1);
}

#[test]
fn t100_questions_of_one_round_are_open_together() {
    let mut world = modern();
    let first = call(&mut world, 1);
    world.stream(&first);
    let questions = json!({"b": elicitation(), "a": sampling()});
    let result = json!({"resultType": "input_required", "inputRequests": questions});
    world.event(&first, &first.result(&result));
    let form = world.line("elicitation/create");
    let sample = world.line("sampling/createMessage");
    replies(
        &mut world,
        &sample,
        &json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "x"}}),
    );
    assert!(world.pending().is_empty());
    replies(&mut world, &form, &json!({"action": "cancel"}));
    let second = world.take("tools/call");
    let responses = &second.json["params"]["inputResponses"];
    assert_eq!(responses["a"]["model"], "m");
    assert_eq!(responses["b"], json!({"action": "cancel"}));
    // What else the first leg says concerns nobody.
    world.event(
        &first,
        &first.result(&json!({"resultType": "complete", "content": []})),
    );
    assert!(!world.is_answered(1));
    done(&mut world, &second);
    world.response(1);
}

#[test]
fn t101_a_request_that_is_only_put_off_is_sent_again_at_a_pace() {
    let mut world = modern();
    let mut posted = call(&mut world, 1);
    for (round, pause) in [100, 200, 400, 800, 1600, 3200, 5000, 5000]
        .into_iter()
        .enumerate()
    {
        let state = format!("s{round}");
        waits(&mut world, &posted, &state);
        world.advance(Duration::from_millis(pause - 1));
        assert!(world.pending().is_empty(), "{round}");
        world.advance(Duration::from_millis(1));
        posted = world.take("tools/call");
        assert_eq!(posted.json["params"]["requestState"], state.as_str());
        assert_eq!(posted.json["params"].get("inputResponses"), None);
    }
    // A question in between counts as getting on.
    asks(&mut world, &posted, &json!({"a": elicitation()}), None);
    let question = world.line("elicitation/create");
    replies(&mut world, &question, &json!({"action": "decline"}));
    posted = world.take("tools/call");
    waits(&mut world, &posted, "s");
    world.advance(Duration::from_millis(100));
    posted = world.take("tools/call");
    done(&mut world, &posted);
    world.response(1);
    assert!(world.lines().is_empty());
}

#[test]
fn t102_a_form_that_the_client_refuses_is_cancelled() {
    for answer in ["error", "null", "7"] {
        let mut world = modern();
        let first = call(&mut world, 1);
        asks(&mut world, &first, &json!({"a": elicitation()}), Some("s"));
        let question = world.line("elicitation/create");
        match answer {
            "error" => refuses(&mut world, &question, -32602),
            other => replies(&mut world, &question, &serde_json::from_str(other).unwrap()),
        }
        let second = world.take("tools/call");
        assert_eq!(
            second.json["params"]["inputResponses"],
            json!({"a": {"action": "cancel"}})
        );
        done(&mut world, &second);
        world.response(1);
    }
}

#[test]
fn t103_a_call_ends_when_the_client_will_not_sample() {
    let mut world = modern();
    let first = call(&mut world, 1);
    asks(
        &mut world,
        &first,
        &json!({"a": sampling(), "b": elicitation()}),
        Some("s"),
    );
    let question = world.line("sampling/createMessage");
    let other = world.line("elicitation/create");
    refuses(&mut world, &question, -1);
    assert_eq!(
        failed_call(&mut world, 1),
        r"client refused sampling: User rejected\u{1b} it"
    );
    assert_withdrawn(&mut world, &other);
    world.seconds(1200);
    assert!(world.pending().is_empty());
    assert_eq!(world.count("tools/call"), 1);
}

#[test]
fn t104_a_prompt_fails_when_the_client_will_not_tell_its_roots() {
    let mut world = modern();
    for (id, method, params) in [
        (1, "prompts/get", json!({"name": "p"})),
        (2, "resources/read", json!({"uri": "file:///a"})),
    ] {
        world.request_with(id, method, &params);
        let first = world.take(method);
        asks(
            &mut world,
            &first,
            &json!({"a": {"method": "roots/list"}}),
            None,
        );
        let question = world.line("roots/list");
        refuses(&mut world, &question, -32601);
        assert_internal(&world.response(id), "client refused roots: User rejected");
        assert_eq!(world.count(method), 1);
    }
}

#[test]
fn t105_what_the_client_did_not_declare_is_not_asked() {
    let long = "k".repeat(limits::QUESTION_ID + 1);
    for (capabilities, questions, words) in [
        (
            json!({"elicitation": {}}),
            json!({"a": sampling()}),
            "\"sampling\"",
        ),
        (
            json!({"elicitation": {}}),
            json!({"b": elicitation(), "a": sampling()}),
            "\"sampling\"",
        ),
        (json!({}), json!({"a": elicitation()}), "\"elicitation\""),
        (
            json!({}),
            json!({"a": {"method": "roots/list"}}),
            "\"roots\"",
        ),
        (
            json!({"elicitation": {}}),
            json!({"a": link("https://x/")}),
            "\"elicitation.url\"",
        ),
        (
            json!({"sampling": {}}),
            json!({"a": {"method": "sampling/createMessage", "params":
            {"messages": [], "tools": []}}}),
            "\"sampling.tools\"",
        ),
        (
            json!({"elicitation": {}}),
            json!({"a": {"method": "elicitation/create"}}),
            "no usable parameters",
        ),
        (
            json!({"elicitation": {}}),
            json!({"a": {"method": "elicitation/create", "params": []}}),
            "no usable parameters",
        ),
        (
            json!({"roots": {}}),
            json!({long.clone(): {"method": "roots/list"}}),
            "too long a key",
        ),
        (
            json!({"elicitation": {"url": {}}}),
            json!({"a": {"method": "elicitation/create",
            "params": {"mode": "url", "message": "m"}}}),
            "does not say which",
        ),
        (
            json!({}),
            json!({"a": {"method": "tools/call", "params": {}}}),
            "\"tools/call\"",
        ),
        (
            json!({}),
            json!({"a": {"method": "ping\u{1b}"}}),
            r#""ping\u{1b}""#,
        ),
    ] {
        let mut world = connected("2025-11-25", &capabilities);
        let first = call(&mut world, 1);
        asks(&mut world, &first, &questions, Some("s"));
        let text = failed_call(&mut world, 1);
        assert!(text.contains(words), "{text}");
        assert!(world.lines().is_empty(), "{questions}");
        assert!(world.pending().is_empty());
    }
}

#[test]
fn t106_a_server_that_asks_for_ever_is_not_followed() {
    let mut world = modern();
    let mut posted = call(&mut world, 1);
    for round in 0..limits::ROUNDS {
        asks(&mut world, &posted, &json!({"a": elicitation()}), Some("s"));
        let question = world.line("elicitation/create");
        replies(&mut world, &question, &json!({"action": "decline"}));
        posted = world.take("tools/call");
        assert!(!world.is_answered(1), "{round}");
    }
    asks(&mut world, &posted, &json!({"a": elicitation()}), Some("s"));
    assert!(failed_call(&mut world, 1).contains("25 rounds"));
    assert!(!world.has_line("elicitation/create"));
    let mut posted = call(&mut world, 2);
    for _ in 0..limits::ROUNDS {
        waits(&mut world, &posted, "s");
        world.seconds(5);
        posted = world.take("tools/call");
    }
    waits(&mut world, &posted, "s");
    assert!(failed_call(&mut world, 2).contains("25 rounds"));
    assert!(world.pending().is_empty());
}

#[test]
fn t107_a_question_is_withdrawn_when_the_client_cancels_its_request() {
    let mut world = modern();
    let first = call(&mut world, 1);
    asks(&mut world, &first, &json!({"a": elicitation()}), Some("s"));
    let question = world.line("elicitation/create");
    world.client_says(
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
    );
    assert_withdrawn(&mut world, &question);
    replies(&mut world, &question, &json!({"action": "decline"}));
    world.seconds(1200);
    assert!(world.pending().is_empty());
    assert!(world.lines().is_empty());
    // Its id is free again.
    let posted = call(&mut world, 1);
    done(&mut world, &posted);
    world.response(1);
}

#[test]
fn t108_a_request_under_way_is_cancelled_by_closing_its_exchange() {
    let mut world = modern();
    let first = call(&mut world, 1);
    world.stream(&first);
    world.client_says(
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
    );
    assert!(!world.is_running(&first));
    assert!(world.pending().is_empty());
    assert!(world.lines().is_empty());
}

#[test]
fn t109_a_link_is_shown_once_and_said_to_be_done_before_the_result() {
    let mut world = modern();
    let first = call(&mut world, 1);
    asks(
        &mut world,
        &first,
        &json!({"a": link("https://x.test/1")}),
        Some("s1"),
    );
    let question = world.line("elicitation/create");
    assert_eq!(question["params"]["mode"], "url");
    assert_eq!(question["params"]["url"], "https://x.test/1");
    let elicitation = question["params"]["elicitationId"].clone();
    assert!(elicitation.is_string());
    replies(&mut world, &question, &json!({"action": "accept"}));
    let mut posted = world.take("tools/call");
    for pause in [1, 2, 4, 8, 15, 15] {
        asks(
            &mut world,
            &posted,
            &json!({"b": link("https://x.test/1")}),
            Some("s2"),
        );
        world.advance(Duration::from_millis(pause * 1000 - 1));
        assert!(world.pending().is_empty());
        world.advance(Duration::from_millis(1));
        posted = world.take("tools/call");
        let params = &posted.json["params"];
        assert_eq!(params["inputResponses"], json!({"b": {"action": "accept"}}));
        assert_eq!(params["requestState"], "s2");
    }
    assert!(world.lines().is_empty());
    done(&mut world, &posted);
    let lines = world.lines();
    assert_eq!(lines[0]["method"], "notifications/elicitation/complete");
    assert_eq!(lines[0]["params"]["elicitationId"], elicitation);
    assert_eq!(lines[1]["id"], 1);
    assert_eq!(lines.len(), 2);
}

#[test]
fn t109_a_link_is_done_when_the_server_asks_for_something_else() {
    let mut world = modern();
    let first = call(&mut world, 1);
    asks(
        &mut world,
        &first,
        &json!({"a": link("https://x/1"), "b": link("https://x/2")}),
        None,
    );
    let one = world.line("elicitation/create");
    let two = world.line("elicitation/create");
    replies(&mut world, &one, &json!({"action": "accept"}));
    replies(&mut world, &two, &json!({"action": "decline"}));
    let second = world.take("tools/call");
    waits(&mut world, &second, "s");
    world.seconds(1);
    let third = world.take("tools/call");
    assert!(world.lines().is_empty());
    asks(&mut world, &third, &json!({"a": link("https://x/2")}), None);
    let lines = world.lines();
    assert_eq!(lines[0]["method"], "notifications/elicitation/complete");
    assert_eq!(
        lines[0]["params"]["elicitationId"],
        one["params"]["elicitationId"]
    );
    assert_eq!(lines[1]["method"], "elicitation/create");
    assert_eq!(lines.len(), 2);
}

#[test]
fn t109_a_link_that_nobody_finishes_is_given_up() {
    let mut world = modern();
    let first = call(&mut world, 1);
    asks(&mut world, &first, &json!({"a": link("https://x/1")}), None);
    let question = world.line("elicitation/create");
    world.seconds(500);
    replies(&mut world, &question, &json!({"action": "accept"}));
    let mut asked = 0;
    world.play(|world, posted| asks(world, posted, &json!({"a": link("https://x/1")}), None));
    world.seconds_with(700, |world, posted| {
        asked += 1;
        asks(world, posted, &json!({"a": link("https://x/1")}), None);
    });
    assert!(asked > 30, "{asked}");
    assert!(world.has_line("notifications/elicitation/complete"));
    assert!(failed_call(&mut world, 1).contains("10 minutes"));
}

#[test]
fn t110_a_link_is_not_shown_to_a_client_that_knows_none() {
    for capabilities in [
        json!({"elicitation": {}}),
        json!({"elicitation": {"form": {}, "url": {}}}),
    ] {
        let mut world = connected("2025-06-18", &capabilities);
        let first = call(&mut world, 1);
        asks(
            &mut world,
            &first,
            &json!({"a": link("https://x/1")}),
            Some("s"),
        );
        failed_call(&mut world, 1);
        assert!(world.lines().is_empty());
        assert_eq!(world.count("tools/call"), 1);
    }
}

#[test]
fn t111_a_form_has_the_shape_that_the_clients_revision_knows() {
    let mut world = connected("2025-06-18", &json!({"elicitation": {}}));
    let first = call(&mut world, 1);
    let params = json!({"mode": "form", "message": "m", "requestedSchema": {"type": "object",
        "properties": {"s": {"type": "string", "oneOf": [{"const": "a", "title": "A"}]}}}});
    let questions = json!({"a": {"method": "elicitation/create", "params": params}});
    asks(&mut world, &first, &questions, None);
    let question = world.line("elicitation/create");
    assert_eq!(question["params"].get("mode"), None);
    let field = &question["params"]["requestedSchema"]["properties"]["s"];
    assert_eq!(
        field,
        &json!({"type": "string", "enum": ["a"], "enumNames": ["A"]})
    );
}

fn requires_tasks(posted: &Posted, more: &Value) -> String {
    let mut required = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    for (name, value) in more.as_object().unwrap() {
        required[name] = value.clone();
    }
    json!({"jsonrpc": "2.0", "id": posted.json["id"], "error": {"code": -32021,
        "message": "Missing required client capability", "data": {"requiredCapabilities": required}}})
    .to_string()
}

fn declares_tasks(posted: &Posted) -> bool {
    let meta = &posted.json["params"]["_meta"];
    meta["io.modelcontextprotocol/clientCapabilities"]["extensions"]
        .get("io.modelcontextprotocol/tasks")
        .is_some()
}

/// What a server says of task `t 1`.
fn task(status: &str, more: &Value) -> Value {
    let mut task = json!({"resultType": "complete", "taskId": "t 1", "status": status,
        "createdAt": "2026-07-28T10:00:00Z", "lastUpdatedAt": "2026-07-28T10:00:00Z",
        "ttlMs": null, "pollIntervalMs": 2000});
    for (name, value) in more.as_object().unwrap() {
        task[name] = value.clone();
    }
    task
}

/// A call that has become a task.
fn tasked(world: &mut World, id: u64) {
    let posted = call(world, id);
    let begun = task("working", &json!({"resultType": "task"}));
    world.give(&posted, &begun);
}

/// The next look at the task, when it is due.
#[track_caller]
fn look(world: &mut World) -> Posted {
    world.advance(Duration::from_millis(1999));
    assert!(world.pending().is_empty(), "{:?}", world.pending());
    world.advance(Duration::from_millis(1));
    world.take("tasks/get")
}

#[test]
fn t125_a_tool_that_runs_as_a_task_only_is_followed_to_its_result() {
    let mut world = modern();
    let first = call(&mut world, 1);
    assert!(!declares_tasks(&first));
    world.answer(&first, 400, &[], requires_tasks(&first, &json!({})));
    let second = world.take("tools/call");
    assert!(declares_tasks(&second));
    assert_ne!(second.json["id"], first.json["id"]);
    let begun = json!({"resultType": "task", "statusMessage": "queued"});
    world.give(&second, &task("working", &begun));
    let progress = world.line("notifications/progress");
    assert_eq!(
        progress["params"],
        json!({"progressToken": "p", "progress": 1, "message": "queued"})
    );
    let get = look(&mut world);
    assert_eq!(get.json["params"]["taskId"], "t 1");
    assert_eq!(get.header("mcp-name"), Some("t 1"));
    assert!(declares_tasks(&get));
    world.give(&get, &task("working", &json!({"statusMessage": "queued"})));
    let get = look(&mut world);
    let asked = json!({"statusMessage": "asking", "inputRequests": {"q": elicitation(), "r": {"method": "roots/list"}}});
    world.give(&get, &task("input_required", &asked));
    assert_eq!(
        world.line("notifications/progress")["params"]["message"],
        "asking"
    );
    let question = world.line("elicitation/create");
    let roots = world.line("roots/list");
    replies(&mut world, &question, &json!({"action": "decline"}));
    // It still says so; nothing is asked twice.
    let get = look(&mut world);
    world.give(&get, &task("input_required", &asked));
    assert!(world.lines().is_empty());
    replies(&mut world, &roots, &json!({"roots": []}));
    let update = world.take("tasks/update");
    assert_eq!(update.json["params"]["taskId"], "t 1");
    assert_eq!(update.header("mcp-name"), Some("t 1"));
    assert_eq!(
        update.json["params"]["inputResponses"],
        json!({"q": {"action": "decline"}, "r": {"roots": []}})
    );
    world.give(&update, &json!({"resultType": "complete"}));
    let get = look(&mut world);
    world.give(&get, &task("input_required", &asked));
    assert!(world.lines().is_empty());
    let get = look(&mut world);
    let result = json!({"content": [{"type": "text", "text": "done"}], "isError": false});
    world.give(&get, &task("completed", &json!({"result": result})));
    assert_eq!(world.response(1)["result"], result);
    world.seconds(1200);
    assert!(world.pending().is_empty());
    assert_eq!(world.count("tools/call"), 2);
    assert_eq!(world.count("tasks/update"), 1);
    assert_eq!(world.count("tasks/cancel"), 0);
    assert_eq!(world.count("server/discover"), 1);
}

#[test]
fn t125_a_requirement_that_declaring_tasks_does_not_meet_is_passed_on() {
    let mut world = modern();
    let first = call(&mut world, 1);
    let more = json!({"extensions": {"io.modelcontextprotocol/tasks": {}, "x/y": {}}});
    world.answer(&first, 400, &[], requires_tasks(&first, &more));
    assert_eq!(world.response(1)["error"]["code"], -32021);
    world.request(2, "tools/list");
    let list = world.take("tools/list");
    world.answer(&list, 400, &[], requires_tasks(&list, &json!({})));
    assert_eq!(world.response(2)["error"]["code"], -32021);
    // Once declared, it is the last word; also on a stream.
    let first = call(&mut world, 3);
    world.stream(&first);
    let error: Value = serde_json::from_str(&requires_tasks(&first, &json!({}))).unwrap();
    world.event(&first, &error);
    let second = world.take("tools/call");
    world.answer(&second, 400, &[], requires_tasks(&second, &json!({})));
    let response = world.response(3);
    assert_eq!(response["error"]["code"], -32021);
    assert_eq!(world.unanswered(), 0);
}

#[test]
fn t125_a_task_that_nobody_asked_for_is_followed_too() {
    for (ending, expected) in [
        (
            task("completed", &json!({"result": {"content": []}})),
            json!({"result": {"content": []}}),
        ),
        (
            task(
                "failed",
                &json!({"error": {"code": -5, "message": "m", "data": 1}}),
            ),
            json!({"error": {"code": -5, "message": "m", "data": 1}}),
        ),
        (
            task("failed", &json!({"statusMessage": "out of\u{7} paper"})),
            json!({"error": {"code": -32603, "message": r"mcp-bridge: the server's task failed: out of\u{7} paper"}}),
        ),
        (
            task("cancelled", &json!({})),
            json!({"error": {"code": -32603, "message": "mcp-bridge: the server cancelled the task"}}),
        ),
    ] {
        let mut world = modern();
        tasked(&mut world, 1);
        let get = look(&mut world);
        world.give(&get, &ending);
        let mut response = world.response(1);
        response
            .as_object_mut()
            .unwrap()
            .retain(|name, _| name == "result" || name == "error");
        assert_eq!(response, expected);
        world.seconds(100);
        assert!(world.pending().is_empty());
    }
}

#[test]
fn t125_a_task_is_cancelled_with_its_request() {
    let mut world = modern();
    tasked(&mut world, 1);
    let get = look(&mut world);
    world.give(
        &get,
        &task(
            "input_required",
            &json!({"inputRequests": {"q": elicitation()}}),
        ),
    );
    let question = world.line("elicitation/create");
    let get = look(&mut world);
    world.client_says(
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
    );
    assert_withdrawn(&mut world, &question);
    assert!(!world.is_running(&get));
    let cancel = world.take("tasks/cancel");
    assert_eq!(cancel.json["params"]["taskId"], "t 1");
    assert!(declares_tasks(&cancel));
    // The server is not waited for.
    world.seconds(59);
    assert!(world.is_running(&cancel));
    world.seconds(1200);
    assert!(!world.is_running(&cancel));
    assert!(world.pending().is_empty());
    assert!(world.lines().is_empty());
}

#[test]
fn a_task_that_cannot_be_read_ends_its_call() {
    for bad in [
        json!({"resultType": "complete"}),
        task("completed", &json!({})),
        task(
            "completed",
            &json!({"result": {"resultType": "input_required", "requestState": "s"}}),
        ),
        task("completed", &json!({"result": {"resultType": "task"}})),
        task("working", &json!({"taskId": "t 2"})),
        task("paused", &json!({})),
        task("failed", &json!({"error": {"message": "m"}})),
        task("input_required", &json!({"inputRequests": []})),
    ] {
        let mut world = modern();
        tasked(&mut world, 1);
        let get = look(&mut world);
        world.give(&get, &bad);
        assert_internal(&world.response(1), "the server's task cannot be read");
    }
    let mut world = modern();
    let posted = call(&mut world, 1);
    world.give(&posted, &json!({"resultType": "task"}));
    assert_internal(&world.response(1), "the server's task cannot be read");
    world.request_with(2, "prompts/get", &json!({"name": "p"}));
    let posted = world.take("prompts/get");
    world.give(&posted, &task("working", &json!({"resultType": "task"})));
    assert_internal(&world.response(2), "with a task");
    assert_eq!(world.unanswered(), 0);
}

#[test]
fn a_look_at_a_task_that_gets_lost_is_taken_again() {
    let mut world = modern();
    tasked(&mut world, 1);
    let get = look(&mut world);
    world.fail(&get, TroubleKind::Broken, true, "reset");
    world.seconds(2);
    let get = world.take("tasks/get");
    world.answer(&get, 429, &[("retry-after", "20")], "");
    world.seconds(19);
    assert!(world.pending().is_empty());
    world.seconds(1);
    let silent = world.take("tasks/get");
    world.seconds(59);
    assert!(world.is_running(&silent));
    world.seconds(1);
    assert!(!world.is_running(&silent));
    world.seconds(6);
    let get = world.take("tasks/get");
    world.answer(&get, 502, &[], "<html>bad</html>");
    world.seconds(12);
    let get = world.take("tasks/get");
    world.give(
        &get,
        &task("completed", &json!({"result": {"content": []}})),
    );
    world.response(1);
    tasked(&mut world, 2);
    let mut looks = 0;
    world.seconds_with(200, |world, posted| {
        if posted.key() == "tasks/get" {
            looks += 1;
        }
        world.refuse_connection(posted);
    });
    assert_eq!(looks, limits::TASK_FAILURES + 1);
    let response = world.response(2);
    assert_eq!(response["error"]["data"]["executed"], "unknown");
    // A server that knows the task no more is asked once.
    tasked(&mut world, 3);
    let get = look(&mut world);
    let error = json!({"jsonrpc": "2.0", "id": get.json["id"], "error": {"code": -32602, "message": "Task not found"}});
    world.answer(&get, 400, &[], error.to_string());
    assert_eq!(world.response(3)["error"]["code"], -32602);
}

#[test]
fn a_task_outlives_the_credentials_it_began_with() {
    let mut world = signed_in();
    tasked(&mut world, 1);
    let get = look(&mut world);
    let body = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"expired"}}"#;
    world.answer(&get, 401, &[("www-authenticate", "Bearer")], body);
    assert_eq!(world.authorizations(), 1);
    world.seconds(100);
    assert!(world.pending().is_empty());
    world.feed(Input::Authorized(Ok(())));
    world.seconds(1);
    let get = world.take("tasks/get");
    world.give(
        &get,
        &task("completed", &json!({"result": {"content": []}})),
    );
    world.response(1);
    // A server that refuses every token is not asked for ever.
    tasked(&mut world, 2);
    for _ in 0..100 {
        world.seconds(10);
        world
            .play(|world, posted| world.answer(posted, 401, &[("www-authenticate", "Bearer")], ""));
        world.feed(Input::Authorized(Ok(())));
    }
    assert_eq!(world.response(2)["error"]["data"]["executed"], "unknown");
    assert_eq!(world.authorizations(), 3);
}

#[test]
fn answers_that_a_task_refuses_do_not_hide_its_end() {
    for is_done in [true, false] {
        let mut world = modern();
        tasked(&mut world, 1);
        let get = look(&mut world);
        let asked = json!({"inputRequests": {"q": elicitation()}});
        world.give(&get, &task("input_required", &asked));
        let question = world.line("elicitation/create");
        replies(&mut world, &question, &json!({"action": "decline"}));
        let update = world.take("tasks/update");
        let error = json!({"code": -32602, "message": "not now"});
        let answer = json!({"jsonrpc": "2.0", "id": update.json["id"], "error": error});
        world.answer(&update, 200, &[], answer.to_string());
        world.seconds(0);
        let get = world.take("tasks/get");
        if is_done {
            world.give(
                &get,
                &task("completed", &json!({"result": {"content": []}})),
            );
            assert_eq!(world.response(1)["result"], json!({"content": []}));
        } else {
            world.give(&get, &task("input_required", &asked));
            assert_eq!(world.response(1)["error"], error);
        }
    }
}

#[test]
fn answers_for_a_task_that_get_lost_are_given_again() {
    let mut world = modern();
    tasked(&mut world, 1);
    let get = look(&mut world);
    world.give(
        &get,
        &task(
            "input_required",
            &json!({"inputRequests": {"q": elicitation()}}),
        ),
    );
    let question = world.line("elicitation/create");
    replies(&mut world, &question, &json!({"action": "decline"}));
    let update = world.take("tasks/update");
    world.fail(&update, TroubleKind::Broken, true, "reset");
    world.seconds(2);
    let again = world.take("tasks/update");
    assert_eq!(
        again.json["params"]["inputResponses"],
        update.json["params"]["inputResponses"]
    );
    world.give(&again, &json!({"resultType": "complete"}));
    look(&mut world);
}

#[test]
fn a_task_that_asks_for_ever_is_given_up() {
    let mut world = modern();
    tasked(&mut world, 1);
    let mut round = 0;
    world.seconds_with(300, |world, posted| match posted.key() {
        "tasks/get" => {
            round += 1;
            let questions = json!({format!("q{round}"): elicitation()});
            world.give(
                posted,
                &task("input_required", &json!({"inputRequests": questions})),
            );
            if world.has_line("elicitation/create") {
                let question = world.line("elicitation/create");
                replies(world, &question, &json!({"action": "decline"}));
            }
        }
        _ => world.give(posted, &json!({"resultType": "complete"})),
    });
    assert_eq!(round, limits::ROUNDS + 1);
    assert!(failed_call(&mut world, 1).contains("25 rounds"));
    assert_eq!(world.count("tasks/cancel"), 1);
}

#[test]
fn only_so_many_tasks_are_looked_at_at_once() {
    let mut world = modern();
    let most = u64::try_from(limits::TASK_REQUESTS).unwrap();
    for id in 0..most + 8 {
        tasked(&mut world, id);
    }
    world.seconds(10);
    assert_eq!(world.pending().len(), limits::TASK_REQUESTS);
    let get = world.take("tasks/get");
    world.give(
        &get,
        &task("completed", &json!({"result": {"content": []}})),
    );
    world.seconds(1);
    assert_eq!(world.count("tasks/get"), limits::TASK_REQUESTS + 1);
}

#[test]
fn t126_a_result_of_an_unknown_type_is_invalid() {
    let mut world = modern();
    for (id, result) in [
        (1, json!({"resultType": "x\u{1b}", "content": []})),
        (2, json!({"resultType": 7, "content": []})),
        (3, json!({"resultType": "input_required"})),
        (
            4,
            json!({"resultType": "input_required", "inputRequests": []}),
        ),
        (5, json!([1])),
    ] {
        let posted = call(&mut world, id);
        world.give(&posted, &result);
        assert_internal(&world.response(id), "the server's result");
    }
    assert!(world.pending().is_empty());
}

#[test]
fn t127_progress_does_not_go_back_when_a_request_is_sent_again() {
    let mut world = modern();
    let told = |world: &mut World, posted: &Posted, progress: f64| {
        let params = json!({"progressToken": "p", "progress": progress});
        world.event(
            posted,
            &json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}),
        );
        world.notifications().len()
    };
    let first = call(&mut world, 1);
    world.stream(&first);
    assert_eq!(told(&mut world, &first, 0.0), 1);
    assert_eq!(told(&mut world, &first, 5.0), 2);
    world.event(
        &first,
        &first.result(&json!({"resultType": "input_required", "requestState": "s"})),
    );
    // The first leg is over.
    assert_eq!(told(&mut world, &first, 6.0), 2);
    world.seconds(1);
    let second = world.take("tools/call");
    world.stream(&second);
    assert_eq!(told(&mut world, &second, 0.0), 2);
    assert_eq!(told(&mut world, &second, 5.0), 2);
    assert_eq!(told(&mut world, &second, 5.5), 3);
    world.event(
        &second,
        &second.result(&json!({"resultType": "complete", "content": []})),
    );
    world.response(1);
}

#[test]
fn a_method_that_cannot_be_answered_with_questions_fails() {
    let mut world = modern();
    for (id, method) in [(1, "tools/list"), (2, "completion/complete"), (3, "x/y")] {
        world.request(id, method);
        let posted = world.take(method);
        asks(
            &mut world,
            &posted,
            &json!({"a": {"method": "roots/list"}}),
            Some("s"),
        );
        assert_internal(&world.response(id), "with a question");
        assert!(world.lines().is_empty());
    }
}

#[test]
fn as_many_questions_are_asked_as_one_round_may_have_and_not_too_many_at_once() {
    let mut world = modern();
    let questions: serde_json::Map<String, Value> =
        (0..64).map(|n| (format!("q{n}"), elicitation())).collect();
    let questions = Value::Object(questions);
    for id in 1..=4 {
        let posted = call(&mut world, id);
        asks(&mut world, &posted, &questions, None);
    }
    let asked = world.lines();
    assert_eq!(asked.len(), limits::QUESTIONS);
    let posted = call(&mut world, 5);
    asks(&mut world, &posted, &json!({"a": elicitation()}), None);
    assert!(failed_call(&mut world, 5).contains("too many questions"));
    for question in asked.iter().rev() {
        replies(&mut world, question, &json!({"action": "decline"}));
    }
    assert_eq!(world.count("tools/call"), 9);
    let last = world.take("tools/call");
    let responses = last.json["params"]["inputResponses"].as_object().unwrap();
    assert_eq!(responses.len(), 64);
}

#[test]
fn what_rounds_hold_is_bounded() {
    let mut world = modern();
    let state = "s".repeat(limits::ROUND_BYTES / 3);
    for id in 1..=2 {
        let posted = call(&mut world, id);
        asks(
            &mut world,
            &posted,
            &json!({"a": elicitation()}),
            Some(&state),
        );
    }
    let questions = [
        world.line("elicitation/create"),
        world.line("elicitation/create"),
    ];
    let posted = call(&mut world, 3);
    asks(
        &mut world,
        &posted,
        &json!({"a": elicitation()}),
        Some(&state),
    );
    assert!(failed_call(&mut world, 3).contains("too large"));
    let asked = world.line("elicitation/create");
    assert_withdrawn(&mut world, &asked);
    let content = json!({"action": "accept", "content": {"s": state}});
    replies(&mut world, &questions[0], &content);
    assert!(failed_call(&mut world, 1).contains("too large"));
    replies(&mut world, &questions[1], &content);
    assert_eq!(
        world.take("tools/call").json["params"]["requestState"],
        state
    );
}

#[test]
fn a_link_that_tasks_ask_for_under_ever_new_keys_is_bounded() {
    let mut world = modern();
    for id in 1..=10 {
        tasked(&mut world, id);
    }
    let mut looks = 0;
    world.seconds_with(500, |world, posted| match posted.key() {
        "tasks/get" => {
            looks += 1;
            let keys = (0..64).map(|number| format!("{looks}-{number}-{}", "k".repeat(1000)));
            let questions: Value = keys
                .take(if looks <= 10 { 1 } else { 64 })
                .map(|key| (key, link("https://example.com/a")))
                .collect();
            let more = json!({"inputRequests": questions});
            world.give(posted, &task("input_required", &more));
            if world.has_line("elicitation/create") {
                let question = world.line("elicitation/create");
                replies(world, &question, &json!({"action": "accept"}));
            }
        }
        _ => world.give(posted, &json!({"resultType": "complete"})),
    });
    let ended: Vec<u64> = (1..=10).filter(|id| world.is_answered(*id)).collect();
    assert!(!ended.is_empty(), "{looks}");
    for id in ended {
        let text = failed_call(&mut world, id);
        assert!(text.contains("too large"), "{looks}: {text}");
    }
}

#[test]
fn a_question_is_answered_once() {
    let mut world = modern();
    let first = call(&mut world, 1);
    asks(
        &mut world,
        &first,
        &json!({"a": elicitation(), "b": elicitation()}),
        None,
    );
    let (one, two) = (
        world.line("elicitation/create"),
        world.line("elicitation/create"),
    );
    replies(&mut world, &one, &json!({"action": "decline"}));
    replies(
        &mut world,
        &one,
        &json!({"action": "accept", "content": {}}),
    );
    assert!(world.pending().is_empty());
    replies(&mut world, &two, &json!({"action": "decline"}));
    let second = world.take("tools/call");
    let declined = json!({"action": "decline"});
    assert_eq!(
        second.json["params"]["inputResponses"],
        json!({"a": declined, "b": declined})
    );
    replies(&mut world, &two, &json!({"action": "accept"}));
    assert!(world.pending().is_empty());
    done(&mut world, &second);
    world.response(1);
}

#[test]
fn questions_that_are_withdrawn_make_room_for_others() {
    let mut world = modern();
    for _ in 0..=limits::QUESTIONS {
        let posted = call(&mut world, 1);
        asks(&mut world, &posted, &json!({"a": elicitation()}), None);
        world.client_says(
            &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
        );
    }
    let questions = |line: &&Value| line["method"] == "elicitation/create";
    assert_eq!(
        world.lines().iter().filter(questions).count(),
        limits::QUESTIONS + 1
    );
}

#[test]
fn a_question_that_nobody_answers_is_given_up_after_a_while() {
    let mut world = modern();
    let first = call(&mut world, 1);
    asks(
        &mut world,
        &first,
        &json!({"a": elicitation(), "b": elicitation()}),
        None,
    );
    let (one, two) = (
        world.line("elicitation/create"),
        world.line("elicitation/create"),
    );
    world.seconds(599);
    replies(&mut world, &one, &json!({"action": "decline"}));
    world.seconds(599);
    assert!(!world.is_answered(1));
    world.seconds(1);
    assert!(failed_call(&mut world, 1).contains("10 minutes"));
    assert_withdrawn(&mut world, &two);
    assert!(world.pending().is_empty());
}

#[test]
fn the_end_of_the_client_ends_a_call_in_a_question() {
    let mut world = modern();
    let first = call(&mut world, 1);
    asks(&mut world, &first, &json!({"a": elicitation()}), None);
    tasked(&mut world, 2);
    world.feed(Input::LocalClosed);
    world.seconds(4);
    assert!(!world.exited);
    world.seconds(1);
    assert!(world.exited);
    for id in [1, 2] {
        assert_eq!(world.response(id)["error"]["data"]["kind"], "shutdown");
    }
    assert_eq!(world.unanswered(), 0);
    assert_eq!(world.count("tasks/cancel"), 0);
}

#[test]
fn a_leg_that_breaks_off_is_repeated_only_where_that_does_no_harm() {
    let mut world = modern();
    let first = call(&mut world, 1);
    waits(&mut world, &first, "s");
    world.seconds(1);
    let second = world.take("tools/call");
    world.stream(&second);
    world.end(&second);
    world.seconds(100);
    assert_eq!(world.response(1)["error"]["data"]["executed"], "unknown");
    assert_eq!(world.count("tools/call"), 2);
    world.request_with(2, "prompts/get", &json!({"name": "p"}));
    let first = world.take("prompts/get");
    asks(
        &mut world,
        &first,
        &json!({"a": {"method": "roots/list"}}),
        Some("s"),
    );
    let question = world.line("roots/list");
    replies(&mut world, &question, &json!({"roots": []}));
    let second = world.take("prompts/get");
    world.stream(&second);
    world.end(&second);
    world.seconds(5);
    let third = world.take("prompts/get");
    assert_ne!(third.json["id"], second.json["id"]);
    assert_eq!(third.json["params"]["requestState"], "s");
    assert_eq!(
        third.json["params"]["inputResponses"],
        json!({"a": {"roots": []}})
    );
}

#[test]
fn a_leg_is_sent_again_with_other_credentials() {
    let mut world = signed_in();
    let first = call(&mut world, 1);
    waits(&mut world, &first, "s");
    world.seconds(1);
    let second = world.take("tools/call");
    world.answer(&second, 401, &[("www-authenticate", "Bearer")], "");
    world.feed(Input::Authorized(Ok(())));
    let third = world.take("tools/call");
    assert_eq!(third.json["params"]["requestState"], "s");
    done(&mut world, &third);
    world.response(1);
}

#[test]
fn a_round_is_not_begun_anew_at_a_server_that_turned_legacy() {
    let mut world = modern();
    let first = call(&mut world, 1);
    waits(&mut world, &first, "s");
    tasked(&mut world, 2);
    world.seconds(1);
    let second = world.take("tools/call");
    world.answer(&second, 404, &[], "");
    let probe = world.take("server/discover");
    let refusal = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#;
    world.answer(&probe, 400, &[], refusal);
    world.reopen("a");
    world.seconds(5);
    for id in [1, 2] {
        let response = world.response(id);
        assert_eq!(
            response["error"]["data"]["kind"], "session-lost",
            "{response}"
        );
        assert_eq!(response["error"]["data"]["executed"], "unknown");
    }
    assert_eq!(world.count("tools/call"), 3);
}
