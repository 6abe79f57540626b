//! Passages between client and server of which one, or both, are of the modern era.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{Posted, World, initialize_result};
use crate::proto::bridge::{Credentials, Protocol};
use crate::proto::era::Era;
use crate::proto::transport::Transport;
use crate::proto::{Input, Prompt, Remembered};

/// Refuses the handshake as a modern server does.
pub(super) fn unsupported(posted: &Posted) -> String {
    let data = json!({"supported": ["2026-07-28"], "requested": "2025-11-25"});
    json!({"jsonrpc": "2.0", "id": posted.json["id"], "error":
        {"code": -32022, "message": "Unsupported protocol version", "data": data}})
    .to_string()
}

/// A result of `server/discover`.
pub(super) fn discovered() -> Value {
    json!({
        "resultType": "complete",
        "supportedVersions": ["2026-07-28"],
        "capabilities": {
            "tools": {"listChanged": true},
            "prompts": {},
            "resources": {"subscribe": true, "listChanged": true},
            "logging": {},
        },
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "m", "version": "2"}},
    })
}

impl World {
    /// A legacy client's handshake with a modern server, up to `notifications/initialized`. The
    /// stream of changes that follows from that is opened and left to itself.
    pub(super) fn connect_modern(&mut self) {
        self.connect_modern_as("2025-11-25", &discovered());
    }

    /// The same for a client of this revision and a server that tells this of itself. The client
    /// can be asked everything.
    pub(super) fn connect_modern_as(&mut self, version: &str, discovered: &Value) {
        self.shake_hands_with_modern(version, discovered);
        if self.pending().contains(&"subscriptions/listen") {
            let stream = self.take("subscriptions/listen");
            self.stream(&stream);
            let filter = &stream.json["params"]["notifications"];
            let params = json!({"notifications": filter});
            let method = "notifications/subscriptions/acknowledged";
            self.event(
                &stream,
                &json!({"jsonrpc": "2.0", "method": method, "params": params}),
            );
        }
    }

    /// The same, with nothing done to what follows.
    pub(super) fn shake_hands_with_modern(&mut self, version: &str, discovered: &Value) {
        self.client_says(
            &json!({"jsonrpc": "2.0", "id": "init", "method": "initialize", "params": {
                "protocolVersion": version,
                "capabilities": {"roots": {"listChanged": true}, "sampling": {}, "elicitation": {"form": {}, "url": {}}},
                "clientInfo": {"name": "c", "version": "1"},
            }}),
        );
        let posted = self.take("initialize");
        self.answer(&posted, 400, &[], unsupported(&posted));
        let probe = self.take("server/discover");
        self.give(&probe, discovered);
        self.response("init");
        self.initialized();
    }

    /// A modern client's request; it can be asked everything.
    pub(super) fn modern_request(&mut self, id: impl Into<Value>, method: &str, params: &Value) {
        let capabilities =
            json!({"roots": {}, "sampling": {}, "elicitation": {"form": {}, "url": {}}});
        self.modern_request_with(id, method, params, &capabilities);
    }

