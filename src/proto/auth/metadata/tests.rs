//! Documents as servers publish them, and as they must not be believed.

use std::sync::Arc;

use serde_json::json;

use super::super::address::Reach;
use super::*;

const SERVER: &str = "https://mcp.example/mcp";
const ISSUER: &str = "https://as.example";

fn policy() -> AddressPolicy {
    AddressPolicy {
        server: Arc::new(Url::parse(SERVER).unwrap()),
        reach: Reach::Public,
        allow_private: false,
    }
}

fn resource(document: &Value) -> Result<ResourceMetadata, Failure> {
    resource_of(document, SERVER)
}

fn resource_of(document: &Value, server: &str) -> Result<ResourceMetadata, Failure> {
    let server = Url::parse(server).unwrap();
    ResourceMetadata::read(document.to_string().as_bytes(), &server, &policy())
}

fn server(document: &Value) -> Result<ServerMetadata, Failure> {
    ServerMetadata::read(document.to_string().as_bytes(), &[ISSUER], &policy())
}

fn with(mut document: Value, field: &str, value: Value) -> Value {
    document[field] = value;
    document
}

/// Enough for the code flow.
fn good() -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": "https://login.example/authorize?tenant=1",
        "token_endpoint": "https://as.example/token",
        "code_challenge_methods_supported": ["plain", "S256"],
    })
}

#[test]
fn a07_resource_must_be_the_server_or_above_it() {
    let same = [
        ("https://h/mcp", "https://h/mcp"),
        ("https://h/mcp/", "https://h/mcp"),
        ("https://h/mcp", "https://h/mcp/"),
        ("HTTPS://H:443/mcp", "https://h/mcp"),
        ("https://h", "https://h/mcp"),
        ("https://h/", "https://h/a/b/c?x=1"),
        ("https://h/a", "https://h/a/b"),
        ("https://h/a/", "https://h/a/b"),
        ("https://h/a%2Fb", "https://h/a%2Fb/c"),
        ("https://h/mcp?q=1", "https://h/mcp?q=1"),
        ("https://h/mcp", "https://h/mcp?q=1"),
        ("http://h:8080/mcp", "http://h:8080/mcp"),
    ];
    let others = [
        ("https://evil.example/mcp", "https://h/mcp"),
        ("https://h.evil.example/mcp", "https://h/mcp"),
        ("http://h/mcp", "https://h/mcp"),
        ("https://h:8443/mcp", "https://h/mcp"),
        ("https://h/mcp", "https://h/mcp-other"),
        ("https://h/mcp-other", "https://h/mcp"),
        ("https://h/mcp/deeper", "https://h/mcp"),
        ("https://h/MCP", "https://h/mcp"),
        ("https://h/a/b", "https://h/a%2Fb"),
        ("https://h/mcp?q=2", "https://h/mcp?q=1"),
        ("https://h/mcp?q=1", "https://h/mcp"),
        ("https://h?q=1", "https://h/mcp?q=1"),
        ("https://h/mcp#x", "https://h/mcp"),
        ("https://user@h/mcp", "https://h/mcp"),
        ("/mcp", "https://h/mcp"),
        ("", "https://h/mcp"),
        ("api://h/mcp", "https://h/mcp"),
        ("urn:x", "https://h/mcp"),
    ];
    for (resource, server) in same {
        let read = resource_of(&json!({ "resource": resource }), server);
        // Byte for byte, as it will be sent.
        assert_eq!(read.unwrap().resource, resource, "{server}");
    }
    for (resource, server) in others {
        let failure = resource_of(&json!({ "resource": resource }), server).unwrap_err();
        assert_eq!(
            failure.kind,
            Kind::ResourceMismatch,
            "{resource} for {server}"
        );
    }
}

#[test]
fn a07_both_values_are_named_and_nothing_secret() {
    let document = json!({"resource": "https://evil.example/\u{1b}mcp?key=canary"});
    let text = resource_of(&document, "https://mcp.example/mcp?key=canary")
        .unwrap_err()
        .text;
    for part in ["https://evil.example/\\u{1b}mcp", "https://mcp.example/mcp"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("canary"), "{text}");
}

#[test]
fn a07_a_document_without_resource_is_no_use() {
    for document in [
        json!({"authorization_servers": [ISSUER]}),
        json!({"resource": 1}),
        json!({"resource": [SERVER]}),
        json!({"resource": null}),
        json!([SERVER]),
        json!("x"),
    ] {
        let failure = resource(&document).unwrap_err();
        assert_eq!(failure.kind, Kind::MetadataInvalid, "{document}");
    }
}

