//! Questions of a legacy server to a modern client: the client's request is answered with
//! `input_required` while the server's exchange goes on, and its retry takes that up again (MCP
//! 2026-07-28, Multi Round-Trip Requests).
//!
//! In: what is kept for each request of a modern client at a legacy server, asking, taking up,
//! giving up. Out: which questions come here (`carrier`), addresses that have to be opened first
//! (`replays`).

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::carrier::{self, Asked};
use super::close::Closing;
use super::{Bridge, Parked, Purpose, Timer, TimerKey};
use crate::proto::era::{errors, meta, result, values};
use crate::proto::failure::{Executed, Failure, Kind, LOOK_FIRST};
use crate::proto::ledger::Place;
use crate::proto::limits;
use crate::proto::message::{Id, Message, member};
use crate::proto::object::Object;
use crate::proto::secret::Secret;

/// How a `requestState` of the bridge begins.
const STATE: &str = "mb1.";

/// What is kept for the requests of a modern client at a legacy server.
#[derive(Debug, Default)]
pub(super) struct Suspended {
    /// By the request's id: the client's, or one of our own while it is suspended.
    pub(super) calls: HashMap<Id, Call>,
    /// Questions that wait for a request to go with.
    pub(super) held: Vec<Asked>,
    /// The timer of the earliest that becomes too old.
    timer: Option<TimerKey>,
}

/// One request of a modern client that was sent to a legacy server.
#[derive(Debug)]
pub(super) struct Call {
    /// Grows from one sending to the next.
    pub(super) order: u64,
    /// The progress token that the server knows.
    pub(super) token: Option<String>,
    /// The last progress that the client was told of.
    pub(super) progress: Option<f64>,
    /// Questions without an answer.
    pub(super) asked: Vec<Asked>,
    /// More questions may come before the client is asked.
    pub(super) collecting: bool,
    /// The server has asked something in its exchange: it runs.
    pub(super) begun: bool,
    /// What the server asked in vain, because the request does not declare it: capabilities, raw
    /// JSON.
    pub(super) lacking: Option<String>,
    pub(super) suspension: Option<Suspension>,
}

/// A request that was answered with questions.
#[derive(Debug)]
pub(super) struct Suspension {
    /// The `requestState` that its retry has to carry.
    state: Secret,
    /// What was asked for, so that nothing else takes it up.
    digest: [u8; 32],
    until: Instant,
    /// The answer that has come meanwhile.
    answer: Option<Bytes>,
    /// The newest progress.
    pub(super) progress: Option<Message>,
    /// Log messages.
    pub(super) logs: VecDeque<Bytes>,
}

impl Call {
    /// Whether the client is being asked.
    pub(super) fn is_suspended(&self) -> bool {
        self.suspension.is_some()
    }

    /// Whether its answer only waits for the retry.
    pub(super) fn is_answered(&self) -> bool {
        let suspension = self.suspension.as_ref();
        suspension.is_some_and(|suspension| suspension.answer.is_some())
    }

    fn bytes(&self) -> usize {
        let asked: usize = self.asked.iter().map(Asked::bytes).sum();
        let Some(kept) = &self.suspension else {
            return asked;
        };
        let logs: usize = kept.logs.iter().map(Bytes::len).sum();
        let progress = kept.progress.as_ref().map_or(0, |note| note.text().len());
        asked + logs + progress + kept.answer.as_ref().map_or(0, Bytes::len)
    }

    /// The questions as an `input_required` result holds them: key and question, raw JSON. Those
    /// that were not asked before get a key.
    fn questions(&mut self) -> Vec<(String, String)> {
        let keys = self.asked.iter().filter_map(|asked| asked.key.clone());
        let taken: HashSet<String> = keys.collect();
        let mut free = (1..)
            .map(|number| format!("q{number}"))
            .filter(|key| !taken.contains(key));
        for asked in &mut self.asked {
            if asked.key.is_none() {
                asked.key = free.next();
            }
        }
        let asked = self.asked.iter();
        asked
            .map(|asked| (asked.key.clone().unwrap_or_default(), asked.question()))
            .collect()
    }
}