    /// A modern client's request with these capabilities.
    pub(super) fn modern_request_with(
        &mut self,
        id: impl Into<Value>,
        method: &str,
        params: &Value,
        capabilities: &Value,
    ) {
        let mut params = params.clone();
        let meta = &mut params["_meta"];
        meta["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
        meta["io.modelcontextprotocol/clientCapabilities"] = capabilities.clone();
        meta["io.modelcontextprotocol/clientInfo"] = json!({"name": "c", "version": "3"});
        self.client_says(
            &json!({"jsonrpc": "2.0", "id": id.into(), "method": method, "params": params}),
        );
    }

    /// A modern client before a legacy server with a session: its first request (`id` 0) is
    /// `server/discover`. Gives the server's own stream.
    pub(super) fn connect_upward(&mut self, session: &str) -> Posted {
        self.modern_request(0, "server/discover", &json!({}));
        let probe = self.take("server/discover");
        let refusal = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#;
        self.answer(&probe, 400, &[], refusal);
        let posted = self.take("initialize");
        self.give_session(&posted, session);
        let stream = self.finish_handshake(session);
        self.response(0);
        stream
    }
}

#[test]
fn t92_a_legacy_client_is_served_by_a_modern_server() {
    let mut world = World::new();
    world.connect_modern();
    world.request(1, "tools/list");
    let posted = world.take("tools/list");
    assert_eq!(posted.header("mcp-protocol-version"), Some("2026-07-28"));
    assert_eq!(posted.header("mcp-method"), Some("tools/list"));
    assert_eq!(posted.session(), "");
    let meta = &posted.json["params"]["_meta"];
    assert_eq!(
        meta["io.modelcontextprotocol/clientInfo"],
        json!({"name": "c", "version": "1"})
    );
    assert_eq!(
        meta["io.modelcontextprotocol/clientCapabilities"]["roots"],
        json!({})
    );
    world.give(
        &posted,
        &json!({"resultType": "complete", "tools": [], "ttlMs": 0, "cacheScope": "private"}),
    );
    assert_eq!(world.response(1)["result"], json!({"tools": []}));
}

#[test]
fn t130_a_modern_client_is_served_by_a_legacy_server() {
    let mut world = World::new();
    world.connect_upward("a");
    world.modern_request(1, "tools/list", &json!({}));
    let posted = world.take("tools/list");
    assert_eq!(posted.header("mcp-protocol-version"), Some("2025-11-25"));
    assert_eq!(posted.session(), "a");
    assert_eq!(
        posted.json.get("params").map(|params| params.get("_meta")),
        Some(None)
    );
    world.give(&posted, &json!({"tools": []}));
    let result = &world.response(1)["result"];
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["ttlMs"], 0);
    assert_eq!(world.count("initialize"), 1);
}

/// An error response to this request.
pub(super) fn error(posted: &Posted, code: i64, message: &str) -> String {
    json!({"jsonrpc": "2.0", "id": posted.json["id"], "error": {"code": code, "message": message}})
        .to_string()
}

fn remembered(era: Era, transport: Transport, fresh: u64) -> Remembered {
    Remembered {
        era,
        transport,
        discover: (era == Era::Modern).then(|| discovered().to_string()),
        fresh: Duration::from_secs(fresh),
    }
}

fn recalling(remembered: Remembered) -> World {
    World::with(|settings| settings.remembered = Some(remembered))
}

/// A legacy client that can be asked nothing.
fn initialize_plainly(world: &mut World) {
    world.client_says(
        &json!({"jsonrpc": "2.0", "id": "init", "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}}),
    );
}

#[test]
fn t79_the_session_of_a_refused_probe_is_left_and_never_used() {
    let mut world = World::new();
    world.modern_request(0, "server/discover", &json!({}));
    let probe = world.take("server/discover");
    let body = error(&probe, -32600, "Bad Request: Missing session ID");
    world.answer(&probe, 400, &[("mcp-session-id", "stray")], body);
    let left = world.take("DELETE");
    assert_eq!(left.session(), "stray");
    let posted = world.take("initialize");
    assert_eq!(posted.session(), "");
    world.give_session(&posted, "real");
    world.finish_handshake("real");
    world.modern_request(1, "tools/list", &json!({}));
    assert_eq!(world.take("tools/list").session(), "real");
    assert_eq!(world.count("DELETE"), 1);
}

#[test]
fn t89_a_server_that_became_modern_is_found_out_when_its_session_is_lost() {
    let mut world = World::new();
    world.connect("a");
    world.request(1, "tools/list");
    let posted = world.take("tools/list");
    world.lose(&posted);
    let again = world.take("initialize");
    world.answer(&again, 400, &[], unsupported(&again));
    let probe = world.take("server/discover");
    world.give(&probe, &discovered());
    let posted = world.take("tools/list");
    assert_eq!(posted.header("mcp-protocol-version"), Some("2026-07-28"));
    world.give(&posted, &json!({"resultType": "complete", "tools": []}));
    assert_eq!(world.response(1)["result"], json!({"tools": []}));
    assert!(world.has_line("notifications/tools/list_changed"));
}

#[test]
fn t93_every_refusal_of_the_handshake_leads_to_discovery() {
    type Refusal = fn(&Posted) -> String;
    let refusals: [(u16, Refusal); 5] = [
        (400, unsupported),
        (404, |posted| error(posted, -32601, "Method not found")),
        (400, |posted| error(posted, -32020, "Header mismatch")),
        (400, |posted| error(posted, -32602, "_meta is missing")),
        (400, |_| String::new()),
    ];
    for (status, refusal) in refusals {
        let mut world = World::new();
        world.initialize();
        let posted = world.take("initialize");
        let body = refusal(&posted);
        world.answer(&posted, status, &[], body.clone());
        let probe = world.take("server/discover");
        assert_eq!(probe.header("mcp-protocol-version"), Some("2026-07-28"));
        assert_eq!(probe.header("mcp-method"), Some("server/discover"));
        world.give(&probe, &discovered());
        let result = world.response("init")["result"].clone();
        assert_eq!(result["protocolVersion"], "2025-11-25", "{body}");
        assert_eq!(result["serverInfo"]["name"], "m");
        assert_eq!(result.get("supportedVersions"), None);
        assert_eq!(world.history.len(), 2, "{:?}", world.history);
    }
}

#[test]
fn t98_t129_what_a_modern_server_does_not_know_stays_here() {
    let mut world = World::new();
    world.connect_modern();
    let before = world.history.clone();
    world.request(1, "ping");
    assert_eq!(world.response(1)["result"], json!({}));
    world.client_says(&json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}));
    world.client_says(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}));
    world.request(2, "tasks/list");
    assert_eq!(world.response(2)["error"]["code"], -32601);
    assert_eq!(world.history, before);
    world.client_says(&json!({"jsonrpc": "2.0", "method": "notifications/vendor/thing"}));
    let posted = world.take("notifications/vendor/thing");
    assert_eq!(
        posted.header("mcp-method"),
        Some("notifications/vendor/thing")
    );
}

