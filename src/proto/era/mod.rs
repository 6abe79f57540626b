//! What differs between the two eras of MCP, and how the text of one becomes the text of the
//! other.
//!
//! Up to 2025-11-25 a connection begins with `initialize`; from 2026-07-28 on every request stands
//! for itself and carries its revision and the client's capabilities in `_meta` (MCP 2026-07-28,
//! Versioning). In: pure rewriting of single messages, and what an answer proves about its sender.
//! Out: which message goes where and when (`bridge`).

pub mod capabilities;
pub mod discover;
pub mod errors;
pub mod evidence;
pub mod listing;
pub mod meta;
pub mod notices;
pub mod param_headers;
pub mod result;
pub mod schemas;
mod splice;
pub mod tasks;
pub mod values;

/// The first revision without a handshake.
pub const FIRST_MODERN: &str = "2026-07-28";

/// The modern revisions that the bridge speaks itself, newest first.
pub const SPOKEN: [&str; 1] = ["2026-07-28"];

/// Which rules a message follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Era {
    /// Up to 2025-11-25: a handshake, and a session.
    #[default]
    Legacy,
    /// From 2026-07-28 on: every request stands for itself.
    Modern,
}

impl Era {
    /// The era of a revision. Revisions compare as text.
    #[must_use]
    pub fn of(version: &str) -> Self {
        if version >= FIRST_MODERN && version.starts_with('2') {
            Self::Modern
        } else {
            Self::Legacy
        }
    }
}

/// The newest modern revision in a list that the bridge speaks.
#[must_use]
pub fn newest_spoken(versions: &[String]) -> Option<&'static str> {
    SPOKEN
        .into_iter()
        .find(|spoken| versions.iter().any(|version| version == spoken))
}
