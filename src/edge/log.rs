//! What people get to read: lines on stderr and in a log file.
//!
//! In: a level and a text, formatting, the size of the file. Out: what is worth saying (`proto`),
//! and making text of a remote harmless where it is quoted (`proto::text`); here control
//! characters are only stopped as a last line of defence.
//!
//! Lines are written by a thread per output, so that a stderr nobody reads, a closed one or a slow
//! disk never holds up a message. Libraries below us have no logger at all: nothing of what they
//! would say about headers or bodies gets out.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::error::FailureKind;
use crate::proto::Level;
use crate::proto::secret::{Secret, mask_quoted};
use crate::proto::text::sanitize;

/// Longest line, in characters before JSON escapes.
pub const LINE_CHARS: usize = 4096;

/// Lines that may wait for one output before further ones are dropped and counted.
pub const QUEUE_LINES: usize = 1024;

/// Size at which the log file becomes `FILE.1` (replacing the one before) and begins anew, in
/// bytes.
pub const LOG_FILE_LIMIT: u64 = 10 << 20;

/// Most bytes of lines that [`LogSettings::keep`] keeps; of more, the oldest go.
pub const KEPT_BYTES: usize = 512 << 10;

/// How long the end of the process waits for lines that are not yet written.
const FLUSH_WAIT: Duration = Duration::from_millis(200);

/// Secrets that no line may hold; of more, those used longest ago are forgotten.
pub const KEPT_OUT: usize = 64;

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// What [`keep_out`] was told.
static SECRETS: Mutex<Secrets> = Mutex::new(Secrets(VecDeque::new()));

/// What to say, where and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct LogSettings {
    /// Debug lines on stderr too.
    pub debug: bool,
    /// Nothing on stderr below [`Level::Error`]; stronger than `debug`.
    pub silent: bool,
    /// Nothing on stderr but what [`tell`] says; stronger than both.
    pub quiet: bool,
    /// Keep the lines of every level in memory, for [`kept`].
    pub keep: bool,
    /// File that gets every line of every level.
    pub file: Option<PathBuf>,
    /// JSON objects instead of text, on stderr and in the file.
    pub json: bool,
}

/// Starts logging; later calls change nothing. A log file that cannot be opened safely is
/// reported as an error line, and logging goes on without it.
///
/// The guard belongs to `main`: when it goes, lines still waiting are written, within a fraction
/// of a second.
pub fn init(settings: &LogSettings) -> Guard {
    let mut file_problem = None;
    LOGGER.get_or_init(|| {
        let (logger, problem) = Logger::new(settings);
        file_problem = problem;
        logger
    });
    if let Some(problem) = file_problem {
        let kind = FailureKind::File.as_str();
        say(Level::Error, &format!("{problem} [{kind}]"));
    }
    Guard
}

/// Says one line. Never blocks, never fails; before [`init`] it says nothing.
pub fn say(level: Level, text: &str) {
    if let Some(logger) = LOGGER.get() {
        logger.say(level, text, now());
    }
}

/// Says that something of our own is broken: on stderr too, whatever the settings.
pub fn alarm(text: &str) {
    say(Level::Error, text);
    if let Some(logger) = LOGGER.get()
        && !logger.is_for_stderr(Level::Error)
    {
        let (text, _) = without_secrets(text);
        let line = logger.format.line(Level::Error, &text, now(), false);
        logger.stderr.push(line);
    }
}

/// Tells the person an address to open, alone on its line: on stderr, whatever the settings, and
/// not in the log file, because it is for now alone.
pub fn tell(text: &str, address: &str) {
    if let Some(logger) = LOGGER.get() {
        let (text, _) = without_secrets(text);
        let line = logger.format.line(Level::Error, &text, now(), false);
        logger
            .stderr
            .push(logger.format.with_address(line, address));
    }
}

/// The lines that [`LogSettings::keep`] kept, each with its end and without secrets that are known
/// by now. Before the first of them it says how many there were once.
#[must_use]
pub fn kept() -> String {
    let kept = LOGGER.get().and_then(|logger| logger.kept.as_ref());
    let text = kept.map_or_else(String::new, |kept| {
        kept.lock().unwrap_or_else(PoisonError::into_inner).text()
    });
    without_secrets(&text).0.into_owned()
}

