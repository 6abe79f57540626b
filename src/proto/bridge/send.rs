//! The client's requests on their way out: in which era they travel, and which of them do not.
//!
//! In: one open request becomes one HTTP request, or is answered here. Out: how it is rewritten
//! (`to_modern`, `to_legacy`), what its answers mean (`calls`).

use super::{Bridge, Purpose};
use crate::proto::Request;
use crate::proto::era::Era;
use crate::proto::ledger::{Entry, Place, Via};
use crate::proto::message::Id;

impl Bridge {
    /// Sends an open request; `mint` gives it a new id at the server, because it may be known
    /// there under its old one.
    pub(super) fn send_call(&mut self, id: &Id, mint: bool) {
        let entry = self.ledger.get(id);
        let taken =
            entry.is_some_and(|entry| entry.upstream.is_none()) && self.ledger.is_upstream(id);
        if mint || taken {
            let upstream = self.own_id();
            self.ledger.mint(id, upstream);
        }
        let Some(via) = self.ledger.get(id).map(|entry| self.via(entry)) else {
            return;
        };
        if let Some(entry) = self.ledger.get_mut(id) {
            entry.via = via;
        }
        if via == Via::ToLegacy && !self.link.ready {
            // In the middle of the client's handshake; servers refuse requests before its end.
            self.park_first(vec![id.clone()]);
            return self.open_for_modern();
        }
        if self.answer_here(id, via) {
            return;
        }
        let (generation, in_use) = (self.link.generation, self.link.recoveries.in_use);
        self.link.recoveries.in_use = true;
        let Some(entry) = self.ledger.get_mut(id) else {
            return;
        };
        entry.generation = generation;
        entry.first_in_session = !in_use;
        let Some(request) = self.outgoing(id, via) else {
            return;
        };
        let ticket = self.start(Purpose::Call(id.clone()), request);
        if let Some(entry) = self.ledger.get_mut(id) {
            entry.place = Place::Exchange(ticket);
        }
        self.limit_anew(id);
    }

    /// How a request travels now.
    fn via(&self, entry: &Entry) -> Via {
        match (entry.era(), self.link.modern.is_some()) {
            (Era::Legacy, false) => Via::Legacy,
            (Era::Legacy, true) => Via::ToModern,
            (Era::Modern, false) => Via::ToLegacy,
            (Era::Modern, true) => Via::Modern,
        }
    }

    /// The HTTP request that carries an open request. `None`: it was answered with an error.
    fn outgoing(&mut self, id: &Id, via: Via) -> Option<Request> {
        let edited = match via {
            Via::Legacy | Via::Modern => None,
            Via::ToModern => Some(self.request_to_modern(id)?),
            Via::ToLegacy => Some(self.request_to_legacy(id)?),
        };
        let entry = self.ledger.get(id)?;
        let message = &entry.message;
        let body = match (&edited, &entry.upstream) {
            (None, None) => message.text().clone(),
            (None, Some(upstream)) => message.with_id(upstream),
            (Some(edited), upstream) => {
                edited.with_id(upstream.as_ref().or(message.id()).unwrap_or(id))
            }
        };
        Some(match (via, &self.link.modern, &entry.stated) {
            (Via::Modern, _, Some(stated)) => self.post_modern(message, body, &stated.version),
            (Via::ToModern, Some(modern), _) => self.post_modern(message, body, &modern.version),
            _ => self.post(message, body),
        })
    }

    /// Requests that the bridge answers itself, where the eras differ.
    fn answer_here(&mut self, id: &Id, via: Via) -> bool {
        self.waits_for_no_level(id);
        match via {
            Via::Legacy => self.fails_mid_round(id),
            Via::Modern => self.answer_modern(id),
            Via::ToModern => self.answer_for_modern(id),
            Via::ToLegacy => self.answer_for_legacy(id),
        }
    }
}
