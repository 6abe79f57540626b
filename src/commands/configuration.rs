//! Clients' configuration files for the commands that change them.
//!
//! In: finding and reading them, one change after the other with a copy, a difference and a note
//! of what to put back. Out: what is changed (`install`, `uninstall`), how a text is edited
//! ([`crate::proto::clients`]), how a file is written ([`crate::edge::config_file`]).

use std::path::{Path, PathBuf};

use crate::edge::config_file::{self, ConfigFile, Written};
use crate::edge::log;
use crate::edge::store::{Before, Held, Installed, Installs, Store};
use crate::error::Failure;
use crate::proto::Level;
use crate::proto::clients::diff::diff;
use crate::proto::clients::edit::{self, Edit};
use crate::proto::clients::entry::{Found, Server, Shape};
use crate::proto::clients::places::{places, preferred};
use crate::proto::clients::restore::Change;
use crate::proto::clients::{Client, Scope, secrets};
use crate::proto::text::sanitize;
use crate::settings::PlaceSettings;

/// Name of this program's file.
const PROGRAM: &str = "mcp-bridge";

/// Longest name of an entry that is shown, in characters.
const NAME_CHARS: usize = 80;

/// Where a client may keep its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Whose file, and in which scope.
    pub(super) shape: Shape,
    /// The file.
    pub(super) path: PathBuf,
}

impl Place {
    /// Every place of these clients.
    pub(super) fn all(clients: &[Client], settings: &PlaceSettings) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for &client in clients {
            for &scope in &settings.scopes {
                for path in places(client, scope, settings.system, &settings.folders) {
                    let shape = Shape { client, scope };
                    // In the home directory, the project's file may be the user's.
                    if !found.iter().any(|place| place.path == path) {
                        found.push(Self { shape, path });
                    }
                }
            }
        }
        found
    }

    /// Where a new entry of this client belongs; `None`: it knows no such scope.
    pub(super) fn preferred(client: Client, settings: &PlaceSettings) -> Option<Self> {
        settings.scopes.iter().find_map(|&scope| {
            let (system, folders) = (settings.system, &settings.folders);
            let path = preferred(client, scope, system, folders, exists)?;
            let shape = Shape { client, scope };
            Some(Self { shape, path })
        })
    }

    /// Whether there is a file, or something else in its place.
    pub(super) fn exists(&self) -> bool {
        exists(&self.path)
    }

    /// The client's name, and the scope where it is not the usual one.
    pub(super) fn title(&self) -> String {
        let title = self.shape.client.title();
        match self.shape.scope {
            Scope::User => title.to_owned(),
            Scope::Project => format!("{title} (this project)"),
        }
    }
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// A file that was read, and its entries.
pub(super) struct Opened {
    /// Where it is.
    pub(super) place: Place,
    /// The file.
    pub(super) file: ConfigFile,
    /// Its entries.
    pub(super) entries: Vec<Found>,
}

impl Opened {
    /// Reads the file. None is as good as an empty one.
    ///
    /// # Errors
    /// It cannot be read or understood. It is left as it is.
    pub(super) fn read(place: &Place) -> Result<Self, Failure> {
        let untouched = "the file was left as it is; correct it or move it away, then try again";
        let file =
            ConfigFile::read(&place.path).map_err(|text| Failure::file(text).hint(untouched))?;
        let entries = edit::list(file.text(), place.shape).map_err(|problem| {
            let text = format!("{}: {problem}", file.shown());
            Failure::file(text).hint(untouched)
        })?;
        Ok(Self {
            place: place.clone(),
            file,
            entries,
        })
    }

    /// The entry of that name.
    pub(super) fn entry(&self, name: &str) -> Option<&Found> {
        self.entries.iter().find(|found| found.name == name)
    }

    /// The difference to another text, without what may be secret. `servers` are the entries that
    /// changed: of these, harmless arguments are shown.
    pub(super) fn difference(&self, text: &str, servers: &[&Server]) -> String {
        let mut shown = Vec::new();
        for server in servers {
            let command = [server.command.clone()];
            shown.extend(secrets::shown(&command));
            shown.extend(secrets::shown(&server.args));
            let names = server.args.iter().flat_map(|arg| secrets::variables(arg));
            let names = names.filter(|name| is_variable(name));
            shown.extend(names.map(|name| (name.to_owned(), name.to_owned())));
            if is_ours(server) {
                shown.push((server.command.clone(), server.command.clone()));
            }
        }
        diff(self.file.text(), text, &shown)
    }
}

/// Whether a text is the name of a variable, and nothing besides.
fn is_variable(text: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.chars().all(is_part)
}

/// Whether an entry starts this program.
pub(super) fn is_ours(server: &Server) -> bool {
    let name = server.command.rsplit(['/', '\\']).next();
    let name = name.unwrap_or_default().to_ascii_lowercase();
    name.strip_suffix(".exe").unwrap_or(&name) == PROGRAM
}

/// The name of an entry, for a sentence.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", sanitize(name, NAME_CHARS))
}

