//! The checks against servers and proxies on loopback.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;
use crate::edge::http::loopback::{
    Authority, Issued, OK, TlsOptions, TlsServer, http_proxy, linger, nobody, read_head, serve,
    socks_proxy, tls_server,
};
use crate::edge::http::proxy::{ProxyChoice, ProxyEnvironment, ProxyUrl};
use crate::edge::http::settings::NetworkSettings;
use crate::proto::doctor::Mark;
use crate::proto::failure::Kind;

const DEADLINE: Duration = Duration::from_secs(30);

fn url(base: &str) -> Url {
    Url::parse(&format!("{base}/mcp?key=s3cr3t-query")).unwrap()
}

async fn connected(settings: &NetworkSettings, base: &str) -> Connected {
    let http = HttpClient::new(settings.clone());
    let connected = tokio::time::timeout(DEADLINE, connection(&http, &url(base)))
        .await
        .expect("deadline");
    for check in &connected.checks {
        let shown = format!("{check:?}");
        for secret in ["s3cr3t", "hunter2"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert_eq!(check.mark == Mark::Good, check.advice.is_none(), "{shown}");
    }
    connected
}

impl Connected {
    #[track_caller]
    fn only(&self, id: &str) -> &Check {
        let mut found = self.checks.iter().filter(|check| check.id == id);
        let check = found
            .next()
            .unwrap_or_else(|| panic!("no {id}: {:?}", self.checks));
        assert_eq!(found.next(), None, "one line of {id}");
        check
    }

    fn ids(&self) -> Vec<&str> {
        self.checks.iter().map(|check| check.id).collect()
    }

    /// Ids of what is not good.
    fn conspicuous(&self) -> Vec<(&str, Mark)> {
        let conspicuous = self.checks.iter().filter(|check| check.mark != Mark::Good);
        conspicuous.map(|check| (check.id, check.mark)).collect()
    }
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    #[expect(clippy::disallowed_methods, reason = "test files")]
    fn put(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn trusting(authority: &Authority, files: &Files) -> NetworkSettings {
    NetworkSettings {
        ca_files: vec![files.put("ca.pem", authority.pem())],
        ..NetworkSettings::default()
    }
}

fn through(proxy: &str) -> NetworkSettings {
    NetworkSettings {
        proxy: ProxyChoice::Fixed(ProxyUrl::parse(proxy).unwrap()),
        ..NetworkSettings::default()
    }
}

fn serving(identity: &Issued, along: &[&Authority]) -> TlsServer {
    let along: Vec<_> = along
        .iter()
        .map(|authority| authority.certificate())
        .collect();
    let options = TlsOptions {
        along: &along,
        ..TlsOptions::default()
    };
    tls_server(identity, &options)
}

fn https(address: SocketAddr) -> String {
    format!("https://{address}")
}

/// A plain server that gives this answer to everything.
fn answering(answer: impl Into<Vec<u8>>) -> String {
    let answer = answer.into();
    let address = serve(move |mut stream| {
        if read_head(&mut stream).is_ok() {
            let _ = stream.write_all(&answer);
            linger(&mut stream);
        }
    });
    format!("http://{address}")
}

// ----- good ones -----

#[tokio::test]
async fn a_good_server_has_four_good_lines() {
    let (authority, files) = (Authority::new("Corp CA"), Files::new());
    let server = serving(&authority.issue(&["127.0.0.1"], |_| ()), &[]);
    let settings = trusting(&authority, &files);
    let connected = connected(&settings, &https(server.address)).await;
    assert!(connected.reached);
    assert_eq!(connected.conspicuous(), [], "{:?}", connected.checks);
    assert_eq!(
        connected.ids(),
        ["roots", "connection", "certificate", "clock"]
    );
    let ca = settings.ca_files[0].display();
    let roots = &connected.only("roots").text;
    assert!(
        roots.ends_with(&format!("1 more of --ca-cert {ca}")),
        "{roots}"
    );
    let line = connected.only("connection");
    let peer = server.address;
    assert_eq!(
        line.text,
        format!("{peer} answers in HTTP/2, with status 200 to a HEAD request without credentials")
    );
    assert!(line.millis.is_some());
    let certificate = &connected.only("certificate").text;
    let wanted = [
        "for 127.0.0.1, issued by `Corp CA`, valid until 4096-01-01 (",
        "; 1 certificate sent, ending in `Corp CA`, trusted by --ca-cert ",
    ];
    for words in wanted {
        assert!(certificate.contains(words), "{certificate}");
    }
}

#[tokio::test]
async fn plain_http_has_no_certificate() {
    let connected = connected(&NetworkSettings::default(), &answering(OK)).await;
    assert!(connected.reached);
    assert_eq!(connected.ids(), ["connection", "clock"]);
    assert_eq!(connected.conspicuous(), []);
    let text = &connected.only("connection").text;
    assert!(
        text.contains("answers in HTTP/1.1, with status 200"),
        "{text}"
    );
}

#[tokio::test]
async fn neither_credentials_nor_a_body_are_sent() {
    let (seen, heads) = std::sync::mpsc::channel();
    let address = serve(move |mut stream| {
        if let Ok(head) = read_head(&mut stream) {
            let _ = seen.send(head);
            let _ = stream.write_all(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n");
        }
    });
    let connected = connected(&NetworkSettings::default(), &format!("http://{address}")).await;
    assert!(connected.reached);
    assert_eq!(connected.conspicuous(), []);
    let head = heads.recv_timeout(DEADLINE).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("head /mcp"), "{head}");
    for field in [
        "authorization:",
        "cookie:",
        "content-length:",
        "mcp-session",
    ] {
        assert!(!head.contains(field), "{head}");
    }
}

#[tokio::test]
async fn every_way_to_trust_is_named() {
    let (authority, files) = (Authority::new("Corp CA"), Files::new());
    let server = serving(&authority.issue(&["127.0.0.1"], |_| ()), &[]);
    let file = files.put("ca.pem", authority.pem());
    let folder = files.0.path().to_owned();
    let none = NetworkSettings::default;
    for (settings, by) in [
        (
            NetworkSettings {
                ca_files: vec![file.clone()],
                ..none()
            },
            format!("--ca-cert {}", file.display()),
        ),
        (
            NetworkSettings {
                node_extra_ca_certs: Some(file.clone()),
                ..none()
            },
            format!("NODE_EXTRA_CA_CERTS {}", file.display()),
        ),
        (
            NetworkSettings {
                ssl_cert_file: Some(file.clone()),
                ..none()
            },
            format!("SSL_CERT_FILE {}", file.display()),
        ),
        (
            NetworkSettings {
                ssl_cert_dir: Some(folder.clone()),
                ..none()
            },
            format!("SSL_CERT_DIR {}", folder.display()),
        ),
    ] {
        let connected = connected(&settings, &https(server.address)).await;
        assert_eq!(connected.conspicuous(), [], "{by}");
        let text = &connected.only("certificate").text;
        assert!(text.ends_with(&format!("trusted by {by}")), "{text}");
        let text = &connected.only("roots").text;
        assert!(text.ends_with(&format!("1 more of {by}")), "{text}");
    }
}

#[tokio::test]
async fn the_root_is_found_behind_an_intermediate() {
    let (authority, files) = (Authority::new("Corp Root"), Files::new());
    let between = authority.intermediate("Corp Issuer");
    let server = serving(&between.issue(&["127.0.0.1"], |_| ()), &[&between]);
    let connected = connected(&trusting(&authority, &files), &https(server.address)).await;
    assert_eq!(connected.conspicuous(), []);
    let text = &connected.only("certificate").text;
    assert!(text.contains("issued by `Corp Issuer`"), "{text}");
    assert!(
        text.contains("2 certificates sent, ending in `Corp Root`, trusted by --ca-cert"),
        "{text}"
    );
}

#[tokio::test]
async fn a_certificate_that_is_trusted_itself_is_its_own_root() {
    for is_ca in [false, true] {
        let identity = Issued::self_signed(&["127.0.0.1"], |params| {
            if is_ca {
                params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            }
        });
        let (server, files) = (serving(&identity, &[]), Files::new());
        let settings = NetworkSettings {
            ca_files: vec![files.put("server.pem", &identity.pem)],
            ..NetworkSettings::default()
        };
        let connected = connected(&settings, &https(server.address)).await;
        assert_eq!(connected.conspicuous(), []);
        let text = &connected.only("certificate").text;
        assert!(
            text.contains("ending in `Test Server`, trusted by --ca-cert"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn the_certificate_is_seen_through_proxies() {
    let (authority, files) = (Authority::new("Corp CA"), Files::new());
    let server = serving(&authority.issue(&["127.0.0.1"], |_| ()), &[]);
    let (http, socks) = (http_proxy(None), socks_proxy());
    for proxy in [
        format!("http://{}", http.address),
        format!("socks5h://user:secret@{}", socks.address),
    ] {
        let settings = NetworkSettings {
            proxy: through(&proxy).proxy,
            ..trusting(&authority, &files)
        };
        let connected = connected(&settings, &https(server.address)).await;
        assert_eq!(connected.conspicuous(), [], "{proxy}");
        assert!(connected.only("certificate").text.contains("`Corp CA`"));
        let text = &connected.only("connection").text;
        assert!(
            text.starts_with("the server answers through the proxy 127.0.0.1:"),
            "{text}"
        );
    }
}

// ----- certificates -----

#[tokio::test]
async fn each_fault_of_a_certificate_turns_its_line_bad() {
    let (authority, files) = (Authority::new("Corp CA"), Files::new());
    let between = authority.intermediate("Corp Issuer");
    let stranger = Authority::new("Other CA");
    let expired = authority.issue(&["127.0.0.1"], |params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let future = authority.issue(&["127.0.0.1"], |params| {
        params.not_before = rcgen::date_time_ymd(4000, 1, 1);
    });
    let names = &["127.0.0.1"];
    for (identity, along, words, advice, flag) in [
        (
            expired,
            vec![],
            "has expired",
            "renewed",
            Some("--insecure"),
        ),
        (future, vec![], "is not valid yet", "clock", None),
        (
            authority.issue(&["a.test"], |_| ()),
            vec![],
            "is for `a.test`, not for `127.0.0.1`",
            "use the name",
            None,
        ),
        (
            Issued::self_signed(names, |_| ()),
            vec![],
            "self-signed by `Test Server`",
            "save its certificate",
            Some("--ca-cert FILE"),
        ),
        (
            stranger.issue(names, |_| ()),
            vec![&stranger],
            "issued by `Other CA`, which is not trusted here",
            "your company's CA",
            Some("--ca-cert FILE"),
        ),
        (
            between.issue(names, |_| ()),
            vec![],
            "whose own certificate did not come with it",
            "has to add the missing intermediate certificate",
            Some("--ca-cert FILE"),
        ),
    ] {
        let server = serving(&identity, &along);
        let connected = connected(&trusting(&authority, &files), &https(server.address)).await;
        assert!(!connected.reached, "{words}");
        assert_eq!(
            connected.conspicuous(),
            [("certificate", Mark::Bad)],
            "{words}"
        );
        let line = connected.only("certificate");
        assert!(line.text.starts_with("cannot trust 127.0.0.1:"), "{line:?}");
        assert!(line.text.contains(words), "{line:?}");
        assert!(line.advice.as_ref().unwrap().contains(advice), "{line:?}");
        assert_eq!(line.flag.as_deref(), flag, "{line:?}");
        assert_eq!(line.kind, Some(Kind::Connect));
    }
}

#[tokio::test]
async fn a_certificate_near_its_end_is_a_warning() {
    let (authority, files) = (Authority::new("Corp CA"), Files::new());
    let now = SystemTime::UNIX_EPOCH + SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let identity = authority.issue(&["127.0.0.1"], |params| {
        params.not_after = (now + Duration::from_hours(7 * 24)).into();
    });
    let server = serving(&identity, &[]);
    let connected = connected(&trusting(&authority, &files), &https(server.address)).await;
    assert!(connected.reached);
    assert_eq!(connected.conspicuous(), [("certificate", Mark::Warning)]);
}

#[tokio::test]
async fn a_check_that_is_switched_off_says_what_it_would_say() {
    let (authority, files) = (Authority::new("Corp CA"), Files::new());
    let server = serving(&authority.issue(&["127.0.0.1"], |_| ()), &[]);
    let insecure_host = Some("127.0.0.1".to_owned());
    for (settings, words, flag) in [
        (
            NetworkSettings {
                insecure_host: insecure_host.clone(),
                ..NetworkSettings::default()
            },
            "not trusted here",
            Some("--ca-cert FILE"),
        ),
        (
            NetworkSettings {
                insecure_host: insecure_host.clone(),
                ..trusting(&authority, &files)
            },
            "leave --insecure",
            None,
        ),
    ] {
        let connected = connected(&settings, &https(server.address)).await;
        assert!(connected.reached);
        let line = connected.only("certificate");
        assert_eq!(line.mark, Mark::Warning, "{line:?}");
        assert!(format!("{line:?}").contains(words), "{line:?}");
        assert_eq!(line.flag.as_deref(), flag);
    }
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_of_ours_is_told_from_a_bad_one() {
    let (authority, files) = (Authority::new("Corp CA"), Files::new());
    let options = TlsOptions {
        client_authority: Some(&authority),
        ..TlsOptions::default()
    };
    let server = tls_server(&authority.issue(&["127.0.0.1"], |_| ()), &options);
    let connected = connected(&trusting(&authority, &files), &https(server.address)).await;
    assert!(!connected.reached);
    assert_eq!(connected.conspicuous(), [("connection", Mark::Bad)]);
    let line = connected.only("connection");
    assert_eq!(line.flag.as_deref(), Some("--client-cert FILE"), "{line:?}");
    assert_eq!(line.kind, Some(Kind::Connect));
}

#[tokio::test]
async fn hostile_chains_are_bounded_and_harmless() {
    let (authority, files) = (Authority::new("Corp CA"), Files::new());
    let hostile = Authority::new(&format!("\u{1b}[2J\u{202e}{}", "x".repeat(3_000)));
    let own = hostile.issue(&["127.0.0.1"], |_| ());
    let server = serving(&own, &[]);
    let refused = connected(&trusting(&authority, &files), &https(server.address)).await;
    let shown = format!("{:?}", refused.only("certificate").text);
    assert!(shown.len() < 1_000, "{shown}");
    for bad in ["\u{1b}", "\u{202e}"] {
        assert!(!refused.only("certificate").text.contains(bad), "{shown}");
    }

    // Garbage beside a good chain.
    let junk: Vec<_> = (0..100)
        .map(|number| Issued::self_signed(&[&format!("{number}.test")], |_| ()).certificate)
        .collect();
    let options = TlsOptions {
        along: &junk,
        ..TlsOptions::default()
    };
    let server = tls_server(&authority.issue(&["127.0.0.1"], |_| ()), &options);
    let trusted = connected(&trusting(&authority, &files), &https(server.address)).await;
    assert_eq!(trusted.conspicuous(), [], "{:?}", trusted.checks);
    let text = &trusted.only("certificate").text;
    assert!(
        text.contains("101 certificates sent, ending in `Corp CA`"),
        "{text}"
    );

    // No certificate at all.
    let broken = [rustls::pki_types::CertificateDer::from(vec![
        0x30, 0x84, 0xff, 0xff,
    ])];
    let options = TlsOptions {
        along: &broken,
        ..TlsOptions::default()
    };
    let server = tls_server(&authority.issue(&["127.0.0.1"], |_| ()), &options);
    let odd = connected(&trusting(&authority, &files), &https(server.address)).await;
    assert_eq!(odd.ids().first(), Some(&"roots"));
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let files = Files::new();
    let missing = files.0.path().join("missing.pem");
    let none = NetworkSettings::default;
    let settings = NetworkSettings {
        ca_files: vec![missing.clone()],
        ..none()
    };
    let refused = connected(&settings, "https://127.0.0.1:1").await;
    assert!(!refused.reached);
    assert_eq!(refused.ids(), ["roots"]);
    let line = refused.only("roots");
    assert_eq!((line.mark, line.kind), (Mark::Bad, Some(Kind::Connect)));
    assert!(
        line.text.contains(&missing.display().to_string()),
        "{line:?}"
    );

    let identity = Issued::self_signed(&["127.0.0.1"], |_| ());
    let server = serving(&identity, &[]);
    let settings = NetworkSettings {
        ca_files: vec![files.put("server.pem", &identity.pem)],
        node_extra_ca_certs: Some(missing),
        ..none()
    };
    let warned = connected(&settings, &https(server.address)).await;
    assert!(warned.reached);
    assert_eq!(warned.conspicuous(), [("roots", Mark::Warning)]);
    assert!(format!("{:?}", warned.checks).contains("NODE_EXTRA_CA_CERTS"));
}

// ----- proxies -----

#[tokio::test]
async fn proxies_in_the_way_turn_the_connection_bad() {
    let forbidding = http_proxy(Some("403 Forbidden"));
    let asking = http_proxy(Some("407 Proxy Authentication Required"));
    let socks = socks_proxy();
    let nobody = nobody();
    for (proxy, base, words, advice, flag) in [
        (
            format!("http://u:hunter2@{}", forbidding.address),
            "https://a.test",
            "makes no connection to a.test:443",
            "--proxy none",
            Some("--proxy none"),
        ),
        (
            format!("http://u:hunter2@{}", asking.address),
            "https://a.test",
            "(407)",
            "USER:PASSWORD@",
            None,
        ),
        (
            format!("http://u:hunter2@{}", asking.address),
            "http://a.test",
            "(407)",
            "USER:PASSWORD@",
            None,
        ),
        (
            format!("http://u:hunter2@{nobody}"),
            "https://a.test",
            "cannot be reached",
            "proxy variables",
            Some("--proxy none"),
        ),
        (
            format!("socks5h://u:hunter2@{}", socks.address),
            "https://a.test",
            "does not accept the user name and password",
            "check --proxy",
            None,
        ),
        (
            format!("socks5h://u:hunter2@{nobody}"),
            "https://a.test",
            "cannot be reached",
            "proxy variables",
            Some("--proxy none"),
        ),
    ] {
        let connected = connected(&through(&proxy), base).await;
        assert!(!connected.reached, "{words}");
        assert_eq!(
            connected.conspicuous(),
            [("connection", Mark::Bad)],
            "{words}"
        );
        let line = connected.only("connection");
        assert!(line.text.contains(words), "{line:?}");
        assert!(line.advice.as_ref().unwrap().contains(advice), "{line:?}");
        assert_eq!(line.flag.as_deref(), flag, "{line:?}");
        assert_eq!(line.kind, Some(Kind::Connect));
    }
}

#[tokio::test]
async fn the_certificate_of_a_proxy_is_judged_as_well() {
    let proxy = serving(
        &Authority::new("Proxy CA").issue(&["127.0.0.1"], |_| ()),
        &[],
    );
    let settings = through(&https(proxy.address));
    let connected = connected(&settings, "https://a.test").await;
    assert!(!connected.reached);
    assert_eq!(connected.conspicuous(), [("certificate", Mark::Bad)]);
    let text = &connected.only("certificate").text;
    assert!(
        text.starts_with("cannot trust the proxy 127.0.0.1:"),
        "{text}"
    );
}

#[test]
fn the_proxy_and_its_reason_are_named_without_secrets() {
    let environment = |no_proxy: &str| NetworkSettings {
        proxy: ProxyChoice::Environment(ProxyEnvironment {
            https: Some(ProxyUrl::parse("http://u:hunter2@proxy.test:3128").unwrap()),
            all: Some(ProxyUrl::parse("socks5h://all.test").unwrap()),
            no_proxy: Some(no_proxy.to_owned()),
            ..ProxyEnvironment::default()
        }),
        ..NetworkSettings::default()
    };
    let unset = NetworkSettings {
        proxy: ProxyChoice::Environment(ProxyEnvironment::default()),
        ..NetworkSettings::default()
    };
    for (settings, address, text) in [
        (
            environment(""),
            "https://a.test",
            "http://proxy.test:3128, as HTTPS_PROXY says",
        ),
        (
            environment(""),
            "http://a.test",
            "socks5h://all.test:1080, as ALL_PROXY says",
        ),
        (
            environment("b.test, .test"),
            "https://a.test",
            "no proxy: there is one in the environment, but NO_PROXY excepts `.test`",
        ),
        (
            environment(""),
            "https://127.0.0.1",
            "no proxy: there is one in the environment, but the server is on this machine",
        ),
        (
            through("http://u:hunter2@proxy.test"),
            "https://a.test",
            "http://proxy.test:80, as --proxy says",
        ),
        (unset, "https://a.test", "no proxy"),
        (
            NetworkSettings::default(),
            "https://a.test",
            "no proxy, as --proxy none says",
        ),
    ] {
        let checks = proxy(&HttpClient::new(settings), &url(address));
        assert_eq!(checks, [Check::good("proxy", text)]);
    }
}

// ----- connections -----

#[tokio::test]
async fn a_port_where_nobody_listens_is_bad() {
    for scheme in ["http", "https"] {
        let base = format!("{scheme}://{}", nobody());
        let connected = connected(&NetworkSettings::default(), &base).await;
        assert!(!connected.reached);
        assert_eq!(connected.conspicuous(), [("connection", Mark::Bad)]);
        let line = connected.only("connection");
        assert!(line.text.contains("nothing listens"), "{line:?}");
        assert_eq!(line.kind, Some(Kind::Connect));
    }
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_bad() {
    let address = serve(|mut stream| {
        let _ = stream.write_all(OK);
        linger(&mut stream);
    });
    let connected = connected(&NetworkSettings::default(), &https(address)).await;
    assert!(!connected.reached);
    assert_eq!(connected.conspicuous(), [("connection", Mark::Bad)]);
    let line = connected.only("connection");
    assert!(line.text.contains("does not speak TLS"), "{line:?}");
}

#[tokio::test]
async fn a_connection_that_is_never_made_offers_more_time() {
    let address = serve(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let settings = NetworkSettings {
        connect_timeout: Some(Duration::from_millis(200)),
        ..NetworkSettings::default()
    };
    let connected = connected(&settings, &https(address)).await;
    assert!(!connected.reached);
    assert_eq!(connected.conspicuous(), [("connection", Mark::Bad)]);
    let line = connected.only("connection");
    assert_eq!(line.flag.as_deref(), Some("--connect-timeout 30"));
    assert_eq!(line.kind, Some(Kind::Timeout));
}

#[tokio::test]
async fn odd_answers_to_head_are_no_reason_to_give_up() {
    let settings = NetworkSettings {
        connect_timeout: Some(Duration::from_millis(500)),
        ..NetworkSettings::default()
    };
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    for (base, words) in [
        (answering(""), "closed the connection"),
        (
            answering("SSH-2.0-OpenSSH_9.6\r\n"),
            "does not answer in HTTP",
        ),
        (answering(huge), "of headers"),
    ] {
        let connected = connected(&settings, &base).await;
        assert!(connected.reached, "{words}");
        assert_eq!(connected.conspicuous(), [("connection", Mark::Warning)]);
        let line = connected.only("connection");
        assert!(line.text.contains(words), "{line:?}");
    }
}

#[tokio::test]
async fn a_server_that_keeps_silent_on_head_alone_is_good() {
    let mute = serve(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    // Nobody waits for a connection that is there.
    let settings = NetworkSettings {
        connect_timeout: Some(Duration::from_secs(3600)),
        ..NetworkSettings::default()
    };
    let connected = connected(&settings, &format!("http://{mute}")).await;
    assert!(connected.reached);
    assert!(connected.conspicuous().is_empty());
    let line = connected.only("connection");
    assert!(line.text.contains("is not answered"), "{line:?}");
}

// ----- the clock -----

#[tokio::test]
async fn the_servers_date_is_compared_with_ours() {
    let now = SystemTime::UNIX_EPOCH + SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let hour = Duration::from_hours(1);
    for (date, expected) in [
        (httpdate::fmt_http_date(now), vec![]),
        (
            httpdate::fmt_http_date(now - hour),
            vec![("clock", Mark::Bad)],
        ),
        (
            httpdate::fmt_http_date(now + hour),
            vec![("clock", Mark::Bad)],
        ),
        (
            httpdate::fmt_http_date(now + Duration::from_secs(200)),
            vec![("clock", Mark::Warning)],
        ),
        ("yesterday".to_owned(), vec![]),
    ] {
        let base = answering(format!("HTTP/1.1 200 OK\r\nDate: {date}\r\n\r\n"));
        let connected = connected(&NetworkSettings::default(), &base).await;
        assert!(connected.reached);
        assert_eq!(connected.conspicuous(), expected, "{date}");
    }
}

#[tokio::test]
async fn a_name_is_resolved_or_bad() {
    let http = HttpClient::new(NetworkSettings::default());
    let literal = name(&http, &url("https://127.0.0.1")).await;
    assert_eq!(literal.len(), 1);
    assert_eq!(literal[0].mark, Mark::Good);
    let proxied = HttpClient::new(through("http://u:hunter2@proxy.test:3128"));
    let proxied = name(&proxied, &url("https://a.test")).await;
    assert_eq!(
        proxied,
        [Check::good("name", "the proxy proxy.test:3128 resolves it")]
    );
    // RFC 2606 reserves it: it never resolves.
    let nowhere = name(&http, &url("https://nowhere.invalid")).await;
    assert_eq!(nowhere[0].mark, Mark::Bad);
    assert!(nowhere[0].kind.is_some());
}
