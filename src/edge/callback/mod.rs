//! The address on this machine that the browser comes back to (RFC 8252 §7.3, §8.3).
//!
//! In: sockets on loopback, HTTP, and holding the browser until the outcome is known. Out: what a
//! request means (`proto::auth::callback`), what the pages say ([`page`]).

pub mod forward;
pub mod page;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use self::page::Page;
use crate::proto::auth::authorize::Pending;
use crate::proto::auth::callback::{self, Outcome, Verdict};
use crate::proto::auth::limits;
use crate::proto::failure::{Executed, Failure, Kind};

/// How often another port is tried when the system chooses it and one of the two addresses is
/// taken there.
const ANY_PORT_TRIES: usize = 8;

/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Sent with every answer.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
    ),
    (header::CONNECTION, HeaderValue::from_static("close")),
];

/// Bound to loopback. Nobody is answered before [`Listener::wait`].
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<TcpListener>,
    port: u16,
    connections: VecDeque<Connection>,
    shared: Arc<Shared>,
    found: mpsc::Receiver<Found>,
    patience: Patience,
}

/// The browser that is back and waits for its answer. Dropping it shows [`Page::Elsewhere`].
#[derive(Debug)]
pub struct Browser {
    page: oneshot::Sender<Page>,
    /// Ends when the answer is sent.
    sent: oneshot::Receiver<Infallible>,
}

/// A sign-in that came back.
type Found = (Outcome, Browser);

/// What connections and the listener have in common.
#[derive(Debug)]
struct Shared {
    sought: Mutex<Option<Sought>>,
    found: mpsc::Sender<Found>,
    port: u16,
}

/// What is waited for.
#[derive(Debug)]
struct Sought {
    pending: Pending,
    path: String,
    /// It came. It comes once.
    came: bool,
}

#[derive(Debug)]
struct Connection {
    task: AbortHandle,
    /// It is the browser that waits for the outcome.
    held: Arc<AtomicBool>,
}

/// How long a connection may take.
#[derive(Clone, Copy, Debug)]
struct Patience {
    head: Duration,
    held: Duration,
}

impl Listener {
    /// Binds the first of `ports` that is free; 0 lets the system choose. `localhost` means
    /// 127.0.0.1 and, where there is IPv6, `::1` on the same port; a literal address means itself.
    ///
    /// # Errors
    /// `callback_port_in_use`, naming the ports and what to do; also for a host that is not
    /// loopback.
    pub async fn bind(host: &str, ports: &[u16]) -> Result<Self, Failure> {
        let addresses = addresses(host)?;
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for &port in ports {
            match bind_port(&addresses, port).await {
                Ok((sockets, port)) => return Ok(Self::new(sockets, port)),
                Err(error) => last = error,
            }
        }
        Err(taken(host, ports, &last))
    }

    fn new(sockets: Vec<TcpListener>, port: u16) -> Self {
        let (sender, found) = mpsc::channel(1);
        Self {
            sockets,
            port,
            connections: VecDeque::new(),
            shared: Arc::new(Shared {
                sought: Mutex::new(None),
                found: sender,
                port,
            }),
            found,
            patience: Patience {
                head: limits::CALLBACK_TIME,
                held: limits::CALLBACK_HELD,
            },
        }
    }

    /// The port of the redirect address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Answers until the browser is back from the pending sign-in under `path`. The browser's
    /// answer is held until [`Browser::show`], [`limits::CALLBACK_HELD`] at most.
    ///
    /// May be dropped and called again: nothing is lost in between. A sign-in comes back once; one
    /// that is older than [`limits::STATE`] never does.
    pub async fn wait(&mut self, pending: &Pending, path: &str) -> (Outcome, Browser) {
        self.shared.seek(pending, path, &mut self.found);
        loop {
            tokio::select! {
                Some(found) = self.found.recv() => return found,
                stream = accept(&self.sockets) => match stream {
                    Ok(stream) => self.serve(stream),
                    // Out of descriptors, say: not to be asked again at once.
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                },
            }
        }
    }