/// A word as it is typed into a shell.
pub(super) fn typed(word: &str) -> String {
    let marks = if cfg!(windows) { "-_./:\\" } else { "-_./:" };
    let is_plain = |letter: char| letter.is_alphanumeric() || marks.contains(letter);
    if word.chars().all(is_plain) {
        word.to_owned()
    } else if cfg!(windows) {
        format!("\"{word}\"")
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Where a file is now as it was.
pub(super) fn kept(backup: &Path) -> String {
    let path = config_file::shown(backup);
    format!("The file as it was is kept as {path}.")
}

/// What was changed so far, and the right to change more: nobody else does meanwhile.
pub(super) struct Journal {
    store: Store,
    installs: Installs,
    /// `None`: nothing is written.
    held: Option<Held>,
    changes: Vec<Installed>,
}

impl Journal {
    /// Waits for other processes that change configuration files, unless nothing is to be written.
    ///
    /// # Errors
    /// One of them does not come to its end.
    pub(super) fn open(settings: &PlaceSettings) -> Result<Self, Failure> {
        let store = Store::open(settings.base.clone());
        let installs = store.installs();
        let held = if settings.dry_run {
            None
        } else {
            Some(installs.lock()?)
        };
        let changes = installs.read();
        Ok(Self {
            store,
            installs,
            held,
            changes,
        })
    }

    /// Whether something is written.
    pub(super) fn writes(&self) -> bool {
        self.held.is_some()
    }

    /// The changes that were made in this file, the oldest first.
    pub(super) fn of(&self, file: &ConfigFile) -> Vec<Change> {
        let changes = self.changes.iter().filter(|change| is_in(change, file));
        changes
            .map(|change| Change {
                name: change.name.clone(),
                edit: change.edit(),
                made: change.made,
                old: change.old.clone().map(Server::from),
            })
            .collect()
    }

    /// Makes these changes, one after the other, and remembers them. Gives what was done besides;
    /// nothing where nothing is to be written.
    ///
    /// # Errors
    /// The file is as it was, and so is the list.
    pub(super) fn change(
        &mut self,
        opened: &Opened,
        edits: Vec<(String, Edit)>,
        text: &str,
    ) -> Result<Option<Written>, Failure> {
        let mut made = !opened.file.exists();
        let changes = edits.into_iter().map(|(name, edit)| Change {
            old: opened.entry(&name).and_then(|found| found.server.clone()),
            name,
            edit,
            made: std::mem::take(&mut made),
        });
        let mut all = self.of(&opened.file);
        all.extend(changes);
        self.put(opened, &all, text)
    }

    /// Writes the text, and remembers these changes of the file and no others.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub(super) fn put(
        &mut self,
        opened: &Opened,
        changes: &[Change],
        text: &str,
    ) -> Result<Option<Written>, Failure> {
        if !self.writes() {
            return Ok(None);
        }
        let before = self.changes.clone();
        let folders = self.folders(&opened.file);
        // What is to be put back is on disk before it is gone.
        self.remember(opened, changes, &folders)?;
        match opened.file.replace(text) {
            Ok(written) => {
                if !written.folders.is_empty() {
                    let folders = written.folders.iter().filter_map(|path| path.to_str());
                    let folders: Vec<String> = folders.map(str::to_owned).collect();
                    self.remember(opened, changes, &folders)?;
                }
                Ok(Some(written))
            }
            Err(text) => {
                self.changes = before;
                self.save()?;
                Err(Failure::file(text).hint("nothing was changed"))
            }
        }
    }

    /// Removes a file that was made here, with the folders that were made for it if they are empty.
    ///
    /// # Errors
    /// The file is as it was, and so is the list.
    pub(super) fn remove(&mut self, opened: &Opened) -> Result<(), Failure> {
        if !self.writes() {
            return Ok(());
        }
        let folders = self.folders(&opened.file);
        let removed = opened.file.remove();
        removed.map_err(|text| Failure::file(text).hint("nothing was changed"))?;
        let folders: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
        config_file::remove_empty(&folders);
        self.remember(opened, &[], &[])
    }

    /// Folders that were made for the file.
    fn folders(&self, file: &ConfigFile) -> Vec<String> {
        let mut changes = self.changes.iter().filter(|change| is_in(change, file));
        let made = changes.find(|change| change.made);
        made.map(|change| change.folders.clone())
            .unwrap_or_default()
    }

    fn remember(
        &mut self,
        opened: &Opened,
        changes: &[Change],
        folders: &[String],
    ) -> Result<(), Failure> {
        self.changes.retain(|change| !is_in(change, &opened.file));
        let Some(file) = opened.file.path().to_str() else {
            let text = "the path of the file is not valid UTF-8, so uninstall will take the entry \
                        out, and cannot put back what was in its place";
            log::say(Level::Warn, text);
            return self.save();
        };
        let shape = opened.place.shape;
        let scope = match shape.scope {
            Scope::User => "user",
            Scope::Project => "project",
        };
        self.changes.extend(changes.iter().map(|change| Installed {
            file: file.to_owned(),
            client: shape.client.name().to_owned(),
            scope: scope.to_owned(),
            name: change.name.clone(),
            made: change.made,
            folders: if change.made {
                folders.to_vec()
            } else {
                Vec::new()
            },
            start: change.edit.start,
            removed: change.edit.removed.clone(),
            inserted: change.edit.inserted.clone(),
            old: change.old.clone().map(Before::from),
        }));
        self.save()
    }

    fn save(&self) -> Result<(), Failure> {
        let saved = self.installs.write(&self.changes);
        for (level, text) in self.store.take_notes() {
            log::say(level, &text);
        }
        Ok(saved?)
    }
}

fn is_in(change: &Installed, file: &ConfigFile) -> bool {
    Path::new(&change.file) == file.path()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_typed_as_a_shell_reads_them() {
        for plain in ["plain-1.ä", "-x", "/usr/bin/mcp-bridge"] {
            assert_eq!(typed(plain), plain);
        }
        #[cfg(not(windows))]
        for (word, typed_word) in [
            ("my server", "'my server'"),
            ("a\"$b`", "'a\"$b`'"),
            ("it's", r"'it'\''s'"),
            (r"a\b", r"'a\b'"),
        ] {
            assert_eq!(typed(word), typed_word);
        }
        #[cfg(windows)]
        assert_eq!(typed(r"C:\my bin\x"), "\"C:\\my bin\\x\"");
    }
}
