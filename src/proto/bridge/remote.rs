//! What the server says: events and messages, and where they go.
//!
//! In: matching responses to requests, the server's own questions, the tool filter on lists. Out:
//! what an answer's status means (`calls`, `outbox`, `handshake`).

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderValue;

use super::{Bridge, Phase, Purpose, Timer};
use crate::proto::failure::{Executed, Failure, Kind as FailureKind};
use crate::proto::filter::Unfilterable;
use crate::proto::ledger::{Place, Via};
use crate::proto::message::{Id, Kind, Message, Parsed, member};
use crate::proto::sse::Event;
use crate::proto::{Level, Ticket, limits, text};

/// Requests of the server that wait for the client's response. The client sees ids of our own,
/// because servers restart their counters with every session, some with every request.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: HashMap<Id, Question>,
    /// When it was last looked for those that nobody waits for.
    swept: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Question {
    /// The server's id for it.
    pub(super) id: Id,
    /// The session it was asked in.
    pub(super) generation: u32,
    /// The request in whose exchange it came; none if it came on a stream that belongs to none.
    pub(super) of: Option<Id>,
    /// Until then the limit for that request rests. `None`: it takes the client no time.
    rests_until: Option<Instant>,
    ticket: Ticket,
}

impl Questions {
    /// The question the client answers under this id.
    pub(super) fn take(&mut self, id: &Id) -> Option<Question> {
        self.open.remove(id)
    }

    /// Whether this request of this session may wait for the client's answer to one of them.
    pub(super) fn hold_up(&self, id: &Id, generation: u32, now: Instant) -> bool {
        self.open.values().any(|question| {
            let is_meant = match &question.of {
                Some(of) => of == id,
                None => question.generation == generation,
            };
            is_meant && question.rests_until.is_some_and(|until| now < until)
        })
    }
}

impl Bridge {
    pub(super) fn on_events(&mut self, ticket: Ticket, events: Vec<Event>) {
        for event in events {
            let Some(exchange) = self.exchanges.get_mut(&ticket) else {
                return;
            };
            if let Some(id) = &event.id {
                let id = HeaderValue::from_str(id).ok().filter(|id| !id.is_empty());
                if id != exchange.last_event {
                    exchange.fruitless = 0;
                }
                exchange.last_event = id;
            }
            if event.retry.is_some() {
                exchange.retry_ms = event.retry;
            }
            if exchange.purpose == Purpose::Sse {
                if event.name.as_deref() == Some("endpoint") {
                    let announced = String::from_utf8_lossy(&event.data).into_owned();
                    self.on_endpoint(ticket, &announced);
                    continue;
                }
                if !event.data.is_empty() && self.awaits_endpoint() {
                    self.no_endpoint("the event stream does not begin with an \"endpoint\" event");
                    return;
                }
            } else if !event.data.is_empty() {
                exchange.fruitless = 0;
            }
            if !event.data.is_empty() {
                self.on_event_data(ticket, &event);
            }
        }
    }

    fn on_event_data(&mut self, ticket: Ticket, event: &Event) {
        match Message::parse_any(event.data.clone()) {
            Ok(Parsed::One(message)) => self.on_remote_message(ticket, message),
            Ok(Parsed::Batch(elements)) => {
                for element in elements {
                    if let Ok(message) = Message::parse(element) {
                        self.on_remote_message(ticket, message);
                    }
                }
            }
            Err(_) if event.name.as_deref().is_some_and(|name| name != "message") => {}
            Err(_) => self.say_once("bad-event", Level::Warn, || {
                let excerpt = text::excerpt(&event.data);
                format!(
                    "the server sent an event that is no JSON-RPC message; dropped: \"{excerpt}\""
                )
            }),
        }
    }

    /// A message of the server that came in this exchange.
    pub(super) fn on_remote_message(&mut self, ticket: Ticket, message: Message) {
        match message.kind() {
            Kind::Response => self.on_response(ticket, message),
            Kind::Request => self.on_question(ticket, &message),
            Kind::Notification => self.on_remote_notification(ticket, &message),
        }
    }

    /// A response belongs to the open request with its id, on whatever stream it comes: a resumed
    /// stream is another exchange. Without such a request it belongs to the request of its own
    /// exchange, if its id is missing or only spelled otherwise.
    fn on_response(&mut self, ticket: Ticket, message: Message) {
        if let Some(id) = message.id() {
            if self.own.contains_key(id) {
                let id = id.clone();
                self.on_own_response(&id, &message);
                let exchange = self.exchanges.get(&ticket);
                if exchange.is_some_and(|exchange| exchange.purpose == Purpose::Own(id)) {
                    self.linger(ticket);
                }
                return;
            }
            if self.ends_subscription(id, &message) {
                return;
            }
            if let Some(known) = self.ledger.resolve(id).cloned() {
                self.deliver(&known, message);
                return;
            }
        }
        let asked = match self
            .exchanges
            .get(&ticket)
            .map(|exchange| &exchange.purpose)
        {
            Some(Purpose::Call(id)) => self.ledger.get(id).map(|_| id.clone()),
            Some(Purpose::Initialize) if message.id().is_none_or(is_placeholder) => {
                self.on_initialize_response(&message);
                return;
            }
            Some(Purpose::Discover) if message.id().is_none_or(is_placeholder) => {
                self.on_discover_response(&message);
                return;
            }
            _ => None,
        };
        let fits = |asked: &Id| {
            let entry = self.ledger.get(asked);
            let sent = entry.and_then(|entry| entry.upstream.as_ref());
            message
                .id()
                .is_none_or(|id| is_placeholder(id) || id.resembles(sent.unwrap_or(asked)))
        };
        match asked.filter(fits) {
            Some(asked) => self.deliver(&asked, message),
            None => self.say_once("unasked", Level::Info, || {
                let id = message.id().map_or("none", Id::token);
                let id = text::sanitize(id, 80);
                format!("the server sent a response to no open request (id {id}); dropped")
            }),
        }
    }

