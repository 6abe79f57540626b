//! Sign-ins without a browser on this machine: a code for another device, and programs that sign
//! in by themselves.
//!
//! In: `--device-code`, `--client-credentials`, `--enterprise-idp`, `--workload-jwt`. Out: the rest
//! of signing in (`sign_in`).

use serde_json::{Value, json};

use crate::sign_in::{
    call, conversation, expire_stored, forget_tokens, refused_handshake, start, stored,
};
use crate::support::{
    AuthServer, AuthWorld, Decision, Legacy, Place, Rules, auth_world, oauth_error, rpc,
};

fn world_with(rules: impl FnOnce(&mut Rules)) -> AuthWorld {
    AuthWorld::with(Legacy::sessions(), rules, |_| {})
}

fn info(value: &Value) -> [String; 2] {
    ["--static-oauth-client-info".to_owned(), value.to_string()]
}

/// No page was opened, and no authorization request came.
#[track_caller]
fn assert_no_browser(world: &AuthWorld) {
    assert_eq!(world.launcher.count(), 0);
    assert_eq!(world.auth.count("/authorize"), 0);
}

// ----- a code for another device -----

#[test]
fn e06_e07_e08_a_code_on_another_device_signs_in() {
    let world = world_with(|rules| {
        rules.device_flow = true;
        let polls = ["authorization_pending", "slow_down"];
        rules.device_polls = polls.map(str::to_owned).into();
        rules.device_edits = json!({"interval": 1});
    });
    let mut bridge = start(
        world
            .bridge()
            .args(["--device-code", "--initialize-wait", "60"]),
    );
    bridge.handshake();
    call(&mut bridge);
    let stderr = bridge.finish().stderr;
    let device = &world.auth.visits_to("/device")[0];
    assert_eq!(device.get("resource"), Some(world.remote.url().as_str()));
    let registration = &world.auth.registrations()[0].call.json;
    let grants = registration["grant_types"].to_string();
    assert!(grants.contains("device_code"), "{registration}");
    assert!(registration.get("redirect_uris").is_none());
    assert!(stderr.contains("USER-"), "{stderr}");
    assert!(stderr.contains("/activate"), "{stderr}");
    let polls = world
        .auth
        .grants("urn:ietf:params:oauth:grant-type:device_code");
    assert_eq!(polls.len(), 3);
    let code = polls[0].get("device_code").unwrap();
    assert!(!stderr.contains(code), "{stderr}");
    assert_no_browser(&world);
}

#[test]
fn e06_without_device_authorization_the_other_ways_are_named() {
    let world = auth_world();
    let bridge = start(world.bridge().args(["--device-code"]));
    let text = refused_handshake(&bridge, 1, "metadata_invalid");
    assert!(text.contains("--device-code"), "{text}");
    assert!(text.contains("browser"), "{text}");
    bridge.finish();
    assert_no_browser(&world);
}

#[test]
fn e07_an_address_that_could_harm_is_not_shown() {
    let world = world_with(|rules| {
        rules.device_flow = true;
        rules.device_edits = json!({
            "verification_uri": "javascript:alert(1)",
            "verification_uri_complete": null,
        });
    });
    let bridge = start(world.bridge().args(["--device-code"]));
    refused_handshake(&bridge, 1, "insecure_url");
    bridge.finish();
    assert_no_browser(&world);
}

#[test]
fn e08_e09_an_answer_of_the_person_ends_it_and_nothing_starts_anew_by_itself() {
    for (poll, kind) in [
        ("access_denied", "device_denied"),
        ("expired_token", "device_expired"),
    ] {
        let world = world_with(|rules| {
            rules.device_flow = true;
            rules.device_polls = [poll.to_owned()].into();
            rules.decision = Decision::Nothing;
        });
        let bridge = start(
            world
                .bridge()
                .args(["--device-code", "--initialize-wait", "60"]),
        );
        refused_handshake(&bridge, 1, kind);
        bridge.finish();
        assert_eq!(world.auth.count("/device"), 1, "{poll}");
        assert_no_browser(&world);
    }
}

