//! Sign-ins among hostile peers: redirects that would carry secrets away, endless answers, addresses
//! that nobody should open, escape sequences, pages and processes that meddle with the way back,
//! a store that was tampered with.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use url::Url;

use crate::support::{
    AuthWorld, Bridge, Browser, Door, Gate, Legacy, Page, Person, Remote, Reply, Rules, rpc,
};

/// The most memory that a bridge may ever have held in these tests, in KiB.
const PEAK: usize = 48 << 10;

const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

fn world(change: impl FnOnce(&mut Rules)) -> AuthWorld {
    AuthWorld::with(Legacy::sessions(), change, |_| {})
}

fn initialize(bridge: &Bridge) -> Value {
    bridge.send(&rpc::initialize("init", rpc::VERSION));
    bridge.response("init")
}

#[track_caller]
fn kind(response: &Value) -> String {
    let kind = response["error"]["data"]["kind"].as_str();
    kind.unwrap_or_else(|| panic!("{response}")).to_owned()
}

/// Never more than [`PEAK`] was in memory, as far as the system tells.
#[track_caller]
fn stayed_small(bridge: &Bridge) {
    let Ok(status) = fs::read_to_string(format!("/proc/{}/status", bridge.id())) else {
        return;
    };
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|text| text.trim().strip_suffix(" kB"));
    let peak: usize = peak.expect("a peak").trim().parse().expect("a number");
    assert!(peak < PEAK, "{peak} KiB");
}

/// Where to break a sign-in, and the world in which it comes to that.
const PLACES: [&str; 5] = ["resource", "metadata", "/register", "/token", "/device"];

fn world_at(place: &str) -> AuthWorld {
    let world = world(|rules| rules.device_flow = place == "/device");
    world.auth.lenient();
    world
}

fn bridge_at(world: &AuthWorld, place: &str) -> Bridge {
    let launch = world.bridge();
    let launch = if place == "/device" {
        launch.args(["--device-code"])
    } else {
        launch
    };
    launch.start()
}

/// A server whose metadata is what the closure says.
fn with_resource(answer: impl Fn() -> Reply + Send + Sync + 'static) -> Remote {
    Remote::serve(move |call| {
        if call
            .path
            .starts_with("/.well-known/oauth-protected-resource")
        {
            return answer();
        }
        let host = call.header("host").unwrap_or_default();
        let place = format!("http://{host}/.well-known/oauth-protected-resource/mcp");
        let challenge = format!("Bearer resource_metadata=\"{place}\"");
        Reply::status(401).header("www-authenticate", &challenge)
    })
}

/// Runs a sign-in whose answers at one place are these; gives the bridge and its error.
fn broken_at(
    world: &AuthWorld,
    place: &'static str,
    answer: impl Fn() -> Reply + Send + Sync + 'static,
) -> (Bridge, Value, Option<Remote>) {
    if place == "resource" {
        let remote = with_resource(answer);
        let bridge = world.bridge_to(&remote.url()).start();
        world.remote.may_stay_uncalled();
        let failed = initialize(&bridge);
        return (bridge, failed, Some(remote));
    }
    world.auth.on(place, move |_| answer());
    let bridge = bridge_at(world, place);
    let failed = initialize(&bridge);
    (bridge, failed, None)
}

#[test]
fn a19_d04_no_redirect_of_a_sign_in_reaches_a_second_origin() {
    let other = Remote::serve(|_| Reply::json(&json!({})));
    other.must_stay_uncalled();
    for status in REDIRECTS {
        let target = other.url_at("/stolen?x=1");
        for place in PLACES {
            let world = world_at(place);
            let to = target.clone();
            let (bridge, failed, _remote) =
                broken_at(&world, place, move || Reply::redirect(status, &to));
            let message = failed["error"]["message"].as_str().unwrap_or_default();
            assert!(message.contains("redirect"), "{place} {status}: {failed}");
            assert!(
                message.contains(&other.origin()),
                "{place} {status}: {failed}"
            );
            assert!(!message.contains("stolen?x"), "{place} {status}: {failed}");
            bridge.finish();
        }
    }
}

