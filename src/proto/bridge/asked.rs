//! One question of a modern server in the form in which a legacy client can be asked it, and what
//! may not be asked.
//!
//! In: the client's capabilities and revision, one question. Out: when it is asked (`rounds`), how
//! values are spelled for older clients (`era::values`).

use super::Bridge;
use crate::proto::era::capabilities::Answerable;
use crate::proto::era::{meta, values};
use crate::proto::message::{Message, member};
use crate::proto::{limits, revision, text};

/// What a server can ask a client (MCP 2026-07-28, Multi Round-Trip Requests, Core Types).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Elicitation,
    Roots,
    Sampling,
}

/// A question in the form in which the client gets it.
pub(super) struct Prepared {
    /// The server's name for it.
    pub(super) key: String,
    pub(super) what: What,
    /// Its parameters, raw JSON.
    pub(super) params: Option<String>,
    /// What it asks to open, if it is no form.
    pub(super) url: Option<String>,
}

impl What {
    fn of(method: &str) -> Option<Self> {
        [Self::Elicitation, Self::Roots, Self::Sampling]
            .into_iter()
            .find(|what| what.method() == method)
    }

    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Elicitation => "elicitation/create",
            Self::Roots => "roots/list",
            Self::Sampling => "sampling/createMessage",
        }
    }

    /// In words for people.
    fn as_str(self) -> &'static str {
        match self {
            Self::Elicitation => "elicitation",
            Self::Roots => "roots",
            Self::Sampling => "sampling",
        }
    }
}

impl Bridge {
    /// A question as this client can be asked it.
    ///
    /// # Errors
    /// Why it cannot be.
    pub(super) fn prepare(&self, key: String, question: &str) -> Result<Prepared, String> {
        if key.len() > limits::QUESTION_ID {
            return Err("the server's question has too long a key".to_owned());
        }
        let method: Option<String> =
            member(question, "method").and_then(|raw| serde_json::from_str(raw).ok());
        let method = method.unwrap_or_default();
        let params = member(question, "params").filter(|params| *params != "null");
        let initialize = self.client.initialize.as_ref().and_then(Message::params);
        let capabilities = initialize.and_then(|params| member(params, "capabilities"));
        let Some(what) = What::of(&method) else {
            let method = text::sanitize(&method, 80);
            return Err(format!(
                "the server asks \"{method}\", which no client can be asked"
            ));
        };
        if let Some(lacks) = Answerable::read(capabilities.unwrap_or("{}")).lacks(&method, params) {
            return Err(format!(
                "the server asks for \"{lacks}\", which the client has not declared"
            ));
        }
        let is_readable = params.map_or(what == What::Roots, |params| params.starts_with('{'));
        if !is_readable {
            return Err(format!("the server's {method} has no usable parameters"));
        }
        let told = self.client.version.as_deref();
        let told = told.unwrap_or(revision::NEWEST_WITH_HANDSHAKE);
        let mut params = params.map(str::to_owned);
        let mut url = None;
        if let Some(params) = &mut params {
            if let Some(edited) = meta::without_reserved(params) {
                *params = edited;
            }
            if let Some(edited) = values::question(told, &method, params)? {
                *params = edited;
            }
            if what == What::Elicitation {
                url = link_in(params)?;
            }
        }
        Ok(Prepared {
            key,
            what,
            params,
            url,
        })
    }
}

/// The address that this elicitation asks to open; `None` for a form.
fn link_in(params: &str) -> Result<Option<String>, String> {
    let string = |name| -> Option<String> {
        member(params, name).and_then(|raw| serde_json::from_str(raw).ok())
    };
    if string("mode").as_deref() != Some("url") {
        return Ok(None);
    }
    let url = string("url").ok_or("the server asks to open a link, and does not say which")?;
    Ok(Some(url))
}

/// Whether an answer to an elicitation agrees.
pub(super) fn says_accept(answer: &str) -> bool {
    let action = member(answer, "action").and_then(|raw| serde_json::from_str::<String>(raw).ok());
    action.as_deref() == Some("accept")
}

/// A client's refusal of a question that has no form of refusal in the modern era.
pub(super) fn refused(what: What, reply: &Message) -> String {
    let what = what.as_str();
    match reply.error() {
        Some(_) => format!("client refused {what}: {}", reply.error_text()),
        None => format!("client answered {what} with something that is no result"),
    }
}
