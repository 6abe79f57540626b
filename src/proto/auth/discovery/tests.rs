//! The machine against servers that are tables: what is asked for, in which order, and what comes
//! of it.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::address::Reach;
use super::*;

const MCP: &str = "https://mcp.example/mcp";
const PRM: &str = "https://mcp.example/.well-known/oauth-protected-resource/mcp";
const ROOT_PRM: &str = "https://mcp.example/.well-known/oauth-protected-resource";
const OWN: &str = "https://mcp.example/.well-known/oauth-authorization-server";
const OWN_OPENID: &str = "https://mcp.example/.well-known/openid-configuration";
const OWN_PATH: &str = "https://mcp.example/.well-known/oauth-authorization-server/mcp";
const AS: &str = "https://as.example/.well-known/oauth-authorization-server";
const AS_OPENID: &str = "https://as.example/.well-known/openid-configuration";
const ISSUER: &str = "https://as.example";

/// What a table of documents answers; everything else is 404.
#[derive(Default)]
struct Web {
    answers: HashMap<String, Fetched>,
    asked: Vec<String>,
}

impl Web {
    fn json(mut self, url: &str, document: &Value) -> Self {
        self.answers.insert(url.into(), answer(200, document));
        self
    }

    fn status(mut self, url: &str, status: u16) -> Self {
        self.answers.insert(url.into(), answer(status, &json!({})));
        self
    }

    fn other(mut self, url: &str, fetched: Fetched) -> Self {
        self.answers.insert(url.into(), fetched);
        self
    }

    fn page(self, url: &str) -> Self {
        self.other(url, page())
    }

    fn run(&mut self, question: Question) -> Result<Discovered, Failure> {
        let mut discovery = Discovery::new(question);
        for _ in 0..100 {
            match discovery.step() {
                Step::Get(url) => {
                    assert!(matches!(discovery.step(), Step::Get(again) if again == url));
                    let fetched = self.answers.get(url.as_str()).cloned();
                    self.asked.push(url.into());
                    discovery.take(fetched.unwrap_or_else(|| answer(404, &json!({}))));
                }
                Step::Done(found) => {
                    discovery.take(answer(404, &json!({})));
                    assert!(matches!(discovery.step(), Step::Done(_)));
                    return Ok(*found);
                }
                Step::Failed(failure) => {
                    assert!(!failure.text.contains('\n'));
                    return Err(failure);
                }
            }
        }
        panic!("it never ends: {:?}", self.asked);
    }
}

fn answer(status: u16, document: &Value) -> Fetched {
    Fetched::Answer {
        status,
        body: document.to_string().into(),
    }
}

fn page() -> Fetched {
    Fetched::Answer {
        status: 200,
        body: Bytes::from_static(b"<!doctype html><title>Welcome</title>"),
    }
}

fn unreachable() -> Fetched {
    Fetched::Unreachable("the name cannot be resolved".into())
}

fn redirect() -> Fetched {
    Fetched::Refused(Failure::new(
        Kind::RedirectRefused,
        Executed::No,
        "it redirects to https://www.mcp.example/, which is not followed",
    ))
}

fn question_for(server: &str) -> Question {
    let server = Arc::new(Url::parse(server).unwrap());
    Question {
        policy: AddressPolicy {
            server: Arc::clone(&server),
            reach: Reach::Public,
            allow_private: false,
        },
        server,
        challenge: Challenge::default(),
        expected_issuer: None,
        preferred_issuers: Vec::new(),
        needs_registration: true,
        has_metadata_document: false,
    }
}

fn question() -> Question {
    question_for(MCP)
}

fn challenged(urls: &[&str]) -> Question {
    let mut question = question();
    question.challenge.resource_metadata = urls.iter().map(|&url| url.into()).collect();
    question
}

fn prm(servers: &[&str]) -> Value {
    json!({"resource": MCP, "authorization_servers": servers})
}

fn server(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/a"),
        "token_endpoint": format!("{issuer}/t"),
        "registration_endpoint": format!("{issuer}/r"),
    })
}

fn closed(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/a"),
        "token_endpoint": format!("{issuer}/t"),
    })
}

#[test]
fn a03_the_address_in_the_challenge_comes_first_and_suffices() {
    let custom = "https://mcp.example/custom/location.json?v=1";
    let mut web = Web::default()
        .json(custom, &prm(&[ISSUER]))
        .json(PRM, &prm(&["https://trap.example"]))
        .json(ROOT_PRM, &prm(&["https://trap.example"]))
        .json(AS, &server(ISSUER));
    let found = web.run(challenged(&[custom])).unwrap();
    assert_eq!(web.asked, [custom, AS]);
    assert_eq!(found.server.issuer, ISSUER);
    assert_eq!(found.resource.unwrap().resource, MCP);
}

