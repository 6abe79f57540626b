//! `login`, `logout` and `status`.
//!
//! In: what they print, how they end, what they leave. Out: the sign-in itself (`sign_in`).

use serde_json::{Value, json};

use crate::sign_in::{conversation, expire_stored, refused_handshake, start, stored};
use crate::support::{
    AuthWorld, Bridge, Browser, Decision, Door, Launch, Legacy, Person, Remote, Reply, Rules,
    auth_world, rpc, wait_link,
};

/// What a command printed, how it ended, and what it said beside.
struct Said {
    code: Option<i32>,
    out: String,
    stderr: String,
}

/// Runs a command to its end through a shell that puts its stdout beside its stderr: stdout is
/// for messages in the eyes of [`Bridge`].
#[track_caller]
fn run(world: &AuthWorld, launch: Launch) -> Said {
    let file = world.home.path().join("stdout");
    let shell = format!("exec \"$0\" \"$@\" >'{}'", file.display());
    let mut bridge = start(launch.under(["/bin/sh", "-c", &shell]));
    bridge.close_stdin();
    finish(world, &mut bridge)
}

#[track_caller]
fn finish(world: &AuthWorld, bridge: &mut Bridge) -> Said {
    let ended = bridge.ended();
    Said {
        code: ended.status.code(),
        out: world.home.read("stdout"),
        stderr: ended.stderr,
    }
}

fn world_with(rules: impl FnOnce(&mut Rules)) -> AuthWorld {
    AuthWorld::with(Legacy::sessions(), rules, |_| {})
}

fn login(world: &AuthWorld) -> Launch {
    world.command(["login", &world.remote.url()])
}

fn logout(world: &AuthWorld) -> Launch {
    world.command(["logout", &world.remote.url()])
}

fn status(world: &AuthWorld) -> Value {
    let said = run(world, world.command(["status", "--json"]));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}", said.out))
}

/// Names of the files in the store of the two programs.
fn files(world: &AuthWorld) -> Vec<String> {
    let folder = world.home.config_dir().join("mcp-remote-v1");
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

// ----- login -----

#[test]
fn login_signs_in_for_the_bridges_that_follow() {
    let world = auth_world();
    let said = run(&world, login(&world));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let origin = world.remote.origin();
    assert_eq!(said.out, format!("You are signed in to {origin}.\n"));
    conversation(world.bridge());
    assert_eq!(world.launcher.count(), 1);
    let said = run(&world, login(&world));
    assert_eq!(
        said.out,
        format!("You are already signed in to {origin}.\n")
    );
    assert_eq!(world.launcher.count(), 1);
}

#[test]
fn login_says_where_none_is_needed() {
    let world = auth_world();
    world.guard.door(|door| door.only = Some(Vec::new()));
    let said = run(&world, login(&world));
    assert_eq!(said.code, Some(0));
    assert!(
        said.out.contains("does not ask for a sign-in"),
        "{}",
        said.out
    );
    assert_eq!(world.launcher.count(), 0);
    // `login` is a visitor of one request, and says no more.
    world.remote.take_violations();
}

#[test]
fn login_renews_what_can_be_renewed() {
    let world = auth_world();
    run(&world, login(&world));
    expire_stored(&world);
    let said = run(&world, login(&world));
    assert_eq!(said.code, Some(0));
    assert_eq!(world.launcher.count(), 1);
    assert_eq!(world.auth.grants("refresh_token").len(), 1);
}

#[test]
fn login_ends_with_1_when_the_person_says_no() {
    let world = world_with(|rules| rules.decision = Decision::Deny);
    let said = run(&world, login(&world));
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(
        said.stderr.contains("[authorization_denied]"),
        "{}",
        said.stderr
    );
    assert!(said.out.is_empty(), "{}", said.out);
    let said = run(&world, world.command(["status"]));
    assert!(said.out.contains("authorization_denied"), "{}", said.out);
}

#[test]
fn login_ends_with_1_when_nobody_comes_and_when_the_server_is_away() {
    let world = auth_world().browser(Browser::Waits);
    let said = run(&world, login(&world).args(["--auth-timeout", "1"]));
    assert_eq!(said.code, Some(1));
    assert!(
        said.stderr.contains("[authorization_timeout]"),
        "{}",
        said.stderr
    );
    world.remote.stop();
    let said = run(&world, login(&world));
    assert_eq!(said.code, Some(1));
    let port = world.remote.address().port().to_string();
    assert!(said.stderr.contains(&port), "{}", said.stderr);
}

#[test]
fn login_ends_with_2_beside_an_authorization_header() {
    let world = auth_world();
    world.remote.must_stay_uncalled();
    let header = ["--header", "Authorization: Bearer hunter2"];
    let said = run(&world, login(&world).args(header));
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(!said.stderr.contains("hunter2"), "{}", said.stderr);
}

/// Where the person's browser ends that cannot reach this machine.
fn end_of(link: &str) -> String {
    let page = Person::new().get(&url::Url::parse(link).unwrap());
    page.header("location").unwrap()
}

#[test]
fn c39_login_takes_the_address_that_the_browser_ended_at() {
    let world = auth_world();
    let file = world.home.path().join("stdout");
    let shell = format!("exec \"$0\" \"$@\" >'{}'", file.display());
    let launch = login(&world)
        .args(["--no-browser"])
        .under(["/bin/sh", "-c", &shell]);
    let mut bridge = start(launch);
    let address = end_of(&wait_link(&bridge, 1));
    let wrong = address.replace("state=", "state=x");
    bridge.send_raw(format!("{wrong}\n"));
    let stderr = bridge.wait_stderr("paste the whole address");
    for secret in world.auth.secrets() {
        let in_link = stderr.replace(&wait_link(&bridge, 1), "");
        assert!(!in_link.contains(&secret), "{stderr}");
    }
    bridge.send_raw(format!("  {address} \n"));
    let said = finish(&world, &mut bridge);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.out.contains("You are signed in"), "{}", said.out);
    conversation(world.bridge());
    assert_eq!(world.launcher.count(), 0);
}

