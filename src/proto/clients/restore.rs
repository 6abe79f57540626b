//! Putting a configuration file back to what it was before an entry was written.
//!
//! In: the changes that were made, undone in an order that leaves the others standing. Out: single
//! changes ([`super::edit`]), where they are remembered (`edge`).

use super::edit::{self, Edit};
use super::entry::{Found, Server, Shape};
use super::problem::Problem;

/// Shortest text that a change is found by alone, in bytes.
const TELLING: usize = 16;

/// One change of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Name of the entry.
    pub name: String,
    /// What was done.
    pub edit: Edit,
    /// There was no file before.
    pub made: bool,
    /// What the entry was before; `None`: there was none.
    pub old: Option<Server>,
}

/// A file without the changes of one entry.
#[derive(Clone, PartialEq, Eq)]
pub struct Restored {
    /// Its text.
    pub text: String,
    /// The changes that are still in it, the oldest first.
    pub changes: Vec<Change>,
    /// What it was before the first change was nothing at all: there was no file.
    pub was_absent: bool,
}

/// Undoes every change of the entry `name`, byte for byte. `changes` are all that were made in this
/// file, the oldest first. Where later changes of other entries lie across them, those are undone
/// as well and made anew. `None`: there are none, or the text has changed where they were made.
#[must_use]
pub fn restore(text: &str, shape: Shape, name: &str, changes: &[Change]) -> Option<Restored> {
    let now = edit::list(text, shape).ok()?;
    let is_sound = |restored: &Restored| {
        edit::list(&restored.text, shape).is_ok_and(|then| others_stand(&now, &then, name))
    };
    changes.iter().find(|change| change.name == name)?;
    alone(text, name, changes)
        .filter(is_sound)
        .or_else(|| anew(text, shape, name, changes).filter(is_sound))
}

/// Where [`restore`] finds no way: gives the entry the command, arguments and variables that it had
/// before the first change, or takes it out if there was none.
///
/// # Errors
/// The text is not what the client reads, or has no such entry.
pub fn approximate(
    text: &str,
    shape: Shape,
    name: &str,
    changes: &[Change],
) -> Result<Restored, Problem> {
    let first = changes.iter().find(|change| change.name == name);
    let edit = match first.and_then(|change| change.old.as_ref()) {
        Some(server) => edit::replace(text, shape, name, server)?,
        None => edit::remove(text, shape, name)?,
    };
    let others = changes.iter().filter(|change| change.name != name);
    Ok(Restored {
        text: edit.apply(text),
        changes: others.cloned().collect(),
        was_absent: false,
    })
}

/// Undoes them and touches no others.
fn alone(text: &str, name: &str, changes: &[Change]) -> Option<Restored> {
    let (ours, others): (Vec<&Change>, Vec<&Change>) =
        changes.iter().partition(|change| change.name == name);
    let mut text = text.to_owned();
    for change in ours.iter().rev() {
        text = undo(&change.edit, &text)?;
    }
    let made = ours.iter().any(|change| change.made);
    Some(Restored {
        was_absent: made && text.is_empty(),
        text,
        changes: others.into_iter().cloned().collect(),
    })
}

/// Undoes everything back to the first of them, and makes the others again.
fn anew(text: &str, shape: Shape, name: &str, changes: &[Change]) -> Option<Restored> {
    let first = changes.iter().position(|change| change.name == name)?;
    let (before, since) = changes.split_at_checked(first)?;
    let mut text = text.to_owned();
    let mut others = Vec::new();
    for change in since.iter().rev() {
        if change.name != name {
            let server = server_of(&text, shape, &change.name)?;
            others.push((change.name.clone(), server));
        }
        text = undo(&change.edit, &text)?;
    }
    let mut made = since.iter().any(|change| change.made);
    let was_absent = made && text.is_empty() && others.is_empty();
    let mut kept = before.to_vec();
    for (name, server) in others.into_iter().rev() {
        let old = server_of(&text, shape, &name);
        let edit = match old {
            Some(_) => edit::replace(&text, shape, &name, &server),
            None => edit::add(&text, shape, &name, &server),
        }
        .ok()?;
        text = edit.apply(&text);
        kept.push(Change {
            name,
            edit,
            made: std::mem::take(&mut made),
            old,
        });
    }
    Some(Restored {
        text,
        changes: kept,
        was_absent,
    })
}

