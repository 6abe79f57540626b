use proptest::prelude::*;

use super::*;
use crate::proto::clients::{Client, Scope};

mod fixtures;
mod json;
mod random;
mod toml;

fn shape(client: Client) -> Shape {
    Shape {
        client,
        scope: Scope::User,
    }
}

fn server(command: &str, args: &[&str], env: &[(&str, &str)]) -> Server {
    Server {
        command: command.to_owned(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        env: env
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    }
}

fn bridge() -> Server {
    server("/bin/mcp-bridge", &["https://x.example/mcp"], &[])
}

fn names(text: &str, client: Client) -> Vec<String> {
    let found = list(text, shape(client)).unwrap();
    found.into_iter().map(|found| found.name).collect()
}

/// The text with one entry more, after every way back was tried. `exact`: taking the entry out
/// gives the text again.
#[track_caller]
fn added(text: &str, client: Client, exact: bool) -> String {
    let shape = shape(client);
    let edit = add(text, shape, "new", &bridge()).unwrap();
    let after = edit.apply(text);
    let found = list(&after, shape).unwrap();
    assert_eq!(found.last().unwrap().server, Some(bridge()));
    assert_eq!(edit.undo(&after).as_deref(), Some(text), "{after}");
    let removed = remove(&after, shape, "new").unwrap();
    let back = removed.apply(&after);
    if exact {
        assert_eq!(back, text, "after {after}");
    } else {
        assert_eq!(list(&back, shape), list(text, shape));
    }
    assert_eq!(removed.undo(&back), Some(after.clone()));
    after
}

#[test]
fn a_change_is_undone_where_it_stands_and_nowhere_else() {
    let edit = Edit {
        start: 2,
        removed: "old".to_owned(),
        inserted: "new".to_owned(),
    };
    assert_eq!(edit.apply("a-old-z"), "a-new-z");
    assert_eq!(edit.apply("a-odd-z"), "a-odd-z");
    assert_eq!(edit.apply("a"), "a");
    assert_eq!(edit.undo("a-new-z").unwrap(), "a-old-z");
    assert_eq!(edit.undo("aé-new-z").unwrap(), "aé-old-z");
    assert_eq!(edit.undo("énew-new").unwrap(), "éold-new");
    assert_eq!(edit.undo("éa-new-new"), None);
    assert_eq!(edit.undo("a-gone-z"), None);
    assert_eq!(edit.undo(""), None);
}

#[test]
fn a_small_change_has_neighbours_to_be_found_by() {
    let text = format!(
        "{{\n  \"mcpServers\": {{}},\n  \"x\": \"{}é\"\n}}\n",
        "y".repeat(300)
    );
    let edit = Edit::between(&text, &text.replace("{}", "{1}"));
    assert!(edit.inserted.len() >= ANCHOR && edit.inserted.len() < 150);
    assert_eq!(edit.undo(&edit.apply(&text)), Some(text));
}

#[test]
fn debug_output_of_a_change_holds_no_secret() {
    let edit = Edit::between("{\"TOKEN\": \"hunter2\"}", "{}");
    assert!(!format!("{edit:?}").contains("hunter2"));
}

#[test]
fn problems_say_where_and_quote_nothing() {
    let text = "{\n  \"mcpServers\": {\n    \"é\": hunter2\n  }\n}";
    let Err(problem) = list(text, shape(Client::Cursor)) else {
        panic!("it is malformed")
    };
    assert_eq!(problem.to_string(), "line 3, column 10: this is not JSON");
    let Err(problem) = list("[a]\nk = 1\nk = hunter2", shape(Client::CodexCli)) else {
        panic!("it is malformed")
    };
    assert!(
        problem.to_string().starts_with("line 3, column "),
        "{problem}"
    );
    assert!(!problem.to_string().contains("hunter2"), "{problem}");
}

#[test]
fn a_name_is_taken_once_and_has_to_be_there() {
    for (client, text) in [
        (
            Client::Cursor,
            "{\"mcpServers\": {\"a\": {\"url\": \"x\"}}}",
        ),
        (Client::CodexCli, "[mcp_servers.a]\nurl = 'x'\n"),
    ] {
        let shape = shape(client);
        let exists = add(text, shape, "a", &bridge());
        assert_eq!(exists, Err(Problem::Exists("a".to_owned())));
        let missing = Problem::Missing("b".to_owned());
        assert_eq!(remove(text, shape, "b"), Err(missing.clone()));
        assert_eq!(replace(text, shape, "b", &bridge()), Err(missing.clone()));
        assert_eq!(remove("", shape, "b"), Err(missing));
        assert_eq!(list(text, shape).unwrap()[0].server, None);
    }
}