#[test]
fn a03_each_address_is_tried_once_before_the_usual_ones() {
    let (dead, broken) = ("https://mcp.example/dead", "https://mcp.example/broken");
    let mut web = Web::default()
        .json(broken, &json!([1]))
        .json(ROOT_PRM, &prm(&[ISSUER]))
        .json(AS, &server(ISSUER));
    let urls = [dead, dead, broken, PRM, "http://mcp.example/plain"];
    let found = web.run(challenged(&urls)).unwrap();
    assert_eq!(web.asked, [dead, broken, PRM, ROOT_PRM, AS]);
    // What is not asked for is told.
    assert!(
        found.notes[0].contains("resource_metadata")
            && found.notes[0].contains("http://mcp.example/plain"),
        "{:?}",
        found.notes
    );
}

#[test]
fn a03_no_more_addresses_than_the_limit_are_tried() {
    let urls: Vec<_> = (0..1000)
        .map(|n| format!("https://mcp.example/{n}"))
        .collect();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let mut web = Web::default();
    let _ = web.run(challenged(&urls));
    let tried = web.asked.iter().filter(|url| urls.contains(&url.as_str()));
    assert_eq!(tried.count(), limits::CHALLENGES);
}

#[test]
fn a04_h17_the_path_comes_before_the_root() {
    let mut web = Web::default()
        .json(PRM, &prm(&[ISSUER]))
        .json(ROOT_PRM, &prm(&["https://trap.example"]))
        .json(AS, &server(ISSUER));
    web.run(question()).unwrap();
    assert_eq!(web.asked, [PRM, AS]);

    let root = json!({"resource": "https://mcp.example", "authorization_servers": [ISSUER]});
    let mut web = Web::default()
        .json(ROOT_PRM, &root)
        .json(AS, &server(ISSUER));
    let found = web.run(question()).unwrap();
    assert_eq!(web.asked, [PRM, ROOT_PRM, AS]);
    assert_eq!(found.resource.unwrap().resource, "https://mcp.example");

    let mut web = Web::default()
        .json(ROOT_PRM, &root)
        .json(AS, &server(ISSUER));
    web.run(question_for("https://mcp.example")).unwrap();
    assert_eq!(web.asked, [ROOT_PRM, AS]);
}

#[test]
fn a05_h38_paths_and_queries_keep_their_spelling() {
    const NAME: &str = "oauth-protected-resource";
    let cases = [
        ("https://h/a%2Fb/", "https://h/.well-known/NAME/a%2Fb"),
        ("https://h/a/b//", "https://h/.well-known/NAME/a/b/"),
        ("https://h//", "https://h/.well-known/NAME/"),
        ("https://h/", "https://h/.well-known/NAME"),
        ("https://h", "https://h/.well-known/NAME"),
        ("https://h/?q", "https://h/.well-known/NAME?q"),
        (
            "https://h/mcp?q=1&r=%2F",
            "https://h/.well-known/NAME/mcp?q=1&r=%2F",
        ),
        ("https://h/mcp#top", "https://h/.well-known/NAME/mcp"),
        (
            "https://[::1]:8080/mcp",
            "https://[::1]:8080/.well-known/NAME/mcp",
        ),
        (
            "https://EXAMPLE.com:443/Mcp",
            "https://example.com/.well-known/NAME/Mcp",
        ),
        ("https://u:p@h/mcp", "https://h/.well-known/NAME/mcp"),
        (
            "https://h/runtimes/arn%3Aaws%3Aagent%2Fx/invocations?qualifier=DEFAULT",
            "https://h/.well-known/NAME/runtimes/arn%3Aaws%3Aagent%2Fx/invocations?qualifier=DEFAULT",
        ),
    ];
    for (server, expected) in cases {
        let server = Url::parse(server).unwrap();
        let built = inserted(&server, NAME, server.query()).map(String::from);
        assert_eq!(built, Some(expected.replace("NAME", NAME)), "{server}");
    }
    for nested in [
        "https://h/.well-known/oauth-protected-resource/mcp",
        "https://h/x/.well-known",
    ] {
        let server = Url::parse(nested).unwrap();
        assert_eq!(inserted(&server, NAME, None), None);
        assert!(at_root(&server, NAME).is_some());
    }
}

