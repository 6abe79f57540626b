//! Which requests of the client are open, so that each is answered exactly once.
//!
//! In: open requests, the ids they have at the server, and batches. Out: how they are sent and
//! answered (`bridge/`).

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::Ticket;
use super::era::Era;
use super::era::meta::Stated;
use super::limits;
use super::message::{Id, Message};

/// Requests that wait for their answer, by the client's id.
#[derive(Debug, Default)]
pub struct Ledger {
    open: HashMap<Id, Entry>,
    upstream: HashMap<Id, Id>,
    /// Ids at the server of requests that were given up, the oldest first.
    given_up: VecDeque<Id>,
    batches: HashMap<u64, Batch>,
    next_batch: u64,
}

/// One open request.
#[derive(Debug)]
pub struct Entry {
    /// The request as the client sent it.
    pub message: Message,
    /// What it says of itself, if it belongs to the modern era.
    pub stated: Option<Box<Stated>>,
    /// How it was last sent.
    pub via: Via,
    /// The id it has at the server, where that is not the client's.
    pub upstream: Option<Id>,
    /// Where it stands.
    pub place: Place,
    /// The session it was last sent in.
    pub generation: u32,
    /// How often it was sent again after an answer that left open whether it ran.
    pub repeats: u32,
    /// How often it was sent again because the server was busy.
    pub busy: u32,
    /// How often it was sent again because the server could not be reached.
    pub unreachable: usize,
    /// It was the first request sent in that session.
    pub first_in_session: bool,
    /// How often it was sent again because its session was gone before anything ran in it.
    pub sessions: u32,
    /// Whether the server was looked at anew for it.
    pub detected_again: bool,
    /// How often other credentials were got for it.
    pub authorizations: u32,
    /// The batch it came in.
    pub batch: Option<u64>,
}

impl Entry {
    /// The era of the request itself.
    #[must_use]
    pub fn era(&self) -> Era {
        match self.stated {
            Some(_) => Era::Modern,
            None => Era::Legacy,
        }
    }
}

/// How a request was sent, and so what is done to its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// In the era it was made in, legacy on both sides.
    #[default]
    Legacy,
    /// In the era it was made in, modern on both sides.
    Modern,
    /// A legacy request to a modern server.
    ToModern,
    /// A modern request to a legacy server.
    ToLegacy,
}

impl Via {
    /// The era of the server it was sent to.
    #[must_use]
    pub fn server(self) -> Era {
        match self {
            Self::Legacy | Self::ToLegacy => Era::Legacy,
            Self::Modern | Self::ToModern => Era::Modern,
        }
    }
}

/// Where an open request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Waiting to be sent.
    Parked,
    /// Waiting for something that the bridge itself sees to: the client's answers to questions, the
    /// next look at a task, changes to tell of.
    Held,
    /// In the exchange with this ticket.
    Exchange(Ticket),
    /// Accepted by the server; the answer comes on a stream that belongs to no exchange of its
    /// own (HTTP+SSE, or a Streamable HTTP server that answered 202).
    Elsewhere,
    /// Waiting for the timer with this number: to be repeated, or to be given up.
    Waiting(u64),
}

#[derive(Debug, Default)]
struct Batch {
    open: usize,
    answers: Vec<Bytes>,
}

impl Ledger {
    /// Enters a request. `false` if its id is open already; nothing changes then.
    pub fn enter(
        &mut self,
        message: Message,
        stated: Option<Box<Stated>>,
        batch: Option<u64>,
    ) -> bool {
        let Some(id) = message.id().cloned() else {
            return false;
        };
        if self.open.contains_key(&id) {
            return false;
        }
        let entry = Entry {
            message,
            stated,
            via: Via::default(),
            upstream: None,
            place: Place::Parked,
            generation: 0,
            repeats: 0,
            busy: 0,
            unreachable: 0,
            first_in_session: false,
            sessions: 0,
            detected_again: false,
            authorizations: 0,
            batch,
        };
        self.open.insert(id, entry);
        if let Some(batch) = batch.and_then(|number| self.batches.get_mut(&number)) {
            batch.open += 1;
        }
        true
    }

    /// Gives a request another id at the server, since it is sent there once more.
    pub fn mint(&mut self, id: &Id, upstream: Id) {
        if let Some(entry) = self.open.get_mut(id) {
            if let Some(old) = entry.upstream.replace(upstream.clone()) {
                self.upstream.remove(&old);
            }
            self.upstream.insert(upstream, id.clone());
        }
    }

