//! Notifications and responses of the client on their way to the server, one after the other.
//!
//! In: their order, and what each answer means. Out: `notifications/initialized`, which is part of
//! the handshake.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::to_modern::passes_to_modern;
use super::{Bridge, Exchange, Phase, Purpose, Timer};
use crate::proto::classify;
use crate::proto::message::{Kind, Message};
use crate::proto::retry;
use crate::proto::{Body, Head, Level, Ticket, Trouble, limits, text};

/// Tries for one message.
pub(super) const TRIES: u32 = 3;

/// What waits to be sent. The front is on its way while `sending` is set.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Post>,
    bytes: usize,
    sending: Option<Ticket>,
    /// The front waits before it is tried again.
    resting: bool,
}

#[derive(Debug)]
struct Post {
    message: Message,
    /// A cancellation follows the request it cancels, and ends its exchange.
    cancels: Option<Ticket>,
    generation: u32,
    tries: u32,
}

impl Outbox {
    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many messages wait.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether one waits that belongs to this session.
    pub(super) fn has_of(&self, generation: u32) -> bool {
        self.queue.iter().any(|post| post.generation == generation)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn push(&mut self, post: Post) {
        self.bytes += post.message.text().len() + limits::PARKED_EACH;
        self.queue.push_back(post);
    }

    fn pop(&mut self) -> Option<Post> {
        let post = self.queue.pop_front()?;
        self.bytes -= post.message.text().len() + limits::PARKED_EACH;
        self.sending = None;
        self.resting = false;
        Some(post)
    }
}

impl Bridge {
    /// Queues a notification of the client.
    pub(super) fn post_note(&mut self, note: &Message) {
        if note.method() == "notifications/initialized" {
            self.send_initialized(note);
        } else if self.link.modern.is_none() || passes_to_modern(note) {
            self.enqueue(note.clone(), None, self.link.generation);
        }
    }

    /// Queues the cancellation of a request that is (or was) in this exchange.
    pub(super) fn post_cancellation(
        &mut self,
        note: Bytes,
        cancels: Option<Ticket>,
        generation: u32,
    ) {
        if let Ok(message) = Message::parse(note) {
            self.enqueue(message, cancels, generation);
        }
    }

    /// Queues an answer to a question that the server asked in this session.
    pub(super) fn post_reply(&mut self, reply: Bytes, generation: u32) {
        if let Ok(message) = Message::parse(reply) {
            self.enqueue(message, None, generation);
        }
    }

    fn enqueue(&mut self, message: Message, cancels: Option<Ticket>, generation: u32) {
        self.outbox.push(Post {
            message,
            cancels,
            generation,
            tries: 0,
        });
    }

    /// Sends the next one, once the one before it was accepted.
    pub(super) fn pump_outbox(&mut self) {
        while matches!(self.link.phase, Phase::Open)
            && !self.authorizing.holds_traffic()
            && self.outbox.sending.is_none()
            && !self.outbox.resting
        {
            let Some(front) = self.outbox.queue.front() else {
                return;
            };
            let generation = front.generation;
            if self.is_gone(generation)
                && front.message.method() != "notifications/roots/list_changed"
            {
                // It was about a request or a question of a session that is gone.
                self.finish_front();
                continue;
            }
            let (message, cancels) = (front.message.clone(), front.cancels);
            let body = message.text().clone();
            let mut request = match &self.link.modern {
                Some(modern) => self.post_modern(&message, body, &modern.version),
                None => self.post(&message, body),
            };
            if let Some(retired) = self.retired_request(generation, &request) {
                request = retired;
            }
            request.after = cancels;
            let ticket = self.start(Purpose::Post, request);
            if self.is_retired(generation)
                && let Some(exchange) = self.exchanges.get_mut(&ticket)
            {
                exchange.generation = generation;
            }
            self.outbox.sending = Some(ticket);
            self.time_exchange(ticket, limits::ACCEPTED, Timer::Posted(ticket));
        }
    }

    pub(super) fn on_post_answer(
        &mut self,
        ticket: Ticket,
        exchange: Exchange,
        head: &Head,
        body: &Body,
    ) {
        if self.outbox.sending != Some(ticket) {
            return;
        }
        if exchange.in_session
            && classify::session_is_lost(head, &body.bytes)
            && self.lose_session(exchange.generation)
        {
            self.retired_lost(exchange.generation);
            self.outbox.sending = None;
            return;
        }
        let refused = self.refusal(head);
        if refused.is_some() && self.settings.credentials.may_be_renewed(0) && self.keep_front() {
            let method = self.front_name();
            return self.authorize(exchange.authorizations, refused, &method);
        }
        if classify::is_transient(head.status) {
            let wait = retry::retry_after(head).unwrap_or(retry::REPEAT);
            return self.try_front_again(wait, &classify::describe(head, body));
        }
        let method = self.front_name();
        if head.is_success() {
            self.dispatch_body(ticket, exchange, body);
        } else {
            let what = classify::describe(head, body);
            self.say(Level::Warn, format!("{method}: {what}"));
        }
        self.finish_front();
    }

    /// A notification whose POST is answered with a stream: the stream is read to its end beside
    /// what follows.
    pub(super) fn on_post_streams(&mut self, ticket: Ticket) {
        self.drain(ticket);
        if self.outbox.sending == Some(ticket) {
            self.finish_front();
        }
    }

    pub(super) fn on_post_failed(&mut self, trouble: &Trouble) {
        self.try_front_again(retry::REPEAT, &trouble.text);
    }

    pub(super) fn on_outbox_rested(&mut self) {
        self.outbox.resting = false;
    }

    /// The server takes its time over one: the next goes out.
    pub(super) fn on_post_timeout(&mut self, ticket: Ticket) {
        self.drain(ticket);
        if self.outbox.sending == Some(ticket) {
            self.finish_front();
        }
    }

    /// Reads what else comes in this exchange, for a while.
    pub(super) fn drain(&mut self, ticket: Ticket) {
        self.repurpose(ticket, Purpose::Drain);
        self.time_exchange(ticket, limits::DRAIN, Timer::Linger(ticket));
    }

    fn try_front_again(&mut self, wait: Duration, why: &str) {
        self.outbox.sending = None;
        let Some(front) = self.outbox.queue.front_mut() else {
            return;
        };
        front.tries += 1;
        if front.tries >= TRIES {
            let method = self.front_name();
            self.say(
                Level::Warn,
                format!("{method} could not be delivered: {why}"),
            );
            self.finish_front();
            return;
        }
        self.outbox.resting = true;
        self.after(wait, Timer::OutboxRested);
    }

    /// Keeps the front to be sent again with other credentials, unless it was tried before.
    fn keep_front(&mut self) -> bool {
        let front = self.outbox.queue.front_mut();
        let Some(front) = front.filter(|front| front.tries == 0) else {
            return false;
        };
        front.tries = 1;
        self.outbox.sending = None;
        true
    }

    fn finish_front(&mut self) {
        if let Some(ticket) = self.outbox.pop().and_then(|post| post.cancels) {
            self.cancel_exchange(ticket);
        }
    }

    fn front_name(&self) -> String {
        match self.outbox.queue.front() {
            Some(post) if post.message.kind() == Kind::Response => "a response".to_owned(),
            Some(post) => text::sanitize(post.message.method(), 80),
            None => String::new(),
        }
    }
}
