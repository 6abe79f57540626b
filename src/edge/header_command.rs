//! Headers whose value a command knows (`--header-command 'Name: command …'`), such as a password
//! manager or a token helper.
//!
//! In: running the command through the platform's shell, with a deadline and a cap on its output.
//! Out: when to run it (at start, and again after a 401), where the value is sent.

use std::fmt;
use std::io::{self, Read as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::proto::headers::UserHeaders;

/// Longest run of a header command.
pub const COMMAND_DEADLINE: Duration = Duration::from_secs(30);

/// Most that a header command may print, in bytes.
pub const COMMAND_OUTPUT: usize = 64 << 10;

/// Pause between two looks at whether the command has ended.
const POLL: Duration = Duration::from_millis(10);

/// A header and the command that prints its value. `Debug` hides the command, which may hold a
/// secret.
#[derive(Clone, PartialEq, Eq)]
pub struct HeaderCommand {
    name: String,
    command: String,
}

/// Why a command gave no header. It never repeats what the command printed.
#[derive(Debug, thiserror::Error)]
#[error("the command of --header-command for {name} {problem}")]
pub struct HeaderCommandError {
    /// The header's name.
    pub name: String,
    /// What happened.
    pub problem: Problem,
}

/// What can go wrong with a command.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It ran for longer than [`COMMAND_DEADLINE`] and was killed.
    #[error("did not end within {} s", COMMAND_DEADLINE.as_secs())]
    Deadline,
    /// It failed.
    #[error("failed ({0}); run it by hand to see why")]
    Failed(ExitStatus),
    /// The shell could not be started, or the system lost it.
    #[error("could not be run: {0}")]
    Start(#[from] io::Error),
    /// It printed more than [`COMMAND_OUTPUT`] and was killed.
    #[error("printed more than {COMMAND_OUTPUT} bytes; it must print the header's value alone")]
    TooLong,
    /// Its first line is empty or cannot be sent in a header.
    #[error("printed nothing that can be sent in a header; it must print the header's value")]
    Value,
}

impl HeaderCommand {
    /// A header and the shell command that prints its value.
    pub fn new(name: impl Into<String>, command: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            command: command.into(),
        }
    }

    /// The header's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs the command with our environment and gives the first line it prints, without the
    /// white space around it. Dropping the future does not stop the command; its deadline does.
    ///
    /// # Errors
    /// The command cannot be started, fails, runs or prints for too long, or prints nothing fit
    /// for a header.
    pub async fn run(&self) -> Result<String, HeaderCommandError> {
        self.run_within(COMMAND_DEADLINE).await
    }

    async fn run_within(&self, deadline: Duration) -> Result<String, HeaderCommandError> {
        let (sender, receiver) = oneshot::channel();
        let job = self.clone();
        let work = move || {
            // Nobody may be waiting any more: then the bridge is ending.
            drop(sender.send(job.run_blocking(deadline)));
        };
        let outcome = match thread::Builder::new()
            .name("header command".into())
            .spawn(work)
        {
            Ok(_) => receiver
                .await
                .unwrap_or_else(|_| Err(io::Error::other("it crashed").into())),
            Err(error) => Err(error.into()),
        };
        outcome.map_err(|problem| HeaderCommandError {
            name: self.name.clone(),
            problem,
        })
    }

    fn run_blocking(&self, deadline: Duration) -> Result<String, Problem> {
        let mut child = shell(&self.command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = watch(&mut child, deadline).inspect_err(|_| {
            // It may have ended by itself in the meantime.
            drop(child.kill());
            drop(child.wait());
        })?;
        let output = String::from_utf8(output).map_err(|_| Problem::Value)?;
        let value = output.trim().lines().next().unwrap_or_default().trim_end();
        if value.is_empty() || UserHeaders::default().insert(&self.name, value).is_err() {
            return Err(Problem::Value);
        }
        Ok(value.to_owned())
    }
}

impl fmt::Debug for HeaderCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderCommand")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(not(windows))]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]);
    shell
}

