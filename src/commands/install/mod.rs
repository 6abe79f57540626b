//! `install`: this program in clients' configurations.
//!
//! In: one new entry, and what is said about it. Out: entries that run npm `mcp-remote`
//! (`switch`), the files (`configuration`).

mod switch;

use super::configuration::{Journal, Opened, Place, is_ours, kept, quoted, typed};
use super::print;
use crate::edge::log;
use crate::error::Failure;
use crate::proto::clients::edit::{self, Edit};
use crate::proto::clients::entry::Server;
use crate::proto::clients::problem::Problem;
use crate::proto::clients::{hints, mcp_remote, secrets};
use crate::proto::text::public_url;
use crate::settings::{InstallSettings, NewEntry, Order, PlaceSettings};

/// Writes the entry, or rewrites those that run npm `mcp-remote`.
///
/// # Errors
/// A [`Failure`] that says what could not be done. Files that it names are as they were.
pub fn run(settings: InstallSettings) -> Result<(), Failure> {
    for notice in &settings.notices {
        log::say(notice.level, &notice.text);
    }
    match settings.order {
        Order::Add(entry) => add(&entry, &settings.program, &settings.places),
        Order::Switch(which) => switch::run(&which, &settings.program, &settings.places),
    }
}

/// What has to be done in one file.
enum Plan {
    /// Nothing: the entry is there as it should be.
    Same,
    /// A new entry.
    Add(Edit, Server),
    /// Another one of ours is changed.
    Update(Edit, Server, Server),
}

fn add(entry: &NewEntry, program: &str, settings: &PlaceSettings) -> Result<(), Failure> {
    let title = entry.client.title();
    let Some(place) = Place::preferred(entry.client, settings) else {
        let what = format!("{title} has no configuration of that scope");
        return Err(Failure::usage(what).hint("leave --scope out"));
    };
    let mut journal = Journal::open(settings)?;
    let opened = Opened::read(&place)?;
    let plan = plan(&opened, entry, program)?;
    let changed = carry_out(&opened, plan, entry, &mut journal)?;
    if changed && journal.writes() {
        print(&next_steps(entry, &place))?;
    }
    Ok(())
}

fn plan(opened: &Opened, entry: &NewEntry, program: &str) -> Result<Plan, Failure> {
    let mut server = Server {
        command: program.to_owned(),
        args: entry.args.clone(),
        env: Vec::new(),
    };
    let (text, shape, name) = (opened.file.text(), opened.place.shape, &entry.name);
    let wrong = |problem: Problem| {
        let text = format!("{}: {problem}", opened.file.shown());
        Failure::file(text).hint("nothing was changed")
    };
    let Some(found) = opened.entry(name) else {
        let edit = edit::add(text, shape, name, &server).map_err(wrong)?;
        return Ok(Plan::Add(edit, server));
    };
    let title = opened.place.title();
    let taken = |whose: &str| {
        Failure::runtime(format!(
            "there is an entry {} in the configuration of {title} already, {whose}",
            quoted(name)
        ))
    };
    let other_name = || {
        let client = entry.client.name();
        format!("give the new one another name: mcp-bridge install {client} NAME URL")
    };
    let Some(old) = &found.server else {
        return Err(taken("which starts no program").hint(other_name()));
    };
    if mcp_remote::arguments(old).is_some() {
        let client = entry.client.name();
        let next = format!(
            "to let it run this program: mcp-bridge install --from-mcp-remote {client}; or {}",
            other_name()
        );
        return Err(taken("which runs mcp-remote").hint(next));
    }
    if !is_ours(old) {
        return Err(taken("which runs another program").hint(other_name()));
    }
    if !entry.is_named && old.args.first() != entry.args.first() {
        return Err(taken("for another address").hint(other_name()));
    }
    server.env.clone_from(&old.env);
    if *old == server {
        return Ok(Plan::Same);
    }
    let edit = edit::replace(text, shape, name, &server).map_err(wrong)?;
    Ok(Plan::Update(edit, server, old.clone()))
}

/// Whether something changed, or would.
fn carry_out(
    opened: &Opened,
    plan: Plan,
    entry: &NewEntry,
    journal: &mut Journal,
) -> Result<bool, Failure> {
    let (title, path) = (opened.place.title(), opened.file.shown());
    let name = quoted(&entry.name);
    let (did, would, edit, servers) = match plan {
        Plan::Same => {
            print(&format!(
                "{title}: {name} is in {path} already, as it should be.\n"
            ))?;
            return Ok(false);
        }
        Plan::Add(edit, server) => ("added", "would add", edit, vec![server]),
        Plan::Update(edit, server, old) => ("updated", "would update", edit, vec![server, old]),
    };
    let text = edit.apply(opened.file.text());
    let servers: Vec<&Server> = servers.iter().collect();
    let difference = opened.difference(&text, &servers);
    let edits = vec![(entry.name.clone(), edit)];
    let written = journal.change(opened, edits, &text)?;
    let headline = match written {
        Some(_) => format!("{title}: {did} {name} in {path}"),
        None => format!("{title}: {would} {name} in {path} (--dry-run: nothing was written)"),
    };
    let mut rows = vec![format!("{headline}\n"), difference];
    let backup = written.and_then(|written| written.backup);
    rows.extend(backup.as_deref().map(kept));
    print(&(rows.join("\n") + "\n"))?;
    Ok(true)
}

fn next_steps(entry: &NewEntry, place: &Place) -> String {
    let client = entry.client;
    let reload = hints::reload(client, place.shape.scope);
    let mut rows = vec![format!("Next: {reload}.")];
    let args = entry.args.iter();
    let mut variables: Vec<&str> = args.flat_map(|arg| secrets::variables(arg)).collect();
    variables.sort_unstable();
    variables.dedup();
    if !variables.is_empty() {
        let where_to = hints::variables(client, &variables);
        rows.push(format!("Also: {where_to}."));
    }
    let options = if entry.args.len() > 1 {
        ", with the same options"
    } else {
        ""
    };
    let url = public_url(&entry.url);
    rows.push(format!(
        "If it does not work: mcp-bridge doctor {url}{options}"
    ));
    let name = typed(&entry.name);
    // What begins with a dash is no option.
    let dashes = if name.starts_with('-') { "-- " } else { "" };
    rows.push(format!(
        "To take it out again: mcp-bridge uninstall {dashes}{name}\n"
    ));
    rows.join("\n")
}
