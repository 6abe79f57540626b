//! Which request of a modern client a legacy server's question goes with: a modern client is asked
//! in the answer to a request of its own only (MCP 2026-07-28, Multi Round-Trip Requests).
//!
//! In: questions as they come, finding their request, keeping them until there is one, refusing
//! what nobody can be asked. Out: asking, and the answers (`suspended`).

use std::time::Instant;

use super::close::Closing;
use super::{Bridge, Purpose, Timer};
use crate::proto::era::capabilities::{self, Answerable};
use crate::proto::era::{errors, meta};
use crate::proto::ledger::Place;
use crate::proto::message::{Id, Message, member};
use crate::proto::object::{self, Object};
use crate::proto::secret::Secret;
use crate::proto::{Level, Ticket, limits, text};

/// The requests that a modern client can be asked with (MCP 2026-07-28, Multi Round-Trip Requests,
/// Supported Requests).
const CARRIERS: [&str; 3] = ["tools/call", "prompts/get", "resources/read"];

/// The user rejected a sampling request (MCP 2025-11-25, Sampling, Error Handling).
const REJECTED: i64 = -1;

/// A question of a legacy server that has no answer yet.
#[derive(Debug)]
pub(super) struct Asked {
    /// The server's id for it.
    pub(super) id: Id,
    /// The session it was asked in.
    pub(super) generation: u32,
    pub(super) method: String,
    /// What the client is asked with, raw JSON.
    pub(super) params: Option<Secret>,
    /// Its key in the answer that asks the client.
    pub(super) key: Option<String>,
    /// It was asked elsewhere than in the exchange of its request.
    carried: bool,
    /// When it is refused if no request has come that it can go with.
    until: Instant,
}

impl Asked {
    /// What is kept for it, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let params = self.params.as_ref();
        let params = params.map_or(0, |params| params.reveal().len());
        params + self.id.token().len() + limits::PARKED_EACH
    }

    /// The question as it stands in an `input_required` result, raw JSON.
    pub(super) fn question(&self) -> String {
        let mut question = Object::default();
        question.set("method", crate::proto::json::quote(&self.method));
        if let Some(params) = &self.params {
            question.set("params", params.reveal());
        }
        question.to_string()
    }

    /// When it is refused if no request has come that it can go with.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// Whether it was asked elsewhere than in the exchange of its request.
    pub(super) fn is_carried(&self) -> bool {
        self.carried
    }

    /// The capability without which a client cannot be asked this, if that is not there.
    fn lacks(&self, capabilities: &str) -> Option<String> {
        let params = self.params.as_ref().map(Secret::reveal);
        Answerable::read(capabilities).lacks(&self.method, params)
    }

    fn is_allowed(&self, capabilities: &str) -> bool {
        self.lacks(capabilities).is_none()
    }
}

/// Why a question is not asked, or not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The client has not said that it can be asked this.
    Undeclared,
    /// There is nobody to ask.
    Unanswered,
}

/// Whether a modern client can be asked with the answer to this request.
pub(super) fn is_carrier(method: &str) -> bool {
    CARRIERS.contains(&method)
}

impl Bridge {
    /// A request of a legacy server, where a modern client is concerned. Whether it is settled.
    pub(super) fn question_for_modern(&mut self, ticket: Ticket, question: &Message) -> bool {
        if self.client.stated.is_none() {
            return false;
        }
        let (Some(exchange), Some(id)) = (self.exchanges.get(&ticket), question.id()) else {
            return true;
        };
        let generation = exchange.generation;
        let of_task = question.params().and_then(|params| self.task_owner(params));
        let owner = of_task.or_else(|| self.upward_in(ticket));
        if owner.is_none() && self.is_told() {
            return false;
        }
        let call = owner.as_ref().filter(|_| question.method() != "ping");
        if let Some(call) = call.and_then(|id| self.suspended.calls.get_mut(id)) {
            call.begun = true;
        }
        let asked = Asked {
            id: id.detached(),
            generation,
            method: question.method().to_owned(),
            params: question.params().map(|params| for_modern(params).into()),
            key: None,
            carried: false,
            until: self.now + limits::QUESTION_HELD,
        };
        match question.method() {
            "ping" => self.reply_upstream(&asked, "result", "{}"),
            "roots/list" | "sampling/createMessage" | "elicitation/create" => {
                self.place_question(owner, asked);
            }
            _ => {
                let error = errors::error(errors::METHOD_NOT_FOUND, "Method not found", None);
                self.reply_upstream(&asked, "error", &error);
            }
        }
        true
    }