    /// Gives an open request another id, under which nobody has asked; the server knows it as
    /// before. Whether there was such a request and the new id was free.
    pub fn rename(&mut self, id: &Id, new: Id) -> bool {
        if self.open.contains_key(&new) {
            return false;
        }
        let Some(mut entry) = self.open.remove(id) else {
            return false;
        };
        let upstream = entry.upstream.get_or_insert_with(|| id.clone()).clone();
        self.upstream.insert(upstream, new.clone());
        self.open.insert(new, entry);
        true
    }

    /// Lets the request under `id` go on in place of the one under `by`, which asks for the same
    /// and was not sent: the server knows it as before, the client by the newer id and `message`.
    /// Whether both are open.
    pub fn take_up(&mut self, id: &Id, by: &Id, message: Message) -> bool {
        if id == by || !self.open.contains_key(id) {
            return false;
        }
        let Some(newer) = self.strike(by) else {
            return false;
        };
        if let Some(entry) = self.open.get_mut(id) {
            entry.message = message;
            entry.stated = newer.stated;
            entry.batch = newer.batch;
        }
        self.rename(id, by.clone())
    }

    /// The server was told that nobody waits for what it knows by this id any more. It may answer
    /// nevertheless.
    pub fn give_up(&mut self, upstream: &Id) {
        if upstream.token().len() > limits::QUESTION_ID {
            return;
        }
        if self.given_up.len() >= limits::GIVEN_UP {
            self.given_up.pop_front();
        }
        self.given_up.push_back(upstream.detached());
    }

    /// Whether the server knows an open request under this id that the client calls otherwise, or
    /// may yet answer one that was given up.
    #[must_use]
    pub fn is_upstream(&self, id: &Id) -> bool {
        self.upstream.contains_key(id) || self.given_up.contains(id)
    }

    /// The client's id for an id that the server used.
    #[must_use]
    pub fn resolve(&self, upstream: &Id) -> Option<&Id> {
        if let Some(id) = self.upstream.get(upstream) {
            return Some(id);
        }
        let (id, entry) = self.open.get_key_value(upstream)?;
        entry.upstream.is_none().then_some(id)
    }

    /// The open request with this id of the client.
    #[must_use]
    pub fn get(&self, id: &Id) -> Option<&Entry> {
        self.open.get(id)
    }

    /// As [`Ledger::get`].
    pub fn get_mut(&mut self, id: &Id) -> Option<&mut Entry> {
        self.open.get_mut(id)
    }

    /// Whether an open request waits for a timer.
    #[must_use]
    pub fn is_waiting(&self, id: &Id) -> bool {
        let entry = self.open.get(id);
        entry.is_some_and(|entry| matches!(entry.place, Place::Waiting(_)))
    }

    /// Strikes a request out: it was answered, or it was cancelled.
    pub fn strike(&mut self, id: &Id) -> Option<Entry> {
        let entry = self.open.remove(id)?;
        if let Some(upstream) = &entry.upstream {
            self.upstream.remove(upstream);
        }
        Some(entry)
    }

