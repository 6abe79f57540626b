//! Judges one answer by status, headers and content.
//!
//! In: what an answer is. Out: what is done about it; that depends on what was asked and stands
//! in `bridge/`.

use bytes::Bytes;

use super::message::{Malformed, Message, Parsed};
use super::{Body, Head, text};

/// What the body of an answer turned out to be, whatever its declared type: missing and wrong
/// `Content-Type` fields are common.
#[derive(Debug)]
pub enum Content {
    /// One or more JSON-RPC messages.
    Rpc(Vec<Message>),
    /// A JSON error object without an envelope: `{"error":{"code":…,"message":…}}`.
    BareError(Bytes),
    /// Some other JSON.
    OtherJson,
    /// A web page; its title.
    Html(Option<String>),
    /// Nothing.
    Empty,
    /// Anything else, JSON that breaks off included; what is wrong with it as JSON.
    Text(String),
}

/// Reads a body by its content.
#[must_use]
pub fn content(body: &Bytes) -> Content {
    let start = body.trim_ascii_start();
    match start.first() {
        None => return Content::Empty,
        Some(b'<') => return Content::Html(text::html_title(body)),
        Some(_) => {}
    }
    match Message::parse_any(body.clone()) {
        Ok(Parsed::One(message)) => Content::Rpc(vec![message]),
        Ok(Parsed::Batch(elements)) => {
            let messages: Vec<Message> = elements
                .into_iter()
                .filter_map(|element| Message::parse(element).ok())
                .collect();
            if messages.is_empty() {
                Content::OtherJson
            } else {
                Content::Rpc(messages)
            }
        }
        Err(Malformed::NotRpc { .. }) => bare_error(body).unwrap_or(Content::OtherJson),
        Err(Malformed::NotJson(reason)) => Content::Text(reason),
    }
}

/// Whether the media type is `text/event-stream`, parameters and case aside (RFC 9110 §8.3.1).
#[must_use]
pub fn is_event_stream(head: &Head) -> bool {
    media_type(head).is_some_and(|kind| kind.eq_ignore_ascii_case("text/event-stream"))
}

/// Whether the media type is JSON (`application/json`, or any with the suffix of RFC 6839 §3.1).
#[must_use]
pub fn is_json(head: &Head) -> bool {
    media_type(head).is_some_and(|kind| {
        let kind = kind.to_ascii_lowercase();
        kind == "application/json" || kind.ends_with("+json")
    })
}

/// Whether the server says it is busy or somewhere between us and it something broke for the
/// moment: no evidence about what the server is.
#[must_use]
pub fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 502 | 503 | 504)
}

/// Whether the server refused the request unread because it is busy, so that it may be sent again
/// whatever it is: 429 (RFC 6585 §4), and 503 with `Retry-After` (RFC 9110 §15.6.4).
#[must_use]
pub fn is_refused_as_busy(head: &Head) -> bool {
    head.status == 429 || (head.status == 503 && head.headers.contains_key("retry-after"))
}

/// Whether an answer to a message that belonged to a session says that the session is gone.
///
/// The specification asks for 404 (MCP 2025-11-25, Transports, Session Management); servers in
/// the field say it with 400, 401, 403, 410, 422, 500 and even 200 as well. Those count only with
/// words that speak of a session.
#[must_use]
pub fn session_is_lost(head: &Head, body: &Bytes) -> bool {
    let code = || {
        Message::parse(body.clone())
            .ok()
            .and_then(|error| error.error_code())
    };
    match head.status {
        404 | 410 if code() != Some(METHOD_NOT_FOUND) => true,
        401 if head.headers.contains_key("www-authenticate") => false,
        400 | 401 | 403 | 404 | 410 | 422 => speaks_of_a_lost_session(body),
        // These may come out of a tool that ran: only the codes that transports use count.
        200 if body.len() > LOST_SESSION_SEARCH => false,
        200 => {
            memchr::memmem::find(body, b"\"error\"").is_some()
                && speaks_of_a_lost_session(body)
                && matches!(code(), Some(-32600 | -32001))
        }
        500 | 503 => {
            speaks_of_a_lost_session(body)
                && matches!(code(), None | Some(-32600 | -32000 | -32001))
        }
        _ => false,
    }
}

