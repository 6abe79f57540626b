//! The program under test as a child process: line in, line out, a deadline on every wait.
//!
//! In: spawning from a bare environment, pipes, signals, and the checks that hold for every run
//! (stdout is single-line JSON-RPC, each request answered at most once). Out: what a client says
//! (`rpc`).

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::answers::Answers;
use super::home::Home;
use super::pipe::Tap;
use super::rpc;
use super::watched::{DEADLINE, Watched};

/// How to start the program; [`start`](Self::start) does it.
pub(crate) struct Launch {
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    home: Option<Arc<Home>>,
    parent: Vec<OsString>,
    stderr: Option<Stdio>,
}

/// A running child. Dropping it kills it, and fails the test when stdout carried anything but
/// MCP messages.
pub(crate) struct Bridge {
    child: Child,
    home: Arc<Home>,
    writer: Option<mpsc::Sender<Vec<u8>>>,
    unread: Arc<AtomicUsize>,
    tap: Tap,
    output: Arc<Watched<Output>>,
    words: Arc<Watched<Words>>,
    next_id: u64,
    patience: Duration,
}

/// What a child left behind that ended by itself.
pub(crate) struct Ended {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// Messages that the test had not taken.
    pub(crate) messages: Vec<Value>,
    /// Everything it wrote to stderr.
    pub(crate) stderr: String,
}

#[derive(Default)]
struct Output {
    /// Lines not yet taken, without their line end.
    lines: Vec<Vec<u8>>,
    paused: bool,
    ended: bool,
    answers: Answers,
}

#[derive(Default)]
struct Words {
    text: String,
    ended: bool,
}

impl Launch {
    /// Adds arguments after the URL.
    pub(crate) fn args<I>(mut self, arguments: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Uses this home instead of an empty one.
    pub(crate) fn home(mut self, home: &Arc<Home>) -> Self {
        self.home = Some(Arc::clone(home));
        self
    }

    /// Lets this command start the program: it gets the program and its arguments as its last
    /// ones, and is the child that the test sees.
    pub(crate) fn under<I>(mut self, parent: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        self.parent = parent.into_iter().map(Into::into).collect();
        self
    }

    /// Sends stderr there; the test's own view of it stays empty.
    pub(crate) fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.stderr = Some(stderr.into());
        self
    }

    /// Starts the program.
    #[track_caller]
    pub(crate) fn start(self) -> Bridge {
        let home = self.home.unwrap_or_else(|| Arc::new(Home::new()));
        let program = OsString::from(env!("CARGO_BIN_EXE_mcp-bridge"));
        let mut words = self.parent.into_iter().chain([program]);
        let mut command = Command::new(words.next().expect("there is the program at least"));
        command
            .args(words)
            .args(self.arguments)
            .env_clear()
            .env("HOME", home.path())
            .env("USERPROFILE", home.path())
            .env("MCP_REMOTE_CONFIG_DIR", home.config_dir())
            .current_dir(home.path());
        for name in ["SystemRoot", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.environment);
        command.stderr(self.stderr.unwrap_or_else(Stdio::piped));
        Bridge::run(command, home)
    }
}

impl Bridge {
    /// Prepares the program to bridge to this URL.
    pub(crate) fn to(url: &str) -> Launch {
        Self::command([url])
    }

