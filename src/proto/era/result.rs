//! Results in both eras: what sort a modern one is, and what each era's has that the other's must
//! not have (MCP 2026-07-28, Base Protocol, `ResultType`; Caching).
//!
//! In: one result as text. Out: values inside it that older clients cannot read (`values`).

use crate::proto::secret::Secret;
use std::time::Duration;

use crate::proto::object::Object;
use crate::proto::{json, limits, text};

use super::meta;

/// Questions in one `input_required` result.
const QUESTIONS: usize = 64;

/// The methods whose results may be kept (MCP 2026-07-28, Caching, Cacheable Results).
const KEPT: [&str; 6] = [
    "server/discover",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
];

/// What a result is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sort {
    /// `complete`, or no `resultType`.
    Complete,
    /// `input_required`: the server asks before it goes on.
    InputRequired(InputRequired),
    /// `task`: the work goes on and is to be asked for.
    Task,
    /// A type that nobody has defined, which counts as invalid; fit for a terminal.
    Unknown(String),
    /// What cannot be read; what is wrong with it.
    Malformed(&'static str),
}

/// The questions of an `input_required` result (MCP 2026-07-28, Multi Round-Trip Requests).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputRequired {
    /// Key (decoded) and question (`{"method":…,"params":…}`, raw JSON), in order.
    pub requests: Vec<(String, String)>,
    /// `requestState` as it is spelled, a raw JSON string.
    pub state: Option<Secret>,
}

/// What sort of result this is.
#[must_use]
pub fn sort(result: &str) -> Sort {
    let Some(result) = Object::parse(result) else {
        return Sort::Malformed("the result is not an object");
    };
    let Some(spelled) = result.get("resultType") else {
        return Sort::Complete;
    };
    let Ok(name) = serde_json::from_str::<String>(spelled) else {
        return Sort::Malformed("\"resultType\" is not a string");
    };
    match name.as_str() {
        "complete" => Sort::Complete,
        "input_required" => {
            InputRequired::read(&result).map_or_else(Sort::Malformed, Sort::InputRequired)
        }
        "task" => Sort::Task,
        other => Sort::Unknown(text::sanitize(other, limits::QUOTED_CHARS)),
    }
}

impl InputRequired {
    fn read(result: &Object<'_>) -> Result<Self, &'static str> {
        let state = result.get("requestState");
        if state.is_some_and(|state| !state.starts_with('"')) {
            return Err("\"requestState\" is not a string");
        }
        let mut requests: Vec<(String, String)> = Vec::new();
        match result.get("inputRequests").map(Object::parse) {
            Some(Some(questions)) => {
                for (key, question) in questions.iter() {
                    Self::judge(question)?;
                    requests.retain(|(known, _)| *known != key);
                    requests.push((key, question.to_owned()));
                    if requests.len() > QUESTIONS {
                        return Err("too many questions at once");
                    }
                }
            }
            Some(None) => return Err("\"inputRequests\" is not an object"),
            None if state.is_none() => {
                return Err("neither \"inputRequests\" nor \"requestState\"");
            }
            None => {}
        }
        Ok(Self {
            requests,
            state: state.map(Secret::from),
        })
    }

    fn judge(question: &str) -> Result<(), &'static str> {
        let question = Object::parse(question).ok_or("a question is not an object")?;
        let method = question.get("method").unwrap_or_default();
        if method.starts_with('"') {
            Ok(())
        } else {
            Err("a question has no method")
        }
    }
}

/// A modern result for a legacy client: without `resultType`, `ttlMs`, `cacheScope` and reserved
/// `_meta` keys. What is no object stays as it is.
#[must_use]
pub fn to_legacy(result: &str) -> String {
    let Some(mut object) = Object::parse(result) else {
        return result.to_owned();
    };
    for name in ["resultType", "ttlMs", "cacheScope"] {
        object.remove(name);
    }
    meta::strip_reserved(&mut object);
    object.to_string()
}

