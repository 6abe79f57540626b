//! Credentials that were refused, and what waits for others.
//!
//! In: what counts as a refusal, who waits, how often. Out: getting credentials (the driver's
//! business), what the client hears meanwhile (`stand_in`).

use super::{Bridge, Exchange, Timer};
use crate::proto::auth::challenge::Challenge;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::ledger::Place;
use crate::proto::message::Id;
use crate::proto::{Body, Head, Level, Output, Prompt, Refused, classify, filter, limits, text};

/// Where credentials come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// The user gave an `Authorization` header: it is what it is.
    Given,
    /// The user's header commands make them; they are run again once for a request.
    Commands,
    /// They can be got by signing in.
    #[default]
    SignIn,
}

impl Credentials {
    /// Whether other ones may be got for something that was refused this often.
    pub(super) fn may_be_renewed(self, times: u32) -> bool {
        match self {
            Self::Given => false,
            Self::Commands => times < 1,
            Self::SignIn => times < limits::AUTHORIZATIONS,
        }
    }
}

/// Other credentials being got, one attempt for everybody.
#[derive(Debug, Default)]
pub(super) struct Authorizing {
    under_way: bool,
    done: u32,
    prompt: Option<Prompt>,
    /// Refused requests, with their sizes in bytes.
    waiting: Vec<(Id, usize)>,
    /// Operations that were refused at first and are not any more.
    succeeded: Vec<String>,
}

impl Authorizing {
    /// How often other credentials were got, or were not to be had.
    pub(super) fn done(&self) -> u32 {
        self.done
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// Whether nothing is sent: it will only take a moment. While a person is waited for,
    /// requests that need no credentials go on.
    pub(super) fn holds_traffic(&self) -> bool {
        self.under_way && self.prompt.is_none()
    }

    /// What the person has to do.
    pub(super) fn prompt(&self) -> Option<&Prompt> {
        self.prompt.as_ref()
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.waiting.iter().map(|(_, size)| size).sum()
    }

    /// The client has cancelled this request.
    pub(super) fn forget(&mut self, id: &Id) {
        self.waiting.retain(|(waiting, _)| waiting != id);
    }

    /// A request has another id now.
    pub(super) fn rename(&mut self, id: &Id, new: &Id) {
        for (waiting, _) in &mut self.waiting {
            if waiting == id {
                *waiting = new.clone();
            }
        }
    }

    /// Everything that waits.
    pub(super) fn take_waiting(&mut self) -> Vec<Id> {
        std::mem::take(&mut self.waiting)
            .into_iter()
            .map(|(id, _)| id)
            .collect()
    }
}

impl Bridge {
    /// Whether this answer says that the credentials do not suffice: any 401, and a 403 whose
    /// challenge names the token or its scope (RFC 6750 §3.1).
    pub(super) fn refusal(&self, head: &Head) -> Option<Refused> {
        if !matches!(head.status, 401 | 403) {
            return None;
        }
        let challenge = Challenge::parse(&head.headers);
        let names_token = matches!(
            challenge.error.as_deref(),
            Some("insufficient_scope" | "invalid_token")
        );
        let counts = match self.settings.credentials {
            Credentials::SignIn => head.status == 401 || names_token,
            Credentials::Given | Credentials::Commands => head.status == 401,
        };
        counts.then(|| Refused {
            credentials: head.credentials,
            challenge,
            operation: String::new(),
            succeeded: Vec::new(),
        })
    }

    /// Asks for other credentials, unless that is under way or was done since the refused request
    /// was sent.
    pub(super) fn authorize(&mut self, since: u32, refused: Option<Refused>, operation: &str) {
        let Some(refused) = refused else { return };
        if since != self.authorizing.done || self.authorizing.under_way {
            return;
        }
        self.authorizing.under_way = true;
        self.debug(|| format!("{operation} was refused: getting other credentials"));
        let succeeded = std::mem::take(&mut self.authorizing.succeeded);
        self.out.push(Output::Authorize(Refused {
            operation: operation.to_owned(),
            succeeded,
            ..refused
        }));
    }