    /// Prepares the program with these arguments and nothing else.
    pub(crate) fn command<I>(arguments: I) -> Launch
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        Launch {
            arguments: Vec::new(),
            environment: Vec::new(),
            home: None,
            parent: Vec::new(),
            stderr: None,
        }
        .args(arguments)
    }

    /// Starts the program on this URL, with nothing else given.
    #[track_caller]
    pub(crate) fn spawn(url: &str) -> Self {
        Self::to(url).start()
    }

    fn run(mut command: Command, home: Arc<Home>) -> Self {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().expect("the program starts");
        drop(command); // and with it our copy of a stderr that the test gave
        let output = Arc::new(Watched::new(Output::default()));
        let words = Arc::new(Watched::new(Words::default()));
        let (writer, orders) = mpsc::channel();
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take();
        let (tap, stdout) = Tap::new(stdout);
        let (lines, sink) = (Arc::clone(&output), Arc::clone(&words));
        let unread = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&unread);
        std::thread::spawn(move || write_lines(stdin, &orders, &left));
        std::thread::spawn(move || read_lines(stdout, &lines));
        match stderr {
            Some(stderr) => drop(std::thread::spawn(move || read_words(stderr, &sink))),
            None => sink.with(|words| words.ended = true),
        }
        let writer = Some(writer);
        let patience = DEADLINE;
        Self {
            child,
            home,
            writer,
            unread,
            tap,
            output,
            words,
            next_id: 1000,
            patience,
        }
    }

    /// Waits longer, or less, than [`DEADLINE`] from now on.
    pub(crate) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Its home.
    pub(crate) fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// Where it keeps its files.
    pub(crate) fn config_dir(&self) -> PathBuf {
        self.home.config_dir()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes one message and a newline.
    #[track_caller]
    pub(crate) fn send(&self, message: &Value) {
        self.send_raw(format!("{message}\n"));
    }

    /// Writes these bytes, which need not be lines, UTF-8 or JSON. Does not wait for them to be
    /// read.
    #[track_caller]
    pub(crate) fn send_raw(&self, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.output.with(|output| output.answers.asked(&bytes));
        let writer = self.writer.as_ref().expect("stdin was closed by the test");
        self.unread.fetch_add(1, Ordering::Relaxed);
        // The child may be gone already; then the next wait says so.
        let _ = writer.send(bytes);
    }

    /// Pieces sent that did not fit into the pipe yet, because the program does not read it.
    pub(crate) fn unread(&self) -> usize {
        self.unread.load(Ordering::Relaxed)
    }

    /// Takes the next message, waiting for it.
    #[track_caller]
    pub(crate) fn recv(&self) -> Value {
        parse(&self.recv_raw())
    }

    /// Takes the next line as it came, without its line end.
    #[track_caller]
    pub(crate) fn recv_raw(&self) -> Vec<u8> {
        self.take_line("a line", &|_| true)
    }

    /// Takes the first message that suits, waiting for it; the others stay.
    #[track_caller]
    pub(crate) fn recv_where(&self, suits: impl Fn(&Value) -> bool) -> Value {
        parse(&self.take_line("a message the test waits for", &|line| suits(&parse(line))))
    }

    /// Takes the response with this id, waiting for it; other messages stay.
    #[track_caller]
    pub(crate) fn response(&self, id: impl Into<Value>) -> Value {
        parse(&self.response_raw(id))
    }

    /// As [`response`](Self::response), as the line came.
    #[track_caller]
    pub(crate) fn response_raw(&self, id: impl Into<Value>) -> Vec<u8> {
        let id = id.into();
        let suits = |line: &[u8]| {
            let message = parse(line);
            message.get("method").is_none() && message.get("id") == Some(&id)
        };
        self.take_line(&format!("a response to {id}"), &suits)
    }

    /// Takes the next request or notification with this method, waiting for it; other messages
    /// stay.
    #[track_caller]
    pub(crate) fn recv_method(&self, method: &str) -> Value {
        let suits = |line: &[u8]| parse(line).get("method").is_some_and(|it| it == method);
        parse(&self.take_line(method, &suits))
    }

    /// Messages that are there and not yet taken. They stay.
    pub(crate) fn waiting(&self) -> Vec<Value> {
        self.output
            .with(|output| output.lines.iter().map(|line| parse(line)).collect())
    }

    /// Sends a request under a new id and takes its response.
    #[track_caller]
    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        self.next_id += 1;
        self.send(&rpc::request(self.next_id, method, params));
        self.response(self.next_id)
    }

    /// Sends a notification.
    #[track_caller]
    pub(crate) fn notify(&self, method: &str, params: Value) {
        self.send(&rpc::notification(method, params));
    }

    /// Initializes at [`rpc::VERSION`]; gives the response.
    #[track_caller]
    pub(crate) fn handshake(&mut self) -> Value {
        self.handshake_at(rpc::VERSION)
    }

    /// Initializes at this protocol version; gives the response, which must be a result.
    #[track_caller]
    pub(crate) fn handshake_at(&mut self, version: &str) -> Value {
        self.send(&rpc::initialize("init", version));
        let response = self.response("init");
        assert!(
            response.get("result").is_some(),
            "initialize failed: {response}"
        );
        self.send(&rpc::initialized());
        response
    }

    /// Ends stdin, after what was sent. What came after the last newline counts as a line.
    pub(crate) fn close_stdin(&mut self) {
        self.output.with(|output| output.answers.asked(b"\n"));
        self.writer = None;
    }

    /// Reads nothing more from its stdout, but for what a read that has begun brings, until
    /// [`resume_stdout`](Self::resume_stdout).
    pub(crate) fn pause_stdout(&self) {
        self.output.with(|output| output.paused = true);
    }

    /// Ends the pause.
    pub(crate) fn resume_stdout(&self) {
        self.output.with(|output| output.paused = false);
    }

    /// Allows the last line of stdout to be cut off: for a test that does not read it in time.
    pub(crate) fn may_cut_stdout(&self) {
        self.output.with(|output| output.answers.may_be_cut());
    }

    /// Closes the reading end of its stdout.
    pub(crate) fn close_stdout(&mut self) {
        self.tap.close();
        let closed = self
            .output
            .wait(self.patience, |output| output.ended.then_some(()));
        assert!(closed.is_some(), "the reader of stdout did not end");
    }

    /// Sends a signal, such as `Signal::TERM`.
    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, signal).expect("the child takes signals");
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child's state").is_none()
    }

    /// Waits for it to end by itself.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        let until = Instant::now() + self.patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child's state") {
                return status;
            }
            assert!(Instant::now() < until, "it did not end; {}", self.story());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Closes stdin, waits for a clean end (exit code 0) and gives what is left.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Ended {
        self.close_stdin();
        let ended = self.ended();
        assert!(
            ended.status.success(),
            "ended with {}; stderr:\n{}",
            ended.status,
            ended.stderr
        );
        ended
    }

    /// Waits for it to end by itself, whatever the exit code, and gives what is left.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> Ended {
        let status = self.wait_exit();
        let read = self
            .output
            .wait(self.patience, |output| output.ended.then_some(()));
        let said = self
            .words
            .wait(self.patience, |words| words.ended.then_some(()));
        assert!(
            read.and(said).is_some(),
            "somebody kept its pipes open; {}",
            self.story()
        );
        Ended {
            status,
            messages: self.waiting(),
            stderr: self.stderr_so_far(),
        }
    }

    /// What it wrote to stderr so far.
    pub(crate) fn stderr_so_far(&self) -> String {
        self.words.with(|words| words.text.clone())
    }

    /// Waits until stderr contains this, and gives all of it.
    #[track_caller]
    pub(crate) fn wait_stderr(&self, wanted: &str) -> String {
        self.wait_stderr_where(&format!("{wanted:?}"), |text| text.contains(wanted))
    }

    /// Waits until stderr as a whole suits, and gives it.
    #[track_caller]
    pub(crate) fn wait_stderr_where(
        &self,
        what: &str,
        mut suits: impl FnMut(&str) -> bool,
    ) -> String {
        let look = |words: &mut Words| {
            if suits(&words.text) {
                return Some(Some(words.text.clone()));
            }
            words.ended.then_some(None)
        };
        let found = self.words.wait(self.patience, look).flatten();
        found.unwrap_or_else(|| panic!("stderr never said {what}; {}", self.story()))
    }

    #[track_caller]
    fn take_line(&self, what: &str, suits: &dyn Fn(&[u8]) -> bool) -> Vec<u8> {
        let mut seen = 0;
        let look = |output: &mut Output| {
            // Lines only ever leave through this thread, so those already judged need no second look.
            let fresh = output.lines.iter().skip(seen).position(|line| suits(line));
            if let Some(index) = fresh {
                return Some(Some(output.lines.remove(seen + index)));
            }
            seen = output.lines.len();
            output.ended.then_some(None)
        };
        let line = self.output.wait(self.patience, look).flatten();
        self.output.with(|output| output.answers.assert_well());
        line.unwrap_or_else(|| panic!("{what} did not come; {}", self.story()))
    }

    fn story(&self) -> String {
        let lines: Vec<String> = self.output.with(|output| {
            let shorten = |line: &Vec<u8>| {
                String::from_utf8_lossy(line)
                    .chars()
                    .take(400)
                    .collect::<String>()
            };
            output.lines.iter().map(shorten).collect()
        });
        let patience = self.patience;
        let stderr = self.stderr_so_far();
        format!("waited up to {patience:?}; lines not taken: {lines:#?}; stderr:\n{stderr}")
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.writer = None;
        let _ = self.child.kill(); // by its own id; an ended child is left alone
        let _ = self.child.wait();
        self.resume_stdout();
        self.tap.close();
        if !std::thread::panicking() {
            self.output
                .wait(DEADLINE, |output| output.ended.then_some(()));
            self.words.wait(DEADLINE, |words| words.ended.then_some(()));
            self.output.with(|output| output.answers.assert_well());
            let stderr = self.stderr_so_far();
            assert!(
                !stderr.contains("panicked at"),
                "the program panicked:\n{stderr}"
            );
        }
    }
}

