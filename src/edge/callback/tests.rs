//! Browsers and others at the callback address, over real sockets.

use std::future::Future;
use std::net::UdpSocket;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use url::Url;

use super::*;
use crate::proto::auth::client::{Client, ClientAuth, Provenance, Registered};
use crate::proto::auth::metadata::ServerMetadata;

const PATH: &str = "/oauth/callback";
const DEADLINE: Duration = Duration::from_secs(30);

/// How many hostile connections are kept open at once.
const CROWD: usize = 3 * limits::CALLBACK_CONNECTIONS;

fn pending(state: &str) -> Pending {
    Pending {
        state: state.into(),
        verifier: "verifier".into(),
        server: ServerMetadata {
            issuer: "https://as.example".into(),
            ..ServerMetadata::default()
        },
        client: Client {
            id: "client".into(),
            auth: ClientAuth::None,
            provenance: Provenance::Registered,
            redirect_uris: Vec::new(),
            issuer: None,
            scope: None,
            secret_expires_at: None,
            registered: Registered::default(),
        },
        redirect_uri: String::new(),
        resource: None,
        scope: None,
        since: now(),
    }
}

#[expect(clippy::disallowed_methods, reason = "as the program does")]
fn now() -> SystemTime {
    SystemTime::now()
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(DEADLINE, future).await.expect("in time")
}

async fn listener() -> Listener {
    Listener::bind("127.0.0.1", &[0]).await.unwrap()
}

/// Serves while `others` talk to it; the sign-in must not come back meanwhile.
async fn undisturbed<T>(
    listener: &mut Listener,
    pending: &Pending,
    others: impl Future<Output = T>,
) -> T {
    within(async {
        tokio::select! {
            (outcome, _) = listener.wait(pending, PATH) => panic!("came back: {outcome:?}"),
            said = others => said,
        }
    })
    .await
}

/// Everything that comes back for these bytes.
async fn say(port: u16, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .unwrap();
    // The other side may close before it has read all.
    let _ = stream.write_all(bytes.as_ref()).await;
    heard(&mut stream).await
}

/// What can be read until the connection ends, in whatever way.
async fn heard(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let _ = within(stream.read_to_end(&mut heard)).await;
    String::from_utf8(heard).unwrap()
}

async fn get(port: u16, query: &str) -> String {
    say(
        port,
        format!("GET {PATH}?{query} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"),
    )
    .await
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

fn code(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Code(code) => code.reveal(),
        Outcome::Failed(failure, _) => panic!("{failure:?}"),
    }
}

/// The genuine browser: what it sees when the sign-in succeeded.
async fn comes_back(listener: &mut Listener, pending: &Pending) {
    let port = listener.port();
    let query = format!("code=genuine&state={}", pending.state.reveal());
    let (said, ()) = within(async {
        tokio::join!(get(port, &query), async {
            let (outcome, browser) = listener.wait(pending, PATH).await;
            assert_eq!(code(&outcome), "genuine");
            browser.show(Page::SignedIn).await;
        })
    })
    .await;
    assert_eq!((status(&said), body(&said)), ("200", Page::SignedIn.html()));
}

