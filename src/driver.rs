//! The one loop: feeds facts to the bridge, performs its orders, keeps its one timer.
//!
//! In: waiting for whatever comes first. Out: every decision (`proto`) and every system call
//! (`edge`).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Sleep, sleep_until};

use crate::edge::header_command::HeaderCommand;
use crate::edge::log;
use crate::edge::remote::Remote;
use crate::edge::stdio::{FromClient, Output as Stdout};
use crate::edge::store::{Entry, Initialize, Met, State, fingerprint};
use crate::error::FailureKind;
use crate::proto::era::Era;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::headers::UserHeaders;
use crate::proto::secret::Secret;
use crate::proto::transport::Transport;
use crate::proto::{Bridge, Input, Level, Output, Refused, Remembered, StopReason};
use crate::sign_in::SignIn;

/// Facts handled before the lines that follow from them are written.
const BURST: usize = 64;

/// Everything the loop waits for and acts on.
pub struct Driver {
    /// Decides.
    pub bridge: Bridge,
    /// Lines from the local client.
    pub lines: mpsc::Receiver<FromClient>,
    /// Lines to the local client.
    pub stdout: Stdout,
    /// Resolves when nobody reads those any more.
    pub stdout_closed: oneshot::Receiver<()>,
    /// HTTP exchanges.
    pub remote: Remote,
    /// What they report.
    pub inputs: mpsc::Receiver<Input>,
    /// Signals and the like.
    pub stops: mpsc::Receiver<StopReason>,
    /// Headers made by commands.
    pub header_commands: HeaderCommands,
    /// Signing in, where the server's credentials are not given.
    pub sign_in: Option<Arc<SignIn>>,
    /// What it has to say of itself.
    pub news: mpsc::Receiver<Input>,
    /// What is known of the server from one start to the next.
    pub memory: Memory,
}

/// What is known of the server from one start to the next.
pub struct Memory {
    /// Where it is kept.
    entry: Entry,
    /// The server's result of `initialize`, raw JSON, as kept.
    pub initialize: Option<String>,
    /// The user's headers with fixed values: results may differ between people.
    headers: UserHeaders,
}

/// How long a server counts as modern without a word from it, in milliseconds.
const MODERN_FOR: u64 = 7 * 24 * 3600 * 1000;

/// How long it counts as legacy: servers migrate in one direction.
const LEGACY_FOR: u64 = 24 * 3600 * 1000;

impl Memory {
    /// What is kept of the server from earlier starts with these headers, and what it was found to
    /// be, if that is not too long ago and was found for the same person.
    #[must_use]
    pub fn of(entry: Entry, headers: UserHeaders) -> (Self, Option<Remembered>) {
        let state = entry.state();
        let identity = identity(&headers, &state);
        let remembered = state.met.and_then(|met| recall(&met, &identity));
        let memory = Self {
            entry,
            initialize: state.initialize.map(|known| known.result),
            headers,
        };
        (memory, remembered)
    }

    /// Keeps what the server was found to be, or forgets it.
    fn remember_era(&self, remembered: Option<Remembered>) {
        let now = unix_millis();
        let mut met = remembered.map(|remembered| {
            let fresh = u64::try_from(remembered.fresh.as_millis()).unwrap_or(u64::MAX);
            Met {
                era: match remembered.era {
                    Era::Modern => "modern",
                    Era::Legacy => "legacy",
                }
                .to_owned(),
                transport: match remembered.transport {
                    Transport::StreamableHttp => "http",
                    Transport::Sse => "sse",
                }
                .to_owned(),
                discover: remembered.discover,
                fresh_until: now.saturating_add(fresh),
                identity: String::new(),
                at: now,
            }
        });
        let kept = self.entry.update_state(|state| {
            // Since the start somebody may have signed in.
            if let Some(met) = &mut met {
                met.identity = identity(&self.headers, state);
            }
            let same = |known: &Met| {
                met.as_ref().is_some_and(|met| {
                    known.era == met.era
                        && known.transport == met.transport
                        && known.identity == met.identity
                        && known.discover == met.discover
                        && met.fresh_until <= now
                        && now.saturating_sub(known.at) < LEGACY_FOR / 24
                })
            };
            // Not every start is worth a write.
            if !state.met.as_ref().is_some_and(same) {
                state.met = met;
            }
        });
        if let Err(failure) = kept {
            log::say(Level::Debug, &failure.text);
        }
    }

