//! What answers to the first messages say about both transports (`streamable-http`, `http-sse`).
//!
//! In: answers, the user's strategy, words. Out: getting the answers (`commands`); what an answer
//! proves about the era (`era::evidence`), which revision follows from it (`revision`).

use std::fmt;
use std::time::Duration;

use http::HeaderValue;

use super::{Check, Mark, requests, what_and_next};
use crate::proto::classify::{self, Content};
use crate::proto::era::SPOKEN;
use crate::proto::era::discover::Discovered;
use crate::proto::era::evidence::{self, Verdict};
use crate::proto::failure::Kind;
use crate::proto::message::{Message, member};
use crate::proto::sse::Event;
use crate::proto::transport::{self, Strategy, Transport};
use crate::proto::{Body, Bridge, Head, Refused, Trouble, headers, text};

const STREAMABLE_HTTP: &str = "streamable-http";
const HTTP_SSE: &str = "http-sse";

/// What came back for a request.
#[derive(Debug)]
pub enum Reply {
    /// An answer that is no event stream.
    Whole(Head, Body),
    /// An event stream, and the event in it that was waited for.
    Event(Head, Event),
    /// An event stream without that event, which ended or fell silent.
    Mute(Head),
    /// No answer, because of this.
    Failed(Trouble),
    /// No answer for so long.
    Late(Duration),
}

/// For the log: what kind of reply, without its content.
impl fmt::Display for Reply {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(head, body) => {
                write!(to, "HTTP {}, {} bytes", head.status, body.bytes.len())
            }
            Self::Event(head, event) => {
                let bytes = event.data.len();
                write!(to, "HTTP {}, an event of {bytes} bytes", head.status)
            }
            Self::Mute(head) => write!(
                to,
                "HTTP {}, an event stream without what was waited for",
                head.status
            ),
            Self::Failed(trouble) => to.write_str(&trouble.text),
            Self::Late(limit) => write!(to, "no answer within {} s", limit.as_secs()),
        }
    }
}

/// What a reply means.
#[derive(Debug)]
pub enum Seen {
    /// `initialize` was answered: its result, raw JSON, and the session that it opened.
    Initialized(String, Option<HeaderValue>),
    /// `server/discover` was answered; `None`: by a modern server that wants a capability first.
    Discovered(Option<Box<Discovered>>),
    /// The stream of HTTP+SSE announced where messages go.
    Endpoint,
    /// The stream of HTTP+SSE announced an address that cannot be used, for this reason.
    BadEndpoint(String),
    /// The server wants credentials.
    Refused(Box<Refused>),
    /// Something else.
    Otherwise(Reply),
}

