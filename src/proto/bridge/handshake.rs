//! First contact and reopening: `initialize` until it is answered.
//!
//! In: making an attempt, and what each answer to `initialize` means. Out: another attempt or none
//! (`attempts`), `server/discover` (`detect`), the stream of HTTP+SSE (`stream`), what follows
//! success (`opening`).

use std::collections::VecDeque;
use std::sync::Arc;

use super::contact::{Handshake, Outcome, Step, Why};
use super::{Bridge, Exchange, Own, Phase, Protocol, Purpose, Timer};
use crate::proto::classify::{self, Content};
use crate::proto::era::evidence::{self, Probe};
use crate::proto::era::{Era, SPOKEN, capabilities, discover};
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::message::{Id, Message, member};
use crate::proto::retry;
use crate::proto::transport::Transport;
use crate::proto::{Body, Ending, Head, Level, Ticket, json, limits, revision, text};

impl Bridge {
    /// Forwards the client's own `initialize`.
    pub(super) fn first_handshake(&mut self, id: &Id) {
        let Some(initialize) = self.client.initialize.clone() else {
            return;
        };
        match &self.link.phase {
            Phase::Open | Phase::Barrier(_) if self.serves_modern_requests() => {
                self.cancel_questions(|_| true);
                self.retire_session();
                self.forget_tools();
            }
            Phase::Open | Phase::Barrier(_) => self.drop_session(),
            Phase::Handshaking(reopening) => {
                let ticket = reopening.ticket;
                self.own.retain(|_, own| *own != Own::Initialize);
                if let Some(ticket) = ticket {
                    self.cancel_exchange(ticket);
                }
                self.drop_sse();
            }
            Phase::Idle | Phase::Lost { .. } => {}
        }
        let step = self.first_step(Step::Initialize);
        self.begin(Why::Client(id.clone()), initialize, step);
    }

    /// A modern client wants something, and it is not known what the server speaks.
    pub(super) fn first_contact_for_modern(&mut self) {
        let first = if self.was_legacy() {
            Step::Initialize
        } else {
            Step::Discover
        };
        self.contact_for_modern(first);
    }

    fn contact_for_modern(&mut self, first: Step) {
        let step = self.first_step(first);
        if let Some(initialize) = self.opener() {
            self.begin(Why::Modern, initialize, step);
        }
    }

    /// Gets a new session, the way the last one was opened.
    pub(super) fn reopen(&mut self) {
        if self.has_only_modern_requests() {
            return self.first_contact_for_modern();
        }
        self.reopen_from(Step::Initialize);
    }

    pub(super) fn reopen_from(&mut self, step: Step) {
        if self.has_only_modern_requests() {
            return self.contact_for_modern(step);
        }
        if let Some(initialize) = self.opener() {
            let step = self.first_step(step);
            self.begin(Why::Reopen, initialize, step);
        }
    }

    /// Whether nobody has made a handshake so far.
    fn has_only_modern_requests(&self) -> bool {
        self.link.opened_with.is_none() && self.client.initialize.is_none()
    }

    fn first_step(&self, wanted: Step) -> Step {
        match self.settings.protocol {
            Protocol::Auto if self.settings.strategy.first() == Transport::Sse => Step::Initialize,
            Protocol::Auto => wanted,
            Protocol::Legacy => Step::Initialize,
            Protocol::Modern => Step::Discover,
        }
    }

    /// An `initialize` under an id of our own: the one that opened the session, else the client's,
    /// else one in the name of a modern client.
    fn opener(&mut self) -> Option<Message> {
        let id = self.own_id();
        let known = self.link.opened_with.as_ref();
        let text = if let Some(known) = known.or(self.client.initialize.as_ref()) {
            known.with_id(&id)
        } else {
            let identity = self.identity();
            let capabilities = capabilities::client_to_legacy(&identity.capabilities);
            let version = revision::NEWEST_WITH_HANDSHAKE;
            let info = identity.client_info.as_deref();
            discover::initialize_request(id.token(), version, &capabilities, info).into()
        };
        let mut initialize = Message::parse(text).ok()?;
        if let Some(revision) = self.link.wanted_revision
            && let Ok(edited) =
                Message::parse(initialize.with_param("protocolVersion", &json::quote(revision)))
        {
            initialize = edited;
        }
        self.own.insert(id, Own::Initialize);
        Some(initialize)
    }