/// Undoes one change. Where what stood around it has changed, what it wrote is enough to find it
/// by.
fn undo(edit: &Edit, text: &str) -> Option<String> {
    edit.undo(text).or_else(|| {
        let core = core(edit);
        let is_telling = core.inserted.len() >= TELLING;
        core.undo(text).filter(|_| is_telling)
    })
}

/// The change without what is the same before and after it.
fn core(edit: &Edit) -> Edit {
    let (old, new) = (&edit.removed, &edit.inserted);
    let pairs = old.char_indices().zip(new.chars());
    let same = pairs.take_while(|((_, old), new)| old == new);
    let start = same
        .last()
        .map_or(0, |((at, letter), _)| at + letter.len_utf8());
    let (old, new) = (
        old.get(start..).unwrap_or_default(),
        new.get(start..).unwrap_or_default(),
    );
    let pairs = old.chars().rev().zip(new.chars().rev());
    let same = pairs.take_while(|(old, new)| old == new);
    let end: usize = same.map(|(letter, _)| letter.len_utf8()).sum();
    let without = |text: &str| text.get(..text.len() - end).unwrap_or(text).to_owned();
    Edit {
        start: edit.start + start,
        removed: without(old),
        inserted: without(new),
    }
}

fn server_of(text: &str, shape: Shape, name: &str) -> Option<Server> {
    let entries = edit::list(text, shape).ok()?;
    entries
        .into_iter()
        .find(|found| found.name == name)
        .and_then(|found| found.server)
}

/// Whether every other entry is as it was.
fn others_stand(now: &[Found], then: &[Found], name: &str) -> bool {
    let others = |entries: &[Found]| -> Vec<Found> {
        let others = entries.iter().filter(|found| found.name != name);
        let mut others: Vec<Found> = others.cloned().collect();
        others.sort_by(|one, other| one.name.cmp(&other.name));
        others
    };
    others(now) == others(then)
}

#[cfg(test)]
mod tests {
    use super::super::{Client, Scope};
    use super::*;

    const SHAPE: Shape = Shape {
        client: Client::Cursor,
        scope: Scope::User,
    };

    fn server(command: &str) -> Server {
        Server {
            command: command.to_owned(),
            ..Server::default()
        }
    }

    /// A file, its changes, and what it was at first.
    struct File {
        text: String,
        changes: Vec<Change>,
    }

    impl File {
        fn new(text: &str) -> Self {
            Self {
                text: text.to_owned(),
                changes: Vec::new(),
            }
        }

        fn change(&mut self, name: &str, edit: Edit, made: bool) {
            self.changes.push(Change {
                name: name.to_owned(),
                old: server_of(&self.text, SHAPE, name),
                made,
                edit,
            });
            self.text = self.changes.last().unwrap().edit.apply(&self.text);
        }

        fn add(mut self, name: &str) -> Self {
            let made = self.text.is_empty();
            let edit = edit::add(&self.text, SHAPE, name, &server("/x/mcp-bridge")).unwrap();
            self.change(name, edit, made);
            self
        }

        fn replace(mut self, name: &str, command: &str) -> Self {
            let edit = edit::replace(&self.text, SHAPE, name, &server(command)).unwrap();
            self.change(name, edit, false);
            self
        }

        fn without(self, name: &str) -> Self {
            let restored = restore(&self.text, SHAPE, name, &self.changes)
                .unwrap_or_else(|| panic!("{name} of {}", self.text));
            Self {
                text: restored.text,
                changes: restored.changes,
            }
        }
    }

