//! Who the program is towards the authorization server: given, described by a document, registered.

use std::net::TcpListener;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use url::Url;

use super::{
    call, conversation, expire_stored, forget_tokens, own_port, refused_handshake, start, stored,
};
use crate::support::{
    AuthWorld, Browser, Legacy, Person, Rules, auth_world, oauth_error, rpc, wait_link,
};

fn world_with(rules: impl FnOnce(&mut Rules)) -> AuthWorld {
    AuthWorld::with(Legacy::sessions(), rules, |_| {})
}

fn info(value: &serde_json::Value) -> [String; 2] {
    ["--static-oauth-client-info".to_owned(), value.to_string()]
}

/// Port and host of a redirect address.
fn redirect(text: &str) -> (String, u16) {
    let url = Url::parse(text).unwrap();
    (url.host_str().unwrap().to_owned(), url.port().unwrap())
}

/// The redirect address of the `nth` authorization request.
fn nth_redirect(world: &AuthWorld, nth: usize) -> String {
    let visit = world.auth.wait_visit("/authorize", nth);
    visit.get("redirect_uri").unwrap().to_owned()
}

/// Takes a port on both loopback addresses.
fn occupy(port: u16) -> Vec<TcpListener> {
    let listeners = [format!("127.0.0.1:{port}"), format!("[::1]:{port}")];
    let taken: Vec<_> = listeners
        .iter()
        .filter_map(|address| TcpListener::bind(address).ok())
        .collect();
    assert!(!taken.is_empty(), "port {port} is still in use");
    taken
}

#[test]
fn b01_a_given_client_comes_first() {
    let world = world_with(|rules| rules.metadata_documents = true);
    world.auth.add_client("mine", None);
    let launch = world
        .bridge()
        .args(info(&json!({"client_id": "mine"})))
        .args([own_port()])
        .args(["--client-metadata-url", "https://app.example/client.json"]);
    conversation(launch);
    assert!(world.auth.registrations().is_empty());
    let visit = &world.auth.authorize_requests()[0];
    assert_eq!(visit.get("client_id"), Some("mine"));
}

#[test]
fn b01_a_metadata_document_comes_before_a_registration() {
    let document = "https://app.example/client.json";
    let world = world_with(|rules| rules.metadata_documents = true);
    let options = [own_port(), "--client-metadata-url".into(), document.into()];
    conversation(world.bridge().args(options.clone()));
    assert!(world.auth.registrations().is_empty());
    let visit = &world.auth.authorize_requests()[0];
    assert_eq!(visit.get("client_id"), Some(document));
    let world = auth_world();
    conversation(world.bridge().args(options));
    assert_eq!(world.auth.registrations().len(), 1, "it takes no documents");
}

#[test]
fn b01_a_stored_registration_is_used_again() {
    let world = auth_world();
    conversation(world.bridge());
    forget_tokens(&world);
    conversation(world.bridge());
    assert_eq!(world.auth.registrations().len(), 1);
    assert_eq!(world.launcher.count(), 2);
}

#[test]
fn b02_a_secret_goes_the_way_that_the_server_takes() {
    let methods = ["client_secret_basic", "client_secret_post"];
    for method in methods {
        let world = world_with(|rules| rules.client_methods = vec![method.to_owned()]);
        let secret = "s3cret:& %+\u{e4}";
        world.auth.add_client("my id", Some((secret, method)));
        let file = world.home.write(
            "client.json",
            json!({"client_id": "my id", "client_secret": secret}).to_string(),
        );
        let option = format!("@{}", file.display());
        conversation(
            world
                .bridge()
                .args(["--static-oauth-client-info".to_owned(), option])
                .args([own_port()]),
        );
        let visit = &world.auth.grants("authorization_code")[0];
        let expected = ("my id".to_owned(), secret.to_owned());
        if method == "client_secret_basic" {
            assert_eq!(visit.basic(), Some(expected));
            assert_eq!(visit.get("client_secret"), None);
        } else {
            assert_eq!(visit.basic(), None);
            assert_eq!(visit.get("client_secret"), Some(secret));
        }
        assert!(world.auth.registrations().is_empty());
    }
}

