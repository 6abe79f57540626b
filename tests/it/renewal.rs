//! Renewing tokens: before they expire, after they were refused, across processes, and against
//! authorization servers that fail in every way.
//!
//! In: whole programs with the tokens of an earlier sign-in. Out: signing in at the same time, and
//! being killed (`siblings`); when a renewal is due (`src/proto/auth/token.rs`).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use mcp_bridge::proto::auth::key::{Parts, store_key};
use serde_json::{Value, json};

use crate::sign_in::own_port;
use crate::support::{
    AuthServer, AuthWorld, Bridge, Gate, Guard, Home, Legacy, Reply, Rules, auth_world,
    oauth_error, rpc,
};

const PATIENCE: Duration = Duration::from_secs(90);
const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

fn start(world: &AuthWorld) -> Bridge {
    world.bridge().start().patience(PATIENCE)
}

#[track_caller]
fn echoes(bridge: &mut Bridge) {
    let response = bridge.request("tools/call", rpc::echo_params("hello"));
    assert_echo(&response, "hello");
}

#[track_caller]
fn assert_echo(response: &Value, text: &str) {
    assert_eq!(response["result"]["content"][0]["text"], text, "{response}");
}

/// A call that has to fail with an error of the bridge's own; its message.
#[track_caller]
fn fails(bridge: &mut Bridge, kind: &str) -> String {
    let response = bridge.request("tools/call", rpc::echo_params("hello"));
    let error = &response["error"];
    assert_eq!(error["data"]["kind"], kind, "{response}");
    error["message"].as_str().unwrap().to_owned()
}

/// A world in which a bridge is signed in and at work.
fn at_work(rules: impl FnOnce(&mut Rules)) -> (AuthWorld, Bridge) {
    let world = AuthWorld::with(Legacy::sessions(), rules, |_| {});
    let mut bridge = start(&world);
    bridge.handshake();
    echoes(&mut bridge);
    (world, bridge)
}

/// A world in which somebody was signed in by a process that has ended.
fn signed_in(rules: impl FnOnce(&mut Rules)) -> AuthWorld {
    let (world, bridge) = at_work(rules);
    bridge.finish();
    world
}

fn tokens_path(world: &AuthWorld) -> PathBuf {
    stored(world, "_tokens.json").expect("there are tokens")
}

fn stored(world: &AuthWorld, end: &str) -> Option<PathBuf> {
    let folder = world.home.config_dir().join("mcp-remote-v1");
    let paths = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut found = paths.filter(|path| path.to_string_lossy().ends_with(end));
    found.next()
}

fn tokens(world: &AuthWorld) -> Value {
    serde_json::from_slice(&fs::read(tokens_path(world)).unwrap()).unwrap()
}

