//! Entries in TOML files: tables with headers, dotted keys and inline tables.
//!
//! In: which lines and values an entry is made of. Out: white space between blocks ([`lines`]).
//!
//! Codex CLI's `[mcp_servers.NAME]` with `command`, `args` and `env`, and `env_vars`, without which
//! it passes on few of its own variables: <https://developers.openai.com/codex/mcp>.

use std::ops::Range;

use toml_edit::{Array, Document, Item, Key, Table, TableLike, TomlError, Value};

use self::lines::{Lines, Statement};
use super::entry::{Found, Server, Shape};
use super::problem::{Problem, malformed};
use super::secrets;
use super::splice::{Splice, indent, newline, part, spliced};

mod lines;

/// As [`super::edit::list`].
pub(super) fn list(body: &str, shape: Shape) -> Result<Vec<Found>, Problem> {
    let document = parse(body)?;
    let Some(section) = section(&document, shape)? else {
        return Ok(Vec::new());
    };
    let found = section.iter().map(|(name, item)| Found {
        name: name.to_owned(),
        server: item.as_table_like().and_then(server),
    });
    Ok(found.collect())
}

/// The text with an entry that is not there yet: behind everything else, or in the inline table
/// that holds the others.
pub(super) fn add(
    body: &str,
    shape: Shape,
    name: &str,
    server: &Server,
) -> Result<String, Problem> {
    let document = parse(body)?;
    section(&document, shape)?;
    if let Some(Item::Value(Value::InlineTable(section))) = document.get(shape.section()) {
        let entry = format!("{} = {}", Key::new(name), inline(server));
        let span = section.span().unwrap_or_default();
        return Ok(spliced(body, vec![behind_values(section, &span, &entry)]));
    }
    let lines = Lines::new(body);
    let end = lines.newline;
    let header = format!("[{}.{}]{end}", shape.section(), Key::new(name));
    let members = members(server);
    let text: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    Ok(lines.with_block(&[header, text.join(end)].concat()))
}

/// The text in which an entry that is there says something else.
pub(super) fn replace(
    body: &str,
    shape: Shape,
    name: &str,
    wanted: &Server,
) -> Result<String, Problem> {
    let document = parse(body)?;
    let entry = section(&document, shape)?.and_then(|section| section.get(name));
    let Some(entry) = entry else {
        return Err(Problem::Missing(name.to_owned()));
    };
    let Some(table) = entry.as_table_like() else {
        return Err(Problem::NotAnObject(name.to_owned()));
    };
    let before = server(table);
    let mut splices = Vec::new();
    let mut of_env = Vec::new();
    let mut missing = Vec::new();
    let mut set = |name: &'static str, text: String| match table.get(name).and_then(Item::span) {
        Some(span) => splices.push(Splice::new(span.start, span.end, text)),
        None => missing.push(format!("{name} = {text}")),
    };
    if before.as_ref().map(|old| &old.command) != Some(&wanted.command) {
        set("command", string(&wanted.command));
    }
    if before.as_ref().map(|old| &old.args) != Some(&wanted.args) {
        let old = table.get("args").and_then(Item::as_array);
        set("args", arguments(body, old, &wanted.args));
    }
    if before.as_ref().map_or(&Vec::new(), |old| &old.env) != &wanted.env {
        match table.get("env").and_then(Item::as_table) {
            Some(env) => of_env = variables_of(body, env, &wanted.env),
            None => set("env", variables(&wanted.env)),
        }
    }
    if let Some(names) = passed_on(body, table.get("env_vars"), wanted) {
        set("env_vars", names);
    }
    splices.extend(of_env);
    if !missing.is_empty() {
        splices.push(match entry {
            Item::Value(Value::InlineTable(table)) => {
                let span = table.span().unwrap_or_default();
                behind_values(table, &span, &missing.join(", "))
            }
            _ => behind_statements(body, entry, &missing),
        });
    }
    Ok(spliced(body, splices))
}

/// The text without an entry that is there.
pub(super) fn remove(body: &str, shape: Shape, name: &str) -> Result<String, Problem> {
    let document = parse(body)?;
    let missing = || Problem::Missing(name.to_owned());
    let found = section(&document, shape)?.and_then(|section| section.get_key_value(name));
    let (key, entry) = found.ok_or_else(missing)?;
    if let Some(Item::Value(Value::InlineTable(section))) = document.get(shape.section()) {
        return Ok(spliced(body, without(section, key, entry)));
    }
    let mut statements = Vec::new();
    gather(key, entry, &mut statements);
    Ok(Lines::new(body).without(statements))
}

