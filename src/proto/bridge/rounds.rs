//! Questions of a modern server to a legacy client: `input_required` results become requests to
//! the client, and its answers go back with the request sent again (MCP 2026-07-28, Multi
//! Round-Trip Requests).
//!
//! In: rounds and their limits, the client's answers, when the request is sent again, links that a
//! person opens. Out: one question by itself (`asked`), work that goes on as a task, and its
//! questions' way back (`tasks`).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::asked::{Prepared, What, refused, says_accept};
use super::calls::is_repeatable;
use super::tasks::Driven;
use super::{Bridge, Timer, TimerKey, to_modern};
use crate::proto::era::result::InputRequired;
use crate::proto::era::{errors, meta};
use crate::proto::failure::{Executed, Failure, Kind, LOOK_FIRST};
use crate::proto::json::quote;
use crate::proto::ledger::Place;
use crate::proto::message::{Id, Message};
use crate::proto::object::Object;
use crate::proto::secret::Secret;
use crate::proto::{limits, text};

/// The requests that may be answered with questions (MCP 2026-07-28, Multi Round-Trip Requests,
/// Supported Requests).
const MAY_ASK: [&str; 3] = ["prompts/get", "resources/read", "tools/call"];

/// Wait before a request is sent again when the server only said that it is to be; doubles with
/// each such round after another, up to [`PAUSE_MOST`].
const PAUSE: Duration = Duration::from_millis(100);

/// See [`PAUSE`].
const PAUSE_MOST: Duration = Duration::from_secs(5);

/// Seconds before a request is sent again that waits for what a person does at a link; doubles up
/// to [`LINK_PAUSE_MOST`].
const LINK_PAUSE: u64 = 1;

/// See [`LINK_PAUSE`].
const LINK_PAUSE_MOST: u64 = 15;

/// A person's consent to open a link (MCP 2026-07-28, Elicitation, Response Actions).
const ACCEPT: &str = r#"{"action":"accept"}"#;

/// A form or link that was not answered (the same).
const CANCEL: &str = r#"{"action":"cancel"}"#;

/// Rounds under way, by the client's request.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    pub(super) calls: HashMap<Id, Round>,
    /// The ids of open questions, as the client knows them, and the request of each.
    asked: HashMap<Id, Id>,
    /// Requests of our own about tasks, and the client's request that each is for.
    pub(super) own: HashMap<Id, Id>,
}

/// What has become of one request of the client so far.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Rounds so far, without those that only wait for a link.
    count: u32,
    /// Rounds without a question, one after another.
    silent: u32,
    /// `requestState` of the last round, as it is spelled.
    state: Option<Secret>,
    /// Questions of the last round that the client has not answered.
    pub(super) open: Vec<Question>,
    /// The answers to the others: key and raw JSON.
    pub(super) answers: Vec<(String, String)>,
    /// Links that the client agreed to open.
    links: Vec<Link>,
    /// The server is not to be asked again before.
    pub(super) not_before: Option<Instant>,
    /// The questions are given up then.
    idle: Option<Alarm>,
    /// The next step is due then.
    next: Option<Alarm>,
    /// The tasks extension is declared.
    pub(super) tasks: bool,
    /// The server works on it as a task.
    pub(super) task: Option<Driven>,
}

/// A question that the client was asked.
#[derive(Debug)]
pub(super) struct Question {
    shown: Id,
    key: String,
    what: What,
    link: Option<Link>,
}

/// A link that a person is asked to open.
#[derive(Debug)]
struct Link {
    url: String,
    /// `elicitationId`, which only older revisions have.
    id: String,
    /// When the client agreed, or was asked to.
    since: Instant,
    /// How often the server asked for it again.
    again: u32,
}

#[derive(Debug)]
struct Alarm {
    number: u64,
    key: TimerKey,
}

impl Rounds {
    /// What the server and the client made us keep, in bytes.
    fn bytes(&self) -> usize {
        self.calls.values().map(Round::bytes).sum()
    }
}

impl Round {
    /// What the server said and got in the last leg is of no use any more.
    pub(super) fn forget_leg(&mut self) {
        self.state = None;
        self.answers.clear();
        self.not_before = None;
    }

