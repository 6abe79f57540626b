//! Opening an address in the person's browser.
//!
//! In: whether there is one to open, the system's launchers, and what they get to see. Out: which
//! addresses may be opened (`proto::auth::authorize`), and what to say when that does not work.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use url::Url;

use crate::proto::auth::authorize;
use crate::proto::text::sanitize;

/// How long a launcher is watched. One that still runs then has handed over, or is the browser.
pub const LAUNCH: Duration = Duration::from_secs(10);

/// Most `$BROWSER` entries that are tried.
const BROWSERS: usize = 8;

/// Pause between two looks at whether a launcher has ended.
const POLL: Duration = Duration::from_millis(10);

/// Variables of ours, which are nobody else's business.
const OURS: &[&str] = &["MCP_BRIDGE_", "MCP_REMOTE_"];

/// What became of an attempt to open a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Launch {
    /// A launcher took the address. Whether a window shows is not known.
    Launched,
    /// There is no browser to be expected here, for this reason: a part of a sentence.
    Unavailable(&'static str),
    /// No launcher worked, or the address may not be opened: a sentence.
    Failed(String),
}

/// Opens addresses of one server's sign-in.
#[derive(Clone)]
pub struct Launcher {
    server: Arc<Url>,
    environment: Vec<(OsString, OsString)>,
}

impl Launcher {
    /// `environment` is ours; launchers get it without our own variables and without those named
    /// in `hidden`, such as the ones that hold header values.
    #[must_use]
    pub fn new(
        server: Arc<Url>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        hidden: &[String],
    ) -> Self {
        let is_ours = |name: &OsStr| {
            let name = name.to_string_lossy();
            hidden.iter().any(|hidden| same_name(hidden, &name))
                || OURS.iter().any(|ours| {
                    let start = name.get(..ours.len()).unwrap_or_default();
                    same_name(ours, start)
                })
        };
        let environment = environment
            .into_iter()
            .filter(|(name, _)| !is_ours(name))
            .map(|(name, value)| {
                let is_path = same_name("PATH", &name.to_string_lossy());
                let value = if is_path {
                    absolute_only(&value)
                } else {
                    value
                };
                (name, value)
            })
            .collect();
        Self {
            server,
            environment,
        }
    }

    /// Opens an address, if this machine has a browser for it. Waits for the launcher, up to
    /// [`LAUNCH`]: await it beside the listener that the browser comes back to. Dropping the future
    /// stops nothing.
    pub async fn open(&self, url: &Url) -> Launch {
        match self.unavailable() {
            Some(reason) => Launch::Unavailable(reason),
            None => self.open_within(url, LAUNCH).await,
        }
    }

    /// Why no browser can be expected to open here, as a part of a sentence; `None` when one can.
    #[must_use]
    pub fn unavailable(&self) -> Option<&'static str> {
        unavailable_reason(&|name: &str| self.variable(name).map(OsStr::to_owned))
    }

    async fn open_within(&self, url: &Url, limit: Duration) -> Launch {
        if let Err(failure) = authorize::openable_for(url.as_str(), &self.server) {
            return Launch::Failed(failure.text);
        }
        let commands = self.commands(url);
        let (sender, receiver) = oneshot::channel();
        let work = move || launch_first(commands, limit, sender);
        match thread::Builder::new().name("browser".into()).spawn(work) {
            Ok(_) => receiver
                .await
                .unwrap_or_else(|_| Launch::Failed("opening a browser crashed".into())),
            Err(error) => Launch::Failed(format!("no thread to open a browser with: {error}")),
        }
    }

    /// `$BROWSER` where that is the custom, then the system's launchers, in the order to try them.
    fn commands(&self, url: &Url) -> Vec<Command> {
        let mut commands = Vec::new();
        if has_browser_variable() {
            let browsers = self.variable("BROWSER").unwrap_or_default();
            let browsers = browsers.to_string_lossy();
            let browsers = browsers.split(':').take(BROWSERS);
            commands.extend(browsers.filter_map(|browser| named(browser, url)));
        }
        commands.extend(open::commands(url.as_str()));
        for command in &mut commands {
            self.prepare(command);
        }
        commands
    }

    /// Our pipes stay ours, and so does what our environment holds.
    fn prepare(&self, command: &mut Command) {
        let own: Vec<(OsString, Option<OsString>)> = command
            .get_envs()
            .map(|(name, value)| (name.to_owned(), value.map(OsStr::to_owned)))
            .collect();
        command.env_clear();
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        for (name, value) in own {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // A browser that we happen to start outlives us and the keys that end us.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
    }

    fn variable(&self, name: &str) -> Option<&OsStr> {
        let is_it = |(found, _): &&(OsString, OsString)| same_name(name, &found.to_string_lossy());
        let (_, value) = self.environment.iter().find(is_it)?;
        Some(value)
    }
}

