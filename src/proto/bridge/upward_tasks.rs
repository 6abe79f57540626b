//! Tools that a legacy server runs as tasks only, for a modern client that calls them plainly (MCP
//! 2025-11-25, Tasks).
//!
//! In: calling such a tool as a task, asking how far it is, its result as the answer. Out: reading
//! a task (`era::tasks`), the questions it asks (`carrier`).

use std::collections::HashMap;

use super::{Bridge, Exchange, Own, Phase, Then};
use crate::proto::era::tasks::{self, Status, Task};
use crate::proto::era::{errors, meta};
use crate::proto::failure::{Executed, Failure, Kind, LOOK_FIRST};
use crate::proto::ledger::Place;
use crate::proto::message::{Id, Message, member};
use crate::proto::{Head, limits};

/// What a request of our own to a legacy server is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// The log level of the session.
    Level,
    /// How far the task of this request is.
    Task(Id),
    /// What came of the task of this request.
    Outcome(Id),
}

/// Calls that are made as tasks, by the client's request.
#[derive(Debug, Default)]
pub(super) struct UpwardTasks {
    calls: HashMap<Id, Driven>,
}

#[derive(Debug, Default)]
struct Driven {
    /// What the server made of the call; none as long as it has not answered.
    task: Option<Task>,
    /// Its result was got: nothing is left to cancel.
    done: bool,
    /// How often in a row it was asked for in vain.
    failed: u32,
}

impl UpwardTasks {
    /// Whether no call is made as a task.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }
}

impl Bridge {
    /// Whether a request is made as a task.
    pub(super) fn is_task(&self, id: &Id) -> bool {
        let driven = self.upward.tasks.calls.get(id);
        driven.is_some_and(|driven| driven.task.is_some())
    }

    /// The parameters of a request that is to be made as a task, raw JSON.
    pub(super) fn as_task(&self, id: &Id, params: &str) -> Option<String> {
        self.upward.tasks.calls.get(id)?;
        tasks::as_task(params)
    }

    /// A tool was not found under a plain call: it may be one that runs as a task only, and nothing
    /// has run. Whether the call is sent again, as a task.
    pub(super) fn retry_as_task(&mut self, id: &Id, error: &Message) -> bool {
        let entry = self.ledger.get(id);
        let is_call = entry.is_some_and(|entry| entry.message.method() == "tools/call");
        if !is_call
            || !self.upward.offered.task_calls
            || error.error_code() != Some(errors::METHOD_NOT_FOUND)
            || self.has_begun(id)
            || self.upward.tasks.calls.contains_key(id)
        {
            return false;
        }
        self.upward
            .tasks
            .calls
            .insert(id.clone(), Driven::default());
        let upstream = self.own_id();
        self.ledger.mint(id, upstream);
        self.park_request(id);
        true
    }

    /// Whether the server has shown that it runs a request. An error may then be that of a question
    /// which was refused.
    fn has_begun(&self, id: &Id) -> bool {
        let call = self.suspended.calls.get(id);
        call.is_some_and(|call| call.begun || call.progress.is_some())
    }

    /// The result of a call made as a task, where it announces the task. Whether it does.
    pub(super) fn follow_task(&mut self, id: &Id, result: &str) -> bool {
        let Some(driven) = self.upward.tasks.calls.get_mut(id) else {
            return false;
        };
        let Some(task) = member(result, "task").filter(|_| !driven.done) else {
            return false;
        };
        match Task::read_legacy(task) {
            Ok(task) => {
                let task = Task {
                    message: None,
                    ..task
                };
                driven.task = Some(task.clone());
                self.go_on_with_task(id, &task);
            }
            Err(what) => {
                let text = format!("mcp-bridge: the server's task cannot be read: {what}");
                self.respond_error(id, errors::INTERNAL, &text);
            }
        }
        true
    }

