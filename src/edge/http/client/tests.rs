//! The client against servers and proxies on loopback: trust, tunnels, limits, words.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use reqwest::Version;
use tempfile::TempDir;

use super::*;
use crate::edge::http::loopback::{
    Authority, BODY, Issued, OK, TlsOptions, http_proxy, linger, nobody, read_head, serve,
    socks_proxy, tls_server,
};
use crate::edge::http::proxy::ProxyEnvironment;

const DEADLINE: Duration = Duration::from_secs(20);

fn secure() -> Url {
    Url::parse("https://a.test/mcp").unwrap()
}

/// One GET as the bridge would do it, with a query that no message may repeat.
async fn get(client: &HttpClient, base: &str) -> Result<(Version, String), Trouble> {
    let url = Url::parse(&format!("{base}/mcp?key=s3cr3t-query")).unwrap();
    let exchange = async {
        let proxy = client.proxy_for(&url);
        let explain = |error| trouble::explain(&error, &url, proxy.as_deref(), true);
        let response = client.for_url(&url).await?.get(url.clone()).send().await;
        let response = response.map_err(explain)?;
        if let Some(trouble) = trouble::oversized_head(response.headers(), &url) {
            return Err(trouble);
        }
        let version = response.version();
        Ok((version, response.text().await.map_err(explain)?))
    };
    let outcome = tokio::time::timeout(DEADLINE, exchange)
        .await
        .expect("deadline");
    if let Err(trouble) = &outcome {
        for secret in ["s3cr3t", "hunter2"] {
            assert!(!trouble.text.contains(secret), "{}", trouble.text);
        }
    }
    outcome
}

async fn failure(client: &HttpClient, base: &str) -> Trouble {
    get(client, base).await.expect_err("this should fail")
}

