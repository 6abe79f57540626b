//! Token answers: what real servers send, what hostile ones could, and what time does to tokens.

use std::fmt::Debug;

use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_700_000_000_000;
const JSON: Option<&str> = Some("application/json; charset=utf-8");
const FORM: Option<&str> = Some("application/x-www-form-urlencoded; charset=utf-8");
const SECOND: u64 = 1000;
const DAY: u64 = 24 * 3600 * SECOND;

fn answer(status: u16, body: &Value) -> Result<Tokens, TokenError> {
    read(status, JSON, None, body.to_string().as_bytes(), NOW)
}

#[track_caller]
fn tokens(body: &Value) -> Tokens {
    answer(200, body).unwrap()
}

/// The minimal answer with one member more.
fn with(member: &str, value: Value) -> Value {
    let mut body = json!({"access_token": "a", "token_type": "Bearer"});
    body[member] = value;
    body
}

fn refused(status: u16, code: Option<&str>, description: &str) -> TokenError {
    let body = match code {
        Some(code) => json!({"error": code, "error_description": description}),
        None => json!([]),
    };
    answer(status, &body).unwrap_err()
}

#[track_caller]
fn assert_hides<T: Debug>(shown: &T) {
    let shown = format!("{shown:?}");
    assert!(!shown.contains("CANARY"), "{shown}");
}

#[test]
fn c35_a_full_answer_is_read() {
    let body = json!({
        "access_token": "a.b-c",
        "token_type": "bEARER",
        "expires_in": 3600,
        "refresh_token": "r t",
        "id_token": "i.d.t",
        "scope": "read write",
        "created_at": 1,
    });
    for status in [200, 201] {
        let tokens = answer(status, &body).unwrap();
        assert_eq!(
            tokens,
            Tokens {
                access: "a.b-c".into(),
                token_type: TokenType::Bearer,
                refresh: Some("r t".into()),
                id_token: Some("i.d.t".into()),
                scope: Some("read write".to_owned()),
                requested_scope: None,
                expires_at: Some(NOW + 3600 * SECOND),
                issued_at: Some(NOW),
                issuer: None,
            }
        );
    }
}

#[test]
fn c35_h36_lifetimes_come_in_many_spellings() {
    let ten_years = u64::try_from(limits::LIFETIME.as_millis()).unwrap();
    for (expires_in, expires_at) in [
        (json!(30), Some(NOW + 30 * SECOND)),
        (json!("3600"), Some(NOW + 3600 * SECOND)),
        (json!(59.9), Some(NOW + 59 * SECOND)),
        (json!(0), Some(NOW)),
        (json!(-1), Some(NOW)),
        (json!("-1"), Some(NOW)),
        (json!(u64::MAX), Some(NOW + ten_years)),
        (json!("99999999999999999999999"), Some(NOW + ten_years)),
        (json!(null), None),
        (json!(""), None),
    ] {
        let read = tokens(&with("expires_in", expires_in.clone()));
        assert_eq!(read.expires_at, expires_at, "{expires_in}");
    }
}

#[test]
fn c35_h36_scopes_come_as_text_and_as_a_list() {
    for (scope, expected) in [
        (json!("a b"), Some("a b")),
        (json!(["a", "b"]), Some("a b")),
        (json!([]), None),
        (json!(""), None),
        (json!(null), None),
    ] {
        let read = tokens(&with("scope", scope.clone()));
        assert_eq!(read.scope.as_deref(), expected, "{scope}");
    }
}

#[test]
fn c35_h36_what_is_missing_is_none() {
    let body =
        json!({"access_token": "a", "refresh_token": null, "id_token": "", "token_type": null});
    let read = tokens(&body);
    assert_eq!(read.token_type, TokenType::Bearer);
    assert_eq!((read.refresh, read.id_token), (None, None));
}

#[test]
fn d33_a_dpop_token_is_told_apart() {
    let read = tokens(&with("token_type", json!("dpop")));
    assert_eq!(read.token_type, TokenType::Dpop);
}

