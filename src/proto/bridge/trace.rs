//! What the debug log tells of one exchange, so that a request can be followed by its id.
//!
//! In: one line for each step, without header values, bodies and the query of an address. Out:
//! lines for people (beside what they report).

use super::{Bridge, Purpose};
use crate::proto::{Ending, Request, Ticket, text};

impl Bridge {
    pub(super) fn trace_start(&mut self, ticket: Ticket, purpose: &Purpose, request: &Request) {
        self.trace(ticket, || {
            let (verb, url) = (request.verb.as_str(), text::public_url(&request.url));
            let (size, cause) = (request.body.len(), purpose.cause());
            format!("{verb} {url}, {size} bytes, for {cause}")
        });
    }

    pub(super) fn trace_answer(&mut self, ticket: Ticket, status: u16, size: usize) {
        self.trace(ticket, || format!("HTTP {status}, {size} bytes"));
    }

    pub(super) fn trace_stream(&mut self, ticket: Ticket, status: u16) {
        self.trace(ticket, || format!("HTTP {status}, an event stream"));
    }

    pub(super) fn trace_end(&mut self, ticket: Ticket, ending: &Ending) {
        self.trace(ticket, || match ending {
            Ending::Complete => "the stream ended".to_owned(),
            Ending::Cut(why) | Ending::TooLarge(why) | Ending::Silent(why) => {
                format!("the stream ended: {why}")
            }
        });
    }

    pub(super) fn trace(&mut self, ticket: Ticket, what: impl FnOnce() -> String) {
        self.debug(|| format!("exchange {}: {}", ticket.0, what()));
    }
}

impl Purpose {
    /// What it is for, in words.
    fn cause(&self) -> String {
        match self {
            Self::Call(id) | Self::Own(id) => format!("request {}", text::sanitize(id.token(), 80)),
            Self::Initialize => "initialize".to_owned(),
            Self::Initialized => "notifications/initialized".to_owned(),
            Self::Post => "a notification or response".to_owned(),
            Self::Discover => "server/discover".to_owned(),
            Self::Subscription => "subscriptions/listen".to_owned(),
            Self::Listen | Self::Sse | Self::Retired => "the server's event stream".to_owned(),
            Self::Delete | Self::Abandoned | Self::Drain => "the end of the session".to_owned(),
        }
    }
}
