//! The two documents that say how to sign in: protected resource metadata (RFC 9728) and
//! authorization server metadata (RFC 8414, OIDC Discovery 1.0).
//!
//! In: reading and judging them. Out: where they are found (`discovery`).

use serde_json::{Map, Value};
use url::Url;

use super::address::AddressPolicy;
use super::limits;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::text::{EXCERPT_CHARS, origin, public_part, public_url, sanitize};

/// Protected resource metadata (RFC 9728 §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceMetadata {
    /// `resource`, byte for byte.
    pub resource: String,
    /// `authorization_servers` that are usable addresses, byte for byte; `None` if the member is
    /// missing. Of more than [`limits::AUTHORIZATION_SERVERS`] the first are looked at.
    pub authorization_servers: Option<Vec<String>>,
    /// `scopes_supported`.
    pub scopes_supported: Option<Vec<String>>,
    /// `dpop_bound_access_tokens_required`.
    pub dpop_required: bool,
}

/// Authorization server metadata (RFC 8414 §2). Lists are `None` where the member is missing or no
/// list; they hold the first [`limits::SCOPES`] texts of at most [`limits::SCOPE`] bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerMetadata {
    /// `issuer`, byte for byte. Of a server without metadata: its origin.
    pub issuer: String,
    /// `authorization_endpoint`.
    pub authorization_endpoint: Option<Url>,
    /// `token_endpoint`.
    pub token_endpoint: Option<Url>,
    /// `registration_endpoint` (RFC 7591).
    pub registration_endpoint: Option<Url>,
    /// `revocation_endpoint` (RFC 7009).
    pub revocation_endpoint: Option<Url>,
    /// `device_authorization_endpoint` (RFC 8628).
    pub device_authorization_endpoint: Option<Url>,
    /// `scopes_supported`.
    pub scopes_supported: Option<Vec<String>>,
    /// `grant_types_supported`.
    pub grant_types_supported: Option<Vec<String>>,
    /// `response_types_supported`.
    pub response_types_supported: Option<Vec<String>>,
    /// `code_challenge_methods_supported` (RFC 7636).
    pub code_challenge_methods_supported: Option<Vec<String>>,
    /// `token_endpoint_auth_methods_supported`.
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// `token_endpoint_auth_signing_alg_values_supported`.
    pub token_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
    /// `dpop_signing_alg_values_supported` (RFC 9449 §5.1).
    pub dpop_signing_alg_values_supported: Option<Vec<String>>,
    /// `client_id_metadata_document_supported`.
    pub client_id_metadata_document_supported: bool,
    /// `authorization_response_iss_parameter_supported` (RFC 9207 §3).
    pub iss_parameter_supported: bool,
    /// There is no metadata: the default endpoints of MCP 2025-03-26 are assumed.
    pub assumed: bool,
}

/// Why a document cannot be used.
#[derive(Debug)]
pub(super) enum Flaw {
    /// Another place may hold a better one.
    Elsewhere(Failure),
    /// It is the server's word, and there is no way on.
    Final(Failure),
}

impl From<Flaw> for Failure {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Elsewhere(failure) | Flaw::Final(failure) => failure,
        }
    }
}

impl ResourceMetadata {
    /// Reads a document and checks that it speaks of this server (RFC 9728 §3.3): `resource` is
    /// the server's address, or lies above it on the same origin, as documents for a whole host
    /// do. Signed metadata (RFC 9728 §2.2) is not looked at.
    ///
    /// # Errors
    /// `metadata_invalid`, `resource_mismatch` naming both values; `insecure_url` or
    /// `blocked_address` if no authorization server may be contacted.
    pub fn read(document: &[u8], server: &Url, policy: &AddressPolicy) -> Result<Self, Failure> {
        Ok(Self::examine(document, server, policy)?.0)
    }

