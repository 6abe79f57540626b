//! Changes that the server tells of, between every pair of eras.

use std::time::Duration;

use serde_json::{Value, json};

use super::eras::discovered;
use super::world::{Posted, World, initialize_result};
use crate::proto::bridge::Credentials;
use crate::proto::era::Era;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::limits;
use crate::proto::transport::Transport;
use crate::proto::{Input, Prompt, Remembered, StopReason, TroubleKind};

const LISTEN: &str = "subscriptions/listen";
const TOOLS: &str = "notifications/tools/list_changed";
const PROMPTS: &str = "notifications/prompts/list_changed";
const RESOURCES: &str = "notifications/resources/list_changed";
const UPDATED: &str = "notifications/resources/updated";
const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
const CANCELLED: &str = "notifications/cancelled";
const ID: &str = "io.modelcontextprotocol/subscriptionId";

/// A notification on a stream of changes, as the server sends it.
fn tagged(method: &str, id: &Value, params: &Value) -> Value {
    let mut params = params.clone();
    params["_meta"] = json!({ID: id});
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

fn updated(id: &Value, uri: &str) -> Value {
    tagged(UPDATED, id, &json!({"uri": uri}))
}

/// A JSON-RPC error that answers this.
fn error(posted: &Posted, code: i32) -> String {
    let error = json!({"code": code, "message": "no"});
    json!({"jsonrpc": "2.0", "id": posted.json["id"], "error": error}).to_string()
}

/// The URIs that a `subscriptions/listen` asks for.
fn uris(posted: &Posted) -> Vec<&str> {
    let uris = posted.json["params"]["notifications"]["resourceSubscriptions"].as_array();
    let uris = uris.into_iter().flatten();
    uris.map(|uri| uri.as_str().unwrap()).collect()
}

impl World {
    /// Opens the oldest stream of changes and grants what it asks for.
    #[track_caller]
    fn grant(&mut self) -> Posted {
        let stream = self.take(LISTEN);
        self.grant_on(&stream);
        stream
    }

    fn grant_on(&mut self, stream: &Posted) {
        let filter = stream.json["params"]["notifications"].clone();
        self.grant_this(stream, &filter);
    }

    fn grant_this(&mut self, stream: &Posted, filter: &Value) {
        self.stream(stream);
        let granted = json!({"notifications": filter});
        self.event(stream, &tagged(ACKNOWLEDGED, &stream.json["id"], &granted));
    }

    fn tell(&mut self, stream: &Posted, method: &str) {
        self.event(stream, &tagged(method, &stream.json["id"], &json!({})));
    }

    fn update(&mut self, stream: &Posted, uri: &str) {
        self.event(stream, &updated(&stream.json["id"], uri));
    }

    fn subscribe(&mut self, id: u64, uri: &str) {
        self.request_with(id, "resources/subscribe", &json!({"uri": uri}));
    }

    /// Lets time pass until the bridge asks for a stream of changes.
    fn await_listen(&mut self) {
        for _ in 0..400 {
            if self.pending().contains(&LISTEN) {
                return;
            }
            self.advance(Duration::from_millis(100));
        }
    }

    /// A modern client's `subscriptions/listen`.
    fn listen(&mut self, id: impl Into<Value>, filter: &Value) {
        self.modern_request(id, LISTEN, &json!({"notifications": filter}));
    }

    fn cancel(&mut self, id: impl Into<Value>) {
        let params = json!({"requestId": id.into()});
        self.client_says(&json!({"jsonrpc": "2.0", "method": CANCELLED, "params": params}));
    }

    /// A legacy client before a modern server whose stream of changes is not opened yet.
    fn connect_for_changes(&mut self) {
        self.shake_hands_with_modern("2025-11-25", &discovered());
    }

    /// A modern client before a modern server: its first request (`id` 0) is `server/discover`.
    fn connect_both_modern(&mut self) {
        self.modern_request(0, "server/discover", &json!({}));
        let probe = self.take("server/discover");
        self.give(&probe, &discovered());
        self.play(|world, posted| world.give(posted, &discovered()));
        self.response(0);
    }

    /// Answers every `resources/subscribe` and `resources/unsubscribe` that is sent.
    fn settle_watches(&mut self) -> Vec<String> {
        let mut seen = Vec::new();
        self.play(|world, posted| {
            let uri = posted.json["params"]["uri"].as_str().unwrap_or_default();
            seen.push(format!("{} {uri}", posted.key()));
            world.give(posted, &json!({}));
        });
        seen
    }
}

// A legacy client, a modern server.

#[test]
fn t112_one_stream_is_opened_once_the_client_is_initialized() {
    let mut world = World::new();
    world.initialize();
    let posted = world.take("initialize");
    world.answer(&posted, 400, &[], super::eras::unsupported(&posted));
    let probe = world.take("server/discover");
    world.give(&probe, &discovered());
    world.response("init");
    assert_eq!(world.count(LISTEN), 0);
    world.initialized();
    let stream = world.take(LISTEN);
    assert_eq!(stream.header("mcp-method"), Some(LISTEN));
    assert_eq!(stream.header("mcp-protocol-version"), Some("2026-07-28"));
    assert_eq!(
        stream.json["params"]["notifications"],
        json!({"toolsListChanged": true, "resourcesListChanged": true})
    );
    let meta = &stream.json["params"]["_meta"];
    assert_eq!(
        meta["io.modelcontextprotocol/protocolVersion"],
        "2026-07-28"
    );
    assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "c");
    world.grant_on(&stream);
    world.seconds(600);
    assert_eq!(world.count(LISTEN), 1);
    assert!(world.lines().is_empty());
}

#[test]
fn t112_no_stream_is_opened_where_the_server_tells_of_nothing() {
    let mut quiet = discovered();
    quiet["capabilities"] = json!({"tools": {}, "resources": {"subscribe": true}});
    let mut world = World::new();
    world.shake_hands_with_modern("2025-11-25", &quiet);
    world.seconds(600);
    assert_eq!(world.count(LISTEN), 0);
    world.subscribe(1, "a");
    let stream = world.grant();
    assert_eq!(uris(&stream), ["a"]);
    assert_eq!(world.response(1)["result"], json!({}));
    world.request_with(2, "resources/unsubscribe", &json!({"uri": "a"}));
    assert_eq!(world.response(2)["result"], json!({}));
    assert!(!world.is_running(&stream), "nothing is left to listen for");
    assert_eq!(world.count(LISTEN), 1);
}

#[test]
fn t113_a_change_reaches_a_legacy_client_without_its_subscription() {
    let mut world = World::new();
    world.connect_for_changes();
    let stream = world.take(LISTEN);
    world.stream(&stream);
    world.tell(&stream, TOOLS);
    assert!(
        world.lines().is_empty(),
        "nothing counts before the acknowledgement"
    );
    let granted = json!({"notifications": {"toolsListChanged": true}});
    world.event(&stream, &tagged(ACKNOWLEDGED, &stream.json["id"], &granted));
    assert!(world.lines().is_empty());
    world.tell(&stream, TOOLS);
    world.event(&stream, &json!({"jsonrpc": "2.0", "method": RESOURCES}));
    world.event(
        &stream,
        &tagged("notifications/vendor", &stream.json["id"], &json!({"k": 1})),
    );
    assert_eq!(
        world.lines(),
        [
            json!({"jsonrpc": "2.0", "method": TOOLS, "params": {}}),
            json!({"jsonrpc": "2.0", "method": RESOURCES}),
            json!({"jsonrpc": "2.0", "method": "notifications/vendor", "params": {"k": 1}}),
        ]
    );
    // What the client was not promised, or has not asked for.
    for method in [
        PROMPTS,
        "notifications/message",
        "notifications/progress",
        ACKNOWLEDGED,
    ] {
        world.tell(&stream, method);
    }
    world.update(&stream, "a");
    assert!(world.lines().is_empty());
}

