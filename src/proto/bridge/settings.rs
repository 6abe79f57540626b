//! What the bridge is told once, at the start.
//!
//! In: the user's choices and what is remembered, as far as decisions depend on them. Out: where they
//! come from (`settings` and `edge`).

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::Credentials;
use crate::proto::Remembered;
use crate::proto::filter::Filter;
use crate::proto::transport::Strategy;

/// What the bridge is told once, at the start.
#[derive(Debug)]
pub struct Settings {
    /// The server.
    pub url: Arc<Url>,
    /// Which transports to try.
    pub strategy: Strategy,
    /// Which tools the client may see and call.
    pub filter: Filter,
    /// Send a `ping` this often while connected.
    pub ping_interval: Option<Duration>,
    /// Longest wait for the answer to a request of the client; its progress begins it anew.
    pub call_timeout: Option<Duration>,
    /// Tell the client this often that a call is under way while the server is silent.
    pub heartbeat: Option<Duration>,
    /// How long open requests may take to finish after the client closed its end.
    pub eof_grace: Duration,
    /// Largest message in either direction, in bytes; for the texts that name it.
    pub message_limit: usize,
    /// Where credentials come from.
    pub credentials: Credentials,
    /// How long the client's `initialize` may wait before it is answered in the server's place.
    pub initialize_wait: Duration,
    /// What the server last answered to `initialize`, raw JSON.
    pub last_initialize: Option<String>,
    /// Which eras of the protocol may be spoken with the server.
    pub protocol: Protocol,
    /// Whether a client is moved to a newer revision that its server speaks as well.
    pub upgrade: bool,
    /// Whether a client that asks with `server/discover` is sent to `initialize` before a legacy
    /// server.
    pub legacy_first: bool,
    /// What the server was found to be at an earlier start.
    pub remembered: Option<Remembered>,
    /// Whether [`Level::Debug`](crate::proto::Level::Debug) lines are wanted.
    pub debug: bool,
    /// Unpredictable text that marks the ids of our own messages, so that neither side can use
    /// them.
    pub nonce: String,
    /// Spread for waits, different in every process.
    pub seed: u64,
}

/// Which eras of the protocol may be spoken with the server (`--protocol`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// What the server speaks.
    #[default]
    Auto,
    /// Revisions with a handshake only; `server/discover` is never sent.
    Legacy,
    /// 2026-07-28 and later only; `initialize` is never sent.
    Modern,
}

impl Protocol {
    /// The spelling of the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}