    /// As [`Self::read`], with sentences about what was left out.
    pub(super) fn examine(
        document: &[u8],
        server: &Url,
        policy: &AddressPolicy,
    ) -> Result<(Self, Vec<String>), Flaw> {
        let members = object(document, "protected resource metadata").map_err(Flaw::Elsewhere)?;
        let Some(resource) = text(&members, "resource") else {
            return Err(Flaw::Elsewhere(invalid(
                "the protected resource metadata names no resource; ask the server's operator",
            )));
        };
        if !covers(resource, server) {
            return Err(Flaw::Final(Failure::new(
                Kind::ResourceMismatch,
                Executed::No,
                format!(
                    "the protected resource metadata speaks of {}, not of {}, so nothing it says is followed; check the address, or ask the server's operator",
                    shown(resource),
                    sanitize(&public_url(server), EXCERPT_CHARS)
                ),
            )));
        }
        if let Some(Value::Array(methods)) = members.get("bearer_methods_supported")
            && !methods.iter().any(|method| method == "header")
        {
            return Err(Flaw::Final(invalid(
                "the server takes no token in the Authorization header (bearer_methods_supported), and tokens are sent in no other way; ask its operator",
            )));
        }
        let (authorization_servers, notes) =
            authorization_servers(&members, policy).map_err(Flaw::Final)?;
        let read = Self {
            resource: resource.to_owned(),
            authorization_servers,
            scopes_supported: list(&members, "scopes_supported"),
            dpop_required: flag(&members, "dpop_bound_access_tokens_required"),
        };
        Ok((read, notes))
    }
}

impl ServerMetadata {
    /// Reads a document and checks its issuer (RFC 8414 §3.3, OIDC Discovery 1.0 §4.3)
    /// and its endpoints, which may lie on other hosts than the issuer. `accepted` are the issuers
    /// that will do: the identifier that led to the document, or the one the user pinned. They are
    /// compared by [`same_issuer`].
    ///
    /// # Errors
    /// `issuer_mismatch` showing both values and the flag, `metadata_invalid`, `insecure_url`,
    /// `blocked_address`.
    pub fn read(
        document: &[u8],
        accepted: &[&str],
        policy: &AddressPolicy,
    ) -> Result<Self, Failure> {
        let members = object(document, "authorization server metadata")?;
        let Some(issuer) = text(&members, "issuer") else {
            return Err(invalid(
                "the authorization server metadata names no issuer; ask its operator",
            ));
        };
        if !accepted.iter().any(|other| same_issuer(issuer, other)) {
            return Err(mismatch(issuer, accepted));
        }
        let endpoint = |field| match members.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => policy.parse(field, text).map(Some),
            Some(_) => Err(invalid(&format!(
                "{field} in the authorization server metadata is no address; ask its operator"
            ))),
        };
        Ok(Self {
            issuer: issuer.to_owned(),
            authorization_endpoint: endpoint("authorization_endpoint")?,
            token_endpoint: endpoint("token_endpoint")?,
            registration_endpoint: endpoint("registration_endpoint")?,
            revocation_endpoint: endpoint("revocation_endpoint")?,
            device_authorization_endpoint: endpoint("device_authorization_endpoint")?,
            scopes_supported: list(&members, "scopes_supported"),
            grant_types_supported: list(&members, "grant_types_supported"),
            response_types_supported: list(&members, "response_types_supported"),
            code_challenge_methods_supported: list(&members, "code_challenge_methods_supported"),
            token_endpoint_auth_methods_supported: list(
                &members,
                "token_endpoint_auth_methods_supported",
            ),
            token_endpoint_auth_signing_alg_values_supported: list(
                &members,
                "token_endpoint_auth_signing_alg_values_supported",
            ),
            dpop_signing_alg_values_supported: list(&members, "dpop_signing_alg_values_supported"),
            client_id_metadata_document_supported: flag(
                &members,
                "client_id_metadata_document_supported",
            ),
            iss_parameter_supported: flag(
                &members,
                "authorization_response_iss_parameter_supported",
            ),
            assumed: false,
        })
    }

    /// The default endpoints of MCP 2025-03-26 (Authorization, Fallbacks for Servers without
    /// Metadata Discovery) on the server's origin.
    #[must_use]
    pub fn assumed(server: &Url) -> Self {
        let issuer = origin(server);
        let endpoint = |path| Url::parse(&format!("{issuer}{path}")).ok();
        Self {
            authorization_endpoint: endpoint("/authorize"),
            token_endpoint: endpoint("/token"),
            registration_endpoint: endpoint("/register"),
            assumed: true,
            issuer,
            ..Self::default()
        }
    }

    /// Refuses a server that cannot do the code flow with PKCE: endpoints, response type, grant
    /// type, S256 (MCP 2025-11-25, Authorization, Authorization Code Protection). Lists that are
    /// missing mean their defaults (RFC 8414 §2); where there is no metadata, nothing can be
    /// checked. `allow_missing_pkce` accepts metadata that says nothing about PKCE, not
    /// metadata that names other methods alone.
    ///
    /// # Errors
    /// `metadata_invalid`, `pkce_unsupported` with the flag that accepts it.
    pub fn check_code_flow(&self, allow_missing_pkce: bool) -> Result<(), Failure> {
        let who = shown(&self.issuer);
        for (endpoint, field) in [
            (&self.authorization_endpoint, "authorization_endpoint"),
            (&self.token_endpoint, "token_endpoint"),
        ] {
            if endpoint.is_none() {
                return Err(invalid(&format!(
                    "the metadata of the authorization server {who} has no {field}; ask its operator"
                )));
            }
        }
        for (list, field, value) in [
            (
                &self.response_types_supported,
                "response_types_supported",
                "code",
            ),
            (
                &self.grant_types_supported,
                "grant_types_supported",
                "authorization_code",
            ),
        ] {
            if list.as_ref().is_some_and(|list| !has(list, value)) {
                return Err(invalid(&format!(
                    "the authorization server {who} does not offer {value} ({field}), so nobody can sign in with a browser there; ask its operator"
                )));
            }
        }
        let text = match self.code_challenge_methods_supported.as_deref() {
            _ if self.assumed => return Ok(()),
            Some(methods) if has(methods, "S256") => return Ok(()),
            None | Some([]) if allow_missing_pkce => return Ok(()),
            None | Some([]) => format!(
                "the authorization server {who} does not say that it supports PKCE (code_challenge_methods_supported), which protects the sign-in; if you trust it, add --allow-missing-pkce"
            ),
            Some(_) => format!(
                "the authorization server {who} supports PKCE, but not with S256 (code_challenge_methods_supported), so the sign-in would not be protected; ask its operator"
            ),
        };
        Err(Failure::new(Kind::PkceUnsupported, Executed::No, text))
    }
}

