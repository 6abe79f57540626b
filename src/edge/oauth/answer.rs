//! What was answered to a POST.
//!
//! In: the fields that matter, and a body that quotes no secret. Out: what it means (`proto::auth`).

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};

use crate::proto::auth::answer::is_granted;
use crate::proto::auth::limits;
use crate::proto::secret::{Secret, mask_quoted};

/// `DPoP-Nonce` (RFC 9449 §8.1).
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// An answer to a POST.
pub struct Answer {
    /// HTTP status: anything but a redirect.
    pub status: u16,
    /// `Content-Type` as it came.
    pub content_type: Option<String>,
    /// `Retry-After` in seconds (RFC 9110 §10.2.3); a date counts from the answer's own `Date`.
    pub retry_after: Option<u64>,
    /// `DPoP-Nonce` (RFC 9449 §8.1).
    pub dpop_nonce: Option<String>,
    /// `Date` in Unix seconds, to tell how far the clocks differ.
    pub date: Option<u64>,
    /// The body: whole for a success, else its beginning. Holds secrets.
    pub body: Bytes,
}

impl Answer {
    pub(super) fn new(status: u16, head: &HeaderMap, body: Bytes) -> Self {
        let field = |name: HeaderName| head.get(name)?.to_str().ok().map(str::trim);
        let time = |text: &str| httpdate::parse_http_date(text).ok();
        let date = field(header::DATE).and_then(time);
        let retry_after = field(header::RETRY_AFTER).and_then(|wait| {
            let until = || Some(time(wait)?.duration_since(date?).unwrap_or_default());
            wait.parse().ok().or_else(|| Some(until()?.as_secs()))
        });
        Self {
            status,
            content_type: field(header::CONTENT_TYPE).map(str::to_owned),
            retry_after,
            dpop_nonce: field(DPOP_NONCE)
                .filter(|nonce| is_nonce(nonce))
                .map(str::to_owned),
            date: date
                .and_then(|date| date.duration_since(SystemTime::UNIX_EPOCH).ok())
                .map(|since| since.as_secs()),
            body,
        }
    }
}

impl Answer {
    /// Servers quote what they refuse, and what they say is shown: not with secrets in it.
    pub(super) fn without(mut self, secrets: &[Secret]) -> Self {
        if !is_granted(self.status, &self.body) {
            let secrets = secrets.iter().map(Secret::reveal);
            self.body = mask_quoted(&self.body, secrets).unwrap_or(self.body);
        }
        self
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("content_type", &self.content_type)
            .field("retry_after", &self.retry_after)
            .field("date", &self.date)
            .field("body", &format_args!("[{} bytes]", self.body.len()))
            .finish_non_exhaustive()
    }
}

/// Whether this is a nonce (RFC 9449 §8.1: `1*NQCHAR`) of a sane length.
fn is_nonce(text: &str) -> bool {
    let is_nqchar = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    !text.is_empty() && text.len() <= limits::NONCE && text.bytes().all(is_nqchar)
}
