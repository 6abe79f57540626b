//! The sign-in's requests against servers on loopback that answer what they like.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::edge::http::guard::Lookup;
use crate::edge::http::loopback::{
    Authority, Issued, TlsOptions, linger, nobody, read_head, serve, tls_server,
};
use crate::edge::http::settings::NetworkSettings;

const DEADLINE: Duration = Duration::from_secs(20);

/// A server that answers each connection once, and what it was asked.
struct Server {
    address: SocketAddr,
    requests: Receiver<String>,
}

impl Server {
    /// `answer` makes a whole answer from the request's head and body.
    fn new(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let (seen, requests) = mpsc::channel();
        let address = serve(move |mut stream| {
            let Ok(mut request) = read_head(&mut stream) else {
                return;
            };
            let mut body = vec![0; length(&request)];
            if stream.read_exact(&mut body).is_err() {
                return;
            }
            request.push_str(&String::from_utf8(body).unwrap());
            let answer = answer(&request);
            let _ = seen.send(request);
            let _ = stream.write_all(&answer);
            linger(&mut stream);
        });
        Self { address, requests }
    }

    /// Always answers this.
    fn always(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::new(move |_| answer.clone())
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).unwrap()
    }

    /// The requests so far, none of which is still under way.
    fn requests(&self) -> Vec<String> {
        self.requests.try_iter().collect()
    }
}

fn length(head: &str) -> usize {
    field(head, "content-length").map_or(0, |value| value.parse().unwrap())
}

/// The one field of this name.
fn field(head: &str, name: &str) -> Option<String> {
    let mut found = head.lines().filter_map(|line| {
        let (field, value) = line.split_once(':')?;
        field
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    });
    let first = found.next();
    assert_eq!(found.next(), None, "{name} twice in {head}");
    first
}

fn answer(status: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{fields}\r\n"
    );
    (head + body).into_bytes()
}

fn user_headers(list: &[(&str, &str)]) -> watch::Receiver<Option<UserHeaders>> {
    let mut headers = UserHeaders::default();
    for (name, value) in list {
        headers.insert(name, value).unwrap();
    }
    watch::channel(Some(headers)).1
}

fn client() -> OauthHttp {
    let headers = user_headers(&[
        ("X-Api-Key", "canary-key"),
        ("Authorization", "Bearer canary-token"),
    ]);
    OauthHttp::new(HttpClient::new(NetworkSettings::default()), headers)
}

/// The policy of a server on this machine.
fn local(server: &Url) -> AddressPolicy {
    AddressPolicy {
        server: Arc::new(server.clone()),
        reach: Reach::Loopback,
        allow_private: false,
    }
}

/// The policy of a server elsewhere on this machine, whose origin nothing here has.
fn elsewhere() -> AddressPolicy {
    local(&Url::parse("http://127.0.0.1:1/mcp").unwrap())
}

async fn metadata(client: &OauthHttp, url: &Url, policy: &AddressPolicy) -> Fetched {
    tokio::time::timeout(DEADLINE, client.metadata(url, policy))
        .await
        .unwrap()
}

async fn post(client: &OauthHttp, url: &Url) -> Result<Answer, Unanswered> {
    let mut form = Form::new().with("code", "canary-code");
    form.authorization = Some(Secret::from("Basic canary-basic"));
    let policy = elsewhere();
    let posting = client.post_form(url, &form, &policy, Some("canary-proof"));
    tokio::time::timeout(DEADLINE, posting).await.unwrap()
}

