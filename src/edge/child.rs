//! Programs that print a secret: started, watched, and ended in time.
//!
//! In: a deadline, a cap on the output, the first line of it. Out: which program it is and how it
//! is called, what the line is good for, and words for where it was named.

use std::io::{self, Read as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::proto::secret::Secret;

/// Longest run of a program.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Most that it may print, in bytes.
pub const OUTPUT: usize = 64 << 10;

/// Pause between two looks at whether it has ended.
const POLL: Duration = Duration::from_millis(10);

/// Why there is no line, to follow the name of the program. It never repeats what was printed.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It ran for too long and was killed.
    #[error("did not end within {} s", DEADLINE.as_secs())]
    Deadline,
    /// It failed.
    #[error("failed ({0}); run it by hand to see why")]
    Failed(ExitStatus),
    /// It could not be started, or the system lost it.
    #[error("could not be run: {0}")]
    Start(#[from] io::Error),
    /// It printed more than [`OUTPUT`] and was killed.
    #[error("printed more than {OUTPUT} bytes; it must print the value alone")]
    TooLong,
    /// It printed nothing, or something that is not UTF-8.
    #[error("printed no text; it must print the value")]
    NoText,
}

/// Runs a program with our environment and nothing to read, within a time such as [`DEADLINE`],
/// and gives the first line it prints, without the white space around it. Dropping the future does
/// not stop the program; its deadline does.
///
/// # Errors
/// It cannot be started, fails, runs or prints for too long, or prints no text.
pub async fn first_line(mut command: Command, deadline: Duration) -> Result<Secret, Problem> {
    let (sender, receiver) = oneshot::channel();
    let work = move || {
        // Nobody may be waiting any more: then the bridge is ending.
        drop(sender.send(run(&mut command, deadline)));
    };
    thread::Builder::new().name("command".into()).spawn(work)?;
    receiver
        .await
        .unwrap_or_else(|_| Err(io::Error::other("it crashed").into()))
}

fn run(command: &mut Command, deadline: Duration) -> Result<Secret, Problem> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let output = watch(&mut child, deadline).inspect_err(|_| {
        // It may have ended by itself in the meantime.
        drop(child.kill());
        drop(child.wait());
    })?;
    let output = std::str::from_utf8(&output).map_err(|_| Problem::NoText)?;
    match output.trim().lines().next().unwrap_or_default().trim_end() {
        "" => Err(Problem::NoText),
        line => Ok(Secret::from(line)),
    }
}

/// What the program printed, once it has ended well.
fn watch(child: &mut Child, deadline: Duration) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let (sender, receiver) = mpsc::channel();
    let stdout = child.stdout.take();
    // A thread of its own: something the program left behind may keep the pipe open for ever.
    thread::Builder::new()
        .name("command output".into())
        .spawn(move || {
            let mut output = Zeroizing::new(Vec::new());
            let cap = OUTPUT as u64 + 1;
            let read = stdout.map_or(Ok(0), |stdout| stdout.take(cap).read_to_end(&mut output));
            drop(sender.send(read.map(|_| output)));
        })?;
    let started = now();
    let left = || deadline.saturating_sub(now().duration_since(started));
    let output = receiver
        .recv_timeout(left())
        .map_err(|_| Problem::Deadline)??;
    if output.len() > OUTPUT {
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

    async fn run(script: &str, deadline: Duration) -> Result<Secret, Problem> {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        tokio::time::timeout(TEST_DEADLINE, first_line(shell, deadline))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn the_first_line_is_the_value() {
        for (script, line) in [
            ("printf '\n  one  \r\ntwo\n'", "one"),
            ("cat; echo 'stdin is empty'", "stdin is empty"),
            ("echo hint >&2; echo v", "v"),
        ] {
            assert_eq!(run(script, DEADLINE).await.unwrap().reveal(), line);
        }
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed() {
        for script in ["exec sleep 60", "exec >&-; exec sleep 60"] {
            let problem = run(script, Duration::from_millis(50)).await.unwrap_err();
            assert!(matches!(problem, Problem::Deadline), "{problem}");
        }
    }

    #[tokio::test]
    async fn endless_output_is_cut_off() {
        let problem = run("exec yes canary", DEADLINE).await.unwrap_err();
        assert!(matches!(problem, Problem::TooLong), "{problem}");
        assert!(!problem.to_string().contains("canary"), "{problem}");
    }

    #[tokio::test]
    async fn a_program_that_fails_or_prints_no_text_gives_nothing() {
        let problem = run("echo canary; exit 3", DEADLINE).await.unwrap_err();
        assert!(problem.to_string().contains("exit status: 3"), "{problem}");
        assert!(!problem.to_string().contains("canary"), "{problem}");
        for script in ["true", "echo", "printf 'canary\\377'"] {
            let problem = run(script, DEADLINE).await.unwrap_err();
            assert!(matches!(problem, Problem::NoText), "{problem}");
        }
    }

    #[tokio::test]
    async fn a_program_that_does_not_exist_is_no_crash() {
        let missing = Command::new("/nonexistent/program");
        let problem = first_line(missing, DEADLINE).await.unwrap_err();
        assert!(matches!(problem, Problem::Start(_)), "{problem}");
    }
}
