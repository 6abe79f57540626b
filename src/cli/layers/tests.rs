//! Every option and command, from every place it can come from.

use std::time::Duration;

use super::*;
use crate::cli::{HeaderSource, LogFormat, Secret, StoreKind};
use crate::proto::limits;
use crate::proto::transport::Strategy;

const URL: &str = "https://example.com/mcp";

fn read_with(args: &[&str], env: &[(&str, &str)]) -> Result<Cli, Failure> {
    let args = std::iter::once("mcp-bridge")
        .chain(args.iter().copied())
        .map(OsString::from);
    let env = |name: &str| {
        env.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| OsString::from(value))
    };
    match Parsed::read(args, &env)? {
        Parsed::Run(cli) => Ok(*cli),
        other => panic!("{other:?}"),
    }
}

fn command(args: &[&str], env: &[(&str, &str)]) -> Result<Parsed, Failure> {
    let args = std::iter::once("mcp-bridge").chain(args.iter().copied());
    let env = |name: &str| {
        env.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| OsString::from(value))
    };
    Parsed::read(args.map(OsString::from), &env)
}

/// Everything that was read, but not where it stood.
fn shown(mut cli: Cli) -> String {
    cli.typed.clear();
    format!("{cli:?}")
}

fn read(args: &[&str]) -> Cli {
    read_with(args, &[]).unwrap_or_else(|failure| panic!("{args:?}: {failure}"))
}

fn failure(args: &[&str]) -> String {
    let failure = read_with(args, &[]).unwrap_err();
    assert_eq!(failure.exit_code(), 2);
    failure.to_string()
}

fn answer(args: &[&str]) -> clap::Error {
    match command(args, &[]).unwrap() {
        Parsed::Answer(answer) => answer,
        other => panic!("{args:?}: {other:?}"),
    }
}

/// A settings file that sets nothing.
const EMPTY_FILE: &str = if cfg!(windows) { "NUL" } else { "/dev/null" };

/// Every option that takes a value, with a right one.
const VALUED: [(&str, &str); 39] = [
    ("call-timeout", "600"),
    ("config", EMPTY_FILE),
    ("header", "X-A: 1"),
    ("header-file", "headers.txt"),
    ("header-command", "X-B: echo 1"),
    ("heartbeat", "15"),
    ("ignore-tool", "delete*"),
    ("only-tool", "get*"),
    ("transport", "sse-only"),
    ("ping-interval", "7"),
    ("headers-timeout", "0"),
    ("body-timeout", "1.5"),
    ("max-message-size", "8"),
    ("eof-grace", "0"),
    ("connect-timeout", "2e1"),
    ("proxy", "http://proxy:3128"),
    ("ca-cert", "ca.pem"),
    ("client-cert", "me.pem"),
    ("client-key", "me.key"),
    ("log-file", "bridge.log"),
    ("log-format", "json"),
    ("host", "127.0.0.1"),
    ("callback-path", "/back"),
    ("auth-success-url", "https://example.com/done"),
    ("auth-timeout", "60"),
    ("static-oauth-client-metadata", "{\"scope\":\"a b\"}"),
    ("static-oauth-client-info", "@info.json"),
    ("client-metadata-url", "https://example.com/client.json"),
    ("token-endpoint", "https://example.com/token"),
    ("resource", ""),
    ("authorize-param", "prompt=consent"),
    ("protocol", "modern"),
    ("discover", "legacy-first"),
    ("expect-issuer", "https://example.com"),
    ("profile", "work"),
    ("store", "keychain"),
    ("enterprise-idp", "@idp.json"),
    ("workload-jwt", "@token"),
    ("initialize-wait", "0"),
];

const SWITCHES: [&str; 17] = [
    "read-only",
    "keep-alive",
    "no-upgrade",
    "disable-cookies",
    "allow-http",
    "ipv4",
    "enable-proxy",
    "insecure",
    "debug",
    "silent",
    "device-code",
    "client-credentials",
    "use-id-token",
    "disable-resource-parameter",
    "no-browser",
    "allow-missing-pkce",
    "allow-private-network",
];

