//! What an answer to a first message proves about the server's era, and what to try next.
//!
//! In: verdicts on answers to `initialize` and `server/discover`. A server counts as modern only if
//! it says so in words that no legacy server uses; a status, a single code that both eras use, or a
//! URL's spelling proves nothing (MCP 2026-07-28, Versioning, Backward Compatibility). Out: sending
//! anything (`bridge`).

use super::discover::Discovered;
use super::{errors, newest_spoken};
use crate::proto::classify::Content;
use crate::proto::message::Message;
use crate::proto::revision;

/// What can be tried to find out what a server speaks; each at most once for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `initialize` over Streamable HTTP.
    Initialize,
    /// `server/discover`.
    Discover,
    /// A GET for the stream of HTTP+SSE.
    Sse,
}

/// What to try after an answer to `initialize` that is no result, in this order.
///
/// MCP 2025-11-25 (Transports, Backwards Compatibility) names 400, 404 and 405 as signs of HTTP+SSE;
/// servers in the field also answer 406, 410, 415, 422 and 501, or 2xx with something that is not
/// MCP. A modern server has to refuse `initialize` with an error, which an intermediary may have
/// emptied.
#[must_use]
pub fn after_initialize(status: u16, content: &Content) -> &'static [Probe] {
    use Probe::{Discover, Sse};
    match content {
        Content::Rpc(_) | Content::BareError(_) => match (names_modern(content), status) {
            (false, 400 | 404 | 405) => &[Discover, Sse],
            _ => &[Discover],
        },
        Content::Html(_) | Content::Empty | Content::OtherJson | Content::Text(_) => match status {
            404 | 405 | 406 | 410 | 501 => &[Sse, Discover],
            400 | 415 | 422 => &[Discover, Sse],
            500 => &[Discover],
            200..=299 => &[Sse],
            _ => &[],
        },
    }
}

/// Whether this is an error that only a modern server gives.
#[must_use]
pub fn is_modern_error(error: &Message) -> bool {
    let names_spoken_version = || {
        let versions = error.error().and_then(errors::supported_versions);
        versions.is_some_and(|all| newest_spoken(&all).is_some())
    };
    match error.error_code() {
        Some(errors::HEADER_MISMATCH | errors::MISSING_CAPABILITY) => true,
        Some(_) => names_spoken_version(),
        None => false,
    }
}

fn names_modern(content: &Content) -> bool {
    match content {
        Content::Rpc(messages) => messages.iter().any(is_modern_error),
        _ => false,
    }
}

