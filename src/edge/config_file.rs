//! Configuration files of other programs: read whole, replaced whole, never lost.
//!
//! In: links, limits, permissions, a copy of what was there. Out: what is in them (`proto::clients`),
//! which files there are (`commands`).

use std::ffi::OsString;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::proto::text::sanitize;

/// Largest file that is read, in bytes. Claude Code keeps more than settings in its file.
pub const FILE_LIMIT: u64 = 32 << 20;

/// Copies that are kept of one file; older ones of ours are removed.
const BACKUPS: usize = 5;

/// Between a file's name and the number of a copy.
const BACKUP: &str = ".before-mcp-bridge-";

/// Longest path in a sentence, in characters.
const PATH_CHARS: usize = 400;

/// A file as it was read, or a place where none is.
#[derive(Clone)]
pub struct ConfigFile {
    /// Where its name leads, through links.
    path: PathBuf,
    /// The path it was asked for by.
    asked: PathBuf,
    /// `None`: there is none.
    text: Option<String>,
}

/// What was done besides writing a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The file as it was, beside it; `None`: there was none.
    pub backup: Option<PathBuf>,
    /// Folders that were made, the outermost first.
    pub folders: Vec<PathBuf>,
}

impl ConfigFile {
    /// Reads a file, through links.
    ///
    /// # Errors
    /// A sentence with its path: it cannot be read, is no file, is larger than [`FILE_LIMIT`] or is
    /// not UTF-8.
    pub fn read(path: &Path) -> Result<Self, String> {
        let wrong = |what: &str| format!("{} {what}", shown(path));
        let real = real(path).map_err(|error| wrong(&format!("cannot be looked at: {error}")))?;
        let text = match fs::metadata(&real) {
            Err(error) if is_absent(&error) => None,
            Err(error) => return Err(wrong(&format!("cannot be looked at: {error}"))),
            // Opening a pipe would wait for somebody to write to it.
            Ok(metadata) if !metadata.is_file() => return Err(wrong("is not a file")),
            Ok(_) => {
                let bytes =
                    bytes(&real).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
                if bytes.len() as u64 > FILE_LIMIT {
                    let limit = FILE_LIMIT >> 20;
                    return Err(wrong(&format!("is larger than {limit} MiB")));
                }
                Some(utf8(bytes).map_err(|what| wrong(&what))?)
            }
        };
        Ok(Self {
            path: real,
            asked: path.to_owned(),
            text,
        })
    }

    /// Whether there is a file.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.text.is_some()
    }

    /// What is in it; nothing where there is none. It may be secret.
    #[must_use]
    pub fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    /// Where its name leads, through links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path it was asked for by, for a sentence.
    #[must_use]
    pub fn shown(&self) -> String {
        shown(&self.asked)
    }

    /// Puts this text in the place of the file, or makes it, with its folders. Readers find the old
    /// file or the new one and nothing in between. Owner and permissions stay, and a copy of the
    /// old file is left beside it.
    ///
    /// # Errors
    /// A sentence with its path: it must not be written, could not be, or is not any more as it was
    /// read. Then it is as it was.
    pub fn replace(&self, text: &str) -> Result<Written, String> {
        let wrong = |error: io::Error| format!("{} cannot be written: {error}", self.shown());
        let folder = self.path.parent().unwrap_or(Path::new("."));
        self.check_permission(folder)?;
        let folders = make(folder).map_err(wrong)?;
        let mut written = Written {
            backup: None,
            folders,
        };
        let outcome = self.swap(folder, text, &mut written);
        if outcome.is_err() {
            if let Some(backup) = written.backup.take() {
                drop(fs::remove_file(backup));
            }
            remove_empty(&written.folders);
        }
        outcome?;
        flush_folder(folder);
        self.forget_old_backups(folder);
        Ok(written)
    }

    /// Removes the file.
    ///
    /// # Errors
    /// As [`replace`](Self::replace).
    pub fn remove(&self) -> Result<(), String> {
        self.check_unchanged()?;
        fs::remove_file(&self.path)
            .map_err(|error| format!("{} cannot be removed: {error}", self.shown()))
    }

    fn swap(&self, folder: &Path, text: &str, written: &mut Written) -> Result<(), String> {
        let wrong = |error: io::Error| format!("{} cannot be written: {error}", self.shown());
        let before = match &self.text {
            Some(_) => Some(fs::metadata(&self.path).map_err(wrong)?),
            None => None,
        };
        let file = filled(folder, text.as_bytes(), before.as_ref()).map_err(wrong)?;
        if let (Some(text), Some(metadata)) = (&self.text, &before) {
            let copy = filled(folder, text.as_bytes(), Some(metadata)).map_err(wrong)?;
            written.backup = Some(self.keep(copy, folder).map_err(wrong)?);
        }
        self.check_unchanged()?;
        let put = match self.text {
            Some(_) => file.persist(&self.path),
            None => file.persist_noclobber(&self.path),
        };
        put.map(drop).map_err(|error| wrong(error.error))
    }

    /// A file that its owner closed is not opened by way of its folder.
    fn check_permission(&self, folder: &Path) -> Result<(), String> {
        let is_closed =
            |path: &Path| fs::metadata(path).is_ok_and(|found| found.permissions().readonly());
        if self.exists() && is_closed(&self.path) {
            return Err(format!(
                "{} is read-only, perhaps because another program manages it",
                self.shown()
            ));
        }
        // Windows marks folders so for other reasons.
        if cfg!(unix) && is_closed(folder) {
            return Err(format!("the folder of {} is read-only", self.shown()));
        }
        Ok(())
    }

    fn check_unchanged(&self) -> Result<(), String> {
        let now = match bytes(&self.path) {
            Ok(bytes) => Some(bytes),
            Err(error) if is_absent(&error) => None,
            Err(error) => return Err(format!("{} cannot be read: {error}", self.shown())),
        };
        if now.as_deref() == self.text.as_deref().map(str::as_bytes) {
            return Ok(());
        }
        Err(format!(
            "{} was changed by another program in this moment, so nothing was written; try again",
            self.shown()
        ))
    }

    /// Gives a copy the next free name beside the file.
    fn keep(&self, copy: NamedTempFile, folder: &Path) -> io::Result<PathBuf> {
        let newest = self.backups(folder).into_iter().map(|(number, _)| number);
        let mut number = newest.max().unwrap_or(0);
        let mut copy = copy;
        loop {
            number += 1;
            let path = folder.join(self.backup_name(number));
            match copy.persist_noclobber(&path) {
                Ok(_) => return Ok(path),
                Err(taken) if taken.error.kind() == io::ErrorKind::AlreadyExists => {
                    copy = taken.file;
                }
                Err(other) => return Err(other.error),
            }
        }
    }

    fn backup_name(&self, number: u64) -> OsString {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!("{BACKUP}{number}"));
        name
    }

    /// Our copies of the file, with their numbers.
    fn backups(&self, folder: &Path) -> Vec<(u64, PathBuf)> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let number = |name: &str| name.rsplit_once(BACKUP)?.1.parse().ok();
        entries
            .filter_map(|entry| {
                let number = number(entry.file_name().to_str()?)?;
                (entry.file_name() == self.backup_name(number)).then(|| (number, entry.path()))
            })
            .collect()
    }

    fn forget_old_backups(&self, folder: &Path) {
        let mut backups = self.backups(folder);
        backups.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
        for (_, path) in backups.iter().skip(BACKUPS) {
            // One copy too many does no harm.
            drop(fs::remove_file(path));
        }
    }
}