#[test]
fn a19_d04_tokens_follow_no_redirect_to_a_second_origin() {
    let other = Remote::serve(|_| Reply::json(&json!({})));
    other.must_stay_uncalled();
    for status in REDIRECTS {
        let world = world(|_| {});
        let mut bridge = world.bridge().start();
        bridge.handshake();
        // A renewal, and after it the call itself.
        let to = other.url_at("/stolen");
        world
            .auth
            .on("/token", move |_| Reply::redirect(status, &to));
        world.auth.end_access_tokens();
        let response = bridge.request("tools/call", rpc::echo_params("x"));
        assert!(
            response.to_string().contains("redirect"),
            "{status}: {response}"
        );
        let ended = bridge.finish();
        assert_eq!(world.launcher.count(), 1, "{}", ended.stderr);
        let to = other.url_at("/stolen");
        world
            .auth
            .on("/revoke", move |_| Reply::redirect(status, &to));
        let out = command(&world, &["logout", &world.remote.url()]);
        assert!(out.contains("could not be revoked"), "{out}");
        assert!(out.contains("Signed out"), "{out}");
    }
}

/// What a command says, on both of its outputs.
fn command(world: &AuthWorld, words: &[&str]) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
        .args(words)
        .env_clear()
        .env("HOME", world.home.path())
        .env("MCP_REMOTE_CONFIG_DIR", world.home.config_dir())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    text(output.stdout) + &text(output.stderr)
}

type Large = fn() -> Reply;

const LARGE: &[(&str, Large)] = &[
    ("endless", || {
        let chunk = Bytes::from(vec![b' '; 64 << 10]);
        Reply::endless(move || Some(chunk.clone()))
    }),
    ("ten megabytes", || {
        let mut text = String::from("{\"client_id\":\"");
        text.push_str(&"x".repeat(10 << 20));
        Reply::json_text(text + "\"}")
    }),
    ("bomb", Reply::gzip_bomb),
    ("nested", || Reply::json_text("[".repeat(100_000))),
    ("scopes", || {
        let scopes: Vec<String> = (0..1_000_000).map(|number| format!("s{number}")).collect();
        Reply::json(&json!({"client_id": "x", "scopes_supported": scopes}))
    }),
    ("endless error", || {
        let chunk = Bytes::from(vec![b'x'; 64 << 10]);
        Reply::endless(move || Some(chunk.clone())).with_status(400)
    }),
];

#[test]
fn a24_no_answer_of_a_sign_in_is_read_beyond_its_limit() {
    for place in PLACES {
        for (name, large) in LARGE {
            let world = world_at(place);
            let (bridge, failed, _remote) = broken_at(&world, place, large);
            let found = kind(&failed);
            let known = [
                "limit_exceeded",
                "metadata_invalid",
                "discovery_failed",
                "discovery_unreachable",
            ];
            let mut expected: BTreeSet<&str> = known.into();
            expected.extend([
                "registration_rejected",
                "token_response_invalid",
                "no_registration_method",
            ]);
            assert!(
                expected.contains(found.as_str()),
                "{place}, {name}: {failed}"
            );
            let too_much = ["endless", "ten megabytes", "bomb", "scopes"].contains(name);
            if too_much && place.starts_with('/') {
                assert_eq!(found, "limit_exceeded", "{place}, {name}: {failed}");
            }
            let length = failed.to_string().len();
            assert!(length < 4096, "{place}, {name}: {length} bytes");
            stayed_small(&bridge);
            bridge.finish();
        }
    }
}

