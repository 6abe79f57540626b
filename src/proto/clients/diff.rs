//! A change of a configuration file, for people to read.
//!
//! In: the lines that change and a few around them, without values that may be secret. Out: the
//! change itself ([`super::edit`]), which arguments are harmless ([`super::secrets`]).

use crate::proto::text::sanitize;

/// Unchanged lines before and after the change.
const CONTEXT: usize = 3;

/// Most lines of a difference; a file may be one that somebody made to be long.
const LONGEST: usize = 120;

/// Longest line, in characters.
const LINE_CHARS: usize = 300;

/// Values that every entry may have.
const HARMLESS: [&str; 1] = ["stdio"];

/// The difference as `diff -u` shows it, without file names: unchanged lines begin with a space,
/// old ones with `-`, new ones with `+`. Of strings only names are shown, and the values in
/// `shown`, in the form that stands beside them; everything else becomes `…`, comments too. Empty
/// if no line changes.
#[must_use]
pub fn diff(before: &str, after: &str, shown: &[(String, String)]) -> String {
    let old: Vec<&str> = before.lines().collect();
    let new: Vec<&str> = after.lines().collect();
    let pairs = old.iter().zip(&new);
    let above = pairs.take_while(|(old, new)| old == new).count();
    let room = old.len().min(new.len()) - above;
    let pairs = old.iter().rev().zip(new.iter().rev()).take(room);
    let below = pairs.take_while(|(old, new)| old == new).count();
    if above + below == old.len() && old.len() == new.len() {
        return String::new();
    }
    let first = above.saturating_sub(CONTEXT);
    let pieces = [
        (' ', old.get(first..above)),
        ('-', old.get(above..old.len() - below)),
        ('+', new.get(above..new.len() - below)),
        (' ', old.get(old.len() - below..)),
    ];
    let mut rows = vec![format!("@@ line {} @@", above + 1)];
    for (place, (mark, lines)) in pieces.into_iter().enumerate() {
        let most = if place == 3 { CONTEXT } else { usize::MAX };
        let lines = lines.unwrap_or_default().iter().take(most);
        rows.extend(lines.map(|line| marked(mark, line, shown)));
    }
    let left_out = rows.len().saturating_sub(LONGEST);
    rows.truncate(LONGEST);
    if left_out > 0 {
        rows.push(format!("… {left_out} more lines"));
    }
    rows.join("\n") + "\n"
}

fn marked(mark: char, line: &str, shown: &[(String, String)]) -> String {
    let line = masked(line, shown);
    let line = sanitize(&line, LINE_CHARS);
    format!("{mark}{line}").trim_end().to_owned()
}

/// A line of JSON or TOML with its names and without its values.
fn masked(line: &str, shown: &[(String, String)]) -> String {
    let line = line.trim_start_matches('\u{feff}');
    let trimmed = line.trim();
    let is_table = trimmed.starts_with('[') && trimmed.ends_with(']') && !trimmed.contains(',');
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(letter) = rest.chars().next() {
        let (piece, form) = match letter {
            '\t' => ("\t", "    ".to_owned()),
            '"' | '\'' => string(rest, letter, is_table, shown),
            '/' if rest.starts_with("//") => (rest, "// …".to_owned()),
            '/' if rest.starts_with("/*") => (rest, "/* …".to_owned()),
            '#' => (rest, "# …".to_owned()),
            letter if letter.is_whitespace() || "{}[](),:=.".contains(letter) => {
                let piece = rest.get(..letter.len_utf8()).unwrap_or_default();
                (piece, piece.to_owned())
            }
            _ => word(rest, is_table),
        };
        out.push_str(&form);
        rest = rest.get(piece.len()..).unwrap_or_default();
    }
    out
}

/// A string at the beginning of `rest`, and its form for show.
fn string<'a>(
    rest: &'a str,
    quote: char,
    is_table: bool,
    shown: &[(String, String)],
) -> (&'a str, String) {
    let mut escaped = false;
    let end = rest.char_indices().skip(1).find(|(_, letter)| {
        let is_end = *letter == quote && !escaped;
        escaped = *letter == '\\' && quote == '"' && !escaped;
        is_end
    });
    let Some((end, _)) = end else {
        return (rest, format!("{quote}…"));
    };
    let piece = rest.get(..=end).unwrap_or_default();
    let after = rest.get(end + 1..).unwrap_or_default().trim_start();
    let is_header = is_table && after.starts_with([']', '.']);
    if after.starts_with([':', '=']) || is_header {
        return (piece, piece.to_owned());
    }
    let inner = rest.get(1..end).unwrap_or_default();
    let value = match quote {
        '"' => serde_json::from_str(piece).unwrap_or_default(),
        _ => inner.to_owned(),
    };
    let form = shown.iter().find(|(known, _)| *known == value);
    let form = match form {
        Some((_, form)) if *form == value => piece.to_owned(),
        Some((_, form)) => format!("{quote}{form}{quote}"),
        None if value.is_empty() && inner.is_empty() => piece.to_owned(),
        None if HARMLESS.contains(&value.as_str()) => piece.to_owned(),
        None => format!("{quote}…{quote}"),
    };
    (piece, form)
}

