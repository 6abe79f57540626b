//! What `-h` and `--help` print, and the whole command line as one tree.
//!
//! In: which options the short text has, the topics of the long one with an example each, the order
//! of it all. Out: the options themselves (the other files here), reading them (`cli/layers.rs`).

use std::any::TypeId;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory as _, ValueHint};

use super::Cli;
use super::mode::Mode;

/// The options of the bridge that `-h` shows.
const FIRST: [&str; 10] = [
    "allow_http",
    "ca_cert",
    "debug",
    "header",
    "header_file",
    "ignore_tool",
    "no_browser",
    "profile",
    "proxy",
    "transport",
];

/// How many of these names are on one line, where only the names are shown.
const NAMES_PER_LINE: usize = 6;

/// The topics of the bridge's options, in order, with options that make an example.
const TOPICS: [(&str, &str); 10] = [
    ("Headers", "--header 'Authorization: Bearer ${KEY}'"),
    ("Sign-in", "--profile work --no-browser"),
    (
        "Sign-in at a company",
        "--static-oauth-client-info @app.json",
    ),
    ("Tools", "--ignore-tool 'delete*' --read-only"),
    ("Transport", "--transport sse-only"),
    ("Protocol", "--protocol legacy"),
    ("Time limits", "--call-timeout 600 --heartbeat 15"),
    ("Network", "--proxy http://proxy.example.com:8080"),
    ("Certificates", "--ca-cert company.pem"),
    ("Output", "--debug --log-file bridge.log"),
];

const ABOUT_THE_OPTIONS: &str = "\
Every option that takes one value, and every switch, can also be set in the environment:
MCP_BRIDGE_CONNECT_TIMEOUT=5, MCP_BRIDGE_DEBUG=1. The --config file can set repeatable ones, too.";

const SAME_SIGN_IN: &str = "\
Every option of the bridge is accepted: with the options of the bridge's own command line, it is
the same sign-in. Variables and --config count as well.";

const ENDINGS: &str = "\
An error ends in its kind in brackets, such as [connect].
Exit codes: 0 clean end, 1 could not do the job, 2 bad usage.";

/// A command line that works, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Heading of the options it shows; empty: the command itself.
    pub topic: &'static str,
    /// The line as it is typed into a shell.
    pub line: String,
}

/// What there is to say about one command, or about the bridge.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its name: `mcp-bridge`, or `mcp-bridge login`.
    pub name: &'static str,
    /// Its arguments and options.
    pub command: Command,
    /// Of the command itself first, then one for each topic that its options have.
    pub examples: Vec<Example>,
    /// What else there is to know, a paragraph each.
    pub notes: Vec<&'static str>,
}

/// The program with all of its commands and what can be completed behind them. It describes;
/// [`super::Parsed::read`] reads.
#[must_use]
pub fn whole() -> Command {
    let commands = Mode::COMMANDS.map(|mode| {
        let name = mode.command_name().unwrap_or_default();
        completable(name, &mode.command(), true)
    });
    // An address cannot be completed, and the place that it takes is that of the commands.
    completable("mcp-bridge", &Mode::Bridge.command(), false)
        .subcommands(commands)
        .disable_help_subcommand(true)
}

/// What there is to say about the bridge, and about each command.
#[must_use]
pub fn pages() -> Vec<Page> {
    std::iter::once(Mode::Bridge)
        .chain(Mode::COMMANDS)
        .map(|mode| {
            let command = mode.command();
            Page {
                name: mode.name(),
                examples: examples(mode, &command),
                command,
                notes: notes(mode),
            }
        })
        .collect()
}

/// The answer to `-h`, `--help` or `--version`: the parser's own, with a better help text.
pub(super) fn answer(
    answer: clap::Error,
    command: &Command,
    mode: Mode,
    program: &OsString,
) -> clap::Error {
    if answer.kind() != ErrorKind::DisplayHelp {
        return answer;
    }
    let parse = |command: Command, flag: &str| {
        let args = [program.clone(), flag.into()];
        command.try_get_matches_from(args).err()
    };
    // The parser knows which of the two it was, and tells by its text alone.
    let plain = parse(command.clone(), "-h").map(|error| error.to_string());
    let text = if plain == Some(answer.to_string()) {
        short(mode, command)
    } else {
        long(mode, command)
    };
    parse(command.clone().override_help(text), "-h").unwrap_or(answer)
}

fn short(mode: Mode, command: &Command) -> String {
    let bridge = Cli::command();
    let is_own = |arg: &Arg| {
        let mut others = bridge.get_arguments();
        mode == Mode::Bridge || !others.any(|known| known.get_id() == arg.get_id())
    };
    let is_first = |arg: &Arg| FIRST.contains(&arg.get_id().as_str());
    let own = only(command, |arg| {
        is_own(arg) && (mode != Mode::Bridge || is_first(arg))
    });
    let mut text = opening(mode, command);
    let options = part(&own, "{options}", true, false);
    section(&mut text, command, "Options", None, &options);
    let of_bridge: Vec<String> = command
        .get_arguments()
        .filter(|arg| !is_own(arg) && is_first(arg) && !arg.is_hide_set())
        .filter_map(|arg| arg.get_long().map(|name| format!("--{name}")))
        .collect();
    if !of_bridge.is_empty() {
        let lines: Vec<String> = of_bridge
            .chunks(NAMES_PER_LINE)
            .map(|names| format!("  {}", names.join(", ")))
            .collect();
        let title = "Options of the bridge work as well (\"mcp-bridge -h\" describes these)";
        section(&mut text, command, title, None, &lines.join(",\n"));
    }
    let shown = |arg: &&Arg| !arg.is_hide_set() && !arg.is_positional();
    let count = |command: &Command| command.get_arguments().filter(shown).count();
    if count(&own) < count(command) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "\n\"{} --help\" shows every option, with examples.",
            mode.name()
        );
    }
    text
}

