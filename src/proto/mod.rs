//! The deciding half: facts in, orders out.
//!
//! Nothing below this module awaits, locks, reads the clock, opens a socket or a file. The driver
//! feeds [`Input`]s to a [`Bridge`], performs the [`Output`]s it gets back, and calls again no
//! later than [`Bridge::wake_at`]:
//!
//! ```text
//!   Input (a line, an answer, an event, the time)
//!      │
//!      ▼
//!   Bridge::handle(now, input, &mut outputs)      one call, no await
//!      │
//!      ▼
//!   Output (write this line, send this request, say this, end)
//! ```
//!
//! In: messages, sessions, transports, what may be sent twice and what must not. Out: how bytes
//! travel (`edge`), what the user typed (`settings`), when it is (`driver`).

pub mod auth;
pub mod bridge;
pub mod classify;
pub mod clients;
pub mod cookies;
pub mod doctor;
pub mod era;
pub mod failure;
pub mod filter;
pub mod headers;
pub mod json;
pub mod ledger;
pub mod limits;
pub mod lines;
pub mod mcpb;
pub mod message;
pub mod object;
pub mod redirect;
pub mod retry;
pub mod revision;
pub mod secret;
pub mod sse;
pub mod text;
pub mod transport;

use std::sync::Arc;

use auth::challenge::Challenge;
use bytes::Bytes;
use failure::Failure;
use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

pub use bridge::{Bridge, Settings};

/// Names one HTTP exchange for as long as it lives. Never reused within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// A fact the driver reports.
#[derive(Debug)]
pub enum Input {
    /// One line from the local client, without its line end.
    Line(Bytes),
    /// A line over the limit on a message was discarded; its first bytes, to look for an id in.
    LineTooLong(Bytes),
    /// The local client closed its end: nothing more will be read.
    LocalClosed,
    /// Nobody reads our output any more, or a signal or the parent's death asks for an end.
    Stop(StopReason),
    /// A whole answer that is not an event stream, unjudged.
    Answer(Ticket, Head, Body),
    /// An answer began that is a successful event stream.
    Streaming(Ticket, Head),
    /// Events of a stream, in order.
    Events(Ticket, Vec<sse::Event>),
    /// The stream behind this ticket is over.
    Ended(Ticket, Ending),
    /// The exchange came to no answer at all.
    Failed(Ticket, Trouble),
    /// What [`Output::Authorize`] asked for needs a person; the outcome follows later.
    SignInNeeded(Prompt),
    /// What [`Output::Authorize`] asked for is done: there are other credentials, or none to be
    /// had.
    Authorized(Result<(), Failure>),
    /// The time asked for by [`Bridge::wake_at`] has come.
    Wake,
}

/// An order to the driver.
#[derive(Debug)]
pub enum Output {
    /// Write this line to the local client; the line end is the writer's.
    Line(Bytes),
    /// Start an HTTP exchange.
    Send(Ticket, Request),
    /// Drop an exchange; nothing more is reported about it.
    Cancel(Ticket),
    /// Tell the person (stderr, log file).
    Say(Level, String),
    /// Get other credentials (run the header commands again, renew the token, let the person sign
    /// in), then report [`Input::Authorized`].
    Authorize(Refused),
    /// Keep this result of `initialize`, raw JSON, for the next start.
    Remember(String),
    /// Keep what the server was found to be for the next start; `None`: forget it.
    RememberEra(Option<Remembered>),
    /// Everything is done: end the process, once the lines are written.
    Exit {
        /// Somebody asked for the end: do not wait for a client that reads slowly.
        hurried: bool,
    },
}

/// What a server was found to be, from one start to the next (MCP 2026-07-28, Versioning, Backward
/// Compatibility, lets clients keep that).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The era that is spoken with it.
    pub era: era::Era,
    /// How messages travel to it.
    pub transport: transport::Transport,
    /// Its result of `server/discover`, raw JSON, if it is modern.
    pub discover: Option<String>,
    /// For how much longer that result is fresh.
    pub fresh: std::time::Duration,
}

/// A refusal for want of credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The credentials that were refused, as in [`Head::credentials`].
    pub credentials: u64,
    /// What the server wants.
    pub challenge: Challenge,
    /// What was refused, such as `tools/call NAME`; counts step-ups.
    pub operation: String,
    /// Operations that the server no longer refuses since the refusal before this one.
    pub succeeded: Vec<String>,
}

