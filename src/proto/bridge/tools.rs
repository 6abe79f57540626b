//! Tools that are hidden from the client: `--ignore-tool`, `--only-tool`, `--read-only`.
//!
//! In: judging calls, and for `--read-only` reading the server's list of tools where the client has
//! not done so. Out: patterns and cutting lists (`filter`), calls that may pass (`calls`).

use super::{Bridge, Exchange, Own, Phase, Timer};
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::filter::{self, Refusal};
use crate::proto::ledger::Place;
use crate::proto::message::{Id, Message, member};
use crate::proto::{Body, Head, Ticket, classify, limits, text};

/// What becomes of a call.
pub(super) enum Verdict {
    Allowed,
    Refused(Failure),
    /// Refused as well, unless the server's list says otherwise.
    Unlisted(Failure),
}

/// Calls that nobody can judge before the server's list was read, and the reading.
#[derive(Debug, Default)]
pub(super) struct Listing {
    waiting: Vec<Id>,
    bytes: usize,
    fetch: Option<Fetch>,
    serial: u64,
}

#[derive(Debug, Default)]
struct Fetch {
    pages: usize,
    /// The page to ask for, raw JSON; the first has none.
    cursor: Option<String>,
    /// It was asked for.
    sent: bool,
    /// It was asked for again after an answer that never came.
    repeated: bool,
    /// How often other credentials were got for it.
    authorizations: u32,
}