#[test]
fn c35_d35_an_unusable_member_is_named_and_not_quoted() {
    for (member, value) in [
        ("access_token", json!(null)),
        ("access_token", json!("")),
        ("access_token", json!(7)),
        ("access_token", json!(["CANARY"])),
        ("access_token", json!("CANARY CANARY")),
        ("access_token", json!("CANARY\r\nX-Evil: 1")),
        ("access_token", json!("CANARYé")),
        ("access_token", json!("x".repeat(limits::TOKEN + 1))),
        ("refresh_token", json!({"CANARY": 1})),
        ("refresh_token", json!("CANARY\n")),
        ("id_token", json!("CANARY CANARY")),
        ("token_type", json!("mac")),
        ("token_type", json!("CANARY")),
        ("token_type", json!(1)),
        ("expires_in", json!("CANARY")),
        ("expires_in", json!([3600])),
        ("expires_in", json!(true)),
        ("scope", json!(1)),
        ("scope", json!(["a", {"CANARY": 1}])),
    ] {
        let error = answer(200, &with(member, value.clone())).unwrap_err();
        assert!(error.text.contains(member), "{value}: {}", error.text);
        assert_eq!(error.code, None);
        assert_hides(&error);
        let failure = error.failure();
        assert_eq!(failure.kind, Kind::TokenResponseInvalid);
        assert_eq!(failure.status, Some(200));
    }
}

#[test]
fn c35_a_body_that_is_no_object_is_refused_and_not_quoted() {
    let deep = "[".repeat(5000);
    let large = format!(
        r#"{{"access_token":"a","x":"{}"}}"#,
        "y".repeat(limits::BODY)
    );
    for body in [
        "",
        "<html>CANARY</html>",
        "[]",
        "\"CANARY\"",
        "{\"access_token\":\"CANARY\"",
        "access_token=CANARY",
        &deep,
        &large,
    ] {
        for status in [200, 400] {
            let error = read(status, JSON, Some(3), body.as_bytes(), NOW).unwrap_err();
            assert_eq!((error.status, error.code.clone()), (status, None));
            assert_eq!(error.retry_after, Some(3));
            assert_hides(&error);
            assert_eq!(error.failure().kind, Kind::TokenResponseInvalid);
        }
    }
}

#[test]
fn h24_a_form_is_read_where_the_server_says_so() {
    let body = b"access_token=gho_a%2Bb&scope=repo%2Cgist&token_type=bearer&expires_in=60";
    let tokens = read(200, FORM, None, body, NOW).unwrap();
    assert_eq!(tokens.access.reveal(), "gho_a+b");
    assert_eq!(tokens.scope.as_deref(), Some("repo,gist"));
    assert_eq!(tokens.expires_at, Some(NOW + 60 * SECOND));
    assert!(read(200, Some("text/html"), None, body, NOW).is_err());
    assert!(read(200, None, None, body, NOW).is_err());
}

#[test]
fn h24_an_error_with_status_200_is_an_error() {
    let form = b"error=bad_verification_code&error_description=The+code+is+incorrect";
    let error = read(200, FORM, None, form, NOW).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("bad_verification_code"));
    assert_eq!(error.description.as_deref(), Some("The code is incorrect"));
    assert_eq!(error.failure().kind, Kind::AuthorizationError);
    let both = with("error", json!("incorrect_client_credentials"));
    let error = answer(200, &both).unwrap_err();
    assert_eq!(error.failure().kind, Kind::ClientRejected);
    assert_eq!(error.refusal(), Refusal::ClientUnknown);
    let error = answer(200, &json!({"error": "bad_refresh_token"})).unwrap_err();
    assert_eq!(error.refusal(), Refusal::Dead);
    let odd = answer(200, &with("error", json!({"message": "CANARY"}))).unwrap_err();
    assert_hides(&odd);
    assert!(tokens(&with("error", json!(null))).refresh.is_none());
}

#[test]
fn g09_what_the_server_says_cannot_steer_a_terminal() {
    let error = refused(400, Some("a\u{1b}[2J"), "b\r\n\u{202e}c");
    for text in [&error.text, &error.failure().text] {
        assert!(
            !text.contains(['\u{1b}', '\r', '\n', '\u{202e}']),
            "{text:?}"
        );
    }
    assert!(refused(400, Some("x"), &"y".repeat(1 << 16)).text.len() < 2000);
}

#[test]
fn d06_expiry_counts_from_before_the_request() {
    let tokens = tokens(&with("expires_in", json!(60)));
    assert_eq!(tokens.issued_at, Some(NOW));
    assert!(!tokens.is_expired(NOW + 59_999));
    assert!(tokens.is_expired(NOW + 60_000));
}

fn living(lifetime: u64) -> Tokens {
    Tokens {
        access: "a".into(),
        issued_at: Some(NOW),
        expires_at: Some(NOW + lifetime),
        ..Tokens::default()
    }
}