/// Masks this in every line from now on. Whoever says something leaves secrets out; this is for the
/// day when that was forgotten.
pub fn keep_out(secret: &Secret) {
    let mut secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    secrets.add(secret);
}

/// A text without those secrets, and whether it held one.
fn without_secrets(text: &str) -> (Cow<'_, str>, bool) {
    let secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    match secrets.mask(text) {
        Some(masked) => (Cow::Owned(masked), true),
        None => (Cow::Borrowed(text), false),
    }
}

/// The last lines.
#[derive(Default)]
struct Kept {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: usize,
}

impl Kept {
    fn push(&mut self, line: Vec<u8>) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.bytes > KEPT_BYTES
            && let Some(oldest) = self.lines.pop_front()
        {
            self.bytes -= oldest.len();
            self.dropped += 1;
        }
    }

    fn text(&self) -> String {
        let mut text = match self.dropped {
            0 => String::new(),
            dropped => format!("({dropped} earlier lines were dropped)\n"),
        };
        for line in &self.lines {
            text.push_str(&String::from_utf8_lossy(line));
        }
        text
    }
}

/// Secrets, the one used last in front.
#[derive(Default)]
struct Secrets(VecDeque<Secret>);

impl Secrets {
    fn add(&mut self, secret: &Secret) {
        self.0.retain(|kept| kept != secret);
        self.0.truncate(KEPT_OUT - 1);
        self.0.push_front(secret.clone());
    }

    /// The text without them; `None`: it holds none.
    fn mask(&self, text: &str) -> Option<String> {
        // No spelling of a secret is shorter than the secret.
        let secrets = self.0.iter().map(Secret::reveal);
        let secrets = secrets.filter(|secret| secret.len() <= text.len());
        let masked = mask_quoted(text.as_bytes(), secrets)?;
        Some(String::from_utf8_lossy(&masked).into_owned())
    }
}

/// Whether anybody would read a line of this level: worth asking before an expensive text is made.
#[must_use]
pub fn enabled(level: Level) -> bool {
    LOGGER.get().is_some_and(|logger| logger.is_read(level))
}

/// Writes what is still waiting when it goes.
#[derive(Debug)]
#[must_use = "logging ends with the guard"]
pub struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(logger) = LOGGER.get() {
            logger.flush();
        }
    }
}

struct Logger {
    format: Format,
    /// The lowest level that stderr gets; `None`: it gets none.
    threshold: Option<Level>,
    stderr: Sink,
    file: Option<Sink>,
    kept: Option<Mutex<Kept>>,
}

impl Logger {
    /// The logger, and what is wrong with the log file.
    fn new(settings: &LogSettings) -> (Self, Option<String>) {
        let format = Format {
            json: settings.json,
            pid: std::process::id(),
        };
        let stderr = Sink::start(format, |line| drop(io::stderr().lock().write_all(line)));
        let opened = settings
            .file
            .as_deref()
            .map(|path| LogFile::open(path, LOG_FILE_LIMIT));
        let (file, problem) = match opened {
            Some(Ok(mut file)) => (
                Some(Sink::start(format, move |line| file.append(line))),
                None,
            ),
            Some(Err(problem)) => (None, Some(problem)),
            None => (None, None),
        };
        (
            Self {
                format,
                threshold: threshold(settings),
                stderr,
                file,
                kept: settings.keep.then(Mutex::default),
            },
            problem,
        )
    }

    /// Whether any output gets lines of this level.
    fn is_read(&self, level: Level) -> bool {
        self.file.is_some() || self.kept.is_some() || self.is_for_stderr(level)
    }

    fn is_for_stderr(&self, level: Level) -> bool {
        self.threshold.is_some_and(|threshold| level >= threshold)
    }

    fn say(&self, level: Level, text: &str, time: SystemTime) {
        if !self.is_read(level) {
            return;
        }
        let (text, leaked) = without_secrets(text);
        self.push(level, &text, time);
        if leaked {
            let text = "a secret was masked in the line above; please report this";
            self.push(Level::Debug, text, time);
        }
    }

