//! When an attempt to get `initialize` answered came to nothing: waiting, trying again, trying the
//! other transport, giving up.
//!
//! In: how often and how long. Out: making an attempt and judging its answer (`handshake`).

use std::sync::Arc;
use std::time::Duration;

use super::contact::{Outcome, Step, Why};
use super::{Bridge, Own, Phase, Protocol, Purpose, Timer};
use crate::proto::classify;
use crate::proto::era::errors;
use crate::proto::era::evidence::Probe;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::message::Message;
use crate::proto::retry;
use crate::proto::transport::Transport;
use crate::proto::{Body, Head, Level, Trouble, TroubleKind, headers, limits, text};

impl Bridge {
    /// The server is busy: the attempt is repeated when it says, or soon, a few times.
    pub(super) fn initialize_busy(&mut self, head: &Head, body: &Body) {
        let failure = Failure::new(
            Kind::HttpStatus,
            Executed::No,
            format!("{}; try again later", classify::describe(head, body)),
        )
        .with_status(head.status);
        let Some(handshake) = self.handshake() else {
            return;
        };
        let asked = head.headers.contains_key("retry-after");
        let wait = match (retry::retry_after(head), retry::BUSY.get(handshake.busy)) {
            (Some(wait), Some(_)) => wait,
            (None, Some(wait)) if !asked => *wait,
            _ => {
                self.conclude(Outcome::Fail(failure));
                return;
            }
        };
        handshake.busy += 1;
        let status = head.status;
        let level = if self.link.recoveries.goes_on_for_long() {
            Level::Debug
        } else {
            Level::Info
        };
        self.say(
            level,
            format!(
                "the server is busy (HTTP {status}); trying again in {} ms",
                wait.as_millis()
            ),
        );
        self.retry_handshake(wait);
    }

    pub(super) fn handshake_trouble(&mut self, trouble: &Trouble) {
        let failure = failure_of(trouble);
        let Some(handshake) = self.handshake() else {
            return;
        };
        let again = matches!(trouble.kind, TroubleKind::Connect | TroubleKind::Broken);
        match retry::UNREACHABLE.get(handshake.unreachable) {
            Some(&wait) if again => {
                handshake.unreachable += 1;
                let first = handshake.unreachable == 1;
                let quiet = self.link.recoveries.goes_on_for_long();
                let text = format!("{} (trying again in {} s)", trouble.text, wait.as_secs());
                let level = match first {
                    _ if quiet => Level::Debug,
                    true => Level::Warn,
                    false => Level::Info,
                };
                self.say(level, text);
                self.retry_handshake(wait);
            }
            _ => self.conclude(Outcome::Fail(failure)),
        }
    }

    pub(super) fn retry_handshake(&mut self, wait: Duration) {
        let Some(serial) = self.handshake().map(|handshake| handshake.serial) else {
            return;
        };
        let key = self.after(wait, Timer::HandshakeRetry(serial));
        if let Some(handshake) = self.handshake()
            && let Some(earlier) = handshake.retry.replace(key)
        {
            self.timers.remove(&earlier);
        }
    }

    /// Sends `initialize` once more after a stream that brought no answer.
    pub(super) fn repeat_initialize(&mut self, what: &str) {
        let Some(handshake) = self.handshake() else {
            return;
        };
        if handshake.repeated {
            let text = format!(
                "{}: {what} before \"initialize\" was answered; is this an MCP server?",
                text::public_url(&self.link.base)
            );
            let failure = Failure::new(Kind::StreamEnded, Executed::Unknown, text);
            self.conclude(Outcome::Fail(failure));
            return;
        }
        handshake.repeated = true;
        self.contact();
    }

    /// Goes on with what is left to try, or gives up with the most telling of what was said.
    pub(super) fn try_next(&mut self, outcome: Outcome) {
        let (strategy, protocol) = (self.settings.strategy, self.settings.protocol);
        let Some(handshake) = self.handshake() else {
            return;
        };
        let next = loop {
            match handshake.left.pop_front() {
                Some(probe) if !handshake.may_try(probe, strategy, protocol) => {}
                next => break next,
            }
        };
        let Some(next) = next else {
            if let Some(accepted) = handshake.accepted.take() {
                return self.connected(&accepted);
            }
            let mut outcome = handshake.http_outcome.take().unwrap_or(outcome);
            if let Outcome::Fail(failure) = &mut outcome {
                if strategy.second().is_none() {
                    let (text, tried) = (&failure.text, strategy.as_str());
                    failure.text = format!("{text}; nothing else was tried (--transport {tried})");
                }
                failure.text.push_str(untried(protocol));
            }
            self.conclude(outcome);
            return;
        };
        let (verb, status) = match handshake.transport {
            Transport::StreamableHttp => ("POSTing to endpoint", handshake.status),
            Transport::Sse => ("opening the event stream", None),
        };
        let status = match (&outcome, status) {
            (Outcome::Fail(failure), _) if failure.status.is_some() => failure.status,
            (_, status) => status,
        };
        if handshake.transport == Transport::StreamableHttp {
            handshake.http_outcome.get_or_insert(outcome);
        }
        let answered = handshake.ticket.take();
        handshake.repeated = false;
        handshake.step = Step::Initialize;
        let before = handshake.transport;
        match next {
            Probe::Initialize => handshake.transport = Transport::StreamableHttp,
            Probe::Sse => handshake.transport = Transport::Sse,
            Probe::Discover => {
                handshake.transport = Transport::StreamableHttp;
                handshake.step = Step::Discover;
            }
        }
        let changes = handshake.transport != before;
        if let Some(ticket) = answered {
            // The stream that its answer came on may still be open.
            self.drain(ticket);
        }
        if next != Probe::Discover && changes {
            let status = status.map_or_else(String::new, |status| format!(" (HTTP {status})"));
            self.say(Level::Info, format!("Received error: Error {verb}{status}"));
            self.say(
                Level::Info,
                "Recursively reconnecting for reason: falling-back-to-alternate-transport",
            );
            self.announce(match next {
                Probe::Initialize | Probe::Discover => "http-only",
                Probe::Sse => "sse-only",
            });
        }
        self.contact();
    }

