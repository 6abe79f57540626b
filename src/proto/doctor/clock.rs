//! Whether our clock is right, as far as a server's answer tells.
//!
//! In: our time before and after an exchange, and what its head says about the server's. Out:
//! reading the clock (`edge`).

use std::time::{Duration, SystemTime};

use super::Check;

/// The check's name.
const ID: &str = "clock";

/// Difference that deserves a look: more than authorization servers commonly put up with.
const CONSPICUOUS: Duration = Duration::from_secs(60);

/// Difference from which sign-ins fail: tokens that are good look expired, or not valid yet.
const WRONG: Duration = Duration::from_secs(5 * 60);

/// Half a second, since a `Date` is cut to whole ones.
const CUT_OFF: Duration = Duration::from_millis(500);

/// Longest age in a cache that is believed.
const OLDEST: u64 = 366 * 24 * 60 * 60;

/// Compares our time with a server's. `date` is its `Date` (RFC 9110 §6.6.1), `age` the seconds
/// that the answer lay in a cache (RFC 9111 §5.1), `before` and `after` our time around the
/// exchange: the server answered somewhere in between, which is allowed for.
#[must_use]
pub fn judge(
    date: Option<&str>,
    age: Option<&str>,
    before: SystemTime,
    after: SystemTime,
) -> Check {
    let Some(date) = date else {
        return Check::good(ID, "the server does not say what time it has");
    };
    let age = age.and_then(|age| age.trim().parse().ok()).unwrap_or(0);
    let theirs = httpdate::parse_http_date(date.trim())
        .ok()
        .and_then(|date| date.checked_add(Duration::from_secs(age).checked_add(CUT_OFF)?))
        .filter(|_| age <= OLDEST);
    let Some(theirs) = theirs else {
        return Check::good(ID, "what the server says about its time cannot be read");
    };
    let half = after.duration_since(before).unwrap_or_default() / 2;
    let ours = before.checked_add(half).unwrap_or(before);
    let (apart, direction) = match ours.duration_since(theirs) {
        Ok(apart) => (apart, "ahead of"),
        Err(error) => (error.duration(), "behind"),
    };
    let apart = apart.saturating_sub(half);
    let text = format!(
        "this machine's clock is {} {direction} the server's",
        words(apart)
    );
    let advice = "switch on automatic date and time in the system's settings; if this machine is \
                  right, tell the server's operator";
    if apart > WRONG {
        let text =
            format!("{text}: tokens and certificates that are good look expired, or not valid yet");
        Check::bad(ID, text, advice)
    } else if apart > CONSPICUOUS {
        Check::warning(ID, text, advice)
    } else {
        Check::good(
            ID,
            format!("agrees with the server's to within {}", words(apart)),
        )
    }
}

/// A difference in its largest unit, at least one second.
fn words(apart: Duration) -> String {
    let seconds = apart.as_secs().max(1);
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::doctor::Mark;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const THEN: u64 = 784_111_777;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn off_by(seconds: i64) -> Check {
        let ours = at(THEN.checked_add_signed(seconds).unwrap());
        judge(Some("Sun, 06 Nov 1994 08:49:37 GMT"), None, ours, ours)
    }

    #[test]
    fn the_difference_decides() {
        for (seconds, mark, words) in [
            (0, Mark::Good, "within 1 second"),
            (-50, Mark::Good, "within 50 seconds"),
            (90, Mark::Warning, "89 seconds ahead of"),
            (-90, Mark::Warning, "90 seconds behind"),
            (290, Mark::Warning, "4 minutes ahead of"),
            (400, Mark::Bad, "6 minutes ahead of"),
            (-3 * 3_600 - 60, Mark::Bad, "3 hours behind"),
            (40 * 86_400, Mark::Bad, "39 days ahead of"),
        ] {
            let check = off_by(seconds);
            assert_eq!(check.mark, mark, "{seconds}: {}", check.text);
            assert!(check.text.contains(words), "{seconds}: {}", check.text);
            assert_eq!(check.advice.is_some(), mark != Mark::Good);
        }
    }

    #[test]
    fn a_slow_exchange_is_allowed_for() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        let check = judge(date, None, at(THEN), at(THEN + 600));
        assert_eq!(check.mark, Mark::Good, "{}", check.text);
        let check = judge(date, None, at(THEN + 100), at(THEN + 120));
        assert_eq!(check.mark, Mark::Warning, "{}", check.text);
        // A clock that is set while the exchange runs is no reason to panic.
        let check = judge(date, None, at(THEN), at(THEN - 600));
        assert_eq!(check.mark, Mark::Good, "{}", check.text);
    }

    #[test]
    fn time_in_a_cache_is_added() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        let now = at(THEN + 4_000);
        assert_eq!(judge(date, Some("4000"), now, now).mark, Mark::Good);
        assert_eq!(judge(date, Some("nonsense"), now, now).mark, Mark::Bad);
    }

    #[test]
    fn absurd_dates_are_no_reason_to_worry_or_to_panic() {
        for date in [
            "",
            "yesterday",
            "0",
            "Sun, 99 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 99999 08:49:37 GMT",
            "Thu, 01 Jan 0000 00:00:00 GMT",
            "\u{1b}[2J",
        ] {
            let check = judge(Some(date), None, at(THEN), at(THEN));
            assert_eq!(check.mark, Mark::Good, "{date}: {}", check.text);
            assert!(!check.text.contains('\u{1b}'));
        }
        for age in ["18446744073709551615", "-1", "9999999999"] {
            let _ = judge(
                Some("Sun, 06 Nov 1994 08:49:37 GMT"),
                Some(age),
                at(THEN),
                at(THEN),
            );
        }
        let none = judge(None, None, at(THEN), at(THEN));
        assert_eq!(none.text, "the server does not say what time it has");
    }

    #[test]
    fn every_spelling_of_a_date_is_read() {
        for date in [
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            " Sun, 06 Nov 1994 08:49:37 GMT ",
        ] {
            let check = judge(Some(date), None, at(THEN + 3_600), at(THEN + 3_600));
            assert_eq!(check.mark, Mark::Bad, "{date}: {}", check.text);
        }
    }
}
