//! Sign-ins on disk: tokens and client registrations in the files of npm `mcp-remote`, which both
//! programs read and write in place, and a state of our own beside them.
//!
//! ```text
//!   BASE/mcp-remote-v1/KEY_tokens.json                 shared
//!                      KEY_client_info.json            shared
//!                      KEY_refresh_in_progress.json    shared, while tokens are renewed
//!   BASE/mcp-bridge/KEY.json                           our state
//!                   KEY.keychain.json                  what the keychain holds, with --store keychain
//!                   KEY.renewal.lock KEY.sign-in.lock  locks, never removed
//!                   KEY.state.lock                     for one change of KEY.json
//!                   installs.json installs.files.lock  changes of clients' configuration files
//! ```
//!
//! In: reading, replacing, locking and removing these files, safely against crashes, other
//! processes and planted files. Out: where BASE is (`crate::settings`), which KEY a server has
//! (`proto::auth::key`), when tokens are renewed (`sign_in`).
//!
//! Every call is short, and none but [`Entry::lock`] and [`Entry::lease`] waits. Two things may hold
//! their caller up: a keychain, for [`limits::KEYCHAIN`] at most, and another process that is
//! changing the same state, for a second at most. Where the disk cannot be used, the same
//! calls work in memory and [`Store::take_notes`] says so. Where the keychain cannot be used nothing
//! takes its place.

mod files;
mod format;
mod guard;
mod installs;
mod keychain;
mod lease;
mod lock;
mod notes;
mod replace;
mod state;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use zeroize::Zeroizing;

use self::files::{Content, Files, Room};
pub use self::files::{SHARED_FOLDER, Stamp};
pub use self::installs::{Before, Installed, Installs};
use self::keychain::{KEPT, Keychain};
use self::lock::Keys;
pub use self::lock::{Held, Lease, Lock};
pub use self::notes::Fault;
pub use self::state::{Initialize, LastError, Met, PendingSignIn, State, Suspicion, fingerprint};
use crate::proto::Level;
use crate::proto::auth::client::{Client, Provenance};
use crate::proto::auth::limits;
use crate::proto::auth::token::Tokens;
use crate::proto::failure::{Executed, Failure, Kind};

/// All sign-ins below one folder. Cheap to clone; clones share what is kept in memory.
#[derive(Clone)]
pub struct Store {
    files: Arc<Files>,
    keychain: Arc<Keychain>,
    uses_keychain: bool,
}

impl Store {
    /// The store below this folder, which need not exist: nothing is created before something is
    /// saved. `None`: there is no usable home folder, everything stays in memory.
    #[must_use]
    pub fn open(base: Option<PathBuf>) -> Self {
        Self {
            files: Arc::new(Files::new(base)),
            keychain: Arc::new(Keychain::of_system()),
            uses_keychain: false,
        }
    }

    /// The same store with its tokens in the system's keychain, or not. Nobody asks the keychain
    /// before there is a token in it or one is to be saved.
    #[must_use]
    pub fn in_keychain(self, uses_keychain: bool) -> Self {
        Self {
            uses_keychain,
            ..self
        }
    }

    /// One sign-in, named by `proto::auth::key::store_key`. Characters other than ASCII letters
    /// and digits are left out of the name.
    #[must_use]
    pub fn entry(&self, key: &str) -> Entry {
        Entry {
            files: Arc::clone(&self.files),
            keychain: Arc::clone(&self.keychain),
            uses_keychain: self.uses_keychain,
            key: key.chars().filter(char::is_ascii_alphanumeric).collect(),
        }
    }

    /// Every sign-in that has tokens, a client registration or a state, in the order of their
    /// keys.
    ///
    /// # Errors
    /// `store_unwritable` or `store_insecure` when a folder cannot be looked into.
    pub fn list(&self) -> Result<Vec<Entry>, Failure> {
        let mut keys = Vec::new();
        for (room, suffixes) in [
            (Room::Shared, &[TOKENS, CLIENT] as &[&str]),
            (Room::Own, &[STATE, KEPT]),
        ] {
            for name in self.files.names(room)? {
                let mut found = suffixes.iter().filter_map(|end| name.strip_suffix(end));
                keys.extend(found.find(|key| is_key(key)).map(str::to_owned));
            }
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys.iter().map(|key| self.entry(key)).collect())
    }

    /// Sentences for the person, each said once: what is insecure, unreadable or cannot be
    /// written, and what was put right.
    #[must_use]
    pub fn take_notes(&self) -> Vec<(Level, String)> {
        self.files.notes.take()
    }

