//! The own tests of what a sign-in is tested with, with plain sockets as the client.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::*;

/// RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const STATE: &str = "a-state-of-more-than-128-bits";

struct Answer {
    status: u16,
    head: String,
    body: Value,
}

fn exchange(remote: &Remote, request: &str) -> Answer {
    let mut socket = TcpStream::connect(remote.address()).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = socket.read_to_string(&mut answer); // a broken connection has no more to say
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or(("", ""));
    let status = head
        .split(' ')
        .nth(1)
        .map_or(0, |word| word.parse().unwrap());
    let body = serde_json::from_str(body).unwrap_or_default();
    Answer {
        status,
        head: head.to_owned(),
        body,
    }
}

fn post(remote: &Remote, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let (host, headers, length) = (remote.address(), headers.concat(), body.len());
    exchange(
        remote,
        &format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}\
             content-length: {length}\r\n\r\n{body}"
        ),
    )
}

fn get(remote: &Remote, path: &str) -> Answer {
    let host = remote.address();
    exchange(
        remote,
        &format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
             accept: application/json\r\n\r\n"
        ),
    )
}

fn encode(pairs: &[(&str, &str)]) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(pairs).finish()
}

fn form(auth: &AuthServer, path: &str, pairs: &[(&str, &str)]) -> Answer {
    form_with(auth, path, &[], pairs)
}

fn form_with(
    auth: &AuthServer,
    path: &str,
    headers: &[(&str, &str)],
    pairs: &[(&str, &str)],
) -> Answer {
    let mut all = vec![
        ("content-type", "application/x-www-form-urlencoded"),
        ("accept", "application/json"),
    ];
    all.extend(headers);
    post(auth, path, &all, &encode(pairs))
}

fn register(auth: &AuthServer, redirect: &str) -> Value {
    let body = json!({
        "client_name": "test", "redirect_uris": [redirect], "application_type": "native",
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json"),
    ];
    let answer = post(auth, "/register", &headers, &body.to_string());
    assert_eq!(answer.status, 201);
    answer.body
}

/// Registers and goes through the browser; gives client id, redirect address and what came back.
fn approved(
    auth: &AuthServer,
    callback: &Remote,
    resource: &str,
) -> (String, String, HashMap<String, String>) {
    let redirect = callback.url_at("/oauth/callback");
    let id = register(auth, &redirect)["client_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let query = encode(&[
        ("response_type", "code"),
        ("client_id", &id),
        ("redirect_uri", &redirect),
        ("state", STATE),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("resource", resource),
        ("scope", "read"),
    ]);
    let pages = Person::new().open(&auth.url_at(&format!("/authorize?{query}")));
    assert_eq!(pages.len(), 2, "{pages:#?}");
    assert_eq!(pages[1].status, 200);
    let calls = callback.calls();
    let query = calls.last().unwrap().query.clone().unwrap();
    let pairs = form_urlencoded::parse(query.as_bytes());
    (id, redirect, pairs.into_owned().collect())
}

fn callback() -> Remote {
    Remote::serve(|_| Reply::html(200, "<title>Signed in</title>"))
}

fn tokens(auth: &AuthServer, resource: &str) -> (String, Value) {
    let callback = callback();
    let (id, redirect, came) = approved(auth, &callback, resource);
    let answer = form(
        auth,
        "/token",
        &[
            ("grant_type", "authorization_code"),
            ("code", &came["code"]),
            ("redirect_uri", &redirect),
            ("code_verifier", VERIFIER),
            ("client_id", &id),
            ("resource", resource),
        ],
    );
    assert_eq!(answer.status, 200, "{}", answer.body);
    (id, answer.body)
}

fn refresh(auth: &AuthServer, id: &str, token: &Value, resource: &str) -> Answer {
    form(
        auth,
        "/token",
        &[
            ("grant_type", "refresh_token"),
            ("refresh_token", token.as_str().unwrap()),
            ("client_id", id),
            ("resource", resource),
        ],
    )
}

/// POSTs `initialize` (or another message) to a guarded server, with a token or without.
fn ask(remote: &Remote, path: &str, token: Option<&str>, message: &Value) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    post(remote, path, &headers, &message.to_string())
}

fn initialize() -> Value {
    rpc::initialize(1, rpc::VERSION)
}

