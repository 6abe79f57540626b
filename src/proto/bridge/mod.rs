//! The state machine between one local client and one remote server.
//!
//! ```text
//!                 initialize                 initialized, 2xx
//!   Idle ───────────────────▶ Handshaking ──▶ Open ──▶ Barrier ──▶ Open
//!    ▲                          │   ▲                               │ session lost
//!    └────── failed ────────────┘   └───────────────────────────────┘
//!                                   (with the client's own initialize, unseen by it)
//! ```
//!
//! One file for each thing that can happen: `client` (a line came in), `handshake` (first contact
//! and reopening), `attempts` (trying again), `opening` (it succeeded), `calls` (answers to
//! requests), `outbox` (notifications and responses on their way out), `tools` (which may be
//! called), `listen` (the server's own stream), `remote` (a message came from the server),
//! `recover` (a session was lost), `close` (the end), `trace` (the debug log). This file holds what
//! they share.

mod attempts;
mod calls;
mod client;
mod close;
mod handshake;
mod listen;
mod opening;
mod outbox;
mod recover;
mod remote;
mod stream;
mod tools;
mod trace;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use url::Url;

use self::close::Closing;
use self::handshake::Handshake;
use self::listen::Listen;
use self::outbox::Outbox;
use self::recover::Recoveries;
use self::remote::Questions;
use self::tools::Listing;
use super::failure::Failure;
use super::filter::Filter;
use super::ledger::{Ledger, Place};
use super::message::{Id, Message};
use super::retry::Jitter;
use super::transport::{Strategy, Transport};
use super::{
    Body, Ending, Head, Input, Level, Output, Request, Ticket, Trouble, Verb, headers, json, limits,
};

/// What the bridge is told once, at the start.
#[derive(Debug)]
pub struct Settings {
    /// The server.
    pub url: Arc<Url>,
    /// Which transports to try.
    pub strategy: Strategy,
    /// Which tools the client may see and call.
    pub filter: Filter,
    /// Send a `ping` this often while connected.
    pub ping_interval: Option<Duration>,
    /// How long open requests may take to finish after the client closed its end.
    pub eof_grace: Duration,
    /// Largest message in either direction, in bytes; for the texts that name it.
    pub message_limit: usize,
    /// The user gave an `Authorization` header.
    pub has_authorization: bool,
    /// The user gave commands that make headers.
    pub has_header_commands: bool,
    /// Whether [`Level::Debug`] lines are wanted.
    pub debug: bool,
    /// Unpredictable text that marks the ids of our own messages, so that neither side can use
    /// them.
    pub nonce: String,
    /// Spread for waits, different in every process.
    pub seed: u64,
}

/// The bridge. See the module's head for its states.
#[derive(Debug)]
pub struct Bridge {
    settings: Settings,
    now: Instant,
    out: Vec<Output>,
    client: Client,
    link: Link,
    ledger: Ledger,
    exchanges: HashMap<Ticket, Exchange>,
    calls_in_flight: usize,
    own: HashMap<Id, Own>,
    questions: Questions,
    parked: VecDeque<Parked>,
    parked_bytes: usize,
    outbox: Outbox,
    listing: Listing,
    timers: BTreeMap<TimerKey, Timer>,
    closing: Closing,
    /// A broken stream on which the answer to `initialize` may still come.
    initialize_resume: Option<Resume>,
    serial: u64,
    jitter: Jitter,
    refreshing: bool,
    /// How often the header commands ran again.
    headers_run: u32,
    said: HashSet<&'static str>,
}

/// What is known about the local client.
#[derive(Debug, Default)]
struct Client {
    /// Its latest `initialize`, to be replayed when a session is reopened.
    initialize: Option<Message>,
    /// The revision it was told.
    version: Option<String>,
    /// Whether it sent `notifications/initialized`.
    initialized: bool,
    /// Messages that must not reach it before that.
    held: Vec<Bytes>,
    /// `listChanged` notifications the server promised it.
    list_changed: Vec<&'static str>,
    /// Its last accepted `logging/setLevel` parameters, raw JSON.
    log_level: Option<String>,
    /// Its subscribed resources: URI to `resources/subscribe` parameters, raw JSON.
    subscriptions: BTreeMap<String, String>,
}

