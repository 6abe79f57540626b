//! What a client's entry for a stdio server says.
//!
//! In: command, arguments, variables, and where in which kind of file they stand. Out: the text of
//! the file ([`super::edit`]).

use super::{Client, Scope};

/// How a client starts a stdio server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// The program.
    pub command: String,
    /// Its arguments, without the program.
    pub args: Vec<String>,
    /// Variables set for it, in the order of the file. Values may be secret.
    pub env: Vec<(String, String)>,
}

/// Where in a file entries stand, and which members they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Whose file it is.
    pub client: Client,
    /// In which scope.
    pub scope: Scope,
}
