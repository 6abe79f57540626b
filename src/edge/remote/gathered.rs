//! Putting a body together.
//!
//! In: pieces of it, copied as little as possible. Out: how many there may be (`remote`).

use bytes::{Bytes, BytesMut};

use crate::proto::limits;

/// A body in the making: one piece is kept as it is, several are copied together once.
#[derive(Default)]
pub(super) struct Gathered {
    first: Bytes,
    all: BytesMut,
}

impl Gathered {
    pub(super) fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    pub(super) fn push(&mut self, chunk: Bytes, announced: Option<u64>) {
        if self.len() == 0 {
            self.first = chunk;
            return;
        }
        if self.all.is_empty() {
            let announced = usize::try_from(announced.unwrap_or_default()).unwrap_or_default();
            self.all.reserve(announced.min(limits::MESSAGE));
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&chunk);
    }

    /// The body so far, as long as it has come in one piece.
    pub(super) fn in_one_piece(&self) -> Option<&Bytes> {
        (self.all.is_empty() && !self.first.is_empty()).then_some(&self.first)
    }

    pub(super) fn into_bytes(self) -> Bytes {
        if self.all.is_empty() {
            self.first
        } else {
            self.all.freeze()
        }
    }
}
