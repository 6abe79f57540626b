//! From the result of `initialize` to open traffic.
//!
//! In: what the result says, what the client is told of it, `notifications/initialized` as a
//! barrier. Out: getting the result (`handshake`), what a reopened session is given back
//! (`recover`).

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use serde::Deserialize;

use super::handshake::Why;
use super::{Barrier, Bridge, Exchange, Owed, Own, Phase, Purpose, Timer, outbox};
use crate::proto::classify;
use crate::proto::message::{Id, Message, member};
use crate::proto::retry;
use crate::proto::transport::Transport;
use crate::proto::{Body, Head, Level, Output, Ticket, Trouble, limits, text};

impl Bridge {
    /// `initialize` has its result: the connection stands.
    pub(super) fn connected(&mut self, message: &Message) {
        let phase = std::mem::replace(&mut self.link.phase, Phase::Open);
        let Phase::Handshaking(mut handshake) = phase else {
            self.link.phase = phase;
            return;
        };
        if let Some(ticket) = handshake.ticket {
            self.repurpose(ticket, Purpose::Drain);
            if self
                .exchanges
                .get(&ticket)
                .is_some_and(|exchange| exchange.streaming)
            {
                self.time_exchange(ticket, limits::LINGER, Timer::Linger(ticket));
            }
        }
        let first_time = self.link.transport.is_none();
        self.link.transport = Some(handshake.transport);
        if handshake.transport == Transport::StreamableHttp {
            self.link.session = handshake.session.take();
            if let Some(moved_to) = handshake.moved_to.take() {
                self.link.base = Arc::clone(&moved_to);
                self.link.endpoint = moved_to;
            }
        }
        let result = message.result().unwrap_or_default();
        let version: String = read(result, "protocolVersion");
        let capabilities: Capabilities = read(result, "capabilities");
        self.link.version = HeaderValue::from_str(&version)
            .ok()
            .filter(|value| !value.is_empty());
        self.own.retain(|_, own| *own != Own::Initialize);
        if result.len() <= limits::KEPT_INITIALIZE {
            self.out.push(Output::Remember(result.to_owned()));
        }
        let name = handshake.transport.client_name();
        let level = if first_time {
            Level::Info
        } else {
            Level::Debug
        };
        self.say(level, format!("Connected to remote server using {name}"));
        match handshake.why {
            Why::Client(id) => {
                self.say(level, "Local STDIO server running");
                self.say(
                    level,
                    format!("Proxy established successfully between local STDIO and remote {name}"),
                );
                self.say(level, "Press Ctrl+C to exit");
                self.client.list_changed = capabilities.list_changed();
                self.client.log_level = None;
                self.client.subscriptions.clear();
                self.forward_initialize_result(&id, message, &version);
            }
            Why::Answered | Why::Reopen if self.stand_in.is_first_contact() => {
                self.say(level, "the server is ready now");
                self.connected_at_last(&capabilities.list_changed(), result);
                self.restore();
            }
            Why::Answered | Why::Reopen => {
                self.say(Level::Info, "a new session was opened");
                let offered = capabilities.list_changed();
                for lost in self
                    .client
                    .list_changed
                    .iter()
                    .filter(|list| !offered.contains(list))
                {
                    let text = format!("the new session no longer tells of changes to {lost}");
                    self.out.push(Output::Say(Level::Warn, text));
                }
                self.restore();
            }
        }
    }

    /// The client gets the result as it is, unless the server settled on a newer revision than
    /// the client asked for: it would hang up, so it is told its own.
    fn forward_initialize_result(&mut self, id: &Id, message: &Message, version: &str) {
        let asked: Option<String> = self
            .client
            .initialize
            .as_ref()
            .and_then(|message| message.param("protocolVersion"));
        let token = self
            .ledger
            .get(id)
            .and_then(|entry| entry.message.id())
            .cloned();
        let mut answer = message.clone();
        let mut told = version.to_owned();
        if let Some(asked) = asked
            && asked.as_str() < version
            && let Some(edited) = message
                .result()
                .and_then(|result| with_member(result, "protocolVersion", &asked))
            && let Ok(edited) = Message::parse(message.with_result(&edited))
        {
            let newer = text::sanitize(version, 40);
            self.debug(|| format!("the server speaks {newer}; the client is told {asked}"));
            answer = edited;
            told = asked;
        }
        self.client.version = Some(told);
        let answer = answer.with_id(token.as_ref().unwrap_or(id));
        self.respond(id, answer);
    }

    // `notifications/initialized`.

    /// Sends it; everything later waits until the server accepted it, because some servers refuse
    /// requests that overtake it.
    pub(super) fn send_initialized(&mut self, message: &Message) {
        self.client.initialized = true;
        self.post_initialized(message, false);
    }

    pub(super) fn post_initialized(&mut self, message: &Message, reopened: bool) {
        let note = message.clone();
        self.link.phase = Phase::Barrier(Barrier::Initialized {
            note,
            reopened,
            tries: 0,
            refused: false,
        });
        self.try_initialized();
    }

    fn try_initialized(&mut self) {
        let Phase::Barrier(Barrier::Initialized { note, tries, .. }) = &mut self.link.phase else {
            return;
        };
        *tries += 1;
        let note = note.clone();
        let request = self.post(&note, note.text().clone());
        let ticket = self.start(Purpose::Initialized, request);
        self.time_exchange(ticket, limits::ACCEPTED, Timer::Accepted(ticket));
    }