impl Suspended {
    /// Whether there is no room for one more question.
    pub(super) fn is_full(&self, asked: &Asked) -> bool {
        let of_calls: usize = self.calls.values().map(|call| call.asked.len()).sum();
        of_calls + self.held.len() >= limits::QUESTIONS
            || self.bytes() + asked.bytes() > limits::SUSPENDED_BYTES
    }

    /// What is kept, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let of_calls: usize = self.calls.values().map(Call::bytes).sum();
        of_calls + self.held.iter().map(Asked::bytes).sum::<usize>()
    }

    /// The suspended request with this `requestState`.
    fn find(&self, state: &str) -> Option<(&Id, &Suspension)> {
        self.calls.iter().find_map(|(id, call)| {
            let suspension = call.suspension.as_ref()?;
            (suspension.state.reveal() == state).then_some((id, suspension))
        })
    }

    /// Suspended requests by when they become too old.
    fn by_age(&self) -> BTreeMap<(Instant, u64), Id> {
        let suspended = self.calls.iter().filter_map(|(id, call)| {
            let until = call.suspension.as_ref()?.until;
            Some(((until, call.order), id.clone()))
        });
        suspended.collect()
    }
}

impl Bridge {
    /// A request of a modern client is about to be sent to a legacy server.
    pub(super) fn note_upward_sent(&mut self, id: &Id) {
        self.serial += 1;
        let order = self.serial;
        let call = self.suspended.calls.entry(id.clone());
        let call = call.or_insert_with(|| Call {
            order,
            token: None,
            progress: None,
            asked: Vec::new(),
            collecting: false,
            begun: false,
            lacking: None,
            suspension: None,
        });
        call.order = order;
        (call.begun, call.lacking) = (false, None);
        let mut asked = std::mem::take(&mut call.asked);
        asked.retain(|asked| !self.is_gone(asked.generation));
        if let Some(call) = self.suspended.calls.get_mut(id) {
            call.asked = asked;
        }
        // What is sent waits for nothing.
        self.forget_replay(id);
        self.attach_held(id);
    }

    /// Whether a legacy server need not hear that the client has cancelled this request: it was not
    /// sent, or is a task, which is cancelled otherwise.
    pub(super) fn ends_quietly(&self, id: &Id) -> bool {
        self.is_upward(id) && (self.is_task(id) || !self.suspended.calls.contains_key(id))
    }

    /// Whether the client was asked with this request and has not come back.
    pub(super) fn is_suspended(&self, id: &Id) -> bool {
        let call = self.suspended.calls.get(id);
        call.is_some_and(Call::is_suspended)
    }

    /// A request is over, answered or given up.
    pub(super) fn forget_upward(&mut self, id: &Id) {
        if let Some(call) = self.suspended.calls.remove(id) {
            self.level_not_needed(id);
            self.release_questions(call.asked);
        }
        self.forget_replay(id);
        self.forget_task(id);
    }

    // Asking.

    /// Questions of one request have been collected long enough.
    pub(super) fn on_collected(&mut self, id: &Id) {
        let Some(call) = self.suspended.calls.get_mut(id) else {
            return;
        };
        call.collecting = false;
        if call.is_suspended() || call.asked.is_empty() {
            return;
        }
        let place = self.ledger.get(id).map(|entry| entry.place);
        if place.is_none_or(|place| place == Place::Parked) {
            // It is to be sent again: what it was asked itself, the server will ask again.
            let mut asked = std::mem::take(&mut call.asked);
            asked.retain(Asked::is_carried);
            return self.release_questions(asked);
        }
        self.suspend(id);
    }

