//! Choosing an identity, registering, and what authorization servers make of a registration.

use std::sync::Arc;

use serde_json::json;

use super::super::settings::{Enterprise, Source};
use super::*;

const AS: &str = "https://as.example";
const HERE: &str = "http://localhost:3334/oauth/callback";
const NOW: u64 = 1_700_000_000;

fn settings() -> Settings {
    Settings::stored(
        Arc::new(Url::parse("https://mcp.example/mcp").unwrap()),
        "k",
    )
}

fn with_grant(grant: Grant) -> Settings {
    Settings {
        grant,
        ..settings()
    }
}

fn with_metadata(metadata: &Value) -> Settings {
    Settings {
        client_metadata: metadata.as_object().unwrap().clone(),
        ..settings()
    }
}

fn enterprise() -> Grant {
    Grant::Enterprise(Enterprise {
        issuer: None,
        token_endpoint: None,
        client_id: "desk".to_owned(),
        client_secret: None,
        subject: Source::Text("t".into()),
        subject_type: "urn:ietf:params:oauth:token-type:id_token".to_owned(),
    })
}

fn server() -> ServerMetadata {
    ServerMetadata {
        issuer: AS.to_owned(),
        registration_endpoint: Some(Url::parse("https://as.example/register").unwrap()),
        ..ServerMetadata::default()
    }
}

fn listing(methods: &[&str]) -> ServerMetadata {
    ServerMetadata {
        token_endpoint_auth_methods_supported: Some(
            methods.iter().map(|it| (*it).to_owned()).collect(),
        ),
        ..server()
    }
}

fn given() -> GivenClient {
    GivenClient {
        id: "given".to_owned(),
        secret: None,
        auth_method: None,
        signing_alg: None,
        private_key: None,
        key_id: None,
        issuer: None,
        redirect_uris: Vec::new(),
        scope: None,
    }
}

fn giving(given: GivenClient) -> Settings {
    Settings {
        given_client: Some(given),
        ..settings()
    }
}

fn with_secret() -> GivenClient {
    GivenClient {
        secret: Some("CANARY".into()),
        ..given()
    }
}

fn with_key(algorithm: Option<&str>) -> GivenClient {
    GivenClient {
        private_key: Some("CANARY".into()),
        signing_alg: algorithm.map(str::to_owned),
        ..given()
    }
}

fn stored() -> Client {
    let members = json!({
        "client_id": "stored",
        "redirect_uris": [HERE],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
    });
    answered(201, &members).unwrap()
}

#[track_caller]
fn used(choice: Result<Choice, Failure>) -> Client {
    match choice.unwrap() {
        Choice::Use(client) => client,
        Choice::Register(why) => panic!("register, as {why:?}"),
    }
}

#[track_caller]
fn why_new(choice: Result<Choice, Failure>) -> Option<String> {
    match choice.unwrap() {
        Choice::Register(why) => why,
        Choice::Use(client) => panic!("{client:?}"),
    }
}

#[track_caller]
fn assert_says(failure: &Failure, kind: Kind, parts: &[&str]) {
    assert_eq!(failure.kind, kind, "{}", failure.text);
    for part in parts {
        assert!(failure.text.contains(part), "{part}: {}", failure.text);
    }
    assert!(!failure.text.contains("CANARY"), "{}", failure.text);
}

fn auth_of(given: GivenClient, server: &ServerMetadata) -> Result<ClientAuth, Failure> {
    let choice = choose(&giving(given), server, None, Some(HERE), NOW)?;
    match choice {
        Choice::Use(client) => Ok(client.auth),
        Choice::Register(why) => panic!("register, as {why:?}"),
    }
}

#[test]
fn b01_given_before_document_before_stored_before_new() {
    let mut settings = giving(given());
    settings.client_metadata_url = Some("https://me.example/client.json".to_owned());
    let mut server = server();
    server.client_id_metadata_document_supported = true;
    let stored = stored();
    let choose = |settings: &Settings, stored| choose(settings, &server, stored, Some(HERE), NOW);
    assert_eq!(used(choose(&settings, Some(&stored))).id, "given");
    settings.given_client = None;
    let document = used(choose(&settings, Some(&stored)));
    assert_eq!(document.id, "https://me.example/client.json");
    settings.client_metadata_url = None;
    assert_eq!(used(choose(&settings, Some(&stored))).id, "stored");
    assert_eq!(why_new(choose(&settings, None)), None);
}