impl Listing {
    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Bridge {
    /// Judges a `tools/call`.
    pub(super) fn judge_call(&self, call: &Message) -> Verdict {
        if !self.settings.filter.is_active() {
            return Verdict::Allowed;
        }
        let failure = |text: String| Failure::new(Kind::ToolNotAvailable, Executed::No, text);
        let Some(name) = call.params().and_then(filter::called_tool) else {
            let text = "the call does not name one tool, so the tool options cannot be applied; the \
                        client has to send one \"name\"";
            return Verdict::Refused(failure(text.to_owned()));
        };
        let Some(refusal) = self.settings.filter.refusal(&name) else {
            return Verdict::Allowed;
        };
        let name = text::sanitize(&name, 100);
        let flag = refusal.flag();
        let hidden = format!("tool \"{name}\" is not available: hidden by {flag}");
        match refusal {
            Refusal::Ignored | Refusal::NotOnly => Verdict::Refused(failure(hidden)),
            Refusal::NotReadOnly => Verdict::Refused(failure(format!(
                "{hidden}: the server does not mark it as read-only"
            ))),
            Refusal::NotListed => {
                Verdict::Unlisted(failure(format!("{hidden}: the server does not list it")))
            }
        }
    }

    /// Lets an open call wait until the server's list was read.
    pub(super) fn await_tool_list(&mut self, id: &Id) {
        let Some(entry) = self.ledger.get(id) else {
            return;
        };
        self.listing.bytes += entry.message.text().len();
        self.listing.waiting.push(id.clone());
        if matches!(self.link.phase, Phase::Lost { .. }) {
            self.try_to_reopen();
        }
    }

    /// Asks for a page of the list, where one is wanted and the link allows.
    pub(super) fn pump_tool_list(&mut self) {
        if self.listing.waiting.is_empty()
            || self.authorizing.holds_traffic()
            || !matches!(self.link.phase, Phase::Open)
        {
            return;
        }
        if self.listing.fetch.is_none() {
            self.listing.serial += 1;
            let serial = self.listing.serial;
            self.after(limits::TOOL_LIST, Timer::ToolList(serial));
        }
        let fetch = self.listing.fetch.get_or_insert_default();
        if std::mem::replace(&mut fetch.sent, true) {
            return;
        }
        if fetch.pages >= limits::TOOL_PAGES {
            return self.tool_list_failed(&self.unreadable("it keeps changing"));
        }
        let params = fetch.cursor.as_ref();
        let params = params.map(|cursor| format!(r#"{{"cursor":{cursor}}}"#));
        self.debug(|| "asking the server for its tools".into());
        self.send_own("tools/list", params.as_deref(), Own::Tools);
    }

    /// A page of the list, or the server's own error.
    pub(super) fn on_tool_list(&mut self, message: &Message) {
        let Some(result) = message.result() else {
            return self.tool_list_failed(&self.unreadable(&message.error_text()));
        };
        // The filter learns from the page; what it cuts out is nobody's concern here.
        let _ = self.catalog.headers.learn(result);
        if let Err(error) = self.settings.filter.edit_list(result) {
            return self.tool_list_failed(&self.unreadable(&error.to_string()));
        }
        let next = member(result, "nextCursor").filter(|cursor| cursor.starts_with('"'));
        let Some(fetch) = &mut self.listing.fetch else {
            return;
        };
        let pages = fetch.pages + 1;
        match next {
            Some(next) if pages < limits::TOOL_PAGES && fetch.cursor.as_deref() != Some(next) => {
                *fetch = Fetch {
                    pages,
                    cursor: Some(next.to_owned()),
                    ..Fetch::default()
                };
            }
            _ => self.tool_list_read(),
        }
    }

    /// An HTTP error in place of a page.
    pub(super) fn on_tool_list_refused(&mut self, exchange: &Exchange, head: &Head, body: &Body) {
        let refused = self.refusal(head);
        if let Some(fetch) = &mut self.listing.fetch
            && refused.is_some()
            && self
                .settings
                .credentials
                .may_be_renewed(fetch.authorizations)
        {
            fetch.authorizations += 1;
            fetch.sent = false;
            return self.authorize(exchange.authorizations, refused, "tools/list");
        }
        let failure = if refused.is_some() || head.status == 401 {
            self.unauthorized(head, body)
        } else {
            self.unreadable(&classify::describe(head, body))
                .with_status(head.status)
        };
        self.tool_list_failed(&failure);
    }

    /// No answer came for a page: reading does no harm, so it is asked for once more.
    pub(super) fn on_tool_list_lost(&mut self) {
        let Some(fetch) = &mut self.listing.fetch else {
            return;
        };
        if std::mem::replace(&mut fetch.repeated, true) {
            self.tool_list_failed(&self.unreadable("the server did not answer"));
        } else {
            fetch.sent = false;
        }
    }

    pub(super) fn on_tool_list_timeout(&mut self, serial: u64) {
        if serial == self.listing.serial && self.listing.fetch.is_some() {
            let seconds = limits::TOOL_LIST.as_secs();
            self.tool_list_failed(&self.unreadable(&format!("it took longer than {seconds} s")));
        }
    }

    /// The server's tools may have changed: what was learned counts no more, and a reading begins
    /// anew.
    pub(super) fn forget_tools(&mut self) {
        self.settings.filter.forget();
        self.catalog.forget_lists(Ticket(self.serial));
        self.drop_tool_pages();
        if let Some(fetch) = &mut self.listing.fetch {
            *fetch = Fetch {
                pages: fetch.pages + usize::from(fetch.sent),
                ..Fetch::default()
            };
        }
    }

    /// Pages that were asked for are waited for no longer.
    fn drop_tool_pages(&mut self) {
        let pages = self.own.extract_if(|_, own| *own == Own::Tools);
        for id in pages.map(|(id, _)| id).collect::<Vec<_>>() {
            if let Some(ticket) = self.exchange_of(&id) {
                self.cancel_exchange(ticket);
            }
        }
    }

    /// Answers every waiting call with the same error.
    pub(super) fn tool_list_failed(&mut self, failure: &Failure) {
        for id in self.take_unjudged() {
            self.fail(&id, failure);
        }
    }

    /// The list is complete: every waiting call is judged by it.
    fn tool_list_read(&mut self) {
        for id in self.take_unjudged() {
            let Some(entry) = self.ledger.get(&id) else {
                continue;
            };
            match self.judge_call(&entry.message) {
                Verdict::Allowed => self.park_request(&id),
                Verdict::Refused(failure) | Verdict::Unlisted(failure) => self.fail(&id, &failure),
            }
        }
    }

    fn unreadable(&self, why: &str) -> Failure {
        let who = if self.settings.filter.is_read_only() {
            "--read-only"
        } else {
            "the call"
        };
        let text = format!(
            "{who} needs the server's list of tools, which cannot be read: {why}; try again later"
        );
        Failure::new(Kind::ToolNotAvailable, Executed::No, text)
    }

    /// The calls that still wait; the reading is over.
    fn take_unjudged(&mut self) -> Vec<Id> {
        self.listing.fetch = None;
        self.listing.bytes = 0;
        self.drop_tool_pages();
        let mut waiting = std::mem::take(&mut self.listing.waiting);
        // The client may have cancelled one, and even used its id again.
        waiting.retain(|id| {
            self.ledger.get(id).is_some_and(|entry| {
                entry.place == Place::Parked && entry.message.method() == "tools/call"
            })
        });
        waiting
    }
}