#[test]
fn every_option_works_in_every_spelling_and_place() {
    let plain = shown(read(&[URL]));
    for (name, value) in VALUED {
        let (flag, joined) = (format!("--{name}"), format!("--{name}={value}"));
        let first = shown(read(&[&flag, value, URL]));
        assert_ne!(first, plain, "{name}");
        for args in [
            [URL, &flag, value].as_slice(),
            &[&joined, URL],
            &[URL, &joined],
        ] {
            assert_eq!(shown(read(args)), first, "{args:?}");
        }
    }
    for name in SWITCHES {
        let flag = format!("--{name}");
        let first = shown(read(&[&flag, URL]));
        assert_ne!(first, plain, "{name}");
        for args in [[URL, &flag].as_slice(), &[&flag, URL, &flag]] {
            assert_eq!(shown(read(args)), first, "{args:?}");
        }
    }
}

#[test]
fn every_choice_is_accepted() {
    for text in ["http-first", "sse-first", "http-only", "sse-only"] {
        assert_eq!(
            read(&[URL, "--transport", text])
                .transport
                .transport
                .as_str(),
            text
        );
    }
    for text in ["legacy", "auto", "modern"] {
        let cli = read(&[URL, "--protocol", text]);
        assert_eq!(cli.transport.protocol.as_str(), text);
    }
    for (text, store) in [
        ("files", StoreKind::Files),
        ("keychain", StoreKind::Keychain),
    ] {
        assert_eq!(read(&[URL, "--store", text]).sign_in.store.store, store);
    }
    assert_eq!(
        read(&[URL, "--log-format=text"]).output.log_format,
        LogFormat::Text
    );
}

#[test]
fn no_option_is_missing_from_the_lists_above() {
    for arg in Mode::Bridge.command().get_arguments() {
        let Some(name) = arg.get_long() else { continue };
        let listed = VALUED.iter().any(|(known, _)| *known == name) || SWITCHES.contains(&name);
        assert!(listed, "{name}");
    }
}

#[test]
fn values_arrive() {
    let cli = read(&[
        "--header",
        "-X: 1",
        "--header-file",
        "f",
        URL,
        "4000",
        "--header=X-B: 2",
        "--transport",
        "sse-first",
        "--max-message-size=8",
        "--connect-timeout",
        "2.5",
    ]);
    assert_eq!(cli.url.reveal(), URL);
    assert_eq!(cli.callback_port, Some(4000));
    let secret = |text: &str| HeaderSource::Inline(Secret::from(text.to_owned()));
    assert_eq!(
        cli.headers.sources,
        [
            secret("-X: 1"),
            HeaderSource::File("f".into()),
            secret("X-B: 2")
        ]
    );
    assert_eq!(cli.transport.transport, Strategy::SseFirst);
    assert_eq!(cli.transport.max_message_size, 8);
    assert_eq!(cli.network.connect_timeout, Duration::from_millis(2500));
}

#[test]
fn values_about_signing_in_arrive() {
    let cli = read(&[
        URL,
        "--host=127.0.0.1",
        "--callback-path=/back",
        "--auth-success-url=a",
        "--auth-timeout=60s",
        "--initialize-wait=1.5",
        "--static-oauth-client-metadata=b",
        "--static-oauth-client-info=c",
        "--client-metadata-url=d",
        "--token-endpoint=e",
        "--resource=f",
        "--authorize-param=g=1",
        "--authorize-param",
        "h=2=3",
        "--expect-issuer=i",
        "--profile=j",
        "--enterprise-idp=k",
        "--workload-jwt=l",
    ]);
    let args = cli.sign_in;
    assert_eq!(
        (args.host.as_str(), args.callback_path.as_str()),
        ("127.0.0.1", "/back")
    );
    assert_eq!(args.auth_timeout, Duration::from_secs(60));
    assert_eq!(args.initialize_wait, Duration::from_millis(1500));
    assert_eq!(args.profile.as_deref(), Some("j"));
    let texts = [
        args.auth_success_url,
        args.static_oauth_client_metadata,
        args.static_oauth_client_info,
        args.client_metadata_url,
        args.token_endpoint,
        args.resource,
        args.expect_issuer,
        args.enterprise_idp,
        args.workload_jwt,
    ];
    let texts = texts.map(|text| text.unwrap().reveal().to_owned());
    assert_eq!(texts, ["a", "b", "c", "d", "e", "f", "i", "k", "l"]);
    let params: Vec<_> = args.authorize_param.iter().map(Secret::reveal).collect();
    assert_eq!(params, ["g=1", "h=2=3"]);
}