#[test]
fn d07_a_renewal_is_due_a_minute_before_expiry() {
    let tokens = living(3600 * SECOND);
    let expiry = NOW + 3600 * SECOND;
    assert!(!tokens.is_due(expiry - 60 * SECOND - 1, 0.0));
    assert!(tokens.is_due(expiry - 60 * SECOND, 0.0));
    assert!(tokens.is_due(expiry + DAY, 0.0));
    // Another process comes up to six seconds earlier.
    assert!(!tokens.is_due(expiry - 66 * SECOND - 1, 1.0));
    assert!(tokens.is_due(expiry - 66 * SECOND, 1.0));
    for (odd, lead) in [(f64::NAN, 60), (-5.0, 60), (f64::INFINITY, 66), (1e300, 66)] {
        assert!(!tokens.is_due(expiry - lead * SECOND - 1, odd));
        assert!(tokens.is_due(expiry - lead * SECOND, odd));
    }
}

#[test]
fn d07_a_short_token_is_not_renewed_in_a_loop() {
    let tokens = living(30 * SECOND);
    assert!(!tokens.is_due(NOW, 1.0));
    assert!(!tokens.is_due(NOW + 23 * SECOND, 1.0));
    assert!(tokens.is_due(NOW + 24 * SECOND, 0.0));
    let tokens = living(2 * SECOND);
    assert!(!tokens.is_due(NOW + SECOND, 1.0));
    assert!(tokens.is_due(NOW + 1600, 0.0));
}

#[test]
fn d07_a_token_of_unknown_age_is_renewed_a_minute_before_expiry() {
    let tokens = Tokens {
        issued_at: None,
        ..living(3600 * SECOND)
    };
    let expiry = NOW + 3600 * SECOND;
    assert!(!tokens.is_due(expiry - 60 * SECOND - 1, 0.0));
    assert!(tokens.is_due(expiry - 60 * SECOND, 0.0));
}

#[test]
fn d08_a_token_without_expiry_is_good_until_the_server_says_otherwise() {
    let tokens = tokens(&with("expires_in", json!(null)));
    assert!(!tokens.is_expired(NOW + 1000 * DAY));
    assert!(!tokens.is_due(NOW + 1000 * DAY, 1.0));
}

#[test]
fn d09_a_clock_that_was_set_back_is_not_believed() {
    let tokens = living(SECOND);
    for back in [5 * 60 * SECOND + 1, DAY] {
        assert!(!tokens.is_expired(NOW - back));
        assert!(!tokens.is_due(NOW - back, 1.0));
    }
    // Nonsense from a store: it expired before it was issued.
    let odd = Tokens {
        issued_at: Some(NOW + DAY),
        ..living(SECOND)
    };
    assert!(!odd.is_expired(NOW + 2 * SECOND));
    assert!(odd.is_expired(NOW + DAY));
    // A clock that is a day ahead makes no more than a renewal.
    assert!(tokens.is_expired(NOW + DAY));
    assert!(tokens.is_due(NOW + DAY, 0.0));
}

#[test]
fn d11_what_a_renewal_leaves_out_stays() {
    let mut held = Tokens {
        refresh: Some("r1".into()),
        id_token: Some("i1".into()),
        scope: Some("a".to_owned()),
        requested_scope: Some("a b".to_owned()),
        issuer: Some("https://as.example".to_owned()),
        ..living(3600 * SECOND)
    };
    for (round, rotated, expected) in [(1, None, "r1"), (2, Some("r2"), "r2"), (3, None, "r2")] {
        let mut body = json!({"access_token": format!("a{round}")});
        if let Some(token) = rotated {
            body["refresh_token"] = json!(token);
        }
        held = held.renewed(tokens(&body));
        assert_eq!(held.access.reveal(), format!("a{round}"));
        assert_eq!(held.refresh.as_ref().unwrap().reveal(), expected);
        assert_eq!(held.scope.as_deref(), Some("a"));
        assert_eq!(held.requested_scope.as_deref(), Some("a b"));
        assert_eq!(held.issuer.as_deref(), Some("https://as.example"));
        assert_eq!(held.id_token.as_ref().unwrap().reveal(), "i1");
        // The old expiry says nothing about the new token.
        assert_eq!(held.expires_at, None);
    }
    let wider = held.renewed(tokens(&with("scope", json!("a c"))));
    assert_eq!(wider.scope.as_deref(), Some("a c"));
}

#[test]
fn c38_granted_and_requested_scopes_are_kept_apart() {
    let asked = Tokens {
        requested_scope: Some("a b".to_owned()),
        ..Tokens::default()
    };
    for (granted, expected) in [
        (json!("a"), Some("a")),
        (json!("a b c"), Some("a b c")),
        (json!(null), None),
    ] {
        let held = asked.renewed(tokens(&with("scope", granted)));
        assert_eq!(held.scope.as_deref(), expected);
        assert_eq!(held.requested_scope.as_deref(), Some("a b"));
    }
}