/// Whether two issuer identifiers are the same text. The one tolerance: an issuer without a path
/// may have a slash at its end or not, since both lead to the same document.
#[must_use]
pub fn same_issuer(one: &str, other: &str) -> bool {
    fn plain(issuer: &str) -> &str {
        match issuer.strip_suffix('/') {
            Some(rest)
                if rest
                    .split_once("://")
                    .is_some_and(|(_, host)| !host.contains(['/', '?', '#'])) =>
            {
                rest
            }
            _ => issuer,
        }
    }
    plain(one) == plain(other)
}

/// The `issuer` of a document, unchecked.
pub(super) fn issuer(document: &[u8]) -> Option<String> {
    let members = object(document, "authorization server metadata").ok()?;
    text(&members, "issuer").map(str::to_owned)
}

/// Whether a body is a web page, as servers send for addresses they do not know.
pub(super) fn is_web_page(body: &[u8]) -> bool {
    without_mark(body).trim_ascii_start().starts_with(b"<")
}

/// An issuer, as it may be shown.
pub(super) fn shown(issuer: &str) -> String {
    sanitize(public_part(issuer), EXCERPT_CHARS)
}

/// Whether metadata of this resource hold for the server: the same address but for one slash at the
/// end, or the same origin and the first segments of its path.
fn covers(resource: &str, server: &Url) -> bool {
    let Ok(resource) = Url::parse(resource) else {
        return false;
    };
    let (above, own) = (trimmed_path(&resource), trimmed_path(server));
    let is_above = own
        .strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    resource.origin() == server.origin()
        && matches!(resource.scheme(), "https" | "http")
        && resource.username().is_empty()
        && resource.password().is_none()
        && resource.fragment().is_none()
        && match resource.query() {
            None => is_above,
            query => query == server.query() && above == own,
        }
}

/// The path without one slash at its end.
pub(super) fn trimmed_path(url: &Url) -> &str {
    url.path().strip_suffix('/').unwrap_or(url.path())
}

