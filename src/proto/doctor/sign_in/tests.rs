//! Each judgement by itself: mark, kind, option.

use url::Url;

use super::*;
use crate::proto::doctor::Mark;
use crate::proto::failure::Executed;

const NOW: u64 = 1_800_000_000_000;
const MINUTE: u64 = 60_000;
const UNTIL: &str = "2027-01-15T08:00:00.000Z";

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn finding(document: Document, outcome: &str, verdict: Option<Verdict>) -> (Finding, u64) {
    let finding = Finding {
        url: url("https://mcp.example/.well-known/x?key=canary"),
        document,
        outcome: outcome.to_owned(),
        verdict,
    };
    (finding, 7)
}

fn failure(kind: Kind, text: &str) -> Failure {
    Failure::new(kind, Executed::No, text)
}

fn marks(checks: &[Check]) -> Vec<(&str, Mark)> {
    checks.iter().map(|check| (check.id, check.mark)).collect()
}

fn server() -> ServerMetadata {
    ServerMetadata {
        issuer: "https://as.example".to_owned(),
        authorization_endpoint: Some(url("https://as.example/authorize")),
        token_endpoint: Some(url("https://as.example/token")),
        ..ServerMetadata::default()
    }
}

#[test]
fn a_document_that_is_not_there_is_nothing_bad() {
    let findings = [
        finding(Document::Resource, "HTTP 404", Some(Verdict::Absent)),
        finding(Document::Resource, "a web page", Some(Verdict::Another)),
        finding(Document::Resource, "HTTP 503", Some(Verdict::Temporary)),
        finding(Document::Server, "HTTP 200", None),
    ];
    let checks = documents(&findings, None);
    assert_eq!(
        marks(&checks),
        [
            ("resource-metadata", Mark::Good),
            ("resource-metadata", Mark::Good),
            ("resource-metadata", Mark::Warning),
            ("server-metadata", Mark::Good),
        ]
    );
    for check in &checks {
        assert_eq!(check.millis, Some(7));
        assert!(check.text.starts_with("https://mcp.example/.well-known/x:"));
        assert!(!check.text.contains("canary"), "{check:?}");
    }
}

#[test]
fn the_document_that_all_fails_for_is_the_one_bad_line() {
    let own = failure(
        Kind::MetadataInvalid,
        "it names no issuer; ask its operator",
    );
    let all = failure(
        Kind::MetadataInvalid,
        "it names no issuer; ask its operator (asked: GET https://a: HTTP 404; GET https://b: not usable)",
    );
    let other = failure(Kind::MetadataInvalid, "it is no JSON; ask its operator");
    let findings = [
        finding(Document::Resource, "HTTP 404", Some(Verdict::Absent)),
        finding(Document::Server, "not usable", Some(Verdict::Unusable(own))),
        finding(
            Document::Server,
            "not usable",
            Some(Verdict::Unusable(other)),
        ),
    ];
    let checks = documents(&findings, Some(&all));
    assert_eq!(
        marks(&checks),
        [
            ("resource-metadata", Mark::Good),
            ("server-metadata", Mark::Bad),
            ("server-metadata", Mark::Warning),
        ]
    );
    assert_eq!(checks[1].kind, Some(Kind::MetadataInvalid));
    assert!(
        checks[1].text.ends_with(": it names no issuer"),
        "{checks:?}"
    );
    assert_eq!(checks[1].advice.as_deref(), Some("ask its operator"));
}

#[test]
fn what_no_document_is_guilty_of_has_a_line_of_its_own() {
    let all = failure(
        Kind::DiscoveryFailed,
        "the server does not say how to sign in; ask its operator, or add a token with --header; \
         headers of --header go to the server itself and to no other (asked: GET https://a: HTTP 404)",
    );
    let findings = [finding(Document::Server, "HTTP 404", Some(Verdict::Absent))];
    let checks = documents(&findings, Some(&all));
    assert_eq!(
        marks(&checks),
        [
            ("server-metadata", Mark::Good),
            ("server-metadata", Mark::Bad)
        ]
    );
    assert_eq!(checks[1].flag.as_deref(), Some(HEADER));
    assert!(!checks[1].text.contains("asked:"), "{checks:?}");
    let none = documents(&[], Some(&all));
    assert_eq!(marks(&none), [("resource-metadata", Mark::Bad)]);
}

#[test]
fn an_outage_is_told_with_the_request_that_showed_it() {
    let all = failure(
        Kind::DiscoveryUnreachable,
        "cannot find out where to sign in just now; the next request tries again (asked: …)",
    );
    let findings = [
        finding(Document::Server, "HTTP 503", Some(Verdict::Temporary)),
        finding(Document::Server, "HTTP 404", Some(Verdict::Absent)),
    ];
    let checks = documents(&findings, Some(&all));
    assert_eq!(
        marks(&checks),
        [
            ("server-metadata", Mark::Bad),
            ("server-metadata", Mark::Good)
        ]
    );
    assert!(checks[0].text.ends_with("x: HTTP 503"), "{checks:?}");
    assert_eq!(checks[0].kind, Some(Kind::DiscoveryUnreachable));
}

