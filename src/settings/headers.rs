//! The user's own headers: `--header`, `--header-file`, `--header-command`.
//!
//! In: their grammar, their order, what of them names a sign-in. Out: `${VAR}` (`variables`), which requests they go on
//! ([`crate::proto::headers`]), running commands ([`crate::edge::header_command`]).

use std::collections::BTreeMap;
use std::fmt;

use http::HeaderName;

use super::Notice;
use super::variables::Variables;
use crate::cli::config_file::read_text;
use crate::cli::{HeaderSource, Secret};
use crate::edge::header_command::HeaderCommand;
use crate::error::Failure;
use crate::proto::Level;
use crate::proto::headers::{InvalidHeader, UserHeaders, is_reserved};

/// Headers with a value known at start.
#[derive(Debug, Default)]
pub(super) struct Fixed {
    /// What is sent.
    pub(super) headers: UserHeaders,
    /// Names and unexpanded values, the last one of each name in its own spelling.
    pub(super) templates: BTreeMap<String, Secret>,
}

/// Headers with a value known at start, in the order of the command line; a later one replaces an
/// earlier one of the same name.
pub(super) fn fixed(
    sources: &[HeaderSource],
    variables: &mut Variables<'_>,
    notices: &mut Vec<Notice>,
) -> Result<Fixed, Failure> {
    let mut headers = UserHeaders::default();
    let mut templates = BTreeMap::new();
    let mut names: Vec<String> = Vec::new();
    let mut add = |place: &str, line: &str, notices: &mut Vec<Notice>| {
        let parts = split(place, line)?;
        templates.extend(template(line).map(|(name, value)| (name, Secret::from(value))));
        let Some((name, value)) = settable(parts, place, notices) else {
            return Ok(());
        };
        let value = variables.expand(&format!("header {name}"), value, notices)?;
        headers
            .insert(name, &value)
            .map_err(|error| Failure::usage(format!("{place}: {error}")))?;
        if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            names.push(name.to_owned());
        }
        Ok::<_, Failure>(())
    };
    let mut inline = 0;
    for source in sources {
        match source {
            HeaderSource::Inline(header) => {
                inline += 1;
                let place = format!("--header (number {inline})");
                add(&place, header.reveal(), notices)?;
                if !header.reveal().contains("${") {
                    let text = format!(
                        "{place} holds its value in plain text, which other users of this machine \
                         can see if it was typed; ${{VAR}}, --header-file and --config hide it"
                    );
                    notices.push(Notice::new(Level::Debug, text));
                }
            }
            HeaderSource::File(path) => {
                let text = read_text(path, "--header-file").map_err(Failure::file)?;
                for (number, line) in text.lines().enumerate() {
                    let line = line.trim();
                    if !line.is_empty() && !line.starts_with('#') {
                        let number = number + 1;
                        let place = format!("--header-file {}, line {number}", path.display());
                        add(&place, line, notices)?;
                    }
                }
            }
        }
    }
    if !names.is_empty() {
        let text = format!("Using custom headers: {}", names.join(", "));
        notices.push(Notice::new(Level::Info, text));
    }
    Ok(Fixed { headers, templates })
}

/// Headers whose value a command prints. Of several for one name the last counts.
pub(super) fn commands(
    given: &[Secret],
    notices: &mut Vec<Notice>,
) -> Result<Vec<HeaderCommand>, Failure> {
    let mut commands: Vec<HeaderCommand> = Vec::new();
    for (index, text) in given.iter().enumerate() {
        let place = format!("--header-command (number {})", index + 1);
        let Some((name, command)) = settable(split(&place, text.reveal())?, &place, notices) else {
            continue;
        };
        if command.trim().is_empty() {
            let failure = Failure::usage(format!("{place}: there is no command for header {name}"));
            return Err(failure.hint("write it as 'Name: command'"));
        }
        commands.retain(|known| !known.name().eq_ignore_ascii_case(name));
        commands.push(HeaderCommand::new(name, command));
    }
    Ok(commands)
}

