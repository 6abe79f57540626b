//! Names and addresses, against look-ups of the test's own and loopback.

use std::net::TcpListener;

use super::*;
use crate::edge::http::guard::{Looking, Lookup};
use crate::edge::http::proxy::{ProxyChoice, ProxyUrl};
use crate::edge::http::settings::NetworkSettings;

const DEADLINE: Duration = Duration::from_secs(20);

fn lookup(found: &'static [&'static str]) -> Lookup {
    Arc::new(move |_| -> Looking {
        let found: Vec<SocketAddr> = found
            .iter()
            .map(|address| SocketAddr::new(address.parse().unwrap(), 0))
            .collect();
        Box::pin(async move {
            if found.is_empty() {
                return Err(io::Error::other("no such name"));
            }
            Ok(found)
        })
    })
}

fn client(settings: NetworkSettings, found: &'static [&'static str]) -> HttpClient {
    HttpClient::with_lookup(settings, lookup(found))
}

async fn resolved(http: &HttpClient, url: &str) -> Resolved {
    let url = Url::parse(url).unwrap();
    timeout(DEADLINE, resolve(http, &url))
        .await
        .expect("deadline")
}

#[tokio::test]
async fn an_address_needs_no_look_up() {
    let http = client(NetworkSettings::default(), &[]);
    for (url, address) in [
        ("http://127.0.0.1:1/", "127.0.0.1"),
        ("https://[2001:db8::1]/", "2001:db8::1"),
    ] {
        let Resolved::Address(found) = resolved(&http, url).await else {
            panic!("{url} was looked up");
        };
        assert_eq!(found.to_string(), address);
    }
}

#[tokio::test]
async fn a_name_without_addresses_has_the_words_of_the_bridge() {
    let http = client(NetworkSettings::default(), &[]);
    let Resolved::Nothing(trouble) = resolved(&http, "https://a.test/mcp?key=s3cr3t").await else {
        panic!("it resolves");
    };
    assert_eq!(trouble.kind, TroubleKind::Dns);
    assert!(
        trouble
            .text
            .starts_with("the name a.test does not resolve; ")
    );
    assert!(!trouble.text.contains("s3cr3t"));
}

#[tokio::test]
async fn a_look_up_that_hangs_is_given_up() {
    let hangs: Lookup = Arc::new(|_| Box::pin(std::future::pending()));
    let settings = NetworkSettings {
        connect_timeout: Some(Duration::from_millis(50)),
        ..NetworkSettings::default()
    };
    let http = HttpClient::with_lookup(settings, hangs);
    let Resolved::Nothing(trouble) = resolved(&http, "https://a.test/").await else {
        panic!("it resolves");
    };
    assert_eq!(trouble.kind, TroubleKind::Timeout);
}

#[tokio::test]
async fn what_a_proxy_resolves_is_not_looked_up_here() {
    let through = |proxy| NetworkSettings {
        proxy: ProxyChoice::Fixed(ProxyUrl::parse(proxy).unwrap()),
        ..NetworkSettings::default()
    };
    for proxy in [
        "http://u:hunter2@proxy.test:3128",
        "socks5h://proxy.test:3128",
    ] {
        let http = client(through(proxy), &["127.0.0.1"]);
        let Resolved::ByProxy(label) = resolved(&http, "https://a.test/").await else {
            panic!("{proxy} was not asked");
        };
        assert_eq!(label, "proxy.test:3128");
    }
    let socks5 = through("socks5://proxy.test");
    let http = client(socks5.clone(), &[]);
    let Resolved::Nothing(trouble) = resolved(&http, "https://a.test/").await else {
        panic!("it resolves");
    };
    assert!(trouble.text.contains("socks5h://"), "{}", trouble.text);
    // Nobody connects to the server but the proxy.
    let http = client(socks5, &["127.0.0.1", "::1"]);
    let Resolved::Found(found, _) = resolved(&http, "https://a.test/").await else {
        panic!("it does not resolve");
    };
    assert_eq!((found.ipv4, found.ipv6), (None, None));
}

#[tokio::test]
async fn both_kinds_of_addresses_are_tried_where_there_are_both() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("https://a.test:{port}/");
    let both = &["127.0.0.1", "::1"];

    let http = client(NetworkSettings::default(), both);
    let Resolved::Found(found, _) = resolved(&http, &url).await else {
        panic!("it does not resolve");
    };
    assert_eq!(found.addresses.len(), 2);
    assert_eq!(found.ipv4, Some(Reach::Open));
    assert!(matches!(found.ipv6, Some(Reach::Refused | Reach::NoWay)));

    let settings = NetworkSettings {
        ipv4: true,
        ..NetworkSettings::default()
    };
    for (http, url) in [
        (client(settings, both), url.as_str()),
        (
            client(NetworkSettings::default(), &["127.0.0.1"]),
            url.as_str(),
        ),
        (
            client(NetworkSettings::default(), both),
            &format!("http://localhost:{port}/"),
        ),
    ] {
        let Resolved::Found(found, _) = resolved(&http, url).await else {
            panic!("it does not resolve");
        };
        assert_eq!((found.ipv4, found.ipv6), (None, None), "{url}");
    }
}