#[test]
fn b02_a_secret_may_come_from_a_variable() {
    let world = auth_world();
    world
        .auth
        .add_client("mine", Some(("from-env", "client_secret_post")));
    let value = json!({
        "client_id": "mine",
        "client_secret": "${CLIENT_SECRET}",
        "token_endpoint_auth_method": "client_secret_post",
        "some_member_of_theirs": true,
    });
    let launch = world
        .bridge()
        .args(info(&value))
        .args([own_port()])
        .env("CLIENT_SECRET", "from-env");
    let stderr = conversation(launch);
    assert!(!stderr.contains("from-env"), "{stderr}");
    let visit = &world.auth.grants("authorization_code")[0];
    assert_eq!(visit.get("client_secret"), Some("from-env"));
}

#[test]
fn b06_a_refused_metadata_document_is_told() {
    let world = world_with(|rules| rules.metadata_documents = true);
    world.auth.fail_nth("/token", 1, 401, "invalid_client");
    let document = "https://app.example/client.json";
    let options = [own_port(), "--client-metadata-url".into(), document.into()];
    let bridge = start(world.bridge().args(options));
    let text = refused_handshake(&bridge, 1, "client_rejected");
    assert!(text.contains("--client-metadata-url"), "{text}");
    bridge.finish();
    assert_eq!(world.launcher.count(), 1);
}

#[test]
fn b09_a_registered_port_that_is_taken_leads_to_a_new_registration() {
    let world = auth_world();
    conversation(world.bridge());
    let first = nth_redirect(&world, 1);
    let _taken = occupy(redirect(&first).1);
    forget_tokens(&world);
    let stderr = conversation(world.bridge());
    assert!(stderr.contains("redirect address"), "{stderr}");
    assert_eq!(world.auth.registrations().len(), 2);
    let last = world.auth.authorize_requests().pop().unwrap();
    let last = last.get("redirect_uri").unwrap();
    assert_ne!(last, first);
    let registered = &world.auth.registrations()[1].call.json["redirect_uris"];
    assert_eq!(*registered, json!([last]));
    for visit in world.auth.grants("authorization_code") {
        let asked = visit.get("redirect_uri").unwrap();
        assert!([first.as_str(), last].contains(&asked));
    }
}

#[test]
fn b14_the_answer_to_a_registration_overrules_the_request() {
    let world = world_with(|rules| {
        rules.registration_edits = json!({
            "token_endpoint_auth_method": "client_secret_post",
            "client_secret": "given with the registration",
            "client_secret_expires_at": "0",
            "client_id_issued_at": "1700000000",
            "client_uri": null,
            "of_their_own": {"kept": true},
        });
    });
    conversation(world.bridge());
    let visit = &world.auth.grants("authorization_code")[0];
    assert_eq!(
        visit.get("client_secret"),
        Some("given with the registration")
    );
    let (_, client) = stored(&world.home, "_client_info.json");
    assert_eq!(client["of_their_own"], json!({"kept": true}));
    expire_stored(&world);
    conversation(world.bridge());
    let renewal = &world.auth.grants("refresh_token")[0];
    assert_eq!(
        renewal.get("client_secret"),
        Some("given with the registration")
    );
}

#[test]
fn b14_a_registration_without_our_redirect_address_is_no_good() {
    let world = world_with(|rules| {
        rules.registration_edits = json!({"redirect_uris": ["https://elsewhere.example/cb"]});
    });
    let bridge = start(world.bridge());
    let text = refused_handshake(&bridge, 1, "registration_rejected");
    assert!(text.contains("redirect"), "{text}");
    bridge.finish();
    assert_eq!(world.launcher.count(), 0);
}

