//! JSON answers of authorization servers, read with the tolerance that real servers need: numbers
//! as text, scopes as lists, `null` for nothing.
//!
//! In: one member at a time. Out: what the members mean (`token`, `client`, `device`,
//! `enterprise`).

use serde_json::{Map, Value};
use url::form_urlencoded;

use super::limits;
use crate::proto::text::{excerpt, sanitize};

/// Longest `error` code that is kept, in characters.
const CODE_CHARS: usize = 64;

/// The members of an answer.
pub(super) type Members = Map<String, Value>;

/// The name of a member that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unusable(pub(super) &'static str);

/// What a server says about a request it refused (RFC 6749 §5.2), fit for a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refused {
    /// `error`.
    pub(super) code: Option<String>,
    /// `error_description`.
    pub(super) description: Option<String>,
}

impl Refused {
    /// ` (invalid_grant: too old)`, or nothing.
    pub(super) fn in_brackets(&self) -> String {
        match (&self.code, &self.description) {
            (Some(code), Some(description)) => format!(" ({code}: {description})"),
            (Some(text), None) | (None, Some(text)) => format!(" ({text})"),
            (None, None) => String::new(),
        }
    }
}

/// Whether the status says that the body is what was asked for (RFC 6749 §5.1, RFC 7591 §3.2.1).
pub(super) fn is_success(status: u16) -> bool {
    matches!(status, 200 | 201)
}

/// The members of a JSON object; `None` for anything else and above the limit on a body.
pub(super) fn object(body: &[u8]) -> Option<Members> {
    if body.len() > limits::BODY {
        return None;
    }
    serde_json::from_slice(body).ok()
}

/// The members of a form, each as text; the first of a name counts.
pub(super) fn form(body: &[u8]) -> Option<Members> {
    if body.len() > limits::BODY {
        return None;
    }
    let mut members = Members::new();
    for (name, value) in form_urlencoded::parse(body) {
        members
            .entry(name)
            .or_insert_with(|| Value::from(value.into_owned()));
    }
    Some(members)
}

/// `error` and `error_description`; `None` if there is no error.
pub(super) fn refused(members: &Members) -> Option<Refused> {
    let shown = |name| match members.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text.as_str()),
        _ => None,
    };
    let is_error = match members.get("error") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(code)) => !code.is_empty(),
        Some(_) => true,
    };
    is_error.then(|| Refused {
        code: shown("error").map(|code| sanitize(code, CODE_CHARS)),
        description: shown("error_description").map(|text| excerpt(text.as_bytes())),
    })
}

/// What a refusal without an error code says, fit for a terminal: `detail` or `message`, as web
/// frameworks call it, by itself or inside of `error`.
pub(super) fn plain_words(members: &Members) -> Option<String> {
    let inner = members.get("error").and_then(Value::as_object);
    let members = inner.unwrap_or(members);
    let words = ["detail", "message"].map(|name| members.get(name).and_then(Value::as_str));
    let words = words.into_iter().flatten().find(|text| !text.is_empty());
    words.map(|text| excerpt(text.as_bytes()))
}

/// Whether the answer brings what was asked for, which has to stay byte for byte as it is. Of any
/// other one, only the words are of use.
#[must_use]
pub(crate) fn is_granted(status: u16, body: &[u8]) -> bool {
    let members = || object(body).or_else(|| form(body));
    is_success(status) && members().is_none_or(|members| refused(&members).is_none())
}

/// Takes a text out; `null` and the empty text count as absent.
pub(super) fn text(members: &mut Members, name: &'static str) -> Result<Option<String>, Unusable> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok((!text.is_empty()).then_some(text)),
        Some(_) => Err(Unusable(name)),
    }
}

/// A number of seconds, rounded down: a number, or a number as text. A negative one is zero.
pub(super) fn seconds(members: &Members, name: &'static str) -> Result<Option<u64>, Unusable> {
    let number = match members.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(Value::String(text)) => text.trim().parse::<serde_json::Number>().ok(),
        Some(Value::Number(number)) => Some(number.clone()),
        Some(_) => None,
    };
    let number = number.ok_or(Unusable(name))?;
    if let Some(whole) = number.as_u64() {
        return Ok(Some(whole));
    }
    let fraction = number.as_f64().ok_or(Unusable(name))?;
    let whole = std::time::Duration::try_from_secs_f64(fraction.max(0.0));
    Ok(Some(whole.map_or(u64::MAX, |it| it.as_secs())))
}