/// What came of one request.
#[derive(Debug)]
pub struct Look {
    /// What its reply means.
    pub seen: Seen,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

/// What came of all first messages.
#[derive(Debug)]
pub struct Looks {
    /// `initialize` over Streamable HTTP.
    pub initialize: Option<Look>,
    /// `server/discover`.
    pub discover: Option<Look>,
    /// The stream of HTTP+SSE.
    pub stream: Option<Look>,
    /// Another address on the same origin where an MCP server answers, and how.
    pub elsewhere: Option<(url::Url, Transport)>,
}

/// Reads the reply to `initialize`.
#[must_use]
pub fn of_initialize(reply: Reply) -> Seen {
    let session = head_of(&reply)
        .and_then(|head| head.headers.get(&headers::SESSION_ID))
        .and_then(headers::session_id);
    let result = response(&reply).and_then(|message| {
        let result = message.result()?;
        member(result, "protocolVersion").map(|_| result.to_owned())
    });
    match result {
        Some(result) => Seen::Initialized(result, session),
        None => otherwise(reply),
    }
}

/// Reads the reply to `server/discover`.
#[must_use]
pub fn of_discover(reply: Reply) -> Seen {
    let [asked, ..] = SPOKEN;
    let verdict = match &reply {
        Reply::Whole(head, body) => {
            let content = classify::content(&body.bytes);
            Some(evidence::of_discover(head.status, &content, asked))
        }
        Reply::Event(..) => response(&reply).map(|message| evidence::of_response(&message, asked)),
        Reply::Mute(_) | Reply::Failed(_) | Reply::Late(_) => None,
    };
    match verdict {
        Some(Verdict::Modern(discovered)) => Seen::Discovered(Some(discovered)),
        Some(Verdict::ModernUnknown | Verdict::AskAt(_) | Verdict::AskAgain) => {
            Seen::Discovered(None)
        }
        Some(Verdict::Legacy(_) | Verdict::Open(_)) | None => otherwise(reply),
    }
}

/// Reads the reply to the GET of HTTP+SSE.
#[must_use]
pub fn of_stream(reply: Reply) -> Seen {
    let Reply::Event(head, event) = &reply else {
        return otherwise(reply);
    };
    let announced = String::from_utf8_lossy(&event.data);
    match transport::sse_endpoint(&head.url, &announced) {
        Ok(_) => Seen::Endpoint,
        Err(why) => Seen::BadEndpoint(why),
    }
}

fn otherwise(reply: Reply) -> Seen {
    match head_of(&reply).and_then(requests::refusal) {
        Some(refused) => Seen::Refused(Box::new(refused)),
        None => Seen::Otherwise(reply),
    }
}

/// Whether an event holds a JSON-RPC response.
#[must_use]
pub fn is_response(event: &Event) -> bool {
    Message::parse(event.data.clone())
        .is_ok_and(|message| message.result().is_some() || message.error().is_some())
}

/// The head of an answer, if there was one.
#[must_use]
pub fn head_of(reply: &Reply) -> Option<&Head> {
    match reply {
        Reply::Whole(head, _) | Reply::Event(head, _) | Reply::Mute(head) => Some(head),
        Reply::Failed(_) | Reply::Late(_) => None,
    }
}

/// The JSON-RPC response in a reply.
fn response(reply: &Reply) -> Option<Message> {
    let is_response = |message: &Message| message.result().is_some() || message.error().is_some();
    match reply {
        Reply::Whole(_, body) => match classify::content(&body.bytes) {
            Content::Rpc(messages) => messages.into_iter().find(is_response),
            _ => None,
        },
        Reply::Event(_, event) => Message::parse(event.data.clone()).ok().filter(is_response),
        Reply::Mute(_) | Reply::Failed(_) | Reply::Late(_) => None,
    }
}

/// How far one transport gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Works,
    WantsSignIn,
    Fails,
}

impl Looks {
    /// What the server wants before it says more, if that is all that can be said of it.
    #[must_use]
    pub fn refused(&self) -> Option<&Refused> {
        let refused = |look: &Option<Look>| match look.as_ref().map(|look| &look.seen) {
            Some(Seen::Refused(_)) => true,
            Some(_) | None => false,
        };
        let works = [Transport::StreamableHttp, Transport::Sse]
            .into_iter()
            .any(|transport| self.state(transport) == State::Works);
        let all = [&self.initialize, &self.discover, &self.stream];
        let found = all.into_iter().find(|look| refused(look) && !works);
        match &found?.as_ref()?.seen {
            Seen::Refused(refused) => Some(refused),
            _ => None,
        }
    }

    /// Whether there is something to talk to over a transport that the user allows.
    #[must_use]
    pub fn can_talk(&self, strategy: Strategy) -> bool {
        [Some(strategy.first()), strategy.second()]
            .into_iter()
            .flatten()
            .any(|transport| self.state(transport) == State::Works)
    }

