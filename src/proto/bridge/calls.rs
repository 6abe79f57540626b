//! The client's requests at the server: sent, answered, repeated, resumed or given up.
//!
//! In: what each kind of answer (or none) means for a request. A request that may have run is
//! never sent again unless repeating it does no harm. Out: the messages inside answers (`remote`)
//! and what a lost session means (`recover`).

use std::sync::Arc;
use std::time::Duration;

use super::attempts::failure_of;
use super::{Bridge, Exchange, Phase, Purpose, Resume, Then, Timer};
use crate::proto::classify::{self, Content};
use crate::proto::era::Era;
use crate::proto::failure::{Executed, Failure, Kind, LOOK_FIRST};
use crate::proto::ledger::Place;
use crate::proto::message::{Id, Message};
use crate::proto::retry;
use crate::proto::transport::Transport;
use crate::proto::{
    Body, Ending, Head, Request, Ticket, Trouble, TroubleKind, limits, revision, text,
};

/// Methods that may be repeated when it is unknown whether they ran: they read, or set something
/// to the same value again.
const REPEATABLE: [&str; 14] = [
    "completion/complete",
    "logging/setLevel",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "server/discover",
    "tasks/get",
    "tasks/list",
    "tools/list",
];

impl Bridge {
    /// Starts the GET that continues a broken stream (MCP 2025-11-25, Transports, Resumability and
    /// Redelivery).
    pub(super) fn start_resumed(
        &mut self,
        purpose: Purpose,
        request: Request,
        resume: Resume,
    ) -> Ticket {
        let ticket = self.start(purpose, request);
        if let Some(exchange) = self.exchanges.get_mut(&ticket) {
            exchange.resumes = true;
            exchange.last_event = Some(resume.last_event);
            exchange.retry_ms = resume.retry_ms;
            exchange.fruitless = resume.fruitless + 1;
        }
        ticket
    }

    pub(super) fn on_call_answer(
        &mut self,
        ticket: Ticket,
        id: &Id,
        exchange: Exchange,
        head: &Head,
        body: &Body,
    ) {
        if exchange.resumes {
            if exchange.generation != self.link.generation
                || classify::session_is_named_lost(head, &body.bytes)
            {
                self.cancel_questions_of(ticket);
                self.lose_session(exchange.generation);
                return self.request_lost(id);
            }
            return self.on_resume_refused(id, &exchange, head);
        }
        if exchange.in_session && self.session_is_lost_for(id, head, body) {
            return self.session_refused(id, exchange.generation, head, body);
        }
        if head.status == 400
            && !self.is_with_modern(id)
            && let Some(version) = self
                .link
                .version
                .as_ref()
                .and_then(|value| value.to_str().ok())
            && let Some(revision) = revision::named_in_refusal(&body.bytes, version)
        {
            self.link.wanted_revision = Some(revision);
            return self.session_refused(id, exchange.generation, head, body);
        }
        let refused = self.refusal(head);
        if refused.is_some() || head.status == 401 {
            return self.call_refused(id, &exchange, refused, head, body);
        }
        if head.status < 400 {
            self.call_passed(id);
        }
        let modern = self.is_with_modern(id);
        let described = || classify::describe(head, body);
        let has_message = || {
            let content = classify::content(&body.bytes);
            matches!(content, Content::Rpc(_) | Content::BareError(_))
        };
        if classify::is_transient(head.status) && self.relay_broke(id, Duration::ZERO) {
            return;
        }
        if classify::is_refused_as_busy(head) {
            if self.repeat_when_free(id, head) {
                return;
            }
            if !has_message() {
                return self.call_busy(id, head, body);
            }
        } else if classify::is_transient(head.status)
            && (self.may_be_repeated(id) || !has_message())
        {
            let text = format!("{}; {LOOK_FIRST}", described());
            let failure = Failure::new(Kind::HttpStatus, Executed::Unknown, text);
            return self.outcome_unknown(id, failure.with_status(head.status));
        }
        if let Some(ending) = &body.cut
            && head.is_success()
        {
            return self.call_cut(id, ending, head.status);
        }
        match classify::content(&body.bytes) {
            Content::Rpc(messages) => {
                if self.modern_refusal(id, head, &messages) {
                    return;
                }
                self.exchanges.insert(ticket, exchange);
                self.calls_in_flight += 1;
                for message in messages {
                    self.on_remote_message(ticket, message);
                }
                if self.take_exchange(ticket).is_some() && self.is_in(id, ticket) {
                    let text = format!(
                        "{}, which does not answer this request; tell the server's operator",
                        described()
                    );
                    let failure = Failure::new(Kind::NotMcp, Executed::Unknown, text);
                    self.fail(id, &failure.with_status(head.status));
                }
            }
            Content::BareError(error) => self.answer_bare(id, &String::from_utf8_lossy(&error)),
            Content::Empty if head.is_success() && !modern => self.call_accepted(id),
            // HTTP+SSE servers put a word like "Accepted" into the body.
            _ if head.is_success()
                && !modern
                && (head.status == 202 || self.link.transport == Some(Transport::Sse)) =>
            {
                self.call_accepted(id);
            }
            Content::Empty | Content::Html(_) | Content::OtherJson | Content::Text(_) => {
                let again = match head.status {
                    400 | 404 | 405 if modern => self.detect_for(id),
                    404 | 405 => self.detect_again(id),
                    _ => false,
                };
                if again {
                    return;
                }
                self.fail(id, &unusable(head, body));
            }
        }
    }

