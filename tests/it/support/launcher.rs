//! Stands in for the browser's launcher: records how it was started, and may finish the sign-in.
//!
//! In: the `xdg-open` that a bridge finds, what it saw, the person behind it. Out: pages (`person`).
//! Unix alone, for it is a shell script.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::bridge::Launch;
use super::person::{Page, Person};
use super::watched::DEADLINE;

/// How often the folder of the stub is looked at.
const PAUSE: Duration = Duration::from_millis(5);

/// What happens once the stub has recorded its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Browser {
    /// The link is opened and followed to its end.
    Follows,
    /// Nothing: the person looks at the page and goes for lunch.
    Waits,
    /// The launcher says that it failed.
    Fails,
    /// The launcher writes to stdout and stderr and does not end (for a minute).
    Hangs,
    /// There is no launcher in `PATH`.
    Missing,
}

/// A launcher of the test's own. Several bridges may share it.
pub(crate) struct Launcher {
    folder: TempDir,
    pages: Arc<Mutex<Vec<Page>>>,
    over: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

/// One start of the launcher.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// Its process id.
    pub(crate) pid: u32,
    /// Its arguments, without its own name.
    pub(crate) arguments: Vec<String>,
    /// Its environment.
    pub(crate) environment: HashMap<String, String>,
    /// What its descriptors led to, by number, for those it was started with.
    pub(crate) descriptors: HashMap<u32, String>,
}

impl Launcher {
    /// A launcher of this kind, and a person without certificates.
    pub(crate) fn new(browser: Browser) -> Self {
        Self::with_person(browser, Person::new())
    }

    /// As [`new`](Self::new), with a person of the test's choice.
    pub(crate) fn with_person(browser: Browser, person: Person) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let starts = folder.path().join("starts");
        let programs = folder.path().join("bin");
        for path in [&starts, &programs] {
            fs::create_dir(path).expect("a folder below a temporary directory");
        }
        if browser != Browser::Missing {
            let program = programs.join("xdg-open");
            fs::write(&program, script(&starts, browser)).expect("a file in a temporary directory");
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(&program, mode).expect("the file is ours");
        }
        let (pages, over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let reader = (browser == Browser::Follows).then(|| {
            let (pages, over) = (Arc::clone(&pages), Arc::clone(&over));
            std::thread::spawn(move || follow_all(&starts, &person, &pages, &over))
        });
        Self {
            folder,
            pages,
            over,
            reader,
        }
    }

    /// Lets this bridge find the launcher, on a desktop that nothing speaks against.
    pub(crate) fn on(&self, launch: Launch) -> Launch {
        launch
            .env("PATH", self.folder.path().join("bin"))
            .env("DISPLAY", ":99")
    }

    /// The stub itself.
    pub(crate) fn program(&self) -> PathBuf {
        self.folder.path().join("bin/xdg-open")
    }

    /// Every start so far, in order.
    pub(crate) fn starts(&self) -> Vec<Start> {
        recorded(&self.folder.path().join("starts"))
    }

    /// How many those are.
    pub(crate) fn count(&self) -> usize {
        self.starts().len()
    }

    /// Waits for the `nth` start (the first is 1).
    #[track_caller]
    pub(crate) fn wait_start(&self, nth: usize) -> Start {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(start) = self.starts().into_iter().nth(nth - 1) {
                return start;
            }
            assert!(
                Instant::now() < until,
                "the launcher was not started {nth} times"
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Every page that the person has seen, redirects too, in order.
    pub(crate) fn pages(&self) -> Vec<Page> {
        let pages = self.pages.lock();
        pages.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(reader) = self.reader.take() {
            let ended = reader.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the person at the launcher panicked"
            );
        }
        for start in self.starts() {
            end_hanging(start.pid);
        }
    }
}

impl Start {
    /// The one argument, which is what the launcher was asked to open.
    #[track_caller]
    pub(crate) fn link(&self) -> &str {
        assert_eq!(self.arguments.len(), 1, "{self:?}");
        &self.arguments[0]
    }
}

/// A shell script that needs nothing from `PATH`. It records in a folder that gets its name last, so
/// that nobody reads half of it.
fn script(starts: &Path, browser: Browser) -> String {
    let starts = starts.display();
    let end = match browser {
        Browser::Fails => "exit 3",
        Browser::Hangs => "echo noise; echo noise >&2; exec /bin/sleep 61",
        Browser::Follows | Browser::Waits | Browser::Missing => "exit 0",
    };
    // The listing runs before the script opens anything of its own but itself; `ls` shows what the
    // shell holds, by the shell's process id.
    format!(
        "#!/bin/sh\n\
         new='{starts}/.'$$\n\
         /bin/mkdir \"$new\"\n\
         for number in 0 1 2 3 4 5 6 7 8 9 11 12 13 14 15 16 17 18 19 20; do\n\
         \x20 if [ -e /proc/$$/fd/$number ] || [ -L /proc/$$/fd/$number ]; then\n\
         \x20   target=$(/bin/readlink /proc/$$/fd/$number) && echo \"$number $target\"\n\
         \x20 fi\n\
         done >\"$new/descriptors\"\n\
         /bin/cat /proc/$$/environ >\"$new/environment\"\n\
         for word; do printf '%s\\0' \"$word\"; done >\"$new/arguments\"\n\
         /bin/mv \"$new\" '{starts}/'$(/bin/date +%s%N)-$$\n\
         {end}\n"
    )
}

fn recorded(starts: &Path) -> Vec<Start> {
    let entries = fs::read_dir(starts).expect("the folder of the launcher");
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    folders.retain(|folder| !name_of(folder).starts_with('.'));
    folders.sort();
    folders.iter().map(|folder| read_start(folder)).collect()
}

fn read_start(folder: &Path) -> Start {
    let read = |name| {
        let bytes = fs::read(folder.join(name)).expect("the launcher wrote it");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let words = |text: String| -> Vec<String> {
        let words = text.split_terminator('\0');
        words.map(str::to_owned).collect()
    };
    let pair = |text: &str, mark| {
        let (name, value) = text.split_once(mark)?;
        Some((name.to_owned(), value.to_owned()))
    };
    let environment = words(read("environment"));
    let descriptors = read("descriptors");
    let number = |(number, target): (String, String)| Some((number.parse().ok()?, target));
    Start {
        pid: pid_of(folder),
        arguments: words(read("arguments")),
        environment: environment
            .iter()
            .filter_map(|line| pair(line, '='))
            .collect(),
        descriptors: descriptors
            .lines()
            .filter_map(|line| pair(line, ' ').and_then(number))
            .collect(),
    }
}

fn name_of(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn pid_of(folder: &Path) -> u32 {
    let name = name_of(folder);
    let (_, pid) = name.split_once('-').expect("time-pid");
    pid.parse().expect("time-pid")
}

fn follow_all(starts: &Path, person: &Person, pages: &Mutex<Vec<Page>>, over: &AtomicBool) {
    let mut done = 0;
    while !over.load(Ordering::Acquire) {
        for start in recorded(starts).iter().skip(done) {
            let seen = start
                .arguments
                .first()
                .map_or_else(Vec::new, |link| person.open(link));
            let mut pages = pages.lock().unwrap_or_else(PoisonError::into_inner);
            pages.extend(seen);
            done += 1;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Ends a launcher that hangs; nothing else runs that command line under that id.
fn end_hanging(pid: u32) {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let process = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if line == b"/bin/sleep\x0061\0"
        && let Some(process) = process
    {
        let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
    }
}