#[tokio::test]
async fn c26_c27_g30_g33_only_the_way_back_is_answered() {
    let mut listener = listener().await;
    let port = listener.port();
    let pending = pending("s");
    let good = format!("{PATH}?code=x&state=s");
    let own = format!("Host: localhost:{port}\r\n");
    let requests = [
        ("404", format!("GET / HTTP/1.1\r\n{own}\r\n")),
        ("404", format!("GET /favicon.ico HTTP/1.1\r\n{own}\r\n")),
        (
            "404",
            format!("GET {PATH}/?code=x&state=s HTTP/1.1\r\n{own}\r\n"),
        ),
        ("404", format!("GET /wait-for-auth HTTP/1.1\r\n{own}\r\n")),
        ("404", format!("GET /.mcp-remote/id HTTP/1.1\r\n{own}\r\n")),
        (
            "404",
            format!("GET http://localhost:{port}{good} HTTP/1.1\r\n{own}\r\n"),
        ),
        ("404", format!("OPTIONS * HTTP/1.1\r\n{own}\r\n")),
        ("405", format!("HEAD {good} HTTP/1.1\r\n{own}\r\n")),
        (
            "405",
            format!("POST {good} HTTP/1.1\r\n{own}Content-Length: 0\r\n\r\n"),
        ),
        (
            "405",
            format!("OPTIONS {good} HTTP/1.1\r\n{own}Origin: https://evil.test\r\n\r\n"),
        ),
        (
            "421",
            format!("GET {good} HTTP/1.1\r\nHost: evil.test:{port}\r\n\r\n"),
        ),
        (
            "421",
            format!("GET {good} HTTP/1.1\r\nHost: localhost:1\r\n\r\n"),
        ),
        ("400", format!("GET {good} HTTP/1.1\r\n\r\n")),
        ("400", format!("GET {good} HTTP/1.1\r\n{own}{own}\r\n")),
        (
            "400",
            format!("GET {good} HTTP/1.1\r\n{own}Origin: https://evil.test\r\n\r\n"),
        ),
        (
            "400",
            format!(
                "GET {good} HTTP/1.1\r\n{own}Origin: http://localhost\r\nOrigin: https://evil.test\
                 \r\n\r\n"
            ),
        ),
    ];
    for (expected, request) in requests {
        let answer = undisturbed(&mut listener, &pending, say(port, &request)).await;
        assert_eq!(status(&answer), expected, "{request}\n{answer}");
        let neutral = if expected == "400" {
            Page::Elsewhere.html()
        } else {
            ""
        };
        assert_eq!(body(&answer), neutral, "{request}");
        let lower = answer.to_ascii_lowercase();
        assert_eq!(lower.contains("allow: get"), expected == "405", "{answer}");
        assert!(!lower.contains("access-control"), "{answer}");
        assert_eq!(lower.matches("connection: close").count(), 1, "{answer}");
    }
    comes_back(&mut listener, &pending).await;
}

#[tokio::test]
async fn c30_g32_the_page_is_fixed_and_its_headers_close_it_off() {
    let mut listener = listener().await;
    let port = listener.port();
    let filler = "x".repeat(4000);
    let query = format!("error=%3Cscript%3Ecanary&error_description=%3Cb%3Ecanary{filler}&state=s");
    let waits = async {
        let (outcome, browser) = listener.wait(&pending("s"), PATH).await;
        assert!(matches!(outcome, Outcome::Failed(..)));
        browser.show(Page::Failed).await;
    };
    let (answer, ()) = within(async { tokio::join!(get(port, &query), waits) }).await;
    assert_eq!(status(&answer), "400");
    assert_eq!(body(&answer), Page::Failed.html());
    let head = answer
        .split_once("\r\n\r\n")
        .unwrap()
        .0
        .to_ascii_lowercase();
    for line in [
        "content-type: text/html; charset=utf-8",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
        "content-security-policy: default-src 'none'; style-src 'unsafe-inline'; \
         frame-ancestors 'none'",
        "connection: close",
    ] {
        assert_eq!(
            head.lines().filter(|found| found == &line).count(),
            1,
            "{head}"
        );
    }
    assert!(
        !head.contains("canary") && !head.contains("access-control"),
        "{head}"
    );
}