/// The connection to the server.
#[derive(Debug)]
struct Link {
    phase: Phase,
    /// Decided by the first handshake that succeeded.
    transport: Option<Transport>,
    /// The server's URL; changes only by a permanent redirect.
    base: Arc<Url>,
    /// Where messages are sent.
    endpoint: Arc<Url>,
    session: Option<HeaderValue>,
    version: Option<HeaderValue>,
    /// The open stream of HTTP+SSE, and the address it was read from.
    sse: Option<Ticket>,
    stream_url: Arc<Url>,
    /// Counts sessions; an exchange remembers the one it belongs to.
    generation: u32,
    listen: Listen,
    recoveries: Recoveries,
}

#[derive(Debug)]
enum Phase {
    /// No handshake was asked for, or the last one failed.
    Idle,
    Handshaking(Box<Handshake>),
    /// `notifications/initialized` (or what a reopened session is given back) is on its way;
    /// everything else waits.
    Barrier(Barrier),
    Open,
    /// The session was lost and could not be reopened.
    Lost {
        since: Instant,
        failure: Failure,
    },
}

#[derive(Debug)]
enum Barrier {
    Initialized {
        note: Message,
        reopened: bool,
        /// How often it was sent.
        tries: u32,
    },
    /// Requests that restore what a lost session knew: method and parameters of those to come.
    Restoring(VecDeque<(&'static str, String)>),
}

/// One HTTP exchange.
#[derive(Debug)]
struct Exchange {
    purpose: Purpose,
    generation: u32,
    /// The run of the header commands that made its headers.
    headers_run: u32,
    /// Sent within a session, so that "session not found" may be true.
    in_session: bool,
    /// A GET that continues a broken stream.
    resumes: bool,
    streaming: bool,
    /// `Mcp-Session-Id` of the answer.
    session: Option<HeaderValue>,
    moved_to: Option<Arc<Url>>,
    last_event: Option<HeaderValue>,
    retry_ms: Option<u64>,
    /// Resumptions in a row that brought neither a message nor a new event id.
    fruitless: u32,
    /// When it or its stream began.
    since: Instant,
    /// A timer that goes with it.
    timer: Option<TimerKey>,
}

type TimerKey = (Instant, u64);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Purpose {
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
    /// The end of the session.
    Delete,
}

/// A request of our own that waits for its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Initialize,
    Ping,
    Restore,
    /// A page of the list of tools.
    Tools,
}

/// A message of the client that waits for the link.
#[derive(Debug)]
enum Parked {
    /// A request and its size in bytes.
    Request(Id, usize),
    Note(Message),
}

#[derive(Clone, Debug, PartialEq)]
enum Timer {
    Accepted(Ticket),
    Call { id: Id, wait: u64, then: Then },
    Endpoint(Ticket),
    Grace,
    HandshakeLimit(u64),
    HandshakeRetry(u64),
    Initialized(u32),
    Linger(Ticket),
    Listen(u32),
    OutboxRested,
    Ping,
    Posted(Ticket),
    Restored(u32),
    Shutdown,
    Sse(u32),
    ToolList(u64),
}

/// What happens to a waiting request when its timer fires.
#[derive(Clone, Debug, PartialEq)]
enum Then {
    /// Send it again, under the client's id or a new one.
    Send { mint: bool },
    /// Continue its stream.
    Resume(Resume),
    /// Wait for its answer on the server's own stream, or give up if there is none.
    LookElsewhere,
    /// Answer it with this.
    Fail(Failure),
}

/// What is known of a broken stream that can be continued.
#[derive(Clone, Debug, PartialEq)]
struct Resume {
    last_event: HeaderValue,
    retry_ms: Option<u64>,
    fruitless: u32,
}

impl Bridge {
    /// A bridge that has not talked to anybody yet.
    #[must_use]
    pub fn new(settings: Settings, now: Instant) -> Self {
        let base = Arc::clone(&settings.url);
        let jitter = Jitter::new(settings.seed);
        Self {
            settings,
            now,
            out: Vec::new(),
            client: Client::default(),
            link: Link {
                phase: Phase::Idle,
                transport: None,
                endpoint: Arc::clone(&base),
                stream_url: Arc::clone(&base),
                base,
                sse: None,
                session: None,
                version: None,
                generation: 0,
                listen: Listen::default(),
                recoveries: Recoveries::default(),
            },
            ledger: Ledger::default(),
            exchanges: HashMap::new(),
            calls_in_flight: 0,
            own: HashMap::new(),
            questions: Questions::default(),
            parked: VecDeque::new(),
            parked_bytes: 0,
            outbox: Outbox::default(),
            listing: Listing::default(),
            timers: BTreeMap::new(),
            closing: Closing::No,
            initialize_resume: None,
            serial: 0,
            jitter,
            refreshing: false,
            headers_run: 0,
            said: HashSet::new(),
        }
    }

