//! A modern client's `subscriptions/listen` (MCP 2026-07-28, Subscriptions) before a legacy server:
//! made from the changes that the server tells of on its own.
//!
//! In: who listens and to what, resources subscribed to at the server on their behalf. Out: the same
//! request before a modern server (`relay`).

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;

use super::gaps::Gaps;
use super::{Bridge, Exchange, Own, Phase, Timer, TimerKey};
use crate::proto::era::errors;
use crate::proto::era::notices::{self, Change, Wanted};
use crate::proto::failure::{Executed, Failure, INVALID_REQUEST, Kind};
use crate::proto::json::quote;
use crate::proto::ledger::Place;
use crate::proto::message::{Id, Message};
use crate::proto::{Head, limits};

/// Open `subscriptions/listen` requests of the client.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    open: Vec<Listener>,
    /// Resources that are subscribed to at a legacy server for them, or are to be.
    watched: BTreeMap<String, Watch>,
    /// What is to be asked of the server for that.
    queue: VecDeque<(Step, String)>,
    sent: HashMap<Id, Sent>,
    /// Resources that were asked about again after the credentials for that were refused.
    renewed: BTreeSet<String>,
    /// The session that knows of it.
    generation: u32,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Listener {
    /// As the client spells it.
    pub(super) id: Id,
    /// What the client was told that it hears of.
    pub(super) granted: Option<Wanted>,
    /// What it will be told, once nothing is awaited.
    honoured: Wanted,
    /// Resources whose subscription the server has not answered yet.
    awaited: BTreeSet<String>,
    /// It hears of changes now: as long as its stream lives, before a modern server.
    pub(super) acknowledged: bool,
    /// The number of the timer that goes on without the server's word.
    pub(super) deadline: Option<u64>,
    pub(super) gaps: Gaps,
    /// The number of the timer after which the client is told of what it may have missed.
    pub(super) telling: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    Asked,
    Granted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Subscribe,
    Unsubscribe,
}

#[derive(Debug)]
struct Sent {
    step: Step,
    uri: String,
    timer: TimerKey,
}

impl Listener {
    /// What it is to see of a change: the notification in its own name, or none. Of a part of a resource it hears as of the resource that it named.
    fn sees(&self, change: &Change, message: &Message) -> Option<Bytes> {
        let granted = self.granted.as_ref().filter(|_| self.acknowledged)?;
        if granted.covers(change) {
            return Some(notices::tagged(message, &self.id));
        }
        let Change::Updated(uri) = change else {
            return None;
        };
        let whole = granted
            .uris
            .iter()
            .find(|whole| notices::is_part_of(uri, whole))?;
        self.hears(&Change::Updated(whole.clone()))
    }

    /// Whether this change, or the change of a part of a resource, lies within what it was told
    /// that it hears of.
    pub(super) fn may_see(&self, change: &Change) -> bool {
        let granted = self.granted.as_ref().filter(|_| self.acknowledged);
        granted.is_some_and(|granted| {
            let of_part = |uri: &String| {
                granted
                    .uris
                    .iter()
                    .any(|whole| notices::is_part_of(uri, whole))
            };
            granted.covers(change) || matches!(change, Change::Updated(uri) if of_part(uri))
        })
    }

    /// A notification of this change in its own name.
    pub(super) fn hears(&self, change: &Change) -> Option<Bytes> {
        let message = Message::parse(change.notification()).ok()?;
        Some(notices::tagged(&message, &self.id))
    }
}

impl Listeners {
    pub(super) fn get(&self, id: &Id) -> Option<&Listener> {
        self.open.iter().find(|listener| listener.id == *id)
    }

    pub(super) fn get_mut(&mut self, id: &Id) -> Option<&mut Listener> {
        self.open.iter_mut().find(|listener| listener.id == *id)
    }

    /// Whether somebody wants to hear of this resource.
    fn wants(&self, uri: &str) -> bool {
        self.open.iter().any(|listener| {
            let granted = listener.granted.as_ref();
            granted.is_some_and(|granted| granted.uris.contains(uri))
                || listener.honoured.uris.contains(uri)
        })
    }

    /// The next step that overtakes none for the same resource.
    fn next_step(&mut self) -> Option<(Step, String)> {
        let busy: BTreeSet<&str> = self.sent.values().map(|sent| sent.uri.as_str()).collect();
        let at = self
            .queue
            .iter()
            .position(|(_, uri)| !busy.contains(uri.as_str()))?;
        self.queue.remove(at)
    }
}

impl Bridge {
    // Who listens.

