//! Reads the envelope of a JSON-RPC message and leaves the rest as it came.
//!
//! In: one message as text. Out: what its `params`, `result` or `error` mean; those stay raw
//! slices, so numbers, escapes, unknown members and member order survive.

use std::hash::{Hash, Hasher};
use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{json, limits, text};

/// One JSON-RPC message: its text and where its parts stand.
#[derive(Clone, Debug)]
pub struct Message {
    text: Bytes,
    kind: Kind,
    id: Option<Id>,
    id_span: Option<Range<usize>>,
    method: Option<Box<str>>,
    params: Option<Range<usize>>,
    result: Option<Range<usize>>,
    error: Option<Range<usize>>,
}

/// What a message is (JSON-RPC 2.0 §4, §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Has a method and an id.
    Request,
    /// Has a method and no id.
    Notification,
    /// Has a result or an error.
    Response,
}

/// A request id. Two ids are equal when their JSON values are: `1` equals `1.0` and differs from
/// `"1"`. The spelling is kept for writing it back.
#[derive(Clone, Debug)]
pub struct Id {
    canonical: Box<str>,
    token: Bytes,
}

/// What one piece of text turned out to be.
#[derive(Debug)]
pub enum Parsed {
    /// A single message.
    One(Message),
    /// A batch: its elements, unparsed.
    Batch(Vec<Bytes>),
}

/// Why a piece of text is not a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// Not UTF-8 or not JSON (JSON-RPC 2.0 error −32700); the reason.
    NotJson(String),
    /// JSON, but not a JSON-RPC message (−32600).
    NotRpc {
        /// The id, if there is one that may be answered.
        id: Option<Id>,
        /// What is wrong, for the error message.
        reason: &'static str,
    },
}

impl Message {
    /// Reads one message.
    ///
    /// # Errors
    ///
    /// [`Malformed::NotJson`] for anything but one complete JSON value in UTF-8,
    /// [`Malformed::NotRpc`] for JSON that is no JSON-RPC 2.0 message, is nested deeper than
    /// [`json::DEPTH_LIMIT`], or repeats a member of the envelope.
    pub fn parse(text: Bytes) -> Result<Self, Malformed> {
        let utf8 = std::str::from_utf8(&text).map_err(|error| {
            Malformed::NotJson(format!("invalid UTF-8 after byte {}", error.valid_up_to()))
        })?;
        let envelope: Envelope<'_> =
            serde_json::from_str(utf8).map_err(|error| malformed(utf8, &error))?;
        let span = |raw: Option<&RawValue>| raw.map(|raw| span_in(utf8, raw.get()));
        let id_span = span(envelope.id);
        let params = span(envelope.params);
        let result = span(envelope.result);
        let error = span(envelope.error);
        let id = match id_span.clone() {
            None => None,
            Some(range) => match Id::parse(text.slice(range)) {
                Ok(id) => Some(id),
                Err(IdFault::Null) if error.is_some() => None,
                Err(fault) => {
                    let reason = fault.reason();
                    return Err(Malformed::NotRpc {
                        id: fault.answerable(),
                        reason,
                    });
                }
            },
        };
        let invalid = |reason| Malformed::NotRpc {
            id: id.clone(),
            reason,
        };
        if envelope.jsonrpc.map(RawValue::get) != Some("\"2.0\"") {
            return Err(invalid("\"jsonrpc\" must be \"2.0\""));
        }
        let method = match envelope.method {
            None => None,
            Some(raw) => Some(
                serde_json::from_str::<Box<str>>(raw.get())
                    .map_err(|_| invalid("\"method\" must be a string"))?,
            ),
        };
        let kind = match (&method, &id, result.is_some() || error.is_some()) {
            (Some(_), Some(_), false) => Kind::Request,
            (Some(_), None, false) => Kind::Notification,
            (None, _, true) => Kind::Response,
            (Some(_), _, true) => return Err(invalid("both \"method\" and a result")),
            (None, _, false) => {
                return Err(invalid("neither \"method\" nor \"result\" nor \"error\""));
            }
        };
        // `"error":null` beside a result is common, and harmless.
        let speaks = |raw: Option<&RawValue>| raw.is_some_and(|raw| raw.get() != "null");
        if speaks(envelope.result) && speaks(envelope.error) {
            return Err(invalid("both \"result\" and \"error\""));
        }
        let error = error.filter(|_| !speaks(envelope.result));
        if json::depth_exceeds(&text, json::DEPTH_LIMIT) {
            return Err(invalid("nested too deeply"));
        }
        Ok(Self {
            text,
            kind,
            id,
            id_span,
            method,
            params,
            result,
            error,
        })
    }

