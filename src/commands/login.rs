//! `login`: signs in now, for all bridges to this server.
//!
//! In: asking the server whether it wants a sign-in, reading what the person pastes. Out: the
//! sign-in itself (`crate::sign_in`).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use url::Url;

use super::assembly::{self, launcher, random, spread};
use super::print;
use crate::edge::http::client::HttpClient;
use crate::edge::log;
use crate::edge::oauth::OauthHttp;
use crate::edge::remote::{self, Remote};
use crate::edge::stdio::{self, FromClient};
use crate::edge::store::Store;
use crate::error::{Failure, FailureKind};
use crate::proto::classify::Content;
use crate::proto::doctor::requests;
use crate::proto::doctor::transports::{Reply, Seen, is_response, of_initialize};
use crate::proto::failure::{Executed, Kind};
use crate::proto::headers::UserHeaders;
use crate::proto::{
    self, Body, Head, Input, Level, Refused, Request, Ticket, classify, headers, text, transport,
};
use crate::settings::{ExchangeSettings, Settings};
use crate::sign_in::{self, Parts, SignIn};

/// How often the server may refuse what a sign-in brought.
const TRIES: u64 = 3;

/// How long the end of a session is waited for.
const ENDING: Duration = Duration::from_secs(5);

/// Longest line that may be pasted, in bytes.
const PASTED: usize = 64 << 10;

/// Signs in at the server of these settings, whose `sign_in` is there.
///
/// # Errors
/// A [`Failure`] when nobody signed in, or the server cannot be reached.
pub async fn run(settings: Settings) -> Result<(), Failure> {
    let http = HttpClient::new(settings.network);
    for warning in http.check(&settings.url).map_err(Failure::usage)? {
        log::say(Level::Warn, &warning);
    }
    let url = Arc::new(settings.url);
    let server = text::origin(&url);
    let Some(sign_in) = settings.sign_in else {
        return Err(Failure::usage("there is nothing to sign in to"));
    };
    let store = Store::open(settings.store.base).in_keychain(settings.store.keychain);
    let (_, headers) = watch::channel(Some(settings.exchange.headers.clone()));
    let (reporter, _news) = mpsc::channel(sign_in::NEWS_QUEUED);
    let sign_in = SignIn::new(Parts {
        settings: sign_in,
        http: OauthHttp::new(http.clone(), headers.clone()),
        store,
        launcher: launcher(&url, &settings.secret_variables),
        news: reporter,
        spread: spread(random()),
        by_hand: true,
        may_sign_in: true,
    });
    let had_tokens = sign_in.has_tokens();
    let mut door = Door::new(http, url, &settings.exchange, headers, sign_in);
    match door.enter().await? {
        0 if !had_tokens => say(&format!("{server} does not ask for a sign-in.")),
        sign_ins => {
            let whom = door.sign_in.account().map(|whom| format!(" as {whom}"));
            let whom = whom.unwrap_or_default();
            let already = if sign_ins == 0 { "already " } else { "" };
            say(&format!("You are {already}signed in to {server}{whom}."))
        }
    }
}

/// A server that may want a sign-in before it lets anybody in.
pub(super) struct Door {
    url: Arc<Url>,
    remote: Remote,
    inputs: mpsc::Receiver<Input>,
    sign_in: Arc<SignIn>,
    asked: u64,
}

/// Why nobody is let in.
pub(super) struct Barred {
    pub(super) failure: proto::failure::Failure,
    /// What to do, where the failure does not say it.
    pub(super) hint: Option<&'static str>,
}

impl Barred {
    fn new(kind: Kind, text: impl Into<String>) -> Self {
        proto::failure::Failure::new(kind, Executed::No, text).into()
    }

    fn hint(self, hint: &'static str) -> Self {
        Self {
            hint: Some(hint),
            ..self
        }
    }
}

impl From<proto::failure::Failure> for Barred {
    fn from(failure: proto::failure::Failure) -> Self {
        Self {
            failure,
            hint: None,
        }
    }
}

