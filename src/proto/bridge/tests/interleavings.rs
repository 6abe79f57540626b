//! Conversations that nobody would write down: a random client of either era, or of both on one
//! pipe, before a random server that answers, asks, refuses, breaks off, forgets and is silent.
//!
//! In: the seeds, what must hold in every conversation, and how a failing one is made short. Out:
//! what the two sides do (`client`, `server`).
//!
//! `MCP_BRIDGE_SEEDS=FIRST..LAST` runs other seeds than the usual ones.

mod client;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use serde_json::{Value, json};

use self::client::{Asked, Leg, Who};
use self::server::{Fate, Kind, Stream};
use super::world::{Posted, World};
use crate::proto::bridge::{Bridge, Credentials, Phase};
use crate::proto::era::Era;
use crate::proto::failure::{self, Executed, Failure};
use crate::proto::transport::Strategy;
use crate::proto::{Input, Prompt};

/// Seeds that run with every test run.
const USUAL: Range<u64> = 0..300;

/// Seeds of conversations that once went wrong; they run with every test run, too.
const PINNED: [u64; 6] = [9, 1346, 1575, 1745, 2286, 3501];

/// Steps of the longest conversation, before everything calms down.
const STEPS: u64 = 90;

/// The subscription a notification belongs to, in `_meta`.
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// Numbers that depend on a seed alone (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % bound as u64).unwrap()
    }

    fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// `--call-timeout` and `--heartbeat` of a conversation. Numbers of their own, so that the others
/// stay as they were.
fn limits_of(seed: u64) -> (Option<u64>, Option<u64>) {
    if PINNED.contains(&seed) {
        return (None, None);
    }
    let mut dice = Dice(seed ^ 0xBEA7);
    let limit = dice.pick(&[None, None, Some(1), Some(5), Some(40)]);
    (limit, dice.pick(&[None, None, Some(1), Some(7)]))
}

/// One conversation.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Game {
    world: World,
    story: Vec<String>,
    /// The client is told the truth about what it said, and the server does as specified, with
    /// nothing lost on the way.
    calm: bool,
    /// Chance in percent that the server does something odd.
    wild: usize,
    authorizations: usize,

    who: Who,
    serial: u64,
    asked: BTreeMap<String, Asked>,
    open: BTreeSet<String>,
    cancelled: BTreeSet<String>,
    /// Revision that the client offered, once it sent `initialize`.
    offered: Option<&'static str>,
    shaken: bool,
    initialized: bool,
    questions: Vec<Value>,
    legs: Vec<Leg>,
    /// `--call-timeout` and `--heartbeat`, in seconds.
    call_timeout: Option<u64>,
    heartbeat: Option<u64>,
    /// The last progress of each request, and whether a heartbeat was among it.
    told: BTreeMap<String, (f64, bool)>,
    /// What was acknowledged, by the id of the `subscriptions/listen`.
    granted: BTreeMap<String, Value>,

    kind: Kind,
    /// Whether the server has ever been one that speaks for itself to a modern client.
    was_modern: bool,
    has_get: bool,
    sessions: u64,
    session: Option<String>,
    streams: Vec<Stream>,
    hung: Vec<Posted>,
    elsewhere: Vec<Posted>,
    fates: BTreeMap<u64, Fate>,
    tasks: BTreeMap<String, u32>,
    /// The server's own questions, to number them.
    questioned: u64,
}