    fn bytes(&self) -> usize {
        let state = self.state.as_ref().map_or(0, |state| state.reveal().len());
        let answers = self.answers.iter();
        let answers: usize = answers.map(|(key, answer)| key.len() + answer.len()).sum();
        let open = self
            .open
            .iter()
            .filter_map(|question| question.link.as_ref());
        let links: usize = open.chain(&self.links).map(|link| link.url.len()).sum();
        state + answers + links + self.task.as_ref().map_or(0, Driven::bytes)
    }
}

impl Link {
    /// How long to wait before the server is asked whether it is done with it.
    fn pause(&self) -> Duration {
        let seconds = LINK_PAUSE << self.again.min(4);
        Duration::from_secs(seconds.min(LINK_PAUSE_MOST))
    }
}

impl Bridge {
    // The server asks.

    /// The server asks before it answers this request.
    pub(super) fn on_input_required(&mut self, id: &Id, asked: InputRequired) {
        let Some(entry) = self.ledger.get(id) else {
            return;
        };
        let method = entry.message.method();
        if !MAY_ASK.contains(&method) {
            let method = text::sanitize(method, 80);
            let text = format!(
                "mcp-bridge: the server answered {method} with a question, which it must not"
            );
            return self.respond_error(id, errors::INTERNAL, &text);
        }
        self.hold(id);
        self.withdraw(id);
        let now = self.now;
        let round = self.rounds.calls.entry(id.clone()).or_default();
        round.forget_leg();
        round.state = asked.state;
        let outcome = if asked.requests.is_empty() {
            let pause = PAUSE.saturating_mul(1 << round.silent.min(6));
            round.not_before = Some(now + pause.min(PAUSE_MOST));
            round.silent += 1;
            self.count_round(id)
        } else {
            round.silent = 0;
            self.ask(id, asked.requests)
        };
        match outcome.and_then(|()| self.within_bounds()) {
            Ok(()) => self.go_on(id),
            Err(text) => self.end_call(id, &text),
        }
    }

    /// One leg of a request is over, the next one is another request to the server.
    pub(super) fn hold(&mut self, id: &Id) {
        let upstream = self.own_id();
        self.ledger.mint(id, upstream);
        if let Some(entry) = self.ledger.get_mut(id) {
            entry.place = Place::Held;
            (entry.busy, entry.unreachable) = (0, 0);
            // Something of it has run: that stays true while it waits to be sent again.
            entry.repeats = u32::from(!is_repeatable(entry.message.method()));
        }
    }

    fn count_round(&mut self, id: &Id) -> Result<(), String> {
        let Some(round) = self.rounds.calls.get_mut(id) else {
            return Ok(());
        };
        round.count += 1;
        if round.count > limits::ROUNDS {
            return Err(format!(
                "the server keeps asking: {} rounds and no result",
                limits::ROUNDS
            ));
        }
        Ok(())
    }

    /// Asks the client all of this at once (key and question). What is a link that a person has
    /// open already is answered without a word.
    ///
    /// # Errors
    /// Why the request cannot go on.
    pub(super) fn ask(&mut self, id: &Id, questions: Vec<(String, String)>) -> Result<(), String> {
        let questions = questions
            .into_iter()
            .map(|(key, question)| self.prepare(key, &question))
            .collect::<Result<Vec<_>, _>>()?;
        self.finish_links(id, &questions);
        let mut pause = Duration::ZERO;
        let now = self.now;
        let Some(round) = self.rounds.calls.get_mut(id) else {
            return Ok(());
        };
        let mut new = Vec::new();
        for question in questions {
            let known = question.url.as_ref();
            let link = known.and_then(|url| round.links.iter_mut().find(|link| link.url == *url));
            let Some(link) = link else {
                new.push(question);
                continue;
            };
            if now.saturating_duration_since(link.since) >= limits::LINK {
                let minutes = limits::LINK.as_secs() / 60;
                return Err(format!(
                    "what the server asked to open in a browser was not finished within {minutes} \
                     minutes"
                ));
            }
            pause = pause.max(link.pause());
            link.again += 1;
            round.answers.push((question.key, ACCEPT.to_owned()));
        }
        if !pause.is_zero() {
            round.not_before = Some(now + pause);
        }
        if new.is_empty() {
            return self.within_bounds();
        }
        self.count_round(id)?;
        if self.rounds.asked.len() + new.len() > limits::QUESTIONS {
            return Err("the server asks too many questions at once".to_owned());
        }
        for question in new {
            self.ask_client(id, question);
        }
        self.give_up_later(id);
        self.within_bounds()
    }

