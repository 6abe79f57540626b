//! Patterns, lists and calls: what is hidden, and that everything else stays as it was.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const NONE: &[&str] = &[];

fn ignoring(patterns: &[&str]) -> Filter {
    Filter::new(patterns, NONE, false)
}

fn read_only() -> Filter {
    Filter::new(NONE, NONE, true)
}

fn names(result: &str) -> Vec<String> {
    let result: Value = serde_json::from_str(result).unwrap();
    let tools = result["tools"].as_array().unwrap().iter();
    tools
        .map(|tool| tool["name"].as_str().unwrap_or("?").to_owned())
        .collect()
}

#[test]
fn vectors_of_mcp_remote() {
    let filter = ignoring(&["delete*", "get.ACCOUNT"]);
    for name in ["delete", "deleteTask", "DELETEUser", "get.account"] {
        assert_eq!(filter.refusal(name), Some(Refusal::Ignored), "{name}");
    }
    for name in ["xdelete", "getXaccount", " delete", "a*b", ""] {
        assert_eq!(filter.refusal(name), None, "{name}");
    }
}

#[test]
fn a_star_is_the_only_special_character() {
    let fits = |pattern: &str, name: &str| Pattern::new(pattern).matches(name);
    for (pattern, name) in [
        ("*", ""),
        ("**", "x"),
        ("*_write", "file_WRITE"),
        ("a*b*c", "axxbyyc"),
        ("a*a", "aa"),
        ("*ab*", "aab"),
        ("[a]?", "[A]?"),
        ("Ä*", "ärger"),
        ("*a*b", "ab_ab"),
        ("", ""),
        ("a*", "a\nb"),
    ] {
        assert!(fits(pattern, name), "{pattern} {name}");
    }
    for (pattern, name) in [
        ("a*a", "a"),
        ("a*b*c", "acb"),
        ("a?", "ab"),
        ("a.c", "abc"),
        ("[ab]", "a"),
        ("a", "ab"),
        ("a", "ba"),
        ("", "a"),
        ("*ab*ab*", "abxa"),
        ("ab*ba", "aba"),
        ("\\*", "\\"),
    ] {
        assert_eq!(fits(pattern, name), pattern == "\\*", "{pattern} {name}");
    }
}

#[test]
fn hostile_pattern_and_name_take_no_exponential_time() {
    let pattern = Pattern::new(&("*a".repeat(2000) + "*b"));
    assert!(!pattern.matches(&"a".repeat(20_000)));
    assert!(pattern.matches(&("a".repeat(20_000) + "b")));
}

#[test]
fn ignore_wins_over_only() {
    let filter = Filter::new(&["get_secret"], &["get_*"], false);
    assert_eq!(filter.refusal("get_x"), None);
    assert_eq!(filter.refusal("get_secret"), Some(Refusal::Ignored));
    assert_eq!(filter.refusal("set_x"), Some(Refusal::NotOnly));
    assert_eq!(filter.refusal("GET_X"), None);
    assert_eq!(Refusal::NotOnly.flag(), "--only-tool");
}

