//! What `doctor` found: checks, marks, the verdict.
//!
//! In: what is good, questionable or bad, and what to do about it. Out: finding it out
//! (`commands/doctor`, `sign_in`), where it is printed.

pub mod certificate;
pub mod clock;
pub mod name;
pub mod options;
pub mod render;
pub mod requests;
pub mod revision;
pub mod sign_in;
pub mod transports;
pub mod verdict;
mod words;

use crate::proto::failure::Kind;

/// How good what was found is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// As it should be.
    Good,
    /// It works, or may work, but deserves a look.
    Warning,
    /// It does not work.
    Bad,
}

impl Mark {
    /// The name in JSON and in plain text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name in JSON and in the documentation, such as `certificate`. Fixed.
    pub id: &'static str,
    /// How good it is.
    pub mark: Mark,
    /// What was found: a sentence without a full stop. Text of others is made harmless where it is
    /// shown.
    pub text: String,
    /// What to do about it: a sentence without a full stop. There for everything bad.
    pub advice: Option<String>,
    /// The option, ready to be typed, that removes the problem, or lets one live with it.
    pub flag: Option<String>,
    /// The kind of error that the bridge would give.
    pub kind: Option<Kind>,
    /// How long it took, in milliseconds, where that says something.
    pub millis: Option<u64>,
}

impl Check {
    /// All is well.
    #[must_use]
    pub fn good(id: &'static str, text: impl Into<String>) -> Self {
        Self {
            id,
            mark: Mark::Good,
            text: text.into(),
            advice: None,
            flag: None,
            kind: None,
            millis: None,
        }
    }

    /// Something to look at.
    #[must_use]
    pub fn warning(id: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            mark: Mark::Warning,
            advice: Some(advice.into()),
            ..Self::good(id, text)
        }
    }

    /// Something that does not work.
    #[must_use]
    pub fn bad(id: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            mark: Mark::Bad,
            ..Self::warning(id, text, advice)
        }
    }

    /// What the bridge says in one sentence, `what happened; what to do`, as something that does
    /// not work. `otherwise` is what to do where the sentence does not say it.
    #[must_use]
    pub fn bad_sentence(id: &'static str, sentence: &str, otherwise: &str) -> Self {
        let (text, advice) = what_and_next(sentence);
        Self::bad(id, text, advice.unwrap_or(otherwise))
    }

    /// Adds the option that helps.
    #[must_use]
    pub fn with_flag(mut self, flag: impl Into<String>) -> Self {
        self.flag = Some(flag.into());
        self
    }

    /// Adds the kind of error that the bridge would give.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Adds how long it took.
    #[must_use]
    pub fn in_millis(mut self, millis: u64) -> Self {
        self.millis = Some(millis);
        self
    }
}

/// Takes a sentence of the house's form apart: what happened, and after the last semicolon what to
/// do.
#[must_use]
pub fn what_and_next(sentence: &str) -> (&str, Option<&str>) {
    match sentence.rsplit_once("; ") {
        Some((what, next)) => (what, Some(next)),
        None => (sentence, None),
    }
}
