//! The option that a sentence of advice names.
//!
//! In: which options help, as they are written in advice. Out: the sentences (where errors arise).

use super::{Check, what_and_next};
use crate::proto::failure::Kind;

/// Advice for a sentence that holds none.
pub(super) const TRY_AGAIN: &str =
    "try again; if it stays, show this to the operator of the server and of your network";

/// Options that help, as they are written in advice. The first one found there is offered.
const OPTIONS: [&str; 6] = [
    "--ca-cert FILE",
    "--client-cert FILE",
    "--proxy none",
    "--insecure",
    "--ipv4",
    "--allow-http",
];

impl Check {
    /// As [`Check::bad_sentence`], with the kind of error and the option that the advice names.
    #[must_use]
    pub fn failed(id: &'static str, sentence: &str, kind: Kind) -> Self {
        let check = Self::bad_sentence(id, sentence, TRY_AGAIN).of_kind(kind);
        match what_and_next(sentence).1.and_then(option_in) {
            Some(option) => check.with_flag(option),
            None => check,
        }
    }
}

/// The option that some advice names.
pub(super) fn option_in(advice: &str) -> Option<&'static str> {
    OPTIONS
        .into_iter()
        .filter_map(|option| Some((advice.find(option)?, option)))
        .min()
        .map(|(_, option)| option)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::doctor::Mark;

    #[test]
    fn a_sentence_is_cut_where_the_advice_begins() {
        let check = Check::failed(
            "connection",
            "issued by `A; B`, unknown here; pass --ca-cert FILE (or --insecure)",
            Kind::Connect,
        );
        assert_eq!(check.text, "issued by `A; B`, unknown here");
        assert_eq!(
            check.advice.as_deref(),
            Some("pass --ca-cert FILE (or --insecure)")
        );
        assert_eq!(check.flag.as_deref(), Some("--ca-cert FILE"));
        assert_eq!((check.mark, check.kind), (Mark::Bad, Some(Kind::Connect)));
    }

    #[test]
    fn what_is_bad_always_has_advice() {
        let check = Check::failed("connection", "it broke", Kind::Connect);
        assert_eq!(check.text, "it broke");
        assert_eq!(check.advice.as_deref(), Some(TRY_AGAIN));
        assert_eq!(check.flag, None);
    }
}
