//! What starts a sign-in, and what does not.

use serde_json::{Value, json};

use super::{PATIENCE, call, conversation, refused, start};
use crate::support::{
    AuthWorld, Bridge, Browser, Home, Launcher, Legacy, Place, Reply, auth_world, rpc,
};

/// A world whose server asks for a token at these requests alone.
fn asks_at(legacy: Legacy, keys: &[&str]) -> AuthWorld {
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    AuthWorld::with(legacy, |_| {}, |door| door.only = Some(keys))
}

#[test]
fn a01_a_401_long_after_the_handshake_starts_a_sign_in() {
    let world = asks_at(Legacy::sessions(), &["tools/call"]);
    let mut bridge = start(world.bridge());
    bridge.handshake();
    let listed = bridge.request("tools/list", Value::Null);
    assert_eq!(listed["result"]["tools"][0]["name"], "echo");
    assert!(world.auth.visits().is_empty());
    bridge.send(&rpc::echo("the call", "hello"));
    let response = bridge.response("the call");
    assert_eq!(response["result"]["content"][0]["text"], "hello");
    assert_eq!(world.launcher.count(), 1);
    let stderr = bridge.finish().stderr;
    assert!(stderr.contains(&world.remote.origin()), "{stderr}");
    assert!(stderr.contains("wants you to sign in"), "{stderr}");
}

#[test]
fn a01_a_401_to_the_event_stream_starts_a_sign_in() {
    let world = asks_at(Legacy::sessions(), &["GET"]);
    let mut bridge = start(world.bridge());
    bridge.handshake();
    world.remote.wait_nth("GET", 2);
    world.remote.wait_stream();
    call(&mut bridge);
    assert_eq!(world.launcher.count(), 1);
    bridge.finish();
}

/// At the end there is nobody left to sign in for.
#[test]
fn a01_a_401_to_the_goodbye_bothers_nobody() {
    let world = asks_at(Legacy::sessions(), &["DELETE"]);
    conversation(world.bridge());
    world.remote.wait_call("DELETE");
    assert_eq!(world.launcher.count(), 0);
    assert!(world.auth.visits().is_empty());
}

#[test]
fn a01_a_401_on_http_sse_starts_a_sign_in() {
    let world = AuthWorld::with(Legacy::http_sse(), |_| {}, |_| {});
    let url = world.remote.url_at("/sse");
    let stderr = conversation(world.bridge_to(&url).args(["--transport", "sse-only"]));
    assert_eq!(world.launcher.count(), 1);
    assert!(stderr.contains("SSEClientTransport"), "{stderr}");
    for call in world.remote.calls_of("tools/call") {
        let token = format!("Bearer {}", world.auth.last_token());
        assert_eq!(call.header("authorization"), Some(token));
    }
}

#[test]
fn a01_a_401_to_a_message_of_http_sse_starts_a_sign_in() {
    let world = asks_at(Legacy::http_sse(), &["tools/call"]);
    world.guard.door(|door| door.metadata = Place::Root);
    let url = world.remote.url_at("/sse");
    conversation(world.bridge_to(&url).args(["--transport", "sse-only"]));
    assert_eq!(world.launcher.count(), 1);
    assert_eq!(world.remote.calls_of("tools/call").len(), 2);
}

/// 401 is no sign of an older transport.
#[test]
fn a01_a_401_does_not_change_the_transport() {
    let world = auth_world();
    let stderr = conversation(world.bridge());
    assert!(stderr.contains("StreamableHTTPClientTransport"), "{stderr}");
    assert!(!stderr.contains("falling-back"), "{stderr}");
}

#[test]
fn a27_nothing_is_asked_before_the_clients_first_message() {
    let world = auth_world();
    let mut bridge = start(world.bridge());
    bridge.handshake();
    let calls = world.remote.calls();
    assert_eq!(calls[0].key(), "initialize");
    let opened = calls
        .iter()
        .position(|call| call.verb == "GET" && call.path == "/mcp");
    let accepted = calls
        .iter()
        .rposition(|call| call.key() == "initialize")
        .unwrap();
    assert!(opened.is_none_or(|at| at > accepted), "{calls:#?}");
    bridge.finish();
}

