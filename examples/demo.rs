//! See it work: starts a small remote MCP server on loopback that wants a sign-in, runs the real
//! bridge against it and shows what the client says, what goes over HTTP, what comes back and how
//! long it takes. The sign-in page opens in your browser.
//!
//! ```text
//! cargo run --release --example demo
//! cargo run --release --example demo -- --auto-approve    # without a browser
//! ```

#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value without the member is null"
)]

#[path = "demo/authority.rs"]
mod authority;
#[path = "demo/person.rs"]
mod person;
#[path = "demo/server.rs"]
mod server;

use std::io::{BufRead as _, BufReader, IsTerminal as _, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use server::{Server, Sighting};

/// Longest wait for anything but a person.
const PATIENCE: Duration = Duration::from_secs(20);

/// Longest wait for a person who has to press a button.
const PERSON: Duration = Duration::from_secs(300);

/// Between two looks at what the server saw.
const PAUSE: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            say(&format!("the demo failed: {problem}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let auto_approve = auto_approve()?;
    let bridge = build_bridge()?;
    let server = Server::start().map_err(|error| format!("no server: {error}"))?;
    let home = tempfile::tempdir().map_err(|error| format!("no folder: {error}"))?;
    let stage = Stage {
        bridge,
        server,
        home: home.path().to_owned(),
        auto_approve,
    };
    say("");
    say("A client that only speaks stdio, the bridge, and a remote server on loopback.");
    for (title, path) in [
        (
            "Streamable HTTP, with a sign-in: once, in the browser",
            "/mcp",
        ),
        ("The same after a restart: nobody has to sign in", "/mcp"),
        (
            "HTTP+SSE (the old transport; the bridge finds out by itself), without a sign-in",
            "/sse",
        ),
    ] {
        let url = format!("{}{path}", stage.server.origin());
        say("");
        say(&bold(title));
        say(&dim(&format!(
            "$ mcp-bridge {}",
            stage.options(&url).join(" ")
        )));
        say("");
        Conversation::start(&stage, &url)?.hold()?;
    }
    say("");
    say("Every line above went through the real program. Put it into your client's configuration:");
    say(&dim("see README.md, \"Configure\""));
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the demo has an option of its own"
)]
fn auto_approve() -> Result<bool, String> {
    let options: Vec<String> = std::env::args().skip(1).collect();
    match options.as_slice() {
        [] => Ok(false),
        [option] if option == "--auto-approve" => Ok(true),
        _ => Err("the one option is --auto-approve".to_owned()),
    }
}

/// What all conversations share.
struct Stage {
    bridge: PathBuf,
    server: Server,
    /// Where sign-ins are kept; gone at the end.
    home: PathBuf,
    auto_approve: bool,
}

impl Stage {
    /// What the bridge is started with. A client that gives up soon would be answered before the
    /// person is done; this one waits.
    fn options<'a>(&self, url: &'a str) -> Vec<&'a str> {
        let mut options = vec![url, "--initialize-wait", "300"];
        if self.auto_approve {
            options.push("--no-browser");
        }
        options
    }
}

/// A line of the bridge, and on which of its outputs it came.
enum Line {
    Message(String),
    Words(String),
}

/// One life of the bridge.
struct Conversation<'a> {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<(Instant, Line)>,
    stage: &'a Stage,
    started: Instant,
    /// When the person was sent to the sign-in page.
    asked: Option<Instant>,
    next_id: u64,
}

