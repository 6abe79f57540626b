//! Addresses that a person has to open before a legacy server does anything: its error becomes
//! questions to the modern client, and the client's retry a call sent again, for the error says
//! that nothing was done (MCP 2025-11-25, Elicitation, URL Elicitation Required Error).
//!
//! In: the error, the retry, waiting for the server's word that the person is done. Out: addresses
//! that a server asks for while it works (`suspended`).

use std::collections::HashMap;
use std::time::Instant;

use super::to_modern::tool_error;
use super::{Bridge, Then};
use crate::proto::era::capabilities::Answerable;
use crate::proto::era::{errors, meta, result};
use crate::proto::limits;
use crate::proto::message::{Id, Message, member};
use crate::proto::object::{self, Object};
use crate::proto::secret::Secret;

/// Largest error whose addresses are kept, in bytes.
const ERROR: usize = 256 << 10;

/// Calls that may be sent again once a person has opened addresses.
#[derive(Debug, Default)]
pub(super) struct Replays {
    /// In the order in which they were asked.
    asked: Vec<Replay>,
    /// Calls that wait for the server's word, and the elicitations they wait for.
    waiting: HashMap<Id, Vec<String>>,
}

#[derive(Debug)]
struct Replay {
    state: Secret,
    digest: [u8; 32],
    until: Instant,
    addresses: Vec<Address>,
    /// The client has seen them.
    told: bool,
}

/// An address that has to be opened.
#[derive(Clone, Debug)]
struct Address {
    key: String,
    /// What the client is asked, raw JSON.
    question: Secret,
    /// `elicitationId`, until the server says that it is done.
    elicitation: Option<String>,
}

impl Replays {
    /// Forgets what was not taken up in time.
    pub(super) fn expire(&mut self, now: Instant) {
        self.asked.retain(|replay| replay.until > now);
    }

    /// When each becomes too old.
    pub(super) fn until(&self) -> impl Iterator<Item = Instant> {
        self.asked.iter().map(|replay| replay.until)
    }
}

/// What the client says to all of the addresses.
#[derive(Debug, PartialEq, Eq)]
enum Consent {
    Given,
    Refused,
    /// Not all have an answer.
    Open,
}

