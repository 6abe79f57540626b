//! Change notifications and the filter of `subscriptions/listen` (MCP 2026-07-28, Subscriptions).
//!
//! In: the filter as a value, notifications with and without the subscription they belong to.
//! Out: which streams are open, and for whom (`bridge`).

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::proto::message::{Id, Message, member};
use crate::proto::object::{self, Object};
use crate::proto::{json, limits};

use super::meta;

/// The member that holds a filter, of a request and of an acknowledgement.
const FILTER: &str = "notifications";

/// What a `subscriptions/listen` asks for, or what an acknowledgement grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `toolsListChanged`.
    pub tools: bool,
    /// `promptsListChanged`.
    pub prompts: bool,
    /// `resourcesListChanged`.
    pub resources: bool,
    /// URIs of resources whose updates are wanted.
    pub uris: BTreeSet<String>,
}

/// What a notification tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `notifications/tools/list_changed`.
    Tools,
    /// `notifications/prompts/list_changed`.
    Prompts,
    /// `notifications/resources/list_changed`.
    Resources,
    /// `notifications/resources/updated`, and the URI.
    Updated(String),
}

impl Change {
    /// What this notification tells of, if it tells of a change.
    #[must_use]
    pub fn of(notification: &Message) -> Option<Self> {
        match notification.method() {
            TOOLS => Some(Self::Tools),
            PROMPTS => Some(Self::Prompts),
            RESOURCES => Some(Self::Resources),
            UPDATED => notification.param("uri").map(Self::Updated),
            _ => None,
        }
    }

    /// The notification, without a subscription.
    #[must_use]
    pub fn notification(&self) -> Bytes {
        let (method, params) = match self {
            Self::Tools => (TOOLS, String::new()),
            Self::Prompts => (PROMPTS, String::new()),
            Self::Resources => (RESOURCES, String::new()),
            Self::Updated(uri) => {
                let uri = json::quote(uri);
                (UPDATED, format!(r#","params":{{"uri":{uri}}}"#))
            }
        };
        format!(r#"{{"jsonrpc":"2.0","method":"{method}"{params}}}"#).into()
    }
}

impl Wanted {
    /// Reads the parameters of a `subscriptions/listen` request or of
    /// `notifications/subscriptions/acknowledged`. `None` if they cannot be read. Of the URIs, the
    /// first [`limits::SUBSCRIPTIONS`] count; the others are not granted, or not asked for.
    #[must_use]
    pub fn read(params: Option<&str>) -> Option<Self> {
        let filter = Object::parse(member(params?, FILTER)?)?;
        let flag = |name| match filter.get(name) {
            None | Some("null" | "false") => Some(false),
            Some("true") => Some(true),
            Some(_) => None,
        };
        let uris = match filter.get(URIS) {
            None | Some("null") => Vec::new(),
            Some(list) => object::items(list)?,
        };
        let uris = uris.into_iter().take(limits::SUBSCRIPTIONS);
        Some(Self {
            tools: flag(ALL_TOOLS)?,
            prompts: flag(ALL_PROMPTS)?,
            resources: flag(ALL_RESOURCES)?,
            uris: uris
                .map(|uri| serde_json::from_str(uri).ok())
                .collect::<Option<_>>()?,
        })
    }

    /// The filter as the parameters hold it: the name of the member, and its raw JSON. What is not
    /// asked for is left out.
    #[must_use]
    pub fn member(&self) -> (&'static str, String) {
        let mut filter = Object::default();
        for (name, wanted) in [
            (ALL_TOOLS, self.tools),
            (ALL_PROMPTS, self.prompts),
            (ALL_RESOURCES, self.resources),
        ] {
            if wanted {
                filter.set(name, "true");
            }
        }
        if !self.uris.is_empty() {
            let uris: Vec<String> = self.uris.iter().map(|uri| json::quote(uri)).collect();
            filter.set(URIS, object::array(&uris));
        }
        (FILTER, filter.to_string())
    }

    /// Whether a change is asked for. URIs are compared as they are spelled.
    #[must_use]
    pub fn covers(&self, change: &Change) -> bool {
        match change {
            Change::Tools => self.tools,
            Change::Prompts => self.prompts,
            Change::Resources => self.resources,
            Change::Updated(uri) => self.uris.contains(uri),
        }
    }

    /// What both ask for.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self {
            tools: self.tools && other.tools,
            prompts: self.prompts && other.prompts,
            resources: self.resources && other.resources,
            uris: self.uris.intersection(&other.uris).cloned().collect(),
        }
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Every change it asks for.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        let lists = [Change::Tools, Change::Prompts, Change::Resources];
        let mut changes: Vec<Change> = lists.into_iter().filter(|list| self.covers(list)).collect();
        changes.extend(self.uris.iter().cloned().map(Change::Updated));
        changes
    }
}

/// Whether a `notifications/cancelled` is about this request.
#[must_use]
pub fn cancels(cancelled: &Message, id: &Id) -> bool {
    let named = cancelled
        .params()
        .and_then(|params| member(params, "requestId"))
        .and_then(Id::from_raw);
    named.as_ref() == Some(id)
}

/// Whether a resource is the one subscribed to, or a part of it: an update may be of a sub-resource
/// (MCP 2026-07-28, Schema, `ResourceUpdatedNotificationParams`).
#[must_use]
pub fn is_part_of(uri: &str, subscribed: &str) -> bool {
    uri.strip_prefix(subscribed).is_some_and(|rest| {
        rest.is_empty() || rest.starts_with(['/', '#', '?']) || subscribed.ends_with('/')
    })
}

/// `notifications/subscriptions/acknowledged` for this listen request, granting this.
#[must_use]
pub fn acknowledged(listen: &Id, granted: &Wanted) -> Bytes {
    let (name, filter) = granted.member();
    let (key, id) = (meta::SUBSCRIPTION_ID, listen.token());
    format!(
        r#"{{"jsonrpc":"2.0","method":"{ACKNOWLEDGED}","params":{{"_meta":{{"{key}":{id}}},"{name}":{filter}}}}}"#
    )
    .into()
}

/// The response that ends this listen request as intended (MCP 2026-07-28, Subscriptions, Graceful
/// Closure).
#[must_use]
pub fn closed(listen: &Id) -> Bytes {
    let (key, id) = (meta::SUBSCRIPTION_ID, listen.token());
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete","_meta":{{"{key}":{id}}}}}}}"#
    )
    .into()
}

