//! Where the program looks for the authorization server, and whom it tells what.

use serde_json::json;

use super::{
    call, conversation, expire_stored, metadata_paths, own_port, refused_handshake, start, stored,
};
use crate::support::{
    AuthServer, AuthWorld, Browser, Challenge, Guard, Legacy, Place, Remote, Reply, auth_world,
};

const PLACE: &str = "/.well-known/oauth-protected-resource";

fn with_door(challenge: Challenge, metadata: Place) -> AuthWorld {
    let world = auth_world();
    world.guard.door(|door| {
        door.challenge = challenge;
        door.metadata = metadata;
    });
    world
}

#[test]
fn a03_the_address_in_the_challenge_is_the_only_one_asked() {
    let place = Place::At("/a/place/of/its/own".to_owned());
    let world = with_door(Challenge::Usual, place);
    conversation(world.bridge());
    assert!(metadata_paths(&world).is_empty());
    assert_eq!(world.launcher.count(), 1);
}

#[test]
fn a03_of_several_addresses_the_first_that_works_counts() {
    let fields = [
        "Basic realm=\"none of ours\"".to_owned(),
        format!(
            "Bearer resource_metadata=\"{{origin}}/.well-known/gone\", \
             resource_metadata=\"{{origin}}{PLACE}/mcp\""
        ),
    ];
    let world = with_door(Challenge::Text(fields.into()), Place::Path);
    conversation(world.bridge());
    assert_eq!(
        metadata_paths(&world),
        ["/.well-known/gone".to_owned(), format!("{PLACE}/mcp")]
    );
}

#[test]
fn a04_without_an_address_the_path_comes_before_the_root() {
    for challenge in [Challenge::Bare, Challenge::Absent] {
        let world = with_door(challenge, Place::Root);
        conversation(world.bridge());
        assert_eq!(
            metadata_paths(&world),
            [format!("{PLACE}/mcp"), PLACE.to_owned()]
        );
    }
}

#[test]
fn a05_an_encoded_path_and_a_query_stay_as_they_are() {
    let world = with_door(Challenge::Bare, Place::Path);
    let path = "/runtimes/arn%3Aaws%3Ax%2Fy/mcp?qualifier=DEFAULT";
    conversation(world.bridge_to(&world.remote.url_at(path)));
    assert_eq!(metadata_paths(&world), [format!("{PLACE}{path}")]);
}

/// A server of 2025-03-26 without resource metadata: its own origin is the issuer.
fn old_world(documents: bool, registration: bool) -> AuthWorld {
    let auth = AuthServer::with(|rules| {
        rules.registration = registration;
        if !documents {
            rules.documents.clear();
        }
    });
    let guard = Guard::hosting(&auth);
    guard.door(|door| {
        door.challenge = Challenge::Bare;
        door.metadata = Place::Nowhere;
    });
    AuthWorld::around(Legacy::sessions(), auth, guard)
}

#[test]
fn a15_without_resource_metadata_the_servers_origin_is_the_issuer() {
    let world = old_world(true, true);
    let stderr = conversation(world.bridge());
    assert_eq!(
        metadata_paths(&world),
        [
            format!("{PLACE}/mcp"),
            PLACE.to_owned(),
            "/.well-known/oauth-authorization-server".to_owned(),
        ]
    );
    assert_eq!(world.launcher.count(), 1);
    assert!(
        stderr.contains("no protected resource metadata"),
        "{stderr}"
    );
}

#[test]
fn a15_an_outage_changes_nothing_about_whom_to_trust() {
    let world = auth_world();
    world.auth.on("metadata", |_| Reply::status(503));
    let mut bridge = start(world.bridge());
    let text = refused_handshake(&bridge, 1, "discovery_unreachable");
    assert!(text.contains("503"), "{text}");
    assert_eq!(
        world.auth.count("/authorize") + world.auth.count("/register"),
        0
    );
    world.auth.on("metadata", crate::support::Visit::usual);
    bridge.handshake();
    call(&mut bridge);
    bridge.finish();
}

#[test]
fn a16_without_any_document_the_default_endpoints_serve() {
    let world = old_world(false, true);
    conversation(world.bridge());
    assert_eq!(world.auth.registrations().len(), 1);
    assert_eq!(world.auth.grants("authorization_code").len(), 1);
    for visit in world.auth.authorize_requests() {
        assert_eq!(visit.get("code_challenge_method"), Some("S256"));
        assert_eq!(visit.get("resource"), Some(world.remote.url().as_str()));
    }
}

