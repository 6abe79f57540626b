//! The errors that the bridge itself gives as an answer.
//!
//! In: what went wrong. Out: errors of the server, which pass through as they are.

use std::fmt::Write as _;

use bytes::Bytes;

use super::json::quote;
use super::message::Id;

/// JSON-RPC error code of every error that the bridge itself answers with. It lies outside the
/// range that JSON-RPC 2.0 §5.1 reserves (−32768…−32000), so it cannot be taken for a server's.
pub const LOCAL_ERROR: i32 = -31000;

/// How every message ends whose request may have run: never repeated by itself, nor unseen by a
/// person.
pub const LOOK_FIRST: &str =
    "whether it ran is unknown, so look at the server before you repeat it";

/// Why a request failed here. The name goes into the error's `data.kind`, and to the end of the line
/// on stderr; `docs/errors.md` explains each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No connection could be made.
    Connect,
    /// The server answered with an HTTP error.
    HttpStatus,
    /// A limit of the bridge was passed.
    LimitExceeded,
    /// What answered is not an MCP server, or what it sent cannot be read.
    NotMcp,
    /// A redirect was not followed.
    RedirectRefused,
    /// The message URL of an HTTP+SSE server lies on another origin.
    EndpointOriginMismatch,
    /// The session ended while the request ran.
    SessionLost,
    /// The process is ending.
    Shutdown,
    /// The server wants a sign-in, or refused the credentials it got.
    SignInRequired,
    /// The stream ended without the response.
    StreamEnded,
    /// No answer in time.
    Timeout,
    /// Hidden by a tool option.
    ToolNotAvailable,
    /// A plain http address, or one with a scheme that must not be used, where https is needed.
    InsecureUrl,
    /// An address inside a network that the server has no business to name.
    BlockedAddress,
    /// Metadata could not be fetched for a reason that may pass.
    DiscoveryUnreachable,
    /// The server says nowhere how to sign in.
    DiscoveryFailed,
    /// A metadata document cannot be used.
    MetadataInvalid,
    /// The protected resource metadata speaks of another resource.
    ResourceMismatch,
    /// The authorization server metadata names another issuer.
    IssuerMismatch,
    /// The authorization server does not promise PKCE with S256.
    PkceUnsupported,
    /// There is no way to become a client of this authorization server.
    NoRegistrationMethod,
    /// The authorization server refused to register the client.
    RegistrationRejected,
    /// The configured client belongs to another authorization server.
    ClientIssuerMismatch,
    /// The authorization server refused the client.
    ClientRejected,
    /// The person, or a policy, said no.
    AuthorizationDenied,
    /// The authorization server ended the sign-in with an error.
    AuthorizationError,
    /// Nobody signed in in time.
    AuthorizationTimeout,
    /// The authorization response came from another issuer.
    IssMismatch,
    /// The address that the browser is to return to cannot be listened on.
    CallbackPortInUse,
    /// The token endpoint's answer cannot be used.
    TokenResponseInvalid,
    /// The authorization server refused to renew the token, for good.
    RefreshRejected,
    /// The token could not be renewed, for now.
    RefreshUnavailable,
    /// The token does not allow this.
    InsufficientScope,
    /// Asking for more scope did not help.
    ScopeLoop,
    /// Signing in again did not help.
    AuthLoop,
    /// Another process keeps the lock.
    LockTimeout,
    /// A stored file cannot be read.
    StoreCorrupt,
    /// A stored file cannot be written.
    StoreUnwritable,
    /// A stored file or folder is open to others.
    StoreInsecure,
    /// The device code was not used in time.
    DeviceExpired,
    /// The person said no on the other device.
    DeviceDenied,
    /// The authorization server refused an assertion.
    AssertionRejected,
    /// A proof of possession was refused.
    DpopRejected,
    /// A proof of possession is needed and not possible.
    DpopUnsupported,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 44] = [
        Self::Connect,
        Self::HttpStatus,
        Self::LimitExceeded,
        Self::NotMcp,
        Self::RedirectRefused,
        Self::EndpointOriginMismatch,
        Self::SessionLost,
        Self::Shutdown,
        Self::SignInRequired,
        Self::StreamEnded,
        Self::Timeout,
        Self::ToolNotAvailable,
        Self::InsecureUrl,
        Self::BlockedAddress,
        Self::DiscoveryUnreachable,
        Self::DiscoveryFailed,
        Self::MetadataInvalid,
        Self::ResourceMismatch,
        Self::IssuerMismatch,
        Self::PkceUnsupported,
        Self::NoRegistrationMethod,
        Self::RegistrationRejected,
        Self::ClientIssuerMismatch,
        Self::ClientRejected,
        Self::AuthorizationDenied,
        Self::AuthorizationError,
        Self::AuthorizationTimeout,
        Self::IssMismatch,
        Self::CallbackPortInUse,
        Self::TokenResponseInvalid,
        Self::RefreshRejected,
        Self::RefreshUnavailable,
        Self::InsufficientScope,
        Self::ScopeLoop,
        Self::AuthLoop,
        Self::LockTimeout,
        Self::StoreCorrupt,
        Self::StoreUnwritable,
        Self::StoreInsecure,
        Self::DeviceExpired,
        Self::DeviceDenied,
        Self::AssertionRejected,
        Self::DpopRejected,
        Self::DpopUnsupported,
    ];

    /// The name in `data.kind` and at the end of log lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::HttpStatus => "http-status",
            Self::LimitExceeded => "limit_exceeded",
            Self::NotMcp => "not-mcp",
            Self::RedirectRefused => "redirect-refused",
            Self::EndpointOriginMismatch => "endpoint_origin_mismatch",
            Self::SessionLost => "session-lost",
            Self::Shutdown => "shutdown",
            Self::SignInRequired => "sign_in_required",
            Self::StreamEnded => "stream-ended",
            Self::Timeout => "timeout",
            Self::ToolNotAvailable => "tool-not-available",
            Self::InsecureUrl => "insecure_url",
            Self::BlockedAddress => "blocked_address",
            Self::DiscoveryUnreachable => "discovery_unreachable",
            Self::DiscoveryFailed => "discovery_failed",
            Self::MetadataInvalid => "metadata_invalid",
            Self::ResourceMismatch => "resource_mismatch",
            Self::IssuerMismatch => "issuer_mismatch",
            Self::PkceUnsupported => "pkce_unsupported",
            Self::NoRegistrationMethod => "no_registration_method",
            Self::RegistrationRejected => "registration_rejected",
            Self::ClientIssuerMismatch => "client_issuer_mismatch",
            Self::ClientRejected => "client_rejected",
            Self::AuthorizationDenied => "authorization_denied",
            Self::AuthorizationError => "authorization_error",
            Self::AuthorizationTimeout => "authorization_timeout",
            Self::IssMismatch => "iss_mismatch",
            Self::CallbackPortInUse => "callback_port_in_use",
            Self::TokenResponseInvalid => "token_response_invalid",
            Self::RefreshRejected => "refresh_rejected",
            Self::RefreshUnavailable => "refresh_unavailable",
            Self::InsufficientScope => "insufficient_scope",
            Self::ScopeLoop => "scope_loop",
            Self::AuthLoop => "auth_loop",
            Self::LockTimeout => "lock_timeout",
            Self::StoreCorrupt => "store_corrupt",
            Self::StoreUnwritable => "store_unwritable",
            Self::StoreInsecure => "store_insecure",
            Self::DeviceExpired => "device_expired",
            Self::DeviceDenied => "device_denied",
            Self::AssertionRejected => "assertion_rejected",
            Self::DpopRejected => "dpop_rejected",
            Self::DpopUnsupported => "dpop_unsupported",
        }
    }
}

