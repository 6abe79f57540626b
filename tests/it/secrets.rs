//! Secrets in every place where one may be given, failures of every kind, and a search of all that
//! the program says: stdout, stderr with `--debug`, the log file, its list of arguments.

use std::ffi::OsString;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::{
    Authority, Bridge, Call, Home, Launch, Legacy, LegacyRemote, Proxy, Refusal, Remote, Reply, rpc,
};

/// What each place holds. No two are parts of each other.
const HEADER: &str = "cnry-header-1f6a";
const VARIABLE: &str = "cnry-variable-93c2";
const FILE: &str = "cnry-file-77d0";
const COMMAND: &str = "cnry-command-b81e";
const PROXY: &str = "cnry-proxy-40aa";
const QUERY: &str = "cnry-query-5e9b";
const PASSWORD: &str = "cnry-password-c3d4";
const COOKIE: &str = "cnry-cookie-08f7";
const SESSION: &str = "cnry-session-2b6e";
const TARGET: &str = "cnry-target-e105";

/// All of those begin with this.
const ANY: &str = "cnry-";

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(text)
}

/// A home with the files that hold secrets, and a log file.
fn home() -> Arc<Home> {
    let home = Arc::new(Home::new());
    home.write("headers", format!("X-File: {FILE}\n"));
    home
}

/// The arguments that bring secrets along, and those that make the program talk.
fn with_secrets(url: &str, home: &Arc<Home>, format: &str) -> (Launch, Vec<OsString>) {
    let path = |name: &str| home.path().join(name).display().to_string();
    let arguments: Vec<OsString> = [
        url.to_owned(),
        "--debug".to_owned(),
        format!("--log-format={format}"),
        format!("--log-file={}", path("bridge.log")),
        "--header".to_owned(),
        format!("X-Typed: {HEADER}"),
        "--header".to_owned(),
        "X-Variable: Bearer ${SECRET}".to_owned(),
        "--header-file".to_owned(),
        path("headers"),
        "--header-command".to_owned(),
        // The command itself must not be one that shows the secret.
        "X-Command: cat command-secret".to_owned(),
    ]
    .map(OsString::from)
    .to_vec();
    home.write("command-secret", COMMAND);
    let launch = Bridge::command(arguments.clone())
        .home(home)
        .env("SECRET", VARIABLE)
        .env("PATH", std::env::var_os("PATH").unwrap());
    (launch, arguments)
}

/// Everything the program said.
struct Said {
    home: Arc<Home>,
    stdout: Vec<Value>,
    stderr: String,
}

impl Said {
    /// Takes what is left of a run that ends by itself once stdin is closed.
    #[track_caller]
    fn after(mut bridge: Bridge, mut stdout: Vec<Value>) -> Self {
        bridge.close_stdin();
        let home = Arc::clone(bridge.home());
        let ended = bridge.ended();
        stdout.extend(ended.messages);
        Self {
            home,
            stdout,
            stderr: ended.stderr,
        }
    }

    /// No secret anywhere, in no form, and the log was really there to be searched.
    #[track_caller]
    fn assert_clean(&self, more: &[String]) {
        let log = self.home.read("bridge.log");
        assert!(log.lines().count() > 2, "the log file is empty: {log}");
        let stdout: String = self.stdout.iter().map(Value::to_string).collect();
        let mut forms = vec![ANY.to_owned()];
        forms.extend(more.iter().cloned());
        for secret in [format!("user:{PROXY}"), format!("me:{PASSWORD}")] {
            forms.push(base64(&secret));
        }
        for (place, text) in [("stdout", &stdout), ("stderr", &self.stderr), ("log", &log)] {
            for form in &forms {
                assert!(
                    !text.contains(form.as_str()),
                    "{form} is in {place}:\n{text}"
                );
            }
        }
    }
}

/// What the server was really sent.
#[track_caller]
fn assert_carried(call: &Call) {
    for (name, value) in [
        ("x-typed", HEADER.to_owned()),
        ("x-variable", format!("Bearer {VARIABLE}")),
        ("x-file", FILE.to_owned()),
        ("x-command", COMMAND.to_owned()),
        (
            "authorization",
            format!("Basic {}", base64(&format!("me:{PASSWORD}"))),
        ),
    ] {
        assert_eq!(call.header(name), Some(value), "{name}: {call:?}");
    }
    assert_eq!(call.query, Some(format!("key={QUERY}")), "{call:?}");
}

