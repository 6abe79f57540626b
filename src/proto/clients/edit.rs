//! Changes of a client's configuration file that leave everything else as it is: comments, order,
//! indentation, line ends, a byte order mark.
//!
//! In: which bytes change, and the check that nothing else did. Out: JSON (`json`), TOML
//! (`toml`).

use std::fmt;

use super::entry::{Found, Server, Shape};
use super::problem::{Problem, malformed};
use super::splice::{ceil, floor, part};
use super::{Client, Scope, json, toml};

/// Shortest text that an [`Edit`] puts in place of another, in bytes, unless the file is shorter: a
/// few characters could stand anywhere, so neighbours that stay the same belong to the change.
const ANCHOR: usize = 48;

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// One change of a text: some bytes are replaced by others.
#[derive(Clone, PartialEq, Eq)]
pub struct Edit {
    /// Where, in bytes from the beginning.
    pub start: usize,
    /// What stood there. It may hold secrets.
    pub removed: String,
    /// What stands there now. It may hold secrets.
    pub inserted: String,
}

impl fmt::Debug for Edit {
    /// Shows where and how much, since what stands there may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edit")
            .field("start", &self.start)
            .field("removed", &format_args!("{} bytes", self.removed.len()))
            .field("inserted", &format_args!("{} bytes", self.inserted.len()))
            .finish()
    }
}

impl Edit {
    /// The text after the change; a text in which the change does not fit stays as it is.
    #[must_use]
    pub fn apply(&self, text: &str) -> String {
        exchange(text, self.start, &self.removed, &self.inserted).unwrap_or_else(|| text.to_owned())
    }

    /// The text as it was before the change, if what was inserted still stands there, or stands
    /// elsewhere exactly once because something before it changed meanwhile.
    #[must_use]
    pub fn undo(&self, text: &str) -> Option<String> {
        if self.inserted.is_empty() {
            return text.is_empty().then(|| self.removed.clone());
        }
        exchange(text, self.start, &self.inserted, &self.removed).or_else(|| {
            let start = only(text, &self.inserted)?;
            exchange(text, start, &self.inserted, &self.removed)
        })
    }

    /// The change that turns one text into another: all between what is the same at both ends.
    fn between(before: &str, after: &str) -> Self {
        let same_start = before
            .char_indices()
            .zip(after.chars())
            .find(|((_, old), new)| old != new)
            .map_or(before.len().min(after.len()), |((at, _), _)| at);
        let room = before.len().min(after.len()) - same_start;
        let same_end = before
            .bytes()
            .rev()
            .zip(after.bytes().rev())
            .take(room)
            .take_while(|(old, new)| old == new)
            .count();
        let short = (after.len() - same_end - same_start) < ANCHOR;
        let more = if short { ANCHOR } else { 0 };
        let start = floor(before, same_start.saturating_sub(more));
        let kept = same_end.saturating_sub(more);
        let end = ceil(before, before.len() - kept);
        let kept = before.len() - end;
        Self {
            start,
            removed: part(before, start, end).to_owned(),
            inserted: part(after, start, after.len() - kept).to_owned(),
        }
    }
}

/// Every entry of the file, in its order. An empty file, or one of white space alone, has none.
/// Of several entries of one name only the last is listed: it is the one that clients use.
///
/// # Errors
/// The text is not what the client reads.
pub fn list(text: &str, shape: Shape) -> Result<Vec<Found>, Problem> {
    let (_, body) = split(text);
    if shape.is_toml() {
        toml::list(body, shape)
    } else {
        json::list(body, shape)
    }
}

/// The entries that Claude Code's own file holds for single projects, by the project's folder
/// (scope `local`, <https://code.claude.com/docs/en/mcp>). Other files have none.
///
/// # Errors
/// As [`list`].
pub fn list_of_projects(text: &str, shape: Shape) -> Result<Vec<(String, Vec<Found>)>, Problem> {
    let (_, body) = split(text);
    match (shape.client, shape.scope) {
        (Client::ClaudeCode, Scope::User) => json::list_of_projects(body, shape),
        _ => Ok(Vec::new()),
    }
}