    /// Whether the client has made a handshake too: what belongs to no request of the modern era is
    /// its affair then.
    pub(super) fn is_told(&self) -> bool {
        self.client.initialize.is_some() && self.client.version.is_some()
    }

    /// The modern client's request that an exchange with a legacy server is for.
    pub(super) fn upward_in(&self, ticket: Ticket) -> Option<Id> {
        match &self.exchanges.get(&ticket)?.purpose {
            Purpose::Call(id) => self.is_upward(id).then(|| id.clone()),
            Purpose::Own(own) => self.task_asked_with(own),
            _ => None,
        }
    }

    fn place_question(&mut self, owner: Option<Id>, mut asked: Asked) {
        if self.closing != Closing::No {
            // Nobody comes back with an answer.
            return self.refuse_question(&asked, Refusal::Unanswered);
        }
        let owner = owner.filter(|id| self.carries(id));
        if self.is_known(owner.as_ref(), &asked) {
            return;
        }
        if let Some(id) = owner {
            return if self.may_ask(&id, &asked) {
                self.ask_with(&id, asked);
            } else {
                self.note_lacking(&id, &asked);
                self.refuse_question(&asked, Refusal::Undeclared);
            };
        }
        asked.carried = true;
        if let Some(id) = self.newest_carrier(&asked) {
            self.ask_with(&id, asked);
        } else if asked.is_allowed(self.declared()) {
            self.hold_question(asked);
        } else {
            self.refuse_question(&asked, Refusal::Undeclared);
        }
    }

    /// A stream that is continued may tell of a question again. Servers that count anew for each
    /// request ask different things under one id.
    fn is_known(&self, owner: Option<&Id>, asked: &Asked) -> bool {
        let is_same =
            |known: &Asked| known.is(&asked.id, asked.generation) && known.method == asked.method;
        if let Some(owner) = owner {
            let call = self.suspended.calls.get(owner);
            return call.is_some_and(|call| call.asked.iter().any(is_same));
        }
        let of_calls = self.suspended.calls.values().flat_map(|call| &call.asked);
        let mut elsewhere = of_calls.filter(|asked| asked.carried);
        elsewhere.any(is_same) || self.suspended.held.iter().any(is_same)
    }

    fn carries(&self, id: &Id) -> bool {
        let entry = self.ledger.get(id);
        entry.is_some_and(|entry| is_carrier(entry.message.method()))
    }

    /// Whether this request says that the client can be asked that.
    fn may_ask(&self, id: &Id, asked: &Asked) -> bool {
        let declared = self.declared_with(id);
        declared.is_some_and(|declared| asked.is_allowed(declared))
    }

    /// The capabilities that this request declares, raw JSON.
    fn declared_with(&self, id: &Id) -> Option<&str> {
        let stated = self.ledger.get(id)?.stated.as_ref()?;
        stated.capabilities.as_deref()
    }

    /// Notes what this request would have to declare to be asked that.
    fn note_lacking(&mut self, id: &Id, asked: &Asked) {
        let lacks = asked.lacks(self.declared_with(id).unwrap_or("{}"));
        let required = match lacks.as_deref() {
            Some("roots") => r#"{"roots":{}}"#,
            Some("sampling") => r#"{"sampling":{}}"#,
            Some("sampling.tools") => r#"{"sampling":{"tools":{}}}"#,
            Some("elicitation") => r#"{"elicitation":{"form":{}}}"#,
            Some("elicitation.url") => r#"{"elicitation":{"url":{}}}"#,
            // No client could declare it.
            _ => return,
        };
        if let Some(call) = self.suspended.calls.get_mut(id) {
            let known = call.lacking.as_deref().unwrap_or("{}");
            call.lacking = Some(capabilities::union(known, required));
        }
    }

