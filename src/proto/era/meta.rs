//! What a modern request says of itself in `_meta`, read, written and taken out (MCP 2026-07-28,
//! Base Protocol, `_meta`).
//!
//! In: parameters of one request as text. Out: the HTTP fields that repeat some of it
//! (`headers`), capabilities as such (`capabilities`).

use memchr::memmem;

use crate::proto::json;
use crate::proto::message::member;
use crate::proto::object::Object;

/// `_meta` key: the revision of a request.
pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// `_meta` key: what the client can do.
pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// `_meta` key: who the client is.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// `_meta` key: from which level on the request wants log messages.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// `_meta` key: who the server is.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// `_meta` key: the `subscriptions/listen` request that a notification belongs to.
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

/// What the keys that MCP itself adds begin with.
const RESERVED: &str = "io.modelcontextprotocol/";

/// The keys that a request says what it is with.
const OF_REQUESTS: [&str; 4] = [
    PROTOCOL_VERSION,
    CLIENT_CAPABILITIES,
    CLIENT_INFO,
    LOG_LEVEL,
];

/// What one modern request says of itself. Everything but `version` and `log_level` is raw JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stated {
    /// Its revision; empty if the member is no string.
    pub version: String,
    /// `clientCapabilities`, if it is an object.
    pub capabilities: Option<String>,
    /// `clientInfo`, if it is an object.
    pub client_info: Option<String>,
    /// `logLevel`, decoded; empty if it is no string.
    pub log_level: Option<String>,
}

impl Stated {
    /// Reads it from the parameters of a request. `None` for a request that names no revision
    /// in `_meta`: it belongs to the legacy era.
    #[must_use]
    pub fn read(params: Option<&str>) -> Option<Self> {
        let params = params.filter(|params| may_state(params))?;
        let meta = Object::parse(member(params, "_meta")?)?;
        let object = |key| {
            let value = meta.get(key).filter(|value| value.starts_with('{'));
            value.map(str::to_owned)
        };
        let string = |value| serde_json::from_str(value).unwrap_or_default();
        Some(Self {
            version: string(meta.get(PROTOCOL_VERSION)?),
            capabilities: object(CLIENT_CAPABILITIES),
            client_info: object(CLIENT_INFO),
            log_level: meta.get(LOG_LEVEL).map(string),
        })
    }
}

/// What the bridge says in a request's `_meta`, in the client's name.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// The revision.
    pub version: &'a str,
    /// `clientCapabilities`, raw JSON.
    pub capabilities: &'a str,
    /// `clientInfo`, raw JSON.
    pub client_info: Option<&'a str>,
    /// `logLevel`.
    pub log_level: Option<&'a str>,
}

impl Stamp<'_> {
    /// A `_meta` object (raw JSON) with this stamp in place of any other.
    fn over(&self, meta: Option<&str>) -> String {
        let mut meta = meta.and_then(Object::parse).unwrap_or_default();
        meta.retain(|key| !OF_REQUESTS.contains(&key));
        meta.set(PROTOCOL_VERSION, json::quote(self.version));
        meta.set(CLIENT_CAPABILITIES, self.capabilities);
        if let Some(info) = self.client_info {
            meta.set(CLIENT_INFO, info);
        }
        if let Some(level) = self.log_level {
            meta.set(LOG_LEVEL, json::quote(level));
        }
        meta.to_string()
    }
}

/// The parameters with this stamp in `_meta`: it replaces whatever they hold under keys that MCP
/// reserves for requests (the four above); `progressToken`, trace context and keys of others stay.
/// Also sets these members of the parameters (name, raw JSON), and removes members of these names
/// first. `params` and `_meta` are made where they are missing or `null`. `None` if `params` is no
/// object.
#[must_use]
pub fn stamped(
    params: Option<&str>,
    stamp: &Stamp<'_>,
    remove: &[&str],
    set: &[(&str, &str)],
) -> Option<String> {
    let params = params.filter(|params| *params != "null");
    let mut object = Object::parse(params.unwrap_or("{}"))?;
    for name in remove {
        object.remove(name);
    }
    for &(name, value) in set {
        object.set(name, value);
    }
    let meta = stamp.over(object.get("_meta"));
    object.set("_meta", meta);
    Some(object.to_string())
}

