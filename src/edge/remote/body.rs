//! An answer that is not an event stream, read as a whole.
//!
//! In: its limits in size and time, and the moment when it turns out to be a stream after all. Out:
//! what it means (`proto`).

use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;

use super::gathered::Gathered;
use super::{Carried, Exchange};
use crate::proto::{Body, Ending, Head, classify, limits, lines};

/// Longest silence inside a body that is not an event stream, unless `--body-timeout` says
/// otherwise.
const BODY_SILENCE: Duration = Duration::from_secs(300);

/// How long a body that is not an event stream may take as a whole: 64 MiB over a slow line.
const BODY_TIME: Duration = Duration::from_secs(1800);

/// How long the body of an error answer may take as a whole.
const ERROR_BODY_TIME: Duration = Duration::from_secs(10);

/// A body turned out to be a stream of messages, one to a line.
struct MoreToCome;

impl Exchange {
    /// Reads a body that is not an event stream.
    ///
    /// # Errors
    /// What has come so far, if that turns out to be a stream of messages, one to a line.
    pub(super) async fn body(
        &self,
        response: &mut Response,
        head: &Head,
        carried: &Carried,
    ) -> Result<Body, Bytes> {
        let settings = &self.shared.settings;
        let (limit, silence, time) = if head.is_success() {
            let silence = settings.body_timeout.unwrap_or(BODY_SILENCE);
            (settings.message_limit, silence, BODY_TIME)
        } else {
            (limits::ERROR_BODY, ERROR_BODY_TIME, ERROR_BODY_TIME)
        };
        let mut bytes = Gathered::default();
        let gather = self.gather(response, head, &mut bytes, limit, silence);
        let gathered = tokio::time::timeout(time, gather)
            .await
            .unwrap_or_else(|_| {
                let seconds = time.as_secs();
                Ok(Some(Ending::Silent(format!(
                    "the server did not finish its answer within {seconds} s"
                ))))
            });
        let bytes = bytes.into_bytes();
        let Ok(cut) = gathered else {
            return Err(bytes);
        };
        let is_result = head.is_success() && classify::is_json(head);
        let bytes = if is_result {
            bytes
        } else {
            self.hide_secrets(bytes, carried)
        };
        Ok(Body { bytes, cut })
    }

    /// Appends pieces until the end, or says why it stopped before.
    async fn gather(
        &self,
        response: &mut Response,
        head: &Head,
        bytes: &mut Gathered,
        limit: usize,
        silence: Duration,
    ) -> Result<Option<Ending>, MoreToCome> {
        let announced = response.content_length();
        let mut undecided = head.is_success() && classify::is_json(head) && announced.is_none();
        loop {
            match self.chunk(response, Some(silence)).await {
                Err(silent) => return Ok(Some(silent)),
                Ok(Err(error)) => return Ok(Some(self.cut(&error, &head.url))),
                Ok(Ok(None)) => return Ok(None),
                Ok(Ok(Some(chunk))) if bytes.len() + chunk.len() > limit => {
                    return Ok(Some(Ending::TooLarge(format!(
                        "the server sent an answer above the limit of {} MiB (--max-message-size raises it)",
                        limit >> 20
                    ))));
                }
                Ok(Ok(Some(chunk))) => bytes.push(chunk, announced),
            }
            if undecided {
                match bytes.in_one_piece().map(lines::begins) {
                    Some(Some(true)) => return Err(MoreToCome),
                    Some(None) => {}
                    Some(Some(false)) | None => undecided = false,
                }
            }
        }
    }
}
