//! Who the client is, in the words of the modern era.
//!
//! In: what it said of itself in `initialize` or in its latest modern request. Out: saying it with
//! every request (`to_modern`).

use super::Bridge;
use crate::proto::era::capabilities;
use crate::proto::era::meta::{self, Stamp};
use crate::proto::message::{Id, Message, member};

/// Who the client is, in the words of the modern era; raw JSON.
pub(super) struct Identity {
    pub(super) capabilities: String,
    pub(super) client_info: Option<String>,
}

impl Identity {
    /// A client that says nothing of itself.
    pub(super) fn unknown() -> Self {
        Self {
            capabilities: "{}".to_owned(),
            client_info: None,
        }
    }
}

/// `server/discover` under this id, at this revision, in the name of this client.
pub(super) fn discover_message(id: &Id, version: &str, identity: &Identity) -> Option<Message> {
    let stamp = Stamp {
        version,
        capabilities: &identity.capabilities,
        client_info: identity.client_info.as_deref(),
        log_level: None,
    };
    let params = meta::stamped(None, &stamp, &[], &[])?;
    let token = id.token();
    let text =
        format!(r#"{{"jsonrpc":"2.0","id":{token},"method":"server/discover","params":{params}}}"#);
    Message::parse(text.into()).ok()
}

impl Bridge {
    /// Who the client is, in the words of the modern era.
    pub(super) fn identity(&self) -> Identity {
        if let Some(initialize) = self.client.initialize.as_ref() {
            let params = initialize.params().unwrap_or_default();
            let declared = member(params, "capabilities").unwrap_or("{}");
            return Identity {
                capabilities: capabilities::client_to_modern(declared),
                client_info: member(params, "clientInfo").map(str::to_owned),
            };
        }
        let stated = self.client.stated.clone().unwrap_or_default();
        Identity {
            capabilities: stated.capabilities.unwrap_or_else(|| "{}".to_owned()),
            client_info: stated.client_info,
        }
    }
}