/// Whether the server may have acted on the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executed {
    /// It certainly did not.
    No,
    /// It may have.
    Unknown,
}

/// One failed request, before it is written down for one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure.
    pub kind: Kind,
    /// Whether the server may have acted.
    pub executed: Executed,
    /// HTTP status, if there was one.
    pub status: Option<u16>,
    /// A sentence with the next step, without our prefix.
    pub text: String,
}

impl Failure {
    /// A failure without an HTTP status.
    #[must_use]
    pub fn new(kind: Kind, executed: Executed, text: impl Into<String>) -> Self {
        Self {
            kind,
            executed,
            status: None,
            text: text.into(),
        }
    }

    /// Adds the HTTP status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// The JSON-RPC error response for this id:
    /// `{"code":-31000,"message":"mcp-bridge: …","data":{"source","kind","executed","status"?}}`.
    #[must_use]
    pub fn answer(&self, id: &Id) -> Bytes {
        let executed = match self.executed {
            Executed::No => "no",
            Executed::Unknown => "unknown",
        };
        let mut data = format!(
            r#"{{"source":"mcp-bridge","kind":"{}","executed":"{executed}""#,
            self.kind.as_str()
        );
        if let Some(status) = self.status {
            // Writing to a string cannot fail.
            let _ = write!(data, r#","status":{status}"#);
        }
        data.push('}');
        let message = quote(&format!("mcp-bridge: {}", self.text));
        let id = id.token();
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{LOCAL_ERROR},"message":{message},"data":{data}}}}}"#
        )
        .into()
    }
}

/// An error response with a code of JSON-RPC 2.0 §5.1, for a message that the client got wrong.
/// Without an id it carries `null`, as §5 asks.
#[must_use]
pub fn protocol_error(id: Option<&Id>, code: i32, text: &str) -> Bytes {
    let id = id.map_or("null", Id::token);
    let message = quote(&format!("mcp-bridge: {text}"));
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message},"data":{{"source":"mcp-bridge"}}}}}}"#
    )
    .into()
}

/// JSON-RPC 2.0: the text is not JSON.
pub const PARSE_ERROR: i32 = -32700;
/// JSON-RPC 2.0: the JSON is not a request.
pub const INVALID_REQUEST: i32 = -32600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_one_line_of_json_with_the_clients_id() {
        let failure =
            Failure::new(Kind::HttpStatus, Executed::Unknown, "a \"b\"\nc").with_status(502);
        let line = failure.answer(&Id::from_raw("1.0").unwrap());
        assert!(!line.contains(&b'\n'));
        assert!(line.starts_with(br#"{"jsonrpc":"2.0","id":1.0,"#));
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["error"]["code"], -31000);
        assert_eq!(value["error"]["message"], "mcp-bridge: a \"b\"\nc");
        assert_eq!(
            value["error"]["data"],
            serde_json::json!({"source": "mcp-bridge", "kind": "http-status", "executed": "unknown", "status": 502})
        );
    }

    #[test]
    fn every_kind_is_listed_once() {
        let mut names = Kind::ALL.map(Kind::as_str).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
        // A kind that is added has to be told apart here, and so remembered above.
        assert_eq!(Kind::DpopUnsupported as usize + 1, Kind::ALL.len());
    }

    #[test]
    fn a_protocol_error_without_an_id_carries_null() {
        let value: serde_json::Value =
            serde_json::from_slice(&protocol_error(None, PARSE_ERROR, "x")).unwrap();
        assert!(value["id"].is_null());
        assert_eq!(value["error"]["code"], -32700);
    }
}