#[test]
fn b02_the_method_of_a_given_client_is_its_own_or_the_servers_first() {
    let basic = || ClientAuth::Basic("CANARY".into());
    let post = || ClientAuth::Post("CANARY".into());
    for (methods, expected) in [
        (&[][..], basic()),
        (&["client_secret_post", "client_secret_basic"], basic()),
        (&["client_secret_post", "none"], post()),
        (&["private_key_jwt"], basic()),
    ] {
        assert_eq!(auth_of(with_secret(), &listing(methods)), Ok(expected));
    }
    assert_eq!(auth_of(with_secret(), &server()), Ok(basic()));
    assert_eq!(auth_of(given(), &server()), Ok(ClientAuth::None));
    for (method, expected) in [
        ("none", ClientAuth::None),
        ("client_secret_basic", basic()),
        ("client_secret_post", post()),
    ] {
        let explicit = GivenClient {
            auth_method: Some(method.to_owned()),
            ..with_secret()
        };
        assert_eq!(auth_of(explicit, &listing(&["none"])), Ok(expected));
    }
}

#[test]
fn b02_a_method_that_cannot_be_used_is_named() {
    for (method, needs) in [
        ("client_secret_basic", "client_secret"),
        ("client_secret_post", "client_secret"),
        ("private_key_jwt", "private_key_pem"),
        ("tls_client_auth", "private_key_jwt"),
        ("client_secret_jwt", "private_key_jwt"),
    ] {
        let explicit = GivenClient {
            auth_method: Some(method.to_owned()),
            ..given()
        };
        let failure = auth_of(explicit, &server()).unwrap_err();
        assert_says(
            &failure,
            Kind::ClientRejected,
            &[method, needs, "--static-oauth-client-info"],
        );
    }
}

#[test]
fn b03_a_given_client_goes_to_its_own_issuer_alone() {
    let mut bound = given();
    bound.issuer = Some("https://other.example".to_owned());
    let failure = auth_of(bound.clone(), &server()).unwrap_err();
    assert_says(
        &failure,
        Kind::ClientIssuerMismatch,
        &[
            "https://other.example",
            AS,
            r#""issuer": "https://as.example""#,
        ],
    );
    bound.issuer = Some(format!("{AS}/"));
    assert!(auth_of(bound, &server()).is_ok());
}

/// A slash behind a path makes another issuer (RFC 8414 §3.3), which may be another tenant.
#[test]
fn b03_b18_a_slash_behind_a_path_is_another_issuer() {
    let mut tenant = server();
    tenant.issuer = format!("{AS}/tenant");
    let mut bound = given();
    bound.issuer = Some(format!("{AS}/tenant/"));
    let failure = auth_of(bound, &tenant).unwrap_err();
    assert_eq!(failure.kind, Kind::ClientIssuerMismatch);
    let mut client = stored();
    client.issuer = Some(format!("{AS}/tenant/"));
    let chosen = choose(&settings(), &tenant, Some(&client), Some(HERE), NOW);
    assert!(why_new(chosen).unwrap().contains("tenant/"));
}

#[test]
fn b03_a_given_client_stays_with_the_issuer_it_was_first_used_at() {
    let settings = giving(given());
    let mut recorded = used(choose(&settings, &server(), None, Some(HERE), NOW));
    assert_eq!(recorded.issuer.as_deref(), Some(AS));
    let mut moved = server();
    moved.issuer = "https://evil.example".to_owned();
    let failure = choose(&settings, &moved, Some(&recorded), Some(HERE), NOW).unwrap_err();
    assert_says(
        &failure,
        Kind::ClientIssuerMismatch,
        &[AS, "https://evil.example"],
    );
    assert!(choose(&settings, &server(), Some(&recorded), Some(HERE), NOW).is_ok());
    // Another client id, or a word of the user's, starts anew.
    recorded.id = "another".to_owned();
    assert!(choose(&settings, &moved, Some(&recorded), Some(HERE), NOW).is_ok());
    recorded.id = "given".to_owned();
    let mut bound = given();
    bound.issuer = Some("https://evil.example".to_owned());
    assert!(choose(&giving(bound), &moved, Some(&recorded), Some(HERE), NOW).is_ok());
}

