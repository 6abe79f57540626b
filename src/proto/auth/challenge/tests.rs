//! Challenges as servers send them, as hostile servers send them, and as chance makes them.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn parse(lines: &[&str]) -> Challenge {
    let bytes: Vec<_> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
    parse_bytes(&bytes)
}

fn parse_bytes(lines: &[Vec<u8>]) -> Challenge {
    Challenge::parse(
        &lines
            .iter()
            .map(|line| (WWW_AUTHENTICATE, HeaderValue::from_bytes(line).unwrap()))
            .collect(),
    )
}

/// `resource_metadata` joined by blanks, `scope`, `error`.
fn seen(lines: &[&str]) -> (String, Option<String>, Option<String>) {
    let challenge = parse(lines);
    (
        challenge.resource_metadata.join(" "),
        challenge.scope,
        challenge.error,
    )
}

const M: &str = "https://h/.well-known/oauth-protected-resource";

/// As [`seen`] has it.
type Expected = (&'static str, Option<&'static str>, Option<&'static str>);

const CASES: &[(&[&str], Expected)] = &[
    (&[], ("", None, None)),
    (&[""], ("", None, None)),
    (&["Bearer"], ("", None, None)),
    (
        &[
            "Bearer resource_metadata=\"https://h/.well-known/oauth-protected-resource\", scope=\"a b\"",
        ],
        (M, Some("a b"), None),
    ),
    // Names in any case, blanks around the equals sign, no blank after the comma.
    (
        &[
            "bEARER Resource_Metadata = \"https://h/.well-known/oauth-protected-resource\" ,SCOPE\t=\ta",
        ],
        (M, Some("a"), None),
    ),
    // Two challenges in one line, in two lines; others first and last.
    (
        &["Basic realm=\"x\", Bearer scope=\"a\""],
        ("", Some("a"), None),
    ),
    (
        &["Basic realm=\"x\"", "Bearer scope=\"a\""],
        ("", Some("a"), None),
    ),
    (
        &["Bearer scope=\"a\", Basic scope=\"b\", error=\"c\""],
        ("", Some("a"), None),
    ),
    (
        &["Negotiate abc/+==, Bearer error=\"invalid_token\""],
        ("", None, Some("invalid_token")),
    ),
    (&["Negotiate, Bearer scope=a"], ("", Some("a"), None)),
    (&["NTLM TlRMTVNTUAAB"], ("", None, None)),
    // One list over several lines.
    (
        &["Bearer realm=\"x\"", "scope=\"a\""],
        ("", Some("a"), None),
    ),
    (&["Basic realm=\"x\"", "scope=\"a\""], ("", None, None)),
    // DPoP counts too.
    (
        &["DPoP algs=\"ES256\", error=\"use_dpop_nonce\""],
        ("", None, Some("use_dpop_nonce")),
    ),
    // Quotes and escapes.
    (
        &[r#"Bearer error_description="say \"hi\", scope=x", scope="a\\b""#],
        ("", Some(r"a\b"), None),
    ),
    (
        &["Bearer error_description=\"missing scope=admin, Bearer scope=evil\""],
        ("", None, None),
    ),
    (
        &["Bearer realm=\"a, scope=\\\"x\\\"\", error=insufficient_scope"],
        ("", None, Some("insufficient_scope")),
    ),
    // Values without quotes, in single quotes.
    (
        &["Bearer resource_metadata=https://h/.well-known/oauth-protected-resource, scope=a"],
        (M, Some("a"), None),
    ),
    (
        &["Bearer resource_metadata='https://h/.well-known/oauth-protected-resource', scope='a b'"],
        (M, Some("a b"), None),
    ),
    (&["Bearer scope='it's"], ("", Some("'it's"), None)),
    // Empty elements, blanks instead of commas, no blank at all.
    (
        &[",, ,Bearer , scope=\"a\",,error=\"b\","],
        ("", Some("a"), Some("b")),
    ),
    (
        &["Bearer realm=\"x\" scope=\"a\" error=\"b\""],
        ("", Some("a"), Some("b")),
    ),
    (
        &["Bearer scope=read write, error=\"b\""],
        ("", Some("read"), Some("b")),
    ),
    // What is repeated.
    (
        &["Bearer scope=\"a\", scope=\"b\", Bearer scope=\"c\""],
        ("", Some("a"), None),
    ),
    (
        &[
            "Bearer resource_metadata=\"u:1\", resource_metadata=\"u:2\"",
            "DPoP resource_metadata=\"u:3\"",
        ],
        ("u:1 u:2 u:3", None, None),
    ),
    // What is empty or cannot be read.
    (&["Bearer scope=\"\", error=\" \""], ("", None, None)),
    (&["Bearer scope=, error=b"], ("", None, Some("b"))),
    (&["scope=\"a\", error=\"b\""], ("", None, None)),
    (&["\"Bearer scope=a\""], ("", None, None)),
    (&["Bearer scope=\"a"], ("", None, None)),
    (&["Bearer scope=\"a\\"], ("", None, None)),
    (&["Bearer =\"x\", error=\"b\""], ("", None, None)),
    (
        &["Bearer \"x, scope=z\", error=\"b\""],
        ("", None, Some("b")),
    ),
    (&["BearerX scope=\"a\""], ("", None, None)),
    (
        &["X-Bearer scope=\"a\", Bearerscope=\"b\""],
        ("", None, None),
    ),
];

#[test]
fn a02_h35_challenges_of_all_kinds_are_read() {
    assert!(CASES.len() >= 25);
    for (lines, (metadata, scope, error)) in CASES {
        let expected = (
            (*metadata).to_owned(),
            scope.map(str::to_owned),
            error.map(str::to_owned),
        );
        assert_eq!(seen(lines), expected, "{lines:?}");
    }
}

#[test]
fn a02_schemes_are_told_apart() {
    let schemes = |line| {
        let challenge = parse(&[line]);
        (challenge.bearer, challenge.dpop)
    };
    assert_eq!(schemes("Bearer"), (true, false));
    assert_eq!(schemes("DPoP algs=\"ES256\", bearer"), (true, true));
    assert_eq!(schemes("Basic realm=\"Bearer, DPoP\""), (false, false));
    assert_eq!(schemes("Basic Bearer"), (false, false));
}

#[test]
fn a02_bytes_beyond_ascii_do_no_harm() {
    let challenge = parse_bytes(&[
        b"Bearer error_description=\"d\xe9j\xe0 vu\", scope=\"a\"".to_vec(),
        "Bearer error=\"ungültig\"".as_bytes().to_vec(),
    ]);
    assert_eq!(
        challenge.error_description.as_deref(),
        Some("d\u{fffd}j\u{fffd} vu")
    );
    assert_eq!(challenge.scope.as_deref(), Some("a"));
    assert_eq!(challenge.error.as_deref(), Some("ungültig"));
}

#[test]
fn a02_what_lies_beyond_the_limit_is_not_read() {
    let long = "x".repeat(20 << 10);
    let quoted = format!("Bearer error=\"e\", scope=\"{long}\", resource_metadata=\"u:1\"");
    assert_eq!(seen(&[&quoted]), (String::new(), None, Some("e".into())));
    // Nothing is half read, quotes or not.
    let bare = format!("Bearer error=\"e\", scope={long}");
    assert_eq!(seen(&[&bare]), (String::new(), None, Some("e".into())));
    let name = format!("Bearer error=\"e\", {long}");
    assert_eq!(
        seen(&[&name, "scope=a"]),
        (String::new(), None, Some("e".into()))
    );
    let scheme = format!(
        "{}BearerX",
        "Basic, ".repeat(3) + &" ".repeat(limits::CHALLENGE - 27)
    );
    assert_eq!(scheme.len(), limits::CHALLENGE + 1);
    assert!(!parse(&[&scheme]).bearer);
    let many = vec!["Bearer x=\"0123456789\""; 2000];
    let mut lines = many.clone();
    lines.push("Bearer scope=\"late\"");
    assert_eq!(seen(&lines).1, None);
}

#[test]
fn a02_no_more_challenges_than_the_limit_are_read() {
    let line = |others: usize| "Basic, ".repeat(others) + "Bearer scope=\"a\"";
    assert_eq!(
        seen(&[&line(limits::CHALLENGES - 1)]).1.as_deref(),
        Some("a")
    );
    assert_eq!(seen(&[&line(limits::CHALLENGES)]).1, None);
    let flood = format!("Bearer error=a, {}", line(limits::CHALLENGES));
    let last = "Basic, ".repeat(limits::CHALLENGES - 1) + "Bearer, Basic realm=x";
    assert_eq!(seen(&[&last, "scope=b"]).1, None);
    assert_eq!(
        seen(&[&flood, "scope=b", "Bearer scope=c"]),
        (String::new(), None, Some("a".into()))
    );
}

#[test]
fn insufficient_scope_is_that_very_word() {
    assert!(parse(&["Bearer error=\"insufficient_scope\""]).is_insufficient_scope());
    assert!(!parse(&["Bearer error=\"Insufficient_Scope\""]).is_insufficient_scope());
    assert!(!parse(&["Basic error=\"insufficient_scope\""]).is_insufficient_scope());
    assert!(!parse(&["Bearer"]).is_insufficient_scope());
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

proptest! {
    #[test]
    fn a02_no_bytes_break_the_parser(
        lines in prop::collection::vec(
            prop::collection::vec(prop::sample::select(
                (0x20..=0xff).filter(|byte| *byte != 0x7f).collect::<Vec<u8>>()), 0..80),
            0..5)
    ) {
        let challenge = parse_bytes(&lines);
        let total: usize = lines.iter().map(Vec::len).sum();
        prop_assert!(challenge.resource_metadata.len() <= total);
    }

    #[test]
    fn a02_no_words_break_the_parser(
        words in prop::collection::vec(prop::sample::select(vec![
            "Bearer", "DPoP", "Basic", "scope", "error", "resource_metadata", "=", "\"", "'", "\\",
            ",", " ", "\t", "a", "==", "/", "é",
        ]), 0..60)
    ) {
        let line = words.concat();
        let challenge = parse(&[&line]);
        prop_assert!(challenge.scope.is_none_or(|scope| !scope.is_empty()));
    }

    /// What stands in quotes is one value, whatever it looks like.
    #[test]
    fn a02_no_scope_comes_from_inside_a_description(
        text in "[ -~]{0,30}(, ?|\" ?,? ?)?(Bearer )?(scope ?= ?\"?x\"?)?[ -~]{0,30}",
        scope in prop::option::of("[!#-\\[\\]-~]{1,8}"),
        first in any::<bool>(),
    ) {
        let mut parts = vec![format!("error_description={}", quote(&text))];
        if let Some(scope) = &scope {
            parts.insert(usize::from(first), format!("scope={}", quote(scope)));
        }
        let challenge = parse(&[&format!("Bearer {}", parts.join(", "))]);
        prop_assert_eq!(challenge.scope, scope);
        let expected = (!text.trim().is_empty()).then_some(text);
        prop_assert_eq!(challenge.error_description, expected);
        prop_assert!(challenge.resource_metadata.is_empty());
    }
}
