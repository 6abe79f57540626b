//! What people and programs find on stderr and in the log file, and that stdout never has any of
//! it.
//!
//! In: the lines that guides tell people to look for, the levels, following one request. Out: the
//! file's size and safety (`edge::log`).

use serde_json::{Value, json};

use crate::support::{Bridge, Ended, Legacy, Remote, Reply, Unaware, modern_request, rpc};

/// Its lines without the process id, which each of them has in front.
#[track_caller]
fn lines_of(stderr: &str, process: u32) -> Vec<String> {
    let prefix = format!("[{process}] ");
    let strip = |line: &str| {
        let rest = line.strip_prefix(&prefix);
        rest.unwrap_or_else(|| panic!("no {prefix:?} in {line:?}"))
            .to_owned()
    };
    stderr.lines().map(strip).collect()
}

/// One short conversation.
#[track_caller]
fn converse(remote: &Remote, arguments: &[&str]) -> (Ended, u32) {
    let mut bridge = Bridge::to(&remote.url()).args(arguments).start();
    let process = bridge.id();
    bridge.handshake();
    let answer = bridge.request("tools/call", rpc::echo_params("x"));
    assert!(answer.get("result").is_some(), "{answer}");
    (bridge.finish(), process)
}

#[test]
fn a_plain_start_says_what_guides_tell_people_to_look_for() {
    let remote = Legacy::sessions().start();
    let (ended, process) = converse(&remote, &[]);
    assert_eq!(
        lines_of(&ended.stderr, process),
        [
            format!("Connecting to remote server: {}", remote.url()).as_str(),
            "Using transport strategy: http-first",
            "Connected to remote server using StreamableHTTPClientTransport",
            "Local STDIO server running",
            "Proxy established successfully between local STDIO and remote StreamableHTTPClientTransport",
            "Press Ctrl+C to exit",
        ]
    );
}

#[test]
fn a_start_on_the_old_transport_tells_of_the_fallback() {
    let remote = Legacy::http_sse()
        .on("POST", |_| Reply::text(404, "Not Found"))
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    let process = bridge.id();
    bridge.handshake_at("2024-11-05");
    let ended = bridge.finish();
    let url = format!("Connecting to remote server: {}", remote.url());
    assert_eq!(
        lines_of(&ended.stderr, process),
        [
            url.as_str(),
            "Using transport strategy: http-first",
            "Received error: Error POSTing to endpoint (HTTP 404)",
            "Recursively reconnecting for reason: falling-back-to-alternate-transport",
            &url,
            "Using transport strategy: sse-only",
            "Connected to remote server using SSEClientTransport",
            "Local STDIO server running",
            "Proxy established successfully between local STDIO and remote SSEClientTransport",
            "Press Ctrl+C to exit",
        ]
    );
}

#[test]
fn a_client_without_a_handshake_sees_the_same_lines() {
    let plain = Legacy::sessions().unaware(Unaware::TypeScript).start();
    let old = Legacy::http_sse()
        .on("POST", |_| Reply::text(404, "Not Found"))
        .start();
    for (remote, lines) in [(plain, 6), (old, 10)] {
        let bridge = Bridge::spawn(&remote.url());
        let process = bridge.id();
        bridge.send(&modern_request(
            1,
            "server/discover",
            Value::Null,
            &json!({}),
        ));
        let answer = bridge.response(1);
        assert!(answer.get("result").is_some(), "{answer}");
        let stderr = bridge.finish().stderr;
        let told = lines_of(&stderr, process);
        assert_eq!(told.len(), lines, "{told:#?}");
        assert_eq!(
            told[..2],
            [
                format!("Connecting to remote server: {}", remote.url()).as_str(),
                "Using transport strategy: http-first",
            ]
        );
    }
}

#[test]
fn silent_leaves_only_errors() {
    let remote = Legacy::sessions()
        .on("tools/list", |_| Reply::text(403, "no"))
        .start();
    let (ended, _) = converse(&remote, &["--silent"]);
    assert_eq!(ended.stderr, "");
    let mut bridge = Bridge::to(&remote.url())
        .args(["--silent", "--debug"])
        .start();
    let process = bridge.id();
    bridge.handshake();
    let answer = bridge.request("tools/list", Value::Null);
    assert_eq!(answer["error"]["data"]["status"], 403);
    let lines = lines_of(&bridge.finish().stderr, process);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("tools/list"), "{lines:#?}");
    assert!(lines[0].contains("[http-status]"), "{lines:#?}");
}

