//! Device authorization (RFC 8628).
//!
//! In: the start and its answer, what to show, and when to poll. Out: requests and waiting.

use std::time::Duration;

use super::answer::{self, Members, Unusable};
use super::authorize::openable;
use super::grant::Form;
use super::limits;
use super::token::TokenError;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::secret::Secret;

/// Pause before each poll where the server names none (RFC 8628 §3.2).
const INTERVAL: u64 = 5;

/// What `slow_down` adds to the pause, for good (RFC 8628 §3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// The device authorization request (RFC 8628 §3.1), to be completed by [`Form::by`]. RFC 8707
/// does not speak of this endpoint, and a server that does not know `resource` ignores it (RFC 6749
/// §3.1).
#[must_use]
pub fn request(scope: Option<&str>, resource: Option<&str>) -> Form {
    Form::new()
        .with_some("scope", scope)
        .with_some("resource", resource)
}

/// The answer of the device authorization endpoint (RFC 8628 §3.2), checked.
#[derive(Clone, Debug)]
pub struct DeviceCode {
    /// `device_code`.
    pub device_code: Secret,
    /// `user_code`, printable ASCII.
    pub user_code: String,
    /// `verification_uri`, checked by `authorize::openable`.
    pub verification_uri: String,
    /// `verification_uri_complete`, checked likewise.
    pub verification_uri_complete: Option<String>,
    /// How long it is good for.
    pub expires_in: Duration,
    /// Pause before each poll.
    pub interval: Duration,
}

/// What to do after a poll.
#[derive(Clone, Debug)]
pub enum Poll {
    /// Wait this long, then poll again.
    Again(Duration),
    /// It is over.
    Failed(Failure),
}

impl DeviceCode {
    /// Reads the answer. `verification_url`, the name in early drafts, is taken as well.
    ///
    /// # Errors
    /// `token_response_invalid` naming the member, `insecure_url`, or the server's error.
    pub fn read(status: u16, body: &[u8]) -> Result<Self, Failure> {
        let members = answer::object(body);
        if let Some(refused) = members.as_ref().and_then(answer::refused) {
            let text = format!(
                "the authorization server gave no device code{}",
                refused.in_brackets()
            );
            let error = TokenError {
                status,
                code: refused.code,
                description: refused.description,
                retry_after: None,
                text,
            };
            return Err(error.failure());
        }
        let wrong = |what: String| {
            let text = format!(
                "{what}; sign in with a browser instead, without --device-code, if this goes on"
            );
            Failure::new(Kind::TokenResponseInvalid, Executed::No, text).with_status(status)
        };
        let members = match members {
            Some(members) if answer::is_success(status) => members,
            _ => {
                return Err(wrong(format!(
                    "the device authorization endpoint answered HTTP {status} without a device code"
                )));
            }
        };
        let code = Self::from_members(members).map_err(|Unusable(member)| {
            wrong(format!(
                "the answer of the device authorization endpoint has no usable {member}"
            ))
        })?;
        openable(&code.verification_uri)?;
        if let Some(complete) = &code.verification_uri_complete {
            openable(complete)?;
        }
        Ok(code)
    }

    fn from_members(mut members: Members) -> Result<Self, Unusable> {
        let expires_in = answer::seconds(&members, "expires_in")?.ok_or(Unusable("expires_in"))?;
        let interval = answer::seconds(&members, "interval")?.unwrap_or(INTERVAL);
        let mut text = |name| answer::text(&mut members, name);
        let device_code = text("device_code")?
            .filter(|code| code.len() <= limits::TOKEN)
            .ok_or(Unusable("device_code"))?;
        let user_code = text("user_code")?
            .filter(|code| answer::is_printable(code) && code.len() <= limits::USER_CODE)
            .ok_or(Unusable("user_code"))?;
        let verification_uri = match text("verification_uri")? {
            Some(address) => address,
            None => text("verification_url")?.ok_or(Unusable("verification_uri"))?,
        };
        let (shortest, longest) = limits::DEVICE_INTERVALS;
        Ok(Self {
            device_code: device_code.into(),
            user_code,
            verification_uri,
            verification_uri_complete: text("verification_uri_complete")?,
            expires_in: Duration::from_secs(expires_in).min(limits::DEVICE_CODE),
            interval: Duration::from_secs(interval).clamp(shortest, longest),
        })
    }

    /// What the person has to do. The code is shown even where an address carries it, so that the
    /// two can be compared (RFC 8628 §5.4).
    #[must_use]
    pub fn instructions(&self) -> String {
        let Self {
            user_code,
            verification_uri,
            ..
        } = self;
        match &self.verification_uri_complete {
            Some(complete) => format!(
                "to sign in, open {complete} on any device and check that it shows the code \
                 {user_code}, or open {verification_uri} and enter that code"
            ),
            None => format!(
                "to sign in, open {verification_uri} on any device and enter the code {user_code}"
            ),
        }
    }