/// Asserts kind and words of a failure whose request never went out.
#[track_caller]
fn assert_unsent(trouble: &Trouble, kind: TroubleKind, words: &[&str]) {
    assert_eq!(trouble.kind, kind, "{}", trouble.text);
    assert!(!trouble.sent, "{}", trouble.text);
    for word in words {
        assert!(trouble.text.contains(word), "{word:?} in {}", trouble.text);
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

    fn path(&self) -> &Path {
        self.0.path()
    }
}

/// A client that trusts one authority, by `--ca-cert`.
fn trusting(authority: &Authority, files: &Files) -> NetworkSettings {
    let ca_files = vec![files.put("ca.pem", authority.pem())];
    NetworkSettings {
        ca_files,
        ..NetworkSettings::default()
    }
}

fn https(address: SocketAddr) -> String {
    format!("https://{address}")
}

fn http(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn fixed(proxy: &str) -> ProxyChoice {
    ProxyChoice::Fixed(ProxyUrl::parse(proxy).unwrap())
}

// ----- trust -----

#[tokio::test]
async fn a_private_authority_is_trusted_and_http2_negotiated() {
    let (authority, files) = (Authority::new("Corp CA"), Files::new());
    let identity = authority.issue(&["127.0.0.1"], |_| ());
    let server = tls_server(&identity, &TlsOptions::default());
    let client = HttpClient::new(trusting(&authority, &files));
    let (version, _) = get(&client, &https(server.address)).await.unwrap();
    assert_eq!(version, Version::HTTP_2);
    assert_eq!(server.handshakes.recv_timeout(DEADLINE).unwrap(), "h2");
}

#[tokio::test]
async fn http1_is_spoken_where_http2_is_not_offered() {
    let (authority, files) = (Authority::new("Corp CA"), Files::new());
    let identity = authority.issue(&["127.0.0.1"], |_| ());
    let options = TlsOptions {
        http1_only: true,
        ..TlsOptions::default()
    };
    let server = tls_server(&identity, &options);
    let client = HttpClient::new(trusting(&authority, &files));
    let answer = get(&client, &https(server.address)).await.unwrap();
    assert_eq!(answer, (Version::HTTP_11, BODY.to_owned()));
}

#[tokio::test]
async fn every_variable_for_extra_roots_adds_to_the_trusted_ones() {
    let (authority, files) = (Authority::new("Corp CA"), Files::new());
    let server = tls_server(
        &authority.issue(&["127.0.0.1"], |_| ()),
        &TlsOptions::default(),
    );
    let file = files.put("ca.pem", authority.pem());
    let none = NetworkSettings::default;
    let elsewhere = tempfile::tempdir().unwrap();
    let folders = std::env::join_paths([elsewhere.path(), files.path()]).unwrap();
    for settings in [
        NetworkSettings {
            node_extra_ca_certs: Some(file.clone()),
            ..none()
        },
        NetworkSettings {
            ssl_cert_file: Some(file.clone()),
            ..none()
        },
        NetworkSettings {
            ssl_cert_dir: Some(folders.into()),
            ..none()
        },
    ] {
        let client = HttpClient::new(settings);
        assert_eq!(client.check(&secure()).unwrap(), [""; 0]);
        get(&client, &https(server.address)).await.unwrap();
    }
}

#[tokio::test]
async fn an_unknown_issuer_is_named_with_the_flag_that_helps() {
    let authority = Authority::new("Corp Proxy CA");
    let server = tls_server(
        &authority.issue(&["127.0.0.1"], |_| ()),
        &TlsOptions::default(),
    );
    let client = HttpClient::new(NetworkSettings::default());
    let trouble = failure(&client, &https(server.address)).await;
    let peer = server.address.to_string();
    let words = [
        &peer,
        "`Corp Proxy CA`",
        "--ca-cert FILE",
        "NODE_EXTRA_CA_CERTS",
    ];
    assert_unsent(&trouble, TroubleKind::Tls, &words);
}

#[tokio::test]
async fn a_self_signed_certificate_is_refused_until_it_is_trusted_itself() {
    for is_ca in [false, true] {
        let identity = Issued::self_signed(&["127.0.0.1"], |params| {
            if is_ca {
                let unconstrained = rcgen::BasicConstraints::Unconstrained;
                params.is_ca = rcgen::IsCa::Ca(unconstrained);
            }
        });
        let server = tls_server(&identity, &TlsOptions::default());
        let base = https(server.address);
        let stranger = HttpClient::new(NetworkSettings::default());
        let trouble = failure(&stranger, &base).await;
        let words = ["self-signed by `Test Server`", "--ca-cert FILE"];
        assert_unsent(&trouble, TroubleKind::Tls, &words);
        let files = Files::new();
        let ca_files = vec![files.put("server.pem", &identity.pem)];
        let friend = HttpClient::new(NetworkSettings {
            ca_files,
            ..NetworkSettings::default()
        });
        get(&friend, &base).await.unwrap();
    }
}

#[tokio::test]
async fn a_trusted_self_signed_authority_still_needs_the_right_name_and_date() {
    let files = Files::new();
    let change = |params: &mut rcgen::CertificateParams| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    };
    let elsewhere = Issued::self_signed(&["a.test"], change);
    let expired = Issued::self_signed(&["127.0.0.1"], |params| {
        change(params);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    for (identity, words) in [(elsewhere, "not for `127.0.0.1`"), (expired, "has expired")] {
        let server = tls_server(&identity, &TlsOptions::default());
        let ca_files = vec![files.put("server.pem", &identity.pem)];
        let client = HttpClient::new(NetworkSettings {
            ca_files,
            ..NetworkSettings::default()
        });
        let trouble = failure(&client, &https(server.address)).await;
        assert_unsent(&trouble, TroubleKind::Tls, &["cannot trust", words]);
    }
}

#[tokio::test]
async fn dates_and_names_of_certificates_are_checked() {
    let (authority, files) = (Authority::new("Corp CA"), Files::new());
    let client = HttpClient::new(trusting(&authority, &files));
    let expired = authority.issue(&["127.0.0.1"], |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let future = authority.issue(&["127.0.0.1"], |params| {
        params.not_before = rcgen::date_time_ymd(4000, 1, 1);
    });
    let elsewhere = authority.issue(&["a.test", "*.b.test", "10.0.0.1"], |_| ());
    let nameless = authority.issue(&[], |_| ());
    for (identity, words) in [
        (
            expired,
            &["`Test Server`", "`Corp CA`", "has expired", "--insecure"] as &[&str],
        ),
        (
            future,
            &["`Test Server`", "`Corp CA`", "is not valid yet", "clock"],
        ),
        (
            elsewhere,
            &[
                "`Corp CA`",
                "`a.test`, `*.b.test`, `10.0.0.1`, not for `127.0.0.1`",
            ],
        ),
        (nameless, &["no alternative name", "not for `127.0.0.1`"]),
    ] {
        let server = tls_server(&identity, &TlsOptions::default());
        let trouble = failure(&client, &https(server.address)).await;
        assert_unsent(&trouble, TroubleKind::Tls, words);
    }
}

#[tokio::test]
async fn hostile_names_in_a_certificate_do_not_reach_the_terminal() {
    let authority = Authority::new("\u{1b}]0;evil\u{7}\u{202e}");
    let server = tls_server(
        &authority.issue(&["127.0.0.1"], |_| ()),
        &TlsOptions::default(),
    );
    let client = HttpClient::new(NetworkSettings::default());
    let text = failure(&client, &https(server.address)).await.text;
    assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{text:?}");
}

#[tokio::test]
async fn insecure_mode_holds_for_one_host_only() {
    let identity = Issued::self_signed(&["a.test"], |_| ());
    let server = tls_server(&identity, &TlsOptions::default());
    let insecure_host = Some("127.0.0.1".to_owned());
    let settings = NetworkSettings {
        insecure_host,
        ipv4: true,
        ..NetworkSettings::default()
    };
    let client = HttpClient::new(settings);
    get(&client, &https(server.address)).await.unwrap();
    let other = format!("https://localhost:{}", server.address.port());
    assert_eq!(failure(&client, &other).await.kind, TroubleKind::Tls);
}

#[tokio::test]
async fn a_client_certificate_is_sent_where_the_server_asks_for_one() {
    let (authority, files) = (Authority::new("Corp CA"), Files::new());
    let options = TlsOptions {
        client_authority: Some(&authority),
        ..TlsOptions::default()
    };
    let server = tls_server(&authority.issue(&["127.0.0.1"], |_| ()), &options);
    let base = https(server.address);

    let without = HttpClient::new(trusting(&authority, &files));
    let trouble = failure(&without, &base).await;
    assert_unsent(
        &trouble,
        TroubleKind::Tls,
        &["client certificate", "--client-cert FILE"],
    );

    let own = authority.issue(&["client.test"], |_| ());
    let certificate = files.put("client.pem", &own.pem);
    let key = files.put("client.key", &own.key_pem);
    let both = files.put("both.pem", format!("{}{}", own.pem, own.key_pem));
    let sec1 = files.put("sec1.key", sec1_pem(&own.key));
    for (client_cert, client_key) in [
        (&certificate, Some(&key)),
        (&certificate, Some(&sec1)),
        (&both, None),
    ] {
        let client = HttpClient::new(NetworkSettings {
            client_cert: Some(client_cert.clone()),
            client_key: client_key.cloned(),
            ..trusting(&authority, &files)
        });
        assert_eq!(client.check(&secure()).unwrap(), [""; 0]);
        get(&client, &base).await.unwrap();
    }
}

/// The SEC 1 key inside a PKCS #8 one (RFC 5958 §2), as PEM.
fn sec1_pem(pkcs8: &[u8]) -> String {
    use base64::Engine as _;
    let start = pkcs8
        .windows(3)
        .position(|bytes| bytes == [0x02, 0x01, 0x01])
        .unwrap()
        - 2;
    let body = base64::engine::general_purpose::STANDARD.encode(&pkcs8[start..]);
    format!("-----BEGIN EC PRIVATE KEY-----\n{body}\n-----END EC PRIVATE KEY-----\n")
}

#[test]
fn files_that_cannot_be_used_are_named_with_their_flag() {
    let (authority, files) = (Authority::new("Corp CA"), Files::new());
    let (one, two) = (
        authority.issue(&["a.test"], |_| ()),
        authority.issue(&["b.test"], |_| ()),
    );
    let missing = files.path().join("missing.pem");
    let empty = files.put("empty.pem", "not PEM at all");
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let garbage = files.put("garbage.pem", garbage);
    let certificate = files.put("one.pem", &one.pem);
    let foreign_key = files.put("two.key", &two.key_pem);
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let locked = files.put("locked.key", locked);
    let none = NetworkSettings::default;
    let ca = |file: &PathBuf| NetworkSettings {
        ca_files: vec![file.clone()],
        ..none()
    };
    let client = |certificate: Option<&PathBuf>, key: Option<&PathBuf>| NetworkSettings {
        client_cert: certificate.cloned(),
        client_key: key.cloned(),
        ..none()
    };
    for (settings, words) in [
        (ca(&missing), &["--ca-cert", "missing.pem"] as &[&str]),
        (
            ca(&empty),
            &["--ca-cert", "empty.pem", "no PEM certificate"],
        ),
        (ca(&garbage), &["--ca-cert", "garbage.pem"]),
        (
            client(Some(&missing), None),
            &["--client-cert", "missing.pem"],
        ),
        (
            client(Some(&empty), None),
            &["--client-cert", "no PEM certificate"],
        ),
        (
            client(Some(&garbage), Some(&foreign_key)),
            &["--client-cert", "garbage.pem"],
        ),
        (
            client(Some(&certificate), None),
            &["--client-cert", "no private key", "--client-key"],
        ),
        (
            client(Some(&certificate), Some(&missing)),
            &["--client-key", "missing.pem"],
        ),
        (
            client(Some(&certificate), Some(&locked)),
            &["--client-key", "encrypted"],
        ),
        (
            client(Some(&certificate), Some(&foreign_key)),
            &["does not belong"],
        ),
        (
            client(None, Some(&foreign_key)),
            &["--client-key needs --client-cert"],
        ),
    ] {
        let error = HttpClient::new(settings).check(&secure()).unwrap_err();
        for word in words {
            assert!(error.contains(word), "{word:?} in {error}");
        }
    }
}

#[test]
fn files_that_the_environment_names_in_vain_are_warnings() {
    let files = Files::new();
    let missing = files.path().join("missing");
    let settings = NetworkSettings {
        node_extra_ca_certs: Some(missing.clone()),
        ssl_cert_file: Some(files.put("empty.pem", "")),
        ssl_cert_dir: Some(missing),
        ..NetworkSettings::default()
    };
    let warnings = HttpClient::new(settings).check(&secure()).unwrap();
    for (warning, variable) in
        warnings
            .iter()
            .zip(["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR"])
    {
        assert!(warning.starts_with(variable), "{warning}");
    }
    assert_eq!(warnings.len(), 3);
}

#[tokio::test]
async fn plain_http_needs_no_certificate_file() {
    let server = serve(|mut stream| {
        let _ = read_head(&mut stream).and_then(|_| stream.write_all(OK));
    });
    let ca_files = vec![PathBuf::from("/nowhere/ca.pem")];
    let client = HttpClient::new(NetworkSettings {
        ca_files,
        ..NetworkSettings::default()
    });
    client.warm_up(&Url::parse(&http(server)).unwrap());
    assert!(client.0.tls.get().is_none(), "roots are loaded for nothing");
    assert_eq!(get(&client, &http(server)).await.unwrap().1, BODY);
    let trouble = failure(&client, &https(server)).await;
    assert_unsent(
        &trouble,
        TroubleKind::Tls,
        &["--ca-cert", "/nowhere/ca.pem"],
    );
}

// ----- proxies -----

#[tokio::test]
async fn g28_https_goes_through_a_tunnel_and_credentials_to_the_proxy_alone() {
    let (authority, files) = (Authority::new("Corp CA"), Files::new());
    let identity = authority.issue(&["127.0.0.1"], |_| ());
    let options = TlsOptions {
        http1_only: true,
        ..TlsOptions::default()
    };
    let server = tls_server(&identity, &options);
    let proxy = http_proxy(None);
    let client = HttpClient::new(NetworkSettings {
        proxy: fixed(&format!("http://user:hunter%322@{}", proxy.address)),
        ..trusting(&authority, &files)
    });
    assert_eq!(get(&client, &https(server.address)).await.unwrap().1, BODY);
    let head = proxy.requests.recv_timeout(DEADLINE).unwrap();
    assert!(
        head.starts_with(&format!("CONNECT {} ", server.address)),
        "{head}"
    );
    // "user:hunter22" in Base64.
    assert!(head.contains("Basic dXNlcjpodW50ZXIyMg=="), "{head}");
    assert!(!head.contains("s3cr3t-query"), "{head}");
}

#[tokio::test]
async fn http2_is_negotiated_through_a_tunnel_too() {
    let (authority, files) = (Authority::new("Corp CA"), Files::new());
    let server = tls_server(
        &authority.issue(&["127.0.0.1"], |_| ()),
        &TlsOptions::default(),
    );
    let proxy = http_proxy(None);
    let client = HttpClient::new(NetworkSettings {
        proxy: fixed(&http(proxy.address)),
        ..trusting(&authority, &files)
    });
    assert_eq!(
        get(&client, &https(server.address)).await.unwrap().0,
        Version::HTTP_2
    );
}

#[tokio::test]
async fn plain_http_is_forwarded_in_absolute_form() {
    let proxy = http_proxy(None);
    let client = HttpClient::new(NetworkSettings {
        proxy: ProxyChoice::Environment(ProxyEnvironment {
            http: ProxyUrl::parse(&format!("user:hunter2@{}", proxy.address)).ok(),
            no_proxy: Some("direct.invalid".to_owned()),
            ..ProxyEnvironment::default()
        }),
        ..NetworkSettings::default()
    });
    assert_eq!(
        get(&client, "http://server.invalid:8080").await.unwrap().1,
        BODY
    );
    let head = proxy.requests.recv_timeout(DEADLINE).unwrap();
    assert!(
        head.starts_with("GET http://server.invalid:8080/mcp?"),
        "{head}"
    );
    assert!(head.contains("Basic dXNlcjpodW50ZXIy"), "{head}");
    assert!(head.contains(USER_AGENT), "{head}");
    // What NO_PROXY names, and loopback, does not get there.
    assert_eq!(
        failure(&client, "http://direct.invalid").await.kind,
        TroubleKind::Dns
    );
    let direct = failure(&client, &http(nobody())).await;
    assert_unsent(&direct, TroubleKind::Connect, &["connection refused"]);
    assert!(proxy.requests.try_recv().is_err());
}

#[tokio::test]
async fn socks5_carries_credentials_and_leaves_names_to_the_proxy() {
    let server = serve(|mut stream| {
        let _ = read_head(&mut stream).and_then(|_| stream.write_all(OK));
    });
    let proxy = socks_proxy();
    let settings = |address: String| NetworkSettings {
        proxy: fixed(&address),
        ..NetworkSettings::default()
    };
    let by_proxy = HttpClient::new(settings(format!("socks5h://user:secret@{}", proxy.address)));
    let base = format!("http://server.invalid:{}", server.port());
    assert_eq!(get(&by_proxy, &base).await.unwrap().1, BODY);
    let seen = proxy.requests.recv_timeout(DEADLINE).unwrap();
    assert_eq!(
        seen,
        format!("user secret 3 server.invalid {}", server.port())
    );

    let here = HttpClient::new(settings(format!("socks5://user:secret@{}", proxy.address)));
    assert_eq!(get(&here, &http(server)).await.unwrap().1, BODY);
    let seen = proxy.requests.recv_timeout(DEADLINE).unwrap();
    assert_eq!(seen, format!("user secret 1 127.0.0.1 {}", server.port()));
    let unresolved = failure(&here, &base).await;
    assert_unsent(
        &unresolved,
        TroubleKind::Dns,
        &["server.invalid", "socks5h://"],
    );

    let wrong = HttpClient::new(settings(format!("socks5://user:hunter2@{}", proxy.address)));
    let refused = failure(&wrong, &http(server)).await;
    assert_unsent(&refused, TroubleKind::Proxy, &["user name and password"]);
    let closed = failure(&here, &http(nobody())).await;
    let label = proxy.address.to_string();
    assert_unsent(
        &closed,
        TroubleKind::Proxy,
        &[&label, "is the server running"],
    );
    let gone = HttpClient::new(settings(format!("socks5://{}", nobody())));
    let gone = failure(&gone, &http(server)).await;
    assert_unsent(
        &gone,
        TroubleKind::Proxy,
        &["cannot be reached", "--proxy none"],
    );
}

#[tokio::test]
async fn g28_failures_of_the_proxy_are_told_from_those_of_the_server() {
    let with = |proxy: &str| {
        HttpClient::new(NetworkSettings {
            proxy: fixed(proxy),
            ..NetworkSettings::default()
        })
    };
    let asking = http_proxy(Some("407 Proxy Authentication Required"));
    let client = with(&format!("user:hunter2@{}", asking.address));
    let label = asking.address.to_string();
    let words = [&label, "407", "http://USER:PASSWORD@"];
    assert_unsent(
        &failure(&client, "https://a.invalid").await,
        TroubleKind::Proxy,
        &words,
    );

    let refusing = http_proxy(Some("403 Forbidden"));
    let words = ["makes no connection to a.invalid:443", "--proxy none"];
    let refused = failure(&with(&http(refusing.address)), "https://a.invalid").await;
    assert_unsent(&refused, TroubleKind::Proxy, &words);

    let gone = nobody();
    let label = gone.to_string();
    for base in ["http://a.invalid", "https://a.invalid"] {
        let words = [
            &label,
            "cannot be reached",
            "Connection refused",
            "--proxy none",
        ];
        let trouble = failure(&with(&http(gone)), base).await;
        assert_unsent(&trouble, TroubleKind::Proxy, &words);
        let words = ["name of the proxy p.invalid:80 does not resolve"];
        let trouble = failure(&with("p.invalid"), base).await;
        assert_unsent(&trouble, TroubleKind::Proxy, &words);
    }

    // A proxy that does not speak TLS although its address says so.
    let plain = serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        linger(&mut stream);
    });
    for base in ["http://a.invalid", "https://a.invalid"] {
        let trouble = failure(&with(&https(plain)), base).await;
        let words = [&format!("the proxy {plain}"), "does not speak TLS"];
        assert_unsent(&trouble, TroubleKind::Tls, &words.map(|word| word as &str));
    }
}

#[tokio::test]
async fn an_untrusted_server_behind_a_proxy_is_not_blamed_on_the_proxy() {
    let authority = Authority::new("Corp Proxy CA");
    let server = tls_server(
        &authority.issue(&["127.0.0.1"], |_| ()),
        &TlsOptions::default(),
    );
    let proxy = fixed(&http(http_proxy(None).address));
    let client = HttpClient::new(NetworkSettings {
        proxy,
        ..NetworkSettings::default()
    });
    let trouble = failure(&client, &https(server.address)).await;
    let peer = format!("cannot trust {}", server.address);
    assert_unsent(&trouble, TroubleKind::Tls, &[&peer, "`Corp Proxy CA`"]);
}

#[tokio::test]
async fn a_server_that_hangs_up_behind_a_proxy_is_not_blamed_on_the_proxy() {
    let server = serve(|mut stream| linger(&mut stream));
    let tunnel = http(http_proxy(None).address);
    let socks = format!("socks5://user:secret@{}", socks_proxy().address);
    for proxy in [tunnel, socks] {
        let proxy = fixed(&proxy);
        let client = HttpClient::new(NetworkSettings {
            proxy,
            ..NetworkSettings::default()
        });
        let trouble = failure(&client, &https(server)).await;
        let words = [
            &server.to_string(),
            "through the proxy",
            "closed the connection",
        ];
        assert_unsent(
            &trouble,
            TroubleKind::Connect,
            &words.map(|word| word as &str),
        );
    }
}

// ----- failures -----

#[tokio::test]
async fn failures_to_connect_say_what_to_do() {
    let client = HttpClient::new(NetworkSettings::default());
    let address = nobody();
    let words = [
        &address.to_string(),
        "connection refused",
        "is the server running?",
    ];
    for base in [http(address), https(address)] {
        let trouble = failure(&client, &base).await;
        assert_unsent(
            &trouble,
            TroubleKind::Connect,
            &words.map(|word| word as &str),
        );
    }
    let trouble = failure(&client, "http://no-such-host.invalid:8080").await;
    let words = ["no-such-host.invalid does not resolve", "check the address"];
    assert_unsent(&trouble, TroubleKind::Dns, &words);
}

#[tokio::test]
async fn ipv4_alone_can_be_asked_for() {
    let server = serve(|mut stream| {
        let _ = read_head(&mut stream).and_then(|_| stream.write_all(OK));
    });
    let settings = NetworkSettings {
        ipv4: true,
        ..NetworkSettings::default()
    };
    let client = HttpClient::new(settings);
    let base = format!("http://localhost:{}", server.port());
    assert_eq!(get(&client, &base).await.unwrap().1, BODY);
    let trouble = failure(&client, "http://[::1]:1").await;
    assert_unsent(&trouble, TroubleKind::Connect, &["--ipv4"]);
}

#[tokio::test]
async fn g05_a_handshake_that_stalls_ends_at_the_connect_timeout() {
    let silent = serve(|mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let settings = NetworkSettings {
        connect_timeout: Some(Duration::from_millis(300)),
        ..NetworkSettings::default()
    };
    let trouble = failure(&HttpClient::new(settings), &https(silent)).await;
    let words = [&silent.to_string(), "--connect-timeout"];
    assert_unsent(
        &trouble,
        TroubleKind::Timeout,
        &words.map(|word| word as &str),
    );
}

#[tokio::test]
async fn http_and_https_mixed_up_are_recognised() {
    let client = HttpClient::new(NetworkSettings::default());
    let plain = serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        linger(&mut stream);
    });
    let trouble = failure(&client, &https(plain)).await;
    assert_unsent(
        &trouble,
        TroubleKind::Tls,
        &["does not speak TLS", "http://"],
    );

    let identity = Authority::new("Corp CA").issue(&["127.0.0.1"], |_| ());
    let server = tls_server(&identity, &TlsOptions::default());
    let trouble = failure(&client, &http(server.address)).await;
    assert_eq!(trouble.kind, TroubleKind::Broken, "{}", trouble.text);
}

#[tokio::test]
async fn answers_that_break_are_told_apart_and_may_have_run() {
    let client = HttpClient::new(NetworkSettings::default());
    for (answer, kind, words) in [
        (
            &b""[..],
            TroubleKind::Broken,
            "closed the connection before its answer",
        ),
        (
            b"HTTP/1.1 200 O",
            TroubleKind::Broken,
            "closed the connection before its answer",
        ),
        (
            b"SSH-2.0-OpenSSH\r\n\r\n",
            TroubleKind::Broken,
            "does not answer in HTTP",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
            TroubleKind::Broken,
            "broke",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\n\r\nnot gzip 123",
            TroubleKind::Broken,
            "cannot be decompressed",
        ),
    ] {
        let server = serve(move |mut stream| {
            let _ = read_head(&mut stream).and_then(|_| stream.write_all(answer));
        });
        let trouble = failure(&client, &http(server)).await;
        assert_eq!(trouble.kind, kind, "{}", trouble.text);
        assert!(
            trouble.text.contains(words),
            "{words:?} in {}",
            trouble.text
        );
        assert!(
            trouble.text.contains(&server.to_string()),
            "{}",
            trouble.text
        );
        assert!(trouble.sent, "{}", trouble.text);
    }
}

#[tokio::test]
async fn g01_huge_heads_are_refused() {
    let client = HttpClient::new(NetworkSettings::default());
    let few = |count: usize, size: usize| {
        let line = format!("x-pad: {}\r\n", "x".repeat(size));
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{}\r\n",
            line.repeat(count)
        )
    };
    for (head, fits) in [
        (few(60, 1000), true),
        (few(66, 1000), false),
        (few(99, 1), true),
        (few(100, 1), false),
        (few(10_000, 1), false),
        (few(1, 1 << 20), false),
    ] {
        let server = serve(move |mut stream| {
            let _ = read_head(&mut stream).and_then(|_| stream.write_all(head.as_bytes()));
        });
        match get(&client, &http(server)).await {
            Ok(_) => assert!(fits),
            Err(trouble) => {
                assert_eq!(trouble.kind, TroubleKind::TooLarge, "{}", trouble.text);
                assert!(trouble.text.contains("64 KiB"), "{}", trouble.text);
                assert!(!fits && trouble.sent);
            }
        }
    }
}

#[tokio::test]
async fn g01_huge_heads_are_refused_over_http2() {
    let (authority, files) = (Authority::new("Corp CA"), Files::new());
    let client = HttpClient::new(trusting(&authority, &files));
    let identity = authority.issue(&["127.0.0.1"], |_| ());
    for (padding, fits) in [(9_000, true), (80_000, false), (300_000, false)] {
        let options = TlsOptions {
            padding,
            ..TlsOptions::default()
        };
        let server = tls_server(&identity, &options);
        match get(&client, &https(server.address)).await {
            Ok(_) => assert!(fits, "{padding}"),
            Err(trouble) => {
                assert_eq!(
                    trouble.kind,
                    TroubleKind::TooLarge,
                    "{padding}: {}",
                    trouble.text
                );
                assert!(!fits && trouble.sent);
            }
        }
    }
}

#[test]
fn f27_debug_output_holds_no_secret() {
    let proxy = fixed("http://user:hunter2@proxy.test");
    let client = HttpClient::new(NetworkSettings {
        proxy,
        ..NetworkSettings::default()
    });
    let shown = format!("{client:?}");
    assert!(
        shown.contains("proxy.test:80") && !shown.contains("hunter2"),
        "{shown}"
    );
}
