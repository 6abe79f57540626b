//! The rules by which the ready-made server of 2026-07-28 answers, and what it checks (MCP
//! 2026-07-28, Streamable HTTP; Base Protocol; Multi Round-Trip Requests; Subscriptions).
//!
//! In: headers against bodies, ids, scripts. Out: how a test describes a server and talks to it
//! (`modern`).

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::call::Call;
use super::modern::{Errand, Listen, MODERN, NoHandshake, Round, Side, unsupported};
use super::reply::{Kind, Reply};
use super::stream::{Source, StreamHandle};
use super::watched::Watched;
use super::world::Handler;

/// The extension for tasks.
const TASKS: &str = "io.modelcontextprotocol/tasks";

/// Log levels, the most verbose first.
const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

/// What a server is like.
pub(super) struct Plan {
    pub(super) versions: Vec<String>,
    pub(super) capabilities: Value,
    pub(super) server_info: Option<Value>,
    pub(super) instructions: Option<String>,
    pub(super) ttl_ms: u64,
    pub(super) cache_scope: String,
    /// The tools, page by page.
    pub(super) pages: Vec<Value>,
    /// By [`Call::key`].
    pub(super) handlers: HashMap<String, Handler>,
    /// By the name or URI that a request is about.
    pub(super) scripts: HashMap<String, Script>,
    pub(super) refusal: NoHandshake,
    pub(super) as_sse: bool,
    pub(super) manual_acks: bool,
    pub(super) lenient: bool,
}

/// What a tool, prompt or resource does.
pub(super) enum Script {
    Closure(Handler),
    Rounds(Vec<Round>, Value),
    Errand(Errand),
    Progress(Vec<u64>),
    Logs,
}

/// A server's plan, and what has become of it.
pub(super) struct World {
    plan: Plan,
    pub(super) state: Watched<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) side: Side,
    pub(super) listens: Vec<Listen>,
    pub(super) violations: Vec<String>,
    /// Requests without a complete answer, by their id as JSON.
    open: HashMap<String, Open>,
    /// Questions not yet answered, by the raw text of their `requestState`.
    asked: HashMap<String, Asked>,
    tasks: HashMap<String, Task>,
    /// For names that are given once.
    minted: usize,
}

enum Open {
    Held,
    Streaming(StreamHandle),
}

/// What a retry has to agree with.
struct Asked {
    round: usize,
    about: Value,
    id: Value,
}

struct Task {
    name: String,
    polls: usize,
    answered: bool,
    cancelled: bool,
}

impl World {
    pub(super) fn new(plan: Plan, side: Side) -> Self {
        let state = State {
            side,
            ..State::default()
        };
        Self {
            plan,
            state: Watched::new(state),
        }
    }

    /// Answers one request.
    pub(super) fn answer(self: &Arc<Self>, call: &Call) -> Reply {
        if call.verb != "POST" {
            self.check(call, false, "only POST is used");
            return Reply::text(405, "Method Not Allowed").header("allow", "POST");
        }
        if call.key() == "initialize" {
            return self.plan.refusal.reply(call, &self.plan.versions);
        }
        self.check_form(call);
        if !call.is_request() {
            self.check_notification(call);
            return Reply::accepted();
        }
        if let Some(refusal) = self.judge(call) {
            return refusal;
        }
        self.open(call);
        let handler = self.plan.handlers.get(call.key());
        let mut reply = handler.map_or_else(Reply::usual, |handler| handler(call));
        if reply.is_usual() {
            reply = self.usual(call).gated_by(reply);
        }
        self.opened(call, reply)
    }

    fn usual(self: &Arc<Self>, call: &Call) -> Reply {
        let name = call.params()["name"].as_str();
        let uri = call.params()["uri"].as_str();
        let result = match call.key() {
            "server/discover" => self.discover(),
            "tools/list" => match self.page(call) {
                Some(page) => page,
                None => return call.error(-32602, "Invalid cursor").with_status(400),
            },
            "tools/call" | "prompts/get" | "resources/read" => {
                let target = name.or(uri).unwrap_or_default();
                match self.plan.scripts.get(target) {
                    Some(script) => return self.play(script, call),
                    None if call.key() == "tools/call" => call.echo(),
                    None if call.key() == "prompts/get" => json!({"messages": [
                        {"role": "user", "content": {"type": "text", "text": target}},
                    ]}),
                    None => json!({"contents": [{"uri": target, "text": format!("in {target}")}]}),
                }
            }
            "prompts/list" => json!({"prompts": [{"name": "greet"}]}),
            "resources/list" => json!({"resources": [{"uri": "file:///a", "name": "a"}]}),
            "resources/templates/list" => json!({"resourceTemplates": []}),
            "completion/complete" => json!({"completion": {"values": ["a"], "hasMore": false}}),
            "subscriptions/listen" => return self.listen(call),
            "tasks/get" | "tasks/update" | "tasks/cancel" => return self.task(call),
            method => {
                let mut message = call.error_message(-32601, "Method not found");
                message["error"]["data"] = json!({"method": method});
                return Reply::json(&message).with_status(404);
            }
        };
        self.worded(call, result)
    }

