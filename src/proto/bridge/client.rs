//! What the local client says.
//!
//! In: lines, judged and sorted. Out: how they travel (`calls`, `outbox`, `handshake`).

use std::collections::VecDeque;

use bytes::Bytes;

use super::tools::Verdict;
use super::{Bridge, Own, Parked, Phase, Purpose};
use crate::proto::failure::{Executed, Failure, INVALID_REQUEST, PARSE_ERROR, protocol_error};
use crate::proto::ledger::{Entry, Place};
use crate::proto::message::{Id, Kind, Malformed, Message, Parsed, member, salvage_id};
use crate::proto::{Level, limits, revision, text};

/// Marks a request of the 2026-07-28 revision or later, which needs no handshake.
pub(super) const MODERN_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

impl Bridge {
    pub(super) fn on_line(&mut self, line: &Bytes) {
        if line.trim_ascii().is_empty() {
            return;
        }
        match Message::parse_any(line.clone()) {
            Ok(Parsed::One(message)) => self.on_message(message, None),
            Ok(Parsed::Batch(elements)) => self.on_batch(elements),
            Err(fault) => {
                let answer = self.refuse(line, &fault);
                if let Some(answer) = answer {
                    self.line(answer);
                }
            }
        }
    }

    pub(super) fn on_long_line(&mut self, head: &Bytes) {
        let limit = self.settings.message_limit >> 20;
        let text = format!(
            "a line above the limit of {limit} MiB was dropped (--max-message-size raises it)"
        );
        self.say(Level::Warn, format!("from the client: {text}"));
        if let Some(id) = salvage_id(head) {
            self.line(protocol_error(Some(&id), INVALID_REQUEST, &text));
        }
    }

    /// The answer to a line that is no message, if it gets one.
    fn refuse(&mut self, line: &Bytes, fault: &Malformed) -> Option<Bytes> {
        let (id, code, reason) = match fault {
            Malformed::NotJson(reason) => {
                let id = salvage_id(line.get(..limits::LINE_HEAD).unwrap_or(line));
                let reason = format!("this line is not JSON: {}", text::sanitize(reason, 200));
                self.say(Level::Warn, format!("from the client: {reason}"));
                return Some(protocol_error(id.as_ref(), PARSE_ERROR, &reason));
            }
            Malformed::NotRpc { id, reason } => (id, INVALID_REQUEST, reason),
        };
        self.say(
            Level::Warn,
            format!("from the client: not a JSON-RPC 2.0 message: {reason}"),
        );
        id.as_ref().map(|id| protocol_error(Some(id), code, reason))
    }

    fn on_batch(&mut self, elements: Vec<Bytes>) {
        let allowed = self.client.version.as_deref() == Some(revision::WITH_BATCHES);
        let parsed: Vec<_> = elements
            .into_iter()
            .map(|text| (text.clone(), Message::parse(text)))
            .collect();
        let opens = parsed.iter().any(|(_, message)| {
            message
                .as_ref()
                .is_ok_and(|message| message.method() == "initialize")
        });
        let reason = if opens {
            Some("\"initialize\" must not be part of a batch")
        } else if !allowed {
            Some(
                "batches belong to protocol revision 2025-03-26 alone; send the messages one by one",
            )
        } else if parsed.len() > limits::BATCH {
            Some("a batch holds at most 256 messages")
        } else {
            None
        };
        if parsed.is_empty() {
            self.say(Level::Warn, "from the client: an empty batch");
        }
        if let Some(reason) = reason {
            self.say(Level::Warn, format!("from the client: {reason}"));
            for (_, message) in &parsed {
                let Ok(message) = message else { continue };
                if let (Kind::Request, Some(id)) = (message.kind(), message.id()) {
                    let answer = protocol_error(Some(id), INVALID_REQUEST, reason);
                    self.line(answer);
                }
            }
            return;
        }
        let number = self.ledger.start_batch();
        for (text, message) in parsed {
            match message {
                Ok(message) => self.on_message(message, Some(number)),
                Err(fault) => {
                    if let Some(answer) = self.refuse(&text, &fault) {
                        self.ledger.add_to_batch(number, answer);
                    }
                }
            }
        }
        if let Some(whole) = self.ledger.finish_batch(number) {
            self.line(whole);
        }
    }

    fn on_message(&mut self, message: Message, batch: Option<u64>) {
        match message.kind() {
            Kind::Request => self.on_request(message, batch),
            Kind::Notification => self.on_notification(message),
            Kind::Response => self.on_reply(&message),
        }
    }

