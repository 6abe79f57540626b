//! JSON-RPC errors of one era in the words of the other (MCP 2026-07-28, Base Protocol, Error
//! Codes).
//!
//! In: one `error` object as text. Out: what an error proves about the server (`evidence`), and
//! what can be done about it (`bridge`).

use std::ops::RangeInclusive;

use crate::proto::message::member;
use crate::proto::object::Object;
use crate::proto::{json, limits, text};

use super::discover;

/// `HeaderMismatch` (MCP 2026-07-28, Streamable HTTP, Server Validation).
pub const HEADER_MISMATCH: i64 = -32020;
/// `MissingRequiredClientCapability`.
pub const MISSING_CAPABILITY: i64 = -32021;
/// `UnsupportedProtocolVersion`.
pub const UNSUPPORTED_VERSION: i64 = -32022;
/// The same before the revision was final; counts only with `data.supported`.
pub const UNSUPPORTED_VERSION_DRAFT: i64 = -32004;
/// JSON-RPC 2.0: the method does not exist.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC 2.0: the parameters are wrong.
pub const INVALID_PARAMS: i64 = -32602;
/// JSON-RPC 2.0: something went wrong inside.
pub const INTERNAL: i64 = -32603;
/// No such resource (MCP 2025-11-25, Resources, Error Handling).
pub const NO_SUCH_RESOURCE: i64 = -32002;
/// The client has to open an address first (MCP 2025-11-25, Elicitation, URL Elicitation Required
/// Error).
pub const URL_ELICITATION_REQUIRED: i64 = -32042;

/// Codes that belong to MCP from 2026-07-28 on.
const RESERVED: RangeInclusive<i64> = -32099..=-32020;

/// Capabilities that a message names at most.
const NAMED: usize = 8;

/// A modern server's error for a legacy client, raw JSON. `None`: as it is. `uri` is what a
/// `resources/read` asked for (decoded), `None` for other methods.
#[must_use]
pub fn to_legacy(error: &str, uri: Option<&str>) -> Option<String> {
    match code(error)? {
        HEADER_MISMATCH => Some(wrapped(error)),
        MISSING_CAPABILITY => with_names(error),
        INVALID_PARAMS => {
            let missing = string(member(member(error, "data")?, "uri")?)?;
            (missing == uri?).then(|| with_code(error, NO_SUCH_RESOURCE))?
        }
        _ => None,
    }
}

/// What a refused `initialize` is answered with when a modern server supports none of the
/// revisions asked for, raw JSON (MCP 2025-11-25, Lifecycle, Error Handling). `None` for an error
/// that says something else.
#[must_use]
pub fn handshake_refusal(refusal: &str) -> Option<String> {
    let supported = supported_versions(refusal);
    match code(refusal)? {
        UNSUPPORTED_VERSION => {}
        UNSUPPORTED_VERSION_DRAFT if supported.is_some() => {}
        _ => return None,
    }
    let mut data = Object::default();
    if let Some(versions) = &supported {
        data.set(
            "supported",
            serde_json::Value::from(versions.as_slice()).to_string(),
        );
    }
    let requested = member(refusal, "data").and_then(|data| member(data, "requested"));
    if let Some(requested) = requested {
        data.set("requested", requested);
    }
    let data = (!data.is_empty()).then(|| data.to_string());
    Some(error(INVALID_PARAMS, UNSUPPORTED, data.as_deref()))
}

/// A legacy server's error for a modern client, raw JSON: codes that mean something else in the
/// modern era, or that it does not have, go (MCP 2026-07-28, Base Protocol, Error Codes). `None`:
/// as it is; so is [`URL_ELICITATION_REQUIRED`], which is answered by asking the client.
#[must_use]
pub fn to_modern(method: &str, error: &str) -> Option<String> {
    match code(error)? {
        NO_SUCH_RESOURCE if method == "resources/read" => with_code(error, INVALID_PARAMS),
        NO_SUCH_RESOURCE => Some(wrapped(error)),
        URL_ELICITATION_REQUIRED => None,
        code if RESERVED.contains(&code) => Some(wrapped(error)),
        _ => None,
    }
}