#[test]
fn t108_closing_the_exchange_cancels_a_call() {
    let mut world = World::new();
    world.connect_modern();
    world.client_says(
        &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x"}}),
    );
    let posted = world.take("tools/call");
    world.stream(&posted);
    world.client_says(
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
    );
    assert!(!world.is_running(&posted));
    assert_eq!(world.count("notifications/cancelled"), 0);
    world.seconds(60);
    assert!(!world.is_answered(1));
}

#[test]
fn t117_t118_a_log_level_is_kept_here_and_said_with_every_request() {
    let mut world = World::new();
    world.connect_modern();
    let level = |posted: &Posted| {
        posted.json["params"]["_meta"]["io.modelcontextprotocol/logLevel"].clone()
    };
    world.request(1, "tools/list");
    assert_eq!(level(&world.take("tools/list")), Value::Null);
    for (id, word, code) in [(2, "warning", Value::Null), (3, "bogus", json!(-32602))] {
        world.client_says(&json!({"jsonrpc": "2.0", "id": id, "method": "logging/setLevel", "params": {"level": word}}));
        assert_eq!(world.response(id)["error"]["code"], code, "{word}");
    }
    world.client_says(
        &json!({"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": {"name": "x"}}),
    );
    let posted = world.take("tools/call");
    assert_eq!(level(&posted), "warning");
    world.stream(&posted);
    for word in ["info", "warning", "error"] {
        world.event(&posted, &json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": word, "data": word}}));
    }
    let shown: Vec<_> = world
        .lines()
        .iter()
        .map(|line| line["params"]["data"].clone())
        .collect();
    assert_eq!(shown, ["warning", "error"]);

    let mut without = discovered();
    without["capabilities"]
        .as_object_mut()
        .unwrap()
        .remove("logging");
    let mut world = World::new();
    world.connect_modern_as("2025-11-25", &without);
    world.client_says(&json!({"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": "info"}}));
    assert_eq!(world.response(1)["error"]["code"], -32601);
}

