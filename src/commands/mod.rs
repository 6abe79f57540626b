//! What the program can do, one file each.

use std::io::{IsTerminal as _, Write as _};

use crate::error::Failure;
use crate::proto::doctor::render::Style;

mod assembly;
pub mod completions;
mod configuration;
pub mod doctor;
pub mod install;
pub mod login;
pub mod logout;
pub mod pack;
pub mod run;
pub mod status;
pub mod uninstall;

/// How findings look on stdout, on a terminal like this: plain where it is no terminal.
fn style(on_terminal: Style) -> Style {
    if std::io::stdout().is_terminal() {
        on_terminal
    } else {
        Style::PLAIN
    }
}

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
