//! What the store has to tell the person.
//!
//! In: each sentence once. Out: who prints it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::proto::Level;
use crate::proto::failure::Kind;
use crate::proto::text::sanitize;

/// Longest path that is shown, in characters.
const PATH_CHARS: usize = 400;

#[derive(Default)]
pub(super) struct Notes(Mutex<Said>);

#[derive(Default)]
struct Said {
    before: HashSet<String>,
    waiting: Vec<(Level, String)>,
    in_memory: bool,
}

impl Notes {
    /// A warning, unless it was said before. The kind stands at its end, for people to search for.
    pub(super) fn warn(&self, kind: Kind, text: &str) {
        let text = format!("{text} [{}]", kind.as_str());
        let mut said = self.said();
        if said.before.insert(text.clone()) {
            said.waiting.push((Level::Warn, text));
        }
    }

    /// A warning that the disk cannot be used. The first one says it all: more trouble of this
    /// kind follows from it.
    pub(super) fn warn_in_memory(&self, kind: Kind, text: &str) {
        let mut said = self.said();
        if std::mem::replace(&mut said.in_memory, true) {
            return;
        }
        drop(said);
        self.warn(kind, &format!("{text}; {IN_MEMORY}"));
    }

    pub(super) fn take(&self) -> Vec<(Level, String)> {
        let mut said = self.said();
        std::mem::take(&mut said.waiting)
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const IN_MEMORY: &str = "sign-ins are kept in memory and will not be remembered";

/// A path for a sentence.
pub(super) fn shown(path: &Path) -> String {
    sanitize(&path.to_string_lossy(), PATH_CHARS)
}
