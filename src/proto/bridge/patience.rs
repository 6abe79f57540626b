//! How long a request of the client may go unanswered (`--call-timeout`), and when the client is
//! told that it still is (`--heartbeat`).
//!
//! The limit counts while the server has the request and owes the next word. It begins anew
//! whenever the request is sent, with every progress that the server tells of it, and when a
//! question that the server asked for it is settled. It rests while such a question waits for the
//! client (ten minutes at most), and while the request waits to be sent: for a sign-in, for a
//! session that is opened again, for a server that is busy. A question on a stream that belongs to
//! no request may be for any of them, so it lets all of its session rest.
//!
//! In: the clock of each request, giving one up. Out: what a heartbeat says (`heartbeat`), the
//! limit for `initialize` (`stand_in`); `subscriptions/listen` is meant to stay open.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::calls::is_repeatable;
use super::{Bridge, Purpose, Then, Timer, TimerKey};
use crate::proto::era::{Era, meta};
use crate::proto::failure::{Executed, Failure, Kind, LOOK_FIRST};
use crate::proto::ledger::{Entry, Place, Via};
use crate::proto::message::{Id, Message, member};
use crate::proto::{limits, text};

/// The requests that are watched over. Empty while neither option is given.
#[derive(Debug, Default)]
pub(super) struct Patience {
    calls: HashMap<Id, Vigil>,
    /// Requests of the legacy era by their progress tokens.
    tokens: HashMap<Id, Id>,
}

/// What is known of one of them.
#[derive(Debug)]
pub(super) struct Vigil {
    /// The client's progress token, raw JSON.
    pub(super) token: Option<String>,
    /// When the request was sent, or the server was last heard of it.
    since: Instant,
    /// It waits to be sent again.
    unsent: bool,
    /// The highest progress that the client was told of.
    pub(super) told: Option<f64>,
    /// A heartbeat was told.
    pub(super) beaten: bool,
    /// When the client was last told of it.
    pub(super) told_at: Instant,
    alarm: TimerKey,
}

impl Patience {
    pub(super) fn get(&self, id: &Id) -> Option<&Vigil> {
        self.calls.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &Id) -> Option<&mut Vigil> {
        self.calls.get_mut(id)
    }

    /// Whether nothing is kept.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.tokens.is_empty()
    }
}

impl Bridge {
    // The clock.

    /// A request of the client is open from now on.
    pub(super) fn watch_over(&mut self, id: &Id) {
        let Some(entry) = self.ledger.get(id) else {
            return;
        };
        if entry.message.method() == "subscriptions/listen" {
            return;
        }
        let is_legacy = entry.era() == Era::Legacy;
        let token = meta::progress_token(entry.message.params()).map(str::to_owned);
        let beat = self.settings.heartbeat.filter(|_| token.is_some());
        let Some(wait) = self.settings.call_timeout.into_iter().chain(beat).min() else {
            return;
        };
        if let Some(token) = token
            .as_deref()
            .and_then(Id::from_raw)
            .filter(|_| is_legacy)
        {
            self.patience.tokens.insert(token, id.clone());
        }
        let vigil = Vigil {
            token,
            since: self.now,
            unsent: false,
            told: None,
            beaten: false,
            told_at: self.now,
            alarm: self.after(wait, Timer::Patience(id.clone())),
        };
        self.patience.calls.insert(id.clone(), vigil);
    }

    /// A request is over, or the client has been answered for now.
    pub(super) fn watch_no_more(&mut self, id: &Id) {
        let Some(vigil) = self.patience.calls.remove(id) else {
            return;
        };
        self.timers.remove(&vigil.alarm);
        if let Some(token) = vigil.token.as_deref().and_then(Id::from_raw)
            && self.patience.tokens.get(&token) == Some(id)
        {
            self.patience.tokens.remove(&token);
        }
    }

    /// The limit begins anew: the request was sent, or the server was heard of it.
    pub(super) fn limit_anew(&mut self, id: &Id) {
        if let Some(vigil) = self.patience.calls.get_mut(id) {
            (vigil.since, vigil.unsent) = (self.now, false);
        }
    }

    /// The same for every request of a session.
    pub(super) fn limit_anew_in(&mut self, generation: u32) {
        for (id, vigil) in &mut self.patience.calls {
            let entry = self.ledger.get(id);
            if entry.is_some_and(|entry| entry.generation == generation) {
                vigil.since = self.now;
            }
        }
    }

    /// A request is to wait for a timer, and then for this.
    pub(super) fn note_wait(&mut self, id: &Id, then: &Then) {
        if let Some(vigil) = self.patience.calls.get_mut(id) {
            vigil.unsent = matches!(then, Then::Send { .. });
        }
    }

    /// A request has been open for a while: it is given up, or the client is told of it, or it is
    /// looked at again later.
    pub(super) fn on_patience(&mut self, id: &Id) {
        let (now, is_served) = (self.now, self.is_served(id));
        let Some(vigil) = self.patience.calls.get_mut(id) else {
            return;
        };
        if !is_served {
            vigil.since = now;
        }
        let left = |since: Instant, limit: Duration| (since + limit).saturating_duration_since(now);
        let limit = self.settings.call_timeout;
        let rest = limit.map(|limit| left(vigil.since, limit));
        if let (Some(Duration::ZERO), Some(limit)) = (rest, limit) {
            return self.time_out(id, limit);
        }
        let beat = self.settings.heartbeat.filter(|_| vigil.token.is_some());
        let quiet = beat.map(|every| match left(vigil.told_at, every) {
            Duration::ZERO => {
                vigil.told_at = now;
                (every, true)
            }
            rest => (rest, false),
        });
        if quiet.is_some_and(|(_, is_due)| is_due) {
            self.beat(id);
        }
        let Some(next) = rest.into_iter().chain(quiet.map(|(rest, _)| rest)).min() else {
            return;
        };
        let alarm = self.after(next, Timer::Patience(id.clone()));
        if let Some(vigil) = self.patience.calls.get_mut(id) {
            vigil.alarm = alarm;
        }
    }

