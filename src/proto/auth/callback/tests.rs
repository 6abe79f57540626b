//! One request after another against a pending sign-in.

use std::time::SystemTime;

use super::super::client::{Client, ClientAuth, Registered};
use super::super::metadata::ServerMetadata;
use super::*;

const PATH: &str = "/oauth/callback";
const PORT: u16 = 3334;

fn pending() -> Pending {
    Pending {
        state: "st+1/=".into(),
        verifier: "verifier".into(),
        server: ServerMetadata {
            issuer: "https://as.example/t".into(),
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
        redirect_uri: format!("http://localhost:{PORT}{PATH}"),
        resource: Some("https://mcp.example/mcp".into()),
        scope: Some("read offline_access".into()),
        since: SystemTime::UNIX_EPOCH,
    }
}

/// What becomes of a GET: a status, `code …`, or the kind of the failure.
fn get(pending: &Pending, query: &str) -> String {
    let target = format!("{PATH}?{query}");
    let request = Request {
        method: "GET",
        target: &target,
        hosts: &["localhost:3334"],
        origin: None,
    };
    words(judge(pending, PORT, PATH, &request))
}

fn words(verdict: Verdict) -> String {
    match verdict {
        Verdict::Ignore(status) => status.to_string(),
        Verdict::Back(Outcome::Code(code)) => format!("code {}", code.reveal()),
        Verdict::Back(Outcome::Failed(failure, _)) => failure.kind.as_str().to_owned(),
    }
}

fn refused(pending: &Pending, query: &str) -> (Failure, Option<Retry>) {
    match answer(pending, &format!("state=st%2B1/=&{query}")) {
        Ok(Outcome::Failed(failure, retry)) => (failure, retry),
        _ => panic!("{query} was not taken as a refusal"),
    }
}

#[test]
fn c26_one_path_and_one_method() {
    let good = "?code=x&state=st%2B1/=";
    for (method, target, expected) in [
        ("GET", PATH, "code x"),
        ("HEAD", PATH, "405"),
        ("POST", PATH, "405"),
        ("OPTIONS", PATH, "405"),
        ("get", PATH, "405"),
        ("GET", "/", "404"),
        ("GET", "/favicon.ico", "404"),
        ("GET", "/oauth/callback/", "404"),
        ("GET", "/oauth/Callback", "404"),
        ("GET", "/oauth/%63allback", "404"),
        ("GET", "http://localhost:3334/oauth/callback", "404"),
        ("POST", "/", "404"),
        ("GET", "/wait-for-auth", "404"),
        ("GET", "/.mcp-remote/id", "404"),
    ] {
        let target = format!("{target}{good}");
        let request = Request {
            method,
            target: &target,
            hosts: &["localhost:3334"],
            origin: None,
        };
        let verdict = words(judge(&pending(), PORT, PATH, &request));
        assert_eq!(verdict, expected, "{method} {target}");
    }
}

#[test]
fn c27_g30_the_host_has_to_be_this_machine() {
    let target = format!("{PATH}?code=x&state=st%2B1/=");
    let judged = |port, hosts: &[&str], origin| {
        let request = Request {
            method: "GET",
            target: &target,
            hosts,
            origin,
        };
        words(judge(&pending(), port, PATH, &request))
    };
    for host in [
        "localhost:3334",
        "LOCALHOST:3334",
        "127.0.0.1:3334",
        "127.0.0.2:3334",
        "[::1]:3334",
    ] {
        assert_eq!(judged(PORT, &[host], None), "code x", "{host}");
    }
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        assert_eq!(judged(80, &[host], None), "code x", "{host}");
        assert_eq!(judged(PORT, &[host], None), "421", "{host}");
    }
    for host in [
        "",
        ":3334",
        "evil.test:3334",
        "localhost.evil.test:3334",
        "localhost:3335",
        "localhost:03334",
        "localhost:3334:3334",
        "127.0.0.1.evil.test:3334",
        "0.0.0.0:3334",
        "10.0.0.1:3334",
        "[::2]:3334",
        "[::ffff:127.0.0.1]:3334",
        "::1:3334",
        "user@localhost:3334",
    ] {
        assert_eq!(judged(PORT, &[host], None), "421", "{host}");
    }
    assert_eq!(judged(PORT, &[], None), "400");
    let two = ["localhost:3334", "localhost:3334"];
    assert_eq!(judged(PORT, &two, None), "400");
    let own = ["localhost:3334"];
    for origin in [
        "http://localhost:3334",
        "http://127.0.0.1:1",
        "http://[::1]",
    ] {
        assert_eq!(judged(PORT, &own, Some(origin)), "code x", "{origin}");
    }
    for origin in [
        "https://evil.test",
        "null",
        "",
        "http://localhost.evil.test",
    ] {
        assert_eq!(judged(PORT, &own, Some(origin)), "400", "{origin}");
    }
}

