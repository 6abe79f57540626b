//! Tokens in use: where they go, how long they are good, and which are no good at all.

use serde_json::{Value, json};

use super::{call, conversation, expire_stored, refused_handshake, start, stored};
use crate::support::{AuthWorld, Bridge, Legacy, Rules, auth_world, rpc};

fn world_with(rules: impl FnOnce(&mut Rules)) -> AuthWorld {
    AuthWorld::with(Legacy::sessions(), rules, |_| {})
}

#[test]
fn d01_d03_every_request_carries_the_token_and_no_address_does() {
    let world = auth_world();
    let mut bridge = start(world.bridge());
    bridge.handshake();
    world.remote.wait_stream();
    call(&mut bridge);
    bridge.finish();
    let token = world.auth.last_token();
    let bearer = format!("Bearer {token}");
    let calls = world.remote.calls();
    let mut verbs = Vec::new();
    for call in calls.iter().filter(|call| call.path == "/mcp").skip(1) {
        assert_eq!(call.header("authorization").as_deref(), Some(&*bearer));
        verbs.push(call.verb.clone());
    }
    for verb in ["POST", "GET", "DELETE"] {
        assert!(verbs.iter().any(|seen| seen == verb), "{verbs:?}");
    }
    for call in &calls {
        assert!(!call.text().contains(&token), "{call:?}");
        let query = call.query.as_deref().unwrap_or_default();
        assert!(!query.contains(&token), "{call:?}");
    }
    for visit in world.auth.visits() {
        assert!(!visit.call.text().contains(&token), "{visit:?}");
        assert_eq!(visit.call.header("authorization"), None, "{visit:?}");
    }
}

#[test]
fn d03_a_token_in_the_users_address_is_warned_of_and_hidden() {
    let remote = Legacy::sessions().start();
    let bridge = Bridge::to(&remote.url_at("/mcp?access_token=hunter2&x=1"));
    let stderr = conversation(bridge);
    assert!(!stderr.contains("hunter2"), "{stderr}");
    assert!(stderr.contains("access_token"), "{stderr}");
}

#[test]
fn d06_the_time_of_expiry_outlives_the_process() {
    let world = world_with(|rules| rules.expires_in = Some(3600));
    let now = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        u64::try_from(since.unwrap().as_millis()).unwrap()
    };
    let before = now();
    conversation(world.bridge());
    let (_, tokens) = stored(&world.home, "_tokens.json");
    let expires = tokens["expires_at"].as_u64().unwrap();
    assert!((before + 3_600_000..=now() + 3_600_000).contains(&expires));
    expire_stored(&world);
    conversation(world.bridge());
    let refreshed = world.auth.grants("refresh_token");
    assert_eq!(refreshed.len(), 1);
    let first = world.remote.calls_of("initialize");
    let bearer = format!("Bearer {}", world.auth.last_token());
    assert_eq!(first.last().unwrap().header("authorization"), Some(bearer));
    assert_eq!(world.guard.refusals(), 1, "the first start alone");
}

#[test]
fn d29_tokens_of_others_stay_where_they_are() {
    let world = auth_world();
    let mut launch = world.bridge();
    let names = ["GITHUB_TOKEN", "ACCESS_TOKEN", "BEARER_TOKEN", "API_KEY"];
    for name in names {
        launch = launch.env(name, "token-of-somebody-else");
    }
    let mut bridge = start(launch);
    bridge.handshake();
    let listed = bridge.request("tools/list", Value::Null);
    call(&mut bridge);
    let ended = bridge.finish();
    let seen = world.remote.calls();
    for call in seen
        .iter()
        .chain(world.auth.visits().iter().map(|visit| &visit.call))
    {
        let text = format!("{:?} {}", call.headers, call.text());
        assert!(!text.contains("token-of-somebody-else"), "{call:?}");
    }
    let token = world.auth.last_token();
    assert!(!listed.to_string().contains(&token));
    assert!(!ended.stderr.contains(&token));
    for start in world.launcher.starts() {
        assert!(
            start
                .environment
                .values()
                .all(|value| !value.contains(&token))
        );
    }
}

/// A server that quotes the token in what it says does not get it to the client.
#[test]
fn d29_a_token_that_the_server_quotes_is_hidden_in_errors() {
    let world = AuthWorld::with(
        Legacy::sessions().on("tools/call", |call| {
            let token = call.header("authorization").unwrap_or_default();
            crate::support::Reply::text(500, format!("debug: {token}"))
        }),
        |_| {},
        |_| {},
    );
    let mut bridge = start(world.bridge());
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("x"));
    let token = world.auth.last_token();
    assert!(!response.to_string().contains(&token), "{response}");
    assert!(!bridge.finish().stderr.contains(&token));
}

/// {"alg":"none"}.{"sub":"42","email":"jo@example.com"}.
const ID_TOKEN: &str =
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiI0MiIsImVtYWlsIjoiam9AZXhhbXBsZS5jb20ifQ.c2ln";

#[test]
fn d30_an_id_token_is_neither_sent_nor_stored() {
    let world = world_with(|rules| rules.token_edits = json!({"id_token": ID_TOKEN}));
    let stderr = conversation(world.bridge().args(["--debug"]));
    assert!(!stderr.contains(ID_TOKEN));
    let (path, _) = stored(&world.home, "_tokens.json");
    assert!(!std::fs::read_to_string(path).unwrap().contains(ID_TOKEN));
    for call in world.remote.calls() {
        let sent = call.header("authorization").unwrap_or_default();
        assert!(!sent.contains(ID_TOKEN));
    }
}

