//! Which transport to try, in which order, and when an answer says "try the other one".
//!
//! In: the user's strategy and the answers to the first contact. Out: performing it
//! (`bridge/handshake.rs`).

use url::Url;

use super::classify::Content;
use super::text;

/// How messages travel to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One URL for everything (MCP 2025-03-26 and later, Transports, Streamable HTTP).
    StreamableHttp,
    /// A GET stream and POSTs to the URL it announces (MCP 2024-11-05, Transports, HTTP with SSE).
    Sse,
}

impl Transport {
    /// The name in the log line `Connected to remote server using …`, as users' guides quote it.
    #[must_use]
    pub fn client_name(self) -> &'static str {
        match self {
            Self::StreamableHttp => "StreamableHTTPClientTransport",
            Self::Sse => "SSEClientTransport",
        }
    }
}

/// The user's choice (`--transport`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Streamable HTTP, then HTTP+SSE.
    #[default]
    HttpFirst,
    /// HTTP+SSE, then Streamable HTTP.
    SseFirst,
    /// Streamable HTTP only.
    HttpOnly,
    /// HTTP+SSE only.
    SseOnly,
}

impl Strategy {
    /// The spelling of the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HttpFirst => "http-first",
            Self::SseFirst => "sse-first",
            Self::HttpOnly => "http-only",
            Self::SseOnly => "sse-only",
        }
    }

    /// What to try first.
    #[must_use]
    pub fn first(self) -> Transport {
        match self {
            Self::HttpFirst | Self::HttpOnly => Transport::StreamableHttp,
            Self::SseFirst | Self::SseOnly => Transport::Sse,
        }
    }

    /// What to try when the first is not spoken there.
    #[must_use]
    pub fn second(self) -> Option<Transport> {
        match self {
            Self::HttpFirst => Some(Transport::Sse),
            Self::SseFirst => Some(Transport::StreamableHttp),
            Self::HttpOnly | Self::SseOnly => None,
        }
    }
}

/// Whether the answer to `initialize` leaves open that the server speaks HTTP+SSE.
///
/// MCP 2025-11-25 (Transports, Backwards Compatibility) names 400, 404 and 405; servers in the
/// field also answer 406, 410, 415, 422 and 501, or 2xx with something that is not MCP. Decided by
/// status and content, never by words in a body.
#[must_use]
pub fn may_be_sse(status: u16, content: &Content) -> bool {
    match content {
        Content::Rpc(_) | Content::BareError(_) => matches!(status, 400 | 404 | 405),
        Content::Html(_) | Content::Empty | Content::OtherJson | Content::Text(_) => {
            matches!(
                status,
                200..=299 | 400 | 404 | 405 | 406 | 410 | 415 | 422 | 501
            )
        }
    }
}

/// The address to POST to, from the `endpoint` event of an HTTP+SSE stream.
///
/// `stream` is the address that the stream was read from, after redirects. The endpoint must have
/// its origin (scheme, host, port). Two exceptions on the same host name: over https an `http`
/// endpoint is taken as a path of the stream's origin (a server behind a TLS proxy prints its
/// inner scheme), and over http an `https` endpoint is accepted.
///
/// # Errors
///
/// A sentence that names both origins.
pub fn sse_endpoint(stream: &Url, announced: &str) -> Result<Url, String> {
    let url = stream.join(announced.trim()).map_err(|_| {
        format!(
            "the server announced a message URL that cannot be read: \"{}\"",
            text::sanitize(text::public_part(announced), 100)
        )
    })?;
    let refused = || {
        format!(
            "the event stream of {} announced a message URL on another origin, {}; nothing was \
             sent there. If that server is the right one, use its own URL",
            text::origin(stream),
            text::origin(&url)
        )
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused());
    }
    if url.origin() == stream.origin() && matches!(url.scheme(), "http" | "https") {
        return Ok(url);
    }
    if url.host_str() != stream.host_str() {
        return Err(refused());
    }
    match (stream.scheme(), url.scheme()) {
        ("https", "http") => {
            let mut same = stream.clone();
            same.set_path(url.path());
            same.set_query(url.query());
            Ok(same)
        }
        ("http", "https") => Ok(url),
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn t53_the_other_transport_is_tried_by_status_and_content() {
        for status in [400, 404, 405, 406, 410, 415, 422, 501, 200, 202] {
            assert!(may_be_sse(status, &Content::Empty), "{status}");
        }
        for status in [401, 403, 413, 429, 500, 502, 503] {
            assert!(!may_be_sse(status, &Content::Empty), "{status}");
        }
        let rpc = || Content::BareError(Bytes::new());
        assert!(may_be_sse(400, &rpc()) && !may_be_sse(500, &rpc()) && !may_be_sse(200, &rpc()));
        assert!(!may_be_sse(
            500,
            &Content::Text("error 405 Method Not Allowed".into())
        ));
    }

    fn endpoint(stream: &str, announced: &str) -> Result<String, String> {
        sse_endpoint(&stream.parse().unwrap(), announced).map(|url| url.to_string())
    }

    #[test]
    fn t55_endpoints_are_resolved_against_the_stream() {
        let base = "http://h:1/a/sse?k=1";
        assert_eq!(endpoint(base, "/m?sid=1").unwrap(), "http://h:1/m?sid=1");
        assert_eq!(endpoint(base, "?sid=1").unwrap(), "http://h:1/a/sse?sid=1");
        assert_eq!(endpoint(base, "m/").unwrap(), "http://h:1/a/m/");
        assert_eq!(endpoint(base, "http://h:1/m").unwrap(), "http://h:1/m");
    }

    #[test]
    fn t57_the_inner_scheme_of_a_tls_proxy_is_mended() {
        assert_eq!(
            endpoint("https://h/sse", "http://h:8080/m?s=1").unwrap(),
            "https://h/m?s=1"
        );
        assert_eq!(
            endpoint("http://h:80/sse", "https://h/m").unwrap(),
            "https://h/m"
        );
    }

    #[test]
    fn g08_endpoints_on_another_origin_are_refused() {
        for announced in [
            "http://other/m",
            "//other/m",
            "http://h:2/m",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "http://u:p@h:1/m",
            "ftp://h:1/m",
        ] {
            let error = endpoint("http://h:1/sse", announced).unwrap_err();
            assert!(error.contains("http://h:1"), "{announced}: {error}");
        }
    }
}
