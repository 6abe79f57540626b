//! One task per HTTP exchange: sends the request, reads the answer, reports facts.
//!
//! In: redirects, cookies, the user's headers, time and size limits while bytes move. Out: what an
//! answer means (`proto`), how connections are made (`http`).

mod body;
mod gathered;
mod lines;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use reqwest::Response;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, Id, JoinSet};
use url::Url;

use super::http::client::HttpClient;
use super::http::tracked::Tracked;
use super::http::trouble;
use crate::proto::cookies::Jar;
use crate::proto::headers::{SESSION_ID, UserHeaders};
use crate::proto::secret::{Secret, mask_quoted};
use crate::proto::sse::{Decoder, Event};
use crate::proto::{
    Ending, Head, Input, Request, Ticket, Trouble, TroubleKind, Verb, classify, limits, redirect,
    text,
};

/// Facts that may wait for the driver before reading from the network stops.
pub const INPUTS_QUEUED: usize = 16;

/// A fact that holds this many bytes of the server's or more takes the place of all others, so
/// that a client that does not read costs no more memory than a few messages.
const LARGE_INPUT: usize = 1 << 20;

/// What an exchange needs to know beside its request.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server; the user's headers and its cookies go nowhere else.
    pub server: Arc<Url>,
    /// Whether cookies are kept.
    pub cookies: bool,
    /// Longest wait for the head of an answer.
    pub headers_timeout: Option<Duration>,
    /// Longest silence inside an answer.
    pub body_timeout: Option<Duration>,
    /// Largest event or body in bytes, after decompression.
    pub message_limit: usize,
}

/// Where the credentials of requests to the server come from.
pub trait Credentials: Send + Sync {
    /// Puts credentials that are good now into the headers of one request, and says which they
    /// are; 0: none.
    fn apply<'a>(
        &'a self,
        verb: Verb,
        url: &'a Url,
        headers: &'a mut HeaderMap,
    ) -> Pin<Box<dyn Future<Output = u64> + Send + 'a>>;

    /// Looks at the head of the answer to a request that carried these. `true`: it was refused for
    /// a reason that sending it again at once removes.
    fn answered(&self, credentials: u64, status: u16, headers: &HeaderMap) -> bool;

    /// A text of the server with all present secrets masked; `None`: it holds none.
    fn hide(&self, text: &[u8]) -> Option<Bytes>;
}

/// Runs exchanges.
pub struct Remote {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    running: HashMap<Ticket, Running>,
    tickets: HashMap<Id, Ticket>,
    inputs: mpsc::Sender<Input>,
}

struct Shared {
    http: HttpClient,
    settings: Settings,
    /// The user's headers, once they are known.
    headers: watch::Receiver<Option<UserHeaders>>,
    credentials: Option<Arc<dyn Credentials>>,
    jar: Mutex<Jar>,
}

struct Running {
    abort: AbortHandle,
    sent: watch::Receiver<bool>,
}

impl Remote {
    /// Exchanges report to `inputs`. They wait until `headers` holds a value.
    #[must_use]
    pub fn new(
        http: HttpClient,
        settings: Settings,
        headers: watch::Receiver<Option<UserHeaders>>,
        credentials: Option<Arc<dyn Credentials>>,
        inputs: mpsc::Sender<Input>,
    ) -> Self {
        let shared = Shared {
            http,
            settings,
            headers,
            credentials,
            jar: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            tickets: HashMap::new(),
            inputs,
        }
    }

    /// Starts an exchange; what becomes of it arrives as [`Input`]s with this ticket.
    pub fn start(&mut self, ticket: Ticket, request: Request) {
        let earlier = request
            .after
            .and_then(|after| Some(self.running.get(&after)?.sent.clone()));
        let (sent_sender, sent) = watch::channel(false);
        let exchange = Exchange {
            shared: Arc::clone(&self.shared),
            ticket,
            inputs: self.inputs.clone(),
            sent: sent_sender,
        };
        let abort = self.tasks.spawn(exchange.run(request, earlier));
        self.tickets.insert(abort.id(), ticket);
        self.running.insert(ticket, Running { abort, sent });
    }

    /// Drops an exchange and its connection, unless other exchanges use that too.
    pub fn cancel(&mut self, ticket: Ticket) {
        if let Some(running) = self.running.remove(&ticket) {
            running.abort.abort();
        }
    }

    /// Waits for the next exchange that came to its end. A fact is returned only for one that
    /// crashed; all others have reported themselves. Never resolves while none runs.
    pub async fn joined(&mut self) -> Option<Input> {
        let (id, crashed) = match self.tasks.join_next_with_id().await {
            None => return std::future::pending().await,
            Some(Ok((id, ()))) => (id, false),
            Some(Err(error)) => (error.id(), error.is_panic()),
        };
        let ticket = self.tickets.remove(&id)?;
        self.running.remove(&ticket);
        crashed.then(|| {
            let text = "an exchange with the server crashed; please report this with the output \
                        of --debug";
            let trouble = Trouble {
                kind: TroubleKind::Internal,
                sent: true,
                text: text.to_owned(),
            };
            Input::Failed(ticket, trouble)
        })
    }
}