#[test]
fn changes_for_another_subscription_are_dropped() {
    let mut world = World::new();
    world.connect_for_changes();
    let stream = world.take(LISTEN);
    world.stream(&stream);
    let granted = json!({"notifications": {"toolsListChanged": true}});
    for other in [json!("other"), json!(1), json!("mb-n-999")] {
        world.event(&stream, &tagged(ACKNOWLEDGED, &other, &granted));
    }
    world.event(&stream, &tagged(ACKNOWLEDGED, &stream.json["id"], &granted));
    for other in [json!("other"), json!(1)] {
        world.event(&stream, &tagged(TOOLS, &other, &json!({})));
        world.event(
            &stream,
            &tagged(CANCELLED, &other, &json!({"requestId": stream.json["id"]})),
        );
    }
    assert!(world.lines().is_empty());
    assert!(world.is_running(&stream));
    world.tell(&stream, TOOLS);
    assert_eq!(world.notifications(), [TOOLS]);
}

#[test]
fn t114_a_new_stream_is_acknowledged_before_the_old_one_closes() {
    let mut world = World::new();
    world.connect_for_changes();
    let first = world.grant();
    world.subscribe(1, "a");
    world.subscribe(2, "b");
    let second = world.take(LISTEN);
    assert_eq!(uris(&second), ["a"]);
    assert!(world.is_running(&first));
    assert!(world.pending().is_empty(), "one stream at a time is opened");
    world.tell(&first, TOOLS);
    assert_eq!(world.notifications(), [TOOLS]);
    assert!(!world.is_answered(1));
    world.lines();
    world.grant_on(&second);
    assert_eq!(world.response(1)["result"], json!({}));
    assert!(!world.is_answered(2));
    assert!(!world.is_running(&first));
    let third = world.grant();
    assert_eq!(uris(&third), ["a", "b"]);
    assert_eq!(world.response(2)["result"], json!({}));
    assert!(!world.is_running(&second));
    world.update(&third, "b");
    world.update(&third, "b/part");
    world.update(&third, "bc");
    assert_eq!(world.line(UPDATED)["params"], json!({"uri": "b"}));
    assert_eq!(world.line(UPDATED)["params"], json!({"uri": "b/part"}));
    world.request_with(3, "resources/unsubscribe", &json!({"uri": "a"}));
    assert_eq!(world.response(3)["result"], json!({}));
    let last = world.grant();
    assert_eq!(uris(&last), ["b"]);
    assert!(!world.is_running(&third));
    // No stream was missing in between: nothing has to be told again.
    assert!(world.lines().is_empty());
    assert_eq!(world.unanswered(), 0);
}

#[test]
fn a_resource_that_the_open_stream_still_has_is_subscribed_to_at_once() {
    let mut world = World::new();
    world.connect_for_changes();
    world.grant();
    world.subscribe(1, "a");
    let stream = world.grant();
    world.response(1);
    // The stream without it is refused, so the one with it stays.
    world.request_with(2, "resources/unsubscribe", &json!({"uri": "a"}));
    world.response(2);
    let without = world.take(LISTEN);
    assert_eq!(uris(&without), Vec::<&str>::new());
    world.answer(&without, 404, &[], "<html>");
    world.update(&stream, "a");
    assert!(!world.has_line(UPDATED));
    world.subscribe(3, "a");
    assert_eq!(world.response(3)["result"], json!({}));
    world.update(&stream, "a");
    world.line(UPDATED);
    assert!(world.is_running(&stream));
    assert_eq!(world.unanswered(), 0);
}

#[test]
fn a_resource_that_the_open_stream_was_not_granted_is_an_error_when_it_is_asked_for_again() {
    let mut world = World::new();
    world.connect_for_changes();
    world.grant();
    world.subscribe(1, "a");
    let stream = world.take(LISTEN);
    world.cancel(1);
    world.grant_this(&stream, &json!({"toolsListChanged": true}));
    let without = world.take(LISTEN);
    world.answer(&without, 404, &[], "<html>");
    world.subscribe(2, "a");
    assert_eq!(world.response(2)["error"]["code"], -32602);
}

#[test]
fn t114_what_cannot_be_subscribed_to_is_answered_with_an_error() {
    let mut world = World::new();
    world.connect_for_changes();
    world.grant();
    world.request_with(1, "resources/subscribe", &json!({"uri": 7}));
    assert_eq!(world.response(1)["error"]["code"], -32602);
    world.subscribe(2, "unknown");
    let stream = world.take(LISTEN);
    world.grant_this(&stream, &json!({"toolsListChanged": true}));
    assert_eq!(world.response(2)["error"]["code"], -32602);
    assert!(
        world.pending().is_empty(),
        "what was not granted is not asked for again"
    );
    world.subscribe(3, "a");
    let stream = world.take(LISTEN);
    assert_eq!(uris(&stream), ["a"]);
    let error = json!({"jsonrpc": "2.0", "id": stream.json["id"], "error": {"code": -32603, "message": "no"}});
    world.answer(&stream, 400, &[], error.to_string());
    assert_eq!(
        world.response(3)["error"],
        json!({"code": -32603, "message": "no"})
    );
    world.request_with(4, "resources/unsubscribe", &json!({"uri": "never"}));
    assert_eq!(world.response(4)["result"], json!({}));

    let mut without = discovered();
    without["capabilities"]["resources"] = json!({});
    let mut world = World::new();
    world.shake_hands_with_modern("2025-11-25", &without);
    world.subscribe(1, "a");
    assert_eq!(world.response(1)["error"]["code"], -32601);
}

#[test]
fn t115_a_stream_that_drops_is_opened_again_and_the_gap_told_of_in_moderation() {
    let mut world = World::new();
    world.connect_for_changes();
    world.grant();
    world.subscribe(1, "a");
    let mut stream = world.grant();
    world.response(1);
    for _ in 0..5 {
        world.seconds(30);
        world.end(&stream);
        stream = world.grant();
        assert_eq!(uris(&stream), ["a"]);
    }
    assert_eq!(world.count(LISTEN), 7);
    let told = |world: &World, method: &str| {
        world
            .notifications()
            .iter()
            .filter(|known| *known == method)
            .count()
    };
    // At 30, 90 and 150 s; never two within a minute.
    assert_eq!(
        (
            told(&world, TOOLS),
            told(&world, RESOURCES),
            told(&world, UPDATED)
        ),
        (3, 3, 3)
    );
    // What was missed at 150 s is told of at 210 s, and that is all.
    world.seconds(3600);
    assert_eq!(told(&world, TOOLS), 4);
    // A gap that could not be told of at once is told of later.
    world.end(&stream);
    stream = world.grant();
    world.seconds(11);
    world.end(&stream);
    world.grant();
    assert_eq!(told(&world, UPDATED), 5);
    world.seconds(60);
    assert_eq!(told(&world, UPDATED), 6);
    world.seconds(3600);
    assert_eq!(told(&world, UPDATED), 6);
    assert_eq!(told(&world, PROMPTS), 0);
}

