//! `doctor`: finds out why a server does not work, and what to do about it.
//!
//! In: the order of the checks. Out: the checks (the other files here), how they are shown.

mod network;

use crate::error::Failure;
use crate::settings::DoctorSettings;

/// Looks at everything between here and the server's tools.
///
/// # Errors
/// A [`Failure`] when something is bad, or the report cannot be written.
pub async fn run(_settings: DoctorSettings) -> Result<(), Failure> {
    unimplemented!()
}
