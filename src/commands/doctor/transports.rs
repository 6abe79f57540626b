//! The first messages over both transports, one after the other.
//!
//! In: which are sent, how long each is waited for, ending the sessions that they open. Out: what
//! they are and what the answers mean (`proto/doctor`), how bytes travel (`edge/remote`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use tokio::sync::{mpsc, watch};
use url::Url;

use super::super::assembly::{exchange, now};
use crate::edge::http::client::HttpClient;
use crate::edge::log;
use crate::edge::remote::{self, Credentials, Remote};
use crate::proto::bridge::Protocol;
use crate::proto::doctor::requests;
use crate::proto::doctor::transports::{
    Look, Looks, Reply, Seen, head_of, is_response, of_discover, of_initialize, of_stream,
};
use crate::proto::headers::UserHeaders;
use crate::proto::sse::Event;
use crate::proto::transport::Transport;
use crate::proto::{Head, Input, Level, Request, Ticket, limits, text};
use crate::settings::ExchangeSettings;

/// How long HTTP+SSE is waited for where Streamable HTTP is spoken: such servers may open a stream
/// of another kind, in which nothing comes.
const BESIDE: Duration = Duration::from_secs(3);

/// How long the end of a session is waited for.
const ENDING: Duration = Duration::from_secs(5);

/// How long an address is waited for that was only guessed.
const GUESS: Duration = Duration::from_secs(5);

/// Asks a server single questions.
pub(super) struct Asker {
    remote: Remote,
    inputs: mpsc::Receiver<Input>,
    url: Arc<Url>,
    asked: u64,
}

impl Asker {
    /// Asks the server at this address, as the bridge does.
    pub(super) fn new(
        http: HttpClient,
        url: &Arc<Url>,
        settings: &ExchangeSettings,
        headers: watch::Receiver<Option<UserHeaders>>,
        credentials: Option<Arc<dyn Credentials>>,
    ) -> Self {
        let (reports, inputs) = mpsc::channel(remote::INPUTS_QUEUED);
        let exchange = exchange(url, settings);
        Self {
            remote: Remote::new(http, exchange, headers, credentials, reports),
            inputs,
            url: Arc::clone(url),
            asked: 0,
        }
    }

    /// Sends all first messages. Sessions that they open are ended before it returns.
    pub(super) async fn look(&mut self, protocol: Protocol) -> Looks {
        let url = Arc::clone(&self.url);
        let mut looks = Looks {
            initialize: None,
            discover: None,
            stream: None,
            elsewhere: None,
        };
        if protocol == Protocol::Modern {
            looks.discover = Some(self.discover(&url, limits::INITIALIZE).await);
        }
        if protocol != Protocol::Modern || !works(looks.discover.as_ref()) {
            looks.initialize = Some(self.initialize(&url, limits::INITIALIZE).await);
        }
        // A server that does not say a word will not say another one.
        let hangs = looks
            .initialize
            .as_ref()
            .is_some_and(|look| matches!(look.seen, Seen::Otherwise(Reply::Late(_))));
        let legacy_suffices = protocol == Protocol::Legacy && works(looks.initialize.as_ref());
        if looks.discover.is_none() && !hangs && !legacy_suffices {
            looks.discover = Some(self.discover(&url, limits::PROBE).await);
        }
        let is_http = works(looks.initialize.as_ref()) || works(looks.discover.as_ref());
        let wait = if is_http || hangs {
            BESIDE
        } else {
            limits::ENDPOINT
        };
        looks.stream = Some(self.stream(&url, wait).await);
        if !is_http && !works(looks.stream.as_ref()) && !hangs {
            looks.elsewhere = self.look_elsewhere(&looks).await;
        }
        looks
    }

    /// Other addresses on the same origin that are usual for MCP servers.
    async fn look_elsewhere(&mut self, looks: &Looks) -> Option<(Url, Transport)> {
        let is_absent = |look: &Option<Look>| {
            let status = look.as_ref().and_then(|look| look.status);
            status.is_some_and(|status| matches!(status, 200..=299 | 404 | 405 | 410))
        };
        if !is_absent(&looks.initialize) && !is_absent(&looks.stream) {
            return None;
        }
        for (url, transport) in elsewhere(&self.url) {
            let target = Arc::new(url.clone());
            let look = match transport {
                Transport::StreamableHttp => self.initialize(&target, GUESS).await,
                Transport::Sse => self.stream(&target, GUESS).await,
            };
            let wants_sign_in = matches!(look.seen, Seen::Refused(_));
            if wants_sign_in || works(Some(&look)) {
                return Some((url, transport));
            }
        }
        None
    }

    async fn initialize(&mut self, url: &Arc<Url>, limit: Duration) -> Look {
        let request = requests::initialize(url);
        let look = self
            .ask("initialize", request, limit, is_response, of_initialize)
            .await;
        if let Seen::Initialized(result, Some(session)) = &look.seen {
            self.end(url, session.clone(), result).await;
        }
        look
    }

    async fn discover(&mut self, url: &Arc<Url>, limit: Duration) -> Look {
        let request = requests::discover(url);
        let what = "server/discover";
        self.ask(what, request, limit, is_response, of_discover)
            .await
    }