/// Takes `Name: rest` apart. A name that cannot be one is not quoted: the line may be a secret
/// without its name.
fn split<'a>(place: &str, line: &'a str) -> Result<(&'a str, &'a str), Failure> {
    let wrong = |what: &dyn fmt::Display| Failure::usage(format!("{place}: {what}"));
    let Some((name, rest)) = line.split_once(':') else {
        return Err(
            wrong(&"there is no colon").hint("write it as 'Name: value', with quotation marks")
        );
    };
    let name = name.trim();
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong(&InvalidHeader::Name))?;
    Ok((name, rest.trim_start_matches([' ', '\t'])))
}

/// Leaves out, with a warning, a header that the protocol sets itself: command lines written for
/// other bridges have such headers, and work without them.
fn settable<'a>(
    (name, rest): (&'a str, &'a str),
    place: &str,
    notices: &mut Vec<Notice>,
) -> Option<(&'a str, &'a str)> {
    if HeaderName::from_bytes(name.as_bytes()).is_ok_and(|field| is_reserved(&field)) {
        let text = format!(
            "{place}: header {name} belongs to the protocol, so yours is ignored; the right value \
             is sent anyway"
        );
        notices.push(Notice::new(Level::Warn, text));
        return None;
    }
    Some((name, rest))
}

/// A header as it joins the name of a sign-in in the store: name and unexpanded value by the
/// grammar of npm `mcp-remote`, so that both programs come to the same name. `None` for a line that
/// it would leave out.
fn template(line: &str) -> Option<(String, String)> {
    // White space and line ends as JavaScript's regular expressions know them.
    let is_space =
        |letter: char| letter == '\u{feff}' || letter.is_whitespace() && letter != '\u{85}';
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    let (name, value) = line.split_once(':')?;
    let value = value.trim_start_matches(is_space);
    let is_one = !name.is_empty()
        && name.chars().all(is_part)
        && !value.contains(['\n', '\r', '\u{2028}', '\u{2029}']);
    is_one.then(|| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests make the files they read"
)]
mod tests {
    use std::collections::HashMap;
    use std::ffi::OsString;

    use http::HeaderMap;

    use super::*;

    fn inline(headers: &[&str]) -> Vec<HeaderSource> {
        headers
            .iter()
            .map(|text| HeaderSource::Inline(Secret::from((*text).to_owned())))
            .collect()
    }

    fn env(name: &str) -> Option<OsString> {
        [
            ("TOK", "canary"),
            ("EMPTY", ""),
            ("A:-x", "odd"),
            ("NEST", "${TOK}"),
            ("LINES", "a\nb"),
        ]
        .into_iter()
        .find_map(|(known, value)| (known == name).then(|| value.into()))
    }

    fn sent(sources: &[HeaderSource]) -> (HashMap<String, Vec<u8>>, Vec<Notice>) {
        let mut notices = Vec::new();
        let mut map = HeaderMap::new();
        let fixed = fixed(sources, &mut Variables::new(&env), &mut notices).unwrap();
        fixed.headers.apply(&mut map);
        let pair = |(name, value): (&HeaderName, &http::HeaderValue)| {
            (name.to_string(), value.as_bytes().to_vec())
        };
        (map.iter().map(pair).collect(), notices)
    }

    fn value(header: &str) -> String {
        let (sent, _) = sent(&inline(&[header]));
        String::from_utf8(sent.into_values().next().unwrap()).unwrap()
    }

    fn refusal(sources: &[HeaderSource]) -> String {
        let failure = fixed(sources, &mut Variables::new(&env), &mut Vec::new()).unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        failure.to_string()
    }

    #[test]
    fn the_value_begins_after_colon_and_white_space() {
        for (header, expected) in [
            ("X: a", "a"),
            ("X:a", "a"),
            ("X: \ta:b : c", "a:b : c"),
            ("X:", ""),
            ("X_y-9: 1", "1"),
            ("X : a", "a"),
        ] {
            assert_eq!(value(header), expected, "{header:?}");
        }
    }