    fn state(&self, transport: Transport) -> State {
        let seen = |look: &'_ Option<Look>| match look.as_ref().map(|look| &look.seen) {
            Some(Seen::Initialized(..) | Seen::Discovered(_) | Seen::Endpoint) => State::Works,
            Some(Seen::Refused(_)) => State::WantsSignIn,
            Some(Seen::BadEndpoint(_) | Seen::Otherwise(_)) | None => State::Fails,
        };
        match transport {
            Transport::Sse => seen(&self.stream),
            Transport::StreamableHttp => match (seen(&self.initialize), seen(&self.discover)) {
                (State::Works, _) | (_, State::Works) => State::Works,
                (State::WantsSignIn, _) | (_, State::WantsSignIn) => State::WantsSignIn,
                (State::Fails, State::Fails) => State::Fails,
            },
        }
    }

    /// The look that tells most about a transport.
    fn telling(&self, transport: Transport) -> Option<&Look> {
        match transport {
            Transport::Sse => self.stream.as_ref(),
            Transport::StreamableHttp => {
                let state = self.state(transport);
                let suits = |look: &&Look| {
                    matches!(
                        (&look.seen, state),
                        (Seen::Initialized(..) | Seen::Discovered(_), State::Works)
                            | (Seen::Refused(_), State::WantsSignIn)
                            | (_, State::Fails)
                    )
                };
                let looks = [self.initialize.as_ref(), self.discover.as_ref()];
                looks.into_iter().flatten().find(suits)
            }
        }
    }

    /// Judges both transports as `--transport` uses them.
    #[must_use]
    pub fn judge(&self, strategy: Strategy) -> Vec<Check> {
        [Transport::StreamableHttp, Transport::Sse]
            .into_iter()
            .filter_map(|transport| self.judge_one(transport, strategy))
            .collect()
    }

    fn judge_one(&self, transport: Transport, strategy: Strategy) -> Option<Check> {
        let look = self.telling(transport)?;
        let is_allowed = |one| strategy.first() == one || strategy.second() == Some(one);
        let aside = if is_allowed(transport) {
            String::new()
        } else {
            format!("; not used, because of --transport {}", strategy.as_str())
        };
        let id = id(transport);
        let other = other(transport);
        let check = match self.state(transport) {
            State::Works => Check::good(id, works(look) + &aside),
            State::WantsSignIn => {
                let status = status(look);
                Check::good(id, format!("asks for a sign-in ({status}){aside}"))
            }
            State::Fails if !is_allowed(transport) => {
                Check::good(id, format!("not offered ({}){aside}", brief(look)))
            }
            State::Fails if self.state(other) != State::Fails => {
                instead(transport, look, strategy, is_allowed(other))
            }
            State::Fails if strategy.first() == transport => self.hopeless(id, look),
            State::Fails => Check {
                mark: Mark::Warning,
                ..Check::good(id, format!("not offered either ({})", brief(look)))
            },
        };
        Some(check.in_millis(look.millis))
    }

    /// Nothing is spoken at this address.
    fn hopeless(&self, id: &'static str, look: &Look) -> Check {
        let check = why(id, look);
        let Some((address, transport)) = &self.elsewhere else {
            return check;
        };
        let words = match transport {
            Transport::StreamableHttp => "Streamable HTTP",
            Transport::Sse => "HTTP+SSE",
        };
        let advice = format!("an MCP server answers over {words} at another address; use that");
        Check {
            advice: Some(advice),
            ..check
        }
        .with_flag(text::public_url(address))
    }
}

/// The other transport works, or will after a sign-in.
fn instead(transport: Transport, look: &Look, strategy: Strategy, other_is_allowed: bool) -> Check {
    let id = id(transport);
    let (words, flag) = match transport {
        Transport::StreamableHttp => ("HTTP+SSE", "--transport sse-only"),
        Transport::Sse => ("Streamable HTTP", "--transport http-only"),
    };
    let brief = brief(look);
    if !other_is_allowed {
        let text = format!("not offered ({brief})");
        let advice = format!(
            "the server speaks {words}; in place of --transport {}, write",
            strategy.as_str()
        );
        return Check::bad(id, text, advice)
            .with_flag(flag)
            .of_kind(kind(look));
    }
    if strategy.first() == transport {
        let text = format!("not offered ({brief}), so that {words} is spoken after a detour");
        return Check::warning(id, text, "spare the detour").with_flag(flag);
    }
    Check::good(id, format!("not offered ({brief}), and not needed"))
}

