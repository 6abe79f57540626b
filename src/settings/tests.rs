//! Every option's meaning, in every place it can come from.

use http::HeaderMap;

use super::*;
use crate::cli::Parsed;
use crate::proto::filter::Refusal;

const URL: &str = "https://example.com/mcp";

fn resolve_with(args: &[&str], env: &[(&str, &str)]) -> Result<(Settings, Vec<Notice>), Failure> {
    let args = std::iter::once("mcp-bridge")
        .chain(args.iter().copied())
        .map(OsString::from);
    let env = |name: &str| {
        env.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| OsString::from(value))
    };
    match Parsed::read(args, &env)? {
        Parsed::Run(cli) => Settings::resolve(&cli, &env),
        other => panic!("{other:?}"),
    }
}

fn resolve(args: &[&str], env: &[(&str, &str)]) -> Settings {
    resolve_with(args, env)
        .unwrap_or_else(|failure| panic!("{args:?} {env:?}: {failure}"))
        .0
}

fn notices(args: &[&str], env: &[(&str, &str)]) -> Vec<Notice> {
    resolve_with(args, env).unwrap().1
}

fn refusal(args: &[&str], env: &[(&str, &str)]) -> String {
    let failure = resolve_with(args, env).unwrap_err();
    assert_eq!(failure.exit_code(), 2);
    failure.to_string()
}

#[test]
fn addresses_that_are_accepted() {
    for (text, url) in [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://EXAMPLE.com:443/mcp", "https://example.com/mcp"),
        ("  https://example.com/mcp ", "https://example.com/mcp"),
        (
            "https://example.com/mcp?a=1#f",
            "https://example.com/mcp?a=1",
        ),
        ("http://localhost:3000/mcp", "http://localhost:3000/mcp"),
        ("http://127.0.0.1:3000/mcp", "http://127.0.0.1:3000/mcp"),
        ("http://127.9.9.9/", "http://127.9.9.9/"),
        ("http://2130706433/", "http://127.0.0.1/"),
        ("http://[::1]:3000/mcp", "http://[::1]:3000/mcp"),
    ] {
        assert_eq!(resolve(&[text], &[]).url.as_str(), url, "{text}");
    }
}

#[test]
fn plain_http_needs_permission_off_loopback() {
    for text in [
        "http://example.com/mcp",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
        "http://localhost.localdomain/",
        "http://localhost.example.com/",
        "http://[fe80::1]/",
    ] {
        let why = refusal(&[text], &[]);
        assert!(
            why.contains("unencrypted") && why.contains("--allow-http"),
            "{text}: {why}"
        );
        assert_eq!(resolve(&[text, "--allow-http"], &[]).url.scheme(), "http");
    }
}

#[test]
fn other_addresses_are_refused_with_the_next_step_and_unquoted() {
    for (text, words) in [
        ("example.com/canary", "put https:// in front"),
        ("localhost:3000/canary", "put https:// in front"),
        ("canary", "put https:// in front"),
        ("user:canary@example.com", "put https:// in front"),
        ("", "the URL is empty"),
        ("ftp://example.com/canary", "the scheme ftp cannot be used"),
        ("file:///canary", "names no host"),
        ("ws://example.com/canary", "the scheme ws cannot be used"),
        ("https://", "the URL is not valid"),
        ("https://canary canary/", "the URL is not valid"),
        ("https://example.com:99999/canary", "the URL is not valid"),
    ] {
        for args in [&[text][..], &[text, "--allow-http"]] {
            let why = refusal(args, &[]);
            assert!(why.contains(words), "{text}: {why}");
            assert!(!why.contains("canary"), "{text}: {why}");
        }
    }
}