    /// Reads one message or a batch of them.
    ///
    /// # Errors
    ///
    /// As [`Message::parse`]; a batch is only taken apart, its elements are not judged.
    pub fn parse_any(text: Bytes) -> Result<Parsed, Malformed> {
        let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
        if first != Some(&b'[') {
            return Self::parse(text).map(Parsed::One);
        }
        let utf8 = std::str::from_utf8(&text).map_err(|error| {
            Malformed::NotJson(format!("invalid UTF-8 after byte {}", error.valid_up_to()))
        })?;
        let elements: Vec<&RawValue> =
            serde_json::from_str(utf8).map_err(|error| Malformed::NotJson(error.to_string()))?;
        let slices = elements
            .iter()
            .map(|raw| text.slice(span_in(utf8, raw.get())));
        Ok(Parsed::Batch(slices.collect()))
    }

    /// What the message is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its id. `None` for a notification, and for an error response without an id or with `null`.
    #[must_use]
    pub fn id(&self) -> Option<&Id> {
        self.id.as_ref()
    }

    /// Its method; empty for a response.
    #[must_use]
    pub fn method(&self) -> &str {
        self.method.as_deref().unwrap_or_default()
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// `params` as raw JSON.
    #[must_use]
    pub fn params(&self) -> Option<&str> {
        self.raw(self.params.as_ref())
    }

    /// `result` as raw JSON.
    #[must_use]
    pub fn result(&self) -> Option<&str> {
        self.raw(self.result.as_ref())
    }

    /// `error` as raw JSON.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.raw(self.error.as_ref())
    }

    /// `error.code`, if this is an error response that has one.
    #[must_use]
    pub fn error_code(&self) -> Option<i64> {
        #[derive(Deserialize)]
        struct Code {
            code: i64,
        }
        serde_json::from_str::<Code>(self.error()?)
            .ok()
            .map(|error| error.code)
    }

    /// `error.message` for people: one line of at most [`limits::QUOTED_CHARS`], without control
    /// characters. Empty if there is none.
    #[must_use]
    pub fn error_text(&self) -> String {
        let message = self
            .error()
            .and_then(|error| member(error, "message"))
            .and_then(|raw| serde_json::from_str::<String>(raw).ok())
            .unwrap_or_default();
        text::sanitize(&message, limits::QUOTED_CHARS)
    }

    /// A member of `params`, decoded.
    #[must_use]
    pub fn param<T: for<'a> Deserialize<'a>>(&self, name: &str) -> Option<T> {
        member(self.params()?, name).and_then(|raw| serde_json::from_str(raw).ok())
    }

    /// The text with this id in place of its own; every other byte stays.
    #[must_use]
    pub fn with_id(&self, id: &Id) -> Bytes {
        match &self.id_span {
            Some(span) if self.text.get(span.clone()) == Some(&id.token[..]) => self.text.clone(),
            Some(span) => self.replace(span, &id.token),
            None => {
                let after_brace = self.text.iter().position(|&byte| byte == b'{').unwrap_or(0) + 1;
                let mut inserted = b"\"id\":".to_vec();
                inserted.extend_from_slice(&id.token);
                inserted.push(b',');
                self.replace(&(after_brace..after_brace), &inserted)
            }
        }
    }

    /// The text with another `result`; every other byte stays.
    #[must_use]
    pub fn with_result(&self, result: &str) -> Bytes {
        match &self.result {
            Some(span) => self.replace(span, result.as_bytes()),
            None => self.text.clone(),
        }
    }

    /// The text with one member of `params` replaced by other raw JSON; unchanged when there is no
    /// such member.
    #[must_use]
    pub fn with_param(&self, name: &str, value: &str) -> Bytes {
        let Some(raw) = self.params().and_then(|params| member(params, name)) else {
            return self.text.clone();
        };
        self.replace(&span_in_bytes(&self.text, raw), value.as_bytes())
    }