fn parse(body: &str) -> Result<Document<&str>, Problem> {
    Document::parse(body).map_err(|error: TomlError| {
        let at = error.span().map_or(0, |span| span.start);
        malformed(body, at, error.message())
    })
}

/// The table that holds the entries.
fn section<'d>(
    document: &'d Document<&str>,
    shape: Shape,
) -> Result<Option<&'d dyn TableLike>, Problem> {
    match document.get(shape.section()) {
        None => Ok(None),
        Some(item) => match item.as_table_like() {
            Some(section) => Ok(Some(section)),
            None => Err(Problem::NotAnObject(shape.section().to_owned())),
        },
    }
}

fn server(entry: &dyn TableLike) -> Option<Server> {
    let args = match entry.get("args") {
        None => Vec::new(),
        Some(args) => args.as_array()?.iter().map(scalar).collect::<Option<_>>()?,
    };
    let env = match entry.get("env") {
        None => Vec::new(),
        Some(env) => env
            .as_table_like()?
            .iter()
            .map(|(name, value)| Some((name.to_owned(), scalar(value.as_value()?)?)))
            .collect::<Option<_>>()?,
    };
    Some(Server {
        command: entry.get("command")?.as_str()?.to_owned(),
        args,
        env,
    })
}

/// A text, number or truth value as a program would get it.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Float(number) => Some(number.value().to_string()),
        Value::Boolean(truth) => Some(truth.value().to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::InlineTable(_) => None,
    }
}

fn members(server: &Server) -> Vec<(&'static str, String)> {
    let args: Vec<String> = server.args.iter().map(|arg| string(arg)).collect();
    let mut members = vec![
        ("command", string(&server.command)),
        ("args", format!("[{}]", args.join(", "))),
    ];
    if !server.env.is_empty() {
        members.push(("env", variables(&server.env)));
    }
    members.extend(passed_on("", None, server).map(|names| ("env_vars", names)));
    members
}

/// The names of variables to pass on: `old` with those that the arguments mention and the entry does
/// not set. `None`: nothing is missing, or `old` is no list.
fn passed_on(body: &str, old: Option<&Item>, server: &Server) -> Option<String> {
    let old = match old {
        None => &Array::new(),
        Some(old) => old.as_array()?,
    };
    // Some are tables, {name, source}.
    let name = |value: &'_ Value| match value {
        Value::InlineTable(table) => table.get("name")?.as_str().map(str::to_owned),
        other => other.as_str().map(str::to_owned),
    };
    let mut known: Vec<String> = old.iter().filter_map(name).collect();
    known.extend(server.env.iter().map(|(name, _)| name.clone()));
    let spans = old.iter().filter_map(Value::span);
    let mut items: Vec<String> = spans
        .map(|span| part(body, span.start, span.end).to_owned())
        .collect();
    let before = items.len();
    for variable in server.args.iter().flat_map(|arg| secrets::variables(arg)) {
        if !known.iter().any(|known| known == variable) {
            known.push(variable.to_owned());
            items.push(string(variable));
        }
    }
    (items.len() > before).then(|| format!("[{}]", items.join(", ")))
}

/// An entry as an inline table.
fn inline(server: &Server) -> String {
    let members = members(server);
    let text: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    format!("{{ {} }}", text.join(", "))
}

fn variables(env: &[(String, String)]) -> String {
    if env.is_empty() {
        return "{}".to_owned();
    }
    let text: Vec<String> = env.iter().map(assignment).collect();
    format!("{{ {} }}", text.join(", "))
}

fn assignment((name, value): &(String, String)) -> String {
    format!("{} = {}", Key::new(name), string(value))
}

/// An array, over as many lines as the one that it takes the place of.
fn arguments(body: &str, old: Option<&Array>, args: &[String]) -> String {
    let items: Vec<String> = args.iter().map(|arg| string(arg)).collect();
    let span = old.and_then(Array::span).unwrap_or_default();
    let first = old.and_then(|old| old.get(0)).and_then(Value::span);
    match first {
        Some(first) if part(body, span.start, first.start).contains('\n') && !items.is_empty() => {
            let end = newline(body);
            let inner = format!("{end}{}", indent(body, first.start));
            let outer = format!("{end}{}", indent(body, span.end.saturating_sub(1)));
            let comma = if old.is_some_and(Array::trailing_comma) {
                ","
            } else {
                ""
            };
            let items = items.join(&format!(",{inner}"));
            format!("[{inner}{items}{comma}{outer}]")
        }
        _ => format!("[{}]", items.join(", ")),
    }
}

