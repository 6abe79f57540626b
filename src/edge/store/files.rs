//! The store's files by name, on disk or, where the disk fails, in memory.
//!
//! In: which of the two, what is put aside, what a change looks like from outside. Out: what the
//! files say (`format`, `state`), whom they belong to (`guard`).

use std::collections::HashMap;
use std::fs::{self, DirBuilder, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

use super::guard::{self, Trouble};
use super::lock::MemoryLocks;
use super::notes::{Notes, shown};
use super::replace::{self, System};
use crate::proto::auth::limits::{CORRUPT_KEPT, STORED_FILE};
use crate::proto::failure::{Executed, Failure, Kind};

/// Name of the folder that is shared with `mcp-remote`.
pub const SHARED_FOLDER: &str = "mcp-remote-v1";
/// Name of our own folder.
const OWN_FOLDER: &str = "mcp-bridge";

/// Content that may hold secrets.
pub(super) type Bytes = Zeroizing<Vec<u8>>;

/// Which of the two folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Room {
    /// Shared with `mcp-remote`.
    Shared,
    /// Our own.
    Own,
}

impl Room {
    fn folder(self) -> &'static str {
        match self {
            Self::Shared => SHARED_FOLDER,
            Self::Own => OWN_FOLDER,
        }
    }
}

/// A content and the file that it was read from.
pub(super) struct Content {
    bytes: Bytes,
    mark: Option<Mark>,
}

impl Content {
    pub(super) fn text(&self) -> &[u8] {
        &self.bytes
    }
}

/// Tells one written file from the next. Only good for comparing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(Written);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Disk(Mark),
    Memory(u64),
}