#[test]
fn t122_missing_fields_are_learned_from_the_list_of_tools() {
    let mut world = World::new();
    world.connect_modern();
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "x", "arguments": {"region": "eu"}}});
    world.client_says(&call);
    let posted = world.take("tools/call");
    assert_eq!(posted.header("mcp-param-region"), None);
    world.answer(
        &posted,
        400,
        &[],
        error(&posted, -32020, "Mcp-Param-Region is missing"),
    );
    let list = world.take("tools/list");
    let tool = json!({"name": "x", "inputSchema": {"type": "object", "properties":
        {"region": {"type": "string", "x-mcp-header": "Region"}}}});
    world.give(&list, &json!({"resultType": "complete", "tools": [tool]}));
    let again = world.take("tools/call");
    assert_eq!(again.header("mcp-param-region"), Some("eu"));
    assert_ne!(again.json["id"], posted.json["id"]);
    world.give(&again, &json!({"resultType": "complete", "content": []}));
    assert_eq!(world.response(1)["result"], json!({"content": []}));
    // Once is enough.
    world.client_says(
        &json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "y"}}),
    );
    for _ in 0..2 {
        let posted = world.take("tools/call");
        world.answer(&posted, 400, &[], error(&posted, -32020, "no"));
        if world.pending().contains(&"tools/list") {
            let list = world.take("tools/list");
            world.give(&list, &json!({"tools": []}));
        }
    }
    let refused = &world.response(2)["error"];
    assert_eq!(refused["code"], -32603, "{refused}");
    assert_eq!(refused["data"]["original"]["code"], -32020);
}

#[test]
fn t123_a_broken_stream_loses_the_request_and_only_reading_is_repeated() {
    let mut world = World::new();
    world.connect_modern();
    world.client_says(
        &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x"}}),
    );
    let posted = world.take("tools/call");
    world.stream(&posted);
    world.events(&posted, None, Some("e1"), None, "");
    world.end(&posted);
    let failed = world.response(1)["error"].clone();
    assert_eq!(failed["data"]["executed"], "unknown", "{failed}");
    world.client_says(
        &json!({"jsonrpc": "2.0", "id": 2, "method": "resources/read", "params": {"uri": "a:b"}}),
    );
    let mut ids = Vec::new();
    for _ in 0..3 {
        let posted = world.take("resources/read");
        ids.push(posted.json["id"].to_string());
        world.stream(&posted);
        world.end(&posted);
        world.seconds(2);
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
    assert_eq!(world.response(2)["error"]["data"]["kind"], "stream-ended");
    assert_eq!(world.count("GET"), 0);
}

#[test]
fn t128_a_version_the_server_names_is_used_once_more() {
    let mut world = World::new();
    world.connect_modern();
    world.request(1, "prompts/list");
    let posted = world.take("prompts/list");
    world.answer(&posted, 400, &[], unsupported(&posted));
    let again = world.take("prompts/list");
    assert_ne!(again.json["id"], posted.json["id"]);
    world.answer(&again, 400, &[], unsupported(&again));
    assert_eq!(world.response(1)["error"]["code"], -32022);
}

#[test]
fn t131_the_first_message_of_a_modern_client_may_be_any() {
    let mut world = World::new();
    world.modern_request("c", "tools/call", &json!({"name": "x"}));
    let probe = world.take("server/discover");
    world.answer(&probe, 404, &[], error(&probe, -32601, "Method not found"));
    let posted = world.take("initialize");
    assert_eq!(posted.json["params"]["clientInfo"]["name"], "c");
    assert_eq!(posted.json["params"]["capabilities"]["roots"], json!({}));
    world.give_session(&posted, "a");
    world.finish_handshake("a");
    let posted = world.take("tools/call");
    world.give(&posted, &json!({"content": []}));
    let result = &world.response("c")["result"];
    assert_eq!(result["resultType"], "complete");
    assert_eq!(
        result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
        "s"
    );
}

#[test]
fn t157_a_client_that_discovers_and_then_initializes_keeps_its_session() {
    let mut world = World::new();
    world.connect_upward("a");
    let initialize = |id: &str, name: &str| {
        json!({"jsonrpc": "2.0", "id": id, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {"roots": {}, "sampling": {}, "elicitation": {"form": {}, "url": {}}},
            "clientInfo": {"name": name, "version": "3"}}})
    };
    world.client_says(&initialize("i", "c"));
    assert_eq!(world.response("i")["result"]["serverInfo"]["name"], "s");
    world.initialized();
    assert_eq!(world.count("initialize"), 1);
    assert_eq!(world.count("notifications/initialized"), 1);
    world.request(5, "tools/list");
    let posted = world.take("tools/list");
    assert_eq!(posted.session(), "a");
    world.give(&posted, &json!({"tools": []}));
    assert_eq!(world.response(5)["result"], json!({"tools": []}));
    // With other words it is another session.
    world.client_says(&initialize("j", "other"));
    let posted = world.take("initialize");
    world.give_session(&posted, "b");
    world.response("j");
    assert_eq!(world.take("DELETE").session(), "a");
}

