//! A small remote MCP server on loopback: Streamable HTTP with sessions at `/mcp`, for those who
//! signed in (`authority`); the old HTTP+SSE at `/sse`, for everybody. Two tools: `add`, and
//! `countdown`, which reports progress on an event stream.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::authority::{Authority, Reply};

/// Pause between two steps of the countdown.
const STEP: Duration = Duration::from_millis(120);

/// A running server; it ends with the process.
pub(crate) struct Server {
    shared: Arc<Shared>,
}

/// One thing the server saw or did.
pub(crate) struct Sighting {
    pub(crate) at: Instant,
    pub(crate) text: String,
}

struct Shared {
    origin: String,
    authority: Mutex<Authority>,
    sightings: Mutex<Vec<Sighting>>,
    /// Streams of HTTP+SSE, by session.
    streams: Mutex<HashMap<String, mpsc::UnboundedSender<Bytes>>>,
    sessions: Mutex<u32>,
    /// The server's own stream on Streamable HTTP; it stays silent here.
    own: Mutex<Option<mpsc::UnboundedSender<Bytes>>>,
}

impl Server {
    /// Binds a free port on loopback and serves from a thread.
    pub(crate) fn start() -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            origin: format!("http://{address}"),
            authority: Mutex::default(),
            sightings: Mutex::default(),
            streams: Mutex::default(),
            sessions: Mutex::default(),
            own: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
                    return;
                };
                while let Ok((socket, _)) = listener.accept().await {
                    // Small answers must not wait for acknowledgements.
                    let _ = socket.set_nodelay(true);
                    let shared = Arc::clone(&serving);
                    let service = service_fn(move |request| answer(Arc::clone(&shared), request));
                    tokio::spawn(
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(socket), service),
                    );
                }
            });
        });
        Ok(Self { shared })
    }

    pub(crate) fn origin(&self) -> &str {
        &self.shared.origin
    }

    /// What was seen since the last call.
    pub(crate) fn sightings(&self) -> Vec<Sighting> {
        std::mem::take(&mut *lock(&self.shared.sightings))
    }
}

impl Shared {
    fn saw(&self, text: String) {
        lock(&self.sightings).push(Sighting { at: now(), text });
    }

