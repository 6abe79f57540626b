use super::*;

/// As [`added`], for Cursor, with the result.
#[track_caller]
fn adds(text: &str, expected: &str) {
    assert_eq!(added(text, Client::Cursor, true), expected);
}

/// As [`adds`], where taking out again leaves an empty section.
#[track_caller]
fn adds_section(text: &str, expected: &str) {
    assert_eq!(added(text, Client::Cursor, false), expected);
}

const ENTRY: &str = "{\n      \"command\": \"/bin/mcp-bridge\",\n      \
                     \"args\": [\"https://x.example/mcp\"]\n    }";

const DOCUMENT: &str = "{\n  \"mcpServers\": {\n    \"new\": {\n      \
    \"command\": \"/bin/mcp-bridge\",\n      \"args\": [\"https://x.example/mcp\"]\n    }\n  }\n}\n";

#[test]
fn a_file_without_content_becomes_a_document() {
    adds_section("", DOCUMENT);
    adds_section("\n\n", &format!("\n\n{DOCUMENT}"));
    adds_section("\u{feff}", &format!("\u{feff}{DOCUMENT}"));
    adds_section("// mine", &format!("// mine\n{DOCUMENT}"));
    adds_section(
        "/* mine */\r\n",
        &format!("/* mine */\r\n{}", DOCUMENT.replace('\n', "\r\n")),
    );
    adds_section("{}", DOCUMENT.trim_end());
    adds_section("{}\n", DOCUMENT);
    adds_section("{ }\n", DOCUMENT);
    adds_section("{\n}\n", DOCUMENT);
}

#[test]
fn an_entry_comes_behind_the_others_in_their_indentation() {
    adds(
        "{\n\t\"mcpServers\": {\n\t\t\"a\": {\n\t\t\t\"command\": \"x\"\n\t\t}\n\t}\n}",
        "{\n\t\"mcpServers\": {\n\t\t\"a\": {\n\t\t\t\"command\": \"x\"\n\t\t},\n\t\t\"new\": {\n\
         \t\t\t\"command\": \"/bin/mcp-bridge\",\n\t\t\t\"args\": [\"https://x.example/mcp\"]\n\
         \t\t}\n\t}\n}",
    );
    adds(
        "{\n   \"mcpServers\": {\n         \"a\": {\n             \"url\": \"x\"\n         }\n   }\n}\n",
        "{\n   \"mcpServers\": {\n         \"a\": {\n             \"url\": \"x\"\n         },\n         \
         \"new\": {\n             \"command\": \"/bin/mcp-bridge\",\n             \
         \"args\": [\"https://x.example/mcp\"]\n         }\n   }\n}\n",
    );
    adds(
        "{\r\n  \"mcpServers\": {\r\n    \"a\": {}\r\n  }\r\n}\r\n",
        &format!("{{\n  \"mcpServers\": {{\n    \"a\": {{}},\n    \"new\": {ENTRY}\n  }}\n}}\n")
            .replace('\n', "\r\n"),
    );
    adds(
        "{\n  \"mcpServers\": {\n    \"a\": {} }\n}",
        &format!("{{\n  \"mcpServers\": {{\n    \"a\": {{}},\n    \"new\": {ENTRY} }}\n}}"),
    );
}

#[test]
fn one_line_stays_one_line() {
    adds(
        "{\"mcpServers\":{\"a\":{\"command\":\"x\"}},\"b\":1}",
        "{\"mcpServers\":{\"a\":{\"command\":\"x\"},\"new\":{\"command\":\"/bin/mcp-bridge\",\
         \"args\":[\"https://x.example/mcp\"]}},\"b\":1}",
    );
    adds(
        "{ \"mcpServers\": { \"a\": {}, \"b\": {} } }",
        "{ \"mcpServers\": { \"a\": {}, \"b\": {}, \"new\": {\"command\": \"/bin/mcp-bridge\", \
         \"args\": [\"https://x.example/mcp\"]} } }",
    );
    adds(
        "{\"mcpServers\": {}}",
        "{\"mcpServers\": {\"new\": {\"command\": \"/bin/mcp-bridge\", \
         \"args\": [\"https://x.example/mcp\"]}}}",
    );
    adds(
        "{\"mcpServers\": {\"a\": {} /* one */}}",
        "{\"mcpServers\": {\"a\": {} /* one */, \"new\": {\"command\": \"/bin/mcp-bridge\", \
         \"args\": [\"https://x.example/mcp\"]}}}"
            .replace("{} /* one */,", "{}, /* one */")
            .as_str(),
    );
}