    /// Takes one fact and pushes the orders that follow from it, in the order in which they are to
    /// be performed. `now` never runs backwards.
    pub fn handle(&mut self, now: Instant, input: Input, out: &mut Vec<Output>) {
        self.now = now;
        if self.is_ending() && matches!(input, Input::Line(_) | Input::LineTooLong(_)) {
            return;
        }
        match input {
            Input::Line(line) => self.on_line(&line),
            Input::LineTooLong(head) => self.on_long_line(&head),
            Input::LocalClosed => self.on_local_closed(),
            Input::Stop(reason) => self.on_stop(reason),
            Input::Answer(ticket, head, body) => self.on_answer(ticket, &head, &body),
            Input::Streaming(ticket, head) => self.on_streaming(ticket, &head),
            Input::Events(ticket, events) => self.on_events(ticket, events),
            Input::Ended(ticket, ending) => self.on_ended(ticket, &ending),
            Input::Failed(ticket, trouble) => self.on_failed(ticket, &trouble),
            Input::HeadersRefreshed { ok } => self.on_headers_refreshed(ok),
            Input::Wake => self.on_wake(),
        }
        self.pump();
        out.append(&mut self.out);
    }

    /// When [`Input::Wake`] is due, if nothing else happens before.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    /// Whether more lines of the client may be handed in: `false` while [`limits::PARKED`] bytes
    /// already wait for the server.
    #[must_use]
    pub fn wants_lines(&self) -> bool {
        self.parked_bytes + self.outbox.bytes() + self.listing.bytes() < limits::PARKED
    }

    fn on_answer(&mut self, ticket: Ticket, head: &Head, body: &Body) {
        let Some(mut exchange) = self.take_exchange(ticket) else {
            return;
        };
        exchange.note_head(head);
        self.trace_answer(ticket, head.status, body.bytes.len());
        match exchange.purpose.clone() {
            Purpose::Call(id) => self.on_call_answer(ticket, &id, exchange, head, body),
            Purpose::Initialize => self.on_initialize_answer(ticket, exchange, head, body),
            Purpose::Sse => self.on_sse_refused(head, body),
            Purpose::Initialized => self.on_initialized_answer(ticket, exchange, head, body),
            Purpose::Post => self.on_post_answer(ticket, exchange, head, body),
            Purpose::Listen => self.on_listen_refused(&exchange, head, body),
            Purpose::Own(id) => self.on_own_answer(ticket, &id, exchange, head, body),
            Purpose::Delete => self.exit(),
            Purpose::Abandoned | Purpose::Drain => {}
        }
    }

    fn on_streaming(&mut self, ticket: Ticket, head: &Head) {
        let now = self.now;
        self.trace_stream(ticket, head.status);
        let Some(exchange) = self.exchanges.get_mut(&ticket) else {
            return;
        };
        exchange.note_head(head);
        exchange.streaming = true;
        exchange.since = now;
        match exchange.purpose {
            Purpose::Abandoned | Purpose::Delete => self.cancel_exchange(ticket),
            Purpose::Post => self.on_post_streams(ticket),
            Purpose::Initialized => self.on_initialized_taken(ticket),
            Purpose::Listen => self.on_listen_open(ticket),
            Purpose::Sse => self.on_sse_streams(ticket, head),
            Purpose::Initialize => self.on_initialize_streams(ticket, head),
            Purpose::Call(_) | Purpose::Own(_) | Purpose::Drain => {}
        }
    }

