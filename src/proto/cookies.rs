//! Cookies of this process, so that a load balancer keeps a session on one machine.
//!
//! In: `Set-Cookie` of answers, `Cookie` for requests, per exact origin. Out: cookies on disk,
//! cookies across origins (`Domain` is ignored, so there are none).

use std::fmt;
use std::time::{Duration, SystemTime};

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use url::{Origin, Url};

/// Most cookies kept for one origin; a further one pushes out the oldest.
pub const COOKIES_PER_ORIGIN: usize = 64;

/// Longest `Set-Cookie` value that is read, in bytes; a longer one is ignored.
pub const COOKIE_BYTES: usize = 4 << 10;

/// Most origins that cookies are kept for; a further one pushes out the oldest.
pub const ORIGINS: usize = 16;

/// The cookies of the servers talked to, in memory alone.
///
/// `Path`, `Expires` and `Max-Age` count as in RFC 6265 §5.2; `Domain`, `Secure`, `HttpOnly` and
/// `SameSite` do not: a cookie goes back to the origin it came from and to no other, and within an
/// origin the newest of a name replaces the one before, whatever its path.
#[derive(Default)]
pub struct Jar {
    origins: Vec<(Origin, Vec<Cookie>)>,
}

impl Jar {
    /// Takes the `Set-Cookie` headers of an answer from `url`.
    pub fn store(&mut self, url: &Url, headers: &HeaderMap, now: SystemTime) {
        for header in headers.get_all(SET_COOKIE) {
            if let Some(cookie) = Cookie::parse(header.as_bytes(), url, now) {
                put(self.cookies_of(url), cookie, now);
            }
        }
    }

    /// The `Cookie` header of a request to `url`: oldest first, marked sensitive. `None` if there
    /// is no cookie for it.
    #[must_use]
    pub fn header(&self, url: &Url, now: SystemTime) -> Option<HeaderValue> {
        let origin = url.origin();
        let (_, cookies) = self.origins.iter().find(|(of, _)| *of == origin)?;
        let pairs: Vec<_> = cookies
            .iter()
            .filter(|cookie| !cookie.is_expired(now) && cookie.is_for(url.path()))
            .map(|cookie| [cookie.name.as_slice(), &cookie.value].join(&b'='))
            .collect();
        if pairs.is_empty() {
            return None;
        }
        let mut header = HeaderValue::from_bytes(&pairs.join(b"; ".as_slice())).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    fn cookies_of(&mut self, url: &Url) -> &mut Vec<Cookie> {
        let origin = url.origin();
        let place = self
            .origins
            .iter()
            .position(|(of, _)| *of == origin)
            .unwrap_or_else(|| {
                if self.origins.len() == ORIGINS {
                    self.origins.remove(0);
                }
                self.origins.push((origin, Vec::new()));
                self.origins.len() - 1
            });
        #[expect(clippy::indexing_slicing, reason = "found or pushed just above")]
        &mut self.origins[place].1
    }
}

/// Prints how many cookies there are, nothing of them.
impl fmt::Debug for Jar {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: usize = self.origins.iter().map(|(_, cookies)| cookies.len()).sum();
        write!(out, "Jar({count} cookies)")
    }
}

struct Cookie {
    name: Vec<u8>,
    value: Vec<u8>,
    path: Vec<u8>,
    /// `None`: as long as the process.
    expires: Option<SystemTime>,
}

impl Cookie {
    fn parse(header: &[u8], url: &Url, now: SystemTime) -> Option<Self> {
        if header.len() > COOKIE_BYTES {
            return None;
        }
        let mut parts = header.split(|byte| *byte == b';');
        let (name, value) = split_pair(parts.next()?)?;
        if name.is_empty() {
            return None;
        }
        let mut path = default_path(url);
        let mut expires = None;
        let mut max_age = None;
        for part in parts {
            let (key, value) = split_pair(part).unwrap_or((part.trim_ascii(), b""));
            if key.eq_ignore_ascii_case(b"path") && value.starts_with(b"/") {
                path = value;
            } else if key.eq_ignore_ascii_case(b"expires") {
                expires = date(value).or(expires);
            } else if key.eq_ignore_ascii_case(b"max-age") {
                max_age = seconds(value).or(max_age);
            }
        }
        let expires = match max_age {
            Some(seconds) => now.checked_add(Duration::from_secs(seconds)),
            None => expires,
        };
        Some(Self {
            name: name.into(),
            value: value.into(),
            path: path.into(),
            expires,
        })
    }

    fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }

    /// RFC 6265 §5.1.4.
    fn is_for(&self, path: &str) -> bool {
        path.as_bytes()
            .strip_prefix(self.path.as_slice())
            .is_some_and(|rest| {
                rest.is_empty() || self.path.ends_with(b"/") || rest.starts_with(b"/")
            })
    }
}

/// Adds a cookie, or replaces the one of its name; expired ones go.
fn put(cookies: &mut Vec<Cookie>, cookie: Cookie, now: SystemTime) {
    if let Some(known) = cookies.iter_mut().find(|known| known.name == cookie.name) {
        *known = cookie;
    } else {
        cookies.push(cookie);
    }
    cookies.retain(|cookie| !cookie.is_expired(now));
    if cookies.len() > COOKIES_PER_ORIGIN {
        cookies.remove(0);
    }
}

/// Name and value around the first `=`, without the white space around them.
fn split_pair(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b'=', part)?;
    let (name, value) = part.split_at(at);
    Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
}

/// RFC 6265 §5.1.4: the path up to its last slash, or that slash if it is the first.
fn default_path(url: &Url) -> &[u8] {
    match url.path().rsplit_once('/') {
        Some((folder, _)) if folder.starts_with('/') => folder.as_bytes(),
        _ => b"/",
    }
}

/// RFC 6265 §5.2.2: seconds from now, zero and below delete the cookie.
fn seconds(value: &[u8]) -> Option<u64> {
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok()?;
    Some(if negative {
        0
    } else {
        digits.parse().unwrap_or(u64::MAX)
    })
}

