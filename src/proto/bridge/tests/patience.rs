//! `--call-timeout`: what counts, what does not, and how a request ends that the server left
//! unanswered, between every pair of eras.

use std::time::Duration;

use serde_json::{Value, json};

use super::eras::{discovered, unsupported};
use super::world::{Posted, World, initialize_result};
use crate::proto::bridge::{Credentials, Settings};
use crate::proto::{Input, limits};

const FORM: &str = "elicitation/create";

/// Client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// Legacy on both sides, Streamable HTTP.
    Legacy,
    /// Legacy on both sides, HTTP+SSE.
    Sse,
    /// A legacy client before a modern server.
    ToModern,
    /// A modern client before a legacy server.
    ToLegacy,
    /// Modern on both sides.
    Modern,
}

pub(super) const CELLS: [Cell; 5] = [
    Cell::Legacy,
    Cell::Sse,
    Cell::ToModern,
    Cell::ToLegacy,
    Cell::Modern,
];

/// What a modern server tells of itself that has no changes to tell of.
fn quiet() -> Value {
    let mut quiet = discovered();
    quiet["capabilities"] = json!({"tools": {}, "logging": {}});
    quiet
}

/// A client and a server that are connected; gives the stream on which the server speaks beside the
/// answers, if it has one.
pub(super) fn connected(cell: Cell, change: impl FnOnce(&mut Settings)) -> (World, Option<Posted>) {
    let mut world = World::with(|settings| {
        if cell == Cell::Sse {
            settings.strategy = crate::proto::transport::Strategy::SseOnly;
        }
        change(settings);
    });
    let stream = match cell {
        Cell::Legacy => Some(world.connect("a")),
        Cell::Sse => Some(world.connect_sse("/m")),
        Cell::ToModern => {
            world.connect_modern_as("2025-11-25", &quiet());
            None
        }
        Cell::ToLegacy => Some(world.connect_upward("a")),
        Cell::Modern => {
            world.modern_request(0, "server/discover", &json!({}));
            let probe = world.take("server/discover");
            world.give(&probe, &quiet());
            world.response(0);
            None
        }
    };
    (world, stream)
}

/// The same with a limit of ten seconds.
fn limited(cell: Cell) -> (World, Option<Posted>) {
    connected(cell, |settings| {
        settings.call_timeout = Some(Duration::from_secs(10));
    })
}

/// Calls a tool with the progress token `tID`; gives the call as the server sees it.
pub(super) fn call(world: &mut World, cell: Cell, id: u64) -> Posted {
    let token = format!("t{id}");
    let params = json!({"name": "x", "arguments": {"n": 1}, "_meta": {"progressToken": token}});
    if matches!(cell, Cell::ToLegacy | Cell::Modern) {
        world.modern_request(id, "tools/call", &params);
    } else {
        world.request_with(id, "tools/call", &params);
    }
    let posted = world.take("tools/call");
    match cell {
        Cell::Sse => world.accept(&posted),
        _ => world.stream(&posted),
    }
    posted
}

/// The server tells of progress, under the token that it was given.
pub(super) fn progress(
    world: &mut World,
    posted: &Posted,
    stream: Option<&Posted>,
    progress: &Value,
) {
    let token = &posted.json["params"]["_meta"]["progressToken"];
    let params = json!({"progressToken": token, "progress": progress, "total": 100});
    let message = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
    world.event(stream.unwrap_or(posted), &message);
}

/// Where the server speaks of a call: on HTTP+SSE, on its own stream.
pub(super) fn beside(cell: Cell, stream: Option<&Posted>) -> Option<&Posted> {
    stream.filter(|_| cell == Cell::Sse)
}

#[track_caller]
fn timed_out(world: &mut World, id: u64) -> String {
    let response = world.response(id);
    let error = &response["error"];
    assert_eq!(error["code"], -31000, "{response}");
    assert_eq!(error["data"]["kind"], "timeout", "{response}");
    assert_eq!(error["data"]["executed"], "unknown", "{response}");
    error["message"].as_str().unwrap().to_owned()
}

fn question(id: u64, method: &str) -> Value {
    let params = json!({"mode": "form", "message": "?",
        "requestedSchema": {"type": "object", "properties": {}}});
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn answer(world: &mut World, question: &Value) {
    world.client_says(
        &json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}}),
    );
}

