//! What the store has to tell the person.
//!
//! In: each sentence once. Out: who prints it.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::proto::Level;
use crate::proto::failure::Kind;
use crate::proto::text::sanitize;

/// Longest path that is shown, in characters.
const PATH_CHARS: usize = 400;

/// What is wrong with the store, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `store_insecure`, `store_corrupt` or `store_unwritable`.
    pub kind: Kind,
    /// A sentence.
    pub text: String,
    /// It was put right.
    pub is_mended: bool,
}

#[derive(Default)]
pub(super) struct Notes(Mutex<Said>);

#[derive(Default)]
struct Said {
    faults: Vec<Fault>,
    /// How many of them the person was told.
    told: usize,
    /// Which of them put an end to the use of the disk.
    in_memory: Option<usize>,
}

impl Notes {
    /// A warning, unless it was said before.
    pub(super) fn warn(&self, kind: Kind, text: &str) {
        self.said().note(kind, text, false);
    }

    /// A warning about what is put right by now, unless it was said before.
    pub(super) fn mended(&self, kind: Kind, text: &str) {
        self.said().note(kind, text, true);
    }

    /// A warning that the disk cannot be used. The first one says it all: more trouble of this
    /// kind follows from it.
    pub(super) fn warn_in_memory(&self, kind: Kind, text: &str) {
        let mut said = self.said();
        if said.in_memory.is_none() {
            said.in_memory = Some(said.note(kind, text, false));
        }
    }

    /// What nobody was told yet. The kind stands at the end, for people to search for.
    pub(super) fn take(&self) -> Vec<(Level, String)> {
        let mut said = self.said();
        let all = said.faults.len();
        let told = std::mem::replace(&mut said.told, all);
        let new = said.faults.iter().enumerate().skip(told);
        new.map(|(number, fault)| {
            let end = if said.in_memory == Some(number) {
                IN_MEMORY
            } else {
                ""
            };
            let text = format!("{}{end} [{}]", fault.text, fault.kind.as_str());
            (Level::Warn, text)
        })
        .collect()
    }

    /// Everything so far, told or not.
    pub(super) fn all(&self) -> Vec<Fault> {
        self.said().faults.clone()
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    /// Its number.
    fn note(&mut self, kind: Kind, text: &str, is_mended: bool) -> usize {
        let is_known = |fault: &Fault| fault.kind == kind && fault.text == text;
        self.faults.iter().position(is_known).unwrap_or_else(|| {
            self.faults.push(Fault {
                kind,
                text: text.to_owned(),
                is_mended,
            });
            self.faults.len() - 1
        })
    }
}

/// What follows for the person.
const IN_MEMORY: &str = "; sign-ins are kept in memory and will not be remembered";

/// A path for a sentence.
pub(super) fn shown(path: &Path) -> String {
    sanitize(&path.to_string_lossy(), PATH_CHARS)
}