#[test]
fn defaults_are_as_documented() {
    let cli = read(&[URL]);
    assert_eq!(cli.network.connect_timeout, Duration::from_secs(10));
    assert_eq!(cli.transport.headers_timeout, Duration::from_secs(300));
    assert_eq!(cli.transport.body_timeout, Duration::ZERO);
    assert_eq!(cli.transport.eof_grace, Duration::from_secs(5));
    assert_eq!(cli.transport.max_message_size << 20, limits::MESSAGE as u64);
    assert_eq!(cli.transport.transport, Strategy::HttpFirst);
    assert_eq!(cli.output.log_format, LogFormat::Text);
    assert!(!cli.output.debug && !cli.output.silent && !cli.network.allow_http);
    let args = cli.sign_in;
    assert_eq!(args.auth_timeout, Duration::from_secs(300));
    assert_eq!(args.initialize_wait, Duration::from_secs(20));
    assert_eq!(args.host, "localhost");
    assert_eq!(args.callback_path, "/oauth/callback");
    assert_eq!(args.store.store, StoreKind::Files);
    assert!(!args.no_browser && args.profile.is_none() && args.resource.is_none());
}

#[test]
fn unknown_options_are_named_with_the_nearest() {
    for (typo, near) in [
        ("--ignore-tol=x", "--ignore-tool"),
        ("--heder", "--header"),
        ("--allow-htp", "--allow-http"),
        ("--conect-timeout=3", "--connect-timeout"),
        ("--transprot", "--transport"),
        ("--profil=x", "--profile"),
        ("--no-browsr", "--no-browser"),
        ("--auth-timout=3", "--auth-timeout"),
        (
            "--static-oauth-client-infos=x",
            "--static-oauth-client-info",
        ),
    ] {
        let text = failure(&[URL, typo]);
        let name = typo.split('=').next().unwrap();
        let words = format!("unknown option {name} [usage]\n");
        assert!(text.contains(&words), "{text}");
        assert!(text.ends_with(&format!("did you mean {near}?")), "{text}");
    }
    assert!(failure(&[URL, "--xyzzy"]).contains("unknown option --xyzzy"));
    assert!(failure(&[URL, "-v"]).contains("unknown option -v"));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn wrong_values_name_their_option() {
    for (args, words) in [
        (
            &["--connect-timeout", "0"][..],
            "--connect-timeout must be greater than 0",
        ),
        (
            &["--connect-timeout", "1s"],
            "--connect-timeout must be a number of seconds",
        ),
        (
            &["--connect-timeout", "inf"],
            "--connect-timeout must be a number",
        ),
        (
            &["--headers-timeout", "-5"],
            "--headers-timeout must not be negative",
        ),
        (
            &["--heartbeat", "0.5"],
            "--heartbeat must be 0 or at least 1",
        ),
        (&["--body-timeout=NaN"], "--body-timeout must be a number"),
        (&["--body-timeout="], "--body-timeout"),
        (
            &["--ping-interval", "0"],
            "--ping-interval must be greater than 0",
        ),
        (
            &["--eof-grace", "1e99"],
            "--eof-grace must be at most 31536000 seconds",
        ),
        (
            &["--max-message-size", "0"],
            "--max-message-size must be a whole number",
        ),
        (
            &["--max-message-size", "1.5"],
            "--max-message-size must be a whole number",
        ),
        (
            &["--transport", "sse"],
            "--transport must be one of http-first, sse-first, http-only, sse-only",
        ),
        (
            &["--log-format", "xml"],
            "--log-format must be one of text, json",
        ),
        (
            &["--protocol", "new"],
            "--protocol must be one of auto, legacy, modern",
        ),
        (&["--debug=1"], "--debug takes no value"),
        (
            &["--auth-timeout", "0"],
            "--auth-timeout must be greater than 0",
        ),
        (
            &["--auth-timeout=5m"],
            "--auth-timeout must be a number of seconds",
        ),
        (
            &["--initialize-wait", "-1"],
            "--initialize-wait must not be negative",
        ),
        (
            &["--callback-path", "back"],
            "--callback-path must begin with /",
        ),
        (
            &["--callback-path=/a?b"],
            "--callback-path must be a plain path",
        ),
        (
            &["--host", "a/b"],
            "--host must be the name or address of a host",
        ),
        (&["--host="], "--host"),
        (&["--profile", "a b"], "--profile must be 1 to 64 letters"),
        (
            &["--store", "cloud"],
            "--store must be one of files, keychain",
        ),
        (&["--auth-success-url"], "--auth-success-url needs a value"),
        (
            &["--token-endpoint", "--debug"],
            "--token-endpoint needs a value",
        ),
        (&["--header"], "--header needs a value"),
        (&["--transport"], "--transport must be one of"),
        (
            &["--proxy", "none", "--proxy", "none"],
            "--proxy was given more than once",
        ),
        (&["0"], "CALLBACK_PORT must be a number from 1 to 65535"),
        (&["70000"], "CALLBACK_PORT must be a number from 1 to 65535"),
    ] {
        let args = [&[URL], args].concat();
        let text = failure(&args);
        assert!(text.contains(words), "{args:?}: {text}");
    }
    assert!(failure(&[]).contains("the URL of the server is missing"));
    assert!(failure(&["--debug"]).contains("usage: mcp-bridge [OPTIONS] <URL>"));
}

#[test]
fn f22_no_failure_repeats_a_value() {
    for args in [
        &[
            "--header",
            "Authorization:",
            "Bearer",
            "canary",
            "canary2",
            URL,
        ][..],
        &[URL, "canary"],
        &[URL, "3334", "canary"],
        &[URL, "--heder=canary"],
        &[URL, "--transport", "canary"],
        &[URL, "--connect-timeout", "canary"],
        &[URL, "--debug=canary"],
        &[URL, "--max-message-size=canary"],
        &[URL, "--auth-timeout=canary"],
        &[URL, "--callback-path=canary"],
        &[URL, "--host=canary/"],
        &[URL, "--profile=canary!"],
        &["login", URL, "--heder=canary"],
        &["login", URL, "3334", "canary"],
        &["logout", URL, "--profile=canary!"],
        &["status", "canary"],
        &["status", "--json=canary"],
    ] {
        let text = failure(args);
        assert!(!text.contains("canary"), "{args:?}: {text}");
    }
    let text = read_with(&[URL], &[("MCP_BRIDGE_TRANSPORT", "canary")])
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("MCP_BRIDGE_TRANSPORT") && !text.contains("canary"),
        "{text}"
    );
}

