//! `install --from-mcp-remote`: entries that run npm `mcp-remote` run this program instead.
//!
//! In: which entries, and what is said about each. Out: telling them from others
//! ([`crate::proto::clients::mcp_remote`]), the files (`configuration`).

use std::ffi::OsString;

use crate::cli::Install;
use crate::commands::configuration::{Journal, Opened, Place, kept, quoted, typed};
use crate::commands::print;
use crate::edge::log;
use crate::error::Failure;
use crate::proto::Level;
use crate::proto::clients::edit::{self, Edit};
use crate::proto::clients::entry::{Found, Server};
use crate::proto::clients::{hints, mcp_remote, secrets};
use crate::proto::text::sanitize;
use crate::settings::{PlaceSettings, Switch, check_command_line};

/// Longest name of a folder that is shown, in characters.
const FOLDER_CHARS: usize = 400;

/// What was found in all files.
#[derive(Default)]
struct Outcome {
    /// Entries that were rewritten, or would be.
    switched: usize,
    /// Entries that stay as they are though they run `mcp-remote`.
    refused: usize,
    /// Entries of single projects that run it, and stay as they are.
    of_projects: usize,
    /// Files that could not be read or written.
    failures: Vec<Failure>,
}

/// Rewrites the entries, or shows them.
///
/// # Errors
/// A file could not be read or written, or an entry not be rewritten. The others are.
pub(super) fn run(which: &Switch, program: &str, settings: &PlaceSettings) -> Result<(), Failure> {
    let settings = PlaceSettings {
        dry_run: settings.dry_run || which.only_shown,
        ..settings.clone()
    };
    let mut journal = Journal::open(&settings)?;
    let places = Place::all(&which.clients, &settings);
    let mut outcome = Outcome::default();
    let mut looked_at = Vec::new();
    for place in places.iter().filter(|place| place.exists()) {
        looked_at.push(format!("{}: {}", place.title(), place.path.display()));
        let before = outcome.switched;
        if let Err(failure) = in_file(place, program, &mut journal, &mut outcome) {
            outcome.failures.push(failure);
        }
        if outcome.switched > before && journal.writes() {
            let reload = hints::reload(place.shape.client, place.shape.scope);
            print(&format!("Next: {reload}.\n"))?;
        }
    }
    summary(which, &outcome, &looked_at, journal.writes())?;
    finish(outcome)
}

/// An entry that can be rewritten.
struct Candidate {
    name: String,
    old: Server,
    new: Server,
    /// Notices about it, for the person.
    notes: Vec<String>,
}

fn in_file(
    place: &Place,
    program: &str,
    journal: &mut Journal,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let opened = Opened::read(place)?;
    let mut text = opened.file.text().to_owned();
    let mut edits: Vec<(String, Edit)> = Vec::new();
    let mut servers = Vec::new();
    let mut rows = Vec::new();
    for found in &opened.entries {
        let Some(old) = &found.server else { continue };
        let Some(args) = mcp_remote::arguments(old) else {
            continue;
        };
        let name = quoted(&found.name);
        let switched = candidate(&found.name, old, &args, program).and_then(|candidate| {
            edit::replace(&text, place.shape, &candidate.name, &candidate.new)
                .map(|edit| (candidate, edit))
                .map_err(|problem| Failure::runtime(problem.to_string()))
        });
        match switched {
            Ok((candidate, edit)) => {
                let verb = if journal.writes() {
                    "runs"
                } else {
                    "would run"
                };
                rows.push(format!("  {name} {verb} mcp-bridge instead of mcp-remote"));
                let notes = candidate.notes.iter();
                rows.extend(notes.map(|note| format!("    note: {note}")));
                text = edit.apply(&text);
                edits.push((candidate.name, edit));
                servers.extend([candidate.old, candidate.new]);
                outcome.switched += 1;
            }
            Err(failure) => {
                let why = failure.sentence();
                rows.push(format!("  {name} stays as it is: {why}"));
                outcome.refused += 1;
            }
        }
    }
    let of_projects = of_projects(&opened);
    if !of_projects.is_empty() {
        outcome.of_projects += of_projects.len();
        rows.push("  entries that Claude Code keeps for one folder each stay as they are:".into());
        rows.extend(of_projects);
        rows.push(format!(
            "  to switch one, in its folder: claude mcp remove --scope local NAME, then \
             claude mcp add --scope local NAME -- {} URL, with the options that it had",
            typed(program)
        ));
    }
    if rows.is_empty() {
        return Ok(());
    }
    rows.insert(0, format!("{}: {}", place.title(), opened.file.shown()));
    if !edits.is_empty() {
        let count = edits.len();
        let servers: Vec<&Server> = servers.iter().collect();
        rows.push(String::new());
        rows.push(opened.difference(&text, &servers));
        let written = journal.change(&opened, edits, &text).inspect_err(|_| {
            outcome.switched -= count;
        })?;
        let backup = written.and_then(|written| written.backup);
        rows.extend(backup.as_deref().map(kept));
    }
    print(&(rows.join("\n") + "\n"))
}

