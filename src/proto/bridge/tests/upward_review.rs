//! A modern client before a legacy server, where several things happen to one request at once:
//! questions and refused credentials, waits that are over, ids spelled otherwise, sessions beside
//! each other.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{Posted, World, initialize_result};
use crate::proto::bridge::Credentials;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::{Input, Prompt};

fn call(world: &mut World, id: u64) {
    world.modern_request(id, "tools/call", &json!({"name": "order"}));
}

fn running(world: &mut World, id: u64) -> Posted {
    call(world, id);
    let posted = world.take("tools/call");
    world.stream(&posted);
    posted
}

fn retry(world: &mut World, id: u64, state: &Value, answers: &Value) {
    let params = json!({"name": "order", "requestState": state, "inputResponses": answers});
    world.modern_request(id, "tools/call", &params);
}

fn question(id: u64, method: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {}})
}

fn roots() -> Value {
    json!({"q1": {"roots": []}})
}

fn wait(world: &mut World) {
    world.advance(Duration::from_millis(60));
}

/// The state of the round that this request was answered with.
#[track_caller]
fn state(world: &mut World, id: u64) -> Value {
    let result = world.response(id)["result"].clone();
    assert_eq!(result["resultType"], "input_required", "{result}");
    result["requestState"].clone()
}

fn refuse(world: &mut World, posted: &Posted) {
    world.answer(posted, 401, &[("www-authenticate", "Bearer")], "");
}

fn signing_in() -> (World, Posted) {
    let mut world = World::with(|settings| settings.credentials = Credentials::SignIn);
    let listen = world.connect_upward("a");
    (world, listen)
}

fn authorized(world: &mut World) {
    world.feed(Input::Authorized(Ok(())));
}

#[test]
fn t139_a_question_that_waited_for_a_request_outlives_its_refused_credentials() {
    let (mut world, listen) = signing_in();
    world.event(&listen, &question(0, "roots/list"));
    call(&mut world, 3);
    let posted = world.take("tools/call");
    refuse(&mut world, &posted);
    wait(&mut world);
    authorized(&mut world);
    let posted = world.take("tools/call");
    wait(&mut world);
    let state = state(&mut world, 3);
    retry(&mut world, 4, &state, &roots());
    let reply = world.take("response");
    assert_eq!(reply.json["result"], json!({"roots": []}));
    world.give(&posted, &json!({"content": []}));
    assert_eq!(world.response(4)["result"]["resultType"], "complete");
}

/// A call that is answered with a question before its credentials are refused, and taken up while a
/// person signs in.
fn taken_up_while_signing_in() -> World {
    let (mut world, listen) = signing_in();
    call(&mut world, 3);
    let posted = world.take("tools/call");
    world.event(&listen, &question(0, "roots/list"));
    wait(&mut world);
    let state = state(&mut world, 3);
    refuse(&mut world, &posted);
    world.feed(Input::SignInNeeded(Prompt {
        url: "https://as.example/".to_owned(),
        instruction: None,
        opened: true,
    }));
    retry(&mut world, 4, &state, &roots());
    world
}

#[test]
fn a_call_that_is_taken_up_while_a_person_signs_in_is_sent_afterwards() {
    let mut world = taken_up_while_signing_in();
    authorized(&mut world);
    let posted = world.take("tools/call");
    world.give(&posted, &json!({"content": []}));
    assert_eq!(world.response(4)["result"]["resultType"], "complete");
    assert_eq!(world.unanswered(), 0);
}

#[test]
fn a_call_that_is_taken_up_while_a_person_refuses_to_sign_in_is_answered() {
    let mut world = taken_up_while_signing_in();
    let failure = Failure::new(Kind::AuthorizationDenied, Executed::No, "no");
    world.feed(Input::Authorized(Err(failure)));
    assert_eq!(
        world.response(4)["error"]["data"]["kind"],
        "authorization_denied"
    );
    assert_eq!(world.unanswered(), 0);
}

/// The stream of a call ends and is to be continued.
fn breaks(world: &mut World, posted: &Posted) {
    world.stream(posted);
    world.events(posted, None, Some("7"), Some(5000), "");
    world.end(posted);
}

