//! What to say about the certificate that a server showed.
//!
//! In: names, dates, chain and verdict as plain values. Out: reading and judging certificates
//! (`edge/http`); nothing here decides about trust.

use std::time::{Duration, SystemTime};

use super::words::{TRY_AGAIN, option_in};
use super::{Check, what_and_next};
use crate::proto::failure::Kind;

/// The check's name.
const ID: &str = "certificate";

/// Time left under which a certificate deserves a look, in seconds.
const SOON: u64 = 14 * 24 * 60 * 60;

/// The same for certificates that never live long: the share of their life that is left.
const SHARE_OF_LIFE: u64 = 3;

/// Seconds in a day.
const DAY: u64 = 24 * 60 * 60;

/// A certificate, in words that are fit for a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// Whom it was to be for: the name that was asked for.
    pub host: String,
    /// Who issued it.
    pub issuer: String,
    /// From when and until when it counts; none where that cannot be read.
    pub validity: Option<(Moment, Moment)>,
    /// How many certificates came, with this one.
    pub sent: usize,
}

/// One end of a certificate's validity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// In Unix seconds; before 1970 it is 0.
    pub unix: u64,
    /// Its day, as `2026-01-31`, in UTC.
    pub day: String,
}

/// What came of judging it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Trusted.
    Trusted(Root),
    /// Refused: the sentence of the bridge's error.
    Refused(String),
    /// Let pass unseen (`--insecure`), with the sentence that it would have been refused with.
    Unchecked(Option<String>),
}

/// Where a chain of certificates ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Whose it is, if that is known.
    pub name: Option<String>,
    /// The option or variable with its file that makes it trusted; none: it is the system's.
    pub by: Option<String>,
}

/// Puts it into words.
#[must_use]
pub fn judge(presented: &Presented, verdict: &Verdict, now: SystemTime) -> Check {
    match verdict {
        Verdict::Refused(sentence) => Check::failed(ID, sentence, Kind::Connect),
        Verdict::Unchecked(problem) => unchecked(presented, problem.as_deref()),
        Verdict::Trusted(root) => trusted(presented, root, now),
    }
}

fn trusted(presented: &Presented, root: &Root, now: SystemTime) -> Check {
    let left = presented.validity.as_ref().map(|(from, until)| {
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let left = Duration::from_secs(until.unix)
            .saturating_sub(now)
            .as_secs();
        let life = until.unix.saturating_sub(from.unix);
        (left, left < SOON.min(life / SHARE_OF_LIFE))
    });
    let remaining = match left {
        Some((left, _)) => format!(" ({} left)", count(left / DAY, "day")),
        None => String::new(),
    };
    let name = match &root.name {
        Some(name) => format!("`{name}`"),
        None => "a root".to_owned(),
    };
    let by = match &root.by {
        Some(by) => format!("trusted by {by}"),
        None => "trusted by this system".to_owned(),
    };
    let text = format!(
        "{}{remaining}; {} sent, ending in {name}, {by}",
        described(presented),
        count(presented.sent as u64, "certificate"),
    );
    match left {
        Some((_, true)) => Check::warning(
            ID,
            text,
            "nothing to do here; if the server is yours, see that its certificate is renewed in \
             time",
        ),
        _ => Check::good(ID, text),
    }
}

fn unchecked(presented: &Presented, problem: Option<&str>) -> Check {
    let text = format!(
        "not checked, as you wished: anybody on the way can read and change everything ({})",
        described(presented)
    );
    let Some(problem) = problem else {
        let advice = "leave --insecure (or NODE_TLS_REJECT_UNAUTHORIZED=0) out: this certificate \
                      would be trusted without it";
        return Check::warning(ID, text, advice);
    };
    let (what, advice) = what_and_next(problem);
    let text = format!("{text}; the check would say: {what}");
    let check = Check::warning(ID, text, advice.unwrap_or(TRY_AGAIN));
    match advice.and_then(option_in) {
        Some(option) if option != "--insecure" => check.with_flag(option),
        _ => check,
    }
}