#[test]
fn b04_a_metadata_document_is_the_client_id_where_the_server_takes_it() {
    let mut settings = settings();
    settings.client_metadata_url = Some("https://me.example/client.json".to_owned());
    let mut server = server();
    let why = why_new(choose(&settings, &server, None, Some(HERE), NOW));
    assert!(why.unwrap().contains("metadata documents"));
    server.client_id_metadata_document_supported = true;
    server.registration_endpoint = None;
    let client = used(choose(&settings, &server, None, Some(HERE), NOW));
    assert_eq!(client.id, "https://me.example/client.json");
    assert_eq!(client.auth, ClientAuth::None);
    assert_eq!(client.provenance, Provenance::Document);
}

#[test]
fn b07_the_body_of_a_registration() {
    let body = registration(&settings(), &server(), Some(HERE), Some("a b"), None);
    assert_eq!(
        body.to_string(),
        r#"{"application_type":"native","client_name":"mcp-bridge","grant_types":["authorization_code","refresh_token"],"redirect_uris":["http://localhost:3334/oauth/callback"],"response_types":["code"],"scope":"a b","token_endpoint_auth_method":"none"}"#
    );
    for scope in [None, Some("")] {
        let body = registration(&settings(), &server(), Some(HERE), scope, None);
        assert_eq!(body.get("scope"), None);
        assert_eq!(body.as_object().unwrap().len(), 6);
    }
}

#[test]
fn b07_b13_b24_the_users_metadata_goes_over_it_member_by_member() {
    let settings = with_metadata(&json!({
        "client_name": "Claude (curity-demo)",
        "scope": "stocks/read",
        "redirect_uris": ["http://127.0.0.1:8000/cb"],
        "application_type": null,
        "software_id": "template",
        "contacts": ["me@example.com"],
    }));
    let body = registration(&settings, &server(), Some(HERE), Some("a b"), None);
    assert_eq!(
        body,
        json!({
            "client_name": "Claude (curity-demo)",
            "contacts": ["me@example.com"],
            "grant_types": ["authorization_code", "refresh_token"],
            "redirect_uris": ["http://127.0.0.1:8000/cb"],
            "response_types": ["code"],
            "scope": "stocks/read",
            "software_id": "template",
            "token_endpoint_auth_method": "none",
        })
    );
}

#[test]
fn b11_e06_a_registration_lists_the_grants_that_are_used() {
    let device = registration(
        &with_grant(Grant::Device),
        &server(),
        Some(HERE),
        None,
        None,
    );
    assert_eq!(
        device,
        json!({
            "application_type": "native",
            "client_name": "mcp-bridge",
            "grant_types": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
            "response_types": [],
            "token_endpoint_auth_method": "none",
        })
    );
    let machine = registration(
        &with_grant(Grant::ClientCredentials),
        &listing(&["none", "client_secret_post"]),
        None,
        None,
        None,
    );
    assert_eq!(machine["grant_types"], json!(["client_credentials"]));
    assert_eq!(machine["token_endpoint_auth_method"], "client_secret_post");
}

#[test]
fn b10_the_method_that_is_asked_for() {
    for (methods, expected) in [
        (&[][..], "none"),
        (&["client_secret_post", "none"], "none"),
        (
            &["client_secret_post", "client_secret_basic"],
            "client_secret_basic",
        ),
        (
            &["private_key_jwt", "client_secret_post"],
            "client_secret_post",
        ),
        (&["private_key_jwt"], "none"),
    ] {
        let body = registration(&settings(), &listing(methods), Some(HERE), None, None);
        assert_eq!(body["token_endpoint_auth_method"], expected, "{methods:?}");
    }
}