    /// Everything that was found wrong so far, whether it was taken as a note or not.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.files.notes.all()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

const TOKENS: &str = "_tokens.json";
const CLIENT: &str = "_client_info.json";
const STATE: &str = ".json";

/// What `mcp-remote` leaves behind while somebody signs in.
const LEFT_BY_SIGN_IN: [&str; 2] = ["_code_verifier_", "_discovery_state_"];

/// Names that [`crate::proto::auth::key::store_key`] gives.
fn is_key(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// One sign-in. Reading never fails: what cannot be used is as good as absent, and a note says why.
#[derive(Clone)]
pub struct Entry {
    files: Arc<Files>,
    keychain: Arc<Keychain>,
    uses_keychain: bool,
    key: String,
}

impl Entry {
    /// Its name.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether tokens can be saved where they belong. Files always can: what the disk does not
    /// take stays in memory.
    ///
    /// # Errors
    /// `store_unwritable` with the keychain's name: it is missing, locked or does not answer.
    pub fn check(&self) -> Result<(), Failure> {
        if self.uses_keychain {
            self.check_keychain()
        } else {
            Ok(())
        }
    }

    /// The tokens as they are now, whoever wrote them last.
    #[must_use]
    pub fn tokens(&self) -> Option<Tokens> {
        let mut tokens = if self.uses_keychain {
            self.tokens_in_keychain()?
        } else {
            let name = self.name(TOKENS);
            let content = self.files.read(Room::Shared, &name)?;
            self.judge(Room::Shared, &name, &content, format::tokens)?
        };
        let registered_with = || self.client().and_then(|client| client.issuer);
        tokens.issuer = tokens.issuer.or_else(registered_with);
        let state = self.state();
        if state.is_about(&tokens) {
            tokens.issuer = tokens.issuer.or(state.issuer);
            tokens.scope = tokens.scope.or(state.scope);
            tokens.requested_scope = state.requested_scope;
        }
        Some(tokens)
    }

    /// Saves tokens durably: when this returns they survive a loss of power, or a note says that
    /// they are in memory only. Members that we do not know stay in the file. The state notes down
    /// whose tokens they are.
    ///
    /// # Errors
    /// `limit_exceeded` when they are too large to be kept; `store_unwritable` when the keychain
    /// does not take them, which a note says too.
    pub fn save_tokens(&self, tokens: &Tokens) -> Result<(), Failure> {
        if self.uses_keychain {
            self.save_in_keychain(tokens)?;
        } else {
            let name = self.name(TOKENS);
            let before = self.files.read(Room::Shared, &name);
            let text = format::tokens_text(before.as_ref().map(Content::text), tokens);
            self.files.write(Room::Shared, &name, text)?;
        }
        // Too large a state is no reason to call the tokens lost.
        drop(self.update_state(|state| state.signed_in(tokens)));
        self.sweep();
        Ok(())
    }

    /// Removes the tokens and nothing else.
    ///
    /// # Errors
    /// `store_unwritable`; for this process they are gone all the same.
    pub fn drop_tokens(&self) -> Result<(), Failure> {
        if self.uses_keychain {
            return self.remove_from_keychain();
        }
        self.remove(Room::Shared, &self.name(TOKENS))
    }

    /// The registered client.
    #[must_use]
    pub fn client(&self) -> Option<Client> {
        let name = self.name(CLIENT);
        let content = self.files.read(Room::Shared, &name)?;
        self.judge(Room::Shared, &name, &content, format::client)
    }

    /// Saves a registered client durably, like [`Entry::save_tokens`]. One that the user gave, or
    /// that a metadata document describes, is not saved.
    ///
    /// # Errors
    /// `limit_exceeded` when it is too large to be kept.
    pub fn save_client(&self, client: &Client) -> Result<(), Failure> {
        if client.provenance != Provenance::Registered {
            return Ok(());
        }
        let name = self.name(CLIENT);
        let before = self.files.read(Room::Shared, &name);
        let text = format::client_text(before.as_ref().map(Content::text), client);
        self.files.write(Room::Shared, &name, text)
    }

    /// Removes the client registration and nothing else.
    ///
    /// # Errors
    /// `store_unwritable`; for this process it is gone all the same.
    pub fn drop_client(&self) -> Result<(), Failure> {
        self.remove(Room::Shared, &self.name(CLIENT))
    }

    /// What else is known of this sign-in.
    #[must_use]
    pub fn state(&self) -> State {
        let name = self.name(STATE);
        let content = self.files.read(Room::Own, &name);
        content
            .and_then(|content| self.judge(Room::Own, &name, &content, state::read))
            .unwrap_or_default()
    }

    /// Changes the state, so that changes of several processes do not overwrite one another. A
    /// state that grows too large loses what the server said of itself.
    ///
    /// # Errors
    /// `limit_exceeded` when it is too large even so; then nothing is changed.
    pub fn update_state(&self, change: impl FnOnce(&mut State)) -> Result<(), Failure> {
        let _held = self.locks().hold_briefly("state");
        let before = self.state();
        let mut state = before.clone();
        change(&mut state);
        if state == before {
            return Ok(());
        }
        let mut text = pretty(&state);
        if text.len() as u64 > limits::STORED_FILE {
            state.initialize = None;
            state.met = None;
            text = pretty(&state);
        }
        self.files.write(Room::Own, &self.name(STATE), text)
    }

    /// Changes whenever the tokens are written, by whichever process; `None` while there are none.
    #[must_use]
    pub fn tokens_stamp(&self) -> Option<Stamp> {
        if self.uses_keychain {
            return self.files.stamp(Room::Own, &self.name(KEPT));
        }
        self.files.stamp(Room::Shared, &self.name(TOKENS))
    }

    /// Waits for a lock of this sign-in. It is free again when the result is dropped and when its
    /// process ends, however that happens.
    ///
    /// # Errors
    /// `lock_timeout` after `wait`, naming the process that holds it; `store_insecure` when
    /// something else lies where the lock should be.
    pub async fn lock(&self, what: Lock, wait: Duration) -> Result<Held, Failure> {
        self.locks().wait(what, wait).await
    }

    /// Takes a lock of this sign-in if it is free.
    ///
    /// # Errors
    /// `store_insecure` when something else lies where the lock should be.
    pub fn try_lock(&self, what: Lock) -> Result<Option<Held>, Failure> {
        self.locks().attempt(what)
    }

    /// Waits for the lease with which `mcp-remote` keeps its processes from renewing at the same
    /// time. Those of ours are kept apart by [`Lock::Renewal`], to be taken before. It stays valid
    /// until it is dropped.
    ///
    /// # Errors
    /// `lock_timeout` after `wait`, naming the process that holds it.
    pub async fn lease(&self, wait: Duration) -> Result<Lease, Failure> {
        self.locks().lease(wait).await
    }

    /// Signs out: removes the tokens wherever they are, what else is known of the session, and what
    /// sign-ins left behind; with `client` the registration and the state too. Locks stay.
    ///
    /// # Errors
    /// One sentence for each file that could not be removed, and for the keychain.
    pub fn forget(&self, client: bool) -> Result<(), Vec<String>> {
        let (tokens, client_info) = (self.name(TOKENS), self.name(CLIENT));
        let state = self.name(STATE);
        let mut faults = Vec::new();
        let mut gone = vec![(Room::Shared, tokens.clone())];
        let mut set_aside = vec![tokens, state.clone()];
        if client {
            gone.push((Room::Shared, client_info.clone()));
            gone.push((Room::Own, state));
            set_aside.push(client_info);
        } else if let Err(failure) = self.update_state(State::sign_out) {
            faults.push(failure.text);
        }
        if let Err(failure) = self.remove_from_keychain() {
            faults.push(failure.text);
        }
        for room in [Room::Shared, Room::Own] {
            for name in self.files.names(room).unwrap_or_default() {
                let mut sources = set_aside.iter();
                let is_copy = sources.any(|source| files::is_set_aside(&name, source));
                if is_copy || self.is_left_over(&name) {
                    gone.push((room, name));
                }
            }
        }
        let removed = gone
            .iter()
            .map(|(room, name)| self.files.remove(*room, name));
        faults.extend(removed.filter_map(Result::err));
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }

    fn name(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.key)
    }

    fn locks(&self) -> Keys<'_> {
        Keys {
            files: &self.files,
            key: &self.key,
        }
    }

