//! Which revisions of the protocol the server speaks, and what it calls itself (`revision`).
//!
//! In: what the first messages were answered with, the user's `--protocol`. Out: asking
//! (`commands`), which one a conversation uses (`bridge`).

use super::Check;
use super::transports::{Looks, Seen};
use crate::proto::bridge::Protocol;
use crate::proto::era::{SPOKEN, newest_spoken};
use crate::proto::failure::Kind;
use crate::proto::message::member;
use crate::proto::{revision, text};

const ID: &str = "revision";

/// Longest name and version of a server that is shown, in characters each.
const NAME_CHARS: usize = 80;

/// What the server speaks; `None` where it has not said that.
#[must_use]
pub fn judge(looks: &Looks, protocol: Protocol) -> Option<Check> {
    let initialized = match looks.initialize.as_ref().map(|look| &look.seen) {
        Some(Seen::Initialized(result, _)) => Some(result.as_str()),
        _ => None,
    };
    let (is_modern, discovered) = match looks.discover.as_ref().map(|look| &look.seen) {
        Some(Seen::Discovered(discovered)) => (true, discovered.as_deref()),
        _ => (false, None),
    };
    let streams = matches!(
        looks.stream.as_ref().map(|look| &look.seen),
        Some(Seen::Endpoint)
    );
    let legacy = initialized
        .and_then(|result| string(member(result, "protocolVersion")?))
        .map(|version| text::sanitize(&version, NAME_CHARS));
    let [newest, ..] = SPOKEN;
    let modern = is_modern.then(|| {
        let versions = discovered.map(|discovered| discovered.versions.as_slice());
        versions.and_then(newest_spoken).unwrap_or(newest)
    });
    let info = initialized.and_then(|result| member(result, "serverInfo"));
    let info = info.or(discovered.and_then(|discovered| discovered.server_info.as_deref()));
    let name = info.map(named).unwrap_or_default();
    match (legacy, modern) {
        (None, None) if streams && protocol == Protocol::Modern => {
            Some(only_legacy("older revisions over HTTP+SSE"))
        }
        // Over HTTP+SSE the revision shows in the conversation.
        (None, None) => None,
        (None, Some(modern)) if protocol == Protocol::Legacy => Some(
            Check::bad(
                ID,
                format!("only {modern} is spoken{name}"),
                "--protocol legacy excludes that; write",
            )
            .with_flag("--protocol auto")
            .of_kind(Kind::NotMcp),
        ),
        (None, Some(modern)) => Some(Check::good(
            ID,
            format!("{modern}, without a handshake{name}"),
        )),
        (Some(legacy), None) if protocol == Protocol::Modern => Some(only_legacy(&legacy)),
        (Some(version), None) => Some(with_handshake(&version, &name)),
        (Some(legacy), Some(modern)) => {
            let text = format!("{legacy}, and {modern} without a handshake{name}");
            Some(Check::good(ID, text))
        }
    }
}

/// What a result of `initialize` says that came over HTTP+SSE, raw JSON.
#[must_use]
pub fn of_result(result: &str) -> Check {
    let version = member(result, "protocolVersion").and_then(string);
    let version = version.unwrap_or_default();
    let name = member(result, "serverInfo").map(named).unwrap_or_default();
    with_handshake(&text::sanitize(&version, NAME_CHARS), &name)
}

/// A server with a handshake that may be spoken to.
fn with_handshake(version: &str, name: &str) -> Check {
    if revision::is_known(version) {
        return Check::good(ID, format!("{version}{name}"));
    }
    Check::warning(
        ID,
        format!("\"{version}\", which this version of mcp-bridge does not know{name}"),
        "look for a newer version of mcp-bridge; this one passes on what it understands",
    )
}

fn only_legacy(what: &str) -> Check {
    let text = format!("only {what}");
    Check::bad(ID, text, "--protocol modern excludes that; write")
        .with_flag("--protocol auto")
        .of_kind(Kind::NotMcp)
}

/// `; the server calls itself "NAME" VERSION`, from raw JSON.
fn named(info: &str) -> String {
    let part = |name| {
        let value = string(member(info, name)?)?;
        (!value.is_empty()).then(|| text::sanitize(&value, NAME_CHARS))
    };
    match (part("name"), part("version")) {
        (Some(name), Some(version)) => {
            format!("; the server calls itself \"{name}\", version {version}")
        }
        (Some(name), None) => format!("; the server calls itself \"{name}\""),
        (None, _) => String::new(),
    }
}

fn string(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}
