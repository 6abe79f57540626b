//! A modern client's requests to a legacy server, and what it gets back.
//!
//! In: a session in the client's name, requests without what only a modern one has, results with
//! what only a modern one has. Out: the server's questions (`carrier`, `suspended`, `replays`), its
//! notifications (`upward_notices`, `listeners`), log levels (`levels`), tasks (`upward_tasks`), the
//! session itself (`handshake`, `recover`, `retired`).

use std::collections::HashMap;

use bytes::Bytes;

use super::handshake::has_same_words;
use super::levels::Levels;
use super::replays::Replays;
use super::retired::Retired;
use super::to_modern::{list_changed, severity};
use super::upward_tasks::{Ask, UpwardTasks};
use super::{Bridge, Phase};
use crate::proto::era::capabilities::{self, Offered};
use crate::proto::era::param_headers;
use crate::proto::era::{SPOKEN, discover, errors, meta, result};
use crate::proto::failure::Failure;
use crate::proto::json;
use crate::proto::ledger::Via;
use crate::proto::limits;
use crate::proto::message::{Id, Message, member};
use crate::proto::transport::Transport;

/// What a session holds for modern clients.
#[derive(Debug, Default)]
pub(super) struct Upward {
    /// What the server offers.
    pub(super) offered: Offered,
    /// Its identity, raw JSON.
    pub(super) server_info: Option<String>,
    /// Requests that wait until it is known whether the server has a stream of its own.
    waiting: Vec<Id>,
    /// That was waited for long enough.
    waited: bool,
    /// Requests of our own that a modern client's needs.
    pub(super) asks: HashMap<Id, Ask>,
    pub(super) levels: Levels,
    pub(super) replays: Replays,
    /// Sessions that end when their requests are done.
    pub(super) retired: Vec<Retired>,
    pub(super) tasks: UpwardTasks,
}

impl Bridge {
    // The session.

    /// The session stands: its `notifications/initialized` is ours to send.
    pub(super) fn open_for_modern(&mut self) {
        self.stand_in.is_over();
        let text = Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        if let Ok(message) = Message::parse(text) {
            self.post_initialized(&message, false);
        }
    }

    /// Nobody knows what the server speaks, for it could not be asked.
    pub(super) fn modern_contact_failed(&mut self, failure: &Failure) {
        self.stand_in.is_over();
        self.link.phase = Phase::Lost {
            since: self.now,
            failure: failure.clone(),
        };
        self.fail_parked(failure);
    }

    /// The legacy server's own words, noted when its session stands.
    pub(super) fn note_session(&mut self, result: &str) {
        let offered = member(result, "capabilities").map_or_else(Offered::default, Offered::read);
        self.upward.offered = offered;
        self.upward.server_info = member(result, "serverInfo").map(str::to_owned);
        self.upward.waited = false;
        self.upward_asks_lost();
    }

    /// A client that was served as a modern one sends `initialize` after all: the session that was
    /// opened for it is its own, if it was opened with the same words. Whether it is answered.
    pub(super) fn joins_session(&mut self, id: &Id) -> bool {
        let Some(entry) = self.ledger.get(id) else {
            return true;
        };
        let (Some(opened), Some(result)) = (&self.link.opened_with, &self.link.initialize_result)
        else {
            return false;
        };
        let open = matches!(self.link.phase, Phase::Open | Phase::Barrier(_));
        if !open || self.client.stated.is_none() || !has_same_words(opened, &entry.message) {
            return false;
        }
        let answer = result.result().unwrap_or("{}").to_owned();
        self.client.list_changed = list_changed(self.upward.offered);
        self.client.version =
            member(&answer, "protocolVersion").and_then(|raw| serde_json::from_str(raw).ok());
        self.respond_with(id, "result", &answer);
        true
    }

    // Requests.