    fn on_ended(&mut self, ticket: Ticket, ending: &Ending) {
        let Some(exchange) = self.take_exchange(ticket) else {
            return;
        };
        self.trace_end(ticket, ending);
        match exchange.purpose.clone() {
            Purpose::Call(id) => self.on_call_ended(&id, &exchange, ticket, ending),
            Purpose::Initialize => self.on_initialize_ended(&exchange, ending),
            Purpose::Listen => self.on_listen_ended(&exchange, ending),
            Purpose::Sse => self.on_sse_ended(&exchange, ending),
            Purpose::Own(id) => self.on_own_lost(&id),
            Purpose::Delete => self.exit(),
            Purpose::Abandoned | Purpose::Drain | Purpose::Post | Purpose::Initialized => {}
        }
    }

    fn on_failed(&mut self, ticket: Ticket, trouble: &Trouble) {
        let Some(exchange) = self.take_exchange(ticket) else {
            return;
        };
        self.trace(ticket, || trouble.text.clone());
        match exchange.purpose.clone() {
            Purpose::Call(id) => self.on_call_failed(&id, &exchange, trouble),
            Purpose::Initialize => self.on_initialize_failed(trouble),
            Purpose::Sse => self.on_sse_failed(trouble),
            Purpose::Initialized => self.on_initialized_failed(exchange.generation, trouble),
            Purpose::Post => self.on_post_failed(trouble),
            Purpose::Listen => self.on_listen_failed(),
            Purpose::Own(id) => self.on_own_lost(&id),
            Purpose::Delete => self.exit(),
            Purpose::Abandoned | Purpose::Drain => {}
        }
    }

    fn on_wake(&mut self) {
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > self.now {
                return;
            }
            match entry.remove() {
                Timer::Accepted(ticket) => self.on_initialized_taken(ticket),
                Timer::Call { id, wait, then } => self.on_call_timer(&id, wait, then),
                Timer::Endpoint(ticket) => self.on_endpoint_timeout(ticket),
                Timer::Grace => self.on_grace_over(),
                Timer::HandshakeLimit(serial) => self.on_handshake_limit(serial),
                Timer::HandshakeRetry(serial) => self.on_handshake_retry(serial),
                Timer::Initialized(generation) => self.on_initialized_timer(generation),
                Timer::Linger(ticket) => self.on_linger_over(ticket),
                Timer::Listen(generation) => self.on_listen_timer(generation),
                Timer::OutboxRested => self.on_outbox_rested(),
                Timer::Posted(ticket) => self.on_post_timeout(ticket),
                Timer::Ping => self.on_ping_timer(),
                Timer::Restored(generation) => self.on_restore_timeout(generation),
                Timer::Shutdown => self.exit(),
                Timer::Sse(generation) => self.on_sse_timer(generation),
                Timer::ToolList(serial) => self.on_tool_list_timeout(serial),
            }
        }
    }

    /// Sends what waits, as far as the link allows.
    fn pump(&mut self) {
        while matches!(self.link.phase, Phase::Open | Phase::Idle)
            && !self.refreshing
            && self.calls_in_flight < limits::IN_FLIGHT
        {
            let idle = matches!(self.link.phase, Phase::Idle);
            match self.parked.pop_front() {
                None => break,
                Some(Parked::Request(id, size)) => {
                    self.parked_bytes -= size;
                    let entry = self.ledger.get(&id);
                    match entry.filter(|entry| entry.place == Place::Parked) {
                        None => {}
                        Some(entry) if idle && !client::needs_no_handshake(&entry.message) => {
                            self.fail_without_session(&id);
                        }
                        Some(_) => self.send_call(&id, false),
                    }
                }
                Some(Parked::Note(note)) => {
                    self.parked_bytes -= note.text().len() + limits::PARKED_EACH;
                    if !idle {
                        self.post_note(&note);
                    }
                }
            }
        }
        self.pump_tool_list();
        self.pump_outbox();
        self.check_closing();
    }

    fn park_request(&mut self, id: &Id) {
        if let Some(entry) = self.ledger.get_mut(id) {
            entry.place = Place::Parked;
            let size = entry.message.text().len() + limits::PARKED_EACH;
            self.parked_bytes += size;
            self.parked.push_back(Parked::Request(id.clone(), size));
        }
    }

