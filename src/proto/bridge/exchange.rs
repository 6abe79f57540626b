//! One HTTP exchange: what it is for, what is known of it, and the requests that start one.
//!
//! In: bookkeeping of exchanges, and the headers that MCP asks for. Out: what an answer means; that
//! stands in one file for each purpose.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use url::Url;

use super::{Bridge, Timer, TimerKey};
use crate::proto::message::{Id, Message};
use crate::proto::transport::Transport;
use crate::proto::{Head, Output, Request, Ticket, Verb, headers};

/// One HTTP exchange.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) purpose: Purpose,
    pub(super) generation: u32,
    /// How often other credentials had been got when it was sent.
    pub(super) authorizations: u32,
    /// Sent within a session, so that "session not found" may be true.
    pub(super) in_session: bool,
    /// A GET that continues a broken stream.
    pub(super) resumes: bool,
    pub(super) streaming: bool,
    /// `Mcp-Session-Id` of the answer.
    pub(super) session: Option<HeaderValue>,
    pub(super) moved_to: Option<Arc<Url>>,
    pub(super) last_event: Option<HeaderValue>,
    pub(super) retry_ms: Option<u64>,
    /// Resumptions in a row that brought neither a message nor a new event id.
    pub(super) fruitless: u32,
    /// When it or its stream began.
    pub(super) since: Instant,
    /// A timer that goes with it.
    pub(super) timer: Option<TimerKey>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The client's request with this id.
    Call(Id),
    /// A request the client has cancelled; its answer is of no interest.
    Abandoned,
    /// `initialize`.
    Initialize,
    /// `notifications/initialized`.
    Initialized,
    /// The front of the outbox.
    Post,
    /// A notification's POST that was answered with a stream.
    Drain,
    /// The server's own stream (GET).
    Listen,
    /// The stream of HTTP+SSE.
    Sse,
    /// A request of our own.
    Own(Id),
    /// `server/discover`, before the server's era is known.
    Discover,
    /// The changes that a modern server tells of.
    Subscription,
    /// The server's own stream in a session that another has taken the place of.
    Retired,
    /// The end of the session.
    Delete,
}

/// What is known of a broken stream that can be continued.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Resume {
    pub(super) last_event: HeaderValue,
    pub(super) retry_ms: Option<u64>,
    pub(super) fruitless: u32,
}

/// Both types on every POST (MCP 2025-11-25, Transports, Sending Messages to the Server).
const ACCEPT_BOTH: &str = "application/json, text/event-stream";

impl Bridge {
    // Exchanges.

    pub(super) fn start(&mut self, purpose: Purpose, request: Request) -> Ticket {
        self.serial += 1;
        let ticket = Ticket(self.serial);
        if matches!(purpose, Purpose::Call(_)) {
            self.calls_in_flight += 1;
        }
        self.trace_start(ticket, &purpose, &request);
        let in_session = self.link.session.is_some() || self.link.transport == Some(Transport::Sse);
        let exchange = Exchange {
            purpose,
            generation: self.link.generation,
            authorizations: self.authorizing.done(),
            in_session,
            resumes: false,
            streaming: false,
            session: None,
            moved_to: None,
            last_event: None,
            retry_ms: None,
            fruitless: 0,
            since: self.now,
            timer: None,
        };
        self.exchanges.insert(ticket, exchange);
        self.out.push(Output::Send(ticket, request));
        ticket
    }

    pub(super) fn take_exchange(&mut self, ticket: Ticket) -> Option<Exchange> {
        let exchange = self.exchanges.remove(&ticket)?;
        if let Some(timer) = exchange.timer {
            self.timers.remove(&timer);
        }
        if matches!(exchange.purpose, Purpose::Call(_)) {
            self.calls_in_flight -= 1;
        }
        Some(exchange)
    }

    /// Puts an exchange to another use.
    pub(super) fn repurpose(&mut self, ticket: Ticket, purpose: Purpose) {
        if let Some(exchange) = self.exchanges.get_mut(&ticket) {
            if matches!(exchange.purpose, Purpose::Call(_)) {
                self.calls_in_flight -= 1;
            }
            exchange.purpose = purpose;
        }
    }

