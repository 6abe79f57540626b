//! Answers in the place of a server that cannot be talked to yet, because a person has to sign in
//! first or because it is away: hosts give up on a program that lets them wait.
//!
//! In: when to step in, with what, and when the server takes over. Out: the sign-in
//! (`authorize`), reaching the server (`handshake`).

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::contact::Why;
use super::{Bridge, Own, Phase, Timer};
use crate::proto::era::{Era, discover, result};
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::json::quote;
use crate::proto::ledger::{Entry, Place};
use crate::proto::message::{Id, Message, member};
use crate::proto::{revision, text};

/// What can be promised before the server has spoken.
const LISTS: [&str; 3] = ["tools", "prompts", "resources"];

/// Whether and how the bridge answers in the server's place.
#[derive(Debug, Default)]
pub(super) struct StandIn {
    /// The client's `initialize` was answered, and the server has not been reached since.
    provisional: bool,
    /// The client was told of a server that was never reached so far.
    never_connected: bool,
    /// Who was waited for long enough.
    late: Option<Late>,
    /// Lists that were promised and that the server does not have.
    overpromised: Vec<&'static str>,
    /// What the client was asked to open.
    elicitation: Option<Elicitation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    /// Whoever has to sign in.
    Person,
    /// The server, by no fault of a person's.
    Server,
}

#[derive(Debug)]
struct Elicitation {
    /// Of the request.
    request: Id,
    id: String,
    url: String,
}

impl StandIn {
    /// Whether the client was told that it is connected before the server was.
    pub(super) fn is_connected_late(&self) -> bool {
        self.provisional
    }

    /// Whether the client was told that it is connected, and the server was never reached.
    pub(super) fn has_never_connected(&self) -> bool {
        self.never_connected
    }

    /// Whether this is the client's reply to our own question.
    pub(super) fn is_reply(&self, id: Option<&Id>) -> bool {
        matches!(&self.elicitation, Some(asked) if Some(&asked.request) == id)
    }

    /// Whether the server is reached for the first time though the client was told of it before.
    pub(super) fn is_first_contact(&self) -> bool {
        self.provisional || self.never_connected
    }

    fn is_active(&self) -> bool {
        self.provisional || self.late.is_some()
    }

    /// The server speaks for itself now.
    pub(super) fn is_over(&mut self) {
        self.late = None;
        self.provisional = false;
        self.never_connected = false;
        self.overpromised.clear();
    }
}

impl Bridge {
    // When.

    /// `initialize` took too long.
    pub(super) fn on_initialize_late(&mut self, serial: u64) {
        if self
            .handshake()
            .is_some_and(|handshake| handshake.serial == serial)
        {
            if self.authorizing.prompt().is_none() {
                self.stand_in.late = Some(Late::Server);
            }
            self.answer_initialize();
            self.stand_in_for_all();
        }
    }

    /// The client sent `initialize` when what it needs was long under way.
    pub(super) fn initialize_joined(&mut self) {
        let person = self.authorizing.prompt().is_some();
        let known = self.settings.last_initialize.is_some();
        if self.stand_in.late.is_some() || (person && known) {
            self.answer_initialize();
        }
    }

    /// A person has to sign in; `opened` if a browser already shows where.
    pub(super) fn person_is_needed(&mut self, opened: bool) {
        if self.settings.last_initialize.is_some() {
            self.answer_initialize();
        }
        // Clients wait for this one for a few seconds only.
        let asked = self
            .ledger
            .select(|entry| entry.place == Place::Parked && is_discovery(entry));
        for id in asked {
            self.discover_provisionally(&id);
        }
        if !opened || self.stand_in.is_active() {
            self.ask_client_to_open();
        }
    }

    pub(super) fn on_person_late(&mut self, count: u32) {
        if self.authorizing.prompt().is_none() || self.authorizing.done() != count {
            return;
        }
        self.stand_in.late = Some(Late::Person);
        self.ask_client_to_open();
        self.stand_in_for_all();
    }

