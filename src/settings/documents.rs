//! Options whose value is a JSON object, or `@FILE` with a file that holds one.
//!
//! In: reading them, `${VAR}` inside, members by type. Out: what the members mean (`identities`,
//! `sign_in`).

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};

use super::Notice;
use super::variables::Variables;
use crate::cli::Secret;
use crate::cli::config_file::read_text;
use crate::error::Failure;

/// One option's object. No failure quotes anything of it.
pub(super) struct Document {
    option: &'static str,
    members: Map<String, Value>,
    /// Members whose text stood in the option's own value, not in a file or variable.
    literals: BTreeSet<String>,
}

impl Document {
    /// Reads the value of `option` as it is.
    pub(super) fn read(option: &'static str, given: &Secret) -> Result<Self, Failure> {
        let text = content(option, given)?;
        Self::new(option, given, parse(option, text.reveal())?)
    }

    /// Reads the value of `option` and replaces `${VAR}`: inside strings, so that no value can
    /// break the JSON; where a variable stands for more than a string, in the text.
    pub(super) fn read_expanded(
        option: &'static str,
        given: &Secret,
        variables: &mut Variables<'_>,
        notices: &mut Vec<Notice>,
    ) -> Result<Self, Failure> {
        let text = content(option, given)?;
        match parse(option, text.reveal()) {
            Ok(value) => {
                let mut document = Self::new(option, given, value)?;
                for value in document.members.values_mut() {
                    expand_strings(option, value, variables, notices)?;
                }
                Ok(document)
            }
            Err(_) if text.reveal().contains("${") => {
                let text = Secret::from(variables.expand(option, text.reveal(), notices)?);
                let mut document = Self::new(option, given, parse(option, text.reveal())?)?;
                document.literals.clear();
                Ok(document)
            }
            Err(failure) => Err(failure),
        }
    }

    fn new(option: &'static str, given: &Secret, value: Value) -> Result<Self, Failure> {
        let Value::Object(members) = value else {
            let failure = Failure::usage(format!("{option} must be a JSON object"));
            return Err(failure.hint(r#"write it like {"NAME": "VALUE"}, or @FILE"#));
        };
        let is_literal = |value: &Value| {
            value
                .as_str()
                .is_some_and(|text| !text.is_empty() && !text.contains("${"))
        };
        let literals = members
            .iter()
            .filter(|(_, value)| !given.reveal().starts_with('@') && is_literal(value))
            .map(|(name, _)| name.clone())
            .collect();
        Ok(Self {
            option,
            members,
            literals,
        })
    }

    /// All members.
    pub(super) fn into_members(self) -> Map<String, Value> {
        self.members
    }

    /// Whether there is such a member; `null` is none.
    pub(super) fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !value.is_null())
    }

    /// Names of members.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// Whether this member's text stood in the option's own value.
    pub(super) fn is_literal(&self, name: &str) -> bool {
        self.literals.contains(name)
    }

    /// A member that is a text; an empty one counts as none.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Failure> {
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(self.wrong(&format!("{name} must be a string"))),
        }
    }

    /// A member that is a list of texts; none is an empty list.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, Failure> {
        let texts = match self.members.get(name) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(value) => strings(value),
        };
        texts.ok_or_else(|| self.wrong(&format!("{name} must be a list of strings")))
    }

    /// A failure about this option.
    pub(super) fn wrong(&self, what: &str) -> Failure {
        Failure::usage(format!("{}: {what}", self.option))
    }
}

/// The strings of a list of strings.
pub(super) fn strings(value: &Value) -> Option<Vec<String>> {
    let texts = value.as_array()?.iter();
    texts.map(|text| text.as_str().map(str::to_owned)).collect()
}

/// The JSON in a text. The failure says where it breaks.
pub(super) fn parse(option: &str, text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let what = format!("{option} is not valid JSON (line {line}, column {column})");
        let next = "shells and clients may drop quotation marks: put the JSON into a file and \
                    write @FILE";
        Failure::usage(what).hint(next)
    })
}

/// The path in `@PATH`.
pub(super) fn file<'a>(place: &str, text: &'a str) -> Result<Option<&'a Path>, Failure> {
    match text.strip_prefix('@') {
        Some("") => Err(Failure::usage(format!(
            "{place}: there is no file name after @"
        ))),
        path => Ok(path.map(Path::new)),
    }
}

/// A text that was given, or is in the file that was given as `@PATH`. A file that cannot be read
/// is bad usage.
pub(super) fn content(place: &str, given: &Secret) -> Result<Secret, Failure> {
    match file(place, given.reveal())? {
        Some(path) => read_text(path, place)
            .map(Secret::from)
            .map_err(Failure::usage),
        None => Ok(given.clone()),
    }
}

fn expand_strings(
    option: &str,
    value: &mut Value,
    variables: &mut Variables<'_>,
    notices: &mut Vec<Notice>,
) -> Result<(), Failure> {
    match value {
        Value::String(text) => *text = variables.expand(option, text, notices)?,
        Value::Array(values) => {
            for value in values {
                expand_strings(option, value, variables, notices)?;
            }
        }
        Value::Object(members) => {
            for value in members.values_mut() {
                expand_strings(option, value, variables, notices)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}