/// Entries of single projects that run `mcp-remote`, one row each.
fn of_projects(opened: &Opened) -> Vec<String> {
    // What cannot be read was an error before.
    let projects = edit::list_of_projects(opened.file.text(), opened.place.shape);
    let entries = projects.unwrap_or_default().into_iter();
    let entries = entries.flat_map(|(folder, entries)| {
        let folder = sanitize(&folder, FOLDER_CHARS);
        entries
            .into_iter()
            .map(move |entry| (entry, folder.clone()))
    });
    let runs = |entry: &Found| {
        entry
            .server
            .as_ref()
            .and_then(mcp_remote::arguments)
            .is_some()
    };
    entries
        .filter(|(entry, _)| runs(entry))
        .map(|(entry, folder)| format!("    {} of {folder}", quoted(&entry.name)))
        .collect()
}

/// The entry with this program, if its arguments can be taken over.
fn candidate(
    name: &str,
    old: &Server,
    args: &[String],
    program: &str,
) -> Result<Candidate, Failure> {
    let translated = mcp_remote::translate(args, &Install::known());
    let variable = |name: &str| {
        let mut env = old.env.iter();
        let found = env.find(|(known, _)| known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    let notices = check_command_line(&translated.args, &variable)?;
    let mut notes: Vec<String> = notices.into_iter().map(|notice| notice.text).collect();
    if !translated.left_out.is_empty() {
        notes.push(format!(
            "left out, since mcp-remote ignores it as well: {}",
            translated.left_out.join(", ")
        ));
    }
    if let Some(secret) = in_arguments(&translated.args) {
        notes.push(format!(
            "{}, as before: whoever can read the file can use it; {}",
            secret.what, secret.way_out
        ));
    }
    Ok(Candidate {
        name: name.to_owned(),
        old: old.clone(),
        new: Server {
            command: program.to_owned(),
            args: translated.args,
            env: old.env.clone(),
        },
        notes,
    })
}

/// A secret in arguments that were taken apart and put together before.
fn in_arguments(args: &[String]) -> Option<secrets::Literal> {
    let mut options = Vec::new();
    let mut url = "";
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some(option) = arg.strip_prefix("--") else {
            if arg.contains("://") {
                url = arg;
            }
            continue;
        };
        if let Some(pair) = option.split_once('=') {
            options.push(pair);
            continue;
        }
        let known = Install::known();
        let takes_value = known
            .iter()
            .any(|known| known.name == option && known.takes_value);
        if let Some(value) = takes_value.then(|| args.next()).flatten() {
            options.push((option, value));
        }
    }
    secrets::find(url, options)
}

fn summary(
    which: &Switch,
    outcome: &Outcome,
    looked_at: &[String],
    writes: bool,
) -> Result<(), Failure> {
    let Outcome {
        switched, refused, ..
    } = outcome;
    if *switched == 0 && *refused == 0 {
        let other = if outcome.of_projects > 0 {
            "other "
        } else {
            ""
        };
        let mut text = format!("No {other}entry runs mcp-remote.");
        if looked_at.is_empty() {
            text.push_str(" There is no configuration file of any client that was looked for.");
        } else {
            text.push_str(" Looked at:\n  ");
            text.push_str(&looked_at.join("\n  "));
        }
        return print(&(text + "\n"));
    }
    if which.only_shown {
        return print(
            "Nothing was changed. To rewrite them: mcp-bridge install --from-mcp-remote --all, or \
             the name of one client in place of --all.\n",
        );
    }
    if !writes {
        return print("--dry-run: nothing was written.\n");
    }
    if *switched > 0 {
        return print("To put an entry back: mcp-bridge uninstall NAME\n");
    }
    Ok(())
}

fn finish(outcome: Outcome) -> Result<(), Failure> {
    let mut failures = outcome.failures.into_iter();
    let last = failures.next_back();
    for failure in failures {
        log::say(Level::Error, &failure.sentence());
    }
    match last {
        Some(failure) => Err(failure),
        None if outcome.refused > 0 => {
            let what = format!("{} of the entries could not be rewritten", outcome.refused);
            Err(Failure::runtime(what).hint("correct them as is said above, then try again"))
        }
        None => Ok(()),
    }
}
