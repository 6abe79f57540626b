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
//! One file for each thing that can happen: `client` (a line came in), `send` (a request goes out),
//! `handshake` (first contact and reopening), `attempts` (trying again), `detect` (what era the
//! server is of) and `recall` (what it was at an earlier start), `opening` (it succeeded), `calls`
//! (answers to requests), `outbox` (notifications and responses on their way out), `authorize`
//! (credentials were refused), `stand_in` (answers in the server's place), `tools` (which may be
//! called), `listen` (the server's own stream), `stream` (that of HTTP+SSE), `remote` (a message
//! came from the server), `recover` (a session was lost), `patience` (no answer comes), `heartbeat`
//! (the client is told so), `close` (the end), `trace` (the debug log). `link`, `contact`, `exchange` and `identity` keep the books on the connection, on first
//! contact, on HTTP exchanges and on who the client is; this file holds what else they share.
//!
//! Requests are translated on their way out and answers on their way back, where client and server
//! are not of one era ([`Via`](super::ledger::Via)). `modern`: what a modern server's answers mean,
//! whoever asked. A legacy client's requests to one: `to_modern`, its questions in `asked` and
//! `rounds`, tasks in `tasks`, changes in `subscription` and `subscribers`. A modern client's
//! requests to a legacy server: `to_legacy`, the server's questions in `carrier`, `suspended` and
//! `replays`, its notifications in `upward_notices`, changes in `listeners`, the session's log level
//! in `levels`, tasks in `upward_tasks`, sessions that are replaced in `retired`. Modern on both
//! sides: `relay`, for subscriptions; `gaps` for streams of changes that break.

mod asked;
mod attempts;
mod authorize;
mod calls;
mod carrier;
mod client;
mod close;
mod contact;
mod detect;
mod exchange;
mod gaps;
mod handshake;
mod heartbeat;
mod identity;
mod levels;
mod link;
mod listen;
mod listeners;
mod modern;
mod opening;
mod outbox;
mod patience;
mod recall;
mod recover;
mod relay;
mod remote;
mod replays;
mod retired;
mod rounds;
mod send;
mod settings;
mod stand_in;
mod stream;
mod subscribers;
mod subscription;
mod suspended;
mod tasks;
mod to_legacy;
mod to_modern;
mod tools;
mod trace;
mod upward_notices;
mod upward_tasks;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::authorize::Authorizing;
pub use self::authorize::Credentials;
use self::close::Closing;
use self::detect::Detection;
use self::exchange::{Exchange, Purpose, Resume};
use self::link::{Barrier, Link, Owed, Phase};
use self::listeners::Listeners;
use self::modern::Catalog;
use self::outbox::Outbox;
use self::patience::Patience;
use self::remote::Questions;
use self::rounds::Rounds;
pub use self::settings::{Protocol, Settings};
use self::stand_in::StandIn;
use self::subscription::Subscription;
use self::suspended::Suspended;
use self::to_legacy::Upward;
use self::tools::Listing;
use super::era::meta::Stated;
use super::failure::Failure;
use super::ledger::{Ledger, Place};
use super::message::{Id, Message};
use super::retry::Jitter;
use super::{Body, Ending, Head, Input, Level, Output, Ticket, Trouble, json, limits};

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
    authorizing: Authorizing,
    stand_in: StandIn,
    detection: Detection,
    rounds: Rounds,
    subscription: Subscription,
    suspended: Suspended,
    listeners: Listeners,
    catalog: Catalog,
    upward: Upward,
    patience: Patience,
    said: HashSet<&'static str>,
}

