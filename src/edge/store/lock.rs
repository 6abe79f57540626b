//! Locks between processes: one renewal at a time, one sign-in at a time.
//!
//! In: the operating system's locks, which end with their process; what takes their place where
//! there are none. Out: the lease of `mcp-remote` as a file (`lease`), what is done under a lock.

use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::files::{Files, Room};
use super::guard::{self, Trouble};
use super::lease::{self, Attempt, Taken};
use crate::proto::failure::{Executed, Failure, Kind};

/// Pause between looks at a lock that is taken.
const POLL: Duration = Duration::from_millis(50);
/// Pause between looks at a lease that is taken: as long as `mcp-remote`'s.
const LEASE_POLL: Duration = Duration::from_millis(200);
/// How often, and after which pauses, a lock is tried that is held for one write only.
const BRIEF: (u32, Duration) = (200, Duration::from_millis(5));
/// The same for a lock that is held for several writes: ten seconds.
const PATIENT: (u32, Duration) = (200, Duration::from_millis(50));

/// What is locked. Whoever needs both takes [`Lock::SignIn`] first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Renewing tokens.
    Renewal,
    /// Registering and signing in.
    SignIn,
}

impl Lock {
    fn name(self) -> &'static str {
        match self {
            Self::Renewal => "renewal",
            Self::SignIn => "sign-in",
        }
    }

    fn timeout(self, process: Option<u32>) -> Failure {
        let holder = holder(process);
        let text = match self {
            Self::Renewal => format!(
                "another process{holder} is still renewing this sign-in; try again in a moment, or end that process"
            ),
            Self::SignIn => format!(
                "another process{holder} is still signing in; finish that in the browser, or end that process and try again"
            ),
        };
        Failure::new(Kind::LockTimeout, Executed::No, text)
    }
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
#[must_use = "the lock ends when this is dropped"]
pub struct Held {
    _by: By,
}

/// A lease that is held until this is dropped.
#[derive(Debug)]
#[must_use = "the lease ends when this is dropped"]
pub struct Lease {
    _by: Option<Taken>,
}

/// What holds a lock. Closing the file gives the operating system's back.
#[derive(Debug)]
#[expect(dead_code, reason = "held for what happens when it is dropped")]
enum By {
    System(File),
    Lease(Taken),
    Memory(InMemory),
}

/// The locks of one sign-in.
pub(super) struct Keys<'a> {
    pub(super) files: &'a Files,
    pub(super) key: &'a str,
}

