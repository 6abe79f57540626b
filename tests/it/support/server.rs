//! The thread behind `remote`: accepts, asks the handler, records, and plays the reply.
//!
//! In: sockets, hyper, TLS. Out: what a test does with a server (`remote`).

use std::any::Any;
use std::future::{pending, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::call::Call;
use super::reply::{Kind, Reply};
use super::stream::{Next, ReplyBody, StreamHandle};
use super::watched::{DEADLINE, Watched};
use super::wire::Wire;

/// How far the answer to a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Not answered, or not to the end.
    Open,
    /// Given to the network to its end, or broken off on purpose.
    Done,
    /// The peer hung up before the end.
    Dropped,
}

pub(super) type Handler = Box<dyn Fn(&Call) -> Reply + Send + Sync>;

pub(super) struct Shared {
    pub(super) handler: Handler,
    pub(super) log: Watched<Log>,
}

#[derive(Default)]
pub(super) struct Log {
    pub(super) calls: Vec<Call>,
    pub(super) progress: Vec<Progress>,
    pub(super) faults: Vec<String>,
    pub(super) connections: usize,
    pub(super) visits: Visits,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Visits {
    #[default]
    Some,
    Any,
    None,
}

pub(super) enum Command {
    Stop(std_mpsc::Sender<()>),
    Start(std_mpsc::Sender<()>),
    DropConnections(std_mpsc::Sender<()>),
}

/// The side of a server that runs on its own thread.
pub(super) struct Server {
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
    tasks: JoinSet<()>,
}

impl Server {
    pub(super) fn new(shared: Arc<Shared>, tls: Option<TlsAcceptor>) -> Self {
        Self {
            shared,
            tls,
            tasks: JoinSet::new(),
        }
    }

    /// Tells its address, then serves until nobody can command it.
    pub(super) async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<Command>,
        tell: &std_mpsc::Sender<SocketAddr>,
    ) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address");
        tell.send(address).expect("the test waits");
        let mut listener = Some(listener);
        let mut reserved = None;
        loop {
            tokio::select! {
                command = inbox.recv() => match command {
                    None => break,
                    Some(Command::DropConnections(done)) => {
                        self.drop_connections().await;
                        let _ = done.send(());
                    }
                    Some(Command::Stop(done)) => {
                        if listener.take().is_some() {
                            reserved = Some(reserve(address));
                        }
                        self.drop_connections().await;
                        let _ = done.send(());
                    }
                    Some(Command::Start(done)) => {
                        if let Some(socket) = reserved.take() {
                            listener = Some(socket.listen(64).expect("listening again"));
                        }
                        let _ = done.send(());
                    }
                },
                Ok((stream, _)) = accept(listener.as_ref()) => self.spawn(stream),
                Some(ended) = self.tasks.join_next() => self.note_panic(ended),
            }
        }
        self.drop_connections().await;
    }

    fn spawn(&mut self, stream: TcpStream) {
        let index = self.shared.log.with(|log| {
            log.connections += 1;
            log.connections
        });
        let line = Wire::new(stream, index);
        self.tasks
            .spawn(connection(line, Arc::clone(&self.shared), self.tls.clone()));
    }

    async fn drop_connections(&mut self) {
        self.tasks.abort_all();
        while let Some(ended) = self.tasks.join_next().await {
            self.note_panic(ended);
        }
    }

    fn note_panic(&self, ended: Result<(), JoinError>) {
        if let Err(error) = ended
            && error.is_panic()
        {
            self.shared
                .log
                .with(|log| log.faults.push(error.to_string()));
        }
    }
}