#[test]
fn t116_a_server_without_changes_is_asked_once() {
    let not_found = |posted: &Posted| json!({"jsonrpc": "2.0", "id": posted.json["id"], "error": {"code": -32601, "message": "Method not found"}});
    for case in 0..4 {
        let mut world = World::new();
        world.connect_for_changes();
        world.subscribe(1, "a");
        let stream = world.take(LISTEN);
        match case {
            0 => world.answer(&stream, 404, &[], not_found(&stream).to_string()),
            1 => world.answer(&stream, 404, &[], "no such page"),
            2 => world.answer(&stream, 405, &[], ""),
            _ => {
                world.stream(&stream);
                world.event(&stream, &not_found(&stream));
                assert!(!world.is_running(&stream));
            }
        }
        assert_eq!(world.response(1)["error"]["code"], -32601, "case {case}");
        world.subscribe(2, "b");
        assert_eq!(world.response(2)["error"]["code"], -32601, "case {case}");
        world.seconds(7200);
        assert_eq!(world.count(LISTEN), 1, "case {case}");
    }
}

#[test]
fn t114_a_resource_that_is_refused_costs_nobody_else_their_changes() {
    // What is newly asked for is refused, in whatever words: what was granted stays as it is.
    for code in [-32602, -32603, -32601] {
        let mut world = World::new();
        world.connect_for_changes();
        world.grant();
        world.subscribe(1, "good");
        let stream = world.grant();
        assert_eq!(world.response(1)["result"], json!({}));
        world.subscribe(2, "bad");
        let refused = world.take(LISTEN);
        world.answer(&refused, 400, &[], error(&refused, code));
        assert_eq!(world.response(2)["error"]["code"], code);
        assert!(world.is_running(&stream));
        world.seconds(600);
        assert!(world.pending().is_empty(), "{code}");
        world.end(&stream);
        world.await_listen();
        let stream = world.grant();
        assert_eq!(uris(&stream), ["good"]);
        world.lines();
        world.subscribe(3, "other");
        let stream = world.grant();
        assert_eq!(uris(&stream), ["good", "other"]);
        assert_eq!(world.response(3)["result"], json!({}));
    }
}

#[test]
fn a_resource_that_is_gone_when_the_stream_is_opened_again_takes_nothing_with_it() {
    let mut world = World::new();
    world.connect_for_changes();
    world.grant();
    world.subscribe(1, "gone");
    let stream = world.grant();
    world.response(1);
    world.seconds(20);
    world.end(&stream);
    let mut gone = true;
    let mut streams = Vec::new();
    let mut play = |world: &mut World, posted: &Posted, gone: bool| {
        if gone && uris(posted).contains(&"gone") {
            world.answer(posted, 400, &[], error(posted, -32602));
        } else {
            world.grant_on(posted);
            streams.push(posted.clone());
        }
    };
    world.seconds_with(60, |world, posted| play(world, posted, gone));
    assert_eq!(world.notifications(), [TOOLS, RESOURCES]);
    world.lines();
    // Another resource is not refused for its sake.
    world.subscribe(2, "new");
    world.seconds_with(3600, |world, posted| play(world, posted, gone));
    assert_eq!(world.response(2)["result"], json!({}));
    let count = world.count(LISTEN);
    assert!((100..200).contains(&count), "{count}");
    // It is asked for again, and comes back.
    gone = false;
    world.seconds_with(60, |world, posted| play(world, posted, gone));
    let stream = streams.pop().unwrap();
    assert_eq!(uris(&stream), ["gone", "new"]);
    assert_eq!(world.line(UPDATED)["params"], json!({"uri": "gone"}));
    world.lines();
    assert!(world.is_running(&stream));
    let count = world.count(LISTEN);
    world.seconds(600);
    assert_eq!(world.count(LISTEN), count);
    world.update(&stream, "gone");
    assert_eq!(world.line(UPDATED)["params"], json!({"uri": "gone"}));
}

#[test]
fn a_resource_that_is_all_there_is_to_ask_for_is_asked_for_again() {
    let mut quiet = discovered();
    quiet["capabilities"] = json!({"resources": {"subscribe": true}});
    let mut world = World::new();
    world.shake_hands_with_modern("2025-11-25", &quiet);
    world.subscribe(1, "a");
    let stream = world.grant();
    world.response(1);
    world.seconds(20);
    world.end(&stream);
    for _ in 0..3 {
        world.await_listen();
        let stream = world.take(LISTEN);
        world.answer(&stream, 400, &[], error(&stream, -32603));
    }
    world.await_listen();
    assert_eq!(uris(&world.grant()), ["a"]);
    assert_eq!(world.notifications(), [UPDATED]);
}

#[test]
fn whoever_subscribes_after_credentials_were_refused_for_good_is_told_why() {
    let mut world = World::with(|settings| settings.credentials = Credentials::Given);
    world.connect_for_changes();
    let first = world.grant();
    for id in 1..3 {
        world.subscribe(id, "a");
        let stream = world.take(LISTEN);
        world.answer(&stream, 401, &[], "");
        assert_eq!(
            world.response(id)["error"]["data"]["kind"],
            "sign_in_required"
        );
    }
    assert!(world.is_running(&first));
    world.seconds(7200);
    assert_eq!(world.count(LISTEN), 3);
    world.subscribe(3, "a");
    world.grant();
    assert_eq!(world.response(3)["result"], json!({}));

    // Each of them may have other credentials made.
    let mut world = World::with(|settings| settings.credentials = Credentials::Commands);
    world.connect_for_changes();
    world.grant();
    for id in 1..3 {
        world.subscribe(id, "a");
        for _ in 0..2 {
            let stream = world.take(LISTEN);
            world.answer(&stream, 401, &[], "");
            world.feed(Input::Authorized(Ok(())));
        }
        assert_eq!(
            world.response(id)["error"]["data"]["kind"],
            "sign_in_required"
        );
        assert_eq!(world.authorizations(), usize::try_from(id).unwrap());
        assert!(world.pending().is_empty());
    }
}

#[test]
fn an_acknowledgement_that_never_comes_is_not_waited_for_long() {
    let mut world = World::new();
    world.connect_for_changes();
    let first = world.grant();
    world.subscribe(1, "a");
    let second = world.take(LISTEN);
    world.stream(&second);
    world.update(&second, "a");
    world.seconds(6);
    assert!(!world.is_running(&second));
    assert!(world.is_running(&first), "the old stream stays");
    assert!(!world.is_answered(1));
    world.seconds(2);
    let third = world.take(LISTEN);
    world.stream(&third);
    world.seconds(6);
    assert_eq!(world.response(1)["error"]["data"]["kind"], "stream-ended");
    world.tell(&first, TOOLS);
    assert_eq!(world.notifications(), [TOOLS]);
    world.seconds(600);
    assert_eq!(
        world.count(LISTEN),
        3,
        "what the old stream has is enough again"
    );
}

