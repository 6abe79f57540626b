//! What the local client says.
//!
//! In: lines, judged and sorted. Out: how they travel (`calls`, `outbox`, `handshake`).

use std::collections::VecDeque;

use bytes::Bytes;

use super::tools::Verdict;
use super::{Bridge, Own, Parked, Phase, Purpose};
use crate::proto::era::meta::{self, Stated};
use crate::proto::era::{Era, SPOKEN, errors};
use crate::proto::failure::{Executed, Failure, INVALID_REQUEST, PARSE_ERROR, protocol_error};
use crate::proto::ledger::{Entry, Place};
use crate::proto::message::{Id, Kind, Malformed, Message, Parsed, member, salvage_id};
use crate::proto::{Level, limits, revision, text};

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
        let stated = match stated(&message) {
            // A client that began with a handshake cannot mean an older revision by it.
            Ok(Some(stated))
                if self.client.initialize.is_some() && Era::of(&stated.version) == Era::Legacy =>
            {
                None
            }
            Ok(stated) => stated,
            Err(error) => return self.answer(batch, refused(&id, &error)),
        };
        if message.method() == "tools/call" {
            match self.judge_call(&message) {
                Verdict::Allowed => {}
                Verdict::Unlisted(_)
                    if self.expects(stated.as_deref()) && self.ledger.get(&id).is_none() =>
                {
                    self.note_identity(stated.as_deref());
                    self.ledger.enter(message, stated, batch);
                    self.watch_over(&id);
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
        if !self.expects(stated.as_deref()) {
            return self.on_early_request(&message, &id, batch);
        }
        self.note_identity(stated.as_deref());
        if stated.is_none()
            && let Some(answer) = self.overpromised(&message)
        {
            return self.answer(batch, answer);
        }
        self.ledger.enter(message, stated, batch);
        self.watch_over(&id);
        self.admit(&id);
    }

    /// Whether a request of this kind may come now: one of the legacy era needs a handshake.
    fn expects(&self, stated: Option<&Stated>) -> bool {
        let shaken = self.client.initialize.is_some() && !matches!(self.link.phase, Phase::Idle);
        stated.is_some() || shaken
    }

    fn note_identity(&mut self, stated: Option<&Stated>) {
        if let Some(stated) = stated
            && self.client.stated.as_ref() != Some(stated)
        {
            self.client.stated = Some(stated.clone());
        }
    }

    /// Lets an open request wait for the link, and sees to it that there is one.
    fn admit(&mut self, id: &Id) {
        self.park_request(id);
        match &self.link.phase {
            Phase::Open => {}
            Phase::Handshaking(_) | Phase::Barrier(_) => self.stand_in_for_all(),
            Phase::Lost { .. } => self.try_to_reopen(),
            Phase::Idle => {
                if !self.recall_modern() {
                    self.first_contact_for_modern();
                }
            }
        }
    }

    /// A request before any handshake. `ping` is allowed then (MCP 2025-11-25, Lifecycle,
    /// Initialization).
    fn on_early_request(&mut self, message: &Message, id: &Id, batch: Option<u64>) {
        if message.method() == "ping" {
            let id = id.token();
            self.answer(
                batch,
                format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#).into(),
            );
            return;
        }
        let text =
            "send \"initialize\" first, or say in \"_meta\" which revision the request belongs to";
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
        self.forget_initialized();
        self.ledger.enter(message, None, batch);
        if matches!(self.link.phase, Phase::Idle) && self.link.modern.is_none() {
            self.recall_modern();
        }
        if matches!(self.link.phase, Phase::Open) && self.link.modern.is_some() {
            return self.initialize_from_discovered(id);
        }
        if self.joins_contact(id) || self.joins_session(id) {
            return;
        }
        self.first_handshake(id);
    }

    fn on_notification(&mut self, message: Message) {
        self.debug(|| format!("client → {}", message.method()));
        match message.method() {
            "notifications/cancelled" => self.on_cancelled(&message),
            "notifications/initialized" => match self.link.phase {
                Phase::Open => self.send_initialized(&message),
                Phase::Barrier(_) if !self.client.initialized => self.park_note(message),
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
        let quiet = self.ends_quietly(&id);
        let Some(entry) = self.strike(&id) else {
            return;
        };
        self.settle_batch(&entry, None);
        if quiet || entry.via.server() == Era::Modern {
            return self.abandon(&entry);
        }
        self.authorizing.forget(&id);
        let upstream = entry.upstream.as_ref().unwrap_or(&id);
        let note = message.with_param("requestId", upstream.token());
        self.leave_at_server(upstream, entry.place, entry.generation, note);
    }

    /// The client's answer to a question of the server.
    fn on_reply(&mut self, message: &Message) {
        if self.stand_in.is_reply(message.id()) || self.on_round_reply(message) {
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
            self.post_reply(message.with_id(&question.id), question.generation);
            self.question_settled(&question);
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
        let Some(answer) = self.keep_for_retry(id, answer) else {
            return;
        };
        let Some(entry) = self.strike(id) else {
            return;
        };
        if entry.batch.is_some() {
            self.settle_batch(&entry, Some(answer));
        } else {
            self.line(answer);
        }
    }

    /// Strikes a request out, with everything that is kept for it.
    pub(super) fn strike(&mut self, id: &Id) -> Option<Entry> {
        self.watch_no_more(id);
        self.forget_round(id);
        self.forget_listener(id);
        self.forget_upward(id);
        self.forget_subscriber(id);
        self.catalog.forget_call(id);
        self.ledger.strike(id)
    }

    /// Answers an open request with a result or an error of its own era; `member` is `result` or
    /// `error`, the value raw JSON.
    pub(super) fn respond_with(&mut self, id: &Id, member: &str, value: &str) {
        let token = self.ledger.get(id).and_then(|entry| entry.message.id());
        let token = token.unwrap_or(id).token();
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{token},"{member}":{value}}}"#);
        self.respond(id, answer.into());
    }

    /// Answers an open request with an error of its own era.
    pub(super) fn respond_error(&mut self, id: &Id, code: i64, text: &str) {
        let error = errors::error(code, text, None);
        self.respond_with(id, "error", &error);
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

    /// What ended the client's handshake before this one is not sent any more.
    fn forget_initialized(&mut self) {
        for parked in std::mem::take(&mut self.parked) {
            match parked {
                Parked::Note(note) if note.method() == "notifications/initialized" => {
                    self.parked_bytes -= note.text().len() + limits::PARKED_EACH;
                }
                parked => self.parked.push_back(parked),
            }
        }
    }

    /// Answers everything that waits for the link with the same error; notifications are dropped.
    pub(super) fn fail_parked(&mut self, failure: &Failure) {
        self.parked_bytes = 0;
        for parked in std::mem::take(&mut self.parked) {
            if matches!(&parked, Parked::Note(note) if note.method() == "notifications/initialized")
            {
                // Reopening the session sends it.
                self.client.initialized = true;
            }
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

    /// Sends a request of our own under an id that neither side can use; gives the id.
    pub(super) fn send_own(&mut self, method: &str, params: Option<&str>, own: Own) -> Id {
        let id = self.own_id();
        let token = id.token();
        let stamped;
        let params = if self.link.modern.is_some() {
            stamped = match own {
                Own::Downward => self.stamped_for_task(params),
                _ => self.stamped(params, &[]),
            };
            stamped.as_deref()
        } else {
            params
        };
        let params = params.map_or_else(String::new, |params| format!(r#","params":{params}"#));
        let text = format!(r#"{{"jsonrpc":"2.0","id":{token},"method":"{method}"{params}}}"#);
        if let Ok(message) = Message::parse(text.into()) {
            self.own.insert(id.clone(), own);
            let body = message.text().clone();
            let request = match &self.link.modern {
                Some(modern) => self.post_modern(&message, body, &modern.version),
                None => self.post(&message, body),
            };
            self.start(Purpose::Own(id.clone()), request);
        }
        id
    }
}

/// What a request says of itself, if it is of the modern era. `server/discover` needs no words: it
/// exists in that era only.
///
/// # Errors
/// The error, raw JSON, for a modern request that leaves out what every one has to say (MCP
/// 2026-07-28, Base Protocol, `_meta`).
fn stated(message: &Message) -> Result<Option<Box<Stated>>, String> {
    if message.method() == "initialize" {
        return Ok(None);
    }
    let Some(stated) = Stated::read(message.params()) else {
        let stated = Stated {
            version: SPOKEN[0].to_owned(),
            capabilities: Some("{}".to_owned()),
            ..Stated::default()
        };
        return Ok((message.method() == "server/discover").then(|| Box::new(stated)));
    };
    let missing = if stated.version.is_empty() {
        meta::PROTOCOL_VERSION
    } else if stated.capabilities.is_none() {
        meta::CLIENT_CAPABILITIES
    } else {
        return Ok(Some(Box::new(stated)));
    };
    let text = format!("mcp-bridge: \"_meta\" has no usable \"{missing}\"");
    Err(errors::error(errors::INVALID_PARAMS, &text, None))
}

fn refused(id: &Id, error: &str) -> Bytes {
    let id = id.token();
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#).into()
}