fn secret_url(remote: &Remote) -> String {
    let url = remote.url_at(&format!("/mcp?key={QUERY}"));
    url.replace("://", &format!("://me:{PASSWORD}@"))
}

/// A server that gives out a secret session id and a secret cookie; `tools/call` gets what the
/// closure says.
fn keep(call: &Call, on_call: impl Fn(&Call) -> Reply) -> Reply {
    match call.key() {
        "initialize" => {
            let result = json!({
                "protocolVersion": rpc::VERSION,
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "keeper", "version": "1"},
            });
            call.result(&result)
                .header("mcp-session-id", &format!("{SESSION}-{}", call.nth))
                .header("set-cookie", &format!("lb={COOKIE}; Path=/"))
        }
        "tools/call" => on_call(call),
        "GET" => Reply::status(405),
        "DELETE" => Reply::status(200),
        _ if call.is_request() => call.result(&json!({})),
        _ => Reply::accepted(),
    }
}

/// Sends `initialize` and gives the responses until it is answered.
fn opened(launch: Launch) -> (Bridge, Vec<Value>) {
    let bridge = launch.start();
    bridge.send(&rpc::initialize("init", rpc::VERSION));
    let response = bridge.response("init");
    (bridge, vec![response])
}

/// Runs a launch whose `initialize` must fail; gives its error message.
#[track_caller]
fn assert_fails_clean(launch: Launch, more: &[String]) -> String {
    let (bridge, stdout) = opened(launch);
    let message = stdout[0]["error"]["message"].as_str().map(str::to_owned);
    let said = Said::after(bridge, stdout);
    said.assert_clean(more);
    message.unwrap_or_else(|| panic!("{:?}", said.stdout))
}

#[test]
fn f20_a_whole_conversation_through_a_proxy_shows_no_secret() {
    for format in ["text", "json"] {
        let authority = Authority::new("Corp CA");
        let tls = authority.server().only_clients_of(&authority);
        let remote = Remote::serve_tls(&tls, |call| keep(call, |call| call.result(&call.echo())));
        let proxy = Proxy::http(Some("Basic "));
        let home = home();
        let ca = home.write("ca.pem", authority.pem());
        let (certificate, key) = authority.client("me");
        let pem = home.write("me.pem", format!("{certificate}{key}"));
        let (launch, _) = with_secrets(&secret_url(&remote), &home, format);
        let launch = launch
            .env("NODE_EXTRA_CA_CERTS", ca)
            .args(["--client-cert".into(), pem.into_os_string()])
            .args([
                "--proxy".to_owned(),
                format!("http://user:{PROXY}@{}", proxy.address()),
            ]);
        let (mut bridge, mut stdout) = opened(launch);
        bridge.send(&rpc::initialized());
        stdout.push(bridge.request("tools/call", rpc::echo_params("hello")));
        assert_eq!(stdout[1]["result"]["content"][0]["text"], "hello");
        let said = Said::after(bridge, stdout);
        let key_lines: Vec<_> = key.lines().filter(|line| !line.starts_with("--")).collect();
        said.assert_clean(
            &key_lines
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
        );
        let calls = remote.calls();
        calls.iter().for_each(assert_carried);
        let last = calls.last().unwrap();
        assert_eq!(last.verb, "DELETE");
        assert_eq!(last.session(), Some(format!("{SESSION}-1")));
        assert_eq!(last.header("cookie"), Some(format!("lb={COOKIE}")));
        for head in proxy.seen() {
            assert!(head.contains(&base64(&format!("user:{PROXY}"))), "{head}");
            assert!(!head.contains(ANY), "{head}");
        }
    }
}

type Answer = fn() -> Reply;