impl Game {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let who = dice.pick(&[Who::Legacy, Who::Modern, Who::Both]);
        let kind = dice.pick(&[
            Kind::Stateful,
            Kind::Stateful,
            Kind::Stateless,
            Kind::Sse,
            Kind::Modern,
            Kind::Modern,
            Kind::Dual,
        ]);
        let credentials = dice.pick(&[
            Credentials::Given,
            Credentials::Commands,
            Credentials::SignIn,
        ]);
        let upgrade = dice.percent(80);
        let legacy_first = who == Who::Both && dice.percent(20);
        let bare = dice.percent(20);
        let (call_timeout, heartbeat) = limits_of(seed);
        let world = World::with(|settings| {
            settings.credentials = credentials;
            settings.upgrade = upgrade;
            settings.legacy_first = legacy_first;
            settings.call_timeout = call_timeout.map(Duration::from_secs);
            settings.heartbeat = heartbeat.map(Duration::from_secs);
            settings.debug = false;
            settings.seed = seed;
            if kind == Kind::Sse && bare {
                settings.strategy = Strategy::SseOnly;
            }
        });
        Self {
            world,
            story: vec![format!(
                "{who:?} client, {kind:?} server, {credentials:?}, {call_timeout:?} {heartbeat:?}"
            )],
            call_timeout,
            heartbeat,
            told: BTreeMap::new(),
            calm: false,
            wild: dice.pick(&[0, 5, 15, 40]),
            authorizations: 0,
            who,
            serial: 0,
            asked: BTreeMap::new(),
            open: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            offered: None,
            shaken: false,
            initialized: false,
            questions: Vec::new(),
            legs: Vec::new(),
            granted: BTreeMap::new(),
            kind,
            was_modern: matches!(kind, Kind::Modern | Kind::Dual),
            has_get: dice.percent(70),
            sessions: 0,
            session: None,
            streams: Vec::new(),
            hung: Vec::new(),
            elsewhere: Vec::new(),
            fates: BTreeMap::new(),
            tasks: BTreeMap::new(),
            questioned: 0,
        }
    }

    fn tell(&mut self, what: impl Into<String>) {
        self.story.push(what.into());
    }

    /// Something happens.
    fn step(&mut self, step: u64) {
        let mut dice = Dice(step);
        match dice.below(100) {
            0..28 => self.client_acts(&mut dice),
            28..62 => self.server_serves(&mut dice),
            62..78 => self.server_speaks(&mut dice),
            78..90 => {
                let millis = dice.pick(&[10, 60, 60, 1000, 1000, 5000, 11_000, 31_000, 61_000]);
                self.tell(format!("{millis} ms pass"));
                self.world.advance(Duration::from_millis(millis));
            }
            90..94 => self.authorize(&mut dice),
            _ => self.client_answers(&mut dice),
        }
        self.check();
    }

    /// Other credentials that were asked for are there, or not to be had.
    fn authorize(&mut self, dice: &mut Dice) {
        if self.world.authorizations() == self.authorizations {
            return;
        }
        if !self.calm && dice.percent(30) {
            self.tell("a person is needed");
            self.world.feed(Input::SignInNeeded(Prompt {
                url: "https://as.example/authorize".to_owned(),
                instruction: None,
                opened: dice.percent(50),
            }));
            return;
        }
        self.authorizations += 1;
        let outcome = if self.calm || dice.percent(70) {
            Ok(())
        } else {
            let kind = failure::Kind::AuthorizationDenied;
            Err(Failure::new(kind, Executed::No, "denied"))
        };
        self.tell(format!("credentials: {}", outcome.is_ok()));
        self.world.feed(Input::Authorized(outcome));
    }

    /// Everything is answered, as often as more comes of it.
    fn settle(&mut self) {
        self.calm = true;
        let mut dice = Dice(1);
        for second in 0..200 {
            for _ in 0..1000 {
                let before = self.story.len();
                self.authorize(&mut dice);
                while self.serves_next(&mut dice) {}
                self.finish_streams(&mut dice);
                while self.answers_next(&mut dice) {}
                self.check();
                if self.story.len() == before {
                    break;
                }
            }
            let millis = if second < 60 { 100 } else { 7000 };
            self.world.advance(Duration::from_millis(millis));
            self.check();
        }
    }

    fn unanswered(&self) -> Vec<&String> {
        let listens = |id: &&String| self.asked[*id].method == "subscriptions/listen";
        self.open.iter().filter(|id| !listens(id)).collect()
    }

    /// The whole of it.
    fn play(&mut self, seed: u64, script: &[u64]) {
        for step in script {
            self.step(*step);
        }
        let mut dice = Dice(seed ^ 1);
        if dice.percent(70) {
            self.tell("calm");
            self.settle();
            let unanswered = self.unanswered();
            assert!(unanswered.is_empty(), "no answer to {unanswered:?}");
            let leftovers = self.world.bridge.leftovers(self.granted.len());
            assert!(leftovers.is_empty(), "left in the calm: {leftovers:?}");
        }
        self.tell("the client closes its end");
        self.world.feed(Input::LocalClosed);
        self.check();
        let goes_on = dice.percent(50);
        for _ in 0..600 {
            if goes_on {
                while self.serves_next(&mut dice) {}
            }
            self.world.seconds(1);
            self.check();
        }
        assert!(self.world.exited, "the process lives on");
        assert!(self.open.is_empty(), "no answer to {:?}", self.open);
    }
}