/// CVE-2025-6514 and its kin.
#[test]
fn g07_no_address_that_could_be_something_else_is_opened() {
    let long = format!("https://as.test/{}", "a".repeat(100_000));
    let corpus = [
        "file:///bin/sh",
        "javascript:alert(1)",
        "data:text/html,x",
        "ms-msdt:/id",
        "-flag",
        "\\\\host\\share",
        "//as.test/authorize",
        "http://as.test/authorize",
        "https://user:pass@as.test/authorize",
        "https://169.254.169.254/latest",
        "http://localhost.evil.test/authorize",
        "http://0.0.0.0/authorize",
        "cmd:calc",
        "",
        &long,
    ];
    for address in corpus {
        let world = world(|rules| {
            rules.metadata_edits = json!({"authorization_endpoint": address});
        });
        let bridge = world.bridge().start();
        let failed = initialize(&bridge);
        let found = kind(&failed);
        let expected = [
            "insecure_url",
            "blocked_address",
            "metadata_invalid",
            "limit_exceeded",
        ];
        assert!(
            expected.contains(&found.as_str()),
            "{address:.60}: {failed}"
        );
        assert!(failed.to_string().len() < 2048, "{address:.60}");
        assert_eq!(world.launcher.count(), 0, "{address:.60}");
        let ended = bridge.finish();
        assert!(!ended.stderr.contains("user:pass"), "{}", ended.stderr);
    }
    for touchy in [
        "$(calc)",
        "`calc`",
        "%0a",
        "|calc",
        "\"&calc",
        "\u{202e}x",
        "%22%26calc",
    ] {
        let world = world(|_| {});
        world.auth.lenient();
        let endpoint = format!("{}/authorize?x={touchy}", world.auth.origin());
        world.auth.rules(|rules| {
            rules.metadata_edits = json!({"authorization_endpoint": endpoint});
        });
        let bridge = world.bridge().start();
        initialize(&bridge);
        bridge.finish();
        for start in world.launcher.starts() {
            let link = start.link();
            let bad =
                |letter: char| !letter.is_ascii_graphic() || "\"'`$()|<>\\^{}".contains(letter);
            assert!(!link.contains(bad), "{touchy}: {link}");
        }
    }
}

#[test]
fn g07_e07_no_address_of_a_device_sign_in_is_shown_that_could_be_something_else() {
    for member in ["verification_uri", "verification_uri_complete"] {
        for address in [
            "file:///bin/sh",
            "javascript:alert(1)",
            "http://as.test/x",
            "ms-msdt:/id",
        ] {
            let world = world(|rules| {
                rules.device_flow = true;
                rules.device_edits = json!({member: address});
            });
            world.auth.lenient();
            let bridge = bridge_at(&world, "/device");
            let failed = initialize(&bridge);
            assert_eq!(
                kind(&failed),
                "insecure_url",
                "{member} {address}: {failed}"
            );
            assert_eq!(world.auth.count("/token"), 0);
            assert_eq!(world.launcher.count(), 0);
            bridge.finish();
        }
    }
}

/// Addresses of documents that nobody on this machine has to be asked for.
#[test]
fn a20_a21_no_document_sends_a_sign_in_to_a_forbidden_address() {
    for issuer in [
        "http://as.test",
        "http://localhost.evil.test",
        "http://127.0.0.1.evil.test",
        "http://0.0.0.0:1",
        "http://[::ffff:10.0.0.1]",
        "http://10.0.0.1",
        "https://169.254.169.254",
        "https://[fd00:ec2::254]",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
    ] {
        let world = AuthWorld::with(
            Legacy::sessions(),
            |_| {},
            |door: &mut Door| door.issuers = Some(vec![issuer.to_owned()]),
        );
        let bridge = world.bridge().start();
        let failed = initialize(&bridge);
        let found = kind(&failed);
        let expected = ["insecure_url", "blocked_address", "metadata_invalid"];
        assert!(expected.contains(&found.as_str()), "{issuer}: {failed}");
        bridge.finish();
        for endpoint in ["token_endpoint", "registration_endpoint"] {
            let world = self::world(|rules| {
                rules.metadata_edits = json!({endpoint: format!("{issuer}/x")});
            });
            let bridge = world.bridge().start();
            let failed = initialize(&bridge);
            let found = kind(&failed);
            assert!(
                expected.contains(&found.as_str()),
                "{endpoint} {issuer}: {failed}"
            );
            assert_eq!(world.launcher.count(), 0, "{endpoint} {issuer}");
            bridge.finish();
        }
    }
}

