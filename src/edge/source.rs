//! Secrets that come from elsewhere each time they are needed: assertions, subject tokens, keys.
//!
//! In: files that somebody rotates, programs that print. Out: what the text is good for; nothing of
//! it is judged or kept here.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::child;
use crate::proto::auth::settings::Source;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::secret::Secret;
use crate::proto::text::sanitize;

/// Largest file that is read, in bytes.
const FILE: usize = 64 << 10;

/// Longest wait for a file: it may be a pipe, or lie on a disk that is not there.
const FILE_TIME: Duration = Duration::from_secs(10);

/// Longest name of a file or program that is shown, in characters.
const NAME_CHARS: usize = 200;

/// Reads a source anew, without the white space around the text. A program is run as it is, without
/// a shell, within [`child::DEADLINE`]; its first line counts.
///
/// # Errors
/// `sign_in_required`: the file or program gives no text. The error names the source and repeats
/// neither the content nor a program's arguments.
pub async fn read_source(source: &Source) -> Result<Secret, Failure> {
    match source {
        Source::Text(text) => Ok(text.clone()),
        Source::File(path) => read_file(path.clone(), FILE_TIME).await.map_err(|problem| {
            let name = sanitize(&path.display().to_string(), NAME_CHARS);
            failure(&format!("the file {name} {problem}"))
        }),
        Source::Command(words) => {
            let Some((program, arguments)) = words.split_first() else {
                return Err(failure("the command is empty; name a program"));
            };
            let mut command = Command::new(program);
            command.args(arguments);
            let line = child::first_line(command, child::DEADLINE).await;
            line.map_err(|problem| {
                let name = sanitize(program, NAME_CHARS);
                failure(&format!("the command {name} {problem}"))
            })
        }
    }
}

/// What is wrong with a file, to follow its name.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("holds more than {FILE} bytes; it must hold the value alone")]
    TooLong,
    #[error("holds no text; it must hold the value")]
    NoText,
    #[error("could not be read in time; is it a pipe that nobody writes to?")]
    Deadline,
}

/// A thread of its own: reading may never end.
async fn read_file(path: PathBuf, time: Duration) -> Result<Secret, Problem> {
    let (sender, receiver) = oneshot::channel();
    let work = move || {
        // Nobody may be waiting any more.
        drop(sender.send(read(&path)));
    };
    thread::Builder::new().name("file".into()).spawn(work)?;
    match tokio::time::timeout(time, receiver).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(io::Error::other("reading crashed").into()),
        Err(_) => Err(Problem::Deadline),
    }
}

fn read(path: &Path) -> Result<Secret, Problem> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a file the user named, read for each use"
    )]
    let file = std::fs::File::open(path)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(FILE as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > FILE {
        return Err(Problem::TooLong);
    }
    match std::str::from_utf8(&bytes).map(str::trim) {
        Ok("") | Err(_) => Err(Problem::NoText),
        Ok(text) => Ok(Secret::from(text)),
    }
}

fn failure(text: &str) -> Failure {
    Failure::new(Kind::SignInRequired, Executed::No, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    async fn read(source: &Source) -> Result<String, String> {
        tokio::time::timeout(DEADLINE, read_source(source))
            .await
            .unwrap()
            .map(|secret| secret.reveal().to_owned())
            .map_err(|failure| {
                assert_eq!(failure.kind, Kind::SignInRequired);
                failure.text
            })
    }

    #[cfg(unix)]
    fn command(words: &[&str]) -> Source {
        Source::Command(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[expect(clippy::disallowed_methods, reason = "test files")]
    fn put(path: &Path, content: impl AsRef<[u8]>) {
        std::fs::write(path, content).unwrap();
    }

    #[tokio::test]
    async fn e20_a_rotated_file_is_read_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let source = Source::File(path.clone());
        for token in ["first", "second"] {
            put(&path, format!("\n{token}\n"));
            assert_eq!(read(&source).await.unwrap(), token);
        }
        put(&path, "one\ntwo\n");
        assert_eq!(read(&source).await.unwrap(), "one\ntwo");
        assert_eq!(read(&Source::Text(Secret::from("x"))).await.unwrap(), "x");
    }

    #[tokio::test]
    async fn e20_an_unusable_file_is_named_and_its_content_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let source = Source::File(path.clone());
        let name = path.display().to_string();
        let text = read(&source).await.unwrap_err();
        assert!(
            text.contains(&name) && text.contains("cannot be read"),
            "{text}"
        );
        let too_long = "canary".repeat(FILE);
        for (content, words) in [
            (too_long.as_bytes(), "more than 65536 bytes"),
            (b"canary\xff".as_slice(), "holds no text"),
            (b" \n", "holds no text"),
        ] {
            put(&path, content);
            let text = read(&source).await.unwrap_err();
            assert!(text.contains(&name) && text.contains(words), "{text}");
            assert!(!text.contains("canary"), "{text}");
        }
        put(&path, "x".repeat(FILE));
        assert_eq!(read(&source).await.unwrap().len(), FILE);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn e20_a_file_that_never_ends_is_given_up() {
        let endless = read(&Source::File("/dev/zero".into())).await.unwrap_err();
        assert!(endless.contains("/dev/zero holds more than"), "{endless}");
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let waiting = read_file(pipe.clone(), Duration::from_millis(50));
        let problem = tokio::time::timeout(DEADLINE, waiting).await.unwrap();
        assert!(matches!(problem, Err(Problem::Deadline)), "{problem:?}");
        // Lets the thread that still waits come to its end.
        put(&pipe, "x");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn e20_a_program_is_run_without_a_shell_for_each_use() {
        let plain = command(&["printf", "%s\\n", "$HOME; `id` *"]);
        assert_eq!(read(&plain).await.unwrap(), "$HOME; `id` *");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let source = command(&["cat", path.to_str().unwrap()]);
        for token in ["first", "second"] {
            put(&path, format!("{token}\nmore\n"));
            assert_eq!(read(&source).await.unwrap(), token);
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn e20_a_failing_program_is_named_and_its_words_are_not() {
        for (words, expected) in [
            (
                ["sh", "-c", "echo canary; echo canary >&2; exit 3"],
                "exit status: 3",
            ),
            (["sh", "-c", "exec yes canary"], "more than 65536 bytes"),
            (["sh", "-c", "true || canary"], "printed no text"),
            (["/nonexistent/sh", "-c", "canary"], "could not be run"),
        ] {
            let text = read(&command(&words)).await.unwrap_err();
            assert!(
                text.contains(&format!("the command {}", words[0])),
                "{text}"
            );
            assert!(text.contains(expected), "{text}");
            assert!(!text.contains("canary"), "{text}");
        }
        assert!(read(&command(&[])).await.is_err());
    }
}
