//! Tokens in the system's keychain.
//!
//! In: which items hold the tokens of a sign-in, what the disk knows of them, how long a keychain
//! may take. Out: the keychains of the systems (`system`), what tokens look like (`format`).
//!
//! The tokens are one text, in as many items as the system needs for its length. There are two
//! sets of items, and a new text goes into the one that is not in use: a reader finds the old text
//! or the new one, and a process that dies leaves the old one valid.

mod system;

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::system::System;
use super::files::{Bytes, Room};
use super::state::digest;
use super::{Entry, format, pretty, readable};
use crate::proto::auth::limits::{KEYCHAIN, STORED_FILE};
use crate::proto::auth::token::Tokens;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::text::sanitize;

/// End of the name of the file that says what the keychain holds. There is no secret in it.
pub(super) const KEPT: &str = ".keychain.json";

/// Most items of one set: the largest text in the smallest items that a system has.
const ITEMS: usize = 512;

/// How often tokens are read that another process keeps replacing.
const READS: usize = 5;

/// Longest part of a system's error that is shown, in characters.
const PROBLEM_CHARS: usize = 300;

/// What a keychain can do. Items have a name; their service is always this program. Errors are the
/// system's words.
trait Vault: Send + Sync {
    /// What people call it.
    fn name(&self) -> &'static str;

    /// Most bytes that one item holds.
    fn item_size(&self) -> usize;

    fn read(&self, item: &str) -> Result<Option<Bytes>, String>;

    fn write(&self, item: &str, bytes: &[u8]) -> Result<(), String>;

    /// Whether there was such an item.
    fn remove(&self, item: &str) -> Result<bool, String>;
}

/// A keychain with a limit to how long it may take. Some wait for a person who unlocks them.
pub(super) struct Keychain {
    vault: Arc<dyn Vault>,
    patience: Duration,
    /// Shared with what is still being done.
    turn: Mutex<Arc<()>>,
}

impl Keychain {
    /// That of the system. It is not asked yet.
    pub(super) fn of_system() -> Self {
        Self::new(Arc::new(System::default()), KEYCHAIN)
    }

    fn new(vault: Arc<dyn Vault>, patience: Duration) -> Self {
        Self {
            vault,
            patience,
            turn: Mutex::default(),
        }
    }

    /// Does something with the keychain, on a thread that is left alone when it takes too long. As
    /// long as that one lives there is no other.
    ///
    /// # Errors
    /// `store_unwritable`.
    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Vault) -> Result<T, String> + Send + 'static,
    ) -> Result<T, Failure> {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::strong_count(&turn) > 1 {
            return Err(self.failure("it still does not answer"));
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let (vault, running) = (Arc::clone(&self.vault), Arc::clone(&turn));
        let started = thread::Builder::new().spawn(move || {
            let outcome = work(&*vault);
            drop(running);
            // Nobody may be waiting any more.
            drop(sender.send(outcome));
        });
        let outcome = match started {
            Ok(_) => receiver.recv_timeout(self.patience),
            Err(error) => return Err(self.failure(&error.to_string())),
        };
        match outcome {
            Ok(outcome) => outcome.map_err(|problem| self.failure(&problem)),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let seconds = self.patience.as_secs();
                Err(self.failure(&format!("it did not answer within {seconds} s")))
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(self.failure("it failed")),
        }
    }

    fn failure(&self, problem: &str) -> Failure {
        let text = format!(
            "the system's keychain ({}) cannot be used: {}; unlock it or start it and try again, \
             or keep sign-ins in files with --store files",
            self.vault.name(),
            sanitize(problem, PROBLEM_CHARS)
        );
        Failure::new(Kind::StoreUnwritable, Executed::No, text)
    }
}

/// What the keychain holds of one sign-in.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    /// The set in use; none: there are no tokens, but items may be left.
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<Set>,
    items: usize,
    /// [`digest`] of the text, which tells a torn one.
    digest: String,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Set {
    A,
    B,
}

impl Set {
    fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Name of an item of this set.
    fn item(self, key: &str, number: usize) -> String {
        let set = match self {
            Self::A => 'a',
            Self::B => 'b',
        };
        format!("{key}.{set}.{number}")
    }

    fn read(self, vault: &dyn Vault, key: &str, items: usize) -> Result<Bytes, String> {
        let mut text = Bytes::default();
        for number in 0..items.min(ITEMS) {
            let Some(part) = vault.read(&self.item(key, number))? else {
                break;
            };
            if text.len() + part.len() > STORED {
                break;
            }
            // Into new room, so that nothing is left behind where the buffer would have grown.
            let mut longer = Bytes::new(Vec::with_capacity(text.len() + part.len()));
            longer.extend_from_slice(&text);
            longer.extend_from_slice(&part);
            text = longer;
        }
        Ok(text)
    }

    fn write(self, vault: &dyn Vault, key: &str, text: &[u8]) -> Result<(), String> {
        let mut parts = text.chunks(vault.item_size().max(1)).enumerate();
        parts.try_for_each(|(number, part)| vault.write(&self.item(key, number), part))
    }