#[track_caller]
fn answered(fetched: Fetched) -> (u16, Bytes) {
    match fetched {
        Fetched::Answer { status, body } => (status, body),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(fetched: Fetched) -> Failure {
    match fetched {
        Fetched::Refused(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a17_metadata_is_asked_for_as_json_and_names_the_newest_revision() {
    let server = Server::always(answer("200 OK", "", "{}"));
    let url = server.url("/.well-known/oauth-authorization-server?q=1");
    for policy in [elsewhere(), local(&url)] {
        let (status, body) = answered(metadata(&client(), &url, &policy).await);
        assert_eq!((status, &*body), (200, b"{}".as_slice()));
    }
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        let line = "GET /.well-known/oauth-authorization-server?q=1 HTTP/1.1\r\n";
        assert!(request.starts_with(line), "{request}");
        let revision = field(&request, "mcp-protocol-version");
        assert_eq!(revision.as_deref(), Some("2025-11-25"));
        let accept = field(&request, "accept");
        assert_eq!(accept.as_deref(), Some("application/json"));
    }
}

#[tokio::test]
async fn a17_a_server_that_refuses_the_revision_is_asked_once_without() {
    let picky = Server::new(|request| match field(request, "mcp-protocol-version") {
        Some(_) => answer("400 Bad Request", "", "no"),
        None => answer("200 OK", "", "{}"),
    });
    let (status, _) = answered(metadata(&client(), &picky.url("/"), &elsewhere()).await);
    assert_eq!((status, picky.requests().len()), (200, 2));
    let stubborn = Server::always(answer("400 Bad Request", "", "no"));
    let (status, body) = answered(metadata(&client(), &stubborn.url("/"), &elsewhere()).await);
    assert_eq!((status, &*body), (400, b"no".as_slice()));
    assert_eq!(stubborn.requests().len(), 2);
    let absent = Server::always(answer("404 Not Found", "", ""));
    let (status, _) = answered(metadata(&client(), &absent.url("/"), &elsewhere()).await);
    assert_eq!((status, absent.requests().len()), (404, 1));
}

#[tokio::test]
async fn a18_the_users_headers_go_to_the_servers_origin_alone_and_authorization_nowhere() {
    let server = Server::new(|request| {
        if request.starts_with("GET /first ") {
            answer("302 Found", "Location: /second\r\nSet-Cookie: a=1\r\n", "")
        } else {
            answer("200 OK", "", "{}")
        }
    });
    let url = server.url("/first");
    for (policy, key) in [(elsewhere(), None), (local(&url), Some("canary-key"))] {
        answered(metadata(&client(), &url, &policy).await);
        let requests = server.requests();
        assert_eq!(requests.len(), 2);
        for request in requests {
            assert_eq!(field(&request, "x-api-key").as_deref(), key);
            for absent in ["authorization", "cookie", "mcp-session-id", "referer"] {
                assert_eq!(field(&request, absent), None, "{request}");
            }
            assert!(!request.contains("canary-token"), "{request}");
        }
    }
}

#[tokio::test]
async fn a18_the_users_headers_are_waited_for() {
    let server = Server::always(answer("200 OK", "", "{}"));
    let (sender, receiver) = watch::channel(None);
    let client = OauthHttp::new(HttpClient::new(NetworkSettings::default()), receiver);
    let url = server.url("/");
    let policy = local(&url);
    let late = async {
        tokio::task::yield_now().await;
        let headers = user_headers(&[("X-Late", "1")]).borrow().clone();
        sender.send_replace(headers);
    };
    let (fetched, ()) = tokio::join!(metadata(&client, &url, &policy), late);
    answered(fetched);
    let requests = server.requests();
    assert_eq!(field(&requests[0], "x-late").as_deref(), Some("1"));
}

#[tokio::test]
async fn a19_metadata_is_followed_three_times_within_its_origin() {
    let server = Server::new(|request| {
        let hops: usize = request[5..6].parse().unwrap();
        match hops {
            0 => answer("200 OK", "", "{}"),
            hops => {
                let location = format!("Location: /{}#x\r\n", hops - 1);
                answer("307 Temporary Redirect", &location, "")
            }
        }
    });
    let (status, _) = answered(metadata(&client(), &server.url("/3"), &elsewhere()).await);
    assert_eq!((status, server.requests().len()), (200, 4));
    let failure = refused(metadata(&client(), &server.url("/4"), &elsewhere()).await);
    assert_eq!(failure.kind, Kind::RedirectRefused);
    assert!(
        failure.text.contains("after 3 redirects"),
        "{}",
        failure.text
    );
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn a19_no_redirect_reaches_a_second_origin() {
    let second = Server::always(answer("200 OK", "", "{}"));
    let location = format!("Location: {}\r\n", second.url("/x?key=canary"));
    for status in [301, 302, 303, 307, 308] {
        let first = Server::always(answer(&format!("{status} Moved"), &location, ""));
        let url = first.url("/?key=canary");
        let failure = refused(metadata(&client(), &url, &local(&url)).await);
        assert_eq!(failure.kind, Kind::RedirectRefused);
        assert!(
            failure.text.contains(&second.address.to_string()),
            "{}",
            failure.text
        );
        assert!(!failure.text.contains("canary"), "{}", failure.text);
        assert_eq!(first.requests().len(), 1);
    }
    for odd in [
        "",
        "Location: http://[\r\n",
        "Location: file:///etc/passwd\r\n",
        "Location: https://user:canary@127.0.0.1/\r\n",
    ] {
        let first = Server::always(answer("302 Found", odd, ""));
        let failure = refused(metadata(&client(), &first.url("/"), &elsewhere()).await);
        assert_eq!(failure.kind, Kind::RedirectRefused, "{odd}");
        assert!(!failure.text.contains("canary"), "{}", failure.text);
    }
    assert_eq!(second.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn f22_a_redirect_that_quotes_our_headers_shows_no_secret() {
    let quote = |request: &str| {
        let key = field(request, "x-api-key").unwrap_or_default();
        let long = format!("/{}/{key}", "x".repeat(EXCERPT_CHARS));
        (key, long)
    };
    for start in ["http://127.0.0.1:1", ""] {
        let server = Server::new(move |request| {
            let (key, long) = quote(request);
            assert_eq!(key, "canary-key");
            let is_second = request.starts_with("GET /canary-key ");
            let location = match start {
                "" if is_second => "http://127.0.0.1:1/".to_owned(),
                "" => format!("/{key}"),
                other => format!("{other}/{key}{long}"),
            };
            answer("302 Found", &format!("Location: {location}\r\n"), "")
        });
        let url = server.url("/");
        let failure = refused(metadata(&client(), &url, &local(&url)).await);
        assert_eq!(failure.kind, Kind::RedirectRefused);
        assert!(!failure.text.contains("canary"), "{}", failure.text);
    }
}

#[tokio::test]
async fn d04_a_post_is_never_redirected() {
    let second = Server::always(answer("200 OK", "", "{}"));
    let elsewhere = format!("Location: {}\r\n", second.url("/x?key=canary"));
    for location in [&elsewhere, "Location: /same\r\n", ""] {
        for status in [300, 301, 302, 303, 307, 308] {
            let first = Server::always(answer(&format!("{status} Moved"), location, ""));
            let error = post(&client(), &first.url("/token?key=canary"))
                .await
                .unwrap_err();
            assert!(error.sent);
            assert_eq!(error.failure.kind, Kind::RedirectRefused);
            assert_eq!(error.failure.status, Some(status));
            let text = &error.failure.text;
            assert!(!text.contains("canary"), "{text}");
            let names_target = text.contains(&second.address.to_string());
            assert_eq!(names_target, *location == elsewhere, "{text}");
            assert_eq!(first.requests().len(), 1);
        }
    }
    assert_eq!(second.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn c34_a_form_is_posted_as_one_and_wants_json() {
    let server = Server::always(answer("200 OK", "Content-Type: text/x\r\n", "{}"));
    let form = Form::new()
        .with("grant_type", "authorization_code")
        .with("code", "a b+c&d=é");
    let url = server.url("/token");
    let policy = elsewhere();
    let posting = client()
        .post_form(&url, &form, &policy, None)
        .await
        .unwrap();
    assert_eq!((posting.status, &*posting.body), (200, b"{}".as_slice()));
    assert_eq!(posting.content_type.as_deref(), Some("text/x"));
    let request = server.requests().remove(0);
    assert!(request.starts_with("POST /token HTTP/1.1\r\n"), "{request}");
    let content_type = field(&request, "content-type");
    assert_eq!(
        content_type.as_deref(),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(
        field(&request, "accept").as_deref(),
        Some("application/json")
    );
    for absent in ["authorization", "dpop", "cookie", "mcp-protocol-version"] {
        assert_eq!(field(&request, absent), None, "{request}");
    }
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        body,
        "grant_type=authorization_code&code=a+b%2Bc%26d%3D%C3%A9"
    );
}

#[tokio::test]
async fn c34_the_client_and_the_proof_go_into_one_field_each() {
    let server = Server::always(answer("200 OK", "", "{}"));
    post(&client(), &server.url("/token")).await.unwrap();
    let request = server.requests().remove(0);
    let basic = field(&request, "authorization");
    assert_eq!(basic.as_deref(), Some("Basic canary-basic"));
    assert_eq!(field(&request, "dpop").as_deref(), Some("canary-proof"));
}

#[tokio::test]
async fn d02_no_post_carries_the_users_headers() {
    let server = Server::always(answer("201 Created", "", "{}"));
    let url = server.url("/register");
    let policy = local(&url);
    let form = Form::new().with("token", "t");
    let client = client();
    client.post_form(&url, &form, &policy, None).await.unwrap();
    let body = serde_json::json!({"client_name": "x"});
    client.post_json(&url, &body, None, &policy).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert!(!request.contains("canary"), "{request}");
        assert_eq!(field(&request, "authorization"), None);
    }
}

#[tokio::test]
async fn a_registration_is_posted_as_json_with_its_token_if_there_is_one() {
    let server = Server::always(answer("201 Created", "", r#"{"client_id":"c"}"#));
    let (url, policy) = (server.url("/register"), elsewhere());
    let body = serde_json::json!({"client_name": "x"});
    let token = Secret::from("canary-initial");
    let answer = client()
        .post_json(&url, &body, Some(&token), &policy)
        .await
        .unwrap();
    assert_eq!(answer.status, 201);
    let request = server.requests().remove(0);
    let content_type = field(&request, "content-type");
    assert_eq!(content_type.as_deref(), Some("application/json"));
    let bearer = field(&request, "authorization");
    assert_eq!(bearer.as_deref(), Some("Bearer canary-initial"));
    assert!(request.ends_with(r#"{"client_name":"x"}"#), "{request}");
}

#[tokio::test]
async fn f22_a_credential_that_no_header_can_carry_is_refused_unseen() {
    let server = Server::always(answer("200 OK", "", "{}"));
    let (url, policy) = (server.url("/register"), elsewhere());
    let token = Secret::from("canary\r\nX: y");
    let error = client()
        .post_json(&url, &Value::Null, Some(&token), &policy)
        .await
        .unwrap_err();
    assert!(!error.sent);
    assert!(!error.failure.text.contains("canary"), "{error:?}");
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a22_a_name_that_leads_inside_is_a_blocked_address_and_no_trouble() {
    let server = Server::always(answer("200 OK", "", "{}"));
    let lookup: Lookup = Arc::new(|_| {
        Box::pin(async {
            let public = SocketAddr::from(([93, 184, 215, 14], 0));
            Ok(vec![public, SocketAddr::from(([127, 0, 0, 1], 0))])
        })
    });
    let http = HttpClient::with_lookup(NetworkSettings::default(), lookup);
    let client = OauthHttp::new(http, user_headers(&[]));
    let mut policy = elsewhere();
    policy.server = Arc::new(Url::parse("https://mcp.test/mcp").unwrap());
    policy.reach = client.reach(&policy.server).await;
    assert_eq!(policy.reach, Reach::Public);
    let text = format!("http://auth.test:{}/x", server.address.port());
    let url = Url::parse(&text).unwrap();
    let failure = refused(metadata(&client, &url, &policy).await);
    assert_eq!(failure.kind, Kind::BlockedAddress);
    assert!(failure.text.contains("auth.test"), "{}", failure.text);
    let form = Form::new().with("code", "canary");
    let error = client
        .post_form(&url, &form, &policy, None)
        .await
        .unwrap_err();
    assert_eq!(error.failure, failure);
    assert!(!error.sent);
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[expect(clippy::disallowed_methods, reason = "test files")]
#[tokio::test]
async fn a23_each_fault_of_a_certificate_has_its_own_words_and_nothing_is_sent() {
    let (authority, folder) = (Authority::new("Corp CA"), tempfile::tempdir().unwrap());
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let settings = NetworkSettings {
        ca_files: vec![file],
        ..NetworkSettings::default()
    };
    let client = OauthHttp::new(HttpClient::new(settings), user_headers(&[]));
    let expired = authority.issue(&["127.0.0.1"], |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    for (identity, words) in [
        (
            Issued::self_signed(&["127.0.0.1"], |_| ()),
            "--ca-cert FILE",
        ),
        (expired, "has expired"),
        (authority.issue(&["a.test"], |_| ()), "not for `127.0.0.1`"),
    ] {
        let server = tls_server(&identity, &TlsOptions::default());
        let url = Url::parse(&format!("https://{}/token", server.address)).unwrap();
        let Fetched::Unreachable(text) = metadata(&client, &url, &elsewhere()).await else {
            panic!("{words}");
        };
        assert!(text.contains(words), "{text}");
        let error = post(&client, &url).await.unwrap_err();
        assert!(!error.sent);
        assert_eq!(error.failure.kind, Kind::Connect);
        assert_eq!(error.failure.text, text);
    }
    let good = tls_server(
        &authority.issue(&["127.0.0.1"], |_| ()),
        &TlsOptions::default(),
    );
    let url = Url::parse(&format!("https://{}/", good.address)).unwrap();
    let (status, _) = answered(metadata(&client, &url, &elsewhere()).await);
    assert_eq!(status, 200);
}

/// Whatever follows a head without a length, for ever.
fn endless() -> Server {
    let (seen, requests) = mpsc::channel();
    let address = serve(move |mut stream| {
        let Ok(request) = read_head(&mut stream) else {
            return;
        };
        let _ = seen.send(request);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b' '; 4096]).is_ok() {}
    });
    Server { address, requests }
}

#[tokio::test]
async fn a24_an_endless_body_is_cut_off_and_named() {
    let server = endless();
    let url = server.url("/well-known?key=canary");
    let failure = refused(metadata(&client(), &url, &elsewhere()).await);
    let error = post(&client(), &url).await.unwrap_err();
    assert!(error.sent);
    for failure in [failure, error.failure] {
        assert_eq!(failure.kind, Kind::LimitExceeded, "{}", failure.text);
        let named = failure.text.contains("/well-known") && failure.text.contains("1024 KiB");
        assert!(named, "{}", failure.text);
        assert!(!failure.text.contains("canary"), "{}", failure.text);
    }
}

#[tokio::test]
async fn a24_what_counts_is_the_size_after_decompression() {
    let pack = |size: usize| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let zeros = vec![b' '; 1 << 20];
        let mut left = size;
        while left > 0 {
            let piece = left.min(zeros.len());
            encoder.write_all(&zeros[..piece]).unwrap();
            left -= piece;
        }
        let body = encoder.finish().unwrap();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body].concat()
    };
    let bomb = Server::always(pack(64 << 20));
    let failure = refused(metadata(&client(), &bomb.url("/"), &elsewhere()).await);
    assert_eq!(failure.kind, Kind::LimitExceeded, "{}", failure.text);
    let full = Server::always(pack(limits::BODY));
    let (_, body) = answered(metadata(&client(), &full.url("/"), &elsewhere()).await);
    assert_eq!(body.len(), limits::BODY);
    let over = Server::always(pack(limits::BODY + 1));
    let failure = refused(metadata(&client(), &over.url("/"), &elsewhere()).await);
    assert_eq!(failure.kind, Kind::LimitExceeded, "{}", failure.text);
}

#[tokio::test]
async fn a24_of_an_error_the_beginning_is_enough() {
    let page = "x".repeat(3 << 20);
    let server = Server::always(answer("404 Not Found", "", &page));
    let (status, body) = answered(metadata(&client(), &server.url("/"), &elsewhere()).await);
    assert_eq!((status, body.len()), (404, limits::ERROR_BODY));
    let answer = post(&client(), &server.url("/")).await.unwrap();
    assert_eq!(
        (answer.status, answer.body.len()),
        (404, limits::ERROR_BODY)
    );
}

#[tokio::test]
async fn a24_a_compression_that_was_not_offered_and_a_large_head_are_refused() {
    let packed = Server::always(answer("200 OK", "Content-Encoding: br\r\n", "x"));
    let failure = refused(metadata(&client(), &packed.url("/"), &elsewhere()).await);
    assert_eq!(failure.kind, Kind::MetadataInvalid);
    let error = post(&client(), &packed.url("/")).await.unwrap_err();
    assert_eq!(error.failure.kind, Kind::TokenResponseInvalid);
    assert!(error.failure.text.contains("\"br\""), "{error:?}");
    let field = format!("X-Pad: {}\r\n", "x".repeat(80 << 10));
    let large = Server::always(answer("200 OK", &field, "{}"));
    let failure = refused(metadata(&client(), &large.url("/"), &elsewhere()).await);
    assert_eq!(failure.kind, Kind::LimitExceeded);
}

#[tokio::test]
async fn d15_a_post_says_whether_the_server_may_have_got_it() {
    let url = Url::parse(&format!("http://{}/token?key=canary", nobody())).unwrap();
    let unreachable = post(&client(), &url).await.unwrap_err();
    assert!(!unreachable.sent);
    assert_eq!(unreachable.failure.kind, Kind::Connect);
    let hung_up = Server::always("");
    let lost = post(&client(), &hung_up.url("/token?key=canary"))
        .await
        .unwrap_err();
    assert!(lost.sent);
    assert_eq!(hung_up.requests().len(), 1);
    let cut = Server::always("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}");
    let cut = post(&client(), &cut.url("/token")).await.unwrap_err();
    assert!(cut.sent);
    for error in [unreachable, lost, cut] {
        let text = error.failure.text.clone();
        assert!(!text.contains("canary"), "{text}");
        let error = TokenError::from(error);
        assert_eq!((error.status, error.code), (0, None));
        assert_eq!(error.text, text);
    }
}

#[tokio::test]
async fn d15_a_server_that_falls_silent_is_given_up() {
    let silent = serve(|mut stream| {
        let _ = read_head(&mut stream);
        linger(&mut stream);
    });
    // Holds the connection and says nothing.
    let (held, holder) = mpsc::channel();
    let silent_for_ever = serve(move |mut stream| {
        let _ = read_head(&mut stream);
        let _ = held.send(stream);
    });
    let mut client = client();
    client.post_time = Duration::from_millis(200);
    client.metadata_time = Duration::from_millis(200);
    let url = Url::parse(&format!("http://{silent_for_ever}/token?key=canary")).unwrap();
    let error = post(&client, &url).await.unwrap_err();
    assert!(error.sent);
    assert_eq!(error.failure.kind, Kind::Timeout);
    assert!(!error.failure.text.contains("canary"), "{error:?}");
    let Fetched::Unreachable(text) = metadata(&client, &url, &elsewhere()).await else {
        panic!("it never answers");
    };
    assert!(text.contains("did not answer within"), "{text}");
    let url = Url::parse(&format!("http://{silent}/")).unwrap();
    let fetched = metadata(&client, &url, &elsewhere()).await;
    assert!(matches!(fetched, Fetched::Unreachable(_)), "{fetched:?}");
    drop(holder);
}

#[tokio::test]
async fn a_server_that_is_down_is_unreachable_and_one_that_fails_has_answered() {
    let url = Url::parse(&format!("http://{}/x?key=canary", nobody())).unwrap();
    let Fetched::Unreachable(text) = metadata(&client(), &url, &elsewhere()).await else {
        panic!("nobody listens there");
    };
    assert!(
        text.contains("connection refused") && !text.contains("canary"),
        "{text}"
    );
    let failing = Server::always(answer("503 Busy", "", "later"));
    let (status, _) = answered(metadata(&client(), &failing.url("/"), &elsewhere()).await);
    assert_eq!(status, 503);
}

#[tokio::test]
async fn e17_nonce_date_and_wait_are_read_from_the_answer() {
    let nonce = "x".repeat(limits::NONCE);
    for (fields, nonce, wait, date) in [
        ("", None, None, None),
        (
            "DPoP-Nonce: eyJ7S_zG\r\nRetry-After: 7\r\nDate: Fri, 20 Nov 2026 10:00:00 GMT\r\n",
            Some("eyJ7S_zG"),
            Some(7),
            Some(1_795_168_800),
        ),
        (
            "Date: Fri, 20 Nov 2026 10:00:00 GMT\r\nRetry-After: Fri, 20 Nov 2026 10:01:00 GMT\r\n",
            None,
            Some(60),
            Some(1_795_168_800),
        ),
        (
            "Date: Fri, 20 Nov 2026 10:00:00 GMT\r\nRetry-After: Fri, 20 Nov 2026 09:00:00 GMT\r\n",
            None,
            Some(0),
            Some(1_795_168_800),
        ),
        (
            "Retry-After: Fri, 20 Nov 2026 10:01:00 GMT\r\n",
            None,
            None,
            None,
        ),
        ("Retry-After: soon\r\nDate: now\r\n", None, None, None),
        ("DPoP-Nonce: two words\r\n", None, None, None),
        ("DPoP-Nonce: quo\"te\r\n", None, None, None),
        (
            &format!("DPoP-Nonce: {nonce}\r\n"),
            Some(nonce.as_str()),
            None,
            None,
        ),
        (&format!("DPoP-Nonce: {nonce}x\r\n"), None, None, None),
    ] {
        let server = Server::always(answer("400 Bad Request", fields, "{}"));
        let shown = &fields[..fields.len().min(80)];
        let answer = post(&client(), &server.url("/token")).await.unwrap();
        assert_eq!(answer.dpop_nonce.as_deref(), nonce, "{shown}");
        assert_eq!(answer.retry_after, wait, "{shown}");
        assert_eq!(answer.date, date, "{shown}");
    }
}

#[tokio::test]
async fn f25_the_debug_forms_show_no_secret() {
    let server = Server::always(answer("200 OK", "DPoP-Nonce: canary\r\n", "canary"));
    let client = client();
    let answer = post(&client, &server.url("/token")).await.unwrap();
    let shown = format!("{answer:?} {client:?}");
    assert!(shown.contains("[6 bytes]"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}
