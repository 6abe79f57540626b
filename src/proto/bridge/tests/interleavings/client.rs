//! The client of a random conversation, and what it must never see.

use serde_json::{Value, json};

use super::{Dice, Era, Game, SUBSCRIPTION};

/// Which revisions the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Legacy,
    Modern,
    Both,
}

/// One request, open or over.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) era: Era,
    pub(super) method: String,
    pub(super) params: Value,
}

/// A result that asks a modern client for something.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    method: String,
    params: Value,
    result: Value,
}

const METHODS: [&str; 9] = [
    "tools/call",
    "tools/call",
    "tools/call",
    "prompts/get",
    "resources/read",
    "tools/list",
    "resources/list",
    "completion/complete",
    "vendor/thing",
];

fn name_of(id: &Value) -> String {
    id.to_string()
}

impl Game {
    // What it says.

    pub(super) fn client_acts(&mut self, dice: &mut Dice) {
        if dice.percent(15) {
            return self.client_cancels(dice);
        }
        let modern = match self.who {
            Who::Legacy => false,
            Who::Modern => true,
            Who::Both => dice.percent(50),
        };
        if modern {
            self.modern_client_asks(dice);
        } else {
            self.legacy_client_acts(dice);
        }
    }

    fn new_id(&mut self) -> Value {
        self.serial += 1;
        if self.serial.is_multiple_of(3) {
            json!(format!("c{}", self.serial))
        } else {
            json!(self.serial)
        }
    }