    fn begin(&mut self, why: Why, initialize: Message, step: Step) {
        self.serial += 1;
        let serial = self.serial;
        let decided = self.link.transport;
        let for_client = matches!(why, Why::Client(_) | Why::Modern);
        let recalled = self.recalled_transport();
        let first = decided.or(recalled);
        let transport = match step {
            Step::Discover => Transport::StreamableHttp,
            Step::Initialize => first.unwrap_or(self.settings.strategy.first()),
        };
        let left = match transport {
            Transport::Sse => VecDeque::from([Probe::Initialize]),
            Transport::StreamableHttp => VecDeque::new(),
        };
        let asked = match &self.client.stated {
            Some(stated) if matches!(why, Why::Modern) => stated.version.clone(),
            _ => SPOKEN[0].to_owned(),
        };
        let handshake = Handshake {
            serial,
            retry: None,
            why,
            initialize,
            step,
            transport,
            tried: Vec::new(),
            left,
            decided,
            asked,
            accepted: None,
            http_outcome: None,
            ticket: None,
            status: None,
            session: None,
            moved_to: None,
            busy: 0,
            unreachable: 0,
            repeated: false,
            other_version: false,
            authorizations: 0,
            refused: false,
        };
        self.link.generation += 1;
        self.link.recoveries.in_use = false;
        self.initialize_resume = None;
        self.link.session = None;
        self.link.version = None;
        self.link.ready = false;
        self.link.phase = Phase::Handshaking(Box::new(handshake));
        self.after(limits::INITIALIZE, Timer::HandshakeLimit(serial));
        if for_client {
            self.after(self.settings.initialize_wait, Timer::StandIn(serial));
        }
        let strategy = self.settings.strategy.as_str();
        self.announce(strategy);
        self.contact();
    }

    pub(super) fn announce(&mut self, strategy: &str) {
        let url = text::public_url(&self.link.base);
        let first_time = self.link.transport.is_none();
        let level = match &self.link.phase {
            Phase::Handshaking(handshake) => match handshake.why {
                Why::Client(_) => Level::Info,
                Why::Modern if first_time => Level::Info,
                Why::Modern | Why::Answered | Why::Reopen => Level::Debug,
            },
            _ => Level::Info,
        };
        self.say(level, format!("Connecting to remote server: {url}"));
        self.say(level, format!("Using transport strategy: {strategy}"));
    }

    pub(super) fn handshake(&mut self) -> Option<&mut Handshake> {
        match &mut self.link.phase {
            Phase::Handshaking(handshake) => Some(handshake),
            _ => None,
        }
    }

    /// Whether this exchange is the one the handshake waits for.
    pub(super) fn is_current(&mut self, ticket: Ticket) -> bool {
        self.handshake()
            .is_some_and(|handshake| handshake.ticket == Some(ticket))
    }

    /// Sends the first request of what is being tried.
    pub(super) fn contact(&mut self) {
        let Some(handshake) = self.handshake() else {
            return;
        };
        let probe = handshake.probe();
        if !handshake.tried.contains(&probe) {
            handshake.tried.push(probe);
        }
        let (retry, ticket) = (handshake.retry.take(), handshake.ticket.take());
        if let Some(retry) = retry {
            self.timers.remove(&retry);
        }
        if let Some(ticket) = ticket {
            self.cancel_exchange(ticket);
        }
        match probe {
            Probe::Initialize => {
                self.link.endpoint = Arc::clone(&self.link.base);
                self.post_initialize();
            }
            Probe::Discover => {
                self.link.endpoint = Arc::clone(&self.link.base);
                self.post_discover();
            }
            Probe::Sse => {
                self.drop_sse();
                let request = self.get(&Arc::clone(&self.link.base), None);
                let ticket = self.start(Purpose::Sse, request);
                self.link.sse = Some(ticket);
            }
        }
    }