    /// What a file says; one that says nothing usable is put aside.
    fn judge<T>(
        &self,
        room: Room,
        name: &str,
        content: &Content,
        read: impl FnOnce(&[u8]) -> Result<T, &'static str>,
    ) -> Option<T> {
        match read(content.text()) {
            Ok(value) => Some(value),
            Err(fault) => {
                self.files.set_aside(room, name, content, fault);
                None
            }
        }
    }

    fn remove(&self, room: Room, name: &str) -> Result<(), Failure> {
        let removed = self.files.remove(room, name);
        removed.map_err(|text| Failure::new(Kind::StoreUnwritable, Executed::No, text))
    }

    /// Removes what sign-ins and writers that died left behind a while ago.
    fn sweep(&self) {
        for room in [Room::Shared, Room::Own] {
            for name in self.files.names(room).unwrap_or_default() {
                if self.is_left_over(&name) && self.files.is_older(room, &name, limits::STATE) {
                    // What cannot be removed now is tried again the next time.
                    drop(self.files.remove(room, &name));
                }
            }
        }
    }

    /// Whether the file belongs to a write or a sign-in that is not finished.
    fn is_left_over(&self, name: &str) -> bool {
        name.strip_prefix(&self.key).is_some_and(|rest| {
            let mut of_sign_in = LEFT_BY_SIGN_IN.iter();
            replace::is_temporary(rest) || of_sign_in.any(|middle| rest.starts_with(middle))
        })
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({})", self.key)
    }
}

/// Whether a file can be anything at all.
///
/// # Errors
/// What is wrong with it, to follow its path.
fn readable(text: &[u8]) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if text.len() as u64 > limits::STORED_FILE {
        return Err("is larger than 1 MiB");
    }
    Ok(())
}

/// JSON as `mcp-remote` writes it: indented by two spaces, no line end at the end.
fn pretty(value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    // Cannot fail: names are strings, and nothing is written to but memory.
    Zeroizing::new(serde_json::to_vec_pretty(value).unwrap_or_default())
}

/// Unix milliseconds.
fn now() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "ages of files and leases are told by the wall clock"
    )]
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
