//! `uninstall`: this program out of clients' configurations, and back what it replaced.
//!
//! In: which entries, what is put back, what is said about it. Out: the files (`configuration`),
//! undoing changes of a text ([`crate::proto::clients::restore`]).

use super::configuration::{Journal, Opened, Place, is_ours, kept, quoted};
use super::print;
use crate::edge::log;
use crate::error::Failure;
use crate::proto::Level;
use crate::proto::clients::edit;
use crate::proto::clients::entry::{Found, Server};
use crate::proto::clients::hints;
use crate::proto::clients::restore::{Restored, approximate, restore};
use crate::settings::UninstallSettings;

/// What came of all files.
#[derive(Default)]
struct Outcome {
    /// Files in which the entry was put back or taken out, or would be.
    done: usize,
    /// Clients with an entry of that name that runs something else.
    others: Vec<String>,
    /// Names of entries that run this program.
    ours: Vec<String>,
    /// Files that could not be read or written.
    failures: Vec<Failure>,
}

/// Takes the entry out wherever it is.
///
/// # Errors
/// A [`Failure`] that says what could not be done: there is no such entry, or a file could not be
/// read or written.
pub fn run(settings: UninstallSettings) -> Result<(), Failure> {
    let UninstallSettings {
        name,
        clients,
        places,
    } = settings;
    let mut journal = Journal::open(&places)?;
    let mut outcome = Outcome::default();
    let places = Place::all(&clients, &places);
    for place in places.iter().filter(|place| place.exists()) {
        if let Err(failure) = in_file(place, &name, &mut journal, &mut outcome) {
            outcome.failures.push(failure);
        }
    }
    if !journal.writes() && outcome.done > 0 {
        print("--dry-run: nothing was written.\n")?;
    }
    finish(&name, outcome)
}

fn in_file(
    place: &Place,
    name: &str,
    journal: &mut Journal,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let opened = Opened::read(place)?;
    let is_ours = |found: &Found| found.server.as_ref().is_some_and(is_ours);
    let ours = opened.entries.iter().filter(|found| is_ours(found));
    outcome.ours.extend(ours.map(|found| found.name.clone()));
    let Some(found) = opened.entry(name) else {
        return Ok(());
    };
    let changes = journal.of(&opened.file);
    let restored = restore(opened.file.text(), place.shape, name, &changes);
    let (restored, is_exact) = match restored {
        Some(restored) => (restored, true),
        None if !is_ours(found) => {
            outcome.others.push(place.title());
            return Ok(());
        }
        None => {
            let restored = approximate(opened.file.text(), place.shape, name, &changes);
            let restored = restored
                .map_err(|problem| Failure::file(format!("{}: {problem}", opened.file.shown())))?;
            (restored, false)
        }
    };
    let had_changes = changes.iter().any(|change| change.name == name);
    say(&opened, found, &restored, journal)?;
    if had_changes && !is_exact {
        let text = "the file was changed after the entry was installed, so spaces and commas \
                    around the entry may differ from what they were; everything else is right";
        log::say(Level::Warn, text);
    }
    outcome.done += 1;
    Ok(())
}

/// Writes the file, and says so.
fn say(
    opened: &Opened,
    found: &Found,
    restored: &Restored,
    journal: &mut Journal,
) -> Result<(), Failure> {
    let shape = opened.place.shape;
    let before = edit::list(&restored.text, shape).unwrap_or_default();
    let before = before.into_iter().find(|entry| entry.name == found.name);
    let before = before.and_then(|entry| entry.server);
    let servers: Vec<&Server> = found.server.iter().chain(&before).collect();
    let difference = opened.difference(&restored.text, &servers);
    let backup = if restored.was_absent {
        journal.remove(opened)?;
        None
    } else {
        let written = journal.put(opened, &restored.changes, &restored.text)?;
        written.and_then(|written| written.backup)
    };
    let (title, path) = (opened.place.title(), opened.file.shown());
    let name = quoted(&found.name);
    let what = match (journal.writes(), restored.was_absent, before.is_some()) {
        (true, true, _) => format!("took {name} out, and removed {path}, which was made for it"),
        (true, _, true) => format!("put {name} back to what it was in {path}"),
        (true, _, false) => format!("took {name} out of {path}"),
        (false, true, _) => format!("would take {name} out, and remove {path}"),
        (false, _, true) => format!("would put {name} back to what it was in {path}"),
        (false, _, false) => format!("would take {name} out of {path}"),
    };
    let mut rows = vec![format!("{title}: {what}\n"), difference];
    rows.extend(backup.as_deref().map(kept));
    if journal.writes() {
        let reload = hints::reload(shape.client, shape.scope);
        rows.push(format!("Next: {reload}."));
    }
    print(&(rows.join("\n") + "\n"))
}

fn finish(name: &str, mut outcome: Outcome) -> Result<(), Failure> {
    // Once the entry was found, a file of another client that cannot be read is no failure.
    let last = if outcome.done == 0 {
        outcome.failures.pop()
    } else {
        None
    };
    for failure in outcome.failures {
        log::say(Level::Warn, &failure.sentence());
    }
    if let Some(failure) = last {
        return Err(failure);
    }
    if outcome.done > 0 {
        return Ok(());
    }
    let name = quoted(name);
    if !outcome.others.is_empty() {
        let clients = outcome.others.join(", ");
        let what = format!("the entry {name} of {clients} runs another program, so it stays");
        return Err(Failure::runtime(what).hint("take it out by hand if it is to go"));
    }
    outcome.ours.sort();
    outcome.ours.dedup();
    let next = if outcome.ours.is_empty() {
        "no entry of any client that was looked at runs mcp-bridge".to_owned()
    } else {
        let ours: Vec<String> = outcome.ours.iter().map(|name| quoted(name)).collect();
        format!("entries that run mcp-bridge: {}", ours.join(", "))
    };
    Err(Failure::runtime(format!("there is no entry {name}")).hint(next))
}
