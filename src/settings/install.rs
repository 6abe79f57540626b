//! What the commands that write a command line down need to know: `install`, `uninstall`.
//!
//! In: checking the words and options of that command line, where configurations are, what is set
//! here and not where the client runs. Out: what the options mean when it is used (the other files
//! here), where it is written (`crate::commands`).

use std::ffi::OsString;
use std::path::PathBuf;

use url::Url;

use super::store::{home, store};
use super::{Notice, command_line, remote_url};
use crate::cli::{Install, Secret, StoreArgs, StoreKind, Typed, Uninstall, Writing};
use crate::edge::program;
use crate::error::Failure;
use crate::proto::Level;
use crate::proto::clients::hints;
use crate::proto::clients::mcp_remote::Known;
use crate::proto::clients::name::name_for;
use crate::proto::clients::places::{Folders, System};
use crate::proto::clients::secrets::{self, Literal};
use crate::proto::clients::{Client, Scope};

/// How it is typed, for whoever typed something else.
const USAGE: &str = "usage: mcp-bridge install CLIENT [NAME] URL [CALLBACK_PORT] [OPTIONS]";

/// Variables about the network that options say as well. Both spellings of the first three count.
const NETWORK: [(&str, &str); 6] = [
    ("HTTPS_PROXY", "--proxy URL"),
    ("HTTP_PROXY", "--proxy URL"),
    ("ALL_PROXY", "--proxy URL"),
    ("NODE_EXTRA_CA_CERTS", "--ca-cert FILE"),
    ("SSL_CERT_FILE", "--ca-cert FILE"),
    ("NODE_TLS_REJECT_UNAUTHORIZED", "--insecure"),
];

/// Variables that no option says.
const WITHOUT_OPTION: [&str; 3] = [
    "MCP_BRIDGE_CONFIG_DIR",
    "MCP_REMOTE_CONFIG_DIR",
    "SSL_CERT_DIR",
];

/// What `install` needs to know.
#[derive(Clone, Debug)]
pub struct InstallSettings {
    /// What is written.
    pub order: Order,
    /// The program that entries start, by its absolute path.
    pub program: String,
    /// Where it is written.
    pub places: PlaceSettings,
    /// What to tell the person besides.
    pub notices: Vec<Notice>,
}

/// What is written.
#[derive(Clone, Debug)]
pub enum Order {
    /// One entry.
    Add(Box<NewEntry>),
    /// This program in place of npm `mcp-remote`.
    Switch(Switch),
}

/// An entry for this program.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// Whose configuration.
    pub client: Client,
    /// Name of the entry.
    pub name: String,
    /// Whether the name was typed, as opposed to made up from the address.
    pub is_named: bool,
    /// Arguments of the program, the address first. They hold no secret.
    pub args: Vec<String>,
    /// The address, without query.
    pub url: Url,
}

/// Which entries that run npm `mcp-remote` are rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// Those of these clients.
    pub clients: Vec<Client>,
    /// Whether they are only shown, since nobody said which.
    pub only_shown: bool,
}

/// What `uninstall` needs to know.
#[derive(Clone, Debug)]
pub struct UninstallSettings {
    /// Name of the entry.
    pub name: String,
    /// The clients in whose configurations it is looked for.
    pub clients: Vec<Client>,
    /// Where they are.
    pub places: PlaceSettings,
}

/// Where configurations are, and how they are written.
#[derive(Clone, Debug)]
pub struct PlaceSettings {
    /// Scopes that are looked at.
    pub scopes: Vec<Scope>,
    /// The system this is.
    pub system: System,
    /// Folders that places depend on.
    pub folders: Folders,
    /// The folder that our own state is in; `None`: there is none.
    pub base: Option<PathBuf>,
    /// Show the difference, write nothing.
    pub dry_run: bool,
}