#[test]
fn t152_the_servers_late_word_does_not_send_a_call_twice() {
    let mut world = World::new();
    let listen = world.connect_upward("a");
    call(&mut world, 1);
    let posted = world.take("tools/call");
    let addresses = json!([{"mode": "url", "elicitationId": "e1", "url": "https://x.example/in", "message": "m"}]);
    let error = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32042, "message": "m", "data": {"elicitations": addresses}}});
    world.answer(&posted, 200, &[], error.to_string());
    let state = state(&mut world, 1);
    retry(&mut world, 2, &state, &json!({"q1": {"action": "accept"}}));
    world.seconds(30);
    let posted = world.take("tools/call");
    breaks(&mut world, &posted);
    let complete = json!({"jsonrpc": "2.0", "method": "notifications/elicitation/complete", "params": {"elicitationId": "e1"}});
    world.event(&listen, &complete);
    assert_eq!(world.count("tools/call"), 2);
    world.seconds(6);
    let resumed = world.take("GET");
    assert_eq!(resumed.header("last-event-id"), Some("7"));
}

#[test]
fn t151_a_late_answer_about_the_level_does_not_send_a_call_twice() {
    let mut world = World::new();
    world.connect_upward("a");
    let params = json!({"name": "order", "_meta": {"io.modelcontextprotocol/logLevel": "debug"}});
    world.modern_request(1, "tools/call", &params);
    let level = world.take("logging/setLevel");
    world.seconds(11);
    let posted = world.take("tools/call");
    breaks(&mut world, &posted);
    world.give(&level, &json!({}));
    assert_eq!(world.count("tools/call"), 1);
    world.seconds(6);
    let resumed = world.take("GET");
    assert_eq!(resumed.header("last-event-id"), Some("7"));
}

#[test]
fn an_answer_with_its_id_spelled_otherwise_reaches_the_retry() {
    let mut world = World::new();
    world.connect_upward("a");
    let posted = running(&mut world, 3);
    world.event(&posted, &question(0, "roots/list"));
    wait(&mut world);
    let state = state(&mut world, 3);
    retry(&mut world, 4, &state, &roots());
    world.event(
        &posted,
        &json!({"jsonrpc": "2.0", "id": "3", "result": {"content": []}}),
    );
    assert_eq!(world.response(4)["result"]["resultType"], "complete");
}

#[test]
fn a_question_of_a_session_that_ends_soon_is_refused_there() {
    let mut world = World::new();
    let listen = world.connect_upward("a");
    world.modern_request(1, "tools/list", &json!({}));
    let old = world.take("tools/list");
    world.stream(&old);
    let more = json!({"roots": {}, "experimental": {"x": {}}});
    world.modern_request_with(2, "prompts/list", &json!({}), &more);
    world.reopen("b");
    world.event(&listen, &question(0, "roots/list"));
    world.seconds(61);
    let reply = world.take("response");
    assert_eq!(reply.session(), "a");
    assert_eq!(reply.json["error"]["code"], -32603);
}

#[test]
fn a_server_takes_back_the_question_of_one_request_and_not_that_of_another() {
    let mut world = World::new();
    world.connect_upward("a");
    // Some servers count their requests anew for each of the client's.
    let first = running(&mut world, 3);
    world.event(&first, &question(0, "roots/list"));
    let second = running(&mut world, 4);
    world.event(&second, &question(0, "roots/list"));
    wait(&mut world);
    let one = state(&mut world, 3);
    let other = state(&mut world, 4);
    retry(&mut world, 5, &one, &roots());
    let reply = world.take("response");
    world.accept(&reply);
    world.event(
        &first,
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 0}}),
    );
    retry(&mut world, 6, &other, &roots());
    let reply = world.take("response");
    assert_eq!(reply.json["result"], json!({"roots": []}));
}

