//! `server/discover` and `initialize`, each made from the other (MCP 2026-07-28, Discovery; MCP
//! 2025-11-25, Lifecycle).
//!
//! In: their results as text. Out: whether an answer is such a result at all (`evidence`).

use crate::proto::message::member;
use crate::proto::object::{self, Object};
use crate::proto::{json, revision};

use super::{SPOKEN, capabilities, meta, result};

/// A revision older than those with a name here, which some clients still offer.
const ANCIENT: &str = "2024-10-07";

/// A result of `server/discover`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// The result, raw JSON.
    pub text: String,
    /// `supportedVersions`.
    pub versions: Vec<String>,
    /// `capabilities`, raw JSON; `{}` if it is no object.
    pub capabilities: String,
    /// `serverInfo` from `_meta`, raw JSON.
    pub server_info: Option<String>,
    /// `instructions`, raw JSON (a string).
    pub instructions: Option<String>,
    /// `ttlMs`: how long it is fresh, in milliseconds; 0 if absent.
    pub ttl_ms: u64,
}

impl Discovered {
    /// Reads a result. `None` if it has no `supportedVersions` list of strings.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let result = Object::parse(text)?;
        let info = result
            .get("_meta")
            .and_then(|meta| member(meta, meta::SERVER_INFO));
        Some(Self {
            versions: serde_json::from_str(result.get("supportedVersions")?).ok()?,
            capabilities: object_or_empty(result.get("capabilities")),
            server_info: info.filter(|info| is_object(info)).map(str::to_owned),
            instructions: instructions(&result).map(str::to_owned),
            ttl_ms: result.get("ttlMs").and_then(result::millis).unwrap_or(0),
            text: text.to_owned(),
        })
    }

    /// The result of `initialize` that it makes for a client that asked for this revision, and the
    /// revision in it: the client's if it is a known one with a handshake, else the newest of those.
    /// `host` names the server where it does not name itself.
    #[must_use]
    pub fn initialize_result(&self, asked: Option<&str>, host: &str) -> (String, String) {
        let version = told(asked);
        let mut made = Object::default();
        made.set("protocolVersion", json::quote(version));
        made.set(
            "capabilities",
            capabilities::server_to_legacy(&self.capabilities),
        );
        made.set(
            "serverInfo",
            identity(self.server_info.as_deref(), host, "0"),
        );
        if let Some(instructions) = &self.instructions {
            made.set("instructions", instructions.as_str());
        }
        let mut rest = Object::parse(&self.text).unwrap_or_default();
        meta::strip_reserved(&mut rest);
        rest.retain(is_of_others);
        (joined(&made, &rest), version.to_owned())
    }
}

/// The revision that a legacy client is told: its own if it is a known one with a handshake
/// (2024-10-07, which some clients still offer, counts as one), else the newest of those.
#[must_use]
pub fn told(asked: Option<&str>) -> &str {
    asked
        .filter(|version| revision::is_known(version) || *version == ANCIENT)
        .unwrap_or(revision::NEWEST_WITH_HANDSHAKE)
}

/// The result of `server/discover` that a result of `initialize` makes. `delivers_changes`: the
/// bridge can tell of changes, because the server has a stream to tell it. It is stale at once
/// and for this client alone, for a legacy server promises nothing (MCP 2026-07-28, Caching).
#[must_use]
pub fn from_initialize(result: &str, delivers_changes: bool) -> String {
    let legacy = Object::parse(result).unwrap_or_default();
    let offered = legacy.get("capabilities").unwrap_or("{}");
    let mut made = Object::default();
    made.set("resultType", r#""complete""#);
    made.set("supportedVersions", served_versions());
    made.set(
        "capabilities",
        capabilities::server_to_modern(offered, delivers_changes),
    );
    if let Some(instructions) = instructions(&legacy) {
        made.set("instructions", instructions);
    }
    made.set("ttlMs", "0");
    made.set("cacheScope", r#""private""#);
    let mut rest = legacy.clone();
    rest.retain(is_of_others);
    if let Some(info) = legacy.get("serverInfo").filter(|info| is_object(info)) {
        let meta = legacy.get("_meta").and_then(Object::parse);
        let mut meta = meta.unwrap_or_default();
        meta.set(meta::SERVER_INFO, info);
        rest.set("_meta", meta.to_string());
    }
    joined(&made, &rest)
}

/// `initialize`, params and all, in the name of a modern client: id (raw JSON), its capabilities
/// and `clientInfo` as raw JSON of the modern era, and the revision to ask for. The bridge gives
/// its own name for a client that gives none, for a legacy server must be told one.
#[must_use]
pub fn initialize_request(
    id: &str,
    version: &str,
    capabilities: &str,
    client_info: Option<&str>,
) -> String {
    let version = json::quote(version);
    let capabilities = capabilities::client_to_legacy(capabilities);
    let info = identity(client_info, "mcp-bridge", env!("CARGO_PKG_VERSION"));
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"initialize","params":{{"protocolVersion":{version},"capabilities":{capabilities},"clientInfo":{info}}}}}"#
    )
}