#[test]
fn a_stream_that_the_server_ends_as_intended_is_opened_again() {
    let mut world = World::new();
    world.connect_for_changes();
    let stream = world.grant();
    world.seconds(20);
    let id = stream.json["id"].clone();
    let result = json!({"resultType": "complete", "_meta": {ID: id}});
    world.event(&stream, &stream.result(&result));
    assert!(!world.is_running(&stream));
    let stream = world.grant();
    assert_eq!(world.notifications(), [TOOLS, RESOURCES]);
    world.seconds(20);
    let note = tagged(
        CANCELLED,
        &stream.json["id"],
        &json!({"requestId": stream.json["id"]}),
    );
    world.event(&stream, &note);
    assert!(!world.is_running(&stream));
    let stream = world.take(LISTEN);
    world.give(&stream, &result);
    assert_eq!(
        world.pending(),
        Vec::<&str>::new(),
        "what ends at once is waited with"
    );
    world.seconds(2);
    world.grant();
    assert!(!world.has_line(CANCELLED));
}

#[test]
fn a_server_that_closes_every_stream_at_once_sees_no_storm() {
    for acknowledges in [false, true] {
        let mut world = World::new();
        world.connect_for_changes();
        world.seconds_with(3600, |world, posted| {
            assert_eq!(posted.key(), LISTEN);
            if acknowledges {
                world.grant_on(posted);
            } else {
                world.stream(posted);
            }
            world.end(posted);
        });
        let count = world.count(LISTEN);
        assert!((100..200).contains(&count), "{count}");
        let told = world.notifications().len();
        assert!(if acknowledges { told <= 120 } else { told == 0 }, "{told}");
    }
}

#[test]
fn a_server_that_is_away_is_asked_for_changes_ever_less_often() {
    let mut world = World::new();
    world.connect_for_changes();
    let stream = world.grant();
    world.seconds(60);
    world.end(&stream);
    world.seconds_with(3600, |world, posted| {
        if world.count(LISTEN).is_multiple_of(2) {
            world.refuse_connection(posted);
        } else {
            world.answer(posted, 503, &[], "");
        }
    });
    let count = world.count(LISTEN);
    assert!((100..200).contains(&count), "{count}");
    world.await_listen();
    world.grant();
    assert_eq!(world.notifications(), [TOOLS, RESOURCES]);
}

#[test]
fn t114_ten_thousand_subscriptions_are_bounded_and_all_answered() {
    let mut world = World::new();
    world.connect_for_changes();
    world.grant();
    for id in 1..=10_000_u64 {
        world.subscribe(id, &format!("file:///{id}"));
    }
    let mut largest = 0;
    world.play(|world, posted| {
        largest = largest.max(uris(posted).len());
        world.grant_on(posted);
    });
    assert_eq!(largest, limits::SUBSCRIPTIONS);
    assert_eq!(world.unanswered(), 0);
    let lines = world.lines();
    let granted = lines
        .iter()
        .filter(|line| line["result"] == json!({}))
        .count();
    assert_eq!(granted, limits::SUBSCRIPTIONS);
    let refused = lines
        .iter()
        .filter(|line| line["error"]["data"]["kind"] == "limit_exceeded")
        .count();
    assert_eq!(refused, 10_000 - limits::SUBSCRIPTIONS);
    assert!(world.count(LISTEN) < 10, "{}", world.count(LISTEN));
}

#[test]
fn t114_a_subscription_that_the_client_gives_up_is_not_asked_for_again() {
    let mut world = World::new();
    world.connect_for_changes();
    world.grant();
    world.subscribe(1, "a");
    let stream = world.take(LISTEN);
    world.cancel(1);
    world.subscribe(1, "b");
    world.grant_on(&stream);
    assert!(!world.is_answered(1));
    let stream = world.grant();
    assert_eq!(uris(&stream), ["b"]);
    assert_eq!(world.response(1)["result"], json!({}));
    assert!(world.lines().is_empty());
}

#[test]
fn a_stream_refused_for_want_of_credentials_is_opened_with_others() {
    let mut world = World::with(|settings| settings.credentials = Credentials::SignIn);
    world.connect_for_changes();
    world.subscribe(1, "a");
    let stream = world.take(LISTEN);
    world.answer(&stream, 401, &[("www-authenticate", "Bearer")], "");
    assert_eq!(world.authorizations(), 1);
    world.seconds(120);
    assert_eq!(world.count(LISTEN), 1);
    world.feed(Input::Authorized(Ok(())));
    let stream = world.grant();
    assert_eq!(uris(&stream), ["a"]);
    assert_eq!(world.response(1)["result"], json!({}));
    world.seconds(20);
    world.end(&stream);
    let stream = world.take(LISTEN);
    world.answer(&stream, 401, &[("www-authenticate", "Bearer")], "");
    assert_eq!(world.authorizations(), 2);
    world.feed(Input::SignInNeeded(Prompt {
        url: "http://127.0.0.1:9/authorize".to_owned(),
        instruction: None,
        opened: true,
    }));
    world.subscribe(2, "b");
    let failure = Failure::new(Kind::AuthorizationDenied, Executed::No, "no");
    world.feed(Input::Authorized(Err(failure)));
    assert_eq!(
        world.response(2)["error"]["data"]["kind"],
        "authorization_denied"
    );
    world.seconds(120);
    assert_eq!(world.count(LISTEN), 3);

    let mut world = World::new();
    world.connect_for_changes();
    let stream = world.take(LISTEN);
    world.answer(&stream, 401, &[], "");
    world.seconds(7200);
    assert_eq!(world.count(LISTEN), 1);
}

#[test]
fn an_open_stream_of_changes_does_not_keep_the_process_alive() {
    let mut world = World::new();
    world.connect_for_changes();
    let stream = world.grant();
    world.feed(Input::LocalClosed);
    assert!(world.exited);
    assert!(!world.is_running(&stream));
}

#[test]
fn a_subscription_that_waits_goes_to_a_server_that_turns_out_to_be_legacy() {
    let mut world = World::new();
    world.connect_for_changes();
    let stream = world.grant();
    world.subscribe(1, "a");
    world.take(LISTEN);
    world.request(2, "tools/list");
    let posted = world.take("tools/list");
    let refusal = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#;
    world.answer(&posted, 400, &[], refusal);
    assert!(!world.is_running(&stream));
    let probe = world.take("server/discover");
    world.answer(&probe, 400, &[], refusal);
    let posted = world.take("initialize");
    world.give_session(&posted, "a");
    world.finish_handshake("a");
    let posted = world.take("resources/subscribe");
    assert_eq!(posted.session(), "a");
    world.give(&posted, &json!({}));
    assert_eq!(world.response(1)["result"], json!({}));
    world.seconds(60);
    assert_eq!(world.count(LISTEN), 2);
}

// A modern client, a legacy server.