proptest! {
    #[test]
    fn a05_whatever_the_address_nothing_but_the_name_is_put_in(
        host in "[a-zA-Z][a-zA-Z0-9-]{0,8}[a-z](\\.test)?|\\[::1\\]|192\\.0\\.2\\.7",
        port in prop::option::of(1_u16..),
        path in "(/([a-zA-Z0-9._~!$&'()*+,;=:@-]|%2[0-9A-F]|%[3-9A-F][0-9a-fA-F]){0,8}){0,4}/?",
        query in prop::option::of("[a-z0-9=&%/?]{0,12}"),
        fragment in prop::option::of("[a-z]{0,3}"),
    ) {
        let part = |before: &str, part: Option<String>| {
            part.map_or_else(String::new, |part| format!("{before}{part}"))
        };
        let text = format!(
            "https://{host}{}{path}{}{}",
            part(":", port.map(|port| port.to_string())),
            part("?", query),
            part("#", fragment),
        );
        let server = Url::parse(&text).unwrap();
        prop_assume!(!server.path().contains(".well-known"));

        let built = inserted(&server, "name", server.query()).unwrap();
        let own = server.path();
        prop_assert_eq!(built.origin(), server.origin());
        prop_assert_eq!(
            built.path(),
            format!("/.well-known/name{}", own.strip_suffix('/').unwrap_or(own))
        );
        prop_assert_eq!(built.query(), server.query());
        prop_assert_eq!(built.fragment(), None);

        for document in server_documents(&text) {
            prop_assert_eq!(document.origin(), server.origin());
            prop_assert_eq!(document.path().matches(".well-known").count(), 1);
            prop_assert_eq!(document.query(), None);
        }
    }
}

#[test]
fn a06_an_outage_never_looks_like_a_server_without_metadata() {
    for trouble in [
        answer(503, &json!({})),
        answer(500, &json!({})),
        answer(429, &json!({})),
        answer(408, &json!({})),
        unreachable(),
    ] {
        for place in [PRM, ROOT_PRM] {
            let mut web = Web::default()
                .other(place, trouble.clone())
                .json(OWN, &server("https://mcp.example"));
            let failure = web.run(question()).unwrap_err();
            assert_eq!(failure.kind, Kind::DiscoveryUnreachable, "{trouble:?}");
            assert_eq!(web.asked, [PRM, ROOT_PRM]);
        }
    }
}

#[test]
fn a06_an_outage_outweighs_a_defect() {
    let mut web = Web::default().json(PRM, &json!([])).status(ROOT_PRM, 502);
    assert_eq!(
        web.run(question()).unwrap_err().kind,
        Kind::DiscoveryUnreachable
    );
}

#[test]
fn a06_candidates_and_outcomes_are_listed() {
    let mut web = Web::default()
        .status(&format!("{PRM}?key=canary"), 503)
        .page(ROOT_PRM);
    let question = question_for("https://mcp.example/mcp?key=canary");
    let text = web.run(question).unwrap_err().text;
    assert!(
        text.contains(&format!("GET {PRM}: HTTP 503; GET {ROOT_PRM}: a web page")),
        "{text}"
    );
    assert!(!text.contains("canary"), "{text}");

    let mut web = Web::default()
        .status(PRM, 503)
        .other(ROOT_PRM, unreachable());
    let text = web.run(self::question()).unwrap_err().text;
    assert!(
        text.contains(&format!(
            "GET {PRM}: HTTP 503; GET {ROOT_PRM}: the name cannot be resolved"
        )),
        "{text}"
    );
}

#[test]
fn a06_the_list_in_an_error_has_an_end() {
    let long = "x".repeat(5000);
    let urls: Vec<_> = (0..16)
        .map(|n| format!("https://mcp.example/{n}{long}"))
        .collect();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let mut web = Web::default().other(PRM, Fetched::Unreachable(long.clone()));
    let text = web.run(challenged(&urls)).unwrap_err().text;
    assert!(text.contains("; 10 more"), "{text}");
    assert!(text.chars().count() < LISTED * 150 + 200, "{text}");
}

#[test]
fn a06_what_is_absent_or_broken_leads_to_the_next_place() {
    for first in [400, 401, 403, 404, 405, 406, 410, 451, 204, 302] {
        let mut web = Web::default()
            .status(PRM, first)
            .json(ROOT_PRM, &prm(&[ISSUER]))
            .json(AS, &server(ISSUER));
        assert!(web.run(question()).is_ok(), "{first}");
        assert_eq!(web.asked, [PRM, ROOT_PRM, AS]);
    }
    let broken = [
        Fetched::Answer {
            status: 200,
            body: Bytes::from_static(b"{\"resource\""),
        },
        Fetched::Refused(Failure::new(Kind::LimitExceeded, Executed::No, "too much")),
        redirect(),
        answer(
            200,
            &json!({"authorization_servers": ["https://trap.example"]}),
        ),
    ];
    for first in broken {
        let mut web = Web::default()
            .other(PRM, first)
            .json(ROOT_PRM, &prm(&[ISSUER]))
            .json(AS, &server(ISSUER));
        assert!(web.run(question()).is_ok());
        assert_eq!(web.asked, [PRM, ROOT_PRM, AS]);
    }
}