#[test]
fn user_name_and_password_become_a_header() {
    let sent = |args: &[&str]| {
        let settings = resolve(args, &[]);
        let mut map = HeaderMap::new();
        settings.exchange.headers.apply(&mut map);
        assert_eq!(settings.url.as_str(), "https://example.com/");
        map.remove("authorization")
            .map(|value| value.to_str().unwrap().to_owned())
    };
    // "me@x:p%q" and "me:"
    assert_eq!(
        sent(&["https://me%40x:p%25q@example.com/"]).unwrap(),
        "Basic bWVAeDpwJXE="
    );
    assert_eq!(sent(&["https://me@example.com/"]).unwrap(), "Basic bWU6");
    let own = [
        "https://me:x@example.com/",
        "--header",
        "authorization: Bearer own",
    ];
    assert_eq!(sent(&own).unwrap(), "Bearer own");
    assert_eq!(sent(&["https://example.com/"]), None);
    assert_eq!(percent_decoded("%zz%4"), b"%zz%4");
}

#[test]
fn times_and_limits() {
    let settings = resolve(&[URL], &[]);
    assert_eq!(
        settings.exchange.headers_timeout,
        Some(Duration::from_secs(300))
    );
    assert_eq!(settings.exchange.body_timeout, None);
    assert_eq!(
        settings.network.connect_timeout,
        Some(Duration::from_secs(10))
    );
    assert_eq!(settings.bridge.ping_interval, None);
    assert_eq!(settings.bridge.eof_grace, Duration::from_secs(5));
    assert_eq!(settings.bridge.message_limit, 64 << 20);
    assert!(settings.exchange.cookies);

    let settings = resolve(
        &[
            URL,
            "--headers-timeout=0",
            "--body-timeout=1.5",
            "--keep-alive",
            "--max-message-size=1",
        ],
        &[],
    );
    assert_eq!(settings.exchange.headers_timeout, None);
    assert_eq!(
        settings.exchange.body_timeout,
        Some(Duration::from_millis(1500))
    );
    assert_eq!(settings.bridge.ping_interval, Some(Duration::from_secs(30)));
    assert_eq!(settings.exchange.message_limit, 1 << 20);

    let settings = resolve(&[URL, "--ping-interval=7", "--disable-cookies"], &[]);
    assert_eq!(settings.bridge.ping_interval, Some(Duration::from_secs(7)));
    assert!(!settings.exchange.cookies);
}

#[test]
fn a_long_call_timeout_lets_an_answer_begin_late() {
    for (typed, seconds) in [
        (&["--call-timeout=600"][..], 610),
        (&["--call-timeout=60"], 300),
        (&["--call-timeout=600", "--headers-timeout=20"], 20),
    ] {
        let settings = resolve(&[&[URL], typed].concat(), &[]);
        let expected = Some(Duration::from_secs(seconds));
        assert_eq!(settings.exchange.headers_timeout, expected, "{typed:?}");
    }
}

#[test]
fn tools_are_filtered_as_asked() {
    let args = [
        URL,
        "--ignore-tool",
        "delete*",
        "--only-tool=get*",
        "--only-tool=del*",
    ];
    let filter = resolve(&args, &[]).bridge.filter;
    assert!(filter.is_active());
    let refused = |name| filter.refusal(name).map(Refusal::flag);
    assert_eq!((refused("getX"), refused("delay")), (None, None));
    assert_eq!(refused("deleteX"), Some("--ignore-tool"));
    assert_eq!(refused("put"), Some("--only-tool"));
    assert!(!resolve(&[URL], &[]).bridge.filter.is_active());
    assert!(
        resolve(&[URL, "--read-only"], &[])
            .bridge
            .filter
            .is_active()
    );
}

fn proxy_of(args: &[&str], env: &[(&str, &str)]) -> Option<String> {
    let settings = resolve(args, env);
    settings
        .network
        .proxy
        .for_url(&settings.url)
        .map(ProxyUrl::label)
}