struct Exchange {
    shared: Arc<Shared>,
    ticket: Ticket,
    inputs: mpsc::Sender<Input>,
    sent: watch::Sender<bool>,
}

impl Exchange {
    async fn run(self, request: Request, earlier: Option<watch::Receiver<bool>>) {
        if let Some(mut earlier) = earlier {
            // Resolves with an error when that exchange is over, which is as good.
            let handed_over = earlier.wait_for(|sent| *sent);
            let _ = tokio::time::timeout(limits::ACCEPTED, handed_over).await;
        }
        match self.answer(&request).await {
            Err(trouble) => self.report(Input::Failed(self.ticket, trouble)).await,
            Ok((head, response, _)) if head.is_success() && classify::is_event_stream(&head) => {
                let url = Arc::clone(&head.url);
                self.report(Input::Streaming(self.ticket, head)).await;
                let ending = self.stream(response, &url).await;
                self.report(Input::Ended(self.ticket, ending)).await;
            }
            Ok((head, mut response, carried)) => {
                match self.body(&mut response, &head, &carried).await {
                    Ok(body) => self.report(Input::Answer(self.ticket, head, body)).await,
                    Err(first) => {
                        let url = Arc::clone(&head.url);
                        self.report(Input::Streaming(self.ticket, head)).await;
                        let ending = self.lines(response, &first, &url).await;
                        self.report(Input::Ended(self.ticket, ending)).await;
                    }
                }
            }
        }
    }

    /// Hands a fact to the driver as soon as there is room.
    async fn report(&self, input: Input) {
        let places = if size(&input) < LARGE_INPUT {
            1
        } else {
            self.inputs.max_capacity()
        };
        // The driver is gone only when the process ends.
        if let Ok(mut places) = self.inputs.reserve_many(places).await
            && let Some(place) = places.next()
        {
            place.send(input);
        }
    }

    /// Sends the request, follows redirects, and returns the head of the answer, with the secrets
    /// that the last request carried.
    async fn answer(&self, request: &Request) -> Result<(Head, Response, Carried), Trouble> {
        let mut url = Arc::clone(&request.url);
        let mut permanent = true;
        let mut hops = 0;
        let mut again = true;
        loop {
            let (response, credentials, carried) = self.send(request, &url).await?;
            let status = response.status().as_u16();
            if let Some(trouble) = trouble::oversized_head(response.headers(), &url) {
                return Err(trouble);
            }
            if self.shared.settings.cookies {
                let mut jar = self
                    .shared
                    .jar
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                jar.store(&url, response.headers(), now());
            }
            if status == 407
                && let Some(proxy) = self.shared.http.proxy_for(&url)
            {
                return Err(trouble::proxy_wants_credentials(&proxy));
            }
            if let Some(source) = &self.shared.credentials
                && source.answered(credentials, status, response.headers())
                && std::mem::take(&mut again)
            {
                continue;
            }
            let encoded = response.headers().get(header::CONTENT_ENCODING);
            if let Some(encoding) = encoded.filter(|encoding| *encoding != "identity") {
                let encoding = self.quotable(encoding.as_bytes(), &carried);
                let text = format!(
                    "{} compressed its answer with \"{}\", which was not offered; tell its operator",
                    text::origin(&url),
                    text::sanitize(&encoding, 40)
                );
                return Err(Trouble {
                    kind: TroubleKind::Encoding,
                    sent: true,
                    text,
                });
            }
            if matches!(status, 301 | 302 | 303 | 307 | 308) {
                let field = response.headers().get(header::LOCATION);
                let location = field.map(|value| String::from_utf8_lossy(value.as_bytes()));
                let follow = |location: Option<&str>| {
                    redirect::follow(request.verb, &url, status, location, hops)
                };
                let next = follow(location.as_deref()).map_err(|refused| {
                    // The same words, of an address without secrets.
                    let location = field.map(|value| self.quotable(value.as_bytes(), &carried));
                    let refused = follow(location.as_deref()).err().unwrap_or(refused);
                    Trouble {
                        kind: TroubleKind::Redirect,
                        sent: false,
                        text: self.quotable(refused.0.as_bytes(), &carried),
                    }
                })?;
                permanent &= next.permanent;
                url = Arc::new(next.url);
                hops += 1;
                continue;
            }
            let mut headers = response.headers().clone();
            self.hide_in_challenges(&mut headers, &carried);
            let head = Head {
                status,
                headers,
                url,
                moved_permanently: hops > 0 && permanent,
                credentials,
            };
            return Ok((head, response, carried));
        }
    }