#[test]
fn d34_texts_that_no_server_issued_are_found() {
    assert!(living(1).is_sane());
    let secret = |text: &str| Some(Secret::from(text));
    for bad in [
        Tokens::default(),
        Tokens {
            access: "a b".into(),
            ..living(1)
        },
        Tokens {
            access: "a\n".into(),
            ..living(1)
        },
        Tokens {
            access: "x".repeat(limits::TOKEN + 1).into(),
            ..living(1)
        },
        Tokens {
            refresh: secret("r\n"),
            ..living(1)
        },
        Tokens {
            refresh: secret(""),
            ..living(1)
        },
        Tokens {
            id_token: secret("i d"),
            ..living(1)
        },
    ] {
        assert!(!bad.is_sane());
    }
    let good = Tokens {
        refresh: secret("r t"),
        id_token: secret("i"),
        ..living(1)
    };
    assert!(good.is_sane());
}

/// Small servers refuse with words of their own and no code.
#[test]
fn d19_a_refusal_in_plain_words_counts_the_second_time() {
    for (status, body, refusal) in [
        (
            401,
            json!({"detail": "Invalid refresh token"}),
            Refusal::Suspicious,
        ),
        (
            400,
            json!({"message": "unknown client"}),
            Refusal::Suspicious,
        ),
        (
            401,
            json!({"error": {"message": "expired"}}),
            Refusal::Suspicious,
        ),
        (
            400,
            json!({"error": true, "error_description": "used"}),
            Refusal::Suspicious,
        ),
        (400, json!({}), Refusal::Temporary),
        (400, json!({"detail": ""}), Refusal::Temporary),
        (401, json!("Invalid refresh token"), Refusal::Temporary),
        (403, json!({"detail": "blocked"}), Refusal::Temporary),
        (404, json!({"message": "no route"}), Refusal::Temporary),
        (429, json!({"message": "slow down"}), Refusal::Temporary),
        (500, json!({"message": "down"}), Refusal::Temporary),
        (200, json!({"message": "welcome"}), Refusal::Temporary),
    ] {
        let error = answer(status, &body).unwrap_err();
        assert_eq!(error.refusal(), refusal, "{status} {body}");
        assert_eq!(error.code, None, "{status} {body}");
    }
    let error = answer(401, &json!({"detail": "Invalid\u{1b}[2J token"})).unwrap_err();
    assert!(
        error.text.contains("Invalid\\u{1b}[2J token"),
        "{}",
        error.text
    );
}

#[test]
fn d16_d17_d18_d19_h33_h37_a_refusal_is_judged_by_status_and_code() {
    for (status, code, refusal) in [
        (400, Some("invalid_grant"), Refusal::Dead),
        (401, Some("invalid_grant"), Refusal::Dead),
        (400, Some("invalid_client"), Refusal::ClientUnknown),
        (401, Some("invalid_client"), Refusal::ClientUnknown),
        (400, Some("unauthorized_client"), Refusal::ClientUnknown),
        (400, Some("invalid_scope"), Refusal::WithoutScope),
        (400, Some("invalid_request"), Refusal::Suspicious),
        (400, Some("invalid_target"), Refusal::Suspicious),
        (400, Some("interaction_required"), Refusal::Suspicious),
        (403, Some("access_denied"), Refusal::Suspicious),
        (400, Some("temporarily_unavailable"), Refusal::Temporary),
        (400, Some("use_dpop_nonce"), Refusal::Temporary),
        // Trouble at the server proves nothing about the token, whatever it says.
        (500, Some("invalid_grant"), Refusal::Temporary),
        (503, Some("invalid_client"), Refusal::Temporary),
        (429, Some("invalid_request"), Refusal::Temporary),
        (408, None, Refusal::Temporary),
        (502, None, Refusal::Temporary),
        (400, None, Refusal::Temporary),
        (404, None, Refusal::Temporary),
        (200, None, Refusal::Temporary),
        (302, None, Refusal::Temporary),
    ] {
        assert_eq!(
            refused(status, code, "").refusal(),
            refusal,
            "{status} {code:?}"
        );
    }
    let silent = TokenError::unreachable("the connection broke");
    assert_eq!(silent.refusal(), Refusal::Temporary);
}

