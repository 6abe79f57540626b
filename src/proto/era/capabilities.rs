//! What clients and servers say they can do, in both eras.
//!
//! In: one `capabilities` object as text, rewritten for the other era or asked. Out: where it
//! stands in a message (`meta`, `discover`).

use crate::proto::message::member;
use crate::proto::object::Object;
use crate::proto::{limits, text};

use super::meta::{strip, strip_away};

/// The extension for tasks (MCP 2026-07-28, Extensions, Tasks).
pub const TASKS: &str = "io.modelcontextprotocol/tasks";

/// How deep [`union`] and [`is_within`] look; no capability is nested deeper.
const DEPTH: usize = 16;

/// A legacy client's capabilities as `clientCapabilities`: `roots` loses `listChanged`; `tasks` and
/// the tasks extension go; the rest stays. `{}` for anything but an object.
#[must_use]
pub fn client_to_modern(capabilities: &str) -> String {
    client(capabilities)
}

/// `clientCapabilities` for an `initialize`: the tasks extension and `tasks` go, `roots` has no
/// `listChanged`; the rest stays. `{}` for anything but an object.
#[must_use]
pub fn client_to_legacy(capabilities: &str) -> String {
    client(capabilities)
}

/// A modern server's capabilities for a legacy client: the tasks extension goes (and an emptied
/// `extensions`), and so does `tasks`, which only a server of both eras would name; the rest stays.
/// `{}` for anything but an object.
#[must_use]
pub fn server_to_legacy(capabilities: &str) -> String {
    let mut object = Object::parse(capabilities).unwrap_or_default();
    remove_tasks(&mut object);
    object.to_string()
}

/// A legacy server's capabilities for a modern client: `tasks` and the tasks extension go;
/// `listChanged` and `resources.subscribe` stay only if the bridge can deliver changes. `{}` for
/// anything but an object.
#[must_use]
pub fn server_to_modern(capabilities: &str, delivers_changes: bool) -> String {
    let mut object = Object::parse(capabilities).unwrap_or_default();
    remove_tasks(&mut object);
    if !delivers_changes {
        for name in ["tools", "prompts", "resources"] {
            strip(&mut object, name, |key| {
                key == "listChanged" || (name == "resources" && key == "subscribe")
            });
        }
    }
    object.to_string()
}

/// The client's capabilities with the tasks extension declared.
#[must_use]
pub fn with_tasks(capabilities: &str) -> String {
    union(
        capabilities,
        &format!(r#"{{"extensions":{{"{TASKS}":{{}}}}}}"#),
    )
}

/// The capabilities of both, for a session that serves requests with either: objects are merged
/// member by member, other values are the first one's. An `elicitation` that names no mode means
/// forms, and says so when it is merged with one that names a mode (MCP 2025-11-25, Elicitation,
/// Capabilities). What is no object declares nothing.
#[must_use]
pub fn union(first: &str, second: &str) -> String {
    if Object::parse(first).is_some() && is_within(second, first) {
        return first.to_owned();
    }
    merged(&explicit(first), &explicit(second), DEPTH)
}

/// Whether everything that the one declares is declared by the other too. Compares which members
/// there are, at every depth, not their other values. An `elicitation` that names no mode means
/// forms.
#[must_use]
pub fn is_within(smaller: &str, larger: &str) -> bool {
    within(&explicit(smaller), &explicit(larger), DEPTH)
}

/// What a server offers, as far as the bridge has to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a capability of its own"
)]
pub struct Offered {
    /// `tools.listChanged`.
    pub tools_changed: bool,
    /// `prompts.listChanged`.
    pub prompts_changed: bool,
    /// `resources.listChanged`.
    pub resources_changed: bool,
    /// `resources.subscribe`.
    pub subscribe: bool,
    /// `logging`.
    pub logging: bool,
    /// `tasks.requests.tools.call` (MCP 2025-11-25, Tasks).
    pub task_calls: bool,
}

