//! Values that older clients and servers cannot read, in a form that they can.
//!
//! In: results and questions as text, and the revision that the other side was told. Out: fields
//! that belong to an era as such (`result`, `meta`), JSON Schemas (`schemas`).

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use super::Era;
use super::schemas::{self, Wrapped};
use super::splice::{self, decoded};
use crate::proto::message::member;
use crate::proto::object::Object;
use crate::proto::{json, text};

/// Content blocks of one message that are brought into another form; more of them stay as they
/// are. Such a form can be many times as long as a short block.
pub const REWRITTEN: usize = 4096;

/// The first revision with audio content (MCP 2025-03-26, Changelog).
const WITH_AUDIO: &str = "2025-03-26";

/// The first revision with resource links and structured tool results (MCP 2025-06-18, Changelog).
const WITH_STRUCTURE: &str = "2025-06-18";

/// The first revision with several blocks and tools in a sampling message, several choices in a
/// form, and questions with a mode (MCP 2025-11-25, Changelog).
const WITH_SEVERAL: &str = "2025-11-25";

/// A `tools/list` result for a client at this revision: output schemas that are not objects at
/// their root are wrapped (and noted in `wrapped`), boolean schemas of properties are spelled as
/// objects. `None`: as it is.
///
/// A tool that cannot be noted any more gets an output schema that any object satisfies.
#[must_use]
pub fn tools(version: &str, result: &str, wrapped: &mut Wrapped) -> Option<String> {
    if Era::of(version) == Era::Modern {
        return None;
    }
    splice::members(result, |name, value| match name {
        "tools" => splice::items(value, |one| tool(one, wrapped)),
        _ => None,
    })
}

/// A `tools/call` result of this tool for a client at this revision: structured content wrapped
/// as its schema was, content blocks in a form it knows. `None`: as it is.
///
/// Up to MCP 2025-11-25 structured content is an object: any other value is wrapped even if the
/// list of tools was never seen. Where wrapped content stands alone, and for clients that know
/// none, a text block says the same (MCP 2025-06-18, Tools, Structured Content).
#[must_use]
pub fn call_result(version: &str, tool: &str, wrapped: &Wrapped, result: &str) -> Option<String> {
    if Era::of(version) == Era::Modern {
        return None;
    }
    let (mut content, mut structured) = (None, None);
    splice::members(result, |name, value| {
        match name {
            "content" => content = Some(value),
            "structuredContent" => structured = Some(value),
            _ => {}
        }
        None
    });
    let mut blocks = Blocks::new(version);
    let mut new = content.and_then(|content| blocks.content(content));
    let to_wrap = structured.filter(|value| wrapped.contains(tool) || !value.starts_with('{'));
    if let Some(value) = structured {
        let alone = content.is_none_or(is_empty);
        let is_told = alone && to_wrap.is_some() || !blocks.text && version < WITH_STRUCTURE;
        let blocks = new.as_deref().or(content).unwrap_or("[]");
        if is_told && let Some(start) = blocks.trim_end().strip_suffix(']') {
            let comma = if is_empty(blocks) { "" } else { "," };
            new = Some(format!("{start}{comma}{}]", text_block(value)));
        }
    }
    if new.is_none() && to_wrap.is_none() {
        return None;
    }
    let mut result = Object::parse(result)?;
    if let Some(content) = new {
        result.set("content", content);
    }
    if let Some(value) = to_wrap {
        result.set("structuredContent", in_result(value));
    }
    Some(result.to_string())
}

/// A `prompts/get` result for a client at this revision: content blocks in a form it knows.
/// `None`: as it is.
#[must_use]
pub fn prompt_result(version: &str, result: &str) -> Option<String> {
    if Era::of(version) == Era::Modern {
        return None;
    }
    let mut blocks = Blocks::new(version);
    let mut message = |message| {
        splice::members(message, |name, value| match name {
            "content" => blocks.block(Place::Content, value),
            _ => None,
        })
    };
    splice::members(result, |name, value| match name {
        "messages" => splice::items(value, &mut message),
        _ => None,
    })
}

/// The parameters of a question for a client at this revision, raw JSON. `None`: as they are.
///
/// For clients older than MCP 2025-11-25 a form has no `mode`, titled choices are `enum` and
/// `enumNames`, and a sampling message of several blocks is several messages of the same role.
/// Tools and tool results in a sampling request get the forms of [`tools`] and [`call_result`].
///
/// # Errors
/// Why it cannot be shown to such a client, in words for people. An address to open and a field
/// with several choices need a client of MCP 2025-11-25. Such a field is refused rather than shown
/// as a line of text: what a person types there need not be among the choices, and the server
/// could not tell a comma in a choice from one between two.
pub fn question(version: &str, method: &str, params: &str) -> Result<Option<String>, String> {
    if Era::of(version) == Era::Modern {
        return Ok(None);
    }
    match method {
        "elicitation/create" if version < WITH_SEVERAL => form(version, params),
        "sampling/createMessage" => {
            let mut blocks = Blocks::new(version);
            Ok(splice::members(params, |name, value| match name {
                "messages" => splice::items(value, |message| blocks.message(message)),
                "tools" => splice::items(value, |one| tool(one, &mut Wrapped::default())),
                _ => None,
            }))
        }
        _ => Ok(None),
    }
}

