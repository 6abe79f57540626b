//! The ready-made server of 2026-07-28 itself, with a plain socket as the client.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Value, json};

use super::rpc;
use super::*;

/// Header fields, in order.
type Headers = Vec<(String, String)>;

/// What a client sends that does everything right.
fn headers(message: &Value) -> Headers {
    let mut headers = vec![
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    if message["method"] != "initialize" {
        headers.push(("mcp-protocol-version", MODERN));
        headers.push(("mcp-method", message["method"].as_str().unwrap()));
    }
    let params = &message["params"];
    let about = match message["method"].as_str().unwrap() {
        "tools/call" | "prompts/get" => params["name"].as_str(),
        "resources/read" => params["uri"].as_str(),
        "tasks/get" | "tasks/update" => params["taskId"].as_str(),
        _ => None,
    };
    headers.extend(about.map(|about| ("mcp-name", about)));
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    headers.into_iter().map(own).collect()
}

/// Sets a header, or takes it away.
fn with(mut headers: Headers, name: &str, value: Option<&str>) -> Headers {
    headers.retain(|(known, _)| known != name);
    headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    headers
}

/// One exchange on a connection of its own, which stays open.
struct Exchange {
    stream: TcpStream,
    seen: String,
}

impl Exchange {
    fn new(remote: &Remote, verb: &str, headers: &Headers, body: &str) -> Self {
        let mut stream = TcpStream::connect(remote.address()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let fields: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let fields = fields.concat();
        let length = body.len();
        let head = format!("{verb} /mcp HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        let rest = format!("content-length: {length}\r\n{fields}\r\n{body}");
        stream
            .write_all(format!("{head}{rest}").as_bytes())
            .unwrap();
        let seen = String::new();
        Self { stream, seen }
    }

    fn read_until(&mut self, wanted: &str) {
        let mut chunk = [0; 4096];
        while !self.seen.contains(wanted) {
            let read = self.stream.read(&mut chunk).unwrap();
            assert_ne!(read, 0, "no {wanted:?} in {}", self.seen);
            self.seen.push_str(str::from_utf8(&chunk[..read]).unwrap());
        }
    }

    /// Status, and the body when it is JSON.
    fn rest(mut self) -> (u16, Value) {
        let _ = self.stream.read_to_string(&mut self.seen);
        let (head, body) = self.seen.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    }
}

fn post_with(remote: &Remote, headers: &Headers, message: &Value) -> (u16, Value) {
    Exchange::new(remote, "POST", headers, &message.to_string()).rest()
}

fn post(remote: &Remote, message: &Value) -> (u16, Value) {
    post_with(remote, &headers(message), message)
}

fn request(id: u64, method: &str, params: Value) -> Value {
    modern_request(id, method, params, &json!({"elicitation": {}}))
}

#[test]
fn the_usual_answers() {
    let remote = Modern::new()
        .instructions("Ask first.")
        .fresh(60_000, "public")
        .start();
    for (id, method, params, member) in [
        (1, "server/discover", Value::Null, "supportedVersions"),
        (2, "tools/list", Value::Null, "tools"),
        (3, "tools/call", rpc::echo_params("hi"), "content"),
        (4, "prompts/list", Value::Null, "prompts"),
        (5, "prompts/get", json!({"name": "greet"}), "messages"),
        (6, "resources/list", Value::Null, "resources"),
        (
            7,
            "resources/templates/list",
            json!({}),
            "resourceTemplates",
        ),
        (8, "resources/read", json!({"uri": "file:///a"}), "contents"),
        (9, "completion/complete", json!({}), "completion"),
    ] {
        let (status, answer) = post(&remote, &request(id, method, params));
        let result = &answer["result"];
        assert_eq!((status, &answer["id"]), (200, &json!(id)), "{answer}");
        assert!(result.get(member).is_some(), "{method}: {answer}");
        assert_eq!(result["resultType"], "complete");
        let name = &result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"];
        assert_eq!(name, "depot");
        let kept = !matches!(method, "tools/call" | "prompts/get" | "completion/complete");
        let fresh = (&result["ttlMs"], &result["cacheScope"]);
        let expected = (&json!(60_000), &json!("public"));
        assert_eq!(fresh == expected, kept, "{method}: {answer}");
    }
    let (status, answer) = post(&remote, &request(10, "ping", Value::Null));
    assert_eq!((status, &answer["error"]["code"]), (404, &json!(-32601)));
    let mut message = request(11, "tools/list", Value::Null);
    message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2031-01-01");
    let strange = with(
        headers(&message),
        "mcp-protocol-version",
        Some("2031-01-01"),
    );
    let (status, answer) = post_with(&remote, &strange, &message);
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32022)));
    assert_eq!(answer["error"]["data"]["supported"], json!([MODERN]));
}