#[test]
fn c28_nothing_is_used_before_the_state_matches() {
    let pending = pending();
    for query in [
        "",
        "code=x",
        "error=access_denied",
        "code=x&state=",
        "code=x&state=wrong",
        "code=x&state=st%2B1/",
        "code=x&state=st%2B1/==",
        // A plus sign is a blank in a form.
        "code=x&state=st+1/=",
        "error=access_denied&state=wrong",
        "error=access_denied&iss=https://evil.test&state=wrong",
        "code=x&STATE=st%2B1/=",
    ] {
        assert_eq!(get(&pending, query), "400", "{query}");
    }
    assert_eq!(
        get(&pending, "code=a%2Fb%20+c&state=st%2B1/="),
        "code a/b  c"
    );
    assert_eq!(get(&pending, "unknown=1&code=x&state=st%2B1/="), "code x");
}

#[test]
fn c28_a_parameter_that_is_there_twice_spoils_the_answer() {
    for query in [
        "code=x&code=x&state=st%2B1/=",
        "code=x&state=st%2B1/=&state=st%2B1/=",
        "code=x&state=st%2B1/=&state=wrong",
        "code=x&state=st%2B1/=&iss=https://as.example/t&iss=https://as.example/t",
        "code=x&state=st%2B1/=&error=a&error=b",
        "code=x&state=st%2B1/=&%63ode=y",
        "code=x&state=st%2B1/=&session=1&session=2",
    ] {
        assert_eq!(get(&pending(), query), "400", "{query}");
    }
}

#[test]
fn c28_g29_states_are_compared_whole() {
    assert!(same(b"abc", b"abc") && same(b"", b""));
    for (left, right) in [("abc", "abd"), ("abc", "ab"), ("ab", "abc"), ("abc", "")] {
        assert!(!same(left.as_bytes(), right.as_bytes()), "{left} {right}");
    }
    for attempt in 0..1000 {
        assert_eq!(
            get(&pending(), &format!("code=evil&state={attempt}")),
            "400"
        );
    }
}

#[test]
fn c32_neither_code_nor_error_changes_nothing() {
    for query in [
        "state=st%2B1/=",
        "state=st%2B1/=&code=",
        "state=st%2B1/=&error=",
    ] {
        assert_eq!(get(&pending(), query), "400", "{query}");
    }
    assert_eq!(
        get(&pending(), "state=st%2B1/=&code=a%0Ab"),
        "authorization_error"
    );
    assert_eq!(
        get(&pending(), "state=st%2B1/=&code=%C3%A4"),
        "authorization_error"
    );
}

#[test]
fn c33_the_issuer_byte_for_byte() {
    let mut pending = pending();
    let judged =
        |pending: &Pending, iss: &str| get(pending, &format!("code=x&state=st%2B1/={iss}"));
    for promised in [false, true] {
        pending.server.iss_parameter_supported = promised;
        assert_eq!(
            judged(&pending, "&iss=https%3A%2F%2Fas.example%2Ft"),
            "code x"
        );
        for iss in [
            "https://as.example/t/",
            "https://as.example",
            "https://AS.example/t",
            "https://as.example:443/t",
            "https%3A%2F%2Fas.example%2F%2574",
            "https://evil.test",
            "",
        ] {
            let verdict = judged(&pending, &format!("&iss={iss}"));
            assert_eq!(verdict, "iss_mismatch", "{iss}");
        }
    }
    assert_eq!(judged(&pending, ""), "iss_mismatch");
    pending.server.iss_parameter_supported = false;
    assert_eq!(judged(&pending, ""), "code x");
}