    /// The person has signed in, or will not.
    pub(super) fn person_is_done(&mut self) {
        self.stand_in.late = None;
        self.complete_elicitation();
        let serial = self.handshake().map(|handshake| handshake.serial);
        if let Some(serial) = serial.filter(|_| self.stand_in.provisional) {
            self.after(self.settings.initialize_wait, Timer::StandIn(serial));
        }
    }

    fn complete_elicitation(&mut self) {
        if let Some(elicitation) = self.stand_in.elicitation.take() {
            let id = quote(&elicitation.id);
            let text = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/elicitation/complete","params":{{"elicitationId":{id}}}}}"#
            );
            self.line(text.into());
        }
    }

    /// The server that the client was told of is there now: it may have less than was promised.
    pub(super) fn connected_at_last(&mut self, changes: &[&'static str], result: &str) {
        self.stand_in.is_over();
        self.link.recoveries.sse_failures = 0;
        let capabilities = member(result, "capabilities").unwrap_or_default();
        self.stand_in.overpromised = LISTS
            .into_iter()
            .filter(|list| self.client.list_changed.contains(list))
            .filter(|list| member(capabilities, list).is_none())
            .collect();
        self.debug(|| format!("the server tells of changes to: {}", changes.join(", ")));
    }

    /// Somebody has signed in when nobody waited for it any more.
    pub(super) fn reopen_for_late_person(&mut self) {
        if self.stand_in.never_connected && matches!(self.link.phase, Phase::Lost { .. }) {
            self.reopen();
        }
    }

    /// The server that the client was told of cannot be reached for now.
    pub(super) fn never_connected(&mut self, failure: &Failure) {
        self.stand_in.provisional = false;
        self.stand_in.late = None;
        self.stand_in.never_connected = true;
        self.reopening_failed(failure);
    }

    /// Whether the client still waits for a server that it was told of, and this failure may pass.
    /// A client that was promised nothing has no reason to send a request, so that the bridge tries
    /// by itself.
    pub(super) fn may_still_appear(&self, failure: &Failure) -> bool {
        let may_pass = matches!(
            failure.kind,
            Kind::Connect
                | Kind::Timeout
                | Kind::HttpStatus
                | Kind::StreamEnded
                | Kind::DiscoveryUnreachable
                | Kind::RefreshUnavailable
        );
        self.stand_in.never_connected && may_pass
    }

    // What.

    /// Answers the client's `initialize` with what is known of the server.
    fn answer_initialize(&mut self) {
        let (notice, own) = (self.notice(), self.own_id());
        let Some(handshake) = self.handshake() else {
            return;
        };
        let Why::Client(id) = &handshake.why else {
            return;
        };
        let id = id.clone();
        handshake.why = Why::Answered;
        // The client is free to use its id again; what is on its way is answered under it.
        let on_its_way = handshake.ticket.is_some() && !handshake.is_refused();
        if let Ok(replay) = Message::parse(handshake.initialize.with_id(&own)) {
            handshake.initialize = replay;
        }
        let asked: Option<String> = handshake.initialize.param("protocolVersion");
        let known = self.settings.last_initialize.as_deref();
        let known = known.and_then(|text| serde_json::from_str(text).ok());
        let host = text::sanitize(self.link.base.host_str().unwrap_or_default(), 100);
        let (result, version, promised) = provisional(known, asked.as_deref(), &host, &notice);
        self.client.version = Some(version);
        self.client.list_changed = promised;
        self.client.log_level = None;
        self.client.subscriptions.clear();
        self.own.insert(own, Own::Initialize);
        if on_its_way {
            self.own.insert(id.clone(), Own::Initialize);
        }
        self.stand_in.provisional = true;
        let token = self.ledger.get(&id).and_then(|entry| entry.message.id());
        let answer = response(token.unwrap_or(&id), &result);
        self.respond(&id, answer);
        self.stand_in_for_all();
    }

    /// Answers what waits for the server, as far as it is time to: a person who has only just been
    /// asked may be done in a moment, so that what only the server can answer still waits.
    pub(super) fn stand_in_for_all(&mut self) {
        if !self.stand_in.is_active() {
            return;
        }
        let is_late = self.stand_in.late.is_some();
        let mut ids = Vec::new();
        if is_late {
            ids = self.authorizing.take_waiting();
        }
        if matches!(self.link.phase, Phase::Handshaking(_)) {
            ids.extend(self.take_parked_requests());
        }
        let mut later = Vec::new();
        for id in ids {
            let entry = self.ledger.get(&id);
            if let Some(entry) = entry.filter(|entry| entry.place == Place::Parked) {
                let (message, era) = (entry.message.clone(), entry.era());
                match era {
                    Era::Legacy if is_late || can_stand_in(message.method()) => {
                        self.stand_in_for(&id, &message);
                    }
                    Era::Modern if is_late => self.stand_in_for_modern(&id, message.method()),
                    _ => later.push(id),
                }
            }
        }
        self.park_first(later);
    }

    fn stand_in_for(&mut self, id: &Id, message: &Message) {
        let token = message.id().unwrap_or(id).clone();
        let notice = self.notice();
        let result = match message.method() {
            "ping" => json!({}),
            "tools/call" => {
                json!({"content": [{"type": "text", "text": notice}], "isError": true})
            }
            "logging/setLevel" if self.stand_in.provisional => {
                self.client.log_level = message.params().map(str::to_owned);
                json!({})
            }
            method => match empty_list(method) {
                Some((_, list)) if self.stand_in.provisional => list,
                _ => return self.fail_for_now(id),
            },
        };
        self.respond(id, response(&token, &result));
    }

    /// A modern client would not hear that a list has changed since: it is told why there is none.
    fn stand_in_for_modern(&mut self, id: &Id, method: &str) {
        match method {
            "server/discover" => self.discover_provisionally(id),
            "tools/call" => {
                let text =
                    json!({"content": [{"type": "text", "text": self.notice()}], "isError": true});
                let result = result::to_modern("tools/call", &text.to_string(), None);
                self.respond_with(id, "result", &result);
            }
            _ => self.fail_for_now(id),
        }
    }

    /// `server/discover`, answered with what is known of the server.
    fn discover_provisionally(&mut self, id: &Id) {
        let notice = self.notice();
        let known = self.settings.last_initialize.as_deref();
        let known = known.and_then(|text| serde_json::from_str(text).ok());
        let host = text::sanitize(self.link.base.host_str().unwrap_or_default(), 100);
        let (result, _, _) = provisional(known, None, &host, &notice);
        let discovered = discover::from_initialize(&result.to_string(), false);
        self.respond_with(id, "result", &discovered);
    }

    fn fail_for_now(&mut self, id: &Id) {
        let kind = match self.authorizing.prompt() {
            Some(_) => Kind::SignInRequired,
            None => Kind::Connect,
        };
        let notice = self.notice();
        self.fail(id, &Failure::new(kind, Executed::No, notice));
    }

    /// The answer to a request for a list that was promised in the server's place, and that the
    /// server does not have.
    pub(super) fn overpromised(&self, message: &Message) -> Option<Bytes> {
        let (kind, list) = empty_list(message.method())?;
        let id = message.id()?;
        self.stand_in
            .overpromised
            .contains(&kind)
            .then(|| response(id, &list))
    }

    /// One sentence or two for the person, by way of the client and its model.
    fn notice(&self) -> String {
        let server = text::origin(&self.link.base);
        match self.authorizing.prompt() {
            Some(prompt) => {
                let more = prompt.instruction.as_deref().unwrap_or_default();
                let space = if more.is_empty() { "" } else { " " };
                format!(
                    "Sign-in needed for {server}. Open this link in a browser: {}{space}{more} \
                     Then try again.",
                    prompt.url
                )
            }
            None => format!(
                "{server} does not answer yet. The bridge keeps trying; try again in a moment."
            ),
        }
    }

    /// Asks a client that can open addresses to show the person where to sign in (MCP 2025-11-25,
    /// Elicitation, URL Mode).
    pub(super) fn ask_client_to_open(&mut self) {
        let can = self.client.initialize.as_ref().is_some_and(|message| {
            let capabilities = message.params().and_then(|all| member(all, "capabilities"));
            let elicitation = capabilities.and_then(|all| member(all, "elicitation"));
            elicitation.is_some_and(|all| member(all, "url").is_some())
        });
        let Some(prompt) = self.authorizing.prompt().cloned() else {
            return;
        };
        let mut asked = self.stand_in.elicitation.iter();
        if !can || !self.client.initialized || asked.any(|asked| asked.url == prompt.url) {
            return;
        }
        // Another link leads nowhere any more.
        self.complete_elicitation();
        let id = self.own_id();
        let elicitation = format!("sign-in-{}-{}", self.settings.nonce, self.serial);
        let server = text::origin(&self.link.base);
        let more = prompt.instruction.as_deref().unwrap_or_default();
        let message = format!("Sign in to {server}. {more}");
        let params = json!({
            "mode": "url",
            "elicitationId": elicitation,
            "url": prompt.url,
            "message": message.trim_end(),
        });
        let token = id.token();
        let line = format!(
            r#"{{"jsonrpc":"2.0","id":{token},"method":"elicitation/create","params":{params}}}"#
        );
        self.stand_in.elicitation = Some(Elicitation {
            request: id,
            id: elicitation,
            url: prompt.url,
        });
        self.line(line.into());
    }
}