#[tokio::test]
async fn c30_the_browser_is_held_until_the_outcome_is_told() {
    let mut listener = listener().await;
    let port = listener.port();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .unwrap();
    let request = format!("GET {PATH}?code=x&state=s HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let (_, browser) = within(listener.wait(&pending("s"), PATH)).await;
    // The address is given up, the browser still waits.
    drop(listener);
    let mut byte = [0];
    let early = timeout(Duration::from_millis(50), stream.read(&mut byte)).await;
    assert!(early.is_err(), "answered early");
    let target = Url::parse("https://example.com/done?a=b").unwrap();
    within(browser.show(Page::Redirect(target))).await;
    let answer = heard(&mut stream).await;
    assert_eq!((status(&answer), body(&answer)), ("303", ""));
    assert!(
        answer.contains("location: https://example.com/done?a=b\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn c30_without_an_outcome_the_browser_is_sent_to_the_application() {
    let mut listener = listener().await;
    let port = listener.port();
    let waits = async { drop(listener.wait(&pending("s"), PATH).await) };
    let (dropped, ()) = within(async { tokio::join!(get(port, "code=x&state=s"), waits) }).await;
    assert_eq!(
        (status(&dropped), body(&dropped)),
        ("202", Page::Elsewhere.html())
    );

    let mut listener = self::listener().await;
    listener.patience.held = Duration::from_millis(10);
    let port = listener.port();
    let pending = pending("s");
    let (late, browser) = within(async {
        tokio::join!(get(port, "code=x&state=s"), async {
            listener.wait(&pending, PATH).await.1
        })
    })
    .await;
    assert_eq!(
        (status(&late), body(&late)),
        ("202", Page::Elsewhere.html())
    );
    within(browser.show(Page::SignedIn)).await;
}

#[tokio::test]
async fn c28_c31_g29_g31_a_thousand_foreign_answers_change_nothing() {
    let mut listener = listener().await;
    let port = listener.port();
    let pending = pending("genuine-state");
    undisturbed(&mut listener, &pending, async {
        for attempt in 0..1000 {
            let query = match attempt % 5 {
                0 => "error=access_denied".to_owned(),
                1 => "code=evil".to_owned(),
                2 => format!("error=access_denied&state=wrong{attempt}"),
                3 => "code=evil&state=genuine-state&state=genuine-state".to_owned(),
                _ => format!("code=evil&state=wrong{attempt}"),
            };
            let answer = get(port, &query).await;
            assert_eq!(
                (status(&answer), body(&answer)),
                ("400", Page::Elsewhere.html())
            );
        }
    })
    .await;
    comes_back(&mut listener, &pending).await;
}

#[tokio::test]
async fn c29_g35_an_answer_counts_once() {
    let mut listener = listener().await;
    let port = listener.port();
    let pending = pending("s");
    let both = async { tokio::join!(get(port, "code=x&state=s"), get(port, "code=y&state=s")) };
    let waits = async {
        let (outcome, browser) = listener.wait(&pending, PATH).await;
        browser.show(Page::SignedIn).await;
        outcome
    };
    let ((one, two), outcome) = within(async { tokio::join!(both, waits) }).await;
    let winner = if code(&outcome) == "x" { &one } else { &two };
    assert_eq!(body(winner), Page::SignedIn.html());
    let seen = [status(&one), status(&two)];
    assert!(seen == ["200", "400"] || seen == ["400", "200"], "{seen:?}");
    let replay = undisturbed(&mut listener, &pending, get(port, "code=x&state=s")).await;
    assert_eq!(
        (status(&replay), body(&replay)),
        ("400", Page::Elsewhere.html())
    );
    // The next sign-in is another one.
    let next = self::pending("t");
    let old = undisturbed(&mut listener, &next, get(port, "code=x&state=s")).await;
    assert_eq!(status(&old), "400");
    comes_back(&mut listener, &next).await;
}

#[tokio::test]
async fn c36_slow_connections_do_not_keep_the_browser_out() {
    let mut listener = listener().await;
    let port = listener.port();
    let pending = pending("s");
    let mut slow = undisturbed(&mut listener, &pending, async {
        let mut slow = Vec::new();
        for number in 0..CROWD {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .unwrap();
            if number % 2 == 0 {
                stream.write_all(b"GET /oauth/call").await.unwrap();
            }
            slow.push(stream);
        }
        // The first was closed to make room: all connections before the last ones are.
        assert_eq!(heard(&mut slow[0]).await, "");
        slow
    })
    .await;
    assert!(listener.connections.len() <= limits::CALLBACK_CONNECTIONS);
    comes_back(&mut listener, &pending).await;
    drop(listener);
    for stream in &mut slow {
        assert_eq!(heard(stream).await, "");
    }
}

#[tokio::test]
async fn c36_an_idle_connection_is_dropped() {
    let mut listener = listener().await;
    listener.patience.head = Duration::from_millis(20);
    let port = listener.port();
    let pending = pending("s");
    for start in ["", "G", "GET /oauth/callback HTTP/1.1\r\nHost: loc"] {
        let answer = undisturbed(&mut listener, &pending, async {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .unwrap();
            stream.write_all(start.as_bytes()).await.unwrap();
            heard(&mut stream).await
        })
        .await;
        assert!(!answer.contains("200"), "{answer}");
    }
}

#[tokio::test]
async fn c36_a_held_browser_is_not_pushed_out() {
    let mut listener = listener().await;
    let port = listener.port();
    let first = pending("s");
    let (answer, ()) = within(async {
        tokio::join!(get(port, "code=x&state=s"), async {
            let (_, browser) = listener.wait(&first, PATH).await;
            let crowd = undisturbed(&mut listener, &pending("t"), async {
                let mut crowd = Vec::new();
                for _ in 0..CROWD {
                    crowd.push(
                        TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                            .await
                            .unwrap(),
                    );
                }
                assert_eq!(heard(&mut crowd[0]).await, "");
                crowd
            })
            .await;
            browser.show(Page::SignedIn).await;
            drop(crowd);
        })
    })
    .await;
    assert_eq!(body(&answer), Page::SignedIn.html());
}

#[tokio::test]
async fn c36_giant_heads_and_garbage_change_nothing() {
    let mut listener = listener().await;
    let port = listener.port();
    let pending = pending("s");
    let filler = "x".repeat(4 * limits::CALLBACK_HEAD);
    let host = format!("Host: localhost:{port}\r\n");
    let fields = "X-Filler: y\r\n".repeat(500);
    let bytes: Vec<Vec<u8>> = vec![
        format!("GET {PATH}?state=s&code={filler} HTTP/1.1\r\n{host}\r\n").into(),
        format!("GET {PATH}?state=s&code=x HTTP/1.1\r\n{host}X-Filler: {filler}\r\n\r\n").into(),
        format!("GET {PATH}?state=s&code=x HTTP/1.1\r\n{host}{fields}\r\n").into(),
        vec![b'a'; 1 << 20],
        vec![0; 1 << 16],
        (0..=255).cycle().take(1 << 16).collect(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        format!("GET {PATH}?state=s&code=x HTTP/9.9\r\n{host}\r\n").into(),
        format!("GET {PATH}?state=s&code=x\r\n{host}\r\n").into(),
        format!("GET {PATH}?state=s&code=x HTTP/1.1\r\nHost: \u{e4}\r\n\r\n").into(),
        b"\r\n\r\n\r\n".to_vec(),
        Vec::new(),
    ];
    for bytes in bytes {
        let answer = undisturbed(&mut listener, &pending, async {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .unwrap();
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            heard(&mut stream).await
        })
        .await;
        assert!(
            answer.is_empty() || status(&answer).starts_with('4'),
            "{answer}"
        );
    }
    comes_back(&mut listener, &pending).await;
}

#[tokio::test]
async fn c37_a_late_answer_still_counts() {
    let mut listener = listener().await;
    let port = listener.port();
    let pending = pending("s");
    // Given up once, before anybody came.
    let nothing = timeout(Duration::from_millis(10), listener.wait(&pending, PATH)).await;
    assert!(nothing.is_err());
    // A connection that was made while it was waited for speaks while it is not.
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .unwrap();
    let accepted = timeout(Duration::from_millis(100), listener.wait(&pending, PATH)).await;
    assert!(accepted.is_err());
    let request = format!("GET {PATH}?code=x&state=s HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    let (outcome, browser) = within(listener.wait(&pending, PATH)).await;
    assert_eq!(code(&outcome), "x");
    within(browser.show(Page::SignedIn)).await;
    assert_eq!(body(&heard(&mut stream).await), Page::SignedIn.html());
}

#[tokio::test]
async fn c04_c05_an_old_state_is_no_longer_good() {
    let mut listener = listener().await;
    let port = listener.port();
    let mut pending = pending("s");
    pending.since = now() - limits::STATE - Duration::from_secs(1);
    let answer = undisturbed(&mut listener, &pending, get(port, "code=x&state=s")).await;
    assert_eq!(
        (status(&answer), body(&answer)),
        ("400", Page::Elsewhere.html())
    );
}

#[tokio::test]
async fn c22_localhost_is_both_loopback_addresses_and_nothing_else() {
    let mut listener = Listener::bind("LocalHost", &[0]).await.unwrap();
    let port = listener.port();
    let bound: Vec<IpAddr> = listener
        .sockets
        .iter()
        .map(|socket| socket.local_addr().unwrap().ip())
        .collect();
    assert!(bound.iter().all(IpAddr::is_loopback), "{bound:?}");
    let v4 = IpAddr::from(Ipv4Addr::LOCALHOST);
    let v6 = IpAddr::from(Ipv6Addr::LOCALHOST);
    assert_eq!(
        bound.contains(&v6),
        TcpListener::bind((v6, 0)).await.is_ok()
    );
    assert_eq!(bound.first(), Some(&v4));
    for (number, address) in bound.into_iter().enumerate() {
        let state = format!("s{number}");
        let pending = pending(&state);
        let mut stream = TcpStream::connect((address, port)).await.unwrap();
        let host = SocketAddr::from((address, port));
        let request = format!("GET {PATH}?code=x&state={state} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let (outcome, browser) = within(listener.wait(&pending, PATH)).await;
        assert_eq!(code(&outcome), "x");
        within(browser.show(Page::SignedIn)).await;
    }
    // The address that others reach this machine by, where it has one.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    if socket.connect("192.0.2.1:9").is_ok() {
        let outside = socket.local_addr().unwrap().ip();
        let refused = within(TcpStream::connect((outside, port))).await;
        assert!(outside.is_loopback() || refused.is_err(), "{outside}");
    }
}

#[tokio::test]
async fn c22_a_literal_host_is_itself_and_no_other_is_listened_on() {
    let listener = Listener::bind("127.0.0.1", &[0]).await.unwrap();
    assert_eq!(listener.sockets.len(), 1);
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok() {
        for host in ["[::1]", "::1"] {
            let listener = Listener::bind(host, &[0]).await.unwrap();
            let [socket] = listener.sockets.as_slice() else {
                panic!("{:?}", listener.sockets);
            };
            assert!(socket.local_addr().unwrap().is_ipv6());
        }
    }
    for host in [
        "0.0.0.0",
        "[::]",
        "10.0.0.1",
        "example.com",
        "localhost.example.com",
        "",
    ] {
        let refusal = Listener::bind(host, &[0]).await.unwrap_err();
        assert_eq!(refusal.kind, Kind::CallbackPortInUse, "{host}");
        assert!(refusal.text.contains("--host"), "{}", refusal.text);
    }
}

#[tokio::test]
async fn c23_c24_g34_a_port_that_somebody_has_is_passed_over_or_named() {
    let foreign = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let taken = foreign.local_addr().unwrap().port();
    for host in ["localhost", "127.0.0.1"] {
        let refusal = Listener::bind(host, &[taken]).await.unwrap_err();
        assert_eq!(refusal.kind, Kind::CallbackPortInUse);
        assert!(
            refusal.text.contains(&format!("port {taken} on {host}"))
                && refusal.text.contains("CALLBACK_PORT"),
            "{}",
            refusal.text
        );
        let refusal = Listener::bind(host, &[taken, taken]).await.unwrap_err();
        assert!(
            refusal.text.contains(&format!("{taken}, {taken}")),
            "{}",
            refusal.text
        );
        let listener = Listener::bind(host, &[taken, 0]).await.unwrap();
        assert_ne!(listener.port(), taken);
    }
    assert!(Listener::bind("localhost", &[]).await.is_err());
}

#[tokio::test]
async fn g34_a_squatter_on_one_of_the_two_addresses_has_the_port() {
    if let Ok(squatter) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await {
        let port = squatter.local_addr().unwrap().port();
        let refusal = Listener::bind("localhost", &[port]).await.unwrap_err();
        assert_eq!(refusal.kind, Kind::CallbackPortInUse);
    }
    if cfg!(target_os = "linux") {
        let squatter = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
        let port = squatter.local_addr().unwrap().port();
        for host in ["localhost", "127.0.0.1"] {
            let refusal = Listener::bind(host, &[port]).await.unwrap_err();
            assert_eq!(refusal.kind, Kind::CallbackPortInUse, "{host}");
        }
    }
}

#[tokio::test]
async fn c25_the_browser_may_be_back_before_anybody_waits() {
    let mut listener = listener().await;
    let port = listener.port();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .unwrap();
    let request = format!("GET {PATH}?code=x&state=s HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let (outcome, _browser) = within(listener.wait(&pending("s"), PATH)).await;
    assert_eq!(code(&outcome), "x");
}

#[tokio::test]
async fn f25_debug_output_hides_the_state() {
    let mut listener = listener().await;
    let pending = pending("canary");
    let waited = timeout(Duration::from_millis(1), listener.wait(&pending, PATH)).await;
    assert!(waited.is_err());
    assert!(!format!("{listener:?}").contains("canary"));
}