    /// The text with other `params` (raw JSON), added where there are none; every other byte stays.
    #[must_use]
    pub fn with_params(&self, params: &str) -> Bytes {
        if let Some(span) = &self.params {
            return self.replace(span, params.as_bytes());
        }
        let Some(end) = self.text.iter().rposition(|&byte| byte == b'}') else {
            return self.text.clone();
        };
        let added = format!(r#","params":{params}"#);
        self.replace(&(end..end), added.as_bytes())
    }

    /// The text with another `error` (raw JSON); every other byte stays.
    #[must_use]
    pub fn with_error(&self, error: &str) -> Bytes {
        match &self.error {
            Some(span) => self.replace(span, error.as_bytes()),
            None => self.text.clone(),
        }
    }

    fn raw(&self, span: Option<&Range<usize>>) -> Option<&str> {
        std::str::from_utf8(self.text.get(span?.clone())?).ok()
    }

    fn replace(&self, span: &Range<usize>, with: &[u8]) -> Bytes {
        let mut text = Vec::with_capacity(self.text.len() - span.len() + with.len());
        text.extend_from_slice(self.text.get(..span.start).unwrap_or_default());
        text.extend_from_slice(with);
        text.extend_from_slice(self.text.get(span.end..).unwrap_or_default());
        text.into()
    }
}

impl Id {
    /// An id made by the bridge: a JSON string.
    #[must_use]
    pub fn text(text: &str) -> Self {
        let token = json::quote(text);
        Self {
            canonical: token.clone().into_boxed_str(),
            token: token.into(),
        }
    }

    /// The id as it was spelled, raw JSON.
    #[must_use]
    pub fn token(&self) -> &str {
        std::str::from_utf8(&self.token).unwrap_or_default()
    }

    /// The same id without the message around it: an id that is read from a message keeps all of it
    /// in memory.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self {
            canonical: self.canonical.clone(),
            token: Bytes::copy_from_slice(&self.token),
        }
    }

    /// Reads an id from raw JSON, such as `params.requestId`.
    #[must_use]
    pub fn from_raw(raw: &str) -> Option<Self> {
        Self::parse(Bytes::copy_from_slice(raw.as_bytes())).ok()
    }

    /// Whether the two are the same value spelled once as a number and once as a string.
    #[must_use]
    pub fn resembles(&self, other: &Self) -> bool {
        self.canonical.trim_matches('"') == other.canonical.trim_matches('"')
    }

    fn parse(token: Bytes) -> Result<Self, IdFault> {
        let text = std::str::from_utf8(&token).unwrap_or_default();
        let canonical = match text.as_bytes().first() {
            Some(b'"') => canonical_string(text),
            Some(b'-' | b'0'..=b'9') => canonical_number(text).ok_or_else(|| {
                IdFault::Fraction(Self {
                    canonical: text.into(),
                    token: token.clone(),
                })
            })?,
            Some(b'n') => return Err(IdFault::Null),
            _ => return Err(IdFault::Type),
        };
        Ok(Self { canonical, token })
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for Id {}

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
    }
}

/// The raw JSON of one member of a JSON object; `None` if it is no object or has no such member.
#[must_use]
pub fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    struct Find<'n>(&'n str);
    impl<'de> serde::de::Visitor<'de> for Find<'_> {
        type Value = Option<&'de str>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut map: A,
        ) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                if key == self.0 {
                    found = Some(map.next_value::<&'de RawValue>()?.get());
                } else {
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }
    let mut reader = serde_json::Deserializer::from_str(object);
    reader.deserialize_map(Find(name)).ok().flatten()
}

/// Looks for an id in the first bytes of a message that cannot be read as a whole.
#[must_use]
pub fn salvage_id(head: &[u8]) -> Option<Id> {
    let mut depth = 0_usize;
    let mut rest = head;
    while let Some((&byte, tail)) = rest.split_first() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let end = string_end(tail)?;
                let (string, after) = tail.split_at(end);
                rest = after.get(1..)?;
                let value = rest.trim_ascii_start();
                if depth == 1 && string == b"id" && value.first() == Some(&b':') {
                    return id_at(value.get(1..)?.trim_ascii_start());
                }
                continue;
            }
            _ => {}
        }
        rest = tail;
    }
    None
}

fn id_at(value: &[u8]) -> Option<Id> {
    let end = match value.first()? {
        b'"' => string_end(value.get(1..)?)? + 2,
        _ => value
            .iter()
            .position(|byte| !matches!(byte, b'-' | b'0'..=b'9'))?,
    };
    Id::parse(Bytes::copy_from_slice(value.get(..end)?)).ok()
}

