//! Work of a modern server that goes on as a task, for a legacy client, which waits for the result
//! (MCP 2026-07-28, Extensions, Tasks).
//!
//! In: declaring the extension where it is required, asking how far the task is, its questions and
//! its end. Out: how the client is asked (`rounds`), what a task looks like (`era::tasks`).

use std::collections::HashSet;
use std::time::Duration;

use super::{Bridge, Exchange, Own, Phase, Purpose, Timer};
use crate::proto::era::result::{self, Sort};
use crate::proto::era::tasks::{POLL, POLL_LEAST, Status, Task};
use crate::proto::era::{capabilities, errors, meta};
use crate::proto::failure::{Executed, Failure, Kind, LOOK_FIRST};
use crate::proto::json::quote;
use crate::proto::ledger::Via;
use crate::proto::message::{Id, Message, member};
use crate::proto::object::Object;
use crate::proto::{Head, Ticket, classify, limits, retry, text};

/// How often in a row other credentials are got for a task.
const RENEWALS: u32 = 2;

/// A task that a request of the client has become.
#[derive(Debug)]
pub(super) struct Driven {
    /// As the server described it last, without what was read already.
    task: Task,
    /// Keys of the questions that were asked, each of them once.
    seen: HashSet<String>,
    /// The request of our own that is under way.
    asking: Option<Asking>,
    /// Such requests in a row that came to nothing.
    failures: u32,
    /// Refusals in a row for which other credentials were got.
    renewals: u32,
    /// The error that answers were refused with.
    refused: Option<Message>,
    /// What it last said of its state.
    said: Option<String>,
    /// It came to an end.
    over: bool,
}

#[derive(Debug)]
struct Asking {
    own: Id,
    /// How many answers it brings: `tasks/update`. None: `tasks/get`.
    answers: Option<usize>,
}

impl Driven {
    fn new(task: Task) -> Self {
        Self {
            task,
            seen: HashSet::new(),
            asking: None,
            failures: 0,
            renewals: 0,
            refused: None,
            said: None,
            over: false,
        }
    }

    /// What is kept of the server's words, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let refused = self.refused.as_ref().map_or(0, |error| error.text().len());
        refused + self.seen.iter().map(String::len).sum::<usize>()
    }
}

impl Bridge {
    // Declaring.

    /// The capabilities that this request declares, made from the client's.
    pub(super) fn capabilities_for(&self, id: &Id, capabilities: String) -> String {
        match self.rounds.calls.get(id) {
            Some(round) if round.tasks => capabilities::with_tasks(&capabilities),
            _ => capabilities,
        }
    }

    /// The server wants a capability that the client has not. Whether the bridge has it: the
    /// request declares it and is sent again.
    pub(super) fn declare_tasks(&mut self, id: &Id, error: &Message) -> bool {
        let Some(entry) = self.ledger.get(id) else {
            return false;
        };
        let required = error.error().and_then(errors::required_capabilities);
        let required = required.unwrap_or_else(|| "{}".to_owned());
        let wants_tasks = member(&required, "extensions")
            .is_some_and(|extensions| member(extensions, capabilities::TASKS).is_some());
        let declared = capabilities::with_tasks(&self.identity().capabilities);
        if entry.via != Via::ToModern
            || entry.message.method() != "tools/call"
            || !wants_tasks
            || !capabilities::is_within(&required, &declared)
        {
            return false;
        }
        let round = self.rounds.calls.entry(id.clone()).or_default();
        if round.task.is_some() || std::mem::replace(&mut round.tasks, true) {
            return false;
        }
        self.debug(|| "the server runs this tool as a task only".into());
        let upstream = self.own_id();
        self.ledger.mint(id, upstream);
        self.resend(id);
        true
    }

    // A task begins.

    /// The server works on this request as a task.
    pub(super) fn on_task(&mut self, id: &Id, result: &str) {
        let Some(entry) = self.ledger.get(id) else {
            return;
        };
        if entry.message.method() != "tools/call" {
            let method = text::sanitize(entry.message.method(), 80);
            let text =
                format!("mcp-bridge: the server answered {method} with a task, which it must not");
            return self.respond_error(id, errors::INTERNAL, &text);
        }
        let mut task = match Task::read_modern(result) {
            Ok(task) => task,
            Err(what) => return self.unreadable_task(id, what),
        };
        self.hold(id);
        let status = std::mem::replace(&mut task.status, Status::Working);
        let message = task.message.take();
        let wait = match status {
            Status::Working => task.poll,
            _ => Duration::ZERO,
        };
        let round = self.rounds.calls.entry(id.clone()).or_default();
        round.forget_leg();
        round.task = Some(Driven::new(task));
        self.tell_status(id, message);
        self.take_up_after(id, wait);
    }

