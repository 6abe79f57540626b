//! A lease: a file that says who works, and until when that is believed.
//!
//! In: taking it, keeping it alive, breaking one that nobody keeps alive. Out: what it protects
//! (`lock`).

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::files::{Mark, take_away};
use super::guard::{self, Trouble};
use super::replace::{self, System};
use crate::proto::auth::limits;

/// How long a lease is believed, and by what else.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    /// Since its time, on either side: clocks are set back.
    life: Duration,
    /// Whether the process must be alive too, on this machine.
    by_process: bool,
    /// Time between renewals by the holder.
    beat: Duration,
}

/// How `mcp-remote` judges its own.
pub(super) const SHARED: Terms = Terms {
    life: Duration::from_secs(30),
    by_process: true,
    beat: Duration::from_secs(10),
};

/// In the place of a lock, perhaps between machines.
pub(super) const OWN: Terms = Terms {
    life: limits::LEASE,
    by_process: false,
    beat: Duration::from_secs(10),
};

/// Longest lease that is read, in bytes.
const LARGEST: u64 = 4 << 10;

/// How often a lease that nobody keeps alive is broken in vain before it counts as taken.
const ATTEMPTS: u32 = 3;

/// What came of taking something.
pub(super) enum Attempt<T> {
    Taken(T),
    /// Somebody else has it: this process, where known.
    Busy(Option<u32>),
}

/// Content of the file, in the form of `mcp-remote`.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    nonce: String,
    /// Unix milliseconds.
    at: u64,
}

impl Holder {
    /// This process, now.
    fn new() -> io::Result<Self> {
        Ok(Self {
            pid: std::process::id(),
            nonce: nonce()?,
            at: super::now(),
        })
    }

    fn text(&self) -> Vec<u8> {
        // Cannot fail: numbers and a string.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }
}

/// Takes the lease if it is free, or if nobody keeps it alive.
pub(super) fn take(path: &Path, terms: Terms) -> Result<Attempt<Taken>, Trouble> {
    let mut busy = None;
    for _ in 0..ATTEMPTS {
        let Some((seen, mark)) = look(path)? else {
            match create(path, terms)? {
                Some(taken) => return Ok(Attempt::Taken(taken)),
                None => continue,
            }
        };
        busy = seen.as_ref().map(|seen| seen.pid);
        if is_alive(seen.as_ref(), mark, terms) {
            break;
        }
        let Some(_breaking) = Breaking::begin(path, terms)? else {
            continue;
        };
        // Somebody else may have been here before.
        let Some((seen, mark)) = look(path)? else {
            continue;
        };
        if is_alive(seen.as_ref(), mark, terms) {
            continue;
        }
        let aside = replace::unused_name(path)?;
        if take_away(path, &aside, Some(mark))? {
            fs::remove_file(aside)?;
        }
        if let Some(taken) = create(path, terms)? {
            return Ok(Attempt::Taken(taken));
        }
    }
    Ok(Attempt::Busy(busy))
}

/// Takes the lease if there is none.
fn create(path: &Path, terms: Terms) -> Result<Option<Taken>, Trouble> {
    let holder = place(path)?;
    Ok(holder.map(|holder| Taken::new(path, holder, terms)))
}

/// Puts this process's name into a file, if there is none.
fn place(path: &Path) -> Result<Option<Holder>, Trouble> {
    let holder = Holder::new()?;
    // First, so that no other part of this process believes it dead.
    held().insert(holder.nonce.clone());
    match replace::create(path, &holder.text()) {
        Ok(()) => Ok(Some(holder)),
        Err(error) => {
            held().remove(&holder.nonce);
            if error.kind() == io::ErrorKind::AlreadyExists {
                return Ok(None);
            }
            Err(error.into())
        }
    }
}

/// The right to break a dead lease. Two who break at the same time could remove the one that the
/// first of them created.
struct Breaking {
    path: PathBuf,
    nonce: String,
}

impl Breaking {
    /// `None`: somebody else is at it.
    fn begin(path: &Path, terms: Terms) -> Result<Option<Self>, Trouble> {
        let mut name = path.as_os_str().to_owned();
        name.push(BREAKING);
        let guard = PathBuf::from(name);
        if let Some(Holder { nonce, .. }) = place(&guard)? {
            return Ok(Some(Self { path: guard, nonce }));
        }
        // It takes no time, unless its process died over it.
        if let Some((seen, mark)) = look(&guard)?
            && !is_alive(seen.as_ref(), mark, terms)
        {
            let aside = replace::unused_name(path)?;
            if take_away(&guard, &aside, Some(mark))? {
                fs::remove_file(aside)?;
            }
        }
        Ok(None)
    }
}

impl Drop for Breaking {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
        held().remove(&self.nonce);
    }
}