fn requested() -> Value {
    registration(&settings(), &server(), Some(HERE), Some("a b"), None)
}

fn answered(status: u16, body: &Value) -> Result<Client, Box<RegistrationRefusal>> {
    let body = body.to_string();
    registered(
        &settings(),
        &server(),
        &requested(),
        status,
        body.as_bytes(),
    )
}

#[test]
fn b10_the_method_in_the_answer_decides() {
    let secret = || Secret::from("CANARY");
    let cases = [
        (json!({}), "none", ClientAuth::None),
        (
            json!({"client_secret": "CANARY", "token_endpoint_auth_method": "client_secret_basic"}),
            "none",
            ClientAuth::Basic(secret()),
        ),
        (
            json!({"client_secret": "CANARY", "token_endpoint_auth_method": "client_secret_post"}),
            "client_secret_basic",
            ClientAuth::Post(secret()),
        ),
        (
            json!({"client_secret": "CANARY", "token_endpoint_auth_method": "none"}),
            "client_secret_basic",
            ClientAuth::None,
        ),
        (
            json!({"client_secret": "CANARY"}),
            "client_secret_post",
            ClientAuth::Post(secret()),
        ),
        (
            json!({"client_secret": "CANARY"}),
            "none",
            ClientAuth::Basic(secret()),
        ),
        // Nothing to send.
        (
            json!({"client_secret": null, "token_endpoint_auth_method": "client_secret_basic"}),
            "none",
            ClientAuth::None,
        ),
    ];
    for (mut answer, asked, expected) in cases {
        answer["client_id"] = json!("c");
        let mut requested = requested();
        requested["token_endpoint_auth_method"] = json!(asked);
        let client = registered(
            &settings(),
            &server(),
            &requested,
            201,
            answer.to_string().as_bytes(),
        )
        .unwrap();
        assert_eq!(client.auth, expected, "{answer}");
    }
}

#[test]
fn b10_a_rejected_client_hears_which_method_was_used() {
    let error = TokenError {
        status: 401,
        code: Some("invalid_client".to_owned()),
        description: None,
        retry_after: None,
        text: "the token endpoint refused the request (invalid_client)".to_owned(),
    };
    let client = used(choose(&giving(with_secret()), &server(), None, None, NOW));
    let failure = rejected(&client, &listing(&["client_secret_post"]), &error);
    assert_says(
        &failure,
        Kind::ClientRejected,
        &[
            "invalid_client",
            "client_secret_basic",
            "client_secret_post",
            "--static-oauth-client-info",
        ],
    );
    assert_eq!(failure.status, Some(401));
    let mut document = stored();
    document.provenance = Provenance::Document;
    let failure = rejected(&document, &server(), &error);
    assert_says(
        &failure,
        Kind::ClientRejected,
        &["none", "--client-metadata-url"],
    );
    let failure = rejected(&stored(), &server(), &TokenError::unreachable("x"));
    assert_eq!(failure.status, None);
}

#[test]
fn b14_the_servers_values_overrule_ours_and_unknown_ones_are_kept() {
    let answer = json!({
        "client_id": "c",
        "client_id_issued_at": "1700000000",
        "client_secret": "CANARY",
        "client_secret_expires_at": "1700003600",
        "token_endpoint_auth_method": "client_secret_post",
        "grant_types": ["authorization_code"],
        "redirect_uris": [HERE],
        "scope": ["a"],
        "registration_access_token": "CANARY",
        "vendor": {"deep": [1]},
        "logo_uri": null,
    });
    for status in [200, 201] {
        let client = answered(status, &answer).unwrap();
        assert_eq!(client.id, "c");
        assert_eq!(client.auth, ClientAuth::Post("CANARY".into()));
        assert_eq!(client.provenance, Provenance::Registered);
        assert_eq!(client.scope.as_deref(), Some("a"));
        assert_eq!(client.secret_expires_at, Some(1_700_003_600));
        assert_eq!(client.issuer.as_deref(), Some(AS));
        assert_eq!(client.redirect_uris, [HERE]);
        assert_eq!(Value::Object(client.registered.0), answer);
    }
}