#[test]
fn a07_metadata_of_another_resource_ends_the_search() {
    let other = json!({"resource": "https://evil.example/mcp", "authorization_servers": [ISSUER]});
    let mut web = Web::default()
        .json(PRM, &other)
        .json(ROOT_PRM, &prm(&[ISSUER]))
        .json(AS, &server(ISSUER));
    let failure = web.run(question()).unwrap_err();
    assert_eq!(failure.kind, Kind::ResourceMismatch);
    assert!(
        failure.text.contains("https://evil.example/mcp") && failure.text.contains(MCP),
        "{}",
        failure.text
    );
    assert_eq!(web.asked, [PRM]);
}

#[test]
fn a07_h13_the_challenge_may_name_metadata_of_another_path_of_the_server() {
    let place = "https://mcp.example/.well-known/oauth-protected-resource/api";
    let document =
        |resource: &str| json!({"resource": resource, "authorization_servers": [ISSUER]});
    let mut web = Web::default()
        .json(place, &document("https://mcp.example/"))
        .json(AS, &server(ISSUER));
    assert!(web.run(challenged(&[place])).is_ok());
    let mut web = Web::default().json(place, &document("https://mcp.example/api"));
    assert_eq!(
        web.run(challenged(&[place])).unwrap_err().kind,
        Kind::ResourceMismatch
    );
}

#[test]
fn a08_without_authorization_servers_the_own_origin_is_asked() {
    let mut web = Web::default()
        .json(PRM, &json!({ "resource": MCP }))
        .json(OWN_OPENID, &server("https://mcp.example"));
    let found = web.run(question()).unwrap();
    assert_eq!(web.asked, [PRM, OWN, OWN_OPENID]);
    assert!(found.resource.is_some());
    // The default endpoints are for servers without any metadata.
    let mut web = Web::default().json(PRM, &json!({ "resource": MCP }));
    assert_eq!(web.run(question()).unwrap_err().kind, Kind::DiscoveryFailed);
    assert_eq!(web.asked, [PRM, OWN, OWN_OPENID]);
}

#[test]
fn a08_a_list_without_a_usable_entry_ends_the_search() {
    for servers in [json!([]), json!(ISSUER), json!(["http://as.example"])] {
        let document = json!({"resource": MCP, "authorization_servers": servers});
        let mut web = Web::default()
            .json(PRM, &document)
            .json(OWN, &server("https://mcp.example"));
        let failure = web.run(question()).unwrap_err();
        assert!(
            failure.text.contains("authorization_servers"),
            "{}",
            failure.text
        );
        assert_eq!(web.asked, [PRM]);
    }
}

/// Three authorization servers; the first registers nobody.
fn three() -> Web {
    Web::default()
        .json(
            PRM,
            &prm(&[
                "https://a.example",
                "https://b.example",
                "https://c.example/t",
            ]),
        )
        .json(
            "https://a.example/.well-known/oauth-authorization-server",
            &closed("https://a.example"),
        )
        .json(
            "https://b.example/.well-known/oauth-authorization-server",
            &server("https://b.example"),
        )
        .json(
            "https://c.example/.well-known/oauth-authorization-server/t",
            &server("https://c.example/t"),
        )
}

#[test]
fn a09_the_first_that_registers_clients_is_taken() {
    let found = three().run(question()).unwrap();
    assert_eq!(found.server.issuer, "https://b.example");
    assert!(
        found.notes[0].contains("https://a.example")
            && found.notes[1].contains("https://b.example is used"),
        "{:?}",
        found.notes
    );
    // With a client at hand the list's order stands.
    let mut given = question();
    given.needs_registration = false;
    assert_eq!(
        three().run(given).unwrap().server.issuer,
        "https://a.example"
    );
    // A metadata document counts where the server takes one.
    let mut document = closed("https://a.example");
    document["client_id_metadata_document_supported"] = json!(true);
    for (has, issuer) in [(true, "https://a.example"), (false, "https://b.example")] {
        let mut web = three().json(
            "https://a.example/.well-known/oauth-authorization-server",
            &document,
        );
        let mut question = question();
        question.has_metadata_document = has;
        assert_eq!(web.run(question).unwrap().server.issuer, issuer);
    }
}

