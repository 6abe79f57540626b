//! A legacy client's `resources/subscribe` and `resources/unsubscribe` before a modern server, which
//! has neither.
//!
//! In: what is answered at once, what waits for the stream that tells of it. Out: that stream
//! (`subscription`).

use super::Bridge;
use super::subscription::State;
use crate::proto::era::errors;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::ledger::Place;
use crate::proto::limits;
use crate::proto::message::{Id, Message};

/// An open `resources/subscribe`.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: Id,
    pub(super) uri: String,
    /// Its parameters, raw JSON.
    pub(super) params: String,
    pub(super) tries: u32,
}

impl Bridge {
    /// `resources/subscribe`.
    pub(super) fn subscribe(&mut self, id: &Id, message: &Message) {
        let modern = self.link.modern.as_ref();
        let offered = modern.is_some_and(|modern| modern.offered.subscribe);
        if !offered || self.subscription.state == State::Off {
            return self.respond_error(id, errors::METHOD_NOT_FOUND, "Method not found");
        }
        let (Some(uri), Some(params)) = (message.param::<String>("uri"), message.params()) else {
            return self.lacks_uri(id);
        };
        if self.client.subscriptions.contains_key(&uri) {
            return self.respond_with(id, "result", "{}");
        }
        let count = self.client.subscriptions.len() + self.subscription.pending.len();
        if count >= limits::SUBSCRIPTIONS {
            let limit = limits::SUBSCRIPTIONS;
            let text =
                format!("no more than {limit} resources can be subscribed to; give one up first");
            let failure = Failure::new(Kind::LimitExceeded, Executed::No, text);
            return self.fail(id, &failure);
        }
        if let Some(entry) = self.ledger.get_mut(id) {
            entry.place = Place::Held;
        }
        self.subscription.pending.push(Pending {
            id: id.clone(),
            uri,
            params: params.to_owned(),
            tries: 0,
        });
        let waits_for_credentials =
            self.subscription.state == State::Refused && self.authorizing.is_under_way();
        if !waits_for_credentials {
            self.subscription.state = State::Ready;
            self.subscription.authorizations = 0;
        }
        self.refresh_subscription();
    }

    /// `resources/unsubscribe`. A resource that nobody subscribed to is no error.
    pub(super) fn unsubscribe(&mut self, id: &Id, message: &Message) {
        let Some(uri) = message.param::<String>("uri") else {
            return self.lacks_uri(id);
        };
        self.client.subscriptions.remove(&uri);
        for pending in self.take_pending(|pending| pending.uri == uri) {
            self.respond_with(&pending.id, "result", "{}");
        }
        self.respond_with(id, "result", "{}");
        self.refresh_subscription();
    }

    fn lacks_uri(&mut self, id: &Id) {
        let text = "mcp-bridge: \"uri\" must be a string";
        self.respond_error(id, errors::INVALID_PARAMS, text);
    }

    /// A request is over; if it was a `resources/subscribe`, it waits for nothing any more.
    pub(super) fn forget_subscriber(&mut self, id: &Id) {
        if !self.take_pending(|pending| pending.id == *id).is_empty() {
            self.refresh_subscription();
        }
    }

    /// Takes these of those that wait.
    pub(super) fn take_pending(&mut self, wanted: impl Fn(&Pending) -> bool) -> Vec<Pending> {
        let pending = std::mem::take(&mut self.subscription.pending);
        let (taken, kept) = pending.into_iter().partition(wanted);
        self.subscription.pending = kept;
        taken
    }
}