/// A list of words: one text, or a list of texts, joined by spaces. Without words it counts as
/// absent.
pub(super) fn words(members: &Members, name: &'static str) -> Result<Option<String>, Unusable> {
    let text = match members.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(list)) => list
            .iter()
            .map(Value::as_str)
            .collect::<Option<Vec<_>>>()
            .ok_or(Unusable(name))?
            .join(" "),
        Some(_) => return Err(Unusable(name)),
    };
    Ok((!text.trim().is_empty()).then_some(text))
}

/// Whether every byte is visible ASCII, as a header value needs, and there are not too many.
pub(super) fn is_visible(text: &str) -> bool {
    (1..=limits::TOKEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether every byte is printable ASCII (`VSCHAR` of RFC 6749, appendix A), and there are not too
/// many.
pub(super) fn is_printable(text: &str) -> bool {
    (1..=limits::TOKEN).contains(&text.len())
        && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn members(value: Value) -> Members {
        match value {
            Value::Object(members) => members,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn seconds_come_as_numbers_and_as_text() {
        let cases = [
            (json!(3600), Ok(Some(3600))),
            (json!("3600"), Ok(Some(3600))),
            (json!(" 60 "), Ok(Some(60))),
            (json!(59.9), Ok(Some(59))),
            (json!(-5), Ok(Some(0))),
            (json!("-5"), Ok(Some(0))),
            (json!(1e300), Ok(Some(u64::MAX))),
            (json!(null), Ok(None)),
            (json!(""), Ok(None)),
            (json!("soon"), Err(Unusable("n"))),
            (json!([1]), Err(Unusable("n"))),
            (json!(true), Err(Unusable("n"))),
        ];
        for (value, expected) in cases {
            assert_eq!(seconds(&members(json!({"n": value})), "n"), expected);
        }
        assert_eq!(seconds(&Members::new(), "n"), Ok(None));
    }

    #[test]
    fn words_come_as_text_and_as_a_list() {
        let cases = [
            (json!("a b"), Ok(Some("a b".to_owned()))),
            (json!(["a", "b"]), Ok(Some("a b".to_owned()))),
            (json!([]), Ok(None)),
            (json!(" "), Ok(None)),
            (json!(null), Ok(None)),
            (json!(["a", 1]), Err(Unusable("n"))),
            (json!({}), Err(Unusable("n"))),
        ];
        for (value, expected) in cases {
            assert_eq!(words(&members(json!({"n": value})), "n"), expected);
        }
    }

    #[test]
    fn an_error_is_made_fit_for_a_terminal() {
        let hostile = json!({"error": "a\u{1b}[2J", "error_description": "b\r\n\u{202e}c"});
        let refused = refused(&members(hostile)).unwrap();
        assert_eq!(refused.in_brackets(), r" (a\u{1b}[2J: b \u{202e}c)");
        let long = json!({"error": "x".repeat(500), "error_description": "y".repeat(5000)});
        let refused = super::refused(&members(long)).unwrap();
        assert!(refused.in_brackets().chars().count() < 400);
    }

    #[test]
    fn what_is_no_error_is_none() {
        for value in [json!({}), json!({"error": null}), json!({"error": ""})] {
            assert_eq!(refused(&members(value)), None);
        }
        let odd = refused(&members(json!({"error": {"code": 1}})));
        assert_eq!(odd, Some(Refused::default()));
    }

    #[test]
    fn g01_a_body_above_the_limit_is_not_read() {
        let mut body = br#"{"a":""#.to_vec();
        body.resize(limits::BODY, b'x');
        body.extend_from_slice(br#""}"#);
        assert_eq!(object(&body), None);
        assert_eq!(form(&body), None);
        assert_eq!(object("[".repeat(100_000).as_bytes()), None);
    }
}