#[cfg(windows)]
fn shell(command: &str) -> Command {
    use std::os::windows::process::CommandExt as _;

    let mut shell = Command::new("cmd");
    // With /S the outer quotation marks go and the rest is taken as it is.
    shell
        .args(["/D", "/S", "/C"])
        .raw_arg(format!("\"{command}\""));
    shell
}

/// What the command printed, once it has ended well.
fn watch(child: &mut Child, deadline: Duration) -> Result<Vec<u8>, Problem> {
    let (sender, receiver) = mpsc::channel();
    let stdout = child.stdout.take();
    // A thread of its own: something the command left behind may keep the pipe open for ever.
    thread::Builder::new()
        .name("header command output".into())
        .spawn(move || {
            let mut output = Vec::new();
            let cap = COMMAND_OUTPUT as u64 + 1;
            let read = stdout.map_or(Ok(0), |stdout| stdout.take(cap).read_to_end(&mut output));
            drop(sender.send(read.map(|_| output)));
        })?;
    let started = now();
    let left = || deadline.saturating_sub(now().duration_since(started));
    let output = receiver
        .recv_timeout(left())
        .map_err(|_| Problem::Deadline)??;
    if output.len() > COMMAND_OUTPUT {
        return Err(Problem::TooLong);
    }
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(output),
            Some(status) => return Err(Problem::Failed(status)),
            None if left().is_zero() => return Err(Problem::Deadline),
            None => thread::sleep(POLL),
        }
    }
}

fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the deadline is kept outside the driver's loop"
    )]
    Instant::now()
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    const TEST_DEADLINE: Duration = Duration::from_secs(20);

    fn run(command: &str, deadline: Duration) -> Result<String, HeaderCommandError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let command = HeaderCommand::new("X-Token", command);
        runtime.block_on(async {
            tokio::time::timeout(TEST_DEADLINE, command.run_within(deadline))
                .await
                .unwrap()
        })
    }

    fn problem(command: &str, deadline: Duration) -> String {
        run(command, deadline).unwrap_err().to_string()
    }

    #[test]
    fn the_first_line_is_the_value() {
        let value = |command| run(command, COMMAND_DEADLINE).unwrap();
        assert_eq!(value("echo Bearer abc"), "Bearer abc");
        assert_eq!(value("printf '\n  one  \r\ntwo\n'"), "one");
        assert_eq!(value("cat; echo 'stdin is empty'"), "stdin is empty");
        assert_eq!(value("echo \"$((6 * 7))\" | tr 4 5"), "52");
        assert_eq!(value("echo hint >&2; echo v"), "v");
    }

    #[test]
    fn a_failing_command_is_named_by_its_header_and_code_and_its_output_is_not() {
        let text = problem("echo canary; echo canary >&2; exit 3", COMMAND_DEADLINE);
        assert!(
            text.contains("X-Token") && text.contains("exit status: 3"),
            "{text}"
        );
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn a_command_that_hangs_is_killed() {
        let text = problem("exec sleep 60", Duration::from_millis(50));
        assert!(text.contains("did not end within"), "{text}");
        let text = problem("exec >&-; exec sleep 60", Duration::from_millis(50));
        assert!(text.contains("did not end within"), "{text}");
    }

    #[test]
    fn endless_output_is_cut_off() {
        let text = problem("exec yes canary", COMMAND_DEADLINE);
        assert!(text.contains("more than 65536 bytes"), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn output_that_is_no_header_value_is_refused_unseen() {
        for command in [
            "true",
            "echo",
            "printf 'canary\\001x'",
            "printf 'canary\\377'",
        ] {
            let text = problem(command, COMMAND_DEADLINE);
            assert!(
                text.contains("nothing that can be sent"),
                "{command}: {text}"
            );
            assert!(!text.contains("canary"), "{text}");
        }
    }

    #[test]
    fn f22_debug_hides_the_command() {
        let shown = format!("{:?}", HeaderCommand::new("X-Token", "echo canary"));
        assert!(
            shown.contains("X-Token") && !shown.contains("canary"),
            "{shown}"
        );
    }
}