#[test]
fn t157_an_initialize_joins_the_detection_that_is_under_way() {
    for modern in [true, false] {
        let mut world = World::new();
        world.modern_request(0, "server/discover", &json!({}));
        let probe = world.take("server/discover");
        world.initialize_as("i");
        assert_eq!(world.pending(), Vec::<&str>::new());
        if modern {
            world.give(&probe, &discovered());
            world.response(0);
            assert_eq!(world.response("i")["result"]["serverInfo"]["name"], "m");
            assert_eq!(world.count("initialize"), 0);
            continue;
        }
        world.answer(&probe, 404, &[], "");
        // Not an HTTP+SSE server either.
        let get = world.take("GET");
        world.answer(&get, 405, &[], "");
        // The session is opened in its words.
        let posted = world.take("initialize");
        assert_eq!(posted.json["id"], "i");
        world.give_session(&posted, "a");
        assert_eq!(world.response("i")["result"]["serverInfo"]["name"], "s");
        world.initialized();
        world.finish_handshake("a");
        assert_eq!(world.response(0)["result"]["resultType"], "complete");
        assert_eq!(world.count("initialize"), 1);
    }
}

#[test]
fn t158_t159_what_a_modern_request_must_say_is_checked() {
    let mut world = World::new();
    world.connect_upward("a");
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2031-01-01",
        "io.modelcontextprotocol/clientCapabilities": {}});
    world.client_says(
        &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}),
    );
    let refused = world.response(1)["error"].clone();
    assert_eq!(refused["code"], -32022);
    assert_eq!(refused["data"]["supported"][0], "2026-07-28");
    assert_eq!(refused["data"]["requested"], "2031-01-01");
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    world.client_says(
        &json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {"_meta": meta}}),
    );
    assert_eq!(world.response(2)["error"]["code"], -32602);
    for method in [
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "tasks/get",
    ] {
        world.modern_request("x", method, &json!({}));
        assert_eq!(world.response("x")["error"]["code"], -32601, "{method}");
    }
    assert_eq!(world.pending(), Vec::<&str>::new());
}

#[test]
fn t161_no_changes_are_promised_where_none_can_be_told() {
    for (status, promised) in [(405, false), (200, true)] {
        let mut world = World::new();
        world.modern_request(0, "server/discover", &json!({}));
        let probe = world.take("server/discover");
        world.answer(&probe, 404, &[], error(&probe, -32601, "?"));
        let posted = world.take("initialize");
        world.give(&posted, &initialize_result("2025-11-25"));
        let posted = world.take("notifications/initialized");
        world.accept(&posted);
        assert!(!world.is_answered(0));
        let get = world.take("GET");
        if promised {
            world.stream(&get);
        } else {
            world.answer(&get, status, &[], "");
        }
        let result = &world.response(0)["result"];
        let changes = result["capabilities"]["tools"].get("listChanged");
        assert_eq!(
            changes.is_some_and(|one| one == &json!(true)),
            promised,
            "{result}"
        );
        assert_eq!(result["supportedVersions"][0], "2026-07-28");
    }
}

#[test]
fn t163_a_client_that_could_use_either_may_be_sent_to_the_handshake() {
    let mut world = World::with(|settings| settings.legacy_first = true);
    world.modern_request(0, "server/discover", &json!({}));
    let probe = world.take("server/discover");
    world.answer(
        &probe,
        400,
        &[],
        error(&probe, -32000, "No valid session ID provided"),
    );
    let posted = world.take("initialize");
    world.give_session(&posted, "a");
    world.finish_handshake("a");
    assert_eq!(world.response(0)["error"]["code"], -32601);
    // Modern requests that come anyway are served.
    world.modern_request(1, "tools/list", &json!({}));
    let posted = world.take("tools/list");
    world.give(&posted, &json!({"tools": []}));
    assert_eq!(world.response(1)["result"]["resultType"], "complete");
}