    /// Keeps a result, unless it is the same as before.
    fn remember(&mut self, result: String) {
        if self.initialize.as_ref() == Some(&result) {
            return;
        }
        let kept = self.entry.update_state(|state| {
            state.initialize = Some(Initialize {
                result: result.clone(),
                at: unix_millis(),
            });
        });
        if let Err(failure) = kept {
            log::say(Level::Debug, &failure.text);
        }
        self.initialize = Some(result);
    }
}

/// What is kept of the server's era, if that is not too long ago and was found for the same person.
fn recall(met: &Met, identity: &str) -> Option<Remembered> {
    let now = unix_millis();
    let era = match met.era.as_str() {
        "modern" => Era::Modern,
        "legacy" => Era::Legacy,
        _ => return None,
    };
    let lifetime = match era {
        Era::Modern => MODERN_FOR,
        Era::Legacy => LEGACY_FOR,
    };
    let transport = match met.transport.as_str() {
        "http" => Transport::StreamableHttp,
        "sse" => Transport::Sse,
        _ => return None,
    };
    let valid = met.at <= now && now - met.at < lifetime && met.identity == identity;
    valid.then(|| Remembered {
        era,
        transport,
        discover: met.discover.clone(),
        fresh: Duration::from_millis(met.fresh_until.saturating_sub(now)),
    })
}

/// Whom the server is asked for, as far as that is known: what it says of itself may differ between
/// people.
fn identity(headers: &UserHeaders, state: &State) -> String {
    let mut text = format!(
        "{} {}",
        state.issuer.as_deref().unwrap_or_default(),
        state.account.as_deref().unwrap_or_default()
    );
    headers.describe_into(&mut text);
    fingerprint(&Secret::from(text))
}

/// The user's headers, and the commands that make some of them.
pub struct HeaderCommands {
    /// Headers with fixed values.
    pub fixed: UserHeaders,
    /// Commands, in the order given.
    pub commands: Vec<HeaderCommand>,
    /// Where exchanges take the headers from.
    pub current: watch::Sender<Option<UserHeaders>>,
}

