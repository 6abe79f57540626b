//! Files as clients and their users write them.

use super::*;

macro_rules! fixtures {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../../../tests/it/fixtures/clients/", $name)))),*]
    };
}

/// Name and text of every fixture.
const FIXTURES: [(&str, &str); 20] = fixtures![
    "claude-desktop-several.json",
    "claude-desktop-windows.json",
    "claude-desktop-one-line.json",
    "claude-code-user.json",
    "claude-code-project.json",
    "claude-code-fresh.json",
    "cursor-comments.json",
    "cursor-odd-indentation.json",
    "vscode-inputs.json",
    "vscode-workspace.json",
    "windsurf-several.json",
    "windsurf-compact.json",
    "zed-settings.json",
    "zed-older.json",
    "zed-without-servers.json",
    "gemini-cli-user.json",
    "gemini-cli-comments.json",
    "codex-cli-several.toml",
    "codex-cli-inline.toml",
    "codex-cli-many-lines.toml",
];

/// The client that a fixture is for.
fn client(name: &str) -> Client {
    let mut clients = Client::ALL.into_iter();
    let client = clients.find(|client| name.starts_with(client.name()));
    client.unwrap_or_else(|| panic!("{name} begins with the name of a client"))
}

/// The lines of one text that the other does not have, in order.
fn only_in<'t>(text: &'t str, other: &str) -> Vec<&'t str> {
    let other: Vec<&str> = other.lines().collect();
    text.lines().filter(|line| !other.contains(line)).collect()
}

#[test]
fn every_client_has_fixtures_with_mcp_remote() {
    for wanted in Client::ALL {
        let with_mcp_remote = FIXTURES.iter().filter(|(name, text)| {
            let servers = list(text, shape(wanted)).unwrap_or_default().into_iter();
            let mut args = servers
                .filter_map(|found| found.server)
                .flat_map(|server| server.args);
            client(name) == wanted && args.any(|arg| arg.contains("mcp-remote"))
        });
        assert!(with_mcp_remote.count() >= 2, "{wanted:?}");
    }
}

#[test]
fn an_entry_comes_and_goes_and_nothing_else_changes() {
    for (name, text) in FIXTURES {
        let client = client(name);
        let before = list(text, shape(client)).unwrap();
        let after = added(text, client, !before.is_empty());
        let found = list(&after, shape(client)).unwrap();
        assert_eq!(found[..found.len() - 1], before, "{name}");
        let lost = only_in(text, &after);
        assert!(
            lost.len() <= 1 || name.ends_with("one-line.json"),
            "{name} {lost:?}"
        );
    }
}

#[test]
fn every_entry_is_replaced_and_taken_out_on_its_own() {
    for (name, text) in FIXTURES {
        let shape = shape(client(name));
        let before = list(text, shape).unwrap();
        for (n, entry) in before.iter().enumerate() {
            let edit = remove(text, shape, &entry.name).unwrap();
            let after = edit.apply(text);
            assert_eq!(edit.undo(&after).as_deref(), Some(text), "{name}");
            let mut expected = before.clone();
            expected.remove(n);
            assert_eq!(list(&after, shape).unwrap(), expected, "{name}");
            let Some(old) = &entry.server else { continue };
            let new = Server {
                command: "/bin/mcp-bridge".to_owned(),
                args: vec!["https://x.example/mcp".to_owned()],
                env: old.env.clone(),
            };
            let edit = replace(text, shape, &entry.name, &new).unwrap();
            let after = edit.apply(text);
            assert_eq!(edit.undo(&after).as_deref(), Some(text), "{name}");
            let mut expected = before.clone();
            expected[n].server = Some(new);
            assert_eq!(list(&after, shape).unwrap(), expected, "{name}");
        }
    }
}

#[test]
fn rewritten_entries_look_as_their_owners_wrote_them() {
    for (name, entry, changed) in [
        (
            "cursor-comments.json",
            "tracker",
            vec![
                "      \"command\": \"/b\", // through Node",
                "      \"args\": [\"u\"],",
            ],
        ),
        (
            "cursor-odd-indentation.json",
            "docs",
            vec![
                "             \"command\" : \"/b\"",
                "           , \"args\" : [\"u\"]",
            ],
        ),
        (
            "vscode-inputs.json",
            "billing",
            vec!["\t\t\t\"command\": \"/b\",", "\t\t\t\t\"u\""],
        ),
        (
            "zed-older.json",
            "notes",
            vec!["        \"path\": \"/b\",", "        \"args\": [\"u\"],"],
        ),
        (
            "codex-cli-inline.toml",
            "mail",
            vec!["mail = { command = \"/b\", args = [\"u\"], enabled = true } # mail"],
        ),
        (
            "codex-cli-many-lines.toml",
            "chat",
            vec!["    \"u\",", "command = \"/b\""],
        ),
    ] {
        let (_, text) = FIXTURES
            .iter()
            .find(|(fixture, _)| *fixture == name)
            .unwrap();
        let shape = shape(client(name));
        let found = list(text, shape).unwrap();
        let found = found.into_iter().find(|found| found.name == entry).unwrap();
        let new = Server {
            command: "/b".to_owned(),
            args: vec!["u".to_owned()],
            ..found.server.unwrap()
        };
        let edit = replace(text, shape, entry, &new).unwrap();
        assert_eq!(only_in(&edit.apply(text), text), changed, "{name}");
    }
}

#[test]
fn servers_of_one_project_in_claude_code_are_not_the_user_s() {
    let (_, text) = FIXTURES
        .iter()
        .find(|(name, _)| *name == "claude-code-user.json")
        .unwrap();
    assert_eq!(names(text, Client::ClaudeCode), ["sentry", "asana"]);
}
