//! What a modern server's answers mean, whoever asked (MCP 2026-07-28, Streamable HTTP).
//!
//! In: refusals that can be mended, what its lists of tools say, a request given up by closing its
//! exchange. Out: what a legacy client gets to see of it (`to_modern`).

use std::collections::{HashMap, HashSet};

use super::{Bridge, Purpose};
use crate::proto::classify;
use crate::proto::era::evidence;
use crate::proto::era::listing::ListCache;
use crate::proto::era::param_headers::ParamHeaders;
use crate::proto::era::result::{self, Sort};
use crate::proto::era::schemas::Wrapped;
use crate::proto::era::{self, Era, errors};
use crate::proto::ledger::{Entry, Place, Via};
use crate::proto::message::{Id, Message, member};
use crate::proto::{Head, Level, Ticket, limits, revision, text};

/// Results in a row without `resultType` before the server is asked again what it speaks.
const UNTYPED: u32 = 3;

/// What is known of a modern server's tools, and what was done for single calls.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    /// Which arguments are repeated as HTTP fields.
    pub(super) headers: ParamHeaders,
    /// Lists that are still fresh.
    pub(super) cache: ListCache,
    /// What was sent up to here may show the tools as they were before they changed.
    pub(super) changed: Option<Ticket>,
    /// Tools whose results are wrapped for legacy clients.
    pub(super) wrapped: Wrapped,
    /// Requests that were sent again after a refusal, once each.
    mended: HashSet<Id>,
    /// The last progress that a legacy client was told of, by request.
    pub(super) progress: HashMap<Id, f64>,
}

impl Catalog {
    /// A request is over.
    pub(super) fn forget_call(&mut self, id: &Id) {
        self.mended.remove(id);
        self.progress.remove(id);
    }

    /// The server's tools may have changed; `now` is behind every request sent so far.
    pub(super) fn forget_lists(&mut self, now: Ticket) {
        self.cache.forget();
        self.changed = Some(now);
    }
}

impl Bridge {
    /// Whether an open request was sent to a modern server.
    pub(super) fn is_with_modern(&self, id: &Id) -> bool {
        let entry = self.ledger.get(id);
        entry.is_some_and(|entry| entry.via.server() == Era::Modern)
    }

    /// Whether an exchange is one with a modern server.
    pub(super) fn is_of_modern(&self, ticket: Ticket) -> bool {
        match self
            .exchanges
            .get(&ticket)
            .map(|exchange| &exchange.purpose)
        {
            Some(Purpose::Call(id)) => self.is_with_modern(id),
            Some(Purpose::Subscription | Purpose::Discover) => true,
            Some(_) => self.link.modern.is_some(),
            None => false,
        }
    }

    /// A refusal that more can be done about than to pass it on. Whether it was done.
    pub(super) fn modern_refusal(&mut self, id: &Id, head: &Head, messages: &[Message]) -> bool {
        // An error beside another message need not be about this request, which may have run.
        let [error] = messages else { return false };
        if error.error().is_none() {
            return false;
        }
        if !self.is_with_modern(id) {
            return head.status == 400 && self.look_for(id, error);
        }
        match error.error_code() {
            Some(errors::HEADER_MISMATCH) => self.mend_headers(id),
            Some(errors::MISSING_CAPABILITY) => self.declare_tasks(id, error),
            Some(_) if evidence::is_modern_error(error) => self.mend_version(id, error),
            Some(errors::UNSUPPORTED_VERSION) => self.detect_for(id),
            _ if head.status == 400 && speaks_of_the_legacy_era(head, error) => self.detect_for(id),
            _ => false,
        }
    }

    /// The fields of the request do not fit its body: for a call, the server's list of tools says
    /// what is missing.
    fn mend_headers(&mut self, id: &Id) -> bool {
        if !self.catalog.mended.insert(id.clone()) {
            return false;
        }
        let upstream = self.own_id();
        self.ledger.mint(id, upstream);
        let Some(entry) = self.ledger.get_mut(id) else {
            return false;
        };
        entry.place = Place::Parked;
        if entry.message.method() == "tools/call" {
            self.catalog.forget_lists(Ticket(self.serial));
            self.await_tool_list(id);
        } else {
            self.park_request(id);
        }
        true
    }

