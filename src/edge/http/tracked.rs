//! A request body that tells whether the network has it.
//!
//! In: one piece of bytes. Out: what follows from it being sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::watch;

/// A request body that tells when it was handed to the network.
pub(in crate::edge) struct Tracked {
    bytes: Option<Bytes>,
    sent: watch::Sender<bool>,
}

impl Tracked {
    /// A body of these bytes; `sent` becomes true when they are taken.
    pub(in crate::edge) fn new(bytes: Bytes, sent: watch::Sender<bool>) -> Self {
        Self {
            bytes: Some(bytes),
            sent,
        }
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = self.bytes.take().map(|bytes| {
            self.sent.send_replace(true);
            Ok(Frame::data(bytes))
        });
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
