//! Putting a whole file in the place of another, so that readers and crashes find the old one or
//! the new one and nothing in between.
//!
//! In: one file. Out: whether it may be replaced (`guard`), and what if it cannot be (`files`).

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};

/// How the name of a file ends that is not yet in its place; `mcp-remote`'s end so too.
const TEMPORARY: &str = ".tmp";

/// The calls whose order decides what a loss of power leaves.
pub(super) trait Calls {
    /// Brings the content of a file or folder to the disk.
    fn flush(&mut self, file: &File) -> io::Result<()>;
    /// Gives a file the name of another.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
}

/// The operating system's.
pub(super) struct System;

impl Calls for System {
    fn flush(&mut self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    #[cfg(not(windows))]
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Virus scanners and indexers hold new files open for a moment.
    #[cfg(windows)]
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        const ATTEMPTS: u32 = 10;
        const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);
        for _ in 1..ATTEMPTS {
            match fs::rename(from, to) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    std::thread::sleep(PAUSE);
                }
                outcome => return outcome,
            }
        }
        fs::rename(from, to)
    }
}

/// Replaces or creates the file, for its owner alone. After an error the old one is as it was.
pub(super) fn replace(path: &Path, bytes: &[u8], calls: &mut impl Calls) -> io::Result<()> {
    let temporary = temporary(path, bytes, calls)?;
    let renamed = calls.rename(&temporary, path);
    if renamed.is_err() {
        drop(fs::remove_file(&temporary));
    }
    renamed?;
    flush_folder(path, calls);
    Ok(())
}

/// Creates the file with this content if nothing has its name. Where there are hard links, readers
/// never see a part of it.
///
/// # Errors
/// `AlreadyExists` when something has its name.
pub(super) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary(path, bytes, &mut System)?;
    let linked = fs::hard_link(&temporary, path);
    drop(fs::remove_file(&temporary));
    match linked {
        // Not every file system has hard links.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let mut file = private().open(path)?;
            file.write_all(bytes)
        }
        linked => linked,
    }
}

/// Whether a name is that of a file that is not yet in its place.
pub(super) fn is_temporary(name: &str) -> bool {
    name.ends_with(TEMPORARY)
}

/// A name next to the file that nobody can guess and nothing has.
pub(super) fn unused_name(path: &Path) -> io::Result<PathBuf> {
    let mut name = OsString::from(path);
    let number = u64::from_be_bytes(random()?);
    name.push(format!(".{number:016x}{TEMPORARY}"));
    Ok(name.into())
}

/// Bytes that nobody can guess.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(bytes)
}

/// A whole file beside the one that it is to replace.
fn temporary(path: &Path, bytes: &[u8], calls: &mut impl Calls) -> io::Result<PathBuf> {
    let temporary = unused_name(path)?;
    let mut file = private().open(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| calls.flush(&file));
    if written.is_err() {
        drop(fs::remove_file(&temporary));
    }
    written.map(|()| temporary)
}

/// Creating a file that is not there, for its owner alone, through no link.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes the new name durable. The file is in its place already, so trouble is no reason to
/// believe that it is not.
fn flush_folder(path: &Path, calls: &mut impl Calls) {
    // On Windows a folder cannot be opened as a file; there renaming is durable by itself.
    if !cfg!(unix) {
        return;
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    if let Ok(folder) = OpenOptions::new().read(true).open(folder) {
        drop(calls.flush(&folder));
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "the tests read the files they replace"
    )]

    use super::*;

    /// Notes down every call, and lets one of them fail.
    #[derive(Default)]
    struct Trace {
        calls: Vec<&'static str>,
        fails_at: Option<usize>,
    }

    impl Trace {
        fn note(&mut self, call: &'static str) -> io::Result<()> {
            let failing = self.fails_at == Some(self.calls.len());
            self.calls.push(call);
            if failing {
                return Err(io::Error::other("disk full"));
            }
            Ok(())
        }
    }

    impl Calls for Trace {
        fn flush(&mut self, file: &File) -> io::Result<()> {
            let is_folder = file.metadata()?.is_dir();
            self.note(if is_folder { "flush folder" } else { "flush" })?;
            System.flush(file)
        }

        fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
            assert_eq!(fs::read(from)?, b"new", "all of it is there by now");
            self.note("rename")?;
            System.rename(from, to)
        }
    }

    #[cfg(unix)]
    #[test]
    fn f05_the_content_is_on_disk_before_it_gets_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut trace = Trace::default();
        replace(&folder.path().join("file"), b"new", &mut trace).unwrap();
        assert_eq!(trace.calls, ["flush", "rename", "flush folder"]);
    }

    #[test]
    fn f04_after_a_failure_the_old_content_is_there_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        for step in [0, 1] {
            let mut trace = Trace {
                fails_at: Some(step),
                ..Trace::default()
            };
            replace(&path, b"new", &mut trace).unwrap_err();
            assert_eq!(trace.calls.len(), step + 1);
            assert_eq!(fs::read(&path).unwrap(), b"old", "{step}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{step}");
        }
        replace(&path, b"new", &mut System).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn f10_a_file_is_created_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        create(&path, b"first").unwrap();
        let error = create(&path, b"second").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn f04_names_of_temporary_files_cannot_be_guessed() {
        let path = Path::new("/x/file");
        let (one, other) = (unused_name(path).unwrap(), unused_name(path).unwrap());
        assert_ne!(one, other);
        assert_eq!(one.parent(), path.parent());
        assert_eq!(one.to_str().unwrap().len(), "/x/file..tmp".len() + 16);
        assert!(is_temporary(one.to_str().unwrap()));
    }
}
