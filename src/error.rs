//! A failure that ends the process: its kind, what happened, what to do about it, one way to
//! print it.
//!
//! In: problems found before or outside a conversation. Out: errors of single requests, which are
//! answered to the client (`proto`), and lines about the course of events (`edge::log`).

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use crate::proto::text::sanitize;

/// Longest line of a printed failure, in characters.
const LINE_CHARS: usize = 2000;

/// What kind of failure it is, and with that the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The command line, a variable or a settings file is wrong: exit code 2.
    Usage,
    /// Everything was well said, but the job could not be done: exit code 1.
    Runtime,
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
        Self {
            kind: FailureKind::Usage,
            message: message.into(),
            hint: None,
        }
    }

    /// The job could not be done (exit code 1). `message` as in [`Failure::usage`].
    pub fn runtime(message: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Runtime,
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

    /// Whether it is the user's input or the world that is at fault.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The number the process ends with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            FailureKind::Runtime => 1,
            FailureKind::Usage => 2,
        }
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

impl fmt::Display for Failure {
    /// `mcp-bridge: …`, one line for what happened and one for the next step, both fit for a
    /// terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mcp-bridge: {}", sanitize(&self.message, LINE_CHARS))?;
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
        assert_eq!(Failure::runtime("x").exit_code(), 1);
        assert_eq!(Failure::runtime("x").kind(), FailureKind::Runtime);
    }

    #[test]
    fn the_hint_stands_on_its_own_line() {
        let failure = Failure::usage("no URL was given").hint("see `mcp-bridge --help`");
        assert_eq!(
            failure.to_string(),
            "mcp-bridge: no URL was given\nmcp-bridge: see `mcp-bridge --help`"
        );
    }

    #[test]
    fn g09_control_characters_do_not_reach_the_terminal() {
        let text = Failure::runtime("file \u{1b}]0;x\u{7}\nmcp-bridge: forged").to_string();
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}