#[test]
fn e07_the_client_hears_address_and_code() {
    let world = world_with(|rules| {
        rules.device_flow = true;
        rules.decision = Decision::Nothing;
    });
    let mut bridge = start(
        world
            .bridge()
            .args(["--device-code", "--initialize-wait", "1"]),
    );
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    let result = bridge.response(1)["result"].clone();
    let instructions = result["instructions"].as_str().unwrap();
    assert!(instructions.contains("/activate"), "{instructions}");
    assert!(instructions.contains("The code is USER-"), "{instructions}");
    bridge.send(&rpc::initialized());
    world.auth.rules(|rules| rules.decision = Decision::Approve);
    bridge.recv_method("notifications/tools/list_changed");
    call(&mut bridge);
    bridge.finish();
}

#[test]
fn b19_a_forgotten_registration_is_made_anew_for_a_device_too() {
    let world = world_with(|rules| rules.device_flow = true);
    conversation(world.bridge().args(["--device-code"]));
    forget_tokens(&world);
    world.auth.forget_clients();
    conversation(world.bridge().args(["--device-code"]));
    assert_eq!(world.auth.registrations().len(), 2);
    assert_no_browser(&world);
}

#[test]
fn an_id_token_that_is_wanted_has_to_come_with_a_device_too() {
    let world = world_with(|rules| rules.device_flow = true);
    let bridge = start(world.bridge().args(["--device-code", "--use-id-token"]));
    let text = refused_handshake(&bridge, 1, "token_response_invalid");
    assert!(text.contains("--use-id-token"), "{text}");
    bridge.finish();
}

// ----- client credentials -----

#[test]
fn e01_e02_a_program_signs_in_with_its_secret() {
    for method in ["client_secret_basic", "client_secret_post"] {
        let world = world_with(|rules| rules.client_methods = vec![method.to_owned()]);
        let secret = "s3cret/+:%";
        world.auth.add_client("robot", Some((secret, method)));
        let value = json!({"client_id": "robot", "client_secret": secret});
        conversation(
            world
                .bridge()
                .args(["--client-credentials"])
                .args(info(&value)),
        );
        let visit = &world.auth.grants("client_credentials")[0];
        let basic = visit.basic();
        assert_eq!(basic.is_some(), method == "client_secret_basic");
        assert_eq!(visit.get("resource"), Some(world.remote.url().as_str()));
        assert!(world.auth.registrations().is_empty());
        assert_no_browser(&world);
    }
}

#[test]
fn e03_a_program_signs_in_with_its_key() {
    let world = world_with(|rules| rules.client_methods = vec!["private_key_jwt".to_owned()]);
    let pem = world.auth.add_key_client("robot");
    let file = world.home.write("key.pem", pem);
    let value = json!({
        "client_id": "robot",
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "ES256",
        "private_key_pem": format!("@{}", file.display()),
    });
    let launch = || {
        world
            .bridge()
            .args(["--client-credentials"])
            .args(info(&value))
    };
    conversation(launch());
    expire_stored(&world);
    conversation(launch());
    let visits = world.auth.grants("client_credentials");
    assert_eq!(visits.len(), 2);
    assert_ne!(
        visits[0].get("client_assertion"),
        visits[1].get("client_assertion")
    );
    assert_eq!(visits[0].get("client_secret"), None);
    assert_no_browser(&world);
}

#[test]
fn e04_a_method_that_the_server_does_not_take_is_named() {
    let world = world_with(|rules| rules.client_methods = vec!["client_secret_post".to_owned()]);
    world
        .auth
        .add_client("robot", Some(("s3cret", "client_secret_basic")));
    let value = json!({
        "client_id": "robot",
        "client_secret": "s3cret",
        "token_endpoint_auth_method": "client_secret_basic",
    });
    let bridge = start(
        world
            .bridge()
            .args(["--client-credentials"])
            .args(info(&value)),
    );
    let text = refused_handshake(&bridge, 1, "client_rejected");
    for method in ["client_secret_basic", "client_secret_post"] {
        assert!(text.contains(method), "{text}");
    }
    bridge.finish();
    assert_eq!(world.auth.count("/token"), 0);
}