#[test]
fn an_issuer_that_is_another_one_comes_with_the_option_that_pins_it() {
    let next = "if you accept that for this server, add --expect-issuer https://as.example/t";
    let own = failure(
        Kind::IssuerMismatch,
        &format!("the metadata names another issuer, so nothing it says is followed; {next}"),
    );
    let findings = [finding(
        Document::Server,
        "not usable",
        Some(Verdict::Unusable(own.clone())),
    )];
    let checks = documents(&findings, Some(&own));
    assert_eq!(marks(&checks), [("issuer", Mark::Bad)]);
    let flag = checks[0].flag.as_deref();
    assert_eq!(flag, Some("--expect-issuer https://as.example/t"));
    let odd = failure(Kind::IssuerMismatch, "it names another; ask its operator");
    assert_eq!(failed("issuer", &odd).flag, None);
}

#[test]
fn another_issuer_than_before_deserves_a_look() {
    let check = issuer(
        "https://two.example",
        Some("https://one.example?key=canary"),
    );
    assert_eq!(check.mark, Mark::Warning);
    assert!(check.text.contains("two.example") && check.text.contains("one.example"));
    assert!(!check.text.contains("canary"), "{check:?}");
    assert_eq!(issuer("https://two.example", None).mark, Mark::Good);
}

#[test]
fn pkce_that_is_not_promised() {
    let with = |methods: Option<&[&str]>| ServerMetadata {
        code_challenge_methods_supported: methods
            .map(|all| all.iter().map(|one| (*one).to_owned()).collect()),
        ..server()
    };
    let flag = Some("--allow-missing-pkce");
    for (methods, may_lack, by_user, mark, expected) in [
        (Some(&["S256"] as &[_]), false, false, Mark::Good, None),
        (None, false, false, Mark::Bad, flag),
        (Some(&[]), false, false, Mark::Bad, flag),
        (Some(&["plain"]), false, false, Mark::Bad, None),
        (Some(&["plain"]), true, true, Mark::Bad, None),
        (None, true, true, Mark::Warning, None),
        (None, true, false, Mark::Good, None),
    ] {
        let check = code_flow(&with(methods), may_lack, by_user);
        assert_eq!((check.id, check.mark), ("pkce", mark), "{methods:?}");
        assert_eq!(check.flag.as_deref(), expected, "{methods:?}");
        let kind = (mark == Mark::Bad).then_some(Kind::PkceUnsupported);
        assert_eq!(check.kind, kind);
    }
    let lacks = ServerMetadata {
        token_endpoint: None,
        ..server()
    };
    let check = code_flow(&lacks, false, false);
    assert_eq!((check.id, check.mark), ("server-metadata", Mark::Bad));
    assert_eq!(check.kind, Some(Kind::MetadataInvalid));
}

#[test]
fn a_server_without_any_document() {
    let check = assumed("https://mcp.example/authorize", Some(404), false);
    assert_eq!((check.id, check.mark), ("server-metadata", Mark::Bad));
    assert_eq!(check.kind, Some(Kind::DiscoveryFailed));
    assert_eq!(check.flag.as_deref(), Some(HEADER));
    let check = assumed("https://mcp.example/authorize", Some(400), true);
    assert_eq!(check.mark, Mark::Warning);
}

#[test]
fn a_client_for_another_issuer_comes_with_the_option_that_moves_it() {
    let moved = failure(
        Kind::ClientIssuerMismatch,
        "the client belongs to A, but the server now sends people to B; if that is right, say so",
    );
    let check = no_client(&moved, &server());
    let flag = check.flag.as_deref().unwrap();
    assert_eq!(
        flag,
        "--static-oauth-client-info '{\"client_id\": \"…\", \"issuer\": \"https://as.example\"}'"
    );
    let odd = ServerMetadata {
        issuer: "https://as.example/'$(id)".to_owned(),
        ..server()
    };
    assert_eq!(no_client(&moved, &odd).flag, None, "not into a shell");
}

#[test]
fn a_provider_that_registers_nobody_has_its_own_advice() {
    let closed = failure(
        Kind::NoRegistrationMethod,
        "it registers no clients by itself; register one there by hand",
    );
    let check = no_client(&closed, &server());
    assert_eq!(check.advice.as_deref(), Some("register one there by hand"));
    assert_eq!(check.flag.as_deref(), Some(CLIENT));
    let github = ServerMetadata {
        issuer: "https://github.com/login/oauth".to_owned(),
        ..server()
    };
    let check = no_client(&closed, &github);
    assert!(check.advice.unwrap().contains("create an OAuth app"));
}