#[test]
fn c33_a_refusal_of_another_issuer_is_neither_shown_nor_used() {
    let query = "error=access_denied&error_description=canary&error_uri=https://canary.test\
                 &iss=https://evil.test/%1b";
    let (failure, retry) = refused(&pending(), query);
    assert_eq!((failure.kind, retry), (Kind::IssMismatch, None));
    assert!(
        failure.text.contains("https://as.example/t"),
        "{}",
        failure.text
    );
    assert!(
        failure.text.contains(r"https://evil.test/\u{1b}"),
        "{}",
        failure.text
    );
    for hidden in ["canary", "access_denied"] {
        assert!(!failure.text.contains(hidden), "{}", failure.text);
    }
}

#[test]
fn c31_each_error_code_has_its_kind_and_its_next_step() {
    for (code, kind, retry, hint) in [
        ("access_denied", Kind::AuthorizationDenied, None, "agree"),
        (
            "invalid_scope",
            Kind::AuthorizationError,
            Some(Retry::WithoutOfflineAccess),
            "`read offline_access`",
        ),
        (
            "invalid_client",
            Kind::ClientRejected,
            Some(Retry::NewClient),
            "registration",
        ),
        (
            "unauthorized_client",
            Kind::ClientRejected,
            Some(Retry::NewClient),
            "registration",
        ),
        (
            "invalid_target",
            Kind::AuthorizationError,
            None,
            "`https://mcp.example/mcp`; give another with --resource",
        ),
        ("server_error", Kind::AuthorizationError, None, "in a while"),
        (
            "temporarily_unavailable",
            Kind::AuthorizationError,
            None,
            "in a while",
        ),
        (
            "login_required",
            Kind::AuthorizationError,
            None,
            "--authorize-param prompt=consent",
        ),
        (
            "interaction_required",
            Kind::AuthorizationError,
            None,
            "--authorize-param prompt=consent",
        ),
        (
            "consent_required",
            Kind::AuthorizationError,
            None,
            "--authorize-param prompt=consent",
        ),
        ("odd_code", Kind::AuthorizationError, None, "try again"),
    ] {
        let (failure, given) = refused(&pending(), &format!("error={code}"));
        assert_eq!((failure.kind, given), (kind, retry), "{code}");
        assert!(
            failure.text.contains(&format!("`{code}`")),
            "{}",
            failure.text
        );
        assert!(failure.text.contains(hint), "{}", failure.text);
    }
}

#[test]
fn b19_c12_a_second_attempt_only_where_it_can_help() {
    let mut pending = pending();
    pending.scope = Some("read".into());
    pending.client.provenance = Provenance::Given;
    assert_eq!(refused(&pending, "error=invalid_scope").1, None);
    let (failure, retry) = refused(&pending, "error=invalid_client");
    assert_eq!(retry, None);
    assert!(
        failure.text.contains("--static-oauth-client-info")
            && failure.text.contains(&pending.redirect_uri),
        "{}",
        failure.text
    );
    pending.scope = None;
    let (failure, _) = refused(&pending, "error=invalid_scope");
    assert!(
        failure.text.contains("no scope was asked for"),
        "{}",
        failure.text
    );
}

#[test]
fn b12_a_registration_for_fewer_scopes_is_made_anew() {
    let mut pending = pending();
    pending.scope = Some("read write".into());
    for (registered, retry) in [
        (Some("read"), Some(Retry::NewClient)),
        (Some("write read"), None),
        (None, None),
    ] {
        pending.client.scope = registered.map(str::to_owned);
        assert_eq!(
            refused(&pending, "error=invalid_scope").1,
            retry,
            "{registered:?}"
        );
    }
    pending.client.scope = Some("read".into());
    pending.client.provenance = Provenance::Given;
    assert_eq!(refused(&pending, "error=invalid_scope").1, None);
}

#[test]
fn c31_g09_the_servers_words_are_made_harmless() {
    let (failure, _) = refused(
        &pending(),
        "error=access_denied&error_description=no%1b%5D0;x%07%0a+%E2%80%AEway\
         &error_uri=https://as.example/why",
    );
    assert!(
        failure
            .text
            .contains(r"(no\u{1b}]0;x\u{7}\u{a} \u{202e}way) [https://as.example/why]"),
        "{}",
        failure.text
    );
    for uri in [
        "http://as.example/why",
        "javascript:alert(1)",
        "https://u:p@as.example/",
        "why",
    ] {
        let (failure, _) = refused(&pending(), &format!("error=access_denied&error_uri={uri}"));
        assert!(!failure.text.contains(uri), "{}", failure.text);
    }
    let long = "x".repeat(5000);
    let (failure, _) = refused(
        &pending(),
        &format!("error=access_denied&error_description={long}"),
    );
    assert_eq!(failure.text.matches('x').count(), DESCRIPTION - 1);
    for code in ["a%22b", "a%5Cb", "a%1Bb", "%C3%A4"] {
        let (failure, _) = refused(&pending(), &format!("error={code}"));
        assert_eq!(failure.kind, Kind::AuthorizationError);
        assert!(!failure.text.contains('`'), "{}", failure.text);
    }
}