/// A date of RFC 9110 §5.6.7, also with the dashes of the first cookies (`21-Oct-2026`).
fn date(value: &[u8]) -> Option<SystemTime> {
    let text = std::str::from_utf8(value).ok()?;
    httpdate::parse_http_date(text)
        .or_else(|_| httpdate::parse_http_date(&text.replace('-', " ")))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-01 00:00:00 UTC.
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
    }

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn headers(cookies: &[&str]) -> HeaderMap {
        cookies
            .iter()
            .map(|text| (SET_COOKIE, HeaderValue::from_str(text).unwrap()))
            .collect()
    }

    fn sent(jar: &Jar, address: &str, now: SystemTime) -> Option<String> {
        jar.header(&url(address), now)
            .map(|value| value.to_str().unwrap().to_owned())
    }

    fn after(cookies: &[&str]) -> Option<String> {
        let mut jar = Jar::default();
        jar.store(&url("https://h/mcp"), &headers(cookies), now());
        sent(&jar, "https://h/mcp", now())
    }

    #[test]
    fn cookies_go_back_in_the_order_first_seen() {
        let mut jar = Jar::default();
        jar.store(
            &url("https://h/mcp"),
            &headers(&["a=1; Secure; HttpOnly", "b = x=y ", "c="]),
            now(),
        );
        jar.store(
            &url("https://h/mcp"),
            &headers(&["a=2; Domain=evil.example"]),
            now(),
        );
        assert_eq!(
            sent(&jar, "https://h/mcp", now()).as_deref(),
            Some("a=2; b=x=y; c=")
        );
    }

    #[test]
    fn g22_another_origin_gets_nothing() {
        let mut jar = Jar::default();
        jar.store(&url("https://a.h/mcp"), &headers(&["a=1; Domain=h"]), now());
        for other in [
            "https://h/mcp",
            "https://b.h/mcp",
            "http://a.h/mcp",
            "https://a.h:8443/mcp",
        ] {
            assert_eq!(sent(&jar, other, now()), None, "{other}");
        }
        assert_eq!(
            sent(&jar, "https://A.h:443/x", now()).as_deref(),
            Some("a=1")
        );
    }

    #[test]
    fn path_counts_by_whole_segments() {
        let mut jar = Jar::default();
        jar.store(
            &url("https://h/a/sse"),
            &headers(&["deep=1", "all=2; Path=/", "odd=3; path=x"]),
            now(),
        );
        jar.store(
            &url("https://h/a/sse"),
            &headers(&["slash=4; path=/a/"]),
            now(),
        );
        let cases = [
            ("https://h/a", "deep=1; all=2; odd=3"),
            ("https://h/a/b?x", "deep=1; all=2; odd=3; slash=4"),
            ("https://h/ab", "all=2"),
        ];
        for (address, expected) in cases {
            assert_eq!(
                sent(&jar, address, now()).as_deref(),
                Some(expected),
                "{address}"
            );
        }
    }

    #[test]
    fn max_age_and_expires_end_a_cookie() {
        let mut jar = Jar::default();
        let cookies = [
            "age=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "date=2; Expires=Thu, 01 Jan 2026 00:02:00 GMT",
            "dash=3; expires=Thu, 01-Jan-2026 00:03:00 GMT",
            "long=4; Max-Age=99999999999999999999999",
            "bad=5; Max-Age=1e3; Expires=soon",
        ];
        jar.store(&url("https://h/"), &headers(&cookies), now());
        let at = |seconds| sent(&jar, "https://h/", now() + Duration::from_secs(seconds)).unwrap();
        assert_eq!(at(59), "age=1; date=2; dash=3; long=4; bad=5");
        assert_eq!(at(60), "date=2; dash=3; long=4; bad=5");
        assert_eq!(at(120), "dash=3; long=4; bad=5");
        assert_eq!(at(180), "long=4; bad=5");
    }

    #[test]
    fn an_expired_cookie_deletes() {
        for delete in [
            "a=; Max-Age=0",
            "a=; max-age=-5",
            "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        ] {
            assert_eq!(after(&["a=1", delete]), None, "{delete}");
        }
    }

    #[test]
    fn what_is_no_cookie_is_ignored() {
        let long = format!("a={}", "x".repeat(COOKIE_BYTES));
        for bad in ["", "a", "=x", " =x", ";a=1", long.as_str()] {
            assert_eq!(after(&[bad]), None, "{bad}");
        }
        assert_eq!(after(&["ok=1", "a"]).as_deref(), Some("ok=1"));
    }

    #[test]
    fn hostile_servers_do_not_fill_the_memory() {
        let mut jar = Jar::default();
        for count in 0..200 {
            jar.store(
                &url("https://h/"),
                &headers(&[&format!("n{count}=1")]),
                now(),
            );
            jar.store(
                &url(&format!("https://h{count}/")),
                &headers(&["a=1"]),
                now(),
            );
            assert!(jar.origins.len() <= ORIGINS);
            assert!(
                jar.origins
                    .iter()
                    .all(|(_, cookies)| cookies.len() <= COOKIES_PER_ORIGIN)
            );
        }
        let mut jar = Jar::default();
        for count in 0..=COOKIES_PER_ORIGIN {
            jar.store(
                &url("https://h/"),
                &headers(&[&format!("n{count}=1")]),
                now(),
            );
        }
        let cookies = sent(&jar, "https://h/", now()).unwrap();
        assert_eq!(cookies.split("; ").count(), COOKIES_PER_ORIGIN);
        assert!(cookies.starts_with("n1=1; "));
    }

    #[test]
    fn values_are_not_printed() {
        let mut jar = Jar::default();
        jar.store(&url("https://h/"), &headers(&["a=secret"]), now());
        assert_eq!(format!("{jar:?}"), "Jar(1 cookies)");
        assert!(
            jar.header(&url("https://h/"), now())
                .unwrap()
                .is_sensitive()
        );
    }
}