/// Why no browser can be expected to open where we run; `None` when one can. An own choice of the
/// person (`$BROWSER`) counts more than any sign against it.
pub fn unavailable_reason(env: &impl Fn(&str) -> Option<OsString>) -> Option<&'static str> {
    let is_container = ["/.dockerenv", "/run/.containerenv"]
        .iter()
        .any(|file| Path::new(file).exists());
    reason(env, is_container, cfg!(any(windows, target_os = "macos")))
}

/// `always_shows`: the system has a desktop that does not show in the environment.
fn reason(
    env: &impl Fn(&str) -> Option<OsString>,
    is_container: bool,
    always_shows: bool,
) -> Option<&'static str> {
    let is_set = |name: &str| env(name).is_some_and(|value| !value.is_empty());
    let is_on =
        |name: &str| is_set(name) && env(name).is_none_or(|value| value != "false" && value != "0");
    let has_display = is_set("DISPLAY") || is_set("WAYLAND_DISPLAY");
    let is_wsl = is_set("WSL_DISTRO_NAME") || is_set("WSL_INTEROP");
    if !always_shows && is_set("BROWSER") {
        None
    } else if is_on("CI") {
        Some("this is an automated build")
    } else if is_set("SSH_CONNECTION") || is_set("SSH_TTY") {
        Some("this is a remote session (SSH)")
    } else if (is_container || is_set("container") || is_set("KUBERNETES_SERVICE_HOST"))
        && !has_display
    {
        Some("this is a container")
    } else if !always_shows && !has_display && !is_wsl {
        Some("there is no display")
    } else {
        None
    }
}

/// Whether `$BROWSER` means something here: on the systems that have `xdg-open`.
fn has_browser_variable() -> bool {
    cfg!(all(unix, not(target_os = "macos")))
}

/// An entry of `$BROWSER`: a program with its arguments, in which `%s` stands for the address; else
/// the address comes last. No shell reads it.
fn named(browser: &str, url: &Url) -> Option<Command> {
    let mut words = browser.split_whitespace();
    let mut command = Command::new(words.next()?);
    let mut is_placed = false;
    for word in words {
        is_placed |= word.contains("%s");
        command.arg(word.replace("%s", url.as_str()));
    }
    if !is_placed {
        command.arg(url.as_str());
    }
    Some(command)
}

/// Tries the commands until one takes the address, and then stays until it has ended.
fn launch_first(commands: Vec<Command>, limit: Duration, sender: oneshot::Sender<Launch>) {
    let end = now() + limit;
    let mut troubles = Vec::new();
    for mut command in commands {
        let program = command.get_program().to_string_lossy().into_owned();
        let trouble = match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => error.to_string(),
            Ok(mut child) => match watch(&mut child, end) {
                Ok(Some(status)) if is_refusal(&program, status) => status.to_string(),
                Ok(status) => {
                    // Nobody may be waiting any more.
                    let _ = sender.send(Launch::Launched);
                    if status.is_none() {
                        let _ = child.wait();
                    }
                    return;
                }
                Err(error) => error.to_string(),
            },
        };
        troubles.push(format!("{} ({trouble})", sanitize(&program, 64)));
    }
    let text = if troubles.is_empty() {
        "no program was found that opens a browser".to_owned()
    } else {
        format!("no browser could be opened: {}", troubles.join(", "))
    };
    let _ = sender.send(Launch::Failed(text));
}

/// How it ended; `None`: it still runs.
fn watch(child: &mut Child, end: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        match child.try_wait()? {
            None if now() < end => thread::sleep(POLL),
            status => return Ok(status),
        }
    }
}

/// Windows' Explorer ends with a failure whether it opened something or not.
fn is_refusal(program: &str, status: ExitStatus) -> bool {
    !status.success() && program != "explorer.exe"
}

/// Names of variables have no case on Windows.
fn same_name(left: &str, right: &str) -> bool {
    if cfg!(windows) {
        left.eq_ignore_ascii_case(right)
    } else {
        left == right
    }
}

/// A search path without entries that depend on the folder we were started in.
fn absolute_only(path: &OsStr) -> OsString {
    let entries: Vec<PathBuf> = env::split_paths(path)
        .filter(|entry| entry.is_absolute())
        .collect();
    // Joining what was split cannot fail; if it did, nothing would be found.
    env::join_paths(entries).unwrap_or_default()
}

fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "launchers are watched outside the driver's loop"
    )]
    Instant::now()
}

#[cfg(test)]
mod tests;