#[test]
fn a_grant_that_is_not_listed() {
    let check = token_endpoint(&server(), "client_credentials");
    assert_eq!(check.mark, Mark::Good);
    let listed = ServerMetadata {
        grant_types_supported: Some(vec!["authorization_code".to_owned()]),
        ..server()
    };
    assert_eq!(
        token_endpoint(&listed, "client_credentials").mark,
        Mark::Warning
    );
    let none = ServerMetadata {
        token_endpoint: None,
        ..server()
    };
    let check = token_endpoint(&none, "client_credentials");
    assert_eq!(
        (check.mark, check.kind),
        (Mark::Bad, Some(Kind::MetadataInvalid))
    );
}

#[test]
fn a_port_that_is_taken() {
    let taken = failure(
        Kind::CallbackPortInUse,
        "port 5000 on localhost cannot be listened on (Address in use); end the program",
    );
    let check = callback(&Callback::Taken(5001, &taken));
    assert_eq!(check.mark, Mark::Bad);
    assert_eq!(check.flag.as_deref(), Some("5001"));
    assert_eq!(callback(&Callback::Taken(0, &taken)).flag, None);
    let elsewhere = failure(
        Kind::CallbackPortInUse,
        "the browser can only come back to this machine; give --host localhost, 127.0.0.1 or [::1]",
    );
    let check = callback(&Callback::Taken(5001, &elsewhere));
    assert_eq!(check.flag.as_deref(), Some("--host localhost"));
    let check = callback(&Callback::Moved(5000, "http://localhost:5001/x"));
    assert_eq!(check.mark, Mark::Warning);
    assert!(check.text.contains("5000") && check.text.contains("5001"));
}

fn sign_in_with(tokens: &Tokens, renewal: Renewal) -> Check {
    stored(&Stored {
        tokens,
        account: Some("jo@example.com"),
        writer: "mcp-bridge",
        until: tokens.expires_at.map(|_| UNTIL),
        renewal,
        now: NOW,
    })
}

fn tokens(expires_at: Option<u64>) -> Tokens {
    Tokens {
        access: "canary".into(),
        refresh: Some("canary".into()),
        issuer: Some("https://as.example".to_owned()),
        scope: Some("read write".to_owned()),
        expires_at,
        ..Tokens::default()
    }
}

#[test]
fn a_sign_in_that_is_stored() {
    let (good, warning, bad) = (Mark::Good, Mark::Warning, Mark::Bad);
    let doubt = Renewal::InDoubt("who knows");
    for (expires_at, renewal, mark, words) in [
        (
            None,
            Renewal::Never,
            good,
            "until the server says otherwise",
        ),
        (
            Some(NOW + 59 * MINUTE),
            Renewal::ByItself,
            good,
            "valid for 59 minutes",
        ),
        (
            Some(NOW + 59 * MINUTE),
            Renewal::Never,
            good,
            "not renewed by itself",
        ),
        (
            Some(NOW - 3 * 60 * MINUTE),
            Renewal::ByItself,
            good,
            "expired 3 hours ago",
        ),
        (Some(NOW - MINUTE), doubt, warning, "who knows"),
        (
            Some(NOW - MINUTE),
            Renewal::Never,
            bad,
            "expired 1 minute ago",
        ),
        (
            Some(NOW),
            Renewal::Never,
            bad,
            "expired less than a minute ago",
        ),
    ] {
        let check = sign_in_with(&tokens(expires_at), renewal);
        assert_eq!(
            (check.id, check.mark),
            ("stored-sign-in", mark),
            "{check:?}"
        );
        assert!(check.text.contains(words), "{check:?}");
        for part in [
            "as jo@example.com",
            "at https://as.example",
            "read write",
            "mcp-bridge",
        ] {
            assert!(check.text.contains(part), "{part}: {check:?}");
        }
        assert_eq!(check.text.contains(UNTIL), expires_at.is_some());
        assert!(!format!("{check:?}").contains("canary"), "{check:?}");
        if mark == bad {
            assert_eq!(check.flag.as_deref(), Some("--login"));
            assert_eq!(check.kind, Some(Kind::SignInRequired));
        }
    }
}

#[test]
fn a_token_from_the_future_speaks_against_the_clock() {
    let tokens = Tokens {
        issued_at: Some(NOW + 60 * MINUTE),
        ..tokens(Some(NOW + 120 * MINUTE))
    };
    let check = sign_in_with(&tokens, Renewal::Never);
    assert_eq!(check.mark, Mark::Warning);
    assert!(check.text.contains("issued in 60 minutes"), "{check:?}");
    let tokens = Tokens {
        issued_at: Some(NOW + MINUTE),
        ..tokens
    };
    assert_eq!(sign_in_with(&tokens, Renewal::Never).mark, Mark::Good);
}

