//! `install`.

use crate::error::Failure;
use crate::settings::InstallSettings;

/// Does what `install` is for.
///
/// # Errors
/// A [`Failure`] that says what could not be done.
pub fn run(_settings: InstallSettings) -> Result<(), Failure> {
    unimplemented!()
}