/// The registration is written down before the person is asked.
#[test]
fn b14_a_registration_is_stored_before_the_browser_opens() {
    let world = world_with(|rules| {
        rules.client_methods = vec!["client_secret_basic".to_owned()];
    })
    .browser(Browser::Waits);
    let bridge = start(world.bridge());
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    world.launcher.wait_start(1);
    let (_, client) = stored(&world.home, "_client_info.json");
    assert!(client["client_secret"].is_string(), "{client}");
}

#[test]
fn b15_an_expired_secret_leads_to_a_new_registration() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let soon = now.as_secs() + 30;
    let world = world_with(|rules| {
        rules.client_methods = vec!["client_secret_basic".to_owned()];
        rules.registration_edits = json!({"client_secret_expires_at": soon});
    });
    conversation(world.bridge());
    world
        .auth
        .rules(|rules| rules.registration_edits = json!({}));
    forget_tokens(&world);
    let stderr = conversation(world.bridge());
    assert!(stderr.contains("expired"), "{stderr}");
    assert_eq!(world.auth.registrations().len(), 2);
}

#[test]
fn b19_a_client_that_the_token_endpoint_forgot_is_registered_anew() {
    for status in [400, 401] {
        let world = world_with(|rules| rules.invalid_client_status = status);
        conversation(world.bridge());
        world.auth.forget_everything();
        let stderr = conversation(world.bridge());
        assert!(stderr.contains("does not know this client"), "{stderr}");
        assert_eq!(world.auth.registrations().len(), 2, "{status}");
        assert_eq!(world.launcher.count(), 2, "{status}");
    }
}

#[test]
fn b19_a_new_client_that_is_refused_at_once_is_the_last() {
    let world = auth_world();
    world
        .auth
        .on("/token", |_| oauth_error(401, "invalid_client"));
    let bridge = start(world.bridge());
    refused_handshake(&bridge, 1, "client_rejected");
    assert_eq!(world.auth.registrations().len(), 1);
    refused_handshake(&bridge, 2, "client_rejected");
    bridge.send(&rpc::initialize(3, rpc::VERSION));
    bridge.wait_stderr("enough windows were opened of late");
    assert!(world.auth.registrations().len() <= 3);
    assert_eq!(world.launcher.count(), 2);
    // It would wait for the person.
    drop(bridge);
}