#[test]
fn a_place_that_cannot_be_used() {
    let corrupt = "FILE is empty and is not used; it is kept as OTHER";
    let insecure = "FOLDER can be written to by others and is not used; run: chmod go-rwx FOLDER";
    let locked =
        "the keychain cannot be used; unlock it, or keep sign-ins in files with --store files";
    for (kind, sentence, is_mended, has_tokens, mark, flag) in [
        (
            Kind::StoreCorrupt,
            corrupt,
            false,
            false,
            Mark::Bad,
            Some("--login"),
        ),
        (
            Kind::StoreCorrupt,
            corrupt,
            false,
            true,
            Mark::Warning,
            None,
        ),
        (Kind::StoreInsecure, insecure, false, true, Mark::Bad, None),
        (
            Kind::StoreInsecure,
            "it is closed now",
            true,
            true,
            Mark::Good,
            None,
        ),
        (
            Kind::StoreUnwritable,
            locked,
            false,
            false,
            Mark::Bad,
            Some("--store files"),
        ),
        (
            Kind::StoreUnwritable,
            "cannot read FILE",
            false,
            false,
            Mark::Bad,
            None,
        ),
    ] {
        let check = store(kind, sentence, is_mended, has_tokens);
        assert_eq!((check.id, check.mark), ("store", mark), "{sentence}");
        assert_eq!(check.flag.as_deref(), flag, "{sentence}");
        assert_eq!(check.advice.is_some(), mark != Mark::Good, "{sentence}");
        assert_eq!(check.kind, (mark != Mark::Good).then_some(kind));
    }
}

#[test]
fn lengths_of_time_are_said_roughly() {
    for (millis, words) in [
        (0, "less than a minute"),
        (MINUTE - 1, "less than a minute"),
        (MINUTE, "1 minute"),
        (119 * MINUTE, "119 minutes"),
        (120 * MINUTE, "2 hours"),
        (47 * 60 * MINUTE, "47 hours"),
        (48 * 60 * MINUTE, "2 days"),
        (u64::MAX, "213503982334 days"),
    ] {
        assert_eq!(span(millis), words);
    }
}

#[test]
fn what_is_left_of_earlier_times() {
    let text = "nobody signed in within 300 s; --auth-timeout SECONDS waits longer";
    let check = last_error("authorization_timeout", text, NOW - 5 * MINUTE, NOW);
    assert_eq!(check.mark, Mark::Warning);
    assert_eq!(
        check.text,
        "5 minutes ago: nobody signed in within 300 s [authorization_timeout]"
    );
    let advice = check.advice.as_deref();
    assert_eq!(advice, Some("--auth-timeout SECONDS waits longer"));
    // A clock that was set back.
    assert!(
        last_error("x", "y", NOW + 1, NOW)
            .text
            .starts_with("less than")
    );
    assert_eq!(brake(2).mark, Mark::Warning);
    let check = pending(42, NOW - 2 * MINUTE, NOW);
    assert!(check.text.contains("42") && check.text.contains("2 minutes"));
}

#[test]
fn credentials_of_ones_own_and_the_last_word() {
    assert_eq!(own_header(false).mark, Mark::Good);
    let check = own_header(true);
    assert_eq!((check.id, check.mark), ("authorization", Mark::Bad));
    assert_eq!(check.kind, Some(Kind::SignInRequired));
    assert_eq!(let_in(true).mark, Mark::Good);
    for (had_token, needs_person) in [(true, true), (false, true), (false, false)] {
        let check = kept_out(had_token, needs_person);
        assert_eq!((check.id, check.mark), ("sign-in", Mark::Warning));
        assert_eq!(check.flag.as_deref(), Some("--login"));
    }
}

#[test]
fn words_of_strangers_stay_short_and_plain() {
    let long = format!("https://as.example/\u{1b}[2J{}", "x".repeat(100_000));
    let wanted = Wanted {
        scope: Some("y".repeat(100_000)),
        origin: Origin::Challenge,
        notes: Vec::new(),
    };
    let huge = Tokens {
        issuer: Some(long.clone()),
        scope: Some(long.clone()),
        ..tokens(None)
    };
    let mut checks = vec![
        issuer(&long, Some(&long)),
        assumed(&long, None, false),
        sign_in_with(&huge, Renewal::Never),
        client(&Choice::Register(Some(long.clone())), &server()),
    ];
    checks.extend(scopes(&wanted));
    for check in checks {
        assert!(check.text.chars().count() < 1000, "{}", check.text.len());
        assert!(!check.text.contains('\u{1b}'));
    }
}