#[test]
fn t132_a_first_listen_opens_the_session_and_is_told_what_it_hears() {
    let mut world = World::new();
    world.listen(json!("first"), &json!({"toolsListChanged": true}));
    let probe = world.take("server/discover");
    let refusal = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#;
    world.answer(&probe, 400, &[], refusal);
    let posted = world.take("initialize");
    world.give_session(&posted, "a");
    let posted = world.take("notifications/initialized");
    world.accept(&posted);
    assert!(
        world.lines().is_empty(),
        "the server may have no stream of its own"
    );
    let stream = world.take("GET");
    world.stream(&stream);
    let granted = json!({"toolsListChanged": true});
    let acknowledgement = tagged(
        ACKNOWLEDGED,
        &json!("first"),
        &json!({"notifications": granted}),
    );
    assert_eq!(world.lines(), [acknowledgement]);
    world.event(&stream, &json!({"jsonrpc": "2.0", "method": TOOLS}));
    world.event(&stream, &json!({"jsonrpc": "2.0", "method": RESOURCES}));
    world.event(
        &stream,
        &json!({"jsonrpc": "2.0", "method": UPDATED, "params": {"uri": "a"}}),
    );
    assert_eq!(world.lines(), [tagged(TOOLS, &json!("first"), &json!({}))]);
    assert_eq!(world.count(LISTEN), 0);
}

#[test]
fn t132_a_stream_that_takes_its_time_is_not_waited_for_long() {
    let mut world = World::new();
    world.modern_request(0, "server/discover", &json!({}));
    let probe = world.take("server/discover");
    let refusal = "Bad Request: No valid session ID provided";
    world.answer(&probe, 400, &[], refusal);
    let posted = world.take("initialize");
    world.give_session(&posted, "a");
    let posted = world.take("notifications/initialized");
    world.accept(&posted);
    world.listen(1, &json!({"toolsListChanged": true}));
    assert!(world.lines().is_empty());
    world.seconds(2);
    let capabilities = &world.response(0)["result"]["capabilities"];
    assert_eq!(capabilities["tools"]["listChanged"], true);
    world.line(ACKNOWLEDGED);
    let stream = world.take("GET");
    world.stream(&stream);
    world.event(&stream, &json!({"jsonrpc": "2.0", "method": TOOLS}));
    assert_eq!(world.lines(), [tagged(TOOLS, &json!(1), &json!({}))]);
}

#[test]
fn t148_each_listener_hears_what_it_asked_for_under_its_own_id() {
    let mut world = World::new();
    let stream = world.connect_upward("a");
    world.listen(
        7,
        &json!({"toolsListChanged": true, "resourceSubscriptions": []}),
    );
    world.listen("seven", &json!({"resourceSubscriptions": ["a", "b"]}));
    assert_eq!(world.line(ACKNOWLEDGED)["params"]["_meta"][ID], json!(7));
    assert!(
        world.lines().is_empty(),
        "not before the server has answered"
    );
    assert_eq!(
        world.settle_watches(),
        ["resources/subscribe a", "resources/subscribe b"]
    );
    let acknowledgement = world.line(ACKNOWLEDGED);
    assert_eq!(acknowledgement["params"]["_meta"][ID], json!("seven"));
    assert_eq!(
        acknowledgement["params"]["notifications"],
        json!({"resourceSubscriptions": ["a", "b"]})
    );
    world.listen(
        "7",
        &json!({"toolsListChanged": true, "resourceSubscriptions": ["a"]}),
    );
    assert!(world.pending().is_empty(), "it is subscribed to already");
    world.line(ACKNOWLEDGED);
    world.event(&stream, &json!({"jsonrpc": "2.0", "method": TOOLS}));
    world.event(
        &stream,
        &json!({"jsonrpc": "2.0", "method": UPDATED, "params": {"uri": "a", "x": 1}}),
    );
    world.event(
        &stream,
        &json!({"jsonrpc": "2.0", "method": UPDATED, "params": {"uri": "b/c"}}),
    );
    world.event(
        &stream,
        &json!({"jsonrpc": "2.0", "method": UPDATED, "params": {"uri": "c"}}),
    );
    assert_eq!(
        world.lines(),
        [
            tagged(TOOLS, &json!(7), &json!({})),
            tagged(TOOLS, &json!("7"), &json!({})),
            tagged(UPDATED, &json!("seven"), &json!({"uri": "a", "x": 1})),
            tagged(UPDATED, &json!("7"), &json!({"uri": "a", "x": 1})),
            updated(&json!("seven"), "b"),
        ]
    );
}

#[test]
fn t149_the_last_listener_unsubscribes_and_nobody_is_answered() {
    let mut world = World::new();
    let stream = world.connect_upward("a");
    world.listen(1, &json!({"resourceSubscriptions": ["a", "b"]}));
    world.listen(2, &json!({"resourceSubscriptions": ["b"]}));
    world.settle_watches();
    world.lines();
    world.cancel(1);
    assert_eq!(world.settle_watches(), ["resources/unsubscribe a"]);
    world.event(
        &stream,
        &json!({"jsonrpc": "2.0", "method": UPDATED, "params": {"uri": "b"}}),
    );
    assert_eq!(world.lines(), [updated(&json!(2), "b")]);
    world.cancel(2);
    assert_eq!(world.settle_watches(), ["resources/unsubscribe b"]);
    world.listen(1, &json!({"resourceSubscriptions": ["b"]}));
    assert_eq!(world.settle_watches(), ["resources/subscribe b"]);
    assert_eq!(world.line(ACKNOWLEDGED)["params"]["_meta"][ID], json!(1));
    assert!(world.lines().is_empty());
    assert_eq!(world.count(CANCELLED), 0);
}

#[test]
fn t149_a_listen_given_up_early_leaves_nothing_behind() {
    let mut world = World::new();
    world.connect_upward("a");
    // While the server has not answered.
    world.listen(1, &json!({"resourceSubscriptions": ["a"]}));
    let posted = world.take("resources/subscribe");
    world.cancel(1);
    assert!(world.pending().is_empty());
    world.give(&posted, &json!({}));
    let posted = world.take("resources/unsubscribe");
    world.listen(2, &json!({"resourceSubscriptions": ["a"]}));
    let none: [&str; 0] = [];
    assert_eq!(world.pending(), none, "one must not overtake the other");
    world.give(&posted, &json!({}));
    assert_eq!(world.settle_watches(), ["resources/subscribe a"]);
    // While it is not known whether the server has a stream.
    let mut world = World::new();
    world.modern_request(0, "server/discover", &json!({}));
    let probe = world.take("server/discover");
    world.answer(
        &probe,
        400,
        &[],
        "Bad Request: No valid session ID provided",
    );
    let posted = world.take("initialize");
    world.give_session(&posted, "a");
    let posted = world.take("notifications/initialized");
    world.listen(1, &json!({"resourceSubscriptions": ["a"]}));
    world.accept(&posted);
    world.cancel(1);
    let stream = world.take("GET");
    world.stream(&stream);
    world.response(0);
    world.seconds(60);
    assert!(world.lines().is_empty());
    assert!(world.pending().is_empty());
    assert_eq!(world.count(CANCELLED), 0);
}