    fn params(&mut self, method: &str, id: &Value, dice: &mut Dice) -> Value {
        let mut params = match method {
            "tools/call" => {
                let name = dice.pick(&["plain", "plain", "task", "field"]);
                json!({"name": name, "arguments": {"n": self.serial, "region": "eu"}})
            }
            "prompts/get" => json!({"name": "p"}),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
                json!({"uri": dice.pick(&["a:1", "a:2", "a:3"])})
            }
            "logging/setLevel" => json!({"level": dice.pick(&["debug", "warning", "nonsense"])}),
            _ => json!({}),
        };
        if dice.percent(40) {
            params["_meta"] = json!({"progressToken": id});
        }
        params
    }

    fn say(&mut self, message: &Value) {
        self.tell(format!("client: {message}"));
        self.world.client_says(message);
    }

    fn note_asked(&mut self, era: Era, message: &Value) {
        let asked = Asked {
            era,
            method: message["method"].as_str().unwrap().to_owned(),
            params: message["params"].clone(),
        };
        let name = name_of(&message["id"]);
        self.asked.insert(name.clone(), asked);
        self.open.insert(name);
    }

    fn legacy_client_acts(&mut self, dice: &mut Dice) {
        if self.offered.is_none() || dice.percent(3) {
            let version = dice.pick(&["2025-11-25", "2025-11-25", "2025-06-18", "2025-03-26"]);
            self.offered = Some(version);
            (self.shaken, self.initialized) = (false, false);
            let id = self.new_id();
            let capabilities = if dice.percent(70) {
                json!({"roots": {}, "sampling": {}, "elicitation": {"form": {}, "url": {}}})
            } else {
                json!({})
            };
            let message = json!({"jsonrpc": "2.0", "id": id, "method": "initialize", "params": {
                "protocolVersion": version, "capabilities": capabilities,
                "clientInfo": {"name": "c", "version": "1"}}});
            self.note_asked(Era::Legacy, &message);
            return self.say(&message);
        }
        if self.shaken && !self.initialized && dice.percent(80) {
            self.initialized = true;
            return self.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        }
        if dice.percent(8) {
            let method = dice.pick(&["notifications/roots/list_changed", "notifications/vendor"]);
            return self.say(&json!({"jsonrpc": "2.0", "method": method}));
        }
        if self.shaken && self.offered == Some("2025-03-26") && dice.percent(30) {
            let batch: Vec<Value> = (0..=dice.below(3))
                .map(|_| self.legacy_request(dice))
                .collect();
            return self.say(&Value::Array(batch));
        }
        let message = self.legacy_request(dice);
        self.say(&message);
    }

    fn legacy_request(&mut self, dice: &mut Dice) -> Value {
        let method = if dice.percent(30) {
            dice.pick(&[
                "ping",
                "resources/subscribe",
                "resources/subscribe",
                "resources/unsubscribe",
                "logging/setLevel",
                "tasks/list",
            ])
        } else {
            dice.pick(&METHODS)
        };
        let id = self.new_id();
        let params = self.params(method, &id, dice);
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.note_asked(Era::Legacy, &message);
        message
    }

    fn modern_client_asks(&mut self, dice: &mut Dice) {
        let method = match dice.below(100) {
            0..10 => "server/discover",
            10..25 => "subscriptions/listen",
            _ => dice.pick(&METHODS),
        };
        let id = self.new_id();
        let mut params = self.params(method, &id, dice);
        if method == "subscriptions/listen" {
            params["notifications"] = match dice.below(4) {
                0 => json!({"toolsListChanged": true}),
                1 => json!({"resourceSubscriptions": ["a:1", "a:2"], "promptsListChanged": true}),
                2 => json!({"resourceSubscriptions": ["a:2"], "toolsListChanged": true}),
                _ => json!({}),
            };
        }
        let capabilities = match dice.below(4) {
            0 => json!({}),
            1 => json!({"elicitation": {}}),
            _ => json!({"roots": {}, "sampling": {}, "elicitation": {"form": {}, "url": {}}}),
        };
        let meta = &mut params["_meta"];
        meta["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
        meta["io.modelcontextprotocol/clientCapabilities"] = capabilities;
        meta["io.modelcontextprotocol/clientInfo"] = json!({"name": "m", "version": "1"});
        if dice.percent(30) {
            let level = dice.pick(&["debug", "warning"]);
            meta["io.modelcontextprotocol/logLevel"] = level.into();
        }
        self.modern_client_sends(&id, method, &params);
    }

    fn modern_client_sends(&mut self, id: &Value, method: &str, params: &Value) {
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.note_asked(Era::Modern, &message);
        self.say(&message);
    }

    fn client_cancels(&mut self, dice: &mut Dice) {
        let not_first = |id: &&String| self.asked[*id].method != "initialize";
        let open: Vec<String> = self.open.iter().filter(not_first).cloned().collect();
        if open.is_empty() {
            return;
        }
        let name = open[dice.below(open.len())].clone();
        let id: Value = serde_json::from_str(&name).unwrap();
        self.open.remove(&name);
        self.granted.remove(&name);
        self.cancelled.insert(name);
        let params = json!({"requestId": id});
        let method = "notifications/cancelled";
        self.say(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    // What it answers.

    pub(super) fn client_answers(&mut self, dice: &mut Dice) {
        self.answers_next(dice);
    }

    /// Answers a question, or comes back with answers. `false`: there is nothing to answer.
    pub(super) fn answers_next(&mut self, dice: &mut Dice) -> bool {
        if self.calm && self.shaken && !self.initialized {
            self.initialized = true;
            self.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
            return true;
        }
        if !self.questions.is_empty() {
            let question = self.questions.remove(0);
            let method = question["method"].as_str().unwrap();
            let mut answer = json!({"jsonrpc": "2.0", "id": question["id"]});
            if !self.calm && dice.percent(15) {
                answer["error"] = json!({"code": -1, "message": "no"});
            } else {
                answer["result"] = outcome(method, dice);
            }
            self.say(&answer);
            if !self.calm && dice.percent(5) {
                self.say(&answer);
            }
            return true;
        }
        if self.legs.is_empty() {
            return false;
        }
        let leg = self.legs.remove(0);
        if !self.calm && dice.percent(10) {
            self.tell("the client does not come back");
            return true;
        }
        let mut params = leg.params;
        let mut answers = json!({});
        for (key, question) in leg.result["inputRequests"]
            .as_object()
            .into_iter()
            .flatten()
        {
            if self.calm || dice.percent(90) {
                let method = question["method"].as_str().unwrap();
                answers[key] = outcome(method, dice);
            }
        }
        params["inputResponses"] = answers;
        let object = params.as_object_mut().unwrap();
        object.remove("requestState");
        if let Some(state) = leg.result.get("requestState") {
            object.insert("requestState".to_owned(), state.clone());
        }
        let id = self.new_id();
        if params["_meta"].get("progressToken").is_some() {
            params["_meta"]["progressToken"] = id.clone();
        }
        self.modern_client_sends(&id, &leg.method, &params);
        if !self.calm && dice.percent(5) {
            let id = self.new_id();
            params["arguments"]["n"] = self.serial.into();
            if params["_meta"].get("progressToken").is_some() {
                params["_meta"]["progressToken"] = id.clone();
            }
            self.modern_client_sends(&id, &leg.method, &params);
        }
        true
    }

    // What it sees.

    /// Looks at everything the client was told since the last time.
    pub(super) fn check(&mut self) {
        for line in self.world.lines() {
            self.tell(format!("    → client: {}", shortened(&line)));
            match line {
                Value::Array(lines) => {
                    // What was answered before the client cancelled it waited for the others.
                    let cancelled = |line: &&Value| !self.cancelled.contains(&name_of(&line["id"]));
                    let lines: Vec<Value> = lines.iter().filter(cancelled).cloned().collect();
                    for line in &lines {
                        self.check_line(line);
                    }
                }
                line => self.check_line(&line),
            }
        }
    }

    fn check_line(&mut self, line: &Value) {
        let Some(method) = line["method"].as_str() else {
            return self.check_response(line);
        };
        if line.get("id").is_some() {
            assert!(
                self.offered.is_some(),
                "a question to a modern client: {line}"
            );
            assert!(
                self.initialized || method == "ping",
                "a question before initialized: {line}"
            );
            return self.questions.push(line.clone());
        }
        let params = &line["params"];
        let tag = params["_meta"].get(SUBSCRIPTION);
        match method {
            "notifications/subscriptions/acknowledged" => {
                let name = name_of(tag.expect("an acknowledgement for nobody"));
                assert!(self.open.contains(&name), "acknowledged, not open: {line}");
                let earlier = self.granted.insert(name, params["notifications"].clone());
                assert!(earlier.is_none(), "acknowledged twice: {line}");
            }
            "notifications/progress" => {
                let name = name_of(&params["progressToken"]);
                let asked = self.asked.get(&name);
                let legacy = asked.is_some_and(|asked| asked.era == Era::Legacy);
                assert!(
                    legacy || self.was_modern || self.open.contains(&name),
                    "progress of nothing open: {line}"
                );
                self.check_progress(name, params, line);
            }
            "notifications/cancelled" => {
                let name = name_of(&params["requestId"]);
                let listens = |asked: &Asked| asked.method == "subscriptions/listen";
                if self.asked.get(&name).is_some_and(listens) {
                    self.granted.remove(&name);
                    assert!(self.open.remove(&name), "ended twice: {line}");
                } else {
                    let known = self
                        .questions
                        .iter()
                        .position(|one| name_of(&one["id"]) == name);
                    if let Some(known) = known {
                        self.questions.remove(known);
                    }
                }
            }
            "notifications/message" if self.who == Who::Modern && !self.was_modern => {
                let key = "io.modelcontextprotocol/logLevel";
                let wants = |id: &String| self.asked[id].params["_meta"].get(key).is_some();
                assert!(
                    self.open.iter().any(wants),
                    "a log nobody asked for: {line}"
                );
            }
            _ => self.check_change(method, params, tag, line),
        }
    }

    /// Progress grows from the first heartbeat on, and heartbeats are of what is open alone. The
    /// server's own progress has no words here.
    fn check_progress(&mut self, name: String, params: &Value, line: &Value) {
        let is_beat = params.get("message").is_some();
        if !is_beat && !self.open.contains(&name) {
            return;
        }
        let progress = params["progress"].as_f64().expect("no progress");
        let known = self.told.get(&name).copied();
        let was_beaten = known.is_some_and(|(_, beaten)| beaten);
        if is_beat {
            assert!(self.heartbeat.is_some(), "a heartbeat unasked: {line}");
            assert!(self.open.contains(&name), "a heartbeat for nobody: {line}");
            let listens = self.asked[&name].method == "subscriptions/listen";
            assert!(!listens, "a heartbeat of what has no end: {line}");
        }
        if is_beat || was_beaten {
            let grows = known.is_none_or(|(last, _)| progress > last);
            assert!(grows, "progress that does not grow: {line} after {known:?}");
        }
        self.told.insert(name, (progress, is_beat || was_beaten));
    }

    fn check_change(&self, method: &str, params: &Value, tag: Option<&Value>, line: &Value) {
        let kind = match method {
            "notifications/tools/list_changed" => "toolsListChanged",
            "notifications/prompts/list_changed" => "promptsListChanged",
            "notifications/resources/list_changed" => "resourcesListChanged",
            "notifications/resources/updated" => "resourceSubscriptions",
            _ => return,
        };
        let Some(tag) = tag else {
            assert!(
                self.offered.is_some(),
                "a change nobody listens for: {line}"
            );
            return;
        };
        let granted = self.granted.get(&name_of(tag));
        let granted = &granted.unwrap_or_else(|| panic!("a change for nobody: {line}"))[kind];
        let covered = match granted.as_array() {
            Some(uris) => uris.contains(&params["uri"]),
            None => granted == &json!(true),
        };
        assert!(covered, "a change outside the filter: {line}");
    }

    fn check_response(&mut self, line: &Value) {
        let name = name_of(&line["id"]);
        assert!(
            !self.cancelled.contains(&name),
            "an answer to a cancelled request: {line}"
        );
        assert!(self.open.remove(&name), "answered twice: {line}");
        self.granted.remove(&name);
        let asked = self.asked[&name].clone();
        if asked.method == "initialize" && line.get("result").is_some() {
            self.shaken = true;
        }
        let Some(result) = line.get("result") else {
            let code = line["error"]["code"].as_i64().expect("no code in an error");
            let message = line["error"]["message"].as_str().expect("no message");
            if message.contains("--call-timeout") {
                assert!(self.call_timeout.is_some(), "a limit unasked: {line}");
                let endless = ["initialize", "subscriptions/listen"];
                assert!(!endless.contains(&asked.method.as_str()), "limited: {line}");
            }
            let translated = asked.era == Era::Modern && !self.was_modern;
            let forbidden = translated && matches!(code, -32042 | -32002);
            assert!(!forbidden, "an error of the other era: {line}");
            return;
        };
        if asked.era == Era::Legacy {
            let keys = ["resultType", "ttlMs", "requestState"];
            let strange = keys.iter().find(|key| result.get(**key).is_some());
            assert!(strange.is_none(), "{strange:?} for a legacy client: {line}");
            return;
        }
        // A modern server that breaks the rules is heard as it is.
        if self.was_modern && !result.is_object() {
            return;
        }
        assert!(result["resultType"].is_string(), "no resultType: {line}");
        if result["resultType"] == "input_required" {
            let may = ["tools/call", "prompts/get", "resources/read"];
            let may = may.contains(&asked.method.as_str());
            assert!(self.was_modern || may, "asked with: {line}");
            self.legs.push(Leg {
                method: asked.method,
                params: asked.params,
                result: result.clone(),
            });
        }
    }
}

fn shortened(line: &Value) -> String {
    line.to_string().chars().take(400).collect()
}

/// What a client answers to a question.
fn outcome(method: &str, dice: &mut Dice) -> Value {
    match method {
        "elicitation/create" => {
            json!({"action": dice.pick(&["accept", "accept", "decline", "cancel"]), "content": {"a": "x"}})
        }
        "sampling/createMessage" => {
            json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "t"}})
        }
        "roots/list" => json!({"roots": []}),
        _ => json!({}),
    }
}