    fn push(&self, level: Level, text: &str, time: SystemTime) {
        if self.is_for_stderr(level) {
            self.stderr
                .push(self.format.line(level, text, time, level == Level::Debug));
        }
        if let Some(file) = &self.file {
            file.push(self.format.line(level, text, time, true));
        }
        if let Some(kept) = &self.kept {
            let line = self.format.line(level, text, time, true);
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push(line);
        }
    }

    fn flush(&self) {
        self.stderr.flush(FLUSH_WAIT);
        if let Some(file) = &self.file {
            file.flush(FLUSH_WAIT);
        }
    }
}

/// The lowest level that stderr gets, if it gets any.
fn threshold(settings: &LogSettings) -> Option<Level> {
    match settings {
        LogSettings { quiet: true, .. } => None,
        LogSettings { silent: true, .. } => Some(Level::Error),
        LogSettings { debug: true, .. } => Some(Level::Debug),
        _ => Some(Level::Info),
    }
}

#[derive(Clone, Copy)]
struct Format {
    json: bool,
    pid: u32,
}

impl Format {
    /// One line with its end: `[PID] text`, `[PID] [time] text` or a JSON object.
    fn line(self, level: Level, text: &str, time: SystemTime, timed: bool) -> Vec<u8> {
        #[derive(Serialize)]
        struct Entry<'a> {
            time: String,
            level: &'static str,
            pid: u32,
            message: &'a str,
        }

        let pid = self.pid;
        let message = &sanitize(text, LINE_CHARS);
        let line = if self.json {
            let entry = Entry {
                time: iso8601(time),
                level: level_name(level),
                pid,
                message,
            };
            // Cannot fail: strings and a number.
            serde_json::to_string(&entry).unwrap_or_default() + "\n"
        } else if timed {
            format!("[{pid}] [{}] {message}\n", iso8601(time))
        } else {
            format!("[{pid}] {message}\n")
        };
        line.into_bytes()
    }

    /// A line and an address after it, which is never shortened.
    fn with_address(self, mut line: Vec<u8>, address: &str) -> Vec<u8> {
        let address = sanitize(address, usize::MAX);
        if self.json {
            // `{…}` and a line end: the address becomes the last member.
            line.truncate(line.len().saturating_sub(2));
            let address = serde_json::Value::from(address);
            line.extend_from_slice(format!(",\"url\":{address}}}\n").as_bytes());
        } else {
            line.extend_from_slice(address.as_bytes());
            line.push(b'\n');
        }
        line
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

/// One output: a bounded queue and the thread that empties it.
struct Sink {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    dropped: usize,
    writing: bool,
}

impl Sink {
    fn start(format: Format, mut write: impl FnMut(&[u8]) + Send + 'static) -> Self {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        let work = move || {
            loop {
                let (line, dropped) = theirs.next();
                if dropped > 0 {
                    let text = format!("{dropped} log lines were dropped: nobody reads them");
                    write(&format.line(Level::Warn, &text, now(), false));
                }
                write(&line);
            }
        };
        // Without a thread there is no log, which is no reason not to work.
        drop(thread::Builder::new().name("log".into()).spawn(work));
        Self { shared }
    }

    fn push(&self, line: Vec<u8>) {
        let mut queue = self.shared.lock();
        if queue.lines.len() < QUEUE_LINES {
            queue.lines.push_back(line);
        } else {
            queue.dropped += 1;
        }
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// Waits until everything is written, but not longer than `wait`.
    fn flush(&self, wait: Duration) {
        let busy = |queue: &mut Queue| queue.writing || !queue.lines.is_empty();
        drop(
            self.shared
                .changed
                .wait_timeout_while(self.shared.lock(), wait, busy),
        );
    }
}

impl Shared {
    /// Waits for a line; with it, how many were dropped before it.
    fn next(&self) -> (Vec<u8>, usize) {
        let mut queue = self.lock();
        queue.writing = false;
        self.changed.notify_all();
        loop {
            if let Some(line) = queue.lines.pop_front() {
                queue.writing = true;
                return (line, std::mem::take(&mut queue.dropped));
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A log file that only its owner can read and that never grows over its limit.
struct LogFile {
    path: PathBuf,
    file: File,
    limit: u64,
}

impl LogFile {
    fn open(path: &Path, limit: u64) -> Result<Self, String> {
        match open_safely(path) {
            Ok(file) => Ok(Self {
                path: path.to_owned(),
                file,
                limit,
            }),
            Err(error) => {
                let path = path.display();
                Err(format!(
                    "cannot log to --log-file {path}: {error}; going on without it"
                ))
            }
        }
    }

    /// Appends a line. Whatever fails is ignored; a file that cannot be rotated gets no more.
    fn append(&mut self, line: &[u8]) {
        let room = |size: u64| size.saturating_add(line.len() as u64) <= self.limit;
        let size = |file: &File| file.metadata().map_or(0, |metadata| metadata.len());
        if !room(size(&self.file)) {
            // Another process that logs to the same file may have rotated it already.
            let named = std::fs::symlink_metadata(&self.path).map_or(0, |metadata| metadata.len());
            if !room(named) && std::fs::rename(&self.path, older(&self.path)).is_err() {
                return;
            }
            match open_safely(&self.path) {
                Ok(file) => self.file = file,
                Err(_) => return,
            }
        }
        drop(self.file.write_all(line));
    }
}

/// `FILE.1`.
fn older(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".1");
    name.into()
}

/// Opens for appending, for the owner alone. On Unix no symbolic link is followed, so that a
/// planted one cannot direct the log into another file.
fn open_safely(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;

        use rustix::fs::OFlags;

        // Not blocking: a pipe without a reader is refused instead of waited for.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        options.mode(0o600).custom_flags(flags.bits().cast_signed());
    }
    let file = options
        .open(path)
        .map_err(|error| match std::fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_symlink() => io::Error::other("it is a symbolic link"),
            _ => error,
        })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    #[cfg(unix)]
    {
        use std::fs::Permissions;
        use std::os::unix::fs::PermissionsExt as _;

        if metadata.permissions().mode() & 0o077 != 0 {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
    }
    Ok(file)
}

fn now() -> SystemTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "log lines carry the wall-clock time"
    )]
    SystemTime::now()
}

