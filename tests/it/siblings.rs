//! Many processes, one sign-in: started at once, killed at every point, left by their clients.
//!
//! In: what several processes on one store, or one after the other, do about signing in. Out:
//! renewing tokens (`renewal`), the store by itself (`src/edge/store/tests.rs`).

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    AuthWorld, Bridge, Browser, Decision, Gate, Legacy, Person, Reply, auth_world, rpc,
};

/// Everything that waits for several processes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// Pause between looks at a folder.
const LOOK: Duration = Duration::from_millis(2);

/// Starts a bridge and sends `initialize`, without waiting for anything.
fn begin(world: &AuthWorld) -> Bridge {
    let bridge = world.bridge().start().patience(PATIENCE);
    bridge.send(&rpc::initialize("init", rpc::VERSION));
    bridge
}

/// Waits for the answer to `initialize`, and makes a call.
#[track_caller]
fn works(bridge: &mut Bridge) {
    let response = bridge.response("init");
    assert!(response.get("result").is_some(), "{response}");
    bridge.send(&rpc::initialized());
    echoes(bridge);
}

#[track_caller]
fn echoes(bridge: &mut Bridge) {
    let response = bridge.request("tools/call", rpc::echo_params("hello"));
    assert_eq!(
        response["result"]["content"][0]["text"], "hello",
        "{response}"
    );
}

/// Starts a bridge that works, and lets it end.
#[track_caller]
fn one_more_works(world: &AuthWorld) {
    let mut bridge = begin(world);
    works(&mut bridge);
    bridge.finish();
}

/// As `kill -9` does.
fn kill(mut bridge: Bridge) {
    bridge.signal(Signal::KILL);
    bridge.wait_exit();
}

/// Opens the link that the launcher was given for the `nth` time.
#[track_caller]
fn follow(world: &AuthWorld, nth: usize) {
    let link = world.launcher.wait_start(nth).link().to_owned();
    let pages = Person::new().open(&link);
    let last = pages.last().unwrap();
    assert_eq!(last.status, 200, "{pages:?}");
}

/// Waits for something that only polling shows.
#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(LOOK);
    }
}