    /// The error of a request that failed after the server had asked what the request does not
    /// declare: a modern server refuses such a request with it (MCP 2026-07-28, Base Protocol,
    /// `_meta`). `None` for other requests, and for one that did without.
    pub(super) fn lacked(&self, id: &Id, answer: &Message) -> Option<String> {
        let required = self.suspended.calls.get(id)?.lacking.as_deref()?;
        if let Some(error) = answer.error() {
            let said = answer.error_text();
            return Some(errors::failed_for_capability(required, &said, error));
        }
        let result = answer.result()?;
        if member(result, "isError") != Some("true") {
            return None;
        }
        let content = member(result, "content").and_then(object::items);
        let mut texts = content.iter().flatten().filter_map(|item| {
            let text = member(item, "text")?;
            serde_json::from_str::<String>(text).ok()
        });
        let said = text::sanitize(&texts.next().unwrap_or_default(), limits::QUOTED_CHARS);
        Some(errors::failed_for_capability(required, &said, result))
    }

    /// The request sent last that a question from elsewhere can go with.
    fn newest_carrier(&self, asked: &Asked) -> Option<Id> {
        let calls = self.suspended.calls.iter().filter(|(id, call)| {
            let entry = self.ledger.get(id);
            let is_sent = entry.is_some_and(|entry| {
                entry.place != Place::Parked && entry.generation == asked.generation
            });
            is_sent && !call.is_answered() && self.carries(id) && self.may_ask(id, asked)
        });
        let newest = calls.max_by_key(|(_, call)| (!call.is_suspended(), call.order));
        newest.map(|(id, _)| id.clone())
    }

    /// Asks the client with this request, as soon as the questions that come together are there.
    fn ask_with(&mut self, id: &Id, asked: Asked) {
        if self.suspended.is_full(&asked) {
            return self.too_many(&asked);
        }
        let Some(call) = self.suspended.calls.get_mut(id) else {
            return self.hold_question(asked);
        };
        if call.asked.len() >= limits::QUESTIONS_OF_ONE {
            return self.too_many(&asked);
        }
        call.asked.push(asked);
        if !call.is_suspended() && !std::mem::replace(&mut call.collecting, true) {
            self.after(limits::COLLECTED, Timer::Collect(id.clone()));
        }
    }

    /// Keeps a question until a request comes that it can go with.
    fn hold_question(&mut self, asked: Asked) {
        if self.suspended.is_full(&asked) {
            return self.too_many(&asked);
        }
        self.debug(|| {
            let method = &asked.method;
            format!("{method} waits for a request of the client that it can be asked with")
        });
        let until = asked.until;
        self.suspended.held.push(asked);
        self.watch_suspended(until);
    }

    /// A request that questions can go with was sent: those that have waited for one go with it.
    pub(super) fn attach_held(&mut self, id: &Id) {
        if !self.carries(id) || self.suspended.held.is_empty() {
            return;
        }
        for asked in std::mem::take(&mut self.suspended.held) {
            if asked.generation == self.link.generation && self.may_ask(id, &asked) {
                self.ask_with(id, asked);
            } else {
                self.suspended.held.push(asked);
            }
        }
    }

    /// A request is over: its questions are refused, but for those of others that were not asked.
    pub(super) fn release_questions(&mut self, questions: Vec<Asked>) {
        for asked in questions {
            if asked.carried && asked.key.is_none() && self.now < asked.until {
                self.hold_question(asked);
            } else {
                self.refuse_question(&asked, Refusal::Unanswered);
            }
        }
    }

    /// Questions that nothing came for in time.
    pub(super) fn refuse_held(&mut self, until: Instant) {
        for asked in std::mem::take(&mut self.suspended.held) {
            if self.is_gone(asked.generation) {
                continue;
            }
            if asked.until > until {
                self.suspended.held.push(asked);
                continue;
            }
            let method = asked.method.as_str();
            let text = format!(
                "the server's {method} was refused: the client made no request that it could be asked with"
            );
            self.say(Level::Info, text);
            self.refuse_question(&asked, Refusal::Unanswered);
        }
    }

