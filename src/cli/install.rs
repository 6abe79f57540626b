//! The options of `install` and `uninstall`, and of the bridge that is installed.
//!
//! In: names and help. Out: reading them (`cli/layers.rs`), what is written where.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::typed::Typed;
use super::{Cli, Secret};
use crate::proto::clients::mcp_remote::Known;
use crate::proto::clients::{Client, Scope};

/// What was typed for `install`.
#[derive(Clone, Debug)]
pub struct Install {
    /// Whose configuration; `None`: of every client (`--all`), or none was named.
    pub client: Option<Client>,
    /// `--all`.
    pub all: bool,
    /// `--from-mcp-remote`: rewrite entries that run npm `mcp-remote`.
    pub from_mcp_remote: bool,
    /// What follows the client: `[NAME] URL [CALLBACK_PORT]`, unchecked.
    pub words: Vec<Secret>,
    /// Options of the bridge, for the entry.
    pub typed: Vec<Typed>,
    /// How the entry is written.
    pub writing: Writing,
}

/// What was typed for `uninstall`.
#[derive(Clone, Debug)]
pub struct Uninstall {
    /// Whose configuration; `None`: every client's.
    pub client: Option<Client>,
    /// Name of the entry.
    pub name: String,
    /// How it is taken out.
    pub writing: Writing,
}

/// What `install` and `uninstall` have in common.
#[derive(Clone, Debug)]
pub struct Writing {
    /// `--scope`; `None`: the user's, for `uninstall` both.
    pub scope: Option<Scope>,
    /// `--dry-run`: show the difference, write nothing.
    pub dry_run: bool,
}

impl Install {
    /// The parser.
    pub(super) fn command() -> Command {
        bare("Writes this program into a client's configuration.")
            .arg(client().required(false))
            .arg(
                Arg::new("words")
                    .index(2)
                    .num_args(0..=3)
                    .value_name("[NAME] URL [CALLBACK_PORT]")
                    .help("Name of the entry [default: from the URL], address of the server, port")
                    .value_parser(clap::value_parser!(Secret)),
            )
            .arg(
                Arg::new("from_mcp_remote")
                    .long("from-mcp-remote")
                    .help("Rewrite the entries that run npm mcp-remote, in place")
                    .action(ArgAction::SetTrue),
            )
            .arg(
                Arg::new("all")
                    .long("all")
                    .help("With --from-mcp-remote: in every client's configuration")
                    .action(ArgAction::SetTrue),
            )
            .args(Writing::own_args())
            .args(options_of_the_bridge())
    }

    /// Takes what was typed.
    pub(super) fn new(typed: Vec<Typed>, matches: &ArgMatches) -> Self {
        Self {
            client: matches
                .get_one("client")
                .and_then(|name: &String| Client::named(name)),
            all: matches.get_flag("all"),
            from_mcp_remote: matches.get_flag("from_mcp_remote"),
            words: matches
                .get_many("words")
                .into_iter()
                .flatten()
                .cloned()
                .collect(),
            typed,
            writing: Writing::new(matches),
        }
    }

    /// Every option of the bridge.
    #[must_use]
    pub fn known() -> Vec<Known> {
        let options = options_of_the_bridge();
        options
            .filter_map(|option| {
                Some(Known {
                    name: option.get_long()?.to_owned(),
                    takes_value: !matches!(option.get_action(), ArgAction::SetTrue),
                    is_repeatable: matches!(option.get_action(), ArgAction::Append),
                })
            })
            .collect()
    }

    /// The variable that stands for the option of this long name, without dashes.
    #[must_use]
    pub fn variable(option: &str) -> String {
        super::layers::variable(option)
    }
}