#[test]
fn c31_an_error_beats_a_code() {
    let query = "code=x&error=access_denied&state=st%2B1/=";
    assert_eq!(get(&pending(), query), "authorization_denied");
}

#[test]
fn c39_a_pasted_address_is_judged_alike() {
    let pending = pending();
    let good = "code=x&state=st%2B1/=";
    let redirect = "http://localhost:3334/oauth/callback";
    for text in [
        format!("{redirect}?{good}"),
        format!("  {redirect}?{good} \r\n"),
        format!("localhost:3334/oauth/callback?{good}"),
        format!("{redirect}?{good}#_=_"),
        format!("?{good}"),
        good.to_owned(),
    ] {
        match pasted(&pending, &text) {
            Ok(Outcome::Code(code)) => assert_eq!(code.reveal(), "x"),
            other => panic!("{text}: {other:?}"),
        }
    }
    for (text, hint) in [
        ("", "no `state`"),
        ("code=canary", "no `state`"),
        ("code=canary&state=wrong", "not the one of this sign-in"),
        ("state=st%2B1/=", "neither `code` nor `error`"),
        ("code=canary&code=canary&state=st%2B1/=", "twice"),
        (
            "https://as.example/authorize?client_id=canary&state=st%2B1/=",
            redirect,
        ),
        (
            "http://localhost:3334/other?code=canary&state=st%2B1/=",
            redirect,
        ),
    ] {
        let problem = pasted(&pending, text).unwrap_err();
        assert!(problem.contains(hint), "{text}: {problem}");
        assert!(!problem.contains("canary"), "{problem}");
    }
    let wrong_issuer = pasted(&pending, &format!("{good}&iss=https://evil.test"));
    assert!(matches!(wrong_issuer, Ok(Outcome::Failed(failure, None))
        if failure.kind == Kind::IssMismatch));
}

#[test]
fn f25_an_outcome_hides_its_code() {
    let verdict = judge(
        &pending(),
        PORT,
        PATH,
        &Request {
            method: "GET",
            target: "/oauth/callback?code=canary&state=st%2B1/=",
            hosts: &["localhost:3334"],
            origin: None,
        },
    );
    assert!(matches!(verdict, Verdict::Back(Outcome::Code(_))));
    assert!(!format!("{verdict:?}").contains("canary"));
}

#[test]
fn c39_a_pasted_address_is_handed_to_the_process_that_waits_for_it() {
    let link = |redirect: &str| {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("redirect_uri", redirect)
            .append_pair("state", "st+1/=")
            .finish();
        Secret::from(format!("https://as.example/authorize?{query}"))
    };
    let redirect = "http://localhost:3334/oauth/callback";
    let expected = format!("{redirect}?code=x&state=st%2B1/=");
    for text in [
        expected.as_str(),
        " ?code=x&state=st%2B1/=\n",
        "code=x&state=st%2B1/=",
    ] {
        let url = forwarded(&link(redirect), text).unwrap();
        assert_eq!(url.as_str(), expected);
    }
    for (redirect, text, hint) in [
        (redirect, "code=canary&state=other", "not the one"),
        (redirect, "code=canary", "not the one"),
        (
            redirect,
            "http://localhost:22/?code=canary&state=st%2B1/=",
            "another address",
        ),
        (
            "http://10.0.0.1:80/cb",
            "code=canary&state=st%2B1/=",
            "waits for no address",
        ),
        (
            "https://app.example/cb",
            "code=canary&state=st%2B1/=",
            "waits for no address",
        ),
    ] {
        let problem = forwarded(&link(redirect), text).unwrap_err();
        assert!(problem.contains(hint), "{text}: {problem}");
        assert!(!problem.contains("canary"), "{problem}");
    }
    // One that shows a code for another device.
    let problem = forwarded(&Secret::from("https://as.example/activate"), "x").unwrap_err();
    assert!(problem.contains("waits for no address"), "{problem}");
}
