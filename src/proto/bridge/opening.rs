//! From the result of `initialize` to open traffic.
//!
//! In: what the result says, what the client is told of it, `notifications/initialized` as a
//! barrier. Out: getting the result (`handshake`), what a reopened session is given back
//! (`recover`).

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use serde::Deserialize;

use super::contact::Why;
use super::{Barrier, Bridge, Exchange, Owed, Own, Phase, Purpose, Timer, outbox};
use crate::proto::classify;
use crate::proto::era::evidence::Probe;
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
        if handshake.tried.contains(&Probe::Discover) {
            self.has_looked();
        }
        self.link.modern = None;
        self.link.transport = Some(handshake.transport);
        self.link.opened_with = Some(handshake.initialize.clone());
        self.link.initialize_result = Some(message.clone());
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
        self.own
            .retain(|_, own| !matches!(own, Own::Initialize | Own::Discover));
        self.remember_handshake(handshake.transport);
        self.note_session(result);
        if result.len() <= limits::KEPT_INITIALIZE {
            self.out.push(Output::Remember(result.to_owned()));
        }
        let to_client = matches!(handshake.why, Why::Client(_) | Why::Modern);
        let level = self.announce_connected(handshake.transport, first_time, to_client);
        match handshake.why {
            Why::Client(id) => {
                self.stand_in.is_over();
                self.client.list_changed = capabilities.list_changed();
                self.client.log_level = None;
                self.client.subscriptions.clear();
                self.forward_initialize_result(&id, message, &version);
            }
            Why::Modern => self.open_for_modern(),
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

    /// The lines that users' guides tell people to look for.
    pub(super) fn announce_connected(
        &mut self,
        transport: Transport,
        first_time: bool,
        to_client: bool,
    ) -> Level {
        let name = transport.client_name();
        let level = if first_time {
            Level::Info
        } else {
            Level::Debug
        };
        self.say(level, format!("Connected to remote server using {name}"));
        if to_client {
            self.say(level, "Local STDIO server running");
            self.say(
                level,
                format!("Proxy established successfully between local STDIO and remote {name}"),
            );
            self.say(level, "Press Ctrl+C to exit");
        }
        level
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
        let (mut answer, mut told) = (message.clone(), version.to_owned());
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
        let again = std::mem::replace(&mut self.client.initialized, true);
        if self.link.modern.is_some() {
            self.ready_for_client();
        } else if self.link.ready && !again {
            // The session was opened for a modern client before.
            self.release_held();
        } else {
            self.post_initialized(message, false);
        }
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
        if self.link.modern.is_some() {
            return self.ready_for_client();
        }
        self.link.ready = true;
        self.release_held();
        self.listen_anew();
        self.open_listen();
        self.start_pinging();
        self.look_for_more();
    }

    /// What the client was not to see before it was initialized.
    pub(super) fn release_held(&mut self) {
        if self.client.initialized {
            for held in std::mem::take(&mut self.client.held) {
                self.line(held);
            }
        }
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
