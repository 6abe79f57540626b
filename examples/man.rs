//! Writes the manual pages, one for the bridge and one for each command, into a folder:
//!
//! ```text
//! cargo run --example man -- FOLDER
//! ```

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use mcp_bridge::cli::{Page, pages};

#[expect(
    clippy::disallowed_methods,
    reason = "a program of its own, with one argument"
)]
fn main() -> ExitCode {
    let outcome = match std::env::args_os().nth(1).map(PathBuf::from) {
        Some(folder) => pages().iter().try_for_each(|page| {
            let path = folder.join(file_name(page));
            render(page).and_then(|text| std::fs::write(path, text))
        }),
        None => Err(io::Error::other("name the folder to write into")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed stderr changes nothing.
            let _ = writeln!(io::stderr(), "man: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Under which name `man` finds the page.
#[must_use]
pub fn file_name(page: &Page) -> String {
    format!("{}.1", title(page))
}

/// The page in the language of `man` (groff).
///
/// # Errors
/// None for writing into memory.
pub fn render(page: &Page) -> io::Result<Vec<u8>> {
    let command = page.command.clone().display_name(title(page));
    let man = Man::new(command)
        .title(title(page))
        .manual("mcp-bridge")
        .source(concat!("mcp-bridge ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    commands(page).to_writer(&mut text)?;
    man.render_options_section(&mut text)?;
    examples(page).to_writer(&mut text)?;
    notes(page).to_writer(&mut text)?;
    Ok(text)
}

fn title(page: &Page) -> String {
    page.name.replace(' ', "-")
}

/// Of the bridge, which has no name of its own to be called by.
fn commands(page: &Page) -> Roff {
    let mut roff = Roff::new();
    if page.name != "mcp-bridge" {
        return roff;
    }
    roff.control("SH", ["COMMANDS"]);
    for other in pages().iter().filter(|other| other.name != page.name) {
        roff.control("TP", []);
        roff.text([bold(other.name)]);
        let about = other.command.get_about().map(ToString::to_string);
        roff.text([roman(about.unwrap_or_default())]);
    }
    roff
}

fn examples(page: &Page) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    for example in &page.examples {
        roff.control("PP", []);
        if !example.topic.is_empty() {
            roff.text([roman(format!("{}:", example.topic))]);
        }
        roff.control("RS", ["4"]);
        roff.control("nf", []);
        roff.text([roman(&example.line)]);
        roff.control("fi", []);
        roff.control("RE", []);
    }
    roff
}

fn notes(page: &Page) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["NOTES"]);
    for note in &page.notes {
        roff.control("PP", []);
        roff.text([roman(note.replace('\n', " "))]);
    }
    roff.control("SH", ["SEE ALSO"]);
    let others: Vec<String> = pages()
        .iter()
        .filter(|other| other.name != page.name)
        .map(|other| format!("{}(1)", title(other)))
        .collect();
    roff.text([roman(others.join(", "))]);
    roff
}
