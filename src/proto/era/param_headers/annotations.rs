//! The `x-mcp-header` annotations of one schema (MCP 2026-07-28, Tools, `x-mcp-header`).
//!
//! In: finding them, judging them, taking them out. Read in one pass without recursion, however
//! deep or wide the schema is. Out: what else a schema says, and values of arguments.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use http::HeaderName;
use serde_json::value::RawValue;

use crate::proto::era::splice::decoded;

/// The keyword.
pub(super) const KEYWORD: &str = "x-mcp-header";

/// Most fields of one tool: servers commonly refuse a request with more than 100.
pub const FIELDS: usize = 64;

/// Longest name in an annotation, in bytes.
pub const FIELD_NAME_LIMIT: usize = 256;

/// Most keys from the root of a schema to an annotated property.
pub const PATH_DEPTH: usize = 64;

/// Most bytes of these keys in one tool.
pub const PATHS_BYTES: usize = 16 << 10;

/// Why a tool with an annotation is left out if a key is repeated in it.
pub(super) const GIVEN_TWICE: &str = "x-mcp-header in a definition that gives a member twice";

const OUT_OF_REACH: &str = "x-mcp-header where `properties` alone do not lead";
const NO_TOKEN: &str = "x-mcp-header is not a name for an HTTP field";
const NOT_PRIMITIVE: &str = "x-mcp-header on a property that is not string, integer or boolean";
const NOT_UNIQUE: &str = "two x-mcp-header with the same name";
const TOO_MANY: &str = "more x-mcp-header, or longer paths to them, than a request can carry";

/// A valid annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Annotation {
    /// Keys from the arguments down to the value.
    pub(super) path: Vec<Box<str>>,
    /// `Mcp-Param-…`
    pub(super) header: HeaderName,
}

/// What a schema holds.
#[derive(Debug)]
pub(super) struct Scan {
    /// Where annotations stand in the text, valid or not: key to end of value, in order.
    pub(super) members: Vec<Range<usize>>,
    /// The annotations, or what is wrong with one or with the schema.
    pub(super) found: Result<Vec<Annotation>, &'static str>,
}

/// Looks through a schema (raw JSON).
pub(super) fn scan(schema: &str) -> Scan {
    let mut walk = Walk {
        text: schema,
        at: 0,
        frames: Vec::new(),
        members: Vec::new(),
        found: Ok(Vec::new()),
        path_bytes: 0,
    };
    while walk.step().is_some() {}
    Scan {
        members: walk.members,
        found: walk.found,
    }
}

/// The schema without these members, each with one comma. Everything else stays as it was.
pub(super) fn without(schema: &str, members: &[Range<usize>]) -> String {
    const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];
    let mut kept = String::with_capacity(schema.len());
    let mut rest_at = 0;
    for member in members {
        kept.push_str(schema.get(rest_at..member.start).unwrap_or_default());
        rest_at = member.end;
        let rest = schema.get(rest_at..).unwrap_or_default();
        if let Some(next) = rest.trim_start_matches(SPACE).strip_prefix(',') {
            rest_at = schema.len() - next.len();
        } else if let Some(before) = kept.trim_end_matches(SPACE).strip_suffix(',') {
            kept.truncate(before.len());
        }
    }
    kept.push_str(schema.get(rest_at..).unwrap_or_default());
    kept
}

/// What an object or array stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The schema itself.
    Root,
    /// The `properties` of the root or of a property: every key is a property's name.
    Properties,
    /// The schema of a property that `properties` alone lead to.
    Property,
    /// Names and schemas that cannot be reached so.
    Named,
    /// Any other schema, or an array of them.
    Elsewhere,
    /// Values, no schemas.
    Data,
}

impl Place {
    /// What the value of this member is.
    fn member(self, key: &str) -> Self {
        match (self, key) {
            (Self::Properties, _) => Self::Property,
            (Self::Named, _) => Self::Elsewhere,
            (Self::Data, _)
            | (_, KEYWORD | "type" | "default" | "const" | "enum" | "example" | "examples") => {
                Self::Data
            }
            (Self::Root | Self::Property, "properties") => Self::Properties,
            (
                _,
                "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas"
                | "dependentRequired" | "dependencies",
            ) => Self::Named,
            _ => Self::Elsewhere,
        }
    }

    /// What an item is of the array that stands here.
    fn item(self) -> Self {
        match self {
            Self::Data => Self::Data,
            _ => Self::Elsewhere,
        }
    }

    /// Whether an object here is a schema, so that its keys are keywords.
    fn is_schema(self) -> bool {
        matches!(self, Self::Root | Self::Property | Self::Elsewhere)
    }
}