#[test]
fn a09_configured_then_stored_issuers_come_first() {
    let issuer = |expected: Option<&str>, preferred: &[&str]| {
        let mut question = question();
        question.expected_issuer = expected.map(str::to_owned);
        question.preferred_issuers = preferred.iter().map(|&issuer| issuer.into()).collect();
        three().run(question).unwrap().server.issuer
    };
    let (a, b, c) = (
        "https://a.example",
        "https://b.example",
        "https://c.example/t",
    );
    assert_eq!(issuer(None, &[c]), c);
    assert_eq!(issuer(None, &[c, b]), c);
    assert_eq!(issuer(None, &["https://gone.example", b, c]), b);
    // There is a client already, so it does not matter that none can be registered.
    assert_eq!(issuer(None, &["https://a.example/"]), a);
    assert_eq!(issuer(Some(b), &[c]), b);
    assert_eq!(issuer(Some(a), &[]), a);
}

#[test]
fn a09_a_closed_server_is_still_better_than_none() {
    let mut web = Web::default()
        .json(PRM, &prm(&["https://a.example", "https://b.example"]))
        .json(
            "https://a.example/.well-known/oauth-authorization-server",
            &closed("https://a.example"),
        )
        .status(
            "https://b.example/.well-known/oauth-authorization-server",
            500,
        );
    let found = web.run(question()).unwrap();
    assert_eq!(found.server.issuer, "https://a.example");
    assert!(found.notes.iter().any(|note| note.contains("b.example")));
}

#[test]
fn a09_servers_whose_metadata_is_unusable_are_passed_over_by_name() {
    let mut web = three()
        .json(
            "https://a.example/.well-known/oauth-authorization-server",
            &server("https://evil.example"),
        )
        .status(
            "https://b.example/.well-known/oauth-authorization-server",
            503,
        );
    let found = web.run(question()).unwrap();
    assert_eq!(found.server.issuer, "https://c.example/t");
    let notes = found.notes.join("\n");
    for part in ["a.example", "evil.example", "b.example", "HTTP 503"] {
        assert!(notes.contains(part), "{notes}");
    }
}

#[test]
fn a09_an_outage_of_the_known_server_is_no_reason_to_go_elsewhere() {
    let down = "https://c.example/.well-known/oauth-authorization-server/t";
    let mut known = question();
    known.preferred_issuers = vec!["https://c.example/t".into()];
    let mut web = three().status(down, 503);
    let failure = web.run(known.clone()).unwrap_err();
    assert_eq!(failure.kind, Kind::DiscoveryUnreachable);
    assert!(web.asked.iter().all(|url| !url.contains("b.example")));
    // Once it is really gone, it is.
    let mut web = three().status(down, 404);
    assert_eq!(web.run(known).unwrap().server.issuer, "https://b.example");
}

#[test]
fn a09_no_more_servers_than_the_limit_are_asked() {
    let many: Vec<_> = (0..100)
        .map(|n| format!("https://as{n}.example/t"))
        .collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let mut web = Web::default().json(PRM, &prm(&many));
    assert_eq!(web.run(question()).unwrap_err().kind, Kind::DiscoveryFailed);
    assert_eq!(web.asked.len(), 1 + 3 * limits::AUTHORIZATION_SERVERS);
}

#[test]
fn a10_h02_an_issuer_with_a_path_has_three_places_and_not_the_root() {
    let places = [
        "https://as.example/.well-known/oauth-authorization-server/tenant/v2.0",
        "https://as.example/.well-known/openid-configuration/tenant/v2.0",
        "https://as.example/tenant/v2.0/.well-known/openid-configuration",
    ];
    let issuer = "https://as.example/tenant/v2.0";
    for (last, place) in places.iter().enumerate() {
        let mut web = Web::default()
            .json(PRM, &prm(&[issuer]))
            .json(AS, &server(issuer))
            .json(place, &server(issuer));
        assert_eq!(web.run(question()).unwrap().server.issuer, issuer);
        assert_eq!(web.asked[1..], places[..=last]);
    }
    let mut web = Web::default()
        .json(PRM, &prm(&[issuer]))
        .json(AS, &server(issuer))
        .json(AS_OPENID, &server(issuer));
    assert_eq!(web.run(question()).unwrap_err().kind, Kind::DiscoveryFailed);
    assert_eq!(web.asked[1..], places);
}

#[test]
fn a10_a_slash_at_the_end_of_an_issuers_path_is_not_doubled() {
    let documents: Vec<_> = server_documents("https://as.example/t/").into();
    assert_eq!(
        documents.iter().map(Url::as_str).collect::<Vec<_>>(),
        [
            "https://as.example/.well-known/oauth-authorization-server/t",
            "https://as.example/.well-known/openid-configuration/t",
            "https://as.example/t/.well-known/openid-configuration",
        ]
    );
}