/// Letters that steer a terminal, or that make a text look like another one.
const ESCAPES: &str = "\u{1b}]8;;http://evil.test\u{7}x\u{1b}]52;c;eA==\u{7}\u{1b}[2J\u{9b}1m\r\u{8}\u{202e}\u{200b}\u{2028}";

#[track_caller]
fn assert_tame(place: &str, text: &str) {
    let steers = |letter: char| {
        (letter.is_control() && letter != '\n')
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.contains(steers), "{place}: {text:?}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "most of it is the table of words")]
fn g09_no_word_of_a_server_steers_the_terminal() {
    type Break = fn(&AuthWorld);
    let breaks: &[(&str, Break)] = &[
        ("token", |world| {
            world.auth.on("/token", |_| {
                Reply::json(&json!({"error": ESCAPES, "error_description": ESCAPES}))
                    .with_status(400)
            });
        }),
        ("token page", |world| {
            world.auth.on("/token", |_| {
                Reply::html(500, format!("<title>{ESCAPES}</title>"))
            });
        }),
        ("registration", |world| {
            world.auth.on("/register", |_| {
                Reply::json(&json!({"error": ESCAPES, "error_description": ESCAPES}))
                    .with_status(403)
            });
        }),
        ("issuer", |world| {
            world.auth.rules(|rules| {
                rules.metadata_edits = json!({"issuer": format!("http://127.0.0.1/{ESCAPES}")});
            });
        }),
        ("endpoint", |world| {
            world.auth.rules(|rules| {
                rules.metadata_edits =
                    json!({"authorization_endpoint": format!("http://as.test/{ESCAPES}")});
            });
        }),
        ("callback", |world| {
            world.auth.on("/authorize", |visit| {
                let mut back = Url::parse(visit.get("redirect_uri").unwrap()).unwrap();
                back.query_pairs_mut()
                    .append_pair("error", "access_denied")
                    .append_pair("error_description", ESCAPES)
                    .append_pair("error_uri", &format!("https://as.test/{ESCAPES}"))
                    .append_pair("state", visit.get("state").unwrap())
                    .append_pair(
                        "iss",
                        &format!("http://{}", visit.call.header("host").unwrap()),
                    );
                Reply::redirect(302, back.as_str())
            });
        }),
        ("issuer in the callback", |world| {
            world.auth.on("/authorize", |visit| {
                let mut back = Url::parse(visit.get("redirect_uri").unwrap()).unwrap();
                back.query_pairs_mut()
                    .append_pair("code", "x")
                    .append_pair("state", visit.get("state").unwrap())
                    .append_pair("iss", ESCAPES);
                Reply::redirect(302, back.as_str())
            });
        }),
        ("resource", |world| {
            world
                .guard
                .door(|door| door.resource = Some(format!("http://other.test/{ESCAPES}")));
        }),
        ("authorization server", |world| {
            world
                .guard
                .door(|door| door.issuers = Some(vec![format!("http://as.test/{ESCAPES}")]));
        }),
        ("scopes", |world| {
            world
                .guard
                .door(|door| door.metadata_edits = json!({"scopes_supported": [ESCAPES, "ok"]}));
            world.auth.on("/token", |_| Reply::text(400, ESCAPES));
        }),
        ("account", |world| {
            use base64::Engine as _;
            let claims = json!({"name": ESCAPES, "sub": ESCAPES}).to_string();
            let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(claims);
            let token = json!({"id_token": format!("e30.{claims}.x")});
            world.auth.rules(|rules| rules.token_edits = token);
        }),
    ];
    for (place, act) in breaks {
        let world = world(|_| {});
        act(&world);
        let log = world.home.path().join("log");
        let launch = world.bridge().args(["--debug", "--log-file"]).args([log]);
        let bridge = launch.start();
        let answer = initialize(&bridge);
        if *place != "account" {
            let message = answer["error"]["message"].as_str();
            assert_tame(
                place,
                message.unwrap_or_else(|| panic!("{place}: {answer}")),
            );
        }
        let ended = bridge.finish();
        assert_tame(place, &ended.stderr);
        assert_tame(place, &world.home.read("log"));
        assert_tame(place, &command(&world, &["status"]));
        for page in world.launcher.pages() {
            assert!(!page.body.contains('\u{1b}'), "{place}: {page:?}");
        }
    }
}

/// Asks something of a port, as a page or another program does; the answer, if there is one.
fn ask(port: u16, request: &str) -> String {
    let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)) else {
        return String::new();
    };
    let _ = socket.set_read_timeout(Some(Duration::from_secs(30)));
    let _ = socket.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn parameter(link: &str, name: &str) -> String {
    let link = Url::parse(link).unwrap();
    let found = link.query_pairs().find(|(key, _)| key == name);
    found.unwrap().1.into_owned()
}

#[test]
fn c36_g29_g30_g31_g35_a_genuine_sign_in_gets_through_a_flood() {
    let world = world(|_| {}).browser(Browser::Waits);
    let bridge = world.bridge().start();
    bridge.send(&rpc::initialize("init", rpc::VERSION));
    let link = world.launcher.wait_start(1).link().to_owned();
    let redirect = Url::parse(&parameter(&link, "redirect_uri")).unwrap();
    let port = redirect.port().unwrap();
    let host = format!("localhost:{port}");
    let mut idle = Vec::new();
    for number in 0..1000 {
        let query = match number % 4 {
            0 => format!("code=stolen&state=guess-{number}"),
            1 => "error=access_denied".to_owned(),
            2 => format!("error=access_denied&state={number}"),
            _ => "code=stolen".to_owned(),
        };
        let path = redirect.path();
        let head =
            format!("GET {path}?{query} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = ask(port, &head);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{answer}"
        );
        assert!(
            !answer.contains("stolen") && !answer.contains("guess"),
            "{answer}"
        );
    }
    let state = parameter(&link, "state");
    for foreign in ["evil.test", "evil.test:80", "127.0.0.1.evil.test"] {
        let head = format!(
            "GET {}?code=x&state={state} HTTP/1.1\r\nhost: {foreign}\r\n\r\n",
            redirect.path()
        );
        let answer = ask(port, &head);
        assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    }
    for _ in 0..40 {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let _ = socket.write_all(b"GET /oauth/callback?x=");
        idle.push(socket);
    }
    let pages: Vec<Page> = Person::new().open(&link);
    assert_eq!(pages.last().unwrap().status, 200, "{pages:?}");
    let answer = bridge.response("init");
    assert!(answer.get("result").is_some(), "{answer}");
    drop(idle);
    stayed_small(&bridge);
    assert_eq!(world.launcher.count(), 1);
    assert_eq!(world.auth.grants("authorization_code").len(), 1);
    bridge.finish();
}

/// The ports that a process listens on; nothing where the system does not tell.
#[cfg(target_os = "linux")]
fn listening(pid: u32) -> Option<BTreeSet<(String, u16)>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let sockets: BTreeSet<String> = entries
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|target| {
            let target = target.to_string_lossy().into_owned();
            let inode = target.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect();
    let mut found = BTreeSet::new();
    for (file, protocol) in [
        ("tcp", "tcp"),
        ("tcp6", "tcp"),
        ("udp", "udp"),
        ("udp6", "udp"),
    ] {
        let table = fs::read_to_string(format!("/proc/net/{file}")).unwrap_or_default();
        for line in table.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (address, port) = words[1].rsplit_once(':').unwrap();
            let port = u16::from_str_radix(port, 16).unwrap();
            let listens = words[3] == "0A" || protocol == "udp";
            if listens && sockets.contains(words[9]) {
                found.insert((address.to_owned(), port));
            }
        }
    }
    Some(found)
}