#[test]
fn f20_answers_of_every_kind_show_no_secret() {
    let kinds: [(&str, Answer); 14] = [
        ("500", || Reply::text(500, "broken")),
        ("401", || Reply::text(401, "who are you?")),
        ("429", || Reply::status(429).header("retry-after", "1000")),
        ("elsewhere", || {
            Reply::redirect(307, &format!("https://elsewhere.test/mcp?code={TARGET}"))
        }),
        ("user", || {
            Reply::redirect(307, &format!("http://me:{TARGET}@elsewhere.test/"))
        }),
        ("see other", || {
            Reply::redirect(303, &format!("/login?next={TARGET}"))
        }),
        ("no address", || {
            Reply::redirect(307, &format!("http://[/?code={TARGET}"))
        }),
        ("no user", || {
            Reply::redirect(307, &format!("http://me:{TARGET}@[/"))
        }),
        ("page", || Reply::html(200, "<title>Log in</title>")),
        ("encoding", || {
            Reply::json_text("{}").header("content-encoding", "br")
        }),
        ("damaged", || {
            Reply::json_text(TARGET).header("content-encoding", "gzip")
        }),
        ("head", || {
            let field = format!("x-field: {TARGET}{}\r\n", "x".repeat(1000));
            Reply::raw(format!("HTTP/1.1 200 OK\r\n{}\r\n", field.repeat(90)))
        }),
        ("no http", || Reply::raw(format!("{TARGET}\r\n\r\n"))),
        ("cut", Reply::cut_before_head),
    ];
    let remote = Remote::serve(move |call| {
        keep(call, |call| {
            let asked = call.params()["arguments"]["text"].as_str().unwrap();
            kinds.iter().find(|(kind, _)| *kind == asked).unwrap().1()
        })
    });
    let home = home();
    let (launch, _) = with_secrets(&secret_url(&remote), &home, "text");
    let (mut bridge, mut stdout) = opened(launch);
    bridge.send(&rpc::initialized());
    for (kind, _) in kinds {
        let response = bridge.request("tools/call", rpc::echo_params(kind));
        assert_eq!(response["error"]["code"], -31000, "{kind}: {response}");
        stdout.push(response);
    }
    Said::after(bridge, stdout).assert_clean(&[]);
    remote.calls().iter().for_each(assert_carried);
}

#[test]
fn f20_lost_sessions_show_no_secret() {
    let remote = Remote::serve(|call| keep(call, |_| Refusal::NotFound.reply()));
    let home = home();
    let (launch, _) = with_secrets(&secret_url(&remote), &home, "text");
    let (mut bridge, mut stdout) = opened(launch);
    bridge.send(&rpc::initialized());
    let response = bridge.request("tools/call", rpc::echo_params("x"));
    assert_eq!(
        response["error"]["data"]["kind"], "session-lost",
        "{response}"
    );
    stdout.push(response);
    Said::after(bridge, stdout).assert_clean(&[]);
    assert!(remote.calls_of("initialize").len() > 1);
}

#[test]
fn f20_connections_that_fail_show_no_secret() {
    let authority = Authority::new("Corp CA");
    let remote = Remote::serve_tls(&authority.server(), |_| Reply::status(500));
    remote.must_stay_uncalled();
    let url = secret_url(&remote);
    let nowhere = format!("https://me:{PASSWORD}@nowhere.invalid/mcp?key={QUERY}");
    let (picky, away) = (
        Proxy::http(Some("nobody")),
        Remote::away(|_| Reply::status(500)),
    );
    let socks = Proxy::socks("user", "another");
    let proxies = [
        (None, &url, "Corp CA"),
        (None, &nowhere, "nowhere.invalid"),
        (
            Some(format!("http://user:{PROXY}@{}", picky.address())),
            &url,
            "407",
        ),
        (
            Some(format!("http://user:{PROXY}@{}", away.address())),
            &url,
            "--proxy none",
        ),
        (
            Some(format!("socks5h://user:{PROXY}@{}", socks.address())),
            &url,
            "does not accept",
        ),
    ];
    for (proxy, url, words) in proxies {
        let home = home();
        let (mut launch, _) = with_secrets(url, &home, "text");
        if let Some(proxy) = proxy {
            launch = launch.args(["--proxy".to_owned(), proxy]);
        }
        let message = assert_fails_clean(launch, &[]);
        assert!(message.contains(words), "{words} is not in {message}");
    }
}