/// An object or array that is not over yet.
struct Frame<'a> {
    place: Place,
    is_object: bool,
    start: usize,
    /// The next string is a key.
    at_key: bool,
    /// The key of the member that is being read, decoded, and where it begins.
    key: Cow<'a, str>,
    key_start: usize,
    keys: HashSet<Cow<'a, str>>,
    /// Values of `x-mcp-header` and `type`, raw.
    name: Option<&'a str>,
    kind: Option<&'a str>,
}

struct Walk<'a> {
    text: &'a str,
    at: usize,
    frames: Vec<Frame<'a>>,
    members: Vec<Range<usize>>,
    found: Result<Vec<Annotation>, &'static str>,
    /// Bytes of the paths found so far.
    path_bytes: usize,
}

impl<'a> Walk<'a> {
    /// Reads one token. `None` at the end, or where the text is no JSON.
    fn step(&mut self) -> Option<()> {
        let byte = *self.text.as_bytes().get(self.at)?;
        match byte {
            b'{' | b'[' => self.open(byte == b'{'),
            b'}' | b']' => {
                self.at += 1;
                self.close()?;
            }
            b',' => {
                self.at += 1;
                let frame = self.frames.last_mut()?;
                frame.at_key = frame.is_object;
            }
            b':' | b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
            _ => self.scalar()?,
        }
        Some(())
    }

    fn open(&mut self, is_object: bool) {
        let place = match self.frames.last() {
            None => Place::Root,
            Some(frame) if frame.is_object => frame.place.member(&frame.key),
            Some(frame) => frame.place.item(),
        };
        self.frames.push(Frame {
            place,
            is_object,
            start: self.at,
            at_key: is_object,
            key: Cow::Borrowed(""),
            key_start: 0,
            keys: HashSet::new(),
            name: None,
            kind: None,
        });
        self.at += 1;
    }

    fn close(&mut self) -> Option<()> {
        let frame = self.frames.pop()?;
        if let Some(name) = frame.name {
            match (self.judge(&frame, name), &mut self.found) {
                (Ok(annotation), Ok(found)) => found.push(annotation),
                (Err(fault), _) => self.found = Err(fault),
                (Ok(_), Err(_)) => {}
            }
        }
        self.value_ended(frame.start);
        Some(())
    }

    /// A string, number or name; a string may be a key.
    fn scalar(&mut self) -> Option<()> {
        let start = self.at;
        let rest = self.text.get(start..)?;
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&'a RawValue>();
        let value = values.next()?.ok()?.get();
        self.at += value.len();
        match self.frames.last_mut() {
            Some(frame) if frame.at_key => {
                frame.at_key = false;
                frame.key = decoded(value);
                frame.key_start = start;
                let repeated = frame.place != Place::Data && !frame.keys.insert(frame.key.clone());
                if repeated && self.found.is_ok() {
                    self.found = Err(GIVEN_TWICE);
                }
            }
            _ => self.value_ended(start),
        }
        Some(())
    }

    /// The value that began here has been read.
    fn value_ended(&mut self, start: usize) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        if !frame.is_object || !frame.place.is_schema() {
            return;
        }
        let value = self.text.get(start..self.at);
        match &*frame.key {
            KEYWORD => {
                frame.name = value;
                self.members.push(frame.key_start..self.at);
            }
            "type" => frame.kind = value,
            _ => {}
        }
    }

    /// The annotation of a schema that has been read, which is no longer among the frames.
    fn judge(&mut self, schema: &Frame<'_>, name: &str) -> Result<Annotation, &'static str> {
        let known = self.found.as_ref().map_err(|fault| *fault)?;
        if schema.place != Place::Property {
            return Err(OUT_OF_REACH);
        }
        let name: String = serde_json::from_str(name).map_err(|_| NO_TOKEN)?;
        if name.is_empty() || name.len() > FIELD_NAME_LIMIT {
            return Err(NO_TOKEN);
        }
        let header =
            HeaderName::from_bytes(format!("mcp-param-{name}").as_bytes()).map_err(|_| NO_TOKEN)?;
        let kind = schema.kind.map(decoded);
        if !matches!(kind.as_deref(), Some("string" | "integer" | "boolean")) {
            return Err(NOT_PRIMITIVE);
        }
        if known.iter().any(|annotation| annotation.header == header) {
            return Err(NOT_UNIQUE);
        }
        let keys = self.frames.iter();
        let keys = keys.filter(|frame| frame.place == Place::Properties);
        let (depth, bytes) = keys.clone().fold((0, 0), |(depth, bytes), frame| {
            (depth + 1, bytes + frame.key.len())
        });
        self.path_bytes += bytes;
        if known.len() == FIELDS || depth > PATH_DEPTH || self.path_bytes > PATHS_BYTES {
            return Err(TOO_MANY);
        }
        let path = keys.map(|frame| Box::from(&*frame.key)).collect();
        Ok(Annotation { path, header })
    }
}