/// Something without quotation marks: a name in TOML, or a value.
fn word(rest: &str, is_table: bool) -> (&str, String) {
    let ends = |letter: char| letter.is_whitespace() || "{}[](),:=.\"'#".contains(letter);
    let end = rest.find(ends).unwrap_or(rest.len());
    let piece = rest.get(..end).unwrap_or_default();
    let after = rest.get(end..).unwrap_or_default();
    let is_name = after.trim_start().starts_with('=')
        || after.starts_with('.') && after.contains('=')
        || is_table;
    let is_shown = is_name || matches!(piece, "true" | "false" | "null");
    (piece, if is_shown { piece } else { "…" }.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(values: &[&str]) -> Vec<(String, String)> {
        let same = |value: &&str| ((*value).to_owned(), (*value).to_owned());
        values.iter().map(same).collect()
    }

    const FILE: &str = r#"{
  "theme": "dark",
  "mcpServers": {
    // canary
    "other": {
      "command": "npx",
      "env": { "TOKEN": "canary" }, "n": 42
    }
  }
}
"#;

    #[test]
    fn an_added_entry_is_shown_with_its_surroundings_and_no_secret() {
        let added = "    },\n    \"new\": {\n      \"command\": \"/bin/x\",\n      \"args\": [\"u\", \"canary\"]\n    }\n  }\n}";
        let after = FILE.replace("    }\n  }\n}", added);
        let text = diff(FILE, &after, &shown(&["/bin/x", "u"]));
        let expected = "\
@@ line 8 @@
     \"other\": {
       \"command\": \"…\",
       \"env\": { \"TOKEN\": \"…\" }, \"n\": …
+    },
+    \"new\": {
+      \"command\": \"/bin/x\",
+      \"args\": [\"u\", \"…\"]
     }
   }
 }
";
        assert_eq!(text, expected);
    }

    #[test]
    fn no_value_comes_through_in_any_syntax() {
        for line in [
            "// canary",
            "/* canary */ \"a\": 1",
            "# canary",
            "key = canary",
            "key = 'canary' # canary",
            "key = \"\"\"canary",
            "canary",
            "\"canary\", \"canary\"",
            "\"a\": \"canary\\\" canary\"",
            "\"a\": \"canary",
            "\"a\": [canary, 'canary']",
            "[\"canary\", \"canary\"]",
        ] {
            let text = masked(line, &[]);
            assert!(!text.contains("canary"), "{line} became {text}");
        }
        for (line, expected) in [
            ("[mcp_servers.\"a b\".env]", "[mcp_servers.\"a b\".env]"),
            ("a.b = \"x\"", "a.b = \"…\""),
            (
                "\t\"on\": true, \"off\": null",
                "    \"on\": true, \"off\": null",
            ),
            ("\"type\": \"stdio\"", "\"type\": \"stdio\""),
            ("\"empty\": \"\"", "\"empty\": \"\""),
        ] {
            assert_eq!(masked(line, &[]), expected);
        }
    }

    #[test]
    fn values_are_shown_in_the_form_that_was_given() {
        let pairs = [("https://x/?k=canary".to_owned(), "https://x/?…".to_owned())];
        let text = masked(
            r#""args": ["https://x/?k=canary", 'https://x/?k=canary']"#,
            &pairs,
        );
        assert_eq!(text, r#""args": ["https://x/?…", 'https://x/?…']"#);
        // The value counts, not its spelling.
        assert_eq!(masked(r#"["\u0061"]"#, &shown(&["a"])), r#"["\u0061"]"#);
    }

    #[test]
    fn new_files_and_files_of_one_line_have_a_difference() {
        let whole = "{\n  \"a\": {}\n}\n";
        assert_eq!(diff("", whole, &[]), "@@ line 1 @@\n+{\n+  \"a\": {}\n+}\n");
        assert_eq!(diff(whole, "", &[]), "@@ line 1 @@\n-{\n-  \"a\": {}\n-}\n");
        let line = r#"{"a":"canary","b":{}}"#;
        let text = diff(line, &line.replace("{}", r#"{"c":"d"}"#), &shown(&["d"]));
        let expected =
            "@@ line 1 @@\n-{\"a\":\"…\",\"b\":{}}\n+{\"a\":\"…\",\"b\":{\"c\":\"d\"}}\n";
        assert_eq!(text, expected);
        assert_eq!(diff(line, line, &[]), "");
    }

    #[test]
    fn repeated_lines_are_not_counted_twice() {
        let text = diff("a\na\n", "a\na\na\n", &shown(&["a"]));
        assert_eq!(text, "@@ line 3 @@\n …\n …\n+…\n");
    }

    #[test]
    fn line_ends_of_windows_and_terminal_escapes_do_no_harm() {
        let text = "{\r\n  \"\u{1b}[2J\": true\r\n}\r\n";
        let text = diff(text, &text.replace("true", "null"), &[]);
        assert!(!text.contains(['\r', '\u{1b}']), "{text:?}");
        assert_eq!(text.lines().count(), 5, "{text}");
    }

    #[test]
    fn a_long_difference_is_cut() {
        let text = diff("", &"[]\n".repeat(10_000), &[]);
        assert_eq!(text.lines().count(), LONGEST + 1);
        assert!(text.ends_with("more lines\n"), "{text}");
    }
}