/// Keeps a port from everybody else without listening on it. A child that another test is just
/// starting has a copy of the listener until it runs its program.
fn reserve(address: SocketAddr) -> TcpSocket {
    let until = Instant::now() + DEADLINE;
    loop {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("SO_REUSEADDR");
        match socket.bind(address) {
            Ok(()) => return socket,
            Err(error) => assert!(
                error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until,
                "the port that was ours: {error}"
            ),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => pending().await,
    }
}

async fn connection(line: Wire, shared: Arc<Shared>, tls: Option<TlsAcceptor>) {
    let secure = tls.is_some();
    let socket = line.clone();
    let service =
        service_fn(move |request| respond(request, line.clone(), Arc::clone(&shared), secure));
    // Broken connections are what these servers are for: their errors say nothing.
    let Some(tls) = tls else {
        let http = http1::Builder::new();
        let _ = http.serve_connection(TokioIo::new(socket), service).await;
        return;
    };
    let Ok(socket) = tls.accept(socket).await else {
        return;
    };
    if socket.get_ref().1.alpn_protocol() == Some(b"h2") {
        let http = http2::Builder::new(TokioExecutor::new());
        let _ = http.serve_connection(TokioIo::new(socket), service).await;
    } else {
        let http = http1::Builder::new();
        let _ = http.serve_connection(TokioIo::new(socket), service).await;
    }
}

async fn respond(
    request: Request<Incoming>,
    line: Wire,
    shared: Arc<Shared>,
    secure: bool,
) -> io::Result<Response<ReplyBody>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let call = record(&shared, &parts, body, &line, secure);
    let exchange = Exchange {
        shared: Arc::clone(&shared),
        number: call.number,
    };
    let reply = catch_unwind(AssertUnwindSafe(|| (shared.handler)(&call)));
    let reply = reply.unwrap_or_else(|panic| {
        let fault = format!("the handler panicked on {call:?}: {}", panic_text(&*panic));
        shared.log.with(|log| log.faults.push(fault));
        Reply::text(500, "the handler panicked")
    });
    for gate in &reply.gates {
        gate.opened().await;
    }
    for act in reply.on_sent {
        act();
    }
    match reply.kind {
        Kind::Http {
            status,
            headers,
            mut body,
        } => {
            body.attach(line.blocked(), move |to_the_end| {
                if to_the_end {
                    exchange.done();
                }
            });
            let mut response = Response::new(body);
            *response.status_mut() = status.try_into().expect("an HTTP status");
            *response.headers_mut() = headers;
            Ok(response)
        }
        Kind::Raw(body) => {
            assert!(!secure, "raw replies need plain http");
            write_raw(&line, &body.raw_parts()).await?;
            exchange.done();
            Err(closed_on_purpose())
        }
        Kind::Drip(bytes, pause) => {
            assert!(!secure, "raw replies need plain http");
            for byte in bytes.chunks(1) {
                line.write_all(byte).await?;
                tokio::time::sleep(pause).await;
            }
            exchange.done();
            Err(closed_on_purpose())
        }
        Kind::CutBeforeHead => {
            exchange.done();
            Err(closed_on_purpose())
        }
        Kind::Reset => {
            exchange.done();
            line.reset_on_close()?;
            Err(closed_on_purpose())
        }
        Kind::Never => pending().await,
        Kind::Usual => panic!("`Reply::usual` is for the ready-made servers"),
    }
}

fn record(
    shared: &Shared,
    parts: &http::request::Parts,
    body: Bytes,
    line: &Wire,
    secure: bool,
) -> Call {
    let mut call = Call {
        number: 0,
        nth: 0,
        at: Instant::now(),
        verb: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        http2: parts.version == Version::HTTP_2,
        secure,
        connection: line.index(),
        headers: parts.headers.clone(),
        json: serde_json::from_slice(&body).unwrap_or(Value::Null),
        body,
        stream: None,
    };
    shared.log.with(|log| {
        call.number = log.calls.len() + 1;
        call.nth = log
            .calls
            .iter()
            .filter(|seen| seen.key() == call.key())
            .count()
            + 1;
        log.calls.push(call.clone());
        log.progress.push(Progress::Open);
    });
    call
}

/// Settles, when dropped, how far the answer to a request came.
struct Exchange {
    shared: Arc<Shared>,
    number: usize,
}

impl Exchange {
    fn done(&self) {
        self.settle(Progress::Done);
    }

    fn settle(&self, progress: Progress) {
        self.shared.log.with(|log| {
            let slot = &mut log.progress[self.number - 1];
            if *slot == Progress::Open {
                *slot = progress;
            }
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.settle(Progress::Dropped);
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// hyper closes the connection without a byte when a service fails.
fn closed_on_purpose() -> io::Error {
    io::Error::other("closed by the test")
}

async fn write_raw(line: &Wire, body: &(Bytes, Option<StreamHandle>)) -> io::Result<()> {
    let (bytes, stream) = body;
    line.write_all(bytes).await?;
    let Some(stream) = stream else { return Ok(()) };
    while let Next::Data(data) = poll_fn(|cx| stream.poll_next(cx)).await {
        line.write_all(&data).await?;
    }
    Ok(())
}
