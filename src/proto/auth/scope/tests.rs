//! Which scopes are asked for, at first and later.

use serde_json::json;
use url::Url;

use super::super::settings::GivenClient;
use super::*;

fn settings(metadata: &serde_json::Value) -> Settings {
    let server = Url::parse("https://mcp.example/mcp").unwrap();
    Settings {
        client_metadata: metadata.as_object().unwrap().clone(),
        ..Settings::stored(server.into(), "key")
    }
}

fn given_client(scope: &str) -> GivenClient {
    GivenClient {
        id: "client".into(),
        secret: None,
        auth_method: None,
        signing_alg: None,
        private_key: None,
        key_id: None,
        issuer: None,
        redirect_uris: Vec::new(),
        scope: Some(scope.into()),
    }
}

fn challenge(scope: Option<&str>) -> Challenge {
    Challenge {
        scope: scope.map(str::to_owned),
        ..Challenge::default()
    }
}

fn resource(scopes: &[&str]) -> ResourceMetadata {
    ResourceMetadata {
        resource: "https://mcp.example/mcp".into(),
        authorization_servers: None,
        scopes_supported: Some(scopes.iter().map(|&scope| scope.to_owned()).collect()),
        dpop_required: false,
    }
}

fn server(scopes: &[&str]) -> ServerMetadata {
    ServerMetadata {
        scopes_supported: Some(scopes.iter().map(|&scope| scope.to_owned()).collect()),
        ..ServerMetadata::default()
    }
}

/// Scope and origin.
fn selected(
    settings: &Settings,
    asked: Option<&str>,
    listed: Option<&[&str]>,
    server: &ServerMetadata,
) -> (Option<String>, Origin) {
    let listed = listed.map(resource);
    let wanted = select(settings, &challenge(asked), listed.as_ref(), server);
    (wanted.scope, wanted.origin)
}

#[test]
fn c10_user_then_challenge_then_resource_then_nothing() {
    let mine = settings(&json!({"scope": "mine"}));
    let none = settings(&json!({}));
    let server = server(&["openid", "email"]);
    let some = |scope: &str, origin| (Some(scope.to_owned()), origin);
    let lists: Option<&[&str]> = Some(&["p", "q"]);
    assert_eq!(
        selected(&mine, Some("c"), lists, &server),
        some("mine", Origin::User)
    );
    assert_eq!(
        selected(&none, Some("c d"), lists, &server),
        some("c d", Origin::Challenge)
    );
    assert_eq!(
        selected(&none, None, lists, &server),
        some("p q", Origin::Resource)
    );
    assert_eq!(
        selected(&none, Some(" "), lists, &server),
        some("p q", Origin::Resource)
    );
    assert_eq!(
        selected(&none, None, Some(&[]), &server),
        (None, Origin::Nobody)
    );
    assert_eq!(selected(&none, None, None, &server), (None, Origin::Nobody));
}

#[test]
fn c10_the_given_client_has_a_scope_too_and_an_empty_one_is_a_choice() {
    let mut settings = settings(&json!({}));
    settings.given_client = Some(given_client("theirs"));
    let server = server(&["offline_access"]);
    assert_eq!(
        selected(&settings, Some("c"), None, &server).0.as_deref(),
        Some("theirs")
    );
    settings.client_metadata = json!({"scope": ""}).as_object().unwrap().clone();
    assert_eq!(
        selected(&settings, Some("c"), None, &server),
        (None, Origin::User)
    );
}

#[test]
fn c11_scopes_are_cleaned() {
    for (text, scopes, notes) in [
        ("a b  c", vec!["a", "b", "c"], 0),
        ("  a a b a ", vec!["a", "b"], 0),
        ("a\tb c", vec!["c"], 1),
        ("a \u{1b}[2J b\" c\\ \u{e4}", vec!["a"], 1),
        (
            "https://x/y.read user:email a/b",
            vec!["https://x/y.read", "user:email", "a/b"],
            0,
        ),
        ("", vec![], 0),
    ] {
        let (cleaned, dropped) = clean(text);
        assert_eq!(cleaned, scopes, "{text:?}");
        assert_eq!(dropped.len(), notes, "{text:?}");
        assert!(!dropped.concat().contains(char::is_control), "{dropped:?}");
    }
    let long = "x".repeat(limits::SCOPE);
    assert_eq!(clean(&long).0.len(), 1);
    assert_eq!(clean(&format!("{long}x")).0.len(), 0);
    let (_, dropped) = clean("a\u{1b} b\" c");
    assert_eq!(
        dropped,
        ["left out 2 scopes (`a\\u{1b}` first): not valid scopes"]
    );
}

#[test]
fn c11_g21_a_flood_of_scopes_is_cut_and_told_in_one_line() {
    let many: Vec<String> = (0..100_000).map(|number| format!("s{number}")).collect();
    let (scopes, notes) = clean(&many.join(" "));
    assert_eq!(scopes, many[..limits::SCOPES]);
    assert_eq!(
        notes,
        ["left out 99744 scopes (`s256` first): beyond the first 256"]
    );
}