/// As [`session_is_lost`], for answers to a GET: a bare 404 or 410 may only mean that there is no
/// such stream, so the words count there too.
#[must_use]
pub fn session_is_named_lost(head: &Head, body: &Bytes) -> bool {
    session_is_lost(head, body) && speaks_of_a_lost_session(body)
}

/// A sentence about an answer that is not usable, with the status and what the body says.
#[must_use]
pub fn describe(head: &Head, body: &Body) -> String {
    let from = text::public_url(&head.url);
    let status = head.status;
    let words = match content(&body.bytes) {
        Content::Empty => "an empty body".to_owned(),
        Content::Html(Some(title)) => format!("a web page titled \"{title}\""),
        Content::Html(None) => "a web page".to_owned(),
        Content::Rpc(_) | Content::BareError(_) | Content::OtherJson | Content::Text(_) => {
            format!("\"{}\"", text::excerpt(&body.bytes))
        }
    };
    format!("{from} answered HTTP {status} with {words}")
}

/// JSON-RPC 2.0: the method does not exist.
pub const METHOD_NOT_FOUND: i64 = -32601;

const LOST_SESSION_WORDS: [&str; 15] = [
    "session not found",
    "could not find session",
    "no valid session",
    "invalid session",
    "unknown session",
    "session unknown",
    "session expired",
    "session terminated",
    "missing session",
    "session-id header is required",
    "server not initialized",
    "session not initialized",
    "expect initialize",
    "no transport found",
    "session user mismatch",
];

/// Refusals are short; words deep inside a large answer are about something else.
const LOST_SESSION_SEARCH: usize = 4096;

fn speaks_of_a_lost_session(body: &Bytes) -> bool {
    let head = body.get(..LOST_SESSION_SEARCH).unwrap_or(body);
    let words = String::from_utf8_lossy(head).to_lowercase();
    LOST_SESSION_WORDS.iter().any(|known| words.contains(known))
}

fn media_type(head: &Head) -> Option<&str> {
    head.header("content-type")?
        .split(';')
        .next()
        .map(str::trim)
}