#[test]
fn a_code_becomes_a_token_that_opens_the_door() {
    let auth = AuthServer::start();
    let guard = Guard::of(&auth);
    let remote = Legacy::sessions().guarded(&guard).start();
    let refused = ask(&remote, "/mcp", None, &initialize());
    assert_eq!(refused.status, 401);
    let place = format!(
        "{}/.well-known/oauth-protected-resource/mcp",
        remote.origin()
    );
    assert!(
        refused
            .head
            .contains(&format!("Bearer resource_metadata=\"{place}\""))
    );
    let resource = get(&remote, "/.well-known/oauth-protected-resource/mcp").body;
    assert_eq!(resource["resource"], remote.url());
    assert_eq!(resource["authorization_servers"], json!([auth.issuer()]));
    let metadata = get(&auth, "/.well-known/oauth-authorization-server").body;
    assert_eq!(metadata["issuer"], auth.issuer());
    let callback = callback();
    let (id, redirect, came) = approved(&auth, &callback, &remote.url());
    assert_eq!(
        (came["state"].as_str(), &came["iss"]),
        (STATE, &auth.issuer())
    );
    let url = remote.url();
    let exchange = [
        ("grant_type", "authorization_code"),
        ("code", &came["code"]),
        ("redirect_uri", &redirect),
        ("code_verifier", VERIFIER),
        ("client_id", &id),
        ("resource", &url),
    ];
    let answer = form(&auth, "/token", &exchange);
    let token = answer.body["access_token"].as_str().unwrap();
    assert_eq!(answer.body["scope"], "read");
    assert_eq!(ask(&remote, "/mcp", Some(token), &initialize()).status, 200);
    assert_eq!(
        ask(&remote, "/mcp", Some("wrong"), &initialize()).status,
        401
    );
    assert_eq!((guard.admitted(), guard.refusals()), (1, 2));
    assert_eq!(form(&auth, "/token", &exchange).status, 400);
    assert!(auth.take_violations()[0].starts_with("a code that was never given out"));
    assert!(auth.secrets().contains(&token.to_owned()));
    auth.end_access_tokens();
    assert_eq!(ask(&remote, "/mcp", Some(token), &initialize()).status, 401);
    assert_eq!((auth.count("/token"), auth.tokens_issued()), (2, 1));
    assert_eq!(
        auth.registrations().len() + auth.authorize_requests().len(),
        2
    );
}

#[test]
fn a_token_is_for_its_resource_and_its_time() {
    let auth = AuthServer::with(|rules| rules.expires_in = Some(0));
    let guard = Guard::of(&auth);
    let remote = Legacy::free().guarded(&guard).start();
    let (_, late) = tokens(&auth, &remote.url());
    let late = late["access_token"].as_str().unwrap();
    assert_eq!(ask(&remote, "/mcp", Some(late), &initialize()).status, 401);
    auth.rules(|rules| rules.expires_in = None);
    let (_, foreign) = tokens(&auth, "https://elsewhere.example/mcp");
    assert!(foreign.get("expires_in").is_none());
    let foreign = foreign["access_token"].as_str().unwrap();
    assert_eq!(
        ask(&remote, "/mcp", Some(foreign), &initialize()).status,
        401
    );
    let (_, ours) = tokens(&auth, &remote.url());
    let ours = ours["access_token"].as_str().unwrap();
    assert_eq!(ask(&remote, "/mcp", Some(ours), &initialize()).status, 200);
    guard.door(|door| door.refuses_all = true);
    assert_eq!(ask(&remote, "/mcp", Some(ours), &initialize()).status, 401);
}

#[test]
fn a_refresh_token_that_comes_twice_ends_its_family() {
    let auth = AuthServer::start();
    let (id, first) = tokens(&auth, "https://r.example");
    let second = refresh(&auth, &id, &first["refresh_token"], "https://r.example").body;
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    let other = refresh(
        &auth,
        &id,
        &second["refresh_token"],
        "https://other.example",
    );
    assert_eq!(other.body["error"], "invalid_target");
    assert_eq!(auth.take_violations().len(), 1);
    let again = refresh(&auth, &id, &first["refresh_token"], "https://r.example");
    assert_eq!((again.status, auth.reuses()), (400, 1));
    let dead = refresh(&auth, &id, &second["refresh_token"], "https://r.example");
    assert_eq!(dead.body["error"], "invalid_grant");
    auth.rules(|rules| rules.rotation = false);
    let (id, lasting) = tokens(&auth, "https://r.example");
    let next = refresh(&auth, &id, &lasting["refresh_token"], "https://r.example").body;
    assert!(next.get("refresh_token").is_none());
    auth.rules(|rules| rules.refresh_tokens = false);
    assert!(
        tokens(&auth, "https://r.example")
            .1
            .get("refresh_token")
            .is_none()
    );
    auth.forget_everything();
    let gone = refresh(&auth, &id, &lasting["refresh_token"], "https://r.example");
    assert_eq!(
        (gone.status, gone.body["error"].as_str()),
        (401, Some("invalid_client"))
    );
}

