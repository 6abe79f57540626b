//! The server of a random conversation, and what it must never be sent.

use serde_json::{Value, json};

use super::super::eras::{discovered, unsupported};
use super::super::world::{Posted, initialize_result};
use super::{Dice, Game};
use crate::proto::{TroubleKind, Verb};

/// What the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Stateful,
    Stateless,
    Sse,
    Modern,
    Dual,
}

/// What became of a call at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It may have run.
    Taken,
    /// It did not run.
    Refused,
    /// It asked for something, and goes on with the answers.
    Asked,
}

/// A stream that is open at the server.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    posted: Posted,
    events: u64,
}

fn is_modern(posted: &Posted) -> bool {
    posted.header("mcp-protocol-version") == Some("2026-07-28")
}

fn error(posted: &Posted, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": posted.json["id"], "error": {"code": code, "message": message}})
}

fn question(number: u64, dice: &mut Dice) -> Value {
    let params = json!({"mode": "form", "message": "?",
        "requestedSchema": {"type": "object", "properties": {"a": {"type": "string"}}}});
    match dice.below(4) {
        0 => json!({"method": "roots/list"}),
        1 => json!({"method": "sampling/createMessage", "params": {"maxTokens": 1,
            "messages": [{"role": "user", "content": {"type": "text", "text": "t"}}]}}),
        2 => json!({"method": "elicitation/create", "params":
            {"mode": "url", "message": "?", "url": "https://x.example/", "elicitationId": format!("e{number}")}}),
        _ => json!({"method": "elicitation/create", "params": params}),
    }
}

impl Game {
    fn speaks_modern(&self) -> bool {
        matches!(self.kind, Kind::Modern | Kind::Dual)
    }

    // Exchanges.

    pub(super) fn server_serves(&mut self, dice: &mut Dice) {
        if self.world.untaken.is_empty() {
            return;
        }
        let at = if dice.percent(70) {
            0
        } else {
            dice.below(self.world.untaken.len())
        };
        let posted = self.world.untaken.remove(at);
        self.serve(&posted, dice);
    }

    /// Serves what came first. `false`: nothing came.
    pub(super) fn serves_next(&mut self, dice: &mut Dice) -> bool {
        if self.world.untaken.is_empty() {
            return false;
        }
        let posted = self.world.untaken.remove(0);
        self.serve(&posted, dice);
        true
    }

    /// A call arrives.
    fn note_call(&mut self, posted: &Posted) {
        let params = &posted.json["params"];
        let Some(n) = params["arguments"]["n"].as_u64() else {
            return;
        };
        let goes_on =
            params.get("inputResponses").is_some() || params.get("requestState").is_some();
        match self.fates.insert(n, Fate::Taken) {
            Some(Fate::Taken) => panic!("started twice: {}", posted.json),
            Some(Fate::Asked) => assert!(goes_on, "begun anew: {}", posted.json),
            Some(Fate::Refused) | None => {}
        }
    }

    fn note_fate(&mut self, posted: &Posted, fate: Fate) {
        if let Some(n) = posted.json["params"]["arguments"]["n"].as_u64()
            && posted.key() == "tools/call"
        {
            self.fates.insert(n, fate);
        }
    }

    fn serve(&mut self, posted: &Posted, dice: &mut Dice) {
        let era = if is_modern(posted) {
            "modern"
        } else {
            "legacy"
        };
        self.tell(format!(
            "server gets {era} {} {}",
            posted.key(),
            posted.json
        ));
        if posted.key() == "tools/call" {
            self.note_call(posted);
        }
        self.serve_noted(posted, dice);
    }