fn write_lines(mut stdin: ChildStdin, orders: &mpsc::Receiver<Vec<u8>>, unread: &AtomicUsize) {
    while let Ok(bytes) = orders.recv() {
        if stdin
            .write_all(&bytes)
            .and_then(|()| stdin.flush())
            .is_err()
        {
            return; // the child is gone
        }
        unread.fetch_sub(1, Ordering::Relaxed);
    }
}

fn read_lines(stdout: impl Read, output: &Watched<Output>) {
    let mut reader = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        output.wait(DEADLINE, |output| (!output.paused).then_some(()));
        let read = reader.read_until(b'\n', &mut line).unwrap_or(0);
        output.with(|output| {
            if read == 0 {
                output.ended = true;
            } else {
                output.answers.written(&line);
                line.pop_if(|last| *last == b'\n');
                output.lines.push(line);
            }
        });
        if read == 0 {
            return;
        }
    }
}

fn read_words(stderr: impl Read, words: &Watched<Words>) {
    let mut reader = BufReader::new(stderr);
    loop {
        let mut line = Vec::new();
        let read = reader.read_until(b'\n', &mut line).unwrap_or(0);
        words.with(|words| {
            words.text.push_str(&String::from_utf8_lossy(&line));
            words.ended = read == 0;
        });
        if read == 0 {
            return;
        }
    }
}

/// Null for what is not JSON: [`Answers`] has complained about that already.
fn parse(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap_or_default()
}
