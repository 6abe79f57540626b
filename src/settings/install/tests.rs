use super::*;
use crate::cli::Parsed;

const URL: &str = "https://mcp.example.com/mcp";

fn read(line: &[&str]) -> Parsed {
    let words = ["mcp-bridge"].iter().chain(line);
    Parsed::read(words.map(OsString::from), &|_| None).unwrap()
}

fn install(line: &[&str], env: &[(&str, &str)]) -> Result<InstallSettings, String> {
    let words: Vec<&str> = ["install"].iter().chain(line).copied().collect();
    let Parsed::Install(install) = read(&words) else {
        panic!("{line:?}");
    };
    let env = |name: &str| {
        let found = env.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    InstallSettings::resolve(&install, &env).map_err(|failure| failure.to_string())
}

fn entry(line: &[&str]) -> NewEntry {
    match install(line, &[]).unwrap().order {
        Order::Add(entry) => *entry,
        Order::Switch(_) => panic!("{line:?}"),
    }
}

#[test]
fn name_address_and_port_are_told_apart() {
    for (line, name, is_named, args) in [
        (&["cursor", URL][..], "example", false, &[URL][..]),
        (&["cursor", "mine", URL], "mine", true, &[URL]),
        (&["cursor", URL, "3334"], "example", false, &[URL, "3334"]),
        (
            &["cursor", "mine", URL, "3334"],
            "mine",
            true,
            &[URL, "3334"],
        ),
        (
            &["cursor", "--debug", URL],
            "example",
            false,
            &[URL, "--debug"],
        ),
        (
            &[
                "--transport=sse-only",
                "cursor",
                URL,
                "--ignore-tool",
                "a*",
                "--ignore-tool=-b",
            ],
            "example",
            false,
            &[
                URL,
                "--transport",
                "sse-only",
                "--ignore-tool",
                "a*",
                "--ignore-tool=-b",
            ],
        ),
    ] {
        let entry = entry(line);
        assert_eq!(
            (entry.name.as_str(), entry.is_named),
            (name, is_named),
            "{line:?}"
        );
        assert_eq!(entry.args, args, "{line:?}");
    }
}

#[test]
fn wrong_words_are_refused_with_the_next_step() {
    for (line, words) in [
        (&[][..], "name of the client"),
        (&["cursor"], "URL of the server is missing"),
        (&["cursor", "example.com"], "put https:// in front"),
        (&["cursor", "http://example.com/mcp"], "--allow-http"),
        (&["cursor", "a", URL, "port"], "65535"),
        (&["cursor", "a", "b", URL], "no scheme"),
        (&["cursor", URL, "mine"], "install cursor NAME URL"),
        (&["cursor", URL, "mine", "3334"], "before the URL"),
        (&["cursor", URL, URL], "two URLs"),
        (&["cursor", URL, "99999"], "65535"),
        (
            &["cursor", URL, "--header-file", "/dev/fd/63"],
            "--header-file is gone",
        ),
        (
            &["cursor", URL, "--static-oauth-client-info=@/proc/self/fd/9"],
            "a file that stays",
        ),
        (&["codex-cli", "my server", URL], "letters"),
        (&["cursor", "--all", URL], "--from-mcp-remote"),
        (&["--from-mcp-remote", "cursor", URL], "no others"),
        (&["--from-mcp-remote", "cursor", "--debug"], "no others"),
        (
            &["--from-mcp-remote", "cursor", "--all"],
            "exclude each other",
        ),
        (&["cursor", URL, "--client-key", "/x"], "--client-cert"),
        (
            &["cursor", URL, "--header-file", "/nonexistent"],
            "--header-file",
        ),
    ] {
        let text = install(line, &[]).unwrap_err();
        assert!(text.contains(words), "{line:?}: {text}");
    }
}

#[test]
fn f20_secrets_are_refused_with_a_way_out_and_not_quoted() {
    let secret = "canary-a1b2c3d4e5f6a7b8c9";
    for (line, words) in [
        (
            vec![
                "--header".to_owned(),
                format!("Authorization: Bearer {secret}"),
            ],
            "--header-file FILE",
        ),
        (vec![format!("--header=X-Key: {secret}")], "${X_KEY}"),
        (
            vec![
                "--static-oauth-client-info".into(),
                format!(r#"{{"client_secret":"{secret}"}}"#),
            ],
            "@FILE",
        ),
        (
            vec!["--proxy".into(), format!("http://me:{secret}@proxy:8080")],
            "--config FILE",
        ),
    ] {
        let line: Vec<&str> = ["cursor", URL]
            .into_iter()
            .chain(line.iter().map(String::as_str))
            .collect();
        let text = install(&line, &[]).unwrap_err();
        assert!(text.contains(words), "{text}");
        assert!(text.contains(line[2].split('=').next().unwrap()), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
    for url in [
        "https://me:canary@mcp.example.com/",
        "https://mcp.example.com/?api_key=canary",
    ] {
        let text = install(&["cursor", url], &[]).unwrap_err();
        assert!(text.contains("the address holds"), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
    for (client, warns) in [("claude-code", true), ("gemini-cli", true), ("zed", false)] {
        let text = install(&[client, URL, "--header=X-Key: canary"], &[]).unwrap_err();
        assert_eq!(text.contains("take a file"), warns, "{text}");
    }
    let plain = entry(&["cursor", URL, "--header", "Authorization: Bearer ${TOKEN}"]);
    assert_eq!(plain.args[2], "Authorization: Bearer ${TOKEN}");
}

#[test]
fn what_is_set_here_alone_is_mentioned_with_the_option_that_does_the_same() {
    let texts = |line: &[&str], env: &[(&str, &str)]| -> String {
        let notices = install(line, env).unwrap().notices;
        let texts: Vec<String> = notices.into_iter().map(|notice| notice.text).collect();
        texts.join("\n")
    };
    let line = ["cursor", URL];
    for (variable, words) in [
        ("MCP_BRIDGE_CONNECT_TIMEOUT", "--connect-timeout …"),
        ("MCP_BRIDGE_DEBUG", "--debug in the entry"),
        ("https_proxy", "--proxy URL"),
        ("ALL_PROXY", "--proxy URL"),
        ("NODE_EXTRA_CA_CERTS", "--ca-cert FILE"),
        ("MCP_REMOTE_CONFIG_DIR", "\"env\" of the entry"),
    ] {
        let text = texts(&line, &[(variable, "canary")]);
        assert!(
            text.contains(variable) && text.contains(words),
            "{variable}: {text}"
        );
        assert!(
            text.contains("Cursor") && !text.contains("canary"),
            "{text}"
        );
        assert!(!texts(&line, &[]).contains(variable));
    }
    let typed = ["cursor", URL, "--proxy", "none"];
    assert!(!texts(&typed, &[("HTTPS_PROXY", "http://p:1")]).contains("HTTPS_PROXY"));
    assert!(!texts(&line, &[("NODE_TLS_REJECT_UNAUTHORIZED", "1")]).contains("NODE_TLS"));
}

#[test]
fn without_a_client_entries_are_only_shown() {
    let switch = |line: &[&str]| match install(line, &[]).unwrap().order {
        Order::Switch(switch) => switch,
        Order::Add(_) => panic!("{line:?}"),
    };
    let shown = switch(&["--from-mcp-remote"]);
    assert!(shown.only_shown && shown.clients.len() == Client::ALL.len());
    let all = switch(&["--from-mcp-remote", "--all"]);
    assert!(!all.only_shown && all.clients == shown.clients);
    assert_eq!(switch(&["--from-mcp-remote", "zed"]).clients, [Client::Zed]);
}

#[test]
fn scopes_are_the_users_unless_entries_are_looked_for() {
    let scopes = |line: &[&str]| install(line, &[]).unwrap().places.scopes;
    let both = [Scope::User, Scope::Project];
    assert_eq!(scopes(&["cursor", URL]), [Scope::User]);
    assert_eq!(
        scopes(&["cursor", URL, "--scope", "project"]),
        [Scope::Project]
    );
    assert_eq!(scopes(&["--from-mcp-remote"]), both);
    let Parsed::Uninstall(uninstall) = read(&["uninstall", "x"]) else {
        panic!();
    };
    let settings = UninstallSettings::resolve(&uninstall, &|_| None).unwrap();
    assert_eq!(settings.places.scopes, both);
    assert_eq!(settings.clients, Client::ALL);
}