    /// Sends the request once; also says which credentials and secrets it carried.
    async fn send(
        &self,
        request: &Request,
        url: &Arc<Url>,
    ) -> Result<(Response, u64, Carried), Trouble> {
        let client = self.shared.http.for_url(url).await?;
        let verb = match request.verb {
            Verb::Post => reqwest::Method::POST,
            Verb::Get => reqwest::Method::GET,
            Verb::Delete => reqwest::Method::DELETE,
        };
        let mut outgoing = reqwest::Request::new(verb, Url::clone(url));
        let (headers, credentials) = self.headers(request, url).await;
        let carried = Carried::of(&headers);
        *outgoing.headers_mut() = headers;
        if !request.body.is_empty() {
            let body = Tracked::new(request.body.clone(), self.sent.clone());
            *outgoing.body_mut() = Some(reqwest::Body::wrap(body));
        }
        let answer = client.execute(outgoing);
        let answer = match self.shared.settings.headers_timeout {
            None => answer.await,
            Some(limit) => tokio::time::timeout(limit, answer)
                .await
                .map_err(|_| Trouble {
                    kind: TroubleKind::Timeout,
                    sent: *self.sent.borrow(),
                    text: format!(
                        "{} did not begin to answer within {} s (--headers-timeout)",
                        text::origin(url),
                        limit.as_secs_f64()
                    ),
                })?,
        };
        let response = answer.map_err(|error| {
            let proxy = self.shared.http.proxy_for(url);
            trouble::explain(&error, url, proxy.as_deref(), *self.sent.borrow())
        })?;
        Ok((response, credentials, carried))
    }

    /// The bridge's own headers, and for the user's server the user's, its cookies and
    /// credentials; those go to its very origin alone (RFC 6454 §4).
    async fn headers(&self, request: &Request, url: &Url) -> (HeaderMap, u64) {
        let mut credentials = 0;
        let mut map = HeaderMap::with_capacity(request.headers.len() + 4);
        if url.host() == self.shared.settings.server.host() {
            if self.shared.settings.cookies {
                let jar = self
                    .shared
                    .jar
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                if let Some(cookies) = jar.header(url, now()) {
                    map.insert(header::COOKIE, cookies);
                }
            }
            let mut headers = self.shared.headers.clone();
            if let Ok(headers) = headers.wait_for(Option::is_some).await
                && let Some(headers) = &*headers
            {
                headers.apply(&mut map);
            }
        }
        for (name, value) in &request.headers {
            map.insert(name.clone(), value.clone());
        }
        if url.origin() == self.shared.settings.server.origin()
            && let Some(source) = &self.shared.credentials
        {
            credentials = source.apply(request.verb, url, &mut map).await;
        }
        (map, credentials)
    }

    /// Reads an event stream to its end, one report for what each piece of it brought.
    async fn stream(&self, mut response: Response, url: &Url) -> Ending {
        let limit = self.shared.settings.message_limit;
        let mut decoder = Decoder::new(limit);
        loop {
            let chunk = match self
                .chunk(&mut response, self.shared.settings.body_timeout)
                .await
            {
                Err(silent) => return silent,
                Ok(Err(error)) => return self.cut(&error, url),
                Ok(Ok(None)) => break,
                Ok(Ok(Some(chunk))) => chunk,
            };
            let mut events = Vec::new();
            let fed = decoder.feed(&chunk, &mut events);
            drop(chunk);
            self.report_events(events).await;
            if fed.is_err() {
                return Ending::TooLarge(format!(
                    "the server sent an event above the limit of {} MiB (--max-message-size raises it)",
                    limit >> 20
                ));
            }
        }
        // A server that forgets the last empty line: its message counts if it is whole.
        if let Some(event) = decoder.finish()
            && serde_json::from_slice::<serde::de::IgnoredAny>(&event.data).is_ok()
        {
            self.report_events(vec![event]).await;
        }
        Ending::Complete
    }

    async fn report_events(&self, events: Vec<Event>) {
        if !events.is_empty() {
            self.report(Input::Events(self.ticket, events)).await;
        }
    }

    /// What is not a result may end up in an error text or the log, and servers quote requests.
    fn hide_secrets(&self, bytes: Bytes, carried: &Carried) -> Bytes {
        let headers = self.shared.headers.borrow();
        let bytes = headers
            .as_ref()
            .and_then(|headers| headers.hide_values(&bytes))
            .unwrap_or(bytes);
        self.hide_credentials(&bytes, carried).unwrap_or(bytes)
    }

    /// Words of the server as they may be shown.
    fn quotable(&self, text: &[u8], carried: &Carried) -> String {
        let text = Bytes::copy_from_slice(text);
        String::from_utf8_lossy(&self.hide_secrets(text, carried)).into_owned()
    }