/// UTC with milliseconds, as in `2026-03-01T12:00:00.000Z` (RFC 3339 §5.6).
#[must_use]
pub fn iso8601(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, rest) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let millis = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar. Years are
/// counted from March, so that the leap day is the last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "the tests read the files they log to"
    )]

    use std::sync::mpsc;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);
    const TEXT: Format = Format {
        json: false,
        pid: 42,
    };

    fn line(format: Format, level: Level, text: &str, timed: bool) -> String {
        let time = UNIX_EPOCH + Duration::from_millis(1_772_366_400_007);
        String::from_utf8(format.line(level, text, time, timed)).unwrap()
    }

    #[test]
    fn an_address_stands_alone_and_is_never_shortened() {
        let address = format!("https://as.example/?x={}", "y".repeat(2 * LINE_CHARS));
        let text = Format {
            json: false,
            pid: 7,
        };
        let line = text.with_address(
            text.line(Level::Error, "open:", UNIX_EPOCH, false),
            &address,
        );
        assert_eq!(
            String::from_utf8(line).unwrap(),
            format!("[7] open:\n{address}\n")
        );
        let json = Format { json: true, pid: 7 };
        let line = json.with_address(
            json.line(Level::Error, "open:", UNIX_EPOCH, false),
            &address,
        );
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(
            (value["message"].as_str(), value["url"].as_str()),
            (Some("open:"), Some(&*address))
        );
    }

    #[test]
    fn f22_of_many_secrets_those_used_last_are_masked() {
        let mut secrets = Secrets::default();
        let secret = |number: usize| Secret::from(format!("canary-{number:04}"));
        for number in 0..KEPT_OUT {
            secrets.add(&secret(number));
        }
        secrets.add(&secret(0));
        secrets.add(&secret(KEPT_OUT));
        let masked = |number| secrets.mask(&format!("<{}>", secret(number).reveal()));
        assert_eq!(masked(0).as_deref(), Some("<[hidden]>"));
        assert_eq!(masked(KEPT_OUT).as_deref(), Some("<[hidden]>"));
        assert_eq!(masked(1), None, "it was used longest ago");
        assert_eq!(secrets.mask("canary"), None);
    }

    #[test]
    fn lines_begin_with_the_process_id() {
        assert_eq!(
            line(TEXT, Level::Info, "Press Ctrl+C to exit", false),
            "[42] Press Ctrl+C to exit\n"
        );
        assert_eq!(
            line(TEXT, Level::Debug, "x", true),
            "[42] [2026-03-01T12:00:00.007Z] x\n"
        );
    }

    #[test]
    fn json_lines_have_four_members() {
        let json = Format {
            json: true,
            pid: 42,
        };
        assert_eq!(
            line(json, Level::Warn, "say \"hi\"", false),
            "{\"time\":\"2026-03-01T12:00:00.007Z\",\"level\":\"warn\",\"pid\":42,\"message\":\"say \\\"hi\\\"\"}\n"
        );
    }

    #[test]
    fn g09_no_control_character_gets_out_and_lines_are_capped() {
        for format in [
            TEXT,
            Format {
                json: true,
                pid: 42,
            },
        ] {
            let hostile = "\u{1b}]52;c;x\u{7}\u{9b}2J\r\n[1] forged \u{202e}\u{2028}";
            let printed = line(format, Level::Info, hostile, false);
            let body = printed.strip_suffix('\n').unwrap();
            assert!(
                !body
                    .chars()
                    .any(|c| c.is_control() || "\u{202e}\u{2028}".contains(c)),
                "{body:?}"
            );
            let long = line(format, Level::Info, &"x".repeat(1 << 20), false);
            assert!(long.len() < LINE_CHARS + 200, "{}", long.len());
        }
    }

    #[test]
    fn days_become_dates() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_513, (2026, 3, 1)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days), date, "{days}");
        }
    }

    #[test]
    fn silent_hides_all_but_errors_and_beats_debug() {
        let settings = |debug, silent| LogSettings {
            debug,
            silent,
            ..LogSettings::default()
        };
        assert_eq!(threshold(&settings(false, false)), Some(Level::Info));
        assert_eq!(threshold(&settings(true, false)), Some(Level::Debug));
        assert_eq!(threshold(&settings(false, true)), Some(Level::Error));
        assert_eq!(threshold(&settings(true, true)), Some(Level::Error));
        let quiet = LogSettings {
            quiet: true,
            ..settings(true, true)
        };
        assert_eq!(threshold(&quiet), None);
    }

    #[test]
    fn stderr_gets_its_level_and_the_file_everything() {
        let (sender, lines) = mpsc::channel();
        let sink = |name: &'static str| {
            let sender = sender.clone();
            Sink::start(TEXT, move |line| {
                sender
                    .send((name, String::from_utf8(line.to_vec()).unwrap()))
                    .unwrap();
            })
        };
        let logger = Logger {
            format: TEXT,
            threshold: Some(Level::Warn),
            stderr: sink("stderr"),
            file: Some(sink("file")),
            kept: Some(Mutex::default()),
        };
        for (level, text) in [(Level::Debug, "d"), (Level::Info, "i"), (Level::Error, "e")] {
            logger.say(level, text, UNIX_EPOCH);
        }
        logger.stderr.flush(DEADLINE);
        logger.file.as_ref().unwrap().flush(DEADLINE);
        let written: Vec<_> = lines.try_iter().collect();
        let of = |name| -> String {
            written
                .iter()
                .filter(|(to, _)| *to == name)
                .map(|(_, line)| line.as_str())
                .collect()
        };
        assert_eq!(of("stderr"), "[42] e\n");
        assert_eq!(
            of("file"),
            logger.kept.unwrap().into_inner().unwrap().text()
        );
        assert_eq!(
            of("file"),
            "[42] [1970-01-01T00:00:00.000Z] d\n[42] [1970-01-01T00:00:00.000Z] i\n\
             [42] [1970-01-01T00:00:00.000Z] e\n"
        );
    }

    #[test]
    fn kept_lines_are_the_last_ones() {
        let mut kept = Kept::default();
        let line = vec![b'x'; 1000];
        for _ in 0..1000 {
            kept.push(line.clone());
            assert!(kept.bytes <= KEPT_BYTES);
        }
        kept.push(b"last\n".to_vec());
        let text = kept.text();
        assert!(
            text.starts_with("(4") && text.ends_with("last\n"),
            "{}",
            &text[..40]
        );
        assert_eq!(kept.lines.len() + kept.dropped, 1001);
        assert_eq!(kept.bytes, kept.lines.iter().map(Vec::len).sum::<usize>());
    }

    #[test]
    fn an_output_nobody_reads_blocks_nobody_and_costs_bounded_memory() {
        let (release, gate) = mpsc::channel::<()>();
        let (sender, lines) = mpsc::channel();
        let sink = Sink::start(TEXT, move |line| {
            sender.send(line.to_vec()).unwrap();
            if line == b"stuck\n" {
                gate.recv_timeout(DEADLINE).unwrap();
            }
        });
        sink.push(b"stuck\n".to_vec());
        assert_eq!(lines.recv_timeout(DEADLINE).unwrap(), b"stuck\n");
        for number in 0..QUEUE_LINES + 7 {
            sink.push(format!("{number}\n").into_bytes());
        }
        assert_eq!(sink.shared.lock().lines.len(), QUEUE_LINES);
        release.send(()).unwrap();
        sink.flush(DEADLINE);
        let written: Vec<_> = lines.try_iter().collect();
        assert_eq!(written.len(), QUEUE_LINES + 1);
        assert_eq!(
            written[0],
            b"[42] 7 log lines were dropped: nobody reads them\n"
        );
        assert_eq!(written[1], b"0\n");
    }

    #[test]
    fn f23_the_file_keeps_its_cap_with_one_older_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bridge.log");
        let mut log = LogFile::open(&path, 1000).unwrap();
        for number in 0..500 {
            log.append(format!("line {number:03}\n").as_bytes());
        }
        let (new, old) = (
            std::fs::metadata(&path).unwrap(),
            std::fs::metadata(older(&path)).unwrap(),
        );
        assert!(new.len() <= 1000 && old.len() <= 1000 && old.len() > 900);
        let last = std::fs::read_to_string(&path).unwrap();
        assert!(last.ends_with("line 499\n"), "{last}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn two_processes_share_a_file_and_its_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bridge.log");
        let mut one = LogFile::open(&path, 100).unwrap();
        let mut other = LogFile::open(&path, 100).unwrap();
        for _ in 0..9 {
            one.append(b"123456789\n");
        }
        other.append(b"last fits\n");
        one.append(b"one turns\n");
        other.append(b"new file!\n");
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "one turns\nnew file!\n"
        );
        assert_eq!(std::fs::metadata(older(&path)).unwrap().len(), 100);
    }

    #[cfg(unix)]
    #[test]
    fn f23_the_file_is_private_and_links_and_pipes_are_refused() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;

        let fresh = folder.path().join("fresh");
        LogFile::open(&fresh, 1000).unwrap();
        assert_eq!(mode(&fresh), 0o600);

        let open = folder.path().join("open");
        std::fs::write(&open, "kept\n").unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
        LogFile::open(&open, 1000).unwrap().append(b"more\n");
        assert_eq!(mode(&open), 0o600);
        assert_eq!(std::fs::read_to_string(&open).unwrap(), "kept\nmore\n");

        let link = folder.path().join("link");
        symlink(&open, &link).unwrap();
        let problem = LogFile::open(&link, 1000).err().unwrap();
        assert!(
            problem.contains("--log-file") && problem.contains("symbolic link"),
            "{problem}"
        );

        let problem = LogFile::open(Path::new("/dev/null"), 1000).err().unwrap();
        assert!(problem.contains("not a regular file"), "{problem}");
        assert!(LogFile::open(folder.path(), 1000).is_err());
    }
}
