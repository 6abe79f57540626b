//! A legacy server's notifications, for a modern client: what belongs to one of its requests
//! reaches it with that request's token, everything else only if it asked for it.
//!
//! In: progress, log messages, what is consumed here. Out: changes (`listeners`), the log level
//! itself (`levels`).

use bytes::Bytes;

use super::Bridge;
use super::levels::wanted;
use super::to_modern::severity;
use crate::proto::era::{meta, notices};
use crate::proto::message::{Id, Message, member};
use crate::proto::{Level, Ticket, limits, text};

impl Bridge {
    /// A notification of a legacy server, where it concerns a modern client. Whether it is settled.
    pub(super) fn notice_for_modern(&mut self, ticket: Ticket, message: &Message) -> bool {
        self.tell_listeners(message);
        if self.client.stated.is_none() {
            return false;
        }
        let owner = self.upward_in(ticket);
        let others = self.is_told();
        match message.method() {
            "notifications/progress" => self.on_upward_progress(message) || !others,
            "notifications/message" if owner.is_some() || !others => {
                self.on_upward_log(owner.as_ref(), message);
                true
            }
            "notifications/cancelled" => self.question_withdrawn(ticket, message) || !others,
            "notifications/elicitation/complete" => {
                self.on_elicited(message);
                !others
            }
            "notifications/message"
            | "notifications/tasks/status"
            | "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/resources/updated" => !others,
            _ if owner.is_some() || !others => {
                self.line(notices::untagged(message));
                true
            }
            _ => false,
        }
    }

    /// Progress of a request under the token that the bridge gave it. Whether there is one.
    fn on_upward_progress(&mut self, message: &Message) -> bool {
        let token: Option<String> = message.param("progressToken");
        let Some(token) = token else { return false };
        let mut calls = self.suspended.calls.iter_mut();
        let call = calls.find(|(_, call)| call.token.as_ref() == Some(&token));
        let Some((id, call)) = call else {
            // Its request may be over; nobody else knows a token of the bridge.
            return token.starts_with(&format!("mb-{}-p", self.settings.nonce));
        };
        match &mut call.suspension {
            Some(suspension) if message.text().len() <= limits::PROGRESS_KEPT => {
                suspension.progress = Some(message.clone());
            }
            Some(_) => {}
            None => {
                let id = id.clone();
                self.tell_progress(&id, message);
            }
        }
        true
    }

    /// Tells the client of progress, under the token that its request has now, if it is any.
    pub(super) fn tell_progress(&mut self, id: &Id, message: &Message) {
        let progress: Option<f64> = message.param("progress");
        let Some(call) = self.suspended.calls.get_mut(id) else {
            return;
        };
        let last = call.progress;
        let Some(progress) = progress.filter(|now| last.is_none_or(|last| *now > last)) else {
            return;
        };
        call.progress = Some(progress);
        if !self.passes_progress_of(id, Some(progress)) {
            return;
        }
        let entry = self.ledger.get(id);
        let token = entry.and_then(|entry| meta::progress_token(entry.message.params()));
        if let Some(token) = token
            && let Ok(message) = Message::parse(notices::untagged(message))
        {
            let line = message.with_param("progressToken", token);
            self.line(line);
        }
    }

    /// A log message goes with the request that it certainly belongs to, and only if that gives a
    /// level (MCP 2026-07-28, Logging).
    fn on_upward_log(&mut self, owner: Option<&Id>, message: &Message) {
        let leveled = match owner {
            Some(id) => {
                let level = self.ledger.get(id).and_then(wanted);
                level.map(|level| (id.clone(), level)).into_iter().collect()
            }
            None => self.leveled(),
        };
        let (id, wanted) = match leveled.as_slice() {
            [] => return,
            [one] => one.clone(),
            _ => {
                let what = message.params().and_then(|params| member(params, "data"));
                let what = text::excerpt(what.unwrap_or_default().as_bytes());
                self.say(Level::Info, format!("the server logs: {what}"));
                return;
            }
        };
        let level: Option<String> = message.param("level");
        if level
            .and_then(|level| severity(&level))
            .is_some_and(|level| level < wanted)
        {
            return;
        }
        self.tell_log(&id, notices::untagged(message));
    }

    fn tell_log(&mut self, id: &Id, line: Bytes) {
        if !self.is_suspended(id) {
            return self.line(line);
        }
        let fits = self.suspended.bytes() + line.len() <= limits::SUSPENDED_BYTES;
        let call = self.suspended.calls.get_mut(id);
        let Some(suspension) = call.and_then(|call| call.suspension.as_mut()) else {
            return;
        };
        if suspension.logs.len() >= limits::SUSPENDED_LOGS {
            suspension.logs.pop_front();
        }
        if fits {
            suspension.logs.push_back(line);
        }
    }
}