#[test]
fn a08_authorization_servers_are_read_or_refused() {
    let read = |value| resource(&json!({"resource": SERVER, "authorization_servers": value}));
    let kind = |value| read(value).unwrap_err().kind;
    assert_eq!(
        resource(&json!({ "resource": SERVER }))
            .unwrap()
            .authorization_servers,
        None
    );
    assert_eq!(read(Value::Null).unwrap().authorization_servers, None);
    for value in [json!([]), json!(ISSUER), json!({}), json!([1]), json!([""])] {
        let failure = read(value).unwrap_err();
        assert_eq!(failure.kind, Kind::MetadataInvalid);
        assert!(
            failure.text.contains("authorization_servers"),
            "{}",
            failure.text
        );
    }
    assert_eq!(
        kind(json!(["https://as.example?x=1"])),
        Kind::MetadataInvalid
    );
    assert_eq!(kind(json!(["https://as.example#x"])), Kind::MetadataInvalid);
    assert_eq!(kind(json!(["http://as.example"])), Kind::InsecureUrl);
    assert_eq!(kind(json!(["https://192.168.0.1"])), Kind::BlockedAddress);
    assert_eq!(kind(json!(["http://localhost:8080"])), Kind::BlockedAddress);

    let mixed = json!({"resource": SERVER, "authorization_servers": ["http://bad.example/?s=canary", "https://As.example/T/"]});
    let (read, notes) = ResourceMetadata::examine(
        mixed.to_string().as_bytes(),
        &Url::parse(SERVER).unwrap(),
        &policy(),
    )
    .unwrap();
    assert_eq!(
        read.authorization_servers,
        Some(vec!["https://As.example/T/".to_owned()])
    );
    assert!(
        notes.len() == 1 && notes[0].contains("bad.example") && !notes[0].contains("canary"),
        "{notes:?}"
    );
}

#[test]
fn a09_a_flood_of_authorization_servers_is_cut() {
    let many: Vec<_> = (0..10_000)
        .map(|n| format!("https://as{n}.example"))
        .collect();
    let document = json!({"resource": SERVER, "authorization_servers": many}).to_string();
    let server = Url::parse(SERVER).unwrap();
    let (read, notes) = ResourceMetadata::examine(document.as_bytes(), &server, &policy()).unwrap();
    let kept = read.authorization_servers.unwrap();
    assert_eq!(kept, many[..limits::AUTHORIZATION_SERVERS]);
    assert_eq!(notes.len(), 1);
    let bad = json!({"resource": SERVER, "authorization_servers": vec![1; 10_000]}).to_string();
    assert!(ResourceMetadata::read(bad.as_bytes(), &server, &policy()).is_err());
}

#[test]
fn a29_what_the_resource_demands_is_heeded() {
    let read = |field, value| resource(&with(json!({ "resource": SERVER }), field, value));
    for value in [json!(["header"]), json!(["body", "header"]), json!("body")] {
        assert!(read("bearer_methods_supported", value).is_ok());
    }
    for value in [json!([]), json!(["body", "query"])] {
        let failure = read("bearer_methods_supported", value).unwrap_err();
        assert_eq!(failure.kind, Kind::MetadataInvalid);
        assert!(
            failure.text.contains("bearer_methods_supported"),
            "{}",
            failure.text
        );
    }
    let required = |value| {
        read("dpop_bound_access_tokens_required", value)
            .unwrap()
            .dpop_required
    };
    assert!(required(json!(true)));
    assert!(!required(json!(false)) && !required(json!("true")) && !required(Value::Null));
}

#[test]
fn a30_signed_values_are_not_looked_at() {
    // {"resource":"https://evil.example","scopes_supported":["evil"]}, unsigned.
    let signed = "eyJhbGciOiJub25lIn0.eyJyZXNvdXJjZSI6Imh0dHBzOi8vZXZpbC5leGFtcGxlIiwic2NvcGVzX3N1cHBvcnRlZCI6WyJldmlsIl19.";
    let document =
        json!({"resource": SERVER, "scopes_supported": ["good"], "signed_metadata": signed});
    let read = resource(&document).unwrap();
    assert_eq!(read.resource, SERVER);
    assert_eq!(read.scopes_supported, Some(vec!["good".to_owned()]));
}

