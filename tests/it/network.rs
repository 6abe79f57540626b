//! The network of a company: private authorities, client certificates, proxies, time limits,
//! cookies, and no plain http where somebody could listen.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::{
    Authority, Bridge, Call, Home, Launch, Legacy, LegacyRemote, Proxy, Remote, Reply, rpc,
};

/// A name that resolves nowhere, except at our proxies.
const NAME: &str = "mcp.test";

/// An https server of this authority, on HTTP/1.1.
fn secure(authority: &Authority) -> LegacyRemote {
    Legacy::sessions().tls(authority.server()).start()
}

/// A home with the authority's certificate in it, and that file.
fn home_with(authority: &Authority) -> (Arc<Home>, PathBuf) {
    let home = Arc::new(Home::new());
    let file = home.write("certs/ca.pem", authority.pem());
    (home, file)
}

/// Runs one call through the bridge and ends it.
#[track_caller]
fn assert_works(launch: Launch) -> String {
    let mut bridge = launch.start();
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("hello"));
    assert_eq!(response["result"]["content"][0]["text"], "hello");
    bridge.finish().stderr
}

/// The error of `initialize`, which must come from the bridge itself, and what stderr says.
#[track_caller]
fn refusal(launch: Launch) -> (Value, String) {
    let mut bridge = launch.start();
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    let response = bridge.response(1);
    let error = response["error"].clone();
    assert_eq!(error["code"], -31000, "{response}");
    assert_eq!(error["data"]["source"], "mcp-bridge", "{response}");
    assert!(bridge.is_running(), "a failure of the remote ended it");
    (error, bridge.finish().stderr)
}

