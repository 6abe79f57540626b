//! Reading options from the command line, the environment and a file, one laid over the other.
//!
//! In: which source wins (the command line over the environment over the file), the names of
//! variables, words for what is wrong. Out: the options themselves ([`super`]), the file's syntax
//! ([`crate::cli::config_file`]).

use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, ArgMatches, Command, CommandFactory as _, FromArgMatches as _, Id};

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
    /// The options to run with.
    Run(Box<Cli>),
}

impl Cli {
    /// Reads the arguments (the program's name first), the environment through `env`, and the
    /// file behind `--config`, if any.
    ///
    /// # Errors
    /// A [`Failure`] that names the option, the variable or the file and key that is wrong, and the
    /// nearest right name. It never quotes a value.
    pub fn read(
        args: impl IntoIterator<Item = OsString>,
        env: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<Parsed, Failure> {
        let command = command();
        let mut args = args.into_iter();
        let program = args.next().unwrap_or_else(|| "mcp-bridge".into());
        let args: Vec<OsString> = args.collect();

        let typed = match command
            .clone()
            .try_get_matches_from(std::iter::once(&program).chain(&args))
        {
            Ok(matches) => matches,
            Err(error) if !error.use_stderr() => return Ok(Parsed::Answer(error)),
            Err(error) => return Err(complaint(&error)),
        };
        let from_env = environment(&command, &typed, env)?;
        let env_tokens = || {
            from_env
                .iter()
                .flat_map(|option| option.tokens.iter().cloned())
        };
        let in_env = parse_layer(&command, env_tokens()).map_err(|error| complaint(&error))?;
        let config = |matches: &ArgMatches| matches.get_one::<PathBuf>("config").cloned();
        let from_file = match config(&typed).or_else(|| config(&in_env)) {
            Some(path) => config_file::read(&path, &command)?,
            None => Vec::new(),
        };

        let in_force = from_file.into_iter().filter(|option| {
            let adds_up = option.repeatable && option.id != "only_tool";
            let in_env = from_env.iter().any(|other| other.id == option.id);
            adds_up || !(in_env || is_given(&typed, option.id.as_str()))
        });
        let mut all = vec![program];
        all.extend(in_force.flat_map(|option| option.tokens));
        all.extend(env_tokens());
        all.extend(args);
        let matches = command
            .try_get_matches_from(all)
            .map_err(|error| complaint(&error))?;
        let cli = Self::from_arg_matches(&matches).map_err(|error| complaint(&error))?;
        Ok(Parsed::Run(Box::new(cli)))
    }
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

/// The parser, with switches that may be repeated.
fn command() -> Command {
    Cli::command().mut_args(|arg| {
        if matches!(arg.get_action(), ArgAction::SetTrue) {
            let id = arg.get_id().clone();
            arg.overrides_with(id)
        } else {
            arg
        }
    })
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

/// The options set by variables, except those that were also typed.
fn environment(
    command: &Command,
    typed: &ArgMatches,
    env: &impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<LayeredOption>, Failure> {
    let mut found = Vec::new();
    for arg in command.get_arguments() {
        let Some(name) = arg.get_long() else { continue };
        if matches!(arg.get_action(), ArgAction::Append) || is_given(typed, arg.get_id().as_str()) {
            continue;
        }
        let variable = format!("{VARIABLE_PREFIX}{}", name.replace('-', "_").to_uppercase());
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
            let (what, next) = problem(&error);
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

fn complaint(error: &clap::Error) -> Failure {
    let (what, next) = problem(error);
    Failure::usage(what).hint(next)
}

/// What is wrong and the next step. Values are left out, since they may be secret: a header
/// without quotation marks ends up as several arguments.
pub(crate) fn problem(error: &clap::Error) -> (String, String) {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let arg = context(ContextKind::InvalidArg).unwrap_or_default();
    let name = arg.split([' ', '=']).next().unwrap_or_default();
    let help = "`mcp-bridge --help` lists all options";
    let (what, next) = match error.kind() {
        ErrorKind::UnknownArgument if name.starts_with('-') => {
            let next = context(ContextKind::SuggestedArg)
                .map_or_else(|| help.into(), |near| format!("did you mean {near}?"));
            (format!("unknown option {name}"), next)
        }
        ErrorKind::UnknownArgument => (
            "more arguments than URL and CALLBACK_PORT".into(),
            "put values that contain spaces in quotation marks".into(),
        ),
        ErrorKind::MissingRequiredArgument => (
            "the URL of the server is missing".into(),
            "usage: mcp-bridge [OPTIONS] <URL> [CALLBACK_PORT]".into(),
        ),
        ErrorKind::InvalidValue => {
            let choices = match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(values)) if !values.is_empty() => values.join(", "),
                _ => return (format!("{name} needs a value"), help.into()),
            };
            let next = context(ContextKind::SuggestedValue)
                .map_or_else(|| help.into(), |near| format!("did you mean {near}?"));
            (format!("{name} must be one of {choices}"), next)
        }
        ErrorKind::ValueValidation => {
            let why = error.source().map(ToString::to_string).unwrap_or_default();
            (format!("{name} {why}"), help.into())
        }
        ErrorKind::TooManyValues => (format!("{name} takes no value"), help.into()),
        ErrorKind::ArgumentConflict => (
            format!("{name} was given more than once"),
            "give it once".into(),
        ),
        ErrorKind::InvalidUtf8 => (
            "an argument is not valid UTF-8".into(),
            "write it in UTF-8".into(),
        ),
        kind => (kind.to_string(), help.into()),
    };
    (what, next)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::{HeaderSource, LogFormat, Secret};
    use crate::proto::limits;
    use crate::proto::transport::Strategy;

    const URL: &str = "https://example.com/mcp";

    fn read_with(args: &[&str], env: &[(&str, &str)]) -> Result<Cli, Failure> {
        let args = std::iter::once("mcp-bridge")
            .chain(args.iter().copied())
            .map(OsString::from);
        let env = |name: &str| {
            env.iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| OsString::from(value))
        };
        match Cli::read(args, &env)? {
            Parsed::Run(cli) => Ok(*cli),
            Parsed::Answer(answer) => panic!("{answer}"),
        }
    }

    fn read(args: &[&str]) -> Cli {
        read_with(args, &[]).unwrap_or_else(|failure| panic!("{args:?}: {failure}"))
    }

    fn failure(args: &[&str]) -> String {
        let failure = read_with(args, &[]).unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        failure.to_string()
    }

    fn answer(arg: &str) -> clap::Error {
        match Cli::read(["mcp-bridge", arg].map(OsString::from), &|_| None).unwrap() {
            Parsed::Answer(answer) => answer,
            Parsed::Run(_) => panic!("{arg} ran"),
        }
    }

    /// A settings file that sets nothing.
    const EMPTY_FILE: &str = if cfg!(windows) { "NUL" } else { "/dev/null" };

    /// Every option that takes a value, with a right one.
    const VALUED: [(&str, &str); 30] = [
        ("config", EMPTY_FILE),
        ("header", "X-A: 1"),
        ("header-file", "headers.txt"),
        ("header-command", "X-B: echo 1"),
        ("ignore-tool", "delete*"),
        ("only-tool", "get*"),
        ("transport", "sse-only"),
        ("ping-interval", "7"),
        ("headers-timeout", "0"),
        ("body-timeout", "1.5"),
        ("max-message-size", "8"),
        ("eof-grace", "0"),
        ("connect-timeout", "2e1"),
        ("proxy", "http://proxy:3128"),
        ("ca-cert", "ca.pem"),
        ("client-cert", "me.pem"),
        ("client-key", "me.key"),
        ("log-file", "bridge.log"),
        ("log-format", "json"),
        ("host", "127.0.0.1"),
        ("callback-path", "/back"),
        ("auth-success-url", "https://example.com/done"),
        ("auth-timeout", "60"),
        ("static-oauth-client-metadata", "{\"scope\":\"a b\"}"),
        ("static-oauth-client-info", "@info.json"),
        ("client-metadata-url", "https://example.com/client.json"),
        ("token-endpoint", "https://example.com/token"),
        ("resource", ""),
        ("authorize-param", "prompt=consent"),
        ("protocol", "auto"),
    ];

    const SWITCHES: [&str; 13] = [
        "read-only",
        "keep-alive",
        "disable-cookies",
        "allow-http",
        "ipv4",
        "enable-proxy",
        "insecure",
        "debug",
        "silent",
        "device-code",
        "client-credentials",
        "use-id-token",
        "disable-resource-parameter",
    ];

    #[test]
    fn every_option_works_in_every_spelling_and_place() {
        let plain = format!("{:?}", read(&[URL]));
        for (name, value) in VALUED {
            let (flag, joined) = (format!("--{name}"), format!("--{name}={value}"));
            let first = format!("{:?}", read(&[&flag, value, URL]));
            assert_ne!(first, plain, "{name}");
            for args in [
                [URL, &flag, value].as_slice(),
                &[&joined, URL],
                &[URL, &joined],
            ] {
                assert_eq!(format!("{:?}", read(args)), first, "{args:?}");
            }
        }
        for name in SWITCHES {
            let flag = format!("--{name}");
            let first = format!("{:?}", read(&[&flag, URL]));
            assert_ne!(first, plain, "{name}");
            for args in [[URL, &flag].as_slice(), &[&flag, URL, &flag]] {
                assert_eq!(format!("{:?}", read(args)), first, "{args:?}");
            }
        }
    }

    #[test]
    fn every_choice_is_accepted() {
        for text in ["http-first", "sse-first", "http-only", "sse-only"] {
            assert_eq!(
                read(&[URL, "--transport", text])
                    .transport
                    .transport
                    .as_str(),
                text
            );
        }
        assert_eq!(
            read(&[URL, "--protocol", "legacy"]).sign_in.given,
            ["protocol"]
        );
        assert_eq!(
            read(&[URL, "--log-format=text"]).output.log_format,
            LogFormat::Text
        );
    }

    #[test]
    fn no_option_is_missing_from_the_lists_above() {
        for arg in command().get_arguments() {
            let Some(name) = arg.get_long() else { continue };
            let listed = VALUED.iter().any(|(known, _)| *known == name) || SWITCHES.contains(&name);
            assert!(listed, "{name}");
        }
    }

    #[test]
    fn values_arrive() {
        let cli = read(&[
            "--header",
            "-X: 1",
            "--header-file",
            "f",
            URL,
            "4000",
            "--header=X-B: 2",
            "--transport",
            "sse-first",
            "--max-message-size=8",
            "--connect-timeout",
            "2.5",
        ]);
        assert_eq!(cli.url.reveal(), URL);
        assert_eq!(cli.callback_port, Some(4000));
        let secret = |text: &str| HeaderSource::Inline(Secret::from(text.to_owned()));
        assert_eq!(
            cli.headers.sources,
            [
                secret("-X: 1"),
                HeaderSource::File("f".into()),
                secret("X-B: 2")
            ]
        );
        assert_eq!(cli.transport.transport, Strategy::SseFirst);
        assert_eq!(cli.transport.max_message_size, 8);
        assert_eq!(cli.network.connect_timeout, Duration::from_millis(2500));
    }

    #[test]
    fn defaults_are_as_documented() {
        let cli = read(&[URL]);
        assert_eq!(cli.network.connect_timeout, Duration::from_secs(10));
        assert_eq!(cli.transport.headers_timeout, Duration::from_secs(300));
        assert_eq!(cli.transport.body_timeout, Duration::ZERO);
        assert_eq!(cli.transport.eof_grace, Duration::from_secs(5));
        assert_eq!(cli.transport.max_message_size << 20, limits::MESSAGE as u64);
        assert_eq!(cli.transport.transport, Strategy::HttpFirst);
        assert_eq!(cli.output.log_format, LogFormat::Text);
        assert!(!cli.output.debug && !cli.output.silent && !cli.network.allow_http);
    }

    #[test]
    fn unknown_options_are_named_with_the_nearest() {
        for (typo, near) in [
            ("--ignore-tol=x", "--ignore-tool"),
            ("--heder", "--header"),
            ("--allow-htp", "--allow-http"),
            ("--conect-timeout=3", "--connect-timeout"),
            ("--transprot", "--transport"),
        ] {
            let text = failure(&[URL, typo]);
            let name = typo.split('=').next().unwrap();
            assert!(text.contains(&format!("unknown option {name}\n")), "{text}");
            assert!(text.ends_with(&format!("did you mean {near}?")), "{text}");
        }
        assert!(failure(&[URL, "--xyzzy"]).contains("unknown option --xyzzy"));
        assert!(failure(&[URL, "-v"]).contains("unknown option -v"));
    }

    #[test]
    fn wrong_values_name_their_option() {
        for (args, words) in [
            (
                &["--connect-timeout", "0"][..],
                "--connect-timeout must be greater than 0",
            ),
            (
                &["--connect-timeout", "1s"],
                "--connect-timeout must be a number of seconds",
            ),
            (
                &["--connect-timeout", "inf"],
                "--connect-timeout must be a number",
            ),
            (
                &["--headers-timeout", "-5"],
                "--headers-timeout must not be negative",
            ),
            (&["--body-timeout=NaN"], "--body-timeout must be a number"),
            (&["--body-timeout="], "--body-timeout"),
            (
                &["--ping-interval", "0"],
                "--ping-interval must be greater than 0",
            ),
            (
                &["--eof-grace", "1e99"],
                "--eof-grace must be at most 31536000 seconds",
            ),
            (
                &["--max-message-size", "0"],
                "--max-message-size must be a whole number",
            ),
            (
                &["--max-message-size", "1.5"],
                "--max-message-size must be a whole number",
            ),
            (
                &["--transport", "sse"],
                "--transport must be one of http-first, sse-first, http-only, sse-only",
            ),
            (
                &["--log-format", "xml"],
                "--log-format must be one of text, json",
            ),
            (
                &["--protocol", "new"],
                "--protocol must be one of legacy, auto",
            ),
            (&["--debug=1"], "--debug takes no value"),
            (&["--header"], "--header needs a value"),
            (&["--transport"], "--transport must be one of"),
            (
                &["--proxy", "none", "--proxy", "none"],
                "--proxy was given more than once",
            ),
            (&["0"], "[CALLBACK_PORT] must be a number from 1 to 65535"),
            (
                &["70000"],
                "[CALLBACK_PORT] must be a number from 1 to 65535",
            ),
        ] {
            let args = [&[URL], args].concat();
            let text = failure(&args);
            assert!(text.contains(words), "{args:?}: {text}");
        }
        assert!(failure(&[]).contains("the URL of the server is missing"));
        assert!(failure(&["--debug"]).contains("usage: mcp-bridge [OPTIONS] <URL>"));
    }

    #[test]
    fn f22_no_failure_repeats_a_value() {
        for args in [
            &[
                "--header",
                "Authorization:",
                "Bearer",
                "canary",
                "canary2",
                URL,
            ][..],
            &[URL, "canary"],
            &[URL, "3334", "canary"],
            &[URL, "--heder=canary"],
            &[URL, "--transport", "canary"],
            &[URL, "--connect-timeout", "canary"],
            &[URL, "--debug=canary"],
            &[URL, "--max-message-size=canary"],
        ] {
            let text = failure(args);
            assert!(!text.contains("canary"), "{args:?}: {text}");
        }
        let text = read_with(&[URL], &[("MCP_BRIDGE_TRANSPORT", "canary")])
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("MCP_BRIDGE_TRANSPORT") && !text.contains("canary"),
            "{text}"
        );
    }

    #[test]
    fn f22_debug_hides_what_may_be_secret() {
        let cli = read(&[
            "https://u:canary@example.com/?k=canary",
            "--header=X: canary",
            "--header-command=Y: canary",
            "--proxy=http://u:canary@proxy:1",
            "--static-oauth-client-info={\"client_secret\":\"canary\"}",
        ]);
        let shown = format!("{cli:?}");
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn variables_stand_for_options_and_the_command_line_wins() {
        let env = [
            ("MCP_BRIDGE_TRANSPORT", "sse-only"),
            ("MCP_BRIDGE_CONNECT_TIMEOUT", "3"),
            ("MCP_BRIDGE_DEBUG", "1"),
            ("MCP_BRIDGE_SILENT", "false"),
            ("MCP_BRIDGE_HOST", "127.0.0.1"),
            ("MCP_BRIDGE_HEADER", "X: not from here"),
        ];
        let cli = read_with(&[URL, "--transport", "http-only"], &env).unwrap();
        assert_eq!(cli.transport.transport, Strategy::HttpOnly);
        assert_eq!(cli.network.connect_timeout, Duration::from_secs(3));
        assert!(cli.output.debug && !cli.output.silent);
        assert_eq!(cli.sign_in.given, ["host"]);
        assert!(cli.headers.sources.is_empty());

        for (variable, value) in [
            ("MCP_BRIDGE_DEBUG", "maybe"),
            ("MCP_BRIDGE_CONNECT_TIMEOUT", "0"),
            ("MCP_BRIDGE_PROTOCOL", "x"),
        ] {
            let text = read_with(&[URL], &[(variable, value)])
                .unwrap_err()
                .to_string();
            assert!(text.contains(variable), "{text}");
        }
    }

    #[test]
    fn every_single_valued_option_has_its_variable() {
        let command = command();
        for (name, value) in VALUED {
            let arg = command
                .get_arguments()
                .find(|arg| arg.get_long() == Some(name))
                .unwrap();
            if matches!(arg.get_action(), ArgAction::Append) {
                continue;
            }
            let variable = format!("MCP_BRIDGE_{}", name.replace('-', "_").to_uppercase());
            let by_variable = read_with(&[URL], &[(&variable, value)]).unwrap();
            let typed = read(&[URL, &format!("--{name}={value}")]);
            assert_eq!(
                format!("{by_variable:?}"),
                format!("{typed:?}"),
                "{variable}"
            );
        }
    }

    #[test]
    fn help_and_version_go_to_stdout() {
        for arg in ["-h", "--help", "--version", "-V"] {
            assert!(!answer(arg).use_stderr(), "{arg}");
        }
        assert_eq!(
            answer("--version").to_string(),
            concat!("mcp-bridge ", env!("CARGO_PKG_VERSION"), "\n")
        );
        assert!(
            answer("-h")
                .to_string()
                .contains("Usage: mcp-bridge [OPTIONS] <URL> [CALLBACK_PORT]")
        );
        let (short, long) = (answer("-h").to_string(), answer("--help").to_string());
        assert!(
            short.contains("--ignore-tool") && !short.contains("--device-code"),
            "{short}"
        );
        assert!(
            long.contains("--device-code") && long.contains("--enable-proxy"),
            "{long}"
        );
        for heading in [
            "Headers:",
            "Tools:",
            "Transport:",
            "Network:",
            "Certificates:",
            "Output:",
        ] {
            assert!(short.contains(heading), "{heading}\n{short}");
        }
    }

    #[test]
    fn the_parser_is_sound() {
        command().debug_assert();
    }
}
