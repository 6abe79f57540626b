//! The times in which a stream of changes was broken: when it is opened again, and when its reader
//! is told that anything may have changed meanwhile.
//!
//! In: waits, and the pace of such telling. Out: the streams (`subscription`, `relay`).

use std::time::{Duration, Instant};

use crate::proto::retry::{self, Jitter};

/// A stream that lived this long is opened again at once: platforms that bound how long a request
/// may take close it regularly.
const LIVED: Duration = Duration::from_secs(10);

/// What may have been missed is told of no more often than this.
const PACE: Duration = Duration::from_secs(60);

/// The gaps of one subscription.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    /// Streams in a row that ended soon, or never began.
    failures: u32,
    /// Something may have been missed that the reader was not told of.
    missed: bool,
    told: Option<Instant>,
}

impl Gaps {
    /// Nothing is heard from now on.
    pub(super) fn begin(&mut self) {
        self.missed = true;
    }

    /// How long to wait before the stream is opened again; zero for one that lived long enough.
    /// `lived` is how long it did, if it was acknowledged.
    pub(super) fn wait(&mut self, lived: Option<Duration>, jitter: &mut Jitter) -> Duration {
        if lived.is_some_and(|lived| lived > LIVED) {
            self.failures = 0;
            return Duration::ZERO;
        }
        let wait = retry::stream_wait(None, self.failures, jitter);
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// Changes are heard of (again). In how long the reader is to be told of what it may have
    /// missed; zero: now, and then it counts as told. `None`: it missed nothing.
    pub(super) fn end(&mut self, now: Instant) -> Option<Duration> {
        if !self.missed {
            return None;
        }
        let since = self.told.map(|told| now.saturating_duration_since(told));
        let wait = since.map_or(Duration::ZERO, |since| PACE.saturating_sub(since));
        if wait.is_zero() {
            self.missed = false;
            self.told = Some(now);
        }
        Some(wait)
    }
}