#[track_caller]
fn assert_holds(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

// ----- certificates -----

#[test]
fn every_way_to_name_a_private_authority_works() {
    let authority = Authority::new("Corp CA");
    let remote = secure(&authority);
    let (home, file) = home_with(&authority);
    let folder = file.parent().unwrap().to_owned();
    let to = || Bridge::to(&remote.url()).home(&home);
    assert_works(to().env("NODE_EXTRA_CA_CERTS", &file));
    assert_works(to().env("SSL_CERT_FILE", &file));
    assert_works(to().env("SSL_CERT_DIR", &folder));
    assert_works(to().args(["--ca-cert".into(), file.clone().into_os_string()]));
    assert!(remote.calls().iter().all(|call| call.secure));
    assert_eq!(remote.sessions_opened(), 4);
}

#[test]
fn an_unknown_issuer_is_named_with_the_flag_that_helps() {
    let authority = Authority::new("Corp Inspection CA");
    let remote = secure(&authority);
    remote.must_stay_uncalled();
    let (error, stderr) = refusal(Bridge::to(&remote.url()));
    let words = [
        "Corp Inspection CA",
        "--ca-cert FILE",
        "NODE_EXTRA_CA_CERTS",
    ];
    assert_holds(error["message"].as_str().unwrap(), &words);
    assert_holds(&stderr, &words);
    assert_eq!(error["data"]["kind"], "connect");
    assert_eq!(error["data"]["executed"], "no");
}

#[test]
fn a_certificate_that_ran_out_or_is_for_another_name_is_refused() {
    let authority = Authority::new("Corp CA");
    let (home, file) = home_with(&authority);
    for (tls, words) in [
        (authority.expired_server(), "expired"),
        (authority.server_for(&["elsewhere.test"]), "elsewhere.test"),
    ] {
        let remote = Legacy::sessions().tls(tls).start();
        remote.must_stay_uncalled();
        let launch = Bridge::to(&remote.url()).home(&home);
        let (error, stderr) = refusal(launch.env("NODE_EXTRA_CA_CERTS", &file));
        assert_holds(error["message"].as_str().unwrap(), &["127.0.0.1", words]);
        assert_holds(&stderr, &[words]);
    }
}

#[test]
fn insecure_mode_works_with_one_loud_warning() {
    let authority = Authority::new("Corp CA");
    let remote = Legacy::sessions().tls(authority.expired_server()).start();
    let to = || Bridge::to(&remote.url());
    for (launch, reason) in [
        (to().args(["--insecure"]), "--insecure"),
        (to().args(["--insecure", "--silent"]), "--insecure"),
        (
            to().env("NODE_TLS_REJECT_UNAUTHORIZED", "0"),
            "NODE_TLS_REJECT_UNAUTHORIZED=0",
        ),
    ] {
        let stderr = assert_works(launch);
        let warnings: Vec<_> = stderr
            .lines()
            .filter(|line| line.contains("WARNING"))
            .collect();
        assert_eq!(warnings.len(), 1, "{stderr}");
        assert_holds(warnings[0], &[reason, "127.0.0.1", "--ca-cert"]);
    }
    let (error, _) = refusal(to().env("NODE_TLS_REJECT_UNAUTHORIZED", "1"));
    assert_holds(error["message"].as_str().unwrap(), &["expired"]);
}

#[test]
fn insecure_mode_without_tls_warns_of_nothing() {
    let remote = Legacy::sessions().start();
    let stderr = assert_works(Bridge::to(&remote.url()).args(["--insecure"]));
    assert!(!stderr.contains("WARNING"), "{stderr}");
}

#[test]
fn a_client_certificate_opens_the_door() {
    let authority = Authority::new("Corp CA");
    let remote = Legacy::sessions()
        .tls(authority.server().only_clients_of(&authority))
        .start();
    let (home, ca) = home_with(&authority);
    let (certificate, key) = authority.client("me");
    let both = home.write("me/both.pem", format!("{certificate}{key}"));
    let certificate = home.write("me/cert.pem", certificate);
    let key = home.write("me/key.pem", key);
    let to = || {
        let launch = Bridge::to(&remote.url()).home(&home);
        launch.env("NODE_EXTRA_CA_CERTS", &ca)
    };
    let (error, stderr) = refusal(to());
    assert_holds(error["message"].as_str().unwrap(), &["--client-cert"]);
    assert_holds(&stderr, &["--client-cert"]);
    assert_eq!(remote.calls().len(), 0);
    let flag = |name: &str, file: &PathBuf| format!("--{name}={}", file.display());
    assert_works(to().args([flag("client-cert", &certificate), flag("client-key", &key)]));
    assert_works(to().args([flag("client-cert", &both)]));
}

#[test]
fn a_certificate_file_that_cannot_be_used_ends_the_start() {
    let authority = Authority::new("Corp CA");
    let remote = secure(&authority);
    remote.must_stay_uncalled();
    let (home, ca) = home_with(&authority);
    let empty = home.write("empty.pem", "nothing");
    let (certificate, _) = authority.client("me");
    let certificate = home.write("me.pem", certificate);
    for (flag, file, words) in [
        ("--ca-cert", home.path().join("missing.pem"), "missing.pem"),
        ("--ca-cert", empty, "no PEM certificate"),
        ("--client-cert", certificate, "--client-key"),
        ("--client-key", ca, "--client-cert"),
    ] {
        let launch = Bridge::to(&remote.url()).home(&home);
        let ended = launch
            .args([flag.into(), file.into_os_string()])
            .start()
            .ended();
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        assert_holds(&ended.stderr, &[flag, words]);
    }
}

/// Opening a pipe that nobody writes to would never return.
#[cfg(unix)]
#[test]
fn plain_http_reads_no_certificates() {
    use rustix::fs::{CWD, Mode, mkfifoat};

    let remote = Legacy::sessions().start();
    let home = Arc::new(Home::new());
    let pipe = home.path().join("ca.pem");
    mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    let launch = Bridge::to(&remote.url()).home(&home);
    assert_works(
        launch
            .env("SSL_CERT_FILE", &pipe)
            .env("NODE_EXTRA_CA_CERTS", &pipe),
    );
}

#[test]
fn http2_is_spoken_on_one_connection_where_it_is_offered() {
    let authority = Authority::new("Corp CA");
    let remote = Legacy::sessions().tls(authority.server().http2()).start();
    let (_home, file) = home_with(&authority);
    let mut bridge = Bridge::to(&remote.url())
        .env("NODE_EXTRA_CA_CERTS", &file)
        .start();
    bridge.handshake();
    remote.wait_stream();
    for id in 0..20 {
        bridge.send(&rpc::echo(id, "hello"));
    }
    for id in 0..20 {
        assert_eq!(bridge.response(id)["result"]["content"][0]["text"], "hello");
    }
    bridge.finish();
    let calls = remote.calls();
    assert!(
        calls.iter().all(|call| call.http2 && call.secure),
        "{calls:#?}"
    );
    assert_eq!(remote.connections(), 1);
    assert_eq!(remote.calls_of("DELETE").len(), 1);
}

// ----- proxies -----

/// A server behind a name that only proxies know, and the arguments to reach it.
fn behind_a_name() -> (LegacyRemote, Launch) {
    let authority = Authority::new("Corp CA");
    let remote = Legacy::sessions()
        .tls(authority.server_for(&[NAME]))
        .start();
    let (home, file) = home_with(&authority);
    let url = format!("https://{NAME}:{}/mcp", remote.address().port());
    let launch = Bridge::to(&url)
        .home(&home)
        .env("NODE_EXTRA_CA_CERTS", &file);
    (remote, launch)
}

/// The same without TLS.
fn behind_a_plain_name() -> (LegacyRemote, Launch) {
    let remote = Legacy::sessions().start();
    let url = format!("http://{NAME}:{}/mcp", remote.address().port());
    (remote, Bridge::to(&url).args(["--allow-http"]))
}

#[test]
fn g28_https_goes_through_a_tunnel_and_only_the_proxy_sees_its_password() {
    // user:pass word
    let proxy = Proxy::http(Some("Basic dXNlcjpwYXNzIHdvcmQ="));
    let address = format!("http://user:pass%20word@{}", proxy.address());
    let variables = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    for variable in variables {
        let (remote, launch) = behind_a_name();
        assert_works(
            launch
                .env(variable, &address)
                .args(["--header", "X-Mine: 1"]),
        );
        assert_only_server_sees_its_headers(&remote.calls());
    }
    let (remote, launch) = behind_a_name();
    assert_works(launch.args(["--proxy", &address, "--header", "X-Mine: 1"]));
    assert_only_server_sees_its_headers(&remote.calls());
    let heads = proxy.seen();
    assert!(heads.len() > variables.len());
    for head in heads {
        assert!(head.starts_with(&format!("CONNECT {NAME}:")), "{head}");
        assert!(!head.to_lowercase().contains("x-mine"), "{head}");
    }
}

fn assert_only_server_sees_its_headers(calls: &[Call]) {
    for call in calls {
        assert_eq!(call.header("x-mine").as_deref(), Some("1"), "{call:?}");
        assert_eq!(call.header("proxy-authorization"), None, "{call:?}");
    }
}

#[test]
fn lower_case_variables_win() {
    let (right, wrong) = (Proxy::http(None), Proxy::http(None));
    let (_remote, launch) = behind_a_name();
    let launch = launch.env("HTTPS_PROXY", format!("http://{}", wrong.address()));
    assert_works(launch.env("https_proxy", format!("http://{}", right.address())));
    assert_eq!(wrong.seen(), [""; 0]);
    assert!(!right.seen().is_empty());
}

#[test]
fn plain_http_is_forwarded_with_the_credentials() {
    let proxy = Proxy::http(Some("Basic dXNlcjpwYXNzIHdvcmQ="));
    let (_remote, launch) = behind_a_plain_name();
    assert_works(launch.env(
        "http_proxy",
        format!("http://user:pass%20word@{}", proxy.address()),
    ));
    assert!(!proxy.seen().is_empty());
    for head in proxy.seen() {
        let line = head.lines().next().unwrap();
        assert!(line.contains(&format!(" http://{NAME}:")), "{line}");
    }
}

#[test]
fn a_proxy_that_wants_credentials_is_named_without_a_password() {
    let proxy = Proxy::http(Some("Basic nothing-fits"));
    let at = proxy.address().to_string();
    for ((remote, launch), address) in [
        (behind_a_name(), format!("http://{at}")),
        (behind_a_plain_name(), format!("http://user:hunter2@{at}")),
    ] {
        remote.must_stay_uncalled();
        let (error, stderr) = refusal(launch.args(["--proxy", &address]));
        let message = error["message"].as_str().unwrap();
        assert_holds(message, &[&at, "407", "--proxy"]);
        assert_holds(&stderr, &[&at, "407"]);
        assert!(!message.contains("hunter2") && !stderr.contains("hunter2"));
        assert_eq!(error["data"]["executed"], "no");
    }
}

#[test]
fn socks5_leaves_the_name_to_the_proxy_where_asked() {
    for (tls, variable) in [(true, "ALL_PROXY"), (false, "all_proxy")] {
        let proxy = Proxy::socks("user", "secret");
        let (remote, launch) = if tls {
            behind_a_name()
        } else {
            behind_a_plain_name()
        };
        assert_works(launch.env(
            variable,
            format!("socks5h://user:secret@{}", proxy.address()),
        ));
        let port = remote.address().port();
        assert!(!proxy.seen().is_empty());
        for seen in proxy.seen() {
            assert_eq!(seen, format!("3 {NAME} {port}"));
        }
    }
    let proxy = Proxy::socks("user", "secret");
    let remote = Legacy::sessions().start();
    let address = format!("socks5://user:secret@{}", proxy.address());
    assert_works(Bridge::to(&remote.url()).args(["--proxy", &address]));
    let port = remote.address().port();
    assert!(
        proxy
            .seen()
            .iter()
            .all(|seen| *seen == format!("1 127.0.0.1 {port}"))
    );
}

#[test]
fn a_socks_password_that_is_wrong_is_said_and_not_shown() {
    let proxy = Proxy::socks("user", "secret");
    let (remote, launch) = behind_a_name();
    remote.must_stay_uncalled();
    let address = format!("socks5h://user:hunter2@{}", proxy.address());
    let (error, stderr) = refusal(launch.args(["--proxy", &address]));
    let message = error["message"].as_str().unwrap();
    assert_holds(
        message,
        &["proxy", &proxy.address().to_string(), "password"],
    );
    assert!(!message.contains("hunter2") && !stderr.contains("hunter2"));
}

#[test]
fn no_proxy_and_proxy_none_go_past_the_proxy() {
    let proxy = Proxy::http(None);
    let address = format!("http://{}", proxy.address());
    let direct = |launch: Launch| {
        launch
            .env("HTTPS_PROXY", &address)
            .env("HTTP_PROXY", &address)
    };
    for (name, list) in [
        ("no_proxy", "other.test, mcp.test"),
        ("NO_PROXY", "*"),
        ("NO_PROXY", ".test"),
    ] {
        let (remote, launch) = behind_a_name();
        remote.must_stay_uncalled();
        let (error, _) = refusal(direct(launch).env(name, list));
        assert_holds(
            error["message"].as_str().unwrap(),
            &[NAME, "does not resolve"],
        );
    }
    let (remote, launch) = behind_a_name();
    remote.must_stay_uncalled();
    let (error, _) = refusal(direct(launch).args(["--proxy", "none"]));
    assert_holds(
        error["message"].as_str().unwrap(),
        &[NAME, "does not resolve"],
    );
    assert_eq!(proxy.seen(), [""; 0]);
}

#[test]
fn the_environments_proxy_is_not_asked_for_loopback_but_a_named_one_is() {
    let proxy = Proxy::http(None);
    let address = format!("http://{}", proxy.address());
    let remote = Legacy::sessions().start();
    let launch = Bridge::to(&remote.url())
        .env("HTTP_PROXY", &address)
        .env("http_proxy", &address)
        .env("ALL_PROXY", &address);
    assert_works(launch.args(["--enable-proxy"]));
    assert_eq!(proxy.seen(), [""; 0]);
    assert_works(Bridge::to(&remote.url()).args(["--proxy", &address]));
    assert!(!proxy.seen().is_empty());
}

#[test]
fn a_proxy_that_is_away_is_named() {
    let away = Remote::away(|_| Reply::status(500));
    let (remote, launch) = behind_a_name();
    remote.must_stay_uncalled();
    let (error, _) = refusal(launch.args(["--proxy", &away.origin()]));
    let message = error["message"].as_str().unwrap();
    assert_holds(
        message,
        &["proxy", &away.address().to_string(), "--proxy none"],
    );
}

#[test]
fn a_proxy_variable_that_is_no_address_is_named_unquoted() {
    let (remote, launch) = behind_a_name();
    remote.must_stay_uncalled();
    let ended = launch
        .env("HTTPS_PROXY", "ftp://user:hunter2@x")
        .start()
        .ended();
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert_holds(&ended.stderr, &["HTTPS_PROXY", "--proxy none"]);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
}

// ----- connections -----

#[test]
fn ipv4_leaves_other_addresses_alone() {
    let remote = Legacy::sessions().start();
    assert_works(Bridge::to(&remote.url()).args(["--ipv4"]));
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        return; // a machine without IPv6
    };
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let bridge = Bridge::to(&url).args(["--ipv4"]).start();
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    bridge.wait_stderr("--ipv4");
    let error = listener.accept().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

/// Neither a server nor a proxy that accepts and then is silent holds a connection up for longer.
#[test]
fn connect_timeout_bounds_tls_and_tunnels() {
    let mute = Proxy::mute();
    let limit = "--connect-timeout=0.3";
    let url = format!("https://{}/mcp", mute.address());
    let (error, stderr) = refusal(Bridge::to(&url).args([limit]));
    let at = mute.address().to_string();
    assert_holds(
        error["message"].as_str().unwrap(),
        &["--connect-timeout", &at],
    );
    assert_holds(&stderr, &["--connect-timeout"]);
    assert_eq!(error["data"]["kind"], "timeout");
    assert_eq!(error["data"]["executed"], "no");
    for scheme in ["http", "socks5h"] {
        let (remote, launch) = behind_a_name();
        remote.must_stay_uncalled();
        let address = format!("{scheme}://{at}");
        let (error, _) = refusal(launch.args([limit, "--proxy", &address]));
        assert_holds(
            error["message"].as_str().unwrap(),
            &["--connect-timeout", &at],
        );
    }
}

#[test]
fn plain_http_is_refused_off_loopback_without_any_traffic() {
    let proxy = Proxy::http(None);
    let address = format!("http://{}", proxy.address());
    for url in [
        "http://mcp.test/mcp",
        "http://10.1.2.3/mcp",
        "http://0.0.0.0/mcp",
    ] {
        let ended = Bridge::to(url).env("HTTP_PROXY", &address).start().ended();
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        assert_holds(&ended.stderr, &["--allow-http", "https://"]);
        assert_eq!(ended.messages, [json!(null); 0]);
    }
    assert_eq!(proxy.seen(), [""; 0]);
}

// ----- cookies -----

/// A server that sets cookies with its answer to `initialize`.
fn with_cookies(cookies: &'static [&'static str]) -> LegacyRemote {
    let set = move |call: &Call| {
        let result = json!({
            "protocolVersion": rpc::VERSION,
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "balanced", "version": "1"},
        });
        let reply = call.result(&result);
        cookies.iter().fold(reply, |reply, cookie| {
            reply.add_header("set-cookie", cookie)
        })
    };
    Legacy::sessions().on("initialize", set).start()
}

