//! Every way a mock server answers, from proper JSON to bytes that are not HTTP.
//!
//! In: the values a handler returns. Out: the server that plays them (`remote`).

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, write::GzEncoder};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::stream::{Generator, ReplyBody, Source, StreamHandle, event_text};
use super::watched::Gate;

/// What a handler wants to happen to one request.
pub(crate) struct Reply {
    pub(super) kind: Kind,
    pub(super) gates: Vec<Gate>,
    pub(super) on_sent: Vec<Box<dyn FnOnce() + Send>>,
    pub(super) direct: bool,
}

pub(super) enum Kind {
    /// A head and a body through hyper.
    Http {
        status: u16,
        headers: HeaderMap,
        body: ReplyBody,
    },
    /// Bytes straight onto the socket.
    Raw(ReplyBody),
    /// Bytes straight onto the socket, one at a time, this far apart; then the connection closes.
    Drip(Bytes, Duration),
    /// Closes the connection without a byte.
    CutBeforeHead,
    /// As `CutBeforeHead`, with a TCP reset.
    Reset,
    /// Keeps the connection open and silent.
    Never,
    /// What the ready-made server would do.
    Usual,
}

impl Reply {
    /// 200 with this JSON.
    pub(crate) fn json(value: &Value) -> Self {
        Self::json_text(value.to_string())
    }

    /// 200 with this text, said to be JSON.
    pub(crate) fn json_text(text: impl Into<Bytes>) -> Self {
        Self::status(200)
            .header("content-type", "application/json")
            .body(text)
    }

    /// A status alone; add headers and a body as needed.
    pub(crate) fn status(status: u16) -> Self {
        let body = ReplyBody::new(Source::Full(Bytes::new()));
        Self::of(Kind::Http {
            status,
            headers: HeaderMap::new(),
            body,
        })
    }

    /// A status with a plain text body.
    pub(crate) fn text(status: u16, text: impl Into<Bytes>) -> Self {
        Self::status(status)
            .header("content-type", "text/plain")
            .body(text)
    }

    /// A status with a web page.
    pub(crate) fn html(status: u16, page: impl Into<Bytes>) -> Self {
        Self::status(status)
            .header("content-type", "text/html; charset=utf-8")
            .body(page)
    }

    /// A redirect.
    pub(crate) fn redirect(status: u16, location: &str) -> Self {
        Self::status(status).header("location", location)
    }

    /// 202, what a notification or a response gets.
    pub(crate) fn accepted() -> Self {
        Self::status(202)
    }

    /// 200 with an event stream that the test feeds through the handle given to `script`; it may
    /// be moved to the test, through a [`Mailbox`](super::Mailbox) for instance.
    pub(crate) fn stream(script: impl FnOnce(StreamHandle)) -> Self {
        let (body, handle) = scripted();
        script(handle);
        Self::status(200)
            .header("content-type", "text/event-stream")
            .header("cache-control", "no-cache")
            .source(body)
    }

    /// 200 with a finished event stream: these messages, one event each.
    pub(crate) fn sse(messages: &[Value]) -> Self {
        let text: String = messages
            .iter()
            .map(|message| event_text(None, message))
            .collect();
        Self::sse_text(text)
    }

    /// 200 with a finished event stream of exactly these bytes.
    pub(crate) fn sse_text(text: impl Into<Bytes>) -> Self {
        Self::status(200)
            .header("content-type", "text/event-stream")
            .body(text)
    }

    /// 200 with a JSON body that the generator makes up chunk by chunk until it returns `None`.
    /// Another `content-type` may be set with [`header`](Self::header).
    pub(crate) fn endless(generator: impl FnMut() -> Option<Bytes> + Send + 'static) -> Self {
        let generator: Generator = Box::new(generator);
        Self::status(200)
            .header("content-type", "application/json")
            .source(ReplyBody::new(Source::Endless(generator)))
    }