/// Removes folders that are empty, the innermost first; others stay.
pub fn remove_empty(folders: &[PathBuf]) {
    for folder in folders.iter().rev() {
        if fs::remove_dir(folder).is_err() {
            return;
        }
    }
}

/// A path for a sentence.
#[must_use]
pub fn shown(path: &Path) -> String {
    sanitize(&path.to_string_lossy(), PATH_CHARS)
}

/// Where a name leads: links are followed, also one that leads to nothing yet, and a link among the
/// folders above.
fn real(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if is_absent(&error) => {}
        found => return found,
    }
    if let Ok(target) = fs::read_link(path) {
        let folder = path.parent().unwrap_or(Path::new("."));
        // A link to itself was an error above.
        return Ok(folder.join(target));
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(path.to_owned());
    };
    Ok(real(folder)?.join(name))
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// At most one byte more than a file may have.
fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "callers name the path in their errors"
    )]
    let file = fs::File::open(path)?;
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn utf8(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err("is in UTF-16, which its client cannot read; save it as UTF-8".to_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        let fine = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..fine).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        let column = before
            .rsplit(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let column = String::from_utf8_lossy(column).chars().count() + 1;
        format!("is not valid UTF-8 (line {line}, column {column})")
    })
}

/// Makes a folder and those above it; those that were not there before, the outermost first.
fn make(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut missing: Vec<PathBuf> = folder
        .ancestors()
        .take_while(|above| !above.as_os_str().is_empty() && !above.exists())
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    fs::create_dir_all(folder)?;
    Ok(missing)
}

/// A file in this folder that has no name of its own yet, with the owner and permissions of
/// another.
fn filled(folder: &Path, bytes: &[u8], like: Option<&Metadata>) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".mcp-bridge-").suffix(".tmp");
    #[cfg(unix)]
    let new = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666);
    #[cfg(unix)]
    if like.is_none() {
        builder.permissions(new);
    }
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    if let Some(like) = like {
        own_as(file.as_file(), like)?;
        file.as_file().set_permissions(like.permissions())?;
    }
    file.as_file().sync_all()?;
    Ok(file)
}

/// Gives a file to the owner of another: whoever works as root keeps users' files theirs.
#[cfg(unix)]
fn own_as(file: &fs::File, like: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};

    let metadata = file.metadata()?;
    if metadata.uid() != like.uid() {
        fchown(file, Some(like.uid()), None)?;
    }
    if metadata.gid() != like.gid() {
        // A group that one is not in cannot be given; the owner is what counts.
        drop(fchown(file, None, Some(like.gid())));
    }
    Ok(())
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
fn own_as(_file: &fs::File, _like: &Metadata) -> io::Result<()> {
    Ok(())
}

/// Makes the new name durable. The file is in its place already, so trouble is no reason to
/// believe that it is not.
fn flush_folder(folder: &Path) {
    // On Windows a folder cannot be opened as a file; there renaming is durable by itself.
    if cfg!(unix)
        && let Ok(folder) = OpenOptions::new().read(true).open(folder)
    {
        drop(folder.sync_all());
    }
}

#[cfg(test)]
mod tests;
