//! A legacy client's requests to a modern server, and what it gets back.
//!
//! In: the handshake made from what the server told, `_meta` on every request, what the bridge
//! answers itself, results and notifications in a form the client knows. Out: questions (`rounds`),
//! changes (`subscription`), the HTTP side (`modern`).

use bytes::Bytes;
use serde_json::json;

use super::identity::Identity;
use super::{Bridge, Purpose};
use crate::proto::era::capabilities::{self, Offered};
use crate::proto::era::meta::{self, Stamp};
use crate::proto::era::notices;
use crate::proto::era::result::{self, Sort};
use crate::proto::era::{errors, values};
use crate::proto::ledger::{Place, Via};
use crate::proto::message::{Id, Message, member};
use crate::proto::revision;
use crate::proto::{Ticket, text};

/// Severities of log messages, least first (RFC 5424 §6.2.1).
pub(super) const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

/// How severe a level is; `None` for a word that is none.
pub(super) fn severity(level: &str) -> Option<usize> {
    LEVELS.iter().position(|known| *known == level)
}

impl Bridge {
    // The handshake.

    /// Answers the client's `initialize` with what the server told of itself.
    pub(super) fn initialize_from_discovered(&mut self, id: &Id) {
        let result = self.discovered_for_client();
        let offered = self
            .link
            .modern
            .as_ref()
            .map_or_else(Offered::default, |modern| modern.offered);
        self.client.list_changed = list_changed(offered);
        self.client.log_level = None;
        self.client.subscriptions.clear();
        self.respond_with(id, "result", &result);
    }

    /// The result of `initialize` that the server's own words make; the client is told its revision.
    pub(super) fn discovered_for_client(&mut self) -> String {
        let asked: Option<String> = self
            .client
            .initialize
            .as_ref()
            .and_then(|initialize| initialize.param("protocolVersion"));
        let host = self.link.base.host_str().unwrap_or_default();
        let host = text::sanitize(host, 100);
        let Some(modern) = &self.link.modern else {
            return "{}".to_owned();
        };
        let (result, told) = modern.discovered.initialize_result(asked.as_deref(), &host);
        self.client.version = Some(told);
        result
    }

    /// The client has said that it is initialized, and so is everything else.
    pub(super) fn ready_for_client(&mut self) {
        self.release_held();
        self.refresh_subscription();
    }

