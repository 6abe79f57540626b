//! Files that options are read from: the `--config` file, and plain reading with a limit.
//!
//! In: a path. Out: the options in it as the command line would have them ([`crate::cli`]), and
//! what they mean ([`crate::settings`]).

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use clap::{ArgAction, Command};
use toml::{Table, Value};

use crate::cli::layers::{LayeredOption, parse_layer, problem, token};
use crate::cli::mode::Mode;
use crate::error::Failure;

/// Largest file that options or headers are read from, in bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// Reads the options in a TOML file whose keys are the long names of options.
///
/// # Errors
/// The file cannot be read, is not TOML, or has a key or value that no option would accept. The
/// failure names file and key, never a value.
pub(crate) fn read(path: &Path, command: &Command) -> Result<Vec<LayeredOption>, Failure> {
    let text = read_text(path, "--config").map_err(Failure::file)?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error
            .span()
            .and_then(|span| text.get(..span.start))
            .unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        Failure::usage(format!("{}:{line}: {}", path.display(), error.message()))
    })?;
    table
        .into_iter()
        .map(|(key, value)| option(path, command, &key, &value))
        .collect()
}

/// Reads a whole text file; a byte order mark in front is dropped.
///
/// # Errors
/// It cannot be read, is larger than [`FILE_LIMIT`] or is not UTF-8: a sentence that names
/// `option` and the path.
pub(crate) fn read_text(path: &Path, option: &str) -> Result<String, String> {
    let wrong = |what: &str| format!("{option} {}: {what}", path.display());
    let mut bytes = Vec::new();
    #[expect(
        clippy::disallowed_methods,
        reason = "errors name the option and the path"
    )]
    let file = File::open(path).map_err(|error| wrong(&error.to_string()))?;
    file.take(FILE_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(&error.to_string()))?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(wrong("the file is larger than 1 MiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("the file is not valid UTF-8"))?;
    Ok(text
        .strip_prefix('\u{feff}')
        .map(str::to_owned)
        .unwrap_or(text))
}

fn option(
    path: &Path,
    command: &Command,
    key: &str,
    value: &Value,
) -> Result<LayeredOption, Failure> {
    let wrong = |what: &str| Failure::usage(format!("{}: {what}", path.display()));
    let arg = command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(key));
    let Some(arg) = arg.filter(|arg| arg.get_id() != "config") else {
        let near = match parse_layer(command, [format!("--{key}").into()]) {
            Err(error) if error.use_stderr() => problem(&error, Mode::Bridge).1,
            _ => "keys are the long names of options".into(),
        };
        return Err(wrong(&format!("unknown key {key}")).hint(near));
    };
    let repeatable = matches!(arg.get_action(), ArgAction::Append);
    let tokens = match (arg.get_action(), value) {
        (ArgAction::SetTrue, Value::Boolean(true)) => vec![format!("--{key}").into()],
        (ArgAction::SetTrue, Value::Boolean(false)) => Vec::new(),
        (ArgAction::SetTrue, _) => return Err(wrong(&format!("{key} must be true or false"))),
        (ArgAction::Append, Value::Array(values)) => values
            .iter()
            .map(|value| scalar(value).map(|text| token(key, text.as_ref())))
            .collect::<Option<_>>()
            .ok_or_else(|| wrong(&format!("{key} must be a list of strings")))?,
        (_, value) => match scalar(value) {
            Some(text) => vec![token(key, text.as_ref())],
            None => return Err(wrong(&format!("{key} must be a string or a number"))),
        },
    };
    parse_layer(command, tokens.iter().cloned()).map_err(|error| {
        let (what, next) = problem(&error, Mode::Bridge);
        wrong(&what).hint(next)
    })?;
    Ok(LayeredOption {
        id: arg.get_id().clone(),
        repeatable,
        tokens,
    })
}

/// A value as it would be typed.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Float(number) => Some(number.to_string()),
        Value::Integer(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Table(_) => None,
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests make the files they read"
)]
mod tests {
    use std::ffi::OsString;
    use std::time::Duration;

    use super::*;
    use crate::cli::{Cli, HeaderSource, Parsed};
    use crate::proto::transport::Strategy;

