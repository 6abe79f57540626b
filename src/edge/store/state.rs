//! What we know of a sign-in beyond tokens and registration.
//!
//! In: its members, as they are on disk. Members are only ever added, and those of newer versions
//! are kept. Out: reading and writing the file (`store`), what follows from it (`sign_in`).

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::proto::auth::brake::Brake;
use crate::proto::auth::token::{TokenType, Tokens};
use crate::proto::secret::Secret;

/// What we know of a sign-in beyond tokens and registration. Times are Unix milliseconds. `Debug`
/// shows no secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The server's address without user name, password and query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// What the person calls this sign-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The authorization server's issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The `resource` parameter that was sent (RFC 8707 §2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_resource: Option<String>,
    /// `token_endpoint` (RFC 8414 §2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_endpoint: Option<String>,
    /// `revocation_endpoint` (RFC 8414 §2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint: Option<String>,
    /// `client_id` of the last sign-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// How the client identified itself at the token endpoint (RFC 7591 §2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_method: Option<String>,
    /// [`fingerprint`] of the access token that we saved last. If the stored one is another,
    /// another program wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Type of that token: `Bearer` or `DPoP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_type: Option<String>,
    /// Scope that was asked for with that token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_scope: Option<String>,
    /// Scope that was granted with that token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Whose sign-in it is, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// Browser windows of the recent past.
    pub brake: Brake,
    /// The server's last result of `initialize`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initialize: Option<Initialize>,
    /// What the server was found to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met: Option<Met>,
    /// [`fingerprint`] of a refresh token that is being presented. If it is still here at the
    /// next start, nobody knows whether it was used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_in_doubt: Option<String>,
    /// A refusal that counts only if it comes again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspicious: Option<Suspicion>,
    /// A sign-in that waits for the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingSignIn>,
    /// Private key that the tokens are bound to (RFC 9449): PKCS#8, PEM.
    #[serde(with = "optional_secret", skip_serializing_if = "Option::is_none")]
    pub dpop_key: Option<Secret>,
    /// Members of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What went wrong, in words without secrets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastError {
    /// Kind, as in `data.kind` of an error.
    pub kind: String,
    /// The sentence that the person got.
    pub text: String,
    /// When.
    pub at: u64,
}

/// A result of `initialize`, for a client that is not to wait.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Initialize {
    /// The result as JSON text, byte for byte.
    pub result: String,
    /// When it came.
    pub at: u64,
}

impl fmt::Debug for Initialize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Initialize({} bytes, at {})", self.result.len(), self.at)
    }
}

/// What a server was found to be, for the next start.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Met {
    /// `modern` or `legacy`.
    pub era: String,
    /// `http` or `sse`.
    pub transport: String,
    /// Its result of `server/discover` as JSON text, byte for byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discover: Option<String>,
    /// Until when that is fresh.
    pub fresh_until: u64,
    /// [`fingerprint`] of who was asked for: the issuer, the account and the user's own headers.
    pub identity: String,
    /// When it was found.
    pub at: u64,
}

impl fmt::Debug for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Met({}, {}, at {})", self.era, self.transport, self.at)
    }
}

/// A refused refresh token that may still be good.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Suspicion {
    /// [`fingerprint`] of the refresh token.
    pub refresh: String,
    /// `error` of the answer (RFC 6749 §5.2).
    pub code: String,
}

/// A sign-in that waits for the person, for other processes to show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PendingSignIn {
    /// The address to open. Its query holds secrets.
    #[serde(with = "secret")]
    pub link: Secret,
    /// The process that listens for the browser's return.
    pub pid: u32,
    /// When it began.
    pub since: u64,
}

/// Members that this version does not know. Its debug form shows none.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Unknown(Map<String, Value>);

impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl State {
    /// Whether what it says of a token is about this one: we wrote it, and no other program since.
    #[must_use]
    pub fn is_about(&self, tokens: &Tokens) -> bool {
        self.token
            .as_ref()
            .is_some_and(|token| *token == fingerprint(&tokens.access))
    }

    /// Notes down whose tokens were saved.
    pub(super) fn signed_in(&mut self, tokens: &Tokens) {
        self.token = Some(fingerprint(&tokens.access));
        let token_type = match tokens.token_type {
            TokenType::Bearer => "Bearer",
            TokenType::Dpop => "DPoP",
        };
        self.token_type = Some(token_type.to_owned());
        self.requested_scope.clone_from(&tokens.requested_scope);
        self.scope.clone_from(&tokens.scope);
        if tokens.issuer.is_some() && tokens.issuer != self.issuer {
            self.issuer.clone_from(&tokens.issuer);
            // These belong to the one before.
            self.token_endpoint = None;
            self.revocation_endpoint = None;
            self.auth_method = None;
            self.requested_resource = None;
        }
    }

    /// Forgets the session, and keeps what is known of the server.
    pub(super) fn sign_out(&mut self) {
        let before = std::mem::take(self);
        *self = Self {
            server: before.server,
            profile: before.profile,
            issuer: before.issuer,
            requested_resource: before.requested_resource,
            token_endpoint: before.token_endpoint,
            revocation_endpoint: before.revocation_endpoint,
            client_id: before.client_id,
            auth_method: before.auth_method,
            brake: before.brake,
            initialize: before.initialize,
            ..Self::default()
        };
    }
}