    async fn stream(&mut self, url: &Arc<Url>, limit: Duration) -> Look {
        let request = requests::stream(url);
        let is_endpoint = |event: &Event| event.name.as_deref() == Some("endpoint");
        let what = "the stream of HTTP+SSE";
        self.ask(what, request, limit, is_endpoint, of_stream).await
    }

    /// Ends a session. Servers may refuse that, which does not matter.
    async fn end(&mut self, url: &Arc<Url>, session: HeaderValue, result: &str) {
        let request = requests::end(url, session, result);
        let what = "the end of the session";
        let _ = self
            .ask(what, request, ENDING, |_| true, Seen::Otherwise)
            .await;
    }

    /// Sends one request and waits for its answer, or on an event stream for the event that
    /// `suits`. The log tells of it as `what`.
    async fn ask(
        &mut self,
        what: &str,
        request: Request,
        limit: Duration,
        suits: impl Fn(&Event) -> bool,
        judge: impl Fn(Reply) -> Seen,
    ) -> Look {
        self.asked += 1;
        let ticket = Ticket(self.asked);
        let began = now();
        let asked = format!(
            "doctor: {} {} for {what}",
            request.verb.as_str(),
            text::public_url(&request.url)
        );
        self.remote.start(ticket, request);
        let mut stream = None;
        let waited = self.wait(ticket, &mut stream, suits);
        let reply = match tokio::time::timeout(limit, waited).await {
            Ok(reply) => reply,
            Err(_) => match stream {
                Some(head) => Reply::Mute(head),
                None => Reply::Late(limit),
            },
        };
        self.remote.cancel(ticket);
        let (status, millis) = (head_of(&reply).map(|head| head.status), millis(began));
        let answer = reply.to_string();
        log::say(Level::Debug, &format!("{asked}: {answer}, {millis} ms"));
        Look {
            seen: judge(reply),
            status,
            millis,
        }
    }

    /// `stream` gets the head of an event stream as soon as there is one.
    async fn wait(
        &mut self,
        ticket: Ticket,
        stream: &mut Option<Head>,
        suits: impl Fn(&Event) -> bool,
    ) -> Reply {
        loop {
            let input = tokio::select! {
                input = self.inputs.recv() => input,
                crashed = self.remote.joined() => match crashed {
                    Some(input) => Some(input),
                    None => continue,
                },
            };
            match input {
                Some(Input::Answer(of, head, body)) if of == ticket => {
                    return Reply::Whole(head, body);
                }
                Some(Input::Streaming(of, head)) if of == ticket => *stream = Some(head),
                Some(Input::Events(of, events)) if of == ticket => {
                    if let Some(event) = events.into_iter().find(&suits)
                        && let Some(head) = stream.take()
                    {
                        return Reply::Event(head, event);
                    }
                }
                Some(Input::Ended(of, _)) if of == ticket => {
                    if let Some(head) = stream.take() {
                        return Reply::Mute(head);
                    }
                }
                Some(Input::Failed(of, trouble)) if of == ticket => return Reply::Failed(trouble),
                Some(_) => {}
                // Cannot be: `remote` holds the other end.
                None => return std::future::pending().await,
            }
        }
    }
}

fn works(look: Option<&Look>) -> bool {
    let seen = look.map(|look| &look.seen);
    matches!(
        seen,
        Some(Seen::Initialized(..) | Seen::Discovered(_) | Seen::Endpoint)
    )
}

/// Where MCP servers usually are, on the same origin and with the same query.
fn elsewhere(url: &Url) -> Vec<(Url, Transport)> {
    let path = url.path().trim_end_matches('/');
    let folder = ["/mcp", "/sse"]
        .into_iter()
        .find_map(|end| path.strip_suffix(end));
    let path = folder.unwrap_or(path);
    let paths = [
        (format!("{path}/mcp"), Transport::StreamableHttp),
        ("/mcp".to_owned(), Transport::StreamableHttp),
        (format!("{path}/sse"), Transport::Sse),
        ("/sse".to_owned(), Transport::Sse),
    ];
    let mut found: Vec<(Url, Transport)> = Vec::new();
    for (path, transport) in paths {
        let mut other = url.clone();
        other.set_path(&path);
        let is_known = found.iter().any(|(known, _)| *known == other);
        if other != *url && !is_known {
            found.push((other, transport));
        }
    }
    found
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_addresses_are_tried_on_the_same_origin() {
        let tried = |url: &str| -> Vec<String> {
            let found = elsewhere(&url.parse().unwrap());
            found.iter().map(|(url, _)| url.to_string()).collect()
        };
        assert_eq!(
            tried("https://h:1/api/?k=v"),
            [
                "https://h:1/api/mcp?k=v",
                "https://h:1/mcp?k=v",
                "https://h:1/api/sse?k=v",
                "https://h:1/sse?k=v"
            ]
        );
        assert_eq!(tried("https://h/"), ["https://h/mcp", "https://h/sse"]);
        assert_eq!(tried("https://h/mcp"), ["https://h/sse"]);
        assert_eq!(
            tried("https://h/a/sse"),
            ["https://h/a/mcp", "https://h/mcp", "https://h/sse"]
        );
    }
}