#[test]
fn f20_a_server_that_is_away_shows_no_secret() {
    let remote = Remote::away(|_| Reply::status(500));
    let home = home();
    let (launch, _) = with_secrets(&secret_url(&remote), &home, "text");
    let bridge = launch.args(["--eof-grace=0"]).start();
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    bridge.wait_stderr("connection refused");
    Said::after(bridge, Vec::new()).assert_clean(&[]);
}

/// HTTP+SSE: the session is in the announced address.
#[test]
fn f20_announced_addresses_show_no_secret() {
    let elsewhere = format!("https://elsewhere.test/messages?sid={SESSION}");
    let nowhere = format!("http://[/messages?sid={SESSION}");
    let user = format!("http://me:{TARGET}@elsewhere.test/");
    let unreadable_user = format!("http://me:{TARGET}@[/");
    for endpoint in [elsewhere, nowhere, user, unreadable_user] {
        let announced = endpoint.clone();
        let remote = Remote::serve(move |_| {
            Reply::stream(|stream| stream.send(format!("event: endpoint\ndata: {announced}\n\n")))
        });
        let home = home();
        let (launch, _) = with_secrets(&secret_url(&remote), &home, "text");
        assert_fails_clean(launch.args(["--transport=sse-only"]), &[]);
    }
    let remote: LegacyRemote = Legacy::http_sse()
        .lenient()
        .endpoint(&format!("/messages?sid={{sid}}&key={SESSION}"))
        .on("tools/call", |_| Reply::text(500, "broken").direct())
        .start();
    let home = home();
    let (launch, _) = with_secrets(&secret_url(&remote), &home, "text");
    let (mut bridge, mut stdout) = opened(launch.args(["--transport=sse-only"]));
    assert!(stdout[0].get("result").is_some(), "{stdout:?}");
    bridge.send(&rpc::initialized());
    stdout.push(bridge.request("tools/call", rpc::echo_params("x")));
    Said::after(bridge, stdout).assert_clean(&[]);
}

#[test]
fn f20_wrong_options_are_refused_without_their_values() {
    let home = home();
    let bad_line = home.write("bad-headers", format!("X-A: 1\n{HEADER}\n"));
    let bad_config = home.write(
        "bad.toml",
        format!("header = ['X: {HEADER}'\nproxy = '{PROXY}"),
    );
    let bad_key = home.write(
        "bad.key",
        format!("-----BEGIN PRIVATE KEY-----\n{HEADER}\n"),
    );
    let path = |file: &std::path::Path| file.display().to_string();
    let url = format!("https://me:{PASSWORD}@localhost:1/?key={QUERY}");
    let cases: Vec<Vec<String>> = vec![
        vec![format!("{QUERY}.test")],
        vec![format!("ftp://me:{PASSWORD}@a.test/?key={QUERY}")],
        vec![format!("http://me:{PASSWORD}@a.test/?key={QUERY}")],
        vec![format!("https://me:{PASSWORD}@[/?key={QUERY}")],
        vec!["--header".into(), HEADER.into()],
        vec!["--header".into(), format!("X: {HEADER}\u{100}")],
        vec!["--header".into(), format!("X: {HEADER}\nY: 1")],
        // What a shell makes of a header without quotation marks.
        vec![
            "--header".into(),
            "X:".into(),
            "Bearer".into(),
            HEADER.into(),
        ],
        vec!["--header-file".into(), path(&bad_line)],
        vec!["--header-command".into(), COMMAND.into()],
        vec!["--config".into(), path(&bad_config)],
        vec!["--client-cert".into(), path(&bad_key)],
        vec!["--proxy".into(), format!("ftp://user:{PROXY}@x")],
        vec![format!("--tokn={HEADER}")],
        vec!["--transport".into(), HEADER.into()],
        vec!["--connect-timeout".into(), HEADER.into()],
        vec![format!("--debug={HEADER}")],
        vec![HEADER.into()],
    ];
    for (number, case) in cases.into_iter().enumerate() {
        let mut arguments = case.clone();
        if number > 3 {
            arguments.insert(0, url.clone());
        }
        let ended = Bridge::command(arguments).home(&home).start().ended();
        assert_ne!(ended.status.code(), Some(0), "{case:?}: {}", ended.stderr);
        assert!(
            ended.stderr.starts_with("mcp-bridge: "),
            "{case:?}: {}",
            ended.stderr
        );
        assert!(!ended.stderr.contains(ANY), "{case:?}: {}", ended.stderr);
        assert_eq!(ended.messages, [json!(null); 0]);
    }
    for (variable, named, value) in [
        (
            "HTTPS_PROXY",
            "HTTPS_PROXY",
            format!("ftp://user:{PROXY}@x"),
        ),
        (
            "MCP_BRIDGE_PROXY",
            "--proxy",
            format!("ftp://user:{PROXY}@x"),
        ),
        (
            "MCP_BRIDGE_TRANSPORT",
            "MCP_BRIDGE_TRANSPORT",
            HEADER.to_owned(),
        ),
        ("MCP_BRIDGE_DEBUG", "MCP_BRIDGE_DEBUG", HEADER.to_owned()),
    ] {
        let ended = Bridge::command([&url]).env(variable, value).start().ended();
        assert_eq!(ended.status.code(), Some(2), "{variable}: {}", ended.stderr);
        assert!(ended.stderr.contains(named), "{}", ended.stderr);
        assert!(!ended.stderr.contains(ANY), "{variable}: {}", ended.stderr);
    }
}