fn works(look: &Look) -> String {
    let what = match &look.seen {
        Seen::Discovered(_) => "answers \"server/discover\"",
        Seen::Endpoint => "opens an event stream and says where messages go",
        _ => "answers \"initialize\"",
    };
    format!("{what} ({})", status(look))
}

/// What is wrong with what came, in full.
fn why(id: &'static str, look: &Look) -> Check {
    let check = match &look.seen {
        Seen::Otherwise(Reply::Whole(head, body)) => {
            let failure = Bridge::no_mcp(head, body);
            let (what, hint) = what_and_next(&failure.text);
            let advice = advice(head.status, &classify::content(&body.bytes));
            Check::bad(id, what, advice.or(hint).unwrap_or(CHECK_URL))
        }
        Seen::Otherwise(Reply::Failed(trouble)) => {
            Check::bad_sentence(id, &trouble.text, CHECK_URL)
        }
        Seen::BadEndpoint(why) => Check::bad_sentence(id, why, CHECK_URL),
        Seen::Otherwise(Reply::Late(limit)) => {
            let text = format!("no answer within {} s", limit.as_secs());
            Check::bad(id, text, HANGS)
        }
        _ => Check::bad(id, "an event stream in which nothing of use comes", HANGS),
    };
    check.of_kind(kind(look))
}

const CHECK_URL: &str = "check the URL, which usually ends in /mcp or /sse";
const HANGS: &str = "the server hangs: look at its log, or tell whoever runs it";

/// What to do about an answer that is none of MCP's, where that is more than to check the URL.
fn advice(status: u16, content: &Content) -> Option<&'static str> {
    match (status, content) {
        (_, Content::Html(_)) if status < 400 => Some(
            "this is a web page, such as a login page, a captive portal or a home page: open the \
             address in a browser to see which, and check the URL, which usually ends in /mcp or \
             /sse",
        ),
        (403, _) => Some(
            "ask whoever runs the server, or the gateway before it, to allow it; some want a \
             header (--header)",
        ),
        (status, _) if classify::is_transient(status) => {
            Some("the server is busy or away for the moment: try again later")
        }
        (500.., _) => Some("the server has a fault: look at its log, or tell whoever runs it"),
        _ => None,
    }
}

fn kind(look: &Look) -> Kind {
    match &look.seen {
        Seen::Otherwise(Reply::Whole(head, body)) => Bridge::no_mcp(head, body).kind,
        Seen::Otherwise(Reply::Failed(trouble)) => trouble.kind.failure(),
        Seen::Otherwise(Reply::Late(_) | Reply::Mute(_)) => Kind::Timeout,
        Seen::BadEndpoint(_) => Kind::EndpointOriginMismatch,
        _ => Kind::NotMcp,
    }
}

/// What is wrong with what came, in a few words.
fn brief(look: &Look) -> String {
    match &look.seen {
        Seen::Otherwise(Reply::Late(_)) => "no answer".to_owned(),
        Seen::Otherwise(Reply::Failed(trouble)) => what_and_next(&trouble.text).0.to_owned(),
        Seen::Otherwise(Reply::Mute(_)) => "an event stream of another kind".to_owned(),
        _ => status(look),
    }
}

fn status(look: &Look) -> String {
    match look.status {
        Some(status) => format!("HTTP {status}"),
        None => "no answer".to_owned(),
    }
}

fn id(transport: Transport) -> &'static str {
    match transport {
        Transport::StreamableHttp => STREAMABLE_HTTP,
        Transport::Sse => HTTP_SSE,
    }
}

fn other(transport: Transport) -> Transport {
    match transport {
        Transport::StreamableHttp => Transport::Sse,
        Transport::Sse => Transport::StreamableHttp,
    }
}

#[cfg(test)]
mod tests;