/// Which file it is, and when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Mark {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(metadata),
            #[cfg(not(unix))]
            inode: 0,
        }
    }

    pub(super) fn at(path: &Path) -> Option<Self> {
        fs::symlink_metadata(path)
            .ok()
            .map(|metadata| Self::of(&metadata))
    }

    /// When the file was written, in Unix milliseconds; 0 if the system does not say.
    pub(super) fn written_at(self) -> u64 {
        let since = self.modified.map(|at| at.duration_since(UNIX_EPOCH));
        let since = since.and_then(Result::ok).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Why a folder gives no path.
enum NoFolder {
    /// It is not there yet.
    Absent,
    /// It cannot be used; a note says why.
    Unusable(String),
}

/// Files that could not be written.
#[derive(Default)]
struct Unwritten {
    files: HashMap<(Room, String), Kept>,
    count: u64,
}

/// What would be in such a file; nothing if it could not be removed.
struct Kept {
    bytes: Option<Bytes>,
    behind: Behind,
    number: u64,
}

/// What was on disk at the time.
#[derive(PartialEq, Eq)]
enum Behind {
    /// Nobody could look.
    Unseen,
    /// This file, or none. Once it is another one, another process wrote it later.
    File(Option<Mark>),
}

pub(super) struct Files {
    base: Option<PathBuf>,
    unwritten: Mutex<Unwritten>,
    /// Locks for as long as the disk gives none.
    pub(super) locks: MemoryLocks,
    pub(super) notes: Notes,
}

impl Files {
    pub(super) fn new(base: Option<PathBuf>) -> Self {
        Self {
            base,
            unwritten: Mutex::default(),
            locks: MemoryLocks::default(),
            notes: Notes::default(),
        }
    }

    /// Reads a file, up to one byte more than a file may have. What is not used is as good as
    /// absent, and a note says why.
    pub(super) fn read(&self, room: Room, name: &str) -> Option<Content> {
        let path = self.path(room, name);
        if let Some(bytes) = self.kept(room, name, path.as_deref(), |kept| kept.bytes.clone()) {
            return bytes.map(|bytes| Content { bytes, mark: None });
        }
        let path = path?;
        match read(&path) {
            Ok((content, closed)) => {
                if let Some(text) = closed {
                    self.notes.mended(Kind::StoreInsecure, &text);
                }
                Some(content)
            }
            Err(Trouble::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(Trouble::Io(error)) => {
                let text = format!("cannot read {}, which is not used: {error}", shown(&path));
                self.notes.warn(Kind::StoreUnwritable, &text);
                None
            }
            Err(Trouble::Insecure(text)) => {
                self.notes.warn(Kind::StoreInsecure, &text);
                None
            }
        }
    }

    /// Writes a file as a whole. If the disk fails it stays in memory, and a note says so.
    ///
    /// # Errors
    /// `limit_exceeded`.
    pub(super) fn write(&self, room: Room, name: &str, bytes: Bytes) -> Result<(), Failure> {
        if bytes.len() as u64 > STORED_FILE {
            let text = format!(
                "{name} would have {} bytes, more than the {STORED_FILE} that are kept",
                bytes.len()
            );
            return Err(Failure::new(Kind::LimitExceeded, Executed::No, text));
        }
        let folder = self.folder(room, true);
        let path = folder.ok().map(|folder| folder.join(name));
        let written = path.as_deref().is_some_and(|path| {
            let written = guard::replaceable(path)
                .and_then(|()| Ok(replace::replace(path, &bytes, &mut System)?));
            written
                .map_err(|trouble| self.warn(path, trouble, "write"))
                .is_ok()
        });
        if written {
            self.forget_kept(room, name);
        } else {
            self.keep(room, name, Some(bytes), path.as_deref());
        }
        Ok(())
    }

    /// Removes a file.
    ///
    /// # Errors
    /// Why not; for this process it is gone all the same.
    pub(super) fn remove(&self, room: Room, name: &str) -> Result<(), String> {
        let path = match self.folder(room, false) {
            Ok(folder) => folder.join(name),
            Err(why) => {
                self.forget_kept(room, name);
                return match why {
                    NoFolder::Unusable(text) if self.base.is_some() => Err(text),
                    _ => Ok(()),
                };
            }
        };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.keep(room, name, None, Some(&path));
                Err(format!("cannot remove {}: {error}", shown(&path)))
            }
            _ => {
                self.forget_kept(room, name);
                Ok(())
            }
        }
    }

    /// Puts aside a file that says nothing usable, unless it was replaced meanwhile.
    pub(super) fn set_aside(&self, room: Room, name: &str, content: &Content, fault: &str) {
        let Ok(folder) = self.folder(room, false) else {
            return;
        };
        let path = folder.join(name);
        let aside = folder.join(format!("{name}{ASIDE}{}", super::now()));
        if content.mark.is_none() || !take_away(&path, &aside, content.mark).unwrap_or(false) {
            let path = shown(&path);
            let text = format!("{path} {fault} and is not used");
            self.notes.warn(Kind::StoreCorrupt, &text);
            return;
        }
        let text = format!(
            "{} {fault} and is not used; it is kept as {}",
            shown(&path),
            shown(&aside)
        );
        self.notes.warn(Kind::StoreCorrupt, &text);
        let mut older: Vec<String> = self.names(room).unwrap_or_default();
        older.retain(|other| is_set_aside(other, name));
        older.sort_unstable();
        let excess = older.len().saturating_sub(CORRUPT_KEPT);
        for oldest in older.iter().take(excess) {
            drop(fs::remove_file(folder.join(oldest)));
        }
    }

    /// The names of all files in a folder, on disk and in memory.
    ///
    /// # Errors
    /// `store_insecure`, `store_unwritable`.
    pub(super) fn names(&self, room: Room) -> Result<Vec<String>, Failure> {
        let mut names: Vec<String> = self
            .unwritten()
            .files
            .iter()
            .filter(|((kept_in, _), kept)| *kept_in == room && kept.bytes.is_some())
            .map(|((_, name), _)| name.clone())
            .collect();
        let folder = match self.folder(room, false) {
            Ok(folder) => folder,
            Err(NoFolder::Unusable(text)) if self.base.is_some() => {
                return Err(Failure::new(Kind::StoreInsecure, Executed::No, text));
            }
            Err(_) => return Ok(names),
        };
        let entries = fs::read_dir(&folder).map_err(|error| {
            let text = format!("cannot look into {}: {error}", shown(&folder));
            Failure::new(Kind::StoreUnwritable, Executed::No, text)
        })?;
        let found = entries.flatten().map(|entry| entry.file_name());
        names.extend(found.filter_map(|name| name.into_string().ok()));
        Ok(names)
    }

    pub(super) fn stamp(&self, room: Room, name: &str) -> Option<Stamp> {
        let path = self.path(room, name);
        let kept = self.kept(room, name, path.as_deref(), |kept| {
            let stamp = Stamp(Written::Memory(kept.number));
            kept.bytes.is_some().then_some(stamp)
        });
        kept.unwrap_or_else(|| Some(Stamp(Written::Disk(Mark::at(path.as_deref()?)?))))
    }

    /// Whether the file was last written longer ago than this.
    pub(super) fn is_older(&self, room: Room, name: &str, age: Duration) -> bool {
        let mark = self.path(room, name).as_deref().and_then(Mark::at);
        let past = |mark: Mark| super::now().saturating_sub(mark.written_at());
        mark.is_some_and(|mark| u128::from(past(mark)) > age.as_millis())
    }

    /// A folder of the store, made if need be; `None` if it cannot be used.
    pub(super) fn usable(&self, room: Room) -> Option<PathBuf> {
        self.folder(room, true).ok()
    }

    /// Says why a file is not written or locked.
    pub(super) fn warn(&self, path: &Path, trouble: Trouble, what: &str) {
        match trouble {
            Trouble::Insecure(text) => self.notes.warn(Kind::StoreInsecure, &text),
            Trouble::Io(error) => {
                let path = shown(path);
                let text = format!("cannot {what} {path}: {error}");
                self.notes.warn_in_memory(Kind::StoreUnwritable, &text);
            }
        }
    }

    /// Where the file is, if its folder is there and can be used.
    fn path(&self, room: Room, name: &str) -> Option<PathBuf> {
        let folder = self.folder(room, false).ok()?;
        Some(folder.join(name))
    }

    fn folder(&self, room: Room, create: bool) -> Result<PathBuf, NoFolder> {
        let Some(base) = &self.base else {
            let text = "there is no home folder; name a folder in MCP_BRIDGE_CONFIG_DIR".to_owned();
            if create {
                self.notes.warn_in_memory(Kind::StoreUnwritable, &text);
            }
            return Err(NoFolder::Unusable(text));
        };
        let folder = base.join(room.folder());
        match prepare(base, &folder, create) {
            Ok(closed) => {
                for text in closed {
                    self.notes.mended(Kind::StoreInsecure, &text);
                }
                Ok(folder)
            }
            Err(Trouble::Io(error)) if !create && error.kind() == io::ErrorKind::NotFound => {
                Err(NoFolder::Absent)
            }
            Err(trouble) => {
                let (kind, text) = match trouble {
                    Trouble::Insecure(text) => (Kind::StoreInsecure, text),
                    Trouble::Io(error) => {
                        let text = format!("cannot use {}: {error}", shown(&folder));
                        (Kind::StoreUnwritable, text)
                    }
                };
                self.notes.warn_in_memory(kind, &text);
                Err(NoFolder::Unusable(text))
            }
        }
    }

    /// Looks at what is kept in memory in the place of a file, unless another process has written
    /// that file since.
    fn kept<T>(
        &self,
        room: Room,
        name: &str,
        path: Option<&Path>,
        look: impl FnOnce(&Kept) -> T,
    ) -> Option<T> {
        let mut unwritten = self.unwritten();
        let key = (room, name.to_owned());
        let kept = unwritten.files.get(&key)?;
        let now = path.map(|path| Behind::File(Mark::at(path)));
        if kept.behind == Behind::Unseen || now.is_none_or(|now| now == kept.behind) {
            return Some(look(kept));
        }
        unwritten.files.remove(&key);
        None
    }

    fn keep(&self, room: Room, name: &str, bytes: Option<Bytes>, path: Option<&Path>) {
        let mut unwritten = self.unwritten();
        unwritten.count += 1;
        let kept = Kept {
            bytes,
            behind: path.map_or(Behind::Unseen, |path| Behind::File(Mark::at(path))),
            number: unwritten.count,
        };
        unwritten.files.insert((room, name.to_owned()), kept);
    }

    fn forget_kept(&self, room: Room, name: &str) {
        self.unwritten().files.remove(&(room, name.to_owned()));
    }

    fn unwritten(&self) -> MutexGuard<'_, Unwritten> {
        self.unwritten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between a file's name and the time when it was put aside.
const ASIDE: &str = ".corrupt-";

/// Whether a name is that of a copy of this file that was put aside.
pub(super) fn is_set_aside(name: &str, of: &str) -> bool {
    name.strip_prefix(of)
        .is_some_and(|rest| rest.starts_with(ASIDE))
}

/// Renames the file if it is the one with this mark; whether it was.
pub(super) fn take_away(path: &Path, to: &Path, mark: Option<Mark>) -> io::Result<bool> {
    if Mark::at(path) != mark {
        return Ok(false);
    }
    fs::rename(path, to)?;
    if Mark::at(to) == mark {
        return Ok(true);
    }
    // Another process replaced it in between: back with it, unless there is a still newer one.
    if fs::hard_link(to, path).is_ok() {
        fs::remove_file(to)?;
    }
    Ok(false)
}

/// Makes the folders if need be, and checks them; sentences about those that were open to others.
fn prepare(base: &Path, folder: &Path, create: bool) -> Result<Vec<String>, Trouble> {
    if create {
        make(base)?;
    }
    let base_closed = guard::base(base)?;
    if create {
        make(folder)?;
    }
    let folder_closed = guard::folder(folder)?;
    Ok(base_closed.into_iter().chain(folder_closed).collect())
}

/// Makes a folder and those above it, for the owner alone.
fn make(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Reads at most one byte more than a file may have.
fn read(path: &Path) -> guard::Guarded<Content> {
    let (file, closed) = guard::open(path)?;
    let mark = Mark::of(&file.metadata()?);
    // Room for all of it, so that nothing is left behind where the buffer would have grown.
    let room = mark.length.min(STORED_FILE + 1);
    let mut bytes = Bytes::new(Vec::with_capacity(usize::try_from(room).unwrap_or(0) + 1));
    file.take(STORED_FILE + 1).read_to_end(&mut bytes)?;
    let mark = Some(mark);
    Ok((Content { bytes, mark }, closed))
}
