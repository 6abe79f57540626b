//! A home directory of its own for every test.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A temporary home, removed when dropped. Several bridges may share one.
#[derive(Debug)]
pub(crate) struct Home(TempDir);

impl Home {
    /// An empty home.
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// What `MCP_REMOTE_CONFIG_DIR` is set to.
    pub(crate) fn config_dir(&self) -> PathBuf {
        self.path().join(".mcp-auth")
    }

    /// Writes a file below the home, with the folders it needs, and gives its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).expect("a folder below a temporary directory");
        }
        std::fs::write(&path, content).expect("a file below a temporary directory");
        path
    }

    /// Reads a file below the home.
    pub(crate) fn read(&self, name: &str) -> String {
        let path = self.path().join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
    }
}