#[test]
fn a_call_that_is_sent_again_has_no_questions_of_the_lost_session() {
    let mut world = World::new();
    let listen = world.connect_upward("a");
    call(&mut world, 3);
    let posted = world.take("tools/call");
    world.event(&listen, &question(0, "roots/list"));
    wait(&mut world);
    let state = state(&mut world, 3);
    world.lose(&posted);
    world.reopen("b");
    let posted = world.take("tools/call");
    assert_eq!(posted.session(), "b");
    retry(&mut world, 4, &state, &roots());
    world.give(&posted, &json!({"content": []}));
    assert_eq!(world.response(4)["result"]["resultType"], "complete");
    assert_eq!(world.count("response"), 0);
}

#[test]
fn t154_an_error_without_an_envelope_has_the_modern_code_too() {
    let mut world = World::new();
    world.connect_upward("a");
    world.modern_request(1, "resources/read", &json!({"uri": "file:///a"}));
    let posted = world.take("resources/read");
    let error = r#"{"error":{"code":-32002,"message":"Resource not found"}}"#;
    world.answer(&posted, 400, &[], error);
    assert_eq!(world.response(1)["error"]["code"], -32602);
}

/// A session that offers tasks.
fn with_tasks(credentials: Credentials) -> World {
    let mut world = World::with(|settings| settings.credentials = credentials);
    world.modern_request(0, "server/discover", &json!({}));
    let probe = world.take("server/discover");
    let refusal = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#;
    world.answer(&probe, 400, &[], refusal);
    let posted = world.take("initialize");
    let mut result = initialize_result("2025-11-25");
    result["capabilities"]["tasks"] = json!({"requests": {"tools": {"call": {}}}});
    let answer = posted.result(&result).to_string();
    world.answer(&posted, 200, &[("mcp-session-id", "a")], answer);
    world.finish_handshake("a");
    world
}

#[test]
fn t156_a_task_outlives_its_credentials() {
    let mut world = with_tasks(Credentials::SignIn);
    call(&mut world, 1);
    let posted = world.take("tools/call");
    let error = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "m"}});
    world.answer(&posted, 200, &[], error.to_string());
    let posted = world.take("tools/call");
    let task = |status: &str| json!({"taskId": "t1", "status": status, "createdAt": "x", "lastUpdatedAt": "x", "ttl": 1, "pollInterval": 500});
    world.give(&posted, &json!({"task": task("working")}));
    for count in 1..=2 {
        world.seconds(1);
        let poll = world.take("tasks/get");
        refuse(&mut world, &poll);
        assert_eq!(world.authorizations(), count);
        // A person takes their time.
        world.seconds(60);
        assert_eq!(world.pending(), Vec::<&str>::new());
        authorized(&mut world);
    }
    world.seconds(1);
    let poll = world.take("tasks/get");
    world.give(&poll, &task("completed"));
    let outcome = world.take("tasks/result");
    refuse(&mut world, &outcome);
    authorized(&mut world);
    world.seconds(1);
    let poll = world.take("tasks/get");
    world.give(&poll, &task("completed"));
    let outcome = world.take("tasks/result");
    world.give(&outcome, &json!({"content": []}));
    assert_eq!(world.response(1)["result"]["resultType"], "complete");
}

/// A call that declares only forms, in a session that declares more, and its open stream.
fn modest(world: &mut World, id: u64) -> Posted {
    let declared = json!({"elicitation": {}});
    world.modern_request_with(id, "tools/call", &json!({"name": "order"}), &declared);
    let posted = world.take("tools/call");
    world.stream(&posted);
    posted
}

/// The server asks and is refused.
fn asks_in_vain(world: &mut World, posted: &Posted, method: &str, params: &Value) {
    let mut question = question(9, method);
    question["params"] = params.clone();
    world.event(posted, &question);
    let reply = world.take("response");
    world.accept(&reply);
}