#[test]
fn a_call_without_an_answer_is_given_up_and_the_server_is_told() {
    for cell in CELLS {
        let (mut world, stream) = limited(cell);
        let posted = call(&mut world, cell, 1);
        world.advance(Duration::from_millis(9999));
        assert!(!world.is_answered(1), "{cell:?}");
        world.advance(Duration::from_millis(1));
        let text = timed_out(&mut world, 1);
        for words in ["10 s", "--call-timeout", "tools/call", "look at the server"] {
            assert!(text.contains(words), "{cell:?}: {words:?} is not in {text}");
        }
        if matches!(cell, Cell::ToModern | Cell::Modern) {
            assert!(!world.is_running(&posted), "{cell:?}");
            assert_eq!(world.count("notifications/cancelled"), 0, "{cell:?}");
        } else {
            let note = world.take("notifications/cancelled");
            assert_eq!(note.json["params"]["requestId"], posted.json["id"]);
            // The server may not have heard of it in time.
            let late = posted.result(&json!({"content": []}));
            world.event(beside(cell, stream.as_ref()).unwrap_or(&posted), &late);
            world.accept(&note);
        }
        world.seconds(3600);
        assert!(!world.is_answered(1), "{cell:?}");
        assert_eq!(world.count("tools/call"), 1, "{cell:?}");
    }
}

#[test]
fn without_the_option_nothing_is_given_up() {
    for cell in CELLS {
        let (mut world, _stream) = connected(cell, |_| {});
        call(&mut world, cell, 1);
        world.seconds(24 * 3600);
        assert!(!world.is_answered(1), "{cell:?}");
    }
}

#[test]
fn progress_begins_the_limit_anew_for_its_own_call_alone() {
    for cell in CELLS {
        let (mut world, stream) = limited(cell);
        let (told, silent) = (call(&mut world, cell, 1), call(&mut world, cell, 2));
        for step in 1..5 {
            world.seconds(4);
            progress(
                &mut world,
                &told,
                beside(cell, stream.as_ref()),
                &json!(step),
            );
            assert!(world.has_line("notifications/progress"), "{cell:?}");
            world.lines.retain(|line| line.get("id").is_some());
            assert_eq!(world.is_answered(2), step >= 3, "{cell:?} {step}");
            assert!(!world.is_answered(1), "{cell:?} {step}");
        }
        timed_out(&mut world, 2);
        assert!(!world.is_running(&silent) || cell != Cell::Modern);
        world.advance(Duration::from_millis(9999));
        assert!(!world.is_answered(1), "{cell:?}");
        world.advance(Duration::from_millis(1));
        timed_out(&mut world, 1);
    }
}

#[test]
fn what_only_reads_may_be_asked_for_again() {
    let (mut world, _stream) = limited(Cell::Legacy);
    world.request(1, "resources/list");
    world.seconds(10);
    let text = timed_out(&mut world, 1);
    assert!(text.contains("ask again"), "{text}");
}

#[test]
fn the_handshake_and_a_subscription_have_no_such_limit() {
    let mut world = World::with(|settings| settings.call_timeout = Some(Duration::from_secs(1)));
    world.initialize();
    world.seconds(15);
    assert!(!world.is_answered("init"));
    for cell in [Cell::ToLegacy, Cell::Modern] {
        let (mut world, _stream) = limited(cell);
        let filter = json!({"notifications": {"toolsListChanged": true}});
        world.modern_request(1, "subscriptions/listen", &filter);
        if cell == Cell::Modern {
            let posted = world.take("subscriptions/listen");
            world.stream(&posted);
            let method = "notifications/subscriptions/acknowledged";
            let params = json!({"notifications": {"toolsListChanged": true},
                "_meta": {"io.modelcontextprotocol/subscriptionId": 1}});
            world.event(
                &posted,
                &json!({"jsonrpc": "2.0", "method": method, "params": params}),
            );
        }
        world.seconds(3600);
        assert!(!world.is_answered(1), "{cell:?}");
    }
}

#[test]
fn waiting_for_a_sign_in_or_a_server_does_not_count() {
    // A person signs in.
    let (mut world, _stream) = connected(Cell::Legacy, |settings| {
        settings.call_timeout = Some(Duration::from_secs(10));
        settings.credentials = Credentials::SignIn;
    });
    world.request_with(1, "tools/call", &json!({"name": "x"}));
    let posted = world.take("tools/call");
    world.seconds(9);
    world.answer(&posted, 401, &[("www-authenticate", "Bearer")], "");
    world.seconds(120);
    world.feed(Input::Authorized(Ok(())));
    world.take("tools/call");
    world.advance(Duration::from_millis(9999));
    assert!(!world.is_answered(1));
    world.advance(Duration::from_millis(1));
    timed_out(&mut world, 1);

    // A session is opened again.
    let (mut world, _stream) = limited(Cell::Legacy);
    world.request_with(1, "tools/call", &json!({"name": "x"}));
    let posted = world.take("tools/call");
    world.seconds(9);
    world.lose(&posted);
    world.seconds(30);
    world.reopen("b");
    world.take("tools/call");
    world.seconds(9);
    assert!(!world.is_answered(1));
    world.seconds(1);
    timed_out(&mut world, 1);

    // A server is busy for longer than the limit.
    let (mut world, _stream) = limited(Cell::Legacy);
    world.request_with(1, "tools/call", &json!({"name": "x"}));
    let posted = world.take("tools/call");
    world.answer(&posted, 503, &[("retry-after", "20")], "");
    world.seconds(20);
    let posted = world.take("tools/call");
    world.give(&posted, &json!({"content": []}));
    assert!(world.response(1).get("result").is_some());
}