#[test]
fn every_broken_rule_is_noted() {
    type Break = (&'static str, fn(&mut Value, Headers) -> Headers);
    let cases: [Break; 14] = [
        ("has mcp-session-id", |_, all| {
            with(all, "mcp-session-id", Some("a"))
        }),
        ("has last-event-id", |_, all| {
            with(all, "last-event-id", Some("a"))
        }),
        ("accept is", |_, all| {
            with(all, "accept", Some("application/json"))
        }),
        ("content-type is", |_, all| {
            with(all, "content-type", Some("text/plain"))
        }),
        ("mcp-protocol-version is", |_, all| {
            with(all, "mcp-protocol-version", Some("2025-11-25"))
        }),
        ("mcp-method is", |_, all| with(all, "mcp-method", None)),
        ("mcp-name is", |_, all| with(all, "mcp-name", Some("Echo"))),
        ("no protocolVersion", |message, all| {
            let meta = message["params"]["_meta"].as_object_mut().unwrap();
            meta.remove("io.modelcontextprotocol/protocolVersion");
            all
        }),
        ("no clientCapabilities", |message, all| {
            let meta = message["params"]["_meta"].as_object_mut().unwrap();
            meta.remove("io.modelcontextprotocol/clientCapabilities");
            all
        }),
        ("neither a string nor an integer", |message, all| {
            message["id"] = json!(1.5);
            all
        }),
        ("roots.listChanged is declared", |message, all| {
            message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
                json!({"roots": {"listChanged": true}});
            all
        }),
        ("tasks are declared", |message, all| {
            message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
                json!({"tasks": {}});
            all
        }),
        ("notifications/cancelled is never sent", |message, all| {
            *message = rpc::notification("notifications/cancelled", json!({"requestId": 1}));
            all
        }),
        ("response is never sent", |message, all| {
            *message = rpc::response(1, json!({}));
            all
        }),
    ];
    for (complaint, spoil) in cases {
        let remote = Modern::new().start();
        let mut message = request(1, "tools/call", rpc::echo_params("hi"));
        let spoiled = headers(&message);
        let spoiled = spoil(&mut message, spoiled);
        post_with(&remote, &spoiled, &message);
        let violations = remote.take_violations();
        assert_eq!(violations.len(), 1, "{complaint}: {violations:#?}");
        assert!(violations[0].contains(complaint), "{violations:#?}");
    }
    let remote = Modern::new().start();
    let (status, _) = Exchange::new(&remote, "GET", &Headers::new(), "").rest();
    assert_eq!((status, remote.take_violations().len()), (405, 1));
    let gone = catch_unwind(AssertUnwindSafe(|| {
        let remote = Modern::new().start();
        Exchange::new(&remote, "DELETE", &Headers::new(), "").rest();
        drop(remote);
    }));
    assert!(gone.is_err(), "a violation went unnoticed");
}

#[test]
fn an_id_may_come_again_but_not_at_once() {
    let remote = Modern::new().start();
    let listen = request(1, "subscriptions/listen", json!({"notifications": {}}));
    let body = listen.to_string();
    let mut first = Exchange::new(&remote, "POST", &headers(&listen), &body);
    first.read_until("acknowledged");
    post(&remote, &request(1, "tools/list", Value::Null));
    assert_eq!(remote.take_violations().len(), 1);
    drop(first);
    remote.wait_listen(1).stream.wait_closed();
    post(&remote, &request(1, "tools/list", Value::Null));
    post(&remote, &request(1, "tools/list", Value::Null));
}

#[test]
fn initialize_is_refused_in_every_way() {
    for (refusal, expected) in NoHandshake::ALL.into_iter().zip([
        (400, json!(-32022)),
        (404, json!(-32601)),
        (400, json!(-32020)),
        (400, json!(-32602)),
        (400, Value::Null),
    ]) {
        let remote = Modern::new().refuses(refusal).start();
        let (status, answer) = post(&remote, &rpc::initialize(7, "2025-06-18"));
        let code = answer["error"]["code"].clone();
        assert_eq!((status, code), expected, "{refusal:?}");
        if refusal == NoHandshake::Unsupported {
            let data = &answer["error"]["data"];
            let expected = json!({"supported": [MODERN], "requested": "2025-06-18"});
            assert_eq!(*data, expected);
        }
    }
}

#[test]
fn rounds_check_their_retries() {
    let rounds = [
        Round::asking(json!({"a": form("Size?"), "b": roots()})),
        Round::state_only(),
        Round::asking(json!({"c": sampling("Well?")})).stateless(),
    ];
    let result = json!({"content": []});
    let remote = Modern::new().asks("order", &rounds, result).start();
    // The state as text, put back where the message has a mark.
    let ask = |id: u64, more: Value, state: Option<&str>| {
        let mut params = json!({"name": "order", "arguments": {"n": 1}});
        for (name, value) in more.as_object().into_iter().flatten() {
            params[name] = value.clone();
        }
        if state.is_some() {
            params["requestState"] = json!("MARK");
        }
        let message = request(id, "tools/call", params);
        let body = message
            .to_string()
            .replace("\"MARK\"", state.unwrap_or_default());
        let mut exchange = Exchange::new(&remote, "POST", &headers(&message), &body);
        exchange.read_until("\r\n\r\n");
        let _ = exchange.stream.read_to_string(&mut exchange.seen);
        let raw = exchange
            .seen
            .split_once("\"requestState\":")
            .map(|(_, it)| {
                let end = it[1..].find('"').unwrap() + 2;
                it[..end].to_owned()
            });
        let (_, body) = exchange.seen.split_once("\r\n\r\n").unwrap();
        (serde_json::from_str::<Value>(body).unwrap(), raw)
    };
    let (answer, state) = ask(1, json!({}), None);
    assert_eq!(answer["result"]["resultType"], "input_required");
    assert_eq!(answer["result"]["inputRequests"]["b"], roots());
    let answers = json!({"inputResponses": {"a": {"action": "decline"}, "b": {"roots": []}}});
    let state = state.unwrap();
    assert!(state.contains(r"\u002f\/"), "{state}");
    let (answer, second) = ask(2, answers.clone(), Some(&state));
    assert!(answer["result"].get("inputRequests").is_none());
    let (answer, third) = ask(3, json!({}), second.as_deref());
    assert!(answer["result"]["inputRequests"]["c"].is_object());
    assert_eq!(third, None);
    let (answer, _) = ask(4, json!({"inputResponses": {"c": {}}}), None);
    assert_eq!(answer["result"]["content"], json!([]));
    assert_eq!(remote.take_violations(), Vec::<String>::new());

    for (id, more, spoil) in [
        (11, json!({"inputResponses": {"a": {}}}), "were asked"),
        (10, answers.clone(), "under the same id"),
        (
            12,
            json!({"arguments": {"n": 2}, "inputResponses": answers["inputResponses"]}),
            "a retry of",
        ),
    ] {
        let (_, state) = ask(10, json!({}), None);
        let (answer, _) = ask(id, more, state.as_deref());
        assert_eq!(answer["error"]["code"], -32602);
        let violations = remote.take_violations();
        assert!(violations[0].contains(spoil), "{violations:#?}");
    }
    let (_, state) = ask(13, json!({}), None);
    let respelled = state.unwrap().replace(r"\/", "/");
    ask(14, answers, Some(&respelled));
    assert!(remote.take_violations()[0].contains("was not given out"));
}

#[test]
fn parameters_that_belong_into_headers() {
    let schema = json!({"type": "object", "properties": {
        "place": {"type": "object", "properties": {
            "city": {"type": "string", "x-mcp-header": "City"},
        }},
        "shard": {"type": "integer", "x-mcp-header": "Shard"},
    }});
    let tools = json!([{"name": "find", "inputSchema": schema}]);
    let remote = Modern::new().tools(tools).start();
    let arguments = json!({"place": {"city": "Grüße"}, "shard": null});
    let message = request(
        1,
        "tools/call",
        json!({"name": "find", "arguments": arguments}),
    );
    for (headers, code) in [
        (headers(&message), json!(-32020)),
        (
            with(
                headers(&message),
                "mcp-param-city",
                Some("=?base64?R3LDvMOfZQ==?="),
            ),
            Value::Null,
        ),
    ] {
        let (_, answer) = post_with(&remote, &headers, &message);
        assert_eq!(answer["error"]["code"], code, "{headers:?}");
    }
    let headers = with(
        headers(&message),
        "mcp-param-city",
        Some("=?base64?R3LDvMOfZQ==?="),
    );
    let headers = with(headers, "mcp-param-shard", Some("null"));
    let (_, answer) = post_with(&remote, &headers, &message);
    assert_eq!(answer["error"]["code"], -32020);
}

#[test]
fn subscriptions_progress_and_logs() {
    let remote = Modern::new()
        .capabilities(json!({"tools": {"listChanged": true}, "resources": {"subscribe": true}}))
        .acknowledges_when_told()
        .progresses("slow", &[1, 2])
        .logs("chatty")
        .start();
    let filter = json!({
        "toolsListChanged": true,
        "promptsListChanged": true,
        "resourceSubscriptions": ["file:///a"],
    });
    let listen = modern_request(
        "seven",
        "subscriptions/listen",
        json!({"notifications": filter}),
        &json!({}),
    );
    let body = listen.to_string();
    let mut stream = Exchange::new(&remote, "POST", &headers(&listen), &body);
    let listening = remote.wait_listen(1);
    assert_eq!(*listening.filter(), filter);
    let honoured = json!({"toolsListChanged": true, "resourceSubscriptions": ["file:///a"]});
    assert_eq!(listening.honoured, honoured);
    listening.acknowledge();
    stream.read_until("notifications/subscriptions/acknowledged");
    let change = "notifications/tools/list_changed";
    assert_eq!(remote.change(change, &Value::Null), 1);
    stream.read_until(change);
    assert!(stream.seen.contains(r#"subscriptionId":"seven""#));
    let updated = "notifications/resources/updated";
    assert_eq!(remote.change(updated, &json!({"uri": "file:///b"})), 0);
    assert_eq!(remote.change(updated, &json!({"uri": "file:///a"})), 1);
    listening.finish();
    stream.read_until(r#""resultType":"complete""#);
    listening.stream.wait_closed();
    assert_eq!(remote.change(change, &Value::Null), 0);

    for (tool, meta, present, absent) in [
        ("slow", json!({}), "\"result\"", "progress"),
        ("slow", json!({"progressToken": 3}), "\"progress\":2", "log"),
        ("chatty", json!({}), "\"result\"", "a error"),
        (
            "chatty",
            json!({"io.modelcontextprotocol/logLevel": "warning"}),
            "a error",
            "a debug",
        ),
    ] {
        let params = json!({"name": tool, "_meta": meta});
        let message = modern_request(tool, "tools/call", params, &json!({}));
        let body = message.to_string();
        let mut stream = Exchange::new(&remote, "POST", &headers(&message), &body);
        stream.read_until("\"result\"");
        assert!(stream.seen.contains(present), "{}", stream.seen);
        assert!(!stream.seen.contains(absent), "{}", stream.seen);
    }
}

#[test]
fn errands_are_asked_for_until_they_are_done() {
    let errand = Errand {
        unasked: false,
        question: Some(("size".to_owned(), form("Size?"))),
        result: json!({"content": []}),
    };
    let remote = Modern::new().errand("order", errand).start();
    let call = json!({"name": "order", "arguments": {}});
    let (status, answer) = post(&remote, &request(1, "tools/call", call.clone()));
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32021)));
    let declared = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    let ask = |id: u64, method: &str, params: Value| {
        let (_, answer) = post(&remote, &modern_request(id, method, params, &declared));
        answer["result"].clone()
    };
    let result = ask(2, "tools/call", call);
    assert_eq!(result["resultType"], "task");
    let task = json!({"taskId": result["taskId"]});
    assert_eq!(ask(3, "tasks/get", task.clone())["status"], "working");
    let asking = ask(4, "tasks/get", task.clone());
    assert_eq!(asking["status"], "input_required");
    assert_eq!(asking["inputRequests"]["size"], form("Size?"));
    let mut update = task.clone();
    update["inputResponses"] = json!({"size": {"action": "cancel"}});
    ask(5, "tasks/update", update.clone());
    let done = ask(6, "tasks/get", task);
    assert_eq!(done["status"], "completed");
    assert_eq!(done["result"], json!({"content": []}));
    assert_eq!(remote.take_violations(), Vec::<String>::new());
    ask(7, "tasks/update", update);
    assert_eq!(remote.take_violations().len(), 1);
}

#[test]
fn two_eras_side_by_side() {
    let remote = Modern::new().beside(Legacy::sessions()).start();
    let (status, answer) = post(&remote, &rpc::initialize(1, rpc::VERSION));
    assert_eq!(status, 200);
    assert_eq!(answer["result"]["protocolVersion"], rpc::VERSION);
    let (status, _) = post(&remote, &request(2, "tools/list", Value::Null));
    assert_eq!((status, remote.legacy().sessions_opened()), (200, 1));
    remote.turn(Side::Modern);
    let (_, answer) = post(&remote, &rpc::initialize(3, rpc::VERSION));
    assert_eq!(answer["error"]["code"], -32022);
    remote.turn(Side::Legacy);
    let (status, answer) = post(&remote, &request(4, "server/discover", Value::Null));
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32000)));
}

#[test]
fn older_servers_do_not_know_discovery() {
    for (how, expected) in [
        (Unaware::TypeScript, (400, json!(-32000))),
        (Unaware::TypeScriptFree, (400, json!(-32000))),
        (Unaware::TypeScriptOld, (200, Value::Null)), // a stream
        (Unaware::Python, (400, json!(-32600))),
        (Unaware::Rmcp, (422, Value::Null)),
        (Unaware::Go, (200, Value::Null)),
        (Unaware::Java, (500, Value::Null)),
        (Unaware::NotAllowed, (405, Value::Null)),
    ] {
        let remote = Legacy::sessions().unaware(how).start();
        let (status, answer) = post(&remote, &request(1, "server/discover", Value::Null));
        assert_eq!((status, answer["error"]["code"].clone()), expected);
        let (status, answer) = post(&remote, &request(2, "tools/list", Value::Null));
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32600)));
        let (status, _) = post(&remote, &rpc::initialize(3, rpc::VERSION));
        assert_eq!(status, 200, "{how:?}");
    }
}
