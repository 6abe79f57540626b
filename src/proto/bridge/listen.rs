//! The server's own stream on Streamable HTTP (MCP 2025-11-25, Transports, Listening for Messages
//! from the Server): opened once per session, reopened when it ends, never insisted on.
//!
//! In: when to open it and when to leave it. Out: the messages on it (`remote`).

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::{Bridge, Exchange, Own, Phase, Purpose, Timer};
use crate::proto::classify;
use crate::proto::ledger::Place;
use crate::proto::retry;
use crate::proto::transport::Transport;
use crate::proto::{Body, Ending, Head, Level, Ticket, limits};

/// Waits before a stream that the server believes open (409) is asked for again.
const TAKEN: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(30),
];

/// A stream that lived this long was no failure.
const ALIVE: Duration = Duration::from_secs(60);

/// Where the stream stands.
#[derive(Debug, Default)]
pub(super) struct Listen {
    state: State,
    last_event: Option<HeaderValue>,
    failures: u32,
    taken: usize,
    /// The server has opened it once in this session.
    was_open: bool,
    /// How often other credentials were got for it.
    authorizations: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Not asked for in this session.
    #[default]
    Closed,
    Opening(Ticket),
    Open(Ticket),
    /// Waiting for its timer.
    Resting,
    /// Waiting for other credentials.
    Refused,
    /// The server offers none.
    Off,
}

impl Listen {
    /// Whether messages may come on it now.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Whether it was asked for and nobody knows yet whether there is one.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.state, State::Opening(_))
    }

    /// Whether it is open, or may be again.
    pub(super) fn may_open(&self) -> bool {
        !matches!(self.state, State::Off | State::Closed)
    }

    fn ticket(&self) -> Option<Ticket> {
        match self.state {
            State::Opening(ticket) | State::Open(ticket) => Some(ticket),
            State::Closed | State::Resting | State::Refused | State::Off => None,
        }
    }
}

impl Bridge {
    /// Asks for the stream, beside everything else.
    pub(super) fn open_listen(&mut self) {
        if self.link.transport != Some(Transport::StreamableHttp)
            || !self.link.ready
            || self.link.modern.is_some()
            || !matches!(
                self.link.listen.state,
                State::Closed | State::Resting | State::Refused
            )
        {
            return;
        }
        let last_event = self.link.listen.last_event.clone();
        let request = self.get(&Arc::clone(&self.link.endpoint), last_event.as_ref());
        let ticket = self.start(Purpose::Listen, request);
        if let Some(exchange) = self.exchanges.get_mut(&ticket) {
            exchange.last_event = last_event;
        }
        self.link.listen.state = State::Opening(ticket);
    }

    /// Leaves the stream as it is, for another session; gives its exchange.
    pub(super) fn leave_listen(&mut self) -> Option<Ticket> {
        std::mem::take(&mut self.link.listen).ticket()
    }

    /// Drops the stream, for another session or the end.
    pub(super) fn drop_listen(&mut self) {
        let listen = std::mem::take(&mut self.link.listen);
        if let Some(ticket) = listen.ticket() {
            self.cancel_exchange(ticket);
        }
    }

    pub(super) fn on_listen_open(&mut self, ticket: Ticket) {
        self.link.listen.state = State::Open(ticket);
        self.link.listen.taken = 0;
        self.link.listen.was_open = true;
        self.link.listen.authorizations = 0;
        self.debug(|| "the server's stream is open".into());
        self.stream_settled();
    }

    pub(super) fn on_listen_refused(&mut self, exchange: &Exchange, head: &Head, body: &Body) {
        let status = head.status;
        if self.link.listen.was_open
            && classify::session_is_named_lost(head, &body.bytes)
            && self.lose_session(exchange.generation)
        {
            return;
        }
        let refused = self.refusal(head);
        let authorizations = self.link.listen.authorizations;
        if refused.is_some() && self.settings.credentials.may_be_renewed(authorizations) {
            self.link.listen.authorizations += 1;
            self.link.listen.state = State::Refused;
            self.authorize(exchange.authorizations, refused, "GET");
            if !self.authorizing.is_under_way() {
                self.open_listen();
            }
            return;
        }
        if status == 409
            && let Some(&wait) = TAKEN.get(self.link.listen.taken)
        {
            self.link.listen.taken += 1;
            return self.listen_later(wait);
        }
        if classify::is_transient(status) {
            return self.listen_failed();
        }
        self.link.listen.state = State::Off;
        self.stream_settled();
        self.lose_elsewhere();
        self.debug(|| format!("the server offers no stream of its own (HTTP {status})"));
    }

    /// There are other credentials: the stream that was refused is asked for once more.
    pub(super) fn listen_authorized(&mut self) {
        if self.link.listen.state == State::Refused {
            self.open_listen();
        }
    }

    pub(super) fn on_listen_failed(&mut self) {
        self.listen_failed();
    }

    pub(super) fn on_listen_ended(&mut self, exchange: &Exchange, ending: &Ending) {
        self.link.listen.last_event.clone_from(&exchange.last_event);
        if let Ending::TooLarge(text) = ending {
            self.say(Level::Warn, format!("the server's own stream: {text}"));
        }
        // Requests whose answer was to come there have no other way to get it.
        for id in self.ledger.select(|entry| entry.place == Place::Elsewhere) {
            if exchange.last_event.is_none() {
                self.request_lost(&id);
            }
        }
        if self.now.saturating_duration_since(exchange.since) >= ALIVE {
            self.link.listen.failures = 0;
        }
        if exchange.retry_ms.is_some() {
            let wait = retry::stream_wait(exchange.retry_ms, 0, &mut self.jitter);
            return self.listen_later(wait);
        }
        self.listen_failed();
    }

    pub(super) fn on_listen_timer(&mut self, generation: u32) {
        if generation == self.link.generation
            && matches!(self.link.phase, Phase::Open | Phase::Barrier(_))
            && self.link.listen.state == State::Resting
        {
            self.open_listen();
        }
    }

    fn listen_failed(&mut self) {
        let failures = self.link.listen.failures;
        self.link.listen.failures = failures.saturating_add(1);
        if failures + 1 >= limits::RESUMPTIONS {
            // Requests whose answer was to come there are not kept waiting for ever.
            self.lose_elsewhere();
        }
        let wait = retry::stream_wait(None, failures, &mut self.jitter);
        if failures.is_multiple_of(10) {
            self.debug(|| {
                format!(
                    "the server's stream is gone; asking again in {} ms",
                    wait.as_millis()
                )
            });
        }
        self.listen_later(wait);
    }

    fn listen_later(&mut self, wait: Duration) {
        self.link.listen.state = State::Resting;
        self.stream_settled();
        let generation = self.link.generation;
        self.after(wait, Timer::Listen(generation));
    }

    // Keep-alive.

    pub(super) fn start_pinging(&mut self) {
        if let Some(interval) = self.settings.ping_interval
            && !self.timers.values().any(|timer| *timer == Timer::Ping)
        {
            self.after(interval, Timer::Ping);
        }
    }

    pub(super) fn on_ping_timer(&mut self) {
        let on_its_way = self.exchanges.values().any(|exchange| {
            matches!(&exchange.purpose, Purpose::Own(id) if self.own.get(id) == Some(&Own::Ping))
        });
        if matches!(self.link.phase, Phase::Open) && !on_its_way {
            self.own.retain(|_, own| *own != Own::Ping);
            self.send_own("ping", None, Own::Ping);
        }
        self.start_pinging();
    }
}