/// The files of the store below a folder, by name.
fn files(world: &AuthWorld, folder: &str) -> Vec<PathBuf> {
    let folder = world.home.config_dir().join(folder);
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn file_ending(world: &AuthWorld, folder: &str, end: &str) -> Option<PathBuf> {
    let found = files(world, folder);
    found
        .into_iter()
        .find(|path| path.to_string_lossy().ends_with(end))
}

/// Our own state of the one sign-in.
fn state(world: &AuthWorld) -> Value {
    let path = file_ending(world, "mcp-bridge", ".json").expect("there is a state");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// That the store holds one sign-in and nothing that a crash left behind.
#[track_caller]
fn store_is_tidy(world: &AuthWorld) {
    let mut names = Vec::new();
    for folder in ["mcp-remote-v1", "mcp-bridge"] {
        for path in files(world, folder) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.extension().is_none_or(|end| end != "lock") {
                let text = fs::read_to_string(&path).unwrap();
                let value: Result<Value, _> = serde_json::from_str(&text);
                assert!(value.is_ok(), "{name} is not whole");
                names.push(name.split_at(32).1.to_owned());
            }
        }
    }
    assert_eq!(names, ["_client_info.json", "_tokens.json", ".json"]);
    let state = state(world);
    for left in ["pending", "refresh_in_doubt", "suspicious"] {
        assert!(state.get(left).is_none(), "{left} is left behind");
    }
}

#[test]
fn a28_b22_c42_eight_processes_that_start_at_once_sign_in_once() {
    let world = auth_world();
    let mut bridges: Vec<Bridge> = (0..8).map(|_| begin(&world)).collect();
    bridges.iter_mut().for_each(works);
    assert_eq!(world.launcher.count(), 1, "browser windows");
    assert_eq!(world.auth.registrations().len(), 1);
    assert_eq!(world.auth.grants("authorization_code").len(), 1);
    assert_eq!(world.auth.count("/token"), 1);
    assert_eq!(world.remote.sessions_alive(), 8);
    for bridge in bridges {
        bridge.finish();
    }
    store_is_tidy(&world);
    one_more_works(&world);
    assert_eq!(world.launcher.count(), 1, "browser windows");
}

#[test]
fn c42_f14_a_killed_owner_costs_exactly_one_more_window() {
    let world = auth_world().browser(Browser::Waits);
    let owner = begin(&world);
    world.launcher.wait_start(1);
    let mut others: Vec<Bridge> = (0..4).map(|_| begin(&world)).collect();
    let waiting = format!("another process (PID {}) is signing in", owner.id());
    for other in &others {
        other.wait_stderr(&waiting);
    }
    kill(owner);
    follow(&world, 2);
    others.iter_mut().for_each(works);
    assert_eq!(world.launcher.count(), 2, "browser windows");
    assert_eq!(world.auth.registrations().len(), 1);
    assert_eq!(world.auth.grants("authorization_code").len(), 1);
    let links: Vec<String> = world
        .launcher
        .starts()
        .iter()
        .map(|start| start.link().to_owned())
        .collect();
    assert_ne!(links[0], links[1], "a request of the new owner's own");
    drop(others);
    store_is_tidy(&world);
}

#[test]
fn c42_a_process_that_waits_shows_the_link_of_the_one_that_has_the_turn() {
    let world = auth_world().browser(Browser::Waits);
    let mut owner = begin(&world);
    let link = world.launcher.wait_start(1).link().to_owned();
    let mut other = world
        .bridge()
        .args(["--initialize-wait", "1"])
        .start()
        .patience(PATIENCE);
    other.send(&rpc::initialize("init", rpc::VERSION));
    let response = other.response("init");
    other.send(&rpc::initialized());
    let instructions = response["result"]["instructions"].as_str().unwrap();
    assert!(instructions.contains(&link), "{instructions}");
    follow(&world, 1);
    works(&mut owner);
    for list in ["tools", "prompts", "resources"] {
        other.recv_method(&format!("notifications/{list}/list_changed"));
    }
    echoes(&mut other);
    assert_eq!(world.launcher.count(), 1, "browser windows");
}

/// Kills a bridge when `reached` says so; what comes later is answered as usual.
#[track_caller]
fn killed_when(world: &AuthWorld, gate: &Gate, reached: impl FnOnce()) {
    let bridge = begin(world);
    reached();
    kill(bridge);
    gate.open();
}

#[test]
fn f14_killed_while_registering() {
    for acted in [false, true] {
        let world = auth_world();
        let gate = Gate::new();
        let held = gate.clone();
        world.auth.on_nth("/register", 1, move |visit| {
            let reply = if acted { visit.usual() } else { Reply::never() };
            reply.after(&held)
        });
        killed_when(&world, &gate, || {
            drop(world.auth.wait_visit("/register", 1));
        });
        one_more_works(&world);
        assert_eq!(world.launcher.count(), 1, "acted: {acted}");
        assert_eq!(world.auth.registrations().len(), 2, "acted: {acted}");
        store_is_tidy(&world);
    }
}

#[test]
fn b22_f04_killed_once_registered_the_registration_is_used() {
    let world = auth_world().browser(Browser::Waits);
    killed_when(&world, &Gate::new(), || {
        wait_until("a registration is stored", || {
            file_ending(&world, "mcp-remote-v1", "_client_info.json").is_some()
        });
    });
    let mut bridge = begin(&world);
    assert_eq!(Person::new().sign_in(&bridge).status, 200);
    works(&mut bridge);
    bridge.finish();
    assert_eq!(world.auth.registrations().len(), 1);
    let tokens = file_ending(&world, "mcp-remote-v1", "_tokens.json").unwrap();
    let text = fs::read_to_string(tokens).unwrap();
    assert!(serde_json::from_str::<Value>(&text).is_ok());
}

#[test]
fn f12_f14_killed_while_the_browser_is_open() {
    let world = auth_world().browser(Browser::Waits);
    killed_when(&world, &Gate::new(), || {
        drop(world.launcher.wait_start(1));
    });
    let first = world.launcher.wait_start(1).link().to_owned();
    let mut bridge = begin(&world);
    let second = world.launcher.wait_start(2).link().to_owned();
    assert_ne!(first, second);
    // Whoever finishes in the old window is told so, and the new one is not disturbed.
    let pages = Person::new().open(&first);
    assert_eq!(pages.last().unwrap().status, 400, "{pages:?}");
    follow(&world, 2);
    works(&mut bridge);
    bridge.finish();
    assert_eq!(world.auth.registrations().len(), 1);
    assert_eq!(world.auth.grants("authorization_code").len(), 1);
    store_is_tidy(&world);
}

#[test]
fn f12_killed_while_the_code_is_exchanged() {
    for acted in [false, true] {
        let world = auth_world();
        let gate = Gate::new();
        let held = gate.clone();
        world.auth.on_nth("/token", 1, move |visit| {
            let reply = if acted { visit.usual() } else { Reply::never() };
            reply.after(&held)
        });
        killed_when(&world, &gate, || drop(world.auth.wait_visit("/token", 1)));
        one_more_works(&world);
        assert_eq!(world.launcher.count(), 2, "acted: {acted}");
        assert_eq!(world.auth.registrations().len(), 1, "acted: {acted}");
        store_is_tidy(&world);
    }
}

#[test]
fn d12_killed_before_the_first_token_was_used() {
    let gate = Gate::new();
    let held = gate.clone();
    let first = std::sync::atomic::AtomicBool::new(true);
    let legacy = Legacy::sessions().on("initialize", move |_| {
        if first.swap(false, std::sync::atomic::Ordering::SeqCst) {
            Reply::never().after(&held)
        } else {
            Reply::usual()
        }
    });
    let world = AuthWorld::with(legacy, |_| {}, |_| {});
    killed_when(&world, &gate, || {
        wait_until("the first request with a token", || {
            world.guard.admitted() > 0
        });
    });
    store_is_tidy(&world);
    one_more_works(&world);
    assert_eq!(world.launcher.count(), 1, "browser windows");
    assert_eq!(world.auth.count("/token"), 1);
}

/// A world in which somebody is signed in, with an access token that is dead.
fn signed_in(change: impl FnOnce(&mut crate::support::Rules)) -> AuthWorld {
    let world = AuthWorld::with(Legacy::sessions(), change, |_| {});
    one_more_works(&world);
    world.auth.end_access_tokens();
    world
}

#[test]
fn d15_f04_f09_killed_while_a_renewal_is_asked_for() {
    let world = signed_in(|_| {});
    world.auth.on_nth("/token", 1, |_| Reply::never());
    killed_when(&world, &Gate::new(), || {
        drop(world.auth.wait_visit("/token", 2));
    });
    assert!(state(&world)["refresh_in_doubt"].is_string());
    one_more_works(&world);
    assert_eq!(world.launcher.count(), 1, "browser windows");
    assert_eq!(world.auth.grants("refresh_token").len(), 2);
    store_is_tidy(&world);
}

#[test]
fn d15_killed_before_the_renewal_is_read_where_a_token_may_come_twice() {
    let world = signed_in(|rules| rules.reuse_detection = false);
    let gate = Gate::new();
    let held = gate.clone();
    world
        .auth
        .on_nth("/token", 1, move |visit| visit.usual().after(&held));
    killed_when(&world, &gate, || drop(world.auth.wait_visit("/token", 2)));
    one_more_works(&world);
    assert_eq!(world.launcher.count(), 1, "browser windows");
    store_is_tidy(&world);
}

#[test]
fn d15_killed_before_the_renewal_is_read_where_a_token_may_not_come_twice() {
    let world = signed_in(|_| {});
    let gate = Gate::new();
    let held = gate.clone();
    world
        .auth
        .on_nth("/token", 1, move |visit| visit.usual().after(&held));
    killed_when(&world, &gate, || drop(world.auth.wait_visit("/token", 2)));
    let mut bridge = begin(&world);
    works(&mut bridge);
    let ended = bridge.finish();
    assert!(ended.stderr.contains("probably lost"), "{}", ended.stderr);
    assert_eq!(world.launcher.count(), 2, "browser windows");
    assert_eq!(world.auth.registrations().len(), 1);
    store_is_tidy(&world);
}

#[test]
fn d12_f09_killed_once_renewed_before_the_token_was_used() {
    let world = signed_in(|_| {});
    let before = world.guard.admitted();
    let path = file_ending(&world, "mcp-remote-v1", "_tokens.json").unwrap();
    let old = fs::read_to_string(&path).unwrap();
    killed_when(&world, &Gate::new(), || {
        wait_until("the renewed tokens are stored", || {
            fs::read_to_string(&path).unwrap() != old
        });
    });
    assert!(world.guard.admitted() <= before + 1);
    one_more_works(&world);
    assert_eq!(world.launcher.count(), 1, "browser windows");
    assert_eq!(world.auth.grants("refresh_token").len(), 1);
    assert_eq!(world.auth.reuses(), 0);
}

#[test]
fn f09_of_many_that_are_killed_at_any_time_the_next_one_works() {
    let world = signed_in(|rules| rules.reuse_detection = false);
    for round in 0..12 {
        world.auth.end_access_tokens();
        let bridge = begin(&world);
        if round % 3 > 0 {
            let wanted = world.auth.count("/token") + 1;
            if round % 3 == 1 {
                drop(world.auth.wait_visit("/token", wanted));
            }
        }
        std::thread::sleep(Duration::from_millis(round * 3));
        kill(bridge);
        let tokens = file_ending(&world, "mcp-remote-v1", "_tokens.json").unwrap();
        let text = fs::read_to_string(tokens).unwrap();
        assert!(serde_json::from_str::<Value>(&text).is_ok(), "{round}");
    }
    one_more_works(&world);
    assert_eq!(world.launcher.count(), 1, "browser windows");
}

#[test]
fn c44_the_brake_counts_the_windows_of_all_processes() {
    let world = auth_world().browser(Browser::Waits);
    for nth in 1..=2 {
        let bridge = begin(&world);
        world.launcher.wait_start(nth);
        kill(bridge);
    }
    // From then on the link alone is shown: nobody is locked out, and no window opens.
    let third = begin(&world);
    third.wait_stderr("enough windows were opened of late");
    assert_eq!(world.launcher.count(), 2, "browser windows");
    kill(third);

    let url = world.remote.url();
    let mut login = std::process::Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
        .args(["login", &url])
        .env_clear()
        .env("MCP_REMOTE_CONFIG_DIR", world.home.config_dir())
        .env("PATH", world.launcher.program().parent().unwrap())
        .env("DISPLAY", ":99")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    follow(&world, 3);
    assert!(login.wait().unwrap().success());
    one_more_works(&world);
    assert_eq!(world.launcher.count(), 3, "browser windows");
    store_is_tidy(&world);
}

#[test]
fn c44_d22_a_server_that_takes_no_token_costs_two_windows_whatever_is_started() {
    let world = auth_world();
    world.guard.door(|door| door.refuses_all = true);
    for _ in 0..5 {
        let bridge = begin(&world);
        let response = bridge.response("init");
        assert_eq!(response["error"]["data"]["kind"], "auth_loop", "{response}");
        bridge.finish();
    }
    assert_eq!(world.launcher.count(), 2, "browser windows");
    let tokens = file_ending(&world, "mcp-remote-v1", "_tokens.json");
    assert!(tokens.is_some(), "what may be good some day is kept");
    // Nothing is lost: once the server has come to its senses, it works as it is.
    world.guard.door(|door| door.refuses_all = false);
    one_more_works(&world);
    assert_eq!(world.launcher.count(), 2, "browser windows");
}

#[test]
fn c45_the_client_goes_while_the_browser_is_open() {
    let world = auth_world().browser(Browser::Waits);
    let mut bridge = begin(&world);
    world.launcher.wait_start(1);
    bridge.close_stdin();
    bridge.wait_stderr("a sign-in is under way");
    assert!(bridge.is_running());
    follow(&world, 1);
    let response = bridge.response("init");
    let kind = &response["error"]["data"]["kind"];
    assert_eq!(*kind, json!("shutdown"), "answered before: {response}");
    let ended = bridge.ended();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(ended.messages, Vec::<Value>::new(), "nobody reads it");
    one_more_works(&world);
    assert_eq!(world.launcher.count(), 1, "browser windows");
    store_is_tidy(&world);
}

#[test]
fn c45_who_starts_meanwhile_follows_and_opens_nothing() {
    let world = auth_world().browser(Browser::Waits);
    let mut first = begin(&world);
    world.launcher.wait_start(1);
    first.close_stdin();
    let mut second = begin(&world);
    second.wait_stderr(&format!("another process (PID {})", first.id()));
    follow(&world, 1);
    works(&mut second);
    assert!(first.ended().status.success());
    assert_eq!(world.launcher.count(), 1, "browser windows");
}

#[test]
fn c45_who_only_waits_for_another_process_ends_with_its_client() {
    let world = auth_world().browser(Browser::Waits);
    let mut owner = begin(&world);
    world.launcher.wait_start(1);
    let mut other = begin(&world);
    other.wait_stderr("another process (PID ");
    other.close_stdin();
    assert!(other.ended().status.success());
    assert!(owner.is_running());
    follow(&world, 1);
    works(&mut owner);
}

#[test]
fn c45_a_signal_ends_it_at_once_and_the_next_start_takes_over() {
    let world = auth_world().browser(Browser::Waits);
    let mut bridge = begin(&world);
    world.launcher.wait_start(1);
    bridge.signal(Signal::TERM);
    bridge.wait_exit();
    let mut next = begin(&world);
    follow(&world, 2);
    works(&mut next);
    next.finish();
    assert_eq!(world.auth.registrations().len(), 1);
    store_is_tidy(&world);
}

#[test]
fn c45_a_signal_while_the_client_is_gone_does_not_lose_what_the_person_just_did() {
    let world = auth_world().browser(Browser::Waits);
    let gate = Gate::new();
    let held = gate.clone();
    world
        .auth
        .on_nth("/token", 1, move |visit| visit.usual().after(&held));
    let mut bridge = begin(&world);
    let link = world.launcher.wait_start(1).link().to_owned();
    bridge.close_stdin();
    bridge.wait_stderr("a sign-in is under way");
    std::thread::scope(|scope| {
        scope.spawn(|| Person::new().open(&link));
        world.auth.wait_visit("/token", 1);
        bridge.signal(Signal::TERM);
        // One that ends at once would be gone by then.
        std::thread::sleep(Duration::from_millis(300));
        gate.open();
    });
    let ended = bridge.ended();
    assert!(ended.status.success(), "{}", ended.stderr);
    one_more_works(&world);
    assert_eq!(world.launcher.count(), 1, "browser windows");
    store_is_tidy(&world);
}

#[test]
fn f12_a_sign_in_that_was_refused_leaves_nothing_pending() {
    let world = AuthWorld::with(
        Legacy::sessions(),
        |rules| rules.decision = Decision::Deny,
        |_| {},
    );
    let bridge = begin(&world);
    let response = bridge.response("init");
    let kind = &response["error"]["data"]["kind"];
    assert_eq!(*kind, json!("authorization_denied"), "{response}");
    bridge.finish();
    assert!(state(&world).get("pending").is_none());
    assert!(file_ending(&world, "mcp-remote-v1", "_tokens.json").is_none());
    world.auth.rules(|rules| rules.decision = Decision::Approve);
    one_more_works(&world);
    store_is_tidy(&world);
}
