//! JSON Schemas of tools, rewritten for clients that take only objects (MCP 2026-07-28, Changelog,
//! allows any JSON Schema 2020-12 as an output schema).
//!
//! In: one schema as text. Out: which tools it is done for (`values`).

use std::borrow::Cow;
use std::collections::HashSet;

use super::splice::{Splice, decoded};
use crate::proto::json;
use crate::proto::object::Object;

/// Memory for the names of tools whose output schema was wrapped, in bytes. A tool that does not
/// fit is not noted.
pub const WRAPPED_BYTES: usize = 1 << 20;

/// What a name counts beside its text, in bytes.
const NAME_BYTES: usize = 64;

/// Tools whose output schema was wrapped, so that their structured content is wrapped too.
#[derive(Clone, Debug, Default)]
pub struct Wrapped {
    names: HashSet<Box<str>>,
    bytes: usize,
}

impl Wrapped {
    /// Whether this tool's was.
    #[must_use]
    pub fn contains(&self, tool: &str) -> bool {
        self.names.contains(tool)
    }

    /// Notes whether this tool's was, within [`WRAPPED_BYTES`] of memory. Whether it was noted.
    pub fn note(&mut self, tool: &str, wrapped: bool) -> bool {
        let bytes = tool.len() + NAME_BYTES;
        if !wrapped {
            if self.names.remove(tool) {
                self.bytes -= bytes;
            }
            return true;
        }
        if self.contains(tool) {
            return true;
        }
        if self.bytes + bytes > WRAPPED_BYTES {
            return false;
        }
        self.bytes += bytes;
        self.names.insert(tool.into())
    }
}

/// An output schema as the `result` property of an object, which is required. `None`: it is a
/// schema of an object already (`"type":"object"` at its root), or no schema at all.
///
/// References to the schema itself (`#`) and into it (`#/…`) follow it to its new place, except
/// where another `$id` is the base, and except in data (`const`, `enum`, `default`, `examples`).
/// `$schema` moves to the new root; `$defs` stay where they are. Boolean schemas are spelled as
/// objects. MCP names no form for older clients; this is the one in which servers that know both
/// sorts of clients wrap their own schemas.
#[must_use]
pub fn wrapped(schema: &str) -> Option<String> {
    let schema = schema.trim();
    if let Some(object) = spelled_out(schema) {
        return Some(in_object("", object));
    }
    let mut root = Object::parse(schema)?;
    let kind = root.get("type").map(decoded);
    if kind.is_some_and(|kind| kind == "object") {
        return None;
    }
    let declared = root.get("$schema").filter(|value| value.starts_with('"'));
    let Some(dialect) = declared.map(|value| format!("\"$schema\":{value},")) else {
        return Some(in_object("", &moved(schema)));
    };
    root.remove("$schema");
    Some(in_object(&dialect, &moved(&root.to_string())))
}

/// A schema in which the boolean schema of every property, at any depth, is an object: `{}` for
/// `true`, `{"not":{}}` for `false`. `None`: as it is.
///
/// Up to MCP 2025-11-25 the properties of a tool's schema are objects, and clients refuse a whole
/// list of tools for one that is not.
#[must_use]
pub fn without_booleans(schema: &str) -> Option<String> {
    if !schema.contains("true") && !schema.contains("false") {
        return None;
    }
    let mut new = Splice::new(schema);
    for start in places(schema, Wanted::Booleans) {
        for literal in ["true", "false"] {
            let end = start + literal.len();
            if schema.get(start..end) == Some(literal) {
                new.replace(start, end, spelled_out(literal).unwrap_or_default());
            }
        }
    }
    new.finish()
}

/// The object that says the same as a boolean schema (JSON Schema 2020-12, Core §4.3.2).
fn spelled_out(boolean: &str) -> Option<&'static str> {
    match boolean {
        "true" => Some("{}"),
        "false" => Some(r#"{"not":{}}"#),
        _ => None,
    }
}

fn in_object(dialect: &str, result: &str) -> String {
    format!(
        r#"{{{dialect}"type":"object","properties":{{"result":{result}}},"required":["result"]}}"#
    )
}

/// The schema with its references into itself as they are below `/properties/result`.
fn moved(schema: &str) -> Cow<'_, str> {
    let mut new = Splice::new(schema);
    for place in places(schema, Wanted::References) {
        new.replace(place, place, "/properties/result");
    }
    new.finish().map_or(schema.into(), Cow::Owned)
}

