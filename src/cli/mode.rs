//! What the program is asked to do: bridge, or one of the commands that a first argument names.
//!
//! In: the commands' names, own options and help. Out: reading them (`cli/layers.rs`).

use clap::error::{ContextKind, ContextValue};
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
    /// Every command, in the order of the help text.
    pub(super) const COMMANDS: [Self; 8] = [
        Self::Install,
        Self::Uninstall,
        Self::Doctor,
        Self::Login,
        Self::Logout,
        Self::Status,
        Self::Pack,
        Self::Completions,
    ];

    /// The command of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let named = |mode: &Self| mode.command_name() == Some(name);
        Self::COMMANDS.into_iter().find(named)
    }

    /// The command that a word is a slip of; none for what may be an address or an option.
    pub(super) fn near(word: &str) -> Option<Self> {
        if !word.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return None;
        }
        let names = Self::COMMANDS.into_iter().filter_map(Self::command_name);
        let error = Command::new("mcp-bridge")
            .disable_help_subcommand(true)
            .subcommands(names.map(Command::new))
            .try_get_matches_from(["mcp-bridge", word])
            .err()?;
        match error.get(ContextKind::SuggestedSubcommand)? {
            ContextValue::Strings(near) => Self::named(near.last()?),
            _ => None,
        }
    }

    /// The word behind the program's name; `None`: the bridge, which has none.
    pub(super) fn command_name(self) -> Option<&'static str> {
        self.name().strip_prefix("mcp-bridge ")
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

    /// Command lines that show what it is for. The first can take options behind it.
    pub(super) fn examples(self) -> &'static [&'static str] {
        match self {
            Self::Bridge => &["mcp-bridge https://example.com/mcp"],
            Self::Login => &["mcp-bridge login https://example.com/mcp"],
            Self::Logout => &[
                "mcp-bridge logout https://example.com/mcp",
                "mcp-bridge logout --all",
            ],
            Self::Status => &["mcp-bridge status", "mcp-bridge status --json"],
            Self::Doctor => &[
                "mcp-bridge doctor https://example.com/mcp",
                "mcp-bridge doctor https://example.com/mcp --report report.md",
            ],
            Self::Install => &[
                "mcp-bridge install cursor https://example.com/mcp",
                "mcp-bridge install claude-desktop tickets https://example.com/mcp",
                "mcp-bridge install --from-mcp-remote --all",
            ],
            Self::Uninstall => &[
                "mcp-bridge uninstall tickets",
                "mcp-bridge uninstall tickets --client cursor --dry-run",
            ],
            Self::Pack => &[
                "mcp-bridge pack https://example.com/mcp",
                "mcp-bridge pack https://example.com/mcp --name Tickets --output tickets.mcpb",
            ],
            Self::Completions => &["mcp-bridge completions bash > mcp-bridge.bash"],
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
            Self::Login => about_signing_in("Signs in at a remote MCP server now."),
            Self::Logout => about_signing_in(
                "Signs out of a remote MCP server: revokes its tokens where it can, and forgets them.",
            )
            .args(Logout::own_args())
            .mut_arg("url", |url| {
                url.required(false)
                    .required_unless_present("all")
                    .default_value_if("all", "true", "")
            }),
            Self::Status => Status::command(),
            Self::Doctor => Cli::command()
                .about("Finds out why a remote MCP server does not work, and what to do about it.")
                .args(Doctor::own_args()),
            Self::Install => Install::command(),
            Self::Uninstall => Uninstall::command(),
            Self::Pack => Pack::command(),
            Self::Completions => Completions::command(),
        };
        // One form under the other, behind "Usage: ".
        let forms = self.usage().replace(", or ", "\n       ");
        let command = command.bin_name(self.name()).override_usage(forms);
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
    Cli::command().about(about).mut_args(|arg| {
        let is_idle = OF_THE_BRIDGE_ALONE.contains(&arg.get_id().as_str());
        arg.hide(is_idle)
    })
}
