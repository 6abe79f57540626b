//! The command line as it was typed: names, spellings, help texts, number syntax.
//!
//! In: which options there are, each value checked by itself. Out: where options come from besides
//! the command line (`cli/layers.rs`), what any of it means ([`crate::settings`]).

mod completions;
pub(crate) mod config_file;
mod doctor;
mod help;
mod install;
mod layers;
mod mode;
mod sign_in;
mod typed;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Parser, ValueEnum};

pub use completions::{Completions, Shell};
pub use doctor::Doctor;
pub use help::{Example, Page, pages, whole};
pub use install::{Install, Pack, Uninstall, Writing};
pub use layers::Parsed;
pub use mode::{Logout, Status};
pub use sign_in::{SignInArgs, StoreArgs, StoreKind};
pub use typed::Typed;

use mode::Mode;

use crate::proto::bridge::Protocol;
pub use crate::proto::secret::Secret;
use crate::proto::transport::Strategy;

/// Longest time any option accepts, in seconds: one year.
const LONGEST_SECONDS: f64 = 31_536_000.0;

/// Largest `--max-message-size`, in MiB: the most that fits into 32 bits.
const LARGEST_MESSAGE_MIB: u64 = 2047;

/// Everything that was typed, each value checked by itself.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "mcp-bridge",
    version,
    about = "Connects an MCP client that speaks stdio to a remote MCP server.",
    max_term_width = 100
)]
pub struct Cli {
    /// Address of the remote MCP server
    #[arg(index = 1, value_parser = url)]
    pub url: Secret,

    /// Port for the sign-in page to come back to
    #[arg(index = 2, value_parser = port)]
    pub callback_port: Option<u16>,

    /// Where options come from besides.
    #[command(flatten)]
    pub config: ConfigArgs,

    /// The user's own request headers.
    #[command(flatten, next_help_heading = "Headers")]
    pub headers: HeaderArgs,

    /// How to sign in.
    #[command(flatten, next_help_heading = "Sign-in")]
    pub sign_in: SignInArgs,

    /// Which tools the client gets to see.
    #[command(flatten, next_help_heading = "Tools")]
    pub tools: ToolArgs,

    /// How messages travel.
    #[command(flatten, next_help_heading = "Transport")]
    pub transport: TransportArgs,

    /// How connections are made.
    #[command(flatten, next_help_heading = "Network")]
    pub network: NetworkArgs,

    /// Whom to trust.
    #[command(flatten, next_help_heading = "Certificates")]
    pub trust: TrustArgs,

    /// What is said on stderr and into a file.
    #[command(flatten, next_help_heading = "Output")]
    pub output: OutputArgs,

    /// Which options stood on the command line itself, by their long names without dashes.
    #[arg(skip)]
    pub typed: Vec<String>,
}

/// The file that options are read from.
#[derive(Args, Clone, Debug)]
pub struct ConfigArgs {
    /// Read options from a TOML file
    ///
    /// The names are those of the long options, such as `transport = "sse-only"`, `debug = true`,
    /// `ignore-tool = ["delete*"]`. The command line wins over the environment, the environment
    /// over the file. Repeatable options add up, except that --only-tool on the command line
    /// replaces the list of the file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `--header` and `--header-file`, which share one order.
#[derive(Clone, Debug, Default)]
pub struct HeaderArgs {
    /// Where headers come from, in the order of the command line.
    pub sources: Vec<HeaderSource>,
    /// `--header-command`: `Name: command …` each.
    pub commands: Vec<Secret>,
}

/// One place where headers come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderSource {
    /// `--header`: `Name: value`, unexpanded.
    Inline(Secret),
    /// `--header-file`.
    File(PathBuf),
}