    fn on_request(&mut self, message: Message, batch: Option<u64>) {
        let Some(id) = message.id().cloned() else {
            return;
        };
        self.debug(|| {
            format!(
                "client → {} {}",
                message.method(),
                text::sanitize(id.token(), 80)
            )
        });
        if message.method() == "tools/call" {
            match self.judge_call(&message) {
                Verdict::Allowed => {}
                Verdict::Unlisted(_)
                    if !matches!(self.link.phase, Phase::Idle)
                        && self.ledger.get(&id).is_none() =>
                {
                    self.ledger.enter(message, batch);
                    self.await_tool_list(&id);
                    return;
                }
                Verdict::Refused(failure) | Verdict::Unlisted(failure) => {
                    self.answer(batch, failure.answer(&id));
                    return;
                }
            }
        }
        if self.ledger.get(&id).is_some() {
            let text = "a request with this id is still open";
            self.answer(batch, protocol_error(Some(&id), INVALID_REQUEST, text));
            return;
        }
        if message.method() == "initialize" {
            self.on_initialize(message, &id, batch);
            return;
        }
        match &self.link.phase {
            Phase::Open | Phase::Handshaking(_) | Phase::Barrier(_) => {
                if let Some(answer) = self.overpromised(&message) {
                    return self.answer(batch, answer);
                }
                self.ledger.enter(message, batch);
                self.park_request(&id);
                self.stand_in_for_all();
            }
            Phase::Lost { .. } => {
                self.ledger.enter(message, batch);
                self.park_request(&id);
                self.try_to_reopen();
            }
            Phase::Idle => self.on_early_request(message, &id, batch),
        }
    }

    /// A request before any handshake. `ping` is allowed then (MCP 2025-11-25, Lifecycle,
    /// Initialization); requests that carry their own protocol version need no handshake.
    fn on_early_request(&mut self, message: Message, id: &Id, batch: Option<u64>) {
        if message.method() == "ping" {
            let id = id.token();
            self.answer(
                batch,
                format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#).into(),
            );
            return;
        }
        if needs_no_handshake(&message) {
            self.ledger.enter(message, batch);
            self.send_call(id, false);
            return;
        }
        let text = "send \"initialize\" first";
        self.answer(batch, protocol_error(Some(id), INVALID_REQUEST, text));
    }

    fn on_initialize(&mut self, message: Message, id: &Id, batch: Option<u64>) {
        if matches!(&self.link.phase, Phase::Handshaking(handshake) if handshake.is_for_client()) {
            let text = "another \"initialize\" is still being answered";
            self.answer(batch, protocol_error(Some(id), INVALID_REQUEST, text));
            return;
        }
        self.client.initialize = Some(message.clone());
        self.client.initialized = false;
        self.ledger.enter(message, batch);
        self.first_handshake(id);
    }

    fn on_notification(&mut self, message: Message) {
        self.debug(|| format!("client → {}", message.method()));
        match message.method() {
            "notifications/cancelled" => self.on_cancelled(&message),
            "notifications/initialized" => match self.link.phase {
                Phase::Open => self.send_initialized(&message),
                Phase::Handshaking(_) if self.stand_in.is_connected_late() => {
                    self.client.initialized = true;
                    self.ask_client_to_open();
                }
                Phase::Handshaking(_) => self.park_note(message),
                // Reopening the session sends it.
                Phase::Lost { .. } => self.client.initialized = true,
                Phase::Idle | Phase::Barrier(_) => {
                    self.debug(|| "notifications/initialized without a session: dropped".into());
                }
            },
            "tools/call" if self.settings.filter.is_active() => {
                self.debug(|| "tools/call without an id: dropped".into());
            }
            method => match self.link.phase {
                Phase::Idle => {
                    let method = text::sanitize(method, 80);
                    self.debug(|| format!("{method} without a session: dropped"));
                }
                Phase::Open | Phase::Handshaking(_) | Phase::Barrier(_) => self.park_note(message),
                Phase::Lost { .. } => {
                    self.park_note(message);
                    self.try_to_reopen();
                }
            },
        }
    }

    /// A cancellation (MCP 2025-11-25, Cancellation). It gets no answer, and neither does its
    /// request.
    fn on_cancelled(&mut self, message: &Message) {
        let id = message
            .params()
            .and_then(|params| member(params, "requestId"))
            .and_then(Id::from_raw);
        let Some(id) = id else {
            self.debug(|| "notifications/cancelled without a usable requestId: dropped".into());
            return;
        };
        let known = self.ledger.get(&id);
        if known.is_none_or(|entry| entry.message.method() == "initialize") {
            self.debug(|| "notifications/cancelled for no cancellable request: dropped".into());
            return;
        }
        let Some(entry) = self.ledger.strike(&id) else {
            return;
        };
        self.settle_batch(&entry, None);
        let upstream = entry.upstream.as_ref().map_or(&id, |upstream| upstream);
        let note = message.with_param("requestId", upstream.token());
        match entry.place {
            Place::Parked => self.authorizing.forget(&id),
            Place::Exchange(ticket) => {
                self.repurpose(ticket, Purpose::Abandoned);
                self.post_cancellation(note, Some(ticket), entry.generation);
            }
            Place::Elsewhere | Place::Waiting(_) => {
                self.post_cancellation(note, None, entry.generation);
            }
        }
    }