    /// A complete result, as JSON or as a stream.
    fn worded(&self, call: &Call, result: Value) -> Reply {
        let message = self.message(call, result);
        if self.plan.as_sse {
            Reply::sse(&[message])
        } else {
            Reply::json(&message)
        }
    }

    fn message(&self, call: &Call, result: Value) -> Value {
        let mut result = with_server_info(result, self.plan.server_info.as_ref());
        let kept = matches!(
            call.key(),
            "server/discover"
                | "tools/list"
                | "prompts/list"
                | "resources/list"
                | "resources/templates/list"
                | "resources/read"
        );
        if kept && result["resultType"] == "complete" {
            result["ttlMs"] = json!(self.plan.ttl_ms);
            result["cacheScope"] = json!(self.plan.cache_scope);
        }
        call.result_message(&result)
    }

    fn discover(&self) -> Value {
        let mut result = json!({
            "supportedVersions": self.plan.versions,
            "capabilities": self.plan.capabilities,
        });
        if let Some(instructions) = &self.plan.instructions {
            result["instructions"] = json!(instructions);
        }
        result
    }

    fn page(&self, call: &Call) -> Option<Value> {
        let number = match call.params()["cursor"].as_str() {
            Some(cursor) => cursor.strip_prefix("page-")?.parse().ok()?,
            None => 0_usize,
        };
        let mut result = json!({"tools": self.plan.pages.get(number)?});
        if number + 1 < self.plan.pages.len() {
            result["nextCursor"] = json!(format!("page-{}", number + 1));
        }
        Some(result)
    }

    fn play(self: &Arc<Self>, script: &Script, call: &Call) -> Reply {
        match script {
            Script::Closure(handler) => handler(call),
            Script::Rounds(rounds, result) => self.ask(rounds, result, call),
            Script::Errand(errand) => self.take_on(errand, call),
            Script::Progress(values) => {
                let token = call.progress_token();
                let values = if token.is_null() { &[] } else { &values[..] };
                let mut messages: Vec<_> = values
                    .iter()
                    .map(|value| {
                        let params = json!({"progressToken": token, "progress": value});
                        notification("notifications/progress", &params)
                    })
                    .collect();
                messages.push(self.message(call, call.echo()));
                Reply::sse(&messages)
            }
            Script::Logs => {
                let at = |level: &str| LEVELS.iter().position(|it| *it == level);
                let from = call.stated("logLevel").as_str().and_then(at);
                let mut messages: Vec<_> = ["debug", "warning", "error"]
                    .iter()
                    .filter(|level| from.is_some_and(|from| at(level) >= Some(from)))
                    .map(|level| {
                        let params = json!({"level": level, "data": format!("a {level}")});
                        notification("notifications/message", &params)
                    })
                    .collect();
                messages.push(self.message(call, call.echo()));
                Reply::sse(&messages)
            }
        }
    }

