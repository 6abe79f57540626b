//! Under which name a sign-in is stored, and the port that goes with it: those of npm
//! `mcp-remote`, so that both programs share one sign-in.
//!
//! In: what goes into the name. Out: files (`edge/store`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use md5::{Digest as _, Md5};

use crate::proto::json::quote;

/// First port that can be derived.
const FIRST_PORT: u16 = 3335;
/// Number of ports that can be derived: up to 49150, below those given out at random (RFC 6335 §6).
const PORTS: u16 = 45_816;

/// What goes into the name of a sign-in. Texts are as typed unless said otherwise.
#[derive(Clone, Default)]
pub struct Parts<'a> {
    /// The URL argument.
    pub url: &'a str,
    /// `--resource`, trimmed, if it is in force.
    pub resource: Option<&'a str>,
    /// `--authorize-param`; the last one of each key counts.
    pub authorize_params: &'a [(String, String)],
    /// Header names and unexpanded values; the last one of each name counts. Names in different
    /// letter case are different names.
    pub headers: &'a [(String, String)],
    /// `--client-metadata-url`, trimmed, if it is valid.
    pub client_metadata_url: Option<&'a str>,
    /// `--token-endpoint`, normalized.
    pub token_endpoint: Option<&'a str>,
    /// `--profile`.
    pub profile: Option<&'a str>,
}

/// 32 lower-case hexadecimal digits: the MD5 of the parts that are there, joined by `|`. As a
/// name, not as protection: whoever can choose its input can only choose where their own sign-in
/// lies.
#[must_use]
pub fn store_key(parts: &Parts<'_>) -> String {
    let profile = parts.profile.map(|name| format!("profile:{name}"));
    let params = object(parts.authorize_params);
    let headers = object(parts.headers);
    let present = [
        Some(parts.url),
        parts.resource,
        params.as_deref(),
        headers.as_deref(),
        parts.client_metadata_url,
        parts.token_endpoint,
        profile.as_deref(),
    ];
    let joined: Vec<&str> = present.into_iter().flatten().collect();
    let mut key = String::with_capacity(32);
    for byte in Md5::digest(joined.join("|")) {
        // Writing to a string cannot fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

/// The port that `mcp-remote` derives from the name: 3335…49150.
#[must_use]
pub fn derived_port(key: &str) -> u16 {
    let head = key.get(..4).unwrap_or_default();
    let number = u16::from_str_radix(head, 16).unwrap_or_default();
    FIRST_PORT + number % PORTS
}

/// A compact JSON object with its keys in the order of their UTF-16 code units, which is how
/// JavaScript sorts; `None` if there are no pairs.
fn object(pairs: &[(String, String)]) -> Option<String> {
    let sorted: BTreeMap<Vec<u16>, (&str, &str)> = pairs
        .iter()
        .map(|(key, value)| (key.encode_utf16().collect(), (key.as_str(), value.as_str())))
        .collect();
    let members: Vec<String> = sorted
        .into_values()
        .map(|(key, value)| format!("{}:{}", quote(key), quote(value)))
        .collect();
    (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
}

#[cfg(test)]
mod tests;