    const FILES: [&str; 6] = [
        "",
        "{}",
        "{\n}\n",
        "{\n  \"mcpServers\": {}\n}\n",
        "{\r\n\t\"mcpServers\": {\r\n\t\t\"other\": { \"command\": \"npx\" } // why\r\n\t}\r\n}",
        "{\"mcpServers\":{\"other\":{\"command\":\"npx\",\"args\":[]}},\"a\":1}",
    ];

    #[test]
    fn entries_can_be_taken_out_in_any_order() {
        for text in FILES {
            for order in [
                ["a", "b", "c"],
                ["a", "c", "b"],
                ["b", "a", "c"],
                ["b", "c", "a"],
                ["c", "a", "b"],
                ["c", "b", "a"],
            ] {
                let mut file = File::new(text).add("a").add("b").add("c");
                for name in order {
                    file = file.without(name);
                    let names = edit::list(&file.text, SHAPE).unwrap();
                    assert!(
                        !names.iter().any(|found| found.name == name),
                        "{}",
                        file.text
                    );
                }
                assert_eq!(file.text, text, "{order:?}");
                assert!(file.changes.is_empty());
            }
        }
    }

    #[test]
    fn what_was_replaced_comes_back_through_several_changes() {
        let text = FILES[4];
        let file = File::new(text)
            .replace("other", "/x/mcp-bridge")
            .add("new")
            .replace("other", "/y/mcp-bridge");
        assert_eq!(file.without("other").without("new").text, text);
    }

    #[test]
    fn a_file_that_was_made_is_known_to_have_been_absent() {
        let file = File::new("").add("a").add("b");
        let restored = restore(&file.text, SHAPE, "a", &file.changes).unwrap();
        assert!(!restored.was_absent);
        let restored = restore(&restored.text, SHAPE, "b", &restored.changes).unwrap();
        assert!(restored.was_absent && restored.text.is_empty());
        // An empty file that was there is not removed.
        let file = File::new("\n").add("a");
        assert!(
            !restore(&file.text, SHAPE, "a", &file.changes)
                .unwrap()
                .was_absent
        );
    }

    #[test]
    fn edits_elsewhere_stay_and_edits_of_the_entry_are_not_undone() {
        let text =
            "{\n  \"mcpServers\": {\n    \"other\": {\"command\": \"npx\"}\n  },\n  \"a\": 1\n}\n";
        let file = File::new(text)
            .add("a")
            .replace("other", "/long/enough/mcp-bridge");
        let edited = |text: &str| text.replace("\"a\": 1", "\"b\": [2]").replace('\n', "\n\n");
        let near = |text: &str| text.replace("\"a\": 1", "\"b\": [2]");
        let restored = restore(&near(&file.text), SHAPE, "other", &file.changes).unwrap();
        let restored = restore(&restored.text, SHAPE, "a", &restored.changes).unwrap();
        assert_eq!(restored.text, near(text));

        let changed = edited(&file.text);
        assert!(restore(&changed, SHAPE, "a", &file.changes).is_none());
        let names = |text: &str| -> Vec<String> {
            let entries = edit::list(text, SHAPE).unwrap();
            entries.into_iter().map(|found| found.name).collect()
        };
        let restored = approximate(&changed, SHAPE, "a", &file.changes).unwrap();
        assert_eq!(names(&restored.text), ["other"]);
        let restored = approximate(&changed, SHAPE, "other", &restored.changes).unwrap();
        assert!(restored.changes.is_empty());
        assert_eq!(
            server_of(&restored.text, SHAPE, "other"),
            Some(server("npx"))
        );

        assert!(restore(&file.text, SHAPE, "b", &file.changes).is_none());
        assert!(restore("{ broken", SHAPE, "a", &file.changes).is_none());
        assert!(approximate("{ broken", SHAPE, "a", &file.changes).is_err());
        assert!(approximate("{}", SHAPE, "a", &file.changes).is_err());
    }
}