    /// Asks the next round of questions, or gives the result after the last.
    fn ask(&self, rounds: &[Round], result: &Value, call: &Call) -> Reply {
        let next = match self.retried(rounds, call) {
            Ok(next) => next,
            Err(complaint) => {
                self.check(call, false, &complaint);
                return call.error(-32602, &complaint).with_status(400);
            }
        };
        let Some(round) = rounds.get(next) else {
            return self.worded(call, result.clone());
        };
        let mut members = String::from(r#"{"resultType":"input_required""#);
        if let Some(requests) = &round.requests {
            members.extend([r#","inputRequests":"#, &requests.to_string()]);
        }
        if round.state {
            let state = self.state.with(|state| {
                state.minted += 1;
                // Spelled so that writing it anew changes it.
                let text = format!(r#""k9.{}.Zm9v\u002f\/é=""#, state.minted);
                let asked = Asked {
                    round: next,
                    about: about(call),
                    id: call.id(),
                };
                state.asked.insert(text.clone(), asked);
                text
            });
            members.extend([r#","requestState":"#, &state]);
        }
        call.result_text(&format!("{members}}}"))
    }

    /// Which round comes next.
    fn retried(&self, rounds: &[Round], call: &Call) -> Result<usize, String> {
        let answers = call.params()["inputResponses"].as_object();
        let keys_of = |round: &Round| {
            let requests = round.requests.as_ref().and_then(Value::as_object);
            requests.map(|requests| requests.keys().cloned().collect::<Vec<_>>())
        };
        let answered = answers.map(|answers| answers.keys().cloned().collect::<Vec<_>>());
        let Some(raw) = raw_state(call) else {
            let stateless = |round: &Round| !round.state && keys_of(round) == answered;
            return match &answered {
                None => Ok(0),
                Some(_) => rounds
                    .iter()
                    .position(stateless)
                    .map(|round| round + 1)
                    .ok_or_else(|| "answers to no question".to_owned()),
            };
        };
        let asked = self
            .state
            .with(|state| state.asked.remove(&raw))
            .ok_or_else(|| format!("requestState {raw} was not given out, or is used again"))?;
        if asked.about != about(call) {
            return Err(format!("a retry of {}", asked.about));
        }
        if asked.id == call.id() {
            return Err("a retry under the same id".to_owned());
        }
        let asking = rounds.get(asked.round).and_then(keys_of);
        if asking != answered {
            return Err(format!("{asking:?} were asked, {answered:?} answered"));
        }
        Ok(asked.round + 1)
    }

    fn take_on(&self, errand: &Errand, call: &Call) -> Reply {
        if !errand.unasked && !declares_tasks(call) {
            return lacks_tasks(call);
        }
        let name = call.params()["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let id = self.state.with(|state| {
            state.minted += 1;
            let id = format!("task-{}", state.minted);
            let task = Task {
                name,
                polls: 0,
                answered: errand.question.is_none(),
                cancelled: false,
            };
            state.tasks.insert(id.clone(), task);
            id
        });
        let mut result = task_fields(&id, "working");
        result["resultType"] = json!("task");
        self.worded(call, result)
    }

    /// `tasks/get`, `tasks/update` and `tasks/cancel`.
    fn task(&self, call: &Call) -> Reply {
        if !declares_tasks(call) {
            return lacks_tasks(call);
        }
        let id = call.params()["taskId"].as_str().unwrap_or_default();
        let found = self.state.with(|state| {
            let task = state.tasks.get_mut(id)?;
            let script = self.plan.scripts.get(&task.name);
            let Some(Script::Errand(errand)) = script else {
                return None;
            };
            let question = errand.question.as_ref();
            match call.key() {
                "tasks/update" => {
                    let answers = &call.params()["inputResponses"];
                    let given = question.is_some_and(|(key, _)| answers.get(key).is_some());
                    let again = given && task.answered;
                    task.answered |= given;
                    Some((json!({}), again))
                }
                "tasks/cancel" => {
                    task.cancelled = true;
                    Some((json!({}), false))
                }
                _ => {
                    task.polls += 1;
                    let status = match (task.cancelled, task.polls, task.answered) {
                        (true, ..) => "cancelled",
                        (_, 1, _) => "working",
                        (_, _, false) => "input_required",
                        _ => "completed",
                    };
                    let mut result = task_fields(id, status);
                    if let ("input_required", Some((key, request))) = (status, question) {
                        result["inputRequests"] = json!({key: request});
                    }
                    if status == "completed" {
                        result["result"] = errand.result.clone();
                    }
                    Some((result, false))
                }
            }
        });
        let Some((result, again)) = found else {
            return call.error(-32602, "Unknown task").with_status(400);
        };
        self.check(call, !again, "a task's question is answered twice");
        self.worded(call, result)
    }

    fn listen(&self, call: &Call) -> Reply {
        let asked = &call.params()["notifications"];
        if !asked.is_object() {
            self.check(call, false, "no filter");
            return call.error(-32602, "Invalid params").with_status(400);
        }
        let mut honoured = json!({});
        for kind in ["tools", "prompts", "resources"] {
            let flag = format!("{kind}ListChanged");
            if asked[&flag] == true && self.plan.capabilities[kind]["listChanged"] == true {
                honoured[flag] = json!(true);
            }
        }
        let uris = &asked["resourceSubscriptions"];
        if uris.is_array() && self.plan.capabilities["resources"]["subscribe"] == true {
            honoured["resourceSubscriptions"] = uris.clone();
        }
        Reply::stream(|stream| {
            let listen = Listen {
                call: call.clone(),
                honoured,
                stream,
            };
            if !self.plan.manual_acks {
                listen.acknowledge();
            }
            self.state.with(|state| state.listens.push(listen));
        })
    }

    /// Checks what every POST has.
    fn check_form(&self, call: &Call) {
        let kind = call.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_owned();
        let complaint = format!("content-type is {kind:?}");
        self.check(call, kind == "application/json", &complaint);
        let accept = call.header("accept").unwrap_or_default();
        let both = ["application/json", "text/event-stream"];
        let both = both.iter().all(|kind| accept.contains(kind));
        self.check(call, both, &format!("accept is {accept:?}"));
        let single = call.json.get("jsonrpc") == Some(&json!("2.0"));
        self.check(call, single, "is not a single JSON-RPC 2.0 message");
        for name in ["mcp-session-id", "last-event-id"] {
            self.check(call, call.header(name).is_none(), &format!("has {name}"));
        }
        for (name, value) in &call.headers {
            let ours = name.as_str().starts_with("mcp-");
            let plain = value
                .as_bytes()
                .iter()
                .all(|byte| (0x20..=0x7e).contains(byte));
            self.check(call, !ours || plain, &format!("{name} is {value:?}"));
        }
    }

    /// Checks what is not a request.
    fn check_notification(&self, call: &Call) {
        let complaint = format!("{} is never sent to a server without sessions", call.key());
        let unknown = call.key().starts_with("notifications/")
            && !matches!(
                call.key(),
                "notifications/cancelled"
                    | "notifications/initialized"
                    | "notifications/progress"
                    | "notifications/roots/list_changed"
            );
        self.check(call, unknown, &complaint);
    }

    /// Checks a request's headers and `_meta` against each other. The answer, if there is one,
    /// ends the matter.
    fn judge(&self, call: &Call) -> Option<Reply> {
        let refuse = |code: i64, complaint: &str| {
            self.check(call, false, complaint);
            Some(call.error(code, complaint).with_status(400))
        };
        let id = call.id();
        if !id.is_string() && !id.is_i64() && !id.is_u64() {
            return refuse(-32600, "the id is neither a string nor an integer");
        }
        let Some(version) = call.stated("protocolVersion").as_str() else {
            return refuse(-32602, "_meta has no protocolVersion");
        };
        let capabilities = call.stated("clientCapabilities");
        if !capabilities.is_object() {
            return refuse(-32602, "_meta has no clientCapabilities");
        }
        let listed = capabilities["roots"].get("listChanged").is_some();
        self.check(call, !listed, "roots.listChanged is declared");
        let tasks = capabilities.get("tasks").is_some();
        self.check(call, !tasks, "tasks are declared as a capability");
        for (name, wanted) in [
            ("mcp-protocol-version", Some(version)),
            ("mcp-method", Some(call.rpc())),
            ("mcp-name", about_whom(call)),
        ] {
            let found = call.header(name);
            if found.as_deref().and_then(decoded).as_deref() != wanted {
                let complaint = format!("Header mismatch: {name} is {found:?}, not {wanted:?}");
                return refuse(-32020, &complaint);
            }
        }
        if !self.plan.versions.iter().any(|known| known == version) {
            return Some(unsupported(call, &self.plan.versions));
        }
        // A client that has not seen the tool cannot know these: no violation.
        self.missing_param(call).map(|name| {
            let complaint = format!("Header mismatch: {name} is not what the body says");
            call.error(-32020, &complaint).with_status(400)
        })
    }

    /// A header that an `x-mcp-header` of the called tool asks for and that is not right.
    fn missing_param(&self, call: &Call) -> Option<String> {
        if call.key() != "tools/call" {
            return None;
        }
        let name = &call.params()["name"];
        let tools = self.plan.pages.iter().filter_map(Value::as_array).flatten();
        let tool = tools.into_iter().find(|tool| tool["name"] == *name)?;
        let mut headers = Vec::new();
        annotations(
            &tool["inputSchema"],
            &call.params()["arguments"],
            &mut headers,
        );
        let wrong = headers.into_iter().find(|(header, wanted)| {
            let found = call.header(header);
            found.as_deref().and_then(decoded) != *wanted || found.is_some() != wanted.is_some()
        });
        wrong.map(|(header, _)| header)
    }

    fn open(&self, call: &Call) {
        let id = call.id().to_string();
        let taken = self.state.with(|state| {
            let taken = match state.open.get(&id) {
                None => false,
                Some(Open::Held) => true,
                Some(Open::Streaming(stream)) => !stream.is_closed(),
            };
            state.open.insert(id, Open::Held);
            taken
        });
        self.check(call, !taken, "the id of a request that is still open");
    }

    /// Takes note of how long the request will be open.
    fn opened(self: &Arc<Self>, call: &Call, reply: Reply) -> Reply {
        let id = call.id().to_string();
        if let Kind::Http { body, .. } = &reply.kind
            && let Source::Stream(stream) = body.source()
        {
            let open = Open::Streaming(stream.clone());
            self.state.with(|state| state.open.insert(id, open));
            return reply;
        }
        let world = Arc::clone(self);
        reply.on_sent(move || drop(world.state.with(|state| state.open.remove(&id))))
    }

    fn check(&self, call: &Call, well: bool, complaint: &str) {
        if !well && !self.plan.lenient {
            let headers: Vec<_> = call
                .headers
                .iter()
                .filter(|(name, _)| name.as_str().starts_with("mcp-"))
                .collect();
            let violation = format!("{complaint}: {call:?} with {headers:?}");
            self.state.with(|state| state.violations.push(violation));
        }
    }
}

/// Whether it is a request of 2026-07-28, by its own word.
pub(super) fn is_modern(call: &Call) -> bool {
    let stated = call.stated("protocolVersion").is_string();
    call.key() == "server/discover" || (stated && call.key() != "initialize")
}

/// Adds what every result of 2026-07-28 has.
pub(super) fn with_server_info(mut result: Value, info: Option<&Value>) -> Value {
    if result.get("resultType").is_none() {
        result["resultType"] = json!("complete");
    }
    if let Some(info) = info {
        result["_meta"]["io.modelcontextprotocol/serverInfo"] = info.clone();
    }
    result
}

/// What `Mcp-Name` has to say.
fn about_whom(call: &Call) -> Option<&str> {
    let member = match call.key() {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return None,
    };
    call.params()[member].as_str()
}

/// The parameters without what differs between a request and its retries.
fn about(call: &Call) -> Value {
    let mut params = call.params().clone();
    if let Some(params) = params.as_object_mut() {
        for member in ["_meta", "inputResponses", "requestState"] {
            params.remove(member);
        }
    }
    json!([call.rpc(), params])
}

/// `params.requestState` as it is spelled.
fn raw_state(call: &Call) -> Option<String> {
    let members: HashMap<String, &RawValue> = serde_json::from_slice(&call.body).ok()?;
    let params: HashMap<String, &RawValue> =
        serde_json::from_str(members.get("params")?.get()).ok()?;
    Some(params.get("requestState")?.get().to_owned())
}

/// A header value as it was before it was made fit for HTTP (MCP 2026-07-28, Streamable HTTP,
/// Value Encoding).
fn decoded(value: &str) -> Option<String> {
    let packed = value
        .strip_prefix("=?base64?")
        .and_then(|rest| rest.strip_suffix("?="));
    match packed {
        Some(packed) => String::from_utf8(STANDARD.decode(packed).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}

/// The headers that a schema asks for, and what they have to say for these arguments.
fn annotations(schema: &Value, arguments: &Value, into: &mut Vec<(String, Option<String>)>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let value = &arguments[name];
        if let Some(header) = property["x-mcp-header"].as_str() {
            let text = match value {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            into.push((format!("mcp-param-{}", header.to_ascii_lowercase()), text));
        }
        annotations(property, value, into);
    }
}

fn declares_tasks(call: &Call) -> bool {
    call.stated("clientCapabilities")["extensions"]
        .get(TASKS)
        .is_some()
}

fn lacks_tasks(call: &Call) -> Reply {
    let mut message = call.error_message(-32021, "Missing required client capability");
    message["error"]["data"] = json!({"requiredCapabilities": {"extensions": {TASKS: {}}}});
    Reply::json(&message).with_status(400)
}

fn task_fields(id: &str, status: &str) -> Value {
    json!({
        "taskId": id,
        "status": status,
        "createdAt": "2026-08-01T10:00:00Z",
        "lastUpdatedAt": "2026-08-01T10:00:00Z",
        "ttlMs": 60_000,
        "pollIntervalMs": 50,
    })
}

fn notification(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}