#[test]
fn b20_a_given_client_that_is_refused_is_never_replaced() {
    let world = auth_world();
    world.auth.add_client("mine", None);
    let mut options = info(&json!({"client_id": "mine"})).to_vec();
    options.push(own_port());
    conversation(world.bridge().args(options.clone()));
    let (path, _) = stored(&world.home, "_tokens.json");
    let before = std::fs::read(&path).unwrap();
    world.auth.end_access_tokens();
    world
        .auth
        .on("/token", |_| oauth_error(401, "invalid_client"));
    let bridge = start(world.bridge().args(options));
    for id in [1, 2] {
        let text = refused_handshake(&bridge, id, "client_rejected");
        assert!(text.contains("--static-oauth-client-info"), "{text}");
    }
    bridge.finish();
    assert!(world.auth.registrations().is_empty());
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn b21_a_forgotten_registration_shows_the_person_one_window() {
    let world = auth_world();
    conversation(world.bridge());
    forget_tokens(&world);
    world.auth.forget_clients();
    let stderr = conversation(world.bridge());
    assert!(stderr.contains("registering again"), "{stderr}");
    assert_eq!(world.auth.registrations().len(), 2);
    assert_eq!(world.launcher.count(), 2, "one in each run");
    let pages = world.launcher.pages();
    assert!(pages.iter().all(|page| page.status < 400), "{pages:#?}");
}

#[test]
fn b23_without_any_way_the_person_hears_what_to_register() {
    let world = world_with(|rules| rules.registration = false);
    let port = own_port();
    let bridge = start(world.bridge().args([&port]));
    let text = refused_handshake(&bridge, 1, "no_registration_method");
    bridge.finish();
    let start_at = text.find("http://localhost:").expect(&text);
    let address = text[start_at..]
        .split([' ', ',', ';', ')', '"'])
        .next()
        .unwrap();
    let address = address.trim_end_matches('.');
    assert!(text.contains(&world.auth.issuer()), "{text}");
    world.auth.add_client("mine", None);
    let client = info(&json!({"client_id": "mine"}));
    conversation(world.bridge().args([port]).args(client));
    assert_eq!(nth_redirect(&world, 1), address);
    assert_eq!(world.launcher.count(), 1);
}

// ----- the way back -----

#[test]
fn c22_the_browser_may_come_by_either_family() {
    let world = auth_world().browser(Browser::Waits);
    let bridge = start(world.bridge());
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    let link = Url::parse(&wait_link(&bridge, 1)).unwrap();
    let address = link.query_pairs().find(|(name, _)| name == "redirect_uri");
    let (host, port) = redirect(&address.unwrap().1);
    assert_eq!(host, "localhost");
    let mut families = vec!["127.0.0.1"];
    families.extend(TcpListener::bind("[::1]:0").map(|_| "::1"));
    for family in families {
        std::net::TcpStream::connect((family, port)).unwrap();
    }
    Person::new().sign_in(&bridge);
    assert!(bridge.response(1)["result"].is_object());
    bridge.finish();
}

#[test]
fn c22_the_host_in_the_redirect_address_is_the_users_choice() {
    let world = auth_world();
    let launch = world
        .bridge()
        .args(["--host", "127.0.0.1", "--callback-path", "/done/here"]);
    conversation(launch);
    let (host, port) = redirect(&nth_redirect(&world, 1));
    assert_eq!(
        nth_redirect(&world, 1),
        format!("http://{host}:{port}/done/here")
    );
    assert_eq!(host, "127.0.0.1");
}

#[test]
fn c23_the_port_is_the_users_then_the_registered_then_the_usual_one() {
    let world = auth_world();
    let port = own_port();
    conversation(world.bridge().args([&port]));
    let port: u16 = port.parse().unwrap();
    assert_eq!(redirect(&nth_redirect(&world, 1)).1, port);
    forget_tokens(&world);
    conversation(world.bridge());
    let last = world.auth.authorize_requests().pop().unwrap();
    let registered = redirect(last.get("redirect_uri").unwrap()).1;
    assert_eq!(registered, port, "the port of the registration");
    let (path, _) = stored(&world.home, "_client_info.json");
    std::fs::remove_file(path).unwrap();
    forget_tokens(&world);
    conversation(world.bridge());
    let last = world.auth.authorize_requests().pop().unwrap();
    assert_ne!(redirect(last.get("redirect_uri").unwrap()).1, port);
}

#[test]
fn c24_a_port_that_somebody_has_is_named_and_nothing_is_registered() {
    let world = auth_world();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    taken.set_nonblocking(true).unwrap();
    let port = taken.local_addr().unwrap().port();
    let bridge = start(world.bridge().args([port.to_string()]));
    let text = refused_handshake(&bridge, 1, "callback_port_in_use");
    assert!(text.contains(&port.to_string()), "{text}");
    bridge.finish();
    assert!(world.auth.registrations().is_empty());
    assert_eq!(world.launcher.count(), 0);
    assert!(taken.accept().is_err(), "the stranger was spoken to");
}

#[test]
fn c25_the_way_back_is_open_before_the_browser_is() {
    let world = auth_world();
    let mut bridge = start(world.bridge());
    bridge.handshake();
    call(&mut bridge);
    let pages = world.launcher.pages();
    let last = pages.last().unwrap();
    assert_eq!(last.status, 200, "{pages:#?}");
    bridge.finish();
    let order: Vec<_> = world
        .auth
        .visits()
        .iter()
        .map(|visit| visit.endpoint.clone())
        .collect();
    assert_eq!(order, ["metadata", "/register", "/authorize", "/token"]);
}
