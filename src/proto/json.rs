//! JSON as text: what can be decided without reading it into a tree.
//!
//! In: bringing a message onto one line, its nesting depth, string literals. Out: what a message
//! says, and whether the text is valid JSON at all (the envelope's reader decides that).

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr2, memchr2_iter};

/// Deepest nesting of objects and arrays that is passed on.
pub const DEPTH_LIMIT: usize = 512;

/// The same JSON text without line breaks, as the stdio transport wants it (MCP 2025-11-25,
/// Transports, stdio).
///
/// A text without line breaks comes back as it is. From any other, white space outside strings is
/// dropped (RFC 8259 §2); numbers, escapes, key order and everything else stay byte for byte. A
/// buffer that nobody else holds is reused, so a large message is not copied. The result never
/// holds a line break, even if the text was not valid JSON.
#[must_use]
pub fn to_one_line(bytes: Bytes) -> Bytes {
    if memchr2(b'\n', b'\r', &bytes).is_none() {
        return bytes;
    }
    let mut text = bytes
        .try_into_mut()
        .unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
    let length = compact(&mut text);
    text.truncate(length);
    if memchr2(b'\n', b'\r', &text).is_some() {
        // A raw line break inside a string: not valid JSON, and still must not split the line.
        return text
            .iter()
            .copied()
            .filter(|byte| !matches!(byte, b'\n' | b'\r'))
            .collect();
    }
    text.freeze()
}

/// Whether objects and arrays are nested deeper than `limit`. Brackets inside strings do not
/// count; the text need not be valid JSON.
#[must_use]
pub fn depth_exceeds(text: &[u8], limit: usize) -> bool {
    // Too few brackets altogether: the usual case, and one fast pass.
    if memchr2_iter(b'{', b'[', text).nth(limit).is_none() {
        return false;
    }
    let mut depth = 0_usize;
    let mut rest = text;
    loop {
        let (outside, tail) = rest.split_at(memchr(b'"', rest).unwrap_or(rest.len()));
        for byte in outside {
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > limit {
                return true;
            }
        }
        rest = tail.split_at(string_length(tail)).1;
        if rest.is_empty() {
            return false;
        }
    }
}

/// The text as a JSON string literal, quotation marks included.
#[must_use]
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Moves everything but white space outside strings to the front; the number of bytes kept.
fn compact(text: &mut [u8]) -> usize {
    let (mut read, mut kept) = (0, 0);
    while let Some(&byte) = text.get(read) {
        if byte == b'"' {
            let length = text.get(read..).map_or(1, string_length);
            text.copy_within(read..read + length, kept);
            kept += length;
            read += length;
            continue;
        }
        read += 1;
        if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            if let Some(place) = text.get_mut(kept) {
                *place = byte;
            }
            kept += 1;
        }
    }
    kept
}

