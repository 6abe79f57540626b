//! What the shipped binary costs: memory and processor time while idle, and memory for one large
//! result. Linux only.
//!
//! ```text
//! cargo bench --bench footprint            (all figures, about half a minute after the build)
//! cargo bench --bench footprint -- --quick (shorter idle time)
//! ```
//!
//! The binary is built with the `ship` profile first. Nothing is asserted: machines differ.

#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value without the member is null"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// Sizes of the large results, in MB.
const RESULTS: [usize; 3] = [1, 10, 50];

fn main() -> ExitCode {
    if !cfg!(target_os = "linux") {
        say("this measurement reads /proc and runs on Linux alone");
        return ExitCode::SUCCESS;
    }
    let quick = std::env::args_os().any(|argument| argument == "--quick");
    match run(if quick { 2 } else { 10 }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            say(&format!("failed: {problem}"));
            ExitCode::FAILURE
        }
    }
}

fn run(idle_seconds: u64) -> Result<(), String> {
    let binary = build()?;
    let size = file_size(&binary)?;
    let server = serve().map_err(text)?;
    say(&format!(
        "binary                                  {:8.2} MB",
        mb(size)
    ));

    let bridge = Bridge::start(&binary, server)?;
    let before = bridge.processor()?;
    let idle = bridge.memory("VmRSS:")?;
    std::thread::sleep(Duration::from_secs(idle_seconds));
    let after = bridge.processor()?;
    say(&format!(
        "resident, one session, GET stream open  {:8.2} MB",
        mb(idle)
    ));
    say(&format!(
        "  proportional share (PSS)              {:8.2} MB",
        mb(bridge.pss()?)
    ));
    say(&format!(
        "processor time in {idle_seconds:2} idle s               {:8} ms, {} wake-ups",
        after.ticks.saturating_sub(before.ticks) * 10,
        after.switches.saturating_sub(before.switches),
    ));
    bridge.end()?;

    for kind in ["json", "sse"] {
        for megabytes in RESULTS {
            let mut bridge = Bridge::start(&binary, server)?;
            let idle = bridge.memory("VmRSS:")?;
            let bytes = bridge.large_result(megabytes, kind)?;
            let peak = bridge.memory("VmHWM:")?;
            let ratio = mb(peak.saturating_sub(idle)) / mb(bytes);
            say(&format!(
                "peak for a result of {megabytes:2} MB ({kind:4})      {:8.2} MB, idle + {ratio:.2} x its size",
                mb(peak),
            ));
            bridge.end()?;
        }
    }
    Ok(())
}

/// A bridge with one session and an open stream.
struct Bridge {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

struct Processor {
    ticks: u64,
    switches: u64,
}

impl Bridge {
    fn start(binary: &Path, server: SocketAddr) -> Result<Self, String> {
        let mut child = Command::new(binary)
            .args([&format!("http://{server}/mcp"), "--silent"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(text)?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let mut bridge = Self {
            child,
            stdin,
            stdout,
        };
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "footprint", "version": "1"},
        });
        bridge
            .send(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}))?;
        bridge.line()?;
        bridge.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        // The server says hello on its own stream once that is open.
        bridge.line()?;
        bridge.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}))?;
        bridge.line()?;
        Ok(bridge)
    }

    fn send(&mut self, message: &Value) -> Result<(), String> {
        let stdin = self.stdin.as_mut().ok_or("stdin is closed")?;
        writeln!(stdin, "{message}").map_err(text)
    }

    /// The length of the next line.
    fn line(&mut self) -> Result<u64, String> {
        let mut total = 0;
        loop {
            let piece = self.stdout.fill_buf().map_err(text)?;
            if piece.is_empty() {
                return Err("the bridge ended".to_owned());
            }
            let end = piece.iter().position(|&byte| byte == b'\n');
            let taken = end.map_or(piece.len(), |end| end + 1);
            self.stdout.consume(taken);
            total += taken as u64;
            if end.is_some() {
                return Ok(total);
            }
        }
    }

    fn large_result(&mut self, megabytes: usize, kind: &str) -> Result<u64, String> {
        let arguments = json!({"megabytes": megabytes, "kind": kind});
        let params = json!({"name": "large", "arguments": arguments});
        self.send(&json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}))?;
        self.line()
    }

    fn memory(&self, field: &str) -> Result<u64, String> {
        kilobytes(&self.proc("status")?, field)
    }

    fn pss(&self) -> Result<u64, String> {
        kilobytes(&self.proc("smaps_rollup")?, "Pss:")
    }

    fn processor(&self) -> Result<Processor, String> {
        let stat = self.proc("stat")?;
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let number = |index: usize| {
            fields
                .get(index)
                .and_then(|field| field.parse::<u64>().ok())
        };
        let ticks = number(11).unwrap_or(0) + number(12).unwrap_or(0);
        let status = self.proc("status")?;
        let switches = status
            .lines()
            .filter_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
            .filter_map(|count| count.trim().parse::<u64>().ok())
            .sum();
        Ok(Processor { ticks, switches })
    }

    #[expect(clippy::disallowed_methods, reason = "the kernel's figures are files")]
    fn proc(&self, file: &str) -> Result<String, String> {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).map_err(text)
    }

    fn end(mut self) -> Result<(), String> {
        self.stdin = None;
        let status = self.child.wait().map_err(text)?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("the bridge ended with {status}"))
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // Already gone, unless something failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that knows one session and one tool.
fn serve() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            std::thread::spawn(move || answer_all(socket));
        }
    });
    Ok(address)
}