#[test]
fn a11_h18_an_issuer_without_a_path_has_two_places() {
    for issuer in [ISSUER, "https://as.example/"] {
        let mut web = Web::default()
            .json(PRM, &prm(&[issuer]))
            .json(AS_OPENID, &server(issuer));
        assert_eq!(web.run(question()).unwrap().server.issuer, issuer);
        assert_eq!(web.asked, [PRM, AS, AS_OPENID]);
    }
}

#[test]
fn a12_a_bad_document_is_passed_over_and_never_used() {
    let bad = [
        answer(200, &server("https://evil.example")),
        answer(
            200,
            &json!({"issuer": ISSUER, "token_endpoint": "http://as.example/t"}),
        ),
        answer(200, &json!([])),
        answer(502, &json!({})),
        redirect(),
        unreachable(),
    ];
    for bad in bad {
        let mut web = Web::default()
            .json(PRM, &prm(&[ISSUER]))
            .other(AS, bad)
            .json(AS_OPENID, &server(ISSUER));
        let found = web.run(question()).unwrap();
        assert_eq!(web.asked, [PRM, AS, AS_OPENID]);
        assert_eq!(
            found.server.token_endpoint.unwrap().as_str(),
            "https://as.example/t"
        );
    }
}

#[test]
fn a12_the_gravest_reason_is_reported_and_no_default_is_used() {
    let wrong = answer(200, &server("https://evil.example"));
    let broken = answer(200, &json!({"issuer": ISSUER, "token_endpoint": 1}));
    let down = answer(503, &json!({}));
    let none = answer(404, &json!({}));
    for (first, second, kind) in [
        (&broken, &wrong, Kind::IssuerMismatch),
        (&down, &wrong, Kind::IssuerMismatch),
        (&wrong, &wrong, Kind::IssuerMismatch),
        (&down, &broken, Kind::MetadataInvalid),
        (&none, &broken, Kind::MetadataInvalid),
        (&none, &down, Kind::DiscoveryUnreachable),
        (&none, &none, Kind::DiscoveryFailed),
    ] {
        let mut web = Web::default()
            .json(PRM, &prm(&[ISSUER]))
            .other(AS, first.clone())
            .other(AS_OPENID, second.clone())
            .json(OWN, &server("https://mcp.example"));
        let failure = web.run(question()).unwrap_err();
        assert_eq!(failure.kind, kind);
        assert_eq!(web.asked, [PRM, AS, AS_OPENID]);
        assert!(
            failure.text.contains(&format!("GET {AS}: ")),
            "{}",
            failure.text
        );
    }
}

#[test]
fn a12_trouble_that_was_got_over_is_not_blamed() {
    for trouble in [answer(200, &json!([])), redirect(), unreachable()] {
        let mut web = Web::default()
            .other(PRM, trouble)
            .json(ROOT_PRM, &prm(&[ISSUER]));
        let failure = web.run(question()).unwrap_err();
        assert_eq!(failure.kind, Kind::DiscoveryFailed);
        assert!(!failure.text.contains(PRM), "{}", failure.text);
    }
}

#[test]
fn a13_h14_the_pinned_issuer_is_taken_and_no_other() {
    let named = "https://auth.example/id-1";
    let place = "https://auth.example/.well-known/oauth-authorization-server/id-1";
    let web = || {
        Web::default()
            .json(PRM, &prm(&[named]))
            .json(place, &server("https://auth.example"))
    };
    let pinned = |issuer: &str| Question {
        expected_issuer: Some(issuer.into()),
        ..question()
    };
    let failure = web().run(question()).unwrap_err();
    assert_eq!(failure.kind, Kind::IssuerMismatch);
    assert!(
        failure
            .text
            .contains("add --expect-issuer https://auth.example"),
        "{}",
        failure.text
    );
    let found = web().run(pinned("https://auth.example")).unwrap();
    assert_eq!(found.server.issuer, "https://auth.example");
    assert_eq!(
        web().run(pinned("https://third.example")).unwrap_err().kind,
        Kind::IssuerMismatch
    );
    // It is the user's choice, whether or not it registers clients.
    let mut web = Web::default()
        .json(PRM, &prm(&[named, ISSUER]))
        .json(place, &closed("https://auth.example"));
    assert!(web.run(pinned("https://auth.example")).is_ok());
    assert_eq!(web.asked, [PRM, place]);
    // The option names the only issuer: one that is right by itself will not do either.
    let mut web = Web::default()
        .json(PRM, &prm(&[ISSUER]))
        .json(AS, &server(ISSUER));
    assert_eq!(
        web.run(pinned("https://auth.example")).unwrap_err().kind,
        Kind::IssuerMismatch
    );
}

