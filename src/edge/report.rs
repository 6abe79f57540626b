//! Files of a report: writing it, and what stands in a folder.
//!
//! In: names, sizes and who may read. Out: what is in the report (`commands`), the contents of
//! other files.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use crate::proto::text::sanitize;

/// Most entries of a folder that are listed.
pub const LISTED: usize = 100;

/// Longest name that is shown, in characters.
const NAME_CHARS: usize = 120;

/// Writes a whole file in the place of any other of that name, for its owner alone. After an error
/// the old one is as it was.
///
/// # Errors
/// What the system says.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    // Its error names what the user named; that of a temporary file names that.
    fs::metadata(folder)?;
    // A temporary file is its owner's alone, and so it stays.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The files in a folder, one line each: name, size, and on Unix who may do what. Says so where it
/// cannot be read.
#[must_use]
pub fn listing(folder: &Path) -> String {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return "(does not exist)\n".to_owned();
        }
        Err(error) => return format!("(cannot be read: {error})\n"),
    };
    let mut lines: Vec<String> = entries
        .filter_map(Result::ok)
        .map(|one| line(&one))
        .collect();
    lines.sort();
    let more = lines.len().saturating_sub(LISTED);
    lines.truncate(LISTED);
    let mut text = lines.concat();
    if text.is_empty() {
        text.push_str("(empty)\n");
    }
    if more > 0 {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "({more} more)");
    }
    text
}

fn line(entry: &fs::DirEntry) -> String {
    let name = sanitize(&entry.file_name().to_string_lossy(), NAME_CHARS);
    let Ok(metadata) = fs::symlink_metadata(entry.path()) else {
        return format!("{name}  (cannot be looked at)\n");
    };
    let kind = if metadata.is_dir() {
        "folder".to_owned()
    } else if metadata.is_file() {
        format!("{} bytes", metadata.len())
    } else {
        "no regular file".to_owned()
    };
    format!("{name}  {kind}{}\n", mode(&metadata))
}

#[cfg(unix)]
fn mode(metadata: &fs::Metadata) -> String {
    use std::os::unix::fs::PermissionsExt as _;

    format!("  {:04o}", metadata.permissions().mode() & 0o7777)
}

#[cfg(not(unix))]
fn mode(_: &fs::Metadata) -> String {
    String::new()
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "the tests look at what was written"
    )]

    use super::*;

    #[test]
    fn a_report_takes_the_place_of_an_earlier_one_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.md");
        fs::write(&path, "old, and much longer than the new one").unwrap();
        write(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert!(write(&folder.path().join("no/report.md"), "x").is_err());
    }

    #[test]
    fn folders_are_listed_without_contents() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(listing(folder.path()), "(empty)\n");
        assert_eq!(listing(&folder.path().join("no")), "(does not exist)\n");
        fs::write(folder.path().join("a_tokens.json"), "hunter2").unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        let text = listing(folder.path());
        assert!(text.starts_with("a_tokens.json  7 bytes"), "{text}");
        assert!(
            text.contains("\nb  folder") && !text.contains("hunter2"),
            "{text}"
        );
        for number in 0..2 * LISTED {
            fs::write(folder.path().join(format!("c{number:04}")), "").unwrap();
        }
        let text = listing(folder.path());
        assert_eq!(text.lines().count(), LISTED + 1);
        assert!(text.ends_with("(102 more)\n"), "{text}");
    }
}
