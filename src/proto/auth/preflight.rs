//! A stored registration that the authorization server may have forgotten: only the browser would
//! show it, on a page that leads nowhere (RFC 6749 §4.1.2.1). One look beforehand tells.
//!
//! In: judging what an authorization request is answered with. Out: the request (`edge/oauth`).

use url::Url;

/// Errors that blame the client, or an address it was not registered with.
const BLAMES: [&str; 2] = ["invalid_client", "unauthorized_client"];

/// Words of pages that say so without an error code, in lower case.
const WORDS: [&str; 12] = [
    "unknown client",
    "invalid client",
    "client not found",
    "client is invalid",
    "client does not exist",
    "client_id is invalid",
    "invalid client_id",
    "unknown client_id",
    "client_id not found",
    "unregistered redirect_uri",
    "redirect_uri did not match",
    "redirect_uri does not match",
];

/// How much of a page is read, in bytes.
const PAGE: usize = 64 << 10;

/// Whether this answer to an authorization request says that the client is not known (any more).
/// A page to sign in at never does, whatever it says.
#[must_use]
pub fn client_is_unknown(status: u16, location: Option<&str>, body: &[u8]) -> bool {
    match status {
        300..=399 => location
            .and_then(error_of)
            .is_some_and(|error| blames(&error)),
        400 | 401 | 403 | 404 | 422 => {
            let body = body.get(..PAGE).unwrap_or(body);
            let code = serde_json::from_slice::<serde_json::Value>(body)
                .ok()
                .and_then(|value| Some(value.get("error")?.as_str()?.to_owned()));
            match code {
                Some(code) if blames(&code) => true,
                _ => {
                    let text = String::from_utf8_lossy(body).to_lowercase();
                    let words = WORDS.iter().chain(&BLAMES);
                    words.into_iter().any(|words| text.contains(words))
                }
            }
        }
        _ => false,
    }
}

fn blames(error: &str) -> bool {
    BLAMES.contains(&error)
}

/// `error` in the address that the browser would be sent to.
fn error_of(location: &str) -> Option<String> {
    let url = Url::parse(location).ok()?;
    let (_, error) = url.query_pairs().find(|(name, _)| name == "error")?;
    Some(error.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b21_h34_an_answer_that_blames_the_client_says_that_it_is_unknown() {
        let back = "http://localhost:1/cb?error=unauthorized_client&state=x";
        for (status, location, body) in [
            (
                400,
                None,
                r#"{"error":"invalid_client","error_description":"x"}"#,
            ),
            (401, None, r#"{"error":"unauthorized_client"}"#),
            (
                400,
                None,
                r#"{"error":"invalid_request","error_description":"Unregistered redirect_uri"}"#,
            ),
            (404, None, "<h1>Client not found</h1>"),
            (400, None, "<p>error: invalid_client</p>"),
            (302, Some(back), ""),
        ] {
            assert!(
                client_is_unknown(status, location, body.as_bytes()),
                "{status} {body}"
            );
        }
    }

    #[test]
    fn b21_anything_else_is_left_to_the_person() {
        let login = "https://as.example/login?error=";
        let denied = "http://localhost:1/cb?error=access_denied";
        for (status, location, body) in [
            (200, None, "<h1>Sign in</h1><!-- invalid client -->"),
            (302, Some(login), ""),
            (302, Some(denied), ""),
            (302, None, "invalid_client"),
            (400, None, r#"{"error":"invalid_request"}"#),
            (403, None, "blocked by the firewall"),
            (500, None, "invalid_client"),
            (503, None, ""),
        ] {
            assert!(
                !client_is_unknown(status, location, body.as_bytes()),
                "{status} {body}"
            );
        }
    }
}