    /// The client's answer to a question of the server.
    fn on_reply(&mut self, message: &Message) {
        if self.stand_in.is_reply(message.id()) {
            return;
        }
        let question = message.id().and_then(|id| self.questions.take(id));
        let Some(question) = question else {
            self.say_once("stray-reply", Level::Info, || {
                "from the client: a response to no question of the server was dropped".into()
            });
            return;
        };
        if question.generation == self.link.generation {
            self.post_reply(message.with_id(&question.id));
        } else {
            self.debug(|| "the answer to a question of a lost session was dropped".into());
        }
    }

    // Answers.

    /// Gives the client an answer that belongs to no open request.
    fn answer(&mut self, batch: Option<u64>, answer: Bytes) {
        match batch {
            Some(number) => self.ledger.add_to_batch(number, answer),
            None => self.line(answer),
        }
    }

    /// Answers an open request and strikes it out.
    pub(super) fn respond(&mut self, id: &Id, answer: Bytes) {
        let Some(entry) = self.ledger.strike(id) else {
            return;
        };
        if entry.batch.is_some() {
            self.settle_batch(&entry, Some(answer));
        } else {
            self.line(answer);
        }
    }

    /// Answers an open request with an error of our own.
    pub(super) fn fail(&mut self, id: &Id, failure: &Failure) {
        let Some(entry) = self.ledger.get(id) else {
            return;
        };
        let (method, id_text) = (
            text::sanitize(entry.message.method(), 80),
            text::sanitize(id.token(), 80),
        );
        let answer = failure.answer(entry.message.id().unwrap_or(id));
        let kind = failure.kind.as_str();
        self.say(
            Level::Error,
            format!("{method} {id_text}: {} [{kind}]", failure.text),
        );
        self.respond(id, answer);
    }

    /// Answers everything that waits for the link with the same error; notifications are dropped.
    pub(super) fn fail_parked(&mut self, failure: &Failure) {
        self.parked_bytes = 0;
        for parked in std::mem::take(&mut self.parked) {
            if let Parked::Request(id, _) = parked
                && let Some(entry) = self.ledger.get(&id)
                && entry.place == Place::Parked
            {
                let executed = if entry.repeats == 0 {
                    Executed::No
                } else {
                    Executed::Unknown
                };
                let failure = failure.clone();
                self.fail(
                    &id,
                    &Failure {
                        executed,
                        ..failure
                    },
                );
            }
        }
        self.tool_list_failed(failure);
    }

    /// Requests that waited elsewhere go before those that came after them.
    pub(super) fn park_first(&mut self, ids: Vec<Id>) {
        let later = std::mem::take(&mut self.parked);
        for id in ids {
            self.park_request(&id);
        }
        self.parked.extend(later);
    }

    /// The requests that wait for the link are taken out of their queue; notifications stay.
    pub(super) fn take_parked_requests(&mut self) -> Vec<Id> {
        let (mut ids, mut notes) = (Vec::new(), VecDeque::new());
        for parked in std::mem::take(&mut self.parked) {
            match parked {
                Parked::Request(id, size) => {
                    self.parked_bytes -= size;
                    ids.push(id);
                }
                note @ Parked::Note(_) => notes.push_back(note),
            }
        }
        self.parked = notes;
        ids
    }

    fn settle_batch(&mut self, entry: &Entry, answer: Option<Bytes>) {
        if let Some(number) = entry.batch
            && let Some(whole) = self.ledger.settle(number, answer)
        {
            self.line(whole);
        }
    }

    // Requests of our own.

    /// Sends a request of our own under an id that neither side can use.
    pub(super) fn send_own(&mut self, method: &str, params: Option<&str>, own: Own) {
        let id = self.own_id();
        let token = id.token();
        let params = params.map_or_else(String::new, |params| format!(r#","params":{params}"#));
        let text = format!(r#"{{"jsonrpc":"2.0","id":{token},"method":"{method}"{params}}}"#);
        if let Ok(message) = Message::parse(text.into()) {
            self.own.insert(id.clone(), own);
            let request = self.post(&message, message.text().clone());
            self.start(Purpose::Own(id), request);
        }
    }
}

/// Whether a request stands for itself, as all do from the 2026-07-28 revision on.
pub(super) fn needs_no_handshake(message: &Message) -> bool {
    let modern = message
        .params()
        .and_then(|params| member(params, "_meta"))
        .is_some_and(|meta| member(meta, MODERN_VERSION).is_some());
    modern || message.method() == "server/discover"
}