/// What follows the lease's name while it is being broken. It ends like the names of files that
/// are not in their place, so that it is swept like them.
const BREAKING: &str = ".breaking.tmp";

/// A lease that is kept alive until this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    path: PathBuf,
    nonce: String,
    stop: Option<mpsc::Sender<()>>,
    beating: Option<JoinHandle<()>>,
}

impl Taken {
    fn new(path: &Path, holder: Holder, terms: Terms) -> Self {
        let nonce = holder.nonce.clone();
        let (stop, stopped) = mpsc::channel();
        let theirs = path.to_owned();
        let beat = move || keep_alive(&theirs, holder, terms.beat, &stopped);
        Self {
            path: path.to_owned(),
            nonce,
            stop: Some(stop),
            // Without a thread it lives as long as its time allows.
            beating: thread::Builder::new().name("lease".into()).spawn(beat).ok(),
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Otherwise it could write the file once more after it was removed.
        if let Some(beating) = self.beating.take() {
            drop(beating.join());
        }
        if is_ours(&self.path, &self.nonce) {
            drop(fs::remove_file(&self.path));
        }
        held().remove(&self.nonce);
    }
}

/// Renews the time of a lease until it is given back or somebody else has it.
fn keep_alive(path: &Path, mut holder: Holder, beat: Duration, stopped: &mpsc::Receiver<()>) {
    while stopped.recv_timeout(beat) == Err(RecvTimeoutError::Timeout) {
        if !is_ours(path, &holder.nonce) {
            return;
        }
        holder.at = super::now();
        // If the disk is full, the next beat may do it.
        drop(replace::replace(path, &holder.text(), &mut System));
    }
}

fn is_ours(path: &Path, nonce: &str) -> bool {
    matches!(look(path), Ok(Some((Some(seen), _))) if seen.nonce == nonce)
}

/// Who holds it; nobody can tell while it is being written. `None`: it is free.
fn look(path: &Path) -> Result<Option<(Option<Holder>, Mark)>, Trouble> {
    let file = match guard::open_lease(path) {
        Err(Trouble::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mark = Mark::of(&file.metadata()?);
    let mut text = Vec::new();
    file.take(LARGEST).read_to_end(&mut text)?;
    Ok(Some((serde_json::from_slice(&text).ok(), mark)))
}

fn is_alive(seen: Option<&Holder>, mark: Mark, terms: Terms) -> bool {
    let at = seen.map_or_else(|| mark.written_at(), |seen| seen.at);
    is_young(at, terms)
        && seen.is_none_or(|seen| {
            let is_me = seen.pid == std::process::id();
            // Numbers of processes come again, in containers at every start.
            if is_me && !held().contains(&seen.nonce) {
                return !terms.by_process;
            }
            !terms.by_process || process_is_alive(seen.pid)
        })
}

fn is_young(at: u64, terms: Terms) -> bool {
    u128::from(super::now().abs_diff(at)) < terms.life.as_millis()
}

#[cfg(unix)]
fn process_is_alive(pid: u32) -> bool {
    use rustix::io::Errno;
    use rustix::process::{Pid, test_kill_process};

    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// Nothing in the standard library tells; the age decides.
#[cfg(not(unix))]
fn process_is_alive(_pid: u32) -> bool {
    true
}

/// The leases that this process holds.
fn held() -> MutexGuard<'static, BTreeSet<String>> {
    static HELD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A random UUID (RFC 9562 §5.4).
fn nonce() -> io::Result<String> {
    let random = u128::from_be_bytes(replace::random()?);
    let version = random & !(0xf << 76) | 4 << 76;
    let uuid = version & !(0x3 << 62) | 2 << 62;
    Ok(format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        uuid >> 96,
        uuid >> 80 & 0xffff,
        uuid >> 64 & 0xffff,
        uuid >> 48 & 0xffff,
        uuid & 0xffff_ffff_ffff
    ))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the tests read and plant leases")]

    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn plant(path: &Path, pid: u32, at: u64) {
        let text = format!(r#"{{"pid":{pid},"nonce":"theirs","at":{at}}}"#);
        replace::replace(path, text.as_bytes(), &mut System).unwrap();
    }

    fn is_free(path: &Path, terms: Terms) -> bool {
        matches!(take(path, terms).unwrap(), Attempt::Taken(_))
    }

    /// The number of a process that ran a moment ago.
    fn dead_process() -> u32 {
        let program = std::env::current_exe().unwrap();
        let mut child = std::process::Command::new(program)
            .args(["--exact", "no such test"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        child.wait().unwrap();
        child.id()
    }

    #[test]
    fn the_lease_has_the_form_of_mcp_remote() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lease.json");
        let before = super::super::now();
        let Attempt::Taken(taken) = take(&path, SHARED).unwrap() else {
            panic!("it is free");
        };
        let text = fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 3);
        assert_eq!(value["pid"], std::process::id());
        assert!(value["at"].as_u64().unwrap() >= before);
        let nonce = value["nonce"].as_str().unwrap();
        let lengths: Vec<usize> = nonce.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert!(nonce[14..].starts_with('4') && "89ab".contains(&nonce[19..20]));
        assert!(!is_free(&path, SHARED));
        drop(taken);
        assert!(!path.exists());
    }

    #[cfg(unix)]
    #[test]
    fn f10_a_lease_counts_while_it_is_young_and_its_process_lives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lease.json");
        let now = super::super::now();
        let parent = std::os::unix::process::parent_id();
        plant(&path, parent, now);
        let busy = take(&path, SHARED).unwrap();
        assert!(matches!(busy, Attempt::Busy(Some(pid)) if pid == parent));

        for (what, pid, at) in [
            ("dead", dead_process(), now),
            ("no process", 0, now),
            ("old", parent, now - 30_001),
            ("of a clock that was set back", parent, now + 60_000),
            (
                "of an earlier process with our number",
                std::process::id(),
                now,
            ),
        ] {
            plant(&path, pid, at);
            assert!(is_free(&path, SHARED), "{what}");
            assert!(!path.exists(), "{what}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn f10_in_the_place_of_a_lock_only_the_age_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lease");
        let now = super::super::now();
        for pid in [0, std::process::id()] {
            plant(&path, pid, now);
            assert!(!is_free(&path, OWN), "{pid} may live on another machine");
        }
        plant(&path, 0, now - 40_001);
        assert!(is_free(&path, OWN));
    }

    #[test]
    fn f10_a_lease_that_is_being_written_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lease.json");
        for text in ["", "{\"pid\":", "[]"] {
            fs::write(&path, text).unwrap();
            #[cfg(unix)]
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
                .unwrap();
            assert!(!is_free(&path, SHARED), "{text}");
        }
    }

    #[test]
    fn f10_it_is_kept_alive_and_given_back_only_while_it_is_ours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lease.json");
        let terms = Terms {
            beat: Duration::from_millis(5),
            ..SHARED
        };
        let at = || {
            look(&path)
                .unwrap()
                .and_then(|(holder, _)| holder)
                .map(|holder| (holder.nonce, holder.at))
        };
        let Attempt::Taken(taken) = take(&path, terms).unwrap() else {
            panic!("it is free");
        };
        let first = at().unwrap();
        let deadline = Instant::now() + DEADLINE;
        while at().unwrap().1 == first.1 {
            assert!(Instant::now() < deadline, "its time stands still");
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(at().unwrap().0, first.0);

        drop(taken);

        // Somebody believes it dead.
        let Attempt::Taken(taken) = take(&path, SHARED).unwrap() else {
            panic!("it is free");
        };
        plant(&path, 0, 1);
        drop(taken);
        let left = at().unwrap();
        assert!(left == ("theirs".to_owned(), 1), "{left:?}");
    }

    #[test]
    fn f10_who_died_while_breaking_a_lease_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lease.json");
        let guard = folder.path().join("lease.json.breaking.tmp");
        plant(&path, 0, super::super::now());
        fs::write(&guard, "").unwrap();
        assert!(!is_free(&path, SHARED), "somebody is at it");
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(31);
        let file = fs::File::options().write(true).open(&guard).unwrap();
        file.set_modified(long_ago).unwrap();
        assert!(is_free(&path, SHARED));
        plant(&path, 0, super::super::now());
        plant(&guard, dead_process(), super::super::now());
        assert!(is_free(&path, SHARED), "its process is dead");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn f10_of_many_who_break_a_dead_lease_one_gets_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lease.json");
        for _ in 0..50 {
            plant(&path, 0, super::super::now());
            let (taken, busy) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let barrier = std::sync::Barrier::new(8);
            thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        let attempt = take(&path, SHARED).unwrap();
                        match &attempt {
                            Attempt::Taken(_) => taken.fetch_add(1, Ordering::SeqCst),
                            Attempt::Busy(_) => busy.fetch_add(1, Ordering::SeqCst),
                        };
                        barrier.wait();
                    });
                }
            });
            assert_eq!(taken.into_inner(), 1);
            assert_eq!(busy.into_inner(), 7);
        }
    }
}