/// The parameters without what only a modern request has: reserved `_meta` keys of requests, and
/// an emptied `_meta`. `inputResponses` and `requestState` go too. `None`: nothing was there.
#[must_use]
pub fn unstamped(params: &str) -> Option<String> {
    let mut object = Object::parse(params)?;
    let mut changed = strip_away(&mut object, "_meta", |key| OF_REQUESTS.contains(&key));
    for name in ["inputResponses", "requestState"] {
        changed |= object.remove(name);
    }
    changed.then(|| object.to_string())
}

/// `_meta.progressToken` of these parameters, raw JSON: a string or a number.
#[must_use]
pub fn progress_token(params: Option<&str>) -> Option<&str> {
    let token = member(member(params?, "_meta")?, "progressToken")?;
    token
        .starts_with(|first: char| matches!(first, '"' | '-' | '0'..='9'))
        .then_some(token)
}

/// The parameters with another `_meta.progressToken` (raw JSON) in place of theirs. What is no
/// object stays as it is.
#[must_use]
pub fn with_progress_token(params: &str, token: &str) -> String {
    let Some(mut object) = Object::parse(params) else {
        return params.to_owned();
    };
    let mut meta = object
        .get("_meta")
        .and_then(Object::parse)
        .unwrap_or_default();
    meta.set("progressToken", token);
    let meta = meta.to_string();
    object.set("_meta", meta);
    object.to_string()
}

/// An object (a notification's parameters, a question's parameters, a result) without the
/// `_meta` keys that MCP reserves under `io.modelcontextprotocol/` (all of them), and without an
/// emptied `_meta`. `None`: nothing was there.
#[must_use]
pub fn without_reserved(object: &str) -> Option<String> {
    let mut object = Object::parse(object)?;
    strip_reserved(&mut object).then(|| object.to_string())
}

/// [`without_reserved`] for an object that is taken apart already. Whether something went.
pub(super) fn strip_reserved(object: &mut Object<'_>) -> bool {
    strip_away(object, "_meta", |key| key.starts_with(RESERVED))
}

/// Takes members out of a member that is an object. Whether one went.
pub(super) fn strip(object: &mut Object<'_>, name: &str, gone: impl Fn(&str) -> bool) -> bool {
    let Some(mut inner) = object.get(name).and_then(Object::parse) else {
        return false;
    };
    if !inner.retain(|key| !gone(key)) {
        return false;
    }
    let inner = inner.to_string();
    object.set(name, inner);
    true
}

/// [`strip`], and removes the member if that has emptied it.
pub(super) fn strip_away(object: &mut Object<'_>, name: &str, gone: impl Fn(&str) -> bool) -> bool {
    let stripped = strip(object, name, gone);
    if stripped && object.get(name) == Some("{}") {
        object.remove(name);
    }
    stripped
}