    /// Notes that somebody listens under this id. `false`: the request was answered with an error.
    pub(super) fn enlist(&mut self, id: &Id) -> bool {
        if self.listeners.get(id).is_some() {
            return true;
        }
        let Some(entry) = self.ledger.get(id) else {
            return false;
        };
        if entry.batch.is_some() {
            let text = "\"subscriptions/listen\" must not be part of a batch";
            self.respond_error(id, INVALID_REQUEST.into(), text);
            return false;
        }
        if self.listeners.open.len() >= limits::LISTENERS {
            let limit = limits::LISTENERS;
            let text =
                format!("no more than {limit} subscriptions/listen can be open; end one first");
            let failure = Failure::new(Kind::LimitExceeded, Executed::No, text);
            self.fail(id, &failure);
            return false;
        }
        let id = entry.message.id().unwrap_or(id).clone();
        self.listeners.open.push(Listener {
            id,
            granted: None,
            honoured: Wanted::default(),
            awaited: BTreeSet::new(),
            acknowledged: false,
            deadline: None,
            gaps: Gaps::default(),
            telling: None,
        });
        true
    }

    /// A `subscriptions/listen` before a legacy server.
    pub(super) fn open_listener(&mut self, id: &Id) {
        let Some(entry) = self.ledger.get(id) else {
            return;
        };
        let Some(asked) = Wanted::read(entry.message.params()) else {
            let text = "mcp-bridge: \"notifications\" must be a filter of change notifications";
            return self.respond_error(id, errors::INVALID_PARAMS, text);
        };
        if !self.enlist(id) {
            return;
        }
        if let Some(entry) = self.ledger.get_mut(id) {
            entry.place = Place::Held;
        }
        let mut honoured = self.deliverable(&asked);
        let mut awaited = BTreeSet::new();
        let listeners = &mut self.listeners;
        honoured.uris.retain(|uri| {
            match listeners.watched.get(uri) {
                Some(Watch::Granted) => return true,
                Some(Watch::Asked) => {}
                None if listeners.watched.len() >= limits::SUBSCRIPTIONS => return false,
                None => {
                    listeners.watched.insert(uri.clone(), Watch::Asked);
                    listeners.queue.push_back((Step::Subscribe, uri.clone()));
                }
            }
            awaited.insert(uri.clone());
            true
        });
        let deadline = self.time_listener(id, limits::ACCEPTED);
        if let Some(listener) = self.listeners.get_mut(id) {
            (listener.honoured, listener.awaited) = (honoured, awaited);
            listener.deadline = Some(deadline);
        }
        self.acknowledge(id);
    }

    /// What the server tells of, of what is asked for.
    fn deliverable(&self, asked: &Wanted) -> Wanted {
        if !self.delivers_changes() {
            return Wanted::default();
        }
        let offered = self.upward.offered;
        let uris = offered.subscribe.then(|| asked.uris.clone());
        asked.intersection(&Wanted {
            tools: offered.tools_changed,
            prompts: offered.prompts_changed,
            resources: offered.resources_changed,
            uris: uris.unwrap_or_default(),
        })
    }

    /// Tells the client what it hears of, once that is known. An empty filter is kept open as well:
    /// clients ask again at once where it is closed.
    fn acknowledge(&mut self, id: &Id) {
        let Some(listener) = self.listeners.get_mut(id) else {
            return;
        };
        if !listener.awaited.is_empty() || listener.deadline.take().is_none() {
            return;
        }
        let honoured = std::mem::take(&mut listener.honoured);
        listener.acknowledged = true;
        if listener.granted.is_some() {
            return self.granted_again(id, &honoured);
        }
        let line = notices::acknowledged(&listener.id, &honoured);
        listener.granted = Some(honoured);
        self.line(line);
    }

    /// A request is over; if it was a `subscriptions/listen`, nobody listens under its id any more.
    pub(super) fn forget_listener(&mut self, id: &Id) {
        let listeners = &mut self.listeners;
        let Some(at) = listeners.open.iter().position(|known| known.id == *id) else {
            return;
        };
        let gone = listeners.open.swap_remove(at);
        let granted = gone.granted.unwrap_or_default().uris;
        for uri in granted.union(&gone.honoured.uris) {
            if listeners.wants(uri) {
                continue;
            }
            match listeners.watched.get(uri) {
                Some(Watch::Granted) => {
                    listeners.queue.push_back((Step::Unsubscribe, uri.clone()));
                }
                // Not asked yet, or the answer will find that nobody wants it.
                Some(Watch::Asked) => {}
                None => continue,
            }
            listeners.watched.remove(uri);
        }
    }

