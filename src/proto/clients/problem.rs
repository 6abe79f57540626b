//! Why a client's configuration file cannot be edited, with the place in it.
//!
//! In: words and positions. Out: finding out what is wrong (`json`, `toml`).

use super::splice::{floor, line_start, part};

/// Why a file cannot be edited. Nothing of it is quoted but positions and names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is not what the client reads: where (line and column from 1) and what is wrong.
    #[error("line {line}, column {column}: {what}")]
    Malformed {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong there.
        what: String,
    },
    /// A member that has to be an object is something else.
    #[error("\"{0}\" is not an object")]
    NotAnObject(String),
    /// There is an entry of that name already.
    #[error("there is an entry named \"{0}\" already")]
    Exists(String),
    /// There is no entry of that name.
    #[error("there is no entry named \"{0}\"")]
    Missing(String),
}

/// The problem that something is wrong at a position, in bytes.
pub(super) fn malformed(text: &str, at: usize, what: impl Into<String>) -> Problem {
    let at = floor(text, at);
    let before = part(text, 0, at);
    Problem::Malformed {
        line: before.matches('\n').count() + 1,
        column: part(text, line_start(text, at), at).chars().count() + 1,
        what: what.into(),
    }
}