impl Offered {
    /// Reads a server's `capabilities`. What cannot be read counts as absent.
    #[must_use]
    pub fn read(capabilities: &str) -> Self {
        let is_true = |path: [&str; 2]| find(capabilities, &path) == Some("true");
        Self {
            tools_changed: is_true(["tools", "listChanged"]),
            prompts_changed: is_true(["prompts", "listChanged"]),
            resources_changed: is_true(["resources", "listChanged"]),
            subscribe: is_true(["resources", "subscribe"]),
            logging: find(capabilities, &["logging"]).is_some(),
            task_calls: find(capabilities, &["tasks", "requests", "tools", "call"]).is_some(),
        }
    }
}

/// Which questions a client can be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a capability of its own"
)]
pub struct Answerable {
    /// `roots/list`.
    pub roots: bool,
    /// `sampling/createMessage`.
    pub sampling: bool,
    /// The same with `tools` or `toolChoice`.
    pub sampling_tools: bool,
    /// `elicitation/create` in form mode; an `elicitation` that names no mode means this too.
    pub form: bool,
    /// `elicitation/create` in URL mode.
    pub url: bool,
}

impl Answerable {
    /// Reads a client's capabilities of either era.
    #[must_use]
    pub fn read(capabilities: &str) -> Self {
        let has = |path: &[&str]| find(capabilities, path).is_some();
        let url = has(&["elicitation", "url"]);
        Self {
            roots: has(&["roots"]),
            sampling: has(&["sampling"]),
            sampling_tools: has(&["sampling", "tools"]),
            form: has(&["elicitation", "form"]) || (has(&["elicitation"]) && !url),
            url,
        }
    }

    /// The capability that this question needs and that is not there, as it is spelled in
    /// `capabilities` (`sampling`, `sampling.tools`, `elicitation`, `elicitation.url`, `roots`).
    /// `None`: it may be asked. A method that is no question is never allowed: its own name; nor is
    /// a mode that is neither form nor URL. Fit for a terminal.
    #[must_use]
    pub fn lacks(&self, method: &str, params: Option<&str>) -> Option<String> {
        let (allowed, name) = match method {
            "roots/list" => (self.roots, "roots"),
            "sampling/createMessage" => {
                let has = |name| params.and_then(|params| find(params, &[name])).is_some();
                if self.sampling && (has("tools") || has("toolChoice")) {
                    (self.sampling_tools, "sampling.tools")
                } else {
                    (self.sampling, "sampling")
                }
            }
            "elicitation/create" => {
                let mode = params.and_then(|params| find(params, &["mode"]));
                match mode.map(serde_json::from_str::<String>) {
                    None => (self.form, "elicitation"),
                    Some(Ok(mode)) if mode == "form" => (self.form, "elicitation"),
                    Some(Ok(mode)) if mode == "url" => (self.url, "elicitation.url"),
                    Some(Ok(mode)) => {
                        let mode = text::sanitize(&mode, limits::QUOTED_CHARS);
                        return Some(format!("elicitation.{mode}"));
                    }
                    Some(Err(_)) => (false, "elicitation"),
                }
            }
            other => return Some(text::sanitize(other, limits::QUOTED_CHARS)),
        };
        (!allowed).then(|| name.to_owned())
    }
}

/// What both eras want of a client's capabilities from the other one: no `roots.listChanged`, which
/// means nothing where roots are asked for afresh, and no tasks.
fn client(capabilities: &str) -> String {
    let mut object = Object::parse(capabilities).unwrap_or_default();
    strip(&mut object, "roots", |key| key == "listChanged");
    remove_tasks(&mut object);
    object.to_string()
}

fn remove_tasks(capabilities: &mut Object<'_>) {
    capabilities.remove("tasks");
    strip_away(capabilities, "extensions", |key| key == TASKS);
}

/// The member at this path, raw JSON. `null` and `false` count as absent.
fn find<'a>(object: &'a str, path: &[&str]) -> Option<&'a str> {
    let mut value = object;
    for name in path {
        value = member(value, name).filter(|value| is_declared(value))?;
    }
    Some(value)
}

fn is_declared(value: &str) -> bool {
    !matches!(value, "null" | "false")
}