/// The subscription that a notification or result names in `_meta`.
#[must_use]
pub fn subscription(message: &Message) -> Option<Id> {
    let holder = message.params().or_else(|| message.result())?;
    Id::from_raw(member(member(holder, "_meta")?, meta::SUBSCRIPTION_ID)?)
}

/// A notification (or result) with this subscription in `_meta`, in place of any other. An error
/// response stays as it is.
#[must_use]
pub fn tagged(message: &Message, listen: &Id) -> Bytes {
    let (name, holder) = match (message.method(), message.result()) {
        ("", None) => return message.text().clone(),
        ("", Some(result)) => ("result", result),
        _ => ("params", message.params().unwrap_or("{}")),
    };
    let Some(mut holder) = Object::parse(holder) else {
        return message.text().clone();
    };
    let mut meta = holder
        .get("_meta")
        .and_then(Object::parse)
        .unwrap_or_default();
    meta.set(meta::SUBSCRIPTION_ID, listen.token());
    let meta = meta.to_string();
    holder.set("_meta", meta);
    with_member(message, name, &holder.to_string())
}

/// A notification without the reserved `_meta` keys.
#[must_use]
pub fn untagged(notification: &Message) -> Bytes {
    match notification.params().and_then(meta::without_reserved) {
        Some(params) => with_member(notification, "params", &params),
        None => notification.text().clone(),
    }
}

const TOOLS: &str = "notifications/tools/list_changed";
const PROMPTS: &str = "notifications/prompts/list_changed";
const RESOURCES: &str = "notifications/resources/list_changed";
const UPDATED: &str = "notifications/resources/updated";
const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

