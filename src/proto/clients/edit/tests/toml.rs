use super::*;

const ENTRY: &str =
    "[mcp_servers.new]\ncommand = \"/bin/mcp-bridge\"\nargs = [\"https://x.example/mcp\"]\n";

#[track_caller]
fn adds(text: &str, expected: &str) {
    assert_eq!(added(text, Client::CodexCli, true), expected);
}

/// The text without an entry, after it was put back and compared.
#[track_caller]
fn without(text: &str, name: &str) -> String {
    let edit = remove(text, shape(Client::CodexCli), name).unwrap();
    let after = edit.apply(text);
    assert_eq!(edit.undo(&after).unwrap(), text);
    after
}

#[track_caller]
fn replaced(text: &str, name: &str, server: &Server) -> String {
    let edit = replace(text, shape(Client::CodexCli), name, server).unwrap();
    let after = edit.apply(text);
    assert_eq!(edit.undo(&after).unwrap(), text);
    after
}

#[test]
fn an_entry_comes_behind_everything() {
    adds("", ENTRY);
    adds("\n", &format!("\n\n{ENTRY}"));
    adds("\u{feff}", &format!("\u{feff}{ENTRY}"));
    adds("model = \"x\"\n", &format!("model = \"x\"\n\n{ENTRY}"));
    adds("a = 1", &format!("a = 1\n\n{}", ENTRY.trim_end()));
    adds(
        "a = 1\n  # end",
        &format!("a = 1\n  # end\n\n{}", ENTRY.trim_end()),
    );
    adds("a = 1\n\n\n", &format!("a = 1\n\n\n\n{ENTRY}"));
    adds(
        "a = 1\r\n",
        &format!("a = 1\n\n{ENTRY}").replace('\n', "\r\n"),
    );
    adds(
        "[mcp_servers.b]\ncommand = \"x\"\n[projects.\"/p\"]\ntrust_level = \"trusted\"\n",
        &format!(
            "[mcp_servers.b]\ncommand = \"x\"\n[projects.\"/p\"]\ntrust_level = \"trusted\"\n\n\
             {ENTRY}"
        ),
    );
    adds(
        "mcp_servers.b.command = \"x\"\n",
        &format!("mcp_servers.b.command = \"x\"\n\n{ENTRY}"),
    );
    adds(
        "[mcp_servers]\nb = { command = \"x\" }\n",
        &format!("[mcp_servers]\nb = {{ command = \"x\" }}\n\n{ENTRY}"),
    );
}

#[test]
fn inline_tables_stay_inline() {
    let inline = "new = { command = \"/bin/mcp-bridge\", args = [\"https://x.example/mcp\"] }";
    adds(
        "mcp_servers = { b = { command = 'x' } } # all\n[t]\n",
        &format!("mcp_servers = {{ b = {{ command = 'x' }}, {inline} }} # all\n[t]\n"),
    );
    assert_eq!(
        added("mcp_servers = {}\n", Client::CodexCli, true),
        format!("mcp_servers = {{ {inline} }}\n")
    );
    let text = "mcp_servers = { a = { command = 'x' }, b = { command = 'y' }, c = {} }\n";
    assert_eq!(
        without(text, "a"),
        text.replace("a = { command = 'x' }, ", "")
    );
    assert_eq!(
        without(text, "b"),
        text.replace("b = { command = 'y' }, ", "")
    );
    assert_eq!(without(text, "c"), text.replace(", c = {}", ""));
    let after = replaced(text, "a", &server("z", &["1"], &[]));
    assert_eq!(after, text.replace("'x'", "\"z\", args = [\"1\"]"));
    let after = replaced(text, "c", &server("z", &["1"], &[]));
    let filled = "c = { command = \"z\", args = [\"1\"] }";
    assert_eq!(after, text.replace("c = {}", filled));
}

#[test]
fn names_and_values_are_quoted_where_they_need_it() {
    let codex = shape(Client::CodexCli);
    let odd = server(
        "C:\\x\\b.exe",
        &["a \"b\" 'c'\n", ""],
        &[("A.B", "\\"), ("C", "é")],
    );
    let edit = add("", codex, "my server.\"1\"", &odd).unwrap();
    let after = edit.apply("");
    assert!(
        after.starts_with("[mcp_servers.'my server.\"1\"']\n"),
        "{after}"
    );
    let found = list(&after, codex).unwrap();
    assert_eq!(found[0].name, "my server.\"1\"");
    assert_eq!(found[0].server, Some(odd));
}

#[test]
fn an_entry_goes_with_its_tables_wherever_they_are() {
    let text = "# top\n[mcp_servers.a]\n# program\ncommand = \"x\" # x\nargs = [\n  \"1\", # one\n]\n\n\
                [mcp_servers.a.env]\nK = \"v\"\n\n# about b\n[mcp_servers.b]\ncommand = \"y\"\n\n\
                [mcp_servers.a.tools.t]\non = true\n\n[z]\n";
    assert_eq!(
        without(text, "a"),
        "# top\n\n# about b\n[mcp_servers.b]\ncommand = \"y\"\n\n[z]\n"
    );
    assert_eq!(
        without(text, "b"),
        text.replace("\n[mcp_servers.b]\ncommand = \"y\"\n", "\n")
    );
    let text = "mcp_servers.a.command = \"x\"\nmodel = 1\nmcp_servers.a.args = []\n[t]\n";
    assert_eq!(without(text, "a"), "model = 1\n[t]\n");
    let text = "[mcp_servers]\na.command = \"x\"\n  b = { command = \"y\" } # b\nc = { }\n";
    assert_eq!(without(text, "a"), text.replace("a.command = \"x\"\n", ""));
    assert_eq!(
        without(text, "b"),
        text.replace("  b = { command = \"y\" } # b\n", "")
    );
    let text = "[mcp_servers.a]\ncommand = \"x\"\n\n[z]\nk = 1";
    assert_eq!(without(text, "a"), "[z]\nk = 1");
    let text = "[z]\r\nk = 1\r\n\r\n[mcp_servers.a]\r\ncommand = \"x\"";
    assert_eq!(without(text, "a"), "[z]\r\nk = 1");
}