#[test]
fn b14_a_silent_answer_means_what_was_asked_for() {
    for answer in [
        json!({"client_id": "c"}),
        json!({
            "client_id": "c",
            "redirect_uris": null,
            "scope": null,
            "client_secret": "",
            "client_secret_expires_at": null,
            "token_endpoint_auth_method": null,
        }),
    ] {
        let client = answered(201, &answer).unwrap();
        assert_eq!(client.auth, ClientAuth::None);
        assert_eq!(client.redirect_uris, [HERE]);
        assert_eq!((client.scope, client.secret_expires_at), (None, None));
    }
    let number = answered(201, &json!({"client_id": 17})).unwrap();
    assert_eq!(number.id, "17");
}

#[test]
fn b09_b14_an_answer_without_our_redirect_address_is_refused() {
    for (addresses, taken) in [
        (json!(["https://as.example/", HERE]), true),
        (json!(["http://localhost/oauth/callback"]), true),
        (json!(["http://localhost:3335/oauth/callback"]), false),
        (json!(["http://localhost:3334/other"]), false),
        (json!(["http://evil.example/oauth/callback"]), false),
        (json!([]), false),
    ] {
        let answer = answered(201, &json!({"client_id": "c", "redirect_uris": addresses}));
        match answer {
            Ok(client) => {
                assert!(taken, "{addresses}");
                // The next start finds that it fits.
                let choice = choose(&settings(), &server(), Some(&client), Some(HERE), NOW);
                assert_eq!(used(choice).id, "c");
            }
            Err(refusal) => {
                assert!(!taken, "{addresses}");
                assert!(!refusal.worth_a_retry);
                assert_says(&refusal.failure, Kind::RegistrationRejected, &[HERE]);
            }
        }
    }
}

#[test]
fn b14_an_answer_without_a_usable_client_is_refused() {
    let id = "client_id";
    let method = "token_endpoint_auth_method";
    for (answer, member) in [
        (json!({"client_secret": "CANARY"}), id),
        (json!({"client_id": ""}), id),
        (json!({"client_id": ["CANARY"]}), id),
        (json!({"client_id": "CANARY\r\n"}), id),
        (json!({"client_id": "x".repeat(65 << 10)}), id),
        (
            json!({"client_id": "c", "client_secret": 1}),
            "client_secret",
        ),
        (
            json!({"client_id": "c", "client_secret_expires_at": "soon"}),
            "client_secret_expires_at",
        ),
        (json!({"client_id": "c", method: "private_key_jwt"}), method),
        (
            json!({"client_id": "c", "client_secret": "CANARY", method: "client_secret_jwt"}),
            method,
        ),
    ] {
        let refusal = answered(201, &answer).unwrap_err();
        assert_says(&refusal.failure, Kind::RegistrationRejected, &[member]);
        assert!(!refusal.worth_a_retry);
    }
}

#[test]
fn b15_an_expired_secret_means_a_new_registration() {
    let mut client = stored();
    for (expires_at, fresh) in [
        (None, true),
        (Some(NOW + 61), true),
        (Some(NOW + 60), false),
        (Some(NOW - 1), false),
    ] {
        client.secret_expires_at = expires_at;
        let choice = choose(&settings(), &server(), Some(&client), Some(HERE), NOW);
        if fresh {
            assert_eq!(used(choice).id, "stored");
        } else {
            assert!(why_new(choice).unwrap().contains("expired"));
        }
    }
    for never in [json!(0), json!("0"), json!(null)] {
        let members = json!({"client_id": "c", "client_secret_expires_at": never});
        assert_eq!(answered(201, &members).unwrap().secret_expires_at, None);
    }
}