#[test]
fn c11_dropped_scopes_are_told() {
    let metadata = settings(&json!({"scope": "a b\u{7}"}));
    let wanted = select(&metadata, &challenge(None), None, &server(&[]));
    assert_eq!(wanted.scope.as_deref(), Some("a"));
    assert_eq!(
        wanted.notes,
        ["left out the scope `b\\u{7}`: not valid scopes"]
    );
}

#[test]
fn c12_h11_offline_access_only_where_it_is_listed_wanted_and_not_alone() {
    let lists = server(&["offline_access"]);
    let none = settings(&json!({}));
    let scope = |settings: &Settings, asked, server: &ServerMetadata| {
        selected(settings, asked, None, server).0
    };
    assert_eq!(
        scope(&none, Some("a"), &lists).as_deref(),
        Some("a offline_access")
    );
    assert_eq!(
        scope(&none, Some("offline_access a"), &lists).as_deref(),
        Some("offline_access a")
    );
    assert_eq!(scope(&none, None, &lists), None);
    assert_eq!(
        scope(&none, Some("a"), &server(&["a"])).as_deref(),
        Some("a")
    );
    let silent = ServerMetadata::default();
    assert_eq!(scope(&none, Some("a"), &silent).as_deref(), Some("a"));
    let forgoes = settings(&json!({"grant_types": ["authorization_code"]}));
    assert_eq!(scope(&forgoes, Some("a"), &lists).as_deref(), Some("a"));
    let wants = settings(&json!({"grant_types": ["authorization_code", "refresh_token"]}));
    assert_eq!(
        scope(&wants, Some("a"), &lists).as_deref(),
        Some("a offline_access")
    );
    let mut machine = settings(&json!({}));
    machine.grant = Grant::ClientCredentials;
    assert_eq!(scope(&machine, Some("a"), &lists).as_deref(), Some("a"));
    machine.grant = Grant::Device;
    assert_eq!(
        scope(&machine, Some("a"), &lists).as_deref(),
        Some("a offline_access")
    );
}

#[test]
fn d23_d24_a_step_up_asks_for_the_union() {
    let up = |requested, granted, asked| {
        let listed = resource(&["never"]);
        step_up(requested, granted, &challenge(asked), Some(&listed))
    };
    assert_eq!(
        up(Some("b a"), Some("a"), Some("c a")).as_deref(),
        Some("b a c")
    );
    assert_eq!(up(None, None, Some("c")).as_deref(), Some("c"));
    assert_eq!(up(None, Some("x"), Some("c")).as_deref(), Some("c"));
    // Asked for, and not granted: the person may agree this time.
    assert_eq!(
        up(Some("a b"), Some("a"), Some("b")).as_deref(),
        Some("a b")
    );
}

#[test]
fn d24_two_step_ups_keep_each_others_scopes() {
    let first = step_up(Some("base"), None, &challenge(Some("mail")), None);
    let second = step_up(first.as_deref(), None, &challenge(Some("files")), None);
    assert_eq!(second.as_deref(), Some("base mail files"));
}

#[test]
fn d25_what_is_granted_already_needs_no_step_up() {
    for (requested, granted, asked) in [
        (Some("a"), Some("a b"), "b"),
        (Some("a b"), Some("a b"), "b a"),
        (Some("a b"), None, "b"),
    ] {
        let listed = resource(&["z"]);
        let up = step_up(requested, granted, &challenge(Some(asked)), Some(&listed));
        assert_eq!(up, None, "{requested:?} {granted:?} {asked}");
    }
}

#[test]
fn d27_without_a_scope_the_resources_list_counts() {
    let listed = resource(&["a", "b", "c"]);
    let up = |requested, listed| step_up(requested, Some("a"), &challenge(None), listed);
    assert_eq!(up(Some("c a"), Some(&listed)).as_deref(), Some("c a b"));
    assert_eq!(up(Some("a b c"), Some(&listed)), None);
    assert_eq!(up(Some("a"), None), None);
    assert_eq!(up(Some("a"), Some(&resource(&[]))), None);
}

#[test]
fn d25_two_step_ups_of_one_operation_and_no_more() {
    let mut steps = StepUps::default();
    assert!(steps.allow("tools/call x") && steps.allow("tools/call x"));
    assert!(!steps.allow("tools/call x") && !steps.allow("tools/call x"));
    assert!(steps.allow("tools/call y"));
    steps.succeeded("tools/call x");
    assert!(steps.allow("tools/call x"));
}

#[test]
fn d25_a_step_up_that_brought_nothing_is_the_last() {
    let mut steps = StepUps::default();
    let x = "tools/call x";
    assert!(!steps.is_stuck(x, Some("b c"), Some("a")));
    assert!(steps.is_stuck(x, Some("c b"), Some("a")));
    assert!(!steps.is_stuck(x, Some("b c"), Some("a b")));
    assert!(!steps.is_stuck(x, Some("d"), Some("a b")));
    assert!(!steps.is_stuck("tools/call y", Some("d"), Some("a b")));
    steps.succeeded(x);
    assert!(!steps.is_stuck(x, Some("d"), Some("a b")));
}
