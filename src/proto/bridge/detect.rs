//! Which era the server is of: asked once, remembered, and asked again when it acts otherwise (MCP
//! 2026-07-28, Versioning, Backward Compatibility).
//!
//! In: `server/discover` of our own and what its answers lead to, a modern server's connection, a
//! look beside the traffic. Out: what an answer proves (`era::evidence`), `initialize` (`handshake`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::contact::{Outcome, Step, Why};
use super::identity::{Identity, discover_message};
use super::{Bridge, Exchange, Own, Phase, Protocol, Purpose, Timer};
use crate::proto::classify::{self, Content};
use crate::proto::era;
use crate::proto::era::capabilities::Offered;
use crate::proto::era::discover::Discovered;
use crate::proto::era::evidence::{self, Probe, Verdict};
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::ledger::Place;
use crate::proto::message::{Id, Message, member};
use crate::proto::transport::Transport;
use crate::proto::{Body, Head, Level, Request, Ticket, Verb, headers, limits};

/// Changes of a server's era within [`CHANGES_WITHIN`] before it is taken for what it last was.
const CHANGES: usize = 2;
const CHANGES_WITHIN: Duration = Duration::from_secs(600);

/// What is known of a modern server.
#[derive(Debug)]
pub(super) struct Modern {
    /// The revision that is spoken with it.
    pub(super) version: String,
    pub(super) discovered: Discovered,
    pub(super) offered: Offered,
    /// Results in a row without `resultType`.
    pub(super) untyped: u32,
}

/// How the server's era was found out.
#[derive(Debug, Default)]
pub(super) struct Detection {
    /// When it turned out to be another.
    changes: VecDeque<Instant>,
    /// What is remembered was used in this process.
    pub(super) recalled: bool,
    /// A look beside the traffic was taken since the last connection.
    pub(super) looked: bool,
    doubt: Doubt,
}

/// Whether what is taken for true of the server's era is to be confirmed first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Doubt {
    #[default]
    None,
    /// The server is being asked; requests wait.
    Asking,
    /// It wanted credentials first.
    Refused,
}

impl Bridge {
    // Asking.

    /// Asks the server what it speaks, in the client's name.
    pub(super) fn post_discover(&mut self) {
        let version = match self.handshake() {
            Some(handshake) => handshake.asked.clone(),
            None => return,
        };
        let Some((id, request)) = self.discover_request(&version) else {
            return self.on_discover_lost();
        };
        self.own.insert(id, Own::Discover);
        let waits = self
            .ledger
            .select(|entry| entry.message.method() == "server/discover");
        let limit = if waits.is_empty() {
            limits::PROBE
        } else {
            limits::PROBE_AWAITED
        };
        let ticket = self.start(Purpose::Discover, request);
        self.handshake_awaits(ticket);
        self.time_exchange(ticket, limit, Timer::Probe(ticket));
    }

    /// A `server/discover` request at this revision, and its id.
    fn discover_request(&mut self, version: &str) -> Option<(Id, Request)> {
        let id = self.own_id();
        let identity = self.identity();
        let message = discover_message(&id, version, &identity)
            // What the client says of itself may be nested as deeply as a message may be.
            .or_else(|| discover_message(&id, version, &Identity::unknown()));
        let message = message?;
        let request = self.post_modern(&message, message.text().clone(), version);
        Some((id, request))
    }

    // Answers.