#[test]
fn b18_b19_a_stored_client_is_used_where_nothing_speaks_against_it() {
    let choose =
        |client: &Client, redirect| choose(&settings(), &server(), Some(client), redirect, NOW);
    assert_eq!(used(choose(&stored(), Some(HERE))).id, "stored");
    assert_eq!(used(choose(&stored(), None)).id, "stored");
    let mut client = stored();
    client.issuer = Some(format!("{AS}/"));
    assert_eq!(used(choose(&client, Some(HERE))).id, "stored");
    client.issuer = None;
    client.redirect_uris.clear();
    assert_eq!(
        used(choose(&client, Some(HERE))).issuer.as_deref(),
        Some(AS)
    );
    client.issuer = Some("https://other.example".to_owned());
    let why = why_new(choose(&client, Some(HERE))).unwrap();
    assert!(
        why.contains("https://other.example") && why.contains(AS),
        "{why}"
    );
    let why = why_new(choose(&stored(), Some("http://localhost:9/oauth/callback"))).unwrap();
    assert!(why.contains("redirect address"), "{why}");
}

#[test]
fn b19_a_client_of_another_grant_is_not_used() {
    let device = with_grant(Grant::Device);
    let why = why_new(choose(&device, &server(), Some(&stored()), None, NOW));
    assert!(why.unwrap().contains("another way"));
    let members = json!({
        "client_id": "c",
        "grant_types": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
    });
    let client = answered(201, &members).unwrap();
    assert_eq!(
        used(choose(&device, &server(), Some(&client), None, NOW)).id,
        "c"
    );
    let why = why_new(choose(
        &settings(),
        &server(),
        Some(&client),
        Some(HERE),
        NOW,
    ));
    assert!(why.unwrap().contains("another way"));
    // A list that says nothing about either is no reason.
    for grants in [json!([]), json!(["refresh_token"]), json!("x"), json!(null)] {
        let members = json!({"client_id": "c", "grant_types": grants});
        let client = answered(201, &members).unwrap();
        assert_eq!(
            used(choose(&device, &server(), Some(&client), None, NOW)).id,
            "c"
        );
    }
}

#[test]
fn b20_only_registered_clients_are_stored_ones() {
    for provenance in [Provenance::Given, Provenance::Document] {
        let mut client = stored();
        client.provenance = provenance;
        let choice = choose(&settings(), &server(), Some(&client), Some(HERE), NOW);
        assert_eq!(why_new(choice), None);
    }
}

#[test]
fn b10_a_stored_secret_without_method_goes_the_way_the_server_lists() {
    let members = json!({"client_id": "c", "client_secret": "CANARY", "redirect_uris": [HERE]});
    let client = answered(201, &members).unwrap();
    for (server, expected) in [
        (server(), ClientAuth::Basic("CANARY".into())),
        (
            listing(&["none", "client_secret_post"]),
            ClientAuth::Post("CANARY".into()),
        ),
    ] {
        let choice = choose(&settings(), &server, Some(&client), Some(HERE), NOW);
        assert_eq!(used(choice).auth, expected);
    }
    let mut explicit = members;
    explicit["token_endpoint_auth_method"] = json!("client_secret_basic");
    let client = answered(201, &explicit).unwrap();
    let server = listing(&["client_secret_post"]);
    let choice = choose(&settings(), &server, Some(&client), Some(HERE), NOW);
    assert_eq!(used(choice).auth, ClientAuth::Basic("CANARY".into()));
}

fn refused(status: u16, code: Option<&str>, description: &str) -> RegistrationRefusal {
    let body = json!({"error": code, "error_description": description});
    *answered(status, &body).unwrap_err()
}

#[track_caller]
fn retried(refusal: &RegistrationRefusal) -> Value {
    assert!(refusal.worth_a_retry, "{refusal:?}");
    registration(
        &settings(),
        &server(),
        Some(HERE),
        Some("a b"),
        Some(refusal),
    )
}

/// What the second attempt lacks or has otherwise.
fn changes(body: &Value) -> Vec<String> {
    let first = requested();
    let members = first.as_object().unwrap().iter();
    let changed = members.filter(|(name, value)| body.get(name.as_str()) != Some(*value));
    changed.map(|(name, _)| name.clone()).collect()
}