fn unix_millis() -> i64 {
    i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

/// Moves the time at which the stored token expires, counted from now, and its life. Both in
/// milliseconds.
fn expires(world: &AuthWorld, from_now: i64, life: i64) {
    let mut tokens = tokens(world);
    tokens["expires_at"] = json!(unix_millis() + from_now);
    tokens["expires_in"] = json!(life / 1000);
    fs::write(tokens_path(world), tokens.to_string()).unwrap();
}

fn renewals(world: &AuthWorld) -> usize {
    world.auth.grants("refresh_token").len()
}

// When.

#[test]
fn d07_a_token_is_renewed_before_it_expires() {
    let world = signed_in(|_| {});
    expires(&world, 30_000, 60 * MINUTE);
    let mut bridge = start(&world);
    bridge.handshake();
    echoes(&mut bridge);
    bridge.finish();
    assert_eq!(renewals(&world), 1);
    assert_eq!(world.guard.refusals(), 1, "the very first request alone");
    assert_eq!(world.launcher.count(), 1);
}

#[test]
fn d07_a_short_token_is_not_renewed_again_and_again() {
    let (world, mut bridge) = at_work(|rules| rules.expires_in = Some(60));
    for _ in 0..40 {
        echoes(&mut bridge);
    }
    assert_eq!(renewals(&world), 0);
}

#[test]
fn d07_a_token_that_lives_is_used_while_it_cannot_be_renewed() {
    let world = signed_in(|_| {});
    for reply in [503, 429, 500, 200] {
        expires(&world, 10 * MINUTE, 10 * 60 * MINUTE);
        expires(&world, 50_000, 60 * MINUTE);
        let asked = world.auth.count("/token");
        world.auth.on("/token", move |_| {
            Reply::status(reply).header("retry-after", "60")
        });
        let mut bridge = start(&world);
        bridge.handshake();
        for _ in 0..5 {
            echoes(&mut bridge);
        }
        let ended = bridge.finish();
        assert_eq!(world.auth.count("/token"), asked + 1, "{reply}");
        assert!(
            ended.stderr.contains("[refresh_unavailable]"),
            "{}",
            ended.stderr
        );
    }
    assert_eq!(world.guard.refusals(), 1, "the very first request alone");
    assert_eq!(world.launcher.count(), 1);
    world.auth.on("/token", super::support::Visit::usual);
    let mut bridge = start(&world);
    bridge.handshake();
    assert_eq!(renewals(&world), 5);
}

#[test]
fn d08_a_token_without_expiry_survives_a_start_and_is_renewed_once_it_is_refused() {
    let world = signed_in(|rules| rules.expires_in = None);
    let mut bridge = start(&world);
    bridge.handshake();
    echoes(&mut bridge);
    assert_eq!(renewals(&world), 0);
    world.auth.end_access_tokens();
    echoes(&mut bridge);
    assert_eq!(renewals(&world), 1);
    assert_eq!(world.launcher.count(), 1);
}

#[test]
fn d09_clocks_that_jump_open_no_browser() {
    for (what, from_now, renewed) in [
        ("a day ahead when it was written", DAY, 0),
        ("a day behind when it was written", -DAY, 1),
    ] {
        let world = signed_in(|_| {});
        expires(&world, from_now + 60 * MINUTE, 60 * MINUTE);
        let mut bridge = start(&world);
        bridge.handshake();
        echoes(&mut bridge);
        bridge.finish();
        assert_eq!(renewals(&world), renewed, "{what}");
        assert_eq!(world.launcher.count(), 1, "{what}");
    }
}

#[test]
fn d09_a_dead_token_of_a_clock_that_was_ahead_is_renewed_without_a_browser() {
    let world = signed_in(|_| {});
    expires(&world, DAY, 60 * MINUTE);
    world.auth.end_access_tokens();
    let mut bridge = start(&world);
    bridge.handshake();
    echoes(&mut bridge);
    assert_eq!(renewals(&world), 1);
    assert_eq!(world.launcher.count(), 1);
}

// One at a time.

#[test]
fn a28_d14_d20_a_hundred_refused_calls_renew_once() {
    let (world, bridge) = at_work(|_| {});
    world.auth.end_access_tokens();
    for id in 0..100 {
        bridge.send(&rpc::echo(id, &format!("call {id}")));
    }
    for id in 0..100 {
        assert_echo(&bridge.response(id), &format!("call {id}"));
    }
    assert_eq!(renewals(&world), 1);
    assert_eq!(world.launcher.count(), 1);
}

#[test]
fn d14_a_hundred_calls_with_a_token_that_is_due_renew_once() {
    let world = signed_in(|_| {});
    let mut bridge = start(&world);
    bridge.handshake();
    expires(&world, -MINUTE, 60 * MINUTE);
    for id in 0..100 {
        bridge.send(&rpc::echo(id, &format!("call {id}")));
    }
    for id in 0..100 {
        assert_echo(&bridge.response(id), &format!("call {id}"));
    }
    assert_eq!(renewals(&world), 1);
    assert_eq!(world.auth.reuses(), 0);
}

#[test]
fn d14_a_renewal_that_fails_fails_for_all_who_wait_for_it() {
    let (world, bridge) = at_work(|_| {});
    let before = tokens(&world);
    world.auth.end_access_tokens();
    world.auth.on("/token", |_| Reply::text(503, "down"));
    for id in 0..20 {
        bridge.send(&rpc::echo(id, "hello"));
    }
    for id in 0..20 {
        let response = bridge.response(id);
        let kind = &response["error"]["data"]["kind"];
        assert_eq!(*kind, "refresh_unavailable", "{response}");
    }
    // Three tries for those that were refused first, and for those that were held back meanwhile.
    let tries = renewals(&world);
    assert!((3..=9).contains(&tries), "{tries} tries for 20 calls");
    assert_eq!(tokens(&world), before);
    assert_eq!(world.launcher.count(), 1);
}

#[test]
fn d13_twelve_processes_with_one_expired_token_renew_once() {
    let world = signed_in(|_| {});
    expires(&world, -MINUTE, 60 * MINUTE);
    world.auth.end_access_tokens();
    let mut bridges: Vec<Bridge> = (0..12).map(|_| start(&world)).collect();
    for bridge in &bridges {
        bridge.send(&rpc::initialize("init", rpc::VERSION));
    }
    for bridge in &mut bridges {
        let response = bridge.response("init");
        assert!(response.get("result").is_some(), "{response}");
        bridge.send(&rpc::initialized());
        echoes(bridge);
    }
    assert_eq!(renewals(&world), 1);
    assert_eq!(world.auth.reuses(), 0);
    assert_eq!(world.launcher.count(), 1);
}

#[test]
fn d13_d20_processes_at_work_use_what_another_one_renewed() {
    let (world, first) = at_work(|_| {});
    let mut bridges = vec![first];
    for _ in 0..5 {
        let mut bridge = start(&world);
        bridge.handshake();
        bridges.push(bridge);
    }
    for round in 1..=3 {
        world.auth.end_access_tokens();
        for bridge in &bridges {
            bridge.send(&rpc::echo(round, "hello"));
        }
        for bridge in &bridges {
            assert_echo(&bridge.response(round), "hello");
        }
        assert_eq!(renewals(&world), round);
    }
    assert_eq!(world.auth.reuses(), 0);
    assert_eq!(world.launcher.count(), 1);
}

/// Tokens of two seconds, a server that revokes everything when a refresh token comes twice, and
/// calls from everybody all the time. A minute with `MCP_BRIDGE_LONG` in the environment.
#[test]
fn d13_d14_d16_six_processes_with_tokens_of_two_seconds() {
    let long = std::env::var_os("MCP_BRIDGE_LONG").is_some();
    let time = Duration::from_secs(if long { 60 } else { 15 });
    let (world, first) = at_work(|rules| rules.expires_in = Some(2));
    let mut bridges = vec![first];
    for _ in 0..5 {
        let mut bridge = start(&world);
        bridge.handshake();
        bridges.push(bridge);
    }
    let began = Instant::now();
    std::thread::scope(|scope| {
        for bridge in &mut bridges {
            scope.spawn(move || {
                while began.elapsed() < time {
                    echoes(bridge);
                    std::thread::sleep(Duration::from_millis(30));
                }
            });
        }
    });
    assert_eq!(world.auth.reuses(), 0);
    assert_eq!(world.launcher.count(), 1, "browser windows");
    // A token is used for at least 2 s less 1.1 times its fifth.
    let most = began.elapsed().as_millis() / 1500 + 3;
    let renewals = renewals(&world);
    assert!(
        renewals as u128 <= most,
        "{renewals} renewals, {most} at most"
    );
    assert!(renewals > 4, "{renewals}");
}

// What the server says.

#[test]
fn d11_what_a_renewal_does_not_mention_stays() {
    let (world, mut bridge) = at_work(|rules| rules.rotation = false);
    let first = tokens(&world);
    for (rotates, number) in [(false, 1), (true, 2), (false, 3)] {
        world.auth.rules(|rules| rules.rotation = rotates);
        world.auth.end_access_tokens();
        let before = tokens(&world);
        echoes(&mut bridge);
        let after = tokens(&world);
        assert_eq!(renewals(&world), number);
        assert_ne!(before["access_token"], after["access_token"]);
        let kept = before["refresh_token"] == after["refresh_token"];
        assert_eq!(kept, !rotates, "renewal {number}");
        assert_eq!(first["issuer"], after["issuer"]);
        assert!(after["expires_at"].is_u64());
    }
    bridge.finish();
    let mut next = start(&world);
    next.handshake();
    assert_eq!(world.launcher.count(), 1);
}

#[test]
fn d15_a_lost_answer_is_asked_for_once_more() {
    let (world, mut bridge) = at_work(|rules| rules.reuse_detection = false);
    world.auth.end_access_tokens();
    world.auth.on_nth("/token", 1, |visit| {
        drop(visit.usual());
        Reply::cut_before_head()
    });
    echoes(&mut bridge);
    assert_eq!(renewals(&world), 2);
    assert_eq!(world.launcher.count(), 1);
}

#[test]
fn d15_d16_where_a_token_may_not_come_twice_a_lost_answer_costs_a_sign_in() {
    let (world, mut bridge) = at_work(|_| {});
    world.auth.end_access_tokens();
    world.auth.on_nth("/token", 1, |visit| {
        drop(visit.usual());
        Reply::cut_before_head()
    });
    echoes(&mut bridge);
    assert_eq!(renewals(&world), 2);
    assert_eq!(world.launcher.count(), 2);
    assert_eq!(world.auth.registrations().len(), 1);
    let ended = bridge.finish();
    assert!(ended.stderr.contains("probably lost"), "{}", ended.stderr);
}

#[test]
fn d16_a_dead_refresh_token_costs_one_sign_in_and_no_request() {
    let (world, mut bridge) = at_work(|_| {});
    let before = world.auth.last_token();
    world.auth.end_access_tokens();
    world.auth.end_refresh_tokens();
    echoes(&mut bridge);
    assert_eq!(renewals(&world), 1);
    assert_eq!(world.launcher.count(), 2);
    assert_eq!(world.auth.registrations().len(), 1);
    assert_ne!(tokens(&world)["access_token"], json!(before));
    let ended = bridge.finish();
    assert!(
        ended.stderr.contains("[refresh_rejected]"),
        "{}",
        ended.stderr
    );
}

#[test]
fn d16_many_processes_with_a_dead_refresh_token_sign_in_once() {
    let (world, first) = at_work(|_| {});
    let mut bridges = vec![first];
    for _ in 0..5 {
        let mut bridge = start(&world);
        bridge.handshake();
        bridges.push(bridge);
    }
    for round in 1..=3 {
        world.auth.end_access_tokens();
        world.auth.end_refresh_tokens();
        for bridge in &bridges {
            bridge.send(&rpc::echo(round, "hello"));
        }
        for bridge in &bridges {
            assert_echo(&bridge.response(round), "hello");
        }
        assert_eq!(world.launcher.count(), round + 1, "browser windows");
        assert_eq!(renewals(&world), round, "a dead token is shown once");
    }
}

#[test]
fn d17_an_authorization_server_that_is_away_costs_nothing() {
    for how in ["before the start", "at work"] {
        let world = signed_in(|_| {});
        let mut bridge = start(&world);
        if how == "at work" {
            bridge.handshake();
            echoes(&mut bridge);
        }
        let before = tokens(&world);
        world.auth.end_access_tokens();
        world.auth.stop();
        if how == "at work" {
            let text = fails(&mut bridge, "refresh_unavailable");
            assert!(text.contains("nothing is lost"), "{text}");
        } else {
            bridge.send(&rpc::initialize("first", rpc::VERSION));
            let response = bridge.response("first");
            let kind = &response["error"]["data"]["kind"];
            assert_eq!(*kind, "refresh_unavailable", "{response}");
        }
        assert_eq!(tokens(&world), before, "{how}");
        world.auth.restart();
        if how != "at work" {
            bridge.handshake();
        }
        echoes(&mut bridge);
        bridge.finish();
        assert_eq!(renewals(&world), 1, "{how}");
        assert_eq!(world.launcher.count(), 1, "{how}");
    }
}

#[test]
fn d17_an_expired_token_and_nobody_to_renew_it() {
    let world = signed_in(|_| {});
    expires(&world, -MINUTE, 60 * MINUTE);
    world.auth.end_access_tokens();
    world.auth.stop();
    let mut bridge = start(&world);
    bridge.send(&rpc::initialize("first", rpc::VERSION));
    let response = bridge.response("first");
    let kind = &response["error"]["data"]["kind"];
    assert_eq!(*kind, "refresh_unavailable", "{response}");
    world.auth.restart();
    bridge.handshake();
    echoes(&mut bridge);
    assert_eq!(renewals(&world), 1);
    assert_eq!(world.launcher.count(), 1);
}

#[test]
fn d17_answers_that_mean_nothing_are_tried_again() {
    type Answer = fn() -> Reply;
    let answers: [(&str, Answer); 5] = [
        ("503", || Reply::text(503, "down")),
        ("500 with a code", || oauth_error(500, "invalid_grant")),
        ("429", || Reply::status(429).header("retry-after", "1")),
        ("no JSON", || Reply::html(200, "<h1>Welcome</h1>")),
        ("half of it", || Reply::json_text("{\"access_token\":")),
    ];
    let (world, mut bridge) = at_work(|_| {});
    for (what, answer) in answers {
        world.auth.end_access_tokens();
        let before = tokens(&world);
        let asked = world.auth.count("/token");
        world.auth.on_nth("/token", 1, move |_| answer());
        let response = bridge.request("tools/call", rpc::echo_params("hello"));
        if response.get("error").is_some() {
            let kind = &response["error"]["data"]["kind"];
            assert_eq!(*kind, "refresh_unavailable", "{what}: {response}");
            assert_eq!(tokens(&world), before, "{what}");
            echoes(&mut bridge);
        }
        assert_eq!(world.auth.count("/token"), asked + 2, "{what}");
        assert_eq!(world.launcher.count(), 1, "{what}");
    }
}

#[test]
fn d18_a_forgotten_client_registers_and_signs_in_again() {
    let (world, mut bridge) = at_work(|_| {});
    world.auth.forget_everything();
    echoes(&mut bridge);
    assert_eq!(world.auth.registrations().len(), 2);
    assert_eq!(world.launcher.count(), 2);
    assert_eq!(world.auth.count("/token"), 3);
}

#[test]
fn d18_a_client_of_the_users_own_that_is_refused_is_named_and_nothing_is_thrown_away() {
    let world = auth_world();
    world
        .auth
        .add_client("mine", Some(("s3cret", "client_secret_post")));
    let info = json!({"client_id": "mine", "client_secret": "s3cret",
        "token_endpoint_auth_method": "client_secret_post"});
    let given = [
        own_port(),
        "--static-oauth-client-info".to_owned(),
        info.to_string(),
    ];
    let mut bridge = world.bridge().args(given).start().patience(PATIENCE);
    bridge.handshake();
    echoes(&mut bridge);
    world.auth.end_access_tokens();
    world
        .auth
        .on_nth("/token", 1, |_| oauth_error(401, "invalid_client"));
    let before = tokens(&world);
    let text = fails(&mut bridge, "client_rejected");
    assert!(text.contains("--static-oauth-client-info"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
    assert_eq!(tokens(&world), before);
    echoes(&mut bridge);
    assert_eq!(world.launcher.count(), 1);
    assert_eq!(world.auth.registrations().len(), 0);
}

#[test]
fn d10_h04_a_scope_that_is_missed_is_repeated() {
    let world = signed_in(|_| {});
    world.auth.on("/token", |visit| {
        if visit.get("grant_type") == Some("refresh_token") && visit.get("scope").is_none() {
            let body = r#"{"error":"invalid_request","error_description":"AADSTS90009: scope is missing"}"#;
            return Reply::json_text(body.to_owned()).with_status(400);
        }
        visit.usual()
    });
    expires(&world, -MINUTE, 60 * MINUTE);
    let mut bridge = start(&world);
    bridge.handshake();
    echoes(&mut bridge);
    bridge.finish();
    assert_eq!(world.launcher.count(), 1, "browser windows");
}

#[test]
fn d19_an_odd_refusal_counts_the_second_time() {
    for code in ["invalid_request", "interaction_required", "invalid_target"] {
        let (world, mut bridge) = at_work(|_| {});
        world.auth.end_access_tokens();
        let before = tokens(&world);
        world
            .auth
            .on("/token", move |visit| match visit.get("grant_type") {
                Some("refresh_token") => oauth_error(400, code),
                _ => visit.usual(),
            });
        let text = fails(&mut bridge, "refresh_unavailable");
        assert!(text.contains(code), "{text}");
        assert_eq!(tokens(&world), before, "{code}");
        assert_eq!(world.launcher.count(), 1, "{code}");
        // The second time may be another process's.
        bridge.finish();
        let mut next = start(&world);
        next.handshake();
        echoes(&mut next);
        assert_eq!(world.launcher.count(), 2, "{code}");
        assert_eq!(renewals(&world), 2, "{code}");
    }
}

/// As small servers refuse: in words of their own, without a code.
#[test]
fn d19_a_refusal_in_plain_words_locks_nobody_out() {
    let (world, mut bridge) = at_work(|_| {});
    world.auth.end_access_tokens();
    world
        .auth
        .on("/token", |visit| match visit.get("grant_type") {
            Some("refresh_token") => {
                Reply::json(&json!({"detail": "no such token"})).with_status(401)
            }
            _ => visit.usual(),
        });
    let text = fails(&mut bridge, "refresh_unavailable");
    assert!(text.contains("no such token"), "{text}");
    assert_eq!(world.launcher.count(), 1);
    echoes(&mut bridge);
    assert_eq!(world.launcher.count(), 2);
    assert_eq!(renewals(&world), 2);
}

#[test]
fn d19_an_odd_refusal_that_does_not_come_again_costs_nothing() {
    let (world, mut bridge) = at_work(|_| {});
    for _ in 0..3 {
        world.auth.end_access_tokens();
        world.auth.fail_nth("/token", 1, 400, "invalid_request");
        fails(&mut bridge, "refresh_unavailable");
        echoes(&mut bridge);
    }
    assert_eq!(world.launcher.count(), 1);
}

// What the MCP server says.

#[test]
fn d20_a_token_that_ended_early_is_renewed_without_a_browser() {
    let (world, mut bridge) = at_work(|_| {});
    world.auth.end_access_tokens();
    echoes(&mut bridge);
    world
        .remote
        .expire_sessions(crate::support::Refusal::NotFound);
    world.auth.end_access_tokens();
    echoes(&mut bridge);
    assert_eq!(renewals(&world), 2);
    assert_eq!(world.launcher.count(), 1);
}

#[test]
fn d21_a_large_call_is_sent_again_and_answered_once() {
    let (world, mut bridge) = at_work(|_| {});
    world.auth.end_access_tokens();
    let text = "x".repeat(5 << 20);
    let response = bridge.request("tools/call", rpc::echo_params(&text));
    assert_eq!(response["result"]["content"][0]["text"], text);
    let sent = world.remote.calls_of("tools/call");
    assert_eq!(sent.len(), 3, "the first call, the refused one, the other");
    assert_ne!(
        sent[1].header("authorization"),
        sent[2].header("authorization")
    );
    assert_eq!(sent[1].body, sent[2].body);
}

#[test]
fn d22_a_server_that_refuses_every_token_is_not_asked_for_ever() {
    let (world, mut bridge) = at_work(|_| {});
    world.guard.door(|door| door.refuses_all = true);
    let asked = world.remote.calls().len();
    let text = fails(&mut bridge, "auth_loop");
    assert!(text.contains("clock"), "{text}");
    assert_eq!(renewals(&world), 1);
    assert_eq!(world.launcher.count(), 2);
    let once = world.remote.calls().len() - asked;
    assert!(once <= 12, "{once} requests for one call");
    for _ in 0..10 {
        fails(&mut bridge, "auth_loop");
    }
    assert!(world.launcher.count() <= 3, "browser windows");
    assert!(world.auth.count("/token") <= 6, "token requests");
    world.guard.door(|door| door.refuses_all = false);
    echoes(&mut bridge);
}

#[test]
fn d20_d22_a_new_token_that_expires_before_it_is_ever_accepted_is_renewed_not_replaced() {
    let late = Gate::new();
    let held = late.clone();
    let calls = AtomicUsize::new(0);
    let legacy = Legacy::sessions().on("tools/call", move |_| {
        match calls.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::status(401).header("www-authenticate", "Bearer error=\"invalid_token\""),
            1 => Reply::status(401)
                .header("www-authenticate", "Bearer error=\"invalid_token\"")
                .after(&held),
            _ => Reply::usual(),
        }
    });
    let world = AuthWorld::with(legacy, |_| {}, |_| {});
    let mut bridge = start(&world);
    bridge.handshake();
    world
        .auth
        .rules(|rules| rules.token_edits = json!({"expires_in": 1}));
    bridge.send(&rpc::echo(1, "hello"));
    world.remote.wait_nth("tools/call", 2);
    let expiry = tokens(&world)["expires_at"].as_i64().unwrap();
    while unix_millis() <= expiry {
        std::thread::sleep(Duration::from_millis(10));
    }
    world.auth.rules(|rules| rules.token_edits = json!({}));
    late.open();
    assert_echo(&bridge.response(1), "hello");
    assert_eq!(renewals(&world), 2);
    assert_eq!(world.launcher.count(), 1);
}

// Locks.

/// What `mcp-remote` and the bridge call this server.
fn key(world: &AuthWorld) -> String {
    let url = world.remote.url();
    store_key(&Parts {
        url: &url,
        ..Parts::default()
    })
}

#[test]
fn f11_while_another_process_renews_the_bridge_takes_cancellations_and_ends() {
    let (world, bridge) = at_work(|_| {});
    let lock = format!("mcp-bridge/{}.renewal.lock", key(&world));
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(world.home.config_dir().join(lock))
        .unwrap();
    lock.lock().unwrap();
    world.auth.end_access_tokens();
    bridge.send(&rpc::echo(1, "never mind"));
    bridge.send(&rpc::echo(2, "hello"));
    world.remote.wait_for(|calls| {
        let refused = calls.iter().filter(|call| call.key() == "tools/call");
        refused.count() == 3
    });
    bridge.notify("notifications/cancelled", json!({"requestId": 1}));
    // A bad line is answered at once: the loop goes on.
    bridge.send_raw("{\"jsonrpc\":\"2.0\",\"id\":7}\n");
    let response = bridge.response(7);
    assert_eq!(response["error"]["code"], -32600, "{response}");
    assert_eq!(renewals(&world), 0);
    let mut other = start(&world);
    other.send(&rpc::initialize("init", rpc::VERSION));
    other.close_stdin();
    let ended = other.ended();
    assert!(ended.status.success(), "{}", ended.stderr);
    drop(lock);
    assert_echo(&bridge.response(2), "hello");
    assert_eq!(renewals(&world), 1);
    bridge.finish();
}

#[test]
fn f10_d13_a_lease_of_mcp_remote_is_waited_for_while_its_process_lives() {
    let (world, mut bridge) = at_work(|_| {});
    let lease = world.home.config_dir().join("mcp-remote-v1");
    let lease = lease.join(format!("{}_refresh_in_progress.json", key(&world)));
    let holder = |pid: u32| json!({"pid": pid, "nonce": "theirs", "at": unix_millis()}).to_string();
    // As `mcp-remote` does: lease, tokens, no lease.
    fs::write(&lease, holder(std::process::id())).unwrap();
    world.auth.end_access_tokens();
    bridge.send(&rpc::echo(1, "hello"));
    world.remote.wait_for(|calls| {
        let refused = calls.iter().filter(|call| call.key() == "tools/call");
        refused.count() == 2
    });
    let theirs = renew_elsewhere(&world);
    assert_eq!(renewals(&world), 1);
    let mut file = tokens(&world);
    for name in ["access_token", "refresh_token"] {
        file[name] = theirs[name].clone();
    }
    fs::write(tokens_path(&world), file.to_string()).unwrap();
    fs::remove_file(&lease).unwrap();
    assert_echo(&bridge.response(1), "hello");
    assert_eq!(
        renewals(&world),
        1,
        "what the other program renewed is used"
    );

    // One that is dead holds nobody up.
    world.auth.end_access_tokens();
    fs::write(&lease, holder(4_194_305)).unwrap();
    echoes(&mut bridge);
    assert_eq!(renewals(&world), 2);
    assert!(!lease.exists());
    assert_eq!(world.auth.reuses(), 0);
    assert_eq!(world.launcher.count(), 1);
}

/// Renews as another program would, with the tokens in the store; the answer.
fn renew_elsewhere(world: &AuthWorld) -> Value {
    use std::io::{Read as _, Write as _};

    let client = stored(world, "_client_info.json").unwrap();
    let client: Value = serde_json::from_slice(&fs::read(client).unwrap()).unwrap();
    let tokens = tokens(world);
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "refresh_token")
        .append_pair("refresh_token", tokens["refresh_token"].as_str().unwrap())
        .append_pair("client_id", client["client_id"].as_str().unwrap())
        .append_pair("resource", &world.remote.url())
        .finish();
    let mut socket = std::net::TcpStream::connect(world.auth.address()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        socket,
        "POST /token HTTP/1.1\r\nhost: {}\r\nconnection: close\r\naccept: application/json\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        world.auth.address(),
        form.len()
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

// What `mcp-remote` left.

/// A file of `mcp-remote` with other values in it.
fn fixture(name: &str, values: &[(&str, Value)]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/mcp-remote");
    let text = fs::read_to_string(folder.join(name)).unwrap();
    let mut members: Value = serde_json::from_str(&text).unwrap();
    for (name, value) in values {
        // What a file does not say it does not say now.
        if let Some(member) = members.get_mut(*name) {
            *member = value.clone();
        }
    }
    serde_json::to_string_pretty(&members).unwrap()
}

/// A home in which `mcp-remote` is signed in, in one of the ways it has of saying so, to a server
/// that knows what is in it.
#[track_caller]
fn works_with_what_mcp_remote_left(kind: &str, is_alive: bool) {
    let method = match kind {
        "confidential" => "client_secret_post",
        "copied-from-0.1" => "client_secret_basic",
        _ => "none",
    };
    let auth = AuthServer::with(|rules| rules.client_methods = vec![method.to_owned()]);
    let guard = Guard::of(&auth);
    let mut world = AuthWorld::around(Legacy::sessions(), auth, guard);
    let mut bridge = start(&world);
    bridge.handshake();
    bridge.finish();
    let client = stored(&world, "_client_info.json").unwrap();
    let client: Value = serde_json::from_slice(&fs::read(client).unwrap()).unwrap();
    let known = tokens(&world);
    let from_now = if is_alive { 60 * MINUTE } else { -MINUTE };
    let values = [
        ("access_token", known["access_token"].clone()),
        ("refresh_token", known["refresh_token"].clone()),
        ("expires_at", json!(unix_millis() + from_now)),
        ("client_id", client["client_id"].clone()),
        ("client_secret", client["client_secret"].clone()),
        ("redirect_uris", client["redirect_uris"].clone()),
        ("issuer", json!(world.auth.issuer())),
    ];
    let from = if kind == "in-between" {
        "signed-in"
    } else {
        kind
    };
    let home = Home::new();
    for name in ["tokens", "client_info"] {
        let text = fixture(&format!("{from}/{name}.json"), &values);
        let name = format!(".mcp-auth/mcp-remote-v1/{}_{name}.json", key(&world));
        home.write(&name, text);
    }
    if kind == "in-between" {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/mcp-remote");
        for entry in fs::read_dir(folder.join(kind)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let name = format!(".mcp-auth/mcp-remote-v1/{}_{name}", key(&world));
            home.write(&name, fs::read(entry.path()).unwrap());
        }
    }
    world.home = Arc::new(home);
    let has_refresh = kind != "confidential";
    if !is_alive && has_refresh {
        world.auth.end_access_tokens();
    }
    let (registered, asked) = (world.auth.registrations().len(), renewals(&world));
    for _ in 0..2 {
        let mut bridge = start(&world);
        bridge.handshake();
        echoes(&mut bridge);
        bridge.finish();
    }
    assert_eq!(world.launcher.count(), 1, "{kind}: browser windows");
    assert_eq!(world.auth.registrations().len(), registered, "{kind}");
    let renewed = usize::from(!is_alive && has_refresh);
    assert_eq!(
        renewals(&world),
        asked + renewed,
        "{kind}, alive: {is_alive}"
    );
}

#[test]
fn f08_a_sign_in_of_mcp_remote_needs_no_other() {
    for kind in [
        "signed-in",
        "refreshed",
        "confidential",
        "copied-from-0.1",
        "in-between",
        "recorded-small-server",
        "recorded-oidc-provider",
        "recorded-renewed",
    ] {
        works_with_what_mcp_remote_left(kind, true);
        works_with_what_mcp_remote_left(kind, false);
    }
}