    pub(super) fn on_discover_answer(
        &mut self,
        ticket: Ticket,
        exchange: &Exchange,
        head: &Head,
        body: &Body,
    ) {
        if !self.is_current(ticket) {
            return;
        }
        if head.status == 401 || self.refusal(head).is_some() {
            return self.initialize_unauthorized(exchange.authorizations, head, body);
        }
        let content = classify::content(&body.bytes);
        if classify::is_transient(head.status) {
            return self.initialize_busy(head, body);
        }
        if let Some(handshake) = self.handshake()
            && exchange.moved_to.is_some()
        {
            handshake.moved_to.clone_from(&exchange.moved_to);
        }
        let asked = self.handshake().map(|handshake| handshake.asked.clone());
        let verdict = evidence::of_discover(head.status, &content, &asked.unwrap_or_default());
        self.leave_stray_session(exchange.session.clone(), &verdict);
        let outcome = match content {
            Content::Rpc(messages) => messages
                .into_iter()
                .find(|message| message.error().is_some())
                .map(Outcome::Refused),
            _ => None,
        };
        let outcome = outcome.unwrap_or_else(|| Outcome::Fail(Self::no_mcp(head, body)));
        self.apply(verdict, outcome);
    }

    /// Its answer came on a stream.
    pub(super) fn on_discover_response(&mut self, message: &Message) {
        let Some(handshake) = self.handshake() else {
            return;
        };
        let verdict = evidence::of_response(message, &handshake.asked);
        let exchange = handshake
            .ticket
            .and_then(|ticket| self.exchanges.get(&ticket));
        let session = exchange.and_then(|exchange| exchange.session.clone());
        self.leave_stray_session(session, &verdict);
        let outcome = if message.error().is_some() {
            Outcome::Refused(message.clone())
        } else {
            Outcome::Fail(incompatible())
        };
        self.apply(verdict, outcome);
    }

    /// No answer came, or not in time.
    pub(super) fn on_discover_lost(&mut self) {
        let text = "the server did not answer \"server/discover\"";
        let failure = Failure::new(Kind::Timeout, Executed::No, text);
        self.apply(Verdict::Open(&[Probe::Initialize]), Outcome::Fail(failure));
    }

    pub(super) fn on_probe_timeout(&mut self, ticket: Ticket) {
        if self.is_current(ticket) {
            self.cancel_exchange(ticket);
            self.on_discover_lost();
        } else if let Some(Purpose::Own(id)) = self
            .exchanges
            .get(&ticket)
            .map(|exchange| exchange.purpose.clone())
        {
            self.cancel_exchange(ticket);
            self.on_own_lost(&id);
        }
    }

    fn apply(&mut self, verdict: Verdict, outcome: Outcome) {
        let Some(handshake) = self.handshake() else {
            return;
        };
        let asked = handshake.asked.clone();
        let initialized = handshake.tried.contains(&Probe::Initialize);
        match verdict {
            Verdict::Modern(discovered) => {
                let version = era::newest_spoken(&discovered.versions).unwrap_or(&asked);
                let version = version.to_owned();
                self.connected_modern(*discovered, &version);
            }
            Verdict::ModernUnknown if matches!(handshake.why, Why::Modern) => {
                self.connected_modern(undiscovered(&asked), &asked);
            }
            Verdict::AskAt(version) if version != asked || !handshake.repeated => {
                handshake.repeated |= version == asked;
                version.clone_into(&mut handshake.asked);
                self.post_discover();
            }
            Verdict::AskAgain if !handshake.repeated => {
                handshake.repeated = true;
                self.post_discover();
            }
            // Some legacy servers miss fields in these words too.
            Verdict::AskAgain => self.not_modern(&[Probe::Initialize], initialized, outcome),
            Verdict::ModernUnknown | Verdict::AskAt(_) => self.conclude(outcome),
            Verdict::Legacy(version) => {
                if let Some(version) = version
                    && matches!(handshake.why, Why::Modern)
                {
                    handshake.at_revision(&version);
                }
                self.not_modern(&[Probe::Initialize], initialized, outcome);
            }
            Verdict::Open(plan) => self.not_modern(plan, initialized, outcome),
        }
    }

    /// What is left to try, after `server/discover` proved nothing.
    fn not_modern(&mut self, plan: &[Probe], initialized: bool, outcome: Outcome) {
        let Some(handshake) = self.handshake() else {
            return;
        };
        if let Some(accepted) = handshake.accepted.take() {
            return self.connected(&accepted);
        }
        if !initialized {
            handshake.left = plan.iter().copied().collect();
        }
        self.try_next(outcome);
    }

