//! A client of the older revisions and a server of 2026-07-28 that asks it: `input_required`
//! results become requests, their answers become retries (MCP 2026-07-28, Multi Round-Trip
//! Requests). The ready-made server checks every retry: parameters, ids, the exact state.

use serde_json::{Value, json};

use super::{code, lines_are_read, result, said, shake};
use crate::support::{
    Bridge, Errand, Modern, ModernRemote, Round, form, open_url, roots, rpc, sampling,
};

fn done() -> Value {
    json!({"content": [{"type": "text", "text": "done"}]})
}

/// A server whose tool `order` asks in these rounds.
fn asking(rounds: &[Round]) -> ModernRemote {
    Modern::new()
        .capabilities(json!({"tools": {}, "prompts": {}}))
        .asks("order", rounds, done())
        .start()
}

fn order(id: u64) -> Value {
    let arguments = json!({"item": 3});
    rpc::request(
        id,
        "tools/call",
        json!({"name": "order", "arguments": arguments}),
    )
}

fn refuse(bridge: &Bridge, question: &Value, code: i64) {
    let error = json!({"code": code, "message": "not now"});
    bridge.send(&json!({"jsonrpc": "2.0", "id": question["id"], "error": error}));
}

/// The answers that the second leg brought.
fn answers(remote: &ModernRemote) -> Value {
    remote.wait_nth("tools/call", 2).params()["inputResponses"].clone()
}

#[test]
fn t99_a_form_is_filled_in() {
    let remote = asking(&[Round::asking(json!({"size": form("Which size?")}))]);
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&order(12));
    let question = bridge.recv_method("elicitation/create");
    assert_eq!(question["params"], form("Which size?")["params"]);
    let answer = json!({"action": "accept", "content": {"size": "M"}});
    bridge.send(&rpc::response(question["id"].clone(), answer.clone()));
    assert_eq!(*result(&bridge.response(12)), done());
    assert_eq!(answers(&remote), json!({"size": answer}));
    let ended = bridge.finish();
    assert_eq!(ended.messages, Vec::<Value>::new());
    assert_eq!(remote.calls_of("tools/call").len(), 2);
}

#[test]
fn t100_the_questions_of_a_round_are_open_at_once() {
    let questions = json!({
        "size": form("Which size?"),
        "where": roots(),
        "taste": sampling("Is it good?"),
    });
    let remote = asking(&[Round::asking(questions)]);
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&order(1));
    let size = bridge.recv_method("elicitation/create");
    let place = bridge.recv_method("roots/list");
    let taste = bridge.recv_method("sampling/createMessage");
    assert_eq!(taste["params"], sampling("Is it good?")["params"]);
    let opinion = json!({
        "role": "assistant",
        "content": {"type": "text", "text": "yes"},
        "model": "m",
    });
    let given = json!({
        "size": {"action": "decline"},
        "where": {"roots": [{"uri": "file:///work"}]},
        "taste": opinion,
    });
    for (question, key) in [(&taste, "taste"), (&size, "size"), (&place, "where")] {
        bridge.send(&rpc::response(question["id"].clone(), given[key].clone()));
    }
    assert_eq!(*result(&bridge.response(1)), done());
    assert_eq!(answers(&remote), given);
}

#[test]
fn t101_a_state_alone_is_brought_back_without_a_question() {
    let rounds = [(); 3].map(|()| Round::state_only());
    let remote = asking(&rounds);
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&order(1));
    assert_eq!(*result(&bridge.response(1)), done());
    assert_eq!(bridge.finish().messages, Vec::<Value>::new());
    assert_eq!(remote.calls_of("tools/call").len(), 4);
}

#[test]
fn t102_an_error_to_a_form_is_a_cancellation() {
    let remote = asking(&[Round::asking(json!({"size": form("Which size?")}))]);
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&order(1));
    let question = bridge.recv_method("elicitation/create");
    refuse(&bridge, &question, -32603);
    assert_eq!(*result(&bridge.response(1)), done());
    assert_eq!(answers(&remote), json!({"size": {"action": "cancel"}}));
}

#[test]
fn t103_a_refused_sampling_ends_the_call() {
    let remote = asking(&[Round::asking(json!({"taste": sampling("Well?")}))]);
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&order(1));
    let question = bridge.recv_method("sampling/createMessage");
    refuse(&bridge, &question, -1);
    let response = bridge.response(1);
    assert_eq!(result(&response)["isError"], true);
    assert!(said(&response).contains("sampling"), "{response}");
    bridge.finish();
    assert_eq!(remote.calls_of("tools/call").len(), 1);
}