    /// Anything may have changed since the client last asked.
    pub(super) fn tell_of_changes(&mut self) {
        self.forget_tools();
        for list in self.client.list_changed.clone() {
            let text =
                format!(r#"{{"jsonrpc":"2.0","method":"notifications/{list}/list_changed"}}"#);
            self.line_when_initialized(text.into(), false);
        }
    }

    // Requests.

    /// Parameters with what every request has to say, in the client's name; for requests of our
    /// own.
    pub(super) fn stamped(&self, params: Option<&str>, set: &[(&str, &str)]) -> Option<String> {
        self.stamped_as(&self.identity(), params, set)
    }

    /// The same for a request about a task, which only a client may send that knows tasks.
    pub(super) fn stamped_for_task(&self, params: Option<&str>) -> Option<String> {
        let mut identity = self.identity();
        identity.capabilities = capabilities::with_tasks(&identity.capabilities);
        self.stamped_as(&identity, params, &[])
    }

    fn stamped_as(
        &self,
        identity: &Identity,
        params: Option<&str>,
        set: &[(&str, &str)],
    ) -> Option<String> {
        let modern = self.link.modern.as_ref()?;
        let stamp = Stamp {
            version: &modern.version,
            capabilities: &identity.capabilities,
            client_info: identity.client_info.as_deref(),
            log_level: None,
        };
        meta::stamped(params, &stamp, &[], set)
    }

    /// The request as a modern server wants it. `None`: it was answered with an error.
    pub(super) fn request_to_modern(&mut self, id: &Id) -> Option<Message> {
        let message = self.ledger.get(id)?.message.clone();
        let identity = self.identity();
        let capabilities = self.capabilities_for(id, identity.capabilities);
        let level = self.log_level();
        let stamp = Stamp {
            version: &self.link.modern.as_ref()?.version,
            capabilities: &capabilities,
            client_info: identity.client_info.as_deref(),
            log_level: level.as_deref(),
        };
        // A client cannot know that the server offers no tasks of the older kind.
        let remove: &[&str] = match message.method() {
            "tools/call" => &["task", "inputResponses", "requestState"],
            "prompts/get" | "resources/read" => &["inputResponses", "requestState"],
            _ => &[],
        };
        let members = self.round_members(id);
        let set: Vec<(&str, &str)> = members
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let Some(params) = meta::stamped(message.params(), &stamp, remove, &set) else {
            let text = "mcp-bridge: \"params\" must be an object";
            self.respond_error(id, errors::INVALID_PARAMS, text);
            return None;
        };
        self.rewritten(id, message.with_params(&params))
    }

    /// The level that the client set last. Before that no request asks for logs, and so none come
    /// (MCP 2026-07-28, Logging): that is the server's rule, and a client that wants them says so.
    fn log_level(&self) -> Option<String> {
        let params = self.client.log_level.as_deref()?;
        serde_json::from_str(member(params, "level")?).ok()
    }

    /// Requests that have no counterpart in the modern era, and lists that are still fresh.
    pub(super) fn answer_for_modern(&mut self, id: &Id) -> bool {
        let Some(entry) = self.ledger.get(id) else {
            return true;
        };
        let message = entry.message.clone();
        match message.method() {
            "ping" => self.respond_with(id, "result", "{}"),
            "logging/setLevel" => self.set_level(id, &message),
            "resources/subscribe" => self.subscribe(id, &message),
            "resources/unsubscribe" => self.unsubscribe(id, &message),
            "tools/list" => return self.answer_from_cache(id, &message),
            method if method.starts_with("tasks/") => {
                let text = "Method not found";
                self.respond_error(id, errors::METHOD_NOT_FOUND, text);
            }
            _ => return false,
        }
        true
    }

    fn set_level(&mut self, id: &Id, message: &Message) {
        let logs = self
            .link
            .modern
            .as_ref()
            .is_some_and(|modern| modern.offered.logging);
        if !logs {
            return self.respond_error(id, errors::METHOD_NOT_FOUND, "Method not found");
        }
        let level: Option<String> = message.param("level");
        if level.and_then(|level| severity(&level)).is_none() {
            let text = "mcp-bridge: \"level\" is none of the known log levels";
            return self.respond_error(id, errors::INVALID_PARAMS, text);
        }
        self.client.log_level = message.params().map(str::to_owned);
        self.respond_with(id, "result", "{}");
    }

    /// Keeps a page of the list of tools as the server says that it may be, unless the list has
    /// changed since it was asked for (MCP 2026-07-28, Caching, Interaction with Notifications).
    pub(super) fn keep_fresh(&mut self, id: &Id, message: &Message) {
        let Some(entry) = self.ledger.get(id) else {
            return;
        };
        if entry.via != Via::ToModern || entry.message.method() != "tools/list" {
            return;
        }
        if message.error_code() == Some(errors::INVALID_PARAMS) {
            // Perhaps for its cursor, and then all pages are of another list.
            self.catalog.cache.forget();
        } else if let Place::Exchange(ticket) = entry.place
            && Some(ticket) > self.catalog.changed
            && let Some(page) = message.result()
        {
            let credentials = u64::from(self.authorizing.done());
            let cache = &mut self.catalog.cache;
            cache.keep(entry.message.params(), page, credentials, self.now);
        }
    }

    /// A page of the list of tools that the server said may be kept.
    fn answer_from_cache(&mut self, id: &Id, message: &Message) -> bool {
        let credentials = u64::from(self.authorizing.done());
        let page = self
            .catalog
            .cache
            .get(message.params(), credentials, self.now);
        let Some(page) = page else { return false };
        let token = message.id().unwrap_or(id).token();
        let text = format!(r#"{{"jsonrpc":"2.0","id":{token},"result":{page}}}"#);
        let Ok(message) = Message::parse(text.into()) else {
            return false;
        };
        self.debug(|| "tools/list is still fresh".into());
        self.answer_open(id, message);
        true
    }

    // Answers.

    /// What a legacy client gets of a modern server's answer. `None`: not yet.
    pub(super) fn answer_to_legacy_client(&mut self, id: &Id, message: Message) -> Option<Message> {
        let request = self.ledger.get(id)?.message.clone();
        let method = request.method();
        if let Some(error) = message.error() {
            if message.error_code() == Some(errors::MISSING_CAPABILITY)
                && self.declare_tasks(id, &message)
            {
                return None;
            }
            let uri = match method {
                "resources/read" => request.param::<String>("uri"),
                _ => None,
            };
            let edited = errors::to_legacy(error, uri.as_deref());
            return Some(match edited {
                Some(edited) => self.rewritten(id, message.with_error(&edited))?,
                None => message,
            });
        }
        self.count_untyped(method, &message);
        match Self::sort_of(&message) {
            Sort::Complete => {}
            Sort::InputRequired(asked) => {
                self.on_input_required(id, asked);
                return None;
            }
            Sort::Task => {
                self.on_task(id, message.result().unwrap_or_default());
                return None;
            }
            Sort::Unknown(kind) => {
                let kind = text::sanitize(&kind, 40);
                let text = format!("mcp-bridge: the server's result is of an unknown type, {kind}");
                self.respond_error(id, errors::INTERNAL, &text);
                return None;
            }
            Sort::Malformed(what) => {
                let text = format!("mcp-bridge: the server's result cannot be read: {what}");
                self.respond_error(id, errors::INTERNAL, &text);
                return None;
            }
        }
        self.complete_for_legacy(id, &request, message)
    }

    fn complete_for_legacy(
        &mut self,
        id: &Id,
        request: &Message,
        message: Message,
    ) -> Option<Message> {
        let message = match request.method() {
            "tools/list" => self.learn_tools(message),
            _ => message,
        };
        let result = result::to_legacy(message.result()?);
        let told = self.client.version.clone();
        let told = told.as_deref().unwrap_or(revision::NEWEST_WITH_HANDSHAKE);
        let wrapped = &mut self.catalog.wrapped;
        let edited = match request.method() {
            "tools/list" => values::tools(told, &result, wrapped),
            "tools/call" => {
                let tool: String = request.param("name").unwrap_or_default();
                values::call_result(told, &tool, wrapped, &result)
            }
            "prompts/get" => values::prompt_result(told, &result),
            _ => None,
        };
        let edited = edited.unwrap_or(result);
        self.rewritten(id, message.with_result(&edited))
    }

    /// A request, or the answer to it, in its new form. `None`: what is around it now makes it too
    /// deep to be passed on, and the request was answered with an error.
    pub(super) fn rewritten(&mut self, id: &Id, text: Bytes) -> Option<Message> {
        let message = Message::parse(text).ok();
        if message.is_none() {
            let text = "mcp-bridge: what was to be passed on is nested too deeply for that";
            self.respond_error(id, errors::INTERNAL, text);
        }
        message
    }

    // Notifications.

    /// A notification of a modern server. Whether it is settled.
    pub(super) fn notice_from_modern(&mut self, ticket: Ticket, message: &Message) -> bool {
        if !self.is_of_modern(ticket) {
            return false;
        }
        let purpose = self.exchanges.get(&ticket);
        match purpose.map(|exchange| exchange.purpose.clone()) {
            Some(Purpose::Subscription) => self.on_subscription_notice(ticket, message),
            Some(Purpose::Call(id)) => {
                let to_legacy = self
                    .ledger
                    .get(&id)
                    .is_some_and(|entry| entry.stated.is_none());
                if to_legacy {
                    self.notice_to_legacy_client(&id, message);
                } else {
                    self.notice_to_modern_client(&id, message);
                }
            }
            _ => {}
        }
        true
    }

    fn notice_to_legacy_client(&mut self, id: &Id, message: &Message) {
        match message.method() {
            "notifications/progress" => {
                let request = self.ledger.get(id).map(|entry| &entry.message);
                let own = request.and_then(|request| meta::progress_token(request.params()));
                let named = message
                    .params()
                    .and_then(|params| member(params, "progressToken"));
                if own.is_none() || own.and_then(Id::from_raw) != named.and_then(Id::from_raw) {
                    return;
                }
                let progress: Option<f64> = message.param("progress");
                if !self.passes_progress_of(id, progress) {
                    return;
                }
                let last = self.catalog.progress.get(id).copied();
                let Some(progress) = progress.filter(|now| last.is_none_or(|last| *now > last))
                else {
                    return;
                };
                self.catalog.progress.insert(id.clone(), progress);
            }
            "notifications/message" => {
                let level: Option<String> = message.param("level");
                let level = level.and_then(|level| severity(&level));
                let wanted = self.log_level().and_then(|level| severity(&level));
                if wanted.is_none() || level.is_some_and(|level| Some(level) < wanted) {
                    return;
                }
            }
            "notifications/cancelled" | "notifications/subscriptions/acknowledged" => return,
            _ => {}
        }
        self.line_when_initialized(notices::untagged(message), false);
    }
}

/// The lists of whose changes a server tells.
pub(super) fn list_changed(offered: Offered) -> Vec<&'static str> {
    [
        (offered.tools_changed, "tools"),
        (offered.prompts_changed, "prompts"),
        (offered.resources_changed, "resources"),
    ]
    .into_iter()
    .filter_map(|(offered, name)| offered.then_some(name))
    .collect()
}

/// Whether a notification of the client has a meaning in the modern era.
pub(super) fn passes_to_modern(note: &Message) -> bool {
    !matches!(
        note.method(),
        "notifications/cancelled"
            | "notifications/initialized"
            | "notifications/progress"
            | "notifications/roots/list_changed"
    )
}

/// A failed call in the words of a tool.
pub(super) fn tool_error(text: &str) -> String {
    json!({"content": [{"type": "text", "text": text}], "isError": true}).to_string()
}