#[test]
fn a31_other_refusals_start_no_sign_in() {
    type Answer = fn() -> Reply;
    let answers: [(Answer, Option<u16>); 5] = [
        (|| Reply::text(403, "Forbidden by the firewall"), Some(403)),
        (
            || {
                Reply::text(403, "no")
                    .header("www-authenticate", "Basic error=\"insufficient_scope\"")
            },
            Some(403),
        ),
        (
            || {
                Reply::json(&json!({"error": "invalid_token"}))
                    .with_status(400)
                    .header("www-authenticate", "Bearer error=\"invalid_token\"")
            },
            Some(400),
        ),
        (|| Reply::text(407, "proxy"), Some(407)),
        (|| Reply::text(402, "pay first"), Some(402)),
    ];
    for (answer, status) in answers {
        let remote = Legacy::sessions()
            .lenient()
            .on("tools/call", move |_| answer())
            .start();
        let launcher = Launcher::new(Browser::Waits);
        let mut bridge = start(launcher.on(Bridge::to(&remote.url())));
        bridge.handshake();
        let response = bridge.request("tools/call", rpc::echo_params("x"));
        assert_eq!(
            response["error"]["data"]["status"],
            json!(status),
            "{response}"
        );
        bridge.finish();
        assert_eq!(launcher.count(), 0, "{status:?}");
        let keys = remote.keys();
        assert!(!keys.iter().any(|key| key.contains("well-known")));
        let paths = remote.calls();
        assert!(paths.iter().all(|call| call.path == "/mcp"), "{paths:#?}");
    }
}

#[test]
fn a31_an_answer_that_speaks_of_signing_in_is_passed_on() {
    let remote = Legacy::sessions()
        .on("tools/call", |call| {
            call.error(-32042, "401 Unauthorized: invalid_token")
        })
        .start();
    let launcher = Launcher::new(Browser::Waits);
    let mut bridge = start(launcher.on(Bridge::to(&remote.url())));
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("x"));
    assert_eq!(response["error"]["code"], -32042);
    assert_eq!(
        response["error"]["message"],
        "401 Unauthorized: invalid_token"
    );
    bridge.finish();
    assert_eq!(launcher.count(), 0);
}

#[test]
fn d28_a_403_that_blames_the_token_starts_a_sign_in() {
    let remote_token = |call: &crate::support::Call| call.header("authorization");
    let world = AuthWorld::with(
        Legacy::sessions().on("tools/call", move |call| match remote_token(call) {
            Some(_) => Reply::usual(),
            None => {
                Reply::text(403, "no").header("www-authenticate", "Bearer error=\"invalid_token\"")
            }
        }),
        |_| {},
        |door| door.only = Some(Vec::new()),
    );
    conversation(world.bridge());
    assert_eq!(world.launcher.count(), 1);
    assert_eq!(world.remote.calls_of("tools/call").len(), 2);
}

#[test]
fn d21_a_large_refused_call_is_sent_again_whole_and_answered_once() {
    let world = asks_at(Legacy::sessions(), &["tools/call"]);
    let mut bridge = start(world.bridge());
    bridge.handshake();
    let text = "x".repeat(5 << 20);
    let response = bridge.request("tools/call", rpc::echo_params(&text));
    assert!(response["result"]["content"][0]["text"] == text);
    let calls = world.remote.calls_of("tools/call");
    assert_eq!(calls.len(), 2);
    assert!(calls[0].body == calls[1].body);
    assert_eq!(calls[0].header("authorization"), None);
    assert!(calls[1].header("authorization").is_some());
    bridge.finish();
}

#[test]
fn d05_with_an_authorization_header_nobody_is_asked_to_sign_in() {
    let world = auth_world();
    let mut bridge = start(
        world
            .bridge()
            .args(["--header", "Authorization: Basic bWU6aHVudGVyMg=="]),
    );
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    let text = refused(&bridge.response(1), "sign_in_required");
    assert!(text.contains("your Authorization header"), "{text}");
    assert!(!text.contains("bWU6"), "{text}");
    bridge.close_stdin();
    bridge.wait_exit();
    assert_eq!(world.launcher.count(), 0);
    assert!(world.auth.visits().is_empty());
    let paths = world.remote.calls();
    assert!(paths.iter().all(|call| call.path == "/mcp"), "{paths:#?}");
    world.guard.take_violations(); // the scheme is the user's
}

/// The notification that opens the session may be the first to be refused.
#[test]
fn a01_a_401_to_a_notification_starts_a_sign_in() {
    let world = asks_at(Legacy::sessions(), &["notifications/initialized"]);
    let mut bridge = start(world.bridge());
    bridge.handshake();
    call(&mut bridge);
    assert_eq!(world.launcher.count(), 1);
    bridge.finish();
}

#[test]
fn a01_each_server_is_signed_in_to_by_itself() {
    let (one, two) = (auth_world(), auth_world());
    let home = std::sync::Arc::new(Home::new());
    for world in [&one, &two] {
        conversation(
            world
                .launcher
                .on(Bridge::to(&world.remote.url()))
                .home(&home),
        );
        assert_eq!(world.launcher.count(), 1);
    }
    let mut bridge = Bridge::to(&one.remote.url())
        .home(&home)
        .start()
        .patience(PATIENCE);
    bridge.handshake();
    bridge.finish();
    assert_eq!(one.launcher.count() + two.launcher.count(), 2);
}
