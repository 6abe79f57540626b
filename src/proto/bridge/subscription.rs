//! Changes that a modern server tells of, for a legacy client: `subscriptions/listen` in its place
//! (MCP 2026-07-28, Subscriptions).
//!
//! In: one stream that covers the lists the server tells of and the resources the client has
//! subscribed to; a new one replaces it before it is closed. Out: the requests that subscribe
//! (`subscribers`), a modern client's own streams (`relay`), when a broken one is opened again
//! (`gaps`).

use std::collections::BTreeSet;
use std::time::Duration;

use super::gaps::Gaps;
use super::subscribers::Pending;
use super::{Bridge, Exchange, Phase, Purpose, Timer};
use crate::proto::classify::{self, Content};
use crate::proto::era::errors;
use crate::proto::era::notices::{self, Change, Wanted};
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::message::{Id, Message};
use crate::proto::{Body, Head, Ticket, limits, text};

/// Streams that end unacknowledged before a `resources/subscribe` that waits for them fails.
const TRIES: u32 = 2;

/// The stream of changes.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    /// Whose changes are passed on.
    current: Option<Stream>,
    /// The one that takes its place as soon as it is acknowledged.
    next: Option<Stream>,
    /// What the client is to hear of may differ from what is asked for.
    stale: bool,
    /// Resources of the client that the server refused to tell of, and everything else with them.
    refused: BTreeSet<String>,
    pub(super) state: State,
    /// A stream was acknowledged once.
    known: bool,
    /// Requests that wait for an acknowledgement.
    pub(super) pending: Vec<Pending>,
    /// How often other credentials were got for it.
    pub(super) authorizations: u32,
    gaps: Gaps,
    /// The timer after which the client is told of what it may have missed.
    telling: Option<u64>,
}

/// Whether a stream may be opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Ready,
    /// Not before the timer with this number.
    Resting(u64),
    /// Not without other credentials.
    Refused,
    /// The server offers none.
    Off,
}

#[derive(Debug)]
struct Stream {
    ticket: Ticket,
    id: Id,
    asked: Wanted,
    granted: Wanted,
    /// The number of the timer that gives it up unacknowledged.
    deadline: u64,
}

impl Subscription {
    fn is_current(&self, ticket: Ticket) -> bool {
        matches!(&self.current, Some(stream) if stream.ticket == ticket)
    }

    fn is_next(&self, ticket: Ticket) -> bool {
        matches!(&self.next, Some(stream) if stream.ticket == ticket)
    }

    fn find(&self, wanted: impl Fn(&Stream) -> bool) -> Option<&Stream> {
        let mut streams = self.current.iter().chain(&self.next);
        streams.find(|stream| wanted(stream))
    }
}

impl Bridge {
    // What is asked for.

    /// What the client is to hear of may have changed: the stream is opened, replaced or closed.
    pub(super) fn refresh_subscription(&mut self) {
        self.subscription.stale = true;
    }

    /// Does what [`refresh_subscription`](Self::refresh_subscription) found to be due. One stream
    /// at a time is opened; what changes meanwhile goes into the next.
    pub(super) fn pump_subscription(&mut self) {
        if !self.subscription.stale
            || self.subscription.next.is_some()
            || self.subscription.state != State::Ready
            || self.link.modern.is_none()
            || !matches!(self.link.phase, Phase::Open)
            || (!self.client.initialized && self.subscription.pending.is_empty())
            || self.authorizing.holds_traffic()
            || self.is_verifying()
            || self.is_ending()
        {
            return;
        }
        self.subscription.stale = false;
        let wanted = self.wanted_changes();
        let current = self.subscription.current.as_ref();
        if current.is_some_and(|current| current.asked == wanted) {
            return self.answer_covered();
        }
        if !wanted.is_empty() {
            return self.open_subscription(wanted);
        }
        if let Some(current) = self.subscription.current.take() {
            self.cancel_exchange(current.ticket);
        }
    }

    /// What was refused is asked for beside an open stream and for nobody who waits, unless there
    /// is nothing else to ask for: it takes nothing with it.
    fn wanted_changes(&self) -> Wanted {
        let modern = self.link.modern.as_ref();
        let offered = modern.map(|modern| modern.offered).unwrap_or_default();
        let subscription = &self.subscription;
        let subscribed = self.client.subscriptions.keys();
        let mut wanted = Wanted {
            tools: offered.tools_changed,
            prompts: offered.prompts_changed,
            resources: offered.resources_changed,
            uris: subscription
                .pending
                .iter()
                .map(|pending| pending.uri.clone())
                .collect(),
        };
        let accepted = |uri: &&String| !subscription.refused.contains(*uri);
        wanted
            .uris
            .extend(subscribed.clone().filter(accepted).cloned());
        let is_beside = subscription.current.is_some() && subscription.pending.is_empty();
        if is_beside || wanted.is_empty() {
            wanted.uris.extend(subscribed.cloned());
        }
        wanted
    }