#[test]
fn a_stream_that_is_continued_is_no_answer() {
    let (mut world, _stream) = limited(Cell::Legacy);
    let posted = call(&mut world, Cell::Legacy, 1);
    world.events(&posted, None, Some("e"), Some(8000), "");
    world.seconds(5);
    world.end(&posted);
    world.seconds(4);
    assert!(!world.is_answered(1));
    world.seconds(1);
    timed_out(&mut world, 1);
    world.seconds(60);
    assert_eq!(world.count("GET"), 1);
}

#[test]
fn a_question_lets_the_limit_rest_until_it_is_answered() {
    // In the exchange of the call, and on a stream that may be anybody's.
    for cell in [Cell::Legacy, Cell::Sse] {
        let (mut world, stream) = limited(cell);
        let posted = call(&mut world, cell, 1);
        world.seconds(9);
        world.event(
            beside(cell, stream.as_ref()).unwrap_or(&posted),
            &question(1, FORM),
        );
        let asked = world.line(FORM);
        world.seconds(300);
        assert!(!world.is_answered(1), "{cell:?}");
        answer(&mut world, &asked);
        world.advance(Duration::from_millis(9999));
        assert!(!world.is_answered(1), "{cell:?}");
        world.advance(Duration::from_millis(1));
        timed_out(&mut world, 1);
    }
}

#[test]
fn a_question_that_is_taken_back_lets_it_rest_no_longer() {
    let (mut world, _stream) = limited(Cell::Legacy);
    let posted = call(&mut world, Cell::Legacy, 1);
    world.seconds(9);
    world.event(&posted, &question(7, FORM));
    world.seconds(60);
    let params = json!({"requestId": 7});
    let method = "notifications/cancelled";
    world.event(
        &posted,
        &json!({"jsonrpc": "2.0", "method": method, "params": params}),
    );
    world.seconds(9);
    assert!(!world.is_answered(1));
    world.seconds(1);
    timed_out(&mut world, 1);
}

#[test]
fn what_costs_the_client_no_time_does_not_let_it_rest() {
    let (mut world, _stream) = limited(Cell::Legacy);
    let posted = call(&mut world, Cell::Legacy, 1);
    let other = call(&mut world, Cell::Legacy, 2);
    world.event(&posted, &question(1, "ping"));
    world.event(&other, &question(2, FORM));
    world.seconds(10);
    timed_out(&mut world, 1);
    assert!(!world.is_answered(2));
}

#[test]
fn a_question_that_nobody_answers_lets_it_rest_for_ten_minutes() {
    for cell in [Cell::Legacy, Cell::Sse] {
        let (mut world, stream) = limited(cell);
        let posted = call(&mut world, cell, 1);
        world.event(
            beside(cell, stream.as_ref()).unwrap_or(&posted),
            &question(1, FORM),
        );
        world.seconds(limits::QUESTION_IDLE.as_secs() - 1);
        assert!(!world.is_answered(1), "{cell:?}");
        world.seconds(10);
        timed_out(&mut world, 1);
    }
}

#[test]
fn a_modern_client_may_take_its_time_over_a_question() {
    let (mut world, _stream) = limited(Cell::ToLegacy);
    let posted = call(&mut world, Cell::ToLegacy, 1);
    world.seconds(9);
    world.event(&posted, &question(0, FORM));
    world.seconds(1);
    let state = world.response(1)["result"]["requestState"].clone();
    world.seconds(300);
    let params = json!({"name": "x", "arguments": {"n": 1}, "requestState": state,
        "inputResponses": {"q1": {"action": "decline"}}});
    world.modern_request(2, "tools/call", &params);
    world.advance(Duration::from_millis(9999));
    assert!(!world.is_answered(2));
    world.advance(Duration::from_millis(1));
    timed_out(&mut world, 2);
    assert_eq!(world.count("tools/call"), 1);
    let reply = world.take("response");
    world.accept(&reply);
    let note = world.take("notifications/cancelled");
    assert_eq!(note.json["params"]["requestId"], 1);
}