#[cfg(target_os = "linux")]
#[test]
fn g33_nothing_listens_but_the_way_back_and_that_only_while_it_is_waited_for() {
    let world = world(|_| {}).browser(Browser::Waits);
    let gate = Gate::new();
    let closed = gate.clone();
    world
        .auth
        .on("metadata", move |visit| visit.usual().after(&closed));
    let mut bridge = world.bridge().start();
    let pid = bridge.id();
    bridge.send(&rpc::initialize("init", rpc::VERSION));
    world.auth.wait_visit("metadata", 1);
    if listening(pid).is_none() {
        assert!(
            !rustix::process::geteuid().is_root(),
            "root sees every socket"
        );
        return;
    }
    assert_eq!(listening(pid), Some(BTreeSet::new()), "before");
    gate.open();
    let link = world.launcher.wait_start(1).link().to_owned();
    let redirect = Url::parse(&parameter(&link, "redirect_uri")).unwrap();
    let during = listening(pid).unwrap();
    let loopback = ["0100007F", "00000000000000000000000001000000"];
    assert!(!during.is_empty());
    for (address, port) in &during {
        assert!(loopback.contains(&address.as_str()), "{during:?}");
        assert_eq!(Some(*port), redirect.port(), "{during:?}");
    }
    Person::new().open(&link);
    bridge.response("init");
    bridge.send(&rpc::initialized());
    bridge.request("tools/call", rpc::echo_params("x"));
    let until = Instant::now() + Duration::from_secs(30);
    while listening(pid) != Some(BTreeSet::new()) {
        assert!(Instant::now() < until, "after: {:?}", listening(pid));
        std::thread::sleep(Duration::from_millis(20));
    }
    bridge.finish();
}