/// A legacy result for a modern client: with `resultType`, the server's identity (raw JSON) in
/// `_meta`, and for methods whose results may be kept `ttlMs` 0 and `cacheScope` private. What a
/// legacy server says under these names means nothing. `null` and `[]`, which some servers write
/// for an empty result, become one; anything else that is no object stays as it is.
#[must_use]
pub fn to_modern(method: &str, result: &str, server_info: Option<&str>) -> String {
    let mut object = match Object::parse(result) {
        Some(object) => object,
        None if matches!(result, "null" | "[]") => Object::default(),
        None => return result.to_owned(),
    };
    object.set("resultType", r#""complete""#);
    if KEPT.contains(&method) {
        object.set("ttlMs", "0");
        object.set("cacheScope", r#""private""#);
    }
    name_server(&mut object, server_info);
    object.to_string()
}

/// An `input_required` result with these questions (key, question as raw JSON) and this state
/// (not yet JSON).
#[must_use]
pub fn input_required(
    requests: &[(String, String)],
    state: &str,
    server_info: Option<&str>,
) -> String {
    let mut questions = Object::default();
    for (key, question) in requests {
        questions.set(key, question.as_str());
    }
    let mut object = Object::default();
    object.set("resultType", r#""input_required""#);
    object.set("inputRequests", questions.to_string());
    object.set("requestState", json::quote(state));
    name_server(&mut object, server_info);
    object.to_string()
}

/// `ttlMs` and whether `cacheScope` is `public`, of a modern result. `None` without a usable
/// `ttlMs` above 0, and for a result that is not complete.
#[must_use]
pub fn freshness(result: &str) -> Option<(u64, bool)> {
    let result = Object::parse(result)?;
    let says = |name, value: &str| {
        let decoded = result.get(name).map(serde_json::from_str::<String>);
        matches!(decoded, Some(Ok(decoded)) if decoded == value)
    };
    if result.get("resultType").is_some() && !says("resultType", "complete") {
        return None;
    }
    let millis = millis(result.get("ttlMs")?).filter(|&millis| millis > 0)?;
    Some((millis, says("cacheScope", "public")))
}

/// A number of milliseconds, raw JSON. Below 0 counts as 0; fractions are dropped.
pub(super) fn millis(raw: &str) -> Option<u64> {
    if raw.starts_with('-') {
        return Some(0);
    }
    raw.parse().ok().or_else(|| {
        let seconds = raw.parse::<f64>().ok()? / 1000.0;
        let millis = Duration::try_from_secs_f64(seconds).ok()?.as_millis();
        u64::try_from(millis).ok()
    })
}

fn name_server(result: &mut Object<'_>, server_info: Option<&str>) {
    let Some(info) = server_info else { return };
    let mut meta = result
        .get("_meta")
        .and_then(Object::parse)
        .unwrap_or_default();
    meta.set(meta::SERVER_INFO, info);
    let meta = meta.to_string();
    result.set("_meta", meta);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(requests: &[(&str, &str)], state: Option<&str>) -> Sort {
        let owned = |&(key, question): &(&str, &str)| (key.to_owned(), question.to_owned());
        Sort::InputRequired(InputRequired {
            requests: requests.iter().map(owned).collect(),
            state: state.map(Secret::from),
        })
    }

    #[test]
    fn the_type_of_a_result_says_what_it_is() {
        let question = r#"{"method":"roots/list","x":1.0}"#;
        for (result, expected) in [
            (r#"{"content":[]}"#.to_owned(), Sort::Complete),
            (r#"{"resultType":"complete"}"#.into(), Sort::Complete),
            (r#"{"resultType":"task","taskId":"1"}"#.into(), Sort::Task),
            (
                r#"{"resultType":"x\u001b"}"#.into(),
                Sort::Unknown(r"x\u{1b}".into()),
            ),
            (
                r#"{"resultType":"input_required","requestState":"k9.\u005am9v"}"#.into(),
                asked(&[], Some(r#""k9.\u005am9v""#)),
            ),
            (
                format!(
                    r#"{{"resultType":"input_required","inputRequests":{{"b\n":{question},"a": {question}}}}}"#
                ),
                asked(&[("b\n", question), ("a", question)], None),
            ),
            (
                format!(
                    r#"{{"resultType":"input_required","inputRequests":{{"a":{{"method":"x"}},"a":{question}}},"requestState":""}}"#
                ),
                asked(&[("a", question)], Some(r#""""#)),
            ),
        ] {
            assert_eq!(sort(&result), expected, "{result}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_malformed() {
        for result in [
            "null",
            "[]",
            r#""complete""#,
            "{",
            r#"{"resultType":null}"#,
            r#"{"resultType":1}"#,
            r#"{"resultType":"input_required"}"#,
            r#"{"resultType":"input_required","requestState":7}"#,
            r#"{"resultType":"input_required","inputRequests":[]}"#,
            r#"{"resultType":"input_required","inputRequests":null,"requestState":"s"}"#,
            r#"{"resultType":"input_required","inputRequests":{"a":"roots/list"}}"#,
            r#"{"resultType":"input_required","inputRequests":{"a":{"params":{}}}}"#,
            r#"{"resultType":"input_required","inputRequests":{"a":{"method":7}}}"#,
        ] {
            assert!(matches!(sort(result), Sort::Malformed(_)), "{result}");
        }
    }

    #[test]
    fn there_are_not_more_questions_than_a_person_can_be_asked() {
        let with = |count: usize| {
            let questions: Vec<String> = (0..count)
                .map(|index| format!(r#""{index}":{{"method":"roots/list"}}"#))
                .collect();
            let questions = questions.join(",");
            sort(&format!(
                r#"{{"resultType":"input_required","inputRequests":{{{questions}}}}}"#
            ))
        };
        assert!(matches!(with(QUESTIONS), Sort::InputRequired(_)));
        assert!(matches!(with(QUESTIONS + 1), Sort::Malformed(_)));
    }

    #[test]
    fn t97_a_legacy_client_sees_nothing_that_only_modern_results_have() {
        for (result, expected) in [
            (
                concat!(
                    r#"{"resultType":"complete","tools":[{"ttlMs":1.0,"_meta":{"io.modelcontextprotocol/x":1}}],"#,
                    r#""ttlMs":60000,"cacheScope":"public","nextCursor":"c","#,
                    r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"n","version":"1"}}}"#,
                ),
                r#"{"tools":[{"ttlMs":1.0,"_meta":{"io.modelcontextprotocol/x":1}}],"nextCursor":"c"}"#,
            ),
            (
                r#"{"_meta":{"k":1,"io.modelcontextprotocol/serverInfo":{}},"content":[ ],"structuredContent":{"resultType":"x"}}"#,
                r#"{"_meta":{"k":1},"content":[ ],"structuredContent":{"resultType":"x"}}"#,
            ),
            (
                r#"{"content":[],"_meta":{}}"#,
                r#"{"content":[],"_meta":{}}"#,
            ),
            (r#""text""#, r#""text""#),
        ] {
            assert_eq!(to_legacy(result), expected);
        }
    }

    #[test]
    fn t134_a_legacy_result_becomes_a_complete_one_that_is_not_kept() {
        let info = r#"{"name":"n","version":"1"}"#;
        let meta = r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"n","version":"1"}}"#;
        for method in KEPT {
            assert_eq!(
                to_modern(method, r#"{"tools":[ ],"ttlMs":5}"#, Some(info)),
                format!(
                    r#"{{"tools":[ ],"ttlMs":0,"resultType":"complete","cacheScope":"private",{meta}}}"#
                )
            );
        }
        for (result, info, expected) in [
            (
                r#"{"resultType":"input_required","ttlMs":5}"#,
                Some(info),
                format!(r#"{{"resultType":"complete","ttlMs":5,{meta}}}"#),
            ),
            (
                r#"{"_meta":{"k":1},"content":[]}"#,
                Some("{}"),
                r#"{"_meta":{"k":1,"io.modelcontextprotocol/serverInfo":{}},"content":[],"resultType":"complete"}"#.into(),
            ),
            ("{}", None, r#"{"resultType":"complete"}"#.into()),
            ("[]", None, r#"{"resultType":"complete"}"#.into()),
            ("null", None, r#"{"resultType":"complete"}"#.into()),
            ("[1]", Some(info), "[1]".into()),
        ] {
            assert_eq!(to_modern("tools/call", result, info), expected, "{result}");
        }
    }

    #[test]
    fn questions_and_state_make_a_result_that_can_be_read_again() {
        let requests = [
            ("q1".to_owned(), r#"{"method":"roots/list"}"#.to_owned()),
            (
                "q\"2".to_owned(),
                r#"{"method":"elicitation/create","params":{ }}"#.to_owned(),
            ),
        ];
        let result = input_required(&requests, "mb1.f3", Some(r#"{"name":"n"}"#));
        assert_eq!(
            result,
            concat!(
                r#"{"resultType":"input_required","inputRequests":{"q1":{"method":"roots/list"},"#,
                r#""q\"2":{"method":"elicitation/create","params":{ }}},"requestState":"mb1.f3","#,
                r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"n"}}}"#,
            )
        );
        let expected = InputRequired {
            requests: requests.to_vec(),
            state: Some(r#""mb1.f3""#.into()),
        };
        assert_eq!(sort(&result), Sort::InputRequired(expected));
    }

    #[test]
    fn freshness_is_what_a_complete_result_promises() {
        for (members, expected) in [
            (
                r#""ttlMs":60000,"cacheScope":"public""#,
                Some((60_000, true)),
            ),
            (
                r#""ttlMs":60000,"cacheScope":"private""#,
                Some((60_000, false)),
            ),
            (r#""ttlMs":1"#, Some((1, false))),
            (r#""ttlMs":1500.0,"cacheScope":7"#, Some((1500, false))),
            (r#""ttlMs":1,"resultType":"complete""#, Some((1, false))),
            (r#""ttlMs":1,"resultType":"input_required""#, None),
            (r#""ttlMs":0,"cacheScope":"public""#, None),
            (r#""ttlMs":-1"#, None),
            (r#""ttlMs":"60000""#, None),
            (r#""ttlMs":null"#, None),
            (r#""ttlMs":1e300"#, None),
            (r#""cacheScope":"public""#, None),
        ] {
            assert_eq!(freshness(&format!("{{{members}}}")), expected, "{members}");
        }
        assert_eq!(freshness("[]"), None);
    }
}