/// The revisions that the bridge can serve, as a JSON array: the modern ones it speaks, then those
/// with a handshake, newest first.
pub(super) fn served_versions() -> String {
    let legacy = revision::WITH_HANDSHAKE.into_iter().rev();
    let versions: Vec<String> = SPOKEN.into_iter().chain(legacy).map(json::quote).collect();
    object::array(&versions)
}

/// Whether a member of either result is neither's own: `_meta`, and what vendors add.
fn is_of_others(name: &str) -> bool {
    !matches!(
        name,
        "supportedVersions"
            | "resultType"
            | "ttlMs"
            | "cacheScope"
            | "protocolVersion"
            | "capabilities"
            | "serverInfo"
            | "instructions"
    )
}

/// The members of both, the first of which has some. Looks for no name among them: a server may
/// send any number.
fn joined(first: &Object<'_>, second: &Object<'_>) -> String {
    let mut text = first.to_string();
    if !second.is_empty() {
        text.pop();
        text.push(',');
        text.push_str(second.to_string().get(1..).unwrap_or_default());
    }
    text
}

/// An `Implementation` of the legacy era, which needs a name and a version: these where there is
/// none.
fn identity(info: Option<&str>, name: &str, version: &str) -> String {
    let mut info = info.and_then(Object::parse).unwrap_or_default();
    for (member, value) in [("name", name), ("version", version)] {
        if !info.get(member).is_some_and(|value| value.starts_with('"')) {
            info.set(member, json::quote(value));
        }
    }
    info.to_string()
}

fn instructions<'a>(result: &'a Object<'_>) -> Option<&'a str> {
    result
        .get("instructions")
        .filter(|value| value.starts_with('"'))
}

fn object_or_empty(value: Option<&str>) -> String {
    value
        .filter(|value| is_object(value))
        .unwrap_or("{}")
        .to_owned()
}