#[test]
fn d15_d17_trouble_is_retried_with_growing_pauses_and_not_for_ever() {
    let seconds = |error: &TokenError, tries| error.pause(tries).map(|it| it.as_secs());
    let trouble = TokenError::unreachable("x");
    assert_eq!(seconds(&trouble, 1), Some(2));
    assert_eq!(seconds(&trouble, 2), Some(4));
    assert_eq!(seconds(&trouble, 3), None);
    assert_eq!(seconds(&trouble, u32::MAX), None);
    let mut busy = refused(429, None, "");
    for (retry_after, pause) in [(0, 2), (30, 30), (60, 60), (61, 60), (u64::MAX, 60)] {
        busy.retry_after = Some(retry_after);
        assert_eq!(seconds(&busy, 1), Some(pause));
    }
    assert_eq!(seconds(&refused(400, Some("invalid_grant"), ""), 1), None);
    assert_eq!(seconds(&refused(400, Some("invalid_request"), ""), 1), None);
}

#[test]
fn c34_a_failure_says_what_happened_and_what_to_do() {
    for (status, code, kind, next_step) in [
        (
            400,
            Some("invalid_grant"),
            Kind::AuthorizationError,
            "sign in again",
        ),
        (
            401,
            Some("invalid_client"),
            Kind::ClientRejected,
            "--static-oauth-client-info",
        ),
        (
            400,
            Some("unauthorized_client"),
            Kind::ClientRejected,
            "--static-oauth-client-info",
        ),
        (
            400,
            Some("invalid_scope"),
            Kind::AuthorizationError,
            "--static-oauth-client-metadata",
        ),
        (
            400,
            Some("unsupported_grant_type"),
            Kind::AuthorizationError,
            "--device-code",
        ),
        (
            400,
            Some("access_denied"),
            Kind::AuthorizationDenied,
            "sign in again",
        ),
        (400, Some("invalid_dpop_proof"), Kind::DpopRejected, "clock"),
        (503, None, Kind::AuthorizationError, "sign in again"),
        (404, None, Kind::TokenResponseInvalid, "try again"),
    ] {
        let failure = refused(status, code, "because").failure();
        assert_eq!(
            (failure.kind, failure.status),
            (kind, Some(status)),
            "{code:?}"
        );
        assert_eq!(failure.executed, Executed::No);
        assert!(failure.text.contains(next_step), "{}", failure.text);
        if let Some(code) = code {
            assert!(failure.text.contains(code), "{}", failure.text);
            assert!(failure.text.contains("because"), "{}", failure.text);
        }
    }
    let failure = TokenError::unreachable("the connection broke").failure();
    assert_eq!(
        (failure.kind, failure.status),
        (Kind::AuthorizationError, None)
    );
    assert!(failure.text.starts_with("the connection broke; "));
}

#[test]
fn c06_h05_h30_an_unknown_resource_names_both_flags() {
    for (code, description) in [
        ("invalid_target", ""),
        (
            "invalid_request",
            "AADSTS9010010: The resource parameter does not match",
        ),
    ] {
        let failure = refused(400, Some(code), description).failure();
        assert_eq!(failure.kind, Kind::AuthorizationError);
        assert!(failure.text.contains("--resource URI"), "{}", failure.text);
        assert!(
            failure.text.contains("--disable-resource-parameter"),
            "{}",
            failure.text
        );
        assert!(failure.text.contains(description), "{}", failure.text);
    }
}

#[test]
fn h12_a_missing_secret_has_a_hint_of_its_own() {
    for code in ["invalid_request", "invalid_client"] {
        let failure = refused(400, Some(code), "client_secret is missing.").failure();
        assert_eq!(failure.kind, Kind::ClientRejected);
        assert!(
            failure
                .text
                .contains("put the client_secret into --static-oauth-client-info"),
            "{}",
            failure.text
        );
    }
}

#[test]
fn e12_e19_e21_a_refused_assertion_is_named() {
    let assertion = "the token of --workload-jwt (audience https://as.example)";
    for code in [
        "invalid_grant",
        "invalid_scope",
        "unauthorized_client",
        "other",
    ] {
        let failure = refused(400, Some(code), "").assertion_failure(assertion);
        assert_eq!(
            (failure.kind, failure.status),
            (Kind::AssertionRejected, Some(400))
        );
        assert!(failure.text.contains(code), "{}", failure.text);
        assert!(failure.text.contains(assertion), "{}", failure.text);
    }
    for (status, code, kind) in [
        (401, Some("invalid_client"), Kind::ClientRejected),
        (400, Some("invalid_target"), Kind::AuthorizationError),
        (503, Some("invalid_grant"), Kind::AuthorizationError),
        (400, None, Kind::TokenResponseInvalid),
    ] {
        let failure = refused(status, code, "").assertion_failure(assertion);
        assert_eq!(failure.kind, kind);
    }
}

#[test]
fn f25_tokens_are_hidden() {
    assert_hides(&tokens(&json!({
        "access_token": "CANARY", "refresh_token": "CANARY", "id_token": "CANARY",
    })));
}