impl Bridge {
    /// What is kept for requests that are over, when nothing is open but this many
    /// `subscriptions/listen`.
    fn leftovers(&self, listening: usize) -> Vec<String> {
        let stands = matches!(self.link.phase, Phase::Open);
        let mut left = Vec::new();
        let mut expect = |what: &str, holds: bool, found: String| {
            if !holds {
                left.push(format!("{what}: {found}"));
            }
        };
        let open = self.ledger.select(|_| true);
        expect("open", open.len() <= listening, format!("{open:?}"));
        let own = format!("{:?}", self.own);
        expect("own", self.own.len() <= 1, own);
        expect(
            "parked",
            self.parked_bytes == 0,
            self.parked_bytes.to_string(),
        );
        expect(
            "outbox",
            !stands || self.outbox.is_empty(),
            format!("{:?}", self.outbox),
        );
        let rounds = format!("{:?}", self.rounds);
        let none = rounds == format!("{:?}", super::super::Rounds::default());
        expect("rounds", none, rounds);
        let calls = &self.suspended.calls;
        expect("suspended", calls.is_empty(), format!("{calls:?}"));
        let held = self.suspended.held.len();
        expect("held", held == 0, held.to_string());
        let asks = &self.upward.asks;
        // The level of the session may have been asked for in vain.
        expect("asks", asks.len() <= 1, format!("{asks:?}"));
        let tasks = format!("{:?}", self.upward.tasks);
        expect("tasks", tasks.contains("calls: {}"), tasks);
        let retired = &self.upward.retired;
        expect(
            "retired",
            !stands || retired.is_empty(),
            format!("{retired:?}"),
        );
        let catalog = format!("{:?}", self.catalog);
        let mended = listening > 0 || catalog.contains("mended: {}");
        let none = mended && self.catalog.progress.is_empty();
        expect("catalog", none, catalog);
        let patience = &self.patience;
        expect("patience", patience.is_empty(), format!("{patience:?}"));
        let questions = format!("{:?}", self.questions);
        let this_session = format!("generation: {},", self.link.generation);
        let is_stale =
            questions.matches("generation: ").count() > questions.matches(&this_session).count();
        // A client that never said that it is initialized is not asked either.
        let is_held = !self.client.held.is_empty() && !is_stale;
        let none = !stands || is_held || questions.contains("open: {}");
        expect("questions", none, questions);
        let ledger = format!("{:?}", self.ledger);
        let none =
            ledger.contains("batches: {}") && (listening > 0 || ledger.contains("upstream: {}"));
        expect("ledger", none, ledger);
        let running = self.exchanges.len();
        expect(
            "exchanges",
            running <= listening + 3,
            format!("{:?}", self.exchanges),
        );
        let timers = self.timers.len();
        expect(
            "timers",
            timers <= 2 * listening + 8,
            format!("{:?}", self.timers),
        );
        left
    }
}

/// What went wrong in this conversation, and how it went.
fn run(seed: u64, script: &[u64]) -> Result<(), (String, Vec<String>)> {
    let mut game = Game::new(seed);
    let played = catch_unwind(AssertUnwindSafe(|| game.play(seed, script)));
    played.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let fixed = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or(fixed).unwrap_or_default();
        (text.chars().take(3000).collect(), game.story)
    })
}

/// Leaves out whatever the failure does not need.
fn shorten(seed: u64, mut script: Vec<u64>, like: &str) -> Vec<u64> {
    let kind = |text: &str| text.chars().take(14).collect::<String>();
    let mut size = script.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < script.len() {
            let mut shorter = script.clone();
            shorter.drain(at..(at + size).min(script.len()));
            match run(seed, &shorter) {
                Err((text, _)) if kind(&text) == kind(like) => script = shorter,
                _ => at += size,
            }
        }
        size /= 2;
    }
    script
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "more seeds than usual are asked for by a variable"
)]
fn whatever_happens_each_request_is_answered_once_and_nothing_is_kept() {
    let seeds: Vec<u64> = if let Ok(given) = std::env::var("MCP_BRIDGE_SEEDS") {
        let (first, last) = given.split_once("..").unwrap();
        let asked: Range<u64> = first.parse().unwrap()..last.parse().unwrap();
        asked.collect()
    } else {
        let outside = PINNED.into_iter().filter(|seed| !USUAL.contains(seed));
        USUAL.chain(outside).collect()
    };
    let mut failed = Vec::new();
    for seed in seeds {
        let mut dice = Dice(seed ^ 0x5EED);
        let steps = 5 + dice.roll() % STEPS;
        let script: Vec<u64> = (0..steps).map(|_| dice.roll()).collect();
        if let Err((text, _)) = run(seed, &script) {
            let script = shorten(seed, script, &text);
            let (text, story) = run(seed, &script).unwrap_err();
            let story = story.join("\n  ");
            failed.push(format!("seed {seed}: {text}\n  {story}"));
            if failed.len() >= 5 {
                break;
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

// What it found.

#[test]
fn a_call_that_no_longer_waits_for_its_log_level_is_not_sent_again_for_it() {
    let mut world = World::new();
    world.connect_upward("a");
    let level = json!({"io.modelcontextprotocol/logLevel": "debug"});
    let call = json!({"name": "x", "_meta": level});
    world.modern_request(1, "tools/call", &call);
    let slow = world.take("logging/setLevel");
    world.seconds(11);
    let posted = world.take("tools/call");
    world.stream(&posted);
    world.events(&posted, None, Some("e"), None, "");
    world.end(&posted);
    world.give(&slow, &json!({}));
    assert_eq!(world.count("tools/call"), 1);
}

#[test]
fn a_batch_with_an_answer_at_once_waits_for_the_other_answers() {
    let mut world = World::new();
    let found = super::eras::discovered();
    world.connect_modern_as("2025-03-26", &found);
    world.client_says(&json!([
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "x"}},
    ]));
    world.lines();
    let posted = world.take("tools/call");
    world.give(&posted, &json!({"resultType": "complete", "content": []}));
    assert_eq!(world.unanswered(), 0);
}

#[test]
fn progress_of_a_cancelled_request_ends_with_it() {
    let mut world = World::new();
    world.initialize();
    let posted = world.take("initialize");
    world.give_session(&posted, "a");
    world.initialized();
    world.finish_handshake("a");
    world.lines();
    let token = json!({"name": "x", "_meta": {"progressToken": "mine"}});
    world.modern_request(1, "tools/call", &token);
    let posted = world.take("tools/call");
    world.stream(&posted);
    world.client_says(
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
    );
    let token = &posted.json["params"]["_meta"]["progressToken"];
    let params = json!({"progressToken": token, "progress": 1});
    world.event(
        &posted,
        &json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}),
    );
    assert_eq!(world.lines(), Vec::<Value>::new());
}