/// What an answer to `server/discover` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server is modern.
    Modern(Box<Discovered>),
    /// The server is modern and has said nothing else: it wants a capability first.
    ModernUnknown,
    /// The server is modern; the same question at this revision.
    AskAt(&'static str),
    /// The server is modern, but something on the way may have changed the request: once more.
    AskAgain,
    /// The server speaks no modern revision that the bridge does; which of the older ones it names.
    Legacy(Option<String>),
    /// It proves nothing: these are left, in this order.
    Open(&'static [Probe]),
}

/// Judges an answer to `server/discover` that was sent at the revision `asked`.
#[must_use]
pub fn of_discover(status: u16, content: &Content, asked: &str) -> Verdict {
    use Probe::{Initialize, Sse};
    match content {
        Content::Rpc(messages) => messages
            .iter()
            .find(|message| message.result().is_some() || message.error().is_some())
            .map_or(Verdict::Legacy(None), |message| of_response(message, asked)),
        Content::BareError(_) => Verdict::Legacy(None),
        Content::Html(_) => Verdict::Open(&[Sse, Initialize]),
        Content::Empty | Content::OtherJson | Content::Text(_) => match status {
            404 | 405 | 410 => Verdict::Open(&[Sse, Initialize]),
            _ => Verdict::Open(&[Initialize]),
        },
    }
}

/// As [`of_discover`], for the response itself.
#[must_use]
pub fn of_response(message: &Message, asked: &str) -> Verdict {
    if let Some(result) = message.result() {
        let Some(discovered) = Discovered::parse(result) else {
            return Verdict::Legacy(None);
        };
        let versions = &discovered.versions;
        let mutual = newest_spoken(versions).is_some() || versions.iter().any(|one| one == asked);
        return if mutual {
            Verdict::Modern(Box::new(discovered))
        } else {
            Verdict::Legacy(revision::newest_known(versions).map(str::to_owned))
        };
    }
    if !is_modern_error(message) {
        let versions = message.error().and_then(errors::supported_versions);
        let older = versions.and_then(|all| revision::newest_known(&all).map(str::to_owned));
        return Verdict::Legacy(older);
    }
    match message.error_code() {
        Some(errors::HEADER_MISMATCH) => Verdict::AskAgain,
        Some(errors::MISSING_CAPABILITY) => Verdict::ModernUnknown,
        _ => {
            let versions = message.error().and_then(errors::supported_versions);
            let versions = versions.unwrap_or_default();
            match newest_spoken(&versions) {
                Some(version) => Verdict::AskAt(version),
                None => Verdict::Legacy(revision::newest_known(&versions).map(str::to_owned)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::proto::classify;

    fn content(text: &str) -> Content {
        classify::content(&Bytes::copy_from_slice(text.as_bytes()))
    }

    fn error(code: i64, data: &str) -> Content {
        content(&format!(
            r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"m","data":{data}}}}}"#
        ))
    }

    const MODERN: &str = r#"{"supported":["2026-07-28"],"requested":"x"}"#;
    const LEGACY: &str = r#"{"supported":["2025-06-18","2025-03-26"]}"#;

    #[test]
    fn t93_every_refusal_of_initialize_leads_to_the_other_era() {
        for (status, refusal) in [
            (400, error(-32022, MODERN)),
            (404, error(-32601, "null")),
            (400, error(-32020, "null")),
            (400, error(-32602, "null")),
            (400, content("")),
            (500, content("")),
            (200, error(-32603, "null")),
        ] {
            let next = after_initialize(status, &refusal);
            assert_eq!(next.first(), Some(&Probe::Discover), "{status} {refusal:?}");
        }
    }

    #[test]
    fn t53_where_http_sse_is_likely_it_goes_first() {
        for status in [404, 405, 406, 410, 501] {
            let next = after_initialize(status, &content("<title>x</title>"));
            assert_eq!(next, [Probe::Sse, Probe::Discover], "{status}");
        }
        assert_eq!(after_initialize(200, &content("<p>")), [Probe::Sse]);
        assert_eq!(
            after_initialize(404, &error(-32601, "null")),
            [Probe::Discover, Probe::Sse]
        );
        assert_eq!(
            after_initialize(400, &error(-32020, "null")),
            [Probe::Discover]
        );
        for status in [401, 403, 413, 429, 503] {
            assert!(after_initialize(status, &content("no")).is_empty());
        }
    }

    #[test]
    fn t180_what_legacy_servers_say_to_discover_is_no_evidence() {
        for (status, answer) in [
            (400, error(-32000, "null")),
            (400, error(-32600, "null")),
            (404, error(-32601, "null")),
            (200, error(-32602, "null")),
            (200, content(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)),
        ] {
            let verdict = of_discover(status, &answer, "2026-07-28");
            assert_eq!(verdict, Verdict::Legacy(None), "{answer:?}");
        }
        assert_eq!(
            of_discover(500, &content("Missing handler"), "2026-07-28"),
            Verdict::Open(&[Probe::Initialize])
        );
        assert_eq!(
            of_discover(405, &content(""), "2026-07-28"),
            Verdict::Open(&[Probe::Sse, Probe::Initialize])
        );
    }

    #[test]
    fn t179_older_revisions_in_an_answer_are_taken_up() {
        let result = r#"{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":["2025-06-18","2025-11-25"],"capabilities":{}}}"#;
        let older = |text: &str| Verdict::Legacy(Some(text.to_owned()));
        assert_eq!(
            of_discover(200, &content(result), "2026-07-28"),
            older("2025-11-25")
        );
        assert_eq!(
            of_discover(400, &error(-32022, LEGACY), "2026-07-28"),
            older("2025-06-18")
        );
    }

    #[test]
    fn t128_a_modern_refusal_is_asked_again() {
        for code in [-32022, -32004] {
            assert_eq!(
                of_discover(400, &error(code, MODERN), "2026-07-28"),
                Verdict::AskAt("2026-07-28")
            );
        }
        assert_eq!(
            of_discover(400, &error(-32020, "null"), "2026-07-28"),
            Verdict::AskAgain
        );
        assert_eq!(
            of_discover(400, &error(-32021, "{}"), "2026-07-28"),
            Verdict::ModernUnknown
        );
        assert_eq!(
            of_discover(400, &error(-32001, "null"), "2026-07-28"),
            Verdict::Legacy(None)
        );
    }

    #[test]
    fn a_revision_that_only_the_client_knows_counts_when_it_asked() {
        let result = r#"{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":["2031-01-01"],"capabilities":{}}}"#;
        let verdict = |asked| of_discover(200, &content(result), asked);
        assert!(matches!(verdict("2031-01-01"), Verdict::Modern(_)));
        assert_eq!(verdict("2026-07-28"), Verdict::Legacy(None));
    }
}