    /// A refusal that came with a session: nobody will use that, so it is left.
    fn leave_stray_session(&mut self, session: Option<HeaderValue>, verdict: &Verdict) {
        if let Some(session) = session
            && !matches!(verdict, Verdict::Modern(_))
        {
            let request = Request {
                verb: Verb::Delete,
                url: Arc::clone(&self.link.endpoint),
                headers: vec![(headers::SESSION_ID, session)],
                body: bytes::Bytes::new(),
                after: None,
            };
            self.start(Purpose::Abandoned, request);
        }
    }

    // A modern server.

    /// The server is modern: the connection stands, for there is none to open.
    pub(super) fn connected_modern(&mut self, discovered: Discovered, version: &str) {
        let phase = std::mem::replace(&mut self.link.phase, Phase::Open);
        let Phase::Handshaking(mut handshake) = phase else {
            self.link.phase = phase;
            return;
        };
        if let Some(ticket) = handshake.ticket {
            self.repurpose(ticket, Purpose::Drain);
            self.time_exchange(ticket, limits::LINGER, Timer::Linger(ticket));
        }
        if let Some(moved_to) = handshake.moved_to.take() {
            self.link.base = moved_to;
        }
        self.own
            .retain(|_, own| !matches!(own, Own::Initialize | Own::Discover));
        let first_time = self.link.transport.is_none();
        let to_client = matches!(handshake.why, Why::Client(_) | Why::Modern);
        let level = self.announce_connected(Transport::StreamableHttp, first_time, to_client);
        self.turn_modern(discovered, version);
        match handshake.why {
            Why::Client(id) => {
                // A client that has given up on its `server/discover` gets this answered first:
                // some take a late answer to the one for a wrong answer to the other.
                self.stand_in.is_over();
                self.initialize_from_discovered(&id);
            }
            Why::Answered | Why::Reopen if self.stand_in.is_first_contact() => {
                self.say(level, "the server is ready now");
                let result = self.discovered_for_client();
                let promised = self.client.list_changed.clone();
                self.connected_at_last(&promised, &result);
                self.ready_for_client();
                self.tell_of_changes();
            }
            Why::Answered | Why::Reopen => {
                self.say(Level::Info, "the server speaks another revision now");
                self.ready_for_client();
                self.tell_of_changes();
            }
            Why::Modern => self.stand_in.is_over(),
        }
        self.answer_discovery();
    }

    /// The client's own `server/discover` has waited for the very answer that came.
    fn answer_discovery(&mut self) {
        let Some(modern) = &self.link.modern else {
            return;
        };
        let text = modern.discovered.text.clone();
        let waiting = self.ledger.select(|entry| {
            entry.place == Place::Parked && entry.message.method() == "server/discover"
        });
        for id in waiting.into_iter().filter(|_| !text.is_empty()) {
            self.respond_with(&id, "result", &text);
        }
    }

    /// From now on the server is spoken to as a modern one.
    fn turn_modern(&mut self, discovered: Discovered, version: &str) {
        self.drop_listen();
        if let Some(request) = self.delete_request() {
            self.start(Purpose::Abandoned, request);
        }
        let link = &mut self.link;
        link.endpoint = Arc::clone(&link.base);
        link.transport = Some(Transport::StreamableHttp);
        (link.session, link.version) = (None, None);
        (link.opened_with, link.initialize_result) = (None, None);
        link.ready = false;
        self.remember_modern(&discovered);
        self.link.modern = Some(Modern {
            version: version.to_owned(),
            offered: Offered::read(&discovered.capabilities),
            discovered,
            untyped: 0,
        });
        self.listeners_to_modern();
        self.debug(|| format!("the server speaks {version}"));
    }