/// Length of the string literal at the start of `text` with both quotation marks, or of the whole
/// text if the literal does not end. Zero for an empty text.
pub(super) fn string_length(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if text.get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn one_line(text: &str) -> String {
        String::from_utf8(to_one_line(Bytes::copy_from_slice(text.as_bytes())).to_vec()).unwrap()
    }

    #[test]
    fn t04_pretty_printed_becomes_one_line() {
        let pretty =
            "{\r\n\t\"a b\" : [ 1.0e2 ,\n 12345678901234567890 ],\n  \"c\": \"x \\\" y\\\\\"\n}\n";
        assert_eq!(
            one_line(pretty),
            r#"{"a b":[1.0e2,12345678901234567890],"c":"x \" y\\"}"#
        );
    }

    #[test]
    fn t06_tokens_stay_byte_for_byte() {
        let text =
            "{\"n\":1.0e2,\"n\":12345678901234567890,\n\"s\":\"\\u2028\u{2028}\\ud800 \\n\"}";
        let expected =
            "{\"n\":1.0e2,\"n\":12345678901234567890,\"s\":\"\\u2028\u{2028}\\ud800 \\n\"}";
        assert_eq!(one_line(text), expected);
    }

    #[test]
    fn without_line_breaks_the_same_buffer_comes_back() {
        let bytes = Bytes::from(b"{ \"a\" :  1 }".to_vec());
        let pointer = bytes.as_ptr();
        let line = to_one_line(bytes.clone());
        assert_eq!((line.as_ptr(), &line), (pointer, &bytes));
    }

    #[test]
    fn a_buffer_of_ones_own_is_reused() {
        let bytes = Bytes::from(b"{\n\"a\": 1\n}".to_vec());
        let pointer = bytes.as_ptr();
        let line = to_one_line(bytes);
        assert_eq!(
            (line.as_ptr(), line.as_ref()),
            (pointer, b"{\"a\":1}".as_slice())
        );
    }

    #[test]
    fn a_shared_buffer_is_left_alone() {
        let bytes = Bytes::from(b"[\n1]".to_vec());
        assert_eq!(to_one_line(bytes.clone()), "[1]");
        assert_eq!(bytes, "[\n1]");
    }

    #[test]
    fn g10_no_line_break_survives_even_in_broken_text() {
        for text in [
            "{\"a\":\"x\ny\"}",
            "\"\r\n",
            "\"\\\n\"\n",
            "\\\"\n",
            "\n",
            "{}\n{\"id\":1}\r",
        ] {
            assert!(!one_line(text).contains(['\n', '\r']), "{text:?}");
        }
    }

    #[test]
    fn depth_counts_brackets_outside_strings() {
        let nested = |depth: usize| "[{\"a\":".repeat(depth / 2) + "1" + &"}]".repeat(depth / 2);
        assert!(!depth_exceeds(nested(512).as_bytes(), DEPTH_LIMIT));
        assert!(depth_exceeds(nested(514).as_bytes(), DEPTH_LIMIT));
        let many = format!("[{}[]]", "[],".repeat(5000));
        assert!(!depth_exceeds(many.as_bytes(), DEPTH_LIMIT));
        let string = format!("[\"{}\\\"{}\",{{}}]", "[".repeat(5000), "{".repeat(5000));
        assert!(!depth_exceeds(string.as_bytes(), DEPTH_LIMIT));
        assert!(depth_exceeds(b"[]", 0));
        assert!(!depth_exceeds(b"1", 0));
    }

    #[test]
    fn hostile_depth_is_seen_in_text_that_never_ends() {
        assert!(depth_exceeds("[".repeat(1 << 20).as_bytes(), DEPTH_LIMIT));
        assert!(depth_exceeds(
            ("]".repeat(1000) + &"{\"\\".repeat(600)).as_bytes(),
            0
        ));
        for text in ["\"", "\"\\", "[\"\\", "\"\\\"", ""] {
            assert!(!depth_exceeds(text.as_bytes(), 1), "{text}");
        }
    }

    #[test]
    fn quote_escapes() {
        assert_eq!(quote("a\"b\\\n\u{1}ä"), r#""a\"b\\\n\u0001ä""#);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "[ -~\n\\\\\"\\[{ä]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec(("[a-z \"]{0,3}", inner), 0..4)
                    .prop_map(|pairs| pairs.into_iter().collect::<Value>()),
            ]
        })
    }

    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
            Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    proptest! {
        #[test]
        fn pretty_text_compacts_to_what_serde_writes(value in any_json()) {
            let pretty = format!("{value:#}\n");
            prop_assert_eq!(one_line(&pretty), value.to_string());
        }

        #[test]
        fn depth_agrees_with_the_tree(value in any_json(), limit in 0_usize..8) {
            prop_assert_eq!(depth_exceeds(value.to_string().as_bytes(), limit), depth(&value) > limit);
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let line = to_one_line(Bytes::from(bytes.clone()));
            prop_assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
            let deep = depth_exceeds(&bytes, 0);
            prop_assert!(!deep || memchr2(b'[', 0x7b, &bytes).is_some());
        }
    }
}