/// What a person has to do before the bridge can go on.
#[derive(Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The address to open. Whoever holds it can watch the sign-in begin, not finish it.
    pub url: String,
    /// What to do there, when opening it is not all (a code to type, for example).
    pub instruction: Option<String>,
    /// A browser was opened with it on this machine.
    pub opened: bool,
}

impl std::fmt::Debug for Prompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prompt")
            .field("opened", &self.opened)
            .finish_non_exhaustive()
    }
}

/// How loud an [`Output::Say`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Only with `--debug`.
    Debug,
    /// Normal course of events.
    Info,
    /// Something the person may have to act on.
    Warn,
    /// Something failed.
    Error,
}

/// Why the process is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// SIGINT, SIGTERM, SIGHUP, Ctrl-C, Ctrl-Break.
    Signal,
    /// Writing to stdout failed.
    OutputClosed,
    /// The process that started us is gone.
    ParentGone,
}

/// HTTP methods the bridge uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Send a message.
    Post,
    /// Open or resume an event stream.
    Get,
    /// End a session.
    Delete,
}

impl Verb {
    /// The method as HTTP spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Get => "GET",
            Self::Delete => "DELETE",
        }
    }
}

/// One HTTP request as the bridge wants it. The edge adds the user's own headers and cookies.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method.
    pub verb: Verb,
    /// Target.
    pub url: Arc<Url>,
    /// Protocol headers (RFC 9110 field names, lower case).
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body, empty for GET and DELETE.
    pub body: Bytes,
    /// Hold this request back until the body of that exchange was handed to the network (or the
    /// exchange is over): a cancellation must not overtake its request.
    pub after: Option<Ticket>,
}

/// Status and headers of an answer.
#[derive(Clone, Debug)]
pub struct Head {
    /// HTTP status code.
    pub status: u16,
    /// Response headers.
    pub headers: HeaderMap,
    /// Address that answered, after redirects.
    pub url: Arc<Url>,
    /// Every redirect on the way was permanent (301, 308), and there was at least one.
    pub moved_permanently: bool,
    /// Which credentials the request carried; 0: none.
    pub credentials: u64,
}

impl Head {
    /// A header's value as text, when it is visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// The body of an [`Input::Answer`].
#[derive(Clone, Debug)]
pub struct Body {
    /// What arrived, decompressed.
    pub bytes: Bytes,
    /// Why it is not the whole body, if it is not.
    pub cut: Option<Ending>,
}

/// How a stream or a body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As HTTP intends.
    Complete,
    /// The connection broke; the reason, already fit for a terminal.
    Cut(String),
    /// A limit was passed; a sentence that names the limit.
    TooLarge(String),
    /// Silence for longer than allowed; a sentence that names the flag.
    Silent(String),
}

/// Why an exchange came to no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What went wrong.
    pub kind: TroubleKind,
    /// Whether a byte of the body may have reached the server.
    pub sent: bool,
    /// One sentence for people, fit for a terminal, with the next step where one is known.
    pub text: String,
}

/// Classes of [`Trouble`], by what may be done about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// Nobody listens, or the connection broke while it was made. Worth trying again.
    Connect,
    /// The name does not resolve.
    Dns,
    /// The TLS handshake failed.
    Tls,
    /// No answer in time.
    Timeout,
    /// The connection broke before the answer's head was complete.
    Broken,
    /// The proxy refused.
    Proxy,
    /// A redirect was not followed.
    Redirect,
    /// The answer's head passed a limit.
    TooLarge,
    /// The answer is compressed in a way that was not offered.
    Encoding,
    /// Something on our own side, such as a crashed task.
    Internal,
}

impl TroubleKind {
    /// The kind of the error that a request gets for it.
    #[must_use]
    pub fn failure(self) -> failure::Kind {
        match self {
            Self::Timeout => failure::Kind::Timeout,
            Self::Redirect => failure::Kind::RedirectRefused,
            Self::Encoding => failure::Kind::NotMcp,
            Self::TooLarge => failure::Kind::LimitExceeded,
            Self::Broken => failure::Kind::StreamEnded,
            Self::Connect | Self::Dns | Self::Tls | Self::Proxy | Self::Internal => {
                failure::Kind::Connect
            }
        }
    }
}