impl Bridge {
    /// The server answered that an address has to be opened first.
    pub(super) fn on_url_required(&mut self, id: &Id, error: &Message) {
        let Some(entry) = self.ledger.get(id) else {
            return;
        };
        let declared = entry.stated.as_ref();
        let declared = declared.and_then(|stated| stated.capabilities.as_deref());
        if !Answerable::read(declared.unwrap_or("{}")).url {
            let error = errors::missing_capability(r#"{"elicitation":{"url":{}}}"#);
            return self.respond_with(id, "error", &error);
        }
        let addresses = error.error().and_then(addresses);
        let is_carrier = super::carrier::is_carrier(entry.message.method());
        let Some(addresses) = addresses.filter(|_| is_carrier) else {
            let reason = error.error_text();
            let text = format!(
                "mcp-bridge: the server wants an address opened that it does not name: {reason}"
            );
            return self.respond_error(id, errors::INTERNAL, &text);
        };
        let until = self.now + limits::SUSPENDED_FOR;
        let suspended = self.take_suspended(id);
        let told = suspended.is_none();
        let (state, digest) = match suspended {
            Some(known) => known,
            None => (self.new_state().into(), self.digest_of(id)),
        };
        let replay = Replay {
            state,
            digest,
            until,
            addresses,
            told,
        };
        if told {
            let result = self.asks_for(&replay);
            self.respond_with(id, "result", &result);
        } else {
            // The client is busy with other questions; its retry is asked these.
            self.strike(id);
        }
        let asked = &mut self.upward.replays.asked;
        if asked.len() >= limits::SUSPENDED {
            asked.remove(0);
        }
        asked.push(replay);
        self.watch_suspended(until);
    }

    fn asks_for(&self, replay: &Replay) -> String {
        let addresses = replay.addresses.iter();
        let questions: Vec<(String, String)> = addresses
            .map(|address| (address.key.clone(), address.question.reveal().to_owned()))
            .collect();
        self.input_required(&questions, replay.state.reveal())
    }

    /// A retry with a `requestState`: whether it is answered, or has to wait.
    pub(super) fn resume_replay(
        &mut self,
        id: &Id,
        message: &Message,
        state: &str,
        digest: &[u8; 32],
    ) -> bool {
        let asked = &mut self.upward.replays.asked;
        let at = asked
            .iter()
            .position(|replay| replay.state.reveal() == state && replay.digest == *digest);
        let Some(at) = at else {
            self.refuse_state(id);
            return true;
        };
        let mut replay = asked.remove(at);
        let answers = message
            .params()
            .and_then(|params| member(params, "inputResponses"));
        match replay.consent(answers.unwrap_or("{}")) {
            Consent::Open => {
                replay.state = self.new_state().into();
                replay.told = true;
                let result = self.asks_for(&replay);
                self.upward.replays.asked.push(replay);
                self.respond_with(id, "result", &result);
                true
            }
            Consent::Refused => {
                self.declined(id, message.method());
                true
            }
            Consent::Given => {
                let addresses = replay.addresses.into_iter();
                let open: Vec<String> = addresses
                    .filter_map(|address| address.elicitation)
                    .collect();
                self.send_plain(id, message);
                if open.is_empty() {
                    return false;
                }
                self.upward.replays.waiting.insert(id.clone(), open);
                self.wait(id, limits::ELICITED, Then::Send { mint: false });
                true
            }
        }
    }

    /// From now on the request stands for itself.
    fn send_plain(&mut self, id: &Id, message: &Message) {
        let plain = message.params().and_then(meta::unstamped);
        let plain = plain.and_then(|params| Message::parse(message.with_params(&params)).ok());
        if let (Some(plain), Some(entry)) = (plain, self.ledger.get_mut(id)) {
            entry.message = plain;
        }
    }

    fn declined(&mut self, id: &Id, method: &str) {
        let text = "authorization declined";
        if method != "tools/call" {
            return self.respond_error(id, errors::INTERNAL, &format!("mcp-bridge: {text}"));
        }
        let info = self.upward.server_info.as_deref();
        let result = result::to_modern(method, &tool_error(text), info);
        self.respond_with(id, "result", &result);
    }

    /// `notifications/elicitation/complete`: the person has done what one address was for.
    pub(super) fn on_elicited(&mut self, notice: &Message) {
        let Some(done) = notice.param::<String>("elicitationId") else {
            return;
        };
        let replays = &mut self.upward.replays;
        for address in replays
            .asked
            .iter_mut()
            .flat_map(|replay| &mut replay.addresses)
        {
            if address.elicitation.as_ref() == Some(&done) {
                address.elicitation = None;
            }
        }
        let mut ready = Vec::new();
        replays.waiting.retain(|id, open| {
            open.retain(|elicitation| *elicitation != done);
            if open.is_empty() {
                ready.push(id.clone());
            }
            !open.is_empty()
        });
        for id in ready {
            if self.ledger.is_waiting(&id) {
                self.park_request(&id);
            }
        }
    }

    /// A request is over.
    pub(super) fn forget_replay(&mut self, id: &Id) {
        self.upward.replays.waiting.remove(id);
    }
}

impl Replay {
    fn consent(&self, answers: &str) -> Consent {
        let answers = Object::parse(answers).unwrap_or_default();
        let mut consent = Consent::Given;
        for address in &self.addresses {
            let answer = answers.get(&address.key).filter(|_| self.told);
            let action = answer.and_then(|answer| member(answer, "action"));
            match action.map(serde_json::from_str::<String>) {
                Some(Ok(action)) if action == "accept" => {}
                Some(Ok(_)) => return Consent::Refused,
                Some(Err(_)) | None => consent = Consent::Open,
            }
        }
        consent
    }
}

/// What `data.elicitations` of an error names. `None` unless every one has an address, and there
/// are not more than a person can be asked.
fn addresses(error: &str) -> Option<Vec<Address>> {
    if error.len() > ERROR {
        return None;
    }
    let listed = object::items(member(member(error, "data")?, "elicitations")?)?;
    if listed.is_empty() || listed.len() > limits::QUESTIONS_OF_ONE {
        return None;
    }
    let address = |(at, listed): (usize, &str)| {
        let listed = Object::parse(listed)?;
        let string = |name| listed.get(name).filter(|raw| raw.starts_with('"'));
        let mut params = Object::default();
        params.set("mode", r#""url""#);
        params.set("message", string("message").unwrap_or(r#""""#));
        params.set("url", string("url")?);
        let question = format!(r#"{{"method":"elicitation/create","params":{params}}}"#);
        let elicitation = string("elicitationId");
        Some(Address {
            key: format!("q{}", at + 1),
            question: question.into(),
            elicitation: elicitation.and_then(|raw| serde_json::from_str(raw).ok()),
        })
    };
    listed.into_iter().enumerate().map(address).collect()
}