impl Args for HeaderArgs {
    fn augment_args(command: Command) -> Command {
        command
            .arg(
                Arg::new("header")
                    .long("header")
                    .value_name("NAME: VALUE")
                    .help("Send this header with every request; ${VAR} is replaced (repeatable)")
                    .value_parser(clap::value_parser!(Secret))
                    .allow_hyphen_values(true)
                    .action(ArgAction::Append),
            )
            .arg(
                Arg::new("header_file")
                    .long("header-file")
                    .value_name("FILE")
                    .help("Read headers from a file, one per line, # for comments (repeatable)")
                    .value_parser(clap::value_parser!(PathBuf))
                    .action(ArgAction::Append),
            )
            .arg(
                Arg::new("header_command")
                    .long("header-command")
                    .value_name("NAME: COMMAND")
                    .help("Take a header's value from a shell command's first line (repeatable)")
                    .value_parser(clap::value_parser!(Secret))
                    .allow_hyphen_values(true)
                    .action(ArgAction::Append),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for HeaderArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let inline = placed::<Secret>(matches, "header")
            .map(|(place, header)| (place, HeaderSource::Inline(header)));
        let files = placed::<PathBuf>(matches, "header_file")
            .map(|(place, path)| (place, HeaderSource::File(path)));
        let mut sources: Vec<_> = inline.chain(files).collect();
        sources.sort_by_key(|(place, _)| *place);
        Ok(Self {
            sources: sources.into_iter().map(|(_, source)| source).collect(),
            commands: placed(matches, "header_command")
                .map(|(_, command)| command)
                .collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The values of a repeatable option with their places on the command line.
fn placed<'a, T: Clone + Send + Sync + 'static>(
    matches: &'a ArgMatches,
    id: &str,
) -> impl Iterator<Item = (usize, T)> + use<'a, T> {
    let places = matches.indices_of(id).into_iter().flatten();
    places.zip(matches.get_many::<T>(id).into_iter().flatten().cloned())
}

/// Which tools the client gets to see.
#[derive(Args, Clone, Debug)]
pub struct ToolArgs {
    /// Hide tools whose name matches; * is any run of characters (repeatable)
    #[arg(long, value_name = "PATTERN")]
    pub ignore_tool: Vec<String>,

    /// Show only tools whose name matches; --ignore-tool wins (repeatable)
    #[arg(long, value_name = "PATTERN")]
    pub only_tool: Vec<String>,

    /// Show only tools that the server marks as read-only
    #[arg(long)]
    pub read_only: bool,
}

/// How messages travel.
#[derive(Args, Clone, Debug)]
pub struct TransportArgs {
    /// Streamable HTTP or the older HTTP+SSE: which to try first, or alone
    #[arg(long, default_value = "http-first", value_parser = strategies(), value_name = "STRATEGY")]
    pub transport: Strategy,

    /// Ping the server at every --ping-interval
    #[arg(long)]
    pub keep_alive: bool,

    /// Seconds between pings; turns --keep-alive on [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub ping_interval: Option<Duration>,

    /// Longest wait for the head of an answer; 0 is no limit
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds_or_zero)]
    #[arg(allow_negative_numbers = true, help_heading = "Time limits")]
    pub headers_timeout: Duration,

    /// Longest silence inside an answer; 0 is no limit
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds_or_zero)]
    #[arg(allow_negative_numbers = true, help_heading = "Time limits")]
    pub body_timeout: Duration,

    /// Largest message in either direction, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = mib)]
    pub max_message_size: u64,

    /// How long open requests may still be answered after stdin was closed
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds_or_zero)]
    #[arg(allow_negative_numbers = true, help_heading = "Time limits")]
    pub eof_grace: Duration,

    /// Longest wait for the answer to a request; progress begins it anew; 0 is no limit
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds_or_zero)]
    #[arg(allow_negative_numbers = true, help_heading = "Time limits")]
    pub call_timeout: Duration,

    /// Tell the client this often that a call with a progress token is under way, while the server
    /// is silent; 0 is never
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = pause_or_zero)]
    #[arg(allow_negative_numbers = true, help_heading = "Time limits")]
    pub heartbeat: Duration,

    /// Do not keep cookies of the server
    #[arg(long)]
    pub disable_cookies: bool,

    /// Protocol revisions towards the server: what it speaks, only those up to 2025-11-25, or
    /// only those from 2026-07-28 on
    #[arg(long, value_name = "auto|legacy|modern", default_value = "auto")]
    #[arg(value_parser = protocols(), help_heading = "Protocol")]
    pub protocol: Protocol,

    /// Stay with the older revision at a server without sessions that speaks 2026-07-28 as well,
    /// though it can ask questions and tell of changes in the newer one only
    #[arg(long, help_heading = "Protocol")]
    pub no_upgrade: bool,

    /// What a client that asks with server/discover is told of an older server: its capabilities,
    /// or that it had better use initialize
    #[arg(
        long,
        value_name = "translate|legacy-first",
        default_value = "translate"
    )]
    #[arg(value_parser = ["translate", "legacy-first"], help_heading = "Protocol")]
    pub discover: String,
}

/// How connections are made.
#[derive(Args, Clone, Debug)]
pub struct NetworkArgs {
    /// Allow http:// to other machines, unencrypted
    #[arg(long)]
    pub allow_http: bool,

    /// Longest time to make a connection
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    #[arg(allow_negative_numbers = true)]
    pub connect_timeout: Duration,

    /// Connect over IPv4 alone
    #[arg(long)]
    pub ipv4: bool,

    /// Use this proxy, or none, instead of the environment's
    ///
    /// An http://, https://, socks5:// or socks5h:// address, with USER:PASSWORD@ if needed.
    #[arg(long, value_name = "URL|none")]
    pub proxy: Option<Secret>,

    /// Accepted for compatibility: proxy variables are always honoured
    #[arg(long)]
    pub enable_proxy: bool,
}

