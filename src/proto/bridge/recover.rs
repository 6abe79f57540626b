//! What happens when the server no longer knows the session (MCP 2025-11-25, Transports, Session
//! Management, asks for a new `initialize` then).
//!
//! In: one reopening for any number of refused requests, what the new session is given back, what
//! becomes of requests that ran in the old one. Out: the handshake itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Barrier, Bridge, Exchange, Own, Parked, Phase, Purpose, Timer};
use crate::proto::classify;
use crate::proto::failure::{Executed, Failure, Kind, LOOK_FIRST};
use crate::proto::json::quote;
use crate::proto::ledger::{Entry, Place};
use crate::proto::message::{Id, Message};
use crate::proto::transport::Transport;
use crate::proto::{Body, Head, Level, Request, Ticket, Verb, limits, text};

/// A server that could not be reached is not asked again before this, for the next request.
const REST: Duration = Duration::from_secs(2);

/// A request that found even a fresh session gone is sent again this often.
const RESENDS: u32 = 3;

/// The reopenings of the last minute that helped nobody.
#[derive(Debug, Default)]
pub(super) struct Recoveries {
    recent: VecDeque<Instant>,
    rest_until: Option<Instant>,
    /// A request of the client was sent in the present session.
    pub(super) in_use: bool,
    pub(super) sse_failures: u32,
}

impl Recoveries {
    /// Counts one more, unless there were too many.
    fn allow(&mut self, now: Instant) -> bool {
        while let Some(first) = self.recent.front()
            && now.saturating_duration_since(*first) > limits::RECOVERY_WINDOW
        {
            self.recent.pop_front();
        }
        if self.rest_until.is_some_and(|until| now < until) {
            return false;
        }
        if self.recent.len() >= limits::RECOVERIES {
            self.rest_until = Some(now + limits::RECOVERY_REST);
            self.recent.clear();
            return false;
        }
        self.recent.push_back(now);
        true
    }

    /// The stream of HTTP+SSE was tried for again and again: worth a line every tenth time.
    pub(super) fn goes_on_for_long(&self) -> bool {
        self.sse_failures > 1 && !self.sse_failures.is_multiple_of(10)
    }

    /// A request was answered, in the present session or in one that is lost by now: reopening
    /// helps, however often the server forgets.
    pub(super) fn helped(&mut self) {
        self.recent.clear();
        self.rest_until = None;
    }
}

impl Bridge {
    /// A request was refused because its session is gone. It did not run, so it is sent again in
    /// a new one.
    pub(super) fn session_refused(&mut self, id: &Id, generation: u32, head: &Head, body: &Body) {
        let Some(entry) = self.ledger.get_mut(id) else {
            return;
        };
        entry.sessions += u32::from(entry.first_in_session);
        if entry.sessions > RESENDS {
            let what = classify::describe(head, body);
            let text = format!(
                "{what}; the server loses every session at once: tell its operator that sessions \
                 have to reach the same instance"
            );
            let failure = Failure::new(Kind::SessionLost, Executed::No, text);
            self.fail(id, &failure.with_status(head.status));
            return;
        }
        if !self.lose_session(generation) {
            let what = classify::describe(head, body);
            let rest = limits::RECOVERY_REST.as_secs();
            let text = format!(
                "{what}; the server keeps losing its sessions, so a new one is not tried again for {rest} s"
            );
            let failure = Failure::new(Kind::SessionLost, Executed::No, text);
            self.fail(id, &failure.with_status(head.status));
            return;
        }
        self.park_request(id);
        if matches!(self.link.phase, Phase::Lost { .. }) {
            self.try_to_reopen();
        }
    }

    /// The session of this generation is gone: reopens it, once for everybody. `false` if that is
    /// not done because it did not help several times; the refusal is then an ordinary one.
    pub(super) fn lose_session(&mut self, generation: u32) -> bool {
        if generation != self.link.generation
            || !matches!(self.link.phase, Phase::Open | Phase::Barrier(_))
        {
            return true;
        }
        if !self.link.recoveries.allow(self.now) {
            return false;
        }
        self.own.retain(|_, own| *own != Own::Restore);
        self.cancel_questions(|question| question.of.is_none());
        self.drop_listen();
        self.drop_sse();
        self.forget_tools();
        self.lose_elsewhere();
        self.say(
            Level::Info,
            "the server lost the session; opening a new one",
        );
        self.reopen();
        true
    }

    /// Something waits for a session that could not be reopened: try again, but not at once.
    pub(super) fn try_to_reopen(&mut self) {
        let Phase::Lost { since, failure } = &self.link.phase else {
            return;
        };
        // The person may have signed in after all.
        let may_have_passed =
            matches!(failure.kind, Kind::StreamEnded | Kind::AuthorizationTimeout);
        if self.now.saturating_duration_since(*since) < REST && !may_have_passed {
            let failure = failure.clone();
            self.fail_parked(&failure);
            return;
        }
        self.reopen();
    }