    /// The client sends `initialize` while it is found out for its modern requests what the server
    /// speaks: that serves this one too. Whether it does; a session that is being opened in other
    /// words is not for it.
    pub(super) fn joins_contact(&mut self, id: &Id) -> bool {
        let Some(initialize) = self.client.initialize.clone() else {
            return false;
        };
        let serial = match self.handshake() {
            Some(handshake) if matches!(handshake.why, Why::Modern) => {
                let sent = handshake.step == Step::Initialize || handshake.accepted.is_some();
                if !sent {
                    handshake.initialize = initialize;
                } else if !has_same_words(&handshake.initialize, &initialize) {
                    return false;
                }
                handshake.why = Why::Client(id.clone());
                handshake.serial
            }
            _ => return false,
        };
        self.after(self.settings.initialize_wait, Timer::StandIn(serial));
        self.initialize_joined();
        true
    }

    pub(super) fn post_initialize(&mut self) {
        let Some(handshake) = self.handshake() else {
            return;
        };
        let initialize = handshake.initialize.clone();
        if let Some(id) = initialize.id().filter(|id| self.ledger.get(id).is_none()) {
            // It may have been answered before: with another revision, or on another transport.
            self.own.insert(id.clone(), Own::Initialize);
        }
        let request = self.post(&initialize, initialize.text().clone());
        let ticket = self.start(Purpose::Initialize, request);
        self.handshake_awaits(ticket);
    }

    /// The handshake waits for this exchange. The stream that an earlier answer came on may still be
    /// open; nothing follows from it any more.
    pub(super) fn handshake_awaits(&mut self, ticket: Ticket) {
        let earlier = self
            .handshake()
            .and_then(|handshake| handshake.ticket.replace(ticket));
        if let Some(earlier) = earlier.filter(|earlier| self.exchanges.contains_key(earlier)) {
            self.drain(earlier);
        }
    }

    // Answers to `initialize`.

    pub(super) fn on_initialize_answer(
        &mut self,
        ticket: Ticket,
        exchange: Exchange,
        head: &Head,
        body: &Body,
    ) {
        if !self.is_current(ticket) {
            return;
        }
        if exchange.resumes {
            self.repeat_initialize(&format!("resuming the stream: HTTP {}", head.status));
            return;
        }
        self.note_initialize_head(&exchange, head);
        let content = classify::content(&body.bytes);
        match head.status {
            401 | 403 if head.status == 401 || self.refusal(head).is_some() => {
                return self.initialize_unauthorized(exchange.authorizations, head, body);
            }
            status if classify::is_transient(status) => return self.initialize_busy(head, body),
            _ => {}
        }
        if let Some(ending) = &body.cut
            && head.is_success()
        {
            return self.initialize_cut(ending);
        }
        if let Content::Rpc(messages) = content {
            self.exchanges.insert(ticket, exchange);
            for message in messages {
                self.on_remote_message(ticket, message);
            }
            self.exchanges.remove(&ticket);
            if self.is_current(ticket) && self.http_transport() {
                self.conclude(Outcome::Fail(Self::no_mcp(head, body)));
            }
            return;
        }
        if !self.http_transport() && head.is_success() {
            // HTTP+SSE: accepted; the answer comes on the stream.
            return;
        }
        let outcome = Outcome::Fail(Self::no_mcp(head, body));
        self.go_on_after(head.status, &content, outcome);
    }