    /// Answers a request with its questions; it goes on under an id of our own.
    fn suspend(&mut self, id: &Id) {
        let inner = self.own_id();
        let Some(entry) = self.ledger.get_mut(id) else {
            return;
        };
        let (token, batch) = (entry.message.id().cloned(), entry.batch.take());
        let digest = digest(&entry.message);
        if !self.ledger.rename(id, inner.clone()) {
            return;
        }
        self.watch_no_more(id);
        self.move_call(id, &inner);
        let (state, until) = (self.new_state(), self.now + limits::SUSPENDED_FOR);
        let Some(call) = self.suspended.calls.get_mut(&inner) else {
            return;
        };
        call.suspension = Some(Suspension {
            state: state.as_str().into(),
            digest,
            until,
            answer: None,
            progress: None,
            logs: VecDeque::new(),
        });
        let questions = call.questions();
        let result = self.input_required(&questions, &state);
        let token = token.as_ref().unwrap_or(id).token();
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{token},"result":{result}}}"#);
        match batch {
            None => self.line(answer.into()),
            Some(number) => {
                if let Some(whole) = self.ledger.settle(number, Some(answer.into())) {
                    self.line(whole);
                }
            }
        }
        self.watch_suspended(until);
        let by_age = self.suspended.by_age();
        let surplus = by_age.len().saturating_sub(limits::SUSPENDED);
        for id in by_age.into_values().take(surplus) {
            self.give_up_suspended(&id);
        }
    }

    /// An `input_required` result, raw JSON.
    pub(super) fn input_required(&self, questions: &[(String, String)], state: &str) -> String {
        result::input_required(questions, state, self.upward.server_info.as_deref())
    }

    /// A `requestState` that neither side can guess.
    pub(super) fn new_state(&mut self) -> String {
        self.serial += 1;
        let hash = Sha256::new()
            .chain_update(self.settings.nonce.as_bytes())
            .chain_update(self.settings.seed.to_be_bytes())
            .chain_update(self.serial.to_be_bytes())
            .chain_update(STATE)
            .finalize();
        let bits = hash
            .first_chunk()
            .map_or(0, |half| u128::from_be_bytes(*half));
        format!("{STATE}{bits:032x}")
    }

    /// Everything that goes with a request, except for its entry in the ledger, gets its new id.
    fn move_call(&mut self, id: &Id, new: &Id) {
        if let Some(call) = self.suspended.calls.remove(id) {
            self.suspended.calls.insert(new.clone(), call);
        }
        self.move_task(id, new);
        self.authorizing.rename(id, new);
        for exchange in self.exchanges.values_mut() {
            if matches!(&exchange.purpose, Purpose::Call(known) if known == id) {
                exchange.purpose = Purpose::Call(new.clone());
            }
        }
        for timer in self.timers.values_mut() {
            if let Timer::Call { id: known, .. } = timer
                && known == id
            {
                *known = new.clone();
            }
        }
        for parked in &mut self.parked {
            if let Parked::Request(known, _) = parked
                && known == id
            {
                *known = new.clone();
            }
        }
    }

    // Taking up.

    /// A request that takes up a suspended one. Whether it is one.
    pub(super) fn resume_suspended(&mut self, id: &Id) -> bool {
        let Some(message) = self.ledger.get(id).map(|entry| entry.message.clone()) else {
            return true;
        };
        let Some(state) = request_state(&message) else {
            return false;
        };
        let state: String = serde_json::from_str(state).unwrap_or_default();
        let digest = digest(&message);
        let known = self.suspended.find(&state);
        let known = known.filter(|(_, suspension)| suspension.digest == digest);
        let Some(inner) = known.map(|(inner, _)| inner.clone()) else {
            return self.resume_replay(id, &message, &state, &digest);
        };
        let answers = message
            .params()
            .and_then(|params| member(params, "inputResponses"));
        self.take_up(id, &inner, &message, answers.unwrap_or("{}"));
        true
    }

    /// Whether a request would take up one that was suspended here.
    pub(super) fn names_suspended(&self, id: &Id) -> bool {
        let message = self.ledger.get(id).map(|entry| &entry.message);
        let state = message.and_then(request_state);
        let state = state.and_then(|state| serde_json::from_str::<String>(state).ok());
        state.is_some_and(|state| self.suspended.find(&state).is_some())
    }

    /// No request was suspended under such a state, or for something else. It is not sent: it may
    /// have run before.
    pub(super) fn refuse_state(&mut self, id: &Id) {
        let text = "mcp-bridge: unknown \"requestState\"";
        self.respond_error(id, errors::INVALID_PARAMS, text);
    }

    fn take_up(&mut self, id: &Id, inner: &Id, message: &Message, answers: &str) {
        if self.is_answered(inner) {
            return self.deliver_kept(id, inner);
        }
        let call = self.suspended.calls.get(inner);
        if call.is_some_and(|call| {
            call.asked
                .iter()
                .any(|asked| self.is_gone(asked.generation))
        }) {
            let text =
                format!("the server's session was lost while the client was asked; {LOOK_FIRST}");
            self.give_up_suspended(inner);
            let failure = Failure::new(Kind::SessionLost, Executed::Unknown, text);
            return self.fail(id, &failure);
        }
        self.post_answers(inner, answers);
        let call = self.suspended.calls.get_mut(inner);
        if let Some(call) = call.filter(|call| !call.asked.is_empty()) {
            let questions = call.questions();
            return self.ask_again(id, inner, &questions);
        }
        let plain = message.params().and_then(meta::unstamped);
        let plain = plain.and_then(|params| Message::parse(message.with_params(&params)).ok());
        let plain = plain.unwrap_or_else(|| message.clone());
        if self.ledger.take_up(inner, id, plain) {
            self.move_call(inner, id);
            self.limit_anew(id);
            self.deliver_notices(id);
        }
    }

    fn is_answered(&self, inner: &Id) -> bool {
        let call = self.suspended.calls.get(inner);
        call.is_some_and(Call::is_answered)
    }

    /// The answer has come before the retry.
    fn deliver_kept(&mut self, id: &Id, inner: &Id) {
        let call = self.suspended.calls.get_mut(inner);
        let suspension = call.and_then(|call| call.suspension.as_mut());
        let answer = suspension.and_then(|suspension| suspension.answer.take());
        let answer = answer.and_then(|answer| Message::parse(answer).ok());
        let token = self.ledger.get(id).and_then(|entry| entry.message.id());
        let line = answer.map(|answer| answer.with_id(token.unwrap_or(id)));
        let plain = self.ledger.get(id).map(|entry| entry.message.clone());
        if let (Some(plain), Some(line)) = (plain, line)
            && self.ledger.take_up(inner, id, plain)
        {
            self.move_call(inner, id);
            self.deliver_notices(id);
            self.respond(id, line);
        }
    }

    /// Sends the server the answers that the client gave (raw JSON, by key); the questions that have
    /// one are done with.
    fn post_answers(&mut self, inner: &Id, answers: &str) {
        let answers = Object::parse(answers).unwrap_or_default();
        let Some(call) = self.suspended.calls.get_mut(inner) else {
            return;
        };
        let mut open = Vec::new();
        let mut given = Vec::new();
        for asked in std::mem::take(&mut call.asked) {
            let key = asked.key.as_deref();
            let answer = key.and_then(|key| answers.get(key));
            match answer.filter(|answer| answer.starts_with('{')) {
                Some(answer) => given.push((answer.to_owned(), asked)),
                None => open.push(asked),
            }
        }
        call.asked = open;
        let version = self.server_version();
        for (answer, asked) in given {
            let clean = meta::without_reserved(&answer).unwrap_or(answer);
            let older = values::answer(&version, &asked.method, &clean);
            self.reply_upstream(&asked, "result", older.as_deref().unwrap_or(&clean));
        }
    }

    /// Some questions have no answer: the client is asked them again.
    fn ask_again(&mut self, id: &Id, inner: &Id, questions: &[(String, String)]) {
        let (state, until) = (self.new_state(), self.now + limits::SUSPENDED_FOR);
        let call = self.suspended.calls.get_mut(inner);
        if let Some(suspension) = call.and_then(|call| call.suspension.as_mut()) {
            suspension.state = state.as_str().into();
            suspension.until = until;
        }
        let result = self.input_required(questions, &state);
        self.respond_with(id, "result", &result);
        self.watch_suspended(until);
    }

    /// What has come for a request while the client was asked.
    fn deliver_notices(&mut self, id: &Id) {
        let call = self.suspended.calls.get_mut(id);
        let Some(suspension) = call.and_then(|call| call.suspension.take()) else {
            return;
        };
        for log in suspension.logs {
            self.line(log);
        }
        if let Some(progress) = suspension.progress {
            self.tell_progress(id, &progress);
        }
    }

    /// The answer to a suspended request is kept for its retry. Gives the answer back if it is to be
    /// written now.
    pub(super) fn keep_for_retry(&mut self, id: &Id, answer: Bytes) -> Option<Bytes> {
        if !self.is_suspended(id) {
            return Some(answer);
        }
        let fits = self.suspended.bytes() + answer.len() <= limits::SUSPENDED_BYTES;
        let call = self.suspended.calls.get_mut(id);
        let Some(suspension) = call.and_then(|call| call.suspension.as_mut()) else {
            return Some(answer);
        };
        let answer = if fits {
            answer
        } else {
            let text = "the server's answer was too large to be kept until the client came back; ask \
                        for less";
            Failure::new(Kind::LimitExceeded, Executed::Unknown, text).answer(id)
        };
        suspension.answer.get_or_insert(answer);
        if let Some(entry) = self.ledger.get_mut(id) {
            entry.place = Place::Held;
        }
        self.authorizing.forget(id);
        None
    }

    /// The `requestState` of a suspended request, and what it asked for; it is an ordinary one from
    /// then on.
    pub(super) fn take_suspended(&mut self, id: &Id) -> Option<(Secret, [u8; 32])> {
        let call = self.suspended.calls.get_mut(id)?;
        let suspension = call.suspension.take()?;
        Some((suspension.state, suspension.digest))
    }

    /// What an open request asks for.
    pub(super) fn digest_of(&self, id: &Id) -> [u8; 32] {
        self.ledger
            .get(id)
            .map(|entry| digest(&entry.message))
            .unwrap_or_default()
    }

    // Giving up.

    /// Sees to it that what becomes too old at this time is looked through then.
    pub(super) fn watch_suspended(&mut self, at: Instant) {
        if let Some(earlier) = self.suspended.timer {
            if earlier.0 <= at {
                return;
            }
            self.timers.remove(&earlier);
        }
        let wait = at.saturating_duration_since(self.now);
        self.suspended.timer = Some(self.after(wait, Timer::Suspended));
    }

    pub(super) fn on_suspended_timer(&mut self) {
        self.suspended.timer = None;
        let now = self.now;
        for ((until, _), id) in self.suspended.by_age() {
            if until <= now {
                self.give_up_suspended(&id);
            }
        }
        self.refuse_held(now);
        self.upward.replays.expire(now);
        let calls = self.suspended.by_age().into_keys().map(|(until, _)| until);
        let held = self.suspended.held.iter().map(Asked::until);
        let replays = self.upward.replays.until();
        if let Some(next) = calls.chain(held).chain(replays).min() {
            self.watch_suspended(next);
        }
    }

    /// The client has gone: nobody takes anything up any more.
    pub(super) fn leave_suspended(&mut self) {
        if self.closing != Closing::Grace || !self.parked.is_empty() {
            return;
        }
        for id in self.suspended.by_age().into_values() {
            self.give_up_suspended(&id);
        }
        let calls = self.suspended.calls.values_mut();
        let mut asked: Vec<Asked> = calls.flat_map(|call| call.asked.drain(..)).collect();
        asked.append(&mut self.suspended.held);
        for asked in asked {
            self.refuse_question(&asked, carrier::Refusal::Unanswered);
        }
    }

    /// The client has not come back for a suspended request: the server is told.
    fn give_up_suspended(&mut self, inner: &Id) {
        let is_answered = self.is_answered(inner);
        let has_note = !is_answered && !self.is_task(inner);
        if let Some(call) = self.suspended.calls.get_mut(inner) {
            call.suspension = None;
        }
        let Some(entry) = self.strike(inner) else {
            return;
        };
        self.debug(|| "the client did not come back with answers; the request is given up".into());
        if has_note {
            let upstream = entry.upstream.as_ref().unwrap_or(inner);
            let reason = "the client did not answer";
            self.give_up_at_server(upstream, entry.place, entry.generation, reason);
        } else if let Place::Exchange(ticket) = entry.place {
            self.cancel_exchange(ticket);
        }
    }
}

/// `requestState` of a request that may have one, raw JSON.
pub(super) fn request_state(message: &Message) -> Option<&str> {
    let state = member(message.params()?, "requestState")?;
    (carrier::is_carrier(message.method()) && state != "null").then_some(state)
}

/// What a request asks for, whatever goes with it: method, name or URI, and arguments.
fn digest(message: &Message) -> [u8; 32] {
    let params = message.params().unwrap_or_default();
    let mut hash = Sha256::new().chain_update(message.method());
    for name in ["name", "uri", "arguments"] {
        let raw = member(params, name).unwrap_or("null");
        // The same value may be spelled otherwise the next time.
        let value = serde_json::from_str::<serde_json::Value>(raw);
        let text = value.map_or_else(|_| raw.to_owned(), |value| value.to_string());
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}
