//! A ready-made MCP server of 2026-07-28, alone or beside one of the older revisions, and what a
//! client of that revision says.
//!
//! In: how a test describes such a server and talks to it; how older servers take requests of
//! 2026-07-28. Out: the rules it goes by (`modern_world`), the older server itself (`legacy`).

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use serde_json::{Value, json};

use super::authority_guard::{Guard, assert_clean};
use super::call::Call;
use super::legacy::{Legacy, LegacyRemote, Refusal};
use super::modern_world::{Plan, Script, World, is_modern, with_server_info};
use super::remote::Remote;
use super::reply::Reply;
use super::stream::StreamHandle;
use super::watched::DEADLINE;

/// The protocol revision without a handshake.
pub(crate) const MODERN: &str = "2026-07-28";

/// Describes a server: the `M` of the test list. [`start`](Self::start) runs it.
pub(crate) struct Modern {
    plan: Plan,
    legacy: Option<Legacy>,
    side: Side,
    guard: Option<Guard>,
}

/// A running server. Dropping it fails the test when the client broke a rule.
pub(crate) struct ModernRemote {
    remote: Running,
    world: Arc<World>,
    guard: Option<Guard>,
}

enum Running {
    Alone(Remote),
    Beside(LegacyRemote),
}

/// Which eras a server with both of them serves at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Side {
    /// Each request by its own era.
    #[default]
    Both,
    /// No handshake any more, and no session: as if the server had been replaced by a newer one.
    Modern,
    /// As if it had been replaced by an older one.
    Legacy,
}

/// How a server without a handshake refuses `initialize` (MCP 2026-07-28, Versioning).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHandshake {
    /// 400 with `UnsupportedProtocolVersion`, which names the revisions.
    Unsupported,
    /// 404 with −32601.
    NotFound,
    /// 400 with `HeaderMismatch`: there are no headers.
    HeaderMismatch,
    /// 400 with −32602: there is no `_meta`.
    InvalidParams,
    /// 400 without a body.
    Empty,
}

/// How a server of the older revisions answers `server/discover` (as seen in the field).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unaware {
    /// TypeScript SDK 1.x with sessions: 400, −32000, no id.
    TypeScript,
    /// TypeScript SDK 1.x without sessions: 400, −32000, names revisions in its text.
    TypeScriptFree,
    /// Older ones of those, which do not look at the header: 200 with an event, −32601.
    TypeScriptOld,
    /// Python SDK 1.x: 400, −32600, an id of its own, and a session that nobody will use.
    Python,
    /// rmcp up to 0.12: 422 with plain text.
    Rmcp,
    /// Go SDK with sessions: 200 with a result that names older revisions only.
    Go,
    /// Java SDK 2.0 without sessions: 500 with plain text.
    Java,
    /// HTTP+SSE: 405 with plain text.
    NotAllowed,
    /// No answer at all.
    Silence,
}

/// One question round of a tool, prompt or resource (MCP 2026-07-28, Multi Round-Trip Requests).
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(super) requests: Option<Value>,
    pub(super) state: bool,
}

/// A tool that works in the background (MCP 2026-07-28, Extensions, Tasks).
#[derive(Clone, Debug)]
pub(crate) struct Errand {
    /// Makes a task even for a client that did not declare the extension.
    pub(crate) unasked: bool,
    /// What it asks before it can go on: key and request.
    pub(crate) question: Option<(String, Value)>,
    /// What comes of it.
    pub(crate) result: Value,
}

/// One `subscriptions/listen` that the server was asked for. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Listen {
    /// The request.
    pub(crate) call: Call,
    /// The part of the filter that the server can serve.
    pub(crate) honoured: Value,
    /// Its stream.
    pub(crate) stream: StreamHandle,
}

impl Modern {
    /// A server that offers everything of 2026-07-28 but extensions, and lists the tool `echo`.
    pub(crate) fn new() -> Self {
        let plan = Plan {
            versions: vec![MODERN.to_owned()],
            capabilities: json!({
                "tools": {"listChanged": true},
                "prompts": {"listChanged": true},
                "resources": {"listChanged": true, "subscribe": true},
                "completions": {},
                "logging": {},
            }),
            server_info: Some(json!({"name": "depot", "version": "9"})),
            instructions: None,
            ttl_ms: 0,
            cache_scope: "private".to_owned(),
            pages: vec![json!([{
                "name": "echo",
                "description": "Says it again",
                "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}},
            }])],
            handlers: HashMap::new(),
            scripts: HashMap::new(),
            refusal: NoHandshake::Unsupported,
            as_sse: false,
            manual_acks: false,
            lenient: false,
        };
        Self {
            plan,
            legacy: None,
            side: Side::Both,
            guard: None,
        }
    }