    fn deliver(&mut self, id: &Id, message: Message) {
        let Some(entry) = self.ledger.get(id) else {
            return;
        };
        let (place, method) = (entry.place, entry.message.method().to_owned());
        if method == "initialize" {
            if matches!(self.link.phase, Phase::Handshaking(_)) {
                self.on_initialize_response(&message);
            }
            return;
        }
        self.link.recoveries.helped();
        self.debug(|| {
            format!(
                "server → response to {method} {}",
                text::sanitize(id.token(), 80)
            )
        });
        self.keep_fresh(id, &message);
        self.answer_open(id, message);
        if let Place::Exchange(ticket) = place {
            self.linger(ticket);
        }
    }

    /// The stream has carried its response: it stays open a while for what else it may bring.
    fn linger(&mut self, ticket: Ticket) {
        self.repurpose(ticket, Purpose::Drain);
        self.time_exchange(ticket, limits::LINGER, Timer::Linger(ticket));
    }

    /// Gives an open request the server's answer, in a form that its client knows.
    pub(super) fn answer_open(&mut self, id: &Id, message: Message) {
        let Some(entry) = self.ledger.get(id) else {
            return;
        };
        let (via, method) = (entry.via, entry.message.method().to_owned());
        let kept = match method.as_str() {
            "tools/list" if self.settings.filter.is_active() => self.filtered(id, message),
            _ => Some(message),
        };
        let answer = kept.and_then(|message| match via {
            Via::Legacy => Some(message),
            Via::Modern => Some(self.answer_from_modern(id, message)),
            Via::ToModern => self.answer_to_legacy_client(id, message),
            Via::ToLegacy => self.answer_to_modern_client(id, message),
        });
        if let Some(answer) = answer {
            self.remember(id, &method, &answer);
            let line = match self.ledger.get(id).and_then(|entry| entry.message.id()) {
                Some(asked) => answer.with_id(asked),
                None => return,
            };
            self.respond(id, line);
        }
    }

