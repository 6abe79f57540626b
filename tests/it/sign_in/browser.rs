//! The person and the browser: the link, the wait, and how it ends.

use serde_json::json;

use super::{PATIENCE, call, conversation, refused_handshake, start};
use crate::support::{
    AuthServer, AuthWorld, Browser, Decision, Legacy, Person, Remote, Reply, auth_world,
    oauth_error, rpc, wait_link,
};

#[test]
fn c05_the_exchange_goes_where_the_request_began() {
    let world = auth_world().browser(Browser::Waits);
    let trap = Remote::serve(|_| Reply::status(500));
    trap.must_stay_uncalled();
    let mut bridge = start(world.bridge());
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    let link = wait_link(&bridge, 1);
    let edits = json!({"token_endpoint": trap.url_at("/token")});
    world.auth.rules(|rules| rules.metadata_edits = edits);
    Person::new().open(&link);
    assert!(bridge.response(1)["result"].is_object());
    bridge.send(&rpc::initialized());
    call(&mut bridge);
    assert_eq!(world.auth.grants("authorization_code").len(), 1);
    bridge.finish();
}

#[test]
fn c20_without_a_browser_the_printed_link_is_enough() {
    for kind in [Browser::Missing, Browser::Fails, Browser::Hangs] {
        let world = auth_world().browser(kind);
        let mut bridge = start(world.bridge());
        bridge.send(&rpc::initialize(1, rpc::VERSION));
        if kind != Browser::Hangs {
            bridge.wait_stderr("open the address above by hand");
        }
        let page = Person::new().sign_in(&bridge);
        assert_eq!(page.status, 200, "{kind:?}");
        assert!(bridge.response(1)["result"].is_object());
        bridge.send(&rpc::initialized());
        call(&mut bridge);
        bridge.finish();
    }
}

#[test]
fn c20_the_link_is_in_no_log_file() {
    let world = auth_world();
    let file = world.home.path().join("bridge.log");
    let launch = world
        .bridge()
        .args(["--debug", "--log-file"])
        .args([file.clone()]);
    let stderr = conversation(launch);
    assert!(stderr.contains("code_challenge="), "{stderr}");
    let log = std::fs::read_to_string(&file).unwrap();
    assert!(!log.is_empty());
    assert!(!log.contains("code_challenge="), "{log}");
    for secret in world.auth.secrets() {
        assert!(!log.contains(&secret), "{secret} in {log}");
    }
}

#[test]
fn c31_a_refusal_ends_the_wait_at_once_and_says_why() {
    let world = AuthWorld::with(
        Legacy::sessions(),
        |rules| rules.decision = Decision::Deny,
        |_| {},
    );
    let mut bridge = start(world.bridge());
    let text = refused_handshake(&bridge, 1, "authorization_denied");
    assert!(
        text.contains(&world.remote.origin()) || text.contains("denied"),
        "{text}"
    );
    assert_eq!(world.launcher.count(), 1);
    world.auth.rules(|rules| rules.decision = Decision::Approve);
    bridge.handshake();
    call(&mut bridge);
    assert_eq!(world.auth.registrations().len(), 1);
    bridge.finish();
}