    /// Serves this older server's clients too: every request that is not of 2026-07-28 is its.
    pub(crate) fn beside(mut self, legacy: Legacy) -> Self {
        self.legacy = Some(legacy);
        self
    }

    /// With [`beside`](Self::beside): serves these at first.
    pub(crate) fn side(mut self, side: Side) -> Self {
        self.side = side;
        self
    }

    /// Refuses `initialize` this way.
    pub(crate) fn refuses(mut self, refusal: NoHandshake) -> Self {
        self.plan.refusal = refusal;
        self
    }

    /// Names these revisions in `server/discover`.
    pub(crate) fn versions(mut self, versions: &[&str]) -> Self {
        self.plan.versions = versions.iter().map(|&version| version.to_owned()).collect();
        self
    }

    /// Advertises these capabilities.
    pub(crate) fn capabilities(mut self, capabilities: Value) -> Self {
        self.plan.capabilities = capabilities;
        self
    }

    /// Gives these instructions.
    pub(crate) fn instructions(mut self, instructions: &str) -> Self {
        self.plan.instructions = Some(instructions.to_owned());
        self
    }

    /// Does not say who it is.
    pub(crate) fn nameless(mut self) -> Self {
        self.plan.server_info = None;
        self
    }

    /// Says that what can be kept may be kept for so many milliseconds, in this scope (`public`
    /// or `private`).
    pub(crate) fn fresh(mut self, ttl_ms: u64, scope: &str) -> Self {
        self.plan.ttl_ms = ttl_ms;
        scope.clone_into(&mut self.plan.cache_scope);
        self
    }

    /// Lists these tools (an array). Calling one without a script echoes.
    pub(crate) fn tools(self, tools: Value) -> Self {
        self.tool_pages(vec![tools])
    }

    /// Lists these tools page by page (arrays).
    pub(crate) fn tool_pages(mut self, pages: Vec<Value>) -> Self {
        self.plan.pages = pages;
        self
    }

    /// Answers requests as a short event stream instead of a JSON body.
    pub(crate) fn answers_as_sse(mut self) -> Self {
        self.plan.as_sse = true;
        self
    }

    /// Acknowledges no `subscriptions/listen` by itself: the test does, with
    /// [`Listen::acknowledge`].
    pub(crate) fn acknowledges_when_told(mut self) -> Self {
        self.plan.manual_acks = true;
        self
    }

    /// Notes no violations.
    pub(crate) fn lenient(mut self) -> Self {
        self.plan.lenient = true;
        self
    }

    /// Asks this guard first: only what it lets through reaches the server.
    pub(crate) fn guarded(mut self, guard: &Guard) -> Self {
        self.guard = Some(guard.clone());
        self
    }

    /// Answers requests with this [`Call::key`] in another way, once headers and `_meta` were
    /// found right. [`Reply::usual`] falls back to the usual answer, and may be delayed by a gate.
    pub(crate) fn on(
        mut self,
        key: &str,
        handler: impl Fn(&Call) -> Reply + Send + Sync + 'static,
    ) -> Self {
        self.plan.handlers.insert(key.to_owned(), Box::new(handler));
        self
    }

    /// Answers requests about this tool or prompt (by name) or resource (by URI) with the closure.
    pub(crate) fn script(
        self,
        target: &str,
        handler: impl Fn(&Call) -> Reply + Send + Sync + 'static,
    ) -> Self {
        self.scripted(target, Script::Closure(Box::new(handler)))
    }

    /// That tool, prompt or resource asks its client in these rounds, then gives this result. It
    /// checks the retries: same parameters, another id, every answer, the exact state.
    pub(crate) fn asks(self, target: &str, rounds: &[Round], result: Value) -> Self {
        self.scripted(target, Script::Rounds(rounds.to_vec(), result))
    }

    /// That tool works in the background.
    pub(crate) fn errand(self, tool: &str, errand: Errand) -> Self {
        self.scripted(tool, Script::Errand(errand))
    }

    /// That tool tells of its progress at these values, if its caller gave a token, then echoes.
    pub(crate) fn progresses(self, tool: &str, values: &[u64]) -> Self {
        self.scripted(tool, Script::Progress(values.to_vec()))
    }