#[test]
fn a16_without_registration_either_the_user_hears_what_to_do() {
    let world = old_world(false, false);
    let bridge = start(world.bridge());
    let text = refused_handshake(&bridge, 1, "no_registration_method");
    for option in [
        "--static-oauth-client-info",
        "--header \"Authorization: Bearer TOKEN\"",
    ] {
        assert!(text.contains(option), "{text}");
    }
    assert_eq!(world.launcher.count(), 0);
    bridge.finish();
}

#[test]
fn a16_resource_metadata_rules_the_default_endpoints_out() {
    let world = AuthWorld::with(Legacy::sessions(), |rules| rules.documents.clear(), |_| {});
    let bridge = start(world.bridge());
    refused_handshake(&bridge, 1, "discovery_failed");
    for path in ["/authorize", "/register", "/token"] {
        assert_eq!(world.auth.count(path), 0, "{path}");
        assert!(world.remote.calls().iter().all(|call| call.path != path));
    }
    bridge.finish();
}

#[test]
fn a18_the_users_headers_stay_with_the_server() {
    let world = auth_world();
    let secret = "s3cret-of-the-gateway";
    let launch = world
        .bridge()
        .args(["--header".to_owned(), format!("X-Api-Key: {secret}")]);
    let stderr = conversation(launch);
    assert!(!stderr.contains(secret), "{stderr}");
    for visit in world.auth.visits() {
        for (name, value) in &visit.call.headers {
            assert!(name != "x-api-key", "{visit:?}");
            assert!(!value.to_str().unwrap().contains(secret), "{visit:?}");
        }
    }
    for call in world.remote.calls_of("tools/call") {
        assert_eq!(call.header("x-api-key").as_deref(), Some(secret));
    }
}

#[test]
fn a25_a_restart_renews_without_asking_where_to() {
    let world = auth_world();
    conversation(world.bridge());
    expire_stored(&world);
    world.auth.on("metadata", |_| Reply::status(503));
    world.guard.door(|door| door.metadata = Place::Nowhere);
    let (before, asked) = (metadata_paths(&world).len(), world.auth.count("metadata"));
    conversation(world.bridge());
    assert_eq!(world.auth.grants("refresh_token").len(), 1);
    assert_eq!(metadata_paths(&world).len(), before);
    assert_eq!(world.auth.count("metadata"), asked);
    assert_eq!(world.launcher.count(), 1);
}

#[test]
fn a25_a_live_token_needs_no_discovery() {
    let world = auth_world();
    conversation(world.bridge());
    let visits = world.auth.visits().len();
    let refusals = world.guard.refusals();
    conversation(world.bridge());
    assert_eq!(world.auth.visits().len(), visits);
    assert_eq!(world.guard.refusals(), refusals);
}

#[test]
fn a26_another_authorization_server_gets_nothing_of_the_first() {
    let world = AuthWorld::with(
        Legacy::sessions(),
        |rules| rules.client_methods = vec!["client_secret_basic".to_owned()],
        |_| {},
    );
    let other = AuthServer::start();
    let mut bridge = start(world.bridge());
    bridge.handshake();
    call(&mut bridge);
    let (_, client) = stored(&world.home, "_client_info.json");
    let id = client["client_id"].as_str().unwrap().to_owned();
    let before = world.auth.visits().len();
    world.guard.move_to(&other);
    call(&mut bridge);
    let stderr = bridge.finish().stderr;
    assert!(
        stderr.contains(&world.auth.issuer()) && stderr.contains(&other.issuer()),
        "{stderr}"
    );
    assert!(stderr.contains("moved"), "{stderr}");
    assert_eq!(world.launcher.count(), 2);
    assert_eq!(
        world.auth.visits().len(),
        before,
        "the first one is left alone"
    );
    assert_eq!(other.registrations().len(), 1);
    assert_eq!(other.grants("refresh_token").len(), 0);
    let mut theirs = world.auth.secrets();
    theirs.push(id);
    for visit in other.visits() {
        let head = format!("{:?}", visit.call.headers);
        let basic = visit.basic();
        let query = visit.call.query.clone().unwrap_or_default();
        for secret in &theirs {
            for place in [&visit.call.text(), &head, &query] {
                assert!(!place.contains(secret.as_str()), "{visit:?}");
            }
            assert!(
                basic
                    .as_ref()
                    .is_none_or(|(user, word)| user != secret && word != secret)
            );
        }
    }
    conversation(world.bridge());
    assert_eq!(world.launcher.count(), 2);
}