    /// The answer is an error without its envelope.
    fn answer_bare(&mut self, id: &Id, error: &str) {
        let token = id.token();
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{token},"error":{error}}}"#);
        match Message::parse(answer.into()) {
            Ok(answer) => self.answer_open(id, answer),
            Err(_) => self.respond_with(id, "error", error),
        }
    }

    /// Whether this answer says that the session is gone. A message of the server that comes with
    /// 404 in a new session as well is an answer, unless it speaks of the session.
    fn session_is_lost_for(&self, id: &Id, head: &Head, body: &Body) -> bool {
        let again = self.ledger.get(id).is_some_and(|entry| entry.sessions > 0);
        if again && matches!(classify::content(&body.bytes), Content::Rpc(_)) {
            return classify::session_is_named_lost(head, &body.bytes);
        }
        classify::session_is_lost(head, &body.bytes)
    }

    /// The server took the request and will answer elsewhere: on the stream of HTTP+SSE, or on
    /// the GET stream if one is open.
    fn call_accepted(&mut self, id: &Id) {
        if self
            .ledger
            .get(id)
            .is_some_and(|entry| self.is_gone(entry.generation))
            || (self.link.transport == Some(Transport::Sse) && self.link.sse.is_none())
        {
            return self.request_lost(id);
        }
        if self.link.transport == Some(Transport::Sse) || self.link.listen.is_open() {
            if let Some(entry) = self.ledger.get_mut(id) {
                entry.place = Place::Elsewhere;
            }
            return;
        }
        self.wait(id, limits::EMPTY_ANSWER, Then::LookElsewhere);
    }

    /// The server's own stream may have been opened since the request was accepted.
    fn look_elsewhere(&mut self, id: &Id) {
        if self.link.listen.is_open() {
            return self.call_accepted(id);
        }
        let text = "the server accepted the request, but answered with an empty body and has no \
                    stream open on which its answer could come; tell the server's operator";
        let failure = Failure::new(Kind::NotMcp, Executed::Unknown, text);
        self.fail(id, &failure);
    }

    pub(super) fn on_call_ended(
        &mut self,
        id: &Id,
        exchange: &Exchange,
        ticket: Ticket,
        ending: &Ending,
    ) {
        let lived = self.now.saturating_duration_since(exchange.since);
        if !self.is_in(id, ticket) || self.relay_broke(id, lived) {
            return;
        }
        let resume = exchange.resume().filter(|_| !self.is_with_modern(id));
        match (ending, resume) {
            (Ending::Complete | Ending::Cut(_) | Ending::Silent(_), Some(resume))
                if resume.fruitless < limits::RESUMPTIONS
                    && exchange.generation == self.link.generation =>
            {
                let wait = retry::stream_wait(resume.retry_ms, resume.fruitless, &mut self.jitter);
                self.debug(|| {
                    let id = text::sanitize(id.token(), 80);
                    format!(
                        "the stream of {id} broke; resuming in {} ms",
                        wait.as_millis()
                    )
                });
                self.wait(id, wait, Then::Resume(resume));
            }
            (Ending::Complete | Ending::Cut(_), _)
                if exchange.generation != self.link.generation =>
            {
                self.cancel_questions_of(ticket);
                self.request_lost(id);
            }
            _ => {
                self.cancel_questions_of(ticket);
                self.call_cut(id, ending, 200);
            }
        }
    }

    pub(super) fn on_call_failed(&mut self, id: &Id, exchange: &Exchange, trouble: &Trouble) {
        if self.relay_broke(id, Duration::ZERO) {
            return;
        }
        if exchange.resumes {
            let Some(resume) = exchange.resume() else {
                return;
            };
            if resume.fruitless < limits::RESUMPTIONS {
                let wait = retry::stream_wait(None, resume.fruitless, &mut self.jitter);
                return self.wait(id, wait, Then::Resume(resume));
            }
            return self.outcome_unknown(id, broken(trouble));
        }
        if trouble.sent && trouble.kind == TroubleKind::Broken {
            return self.outcome_unknown(id, broken(trouble));
        }
        let again = matches!(trouble.kind, TroubleKind::Connect | TroubleKind::Broken);
        let tries = self.ledger.get(id).map_or(0, |entry| entry.unreachable);
        match retry::UNREACHABLE.get(tries) {
            Some(&wait) if again && !trouble.sent => {
                if let Some(entry) = self.ledger.get_mut(id) {
                    entry.unreachable += 1;
                }
                self.wait(id, wait, Then::Send { mint: false });
            }
            _ => self.fail(id, &failure_of(trouble)),
        }
    }

    /// The answer began and broke off.
    fn call_cut(&mut self, id: &Id, ending: &Ending, status: u16) {
        match ending {
            Ending::TooLarge(text) => {
                let failure = Failure::new(Kind::LimitExceeded, Executed::Unknown, text.clone());
                self.fail(id, &failure.with_status(status));
            }
            Ending::Silent(text) => {
                let failure = Failure::new(Kind::Timeout, Executed::Unknown, text.clone());
                self.fail(id, &failure.with_status(status));
            }
            Ending::Complete | Ending::Cut(_) => {
                let method = self
                    .ledger
                    .get(id)
                    .map(|entry| entry.message.method().to_owned());
                let method = text::sanitize(&method.unwrap_or_default(), 80);
                let why = match ending {
                    Ending::Cut(reason) => format!(" ({reason})"),
                    _ => String::new(),
                };
                let text = format!(
                    "the server closed the connection before it answered {method}{why}; {LOOK_FIRST}"
                );
                let failure = Failure::new(Kind::StreamEnded, Executed::Unknown, text);
                self.outcome_unknown(id, failure.with_status(status));
            }
        }
    }

    fn on_resume_refused(&mut self, id: &Id, exchange: &Exchange, head: &Head) {
        if classify::is_transient(head.status)
            && let Some(resume) = exchange.resume()
            && resume.fruitless < limits::RESUMPTIONS
        {
            let wait = retry::retry_after(head)
                .unwrap_or_else(|| retry::stream_wait(None, resume.fruitless, &mut self.jitter));
            return self.wait(id, wait, Then::Resume(resume));
        }
        let text = format!(
            "the server closed the connection before it answered, and did not let the stream be \
             resumed (HTTP {}); {LOOK_FIRST}",
            head.status
        );
        let failure = Failure::new(Kind::StreamEnded, Executed::Unknown, text);
        self.outcome_unknown(id, failure.with_status(head.status));
    }

    /// Nobody knows whether the request ran. It is repeated once if that does no harm; else its
    /// answer may still come on another stream for a moment.
    fn outcome_unknown(&mut self, id: &Id, failure: Failure) {
        if self.may_be_repeated(id)
            && let Some(entry) = self.ledger.get_mut(id)
        {
            entry.repeats += 1;
            return self.wait(id, retry::REPEAT, Then::Send { mint: true });
        }
        if self.link.listen.is_open() {
            return self.wait(id, limits::LATE_ANSWER, Then::Fail(failure));
        }
        self.fail(id, &failure);
    }

    /// Whether one more try of a request that may have run does no harm.
    fn may_be_repeated(&self, id: &Id) -> bool {
        self.ledger.get(id).is_some_and(|entry| {
            let limit = match entry.via.server() {
                Era::Legacy => 1,
                Era::Modern => 2,
            };
            let may = is_repeatable(entry.message.method()) && entry.repeats < limit;
            may && !self.is_suspended(id)
        })
    }

    /// Refused unread because the server is busy: to be sent again, whatever it is, unless that
    /// was done often enough or the server wants too long a wait.
    fn repeat_when_free(&mut self, id: &Id, head: &Head) -> bool {
        let Some(entry) = self.ledger.get_mut(id) else {
            return false;
        };
        let asked = head.headers.contains_key("retry-after");
        let wait = match retry::retry_after(head) {
            Some(wait) => Some(wait),
            None if asked => None,
            None => retry::BUSY.get(entry.busy as usize).copied(),
        };
        match wait {
            Some(wait) if entry.busy < retry::BUSY_REPEATS => {
                entry.busy += 1;
                self.wait(id, wait, Then::Send { mint: false });
                true
            }
            _ => false,
        }
    }

    fn call_busy(&mut self, id: &Id, head: &Head, body: &Body) {
        let described = classify::describe(head, body);
        let later = match head
            .header("retry-after")
            .map(|value| text::sanitize(value, 40))
        {
            Some(value) => format!("it asks to come back later (Retry-After: {value})"),
            None => "try again later".to_owned(),
        };
        let text = format!("{described}; {later}");
        let failure = Failure::new(Kind::HttpStatus, Executed::No, text);
        self.fail(id, &failure.with_status(head.status));
    }

    // Waiting.

    /// Lets an open request wait for a timer.
    pub(super) fn wait(&mut self, id: &Id, wait: Duration, then: Then) {
        self.note_wait(id, &then);
        self.serial += 1;
        let number = self.serial;
        if let Some(entry) = self.ledger.get_mut(id) {
            entry.place = Place::Waiting(number);
            self.after(
                wait,
                Timer::Call {
                    id: id.clone(),
                    wait: number,
                    then,
                },
            );
        }
    }

    pub(super) fn on_call_timer(&mut self, id: &Id, wait: u64, then: Then) {
        let Some(entry) = self.ledger.get(id) else {
            return;
        };
        if entry.place != Place::Waiting(wait) {
            return;
        }
        match then {
            Then::AskForTask => self.ask_for_task(id),
            Then::Fail(failure) => self.fail(id, &failure),
            Then::LookElsewhere => self.look_elsewhere(id),
            Then::Send { mint } => {
                if mint {
                    let upstream = self.own_id();
                    self.ledger.mint(id, upstream);
                }
                self.resend(id);
            }
            Then::Resume(resume) if entry.generation == self.link.generation => {
                let request = self.get(&Arc::clone(&self.link.endpoint), Some(&resume.last_event));
                let ticket = self.start_resumed(Purpose::Call(id.clone()), request, resume);
                if let Some(entry) = self.ledger.get_mut(id) {
                    entry.place = Place::Exchange(ticket);
                }
            }
            Then::Resume(_) => self.request_lost(id),
        }
    }

    /// Sends a request again as soon as the link allows.
    pub(super) fn resend(&mut self, id: &Id) {
        self.park_request(id);
        if matches!(self.link.phase, Phase::Lost { .. }) {
            self.try_to_reopen();
        }
    }

    fn is_in(&self, id: &Id, ticket: Ticket) -> bool {
        self.ledger
            .get(id)
            .is_some_and(|entry| entry.place == Place::Exchange(ticket))
    }

    pub(super) fn on_linger_over(&mut self, ticket: Ticket) {
        if let Some(exchange) = self.exchanges.get(&ticket)
            && matches!(exchange.purpose, Purpose::Drain | Purpose::Abandoned)
        {
            self.cancel_exchange(ticket);
        }
    }
}

pub(super) fn is_repeatable(method: &str) -> bool {
    REPEATABLE.contains(&method)
}

/// The error for a connection that broke when the request may have run.
fn broken(trouble: &Trouble) -> Failure {
    let failure = failure_of(trouble);
    Failure {
        text: format!("{}; {LOOK_FIRST}", failure.text),
        ..failure
    }
}

/// The error for an answer that is neither a message nor a known refusal.
fn unusable(head: &Head, body: &Body) -> Failure {
    let what = classify::describe(head, body);
    let failure = if head.is_success() {
        let text = format!(
            "{what}, which is not an MCP answer; is there a login page or a proxy in between?"
        );
        Failure::new(Kind::NotMcp, Executed::Unknown, text)
    } else {
        let executed = if head.status < 500 {
            Executed::No
        } else {
            Executed::Unknown
        };
        let next = match head.status {
            401 | 403 | 407 => "check your token and what you are allowed there",
            404 | 405 | 410 => "check the URL, or ask the server's operator",
            429 | 500.. => "try again later, and tell the server's operator if it stays so",
            _ => "the server does not take this request; ask its operator",
        };
        Failure::new(Kind::HttpStatus, executed, format!("{what}; {next}"))
    };
    failure.with_status(head.status)
}