#[test]
fn what_a_client_should_not_send_is_noted() {
    let auth = AuthServer::start();
    auth.add_client("public", None);
    let resource = ("resource", "https://r.example");
    form(
        &auth,
        "/token",
        &[
            ("client_id", "public"),
            ("strange", "1"),
            resource,
            resource,
        ],
    );
    get(&auth, "/token");
    post(&auth, "/token", &[("cookie", "a=b")], "");
    let violations = auth.take_violations().join("\n");
    for wanted in [
        "an unexpected parameter strange",
        "resource comes twice",
        "a method that is not for this endpoint",
        "it carries cookie",
        "it does not ask for JSON",
        "content-type is \"\"",
    ] {
        assert!(violations.contains(wanted), "{wanted} in {violations}");
    }
    auth.lenient();
    form(&auth, "/token", &[("strange", "1")]);
    assert!(auth.take_violations().is_empty());
}

#[test]
fn endpoints_answer_as_they_are_told() {
    let auth = AuthServer::start();
    auth.fail_nth("/token", 2, 503, "temporarily_unavailable");
    auth.on_nth("/token", 3, |visit| {
        let _ = visit.usual();
        Reply::cut_before_head()
    });
    auth.add_client("machine", Some(("s:%+ ü", "client_secret_post")));
    let ask = || {
        let pairs = [
            ("grant_type", "client_credentials"),
            ("client_id", "machine"),
            ("client_secret", "s:%+ ü"),
            ("resource", "https://r.example"),
        ];
        form(&auth, "/token", &pairs).status
    };
    assert_eq!([ask(), ask(), ask(), ask()], [200, 503, 0, 200]);
    assert_eq!(
        auth.tokens_issued(),
        3,
        "the broken connection came after the act"
    );
    assert_eq!(auth.grants("client_credentials").len(), 4);
    assert_eq!(auth.wait_visit("/token", 4).nth, 4);
    auth.rules(|rules| rules.documents = vec![Document::OpenIdBehind]);
    auth.rules(|rules| rules.issuer_path = "/tenant".to_owned());
    auth.rules(|rules| rules.metadata_edits = json!({"registration_endpoint": null, "x": 1}));
    assert_eq!(
        get(&auth, "/.well-known/oauth-authorization-server/tenant").status,
        404
    );
    let found = get(&auth, "/tenant/.well-known/openid-configuration").body;
    assert_eq!(found["issuer"], format!("{}/tenant", auth.origin()));
    assert_eq!(
        (found.get("registration_endpoint"), &found["x"]),
        (None, &json!(1))
    );
    assert_eq!(auth.count("metadata"), 2);
}

#[test]
fn clients_prove_who_they_are() {
    let auth = AuthServer::start();
    auth.add_client("b:a", Some(("s:%+ ü", "client_secret_basic")));
    let packed = STANDARD.encode("b%3Aa:s%3A%25%2B+%C3%BC");
    let basic = format!("Basic {packed}");
    let pairs = [
        ("grant_type", "client_credentials"),
        ("resource", "https://r.example"),
    ];
    let good = form_with(&auth, "/token", &[("authorization", &basic)], &pairs);
    assert_eq!(good.status, 200);
    let mut both = pairs.to_vec();
    both.extend([("client_id", "b:a"), ("client_secret", "s:%+ ü")]);
    assert_eq!(form(&auth, "/token", &both).status, 401);
    assert!(auth.take_violations()[0].starts_with("it should use client_secret_basic"));
    let pem = auth.add_key_client("signer");
    let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        key.secret_pkcs8_der(),
        &random,
    );
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let claims = json!({
        "iss": "signer", "sub": "signer", "aud": auth.issuer(), "jti": "1", "iat": now,
        "exp": now + 60,
    });
    let pack = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", pack(&json!({"alg": "ES256"})), pack(&claims));
    let signature = key.unwrap().sign(&random, signed.as_bytes()).unwrap();
    let assertion = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let mut pairs = pairs.to_vec();
    pairs.extend([
        ("client_assertion_type", kind),
        ("client_assertion", &assertion),
    ]);
    assert_eq!(form(&auth, "/token", &pairs).status, 200);
    assert_eq!(
        form(&auth, "/token", &pairs).status,
        401,
        "the same jti again"
    );
    assert_eq!(auth.take_violations().len(), 1);
}