impl Uninstall {
    /// The parser.
    pub(super) fn command() -> Command {
        bare("Takes this program out of clients' configurations, and puts back what it replaced.")
            .arg(
                Arg::new("name")
                    .index(1)
                    .required(true)
                    .value_name("NAME")
                    .help("Name of the entry"),
            )
            .arg(
                client()
                    .index(None)
                    .long("client")
                    .help("Only in this client's configuration"),
            )
            .args(Writing::own_args())
    }

    /// Takes what was typed.
    pub(super) fn new(matches: &ArgMatches) -> Self {
        Self {
            client: matches
                .get_one("client")
                .and_then(|name: &String| Client::named(name)),
            name: matches
                .get_one::<String>("name")
                .cloned()
                .unwrap_or_default(),
            writing: Writing::new(matches),
        }
    }
}

impl Writing {
    fn own_args() -> [Arg; 2] {
        [
            Arg::new("scope")
                .long("scope")
                .value_name("user|project")
                .help("The user's configuration, or that of the project in this folder")
                .value_parser(scopes()),
            Arg::new("dry_run")
                .long("dry-run")
                .help("Show what would change, and change nothing")
                .action(ArgAction::SetTrue),
        ]
    }

    fn new(matches: &ArgMatches) -> Self {
        Self {
            scope: matches.get_one("scope").copied(),
            dry_run: matches.get_flag("dry_run"),
        }
    }
}

/// What was typed for `pack`.
#[derive(Clone, Debug)]
pub struct Pack {
    /// `URL [CALLBACK_PORT]`, unchecked.
    pub words: Vec<Secret>,
    /// Options of the bridge, for the extension.
    pub typed: Vec<Typed>,
    /// `--output`.
    pub output: PathBuf,
    /// `--name`; `None`: from the URL.
    pub name: Option<String>,
}

impl Pack {
    /// The parser.
    pub(super) fn command() -> Command {
        bare("Makes a Claude Desktop extension (MCPB) of this program and a server's address.")
            .arg(
                Arg::new("words")
                    .index(1)
                    .num_args(1..=2)
                    .required(true)
                    .value_name("URL")
                    .help("Address of the server, and a port for the sign-in page to come back to")
                    .value_parser(clap::value_parser!(Secret)),
            )
            .arg(
                Arg::new("output")
                    .short('o')
                    .long("output")
                    .value_name("FILE")
                    .default_value("server.mcpb")
                    .help("The file to write")
                    .value_parser(clap::value_parser!(PathBuf)),
            )
            .arg(
                Arg::new("name")
                    .long("name")
                    .value_name("NAME")
                    .help("Name of the extension [default: from the URL]"),
            )
            .args(options_of_the_bridge())
    }

    /// Takes what was typed.
    pub(super) fn new(typed: Vec<Typed>, matches: &ArgMatches) -> Self {
        Self {
            words: matches
                .get_many("words")
                .into_iter()
                .flatten()
                .cloned()
                .collect(),
            typed,
            output: matches.get_one("output").cloned().unwrap_or_default(),
            name: matches.get_one("name").cloned(),
        }
    }
}

fn bare(about: &'static str) -> Command {
    Command::new("mcp-bridge")
        .version(env!("CARGO_PKG_VERSION"))
        .about(about)
        .max_term_width(100)
}

fn client() -> Arg {
    Arg::new("client")
        .index(1)
        .value_name("CLIENT")
        .help("Whose configuration")
        .value_parser(PossibleValuesParser::new(Client::ALL.map(Client::name)))
}

/// What the bridge is started with can be said where an entry is written.
fn options_of_the_bridge() -> impl Iterator<Item = Arg> {
    use clap::CommandFactory as _;
    let options: Vec<Arg> = Cli::command()
        .get_arguments()
        .filter(|arg| !arg.is_positional())
        .cloned()
        .collect();
    options.into_iter()
}

fn scopes() -> impl TypedValueParser<Value = Scope> {
    PossibleValuesParser::new(["user", "project"]).map(|text| match text.as_str() {
        "project" => Scope::Project,
        _ => Scope::User,
    })
}