impl<'a> Conversation<'a> {
    fn start(stage: &'a Stage, url: &str) -> Result<Self, String> {
        let started = now();
        let bridge = &stage.bridge;
        let mut child = Command::new(bridge)
            .args(stage.options(url))
            .env("MCP_BRIDGE_CONFIG_DIR", &stage.home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", bridge.display()))?;
        let stdin = child.stdin.take();
        let (sender, lines) = channel();
        let stdout = child.stdout.take().ok_or("no stdout")?;
        read_lines(stdout, Line::Message, sender.clone());
        let stderr = child.stderr.take().ok_or("no stderr")?;
        read_lines(stderr, Line::Words, sender);
        Ok(Self {
            child,
            stdin,
            lines,
            stage,
            started,
            asked: None,
            next_id: 0,
        })
    }

    fn hold(mut self) -> Result<(), String> {
        let hello = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "demo-client", "version": "1.0"},
        });
        let result = self.request("initialize", &hello)?;
        expect(&result["serverInfo"]["name"], &json!("demo-server"))?;
        self.notify("notifications/initialized")?;
        let result = self.request("tools/list", &json!({}))?;
        expect(&json!(result["tools"].as_array().map(Vec::len)), &json!(2))?;
        let sum = json!({"name": "add", "arguments": {"a": 19, "b": 23}});
        let result = self.request("tools/call", &sum)?;
        expect(&result["content"][0]["text"], &json!("42"))?;
        let countdown = json!({
            "name": "countdown",
            "arguments": {"from": 3},
            "_meta": {"progressToken": "demo"},
        });
        let result = self.request("tools/call", &countdown)?;
        expect(&result["content"][0]["text"], &json!("lift-off"))?;
        self.end()
    }

    fn request(&mut self, method: &str, params: &Value) -> Result<Value, String> {
        let id = self.next_id;
        self.next_id += 1;
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let asked = self.send(&message)?;
        loop {
            let (at, line) = self.receive()?;
            let answer: Value =
                serde_json::from_str(&line).map_err(|error| format!("not JSON: {error}"))?;
            if answer["id"] != json!(id) {
                self.show(at, "client ◀──", &describe(&answer));
                continue;
            }
            let took = at.saturating_duration_since(asked);
            self.show(
                at,
                "client ◀──",
                &format!("{}  {}", describe(&answer), dim(&millis(took))),
            );
            return match answer.get("result") {
                Some(result) => Ok(result.clone()),
                None => Err(format!("{method} was answered with {}", answer["error"])),
            };
        }
    }

    fn notify(&mut self, method: &str) -> Result<(), String> {
        self.send(&json!({"jsonrpc": "2.0", "method": method}))
            .map(|_| ())
    }

    fn send(&mut self, message: &Value) -> Result<Instant, String> {
        let at = now();
        self.show(at, "client ──▶", &describe(message));
        let stdin = self.stdin.as_mut().ok_or("stdin is closed")?;
        writeln!(stdin, "{message}").map_err(|error| format!("the bridge is gone: {error}"))?;
        Ok(at)
    }

    /// The next message. Whatever happens meanwhile is shown when it happens.
    fn receive(&mut self) -> Result<(Instant, String), String> {
        let mut deadline = now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(PAUSE) {
                Ok((at, Line::Message(line))) => return Ok((at, line)),
                Ok((at, Line::Words(words))) => {
                    if let Some(link) = link_in(&words) {
                        deadline = now() + PERSON;
                        self.send_person_to(at, link)?;
                    }
                }
                Err(RecvTimeoutError::Timeout) if now() > deadline => {
                    let waited = match self.asked {
                        Some(_) => "nobody pressed the button",
                        None => "no answer",
                    };
                    return Err(format!("{waited} in time"));
                }
                Err(RecvTimeoutError::Timeout) => self.show_sightings(),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err("the bridge ended without an answer".to_owned());
                }
            }
        }
    }

    /// The bridge has a link for the person. It opens the browser by itself unless told not to.
    fn send_person_to(&mut self, at: Instant, link: &str) -> Result<(), String> {
        if self.asked.replace(at).is_some() {
            return Ok(());
        }
        self.show(at, "bridge", "a person has to sign in at");
        say("");
        say(link);
        say("");
        if self.stage.auto_approve {
            return person::agree(link);
        }
        say(
            "It opens in your browser: press the button there. No browser? Open the link yourself,",
        );
        say("or start the demo with --auto-approve.");
        say("");
        Ok(())
    }

    /// Closes the client's end, as a client that quits does.
    fn end(mut self) -> Result<(), String> {
        let at = now();
        self.show(at, "client ──▶", "(closes the pipe)");
        self.stdin = None;
        let deadline = now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().map_err(|error| error.to_string())? {
                Some(status) => break status,
                None if now() > deadline => return Err("the bridge does not end".to_owned()),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let took = dim(&millis(now().saturating_duration_since(at)));
        self.show(
            now(),
            "bridge",
            &format!("ended with {}  {took}", status.code().unwrap_or(-1)),
        );
        expect(&json!(status.code()), &json!(0))
    }

    /// Prints a line of the client, after what the server saw before it.
    fn show(&self, at: Instant, who: &str, what: &str) {
        self.show_sightings();
        self.print(at, who, what);
    }

    fn show_sightings(&self) {
        for Sighting { at, text } in self.stage.server.sightings() {
            self.print(at, "  http", &dim(&text));
        }
    }

    fn print(&self, at: Instant, who: &str, what: &str) {
        let time = millis(at.saturating_duration_since(self.started));
        say(&format!("{} {who:<10} {what}", dim(&format!("{time:>9}"))));
    }
}

impl Drop for Conversation<'_> {
    fn drop(&mut self) {
        // Already gone, unless something failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(
    from: impl Read + Send + 'static,
    kind: fn(String) -> Line,
    to: Sender<(Instant, Line)>,
) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if to.send((now(), kind(line))).is_err() {
                return;
            }
        }
    });
}

fn link_in(words: &str) -> Option<&str> {
    words
        .split_whitespace()
        .find(|word| word.contains("response_type=code"))
}

/// Builds the binary beside this example: Cargo builds an example without it.
fn build_bridge() -> Result<PathBuf, String> {
    let release = !cfg!(debug_assertions);
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--bin", "mcp-bridge"]);
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    if release {
        build.arg("--release");
    }
    let status = build
        .status()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    if !status.success() {
        return Err("the bridge does not build".to_owned());
    }
    let example = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = example.parent().and_then(|examples| examples.parent());
    let folder = folder.ok_or("the example lies in no build folder")?;
    Ok(folder.join(format!("mcp-bridge{}", std::env::consts::EXE_SUFFIX)))
}

fn describe(message: &Value) -> String {
    let params = &message["params"];
    let text = match message["method"].as_str() {
        Some("tools/call") => {
            let name = params["name"].as_str().unwrap_or_default();
            format!("tools/call {name} {}", params["arguments"])
        }
        Some(method) if params.as_object().is_none_or(serde_json::Map::is_empty) => {
            method.to_owned()
        }
        Some(method) => format!("{method} {params}"),
        None if message.get("error").is_some() => format!("error {}", message["error"]),
        None => format!("result {}", message["result"]),
    };
    let mut shown: String = text.chars().take(96).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

fn expect(found: &Value, wanted: &Value) -> Result<(), String> {
    if found == wanted {
        Ok(())
    } else {
        Err(format!("expected {wanted}, got {found}"))
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn bold(text: &str) -> String {
    styled("1", text)
}

fn dim(text: &str) -> String {
    styled("2", text)
}

fn styled(code: &str, text: &str) -> String {
    if std::io::stdout().is_terminal() {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

fn say(line: &str) {
    // A closed stdout ends nothing here.
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "the demo shows how long things take"
)]
fn now() -> Instant {
    Instant::now()
}