/// What is looked for in a schema.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// References into the schema; the place is behind their `#`.
    References,
    /// Boolean schemas of properties.
    Booleans,
}

/// What a value in a schema is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Schema,
    /// The schema of a property.
    Property,
    /// Schemas, each under a name of the author's choice.
    Named {
        properties: bool,
    },
    Reference,
    /// `$id`.
    Base,
    Data,
}

impl Part {
    /// What the member of this name is, where `self` is an object.
    fn member(self, name: &str, wanted: Wanted) -> Self {
        match self {
            Self::Data => Self::Data,
            Self::Named { properties: true } => Self::Property,
            Self::Named { properties: false } => Self::Schema,
            Self::Schema | Self::Property | Self::Reference | Self::Base => match name {
                "$ref" | "$dynamicRef" => Self::Reference,
                "$id" => Self::Base,
                "const" | "enum" | "default" | "examples" => Self::Data,
                "properties" => Self::Named { properties: true },
                "patternProperties" | "$defs" | "definitions" | "dependentSchemas"
                | "dependencies" => Self::Named { properties: false },
                // A reference may lead anywhere, but what nobody knows need not hold schemas.
                _ if wanted == Wanted::References || HOLD_SCHEMAS.contains(&name) => Self::Schema,
                _ => Self::Data,
            },
        }
    }

    /// What its items are, where `self` is an array.
    fn item(self) -> Self {
        match self {
            Self::Data => Self::Data,
            _ => Self::Schema,
        }
    }
}

/// Keywords whose value is a schema or an array of schemas (JSON Schema 2020-12, Core §10, §11;
/// Validation §8).
const HOLD_SCHEMAS: [&str; 16] = [
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "oneOf",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// An object or array that is not at its end yet.
struct Open {
    part: Part,
    is_object: bool,
    /// What the next value in it is; `None` before the name of a member.
    next: Option<Part>,
    /// How many places were found before it.
    found: usize,
    /// References in it have another base than the schema.
    based: bool,
}

/// Where what is wanted stands in a schema (valid JSON), in order. Takes one pass, and no more
/// stack for a deeper schema; one deeper than [`json::DEPTH_LIMIT`] is not searched.
fn places(schema: &str, wanted: Wanted) -> Vec<usize> {
    let bytes = schema.as_bytes();
    let mut found = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let part = open.last().map_or(Some(Part::Schema), |inner| inner.next);
        match (byte, part) {
            (b'"', _) => {
                let length = bytes.get(at..).map_or(1, json::string_length);
                let token = schema.get(at..at + length).unwrap_or_default();
                match (open.last_mut(), part) {
                    (Some(inner), None) => {
                        inner.next = Some(inner.part.member(&decoded(token), wanted));
                    }
                    (Some(inner), Some(Part::Base)) => {
                        inner.based |= !decoded(token).starts_with('#');
                    }
                    (_, Some(Part::Reference)) if wanted == Wanted::References => {
                        found.extend(behind_hash(token).map(|place| at + place));
                    }
                    _ => {}
                }
                at += length;
                continue;
            }
            (b'{' | b'[', _) => {
                if open.len() >= json::DEPTH_LIMIT {
                    return Vec::new();
                }
                let part = part.unwrap_or(Part::Data);
                let is_object = byte == b'{';
                open.push(Open {
                    part,
                    is_object,
                    next: (!is_object).then(|| part.item()),
                    found: found.len(),
                    based: false,
                });
            }
            (b'}' | b']', _) => {
                let closed = open.pop();
                if let Some(inner) = closed.filter(|inner| inner.based)
                    && wanted == Wanted::References
                {
                    found.truncate(inner.found);
                }
            }
            (b',', _) => {
                if let Some(inner) = open.last_mut().filter(|inner| inner.is_object) {
                    inner.next = None;
                }
            }
            (b't' | b'f', Some(Part::Property)) if wanted == Wanted::Booleans => found.push(at),
            _ => {}
        }
        at += 1;
    }
    found
}

/// The place behind the `#` of a reference to the schema itself or by a JSON Pointer into it
/// (RFC 6901 §6); `None` for names (`#name`) and other documents. `token` is the JSON string.
fn behind_hash(token: &str) -> Option<usize> {
    let reference = decoded(token);
    if reference != "#" && !reference.starts_with("#/") {
        return None;
    }
    let hash = if token.starts_with("\"#") {
        "#"
    } else {
        r"\u0023"
    };
    Some(1 + hash.len())
}

#[cfg(test)]
mod tests;