    /// A request that came back to a lost session waits for nothing else.
    pub(super) fn reopen_for_parked(&mut self) {
        let waits = |parked: &Parked| matches!(parked, Parked::Request(..));
        if matches!(self.link.phase, Phase::Lost { .. }) && self.parked.iter().any(waits) {
            self.try_to_reopen();
        }
    }

    pub(super) fn reopening_failed(&mut self, failure: &Failure) {
        let text = if self.stand_in.has_never_connected() {
            failure.text.clone()
        } else {
            format!(
                "the session was lost and could not be reopened: {}",
                failure.text
            )
        };
        let failure = Failure {
            text,
            ..failure.clone()
        };
        let level = if self.link.recoveries.goes_on_for_long() {
            Level::Debug
        } else {
            Level::Warn
        };
        self.say(level, failure.text.clone());
        self.link.phase = Phase::Lost {
            since: self.now,
            failure: failure.clone(),
        };
        self.upward_asks_lost();
        self.fail_parked(&failure);
        let over_sse = self.link.transport == Some(Transport::Sse);
        if over_sse || self.may_still_appear(&failure) {
            self.reopen_later(None);
        }
        if !over_sse {
            self.listeners_lost();
        }
    }

    /// The new session stands: it is given what the old one knew.
    pub(super) fn restore(&mut self) {
        if !self.client.initialized && self.client.stated.is_none() {
            return;
        }
        let text = Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        if let Ok(message) = Message::parse(text) {
            self.post_initialized(&message, true);
        }
    }

    /// After `notifications/initialized`: log level and subscriptions, one after the other.
    pub(super) fn restore_requests(&mut self) {
        let mut requests = VecDeque::new();
        if let Some(params) = &self.client.log_level {
            requests.push_back(("logging/setLevel", params.clone()));
        }
        for params in self.client.subscriptions.values() {
            requests.push_back(("resources/subscribe", params.clone()));
        }
        self.link.phase = Phase::Barrier(Barrier::Restoring(requests));
        let generation = self.link.generation;
        self.after(limits::ACCEPTED, Timer::Restored(generation));
        self.restore_next();
    }

    fn restore_next(&mut self) {
        let Phase::Barrier(Barrier::Restoring(requests)) = &mut self.link.phase else {
            return;
        };
        match requests.pop_front() {
            Some((method, params)) => {
                self.send_own(method, Some(&params), Own::Restore);
            }
            None => self.restored(),
        }
    }

    pub(super) fn on_restore_timeout(&mut self, generation: u32) {
        if generation == self.link.generation
            && matches!(self.link.phase, Phase::Barrier(Barrier::Restoring(_)))
        {
            self.say(
                Level::Warn,
                "the new session did not take back the log level and subscriptions in time",
            );
            self.own.retain(|_, own| *own != Own::Restore);
            self.restored();
        }
    }