#[test]
fn a_modern_client_hears_of_changes_only_where_it_listens() {
    let mut world = World::new();
    world.modern_request(0, "server/discover", &json!({}));
    let probe = world.take("server/discover");
    world.give(&probe, &super::eras::discovered());
    world.modern_request(1, "tools/call", &json!({"name": "x"}));
    let filter = json!({"notifications": {"toolsListChanged": true}});
    world.modern_request(2, "subscriptions/listen", &filter);
    let posted = world.take("tools/call");
    let listen = world.take("subscriptions/listen");
    world.stream(&posted);
    world.stream(&listen);
    let tag = json!({SUBSCRIPTION: 2});
    let method = "notifications/subscriptions/acknowledged";
    let params = json!({"notifications": filter["notifications"], "_meta": tag});
    world.event(
        &listen,
        &json!({"jsonrpc": "2.0", "method": method, "params": params}),
    );
    world.lines();
    let changed = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
    world.event(&posted, &changed);
    let other = json!({"jsonrpc": "2.0", "method": "notifications/prompts/list_changed",
        "params": {"_meta": tag}});
    world.event(&listen, &other);
    assert_eq!(world.lines(), Vec::<Value>::new());
    world.event(&listen, &changed);
    assert_eq!(world.lines()[0]["params"]["_meta"], tag);
}

#[test]
fn a_session_is_reopened_with_another_revision_if_the_server_names_one() {
    let mut world = World::new();
    world.connect("a");
    world.request(1, "tools/list");
    let posted = world.take("tools/list");
    world.lose(&posted);
    let posted = world.take("initialize");
    let data = json!({"supported": ["2025-06-18"], "requested": "2025-11-25"});
    let error = json!({"code": -32602, "message": "Unsupported protocol version", "data": data});
    let refusal = json!({"jsonrpc": "2.0", "id": posted.json["id"], "error": error});
    world.answer(&posted, 400, &[], refusal.to_string());
    let posted = world.take("initialize");
    assert_eq!(posted.json["params"]["protocolVersion"], "2025-06-18");
    world.give_session(&posted, "b");
    world.finish_handshake("b");
    let posted = world.take("tools/list");
    world.give(&posted, &json!({"tools": []}));
    assert_eq!(world.response(1)["result"], json!({"tools": []}));
}

#[test]
fn a_server_that_comes_late_hears_that_the_client_is_initialized() {
    let mut world = World::new();
    world.initialize();
    world.seconds(61);
    world.response("init");
    world.initialized();
    world.seconds(62);
    world.request(1, "tools/list");
    for _ in 0..120 {
        if world.pending() == ["initialize"] {
            break;
        }
        world.seconds(1);
        if world.is_answered(1) {
            world.response(1);
            world.request(1, "tools/list");
        }
    }
    let posted = world.take("initialize");
    world.give_session(&posted, "a");
    world.finish_handshake("a");
}

#[test]
fn a_handshake_begun_anew_is_not_ended_by_what_came_before_it() {
    let mut world = World::new();
    world.initialize();
    world.seconds(61);
    world.response("init");
    world.initialized();
    world.initialize_as("again");
    for _ in 0..120 {
        if world.count("initialize") >= 2 {
            break;
        }
        world.seconds(1);
    }
    let posted = world.take("initialize");
    let posted = if world.is_running(&posted) {
        posted
    } else {
        world.take("initialize")
    };
    world.give_session(&posted, "a");
    world.response("again");
    assert_eq!(world.count("notifications/initialized"), 0);
    world.initialized();
    world.finish_handshake("a");
}