    /// That tool logs a line at `debug`, `warning` and `error`, as far as its caller wants them,
    /// then echoes.
    pub(crate) fn logs(self, tool: &str) -> Self {
        self.scripted(tool, Script::Logs)
    }

    fn scripted(mut self, target: &str, script: Script) -> Self {
        self.plan.scripts.insert(target.to_owned(), script);
        self
    }

    /// Runs the server.
    pub(crate) fn start(self) -> ModernRemote {
        let Self {
            plan,
            legacy,
            side,
            guard,
        } = self;
        let world = Arc::new(World::new(plan, side));
        let (answering, asking) = (Arc::clone(&world), guard.clone());
        let stopped = move |call: &Call| asking.as_ref().and_then(|guard| guard.stop(call));
        let remote = match legacy {
            None => Running::Alone(Remote::serve(move |call| {
                stopped(call).unwrap_or_else(|| answering.answer(call))
            })),
            Some(legacy) => Running::Beside(
                legacy
                    .first(move |call| stopped(call).unwrap_or_else(|| answering.sort(call)))
                    .start(),
            ),
        };
        ModernRemote {
            remote,
            world,
            guard,
        }
    }
}

impl ModernRemote {
    /// Serves these eras from now on.
    pub(crate) fn turn(&self, side: Side) {
        self.world.state.with(|state| state.side = side);
    }

    /// Waits for the `nth` `subscriptions/listen` (the first is 1).
    #[track_caller]
    pub(crate) fn wait_listen(&self, nth: usize) -> Listen {
        let found = self
            .world
            .state
            .wait(DEADLINE, |state| state.listens.get(nth - 1).cloned());
        found.unwrap_or_else(|| panic!("no listen {nth} came; {:#?}", self.calls()))
    }

    /// Every `subscriptions/listen` so far.
    pub(crate) fn listens(&self) -> Vec<Listen> {
        self.world.state.with(|state| state.listens.clone())
    }

    /// Tells of a change on every open stream that asked for it; gives on how many.
    pub(crate) fn change(&self, method: &str, params: &Value) -> usize {
        let open = self.listens().into_iter();
        let wanting = open.filter(|listen| !listen.stream.is_closed());
        let wanting = wanting.filter(|listen| listen.wants(method, params));
        wanting.map(|listen| listen.push(method, params)).count()
    }

    /// The legacy server beside it.
    #[track_caller]
    pub(crate) fn legacy(&self) -> &LegacyRemote {
        match &self.remote {
            Running::Alone(_) => panic!("this server has no legacy side"),
            Running::Beside(legacy) => legacy,
        }
    }

    /// Forgets and gives the rules of 2026-07-28 that the client broke so far.
    pub(crate) fn take_violations(&self) -> Vec<String> {
        self.world
            .state
            .with(|state| std::mem::take(&mut state.violations))
    }
}

impl Deref for ModernRemote {
    type Target = Remote;

    fn deref(&self) -> &Remote {
        match &self.remote {
            Running::Alone(remote) => remote,
            Running::Beside(legacy) => legacy,
        }
    }
}

impl Drop for ModernRemote {
    fn drop(&mut self) {
        let violations = self.take_violations();
        if std::thread::panicking() {
            return;
        }
        self.guard.iter().for_each(assert_clean);
        if !violations.is_empty() {
            let calls = self.calls();
            panic!("the client broke rules:\n{violations:#?}\nits requests were:\n{calls:#?}");
        }
    }
}

impl Listen {
    /// The filter that was asked for.
    pub(crate) fn filter(&self) -> &Value {
        &self.call.params()["notifications"]
    }

    /// Sends the acknowledgement.
    pub(crate) fn acknowledge(&self) {
        self.push(
            "notifications/subscriptions/acknowledged",
            &json!({"notifications": self.honoured}),
        );
    }