    /// Whether this is a `subscriptions/listen` that the client was told is open.
    pub(super) fn is_listening(&self, id: &Id) -> bool {
        let listener = self.listeners.get(id);
        listener.is_some_and(|listener| listener.granted.is_some())
    }

    /// Whether no request is open but such ones.
    pub(super) fn is_listening_only(&self) -> bool {
        let open = self.ledger.select(|_| true);
        open.iter().all(|id| self.is_listening(id))
    }

    /// How many exchanges are there for such requests alone.
    pub(super) fn listening(&self) -> usize {
        let in_exchange = |listener: &&Listener| {
            let entry = self.ledger.get(&listener.id);
            entry.is_some_and(|entry| matches!(entry.place, Place::Exchange(_)))
        };
        self.listeners.open.iter().filter(in_exchange).count()
    }

    // Changes.

    /// A notification of a legacy server, for whoever listens.
    pub(super) fn tell_listeners(&mut self, message: &Message) {
        if self.listeners.open.is_empty() {
            return;
        }
        if let Some(change) = Change::of(message) {
            let open = self.listeners.open.iter();
            let lines: Vec<Bytes> = open.filter_map(|one| one.sees(&change, message)).collect();
            for line in lines {
                self.line(line);
            }
        }
    }

    /// Tells whoever listens that this may have changed.
    fn tell_listeners_of(&mut self, change: &Change) {
        if let Ok(message) = Message::parse(change.notification()) {
            self.tell_listeners(&message);
        }
    }

    // Resources at the server.