    /// Gives up: the client's `initialize` and everything that waited get their error.
    pub(super) fn conclude(&mut self, outcome: Outcome) {
        let phase = std::mem::replace(&mut self.link.phase, Phase::Idle);
        let Phase::Handshaking(handshake) = phase else {
            self.link.phase = phase;
            return;
        };
        if let Some(ticket) = handshake.ticket {
            self.cancel_exchange(ticket);
        }
        self.drop_sse();
        self.own
            .retain(|_, own| !matches!(own, Own::Initialize | Own::Discover));
        let asked = match handshake.tried.first() {
            Some(Probe::Discover) => "server/discover",
            _ => "initialize",
        };
        let failure = match &outcome {
            Outcome::Fail(failure) => failure.clone(),
            Outcome::Refused(message) => {
                let reason = message.error_text();
                let untried = untried(self.settings.protocol);
                let text = format!("the server refused \"{asked}\": {reason}{untried}");
                Failure::new(Kind::Connect, Executed::No, text)
            }
        };
        match handshake.why {
            Why::Client(id) => {
                match outcome {
                    // What the server said about another request would mislead the client.
                    Outcome::Refused(_) if asked != "initialize" => self.fail(&id, &failure),
                    Outcome::Fail(failure) => self.fail(&id, &failure),
                    Outcome::Refused(message) => {
                        let kind = failure.kind.as_str();
                        self.say(Level::Error, format!("{} [{kind}]", failure.text));
                        let token = self.ledger.get(&id).and_then(|entry| entry.message.id());
                        let answer = message.with_id(token.unwrap_or(&id));
                        let refusal = message.error().and_then(errors::handshake_refusal);
                        let answer = match (refusal, Message::parse(answer.clone())) {
                            (Some(refusal), Ok(answer)) => answer.with_error(&refusal),
                            _ => answer,
                        };
                        self.respond(&id, answer);
                    }
                }
                self.fail_parked(&failure);
            }
            Why::Answered => self.never_connected(&failure),
            Why::Reopen => self.reopening_failed(&failure),
            Why::Modern => self.modern_contact_failed(&failure),
        }
    }

    pub(super) fn on_handshake_limit(&mut self, serial: u64) {
        let current = self.handshake();
        let Some(handshake) = current.filter(|handshake| handshake.serial == serial) else {
            return;
        };
        if handshake.is_refused() {
            // The sign-in has its own limits.
            self.after(limits::INITIALIZE, Timer::HandshakeLimit(serial));
        } else {
            let text = format!(
                "{} did not answer \"initialize\" within 60 s; is it an MCP server?",
                text::public_url(&self.link.base)
            );
            self.conclude(Outcome::Fail(Failure::new(
                Kind::Timeout,
                Executed::Unknown,
                text,
            )));
        }
    }

    pub(super) fn on_handshake_retry(&mut self, serial: u64) {
        if self
            .handshake()
            .is_none_or(|handshake| handshake.serial != serial)
        {
            return;
        }
        match self.initialize_resume.take() {
            None => self.contact(),
            Some(resume) => {
                let session = self
                    .handshake()
                    .and_then(|handshake| handshake.session.clone());
                let mut request =
                    self.get(&Arc::clone(&self.link.endpoint), Some(&resume.last_event));
                if let Some(session) = session {
                    request.headers.push((headers::SESSION_ID, session));
                }
                let ticket = self.start_resumed(Purpose::Initialize, request, resume);
                if let Some(handshake) = self.handshake() {
                    handshake.ticket = Some(ticket);
                }
            }
        }
    }
}

/// What a failed exchange means for the request it carried.
pub(super) fn failure_of(trouble: &Trouble) -> Failure {
    let kind = trouble.kind.failure();
    let executed = if trouble.sent {
        Executed::Unknown
    } else {
        Executed::No
    };
    Failure::new(kind, executed, trouble.text.clone())
}

/// What is left out because the user settled which revisions are spoken.
fn untried(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Auto => "; \"mcp-bridge doctor URL\" shows what it accepts",
        Protocol::Legacy => "; 2026-07-28 was not tried (--protocol legacy)",
        Protocol::Modern => "; older revisions were not tried (--protocol modern)",
    }
}