/// An `error` object; `data` is raw JSON.
#[must_use]
pub fn error(code: i64, message: &str, data: Option<&str>) -> String {
    let mut error = Object::default();
    error.set("code", code.to_string());
    error.set("message", json::quote(message));
    if let Some(data) = data {
        error.set("data", data);
    }
    error.to_string()
}

/// `UnsupportedProtocolVersion` for a client that asked for this: `data.supported` names the
/// modern revisions the bridge speaks, then those with a handshake, newest first.
#[must_use]
pub fn unsupported_version(requested: &str) -> String {
    let mut data = Object::default();
    data.set("supported", discover::served_versions());
    data.set("requested", json::quote(requested));
    error(UNSUPPORTED_VERSION, UNSUPPORTED, Some(&data.to_string()))
}

/// `MissingRequiredClientCapability` that names these capabilities (raw JSON, as a client would
/// declare them).
#[must_use]
pub fn missing_capability(required: &str) -> String {
    let data = format!(r#"{{"requiredCapabilities":{required}}}"#);
    let message = naming(MISSING, &names(required));
    error(MISSING_CAPABILITY, &message, Some(&data))
}

/// The same in place of a failure that came of it: with what the server said (fit for a terminal,
/// may be empty) in the message, and its error or result (raw JSON) as `data.original`.
#[must_use]
pub fn failed_for_capability(required: &str, said: &str, original: &str) -> String {
    let data = format!(r#"{{"requiredCapabilities":{required},"original":{original}}}"#);
    let mut message = naming(MISSING, &names(required));
    if !said.is_empty() {
        message = format!("{message}; the server says: {said}");
    }
    error(MISSING_CAPABILITY, &message, Some(&data))
}

/// `data.supported` (or `supportedVersions`) of an error. `None` unless it is a list of strings.
#[must_use]
pub fn supported_versions(error: &str) -> Option<Vec<String>> {
    let data = member(error, "data")?;
    let list = member(data, "supported").or_else(|| member(data, "supportedVersions"))?;
    serde_json::from_str(list).ok()
}

/// The capabilities that a `MissingRequiredClientCapability` error names: `data.requiredCapabilities`,
/// raw JSON. `None` unless it is an object.
#[must_use]
pub fn required_capabilities(error: &str) -> Option<String> {
    let required = member(member(error, "data")?, "requiredCapabilities")?;
    required.starts_with('{').then(|| required.to_owned())
}

const UNSUPPORTED: &str = "Unsupported protocol version";
const MISSING: &str = "Missing required client capability";

fn code(error: &str) -> Option<i64> {
    member(error, "code")?.parse().ok()
}

fn string(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}

/// The same error under another code.
fn with_code(error: &str, code: i64) -> Option<String> {
    let mut object = Object::parse(error)?;
    object.set("code", code.to_string());
    Some(object.to_string())
}

/// An error inside, in the same words, that has the original in its data.
fn wrapped(original: &str) -> String {
    let message = member(original, "message").and_then(string);
    let message = message.unwrap_or_else(|| "Internal error".to_owned());
    let data = format!(r#"{{"original":{original}}}"#);
    error(INTERNAL, &message, Some(&data))
}

/// The same error with the capabilities that it requires in its message. `None` if the message
/// has them already, or nobody knows which they are.
fn with_names(error: &str) -> Option<String> {
    let names = names(&required_capabilities(error)?);
    let message = member(error, "message").and_then(string);
    let message = message.unwrap_or_else(|| MISSING.to_owned());
    if names.iter().all(|name| message.contains(name.as_str())) {
        return None;
    }
    let mut object = Object::parse(error)?;
    object.set("message", json::quote(&naming(&message, &names)));
    Some(object.to_string())
}

/// A message with names behind it.
fn naming(message: &str, names: &[String]) -> String {
    if names.is_empty() {
        return message.to_owned();
    }
    let names = text::sanitize(&names.join(", "), limits::QUOTED_CHARS);
    format!("{message}: {names}")
}

/// Capabilities as they are spelled in words: `sampling`, `elicitation.url`, at most [`NAMED`].
fn names(capabilities: &str) -> Vec<String> {
    let capabilities = Object::parse(capabilities).unwrap_or_default();
    let mut names = Vec::new();
    for (name, value) in capabilities.iter().take(NAMED) {
        match Object::parse(value).filter(|inner| !inner.is_empty()) {
            Some(inner) => names.extend(
                inner
                    .iter()
                    .take(NAMED)
                    .map(|(member, _)| format!("{name}.{member}")),
            ),
            None => names.push(name),
        }
    }
    names.truncate(NAMED);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t124_a_missing_resource_has_the_code_that_legacy_clients_know() {
        let missing = r#"{"code":-32602,"message":"Resource not found","data":{"uri":"file:///\u0061","n":1.0}}"#;
        let expected = missing.replace("-32602", "-32002");
        assert_eq!(to_legacy(missing, Some("file:///a")), Some(expected));
        for (error, uri) in [
            (missing, None),
            (missing, Some("file:///b")),
            (r#"{"code":-32602,"message":"m"}"#, Some("file:///a")),
            (
                r#"{"code":-32602,"message":"m","data":"file:///a"}"#,
                Some("file:///a"),
            ),
            (
                r#"{"code":-32603,"message":"m","data":{"uri":"a"}}"#,
                Some("a"),
            ),
        ] {
            assert_eq!(to_legacy(error, uri), None, "{error} {uri:?}");
        }
    }

    #[test]
    fn modern_errors_in_the_words_of_the_legacy_era() {
        let missing = |message: &str, required: &str| {
            format!(
                r#"{{"code":-32021,"message":"{message}","data":{{"requiredCapabilities":{required}}}}}"#
            )
        };
        let mismatch = r#"{"code":-32020,"message":"H","data":[ 1.0 ]}"#;
        for (error, expected) in [
            (
                mismatch.to_owned(),
                Some(format!(
                    r#"{{"code":-32603,"message":"H","data":{{"original":{mismatch}}}}}"#
                )),
            ),
            (
                missing("No", r#"{"elicitation":{"url":{}},"roots":{}}"#),
                Some(missing(
                    "No: elicitation.url, roots",
                    r#"{"elicitation":{"url":{}},"roots":{}}"#,
                )),
            ),
            (missing("Needs sampling", r#"{"sampling":{}}"#), None),
            (missing("No", "[]"), None),
            (missing("No", "{}"), None),
            (r#"{"code":-32021,"message":"No"}"#.into(), None),
            (unsupported_version("x"), None),
        ] {
            assert_eq!(to_legacy(&error, None), expected, "{error}");
        }
    }

    #[test]
    fn names_of_capabilities_cannot_flood_a_message_or_a_terminal() {
        let many: Vec<String> = (0..10_000)
            .map(|index| format!(r#""{index}\u001b":{{}}"#))
            .collect();
        let error = missing_capability(&format!("{{{}}}", many.join(",")));
        let message = string(member(&error, "message").unwrap()).unwrap();
        assert!(message.starts_with(r"Missing required client capability: 0\u{1b}, 1\u{1b}, "));
        assert!(message.len() < 200 && !message.contains('\u{1b}'));
        let long = format!(r#"{{"{}":{{}}}}"#, "a".repeat(100_000));
        assert!(missing_capability(&long).chars().count() < 100_600);
    }

    #[test]
    fn codes_with_one_meaning_in_both_eras_stay() {
        for code in [
            "-32700",
            "-32600",
            "-32601",
            "-32602",
            "-32603",
            "-32000",
            "-32001",
            "-32019",
            "-32100",
            "-32042",
            "-1",
            "4001",
            "1.5",
            "\"-32020\"",
            "99999999999999999999",
        ] {
            let error = format!(r#"{{"code":{code},"message":"m","data":{{"uri":"a"}}}}"#);
            assert_eq!(to_modern("tools/call", &error), None, "{error}");
            if code != "-32602" {
                assert_eq!(to_legacy(&error, Some("a")), None, "{error}");
            }
        }
        for error in ["", "null", "[]", "{}", r#"{"message":"m"}"#] {
            assert_eq!(to_modern("resources/read", error), None, "{error}");
            assert_eq!(to_legacy(error, Some("a")), None, "{error}");
            assert_eq!(handshake_refusal(error), None, "{error}");
        }
    }

    #[test]
    fn t154_a_missing_resource_has_the_code_that_modern_clients_know() {
        let missing = r#"{"code":-32002,"message":"gone","data":{"uri":"a","n":1.0},"x":[ ]}"#;
        assert_eq!(
            to_modern("resources/read", missing),
            Some(missing.replace("-32002", "-32602"))
        );
        assert_eq!(
            to_modern("tools/call", missing),
            Some(format!(
                r#"{{"code":-32603,"message":"gone","data":{{"original":{missing}}}}}"#
            ))
        );
    }

    #[test]
    fn codes_that_a_legacy_server_cannot_mean_are_errors_inside() {
        for code in [-32020, -32021, -32022, -32023, -32041, -32043, -32099] {
            let error = format!(r#"{{"code":{code},"message":"m\u2028"}}"#);
            assert_eq!(
                to_modern("resources/read", &error),
                Some(format!(
                    "{{\"code\":-32603,\"message\":\"m\u{2028}\",\"data\":{{\"original\":{error}}}}}"
                ))
            );
        }
        let mute = to_modern("x", r#"{"code":-32050,"message":7}"#).unwrap();
        assert_eq!(member(&mute, "message"), Some(r#""Internal error""#));
    }

    #[test]
    fn t153_what_a_client_would_have_to_declare_is_named() {
        let required = r#"{"elicitation":{"url":{}}}"#;
        let error = missing_capability(required);
        assert_eq!(
            error,
            concat!(
                r#"{"code":-32021,"message":"Missing required client capability: elicitation.url","#,
                r#""data":{"requiredCapabilities":{"elicitation":{"url":{}}}}}"#,
            )
        );
        assert_eq!(required_capabilities(&error).as_deref(), Some(required));
        for none in [
            r#"{"code":-32021,"message":"m"}"#,
            r#"{"data":{"requiredCapabilities":["sampling"]}}"#,
            r#"{"data":null}"#,
        ] {
            assert_eq!(required_capabilities(none), None, "{none}");
        }
    }

    #[test]
    fn t158_a_refused_revision_is_told_which_are_served() {
        let error = unsupported_version("2031-01-01\"");
        assert_eq!(
            error,
            concat!(
                r#"{"code":-32022,"message":"Unsupported protocol version","data":{"supported":"#,
                r#"["2026-07-28","2025-11-25","2025-06-18","2025-03-26","2024-11-05"],"#,
                r#""requested":"2031-01-01\""}}"#,
            )
        );
        let supported = supported_versions(&error).unwrap();
        assert_eq!(supported.first().map(String::as_str), Some("2026-07-28"));
    }

    #[test]
    fn supported_versions_are_a_list_of_strings() {
        let list = Some(vec!["a".to_owned(), "b".to_owned()]);
        for (data, expected) in [
            (r#"{"supported":["a","b"]}"#, list.clone()),
            (r#"{"supportedVersions":["a","b"]}"#, list),
            (r#"{"supported":[]}"#, Some(Vec::new())),
            (r#"{"supported":["a",1]}"#, None),
            (r#"{"supported":"a"}"#, None),
            ("{}", None),
            ("7", None),
        ] {
            let error = format!(r#"{{"code":-32022,"data":{data}}}"#);
            assert_eq!(supported_versions(&error), expected, "{data}");
        }
    }

    #[test]
    fn a_refused_handshake_has_the_legacy_form() {
        let refused = |code: i64, data: &str| {
            handshake_refusal(&format!(r#"{{"code":{code},"message":"m"{data}}}"#))
        };
        let versions = r#","data":{"supported":["2026-07-28"],"requested":"x","y":1}"#;
        let expected = concat!(
            r#"{"code":-32602,"message":"Unsupported protocol version","#,
            r#""data":{"supported":["2026-07-28"],"requested":"x"}}"#,
        );
        assert_eq!(refused(-32022, versions).as_deref(), Some(expected));
        assert_eq!(refused(-32004, versions).as_deref(), Some(expected));
        assert_eq!(
            refused(-32022, "").as_deref(),
            Some(r#"{"code":-32602,"message":"Unsupported protocol version"}"#)
        );
        assert_eq!(refused(-32004, ""), None);
        assert_eq!(refused(-32602, versions), None);
    }
}