fn string_end(after_quote: &[u8]) -> Option<usize> {
    let mut escaped = false;
    after_quote.iter().position(|&byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// Unlike a plain `Option`, keeps a `null` that is there apart from a member that is not.
fn present<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(reader).map(Some)
}

enum IdFault {
    Null,
    Fraction(Id),
    Type,
}

impl IdFault {
    fn answerable(self) -> Option<Id> {
        match self {
            Self::Fraction(id) => Some(id),
            Self::Null | Self::Type => None,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Null => "a request id must not be null",
            Self::Fraction(_) => "a numeric id must be an integer",
            Self::Type => "an id must be a string or an integer",
        }
    }
}

fn malformed(text: &str, error: &serde_json::Error) -> Malformed {
    if error.is_data() && serde_json::from_str::<&RawValue>(text).is_ok() {
        let reason = if text.trim_start().starts_with('{') {
            "a member of the message stands twice"
        } else {
            "a message must be a JSON object"
        };
        return Malformed::NotRpc { id: None, reason };
    }
    Malformed::NotJson(error.to_string())
}

fn canonical_string(token: &str) -> Box<str> {
    if !token.contains('\\') {
        return token.into();
    }
    match serde_json::from_str::<String>(token) {
        Ok(decoded) => json::quote(&decoded).into_boxed_str(),
        // A lone surrogate has no decoded form: the spelling stands for itself.
        Err(_) => token.into(),
    }
}

/// Every integer up to here has a floating-point number of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Integers keep all their digits; `1.0` and `1e0` are `1`. `None` for a fraction.
fn canonical_number(token: &str) -> Option<Box<str>> {
    if token
        .bytes()
        .all(|byte| byte == b'-' || byte.is_ascii_digit())
    {
        return Some(if token == "-0" { "0" } else { token }.into());
    }
    let value: f64 = token.parse().ok()?;
    (value.fract() == 0.0 && value.abs() <= EXACT).then(|| format!("{value:.0}").into_boxed_str())
}

fn span_in(whole: &str, part: &str) -> Range<usize> {
    span_in_bytes(whole.as_bytes(), part)
}

fn span_in_bytes(whole: &[u8], part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Message {
        Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    fn fault(text: &str) -> Malformed {
        Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap_err()
    }

    #[test]
    fn a_detached_id_lets_its_message_go() {
        let text = Bytes::from(br#"{"jsonrpc":"2.0","id":1.0,"method":"m"}"#.to_vec());
        let message = Message::parse(text.clone()).unwrap();
        let kept = message.id().unwrap().clone();
        let detached = kept.detached();
        assert_eq!((detached.token(), &detached), ("1.0", &kept));
        drop((message, kept));
        assert!(text.is_unique());
    }

    #[test]
    fn kinds_are_told_apart() {
        assert_eq!(
            parse(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).kind(),
            Kind::Request
        );
        assert_eq!(
            parse(r#"{"jsonrpc":"2.0","method":"x"}"#).kind(),
            Kind::Notification
        );
        assert_eq!(
            parse(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).kind(),
            Kind::Response
        );
        assert_eq!(
            parse(r#"{"jsonrpc":"2.0","id":1,"result":null}"#).kind(),
            Kind::Response
        );
        let refused = parse(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-5,"message":"no"}}"#);
        assert_eq!(
            (refused.kind(), refused.id(), refused.error_code()),
            (Kind::Response, None, Some(-5))
        );
    }

    #[test]
    fn a_response_is_a_result_or_an_error() {
        let both = r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"m"}}"#;
        assert!(matches!(fault(both), Malformed::NotRpc { .. }));
        let empty = parse(r#"{"jsonrpc":"2.0","id":1,"result":{},"error":null}"#);
        assert_eq!(empty.kind(), Kind::Response);
    }

    #[test]
    fn t06_parts_stay_raw() {
        let text = "{\"jsonrpc\":\"2.0\",\"id\": 12345678901234567890 ,\"result\":{\"n\":1.0e2,\"s\":\"\\ud800\\u2028\"}}";
        let message = parse(text);
        assert_eq!(message.result(), Some(r#"{"n":1.0e2,"s":"\ud800\u2028"}"#));
        assert_eq!(message.id().unwrap().token(), "12345678901234567890");
        assert_eq!(message.text(), text);
    }

    #[test]
    fn ids_compare_by_value_and_keep_their_spelling() {
        let id = |raw: &str| Id::from_raw(raw).unwrap();
        assert_eq!(id("1"), id("1.0"));
        assert_eq!(id("1000"), id("1e3"));
        assert_eq!(id("-0"), id("0"));
        assert_eq!(id(r#""a""#), id(r#""\u0061""#));
        assert_ne!(id("1"), id(r#""1""#));
        assert_ne!(id("9007199254740993"), id("9007199254740992"));
        assert!(id("1").resembles(&id(r#""1""#)));
        assert_eq!(id(r#""\u0061""#).token(), r#""\u0061""#);
    }

    #[test]
    fn t12_ids_of_other_kinds_are_refused() {
        for (raw, answerable) in [
            ("1.5", true),
            ("null", false),
            ("{}", false),
            ("[1]", false),
            ("true", false),
        ] {
            match fault(&format!(r#"{{"jsonrpc":"2.0","id":{raw},"method":"x"}}"#)) {
                Malformed::NotRpc { id, .. } => assert_eq!(id.is_some(), answerable, "{raw}"),
                other @ Malformed::NotJson(_) => panic!("{raw}: {other:?}"),
            }
        }
    }

    #[test]
    fn t11_what_is_no_message_is_named() {
        for text in [
            r#"{"jsonrpc":"2.0","id":5}"#,
            r#"{"id":5,"method":"x"}"#,
            r#"{"jsonrpc":"1.0","id":5,"method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":5,"method":7}"#,
            r#"{"jsonrpc":"2.0","id":5,"method":"x","result":{}}"#,
        ] {
            assert!(
                matches!(fault(text), Malformed::NotRpc { id: Some(ref id), .. } if id.token() == "5"),
                "{text}"
            );
        }
        assert!(matches!(fault("7"), Malformed::NotRpc { id: None, .. }));
        assert!(matches!(
            fault(r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}"#),
            Malformed::NotRpc { id: None, .. }
        ));
        for text in ["{not json", "", r#"{"jsonrpc":"2.0"} {"#, "\u{1}"] {
            assert!(matches!(fault(text), Malformed::NotJson(_)), "{text}");
        }
        let nested = format!(
            r#"{{"jsonrpc":"2.0","id":5,"method":"x","params":{}{}}}"#,
            "[".repeat(600),
            "]".repeat(600)
        );
        assert!(matches!(
            fault(&nested),
            Malformed::NotRpc { id: Some(_), .. }
        ));
    }

    #[test]
    fn g11_bytes_that_are_not_utf8_are_refused() {
        let text = b"{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"\xff\xfe\"}";
        assert!(matches!(
            Message::parse(Bytes::from_static(text)).unwrap_err(),
            Malformed::NotJson(_)
        ));
        assert_eq!(salvage_id(text).unwrap().token(), "4");
    }

    #[test]
    fn an_id_is_replaced_or_added_and_nothing_else() {
        let id = Id::text("mb-1");
        let message = parse(r#"{ "jsonrpc" : "2.0", "id" : 7, "result" : { "id" : 7 } }"#);
        assert_eq!(
            message.with_id(&id),
            r#"{ "jsonrpc" : "2.0", "id" : "mb-1", "result" : { "id" : 7 } }"#
        );
        let message = parse(r#"{"jsonrpc":"2.0","error":{"code":1,"message":"m"},"x":0}"#);
        assert_eq!(
            message.with_id(&id),
            r#"{"id":"mb-1","jsonrpc":"2.0","error":{"code":1,"message":"m"},"x":0}"#
        );
    }

    #[test]
    fn the_same_id_costs_no_copy() {
        let message = parse(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#);
        let out = message.with_id(&Id::from_raw("7").unwrap());
        assert_eq!(out.as_ptr(), message.text().as_ptr());
    }

    #[test]
    fn members_are_found_at_the_top_only() {
        let object = r#"{"a":{"b":1},"b": "x\"y" ,"c":[1, 2]}"#;
        assert_eq!(member(object, "b"), Some(r#""x\"y""#));
        assert_eq!(member(object, "c"), Some("[1, 2]"));
        assert_eq!(member(object, "d"), None);
        assert_eq!(member("[1]", "a"), None);
    }

    #[test]
    fn params_are_edited_in_place() {
        let message =
            parse(r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"v":"old","w":1.0}}"#);
        assert_eq!(
            message.with_param("v", r#""new""#),
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"v":"new","w":1.0}}"#
        );
        assert_eq!(message.with_param("x", "1"), *message.text());
    }

    #[test]
    fn t08_an_id_is_found_in_a_broken_head() {
        let id = |text: &str| salvage_id(text.as_bytes()).map(|id| id.token().to_owned());
        assert_eq!(
            id(r#"{"jsonrpc":"2.0","id":9,"params":{"x":"aaaa"#),
            Some("9".into())
        );
        assert_eq!(
            id(r#"{"params":{"id":1},"x":"\"id\":2","id" : "k","y"#),
            Some(r#""k""#.into())
        );
        assert_eq!(id(r#"{"params":{"id":1"#), None);
        assert_eq!(id("nonsense"), None);
    }

    #[test]
    fn batches_come_apart() {
        let text = Bytes::from_static(br#" [{"a":1}, 2 ,"x"] "#);
        match Message::parse_any(text).unwrap() {
            Parsed::Batch(elements) => assert_eq!(elements, ["{\"a\":1}", "2", "\"x\""]),
            Parsed::One(_) => panic!("a batch"),
        }
    }
}
