//! A bridge between a client and a server that the test plays, with a clock that the test moves.
//!
//! In: saying what happens, taking what the bridge orders, and the checks that hold for every run
//! (each request answered once, no exchange started twice). Out: what a server usually answers is
//! in here too, as far as several tests need it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};

use crate::proto::bridge::{Credentials, Protocol};
use crate::proto::filter::Filter;
use crate::proto::sse::Event;
use crate::proto::transport::Strategy;
use crate::proto::{
    Body, Bridge, Ending, Head, Input, Level, Output, Refused, Remembered, Request, Settings,
    Ticket, Trouble, TroubleKind, Verb,
};

/// The server's address.
pub(super) const URL: &str = "http://127.0.0.1:9/mcp";

/// Everything around a bridge.
pub(super) struct World {
    pub(super) bridge: Bridge,
    now: Instant,
    /// Exchanges the test has not taken, in the order they were started.
    pub(super) untaken: Vec<Posted>,
    /// The keys of all exchanges ever started.
    pub(super) history: Vec<String>,
    running: HashMap<Ticket, Posted>,
    pub(super) lines: Vec<Value>,
    /// How often each request id was asked and not answered.
    open: HashMap<String, usize>,
    pub(super) said: Vec<(Level, String)>,
    pub(super) exited: bool,
    /// Orders for other credentials.
    authorizations: Vec<Refused>,
    /// What was to be remembered, the latest last.
    pub(super) remembered: Vec<Option<Remembered>>,
}

/// One exchange the bridge has started.
#[derive(Clone, Debug)]
pub(super) struct Posted {
    pub(super) ticket: Ticket,
    pub(super) request: Request,
    /// The body; null for GET and DELETE.
    pub(super) json: Value,
}