    fn open_subscription(&mut self, asked: Wanted) {
        let (name, filter) = asked.member();
        let Some(params) = self.stamped(None, &[(name, &filter)]) else {
            return;
        };
        let id = self.own_id();
        let token = id.token();
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":{token},"method":"subscriptions/listen","params":{params}}}"#
        );
        let (Ok(message), Some(modern)) = (Message::parse(text.into()), &self.link.modern) else {
            return;
        };
        let request = self.post_modern(&message, message.text().clone(), &modern.version);
        let ticket = self.start(Purpose::Subscription, request);
        self.serial += 1;
        let deadline = self.serial;
        self.time_exchange(ticket, limits::ACKNOWLEDGED, Timer::Subscription(deadline));
        self.subscription.next = Some(Stream {
            ticket,
            id,
            asked,
            granted: Wanted::default(),
            deadline,
        });
    }

    /// The server is not modern any more, or is asked anew what it is.
    pub(super) fn drop_subscription(&mut self) {
        let dropped = std::mem::take(&mut self.subscription);
        for stream in dropped.current.iter().chain(&dropped.next) {
            self.cancel_exchange(stream.ticket);
        }
        for pending in dropped.pending {
            self.park_request(&pending.id);
        }
    }

    // What comes on a stream.

    pub(super) fn on_subscription_notice(&mut self, ticket: Ticket, message: &Message) {
        let stream = self.subscription.find(|stream| stream.ticket == ticket);
        let Some(id) = stream.map(|stream| stream.id.clone()) else {
            return;
        };
        let named = notices::subscription(message);
        if named.is_some_and(|named| named != id) {
            self.debug(|| "a change for another subscription: dropped".into());
            return;
        }
        match message.method() {
            "notifications/subscriptions/acknowledged" => self.on_acknowledged(ticket, message),
            "notifications/cancelled" if notices::cancels(message, &id) => {
                self.end_subscription(ticket);
            }
            "notifications/cancelled" | "notifications/message" | "notifications/progress" => {}
            _ if self.subscription.is_current(ticket) => self.tell_legacy_client(message),
            method => {
                let method = text::sanitize(method, 80);
                self.debug(|| format!("{method} before the acknowledgement: dropped"));
            }
        }
    }

    /// The new stream takes the place of the one before.
    fn on_acknowledged(&mut self, ticket: Ticket, message: &Message) {
        if !self.subscription.is_next(ticket) {
            return;
        }
        let Some(mut stream) = self.subscription.next.take() else {
            return;
        };
        let exchange = self.exchanges.get_mut(&ticket);
        if let Some(timer) = exchange.and_then(|exchange| exchange.timer.take()) {
            self.timers.remove(&timer);
        }
        let granted = Wanted::read(message.params()).unwrap_or_default();
        stream.granted = granted.intersection(&stream.asked);
        self.answer_pending(&mut stream);
        let refused = &mut self.subscription.refused;
        let count = refused.len();
        refused.retain(|uri| !stream.asked.uris.contains(uri));
        if refused.len() < count {
            self.subscription.gaps.begin();
        }
        self.subscription.authorizations = 0;
        self.subscription.known = true;
        let before = self.subscription.current.replace(stream);
        if let Some(before) = before {
            self.cancel_exchange(before.ticket);
        }
        self.refresh_subscription();
        self.tell_of_gap();
    }

    /// Answers the requests whose resources were asked for with this stream.
    fn answer_pending(&mut self, stream: &mut Stream) {
        for pending in self.take_pending(|pending| stream.asked.uris.contains(&pending.uri)) {
            if stream.granted.uris.contains(&pending.uri) {
                let Pending { uri, params, .. } = pending;
                self.client.subscriptions.insert(uri, params);
                self.respond_with(&pending.id, "result", "{}");
            } else {
                stream.asked.uris.remove(&pending.uri);
                let text = "mcp-bridge: the server tells of no changes to this resource";
                self.respond_error(&pending.id, errors::INVALID_PARAMS, text);
            }
        }
    }

    /// The open stream is all that is wanted: it may still have what the client gave up before it
    /// asked anew.
    fn answer_covered(&mut self) {
        if let Some(mut stream) = self.subscription.current.take() {
            self.answer_pending(&mut stream);
            self.subscription.current = Some(stream);
        }
    }

    fn tell_legacy_client(&mut self, message: &Message) {
        if Change::of(message).is_none_or(|change| self.client_knows(&change)) {
            self.line_when_initialized(notices::untagged(message), false);
        }
    }

    /// Whether the client was promised to hear of such a change.
    fn client_knows(&self, change: &Change) -> bool {
        let lists = &self.client.list_changed;
        match change {
            Change::Tools => lists.contains(&"tools"),
            Change::Prompts => lists.contains(&"prompts"),
            Change::Resources => lists.contains(&"resources"),
            Change::Updated(uri) => {
                let mut subscribed = self.client.subscriptions.keys();
                subscribed.any(|subscribed| notices::is_part_of(uri, subscribed))
            }
        }
    }

    /// Changes in the time without a stream are lost: the client is told that there may have been
    /// any.
    fn tell_of_gap(&mut self) {
        let Some(wait) = self.subscription.gaps.end(self.now) else {
            return;
        };
        if !wait.is_zero() {
            if self.subscription.telling.is_none() {
                self.subscription.telling = Some(self.time_subscription(wait));
            }
            return;
        }
        let current = self.subscription.current.as_ref();
        let granted = current.map(|current| current.granted.clone());
        for change in granted.unwrap_or_default().changes() {
            if change == Change::Tools {
                self.forget_tools();
            }
            if self.client_knows(&change) {
                self.line_when_initialized(change.notification(), false);
            }
        }
    }

    // The end of a stream.

    /// A response with this id that answers one of the streams. Whether it does.
    pub(super) fn ends_subscription(&mut self, id: &Id, response: &Message) -> bool {
        let stream = self.subscription.find(|stream| stream.id == *id);
        let Some(ticket) = stream.map(|stream| stream.ticket) else {
            return false;
        };
        if response.error().is_some() {
            self.refuse_pending(ticket, response);
        }
        self.end_subscription(ticket);
        true
    }

    fn end_subscription(&mut self, ticket: Ticket) {
        if let Some(exchange) = self.exchanges.get(&ticket) {
            let lived = self.now.saturating_duration_since(exchange.since);
            self.cancel_exchange(ticket);
            self.subscription_over(ticket, lived);
        }
    }

    pub(super) fn on_subscription_ended(&mut self, ticket: Ticket, exchange: &Exchange) {
        let lived = self.now.saturating_duration_since(exchange.since);
        self.subscription_over(ticket, lived);
    }

    pub(super) fn on_subscription_refused(
        &mut self,
        ticket: Ticket,
        exchange: &Exchange,
        head: &Head,
        body: &Body,
    ) {
        if !self.subscription.is_next(ticket) {
            return;
        }
        let refused = self.refusal(head);
        let authorizations = self.subscription.authorizations;
        if refused.is_some() && self.settings.credentials.may_be_renewed(authorizations) {
            self.subscription.authorizations += 1;
            self.subscription_over(ticket, Duration::ZERO);
            self.subscription.state = State::Refused;
            self.authorize(exchange.authorizations, refused, "subscriptions/listen");
            if !self.authorizing.is_under_way() {
                self.subscription_authorized();
            }
            return;
        }
        if head.status == 401 {
            let failure = self.unauthorized(head, body);
            let what = &failure.text;
            self.debug(|| format!("subscriptions/listen was refused: {what}"));
            self.subscription.state = State::Refused;
            self.subscription_not_authorized(&failure);
            return self.subscription_over(ticket, Duration::ZERO);
        }
        match classify::content(&body.bytes) {
            Content::Rpc(messages) => {
                for message in messages.iter().filter(|message| message.error().is_some()) {
                    self.refuse_pending(ticket, message);
                }
            }
            _ if matches!(head.status, 404 | 405 | 501) && !self.subscription.known => {
                let what = classify::describe(head, body);
                return self.no_subscription(&what, |bridge, id| {
                    bridge.respond_error(id, errors::METHOD_NOT_FOUND, "Method not found");
                });
            }
            _ => {}
        }
        self.subscription_over(ticket, Duration::ZERO);
    }

    /// The server's own error for what is asked for. It is laid to what is newly asked for; if
    /// nothing is, to whatever the open stream does not have.
    fn refuse_pending(&mut self, ticket: Ticket, response: &Message) {
        let error = response.error().unwrap_or("{}");
        let current = self.subscription.current.as_ref();
        let is_beside = current.is_some_and(|current| current.ticket != ticket);
        if response.error_code() == Some(errors::METHOD_NOT_FOUND) && !is_beside {
            return self.no_subscription("Method not found", |bridge, id| {
                bridge.respond_with(id, "error", error);
            });
        }
        let what = response.error_text();
        self.debug(|| format!("subscriptions/listen was refused: {what}"));
        let Some(next) = self.subscription.next.take_if(|next| next.ticket == ticket) else {
            return;
        };
        let waiting = self.take_pending(|pending| next.asked.uris.contains(&pending.uri));
        if waiting.is_empty() {
            let current = self.subscription.current.as_ref();
            let has = |uri: &&String| current.is_some_and(|open| open.asked.uris.contains(*uri));
            let subscribed = self.client.subscriptions.keys();
            self.subscription.refused = subscribed.filter(|uri| !has(uri)).cloned().collect();
        }
        for pending in waiting {
            self.respond_with(&pending.id, "error", error);
        }
        self.subscription.next = Some(next);
    }

    /// The server does not tell of changes: it is not asked again.
    fn no_subscription(&mut self, why: &str, answer: impl Fn(&mut Self, &Id)) {
        self.debug(|| format!("the server offers no stream of changes: {why}"));
        self.subscription.state = State::Off;
        self.subscription.next = None;
        for pending in self.take_pending(|_| true) {
            answer(self, &pending.id);
        }
    }

    /// A stream is over, or never was one; it lived this long.
    fn subscription_over(&mut self, ticket: Ticket, lived: Duration) {
        let subscription = &mut self.subscription;
        let lived = if subscription.is_current(ticket) {
            subscription.current = None;
            Some(lived)
        } else if subscription.is_next(ticket) {
            let next = subscription.next.take();
            self.count_try(&next.map(|next| next.asked).unwrap_or_default());
            None
        } else {
            return;
        };
        self.refresh_subscription();
        let subscription = &mut self.subscription;
        if subscription.current.is_none() {
            subscription.gaps.begin();
        }
        if subscription.next.is_none() && subscription.state == State::Ready {
            let wait = subscription.gaps.wait(lived, &mut self.jitter);
            if !wait.is_zero() {
                self.subscription.state = State::Resting(self.time_subscription(wait));
            }
        }
    }

    /// One more stream for these requests that was not acknowledged.
    fn count_try(&mut self, asked: &Wanted) {
        for pending in &mut self.subscription.pending {
            pending.tries += u32::from(asked.uris.contains(&pending.uri));
        }
        let text = "the server did not acknowledge the subscription; try again later";
        let failure = Failure::new(Kind::StreamEnded, Executed::No, text);
        for pending in self.take_pending(|pending| pending.tries >= TRIES) {
            self.fail(&pending.id, &failure);
        }
    }

    // Waiting.

    fn time_subscription(&mut self, wait: Duration) -> u64 {
        self.serial += 1;
        let number = self.serial;
        self.after(wait, Timer::Subscription(number));
        number
    }

    pub(super) fn on_subscription_timer(&mut self, number: u64) {
        let subscription = &mut self.subscription;
        if subscription.state == State::Resting(number) {
            subscription.state = State::Ready;
        } else if subscription.telling == Some(number) {
            subscription.telling = None;
            if subscription.current.is_some() {
                self.tell_of_gap();
            }
        } else if let Some(next) = &subscription.next
            && next.deadline == number
        {
            let ticket = next.ticket;
            self.debug(|| "the server did not acknowledge subscriptions/listen in time".into());
            self.cancel_exchange(ticket);
            self.subscription_over(ticket, Duration::ZERO);
        }
    }

    /// There are other credentials: the stream that was refused is asked for once more.
    pub(super) fn subscription_authorized(&mut self) {
        if self.subscription.state == State::Refused {
            self.subscription.state = State::Ready;
        }
    }

    /// There are none: whoever waits for the stream is told.
    pub(super) fn subscription_not_authorized(&mut self, failure: &Failure) {
        if self.subscription.state == State::Refused {
            for pending in self.take_pending(|_| true) {
                self.fail(&pending.id, failure);
            }
        }
    }
}