    /// Whether the server has this request, and nothing of it is up to the client.
    pub(super) fn is_served(&self, id: &Id) -> bool {
        let (Some(entry), Some(vigil)) = (self.ledger.get(id), self.patience.calls.get(id)) else {
            return false;
        };
        let is_there = match entry.place {
            Place::Parked => false,
            Place::Exchange(_) | Place::Elsewhere => true,
            Place::Waiting(_) => !vigil.unsent,
            Place::Held => {
                let round = self.rounds.calls.get(id);
                self.is_task(id) || round.is_some_and(|round| round.task.is_some())
            }
        };
        is_there && !self.is_client_asked(id, entry)
    }

    /// Whether the client has to answer a question first that the server asked for this request, or
    /// may have asked for it.
    pub(super) fn is_client_asked(&self, id: &Id, entry: &Entry) -> bool {
        if entry.via.server() == Era::Modern {
            let round = self.rounds.calls.get(id);
            return round.is_some_and(|round| !round.open.is_empty());
        }
        let generation = entry.generation;
        if self.questions.hold_up(id, generation, self.now) {
            return true;
        }
        let calls = &self.suspended.calls;
        let of_others = calls.values().flat_map(|call| &call.asked);
        let mut elsewhere = of_others.chain(&self.suspended.held);
        entry.via == Via::ToLegacy
            && (calls.get(id).is_some_and(|call| !call.asked.is_empty())
                || elsewhere.any(|asked| asked.is_carried() && asked.generation == generation))
    }

    // Progress of the server.

    /// Progress that a legacy server tells a legacy client of. Whether it is passed on.
    pub(super) fn passes_progress(&mut self, message: &Message) -> bool {
        if self.patience.tokens.is_empty() {
            return true;
        }
        let token = named_token(message);
        let id = token.and_then(|token| self.patience.tokens.get(&token));
        let Some(id) = id.cloned() else { return true };
        self.passes_progress_of(&id, message.param("progress"))
    }

    /// Progress in the exchange of one request. Whether it is passed on.
    pub(super) fn passes_progress_in(&mut self, id: &Id, message: &Message) -> bool {
        let vigil = self.patience.get(id);
        let token = vigil.and_then(|vigil| Id::from_raw(vigil.token.as_deref()?));
        if token.is_none() || token != named_token(message) {
            return true;
        }
        self.passes_progress_of(id, message.param("progress"))
    }

    /// Progress of a request, by how far it is. Whether it may be passed on: not if the client was
    /// told as much or more by a heartbeat, or since.
    pub(super) fn passes_progress_of(&mut self, id: &Id, progress: Option<f64>) -> bool {
        let now = self.now;
        let Some(vigil) = self.patience.calls.get_mut(id) else {
            return true;
        };
        vigil.since = now;
        let is_more = progress > vigil.told;
        if vigil.beaten && !is_more {
            return false;
        }
        vigil.told_at = now;
        if is_more {
            vigil.told = progress;
        }
        true
    }

    // The end.

    /// The server took too long over a request.
    fn time_out(&mut self, id: &Id, limit: Duration) {
        let Some(entry) = self.ledger.get(id) else {
            return;
        };
        let (place, generation) = (entry.place, entry.generation);
        let upstream = entry.upstream.as_ref().unwrap_or(id).clone();
        let quiet = entry.via.server() == Era::Modern || self.ends_quietly(id);
        let next = if is_repeatable(entry.message.method()) {
            "ask again"
        } else {
            LOOK_FIRST
        };
        let method = text::sanitize(entry.message.method(), 80);
        let seconds = limit.as_secs_f64();
        let text = format!(
            "for {seconds} s the server neither answered {method} nor told of progress \
             (--call-timeout raises this limit); {next}"
        );
        self.fail(id, &Failure::new(Kind::Timeout, Executed::Unknown, text));
        if !quiet {
            self.give_up_at_server(&upstream, place, generation, "no answer came in time");
        } else if let Place::Exchange(ticket) = place {
            self.cancel_exchange(ticket);
        }
    }

    /// Tells a legacy server, for this reason, that a request is given up which the client has not
    /// cancelled.
    pub(super) fn give_up_at_server(
        &mut self,
        upstream: &Id,
        place: Place,
        generation: u32,
        reason: &str,
    ) {
        let id = upstream.token();
        let note = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"{reason}"}}}}"#
        );
        self.leave_at_server(upstream, place, generation, note.into());
    }

    /// Tells a legacy server that nobody waits any more for a request that it knows by this id. An
    /// answer that still comes is for nobody.
    pub(super) fn leave_at_server(
        &mut self,
        upstream: &Id,
        place: Place,
        generation: u32,
        note: Bytes,
    ) {
        match place {
            Place::Parked | Place::Held => return,
            Place::Exchange(ticket) => {
                self.repurpose(ticket, Purpose::Abandoned);
                self.time_exchange(ticket, limits::LINGER, Timer::Linger(ticket));
                self.post_cancellation(note, Some(ticket), generation);
            }
            Place::Elsewhere | Place::Waiting(_) => self.post_cancellation(note, None, generation),
        }
        self.ledger.give_up(upstream);
    }
}

/// The token of a progress notification.
fn named_token(message: &Message) -> Option<Id> {
    let token = member(message.params()?, "progressToken")?;
    Id::from_raw(token)
}
