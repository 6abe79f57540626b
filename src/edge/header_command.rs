//! Headers whose value a command knows (`--header-command 'Name: command …'`), such as a password
//! manager or a token helper.
//!
//! In: the platform's shell, and whether the value can be sent. Out: watching the command
//! ([`super::child`]), when to run it (at start, and again after a 401), where the value is sent.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use super::child;
use crate::proto::headers::UserHeaders;

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
    /// It gave no line.
    #[error(transparent)]
    Child(child::Problem),
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
        self.run_within(child::DEADLINE).await
    }

    async fn run_within(&self, deadline: Duration) -> Result<String, HeaderCommandError> {
        let line = child::first_line(shell(&self.command), deadline).await;
        let problem = match line {
            Ok(line)
                if UserHeaders::default()
                    .insert(&self.name, line.reveal())
                    .is_ok() =>
            {
                return Ok(line.reveal().to_owned());
            }
            Ok(_) | Err(child::Problem::NoText) => Problem::Value,
            Err(problem) => Problem::Child(problem),
        };
        Err(HeaderCommandError {
            name: self.name.clone(),
            problem,
        })
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
        let value = |command| run(command, child::DEADLINE).unwrap();
        assert_eq!(value("echo Bearer abc"), "Bearer abc");
        assert_eq!(value("printf '\n  one  \r\ntwo\n'"), "one");
        assert_eq!(value("cat; echo 'stdin is empty'"), "stdin is empty");
        assert_eq!(value("echo \"$((6 * 7))\" | tr 4 5"), "52");
        assert_eq!(value("echo hint >&2; echo v"), "v");
    }

    #[test]
    fn a_failing_command_is_named_by_its_header_and_code_and_its_output_is_not() {
        let text = problem("echo canary; echo canary >&2; exit 3", child::DEADLINE);
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
        let text = problem("exec yes canary", child::DEADLINE);
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
            let text = problem(command, child::DEADLINE);
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
