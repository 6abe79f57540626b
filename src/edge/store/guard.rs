//! Whether a file or folder is the user's own and closed to others.
//!
//! In: owners, modes, links. Out: what is done without a store (`files`). Where a system has no
//! such modes, the user's profile folder protects what is in it.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

use super::notes::shown;

/// Why a file or folder is not used.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A sentence: others can change it, or it is not what it should be. With the way out.
    Insecure(String),
    /// The system says no.
    Io(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What was opened, and a sentence if it had to be closed to others first.
pub(super) type Guarded<T> = Result<(T, Option<String>), Trouble>;

/// Checks the folder that everything lies in and those above it. It may be a link, and it may
/// serve other purposes too, so its mode is changed only where it has the default name; a sentence
/// if it was.
pub(super) fn base(path: &Path) -> Result<Option<String>, Trouble> {
    system::owner_is_trusted(&fs::symlink_metadata(path)?, path)?;
    let real = fs::canonicalize(path)?;
    for folder in real.ancestors() {
        let metadata = fs::symlink_metadata(folder)?;
        if !metadata.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory).into());
        }
        system::owner_is_trusted(&metadata, folder)?;
        system::is_not_for_all(&metadata, folder)?;
    }
    let is_default = path.file_name().is_some_and(|name| name == DEFAULT_FOLDER);
    let metadata = fs::symlink_metadata(&real)?;
    if !is_default || system::owner_is_me(&metadata, &real).is_err() {
        return Ok(None);
    }
    system::close(&metadata, &real, |mode| fs::set_permissions(&real, mode))
}

/// Last part of the default folder.
const DEFAULT_FOLDER: &str = ".mcp-auth";

/// Checks a folder of the store: no link, the user's own, for nobody else; a sentence if it had to
/// be closed to others first.
pub(super) fn folder(path: &Path) -> Result<Option<String>, Trouble> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Err(insecure(path, "is not a folder", "move it away"));
    }
    system::owner_is_me(&metadata, path)?;
    system::is_not_for_others(&metadata, path)?;
    system::close(&metadata, path, |mode| fs::set_permissions(path, mode))
}

/// Opens a file of the store for reading.
pub(super) fn open(path: &Path) -> Guarded<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    let (file, closed) = checked(path, &options)?;
    system::has_one_name(&file.metadata()?, path)?;
    Ok((file, closed))
}

/// Opens a lease for reading. While it is created it has a second name.
pub(super) fn open_lease(path: &Path) -> Result<File, Trouble> {
    let mut options = OpenOptions::new();
    options.read(true);
    Ok(checked(path, &options)?.0)
}

/// Opens a lock file, which is created if need be.
pub(super) fn open_lock(path: &Path) -> Result<File, Trouble> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let (file, _) = checked(path, &options)?;
    system::has_one_name(&file.metadata()?, path)?;
    Ok(file)
}