/// The cookies of every request after the handshake: `notifications/initialized`, GET, a call,
/// DELETE.
fn later_cookies(remote: &LegacyRemote, launch: Launch) -> Vec<Option<String>> {
    let mut bridge = launch.start();
    bridge.handshake();
    remote.wait_call("GET");
    bridge.request("tools/call", rpc::echo_params("hello"));
    bridge.finish();
    let calls = remote.calls();
    let later = calls.iter().filter(|call| call.key() != "initialize");
    later.map(|call| call.header("cookie")).collect()
}

#[test]
fn cookies_keep_a_session_on_one_machine() {
    let remote = with_cookies(&[
        "lb=machine-7; Path=/; Secure; HttpOnly; SameSite=Strict; Domain=elsewhere.test",
        "narrow=1; Path=/mcp",
        "other=1; Path=/other",
        "gone=1; Max-Age=0",
        "long=1; Max-Age=3600; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "old=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    ]);
    let seen = later_cookies(&remote, Bridge::to(&remote.url()));
    assert_eq!(seen.len(), 4, "{:#?}", remote.calls());
    for cookies in seen {
        assert_eq!(cookies.as_deref(), Some("lb=machine-7; narrow=1; long=1"));
    }
}

#[test]
fn a_cookie_is_replaced_and_deleted_by_later_answers() {
    let set = |call: &Call| {
        let cookie = match call.nth {
            1 => "lb=1",
            2 => "lb=2",
            _ => "lb=; Max-Age=0",
        };
        call.result(&call.echo()).header("set-cookie", cookie)
    };
    let remote = Legacy::sessions().on("tools/call", set).start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    for _ in 0..4 {
        bridge.request("tools/call", rpc::echo_params("x"));
    }
    bridge.finish();
    let calls = remote.calls_of("tools/call");
    let cookies: Vec<_> = calls.iter().map(|call| call.header("cookie")).collect();
    let expected = [None, Some("lb=1"), Some("lb=2"), None];
    assert_eq!(cookies, expected.map(|cookie| cookie.map(str::to_owned)));
}

#[test]
fn cookies_can_be_switched_off() {
    let remote = with_cookies(&["lb=machine-7; Path=/"]);
    let launch = Bridge::to(&remote.url()).args(["--disable-cookies"]);
    assert_eq!(later_cookies(&remote, launch), vec![None; 4]);
}

#[test]
fn a_407_without_a_proxy_is_the_servers_own() {
    let remote = Remote::serve(|_| Reply::text(407, "odd"));
    let (error, stderr) = refusal(Bridge::to(&remote.url()));
    assert_eq!(error["data"]["status"], json!(407));
    assert_holds(&stderr, &["HTTP 407", "[http-status]"]);
    assert!(!stderr.contains("proxy"), "{stderr}");
}
