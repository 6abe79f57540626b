//! The rules by which ready-made servers answer, and what they check.
//!
//! In: sessions, headers, order, what goes onto which stream. Out: how a test describes a server
//! and talks to it (`legacy`).

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::call::Call;
use super::legacy::Refusal;
use super::reply::Reply;
use super::stream::StreamHandle;
use super::watched::Watched;

/// What a ready-made server is like.
pub(super) struct Plan {
    pub(super) kind: Kind,
    pub(super) version: Option<String>,
    pub(super) capabilities: Value,
    pub(super) tools: Value,
    pub(super) handlers: HashMap<String, Handler>,
    pub(super) as_sse: bool,
    pub(super) endpoint: String,
    pub(super) lenient: bool,
}

/// A server's plan, and what has become of it.
pub(super) struct World {
    plan: Plan,
    pub(super) state: Watched<State>,
}

pub(super) type Handler = Box<dyn Fn(&Call) -> Reply + Send + Sync>;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sessions,
    Free,
    HttpSse,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) sessions: HashMap<String, Session>,
    /// Sessions opened so far.
    pub(super) opened: usize,
    /// Every session is refused this way from its first use on.
    pub(super) doom: Option<Refusal>,
    pub(super) violations: Vec<String>,
}

#[derive(Default)]
pub(super) struct Session {
    pub(super) number: usize,
    /// What `initialize` settled; none before.
    pub(super) version: Option<String>,
    /// `notifications/initialized` was answered.
    pub(super) ready: bool,
    pub(super) refused: Option<Refusal>,
    pub(super) stream: Option<StreamHandle>,
}

impl Session {
    pub(super) fn open_stream(&self) -> Option<StreamHandle> {
        self.stream.clone().filter(|stream| !stream.is_closed())
    }
}

