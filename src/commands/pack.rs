//! `pack`.

use crate::error::Failure;
use crate::settings::PackSettings;

/// Does what `pack` is for.
///
/// # Errors
/// A [`Failure`] that says what could not be done.
pub fn run(_settings: PackSettings) -> Result<(), Failure> {
    unimplemented!()
}