impl Posted {
    /// The JSON-RPC method, `response`, or the HTTP method.
    pub(super) fn key(&self) -> &str {
        if self.request.verb != Verb::Post {
            return self.request.verb.as_str();
        }
        self.json["method"].as_str().unwrap_or("response")
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.request.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.to_str().unwrap())
    }

    pub(super) fn session(&self) -> &str {
        self.header("mcp-session-id").unwrap_or_default()
    }

    pub(super) fn result(&self, result: &Value) -> Value {
        json!({"jsonrpc": "2.0", "id": self.json["id"], "result": result})
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            url: Arc::new(URL.parse().unwrap()),
            strategy: Strategy::HttpFirst,
            filter: Filter::default(),
            call_timeout: None,
            heartbeat: None,
            ping_interval: None,
            eof_grace: Duration::from_secs(5),
            message_limit: 64 << 20,
            credentials: Credentials::Given,
            initialize_wait: Duration::from_secs(20),
            last_initialize: None,
            protocol: Protocol::Auto,
            upgrade: true,
            legacy_first: false,
            remembered: None,
            debug: true,
            nonce: "n".to_owned(),
            seed: 7,
        };
        change(&mut settings);
        #[expect(clippy::disallowed_methods, reason = "any moment will do as the first")]
        let now = Instant::now();
        Self {
            bridge: Bridge::new(settings, now),
            now,
            untaken: Vec::new(),
            history: Vec::new(),
            running: HashMap::new(),
            lines: Vec::new(),
            open: HashMap::new(),
            said: Vec::new(),
            exited: false,
            authorizations: Vec::new(),
            remembered: Vec::new(),
        }
    }

    /// HTTP+SSE only.
    pub(super) fn sse() -> Self {
        Self::with(|settings| settings.strategy = Strategy::SseOnly)
    }

    // The client.

    pub(super) fn client_says(&mut self, message: &Value) {
        let batch = message
            .as_array()
            .map_or(std::slice::from_ref(message), Vec::as_slice);
        for message in batch {
            if message.get("method").is_some()
                && let Some(id) = message.get("id")
            {
                *self.open.entry(id.to_string()).or_default() += 1;
            }
        }
        self.feed(Input::Line(message.to_string().into()));
    }

    pub(super) fn initialize(&mut self) {
        self.initialize_as("init");
    }

    pub(super) fn initialize_as(&mut self, id: &str) {
        self.client_says(
            &json!({"jsonrpc": "2.0", "id": id, "method": "initialize", "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {"sampling": {}},
                "clientInfo": {"name": "c", "version": "1"},
            }}),
        );
    }

    pub(super) fn initialized(&mut self) {
        self.client_says(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    }

    pub(super) fn request(&mut self, id: u64, method: &str) {
        self.request_with(id, method, &json!({}));
    }

    pub(super) fn request_with(&mut self, id: u64, method: &str, params: &Value) {
        self.client_says(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
    }

    /// Takes everything the client was told.
    pub(super) fn lines(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.lines)
    }

    /// Takes the response to this request.
    #[track_caller]
    pub(super) fn response(&mut self, id: impl Into<Value>) -> Value {
        let id = id.into();
        let found = self
            .lines
            .iter()
            .position(|line| line.get("method").is_none() && line.get("id") == Some(&id));
        let Some(found) = found else {
            panic!("no response to {id}; {}", self.story());
        };
        self.lines.remove(found)
    }

    /// How often other credentials were ordered.
    pub(super) fn authorizations(&self) -> usize {
        self.authorizations.len()
    }

    /// The last refusal for which other credentials were ordered.
    pub(super) fn refused(&self) -> &Refused {
        self.authorizations.last().unwrap()
    }

    /// The methods of the notifications that the client got.
    pub(super) fn notifications(&self) -> Vec<String> {
        let has_no_id = |line: &&Value| line.get("id").is_none();
        let method = |line: &Value| line["method"].as_str().map(str::to_owned);
        self.lines
            .iter()
            .filter(has_no_id)
            .filter_map(method)
            .collect()
    }

    /// Takes the first line with this method.
    pub(super) fn line(&mut self, method: &str) -> Value {
        let found = self.lines.iter().position(|line| line["method"] == method);
        let found = found.unwrap_or_else(|| panic!("no {method}; {}", self.story()));
        self.lines.remove(found)
    }

    pub(super) fn has_line(&self, method: &str) -> bool {
        self.lines.iter().any(|line| line["method"] == method)
    }

    /// Whether this request was answered; the answer stays.
    pub(super) fn is_answered(&self, id: impl Into<Value>) -> bool {
        let id = id.into();
        self.lines
            .iter()
            .any(|line| line.get("method").is_none() && line.get("id") == Some(&id))
    }

    // The server.

    /// Takes the oldest exchange with this key.
    #[track_caller]
    pub(super) fn take(&mut self, key: &str) -> Posted {
        let found = self.untaken.iter().position(|posted| posted.key() == key);
        let Some(found) = found else {
            panic!("no {key} was started; {}", self.story());
        };
        self.untaken.remove(found)
    }

    /// The keys of the exchanges not taken.
    pub(super) fn pending(&self) -> Vec<&str> {
        self.untaken.iter().map(Posted::key).collect()
    }

    /// How often this was started so far.
    pub(super) fn count(&self, key: &str) -> usize {
        self.history.iter().filter(|known| *known == key).count()
    }

    /// Whether the bridge still waits for this exchange.
    pub(super) fn is_running(&self, posted: &Posted) -> bool {
        self.running.contains_key(&posted.ticket)
    }

    pub(super) fn answer(
        &mut self,
        posted: &Posted,
        status: u16,
        headers: &[(&'static str, &str)],
        body: impl Into<Bytes>,
    ) {
        let head = head(posted, status, headers);
        self.answer_head(posted, head, body);
    }

    pub(super) fn answer_head(&mut self, posted: &Posted, head: Head, body: impl Into<Bytes>) {
        if self.running.remove(&posted.ticket).is_some() {
            let body = Body {
                bytes: body.into(),
                cut: None,
            };
            self.feed(Input::Answer(posted.ticket, head, body));
        }
    }

    pub(super) fn accept(&mut self, posted: &Posted) {
        self.answer(posted, 202, &[], "");
    }

    pub(super) fn give(&mut self, posted: &Posted, result: &Value) {
        self.answer(posted, 200, &[], posted.result(result).to_string());
    }

    /// 404 as the specification words it.
    pub(super) fn lose(&mut self, posted: &Posted) {
        let body =
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}"#;
        self.answer(posted, 404, &[], body);
    }

    /// Answers `initialize` of Streamable HTTP, with a session.
    pub(super) fn give_session(&mut self, posted: &Posted, session: &str) {
        let answer = posted.result(&initialize_result("2025-11-25")).to_string();
        self.answer(posted, 200, &[("mcp-session-id", session)], answer);
    }

    /// Begins an event stream.
    pub(super) fn stream(&mut self, posted: &Posted) {
        let head = head(posted, 200, &[("content-type", "text/event-stream")]);
        self.stream_head(posted, head);
    }

    pub(super) fn stream_head(&mut self, posted: &Posted, head: Head) {
        assert!(self.is_running(posted), "streaming into nothing");
        self.feed(Input::Streaming(posted.ticket, head));
    }

    pub(super) fn event(&mut self, stream: &Posted, message: &Value) {
        self.events(stream, None, None, None, &message.to_string());
    }

    pub(super) fn endpoint(&mut self, stream: &Posted, address: &str) {
        self.events(stream, Some("endpoint"), None, None, address);
    }

    pub(super) fn events(
        &mut self,
        stream: &Posted,
        name: Option<&str>,
        id: Option<&str>,
        retry: Option<u64>,
        data: &str,
    ) {
        if self.is_running(stream) {
            let event = Event {
                name: name.map(Into::into),
                data: Bytes::copy_from_slice(data.as_bytes()),
                id: id.map(Into::into),
                retry,
            };
            self.feed(Input::Events(stream.ticket, vec![event]));
        }
    }

    pub(super) fn end(&mut self, stream: &Posted) {
        if self.running.remove(&stream.ticket).is_some() {
            self.feed(Input::Ended(stream.ticket, Ending::Complete));
        }
    }

    pub(super) fn refuse_connection(&mut self, posted: &Posted) {
        self.fail(posted, TroubleKind::Connect, false, "connection refused");
    }

    pub(super) fn fail(&mut self, posted: &Posted, kind: TroubleKind, sent: bool, text: &str) {
        if self.running.remove(&posted.ticket).is_some() {
            let text = text.to_owned();
            let trouble = Trouble { kind, sent, text };
            self.feed(Input::Failed(posted.ticket, trouble));
        }
    }

    // Whole passages.

    /// Opens a session of Streamable HTTP and the server's own stream; gives the stream.
    pub(super) fn connect(&mut self, session: &str) -> Posted {
        self.initialize();
        let posted = self.take("initialize");
        self.give_session(&posted, session);
        self.response("init");
        self.initialized();
        self.finish_handshake(session)
    }

    /// After the answer to `initialize`: accepts `initialized`, opens the server's own stream.
    pub(super) fn finish_handshake(&mut self, session: &str) -> Posted {
        let posted = self.take("notifications/initialized");
        assert_eq!(posted.session(), session);
        self.accept(&posted);
        let stream = self.take("GET");
        assert_eq!(stream.session(), session);
        self.stream(&stream);
        stream
    }

    /// Lets the bridge open a new session without anything to restore.
    pub(super) fn reopen(&mut self, session: &str) -> Posted {
        let posted = self.take("initialize");
        assert_eq!(posted.header("mcp-session-id"), None);
        assert_eq!(posted.header("mcp-protocol-version"), None);
        self.give_session(&posted, session);
        self.finish_handshake(session)
    }

    /// Opens HTTP+SSE at this endpoint; gives the stream.
    pub(super) fn connect_sse(&mut self, endpoint: &str) -> Posted {
        self.initialize();
        let stream = self.reopen_sse(endpoint);
        self.response("init");
        self.initialized();
        let posted = self.take("notifications/initialized");
        self.accept(&posted);
        stream
    }

    /// GET, endpoint, `initialize` and its answer.
    pub(super) fn reopen_sse(&mut self, endpoint: &str) -> Posted {
        let stream = self.take("GET");
        self.stream(&stream);
        self.endpoint(&stream, endpoint);
        let posted = self.take("initialize");
        assert!(posted.request.url.as_str().ends_with(endpoint));
        self.accept(&posted);
        let answer = posted.result(&initialize_result("2024-11-05"));
        self.event(&stream, &answer);
        stream
    }

    /// Plays a server until the bridge wants nothing more of it at this moment.
    #[track_caller]
    pub(super) fn play(&mut self, mut server: impl FnMut(&mut Self, &Posted)) {
        for _ in 0..10_000 {
            if self.untaken.is_empty() {
                return;
            }
            let posted = self.untaken.remove(0);
            server(self, &posted);
        }
        panic!("there is no end to it; {}", self.story());
    }

    // The clock.

    /// Lets time pass, and wakes the bridge whenever it asked for it.
    pub(super) fn advance(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.bridge.wake_at()
            && at <= until
        {
            self.now = self.now.max(at);
            self.feed(Input::Wake);
        }
        self.now = until;
    }

    pub(super) fn seconds(&mut self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }

    /// As [`seconds`](Self::seconds), with a server that answers meanwhile.
    pub(super) fn seconds_with(
        &mut self,
        seconds: u64,
        mut server: impl FnMut(&mut Self, &Posted),
    ) {
        for _ in 0..seconds * 10 {
            self.advance(Duration::from_millis(100));
            self.play(&mut server);
        }
    }

    pub(super) fn feed(&mut self, input: Input) {
        let mut outputs = Vec::new();
        self.bridge.handle(self.now, input, &mut outputs);
        for output in outputs {
            match output {
                Output::Line(line) => self.note_line(&line),
                Output::Send(ticket, request) => {
                    let json = serde_json::from_slice(&request.body).unwrap_or_default();
                    let posted = Posted {
                        ticket,
                        request,
                        json,
                    };
                    self.history.push(posted.key().to_owned());
                    let earlier = self.running.insert(ticket, posted.clone());
                    assert!(earlier.is_none(), "a ticket was used twice");
                    self.untaken.push(posted);
                }
                Output::Cancel(ticket) => {
                    self.running.remove(&ticket);
                    self.untaken.retain(|posted| posted.ticket != ticket);
                }
                Output::Say(level, text) => self.said.push((level, text)),
                Output::Authorize(refused) => self.authorizations.push(refused),
                Output::Remember(_) => {}
                Output::RememberEra(remembered) => self.remembered.push(remembered),
                Output::Exit { .. } => self.exited = true,
            }
        }
    }

    fn note_line(&mut self, line: &Bytes) {
        let line: Value = serde_json::from_slice(line).unwrap();
        let batch = line
            .as_array()
            .map_or(std::slice::from_ref(&line), Vec::as_slice);
        for line in batch {
            if line.get("method").is_none() {
                let id = line["id"].to_string();
                let open = self.open.get_mut(&id);
                let open = open.filter(|open| **open > 0);
                *open.unwrap_or_else(|| panic!("answered twice or unasked: {line}")) -= 1;
            }
        }
        self.lines.push(line);
    }

    /// Requests of the client without an answer.
    pub(super) fn unanswered(&self) -> usize {
        self.open.values().sum()
    }

    fn story(&self) -> String {
        format!(
            "started so far: {:#?}; lines: {:#?}; said: {:#?}",
            self.history, self.lines, self.said
        )
    }
}

pub(super) fn head(posted: &Posted, status: u16, headers: &[(&'static str, &str)]) -> Head {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    Head {
        status,
        headers: map,
        url: Arc::clone(&posted.request.url),
        moved_permanently: false,
        credentials: 0,
    }
}

pub(super) fn initialize_result(version: &str) -> Value {
    json!({
        "protocolVersion": version,
        "capabilities": {
            "tools": {"listChanged": true},
            "prompts": {"listChanged": false},
            "resources": {"listChanged": true, "subscribe": true},
            "logging": {},
        },
        "serverInfo": {"name": "s", "version": "1"},
    })
}