#[test]
fn a13_h10_a_slash_more_or_less_without_a_path_is_the_same_issuer() {
    let mut web = Web::default()
        .json(PRM, &prm(&["https://as.example/"]))
        .json(AS, &server(ISSUER));
    // The document's spelling is what the response is compared with later.
    assert_eq!(web.run(question()).unwrap().server.issuer, ISSUER);
}

#[test]
fn a15_h17_servers_without_resource_metadata_are_asked_at_their_origin() {
    let places = [PRM, ROOT_PRM, OWN, OWN_OPENID, OWN_PATH];
    for (last, place) in places.iter().enumerate().skip(2) {
        let mut web = Web::default().json(place, &server("https://mcp.example"));
        let found = web.run(question()).unwrap();
        assert_eq!(web.asked, places[..=last]);
        assert_eq!(found.resource, None);
        assert!(!found.server.assumed);
        assert!(found.notes[0].contains("2025-03-26"), "{:?}", found.notes);
    }
    // Pages and logins that servers show for addresses they do not know are no metadata.
    let mut web = Web::default()
        .page(PRM)
        .other(ROOT_PRM, redirect())
        .json(OWN, &server("https://mcp.example"));
    assert!(web.run(question()).is_ok());
}

#[test]
fn a15_there_the_issuer_may_be_any_address_of_the_origin_and_no_other() {
    for issuer in [
        "https://mcp.example",
        "https://mcp.example/",
        "https://mcp.example/oauth",
        "https://mcp.example/mcp",
    ] {
        let mut web = Web::default().json(OWN, &server(issuer));
        assert_eq!(web.run(question()).unwrap().server.issuer, issuer);
    }
    for issuer in [
        "https://auth.mcp.example",
        "https://mcp.example:8443",
        "http://mcp.example",
        "https://mcp.example?x",
        "https://user@mcp.example",
        "mcp.example",
    ] {
        let mut web = Web::default().json(OWN, &server(issuer));
        let failure = web.run(question()).unwrap_err();
        assert_eq!(failure.kind, Kind::IssuerMismatch, "{issuer}");
        assert_eq!(web.asked, [PRM, ROOT_PRM, OWN, OWN_OPENID, OWN_PATH]);
    }
    // Where resource metadata names the issuer, nothing but that will do.
    let mut web = Web::default()
        .json(PRM, &prm(&["https://mcp.example"]))
        .json(OWN, &server("https://mcp.example/oauth"));
    assert_eq!(web.run(question()).unwrap_err().kind, Kind::IssuerMismatch);
    // Nor does it loosen what the user demands.
    let mut web = Web::default().json(OWN, &server("https://mcp.example/oauth"));
    let failure = web.run(Question {
        expected_issuer: Some("https://as.example".into()),
        ..question()
    });
    assert_eq!(failure.unwrap_err().kind, Kind::IssuerMismatch);
}

#[test]
fn a15_unusable_resource_metadata_is_no_reason_for_older_rules() {
    let broken = [
        answer(200, &json!({})),
        answer(200, &json!("x")),
        Fetched::Refused(Failure::new(Kind::LimitExceeded, Executed::No, "too much")),
    ];
    for (broken, kind) in broken.into_iter().zip([
        Kind::MetadataInvalid,
        Kind::MetadataInvalid,
        Kind::LimitExceeded,
    ]) {
        let mut web = Web::default()
            .other(PRM, broken)
            .json(OWN, &server("https://mcp.example"));
        assert_eq!(web.run(question()).unwrap_err().kind, kind);
        assert_eq!(web.asked, [PRM, ROOT_PRM]);
    }
}

#[test]
fn a16_default_endpoints_only_where_everything_is_absent() {
    let mut web = Web::default().status(ROOT_PRM, 405).status(OWN, 401);
    let found = web.run(question()).unwrap();
    assert_eq!(web.asked, [PRM, ROOT_PRM, OWN, OWN_OPENID, OWN_PATH]);
    assert!(found.server.assumed && found.resource.is_none());
    assert_eq!(
        found.server.registration_endpoint.unwrap().as_str(),
        "https://mcp.example/register"
    );
    for (trouble, kind) in [
        (answer(503, &json!({})), Kind::DiscoveryUnreachable),
        (unreachable(), Kind::DiscoveryUnreachable),
        (answer(200, &json!([])), Kind::MetadataInvalid),
        (redirect(), Kind::RedirectRefused),
        (answer(204, &json!({})), Kind::DiscoveryFailed),
        (page(), Kind::DiscoveryFailed),
    ] {
        for place in [OWN, OWN_OPENID, OWN_PATH] {
            let mut web = Web::default().other(place, trouble.clone());
            assert_eq!(web.run(question()).unwrap_err().kind, kind, "{place}");
        }
    }
    let mut web = Web::default().page(PRM);
    let failure = web.run(question()).unwrap_err();
    assert_eq!(failure.kind, Kind::DiscoveryFailed);
    let mut web = Web::default().other(PRM, redirect());
    let failure = web.run(question()).unwrap_err();
    assert_eq!(failure.kind, Kind::RedirectRefused);
    assert!(failure.text.contains("www.mcp.example"), "{}", failure.text);
}