fn is_discovery(entry: &Entry) -> bool {
    entry.era() == Era::Modern && entry.message.method() == "server/discover"
}

/// Whether an answer in the server's place is as good as the server's for now.
fn can_stand_in(method: &str) -> bool {
    matches!(method, "ping" | "logging/setLevel") || empty_list(method).is_some()
}

fn response(id: &Id, result: &Value) -> Bytes {
    let id = id.token();
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).into()
}

/// The list that a method asks for, empty, and the capability it belongs to.
fn empty_list(method: &str) -> Option<(&'static str, Value)> {
    match method {
        "tools/list" => Some(("tools", json!({"tools": []}))),
        "prompts/list" => Some(("prompts", json!({"prompts": []}))),
        "resources/list" => Some(("resources", json!({"resources": []}))),
        "resources/templates/list" => Some(("resources", json!({"resourceTemplates": []}))),
        _ => None,
    }
}

/// A result of `initialize` in the server's place: what it last was, or as little as can be
/// promised, with the notice in front of the instructions. Also the revision it names, and the
/// lists that it promises changes of.
fn provisional(
    known: Option<Map<String, Value>>,
    asked: Option<&str>,
    host: &str,
    notice: &str,
) -> (Value, String, Vec<&'static str>) {
    let mut result = known.unwrap_or_else(|| {
        let mut least = Map::new();
        let capabilities = json!({"tools": {}, "prompts": {}, "resources": {}});
        least.insert("capabilities".to_owned(), capabilities);
        let info = json!({"name": host, "version": "unknown"});
        least.insert("serverInfo".to_owned(), info);
        least
    });
    let text = |name: &str| result.get(name).and_then(Value::as_str).map(str::to_owned);
    let (before, instructions) = (text("protocolVersion"), text("instructions"));
    let asked = asked.filter(|version| revision::is_known(version));
    let version = match (asked, before) {
        (Some(asked), Some(before)) if before.as_str() < asked => before,
        (Some(asked), _) => asked.to_owned(),
        (None, Some(before)) => before,
        (None, None) => revision::NEWEST_WITH_HANDSHAKE.to_owned(),
    };
    let instructions = match instructions {
        Some(instructions) => format!("{notice}\n\n{instructions}"),
        None => notice.to_owned(),
    };
    let mut promised = Vec::new();
    if let Some(Value::Object(capabilities)) = result.get_mut("capabilities") {
        for list in LISTS {
            if let Some(Value::Object(capability)) = capabilities.get_mut(list) {
                capability.insert("listChanged".to_owned(), true.into());
                promised.push(list);
            }
        }
    }
    result.insert("protocolVersion".to_owned(), version.as_str().into());
    result.insert("instructions".to_owned(), instructions.into());
    (result.into(), version, promised)
}
