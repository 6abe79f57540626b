//! The guard against resolvers that lie, on loopback.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use super::*;
use crate::edge::http::loopback::{
    Authority, OK, TlsOptions, http_proxy, read_head, serve, socks_proxy, tls_server,
};
use crate::edge::http::settings::NetworkSettings;
use crate::proto::failure::Kind;

const DEADLINE: Duration = Duration::from_secs(20);

const PUBLIC: &str = "93.184.215.14";

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn policy(reach: Reach) -> AddressPolicy {
    AddressPolicy {
        server: Arc::new(url("https://mcp.test/mcp")),
        reach,
        allow_private: false,
    }
}

/// A resolver that gives one answer after the other for every name, the last one for ever, and
/// counts the questions.
fn lookup(answers: &[&[&str]]) -> (Lookup, Arc<AtomicUsize>) {
    let answers: Vec<Vec<SocketAddr>> = answers
        .iter()
        .map(|answer| {
            let address = |text: &&str| SocketAddr::new(text.parse().unwrap(), 0);
            answer.iter().map(address).collect()
        })
        .collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let lookup = move |_: &str| -> Looking {
        let at = counter.fetch_add(1, Ordering::SeqCst);
        let answer = answers.get(at).or(answers.last()).cloned();
        Box::pin(async move { answer.ok_or_else(|| io::Error::other("no such name")) })
    };
    (Arc::new(lookup), asked)
}

fn client(answers: &[&[&str]]) -> HttpClient {
    HttpClient::with_lookup(NetworkSettings::default(), lookup(answers).0)
}

fn behind(proxy: &str, lookup: Lookup) -> HttpClient {
    let settings = NetworkSettings {
        proxy: ProxyChoice::Fixed(ProxyUrl::parse(proxy).unwrap()),
        ..NetworkSettings::default()
    };
    HttpClient::with_lookup(settings, lookup)
}

/// A server for http that answers 200 and tells of each connection.
fn server() -> (u16, Receiver<()>) {
    let (seen, connections) = mpsc::channel();
    let address = serve(move |mut stream| {
        let _ = seen.send(());
        let _ = read_head(&mut stream).and_then(|_| io::Write::write_all(&mut stream, OK));
    });
    (address.port(), connections)
}

/// One GET; the status, or the kind of the failure and its words.
async fn get(http: &HttpClient, policy: AddressPolicy, target: &str) -> Result<u16, Failure> {
    let guarded = GuardedClient::new(http.clone(), policy);
    let target = url(target);
    let exchange = async {
        let client = match guarded.for_url(&target).await {
            Ok(client) => client,
            Err(Refused::Forbidden(failure)) => return Err(failure),
            Err(Refused::Trouble(trouble)) => panic!("{}", trouble.text),
        };
        match client.get(target).send().await {
            Ok(response) => Ok(response.status().as_u16()),
            Err(error) => Err(blocked(&error).unwrap_or_else(|| panic!("{error:?}"))),
        }
    };
    tokio::time::timeout(DEADLINE, exchange).await.unwrap()
}

#[track_caller]
fn assert_blocked(outcome: Result<u16, Failure>, address: &str) {
    let failure = outcome.unwrap_err();
    assert_eq!(failure.kind, Kind::BlockedAddress, "{}", failure.text);
    assert!(failure.text.contains(address), "{}", failure.text);
}

#[tokio::test]
async fn a22_a_name_with_a_public_and_a_loopback_address_is_refused_as_a_whole() {
    let (port, connections) = server();
    let target = format!("http://auth.test:{port}/");
    for answer in [
        &[PUBLIC, "127.0.0.1"],
        &["127.0.0.1", PUBLIC],
        &[PUBLIC, "::1"],
        &["::ffff:127.0.0.1", PUBLIC],
    ] {
        for reach in [Reach::Public, Reach::Private] {
            let http = client(&[answer]);
            let refused = get(&http, policy(reach), &target).await;
            assert!(
                refused.as_ref().unwrap_err().text.contains("auth.test"),
                "{refused:?}"
            );
            let loopback = if answer.contains(&"::1") {
                "::1"
            } else {
                "127.0.0.1"
            };
            assert_blocked(refused, loopback);
        }
    }
    assert!(connections.try_recv().is_err());
}