const ALL_TOOLS: &str = "toolsListChanged";
const ALL_PROMPTS: &str = "promptsListChanged";
const ALL_RESOURCES: &str = "resourcesListChanged";
const URIS: &str = "resourceSubscriptions";

/// The message with another member (raw JSON) in its envelope.
fn with_member(message: &Message, name: &str, value: &str) -> Bytes {
    let text = std::str::from_utf8(message.text()).unwrap_or_default();
    let Some(mut envelope) = Object::parse(text) else {
        return message.text().clone();
    };
    envelope.set(name, value);
    envelope.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    fn id(raw: &str) -> Id {
        Id::from_raw(raw).unwrap()
    }

    fn wanted(lists: [bool; 3], uris: &[&str]) -> Wanted {
        let [tools, prompts, resources] = lists;
        Wanted {
            tools,
            prompts,
            resources,
            uris: uris.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_change_is_known_by_its_method_and_says_itself() {
        for (change, text) in [
            (
                Change::Tools,
                r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#,
            ),
            (
                Change::Prompts,
                r#"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}"#,
            ),
            (
                Change::Resources,
                r#"{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}"#,
            ),
            (
                Change::Updated("a\"b".into()),
                r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a\"b"}}"#,
            ),
        ] {
            assert_eq!(change.notification(), text);
            assert_eq!(Change::of(&message(text)), Some(change));
        }
        for text in [
            r#"{"jsonrpc":"2.0","method":"notifications/resources/updated"}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":7}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        ] {
            assert_eq!(Change::of(&message(text)), None, "{text}");
        }
    }

    #[test]
    fn a_filter_is_read_as_the_specification_spells_it() {
        for (filter, expected) in [
            ("{}", Some(wanted([false; 3], &[]))),
            (
                r#"{"toolsListChanged":true,"resourceSubscriptions":["b","\u0061","b"]}"#,
                Some(wanted([true, false, false], &["a", "b"])),
            ),
            (
                r#"{"promptsListChanged":true,"resourcesListChanged":true,"toolsListChanged":false,"taskIds":[1]}"#,
                Some(wanted([false, true, true], &[])),
            ),
            (
                r#"{"toolsListChanged":null,"resourceSubscriptions":null}"#,
                Some(Wanted::default()),
            ),
            (r#"{"toolsListChanged":"true"}"#, None),
            (r#"{"resourceSubscriptions":"a"}"#, None),
            (r#"{"resourceSubscriptions":["a",7]}"#, None),
            ("[]", None),
            ("null", None),
        ] {
            let params = format!(r#"{{"_meta":{{}},"notifications":{filter}}}"#);
            assert_eq!(Wanted::read(Some(&params)), expected, "{filter}");
        }
        assert_eq!(Wanted::read(Some("{}")), None);
        assert_eq!(Wanted::read(None), None);
    }

    #[test]
    fn a_filter_is_written_without_what_nobody_asks_for() {
        for (filter, expected) in [
            (Wanted::default(), "{}"),
            (
                wanted([true; 3], &["b", "a\""]),
                concat!(
                    r#"{"toolsListChanged":true,"promptsListChanged":true,"#,
                    r#""resourcesListChanged":true,"resourceSubscriptions":["a\"","b"]}"#,
                ),
            ),
        ] {
            let (name, text) = filter.member();
            assert_eq!((name, &*text), ("notifications", expected));
            let params = format!(r#"{{"{name}":{text}}}"#);
            assert_eq!(Wanted::read(Some(&params)), Some(filter));
        }
    }

    #[test]
    fn subscriptions_without_number_are_cut() {
        let uris: Vec<String> = (0..100_000).map(|index| format!("\"{index}\"")).collect();
        let uris = object::array(&uris);
        let params = format!(r#"{{"notifications":{{"resourceSubscriptions":{uris}}}}}"#);
        let read = Wanted::read(Some(&params)).unwrap();
        assert_eq!(read.uris.len(), limits::SUBSCRIPTIONS);
        assert!(read.uris.contains("0"));
    }

    #[test]
    fn t150_what_is_granted_is_what_both_sides_have() {
        let asked = wanted([true, true, false], &["a", "b"]);
        let offered = wanted([true, false, true], &["b", "c"]);
        let granted = asked.intersection(&offered);
        assert_eq!(granted, wanted([true, false, false], &["b"]));
        for (change, covered) in [
            (Change::Tools, true),
            (Change::Prompts, false),
            (Change::Resources, false),
            (Change::Updated("b".into()), true),
            (Change::Updated("a".into()), false),
        ] {
            assert_eq!(granted.covers(&change), covered, "{change:?}");
        }
        assert_eq!(
            granted.changes(),
            [Change::Tools, Change::Updated("b".into())]
        );
        assert!(!granted.is_empty());
        assert!(granted.intersection(&Wanted::default()).is_empty());
        let acknowledged = acknowledged(&id("7"), &granted);
        assert_eq!(
            acknowledged,
            concat!(
                r#"{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"#,
                r#""_meta":{"io.modelcontextprotocol/subscriptionId":7},"#,
                r#""notifications":{"toolsListChanged":true,"resourceSubscriptions":["b"]}}}"#,
            )
        );
        let acknowledged = Message::parse(acknowledged).unwrap();
        assert_eq!(Wanted::read(acknowledged.params()), Some(granted));
    }

    #[test]
    fn a_subscription_has_the_id_of_its_request_with_its_type() {
        for raw in ["7", r#""7""#, r#""listen-\u0031""#] {
            let listen = id(raw);
            let closed = closed(&listen);
            assert_eq!(
                closed,
                format!(
                    r#"{{"jsonrpc":"2.0","id":{raw},"result":{{"resultType":"complete","_meta":{{"io.modelcontextprotocol/subscriptionId":{raw}}}}}}}"#
                )
            );
            let closed = Message::parse(closed).unwrap();
            assert_eq!(subscription(&closed), Some(listen.clone()));
            let tagged = tagged(&message(r#"{"jsonrpc":"2.0","method":"x"}"#), &listen);
            assert_eq!(subscription(&Message::parse(tagged).unwrap()), Some(listen));
        }
        assert_ne!(id("7"), id(r#""7""#));
        for none in [
            r#"{"jsonrpc":"2.0","method":"x"}"#,
            r#"{"jsonrpc":"2.0","method":"x","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":null}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#,
        ] {
            assert_eq!(subscription(&message(none)), None, "{none}");
        }
    }

    #[test]
    fn a_message_is_tagged_and_untagged_and_otherwise_stays() {
        let tag = r#""io.modelcontextprotocol/subscriptionId":"l""#;
        for (text, expected) in [
            (
                r#"{"jsonrpc":"2.0","method":"x"}"#,
                format!(r#"{{"jsonrpc":"2.0","method":"x","params":{{"_meta":{{{tag}}}}}}}"#),
            ),
            (
                r#"{"method":"x","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":1,"k":1.0},"uri":"u"},"jsonrpc":"2.0"}"#,
                format!(
                    r#"{{"method":"x","params":{{"_meta":{{{tag},"k":1.0}},"uri":"u"}},"jsonrpc":"2.0"}}"#
                ),
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete"}}"#,
                format!(
                    r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"complete","_meta":{{{tag}}}}}}}"#
                ),
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#,
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#.into(),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"x","params":[1]}"#,
                r#"{"jsonrpc":"2.0","method":"x","params":[1]}"#.into(),
            ),
        ] {
            assert_eq!(tagged(&message(text), &id(r#""l""#)), expected);
        }
        for (text, expected) in [
            (
                r#"{"jsonrpc":"2.0","method":"x","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":1},"uri":"u"}}"#,
                r#"{"jsonrpc":"2.0","method":"x","params":{"uri":"u"}}"#,
            ),
            (
                r#"{"jsonrpc": "2.0", "method":"x","params":{"_meta":{"k":1}}}"#,
                r#"{"jsonrpc": "2.0", "method":"x","params":{"_meta":{"k":1}}}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"x"}"#,
                r#"{"jsonrpc":"2.0","method":"x"}"#,
            ),
        ] {
            assert_eq!(untagged(&message(text)), expected);
        }
    }
}