    fn park_note(&mut self, note: Message) {
        self.parked_bytes += note.text().len() + limits::PARKED_EACH;
        self.parked.push_back(Parked::Note(note));
    }

    // Exchanges.

    fn start(&mut self, purpose: Purpose, request: Request) -> Ticket {
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
            headers_run: self.headers_run,
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

    fn take_exchange(&mut self, ticket: Ticket) -> Option<Exchange> {
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
    fn repurpose(&mut self, ticket: Ticket, purpose: Purpose) {
        if let Some(exchange) = self.exchanges.get_mut(&ticket) {
            if matches!(exchange.purpose, Purpose::Call(_)) {
                self.calls_in_flight -= 1;
            }
            exchange.purpose = purpose;
        }
    }

    fn cancel_exchange(&mut self, ticket: Ticket) {
        if self.take_exchange(ticket).is_some() {
            self.out.push(Output::Cancel(ticket));
        }
    }

    /// A POST of one message, with the headers that MCP asks for (MCP 2025-11-25, Transports,
    /// Sending Messages to the Server; `Mcp-Method` and `Mcp-Name` of 2026-07-28 do no harm
    /// earlier and some gateways want them).
    fn post(&self, message: &Message, body: Bytes) -> Request {
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

    /// A GET for an event stream. Compression is declined: servers that compress streams tend to
    /// hold events back.
    fn get(&self, url: &Arc<Url>, last_event: Option<&HeaderValue>) -> Request {
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

    fn session_headers(&self, for_initialize: bool) -> Vec<(HeaderName, HeaderValue)> {
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

    // Small things that everybody uses.

    fn own_id(&mut self) -> Id {
        self.serial += 1;
        Id::text(&format!("mb-{}-{}", self.settings.nonce, self.serial))
    }

    fn after(&mut self, wait: Duration, timer: Timer) -> TimerKey {
        self.serial += 1;
        let key = (self.now + wait, self.serial);
        self.timers.insert(key, timer);
        key
    }

    /// Starts a timer that goes when its exchange goes; an exchange has one at a time.
    fn time_exchange(&mut self, ticket: Ticket, wait: Duration, timer: Timer) {
        let key = self.after(wait, timer);
        if let Some(exchange) = self.exchanges.get_mut(&ticket)
            && let Some(old) = exchange.timer.replace(key)
        {
            self.timers.remove(&old);
        }
    }

    /// Writes one message to the client, on one line.
    fn line(&mut self, message: Bytes) {
        let line = json::to_one_line(message);
        if line.len() > limits::LARGE_LINE && self.said.insert("large-line") {
            let size = line.len() >> 20;
            self.say(
                Level::Warn,
                format!("a message of {size} MiB goes to the client; some clients refuse lines above 10 MiB"),
            );
        }
        self.out.push(Output::Line(line));
    }

    fn say(&mut self, level: Level, text: impl Into<String>) {
        self.out.push(Output::Say(level, text.into()));
    }

    fn debug(&mut self, text: impl FnOnce() -> String) {
        if self.settings.debug {
            let text = text();
            self.say(Level::Debug, text);
        }
    }

    /// Says something the first time it happens; later times only in the debug log.
    fn say_once(&mut self, what: &'static str, level: Level, text: impl FnOnce() -> String) {
        if self.said.insert(what) {
            let text = text();
            self.say(level, text);
        } else {
            self.debug(text);
        }
    }
}

/// Both types on every POST (MCP 2025-11-25, Transports, Sending Messages to the Server).
const ACCEPT_BOTH: &str = "application/json, text/event-stream";

impl Exchange {
    fn note_head(&mut self, head: &Head) {
        self.session = head
            .headers
            .get(&headers::SESSION_ID)
            .and_then(headers::session_id);
        self.moved_to = head.moved_permanently.then(|| Arc::clone(&head.url));
    }

    fn resume(&self) -> Option<Resume> {
        let last_event = self.last_event.clone()?;
        Some(Resume {
            last_event,
            retry_ms: self.retry_ms,
            fruitless: self.fruitless,
        })
    }
}

#[cfg(test)]
mod tests;
