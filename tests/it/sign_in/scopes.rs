//! Scopes: what is asked for, what was granted, and what happens when a server wants more.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::{call, conversation, refused, start, stored};
use crate::support::{AuthWorld, Bridge, Decision, Legacy, Reply, Rules, auth_world, rpc};

/// Tools that need scopes of their own.
fn tools() -> Legacy {
    let schema = json!({"type": "object"});
    let tool = |name: &str| json!({"name": name, "inputSchema": schema});
    Legacy::sessions().tools(json!([tool("echo"), tool("write"), tool("admin")]))
}

/// A server that asks for `read` at the door, and for more at two tools.
fn world_with(rules: impl FnOnce(&mut Rules)) -> AuthWorld {
    AuthWorld::with(tools(), rules, |door| {
        door.challenge_scope = Some("read".to_owned());
        door.scopes = HashMap::from([
            ("write".to_owned(), "files:write".to_owned()),
            ("admin".to_owned(), "files:admin".to_owned()),
        ]);
    })
}

fn call_tool(bridge: &mut Bridge, name: &str) -> Value {
    let params = json!({"name": name, "arguments": {"text": "done"}});
    bridge.request("tools/call", params)
}

#[track_caller]
fn assert_called(bridge: &mut Bridge, name: &str) {
    let response = call_tool(bridge, name);
    assert_eq!(
        response["result"]["content"][0]["text"], "done",
        "{response}"
    );
}

/// The scopes of the authorization requests so far.
fn asked(world: &AuthWorld) -> Vec<String> {
    let visits = world.auth.authorize_requests();
    let scope = |visit: &crate::support::Visit| visit.get("scope").unwrap_or_default().to_owned();
    visits.iter().map(scope).collect()
}

#[test]
fn c38_fewer_scopes_than_asked_are_no_error() {
    let world = world_with(|rules| rules.granted_scope = Some("less".to_owned()));
    let mut bridge = start(world.bridge());
    bridge.handshake();
    call(&mut bridge);
    bridge.finish();
    let (_, tokens) = stored(&world.home, "_tokens.json");
    assert_eq!(tokens["scope"], "less");
}

#[test]
fn c38_what_is_not_said_is_as_asked() {
    let world = world_with(|rules| rules.token_edits = json!({"scope": null}));
    conversation(world.bridge());
    let (_, tokens) = stored(&world.home, "_tokens.json");
    assert_eq!(tokens["scope"], "read");
}

#[test]
fn d23_d24_d26_more_scope_is_asked_for_beside_what_there_is() {
    let world = world_with(|_| {});
    let mut bridge = start(world.bridge());
    bridge.handshake();
    assert_called(&mut bridge, "echo");
    assert_called(&mut bridge, "write");
    assert_called(&mut bridge, "admin");
    assert_eq!(
        asked(&world),
        ["read", "read files:write", "read files:write files:admin"]
    );
    assert_eq!(world.auth.grants("refresh_token").len(), 0);
    assert_eq!(world.auth.registrations().len(), 1);
    assert_called(&mut bridge, "write");
    bridge.finish();
    let (_, tokens) = stored(&world.home, "_tokens.json");
    assert_eq!(tokens["scope"], "read files:write files:admin");
}

#[test]
fn d23_the_refused_call_alone_is_sent_again() {
    let world = world_with(|_| {});
    let mut bridge = start(world.bridge());
    bridge.handshake();
    assert_called(&mut bridge, "write");
    let calls = world.remote.calls_of("tools/call");
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].body, calls[1].body);
    assert_ne!(
        calls[0].header("authorization"),
        calls[1].header("authorization")
    );
    bridge.finish();
}

#[test]
fn d24_who_declines_keeps_what_there_was() {
    let world = world_with(|_| {});
    let mut bridge = start(world.bridge());
    bridge.handshake();
    let (_, before) = stored(&world.home, "_tokens.json");
    world.auth.rules(|rules| rules.decision = Decision::Deny);
    let response = call_tool(&mut bridge, "write");
    let kind = &response["error"]["data"]["kind"];
    assert!(
        kind == "authorization_denied" || kind == "insufficient_scope",
        "{response}"
    );
    assert_called(&mut bridge, "echo");
    let (_, after) = stored(&world.home, "_tokens.json");
    assert_eq!(before["access_token"], after["access_token"]);
    assert_eq!(before["scope"], after["scope"]);
    bridge.finish();
}

#[test]
fn d25_a_server_that_never_grants_what_it_wants_is_given_up() {
    let world = world_with(|rules| rules.granted_scope = Some("read".to_owned()));
    let mut bridge = start(world.bridge());
    bridge.handshake();
    let text = refused(&call_tool(&mut bridge, "write"), "scope_loop");
    for word in ["read", "files:write"] {
        assert!(text.contains(word), "{text}");
    }
    assert!(asked(&world).len() <= 3, "{:?}", asked(&world));
    assert_called(&mut bridge, "echo");
    bridge.finish();
}