#[test]
fn t142_a_call_that_fails_for_want_of_a_capability_says_which() {
    let mut world = World::new();
    world.connect_upward("a");
    let posted = modest(&mut world, 1);
    asks_in_vain(&mut world, &posted, "sampling/createMessage", &json!({}));
    let address = json!({"mode": "url", "message": "m", "url": "https://x.example/"});
    asks_in_vain(&mut world, &posted, "elicitation/create", &address);
    let failed =
        json!({"content": [{"type": "text", "text": "no\u{1b}[31mmodel"}], "isError": true});
    world.event(&posted, &posted.result(&failed));
    let error = world.response(1)["error"].clone();
    assert_eq!(error["code"], -32021);
    let required = json!({"sampling": {}, "elicitation": {"url": {}}});
    assert_eq!(error["data"]["requiredCapabilities"], required);
    assert_eq!(error["data"]["original"], failed);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("sampling") && message.contains("model"));
    assert!(!message.contains('\u{1b}'), "{message}");

    let posted = modest(&mut world, 2);
    asks_in_vain(&mut world, &posted, "roots/list", &json!({}));
    let failure = json!({"code": -32603, "message": "no roots"});
    world.event(
        &posted,
        &json!({"jsonrpc": "2.0", "id": posted.json["id"], "error": failure}),
    );
    let error = world.response(2)["error"].clone();
    assert_eq!(error["code"], -32021);
    assert_eq!(error["data"]["requiredCapabilities"], json!({"roots": {}}));
    assert_eq!(error["data"]["original"], failure);
}

#[test]
fn t142_a_call_that_does_without_a_capability_has_its_result() {
    let mut world = World::new();
    world.connect_upward("a");
    let posted = modest(&mut world, 1);
    asks_in_vain(&mut world, &posted, "roots/list", &json!({}));
    world.event(
        &posted,
        &posted.result(&json!({"content": [], "isError": false})),
    );
    assert_eq!(world.response(1)["result"]["resultType"], "complete");
    // What no client could declare is no capability that it lacks; nor is what it was asked.
    let posted = modest(&mut world, 2);
    asks_in_vain(
        &mut world,
        &posted,
        "elicitation/create",
        &json!({"mode": "x"}),
    );
    asks_in_vain(&mut world, &posted, "vendor/ask", &json!({}));
    world.event(
        &posted,
        &posted.result(&json!({"content": [], "isError": true})),
    );
    assert_eq!(world.response(2)["result"]["isError"], true);
}

#[test]
fn t156_a_call_that_has_begun_is_not_called_again_as_a_task() {
    let mut world = with_tasks(Credentials::Given);
    for (id, method) in [(1, "sampling/createMessage"), (2, "vendor/ask")] {
        let posted = modest(&mut world, id);
        world.event(&posted, &question(9, method));
        let reply = world.take("response");
        world.accept(&reply);
        // What the bridge said to the question comes back as the error of the call.
        world.event(
            &posted,
            &json!({"jsonrpc": "2.0", "id": posted.json["id"], "error": reply.json["error"]}),
        );
        assert!(world.response(id)["error"].is_object());
    }
    assert_eq!(world.count("tools/call"), 2);
}

#[test]
fn t148_a_resource_is_subscribed_to_with_new_credentials() {
    let (mut world, _listen) = signing_in();
    let filter = json!({"notifications": {"resourceSubscriptions": ["a:1"]}});
    world.modern_request("l", "subscriptions/listen", &filter);
    let watch = world.take("resources/subscribe");
    refuse(&mut world, &watch);
    assert_eq!(world.authorizations(), 1);
    authorized(&mut world);
    let watch = world.take("resources/subscribe");
    world.give(&watch, &json!({}));
    let granted = world.line("notifications/subscriptions/acknowledged");
    assert_eq!(
        granted["params"]["notifications"]["resourceSubscriptions"],
        json!(["a:1"])
    );
    // Refused again with those, it is not told of.
    world.modern_request(
        "k",
        "subscriptions/listen",
        &json!({"notifications": {"resourceSubscriptions": ["a:2"]}}),
    );
    for _ in 0..2 {
        let watch = world.take("resources/subscribe");
        refuse(&mut world, &watch);
        authorized(&mut world);
    }
    let granted = world.line("notifications/subscriptions/acknowledged");
    assert_eq!(
        granted["params"]["notifications"].get("resourceSubscriptions"),
        None
    );
    assert_eq!(world.pending(), Vec::<&str>::new());
}

