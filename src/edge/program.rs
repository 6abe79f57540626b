//! Where this program lies, for others to start it.
//!
//! In: its absolute path, by the name that stays. Out: where that path is written down.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// Folders of package runners, which they empty: npm's `npx`
/// (<https://docs.npmjs.com/cli/commands/npx>), `pnpm dlx`, `bunx`, and the place where macOS puts
/// programs that were not moved after the download.
const FLEETING: [&str; 4] = ["_npx", "dlx", "bunx", "AppTranslocation"];

/// The absolute path of the running program. Where a folder of `search` (the value of `PATH`) has
/// the same file, perhaps as a link, it is the path there: package managers keep that link, and
/// replace what it leads to.
///
/// # Errors
/// The system does not say.
pub fn path(search: Option<&OsStr>) -> io::Result<PathBuf> {
    let running = std::env::current_exe()?;
    let (Some(name), Ok(real)) = (running.file_name(), running.canonicalize()) else {
        return Ok(running);
    };
    let folders = search.map(std::env::split_paths).into_iter().flatten();
    let mut found = folders
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name));
    let same = found.find(|path| path.canonicalize().is_ok_and(|path| path == real));
    Ok(same.unwrap_or(running))
}

/// Why a program at this path will not stay there, to follow its path in a sentence; `None`: it
/// may.
#[must_use]
pub fn fleeting(path: &Path) -> Option<&'static str> {
    let parts: Vec<&str> = path
        .components()
        .filter_map(|part| part.as_os_str().to_str())
        .collect();
    let is_runner = |part: &&str| FLEETING.contains(part) || part.starts_with("bunx-");
    let is_build = |pair: &[&str]| matches!(pair, ["target", "debug" | "release"]);
    if parts.iter().any(is_runner) {
        Some("lies in the cache of a package runner, which is emptied from time to time")
    } else if path.starts_with(std::env::temp_dir()) {
        Some("lies in the folder for temporary files, which is emptied from time to time")
    } else if parts.windows(2).any(is_build) {
        Some("lies in a build folder, which the next build changes")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_do_not_last_are_known() {
        for (path, words) in [
            ("/home/me/.npm/_npx/1a/node_modules/x/mcp-bridge", "runner"),
            ("/home/me/.cache/pnpm/dlx/1a/mcp-bridge", "runner"),
            ("/var/x/bunx-501-mcp-bridge@latest/mcp-bridge", "runner"),
            ("/src/mcp-bridge/target/release/mcp-bridge", "build"),
        ] {
            let why = fleeting(Path::new(path)).unwrap_or_default();
            assert!(why.contains(words), "{path}: {why}");
        }
        let temporary = std::env::temp_dir().join("mcp-bridge");
        assert!(fleeting(&temporary).is_some_and(|why| why.contains("temporary")));
        for path in [
            "/usr/local/bin/mcp-bridge",
            "/home/me/.cargo/bin/mcp-bridge",
            "/home/me/target/mcp-bridge",
        ] {
            assert_eq!(fleeting(Path::new(path)), None, "{path}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_search_path_is_preferred() {
        let running = path(None).unwrap();
        assert!(running.is_absolute());
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join(running.file_name().unwrap());
        std::os::unix::fs::symlink(&running, &link).unwrap();
        let search = std::env::join_paths([Path::new("relative"), folder.path()]).unwrap();
        assert_eq!(path(Some(&search)).unwrap(), link);
        std::fs::remove_file(&link).unwrap();
        // Another program of that name is not this one.
        std::os::unix::fs::symlink("/bin/sh", &link).unwrap();
        assert_eq!(path(Some(&search)).unwrap(), running);
    }
}
