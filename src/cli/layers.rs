//! Reading options from the command line, the environment and a file, one laid over the other.
//!
//! In: which source wins (the command line over the environment over the file), the names of
//! variables, words for what is wrong. Out: the options themselves ([`super`]), the file's syntax
//! ([`crate::cli::config_file`]).

use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, ArgMatches, Command, FromArgMatches as _, Id};

use super::completions::Completions;
use super::doctor::Doctor;
use super::help;
use super::install::{Install, Pack, Uninstall};
use super::mode::{Logout, Mode, Status};
use super::typed::{self, Typed};
use super::{Cli, is_given};
use crate::cli::config_file;
use crate::error::Failure;

/// The variable that stands for an option: this, then the option's name in capitals with `_` for
/// `-`, as in `MCP_BRIDGE_CONNECT_TIMEOUT`.
const VARIABLE_PREFIX: &str = "MCP_BRIDGE_";

/// What came of reading the command line.
#[derive(Debug)]
pub enum Parsed {
    /// Help or version was asked for: print it (to stdout, with [`clap::Error::print`]) and end
    /// with 0.
    Answer(clap::Error),
    /// The options to bridge with.
    Run(Box<Cli>),
    /// `login`, and the options of the bridge to sign in for.
    Login(Box<Cli>),
    /// `logout`.
    Logout(Box<Logout>),
    /// `status`.
    Status(Box<Status>),
    /// `doctor`.
    Doctor(Box<Doctor>),
    /// `install`.
    Install(Box<Install>),
    /// `uninstall`.
    Uninstall(Box<Uninstall>),
    /// `pack`.
    Pack(Box<Pack>),
    /// `completions`.
    Completions(Completions),
}