    /// The user's own values stay: addresses in a challenge may hold them.
    fn hide_in_challenges(&self, headers: &mut HeaderMap, carried: &Carried) {
        let header::Entry::Occupied(mut fields) = headers.entry(header::WWW_AUTHENTICATE) else {
            return;
        };
        for field in fields.iter_mut() {
            let hidden = self.hide_credentials(field.as_bytes(), carried);
            if let Some(Ok(hidden)) = hidden.map(HeaderValue::from_maybe_shared) {
                *field = hidden;
            }
        }
    }

    /// The credentials of this request and the present ones, which may be others by now.
    fn hide_credentials(&self, text: &[u8], carried: &Carried) -> Option<Bytes> {
        let own = carried.hide(text);
        let source = self.shared.credentials.as_ref();
        let present = source.and_then(|source| source.hide(own.as_deref().unwrap_or(text)));
        present.or(own)
    }

    async fn chunk(
        &self,
        response: &mut Response,
        silence: Option<Duration>,
    ) -> Result<Result<Option<Bytes>, reqwest::Error>, Ending> {
        let Some(silence) = silence else {
            return Ok(response.chunk().await);
        };
        tokio::time::timeout(silence, response.chunk()).await.map_err(|_| {
            let seconds = silence.as_secs_f64();
            Ending::Silent(format!(
                "the server fell silent for {seconds} s in the middle of its answer (--body-timeout)"
            ))
        })
    }

    fn cut(&self, error: &reqwest::Error, url: &Url) -> Ending {
        let proxy = self.shared.http.proxy_for(url);
        Ending::Cut(trouble::explain(error, url, proxy.as_deref(), true).text)
    }
}

/// The secrets of the bridge's own that one request carried: credentials, session, cookies.
#[derive(Default)]
struct Carried(Vec<Secret>);

impl Carried {
    fn of(headers: &HeaderMap) -> Self {
        let field = |name: HeaderName| headers.get(name)?.to_str().ok();
        let mut secrets = Vec::new();
        if let Some(authorization) = field(header::AUTHORIZATION) {
            let credentials = authorization.split_once(' ');
            secrets.push(credentials.map_or(authorization, |(_, credentials)| credentials));
        }
        for cookie in field(header::COOKIE).unwrap_or_default().split("; ") {
            secrets.extend(cookie.split_once('=').map(|(_, value)| value));
        }
        secrets.extend(field(HeaderName::from_static("dpop")));
        secrets.extend(field(SESSION_ID));
        Self(secrets.into_iter().map(Secret::from).collect())
    }

    fn hide(&self, text: &[u8]) -> Option<Bytes> {
        mask_quoted(text, self.0.iter().map(Secret::reveal))
    }
}

/// Bytes of the server's that a fact holds.
fn size(input: &Input) -> usize {
    match input {
        Input::Answer(_, _, body) => body.bytes.len(),
        Input::Events(_, events) => events.iter().map(|event| event.data.len()).sum(),
        _ => 0,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "cookies expire by the wall clock, read while bytes move"
)]
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::http::settings::NetworkSettings;

    #[test]
    fn f22_what_a_request_carried_is_masked_where_it_is_quoted() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer canary-token"),
            ("cookie", "first=canary-cookie; second=canary=other"),
            ("dpop", "canary.proof.jwt"),
            ("mcp-session-id", "canary/session"),
            ("accept", "application/json"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let text = br"canary-token canary-cookie canary=other canary.proof.jwt canary\/session application/json";
        assert_eq!(
            Carried::of(&headers).hide(text).unwrap(),
            &b"[hidden] [hidden] [hidden] [hidden] [hidden] application/json"[..]
        );
    }

    #[tokio::test]
    async fn f24_a_crashed_exchange_is_reported_for_its_ticket() {
        let settings = Settings {
            server: Arc::new("http://127.0.0.1:1/".parse().unwrap()),
            cookies: false,
            headers_timeout: None,
            body_timeout: None,
            message_limit: 1,
        };
        let (_, headers) = watch::channel(Some(UserHeaders::default()));
        let (inputs, _reports) = mpsc::channel(1);
        let client = HttpClient::new(NetworkSettings::default());
        let mut remote = Remote::new(client, settings, headers, None, inputs);
        let abort = remote.tasks.spawn(async { panic!("a fault of ours") });
        let (_, sent) = watch::channel(false);
        remote.tickets.insert(abort.id(), Ticket(7));
        remote.running.insert(Ticket(7), Running { abort, sent });
        match remote.joined().await {
            Some(Input::Failed(Ticket(7), trouble)) => {
                assert_eq!((trouble.kind, trouble.sent), (TroubleKind::Internal, true));
            }
            other => panic!("{other:?}"),
        }
        assert!(remote.running.is_empty() && remote.tickets.is_empty());
    }
}
