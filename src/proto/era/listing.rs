//! Pages of `tools/list` that are still fresh (MCP 2026-07-28, Caching).
//!
//! In: which page may be given again, to whom, and until when. Out: asking the server, and what a
//! result says of its own freshness (`result`).

use std::time::{Duration, Instant};

use super::meta::{CLIENT_CAPABILITIES, CLIENT_INFO, PROTOCOL_VERSION};
use super::result::freshness;
use crate::proto::object::Object;

/// Most pages kept at once.
pub const PAGES: usize = 64;

/// Their size together with what they were asked with, in bytes.
pub const PAGES_BYTES: usize = 8 << 20;

/// Longest time for which a page is fresh, whatever the server says: a server that changes its
/// mind about a longer one could not be noticed.
pub const FRESH: Duration = Duration::from_secs(60 * 60);

/// Fresh pages of the server's list of tools.
#[derive(Debug, Default)]
pub struct ListCache {
    pages: Vec<Page>,
}

#[derive(Debug)]
struct Page {
    key: String,
    result: String,
    /// Whose credentials it was asked with; `None`: anybody may have it.
    owner: Option<u64>,
    /// From here on it is stale.
    stale: Instant,
}

impl Page {
    fn bytes(&self) -> usize {
        self.key.len() + self.result.len()
    }

    fn is_for(&self, key: &str, credentials: u64) -> bool {
        self.key == key && self.owner.is_none_or(|owner| owner == credentials)
    }
}

impl ListCache {
    /// Keeps a page: the parameters asked with (raw JSON), its result (raw JSON) with `ttlMs` and
    /// `cacheScope`, whose credentials it was asked with, and when it arrived. Kept only if the
    /// result says that it may be, and for [`FRESH`] at most; in any case it takes the place of
    /// what was kept for these parameters and credentials. Pages that are stale first make room
    /// within [`PAGES`] and [`PAGES_BYTES`].
    ///
    /// Answers to parameters with `inputResponses` or `requestState` are never kept.
    pub fn keep(&mut self, params: Option<&str>, result: &str, credentials: u64, now: Instant) {
        let Some(key) = key(params) else {
            return;
        };
        self.pages
            .retain(|page| now < page.stale && !page.is_for(&key, credentials));
        let Some((millis, public)) = freshness(result) else {
            return;
        };
        let Some(stale) = now.checked_add(Duration::from_millis(millis).min(FRESH)) else {
            return;
        };
        let page = Page {
            key,
            result: result.to_owned(),
            owner: (!public).then_some(credentials),
            stale,
        };
        if page.bytes() > PAGES_BYTES {
            return;
        }
        let mut bytes: usize = self.pages.iter().map(Page::bytes).sum();
        while self.pages.len() >= PAGES || bytes + page.bytes() > PAGES_BYTES {
            let pages = self.pages.iter().enumerate();
            let Some((first, _)) = pages.min_by_key(|(_, page)| page.stale) else {
                break;
            };
            bytes -= self.pages.swap_remove(first).bytes();
        }
        self.pages.push(page);
    }

    /// A page that is fresh at this moment and may be given to the holder of these credentials,
    /// with what is left of its `ttlMs`.
    #[must_use]
    pub fn get(&self, params: Option<&str>, credentials: u64, now: Instant) -> Option<String> {
        let key = key(params)?;
        let mut pages = self.pages.iter();
        let page = pages.find(|page| now < page.stale && page.is_for(&key, credentials))?;
        let mut result = Object::parse(&page.result)?;
        let left = page.stale.saturating_duration_since(now);
        result.set("ttlMs", left.as_millis().to_string());
        Some(result.to_string())
    }

    /// The list has changed, or may have.
    pub fn forget(&mut self) {
        self.pages.clear();
    }
}

