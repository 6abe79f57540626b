//! Which tools the client may see and call: `--ignore-tool`, `--only-tool`, `--read-only`.
//!
//! In: name patterns, cutting tools out of a list, remembering which are read-only. Out: which
//! message is a list or a call, and the error that a refused call gets.

use std::collections::HashMap;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Memory for the names that `--read-only` remembers, in bytes. A tool that does not fit stays
/// hidden.
pub const LEARNED_BYTES: usize = 1 << 20;

/// A pattern for whole tool names: `*` stands for any run of characters, also none; everything
/// else for itself, without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Lower case; nothing in front of it.
    head: Box<str>,
    /// What follows each `*`, lower case.
    tails: Vec<Box<str>>,
}

impl Pattern {
    /// Every text is a pattern.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let folded = text.to_lowercase();
        let mut parts = folded.split('*').map(Box::from);
        Self {
            head: parts.next().unwrap_or_default(),
            tails: parts.collect(),
        }
    }

    /// Whether the whole name fits. Takes time linear to the name for each part of the pattern.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.matches_folded(&name.to_lowercase())
    }

    fn matches_folded(&self, name: &str) -> bool {
        let Some((last, inner)) = self.tails.split_last() else {
            return name == &*self.head;
        };
        let Some(rest) = name.strip_prefix(&*self.head) else {
            return false;
        };
        let Some(mut rest) = rest.strip_suffix(&**last) else {
            return false;
        };
        // The leftmost place for each part leaves the most room for the next.
        inner.iter().all(|part| {
            let found = rest.split_once(&**part);
            rest = found.map_or(rest, |(_, tail)| tail);
            found.is_some()
        })
    }
}

/// Why a tool is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A pattern of `--ignore-tool` fits the name.
    Ignored,
    /// No pattern of `--only-tool` fits the name.
    NotOnly,
    /// The server does not mark the tool as read-only.
    NotReadOnly,
    /// No list named the tool so far, so nobody knows whether it is read-only.
    NotListed,
}

impl Refusal {
    /// The option that hides the tool.
    #[must_use]
    pub fn flag(self) -> &'static str {
        match self {
            Self::Ignored => "--ignore-tool",
            Self::NotOnly => "--only-tool",
            Self::NotReadOnly | Self::NotListed => "--read-only",
        }
    }
}

/// A list whose readers could disagree about the tools in it; it must not be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the server's tool list is ambiguous or malformed, so the tool filter cannot be applied to it; \
     tell the server's operator"
)]
pub struct Unfilterable;

/// The user's choice of tools. The default hides nothing.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    ignore: Vec<Pattern>,
    only: Vec<Pattern>,
    read_only: bool,
    learned: Learned,
}

impl Filter {
    /// A filter of `--ignore-tool` patterns, `--only-tool` patterns (none: all tools) and
    /// `--read-only`.
    #[must_use]
    pub fn new<S: AsRef<str>>(ignore: &[S], only: &[S], read_only: bool) -> Self {
        let patterns = |texts: &[S]| {
            texts
                .iter()
                .map(|text| Pattern::new(text.as_ref()))
                .collect()
        };
        Self {
            ignore: patterns(ignore),
            only: patterns(only),
            read_only,
            learned: Learned::default(),
        }
    }

