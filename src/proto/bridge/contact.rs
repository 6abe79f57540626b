//! One contact with a server: what is being tried, what was tried, and what is left.
//!
//! In: the state of a handshake and small questions about it. Out: making it (`handshake`,
//! `detect`, `attempts`).

use std::collections::VecDeque;
use std::sync::Arc;

use http::HeaderValue;
use url::Url;

use super::{Protocol, TimerKey};
use crate::proto::era::evidence::Probe;
use crate::proto::failure::Failure;
use crate::proto::message::{Id, Message};
use crate::proto::transport::{Strategy, Transport};
use crate::proto::{Ticket, json};

/// One attempt to get an `initialize` answered, over one transport or both.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) serial: u64,
    /// The timer of the next try.
    pub(super) retry: Option<TimerKey>,
    pub(super) why: Why,
    /// What is sent.
    pub(super) initialize: Message,
    /// What is being tried.
    pub(super) step: Step,
    pub(super) transport: Transport,
    /// What was tried.
    pub(super) tried: Vec<Probe>,
    /// What is left to try, in this order.
    pub(super) left: VecDeque<Probe>,
    /// The transport that is known to be spoken, from an earlier handshake.
    pub(super) decided: Option<Transport>,
    /// The revision that `server/discover` is sent at.
    pub(super) asked: String,
    /// A result of `initialize` at a revision that has none; taken if nothing better comes.
    pub(super) accepted: Option<Message>,
    /// What Streamable HTTP said, to be reported if nothing else is spoken either.
    pub(super) http_outcome: Option<Outcome>,
    pub(super) ticket: Option<Ticket>,
    pub(super) status: Option<u16>,
    pub(super) session: Option<HeaderValue>,
    pub(super) moved_to: Option<Arc<Url>>,
    pub(super) busy: usize,
    pub(super) unreachable: usize,
    pub(super) repeated: bool,
    pub(super) other_version: bool,
    /// How often other credentials were got for it.
    pub(super) authorizations: u32,
    /// It waits for them.
    pub(super) refused: bool,
}

#[derive(Debug)]
pub(super) enum Why {
    /// The client sent `initialize` with this id.
    Client(Id),
    /// The client sent it and was given a stand-in for the answer.
    Answered,
    /// A session was lost.
    Reopen,
    /// Modern requests of the client wait until it is known what the server speaks.
    Modern,
}

/// What a handshake is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Initialize,
    Discover,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Fail(Failure),
    /// The server's own error.
    Refused(Message),
}

impl Handshake {
    /// Whether the client itself asked for it and has no answer yet.
    pub(super) fn is_for_client(&self) -> bool {
        matches!(self.why, Why::Client(_))
    }

    /// What is being tried.
    pub(super) fn probe(&self) -> Probe {
        match (self.step, self.transport) {
            (Step::Discover, _) => Probe::Discover,
            (Step::Initialize, Transport::StreamableHttp) => Probe::Initialize,
            (Step::Initialize, Transport::Sse) => Probe::Sse,
        }
    }

    /// Whether this may still be tried.
    pub(super) fn may_try(&self, probe: Probe, strategy: Strategy, protocol: Protocol) -> bool {
        let transport = match probe {
            Probe::Initialize | Probe::Discover => Transport::StreamableHttp,
            Probe::Sse => Transport::Sse,
        };
        let spoken = match self.decided {
            Some(decided) => decided == transport,
            None => strategy.first() == transport || strategy.second() == Some(transport),
        };
        let allowed = match protocol {
            Protocol::Auto => true,
            Protocol::Legacy => probe != Probe::Discover,
            Protocol::Modern => probe == Probe::Discover,
        };
        spoken && allowed && !self.tried.contains(&probe)
    }

    /// Has `initialize` ask for this revision.
    pub(super) fn at_revision(&mut self, version: &str) {
        let edited = self
            .initialize
            .with_param("protocolVersion", &json::quote(version));
        if let Ok(initialize) = Message::parse(edited) {
            self.initialize = initialize;
        }
    }

    /// Whether nobody but a person, or the authorization server, keeps it waiting.
    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }
}
