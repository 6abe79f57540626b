//! `completions`: a script for the shell.
//!
//! In: which generator makes it, and what has to be mended in what it makes. Out: what is completed (`cli::whole`).

use std::fmt::Write as _;

use clap::Command;
use clap_complete::Shell as Generator;

use super::print;
use crate::cli::{self, Completions, Shell};
use crate::error::Failure;

const NAME: &str = "mcp-bridge";

/// Prints the script.
///
/// # Errors
/// A [`Failure`] when stdout cannot be written.
pub fn run(completions: Completions) -> Result<(), Failure> {
    print(&script(completions.shell))
}

fn script(shell: Shell) -> String {
    let mut command = cli::whole();
    let mut generate = |generator: Generator| {
        let mut script = Vec::new();
        clap_complete::generate(generator, &mut command, NAME, &mut script);
        String::from_utf8_lossy(&script).into_owned()
    };
    match shell {
        // The generator spells the dash in the program's name in two ways, so that nothing behind a
        // command would be completed: https://github.com/clap-rs/clap/issues/6421.
        Shell::Bash => generate(Generator::Bash).replace("mcp__subcmd__bridge", "mcp__bridge"),
        Shell::Zsh => generate(Generator::Zsh),
        Shell::Fish => {
            // An option that waits for its value counts as a mistake, and would get files.
            let script =
                generate(Generator::Fish).replace("\n    or return\n", "\n    or return 0\n");
            script + &fish_arguments(&command)
        }
        Shell::PowerShell => generate(Generator::PowerShell),
    }
}

/// What the generator leaves out: values of what stands without a dash, such as the names of
/// clients. See <https://github.com/clap-rs/clap/issues/6295>.
fn fish_arguments(command: &Command) -> String {
    let mut lines = String::new();
    for command in command.get_subcommands() {
        let values: Vec<String> = command
            .get_positionals()
            .filter_map(|arg| arg.get_value_parser().possible_values())
            .flatten()
            .map(|value| value.get_name().to_owned())
            .collect();
        if !values.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(
                lines,
                "complete -c {NAME} -n \"__fish_mcp_bridge_using_subcommand {}\" -f -a \"{}\"",
                command.get_name(),
                values.join(" ")
            );
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_learns_every_command_and_what_it_takes() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell] {
            let script = script(shell);
            for word in ["install", "completions", "forget-client", "dry-run"] {
                assert!(script.contains(word), "{shell:?}: {word}");
            }
            // PowerShell is not told values.
            let values = ["claude-desktop", "powershell", "sse-only", "keychain"];
            for word in values.into_iter().filter(|_| shell != Shell::PowerShell) {
                assert!(script.contains(word), "{shell:?}: {word}");
            }
        }
        assert!(script(Shell::Zsh).contains(":FILE:_files"));
        assert!(script(Shell::Bash).contains("compopt -o filenames"));
    }
}
