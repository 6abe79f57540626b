//! The user's own headers: where they come from, which requests carry them, and what a refusal of
//! them leads to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::{
    Authority, Bridge, Call, Gate, Home, Launch, Legacy, LegacyRemote, Proxy, Remote, Reply, rpc,
};

/// Handshake, one call, the end; every request that the server saw: POSTs, GET and DELETE.
#[track_caller]
fn conversation(remote: &LegacyRemote, launch: Launch) -> (Vec<Call>, String) {
    let mut bridge = launch.start();
    bridge.handshake();
    remote.wait_call("GET");
    bridge.request("tools/call", rpc::echo_params("hello"));
    let stderr = bridge.finish().stderr;
    let calls = remote.calls();
    let verbs: Vec<_> = calls.iter().map(|call| call.verb.as_str()).collect();
    for verb in ["POST", "GET", "DELETE"] {
        assert!(verbs.contains(&verb), "{verb} is missing: {calls:#?}");
    }
    (calls, stderr)
}

#[track_caller]
fn assert_all_carry(calls: &[Call], name: &str, value: &str) {
    for call in calls {
        assert_eq!(
            call.header(name).as_deref(),
            Some(value),
            "{name}: {call:?}"
        );
    }
}

#[test]
fn headers_of_every_source_go_on_every_request() {
    let remote = Legacy::sessions().start();
    let home = Arc::new(Home::new());
    let file = home.write("headers", "# mine\n\nX-File: from file\nX-Both: file\n");
    let launch = Bridge::to(&remote.url())
        .home(&home)
        .args(["--header", "X-Typed:typed", "--header=X-Both: typed"])
        .args(["--header-file".into(), file.into_os_string()])
        .args(["--header", "X-Var: Bearer ${TOKEN}/${MISSING}"])
        .args(["--header", "User-Agent: mine"])
        .args(["--header-command", "X-Command: echo made here"])
        .env("TOKEN", "from-env")
        .env("PATH", std::env::var_os("PATH").unwrap());
    let (calls, stderr) = conversation(&remote, launch);
    for (name, value) in [
        ("x-typed", "typed"),
        ("x-file", "from file"),
        ("x-both", "file"),
        ("x-var", "Bearer from-env/${MISSING}"),
        ("x-command", "made here"),
        ("user-agent", "mine"),
    ] {
        assert_all_carry(&calls, name, value);
    }
    assert!(stderr.contains("MISSING"), "{stderr}");
    for secret in ["from-env", "made here", "from file", "typed"] {
        assert!(!stderr.contains(secret), "{secret} in {stderr}");
    }
}

#[test]
fn headers_go_on_both_channels_of_http_sse() {
    let remote = Legacy::http_sse().start();
    let launch = Bridge::to(&remote.url_at("/sse")).args([
        "--transport",
        "sse-only",
        "--header",
        "Authorization: Bearer mine",
    ]);
    let mut bridge = launch.start();
    bridge.handshake();
    bridge.request("tools/call", rpc::echo_params("hello"));
    bridge.finish();
    let calls = remote.calls();
    assert!(calls.iter().any(|call| call.verb == "GET"));
    assert_all_carry(&calls, "authorization", "Bearer mine");
}

#[test]
fn headers_of_the_protocol_stay_as_they_are() {
    let remote = Legacy::sessions().start();
    let mut launch = Bridge::to(&remote.url());
    let names = [
        "Accept",
        "content-type",
        "Host",
        "Mcp-Session-Id",
        "MCP-Protocol-Version",
        "Mcp-Method",
        "Content-Length",
        "Transfer-Encoding",
        "Last-Event-ID",
    ];
    for name in names {
        launch = launch.args(["--header".to_owned(), format!("{name}: mine")]);
    }
    let launch = launch.args(["--header-command", "Expect: exit 1"]);
    let (calls, stderr) = conversation(&remote, launch);
    for call in &calls {
        for (name, value) in &call.headers {
            assert_ne!(value.as_bytes(), b"mine", "{name}: {call:?}");
        }
        let host = call.header("host");
        assert_eq!(host, Some(remote.address().to_string()));
    }
    for name in names {
        let warned = stderr.matches(&format!("header {name} belongs")).count();
        assert_eq!(warned, 1, "{name}: {stderr}");
    }
}

