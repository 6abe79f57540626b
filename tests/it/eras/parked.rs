//! A client of 2026-07-28 and a server of the older revisions that asks it: the call is parked
//! with an `input_required` result, and goes on when the client comes back with answers.

use serde_json::{Value, json};

use super::{ask, code, end, old, result, said, say};
use crate::support::{
    Bridge, Call, Gate, Legacy, LegacyRemote, Mailbox, Reply, StreamHandle, Unaware, form, rpc,
};

type Opened = Mailbox<(Call, StreamHandle)>;

/// A server whose `tools/call`s are answered with streams that the test writes.
fn streaming() -> (LegacyRemote, Opened) {
    let opened = Mailbox::new();
    let mailbox: Opened = opened.clone();
    let remote = old()
        .on("tools/call", move |call| {
            Reply::stream(|stream| mailbox.put((call.clone(), stream)))
        })
        .start();
    (remote, opened)
}

/// The server's question `Which size?`.
fn question(id: impl Into<Value>) -> Value {
    let form = form("Which size?");
    rpc::request(id, "elicitation/create", form["params"].clone())
}

/// The one key and the state of an `input_required` result; the question is checked.
#[track_caller]
fn parked(response: &Value) -> (String, Value) {
    let result = result(response);
    assert_eq!(result["resultType"], "input_required", "{response}");
    let requests = result["inputRequests"].as_object().unwrap();
    assert_eq!(requests.len(), 1, "{response}");
    let (key, request) = requests.iter().next().unwrap();
    assert_eq!(request["method"], "elicitation/create");
    assert_eq!(request["params"], form("Which size?")["params"]);
    let state = result["requestState"].clone();
    assert!(state.is_string(), "{response}");
    (key.clone(), state)
}

fn chosen() -> Value {
    json!({"action": "accept", "content": {"size": "M"}})
}

/// The parameters of a retry of `echo`.
fn retry(text: &str, key: &str, state: &Value) -> Value {
    let mut params = rpc::echo_params(text);
    params["inputResponses"] = json!({key: chosen()});
    params["requestState"] = state.clone();
    params
}

#[test]
fn t135_a_question_parks_its_call() {
    let (remote, opened) = streaming();
    let bridge = Bridge::spawn(&remote.url());
    say(&bridge, 3, "tools/call", rpc::echo_params("hi"));
    let (call, stream) = opened.take();
    stream.event(&question(0));
    let (key, state) = parked(&bridge.response(3));
    say(&bridge, 4, "tools/call", retry("hi", &key, &state));
    let answer = remote.wait_call("response").json;
    assert_eq!(answer, rpc::response(0, chosen()));
    stream.event(&call.result_message(&call.echo()));
    stream.close();
    let response = bridge.response(4);
    assert_eq!(result(&response)["resultType"], "complete");
    assert_eq!(said(&response), "hi");
    assert_eq!(end(bridge).messages, Vec::<Value>::new());
    assert_eq!(remote.calls_of("tools/call").len(), 1);
    assert_eq!(remote.calls_of("response").len(), 1);
}

/// A question that comes beside a running call, on the server's own stream.
fn asked_beside_the_call(server: Legacy) {
    let gate = Gate::new();
    let held = gate.clone();
    let remote = server
        .on("tools/call", move |_| Reply::usual().after(&held))
        .start();
    let bridge = Bridge::spawn(&remote.url());
    say(&bridge, 3, "tools/call", rpc::echo_params("hi"));
    remote.wait_call("tools/call");
    remote.say(&question("q"));
    let (key, state) = parked(&bridge.response(3));
    say(&bridge, 4, "tools/call", retry("hi", &key, &state));
    let answer = remote.wait_call("response").json;
    assert_eq!(answer, rpc::response("q", chosen()));
    gate.open();
    let response = bridge.response(4);
    assert_eq!(result(&response)["resultType"], "complete");
    assert_eq!(said(&response), "hi");
    assert_eq!(end(bridge).messages, Vec::<Value>::new());
    assert_eq!(remote.calls_of("tools/call").len(), 1);
}

#[test]
fn t138_a_question_on_the_servers_own_stream_is_carried_by_the_running_call() {
    asked_beside_the_call(old());
}

#[test]
fn t160_a_question_on_the_shared_stream_is_carried_by_the_running_call() {
    asked_beside_the_call(Legacy::http_sse().unaware(Unaware::NotAllowed));
}

#[test]
fn t143_a_retry_that_does_not_fit_runs_nothing() {
    let (remote, opened) = streaming();
    let bridge = Bridge::spawn(&remote.url());
    say(&bridge, 3, "tools/call", rpc::echo_params("hi"));
    let (_call, stream) = opened.take();
    stream.event(&question(0));
    let (key, state) = parked(&bridge.response(3));
    let response = ask(&bridge, 4, "tools/call", retry("altered", &key, &state));
    assert_eq!(code(&response), -32602, "{response}");
    let invented = retry("hi", &key, &json!("mb1.invented"));
    assert_eq!(code(&ask(&bridge, 5, "tools/call", invented)), -32602);
    end(bridge);
    assert_eq!(remote.calls_of("tools/call").len(), 1);
    for answer in remote.calls_of("response") {
        assert_eq!(answer.json["result"]["action"], "cancel", "{answer:?}");
    }
}

#[test]
fn t143_a_state_is_good_for_one_retry() {
    let (remote, opened) = streaming();
    let bridge = Bridge::spawn(&remote.url());
    say(&bridge, 3, "tools/call", rpc::echo_params("hi"));
    let (call, stream) = opened.take();
    stream.event(&question(0));
    let (key, state) = parked(&bridge.response(3));
    say(&bridge, 4, "tools/call", retry("hi", &key, &state));
    remote.wait_call("response");
    let again = ask(&bridge, 5, "tools/call", retry("hi", &key, &state));
    assert_eq!(code(&again), -32602, "{again}");
    stream.event(&call.result_message(&call.echo()));
    stream.close();
    assert_eq!(said(&bridge.response(4)), "hi");
    let again = ask(&bridge, 6, "tools/call", retry("hi", &key, &state));
    assert_eq!(code(&again), -32602, "{again}");
    end(bridge);
    assert_eq!(remote.calls_of("tools/call").len(), 1);
    assert_eq!(remote.calls_of("response").len(), 1);
}