#[test]
fn replacing_changes_what_differs_and_nothing_else() {
    let text = "[mcp_servers.a]\n# program\ncommand = \"npx\" # node\nstartup_timeout_sec = 20\n\
                args = [\n    \"-y\",\n    \"mcp-remote\",\n]\nenabled = true\n\n\
                [mcp_servers.a.env]\nK = 'v' # key\nL = \"w\"\n\n[z]\n";
    let same = server("npx", &["-y", "mcp-remote"], &[("K", "v"), ("L", "w")]);
    assert_eq!(replaced(text, "a", &same), text);
    let new = server("/b", &["u", "--debug", "x"], &[("K", "v"), ("L", "w")]);
    let expected = text.replace("\"npx\"", "\"/b\"").replace(
        "\"-y\",\n    \"mcp-remote\",",
        "\"u\",\n    \"--debug\",\n    \"x\",",
    );
    assert_eq!(replaced(text, "a", &new), expected);
    let new = server("npx", &["-y", "mcp-remote"], &[("K", "1"), ("M", "2")]);
    let expected = text
        .replace("K = 'v'", "K = \"1\"")
        .replace("L = \"w\"\n", "M = \"2\"\n");
    assert_eq!(replaced(text, "a", &new), expected);
    let new = server("npx", &["-y", "mcp-remote"], &[]);
    let expected = text.replace("K = 'v' # key\nL = \"w\"\n", "");
    assert_eq!(replaced(text, "a", &new), expected);
}

#[test]
fn what_is_missing_in_an_entry_is_added_to_it() {
    let new = server("y", &["1"], &[("K", "v")]);
    let text = "[mcp_servers.a]\n  command = \"x\" # x\n  enabled = true\n[z]\n";
    let expected = text.replace(
        "\"x\" # x\n",
        "\"y\" # x\n  args = [\"1\"]\n  env = { K = \"v\" }\n",
    );
    assert_eq!(replaced(text, "a", &new), expected);
    let text = "[mcp_servers]\na.command = \"x\"";
    let expected = "[mcp_servers]\na.command = \"y\"\na.args = [\"1\"]\na.env = { K = \"v\" }";
    assert_eq!(replaced(text, "a", &new), expected);
    let text = "[mcp_servers.a]\n[z]\n";
    let expected = "[mcp_servers.a]\ncommand = \"y\"\nargs = [\"1\"]\nenv = { K = \"v\" }\n[z]\n";
    assert_eq!(replaced(text, "a", &new), expected);
}

#[test]
fn what_is_not_a_configuration_is_refused() {
    let codex = shape(Client::CodexCli);
    for text in ["mcp_servers = 1\n", "[[mcp_servers]]\n"] {
        let problem = Problem::NotAnObject("mcp_servers".to_owned());
        assert_eq!(list(text, codex), Err(problem.clone()));
        assert_eq!(add(text, codex, "a", &bridge()), Err(problem));
    }
    let problem = replace("mcp_servers.a = 1\n", codex, "a", &bridge()).unwrap_err();
    assert_eq!(problem, Problem::NotAnObject("a".to_owned()));
    for text in ["a = ", "[a\n", "\"", "a = 1\r", "[a]\n[a]\n"] {
        assert!(
            matches!(list(text, codex), Err(Problem::Malformed { .. })),
            "{text}"
        );
    }
    for open in ["[", "{a=", "a."] {
        assert!(list(&format!("a = {}", open.repeat(100_000)), codex).is_err());
        assert!(list(&format!("{}a = 1", open.repeat(100_000)), codex).is_err());
    }
}

#[test]
fn variables_that_arguments_mention_are_passed_on() {
    let args = &["https://x.example/mcp", "--header", "A: ${B} ${C} ${D}"];
    let mentions = server("/bin/mcp-bridge", args, &[("C", "set")]);
    let text = add("", shape(Client::CodexCli), "new", &mentions).unwrap();
    let text = text.apply("");
    assert!(text.ends_with("env_vars = [\"B\", \"D\"]\n"), "{text}");
    // Once more: nothing is missing. What was passed on besides, is.
    assert_eq!(replaced(&text, "new", &mentions), text);
    let old = text.replace("[\"B\", \"D\"]", "[\"X\", { name = \"D\" }]");
    let new = replaced(&old, "new", &mentions);
    let expected = "env_vars = [\"X\", { name = \"D\" }, \"B\"]\n";
    assert!(new.ends_with(expected), "{new}");
    let inline = "mcp_servers = { new = { command = 'npx', args = [\"${B}\"] } }\n";
    let new = replaced(inline, "new", &mentions);
    assert!(new.contains("env_vars = [\"B\", \"D\"]"), "{new}");
    assert_eq!(list(&new, shape(Client::CodexCli)).unwrap().len(), 1);
    // JSON has no such member.
    let other = add("", shape(Client::Cursor), "new", &mentions).unwrap();
    assert!(!other.apply("").contains("env_vars"));
}