#[test]
fn a16_resource_metadata_rules_the_default_endpoints_out() {
    let mut web = Web::default().json(PRM, &prm(&["https://mcp.example"]));
    assert_eq!(web.run(question()).unwrap_err().kind, Kind::DiscoveryFailed);
    assert_eq!(web.asked, [PRM, OWN, OWN_OPENID]);
}

#[test]
fn a16_default_endpoints_heed_the_pinned_issuer() {
    let run = |expected: &str| {
        Web::default().run(Question {
            expected_issuer: Some(expected.into()),
            ..question()
        })
    };
    assert!(run("https://mcp.example/").unwrap().server.assumed);
    let failure = run("https://as.example").unwrap_err();
    assert_eq!(failure.kind, Kind::IssuerMismatch);
}

#[test]
fn a18_a_gateway_before_the_authorization_server_gets_a_hint() {
    for status in [401, 403] {
        let mut web = Web::default()
            .json(PRM, &prm(&[ISSUER]))
            .status(AS, status)
            .status(AS_OPENID, status);
        let failure = web.run(question()).unwrap_err();
        assert_eq!(failure.kind, Kind::DiscoveryFailed);
        assert!(
            failure
                .text
                .contains("headers of --header go to the server"),
            "{}",
            failure.text
        );
    }
    let mut web = Web::default().json(PRM, &prm(&[ISSUER]));
    let text = web.run(question()).unwrap_err().text;
    assert!(!text.contains("headers of --header"), "{text}");
}

#[test]
fn a21_a_document_never_leads_into_a_private_network() {
    let mut web = Web::default().json(
        PRM,
        &prm(&["https://192.168.0.1", "https://169.254.169.254/x"]),
    );
    let failure = web.run(question()).unwrap_err();
    assert_eq!(failure.kind, Kind::BlockedAddress);
    assert_eq!(web.asked, [PRM]);

    let mut web = Web::default();
    let _ = web.run(challenged(&["https://10.0.0.1/x", "http://localhost/x"]));
    assert_eq!(web.asked[..2], [PRM, ROOT_PRM]);

    // The server's own network is another matter.
    let mut inner = question();
    inner.policy.reach = Reach::Private;
    let mut web = Web::default()
        .json(PRM, &prm(&["https://192.168.0.1"]))
        .json(
            "https://192.168.0.1/.well-known/oauth-authorization-server",
            &server("https://192.168.0.1"),
        );
    assert!(web.run(inner).is_ok());
}

#[test]
fn a26_the_issuer_that_is_found_is_told_whatever_was_known() {
    let mut known = question();
    known.preferred_issuers = vec!["https://old.example".into()];
    let mut web = Web::default()
        .json(PRM, &prm(&[ISSUER]))
        .json(AS, &server(ISSUER));
    assert_eq!(web.run(known).unwrap().server.issuer, ISSUER);
    assert!(web.asked.iter().all(|url| !url.contains("old.example")));
}

proptest! {
    /// Whatever the answers, it ends soon, and nothing but what was named is asked.
    #[test]
    fn it_always_ends(answers in prop::collection::vec(0_usize..9, 40), listed in 0_usize..20) {
        let servers: Vec<_> = (0..listed).map(|n| format!("https://as{n}.example/t")).collect();
        let servers: Vec<_> = servers.iter().map(String::as_str).collect();
        let mut discovery = Discovery::new(challenged(&["https://mcp.example/x"]));
        let mut steps = 0;
        while let Step::Get(url) = discovery.step() {
            let host = url.host_str().unwrap().to_owned();
            prop_assert!(host == "mcp.example" || host.starts_with("as"));
            let issuer = format!("https://{host}/t");
            discovery.take(match answers[steps % answers.len()] {
                0 => answer(200, &prm(&servers)),
                1 => answer(200, &server(&issuer)),
                2 => answer(200, &closed(&issuer)),
                3 => answer(503, &json!({})),
                4 => redirect(),
                5 => unreachable(),
                6 => answer(200, &json!({"resource": MCP})),
                _ => answer(404, &json!({})),
            });
            steps += 1;
            prop_assert!(steps <= 3 + 3 * limits::AUTHORIZATION_SERVERS);
        }
    }
}