#[test]
fn c39_the_query_alone_will_do() {
    let world = auth_world();
    let file = world.home.path().join("stdout");
    let shell = format!("exec \"$0\" \"$@\" >'{}'", file.display());
    let launch = login(&world)
        .args(["--no-browser"])
        .under(["/bin/sh", "-c", &shell]);
    let mut bridge = start(launch);
    let address = end_of(&wait_link(&bridge, 1));
    let (_, query) = address.split_once('?').unwrap();
    bridge.send_raw(format!("{query}\n"));
    let said = finish(&world, &mut bridge);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

#[test]
fn c39_login_hands_the_address_to_the_bridge_that_waits_for_it() {
    let world = auth_world();
    let bridge = start(world.headless().args(["--initialize-wait", "60"]));
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    let address = end_of(&wait_link(&bridge, 1));
    let file = world.home.path().join("stdout");
    let shell = format!("exec \"$0\" \"$@\" >'{}'", file.display());
    let mut terminal = start(login(&world).under(["/bin/sh", "-c", &shell]));
    terminal.wait_stderr("is signing in to");
    let wrong = address.replace("state=", "state=x");
    terminal.send_raw(format!("{wrong}\n"));
    terminal.wait_stderr("not the one of this sign-in");
    terminal.send_raw(format!("{address}\n"));
    let said = finish(&world, &mut terminal);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.out.contains("You are signed in"), "{}", said.out);
    assert!(bridge.response(1).get("result").is_some());
    bridge.finish();
    assert_eq!(world.auth.count("/authorize"), 1);
    assert_eq!(world.auth.grants("authorization_code").len(), 1);
}

