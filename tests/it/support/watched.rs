//! Values that several threads change and wait for, always with a deadline.
//!
//! In: a watched value, a gate, a mailbox. Out: what is waited for.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How long any wait may take on a loaded machine before the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A value with a bell: every change wakes those who wait for it.
#[derive(Default)]
pub(crate) struct Watched<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Watched<T> {
    /// Starts from a value.
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            changed: Condvar::new(),
        }
    }

    /// Looks at the value, or changes it, and rings the bell.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        let answer = act(&mut self.lock());
        self.changed.notify_all();
        answer
    }

    /// Waits until `look` finds what it wants; `None` when `patience` runs out first.
    pub(crate) fn wait<R>(
        &self,
        patience: Duration,
        mut look: impl FnMut(&mut T) -> Option<R>,
    ) -> Option<R> {
        let until = Instant::now() + patience;
        let mut value = self.lock();
        loop {
            if let Some(found) = look(&mut value) {
                return Some(found);
            }
            let left = until.checked_duration_since(Instant::now())?;
            value = self
                .changed
                .wait_timeout(value, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(value, _)| value);
        }
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

/// Holds replies back until the test opens it. Clones are the same gate.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A closed gate.
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets everything behind it go, now and from now on.
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    /// Resolves once the gate is open.
    pub(crate) async fn opened(&self) {
        let mut state = self.0.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        let _ = state.wait_for(|open| *open).await;
    }
}

/// Hands values from a handler to the test, in order. Clones are the same mailbox.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox<T>(Arc<Watched<VecDeque<T>>>);

impl<T> Mailbox<T> {
    /// An empty mailbox.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Watched::new(VecDeque::new())))
    }

    /// Puts a value in.
    pub(crate) fn put(&self, value: T) {
        self.0.with(|queue| queue.push_back(value));
    }

    /// Takes the oldest value, waiting for it.
    #[track_caller]
    pub(crate) fn take(&self) -> T {
        self.0
            .wait(DEADLINE, VecDeque::pop_front)
            .unwrap_or_else(|| panic!("nothing arrived in the mailbox within {DEADLINE:?}"))
    }
}