/// The capabilities with form mode named where an `elicitation` names no mode. `{}` for anything
/// but an object.
fn explicit(capabilities: &str) -> String {
    let mut object = Object::parse(capabilities).unwrap_or_default();
    if let Some(mut modes) = object.get("elicitation").and_then(Object::parse)
        && modes.get("form").is_none()
        && modes.get("url").is_none()
    {
        modes.set("form", "{}");
        let modes = modes.to_string();
        object.set("elicitation", modes);
    }
    object.to_string()
}

fn merged(first: &str, second: &str, depth: usize) -> String {
    let (Some(mut into), Some(from), true) =
        (Object::parse(first), Object::parse(second), depth > 0)
    else {
        return first.to_owned();
    };
    for (name, value) in from.iter() {
        let value = match into.get(&name) {
            Some(own) => merged(own, value, depth - 1),
            None => value.to_owned(),
        };
        into.set(&name, value);
    }
    into.to_string()
}

fn within(smaller: &str, larger: &str, depth: usize) -> bool {
    let (Some(smaller), true) = (Object::parse(smaller), depth > 0) else {
        return true;
    };
    let larger = Object::parse(larger).unwrap_or_default();
    let mut members = smaller.iter().filter(|(_, value)| is_declared(value));
    members.all(|(name, value)| {
        let other = larger.get(&name).filter(|value| is_declared(value));
        other.is_some_and(|other| within(value, other, depth - 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_OBJECTS: [&str; 5] = ["", "null", "[]", "true", "{"];

    #[test]
    fn t92_a_legacy_client_sees_what_the_server_offers_without_tasks() {
        for (capabilities, expected) in [
            (
                r#"{"tools":{"listChanged":true},"logging":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#,
                r#"{"tools":{"listChanged":true},"logging":{}}"#,
            ),
            (
                r#"{"extensions":{"io.modelcontextprotocol/tasks":{},"io.x/ui":{"a":1.0}},"tasks":{},"resources":{ "subscribe":true }}"#,
                r#"{"extensions":{"io.x/ui":{"a":1.0}},"resources":{ "subscribe":true }}"#,
            ),
            (
                r#"{"completions":{},"experimental":{"tasks":{}},"extensions":{},"x":7}"#,
                r#"{"completions":{},"experimental":{"tasks":{}},"extensions":{},"x":7}"#,
            ),
        ] {
            assert_eq!(server_to_legacy(capabilities), expected);
        }
        assert!(NO_OBJECTS.iter().all(|text| server_to_legacy(text) == "{}"));
    }

    #[test]
    fn t95_a_client_never_declares_roots_list_changed_in_the_other_era() {
        for (capabilities, expected) in [
            (
                r#"{"roots":{"listChanged":true},"elicitation":{}}"#,
                r#"{"roots":{},"elicitation":{}}"#,
            ),
            (
                r#"{"sampling":{"tools":{ }},"tasks":{"list":{}},"roots":{"x":1.0,"listChanged":false}}"#,
                r#"{"sampling":{"tools":{ }},"roots":{"x":1.0}}"#,
            ),
            (
                r#"{"extensions":{"io.modelcontextprotocol/tasks":{}},"experimental":{"listChanged":{}}}"#,
                r#"{"experimental":{"listChanged":{}}}"#,
            ),
            (r#"{"roots":true}"#, r#"{"roots":true}"#),
        ] {
            assert_eq!(client_to_modern(capabilities), expected);
            assert_eq!(client_to_legacy(capabilities), expected);
        }
        assert!(NO_OBJECTS.iter().all(|text| client_to_modern(text) == "{}"));
        assert!(NO_OBJECTS.iter().all(|text| client_to_legacy(text) == "{}"));
    }

    #[test]
    fn t161_changes_that_cannot_be_delivered_are_not_offered() {
        let legacy = concat!(
            r#"{"tools":{"listChanged":true,"x":1.0},"prompts":{"listChanged":true},"#,
            r#""resources":{"subscribe":true,"listChanged":true},"tasks":{},"#,
            r#""vendor":{"listChanged":true,"subscribe":true}}"#,
        );
        assert_eq!(
            server_to_modern(legacy, false),
            r#"{"tools":{"x":1.0},"prompts":{},"resources":{},"vendor":{"listChanged":true,"subscribe":true}}"#
        );
        assert_eq!(
            server_to_modern(legacy, true),
            legacy.replace(r#""tasks":{},"#, "")
        );
        assert!(
            NO_OBJECTS
                .iter()
                .all(|text| server_to_modern(text, true) == "{}")
        );
    }

    #[test]
    fn the_tasks_extension_is_declared_beside_the_others() {
        let tasks = r#""io.modelcontextprotocol/tasks":{}"#;
        for (capabilities, expected) in [
            ("{}", format!(r#"{{"extensions":{{{tasks}}}}}"#)),
            ("null", format!(r#"{{"extensions":{{{tasks}}}}}"#)),
            (
                r#"{"extensions":{"io.x/ui":{"a":1.0}},"roots":{}}"#,
                format!(r#"{{"extensions":{{"io.x/ui":{{"a":1.0}},{tasks}}},"roots":{{}}}}"#),
            ),
            (
                r#"{"extensions":{"io.modelcontextprotocol/tasks":{"v":2}}}"#,
                r#"{"extensions":{"io.modelcontextprotocol/tasks":{"v":2}}}"#.to_owned(),
            ),
        ] {
            assert_eq!(with_tasks(capabilities), expected);
        }
    }

    #[test]
    fn a_union_declares_what_either_declares() {
        for (first, second, expected) in [
            ("{}", "{}", "{}"),
            (
                r#"{"elicitation":{}}"#,
                r#"{"elicitation":{}}"#,
                r#"{"elicitation":{}}"#,
            ),
            (
                r#"{"a":{"b":1.0,"c":2}}"#,
                r#"{"a":{"b":3}}"#,
                r#"{"a":{"b":1.0,"c":2}}"#,
            ),
            (
                r#"{"a":{"b":1},"r":{ }}"#,
                r#"{"s":{},"a":{"b":2,"d":{}}}"#,
                r#"{"a":{"b":1,"d":{}},"r":{ },"s":{}}"#,
            ),
            (
                r#"{"elicitation":{}}"#,
                r#"{"elicitation":{"url":{}}}"#,
                r#"{"elicitation":{"form":{},"url":{}}}"#,
            ),
            (
                r#"{"elicitation":{"url":{}}}"#,
                r#"{"elicitation":{}}"#,
                r#"{"elicitation":{"url":{},"form":{}}}"#,
            ),
            ("null", r#"{"roots":{}}"#, r#"{"roots":{}}"#),
            (r#"{"roots":{}}"#, "7", r#"{"roots":{}}"#),
        ] {
            assert_eq!(union(first, second), expected, "{first} {second}");
        }
    }

    #[test]
    fn one_is_within_the_other_if_it_declares_no_more() {
        for (smaller, larger, expected) in [
            ("{}", "{}", true),
            ("null", "{}", true),
            (r#"{"roots":{}}"#, "{}", false),
            (r#"{"roots":{}}"#, "null", false),
            (r#"{"roots":null,"sampling":false}"#, "{}", true),
            (r#"{"roots":{}}"#, r#"{"roots":null}"#, false),
            (r#"{"sampling":{}}"#, r#"{"sampling":{"tools":{}}}"#, true),
            (r#"{"sampling":{"tools":{}}}"#, r#"{"sampling":{}}"#, false),
            (
                r#"{"sampling":{"tools":{}}}"#,
                r#"{"sampling":true}"#,
                false,
            ),
            (r#"{"x":1}"#, r#"{"x":"other"}"#, true),
            (
                r#"{"elicitation":{}}"#,
                r#"{"elicitation":{"form":{}}}"#,
                true,
            ),
            (
                r#"{"elicitation":{"form":{}}}"#,
                r#"{"elicitation":{}}"#,
                true,
            ),
            (
                r#"{"elicitation":{}}"#,
                r#"{"elicitation":{"url":{}}}"#,
                false,
            ),
            (
                r#"{"elicitation":{"url":{}}}"#,
                r#"{"elicitation":{}}"#,
                false,
            ),
        ] {
            assert_eq!(is_within(smaller, larger), expected, "{smaller} {larger}");
        }
    }

    #[test]
    fn hostile_depth_costs_no_stack() {
        let deep = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
        assert!(is_within(&deep, &deep));
        assert_eq!(union(&deep, &deep), deep);
        assert_eq!(client_to_modern(&deep), deep);
    }

    #[test]
    fn a_server_offers_what_it_says_is_true() {
        let all = concat!(
            r#"{"tools":{"listChanged":true},"prompts":{"listChanged":true},"logging":{},"#,
            r#""resources":{"listChanged":true,"subscribe":true},"#,
            r#""tasks":{"requests":{"tools":{"call":{}}}}}"#,
        );
        let expected = Offered {
            tools_changed: true,
            prompts_changed: true,
            resources_changed: true,
            subscribe: true,
            logging: true,
            task_calls: true,
        };
        assert_eq!(Offered::read(all), expected);
        for none in [
            "{}",
            "null",
            r#"{"tools":{"listChanged":false},"resources":{"subscribe":"true"},"logging":null}"#,
            r#"{"tools":true,"tasks":{"requests":{"tools":{}}},"listChanged":true}"#,
        ] {
            assert_eq!(Offered::read(none), Offered::default(), "{none}");
        }
    }

    #[test]
    fn a_question_needs_its_capability() {
        let all = r#"{"roots":{},"sampling":{"tools":{}},"elicitation":{"form":{},"url":{}}}"#;
        let url = r#"{"elicitation":{"url":{}}}"#;
        let (sample, elicit) = ("sampling/createMessage", "elicitation/create");
        for (capabilities, method, params, expected) in [
            ("{}", "roots/list", None, Some("roots")),
            ("null", "roots/list", None, Some("roots")),
            (
                r#"{"roots":{"listChanged":true}}"#,
                "roots/list",
                None,
                None,
            ),
            ("{}", sample, Some(r#"{"tools":[]}"#), Some("sampling")),
            (
                r#"{"sampling":{}}"#,
                sample,
                Some(r#"{"tools":null}"#),
                None,
            ),
            (
                r#"{"sampling":{}}"#,
                sample,
                Some(r#"{"tools":[]}"#),
                Some("sampling.tools"),
            ),
            (
                r#"{"sampling":{}}"#,
                sample,
                Some(r#"{"toolChoice":{}}"#),
                Some("sampling.tools"),
            ),
            (all, sample, Some(r#"{"tools":[]}"#), None),
            (
                "{}",
                elicit,
                Some(r#"{"mode":"form"}"#),
                Some("elicitation"),
            ),
            (
                "{}",
                elicit,
                Some(r#"{"mode":"url"}"#),
                Some("elicitation.url"),
            ),
            (r#"{"elicitation":{}}"#, elicit, None, None),
            (
                r#"{"elicitation":{}}"#,
                elicit,
                Some(r#"{"mode":"form"}"#),
                None,
            ),
            (
                r#"{"elicitation":{}}"#,
                elicit,
                Some(r#"{"mode":"url"}"#),
                Some("elicitation.url"),
            ),
            (url, elicit, Some(r#"{"mode":"url"}"#), None),
            (url, elicit, Some("{}"), Some("elicitation")),
            (all, elicit, Some(r#"{"mode":"url"}"#), None),
            (all, elicit, Some(r#"{"mode":7}"#), Some("elicitation")),
            (
                all,
                elicit,
                Some(r#"{"mode":"voice\u001b"}"#),
                Some(r"elicitation.voice\u{1b}"),
            ),
            (all, "tools/call", None, Some("tools/call")),
            (all, "x\u{1b}[2J", None, Some(r"x\u{1b}[2J")),
        ] {
            let lacks = Answerable::read(capabilities).lacks(method, params);
            assert_eq!(
                lacks.as_deref(),
                expected,
                "{capabilities} {method} {params:?}"
            );
        }
    }
}
