//! A modern client's `subscriptions/listen` before a modern server (MCP 2026-07-28, Subscriptions):
//! passed on, and opened again under the client's id when its stream breaks.
//!
//! In: what the client sees of such streams. Out: who listens (`listeners`), a legacy client's
//! stream (`subscription`), when a broken one is opened again (`gaps`).

use std::time::Duration;

use bytes::Bytes;

use super::{Bridge, Then};
use crate::proto::era::notices::{self, Change, Wanted};
use crate::proto::ledger::{Place, Via};
use crate::proto::limits;
use crate::proto::message::{Id, Message};

impl Bridge {
    /// A request of a modern client is about to go to a modern server: the stream of a
    /// `subscriptions/listen` is looked after from here on. `true`: it was answered with an error
    /// instead.
    pub(super) fn answer_modern(&mut self, id: &Id) -> bool {
        if self.names_suspended(id) {
            // The server that asked was a legacy one, and its call may have run.
            self.refuse_state(id);
            return true;
        }
        let entry = self.ledger.get(id);
        if entry.is_none_or(|entry| entry.message.method() != "subscriptions/listen") {
            return false;
        }
        if !self.enlist(id) {
            return true;
        }
        if self.is_listening(id) {
            let deadline = self.time_listener(id, limits::ACKNOWLEDGED);
            if let Some(listener) = self.listeners.get_mut(id) {
                listener.deadline = Some(deadline);
            }
        }
        false
    }

    /// A notification of a modern server about a modern client's request.
    pub(super) fn notice_to_modern_client(&mut self, id: &Id, message: &Message) {
        let entry = self.ledger.get(id);
        let change = Change::of(message);
        let (Some(listener), Some(entry)) = (self.listeners.get(id), entry) else {
            if change.is_some() {
                return self.debug(|| "a change that nobody listens for: dropped".into());
            }
            if message.method() != "notifications/progress" || self.passes_progress_in(id, message)
            {
                self.line(message.text().clone());
            }
            return;
        };
        let asked = entry.upstream.as_ref().unwrap_or(&listener.id);
        let named = notices::subscription(message);
        // Some servers spell a number as a string.
        if named.as_ref().is_some_and(|named| !named.resembles(asked)) {
            return self.debug(|| "a change for another subscription: dropped".into());
        }
        let line = if named.as_ref().is_some_and(|named| *named != listener.id)
            || (named.is_none() && change.is_some())
        {
            notices::tagged(message, &listener.id)
        } else {
            message.text().clone()
        };
        match message.method() {
            "notifications/subscriptions/acknowledged" => self.on_relay_granted(id, message, line),
            "notifications/cancelled" if notices::cancels(message, asked) => {
                let line = message.with_param("requestId", listener.id.token());
                self.line(line);
                if let Some(entry) = self.strike(id) {
                    self.abandon(&entry);
                }
            }
            _ => {
                if change.is_none_or(|change| listener.may_see(&change)) {
                    self.line(line);
                }
            }
        }
    }

    /// The server says what it will tell of. The client is told so once.
    fn on_relay_granted(&mut self, id: &Id, message: &Message, line: Bytes) {
        let Some(listener) = self.listeners.get_mut(id) else {
            return;
        };
        if std::mem::replace(&mut listener.acknowledged, true) {
            return;
        }
        listener.deadline = None;
        if let Some(entry) = self.ledger.get_mut(id) {
            (entry.authorizations, entry.busy, entry.unreachable) = (0, 0, 0);
        }
        let granted = Wanted::read(message.params()).unwrap_or_default();
        if listener.granted.is_some() {
            return self.granted_again(id, &granted);
        }
        listener.granted = Some(granted);
        self.line(line);
    }

    /// A subscription was opened again, and this is what it hears of now: no less than before, or
    /// it is over.
    pub(super) fn granted_again(&mut self, id: &Id, granted: &Wanted) {
        let Some(listener) = self.listeners.get_mut(id) else {
            return;
        };
        let before = listener.granted.clone().unwrap_or_default();
        if before.intersection(granted) != before {
            let reason = "the server does not tell of all these changes any more";
            return self.end_listener(id, reason);
        }
        self.tell_of_gap_to(id);
    }

    /// Tells a listener that there may have been changes while its stream was broken.
    pub(super) fn tell_of_gap_to(&mut self, id: &Id) {
        let now = self.now;
        let listener = self.listeners.get_mut(id);
        let Some(listener) = listener.filter(|listener| listener.acknowledged) else {
            return;
        };
        let Some(wait) = listener.gaps.end(now) else {
            return;
        };
        if !wait.is_zero() {
            if listener.telling.is_none() {
                let telling = self.time_listener(id, wait);
                if let Some(listener) = self.listeners.get_mut(id) {
                    listener.telling = Some(telling);
                }
            }
            return;
        }
        let changes = listener.granted.as_ref().map(Wanted::changes);
        let changes = changes.unwrap_or_default();
        let lines: Vec<Bytes> = changes.iter().filter_map(|c| listener.hears(c)).collect();
        if changes.contains(&Change::Tools) {
            self.forget_tools();
        }
        for line in lines {
            self.line(line);
        }
    }

    /// The result that ends a subscription, with the client's id in place of the server's.
    pub(super) fn closed_for_modern_client(&self, id: &Id, message: Message) -> Message {
        let Some(listener) = self.listeners.get(id) else {
            return message;
        };
        let renamed = self
            .ledger
            .get(id)
            .is_some_and(|entry| entry.upstream.is_some());
        if !renamed || notices::subscription(&message).is_none() {
            return message;
        }
        Message::parse(notices::tagged(&message, &listener.id)).unwrap_or(message)
    }

    /// The stream of a subscription that the client was told is open has ended without an answer
    /// after this time, or could not be opened again: it will be, later. Whether it is such a
    /// stream.
    pub(super) fn relay_broke(&mut self, id: &Id, lived: Duration) -> bool {
        let via = self.ledger.get(id).map(|entry| entry.via);
        if via != Some(Via::Modern) || !self.is_listening(id) {
            return false;
        }
        let Some(listener) = self.listeners.get_mut(id) else {
            return false;
        };
        listener.gaps.begin();
        listener.deadline = None;
        let lived = std::mem::take(&mut listener.acknowledged).then_some(lived);
        let wait = listener.gaps.wait(lived, &mut self.jitter);
        if wait.is_zero() {
            let upstream = self.own_id();
            self.ledger.mint(id, upstream);
            self.resend(id);
        } else {
            self.wait(id, wait, Then::Send { mint: true });
        }
        true
    }

    /// A stream that was opened again is not acknowledged.
    pub(super) fn relay_silent(&mut self, id: &Id) {
        if let Some(listener) = self.listeners.get_mut(id) {
            listener.deadline = None;
        }
        let place = self.ledger.get(id).map(|entry| entry.place);
        if let Some(Place::Exchange(ticket)) = place {
            self.cancel_exchange(ticket);
            self.relay_broke(id, Duration::ZERO);
        }
    }
}
