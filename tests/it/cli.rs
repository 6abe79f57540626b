//! The command line from outside: help, exit codes, every option of `mcp-remote`, variables and the
//! settings file.

use std::ffi::OsString;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::{Bridge, Home, Launch, Legacy, LegacyRemote, Reply, rpc};

/// Runs the program on an empty stdin until it ends, for what is no conversation.
fn run(arguments: &[&str]) -> Output {
    let home = Home::new();
    Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// Handshake, one call, a clean end; what stderr says.
#[track_caller]
fn assert_works(launch: Launch) -> String {
    let mut bridge = launch.start();
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("hello"));
    assert_eq!(
        response["result"]["content"][0]["text"], "hello",
        "{response}"
    );
    bridge.finish().stderr
}

// ----- help and exit codes -----

#[test]
fn help_and_version_go_to_stdout_and_end_with_0() {
    let remote = Legacy::sessions().start();
    remote.must_stay_uncalled();
    let url = remote.url();
    for arguments in [
        &["--help"][..],
        &["-h"],
        &[&url, "--help"],
        &["-h", &url, "--debug"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(text(&output.stderr), "");
        let help = text(&output.stdout);
        for word in [
            "Usage: mcp-bridge [OPTIONS] <URL> [CALLBACK_PORT]",
            "--ignore-tool",
            "--ca-cert",
        ] {
            assert!(help.contains(word), "{word:?} is not in {help}");
        }
    }
    for arguments in [&["--version"][..], &["-V"], &[&url, "--version"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(text(&output.stderr), "");
        let version = format!("mcp-bridge {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(text(&output.stdout), version);
    }
    let help = run(&["--help"]);
    for code in ["0 clean end", "1 could not do the job", "2 bad usage"] {
        assert!(text(&help.stdout).contains(code), "{code}");
    }
}

#[test]
fn a_client_that_says_nothing_is_a_clean_end() {
    let remote = Legacy::sessions().start();
    remote.must_stay_uncalled();
    let output = run(&[&remote.url()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
}

/// In [`MISTAKES`] this stands for the server's address.
const URL: &str = "URL";

/// Arguments, and what stderr says about them.
const MISTAKES: &[(&[&str], &[&str])] = &[
    (
        &[],
        &["the URL of the server is missing", "usage: mcp-bridge"],
    ),
    (&[""], &["the URL is empty"]),
    (&["localhost:1/mcp"], &["https://"]),
    (&["mcp.test"], &["https://"]),
    (&["ftp://mcp.test/"], &["ftp", "https://HOST/PATH"]),
    (
        &["https://"],
        &["the URL is not valid", "https://HOST/PATH"],
    ),
    (&["http://mcp.test/"], &["--allow-http"]),
    (
        &[URL, "--ignore-tol", "x"],
        &["unknown option --ignore-tol", "did you mean --ignore-tool?"],
    ),
    (
        &[URL, "--ignore-tol=x"],
        &["unknown option --ignore-tol", "did you mean --ignore-tool?"],
    ),
    (
        &[URL, "--no-such-thing"],
        &["unknown option --no-such-thing", "--help"],
    ),
    (&[URL, "-x"], &["unknown option -x"]),
    (&[URL, "--header"], &["--header needs a value"]),
    (
        &[URL, "--header", "X-A 1"],
        &["--header (number 1)", "there is no colon", "Name: value"],
    ),
    (
        &[URL, "--transport", "htp-first"],
        &[
            "--transport must be one of",
            "http-first",
            "did you mean http-first?",
        ],
    ),
    (
        &[URL, "--transport=sse"],
        &["--transport must be one of", "sse-only"],
    ),
    (
        &[URL, "--protocol", "new"],
        &["--protocol must be one of auto, legacy, modern"],
    ),
    (
        &[URL, "--connect-timeout", "1s"],
        &["--connect-timeout", "number of seconds"],
    ),
    (
        &[URL, "--connect-timeout", "0"],
        &["--connect-timeout", "greater than 0"],
    ),
    (
        &[URL, "--body-timeout", "-1"],
        &["--body-timeout", "must not be negative"],
    ),
    (&[URL, "--max-message-size", "0"], &["--max-message-size"]),
    (&[URL, "--debug=yes"], &["--debug takes no value"]),
    (
        &[URL, "--connect-timeout", "1", "--connect-timeout", "2"],
        &["--connect-timeout", "more than once"],
    ),
    (&[URL, "0"], &["CALLBACK_PORT", "1 to 65535"]),
    (&[URL, "port"], &["CALLBACK_PORT", "1 to 65535"]),
    (
        &[URL, "3000", "more"],
        &["more arguments than URL and CALLBACK_PORT"],
    ),
    (
        &[URL, "--proxy", "nonsense://x"],
        &["--proxy", "socks5://HOST:PORT"],
    ),
    (
        &[URL, "--log-format", "xml"],
        &["--log-format must be one of text, json"],
    ),
    (
        &[URL, "--auth-timeout", "soon"],
        &["--auth-timeout", "number of seconds"],
    ),
    (
        &[URL, "--device-code", "--client-credentials"],
        &["--device-code and --client-credentials exclude each other"],
    ),
    (
        &[URL, "--client-credentials"],
        &[
            "--client-credentials needs a client",
            "--static-oauth-client-info",
        ],
    ),
    (
        &[URL, "--token-endpoint", "https://mcp.test/token"],
        &["--token-endpoint goes with --client-credentials"],
    ),
    (
        &[URL, "--static-oauth-client-info", "{client_id:x}"],
        &[
            "--static-oauth-client-info is not valid JSON (line 1, column 2)",
            "@FILE",
        ],
    ),
    (
        &[URL, "--static-oauth-client-info", "@/no/such/file"],
        &["--static-oauth-client-info /no/such/file: "],
    ),
    (
        &[
            URL,
            "--static-oauth-client-metadata",
            "{\"client_id\":\"x\"}",
        ],
        &["client_id", "--static-oauth-client-info"],
    ),
    (
        &[URL, "--authorize-param", "STATE=x"],
        &["--authorize-param (number 1)", "STATE"],
    ),
    (
        &[URL, "--workload-jwt", "x"],
        &["--workload-jwt takes no JWT itself", "@FILE"],
    ),
    (&[URL, "--profile", "a/b"], &["--profile must be 1 to 64"]),
];

#[test]
fn a_mistake_ends_with_2_names_itself_and_makes_no_traffic() {
    let remote = Legacy::sessions().start();
    remote.must_stay_uncalled();
    let url = remote.url();
    for (arguments, words) in MISTAKES {
        for silent in [false, true] {
            let fill = |argument: &&'static str| if *argument == URL { &url } else { *argument };
            let mut all: Vec<&str> = arguments.iter().map(fill).collect();
            if silent {
                all.insert(0, "--silent");
            }
            let output = run(&all);
            let stderr = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{all:?}: {stderr}");
            assert_eq!(text(&output.stdout), "", "{all:?}");
            assert!(stderr.starts_with("mcp-bridge: "), "{all:?}: {stderr}");
            for word in *words {
                assert!(
                    stderr.contains(word),
                    "{all:?}: {word:?} is not in {stderr}"
                );
            }
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_ends_with_1() {
    let remote = Legacy::sessions().start();
    remote.must_stay_uncalled();
    for option in ["--header-file", "--config"] {
        let output = run(&[&remote.url(), option, "/no/such/file"]);
        assert_eq!(output.status.code(), Some(1));
        let stderr = text(&output.stderr);
        assert!(
            stderr.contains(&format!("{option} /no/such/file: ")),
            "{stderr}"
        );
    }
}

// ----- options of mcp-remote -----

/// Every option of `mcp-remote`, as its users write it.
const REMOTE_OPTIONS: [&[&str]; 37] = [
    &["3334"],
    &["--header", "Authorization: Bearer ${AUTH_TOKEN}"],
    &["--header", "Authorization:${AUTH_HEADER}"],
    &["--header-file", "headers.txt"],
    &["--allow-http"],
    &["--debug"],
    &["--silent"],
    &["--connect-timeout", "30"],
    &["--headers-timeout", "0"],
    &["--body-timeout", "600"],
    &["--ipv4"],
    &["--enable-proxy"],
    &["--keep-alive"],
    &["--ping-interval", "30"],
    &["--transport", "http-first"],
    &["--transport", "http-only"],
    &["--transport", "sse-first"],
    &["--protocol", "legacy"],
    &["--protocol", "auto"],
    &["--disable-cookies"],
    &["--ignore-tool", "delete*"],
    &["--host", "127.0.0.1"],
    &["--callback-path", "/oauth/back"],
    &["--auth-success-url", "https://example.com/done"],
    &["--auth-timeout", "60s"],
    &["--static-oauth-client-metadata", "{\"scope\":\"a b\"}"],
    &["--static-oauth-client-metadata", "@metadata.json"],
    CLIENT,
    &["--client-metadata-url", "https://example.com/client.json"],
    &["--device-code"],
    &["--client-credentials"],
    &["--token-endpoint", "https://example.com/token"],
    &["--use-id-token"],
    &["--resource", "https://example.com/mcp"],
    &["--resource", ""],
    &["--disable-resource-parameter"],
    &["--authorize-param", "prompt=consent"],
];

/// A client with a secret, both in variables.
const CLIENT: &[&str] = &[
    "--static-oauth-client-info",
    "{\"client_id\":\"${ID}\",\"client_secret\":\"${SECRET}\"}",
];

/// What an option needs besides.
fn companions(option: &str) -> Vec<&'static str> {
    match option {
        "--client-credentials" => CLIENT.to_vec(),
        "--token-endpoint" => [&["--client-credentials"], CLIENT].concat(),
        _ => Vec::new(),
    }
}

fn to(remote: &LegacyRemote, home: &Arc<Home>) -> Launch {
    Bridge::to(&remote.url())
        .home(home)
        .env("AUTH_TOKEN", "t")
        .env("AUTH_HEADER", "Bearer t")
        .env("ID", "me")
        .env("SECRET", "s")
}

#[test]
fn every_option_of_mcp_remote_is_accepted() {
    let remote = Legacy::sessions()
        .on("GET", |call| {
            // HTTP+SSE is not spoken here, so sse-first falls back.
            let opening = call.session().is_none();
            if opening {
                Reply::status(405)
            } else {
                Reply::usual()
            }
        })
        .lenient()
        .start();
    let home = Arc::new(Home::new());
    home.write("headers.txt", "# mine\nX-Mine: 1\n");
    home.write("metadata.json", "{}");
    for arguments in REMOTE_OPTIONS {
        let stderr = assert_works(
            to(&remote, &home)
                .args(arguments)
                .args(companions(arguments[0])),
        );
        let warned = stderr.contains("effect");
        let has_none = ["--protocol", "--enable-proxy"].contains(&arguments[0]);
        assert!(!warned || has_none, "{arguments:?}: {stderr}");
    }
}

#[test]
fn all_options_of_mcp_remote_go_together_before_and_after_the_url() {
    let remote = Legacy::sessions().start();
    let home = Arc::new(Home::new());
    home.write("headers.txt", "# mine\nX-Mine: 1\n");
    home.write("metadata.json", "{}");
    let mut seen = Vec::new();
    let once = REMOTE_OPTIONS.into_iter().filter(|arguments| {
        if arguments[0] == "--device-code" {
            // Not beside --client-credentials.
            return false;
        }
        let repeatable = ["--header", "--authorize-param", "--ignore-tool"].contains(&arguments[0]);
        let fresh = !seen.contains(&arguments[0]);
        seen.push(arguments[0]);
        fresh || repeatable
    });
    let port_last = |arguments: &&[&str]| !arguments[0].starts_with("--");
    let (port, options): (Vec<&[&str]>, Vec<_>) = once.partition(port_last);
    let [port, options] = [port.concat(), options.concat()];
    let url = remote.url();
    for arguments in [
        [&[url.as_str()], &port[..], &options].concat(),
        [&[url.as_str()], &options[..], &port].concat(),
        [&options[..], &[url.as_str()], &port].concat(),
    ] {
        let launch = Bridge::command(arguments)
            .home(&home)
            .env("AUTH_TOKEN", "t")
            .env("AUTH_HEADER", "Bearer t")
            .env("ID", "me")
            .env("SECRET", "s");
        assert_works(launch);
    }
    for call in remote.calls() {
        assert_eq!(call.header("authorization").as_deref(), Some("Bearer t"));
        assert_eq!(call.header("x-mine").as_deref(), Some("1"));
    }
}

#[test]
fn d05_beside_an_authorization_header_options_about_signing_in_are_named_in_one_warning() {
    let remote = Legacy::sessions().start();
    let launch = Bridge::to(&remote.url()).args([
        "--header",
        "Authorization: Bearer canary",
        "--host",
        "127.0.0.1",
        "--auth-timeout",
        "60",
        "--device-code",
    ]);
    let stderr = assert_works(launch);
    let warnings: Vec<_> = stderr
        .lines()
        .filter(|line| line.contains("without effect"))
        .collect();
    assert_eq!(warnings.len(), 1, "{stderr}");
    for option in ["--host", "--auth-timeout", "--device-code"] {
        assert!(warnings[0].contains(option), "{stderr}");
    }
    assert!(!stderr.contains("canary"), "{stderr}");
}

// ----- commands -----

#[test]
fn commands_have_their_own_help() {
    for (command, usage) in [
        ("login", "Usage: mcp-bridge login [OPTIONS] <URL>"),
        ("logout", "Usage: mcp-bridge logout [OPTIONS] <URL>"),
        ("status", "Usage: mcp-bridge status [OPTIONS]"),
    ] {
        for option in ["-h", "--help"] {
            let output = run(&[command, option]);
            assert_eq!(output.status.code(), Some(0), "{command}");
            assert_eq!(text(&output.stderr), "");
            assert!(
                text(&output.stdout).contains(usage),
                "{}",
                text(&output.stdout)
            );
        }
    }
}

#[test]
fn a_mistake_in_a_command_ends_with_2_and_makes_no_traffic() {
    let remote = Legacy::sessions().start();
    remote.must_stay_uncalled();
    let url = remote.url();
    for (arguments, words) in [
        (
            &["login"][..],
            &[
                "the URL of the server is missing",
                "usage: mcp-bridge login",
            ][..],
        ),
        (
            &["login", &url, "--profil", "x"],
            &["unknown option --profil", "did you mean --profile?"],
        ),
        (
            &["login", &url, "--device-code", "--client-credentials"],
            &["exclude each other"],
        ),
        (
            &["login", &url, "--header", "Authorization: x"],
            &["your own Authorization header"],
        ),
        (&["--debug", "login", &url], &["is a command; put it first"]),
        (
            &["logout"],
            &["the URL of the server is missing", "logout --all"],
        ),
        (
            &["logout", "--all", &url],
            &["--all and a URL exclude each other"],
        ),
        (&["status", &url], &["status takes no arguments"]),
    ] {
        let output = run(arguments);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        for word in words {
            assert!(
                stderr.contains(word),
                "{arguments:?}: {word:?} is not in {stderr}"
            );
        }
    }
}

// ----- variables and the settings file -----

#[track_caller]
fn assert_shows(launch: Launch, shown: &[&str]) {
    let mut bridge = launch.start();
    bridge.handshake();
    let response = bridge.request("tools/list", Value::Null);
    let names: Vec<_> = response["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, shown);
    bridge.finish();
}

fn toolbox() -> LegacyRemote {
    let tools: Value = ["a", "b", "c"]
        .iter()
        .map(|name| json!({"name": name, "annotations": {"readOnlyHint": *name == "a"}}))
        .collect();
    Legacy::sessions().tools(tools).start()
}

#[test]
fn switches_and_values_come_from_variables() {
    let remote = toolbox();
    let url = remote.url();
    assert_shows(Bridge::to(&url).env("MCP_BRIDGE_READ_ONLY", "1"), &["a"]);
    assert_shows(
        Bridge::to(&url).env("MCP_BRIDGE_READ_ONLY", "0"),
        &["a", "b", "c"],
    );
    let launch = Bridge::to(&url).env("MCP_BRIDGE_TRANSPORT", "http-only");
    let stderr = assert_works(launch);
    assert!(
        stderr.contains("Using transport strategy: http-only"),
        "{stderr}"
    );
    let launch = Bridge::to(&url)
        .env("MCP_BRIDGE_TRANSPORT", "sse-only")
        .args(["--transport=http-only"]);
    assert!(assert_works(launch).contains("strategy: http-only"));
    for (variable, value) in [
        ("MCP_BRIDGE_TRANSPORT", "sse"),
        ("MCP_BRIDGE_CONNECT_TIMEOUT", "soon"),
        ("MCP_BRIDGE_READ_ONLY", "maybe"),
    ] {
        let ended = Bridge::to(&url).env(variable, value).start().ended();
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(variable), "{}", ended.stderr);
    }
}

#[test]
fn options_come_from_a_file_under_variables_under_arguments() {
    let remote = toolbox();
    let url = remote.url();
    let home = Arc::new(Home::new());
    let file = home.write(
        "bridge.toml",
        "ignore-tool = ['b']\nheader = ['X-From: file', 'X-File: ${WHO}']\ntransport = 'http-only'\n",
    );
    let config = || -> [OsString; 2] { ["--config".into(), file.clone().into_os_string()] };
    let launch = || Bridge::to(&url).home(&home).env("WHO", "me").args(config());
    assert_shows(launch(), &["a", "c"]);
    assert_shows(launch().args(["--ignore-tool=c"]), &["a"]);
    let by_variable = Bridge::to(&url).home(&home).env("MCP_BRIDGE_CONFIG", &file);
    assert_shows(by_variable, &["a", "c"]);
    let before = remote.calls().len();
    let stderr = assert_works(
        launch()
            .env("MCP_BRIDGE_TRANSPORT", "http-first")
            .args(["--header", "X-From: typed"]),
    );
    assert!(stderr.contains("strategy: http-first"), "{stderr}");
    for call in &remote.calls()[before..] {
        assert_eq!(call.header("x-from").as_deref(), Some("typed"));
        assert_eq!(call.header("x-file").as_deref(), Some("me"));
    }
    let wrong = home.write("wrong.toml", "ignore-tol = ['b']\n");
    let ended = Bridge::to(&url)
        .home(&home)
        .args(["--config".into(), wrong.into_os_string()])
        .start()
        .ended();
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    for word in ["wrong.toml", "unknown key ignore-tol", "--ignore-tool"] {
        assert!(ended.stderr.contains(word), "{}", ended.stderr);
    }
}
