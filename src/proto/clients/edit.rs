//! Changes of a client's configuration file that leave everything else as it is: comments, order,
//! indentation, line ends, a byte order mark.
//!
//! In: which bytes change. Out: JSON ([`super::json`]), TOML ([`super::toml`]).

use super::entry::{Server, Shape};

/// An entry that was found in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// How it starts its server; `None`: it does not start a local program.
    pub server: Option<Server>,
}

/// One change of a text: some bytes are replaced by others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Where, in bytes from the beginning.
    pub start: usize,
    /// What stood there. It may hold secrets.
    pub removed: String,
    /// What stands there now.
    pub inserted: String,
}

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

impl Edit {
    /// The text after the change.
    #[must_use]
    pub fn apply(&self, _text: &str) -> String {
        unimplemented!()
    }

    /// The text as it was before the change, if what was inserted still stands there, or stands
    /// elsewhere exactly once because something before it changed meanwhile.
    #[must_use]
    pub fn undo(&self, _text: &str) -> Option<String> {
        unimplemented!()
    }
}

/// Every entry of the file, in its order. An empty file, or one of white space alone, has none.
///
/// # Errors
/// The text is not what the client reads.
pub fn list(_text: &str, _shape: Shape) -> Result<Vec<Found>, Problem> {
    unimplemented!()
}

/// Adds an entry behind the others, in the file's own indentation and line ends. Where the section
/// is missing, it is made; an empty file becomes a whole document.
///
/// # Errors
/// As [`list`], or there is one of that name.
pub fn add(_text: &str, _shape: Shape, _name: &str, _server: &Server) -> Result<Edit, Problem> {
    unimplemented!()
}

/// Gives an entry another command, arguments and variables, and leaves its other members (and
/// comments between them) alone.
///
/// # Errors
/// As [`list`], or there is none of that name.
pub fn replace(_text: &str, _shape: Shape, _name: &str, _server: &Server) -> Result<Edit, Problem> {
    unimplemented!()
}

/// Takes an entry out, with the comma and the white space that belong to it, so that after
/// [`add`] the file is byte for byte what it was.
///
/// # Errors
/// As [`list`], or there is none of that name.
pub fn remove(_text: &str, _shape: Shape, _name: &str) -> Result<Edit, Problem> {
    unimplemented!()
}