fn bare_error(body: &Bytes) -> Option<Content> {
    #[derive(serde::Deserialize)]
    struct Bare<'a> {
        #[serde(borrow)]
        error: &'a serde_json::value::RawValue,
        jsonrpc: Option<serde::de::IgnoredAny>,
    }
    let bare: Bare<'_> = serde_json::from_slice(body).ok()?;
    let is_error = super::message::member(bare.error.get(), "code").is_some()
        && super::message::member(bare.error.get(), "message").is_some();
    (bare.jsonrpc.is_none() && is_error)
        .then(|| Content::BareError(Bytes::copy_from_slice(bare.error.get().as_bytes())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderMap;

    use super::*;

    fn head(status: u16, headers: &[(&'static str, &str)]) -> Head {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let url = Arc::new("http://127.0.0.1:1/mcp?key=s".parse().unwrap());
        Head {
            status,
            headers: map,
            url,
            moved_permanently: false,
            credentials: 0,
        }
    }

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn bodies_are_read_by_their_content() {
        let rpc = r#" {"jsonrpc":"2.0","id":1,"result":{}}"#;
        assert!(matches!(content(&bytes(rpc)), Content::Rpc(found) if found.len() == 1));
        let batch = format!("[{rpc},{rpc}, 5]");
        assert!(matches!(content(&bytes(&batch)), Content::Rpc(found) if found.len() == 2));
        assert!(matches!(
            content(&bytes(r#"{"error":{"code":-1,"message":"m"}}"#)),
            Content::BareError(error) if error == r#"{"code":-1,"message":"m"}"#
        ));
        for other in [
            r#"{"status":"ok"}"#,
            "[]",
            "17",
            r#"{"error":"unauthorized"}"#,
        ] {
            assert!(
                matches!(content(&bytes(other)), Content::OtherJson),
                "{other}"
            );
        }
        assert!(matches!(content(&bytes(" \n")), Content::Empty));
        assert!(matches!(
            content(&bytes("<html><title>Sign in</title>")),
            Content::Html(Some(title)) if title == "Sign in"
        ));
        for broken in ["nope", r#"{"jsonrpc":"2.0","id":1,"res"#] {
            assert!(
                matches!(content(&bytes(broken)), Content::Text(_)),
                "{broken}"
            );
        }
    }

    #[test]
    fn event_streams_are_known_by_media_type() {
        let stream = |value| is_event_stream(&head(200, &[("content-type", value)]));
        assert!(stream("text/event-stream"));
        assert!(stream("Text/Event-Stream; charset=utf-8"));
        assert!(!stream("application/json"));
        assert!(!is_event_stream(&head(200, &[])));
        assert!(is_json(&head(
            200,
            &[("content-type", "Application/JSON; charset=utf-8")]
        )));
        assert!(
            !is_json(&head(200, &[("content-type", "text/html")])) && !is_json(&head(200, &[]))
        );
    }

    #[test]
    fn lost_sessions_are_known_in_every_disguise() {
        let code = |code: i32, text: &str| {
            format!(r#"{{"jsonrpc":"2.0","id":null,"error":{{"code":{code},"message":"{text}"}}}}"#)
        };
        for (status, body) in [
            (404, code(-32001, "Session not found")),
            (404, code(-32600, "gone")),
            (404, String::new()),
            (410, String::new()),
            (
                400,
                code(-32000, "Bad Request: No valid session ID provided"),
            ),
            (400, "Bad Request: No valid session ID provided".into()),
            (
                400,
                code(-32000, "Bad Request: Mcp-Session-Id header is required"),
            ),
            (400, code(-32600, "Missing session ID")),
            (400, code(-32000, "Bad Request: Server not initialized")),
            (401, "Unauthorized: Session not found".into()),
            (422, "Unexpected message, expect initialize request".into()),
            (403, "session user mismatch".into()),
            (404, "Could not find session".into()),
            (400, "No transport found for sessionId".into()),
            (503, "session unknown on this instance".into()),
            (200, code(-32600, "Invalid session")),
        ] {
            assert!(
                session_is_lost(&head(status, &[]), &bytes(&body)),
                "{status} {body}"
            );
        }
        let challenge = head(401, &[("www-authenticate", "Bearer")]);
        assert!(!session_is_lost(&challenge, &bytes("Session not found")));
        for (status, body) in [
            (404, code(-32601, "Method not found")),
            (400, code(-32602, "bad arguments")),
            (500, "boom".into()),
            (500, code(-32603, "the shop says: session expired")),
            (400, code(-32602, "database not initialized")),
            (403, "forbidden".into()),
            (200, code(-32602, "invalid session name")),
            (
                200,
                r#"{"jsonrpc":"2.0","id":1,"result":{"text":"session expired"}}"#.into(),
            ),
            (502, "session expired".into()),
        ] {
            assert!(
                !session_is_lost(&head(status, &[]), &bytes(&body)),
                "{status} {body}"
            );
        }
    }

    #[test]
    fn descriptions_name_status_and_content_but_no_query() {
        let body = |text: &str| Body {
            bytes: bytes(text),
            cut: None,
        };
        let page = describe(
            &head(200, &[]),
            &body("<html><title>Sign\u{1b}[2J in</title>"),
        );
        assert!(
            page.starts_with("http://127.0.0.1:1/mcp answered HTTP 200 with a web page titled")
        );
        assert!(!page.contains('\u{1b}') && !page.contains("key=s"));
        assert!(describe(&head(500, &[]), &body("boom")).ends_with("HTTP 500 with \"boom\""));
    }
}