/// The usable entries of `authorization_servers`, and sentences about the others.
fn authorization_servers(
    members: &Map<String, Value>,
    policy: &AddressPolicy,
) -> Result<(Option<Vec<String>>, Vec<String>), Failure> {
    const FIELD: &str = "authorization_servers";
    let entries = match members.get(FIELD) {
        None | Some(Value::Null) => return Ok((None, Vec::new())),
        Some(Value::Array(entries)) if !entries.is_empty() => entries,
        Some(_) => {
            return Err(invalid(&format!(
                "{FIELD} in the protected resource metadata is no list of addresses; ask the server's operator"
            )));
        }
    };
    let mut usable = Vec::new();
    let mut notes = Vec::new();
    let mut first = None;
    for entry in entries.iter().take(limits::AUTHORIZATION_SERVERS) {
        match identifier(FIELD, entry, policy) {
            Ok(identifier) => usable.push(identifier),
            Err(failure) => {
                notes.push(format!("passed over: {}", failure.text));
                first.get_or_insert(failure);
            }
        }
    }
    if entries.len() > limits::AUTHORIZATION_SERVERS {
        notes.push(format!(
            "{FIELD} has {} entries; the first {} are looked at",
            entries.len(),
            limits::AUTHORIZATION_SERVERS
        ));
    }
    match first {
        Some(failure) if usable.is_empty() => Err(failure),
        _ => Ok((Some(usable), notes)),
    }
}

/// An issuer identifier: an address without query and fragment (RFC 8414 §2).
fn identifier(field: &str, entry: &Value, policy: &AddressPolicy) -> Result<String, Failure> {
    let Value::String(text) = entry else {
        return Err(invalid(&format!(
            "an entry of {field} is no address; ask the server's operator"
        )));
    };
    let url = policy.parse(field, text)?;
    if url.query().is_some() {
        return Err(invalid(&format!(
            "{field} has {} with a query, which has no place there; ask the server's operator",
            sanitize(&public_url(&url), EXCERPT_CHARS)
        )));
    }
    Ok(text.clone())
}

/// The failure of an issuer that is none of the accepted ones.
pub(super) fn mismatch(issuer: &str, accepted: &[&str]) -> Failure {
    let expected: Vec<_> = accepted.iter().map(|issuer| shown(issuer)).collect();
    let next = if is_plain(issuer) {
        format!("if you accept that for this server, add --expect-issuer {issuer}")
    } else {
        "ask its operator".to_owned()
    };
    Failure::new(
        Kind::IssuerMismatch,
        Executed::No,
        format!(
            "the authorization server metadata names the issuer {} where {} was expected, so nothing it says is followed; {next}",
            shown(issuer),
            expected.join(" or ")
        ),
    )
}

/// Whether an issuer can be offered to be pasted into a shell or a configuration.
pub(in crate::proto) fn is_plain(issuer: &str) -> bool {
    issuer.len() <= EXCERPT_CHARS
        && issuer.starts_with("https://")
        && issuer
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || ":/._~-".contains(char))
}

fn object(document: &[u8], what: &str) -> Result<Map<String, Value>, Failure> {
    let document = without_mark(document);
    serde_json::from_slice(document).map_err(|_| {
        invalid(&format!(
            "the {what} is {}; ask the server's operator",
            if is_web_page(document) {
                "a web page"
            } else {
                "not a JSON object"
            }
        ))
    })
}

/// Without a byte order mark (RFC 8259 §8.1 allows to ignore it).
fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

fn text<'a>(members: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    members.get(field)?.as_str()
}

fn flag(members: &Map<String, Value>, field: &str) -> bool {
    members.get(field).and_then(Value::as_bool) == Some(true)
}

fn list(members: &Map<String, Value>, field: &str) -> Option<Vec<String>> {
    let list = members.get(field)?.as_array()?;
    Some(
        list.iter()
            .filter_map(Value::as_str)
            .filter(|text| text.len() <= limits::SCOPE)
            .take(limits::SCOPES)
            .map(str::to_owned)
            .collect(),
    )
}

fn has(list: &[String], value: &str) -> bool {
    list.iter().any(|entry| entry == value)
}

fn invalid(text: &str) -> Failure {
    Failure::new(Kind::MetadataInvalid, Executed::No, text)
}

#[cfg(test)]
mod tests;