    /// The server takes a question back. Whether it was one that is kept here.
    pub(super) fn question_withdrawn(&mut self, ticket: Ticket, notice: &Message) -> bool {
        let id = notice
            .params()
            .and_then(|params| member(params, "requestId"))
            .and_then(Id::from_raw);
        let (Some(id), Some(exchange)) = (id, self.exchanges.get(&ticket)) else {
            return false;
        };
        let generation = exchange.generation;
        let owner = self.upward_in(ticket);
        let is_it = |asked: &Asked| asked.is(&id, generation);
        let has_owner = owner.is_some();
        let own = owner.and_then(|owner| self.suspended.calls.get_mut(&owner));
        if own.is_some_and(|call| withdraw(&mut call.asked, is_it)) {
            return true;
        }
        // In the exchange of one request it is not about what another was asked itself.
        let is_it = |asked: &Asked| asked.is(&id, generation) && (asked.carried || !has_owner);
        let mut calls = self.suspended.calls.values_mut();
        let is_withdrawn = calls.any(|call| withdraw(&mut call.asked, is_it))
            || withdraw(&mut self.suspended.held, is_it);
        if is_withdrawn {
            self.limit_anew_in(generation);
        }
        is_withdrawn
    }

    fn too_many(&mut self, asked: &Asked) {
        self.say_once("asked", Level::Warn, || {
            "the server asks more than can be kept for the client; refused".into()
        });
        self.refuse_question(asked, Refusal::Unanswered);
    }

    /// Answers a question in the client's place.
    pub(super) fn refuse_question(&mut self, asked: &Asked, why: Refusal) {
        let (code, text) = match (asked.method.as_str(), why) {
            ("elicitation/create", _) => {
                return self.reply_upstream(asked, "result", r#"{"action":"cancel"}"#);
            }
            (_, Refusal::Undeclared) => (errors::METHOD_NOT_FOUND, "Method not found"),
            ("sampling/createMessage", Refusal::Unanswered) => {
                (REJECTED, "mcp-bridge: nobody answered the sampling request")
            }
            (_, Refusal::Unanswered) => (
                errors::INTERNAL,
                "mcp-bridge: the client could not be asked",
            ),
        };
        let error = errors::error(code, text, None);
        self.reply_upstream(asked, "error", &error);
    }

    /// Answers a question; `member` is `result` or `error`, the value raw JSON.
    pub(super) fn reply_upstream(&mut self, asked: &Asked, member: &str, value: &str) {
        if asked.carried {
            self.limit_anew_in(asked.generation);
        }
        if self.outbox.len() >= limits::QUESTIONS {
            self.say_once("replies", Level::Warn, || {
                let method = text::sanitize(&asked.method, 80);
                format!("the server asks faster than it takes answers; {method} was dropped")
            });
            return;
        }
        let id = asked.id.token();
        let reply = format!(r#"{{"jsonrpc":"2.0","id":{id},"{member}":{value}}}"#);
        self.post_reply(reply.into(), asked.generation);
    }
}

impl Asked {
    fn is(&self, id: &Id, generation: u32) -> bool {
        self.id == *id && self.generation == generation
    }
}

fn withdraw(questions: &mut Vec<Asked>, is_it: impl Fn(&Asked) -> bool) -> bool {
    let at = questions.iter().position(is_it);
    at.map(|at| questions.remove(at)).is_some()
}

/// The parameters of a question as a modern client knows them, raw JSON: without what ties a
/// question to a session or makes it a task.
fn for_modern(params: &str) -> String {
    let clean = meta::without_reserved(params);
    let params = clean.as_deref().unwrap_or(params);
    let Some(mut object) = Object::parse(params) else {
        return params.to_owned();
    };
    let mut changed = false;
    for name in ["elicitationId", "task"] {
        changed |= object.remove(name);
    }
    if changed {
        object.to_string()
    } else {
        params.to_owned()
    }
}
