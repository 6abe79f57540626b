//! `Mcp-Param-*`: arguments of a tool call that its schema wants repeated as HTTP fields (MCP
//! 2026-07-28, Streamable HTTP, Custom Headers from Tool Parameters).
//!
//! In: learning annotations from lists of tools, leaving out tools with invalid ones, the fields
//! of a call. Out: fetching lists, sending calls (`bridge`).

mod annotations;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use http::{HeaderName, HeaderValue};
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use self::annotations::Annotation;
use crate::proto::headers::{MIRROR_LIMIT, encode_value};
use crate::proto::object::{self, Object};
use crate::proto::text::sanitize;

pub use self::annotations::{FIELD_NAME_LIMIT, FIELDS, PATH_DEPTH, PATHS_BYTES};

/// Memory for tools with fields and again for the names of tools without, in bytes each. What
/// does not fit makes room for itself: all that was learned of that kind is forgotten.
pub const LEARNED_BYTES: usize = 2 << 20;

/// About what an entry costs beside its texts, in bytes.
const ENTRY_BYTES: usize = 96;

/// Most characters of a tool's name that are told when it is left out.
const NAME_CHARS: usize = 128;

/// Greatest integer that every reader of JSON tells from its neighbours (RFC 8259 §6), 2^53 − 1.
const GREATEST_INTEGER: f64 = 9_007_199_254_740_991.0;

/// What lists of tools said about fields of calls.
#[derive(Clone, Debug, Default)]
pub struct ParamHeaders {
    with_fields: HashMap<Box<str>, Fields>,
    with_fields_bytes: usize,
    without: HashSet<Box<str>>,
    without_bytes: usize,
}

/// A page of a list of tools that was learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// The page without invalid tools; `None`: as it was.
    pub result: Option<String>,
    /// Name and reason of each tool left out, fit for a terminal.
    pub left_out: Vec<(String, String)>,
}

impl ParamHeaders {
    /// Learns from a page (`tools/list` result, raw JSON). A tool replaces what was known of one
    /// of its name.
    ///
    /// Left out of the page is a tool with an `x-mcp-header` that breaks a rule of the revision,
    /// goes over a limit here, or stands in a tool whose readers could disagree about it because
    /// a member is given twice. No other tool is judged.
    #[must_use]
    pub fn learn(&mut self, result: &str) -> Learned {
        let Some(mut page) = Object::parse(result) else {
            return Learned::default();
        };
        let mut kept = Vec::new();
        let mut left_out = Vec::new();
        let tools = page.get("tools").and_then(object::items);
        for text in tools.unwrap_or_default() {
            let tool = Tool::read(text);
            match tool.fields {
                Ok(fields) => {
                    kept.push(text);
                    self.remember(tool.name, fields);
                }
                Err(reason) => {
                    left_out.push((sanitize(&tool.name, NAME_CHARS), reason.to_owned()));
                    self.remember(tool.name, Fields::default());
                }
            }
        }
        if left_out.is_empty() {
            return Learned::default();
        }
        let kept = object::array(&kept);
        page.set("tools", kept);
        Learned {
            result: Some(page.to_string()),
            left_out,
        }
    }

    /// Whether a list has named this tool. Names compare exactly.
    #[must_use]
    pub fn knows(&self, tool: &str) -> bool {
        self.with_fields.contains_key(tool) || self.without.contains(tool)
    }

    /// Adds the fields of a `tools/call` with these parameters (raw JSON): one for each annotated
    /// property that has a value, a string as it is, a boolean, or an integer of up to 2^53 − 1.
    /// Anything else adds none, nor does a value over [`MIRROR_LIMIT`].
    pub fn add(&self, params: &str, out: &mut Vec<(HeaderName, HeaderValue)>) {
        let Ok(call) = serde_json::from_str::<Call<'_>>(params) else {
            return;
        };
        if let Some(fields) = self.with_fields.get(&*call.name)
            && let Some(arguments) = call.arguments
        {
            fields.add(arguments.get(), out);
        }
    }

    fn remember(&mut self, name: String, fields: Fields) {
        if let Some(old) = self.with_fields.remove(&*name) {
            self.with_fields_bytes -= name.len() + old.bytes();
        }
        if self.without.remove(&*name) {
            self.without_bytes -= name.len() + ENTRY_BYTES;
        }
        let bytes = name.len() + fields.bytes();
        // A longer name cannot be called: it would be missing in `Mcp-Name`.
        if name.is_empty() || name.len() > MIRROR_LIMIT {
            return;
        }
        if fields.below.is_empty() {
            if self.without_bytes + bytes > LEARNED_BYTES {
                self.without.clear();
                self.without_bytes = 0;
            }
            self.without_bytes += bytes;
            self.without.insert(name.into());
        } else {
            if self.with_fields_bytes + bytes > LEARNED_BYTES {
                self.with_fields.clear();
                self.with_fields_bytes = 0;
            }
            self.with_fields_bytes += bytes;
            self.with_fields.insert(name.into(), fields);
        }
    }
}