    /// A page of `tools/list` without the tools that are hidden here. `None` if the request was
    /// answered with an error instead.
    fn filtered(&mut self, id: &Id, message: Message) -> Option<Message> {
        let Some(result) = message.result() else {
            return Some(message);
        };
        let edited = match self.settings.filter.edit_list(result) {
            Ok(None) => return Some(message),
            Ok(Some(edited)) => {
                Message::parse(message.with_result(&edited)).map_err(|_| Unfilterable)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &edited {
            let text = error.to_string();
            let failure = Failure::new(FailureKind::NotMcp, Executed::Unknown, text);
            self.fail(id, &failure);
        }
        edited.ok()
    }

    /// Keeps what a new session would have to be told.
    fn remember(&mut self, id: &Id, method: &str, answer: &Message) {
        if answer.result().is_none() {
            return;
        }
        let Some(entry) = self.ledger.get(id) else {
            return;
        };
        let Some(params) = entry.message.params() else {
            return;
        };
        let uri = || entry.message.param::<String>("uri");
        match method {
            "logging/setLevel" => {
                let params = params.to_owned();
                self.note_level(&params);
                self.client.log_level = Some(params);
            }
            "resources/subscribe" => {
                if let Some(uri) = uri()
                    && self.client.subscriptions.len() < limits::SUBSCRIPTIONS
                {
                    self.client.subscriptions.insert(uri, params.to_owned());
                }
            }
            "resources/unsubscribe" => {
                if let Some(uri) = uri() {
                    self.client.subscriptions.remove(&uri);
                    self.watch_on(&uri);
                }
            }
            _ => {}
        }
    }

    /// A request of the server: passed on under an id of our own.
    fn on_question(&mut self, ticket: Ticket, message: &Message) {
        let Some(id) = message.id().cloned() else {
            return;
        };
        if self.is_of_modern(ticket) {
            self.say_once("modern-request", Level::Warn, || {
                let method = text::sanitize(message.method(), 80);
                format!(
                    "the server sent a request ({method}), which its revision has none of; dropped"
                )
            });
            return;
        }
        if id.token().len() > limits::QUESTION_ID {
            self.say_once("question-id", Level::Warn, || {
                format!(
                    "the server sent a request with an id above {} bytes; dropped",
                    limits::QUESTION_ID
                )
            });
            return;
        }
        self.sweep_questions();
        if self.questions.open.len() >= limits::QUESTIONS {
            self.say_once("questions", Level::Warn, || {
                format!(
                    "the server has more than {} unanswered requests; dropped",
                    limits::QUESTIONS
                )
            });
            return;
        }
        if self.question_for_modern(ticket, message) {
            return;
        }
        let Some(exchange) = self.exchanges.get(&ticket) else {
            return;
        };
        if exchange.generation != self.link.generation {
            return self.debug(|| "a question of a lost session was dropped".into());
        }
        let question = Question {
            id: id.detached(),
            generation: exchange.generation,
            of: match &exchange.purpose {
                Purpose::Call(id) => Some(id.detached()),
                _ => None,
            },
            rests_until: (message.method() != "ping").then(|| self.now + limits::QUESTION_IDLE),
            ticket,
        };
        self.serial += 1;
        let shown = Id::text(&format!("mb-{}-s{}", self.settings.nonce, self.serial));
        self.debug(|| format!("server → {} as {}", message.method(), shown.token()));
        let line = message.with_id(&shown);
        self.questions.open.insert(shown, question);
        self.line_when_initialized(line, message.method() == "ping");
    }

    /// When there are too many questions, those whose exchanges are over have to go first.
    fn sweep_questions(&mut self) {
        let rested = self.questions.swept.is_none_or(|swept| {
            self.now.saturating_duration_since(swept) >= limits::QUESTIONS_SWEPT
        });
        if rested && self.questions.open.len() >= limits::QUESTIONS {
            self.questions.swept = Some(self.now);
            let open: HashSet<Ticket> = self.exchanges.keys().copied().collect();
            self.cancel_questions(|question| !open.contains(&question.ticket));
        }
    }

    fn on_remote_notification(&mut self, ticket: Ticket, message: &Message) {
        self.debug(|| format!("server → {}", text::sanitize(message.method(), 80)));
        if message.method() == "notifications/tools/list_changed" {
            self.forget_tools();
        }
        if self.notice_from_modern(ticket, message) || self.notice_for_modern(ticket, message) {
            return;
        }
        match message.method() {
            "notifications/cancelled" => {
                let id = message
                    .params()
                    .and_then(|params| member(params, "requestId"))
                    .and_then(Id::from_raw);
                let shown = id.and_then(|id| {
                    let (shown, _) = self
                        .questions
                        .open
                        .iter()
                        .find(|(_, asked)| asked.id == id)?;
                    Some(shown.clone())
                });
                if let Some(shown) = shown {
                    if let Some(question) = self.questions.take(&shown) {
                        self.question_settled(&question);
                    }
                    let line = message.with_param("requestId", shown.token());
                    self.line_when_initialized(line, false);
                }
            }
            "notifications/message" => self.line(message.text().clone()),
            "notifications/progress" if !self.passes_progress(message) => {}
            _ => self.line_when_initialized(message.text().clone(), false),
        }
    }

    /// Before `notifications/initialized` a client may be sent pings and log messages only (MCP
    /// 2025-11-25, Lifecycle, Initialization); the rest is held until then.
    pub(super) fn line_when_initialized(&mut self, line: Bytes, always: bool) {
        let held = &self.client.held;
        let size = line.len() + held.iter().map(Bytes::len).sum::<usize>();
        if always || self.client.initialized || self.client.initialize.is_none() {
            self.line(line);
        } else if held.len() < limits::HELD && size <= limits::HELD_BYTES {
            self.client.held.push(line);
        } else {
            self.say_once("held", Level::Warn, || {
                "the server sends too much before the client is initialized; dropped".into()
            });
        }
    }

    /// Tells the client that questions need no answer any more.
    pub(super) fn cancel_questions(&mut self, gone: impl Fn(&Question) -> bool) {
        let gone: Vec<Id> = self
            .questions
            .open
            .iter()
            .filter(|(_, question)| gone(question))
            .map(|(shown, _)| shown.clone())
            .collect();
        for shown in gone {
            if let Some(question) = self.questions.take(&shown) {
                self.question_settled(&question);
            }
            let id = shown.token();
            let text = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"the connection to the server was lost"}}}}"#
            );
            self.line_when_initialized(text.into(), false);
        }
    }

    /// The client was asked this, and is not any more: it is the server's turn.
    pub(super) fn question_settled(&mut self, question: &Question) {
        if question.rests_until.is_none() {
            return;
        }
        match &question.of {
            Some(id) => self.limit_anew(id),
            None => self.limit_anew_in(question.generation),
        }
    }

    /// The same for the questions that came in one exchange.
    pub(super) fn cancel_questions_of(&mut self, ticket: Ticket) {
        self.cancel_questions(|question| question.ticket == ticket);
    }
}

/// Some servers answer what they could not read with this in place of an id.
fn is_placeholder(id: &Id) -> bool {
    id.token() == "\"server-error\""
}