#[test]
fn t168_t169_a_modern_server_answers_a_modern_client_in_its_own_words() {
    let mut world = World::new();
    world.modern_request(0, "server/discover", &json!({}));
    let probe = world.take("server/discover");
    world.give(&probe, &discovered());
    assert_eq!(world.response(0)["result"], discovered());
    world.modern_request(1, "vendor/thing", &json!({"n": 1.0}));
    let posted = world.take("vendor/thing");
    assert_eq!(posted.header("mcp-protocol-version"), Some("2026-07-28"));
    world.answer(&posted, 404, &[], error(&posted, -32601, "no such thing"));
    assert_eq!(world.response(1)["error"]["message"], "no such thing");
    world.modern_request(2, "tools/call", &json!({"name": "x"}));
    let posted = world.take("tools/call");
    let asked = json!({"resultType": "input_required", "requestState": "s/+=",
        "inputRequests": {"k": {"method": "roots/list"}}});
    world.give(&posted, &asked);
    assert_eq!(world.response(2)["result"], asked);
    assert_eq!(world.history.len(), 3);
}

#[test]
fn t171_a_remembered_modern_server_costs_no_request_at_all() {
    let mut world = recalling(remembered(Era::Modern, Transport::StreamableHttp, 60));
    world.initialize();
    assert_eq!(world.response("init")["result"]["serverInfo"]["name"], "m");
    assert_eq!(world.history, Vec::<String>::new());
    world.request(1, "tools/list");
    assert_eq!(world.history, ["tools/list"]);
    // What it said long ago is looked at again, beside the traffic.
    let mut world = recalling(remembered(Era::Modern, Transport::StreamableHttp, 0));
    world.initialize();
    world.response("init");
    world.initialized();
    assert_eq!(
        world.history.first().map(String::as_str),
        Some("server/discover")
    );
    // Nothing else is sent before that: an older server would run what was not meant for it.
    world.request(1, "tools/list");
    assert_eq!(world.pending(), ["server/discover"]);
    let look = world.take("server/discover");
    let mut news = discovered();
    news["capabilities"]["completions"] = json!({});
    world.give(&look, &news);
    assert!(world.has_line("notifications/tools/list_changed"));
    assert_eq!(world.count("initialize"), 0);
}

#[test]
fn t171_the_clients_own_discovery_is_the_look_at_a_remembered_server() {
    let mut world = recalling(remembered(Era::Modern, Transport::StreamableHttp, 0));
    world.modern_request(0, "server/discover", &json!({}));
    world.modern_request(1, "tools/list", &json!({}));
    let look = world.take("server/discover");
    let mut news = discovered();
    news["instructions"] = json!("news");
    world.give(&look, &news);
    assert_eq!(world.response(0)["result"], news);
    world.take("tools/list");
    assert_eq!(world.history, ["server/discover", "tools/list"]);
    // Later it asks the server itself.
    world.modern_request(2, "server/discover", &json!({}));
    let posted = world.take("server/discover");
    world.give(&posted, &discovered());
    assert_eq!(world.response(2)["result"], discovered());
}

#[test]
fn t172_a_remembered_modern_server_that_is_legacy_now_is_found_out() {
    let mut world = recalling(remembered(Era::Modern, Transport::StreamableHttp, 60));
    world.initialize();
    world.response("init");
    world.initialized();
    world.request(1, "tools/list");
    let posted = world.take("tools/list");
    world.answer(
        &posted,
        400,
        &[],
        error(&posted, -32000, "Bad Request: No valid session ID provided"),
    );
    assert_eq!(world.remembered.last(), Some(&None));
    let probe = world.take("server/discover");
    world.answer(
        &probe,
        400,
        &[],
        error(&probe, -32000, "Bad Request: No valid session ID provided"),
    );
    let posted = world.take("initialize");
    world.give_session(&posted, "a");
    world.finish_handshake("a");
    let posted = world.take("tools/list");
    assert_eq!(posted.header("mcp-protocol-version"), Some("2025-11-25"));
    world.give(&posted, &json!({"tools": []}));
    assert_eq!(world.response(1)["result"], json!({"tools": []}));
    assert_eq!(world.count("server/discover"), 1);
    let kept = world.remembered.pop().unwrap().unwrap();
    assert_eq!(kept.era, Era::Legacy);
}

#[test]
fn t173_a_remembered_http_sse_server_is_asked_for_its_stream_first() {
    let mut world = recalling(remembered(Era::Legacy, Transport::Sse, 0));
    world.connect_sse("/m");
    assert_eq!(
        world.history,
        ["GET", "initialize", "notifications/initialized"]
    );
}