/// Whom to trust.
#[derive(Args, Clone, Debug)]
pub struct TrustArgs {
    /// Trust the certificates in this PEM file as well (repeatable)
    #[arg(long, value_name = "FILE")]
    pub ca_cert: Vec<PathBuf>,

    /// Identify with this certificate (PEM)
    #[arg(long, value_name = "FILE")]
    pub client_cert: Option<PathBuf>,

    /// Private key of --client-cert (PEM), when it is in a file of its own
    #[arg(long, value_name = "FILE")]
    pub client_key: Option<PathBuf>,

    /// Do not check the server's certificate: anybody can read along
    #[arg(long)]
    pub insecure: bool,
}

/// What is said on stderr and into a file.
#[derive(Args, Clone, Debug)]
pub struct OutputArgs {
    /// Say more on stderr; DEBUG=* does the same
    #[arg(long)]
    pub debug: bool,

    /// Say nothing on stderr but errors
    #[arg(long)]
    pub silent: bool,

    /// Append everything, debug lines included, to this file
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,

    /// Form of the lines on stderr and in the log file
    #[arg(long, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// Form of log lines, spelled as in `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Whether an option was typed, as opposed to its default.
fn is_given(matches: &ArgMatches, id: &str) -> bool {
    matches.value_source(id) == Some(ValueSource::CommandLine)
}

fn strategies() -> impl TypedValueParser<Value = Strategy> {
    let all = [
        Strategy::HttpFirst,
        Strategy::SseFirst,
        Strategy::HttpOnly,
        Strategy::SseOnly,
    ];
    PossibleValuesParser::new(all.map(Strategy::as_str)).map(move |text| {
        all.into_iter()
            .find(|strategy| strategy.as_str() == text)
            .unwrap_or_default()
    })
}

fn protocols() -> impl TypedValueParser<Value = Protocol> {
    let all = [Protocol::Auto, Protocol::Legacy, Protocol::Modern];
    PossibleValuesParser::new(all.map(Protocol::as_str)).map(move |text| {
        all.into_iter()
            .find(|protocol| protocol.as_str() == text)
            .unwrap_or_default()
    })
}

/// Anything but the name of a command that is not in its place.
fn url(text: &str) -> Result<Secret, String> {
    match Mode::named(text) {
        Some(mode) => Err(format!("is a command; put it first: {}", mode.usage())),
        None => Ok(Secret::from(text)),
    }
}

fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("must be a number from 1 to 65535".into()),
        Ok(port) => Ok(port),
    }
}

fn mib(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(mib @ 1..=LARGEST_MESSAGE_MIB) => Ok(mib),
        _ => Err(format!(
            "must be a whole number from 1 to {LARGEST_MESSAGE_MIB}"
        )),
    }
}

/// A pause that floods nobody, or none.
fn pause_or_zero(text: &str) -> Result<Duration, String> {
    match seconds_or_zero(text)? {
        pause if pause.is_zero() || pause >= Duration::from_secs(1) => Ok(pause),
        _ => Err("must be 0 or at least 1".into()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match seconds_or_zero(text) {
        Ok(duration) if duration.is_zero() => Err("must be greater than 0".into()),
        other => other,
    }
}

/// Reads a decimal number as JavaScript's `Number()` does (`5`, `1.5`, `.5`, `1e1`), rounded to
/// milliseconds; above zero it never becomes zero.
fn seconds_or_zero(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let is_decimal = text
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let number = text.parse::<f64>().ok().filter(|_| is_decimal);
    let number = number.ok_or("must be a number of seconds, such as 30 or 1.5")?;
    if number > LONGEST_SECONDS {
        return Err(format!("must be at most {LONGEST_SECONDS} seconds"));
    }
    let rounded = (number * 1000.0).round() / 1000.0;
    let duration = Duration::try_from_secs_f64(rounded).map_err(|_| "must not be negative")?;
    Ok(if number > 0.0 {
        duration.max(Duration::from_millis(1))
    } else {
        duration
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_javascript() {
        for (text, millis) in [
            ("5", 5000),
            ("1.5", 1500),
            (".5", 500),
            ("5.", 5000),
            ("1e1", 10_000),
            ("+2", 2000),
            (" 3 ", 3000),
            ("0.0004", 1),
            ("0.0016", 2),
            ("0", 0),
            ("-0", 0),
            ("2E-1", 200),
        ] {
            assert_eq!(
                seconds_or_zero(text),
                Ok(Duration::from_millis(millis)),
                "{text:?}"
            );
        }
        for text in [
            "", "1s", "1,5", "0x10x", "one", "infinity", "nan", "1_000", "--1",
        ] {
            assert!(seconds_or_zero(text).is_err(), "{text:?}");
        }
    }
}
