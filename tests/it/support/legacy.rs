//! Ready-made MCP servers that behave, and note it when their client does not.
//!
//! In: Streamable HTTP with and without sessions (MCP 2025-03-26 to 2025-11-25, Transports) and
//! HTTP+SSE (MCP 2024-11-05, Transports). Out: servers that misbehave, which a test makes of
//! these with `on`, or writes itself on `Remote`.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use serde_json::{Value, json};

use super::authority_guard::{Guard, assert_clean};
use super::call::Call;
use super::remote::Remote;
use super::reply::Reply;
use super::stream::StreamHandle;
use super::tls::ServerTls;
use super::watched::DEADLINE;
use super::world::{Handler, Kind, Plan, Session, World};

/// Describes a server; [`start`](Self::start) runs it.
pub(crate) struct Legacy {
    plan: Plan,
    tls: Option<ServerTls>,
    guard: Option<Guard>,
    first: Option<Handler>,
}

/// A running ready-made server. Dropping it fails the test when the client broke a rule.
pub(crate) struct LegacyRemote {
    remote: Remote,
    world: Arc<World>,
    guard: Option<Guard>,
}

/// How a server words that it does not know a session (as seen in the field).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 404 with a JSON-RPC error −32001: what the specification asks for.
    NotFound,
    /// 404 with plain text.
    NotFoundText,
    /// 400 with a JSON-RPC error −32000.
    BadRequest,
    /// 400 with plain text.
    BadRequestText,
    /// 401 with plain text and no `WWW-Authenticate`.
    Unauthorized,
    /// 422 with plain text.
    Unprocessable,
    /// 503 with plain text.
    Unavailable,
}

impl Legacy {
    /// Streamable HTTP with session ids: the `L-sess` of the test list.
    pub(crate) fn sessions() -> Self {
        Self::of(Kind::Sessions)
    }

    /// Streamable HTTP without session ids and without a GET stream: `L-free`.
    pub(crate) fn free() -> Self {
        Self::of(Kind::Free)
    }

    /// HTTP+SSE, on whatever path is asked: `S`. A POST that is not to the announced endpoint
    /// gets 405, or what `on("POST", …)` says.
    pub(crate) fn http_sse() -> Self {
        let mut legacy = Self::of(Kind::HttpSse);
        legacy.plan.version = Some("2024-11-05".to_owned());
        legacy
    }

    fn of(kind: Kind) -> Self {
        let plan = Plan {
            kind,
            version: None,
            capabilities: json!({
                "tools": {"listChanged": true},
                "prompts": {"listChanged": true},
                "resources": {"listChanged": true, "subscribe": true},
                "logging": {},
            }),
            tools: json!([{
                "name": "echo",
                "description": "Says it again",
                "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}},
            }]),
            handlers: HashMap::new(),
            as_sse: false,
            endpoint: "/messages?sid={sid}".to_owned(),
            lenient: false,
        };
        Self {
            plan,
            tls: None,
            guard: None,
            first: None,
        }
    }

    /// Always answers `initialize` with this protocol version. Otherwise HTTP+SSE says 2024-11-05
    /// and the others say what the client asked for.
    pub(crate) fn version(mut self, version: &str) -> Self {
        self.plan.version = Some(version.to_owned());
        self
    }

    /// Advertises these capabilities.
    pub(crate) fn capabilities(mut self, capabilities: Value) -> Self {
        self.plan.capabilities = capabilities;
        self
    }

    /// Lists these tools (an array). Calling any of them echoes.
    pub(crate) fn tools(mut self, tools: Value) -> Self {
        self.plan.tools = tools;
        self
    }

    /// Answers requests as a short event stream instead of a JSON body.
    pub(crate) fn answers_as_sse(mut self) -> Self {
        self.plan.as_sse = true;
        self
    }

    /// HTTP+SSE: what the `endpoint` event says; `{sid}` and `{origin}` are filled in. The
    /// session is found again by the query parameter `sid`.
    pub(crate) fn endpoint(mut self, template: &str) -> Self {
        template.clone_into(&mut self.plan.endpoint);
        self
    }

    /// Notes no violations.
    pub(crate) fn lenient(mut self) -> Self {
        self.plan.lenient = true;
        self
    }

    /// Serves HTTPS.
    pub(crate) fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Asks this guard first: only what it lets through reaches the server.
    pub(crate) fn guarded(mut self, guard: &Guard) -> Self {
        self.guard = Some(guard.clone());
        self
    }

    /// Answers requests with this [`Call::key`] (`tools/call`, `notifications/initialized`,
    /// `response`, `GET`, `DELETE`, …) in another way. [`Reply::usual`] falls back to the usual
    /// answer, and may be delayed by a gate. A refused session is refused before this is asked.
    ///
    /// A 200 to `initialize` opens a session whoever made it. On HTTP+SSE a 200 with JSON or
    /// events goes onto the event stream, unless it is [`Reply::direct`].
    pub(crate) fn on(
        mut self,
        key: &str,
        handler: impl Fn(&Call) -> Reply + Send + Sync + 'static,
    ) -> Self {
        self.plan.handlers.insert(key.to_owned(), Box::new(handler));
        self
    }

