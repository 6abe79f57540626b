//! What the program is asked to do: bridge, or one of the commands that a first argument names.
//!
//! In: the commands' names, own options and help. Out: reading them (`cli/layers.rs`).

use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory as _, Parser};

use super::completions::Completions;
use super::doctor::Doctor;
use super::install::{Install, Pack, Uninstall};
use super::{Cli, ConfigArgs, OutputArgs, StoreArgs};

/// Options of the bridge that do nothing for a command about signing in. They are accepted, so
/// that a bridge's own command line can be used, and not shown.
const OF_THE_BRIDGE_ALONE: [&str; 17] = [
    "body_timeout",
    "call_timeout",
    "disable_cookies",
    "discover",
    "enable_proxy",
    "eof_grace",
    "heartbeat",
    "ignore_tool",
    "initialize_wait",
    "keep_alive",
    "max_message_size",
    "no_upgrade",
    "only_tool",
    "ping_interval",
    "protocol",
    "read_only",
    "transport",
];

const WITHOUT_COMMANDS: &str =
    "{about-with-newline}\n{usage-heading} {usage}\n\n{all-args}{after-help}";

const ABOUT_THE_OPTIONS: &str = "Every option of the bridge is accepted: with the options of the \
bridge's own command line, it is the same sign-in. Variables and --config count as well.";

/// What the program is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Bridge, for want of a command.
    Bridge,
    /// `login`.
    Login,
    /// `logout`.
    Logout,
    /// `status`.
    Status,
    /// `doctor`.
    Doctor,
    /// `install`.
    Install,
    /// `uninstall`.
    Uninstall,
    /// `pack`.
    Pack,
    /// `completions`.
    Completions,
}

impl Mode {
    /// Every command.
    pub(super) const COMMANDS: [Self; 8] = [
        Self::Login,
        Self::Logout,
        Self::Status,
        Self::Doctor,
        Self::Install,
        Self::Uninstall,
        Self::Pack,
        Self::Completions,
    ];

    /// The command of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let named = |mode: &Self| mode.name().strip_prefix("mcp-bridge ") == Some(name);
        Self::COMMANDS.into_iter().find(named)
    }

    /// Program and command as they are typed.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bridge => "mcp-bridge",
            Self::Login => "mcp-bridge login",
            Self::Logout => "mcp-bridge logout",
            Self::Status => "mcp-bridge status",
            Self::Doctor => "mcp-bridge doctor",
            Self::Install => "mcp-bridge install",
            Self::Uninstall => "mcp-bridge uninstall",
            Self::Pack => "mcp-bridge pack",
            Self::Completions => "mcp-bridge completions",
        }
    }

    /// How it is typed.
    pub(super) fn usage(self) -> &'static str {
        match self {
            Self::Bridge => "mcp-bridge [OPTIONS] <URL> [CALLBACK_PORT]",
            Self::Login => "mcp-bridge login [OPTIONS] <URL> [CALLBACK_PORT]",
            Self::Logout => "mcp-bridge logout [OPTIONS] <URL>, or mcp-bridge logout --all",
            Self::Status => "mcp-bridge status [OPTIONS]",
            Self::Doctor => "mcp-bridge doctor [OPTIONS] <URL> [CALLBACK_PORT]",
            Self::Install => {
                "mcp-bridge install [OPTIONS] <CLIENT> [NAME] <URL> [CALLBACK_PORT], \
                 or mcp-bridge install --from-mcp-remote [CLIENT|--all]"
            }
            Self::Uninstall => "mcp-bridge uninstall [OPTIONS] <NAME>",
            Self::Pack => "mcp-bridge pack [OPTIONS] <URL> [CALLBACK_PORT]",
            Self::Completions => "mcp-bridge completions <SHELL>",
        }
    }

    /// Whether the bridge's variables and settings file count: not where a command line is kept
    /// for later.
    pub(super) fn takes_environment(self) -> bool {
        match self {
            Self::Bridge | Self::Login | Self::Logout | Self::Status | Self::Doctor => true,
            Self::Install | Self::Uninstall | Self::Pack | Self::Completions => false,
        }
    }

    /// The parser, with switches that may be repeated.
    pub(super) fn command(self) -> Command {
        let command = match self {
            Self::Bridge => Cli::command(),
            Self::Login => about_signing_in("Signs in at a remote MCP server now.")
                .after_help(ABOUT_THE_OPTIONS),
            Self::Logout => about_signing_in(
                "Signs out of a remote MCP server: revokes its tokens where it offers that, and \
                 forgets them.",
            )
            .after_help(ABOUT_THE_OPTIONS)
            .args(Logout::own_args())
            .mut_arg("url", |url| {
                url.required(false)
                    .required_unless_present("all")
                    .default_value_if("all", "true", "")
            }),
            Self::Status => Status::command(),
            Self::Doctor => Cli::command()
                .about("Finds out why a remote MCP server does not work, and what to do about it.")
                .help_template(WITHOUT_COMMANDS)
                .after_help(ABOUT_THE_OPTIONS)
                .args(Doctor::own_args()),
            Self::Install => Install::command(),
            Self::Uninstall => Uninstall::command(),
            Self::Pack => Pack::command(),
            Self::Completions => Completions::command(),
        };
        let command = match self {
            Self::Bridge => command,
            _ => command.bin_name(self.name()).override_usage(self.usage()),
        };
        command.mut_args(|arg| {
            if matches!(arg.get_action(), ArgAction::SetTrue) {
                let id = arg.get_id().clone();
                arg.overrides_with(id)
            } else {
                arg
            }
        })
    }
}

/// What was typed for `logout`.
#[derive(Clone, Debug)]
pub struct Logout {
    /// The options; the URL is empty for `--all`.
    pub cli: Cli,
    /// `--all`: every server in the store.
    pub all: bool,
    /// `--forget-client`: the registration as well.
    pub forget_client: bool,
}

/// What was typed for `status`.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "mcp-bridge",
    version,
    about = "Shows every sign-in in the store.",
    max_term_width = 100
)]
pub struct Status {
    /// Print JSON, for scripts
    #[arg(long)]
    pub json: bool,

    /// Where options come from besides.
    #[command(flatten)]
    pub config: ConfigArgs,

    /// Where sign-ins are kept.
    #[command(flatten)]
    pub store: StoreArgs,

    /// What is said on stderr and into a file.
    #[command(flatten, next_help_heading = "Output")]
    pub output: OutputArgs,
}

impl Logout {
    fn own_args() -> [Arg; 2] {
        [
            Arg::new("all")
                .long("all")
                .help_heading(None)
                .help("Sign out of every server in the store")
                .action(ArgAction::SetTrue),
            Arg::new("forget_client")
                .long("forget-client")
                .help_heading(None)
                .help("Forget the registration as well, not only the tokens")
                .action(ArgAction::SetTrue),
        ]
    }

    /// Takes what was typed.
    pub(super) fn new(cli: Cli, matches: &ArgMatches) -> Self {
        Self {
            cli,
            all: matches.get_flag("all"),
            forget_client: matches.get_flag("forget_client"),
        }
    }
}

/// The bridge's own parser, with a help text that shows what matters here.
fn about_signing_in(about: &'static str) -> Command {
    Cli::command()
        .about(about)
        .help_template(WITHOUT_COMMANDS)
        .mut_args(|arg| {
            let is_idle = OF_THE_BRIDGE_ALONE.contains(&arg.get_id().as_str());
            arg.hide(is_idle)
        })
}