#[test]
fn t143_a_state_of_a_legacy_server_does_not_reach_a_modern_one() {
    let mut world = World::new();
    world.connect_upward("a");
    let posted = running(&mut world, 3);
    world.event(&posted, &question(0, "roots/list"));
    wait(&mut world);
    let known = state(&mut world, 3);
    world.modern_request(4, "tools/list", &json!({}));
    let list = world.take("tools/list");
    world.lose(&list);
    let opening = world.take("initialize");
    world.answer(&opening, 400, &[], super::eras::unsupported(&opening));
    let probe = world.take("server/discover");
    world.give(&probe, &super::eras::discovered());
    // The call may have run, and this server knows nothing of it.
    retry(&mut world, 5, &known, &roots());
    assert_eq!(world.response(5)["error"]["code"], -32602);
    // Other states are the server's own.
    retry(&mut world, 6, &json!("mb1.of another"), &roots());
    assert_eq!(world.count("tools/call"), 2);
}

/// A call with a log level that is refused the level.
fn refused_level(world: &mut World, id: u64) -> Posted {
    let params = json!({"name": "order", "_meta": {"io.modelcontextprotocol/logLevel": "debug"}});
    world.modern_request(id, "tools/call", &params);
    world.take("logging/setLevel")
}

#[test]
fn t151_a_level_that_was_refused_is_set_after_the_sign_in() {
    let (mut world, _listen) = signing_in();
    let level = refused_level(&mut world, 1);
    refuse(&mut world, &level);
    // The call needs the same credentials, and a person signs in once for both.
    let posted = world.take("tools/call");
    assert_eq!(world.authorizations(), 0);
    refuse(&mut world, &posted);
    assert_eq!(world.authorizations(), 1);
    authorized(&mut world);
    let level = world.take("logging/setLevel");
    assert_eq!(world.count("tools/call"), 1);
    world.give(&level, &json!({}));
    let posted = world.take("tools/call");
    world.give(&posted, &json!({"content": []}));
    assert_eq!(world.response(1)["result"]["resultType"], "complete");
    assert_eq!(world.count("logging/setLevel"), 2);
}

#[test]
fn t151_a_level_that_is_always_refused_holds_nothing_up() {
    let (mut world, _listen) = signing_in();
    let level = refused_level(&mut world, 1);
    refuse(&mut world, &level);
    let posted = world.take("tools/call");
    refuse(&mut world, &posted);
    authorized(&mut world);
    let level = world.take("logging/setLevel");
    refuse(&mut world, &level);
    let posted = world.take("tools/call");
    world.give(&posted, &json!({"content": []}));
    assert_eq!(world.response(1)["result"]["resultType"], "complete");
    let params = json!({"name": "order", "_meta": {"io.modelcontextprotocol/logLevel": "debug"}});
    world.modern_request(2, "tools/call", &params);
    world.take("tools/call");
    assert_eq!(world.count("logging/setLevel"), 2);
    assert_eq!(world.authorizations(), 1);
}

#[test]
fn t151_a_level_refused_for_credentials_that_were_renewed_meanwhile_is_set_with_those() {
    let (mut world, _listen) = signing_in();
    let level = refused_level(&mut world, 1);
    call(&mut world, 2);
    let other = world.take("tools/call");
    refuse(&mut world, &other);
    authorized(&mut world);
    world.take("tools/call");
    refuse(&mut world, &level);
    let level = world.take("logging/setLevel");
    world.give(&level, &json!({}));
    world.take("tools/call");
    assert_eq!(world.authorizations(), 1);
}

fn task(status: &str) -> Value {
    json!({"taskId": "t1", "status": status, "createdAt": "x", "lastUpdatedAt": "x", "ttl": 1, "pollInterval": 500})
}

/// A call that runs as a task, and the look at it that is under way.
fn looked_at(world: &mut World) -> Posted {
    call(world, 1);
    let posted = world.take("tools/call");
    let error = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "m"}});
    world.answer(&posted, 200, &[], error.to_string());
    let posted = world.take("tools/call");
    world.give(&posted, &json!({"task": task("working")}));
    world.seconds(1);
    world.take("tasks/get")
}

