//! The stream of HTTP+SSE (MCP 2024-11-05, Transports, HTTP with SSE): it announces where to POST,
//! carries every answer, and is the session.
//!
//! In: opening it, the `endpoint` event, its end. Out: the server's own stream on Streamable HTTP
//! (`listen`).

use std::sync::Arc;
use std::time::Duration;

use super::contact::Outcome;
use super::{Bridge, Exchange, Own, Phase, Timer};
use crate::proto::classify;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::retry;
use crate::proto::transport::{self, Transport};
use crate::proto::{Body, Ending, Head, Level, Ticket, Trouble, limits, text};

/// A stream that lived this long was no failure.
const ALIVE: Duration = Duration::from_secs(60);

impl Bridge {
    pub(super) fn on_sse_streams(&mut self, ticket: Ticket, head: &Head) {
        self.link.stream_url = Arc::clone(&head.url);
        self.time_exchange(ticket, limits::ENDPOINT, Timer::Endpoint(ticket));
    }

    pub(super) fn on_sse_refused(&mut self, exchange: &Exchange, head: &Head, body: &Body) {
        self.link.sse = None;
        if head.status == 401 || self.refusal(head).is_some() {
            return self.initialize_unauthorized(exchange.authorizations, head, body);
        }
        if classify::is_transient(head.status) {
            return self.initialize_busy(head, body);
        }
        let hint = "that is not an HTTP+SSE server; check the URL, which usually ends in /sse";
        let text = format!("{}; {hint}", classify::describe(head, body));
        let failure = Failure::new(Kind::HttpStatus, Executed::No, text).with_status(head.status);
        self.try_next(Outcome::Fail(failure));
    }

    pub(super) fn on_sse_failed(&mut self, trouble: &Trouble) {
        self.link.sse = None;
        self.handshake_trouble(trouble);
    }

    /// The `endpoint` event: where to POST (MCP 2024-11-05, Transports, HTTP with SSE). It may
    /// come again on the same stream; the newest counts, unless it lies on another origin.
    pub(super) fn on_endpoint(&mut self, ticket: Ticket, announced: &str) {
        if self.link.sse != Some(ticket) {
            return;
        }
        let endpoint = match transport::sse_endpoint(&self.link.stream_url, announced) {
            Ok(endpoint) => Arc::new(endpoint),
            Err(text) if self.handshake().is_none() => {
                self.say_once("endpoint-moved", Level::Warn, || text);
                return;
            }
            Err(text) => {
                self.drop_sse();
                let failure = Failure::new(Kind::EndpointOriginMismatch, Executed::No, text);
                self.conclude(Outcome::Fail(failure));
                return;
            }
        };
        self.link.endpoint = endpoint;
        if let Some(moved_to) = self
            .exchanges
            .get(&ticket)
            .and_then(|exchange| exchange.moved_to.clone())
        {
            self.link.base = moved_to;
        }
        if self.awaits_endpoint() {
            if let Some(handshake) = self.handshake() {
                handshake.http_outcome = None;
            }
            self.post_initialize();
        }
    }

    pub(super) fn on_endpoint_timeout(&mut self, ticket: Ticket) {
        if self.link.sse == Some(ticket) && self.awaits_endpoint() {
            self.no_endpoint("no \"endpoint\" event came within 10 s");
        }
    }

    /// The stream is not one of HTTP+SSE.
    pub(super) fn no_endpoint(&mut self, what: &str) {
        self.drop_sse();
        let text = format!(
            "{}: {what}; check the URL, which usually ends in /mcp or /sse",
            text::public_url(&self.link.base)
        );
        let failure = Failure::new(Kind::NotMcp, Executed::No, text);
        self.try_next(Outcome::Fail(failure));
    }

    pub(super) fn awaits_endpoint(&mut self) -> bool {
        self.handshake().is_some_and(|handshake| {
            handshake.transport == Transport::Sse && handshake.ticket.is_none()
        })
    }

    /// The stream of HTTP+SSE ended while the handshake ran on it.
    pub(super) fn handshake_stream_ended(&mut self) {
        if self.awaits_endpoint() {
            self.no_endpoint("the event stream ended before the \"endpoint\" event");
            return;
        }
        self.repeat_initialize("the event stream ended");
    }

    pub(super) fn on_sse_ended(&mut self, exchange: &Exchange, ending: &Ending) {
        self.link.sse = None;
        match self.link.phase {
            Phase::Handshaking(_) => return self.handshake_stream_ended(),
            Phase::Open | Phase::Barrier(_) => {}
            Phase::Idle | Phase::Lost { .. } => return,
        }
        let why = match ending {
            Ending::Complete => String::new(),
            Ending::Cut(text) | Ending::TooLarge(text) | Ending::Silent(text) => {
                format!(": {text}")
            }
        };
        self.say(
            Level::Info,
            format!("the server's event stream ended{why}; reconnecting"),
        );
        if self.now.saturating_duration_since(exchange.since) >= ALIVE {
            self.link.recoveries.sse_failures = 0;
        }
        let text = format!("the server's event stream ended{why}; repeat the request");
        let failure = Failure::new(Kind::StreamEnded, Executed::No, text);
        self.link.phase = Phase::Lost {
            since: self.now,
            failure,
        };
        self.cancel_questions(|_| true);
        self.own.retain(|_, own| *own == Own::Tools);
        self.forget_tools();
        self.reopen_later(exchange.retry_ms);
        self.lose_elsewhere();
        if !self.parked.is_empty() {
            self.try_to_reopen();
        }
    }

    pub(super) fn reopen_later(&mut self, asked_ms: Option<u64>) {
        let failures = self.link.recoveries.sse_failures;
        self.link.recoveries.sse_failures = failures.saturating_add(1);
        // Every reopening is a whole handshake: what the stream asks for does not replace the
        // growing waits.
        let mut wait = retry::stream_wait(asked_ms, 0, &mut self.jitter);
        if failures > 0 {
            wait = wait.max(retry::stream_wait(None, failures, &mut self.jitter));
        }
        let generation = self.link.generation;
        self.after(wait, Timer::Sse(generation));
    }

    pub(super) fn on_sse_timer(&mut self, generation: u32) {
        if generation == self.link.generation && matches!(self.link.phase, Phase::Lost { .. }) {
            self.reopen();
        }
    }

    pub(super) fn drop_sse(&mut self) {
        if let Some(ticket) = self.link.sse.take() {
            self.cancel_exchange(ticket);
        }
    }
}