#[test]
fn the_device_flow_goes_by_its_script() {
    let auth = AuthServer::with(|rules| {
        rules.device_flow = true;
        rules.device_polls = ["authorization_pending", "slow_down"]
            .map(str::to_owned)
            .into();
    });
    auth.add_client("tv", None);
    let resource = ("resource", "https://r.example");
    let start = form(&auth, "/device", &[("client_id", "tv"), resource]).body;
    assert_eq!(start["verification_uri"], auth.url_at("/activate"));
    let code = start["device_code"].as_str().unwrap();
    let poll = || {
        let pairs = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", code),
            ("client_id", "tv"),
        ];
        form(&auth, "/token", &pairs).body
    };
    assert_eq!(poll()["error"], "authorization_pending");
    assert_eq!(poll()["error"], "slow_down");
    assert!(poll()["refresh_token"].is_string());
    assert_eq!(poll()["error"], "invalid_grant");
}

#[test]
fn one_server_takes_the_assertions_of_another_once() {
    let idp = AuthServer::with(|rules| rules.subject_tokens = vec!["id-token".to_owned()]);
    let auth = AuthServer::start();
    auth.trust(&idp);
    let answer = form(
        &idp,
        "/token",
        &[
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ),
            (
                "requested_token_type",
                "urn:ietf:params:oauth:token-type:id-jag",
            ),
            ("audience", &auth.issuer()),
            ("resource", "https://r.example"),
            ("subject_token", "id-token"),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:id_token",
            ),
        ],
    );
    let assertion = answer.body["access_token"].as_str().unwrap().to_owned();
    let redeem = || {
        let pairs = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", assertion.as_str()),
            ("resource", "https://r.example"),
        ];
        form(&auth, "/token", &pairs).status
    };
    assert_eq!([redeem(), redeem()], [200, 400]);
}

#[test]
fn revocation_ends_tokens() {
    let auth = AuthServer::start();
    let (id, tokens) = tokens(&auth, "https://r.example");
    let token = tokens["refresh_token"].as_str().unwrap();
    let pairs = [
        ("token", token),
        ("token_type_hint", "refresh_token"),
        ("client_id", &id),
    ];
    assert_eq!(form(&auth, "/revoke", &pairs).status, 200);
    let dead = refresh(&auth, &id, &tokens["refresh_token"], "https://r.example");
    assert_eq!(dead.body["error"], "invalid_grant");
}

#[test]
fn the_door_is_where_the_test_puts_it() {
    let auth = AuthServer::start();
    let guard = Guard::of(&auth);
    guard.door(|door| {
        door.only = Some(vec!["tools/call".to_owned()]);
        door.metadata = Place::Root;
        door.challenge_scope = Some("read".to_owned());
        door.scopes = [("echo".to_owned(), "read write".to_owned())].into();
    });
    let remote = Legacy::free().lenient().guarded(&guard).start();
    assert_eq!(ask(&remote, "/mcp", None, &initialize()).status, 200);
    let refused = ask(&remote, "/mcp", None, &rpc::echo(2, "hi"));
    assert_eq!(refused.status, 401);
    let wanted = format!(
        "resource_metadata=\"{}/.well-known/oauth-protected-resource\", scope=\"read\"",
        remote.origin()
    );
    assert!(refused.head.contains(&wanted), "{}", refused.head);
    assert_eq!(
        get(&remote, "/.well-known/oauth-protected-resource/mcp").status,
        404
    );
    let root = get(&remote, "/.well-known/oauth-protected-resource").body;
    assert_eq!(root["resource"], remote.origin());
    let (_, tokens) = tokens(&auth, &remote.origin());
    let token = tokens["access_token"].as_str();
    let more = ask(&remote, "/mcp", token, &rpc::echo(3, "hi"));
    assert_eq!(more.status, 403);
    assert!(
        more.head
            .contains("error=\"insufficient_scope\", scope=\"read write\"")
    );
    guard.door(|door| {
        door.scopes.clear();
        door.challenge = Challenge::Text(vec!["Basic realm=\"{origin}\"".to_owned()]);
    });
    assert_eq!(ask(&remote, "/mcp", token, &rpc::echo(4, "hi")).status, 200);
    let odd = ask(&remote, "/mcp", None, &rpc::echo(5, "hi"));
    assert!(
        odd.head
            .contains(&format!("Basic realm=\"{}\"", remote.origin()))
    );
}