    /// The server names revisions that it speaks.
    fn mend_version(&mut self, id: &Id, error: &Message) -> bool {
        let via = self.ledger.get(id).map(|entry| entry.via);
        if via != Some(Via::ToModern) {
            return false;
        }
        let versions = error.error().and_then(errors::supported_versions);
        let Some(version) = era::newest_spoken(&versions.unwrap_or_default()) else {
            return false;
        };
        if !self.catalog.mended.insert(id.clone()) {
            return false;
        }
        if let Some(modern) = &mut self.link.modern {
            version.clone_into(&mut modern.version);
        }
        let upstream = self.own_id();
        self.ledger.mint(id, upstream);
        self.park_request(id);
        true
    }

    /// A modern client's answer from a modern server: as it is, but for tools that a client on
    /// HTTP has to leave out.
    pub(super) fn answer_from_modern(&mut self, id: &Id, message: Message) -> Message {
        let Some(entry) = self.ledger.get(id) else {
            return message;
        };
        let method = entry.message.method().to_owned();
        self.count_untyped(&method, &message);
        if method == "tools/list" {
            return self.learn_tools(message);
        }
        self.closed_for_modern_client(id, message)
    }

    /// A page of `tools/list` is learned; tools with invalid annotations are left out (MCP
    /// 2026-07-28, Streamable HTTP, Custom Headers from Tool Parameters).
    pub(super) fn learn_tools(&mut self, message: Message) -> Message {
        let Some(page) = message.result() else {
            return message;
        };
        let learned = self.catalog.headers.learn(page);
        let untold = learned.left_out.len().saturating_sub(limits::LEFT_OUT);
        for (name, reason) in learned.left_out.into_iter().take(limits::LEFT_OUT) {
            self.say(
                Level::Warn,
                format!("tool \"{name}\" is left out: its x-mcp-header is invalid: {reason}"),
            );
        }
        if untold > 0 {
            let text = format!("{untold} more tools of this list are left out for such reasons");
            self.say(Level::Warn, text);
        }
        learned
            .result
            .and_then(|edited| Message::parse(message.with_result(&edited)).ok())
            .unwrap_or(message)
    }

    /// A server whose results have no type may have stopped to be a modern one.
    pub(super) fn count_untyped(&mut self, method: &str, message: &Message) {
        let Some(result) = message.result() else {
            return;
        };
        let typed = member(result, "resultType").is_some();
        let Some(modern) = &mut self.link.modern else {
            return;
        };
        modern.untyped = if typed { 0 } else { modern.untyped + 1 };
        if modern.untyped == UNTYPED {
            let method = text::sanitize(method, 80);
            self.debug(|| format!("the result of {method} has no resultType, like those before"));
            self.look();
        }
    }

    /// The client gave a request up: closing its exchange tells the server (MCP 2026-07-28,
    /// Streamable HTTP, Cancellation).
    pub(super) fn abandon(&mut self, entry: &Entry) {
        match entry.place {
            Place::Exchange(ticket) => self.cancel_exchange(ticket),
            Place::Parked => {
                if let Some(id) = entry.message.id() {
                    self.authorizing.forget(id);
                }
            }
            Place::Held | Place::Elsewhere | Place::Waiting(_) => {}
        }
    }

    /// What sort of result a modern server gave.
    pub(super) fn sort_of(message: &Message) -> Sort {
        message.result().map_or(Sort::Complete, result::sort)
    }
}

/// Whether an error speaks of sessions, or of revisions with a handshake only.
fn speaks_of_the_legacy_era(head: &Head, error: &Message) -> bool {
    classify::session_is_named_lost(head, error.text())
        || revision::named_in_refusal(error.text(), "").is_some()
}