/// What the authorization server says to the person cannot steer a terminal.
#[test]
fn c31_the_servers_words_are_harmless() {
    let world = auth_world();
    world.auth.on("/authorize", |visit| {
        let back = visit.get("redirect_uri").unwrap();
        let mut url = url::Url::parse(back).unwrap();
        url.query_pairs_mut()
            .append_pair("error", "server_error")
            .append_pair("error_description", "try\u{1b}[2J later\r\nforged: line")
            .append_pair("state", visit.get("state").unwrap())
            .append_pair(
                "iss",
                &format!("http://{}", visit.call.header("host").unwrap()),
            );
        Reply::redirect(302, url.as_str())
    });
    let bridge = start(world.bridge());
    let text = refused_handshake(&bridge, 1, "authorization_error");
    assert!(text.contains("server_error"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\n'), "{text}");
    let stderr = bridge.finish().stderr;
    assert!(!stderr.contains('\u{1b}'), "{stderr}");
    assert!(
        !stderr.lines().any(|line| line.starts_with("forged")),
        "{stderr}"
    );
}

#[test]
fn c37_a_late_answer_counts_for_the_next_request() {
    let world = auth_world().browser(Browser::Waits);
    let mut bridge = start(world.bridge().args(["--auth-timeout", "1"]));
    let text = refused_handshake(&bridge, 1, "authorization_timeout");
    assert!(text.contains("1 s"), "{text}");
    assert!(text.contains("--auth-timeout"), "{text}");
    let page = Person::new().sign_in(&bridge);
    assert_eq!(page.status, 200);
    world.auth.wait_visit("/token", 1);
    bridge.handshake();
    call(&mut bridge);
    assert_eq!(world.launcher.count(), 1);
    bridge.finish();
}

#[test]
fn c40_on_a_remote_machine_the_ways_to_a_browser_are_told() {
    let world = AuthWorld::with(Legacy::sessions(), |rules| rules.device_flow = true, |_| {});
    let launch = world
        .bridge()
        .env("SSH_CONNECTION", "10.0.0.1 50000 10.0.0.2 22");
    let mut bridge = start(launch);
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    let link = url::Url::parse(&wait_link(&bridge, 1)).unwrap();
    let back = link.query_pairs().find(|(name, _)| name == "redirect_uri");
    let port = url::Url::parse(&back.unwrap().1).unwrap().port().unwrap();
    bridge.wait_stderr(&format!("-L {port}:localhost:{port}"));
    bridge.wait_stderr("--device-code");
    bridge.wait_stderr("mcp-bridge login");
    Person::new().sign_in(&bridge);
    assert!(bridge.response(1)["result"].is_object());
    bridge.send(&rpc::initialized());
    call(&mut bridge);
    bridge.finish();
    assert_eq!(world.launcher.count(), 0);
}

#[test]
fn c43_both_origins_are_named_before_the_link() {
    let world = auth_world();
    let stderr = conversation(world.bridge());
    let line = stderr
        .lines()
        .find(|line| line.contains("wants you to sign in"));
    let line = line.unwrap_or_else(|| panic!("{stderr}"));
    assert!(line.contains(&world.remote.origin()), "{line}");
    assert!(line.contains(&world.auth.origin()), "{line}");
    let (before, after) = stderr.split_once(line).unwrap();
    assert!(!before.contains("response_type=code"), "{stderr}");
    assert!(after.contains("response_type=code"), "{stderr}");
}

/// A server that refuses every token gets two windows, and no more.
#[test]
fn c44_a_server_that_refuses_every_token_opens_two_windows_at_most() {
    let world = auth_world();
    world.guard.door(|door| door.refuses_all = true);
    let bridge = start(world.bridge());
    let text = refused_handshake(&bridge, 1, "auth_loop");
    assert!(text.contains("audience"), "{text}");
    refused_handshake(&bridge, 2, "auth_loop");
    refused_handshake(&bridge, 3, "auth_loop");
    assert!(world.launcher.count() <= 2, "{}", world.launcher.count());
    bridge.finish();
    let other = start(world.bridge());
    refused_handshake(&other, 4, "auth_loop");
    other.finish();
    assert!(world.launcher.count() <= 2, "{}", world.launcher.count());
}

// ----- options of the request -----

#[test]
fn c08_c14_options_shape_the_request() {
    let world = AuthWorld::with(
        Legacy::sessions(),
        |rules| {
            rules.more_parameters = vec!["prompt".to_owned(), "audience".to_owned()];
        },
        |_| {},
    );
    let launch = world
        .bridge()
        .args(["--authorize-param", "prompt=consent"])
        .args(["--authorize-param=audience=api://mine", "--resource"])
        .args([format!("{}/", world.remote.origin())]);
    // A token for the whole origin opens this door as well.
    world
        .guard
        .door(|door| door.resource = Some(format!("{}/", world.remote.origin())));
    conversation(launch);
    let visit = &world.auth.authorize_requests()[0];
    assert_eq!(visit.get("prompt"), Some("consent"));
    assert_eq!(visit.get("audience"), Some("api://mine"));
    let resource = format!("{}/", world.remote.origin());
    assert_eq!(visit.get("resource"), Some(resource.as_str()));
    let exchange = &world.auth.grants("authorization_code")[0];
    assert_eq!(exchange.get("resource"), Some(resource.as_str()));
    assert_eq!(exchange.get("prompt"), None);
}

#[test]
fn c07_the_resource_may_be_left_out() {
    let world = AuthWorld::with(
        Legacy::sessions(),
        |rules| rules.wants_resource = false,
        |_| {},
    );
    conversation(world.bridge().args(["--disable-resource-parameter"]));
    for visit in world.auth.visits() {
        assert_eq!(visit.get("resource"), None, "{visit:?}");
    }
}

#[test]
fn c30_the_browser_ends_where_the_user_wants() {
    let world = auth_world();
    let thanks = Remote::serve(|_| Reply::html(200, "<title>Thanks</title>"));
    let url = thanks.url_at("/thanks");
    conversation(world.bridge().args(["--auth-success-url", &url]));
    thanks.wait_call("GET");
    let pages = world.launcher.pages();
    assert_eq!(pages.last().unwrap().url, url, "{pages:#?}");
}

#[test]
fn f28_profiles_are_accounts_of_their_own() {
    let world = auth_world();
    for profile in ["work", "home"] {
        conversation(world.bridge().args(["--profile", profile]));
    }
    assert_eq!(world.launcher.count(), 2);
    for profile in ["work", "home"] {
        conversation(world.bridge().args(["--profile", profile]));
    }
    assert_eq!(world.launcher.count(), 2);
}

/// The person refuses where a client id is unknown to the page.
#[test]
fn c34_a_code_that_is_refused_ends_the_attempt() {
    let world = auth_world();
    world
        .auth
        .on_nth("/token", 1, |_| oauth_error(400, "invalid_grant"));
    let bridge = start(world.bridge()).patience(PATIENCE);
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    let response = bridge.response(1);
    assert!(
        response["error"]["message"]
            .as_str()
            .unwrap()
            .contains("invalid_grant")
    );
    assert_eq!(world.auth.grants("authorization_code").len(), 1);
    let pages = world.launcher.pages();
    assert_eq!(world.launcher.count(), 1, "{pages:#?}");
    bridge.finish();
}

#[test]
fn a09_the_second_server_of_a_list_may_be_the_one() {
    let first = AuthServer::with(|rules| rules.registration = false);
    let second = AuthServer::start();
    let guard = crate::support::Guard::of_all(&[&first, &second]);
    let world = AuthWorld::around(Legacy::sessions(), second, guard);
    conversation(world.bridge());
    assert_eq!(first.visits().len(), first.count("metadata"));
    assert_eq!(world.auth.grants("authorization_code").len(), 1);
}
