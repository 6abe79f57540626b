//! `completions`.

use crate::cli::Completions;
use crate::error::Failure;

/// Prints the script.
///
/// # Errors
/// A [`Failure`] when stdout cannot be written.
pub fn run(_completions: Completions) -> Result<(), Failure> {
    unimplemented!()
}