/// Whether these parameters can hold the key of a revision at all. Spares most messages of the
/// legacy era, some of them large, a second reading; a key may be spelled with escapes, of which
/// those of control characters, accents and the signs of HTML are none of its letters.
fn may_state(params: &str) -> bool {
    let params = params.as_bytes();
    memmem::find(params, b"protocolVersion").is_some()
        || memmem::find_iter(params, b"\\u00").any(|at| {
            let digits = params.get(at + 4..at + 6);
            matches!(
                digits,
                Some([b'2', b'e' | b'E' | b'f' | b'F'] | [b'5'..=b'7', _])
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp<'_> = Stamp {
        version: "2026-07-28",
        capabilities: r#"{"roots":{}}"#,
        client_info: Some(r#"{"name":"desk","version":"3.1"}"#),
        log_level: None,
    };

    const STAMPED: &str = concat!(
        r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
        r#""io.modelcontextprotocol/clientCapabilities":{"roots":{}},"#,
        r#""io.modelcontextprotocol/clientInfo":{"name":"desk","version":"3.1"}"#,
    );

    #[test]
    fn a_request_is_modern_if_it_names_a_revision() {
        let stated = Stated::read(Some(
            r#"{"name":"x","_meta":{"progressToken":1,
                "io.modelcontextprotocol/protocolVersion":"2031-01-01",
                "io.modelcontextprotocol/clientCapabilities": {"a":1.0},
                "io.modelcontextprotocol/clientInfo":{"name":"n"},
                "io.modelcontextprotocol/logLevel":"info"}}"#,
        ));
        let expected = Stated {
            version: "2031-01-01".into(),
            capabilities: Some(r#"{"a":1.0}"#.into()),
            client_info: Some(r#"{"name":"n"}"#.into()),
            log_level: Some("info".into()),
        };
        assert_eq!(stated, Some(expected));
        let slashed = r#"{"_meta":{"io.modelcontextprotocol\/protocolVersion":"v"}}"#;
        let escaped = r#"{"\u005fmeta":{"io.modelcontextprotocol/\u0070rotocolVersion":"v"}}"#;
        for params in [slashed, escaped] {
            assert_eq!(Stated::read(Some(params)).unwrap().version, "v", "{params}");
        }
        for params in [
            None,
            Some(""),
            Some("[]"),
            Some(r#"{"protocolVersion":"2026-07-28"}"#),
            Some(r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#),
            Some(r#"{"arguments":{"_meta":{"io.modelcontextprotocol/protocolVersion":"x"}}}"#),
            Some(r#"{"_meta":{"io.modelcontextprotocol/clientCapabilities":{}}}"#),
            Some(r#"{"_meta":"io.modelcontextprotocol/protocolVersion"}"#),
        ] {
            assert_eq!(Stated::read(params), None, "{params:?}");
        }
    }

    #[test]
    fn only_escapes_that_a_key_can_have_are_read_a_second_time() {
        for key in [
            "protocolVersion",
            "\\u0070",
            "\\u002F",
            "\\u002e",
            "\\u0056",
            "\\u006c",
        ] {
            let params = format!(r#"{{"a":"\u001b{key}"}}"#);
            assert!(may_state(&params), "{params}");
        }
        for text in [
            "\\u001b[1m",
            "\\u00e9",
            "\\u003cb\\u003e",
            "\\u0026",
            "\\u00",
        ] {
            let params = format!(r#"{{"a":"{text}"}}"#);
            assert!(!may_state(&params), "{params}");
        }
    }

    #[test]
    fn members_of_a_wrong_type_count_as_missing_but_the_era_holds() {
        let params = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":7,
            "io.modelcontextprotocol/clientCapabilities":[],
            "io.modelcontextprotocol/clientInfo":"me","io.modelcontextprotocol/logLevel":null}}"#;
        let expected = Stated {
            log_level: Some(String::new()),
            ..Stated::default()
        };
        assert_eq!(Stated::read(Some(params)), Some(expected));
    }

    #[test]
    fn t95_a_request_says_its_revision_and_who_the_client_is_and_what_it_can_do() {
        let level = Stamp {
            log_level: Some("warning"),
            client_info: None,
            ..STAMP
        };
        let leveled = concat!(
            r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
            r#""io.modelcontextprotocol/clientCapabilities":{"roots":{}},"#,
            r#""io.modelcontextprotocol/logLevel":"warning"}}"#,
        );
        let bare = format!(r#"{{"_meta":{{{STAMPED}}}}}"#);
        for (params, stamp, expected) in [
            (None, &STAMP, Some(&*bare)),
            (Some("{}"), &STAMP, Some(&*bare)),
            (Some(r#"{"_meta":null}"#), &STAMP, Some(&*bare)),
            (Some("{}"), &level, Some(leveled)),
            (Some("[]"), &STAMP, None),
            (Some("{"), &STAMP, None),
        ] {
            let found = stamped(params, stamp, &[], &[]);
            assert_eq!(found.as_deref(), expected, "{params:?}");
        }
    }

    #[test]
    fn t96_what_a_client_puts_under_reserved_keys_is_replaced_and_the_rest_kept() {
        let params = concat!(
            r#"{"name":"t","arguments":{"n":1.0e2,"s":"\ud800","_meta":{"io.modelcontextprotocol/logLevel":1}},"#,
            r#""_meta":{"io.modelcontextprotocol/protocolVersion":"1999-01-01","progressToken":3,"#,
            r#""io.modelcontextprotocol\/logLevel":"debug","com.example/k":[ 1 ],"traceparent":"00-0a","#,
            r#""io.modelcontextprotocol/clientInfo":{"name":"false"},"#,
            r#""io.modelcontextprotocol/related-task":{"taskId":"1"}}}"#,
        );
        let expected = format!(
            concat!(
                r#"{{"name":"t","arguments":{{"n":1.0e2,"s":"\ud800","_meta":{{"io.modelcontextprotocol/logLevel":1}}}},"#,
                r#""_meta":{{"progressToken":3,"com.example/k":[ 1 ],"traceparent":"00-0a","#,
                r#""io.modelcontextprotocol/related-task":{{"taskId":"1"}},{}}}}}"#,
            ),
            STAMPED
        );
        assert_eq!(stamped(Some(params), &STAMP, &[], &[]), Some(expected));
    }

    #[test]
    fn members_of_the_parameters_are_removed_and_set_on_the_way() {
        let params = r#"{"name":"t","requestState":"old","task":{},"inputResponses":{}}"#;
        let set = [("requestState", r#""a\/b""#), ("inputResponses", "{ }")];
        let found = stamped(Some(params), &STAMP, &["task", "inputResponses"], &set);
        let expected = format!(
            r#"{{"name":"t","requestState":"a\/b","inputResponses":{{ }},"_meta":{{{STAMPED}}}}}"#
        );
        assert_eq!(found, Some(expected));
    }

    #[test]
    fn t133_reserved_keys_are_gone_and_progress_token_and_trace_context_kept() {
        let stamped = |rest: &str| format!(r#"{{"a":1.0,"_meta":{{{STAMPED}{rest}}},"b":[ ]}}"#);
        for (params, expected) in [
            (
                stamped(r#","progressToken":"p","traceparent":"00-0a","com.example/k":0"#),
                Some(r#"{"a":1.0,"_meta":{"progressToken":"p","traceparent":"00-0a","com.example/k":0},"b":[ ]}"#),
            ),
            (stamped(""), Some(r#"{"a":1.0,"b":[ ]}"#)),
            (
                r#"{"name":"t","inputResponses":{},"requestState":"s","_meta":{"progressToken":1}}"#.into(),
                Some(r#"{"name":"t","_meta":{"progressToken":1}}"#),
            ),
            (r#"{"name":"t","_meta":{}}"#.into(), None),
            (r#"{"_meta":{"io.modelcontextprotocol/related-task":{}}}"#.into(), None),
            ("[]".into(), None),
        ] {
            assert_eq!(unstamped(&params).as_deref(), expected, "{params}");
        }
    }

    #[test]
    fn a_progress_token_is_a_string_or_a_number() {
        for (meta, expected) in [
            (r#"{"progressToken":"a\/b"}"#, Some(r#""a\/b""#)),
            (r#"{"progressToken": -7 }"#, Some("-7")),
            (r#"{"progressToken":null}"#, None),
            (r#"{"progressToken":{}}"#, None),
            ("{}", None),
            ("1", None),
        ] {
            let params = format!(r#"{{"_meta":{meta},"progressToken":5}}"#);
            assert_eq!(progress_token(Some(&params)), expected, "{params}");
        }
        assert_eq!(progress_token(None), None);
    }

    #[test]
    fn a_progress_token_is_replaced_or_added() {
        for (params, expected) in [
            (
                r#"{"_meta":{"progressToken":1,"k":1.0},"a":[ ]}"#,
                r#"{"_meta":{"progressToken":"mb","k":1.0},"a":[ ]}"#,
            ),
            (r#"{"a":1}"#, r#"{"a":1,"_meta":{"progressToken":"mb"}}"#),
            ("[1]", "[1]"),
        ] {
            assert_eq!(with_progress_token(params, r#""mb""#), expected);
        }
    }

    #[test]
    fn every_reserved_key_goes_and_an_emptied_meta_too() {
        for (object, expected) in [
            (
                r#"{"uri":"u","_meta":{"io.modelcontextprotocol/subscriptionId":1}}"#,
                Some(r#"{"uri":"u"}"#),
            ),
            (
                r#"{"_meta":{"io.modelcontextprotocol/x":1,"progressToken":2,"io.modelcontextprotocolx/y":3}}"#,
                Some(r#"{"_meta":{"progressToken":2,"io.modelcontextprotocolx/y":3}}"#),
            ),
            (
                r#"{"_meta":{},"a":{"_meta":{"io.modelcontextprotocol/x":1}}}"#,
                None,
            ),
            (r#"{"_meta":"io.modelcontextprotocol/x"}"#, None),
            ("null", None),
        ] {
            assert_eq!(without_reserved(object).as_deref(), expected, "{object}");
        }
    }
}
