//! What the commands that write a command line down need to know: `install`, `uninstall`.
//!
//! In: checking the words and options of that command line. Out: what the options mean when it is
//! used (the other files here), where it is written.

use std::ffi::OsString;

use crate::cli::{Install, Uninstall};
use crate::error::Failure;

/// What `install` needs to know.
#[derive(Clone, Debug)]
pub struct InstallSettings {}

impl InstallSettings {
    /// Gives the options of `install` their meaning. `env` looks up a variable.
    ///
    /// # Errors
    /// A [`Failure`] that names the option and says what would be right.
    pub fn resolve(
        _install: &Install,
        _env: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Failure> {
        unimplemented!()
    }
}

/// What `uninstall` needs to know.
#[derive(Clone, Debug)]
pub struct UninstallSettings {}

impl UninstallSettings {
    /// Gives the options of `uninstall` their meaning. `env` looks up a variable.
    ///
    /// # Errors
    /// A [`Failure`] that names the option and says what would be right.
    pub fn resolve(
        _uninstall: &Uninstall,
        _env: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Failure> {
        unimplemented!()
    }
}