impl World {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            state: Watched::default(),
        }
    }

    /// Whether the test answers this in a way of its own.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.plan.handlers.contains_key(key)
    }

    /// Answers one request.
    pub(super) fn answer(self: &Arc<Self>, call: &Call) -> Reply {
        if self.plan.kind != Kind::HttpSse {
            self.answer_streamable(call)
        } else if call.verb == "GET" {
            self.check_accept(call, &["text/event-stream"]);
            let reply = self.asked(call);
            if reply.is_usual() {
                self.open_http_sse(call).gated_by(reply)
            } else {
                reply
            }
        } else if let Some(sid) = query_sid(call) {
            self.answer_http_sse(call, &sid)
        } else {
            let on_post = self.plan.handlers.get("POST").map(|handler| handler(call));
            on_post.unwrap_or_else(|| Reply::text(405, "Method Not Allowed"))
        }
    }

    fn answer_streamable(self: &Arc<Self>, call: &Call) -> Reply {
        let mut call = call.clone();
        self.check_form(&call);
        let opening = call.key() == "initialize";
        let id = call.session().unwrap_or_default();
        if opening {
            for name in ["mcp-session-id", "mcp-protocol-version"] {
                self.check(
                    &call,
                    call.header(name).is_none(),
                    &format!("`initialize` has {name}"),
                );
            }
        } else if let Some(refusal) = self.admit(&mut call, &id) {
            return refusal;
        }
        let mut reply = self.asked(&call);
        if reply.is_usual() {
            reply = self.usual(&call, &id).gated_by(reply);
        }
        if opening && reply.status_code() == Some(200) {
            let version = self.settled_version(&call, &reply);
            let id = self.open_session(Some(version), None);
            if self.plan.kind == Kind::Sessions && !reply.has_header("mcp-session-id") {
                reply = reply.header("mcp-session-id", &id);
            }
        }
        self.ready_after(&call, &id, reply)
    }

    /// HTTP+SSE: a POST to an announced endpoint.
    fn answer_http_sse(self: &Arc<Self>, call: &Call, sid: &str) -> Reply {
        let mut call = call.clone();
        self.check_post_form(&call);
        self.check(
            &call,
            call.session().is_none(),
            "HTTP+SSE has no session header",
        );
        if let Some(refusal) = self.admit(&mut call, sid) {
            return refusal;
        }
        let mut reply = self.asked(&call);
        if reply.is_usual() {
            reply = self.usual(&call, sid).gated_by(reply);
        }
        if call.key() == "initialize" && reply.status_code() == Some(200) {
            let version = self.settled_version(&call, &reply);
            self.state.with(|state| {
                if let Some(session) = state.sessions.get_mut(sid) {
                    session.version = Some(version);
                }
            });
        }
        let reply = self.ready_after(&call, sid, reply);
        let Some((200, body)) = reply
            .whole_body()
            .filter(|_| !reply.direct && call.is_request())
        else {
            return reply;
        };
        let Some(stream) = call.stream else {
            return Reply::text(404, "the stream is gone");
        };
        let text = if reply.has_header_value("content-type", "text/event-stream") {
            body.clone()
        } else {
            let line = String::from_utf8_lossy(body).replace('\n', "\ndata: ");
            format!("event: message\ndata: {line}\n\n").into()
        };
        let (gates, acts) = (reply.gates, reply.on_sent);
        tokio::spawn(async move {
            for gate in &gates {
                gate.opened().await;
            }
            for act in acts {
                act();
            }
            stream.send_if_open(text);
        });
        Reply::text(202, "Accepted")
    }

    /// Looks the session up, and checks what every later request must carry. The answer, if there
    /// is one, ends the matter.
    fn admit(&self, call: &mut Call, id: &str) -> Option<Reply> {
        let kind = self.plan.kind;
        let wants_ready = call.key() == "GET" || call.is_request();
        let exempt = matches!(call.key(), "initialize" | "ping");
        let version = call.header("mcp-protocol-version");
        let found = self.state.with(|state| {
            let session = state.sessions.get(id)?;
            let refused = session.refused.or(state.doom);
            Some((
                refused,
                session.version.clone(),
                session.ready,
                session.open_stream(),
            ))
        });
        let Some((refused, settled, ready, stream)) = found else {
            let (complaint, refusal) = match kind {
                Kind::Sessions if id.is_empty() => (
                    "no session id",
                    Reply::text(400, "Bad Request: Mcp-Session-Id is required"),
                ),
                Kind::Free if id.is_empty() => (
                    "comes before `initialize`",
                    Reply::text(400, "Server not initialized"),
                ),
                _ => (
                    "a session id that was never given out",
                    Refusal::NotFound.reply(),
                ),
            };
            self.check(call, false, complaint);
            return Some(refusal);
        };
        if let Some(refusal) = refused {
            let http_sse = kind == Kind::HttpSse && refusal == Refusal::NotFound;
            return Some(
                if http_sse {
                    Refusal::NotFoundText
                } else {
                    refusal
                }
                .reply(),
            );
        }
        if settled.is_some() {
            let complaint = format!("mcp-protocol-version is {version:?}, settled was {settled:?}");
            self.check(call, version == settled, &complaint);
        }
        if wants_ready && !exempt && !ready {
            self.check(call, false, "overtakes `notifications/initialized`");
            return Some(call.error(-32602, "Invalid request parameters"));
        }
        call.stream = stream;
        None
    }

    fn asked(&self, call: &Call) -> Reply {
        self.plan
            .handlers
            .get(call.key())
            .map_or_else(Reply::usual, |handler| handler(call))
    }

    fn usual(&self, call: &Call, id: &str) -> Reply {
        let result = match call.key() {
            "GET" => return self.open_get_stream(id),
            "DELETE" => return self.delete(id),
            "batch" | "POST" | "" => {
                self.check(call, false, "is not a single JSON-RPC message");
                return Reply::json(&call.error_message(-32600, "Invalid Request"))
                    .with_status(400);
            }
            _ if !call.is_request() => return Reply::accepted(),
            "initialize" => {
                let asked = call.params().get("protocolVersion").and_then(Value::as_str);
                json!({
                    "protocolVersion": self.plan.version.as_deref().or(asked),
                    "capabilities": self.plan.capabilities,
                    "serverInfo": {"name": "ready-made", "version": "1.0.0"},
                })
            }
            "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => {
                json!({})
            }
            "tools/list" => json!({"tools": self.plan.tools}),
            "resources/list" => json!({"resources": []}),
            "prompts/list" => json!({"prompts": []}),
            "tools/call" => call.echo(),
            _ => return self.worded(&call.error_message(-32601, "Method not found")),
        };
        self.worded(&call.result_message(&result))
    }

    fn worded(&self, message: &Value) -> Reply {
        if self.plan.as_sse {
            Reply::sse(std::slice::from_ref(message))
        } else {
            Reply::json(message)
        }
    }

    fn open_get_stream(&self, id: &str) -> Reply {
        if self.plan.kind == Kind::Free {
            return Reply::status(405).header("allow", "POST");
        }
        self.state.with(|state| {
            let Some(session) = state.sessions.get_mut(id) else {
                return Refusal::NotFound.reply();
            };
            if session.open_stream().is_some() {
                return Reply::text(409, "Conflict: Only one SSE stream is allowed per session");
            }
            Reply::stream(|stream| session.stream = Some(stream))
        })
    }

    fn open_http_sse(&self, call: &Call) -> Reply {
        Reply::stream(|stream| {
            let sid = self.open_session(None, Some(stream.clone()));
            let scheme = if call.secure { "https" } else { "http" };
            let origin = format!("{scheme}://{}", call.header("host").unwrap_or_default());
            let address = self
                .plan
                .endpoint
                .replace("{sid}", &sid)
                .replace("{origin}", &origin);
            stream.send(format!("event: endpoint\ndata: {address}\n\n"));
        })
    }

    fn open_session(&self, version: Option<String>, stream: Option<StreamHandle>) -> String {
        self.state.with(|state| {
            state.opened += 1;
            let number = state.opened;
            let id = match self.plan.kind {
                Kind::Free => String::new(),
                Kind::Sessions => format!("session-{number}"),
                Kind::HttpSse => format!("sid{number}"),
            };
            let session = Session {
                number,
                version,
                stream,
                ..Session::default()
            };
            state.sessions.insert(id.clone(), session);
            id
        })
    }

    fn delete(&self, id: &str) -> Reply {
        if self.plan.kind == Kind::Free {
            return Reply::status(405).header("allow", "POST");
        }
        self.state.with(|state| {
            if let Some(session) = state.sessions.get_mut(id) {
                session.refused = Some(Refusal::NotFound);
                session.stream.iter().for_each(StreamHandle::close);
            }
        });
        Reply::status(200)
    }

    fn settled_version(&self, call: &Call, reply: &Reply) -> String {
        let body = reply.whole_body().map(|(_, body)| body);
        let message = body.and_then(|body| serde_json::from_slice::<Value>(body).ok());
        let said = message
            .as_ref()
            .and_then(|it| it.pointer("/result/protocolVersion"));
        let asked = call.params().get("protocolVersion");
        let ours = self.plan.version.as_deref();
        let version = said
            .and_then(Value::as_str)
            .or(ours)
            .or(asked.and_then(Value::as_str));
        version.unwrap_or_default().to_owned()
    }

    /// Once `notifications/initialized` is answered with 2xx, the session is ready.
    fn ready_after(self: &Arc<Self>, call: &Call, id: &str, reply: Reply) -> Reply {
        let well = reply
            .status_code()
            .is_some_and(|status| (200..300).contains(&status));
        if call.key() != "notifications/initialized" || !well {
            return reply;
        }
        let (world, id) = (Arc::clone(self), id.to_owned());
        reply.on_sent(move || {
            world.state.with(|state| {
                if let Some(session) = state.sessions.get_mut(&id) {
                    session.ready = true;
                }
            });
        })
    }

    fn check_form(&self, call: &Call) {
        match call.verb.as_str() {
            "POST" => {
                self.check_post_form(call);
                self.check_accept(call, &["application/json", "text/event-stream"]);
            }
            "GET" => self.check_accept(call, &["text/event-stream"]),
            "DELETE" => {}
            _ => self.check(call, false, "a method that MCP does not use"),
        }
    }

    fn check_post_form(&self, call: &Call) {
        let kind = call.header("content-type").unwrap_or_default();
        let is_json = kind
            .split(';')
            .next()
            .is_some_and(|kind| kind.trim() == "application/json");
        self.check(call, is_json, &format!("content-type is {kind:?}"));
        let single = call.json.get("jsonrpc") == Some(&json!("2.0"));
        self.check(call, single, "is not a single JSON-RPC 2.0 message");
    }

    fn check_accept(&self, call: &Call, kinds: &[&str]) {
        let accept = call.header("accept").unwrap_or_default();
        let has = |kind: &&str| accept.contains(*kind);
        self.check(
            call,
            kinds.iter().all(has),
            &format!("accept is {accept:?}"),
        );
    }

    fn check(&self, call: &Call, well: bool, complaint: &str) {
        if !well && !self.plan.lenient {
            self.state
                .with(|state| state.violations.push(format!("{complaint}: {call:?}")));
        }
    }
}

fn query_sid(call: &Call) -> Option<String> {
    let query = call.query.as_deref()?;
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("sid="))
        .map(str::to_owned)
}
