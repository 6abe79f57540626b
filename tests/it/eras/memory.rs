//! Which era a server is of, as it is found out, remembered from one start to the next, and found
//! out again when it was wrong.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ask, end, result, said, shake};
use crate::support::{
    Bridge, Call, DEADLINE, Home, Legacy, Modern, ModernRemote, Round, Side, Unaware, auth_world,
    form, rpc,
};

fn start(url: &str, home: &Arc<Home>) -> Bridge {
    Bridge::to(url).home(home).start()
}

/// Handshake, one call, the end.
#[track_caller]
fn conversation(url: &str, home: &Arc<Home>) {
    let mut bridge = start(url, home);
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("hi"));
    assert_eq!(said(&response), "hi");
    bridge.finish();
}

/// Everything that the bridge keeps of its own below a home.
fn remembered(home: &Home) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![home.config_dir().join("mcp-bridge")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found
}

fn count(calls: &[Call], key: &str) -> usize {
    calls.iter().filter(|call| call.key() == key).count()
}

/// A server of both eras.
fn both(legacy: Legacy) -> Modern {
    Modern::new()
        .capabilities(json!({"tools": {}}))
        .beside(legacy)
}

#[test]
fn t89_a_session_ends_because_the_server_became_a_newer_one() {
    let remote = both(Legacy::sessions()).side(Side::Legacy).start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("one"));
    assert_eq!(said(&response), "one");
    remote.turn(Side::Modern);
    let response = bridge.request("tools/call", rpc::echo_params("two"));
    assert_eq!(said(&response), "two");
    let stated = |call: &Call| call.stated("protocolVersion").is_string();
    assert_eq!(remote.calls_of("server/discover").len(), 1);
    assert!(stated(remote.calls_of("tools/call").last().unwrap()));
    let response = bridge.request("tools/list", Value::Null);
    assert_eq!(result(&response)["tools"][0]["name"], "echo");
    bridge.finish();
    assert_eq!(remote.calls_of("initialize").len(), 2);
}

#[test]
fn t171_a_server_without_a_handshake_is_remembered() {
    let remote = Modern::new().start();
    let home = Arc::new(Home::new());
    conversation(&remote.url(), &home);
    assert_eq!(remote.calls_of("initialize").len(), 1);
    conversation(&remote.url(), &home);
    assert_eq!(remote.calls_of("initialize").len(), 1);
}

#[test]
fn t171_a_first_start_that_signs_in_is_remembered_for_who_signed_in() {
    let world = auth_world();
    world.remote.may_stay_uncalled();
    let remote = Modern::new().guarded(&world.guard).start();
    let start = || world.bridge_to(&remote.url()).start();
    for _ in 0..2 {
        let mut bridge = start();
        bridge.handshake();
        let response = bridge.request("tools/call", rpc::echo_params("hi"));
        assert_eq!(said(&response), "hi");
        bridge.finish();
    }
    assert_eq!(world.launcher.count(), 1);
    // The first start asked twice: before it had signed in, and after.
    let served = |call: &&Call| call.header("authorization").is_some();
    let calls = remote.calls_of("initialize");
    assert_eq!(calls.iter().filter(served).count(), 1, "{calls:#?}");
}

#[test]
fn t172_a_server_that_became_an_older_one_is_found_out() {
    let remote = both(Legacy::sessions()).side(Side::Modern).start();
    let home = Arc::new(Home::new());
    conversation(&remote.url(), &home);
    remote.turn(Side::Legacy);
    let before = remote.calls().len();
    conversation(&remote.url(), &home);
    let calls = remote.calls().split_off(before);
    let place = |key: &str| calls.iter().position(|call| call.key() == key);
    assert!(place("server/discover") < place("initialize"), "{calls:#?}");
    assert_eq!(count(&calls, "server/discover"), 1);
    assert_eq!(count(&calls, "initialize"), 1);
    let before = remote.calls().len();
    conversation(&remote.url(), &home);
    let calls = remote.calls().split_off(before);
    assert_eq!(calls[0].key(), "initialize");
    assert_eq!(count(&calls, "server/discover"), 0);
}

#[test]
fn t173_an_http_sse_server_is_remembered() {
    let remote = Legacy::http_sse().start();
    let home = Arc::new(Home::new());
    conversation(&remote.url(), &home);
    assert_eq!(remote.calls()[0].verb, "POST");
    let before = remote.calls().len();
    conversation(&remote.url(), &home);
    let calls = remote.calls().split_off(before);
    assert_eq!(calls[0].verb, "GET");
    assert_eq!(count(&calls, "initialize"), 1);
}