    fn unreadable_task(&mut self, id: &Id, what: &str) {
        let text = format!("mcp-bridge: the server's task cannot be read: {what}");
        self.respond_error(id, errors::INTERNAL, &text);
    }

    /// What a task says of its state, as progress of the request.
    fn tell_status(&mut self, id: &Id, message: Option<String>) {
        let Some(message) = message else { return };
        let message = text::sanitize(&message, limits::QUOTED_CHARS);
        let Some(driven) = self.driven(id) else {
            return;
        };
        if driven.said.as_ref() == Some(&message) {
            return;
        }
        driven.said = Some(message.clone());
        self.limit_anew(id);
        let Some(entry) = self.ledger.get(id) else {
            return;
        };
        let Some(token) = meta::progress_token(entry.message.params()) else {
            return;
        };
        let last = self.catalog.progress.get(id).copied().unwrap_or_default();
        let beaten = self.patience.get(id).and_then(|vigil| vigil.told);
        let last = beaten.map_or(last, |told| told.max(last));
        let (progress, quoted) = (last + 1.0, quote(&message));
        let line = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{progress},"message":{quoted}}}}}"#
        );
        if progress <= last {
            return;
        }
        self.passes_progress_of(id, Some(progress));
        self.catalog.progress.insert(id.clone(), progress);
        self.line_when_initialized(line.into(), false);
    }

    fn driven(&mut self, id: &Id) -> Option<&mut Driven> {
        self.rounds.calls.get_mut(id)?.task.as_mut()
    }

    // Asking.

    /// The next look is due, or the answer to the last one is overdue.
    pub(super) fn on_task_due(&mut self, id: &Id) {
        let overdue = self.driven(id).and_then(|driven| driven.asking.take());
        match overdue {
            Some(asking) => {
                self.drop_own(&asking.own);
                self.task_request_lost(id, None);
            }
            None => self.look_at_task(id),
        }
    }

    /// Gives the task the client's answers if there are all of them, else asks how far it is.
    pub(super) fn look_at_task(&mut self, id: &Id) {
        let Some(round) = self.rounds.calls.get(id) else {
            return;
        };
        let Some(driven) = round.task.as_ref().filter(|driven| driven.asking.is_none()) else {
            return;
        };
        let may_answer = round.not_before.is_none_or(|at| at <= self.now);
        let answers = (may_answer && round.open.is_empty() && !round.answers.is_empty())
            .then_some(round.answers.len());
        let (method, params) = match answers {
            Some(_) => ("tasks/update", driven.task.update_params(&round.answers)),
            None => ("tasks/get", driven.task.params()),
        };
        match self.link.phase {
            Phase::Open if self.link.modern.is_none() => return self.task_is_gone(id),
            Phase::Open => {}
            Phase::Idle => return self.task_is_gone(id),
            Phase::Lost { .. } => {
                self.try_to_reopen();
                return self.task_request_lost(id, None);
            }
            Phase::Handshaking(_) | Phase::Barrier(_) => return self.take_up_after(id, POLL),
        }
        if self.authorizing.is_under_way() {
            return self.take_up_after(id, POLL);
        }
        if self.rounds.own.len() >= limits::TASK_REQUESTS {
            return self.take_up_after(id, POLL_LEAST);
        }
        let own = self.send_own(method, Some(&params), Own::Downward);
        self.rounds.own.insert(own.clone(), id.clone());
        if let Some(driven) = self.driven(id) {
            driven.asking = Some(Asking { own, answers });
        }
        self.take_up_after(id, limits::TASK_ANSWER);
    }

    fn task_is_gone(&mut self, id: &Id) {
        let text = format!(
            "the server ran this call as a task, and is served in another revision of the protocol \
             now; {LOOK_FIRST}"
        );
        self.fail(
            id,
            &Failure::new(Kind::SessionLost, Executed::Unknown, text),
        );
    }

    /// A request of our own is waited for no longer.
    pub(super) fn drop_own(&mut self, own: &Id) {
        self.own.remove(own);
        self.rounds.own.remove(own);
        if let Some(ticket) = self.exchange_of(own) {
            self.cancel_exchange(ticket);
        }
    }

    pub(super) fn exchange_of(&self, own: &Id) -> Option<Ticket> {
        let purpose = Purpose::Own(own.clone());
        let mut exchanges = self.exchanges.iter();
        let found = exchanges.find(|(_, exchange)| exchange.purpose == purpose);
        found.map(|(ticket, _)| *ticket)
    }

    /// The client's request for which a request of our own was sent, and what it brought; it is
    /// under way no more.
    fn settle_own(&mut self, own: &Id) -> Option<(Id, Asking)> {
        let id = self.rounds.own.remove(own)?;
        let asking = &mut self.driven(&id)?.asking;
        let settled = asking.take_if(|asking| asking.own == *own)?;
        Some((id, settled))
    }

    // Answers.

    /// The answer to a request that the bridge sent for a legacy client's.
    pub(super) fn on_downward(&mut self, own: &Id, message: &Message) {
        let Some((id, asking)) = self.settle_own(own) else {
            return;
        };
        let Some(driven) = self.driven(&id) else {
            return;
        };
        (driven.failures, driven.renewals) = (0, 0);
        match asking.answers {
            Some(count) => self.on_updated(&id, count, message),
            None => self.on_task_state(&id, message),
        }
    }

    /// The task has got these answers, or does not want them. In the latter case it may have come
    /// to its end, which only the next look can tell.
    fn on_updated(&mut self, id: &Id, count: usize, message: &Message) {
        let Some(round) = self.rounds.calls.get_mut(id) else {
            return;
        };
        round.answers.drain(..count.min(round.answers.len()));
        round.not_before = None;
        let Some(driven) = round.task.as_mut() else {
            return;
        };
        driven.refused = message.error().map(|_| message.clone());
        let wait = match message.error() {
            Some(_) => Duration::ZERO,
            None => driven.task.poll,
        };
        if let Err(text) = self.within_bounds() {
            return self.end_call(id, &text);
        }
        self.take_up_after(id, wait);
    }

    fn on_task_state(&mut self, id: &Id, message: &Message) {
        if message.error().is_some() {
            return self.answer_open(id, message.clone());
        }
        let mut task = match Task::read_modern(message.result().unwrap_or_default()) {
            Ok(task) => task,
            Err(what) => return self.unreadable_task(id, what),
        };
        let status = std::mem::replace(&mut task.status, Status::Working);
        let said = task.message.take();
        let Some(driven) = self.driven(id) else {
            return;
        };
        if task.id != driven.task.id {
            return self.unreadable_task(id, "it is another one");
        }
        driven.task = task;
        driven.over = matches!(
            status,
            Status::Completed(_) | Status::Failed(_) | Status::Cancelled
        );
        match status {
            Status::Working => {
                self.tell_status(id, said);
                self.look_again(id);
            }
            Status::InputRequired(questions) => {
                self.tell_status(id, said);
                self.on_task_asks(id, questions);
            }
            Status::Completed(Some(result)) => self.complete_task(id, &result),
            Status::Completed(None) => self.unreadable_task(id, "it has no result"),
            Status::Failed(Some(error)) => {
                let text = format!(r#"{{"jsonrpc":"2.0","id":null,"error":{error}}}"#);
                match Message::parse(text.into()) {
                    Ok(message) => self.answer_open(id, message),
                    Err(_) => self.unreadable_task(id, "its error is none"),
                }
            }
            Status::Failed(None) => self.task_ended(id, "the server's task failed", said),
            Status::Cancelled => self.task_ended(id, "the server cancelled the task", said),
        }
    }

    fn task_ended(&mut self, id: &Id, what: &str, said: Option<String>) {
        let said = said.map(|said| text::sanitize(&said, limits::QUOTED_CHARS));
        let said = said.map_or_else(String::new, |said| format!(": {said}"));
        self.respond_error(id, errors::INTERNAL, &format!("mcp-bridge: {what}{said}"));
    }

    fn look_again(&mut self, id: &Id) {
        if let Some(driven) = self.driven(id) {
            driven.refused = None;
            let wait = driven.task.poll;
            self.take_up_after(id, wait);
        }
    }

    /// The task waits for answers. What was asked before is not asked again.
    fn on_task_asks(&mut self, id: &Id, mut questions: Vec<(String, String)>) {
        let Some(driven) = self.driven(id) else {
            return;
        };
        questions.retain(|(key, _)| !driven.seen.contains(key));
        if questions.is_empty() {
            return match driven.refused.take() {
                Some(error) => self.answer_open(id, error),
                None => self.on_nothing_new(id),
            };
        }
        let fits = |(key, _): &&(String, String)| key.len() <= limits::QUESTION_ID;
        let keys = questions.iter().filter(fits).map(|(key, _)| key.clone());
        driven.seen.extend(keys);
        driven.refused = None;
        match self.ask(id, questions) {
            Ok(()) => self.on_nothing_new(id),
            Err(text) => self.end_call(id, &text),
        }
    }

    /// There is nothing to ask the client: either it is being asked, or the task has its answers
    /// and does not show it yet, or they are still to be given.
    fn on_nothing_new(&mut self, id: &Id) {
        let Some(round) = self.rounds.calls.get(id) else {
            return;
        };
        let Some(driven) = &round.task else { return };
        let rest = round.not_before.filter(|_| round.open.is_empty());
        let wait = match rest {
            Some(at) => at.saturating_duration_since(self.now),
            None if round.open.is_empty() && !round.answers.is_empty() => Duration::ZERO,
            None => driven.task.poll,
        };
        self.take_up_after(id, wait);
    }

    /// The task is done: its result is the request's.
    fn complete_task(&mut self, id: &Id, result: &str) {
        let whole = match result::sort(result) {
            Sort::Complete => Object::parse(result),
            _ => None,
        };
        let Some(mut whole) = whole else {
            return self.unreadable_task(id, "its result is none");
        };
        whole.set("resultType", r#""complete""#);
        let token = id.token();
        let text = format!(r#"{{"jsonrpc":"2.0","id":{token},"result":{whole}}}"#);
        match Message::parse(text.into()) {
            Ok(message) => self.answer_open(id, message),
            Err(_) => self.unreadable_task(id, "its result is none"),
        }
    }

    // No answers.

    pub(super) fn on_downward_lost(&mut self, own: &Id) {
        if let Some((id, _)) = self.settle_own(own) {
            self.task_request_lost(&id, None);
        }
    }

    /// An HTTP refusal that may pass: of credentials, or because the server is busy. Whether it is
    /// one.
    pub(super) fn downward_refused(&mut self, own: &Id, exchange: &Exchange, head: &Head) -> bool {
        let refused = self.refusal(head);
        if refused.is_none() && !classify::is_refused_as_busy(head) {
            return false;
        }
        self.own.remove(own);
        let Some((id, _)) = self.settle_own(own) else {
            return true;
        };
        let credentials = self.settings.credentials;
        let renewals = self.driven(&id).map_or(RENEWALS, |driven| driven.renewals);
        if refused.is_some() && renewals < RENEWALS && credentials.may_be_renewed(renewals) {
            if let Some(driven) = self.driven(&id) {
                driven.renewals += 1;
            }
            self.authorize(exchange.authorizations, refused, "tasks/get");
            self.take_up_after(&id, POLL_LEAST);
        } else {
            self.task_request_lost(&id, retry::retry_after(head));
        }
        true
    }

    fn task_request_lost(&mut self, id: &Id, wait: Option<Duration>) {
        let Some(driven) = self.driven(id) else {
            return;
        };
        driven.failures += 1;
        let failures = driven.failures;
        if failures > limits::TASK_FAILURES {
            let text = format!(
                "the server ran this call as a task, and does not say any more how far it is; \
                 {LOOK_FIRST}"
            );
            let failure = Failure::new(Kind::StreamEnded, Executed::Unknown, text);
            return self.fail(id, &failure);
        }
        let wait = wait.unwrap_or_else(|| retry::stream_wait(None, failures - 1, &mut self.jitter));
        self.take_up_after(id, wait);
    }

    // The end.

    /// The request is over: a task that goes on is not wanted any more.
    pub(super) fn leave_task(&mut self, driven: Driven) {
        if let Some(asking) = driven.asking {
            self.drop_own(&asking.own);
        }
        if driven.over || self.is_ending() || self.link.modern.is_none() {
            return;
        }
        self.cancel_task(&driven.task, Own::Downward);
    }

    /// Tells the server that a task is not wanted any more. What it says to that is of no interest.
    pub(super) fn cancel_task(&mut self, task: &Task, own: Own) {
        let own = self.send_own("tasks/cancel", Some(&task.params()), own);
        self.own.remove(&own);
        if let Some(ticket) = self.exchange_of(&own) {
            self.repurpose(ticket, Purpose::Abandoned);
            self.time_exchange(ticket, limits::TASK_ANSWER, Timer::Linger(ticket));
        }
    }
}