/// Whether what has this name may be replaced: nothing, or a file of the user.
pub(super) fn replaceable(path: &Path) -> Result<(), Trouble> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => {
            is_file(&metadata, path)?;
            system::owner_is_me(&metadata, path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn checked(path: &Path, options: &OpenOptions) -> Guarded<File> {
    if cfg!(not(unix)) && fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        return Err(insecure(path, "is a symbolic link", "remove it"));
    }
    let opened = system::without_links(options).open(path);
    let file = opened.map_err(|error| match fs::symlink_metadata(path) {
        Ok(metadata) => is_file(&metadata, path).err().unwrap_or(error.into()),
        Err(_) => error.into(),
    })?;
    let metadata = file.metadata()?;
    is_file(&metadata, path)?;
    system::owner_is_me(&metadata, path)?;
    system::is_not_for_others(&metadata, path)?;
    let closed = system::close(&metadata, path, |mode| file.set_permissions(mode))?;
    Ok((file, closed))
}

fn is_file(metadata: &Metadata, path: &Path) -> Result<(), Trouble> {
    if metadata.is_symlink() {
        return Err(insecure(path, "is a symbolic link", "remove it"));
    }
    if !metadata.is_file() {
        return Err(insecure(path, "is not a regular file", "remove it"));
    }
    Ok(())
}

fn insecure(path: &Path, fault: &str, way_out: &str) -> Trouble {
    let path = shown(path);
    Trouble::Insecure(format!("{path} {fault} and is not used; {way_out}"))
}

#[cfg(unix)]
mod system {
    use std::fs::{Metadata, OpenOptions, Permissions};
    use std::io;
    use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
    use std::path::Path;

    use rustix::fs::OFlags;
    use rustix::process::{getegid, geteuid};

    use super::{Trouble, insecure};
    use crate::edge::store::notes::shown;

    /// As whom files of users appear that a Linux user namespace has no number for, root's among
    /// them.
    const NOBODY: u32 = 65_534;
    const WRITABLE_BY_ALL: u32 = 0o002;
    const WRITABLE_BY_GROUP: u32 = 0o020;
    const STICKY: u32 = 0o1000;
    const OPEN_TO_OTHERS: u32 = 0o077;

    pub(super) fn owner_is_trusted(metadata: &Metadata, path: &Path) -> Result<(), Trouble> {
        let is_system =
            metadata.uid() == 0 || cfg!(target_os = "linux") && metadata.uid() == NOBODY;
        if is_system {
            return Ok(());
        }
        owner_is_me(metadata, path)
    }

    pub(super) fn owner_is_me(metadata: &Metadata, path: &Path) -> Result<(), Trouble> {
        let me = geteuid().as_raw();
        if metadata.uid() == me {
            return Ok(());
        }
        let fault = format!("belongs to another user (uid {})", metadata.uid());
        let way_out = "run chown on it, or name another folder in MCP_BRIDGE_CONFIG_DIR";
        Err(insecure(path, &fault, way_out))
    }

    /// A folder above the store: whoever may rename things in it may replace the store.
    pub(super) fn is_not_for_all(metadata: &Metadata, path: &Path) -> Result<(), Trouble> {
        let mode = metadata.mode();
        if mode & WRITABLE_BY_ALL == 0 || mode & STICKY != 0 {
            return Ok(());
        }
        let way_out = format!("run: chmod o-w {}", shown(path));
        Err(insecure(path, "can be written to by anybody", &way_out))
    }

    /// A group that is the user's own counts as the user: many systems give each user one, and
    /// let it write to everything new.
    pub(super) fn is_not_for_others(metadata: &Metadata, path: &Path) -> Result<(), Trouble> {
        let mode = metadata.mode();
        let is_own_group = metadata.gid() == getegid().as_raw();
        if mode & WRITABLE_BY_ALL == 0 && (mode & WRITABLE_BY_GROUP == 0 || is_own_group) {
            return Ok(());
        }
        let way_out = format!(
            "look at what is in it, then run: chmod go-rwx {}",
            shown(path)
        );
        Err(insecure(path, "can be written to by others", &way_out))
    }

    /// A file with two names may be one that somebody wants to see overwritten. None at all means
    /// that it was replaced a moment ago.
    pub(super) fn has_one_name(metadata: &Metadata, path: &Path) -> Result<(), Trouble> {
        if metadata.nlink() <= 1 {
            return Ok(());
        }
        let way_out = "remove it, or its other name";
        Err(insecure(path, "has a second name (a hard link)", way_out))
    }

    /// Takes every right from others; a sentence if they had any.
    pub(super) fn close(
        metadata: &Metadata,
        path: &Path,
        set: impl FnOnce(Permissions) -> io::Result<()>,
    ) -> Result<Option<String>, Trouble> {
        let mode = metadata.mode() & 0o7777;
        if mode & OPEN_TO_OTHERS == 0 {
            return Ok(None);
        }
        set(Permissions::from_mode(mode & !OPEN_TO_OTHERS))?;
        let path_shown = shown(path);
        let still_open =
            std::fs::metadata(path).is_ok_and(|metadata| metadata.mode() & OPEN_TO_OTHERS != 0);
        if still_open {
            let way_out = "name a folder on another file system in MCP_BRIDGE_CONFIG_DIR";
            return Err(insecure(path, "cannot be closed to others", way_out));
        }
        Ok(Some(format!(
            "{path_shown} was open to other users; it is closed to them now"
        )))
    }

    /// No link is followed, and no pipe waited for.
    pub(super) fn without_links(options: &OpenOptions) -> OpenOptions {
        let mut options = options.clone();
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        options.mode(0o600).custom_flags(flags.bits().cast_signed());
        options
    }
}

#[cfg(not(unix))]
mod system {
    use std::fs::{Metadata, OpenOptions, Permissions};
    use std::io;
    use std::path::Path;

    use super::Trouble;

    type Checked = Result<(), Trouble>;

    pub(super) fn owner_is_trusted(_metadata: &Metadata, _path: &Path) -> Checked {
        Ok(())
    }

    pub(super) fn owner_is_me(_metadata: &Metadata, _path: &Path) -> Checked {
        Ok(())
    }

    pub(super) fn is_not_for_all(_metadata: &Metadata, _path: &Path) -> Checked {
        Ok(())
    }

    pub(super) fn is_not_for_others(_metadata: &Metadata, _path: &Path) -> Checked {
        Ok(())
    }

    pub(super) fn has_one_name(_metadata: &Metadata, _path: &Path) -> Checked {
        Ok(())
    }

    pub(super) fn close(
        _metadata: &Metadata,
        _path: &Path,
        _set: impl FnOnce(Permissions) -> io::Result<()>,
    ) -> Result<Option<String>, Trouble> {
        Ok(None)
    }

    pub(super) fn without_links(options: &OpenOptions) -> OpenOptions {
        options.clone()
    }
}