#[test]
fn t174_t175_t176_a_server_without_sessions_is_asked_whether_it_is_more() {
    let plain = |changes: bool| {
        let capabilities = if changes {
            json!({"tools": {"listChanged": true}})
        } else {
            json!({"tools": {}})
        };
        json!({"protocolVersion": "2025-11-25", "capabilities": capabilities,
            "serverInfo": {"name": "s", "version": "1"}})
    };
    for (asks, changes, session, looked) in [
        (true, false, false, true),
        (false, true, false, true),
        (false, false, false, false),
        (true, true, true, false),
    ] {
        let mut world = World::new();
        if asks {
            world.initialize();
        } else {
            initialize_plainly(&mut world);
        }
        let posted = world.take("initialize");
        let headers: &[(&str, &str)] = if session {
            &[("mcp-session-id", "a")]
        } else {
            &[]
        };
        world.answer(
            &posted,
            200,
            headers,
            posted.result(&plain(changes)).to_string(),
        );
        world.response("init");
        world.initialized();
        let posted = world.take("notifications/initialized");
        world.accept(&posted);
        let get = world.take("GET");
        world.answer(&get, 405, &[], "");
        assert_eq!(
            world.pending() == ["server/discover"],
            looked,
            "{asks} {changes} {session} {:?}",
            world.pending()
        );
        if !looked {
            continue;
        }
        let look = world.take("server/discover");
        world.give(&look, &discovered());
        world.client_says(
            &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x"}}),
        );
        let posted = world.take("tools/call");
        assert_eq!(posted.header("mcp-protocol-version"), Some("2026-07-28"));
        assert_eq!(world.remembered.pop().unwrap().unwrap().era, Era::Modern);
    }
    // What was not asked, or was asked and has not answered, is not remembered.
    let mut world = World::new();
    world.initialize();
    let posted = world.take("initialize");
    world.give(&posted, &plain(true));
    world.initialized();
    let posted = world.take("notifications/initialized");
    world.accept(&posted);
    assert!(world.remembered.is_empty());
    let look = world.take("server/discover");
    world.answer(&look, 404, &[], error(&look, -32601, "Method not found"));
    assert_eq!(world.remembered.pop().unwrap().unwrap().era, Era::Legacy);
    // Nobody asks a server that was asked at an earlier start, or if the user does not want it.
    let mut world = recalling(remembered(Era::Legacy, Transport::StreamableHttp, 0));
    world.initialize();
    let posted = world.take("initialize");
    world.give(&posted, &plain(true));
    world.initialized();
    let posted = world.take("notifications/initialized");
    world.accept(&posted);
    assert_eq!(world.pending(), ["GET"]);
    let mut world = World::with(|settings| settings.upgrade = false);
    world.initialize();
    let posted = world.take("initialize");
    world.give(&posted, &plain(true));
    world.initialized();
    let posted = world.take("notifications/initialized");
    world.accept(&posted);
    assert_eq!(world.pending(), ["GET"]);
}

#[test]
fn t179_t180_a_probe_that_says_nothing_ends_in_a_handshake() {
    // Older revisions by name.
    let mut world = World::new();
    world.modern_request(0, "server/discover", &json!({}));
    let probe = world.take("server/discover");
    let older = json!({"supportedVersions": ["2025-03-26", "2025-06-18"], "capabilities": {}});
    world.give(&probe, &older);
    let posted = world.take("initialize");
    assert_eq!(posted.json["params"]["protocolVersion"], "2025-06-18");
    // A breakdown, and silence: the client waits for five seconds only.
    let mut world = World::new();
    world.modern_request(0, "server/discover", &json!({}));
    let probe = world.take("server/discover");
    world.answer(&probe, 500, &[], "Missing handler");
    world.take("initialize");
    let mut world = World::new();
    world.modern_request(0, "server/discover", &json!({}));
    let probe = world.take("server/discover");
    world.advance(Duration::from_millis(4001));
    assert!(!world.is_running(&probe));
    world.take("initialize");
}