#[test]
fn a_question_that_went_with_another_call_lets_both_rest() {
    let (mut world, stream) = limited(Cell::ToLegacy);
    call(&mut world, Cell::ToLegacy, 1);
    call(&mut world, Cell::ToLegacy, 2);
    world.seconds(5);
    world.event(stream.as_ref().unwrap(), &question(0, FORM));
    world.seconds(1);
    let state = world.response(2)["result"]["requestState"].clone();
    world.seconds(300);
    assert!(!world.is_answered(1));
    let params = json!({"name": "x", "arguments": {"n": 1}, "requestState": state,
        "inputResponses": {"q1": {"action": "decline"}}});
    world.modern_request(3, "tools/call", &params);
    world.advance(Duration::from_millis(9999));
    assert!(!world.is_answered(1) && !world.is_answered(3));
    world.advance(Duration::from_millis(1));
    timed_out(&mut world, 1);
    timed_out(&mut world, 3);
}

#[test]
fn each_round_of_a_modern_server_has_the_whole_limit() {
    let (mut world, _stream) = limited(Cell::ToModern);
    let posted = call(&mut world, Cell::ToModern, 1);
    world.seconds(9);
    let asked = json!({"method": FORM, "params": {"message": "?",
        "requestedSchema": {"type": "object", "properties": {}}}});
    let asks = json!({"resultType": "input_required", "requestState": "s",
        "inputRequests": {"q": asked}});
    world.event(&posted, &posted.result(&asks));
    let asked = world.line(FORM);
    world.seconds(300);
    assert!(!world.is_answered(1));
    answer(&mut world, &asked);
    let posted = world.take("tools/call");
    world.advance(Duration::from_millis(9999));
    assert!(!world.is_answered(1));
    world.advance(Duration::from_millis(1));
    timed_out(&mut world, 1);
    assert!(!world.is_running(&posted));
}

/// What a modern server says of a task.
fn task(status: &str, said: &str) -> Value {
    json!({"resultType": "complete", "taskId": "t", "status": status, "statusMessage": said,
        "createdAt": "2026-07-28T10:00:00Z", "lastUpdatedAt": "2026-07-28T10:00:00Z",
        "ttlMs": null, "pollIntervalMs": 2000})
}

#[test]
fn a_task_that_tells_nothing_new_is_cancelled() {
    let (mut world, _stream) = limited(Cell::ToModern);
    let posted = call(&mut world, Cell::ToModern, 1);
    let mut begun = task("working", "one");
    begun["resultType"] = "task".into();
    world.event(&posted, &posted.result(&begun));
    let mut said = "one";
    for second in 0..17 {
        if second == 6 {
            said = "two";
        }
        world.seconds(1);
        while world.pending().contains(&"tasks/get") {
            let get = world.take("tasks/get");
            world.give(&get, &task("working", said));
        }
        assert!(!world.is_answered(1), "{second}");
    }
    // The second message came with the look after eight seconds.
    world.seconds(1);
    timed_out(&mut world, 1);
    let cancel = world.take("tasks/cancel");
    assert_eq!(cancel.json["params"]["taskId"], "t");
}

#[test]
fn a_task_of_a_legacy_server_is_cancelled() {
    let mut world = World::with(|settings| {
        settings.call_timeout = Some(Duration::from_secs(10));
    });
    world.modern_request(0, "server/discover", &json!({}));
    let probe = world.take("server/discover");
    let refusal = json!({"jsonrpc": "2.0", "id": null, "error":
        {"code": -32000, "message": "Bad Request: No valid session ID provided"}});
    world.answer(&probe, 400, &[], refusal.to_string());
    let posted = world.take("initialize");
    let mut result = initialize_result("2025-11-25");
    result["capabilities"]["tasks"] = json!({"requests": {"tools": {"call": {}}}});
    let opened = posted.result(&result).to_string();
    world.answer(&posted, 200, &[("mcp-session-id", "a")], opened);
    world.finish_handshake("a");
    world.response(0);
    world.modern_request(1, "tools/call", &json!({"name": "x"}));
    let posted = world.take("tools/call");
    let refusal = json!({"jsonrpc": "2.0", "id": posted.json["id"],
        "error": {"code": -32601, "message": "as a task"}});
    world.answer(&posted, 200, &[], refusal.to_string());
    let posted = world.take("tools/call");
    let working = json!({"taskId": "t1", "status": "working", "createdAt": "x",
        "lastUpdatedAt": "x", "ttl": 1, "pollInterval": 500});
    world.give(&posted, &json!({"task": working}));
    world.seconds_with(9, |world, posted| world.give(posted, &working));
    assert!(!world.is_answered(1));
    world.seconds(1);
    timed_out(&mut world, 1);
    let cancel = world.take("tasks/cancel");
    assert_eq!(cancel.json["params"], json!({"taskId": "t1"}));
    assert_eq!(world.count("notifications/cancelled"), 0);
}