#[test]
fn proxies_come_from_the_option_or_the_variables() {
    let [upper, lower, plain, all] = [
        ("HTTPS_PROXY", "http://upper:1"),
        ("https_proxy", "http://lower:2"),
        ("HTTP_PROXY", "http://plain:3"),
        ("all_proxy", "socks5://all:4"),
    ];
    for (args, env, proxy) in [
        (&[URL][..], &[][..], None),
        (&[URL], &[upper, plain, all], Some("upper:1")),
        (&[URL], &[upper, lower], Some("lower:2")),
        (&[URL], &[upper, ("https_proxy", "")], None),
        (&[URL], &[plain, all], Some("all:4")),
        (&[URL], &[upper, ("NO_PROXY", "example.com")], None),
        (
            &[URL],
            &[upper, ("NO_PROXY", "example.com"), ("no_proxy", "x.test")],
            Some("upper:1"),
        ),
        (&[URL, "--proxy=none"], &[upper, all], None),
        (&[URL, "--proxy", "NONE"], &[upper, all], None),
        (
            &[URL, "--proxy", "socks5h://typed"],
            &[upper],
            Some("typed:1080"),
        ),
        (&[URL, "--enable-proxy"], &[upper], Some("upper:1")),
        (&["http://localhost:1/"], &[plain, all], None),
        (&["http://localhost:1/", "--proxy=p:1"], &[], Some("p:1")),
    ] {
        assert_eq!(proxy_of(args, env).as_deref(), proxy, "{args:?} {env:?}");
    }
}

#[test]
fn f27_a_wrong_proxy_is_named_without_its_password() {
    let wrong = "gopher://u:canary@proxy:1";
    let text = refusal(&[URL, "--proxy", wrong], &[]);
    assert!(
        text.contains("--proxy is not the address of a proxy"),
        "{text}"
    );
    assert!(!text.contains("canary"), "{text}");
    let text = refusal(&[URL], &[("ALL_PROXY", wrong)]);
    assert!(
        text.contains("ALL_PROXY") && text.contains("--proxy none"),
        "{text}"
    );
    assert!(!text.contains("canary"), "{text}");
    assert_eq!(
        proxy_of(&[URL, "--proxy=none"], &[("ALL_PROXY", wrong)]),
        None
    );
}

#[test]
fn trust_comes_from_options_and_variables() {
    let network = resolve(
        &[
            URL,
            "--ca-cert=a.pem",
            "--ca-cert=b.pem",
            "--client-cert=c.pem",
            "--client-key=c.key",
            "--ipv4",
        ],
        &[
            ("NODE_EXTRA_CA_CERTS", "n.pem"),
            ("SSL_CERT_FILE", "s.pem"),
            ("SSL_CERT_DIR", ""),
        ],
    )
    .network;
    assert_eq!(
        network.ca_files,
        [PathBuf::from("a.pem"), PathBuf::from("b.pem")]
    );
    assert_eq!(network.node_extra_ca_certs, Some("n.pem".into()));
    assert_eq!(network.ssl_cert_file, Some("s.pem".into()));
    assert_eq!(network.ssl_cert_dir, None);
    assert_eq!(network.client_cert, Some("c.pem".into()));
    assert_eq!(network.client_key, Some("c.key".into()));
    assert!(network.ipv4);
    assert!(refusal(&[URL, "--client-key=c.key"], &[]).contains("--client-cert"));
}

#[test]
fn switching_checks_off_is_for_one_host_and_loud() {
    let node = ("NODE_TLS_REJECT_UNAUTHORIZED", "0");
    for (args, env, word) in [
        (&[URL, "--insecure"][..], &[][..], "--insecure"),
        (&[URL], &[node], "NODE_TLS_REJECT_UNAUTHORIZED=0"),
        (&[URL, "--insecure"], &[node], "--insecure"),
    ] {
        let (settings, notices) = resolve_with(args, env).unwrap();
        assert_eq!(
            settings.network.insecure_host.as_deref(),
            Some("example.com")
        );
        let loud: Vec<_> = notices.iter().filter(|n| n.level == Level::Error).collect();
        assert_eq!(loud.len(), 1, "{notices:?}");
        assert!(loud[0].text.contains(word) && loud[0].text.contains("example.com"));
    }
    for (args, env) in [
        (&[URL][..], &[("NODE_TLS_REJECT_UNAUTHORIZED", "1")][..]),
        (&[URL], &[]),
        (&["http://localhost:1/"], &[node]),
    ] {
        let (settings, notices) = resolve_with(args, env).unwrap();
        assert_eq!(
            (settings.network.insecure_host, notices.len()),
            (None, 0),
            "{args:?}"
        );
    }
}