#[test]
fn a26_b03_a_given_client_is_not_shown_to_another_authorization_server() {
    let world = auth_world();
    world
        .auth
        .add_client("mine", Some(("hunter2", "client_secret_basic")));
    let other = AuthServer::start();
    let info = json!({"client_id": "mine", "client_secret": "hunter2"}).to_string();
    let options = [own_port(), "--static-oauth-client-info".to_owned(), info];
    conversation(world.bridge().args(options.clone()));
    world.guard.move_to(&other);
    let bridge = start(world.bridge().args(options));
    let text = refused_handshake(&bridge, 1, "client_issuer_mismatch");
    assert!(
        text.contains(&world.auth.issuer()) && text.contains(&other.issuer()),
        "{text}"
    );
    bridge.finish();
    assert_eq!(world.launcher.count(), 1);
    assert_eq!(other.visits().len(), other.count("metadata"));
}

#[test]
fn b03_a_client_for_a_named_issuer_goes_nowhere_else() {
    let world = auth_world();
    world.auth.add_client("mine", None);
    let info = json!({"client_id": "mine", "issuer": "https://other.example"}).to_string();
    let options = [own_port(), "--static-oauth-client-info".to_owned(), info];
    let bridge = start(world.bridge().args(options));
    let text = refused_handshake(&bridge, 1, "client_issuer_mismatch");
    assert!(text.contains("https://other.example"), "{text}");
    bridge.finish();
    assert_eq!(world.auth.visits().len(), world.auth.count("metadata"));
}

#[test]
fn a13_only_the_expected_issuer_will_do() {
    let world = auth_world();
    let bridge = start(
        world
            .bridge()
            .args(["--expect-issuer", "https://login.example"]),
    );
    let text = refused_handshake(&bridge, 1, "issuer_mismatch");
    assert!(text.contains("https://login.example"), "{text}");
    bridge.finish();
    assert_eq!(world.launcher.count(), 0);
    let issuer = world.auth.issuer();
    conversation(world.bridge().args(["--expect-issuer", &issuer]));
}

#[test]
fn a13_a_document_of_another_issuer_is_refused_with_the_option_that_pins_it() {
    let world = AuthWorld::with(
        Legacy::sessions(),
        |rules| {
            rules.metadata_edits = json!({"issuer": "https://login.example"});
            rules.iss = crate::support::Iss::Absent;
        },
        |_| {},
    );
    let bridge = start(world.bridge());
    let text = refused_handshake(&bridge, 1, "issuer_mismatch");
    assert!(
        text.contains("--expect-issuer https://login.example"),
        "{text}"
    );
    bridge.finish();
    conversation(
        world
            .bridge()
            .args(["--expect-issuer", "https://login.example"]),
    );
    assert_eq!(world.launcher.count(), 1);
}

#[test]
fn c03_missing_pkce_is_refused_with_the_option_that_allows_it() {
    let edits = json!({"code_challenge_methods_supported": null});
    let world = AuthWorld::with(
        Legacy::sessions(),
        |rules| rules.metadata_edits = edits,
        |_| {},
    );
    let bridge = start(world.bridge());
    let text = refused_handshake(&bridge, 1, "pkce_unsupported");
    assert!(text.contains("--allow-missing-pkce"), "{text}");
    assert_eq!(world.auth.registrations().len(), 0);
    bridge.finish();
    conversation(world.bridge().args(["--allow-missing-pkce"]));
    let visits = world.auth.authorize_requests();
    assert_eq!(visits[0].get("code_challenge_method"), Some("S256"));
}

#[test]
fn a07_another_servers_metadata_is_refused() {
    let world = auth_world();
    world
        .guard
        .door(|door| door.resource = Some("https://victim.example/mcp".to_owned()));
    let bridge = start(world.bridge());
    let text = refused_handshake(&bridge, 1, "resource_mismatch");
    assert!(text.contains("https://victim.example/mcp"), "{text}");
    bridge.finish();
    assert!(world.auth.visits().is_empty());
    assert_eq!(world.launcher.count(), 0);
}

/// A token goes to the server alone, wherever that points.
#[test]
fn d02_a_redirect_to_elsewhere_does_not_take_the_token_along() {
    let elsewhere = Remote::serve(|_| Reply::status(500));
    elsewhere.must_stay_uncalled();
    let target = elsewhere.url();
    let legacy = Legacy::sessions().on("tools/call", move |_| Reply::redirect(307, &target));
    let world = AuthWorld::with(legacy, |_| {}, |_| {}).browser(Browser::Follows);
    let mut bridge = start(world.bridge());
    bridge.handshake();
    let response = bridge.request("tools/call", crate::support::rpc::echo_params("x"));
    assert_eq!(
        response["error"]["data"]["kind"], "redirect-refused",
        "{response}"
    );
    bridge.finish();
}
