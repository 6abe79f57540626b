//! The equipment's own tests, with a plain socket as the client.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::answers::Answers;
use super::rpc;
use super::*;

/// One connection to a mock server.
struct Client(TcpStream);

impl Client {
    fn connect(remote: &Remote) -> Self {
        let stream = TcpStream::connect(remote.address()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(stream)
    }

    fn ask(&mut self, verb: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let headers = headers.concat();
        let length = body.len();
        let request = format!(
            "{verb} {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        self.0.write_all(request.as_bytes()).unwrap();
    }

    /// POSTs a message as an MCP client does.
    fn post(&mut self, path: &str, session: Option<&str>, message: &Value) {
        let mut headers = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        headers.extend(session.map(|session| ("mcp-session-id", session)));
        if message["method"] != "initialize" {
            headers.push(("mcp-protocol-version", rpc::VERSION));
        }
        self.ask("POST", path, &headers, &message.to_string());
    }

    /// Reads until the text so far contains this.
    fn read_until(&mut self, wanted: &str) -> String {
        let mut seen = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let text = String::from_utf8_lossy(&seen).into_owned();
            if text.contains(wanted) {
                return text;
            }
            let read = self.0.read(&mut chunk).unwrap();
            assert_ne!(read, 0, "the connection ended before {wanted:?}: {text}");
            seen.extend_from_slice(&chunk[..read]);
        }
    }

    /// Reads an answer with a `content-length`: status, head, body.
    fn answer(&mut self) -> (u16, String, Vec<u8>) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut body).unwrap();
        (status, head, body)
    }

    /// Reads to the end of the connection; an error counts as an end.
    fn rest(&mut self) -> Vec<u8> {
        let mut seen = Vec::new();
        let _ = self.0.read_to_end(&mut seen);
        seen
    }
}

/// Opens a session: POST `initialize` and `initialized`; gives the session id.
fn open(client: &mut Client) -> String {
    client.post("/mcp", None, &rpc::initialize(1, rpc::VERSION));
    let (status, head, _) = client.answer();
    assert_eq!(status, 200);
    let id = head
        .lines()
        .find_map(|line| line.strip_prefix("mcp-session-id: "))
        .unwrap();
    client.post("/mcp", Some(id), &rpc::initialized());
    assert_eq!(client.answer().0, 202);
    id.to_owned()
}