#[test]
fn t150_what_the_server_does_not_tell_of_is_not_acknowledged() {
    let mut world = World::new();
    let stream = world.connect_upward("a");
    world.listen(
        1,
        &json!({"promptsListChanged": true, "resourcesListChanged": true, "resourceSubscriptions": ["a", "b", "c"]}),
    );
    for _ in 0..3 {
        let posted = world.take("resources/subscribe");
        match posted.json["params"]["uri"].as_str() {
            Some("a") => {
                let error = json!({"jsonrpc": "2.0", "id": posted.json["id"], "error": {"code": -32002, "message": "no"}});
                world.answer(&posted, 400, &[], error.to_string());
            }
            Some("b") => world.give(&posted, &json!({})),
            _ => world.refuse_connection(&posted),
        }
    }
    assert_eq!(
        world.line(ACKNOWLEDGED)["params"]["notifications"],
        json!({"resourcesListChanged": true, "resourceSubscriptions": ["b"]})
    );
    world.event(&stream, &json!({"jsonrpc": "2.0", "method": PROMPTS}));
    world.event(
        &stream,
        &json!({"jsonrpc": "2.0", "method": UPDATED, "params": {"uri": "a"}}),
    );
    assert!(world.lines().is_empty());
    world.listen(2, &json!({"toolsListChanged": "yes"}));
    assert_eq!(world.response(2)["error"]["code"], -32602);
}

#[test]
fn a_listener_is_acknowledged_though_the_server_never_answers() {
    let mut world = World::new();
    world.connect_upward("a");
    world.listen(
        1,
        &json!({"toolsListChanged": true, "resourceSubscriptions": ["a"]}),
    );
    let posted = world.take("resources/subscribe");
    world.seconds(11);
    assert_eq!(
        world.line(ACKNOWLEDGED)["params"]["notifications"],
        json!({"toolsListChanged": true})
    );
    world.give(&posted, &json!({}));
    world.seconds(600);
    assert!(world.lines().is_empty());
    assert!(world.pending().is_empty());
}

#[test]
fn t161_a_server_without_a_stream_promises_no_changes() {
    let mut world = World::new();
    world.modern_request(0, "server/discover", &json!({}));
    let probe = world.take("server/discover");
    world.answer(
        &probe,
        400,
        &[],
        "Bad Request: No valid session ID provided",
    );
    let posted = world.take("initialize");
    world.give(&posted, &initialize_result("2025-11-25"));
    let posted = world.take("notifications/initialized");
    world.accept(&posted);
    let stream = world.take("GET");
    world.answer(&stream, 405, &[], "");
    let capabilities = &world.response(0)["result"]["capabilities"];
    assert_eq!(capabilities["tools"], json!({}));
    assert_eq!(capabilities["resources"], json!({}));
    // A client that listens all the same hears that there is nothing, and is not sent away.
    world.listen(
        1,
        &json!({"toolsListChanged": true, "resourceSubscriptions": ["a"]}),
    );
    assert_eq!(
        world.line(ACKNOWLEDGED)["params"]["notifications"],
        json!({})
    );
    world.seconds(600);
    assert!(world.lines().is_empty());
    assert_eq!(world.count("resources/subscribe"), 0);
}

#[test]
fn a_reopened_session_is_told_of_the_listeners_and_they_of_the_gap() {
    let mut world = World::new();
    world.connect_upward("a");
    world.listen(
        1,
        &json!({"toolsListChanged": true, "resourceSubscriptions": ["a"]}),
    );
    world.settle_watches();
    world.lines();
    world.modern_request(2, "tools/list", &json!({}));
    let posted = world.take("tools/list");
    world.lose(&posted);
    let stream = world.reopen("b");
    assert_eq!(world.lines(), [tagged(TOOLS, &json!(1), &json!({}))]);
    let posted = world.take("resources/subscribe");
    assert_eq!(posted.session(), "b");
    world.give(&posted, &json!({}));
    assert_eq!(world.lines(), [updated(&json!(1), "a")]);
    let posted = world.take("tools/list");
    world.give(&posted, &json!({"tools": []}));
    world.response(2);
    world.event(
        &stream,
        &json!({"jsonrpc": "2.0", "method": UPDATED, "params": {"uri": "a"}}),
    );
    assert_eq!(world.lines(), [updated(&json!(1), "a")]);
    assert_eq!(world.count("resources/subscribe"), 2);
}

#[test]
fn listeners_of_a_server_that_is_lost_for_good_are_told() {
    let mut world = World::new();
    world.connect_upward("a");
    world.listen("one", &json!({"toolsListChanged": true}));
    world.listen(2, &json!({"toolsListChanged": true}));
    world.lines();
    world.modern_request(3, "tools/list", &json!({}));
    let posted = world.take("tools/list");
    world.lose(&posted);
    let posted = world.take("initialize");
    world.answer(&posted, 500, &[], "");
    world.play(|world, posted| world.answer(posted, 500, &[], ""));
    assert!(world.response(3).get("error").is_some());
    let lines = world.lines();
    let told: Vec<_> = lines
        .iter()
        .filter(|line| line["method"] == CANCELLED)
        .collect();
    assert_eq!(told.len(), lines.len());
    let ids: Vec<_> = told
        .iter()
        .map(|line| line["params"]["requestId"].clone())
        .collect();
    assert_eq!(ids, [json!("one"), json!(2)]);
    // Its id is free again, and a server that comes back is another one.
    world.seconds(5);
    world.listen("one", &json!({"toolsListChanged": true}));
    world.reopen("b");
    assert_eq!(world.line(ACKNOWLEDGED)["params"]["_meta"][ID], "one");
    assert!(world.lines().is_empty());
}

#[test]
fn listeners_on_an_event_stream_survive_its_end() {
    let mut world = World::sse();
    world.listen(1, &json!({"toolsListChanged": true}));
    let stream = world.reopen_sse("/messages");
    let posted = world.take("notifications/initialized");
    world.accept(&posted);
    world.line(ACKNOWLEDGED);
    world.event(&stream, &json!({"jsonrpc": "2.0", "method": TOOLS}));
    assert_eq!(world.lines(), [tagged(TOOLS, &json!(1), &json!({}))]);
    world.end(&stream);
    world.seconds(2);
    let stream = world.reopen_sse("/messages");
    let posted = world.take("notifications/initialized");
    world.accept(&posted);
    assert_eq!(world.lines(), [tagged(TOOLS, &json!(1), &json!({}))]);
    world.event(&stream, &json!({"jsonrpc": "2.0", "method": TOOLS}));
    assert_eq!(world.lines(), [tagged(TOOLS, &json!(1), &json!({}))]);
}

#[test]
fn listeners_end_as_intended_with_the_process_and_do_not_delay_its_end() {
    for stopped in [false, true] {
        let mut world = World::new();
        world.connect_upward("a");
        world.listen("one", &json!({"toolsListChanged": true}));
        world.lines();
        world.feed(if stopped {
            Input::Stop(StopReason::Signal)
        } else {
            Input::LocalClosed
        });
        let answer = world.response("one");
        assert_eq!(
            answer["result"],
            json!({"resultType": "complete", "_meta": {ID: "one"}})
        );
        let posted = world.take("DELETE");
        world.answer(&posted, 200, &[], "");
        assert!(world.exited);
    }
    // A request beside it still gets its grace.
    let mut world = World::new();
    world.connect_upward("a");
    world.listen(1, &json!({"toolsListChanged": true}));
    world.modern_request(2, "tools/list", &json!({}));
    let posted = world.take("tools/list");
    world.feed(Input::LocalClosed);
    assert!(!world.is_answered(1));
    world.give(&posted, &json!({"tools": []}));
    assert!(world.response(2).get("result").is_some());
    assert!(world.response(1).get("result").is_some());
}

