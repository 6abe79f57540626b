//! Files as npm `mcp-remote` 0.15.1 writes them, and what we make of them.

use serde_json::json;

use super::*;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/it/fixtures/mcp-remote/",
            $name
        ))
    };
}

fn value(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

#[test]
fn f08_tokens_of_a_sign_in_are_understood() {
    let read = tokens(fixture!("signed-in/tokens.json")).unwrap();
    let expected = Tokens {
        access: "at-signed-in-5d1f0c".into(),
        token_type: TokenType::Bearer,
        refresh: Some("rt-signed-in-8a4e27".into()),
        id_token: None,
        scope: Some("mcp:tools offline_access".to_owned()),
        requested_scope: Some("mcp:tools offline_access".to_owned()),
        expires_at: Some(1_800_003_600_000),
        issued_at: Some(1_800_000_000_000),
        issuer: Some("https://auth.example.com/".to_owned()),
    };
    assert_eq!(read, expected);
}

#[test]
fn f08_tokens_without_issuer_scope_or_expiry_are_understood() {
    let read = tokens(fixture!("refreshed/tokens.json")).unwrap();
    assert_eq!((read.issuer, read.scope), (None, None));
    assert_eq!(read.expires_at, Some(1_800_000_120_000));
    assert_eq!(read.requested_scope, None);

    let read = tokens(fixture!("confidential/tokens.json")).unwrap();
    assert_eq!((read.expires_at, read.issued_at), (None, None));
}

#[test]
fn d06_a_lifetime_without_a_time_is_no_expiry() {
    let read = tokens(fixture!("copied-from-0.1/tokens.json")).unwrap();
    assert_eq!((read.expires_at, read.issued_at), (None, None));
    assert_eq!(read.refresh, Some("rt-copied-decade".into()));
}

#[test]
fn d06_the_time_of_expiry_is_kept_in_milliseconds() {
    let fresh = Tokens {
        access: "a".into(),
        expires_at: Some(1_800_003_600_000),
        issued_at: Some(1_800_000_000_000),
        ..Tokens::default()
    };
    let text = tokens_text(None, &fresh);
    let expected = "{\n  \"access_token\": \"a\",\n  \"expires_at\": 1800003600000,\n  \
                    \"expires_in\": 3600,\n  \"token_type\": \"Bearer\"\n}";
    assert_eq!(std::str::from_utf8(&text).unwrap(), expected);
    assert_eq!(tokens(&text).unwrap(), fresh);
}

#[test]
fn numbers_may_stand_in_quotes_or_have_a_fraction() {
    for (written, at) in [
        ("\"1800000000000\"", 1_800_000_000_000),
        ("1800000000000.7", 1_800_000_000_000),
        ("\"1.8e12\"", 1_800_000_000_000),
        ("-5", 0),
    ] {
        let text =
            format!(r#"{{"access_token":"a","token_type":"Bearer","expires_at":{written}}}"#);
        let read = tokens(text.as_bytes()).unwrap();
        assert_eq!(read.expires_at, Some(at), "{written}");
    }
}

#[test]
fn f08_members_that_we_do_not_know_survive() {
    let before = json!({
        "access_token": "old", "token_type": "bearer", "refresh_token": "old", "id_token": "old",
        "scope": "old", "expires_in": 1, "expires_at": 2, "issuer": "old",
        "requested_scope": "theirs", "novelty": {"deep": [1, 2]},
    });
    let ours = Tokens {
        access: "new".into(),
        requested_scope: Some("ours".to_owned()),
        ..Tokens::default()
    };
    let text = tokens_text(Some(before.to_string().as_bytes()), &ours);
    let expected = json!({
        "access_token": "new", "token_type": "bearer", "requested_scope": "theirs",
        "novelty": {"deep": [1, 2]},
    });
    assert_eq!(value(&text), expected);
}

#[test]
fn our_scope_is_not_written_where_it_would_cost_a_sign_in() {
    let ours = Tokens {
        access: "a".into(),
        requested_scope: Some("ours".to_owned()),
        ..Tokens::default()
    };
    assert!(
        value(&tokens_text(None, &ours))
            .get("requested_scope")
            .is_none()
    );
}

#[test]
fn issuer_scope_and_id_token_stay_after_a_renewal() {
    let renewed = Tokens {
        access: "a".into(),
        token_type: TokenType::Dpop,
        refresh: Some("r".into()),
        id_token: Some("i".into()),
        scope: Some("s".to_owned()),
        requested_scope: None,
        expires_at: Some(1_800_000_000_000),
        issued_at: None,
        issuer: Some("https://as.example".to_owned()),
    };
    let text = tokens_text(Some(fixture!("refreshed/tokens.json")), &renewed);
    let written = value(&text);
    assert_eq!(written["token_type"], "DPoP");
    assert!(written.get("expires_in").is_none());
    assert_eq!(written["requested_scope"], "");
    assert_eq!(tokens(&text).unwrap(), renewed);
}

#[test]
fn f07_d34_tokens_of_the_wrong_form_are_not_used() {
    let sound = r#"{"access_token":"a","token_type":"Bearer"}"#;
    tokens(sound.as_bytes()).unwrap();
    let members = [
        ("access_token", json!(1)),
        ("access_token", json!("")),
        ("access_token", json!("a\r\nX-Evil: 1")),
        ("access_token", json!("ä")),
        ("token_type", json!(1)),
        ("refresh_token", json!(["r"])),
        ("refresh_token", json!("r\u{0}")),
        ("id_token", json!({})),
        ("scope", json!(7)),
        ("requested_scope", json!(7)),
        ("expires_in", json!("soon")),
        ("expires_at", json!(true)),
        ("issuer", json!([])),
    ];
    for (name, wrong) in members {
        let mut edited = value(sound.as_bytes());
        edited[name] = wrong;
        assert!(tokens(edited.to_string().as_bytes()).is_err(), "{edited}");
    }
    for text in [
        "",
        " ",
        "null",
        "[]",
        "{}",
        "\"x\"",
        &sound[..20],
        "\u{feff}{}",
    ] {
        assert!(tokens(text.as_bytes()).is_err(), "{text}");
        assert!(client(text.as_bytes()).is_err(), "{text}");
    }
    let padded = format!("{sound}{}", " ".repeat(1 << 20));
    assert_eq!(tokens(padded.as_bytes()), Err("is larger than 1 MiB"));
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(tokens(deep.as_bytes()), Err("is not JSON"));
}

#[test]
fn f08_registered_clients_are_understood() {
    let read = client(fixture!("signed-in/client_info.json")).unwrap();
    assert_eq!(read.id, "client-5d1f0c");
    assert_eq!(read.auth, ClientAuth::None);
    assert_eq!(read.provenance, Provenance::Registered);
    assert_eq!(
        read.redirect_uris,
        ["http://localhost:37931/oauth/callback"]
    );
    assert_eq!(read.issuer.as_deref(), Some("https://auth.example.com/"));

    let read = client(fixture!("confidential/client_info.json")).unwrap();
    assert_eq!(read.auth, ClientAuth::Post("cs-confidential-9be2f1".into()));
    assert_eq!(read.secret_expires_at, None, "0 is never");
    assert_eq!(read.scope.as_deref(), Some("mcp:tools"));

    let read = client(fixture!("copied-from-0.1/client_info.json")).unwrap();
    assert_eq!(read.auth, ClientAuth::Basic("cs-copied-facade".into()));
    assert_eq!(read.issuer, None);
}

#[test]
fn b14_a_registration_answer_is_kept_as_mcp_remote_reads_it() {
    let answer = json!({
        "client_id": "id", "client_secret": "secret", "client_id_issued_at": "1800000000",
        "client_secret_expires_at": "1900000000", "logo_uri": null, "scope": null,
        "registration_access_token": "rat", "registration_client_uri": "https://as.example/r/id",
    });
    let Value::Object(members) = answer else {
        panic!("an object")
    };
    let registered = Client {
        id: "id".to_owned(),
        auth: ClientAuth::Basic("secret".into()),
        provenance: Provenance::Registered,
        redirect_uris: vec!["http://localhost:3334/oauth/callback".to_owned()],
        issuer: Some("https://as.example".to_owned()),
        scope: Some("a b".to_owned()),
        secret_expires_at: Some(1_900_000_000),
        registered: Registered(members),
    };
    let text = client_text(None, &registered);
    let expected = json!({
        "client_id": "id", "client_secret": "secret", "client_id_issued_at": 1_800_000_000,
        "client_secret_expires_at": 1_900_000_000,
        "redirect_uris": ["http://localhost:3334/oauth/callback"],
        "token_endpoint_auth_method": "client_secret_basic",
        "issuer": "https://as.example", "scope": "a b",
        "registration_access_token": "rat", "registration_client_uri": "https://as.example/r/id",
    });
    assert_eq!(value(&text), expected);

    let read = client(&text).unwrap();
    let expected = Client {
        registered: read.registered.clone(),
        ..registered
    };
    assert_eq!(read, expected);
    assert_eq!(Value::Object(read.registered.0), value(&text));
}

#[test]
fn b14_members_of_another_registration_do_not_stay() {
    let before = fixture!("confidential/client_info.json");
    let mut registered = client(before).unwrap();
    registered.registered = Registered::default();
    let kept = value(&client_text(Some(before), &registered));
    assert_eq!(kept["client_name"], "MCP CLI Proxy");

    registered.id = "other".to_owned();
    registered.auth = ClientAuth::None;
    let text = client_text(Some(before), &registered);
    let written = value(&text);
    assert!(written.get("client_name").is_none() && written.get("client_secret").is_none());
    assert_eq!(client(&text).unwrap().auth, ClientAuth::None);
}

#[test]
fn f07_clients_of_the_wrong_form_are_not_used() {
    for text in [
        r#"{"redirect_uris":[]}"#,
        r#"{"client_id":5,"redirect_uris":[]}"#,
        r#"{"client_id":"","redirect_uris":[]}"#,
        r#"{"client_id":"a","redirect_uris":"x"}"#,
        r#"{"client_id":"a","redirect_uris":[1]}"#,
        r#"{"client_id":"a","redirect_uris":[],"client_secret":{}}"#,
        r#"{"client_id":"a","redirect_uris":[],"client_secret_expires_at":[]}"#,
    ] {
        assert!(client(text.as_bytes()).is_err(), "{text}");
    }
    let bare = client(br#"{"client_id":"a"}"#).unwrap();
    assert!(bare.redirect_uris.is_empty());
}