/// What decides the answer: all parameters, but of `_meta` only who asks and in which revision.
/// `None` for parameters whose answer must not be kept.
fn key(params: Option<&str>) -> Option<String> {
    let mut params = Object::parse(params.unwrap_or("{}"))?;
    if params.get("inputResponses").is_some() || params.get("requestState").is_some() {
        return None;
    }
    let mut meta = params
        .get("_meta")
        .and_then(Object::parse)
        .unwrap_or_default();
    meta.retain(|key| [PROTOCOL_VERSION, CLIENT_CAPABILITIES, CLIENT_INFO].contains(&key));
    let meta = meta.to_string();
    params.remove("_meta");
    Some(format!("{params}{meta}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: u64 = 1;
    const OTHER: u64 = 2;

    fn page(millis: u64, scope: &str) -> String {
        format!(r#"{{"tools":[],"ttlMs":{millis},"cacheScope":"{scope}","resultType":"complete"}}"#)
    }

    fn at(now: Instant, millis: u64) -> Instant {
        now + Duration::from_millis(millis)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any moment will do to count from"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_page_is_fresh_until_the_millisecond_at_which_it_is_stale() {
        let (mut cache, now) = (ListCache::default(), start());
        cache.keep(None, &page(5_000, "private"), MINE, now);
        for (after, left) in [
            (0, Some(5_000)),
            (1, Some(4_999)),
            (4_999, Some(1)),
            (5_000, None),
        ] {
            let found = cache.get(None, MINE, at(now, after));
            assert_eq!(found, left.map(|left| page(left, "private")), "{after}");
        }
        let nearly = now + Duration::from_nanos(4_999_999_999);
        assert_eq!(cache.get(None, MINE, nearly), Some(page(0, "private")));
    }

    #[test]
    fn a_page_given_again_is_the_same_but_for_its_time() {
        let (mut cache, now) = (ListCache::default(), start());
        let kept = r#"{"tools":[{"name":"\u0061", "n":1.0}],"ttlMs":2500.0,"nextCursor":"\/"}"#;
        cache.keep(None, kept, MINE, now);
        let expected = r#"{"tools":[{"name":"\u0061", "n":1.0}],"ttlMs":1500,"nextCursor":"\/"}"#;
        assert_eq!(
            cache.get(None, MINE, at(now, 1_000)).as_deref(),
            Some(expected)
        );
    }

    #[test]
    fn a_private_page_is_for_the_same_credentials_and_a_public_one_for_all() {
        let now = start();
        for (scope, shared) in [
            (r#""public""#, true),
            (r#""private""#, false),
            (r#""Public""#, false),
            ("null", false),
        ] {
            let mut cache = ListCache::default();
            let result = format!(r#"{{"ttlMs":1000,"cacheScope":{scope}}}"#);
            cache.keep(None, &result, MINE, now);
            assert!(cache.get(None, MINE, now).is_some());
            assert_eq!(cache.get(None, OTHER, now).is_some(), shared, "{scope}");
        }
        let mut cache = ListCache::default();
        cache.keep(None, &page(1_000, "private"), MINE, now);
        cache.keep(None, &page(2_000, "private"), OTHER, now);
        assert_eq!(cache.get(None, MINE, now), Some(page(1_000, "private")));
        assert_eq!(cache.get(None, OTHER, now), Some(page(2_000, "private")));
    }

    #[test]
    fn only_complete_results_that_say_how_long_are_kept() {
        let now = start();
        for (result, kept) in [
            (r#"{"ttlMs":1}"#, true),
            (r#"{"ttlMs":1,"resultType":"complete"}"#, true),
            (r#"{"ttlMs":1,"resultType":"input_required"}"#, false),
            (r#"{"ttlMs":1,"resultType":"task"}"#, false),
            (r#"{"ttlMs":0}"#, false),
            (r#"{"ttlMs":-5}"#, false),
            (r#"{"ttlMs":"5000"}"#, false),
            (r#"{"ttlMs":null}"#, false),
            (r#"{"tools":[]}"#, false),
            ("[]", false),
            ("", false),
        ] {
            let mut cache = ListCache::default();
            cache.keep(None, result, MINE, now);
            assert_eq!(cache.get(None, MINE, now).is_some(), kept, "{result}");
        }
    }

    #[test]
    fn the_answer_to_a_retry_is_never_kept() {
        let (mut cache, now) = (ListCache::default(), start());
        for params in [
            r#"{"inputResponses":{}}"#,
            r#"{"requestState":"s"}"#,
            r#"{"request\u0053tate":"s"}"#,
            "[]",
            "null",
        ] {
            cache.keep(Some(params), &page(1_000, "public"), MINE, now);
            assert_eq!(cache.get(Some(params), MINE, now), None, "{params}");
        }
        assert!(cache.pages.is_empty());
    }

    #[test]
    fn pages_are_kept_by_what_decides_their_answer() {
        let (mut cache, now) = (ListCache::default(), start());
        cache.keep(Some("{}"), &page(1, "private"), MINE, now);
        cache.keep(Some(r#"{"cursor":"a"}"#), &page(2, "private"), MINE, now);
        cache.keep(
            Some(r#"{"cursor":"a","x":1}"#),
            &page(3, "private"),
            MINE,
            now,
        );
        let modern = r#"{"_meta":{"io.modelcontextprotocol/clientCapabilities":{"roots":{}}}}"#;
        cache.keep(Some(modern), &page(4, "private"), MINE, now);
        for (params, expected) in [
            (None, Some(1)),
            (Some(r#"{ "_meta":{"progressToken":7} }"#), Some(1)),
            (Some(r#"{"_meta":null}"#), Some(1)),
            (
                Some(r#"{"_meta":{"progressToken":7},"cursor":"a"}"#),
                Some(2),
            ),
            (Some(r#"{"cursor":"a","_meta":{"x":1},"x":1}"#), Some(3)),
            (Some(r#"{"cursor":"A"}"#), None),
            (Some(r#"{"cursor":null}"#), None),
            (Some(r#"{"cursor":"a","x":2}"#), None),
            (
                Some(
                    r#"{"_meta":{"progressToken":1,"io.modelcontextprotocol/clientCapabilities":{"roots":{}},"io.modelcontextprotocol/logLevel":"info"}}"#,
                ),
                Some(4),
            ),
            (
                Some(r#"{"_meta":{"io.modelcontextprotocol/clientCapabilities":{}}}"#),
                None,
            ),
            (
                Some(r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#),
                None,
            ),
        ] {
            let expected = expected.map(|millis| page(millis, "private"));
            assert_eq!(cache.get(params, MINE, now), expected, "{params:?}");
        }
    }

    #[test]
    fn a_newer_answer_takes_the_place_of_an_older_one_even_if_it_is_not_kept() {
        let (mut cache, now) = (ListCache::default(), start());
        cache.keep(None, &page(9_000, "public"), MINE, now);
        cache.keep(None, &page(1_000, "private"), OTHER, now);
        assert_eq!(cache.get(None, MINE, now), None);
        assert_eq!(cache.get(None, OTHER, now), Some(page(1_000, "private")));
        cache.keep(None, r#"{"tools":[]}"#, OTHER, now);
        assert!(cache.pages.is_empty());
        cache.keep(None, &page(1_000, "public"), MINE, now);
        cache.forget();
        assert_eq!(cache.get(None, MINE, now), None);
    }

    #[test]
    fn no_page_is_fresh_for_longer_than_the_limit() {
        let now = start();
        for millis in ["3600001", "18446744073709551615", "1e300"] {
            let mut cache = ListCache::default();
            cache.keep(None, &format!(r#"{{"ttlMs":{millis}}}"#), MINE, now);
            assert_eq!(cache.get(None, MINE, now + FRESH), None, "{millis}");
            let nearly = at(now, 3_599_999);
            let kept = cache.get(None, MINE, nearly);
            assert!(kept.is_none_or(|page| page == r#"{"ttlMs":1}"#), "{millis}");
        }
    }

    #[test]
    fn hostile_lists_stay_within_limits_and_the_longest_fresh_are_kept() {
        let (mut cache, now) = (ListCache::default(), start());
        let params = |n: u64| format!(r#"{{"cursor":"{n}"}}"#);
        for n in 0..1_000 {
            cache.keep(Some(&params(n)), &page(1_000 + n, "private"), MINE, now);
        }
        assert_eq!(cache.pages.len(), PAGES);
        assert!(cache.get(Some(&params(999)), MINE, now).is_some());
        assert!(
            cache
                .get(Some(&params(999 - PAGES as u64)), MINE, now)
                .is_none()
        );
        let large = |bytes: usize| format!(r#"{{"ttlMs":9000,"x":"{}"}}"#, "x".repeat(bytes));
        for n in 0..6 {
            cache.keep(Some(&params(n)), &large(PAGES_BYTES / 3), MINE, now);
        }
        assert!(cache.pages.iter().map(Page::bytes).sum::<usize>() <= PAGES_BYTES);
        assert!(cache.get(Some(&params(5)), MINE, now).is_some());
        cache.keep(Some(&params(5)), &large(PAGES_BYTES), MINE, now);
        assert_eq!(cache.get(Some(&params(5)), MINE, now), None);
        cache.keep(None, "{}", MINE, at(now, 9_000));
        assert!(cache.pages.is_empty());
    }
}
