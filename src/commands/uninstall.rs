//! `uninstall`.

use crate::error::Failure;
use crate::settings::UninstallSettings;

/// Does what `uninstall` is for.
///
/// # Errors
/// A [`Failure`] that says what could not be done.
pub fn run(_settings: UninstallSettings) -> Result<(), Failure> {
    unimplemented!()
}
