//! Random documents.

use super::*;

/// White space and comments, as they stand between two tokens.
fn trivia() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => Just(""),
        3 => Just(" "),
        2 => Just("\n  "),
        2 => Just("\n\t\t"),
        1 => Just("\r\n    "),
        1 => Just("\n\n"),
        1 => Just(" /* c, \" { */"),
        1 => Just(" // d: } \"\n"),
    ];
    proptest::collection::vec(piece, 0..3).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("1".to_owned()),
        Just("\"é \\\" //\"".to_owned()),
        Just("null".to_owned()),
        Just("{}".to_owned()),
        Just("[\n 1, // x\n 2 ]".to_owned()),
        Just("{\"command\": \"npx\", \"args\": [\"mcp-remote\"]}".to_owned()),
        Just("{\n      \"command\": \"npx\",\n      \"env\": {\"K\": \"v\",}\n    }".to_owned()),
    ];
    leaf
}

/// An object with these names.
fn object(names: &'static str) -> impl Strategy<Value = String> {
    let member = (trivia(), trivia(), trivia(), value(), trivia());
    let members = proptest::collection::vec(member, 0..4);
    (members, any::<bool>(), trivia()).prop_map(move |(members, trailing, end)| {
        let count = members.len();
        let mut text = "{".to_owned();
        for (n, (before, colon, space, value, after)) in members.into_iter().enumerate() {
            let comma = if n + 1 < count || trailing { "," } else { "" };
            let member = format!("{before}\"{names}{n}\"{colon}:{space}{value}{after}{comma}");
            text.push_str(&member);
        }
        text + &end + "}"
    })
}

/// A document whose section has entries, none, or is missing.
fn document() -> impl Strategy<Value = String> {
    let section = prop_oneof![
        5 => object("s").prop_map(|section| format!("\"mcpServers\": {section}")),
        1 => Just("\"other\": 1".to_owned()),
    ];
    let parts = (trivia(), trivia(), section, trivia(), trivia(), any::<u8>());
    (parts, value()).prop_map(|((start, a, section, b, end, odd), value)| {
        let mark = if odd & 1 == 0 { "" } else { BYTE_ORDER_MARK };
        let other = |name| format!("\"{name}\": {value}");
        let before = if odd & 2 == 0 {
            String::new()
        } else {
            other("x") + ","
        };
        let behind = if odd & 4 == 0 {
            String::new()
        } else {
            format!(",{a}") + &other("y")
        };
        let comma = if odd & 8 == 0 { "" } else { "," };
        format!("{mark}{start}{{{before}{a}{section}{behind}{comma}{b}}}{end}")
    })
}

/// A TOML document out of blocks in any order.
fn blocks() -> impl Strategy<Value = String> {
    let block = proptest::sample::subsequence(
        vec![
            "# a comment\n",
            "[mcp_servers.a]\ncommand = \"npx\" # c\nargs = [\n  \"1\", # one\n]\n",
            "[mcp_servers.'b c']\n  command = 'x'\n\n  # more\n  url = \"u\"\n",
            "\n\n",
            "[mcp_servers.b.env]\nK = \"v\"\n",
            "[mcp_servers.b]\ncommand = \"x\"\n\n",
            "[z]\nk = \"\"\"\n[mcp_servers.x]\n\"\"\"\n",
            "[[array]]\nx = 1\n",
        ],
        0..8,
    )
    .prop_shuffle();
    (block, any::<u8>()).prop_map(|(blocks, odd)| {
        let head = match odd % 4 {
            0 => "model = 'm'\n",
            1 => "mcp_servers.d.command = 'm'\n",
            2 => "\u{feff}# top\n\n",
            _ => "",
        };
        let text = head.to_owned() + &blocks.concat();
        let text = if odd & 16 == 0 {
            text.replace('\n', "\r\n")
        } else {
            text
        };
        if odd & 32 == 0 {
            text.trim_end().to_owned()
        } else {
            text
        }
    })
}

/// Adds, undoes and removes; `exact`: removing gives the text again.
fn there_and_back(text: &str, shape: Shape, exact: bool) -> Result<(), TestCaseError> {
    let before = list(text, shape).map_err(|problem| TestCaseError::fail(problem.to_string()))?;
    let wanted = server("/b", &["u", "\"\n"], &[("K", "é")]);
    let edit = add(text, shape, "new", &wanted).unwrap();
    let after = edit.apply(text);
    let mut found = list(&after, shape).unwrap();
    prop_assert_eq!(&found.pop().unwrap().server, &Some(wanted));
    prop_assert_eq!(&found, &before);
    prop_assert_eq!(&edit.undo(&after).unwrap(), text);
    let edit = remove(&after, shape, "new").unwrap();
    let back = edit.apply(&after);
    prop_assert_eq!(edit.undo(&back), Some(after.clone()));
    prop_assert_eq!(&list(&back, shape).unwrap(), &before);
    if exact {
        prop_assert_eq!(&back, text, "after {:?}", after);
    }
    for entry in &before {
        let edit = remove(text, shape, &entry.name).unwrap();
        prop_assert_eq!(&edit.undo(&edit.apply(text)).unwrap(), text);
        let Some(old) = &entry.server else { continue };
        let edit = replace(text, shape, &entry.name, old).unwrap();
        prop_assert_eq!(&edit.apply(text), text);
        let wanted = server("/c", &["v"], &[("A", "b")]);
        let edit = replace(text, shape, &entry.name, &wanted).unwrap();
        prop_assert_eq!(&edit.undo(&edit.apply(text)).unwrap(), text);
    }
    Ok(())
}

proptest! {
    #[test]
    fn json_there_and_back(text in document()) {
        let shape = shape(Client::Cursor);
        let entries = list(&text, shape).map_or(0, |found| found.len());
        there_and_back(&text, shape, entries > 0)?;
    }

    #[test]
    fn toml_there_and_back(text in blocks()) {
        there_and_back(&text, shape(Client::CodexCli), true)?;
    }

    #[test]
    fn nothing_makes_a_reader_fail_badly(text in "[\\[\\]{}\",:/*= .\na'\\\\\u{e9}#]{0,40}") {
        for client in [Client::Cursor, Client::CodexCli] {
            let shape = shape(client);
            if let Ok(edit) = add(&text, shape, "new", &bridge()) {
                prop_assert_eq!(&edit.undo(&edit.apply(&text)).unwrap(), &text);
            } else {
                let refused = list(&text, shape).is_err();
                prop_assert!(refused, "{:?}", text);
            }
        }
    }
}