#[test]
fn t156_a_look_at_a_task_that_is_not_answered_is_taken_again() {
    let mut world = with_tasks(Credentials::Given);
    let silent = looked_at(&mut world);
    world.seconds(58);
    assert!(world.is_running(&silent));
    world.seconds(3);
    assert!(!world.is_running(&silent));
    let poll = world.take("tasks/get");
    world.give(&poll, &task("completed"));
    let outcome = world.take("tasks/result");
    // The result comes when the task is done, however long that takes.
    world.seconds(600);
    world.give(&outcome, &json!({"content": []}));
    assert_eq!(world.response(1)["result"]["resultType"], "complete");
    assert_eq!(world.count("tasks/get"), 2);
}

#[test]
fn t156_a_server_that_does_not_tell_of_a_task_any_more_ends_the_call() {
    let mut world = with_tasks(Credentials::Given);
    looked_at(&mut world);
    world.seconds(300);
    assert_eq!(world.count("tasks/get"), 4);
    assert_eq!(world.response(1)["error"]["data"]["executed"], "unknown");
    assert_eq!(world.count("tasks/cancel"), 1);
    world.seconds(60);
    assert_eq!(world.bridge.exchanges.len(), 1, "only the listening one");
}

#[test]
fn the_session_of_a_task_that_is_looked_at_is_not_ended_for_another_client() {
    let mut world = with_tasks(Credentials::Given);
    looked_at(&mut world);
    world.initialize();
    world.take("initialize");
    assert_eq!(world.count("DELETE"), 0);
}

#[test]
fn t156_a_cancelled_task_leaves_no_exchange_open() {
    let mut world = with_tasks(Credentials::Given);
    let poll = looked_at(&mut world);
    world.client_says(
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
    );
    assert!(!world.is_running(&poll));
    let cancel = world.take("tasks/cancel");
    world.seconds(59);
    assert!(world.is_running(&cancel));
    world.seconds(1);
    assert!(!world.is_running(&cancel));
    assert!(world.bridge.own.is_empty() && world.bridge.upward.asks.is_empty());
}

#[test]
fn addresses_that_a_person_opens_are_not_printed() {
    let mut world = World::new();
    let listen = world.connect_upward("a");
    let address = json!({"mode": "url", "message": "m", "url": "https://x.example/in?key=s3cret"});
    let mut asked = question(0, "elicitation/create");
    asked["params"] = address.clone();
    let (running, held) = (running(&mut world, 1), listen);
    world.event(&running, &asked);
    world.give(&running, &json!({"content": []}));
    world.event(&held, &asked);
    call(&mut world, 2);
    let posted = world.take("tools/call");
    let error = json!({"jsonrpc": "2.0", "id": 2, "error": {"code": -32042, "message": "m", "data": {"elicitations": [address]}}});
    world.answer(&posted, 200, &[], error.to_string());
    let bridge = &world.bridge;
    let printed = format!("{:?} {:?}", bridge.suspended, bridge.upward.replays);
    assert!(
        printed.contains("elicitation/create") && printed.contains("Address"),
        "{printed}"
    );
    assert!(!printed.contains("s3cret"), "{printed}");
}

#[test]
fn a_failure_that_grows_too_deep_with_what_it_lacked_is_answered() {
    for member in ["error", "result"] {
        let mut world = World::new();
        world.connect_upward("a");
        let posted = modest(&mut world, 1);
        asks_in_vain(&mut world, &posted, "roots/list", &json!({}));
        let deep = format!("{}1{}", "[".repeat(509), "]".repeat(509));
        let failed = match member {
            "error" => format!(r#"{{"code":-32603,"message":"m","data":{deep}}}"#),
            _ => format!(r#"{{"content":[],"isError":true,"structuredContent":{deep}}}"#),
        };
        let id = &posted.json["id"];
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"{member}":{failed}}}"#);
        world.events(&posted, None, None, None, &answer);
        assert_eq!(world.response(1)["error"]["code"], -32603, "{member}");
    }
}