#[test]
fn an_empty_section_is_filled() {
    adds(
        "{\n  \"a\": 1,\n  \"mcpServers\": {}\n}\n",
        &format!("{{\n  \"a\": 1,\n  \"mcpServers\": {{\n    \"new\": {ENTRY}\n  }}\n}}\n"),
    );
    adds(
        "{\n  \"mcpServers\": {\n    // none yet\n  }\n}\n",
        &format!("{{\n  \"mcpServers\": {{\n    // none yet\n    \"new\": {ENTRY}\n  }}\n}}\n"),
    );
    adds(
        "{\n  \"mcpServers\": { /* none */ }\n}\n",
        "{\n  \"mcpServers\": { /* none */ \"new\": {\"command\": \"/bin/mcp-bridge\", \
         \"args\": [\"https://x.example/mcp\"]} }\n}\n",
    );
}

#[test]
fn a_missing_section_comes_behind_everything() {
    adds_section(
        "{\n    \"theme\": \"dark\"\n}",
        &format!(
            "{{\n  \"theme\": \"dark\",\n  \"mcpServers\": {{\n    \"new\": {ENTRY}\n  }}\n}}"
        )
        .replace("  ", "    "),
    );
    adds_section(
        "{\n  \"theme\": \"dark\", // as at night\n  // end\n}",
        &format!(
            "{{\n  \"theme\": \"dark\", // as at night\n  \"mcpServers\": {{\n    \
             \"new\": {ENTRY}\n  }},\n  // end\n}}"
        ),
    );
}

#[test]
fn comments_and_trailing_commas_stay_where_they_belong() {
    adds(
        "{\n  \"mcpServers\": {\n    \"a\": {}, // first\n    // \"b\": {},\n  }\n}",
        &format!(
            "{{\n  \"mcpServers\": {{\n    \"a\": {{}}, // first\n    \"new\": {ENTRY},\n    \
             // \"b\": {{}},\n  }}\n}}"
        ),
    );
    adds(
        "{\n  \"mcpServers\": {\n    \"a\": {} // first, \"{\" and all\n  }\n}",
        &format!(
            "{{\n  \"mcpServers\": {{\n    \"a\": {{}}, // first, \"{{\" and all\n    \
             \"new\": {ENTRY}\n  }}\n}}"
        ),
    );
    adds(
        "{ \"mcpServers\": { \"a\": {}, /* 1 */ /* 2\n */ } }",
        "{ \"mcpServers\": { \"a\": {}, /* 1 */ /* 2\n */ \"new\": {\"command\": \
         \"/bin/mcp-bridge\", \"args\": [\"https://x.example/mcp\"]}, } }",
    );
    adds(
        "{ \"mcpServers\": { \"a\": {} // one\n } }",
        "{ \"mcpServers\": { \"a\": {}, // one\n  \"new\": {\n    \"command\": \"/bin/mcp-bridge\",\n\
         \x20   \"args\": [\"https://x.example/mcp\"]\n  }\n } }",
    );
}

#[test]
fn entries_go_without_a_trace_from_every_place() {
    let three = "{\n  \"mcpServers\": {\n    // first\n    \"a\": {},\n\n    \"b\": {\"url\": \"x\"}, // b\n    \
                 /* last */\n    \"c\": {}\n  }\n}\n";
    let without = |name| {
        let edit = remove(three, shape(Client::Cursor), name).unwrap();
        let after = edit.apply(three);
        assert_eq!(edit.undo(&after).unwrap(), three);
        after
    };
    assert_eq!(without("a"), three.replace("\n    \"a\": {},", ""));
    assert_eq!(without("b"), three.replace("\"b\": {\"url\": \"x\"}, ", ""));
    assert_eq!(
        without("c"),
        three
            .replace("\n    \"c\": {}", "")
            .replace("}, // b", "} // b")
    );
}

