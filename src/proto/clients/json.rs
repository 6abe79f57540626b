//! Entries in JSON files, with or without comments and trailing commas.
//!
//! In: which members an entry has. Out: commas, indentation and comments around members
//! ([`layout`]).

use std::collections::HashSet;

use jsonc_parser::ast::{Object, ObjectProp, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use self::layout::{Layout, Text};
use super::entry::{Found, Server, Shape};
use super::problem::{Problem, malformed};
use super::splice::{Splice, spliced};

mod layout;

/// JSON as editors write it: comments and trailing commas, and nothing else that is not JSON.
const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// As [`super::edit::list`].
pub(super) fn list(body: &str, shape: Shape) -> Result<Vec<Found>, Problem> {
    let root = parse(body)?;
    let section = section(root.as_ref(), shape)?;
    Ok(section.map_or_else(Vec::new, entries))
}

/// As [`super::edit::list_of_projects`]. What is not laid out as Claude Code does it is passed over.
pub(super) fn list_of_projects(
    body: &str,
    shape: Shape,
) -> Result<Vec<(String, Vec<Found>)>, Problem> {
    let root = parse(body)?;
    let projects = root.as_ref().and_then(|root| last(root, "projects"));
    let projects = projects.and_then(|projects| projects.value.as_object());
    let projects = projects.into_iter().flat_map(|object| &object.properties);
    let listed = projects.filter_map(|project| {
        let section = last(project.value.as_object()?, shape.section())?;
        let entries = entries(section.value.as_object()?);
        Some((project.name.as_str().to_owned(), entries))
    });
    Ok(listed.collect())
}

/// The entries that an object holds, in its order; of several of one name the last.
fn entries(section: &Object<'_>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let mut seen = HashSet::new();
    for property in section.properties.iter().rev() {
        if seen.insert(property.name.as_str()) {
            found.push(Found {
                name: property.name.as_str().to_owned(),
                server: Host::of(&property.value).and_then(|host| host.server()),
            });
        }
    }
    found.reverse();
    found
}

/// The text with an entry that is not there yet.
pub(super) fn add(
    body: &str,
    shape: Shape,
    name: &str,
    server: &Server,
) -> Result<String, Problem> {
    let root = parse(body)?;
    let layout = Layout::new(body, root.as_ref());
    let entry = (name.to_owned(), entry(shape, server));
    let Some(root) = &root else {
        let section = (shape.section().to_owned(), Text::Object(vec![entry]));
        return Ok(layout.document(section));
    };
    let splices = if let Some(section) = section(Some(root), shape)? {
        layout.append(section, &[entry])
    } else {
        let section = (shape.section().to_owned(), Text::Object(vec![entry]));
        layout.append(root, &[section])
    };
    Ok(spliced(body, splices))
}

/// The text in which an entry that is there says something else.
pub(super) fn replace(
    body: &str,
    shape: Shape,
    name: &str,
    server: &Server,
) -> Result<String, Problem> {
    let root = parse(body)?;
    let layout = Layout::new(body, root.as_ref());
    let entry = section(root.as_ref(), shape)?.and_then(|section| last(section, name));
    let Some(entry) = entry else {
        return Err(Problem::Missing(name.to_owned()));
    };
    let Some(host) = Host::of(&entry.value) else {
        return Err(Problem::NotAnObject(name.to_owned()));
    };
    let mut wanted = Vec::new();
    let before = host.server();
    if before.as_ref().map(|old| &old.command) != Some(&server.command) {
        wanted.push((host.program, Text::String(server.command.clone())));
    }
    if before.as_ref().map(|old| &old.args) != Some(&server.args) {
        wanted.push(("args", Text::List(server.args.clone())));
    }
    if before.as_ref().map_or(&Vec::new(), |old| &old.env) != &server.env {
        wanted.push(("env", variables(&server.env)));
    }
    let mut splices: Vec<Splice> = Vec::new();
    let mut missing = Vec::new();
    for (name, text) in wanted {
        match last(host.members, name) {
            Some(property) => splices.push(layout.set(property, &text)),
            None => missing.push((name.to_owned(), text)),
        }
    }
    if !missing.is_empty() {
        splices.extend(layout.append(host.members, &missing));
    }
    Ok(spliced(body, splices))
}

/// The text without an entry that is there.
pub(super) fn remove(body: &str, shape: Shape, name: &str) -> Result<String, Problem> {
    let root = parse(body)?;
    let layout = Layout::new(body, root.as_ref());
    let Some(section) = section(root.as_ref(), shape)? else {
        return Err(Problem::Missing(name.to_owned()));
    };
    Ok(spliced(body, layout.remove(section, name)))
}

/// The object that the file holds; `None`: nothing but white space and comments.
fn parse(body: &str) -> Result<Option<Object<'_>>, Problem> {
    let parsed = parse_to_ast(body, &CollectOptions::default(), &OPTIONS)
        .map_err(|error| malformed(body, error.range().start, explanation(error.kind())))?;
    match parsed.value {
        None => Ok(None),
        Some(Value::Object(root)) => Ok(Some(root)),
        Some(other) => Err(malformed(
            body,
            other.start(),
            "the file has to hold one object, in { }",
        )),
    }
}