    /// It may not have reached the server: it is sent again a few times.
    fn initialized_lost(&mut self, generation: u32, wait: Duration, why: &str) {
        if generation != self.link.generation {
            return;
        }
        if let Phase::Barrier(Barrier::Initialized { tries, .. }) = &self.link.phase
            && *tries < outbox::TRIES
        {
            self.after(wait, Timer::Initialized(generation));
            return;
        }
        self.say(
            Level::Warn,
            format!("notifications/initialized could not be delivered: {why}"),
        );
        self.barrier_passed(generation);
    }

    pub(super) fn on_initialized_failed(&mut self, generation: u32, trouble: &Trouble) {
        self.initialized_lost(generation, retry::REPEAT, &trouble.text);
    }

    pub(super) fn on_initialized_timer(&mut self, generation: u32) {
        if generation == self.link.generation {
            self.try_initialized();
        }
    }

    pub(super) fn on_initialized_answer(
        &mut self,
        ticket: Ticket,
        exchange: Exchange,
        head: &Head,
        body: &Body,
    ) {
        if !head.is_success() {
            if exchange.in_session
                && classify::session_is_lost(head, &body.bytes)
                && self.lose_session(exchange.generation)
            {
                return;
            }
            let refused = self.refusal(head);
            if refused.is_some()
                && self.settings.credentials.may_be_renewed(0)
                && self.keep_initialized(exchange.generation)
            {
                return self.authorize(
                    exchange.authorizations,
                    refused,
                    "notifications/initialized",
                );
            }
            let what = classify::describe(head, body);
            if classify::is_transient(head.status) {
                let wait = retry::retry_after(head).unwrap_or(retry::REPEAT);
                return self.initialized_lost(exchange.generation, wait, &what);
            }
            self.say(Level::Warn, format!("notifications/initialized: {what}"));
        }
        let generation = exchange.generation;
        self.dispatch_body(ticket, exchange, body);
        self.barrier_passed(generation);
    }

    /// It is sent again with other credentials, unless it was tried too often.
    fn keep_initialized(&mut self, generation: u32) -> bool {
        if generation != self.link.generation {
            return false;
        }
        match &mut self.link.phase {
            Phase::Barrier(Barrier::Initialized { refused, tries, .. })
                if *tries < outbox::TRIES =>
            {
                *refused = true;
                true
            }
            _ => false,
        }
    }

    /// There are other credentials: a refused one is sent again, before anything else.
    pub(super) fn initialized_authorized(&mut self) {
        if let Phase::Barrier(Barrier::Initialized { refused, .. }) = &mut self.link.phase
            && std::mem::take(refused)
        {
            return self.try_initialized();
        }
        if let Some(owed) = self.link.owed.take()
            && owed.generation == self.link.generation
            && matches!(self.link.phase, Phase::Open)
        {
            self.post_initialized(&owed.note, owed.reopened);
        }
    }

    /// There are none: it is owed until there are, and what needs no credentials goes on.
    pub(super) fn initialized_not_authorized(&mut self) {
        let generation = self.link.generation;
        if let Phase::Barrier(Barrier::Initialized {
            note,
            reopened,
            refused: true,
            ..
        }) = &self.link.phase
        {
            self.link.owed = Some(Owed {
                note: note.clone(),
                reopened: *reopened,
                generation,
            });
            self.barrier_passed(generation);
        }
    }

    /// The server answers it with a stream, or takes its time: what waits goes out.
    pub(super) fn on_initialized_taken(&mut self, ticket: Ticket) {
        if let Some(exchange) = self.exchanges.get(&ticket)
            && exchange.purpose == Purpose::Initialized
        {
            let generation = exchange.generation;
            self.drain(ticket);
            self.barrier_passed(generation);
        }
    }

    /// `notifications/initialized` of this session was accepted, or will not be.
    pub(super) fn barrier_passed(&mut self, generation: u32) {
        if generation != self.link.generation {
            return;
        }
        match self.link.phase {
            Phase::Barrier(Barrier::Initialized {
                reopened: false, ..
            }) => self.open_for_traffic(),
            Phase::Barrier(Barrier::Initialized { reopened: true, .. }) => self.restore_requests(),
            _ => {}
        }
    }

    /// The handshake is complete on both sides.
    pub(super) fn open_for_traffic(&mut self) {
        self.link.phase = Phase::Open;
        for held in std::mem::take(&mut self.client.held) {
            self.line(held);
        }
        self.open_listen();
        self.start_pinging();
    }
}

#[derive(Default, Deserialize)]
struct Capabilities {
    #[serde(default)]
    tools: Lists,
    #[serde(default)]
    prompts: Lists,
    #[serde(default)]
    resources: Lists,
}

#[derive(Default, Deserialize)]
struct Lists {
    #[serde(rename = "listChanged", default)]
    list_changed: bool,
}

impl Capabilities {
    fn list_changed(&self) -> Vec<&'static str> {
        [
            (&self.tools, "tools"),
            (&self.prompts, "prompts"),
            (&self.resources, "resources"),
        ]
        .into_iter()
        .filter_map(|(lists, name)| lists.list_changed.then_some(name))
        .collect()
    }
}

/// A member of the result; what cannot be read counts as absent.
fn read<T: Default + for<'a> Deserialize<'a>>(result: &str, name: &str) -> T {
    member(result, name)
        .and_then(|raw| serde_json::from_str(raw).ok())
        .unwrap_or_default()
}

/// A JSON object with one string member replaced; every other byte stays.
fn with_member(object: &str, name: &str, value: &str) -> Option<String> {
    let old = member(object, name)?;
    let start = old.as_ptr() as usize - object.as_ptr() as usize;
    let (before, after) = (object.get(..start)?, object.get(start + old.len()..)?);
    Some(format!(
        "{before}{}{after}",
        crate::proto::json::quote(value)
    ))
}