#[test]
fn a13_h10_h18_the_issuer_is_compared_as_text() {
    let equal = [
        ("https://as.example", "https://as.example"),
        ("https://as.example/", "https://as.example"),
        ("https://as.example", "https://as.example/"),
        ("https://t.example/", "https://t.example/"),
        ("https://as.example:8443/", "https://as.example:8443"),
        ("https://as.example/t/", "https://as.example/t/"),
    ];
    let different = [
        ("https://as.example/t/", "https://as.example/t"),
        ("https://as.example/t", "https://as.example/t/"),
        ("https://as.example//", "https://as.example"),
        ("https://AS.example", "https://as.example"),
        ("HTTPS://as.example", "https://as.example"),
        ("https://as.example:443", "https://as.example"),
        ("http://as.example", "https://as.example"),
        ("https://as.example/%61", "https://as.example/a"),
        ("https://as.example?/", "https://as.example?"),
        ("https://as.example#/", "https://as.example#"),
        ("https://as.example ", "https://as.example"),
        ("", "https://as.example"),
        ("/", ""),
    ];
    for (one, other) in equal {
        assert!(same_issuer(one, other), "{one} {other}");
        let document = with(good(), "issuer", json!(one)).to_string();
        let read = ServerMetadata::read(document.as_bytes(), &[other], &policy()).unwrap();
        // What the document says is what counts from now on.
        assert_eq!(read.issuer, one);
    }
    for (one, other) in different {
        assert!(!same_issuer(one, other), "{one} {other}");
        let document = with(good(), "issuer", json!(one)).to_string();
        let failure = ServerMetadata::read(document.as_bytes(), &[other], &policy()).unwrap_err();
        assert_eq!(failure.kind, Kind::IssuerMismatch, "{one} {other}");
    }
}

#[test]
fn a13_h14_h16_a_refused_issuer_comes_with_the_option_ready_to_paste() {
    let document = with(good(), "issuer", json!("https://auth.example")).to_string();
    let read = |accepted: &[&str]| ServerMetadata::read(document.as_bytes(), accepted, &policy());
    let text = read(&["https://auth.example/id-1"]).unwrap_err().text;
    assert!(
        text.contains("issuer https://auth.example where https://auth.example/id-1 was expected")
            && text.ends_with("--expect-issuer https://auth.example"),
        "{text}"
    );
    assert_eq!(
        read(&["https://auth.example/id-1", "https://auth.example"])
            .unwrap()
            .issuer,
        "https://auth.example"
    );
    assert_eq!(
        read(&["https://third.example"]).unwrap_err().kind,
        Kind::IssuerMismatch
    );
}

#[test]
fn h06_an_issuer_that_could_not_be_pasted_is_shown_alone() {
    for (issuer, seen) in [
        ("https://login.example/{tenantid}/v2.0", "{tenantid}"),
        ("https://x.example/;rm$(x)", ";rm$(x)"),
        ("https://x.example/`x`", "`x`"),
        ("https://x.example/ --insecure", "--insecure"),
        ("http://plain.example", "http://plain.example"),
        ("https://x.example/?s=canary", "https://x.example/"),
        ("https://me:canary@x.example", "https"),
        ("\u{1b}[2J\u{202e}", "\\u{1b}[2J\\u{202e}"),
    ] {
        let text = server(&with(good(), "issuer", json!(issuer)))
            .unwrap_err()
            .text;
        assert!(text.contains(seen), "{text}");
        assert!(!text.contains("--expect-issuer"), "{text}");
        assert!(
            !text.contains("canary") && !text.contains(['\u{1b}', '\u{202e}']),
            "{text}"
        );
    }
    let long = format!("https://x.example/{}", "a".repeat(100_000));
    let text = server(&with(good(), "issuer", json!(long)))
        .unwrap_err()
        .text;
    assert!(text.len() < 1000 && !text.contains("--expect-issuer"));
}

#[test]
fn a13_a_document_without_issuer_is_refused() {
    for value in [Value::Null, json!(1), json!([ISSUER])] {
        let failure = server(&with(good(), "issuer", value)).unwrap_err();
        assert_eq!(failure.kind, Kind::MetadataInvalid);
        assert!(failure.text.contains("issuer"), "{}", failure.text);
    }
}