#[test]
fn t104_refused_roots_end_a_prompt() {
    let rounds = [Round::asking(json!({"where": roots()}))];
    let remote = asking(&rounds);
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&rpc::request(1, "prompts/get", json!({"name": "order"})));
    let question = bridge.recv_method("roots/list");
    refuse(&bridge, &question, -32601);
    assert_eq!(code(&bridge.response(1)), -32603);
    bridge.finish();
    assert_eq!(remote.calls_of("prompts/get").len(), 1);
}

#[test]
fn t105_what_the_client_did_not_declare_is_not_asked() {
    let remote = asking(&[Round::asking(json!({"taste": sampling("Well?")}))]);
    let bridge = Bridge::spawn(&remote.url());
    shake(&bridge, rpc::VERSION, &json!({"elicitation": {}}));
    bridge.send(&order(1));
    let response = bridge.response(1);
    assert!(response.to_string().contains("sampling"), "{response}");
    let failed = response.get("error").is_some() || response["result"]["isError"] == true;
    assert!(failed, "{response}");
    assert_eq!(bridge.finish().messages, Vec::<Value>::new());
    assert_eq!(remote.calls_of("tools/call").len(), 1);
}

#[test]
fn t107_a_cancelled_call_withdraws_its_question() {
    let remote = asking(&[Round::asking(json!({"size": form("Which size?")}))]);
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.send(&order(1));
    let question = bridge.recv_method("elicitation/create");
    bridge.notify("notifications/cancelled", json!({"requestId": 1}));
    let withdrawn = bridge.recv_method("notifications/cancelled");
    assert_eq!(withdrawn["params"]["requestId"], question["id"]);
    // Too late; nobody waits for it.
    let answer = json!({"action": "decline"});
    bridge.send(&rpc::response(question["id"].clone(), answer));
    lines_are_read(&bridge);
    let ended = bridge.finish();
    assert_eq!(ended.messages, Vec::<Value>::new());
    let expected = ["initialize", "server/discover", "tools/call"];
    assert_eq!(remote.keys(), expected);
}

#[test]
fn t109_an_address_is_shown_once() {
    let round = Round::asking(json!({"go": open_url("https://example.com/pay")}));
    let remote = asking(&[round.clone(), round]);
    let bridge = Bridge::spawn(&remote.url());
    let capabilities = json!({"elicitation": {"form": {}, "url": {}}});
    shake(&bridge, rpc::VERSION, &capabilities);
    bridge.send(&order(1));
    let question = bridge.recv_method("elicitation/create");
    let params = &question["params"];
    assert_eq!(params["mode"], "url");
    assert_eq!(params["url"], "https://example.com/pay");
    let elicitation = params["elicitationId"].clone();
    assert!(elicitation.is_string(), "{question}");
    let answer = json!({"action": "accept"});
    bridge.send(&rpc::response(question["id"].clone(), answer));
    // In this order, and nothing else.
    let complete = bridge.recv();
    assert_eq!(complete["method"], "notifications/elicitation/complete");
    assert_eq!(complete["params"]["elicitationId"], elicitation);
    assert_eq!(*result(&bridge.response(1)), done());
    assert_eq!(bridge.finish().messages, Vec::<Value>::new());
    assert_eq!(remote.calls_of("tools/call").len(), 3);
}

#[test]
fn t125_work_in_the_background_is_driven_to_its_end() {
    for unasked in [false, true] {
        let errand = Errand {
            unasked,
            question: Some(("size".to_owned(), form("Which size?"))),
            result: done(),
        };
        let remote = Modern::new()
            .capabilities(json!({
                "tools": {},
                "extensions": {"io.modelcontextprotocol/tasks": {}},
            }))
            .errand("order", errand)
            .start();
        let mut bridge = Bridge::spawn(&remote.url());
        bridge.handshake();
        bridge.send(&order(1));
        let question = bridge.recv_method("elicitation/create");
        let answer = json!({"action": "accept", "content": {"size": "S"}});
        bridge.send(&rpc::response(question["id"].clone(), answer.clone()));
        assert_eq!(*result(&bridge.response(1)), done());
        let update = remote.wait_call("tasks/update");
        assert_eq!(update.params()["inputResponses"], json!({"size": answer}));
        assert_eq!(bridge.finish().messages, Vec::<Value>::new());
        // Declared for what needs it, and for nothing else.
        let tasks = "/extensions/io.modelcontextprotocol~1tasks";
        for call in remote.calls_of("server/discover") {
            let capabilities = call.stated("clientCapabilities");
            assert_eq!(capabilities.pointer(tasks), None);
        }
        let legs = remote.calls_of("tools/call").len();
        assert_eq!(legs, if unasked { 1 } else { 2 });
    }
}