    /// `initialize` over Streamable HTTP got no result: what its answer leaves to be tried.
    fn go_on_after(&mut self, status: u16, content: &Content, outcome: Outcome) {
        let plan = evidence::after_initialize(status, content);
        let was_legacy = self.link.opened_with.is_some();
        let Some(handshake) = self.handshake() else {
            return;
        };
        let mut plan: VecDeque<Probe> = plan.iter().copied().collect();
        if was_legacy && matches!(handshake.why, Why::Reopen) {
            // A server that has opened a session before has to say that it is another now.
            let modern = matches!(content, Content::Rpc(messages) if messages.iter().any(evidence::is_modern_error));
            plan.retain(|probe| modern || *probe != Probe::Discover);
        }
        plan.extend(handshake.left.drain(..));
        handshake.left = plan;
        self.try_next(outcome);
    }

    pub(super) fn on_initialize_streams(&mut self, ticket: Ticket, head: &Head) {
        if self.is_current(ticket)
            && let Some(exchange) = self.exchanges.remove(&ticket)
        {
            if exchange.resumes {
                self.exchanges.insert(ticket, exchange);
                return;
            }
            if exchange.purpose == Purpose::Initialize {
                self.note_initialize_head(&exchange, head);
            } else if let Some(handshake) = self.handshake() {
                handshake.moved_to.clone_from(&exchange.moved_to);
            }
            self.exchanges.insert(ticket, exchange);
        }
    }

    pub(super) fn on_initialize_ended(&mut self, exchange: &Exchange, ending: &Ending) {
        if self.handshake().is_none() {
            return;
        }
        match &exchange.last_event {
            Some(_)
                if matches!(ending, Ending::Complete | Ending::Cut(_))
                    && exchange.fruitless < limits::RESUMPTIONS =>
            {
                let wait =
                    retry::stream_wait(exchange.retry_ms, exchange.fruitless, &mut self.jitter);
                self.initialize_resume = exchange.resume();
                self.retry_handshake(wait);
            }
            _ => self.initialize_cut(ending),
        }
    }

    /// The answer began and broke off.
    fn initialize_cut(&mut self, ending: &Ending) {
        let (kind, text) = match ending {
            Ending::TooLarge(text) => (Kind::LimitExceeded, text),
            Ending::Silent(text) => (Kind::Timeout, text),
            Ending::Complete | Ending::Cut(_) => {
                return self.repeat_initialize("the connection ended");
            }
        };
        let failure = Failure::new(kind, Executed::Unknown, text.clone());
        self.conclude(Outcome::Fail(failure));
    }

    /// A JSON-RPC response to `initialize`, on whatever stream it came.
    pub(super) fn on_initialize_response(&mut self, message: &Message) {
        let Some(handshake) = self.handshake() else {
            return;
        };
        if message.error().is_some() {
            let status = handshake.status.unwrap_or(200);
            let modern = evidence::is_modern_error(message);
            if !handshake.other_version
                && !modern
                && let Some(version) = offered_version(message)
            {
                handshake.other_version = true;
                let quoted = json::quote(&version);
                let edited = handshake.initialize.with_param("protocolVersion", &quoted);
                if let Ok(initialize) = Message::parse(edited) {
                    handshake.initialize = initialize;
                    self.debug(|| format!("the server wants revision {version}"));
                    self.post_initialize();
                    return;
                }
            }
            let outcome = Outcome::Refused(message.clone());
            if self.http_transport() {
                let content = Content::Rpc(vec![message.clone()]);
                self.go_on_after(status, &content, outcome);
            } else {
                self.conclude(outcome);
            }
            return;
        }
        let version = message
            .result()
            .and_then(|result| member(result, "protocolVersion"))
            .and_then(|raw| serde_json::from_str::<String>(raw).ok());
        let (strategy, protocol) = (self.settings.strategy, self.settings.protocol);
        if version.is_some_and(|version| Era::of(&version) == Era::Modern)
            && self.http_transport()
            && let Some(handshake) = self.handshake()
            && handshake.may_try(Probe::Discover, strategy, protocol)
        {
            handshake.accepted = Some(message.clone());
            handshake.left = VecDeque::from([Probe::Discover]);
            return self.try_next(Outcome::Fail(Failure::new(Kind::NotMcp, Executed::No, "")));
        }
        self.connected(message);
    }