/// A modern client's answer (a result, raw JSON) to a question of a server at this revision, in a
/// form that it knows. `None`: as it is.
///
/// Servers older than MCP 2025-11-25 take one block as the content of a sampling answer: of several
/// they get the first text block, or else the first.
#[must_use]
pub fn answer(version: &str, method: &str, result: &str) -> Option<String> {
    if method != "sampling/createMessage" || version >= WITH_SEVERAL {
        return None;
    }
    splice::members(result, |name, content| {
        if name != "content" || !content.starts_with('[') {
            return None;
        }
        let (mut first, mut text) = (None, None);
        splice::items(content, |block| {
            first.get_or_insert(block);
            if text.is_none() && kind(block) == "text" {
                text = Some(block);
            }
            None
        });
        Some(text.or(first).unwrap_or(EMPTY_TEXT).to_owned())
    })
}

const EMPTY_TEXT: &str = r#"{"type":"text","text":""}"#;

fn tool(tool: &str, wrapped: &mut Wrapped) -> Option<String> {
    let name = member(tool, "name").map(decoded).unwrap_or_default();
    let mut is_wrapped = false;
    let new = splice::members(tool, |member, schema| match member {
        "inputSchema" => schemas::without_booleans(schema),
        "outputSchema" => {
            let Some(object) = schemas::wrapped(schema) else {
                return schemas::without_booleans(schema);
            };
            if !wrapped.note(&name, true) {
                return Some(r#"{"type":"object"}"#.to_owned());
            }
            is_wrapped = true;
            schemas::without_booleans(&object).or(Some(object))
        }
        _ => None,
    });
    if !is_wrapped {
        wrapped.note(&name, false);
    }
    new
}

/// The parameters of a question by form for a client that knows no other.
fn form(version: &str, params: &str) -> Result<Option<String>, String> {
    let mode = member(params, "mode").filter(|mode| *mode != "null");
    match mode.map(decoded).as_deref() {
        None | Some("form") => {}
        Some("url") => return Err(needs_newer("a web address to open")),
        Some(other) => {
            let other = text::sanitize(other, 40);
            return Err(format!(
                "clients of MCP {version} do not know questions of mode \"{other}\""
            ));
        }
    }
    let mut refused = None;
    let mut field = |name: &str, field| {
        if kind(field) == "array" && refused.is_none() {
            refused = Some(text::sanitize(name, 100));
        }
        with_names(field)
    };
    let new = splice::members(params, |name, schema| match name {
        "requestedSchema" => splice::members(schema, |name, fields| match name {
            "properties" => splice::members(fields, &mut field),
            _ => None,
        }),
        _ => None,
    });
    if let Some(name) = refused {
        return Err(needs_newer(&format!(
            "the field \"{name}\", of which several choices may be taken,"
        )));
    }
    let mut params = Object::parse(new.as_deref().unwrap_or(params)).unwrap_or_default();
    if params.remove("mode") {
        return Ok(Some(params.to_string()));
    }
    Ok(new)
}

fn needs_newer(what: &str) -> String {
    format!("{what} needs a client of MCP {WITH_SEVERAL} or newer")
}

/// A field with titled choices as MCP 2025-06-18 has it (Elicitation, Requested Schema).
fn with_names(field: &str) -> Option<String> {
    if kind(field) != "string" {
        return None;
    }
    let (mut values, mut names) = (String::new(), String::new());
    let mut readable = true;
    splice::items(member(field, "oneOf")?, |choice| {
        let text = |name| member(choice, name).filter(|raw| raw.starts_with('"'));
        let Some(value) = text("const") else {
            readable = false;
            return None;
        };
        let name = text("title").unwrap_or(value);
        for (list, item) in [(&mut values, value), (&mut names, name)] {
            list.push_str(if list.is_empty() { "" } else { "," });
            list.push_str(item);
        }
        None
    });
    if !readable || values.is_empty() {
        return None;
    }
    let mut field = Object::parse(field)?;
    field.remove("oneOf");
    field.set("enum", format!("[{values}]"));
    field.set("enumNames", format!("[{names}]"));
    Some(field.to_string())
}

/// Where a block of content stands.
#[derive(Clone, Copy)]
enum Place {
    /// In the result of a tool or in a prompt.
    Content,
    /// In a sampling message.
    Sampling,
}

/// Content blocks for one revision.
struct Blocks<'v> {
    version: &'v str,
    /// There was a text block.
    text: bool,
    /// How many more may get another form.
    left: usize,
}

impl<'v> Blocks<'v> {
    fn new(version: &'v str) -> Self {
        Self {
            version,
            text: false,
            left: REWRITTEN,
        }
    }