    /// Ids of the open requests that match.
    pub fn select(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Id> {
        self.open
            .iter()
            .filter(|(_, entry)| wanted(entry))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Starts a batch; the requests that follow name it, up to [`finish_batch`](Self::finish_batch).
    pub fn start_batch(&mut self) -> u64 {
        self.next_batch += 1;
        let unread = Batch {
            open: 1,
            answers: Vec::new(),
        };
        self.batches.insert(self.next_batch, unread);
        self.next_batch
    }

    /// Notes one answer of a batch, or that a request of it gets none. Returns the whole answer
    /// once no request of the batch is open.
    pub fn settle(&mut self, number: u64, answer: Option<Bytes>) -> Option<Bytes> {
        let batch = self.batches.get_mut(&number)?;
        batch.open = batch.open.saturating_sub(1);
        batch.answers.extend(answer);
        self.whole_batch(number)
    }

    /// Adds an answer that belongs to no entry, such as an error for an element that is no
    /// request.
    pub fn add_to_batch(&mut self, number: u64, answer: Bytes) {
        if let Some(batch) = self.batches.get_mut(&number) {
            batch.answers.push(answer);
        }
    }

    /// Everything in the batch was read. Returns the whole answer if no request of it is open and
    /// there is anything to say.
    pub fn finish_batch(&mut self, number: u64) -> Option<Bytes> {
        self.settle(number, None)
    }

    fn whole_batch(&mut self, number: u64) -> Option<Bytes> {
        if self.batches.get(&number)?.open > 0 {
            return None;
        }
        let answers = self.batches.remove(&number)?.answers;
        if answers.is_empty() {
            return None;
        }
        let mut text = b"[".to_vec();
        for (index, answer) in answers.iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            text.extend_from_slice(answer);
        }
        text.push(b']');
        Some(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str) -> Message {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m"}}"#);
        Message::parse(text.into()).unwrap()
    }

    fn id(raw: &str) -> Id {
        Id::from_raw(raw).unwrap()
    }

    #[test]
    fn t13_an_id_is_open_once() {
        let mut ledger = Ledger::default();
        assert!(ledger.enter(request("7"), None, None));
        assert!(!ledger.enter(request("7.0"), None, None));
        assert!(ledger.enter(request("\"7\""), None, None));
        assert!(ledger.strike(&id("7")).is_some());
        assert!(ledger.strike(&id("7")).is_none());
        assert!(ledger.enter(request("7"), None, None));
    }

    #[test]
    fn a_minted_id_replaces_the_clients_at_the_server() {
        let mut ledger = Ledger::default();
        ledger.enter(request("1"), None, None);
        assert_eq!(ledger.resolve(&id("1")), Some(&id("1")));
        ledger.mint(&id("1"), Id::text("mb-1"));
        assert_eq!(ledger.resolve(&id("1")), None);
        ledger.mint(&id("1"), Id::text("mb-2"));
        assert_eq!(ledger.resolve(&Id::text("mb-1")), None);
        assert_eq!(ledger.resolve(&Id::text("mb-2")), Some(&id("1")));
        ledger.strike(&id("1"));
        assert_eq!(ledger.resolve(&Id::text("mb-2")), None);
    }

    #[test]
    fn the_latest_ids_that_were_given_up_are_kept_apart() {
        let mut ledger = Ledger::default();
        for number in 0..=limits::GIVEN_UP {
            ledger.give_up(&id(&number.to_string()));
        }
        assert!(!ledger.is_upstream(&id("0")));
        assert!(ledger.is_upstream(&id("1.0")) && ledger.is_upstream(&id("256")));
        let long = Id::text(&"x".repeat(limits::QUESTION_ID));
        ledger.give_up(&long);
        assert!(!ledger.is_upstream(&long));
    }

    #[test]
    fn t144_a_request_goes_on_under_the_id_of_a_later_one() {
        let mut ledger = Ledger::default();
        ledger.enter(request("3"), None, None);
        assert!(ledger.rename(&id("3"), Id::text("mb-1")));
        assert!(!ledger.rename(&id("3"), Id::text("mb-2")));
        assert_eq!(ledger.resolve(&id("3")), Some(&Id::text("mb-1")));
        assert!(ledger.enter(request("3"), None, None));
        assert!(ledger.is_upstream(&id("3")));
        ledger.mint(&id("3"), Id::text("mb-3"));
        assert!(!ledger.take_up(&Id::text("mb-1"), &id("4"), request("4")));
        ledger.enter(request("4"), None, None);
        assert!(ledger.take_up(&Id::text("mb-1"), &id("4"), request("4")));
        assert_eq!(ledger.resolve(&id("3")), Some(&id("4")));
        assert_eq!(ledger.resolve(&Id::text("mb-3")), Some(&id("3")));
        assert_eq!(ledger.get(&id("4")).unwrap().message.id(), Some(&id("4")));
        ledger.strike(&id("4"));
        assert!(!ledger.is_upstream(&id("3")) && ledger.get(&id("3")).is_some());
    }

    #[test]
    fn a_batch_answers_when_its_last_request_is_settled() {
        let mut ledger = Ledger::default();
        let batch = ledger.start_batch();
        ledger.enter(request("1"), None, Some(batch));
        ledger.enter(request("2"), None, Some(batch));
        ledger.enter(request("3"), None, Some(batch));
        ledger.add_to_batch(batch, Bytes::from_static(b"0"));
        assert_eq!(ledger.finish_batch(batch), None);
        assert_eq!(ledger.settle(batch, Some(Bytes::from_static(b"2"))), None);
        assert_eq!(ledger.settle(batch, None), None);
        assert_eq!(
            ledger
                .settle(batch, Some(Bytes::from_static(b"1")))
                .unwrap(),
            "[0,2,1]"
        );
        assert_eq!(ledger.settle(batch, None), None);
        let empty = ledger.start_batch();
        assert_eq!(ledger.finish_batch(empty), None);
    }
}