#[test]
fn the_user_may_settle_which_era_is_spoken() {
    let mut world = World::with(|settings| settings.protocol = Protocol::Modern);
    world.initialize();
    let probe = world.take("server/discover");
    world.answer(
        &probe,
        400,
        &[],
        error(&probe, -32000, "No valid session ID provided"),
    );
    let refused = world.response("init")["error"].clone();
    assert_eq!(refused["code"], -31000);
    let words = "mcp-bridge: the server refused \"server/discover\": No valid session ID provided; \
                 older revisions were not tried (--protocol modern)";
    assert_eq!(refused["message"], words);
    assert_eq!(world.history, ["server/discover"]);

    let mut world = World::with(|settings| settings.protocol = Protocol::Legacy);
    world.initialize();
    let posted = world.take("initialize");
    world.answer(&posted, 400, &[], unsupported(&posted));
    let refused = world.response("init")["error"].clone();
    assert_eq!(refused["code"], -32602, "{refused}");
    assert_eq!(refused["data"]["supported"], json!(["2026-07-28"]));
    assert_eq!(world.count("server/discover"), 0);
}

#[test]
fn a_fresh_list_of_tools_is_given_again_and_never_when_stale() {
    let mut world = World::new();
    world.connect_modern();
    let page = json!({"resultType": "complete", "tools": [{"name": "a", "inputSchema": {"type": "object"}}],
        "ttlMs": 5000, "cacheScope": "private"});
    world.request(1, "tools/list");
    let posted = world.take("tools/list");
    world.give(&posted, &page);
    let first = world.response(1)["result"].clone();
    world.advance(Duration::from_millis(4999));
    world.request(2, "tools/list");
    assert_eq!(world.response(2)["result"], first);
    world.advance(Duration::from_millis(1));
    world.request(3, "tools/list");
    let posted = world.take("tools/list");
    world.give(&posted, &page);
    world.response(3);
    // A change ends it at once.
    world.client_says(
        &json!({"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": {"name": "a"}}),
    );
    let call = world.take("tools/call");
    world.stream(&call);
    world.event(
        &call,
        &json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}),
    );
    world.request(5, "tools/list");
    world.take("tools/list");
}

#[test]
fn other_credentials_do_not_get_what_was_kept() {
    let mut world = World::with(|settings| settings.credentials = Credentials::Commands);
    world.connect_modern();
    let page =
        json!({"resultType": "complete", "tools": [], "ttlMs": 60000, "cacheScope": "private"});
    world.request(1, "tools/list");
    let posted = world.take("tools/list");
    world.give(&posted, &page);
    world.response(1);
    world.request(2, "prompts/list");
    let posted = world.take("prompts/list");
    world.answer(&posted, 401, &[], "");
    world.feed(Input::Authorized(Ok(())));
    world.request(3, "tools/list");
    world.take("tools/list");
}

#[test]
fn a_modern_client_hears_of_a_sign_in_at_once() {
    let mut world = World::with(|settings| settings.credentials = Credentials::SignIn);
    world.modern_request(0, "server/discover", &json!({}));
    let probe = world.take("server/discover");
    world.answer(&probe, 401, &[("www-authenticate", "Bearer")], "");
    assert!(!world.is_answered(0));
    world.feed(Input::SignInNeeded(Prompt {
        url: "https://as.example/authorize".to_owned(),
        instruction: None,
        opened: true,
    }));
    let result = world.response(0)["result"].clone();
    assert_eq!(result["supportedVersions"][0], "2026-07-28");
    let words = result["instructions"].as_str().unwrap();
    assert!(words.contains("https://as.example/authorize"), "{words}");
    world.modern_request(1, "tools/call", &json!({"name": "x"}));
    assert!(!world.is_answered(1));
    world.seconds(21);
    let result = world.response(1)["result"].clone();
    assert_eq!(
        (&result["isError"], &result["resultType"]),
        (&json!(true), &json!("complete"))
    );
    world.modern_request(2, "tools/list", &json!({}));
    assert_eq!(
        world.response(2)["error"]["data"]["kind"],
        "sign_in_required"
    );
    world.feed(Input::Authorized(Ok(())));
    let probe = world.take("server/discover");
    world.give(&probe, &discovered());
    world.modern_request(3, "tools/list", &json!({}));
    let posted = world.take("tools/list");
    world.give(&posted, &json!({"resultType": "complete", "tools": []}));
    world.response(3);
}