/// A server that wants something new each time.
#[test]
fn d25_a_server_that_wants_more_each_time_is_given_up() {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let legacy = Legacy::sessions().on("tools/call", move |_| {
        let nth = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"more:{nth}\"");
        Reply::text(403, "no").header("www-authenticate", &challenge)
    });
    let world = AuthWorld::with(legacy, |_| {}, |_| {});
    let mut bridge = start(world.bridge());
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("x"));
    refused(&response, "scope_loop");
    assert_eq!(asked(&world).len(), 3, "the first and two more");
    bridge.finish();
}

#[test]
fn d25_what_is_granted_already_is_not_asked_for_again() {
    let legacy = Legacy::sessions().on("tools/call", |_| {
        let challenge = "Bearer error=\"insufficient_scope\", scope=\"read\"";
        Reply::text(403, "no").header("www-authenticate", challenge)
    });
    let world = AuthWorld::with(
        legacy,
        |_| {},
        |door| {
            door.challenge_scope = Some("read write".to_owned());
        },
    );
    let mut bridge = start(world.bridge());
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("x"));
    let text = refused(&response, "insufficient_scope");
    assert!(text.contains("tools/call echo"), "{text}");
    assert_eq!(world.launcher.count(), 1);
    bridge.finish();
}

/// After a success the count begins anew: hours later another scope may be wanted.
#[test]
fn d25_a_success_starts_the_count_anew() {
    let wanted = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let now = std::sync::Arc::clone(&wanted);
    let legacy = Legacy::sessions().on("tools/call", move |_| {
        let scope = std::mem::take(&mut *now.lock().unwrap());
        if scope.is_empty() {
            return Reply::usual();
        }
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
        Reply::text(403, "no").header("www-authenticate", &challenge)
    });
    let world = AuthWorld::with(legacy, |_| {}, |_| {});
    let mut bridge = start(world.bridge());
    bridge.handshake();
    for scope in ["a", "b", "c", "d"] {
        scope.clone_into(&mut wanted.lock().unwrap());
        call(&mut bridge);
    }
    assert_eq!(asked(&world).len(), 5);
    bridge.finish();
}

/// A server whose tool takes every token but the first, which it refuses with this.
fn refuses_first_token(status: u16, challenge: &'static str) -> Legacy {
    let first = OnceLock::new();
    Legacy::sessions().on("tools/call", move |call| {
        let token = call.header("authorization");
        if *first.get_or_init(|| token.clone()) == token {
            return Reply::text(status, "no").header("www-authenticate", challenge);
        }
        Reply::usual()
    })
}

#[test]
fn d27_without_a_scope_the_resources_list_is_asked_for() {
    let world = AuthWorld::with(
        refuses_first_token(403, "Bearer error=\"insufficient_scope\""),
        |_| {},
        |door| {
            door.challenge_scope = Some("read".to_owned());
            door.metadata_edits = json!({"scopes_supported": ["read", "write"]});
        },
    );
    conversation(world.bridge());
    assert_eq!(asked(&world), ["read", "read write"]);
}

#[test]
fn d27_without_a_list_either_the_servers_words_are_passed_on() {
    let legacy = Legacy::sessions().on("tools/call", |_| {
        let challenge = "Bearer error=\"insufficient_scope\", error_description=\"ask your admin\"";
        Reply::text(403, "no").header("www-authenticate", challenge)
    });
    let world = AuthWorld::with(legacy, |_| {}, |_| {});
    let mut bridge = start(world.bridge());
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("x"));
    let text = refused(&response, "insufficient_scope");
    assert!(text.contains("ask your admin"), "{text}");
    assert_eq!(world.launcher.count(), 1);
    bridge.finish();
}

#[test]
fn d28_a_401_may_ask_for_more_scope_too() {
    let legacy = refuses_first_token(401, "Bearer error=\"insufficient_scope\", scope=\"write\"");
    let world = AuthWorld::with(
        legacy,
        |_| {},
        |door| {
            door.challenge_scope = Some("read".to_owned());
        },
    );
    conversation(world.bridge());
    assert_eq!(asked(&world), ["read", "read write"]);
    assert_eq!(world.auth.grants("refresh_token").len(), 0);
}

#[test]
fn c10_no_scope_is_invented() {
    let world = auth_world();
    conversation(world.bridge());
    let visits = world.auth.visits();
    assert!(visits.iter().all(|visit| visit.get("scope").is_none()));
    let registration = &world.auth.registrations()[0].call.json;
    assert!(registration.get("scope").is_none(), "{registration}");
}