#[tokio::test]
async fn a22_a_name_that_was_public_when_it_was_looked_at_is_checked_again_when_connected_to() {
    let (port, connections) = server();
    let (lookup, asked) = lookup(&[&[PUBLIC], &["127.0.0.1"]]);
    let http = HttpClient::with_lookup(NetworkSettings::default(), lookup);
    let target = format!("http://auth.test:{port}/");
    assert_eq!(reach(&http, &url(&target)).await, Reach::Public);
    assert_blocked(
        get(&http, policy(Reach::Public), &target).await,
        "127.0.0.1",
    );
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert!(connections.try_recv().is_err());
}

#[tokio::test]
async fn a22_the_connection_uses_the_addresses_that_were_checked() {
    let (port, connections) = server();
    // A second question would bring an address where nobody answers.
    let (lookup, asked) = lookup(&[&["127.0.0.1"], &[PUBLIC]]);
    let http = HttpClient::with_lookup(NetworkSettings::default(), lookup);
    let target = format!("http://auth.test:{port}/");
    let outcome = get(&http, policy(Reach::Loopback), &target).await;
    assert_eq!(outcome, Ok(200));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert!(connections.recv_timeout(DEADLINE).is_ok());
}

#[tokio::test]
async fn a22_literal_addresses_never_reach_the_resolver_and_are_checked_all_the_same() {
    let (port, connections) = server();
    let (lookup, asked) = lookup(&[&[PUBLIC]]);
    let http = HttpClient::with_lookup(NetworkSettings::default(), lookup);
    for (host, address) in [
        ("127.0.0.1", "127.0.0.1"),
        ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("2130706433", "127.0.0.1"),
    ] {
        let target = format!("http://{host}:{port}/");
        assert_blocked(get(&http, policy(Reach::Public), &target).await, address);
    }
    let target = format!("http://127.0.0.1:{port}/");
    assert_eq!(get(&http, policy(Reach::Loopback), &target).await, Ok(200));
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    assert_eq!(connections.iter().take(1).count(), 1);
    assert!(connections.try_recv().is_err());
}

#[tokio::test]
async fn a22_the_servers_own_connections_are_not_guarded() {
    let (port, connections) = server();
    let http = client(&[&["10.0.0.1"]]);
    let target = url(&format!("http://localhost:{port}/"));
    let own = http.for_url(&target).await.unwrap();
    let answer = tokio::time::timeout(DEADLINE, own.get(target).send()).await;
    assert_eq!(answer.unwrap().unwrap().status(), 200);
    assert!(connections.recv_timeout(DEADLINE).is_ok());
}