    /// Asks this closure first, before any rule is checked: a [`Reply::usual`] lets the request
    /// pass on to the server, another reply is its answer.
    pub(crate) fn first(mut self, first: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        self.first = Some(Box::new(first));
        self
    }

    /// Runs the server.
    pub(crate) fn start(self) -> LegacyRemote {
        let Self {
            plan,
            tls,
            guard,
            first,
        } = self;
        let world = Arc::new(World::new(plan));
        let (answering, asking) = (Arc::clone(&world), guard.clone());
        let handler = move |call: &Call| {
            let stopped = asking.as_ref().and_then(|guard| guard.stop(call));
            let stopped = stopped.or_else(|| {
                let reply = first.as_ref().map(|first| first(call));
                reply.filter(|reply| !reply.is_usual())
            });
            // A look whether it is of the newer era as well concerns nobody here.
            let unknown = || {
                let asked = call.key() == "server/discover" && !answering.knows("server/discover");
                asked.then(|| call.error(-32601, "Method not found").with_status(404))
            };
            stopped
                .or_else(unknown)
                .unwrap_or_else(|| answering.answer(call))
        };
        let remote = match tls {
            Some(tls) => Remote::serve_tls(&tls, handler),
            None => Remote::serve(handler),
        };
        LegacyRemote {
            remote,
            world,
            guard,
        }
    }
}

impl LegacyRemote {
    /// Refuses every session opened so far; new ones are fine. Open streams stay open.
    pub(crate) fn expire_sessions(&self, refusal: Refusal) {
        self.world.state.with(|state| {
            for session in state.sessions.values_mut() {
                session.refused = Some(refusal);
            }
        });
    }

    /// Refuses every session, those opened later too, from their first use on.
    pub(crate) fn refuse_every_session(&self, refusal: Refusal) {
        self.expire_sessions(refusal);
        self.world.state.with(|state| state.doom = Some(refusal));
    }

    /// Listens again on the same port, as a new process would: old sessions are unknown.
    pub(crate) fn restart_on_same_port(&self) {
        self.expire_sessions(Refusal::NotFound);
        self.remote.restart();
    }

    /// Waits for an open event stream (GET) of the newest usable session.
    #[track_caller]
    pub(crate) fn wait_stream(&self) -> StreamHandle {
        let found = self.world.state.wait(DEADLINE, |state| {
            let usable = state
                .sessions
                .values()
                .filter(|session| session.refused.is_none());
            usable
                .filter_map(|session| session.open_stream().map(|stream| (session.number, stream)))
                .max_by_key(|(number, _)| *number)
                .map(|(_, stream)| stream)
        });
        found.unwrap_or_else(|| panic!("no event stream was opened; {:#?}", self.remote.calls()))
    }

    /// Sends a message on the event stream of the newest usable session.
    #[track_caller]
    pub(crate) fn say(&self, message: &Value) {
        self.wait_stream().event(message);
    }

    /// Sessions opened so far.
    pub(crate) fn sessions_opened(&self) -> usize {
        self.world.state.with(|state| state.opened)
    }

    /// Sessions that were neither refused nor deleted.
    pub(crate) fn sessions_alive(&self) -> usize {
        let alive = |session: &&Session| session.refused.is_none();
        self.world
            .state
            .with(|state| state.sessions.values().filter(alive).count())
    }

    /// Forgets and gives the rules the client broke so far.
    pub(crate) fn take_violations(&self) -> Vec<String> {
        self.world
            .state
            .with(|state| std::mem::take(&mut state.violations))
    }
}

impl Deref for LegacyRemote {
    type Target = Remote;

    fn deref(&self) -> &Remote {
        &self.remote
    }
}

impl Drop for LegacyRemote {
    fn drop(&mut self) {
        let violations = self.take_violations();
        if std::thread::panicking() {
            return;
        }
        self.guard.iter().for_each(assert_clean);
        if !violations.is_empty() {
            let calls = self.remote.calls();
            panic!("the client broke rules:\n{violations:#?}\nits requests were:\n{calls:#?}");
        }
    }
}

impl Refusal {
    /// The answer it stands for.
    pub(crate) fn reply(self) -> Reply {
        let rpc = |status, code: i64, message: &str| {
            let error = json!({"code": code, "message": message});
            let body = json!({"jsonrpc": "2.0", "id": null, "error": error});
            Reply::json(&body).with_status(status)
        };
        match self {
            Self::NotFound => rpc(404, -32001, "Session not found"),
            Self::NotFoundText => Reply::text(404, "Could not find session"),
            Self::BadRequest => rpc(400, -32000, "Bad Request: No valid session ID provided"),
            Self::BadRequestText => Reply::text(400, "Bad Request: No valid session ID provided"),
            Self::Unauthorized => Reply::text(401, "Unauthorized: Session not found"),
            Self::Unprocessable => {
                Reply::text(422, "Unexpected message, expect initialize request")
            }
            Self::Unavailable => Reply::text(503, "session expired"),
        }
    }
}