/// What is wrong, without a word from the file.
fn explanation(kind: &ParseErrorKind) -> &'static str {
    match kind {
        ParseErrorKind::UnterminatedObject => "this \"{\" has no \"}\"",
        ParseErrorKind::UnterminatedArray => "this \"[\" has no \"]\"",
        ParseErrorKind::UnterminatedCommentBlock => "this comment has no end",
        ParseErrorKind::ExpectedComma => "a comma is missing here",
        ParseErrorKind::ExpectedColonAfterObjectKey => "a colon is missing before this",
        ParseErrorKind::ExpectedObjectValue => "a value is missing here",
        ParseErrorKind::MultipleRootJsonValues => "this stands behind the end of the document",
        ParseErrorKind::UnexpectedComma => "this comma is one too many",
        ParseErrorKind::String(_) => "this text in quotes has no end, or a wrong escape",
        ParseErrorKind::NestingDepthExceeded => "this is nested too deeply",
        ParseErrorKind::SingleQuotedStringsNotAllowed => "text needs double quotes",
        ParseErrorKind::ExpectedStringObjectProperty => "a name needs double quotes",
        _ => "this is not JSON",
    }
}

/// The object that holds the entries.
fn section<'r, 't>(
    root: Option<&'r Object<'t>>,
    shape: Shape,
) -> Result<Option<&'r Object<'t>>, Problem> {
    match root.and_then(|root| last(root, shape.section())) {
        None => Ok(None),
        Some(property) => match &property.value {
            Value::Object(section) => Ok(Some(section)),
            _ => Err(Problem::NotAnObject(shape.section().to_owned())),
        },
    }
}

/// The member of that name; of several the last, as readers of JSON do.
fn last<'o, 't>(object: &'o Object<'t>, name: &str) -> Option<&'o ObjectProp<'t>> {
    let mut properties = object.properties.iter().rev();
    properties.find(|property| property.name.as_str() == name)
}

/// What an entry is made of.
fn entry(shape: Shape, server: &Server) -> Text {
    let mut members = Vec::new();
    if shape.has_type() {
        members.push(("type".to_owned(), Text::String("stdio".to_owned())));
    }
    members.push(("command".to_owned(), Text::String(server.command.clone())));
    members.push(("args".to_owned(), Text::List(server.args.clone())));
    if !server.env.is_empty() {
        members.push(("env".to_owned(), variables(&server.env)));
    }
    Text::Object(members)
}

fn variables(env: &[(String, String)]) -> Text {
    let variable = |(name, value): &(String, String)| (name.clone(), Text::String(value.clone()));
    Text::Object(env.iter().map(variable).collect())
}

/// The object that says how a server is started: the entry, or, as Zed wrote it before 2025-07, its
/// `command` (`{"path", "args", "env"}`).
struct Host<'o, 't> {
    members: &'o Object<'t>,
    /// Name of the member that holds the program.
    program: &'static str,
}

impl<'o, 't> Host<'o, 't> {
    fn of(entry: &'o Value<'t>) -> Option<Self> {
        let entry = entry.as_object()?;
        let nested = last(entry, "command").and_then(|command| command.value.as_object());
        Some(match nested {
            Some(members) => Self {
                members,
                program: "path",
            },
            None => Self {
                members: entry,
                program: "command",
            },
        })
    }

    fn server(&self) -> Option<Server> {
        let value = |name| last(self.members, name).map(|property| &property.value);
        let args = match value("args") {
            None | Some(Value::NullKeyword(_)) => Vec::new(),
            Some(Value::Array(args)) => args.elements.iter().map(scalar).collect::<Option<_>>()?,
            Some(_) => return None,
        };
        let env = match value("env") {
            None | Some(Value::NullKeyword(_)) => Vec::new(),
            Some(Value::Object(env)) => env
                .properties
                .iter()
                .filter(|variable| variable.value.as_null_keyword().is_none())
                .map(|variable| Some((variable.name.as_str().to_owned(), scalar(&variable.value)?)))
                .collect::<Option<_>>()?,
            Some(_) => return None,
        };
        Some(Server {
            command: value(self.program)?.as_string_lit()?.value.to_string(),
            args,
            env,
        })
    }
}

/// A text, number or truth value as a program would get it.
fn scalar(value: &Value<'_>) -> Option<String> {
    match value {
        Value::StringLit(text) => Some(text.value.to_string()),
        Value::NumberLit(number) => Some(number.value.to_owned()),
        Value::BooleanLit(truth) => Some(truth.value.to_string()),
        Value::Object(_) | Value::Array(_) | Value::NullKeyword(_) => None,
    }
}
