//! All findings in one sentence.
//!
//! In: the findings. Out: making them (the other files here).

use super::{Check, Mark};
use crate::proto::failure::Kind;
use crate::proto::text::sanitize;

/// Longest quotation of a finding, in characters.
const QUOTED_CHARS: usize = 300;

/// Whether the server works, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The worst of the findings.
    pub mark: Mark,
    /// The sentence, without a full stop, fit for a terminal.
    pub text: String,
}

impl Verdict {
    /// Judges all findings together. What is bad counts in the order of the checks: the first is
    /// what the others may follow from.
    #[must_use]
    pub fn of(checks: &[Check]) -> Self {
        let worst = checks.iter().map(|check| check.mark).max();
        let mark = worst.unwrap_or(Mark::Good);
        let warnings = checks
            .iter()
            .filter(|check| check.mark == Mark::Warning)
            .count();
        let first_bad = checks.iter().find(|check| check.mark == Mark::Bad);
        let text = if let Some(bad) = first_bad {
            let text = sanitize(&bad.text, QUOTED_CHARS);
            format!("does not work: {}: {text}", bad.id)
        } else if checks.iter().any(wants_sign_in) {
            let more = things(warnings - 1, "; besides, ");
            format!("works once you have signed in{more}")
        } else {
            format!("works{}", things(warnings, ", with "))
        };
        Self { mark, text }
    }
}

fn wants_sign_in(check: &Check) -> bool {
    check.mark == Mark::Warning && check.kind == Some(Kind::SignInRequired)
}

fn things(count: usize, before: &str) -> String {
    match count {
        0 => String::new(),
        1 => format!("{before}one thing to look at"),
        _ => format!("{before}{count} things to look at"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_the_worst_and_names_the_first_bad_thing() {
        let good = Check::good("name", "fine");
        let odd = Check::warning("clock", "late", "set it");
        let bad = |text: &str| Check::bad("callback", text, "mend it");
        let of = |checks: &[Check]| {
            let verdict = Verdict::of(checks);
            (verdict.mark, verdict.text)
        };
        assert_eq!(of(&[]), (Mark::Good, "works".to_owned()));
        assert_eq!(of(std::slice::from_ref(&good)).1, "works");
        assert_eq!(
            of(&[good.clone(), odd.clone()]),
            (Mark::Warning, "works, with one thing to look at".to_owned())
        );
        assert_eq!(
            of(&[odd.clone(), odd.clone()]).1,
            "works, with 2 things to look at"
        );
        assert_eq!(
            of(&[good, odd, bad("first\u{1b}"), bad("second")]),
            (
                Mark::Bad,
                "does not work: callback: first\\u{1b}".to_owned()
            )
        );
    }

    #[test]
    fn a_server_that_only_wants_a_sign_in_works() {
        let wants = Check::warning("sign-in", "nobody is signed in", "sign in")
            .of_kind(Kind::SignInRequired);
        let odd = Check::warning("clock", "late", "set it");
        assert_eq!(
            Verdict::of(std::slice::from_ref(&wants)).text,
            "works once you have signed in"
        );
        assert_eq!(
            Verdict::of(&[wants, odd]).text,
            "works once you have signed in; besides, one thing to look at"
        );
    }
}
