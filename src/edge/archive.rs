//! Writing a zip archive, whole or not at all.
//!
//! In: files and texts, their names in the archive, which of them can be executed. Out: what they
//! are for (`proto::mcpb`, `commands`).

use std::fs::File;
use std::io::{self, Cursor, Seek, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, System, ZipWriter};

/// One file of an archive.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its path in the archive, with `/` between the parts.
    pub name: String,
    /// What is in it.
    pub content: Content,
    /// Whether it may be executed: mode 0755 instead of 0644.
    pub executable: bool,
}

/// What is in a file of an archive.
#[derive(Clone, Debug)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What is in this file.
    Copy(PathBuf),
}

/// An archive that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its size, in bytes.
    pub bytes: u64,
    /// There was a file of that name, and it is gone.
    pub replaced: bool,
}

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A file that belongs into it cannot be read.
    #[error("{} cannot be read: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It cannot be written.
    #[error("{} cannot be written: {error}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Writes the archive into the place of what is there, once it is complete. The same entries give
/// the same bytes, at any time and on any system.
///
/// # Errors
/// A file cannot be read or written. What was at `path` is still there.
pub fn write(path: &Path, entries: &[Entry]) -> Result<Written, Problem> {
    let fault = |error| {
        let path = path.to_owned();
        Problem::Write { path, error }
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut file = beside(folder.unwrap_or(Path::new("."))).map_err(fault)?;
    // In memory first: a writer that cannot finish its archive says so on stderr by itself.
    let mut archive = Cursor::new(Vec::new());
    zip(&mut archive, entries, &fault)?;
    file.write_all(archive.get_ref()).map_err(fault)?;
    file.as_file().sync_all().map_err(fault)?;
    let bytes = file.as_file().metadata().map_err(fault)?.len();
    let replaced = path.try_exists().unwrap_or_default();
    file.persist(path).map_err(|problem| fault(problem.error))?;
    Ok(Written { bytes, replaced })
}

/// A file with a name of its own, with the permissions that other new files get.
fn beside(folder: &Path) -> io::Result<NamedTempFile> {
    // Its error speaks of the folder, and not of a name that nobody gave.
    folder.metadata()?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".mcp-bridge-").suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    // Its errors name the file that was to be, which nobody asked for.
    let made = builder.tempfile_in(folder);
    made.map_err(|error| error.kind().into())
}

fn zip(
    target: impl Write + Seek,
    entries: &[Entry],
    fault: &impl Fn(io::Error) -> Problem,
) -> Result<(), Problem> {
    let mut writer = ZipWriter::new(target);
    for entry in entries {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::DEFAULT)
            .system(System::Unix)
            .unix_permissions(if entry.executable { 0o755 } else { 0o644 });
        writer
            .start_file(&*entry.name, options)
            .map_err(|error| fault(error.into()))?;
        match &entry.content {
            Content::Bytes(bytes) => writer.write_all(bytes).map_err(fault)?,
            Content::Copy(path) => copy(path, &mut writer, fault)?,
        }
    }
    writer.finish().map_err(|error| fault(error.into()))?;
    Ok(())
}

/// Copies a file, and knows which side is at fault.
fn copy(
    path: &Path,
    target: &mut impl Write,
    fault: &impl Fn(io::Error) -> Problem,
) -> Result<(), Problem> {
    const CHUNK: usize = 64 << 10;
    let unreadable = |error| {
        let path = path.to_owned();
        Problem::Read { path, error }
    };
    #[expect(clippy::disallowed_methods, reason = "errors name the path")]
    let mut file = File::open(path).map_err(unreadable)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = io::Read::read(&mut file, &mut chunk).map_err(unreadable)?;
        match chunk.get(..count) {
            None | Some([]) => return Ok(()),
            Some(bytes) => target.write_all(bytes).map_err(fault)?,
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests read the files they write"
)]
mod tests {
    use std::fs;
    use std::io::Read as _;

    use super::*;

    fn entries(program: &Path) -> [Entry; 2] {
        [
            Entry {
                name: "manifest.json".to_owned(),
                content: Content::Bytes(b"{}".to_vec()),
                executable: false,
            },
            Entry {
                name: "server/program".to_owned(),
                content: Content::Copy(program.to_owned()),
                executable: true,
            },
        ]
    }

    #[test]
    fn files_keep_name_content_and_mode() {
        let folder = tempfile::tempdir().unwrap();
        let (program, path) = (folder.path().join("program"), folder.path().join("a.mcpb"));
        let content = b"0123456789".repeat(50_000);
        fs::write(&program, &content).unwrap();
        let written = write(&path, &entries(&program)).unwrap();
        assert_eq!(written.bytes, fs::metadata(&path).unwrap().len());
        assert!(written.bytes < 50_000, "compressed");
        assert!(!written.replaced);
        let mut archive = zip::ZipArchive::new(File::open(&path).unwrap()).unwrap();
        let names: Vec<_> = archive
            .file_names()
            .map(|name| name.unwrap().into_owned())
            .collect();
        assert_eq!(names, ["manifest.json", "server/program"]);
        for (name, mode, expected) in [
            ("manifest.json", 0o644, &b"{}"[..]),
            ("server/program", 0o755, &content),
        ] {
            let mut file = archive.by_name(name).unwrap();
            assert_eq!(
                file.unix_mode().map(|mode| mode & 0o777),
                Some(mode),
                "{name}"
            );
            let mut read = Vec::new();
            file.read_to_end(&mut read).unwrap();
            assert!(read == expected, "{name}");
        }
    }

    #[test]
    fn the_same_entries_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        let [one, other] = ["one.mcpb", "other.mcpb"].map(|name| folder.path().join(name));
        fs::write(&program, "x").unwrap();
        write(&one, &entries(&program)).unwrap();
        fs::write(&program, "x").unwrap();
        write(&other, &entries(&program)).unwrap();
        assert_eq!(fs::read(one).unwrap(), fs::read(other).unwrap());
    }

    #[test]
    fn a_failure_leaves_what_was_there_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mcpb");
        fs::write(&path, "old").unwrap();
        let missing = folder.path().join("missing");
        let problem = write(&path, &entries(&missing)).unwrap_err().to_string();
        assert!(problem.contains("missing cannot be read"), "{problem}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(&missing, "x").unwrap();
        assert!(write(&path, &entries(&missing)).unwrap().replaced);
        assert_ne!(fs::read(&path).unwrap(), b"old");
        let nowhere = folder.path().join("no/such/a.mcpb");
        let problem = write(&nowhere, &entries(&missing)).unwrap_err().to_string();
        assert!(problem.contains("a.mcpb cannot be written"), "{problem}");
        let below_a_file = missing.join("a.mcpb");
        let problem = write(&below_a_file, &entries(&missing));
        let problem = problem.unwrap_err().to_string();
        assert!(problem.contains("a.mcpb cannot be written"), "{problem}");
        assert!(!problem.contains(".mcp-bridge-"), "{problem}");
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_it_as_they_may_other_new_files() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let [plain, path] = ["plain", "a.mcpb"].map(|name| folder.path().join(name));
        fs::write(&plain, "x").unwrap();
        write(&path, &entries(&plain)).unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(path), mode(plain));
    }
}