#[tokio::test]
async fn a21_the_service_for_credentials_of_machines_is_refused_to_everybody() {
    let http = client(&[&["169.254.169.254"]]);
    for reach in [Reach::Public, Reach::Private, Reach::Loopback] {
        for host in ["auth.test", "mcp.test"] {
            let mut policy = policy(reach);
            policy.allow_private = true;
            let outcome = get(&http, policy, &format!("http://{host}:1/")).await;
            assert_blocked(outcome, "169.254.169.254");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "test files")]
#[tokio::test]
async fn a22_https_is_guarded_with_the_same_trust() {
    let (authority, folder) = (Authority::new("Corp CA"), tempfile::tempdir().unwrap());
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let identity = authority.issue(&["auth.test"], |_| ());
    let server = tls_server(&identity, &TlsOptions::default());
    let settings = NetworkSettings {
        ca_files: vec![file],
        ..NetworkSettings::default()
    };
    let http = HttpClient::with_lookup(settings, lookup(&[&["127.0.0.1"]]).0);
    let target = format!("https://auth.test:{}/", server.address.port());
    assert_blocked(
        get(&http, policy(Reach::Public), &target).await,
        "127.0.0.1",
    );
    assert!(server.handshakes.try_recv().is_err());
    assert_eq!(get(&http, policy(Reach::Loopback), &target).await, Ok(200));
    assert_eq!(server.handshakes.recv_timeout(DEADLINE).unwrap(), "h2");
}

#[tokio::test]
async fn a22_behind_a_proxy_literal_addresses_alone_are_checked() {
    let proxy = http_proxy(None);
    let (lookup, asked) = lookup(&[&["127.0.0.1"]]);
    let http = behind(&format!("http://{}", proxy.address), lookup);
    let outcome = get(&http, policy(Reach::Public), "http://auth.test/x").await;
    assert_eq!(outcome, Ok(200));
    let head = proxy.requests.recv_timeout(DEADLINE).unwrap();
    assert!(head.starts_with("GET http://auth.test/x "), "{head}");
    let outcome = get(&http, policy(Reach::Public), "http://10.0.0.1/x").await;
    assert_blocked(outcome, "10.0.0.1");
    assert!(proxy.requests.try_recv().is_err());
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a22_a_proxy_that_does_not_resolve_names_may_itself_be_anywhere() {
    let (port, _connections) = server();
    let proxy = socks_proxy();
    let by_name: Lookup = Arc::new(|name| {
        let address = match name {
            "inside.test" => Ipv4Addr::new(10, 0, 0, 1),
            "outside.test" => PUBLIC.parse().unwrap(),
            _ => Ipv4Addr::LOCALHOST,
        };
        Box::pin(async move { Ok(vec![SocketAddr::from((address, 0))]) })
    });
    let proxy_url = format!("socks5://user:secret@proxy.test:{}", proxy.address.port());
    let http = behind(&proxy_url, by_name);
    let inside = format!("http://inside.test:{port}/");
    assert_blocked(get(&http, policy(Reach::Public), &inside).await, "10.0.0.1");
    assert!(proxy.requests.try_recv().is_err());
    let outside = format!("http://outside.test:{port}/");
    assert_eq!(get(&http, policy(Reach::Public), &outside).await, Ok(200));
    let asked = proxy.requests.recv_timeout(DEADLINE).unwrap();
    assert!(asked.contains(PUBLIC), "{asked}");
}

#[tokio::test]
async fn a21_a_servers_reach_is_that_of_its_addresses() {
    for (server, answer, expected) in [
        ("https://localhost/", &[][..], Reach::Loopback),
        ("http://127.0.0.2/", &[], Reach::Loopback),
        ("http://[::1]/", &[], Reach::Loopback),
        ("https://192.168.1.1/", &[], Reach::Private),
        ("https://[fd00::1]/", &[], Reach::Private),
        ("https://8.8.8.8/", &[], Reach::Public),
        ("https://mcp.test/", &[PUBLIC], Reach::Public),
        ("https://mcp.test/", &["10.0.0.1"], Reach::Private),
        ("https://mcp.test/", &[PUBLIC, "fd00::1"], Reach::Private),
        ("https://mcp.test/", &["127.0.0.1", "::1"], Reach::Loopback),
        (
            "https://mcp.test/",
            &["127.0.0.1", "10.0.0.1"],
            Reach::Private,
        ),
        // Nobody's network: what it may name stays public.
        ("https://mcp.test/", &["127.0.0.1", PUBLIC], Reach::Public),
        ("https://mcp.test/", &[], Reach::Public),
    ] {
        let http = client(&[answer]);
        assert_eq!(
            reach(&http, &url(server)).await,
            expected,
            "{server} {answer:?}"
        );
    }
    // No answer at all.
    let http = client(&[]);
    assert_eq!(reach(&http, &url("https://mcp.test/")).await, Reach::Public);
}

#[tokio::test]
async fn a21_what_a_proxy_resolves_counts_as_public_unless_it_is_literal() {
    let loopback = lookup(&[&["127.0.0.1"]]).0;
    for (proxy, name) in [
        ("http://proxy.test:1", Reach::Public),
        ("https://proxy.test:1", Reach::Public),
        ("socks5h://proxy.test:1", Reach::Public),
        ("socks5://proxy.test:1", Reach::Loopback),
    ] {
        let http = behind(proxy, Arc::clone(&loopback));
        assert_eq!(
            reach(&http, &url("https://mcp.test/")).await,
            name,
            "{proxy}"
        );
        let literal = reach(&http, &url("https://10.1.2.3/")).await;
        assert_eq!(literal, Reach::Private, "{proxy}");
    }
}

#[tokio::test]
async fn the_system_resolves_localhost() {
    let looking = (system_lookup())("localhost");
    let found = tokio::time::timeout(DEADLINE, looking).await.unwrap();
    assert!(found.unwrap().iter().all(|found| found.ip().is_loopback()));
}

#[test]
fn a_client_is_kept_for_one_policy() {
    let guarded = GuardedClient::new(client(&[]), policy(Reach::Public));
    assert!(guarded.obeys(&policy(Reach::Public)));
    assert!(!guarded.obeys(&policy(Reach::Private)));
    let mut other = policy(Reach::Public);
    other.allow_private = true;
    assert!(!guarded.obeys(&other));
    let mut other = policy(Reach::Public);
    other.server = Arc::new(url("https://other.test/"));
    assert!(!guarded.obeys(&other));
}