    /// 200 with this JSON text, compressed.
    pub(crate) fn gzip(text: &[u8]) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).expect("writing to memory");
        let packed = encoder.finish().expect("writing to memory");
        Self::json_text(packed).header("content-encoding", "gzip")
    }

    /// 200 with a small body that unpacks without end: a JSON string of spaces, about 1 MiB for
    /// every KiB on the wire.
    pub(crate) fn gzip_bomb() -> Self {
        let opening = deflate_block(b"\"");
        let spaces = deflate_block(&vec![b' '; 1 << 20]);
        // RFC 1952 §2.3: magic, deflate, no flags, no time, no extra flags, unknown system.
        let head = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255], opening.as_slice()].concat();
        let mut head = Some(Bytes::from(head));
        let spaces = Bytes::from(spaces);
        Self::endless(move || head.take().or_else(|| Some(spaces.clone())))
            .header("content-encoding", "gzip")
    }

    /// Closes the connection without answering.
    pub(crate) fn cut_before_head() -> Self {
        Self::of(Kind::CutBeforeHead)
    }

    /// Resets the connection (TCP RST) without answering.
    pub(crate) fn reset() -> Self {
        Self::of(Kind::Reset)
    }

    /// Never answers; the connection stays open until the peer gives up.
    pub(crate) fn never() -> Self {
        Self::of(Kind::Never)
    }

    /// Writes these bytes on the socket in place of an HTTP answer, then closes the connection.
    /// Plain HTTP/1.1 only.
    pub(crate) fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::of(Kind::Raw(ReplyBody::new(Source::Full(bytes.into()))))
    }

    /// The test writes on the socket itself, through the handle given to `script`; `close` and
    /// `cut` both close the connection. Plain HTTP/1.1 only.
    pub(crate) fn raw_stream(script: impl FnOnce(StreamHandle)) -> Self {
        let (body, handle) = scripted();
        script(handle);
        Self::of(Kind::Raw(body))
    }

    /// Writes these bytes on the socket one at a time, `pause` apart, then closes the connection.
    pub(crate) fn drip(bytes: impl Into<Bytes>, pause: Duration) -> Self {
        Self::of(Kind::Drip(bytes.into(), pause))
    }

    /// Whatever the ready-made server would have done (for handlers given to `Legacy::on`).
    pub(crate) fn usual() -> Self {
        Self::of(Kind::Usual)
    }

    /// Sets the body. Only for answers that have a head.
    pub(crate) fn body(self, body: impl Into<Bytes>) -> Self {
        self.source(ReplyBody::new(Source::Full(body.into())))
    }

    /// Sets a header, replacing one of the same name. Only for answers that have a head.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        let value = HeaderValue::from_str(value).expect("a header value");
        self.http().1.insert(name, value);
        self
    }

    /// Adds a header beside others of the same name. Only for answers that have a head.
    pub(crate) fn add_header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        let value = HeaderValue::from_str(value).expect("a header value");
        self.http().1.append(name, value);
        self
    }

    /// Changes the status. Only for answers that have a head.
    pub(crate) fn with_status(mut self, status: u16) -> Self {
        *self.http().0 = status;
        self
    }

    /// Holds the answer back until the gate opens. With several gates, all must open.
    pub(crate) fn after(mut self, gate: &Gate) -> Self {
        self.gates.push(gate.clone());
        self
    }

    /// Runs when the answer is let go: after its gates, before its first byte.
    pub(crate) fn on_sent(mut self, act: impl FnOnce() + Send + 'static) -> Self {
        self.on_sent.push(Box::new(act));
        self
    }

    /// On the ready-made HTTP+SSE server: this answers the POST itself, it is not put on the
    /// event stream.
    pub(crate) fn direct(mut self) -> Self {
        self.direct = true;
        self
    }

    /// The body, when it is known beforehand and whole, with its status.
    pub(super) fn whole_body(&self) -> Option<(u16, &Bytes)> {
        match &self.kind {
            Kind::Http { status, body, .. } => match body.source() {
                Source::Full(bytes) => Some((*status, bytes)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether it asks for the ready-made server's own answer.
    pub(super) fn is_usual(&self) -> bool {
        matches!(self.kind, Kind::Usual)
    }

    /// Takes over what the other reply waits for and triggers.
    pub(super) fn gated_by(mut self, other: Self) -> Self {
        self.gates.extend(other.gates);
        self.on_sent.extend(other.on_sent);
        self.direct |= other.direct;
        self
    }

    /// The status, when the answer has a head.
    pub(super) fn status_code(&self) -> Option<u16> {
        match &self.kind {
            Kind::Http { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the answer has a head with this header.
    pub(super) fn has_header(&self, name: &str) -> bool {
        matches!(&self.kind, Kind::Http { headers, .. } if headers.contains_key(name))
    }

    /// Whether it has a head in which this header has this value.
    pub(super) fn has_header_value(&self, name: &str, value: &str) -> bool {
        matches!(&self.kind, Kind::Http { headers, .. }
            if headers.get(name).is_some_and(|found| found == value))
    }

    fn of(kind: Kind) -> Self {
        Self {
            kind,
            gates: Vec::new(),
            on_sent: Vec::new(),
            direct: false,
        }
    }

    fn source(mut self, source: ReplyBody) -> Self {
        *self.http().2 = source;
        self
    }

    fn http(&mut self) -> (&mut u16, &mut HeaderMap, &mut ReplyBody) {
        match &mut self.kind {
            Kind::Http {
                status,
                headers,
                body,
            } => (status, headers, body),
            _ => panic!("this kind of reply has no head and no body"),
        }
    }
}

fn scripted() -> (ReplyBody, StreamHandle) {
    let handle = StreamHandle::new();
    (ReplyBody::new(Source::Stream(handle.clone())), handle)
}

/// Compresses to blocks that stand alone and end on a byte, so that they can be repeated.
fn deflate_block(plain: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(plain.len() / 2 + 64);
    Compress::new(Compression::fast(), false)
        .compress_vec(plain, &mut packed, FlushCompress::Full)
        .expect("compressing in memory");
    packed
}