    /// Sends what is to be asked of the server, a few requests at a time.
    pub(super) fn pump_listeners(&mut self) {
        while self.listeners.sent.len() < limits::WATCHES
            && matches!(self.link.phase, Phase::Open)
            && self.link.modern.is_none()
            && !self.authorizing.holds_traffic()
            && !self.is_ending()
        {
            let Some((step, uri)) = self.listeners.next_step() else {
                return;
            };
            let wanted = self.listeners.watched.contains_key(&uri);
            let method = match step {
                Step::Subscribe if wanted => "resources/subscribe",
                Step::Unsubscribe if !wanted && !self.client.subscriptions.contains_key(&uri) => {
                    "resources/unsubscribe"
                }
                Step::Subscribe | Step::Unsubscribe => continue,
            };
            let params = format!(r#"{{"uri":{}}}"#, quote(&uri));
            let id = self.send_own(method, Some(&params), Own::Watch);
            let timer = self.after(limits::ACCEPTED, Timer::Watch(id.clone()));
            self.listeners.sent.insert(id, Sent { step, uri, timer });
        }
    }

    /// The server has answered such a request, or will not.
    pub(super) fn on_watch_settled(&mut self, id: &Id, accepted: bool) {
        self.own.remove(id);
        let Some(Sent { step, uri, timer }) = self.listeners.sent.remove(id) else {
            return;
        };
        self.timers.remove(&timer);
        self.listeners.renewed.remove(&uri);
        if step == Step::Unsubscribe {
            return;
        }
        let listeners = &mut self.listeners;
        if accepted && !listeners.wants(&uri) {
            return listeners.queue.push_back((Step::Unsubscribe, uri));
        }
        if accepted {
            listeners.watched.insert(uri.clone(), Watch::Granted);
        } else {
            listeners.watched.remove(&uri);
        }
        let mut waited = Vec::new();
        for listener in &mut listeners.open {
            if listener.awaited.remove(&uri) {
                waited.push(listener.id.clone());
                if !accepted {
                    listener.honoured.uris.remove(&uri);
                }
            }
        }
        if accepted {
            // Whoever was told of it before may have missed something in between.
            self.tell_listeners_of(&Change::Updated(uri));
        }
        for id in waited {
            self.acknowledge(&id);
        }
    }

    /// Credentials were refused for such a request. Whether it is sent again with others, which is
    /// done once.
    pub(super) fn watch_refused(&mut self, id: &Id, exchange: &Exchange, head: &Head) -> bool {
        let refused = self.refusal(head);
        let listeners = &mut self.listeners;
        if refused.is_none()
            || !self.settings.credentials.may_be_renewed(0)
            || !listeners
                .sent
                .get(id)
                .is_some_and(|sent| listeners.renewed.insert(sent.uri.clone()))
        {
            return false;
        }
        self.own.remove(id);
        if let Some(Sent { step, uri, timer }) = listeners.sent.remove(id) {
            self.timers.remove(&timer);
            listeners.queue.push_front((step, uri));
        }
        self.authorize(exchange.authorizations, refused, "resources/subscribe");
        true
    }

    /// The legacy client on the same pipe has unsubscribed: who listens still wants to hear of it.
    pub(super) fn watch_on(&mut self, uri: &str) {
        if self.listeners.watched.contains_key(uri) {
            let step = (Step::Subscribe, uri.to_owned());
            self.listeners.queue.push_back(step);
        }
    }

    /// A session is open for traffic. If it is a new one, it knows nothing of what was asked of the
    /// one before, and what happened in between is lost.
    pub(super) fn listen_anew(&mut self) {
        let generation = self.link.generation;
        if std::mem::replace(&mut self.listeners.generation, generation) == generation {
            return;
        }
        self.forget_sent();
        let listeners = &mut self.listeners;
        listeners.queue.clear();
        for (uri, watch) in &mut listeners.watched {
            *watch = Watch::Asked;
            listeners.queue.push_back((Step::Subscribe, uri.clone()));
        }
        for list in [Change::Tools, Change::Prompts, Change::Resources] {
            self.tell_listeners_of(&list);
        }
    }

    fn forget_sent(&mut self) {
        self.listeners.renewed.clear();
        for (id, sent) in std::mem::take(&mut self.listeners.sent) {
            self.own.remove(&id);
            self.timers.remove(&sent.timer);
        }
    }

    // Time, and the end.

    pub(super) fn time_listener(&mut self, id: &Id, wait: std::time::Duration) -> u64 {
        self.serial += 1;
        let number = self.serial;
        self.after(wait, Timer::Listener(id.clone(), number));
        number
    }

    pub(super) fn on_listener_timer(&mut self, id: &Id, number: u64) {
        let is_with_modern = self.is_with_modern(id);
        let Some(listener) = self.listeners.get_mut(id) else {
            return;
        };
        if listener.telling == Some(number) {
            listener.telling = None;
            return self.tell_of_gap_to(id);
        }
        if listener.deadline != Some(number) {
            return;
        }
        if is_with_modern {
            return self.relay_silent(id);
        }
        let late = std::mem::take(&mut listener.awaited);
        listener.honoured.uris.retain(|uri| !late.contains(uri));
        let wants = |uri: &String| self.listeners.wants(uri);
        let unwanted: Vec<String> = late.into_iter().filter(|uri| !wants(uri)).collect();
        for uri in unwanted {
            self.listeners.watched.remove(&uri);
        }
        self.acknowledge(id);
    }

    /// Ends a subscription without an answer, as a server does that tears one down (MCP 2026-07-28,
    /// Cancellation).
    pub(super) fn end_listener(&mut self, id: &Id, reason: &str) {
        let Some(listener) = self.listeners.get(id) else {
            return;
        };
        let (id, reason) = (listener.id.clone(), quote(reason));
        let token = id.token();
        let text = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{token},"reason":{reason}}}}}"#
        );
        self.line(text.into());
        if let Some(entry) = self.strike(&id) {
            self.abandon(&entry);
        }
    }

    /// Ends a subscription as intended, if this is one that the client was told is open. Whether it
    /// is.
    pub(super) fn close_listener(&mut self, id: &Id) -> bool {
        let is_listening = self.is_listening(id);
        if let Some(listener) = self.listeners.get(id).filter(|_| is_listening) {
            let answer = notices::closed(&listener.id);
            self.respond(id, answer);
        }
        is_listening
    }

    /// The legacy server is lost for good.
    pub(super) fn listeners_lost(&mut self) {
        for id in self.listeners_upward() {
            self.end_listener(&id, "the connection to the server was lost");
        }
    }

    /// The server turned out to be a modern one: it is asked itself.
    pub(super) fn listeners_to_modern(&mut self) {
        for id in self.listeners_upward() {
            if let Some(listener) = self.listeners.get_mut(&id) {
                listener.gaps.begin();
                listener.acknowledged = false;
                listener.awaited.clear();
                listener.honoured = Wanted::default();
                listener.deadline = None;
            }
            let upstream = self.own_id();
            self.ledger.mint(&id, upstream);
            self.park_request(&id);
        }
        self.forget_sent();
        self.listeners.queue.clear();
        self.listeners.watched.clear();
    }

    /// Those that are made from what a legacy server tells.
    fn listeners_upward(&self) -> Vec<Id> {
        let open = self.listeners.open.iter();
        open.filter(|listener| {
            let entry = self.ledger.get(&listener.id);
            entry.is_some_and(|entry| entry.place == Place::Held)
        })
        .map(|listener| listener.id.clone())
        .collect()
    }
}