#[test]
fn f22_debug_hides_what_may_be_secret() {
    let cli = read(&[
        "https://u:canary@example.com/?k=canary",
        "--header=X: canary",
        "--header-command=Y: canary",
        "--proxy=http://u:canary@proxy:1",
        "--static-oauth-client-info={\"client_secret\":\"canary\"}",
        "--static-oauth-client-metadata={\"software_statement\":\"canary\"}",
        "--enterprise-idp={\"id_token\":\"canary\"}",
        "--workload-jwt=canary",
        "--authorize-param=login_hint=canary",
        "--token-endpoint=https://u:canary@example.com/?k=canary",
        "--auth-success-url=https://example.com/?k=canary",
        "--client-metadata-url=https://example.com/?k=canary",
        "--resource=https://example.com/?k=canary",
        "--expect-issuer=https://u:canary@example.com/",
    ]);
    let shown = format!("{cli:?}");
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn variables_stand_for_options_and_the_command_line_wins() {
    let env = [
        ("MCP_BRIDGE_TRANSPORT", "sse-only"),
        ("MCP_BRIDGE_CONNECT_TIMEOUT", "3"),
        ("MCP_BRIDGE_DEBUG", "1"),
        ("MCP_BRIDGE_SILENT", "false"),
        ("MCP_BRIDGE_HOST", "127.0.0.1"),
        ("MCP_BRIDGE_HEADER", "X: not from here"),
    ];
    let cli = read_with(&[URL, "--transport", "http-only"], &env).unwrap();
    assert_eq!(cli.transport.transport, Strategy::HttpOnly);
    assert_eq!(cli.network.connect_timeout, Duration::from_secs(3));
    assert!(cli.output.debug && !cli.output.silent);
    assert_eq!(cli.sign_in.host, "127.0.0.1");
    assert!(cli.headers.sources.is_empty());

    for (variable, value) in [
        ("MCP_BRIDGE_DEBUG", "maybe"),
        ("MCP_BRIDGE_CONNECT_TIMEOUT", "0"),
        ("MCP_BRIDGE_PROTOCOL", "x"),
    ] {
        let text = read_with(&[URL], &[(variable, value)])
            .unwrap_err()
            .to_string();
        assert!(text.contains(variable), "{text}");
    }
}

#[test]
fn every_single_valued_option_has_its_variable() {
    let command = Mode::Bridge.command();
    for (name, value) in VALUED {
        let arg = command
            .get_arguments()
            .find(|arg| arg.get_long() == Some(name))
            .unwrap();
        if matches!(arg.get_action(), ArgAction::Append) {
            continue;
        }
        let variable = format!("MCP_BRIDGE_{}", name.replace('-', "_").to_uppercase());
        let by_variable = read_with(&[URL], &[(&variable, value)]).unwrap();
        let typed = read(&[URL, &format!("--{name}={value}")]);
        assert!(by_variable.typed.is_empty(), "{variable}");
        assert_eq!(typed.typed, [name]);
        assert_eq!(shown(by_variable), shown(typed), "{variable}");
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    for arg in ["-h", "--help", "--version", "-V"] {
        for args in [
            &[arg][..],
            &["login", arg],
            &["logout", arg],
            &["status", arg],
        ] {
            assert!(!answer(args).use_stderr(), "{args:?}");
        }
    }
    assert_eq!(
        answer(&["--version"]).to_string(),
        concat!("mcp-bridge ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let (short, long) = (answer(&["-h"]).to_string(), answer(&["--help"]).to_string());
    for help in [&short, &long] {
        assert!(
            help.contains("Usage: mcp-bridge [OPTIONS] <URL> [CALLBACK_PORT]"),
            "{help}"
        );
        for command in ["  login ", "  logout ", "  status "] {
            assert!(help.contains(command), "{command}\n{help}");
        }
    }
    assert!(
        short.contains("--ignore-tool") && short.contains("--no-browser"),
        "{short}"
    );
    assert!(!short.contains("--device-code"), "{short}");
    assert!(
        long.contains("--allow-missing-pkce") && long.contains("--enable-proxy"),
        "{long}"
    );
    for heading in [
        "Headers:",
        "Tools:",
        "Transport:",
        "Network:",
        "Certificates:",
        "Output:",
        "Sign-in:",
        "Sign-in at a company:",
        "Protocol:",
        "Time limits:",
    ] {
        assert!(
            long.contains(&format!("\n{heading}\n")),
            "{heading}\n{long}"
        );
    }
}

#[test]
fn the_parsers_are_sound() {
    for mode in [&[Mode::Bridge][..], &Mode::COMMANDS].concat() {
        mode.command().debug_assert();
    }
}

#[test]
fn commands_show_their_own_help() {
    for (name, usage, own, foreign) in [
        (
            "login",
            "Usage: mcp-bridge login [OPTIONS] <URL> [CALLBACK_PORT]",
            &["--profile", "--header", "--ca-cert", "--config"][..],
            &["--ignore-tool", "--keep-alive", "--forget-client", "login "][..],
        ),
        (
            "logout",
            "Usage: mcp-bridge logout [OPTIONS] <URL>\n       mcp-bridge logout --all\n",
            &["--all", "--forget-client", "--profile", "--proxy"],
            &["--only-tool", "--transport", "--json", "login "],
        ),
        (
            "status",
            "Usage: mcp-bridge status [OPTIONS]",
            &["--json", "--config", "--debug", "--store"],
            &["--header", "--all", "<URL>", "login "],
        ),
    ] {
        let help = answer(&[name, "--help"]).to_string();
        assert!(help.contains(usage), "{help}");
        for option in own {
            assert!(help.contains(option), "{option}\n{help}");
        }
        for option in foreign {
            assert!(!help.contains(&format!("  {option}")), "{option}\n{help}");
        }
    }
}

#[test]
fn login_takes_what_the_bridge_takes() {
    for (name, value) in VALUED {
        let joined = format!("--{name}={value}");
        let Parsed::Login(cli) = command(&["login", URL, "3334", &joined], &[]).unwrap() else {
            panic!("{name}");
        };
        assert_eq!(shown(*cli), shown(read(&[URL, "3334", &joined])), "{name}");
    }
}

#[test]
fn logout_is_for_one_server_or_for_all() {
    let logout = |args: &[&str]| match command(&[&["logout"], args].concat(), &[]) {
        Ok(Parsed::Logout(logout)) => *logout,
        other => panic!("{args:?}: {other:?}"),
    };
    let one = logout(&[URL, "--profile=work"]);
    assert_eq!(one.cli.url.reveal(), URL);
    assert_eq!(one.cli.sign_in.profile.as_deref(), Some("work"));
    assert!(!one.all && !one.forget_client);
    let all = logout(&["--all", "--forget-client", "--ca-cert=x.pem"]);
    assert!(all.all && all.forget_client && all.cli.url.is_empty());
    assert_eq!(all.cli.trust.ca_cert, [PathBuf::from("x.pem")]);

    let text = command(&["logout"], &[]).unwrap_err().to_string();
    assert!(text.contains("the URL of the server is missing"), "{text}");
    assert!(text.contains("mcp-bridge logout --all"), "{text}");
}

#[test]
fn status_reads_its_own_options_from_all_layers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.toml");
    #[expect(
        clippy::disallowed_methods,
        reason = "the test makes the file it reads"
    )]
    std::fs::write(&path, "store = 'keychain'\nignore-tool = ['a']\n").unwrap();
    let config = format!("--config={}", path.display());
    let status =
        |args: &[&str], env: &[(&str, &str)]| match command(&[&["status"], args].concat(), env) {
            Ok(Parsed::Status(status)) => *status,
            other => panic!("{args:?}: {other:?}"),
        };
    let plain = status(&[], &[("MCP_BRIDGE_TRANSPORT", "not for status")]);
    assert!(!plain.json);
    assert_eq!(plain.store.store, StoreKind::Files);
    let by_file = status(&["--json", &config], &[]);
    assert!(by_file.json);
    assert_eq!(by_file.store.store, StoreKind::Keychain);
    let by_variable = status(&[&config], &[("MCP_BRIDGE_STORE", "files")]);
    assert_eq!(by_variable.store.store, StoreKind::Files);
    let typed = status(&["--store=keychain"], &[("MCP_BRIDGE_STORE", "files")]);
    assert_eq!(typed.store.store, StoreKind::Keychain);
}

#[test]
fn what_a_command_does_is_typed_and_nothing_else() {
    let env = [
        ("MCP_BRIDGE_ALL", "1"),
        ("MCP_BRIDGE_FORGET_CLIENT", "1"),
        ("MCP_BRIDGE_JSON", "1"),
    ];
    let Parsed::Logout(logout) = command(&["logout", URL], &env).unwrap() else {
        panic!()
    };
    assert!(!logout.all && !logout.forget_client);
    let Parsed::Status(status) = command(&["status"], &env).unwrap() else {
        panic!()
    };
    assert!(!status.json);
}

#[test]
fn commands_name_their_mistakes() {
    for (args, words) in [
        (
            &["login"][..],
            &[
                "the URL of the server is missing",
                "usage: mcp-bridge login",
            ][..],
        ),
        (
            &["login", URL, "--profil=x"],
            &["unknown option --profil", "did you mean --profile?"],
        ),
        (&["login", URL, "--all"], &["unknown option --all"]),
        (&["login", URL, "--xyzzy"], &["mcp-bridge login --help"]),
        (
            &["logout", "--al"],
            &["unknown option --al", "did you mean --all?"],
        ),
        (
            &["status", URL],
            &["status takes no arguments", "usage: mcp-bridge status"],
        ),
        (
            &["status", "--jsn"],
            &["unknown option --jsn", "did you mean --json?"],
        ),
        (
            &["--debug", "login", URL],
            &["is a command; put it first: mcp-bridge login [OPTIONS] <URL>"],
        ),
        (
            &["login", "status"],
            &["is a command; put it first: mcp-bridge status"],
        ),
    ] {
        let failure = command(args, &[]).unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        let text = failure.to_string();
        for word in words {
            assert!(text.contains(word), "{args:?}: {text}");
        }
    }
}

#[test]
fn what_is_missing_or_wrong_has_its_plain_name() {
    for (line, words) in [
        (&["uninstall"][..], "the name of the entry is missing"),
        (&["completions"], "the name of the shell is missing"),
        (&["pack"], "the URL of the server is missing"),
        (
            &["install", "cursr", "https://x.example/"],
            "CLIENT must be one of",
        ),
        (&["https://x.example/", "port"], "CALLBACK_PORT must be"),
    ] {
        let args = ["mcp-bridge"].iter().chain(line).map(OsString::from);
        let text = Parsed::read(args, &|_| None).unwrap_err().to_string();
        let start = format!("mcp-bridge: {words}");
        assert!(text.starts_with(&start), "{line:?}: {text}");
    }
}
