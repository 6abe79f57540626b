//! A failure that ends the process: its kind, what happened, what to do about it, one way to
//! print it.
//!
//! In: problems found before or outside a conversation. Out: errors of single requests, which are
//! answered to the client (`proto`), and lines about the course of events (`edge::log`).

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use crate::proto::failure::{self as request, Kind};
use crate::proto::text::sanitize;

/// Longest line of a printed failure, in characters.
const LINE_CHARS: usize = 2000;

/// What kind of failure it is: the exit code, and the name at the end of the line. The names are
/// explained in `docs/errors.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The command line, a variable or a settings file is wrong: exit code 2.
    Usage,
    /// A file cannot be read or written.
    File,
    /// A `--header-command` brought no value.
    HeaderCommand,
    /// A fault of this program.
    Internal,
    /// Everything was well said, but the job could not be done, for a reason without a name of its
    /// own.
    Runtime,
    /// What a request would have been answered with as well.
    Request(Kind),
}

impl FailureKind {
    /// Every kind that no request is answered with.
    pub const OF_THE_PROCESS: [Self; 5] = [
        Self::Usage,
        Self::File,
        Self::HeaderCommand,
        Self::Internal,
        Self::Runtime,
    ];

    /// The name at the end of lines, without the brackets.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::File => "file",
            Self::HeaderCommand => "header_command",
            Self::Internal => "internal",
            Self::Runtime => "runtime",
            Self::Request(kind) => kind.as_str(),
        }
    }
}

/// Why the process ends without having done its job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    kind: FailureKind,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// Bad usage (exit code 2). `message` is a lower-case sentence without a full stop.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Usage, message)
    }

    /// A file cannot be read or written (exit code 1). `message` as in [`Failure::usage`].
    pub fn file(message: impl Into<String>) -> Self {
        Self::new(FailureKind::File, message)
    }

    /// The job could not be done (exit code 1). `message` as in [`Failure::usage`].
    pub fn runtime(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Runtime, message)
    }

    /// Something that a request would have been answered with as well (exit code 1). `message` as
    /// in [`Failure::usage`].
    pub fn request(kind: Kind, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Request(kind), message)
    }

    fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
        }
    }

    /// Adds the next step, printed on a line of its own.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Two failures in one, of the kind of the first. What to do about the second is left out.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        Self {
            message: format!("{}; {}", self.message, other.message),
            ..self
        }
    }

    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The number the process ends with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            FailureKind::Usage => 2,
            _ => 1,
        }
    }

    /// What happened and the next step in one sentence, without the kind, to stand in a report on
    /// several things.
    #[must_use]
    pub fn sentence(&self) -> String {
        let hint = self.hint.as_ref();
        let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
        sanitize(&format!("{}{hint}", self.message), LINE_CHARS)
    }

    /// Prints the failure on stderr and gives the exit code for `main` to return. A stderr that
    /// cannot be written to changes nothing.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        let text = format!("{self}\n");
        drop(std::io::stderr().lock().write_all(text.as_bytes()));
        ExitCode::from(self.exit_code())
    }
}

impl From<request::Failure> for Failure {
    fn from(failure: request::Failure) -> Self {
        Self::request(failure.kind, failure.text)
    }
}

impl fmt::Display for Failure {
    /// `mcp-bridge: … [kind]`, one line for what happened and one for the next step, both fit for a
    /// terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = sanitize(&self.message, LINE_CHARS);
        write!(f, "mcp-bridge: {message} [{}]", self.kind.as_str())?;
        match &self.hint {
            Some(hint) => write!(f, "\nmcp-bridge: {}", sanitize(hint, LINE_CHARS)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_exit_code() {
        assert_eq!(Failure::usage("x").exit_code(), 2);
        for kind in FailureKind::OF_THE_PROCESS {
            let code = if kind == FailureKind::Usage { 2 } else { 1 };
            assert_eq!(Failure::new(kind, "x").exit_code(), code, "{kind:?}");
        }
        assert_eq!(Failure::request(Kind::Connect, "x").exit_code(), 1);
        assert_eq!(Failure::runtime("x").kind(), FailureKind::Runtime);
    }

    #[test]
    fn the_kind_ends_the_line_and_the_hint_has_its_own() {
        let failure = Failure::usage("no URL was given").hint("see `mcp-bridge --help`");
        assert_eq!(
            failure.to_string(),
            "mcp-bridge: no URL was given [usage]\nmcp-bridge: see `mcp-bridge --help`"
        );
        let failure = request::Failure::new(Kind::AuthLoop, request::Executed::No, "no");
        assert_eq!(
            Failure::from(failure).to_string(),
            "mcp-bridge: no [auth_loop]"
        );
        let long = Failure::file("x".repeat(LINE_CHARS + 1)).to_string();
        assert!(long.ends_with("x… [file]"), "{long}");
    }

    #[test]
    fn g09_control_characters_do_not_reach_the_terminal() {
        let text = Failure::runtime("file \u{1b}]0;x\u{7}\nmcp-bridge: forged").to_string();
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}