    /// Sends a notification of this subscription.
    pub(crate) fn push(&self, method: &str, params: &Value) {
        let mut params = if params.is_null() {
            json!({})
        } else {
            params.clone()
        };
        params["_meta"]["io.modelcontextprotocol/subscriptionId"] = self.call.id();
        self.stream
            .event(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    /// Ends it with a result, as a server does that shuts down.
    pub(crate) fn finish(&self) {
        let meta = json!({"io.modelcontextprotocol/subscriptionId": self.call.id()});
        let result = json!({"resultType": "complete", "_meta": meta});
        self.stream.event(&self.call.result_message(&result));
        self.stream.close();
    }

    /// Breaks it off.
    pub(crate) fn cut(&self) {
        self.stream.cut();
    }

    /// Whether a change of this kind belongs on it.
    fn wants(&self, method: &str, params: &Value) -> bool {
        match method {
            "notifications/tools/list_changed" => self.honoured["toolsListChanged"] == true,
            "notifications/prompts/list_changed" => self.honoured["promptsListChanged"] == true,
            "notifications/resources/list_changed" => self.honoured["resourcesListChanged"] == true,
            "notifications/resources/updated" => {
                let uris = self.honoured["resourceSubscriptions"].as_array();
                uris.is_some_and(|uris| uris.contains(&params["uri"]))
            }
            _ => false,
        }
    }
}

impl Round {
    /// Asks these questions (key to request), and gives a state to bring back.
    pub(crate) fn asking(requests: Value) -> Self {
        Self {
            requests: Some(requests),
            state: true,
        }
    }

    /// Asks nothing: only wants to be asked again.
    pub(crate) fn state_only() -> Self {
        Self {
            requests: None,
            state: true,
        }
    }

    /// Gives no state.
    pub(crate) fn stateless(mut self) -> Self {
        self.state = false;
        self
    }
}

/// A question of a server: fill in a form.
pub(crate) fn form(message: &str) -> Value {
    let schema = json!({
        "type": "object",
        "properties": {"size": {"type": "string", "enum": ["S", "M"]}},
        "required": ["size"],
    });
    let params = json!({"mode": "form", "message": message, "requestedSchema": schema});
    json!({"method": "elicitation/create", "params": params})
}

/// A question of a server: open this address.
pub(crate) fn open_url(url: &str) -> Value {
    let params = json!({"mode": "url", "message": "Please open this", "url": url});
    json!({"method": "elicitation/create", "params": params})
}

/// A question of a server: let your model answer this.
pub(crate) fn sampling(text: &str) -> Value {
    let message = json!({"role": "user", "content": {"type": "text", "text": text}});
    let params = json!({"messages": [message], "maxTokens": 100});
    json!({"method": "sampling/createMessage", "params": params})
}

/// A question of a server: where may I work?
pub(crate) fn roots() -> Value {
    json!({"method": "roots/list", "params": {}})
}

/// A request of a client of 2026-07-28. Keys of a `_meta` among the parameters stay.
pub(crate) fn modern_request(
    id: impl Into<Value>,
    method: &str,
    params: Value,
    capabilities: &Value,
) -> Value {
    let mut params = if params.is_null() { json!({}) } else { params };
    let meta = &mut params["_meta"];
    meta["io.modelcontextprotocol/protocolVersion"] = json!(MODERN);
    meta["io.modelcontextprotocol/clientCapabilities"] = capabilities.clone();
    meta["io.modelcontextprotocol/clientInfo"] = json!({"name": "test-client", "version": "1.0.0"});
    json!({"jsonrpc": "2.0", "id": id.into(), "method": method, "params": params})
}

impl Call {
    /// 200 with this result as a server of 2026-07-28 gives it: what every result has is added.
    pub(crate) fn complete(&self, result: Value) -> Reply {
        let info = json!({"name": "depot", "version": "9"});
        self.result(&with_server_info(result, Some(&info)))
    }

    /// 200 with an `input_required` result.
    pub(crate) fn input_required(&self, requests: &Value, state: Option<&str>) -> Reply {
        let mut result = json!({"resultType": "input_required", "inputRequests": requests});
        if let Some(state) = state {
            result["requestState"] = json!(state);
        }
        self.complete(result)
    }

    /// A key of this request's `_meta` under `io.modelcontextprotocol/`; null where there is none.
    pub(crate) fn stated(&self, key: &str) -> &Value {
        &self.params()["_meta"][format!("io.modelcontextprotocol/{key}")]
    }
}

impl NoHandshake {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [
        Self::Unsupported,
        Self::NotFound,
        Self::HeaderMismatch,
        Self::InvalidParams,
        Self::Empty,
    ];

    pub(super) fn reply(self, call: &Call, versions: &[String]) -> Reply {
        let refuse = |status, code, message: &str| call.error(code, message).with_status(status);
        match self {
            Self::Unsupported => unsupported(call, versions),
            Self::NotFound => refuse(404, -32601, "Method not found"),
            Self::HeaderMismatch => refuse(400, -32020, "Header mismatch"),
            Self::InvalidParams => refuse(400, -32602, "Invalid params: _meta is missing"),
            Self::Empty => Reply::status(400),
        }
    }
}

/// 400 with `UnsupportedProtocolVersion`.
pub(super) fn unsupported(call: &Call, versions: &[String]) -> Reply {
    let asked = match call.stated("protocolVersion") {
        Value::Null => &call.params()["protocolVersion"],
        version => version,
    };
    let mut message = call.error_message(-32022, "Unsupported protocol version");
    message["error"]["data"] = json!({"supported": versions, "requested": asked});
    Reply::json(&message).with_status(400)
}

impl Legacy {
    /// Answers `server/discover` this way, and refuses requests whose `_meta` has keys that only
    /// 2026-07-28 reserves.
    pub(crate) fn unaware(self, how: Unaware) -> Self {
        self.first(move |call| how.sort(call))
    }
}

impl Unaware {
    /// Those of servers with sessions that answer at all.
    pub(crate) const WITH_SESSIONS: [Self; 4] =
        [Self::TypeScript, Self::Python, Self::Rmcp, Self::Go];

    /// Those of servers without sessions that answer at all.
    pub(crate) const WITHOUT_SESSIONS: [Self; 3] =
        [Self::TypeScriptFree, Self::TypeScriptOld, Self::Java];

    const STRAY: &str = "stray-session";

    /// Usual for what an older server understands.
    fn sort(self, call: &Call) -> Reply {
        let stray = self == Self::Python && call.session().as_deref() == Some(Self::STRAY);
        if call.key() == "server/discover" {
            return self.reply(call);
        }
        if stray && call.verb == "DELETE" {
            return Reply::status(200);
        }
        let meta = call.params().get("_meta").and_then(Value::as_object);
        let reserved = meta.is_some_and(|meta| meta.keys().any(|key| is_reserved(key)));
        if reserved && call.key() != "initialize" {
            return call
                .error(-32600, "Invalid Request: reserved _meta keys")
                .with_status(400);
        }
        Reply::usual()
    }

    /// What `server/discover` gets.
    pub(super) fn reply(self, call: &Call) -> Reply {
        let without_id = |id: Value, code: i64, message: &str| {
            let error = json!({"code": code, "message": message});
            Reply::json(&json!({"jsonrpc": "2.0", "id": id, "error": error})).with_status(400)
        };
        match self {
            Self::TypeScript => without_id(
                Value::Null,
                -32000,
                "Bad Request: No valid session ID provided",
            ),
            Self::TypeScriptFree => without_id(
                Value::Null,
                -32000,
                "Bad Request: Unsupported protocol version: 2026-07-28 (supported versions: \
                 2025-11-25, 2025-06-18, 2025-03-26)",
            ),
            Self::TypeScriptOld => Reply::sse(&[call.error_message(-32601, "Method not found")]),
            Self::Python => without_id(
                json!("server-error"),
                -32600,
                "Bad Request: Missing session ID",
            )
            .header("mcp-session-id", Self::STRAY),
            Self::Rmcp => Reply::text(422, "Unexpected message, expect initialize request"),
            Self::Go => call.result(&json!({
                "supportedVersions": ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "ready-made", "version": "1.0.0"},
            })),
            Self::Java => Reply::text(500, "Missing handler for method server/discover"),
            Self::NotAllowed => Reply::text(405, "Method Not Allowed"),
            Self::Silence => Reply::never(),
        }
    }
}

/// Whether only 2026-07-28 gives this `_meta` key of a request a meaning.
fn is_reserved(key: &str) -> bool {
    let names = [
        "protocolVersion",
        "clientCapabilities",
        "clientInfo",
        "logLevel",
    ];
    key.strip_prefix("io.modelcontextprotocol/")
        .is_some_and(|name| names.contains(&name))
}

impl World {
    /// With a legacy server beside it: usual for what is that one's.
    fn sort(self: &Arc<Self>, call: &Call) -> Reply {
        let side = self.state.with(|state| state.side);
        match (side, is_modern(call)) {
            (Side::Modern, false) if call.session().is_some() => Refusal::NotFound.reply(),
            (Side::Both | Side::Modern, true) | (Side::Modern, false) => self.answer(call),
            (Side::Both | Side::Legacy, false) => Reply::usual(),
            (Side::Legacy, true) => Unaware::TypeScript.reply(call),
        }
    }
}
