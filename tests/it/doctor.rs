//! `doctor`: which line turns bad for which broken set-up, and what it offers.
//!
//! In: the whole program against servers, proxies and authorization servers that are broken in one
//! way each. Out: single checks (their own files), signing in (`doctor_sign_in`).

use std::any::Any;
use std::ffi::OsString;
use std::io::Read;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::sign_in::{PATIENCE, conversation, expire_stored, own_port, stored};
use crate::support::{
    AuthWorld, Authority, Call, Home, Legacy, Modern, Place, Proxy, Remote, Reply, Rules,
    ServerTls, auth_world,
};

/// The page about it, which names every check.
const DOCUMENTED: &str = include_str!("../../docs/doctor.md");

/// What `doctor` said and how it ended.
struct Said {
    code: Option<i32>,
    out: String,
    stderr: String,
}

impl Said {
    /// What it printed, as JSON.
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.out, self.stderr))
    }
}

/// Runs `doctor` with these arguments to its end.
#[track_caller]
fn doctor(home: &Home, arguments: &[OsString], environment: &[(&str, OsString)]) -> Said {
    ended(&mut started(home, arguments, environment))
}

#[track_caller]
fn started(home: &Home, arguments: &[OsString], environment: &[(&str, OsString)]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"));
    command
        .arg("doctor")
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .env("MCP_REMOTE_CONFIG_DIR", home.config_dir())
        .envs(environment.iter().cloned())
        .current_dir(home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("the program starts")
}

/// Waits for its end.
#[track_caller]
fn ended(child: &mut Child) -> Said {
    let out = read(child.stdout.take().expect("stdout is piped"));
    let stderr = read(child.stderr.take().expect("stderr is piped"));
    let until = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child's state") {
            break status;
        }
        if Instant::now() > until {
            child.kill().expect("the child is ours");
            panic!("doctor did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Said {
        code: status.code(),
        out: out.join().expect("a reader"),
        stderr: stderr.join().expect("a reader"),
    }
}

fn read(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).expect("it prints UTF-8");
        text
    })
}