#[test]
fn e05_a_program_renews_by_asking_again() {
    let world = auth_world();
    world
        .auth
        .add_client("robot", Some(("s3cret", "client_secret_basic")));
    let value = json!({"client_id": "robot", "client_secret": "s3cret"});
    let launch = world
        .bridge()
        .args(["--client-credentials"])
        .args(info(&value));
    let mut bridge = start(launch);
    bridge.handshake();
    call(&mut bridge);
    world.auth.end_access_tokens();
    call(&mut bridge);
    assert_eq!(world.auth.grants("client_credentials").len(), 2);
    assert!(world.auth.grants("refresh_token").is_empty());
    let (_, tokens) = stored(&world.home, "_tokens.json");
    assert!(tokens["refresh_token"].is_null(), "{tokens}");
    bridge.finish();
    assert_no_browser(&world);
}

#[test]
fn e01_a_given_token_endpoint_needs_no_discovery() {
    let world = world_with(|rules| {
        rules.documents.clear();
        rules.wants_resource = false;
    });
    world.guard.door(|door| door.metadata = Place::Nowhere);
    world
        .auth
        .add_client("robot", Some(("s3cret", "client_secret_basic")));
    let value = json!({"client_id": "robot", "client_secret": "s3cret"});
    let launch = world
        .bridge()
        .args(["--client-credentials", "--token-endpoint"])
        .args([world.auth.url_at("/token")])
        .args(info(&value));
    conversation(launch);
    assert_eq!(world.auth.count("metadata"), 0);
    assert_eq!(world.auth.grants("client_credentials").len(), 1);
}

#[test]
fn e01_a_refused_program_hears_why_and_sees_no_browser() {
    let world = auth_world();
    world
        .auth
        .on("/token", |_| oauth_error(401, "invalid_client"));
    let value = json!({"client_id": "robot", "client_secret": "wrong-s3cret"});
    let bridge = start(
        world
            .bridge()
            .args(["--client-credentials"])
            .args(info(&value)),
    );
    let text = refused_handshake(&bridge, 1, "client_rejected");
    assert!(text.contains("invalid_client"), "{text}");
    assert!(!text.contains("wrong-s3cret"), "{text}");
    bridge.finish();
    assert_no_browser(&world);
}

// ----- the organisation's identity provider -----

/// An MCP server whose authorization server trusts an identity provider.
fn enterprise() -> (AuthWorld, AuthServer, Vec<String>) {
    let idp = AuthServer::with(|rules| rules.subject_tokens = vec!["the-id-token".to_owned()]);
    idp.add_client("at-idp", Some(("idp-s3cret", "client_secret_basic")));
    let world = auth_world();
    world.auth.trust(&idp);
    world
        .auth
        .add_client("at-mcp", Some(("mcp-s3cret", "client_secret_basic")));
    let file = world.home.write("id-token", "the-id-token\n");
    let provider = json!({
        "issuer": idp.issuer(),
        "client_id": "at-idp",
        "client_secret": "idp-s3cret",
        "id_token": format!("@{}", file.display()),
    });
    let client = json!({"client_id": "at-mcp", "client_secret": "mcp-s3cret"});
    let mut options = vec!["--enterprise-idp".to_owned(), provider.to_string()];
    options.extend(info(&client));
    (world, idp, options)
}

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