    fn serve_noted(&mut self, posted: &Posted, dice: &mut Dice) {
        if !self.calm && dice.percent(self.wild) && self.misbehaves(posted, dice) {
            return;
        }
        if posted.request.verb == Verb::Delete {
            return self.world.answer(posted, 200, &[], "");
        }
        if posted.key() == "GET" {
            return self.serve_get(posted);
        }
        if is_modern(posted) && !self.speaks_modern() {
            self.note_fate(posted, Fate::Refused);
            let body = if self.kind == Kind::Stateful || posted.key() != "server/discover" {
                json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32000, "message": "Bad Request: No valid session ID provided"}})
            } else {
                error(posted, -32601, "Method not found")
            };
            return self.refuse(posted, 400, &body);
        }
        if !is_modern(posted) && self.kind == Kind::Modern {
            self.note_fate(posted, Fate::Refused);
            return self.world.answer(posted, 400, &[], unsupported(posted));
        }
        if posted.key() == "initialize" {
            return self.shake_hands(posted, dice);
        }
        if self.kind == Kind::Stateful && Some(posted.session()) != self.session.as_deref() {
            self.note_fate(posted, Fate::Refused);
            self.tell("  the session is gone");
            return self.world.lose(posted);
        }
        if posted.json.get("method").is_none() || posted.json.get("id").is_none() {
            return self.world.accept(posted);
        }
        self.serve_request(posted, dice);
    }

    fn refuse(&mut self, posted: &Posted, status: u16, body: &Value) {
        self.tell(format!("  {status} {body}"));
        self.world.answer(posted, status, &[], body.to_string());
    }

    fn serve_get(&mut self, posted: &Posted) {
        let opens = match self.kind {
            Kind::Sse => true,
            Kind::Stateful => self.has_get && Some(posted.session()) == self.session.as_deref(),
            Kind::Stateless | Kind::Modern | Kind::Dual => false,
        };
        if !opens {
            self.tell("  no stream");
            return self.world.answer(posted, 405, &[], "");
        }
        self.begin_stream(posted);
        if self.kind == Kind::Sse {
            self.sessions += 1;
            let address = format!("/m{}", self.sessions);
            self.world.endpoint(posted, &address);
        }
    }

    fn begin_stream(&mut self, posted: &Posted) {
        if self.world.is_running(posted) {
            self.tell(format!("  a stream for {}", posted.key()));
            self.world.stream(posted);
            self.streams.push(Stream {
                posted: posted.clone(),
                events: 0,
            });
        }
    }

    fn shake_hands(&mut self, posted: &Posted, dice: &mut Dice) {
        let mut result = initialize_result("2025-11-25");
        if dice.percent(50) {
            result["capabilities"]["tasks"] = json!({"requests": {"tools": {"call": {}}}});
        }
        let answer = posted.result(&result);
        match self.kind {
            Kind::Stateful => {
                self.sessions += 1;
                let session = format!("s{}", self.sessions);
                self.session = Some(session.clone());
                self.tell(format!("  session {session}"));
                let answer = answer.to_string();
                self.world
                    .answer(posted, 200, &[("mcp-session-id", &session)], answer);
            }
            _ => self.respond(posted, &answer),
        }
    }

    /// A response, in the way of the transport.
    fn respond(&mut self, posted: &Posted, answer: &Value) {
        self.tell(format!("  answer {answer}"));
        let on_stream = self
            .streams
            .iter()
            .any(|one| one.posted.ticket == posted.ticket);
        if self.kind != Kind::Sse || posted.request.verb == Verb::Get {
            if on_stream {
                self.world.event(posted, answer);
            } else {
                self.world.answer(posted, 200, &[], answer.to_string());
            }
            return;
        }
        self.world.accept(posted);
        if let Some(stream) = self.shared_stream() {
            self.world.event(&stream, answer);
        }
    }

    /// The stream that belongs to no request.
    fn shared_stream(&self) -> Option<Posted> {
        let mut open = self.streams.iter().rev().map(|stream| &stream.posted);
        open.find(|posted| posted.key() == "GET" && self.world.is_running(posted))
            .cloned()
    }

    fn serve_request(&mut self, posted: &Posted, dice: &mut Dice) {
        if posted.key() == "subscriptions/listen" {
            return self.serve_listen(posted);
        }
        let eligible = matches!(
            posted.key(),
            "tools/call" | "prompts/get" | "resources/read"
        );
        if self.calm {
            return self.respond_well(posted, dice);
        }
        match dice.below(10) {
            0..2 if eligible && is_modern(posted) => self.ask_for_input(posted, dice),
            2 if posted.key() == "tools/call" && is_modern(posted) => {
                let task = format!("t{}", self.sessions + self.tasks.len() as u64);
                self.tasks.insert(task.clone(), 0);
                let result = json!({"resultType": "task", "taskId": task, "status": "working",
                    "createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z",
                    "ttlMs": null, "pollIntervalMs": 500});
                self.respond(posted, &posted.result(&result));
            }
            3..7 if self.kind != Kind::Sse => self.begin_stream(posted),
            7 if self.kind == Kind::Sse => {
                self.tell("  accepted, for later");
                self.world.accept(posted);
                self.elsewhere.push(posted.clone());
            }
            8 => self.hung.push(posted.clone()),
            _ => self.respond_well(posted, dice),
        }
    }

    fn serve_listen(&mut self, posted: &Posted) {
        self.begin_stream(posted);
        let params = json!({"notifications": posted.json["params"]["notifications"],
            "_meta": {super::SUBSCRIPTION: posted.json["id"]}});
        let method = "notifications/subscriptions/acknowledged";
        let message = json!({"jsonrpc": "2.0", "method": method, "params": params});
        self.world.event(posted, &message);
    }

    fn ask_for_input(&mut self, posted: &Posted, dice: &mut Dice) {
        self.note_fate(posted, Fate::Asked);
        self.questioned += 1;
        let mut result = json!({"resultType": "input_required"});
        let has_questions = dice.percent(80);
        if has_questions {
            for key in 0..=dice.below(2) {
                let mut asked = question(self.questioned, dice);
                if let Some(params) = asked["params"].as_object_mut() {
                    params.remove("elicitationId");
                }
                result["inputRequests"][format!("k{key}")] = asked;
            }
        }
        if !has_questions || dice.percent(60) {
            result["requestState"] = format!("state {}", self.questioned).into();
        }
        self.respond(posted, &posted.result(&result));
    }

    /// What a good server answers to a request.
    fn respond_well(&mut self, posted: &Posted, dice: &mut Dice) {
        let modern = is_modern(posted);
        let params = &posted.json["params"];
        let mut result = match posted.key() {
            "tools/call" if !modern && params["name"] == "task" && params.get("task").is_none() => {
                self.note_fate(posted, Fate::Refused);
                let refusal = error(posted, -32601, "this tool needs a task");
                return self.respond(posted, &refusal);
            }
            "tools/call" if !modern && params.get("task").is_some() => {
                let task = format!("t{}", self.tasks.len());
                self.tasks.insert(task.clone(), 0);
                json!({"task": {"taskId": task, "status": "working", "createdAt": "x",
                    "lastUpdatedAt": "x", "ttl": 1, "pollInterval": 500}})
            }
            "tools/call" | "tasks/result" => json!({"content": [{"type": "text", "text": "done"}]}),
            "tools/list" => {
                let schema = json!({"type": "object", "properties":
                    {"region": {"type": "string", "x-mcp-header": "Region"}}});
                json!({"tools": [
                    {"name": "plain", "inputSchema": {"type": "object"}},
                    {"name": "task", "inputSchema": {"type": "object"}, "execution": {"taskSupport": "required"}},
                    {"name": "field", "inputSchema": schema},
                ]})
            }
            "resources/list" => json!({"resources": []}),
            "resources/read" => json!({"contents": [{"uri": params["uri"], "text": "t"}]}),
            "prompts/get" => json!({"messages": []}),
            "completion/complete" => json!({"completion": {"values": []}}),
            "server/discover" => discovered(),
            "tasks/get" => self.task_state(posted, modern, dice),
            "vendor/thing" => {
                return self.respond(posted, &error(posted, -32601, "Method not found"));
            }
            _ => json!({}),
        };
        if modern {
            result["resultType"] = "complete".into();
            let kept = [
                "tools/list",
                "resources/list",
                "resources/read",
                "server/discover",
            ];
            if kept.contains(&posted.key()) {
                result["ttlMs"] = dice.pick(&[0, 0, 60_000]).into();
                result["cacheScope"] = "private".into();
            }
        }
        self.respond(posted, &posted.result(&result));
    }

    fn task_state(&mut self, posted: &Posted, modern: bool, dice: &mut Dice) -> Value {
        let task = posted.json["params"]["taskId"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let looks = self.tasks.entry(task.clone()).or_default();
        *looks += 1;
        let mut status = if *looks < 3 && !self.calm {
            "working"
        } else if self.calm {
            "completed"
        } else {
            dice.pick(&[
                "working",
                "completed",
                "failed",
                "cancelled",
                "input_required",
            ])
        };
        if !modern {
            if status == "input_required" {
                status = "working";
            }
            return json!({"taskId": task, "status": status, "createdAt": "x",
                "lastUpdatedAt": "x", "ttl": 1, "pollInterval": 500});
        }
        let mut state = json!({"taskId": task, "status": status,
            "createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z",
            "ttlMs": null, "pollIntervalMs": 500});
        match status {
            "completed" => state["result"] = json!({"resultType": "complete", "content": []}),
            "failed" => state["error"] = json!({"code": -32603, "message": "broken"}),
            "input_required" => {
                self.questioned += 1;
                let key = format!("k{}", self.questioned);
                state["inputRequests"][key] = json!({"method": "roots/list"});
            }
            _ => {}
        }
        state
    }

    /// Something else than a good server would do. `false`: nothing of that sort fits.
    #[expect(clippy::too_many_lines, reason = "one arm for each oddity")]
    fn misbehaves(&mut self, posted: &Posted, dice: &mut Dice) -> bool {
        let is_request = posted.json.get("method").is_some() && posted.json.get("id").is_some();
        let odd = dice.below(24);
        self.tell(format!("  oddly: {odd}"));
        // Whoever has these errors is taken for a modern server.
        self.was_modern |= matches!(odd, 6 | 7);
        let refused =
            |game: &mut Self, status: u16, headers: &[(&'static str, &str)], body: String| {
                game.note_fate(posted, Fate::Refused);
                game.world.answer(posted, status, headers, body);
            };
        match odd {
            0 => refused(self, 401, &[("www-authenticate", "Bearer")], String::new()),
            1 => refused(
                self,
                403,
                &[(
                    "www-authenticate",
                    "Bearer error=\"insufficient_scope\", scope=\"a\"",
                )],
                String::new(),
            ),
            2 => refused(self, 429, &[], String::new()),
            3 => refused(self, 503, &[("retry-after", "1")], String::new()),
            4 => refused(
                self,
                404,
                &[],
                "<html><title>Not here</title></html>".to_owned(),
            ),
            5 => refused(self, 405, &[], String::new()),
            6 => refused(
                self,
                400,
                &[],
                error(posted, -32020, "Header mismatch").to_string(),
            ),
            7 => {
                let mut body = error(posted, -32021, "Missing capability");
                body["error"]["data"] = json!({"requiredCapabilities":
                    {"extensions": {"io.modelcontextprotocol/tasks": {}}}});
                refused(self, 400, &[], body.to_string());
            }
            8 => refused(self, 400, &[], unsupported(posted)),
            9 => {
                let mut body = error(posted, -32022, "Unsupported protocol version");
                body["error"]["data"] =
                    json!({"supported": ["2025-11-25"], "requested": "2026-07-28"});
                refused(self, 400, &[], body.to_string());
            }
            10 => {
                self.session = None;
                refused(
                    self,
                    404,
                    &[],
                    error(posted, -32001, "Session not found").to_string(),
                );
            }
            11 => {
                self.note_fate(posted, Fate::Refused);
                self.world.refuse_connection(posted);
            }
            12 => self.world.answer(posted, 500, &[], "Internal"),
            13 => self.world.answer(posted, 502, &[], ""),
            14 => self.world.fail(posted, TroubleKind::Broken, true, "reset"),
            15 => self.world.fail(posted, TroubleKind::Timeout, true, "slow"),
            16 => {
                self.begin_stream(posted);
                self.world.end(posted);
            }
            17 => self.hung.push(posted.clone()),
            18 if is_request => {
                let code =
                    dice.pick(&[-32603, -32602, -32600, -32002, -32000, -32050, 4001, -32700]);
                self.respond(posted, &error(posted, code, "no"));
            }
            19 if is_request && !is_modern(posted) => {
                let mut body = error(posted, -32042, "open this");
                body["error"]["data"] = json!({"elicitations": [{"mode": "url", "message": "?",
                    "url": "https://x.example/", "elicitationId": "e"}]});
                self.note_fate(posted, Fate::Refused);
                self.respond(posted, &body);
            }
            20 if is_request => self.respond(
                posted,
                &json!({"jsonrpc": "2.0", "id": "other", "result": {}}),
            ),
            21 if is_request => {
                let result = dice.pick(&[
                    r#"{"resultType":"input_required"}"#,
                    r#"{"resultType":"strange"}"#,
                    r#"{"resultType":"task"}"#,
                    r"[]",
                    r"null",
                    r#"{"resultType":"input_required","inputRequests":{"a":{"method":"ping"}}}"#,
                ]);
                if result.contains("result") && !is_modern(posted) {
                    return false;
                }
                let result: Value = serde_json::from_str(result).unwrap();
                let asks = result["resultType"] == "input_required";
                self.note_fate(posted, if asks { Fate::Asked } else { Fate::Taken });
                self.respond(posted, &posted.result(&result));
            }
            22 => {
                self.kind = dice.pick(&[Kind::Stateful, Kind::Stateless, Kind::Modern, Kind::Dual]);
                self.session = None;
                self.was_modern |= self.speaks_modern();
                self.tell(format!("  the server is {:?} from now on", self.kind));
                return false;
            }
            23 if is_request && self.kind == Kind::Stateful => {
                self.world.accept(posted);
                self.elsewhere.push(posted.clone());
            }
            _ => return false,
        }
        true
    }

    // Streams.

    pub(super) fn server_speaks(&mut self, dice: &mut Dice) {
        let world = &self.world;
        self.streams
            .retain(|stream| world.is_running(&stream.posted));
        if self.streams.is_empty() {
            return;
        }
        let at = dice.below(self.streams.len());
        let Stream { posted, events } = self.streams[at].clone();
        self.streams[at].events += 1;
        let is_request = posted.key() != "GET" && posted.key() != "subscriptions/listen";
        let mut id = None;
        let message = match dice.below(13) {
            0..3 if is_request => {
                self.tell(format!("server ends {} well", posted.key()));
                self.respond_well(&posted, dice);
                if dice.percent(5) {
                    self.respond_well(&posted, dice);
                }
                return;
            }
            3 if posted.json["params"]["_meta"]
                .get("progressToken")
                .is_some() =>
            {
                json!({"jsonrpc": "2.0", "method": "notifications/progress", "params":
                {"progressToken": posted.json["params"]["_meta"]["progressToken"], "progress": events}})
            }
            4 => json!({"jsonrpc": "2.0", "method": "notifications/message", "params":
                {"level": dice.pick(&["debug", "warning", "error"]), "data": "d"}}),
            5 | 6 => {
                let method = dice.pick(&[
                    "notifications/tools/list_changed",
                    "notifications/prompts/list_changed",
                    "notifications/resources/list_changed",
                ]);
                json!({"jsonrpc": "2.0", "method": method})
            }
            7 => json!({"jsonrpc": "2.0", "method": "notifications/resources/updated",
                "params": {"uri": dice.pick(&["a:1", "a:2", "a:4"])}}),
            8..10 if !is_modern(&posted) => {
                self.questioned += 1;
                let mut asked = question(self.questioned, dice);
                if dice.percent(5) {
                    asked = json!({"method": "ping"});
                }
                asked["jsonrpc"] = "2.0".into();
                asked["id"] = self.questioned.into();
                asked
            }
            10 => {
                // The stream is that of the request with this id.
                id = Some(format!("e{events} {}", posted.json["id"]));
                json!({"jsonrpc": "2.0", "method": "notifications/vendor"})
            }
            11 => {
                self.tell(format!("the stream of {} breaks", posted.key()));
                return self.world.end(&posted);
            }
            12 if !self.elsewhere.is_empty() && posted.key() == "GET" => {
                let late = self.elsewhere.remove(0);
                let answer = late.result(&json!({"content": []}));
                self.tell(format!("answer elsewhere {answer}"));
                return self.world.event(&posted, &answer);
            }
            _ if self.questioned > 0 && !is_modern(&posted) => {
                json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
                "params": {"requestId": self.questioned}})
            }
            _ => return,
        };
        let mut message = message;
        if posted.key() == "subscriptions/listen" {
            message["params"]["_meta"][super::SUBSCRIPTION] = posted.json["id"].clone();
        }
        self.tell(format!("server on {}: {message}", posted.key()));
        self.world
            .events(&posted, None, id.as_deref(), None, &message.to_string());
    }

    /// A stream that was resumed goes on with the answer to its request.
    fn finish_resumed(&mut self, stream: &Posted) {
        let last = stream
            .header("last-event-id")
            .and_then(|id| id.split_once(' '));
        let Some((_, request)) = last.filter(|(_, request)| *request != "null") else {
            return;
        };
        let request: Value = serde_json::from_str(request).unwrap();
        let answer = json!({"jsonrpc": "2.0", "id": request, "result": {}});
        self.tell(format!("answer on the resumed stream {answer}"));
        self.world.event(stream, &answer);
        self.world.end(stream);
        self.streams.pop();
    }

    /// Every request still open at the server gets its answer.
    pub(super) fn finish_streams(&mut self, dice: &mut Dice) {
        for stream in std::mem::take(&mut self.streams) {
            if !self.world.is_running(&stream.posted) {
                continue;
            }
            let key = stream.posted.key();
            let stays = matches!(key, "GET" | "subscriptions/listen");
            self.streams.push(stream.clone());
            self.finish_resumed(&stream.posted);
            if !stays {
                self.respond_well(&stream.posted, dice);
                self.world.end(&stream.posted);
                self.streams.pop();
            }
        }
        for posted in std::mem::take(&mut self.hung) {
            if self.world.is_running(&posted) {
                self.tell(format!("what hung is served: {}", posted.key()));
                self.serve_noted(&posted, dice);
            }
        }
        if let Some(stream) = self.shared_stream() {
            for posted in std::mem::take(&mut self.elsewhere) {
                let answer = posted.result(&json!({}));
                self.tell(format!("answer elsewhere {answer}"));
                self.world.event(&stream, &answer);
            }
        }
    }
}
