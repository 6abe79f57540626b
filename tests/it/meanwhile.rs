//! What the client hears while a person signs in: an answer in time, the link, and word when it
//! is done.
//!
//! In: `initialize` and calls before, during and after. Out: the sign-in itself (`sign_in`).

use serde_json::{Value, json};

use crate::sign_in::{call, conversation, refused, start};
use crate::support::{
    AuthWorld, Bridge, Browser, Decision, Legacy, Person, auth_world, rpc, wait_link,
};

/// A bridge whose person takes their time, and that does not wait long for them.
fn slow() -> (AuthWorld, Bridge) {
    let world = auth_world().browser(Browser::Waits);
    let bridge = start(world.bridge().args(["--initialize-wait", "1"]));
    (world, bridge)
}

/// Says `initialize` and `initialized`; gives the result, which must not be the server's own.
#[track_caller]
fn provisional(bridge: &Bridge) -> Value {
    bridge.send(&rpc::initialize("init", rpc::VERSION));
    let result = bridge.response("init")["result"].clone();
    let instructions = result["instructions"].as_str().unwrap_or_default();
    assert!(instructions.contains("Sign-in needed"), "{result}");
    bridge.send(&rpc::initialized());
    result
}

#[test]
fn initialize_is_answered_while_the_person_signs_in() {
    let (world, mut bridge) = slow();
    let result = provisional(&bridge);
    let link = wait_link(&bridge, 1);
    assert!(result["instructions"].as_str().unwrap().contains(&link));
    assert_eq!(result["protocolVersion"], rpc::VERSION);
    for list in ["tools", "prompts", "resources"] {
        assert_eq!(result["capabilities"][list]["listChanged"], true, "{list}");
    }
    assert_eq!(
        bridge.request("tools/list", Value::Null)["result"]["tools"],
        json!([])
    );
    assert!(bridge.request("ping", Value::Null)["result"].is_object());
    let refusal = bridge.request("tools/call", rpc::echo_params("x"));
    assert_eq!(refusal["result"]["isError"], true, "{refusal}");
    let text = refusal["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains(&link), "{text}");
    Person::new().open(&link);
    for list in ["tools", "prompts", "resources"] {
        bridge.recv_method(&format!("notifications/{list}/list_changed"));
    }
    let listed = bridge.request("tools/list", Value::Null);
    assert_eq!(listed["result"]["tools"][0]["name"], "echo");
    call(&mut bridge);
    assert_eq!(world.remote.sessions_opened(), 1);
    bridge.finish();
}

#[test]
fn what_is_known_of_the_server_is_answered_at_once() {
    let world = auth_world();
    conversation(world.bridge());
    world.auth.forget_everything();
    let world = world.browser(Browser::Waits);
    // The default wait is longer than anybody waits here.
    let mut bridge = start(world.bridge().args(["--initialize-wait", "3600"]));
    let result = provisional(&bridge);
    assert_eq!(result["serverInfo"]["name"], "ready-made");
    assert!(result["capabilities"]["logging"].is_object(), "{result}");
    let link = wait_link(&bridge, 1);
    assert!(result["instructions"].as_str().unwrap().contains(&link));
    Person::new().open(&link);
    bridge.recv_method("notifications/tools/list_changed");
    call(&mut bridge);
    bridge.finish();
}

#[test]
fn a_call_waits_for_a_person_who_is_quick() {
    let world = auth_world().browser(Browser::Waits);
    world
        .guard
        .door(|door| door.only = Some(vec!["tools/call".to_owned()]));
    let mut bridge = start(world.bridge());
    bridge.handshake();
    bridge.send(&rpc::echo(7, "hello"));
    let link = wait_link(&bridge, 1);
    assert!(bridge.request("tools/list", Value::Null)["result"].is_object());
    assert!(bridge.waiting().is_empty());
    Person::new().open(&link);
    assert_eq!(bridge.response(7)["result"]["content"][0]["text"], "hello");
    bridge.finish();
}

#[test]
fn r04_a_call_that_is_cancelled_meanwhile_is_never_sent() {
    let world = auth_world().browser(Browser::Waits);
    world
        .guard
        .door(|door| door.only = Some(vec!["tools/call".to_owned()]));
    let mut bridge = start(world.bridge());
    bridge.handshake();
    bridge.send(&rpc::echo(7, "never"));
    bridge.send(&rpc::echo(8, "hello"));
    let link = wait_link(&bridge, 1);
    bridge.notify("notifications/cancelled", json!({"requestId": 7}));
    bridge.request("ping", Value::Null);
    Person::new().open(&link);
    assert_eq!(bridge.response(8)["result"]["content"][0]["text"], "hello");
    let sent = world.remote.calls_of("tools/call");
    let again = sent
        .iter()
        .filter(|call| call.header("authorization").is_some());
    assert!(again.clone().all(|call| call.id() == json!(8)), "{sent:#?}");
    let left = bridge.finish().messages;
    assert!(left.iter().all(|message| message["id"] != 7), "{left:?}");
}

#[test]
fn a_client_that_opens_addresses_is_asked_to() {
    let (_world, mut bridge) = slow();
    let mut initialize = rpc::initialize("init", rpc::VERSION);
    initialize["params"]["capabilities"]["elicitation"] = json!({"url": {}});
    bridge.send(&initialize);
    assert!(bridge.response("init")["result"].is_object());
    bridge.send(&rpc::initialized());
    let asked = bridge.recv_method("elicitation/create");
    assert_eq!(asked["params"]["mode"], "url");
    let link = wait_link(&bridge, 1);
    assert_eq!(asked["params"]["url"], link);
    let id = asked["params"]["elicitationId"].clone();
    assert!(id.is_string());
    let accept = json!({"action": "accept"});
    bridge.send(&rpc::response(asked["id"].clone(), accept));
    Person::new().open(&link);
    let done = bridge.recv_method("notifications/elicitation/complete");
    assert_eq!(done["params"]["elicitationId"], id);
    bridge.recv_method("notifications/tools/list_changed");
    call(&mut bridge);
    bridge.finish();
}

#[test]
fn a_client_that_cannot_open_addresses_is_not_asked_to() {
    let (_world, mut bridge) = slow();
    provisional(&bridge);
    let link = wait_link(&bridge, 1);
    Person::new().open(&link);
    bridge.recv_method("notifications/tools/list_changed");
    call(&mut bridge);
    let asked = |message: &Value| message["method"] == "elicitation/create";
    assert!(!bridge.finish().messages.iter().any(asked));
}

#[test]
fn c37_nobody_came_is_said_after_the_time_limit() {
    let world = auth_world().browser(Browser::Waits);
    let options = ["--initialize-wait", "1", "--auth-timeout", "2"];
    let mut bridge = start(world.bridge().args(options));
    provisional(&bridge);
    let stderr = bridge.wait_stderr("[authorization_timeout]");
    assert!(stderr.contains("within 2 s"), "{stderr}");
    let link = wait_link(&bridge, 1);
    Person::new().open(&link);
    world.auth.wait_visit("/token", 1);
    bridge.wait_stderr("Signed in to");
    call(&mut bridge);
    assert_eq!(world.launcher.count(), 1);
    bridge.finish();
}

#[test]
fn c31_a_refusal_reaches_the_client_that_was_connected_before() {
    let (world, mut bridge) = slow();
    provisional(&bridge);
    world.auth.rules(|rules| rules.decision = Decision::Deny);
    Person::new().open(&wait_link(&bridge, 1));
    bridge.wait_stderr("[authorization_denied]");
    let response = bridge.request("tools/call", rpc::echo_params("x"));
    let text = refused(&response, "authorization_denied");
    assert!(text.contains("access_denied"), "{text}");
    assert!(!text.contains("session was lost"), "{text}");
    bridge.finish();
}

/// The client hangs up while the person signs in: what they did is not lost.
#[test]
fn c45_a_sign_in_outlives_the_client_that_began_it() {
    let world = auth_world().browser(Browser::Waits);
    let mut bridge = start(world.bridge());
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    let link = wait_link(&bridge, 1);
    bridge.close_stdin();
    bridge.wait_stderr("a sign-in is under way");
    Person::new().open(&link);
    assert!(bridge.wait_exit().success());
    let mut next = start(world.bridge());
    next.handshake();
    call(&mut next);
    next.finish();
    assert_eq!(world.launcher.count(), 1);
}

/// What needs no sign-in goes on while somebody signs in for something else.
#[test]
fn other_requests_go_on_meanwhile() {
    let keys = vec!["tools/call".to_owned()];
    let world = AuthWorld::with(Legacy::sessions(), |_| {}, |door| door.only = Some(keys))
        .browser(Browser::Waits);
    let mut bridge = start(world.bridge().args(["--initialize-wait", "1"]));
    bridge.handshake();
    bridge.send(&rpc::echo(7, "hello"));
    let refusal = bridge.response(7);
    assert_eq!(refusal["result"]["isError"], true, "{refusal}");
    let listed = bridge.request("tools/list", Value::Null);
    assert_eq!(listed["result"]["tools"][0]["name"], "echo");
    Person::new().open(&wait_link(&bridge, 1));
    bridge.wait_stderr("Signed in to");
    call(&mut bridge);
    bridge.finish();
}
