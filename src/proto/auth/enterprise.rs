//! Enterprise-managed authorization: an identity assertion grant (ID-JAG) from the enterprise's
//! identity provider, exchanged for an access token (RFC 8693, RFC 7523; MCP extension
//! `io.modelcontextprotocol/enterprise-managed-authorization`).
//!
//! In: the token exchange request and its answer. Out: requests, and the second step, which is
//! `grant::jwt_bearer`.

use super::answer;
use super::client::{Client, ClientAuth, Provenance, Registered};
use super::grant::Form;
use super::settings::Enterprise;
use super::token::TokenError;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::secret::Secret;
use crate::proto::text::sanitize;

/// Grant type of token exchange (RFC 8693 §2.1).
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Token type of an identity assertion grant
/// (draft-ietf-oauth-identity-assertion-authz-grant).
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// Longest issuer that is quoted, in characters.
const ISSUER_CHARS: usize = 200;

/// The token exchange at the identity provider (RFC 8693 §2.1), complete with what identifies the
/// client there: with a secret `client_secret_basic`, else its id. `audience` is the issuer of the
/// server's authorization server.
#[must_use]
pub fn exchange(
    idp: &Enterprise,
    subject: &Secret,
    audience: &str,
    resource: &str,
    scope: Option<&str>,
) -> Form {
    Form::new()
        .with("grant_type", TOKEN_EXCHANGE)
        .with("requested_token_type", ID_JAG)
        .with("audience", audience)
        .with("resource", resource)
        .with("subject_token", subject.reveal())
        .with("subject_token_type", &idp.subject_type)
        .with_some("scope", scope)
        .by(&client(idp), None)
}

/// The client that the identity provider knows.
fn client(idp: &Enterprise) -> Client {
    Client {
        id: idp.client_id.clone(),
        auth: match &idp.client_secret {
            Some(secret) => ClientAuth::Basic(secret.clone()),
            None => ClientAuth::None,
        },
        provenance: Provenance::Given,
        redirect_uris: Vec::new(),
        issuer: idp.issuer.clone(),
        scope: None,
        secret_expires_at: None,
        registered: Registered::default(),
    }
}

/// The assertion in the identity provider's answer (RFC 8693 §2.2). It is to be used once and kept
/// nowhere.
///
/// # Errors
/// The provider's error, in words that name the organisation; an answer that holds something
/// other than an ID-JAG.
pub fn assertion(status: u16, body: &[u8]) -> Result<Secret, TokenError> {
    let error = |refused: answer::Refused, text: String| TokenError {
        status,
        code: refused.code,
        description: refused.description,
        retry_after: None,
        text,
    };
    let members = answer::object(body);
    if let Some(refused) = members.as_ref().and_then(answer::refused) {
        let text = format!(
            "your organisation's identity provider refused a grant for this server{}",
            refused.in_brackets()
        );
        return Err(error(refused, text));
    }
    let unusable = |text: String| error(answer::Refused::default(), text);
    if !answer::is_success(status) {
        return Err(unusable(format!(
            "your organisation's identity provider answered HTTP {status} without saying why"
        )));
    }
    let no_usable = |member: &str| {
        unusable(format!(
            "the answer of your organisation's identity provider has no usable {member}"
        ))
    };
    let mut members = members.ok_or_else(|| no_usable("JSON object"))?;
    let mut text = |name| answer::text(&mut members, name).map_err(|wrong| no_usable(wrong.0));
    if text("issued_token_type")?.as_deref() != Some(ID_JAG) {
        return Err(no_usable(
            "issued_token_type: it holds something else than an ID-JAG",
        ));
    }
    if text("token_type")?.is_some_and(|name| !name.eq_ignore_ascii_case("n_a")) {
        return Err(no_usable("token_type: an ID-JAG has N_A"));
    }
    let grant = text("access_token")?.map(Secret::from);
    grant
        .filter(|grant| answer::is_visible(grant.reveal()))
        .ok_or_else(|| no_usable("access_token"))
}

