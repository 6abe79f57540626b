//! When to try again: delays, `Retry-After`, and a little jitter.
//!
//! In: attempts and headers. Out: whether a request may be sent twice at all (`classify`), and the
//! clock.

use std::time::Duration;

use super::Head;

/// Longest `Retry-After` that is waited for.
pub const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(30);

/// Waits between tries to reach a server that refuses connections.
pub const UNREACHABLE: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(6),
];

/// Waits between tries while a server says it is busy.
pub const BUSY: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// Repeats of a request that was refused as busy (429, or 503 with `Retry-After`).
pub const BUSY_REPEATS: u32 = 3;

/// Wait before a request that may be repeated is repeated.
pub const REPEAT: Duration = Duration::from_secs(1);

/// Bounds on the reconnection time an event stream may ask for with `retry`.
pub const STREAM_RETRY: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(60);

const STREAM_FIRST: Duration = Duration::from_secs(1);
const STREAM_LIMIT: Duration = Duration::from_secs(30);

/// The wait that a `Retry-After` header asks for (RFC 9110 §10.2.3, in seconds or as a date),
/// unless it is longer than [`RETRY_AFTER_LIMIT`].
#[must_use]
pub fn retry_after(head: &Head) -> Option<Duration> {
    let value = head.header("retry-after")?.trim();
    let wait = if let Ok(seconds) = value.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let until = httpdate::parse_http_date(value).ok()?;
        let sent = httpdate::parse_http_date(head.header("date")?).ok()?;
        until.duration_since(sent).unwrap_or_default()
    };
    (wait <= RETRY_AFTER_LIMIT).then_some(wait)
}

/// How long to wait before a stream is reopened: what the stream asked for (milliseconds, WHATWG
/// HTML "Server-sent events"), within [`STREAM_RETRY`]; else a second, doubling to half a minute,
/// a fifth more or less by `jitter` so that many bridges do not return at once.
#[must_use]
pub fn stream_wait(asked_ms: Option<u64>, failures: u32, jitter: &mut Jitter) -> Duration {
    if let Some(ms) = asked_ms {
        return Duration::from_millis(ms).clamp(*STREAM_RETRY.start(), *STREAM_RETRY.end());
    }
    let wait = STREAM_FIRST
        .saturating_mul(1 << failures.min(5))
        .min(STREAM_LIMIT);
    wait.mul_f64(0.8 + 0.4 * jitter.fraction())
}

/// A small source of spread (xorshift64); not for secrets.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// Starts from a number that differs between processes.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// The next number in `0.0..1.0`.
    pub fn fraction(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        f64::from(u32::try_from(self.0 >> 32).unwrap_or_default()) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderMap;

    use super::*;

    fn head(headers: &[(&'static str, &str)]) -> Head {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Head {
            status: 429,
            headers: map,
            url: Arc::new("http://127.0.0.1/".parse().unwrap()),
            moved_permanently: false,
            credentials: 0,
        }
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_bounded() {
        assert_eq!(
            retry_after(&head(&[("retry-after", "2")])),
            Some(Duration::from_secs(2))
        );
        assert_eq!(retry_after(&head(&[("retry-after", "3600")])), None);
        assert_eq!(retry_after(&head(&[("retry-after", "soon")])), None);
        assert_eq!(retry_after(&head(&[])), None);
        let dated = head(&[
            ("date", "Fri, 20 Nov 2026 10:00:00 GMT"),
            ("retry-after", "Fri, 20 Nov 2026 10:00:05 GMT"),
        ]);
        assert_eq!(retry_after(&dated), Some(Duration::from_secs(5)));
    }

    #[test]
    fn g17_the_streams_own_wish_is_clamped() {
        let mut jitter = Jitter::new(7);
        assert_eq!(
            stream_wait(Some(700), 9, &mut jitter),
            Duration::from_millis(700)
        );
        assert_eq!(
            stream_wait(Some(0), 0, &mut jitter),
            Duration::from_millis(100)
        );
        assert_eq!(
            stream_wait(Some(u64::MAX), 0, &mut jitter),
            Duration::from_secs(60)
        );
    }

    #[test]
    fn waits_double_to_half_a_minute_and_spread() {
        let mut jitter = Jitter::new(1);
        for (failures, base) in [(0, 1.0), (1, 2.0), (4, 16.0), (5, 30.0), (40, 30.0)] {
            let wait = stream_wait(None, failures, &mut jitter).as_secs_f64();
            assert!(
                (base * 0.8..base * 1.2).contains(&wait),
                "{failures}: {wait}"
            );
        }
        let first = jitter.fraction();
        assert!((0.0..1.0).contains(&first) && (first - jitter.fraction()).abs() > f64::EPSILON);
    }
}