#[test]
fn inactive_filter_touches_nothing() {
    let mut filter = Filter::default();
    assert!(!filter.is_active());
    assert_eq!(filter.edit_list(r#"{"tools":[],"tools":[{}]}"#), Ok(None));
    assert_eq!(filter.refusal("anything"), None);
}

#[test]
fn what_stays_is_byte_for_byte() {
    let list = "{ \"x\" : 1.0e2, \"tools\" : [ {\"name\":\"a\", \"n\":12345678901234567890 } ,\n\
        {\"name\":\"del\"},\t{\"name\": \"b\",\"s\":\"\\ud800\"} , {\"name\":\"DEL\"} ], \"nextCursor\":\"c\\u0041\" }";
    let expected = "{ \"x\" : 1.0e2, \"tools\" : [ {\"name\":\"a\", \"n\":12345678901234567890 },\t\
        {\"name\": \"b\",\"s\":\"\\ud800\"} ], \"nextCursor\":\"c\\u0041\" }";
    assert_eq!(
        ignoring(&["del"]).edit_list(list),
        Ok(Some(expected.into()))
    );
}

#[test]
fn any_place_in_the_list_can_fall() {
    let cases = [
        (r#"{"tools":[{"name":"d"}]}"#, r#"{"tools":[]}"#),
        (
            r#"{"tools":[{"name":"d"},{"name":"d"}],"a":1}"#,
            r#"{"tools":[],"a":1}"#,
        ),
        (
            r#"{"tools":[{"name":"d"},{"name":"a"}]}"#,
            r#"{"tools":[{"name":"a"}]}"#,
        ),
        (
            r#"{"tools":[{"name":"d"}, {"name":"d"}, {"name":"a"}, 1]}"#,
            r#"{"tools":[{"name":"a"}, 1]}"#,
        ),
        (
            r#"{"tools":[{"name":"a"},{"name":"d"}]}"#,
            r#"{"tools":[{"name":"a"}]}"#,
        ),
    ];
    for (list, expected) in cases {
        assert_eq!(
            ignoring(&["d"]).edit_list(list),
            Ok(Some(expected.into())),
            "{list}"
        );
    }
}

#[test]
fn other_results_stay_as_they_are() {
    for result in [
        "{}",
        "[]",
        "null",
        "3",
        r#"{"tools":null}"#,
        r#"{"tools":{"name":"d"}}"#,
        r#"{"tools":[]}"#,
        r#"{"tools":[{"name":"a"},{"name":3},{},"d",{"title":"d"}]}"#,
        r#"{"prompts":[{"name":"d"}]}"#,
        r#"{"\ud800":1,"tools":[{"name":"a"}]}"#,
    ] {
        assert_eq!(ignoring(&["d"]).edit_list(result), Ok(None), "{result}");
    }
}

#[test]
fn names_and_keys_are_compared_without_their_escapes() {
    for entry in [
        r#"{"name":"\u0064el"}"#,
        r#"{"n\u0061me":"del"}"#,
        r#"{"name":"del","name":"ok"}"#,
        r#"{"name":"ok","name":"del"}"#,
        r#"{"name":"del\ud800"}"#,
        r#"{"\udc00":0,"name":"del"}"#,
    ] {
        let list = format!(r#"{{"\u0074ools":[{entry}]}}"#);
        assert_eq!(
            ignoring(&["del*"]).edit_list(&list),
            Ok(Some(r#"{"\u0074ools":[]}"#.into())),
            "{entry}"
        );
    }
}

#[test]
fn an_ambiguous_list_is_refused() {
    for list in [
        r#"{"tools":[],"tools":[{"name":"del"}]}"#,
        r#"{"tools":[{"name":"del"}],"t\u006fols":null}"#,
        r#"{"tools":[{"name":"del"}]"#,
        r#"{"tools":[{"name":"del"}]} x"#,
        r#"{"tools":[{"name":"del",}]}"#,
    ] {
        assert_eq!(
            ignoring(&["del"]).edit_list(list),
            Err(Unfilterable),
            "{list}"
        );
    }
}

#[test]
fn nameless_entries_fall_under_an_allow_list() {
    let list = r#"{"tools":[{"title":"x"},{"name":7},{"name":"a"},{"name":"a","name":1}]}"#;
    let expected = Ok(Some(r#"{"tools":[{"name":"a"}]}"#.into()));
    assert_eq!(Filter::new(NONE, &["a"], false).edit_list(list), expected);
    assert_eq!(ignoring(&["b"]).edit_list(list), Ok(None));
}

#[test]
fn read_only_keeps_what_the_server_marks() {
    let mut filter = read_only();
    assert_eq!(filter.refusal("read"), Some(Refusal::NotListed));
    let list = json!({"tools": [
        {"name": "read", "annotations": {"readOnlyHint": true}},
        {"name": "write", "annotations": {"readOnlyHint": false}},
        {"name": "text", "annotations": {"readOnlyHint": "true"}},
        {"name": "bare"},
        {"name": "odd", "annotations": [true]},
        {"annotations": {"readOnlyHint": true}},
    ]});
    assert_eq!(
        names(&filter.edit_list(&list.to_string()).unwrap().unwrap()),
        ["read"]
    );
    assert_eq!(filter.refusal("read"), None);
    assert_eq!(filter.refusal("READ"), Some(Refusal::NotListed));
    for name in ["write", "text", "bare", "odd"] {
        assert_eq!(filter.refusal(name), Some(Refusal::NotReadOnly), "{name}");
    }
}

#[test]
fn read_only_does_not_trust_contradictions() {
    let yes = r#""annotations":{"readOnlyHint":true}"#;
    let no = r#""annotations":{"readOnlyHint":false}"#;
    for list in [
        format!(r#"{{"tools":[{{"name":"a",{yes}}},{{"name":"a",{no}}}]}}"#),
        format!(r#"{{"tools":[{{"name":"a",{no}}},{{"name":"a",{yes}}}]}}"#),
        format!(r#"{{"tools":[{{"name":"a",{yes},{no}}}]}}"#),
        format!(r#"{{"tools":[{{"name":"a",{no},{yes}}}]}}"#),
        r#"{"tools":[{"name":"a","annotations":{"readOnlyHint":false,"readOnlyHint":true}}]}"#
            .into(),
        format!(r#"{{"tools":[{{"name":"a","name":"b",{yes}}}]}}"#),
    ] {
        let mut filter = read_only();
        assert_eq!(
            filter.edit_list(&list),
            Ok(Some(r#"{"tools":[]}"#.into())),
            "{list}"
        );
        assert_eq!(filter.refusal("a"), Some(Refusal::NotReadOnly), "{list}");
    }
}

#[test]
fn a_later_list_replaces_an_earlier_one() {
    let mut filter = read_only();
    let list = |hint: bool| {
        json!({"tools": [{"name": "a", "annotations": {"readOnlyHint": hint}}]}).to_string()
    };
    assert_eq!(filter.edit_list(&list(true)), Ok(None));
    assert_eq!(filter.refusal("a"), None);
    assert!(filter.edit_list(&list(false)).unwrap().is_some());
    assert_eq!(filter.refusal("a"), Some(Refusal::NotReadOnly));
    assert_eq!(filter.edit_list(&list(true)), Ok(None));
    assert_eq!(filter.refusal("a"), None);
}

#[test]
fn hostile_lists_do_not_fill_the_memory() {
    let mut filter = read_only();
    let name = "x".repeat(10_000);
    let entry =
        |at: usize| format!(r#"{{"name":"{at}{name}","annotations":{{"readOnlyHint":true}}}}"#);
    let entries: Vec<_> = (0..150).map(entry).collect();
    let list = format!(r#"{{"tools":[{}]}}"#, entries.join(","));
    let kept = names(&filter.edit_list(&list).unwrap().unwrap()).len();
    assert!(filter.learned.bytes <= LEARNED_BYTES);
    assert_eq!(kept, filter.learned.names.len());
    assert!((100..150).contains(&kept));
    // What is shown can be called, what does not fit cannot.
    assert_eq!(filter.refusal(&format!("0{name}")), None);
    assert_eq!(
        filter.refusal(&format!("149{name}")),
        Some(Refusal::NotListed)
    );
}

#[test]
fn deep_values_are_no_trouble() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let list = format!(r#"{{"x":{deep},"tools":[{{"name":"d"}},{{"name":"a","y":{deep}}}]}}"#);
    let edited = ignoring(&["d"]).edit_list(&list).unwrap().unwrap();
    assert_eq!(edited.len(), list.len() - r#"{"name":"d"},"#.len());
}

/// The plain recursive definition of `*`.
fn fits_slowly(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', pattern @ ..], _) => {
            (0..=name.len()).any(|skip| fits_slowly(pattern, &name[skip..]))
        }
        ([want, pattern @ ..], [char, name @ ..]) => want == char && fits_slowly(pattern, name),
        _ => false,
    }
}

proptest! {
    #[test]
    fn matcher_agrees_with_the_definition(pattern in "[ab*]{0,8}", name in "[ab]{0,10}") {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        let expected = fits_slowly(&chars(&pattern), &chars(&name));
        prop_assert_eq!(Pattern::new(&pattern).matches(&name), expected);
    }

    #[test]
    fn cutting_agrees_with_the_tree(tools in proptest::collection::vec("[ad]", 0..8), gap in "[ \n]{0,2}") {
        let entries: Vec<_> = tools.iter().map(|name| format!("{{\"name\":{gap}\"{name}\"}}")).collect();
        let list = format!("{{\"tools\":{gap}[{gap}{}{gap}]}}", entries.join(&format!("{gap},")));
        let edited = ignoring(&["d"]).edit_list(&list).unwrap();
        let kept: Vec<_> = tools.iter().filter(|name| *name == "a").cloned().collect();
        prop_assert_eq!(edited.is_some(), kept.len() < tools.len());
        prop_assert_eq!(names(&edited.unwrap_or(list)), kept);
    }
}

#[test]
fn a_call_names_one_tool_or_none() {
    for (params, tool) in [
        (r#"{"name":"a"}"#, Some("a")),
        (r#"{"n\u0061me":"\u0061"}"#, Some("a")),
        (r#"{"arguments":{"name":"b"},"name":"a"}"#, Some("a")),
        (r#"{"name":"a\ud800"}"#, Some("a\u{fffd}\u{fffd}\u{fffd}")),
        (r#"{"name":"a","name":"a"}"#, None),
        (r#"{"name":"a","name":1}"#, None),
        (r#"{"name":["a"]}"#, None),
        ("{}", None),
        (r#"["a"]"#, None),
        ("", None),
    ] {
        assert_eq!(called_tool(params).as_deref(), tool, "{params}");
    }
}

#[test]
fn what_was_learned_can_be_forgotten() {
    let mut filter = Filter::new::<&str>(&["secret"], &[], true);
    let list = r#"{"tools":[{"name":"a","annotations":{"readOnlyHint":true}}]}"#;
    filter.edit_list(list).unwrap();
    assert_eq!(filter.refusal("a"), None);
    filter.forget();
    assert_eq!(filter.refusal("a"), Some(Refusal::NotListed));
    assert_eq!(filter.refusal("secret"), Some(Refusal::Ignored));
}