/// Asks for lists until one is asked for in the words of 2026-07-28.
#[track_caller]
fn upgraded(bridge: &mut Bridge, remote: &ModernRemote) {
    let until = Instant::now() + DEADLINE;
    loop {
        result(&bridge.request("tools/list", Value::Null));
        let last = remote.calls_of("tools/list").pop().unwrap();
        if last.stated("protocolVersion").is_string() {
            return;
        }
        assert!(Instant::now() < until, "{:#?}", remote.calls());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn t174_a_client_that_can_be_asked_is_served_where_it_can() {
    let rounds = [Round::asking(json!({"size": form("Which size?")}))];
    let done = json!({"content": [{"type": "text", "text": "done"}]});
    let remote = both(Legacy::free().capabilities(json!({"tools": {}})))
        .asks("order", &rounds, done)
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    shake(&bridge, rpc::VERSION, &json!({"elicitation": {}}));
    assert_eq!(remote.keys()[0], "initialize");
    remote.wait_call("server/discover");
    upgraded(&mut bridge, &remote);
    bridge.send(&rpc::request(1, "tools/call", json!({"name": "order"})));
    let question = bridge.recv_method("elicitation/create");
    let answer = json!({"action": "decline"});
    bridge.send(&rpc::response(question["id"].clone(), answer));
    assert_eq!(said(&bridge.response(1)), "done");
    bridge.finish();
    assert_eq!(remote.calls_of("server/discover").len(), 1);
    assert_eq!(remote.calls_of("initialize").len(), 1);
}

#[test]
fn t175_t176_what_needs_no_newer_era_stays_in_the_older() {
    for (legacy, capabilities) in [
        (Legacy::free().capabilities(json!({"tools": {}})), json!({})),
        (Legacy::sessions(), json!({"elicitation": {}, "roots": {}})),
    ] {
        let remote = both(legacy).start();
        let mut bridge = Bridge::spawn(&remote.url());
        shake(&bridge, rpc::VERSION, &capabilities);
        for _ in 0..3 {
            let response = bridge.request("tools/call", rpc::echo_params("hi"));
            assert_eq!(said(&response), "hi");
        }
        bridge.finish();
        for call in remote.calls() {
            assert_ne!(call.key(), "server/discover");
            assert!(call.stated("protocolVersion").is_null(), "{call:?}");
        }
    }
}

#[test]
fn t177_a_memory_that_cannot_be_read_is_none() {
    let garble: [fn(&Path); 3] = [
        |path| std::fs::write(path, "{\"v\":1,\"era\":\"mod").unwrap(),
        |path| std::fs::write(path, b"\xff\xfe\0").unwrap(),
        |path| std::fs::write(path, "").unwrap(),
    ];
    for garble in garble {
        let remote = Modern::new().start();
        let home = Arc::new(Home::new());
        conversation(&remote.url(), &home);
        let paths = remembered(&home);
        assert!(!paths.is_empty(), "nothing was remembered");
        for path in &paths {
            garble(path);
        }
        let before = remote.calls().len();
        conversation(&remote.url(), &home);
        // It begins as with a server that was never met.
        assert_eq!(remote.calls()[before].key(), "initialize");
        let initialized = remote.calls_of("initialize").len();
        conversation(&remote.url(), &home);
        assert_eq!(remote.calls_of("initialize").len(), initialized);
    }
}

#[test]
fn t178_two_at_once_remember_the_same() {
    let remote = Modern::new().start();
    let home = Arc::new(Home::new());
    let url = remote.url();
    let mut pair = [start(&url, &home), start(&url, &home)];
    for bridge in &pair {
        bridge.send(&rpc::initialize("init", rpc::VERSION));
    }
    for bridge in &mut pair {
        result(&bridge.response("init"));
        bridge.send(&rpc::initialized());
        let response = bridge.request("tools/call", rpc::echo_params("hi"));
        assert_eq!(said(&response), "hi");
    }
    for bridge in pair {
        bridge.finish();
    }
    let initialized = remote.calls_of("initialize").len();
    conversation(&url, &home);
    assert_eq!(remote.calls_of("initialize").len(), initialized);
}

#[test]
fn t179_a_server_that_discovers_older_revisions_gets_a_handshake() {
    let remote = Legacy::sessions().unaware(Unaware::Go).start();
    let bridge = Bridge::spawn(&remote.url());
    let response = ask(&bridge, 1, "server/discover", Value::Null);
    assert_eq!(result(&response)["resultType"], "complete");
    let initialize = remote.wait_call("initialize");
    assert_eq!(initialize.params()["protocolVersion"], "2025-11-25");
    let response = ask(&bridge, 2, "tools/call", rpc::echo_params("hi"));
    assert_eq!(said(&response), "hi");
    end(bridge);
    assert_eq!(remote.calls_of("server/discover").len(), 1);
}

#[test]
fn t180_a_server_that_fails_at_discovery_gets_a_handshake() {
    for how in [Unaware::Java, Unaware::Silence] {
        let remote = Legacy::free().unaware(how).start();
        let bridge = Bridge::spawn(&remote.url()).patience(3 * DEADLINE);
        let response = ask(&bridge, 1, "server/discover", Value::Null);
        assert_eq!(result(&response)["resultType"], "complete", "{how:?}");
        let response = ask(&bridge, 2, "tools/call", rpc::echo_params("hi"));
        assert_eq!(said(&response), "hi");
        end(bridge);
        assert_eq!(remote.calls_of("server/discover").len(), 1);
        assert_eq!(remote.calls_of("initialize").len(), 1);
    }
}
