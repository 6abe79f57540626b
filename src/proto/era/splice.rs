//! A text in which some parts are replaced while it is read from front to back.
//!
//! In: the items of a JSON array and the members of a JSON object, one after the other and never
//! all in memory, and the text with some of them replaced; every other byte stays. Out: which are
//! replaced (`values`, `schemas`), members that are added or removed (`object`).

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The text so far, and how much of the old one is in it.
pub(super) struct Splice<'a> {
    whole: &'a str,
    new: String,
    copied: usize,
    replaced: bool,
}

impl<'a> Splice<'a> {
    /// Nothing is replaced yet.
    pub(super) fn new(whole: &'a str) -> Self {
        Self {
            whole,
            new: String::new(),
            copied: 0,
            replaced: false,
        }
    }

    /// Replaces the bytes from `start` up to `end`, which lie behind all that was replaced before.
    pub(super) fn replace(&mut self, start: usize, end: usize, with: &str) {
        let between = self.whole.get(self.copied..start).unwrap_or_default();
        self.new.push_str(between);
        self.new.push_str(with);
        self.copied = end;
        self.replaced = true;
    }

    /// The new text. `None` if nothing was replaced.
    pub(super) fn finish(mut self) -> Option<String> {
        let rest = self.whole.get(self.copied..).unwrap_or_default();
        self.new.push_str(rest);
        self.replaced.then_some(self.new)
    }
}

/// A JSON array with some of its items replaced: `edit` sees each one, raw. `None` if none was, or
/// if the text is no array.
pub(super) fn items<'a>(
    array: &'a str,
    mut edit: impl FnMut(&'a str) -> Option<String>,
) -> Option<String> {
    let mut reader = serde_json::Deserializer::from_str(array);
    let parts = Parts {
        splice: Splice::new(array),
        edit: |_: &str, item: &'a str| edit(item),
    };
    reader.deserialize_seq(parts).ok()?
}

/// A JSON object with the values of some of its members replaced: `edit` sees each name, decoded,
/// and its value, raw. `None` if none was, or if the text is no object.
pub(super) fn members<'a>(
    object: &'a str,
    edit: impl FnMut(&str, &'a str) -> Option<String>,
) -> Option<String> {
    let mut reader = serde_json::Deserializer::from_str(object);
    let parts = Parts {
        splice: Splice::new(object),
        edit,
    };
    reader.deserialize_map(parts).ok()?
}

struct Parts<'a, F> {
    splice: Splice<'a>,
    edit: F,
}

impl<'a, F: FnMut(&str, &'a str) -> Option<String>> Parts<'a, F> {
    fn part(&mut self, name: &str, value: &'a str) {
        if let Some(new) = (self.edit)(name, value) {
            // The value is a slice of the whole.
            let start = value.as_ptr() as usize - self.splice.whole.as_ptr() as usize;
            self.splice.replace(start, start + value.len(), &new);
        }
    }
}

impl<'de, F: FnMut(&str, &'de str) -> Option<String>> Visitor<'de> for Parts<'de, F> {
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Self::Value, A::Error> {
        while let Some(item) = seq.next_element::<&'de RawValue>()? {
            self.part("", item.get());
        }
        Ok(self.splice.finish())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        while let Some(key) = map.next_key::<&'de RawValue>()? {
            let value = map.next_value::<&'de RawValue>()?;
            self.part(&decoded(key.get()), value.get());
        }
        Ok(self.splice.finish())
    }
}

/// What a JSON string says; empty for one that says nothing in Unicode, and for anything else.
pub(super) fn decoded(token: &str) -> Cow<'_, str> {
    let inner = token
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(plain) if !plain.contains('\\') => plain.into(),
        Some(_) => serde_json::from_str::<String>(token)
            .unwrap_or_default()
            .into(),
        None => "".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_replaced_stays_byte_for_byte() {
        let array = "[ 1.0e2 ,\n\"\\ud800\", {\"a\" : 1} ,2 ]";
        let ones = |item: &str| item.contains('1').then(|| "0".to_owned());
        assert_eq!(
            items(array, ones).as_deref(),
            Some("[ 0 ,\n\"\\ud800\", 0 ,2 ]")
        );
        let object = "{ \"a\" : 1.0 ,\"\\u0061\":[ ],\"\\ud800\":2, \"b\":3 }";
        let named_a = |name: &str, value: &str| (name == "a").then(|| format!("<{value}>"));
        assert_eq!(
            members(object, named_a).as_deref(),
            Some("{ \"a\" : <1.0> ,\"\\u0061\":<[ ]>,\"\\ud800\":2, \"b\":3 }")
        );
    }

    #[test]
    fn nothing_replaced_and_other_texts_are_none() {
        assert_eq!(items("[1,2]", |_| None), None);
        assert_eq!(members("{\"a\":1}", |_, _| None), None);
        for text in ["", "null", "7", "\"x\"", "[1", "{\"a\":1"] {
            assert_eq!(items(text, |_| Some("x".into())), None, "{text}");
            assert_eq!(members(text, |_, _| Some("x".into())), None, "{text}");
        }
    }

    #[test]
    fn items_are_not_members_and_the_other_way_round() {
        assert_eq!(items("{\"a\":1}", |_| Some("x".into())), None);
        assert_eq!(members("[1]", |_, _| Some("x".into())), None);
    }

    #[test]
    fn strings_are_decoded() {
        assert_eq!(decoded(r#""a""#), "a");
        assert_eq!(decoded(r#""\u0061\/""#), "a/");
        for token in ["", "\"", "1", "null", "[\"a\"]", r#""\ud800""#] {
            assert_eq!(decoded(token), "", "{token}");
        }
    }
}