    fn read(args: &[&str], env: &[(&str, &str)]) -> Result<Cli, Failure> {
        let args = ["mcp-bridge", "https://example.com/mcp"]
            .iter()
            .chain(args)
            .map(OsString::from);
        let env = |name: &str| {
            env.iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| OsString::from(value))
        };
        match Parsed::read(args, &env)? {
            Parsed::Run(cli) => Ok(*cli),
            other => panic!("{other:?}"),
        }
    }

    fn with_file(text: &str, args: &[&str], env: &[(&str, &str)]) -> Result<Cli, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bridge.toml");
        std::fs::write(&path, text).unwrap();
        let config = format!("--config={}", path.display());
        read(&[&[config.as_str()], args].concat(), env)
    }

    #[test]
    fn the_file_yields_to_variables_and_the_command_line() {
        let text = "
            transport = 'sse-only'
            connect-timeout = 3
            eof-grace = 0.5
            debug = true
            silent = true
            ignore-tool = ['a', 'b']
            only-tool = ['x']
            header = 'X-A: file'
        ";
        let env = [
            ("MCP_BRIDGE_CONNECT_TIMEOUT", "4"),
            ("MCP_BRIDGE_SILENT", "0"),
        ];
        let args = [
            "--transport=http-only",
            "--ignore-tool=c",
            "--only-tool=y",
            "--header=X-A: typed",
        ];
        let cli = with_file(text, &args, &env).unwrap();
        assert_eq!(cli.transport.transport, Strategy::HttpOnly);
        assert_eq!(cli.network.connect_timeout, Duration::from_secs(4));
        assert_eq!(cli.transport.eof_grace, Duration::from_millis(500));
        assert!(cli.output.debug && !cli.output.silent);
        assert_eq!(cli.tools.ignore_tool, ["a", "b", "c"]);
        assert_eq!(cli.tools.only_tool, ["y"]);
        let HeaderSource::Inline(last) = cli.headers.sources.last().unwrap() else {
            panic!()
        };
        assert_eq!(last.reveal(), "X-A: typed");

        let cli = with_file(text, &[], &[]).unwrap();
        assert_eq!(cli.transport.transport, Strategy::SseOnly);
        assert_eq!(cli.tools.only_tool, ["x"]);
        assert!(cli.output.silent);
    }

    #[test]
    fn the_file_can_be_named_by_its_variable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bridge.toml");
        std::fs::write(&path, "\u{feff}transport = 'sse-only'\r\n").unwrap();
        let cli = read(&[], &[("MCP_BRIDGE_CONFIG", path.to_str().unwrap())]).unwrap();
        assert_eq!(cli.transport.transport, Strategy::SseOnly);
    }

    #[test]
    fn mistakes_in_the_file_are_named_with_the_nearest_key() {
        for (text, words) in [
            (
                "ignore-tol = ['a']",
                "unknown key ignore-tol [usage]\nmcp-bridge: did you mean --ignore-tool?",
            ),
            ("ignore_tool = ['a']", "did you mean --ignore-tool?"),
            ("help = true", "unknown key help"),
            ("config = 'x'", "unknown key config"),
            ("\"\" = 'x'", "unknown key"),
            ("transport = 'canary'", "--transport must be one of"),
            (
                "transport = ['sse-only']",
                "transport must be a string or a number",
            ),
            ("debug = 'canary'", "debug must be true or false"),
            ("header = [['canary']]", "header must be a list of strings"),
            ("[header]\nX = 'canary'", "header must be a string"),
            ("debug = true\nheader = 'canary", "bridge.toml:2: "),
            ("debug = true\ndebug = true", "bridge.toml:2: "),
        ] {
            let text_of = with_file(text, &[], &[]).unwrap_err().to_string();
            assert!(
                text_of.contains(words) && text_of.contains("bridge.toml"),
                "{text}: {text_of}"
            );
            assert!(!text_of.contains("canary"), "{text}: {text_of}");
        }
        let missing = read(&["--config=/no/such/file.toml"], &[]).unwrap_err();
        assert!(
            missing
                .to_string()
                .contains("--config /no/such/file.toml: "),
            "{missing}"
        );
        assert_eq!(missing.exit_code(), 1);
        let large = with_file(&"#".repeat((1 << 20) + 1), &[], &[])
            .unwrap_err()
            .to_string();
        assert!(large.contains("larger than 1 MiB"), "{large}");
    }
}
