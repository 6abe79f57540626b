//! The options of `doctor` beside those of the bridge.
//!
//! In: names and help. Out: reading them (`cli/layers.rs`), what is checked.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches};

use super::Cli;
use super::typed::Typed;

/// What was typed for `doctor`.
#[derive(Clone, Debug)]
pub struct Doctor {
    /// The options of the bridge.
    pub cli: Cli,
    /// Those of them that were typed, for the report.
    pub typed: Vec<Typed>,
    /// `--json`: print the report as JSON.
    pub json: bool,
    /// `--report`: where to write a report for others.
    pub report: Option<PathBuf>,
    /// `--login`: sign in where that is needed.
    pub login: bool,
}

impl Doctor {
    pub(super) fn own_args() -> [Arg; 3] {
        [
            Arg::new("json")
                .long("json")
                .help_heading(None)
                .help("Print the checks as JSON, for scripts")
                .action(ArgAction::SetTrue),
            Arg::new("report")
                .long("report")
                .value_name("FILE")
                .help_heading(None)
                .help("Write everything into a file without secrets, to go with a bug report")
                .value_parser(clap::value_parser!(PathBuf)),
            Arg::new("login")
                .long("login")
                .help_heading(None)
                .help("Sign in where the server wants that")
                .action(ArgAction::SetTrue),
        ]
    }

    /// Takes what was typed.
    pub(super) fn new(cli: Cli, typed: Vec<Typed>, matches: &ArgMatches) -> Self {
        Self {
            cli,
            typed,
            json: matches.get_flag("json"),
            report: matches.get_one("report").cloned(),
            login: matches.get_flag("login"),
        }
    }
}