    // A look beside the traffic.

    /// A legacy server without a session cannot ask the client anything or tell it of changes. Many
    /// of them are modern as well, and can do both there: worth one request, beside the traffic. Not
    /// where the client was promised tasks, which would end.
    pub(super) fn look_for_more(&mut self) {
        let offered = self.upward.offered;
        let offers_changes = offered.tools_changed
            || offered.prompts_changed
            || offered.resources_changed
            || offered.subscribe;
        let asks = self.client.initialize.as_ref().is_some_and(|initialize| {
            let declared = initialize
                .params()
                .and_then(|params| member(params, "capabilities"))
                .unwrap_or("{}");
            ["roots", "sampling", "elicitation"]
                .iter()
                .any(|question| member(declared, question).is_some())
        });
        let sessionless =
            self.link.session.is_none() && self.link.transport == Some(Transport::StreamableHttp);
        if self.settings.protocol == Protocol::Auto
            && self.settings.upgrade
            && sessionless
            && (asks || offers_changes)
            && !offered.task_calls
            && !self.was_legacy()
            && !self.detection.looked
        {
            self.look();
        }
    }

    /// The server was asked already whether it is modern.
    pub(super) fn has_looked(&mut self) {
        self.detection.looked = true;
    }

    /// Asks the server what it speaks, beside the traffic.
    pub(super) fn look(&mut self) {
        self.detection.looked = true;
        let Some((id, request)) = self.discover_request(era::SPOKEN[0]) else {
            return self.on_look_lost();
        };
        self.own.insert(id.clone(), Own::Look);
        let ticket = self.start(Purpose::Own(id), request);
        if let Some(exchange) = self.exchanges.get_mut(&ticket) {
            exchange.in_session = false;
        }
        self.time_exchange(ticket, limits::PROBE, Timer::Probe(ticket));
    }

    /// The answer to a look, as HTTP has it.
    pub(super) fn on_look_answer(&mut self, head: &Head, body: &Body) {
        let refused = matches!(head.status, 401 | 403);
        if refused || classify::is_transient(head.status) {
            let unconfirmed = refused && self.is_verifying();
            self.on_look_lost();
            if unconfirmed {
                self.detection.doubt = Doubt::Refused;
            }
            return;
        }
        let content = classify::content(&body.bytes);
        let verdict = evidence::of_discover(head.status, &content, era::SPOKEN[0]);
        self.on_look(verdict);
    }

    /// The answer to a look that came on a stream.
    pub(super) fn on_look_response(&mut self, message: &Message) {
        self.on_look(evidence::of_response(message, era::SPOKEN[0]));
    }

    /// There are other credentials: what is remembered can be confirmed with them, before anything
    /// that waited for them is sent.
    pub(super) fn look_authorized(&mut self) {
        if self.detection.doubt == Doubt::Refused
            && self.link.modern.is_some()
            && matches!(self.link.phase, Phase::Open)
        {
            self.verify();
        }
    }

    /// No answer came: what is known stays.
    pub(super) fn on_look_lost(&mut self) {
        self.detection.doubt = Doubt::None;
    }

    fn on_look(&mut self, verdict: Verdict) {
        self.detection.doubt = Doubt::None;
        if !matches!(self.link.phase, Phase::Open | Phase::Barrier(_)) {
            return;
        }
        let known = self.link.modern.is_some();
        match verdict {
            Verdict::Modern(discovered) if known => self.looked_again(*discovered),
            Verdict::Modern(discovered) => {
                let version = era::newest_spoken(&discovered.versions).unwrap_or(era::SPOKEN[0]);
                self.turn_modern(*discovered, version);
                if matches!(self.link.phase, Phase::Open) {
                    self.ready_for_client();
                }
            }
            Verdict::Legacy(_) | Verdict::Open(_) if known => {
                self.detect_era_again(Step::Initialize);
            }
            Verdict::Legacy(_) | Verdict::Open(_) => {
                self.remember_legacy(Transport::StreamableHttp);
            }
            _ => {}
        }
    }