    /// Whether any tool could be hidden.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.read_only || !self.ignore.is_empty() || !self.only.is_empty()
    }

    /// Whether only read-only tools are shown.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Why a call of this tool must not reach the server; `None` if it may. `name` is the text
    /// that the JSON string stands for.
    #[must_use]
    pub fn refusal(&self, name: &str) -> Option<Refusal> {
        self.refusal_by_name(name).or_else(|| {
            if !self.read_only {
                return None;
            }
            match self.learned.names.get(name) {
                Some(hint) if hint.read_only => None,
                Some(_) => Some(Refusal::NotReadOnly),
                None => Some(Refusal::NotListed),
            }
        })
    }

    /// Cuts the hidden tools out of the `tools` of a `tools/list` result, given as JSON text.
    /// `None` if nothing is hidden. Everything that stays is byte for byte as it was.
    ///
    /// With `--read-only` it also remembers each tool's `annotations.readOnlyHint` (MCP
    /// 2025-11-25, Schema, `ToolAnnotations`) for [`Filter::refusal`].
    ///
    /// # Errors
    ///
    /// [`Unfilterable`] if `tools` is there twice or the text is malformed: another reader could
    /// see a tool in it that this one did not.
    pub fn edit_list(&mut self, result: &str) -> Result<Option<String>, Unfilterable> {
        if !self.is_active() || !starts_with(result, '{') {
            return Ok(None);
        }
        let tools = match fields(result, &["tools"])?.as_slice() {
            [] => return Ok(None),
            [(_, tools)] => *tools,
            _ => return Err(Unfilterable),
        };
        if !starts_with(tools.get(), '[') {
            return Ok(None);
        }
        if self.read_only {
            self.learned.round = self.learned.round.wrapping_add(1);
            for_each_item(tools, |item| {
                let tool = Tool::read(item.get())?;
                for name in &tool.names {
                    self.learned
                        .learn(name, tool.read_only && tool.names.len() == 1);
                }
                Ok(())
            })?;
        }
        let mut cut = Cut::new(result);
        for_each_item(tools, |item| {
            let hidden = self.hides(&Tool::read(item.get())?);
            cut.item(item.get(), hidden).ok_or(Unfilterable)
        })?;
        Ok(cut.finish())
    }

    /// Forgets what lists said about tools.
    pub fn forget(&mut self) {
        self.learned = Learned::default();
    }

    fn hides(&self, tool: &Tool) -> bool {
        (tool.nameless && (self.read_only || !self.only.is_empty()))
            || tool.names.iter().any(|name| self.refusal(name).is_some())
    }

    fn refusal_by_name(&self, name: &str) -> Option<Refusal> {
        let folded = name.to_lowercase();
        let any = |patterns: &[Pattern]| patterns.iter().any(|one| one.matches_folded(&folded));
        if any(&self.ignore) {
            return Some(Refusal::Ignored);
        }
        (!self.only.is_empty() && !any(&self.only)).then_some(Refusal::NotOnly)
    }
}

/// The one tool that the parameters of a `tools/call` name, as text; `None` if they name none, or
/// two, so that another reader could see another tool than this one.
#[must_use]
pub fn called_tool(params: &str) -> Option<String> {
    match fields(params, &["name"]).ok()?.as_slice() {
        [(_, name)] if starts_with(name.get(), '"') => string(name).ok(),
        _ => None,
    }
}

/// What lists said about tools.
#[derive(Clone, Debug, Default)]
struct Learned {
    names: HashMap<Box<str>, Hint>,
    bytes: usize,
    /// Counts lists: within one, a name is read-only if all its entries are; a later one replaces
    /// what an earlier one said.
    round: u64,
}

#[derive(Clone, Copy, Debug)]
struct Hint {
    read_only: bool,
    round: u64,
}

impl Learned {
    /// About what an entry costs beside its name, in bytes.
    const ENTRY_BYTES: usize = 64;

    fn learn(&mut self, name: &str, read_only: bool) {
        let round = self.round;
        if let Some(hint) = self.names.get_mut(name) {
            let read_only = read_only && (hint.round != round || hint.read_only);
            *hint = Hint { read_only, round };
            return;
        }
        let bytes = self.bytes + name.len() + Self::ENTRY_BYTES;
        if bytes <= LEARNED_BYTES {
            self.bytes = bytes;
            self.names.insert(name.into(), Hint { read_only, round });
        }
    }
}

/// What the filter wants to know about one entry of a list.
struct Tool {
    /// More than one if the key is repeated: readers differ in which one counts.
    names: Vec<String>,
    /// There is no name, or one that is not a string.
    nameless: bool,
    read_only: bool,
}

impl Tool {
    fn read(text: &str) -> Result<Self, Unfilterable> {
        let mut tool = Self {
            names: Vec::new(),
            nameless: true,
            read_only: false,
        };
        if !starts_with(text, '{') {
            return Ok(tool);
        }
        let mut others = 0;
        let mut hints = Vec::new();
        for (key, value) in fields(text, &["name", "annotations"])? {
            match key {
                0 if starts_with(value.get(), '"') => tool.names.push(string(value)?),
                0 => others += 1,
                _ if starts_with(value.get(), '{') => {
                    hints.extend(fields(value.get(), &["readOnlyHint"])?);
                }
                _ => {}
            }
        }
        tool.nameless = others > 0 || tool.names.is_empty();
        tool.read_only = matches!(hints.as_slice(), [(_, hint)] if hint.get() == "true");
        Ok(tool)
    }
}

/// A copy of `text` without some items of an array in it; made when the first item falls.
struct Cut<'a> {
    text: &'a str,
    /// The copy up to the last item that stays.
    copy: Option<String>,
    /// End of the last item, kept or not.
    end: Option<usize>,
    /// Whether the copy holds an item, so that the next one needs its comma.
    kept: bool,
}

