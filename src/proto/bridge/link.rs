//! The connection to the server: what is known of it, and how far it is.
//!
//! In: the state alone. Out: how it changes; that stands in one file for each thing that can happen.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use http::HeaderValue;
use url::Url;

use super::contact::Handshake;
use super::detect::Modern;
use super::listen::Listen;
use super::recover::Recoveries;
use crate::proto::Ticket;
use crate::proto::failure::Failure;
use crate::proto::message::Message;
use crate::proto::transport::Transport;

/// The connection to the server.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) phase: Phase,
    /// What is known of the server if it is a modern one.
    pub(super) modern: Option<Modern>,
    /// The `initialize` that opened the session, to be replayed when it is reopened, and its
    /// result.
    pub(super) opened_with: Option<Message>,
    pub(super) initialize_result: Option<Message>,
    /// The session's `notifications/initialized` is settled: it is open for the server's stream.
    pub(super) ready: bool,
    /// Decided by the first handshake that succeeded.
    pub(super) transport: Option<Transport>,
    /// The server's URL; changes only by a permanent redirect.
    pub(super) base: Arc<Url>,
    /// Where messages are sent.
    pub(super) endpoint: Arc<Url>,
    pub(super) session: Option<HeaderValue>,
    pub(super) version: Option<HeaderValue>,
    /// The open stream of HTTP+SSE, and the address it was read from.
    pub(super) sse: Option<Ticket>,
    pub(super) stream_url: Arc<Url>,
    /// Counts sessions; an exchange remembers the one it belongs to.
    pub(super) generation: u32,
    /// A revision other than the client's that the server insisted on later.
    pub(super) wanted_revision: Option<&'static str>,
    /// `notifications/initialized` that was refused for want of credentials.
    pub(super) owed: Option<Owed>,
    pub(super) listen: Listen,
    pub(super) recoveries: Recoveries,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// No handshake was asked for, or the last one failed.
    Idle,
    Handshaking(Box<Handshake>),
    /// `notifications/initialized` (or what a reopened session is given back) is on its way;
    /// everything else waits.
    Barrier(Barrier),
    Open,
    /// The session was lost and could not be reopened.
    Lost {
        since: Instant,
        failure: Failure,
    },
}

#[derive(Debug)]
pub(super) enum Barrier {
    Initialized {
        note: Message,
        reopened: bool,
        /// How often it was sent.
        tries: u32,
        /// It waits for other credentials.
        refused: bool,
    },
    /// Requests that restore what a lost session knew: method and parameters of those to come.
    Restoring(VecDeque<(&'static str, String)>),
}

#[derive(Debug)]
pub(super) struct Owed {
    pub(super) note: Message,
    pub(super) reopened: bool,
    /// The session it belongs to.
    pub(super) generation: u32,
}

impl Link {
    /// No connection, to the server at this URL.
    pub(super) fn to(base: Arc<Url>) -> Self {
        Self {
            phase: Phase::Idle,
            modern: None,
            opened_with: None,
            initialize_result: None,
            ready: false,
            transport: None,
            endpoint: Arc::clone(&base),
            stream_url: Arc::clone(&base),
            base,
            sse: None,
            session: None,
            version: None,
            generation: 0,
            wanted_revision: None,
            owed: None,
            listen: Listen::default(),
            recoveries: Recoveries::default(),
        }
    }
}