    pub(super) fn cancel_exchange(&mut self, ticket: Ticket) {
        if self.take_exchange(ticket).is_some() {
            self.out.push(Output::Cancel(ticket));
        }
    }

    /// A POST of one message, with the headers that MCP asks for (MCP 2025-11-25, Transports,
    /// Sending Messages to the Server; `Mcp-Method` and `Mcp-Name` of 2026-07-28 do no harm
    /// earlier and some gateways want them).
    pub(super) fn post(&self, message: &Message, body: Bytes) -> Request {
        let mut fields = self.session_headers(message.method() == "initialize");
        fields.push((header::ACCEPT, HeaderValue::from_static(ACCEPT_BOTH)));
        fields.push((
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        ));
        headers::mirrored(message.method(), message.params(), &mut fields);
        let url = Arc::clone(&self.link.endpoint);
        Request {
            verb: Verb::Post,
            url,
            headers: fields,
            body,
            after: None,
        }
    }

    /// A POST of one message to a modern server (MCP 2026-07-28, Streamable HTTP, Sending Messages
    /// to the Server): no session, the revision that its `_meta` names, arguments that the tool's
    /// schema wants repeated.
    pub(super) fn post_modern(&self, message: &Message, body: Bytes, version: &str) -> Request {
        let version =
            HeaderValue::from_str(version).unwrap_or_else(|_| headers::encode_value(version));
        let mut fields = vec![
            (header::ACCEPT, HeaderValue::from_static(ACCEPT_BOTH)),
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            ),
            (headers::PROTOCOL_VERSION, version),
        ];
        headers::mirrored(message.method(), message.params(), &mut fields);
        if message.method() == "tools/call"
            && let Some(params) = message.params()
        {
            self.catalog.headers.add(params, &mut fields);
        }
        Request {
            verb: Verb::Post,
            url: Arc::clone(&self.link.endpoint),
            headers: fields,
            body,
            after: None,
        }
    }

    /// A GET for an event stream. Compression is declined: servers that compress streams tend to
    /// hold events back.
    pub(super) fn get(&self, url: &Arc<Url>, last_event: Option<&HeaderValue>) -> Request {
        let mut fields = self.session_headers(false);
        fields.push((
            header::ACCEPT,
            HeaderValue::from_static("text/event-stream"),
        ));
        fields.push((
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        ));
        fields.push((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
        if let Some(id) = last_event {
            fields.push((headers::LAST_EVENT_ID, id.clone()));
        }
        let url = Arc::clone(url);
        Request {
            verb: Verb::Get,
            url,
            headers: fields,
            body: Bytes::new(),
            after: None,
        }
    }

    pub(super) fn session_headers(&self, for_initialize: bool) -> Vec<(HeaderName, HeaderValue)> {
        let mut fields = Vec::with_capacity(8);
        if !for_initialize {
            if let Some(version) = &self.link.version {
                fields.push((headers::PROTOCOL_VERSION, version.clone()));
            }
            if let Some(session) = &self.link.session {
                fields.push((headers::SESSION_ID, session.clone()));
            }
        }
        fields
    }

    /// Starts a timer that goes when its exchange goes; an exchange has one at a time.
    pub(super) fn time_exchange(&mut self, ticket: Ticket, wait: Duration, timer: Timer) {
        let key = self.after(wait, timer);
        if let Some(exchange) = self.exchanges.get_mut(&ticket)
            && let Some(old) = exchange.timer.replace(key)
        {
            self.timers.remove(&old);
        }
    }
}

impl Exchange {
    pub(super) fn note_head(&mut self, head: &Head) {
        self.session = head
            .headers
            .get(&headers::SESSION_ID)
            .and_then(headers::session_id);
        self.moved_to = head.moved_permanently.then(|| Arc::clone(&head.url));
    }

    pub(super) fn resume(&self) -> Option<Resume> {
        let last_event = self.last_event.clone()?;
        Some(Resume {
            last_event,
            retry_ms: self.retry_ms,
            fruitless: self.fruitless,
        })
    }
}