/// A page of a list of tools without the annotations, for a client that must not judge them.
/// `None`: it has none.
#[must_use]
pub fn without_annotations(result: &str) -> Option<String> {
    let mut page = Object::parse(result)?;
    let mut changed = false;
    let tools: Vec<Cow<'_, str>> = object::items(page.get("tools")?)?
        .into_iter()
        .map(|tool| {
            let bare = tool_without_annotations(tool);
            changed |= bare.is_some();
            bare.map_or(Cow::Borrowed(tool), Cow::Owned)
        })
        .collect();
    if !changed {
        return None;
    }
    let tools = object::array(&tools);
    page.set("tools", tools);
    Some(page.to_string())
}

fn tool_without_annotations(text: &str) -> Option<String> {
    let mut tool = annotated(text)?;
    let schema = tool.get("inputSchema")?;
    let members = annotations::scan(schema).members;
    if members.is_empty() {
        return None;
    }
    let bare = annotations::without(schema, &members);
    tool.set("inputSchema", bare);
    Some(tool.to_string())
}

/// The tool, if it can hold an annotation at all: most do not, and need no closer look. A key may
/// be spelled with escapes.
fn annotated(tool: &str) -> Option<Object<'_>> {
    let spelled = [annotations::KEYWORD, "\\u00"];
    let possible = spelled
        .iter()
        .any(|text| memmem::find(tool.as_bytes(), text.as_bytes()).is_some());
    possible.then(|| Object::parse(tool)).flatten()
}

/// What a list says about one tool.
struct Tool {
    /// Empty if it has none.
    name: String,
    /// The fields of its calls, or why it is left out.
    fields: Result<Fields, &'static str>,
}

impl Tool {
    fn read(text: &str) -> Self {
        let Some(tool) = annotated(text) else {
            let named: Option<Named<'_>> = serde_json::from_str(text).ok();
            return Self {
                name: named.map_or_else(String::new, |tool| tool.name.into_owned()),
                fields: Ok(Fields::default()),
            };
        };
        let name = tool.get("name").map(serde_json::from_str::<String>);
        Self {
            name: name.and_then(Result::ok).unwrap_or_default(),
            fields: Self::fields(&tool),
        }
    }

    fn fields(tool: &Object<'_>) -> Result<Fields, &'static str> {
        let mut names = HashSet::new();
        let (mut annotated, mut repeated) = (false, false);
        let mut found = Ok(Vec::new());
        for (name, value) in tool.iter() {
            if name == "inputSchema" {
                let scan = annotations::scan(value);
                annotated |= !scan.members.is_empty();
                found = scan.found;
            }
            repeated |= !names.insert(name);
        }
        if !annotated {
            return Ok(Fields::default());
        }
        if repeated {
            return Err(annotations::GIVEN_TWICE);
        }
        Ok(Fields::of(found?))
    }
}

/// The fields that a value and what it holds go into.
#[derive(Clone, Debug, Default)]
struct Fields {
    header: Option<HeaderName>,
    below: BTreeMap<Box<str>, Self>,
}

impl Fields {
    fn of(annotations: Vec<Annotation>) -> Self {
        let mut root = Self::default();
        for annotation in annotations {
            let mut place = &mut root;
            for key in annotation.path {
                place = place.below.entry(key).or_default();
            }
            place.header = Some(annotation.header);
        }
        root
    }

    /// About what it takes, in bytes.
    fn bytes(&self) -> usize {
        let header = self.header.as_ref().map_or(0, |name| name.as_str().len());
        let below = self.below.iter();
        ENTRY_BYTES
            + header
            + below
                .map(|(key, fields)| key.len() + fields.bytes())
                .sum::<usize>()
    }

    fn add(&self, value: &str, out: &mut Vec<(HeaderName, HeaderValue)>) {
        if let Some(header) = &self.header
            && let Some(text) = text_of(value)
            && text.len() <= MIRROR_LIMIT
        {
            let encoded = encode_value(&text);
            if encoded.len() <= MIRROR_LIMIT {
                out.push((header.clone(), encoded));
            }
        }
        if self.below.is_empty() {
            return;
        }
        let Some(object) = Object::parse(value) else {
            return;
        };
        // Of a key given twice the last counts, as for most readers.
        let mut values = BTreeMap::new();
        for (key, value) in object.iter() {
            if let Some(fields) = self.below.get(&*key) {
                values.insert(key, (fields, value));
            }
        }
        for (fields, value) in values.into_values() {
            fields.add(value, out);
        }
    }
}

/// The text of a value that a field can repeat.
fn text_of(value: &str) -> Option<String> {
    match value.bytes().next()? {
        b'"' => serde_json::from_str(value).ok(),
        b't' | b'f' => Some(value.to_owned()),
        b'-' | b'0'..=b'9' => integer(value),
        _ => None,
    }
}

/// A JSON number in decimal, if it is an integer that every reader of JSON reads alike.
fn integer(number: &str) -> Option<String> {
    let value: f64 = number.parse().ok()?;
    // Adding zero makes zero of negative zero.
    (value.fract() == 0.0 && value.abs() <= GREATEST_INTEGER).then(|| format!("{}", value + 0.0))
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests;