impl InstallSettings {
    /// Gives the options of `install` their meaning. `env` looks up a variable.
    ///
    /// # Errors
    /// A [`Failure`] that names the option and says what would be right. It quotes no value.
    pub fn resolve(
        install: &Install,
        env: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Failure> {
        let mut notices = Vec::new();
        let (order, scopes) = if install.from_mcp_remote {
            let both = &[Scope::User, Scope::Project][..];
            (Order::Switch(switch(install)?), both)
        } else {
            let entry = entry(install, env, &mut notices)?;
            notices.extend(unseen(install, entry.client, env));
            (Order::Add(Box::new(entry)), &[Scope::User][..])
        };
        Ok(Self {
            order,
            program: program(env, &mut notices)?,
            places: PlaceSettings::new(&install.writing, scopes, env)?,
            notices,
        })
    }
}

impl UninstallSettings {
    /// Gives the options of `uninstall` their meaning. `env` looks up a variable.
    ///
    /// # Errors
    /// A [`Failure`] that names the option and says what would be right.
    pub fn resolve(
        uninstall: &Uninstall,
        env: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Failure> {
        let both = [Scope::User, Scope::Project];
        Ok(Self {
            name: uninstall.name.clone(),
            clients: of(uninstall.client),
            places: PlaceSettings::new(&uninstall.writing, &both, env)?,
        })
    }
}

impl PlaceSettings {
    fn new(
        writing: &Writing,
        scopes: &[Scope],
        env: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Failure> {
        let named = |name: &str| {
            env(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let absolute = |name: &str| named(name).filter(|path| path.is_absolute());
        // What is said of sign-ins does not matter here.
        let home = home(env, &mut Vec::new()).ok_or_else(|| {
            Failure::runtime("there is no home directory, so nobody knows where configurations are")
        })?;
        let project = std::env::current_dir().map_err(|error| {
            Failure::runtime(format!("the present folder is not known: {error}"))
        })?;
        let files = StoreArgs {
            store: StoreKind::Files,
        };
        Ok(Self {
            scopes: writing
                .scope
                .map_or_else(|| scopes.to_vec(), |one| vec![one]),
            system: if cfg!(target_os = "macos") {
                System::MacOs
            } else if cfg!(windows) {
                System::Windows
            } else {
                System::Unix
            },
            folders: Folders {
                home,
                project,
                xdg_config_home: absolute("XDG_CONFIG_HOME"),
                app_data: named("APPDATA"),
                local_app_data: named("LOCALAPPDATA"),
                claude_config_dir: named("CLAUDE_CONFIG_DIR"),
                codex_home: named("CODEX_HOME"),
                gemini_cli_home: named("GEMINI_CLI_HOME"),
            },
            base: store(&files, env, &mut Vec::new())?.base,
            dry_run: writing.dry_run,
        })
    }
}

/// This client, or all.
fn of(client: Option<Client>) -> Vec<Client> {
    client.map_or_else(|| Client::ALL.to_vec(), |client| vec![client])
}

fn switch(install: &Install) -> Result<Switch, Failure> {
    if !install.words.is_empty() || !install.typed.is_empty() {
        let failure = Failure::usage(
            "--from-mcp-remote takes over the addresses and options that the entries have, and no \
             others",
        );
        return Err(failure.hint("usage: mcp-bridge install --from-mcp-remote [CLIENT|--all]"));
    }
    if install.all && install.client.is_some() {
        let failure = Failure::usage("--all and the name of a client exclude each other");
        return Err(failure.hint("give one of them"));
    }
    Ok(Switch {
        clients: of(install.client),
        only_shown: install.client.is_none() && !install.all,
    })
}

fn entry(
    install: &Install,
    env: &impl Fn(&str) -> Option<OsString>,
    notices: &mut Vec<Notice>,
) -> Result<NewEntry, Failure> {
    if install.all {
        let failure = Failure::usage("--all belongs to --from-mcp-remote");
        return Err(failure.hint("name one client"));
    }
    let Some(client) = install.client else {
        return Err(Failure::usage("the name of the client is missing").hint(USAGE));
    };
    let (name, words) = words(&install.words, client)?;
    let address = words.first().map_or("", |word| word.reveal());
    refuse_secrets(address, &install.typed, client)?;
    refuse_passing_files(&install.typed)?;
    let args = command_line::arguments(&words, &install.typed)?;
    let allow_http = install
        .typed
        .iter()
        .any(|option| option.name == "allow-http");
    let mut url = remote_url(address, allow_http)?;
    notices.extend(command_line::check_command_line(&args, env)?);
    if url.path().len() >= LONG_PATH {
        let text = "the address is long: if its path is a secret, whoever can read the \
                    configuration can use the server";
        notices.push(Notice::new(Level::Warn, text));
    }
    url.set_query(None);
    let is_named = name.is_some();
    let name = name.map_or_else(|| name_for(&url), str::to_owned);
    client
        .check_name(&name)
        .map_err(|problem| Failure::usage(problem).hint(USAGE))?;
    Ok(NewEntry {
        client,
        name,
        is_named,
        args,
        url,
    })
}

/// Paths of this length, in bytes, may well be secrets: some services give each user one.
const LONG_PATH: usize = 48;

/// Name, if there is one, then address and port, if there is one.
fn words(words: &[Secret], client: Client) -> Result<(Option<&str>, Vec<&Secret>), Failure> {
    let is_url = |word: &Secret| word.reveal().contains("://");
    let is_number = |word: &Secret| word.reveal().bytes().all(|byte| byte.is_ascii_digit());
    match words {
        [] => Err(Failure::usage("the URL of the server is missing").hint(USAGE)),
        [url] => Ok((None, vec![url])),
        [url, port] if is_url(url) && is_number(port) => Ok((None, vec![url, port])),
        [one, other, ..] if is_url(one) && is_url(other) => {
            let next = "install one server after the other";
            Err(Failure::usage("there are two URLs").hint(next))
        }
        [url, ..] if is_url(url) => {
            let next = format!("write: mcp-bridge install {} NAME URL", client.name());
            Err(Failure::usage("the name of the entry stands before the URL").hint(next))
        }
        [name, url] => Ok((Some(name.reveal()), vec![url])),
        [name, url, port] => Ok((Some(name.reveal()), vec![url, port])),
        _ => Err(Failure::usage("there are too many words").hint(USAGE)),
    }
}

/// Configuration files are copied, shared and shown.
fn refuse_secrets(address: &str, typed: &[Typed], client: Client) -> Result<(), Failure> {
    let options = typed.iter();
    let options =
        options.filter_map(|option| Some((&*option.name, option.value.as_ref()?.reveal())));
    match secrets::find(address, options) {
        None => Ok(()),
        Some(Literal { what, way_out }) => {
            let what = format!("{what}, and secrets are not written into configuration files");
            let next = if client.fills_in_variables() && way_out.contains("${") {
                let title = client.title();
                format!(
                    "{way_out} (with {title}, take a file: {})",
                    hints::FILLED_IN
                )
            } else {
                way_out
            };
            Err(Failure::usage(what).hint(next))
        }
    }
}

/// What a shell writes for `<(command)` is there for this process alone.
fn refuse_passing_files(typed: &[Typed]) -> Result<(), Failure> {
    let passes = |option: &&Typed| {
        let value = option.value.as_ref().map_or("", |value| value.reveal());
        let path = value.strip_prefix('@').unwrap_or(value);
        ["/dev/fd/", "/proc/"]
            .iter()
            .any(|start| path.starts_with(start))
    };
    match typed.iter().find(passes) {
        None => Ok(()),
        Some(option) => {
            let name = &option.name;
            let what = format!("the file of --{name} is gone when the client starts the program");
            let next = "write it into a file that stays, and that only you can read";
            Err(Failure::usage(what).hint(next))
        }
    }
}

/// The program that entries start.
fn program(
    env: &impl Fn(&str) -> Option<OsString>,
    notices: &mut Vec<Notice>,
) -> Result<String, Failure> {
    let path = program::path(env("PATH").as_deref()).map_err(|error| {
        Failure::runtime(format!("where this program lies cannot be told: {error}"))
    })?;
    if let Some(why) = program::fleeting(&path) {
        let text = format!(
            "this program {why}; when it is gone, the entry does not work any more: put \
             mcp-bridge where it can stay, and install again from there"
        );
        notices.push(Notice::new(Level::Warn, text));
    }
    path.into_os_string().into_string().map_err(|_| {
        let failure = Failure::runtime("the path of this program is not valid UTF-8");
        failure.hint("put mcp-bridge into a folder with a plain name")
    })
}

/// What counts here by way of the environment, and perhaps not where the client runs.
fn unseen(
    install: &Install,
    client: Client,
    env: &impl Fn(&str) -> Option<OsString>,
) -> Vec<Notice> {
    let client = client.title();
    let is_set = |name: &str| {
        let value = env(name).unwrap_or_default();
        // Any other value of this one means what its absence means.
        !value.is_empty() && (name != "NODE_TLS_REJECT_UNAUTHORIZED" || value == "0")
    };
    let is_typed = |option: &str| install.typed.iter().any(|typed| typed.name == option);
    let option_of = |known: &Known| {
        let variable = Install::variable(&known.name);
        let is_missing = !known.is_repeatable && is_set(&variable) && !is_typed(&known.name);
        let value = if known.takes_value { " …" } else { "" };
        is_missing.then(|| (variable, format!("--{}{value}", known.name)))
    };
    let of_network = |(variable, option): &(&str, &str)| {
        let name = option.trim_start_matches('-').split(' ').next();
        let found = [(*variable).to_owned(), variable.to_lowercase()];
        let found = found.into_iter().find(|variable| is_set(variable))?;
        let is_missing = !name.is_some_and(is_typed);
        is_missing.then(|| (found, (*option).to_owned()))
    };
    let known = Install::known();
    let missing = known.iter().filter_map(option_of);
    let mut missing: Vec<_> = missing
        .chain(NETWORK.iter().filter_map(of_network))
        .collect();
    missing.dedup_by(|(_, one), (_, other)| one == other);
    let said = missing.into_iter().map(|(variable, option)| {
        format!(
            "{variable} is set here, and perhaps not where {client} starts the program; {option} \
             in the entry does the same"
        )
    });
    let without = WITHOUT_OPTION
        .iter()
        .filter(|name| is_set(name))
        .map(|name| {
            format!(
                "{name} is set here, and perhaps not where {client} starts the program; if it is \
             needed there, set it in \"env\" of the entry as well"
            )
        });
    said.chain(without)
        .map(|text| Notice::new(Level::Warn, text))
        .collect()
}

#[cfg(test)]
mod tests;