    /// A request was refused unread: it is sent again with other credentials.
    pub(super) fn call_refused(
        &mut self,
        id: &Id,
        exchange: &Exchange,
        refused: Option<Refused>,
        head: &Head,
        body: &Body,
    ) {
        let Some(entry) = self.ledger.get_mut(id) else {
            return;
        };
        if refused.is_none()
            || !self
                .settings
                .credentials
                .may_be_renewed(entry.authorizations)
        {
            let failure = self.unauthorized(head, body);
            return self.fail(id, &failure);
        }
        entry.authorizations += 1;
        let operation = operation(entry.message.method(), entry.message.params());
        let size = entry.message.text().len() + limits::PARKED_EACH;
        self.authorize(exchange.authorizations, refused, &operation);
        if !self.authorizing.under_way {
            return self.park_request(id);
        }
        if let Some(entry) = self.ledger.get_mut(id) {
            entry.place = Place::Parked;
            self.authorizing.waiting.push((id.clone(), size));
        }
        self.stand_in_for_all();
    }

    /// The server lets a request pass: if it was refused before, that counts from the beginning.
    pub(super) fn call_passed(&mut self, id: &Id) {
        let refused = self.ledger.get(id).filter(|entry| entry.authorizations > 0);
        let Some(entry) = refused else { return };
        let operation = operation(entry.message.method(), entry.message.params());
        let succeeded = &mut self.authorizing.succeeded;
        if succeeded.len() < limits::PASSED && !succeeded.contains(&operation) {
            succeeded.push(operation);
        }
    }

    /// The error for a refusal that nothing can be done about.
    pub(super) fn unauthorized(&self, head: &Head, body: &Body) -> Failure {
        let what = classify::describe(head, body);
        let (kind, next) = match self.settings.credentials {
            Credentials::Given => (
                Kind::SignInRequired,
                "the server refused your Authorization header; check that the token is complete \
                 and still valid",
            ),
            Credentials::Commands => (
                Kind::SignInRequired,
                "the server refused the header that --header-command made; run the command by \
                 hand and check what it prints",
            ),
            Credentials::SignIn => (
                Kind::AuthLoop,
                "the server refuses every new token; is it meant for this server \
                 (--resource, --static-oauth-client-metadata with another scope), and is its \
                 clock right?",
            ),
        };
        Failure::new(kind, Executed::No, format!("{what}; {next}")).with_status(head.status)
    }

    pub(super) fn on_sign_in_needed(&mut self, prompt: Prompt) {
        if !self.authorizing.under_way {
            return;
        }
        let opened = prompt.opened;
        let first = self.authorizing.prompt.replace(prompt).is_none();
        if first {
            let count = self.authorizing.done;
            self.after(self.settings.initialize_wait, Timer::Person(count));
        }
        self.person_is_needed(opened);
    }

    pub(super) fn on_authorized(&mut self, outcome: Result<(), Failure>) {
        if !std::mem::take(&mut self.authorizing.under_way) {
            // A person who was late: the client still waits for a server that it was told of.
            if outcome.is_ok() {
                self.reopen_for_late_person();
            }
            return;
        }
        self.authorizing.done += 1;
        self.authorizing.prompt = None;
        self.person_is_done();
        let waiting = self.authorizing.take_waiting();
        match outcome {
            Ok(()) => {
                self.debug(|| "there are other credentials".into());
                self.park_first(waiting);
                self.level_authorized();
                self.look_authorized();
                self.initialized_authorized();
                self.handshake_authorized();
                self.listen_authorized();
                self.subscription_authorized();
            }
            Err(failure) => {
                let kind = failure.kind.as_str();
                if waiting.is_empty() {
                    self.say(Level::Error, format!("{} [{kind}]", failure.text));
                }
                for id in waiting {
                    self.fail(&id, &failure);
                }
                self.initialized_not_authorized();
                self.subscription_not_authorized(&failure);
                self.tool_list_failed(&failure);
                self.handshake_not_authorized(&failure);
            }
        }
    }
}

/// What is counted as one operation: the method, and the tool, prompt or resource.
fn operation(method: &str, params: Option<&str>) -> String {
    let member = |name| {
        let raw = crate::proto::message::member(params?, name)?;
        serde_json::from_str::<String>(raw).ok()
    };
    let name = match method {
        "tools/call" => params.and_then(filter::called_tool),
        "prompts/get" => member("name"),
        "resources/read" => member("uri"),
        _ => None,
    };
    match name {
        Some(name) => format!("{method} {}", text::sanitize(&name, 100)),
        None => text::sanitize(method, 80),
    }
}
