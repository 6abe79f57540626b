//! HTTP header fields: their names, how values are encoded, and which the user may set.
//!
//! In: MCP's own fields, mirrored values, the session id's form, the user's own headers. Out:
//! which request carries which field, and to which origin the user's headers go.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use super::secret::mask;

/// `Mcp-Session-Id` (MCP 2025-11-25, Transports, Session Management).
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// `MCP-Protocol-Version` (MCP 2025-11-25, Transports, Protocol Version Header).
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// `Last-Event-ID` (WHATWG HTML "Server-sent events").
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// `Mcp-Method` (MCP 2026-07-28, Streamable HTTP, Standard Request Headers).
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");

/// `Mcp-Name` (MCP 2026-07-28, Streamable HTTP, Standard Request Headers).
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// Fields that the user's own headers never set, in lower case: the protocol's, and those that
/// frame the message (RFC 9110 §7.6.1, RFC 9112 §6). So is all of `mcp-param-*`,
/// see [`is_reserved`].
pub const RESERVED: &[&str] = &[
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Longest session id, in bytes.
pub const SESSION_ID_LIMIT: usize = 1 << 10;

/// Longest mirrored value, in bytes as sent; a longer one is left out, since servers commonly
/// refuse a header line of 8 KiB and with it the whole request.
pub const MIRROR_LIMIT: usize = 4 << 10;

/// Writes a text as a field value (MCP 2026-07-28, Streamable HTTP, Value Encoding).
///
/// Visible ASCII with spaces inside stays as it is; everything else, the empty text, and what
/// looks encoded already become `=?base64?…?=`.
#[must_use]
pub fn encode_value(text: &str) -> HeaderValue {
    let visible = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let padded = text.starts_with(' ') || text.ends_with(' ');
    let looks_encoded = text.starts_with("=?base64?") && text.ends_with("?=");
    let value = if visible && !padded && !looks_encoded {
        HeaderValue::from_str(text)
    } else {
        HeaderValue::from_str(&format!("=?base64?{}?=", STANDARD.encode(text)))
    };
    // Both are visible ASCII, which every field value may be.
    value.unwrap_or_else(|_| HeaderValue::from_static("=?base64??="))
}

/// Adds the fields that mirror a message: `Mcp-Method`, and `Mcp-Name` for the methods that name
/// a tool, a prompt, a resource, or a task of the extension (SEP-2663). `params` is raw JSON text. A response has no method (an empty
/// one here) and mirrors nothing.
///
/// A name that is missing, empty, not a string or given twice adds none, nor does one over
/// [`MIRROR_LIMIT`].
pub fn mirrored(method: &str, params: Option<&str>, out: &mut Vec<(HeaderName, HeaderValue)>) {
    let mut add = |name: HeaderName, text: &str| {
        let value = encode_value(text);
        if value.len() <= MIRROR_LIMIT {
            out.push((name, value));
        }
    };
    if !method.is_empty() && method.len() <= MIRROR_LIMIT {
        add(METHOD, method);
    }
    let named = match method {
        "tools/call" | "prompts/get" => params.and_then(|params| {
            serde_json::from_str::<Named<'_>>(params)
                .ok()
                .map(|params| params.name)
        }),
        "tasks/get" | "tasks/update" | "tasks/cancel" => params.and_then(|params| {
            serde_json::from_str::<Tasked<'_>>(params)
                .ok()
                .map(|params| params.task_id)
        }),
        "resources/read" => params.and_then(|params| {
            serde_json::from_str::<Located<'_>>(params)
                .ok()
                .map(|params| params.uri)
        }),
        _ => None,
    };
    if let Some(name) = named.filter(|name| !name.is_empty() && name.len() <= MIRROR_LIMIT) {
        add(NAME, &name);
    }
}

/// The session id in a field value, marked sensitive. `None` if it is not one: only visible ASCII
/// (0x21 to 0x7E), at most [`SESSION_ID_LIMIT`] bytes.
#[must_use]
pub fn session_id(value: &HeaderValue) -> Option<HeaderValue> {
    let bytes = value.as_bytes();
    let valid = !bytes.is_empty()
        && bytes.len() <= SESSION_ID_LIMIT
        && bytes.iter().all(u8::is_ascii_graphic);
    valid.then(|| {
        let mut id = value.clone();
        id.set_sensitive(true);
        id
    })
}

/// A header that HTTP cannot carry. The messages hold no value, and no name that is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeader {
    /// Not a field name (RFC 9110 §5.1).
    #[error(
        "a header has no valid name before its colon; write it as 'Name: value', the name of letters, digits and dashes"
    )]
    Name,
    /// The value holds a line break or another control character.
    #[error(
        "the value of header {0} holds a line break or another control character; remove it from where the value comes from"
    )]
    Value(HeaderName),
    /// The value holds a character above U+00FF, which no single byte stands for.
    #[error(
        "the value of header {0} holds a character above U+00FF, which HTTP cannot carry; write it in another way, as the server's documentation says"
    )]
    Wide(HeaderName),
}

