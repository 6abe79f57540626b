//! Bodies whose bytes the test sends when it likes.
//!
//! In: the handle a test holds and the body hyper reads from. Out: status and headers (`reply`).

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use serde_json::Value;

use super::watched::{DEADLINE, Watched};

/// The sending end of a streamed body (or of a raw connection). Clones are the same stream.
///
/// Dropping every handle leaves the stream open and silent; only [`close`](Self::close),
/// [`cut`](Self::cut) or the peer end it.
#[derive(Clone, Debug)]
pub(crate) struct StreamHandle(Arc<Watched<Flow>>);

#[derive(Default)]
struct Flow {
    queue: VecDeque<Bytes>,
    end: Option<End>,
    /// Nobody will read any more: the peer hung up, or the end was reached.
    gone: bool,
    reader: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Close,
    Cut,
}

/// What the reading side finds next.
pub(super) enum Next {
    Data(Bytes),
    Closed,
    Cut,
}

impl StreamHandle {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Sends bytes as they are, as one chunk.
    pub(crate) fn send(&self, raw: impl Into<Bytes>) {
        self.push(raw.into());
    }

    /// Sends one `message` event (WHATWG HTML, "Server-sent events") that carries this message.
    pub(crate) fn event(&self, message: &Value) {
        self.send(event_text(None, message));
    }

    /// As [`event`](Self::event), with an event id.
    pub(crate) fn event_id(&self, id: &str, message: &Value) {
        self.send(event_text(Some(id), message));
    }

    /// Sends an event that carries an id and no message, as a server does that will let the
    /// client resume (MCP 2025-11-25, Transports, Sending Messages to the Server).
    pub(crate) fn priming_event(&self, id: &str) {
        self.send(format!("id: {id}\ndata:\n\n"));
    }

    /// Ends the body as HTTP intends, after what was sent.
    pub(crate) fn close(&self) {
        self.finish(End::Close);
    }

    /// Breaks the connection in the middle of the body, after what was sent.
    /// On HTTP/2 only this stream is reset.
    pub(crate) fn cut(&self) {
        self.finish(End::Cut);
    }

    /// Whether nobody reads any more: the peer hung up, or the end of the body was delivered.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.with(|flow| flow.gone)
    }

    /// Waits until [`is_closed`](Self::is_closed).
    #[track_caller]
    pub(crate) fn wait_closed(&self) {
        let closed = self.0.wait(DEADLINE, |flow| flow.gone.then_some(()));
        assert!(
            closed.is_some(),
            "the peer kept a stream open for {DEADLINE:?}"
        );
    }

    /// Waits until everything sent so far was taken over by the connection.
    #[track_caller]
    pub(crate) fn wait_taken(&self) {
        let taken = self
            .0
            .wait(DEADLINE, |flow| flow.queue.is_empty().then_some(()));
        assert!(
            taken.is_some(),
            "the peer did not read a stream for {DEADLINE:?}"
        );
    }

    /// Pieces sent that the connection did not take over yet.
    pub(crate) fn queued(&self) -> usize {
        self.0.with(|flow| flow.queue.len())
    }

    /// Pieces that the connection has not taken over yet.
    pub(crate) fn waiting(&self) -> usize {
        self.0.with(|flow| flow.queue.len())
    }

    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<Next> {
        self.0.with(|flow| {
            if let Some(data) = flow.queue.pop_front() {
                return Poll::Ready(Next::Data(data));
            }
            match flow.end {
                Some(End::Close) => Poll::Ready(Next::Closed),
                Some(End::Cut) => Poll::Ready(Next::Cut),
                None => {
                    flow.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
    }

    pub(super) fn mark_gone(&self) {
        self.0.with(|flow| {
            flow.gone = true;
            flow.queue.clear();
        });
    }

    /// As [`send`](Self::send), but a stream that has ended swallows it.
    pub(super) fn send_if_open(&self, data: Bytes) {
        if self.0.with(|flow| flow.end.is_none()) {
            self.push(data);
        }
    }

    fn push(&self, data: Bytes) {
        let reader = self.0.with(|flow| {
            assert!(flow.end.is_none(), "the stream was already closed or cut");
            if !flow.gone && !data.is_empty() {
                flow.queue.push_back(data);
            }
            flow.reader.take()
        });
        reader.into_iter().for_each(Waker::wake);
    }

    fn finish(&self, end: End) {
        let reader = self.0.with(|flow| {
            flow.end.get_or_insert(end);
            flow.reader.take()
        });
        reader.into_iter().for_each(Waker::wake);
    }
}

/// One `message` event as text, ended by its blank line.
pub(crate) fn event_text(id: Option<&str>, message: &Value) -> String {
    let mut text = String::from("event: message\n");
    if let Some(id) = id {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "id: {id}");
    }
    let _ = write!(text, "data: {message}\n\n");
    text
}

/// Makes the next chunk of an endless body; `None` ends it after all.
pub(super) type Generator = Box<dyn FnMut() -> Option<Bytes> + Send>;

/// Where a body's bytes come from.
pub(super) enum Source {
    Full(Bytes),
    Stream(StreamHandle),
    Endless(Generator),
}

/// The body given to hyper.
pub(super) struct ReplyBody {
    source: Source,
    /// Whether the socket took less than it was offered last time.
    blocked: Arc<AtomicBool>,
    cutting: bool,
    ended: bool,
    on_drop: Option<Box<dyn FnOnce(bool) + Send>>,
}

impl ReplyBody {
    pub(super) fn new(source: Source) -> Self {
        let ended = matches!(&source, Source::Full(bytes) if bytes.is_empty());
        Self {
            source,
            blocked: Arc::default(),
            cutting: false,
            ended,
            on_drop: None,
        }
    }

    /// Ties the body to its connection, and to what happens when it is over: the argument says
    /// whether its end was reached.
    pub(super) fn attach(
        &mut self,
        blocked: Arc<AtomicBool>,
        on_drop: impl FnOnce(bool) + Send + 'static,
    ) {
        self.blocked = blocked;
        self.on_drop = Some(Box::new(on_drop));
    }

    /// What is to be written past hyper: bytes, and then a stream.
    pub(super) fn raw_parts(&self) -> (Bytes, Option<StreamHandle>) {
        match &self.source {
            Source::Full(bytes) => (bytes.clone(), None),
            Source::Stream(stream) => (Bytes::new(), Some(stream.clone())),
            Source::Endless(_) => panic!("an endless body has a head"),
        }
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let data = match &mut this.source {
            Source::Full(bytes) => {
                this.ended = true;
                Some(std::mem::take(bytes))
            }
            Source::Endless(generator) => generator(),
            Source::Stream(handle) => match handle.poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Next::Data(data)) => Some(data),
                Poll::Ready(Next::Closed) => None,
                Poll::Ready(Next::Cut) => return this.poll_cut(cx),
            },
        };
        this.ended |= data.is_none();
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            _ => SizeHint::default(),
        }
    }
}

impl ReplyBody {
    /// Breaks off only when what was sent before is on the wire: hyper drops unflushed bytes when
    /// a body fails, so it gets one turn to flush, and as many more as the socket needs.
    fn poll_cut(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if !self.cutting {
            self.cutting = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.blocked.load(Ordering::Acquire) {
            return Poll::Pending; // the socket wakes this task
        }
        self.ended = true;
        Poll::Ready(Some(Err(io::Error::other("cut by the test"))))
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        if let Source::Stream(handle) = &self.source {
            handle.mark_gone();
        }
        if let Some(act) = self.on_drop.take() {
            act(self.ended);
        }
    }
}