#[test]
fn b08_b11_b12_one_attempt_more_changes_what_the_server_blames() {
    let metadata = Some("invalid_client_metadata");
    for (status, code, description, changed) in [
        (
            400,
            Some("invalid_redirect_uri"),
            "",
            &["application_type"][..],
        ),
        (
            400,
            metadata,
            "application_type must be web",
            &["application_type"],
        ),
        (400, metadata, "Unsupported scope b", &["scope"]),
        (400, Some("invalid_scope"), "", &["scope"]),
        (
            403,
            Some("insufficient_scope"),
            "Policy 'Allowed Client Scopes' rejected request",
            &["scope"],
        ),
        (
            400,
            metadata,
            "grant_types: refresh_token is not allowed",
            &["grant_types"],
        ),
        (400, metadata, "", &["application_type", "scope"]),
        (400, None, "", &["application_type", "scope"]),
        (422, metadata, "", &["application_type", "scope"]),
    ] {
        let body = retried(&refused(status, code, description));
        assert_eq!(changes(&body), changed, "{status} {code:?} {description}");
    }
    let body = retried(&refused(400, metadata, "refresh_token"));
    assert_eq!(body["grant_types"], json!(["authorization_code"]));
}

#[test]
fn b08_an_attempt_that_would_change_nothing_is_not_made() {
    for (status, code) in [
        (401, Some("invalid_token")),
        (403, Some("access_denied")),
        (404, None),
        (405, None),
        (422, None),
        (429, None),
        (500, Some("invalid_client_metadata")),
        (200, None),
    ] {
        let refusal = refused(status, code, "");
        assert!(!refusal.worth_a_retry, "{status} {code:?}");
    }
    // The user's own scope stays, and what was left out once is not left out again.
    let body = br#"{"error":"invalid_client_metadata","error_description":"scope"}"#;
    let mine = with_metadata(&json!({"scope": "mine"}));
    let requested = registration(&mine, &server(), Some(HERE), None, None);
    let refusal = registered(&mine, &server(), &requested, 400, body).unwrap_err();
    assert!(!refusal.worth_a_retry);
    let second = retried(&refused(400, Some("invalid_scope"), ""));
    let refusal = registered(&settings(), &server(), &second, 400, body).unwrap_err();
    assert!(!refusal.worth_a_retry);
}

#[test]
fn b16_h20_h25_h27_h29_a_refusal_says_what_happened_and_the_ways_out() {
    for (status, code) in [
        (400, Some("invalid_redirect_uri")),
        (400, Some("invalid_client_metadata")),
        (400, Some("invalid_software_statement")),
        (400, Some("unapproved_software_statement")),
        (401, Some("invalid_token")),
        (403, Some("insufficient_scope")),
        (404, None),
        (405, None),
        (422, None),
        (500, None),
        (503, Some("temporarily_unavailable")),
    ] {
        let refusal = refused(status, code, "because\u{1b}[2J");
        let failure = &refusal.failure;
        let status_text = status.to_string();
        assert_says(
            failure,
            Kind::RegistrationRejected,
            &[AS, &status_text, "--static-oauth-client-info"],
        );
        assert_eq!(failure.status, Some(status));
        assert!(!failure.text.contains('\u{1b}'));
        assert_eq!(refusal.code.as_deref(), code);
        if let Some(code) = code {
            assert_says(failure, Kind::RegistrationRejected, &[code, "because"]);
        }
        if status == 400 {
            assert_says(failure, Kind::RegistrationRejected, &[HERE]);
        }
    }
}

#[test]
fn b16_a_page_and_a_flood_are_refused_and_not_quoted() {
    let flood = vec![b'{'; 10 << 20];
    for body in [&b"<html>CANARY</html>"[..], b"", b"[]", &flood] {
        for status in [201, 400, 404, 502] {
            let refusal =
                registered(&settings(), &server(), &requested(), status, body).unwrap_err();
            assert_says(&refusal.failure, Kind::RegistrationRejected, &[AS]);
            assert_eq!(refusal.code, None);
        }
    }
}