impl Parsed {
    /// Reads the arguments (the program's name first), the environment through `env`, and the
    /// file behind `--config`, if any. A command is the first argument or none.
    ///
    /// # Errors
    /// A [`Failure`] that names the option, the variable or the file and key that is wrong, and the
    /// nearest right name. It never quotes a value.
    pub fn read(
        args: impl IntoIterator<Item = OsString>,
        env: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Failure> {
        let mut args = args.into_iter();
        let program = args.next().unwrap_or_else(|| "mcp-bridge".into());
        let mut args: Vec<OsString> = args.collect();
        if args.first().is_some_and(|first| first == "help") {
            args.remove(0);
            args.truncate(1);
            args.push("--help".into());
        }
        let first = args.first().and_then(|first| first.to_str());
        let named = first.and_then(Mode::named);
        if let (None, Some(near)) = (named, first.and_then(Mode::near)) {
            let hint = format!("did you mean `{}`?", near.name());
            return Err(Failure::usage("there is no such command").hint(hint));
        }
        if named.is_some() {
            args.remove(0);
        }
        let mode = named.unwrap_or(Mode::Bridge);
        let wrong = |error| complaint(&error, mode);

        let command = mode.command();
        let typed = match command
            .clone()
            .try_get_matches_from(std::iter::once(&program).chain(&args))
        {
            Ok(matches) => matches,
            Err(error) if !error.use_stderr() => {
                return Ok(Self::Answer(help::answer(error, &command, mode, &program)));
            }
            Err(error) => return Err(wrong(error)),
        };
        let beneath = if mode.takes_environment() {
            beneath(&command, &typed, env)?
        } else {
            Vec::new()
        };
        let tokens = std::iter::once(program).chain(beneath).chain(args);
        let matches = command
            .clone()
            .try_get_matches_from(tokens)
            .map_err(wrong)?;

        let cli = || {
            let mut cli = Cli::from_arg_matches(&matches).map_err(wrong)?;
            cli.typed = typed_names(&command, &typed);
            Ok::<_, Failure>(cli)
        };
        let options = || -> Result<Vec<Typed>, Failure> {
            typed::typed(&Mode::Bridge.command(), &command, &typed).map_err(|name| {
                Failure::usage(format!("the value of {name} is not valid UTF-8"))
                    .hint("write it in UTF-8")
            })
        };
        Ok(match mode {
            Mode::Bridge => Self::Run(Box::new(cli()?)),
            Mode::Login => Self::Login(Box::new(cli()?)),
            Mode::Logout => Self::Logout(Box::new(Logout::new(cli()?, &matches))),
            Mode::Status => {
                let status = Status::from_arg_matches(&matches).map_err(wrong)?;
                Self::Status(Box::new(status))
            }
            Mode::Doctor => Self::Doctor(Box::new(Doctor::new(cli()?, options()?, &matches))),
            Mode::Install => Self::Install(Box::new(Install::new(options()?, &matches))),
            Mode::Uninstall => Self::Uninstall(Box::new(Uninstall::new(&matches))),
            Mode::Pack => Self::Pack(Box::new(Pack::new(options()?, &matches))),
            Mode::Completions => {
                Self::Completions(Completions::from_arg_matches(&matches).map_err(wrong)?)
            }
        })
    }
}

/// The arguments that environment and file amount to, in the order in which they count. Both are
/// the bridge's: what a command has no use for is left out.
fn beneath(
    command: &Command,
    typed: &ArgMatches,
    env: &impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<OsString>, Failure> {
    let bridge = Mode::Bridge.command();
    let is_known = |id: &Id| command.get_arguments().any(|arg| arg.get_id() == id);
    let is_typed = |id: &Id| is_known(id) && is_given(typed, id.as_str());

    let from_env = environment(&bridge, |id| is_known(id) && !is_typed(id), env)?;
    let env_tokens = || {
        from_env
            .iter()
            .flat_map(|option| option.tokens.iter().cloned())
    };
    let in_env =
        parse_layer(&bridge, env_tokens()).map_err(|error| complaint(&error, Mode::Bridge))?;
    let config = |matches: &ArgMatches| matches.get_one::<PathBuf>("config").cloned();
    let from_file = match config(typed).or_else(|| config(&in_env)) {
        Some(path) => config_file::read(&path, &bridge)?,
        None => Vec::new(),
    };
    let in_force = from_file.into_iter().filter(|option| {
        let adds_up = option.repeatable && option.id != "only_tool";
        let in_env = from_env.iter().any(|other| other.id == option.id);
        is_known(&option.id) && (adds_up || !(in_env || is_typed(&option.id)))
    });
    let mut tokens: Vec<OsString> = in_force.flat_map(|option| option.tokens).collect();
    tokens.extend(env_tokens());
    Ok(tokens)
}

/// The long names of the options that were typed.
fn typed_names(command: &Command, typed: &ArgMatches) -> Vec<String> {
    command
        .get_arguments()
        .filter(|arg| is_given(typed, arg.get_id().as_str()))
        .filter_map(|arg| arg.get_long().map(str::to_owned))
        .collect()
}

/// One option that was not typed but found in the environment or a file.
pub(crate) struct LayeredOption {
    /// The option's name inside clap.
    pub(crate) id: Id,
    /// Whether it may be given more than once.
    pub(crate) repeatable: bool,
    /// The arguments that say the same; none for a switch that is off.
    pub(crate) tokens: Vec<OsString>,
}

/// Parses one layer by itself: nothing is required.
///
/// # Errors
/// What is wrong with an option, or the help text that was asked for.
pub(crate) fn parse_layer(
    command: &Command,
    tokens: impl IntoIterator<Item = OsString>,
) -> Result<ArgMatches, clap::Error> {
    let tokens = std::iter::once(OsString::from("mcp-bridge")).chain(tokens);
    command
        .clone()
        .mut_arg("url", |url| url.required(false))
        .try_get_matches_from(tokens)
}

/// The options set by variables, those that are wanted.
fn environment(
    command: &Command,
    is_wanted: impl Fn(&Id) -> bool,
    env: &impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<LayeredOption>, Failure> {
    let mut found = Vec::new();
    for arg in command.get_arguments() {
        let Some(name) = arg.get_long() else { continue };
        if matches!(arg.get_action(), ArgAction::Append) || !is_wanted(arg.get_id()) {
            continue;
        }
        let variable = variable(name);
        let Some(value) = env(&variable) else {
            continue;
        };
        let tokens = match arg.get_action() {
            ArgAction::SetTrue => switch(name, &value).ok_or_else(|| {
                Failure::usage(format!(
                    "the variable {variable} must be 1 or 0, true or false"
                ))
            })?,
            _ => vec![token(name, &value)],
        };
        parse_layer(command, tokens.iter().cloned()).map_err(|error| {
            let (what, next) = problem(&error, Mode::Bridge);
            Failure::usage(format!("the variable {variable} is wrong: {what}")).hint(next)
        })?;
        found.push(LayeredOption {
            id: arg.get_id().clone(),
            repeatable: false,
            tokens,
        });
    }
    Ok(found)
}

/// The variable that stands for the option of this long name, without dashes.
pub(crate) fn variable(name: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", name.replace('-', "_").to_uppercase())
}

/// `--name=value`.
pub(crate) fn token(name: &str, value: &OsStr) -> OsString {
    let mut token = OsString::from(format!("--{name}="));
    token.push(value);
    token
}

/// A switch in the environment: on, off, or neither.
fn switch(name: &str, value: &OsStr) -> Option<Vec<OsString>> {
    match value.to_str()?.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(vec![format!("--{name}").into()]),
        "" | "0" | "false" | "no" | "off" => Some(Vec::new()),
        _ => None,
    }
}

fn complaint(error: &clap::Error, mode: Mode) -> Failure {
    let (what, next) = problem(error, mode);
    Failure::usage(what).hint(next)
}

/// What is wrong and the next step. Values are left out, since they may be secret: a header
/// without quotation marks ends up as several arguments.
pub(super) fn problem(error: &clap::Error, mode: Mode) -> (String, String) {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let arg = context(ContextKind::InvalidArg).unwrap_or_default();
    let name = arg.split([' ', '=']).next().unwrap_or_default();
    let name = name.trim_matches(['[', ']']);
    let help = format!("`{} --help` lists all options", mode.name());
    let (what, next) = match error.kind() {
        ErrorKind::UnknownArgument if name.starts_with('-') => {
            let next = context(ContextKind::SuggestedArg)
                .map_or_else(|| help, |near| format!("did you mean {near}?"));
            (format!("unknown option {name}"), next)
        }
        ErrorKind::UnknownArgument if mode == Mode::Status => (
            "status takes no arguments".into(),
            format!("usage: {}", mode.usage()),
        ),
        ErrorKind::UnknownArgument => (
            "more arguments than URL and CALLBACK_PORT".into(),
            "put values that contain spaces in quotation marks".into(),
        ),
        ErrorKind::MissingRequiredArgument => {
            (missing(mode).into(), format!("usage: {}", mode.usage()))
        }
        ErrorKind::InvalidValue => {
            let choices = match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(values)) if !values.is_empty() => values.join(", "),
                _ => return (format!("{name} needs a value"), help),
            };
            let next = context(ContextKind::SuggestedValue)
                .map_or_else(|| help, |near| format!("did you mean {near}?"));
            (format!("{name} must be one of {choices}"), next)
        }
        ErrorKind::ValueValidation => {
            let why = error.source().map(ToString::to_string).unwrap_or_default();
            (format!("{name} {why}"), help)
        }
        ErrorKind::TooManyValues => (format!("{name} takes no value"), help),
        ErrorKind::ArgumentConflict => (
            format!("{name} was given more than once"),
            "give it once".into(),
        ),
        ErrorKind::InvalidUtf8 => (
            "an argument is not valid UTF-8".into(),
            "write it in UTF-8".into(),
        ),
        kind => (kind.to_string(), help),
    };
    (what, next)
}

/// What a command cannot do without.
fn missing(mode: Mode) -> &'static str {
    match mode {
        Mode::Uninstall => "the name of the entry is missing",
        Mode::Completions => "the name of the shell is missing",
        _ => "the URL of the server is missing",
    }
}

#[cfg(test)]
mod tests;
