//! Whether a redirect is followed, and where to (RFC 9110 §15.4).
//!
//! In: one answer with its `Location`. Out: sending the request again, remembering a permanent
//! move, and the credentials, which stay because a followed redirect stays on the same host.

use url::Url;

use super::Verb;
use super::text::{EXCERPT_CHARS, public_part, public_url, sanitize};

/// Most redirects that one request follows.
pub const MAX_HOPS: usize = 5;

/// Where the request goes next, with the same method, headers and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// Target, without fragment.
    pub url: Url,
    /// The server says that the address has changed for good (301, 308).
    pub permanent: bool,
}

/// A redirect that is not followed: one sentence with the target and the next step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Judges a redirect. `from` is the address that answered, `hops` how many redirects this request
/// has followed before.
///
/// Followed are 301, 302, 307 and 308 for every method, without changing it, and 303 for GET; the
/// target must have the same origin, or be `https` on the same host where `from` was `http`.
/// A redirect to the same address is followed once (it may have set a cookie); a longer circle
/// ends at [`MAX_HOPS`].
///
/// # Errors
///
/// [`Refused`] in every other case.
pub fn follow(
    verb: Verb,
    from: &Url,
    status: u16,
    location: Option<&str>,
    hops: usize,
) -> Result<Next, Refused> {
    let location = location.ok_or_else(|| {
        Refused(format!(
            "{} answered with a redirect (HTTP {status}) that names no target; check the address",
            shown(from)
        ))
    })?;
    let mut url = from.join(location).map_err(|_| {
        Refused(format!(
            "{} redirects to \"{}\", which is not an address; check the address",
            shown(from),
            sanitize(public_part(location), EXCERPT_CHARS)
        ))
    })?;
    url.set_fragment(None);
    let refuse = |reason: &str| {
        Err(Refused(format!(
            "{} redirects to {}, {reason}",
            shown(from),
            shown(&url)
        )))
    };
    match status {
        301 | 302 | 307 | 308 => {}
        303 if verb == Verb::Get => {}
        303 => {
            return refuse(&format!(
                "which is not an endpoint for {} (HTTP 303); check the address, or whether the server wants a sign-in",
                verb.as_str()
            ));
        }
        _ => {
            return refuse(&format!(
                "in a way that is not supported (HTTP {status}); check the address"
            ));
        }
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse(
            "with a user name or password in the address, which is not followed; ask the server's operator",
        );
    }
    match (from.scheme(), url.scheme()) {
        ("https", "http") => {
            return refuse(
                "which is not encrypted, so it is not followed; ask the server's operator for an https address",
            );
        }
        ("http", "https") if from.host() == url.host() => {}
        _ if from.origin() == url.origin() && matches!(url.scheme(), "http" | "https") => {}
        _ => {
            return refuse(
                "which is another server, so it is not followed; if you trust it, use that address instead",
            );
        }
    }
    if hops >= MAX_HOPS {
        return refuse(&format!(
            "after {MAX_HOPS} redirects already; check the address"
        ));
    }
    if hops > 0 && url == *from {
        return refuse("which is the same address again; check the address");
    }
    Ok(Next {
        permanent: matches!(status, 301 | 308),
        url,
    })
}