/// What changes in variables that stand in a table of their own.
fn variables_of(body: &str, env: &Table, wanted: &[(String, String)]) -> Vec<Splice> {
    let lines = Lines::new(body);
    let mut splices = Vec::new();
    let mut last: Option<(Range<usize>, String)> = env.span().map(|span| (span, String::new()));
    for (name, item) in env {
        let (Some(key), Some(span)) = (env.key(name).and_then(Key::span), item.span()) else {
            continue;
        };
        match wanted.iter().find(|(wanted, _)| wanted == name) {
            None => splices.push(lines.cut(&(key.start..span.end))),
            Some((_, value)) if item.as_str() != Some(value) => {
                splices.push(Splice::new(span.start, span.end, string(value)));
            }
            Some(_) => {}
        }
        last = Some((key.start..span.end, lines.lead(key.start).to_owned()));
    }
    let added = wanted.iter().filter(|(name, _)| env.get(name).is_none());
    let added: Vec<String> = added.map(assignment).collect();
    if let Some((statement, lead)) = last
        && !added.is_empty()
    {
        splices.push(lines.behind(&statement, &lead, &added));
    }
    splices
}

/// Writes members behind the program of an entry that is no inline table.
fn behind_statements(body: &str, entry: &Item, members: &[String]) -> Splice {
    let lines = Lines::new(body);
    let values = |table: &Table| {
        let mut values = table.iter().filter(|(_, item)| item.is_value());
        let command = table.get_key_value("command");
        let command = command.map(|(key, item)| (key.get(), item));
        let (name, item) = command.or_else(|| values.next())?;
        let key = table.key(name)?.span()?;
        Some((
            key.start..item.span()?.end,
            lines.lead(key.start).to_owned(),
        ))
    };
    let table = entry.as_table();
    let (statement, lead) = table
        .and_then(values)
        .or_else(|| Some((table?.span()?, String::new())))
        .unwrap_or_else(|| (body.len()..body.len(), String::new()));
    lines.behind(&statement, &lead, members)
}

/// Writes text behind the values of an inline table.
fn behind_values(table: &toml_edit::InlineTable, span: &Range<usize>, text: &str) -> Splice {
    let last = table.iter().filter_map(|(_, value)| value.span()).last();
    match last {
        Some(last) => Splice::new(last.end, last.end, format!(", {text}")),
        None => Splice::new(span.start, span.end, format!("{{ {text} }}")),
    }
}

/// Takes a member out of an inline table, with one comma.
fn without(table: &toml_edit::InlineTable, key: &Key, item: &Item) -> Vec<Splice> {
    let start = key.span().unwrap_or_default().start;
    let end = item.span().unwrap_or_default().end;
    let spans: Vec<Range<usize>> = table
        .iter()
        .filter_map(|(name, value)| Some(table.key(name)?.span()?.start..value.span()?.end))
        .collect();
    let next = spans.iter().find(|span| span.start > start);
    let before = spans.iter().rev().find(|span| span.end < start);
    let (start, end) = match (before, next) {
        (_, Some(next)) => (start, next.start),
        (Some(before), None) => (before.end, end),
        (None, None) => {
            let whole = table.span().unwrap_or_default();
            (whole.start + 1, whole.end.saturating_sub(1))
        }
    };
    vec![Splice::new(start, end, "")]
}

/// Every statement that says something about an item.
fn gather(key: &Key, item: &Item, statements: &mut Vec<Statement>) {
    match item {
        Item::Value(_) => {
            let start = key.span().unwrap_or_default().start;
            let end = item.span().unwrap_or_default().end;
            statements.push(Statement {
                span: start..end,
                header: false,
            });
        }
        Item::Table(table) => gather_table(table, statements),
        Item::ArrayOfTables(tables) => {
            for table in tables {
                gather_table(table, statements);
            }
        }
        Item::None => {}
    }
}

fn gather_table(table: &Table, statements: &mut Vec<Statement>) {
    if let Some(span) = table
        .span()
        .filter(|_| !table.is_implicit() && !table.is_dotted())
    {
        statements.push(Statement { span, header: true });
    }
    for (name, item) in table {
        if let Some(key) = table.key(name) {
            gather(key, item, statements);
        }
    }
}

/// A TOML string.
fn string(text: &str) -> String {
    Value::from(text).to_string()
}
