//! What was changed in clients' configuration files, so that it can be put back.
//!
//! In: a list in our own folder, which the user alone can read, for what was replaced may hold
//! secrets; a lock for whoever changes such files. Out: the files themselves
//! (`edge::config_file`), what is put back (`commands`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::files::{Content, Room};
use super::lock::Keys;
use super::{Held, Store, pretty};
use crate::proto::auth::limits::STORED_FILE;
use crate::proto::clients::edit::Edit;
use crate::proto::clients::entry::Server;
use crate::proto::failure::Failure;

/// Name of the file, and of its lock.
const KEY: &str = "installs";
const FILE: &str = "installs.json";

/// Most changes that are remembered; the oldest are forgotten first.
const KEPT: usize = 200;

/// One change of a configuration file.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Installed {
    /// The file, by its real path.
    pub file: String,
    /// Name of the client, as on the command line.
    pub client: String,
    /// `user` or `project`.
    pub scope: String,
    /// Name of the entry.
    pub name: String,
    /// There was no file before.
    pub made: bool,
    /// Folders that were made for it, the outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<String>,
    /// Where the change begins, in bytes.
    pub start: usize,
    /// What stood there. It may be secret.
    pub removed: String,
    /// What was written there. It may be secret.
    pub inserted: String,
    /// What the entry was before; `None`: there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Before>,
}

/// An entry as it was. Arguments and values of variables may be secret.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Before {
    /// The program.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables set for it.
    pub env: Vec<(String, String)>,
}

impl From<Server> for Before {
    fn from(server: Server) -> Self {
        let Server { command, args, env } = server;
        Self { command, args, env }
    }
}

impl From<Before> for Server {
    fn from(before: Before) -> Self {
        let Before { command, args, env } = before;
        Self { command, args, env }
    }
}

impl Installed {
    /// The change of the text.
    #[must_use]
    pub fn edit(&self) -> Edit {
        Edit {
            start: self.start,
            removed: self.removed.clone(),
            inserted: self.inserted.clone(),
        }
    }
}

impl fmt::Debug for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installed")
            .field("file", &self.file)
            .field("client", &self.client)
            .field("scope", &self.scope)
            .field("name", &self.name)
            .field("made", &self.made)
            .finish_non_exhaustive()
    }
}

/// The list of changes. Cheap to make; nothing is read before it is asked for.
#[derive(Clone, Debug)]
pub struct Installs {
    store: Store,
}

impl Store {
    /// The list of changes of clients' configuration files.
    #[must_use]
    pub fn installs(&self) -> Installs {
        Installs {
            store: self.clone(),
        }
    }
}

impl Installs {
    /// Waits until no other process changes configuration files, for ten seconds at most.
    ///
    /// # Errors
    /// `lock_timeout` with the process that holds the lock; `store_insecure` when something else
    /// lies where the lock should be.
    pub fn lock(&self) -> Result<Held, Failure> {
        let keys = Keys {
            files: &self.store.files,
            key: KEY,
        };
        keys.hold("files")
    }

    /// Every change, the oldest first. What cannot be read is as good as absent, and a note of the
    /// store says why.
    #[must_use]
    pub fn read(&self) -> Vec<Installed> {
        let files = &self.store.files;
        let Some(content) = files.read(Room::Own, FILE) else {
            return Vec::new();
        };
        parse(&content).unwrap_or_else(|fault| {
            files.set_aside(Room::Own, FILE, &content, fault);
            Vec::new()
        })
    }

    /// Puts this list in the place of the old one. The oldest changes are left out where they are
    /// too many or too large to be kept.
    ///
    /// # Errors
    /// `limit_exceeded` when one alone is too large.
    pub fn write(&self, changes: &[Installed]) -> Result<(), Failure> {
        let mut kept = changes
            .get(changes.len().saturating_sub(KEPT)..)
            .unwrap_or(changes);
        let mut text = pretty(&kept);
        while text.len() as u64 > STORED_FILE && kept.len() > 1 {
            kept = kept.get(1..).unwrap_or_default();
            text = pretty(&kept);
        }
        self.store.files.write(Room::Own, FILE, text)
    }
}

fn parse(content: &Content) -> Result<Vec<Installed>, &'static str> {
    super::readable(content.text())?;
    serde_json::from_slice(content.text()).map_err(|_| "is not a list of changes")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the tests look into the file")]

    use super::*;

    fn change(name: &str, removed: String) -> Installed {
        Installed {
            file: "/home/me/config.json".to_owned(),
            client: "cursor".to_owned(),
            scope: "user".to_owned(),
            name: name.to_owned(),
            start: 7,
            removed,
            inserted: "new".to_owned(),
            ..Installed::default()
        }
    }

    #[test]
    fn changes_come_back_as_they_were_and_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base");
        let installs = Store::open(Some(base.clone())).installs();
        assert_eq!(installs.read(), Vec::new());
        let changes = vec![
            change("a", "CANARY \u{0}\r\n".to_owned()),
            change("b", String::new()),
        ];
        installs.write(&changes).unwrap();
        assert_eq!(installs.read(), changes);
        assert!(!format!("{changes:?}").contains("CANARY"));
        // Sign-ins are listed without it.
        assert!(installs.store.list().unwrap().is_empty());
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            let metadata = std::fs::metadata(base.join("mcp-bridge/installs.json")).unwrap();
            assert_eq!(metadata.mode() & 0o777, 0o600);
        }
        installs.write(&[]).unwrap();
        assert_eq!(installs.read(), Vec::new());
    }

    #[test]
    fn the_list_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let installs = Store::open(Some(folder.path().join("base"))).installs();
        let many: Vec<_> = (0..KEPT + 50)
            .map(|number| change(&number.to_string(), String::new()))
            .collect();
        installs.write(&many).unwrap();
        let read = installs.read();
        assert_eq!(read.len(), KEPT);
        assert_eq!(read.last(), many.last());
        let large: Vec<_> = (0..5)
            .map(|number| change(&number.to_string(), "x".repeat(400 << 10)))
            .collect();
        installs.write(&large).unwrap();
        assert_eq!(installs.read(), large[3..]);
        let huge = [change("huge", "x".repeat(2 << 20))];
        installs.write(&huge).unwrap_err();
        assert_eq!(installs.read(), large[3..]);
    }

    #[test]
    fn a_list_of_something_else_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base");
        let store = Store::open(Some(base.clone()));
        store.installs().write(&[]).unwrap();
        std::fs::write(base.join("mcp-bridge/installs.json"), "{\"a\": 1}").unwrap();
        assert_eq!(store.installs().read(), Vec::new());
        let notes = store.take_notes();
        assert!(
            notes.iter().any(|(_, text)| text.contains("is kept as")),
            "{notes:?}"
        );
    }

    #[test]
    fn one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let base = Some(folder.path().join("base"));
        let held = Store::open(base.clone()).installs().lock().unwrap();
        let other = std::thread::spawn(move || Store::open(base).installs().lock().is_ok());
        drop(held);
        assert!(other.join().unwrap());
    }
}