    #[test]
    fn variables_are_replaced_once() {
        for (header, expected) in [
            ("X: Bearer ${TOK}", "Bearer canary"),
            ("X: ${TOK}${TOK}!", "canarycanary!"),
            ("X: a${EMPTY}b", "ab"),
            ("X: ${A:-x}", "odd"),
            ("X: ${NEST}", "${TOK}"),
            ("X: $TOK", "$TOK"),
            ("X: ${}", "${}"),
            ("X: ${${TOK}", "${${TOK}"),
            ("X: ${TOK", "${TOK"),
            ("X: ${} ${TOK}", "${} canary"),
            ("X: ${UNSET}/${TOK}", "${UNSET}/canary"),
        ] {
            assert_eq!(value(header), expected, "{header}");
        }
    }

    #[test]
    fn f20_a_missing_variable_is_named_and_no_value_is() {
        let (_, notices) = sent(&inline(&["X-Key: ${UNSET} ${TOK}"]));
        let warnings: Vec<_> = notices.iter().filter(|n| n.level == Level::Warn).collect();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].text.contains("UNSET") && warnings[0].text.contains("X-Key"));
        assert!(
            notices
                .iter()
                .any(|n| n.text == "header X-Key: ${TOK} replaced")
        );
        assert!(
            notices
                .iter()
                .any(|n| n.text == "Using custom headers: X-Key")
        );
        assert!(
            notices.iter().all(|n| !n.text.contains("canary")),
            "{notices:?}"
        );
    }

    #[test]
    fn f20_a_value_in_plain_text_is_mentioned_on_debug_level() {
        let mentioned = |header: &str| {
            let (_, notices) = sent(&inline(&[header]));
            notices
                .iter()
                .any(|n| n.level == Level::Debug && n.text.contains("plain text"))
        };
        assert!(mentioned("X: secret"));
        assert!(!mentioned("X: ${TOK}"));
    }

    #[test]
    fn files_and_options_merge_in_order_and_the_last_wins() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text =
            "# comment\r\n\r\n  Authorization: Bearer ${TOK}  \r\nX-B: 2\n#X-C: no\nx-c: file";
        std::fs::write(file.path(), text).unwrap();
        let from_file = HeaderSource::File(file.path().into());
        let [first, last] = [inline(&["X-B: 9", "X-C: first"]), inline(&["X-b: last"])];
        let all = [first, vec![from_file], last].concat();
        let (sent, _) = sent(&all);
        let expected = [
            ("authorization", "Bearer canary"),
            ("x-b", "last"),
            ("x-c", "file"),
        ];
        assert_eq!(sent.len(), expected.len());
        for (name, value) in expected {
            assert_eq!(sent[name], value.as_bytes(), "{name}");
        }
    }

    fn templates(sources: &[HeaderSource]) -> Vec<(String, String)> {
        let fixed = fixed(sources, &mut Variables::new(&env), &mut Vec::new()).unwrap();
        let pair = |(name, value): (String, Secret)| (name, value.reveal().to_owned());
        fixed.templates.into_iter().map(pair).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn f20_templates_are_unexpanded_so_that_a_new_value_keeps_the_sign_in() {
        for (headers, expected) in [
            (&["A: Bearer ${TOK}"][..], &[("A", "Bearer ${TOK}")][..]),
            (&["A:x", "A: y  "], &[("A", "y  ")]),
            (&["X-A: 1", "x-a: 2"], &[("X-A", "1"), ("x-a", "2")]),
            (&["X:"], &[("X", "")]),
            (&["X: \u{a0}\ta:b"], &[("X", "a:b")]),
            // The protocol's own: not sent, and still part of the name.
            (&["Accept: x"], &[("Accept", "x")]),
            // Sent, though mcp-remote has another idea of a name.
            (&["X : a", " X: a", "X.Y: a"], &[]),
        ] {
            assert_eq!(templates(&inline(headers)), pairs(expected), "{headers:?}");
        }
    }

    #[test]
    fn templates_of_files_and_options_merge_in_order() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "# c\nX-B: 2\r\nAuthorization: Bearer ${TOK}\n\nX-A :bad\n   X-C:   trailing  ";
        std::fs::write(file.path(), text).unwrap();
        let from_file = || vec![HeaderSource::File(file.path().into())];
        let [authorization, c] = [("Authorization", "Bearer ${TOK}"), ("X-C", "trailing")];
        for (sources, b) in [
            (from_file(), "2"),
            ([inline(&["X-B: 9"]), from_file()].concat(), "2"),
            ([from_file(), inline(&["X-B: 9"])].concat(), "9"),
        ] {
            let expected = pairs(&[authorization, ("X-B", b), c]);
            assert_eq!(templates(&sources), expected);
        }
    }

    #[test]
    fn malformed_headers_are_refused_by_place_and_unquoted() {
        for header in [
            "canary",
            "canary canary: x",
            ": canary",
            "X: canary\nY: 1",
            "X: ${LINES}",
        ] {
            let text = refusal(&inline(&["Fine: 1", header]));
            assert!(text.contains("--header (number 2)"), "{text}");
            assert!(!text.contains("canary"), "{text}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "A: 1\n\ncanary\n").unwrap();
        let text = refusal(&[HeaderSource::File(file.path().into())]);
        assert!(
            text.contains("--header-file") && text.contains("line 3"),
            "{text}"
        );
        assert!(!text.contains("canary"), "{text}");
        let missing = [HeaderSource::File("/no/such/headers".into())];
        let failure = fixed(&missing, &mut Variables::new(&env), &mut Vec::new()).unwrap_err();
        assert!(
            failure
                .to_string()
                .contains("--header-file /no/such/headers: "),
            "{failure}"
        );
        assert_eq!(failure.exit_code(), 1);
    }

    #[test]
    fn headers_of_the_protocol_are_ignored_with_a_warning() {
        for name in [
            "Accept",
            "content-type",
            "Mcp-Session-Id",
            "MCP-Protocol-Version",
            "Mcp-Param-X",
            "Host",
        ] {
            let (sent, notices) = sent(&inline(&[&format!("{name}: canary${{UNSET}}"), "X-Ok: 1"]));
            assert_eq!(sent.keys().collect::<Vec<_>>(), ["x-ok"]);
            let warnings: Vec<_> = notices.iter().filter(|n| n.level == Level::Warn).collect();
            assert_eq!(warnings.len(), 1, "{notices:?}");
            let text = &warnings[0].text;
            assert!(
                text.contains("--header (number 1)")
                    && text.contains(&format!("header {name} belongs to the protocol")),
                "{text}"
            );
            assert!(!text.contains("canary"), "{text}");
            let mut notices = Vec::new();
            let command = [Secret::from(format!("{name}: echo canary"))];
            assert_eq!(commands(&command, &mut notices).unwrap(), []);
            assert_eq!(notices.len(), 1);
            assert_eq!(notices[0].level, Level::Warn);
        }
    }

    #[test]
    fn commands_keep_their_colons_and_the_last_of_a_name_counts() {
        let given = ["X-A: one", "Authorization: echo Bearer a:b", "x-a: two"];
        let given = given.map(|text| Secret::from(text.to_owned()));
        assert_eq!(
            commands(&given, &mut Vec::new()).unwrap(),
            [
                HeaderCommand::new("Authorization", "echo Bearer a:b"),
                HeaderCommand::new("x-a", "two")
            ]
        );
        for wrong in ["echo canary", "X-A: ", "echo canary: x"] {
            let failure = commands(&[Secret::from(wrong.to_owned())], &mut Vec::new())
                .unwrap_err()
                .to_string();
            assert!(failure.contains("--header-command (number 1)"), "{failure}");
            assert!(!failure.contains("canary"), "{failure}");
        }
    }
}