#[test]
fn c39_a_redirect_address_elsewhere_is_for_login_alone() {
    let world = auth_world();
    let metadata = json!({"redirect_uris": ["https://app.example/back"]}).to_string();
    let options = ["--static-oauth-client-metadata", &metadata];
    let bridge = start(world.bridge().args(options));
    let text = refused_handshake(&bridge, 1, "sign_in_required");
    assert!(text.contains("mcp-bridge login URL"), "{text}");
    assert_eq!(world.launcher.count(), 0);
    let file = world.home.path().join("stdout");
    let shell = format!("exec \"$0\" \"$@\" >'{}'", file.display());
    let launch = login(&world).args(options).args(["--no-browser"]);
    let mut terminal = start(launch.under(["/bin/sh", "-c", &shell]));
    let address = end_of(&wait_link(&terminal, 1));
    assert!(
        address.starts_with("https://app.example/back?"),
        "{address}"
    );
    terminal.send_raw(format!("{address}\n"));
    let said = finish(&world, &mut terminal);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    bridge.send(&rpc::initialize(2, rpc::VERSION));
    assert!(bridge.response(2).get("result").is_some());
    bridge.finish();
}

#[test]
fn what_is_typed_does_not_keep_login_from_giving_up() {
    let world = world_with(|rules| {
        rules.device_flow = true;
        rules.decision = Decision::Nothing;
    });
    let options = ["--device-code", "--auth-timeout", "1"];
    let file = world.home.path().join("stdout");
    let shell = format!("exec \"$0\" \"$@\" >'{}'", file.display());
    let launch = login(&world).args(options);
    let mut terminal = start(launch.under(["/bin/sh", "-c", &shell]));
    terminal.send_raw("hello\n");
    terminal.wait_stderr("/activate");
    terminal.send_raw("hello\n");
    let said = finish(&world, &mut terminal);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(
        said.stderr.contains("[authorization_timeout]"),
        "{}",
        said.stderr
    );
}

#[test]
fn login_asks_a_server_that_only_streams() {
    let streams = |door: &mut Door| door.only = Some(vec!["GET".to_owned()]);
    let world = AuthWorld::with(Legacy::http_sse(), |_| {}, streams);
    let said = run(&world, login(&world));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.out.contains("You are signed in"), "{}", said.out);
    assert_eq!(world.launcher.count(), 1);
    world.remote.take_violations();
}

#[test]
fn login_at_a_wrong_address_says_so() {
    let world = auth_world();
    world.remote.may_stay_uncalled();
    let nothing = Remote::serve(|_| Reply::status(404));
    let said = run(&world, world.command(["login", &nothing.url()]));
    assert_eq!(said.code, Some(1), "{} {}", said.out, said.stderr);
    assert!(said.stderr.contains("check the URL"), "{}", said.stderr);
    assert_eq!(nothing.keys(), ["initialize", "GET"]);
}

#[test]
fn login_knows_the_account() {
    // {"alg":"none"}.{"sub":"42","email":"jo@example.com"}
    let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiI0MiIsImVtYWlsIjoiam9AZXhhbXBsZS5jb20ifQ.c2ln";
    let world = world_with(|rules| rules.token_edits = json!({"id_token": token}));
    let said = run(&world, login(&world));
    assert!(said.out.contains("as jo@example.com"), "{}", said.out);
    assert_eq!(status(&world)[0]["account"], "jo@example.com");
}

