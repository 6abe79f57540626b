//! What was typed for `completions`.
//!
//! In: names and help. Out: reading it (`cli/layers.rs`), the scripts (`clap_complete`).

use clap::{Parser, ValueEnum};

/// What was typed for `completions`.
#[derive(Clone, Copy, Debug, Parser)]
#[command(
    name = "mcp-bridge",
    version,
    about = "Prints a script that completes this program's options in a shell.",
    max_term_width = 100
)]
pub struct Completions {
    /// Which shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Shells that completions are made for, spelled as on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// Fish.
    Fish,
    /// `PowerShell`.
    #[value(name = "powershell")]
    PowerShell,
}
