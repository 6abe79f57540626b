//! Answers of servers of every kind, and what is said about them.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::proto::bridge::Protocol;
use crate::proto::doctor::revision;
use crate::proto::{Ending, TroubleKind};

const INITIALIZED: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"de\u001bpot","version":"1"}}}"#;
const DISCOVERED: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":["2026-07-28"],"capabilities":{},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"new"}}}}"#;
const UNKNOWN_METHOD: &str =
    r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}"#;

fn head(status: u16, headers: &[(&'static str, &str)]) -> Head {
    let mut map = http::HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    Head {
        status,
        headers: map,
        url: Arc::new("https://h.example/x?key=hunter2".parse().unwrap()),
        moved_permanently: false,
        credentials: 0,
    }
}

fn whole(status: u16, body: &str) -> Reply {
    let body = Body {
        bytes: Bytes::copy_from_slice(body.as_bytes()),
        cut: None,
    };
    Reply::Whole(head(status, &[]), body)
}

fn endpoint(address: &str) -> Reply {
    let event = Event {
        name: Some("endpoint".into()),
        data: Bytes::copy_from_slice(address.as_bytes()),
        ..Event::default()
    };
    Reply::Event(head(200, &[]), event)
}

fn challenged() -> Reply {
    let body = Body {
        bytes: Bytes::new(),
        cut: Some(Ending::Complete),
    };
    Reply::Whole(head(401, &[("www-authenticate", "Bearer")]), body)
}

fn look(judge: impl Fn(Reply) -> Seen, reply: Reply) -> Look {
    let status = head_of(&reply).map(|head| head.status);
    Look {
        seen: judge(reply),
        status,
        millis: 3,
    }
}

fn looks(initialize: Reply, discover: Reply, stream: Reply) -> Looks {
    Looks {
        initialize: Some(look(of_initialize, initialize)),
        discover: Some(look(of_discover, discover)),
        stream: Some(look(of_stream, stream)),
        elsewhere: None,
    }
}

fn legacy() -> Looks {
    looks(
        whole(200, INITIALIZED),
        whole(404, UNKNOWN_METHOD),
        whole(405, ""),
    )
}

fn only_sse() -> Looks {
    looks(whole(404, ""), whole(404, ""), endpoint("/m?s=1"))
}

fn only_modern() -> Looks {
    looks(whole(400, ""), whole(200, DISCOVERED), whole(405, ""))
}

/// Id, mark and flag of every check.
fn short(checks: &[Check]) -> Vec<(&'static str, Mark, Option<String>)> {
    let flag = |check: &'_ Check| check.flag.as_deref().map(str::to_owned);
    checks
        .iter()
        .map(|check| (check.id, check.mark, flag(check)))
        .collect()
}

#[test]
fn what_is_spoken_is_good_and_the_other_transport_is_not_missed() {
    for looks in [legacy(), only_modern()] {
        let checks = looks.judge(Strategy::HttpFirst);
        assert_eq!(
            short(&checks),
            [
                (STREAMABLE_HTTP, Mark::Good, None),
                (HTTP_SSE, Mark::Good, None)
            ]
        );
        assert!(looks.can_talk(Strategy::HttpFirst) && looks.refused().is_none());
        assert!(!looks.can_talk(Strategy::SseOnly));
        assert_eq!(checks[0].millis, Some(3));
    }
}

#[test]
fn a_detour_is_a_warning_with_the_option_that_spares_it() {
    for (looks, strategy, id, flag) in [
        (
            only_sse(),
            Strategy::HttpFirst,
            STREAMABLE_HTTP,
            "--transport sse-only",
        ),
        (
            legacy(),
            Strategy::SseFirst,
            HTTP_SSE,
            "--transport http-only",
        ),
    ] {
        let checks = looks.judge(strategy);
        let odd: Vec<_> = checks
            .iter()
            .filter(|check| check.mark != Mark::Good)
            .collect();
        assert_eq!(odd.len(), 1, "{checks:?}");
        assert_eq!((odd[0].id, odd[0].mark), (id, Mark::Warning));
        assert_eq!(odd[0].flag.as_deref(), Some(flag));
        assert!(looks.can_talk(strategy));
    }
}

#[test]
fn a_strategy_that_excludes_what_is_spoken_is_bad() {
    for (looks, strategy, id, flag) in [
        (
            only_sse(),
            Strategy::HttpOnly,
            STREAMABLE_HTTP,
            "--transport sse-only",
        ),
        (
            legacy(),
            Strategy::SseOnly,
            HTTP_SSE,
            "--transport http-only",
        ),
    ] {
        let checks = looks.judge(strategy);
        let bad = checks.iter().find(|check| check.mark == Mark::Bad).unwrap();
        assert_eq!((bad.id, bad.flag.as_deref()), (id, Some(flag)));
        assert!(!looks.can_talk(strategy));
        let used = checks.iter().find(|check| check.id != id).unwrap();
        assert!(used.text.contains("not used"), "{used:?}");
    }
    // What the user does not want is no fault.
    for (looks, strategy) in [
        (only_sse(), Strategy::SseOnly),
        (legacy(), Strategy::HttpOnly),
    ] {
        let checks = looks.judge(strategy);
        assert!(checks.iter().all(|check| check.mark == Mark::Good));
    }
}

#[test]
fn where_nothing_is_spoken_the_first_transport_says_why() {
    let page = "<html><title>Corp\u{1b} login</title>";
    let trouble = Trouble {
        kind: TroubleKind::Redirect,
        sent: false,
        text: "it redirects to https://other, which is another server; use that address".into(),
    };
    for (reply, other, kind, words, advice) in [
        (
            whole(404, ""),
            whole(404, ""),
            Kind::HttpStatus,
            "HTTP 404",
            "/mcp or /sse",
        ),
        (
            whole(200, page),
            whole(200, page),
            Kind::NotMcp,
            "Corp\\u{1b} login",
            "captive portal",
        ),
        (
            whole(500, "boom"),
            whole(405, ""),
            Kind::HttpStatus,
            "boom",
            "its log",
        ),
        (
            whole(503, ""),
            whole(503, ""),
            Kind::HttpStatus,
            "HTTP 503",
            "try again later",
        ),
        (
            whole(403, ""),
            whole(403, ""),
            Kind::HttpStatus,
            "HTTP 403",
            "--header",
        ),
        (
            Reply::Late(Duration::from_secs(60)),
            whole(404, ""),
            Kind::Timeout,
            "60 s",
            "hangs",
        ),
        (
            Reply::Failed(trouble.clone()),
            Reply::Failed(trouble),
            Kind::RedirectRefused,
            "another server",
            "use that address",
        ),
        (
            Reply::Mute(head(200, &[])),
            whole(404, ""),
            Kind::Timeout,
            "nothing of use",
            "hangs",
        ),
    ] {
        let looks = looks(reply, whole(404, ""), other);
        let checks = looks.judge(Strategy::HttpFirst);
        assert_eq!(checks[0].mark, Mark::Bad, "{checks:?}");
        assert_eq!(checks[1].mark, Mark::Warning, "{checks:?}");
        let bad = &checks[0];
        assert_eq!((bad.id, bad.kind), (STREAMABLE_HTTP, Some(kind)));
        assert!(bad.text.contains(words), "{bad:?}");
        assert!(bad.advice.as_ref().unwrap().contains(advice), "{bad:?}");
        assert!(!format!("{checks:?}").contains("hunter2"));
        assert!(!looks.can_talk(Strategy::HttpFirst));
        assert_eq!(revision::judge(&looks, Protocol::Auto), None);
    }
}

#[test]
fn another_address_that_answers_is_offered() {
    let looks = Looks {
        elsewhere: Some((
            "https://h.example/mcp?key=hunter2".parse().unwrap(),
            Transport::StreamableHttp,
        )),
        ..looks(whole(404, ""), whole(404, ""), whole(404, ""))
    };
    let checks = looks.judge(Strategy::HttpFirst);
    assert_eq!(checks[0].flag.as_deref(), Some("https://h.example/mcp"));
    assert!(!format!("{checks:?}").contains("hunter2"));
}

#[test]
fn a_server_that_wants_a_sign_in_is_not_broken() {
    let looks = looks(challenged(), challenged(), challenged());
    let checks = looks.judge(Strategy::HttpFirst);
    assert!(checks.iter().all(|check| check.mark == Mark::Good));
    assert!(checks[0].text.contains("asks for a sign-in (HTTP 401)"));
    assert!(looks.refused().is_some() && !looks.can_talk(Strategy::HttpFirst));
}

#[test]
fn g08_a_message_address_on_another_origin_is_named() {
    let looks = looks(
        whole(404, ""),
        whole(404, ""),
        endpoint("https://other.example/m?key=hunter2"),
    );
    let checks = looks.judge(Strategy::SseOnly);
    let bad = checks.iter().find(|check| check.mark == Mark::Bad).unwrap();
    assert_eq!(bad.kind, Some(Kind::EndpointOriginMismatch));
    assert!(bad.text.contains("https://other.example"), "{bad:?}");
    assert!(!format!("{checks:?}").contains("hunter2"));
}

#[test]
fn the_revision_is_judged_as_the_user_allows() {
    let both = looks(
        whole(200, INITIALIZED),
        whole(200, DISCOVERED),
        whole(405, ""),
    );
    let judged = |looks: &Looks, protocol| {
        let check = revision::judge(looks, protocol).unwrap();
        (check.mark, check.text, check.flag)
    };
    let (mark, text, _) = judged(&both, Protocol::Auto);
    assert_eq!(mark, Mark::Good);
    assert_eq!(
        text,
        "2025-11-25, and 2026-07-28 without a handshake; the server calls itself \
         \"de\\u{1b}pot\", version 1"
    );
    let (mark, text, _) = judged(&only_modern(), Protocol::Auto);
    assert_eq!(mark, Mark::Good);
    assert!(
        text.starts_with("2026-07-28") && text.contains("\"new\""),
        "{text}"
    );
    for (looks, protocol) in [
        (only_modern(), Protocol::Legacy),
        (legacy(), Protocol::Modern),
        (only_sse(), Protocol::Modern),
    ] {
        let (mark, text, flag) = judged(&looks, protocol);
        assert_eq!(mark, Mark::Bad, "{text}");
        assert_eq!(flag.as_deref(), Some("--protocol auto"));
    }
    assert_eq!(revision::judge(&only_sse(), Protocol::Auto), None);
    let unknown = INITIALIZED.replace("2025-11-25", "2025-12-24");
    let looks = looks(whole(200, &unknown), whole(404, ""), whole(405, ""));
    assert_eq!(judged(&looks, Protocol::Auto).0, Mark::Warning);
}