/// One set-up, and what `doctor` has to say about it.
struct Case {
    name: &'static str,
    home: Arc<Home>,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    /// Bad lines, and the flag that each offers.
    bad: Vec<(&'static str, Option<String>)>,
    /// Lines that may be warnings, and the flag that each offers.
    warnings: Vec<(&'static str, Option<String>)>,
    /// What the set-up is made of, kept alive.
    parts: Vec<Box<dyn Any>>,
}

fn case(name: &'static str, url: &str) -> Case {
    Case {
        name,
        home: Arc::new(Home::new()),
        arguments: vec![url.into()],
        environment: Vec::new(),
        bad: Vec::new(),
        warnings: Vec::new(),
        parts: Vec::new(),
    }
}

impl Case {
    fn args<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.arguments.extend(arguments.map(OsString::from));
        self
    }

    fn home(mut self, home: &Arc<Home>) -> Self {
        self.home = Arc::clone(home);
        self
    }

    /// Keeps a part of the set-up alive.
    fn with(mut self, part: impl Any) -> Self {
        self.parts.push(Box::new(part));
        self
    }

    fn bad(mut self, id: &'static str, flag: impl Into<String>) -> Self {
        self.bad.push((id, Some(flag.into())));
        self
    }

    fn bad_without_flag(mut self, id: &'static str) -> Self {
        self.bad.push((id, None));
        self
    }

    fn warns(mut self, id: &'static str, flag: &str) -> Self {
        self.warnings.push((id, Some(flag.to_owned())));
        self
    }

    fn warns_without_flag(mut self, id: &'static str) -> Self {
        self.warnings.push((id, None));
        self
    }

    #[track_caller]
    fn check(mut self) -> Value {
        self.arguments.push("--json".into());
        let signs_in = self.arguments.iter().any(|argument| argument == "--login");
        let said = doctor(&self.home, &self.arguments, &self.environment);
        let name = self.name;
        let report = said.json();
        let pretty = &said.out;
        let marked = |mark: &str| -> Vec<(String, Option<String>)> {
            let checks = report["checks"].as_array().unwrap().iter();
            let marked = checks.filter(|check| check["mark"] == mark);
            let text = |value: &Value| value.as_str().map(str::to_owned);
            marked
                .map(|check| (text(&check["id"]).unwrap(), text(&check["flag"])))
                .collect()
        };
        let owned = |expected: &[(&str, Option<String>)]| -> Vec<(String, Option<String>)> {
            let owned = |(id, flag): &(&str, Option<String>)| ((*id).to_owned(), flag.clone());
            expected.iter().map(owned).collect()
        };
        assert_eq!(marked("bad"), owned(&self.bad), "{name}: {pretty}");
        assert_eq!(marked("warning"), owned(&self.warnings), "{name}: {pretty}");
        let is_bad = !self.bad.is_empty();
        let verdict = match (is_bad, self.warnings.is_empty()) {
            (true, _) => "bad",
            (false, false) => "warning",
            (false, true) => "good",
        };
        assert_eq!(report["verdict"], verdict, "{name}: {pretty}");
        assert_eq!(said.code, Some(i32::from(is_bad)), "{name}: {pretty}");
        // With --login the link stands there.
        assert!(
            said.stderr.is_empty() || signs_in,
            "{name}: {}",
            said.stderr
        );
        for check in report["checks"].as_array().unwrap() {
            let id = check["id"].as_str().unwrap();
            assert!(
                DOCUMENTED.contains(&format!("`{id}`")),
                "{id} is not documented"
            );
            let has_advice = check["advice"]
                .as_str()
                .is_some_and(|text| !text.is_empty());
            assert!(has_advice || check["mark"] != "bad", "{name}: {check}");
        }
        report
    }
}

/// A server whose every answer is the same, whatever is asked, except for HEAD.
fn always(reply: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Remote {
    Remote::serve(move |call| match call.verb.as_str() {
        "HEAD" => Reply::status(405),
        _ => reply(call),
    })
}

fn https(tls: ServerTls) -> crate::support::LegacyRemote {
    Legacy::sessions().lenient().tls(tls).start()
}

// ----- the way there -----

#[test]
fn a_name_that_does_not_resolve() {
    case("name", "https://mcp.invalid/mcp")
        .bad_without_flag("name")
        .check();
}

#[test]
fn a_port_where_nobody_listens() {
    let remote = Remote::away(|_| Reply::status(500));
    case("refused port", &remote.url())
        .bad_without_flag("connection")
        .check();
}

#[test]
fn certificates_that_cannot_be_trusted() {
    let (authority, other) = (Authority::new("Corp CA"), Authority::new("Other CA"));
    let home = Arc::new(Home::new());
    let trusted = home.write("ca.pem", authority.pem());
    let trusted = trusted.to_str().unwrap();
    for (name, tls, ca, flag) in [
        (
            "expired",
            authority.expired_server(),
            trusted,
            Some("--insecure"),
        ),
        (
            "self-signed",
            ServerTls::self_signed(),
            trusted,
            Some("--ca-cert FILE"),
        ),
        (
            "wrong authority",
            other.server(),
            trusted,
            Some("--ca-cert FILE"),
        ),
        (
            "another name",
            authority.server_for(&["elsewhere.test"]),
            trusted,
            None,
        ),
    ] {
        let remote = https(tls);
        remote.may_stay_uncalled();
        let case = case(name, &remote.url())
            .home(&home)
            .args(["--ca-cert", ca]);
        match flag {
            Some(flag) => case.bad("certificate", flag),
            None => case.bad_without_flag("certificate"),
        }
        .check();
    }
    let remote = https(authority.server());
    case("the right authority", &remote.url())
        .home(&home)
        .args(["--ca-cert", trusted])
        .check();
}

#[test]
fn proxies_that_refuse_or_are_away() {
    let refusing = Proxy::http(Some("Basic nobody-knows"));
    let address = format!("http://{}", refusing.address());
    case("proxy refuses", "http://mcp.test/mcp")
        .args(["--allow-http", "--proxy", &address])
        .with(refusing)
        .bad_without_flag("connection")
        .check();
    let away = Remote::away(|_| Reply::status(500));
    case("proxy is away", "http://mcp.test/mcp")
        .args(["--allow-http", "--proxy", &away.origin()])
        .bad("connection", "--proxy none")
        .check();
}

#[test]
fn a_clock_that_is_wrong() {
    let remote = Legacy::sessions()
        .lenient()
        .first(|call| match call.verb.as_str() {
            "HEAD" => Reply::status(405).header("date", "Tue, 01 Feb 2022 12:00:00 GMT"),
            _ => Reply::usual(),
        })
        .start();
    case("clock", &remote.url())
        .bad_without_flag("clock")
        .check();
}

// ----- what answers there -----

#[test]
fn addresses_where_no_server_is() {
    let remote = always(|_| Reply::text(404, "nothing here"));
    case("404", &remote.url())
        .bad_without_flag("streamable-http")
        .warns_without_flag("http-sse")
        .check();
    let remote = always(|_| Reply::status(405));
    case("405", &remote.url())
        .bad_without_flag("streamable-http")
        .warns_without_flag("http-sse")
        .check();
}

#[test]
fn a_path_that_is_missing_is_found() {
    let remote = Legacy::sessions()
        .lenient()
        .first(|call| match call.path.as_str() {
            "/mcp" => Reply::usual(),
            _ => Reply::status(404),
        })
        .start();
    let report = case("no path", &remote.url_at("/?key=hunter2"))
        .bad("streamable-http", remote.url())
        .warns_without_flag("http-sse")
        .check();
    assert!(!report.to_string().contains("hunter2"), "{report}");
    assert_eq!(remote.sessions_alive(), 0);
}

#[test]
fn a_web_page_in_place_of_a_server() {
    let remote = always(|_| Reply::html(200, "<title>Corp login</title>"));
    let report = case("web page", &remote.url())
        .bad_without_flag("streamable-http")
        .warns_without_flag("http-sse")
        .check();
    let text = report.to_string();
    assert!(
        text.contains("Corp login") && text.contains("captive portal"),
        "{text}"
    );
    assert!(text.contains("\"not-mcp\""), "{text}");
}

#[test]
fn a_server_with_a_fault_and_one_that_hangs() {
    let remote = always(|_| Reply::text(500, "boom"));
    case("500", &remote.url())
        .bad_without_flag("streamable-http")
        .warns_without_flag("http-sse")
        .check();
    let remote = always(|_| Reply::never());
    let report = case("hangs", &remote.url())
        .args(["--headers-timeout", "1"])
        .bad_without_flag("streamable-http")
        .warns_without_flag("http-sse")
        .check();
    assert!(report.to_string().contains("\"timeout\""), "{report}");
}

#[test]
fn a_redirect_to_another_server() {
    let other = Legacy::sessions().start();
    other.must_stay_uncalled();
    let target = other.url();
    let remote = always(move |_| Reply::redirect(307, &target));
    let report = case("redirect", &remote.url())
        .bad_without_flag("streamable-http")
        .warns_without_flag("http-sse")
        .check();
    let text = report.to_string();
    assert!(
        text.contains(&other.origin()) && text.contains("redirect-refused"),
        "{text}"
    );
}

// ----- transports and revisions -----

#[test]
fn a_server_of_http_sse_alone() {
    let remote = Legacy::http_sse().lenient().start();
    let report = case("SSE only", &remote.url())
        .warns("streamable-http", "--transport sse-only")
        .check();
    assert!(report.to_string().contains("\"revision\""), "{report}");
    case("SSE only, and allowed", &remote.url())
        .args(["--transport", "sse-only"])
        .check();
    case("SSE only, and excluded", &remote.url())
        .args(["--transport", "http-only"])
        .bad("streamable-http", "--transport sse-only")
        .check();
}

#[test]
fn a_server_of_streamable_http_alone() {
    let remote = Legacy::sessions().lenient().start();
    case("SSE first", &remote.url())
        .args(["--transport", "sse-first"])
        .warns("http-sse", "--transport http-only")
        .check();
    case("HTTP excluded", &remote.url())
        .args(["--transport", "sse-only"])
        .bad("http-sse", "--transport http-only")
        .check();
}

#[test]
fn a_server_without_a_handshake() {
    let remote = Modern::new().lenient().start();
    let report = case("modern only", &remote.url()).check();
    assert!(report.to_string().contains("2026-07-28"), "{report}");
    case("modern only, and allowed", &remote.url())
        .args(["--protocol", "modern"])
        .check();
    case("modern only, and excluded", &remote.url())
        .args(["--protocol", "legacy"])
        .bad("revision", "--protocol auto")
        .check();
    let remote = Legacy::sessions().lenient().start();
    case("legacy only, and excluded", &remote.url())
        .args(["--protocol", "modern"])
        .bad("revision", "--protocol auto")
        .check();
}

// ----- signing in -----

fn world_with(rules: impl FnOnce(&mut Rules)) -> AuthWorld {
    AuthWorld::with(Legacy::sessions().lenient(), rules, |_| {})
}

fn case_in(world: &AuthWorld, name: &'static str) -> Case {
    let mut case = case(name, &world.remote.url()).home(&world.home);
    let path = world.launcher.program();
    let path = path.parent().unwrap().to_owned();
    case.environment = vec![("PATH", path.into()), ("DISPLAY", ":99".into())];
    case
}

#[test]
fn a_server_that_wants_a_sign_in() {
    let world = world_with(|_| {});
    let report = case_in(&world, "nobody is signed in")
        .warns("sign-in", "--login")
        .check();
    assert_eq!(report["text"], "works once you have signed in");
    assert_eq!(world.launcher.count(), 0);
    assert_eq!(world.auth.registrations().len(), 0);
    case_in(&world, "signs in now").args(["--login"]).check();
    assert_eq!(world.launcher.count(), 1);
    assert_eq!(world.remote.sessions_alive(), 0);
    case_in(&world, "is signed in").check();
    assert_eq!(world.launcher.count(), 1);
    world.remote.take_violations();
    world.guard.take_violations();
}

#[test]
fn a_401_without_metadata() {
    let world = AuthWorld::with(
        Legacy::sessions().lenient(),
        |rules| rules.documents = Vec::new(),
        |door| door.metadata = Place::Nowhere,
    );
    let case = case_in(&world, "no metadata");
    case.bad(
        "server-metadata",
        "--header \"Authorization: Bearer ${TOKEN}\"",
    )
    .check();
}

#[test]
fn pkce_that_is_not_offered() {
    let world = world_with(|rules| {
        rules.metadata_edits = json!({"code_challenge_methods_supported": null});
    });
    case_in(&world, "no PKCE")
        .bad("pkce", "--allow-missing-pkce")
        .check();
}

#[test]
fn an_issuer_that_is_another() {
    let world = world_with(|rules| {
        rules.metadata_edits = json!({"issuer": "https://elsewhere.test"});
    });
    case_in(&world, "issuer mismatch")
        .bad("issuer", "--expect-issuer https://elsewhere.test")
        .check();
}

#[test]
fn a_port_for_the_way_back_that_is_taken() {
    let world = auth_world();
    let port = own_port();
    let taken = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    let mut case = case_in(&world, "port taken").args([&port]).with(taken);
    case.bad = vec![("callback", None)];
    // Which port is free is the program's to say.
    case.arguments.push("--json".into());
    let said = doctor(&case.home, &case.arguments, &case.environment);
    let report = said.json();
    let checks = report["checks"].as_array().unwrap();
    let bad: Vec<_> = checks
        .iter()
        .filter(|check| check["mark"] == "bad")
        .collect();
    assert_eq!(bad.len(), 1, "{report}");
    assert_eq!(bad[0]["id"], "callback", "{report}");
    let free: u16 = bad[0]["flag"].as_str().unwrap().parse().unwrap();
    assert_ne!(free.to_string(), port);
    assert_eq!(said.code, Some(1));
}

#[test]
fn a_token_that_expired() {
    let world = world_with(|_| {});
    conversation(world.bridge());
    expire_stored(&world);
    case_in(&world, "expired, and renewed by itself").check();
    assert_eq!(world.auth.grants("refresh_token").len(), 1);
    expire_stored(&world);
    let (path, mut tokens) = stored(&world.home, "_tokens.json");
    tokens.as_object_mut().unwrap().remove("refresh_token");
    std::fs::write(path, tokens.to_string()).unwrap();
    case_in(&world, "expired for good")
        .bad("stored-sign-in", "--login")
        .warns("sign-in", "--login")
        .check();
    assert_eq!(world.launcher.count(), 1);
}

#[test]
fn an_authorization_header_that_is_refused() {
    let world = auth_world();
    case_in(&world, "own header")
        .args(["--header", "Authorization: Bearer hunter2-hunter2"])
        .bad_without_flag("authorization")
        .check();
    case_in(&world, "header command")
        .args(["--header-command", "X-Key: exit 3"])
        .bad_without_flag("header-command")
        .warns("sign-in", "--login")
        .check();
}

// ----- the conversation -----

#[test]
fn lists_are_followed_counted_and_filtered() {
    let tools = |names: [&str; 2]| {
        json!(names.map(|name| json!({"name": name, "inputSchema": {"type": "object"}})))
    };
    let remote = Modern::new()
        .lenient()
        .tool_pages(vec![tools(["a", "delete_b"]), tools(["c", "delete_d"])])
        .start();
    let report = case("filtered", &remote.url())
        .args(["--ignore-tool", "delete_*"])
        .check();
    let text = text_of(&report, "tools");
    assert!(
        text.starts_with("2 listed, on 2 pages; 2 hidden by"),
        "{text}"
    );
    let mut case = case("all hidden", &remote.url()).args(["--only-tool", "x*"]);
    case.warnings = vec![("tools", None)];
    case.check();
    assert!(remote.calls_of("tools/call").is_empty());
}

#[track_caller]
fn text_of(report: &Value, id: &str) -> String {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["id"] == id);
    let check = check.unwrap_or_else(|| panic!("no {id} in {report}"));
    check["text"].as_str().unwrap().to_owned()
}

#[test]
fn a_list_that_fails_and_one_that_does_not_end() {
    let remote = Legacy::sessions()
        .lenient()
        .capabilities(json!({"tools": {}, "prompts": {}, "resources": {}}))
        .on("prompts/list", |call| {
            call.error(-32603, "no \u{1b}[2J luck")
        })
        .on("resources/list", |call| {
            let cursor = call.number.to_string();
            call.result(&json!({"resources": [{"uri": "a:b", "name": "n"}], "nextCursor": cursor}))
        })
        .start();
    case("a list fails", &remote.url())
        .bad_without_flag("prompts")
        .warns_without_flag("resources")
        .check();
    assert_eq!(remote.sessions_alive(), 0);
}

#[test]
fn every_session_is_ended_and_nothing_is_called() {
    let remote = Legacy::sessions().lenient().start();
    case("all good", &remote.url()).check();
    assert!(remote.sessions_opened() > 0);
    assert_eq!(remote.sessions_alive(), 0);
    assert!(remote.calls_of("tools/call").is_empty());
}

#[test]
#[cfg(unix)]
fn a_session_is_ended_when_somebody_stops_doctor() {
    let remote = Legacy::sessions()
        .lenient()
        .on("tools/list", |_| Reply::never())
        .start();
    let home = Home::new();
    let mut child = started(&home, &[remote.url().into()], &[]);
    let until = Instant::now() + PATIENCE;
    while remote.calls_of("tools/list").is_empty() {
        assert!(Instant::now() < until, "nothing is listed");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let said = ended(&mut child);
    assert_eq!(remote.sessions_alive(), 0);
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(said.stderr.contains("stopped before"), "{}", said.stderr);
    assert!(!said.out.contains("bad "), "{}", said.out);
}

#[test]
fn a_limit_of_the_users_is_named_where_it_is_reached() {
    let remote = Legacy::sessions()
        .lenient()
        .on("tools/list", |_| Reply::never())
        .start();
    let report = case("call timeout", &remote.url())
        .args(["--call-timeout", "1"])
        .bad_without_flag("tools")
        .check();
    let text = text_of(&report, "tools");
    assert!(text.contains("--call-timeout"), "{text}");
}

// ----- how it looks -----

#[test]
fn json_has_one_shape() {
    let remote = Legacy::sessions().lenient().start();
    let report = case("shape", &remote.url_at("/mcp?key=hunter2")).check();
    let members = |value: &Value| -> Vec<String> {
        let members = value.as_object().unwrap().keys();
        members.cloned().collect()
    };
    assert_eq!(
        members(&report),
        [
            "checks",
            "not_tried",
            "server",
            "text",
            "verdict",
            "version"
        ]
    );
    assert_eq!(report["server"], remote.url().as_str());
    for check in report["checks"].as_array().unwrap() {
        assert_eq!(
            members(check),
            ["advice", "flag", "id", "kind", "mark", "millis", "text"]
        );
    }
}

#[test]
fn g09_piped_text_is_plain_and_ends_with_the_verdict() {
    let remote = always(|_| Reply::html(200, "<title>\u{1b}]0;x\u{7}\u{9b}2J</title>"));
    let home = Home::new();
    let said = doctor(&home, &[remote.url().into()], &[]);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert_eq!(said.stderr, "");
    let is_hostile = |char: char| char.is_control() && char != '\n';
    assert!(!said.out.chars().any(is_hostile), "{:?}", said.out);
    let lines: Vec<&str> = said.out.lines().collect();
    let bad = lines.iter().position(|line| line.starts_with("bad "));
    let bad = bad.unwrap_or_else(|| panic!("{}", said.out));
    assert!(lines[bad].contains("streamable-http") && lines[bad].contains("[not-mcp]"));
    assert!(lines[bad + 1].starts_with("        -> "), "{}", said.out);
    let last = lines.last().unwrap();
    assert!(last.contains("does not work: streamable-http"), "{last}");
    let debug = doctor(&home, &[remote.url().into(), "--debug".into()], &[]);
    assert_eq!(debug.code, Some(1));
    assert!(!debug.out.contains("[2"), "{}", debug.out);
}

#[test]
fn f22_no_secret_in_anything_that_doctor_says() {
    let world = auth_world();
    let secrets = [
        "canary-header-value",
        "canary-query-value",
        "canary-password",
        "canary-client-secret",
        "canary-variable-value",
    ];
    let url = world.remote.url_at("/mcp?key=canary-query-value");
    let url = url.replace("http://", "http://canary-user:canary-password@");
    conversation(world.bridge());
    let report = world.home.path().join("report.md");
    let client = r#"{"client_id":"canary-id","client_secret":"canary-client-secret"}"#;
    for arguments in [
        vec!["--header", "X-Key: canary-header-value"],
        vec!["--header", "X-Key: ${CANARY}", "--debug"],
        vec!["--static-oauth-client-info", client, "--json"],
    ] {
        let is_user = arguments.contains(&"--json");
        let target = if is_user {
            url.replace("canary-user:canary-password@", "")
        } else {
            url.clone()
        };
        let mut all: Vec<OsString> = vec![target.into(), "--report".into(), report.clone().into()];
        all.extend(arguments.iter().map(OsString::from));
        let said = doctor(
            &world.home,
            &all,
            &[("CANARY", OsString::from("canary-variable-value"))],
        );
        let written = std::fs::read_to_string(&report).unwrap();
        let tokens = world.auth.secrets();
        let texts = [&said.out, &said.stderr, &written];
        for text in texts {
            for secret in secrets
                .iter()
                .copied()
                .chain(tokens.iter().map(String::as_str))
            {
                assert!(!text.contains(secret), "{arguments:?}: {secret} in {text}");
            }
        }
        assert!(written.contains("## Checks") && written.contains("## Log of this run"));
        assert!(written.contains("[hidden]"), "{written}");
        std::fs::remove_file(&report).unwrap();
    }
    world.remote.take_violations();
    world.guard.take_violations();
}

#[test]
fn f22_no_session_or_cookie_in_the_report() {
    let remote = Legacy::sessions()
        .lenient()
        .on("tools/list", |call| {
            let session = call.session().unwrap_or_default();
            let cookie = call.header("cookie").unwrap_or_default();
            Reply::text(500, format!("you sent {session} and {cookie}"))
        })
        .on("initialize", |call| {
            let result = json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "n", "version": "1"},
            });
            let reply = call.result(&result);
            reply.add_header("set-cookie", "canary=canary-cookie-value; Path=/")
        })
        .start();
    let home = Home::new();
    let file = home.path().join("report.md");
    let arguments = [remote.url().into(), "--report".into(), file.clone().into()];
    let said = doctor(&home, &arguments, &[]);
    let written = std::fs::read_to_string(&file).unwrap();
    for probe in [
        "for initialize: HTTP 200",
        "for the stream of HTTP+SSE: HTTP ",
    ] {
        assert!(written.contains(probe), "{written}");
    }
    let sessions = remote.calls().into_iter().filter_map(|call| call.session());
    for secret in sessions.chain(["canary-cookie-value".to_owned()]) {
        for text in [&said.out, &said.stderr, &written] {
            assert!(!text.contains(&secret), "{secret} in {text}");
        }
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_report_that_cannot_be_written_says_so() {
    let remote = Legacy::sessions().lenient().start();
    let home = Home::new();
    let file = home.path().join("no/folder/report.md");
    let arguments = [remote.url().into(), "--report".into(), file.into()];
    let said = doctor(&home, &arguments, &[]);
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains("--report"), "{}", said.stderr);
    assert!(!said.stderr.contains("at path"), "{}", said.stderr);
    assert!(said.out.trim_end().ends_with("works."), "{}", said.out);
}

#[test]
fn options_that_are_wrong_end_with_2() {
    let home = Home::new();
    let said = doctor(&home, &["http://example.com/".into()], &[]);
    assert_eq!(said.code, Some(2), "{}", said.out);
    assert_eq!(said.out, "");
    assert!(said.stderr.contains("--allow-http"), "{}", said.stderr);
}

#[test]
fn every_check_in_the_documentation_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = |folder: &str| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(root.join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let files = ["proto/doctor", "commands/doctor", "sign_in"]
        .into_iter()
        .flat_map(files);
    let source: String = files
        .filter(|file| file.is_file())
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    let (_, tables) = DOCUMENTED.split_once("\n## The checks\n").unwrap();
    let cells = tables
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let ids: Vec<&str> = cells
        .flat_map(|cell| cell.split('`').filter(|part| !part.starts_with(',')))
        .filter(|id| !id.is_empty())
        .collect();
    assert!(ids.len() > 25, "{ids:?}");
    for id in ids {
        assert!(source.contains(&format!("\"{id}\"")), "{id} is never said");
    }
}