    /// Requests that a legacy server does not know, or knows otherwise.
    pub(super) fn answer_for_legacy(&mut self, id: &Id) -> bool {
        let Some(entry) = self.ledger.get(id) else {
            return true;
        };
        let message = entry.message.clone();
        let stated = entry.stated.clone().unwrap_or_default();
        if !SPOKEN.contains(&stated.version.as_str()) {
            let error = errors::unsupported_version(&stated.version);
            self.respond_with(id, "error", &error);
            return true;
        }
        let level = stated.log_level.as_deref();
        if level.is_some_and(|level| severity(level).is_none()) {
            let text = format!(
                "mcp-bridge: \"{}\" is none of the known log levels",
                meta::LOG_LEVEL
            );
            self.respond_error(id, errors::INVALID_PARAMS, &text);
            return true;
        }
        match message.method() {
            "server/discover" | "subscriptions/listen" if self.awaits_stream(id) => {}
            "server/discover" => self.discover_from_initialize(id),
            "subscriptions/listen" => self.open_listener(id),
            "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => {
                self.respond_error(id, errors::METHOD_NOT_FOUND, "Method not found");
            }
            method if method.starts_with("tasks/") => {
                self.respond_error(id, errors::METHOD_NOT_FOUND, "Method not found");
            }
            _ => {
                return self.widens_session(id) || self.sets_level(id) || self.resume_suspended(id);
            }
        }
        true
    }

    /// Whether the bridge can tell of changes: the server has a stream to tell of them.
    pub(super) fn delivers_changes(&self) -> bool {
        self.link.transport == Some(Transport::Sse) || self.link.listen.may_open()
    }

    /// Lets a request wait until the server has opened its stream or declined to.
    fn awaits_stream(&mut self, id: &Id) -> bool {
        if !self.link.listen.is_opening() || self.upward.waited {
            return false;
        }
        if self.upward.waiting.contains(id) {
            self.upward.waited = true;
            return false;
        }
        self.upward.waiting.push(id.clone());
        self.wait(id, limits::STREAM_OPENS, super::Then::Send { mint: false });
        true
    }

    /// The server has opened its stream, or declined to.
    pub(super) fn stream_settled(&mut self) {
        for id in std::mem::take(&mut self.upward.waiting) {
            if self.ledger.is_waiting(&id) {
                self.park_request(&id);
            }
        }
    }

    /// `server/discover`, answered with what the server said to `initialize`.
    ///
    /// A client that could use either era is not sent to `initialize` by default, though that is
    /// the more faithful way: a client that speaks the modern era alone could not follow, and which
    /// of the two it is cannot be told (MCP 2026-07-28, Base Protocol, `_meta`: behaviour must not
    /// depend on `clientInfo`).
    fn discover_from_initialize(&mut self, id: &Id) {
        if self.settings.legacy_first {
            return self.respond_error(id, errors::METHOD_NOT_FOUND, "Method not found");
        }
        let delivers = self.delivers_changes();
        let result = self.link.initialize_result.as_ref();
        let result = result.and_then(Message::result).unwrap_or("{}");
        let discovered = discover::from_initialize(result, delivers);
        self.respond_with(id, "result", &discovered);
    }

    /// The request as a legacy server wants it. `None`: it was answered with an error.
    pub(super) fn request_to_legacy(&mut self, id: &Id) -> Option<Message> {
        let message = self.ledger.get(id)?.message.clone();
        self.note_upward_sent(id);
        let Some(params) = message.params() else {
            return Some(message);
        };
        let mut edited = meta::unstamped(params);
        if meta::progress_token(Some(params)).is_some()
            && let Some(token) = self.upward_token(id)
        {
            let params = edited.as_deref().unwrap_or(params);
            edited = Some(meta::with_progress_token(params, &json::quote(&token)));
        }
        if let Some(task) = self.as_task(id, edited.as_deref().unwrap_or(params)) {
            edited = Some(task);
        }
        match edited {
            None => Some(message),
            Some(params) => self.rewritten(id, message.with_params(&params)),
        }
    }

    /// The progress token that the server knows a request by: its own changes when the request is
    /// taken up by another.
    fn upward_token(&mut self, id: &Id) -> Option<String> {
        self.serial += 1;
        let new = format!("mb-{}-p{}", self.settings.nonce, self.serial);
        let call = self.suspended.calls.get_mut(id)?;
        Some(call.token.get_or_insert(new).clone())
    }

    // Answers.

    /// What a modern client gets of a legacy server's answer. `None`: not yet.
    pub(super) fn answer_to_modern_client(&mut self, id: &Id, message: Message) -> Option<Message> {
        let method = self.ledger.get(id)?.message.method().to_owned();
        if let Some(error) = message.error() {
            if self.retry_as_task(id, &message) {
                return None;
            }
            if message.error_code() == Some(errors::URL_ELICITATION_REQUIRED) {
                self.on_url_required(id, &message);
                return None;
            }
            if let Some(lacked) = self.lacked(id, &message) {
                return self.rewritten(id, message.with_error(&lacked));
            }
            return Some(match errors::to_modern(&method, error) {
                Some(edited) => self.rewritten(id, message.with_error(&edited))?,
                None => message,
            });
        }
        let result = message.result()?;
        if self.follow_task(id, result) {
            return None;
        }
        if let Some(lacked) = self.lacked(id, &message) {
            let token = message.id().unwrap_or(id).token();
            let answer = format!(r#"{{"jsonrpc":"2.0","id":{token},"error":{lacked}}}"#);
            return self.rewritten(id, answer.into());
        }
        let page = match method.as_str() {
            "tools/list" => param_headers::without_annotations(result),
            _ => None,
        };
        let server_info = self.upward.server_info.as_deref();
        let edited = result::to_modern(&method, page.as_deref().unwrap_or(result), server_info);
        self.rewritten(id, message.with_result(&edited))
    }

    /// The revision that the server settled on.
    pub(super) fn server_version(&self) -> String {
        let version = self.link.version.as_ref();
        let version = version.and_then(|value| value.to_str().ok());
        version.unwrap_or_default().to_owned()
    }

    /// Whether an open request goes to a legacy server for a modern client.
    pub(super) fn is_upward(&self, id: &Id) -> bool {
        let entry = self.ledger.get(id);
        entry.is_some_and(|entry| entry.via == Via::ToLegacy)
    }

    /// What the session was opened with: the capabilities declared to the server, raw JSON.
    pub(super) fn declared(&self) -> &str {
        let opened = self.link.opened_with.as_ref();
        let params = opened.and_then(Message::params);
        params
            .and_then(|params| member(params, "capabilities"))
            .unwrap_or("{}")
    }

    /// The capabilities of the session and of this request together, if the request has more.
    pub(super) fn widened(&self, id: &Id) -> Option<String> {
        let stated = self.ledger.get(id)?.stated.as_ref()?;
        let wanted = capabilities::client_to_legacy(stated.capabilities.as_deref()?);
        let declared = self.declared();
        (!capabilities::is_within(&wanted, declared))
            .then(|| capabilities::union(declared, &wanted))
    }
}
