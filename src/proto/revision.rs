//! The protocol revisions the bridge knows by name.
//!
//! In: names and what sets a revision apart. Out: what each side speaks (`bridge/`).

use bytes::Bytes;

/// The revisions that begin with `initialize`, oldest first (MCP, Versioning).
pub const WITH_HANDSHAKE: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// The newest of them.
pub const NEWEST_WITH_HANDSHAKE: &str = "2025-11-25";

/// Whether this is one of them.
#[must_use]
pub fn is_known(version: &str) -> bool {
    WITH_HANDSHAKE.contains(&version)
}

/// The only revision that has batches (MCP 2025-03-26, Overview, Batching).
pub const WITH_BATCHES: &str = "2025-03-26";

/// The newest of these versions that begins with `initialize`.
#[must_use]
pub fn newest_known(versions: &[String]) -> Option<&str> {
    WITH_HANDSHAKE
        .into_iter()
        .rev()
        .find(|known| versions.iter().any(|version| version == known))
}

/// The newest revision, other than the one in use, that a refusal for an "unsupported protocol
/// version" names (MCP 2025-11-25, Transports, Protocol Version Header).
#[must_use]
pub fn named_in_refusal(body: &Bytes, in_use: &str) -> Option<&'static str> {
    let text = String::from_utf8_lossy(body.get(..REFUSAL).unwrap_or(body)).to_lowercase();
    if !text.contains("unsupported protocol version") {
        return None;
    }
    WITH_HANDSHAKE
        .into_iter()
        .rev()
        .find(|known| *known != in_use && text.contains(known))
}

/// How much of a refusal is read, in bytes.
const REFUSAL: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_known_revision_is_chosen() {
        let versions = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let known = versions(&["2025-03-26", "2026-07-28", "2025-06-18"]);
        assert_eq!(newest_known(&known), Some("2025-06-18"));
        assert_eq!(newest_known(&versions(&["2026-07-28"])), None);
    }

    #[test]
    fn a_refusal_names_the_revision_it_wants() {
        let body = |text: &'static str| Bytes::from_static(text.as_bytes());
        let refusal = "Bad Request: Unsupported protocol version (supported versions: 2025-06-18, 2025-03-26)";
        assert_eq!(
            named_in_refusal(&body(refusal), "2025-11-25"),
            Some("2025-06-18")
        );
        assert_eq!(
            named_in_refusal(&body(refusal), "2025-06-18"),
            Some("2025-03-26")
        );
        assert_eq!(
            named_in_refusal(&body("tool 2025-03-26 failed"), "2025-11-25"),
            None
        );
        assert_eq!(
            named_in_refusal(
                &body("Unsupported protocol version: 2025-11-25"),
                "2025-11-25"
            ),
            None
        );
    }
}