#[test]
fn b23_h03_without_any_way_the_person_is_told_what_to_register() {
    let mut server = server();
    server.registration_endpoint = None;
    let failure = choose(&settings(), &server, None, Some(HERE), NOW).unwrap_err();
    assert_says(
        &failure,
        Kind::NoRegistrationMethod,
        &[
            AS,
            HERE,
            "public",
            "native",
            "PKCE",
            "--static-oauth-client-info",
            "client_secret",
        ],
    );
    assert!(!failure.text.contains("--client-metadata-url"));
    server.client_id_metadata_document_supported = true;
    let failure = choose(&settings(), &server, None, Some(HERE), NOW).unwrap_err();
    assert_says(
        &failure,
        Kind::NoRegistrationMethod,
        &["--client-metadata-url"],
    );
    // A stored client still serves.
    assert!(choose(&settings(), &server, Some(&stored()), Some(HERE), NOW).is_ok());
}

#[test]
fn e01_e10_programs_are_never_registered() {
    for (grant, flag) in [
        (Grant::ClientCredentials, "--client-credentials"),
        (enterprise(), "--enterprise-idp"),
    ] {
        let settings = with_grant(grant);
        let failure = choose(&settings, &server(), Some(&stored()), None, NOW).unwrap_err();
        assert_says(
            &failure,
            Kind::NoRegistrationMethod,
            &[flag, AS, "--static-oauth-client-info"],
        );
    }
}

fn machine(given: GivenClient) -> Settings {
    Settings {
        grant: Grant::ClientCredentials,
        ..giving(given)
    }
}

#[test]
fn e02_e04_the_method_of_a_program_is_one_that_the_server_takes() {
    let choose = |given, server: &ServerMetadata| choose(&machine(given), server, None, None, NOW);
    let post = ["client_secret_post"];
    assert_eq!(used(choose(with_secret(), &server())).auth.method(), BASIC);
    assert_eq!(
        used(choose(with_secret(), &listing(&[]))).auth.method(),
        BASIC
    );
    assert_eq!(
        used(choose(with_secret(), &listing(&post))).auth.method(),
        POST
    );
    assert_eq!(
        used(choose(with_key(None), &listing(&[KEY]))).auth.method(),
        KEY
    );
    let explicit = GivenClient {
        auth_method: Some(BASIC.to_owned()),
        ..with_secret()
    };
    for (given, method) in [(explicit, BASIC), (with_key(None), KEY)] {
        let failure = choose(given, &listing(&post)).unwrap_err();
        assert_says(&failure, Kind::ClientRejected, &[method, POST]);
    }
    let failure = choose(given(), &server()).unwrap_err();
    assert_says(
        &failure,
        Kind::ClientRejected,
        &["client_secret", "private_key_pem"],
    );
}

#[test]
fn e03_an_algorithm_that_the_server_does_not_take_is_named() {
    let mut server = listing(&[KEY]);
    let algorithms = vec!["RS256".to_owned(), "ES256".to_owned()];
    server.token_endpoint_auth_signing_alg_values_supported = Some(algorithms);
    let choose = |given| choose(&machine(given), &server, None, None, NOW);
    let client = used(choose(with_key(Some("ES256"))));
    assert!(matches!(
        client.auth,
        ClientAuth::PrivateKeyJwt { algorithm: Some(algorithm), .. } if algorithm == "ES256"
    ));
    let failure = choose(with_key(Some("EdDSA"))).unwrap_err();
    assert_says(&failure, Kind::MetadataInvalid, &["EdDSA", "RS256, ES256"]);
    assert!(check_signing("EdDSA", &listing(&[KEY])).is_ok());
}

#[test]
fn b25_f25_no_secret_of_a_registration_is_shown() {
    let client = answered(
        201,
        &json!({
            "client_id": "c",
            "client_secret": "CANARY",
            "registration_access_token": "CANARY",
        }),
    )
    .unwrap();
    assert!(!format!("{client:?}").contains("CANARY"));
    assert!(!format!("{:?}", Choice::Use(client)).contains("CANARY"));
}
