//! Options of the bridge as they were typed, for a command line that is to be kept.
//!
//! In: names and values, in the order of the command line. Out: what they mean
//! ([`crate::settings`]), and where such a command line is kept.

use std::any::TypeId;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, ArgMatches, Command};

use super::{Secret, is_given};

/// One option of the bridge as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    /// Its long name, without dashes.
    pub name: String,
    /// Its value; `None`: a switch. It may be secret.
    pub value: Option<Secret>,
    /// The value is the path of a file.
    pub is_path: bool,
}

impl Typed {
    /// Name and value as one argument, or two.
    #[must_use]
    pub fn args(&self) -> Vec<String> {
        let name = format!("--{}", self.name);
        match &self.value {
            None => vec![name],
            // A value that looks like an option has to stay in one piece with its name.
            Some(value) if value.reveal().starts_with('-') => {
                vec![format!("{name}={}", value.reveal())]
            }
            Some(value) => vec![name, value.reveal().to_owned()],
        }
    }
}

/// The options that were typed and that the bridge knows, in the order of the command line.
///
/// # Errors
/// The name of an option whose value is not UTF-8.
pub(super) fn typed(
    bridge: &Command,
    command: &Command,
    matches: &ArgMatches,
) -> Result<Vec<Typed>, String> {
    let mut found = Vec::new();
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        let is_of_the_bridge = bridge.get_arguments().any(|known| known.get_id() == id);
        let Some(name) = arg.get_long().filter(|_| is_of_the_bridge) else {
            continue;
        };
        if !is_given(matches, id) {
            continue;
        }
        let places = matches.indices_of(id).into_iter().flatten();
        if matches!(arg.get_action(), ArgAction::SetTrue) {
            let option = Typed {
                name: name.to_owned(),
                value: None,
                is_path: false,
            };
            found.extend(places.take(1).map(|place| (place, option.clone())));
            continue;
        }
        let values = matches.get_raw(id).into_iter().flatten();
        for (place, value) in places.zip(values) {
            let value = OsString::from(value)
                .into_string()
                .map_err(|_| format!("--{name}"))?;
            let option = Typed {
                name: name.to_owned(),
                value: Some(Secret::from(value.as_str())),
                is_path: arg.get_value_parser().type_id() == TypeId::of::<PathBuf>(),
            };
            found.push((place, option));
        }
    }
    found.sort_by_key(|(place, _)| *place);
    Ok(found.into_iter().map(|(_, option)| option).collect())
}