impl HeaderCommands {
    /// Runs every command and publishes the headers. A command that fails is reported, and its
    /// header keeps no value. Returns whether all succeeded.
    async fn run(&self) -> bool {
        let mut headers = self.fixed.clone();
        let mut ok = true;
        for command in &self.commands {
            let problem = match command.run().await {
                Ok(value) => headers
                    .insert(command.name(), &value)
                    .err()
                    .map(|error| error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(problem) = problem {
                let kind = FailureKind::HeaderCommand.as_str();
                log::say(Level::Error, &format!("{problem} [{kind}]"));
                ok = false;
            }
        }
        self.current.send_replace(Some(headers));
        ok
    }
}

impl Driver {
    /// Lines are taken for a little longer than facts while the client does not read: the end of
    /// them may be the news.
    fn wants_lines(&self) -> bool {
        !self.stdout.is_overfull() && self.bridge.wants_lines()
    }

    /// Runs until the bridge says that everything is done. Returns where further signals come from;
    /// `None`: one ended it.
    pub async fn run(mut self) -> Option<mpsc::Receiver<StopReason>> {
        let mut outputs = Vec::new();
        let mut lines_open = true;
        let mut stdout_open = true;
        let mut signalled = false;
        let mut authorizing: Option<Authorizing<'_>> = None;
        let commands = &self.header_commands;
        let mut first_run = std::pin::pin!(commands.run());
        let mut first_run_open = true;
        let mut timer: Pin<Box<Sleep>> = Box::pin(sleep_until(now().into()));
        loop {
            let wake_at = self.bridge.wake_at();
            if let Some(at) = wake_at
                && timer.deadline() != at.into()
            {
                timer.as_mut().reset(at.into());
            }
            let flowing = !self.stdout.is_full() || self.bridge.is_ending();
            let input = tokio::select! {
                Some(reason) = self.stops.recv() => {
                    signalled |= reason == StopReason::Signal;
                    Input::Stop(reason)
                }
                _ = &mut self.stdout_closed, if stdout_open => {
                    stdout_open = false;
                    Input::Stop(StopReason::OutputClosed)
                }
                Some(input) = self.inputs.recv(), if flowing => input,
                crashed = self.remote.joined() => match crashed {
                    Some(input) => input,
                    None => continue,
                },
                line = self.lines.recv(), if lines_open && self.wants_lines() => {
                    lines_open = line.is_some();
                    fact(line)
                }
                () = &mut timer, if wake_at.is_some() => Input::Wake,
                () = self.stdout.drained(), if !flowing => continue,
                _ = &mut first_run, if first_run_open => {
                    first_run_open = false;
                    continue
                }
                Some(news) = self.news.recv() => news,
                Some(outcome) = async { Some(authorizing.as_mut()?.await) } => {
                    authorizing = None;
                    Input::Authorized(outcome)
                }
            };
            self.bridge.handle(now(), input, &mut outputs);
            let burst = if flowing { BURST } else { 0 };
            for _ in 0..burst {
                let Ok(input) = self.inputs.try_recv() else {
                    break;
                };
                self.bridge.handle(now(), input, &mut outputs);
            }
            let mut written = Vec::new();
            for output in outputs.drain(..) {
                match output {
                    Output::Line(line) => written.push(line),
                    Output::Send(ticket, request) => self.remote.start(ticket, request),
                    Output::Cancel(ticket) => self.remote.cancel(ticket),
                    Output::Say(level, text) => log::say(level, &text),
                    Output::Remember(result) => self.memory.remember(result),
                    Output::RememberEra(remembered) => self.memory.remember_era(remembered),
                    Output::Authorize(refused) => {
                        authorizing = Some(match self.sign_in.clone() {
                            Some(sign_in) => Box::pin(authorize(sign_in, refused)),
                            None => Box::pin(async {
                                commands.run().await;
                                Ok(())
                            }),
                        });
                    }
                    Output::Exit { hurried } => {
                        write(&self.stdout, written);
                        tokio::select! {
                            () = self.stdout.finish(hurried) => {}
                            _ = self.stops.recv(), if !hurried => {}
                        }
                        return (!signalled).then_some(self.stops);
                    }
                }
            }
            write(&self.stdout, written);
        }
    }
}

/// Other credentials on their way.
type Authorizing<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

/// In a task of its own, so that a fault there answers requests instead of ending everything.
async fn authorize(sign_in: Arc<SignIn>, refused: Refused) -> Result<(), Failure> {
    let task = tokio::spawn(async move { sign_in.authorize(&refused).await });
    task.await.unwrap_or_else(|_| {
        let text = "the sign-in crashed; please report this with the output of --debug";
        Err(Failure::new(Kind::AuthorizationError, Executed::No, text))
    })
}

fn fact(line: Option<FromClient>) -> Input {
    match line {
        Some(FromClient::Line(line)) => Input::Line(line),
        Some(FromClient::TooLong(head)) => Input::LineTooLong(head),
        None => Input::LocalClosed,
    }
}

fn write(stdout: &Stdout, lines: Vec<Bytes>) {
    if !lines.is_empty() {
        stdout.write(lines);
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where time enters")]
fn now() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the store remembers when something was seen"
)]
fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