#[test]
fn clients_of_both_eras_on_one_pipe_do_not_unsubscribe_each_other() {
    let mut world = World::new();
    world.connect("a");
    world.subscribe(1, "a");
    world.settle_watches();
    world.response(1);
    world.listen(2, &json!({"resourceSubscriptions": ["a"]}));
    world.settle_watches();
    world.line(ACKNOWLEDGED);
    world.cancel(2);
    assert_eq!(world.settle_watches(), Vec::<String>::new());
    world.listen(3, &json!({"resourceSubscriptions": ["a"]}));
    world.settle_watches();
    world.request_with(4, "resources/unsubscribe", &json!({"uri": "a"}));
    assert_eq!(
        world.settle_watches(),
        ["resources/unsubscribe a", "resources/subscribe a"]
    );
    world.response(4);
}

#[test]
fn listeners_and_what_they_ask_for_are_bounded() {
    let mut world = World::new();
    world.connect_upward("a");
    let uris: Vec<String> = (0..10_000)
        .map(|number| format!("file:///{number}"))
        .collect();
    world.listen(1, &json!({"resourceSubscriptions": uris}));
    assert_eq!(world.pending().len(), limits::WATCHES);
    assert_eq!(world.settle_watches().len(), limits::SUBSCRIPTIONS);
    let granted = world.line(ACKNOWLEDGED);
    let granted = granted["params"]["notifications"]["resourceSubscriptions"].as_array();
    assert_eq!(granted.map(Vec::len), Some(limits::SUBSCRIPTIONS));
    world.listen(2, &json!({"resourceSubscriptions": ["another"]}));
    assert_eq!(
        world.line(ACKNOWLEDGED)["params"]["notifications"],
        json!({})
    );
    for id in 3..=limits::LISTENERS + 1 {
        world.listen(id, &json!({"toolsListChanged": true}));
    }
    let open = world.notifications().len();
    assert_eq!(open, limits::LISTENERS - 2);
    assert_eq!(
        world.response(limits::LISTENERS + 1)["error"]["data"]["kind"],
        "limit_exceeded"
    );
    world.cancel(1);
    assert_eq!(world.settle_watches().len(), limits::SUBSCRIPTIONS);
    assert_eq!(world.count("resources/unsubscribe"), limits::SUBSCRIPTIONS);
}

// A modern client, a modern server.

#[test]
fn t166_a_broken_stream_is_opened_again_under_the_clients_id() {
    let mut world = World::new();
    world.connect_both_modern();
    world.listen(
        7,
        &json!({"toolsListChanged": true, "resourceSubscriptions": ["a"]}),
    );
    let stream = world.grant();
    assert_eq!(stream.json["id"], 7);
    assert_eq!(world.lines().len(), 1);
    world.tell(&stream, TOOLS);
    world.event(&stream, &updated(&json!("seven"), "a"));
    assert_eq!(world.lines(), [tagged(TOOLS, &json!(7), &json!({}))]);
    world.seconds(20);
    world.end(&stream);
    let stream = world.take(LISTEN);
    assert_ne!(stream.json["id"], 7);
    assert_eq!(
        stream.json["params"]["notifications"],
        json!({"toolsListChanged": true, "resourceSubscriptions": ["a"]})
    );
    world.stream(&stream);
    world.tell(&stream, TOOLS);
    assert!(world.lines().is_empty(), "not before the acknowledgement");
    let filter = json!({"notifications": {"toolsListChanged": true, "promptsListChanged": true, "resourceSubscriptions": ["a"]}});
    world.event(&stream, &tagged(ACKNOWLEDGED, &stream.json["id"], &filter));
    assert_eq!(
        world.lines(),
        [
            tagged(TOOLS, &json!(7), &json!({})),
            updated(&json!(7), "a")
        ]
    );
    world.update(&stream, "a");
    world.tell(&stream, PROMPTS);
    world.event(&stream, &tagged(TOOLS, &json!(7), &json!({})));
    assert_eq!(world.lines(), [updated(&json!(7), "a")]);
    // The second gap within a minute is told of later.
    world.seconds(11);
    world.end(&stream);
    world.grant();
    assert!(world.lines().is_empty());
    world.seconds(60);
    assert_eq!(world.lines().len(), 2);
}

#[test]
fn t166_less_than_before_ends_the_subscription() {
    let mut world = World::new();
    world.connect_both_modern();
    world.listen(
        7,
        &json!({"toolsListChanged": true, "resourceSubscriptions": ["a"]}),
    );
    let stream = world.grant();
    world.seconds(20);
    world.end(&stream);
    let stream = world.take(LISTEN);
    world.lines();
    world.grant_this(&stream, &json!({"toolsListChanged": true}));
    assert_eq!(world.line(CANCELLED)["params"]["requestId"], 7);
    assert!(!world.is_running(&stream));
    world.seconds(600);
    assert!(world.lines().is_empty());
    assert_eq!(world.count(LISTEN), 2);
}

#[test]
fn t167_a_stream_that_ends_as_intended_is_not_opened_again() {
    for reopened in [false, true] {
        let mut world = World::new();
        world.connect_both_modern();
        world.listen("seven", &json!({"toolsListChanged": true}));
        let mut stream = world.grant();
        if reopened {
            world.seconds(20);
            world.end(&stream);
            stream = world.grant();
        }
        let result = json!({"resultType": "complete", "_meta": {ID: stream.json["id"]}});
        world.event(&stream, &stream.result(&result));
        world.end(&stream);
        assert_eq!(
            world.response("seven")["result"],
            json!({"resultType": "complete", "_meta": {ID: "seven"}})
        );
        world.seconds(600);
        assert_eq!(world.count(LISTEN), if reopened { 2 } else { 1 });
    }
}

#[test]
fn t167_a_server_that_takes_a_subscription_back_ends_it() {
    for reopened in [false, true] {
        let mut world = World::new();
        world.connect_both_modern();
        world.listen("seven", &json!({"toolsListChanged": true}));
        let mut stream = world.grant();
        if reopened {
            world.seconds(20);
            world.end(&stream);
            stream = world.grant();
        }
        world.lines();
        let note = json!({"jsonrpc": "2.0", "method": CANCELLED, "params": {"requestId": stream.json["id"]}});
        world.event(&stream, &note);
        assert_eq!(
            world.line(CANCELLED)["params"],
            json!({"requestId": "seven"})
        );
        assert!(!world.is_running(&stream));
        world.seconds(600);
        assert!(world.pending().is_empty());
    }
}

#[test]
fn a_subscription_that_the_client_cancels_is_closed_at_the_server() {
    let mut world = World::new();
    world.connect_both_modern();
    world.listen(1, &json!({"toolsListChanged": true}));
    let stream = world.grant();
    world.cancel(1);
    assert!(!world.is_running(&stream));
    world.listen(1, &json!({"toolsListChanged": true}));
    let stream = world.grant();
    world.seconds(20);
    world.end(&stream);
    world.take(LISTEN);
    world.cancel(1);
    world.lines();
    world.seconds(600);
    assert!(world.pending().is_empty());
    assert!(world.lines().is_empty());
    assert_eq!(world.count(CANCELLED), 0);
}

