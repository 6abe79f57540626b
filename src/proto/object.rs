//! A JSON object or array as text, taken apart one level deep and put together again.
//!
//! In: reading, replacing, adding and removing members; every value that is not touched stays byte
//! for byte, and so does the order of the members. Out: what the members mean.

use std::borrow::Cow;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json;

/// A JSON object: its members in order, the values as raw JSON.
#[derive(Clone, Debug, Default)]
pub struct Object<'a> {
    members: Vec<Member<'a>>,
}

#[derive(Clone, Debug)]
struct Member<'a> {
    /// As it is spelled, quotation marks included.
    key: Cow<'a, str>,
    value: Cow<'a, str>,
}

impl Member<'_> {
    fn is(&self, name: &str) -> bool {
        let spelled = self.key.get(1..self.key.len() - 1).unwrap_or_default();
        if !spelled.contains('\\') {
            return spelled == name;
        }
        serde_json::from_str::<String>(&self.key).is_ok_and(|key| key == name)
    }
}

impl<'a> Object<'a> {
    /// Takes an object apart. `None` for anything else.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<Member<'de>>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(key) = map.next_key::<&'de RawValue>()? {
                    let value = map.next_value::<&'de RawValue>()?;
                    members.push(Member {
                        key: key.get().into(),
                        value: value.get().into(),
                    });
                }
                Ok(members)
            }
        }
        let mut reader = serde_json::Deserializer::from_str(text);
        let members = reader.deserialize_map(Members).ok()?;
        reader.end().ok()?;
        Some(Self { members })
    }

    /// The first member of this name, raw JSON.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.members.iter().find(|member| member.is(name))?;
        Some(&found.value)
    }

    /// Removes every member of this name. Whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.members.len();
        self.members.retain(|member| !member.is(name));
        self.members.len() != before
    }

    /// Keeps the members whose names, decoded, are wanted. Whether one went.
    pub fn retain(&mut self, mut wanted: impl FnMut(&str) -> bool) -> bool {
        let before = self.members.len();
        self.members.retain(|member| {
            let name: String = serde_json::from_str(&member.key).unwrap_or_default();
            wanted(&name)
        });
        self.members.len() != before
    }

    /// Sets a member to raw JSON: in place of the first of this name, others of it go; at the end
    /// if there is none.
    pub fn set(&mut self, name: &str, value: impl Into<Cow<'a, str>>) {
        let value = value.into();
        let Some(at) = self.members.iter().position(|member| member.is(name)) else {
            let key = json::quote(name).into();
            return self.members.push(Member { key, value });
        };
        if let Some(member) = self.members.get_mut(at) {
            member.value = value;
        }
        let mut index = 0;
        self.members.retain(|member| {
            index += 1;
            index - 1 <= at || !member.is(name)
        });
    }

    /// Decoded names and raw values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (String, &str)> {
        self.members.iter().map(|member| {
            let name = serde_json::from_str(&member.key).unwrap_or_default();
            (name, &*member.value)
        })
    }

    /// Whether it has no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// JSON text, without white space between the members.
impl std::fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("{")?;
        for (index, member) in self.members.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{}:{}", member.key, member.value)?;
        }
        f.write_str("}")
    }
}

/// The items of a JSON array, raw. `None` for anything else.
#[must_use]
pub fn items(text: &str) -> Option<Vec<&str>> {
    let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(items.into_iter().map(RawValue::get).collect())
}

/// A JSON array of these raw values.
#[must_use]
pub fn array<S: AsRef<str>>(items: &[S]) -> String {
    let mut text = String::from("[");
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(item.as_ref());
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_touched_stays_as_it_was() {
        let text = r#"{"n":1.0e2,"\u0061":"\ud800","big":12345678901234567890,"o":{ "x" : [ ] }}"#;
        let object = Object::parse(text).unwrap();
        assert_eq!(object.to_string(), text);
        assert_eq!(object.get("a"), Some(r#""\ud800""#));
        assert_eq!(object.get("o"), Some(r#"{ "x" : [ ] }"#));
        assert_eq!(object.get("none"), None);
    }

    #[test]
    fn members_are_replaced_in_place_added_at_the_end_and_removed() {
        let mut object = Object::parse(r#"{"a":1,"b":2,"\u0061":3,"c":4}"#).unwrap();
        object.set("a", "[]");
        object.set("d", "\"x\"");
        assert!(object.remove("c") && !object.remove("c"));
        assert_eq!(object.to_string(), r#"{"a":[],"b":2,"d":"x"}"#);
        assert!(object.retain(|name| name == "b") && !object.is_empty());
        assert_eq!(object.to_string(), r#"{"b":2}"#);
        let names: Vec<_> = object.iter().collect();
        assert_eq!(names, [("b".to_owned(), "2")]);
    }

    #[test]
    fn anything_but_an_object_is_none() {
        for text in [
            "",
            "[]",
            "null",
            "{\"a\":1",
            "{\"a\":1}x",
            "\"{}\"",
            "{\"a\"}",
        ] {
            assert!(Object::parse(text).is_none(), "{text}");
        }
        assert!(Object::parse(" {} ").unwrap().is_empty());
    }

    #[test]
    fn arrays_come_apart_and_together() {
        let text = r#"[1.0,{"a":[]},"x"]"#;
        assert_eq!(array(&items(text).unwrap()), text);
        assert_eq!(array::<&str>(&[]), "[]");
        assert!(items("{}").is_none());
    }
}
