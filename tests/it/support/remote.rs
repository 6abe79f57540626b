//! A scripted HTTP server on loopback: every request goes to the test's closure and is recorded.
//!
//! In: what a test does with it, and waiting. Out: sockets and hyper (`server`); what MCP servers
//! usually answer (`legacy`).

use std::net::SocketAddr;
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread::JoinHandle;

use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::call::Call;
use super::reply::Reply;
use super::server::{Command, Handler, Progress, Server, Shared, Visits};
use super::tls::ServerTls;
use super::watched::{DEADLINE, Watched};

/// A running server. Dropping it fails the test when a handler panicked, a fault was noted, or
/// nobody ever called.
pub(crate) struct Remote {
    shared: Arc<Shared>,
    address: SocketAddr,
    scheme: &'static str,
    commands: mpsc::UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl Remote {
    /// Starts a plain HTTP/1.1 server whose answers the closure makes up.
    pub(crate) fn serve(handler: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(Box::new(handler), None)
    }

    /// Starts an HTTPS server (HTTP/2 when `tls` offers it).
    pub(crate) fn serve_tls(
        tls: &ServerTls,
        handler: impl Fn(&Call) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(Box::new(handler), Some(TlsAcceptor::from(tls.config())))
    }

    /// A port where nobody listens, until [`restart`](Self::restart). It may stay uncalled.
    pub(crate) fn away(handler: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        let remote = Self::serve(handler);
        remote.may_stay_uncalled();
        remote.stop();
        remote
    }

    fn start(handler: Handler, tls: Option<TlsAcceptor>) -> Self {
        let shared = Arc::new(Shared {
            handler,
            log: Watched::default(),
        });
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (commands, inbox) = mpsc::unbounded_channel();
        let (tell, told) = std_mpsc::channel();
        let server = Server::new(Arc::clone(&shared), tls);
        let thread = std::thread::Builder::new()
            .name("mock remote".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                runtime
                    .expect("a runtime")
                    .block_on(server.run(inbox, &tell));
            })
            .expect("a thread");
        let address = told.recv_timeout(DEADLINE).expect("a listener on loopback");
        Self {
            shared,
            address,
            scheme,
            commands,
            thread: Some(thread),
        }
    }

    /// Where an MCP client connects: `/mcp` on this server.
    pub(crate) fn url(&self) -> String {
        self.url_at("/mcp")
    }

    /// The address of a path (and query) on this server.
    pub(crate) fn url_at(&self, path: &str) -> String {
        format!("{}{path}", self.origin())
    }

    /// Scheme, host and port.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The socket address it listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far, in the order of arrival.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.log.with(|log| log.calls.clone())
    }

    /// The requests so far with this [`Call::key`].
    pub(crate) fn calls_of(&self, key: &str) -> Vec<Call> {
        self.calls()
            .into_iter()
            .filter(|call| call.key() == key)
            .collect()
    }

    /// The keys of all requests so far, in the order of arrival.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.calls()
            .iter()
            .map(|call| call.key().to_owned())
            .collect()
    }

    /// Waits until the requests so far satisfy the closure, and gives them.
    #[track_caller]
    pub(crate) fn wait_for(&self, enough: impl Fn(&[Call]) -> bool) -> Vec<Call> {
        self.wait_calls_dyn("what the test waits for", &enough)
    }

    /// Waits for the first request with this key.
    #[track_caller]
    pub(crate) fn wait_call(&self, key: &str) -> Call {
        self.wait_nth(key, 1)
    }

    /// Waits for the `nth` request with this key (the first is 1).
    #[track_caller]
    pub(crate) fn wait_nth(&self, key: &str, nth: usize) -> Call {
        let is_it = |call: &Call| call.nth == nth && call.key() == key;
        let what = format!("request {nth} of {key}");
        let calls = self.wait_calls_dyn(&what, &|calls| calls.iter().any(is_it));
        calls.into_iter().find(is_it).expect("it was just seen")
    }

    /// Waits until the answer to request `number` got to this point.
    #[track_caller]
    pub(crate) fn wait_progress(&self, number: usize, wanted: Progress) {
        let found = self.shared.log.wait(DEADLINE, |log| {
            (log.progress.get(number - 1) == Some(&wanted)).then_some(())
        });
        assert!(
            found.is_some(),
            "request {number} is not {wanted:?} after {DEADLINE:?}"
        );
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.log.with(|log| log.connections)
    }

    /// Makes the test fail at its end, with this reason.
    pub(crate) fn note_fault(&self, fault: impl Into<String>) {
        self.shared.log.with(|log| log.faults.push(fault.into()));
    }

    /// Forgets and gives the faults noted so far: for tests of the equipment itself.
    pub(crate) fn take_faults(&self) -> Vec<String> {
        self.shared.log.with(|log| std::mem::take(&mut log.faults))
    }

    /// No call at all is fine too.
    pub(crate) fn may_stay_uncalled(&self) {
        self.shared.log.with(|log| log.visits = Visits::Any);
    }

    /// Any call at all fails the test.
    pub(crate) fn must_stay_uncalled(&self) {
        self.shared.log.with(|log| log.visits = Visits::None);
    }

    /// Stops listening and breaks every connection. The port stays reserved: connections are
    /// refused until [`restart`](Self::restart).
    pub(crate) fn stop(&self) {
        self.command(Command::Stop);
    }

    /// Listens again on the same port, with the same handler and record.
    pub(crate) fn restart(&self) {
        self.command(Command::Start);
    }

    /// Breaks every connection, idle ones too, and goes on listening.
    pub(crate) fn drop_connections(&self) {
        self.command(Command::DropConnections);
    }

    fn command(&self, command: impl FnOnce(std_mpsc::Sender<()>) -> Command) {
        let (done, wait) = std_mpsc::channel();
        self.commands
            .send(command(done))
            .expect("the mock remote runs");
        wait.recv_timeout(DEADLINE).expect("the mock remote obeys");
    }

    #[track_caller]
    fn wait_calls_dyn(&self, what: &str, enough: &dyn Fn(&[Call]) -> bool) -> Vec<Call> {
        let found = self.shared.log.wait(DEADLINE, |log| {
            enough(&log.calls).then(|| log.calls.clone())
        });
        found.unwrap_or_else(|| {
            let calls = self.calls();
            panic!("{what} did not come within {DEADLINE:?}; requests so far:\n{calls:#?}")
        })
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let (closed, _) = mpsc::unbounded_channel();
        self.commands = closed; // the server ends when nobody can command it
        let joined = self.thread.take().map(JoinHandle::join);
        if std::thread::panicking() {
            return;
        }
        assert!(
            !matches!(joined, Some(Err(_))),
            "the mock remote itself panicked"
        );
        self.shared.log.with(|log| {
            assert!(
                log.faults.is_empty(),
                "the mock remote found faults:\n{:#?}",
                log.faults
            );
            match log.visits {
                Visits::Some => assert!(!log.calls.is_empty(), "the mock remote was never called"),
                Visits::None => assert!(log.calls.is_empty(), "unwanted calls: {:#?}", log.calls),
                Visits::Any => {}
            }
        });
    }
}
