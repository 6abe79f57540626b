//! An answer that holds messages one to a line, read as the stream that it is.
//!
//! In: reporting each message when it comes. Out: taking the body apart (`proto::lines`), telling
//! such an answer from others (`remote`).

use reqwest::Response;
use url::Url;

use super::Exchange;
use crate::proto::Ending;
use crate::proto::lines::Lines;

impl Exchange {
    /// Reads to the end; `first` is what has come so far.
    pub(super) async fn lines(&self, mut response: Response, first: &[u8], url: &Url) -> Ending {
        let settings = &self.shared.settings;
        let mut lines = Lines::new(settings.message_limit);
        let mut piece = bytes::Bytes::copy_from_slice(first);
        loop {
            let mut events = Vec::new();
            let fed = lines.feed(&piece, &mut events);
            self.report_events(events).await;
            if fed.is_err() {
                return Ending::TooLarge(format!(
                    "the server sent a line above the limit of {} MiB (--max-message-size raises it)",
                    settings.message_limit >> 20
                ));
            }
            piece = match self.chunk(&mut response, settings.body_timeout).await {
                Err(silent) => return silent,
                Ok(Err(error)) => return self.cut(&error, url),
                Ok(Ok(None)) => break,
                Ok(Ok(Some(chunk))) => chunk,
            };
        }
        self.report_events(lines.finish().into_iter().collect())
            .await;
        Ending::Complete
    }
}
