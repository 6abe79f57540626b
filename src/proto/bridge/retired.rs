//! A session that declares too little for a modern client's request: one that declares more takes
//! its place, and it ends when its requests are done.
//!
//! In: when that is, what the old session still needs. Out: the new session's handshake
//! (`handshake`).

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use url::Url;

use super::suspended::request_state;
use super::{Bridge, Exchange, Purpose};
use crate::proto::ledger::{Entry, Place, Via};
use crate::proto::message::{Id, Message};
use crate::proto::transport::Transport;
use crate::proto::{Request, Ticket, Verb, headers, limits};

/// A session whose last requests are waited for.
#[derive(Debug)]
pub(super) struct Retired {
    generation: u32,
    session: Option<HeaderValue>,
    version: Option<HeaderValue>,
    endpoint: Arc<Url>,
    /// The server's own stream in it.
    stream: Option<Ticket>,
}

impl Bridge {
    /// Whether a request waits for a session that declares what it does.
    ///
    /// A client that has made a handshake of its own said there what it can do; its session stays
    /// as it is. So does one with tasks, which may belong to it.
    pub(super) fn widens_session(&mut self, id: &Id) -> bool {
        let entry = self.ledger.get(id);
        if entry.is_none_or(|entry| request_state(&entry.message).is_some())
            || self.is_told()
            || !self.upward.tasks.is_empty()
            || self.upward.retired.len() >= limits::RETIRED
        {
            return false;
        }
        let (Some(capabilities), Some(opened)) = (self.widened(id), &self.link.opened_with) else {
            return false;
        };
        let edited = opened.with_param("capabilities", &capabilities);
        let Some(edited) = Message::parse(edited)
            .ok()
            .filter(|edited| edited.text() != opened.text())
        else {
            return false;
        };
        self.debug(|| "a request declares more than the session; opening a new one".into());
        self.retire_session();
        self.link.opened_with = Some(edited);
        self.park_first(vec![id.clone()]);
        self.reopen();
        true
    }

    /// Whether the present session has requests of a modern client to finish, and may do so beside
    /// another.
    pub(super) fn serves_modern_requests(&self) -> bool {
        let generation = self.link.generation;
        let served = self.ledger.select(|entry| {
            let sent = entry.place != Place::Parked;
            sent && entry.via == Via::ToLegacy && entry.generation == generation
        });
        !served.is_empty() && self.upward.retired.len() < limits::RETIRED
    }

    pub(super) fn retire_session(&mut self) {
        self.forget_level();
        let stream = match self.link.transport {
            Some(Transport::Sse) => self.link.sse.take(),
            _ => self.leave_listen(),
        };
        if let Some(ticket) = stream {
            self.repurpose(ticket, Purpose::Retired);
        }
        self.upward.retired.push(Retired {
            generation: self.link.generation,
            session: self.link.session.take(),
            version: self.link.version.clone(),
            endpoint: Arc::clone(&self.link.endpoint),
            stream,
        });
    }

    /// Whether a session that is not the present one is still there.
    pub(super) fn is_retired(&self, generation: u32) -> bool {
        let mut retired = self.upward.retired.iter();
        retired.any(|retired| retired.generation == generation)
    }

    /// Whether nothing comes any more in this session.
    pub(super) fn is_gone(&self, generation: u32) -> bool {
        generation != self.link.generation && !self.is_retired(generation)
    }

    /// A request of the present session as one of a retired session. `None` if there is no such
    /// session.
    pub(super) fn retired_request(&self, generation: u32, request: &Request) -> Option<Request> {
        let mut retired = self.upward.retired.iter();
        let retired = retired.find(|retired| retired.generation == generation)?;
        let mut request = request.clone();
        let fields = &mut request.headers;
        fields
            .retain(|(name, _)| *name != headers::SESSION_ID && *name != headers::PROTOCOL_VERSION);
        fields.extend(retired.fields());
        request.url = Arc::clone(&retired.endpoint);
        Some(request)
    }

    /// The server does not know this session any more.
    pub(super) fn retired_lost(&mut self, generation: u32) {
        let retired = &mut self.upward.retired;
        let at = retired
            .iter()
            .position(|retired| retired.generation == generation);
        if let Some(ticket) = at.and_then(|at| retired.remove(at).stream) {
            self.cancel_exchange(ticket);
        }
    }

    /// The server's own stream of a retired session ended: what was to be answered on it is not.
    pub(super) fn on_retired_ended(&mut self, exchange: &Exchange) {
        let generation = exchange.generation;
        let ids = self
            .ledger
            .select(|entry| entry.place == Place::Elsewhere && entry.generation == generation);
        for id in ids {
            self.request_lost(&id);
        }
        if self.link.transport == Some(Transport::Sse) {
            self.retired_lost(generation);
        }
    }

    /// Ends the retired sessions whose requests are done.
    pub(super) fn pump_retired(&mut self) {
        for retired in std::mem::take(&mut self.upward.retired) {
            let generation = retired.generation;
            let is_open = |id: &Id| {
                let entry = self.ledger.get(id);
                entry.is_some_and(|entry| entry.generation == generation)
            };
            let elsewhere =
                |entry: &Entry| entry.place == Place::Elsewhere && entry.generation == generation;
            let busy = self.exchanges.values().any(|exchange| {
                matches!(exchange.purpose, Purpose::Call(_)) && exchange.generation == generation
            }) || self.suspended.calls.keys().any(is_open)
                || self.outbox.has_of(generation)
                || !self.ledger.select(elsewhere).is_empty();
            if busy {
                self.upward.retired.push(retired);
            } else {
                self.end_retired(retired);
            }
        }
    }

    /// Ends all of them, with the process.
    pub(super) fn end_all_retired(&mut self) {
        for retired in std::mem::take(&mut self.upward.retired) {
            self.end_retired(retired);
        }
    }

    fn end_retired(&mut self, retired: Retired) {
        if let Some(ticket) = retired.stream {
            self.cancel_exchange(ticket);
        }
        if retired.session.is_some() {
            let request = Request {
                verb: Verb::Delete,
                headers: retired.fields(),
                url: retired.endpoint,
                body: Bytes::new(),
                after: None,
            };
            self.start(Purpose::Abandoned, request);
        }
    }
}

impl Retired {
    fn fields(&self) -> Vec<(http::HeaderName, HeaderValue)> {
        let version = self
            .version
            .clone()
            .map(|value| (headers::PROTOCOL_VERSION, value));
        let session = self
            .session
            .clone()
            .map(|value| (headers::SESSION_ID, value));
        version.into_iter().chain(session).collect()
    }
}