#[test]
fn g34_no_browser_is_opened_while_somebody_else_has_the_port() {
    for squatted in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
        let Ok(squatter) = TcpListener::bind(squatted) else {
            continue; // a machine without IPv6
        };
        let port = squatter.local_addr().unwrap().port();
        let world = world(|_| {});
        let bridge = world.bridge().args([port.to_string()]).start();
        let failed = initialize(&bridge);
        assert_eq!(
            kind(&failed),
            "callback_port_in_use",
            "{squatted}: {failed}"
        );
        let message = failed["error"]["message"].as_str().unwrap();
        assert!(message.contains(&port.to_string()), "{message}");
        assert_eq!(world.launcher.count(), 0, "{squatted}");
        assert_eq!(world.auth.authorize_requests().len(), 0);
        bridge.finish();
    }
}

/// Every path below a folder, the folder too.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// A sign-in whose store cannot be used: it works, once, and that is said.
#[track_caller]
fn works_without_store(world: &AuthWorld, kind: &str) {
    for time in 1..=2 {
        let mut bridge = world.bridge().start();
        bridge.handshake();
        let response = bridge.request("tools/call", rpc::echo_params("x"));
        assert!(response.get("result").is_some(), "{response}");
        let ended = bridge.finish();
        let said = ended.stderr.matches(&format!("[{kind}]")).count();
        assert_eq!(said, 1, "{}", ended.stderr);
        assert!(
            ended.stderr.contains("will not be remembered"),
            "{}",
            ended.stderr
        );
        assert_eq!(world.launcher.count(), time, "{}", ended.stderr);
    }
}

#[test]
fn f02_g36_a_folder_that_anybody_may_write_to_keeps_no_sign_in() {
    let world = world(|_| {});
    let base = world.home.config_dir();
    fs::create_dir(&base).unwrap();
    fs::set_permissions(&base, fs::Permissions::from_mode(0o777)).unwrap();
    works_without_store(&world, "store_insecure");
    assert_eq!(below(&base), [base]);
}