#[test]
fn e10_e11_e12_e13_the_organisation_signs_in() {
    let (world, idp, options) = enterprise();
    let stderr = conversation(world.bridge().args(["--debug"]).args(options));
    let exchange = &idp.grants(EXCHANGE)[0];
    assert_eq!(exchange.get("audience"), Some(world.auth.issuer().as_str()));
    assert_eq!(exchange.get("resource"), Some(world.remote.url().as_str()));
    assert_eq!(exchange.get("subject_token"), Some("the-id-token"));
    assert_eq!(
        exchange.get("subject_token_type"),
        Some("urn:ietf:params:oauth:token-type:id_token")
    );
    let bearer = &world.auth.grants(BEARER)[0];
    let assertion = bearer.get("assertion").unwrap();
    assert!(assertion.starts_with("id-jag"));
    assert!(!stderr.contains(assertion) && !stderr.contains("the-id-token"));
    let folder = world.home.config_dir();
    let found = std::process::Command::new("grep")
        .args(["-rlE", "id-jag|the-id-token"])
        .arg(&folder)
        .output();
    assert!(found.unwrap().stdout.is_empty());
    assert_no_browser(&world);
    assert_eq!(idp.count("/authorize"), 0);
}

#[test]
fn e13_each_token_takes_an_exchange_of_its_own() {
    let (world, idp, options) = enterprise();
    let mut bridge = start(world.bridge().args(options));
    bridge.handshake();
    world.auth.end_access_tokens();
    call(&mut bridge);
    bridge.finish();
    assert_eq!(idp.grants(EXCHANGE).len(), 2);
    let used = world.auth.grants(BEARER);
    assert_ne!(used[0].get("assertion"), used[1].get("assertion"));
}

#[test]
fn e11_e13_a_refusal_of_the_organisation_is_told_as_that() {
    let (world, idp, options) = enterprise();
    idp.rules(|rules| rules.subject_tokens.clear());
    let bridge = start(world.bridge().args(options));
    let text = refused_handshake(&bridge, 1, "sign_in_required");
    assert!(text.contains(&idp.issuer()), "{text}");
    bridge.finish();
    assert_eq!(world.auth.count("/token"), 0);
    assert_no_browser(&world);
}

// ----- workload identity -----

#[test]
fn e19_e20_a_workload_signs_in_with_its_jwt_as_it_is_now() {
    let world = world_with(|rules| {
        rules.assertions = vec!["jwt-one".to_owned(), "jwt-two".to_owned()];
    });
    let file = world.home.write("jwt", "jwt-one\n");
    let option = format!("@{}", file.display());
    let mut bridge = start(world.bridge().args(["--workload-jwt".to_owned(), option]));
    bridge.handshake();
    world.home.write("jwt", "jwt-two\n");
    world.auth.end_access_tokens();
    call(&mut bridge);
    let stderr = bridge.finish().stderr;
    let visits = world.auth.grants(BEARER);
    let sent: Vec<_> = visits.iter().map(|visit| visit.get("assertion")).collect();
    assert_eq!(sent, [Some("jwt-one"), Some("jwt-two")]);
    for visit in &visits {
        assert_eq!(visit.get("client_id"), None);
        assert_eq!(visit.get("resource"), Some(world.remote.url().as_str()));
    }
    assert!(!stderr.contains("jwt-"), "{stderr}");
    assert!(world.auth.registrations().is_empty());
    assert_no_browser(&world);
}

#[test]
fn e21_a_refused_jwt_is_told_at_once_and_not_tried_again() {
    let world = auth_world();
    let file = world.home.write("jwt", "jwt-unknown\n");
    let option = format!("@{}", file.display());
    let bridge = start(world.bridge().args(["--workload-jwt".to_owned(), option]));
    let text = refused_handshake(&bridge, 1, "assertion_rejected");
    assert!(text.contains("audience"), "{text}");
    assert!(!text.contains("jwt-unknown"), "{text}");
    bridge.finish();
    assert_eq!(world.auth.count("/token"), 1);
    assert_no_browser(&world);
}

#[test]
fn e20_a_missing_jwt_file_is_named() {
    let world = auth_world();
    let missing = world.home.path().join("nowhere").display().to_string();
    let option = format!("@{missing}");
    let bridge = start(world.bridge().args(["--workload-jwt".to_owned(), option]));
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    let response = bridge.response(1);
    let text = response["error"]["message"].as_str().unwrap();
    assert!(text.contains(&missing), "{text}");
    bridge.finish();
    assert_eq!(world.auth.count("/token"), 0);
}