#[test]
fn of_entries_with_one_name_the_last_counts_and_all_go() {
    let text = "{\"mcpServers\": {\"z\": {}}, \"mcpServers\": {\"a\": {\"command\": \"1\"}, \
                \"b\": {}, \"a\": {\"command\": \"2\"}}}";
    let cursor = shape(Client::Cursor);
    let found = list(text, cursor).unwrap();
    assert_eq!(names(text, Client::Cursor), ["b", "a"]);
    assert_eq!(found[1].server, Some(server("2", &[], &[])));
    let edit = replace(text, cursor, "a", &server("3", &[], &[])).unwrap();
    assert_eq!(edit.apply(text), text.replace("\"2\"", "\"3\""));
    let edit = remove(text, cursor, "a").unwrap();
    assert_eq!(
        edit.apply(text),
        "{\"mcpServers\": {\"z\": {}}, \"mcpServers\": {\"b\": {}}}"
    );
    let many = format!("{{\"mcpServers\": {{{}}}}}", ["\"a\": 1"; 20].join(",\n"));
    let edit = remove(&many, cursor, "a").unwrap();
    assert_eq!(edit.apply(&many), "{\"mcpServers\": {}}");
}

#[test]
fn replacing_changes_what_differs_and_nothing_else() {
    let text = "{\n  \"mcpServers\": {\n    \"a\": {\n      // the program\n      \
                \"command\": \"npx\", // not node\n      \"disabled\": false,\n      \"args\": [\n        \
                \"-y\",\n        \"mcp-remote\"\n      ],\n      /* here */ \"env\": { \"K\" : \"v\" },\n      \
                \"timeout\": 60,\n    },\n  }\n}\n";
    let cursor = shape(Client::Cursor);
    let old = list(text, cursor).unwrap()[0].server.clone().unwrap();
    assert_eq!(old, server("npx", &["-y", "mcp-remote"], &[("K", "v")]));
    let same = replace(text, cursor, "a", &old).unwrap();
    assert_eq!(same.apply(text), text);
    let new = server("/b", &["https://x.example/mcp"], &[("K", "v")]);
    let edit = replace(text, cursor, "a", &new).unwrap();
    let after = edit.apply(text);
    let expected = text.replace("\"npx\"", "\"/b\"").replace(
        "\"-y\",\n        \"mcp-remote\"",
        "\"https://x.example/mcp\"",
    );
    assert_eq!(after, expected);
    assert_eq!(edit.undo(&after).unwrap(), text);
    let new = server("npx", &["-y", "mcp-remote"], &[("K", "w"), ("L", "\"\n")]);
    let edit = replace(text, cursor, "a", &new).unwrap();
    let expected = text.replace("{ \"K\" : \"v\" }", r#"{"K": "w", "L": "\"\n"}"#);
    assert_eq!(edit.apply(text), expected);
}

#[test]
fn what_is_missing_in_an_entry_is_added_to_it() {
    let text =
        "{\n  \"mcpServers\": {\n    \"a\": {\n      \"command\": \"npx\" // x\n    }\n  }\n}\n";
    let new = server("/b", &["u"], &[("K", "v")]);
    let edit = replace(text, shape(Client::Cursor), "a", &new).unwrap();
    let expected = text.replace(
        "\"npx\" // x",
        "\"/b\", // x\n      \"args\": [\"u\"],\n      \"env\": {\n        \"K\": \"v\"\n      }",
    );
    assert_eq!(edit.apply(text), expected);
    let text = "{\"mcpServers\": {\"a\": {}}}";
    let edit = replace(text, shape(Client::Cursor), "a", &bridge()).unwrap();
    assert_eq!(
        edit.apply(text),
        "{\"mcpServers\": {\"a\": {\"command\": \"/bin/mcp-bridge\", \
         \"args\": [\"https://x.example/mcp\"]}}}"
    );
}

#[test]
fn zed_s_older_form_is_read_and_rewritten_in_place() {
    let text = "// Zed\n{\n  \"context_servers\": {\n    \"a\": {\n      \"command\": {\n        \
                \"path\": \"npx\",\n        \"args\": [\"mcp-remote\", \"u\"],\n        \"env\": null\n      \
                },\n      \"settings\": {}\n    },\n    \"ext\": { \"settings\": {\"token\": \"t\"} }\n  },\n}\n";
    let zed = shape(Client::Zed);
    let found = list(text, zed).unwrap();
    assert_eq!(
        found[0].server,
        Some(server("npx", &["mcp-remote", "u"], &[]))
    );
    assert_eq!(found[1].server, None);
    let edit = replace(text, zed, "a", &server("/b", &["u"], &[])).unwrap();
    let expected = text
        .replace("\"npx\"", "\"/b\"")
        .replace("\"mcp-remote\", ", "");
    assert_eq!(edit.apply(text), expected);
}

#[test]
fn each_client_has_its_own_section_and_members() {
    for client in Client::ALL {
        let text = add("", shape(client), "a", &bridge()).unwrap().apply("");
        let section = match client {
            Client::VsCode => "\n  \"servers\": {",
            Client::Zed => "\n  \"context_servers\": {",
            Client::CodexCli => "[mcp_servers.a]\n",
            _ => "\n  \"mcpServers\": {",
        };
        assert!(text.contains(section), "{client:?} {text}");
        let typed = matches!(client, Client::VsCode | Client::ClaudeCode);
        assert_eq!(text.contains("\"type\": \"stdio\""), typed, "{client:?}");
        assert!(!text.contains("env"), "{client:?}");
        assert_eq!(
            list(&text, shape(client)).unwrap()[0].server,
            Some(bridge())
        );
    }
}

#[test]
fn what_is_not_a_configuration_is_refused() {
    let cursor = shape(Client::Cursor);
    for (text, expected) in [
        ("{\"mcpServers\": []}", "\"mcpServers\" is not an object"),
        ("{\"mcpServers\": null}", "\"mcpServers\" is not an object"),
        (
            "\n[]",
            "line 2, column 1: the file has to hold one object, in { }",
        ),
        ("{\"a\": 1", "line 1, column 1: this \"{\" has no \"}\""),
        (
            "{\"a\": 1 \"b\": 2}",
            "line 1, column 8: a comma is missing here",
        ),
        (
            "{\"a\": 1} x",
            "line 1, column 10: this stands behind the end of the document",
        ),
        ("{\"a\": 'x'}", "line 1, column 7: text needs double quotes"),
        ("{a: 1}", "line 1, column 2: a name needs double quotes"),
        ("<<<<<<< HEAD\n{}", "line 1, column 1: this is not JSON"),
    ] {
        let problem = list(text, cursor).unwrap_err();
        assert_eq!(problem.to_string(), expected, "{text}");
        assert_eq!(add(text, cursor, "n", &bridge()).unwrap_err(), problem);
    }
    let text = "{\"mcpServers\": {\"a\": 5}}";
    let problem = replace(text, cursor, "a", &bridge()).unwrap_err();
    assert_eq!(problem, Problem::NotAnObject("a".to_owned()));
}

#[test]
fn nesting_without_end_is_refused_and_does_not_crash() {
    for open in ["[", "{\"a\":", "{\"mcpServers\":"] {
        let text = format!("{{\"mcpServers\": {}", open.repeat(100_000));
        assert!(list(&text, shape(Client::Cursor)).is_err());
    }
}

#[test]
fn a_large_file_is_read_in_one_go() {
    let entries: Vec<String> = (0..20_000)
        .map(|n| format!("    \"s{n}\": {{\"command\": \"x\"}}, // {n}"))
        .collect();
    let text = format!(
        "{{\n  \"mcpServers\": {{\n{}\n  }}\n}}\n",
        entries.join("\n")
    );
    let after = added(&text, Client::Cursor, true);
    assert_eq!(
        after.len(),
        text.len() + ENTRY.len() + "\n    \"new\": ,".len()
    );
}

#[test]
fn arguments_that_are_no_text_are_read_as_the_program_gets_them() {
    let text = "{\"mcpServers\": {\"a\": {\"command\": \"x\", \"args\": [\"\\u00e9\", 8080, true], \
                \"env\": {\"N\": 1, \"off\": null}}, \"b\": {\"command\": \"x\", \"args\": [{}]}, \
                \"c\": {\"command\": [\"x\"]}, \"d\": 1}}";
    let found = list(text, shape(Client::VsCode)).unwrap();
    assert!(found.is_empty());
    let found = list(text, shape(Client::GeminiCli)).unwrap();
    let expected = server("x", &["é", "8080", "true"], &[("N", "1")]);
    assert_eq!(found[0].server, Some(expected));
    assert!(found[1..].iter().all(|found| found.server.is_none()));
}