#[test]
fn debug_lets_one_request_be_followed_by_its_id() {
    let remote = Legacy::sessions().answers_as_sse().start();
    for (arguments, variable) in [(&["--debug"][..], ""), (&[], "*"), (&[], "mcp-remote*")] {
        let mut bridge = Bridge::to(&remote.url())
            .args(arguments)
            .env("DEBUG", variable)
            .start();
        let process = bridge.id();
        bridge.handshake();
        bridge.send(&rpc::echo("call-7", "x"));
        bridge.response("call-7");
        bridge.wait_stderr("the stream ended");
        let lines = lines_of(&bridge.finish().stderr, process);
        let find = |wanted: &str| {
            let found = lines.iter().position(|line| line.contains(wanted));
            found.unwrap_or_else(|| panic!("{wanted:?} is missing in {lines:#?}"))
        };
        let asked = find(r#"client → tools/call "call-7""#);
        let sent = find(r#"for request "call-7""#);
        let answered = find(r#"server → response to tools/call "call-7""#);
        assert!(asked < sent && sent < answered, "{lines:#?}");
        // The exchange that carried it is named, and so is what the server said in it.
        let exchange = lines[sent].split("exchange ").nth(1).unwrap();
        let exchange = exchange.split(':').next().unwrap();
        let status = find(&format!("exchange {exchange}: HTTP 200"));
        assert!(sent < status && status < answered, "{lines:#?}");
        for index in [asked, sent, status, answered] {
            assert_timed(&lines[index]);
        }
    }
}

/// `[2026-03-01T12:00:00.000Z] …`
#[track_caller]
fn assert_timed(line: &str) {
    let time = line
        .strip_prefix('[')
        .and_then(|rest| rest.split(']').next());
    let time = time.unwrap_or_default();
    let shape: String = time
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{line}");
}

#[test]
fn no_log_has_a_secret() {
    let remote = Legacy::sessions()
        .on("initialize", |call| {
            let result = json!({
                "protocolVersion": rpc::VERSION,
                "capabilities": {},
                "serverInfo": {"name": "s", "version": "1"},
            });
            call.result(&result)
                .header("mcp-session-id", "session-1")
                .header("set-cookie", "sticky=SECRET-cookie; Path=/")
        })
        .on("tools/list", |_| Reply::text(500, "no"))
        .start();
    for format in ["text", "json"] {
        let url = remote.url_at("/mcp?key=SECRET-query");
        let mut bridge = Bridge::to(&url)
            .args(["--debug", "--log-file", "log", "--log-format", format])
            .args(["--header", "Authorization: Bearer SECRET-token"])
            .args(["--header", "X-Key: ${KEY}"])
            .env("KEY", "SECRET-variable")
            .start();
        bridge.handshake();
        bridge.request("tools/call", rpc::echo_params("SECRET-argument"));
        bridge.request("tools/list", Value::Null);
        let log = bridge.home().path().join("log");
        let home = std::sync::Arc::clone(bridge.home());
        let ended = bridge.finish();
        let logged = home.read("log");
        assert!(log.is_file());
        for text in [&ended.stderr, &logged] {
            assert!(text.contains("tools/call"), "{text}");
            assert!(!text.contains("SECRET"), "{text}");
            assert!(!text.contains("session-1"), "{text}");
        }
    }
    let call = remote.wait_call("tools/call");
    assert_eq!(call.query.as_deref(), Some("key=SECRET-query"));
    assert_eq!(
        call.header("authorization").as_deref(),
        Some("Bearer SECRET-token")
    );
    assert_eq!(
        call.header("cookie").as_deref(),
        Some("sticky=SECRET-cookie")
    );
}

#[test]
fn a_log_file_gets_everything_and_is_private() {
    let remote = Legacy::sessions().start();
    let mut bridge = Bridge::to(&remote.url())
        .args(["--silent", "--log-file", "bridge.log"])
        .start();
    let process = bridge.id();
    bridge.handshake();
    let home = std::sync::Arc::clone(bridge.home());
    bridge.request("tools/call", rpc::echo_params("x"));
    assert_eq!(bridge.finish().stderr, "");
    let lines = lines_of(&home.read("bridge.log"), process);
    assert!(lines.iter().any(|it| it.contains("client → tools/call")));
    assert!(lines.iter().any(|it| it.ends_with("Press Ctrl+C to exit")));
    for line in &lines {
        assert_timed(line);
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let file = std::fs::metadata(home.path().join("bridge.log")).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn json_logs_are_json_line_by_line() {
    let remote = Legacy::sessions().start();
    let mut bridge = Bridge::to(&remote.url())
        .args(["--log-file", "bridge.log", "--log-format", "json"])
        .start();
    let process = bridge.id();
    bridge.handshake();
    bridge.send_raw("\u{1b}[31m \"quoted\" not json\n");
    assert_eq!(bridge.recv()["error"]["code"], -32700);
    let home = std::sync::Arc::clone(bridge.home());
    let ended = bridge.finish();
    for text in [&ended.stderr, &home.read("bridge.log")] {
        let mut levels = Vec::new();
        for line in text.lines() {
            let entry: Value = serde_json::from_str(line).unwrap();
            assert_eq!(entry["pid"], process);
            assert!(entry["message"].is_string());
            assert_timed(&format!("[{}]", entry["time"].as_str().unwrap()));
            levels.push(entry["level"].as_str().unwrap().to_owned());
        }
        assert!(levels.contains(&"info".to_owned()), "{levels:?}");
        assert!(levels.contains(&"warn".to_owned()), "{levels:?}");
    }
    assert!(!ended.stderr.contains(r#""debug""#));
    assert!(home.read("bridge.log").contains(r#""debug""#));
}

#[test]
fn what_the_remote_says_cannot_steer_a_terminal() {
    const HOSTILE: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\r\n[1] Press Ctrl+C to exit \u{202e}";
    let remote = Legacy::sessions()
        .on("tools/list", |_| Reply::text(403, HOSTILE))
        .on("tools/call", |call| {
            let note = rpc::notification(HOSTILE, Value::Null);
            Reply::sse(&[note, call.result_message(&call.echo())])
        })
        .start();
    let mut bridge = Bridge::to(&remote.url()).args(["--debug"]).start();
    let process = bridge.id();
    bridge.handshake();
    let error = bridge.request("tools/list", Value::Null);
    let message = error["error"]["message"].as_str().unwrap();
    assert!(!message.chars().any(char::is_control), "{message:?}");
    bridge.request("tools/call", rpc::echo_params(HOSTILE));
    assert_eq!(bridge.recv()["method"], HOSTILE);
    let stderr = bridge.finish().stderr;
    // Every line is ours: none was forged by a line end.
    let lines = lines_of(&stderr, process);
    let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!stderr.chars().any(bad), "{lines:#?}");
}

#[test]
fn stdout_has_only_messages_at_every_level() {
    let remote = Legacy::sessions().start();
    for arguments in [
        &[][..],
        &["--debug"],
        &["--silent"],
        &["--log-format", "json", "--debug"],
        &["--log-file", "/nowhere/at/all"],
        &["--enable-proxy", "--auth-timeout", "5"],
    ] {
        let mut bridge = Bridge::to(&remote.url()).args(arguments).start();
        bridge.handshake();
        bridge.send_raw("no json\n");
        assert_eq!(bridge.recv()["error"]["code"], -32700);
        bridge.request("tools/call", rpc::echo_params("x"));
        let ended = bridge.finish();
        assert_eq!(ended.messages, Vec::<Value>::new(), "{arguments:?}");
    }
}

#[test]
fn a_wrong_option_leaves_stdout_empty() {
    let mut bridge = Bridge::command(["http://127.0.0.1:9/mcp", "--ignore-tols", "x"]).start();
    let ended = bridge.ended();
    assert_eq!(ended.status.code(), Some(2));
    assert_eq!(ended.messages, Vec::<Value>::new());
    assert!(ended.stderr.contains("--ignore-tool"), "{}", ended.stderr);
}
