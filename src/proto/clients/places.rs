//! Where each client keeps its configuration, on each system.
//!
//! In: folders, as facts. Out: looking whether a file is there (`edge`).

use std::path::PathBuf;

use super::{Client, Scope};

/// Families of operating systems that differ in where configurations are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
    /// Linux and the BSDs.
    Unix,
}

/// Folders that places depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders {
    /// The user's home.
    pub home: PathBuf,
    /// The present folder.
    pub project: PathBuf,
    /// `XDG_CONFIG_HOME`, if set and absolute.
    pub xdg_config_home: Option<PathBuf>,
    /// `APPDATA`, if set.
    pub app_data: Option<PathBuf>,
    /// `LOCALAPPDATA`, if set.
    pub local_app_data: Option<PathBuf>,
    /// `CLAUDE_CONFIG_DIR`, if set: where Claude Code keeps its files.
    pub claude_config_dir: Option<PathBuf>,
    /// `CODEX_HOME`, if set.
    pub codex_home: Option<PathBuf>,
}

/// The files in which a client may keep its entries, the usual one first: that is made where none
/// exists. Empty: the client knows no such scope.
#[must_use]
pub fn places(_client: Client, _scope: Scope, _system: System, _folders: &Folders) -> Vec<PathBuf> {
    unimplemented!()
}