    fn go_on_with_task(&mut self, id: &Id, task: &Task) {
        match &task.status {
            Status::Working => self.wait(id, task.poll, Then::AskForTask),
            // Its questions come beside the result.
            Status::InputRequired(_) | Status::Completed(_) | Status::Failed(_) => {
                self.ask_for(id, "tasks/result", Ask::Outcome(id.clone()));
            }
            Status::Cancelled => {
                self.task_is_done(id);
                let text = "mcp-bridge: the server cancelled the task";
                self.respond_error(id, errors::INTERNAL, text);
            }
        }
    }

    /// The time has come to ask how far a task is.
    pub(super) fn ask_for_task(&mut self, id: &Id) {
        let asked = Ask::Task(id.clone());
        if self.drop_asks(|ask| *ask == asked) {
            // The server has not answered that in time.
            return self.task_not_seen(id);
        }
        self.ask_for(id, "tasks/get", Ask::Task(id.clone()));
    }

    fn ask_for(&mut self, id: &Id, method: &str, ask: Ask) {
        let task = self
            .upward
            .tasks
            .calls
            .get(id)
            .and_then(|driven| driven.task.as_ref());
        let Some(task) = task else { return };
        match self.link.phase {
            Phase::Open if !self.authorizing.is_under_way() => {}
            Phase::Open | Phase::Handshaking(_) | Phase::Barrier(_) => {
                let wait = task.poll;
                return self.wait(id, wait, Then::AskForTask);
            }
            Phase::Idle | Phase::Lost { .. } => return self.task_not_seen(id),
        }
        let params = task.params();
        if matches!(ask, Ask::Task(_)) {
            self.wait(id, limits::TASK_ANSWER, Then::AskForTask);
        } else if let Some(entry) = self.ledger.get_mut(id) {
            // A result comes when the task is done.
            entry.place = Place::Held;
        }
        let own = self.send_own(method, Some(&params), Own::Upward);
        self.upward.asks.insert(own, ask);
    }

    /// The answer to a request that the bridge sent for a modern client's.
    pub(super) fn on_upward(&mut self, own: &Id, message: &Message) {
        match self.upward.asks.remove(own) {
            Some(Ask::Level) => self.level_settled(),
            Some(Ask::Task(id)) => self.on_task_seen(&id, message),
            Some(Ask::Outcome(id)) => self.on_outcome(&id, message),
            None => {}
        }
    }

    /// Credentials were refused for such a request. Whether that is settled: it is asked again once
    /// there are others.
    pub(super) fn upward_refused(&mut self, own: &Id, exchange: &Exchange, head: &Head) -> bool {
        let refused = self.refusal(head);
        if refused.is_some() && self.upward.asks.get(own) == Some(&Ask::Level) {
            self.own.remove(own);
            self.upward.asks.remove(own);
            self.level_refused(exchange.authorizations);
            return true;
        }
        let (Some(id), true) = (self.task_asked_with(own), refused.is_some()) else {
            return false;
        };
        let credentials = self.settings.credentials;
        let Some(entry) = self.ledger.get_mut(&id) else {
            return false;
        };
        if !credentials.may_be_renewed(entry.authorizations) {
            return false;
        }
        entry.authorizations += 1;
        self.own.remove(own);
        self.upward.asks.remove(own);
        self.authorize(exchange.authorizations, refused, "tasks/get");
        self.wait(&id, tasks::POLL, Then::AskForTask);
        true
    }

    pub(super) fn on_upward_lost(&mut self, own: &Id) {
        match self.upward.asks.remove(own) {
            Some(Ask::Level) => self.level_settled(),
            Some(Ask::Task(id) | Ask::Outcome(id)) => self.task_not_seen(&id),
            None => {}
        }
    }

    /// The session that these were sent in is gone: no answer comes any more.
    pub(super) fn upward_asks_lost(&mut self) {
        let asks = std::mem::take(&mut self.upward.asks);
        self.own.retain(|_, own| *own != Own::Upward);
        for ask in asks.into_values() {
            if let Ask::Task(id) | Ask::Outcome(id) = ask {
                self.task_not_seen(&id);
            }
        }
        self.forget_level();
    }