#[test]
fn status_and_logout_mark_each_line_and_are_plain_in_a_pipe() {
    let world = auth_world();
    run(&world, login(&world));
    let status = run(&world, world.command(["status"])).out;
    let logout = run(&world, logout(&world)).out;
    for (text, first, ids) in [
        (
            &status,
            world.remote.url(),
            &["signed-in", "issuer", "valid", "renewal", "written-by"][..],
        ),
        (&logout, String::new(), &["revocation", "store"]),
    ] {
        assert!(text.starts_with(&first), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
        for id in ids {
            let line = format!("good    {id} ");
            assert!(
                text.lines().any(|found| found.starts_with(&line)),
                "{id}: {text}"
            );
        }
    }
    let verdict = format!("\nSigned out of {}.\n", world.remote.url());
    assert!(logout.ends_with(&verdict), "{logout}");
}

// ----- logout -----

#[test]
fn d31_logout_revokes_the_refresh_token_first_and_forgets() {
    let world = world_with(|rules| rules.client_methods = vec!["client_secret_basic".to_owned()]);
    conversation(world.bridge());
    let (_, tokens) = stored(&world.home, "_tokens.json");
    let said = run(&world, logout(&world));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.out.contains("Signed out of"), "{}", said.out);
    let visits = world.auth.visits_to("/revoke");
    let sent: Vec<_> = visits
        .iter()
        .map(|visit| (visit.get("token"), visit.get("token_type_hint")))
        .collect();
    assert_eq!(
        sent,
        [
            (tokens["refresh_token"].as_str(), Some("refresh_token")),
            (tokens["access_token"].as_str(), Some("access_token")),
        ]
    );
    assert!(visits.iter().all(|visit| visit.basic().is_some()));
    let left = files(&world);
    assert!(left.iter().all(|name| !name.contains("tokens")), "{left:?}");
    assert!(
        left.iter().any(|name| name.contains("client_info")),
        "{left:?}"
    );
    for token in ["access_token", "refresh_token"] {
        let token = tokens[token].as_str().unwrap();
        assert!(!said.stderr.contains(token) && !said.out.contains(token));
    }
    conversation(world.bridge());
    assert_eq!(world.launcher.count(), 2);
    assert_eq!(world.auth.registrations().len(), 1);
}

#[test]
fn d31_what_cannot_be_revoked_is_forgotten_all_the_same() {
    let world = auth_world();
    conversation(world.bridge());
    world.auth.stop();
    let said = run(&world, logout(&world));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.out.contains("may stay valid"), "{}", said.out);
    assert!(files(&world).iter().all(|name| !name.contains("tokens")));
    world.auth.restart();
}

#[test]
fn d31_a_server_without_revocation_is_told_of() {
    let world = world_with(|rules| rules.revocation = false);
    conversation(world.bridge());
    let said = run(&world, logout(&world));
    assert_eq!(said.code, Some(0));
    assert!(said.out.contains("no revocation"), "{}", said.out);
    assert_eq!(world.auth.count("/revoke"), 0);
}

#[test]
fn d31_a_busy_server_is_asked_once_more() {
    let world = auth_world();
    conversation(world.bridge());
    world.auth.on_nth("/revoke", 1, |_| {
        Reply::status(503).header("retry-after", "1")
    });
    let said = run(&world, logout(&world));
    assert_eq!(said.code, Some(0));
    assert_eq!(world.auth.count("/revoke"), 3);
    assert!(!said.out.contains("may stay valid"), "{}", said.out);
}

#[test]
fn f18_logout_forgets_the_client_too_where_it_is_told_to() {
    let world = auth_world();
    conversation(world.bridge());
    let said = run(&world, logout(&world).args(["--forget-client"]));
    assert_eq!(said.code, Some(0));
    let left = files(&world);
    assert!(
        left.iter().all(|name| !name.contains("client_info")),
        "{left:?}"
    );
    conversation(world.bridge());
    assert_eq!(world.auth.registrations().len(), 2);
}

#[test]
fn f18_logout_all_leaves_nobody_signed_in() {
    let (one, two) = (auth_world(), auth_world());
    conversation(one.bridge());
    let other = two
        .launcher
        .on(Bridge::to(&two.remote.url()))
        .home(&one.home);
    conversation(other);
    assert_eq!(status(&one).as_array().unwrap().len(), 2);
    let said = run(&one, one.command(["logout", "--all"]));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    for world in [&one, &two] {
        assert!(said.out.contains(&world.remote.origin()), "{}", said.out);
        assert_eq!(world.auth.count("/revoke"), 2);
    }
    let left = files(&one);
    assert!(left.iter().all(|name| !name.contains("tokens")), "{left:?}");
    let said = run(&one, one.command(["logout", "--all", "--forget-client"]));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(status(&one), json!([]));
}