#[test]
fn a_closure_sees_and_answers() {
    let remote = Remote::serve(|call| match call.rpc() {
        "ping" => call.result_text(r#"{"n":1.0e2}"#),
        _ => Reply::text(418, "no")
            .header("x-a", "1")
            .add_header("x-a", "2"),
    });
    let mut client = Client::connect(&remote);
    client.ask(
        "POST",
        "/mcp?a=b",
        &[("x-b", "c")],
        r#"{"jsonrpc":"2.0","id":"7","method":"ping"}"#,
    );
    let (status, _, body) = client.answer();
    assert_eq!(
        (status, &body[..]),
        (
            200,
            &br#"{"jsonrpc":"2.0","id":"7","result":{"n":1.0e2}}"#[..]
        )
    );
    client.ask("PUT", "/", &[], "");
    let (status, head, body) = client.answer();
    assert_eq!((status, &body[..]), (418, &b"no"[..]));
    assert!(head.contains("x-a: 1") && head.contains("x-a: 2"), "{head}");
    let calls = remote.wait_for(|calls| calls.len() == 2);
    assert_eq!(
        (calls[0].query.as_deref(), calls[0].header("x-b").as_deref()),
        (Some("a=b"), Some("c"))
    );
    assert_eq!(
        (
            calls[0].connection,
            calls[1].connection,
            remote.connections()
        ),
        (1, 1, 1)
    );
    assert_eq!(remote.keys(), ["ping", "PUT"]);
    remote.wait_progress(1, Progress::Done);
}

#[test]
fn streams_obey_the_test() {
    let mailbox = Mailbox::new();
    let streams = mailbox.clone();
    let remote = Remote::serve(move |_| Reply::stream(|stream| streams.put(stream)));
    let mut client = Client::connect(&remote);
    client.ask("GET", "/", &[], "");
    let stream: StreamHandle = mailbox.take();
    stream.priming_event("e0");
    client.read_until("id: e0\ndata:\n\n");
    stream.event_id("e1", &json!({"a": 1}));
    client.read_until("event: message\nid: e1\ndata: {\"a\":1}\n\n");
    assert!(!stream.is_closed());
    stream.close();
    client.read_until("0\r\n\r\n");
    stream.wait_closed();
    remote.wait_progress(1, Progress::Done);
    client.ask("GET", "/", &[], "");
    let stream = mailbox.take();
    stream.event(&json!(1));
    client.read_until("data: 1");
    drop(client);
    stream.wait_closed();
    remote.wait_progress(2, Progress::Dropped);
}

#[test]
fn a_cut_comes_after_everything_that_was_sent() {
    for size in [1, 100, 1 << 20, 8 << 20] {
        let remote = Remote::serve(move |_| {
            Reply::stream(|stream| {
                stream.send(vec![b'x'; size]);
                stream.cut();
            })
        });
        let mut client = Client::connect(&remote);
        client.ask("GET", "/", &[], "");
        let seen = client.rest();
        assert!(!seen.ends_with(b"0\r\n\r\n"), "the body ended properly");
        let head = String::from_utf8_lossy(&seen[..200.min(seen.len())]).into_owned();
        let start = head.find("\r\n\r\n").unwrap() + 4;
        // hyper's chunk headings hold no `x`.
        let sent = String::from_utf8_lossy(&seen[start..]).matches('x').count();
        assert_eq!(sent, size);
    }
}

#[test]
fn a_gate_holds_a_reply_and_a_hook_follows_it() {
    let gate = Gate::new();
    let let_go = Mailbox::new();
    let (held, told) = (gate.clone(), let_go.clone());
    let remote = Remote::serve(move |call| {
        let told = told.clone();
        match call.path.as_str() {
            "/held" => Reply::text(200, "held")
                .after(&held)
                .on_sent(move || told.put(())),
            _ => Reply::text(200, "free"),
        }
    });
    let mut held = Client::connect(&remote);
    held.ask("GET", "/held", &[], "");
    remote.wait_for(|calls| calls.len() == 1);
    let mut free = Client::connect(&remote);
    free.ask("GET", "/free", &[], "");
    assert_eq!(free.answer().2, b"free");
    gate.open();
    assert_eq!(held.answer().2, b"held");
    let_go.take();
}

#[test]
fn broken_answers_are_broken() {
    let remote = Remote::serve(|call| match call.path.as_str() {
        "/cut" => Reply::cut_before_head(),
        "/reset" => Reply::reset(),
        "/raw" => Reply::raw("HTTP/1.1 200 OK\r\ncontent-le"),
        "/drip" => Reply::drip("HTTP/9", Duration::from_millis(1)),
        "/half" => Reply::raw_stream(|wire| {
            wire.send("one ");
            wire.send("two");
            wire.close();
        }),
        _ => Reply::never(),
    });
    let cases = [
        ("/cut", ""),
        ("/raw", "HTTP/1.1 200 OK\r\ncontent-le"),
        ("/drip", "HTTP/9"),
    ];
    for (path, expected) in cases.into_iter().chain([("/half", "one two")]) {
        let mut client = Client::connect(&remote);
        client.ask("GET", path, &[], "");
        assert_eq!(
            String::from_utf8(client.rest()).unwrap(),
            expected,
            "{path}"
        );
    }
    let mut client = Client::connect(&remote);
    client.ask("GET", "/reset", &[], "");
    let error = client.0.read(&mut [0; 9]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let mut client = Client::connect(&remote);
    client.ask("GET", "/never", &[], "");
    remote.wait_for(|calls| calls.len() == 6);
    drop(client);
    remote.wait_progress(6, Progress::Dropped);
}

#[test]
fn endless_and_compressed_bodies() {
    let remote = Remote::serve(|call| match call.path.as_str() {
        "/bomb" => Reply::gzip_bomb(),
        _ => Reply::gzip(b"[1]"),
    });
    let mut client = Client::connect(&remote);
    client.ask("GET", "/small", &[], "");
    let (_, head, body) = client.answer();
    assert!(head.contains("content-encoding: gzip"));
    let mut plain = String::new();
    GzDecoder::new(&body[..])
        .read_to_string(&mut plain)
        .unwrap();
    assert_eq!(plain, "[1]");
    client.ask("GET", "/bomb", &[], "");
    client.read_until("\r\n\r\n");
    drop(client);
    remote.wait_progress(2, Progress::Dropped);
}

#[test]
fn a_bomb_unpacks_to_a_lot() {
    use super::reply::Kind;
    use super::stream::Source;
    use http_body_util::BodyExt as _;

    let Kind::Http { mut body, .. } = Reply::gzip_bomb().kind else {
        panic!("it has a body")
    };
    assert!(matches!(body.source(), Source::Endless(_)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut packed = Vec::new();
    for _ in 0..4 {
        let frame = runtime.block_on(body.frame()).unwrap().unwrap();
        packed.extend_from_slice(&frame.into_data().unwrap());
    }
    assert!(packed.len() < 64 << 10, "{} bytes packed", packed.len());
    let mut plain = vec![0; (3 << 20) + 1];
    GzDecoder::new(&packed[..]).read_exact(&mut plain).unwrap();
    assert_eq!((plain[0], plain[3 << 20]), (b'"', b' '));
}

#[test]
fn a_server_stops_and_comes_back() {
    let remote = Remote::serve(|_| Reply::text(200, "here"));
    let mut client = Client::connect(&remote);
    client.ask("GET", "/", &[], "");
    client.answer();
    remote.stop();
    assert_eq!(client.rest(), b"");
    assert!(TcpStream::connect(remote.address()).is_err());
    remote.restart();
    let mut client = Client::connect(&remote);
    client.ask("GET", "/", &[], "");
    assert_eq!(client.answer().2, b"here");
    remote.drop_connections();
    assert_eq!(client.rest(), b"");
    assert_eq!(remote.calls().len(), 2);
}

#[test]
fn faults_fail_the_test() {
    let uncalled = Remote::serve(|_| Reply::status(200));
    assert!(catch_unwind(AssertUnwindSafe(move || drop(uncalled))).is_err());
    drop(Remote::away(|_| Reply::status(200)));
    let panicking = Remote::serve(|_| panic!("on purpose"));
    let mut client = Client::connect(&panicking);
    client.ask("GET", "/", &[], "");
    assert_eq!(client.answer().0, 500);
    let faults = panicking.take_faults();
    assert!(faults[0].contains("on purpose"), "{faults:?}");
    panicking.must_stay_uncalled();
    assert!(catch_unwind(AssertUnwindSafe(move || drop(panicking))).is_err());
}

#[test]
fn streamable_http_with_sessions() {
    let remote = Legacy::sessions()
        .on("tools/list", |call| call.error(-1, "no list"))
        .start();
    let mut client = Client::connect(&remote);
    let id = open(&mut client);
    client.post("/mcp", Some(&id), &rpc::echo(2, "hello"));
    let body: Value = serde_json::from_slice(&client.answer().2).unwrap();
    assert_eq!(body["result"]["content"][0]["text"], "hello");
    client.post(
        "/mcp",
        Some(&id),
        &rpc::request(3, "tools/list", Value::Null),
    );
    let body: Value = serde_json::from_slice(&client.answer().2).unwrap();
    assert_eq!(body["error"]["message"], "no list");
    let mut events = Client::connect(&remote);
    let version = ("mcp-protocol-version", rpc::VERSION);
    let headers = [
        ("accept", "text/event-stream"),
        ("mcp-session-id", &id),
        version,
    ];
    events.ask("GET", "/mcp", &headers, "");
    remote.say(&json!({"said": true}));
    events.read_until("data: {\"said\":true}\n\n");
    remote.expire_sessions(Refusal::Unprocessable);
    client.post("/mcp", Some(&id), &rpc::echo(4, "lost"));
    assert_eq!(client.answer().0, 422);
    let id = open(&mut client);
    client.ask("DELETE", "/mcp", &[("mcp-session-id", &id), version], "");
    assert_eq!(client.answer().0, 200);
    assert_eq!((remote.sessions_opened(), remote.sessions_alive()), (2, 0));
}

#[test]
fn broken_rules_are_noted() {
    let remote = Legacy::sessions().start();
    let mut client = Client::connect(&remote);
    client.ask(
        "POST",
        "/mcp",
        &[],
        &rpc::initialize(1, rpc::VERSION).to_string(),
    );
    client.answer();
    client.post("/mcp", Some("session-1"), &rpc::echo(2, "too early"));
    client.answer();
    client.post("/mcp", Some("session-9"), &rpc::echo(3, "unknown"));
    assert_eq!(client.answer().0, 404);
    client.post("/mcp", None, &rpc::echo(4, "none"));
    assert_eq!(client.answer().0, 400);
    client.ask("DELETE", "/mcp", &[("mcp-session-id", "session-1")], "");
    client.answer();
    let violations = remote.take_violations();
    let expected = [
        "content-type is",
        "accept is",
        "overtakes",
        "never given out",
        "no session id",
        "mcp-protocol-version is None",
    ];
    assert_eq!(violations.len(), expected.len(), "{violations:#?}");
    for (violation, expected) in violations.iter().zip(expected) {
        assert!(violation.contains(expected), "{violation} for {expected}");
    }
    client.post("/mcp", None, &rpc::echo(5, "none"));
    client.answer();
    assert!(catch_unwind(AssertUnwindSafe(move || drop(remote))).is_err());
}

#[test]
fn initialized_counts_once_it_is_answered() {
    let gate = Gate::new();
    let held = gate.clone();
    let remote = Legacy::free()
        .on("notifications/initialized", move |_| {
            Reply::usual().after(&held)
        })
        .answers_as_sse()
        .start();
    let mut first = Client::connect(&remote);
    first.post("/mcp", None, &rpc::initialize(1, rpc::VERSION));
    let (_, fields, body) = first.answer();
    assert!(fields.contains("text/event-stream"), "{fields}");
    assert!(body.starts_with(b"event: message\ndata: {"), "{body:?}");
    first.post("/mcp", None, &rpc::initialized());
    remote.wait_call("notifications/initialized");
    let mut second = Client::connect(&remote);
    second.post("/mcp", None, &rpc::echo(2, "early"));
    second.answer();
    assert_eq!(remote.take_violations().len(), 1);
    gate.open();
    assert_eq!(first.answer().0, 202);
    second.post("/mcp", None, &rpc::echo(3, "in time"));
    let (_, _, body) = second.answer();
    assert!(String::from_utf8(body).unwrap().contains("in time"));
}

#[test]
fn http_sse_answers_on_its_stream() {
    let gate = Gate::new();
    let held = gate.clone();
    let remote = Legacy::http_sse()
        .version(rpc::VERSION)
        .endpoint("{origin}/m?sid={sid}")
        .on("tools/call", move |_| Reply::usual().after(&held))
        .on("tools/list", |_| Reply::text(500, "broken"))
        .start();
    let mut events = Client::connect(&remote);
    events.ask("GET", "/sse", &[("accept", "text/event-stream")], "");
    events.read_until("event: endpoint\ndata: http://test/m?sid=sid1\n\n");
    let mut client = Client::connect(&remote);
    client.post("/sse", None, &rpc::initialize(0, rpc::VERSION));
    assert_eq!(client.answer().0, 405);
    for message in [
        rpc::initialize(1, rpc::VERSION),
        rpc::initialized(),
        rpc::echo(2, "hello"),
    ] {
        client.post("/m?sid=sid1", None, &message);
        assert_eq!(client.answer().0, 202, "{message}");
    }
    events.read_until("ready-made");
    client.post(
        "/m?sid=sid1",
        None,
        &rpc::request(3, "tools/list", Value::Null),
    );
    assert_eq!(client.answer().0, 500);
    gate.open();
    events.read_until("hello");
    remote.expire_sessions(Refusal::NotFound);
    client.post("/m?sid=sid1", None, &rpc::echo(4, "lost"));
    assert_eq!(client.answer().2, b"Could not find session");
}

#[test]
fn https_and_http2() {
    for http2 in [false, true] {
        let authority = Authority::new("Test Authority");
        let clients = Authority::new("Clients");
        let (certificate, key) = clients.client("somebody");
        let mut tls = authority.server().only_clients_of(&clients);
        if http2 {
            tls = tls.http2();
        }
        let remote = Remote::serve_tls(&tls, |call| {
            assert!(call.secure);
            match call.nth {
                1 => Reply::text(200, "secret"),
                _ => Reply::stream(|stream| {
                    stream.send("half");
                    stream.cut();
                }),
            }
        });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root = reqwest::Certificate::from_pem(authority.pem().as_bytes()).unwrap();
        let identity = reqwest::Identity::from_pem(format!("{certificate}{key}").as_bytes());
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([root])
            .identity(identity.unwrap())
            .timeout(DEADLINE)
            .build()
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let answer = client.get(remote.url()).send().await.unwrap();
            assert_eq!(answer.text().await.unwrap(), "secret");
            let answer = client.get(remote.url()).send().await.unwrap();
            answer.text().await.unwrap_err();
        });
        assert_eq!(remote.calls()[0].http2, http2);
    }
}

#[test]
fn answers_are_checked() {
    let good = [
        (
            r#"{"jsonrpc":"2.0","id":1.0e2,"method":"a"}"#,
            r#"{"jsonrpc":"2.0","id":1.0e2,"result":1}"#,
        ),
        (
            r#"[{"jsonrpc":"2.0","id":1,"method":"a"}]"#,
            r#"[{"jsonrpc":"2.0","id":1,"error":{}}]"#,
        ),
        (
            "\u{feff}{\"id\":null}\r",
            r#"{"jsonrpc":"2.0","id":null,"error":{}}"#,
        ),
        ("{not json", r#"{"jsonrpc":"2.0","id":4,"error":{}}"#),
        ("", r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#),
    ];
    for (asked, written) in good {
        let mut answers = Answers::default();
        answers.asked(format!("{asked}\n").as_bytes());
        answers.written(format!("{written}\n").as_bytes());
        answers.assert_well();
        if !asked.is_empty() {
            answers.written(format!("{written}\n").as_bytes());
            let again = catch_unwind(AssertUnwindSafe(|| answers.assert_well()));
            assert!(again.is_err(), "twice: {written}");
        }
    }
    for written in [
        "hello\n",
        "\n",
        "{\"jsonrpc\":\"2.0\",\"method\":\"a\"}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"a\"}\r\n",
    ] {
        let mut answers = Answers::default();
        answers.written(written.as_bytes());
        assert!(
            catch_unwind(AssertUnwindSafe(|| answers.assert_well())).is_err(),
            "{written:?}"
        );
    }
}

#[test]
fn a_home_is_shared_and_removed() {
    let home = Arc::new(Home::new());
    let path = home.write("a/b.txt", "text");
    assert_eq!(home.read("a/b.txt"), "text");
    drop(home);
    assert!(!path.exists());
}

#[cfg(unix)]
#[test]
fn a_tap_closes_in_mid_wait() {
    use std::process::{Command, Stdio};

    let mut cat = Command::new("cat");
    let mut child = cat
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let (mut tap, mut stdout) = pipe::Tap::new(child.stdout.take().unwrap());
    let (line, end) = (Mailbox::new(), Mailbox::new());
    let (read, ended) = (line.clone(), end.clone());
    std::thread::spawn(move || {
        let mut bytes = [0; 6];
        stdout.read_exact(&mut bytes).unwrap();
        read.put(bytes);
        ended.put(stdout.read(&mut bytes).unwrap());
    });
    stdin.write_all(b"hello\n").unwrap();
    assert_eq!(line.take(), *b"hello\n");
    tap.close();
    assert_eq!(end.take(), 0);
    stdin.write_all(b"nobody reads this").unwrap();
    drop(stdin);
    assert!(!child.wait().unwrap().success(), "it could still write");
}