#[test]
fn debug_comes_from_the_option_or_the_variable() {
    for (value, debug) in [
        ("*", true),
        ("mcp-bridge", true),
        ("mcp-remote:*", true),
        ("express:*,mcp-bridge*", true),
        ("express:*", false),
        ("-mcp-bridge", false),
        ("1", false),
        ("", false),
    ] {
        assert_eq!(
            resolve(&[URL], &[("DEBUG", value)]).log.debug,
            debug,
            "{value}"
        );
    }
    let log = resolve(
        &[
            URL,
            "--debug",
            "--silent",
            "--log-file=f",
            "--log-format=json",
        ],
        &[],
    )
    .log;
    assert_eq!(
        log,
        LogSettings {
            debug: true,
            silent: true,
            file: Some("f".into()),
            json: true,
            ..LogSettings::default()
        }
    );
    assert_eq!(resolve(&[URL], &[]).log, LogSettings::default());
}

#[test]
fn options_without_effect_are_named() {
    let args = [URL, "3334", "--protocol=auto", "--enable-proxy"];
    let notices = notices(&args, &[]);
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert_eq!(notices[0].level, Level::Debug);
    assert!(notices[0].text.contains("--enable-proxy"), "{notices:?}");
    assert!(resolve_with(&[URL, "3334"], &[]).unwrap().1.is_empty());
}

#[test]
fn f22_debug_hides_every_secret() {
    for (url, signs_in) in [
        ("https://u:canary@example.com/mcp?key=canary", false),
        ("https://example.com/mcp?key=canary", true),
    ] {
        let settings = resolve(
            &[
                url,
                "--header=X-A: canary",
                "--header-command=X-B: echo canary",
                "--proxy=http://u:canary@proxy:1",
                "--static-oauth-client-info={\"client_id\":\"a\",\"client_secret\":\"canary\"}",
                "--static-oauth-client-metadata={\"software_statement\":\"canary\"}",
                "--authorize-param=login_hint=canary",
                "--resource=https://example.com/?k=canary",
            ],
            &[],
        );
        assert_eq!(settings.sign_in.is_some(), signs_in);
        let shown = format!("{settings:?}");
        assert!(!shown.contains("canary"), "{shown}");
        assert!(
            shown.contains("https://example.com/mcp") && shown.contains("x-a"),
            "{shown}"
        );
    }
}

#[test]
fn modern_revisions_are_spoken_over_streamable_http_alone() {
    let modern = |transport| [URL, "--protocol=modern", transport];
    let why = refusal(&modern("--transport=sse-only"), &[]);
    for words in [
        "--protocol modern",
        "--transport sse-only",
        "Streamable HTTP",
    ] {
        assert!(why.contains(words), "{why}");
    }
    for (transport, strategy) in [
        ("--transport=sse-first", Strategy::HttpOnly),
        ("--transport=http-first", Strategy::HttpFirst),
        ("--transport=http-only", Strategy::HttpOnly),
    ] {
        let settings = resolve(&modern(transport), &[]);
        assert_eq!(settings.bridge.strategy, strategy, "{transport}");
    }
    let told = notices(&modern("--transport=sse-first"), &[]);
    assert!(told[0].text.contains("--transport sse-first"), "{told:?}");
    for protocol in ["auto", "legacy"] {
        let settings = resolve(&[URL, "--transport=sse-only", "--protocol", protocol], &[]);
        assert_eq!(settings.bridge.strategy, Strategy::SseOnly);
    }
}