/// The headers that the user gave, one per name.
#[derive(Clone, Default)]
pub struct UserHeaders {
    list: Vec<(HeaderName, HeaderValue)>,
}

impl UserHeaders {
    /// Adds a header, or replaces the one of that name. Names compare without case; white space
    /// around name and value does not count; U+0080 to U+00FF go out as one byte each (ISO 8859-1,
    /// as the Fetch standard's byte strings do).
    ///
    /// # Errors
    ///
    /// [`InvalidHeader`] if HTTP cannot carry it.
    pub fn insert(&mut self, name: &str, value: &str) -> Result<(), InvalidHeader> {
        let name = HeaderName::from_bytes(name.trim_ascii().as_bytes())
            .map_err(|_| InvalidHeader::Name)?;
        let bytes: Vec<u8> = value
            .trim_ascii()
            .chars()
            .map(|character| u8::try_from(character).ok())
            .collect::<Option<_>>()
            .ok_or_else(|| InvalidHeader::Wide(name.clone()))?;
        let mut value =
            HeaderValue::from_bytes(&bytes).map_err(|_| InvalidHeader::Value(name.clone()))?;
        value.set_sensitive(true);
        match self.list.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.list.push((name, value)),
        }
        Ok(())
    }

    /// Puts the headers into a request, in place of fields of the same name, except the
    /// [`RESERVED`] ones.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in self.list.iter().filter(|(name, _)| !is_reserved(name)) {
            headers.insert(name.clone(), value.clone());
        }
    }

    /// Adds every name and value, in the order of the names: for a fingerprint.
    pub fn describe_into(&self, text: &mut String) {
        let mut list: Vec<_> = self.list.iter().collect();
        list.sort_by(|one, other| one.0.as_str().cmp(other.0.as_str()));
        for (name, value) in list {
            text.push('\n');
            text.push_str(name.as_str());
            text.push(':');
            text.push_str(&String::from_utf8_lossy(value.as_bytes()));
        }
    }

    /// Whether the user brings the authorization along.
    #[must_use]
    pub fn has_authorization(&self) -> bool {
        self.list.iter().any(|(name, _)| *name == AUTHORIZATION)
    }

    /// A text in which every value of these headers that stands in it is replaced by `[hidden]`:
    /// servers and gateways quote requests in their errors. `None` if there is none. Values of
    /// fewer than [`super::secret::MASKED_BYTES`] bytes are left, for they stand in texts by chance.
    #[must_use]
    pub fn hide_values(&self, text: &[u8]) -> Option<Bytes> {
        let values = self.list.iter();
        mask(
            text,
            values.flat_map(|(_, value)| secrets(value.as_bytes())),
        )
    }
}

/// The value, and what follows its scheme (`Bearer TOKEN`, RFC 9110 §11.6.2).
fn secrets(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let after_scheme = memchr::memchr(b' ', value).and_then(|space| value.get(space + 1..));
    [Some(value), after_scheme].into_iter().flatten()
}

/// Prints the names alone.
impl fmt::Debug for UserHeaders {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set()
            .entries(self.list.iter().map(|(name, _)| name))
            .finish()
    }
}