/// For whom, by whom, until when.
fn described(presented: &Presented) -> String {
    let Presented { host, issuer, .. } = presented;
    match &presented.validity {
        Some((_, until)) => {
            format!(
                "for {host}, issued by `{issuer}`, valid until {}",
                until.day
            )
        }
        None => format!("for {host}, issued by `{issuer}`, with dates that cannot be read"),
    }
}

fn count(number: u64, unit: &str) -> String {
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::doctor::Mark;

    fn presented(from: u64, until: u64) -> Presented {
        let moment = |days: u64| Moment {
            unix: days * DAY,
            day: format!("day {days}"),
        };
        Presented {
            host: "a.test".to_owned(),
            issuer: "R1 (Authority)".to_owned(),
            validity: Some((moment(from), moment(until))),
            sent: 2,
        }
    }

    fn day(day: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(day * DAY)
    }

    const BY_SYSTEM: Verdict = Verdict::Trusted(Root {
        name: None,
        by: None,
    });

    #[test]
    fn a_trusted_certificate_is_described() {
        let root = Root {
            name: Some("Root X1".to_owned()),
            by: Some("--ca-cert /ca.pem".to_owned()),
        };
        let check = judge(&presented(0, 90), &Verdict::Trusted(root), day(20));
        assert_eq!(check.mark, Mark::Good);
        assert_eq!(
            check.text,
            "for a.test, issued by `R1 (Authority)`, valid until day 90 (70 days left); \
             2 certificates sent, ending in `Root X1`, trusted by --ca-cert /ca.pem"
        );
        let text = judge(&presented(0, 90), &BY_SYSTEM, day(20)).text;
        assert!(
            text.ends_with("ending in a root, trusted by this system"),
            "{text}"
        );
    }

    #[test]
    fn the_end_of_its_life_deserves_a_look() {
        for (until, today, mark) in [
            (90, 75, Mark::Good),
            (90, 77, Mark::Warning),
            (90, 95, Mark::Warning),
            (6, 3, Mark::Good),
            (6, 5, Mark::Warning),
        ] {
            let check = judge(&presented(0, until), &BY_SYSTEM, day(today));
            assert_eq!(check.mark, mark, "{until} {today}: {}", check.text);
        }
    }

    #[test]
    fn absurd_dates_do_no_harm() {
        for (from, until) in [(u64::MAX, 0), (0, u64::MAX), (u64::MAX, u64::MAX)] {
            let moment = |unix| Moment {
                unix,
                day: String::new(),
            };
            let mut odd = presented(0, 1);
            odd.validity = Some((moment(from), moment(until)));
            let _ = judge(&odd, &BY_SYSTEM, day(1));
        }
        let mut unreadable = presented(0, 1);
        unreadable.validity = None;
        let check = judge(&unreadable, &BY_SYSTEM, day(1));
        assert_eq!(check.mark, Mark::Good);
        assert!(check.text.contains("cannot be read"), "{}", check.text);
    }

    #[test]
    fn a_refusal_has_its_advice_and_option() {
        let sentence = "cannot trust a.test:443: unknown; pass --ca-cert FILE".to_owned();
        let check = judge(&presented(0, 90), &Verdict::Refused(sentence), day(1));
        assert_eq!((check.id, check.mark), (ID, Mark::Bad));
        assert_eq!(check.flag.as_deref(), Some("--ca-cert FILE"));
        assert_eq!(check.kind, Some(Kind::Connect));
    }

    #[test]
    fn what_is_not_checked_is_a_warning_with_the_safe_way() {
        let fine = judge(&presented(0, 90), &Verdict::Unchecked(None), day(1));
        assert_eq!((fine.mark, fine.flag), (Mark::Warning, None));
        assert!(fine.advice.unwrap().contains("leave --insecure"));
        for (sentence, flag) in [
            ("unknown; pass --ca-cert FILE", Some("--ca-cert FILE")),
            ("expired; renew it (until then, --insecure)", None),
        ] {
            let verdict = Verdict::Unchecked(Some(sentence.to_owned()));
            let check = judge(&presented(0, 90), &verdict, day(1));
            assert_eq!(check.mark, Mark::Warning);
            assert_eq!(check.flag.as_deref(), flag);
            let what = sentence.split(';').next().unwrap();
            assert!(check.text.ends_with(what), "{}", check.text);
        }
    }
}