/// What is known about the local client.
#[derive(Debug, Default)]
struct Client {
    /// Its latest `initialize`.
    initialize: Option<Message>,
    /// What its latest modern request said of itself.
    stated: Option<Stated>,
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

type TimerKey = (Instant, u64);

/// A request of our own that waits for its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Initialize,
    Ping,
    Restore,
    /// A page of the list of tools.
    Tools,
    /// `server/discover`, before the server's era is known.
    Discover,
    /// `server/discover` beside the traffic.
    Look,
    /// A resource that a modern client listens for, or does not any more, at a legacy server.
    Watch,
    /// What a modern client's request needs of a legacy server first.
    Upward,
    /// What a legacy client's request needs of a modern server besides.
    Downward,
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
    /// A modern client's questions have been collected long enough.
    Collect(Id),
    Call {
        id: Id,
        wait: u64,
        then: Then,
    },
    Endpoint(Ticket),
    Grace,
    HandshakeLimit(u64),
    HandshakeRetry(u64),
    Initialized(u32),
    /// The session's log level may be higher than anybody needs.
    Level,
    Linger(Ticket),
    Listen(u32),
    /// A modern client's `subscriptions/listen`.
    Listener(Id, u64),
    OutboxRested,
    /// A request has gone unanswered for a while.
    Patience(Id),
    Ping,
    Posted(Ticket),
    Probe(Ticket),
    Restored(u32),
    /// An open request of a legacy client at a modern server: what comes next in its round or task.
    Round(Id, u64),
    /// The change stream of a modern server.
    Subscription(u64),
    /// Suspended requests and questions without an owner are looked through.
    Suspended,
    /// A person was waited for long enough.
    Person(u32),
    Shutdown,
    Sse(u32),
    StandIn(u64),
    ToolList(u64),
    Watch(Id),
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
    /// Ask the server how far its task is.
    AskForTask,
    /// Answer it with this.
    Fail(Failure),
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
            link: Link::to(base),
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
            authorizing: Authorizing::default(),
            stand_in: StandIn::default(),
            detection: Detection::default(),
            rounds: Rounds::default(),
            subscription: Subscription::default(),
            suspended: Suspended::default(),
            listeners: Listeners::default(),
            catalog: Catalog::default(),
            upward: Upward::default(),
            patience: Patience::default(),
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
            Input::SignInNeeded(prompt) => self.on_sign_in_needed(prompt),
            Input::Authorized(outcome) => self.on_authorized(outcome),
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
        let waiting = self.listing.bytes() + self.authorizing.bytes();
        self.parked_bytes + self.outbox.bytes() + waiting < limits::PARKED
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
            Purpose::Sse => self.on_sse_refused(&exchange, head, body),
            Purpose::Initialized => self.on_initialized_answer(ticket, exchange, head, body),
            Purpose::Post => self.on_post_answer(ticket, exchange, head, body),
            Purpose::Listen => self.on_listen_refused(&exchange, head, body),
            Purpose::Own(id) => self.on_own_answer(ticket, &id, exchange, head, body),
            Purpose::Discover => self.on_discover_answer(ticket, &exchange, head, body),
            Purpose::Subscription => self.on_subscription_refused(ticket, &exchange, head, body),
            Purpose::Delete => self.exit(),
            Purpose::Abandoned | Purpose::Drain | Purpose::Retired => {}
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
            Purpose::Initialize | Purpose::Discover => self.on_initialize_streams(ticket, head),
            Purpose::Call(ref id) => {
                let id = id.clone();
                self.call_passed(&id);
            }
            Purpose::Own(_) | Purpose::Subscription | Purpose::Drain | Purpose::Retired => {}
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
            Purpose::Discover if self.is_current(ticket) => self.on_discover_lost(),
            Purpose::Subscription => self.on_subscription_ended(ticket, &exchange),
            Purpose::Delete => self.exit(),
            Purpose::Retired => self.on_retired_ended(&exchange),
            Purpose::Discover
            | Purpose::Abandoned
            | Purpose::Drain
            | Purpose::Post
            | Purpose::Initialized => {}
        }
    }

    fn on_failed(&mut self, ticket: Ticket, trouble: &Trouble) {
        let Some(exchange) = self.take_exchange(ticket) else {
            return;
        };
        self.trace(ticket, || trouble.text.clone());
        match exchange.purpose.clone() {
            Purpose::Call(id) => self.on_call_failed(&id, &exchange, trouble),
            Purpose::Initialize | Purpose::Discover => self.handshake_trouble(trouble),
            Purpose::Sse => self.on_sse_failed(trouble),
            Purpose::Initialized => self.on_initialized_failed(exchange.generation, trouble),
            Purpose::Post => self.on_post_failed(trouble),
            Purpose::Listen => self.on_listen_failed(),
            Purpose::Own(id) => self.on_own_lost(&id),
            Purpose::Subscription => self.on_subscription_ended(ticket, &exchange),
            Purpose::Delete => self.exit(),
            Purpose::Retired => self.on_retired_ended(&exchange),
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
                Timer::Collect(id) => self.on_collected(&id),
                Timer::Call { id, wait, then } => self.on_call_timer(&id, wait, then),
                Timer::Endpoint(ticket) => self.on_endpoint_timeout(ticket),
                Timer::Grace => self.on_grace_over(),
                Timer::HandshakeLimit(serial) => self.on_handshake_limit(serial),
                Timer::HandshakeRetry(serial) => self.on_handshake_retry(serial),
                Timer::Initialized(generation) => self.on_initialized_timer(generation),
                Timer::Level => self.on_level_timer(),
                Timer::Linger(ticket) => self.on_linger_over(ticket),
                Timer::Listen(generation) => self.on_listen_timer(generation),
                Timer::Listener(id, number) => self.on_listener_timer(&id, number),
                Timer::OutboxRested => self.on_outbox_rested(),
                Timer::Patience(id) => self.on_patience(&id),
                Timer::Posted(ticket) => self.on_post_timeout(ticket),
                Timer::Ping => self.on_ping_timer(),
                Timer::Probe(ticket) => self.on_probe_timeout(ticket),
                Timer::Restored(generation) => self.on_restore_timeout(generation),
                Timer::Round(id, number) => self.on_round_timer(&id, number),
                Timer::Subscription(serial) => self.on_subscription_timer(serial),
                Timer::Suspended => self.on_suspended_timer(),
                Timer::Person(count) => self.on_person_late(count),
                Timer::Shutdown => self.exit(),
                Timer::StandIn(serial) => self.on_initialize_late(serial),
                Timer::Sse(generation) => self.on_sse_timer(generation),
                Timer::ToolList(serial) => self.on_tool_list_timeout(serial),
                Timer::Watch(id) => self.on_watch_settled(&id, false),
            }
        }
    }

    /// Sends what waits, as far as the link allows.
    fn pump(&mut self) {
        self.reopen_for_parked();
        while matches!(self.link.phase, Phase::Open | Phase::Idle)
            && !self.authorizing.holds_traffic()
            && !self.is_verifying()
            && self.calls_in_flight.saturating_sub(self.listening()) < limits::IN_FLIGHT
        {
            let idle = matches!(self.link.phase, Phase::Idle);
            match self.parked.pop_front() {
                None => break,
                Some(Parked::Request(id, size)) => {
                    self.parked_bytes -= size;
                    let entry = self.ledger.get(&id);
                    match entry.filter(|entry| entry.place == Place::Parked) {
                        None => {}
                        Some(_) if idle => self.fail_without_session(&id),
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
        if !self.is_verifying() {
            self.pump_subscription();
        }
        self.pump_listeners();
        self.pump_tool_list();
        self.leave_suspended();
        self.pump_outbox();
        self.pump_retired();
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

#[cfg(test)]
mod tests;