#[test]
fn http_sse_has_the_same_door() {
    let auth = AuthServer::start();
    let guard = Guard::of(&auth);
    let remote = Legacy::http_sse().lenient().guarded(&guard).start();
    assert_eq!(get(&remote, "/sse").status, 401);
    let resource = get(&remote, "/.well-known/oauth-protected-resource/sse").body;
    assert_eq!(resource["resource"], remote.url_at("/sse"));
    let (_, tokens) = tokens(&auth, &remote.url_at("/sse"));
    let token = tokens["access_token"].as_str();
    let unknown = ask(&remote, "/messages?sid=x", token, &initialize());
    assert_eq!(unknown.status, 404, "the token is good, the session is not");
    assert_eq!(
        ask(&remote, "/messages?sid=x", None, &initialize()).status,
        401
    );
}

#[test]
fn a_server_may_be_its_own_authorization_server() {
    let auth = AuthServer::start();
    let guard = Guard::hosting(&auth);
    let remote = Legacy::free().guarded(&guard).start();
    let resource = get(&remote, "/.well-known/oauth-protected-resource/mcp").body;
    assert_eq!(resource["authorization_servers"], json!([remote.origin()]));
    let metadata = get(&remote, "/.well-known/oauth-authorization-server").body;
    assert_eq!(metadata["token_endpoint"], remote.url_at("/token"));
    assert_eq!(auth.count("metadata"), 1);
    assert_eq!(ask(&remote, "/mcp", None, &initialize()).status, 401);
}

#[test]
fn the_person_trusts_whom_the_test_says() {
    let authority = Authority::new("test authority");
    let auth = AuthServer::with_tls(&authority.server(), |_| {});
    let url = auth.url_at("/activate");
    assert!(url.starts_with("https://"));
    let pages = Person::new().trusting(&authority).open(&url);
    assert_eq!(pages[0].status, 200);
    assert!(pages[0].body.contains("Enter your code"));
    assert_eq!(Person::new().open(&url)[0].status, 0);
}

#[test]
fn links_are_found_once_each() {
    let link = "http://localhost:1/authorize?response_type=code&state=a";
    let text = format!("open <{link}>\nagain: {link}\nother https://x.example/?a=b\n");
    assert_eq!(links_in(&text), [link]);
}

#[test]
fn the_launcher_records_how_it_was_started() {
    let page = Remote::serve(|call| match call.path.as_str() {
        "/a" => Reply::redirect(302, "/b"),
        _ => Reply::html(200, "the end"),
    });
    let launcher = Launcher::new(Browser::Follows);
    let link = page.url_at("/a?x=$(id)&y='\"");
    let status = Command::new(launcher.program())
        .arg(&link)
        .env_clear()
        .env("A", "b c")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    let start = launcher.wait_start(1);
    assert_eq!(start.link(), link);
    assert_eq!(start.environment["A"], "b c");
    assert_eq!(start.descriptors[&0], "/dev/null");
    assert_eq!(start.descriptors[&2], "/dev/null");
    page.wait_nth("GET", 2);
    assert_eq!(launcher.count(), 1);
    let failing = Launcher::new(Browser::Fails);
    let status = Command::new(failing.program())
        .arg("x")
        .env_clear()
        .status();
    assert_eq!(status.unwrap().code(), Some(3));
    assert_eq!(failing.wait_start(1).arguments, ["x"]);
}

#[test]
fn a_launcher_that_hangs_is_ended() {
    let launcher = Launcher::new(Browser::Hangs);
    let mut child = Command::new(launcher.program())
        .arg("x")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut noise = [0; 6];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut noise)
        .unwrap();
    assert_eq!(&noise, b"noise\n");
    assert_eq!(launcher.wait_start(1).pid, child.id());
    while std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap() != b"/bin/sleep\x0061\0" {
        std::thread::yield_now();
    }
    drop(launcher);
    assert!(!child.wait().unwrap().success());
}