#[test]
fn a_subscription_that_never_began_is_answered_with_an_error() {
    let mut world = World::new();
    world.connect_both_modern();
    world.listen(1, &json!({"toolsListChanged": true}));
    let stream = world.take(LISTEN);
    world.stream(&stream);
    world.tell(&stream, TOOLS);
    world.end(&stream);
    assert_eq!(world.response(1)["error"]["data"]["kind"], "stream-ended");
    world.listen(1, &json!({"toolsListChanged": true}));
    let stream = world.take(LISTEN);
    let error = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "Method not found"}});
    world.answer(&stream, 404, &[], error.to_string());
    assert_eq!(world.response(1)["error"]["code"], -32601);
    assert!(world.lines().is_empty());
}

#[test]
fn subscriptions_wait_for_a_server_that_is_away_without_a_storm() {
    for case in 0..4 {
        let mut world = World::new();
        world.connect_both_modern();
        world.listen(1, &json!({"toolsListChanged": true}));
        let stream = world.grant();
        world.lines();
        world.seconds(20);
        world.end(&stream);
        world.seconds_with(3600, |world, posted| match case {
            0 => world.refuse_connection(posted),
            1 => world.answer(posted, 503, &[("retry-after", "1")], ""),
            2 => {
                world.stream(posted);
                world.end(posted);
            }
            // The acknowledgement never comes.
            _ => world.stream(posted),
        });
        let count = world.count(LISTEN);
        assert!((80..200).contains(&count), "case {case}: {count}");
        assert!(world.lines().is_empty());
        world.play(|world, posted| world.fail(posted, TroubleKind::Broken, true, "broken"));
        world.await_listen();
        world.grant();
        assert_eq!(world.lines(), [tagged(TOOLS, &json!(1), &json!({}))]);
    }
}

#[test]
fn a_subscription_whose_credentials_expire_goes_on_with_others() {
    let mut world = World::with(|settings| settings.credentials = Credentials::SignIn);
    world.connect_both_modern();
    world.listen(1, &json!({"toolsListChanged": true}));
    let mut stream = world.grant();
    for _ in 0..20 {
        world.seconds(3600);
        world.end(&stream);
        let refused = world.take(LISTEN);
        world.answer(&refused, 401, &[("www-authenticate", "Bearer")], "");
        world.feed(Input::Authorized(Ok(())));
        stream = world.grant();
    }
    assert!(world.is_running(&stream));
    assert!(!world.is_answered(1));
}

#[test]
fn open_subscriptions_take_no_room_from_requests_and_end_with_the_process() {
    let mut world = World::new();
    world.connect_both_modern();
    for id in 1..=limits::LISTENERS {
        world.listen(id, &json!({"toolsListChanged": true}));
        world.grant();
    }
    for id in 0..limits::IN_FLIGHT {
        world.modern_request(format!("call-{id}"), "tools/call", &json!({"name": "t"}));
    }
    assert_eq!(world.count("tools/call"), limits::IN_FLIGHT);
    world.modern_request("more", "tools/call", &json!({"name": "t"}));
    assert_eq!(world.count("tools/call"), limits::IN_FLIGHT);
    world.lines();
    world.feed(Input::LocalClosed);
    world.play(|world, posted| {
        world.give(posted, &json!({"resultType": "complete", "content": []}));
    });
    assert!(world.exited, "nothing but subscriptions is open");
    for id in 1..=limits::LISTENERS {
        let answer = world.response(id);
        assert_eq!(answer["result"]["_meta"][ID], id);
    }
    assert_eq!(world.unanswered(), 0);
}

#[test]
fn a_subscription_outlives_a_change_of_the_servers_era() {
    let mut world = World::new();
    world.connect_both_modern();
    world.listen(
        1,
        &json!({"toolsListChanged": true, "resourceSubscriptions": ["a"]}),
    );
    let stream = world.grant();
    world.lines();
    let refusal = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#;
    world.seconds(20);
    world.end(&stream);
    let posted = world.take(LISTEN);
    world.answer(&posted, 400, &[], refusal);
    let probe = world.take("server/discover");
    world.answer(&probe, 400, &[], refusal);
    let posted = world.take("initialize");
    world.give_session(&posted, "a");
    let stream = world.finish_handshake("a");
    assert_eq!(world.settle_watches(), ["resources/subscribe a"]);
    assert!(
        !world.has_line(ACKNOWLEDGED),
        "the client has its acknowledgement"
    );
    assert_eq!(
        world.lines(),
        [
            tagged(TOOLS, &json!(1), &json!({})),
            updated(&json!(1), "a")
        ]
    );
    world.event(&stream, &json!({"jsonrpc": "2.0", "method": TOOLS}));
    assert_eq!(world.lines(), [tagged(TOOLS, &json!(1), &json!({}))]);
    assert!(!world.is_answered(1));
}

#[test]
fn listeners_go_on_at_a_server_that_is_modern_when_it_comes_back() {
    let mut world = World::new();
    world.connect_upward("a");
    world.listen(
        1,
        &json!({"toolsListChanged": true, "resourceSubscriptions": ["a"]}),
    );
    world.settle_watches();
    world.lines();
    world.modern_request(2, "tools/list", &json!({}));
    let posted = world.take("tools/list");
    world.lose(&posted);
    let posted = world.take("initialize");
    world.answer(&posted, 400, &[], super::eras::unsupported(&posted));
    let probe = world.take("server/discover");
    world.give(&probe, &discovered());
    let stream = world.take(LISTEN);
    assert_ne!(
        stream.json["id"], 1,
        "the server may know that id from before"
    );
    world.grant_on(&stream);
    assert_eq!(
        world.lines(),
        [
            tagged(TOOLS, &json!(1), &json!({})),
            updated(&json!(1), "a")
        ]
    );
    world.update(&stream, "a");
    assert_eq!(world.lines(), [updated(&json!(1), "a")]);
    assert_eq!(world.count("resources/unsubscribe"), 0);
}

#[test]
fn a_server_that_tells_of_more_than_it_did_is_asked_for_it() {
    let mut world = World::with(|settings| {
        let mut known = discovered();
        known["capabilities"] = json!({"tools": {}});
        settings.remembered = Some(Remembered {
            era: Era::Modern,
            transport: Transport::StreamableHttp,
            discover: Some(known.to_string()),
            fresh: Duration::ZERO,
        });
    });
    world.initialize();
    world.response("init");
    world.initialized();
    world.seconds(1);
    assert_eq!(world.pending(), ["server/discover"]);
    let look = world.take("server/discover");
    world.give(&look, &discovered());
    let stream = world.grant();
    assert_eq!(
        stream.json["params"]["notifications"],
        json!({"toolsListChanged": true, "resourcesListChanged": true})
    );
}

#[test]
fn a_subscription_that_the_server_spells_as_a_string_is_the_clients_number() {
    let mut world = World::new();
    world.connect_both_modern();
    world.listen(7, &json!({"toolsListChanged": true}));
    let stream = world.take(LISTEN);
    world.stream(&stream);
    let filter = json!({"notifications": {"toolsListChanged": true}});
    world.event(&stream, &tagged(ACKNOWLEDGED, &json!("7"), &filter));
    world.event(&stream, &tagged(TOOLS, &json!("7"), &json!({})));
    assert_eq!(
        world.lines(),
        [
            tagged(ACKNOWLEDGED, &json!(7), &filter),
            tagged(TOOLS, &json!(7), &json!({}))
        ]
    );
}