impl From<Barred> for Failure {
    fn from(barred: Barred) -> Self {
        let failure = Self::from(barred.failure);
        match barred.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl Door {
    /// Nobody has knocked yet.
    pub(super) fn new(
        http: HttpClient,
        url: Arc<Url>,
        exchange: &ExchangeSettings,
        headers: watch::Receiver<Option<UserHeaders>>,
        sign_in: Arc<SignIn>,
    ) -> Self {
        let (reports, inputs) = mpsc::channel(remote::INPUTS_QUEUED);
        let exchange = assembly::exchange(&url, exchange);
        let source = Arc::clone(&sign_in) as Arc<dyn remote::Credentials>;
        Self {
            remote: Remote::new(http, exchange, headers, Some(source), reports),
            url,
            inputs,
            sign_in,
            asked: 0,
        }
    }

    /// Asks the server, and signs in for as long as it refuses; a person may paste the address that
    /// the browser ended at. How often a sign-in was needed.
    pub(super) async fn enter(&mut self) -> Result<u64, Barred> {
        let mut lines = stdio::read_lines(std::io::stdin(), PASTED);
        for attempt in 0..=TRIES {
            let refused = match self.ask().await? {
                Some(refused) if attempt < TRIES => refused,
                Some(_) => break,
                None => return Ok(attempt),
            };
            let pasting = async {
                while let Some(line) = lines.recv().await {
                    paste(&self.sign_in, line).await;
                }
                std::future::pending::<Infallible>().await
            };
            let outcome = tokio::select! {
                outcome = self.sign_in.authorize(&refused) => outcome,
                never = pasting => match never {},
            };
            outcome?;
        }
        let server = text::origin(&self.url);
        let text = format!("{server} refuses what the sign-in brought");
        let barred = Barred::new(Kind::AuthLoop, text);
        Err(barred.hint("see \"mcp-bridge status\" for what it allowed"))
    }

    /// Sends `initialize`, or opens the stream of a server that only speaks HTTP+SSE. What comes back
    /// is a refusal for want of credentials, if there was one.
    async fn ask(&mut self) -> Result<Option<Refused>, Barred> {
        let (head, body) = match self.ask_once(requests::initialize(&self.url)).await? {
            Asked::Accepted(opened) => {
                self.end(opened).await;
                return Ok(None);
            }
            Asked::Refused(refused) => return Ok(Some(refused)),
            Asked::Otherwise(head, body) => (head, body),
        };
        let content = classify::content(&body.bytes);
        let barred = Barred::new(Kind::HttpStatus, classify::describe(&head, &body));
        if head.status >= 500 {
            return Err(barred);
        }
        // An error of MCP's own is said to somebody who was let in.
        if matches!(content, Content::Rpc(_)) || !transport::may_be_sse(head.status, &content) {
            return Ok(None);
        }
        match self.ask_once(requests::stream(&self.url)).await? {
            Asked::Accepted(_) => Ok(None),
            Asked::Refused(refused) => Ok(Some(refused)),
            Asked::Otherwise(..) => {
                Err(barred.hint("check the URL, which usually ends in /mcp or /sse"))
            }
        }
    }

    /// Ends the session that was opened, if any. Servers may refuse that, which does not matter.
    async fn end(&mut self, opened: Option<Opened>) {
        if let Some((session, result)) = opened {
            let request = requests::end(&self.url, session, &result);
            let _ = timeout(ENDING, self.ask_once(request)).await;
        }
    }

    async fn ask_once(&mut self, request: Request) -> Result<Asked, Barred> {
        self.asked += 1;
        let ticket = Ticket(self.asked);
        self.remote.start(ticket, request);
        let mut stream = None;
        loop {
            match self.inputs.recv().await {
                Some(Input::Answer(answered, head, body)) if answered == ticket => {
                    return Ok(match requests::refusal(&head) {
                        Some(refused) => Asked::Refused(refused),
                        None if (200..300).contains(&head.status) => {
                            Asked::Accepted(opened(Reply::Whole(head, body)))
                        }
                        None => Asked::Otherwise(head, body),
                    });
                }
                Some(Input::Streaming(streaming, head)) if streaming == ticket => {
                    if !head.headers.contains_key(&headers::SESSION_ID) {
                        self.remote.cancel(ticket);
                        return Ok(Asked::Accepted(None));
                    }
                    stream = Some(head);
                }
                Some(Input::Events(of, events)) if of == ticket => {
                    if let Some(event) = events.into_iter().find(is_response)
                        && let Some(head) = stream.take()
                    {
                        self.remote.cancel(ticket);
                        return Ok(Asked::Accepted(opened(Reply::Event(head, event))));
                    }
                }
                Some(Input::Ended(ended, _)) if ended == ticket => {
                    return Ok(Asked::Accepted(None));
                }
                Some(Input::Failed(failed, trouble)) if failed == ticket => {
                    return Err(Barred::new(trouble.kind.failure(), trouble.text));
                }
                Some(_) => {}
                None => {
                    let text = "the exchange with the server was lost; try again";
                    return Err(Barred::new(Kind::StreamEnded, text));
                }
            }
        }
    }
}

/// Hands in what the person pasted: the address that the browser ended at.
async fn paste(sign_in: &SignIn, line: FromClient) {
    let FromClient::Line(line) = line else { return };
    let line = String::from_utf8_lossy(&line);
    if line.trim().is_empty() {
        return;
    }
    if let Err(problem) = sign_in.paste(line.trim()).await {
        let kind = FailureKind::Usage.as_str();
        let text = format!("{problem}; paste the whole address that the browser ended at [{kind}]");
        log::say(Level::Error, &text);
    }
}

/// A session, and the result of `initialize` that opened it, raw JSON.
type Opened = (HeaderValue, String);

/// The session that an answer opens.
fn opened(reply: Reply) -> Option<Opened> {
    match of_initialize(reply) {
        Seen::Initialized(result, Some(session)) => Some((session, result)),
        _ => None,
    }
}

enum Asked {
    /// It lets us in, in this session if it opened one.
    Accepted(Option<Opened>),
    /// It answers in another way.
    Otherwise(Head, Body),
    /// It wants credentials.
    Refused(Refused),
}

fn say(text: &str) -> Result<(), Failure> {
    print(&format!("{text}\n"))
}