#[test]
fn a_batch_is_answered_when_its_last_request_is_given_up() {
    let mut world = World::with(|settings| settings.call_timeout = Some(Duration::from_secs(10)));
    world.connect_modern_as("2025-03-26", &quiet());
    world.client_says(&json!([
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x"}},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "x"}},
    ]));
    let posted = world.take("tools/call");
    world.give(&posted, &json!({"resultType": "complete", "content": []}));
    assert_eq!(world.unanswered(), 2);
    world.seconds(10);
    assert_eq!(world.unanswered(), 0);
    let batch = world.lines().pop().unwrap();
    assert!(batch[0].get("result").is_some(), "{batch}");
    assert_eq!(batch[1]["error"]["data"]["kind"], "timeout", "{batch}");
}

#[test]
fn a_late_answer_is_not_that_to_a_new_request_with_the_same_id() {
    for given_up in [true, false] {
        let (mut world, stream) = limited(Cell::Sse);
        let stream = stream.unwrap();
        let first = call(&mut world, Cell::Sse, 1);
        if given_up {
            world.seconds(10);
            timed_out(&mut world, 1);
        } else {
            let params = json!({"requestId": 1});
            let method = "notifications/cancelled";
            world.client_says(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
        }
        let second = call(&mut world, Cell::Sse, 1);
        world.event(&stream, &first.result(&json!({"content": ["first"]})));
        assert!(!world.is_answered(1), "{given_up}");
        world.event(&stream, &second.result(&json!({"content": ["second"]})));
        assert_eq!(world.response(1)["result"]["content"], json!(["second"]));
    }
}

#[test]
fn a_server_that_hangs_keeps_no_connections() {
    let (mut world, _stream) = limited(Cell::Legacy);
    let calls: Vec<Posted> = (1..100)
        .map(|id| call(&mut world, Cell::Legacy, id))
        .collect();
    world.seconds(10);
    for id in 1..100 {
        timed_out(&mut world, id);
    }
    world.advance(limits::LINGER);
    let open = calls.iter().filter(|posted| world.is_running(posted));
    assert_eq!(open.count(), 0);
}

#[test]
fn a_cancelled_request_gets_no_answer_and_one_that_is_given_up_cannot_be_cancelled() {
    for cell in CELLS {
        let (mut world, _stream) = limited(cell);
        call(&mut world, cell, 1);
        call(&mut world, cell, 2);
        let cancel = |world: &mut World, id: u64| {
            let params = json!({"requestId": id});
            let method = "notifications/cancelled";
            world.client_says(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
        };
        cancel(&mut world, 1);
        world.seconds(10);
        assert!(!world.is_answered(1), "{cell:?}");
        timed_out(&mut world, 2);
        let before = world.history.len();
        cancel(&mut world, 2);
        assert_eq!(world.history.len(), before, "{cell:?}");
    }
}

#[test]
fn the_limit_counts_while_the_bridge_ends() {
    let (mut world, _stream) = connected(Cell::Legacy, |settings| {
        settings.call_timeout = Some(Duration::from_secs(2));
        settings.eof_grace = Duration::from_secs(60);
    });
    call(&mut world, Cell::Legacy, 1);
    world.feed(Input::LocalClosed);
    world.seconds(2);
    timed_out(&mut world, 1);
    let note = world.take("notifications/cancelled");
    world.accept(&note);
    assert_eq!(world.take("DELETE").session(), "a");
}

#[test]
fn a_server_that_has_become_a_modern_one_has_the_whole_limit() {
    let (mut world, _stream) = limited(Cell::Legacy);
    world.request(2, "tools/list");
    let posted = world.take("tools/list");
    world.seconds(9);
    world.lose(&posted);
    let again = world.take("initialize");
    world.answer(&again, 400, &[], unsupported(&again));
    let probe = world.take("server/discover");
    world.give(&probe, &quiet());
    let posted = world.take("tools/list");
    world.seconds(9);
    assert!(!world.is_answered(2));
    world.seconds(1);
    timed_out(&mut world, 2);
    assert!(!world.is_running(&posted));
}