#[test]
fn a14_every_endpoint_is_judged_and_named() {
    for field in [
        "authorization_endpoint",
        "token_endpoint",
        "registration_endpoint",
        "revocation_endpoint",
        "device_authorization_endpoint",
    ] {
        for (value, kind) in [
            (json!("javascript:alert(1)"), Kind::InsecureUrl),
            (json!("file:///etc/passwd"), Kind::InsecureUrl),
            (json!("http://as.example/x"), Kind::InsecureUrl),
            (json!("http://localhost/x"), Kind::BlockedAddress),
            (json!("https://10.0.0.1/x"), Kind::BlockedAddress),
            (json!("https://169.254.169.254/x"), Kind::BlockedAddress),
            (json!("//as.example/x"), Kind::MetadataInvalid),
            (json!("/x"), Kind::MetadataInvalid),
            (json!(""), Kind::MetadataInvalid),
            (json!("https://u:p@as.example/x"), Kind::MetadataInvalid),
            (json!("https://as.example/x#y"), Kind::MetadataInvalid),
            (json!(7), Kind::MetadataInvalid),
            (json!(["https://as.example/x"]), Kind::MetadataInvalid),
        ] {
            let failure = server(&with(good(), field, value.clone())).unwrap_err();
            assert_eq!(failure.kind, kind, "{field} {value}");
            assert!(failure.text.contains(field), "{}", failure.text);
        }
        assert!(server(&with(good(), field, Value::Null)).is_ok(), "{field}");
    }
}

#[test]
fn a14_h21_endpoints_may_lie_on_other_hosts() {
    let read = server(&json!({
        "issuer": ISSUER,
        "authorization_endpoint": "https://a.login.example/a?tenant=1",
        "token_endpoint": "https://b.login.example/t",
        "registration_endpoint": "https://c.login.example/r",
        "revocation_endpoint": "https://d.login.example/v",
        "device_authorization_endpoint": "https://e.login.example/d",
    }))
    .unwrap();
    let text = |url: Option<Url>| url.map(String::from);
    assert_eq!(
        text(read.authorization_endpoint).as_deref(),
        Some("https://a.login.example/a?tenant=1")
    );
    assert_eq!(
        text(read.token_endpoint).as_deref(),
        Some("https://b.login.example/t")
    );
    assert_eq!(
        text(read.registration_endpoint).as_deref(),
        Some("https://c.login.example/r")
    );
    assert_eq!(
        text(read.revocation_endpoint).as_deref(),
        Some("https://d.login.example/v")
    );
    assert_eq!(
        text(read.device_authorization_endpoint).as_deref(),
        Some("https://e.login.example/d")
    );
}

#[test]
fn a14_members_that_are_not_used_may_be_anything() {
    let mut document = good();
    for (field, value) in [
        ("jwks_uri", json!(5)),
        ("x", json!({"deep": [[[]]]})),
        ("ui_locales_supported", json!("de")),
        ("scopes_supported", json!("a b")),
        ("grant_types_supported", json!({})),
        ("client_id_metadata_document_supported", json!("true")),
        (
            "authorization_response_iss_parameter_supported",
            Value::Null,
        ),
        ("token_endpoint_auth_methods_supported", json!([1, "none"])),
    ] {
        document[field] = value;
    }
    let read = server(&document).unwrap();
    assert_eq!(read.scopes_supported, None);
    assert_eq!(read.grant_types_supported, None);
    assert!(!read.client_id_metadata_document_supported && !read.iss_parameter_supported);
    assert_eq!(
        read.token_endpoint_auth_methods_supported,
        Some(vec!["none".to_owned()])
    );
    assert!(read.check_code_flow(false).is_ok());
}

#[test]
fn members_reach_their_fields() {
    let lists = [
        "scopes_supported",
        "grant_types_supported",
        "response_types_supported",
        "code_challenge_methods_supported",
        "token_endpoint_auth_methods_supported",
        "token_endpoint_auth_signing_alg_values_supported",
        "dpop_signing_alg_values_supported",
    ];
    let mut document = json!({
        "issuer": ISSUER,
        "client_id_metadata_document_supported": true,
        "authorization_response_iss_parameter_supported": true,
    });
    for field in lists {
        document[field] = json!([field]);
    }
    let value = |field: &str| Some(vec![field.to_owned()]);
    let expected = ServerMetadata {
        issuer: ISSUER.to_owned(),
        scopes_supported: value("scopes_supported"),
        grant_types_supported: value("grant_types_supported"),
        response_types_supported: value("response_types_supported"),
        code_challenge_methods_supported: value("code_challenge_methods_supported"),
        token_endpoint_auth_methods_supported: value("token_endpoint_auth_methods_supported"),
        token_endpoint_auth_signing_alg_values_supported: value(
            "token_endpoint_auth_signing_alg_values_supported",
        ),
        dpop_signing_alg_values_supported: value("dpop_signing_alg_values_supported"),
        client_id_metadata_document_supported: true,
        iss_parameter_supported: true,
        ..ServerMetadata::default()
    };
    assert_eq!(server(&document).unwrap(), expected);
}

