//! The user's own headers: `--header`, `--header-file`, `--header-command`.
//!
//! In: their grammar, their order, `${VAR}`. Out: which requests they go on
//! ([`crate::proto::headers`]), running commands ([`crate::edge::header_command`]).

use std::ffi::OsString;
use std::fmt;

use http::HeaderName;

use super::Notice;
use crate::cli::config_file::read_text;
use crate::cli::{HeaderSource, Secret};
use crate::edge::header_command::HeaderCommand;
use crate::error::Failure;
use crate::proto::Level;
use crate::proto::headers::{InvalidHeader, UserHeaders, is_reserved};

/// Headers with a value known at start, in the order of the command line; a later one replaces an
/// earlier one of the same name.
pub(super) fn fixed(
    sources: &[HeaderSource],
    env: &impl Fn(&str) -> Option<OsString>,
    notices: &mut Vec<Notice>,
) -> Result<UserHeaders, Failure> {
    let mut headers = UserHeaders::default();
    let mut names: Vec<String> = Vec::new();
    let mut add = |place: &str, line: &str, notices: &mut Vec<Notice>| {
        let Some((name, template)) = settable(split(place, line)?, place, notices) else {
            return Ok(());
        };
        let value = expand(name, template, env, notices)?;
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
                let text = read_text(path, "--header-file")?;
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
    Ok(headers)
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

/// Replaces each `${VAR}` by the variable's value, once. A variable that is not set is left as it
/// stands and mentioned.
fn expand(
    name: &str,
    template: &str,
    env: &impl Fn(&str) -> Option<OsString>,
    notices: &mut Vec<Notice>,
) -> Result<String, Failure> {
    let mut expanded = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        expanded.push_str(before);
        let Some((variable, tail)) = after.split_once('}').filter(|(name, _)| !name.is_empty())
        else {
            expanded.push_str("${");
            rest = after;
            continue;
        };
        match env(variable).map(OsString::into_string) {
            Some(Ok(value)) => {
                expanded.push_str(&value);
                let text = format!("header {name}: ${{{variable}}} replaced");
                notices.push(Notice::new(Level::Debug, text));
            }
            Some(Err(_)) => {
                let text = format!("the variable {variable}, used in header {name}, is not UTF-8");
                return Err(Failure::usage(text));
            }
            None => {
                expanded.push_str("${");
                expanded.push_str(variable);
                expanded.push('}');
                let text = format!(
                    "the variable {variable}, used in header {name}, is not set: ${{{variable}}} \
                     is sent as it stands"
                );
                notices.push(Notice::new(Level::Warn, text));
            }
        }
        rest = tail;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests make the files they read"
)]
mod tests {
    use std::collections::HashMap;

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
        fixed(sources, &env, &mut notices).unwrap().apply(&mut map);
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
        let failure = fixed(sources, &env, &mut Vec::new()).unwrap_err();
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
        let failure = fixed(&missing, &env, &mut Vec::new()).unwrap_err();
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