    /// Whether requests wait until what is remembered of the server was confirmed: a legacy server
    /// might run what was meant for a modern one.
    pub(super) fn is_verifying(&self) -> bool {
        self.detection.doubt == Doubt::Asking
    }

    /// Lets requests wait until the server has said what it speaks.
    pub(super) fn verify(&mut self) {
        if !self.is_verifying() {
            self.detection.doubt = Doubt::Asking;
            self.look();
        }
    }

    /// What was remembered of the server is brought up to date.
    fn looked_again(&mut self, discovered: Discovered) {
        self.remember_modern(&discovered);
        let Some(modern) = &mut self.link.modern else {
            return;
        };
        let differs = modern.discovered.capabilities != discovered.capabilities;
        modern.offered = Offered::read(&discovered.capabilities);
        modern.discovered = discovered;
        if differs {
            self.refresh_subscription();
            self.tell_of_changes();
        }
        self.answer_discovery();
    }

    // Contradictions.

    /// A server that was taken for a legacy one refuses a request in words of the modern era, though
    /// it has answered `initialize`: it is asked, once for each request. Whether the request waits
    /// for that.
    pub(super) fn look_for(&mut self, id: &Id, error: &Message) -> bool {
        let may_ask = self.settings.protocol == Protocol::Auto
            && self.link.modern.is_none()
            && self.link.transport == Some(Transport::StreamableHttp)
            && matches!(self.link.phase, Phase::Open)
            && evidence::is_modern_error(error);
        let Some(entry) = self.ledger.get_mut(id).filter(|_| may_ask) else {
            return false;
        };
        if std::mem::replace(&mut entry.detected_again, true) {
            return false;
        }
        self.park_request(id);
        self.verify();
        true
    }

    /// The server does not act as its era does: it is asked anew, once for each request. Whether
    /// the request waits for that.
    pub(super) fn detect_for(&mut self, id: &Id) -> bool {
        let Some(entry) = self.ledger.get_mut(id) else {
            return false;
        };
        if std::mem::replace(&mut entry.detected_again, true) {
            return false;
        }
        let generation = entry.generation;
        if generation == self.link.generation && !self.detect_era_again(Step::Discover) {
            return false;
        }
        self.park_request(id);
        true
    }

    /// Asks the server anew what it speaks; from `initialize` on if it has just been asked with
    /// `server/discover`.
    fn detect_era_again(&mut self, from: Step) -> bool {
        let now = self.now;
        let changes = &mut self.detection.changes;
        changes.retain(|at| now.saturating_duration_since(*at) < CHANGES_WITHIN);
        if self.settings.protocol != Protocol::Auto
            || self.link.modern.is_none()
            || !matches!(self.link.phase, Phase::Open)
            || changes.len() >= CHANGES
        {
            return false;
        }
        changes.push_back(now);
        self.forget_memory();
        self.say(
            Level::Info,
            "the server does not act as it did; asking it again what it speaks",
        );
        self.drop_subscription();
        (self.link.modern, self.link.transport) = (None, None);
        self.forget_tools();
        self.reopen_from(from);
        if from == Step::Initialize
            && let Some(handshake) = self.handshake()
        {
            handshake.tried.push(Probe::Discover);
        }
        true
    }
}

/// A modern server that has told nothing of itself.
fn undiscovered(version: &str) -> Discovered {
    Discovered {
        text: String::new(),
        versions: vec![version.to_owned()],
        capabilities: "{}".to_owned(),
        server_info: None,
        instructions: None,
        ttl_ms: 0,
    }
}

fn incompatible() -> Failure {
    let text = "the server speaks no revision of the protocol that the bridge speaks; a newer \
                mcp-bridge may";
    Failure::new(Kind::NotMcp, Executed::No, text)
}