fn is_object(value: &str) -> bool {
    value.starts_with('{')
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISCOVERED: &str = concat!(
        r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"#,
        r#""capabilities":{"tools":{"listChanged":true},"logging":{},"#,
        r#""extensions":{"io.modelcontextprotocol/tasks":{}}},"#,
        r#""instructions":"Ask\u2028 before writing.","ttlMs":60000,"cacheScope":"private","#,
        r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"depot","version":"9"}}}"#,
    );

    #[test]
    fn a_result_is_read() {
        let discovered = Discovered::parse(DISCOVERED).unwrap();
        assert_eq!(discovered.versions, ["2026-07-28"]);
        assert_eq!(discovered.text, DISCOVERED);
        assert_eq!(discovered.ttl_ms, 60_000);
        assert_eq!(
            discovered.server_info.as_deref(),
            Some(r#"{"name":"depot","version":"9"}"#)
        );
        assert_eq!(
            discovered.instructions.as_deref(),
            Some(r#""Ask\u2028 before writing.""#)
        );
        let odd = r#"{"supportedVersions":[],"capabilities":7,"instructions":{},"ttlMs":-5,
            "_meta":{"io.modelcontextprotocol/serverInfo":"me"}}"#;
        let expected = Discovered {
            text: odd.to_owned(),
            versions: Vec::new(),
            capabilities: "{}".to_owned(),
            server_info: None,
            instructions: None,
            ttl_ms: 0,
        };
        assert_eq!(Discovered::parse(odd), Some(expected));
    }

    #[test]
    fn what_lists_no_versions_is_no_result_of_discovery() {
        for result in [
            "",
            "[]",
            "{}",
            r#"{"capabilities":{}}"#,
            r#"{"supportedVersions":"2026-07-28"}"#,
            r#"{"supportedVersions":["2026-07-28",7]}"#,
            r#"{"supportedVersions":null}"#,
        ] {
            assert_eq!(Discovered::parse(result), None, "{result}");
        }
    }

    #[test]
    fn t92_a_handshake_is_answered_from_discovery() {
        let discovered = Discovered::parse(DISCOVERED).unwrap();
        let (result, version) = discovered.initialize_result(Some("2025-06-18"), "h");
        assert_eq!(version, "2025-06-18");
        assert_eq!(
            result,
            concat!(
                r#"{"protocolVersion":"2025-06-18","#,
                r#""capabilities":{"tools":{"listChanged":true},"logging":{}},"#,
                r#""serverInfo":{"name":"depot","version":"9"},"#,
                r#""instructions":"Ask\u2028 before writing."}"#,
            )
        );
    }

    #[test]
    fn members_of_vendors_stay_behind_those_of_the_protocol() {
        let result = concat!(
            r#"{"x":1.0,"protocolVersion":"1","serverInfo":{"name":"false"},"ttlMs":1,"instructions":7,"#,
            r#""_meta":{"io.modelcontextprotocol/x":0,"k":[ ]},"supportedVersions":["2026-07-28"]}"#,
        );
        let (result, _) = Discovered::parse(result)
            .unwrap()
            .initialize_result(None, "depot.example");
        assert_eq!(
            result,
            concat!(
                r#"{"protocolVersion":"2025-11-25","capabilities":{},"#,
                r#""serverInfo":{"name":"depot.example","version":"0"},"x":1.0,"_meta":{"k":[ ]}}"#,
            )
        );
    }

    #[test]
    fn any_number_of_members_is_carried_in_one_pass() {
        let members: Vec<String> = (0..200_000)
            .map(|index| format!(r#""x{index}":0"#))
            .collect();
        let result = format!(r#"{{{},"supportedVersions":[]}}"#, members.join(","));
        let (made, _) = Discovered::parse(&result)
            .unwrap()
            .initialize_result(None, "h");
        assert_eq!(member(&made, "x199999"), Some("0"));
        assert_eq!(
            member(&from_initialize(&result, true), "x199999"),
            Some("0")
        );
    }

    #[test]
    fn t94_a_server_that_does_not_name_itself_is_named_after_its_host() {
        for (info, expected) in [
            ("null", r#"{"name":"h\"","version":"0"}"#),
            (
                r#"{"title":"T"}"#,
                r#"{"title":"T","name":"h\"","version":"0"}"#,
            ),
            (
                r#"{"name":"n","version":9}"#,
                r#"{"name":"n","version":"0"}"#,
            ),
            (
                r#"{"name":"n","version":"9","icons":[ ]}"#,
                r#"{"name":"n","version":"9","icons":[ ]}"#,
            ),
        ] {
            let result = format!(
                r#"{{"supportedVersions":[],"_meta":{{"io.modelcontextprotocol/serverInfo":{info}}}}}"#
            );
            let discovered = Discovered::parse(&result).unwrap();
            let (result, _) = discovered.initialize_result(None, "h\"");
            assert_eq!(member(&result, "serverInfo"), Some(expected));
            assert_eq!(member(&result, "_meta"), None);
        }
    }

    #[test]
    fn a_client_is_told_its_own_revision_if_that_is_known() {
        for (asked, expected) in [
            (Some("2024-10-07"), "2024-10-07"),
            (Some("2024-11-05"), "2024-11-05"),
            (Some("2025-11-25"), "2025-11-25"),
            (Some("2026-07-28"), "2025-11-25"),
            (Some("2025-06-19"), "2025-11-25"),
            (Some(""), "2025-11-25"),
            (None, "2025-11-25"),
        ] {
            assert_eq!(told(asked), expected, "{asked:?}");
        }
    }

    const INITIALIZED: &str = concat!(
        r#"{"protocolVersion":"2025-11-25","resultType":7,"ttlMs":9,"x":1.0,"#,
        r#""capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true},"logging":{},"tasks":{}},"#,
        r#""serverInfo":{"name":"oldtown","version":"1.4"},"instructions":"I"}"#,
    );

    #[test]
    fn discovery_is_answered_from_a_handshake() {
        assert_eq!(
            from_initialize(INITIALIZED, true),
            concat!(
                r#"{"resultType":"complete","#,
                r#""supportedVersions":["2026-07-28","2025-11-25","2025-06-18","2025-03-26","2024-11-05"],"#,
                r#""capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true},"logging":{}},"#,
                r#""instructions":"I","ttlMs":0,"cacheScope":"private","x":1.0,"#,
                r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"oldtown","version":"1.4"}}}"#,
            )
        );
        let meta = r#"{"_meta":{"k":1},"serverInfo":{}}"#;
        assert_eq!(
            member(&from_initialize(meta, true), "_meta"),
            Some(r#"{"k":1,"io.modelcontextprotocol/serverInfo":{}}"#)
        );
        for odd in [
            "null",
            "[]",
            r#"{"capabilities":7,"instructions":1,"serverInfo":"me"}"#,
        ] {
            let result = from_initialize(odd, true);
            assert!(Discovered::parse(&result).is_some(), "{odd}");
            assert_eq!(member(&result, "capabilities"), Some("{}"));
            assert_eq!(member(&result, "instructions"), None);
            assert_eq!(member(&result, "_meta"), None);
        }
    }

    #[test]
    fn t161_discovery_does_not_promise_changes_that_nobody_tells() {
        assert_eq!(
            member(&from_initialize(INITIALIZED, false), "capabilities"),
            Some(r#"{"tools":{},"resources":{},"logging":{}}"#)
        );
    }

    #[test]
    fn a_handshake_is_made_in_the_name_of_a_modern_client() {
        let capabilities = r#"{"roots":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
        let info = r#"{"name":"desk","version":"3.1"}"#;
        assert_eq!(
            initialize_request(r#""mb-1""#, "2025-11-25", capabilities, Some(info)),
            concat!(
                r#"{"jsonrpc":"2.0","id":"mb-1","method":"initialize","params":{"#,
                r#""protocolVersion":"2025-11-25","capabilities":{"roots":{}},"#,
                r#""clientInfo":{"name":"desk","version":"3.1"}}}"#,
            )
        );
        let nameless = initialize_request("1", "2025-11-25", "null", None);
        let params = member(&nameless, "params").unwrap();
        assert_eq!(member(params, "capabilities"), Some("{}"));
        let info = member(params, "clientInfo").unwrap();
        assert_eq!(member(info, "name"), Some(r#""mcp-bridge""#));
    }
}