    /// Traffic goes on, and the client is told that anything may have changed meanwhile.
    fn restored(&mut self) {
        self.open_for_traffic();
        for list in self.client.list_changed.clone() {
            let text =
                format!(r#"{{"jsonrpc":"2.0","method":"notifications/{list}/list_changed"}}"#);
            self.line(text.into());
        }
        let uris: Vec<String> = self
            .client
            .subscriptions
            .keys()
            .map(|uri| quote(uri))
            .collect();
        for uri in uris {
            let text = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"uri":{uri}}}}}"#
            );
            self.line(text.into());
        }
    }

    /// The address stopped being an MCP endpoint for a server without sessions: looked at anew,
    /// once for each request.
    pub(super) fn detect_again(&mut self, id: &Id) -> bool {
        let Some(entry) = self.ledger.get_mut(id) else {
            return false;
        };
        if self.link.session.is_some()
            || self.link.transport.is_none()
            || self.link.opened_with.is_none()
            || std::mem::replace(&mut entry.detected_again, true)
        {
            return false;
        }
        let generation = entry.generation;
        if generation == self.link.generation && matches!(self.link.phase, Phase::Open) {
            let transport = self.link.transport.take();
            if !self.lose_session(generation) {
                self.link.transport = transport;
                return false;
            }
        }
        self.park_request(id);
        true
    }

    // Requests of the old session.

    /// The answer to this request cannot come any more, and it may have run: it is sent again only
    /// if that does no harm.
    pub(super) fn request_lost(&mut self, id: &Id) {
        let Some(entry) = self.ledger.get(id) else {
            return;
        };
        let repeats = super::calls::is_repeatable(entry.message.method()) && entry.repeats == 0;
        if repeats
            && !self.is_suspended(id)
            && let Some(entry) = self.ledger.get_mut(id)
        {
            entry.repeats += 1;
            let upstream = self.own_id();
            self.ledger.mint(id, upstream);
            self.resend(id);
            return;
        }
        let text = format!("the server's session ended while this request ran; {LOOK_FIRST}");
        self.fail(
            id,
            &Failure::new(Kind::SessionLost, Executed::Unknown, text),
        );
    }

    /// The request waited while its session went and the client's next `initialize` failed.
    pub(super) fn fail_without_session(&mut self, id: &Id) {
        let sent_again = self.ledger.get(id).is_some_and(|entry| entry.repeats > 0);
        let executed = if sent_again {
            Executed::Unknown
        } else {
            Executed::No
        };
        let text = "the session it was meant for is gone; send \"initialize\" again";
        self.fail(id, &Failure::new(Kind::SessionLost, executed, text));
    }

    pub(super) fn lose_elsewhere(&mut self) {
        let lost =
            |entry: &Entry| entry.place == Place::Elsewhere && !self.is_retired(entry.generation);
        for id in self.ledger.select(lost) {
            self.request_lost(&id);
        }
    }

    // Requests of our own.

    pub(super) fn on_own_answer(
        &mut self,
        ticket: Ticket,
        id: &Id,
        exchange: Exchange,
        head: &Head,
        body: &Body,
    ) {
        if exchange.in_session
            && classify::session_is_lost(head, &body.bytes)
            && self.lose_session(exchange.generation)
        {
            match self.own.remove(id) {
                Some(Own::Tools) => self.forget_tools(),
                Some(Own::Upward) => self.on_upward_lost(id),
                _ => {}
            }
            return;
        }
        if self.own.get(id) == Some(&Own::Look) {
            self.own.remove(id);
            return self.on_look_answer(head, body);
        }
        if !head.is_success() {
            let what = classify::describe(head, body);
            self.debug(|| format!("a request of the bridge itself: {what}"));
            let own = self.own.get(id).copied();
            let asked_again = match own {
                Some(Own::Downward) => self.downward_refused(id, &exchange, head),
                Some(Own::Upward) => self.upward_refused(id, &exchange, head),
                Some(Own::Watch) => self.watch_refused(id, &exchange, head),
                _ => false,
            };
            if asked_again {
                return;
            }
            if matches!(own, Some(Own::Upward | Own::Downward))
                && matches!(classify::content(&body.bytes), classify::Content::Rpc(_))
            {
                // A refusal in the words of the protocol is an answer.
                self.dispatch_body(ticket, exchange, body);
                self.on_own_lost(id);
            } else if own == Some(Own::Tools) {
                self.own.remove(id);
                self.on_tool_list_refused(&exchange, head, body);
            } else {
                self.on_own_lost(id);
            }
            return;
        }
        let answered_here =
            self.link.transport == Some(Transport::StreamableHttp) && head.status != 202;
        self.dispatch_body(ticket, exchange, body);
        if answered_here {
            self.on_own_lost(id);
        }
    }

    pub(super) fn on_own_response(&mut self, id: &Id, message: &Message) {
        match self.own.remove(id) {
            Some(Own::Initialize) => self.on_initialize_response(message),
            Some(Own::Restore) => self.restore_next(),
            Some(Own::Tools) => self.on_tool_list(message),
            Some(Own::Discover) => self.on_discover_response(message),
            Some(Own::Look) => self.on_look_response(message),
            Some(Own::Watch) => self.on_watch_settled(id, message.error().is_none()),
            Some(Own::Upward) => self.on_upward(id, message),
            Some(Own::Downward) => self.on_downward(id, message),
            Some(Own::Ping) | None => {}
        }
    }

    pub(super) fn on_own_lost(&mut self, id: &Id) {
        match self.own.remove(id) {
            Some(Own::Restore) => self.restore_next(),
            Some(Own::Tools) => self.on_tool_list_lost(),
            Some(Own::Watch) => self.on_watch_settled(id, false),
            Some(Own::Upward) => self.on_upward_lost(id),
            Some(Own::Downward) => self.on_downward_lost(id),
            Some(Own::Look) => self.on_look_lost(),
            Some(Own::Initialize | Own::Ping | Own::Discover) | None => {}
        }
    }

    // Ends of sessions that we want.

    /// Leaves the session, because the client starts another one.
    pub(super) fn drop_session(&mut self) {
        if let Some(request) = self.delete_request() {
            self.start(Purpose::Abandoned, request);
        }
        self.cancel_questions(|_| true);
        self.drop_listen();
        self.drop_sse();
        self.forget_tools();
        self.lose_elsewhere();
    }

    /// The request that ends the session (MCP 2025-11-25, Transports, Session Management), if
    /// there is one.
    pub(super) fn delete_request(&self) -> Option<Request> {
        self.link.session.as_ref()?;
        Some(Request {
            verb: Verb::Delete,
            url: Arc::clone(&self.link.endpoint),
            headers: self.session_headers(false),
            body: Bytes::new(),
            after: None,
        })
    }

    /// Hands on what the body of an answer to something other than a request holds.
    pub(super) fn dispatch_body(&mut self, ticket: Ticket, exchange: Exchange, body: &Body) {
        let classify::Content::Rpc(messages) = classify::content(&body.bytes) else {
            return;
        };
        self.exchanges.insert(ticket, exchange);
        for message in messages {
            if message.error().is_some() && message.id().is_none() {
                let error =
                    text::sanitize(message.error().unwrap_or_default(), limits::QUOTED_CHARS);
                self.say(
                    Level::Warn,
                    format!("the server answered a notification with {error}"),
                );
                continue;
            }
            self.on_remote_message(ticket, message);
        }
        self.take_exchange(ticket);
    }
}