fn shown(url: &Url) -> String {
    sanitize(&public_url(url), EXCERPT_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERBS: [Verb; 3] = [Verb::Post, Verb::Get, Verb::Delete];

    fn go(verb: Verb, from: &str, status: u16, to: &str, hops: usize) -> Result<Next, String> {
        follow(verb, &Url::parse(from).unwrap(), status, Some(to), hops)
            .map_err(|refused| refused.0)
    }

    fn target(from: &str, to: &str) -> Option<String> {
        go(Verb::Post, from, 307, to, 0)
            .ok()
            .map(|next| next.url.into())
    }

    #[test]
    fn t65_same_origin_is_followed_with_every_method() {
        for verb in VERBS {
            for (status, permanent) in [(301, true), (302, false), (307, false), (308, true)] {
                let url = Url::parse("https://h/mcp/").unwrap();
                let next = go(verb, "https://h/mcp", status, "/mcp/", 0);
                assert_eq!(next, Ok(Next { url, permanent }), "{verb:?} {status}");
            }
        }
    }

    #[test]
    fn targets_resolve_against_the_address_that_answered() {
        assert_eq!(
            target("https://h/a/mcp", "b?x=1#f").as_deref(),
            Some("https://h/a/b?x=1")
        );
        assert_eq!(
            target("https://h/a", "//h/b").as_deref(),
            Some("https://h/b")
        );
        assert_eq!(
            target("https://h/a", "https://H:443/b").as_deref(),
            Some("https://h/b")
        );
    }

    #[test]
    fn t66_http_may_become_https_on_the_same_host() {
        assert_eq!(
            target("http://h/mcp", "https://h/mcp").as_deref(),
            Some("https://h/mcp")
        );
        assert_eq!(
            target("http://h:8080/", "https://h:8443/").as_deref(),
            Some("https://h:8443/")
        );
        assert_eq!(target("http://h/mcp", "https://www.h/mcp"), None);
    }

    #[test]
    fn https_never_becomes_http() {
        for verb in VERBS {
            let text = go(verb, "https://h/mcp", 307, "http://h/mcp", 0).unwrap_err();
            assert!(
                text.contains("not encrypted") && text.contains("http://h/mcp"),
                "{text}"
            );
        }
    }

    #[test]
    fn t67_another_server_is_named_not_followed() {
        for to in [
            "https://other/mcp?token=secret",
            "//other/mcp",
            "https://h:8443/mcp",
        ] {
            let text = go(Verb::Post, "https://h/mcp", 308, to, 0).unwrap_err();
            assert!(text.contains("use that address instead"), "{text}");
            assert!(text.contains("/mcp") && !text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn g06_odd_targets_are_refused() {
        for to in [
            "http://169.254.169.254/latest",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "data:,x",
            "ftp://h/mcp",
            "https://user:pw@h/mcp",
            "https://user@h/mcp",
            "https://",
            "https://[::bad/",
        ] {
            let text = go(Verb::Get, "https://h/mcp", 302, to, 0).unwrap_err();
            assert!(
                !text.contains("user") || text.contains("user name"),
                "{text}"
            );
            assert!(!text.contains("pw"), "{text}");
        }
        let text = go(
            Verb::Get,
            "https://h/mcp",
            302,
            "https://[\u{1b}]8;;x\u{202e}/?k=secret",
            0,
        )
        .unwrap_err();
        assert!(
            text.contains("\\u{1b}") && !text.contains(['\u{1b}', '\u{202e}']),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn t64_see_other_is_followed_for_get_alone() {
        assert!(go(Verb::Get, "https://h/mcp", 303, "/login", 0).is_ok());
        for verb in [Verb::Post, Verb::Delete] {
            let text = go(verb, "https://h/mcp", 303, "/login", 0).unwrap_err();
            assert!(
                text.contains("https://h/login") && text.contains(verb.as_str()),
                "{text}"
            );
        }
    }

    #[test]
    fn other_statuses_and_missing_targets_are_refused() {
        for status in [300, 304, 305, 306, 399] {
            assert!(
                go(Verb::Get, "https://h/", status, "/x", 0).is_err(),
                "{status}"
            );
        }
        let text = follow(
            Verb::Get,
            &Url::parse("https://h/?k=secret").unwrap(),
            307,
            None,
            0,
        );
        let text = text.unwrap_err().0;
        assert!(
            text.contains("https://h/ ") && text.contains("307") && !text.contains("secret"),
            "{text}"
        );
    }

    #[test]
    fn t68_circles_end() {
        let hop = |hops| go(Verb::Post, "https://h/a", 307, "/b", hops);
        assert!((0..MAX_HOPS).all(|hops| hop(hops).is_ok()));
        assert!(hop(MAX_HOPS).unwrap_err().contains("after 5 redirects"));
        assert!(go(Verb::Get, "https://h/a", 302, "/a", 0).is_ok());
        assert!(
            go(Verb::Get, "https://h/a", 302, "/a#x", 1)
                .unwrap_err()
                .contains("same address")
        );
    }
}