/// What other users of the machine can see: nothing but what was typed.
#[cfg(target_os = "linux")]
#[test]
fn f20_the_process_list_shows_what_was_typed_and_no_more() {
    let remote = Remote::serve(|call| keep(call, |call| call.result(&call.echo())));
    let home = home();
    let (launch, arguments) = with_secrets(&secret_url(&remote), &home, "text");
    let (mut bridge, _) = opened(launch);
    bridge.send(&rpc::initialized());
    bridge.request("tools/call", rpc::echo_params("x"));
    let shown = std::fs::read_to_string(format!("/proc/{}/cmdline", bridge.id())).unwrap();
    let mut shown = shown.split_terminator('\0');
    assert!(shown.next().unwrap().ends_with("mcp-bridge"));
    let typed: Vec<_> = arguments
        .iter()
        .map(|text| text.to_str().unwrap())
        .collect();
    assert_eq!(shown.collect::<Vec<_>>(), typed);
    for hidden in [VARIABLE, FILE, COMMAND, COOKIE, SESSION] {
        assert!(typed.iter().all(|text| !text.contains(hidden)));
    }
    bridge.finish();
}

/// Gateways quote the request they refuse.
#[test]
fn f22_a_server_that_quotes_our_headers_shows_no_secret() {
    for status in [200, 400, 403, 500] {
        let remote = Remote::serve(move |call| {
            let quoted = ["x-typed", "x-variable", "x-file", "x-command"]
                .map(|name| call.header(name).unwrap_or_default())
                .join(", ");
            assert!(quoted.contains(HEADER) && quoted.contains(COMMAND));
            Reply::text(status, format!("refused: {quoted}"))
        });
        let home = home();
        let (launch, _) = with_secrets(&remote.url(), &home, "text");
        let message = assert_fails_clean(launch.args(["--transport", "http-only"]), &[]);
        assert!(message.contains("refused: [hidden]"), "{status}: {message}");
    }
}

#[test]
fn f22_a_redirect_that_quotes_our_headers_shows_no_secret() {
    for start in ["https://elsewhere.example/", "/", "https://["] {
        let remote = Remote::serve(move |call| {
            let quoted = call.header("x-typed").unwrap_or_default();
            assert_eq!(quoted, HEADER);
            // So long that the secret is cut where texts are shortened.
            let padding = "x".repeat(260);
            let status = if call.path == "/mcp" && start == "/" {
                307
            } else {
                303
            };
            Reply::redirect(status, &format!("{start}{quoted}/{padding}/{quoted}"))
        });
        let home = home();
        let (launch, _) = with_secrets(&remote.url(), &home, "text");
        let message = assert_fails_clean(launch.args(["--transport", "http-only"]), &[]);
        assert!(message.contains("redirects to"), "{message}");
    }
}