impl<'a> Cut<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            copy: None,
            end: None,
            kept: false,
        }
    }

    /// Takes the next item, a part of `text`. `None` if it is not.
    fn item(&mut self, item: &str, hidden: bool) -> Option<()> {
        let start = item
            .as_ptr()
            .addr()
            .checked_sub(self.text.as_ptr().addr())?;
        let end = start.checked_add(item.len())?;
        self.text.get(start..end)?;
        match &mut self.copy {
            None if hidden => {
                self.copy = Some(self.text.get(..self.end.unwrap_or(start))?.to_owned());
            }
            Some(copy) if !hidden => {
                let from = if self.kept { self.end? } else { start };
                copy.push_str(self.text.get(from..end)?);
            }
            _ => {}
        }
        self.kept |= !hidden;
        self.end = Some(end);
        Some(())
    }

    /// The copy with the rest of the text; `None` if every item stayed.
    fn finish(self) -> Option<String> {
        let rest = self.text.get(self.end?..)?;
        self.copy.map(|copy| copy + rest)
    }
}

fn starts_with(json: &str, first: char) -> bool {
    json.trim_start_matches([' ', '\t', '\n', '\r'])
        .starts_with(first)
}

/// The text of a JSON string; a lone surrogate becomes U+FFFD, once for each of its bytes.
fn string(value: &RawValue) -> Result<String, Unfilterable> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = String;
        fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            out.write_str("a string")
        }
        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<String, E> {
            Ok(String::from_utf8_lossy(bytes).into_owned())
        }
    }
    let mut reader = serde_json::Deserializer::from_str(value.get());
    reader.deserialize_bytes(Text).map_err(|_| Unfilterable)
}

/// The values of the wanted keys of a JSON object in their order, repeated ones too, each with
/// the key's place in `wanted`.
fn fields<'a>(json: &'a str, wanted: &[&str]) -> Result<Vec<(usize, &'a RawValue)>, Unfilterable> {
    struct Fields<'w>(&'w [&'w str]);
    impl<'a> Visitor<'a> for Fields<'_> {
        type Value = Vec<(usize, &'a RawValue)>;
        fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            out.write_str("an object")
        }
        fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut found = Vec::new();
            while let Some(key) = map.next_key_seed(Key(self.0))? {
                let value = map.next_value::<&RawValue>()?;
                // A key twice is already too much; more of them need not be kept.
                if let Some(key) = key
                    && found.iter().filter(|(seen, _)| *seen == key).count() < 2
                {
                    found.push((key, value));
                }
            }
            Ok(found)
        }
    }
    let mut reader = serde_json::Deserializer::from_str(json);
    let found = reader
        .deserialize_map(Fields(wanted))
        .map_err(|_| Unfilterable)?;
    reader.end().map_err(|_| Unfilterable)?;
    Ok(found)
}

/// Reads a key as bytes, which every JSON string is, and finds its place among the wanted ones.
struct Key<'w>(&'w [&'w str]);

impl<'a> DeserializeSeed<'a> for Key<'_> {
    type Value = Option<usize>;
    fn deserialize<D: Deserializer<'a>>(self, key: D) -> Result<Self::Value, D::Error> {
        key.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;
    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a key")
    }
    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        self.visit_bytes(key.as_bytes())
    }
    fn visit_bytes<E: Error>(self, key: &[u8]) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|wanted| wanted.as_bytes() == key))
    }
}

/// Calls `visit` with every item of a JSON array, without holding a list of them.
fn for_each_item<'a>(
    array: &'a RawValue,
    visit: impl FnMut(&'a RawValue) -> Result<(), Unfilterable>,
) -> Result<(), Unfilterable> {
    struct Items<F>(F);
    impl<'a, F: FnMut(&'a RawValue) -> Result<(), Unfilterable>> Visitor<'a> for Items<F> {
        type Value = ();
        fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            out.write_str("an array")
        }
        fn visit_seq<S: SeqAccess<'a>>(mut self, mut items: S) -> Result<(), S::Error> {
            while let Some(item) = items.next_element::<&RawValue>()? {
                self.0(item).map_err(S::Error::custom)?;
            }
            Ok(())
        }
    }
    let mut reader = serde_json::Deserializer::from_str(array.get());
    reader
        .deserialize_seq(Items(visit))
        .map_err(|_| Unfilterable)
}

#[cfg(test)]
mod tests;