    /// When there are too many connections, the one that has kept us waiting longest goes: a
    /// browser says at once what it wants.
    fn serve(&mut self, stream: TcpStream) {
        self.connections
            .retain(|connection| !connection.task.is_finished());
        if self.connections.len() >= limits::CALLBACK_CONNECTIONS {
            let idle = |connection: &Connection| !connection.held.load(Ordering::Relaxed);
            let Some(oldest) = self.connections.iter().position(idle) else {
                return;
            };
            if let Some(oldest) = self.connections.remove(oldest) {
                oldest.task.abort();
            }
        }
        let held = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(converse(
            stream,
            Arc::clone(&self.shared),
            Arc::clone(&held),
            self.patience,
        ));
        self.connections.push_back(Connection {
            task: task.abort_handle(),
            held,
        });
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for connection in &self.connections {
            if !connection.held.load(Ordering::Relaxed) {
                connection.task.abort();
            }
        }
    }
}

impl Browser {
    /// Shows the page, and returns when it is sent or the browser is gone.
    pub async fn show(self, page: Page) {
        // It may have given up.
        if self.page.send(page).is_ok() {
            let _ = timeout(limits::CALLBACK_TIME, self.sent).await;
        }
    }
}

impl Shared {
    /// From now on this sign-in is waited for.
    fn seek(&self, pending: &Pending, path: &str, found: &mut mpsc::Receiver<Found>) {
        let mut sought = self.sought.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |sought: &Sought| sought.pending.state == pending.state;
        if sought.as_ref().is_some_and(is_same) {
            return;
        }
        // What came for another sign-in is of no use any more.
        while found.try_recv().is_ok() {}
        *sought = Some(Sought {
            pending: pending.clone(),
            path: path.to_owned(),
            came: false,
        });
    }

    /// Judges a request. The browser that is back gets its page through the channel.
    fn judge<B>(&self, request: &Request<B>, held: &AtomicBool) -> Answer {
        let headers = request.headers();
        let hosts: Vec<&str> = values(headers, &header::HOST).collect();
        let origins: Vec<&str> = values(headers, &header::ORIGIN).collect();
        let target = request.uri().to_string();
        let request = callback::Request {
            method: request.method().as_str(),
            target: &target,
            hosts: &hosts,
            origin: match origins.as_slice() {
                [] => None,
                [origin] => Some(origin),
                _ => Some(""),
            },
        };
        let mut sought = self.sought.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sought) = sought.as_mut() else {
            return Answer::Now(404);
        };
        match callback::judge(&sought.pending, self.port, &sought.path, &request) {
            Verdict::Ignore(status) => Answer::Now(status),
            Verdict::Back(_) if sought.came || is_stale(&sought.pending) => Answer::Now(400),
            Verdict::Back(outcome) => {
                let (page, answer) = oneshot::channel();
                let (guard, sent) = oneshot::channel();
                sought.came = true;
                held.store(true, Ordering::Relaxed);
                // There is room: only one comes, and what came for others was taken out.
                let _ = self.found.try_send((outcome, Browser { page, sent }));
                Answer::Held(answer, guard)
            }
        }
    }
}

/// How a request is answered.
enum Answer {
    /// With this status.
    Now(u16),
    /// With the page that comes; the second half is dropped when it is sent.
    Held(oneshot::Receiver<Page>, oneshot::Sender<Infallible>),
}

