//! What the program can do, one file each.

use std::io::Write as _;

use crate::error::Failure;

pub mod completions;
pub mod doctor;
pub mod install;
pub mod login;
pub mod logout;
pub mod pack;
pub mod run;
pub mod status;
pub mod uninstall;

/// Writes text for the person, or for a script, to stdout. A reader that has gone is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::runtime(
            format!("stdout cannot be written: {error}"),
        )),
        _ => Ok(()),
    }
}