#[test]
fn logout_where_nobody_is_signed_in_says_so() {
    let world = auth_world();
    world.remote.may_stay_uncalled();
    let said = run(&world, logout(&world));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.out.contains("You were not signed in"), "{}", said.out);
    let said = run(&world, world.command(["logout", "--all"]));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

#[test]
fn f28_logout_of_one_profile_leaves_the_other() {
    let world = auth_world();
    for profile in ["work", "home"] {
        conversation(world.bridge().args(["--profile", profile]));
    }
    run(&world, logout(&world).args(["--profile", "work"]));
    let all = status(&world);
    let signed_in = all.as_array().unwrap().iter();
    let signed_in = signed_in.filter(|one| one["signed_in"] == true);
    let profiles: Vec<&Value> = signed_in.map(|one| &one["profile"]).collect();
    assert_eq!(profiles, ["home"], "{all:#}");
    conversation(world.bridge().args(["--profile", "home"]));
    assert_eq!(world.launcher.count(), 2);
}

// ----- status -----

#[test]
fn status_shows_every_sign_in_and_no_secret() {
    let world = world_with(|rules| rules.granted_scope = Some("read write".to_owned()));
    conversation(world.bridge());
    let all = status(&world);
    let one = &all[0];
    assert_eq!(one["server"], world.remote.url());
    assert_eq!(one["signed_in"], true);
    assert_eq!(one["issuer"], world.auth.issuer());
    assert_eq!(one["scope"], "read write");
    assert_eq!(one["refreshable"], true);
    assert_eq!(one["expired"], false);
    assert_eq!(one["registered"], true);
    assert_eq!(one["written_by"], "mcp-bridge");
    assert!(one["expires_at"].as_str().unwrap().ends_with('Z'), "{one}");
    assert_eq!(one["last_error"], Value::Null);
    let said = run(&world, world.command(["status"]));
    assert_eq!(said.code, Some(0));
    for word in [&world.remote.url(), &world.auth.issuer(), "read write"] {
        assert!(said.out.contains(word), "{}", said.out);
    }
    let text = format!("{all}{}{}", said.out, said.stderr);
    for secret in world.auth.secrets() {
        assert!(!text.contains(&secret), "{secret} in {text}");
    }
}

#[test]
fn status_tells_what_went_wrong_last_until_it_goes_well() {
    let world = auth_world();
    conversation(world.bridge());
    expire_stored(&world);
    assert_eq!(status(&world)[0]["expired"], true);
    world.auth.end_refresh_tokens();
    world.auth.rules(|rules| rules.decision = Decision::Deny);
    let bridge = start(world.bridge());
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    bridge.wait_stderr("[authorization_denied]");
    bridge.finish();
    let error = status(&world)[0]["last_error"].clone();
    assert_eq!(error["kind"], "authorization_denied");
    assert!(error["at"].as_str().unwrap().ends_with('Z'), "{error}");
    world.auth.rules(|rules| rules.decision = Decision::Approve);
    conversation(world.bridge());
    assert_eq!(status(&world)[0]["last_error"], Value::Null);
}

#[test]
fn status_knows_what_the_other_program_wrote() {
    let world = auth_world();
    conversation(world.bridge());
    let (path, _) = stored(&world.home, "_tokens.json");
    let theirs = json!({
        "access_token": "theirs-a",
        "token_type": "Bearer",
        "expires_in": 3600,
        "refresh_token": "theirs-r",
        "scope": "mail",
    });
    std::fs::write(path, theirs.to_string()).unwrap();
    let one = status(&world)[0].clone();
    assert_eq!(one["written_by"], "mcp-remote", "{one}");
    assert_eq!(one["scope"], "mail");
    assert!(!one.to_string().contains("theirs-"), "{one}");
}

#[test]
fn status_of_an_empty_store_says_what_to_do() {
    let world = auth_world();
    world.remote.may_stay_uncalled();
    let said = run(&world, world.command(["status"]));
    assert_eq!(said.code, Some(0));
    assert!(said.out.contains("mcp-bridge login URL"), "{}", said.out);
    assert_eq!(status(&world), json!([]));
}