/// Tells one token from another without giving it away: the first 16 hexadecimal digits of its
/// SHA-256.
#[must_use]
pub fn fingerprint(token: &Secret) -> String {
    digest(token.reveal().as_bytes())
}

/// The first 16 hexadecimal digits of a SHA-256.
pub(super) fn digest(bytes: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let first = digest.first_chunk().copied().unwrap_or_default();
    format!("{:016x}", u64::from_be_bytes(first))
}

/// Reads a state.
///
/// # Errors
/// What is wrong with it, to follow its path.
pub(super) fn read(text: &[u8]) -> Result<State, &'static str> {
    super::readable(text)?;
    serde_json::from_slice(text).map_err(|_| "is not a state of this program")
}

/// A secret as plain text. Only files of the store hold such.
mod secret {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::proto::secret::Secret;

    pub(super) fn serialize<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(secret.reveal())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        String::deserialize(from).map(Secret::from)
    }
}

mod optional_secret {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use crate::proto::secret::Secret;

    #[expect(clippy::ref_option, reason = "serde hands it over so")]
    pub(super) fn serialize<S: Serializer>(
        secret: &Option<Secret>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(Secret::reveal).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Secret>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(Secret::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> State {
        State {
            server: Some("https://example.com/mcp".to_owned()),
            token: Some(fingerprint(&"access".into())),
            account: Some("someone".to_owned()),
            brake: Brake {
                opened: vec![1],
                accepted: None,
            },
            initialize: Some(Initialize {
                result: r#"{"capabilities": {"tools":{}}, "n": 1.0}"#.to_owned(),
                at: 7,
            }),
            pending: Some(PendingSignIn {
                link: "https://as.example/authorize?state=CANARY".into(),
                pid: 42,
                since: 8,
            }),
            dpop_key: Some("CANARY".into()),
            ..State::default()
        }
    }

    #[test]
    fn a26_another_issuer_inherits_no_endpoint() {
        let tokens = |issuer: &str| Tokens {
            issuer: Some(issuer.to_owned()),
            ..Tokens::default()
        };
        let mut state = State {
            issuer: Some("https://one.example".to_owned()),
            token_endpoint: Some("https://one.example/token".to_owned()),
            revocation_endpoint: Some("https://one.example/revoke".to_owned()),
            requested_resource: Some("https://example.com/mcp".to_owned()),
            auth_method: Some("none".to_owned()),
            ..full()
        };
        state.signed_in(&tokens("https://one.example"));
        assert!(state.token_endpoint.is_some() && state.requested_resource.is_some());
        // Whoever is interrupted here must not renew at the old place.
        state.signed_in(&tokens("https://two.example"));
        assert_eq!(state.issuer.as_deref(), Some("https://two.example"));
        assert_eq!(
            (state.token_endpoint, state.revocation_endpoint),
            (None, None)
        );
        assert_eq!((state.requested_resource, state.auth_method), (None, None));
    }

    #[test]
    fn it_comes_back_as_it_was() {
        let text = super::super::pretty(&full());
        assert_eq!(read(&text).unwrap(), full());
        assert_eq!(read(b"{}").unwrap(), State::default());
    }

    #[test]
    fn f08_members_of_newer_versions_are_kept() {
        let text = br#"{"issuer":"https://as.example","novelty":{"a":[1,"CANARY"]},"brake":{"opened":[],"more":1}}"#;
        let mut state = read(text).unwrap();
        state.issuer = None;
        let text = super::super::pretty(&state);
        let value: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["novelty"], serde_json::json!({"a": [1, "CANARY"]}));
        assert!(value.get("issuer").is_none());
    }

    #[test]
    fn f21_debug_output_shows_no_secret() {
        let mut state = full();
        state.unknown.0.insert("x".to_owned(), "CANARY".into());
        let shown = format!("{state:?}");
        assert!(!shown.contains("CANARY"), "{shown}");
    }

    #[test]
    fn f18_signing_out_keeps_what_is_known_of_the_server() {
        let mut state = full();
        state.sign_out();
        assert_eq!(state.server, full().server);
        assert_eq!(state.brake, full().brake);
        assert_eq!(state.initialize, full().initialize);
        assert_eq!((state.token, state.account), (None, None));
        assert_eq!((state.pending, state.dpop_key), (None, None));
    }

    #[test]
    fn a_fingerprint_is_short_and_stays_the_same() {
        assert_eq!(fingerprint(&"abc".into()), "ba7816bf8f01cfea");
        assert_eq!(fingerprint(&"".into()), "e3b0c44298fc1c14");
    }
}