    fn note_initialize_head(&mut self, exchange: &Exchange, head: &Head) {
        let has_odd_session =
            exchange.session.is_none() && head.headers.contains_key("mcp-session-id");
        if let Some(handshake) = self.handshake() {
            handshake.status = Some(head.status);
            handshake.session.clone_from(&exchange.session);
            handshake.moved_to.clone_from(&exchange.moved_to);
        }
        if has_odd_session && head.is_success() {
            self.say(
                Level::Warn,
                "the server's Mcp-Session-Id is not visible ASCII of at most 1 KiB; going on without a session",
            );
        }
    }

    fn http_transport(&mut self) -> bool {
        self.handshake()
            .is_some_and(|handshake| handshake.transport == Transport::StreamableHttp)
    }

    /// The error for an answer to the first message that is none of MCP's: what it is, and what to
    /// do.
    #[must_use]
    pub fn no_mcp(head: &Head, body: &Body) -> Failure {
        let what = classify::describe(head, body);
        let (kind, executed) = match head.status {
            200..=299 => (Kind::NotMcp, Executed::Unknown),
            _ => (Kind::HttpStatus, Executed::No),
        };
        let hint = match head.status {
            200..=299 => "that is not MCP; check the URL, which usually ends in /mcp or /sse",
            403 => {
                "the server does not allow this; check your token and what you are allowed there"
            }
            404 | 405 => {
                "there is no MCP server at this address; check the URL, which usually ends in /mcp or /sse"
            }
            429 | 500.. => "try again later, and tell the server's operator if it stays so",
            _ => {
                "the server did not accept \"initialize\"; check the URL, or ask the server's operator"
            }
        };
        Failure::new(kind, executed, format!("{what}; {hint}")).with_status(head.status)
    }

    /// The server wants credentials, or other ones, before it says more.
    pub(super) fn initialize_unauthorized(&mut self, since: u32, head: &Head, body: &Body) {
        let refused = self.refusal(head);
        let done = self
            .handshake()
            .map_or(0, |handshake| handshake.authorizations);
        if refused.is_some() && self.settings.credentials.may_be_renewed(done) {
            if let Some(handshake) = self.handshake() {
                handshake.authorizations += 1;
                handshake.refused = true;
            }
            self.authorize(since, refused, "initialize");
            if !self.authorizing.is_under_way() {
                self.handshake_authorized();
            }
            return;
        }
        let failure = self.unauthorized(head, body);
        self.conclude(Outcome::Fail(failure));
    }

    /// There are other credentials: go on where a refusal stopped the handshake.
    pub(super) fn handshake_authorized(&mut self) {
        if let Some(handshake) = self.handshake()
            && std::mem::take(&mut handshake.refused)
        {
            self.contact();
        }
    }

    /// There are none: the refused handshake is over.
    pub(super) fn handshake_not_authorized(&mut self, failure: &Failure) {
        if self.handshake().is_some_and(|handshake| handshake.refused) {
            self.conclude(Outcome::Fail(failure.clone()));
        }
    }
}

/// Whether two requests `initialize` say the same of the client.
pub(super) fn has_same_words(one: &Message, other: &Message) -> bool {
    let value = |message: &Message, name: &str| -> Option<serde_json::Value> {
        serde_json::from_str(member(message.params()?, name)?).ok()
    };
    ["protocolVersion", "capabilities", "clientInfo"]
        .iter()
        .all(|name| value(one, name) == value(other, name))
}

/// The newest revision that an error offers in `data.supported` (MCP 2025-11-25, Lifecycle, Error
/// Handling).
fn offered_version(message: &Message) -> Option<String> {
    let data = member(message.error()?, "data")?;
    let list = member(data, "supported").or_else(|| member(data, "supportedVersions"))?;
    let versions: Vec<String> = serde_json::from_str(list).ok()?;
    revision::newest_known(&versions).map(str::to_owned)
}