/// Adds an entry behind the others, in the file's own indentation and line ends. Where the section
/// is missing, it is made; an empty file becomes a whole document.
///
/// # Errors
/// As [`list`], or there is one of that name.
pub fn add(text: &str, shape: Shape, name: &str, server: &Server) -> Result<Edit, Problem> {
    let mut expected = list(text, shape)?;
    if expected.iter().any(|found| found.name == name) {
        return Err(Problem::Exists(name.to_owned()));
    }
    expected.push(Found {
        name: name.to_owned(),
        server: Some(server.clone()),
    });
    let (mark, body) = split(text);
    let after = if shape.is_toml() {
        toml::add(body, shape, name, server)
    } else {
        json::add(body, shape, name, server)
    }?;
    checked(text, &[mark, &after].concat(), shape, expected)
}

/// Gives an entry another command, arguments and variables, and leaves its other members (and
/// comments between them) alone.
///
/// # Errors
/// As [`list`], or there is none of that name.
pub fn replace(text: &str, shape: Shape, name: &str, server: &Server) -> Result<Edit, Problem> {
    let mut expected = list(text, shape)?;
    let Some(found) = expected.iter_mut().find(|found| found.name == name) else {
        return Err(Problem::Missing(name.to_owned()));
    };
    found.server = Some(server.clone());
    let (mark, body) = split(text);
    let after = if shape.is_toml() {
        toml::replace(body, shape, name, server)
    } else {
        json::replace(body, shape, name, server)
    }?;
    checked(text, &[mark, &after].concat(), shape, expected)
}

/// Takes an entry out, with the comma and the white space that belong to it, so that after
/// [`add`] the file is byte for byte what it was. (A section that [`add`] had to make stays, empty:
/// only [`Edit::undo`] knows that it was not there.) Comments outside the entry stay.
///
/// # Errors
/// As [`list`], or there is none of that name.
pub fn remove(text: &str, shape: Shape, name: &str) -> Result<Edit, Problem> {
    let mut expected = list(text, shape)?;
    if !expected.iter().any(|found| found.name == name) {
        return Err(Problem::Missing(name.to_owned()));
    }
    expected.retain(|found| found.name != name);
    let (mark, body) = split(text);
    let after = if shape.is_toml() {
        toml::remove(body, shape, name)
    } else {
        json::remove(body, shape, name)
    }?;
    checked(text, &[mark, &after].concat(), shape, expected)
}

/// The change, after a look at what a client would read after it.
fn checked(
    text: &str,
    after: &str,
    shape: Shape,
    mut expected: Vec<Found>,
) -> Result<Edit, Problem> {
    let edit = Edit::between(text, after);
    let mut found = list(after, shape).unwrap_or_default();
    for entry in found.iter_mut().chain(&mut expected) {
        if let Some(server) = &mut entry.server {
            server.env.sort();
        }
    }
    if found != expected {
        return Err(malformed(
            text,
            edit.start,
            "this cannot be changed without changing the rest; change the file by hand",
        ));
    }
    Ok(edit)
}

/// A byte order mark, if there is one, and the rest.
fn split(text: &str) -> (&str, &str) {
    match text.strip_prefix(BYTE_ORDER_MARK) {
        Some(body) => (BYTE_ORDER_MARK, body),
        None => ("", text),
    }
}

/// The text with `new` in the place of `old`, if that stands at `start`.
fn exchange(text: &str, start: usize, old: &str, new: &str) -> Option<String> {
    let (before, rest) = text.split_at_checked(start)?;
    let after = rest.strip_prefix(old)?;
    Some([before, new, after].concat())
}

/// Where `wanted` stands, if it stands there alone.
fn only(text: &str, wanted: &str) -> Option<usize> {
    let first = text.find(wanted)?;
    let next = ceil(text, first + 1);
    text.get(next..)?.find(wanted).is_none().then_some(first)
}

#[cfg(test)]
mod tests;