    /// Removes all items from this number on.
    fn clear(self, vault: &dyn Vault, key: &str, from: usize) -> Result<(), String> {
        for number in from..ITEMS {
            if !vault.remove(&self.item(key, number))? {
                break;
            }
        }
        Ok(())
    }
}

/// Longest text, in bytes.
#[expect(
    clippy::cast_possible_truncation,
    reason = "1 MiB, the same for every file"
)]
const STORED: usize = STORED_FILE as usize;

impl Entry {
    /// # Errors
    /// `store_unwritable`.
    pub(super) fn check_keychain(&self) -> Result<(), Failure> {
        let item = format!("{}.check", self.key);
        self.keychain.ask(move |vault| {
            vault.write(&item, b"mcp-bridge")?;
            vault.remove(&item).map(drop)
        })
    }

    /// The tokens in the keychain. A note says why there are none although there should be.
    pub(super) fn tokens_in_keychain(&self) -> Option<Tokens> {
        let text = self.text_in_keychain()?;
        let tokens = format::tokens(&text);
        let said = |fault: &&str| {
            let name = self.keychain.vault.name();
            let text = format!("what {name} holds of a sign-in {fault} and is not used");
            self.files.notes.warn(Kind::StoreCorrupt, &text);
        };
        tokens.inspect_err(said).ok()
    }

    fn text_in_keychain(&self) -> Option<Bytes> {
        let stamp = || self.files.stamp(Room::Own, &self.name(KEPT));
        for _ in 0..READS {
            let before = stamp();
            let kept = self.kept();
            let (key, set, items) = (self.key.clone(), kept.set?, kept.items);
            let text = self.keychain.ask(move |vault| set.read(vault, &key, items));
            match text {
                Ok(text) if digest(&text) == kept.digest => return Some(text),
                // Another process saved others meanwhile.
                Ok(_) if stamp() != before => {}
                Ok(_) => {
                    let name = self.keychain.vault.name();
                    let text = format!("{name} no longer holds the tokens that were saved in it");
                    self.files.notes.warn(Kind::StoreCorrupt, &text);
                    return None;
                }
                Err(failure) => {
                    self.files.notes.warn(failure.kind, &failure.text);
                    return None;
                }
            }
        }
        None
    }

    /// # Errors
    /// `limit_exceeded`, `store_unwritable`. What was saved before is still there.
    pub(super) fn save_in_keychain(&self, tokens: &Tokens) -> Result<(), Failure> {
        let text = format::tokens_text(None, tokens);
        if text.len() > STORED {
            let text = format!(
                "the tokens have {} bytes, more than the {STORED} that are kept",
                text.len()
            );
            return Err(Failure::new(Kind::LimitExceeded, Executed::No, text));
        }
        let before = self.kept().set;
        let set = before.map_or(Set::A, Set::other);
        let items = text.len().div_ceil(self.keychain.vault.item_size().max(1));
        let kept = Kept {
            set: Some(set),
            items,
            digest: digest(&text),
        };
        let key = self.key.clone();
        let written = self.keychain.ask(move |vault| {
            set.write(vault, &key, &text)?;
            set.clear(vault, &key, items)
        });
        if let Err(failure) = written {
            let text = format!("a sign-in is not saved: {}", failure.text);
            self.files.notes.warn(failure.kind, &text);
            return Err(failure);
        }
        self.keep(&kept)?;
        let key = self.key.clone();
        // What is left there is written over by the next tokens, or removed with them.
        drop(
            self.keychain
                .ask(move |vault| set.other().clear(vault, &key, 0)),
        );
        Ok(())
    }

    /// Removes the tokens that the keychain holds, if it was ever given any.
    ///
    /// # Errors
    /// `store_unwritable`; they are not used any more all the same, and the next time they are
    /// removed.
    pub(super) fn remove_from_keychain(&self) -> Result<(), Failure> {
        if self.files.stamp(Room::Own, &self.name(KEPT)).is_none() {
            return Ok(());
        }
        self.keep(&Kept::default())?;
        let key = self.key.clone();
        self.keychain.ask(move |vault| {
            Set::A.clear(vault, &key, 0)?;
            Set::B.clear(vault, &key, 0)
        })?;
        self.remove(Room::Own, &self.name(KEPT))
    }

    fn kept(&self) -> Kept {
        let name = self.name(KEPT);
        let content = self.files.read(Room::Own, &name);
        let read = |text: &[u8]| {
            readable(text)?;
            serde_json::from_slice(text).map_err(|_| "does not say what the keychain holds")
        };
        content
            .and_then(|content| self.judge(Room::Own, &name, &content, read))
            .unwrap_or_default()
    }

    fn keep(&self, kept: &Kept) -> Result<(), Failure> {
        self.files.write(Room::Own, &self.name(KEPT), pretty(kept))
    }
}

#[cfg(test)]
mod tests;