    /// # Errors
    /// What rounds hold is too much; why, in words for people.
    pub(super) fn within_bounds(&self) -> Result<(), String> {
        if self.rounds.bytes() > limits::ROUND_BYTES {
            return Err("questions and answers together are too large".to_owned());
        }
        Ok(())
    }

    fn ask_client(&mut self, id: &Id, question: Prepared) {
        self.serial += 1;
        let nonce = &self.settings.nonce;
        let shown = Id::text(&format!("mb-{nonce}-s{}", self.serial));
        let mut params = question.params;
        let link = question.url.map(|url| Link {
            url,
            id: format!("mb-{nonce}-e{}", self.serial),
            since: self.now,
            again: 0,
        });
        if let (Some(params), Some(link)) = (&mut params, &link)
            && let Some(mut object) = Object::parse(params)
        {
            object.set("elicitationId", quote(&link.id));
            *params = object.to_string();
        }
        let token = shown.token();
        let method = question.what.method();
        let params = params.map_or_else(String::new, |params| format!(r#","params":{params}"#));
        let text = format!(r#"{{"jsonrpc":"2.0","id":{token},"method":"{method}"{params}}}"#);
        self.debug(|| {
            let id = text::sanitize(id.token(), 80);
            format!("server → {method} as {token}, for {id}")
        });
        self.rounds.asked.insert(shown.clone(), id.clone());
        if let Some(round) = self.rounds.calls.get_mut(id) {
            round.open.push(Question {
                shown,
                key: question.key,
                what: question.what,
                link,
            });
        }
        self.line_when_initialized(text.into(), false);
    }

    // The client answers.

    /// A response of the client. Whether it answers a question of a round.
    pub(super) fn on_round_reply(&mut self, reply: &Message) -> bool {
        let Some(id) = reply.id().and_then(|shown| self.rounds.asked.remove(shown)) else {
            return false;
        };
        let Some(round) = self.rounds.calls.get_mut(&id) else {
            return true;
        };
        let found = round
            .open
            .iter()
            .position(|question| Some(&question.shown) == reply.id());
        let Some(found) = found else { return true };
        let question = round.open.swap_remove(found);
        let answer = match reply.result().filter(|result| result.starts_with('{')) {
            Some(result) => meta::without_reserved(result).unwrap_or_else(|| result.to_owned()),
            None if question.what == What::Elicitation => CANCEL.to_owned(),
            None => {
                let text = refused(question.what, reply);
                self.end_call(&id, &text);
                return true;
            }
        };
        if let Some(link) = question.link
            && says_accept(&answer)
        {
            let since = self.now;
            round.links.push(Link { since, ..link });
        }
        round.answers.push((question.key, answer));
        if let Err(text) = self.within_bounds() {
            self.end_call(&id, &text);
        } else if self
            .rounds
            .calls
            .get(&id)
            .is_some_and(|round| !round.open.is_empty())
        {
            self.give_up_later(&id);
        } else {
            self.limit_anew(&id);
            self.go_on(&id);
        }
        true
    }

    /// The next step, if nothing has to be waited for.
    fn go_on(&mut self, id: &Id) {
        let Some(round) = self.rounds.calls.get_mut(id) else {
            return;
        };
        if !round.open.is_empty() {
            return;
        }
        let idle = round.idle.take();
        let wait = match round.not_before {
            Some(at) => at.saturating_duration_since(self.now),
            None => Duration::ZERO,
        };
        let is_task = round.task.is_some();
        self.silence(idle);
        if is_task {
            self.look_at_task(id);
        } else if wait.is_zero() {
            self.resend(id);
        } else {
            self.take_up_after(id, wait);
        }
    }

    /// Parameters that the next sending of this request has besides (name, raw JSON).
    pub(super) fn round_members(&self, id: &Id) -> Vec<(&'static str, String)> {
        let mut members = Vec::new();
        let Some(round) = self.rounds.calls.get(id) else {
            return members;
        };
        if !round.answers.is_empty() {
            let mut responses = Object::default();
            for (key, answer) in &round.answers {
                responses.set(key, answer.as_str());
            }
            members.push(("inputResponses", responses.to_string()));
        }
        if let Some(state) = &round.state {
            members.push(("requestState", state.reveal().to_owned()));
        }
        members
    }

    // The end.

    /// The request cannot go on, for a reason that is not the server's last word.
    pub(super) fn end_call(&mut self, id: &Id, text: &str) {
        let Some(entry) = self.ledger.get(id) else {
            return;
        };
        if entry.message.method() == "tools/call" {
            let result = to_modern::tool_error(text);
            self.respond_with(id, "result", &result);
        } else {
            self.respond_error(id, errors::INTERNAL, &format!("mcp-bridge: {text}"));
        }
    }

    /// A request is over, answered or given up: what it asks the client is withdrawn.
    pub(super) fn forget_round(&mut self, id: &Id) {
        self.withdraw(id);
        let Some(round) = self.rounds.calls.remove(id) else {
            return;
        };
        self.silence(round.idle);
        self.silence(round.next);
        for link in round.links {
            self.finish_link(&link);
        }
        if let Some(task) = round.task {
            self.leave_task(task);
        }
    }

    /// A request in the middle of a round, and a server that has become a legacy one meanwhile:
    /// sent there, it would begin anew. Whether that is so; it is answered then.
    pub(super) fn fails_mid_round(&mut self, id: &Id) -> bool {
        let round = self.rounds.calls.get(id);
        if round.is_none_or(|round| round.count == 0) {
            return false;
        }
        let text = format!(
            "the server asked for more before it would go on, and is served in another revision of \
             the protocol now; {LOOK_FIRST}"
        );
        self.fail(
            id,
            &Failure::new(Kind::SessionLost, Executed::Unknown, text),
        );
        true
    }

    /// Open questions need no answer any more.
    fn withdraw(&mut self, id: &Id) {
        let Some(round) = self.rounds.calls.get_mut(id) else {
            return;
        };
        for question in std::mem::take(&mut round.open) {
            self.rounds.asked.remove(&question.shown);
            let shown = question.shown.token();
            let text = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{shown},"reason":"the request that it was asked for is over"}}}}"#
            );
            self.line_when_initialized(text.into(), false);
        }
    }

    /// The server asks for something else than these links now: it is done with them.
    fn finish_links(&mut self, id: &Id, questions: &[Prepared]) {
        let Some(round) = self.rounds.calls.get_mut(id) else {
            return;
        };
        let is_asked = |link: &mut Link| {
            questions
                .iter()
                .any(|question| question.url.as_ref() == Some(&link.url))
        };
        let done: Vec<Link> = round.links.extract_if(.., |link| !is_asked(link)).collect();
        for link in done {
            self.finish_link(&link);
        }
    }

    /// Tells the client that what it opened is done (MCP 2025-11-25, Elicitation, Completion
    /// Notifications for URL Mode Elicitation).
    fn finish_link(&mut self, link: &Link) {
        let id = quote(&link.id);
        let text = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/elicitation/complete","params":{{"elicitationId":{id}}}}}"#
        );
        self.line_when_initialized(text.into(), false);
    }

    // Time.

    /// Somebody has to answer one of the open questions until then.
    fn give_up_later(&mut self, id: &Id) {
        let alarm = self.alarm(id, limits::QUESTION_IDLE);
        let round = self.rounds.calls.get_mut(id);
        let old = round.and_then(|round| round.idle.replace(alarm));
        self.silence(old);
    }

    /// The next step is due after this wait, and not before.
    pub(super) fn take_up_after(&mut self, id: &Id, wait: Duration) {
        let alarm = self.alarm(id, wait);
        let round = self.rounds.calls.get_mut(id);
        let old = round.and_then(|round| round.next.replace(alarm));
        self.silence(old);
    }

    fn alarm(&mut self, id: &Id, wait: Duration) -> Alarm {
        self.serial += 1;
        let number = self.serial;
        let key = self.after(wait, Timer::Round(id.clone(), number));
        Alarm { number, key }
    }

    fn silence(&mut self, alarm: Option<Alarm>) {
        if let Some(alarm) = alarm {
            self.timers.remove(&alarm.key);
        }
    }

    pub(super) fn on_round_timer(&mut self, id: &Id, number: u64) {
        let Some(round) = self.rounds.calls.get_mut(id) else {
            return;
        };
        let is_due = |alarm: &mut Alarm| alarm.number == number;
        if round.idle.take_if(is_due).is_some() {
            let minutes = limits::QUESTION_IDLE.as_secs() / 60;
            let text = format!("the client left the server's question open for {minutes} minutes");
            self.end_call(id, &text);
        } else if round.next.take_if(is_due).is_some() {
            if round.task.is_some() {
                self.on_task_due(id);
            } else {
                self.go_on(id);
            }
        }
    }
}