    fn on_task_seen(&mut self, id: &Id, message: &Message) {
        let Some(driven) = self.upward.tasks.calls.get_mut(id) else {
            return;
        };
        let Some(result) = message.result() else {
            self.task_is_done(id);
            return self.answer_open(id, message.clone());
        };
        driven.failed = 0;
        match Task::read_legacy(result) {
            Ok(task) => {
                // The answer need not name it again as it was named first.
                let named = driven
                    .task
                    .take()
                    .map_or_else(|| task.id.clone(), |known| known.id);
                let task = Task {
                    id: named,
                    message: None,
                    ..task
                };
                driven.task = Some(task.clone());
                self.go_on_with_task(id, &task);
            }
            Err(what) => {
                let text = format!("mcp-bridge: the server's task cannot be read: {what}");
                self.respond_error(id, errors::INTERNAL, &text);
            }
        }
    }

    fn on_outcome(&mut self, id: &Id, message: &Message) {
        if !self.upward.tasks.calls.contains_key(id) {
            return;
        }
        self.task_is_done(id);
        let clean = message.result().and_then(meta::without_reserved);
        let clean = clean.and_then(|result| Message::parse(message.with_result(&result)).ok());
        self.answer_open(id, clean.unwrap_or_else(|| message.clone()));
    }

    /// The answer about a task did not come: it is asked for again, a few times.
    fn task_not_seen(&mut self, id: &Id) {
        let Some(driven) = self.upward.tasks.calls.get_mut(id) else {
            return;
        };
        driven.failed += 1;
        let wait = driven.task.as_ref().map_or(tasks::POLL, |task| task.poll);
        if driven.failed <= limits::TASK_ASKED {
            return self.wait(id, wait, Then::AskForTask);
        }
        let text = format!(
            "the server does not tell any more how far the task of this call is; {LOOK_FIRST}"
        );
        self.fail(
            id,
            &Failure::new(Kind::StreamEnded, Executed::Unknown, text),
        );
    }

    fn task_is_done(&mut self, id: &Id) {
        if let Some(driven) = self.upward.tasks.calls.get_mut(id) {
            driven.done = true;
        }
    }

    /// A request is over: if its task goes on, nobody waits for it any more.
    pub(super) fn forget_task(&mut self, id: &Id) {
        let Some(driven) = self.upward.tasks.calls.remove(id) else {
            return;
        };
        self.drop_asks(|ask| matches!(ask, Ask::Task(known) | Ask::Outcome(known) if known == id));
        if let Some(task) = driven.task.filter(|_| !driven.done)
            && matches!(self.link.phase, Phase::Open)
            && !self.is_ending()
        {
            self.cancel_task(&task, Own::Upward);
        }
    }

    /// The answers to these are waited for no longer. Whether there were any.
    pub(super) fn drop_asks(&mut self, unwanted: impl Fn(&Ask) -> bool) -> bool {
        let asks = self.upward.asks.extract_if(|_, ask| unwanted(ask));
        let dropped: Vec<Id> = asks.map(|(own, _)| own).collect();
        for own in &dropped {
            self.drop_own(own);
        }
        !dropped.is_empty()
    }

    /// A request has another id now.
    pub(super) fn move_task(&mut self, id: &Id, new: &Id) {
        if let Some(driven) = self.upward.tasks.calls.remove(id) {
            self.upward.tasks.calls.insert(new.clone(), driven);
        }
        for ask in self.upward.asks.values_mut() {
            if let Ask::Task(known) | Ask::Outcome(known) = ask
                && known == id
            {
                *known = new.clone();
            }
        }
    }

    /// The request whose task a message of the server belongs to, by the parameters of that.
    pub(super) fn task_owner(&self, params: &str) -> Option<Id> {
        let task = tasks::related(params)?;
        let mut calls = self.upward.tasks.calls.iter();
        let driven =
            calls.find(|(_, driven)| driven.task.as_ref().is_some_and(|known| known.id == task));
        driven.map(|(id, _)| id.clone())
    }

    /// The request that one of our own asks for.
    pub(super) fn task_asked_with(&self, own: &Id) -> Option<Id> {
        match self.upward.asks.get(own)? {
            Ask::Task(id) | Ask::Outcome(id) => Some(id.clone()),
            Ask::Level => None,
        }
    }
}