/// The failure to show when the identity provider gave no grant.
#[must_use]
pub fn failure(idp: &Enterprise, error: &TokenError) -> Failure {
    let name = idp.issuer.as_deref().map_or_else(String::new, |issuer| {
        format!(" {}", sanitize(issuer, ISSUER_CHARS))
    });
    let (kind, next_step) = match error.code.as_deref() {
        _ if error.is_trouble() => return error.failure(),
        // A subject token that is not accepted is an invalid request (RFC 8693 §2.2.2).
        Some("invalid_grant" | "invalid_request") => (
            Kind::SignInRequired,
            format!(
                "the token that says who you are may be too old: sign in at the identity \
                 provider{name} again, and renew what --enterprise-idp takes the id_token from"
            ),
        ),
        Some("access_denied" | "invalid_target" | "invalid_scope" | "unauthorized_client") => (
            Kind::AuthorizationDenied,
            format!("ask those who run the identity provider{name} to allow this server"),
        ),
        Some("invalid_client") => (
            Kind::ClientRejected,
            "check client_id and client_secret in --enterprise-idp".to_owned(),
        ),
        Some(_) => (
            Kind::AssertionRejected,
            "check what --enterprise-idp says".to_owned(),
        ),
        None => (
            Kind::TokenResponseInvalid,
            format!(
                "ask those who run the identity provider{name} whether it takes part in \
                 enterprise-managed authorization"
            ),
        ),
    };
    let text = format!("{}; {next_step}", error.text);
    Failure::new(kind, Executed::No, text).with_status(error.status)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::settings::Source;
    use super::*;

    fn idp(secret: Option<&str>) -> Enterprise {
        Enterprise {
            issuer: Some("https://idp.example".to_owned()),
            token_endpoint: None,
            client_id: "desk".to_owned(),
            client_secret: secret.map(Secret::from),
            subject: Source::Text("CANARY".into()),
            subject_type: "urn:ietf:params:oauth:token-type:id_token".to_owned(),
        }
    }

    fn read(status: u16, body: &serde_json::Value) -> Result<Secret, TokenError> {
        assertion(status, body.to_string().as_bytes())
    }

    #[test]
    fn e11_the_exchange_names_everything_the_provider_needs() {
        let form = exchange(
            &idp(None),
            &"id.token".into(),
            "https://as.example",
            "https://mcp.example/mcp",
            Some("a b"),
        );
        let body = form.body();
        assert_eq!(
            body.reveal(),
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange\
             &requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid-jag\
             &audience=https%3A%2F%2Fas.example&resource=https%3A%2F%2Fmcp.example%2Fmcp\
             &subject_token=id.token\
             &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid_token\
             &scope=a+b&client_id=desk"
        );
        let form = exchange(&idp(Some("s")), &"t".into(), "i", "r", None);
        assert!(form.authorization.is_some());
        assert_eq!(form.get("client_id"), None);
        assert_eq!(form.get("scope"), None);
    }

    #[test]
    fn e11_only_an_identity_assertion_grant_is_taken() {
        let good =
            json!({"issued_token_type": ID_JAG, "token_type": "N_A", "access_token": "a.b.c"});
        assert_eq!(read(200, &good).unwrap().reveal(), "a.b.c");
        let mut silent = good.clone();
        silent["token_type"] = json!(null);
        assert_eq!(read(200, &silent).unwrap().reveal(), "a.b.c");
        let plain = "urn:ietf:params:oauth:token-type:access_token";
        for (member, value) in [
            ("issued_token_type", json!(plain)),
            ("issued_token_type", json!(null)),
            ("issued_token_type", json!(7)),
            ("token_type", json!("Bearer")),
            ("access_token", json!("")),
            ("access_token", json!("CANARY\r\nx: y")),
            ("access_token", json!("x".repeat(65 << 10))),
        ] {
            let mut answer = good.clone();
            answer[member] = value;
            let error = read(200, &answer).unwrap_err();
            assert!(error.text.contains(member), "{}", error.text);
            assert!(!error.text.contains("CANARY"), "{}", error.text);
            let failure = failure(&idp(None), &error);
            assert_eq!(failure.kind, Kind::TokenResponseInvalid);
        }
        assert!(assertion(200, b"<html>").is_err());
        assert!(assertion(200, &vec![b' '; (1 << 20) + 1]).is_err());
    }

    #[test]
    fn e11_a_refusal_is_the_organisations() {
        for (code, kind) in [
            ("access_denied", Kind::AuthorizationDenied),
            ("invalid_target", Kind::AuthorizationDenied),
            ("invalid_client", Kind::ClientRejected),
            ("unsupported_grant_type", Kind::AssertionRejected),
        ] {
            let answer = json!({"error": code, "error_description": "no\u{7}"});
            let error = read(400, &answer).unwrap_err();
            let failure = failure(&idp(None), &error);
            assert_eq!(failure.kind, kind, "{code}");
            assert_eq!(failure.status, Some(400));
            assert!(
                failure.text.contains("your organisation"),
                "{}",
                failure.text
            );
            assert!(failure.text.contains(code), "{}", failure.text);
            assert!(!failure.text.contains('\u{7}'));
        }
    }

    #[test]
    fn e13_a_dead_subject_token_asks_for_a_sign_in_at_the_provider() {
        let error = read(400, &json!({"error": "invalid_grant"})).unwrap_err();
        let failure = failure(&idp(None), &error);
        assert_eq!(failure.kind, Kind::SignInRequired);
        assert!(
            failure.text.contains("https://idp.example"),
            "{}",
            failure.text
        );
        assert!(
            failure.text.contains("--enterprise-idp"),
            "{}",
            failure.text
        );
    }

    #[test]
    fn e13_trouble_at_the_provider_is_not_a_refusal() {
        let error = assertion(503, b"").unwrap_err();
        let failure = failure(&idp(None), &error);
        assert_eq!(failure.kind, Kind::AuthorizationError);
    }
}