#[test]
fn a24_only_a_json_object_of_reasonable_size_is_read() {
    let read = |bytes: &[u8]| ServerMetadata::read(bytes, &[ISSUER], &policy());
    let nested = "[".repeat(100_000);
    let deep = format!(
        "{{\"issuer\":\"{ISSUER}\",\"x\":{}{}}}",
        "[".repeat(200),
        "]".repeat(200)
    );
    for bytes in [
        &b""[..],
        b"null",
        b"[]",
        b"{",
        b"{}{}",
        b"\xff\xfe{\0}\0",
        nested.as_bytes(),
        deep.as_bytes(),
    ] {
        assert_eq!(read(bytes).unwrap_err().kind, Kind::MetadataInvalid);
    }
    let page = read(b" \n<!doctype html><html>canary").unwrap_err().text;
    assert!(
        page.contains("web page") && !page.contains("canary"),
        "{page}"
    );
    // A byte order mark is no reason to refuse.
    let marked = [b"\xef\xbb\xbf".as_slice(), good().to_string().as_bytes()].concat();
    assert!(read(&marked).is_ok());
    assert!(is_web_page(b"\xef\xbb\xbf\r\n <x"));
    assert!(!is_web_page(b"{\"<\":1}") && !is_web_page(b""));

    let scopes: Vec<_> = (0..100_000).map(|n| n.to_string()).collect();
    let flood = with(good(), "scopes_supported", json!(scopes));
    assert_eq!(
        server(&flood).unwrap().scopes_supported.unwrap().len(),
        limits::SCOPES
    );
    let long = with(
        good(),
        "scopes_supported",
        json!(["x".repeat(limits::SCOPE + 1), "a"]),
    );
    assert_eq!(
        server(&long).unwrap().scopes_supported,
        Some(vec!["a".to_owned()])
    );
}

#[test]
fn a14_the_code_flow_needs_endpoints_and_lists_that_allow_it() {
    let check = |document: &Value| server(document).unwrap().check_code_flow(false);
    assert!(check(&good()).is_ok());
    for (field, value) in [
        ("response_types_supported", json!(["token", "code"])),
        (
            "grant_types_supported",
            json!(["authorization_code", "refresh_token"]),
        ),
    ] {
        assert!(check(&with(good(), field, value)).is_ok());
    }
    for (field, value) in [
        ("authorization_endpoint", Value::Null),
        ("token_endpoint", Value::Null),
        ("response_types_supported", json!(["code token", "token"])),
        ("response_types_supported", json!([])),
        ("grant_types_supported", json!(["client_credentials"])),
    ] {
        let failure = check(&with(good(), field, value)).unwrap_err();
        assert_eq!(failure.kind, Kind::MetadataInvalid);
        assert!(
            failure.text.contains(field) && failure.text.contains(ISSUER),
            "{}",
            failure.text
        );
    }
}

#[test]
fn c03_h01_h21_pkce_must_be_promised_or_accepted_without() {
    let check = |methods: Value, allow| {
        server(&with(good(), "code_challenge_methods_supported", methods))
            .unwrap()
            .check_code_flow(allow)
            .map_err(|failure| {
                assert_eq!(failure.kind, Kind::PkceUnsupported);
                assert!(failure.text.contains("code_challenge_methods_supported"));
                failure.text
            })
    };
    assert_eq!(check(json!(["S256"]), false), Ok(()));
    for silent in [Value::Null, json!([]), json!("S256")] {
        let text = check(silent.clone(), false).unwrap_err();
        assert!(
            text.contains(ISSUER) && text.ends_with("add --allow-missing-pkce"),
            "{text}"
        );
        assert_eq!(check(silent, true), Ok(()));
    }
    for allow in [false, true] {
        let text = check(json!(["plain", "s256"]), allow).unwrap_err();
        assert!(!text.contains("--allow-missing-pkce"), "{text}");
    }
}

#[test]
fn a16_default_endpoints_stand_at_the_root_of_the_origin() {
    let url = Url::parse("http://user:pw@localhost:3000/deep/mcp?x=1#y").unwrap();
    let assumed = ServerMetadata::assumed(&url);
    let text = |url: &Option<Url>| url.as_ref().unwrap().to_string();
    assert_eq!(assumed.issuer, "http://localhost:3000");
    assert_eq!(
        text(&assumed.authorization_endpoint),
        "http://localhost:3000/authorize"
    );
    assert_eq!(text(&assumed.token_endpoint), "http://localhost:3000/token");
    assert_eq!(
        text(&assumed.registration_endpoint),
        "http://localhost:3000/register"
    );
    assert!(assumed.assumed && assumed.revocation_endpoint.is_none());
    // Nothing is promised, and nothing can be checked.
    assert!(assumed.check_code_flow(false).is_ok());
}
