//! The first messages that a server is asked with, by `doctor` and by `login`: they change nothing
//! there but open a session, which is ended again.
//!
//! In: requests, and whether an answer refuses them for want of credentials. Out: sending them
//! (`commands`), what the answers mean (`transports`).

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use url::Url;

use crate::proto::auth::challenge::Challenge;
use crate::proto::era::meta::{self, Stamp};
use crate::proto::era::{SPOKEN, discover};
use crate::proto::message::member;
use crate::proto::revision::NEWEST_WITH_HANDSHAKE;
use crate::proto::{Head, Refused, Request, Verb, headers};

/// What the server is told of who asks, raw JSON.
const CLIENT_INFO: &str = concat!(
    r#"{"name":"mcp-bridge","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#""}"#
);

/// `initialize` of a client that can do nothing special, raw JSON (MCP 2025-11-25, Lifecycle).
#[must_use]
pub fn initialize_message(id: u64) -> String {
    let id = id.to_string();
    discover::initialize_request(&id, NEWEST_WITH_HANDSHAKE, "{}", Some(CLIENT_INFO))
}

/// A POST of `initialize`.
#[must_use]
pub fn initialize(url: &Arc<Url>) -> Request {
    post(url, "initialize", initialize_message(1), Vec::new())
}

/// A POST of `server/discover` (MCP 2026-07-28, Discovery).
#[must_use]
pub fn discover(url: &Arc<Url>) -> Request {
    let [version, ..] = SPOKEN;
    let stamp = Stamp {
        version,
        capabilities: "{}",
        client_info: Some(CLIENT_INFO),
        log_level: None,
    };
    let params = meta::stamped(None, &stamp, &[], &[]).unwrap_or_default();
    let body =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{params}}}"#);
    let field = (headers::PROTOCOL_VERSION, HeaderValue::from_static(version));
    post(url, "server/discover", body, vec![field])
}

/// A GET for the stream of HTTP+SSE (MCP 2024-11-05, Transports, HTTP with SSE).
#[must_use]
pub fn stream(url: &Arc<Url>) -> Request {
    let fields = vec![
        (
            header::ACCEPT,
            HeaderValue::from_static("text/event-stream"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    request(Verb::Get, url, fields, Bytes::new())
}

/// A DELETE that ends the session (MCP 2025-11-25, Transports, Session Management) that this result
/// of `initialize` opened, raw JSON.
#[must_use]
pub fn end(url: &Arc<Url>, session: HeaderValue, result: &str) -> Request {
    let mut fields = vec![(headers::SESSION_ID, session)];
    let version = member(result, "protocolVersion");
    let version: Option<String> = version.and_then(|raw| serde_json::from_str(raw).ok());
    if let Some(Ok(version)) = version.as_deref().map(HeaderValue::from_str) {
        fields.push((headers::PROTOCOL_VERSION, version));
    }
    request(Verb::Delete, url, fields, Bytes::new())
}

/// Whether the answer says that the credentials do not suffice, and what the server wants: any
/// 401, and a 403 whose challenge names the token or its scope (RFC 6750 §3.1).
#[must_use]
pub fn refusal(head: &Head) -> Option<Refused> {
    let challenge = Challenge::parse(&head.headers);
    let names_token = matches!(
        challenge.error.as_deref(),
        Some("insufficient_scope" | "invalid_token")
    );
    (head.status == 401 || head.status == 403 && names_token).then(|| Refused {
        credentials: head.credentials,
        challenge,
        operation: "initialize".to_owned(),
        succeeded: Vec::new(),
    })
}

fn post(
    url: &Arc<Url>,
    method: &str,
    body: String,
    mut fields: Vec<(HeaderName, HeaderValue)>,
) -> Request {
    fields.push((
        header::ACCEPT,
        HeaderValue::from_static("application/json, text/event-stream"),
    ));
    fields.push((
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    ));
    headers::mirrored(method, None, &mut fields);
    request(Verb::Post, url, fields, body.into())
}

fn request(
    verb: Verb,
    url: &Arc<Url>,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
) -> Request {
    Request {
        verb,
        url: Arc::clone(url),
        headers,
        body,
        after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::message::Message;

    #[test]
    fn the_first_messages_are_requests_of_their_eras() {
        let url = Arc::new("https://h/mcp?key=s".parse().unwrap());
        for (request, method) in [
            (initialize(&url), "initialize"),
            (discover(&url), "server/discover"),
        ] {
            let message = Message::parse(request.body.clone()).unwrap();
            assert_eq!(message.method(), method);
            assert!(message.id().is_some() && request.verb == Verb::Post);
            assert!(
                request
                    .headers
                    .iter()
                    .any(|(name, value)| *name == headers::METHOD && value == method)
            );
        }
        let stated = meta::Stated::read(Message::parse(discover(&url).body).unwrap().params());
        assert_eq!(stated.unwrap().version, SPOKEN[0]);
    }

    #[test]
    fn a_refusal_is_told_from_a_prohibition() {
        let head = |status, challenge: &str| {
            let mut map = http::HeaderMap::new();
            map.insert(header::WWW_AUTHENTICATE, challenge.parse().unwrap());
            Head {
                status,
                headers: map,
                url: Arc::new("https://h/".parse().unwrap()),
                moved_permanently: false,
                credentials: 7,
            }
        };
        assert_eq!(refusal(&head(401, "Bearer")).unwrap().credentials, 7);
        assert!(refusal(&head(403, r#"Bearer error="insufficient_scope""#)).is_some());
        assert!(refusal(&head(403, "Bearer")).is_none());
        assert!(refusal(&head(404, "Bearer")).is_none());
    }
}