#[test]
fn f15_a_sign_in_works_where_nothing_can_be_written() {
    let world = world(|_| {});
    world
        .home
        .write(".mcp-auth", "a file where a folder should be");
    works_without_store(&world, "store_unwritable");
    assert_eq!(
        world.home.read(".mcp-auth"),
        "a file where a folder should be"
    );
}

#[test]
fn f02_f03_everything_a_sign_in_writes_is_for_its_owner_alone() {
    for umask in ["000", "077"] {
        let world = world(|_| {});
        let script = format!("umask {umask}; exec \"$@\"");
        let log = world.home.path().join("bridge.log");
        let launch = world.bridge().under(["/bin/sh", "-c", &script, "sh"]);
        let mut bridge = launch.args(["--log-file"]).args([log.clone()]).start();
        bridge.handshake();
        world.auth.end_access_tokens();
        bridge.request("tools/call", rpc::echo_params("x"));
        bridge.finish();
        let mut seen = 0;
        for path in below(&world.home.config_dir()).into_iter().chain([log]) {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
            let mode = metadata.permissions().mode() & 0o777;
            assert_eq!(mode, expected, "{}: {mode:o}", path.display());
            seen += 1;
        }
        assert!(seen > 4, "{seen} paths");
    }
}

/// The file with the tokens of the only sign-in of this world.
#[track_caller]
fn tokens_file(world: &AuthWorld) -> PathBuf {
    let all = below(&world.home.config_dir());
    let mut files = all
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with("_tokens.json"));
    files.next().expect("tokens were stored")
}

#[test]
fn f06_g36_tokens_are_neither_read_nor_written_through_a_link() {
    let world = world(|_| {});
    let mut bridge = world.bridge().start();
    bridge.handshake();
    bridge.finish();
    let tokens = tokens_file(&world);
    let target = world
        .home
        .write("somebody-elses", fs::read(&tokens).unwrap());
    let before = fs::read(&target).unwrap();
    fs::remove_file(&tokens).unwrap();
    symlink(&target, &tokens).unwrap();
    let mut bridge = world.bridge().start();
    bridge.handshake();
    let ended = bridge.finish();
    assert_eq!(world.launcher.count(), 2, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("[store_insecure]"),
        "{}",
        ended.stderr
    );
    assert_eq!(fs::read(&target).unwrap(), before);
}

#[test]
fn f07_damaged_tokens_cost_one_sign_in_and_no_registration() {
    let damages: [&[u8]; 5] = [
        b"",
        b"{\"access_token\":",
        b"[]",
        b"\0\xff\xfe",
        b"{\"access_token\":7}",
    ];
    for damage in damages {
        let world = world(|_| {});
        let mut bridge = world.bridge().start();
        bridge.handshake();
        bridge.finish();
        let tokens = tokens_file(&world);
        fs::write(&tokens, damage).unwrap();
        let mut bridge = world.bridge().start();
        bridge.handshake();
        let ended = bridge.finish();
        let shown = String::from_utf8_lossy(damage);
        assert!(
            ended.stderr.contains("[store_corrupt]"),
            "{shown}: {}",
            ended.stderr
        );
        assert_eq!(world.launcher.count(), 2, "{shown}");
        assert_eq!(world.auth.registrations().len(), 1, "{shown}");
        let folder = tokens.parent().unwrap();
        let aside = below(folder);
        let aside = aside
            .iter()
            .filter(|path| path.to_string_lossy().contains(".corrupt-"));
        assert_eq!(aside.count(), 1, "{shown}");
        // Once more, without anybody.
        let mut bridge = world.bridge().start();
        bridge.handshake();
        bridge.finish();
        assert_eq!(world.launcher.count(), 2, "{shown}");
    }
}