    fn content(&mut self, content: &str) -> Option<String> {
        splice::items(content, |block| self.block(Place::Content, block))
    }

    fn block(&mut self, place: Place, block: &str) -> Option<String> {
        let kind = kind(block);
        let is_known = match (place, &*kind) {
            (_, "text") => {
                self.text = true;
                true
            }
            (_, "image") | (Place::Content, "resource") => true,
            (_, "audio") => self.version >= WITH_AUDIO,
            (Place::Content, "resource_link") => self.version >= WITH_STRUCTURE,
            (Place::Sampling, "tool_use") => self.version >= WITH_SEVERAL,
            (Place::Sampling, "tool_result") if self.version >= WITH_SEVERAL => {
                return self.tool_result(block);
            }
            _ => false,
        };
        if is_known {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        let new = match (place, &*kind) {
            (Place::Content, "audio") => embedded(block),
            (Place::Content, "resource_link") => spelled_link(block),
            _ => None,
        };
        Some(new.unwrap_or_else(|| text_block(block)))
    }

    fn tool_result(&mut self, block: &str) -> Option<String> {
        splice::members(block, |name, value| match name {
            "content" => self.content(value),
            "structuredContent" if !value.starts_with('{') => Some(in_result(value)),
            _ => None,
        })
    }

    /// A sampling message; where it becomes several, with commas between them. Only the first has
    /// more than role and content.
    fn message(&mut self, message: &str) -> Option<String> {
        let content = member(message, "content")?;
        if !content.starts_with('[') {
            let block = self.block(Place::Sampling, content)?;
            return with_content(message, block);
        }
        let mut count = 0;
        let blocks = splice::items(content, |block| {
            count += 1;
            if self.version < WITH_SEVERAL {
                return None;
            }
            self.block(Place::Sampling, block)
        });
        if self.version >= WITH_SEVERAL {
            return with_content(message, blocks?);
        }
        if count == 0 {
            return with_content(message, EMPTY_TEXT.to_owned());
        }
        if count > self.left {
            return None;
        }
        let role = member(message, "role")?;
        if !matches!(&*decoded(role), "user" | "assistant") {
            return None;
        }
        let mut messages = Vec::new();
        splice::items(content, |block| {
            let new = self.block(Place::Sampling, block).unwrap_or_else(|| {
                self.left = self.left.saturating_sub(1);
                block.to_owned()
            });
            messages.push(if messages.is_empty() {
                with_content(message, new).unwrap_or_default()
            } else {
                format!(r#"{{"role":{role},"content":{new}}}"#)
            });
            None
        });
        Some(messages.join(","))
    }
}

fn with_content(message: &str, content: String) -> Option<String> {
    let mut message = Object::parse(message)?;
    message.set("content", content);
    Some(message.to_string())
}

/// What an object says it is; empty for anything else.
fn kind(object: &str) -> Cow<'_, str> {
    member(object, "type").map(decoded).unwrap_or_default()
}

fn is_empty(array: &str) -> bool {
    let inner = array.trim().strip_prefix('[');
    inner.is_some_and(|inner| inner.trim_start() == "]")
}

/// A value as [`schemas::wrapped`] says.
fn in_result(value: &str) -> String {
    format!(r#"{{"result":{value}}}"#)
}

/// A text block that holds this JSON.
fn text_block(value: &str) -> String {
    format!(r#"{{"type":"text","text":{}}}"#, json::quote(value))
}

/// Audio as the embedded resource that it could be: its address stands for its data.
fn embedded(audio: &str) -> Option<String> {
    let mut block = Object::parse(audio)?;
    let text = |name| block.get(name).filter(|raw| raw.starts_with('"'));
    let data = text("data")?;
    let name = u64::from_be_bytes(*Sha256::digest(data).first_chunk()?);
    let mime = text("mimeType").map(|mime| format!(r#""mimeType":{mime},"#));
    let mime = mime.unwrap_or_default();
    let resource = format!(r#"{{"uri":"mcp-bridge://audio/{name:016x}",{mime}"blob":{data}}}"#);
    block.remove("data");
    block.remove("mimeType");
    block.set("type", r#""resource""#);
    block.set("resource", resource);
    Some(block.to_string())
}

/// A link as text for people and models: name, address and description.
fn spelled_link(link: &str) -> Option<String> {
    let mut block = Object::parse(link)?;
    let text = |name| block.get(name).map(decoded).filter(|text| !text.is_empty());
    let uri = text("uri")?;
    let mut told = text("name").map_or_else(|| uri.to_string(), |name| format!("{name} - {uri}"));
    if let Some(description) = text("description") {
        told.push('\n');
        told.push_str(&description);
    }
    block.retain(|name| matches!(name, "type" | "annotations" | "_meta"));
    block.set("type", r#""text""#);
    block.set("text", json::quote(&told));
    Some(block.to_string())
}

#[cfg(test)]
mod tests;