    /// The answer to whatever is about signing in.
    fn sign_in(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Option<Reply> {
        let mut authority = lock(&self.authority);
        if uri.path() == "/mcp" && !authority.admits(headers) {
            return Some(Authority::challenge(&self.origin));
        }
        authority.answer(method, uri, body, &self.origin)
    }

    fn new_session(&self) -> String {
        let mut sessions = lock(&self.sessions);
        *sessions += 1;
        format!("demo-session-{sessions}")
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Events>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let what = message["method"]
        .as_str()
        .map_or_else(String::new, |method| format!(" {method}"));
    let reply = shared.sign_in(&head.method, &head.uri, &head.headers, &body);
    if let Some(reply) = reply {
        shared.saw(format!(
            "{} {}{what} → {}  {}",
            head.method,
            head.uri.path(),
            reply.status.as_u16(),
            reply.meaning,
        ));
        return Ok(whole(reply));
    }
    let response = match (&head.method, head.uri.path()) {
        (&Method::POST, "/mcp") => streamable(&shared, &message),
        (&Method::GET, "/mcp") => own_stream(&shared),
        (&Method::DELETE, "/mcp") => plain(StatusCode::NO_CONTENT),
        (&Method::GET, "/sse") => old_stream(&shared),
        (&Method::POST, "/messages") => old_post(&shared, head.uri.query(), message),
        (&Method::POST, "/sse") => plain(StatusCode::METHOD_NOT_ALLOWED),
        _ => plain(StatusCode::NOT_FOUND),
    };
    let kind = response
        .headers()
        .get("content-type")
        .and_then(|value| value.to_str().ok());
    shared.saw(format!(
        "{} {}{what} → {}{}",
        head.method,
        head.uri.path(),
        response.status().as_u16(),
        kind.map_or_else(String::new, |kind| format!(" {kind}")),
    ));
    Ok(response)
}

/// Streamable HTTP: JSON for quick answers, an event stream for the countdown.
fn streamable(shared: &Arc<Shared>, message: &Value) -> Response<Events> {
    if message.get("id").is_none() {
        return plain(StatusCode::ACCEPTED);
    }
    if message["params"]["name"] == "countdown" {
        let (response, events) = stream(&[]);
        tokio::spawn(count_down(message.clone(), move |message| {
            send(&events, &message);
        }));
        return response;
    }
    let mut response = json_body(&reply(message));
    if message["method"] == "initialize"
        && let Ok(session) = shared.new_session().parse()
    {
        response.headers_mut().insert("mcp-session-id", session);
    }
    response
}

fn own_stream(shared: &Arc<Shared>) -> Response<Events> {
    let (response, events) = stream(&[]);
    *lock(&shared.own) = Some(events);
    response
}

/// HTTP+SSE: the stream that announces where to POST and carries every answer.
fn old_stream(shared: &Arc<Shared>) -> Response<Events> {
    let session = shared.new_session();
    let endpoint = format!("event: endpoint\ndata: /messages?session={session}\n\n");
    let (response, events) = stream(&[endpoint]);
    lock(&shared.streams).insert(session, events);
    response
}

fn old_post(shared: &Arc<Shared>, query: Option<&str>, message: Value) -> Response<Events> {
    let session = query
        .and_then(|query| query.strip_prefix("session="))
        .unwrap_or_default();
    let Some(events) = lock(&shared.streams).get(session).cloned() else {
        return plain(StatusCode::NOT_FOUND);
    };
    if message["params"]["name"] == "countdown" {
        tokio::spawn(count_down(message, move |message| send(&events, &message)));
    } else if message.get("id").is_some() {
        send(&events, &reply(&message));
    }
    plain(StatusCode::ACCEPTED)
}

fn reply(request: &Value) -> Value {
    let result = match request["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": request["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "demo-server", "version": "1.0"},
        }),
        Some("ping") => json!({}),
        Some("tools/list") => json!({"tools": [
            {
                "name": "add",
                "description": "Adds two numbers",
                "inputSchema": {
                    "type": "object",
                    "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
                },
            },
            {
                "name": "countdown",
                "description": "Counts down and reports progress",
                "inputSchema": {"type": "object", "properties": {"from": {"type": "integer"}}},
            },
        ]}),
        Some("tools/call") if request["params"]["name"] == "add" => {
            let number = |name: &str| request["params"]["arguments"][name].as_f64().unwrap_or(0.0);
            text(&format!("{}", number("a") + number("b")))
        }
        _ => {
            let error = json!({"code": -32601, "message": "Method not found"});
            return json!({"jsonrpc": "2.0", "id": request["id"], "error": error});
        }
    };
    json!({"jsonrpc": "2.0", "id": request["id"], "result": result})
}

async fn count_down(request: Value, send: impl Fn(Value)) {
    let from = request["params"]["arguments"]["from"]
        .as_u64()
        .unwrap_or(3)
        .min(10);
    for step in 1..=from {
        tokio::time::sleep(STEP).await;
        send(json!({
            "jsonrpc": "2.0",
            "method": "notifications/progress",
            "params": {
                "progressToken": request["params"]["_meta"]["progressToken"],
                "progress": step,
                "total": from,
            },
        }));
    }
    send(json!({"jsonrpc": "2.0", "id": request["id"], "result": text("lift-off")}));
}

fn text(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

fn send(events: &mpsc::UnboundedSender<Bytes>, message: &Value) {
    // A client that is gone needs no event.
    let _ = events.send(format!("event: message\ndata: {message}\n\n").into());
}

/// A body whose pieces come through a channel; it ends when the sender is gone.
pub(crate) struct Events(mpsc::UnboundedReceiver<Bytes>);

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

fn stream(first: &[String]) -> (Response<Events>, mpsc::UnboundedSender<Bytes>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    for event in first {
        let _ = sender.send(event.clone().into());
    }
    let mut response = Response::new(Events(receiver));
    response.headers_mut().insert(
        "content-type",
        hyper::header::HeaderValue::from_static("text/event-stream"),
    );
    (response, sender)
}

fn json_body(value: &Value) -> Response<Events> {
    whole(Reply {
        status: StatusCode::OK,
        headers: vec![("content-type", "application/json".to_owned())],
        body: value.to_string(),
        meaning: String::new(),
    })
}

fn whole(reply: Reply) -> Response<Events> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let _ = sender.send(reply.body.into());
    let mut response = Response::new(Events(receiver));
    *response.status_mut() = reply.status;
    for (name, value) in reply.headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn plain(status: StatusCode) -> Response<Events> {
    let mut response = Response::new(Events(mpsc::unbounded_channel().1));
    *response.status_mut() = status;
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the demo shows how long things take"
)]
fn now() -> Instant {
    Instant::now()
}
