//! `${VAR}` in what the user gives.
//!
//! In: replacing it, once, what is said about it, which variables were used. Out: where that is done
//! (`headers`, `documents`).

use std::collections::BTreeSet;
use std::ffi::OsString;

use super::Notice;
use crate::error::Failure;
use crate::proto::Level;

/// The variables, and which of them went into values that may be secret.
pub(super) struct Variables<'a> {
    env: &'a dyn Fn(&str) -> Option<OsString>,
    used: BTreeSet<String>,
}

impl<'a> Variables<'a> {
    /// All of them, none used yet. `env` looks one up.
    pub(super) fn new(env: &'a dyn Fn(&str) -> Option<OsString>) -> Self {
        Self {
            env,
            used: BTreeSet::new(),
        }
    }

    /// Names of those that were used.
    pub(super) fn into_used(self) -> Vec<String> {
        self.used.into_iter().collect()
    }

    /// Replaces each `${VAR}` by the variable's value, once. A variable that is not set is left as
    /// it stands and mentioned. `place` says where the text is from, such as `header X-Key`.
    ///
    /// # Errors
    /// A value is not UTF-8; the variable is named.
    pub(super) fn expand(
        &mut self,
        place: &str,
        template: &str,
        notices: &mut Vec<Notice>,
    ) -> Result<String, Failure> {
        let mut expanded = String::with_capacity(template.len());
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("${") {
            expanded.push_str(before);
            let Some((name, tail)) = after.split_once('}').filter(|(name, _)| !name.is_empty())
            else {
                expanded.push_str("${");
                rest = after;
                continue;
            };
            match (self.env)(name).map(OsString::into_string) {
                Some(Ok(value)) => {
                    expanded.push_str(&value);
                    self.used.insert(name.to_owned());
                    let text = format!("{place}: ${{{name}}} replaced");
                    notices.push(Notice::new(Level::Debug, text));
                }
                Some(Err(_)) => {
                    let text = format!("the variable {name}, used in {place}, is not UTF-8");
                    return Err(Failure::usage(text));
                }
                None => {
                    expanded.push_str("${");
                    expanded.push_str(name);
                    expanded.push('}');
                    let text = format!(
                        "the variable {name}, used in {place}, is not set: ${{{name}}} is sent as \
                         it stands"
                    );
                    notices.push(Notice::new(Level::Warn, text));
                }
            }
            rest = tail;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }
}