#[test]
fn characters_beyond_ascii_go_out_as_latin_1() {
    let remote = Legacy::sessions().start();
    let launch = Bridge::to(&remote.url()).args(["--header", "X-Name: J\u{f6}rg \u{a0}\u{ff}"]);
    let (calls, _) = conversation(&remote, launch);
    for call in &calls {
        assert_eq!(call.headers["x-name"].as_bytes(), b"J\xf6rg \xa0\xff");
    }
    remote.drop_connections();
    let before = remote.calls().len();
    for header in ["X-Name: \u{100}hunter2", "X-Name: hunter2\u{1f600}"] {
        let ended = Bridge::to(&remote.url())
            .args(["--header", header])
            .start()
            .ended();
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains("x-name"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
    assert_eq!(remote.calls().len(), before);
}

/// Where a redirect or an announced endpoint leads elsewhere, nothing of the user's follows.
#[test]
fn headers_stay_with_the_servers_origin() {
    let elsewhere = Remote::serve(|_| Reply::status(500));
    elsewhere.must_stay_uncalled();
    let target = elsewhere.url();
    let remote = Remote::serve(move |_| Reply::redirect(307, &target));
    let bridge = Bridge::to(&remote.url())
        .args(["--header", "Authorization: Bearer mine"])
        .start();
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    let response = bridge.response(1);
    assert_eq!(
        response["error"]["data"]["kind"], "redirect-refused",
        "{response}"
    );
    bridge.finish();
}

#[test]
fn the_credentials_of_an_address_become_a_header() {
    let remote = Legacy::sessions().start();
    let url = remote.url().replace("http://", "http://me:pass%3Aword@");
    let (calls, stderr) = conversation(&remote, Bridge::to(&url));
    // me:pass:word
    assert_all_carry(&calls, "authorization", "Basic bWU6cGFzczp3b3Jk");
    assert!(!stderr.contains("pass"), "{stderr}");
}

#[test]
fn headers_made_by_a_command_stay_out_of_the_tunnel_head() {
    let authority = Authority::new("Corp CA");
    let remote = Legacy::sessions().tls(authority.server()).start();
    let proxy = Proxy::http(None);
    let home = Arc::new(Home::new());
    let ca = home.write("ca.pem", authority.pem());
    let launch = Bridge::to(&remote.url())
        .home(&home)
        .env("NODE_EXTRA_CA_CERTS", ca)
        .env("PATH", std::env::var_os("PATH").unwrap())
        .args(["--proxy".to_owned(), format!("http://{}", proxy.address())])
        .args(["--header-command", "Authorization: echo Bearer made"]);
    let (calls, _) = conversation(&remote, launch);
    assert_all_carry(&calls, "authorization", "Bearer made");
    assert!(!proxy.seen().is_empty());
    for head in proxy.seen() {
        assert!(
            !head.contains("made") && !head.contains("uthorization"),
            "{head}"
        );
    }
}

// ----- 401 -----

/// A command that counts its runs in `runs` and prints `Bearer N`, where `N` is how often it ran.
fn counting(home: &Home) -> String {
    let runs = home.path().join("runs");
    let runs = runs.display();
    format!("Authorization: echo x >> '{runs}'; echo Bearer $(grep -c x '{runs}')")
}

fn with_command(remote: &LegacyRemote, home: &Arc<Home>) -> Bridge {
    Bridge::to(&remote.url())
        .home(home)
        .env("PATH", std::env::var_os("PATH").unwrap())
        .args(["--header-command".to_owned(), counting(home)])
        .start()
}

fn runs(home: &Home) -> usize {
    home.read("runs").lines().count()
}

#[cfg(unix)]
#[test]
fn any_number_of_401s_runs_the_command_once() {
    const CALLS: usize = 30;
    let refusals = Gate::new();
    let gate = refusals.clone();
    let remote = Legacy::sessions()
        .on("tools/call", move |call| {
            let old = call.header("authorization").as_deref() == Some("Bearer 1");
            if old {
                Reply::text(401, "token expired").after(&gate)
            } else {
                Reply::usual()
            }
        })
        .start();
    let home = Arc::new(Home::new());
    let mut bridge = with_command(&remote, &home);
    bridge.handshake();
    for id in 0..CALLS {
        bridge.send(&rpc::echo(id, "hello"));
    }
    remote.wait_nth("tools/call", CALLS);
    refusals.open();
    for id in 0..CALLS {
        assert_eq!(bridge.response(id)["result"]["content"][0]["text"], "hello");
    }
    assert_eq!(runs(&home), 2);
    assert_eq!(remote.calls_of("tools/call").len(), 2 * CALLS);
    bridge.finish();
    let delete = &remote.calls_of("DELETE")[0];
    assert_eq!(delete.header("authorization").as_deref(), Some("Bearer 2"));
}

/// A 401 to a request that was sent before the command ran again needs no further run.
#[cfg(unix)]
#[test]
fn a_late_401_does_not_run_the_command_again() {
    let late = Gate::new();
    let gate = late.clone();
    let remote = Legacy::sessions()
        .lenient()
        .on("tools/call", move |call| {
            if call.header("authorization").as_deref() != Some("Bearer 1") {
                return Reply::usual();
            }
            let reply = Reply::text(401, "token expired");
            if call.id() == json!(1) {
                reply.after(&gate)
            } else {
                reply
            }
        })
        .start();
    let home = Arc::new(Home::new());
    let mut bridge = with_command(&remote, &home);
    bridge.handshake();
    bridge.send(&rpc::echo(1, "late"));
    remote.wait_call("tools/call");
    bridge.send(&rpc::echo(2, "early"));
    assert_eq!(bridge.response(2)["result"]["content"][0]["text"], "early");
    late.open();
    assert_eq!(bridge.response(1)["result"]["content"][0]["text"], "late");
    assert_eq!(runs(&home), 2);
    bridge.finish();
}

#[cfg(unix)]
#[test]
fn a_401_to_the_stream_or_a_notification_is_healed_as_well() {
    let refuse_first = |call: &Call| {
        let old = call.header("authorization").as_deref() == Some("Bearer 1");
        if old {
            Reply::text(401, "token expired")
        } else {
            Reply::usual()
        }
    };
    for key in ["GET", "notifications/progress"] {
        let remote = Legacy::sessions().on(key, refuse_first).start();
        let home = Arc::new(Home::new());
        let mut bridge = with_command(&remote, &home);
        bridge.handshake();
        bridge.notify(
            "notifications/progress",
            json!({"progressToken": 1, "progress": 1}),
        );
        let again = remote.wait_nth(key, 2);
        assert_eq!(again.header("authorization").as_deref(), Some("Bearer 2"));
        remote.wait_stream();
        bridge.request("tools/call", rpc::echo_params("hello"));
        assert_eq!(runs(&home), 2, "{key}");
        bridge.finish();
        assert_eq!(remote.calls_of(key).len(), 2, "{key}");
    }
}

#[cfg(unix)]
#[test]
fn a_401_to_initialize_runs_the_command_again() {
    let refuse_first = |call: &Call| {
        let old = call.header("authorization").as_deref() == Some("Bearer 1");
        if old {
            Reply::text(401, "no")
        } else {
            Reply::usual()
        }
    };
    let remote = Legacy::sessions().on("initialize", refuse_first).start();
    let home = Arc::new(Home::new());
    let mut bridge = with_command(&remote, &home);
    bridge.handshake();
    bridge.finish();
    assert_eq!(runs(&home), 2);
}

#[cfg(unix)]
#[test]
fn a_401_that_stays_is_an_error_after_one_more_run() {
    let remote = Legacy::sessions()
        .on("tools/call", |_| Reply::text(401, "token refused"))
        .start();
    let home = Arc::new(Home::new());
    let mut bridge = with_command(&remote, &home);
    bridge.handshake();
    for run in 2..4 {
        let response = bridge.request("tools/call", rpc::echo_params("x"));
        assert_sign_in_required(&response);
        assert_eq!(runs(&home), run);
    }
    assert!(bridge.request("tools/list", Value::Null)["result"].is_object());
    bridge.finish();
}

#[cfg(unix)]
#[test]
fn a_command_that_fails_is_said_and_stops_nothing() {
    let remote = Legacy::sessions().start();
    let launch = Bridge::to(&remote.url())
        .env("PATH", std::env::var_os("PATH").unwrap())
        .args(["--header-command", "Authorization: echo hunter2; exit 3"])
        .args(["--header", "X-Other: 1"]);
    let (calls, stderr) = conversation(&remote, launch);
    assert_all_carry(&calls, "x-other", "1");
    assert!(
        calls
            .iter()
            .all(|call| call.header("authorization").is_none())
    );
    assert!(
        stderr.contains("--header-command for Authorization failed"),
        "{stderr}"
    );
    assert!(!stderr.contains("hunter2"), "{stderr}");
}

#[track_caller]
fn assert_sign_in_required(response: &Value) {
    let error = &response["error"];
    assert_eq!(error["code"], -31000, "{response}");
    let data = json!({
        "source": "mcp-bridge", "kind": "sign_in_required", "executed": "no", "status": 401
    });
    assert_eq!(error["data"], data, "{response}");
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("mcp-bridge: "), "{message}");
    assert!(message.contains("401"), "{message}");
}

/// A server that wants a token and says nothing about where to get one.
#[test]
fn without_credentials_a_401_is_a_clear_error_and_no_end() {
    let open = Arc::new(AtomicBool::new(false));
    let opened = Arc::clone(&open);
    let remote = Legacy::sessions()
        .lenient()
        .on("initialize", move |_| {
            if opened.load(Ordering::SeqCst) {
                return Reply::usual();
            }
            Reply::text(401, "Unauthorized").header("www-authenticate", "Bearer")
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    bridge.send(&rpc::request(2, "tools/list", Value::Null));
    bridge.send(&rpc::echo(3, "x"));
    for id in [1, 2, 3] {
        let response = bridge.response(id);
        let error = &response["error"];
        assert_eq!(
            error["data"]["kind"], "no_registration_method",
            "{response}"
        );
        assert_eq!(error["data"]["executed"], "no", "{response}");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains("--header \"Authorization: Bearer TOKEN\""),
            "{message}"
        );
    }
    assert!(bridge.is_running());
    bridge.wait_stderr("no_registration_method");
    open.store(true, Ordering::SeqCst);
    bridge.handshake();
    assert_eq!(
        bridge.request("tools/list", Value::Null)["result"]["tools"][0]["name"],
        "echo"
    );
    bridge.finish();
    assert_eq!(remote.calls_of("initialize").len(), 2);
}

#[test]
fn a_refused_authorization_header_is_not_taken_for_a_missing_one() {
    let remote = Legacy::sessions()
        .on("tools/call", |_| Reply::text(401, "expired"))
        .start();
    let mut bridge = Bridge::to(&remote.url())
        .args(["--header", "Authorization: Bearer hunter2"])
        .start();
    bridge.handshake();
    for _ in 0..3 {
        let response = bridge.request("tools/call", rpc::echo_params("x"));
        assert_sign_in_required(&response);
        let message = response["error"]["message"].as_str().unwrap();
        assert!(message.contains("your Authorization header"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
    assert!(bridge.request("tools/list", Value::Null)["result"].is_object());
    let stderr = bridge.finish().stderr;
    assert!(!stderr.contains("hunter2"), "{stderr}");
    assert_eq!(remote.calls_of("tools/call").len(), 3);
}