/// Whether a name is one of [`RESERVED`] or begins with `mcp-param-`.
#[must_use]
pub fn is_reserved(name: &HeaderName) -> bool {
    RESERVED.contains(&name.as_str()) || name.as_str().starts_with("mcp-param-")
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Tasked<'a> {
    #[serde(borrow, rename = "taskId")]
    task_id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Located<'a> {
    #[serde(borrow)]
    uri: Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, COOKIE, USER_AGENT};
    use proptest::prelude::*;

    use super::*;

    fn mirror(method: &str, params: &str) -> Vec<(String, String)> {
        let mut out = Vec::new();
        mirrored(method, Some(params), &mut out);
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        out.iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect()
    }

    fn mirrored_name(method: &str, params: &str) -> Option<String> {
        mirror(method, params)
            .into_iter()
            .find(|(name, _)| name == "mcp-name")
            .map(|pair| pair.1)
    }

    #[test]
    fn a_response_mirrors_nothing() {
        let mut fields = Vec::new();
        mirrored("", None, &mut fields);
        assert_eq!(fields, []);
    }

    #[test]
    fn t125_a_task_is_mirrored_by_its_id() {
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            let name = mirrored_name(method, r#"{"taskId":"t 1","name":"x"}"#);
            assert_eq!(name.as_deref(), Some("t 1"), "{method}");
        }
        assert_eq!(mirrored_name("tasks/list", r#"{"taskId":"t"}"#), None);
    }

    #[test]
    fn f22_values_are_hidden_wherever_they_are_quoted() {
        let mut headers = UserHeaders::default();
        headers
            .insert("Authorization", "Bearer canary-token")
            .unwrap();
        headers.insert("X-Short", "abc").unwrap();
        let quoted = b"got Bearer canary-token, and canary-token again, abc";
        assert_eq!(
            headers.hide_values(quoted).unwrap(),
            &b"got [hidden], and [hidden] again, abc"[..]
        );
        assert_eq!(headers.hide_values(b"nothing here"), None);
        assert_eq!(UserHeaders::default().hide_values(quoted), None);
    }

    #[test]
    fn g19_values_are_encoded() {
        let cases = [
            (" delete", "=?base64?IGRlbGV0ZQ==?="),
            ("naïve p", "=?base64?bmHDr3ZlIHA=?="),
            ("suche-geräte", "=?base64?c3VjaGUtZ2Vyw6R0ZQ==?="),
            ("file:///a b", "file:///a b"),
            ("a ", "=?base64?YSA=?="),
            ("a\tb", "=?base64?YQli?="),
            (
                "a\r\nAuthorization: x",
                "=?base64?YQ0KQXV0aG9yaXphdGlvbjogeA==?=",
            ),
            ("", "=?base64??="),
            ("=?base64?x?=", "=?base64?PT9iYXNlNjQ/eD89?="),
            ("=?BASE64?x?=", "=?BASE64?x?="),
            ("=?base64?x", "=?base64?x"),
            ("\u{7f}", "=?base64?fw==?="),
        ];
        for (text, expected) in cases {
            assert_eq!(encode_value(text), expected, "{text:?}");
        }
    }

    #[test]
    fn messages_are_mirrored() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            mirror(
                "tools/call",
                r#"{"arguments":{"name":"x"},"name":"\u0061dd"}"#
            ),
            [pair("mcp-method", "tools/call"), pair("mcp-name", "add")]
        );
        assert_eq!(
            mirrored_name("prompts/get", r#"{"name":"p"}"#).as_deref(),
            Some("p")
        );
        assert_eq!(
            mirrored_name("resources/read", r#"{"uri":"file:///a b","name":"n"}"#).as_deref(),
            Some("file:///a b")
        );
        assert_eq!(
            mirror("tools/list", r#"{"name":"x"}"#),
            [pair("mcp-method", "tools/list")]
        );
        let mut out = Vec::new();
        mirrored("ping", None, &mut out);
        assert_eq!(out, [(METHOD, HeaderValue::from_static("ping"))]);
    }

    #[test]
    fn what_is_no_name_is_not_mirrored() {
        for params in [
            r#"{"name":""}"#,
            r#"{"name":1}"#,
            r#"{"name":"a","name":"b"}"#,
            "{}",
            "[]",
            "",
            "{",
        ] {
            assert_eq!(mirrored_name("tools/call", params), None, "{params}");
        }
        let fits = format!(r#"{{"name":"{}"}}"#, "x".repeat(MIRROR_LIMIT));
        let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(MIRROR_LIMIT + 1));
        let grows = format!(r#"{{"name":"{}"}}"#, "ä".repeat(MIRROR_LIMIT / 2));
        assert!(mirrored_name("tools/call", &fits).is_some());
        assert_eq!(mirrored_name("tools/call", &long), None);
        assert_eq!(mirrored_name("tools/call", &grows), None);
        assert_eq!(mirror(&"m".repeat(MIRROR_LIMIT + 1), "{}"), []);
    }

    #[test]
    fn g18_session_ids_are_visible_ascii() {
        let id = |bytes: &[u8]| session_id(&HeaderValue::from_bytes(bytes).unwrap());
        let valid = id(b"!a-1~").unwrap();
        assert!(valid == "!a-1~" && valid.is_sensitive());
        assert!(id(&[b'x'; SESSION_ID_LIMIT]).is_some());
        for bad in [
            b"".as_slice(),
            b"a b",
            b"a\tb",
            "ä".as_bytes(),
            &[b'x'; SESSION_ID_LIMIT + 1],
        ] {
            assert_eq!(id(bad), None);
        }
    }

    #[test]
    fn the_last_header_of_a_name_wins() {
        let mut user = UserHeaders::default();
        user.insert("X-Key", "1").unwrap();
        user.insert(" authorization ", " Bearer a ").unwrap();
        user.insert("x-KEY", "ä").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static("mcp-bridge"));
        headers.insert(COOKIE, HeaderValue::from_static("a=1"));
        user.insert("cookie", "b=2").unwrap();
        user.apply(&mut headers);
        assert_eq!(headers["x-key"].as_bytes(), b"\xe4");
        assert_eq!(headers["authorization"], "Bearer a");
        assert_eq!(headers["user-agent"], "mcp-bridge");
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["b=2"]);
        assert!(user.has_authorization() && headers["authorization"].is_sensitive());
        assert!(!UserHeaders::default().has_authorization());
    }

    #[test]
    fn reserved_headers_are_neither_replaced_nor_added() {
        let mut user = UserHeaders::default();
        let names = [
            "ACCEPT",
            "Content-Type",
            "Content-Length",
            "Host",
            "MCP-Protocol-Version",
            "Mcp-Session-Id",
            "Mcp-Method",
            "Mcp-Name",
            "Mcp-Param-Shard",
            "Last-Event-ID",
            "Transfer-Encoding",
        ];
        for name in names {
            user.insert(name, "evil").unwrap();
        }
        user.insert("X-Ok", "1").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        user.apply(&mut headers);
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["accept"], "text/event-stream");
    }

    #[test]
    fn reserved_names_are_valid_and_lower_case() {
        for name in RESERVED {
            assert_eq!(
                HeaderName::from_bytes(name.as_bytes()).unwrap().as_str(),
                *name
            );
        }
        for name in [SESSION_ID, PROTOCOL_VERSION, LAST_EVENT_ID, METHOD, NAME] {
            assert!(is_reserved(&name));
        }
    }

    #[test]
    fn secrets_are_neither_printed_nor_in_errors() {
        let mut user = UserHeaders::default();
        user.insert("X-Key", "secret").unwrap();
        assert_eq!(format!("{user:?}"), r#"{"x-key"}"#);
        let value = user.insert("X-Key", "secret\r\nEvil: 1").unwrap_err();
        assert_eq!(
            value,
            InvalidHeader::Value(HeaderName::from_static("x-key"))
        );
        let wide = user.insert("X-Key", "secret \u{100}").unwrap_err();
        assert_eq!(wide, InvalidHeader::Wide(HeaderName::from_static("x-key")));
        let name = user.insert("Bearer secret", "x").unwrap_err();
        assert_eq!(user.insert("", "x"), Err(InvalidHeader::Name));
        for text in [
            value.to_string(),
            wide.to_string(),
            name.to_string(),
            format!("{value:?} {name:?}"),
        ] {
            assert!(!text.contains("secret"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn encoded_values_can_be_read_back(text in any::<String>()) {
            let value = encode_value(&text);
            let value = value.to_str().unwrap();
            let inner = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
            let read = inner.map_or(value.as_bytes().to_vec(), |inner| STANDARD.decode(inner).unwrap());
            prop_assert_eq!(read, text.into_bytes());
        }
    }
}