#[test]
fn d30_an_id_token_is_sent_where_the_user_wants_that() {
    let world = world_with(|rules| rules.token_edits = json!({"id_token": ID_TOKEN}));
    world.guard.door(|door| door.only = Some(Vec::new()));
    let remote = Legacy::sessions()
        .on("tools/call", |call| {
            let sent = call.header("authorization").unwrap_or_default();
            if sent == format!("Bearer {ID_TOKEN}") {
                return crate::support::Reply::usual();
            }
            let place = "/.well-known/oauth-protected-resource/mcp";
            let origin = format!("http://{}", call.header("host").unwrap());
            let challenge = format!("Bearer resource_metadata=\"{origin}{place}\"");
            crate::support::Reply::text(401, "an ID token, please")
                .header("www-authenticate", &challenge)
        })
        .lenient();
    world.remote.may_stay_uncalled();
    let guard = world.guard.clone();
    let remote = remote.guarded(&guard).start();
    guard.door(|door| door.only = Some(vec!["nothing".to_owned()]));
    let mut bridge = start(world.bridge_to(&remote.url()).args(["--use-id-token"]));
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("hello"));
    // The guard knows access tokens alone, so that it turns the ID token away again.
    assert!(response["error"].is_object() || response["result"].is_object());
    let sent = remote.calls_of("tools/call");
    assert!(sent.iter().any(|call| {
        call.header("authorization").as_deref() == Some(&format!("Bearer {ID_TOKEN}"))
    }));
    for visit in world.auth.visits() {
        assert!(!visit.call.text().contains(ID_TOKEN));
    }
}

#[test]
fn d30_a_missing_id_token_is_named_with_the_scope_that_brings_it() {
    let world = auth_world();
    let bridge = start(world.bridge().args(["--use-id-token"]));
    let text = refused_handshake(&bridge, 1, "token_response_invalid");
    assert!(text.contains("openid"), "{text}");
    bridge.finish();
}

#[test]
fn d32_an_open_stream_outlives_its_token() {
    let world = auth_world();
    let mut bridge = start(world.bridge());
    bridge.handshake();
    let stream = world.remote.wait_stream();
    world.auth.end_access_tokens();
    call(&mut bridge);
    assert!(!stream.is_closed());
    world.remote.say(&rpc::notification(
        "notifications/tools/list_changed",
        Value::Null,
    ));
    bridge.recv_method("notifications/tools/list_changed");
    stream.close();
    let bearer = format!("Bearer {}", world.auth.last_token());
    world.remote.wait_for(|calls| {
        calls.iter().any(|call| {
            call.verb == "GET" && call.header("authorization").as_deref() == Some(&bearer)
        })
    });
    bridge.finish();
}

#[test]
fn d33_a_token_that_is_bound_to_nobodys_key_is_refused() {
    let world = world_with(|rules| rules.token_edits = json!({"token_type": "DPoP"}));
    let bridge = start(world.bridge());
    refused_handshake(&bridge, 1, "dpop_unsupported");
    bridge.finish();
    assert_eq!(world.launcher.count(), 1);
    assert_eq!(world.guard.admitted(), 0);
}

/// A world whose resource wants tokens that are bound to a key.
fn bound_world(token_type: &str) -> AuthWorld {
    let edits = json!({"token_type": token_type});
    let metadata = json!({"dpop_signing_alg_values_supported": ["ES256"]});
    let world = world_with(|rules| {
        rules.token_edits = edits;
        rules.metadata_edits = metadata;
    });
    world.guard.door(|door| {
        "DPoP".clone_into(&mut door.scheme);
        door.metadata_edits = json!({"dpop_bound_access_tokens_required": true});
    });
    world
}

#[test]
fn e16_e18_bound_tokens_are_sent_and_renewed_with_a_proof() {
    let world = bound_world("DPoP");
    conversation(world.bridge());
    expire_stored(&world);
    conversation(world.bridge());
    assert_eq!(world.launcher.count(), 1, "the key is read back");
    let mut proofs = Vec::new();
    for visit in world.auth.visits_to("/token") {
        proofs.push(visit.call.header("dpop").unwrap());
    }
    assert_eq!(proofs.len(), 2);
    let calls = world.remote.calls();
    for call in calls
        .iter()
        .filter(|call| call.header("authorization").is_some())
    {
        let token = call.header("authorization").unwrap();
        assert!(token.starts_with("DPoP "), "{token}");
        proofs.push(call.header("dpop").unwrap());
    }
    let all = proofs.len();
    proofs.sort();
    proofs.dedup();
    assert_eq!(proofs.len(), all, "no proof is used twice");
}

#[test]
fn e16_a_token_without_the_key_that_was_proven_is_refused() {
    let world = bound_world("Bearer");
    let bridge = start(world.bridge());
    refused_handshake(&bridge, 1, "dpop_rejected");
    bridge.finish();
    assert_eq!(world.guard.admitted(), 0);
}

#[test]
fn d17_a_token_endpoint_that_is_away_costs_nothing() {
    let world = auth_world();
    conversation(world.bridge());
    expire_stored(&world);
    world.auth.stop();
    let bridge = start(world.bridge());
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    let response = bridge.response(1);
    let kind = response["error"]["data"]["kind"].as_str().unwrap();
    assert!(
        ["refresh_unavailable", "discovery_unreachable"].contains(&kind),
        "{response}"
    );
    world.auth.restart();
    let mut bridge = bridge;
    bridge.handshake();
    call(&mut bridge);
    assert_eq!(world.launcher.count(), 1);
    bridge.finish();
}
