//! `login`: signs in now, for all bridges to this server.
//!
//! In: asking the server whether it wants a sign-in, reading what the person pastes. Out: the
//! sign-in itself (`crate::sign_in`).

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, header};
use tokio::sync::{mpsc, watch};
use url::Url;

use super::assembly::{launcher, random, spread};
use super::print;
use crate::edge::http::client::HttpClient;
use crate::edge::log;
use crate::edge::oauth::OauthHttp;
use crate::edge::remote::{self, Remote};
use crate::edge::stdio::{self, FromClient};
use crate::edge::store::Store;
use crate::error::{Failure, FailureKind};
use crate::proto::auth::challenge::Challenge;
use crate::proto::classify::Content;
use crate::proto::failure::{Executed, Kind};
use crate::proto::headers::UserHeaders;
use crate::proto::revision::NEWEST_WITH_HANDSHAKE;
use crate::proto::{
    self, Body, Head, Input, Level, Refused, Request, Ticket, Verb, classify, text, transport,
};
use crate::settings::{ExchangeSettings, Settings};
use crate::sign_in::{self, Parts, SignIn};

/// How often the server may refuse what a sign-in brought.
const TRIES: u64 = 3;

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
        let exchange = remote::Settings {
            server: Arc::clone(&url),
            cookies: exchange.cookies,
            headers_timeout: exchange.headers_timeout,
            body_timeout: exchange.body_timeout,
            message_limit: exchange.message_limit,
        };
        let source = Arc::clone(&sign_in) as Arc<dyn remote::Credentials>;
        Self {
            remote: Remote::new(http, exchange, headers, Some(source), reports),
            url,
            inputs,
            sign_in,
        }
    }

    /// Asks the server, and signs in for as long as it refuses; a person may paste the address that
    /// the browser ended at. How often a sign-in was needed.
    pub(super) async fn enter(&mut self) -> Result<u64, Barred> {
        let mut lines = stdio::read_lines(std::io::stdin(), PASTED);
        for attempt in 0..=TRIES {
            let refused = match self.ask(attempt).await? {
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
    async fn ask(&mut self, attempt: u64) -> Result<Option<Refused>, Barred> {
        let url = Arc::clone(&self.url);
        let version = env!("CARGO_PKG_VERSION");
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"protocolVersion":"{NEWEST_WITH_HANDSHAKE}","capabilities":{{}},"clientInfo":{{"name":"mcp-bridge","version":"{version}"}}}}}}"#
        );
        let request = |verb, accepted, body| Request {
            verb,
            url: Arc::clone(&url),
            headers: vec![
                (header::ACCEPT, HeaderValue::from_static(accepted)),
                (
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("application/json"),
                ),
            ],
            body,
            after: None,
        };
        let both = "application/json, text/event-stream";
        let post = request(Verb::Post, both, Bytes::from(body));
        let (head, body) = match self.ask_once(Ticket(2 * attempt), post).await? {
            Asked::Accepted => return Ok(None),
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
        let get = request(Verb::Get, "text/event-stream", Bytes::new());
        match self.ask_once(Ticket(2 * attempt + 1), get).await? {
            Asked::Accepted => Ok(None),
            Asked::Refused(refused) => Ok(Some(refused)),
            Asked::Otherwise(..) => {
                Err(barred.hint("check the URL, which usually ends in /mcp or /sse"))
            }
        }
    }

    async fn ask_once(&mut self, ticket: Ticket, request: Request) -> Result<Asked, Barred> {
        self.remote.start(ticket, request);
        loop {
            match self.inputs.recv().await {
                Some(Input::Answer(answered, head, body)) if answered == ticket => {
                    let challenge = Challenge::parse(&head.headers);
                    let names_token = matches!(
                        challenge.error.as_deref(),
                        Some("insufficient_scope" | "invalid_token")
                    );
                    return Ok(match head.status {
                        200..=299 => Asked::Accepted,
                        status if status == 401 || status == 403 && names_token => {
                            Asked::Refused(Refused {
                                credentials: head.credentials,
                                challenge,
                                operation: "initialize".to_owned(),
                                succeeded: Vec::new(),
                            })
                        }
                        _ => Asked::Otherwise(head, body),
                    });
                }
                Some(Input::Streaming(streaming, _)) if streaming == ticket => {
                    self.remote.cancel(ticket);
                    return Ok(Asked::Accepted);
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

enum Asked {
    /// It lets us in.
    Accepted,
    /// It answers in another way.
    Otherwise(Head, Body),
    /// It wants credentials.
    Refused(Refused),
}

fn say(text: &str) -> Result<(), Failure> {
    print(&format!("{text}\n"))
}
