//! Options of a command line as they may be shown to others.
//!
//! In: which values are harmless. Out: reading command lines (`cli`), where they are shown
//! (`commands`).

use url::Url;

use crate::proto::text::{public_url, sanitize};

/// What stands for a value that is not shown.
const HIDDEN: &str = "[hidden]";

/// Longest value that is shown, in characters.
const VALUE_CHARS: usize = 200;

/// Options whose values are numbers, choices, or names of tools. Everything else may be secret, or
/// say more about a person than a bug report needs.
const HARMLESS: [&str; 19] = [
    "auth-timeout",
    "body-timeout",
    "call-timeout",
    "connect-timeout",
    "discover",
    "eof-grace",
    "headers-timeout",
    "heartbeat",
    "host",
    "callback-path",
    "ignore-tool",
    "initialize-wait",
    "log-format",
    "max-message-size",
    "only-tool",
    "ping-interval",
    "protocol",
    "store",
    "transport",
];

/// Options whose values are addresses: shown without user name, password and query.
const ADDRESSES: [&str; 5] = [
    "auth-success-url",
    "client-metadata-url",
    "expect-issuer",
    "resource",
    "token-endpoint",
];

/// Options whose values begin with the name of a header.
const NAMED: [&str; 2] = ["header", "header-command"];

/// An option as it may be shown, fit for a terminal. `name` is its long name without dashes,
/// `value` its value as typed; `None`: a switch.
#[must_use]
pub fn shown(name: &str, value: Option<&str>) -> String {
    let Some(value) = value else {
        return format!("--{}", sanitize(name, VALUE_CHARS));
    };
    let value = if HARMLESS.contains(&name) {
        sanitize(value, VALUE_CHARS)
    } else if ADDRESSES.contains(&name) {
        let url = Url::parse(value);
        url.map_or_else(|_| HIDDEN.to_owned(), |url| public_url(&url))
    } else if NAMED.contains(&name) {
        match value.split_once(':') {
            Some((header, _)) => format!("\"{}: {HIDDEN}\"", sanitize(header, VALUE_CHARS)),
            None => HIDDEN.to_owned(),
        }
    } else if name == "proxy" && value.eq_ignore_ascii_case("none") {
        "none".to_owned()
    } else {
        HIDDEN.to_owned()
    };
    format!("--{name} {value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f22_only_harmless_values_are_shown() {
        for (name, value, expected) in [
            ("debug", None, "--debug"),
            ("transport", Some("sse-only"), "--transport sse-only"),
            ("ignore-tool", Some("delete_*"), "--ignore-tool delete_*"),
            (
                "header",
                Some("Authorization: Bearer hunter2"),
                "--header \"Authorization: [hidden]\"",
            ),
            ("header", Some("hunter2"), "--header [hidden]"),
            (
                "header-command",
                Some("X-Key: echo hunter2"),
                "--header-command \"X-Key: [hidden]\"",
            ),
            ("proxy", Some("none"), "--proxy none"),
            (
                "proxy",
                Some("http://me:hunter2@proxy:1"),
                "--proxy [hidden]",
            ),
            (
                "expect-issuer",
                Some("https://me:hunter2@as.example/x?k=hunter2"),
                "--expect-issuer https://as.example/x",
            ),
            ("resource", Some("hunter2"), "--resource [hidden]"),
            (
                "static-oauth-client-info",
                Some("{\"client_secret\":\"hunter2\"}"),
                "--static-oauth-client-info [hidden]",
            ),
            (
                "ca-cert",
                Some("/home/me/hunter2.pem"),
                "--ca-cert [hidden]",
            ),
            (
                "an-option-of-tomorrow",
                Some("x"),
                "--an-option-of-tomorrow [hidden]",
            ),
            ("host", Some("a\u{1b}[2J"), "--host a\\u{1b}[2J"),
        ] {
            let shown = shown(name, value);
            assert_eq!(shown, expected);
            assert!(!shown.contains("hunter2"));
        }
    }
}