/// Answers requests on one connection until it breaks.
fn answer_all(socket: TcpStream) -> Option<()> {
    socket.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(socket.try_clone().ok()?);
    let mut socket = socket;
    loop {
        let mut first = String::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line == "\r\n" {
                break;
            }
            if first.is_empty() {
                first = line;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        respond(&mut socket, &first, &message)?;
    }
}

fn respond(socket: &mut TcpStream, first: &str, message: &Value) -> Option<()> {
    const STREAM: &str =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    if first.starts_with("GET") {
        let hello = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"hello"}}"#;
        write!(socket, "{STREAM}data: {hello}\n\n").ok()?;
        // Stays open until the bridge goes.
        return Some(());
    }
    if message.get("id").is_none() {
        return write!(socket, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").ok();
    }
    let id = &message["id"];
    if message["method"] == "tools/call" {
        let arguments = &message["params"]["arguments"];
        let size = usize::try_from(arguments["megabytes"].as_u64()?).ok()? * 1_000_000;
        let head = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":""#
        );
        let tail = r#""}]}}"#;
        let filling = vec![b'x'; 1 << 16];
        let sse = arguments["kind"] == "sse";
        if sse {
            write!(socket, "{STREAM}data: {head}").ok()?;
        } else {
            let length = head.len() + size + tail.len();
            let fields = format!("Content-Type: application/json\r\nContent-Length: {length}");
            write!(socket, "HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{head}").ok()?;
        }
        let mut left = size;
        while left > 0 {
            let piece = filling.get(..left.min(filling.len()))?;
            socket.write_all(piece).ok()?;
            left -= piece.len();
        }
        socket.write_all(tail.as_bytes()).ok()?;
        if sse {
            socket.write_all(b"\n\n").ok()?;
            return None;
        }
        return Some(());
    }
    let result = match message["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}, "logging": {}},
            "serverInfo": {"name": "footprint", "version": "1"},
        }),
        _ => json!({}),
    };
    let body = json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string();
    let fields = "Content-Type: application/json\r\nMcp-Session-Id: footprint";
    let length = body.len();
    write!(
        socket,
        "HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .ok()
}

fn build() -> Result<PathBuf, String> {
    let mut build = Command::new(env!("CARGO"));
    build.args([
        "build",
        "--quiet",
        "--bin",
        "mcp-bridge",
        "--profile",
        "ship",
    ]);
    build.args(["--message-format", "json-render-diagnostics"]);
    build
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit());
    let output = build.output().map_err(text)?;
    if !output.status.success() {
        return Err("the bridge does not build".to_owned());
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| "cargo names no binary".to_owned())
}

fn file_size(path: &Path) -> Result<u64, String> {
    path.metadata().map(|metadata| metadata.len()).map_err(text)
}

fn kilobytes(figures: &str, field: &str) -> Result<u64, String> {
    figures
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok())
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| format!("the kernel gives no {field}"))
}

fn mb(bytes: u64) -> f64 {
    // Exact far beyond the sizes here.
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
    let bytes = bytes as f64;
    bytes / 1_000_000.0
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn say(line: &str) {
    // A closed stdout ends nothing here.
    let _ = writeln!(std::io::stdout(), "{line}");
}