impl Keys<'_> {
    pub(super) async fn wait(&self, what: Lock, wait: Duration) -> Result<Held, Failure> {
        let mut holder = None;
        let polling = async {
            loop {
                match self.acquire(what.name())? {
                    Attempt::Taken(by) => return Ok(Held { _by: by }),
                    Attempt::Busy(process) => holder = process,
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let waited = tokio::time::timeout(wait, polling).await;
        waited.unwrap_or_else(|_| Err(what.timeout(holder)))
    }

    pub(super) fn attempt(&self, what: Lock) -> Result<Option<Held>, Failure> {
        Ok(match self.acquire(what.name())? {
            Attempt::Taken(by) => Some(Held { _by: by }),
            Attempt::Busy(_) => None,
        })
    }

    /// A lock for one read and write. Without it, if it cannot be had soon, the last write wins.
    pub(super) fn hold_briefly(&self, name: &str) -> Option<Held> {
        for _ in 0..BRIEF.0 {
            match self.acquire(name) {
                Ok(Attempt::Taken(by)) => return Some(Held { _by: by }),
                Ok(Attempt::Busy(_)) => std::thread::sleep(BRIEF.1),
                Err(_) => return None,
            }
        }
        None
    }

    /// A lock that others hold for no longer than it takes to write a few files.
    pub(super) fn hold(&self, name: &str) -> Result<Held, Failure> {
        let mut holder = None;
        for _ in 0..PATIENT.0 {
            match self.acquire(name)? {
                Attempt::Taken(by) => return Ok(Held { _by: by }),
                Attempt::Busy(process) => holder = process,
            }
            std::thread::sleep(PATIENT.1);
        }
        let text = format!(
            "another process{} is still changing configuration files; try again in a moment, or end that process",
            self::holder(holder)
        );
        Err(Failure::new(Kind::LockTimeout, Executed::No, text))
    }

    pub(super) async fn lease(&self, wait: Duration) -> Result<Lease, Failure> {
        let Some(folder) = self.files.usable(Room::Shared) else {
            return Ok(Lease { _by: None });
        };
        let path = folder.join(format!("{}_refresh_in_progress.json", self.key));
        let mut process = None;
        let polling = async {
            loop {
                match lease::take(&path, lease::SHARED) {
                    Ok(Attempt::Taken(taken)) => return Some(taken),
                    Ok(Attempt::Busy(busy)) => process = busy,
                    Err(trouble) => {
                        self.files.warn(&path, trouble, "write");
                        return None;
                    }
                }
                tokio::time::sleep(LEASE_POLL).await;
            }
        };
        match tokio::time::timeout(wait, polling).await {
            Ok(by) => Ok(Lease { _by: by }),
            Err(_) => Err(Lock::Renewal.timeout(process)),
        }
    }

    fn acquire(&self, name: &str) -> Result<Attempt<By>, Failure> {
        let name = format!("{}.{name}.lock", self.key);
        let Some(folder) = self.files.usable(Room::Own) else {
            return Ok(self.files.locks.take(&name));
        };
        let path = folder.join(&name);
        match system_lock(&path).or_else(|trouble| match trouble {
            Trouble::Io(error) if is_unsupported(&error) => lease_instead(&path),
            trouble => Err(trouble),
        }) {
            Ok(attempt) => Ok(attempt),
            Err(Trouble::Insecure(text)) => {
                Err(Failure::new(Kind::StoreInsecure, Executed::No, text))
            }
            Err(trouble) => {
                self.files.warn(&path, trouble, "lock");
                Ok(self.files.locks.take(&name))
            }
        }
    }
}

/// The operating system's lock on a file that is never removed or replaced. Its content is the
/// process that holds it, for others to name.
fn system_lock(path: &Path) -> Result<Attempt<By>, Trouble> {
    let mut file = guard::open_lock(path)?;
    match file.try_lock() {
        Ok(()) => {
            // Only good for a sentence, so it may fail.
            drop(note_process(&mut file));
            Ok(Attempt::Taken(By::System(file)))
        }
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            drop(file.take(16).read_to_string(&mut text));
            Ok(Attempt::Busy(text.trim().parse().ok()))
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn note_process(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())
}

/// Network file systems may have no locks (`ENOLCK`, `EOPNOTSUPP`, `ENOSYS`).
fn is_unsupported(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;

        let without_locks = [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOTSUP, Errno::NOSYS];
        let number = error.raw_os_error();
        if without_locks
            .iter()
            .any(|errno| number == Some(errno.raw_os_error()))
        {
            return true;
        }
    }
    error.kind() == io::ErrorKind::Unsupported
}

/// A lease beside the lock file, judged by its age alone: its holder may be on another machine.
fn lease_instead(path: &Path) -> Result<Attempt<By>, Trouble> {
    Ok(
        match lease::take(&path.with_extension("lease"), lease::OWN)? {
            Attempt::Taken(taken) => Attempt::Taken(By::Lease(taken)),
            Attempt::Busy(process) => Attempt::Busy(process),
        },
    )
}

/// Locks between the parts of one process, where there is no folder for others.
#[derive(Clone, Default)]
pub(super) struct MemoryLocks(Arc<Mutex<HashSet<String>>>);

impl MemoryLocks {
    fn take(&self, name: &str) -> Attempt<By> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.insert(name.to_owned()) {
            return Attempt::Busy(Some(std::process::id()));
        }
        Attempt::Taken(By::Memory(InMemory {
            names: Arc::clone(&self.0),
            name: name.to_owned(),
        }))
    }
}

#[derive(Debug)]
struct InMemory {
    names: Arc<Mutex<HashSet<String>>>,
    name: String,
}

impl Drop for InMemory {
    fn drop(&mut self) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.remove(&self.name);
    }
}

fn holder(process: Option<u32>) -> String {
    process.map_or_else(String::new, |process| format!(" (pid {process})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn f10_a_file_system_without_locks_gets_a_lease() {
        for errno in [rustix::io::Errno::NOLCK, rustix::io::Errno::OPNOTSUPP] {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            assert!(is_unsupported(&error), "{error}");
        }
        assert!(!is_unsupported(&io::Error::from(io::ErrorKind::WouldBlock)));

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("KEY.renewal.lock");
        let Ok(Attempt::Taken(held)) = lease_instead(&path) else {
            panic!("it is free");
        };
        let me = std::process::id();
        let busy = lease_instead(&path).unwrap();
        assert!(matches!(busy, Attempt::Busy(Some(pid)) if pid == me));
        drop(held);
        assert!(matches!(lease_instead(&path), Ok(Attempt::Taken(_))));
    }
}