    /// What an answer without tokens means. `slow_down` makes every later pause longer, and so
    /// does trouble on the way (RFC 8628 §3.5).
    #[must_use]
    pub fn after(&mut self, error: &TokenError) -> Poll {
        let (_, longest) = limits::DEVICE_INTERVALS;
        match error.code.as_deref() {
            Some("authorization_pending") => Poll::Again(self.interval),
            Some("slow_down") => {
                self.interval = (self.interval + SLOWER).min(longest);
                Poll::Again(self.interval)
            }
            Some("expired_token") => Poll::Failed(self.expired()),
            Some("access_denied") => {
                let text = "the sign-in was refused on the other device; to sign in after all, \
                            run mcp-bridge login URL --device-code";
                Poll::Failed(Failure::new(Kind::DeviceDenied, Executed::No, text))
            }
            _ if error.is_trouble() => {
                self.interval = (self.interval * 2).min(longest);
                let asked = Duration::from_secs(error.retry_after.unwrap_or_default());
                Poll::Again(self.interval.max(asked.min(longest)))
            }
            _ => Poll::Failed(error.failure()),
        }
    }

    /// The failure once [`Self::expires_in`] has passed.
    #[must_use]
    pub fn expired(&self) -> Failure {
        let minutes = self.expires_in.as_secs().div_ceil(60);
        let text = format!(
            "nobody signed in with the device code while it was good ({minutes} min at most); for \
             a new one, run mcp-bridge login URL --device-code"
        );
        Failure::new(Kind::DeviceExpired, Executed::No, text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn minimal() -> Value {
        json!({
            "device_code": "CANARY",
            "user_code": "WDJB-MJHT",
            "verification_uri": "https://as.example/device",
            "expires_in": 600,
        })
    }

    fn with(member: &str, value: Value) -> Value {
        let mut answer = minimal();
        answer[member] = value;
        answer
    }

    fn read(answer: &Value) -> Result<DeviceCode, Failure> {
        DeviceCode::read(200, answer.to_string().as_bytes())
    }

    fn error(status: u16, code: Option<&str>) -> TokenError {
        TokenError {
            status,
            code: code.map(str::to_owned),
            description: None,
            retry_after: None,
            text: "refused".to_owned(),
        }
    }

    #[track_caller]
    fn again(code: &mut DeviceCode, error: &TokenError) -> u64 {
        match code.after(error) {
            Poll::Again(pause) => pause.as_secs(),
            Poll::Failed(failure) => panic!("{failure:?}"),
        }
    }

    #[track_caller]
    fn failed(code: &mut DeviceCode, error: &TokenError) -> Failure {
        match code.after(error) {
            Poll::Failed(failure) => failure,
            Poll::Again(pause) => panic!("again in {pause:?}"),
        }
    }

    #[test]
    fn e06_the_start_asks_for_scope_and_resource() {
        let form = request(Some("a b"), Some("https://mcp.example/"));
        assert_eq!(
            form.body().reveal(),
            "scope=a+b&resource=https%3A%2F%2Fmcp.example%2F"
        );
        assert_eq!(request(None, None).body().reveal(), "");
    }

    #[test]
    fn e06_minimal_and_full_answers_are_read() {
        let code = read(&minimal()).unwrap();
        assert_eq!(code.device_code.reveal(), "CANARY");
        assert_eq!(code.interval, Duration::from_secs(5));
        assert_eq!(code.expires_in, Duration::from_secs(600));
        assert_eq!(code.verification_uri_complete, None);
        let full = json!({
            "device_code": "d",
            "user_code": "A B",
            "verification_url": "https://as.example/device",
            "verification_uri_complete": "https://as.example/device?user_code=A+B",
            "expires_in": "900",
            "interval": "7",
            "message": "ignored",
        });
        let code = read(&full).unwrap();
        assert_eq!(code.verification_uri, "https://as.example/device");
        assert_eq!(code.interval, Duration::from_secs(7));
        assert_eq!(code.expires_in, Duration::from_secs(900));
    }

    #[test]
    fn e06_a_missing_member_is_named() {
        for member in ["device_code", "user_code", "verification_uri", "expires_in"] {
            for value in [json!(null), json!(["x"]), json!("")] {
                let failure = read(&with(member, value)).unwrap_err();
                assert_eq!(failure.kind, Kind::TokenResponseInvalid);
                assert!(failure.text.contains(member), "{}", failure.text);
                assert!(!failure.text.contains("CANARY"), "{}", failure.text);
            }
        }
    }

    #[test]
    fn e06_a_refusal_says_what_the_server_says() {
        let body = br#"{"error":"invalid_scope","error_description":"no \u001b[2J"}"#;
        let failure = DeviceCode::read(400, body).unwrap_err();
        assert_eq!(failure.kind, Kind::AuthorizationError);
        assert!(failure.text.contains("invalid_scope"), "{}", failure.text);
        assert!(!failure.text.contains('\u{1b}'));
        let failure = DeviceCode::read(404, b"<html>CANARY").unwrap_err();
        assert_eq!(failure.kind, Kind::TokenResponseInvalid);
        assert!(failure.text.contains("404"), "{}", failure.text);
        assert!(!failure.text.contains("CANARY"), "{}", failure.text);
    }

    #[test]
    fn e07_address_and_code_are_shown_together() {
        let complete = "https://as.example/device?user_code=WDJB-MJHT";
        for answer in [
            minimal(),
            with("verification_uri_complete", json!(complete)),
        ] {
            let shown = read(&answer).unwrap().instructions();
            assert!(shown.contains("https://as.example/device "), "{shown}");
            assert!(shown.contains("code WDJB-MJHT"), "{shown}");
            assert!(!shown.contains("CANARY"), "{shown}");
        }
        let code = read(&with("verification_uri_complete", json!(complete))).unwrap();
        assert!(code.instructions().contains(complete));
    }

    #[test]
    fn e07_what_could_steer_a_terminal_or_a_shell_is_refused() {
        for hostile in ["A\u{1b}[2J", "A\nB", "ä", "\u{202e}", &"A".repeat(65)] {
            let failure = read(&with("user_code", json!(hostile))).unwrap_err();
            assert_eq!(failure.kind, Kind::TokenResponseInvalid, "{hostile:?}");
            assert!(failure.text.contains("user_code"), "{}", failure.text);
        }
        for member in ["verification_uri", "verification_uri_complete"] {
            for hostile in [
                "javascript:alert(1)",
                "file:///etc/passwd",
                "http://as.example/device",
                "https://as.example/\u{1b}[2J",
            ] {
                let failure = read(&with(member, json!(hostile))).unwrap_err();
                assert_eq!(failure.kind, Kind::InsecureUrl, "{hostile}");
                assert!(!failure.text.contains('\u{1b}'), "{}", failure.text);
            }
        }
    }

    #[test]
    fn e08_polling_follows_the_servers_pace() {
        let mut code = read(&minimal()).unwrap();
        let pending = error(400, Some("authorization_pending"));
        let slow_down = error(400, Some("slow_down"));
        assert_eq!(again(&mut code, &pending), 5);
        assert_eq!(again(&mut code, &slow_down), 10);
        assert_eq!(again(&mut code, &pending), 10);
        assert_eq!(again(&mut code, &slow_down), 15);
        assert_eq!(again(&mut code, &TokenError::unreachable("timeout")), 30);
        assert_eq!(again(&mut code, &error(503, None)), 60);
        assert_eq!(again(&mut code, &slow_down), 60);
        assert_eq!(again(&mut code, &pending), 60);
        let failure = failed(&mut code, &error(400, Some("access_denied")));
        assert_eq!(failure.kind, Kind::DeviceDenied);
        let failure = failed(&mut code, &error(400, Some("expired_token")));
        assert_eq!(failure.kind, Kind::DeviceExpired);
        let failure = failed(&mut code, &error(401, Some("invalid_client")));
        assert_eq!(failure.kind, Kind::ClientRejected);
        let failure = failed(&mut code, &error(400, None));
        assert_eq!(failure.kind, Kind::TokenResponseInvalid);
    }

    #[test]
    fn e08_neither_hurry_nor_patience_is_the_servers_alone_to_choose() {
        let code = read(&with("interval", json!(0))).unwrap();
        assert_eq!(code.interval, Duration::from_secs(1));
        let mut code = read(&with("interval", json!(1e9))).unwrap();
        assert_eq!(code.interval, Duration::from_secs(60));
        let code_of_a_year = read(&with("expires_in", json!(31_536_000))).unwrap();
        assert_eq!(code_of_a_year.expires_in, Duration::from_secs(1800));
        let mut busy = error(429, None);
        busy.retry_after = Some(u64::MAX);
        assert_eq!(again(&mut code, &busy), 60);
    }

    #[test]
    fn e09_an_expired_code_says_how_to_start_again() {
        let failure = read(&minimal()).unwrap().expired();
        assert_eq!(failure.kind, Kind::DeviceExpired);
        assert!(failure.text.contains("10 min"), "{}", failure.text);
        assert!(
            failure.text.contains("mcp-bridge login URL --device-code"),
            "{}",
            failure.text
        );
    }

    #[test]
    fn f25_the_device_code_is_hidden() {
        assert!(!format!("{:?}", read(&minimal()).unwrap()).contains("CANARY"));
    }
}