/// One connection, one request.
async fn converse(
    stream: TcpStream,
    shared: Arc<Shared>,
    held: Arc<AtomicBool>,
    patience: Patience,
) {
    // Dropped at the end of the connection, when the answer is on its way.
    let guard = Mutex::new(None);
    let service = service_fn(|request: Request<Incoming>| {
        let answer = shared.judge(&request, &held);
        let guard = &guard;
        async move {
            Ok::<_, Infallible>(match answer {
                Answer::Now(status) => refusal(status),
                Answer::Held(page, sent) => {
                    *guard.lock().unwrap_or_else(PoisonError::into_inner) = Some(sent);
                    let page = timeout(patience.held, page).await;
                    shown(&page.ok().and_then(Result::ok).unwrap_or(Page::Elsewhere))
                }
            })
        }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(limits::CALLBACK_HEAD)
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .serve_connection(TokioIo::new(stream), service);
    // Broken requests and broken connections concern nobody. Reading, holding and writing have one
    // limit together, for whoever does not take the answer.
    let _ = timeout(patience.head * 2 + patience.held, connection).await;
}

fn refusal(status: u16) -> Response<String> {
    // A person may see this one: a tab that was opened again, a link of an earlier sign-in.
    let html = if status == 400 {
        Page::Elsewhere.html()
    } else {
        ""
    };
    let mut response = response(status, html);
    if status == 405 {
        let headers = response.headers_mut();
        headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
    }
    response
}

fn shown(page: &Page) -> Response<String> {
    let mut response = response(page.status(), page.html());
    if let Page::Redirect(url) = page
        && let Ok(url) = HeaderValue::from_str(url.as_str())
    {
        response.headers_mut().insert(header::LOCATION, url);
    }
    response
}

fn response(status: u16, html: &'static str) -> Response<String> {
    let mut response = Response::new(html.to_owned());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let headers = response.headers_mut();
    headers.extend(HEADERS);
    if !html.is_empty() {
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, html);
    }
    response
}

/// Every value of a field; what is not text counts as empty.
fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .into_iter()
        .map(|value| value.to_str().unwrap_or_default())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a state expires by the clock that it was made by"
)]
fn is_stale(pending: &Pending) -> bool {
    let age = SystemTime::now().duration_since(pending.since);
    age.is_ok_and(|age| age > limits::STATE)
}

/// The next connection to any of the sockets.
async fn accept(sockets: &[TcpListener]) -> io::Result<TcpStream> {
    poll_fn(|context| {
        for socket in sockets {
            if let Poll::Ready(accepted) = socket.poll_accept(context) {
                return Poll::Ready(accepted.map(|(stream, _)| stream));
            }
        }
        Poll::Pending
    })
    .await
}

fn addresses(host: &str) -> Result<Vec<IpAddr>, Failure> {
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    match literal.parse::<IpAddr>() {
        Ok(address) if address.is_loopback() => Ok(vec![address]),
        _ => Err(Failure::new(
            Kind::CallbackPortInUse,
            Executed::No,
            "the browser can only come back to this machine; give --host localhost, 127.0.0.1 or \
             [::1]",
        )),
    }
}

async fn bind_port(addresses: &[IpAddr], port: u16) -> io::Result<(Vec<TcpListener>, u16)> {
    let tries = if port == 0 { ANY_PORT_TRIES } else { 1 };
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..tries {
        match bind_all(addresses, port).await {
            Ok(bound) => return Ok(bound),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// All addresses on one port. The second may be missing on this machine, but nobody else may have
/// it: the browser could go there.
async fn bind_all(addresses: &[IpAddr], mut port: u16) -> io::Result<(Vec<TcpListener>, u16)> {
    let mut sockets = Vec::with_capacity(addresses.len());
    for &address in addresses {
        match TcpListener::bind(SocketAddr::from((address, port))).await {
            Ok(socket) => {
                port = socket.local_addr()?.port();
                sockets.push(socket);
            }
            Err(error) => {
                let is_other = error.kind() == io::ErrorKind::AddrInUse
                    || error.kind() == io::ErrorKind::PermissionDenied;
                if sockets.is_empty() || is_other {
                    return Err(error);
                }
            }
        }
    }
    Ok((sockets, port))
}

fn taken(host: &str, ports: &[u16], error: &io::Error) -> Failure {
    let list: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let ports = match list.as_slice() {
        [port] => format!("port {port}"),
        _ => format!("none of the ports {}", list.join(", ")),
    };
    let verb = if list.len() == 1 { "cannot" } else { "can" };
    let text = format!(
        "{ports} on {host} {verb} be listened on for the browser's way back ({error}); end the \
         program that has it, or give another port after the server's URL (mcp-bridge URL \
         CALLBACK_PORT)"
    );
    Failure::new(Kind::CallbackPortInUse, Executed::No, text)
}

#[cfg(test)]
mod tests;