fn long(mode: Mode, command: &Command) -> String {
    let mut text = opening(mode, command);
    let general = only(command, |arg| arg.get_help_heading().is_none());
    let options = part(&general, "{options}", true, true);
    section(&mut text, command, "Options", None, &options);
    for example in examples(mode, command) {
        if example.topic.is_empty() {
            continue;
        }
        let group = only(command, |arg| arg.get_help_heading() == Some(example.topic));
        let options = part(&group, "{options}", false, true);
        section(
            &mut text,
            command,
            example.topic,
            Some(&example.line),
            &options,
        );
    }
    for note in notes(mode) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{note}");
    }
    text
}

/// What both begin with: the purpose, how it is typed, the commands, what stands without a dash.
fn opening(mode: Mode, command: &Command) -> String {
    let header = command.get_styles().get_header();
    let mut text = part(
        command,
        "{about-with-newline}\n{usage-heading} {usage}",
        false,
        false,
    );
    let own = mode.examples();
    let title = if own.len() == 1 {
        "Example"
    } else {
        "Examples"
    };
    let _ = writeln!(text, "\n\n{header}{title}:{header:#}");
    for line in own {
        let _ = writeln!(text, "  {line}");
    }
    if mode == Mode::Bridge {
        let _ = writeln!(
            text,
            "\n{header}Commands, each with its own --help:{header:#}"
        );
        for mode in Mode::COMMANDS {
            let purpose = mode.command().get_about().map(ToString::to_string);
            let purpose = purpose.unwrap_or_default();
            let purpose = purpose.trim_end_matches('.');
            let name = mode.command_name().unwrap_or_default();
            let _ = writeln!(text, "  {name:<12} {purpose}");
        }
    }
    let arguments = part(command, "{positionals}", false, false);
    section(&mut text, command, "Arguments", None, &arguments);
    text
}

/// A heading, an example if there is one, and what the parser says about the options.
fn section(text: &mut String, command: &Command, title: &str, example: Option<&str>, body: &str) {
    if body.is_empty() {
        return;
    }
    let header = command.get_styles().get_header();
    let _ = writeln!(text, "\n{header}{title}:{header:#}");
    if let Some(line) = example {
        let _ = writeln!(text, "  Example: {line}\n");
    }
    let _ = writeln!(text, "{body}");
}

/// A part of the parser's own help text. `standard`: with `--help` and `--version`.
fn part(command: &Command, template: &'static str, standard: bool, long: bool) -> String {
    let mut command = command
        .clone()
        .help_template(template)
        .disable_help_flag(!standard)
        .disable_version_flag(!standard);
    let text = if long {
        command.render_long_help()
    } else {
        command.render_help()
    };
    let text = text.ansi().to_string();
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// The command with the other arguments hidden; those without a dash are always shown.
fn only(command: &Command, is_shown: impl Fn(&Arg) -> bool) -> Command {
    command.clone().mut_args(|arg| {
        let is_hidden = arg.is_hide_set() || !(arg.is_positional() || is_shown(&arg));
        arg.hide(is_hidden)
    })
}

fn examples(mode: Mode, command: &Command) -> Vec<Example> {
    let own = mode.examples();
    let base = own.first().copied().unwrap_or_default();
    let is_there = |topic: &str| {
        let mut shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
        shown.any(|arg| arg.get_help_heading() == Some(topic))
    };
    let of_topics = TOPICS
        .iter()
        .filter(|(topic, _)| is_there(topic))
        .map(|(topic, options)| Example {
            topic,
            line: format!("{base} {options}"),
        });
    own.iter()
        .map(|line| Example {
            topic: "",
            line: (*line).to_owned(),
        })
        .chain(of_topics)
        .collect()
}

fn notes(mode: Mode) -> Vec<&'static str> {
    match mode {
        Mode::Bridge => vec![ABOUT_THE_OPTIONS, ENDINGS],
        Mode::Login | Mode::Logout | Mode::Doctor => vec![SAME_SIGN_IN, ENDINGS],
        _ => vec![ENDINGS],
    }
}

/// What the help text shows, with a hint where a path is wanted.
fn completable(name: &'static str, command: &Command, positionals: bool) -> Command {
    let arguments = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && (positionals || !arg.is_positional()))
        .cloned();
    Command::new(name)
        .version(env!("CARGO_PKG_VERSION"))
        .about(command.get_about().cloned().unwrap_or_default())
        .args(arguments)
        .mut_args(|arg| {
            if arg.get_value_parser().type_id() == TypeId::of::<PathBuf>() {
                arg.value_hint(ValueHint::FilePath)
            } else {
                arg
            }
        })
}
