//! The authorization request (RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2) and what is remembered
//! of it.
//!
//! In: the address to open, and whether it may be opened. Out: opening it (`edge/browser`),
//! randomness (`edge/keys`).

use std::fmt::Write as _;
use std::time::SystemTime;

use url::{Url, form_urlencoded};

use super::client::Client;
use super::metadata::ServerMetadata;
use super::settings::{Resource, Settings};
use super::{address, limits};
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::secret::Secret;
use crate::proto::text::{public_part, sanitize};

/// Parameters that decide how the sign-in works and how it comes back. Nobody but us sets them.
const OURS: &[&str] = &[
    "client_id",
    "redirect_uri",
    "response_type",
    "response_mode",
    "state",
    "code_challenge",
    "code_challenge_method",
    "code_verifier",
    "client_secret",
    "request",
    "request_uri",
];

/// Most characters of a refused address that are shown.
const SHOWN: usize = 200;

/// Characters of an address that a shell, a launcher or a terminal may take for more than text.
/// Those that are fit for an address at all can be percent-encoded in it.
const TOUCHY: &str = "\"'`\\$()|^<>{}!";

/// Everything that the way back needs: taken from here and nowhere else when the browser returns.
#[derive(Clone, Debug)]
pub struct Pending {
    /// `state`, unguessable.
    pub state: Secret,
    /// PKCE verifier (RFC 7636 §4.1).
    pub verifier: Secret,
    /// The metadata of the authorization server that was asked.
    pub server: ServerMetadata,
    /// Who asked.
    pub client: Client,
    /// Redirect address, byte for byte.
    pub redirect_uri: String,
    /// `resource`, if it is sent.
    pub resource: Option<String>,
    /// `scope`, if it is sent.
    pub scope: Option<String>,
    /// When it began.
    pub since: SystemTime,
}

/// The `resource` parameter of all requests: the user's, else the metadata's byte for byte, else
/// the server's address in canonical form (MCP 2026-07-28, Authorization, Resource Parameter
/// Implementation): without user information, query, fragment and default port, and without a path
/// that is a slash alone.
#[must_use]
pub fn resource(settings: &Settings, metadata: Option<&str>) -> Option<String> {
    match (&settings.resource, metadata) {
        (Resource::Off, _) => None,
        (Resource::Fixed(resource), _) => Some(resource.clone()),
        (Resource::Discovered, Some(resource)) => Some(resource.to_owned()),
        (Resource::Discovered, None) => Some(canonical(&settings.server)),
    }
}

/// Whether `--authorize-param` must not set this parameter, in whatever case it is written: it
/// decides how the sign-in works.
#[must_use]
pub fn refused_param(key: &str) -> bool {
    OURS.iter().any(|ours| ours.eq_ignore_ascii_case(key))
}

/// The address to open. `challenge` is the PKCE challenge (S256) of the pending verifier.
///
/// What the endpoint's own query says stays in front of it (RFC 6749 §3.1). The user's parameters
/// come last, and take the place of ours of the same name.
///
/// # Errors
/// `metadata_invalid` when there is no endpoint or it already has one of our parameters,
/// `limit_exceeded`, `insecure_url`.
pub fn url(settings: &Settings, pending: &Pending, challenge: &str) -> Result<Url, Failure> {
    let Some(endpoint) = &pending.server.authorization_endpoint else {
        return Err(failure(
            Kind::MetadataInvalid,
            "the authorization server has no authorization_endpoint, so a browser cannot sign in \
             there; try --device-code or --client-credentials",
        ));
    };
    let parameters = parameters(settings, pending, challenge);
    check_collisions(endpoint, &parameters)?;
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (key, value) in parameters {
        form.append_pair(key, value);
    }
    // A plus sign of the text itself is encoded already.
    let ours = form.finish().replace('+', "%20");
    let query = match endpoint.query() {
        Some(given) if !given.is_empty() => format!("{given}&{ours}"),
        _ => ours,
    };
    let mut url = endpoint.clone();
    url.set_query(Some(&quiet(&query)));
    url.set_path(&quiet(endpoint.path()));
    url.set_fragment(None);
    if url.as_str().len() > limits::AUTHORIZATION_URL {
        return Err(failure(
            Kind::LimitExceeded,
            format!(
                "the address of the sign-in page would be longer than {} bytes; ask for fewer \
                 scopes with --static-oauth-client-metadata '{{\"scope\":\"…\"}}'",
                limits::AUTHORIZATION_URL
            ),
        ));
    }
    openable_for(url.as_str(), &settings.server)?;
    Ok(url)
}

/// Checks once more what is handed to a browser: `https`, or `http` to a loopback host, without
/// anything that a shell or a terminal could take for something else (MCP 2026-07-28, Security
/// Best Practices).
///
/// # Errors
/// `insecure_url`, showing the address in escaped form, without its query.
pub fn openable(url: &str) -> Result<(), Failure> {
    check(url, address::is_loopback)
}

/// As [`openable`], and `http` also to the origin of a server that the user reaches by `http`.
///
/// # Errors
/// As [`openable`].
pub fn openable_for(url: &str, server: &Url) -> Result<(), Failure> {
    check(url, |url| {
        address::is_loopback(url) || url.origin() == server.origin()
    })
}

fn check(text: &str, may_be_plain: impl Fn(&Url) -> bool) -> Result<(), Failure> {
    let refuse = |why: &str| {
        let shown = sanitize(public_part(text), SHOWN);
        Err(failure(
            Kind::InsecureUrl,
            format!(
                "will not open `{shown}` in a browser: it {why}; whoever runs the server has to \
                 mend its sign-in addresses"
            ),
        ))
    };
    if text.len() > limits::AUTHORIZATION_URL {
        return refuse("is too long");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(is_touchy) {
        return refuse("holds characters that do not belong into an address");
    }
    if !escapes_are_plain(text) {
        return refuse("holds escapes that do not belong into an address");
    }
    let Ok(url) = Url::parse(text) else {
        return refuse("is no complete address");
    };
    match url.scheme() {
        "https" => {}
        "http" if may_be_plain(&url) => {}
        "http" => return refuse("is not https"),
        _ => return refuse("is no web address"),
    }
    let host = url.host_str().unwrap_or_default();
    let is_named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    if host.is_empty() || host.starts_with('-') || !host.bytes().all(is_named) {
        return refuse("has no proper host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("holds a user name or password");
    }
    Ok(())
}

/// Our parameters in the order in which mcp-remote sends them, the user's behind them.
fn parameters<'a>(
    settings: &'a Settings,
    pending: &'a Pending,
    challenge: &'a str,
) -> Vec<(&'a str, &'a str)> {
    let users: Vec<(&str, &str)> = settings
        .authorize_params
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let ours = [
        ("response_type", Some("code")),
        ("client_id", Some(pending.client.id.as_str())),
        ("code_challenge", Some(challenge)),
        ("code_challenge_method", Some("S256")),
        ("redirect_uri", Some(pending.redirect_uri.as_str())),
        ("state", Some(pending.state.reveal())),
        ("scope", pending.scope.as_deref()),
        ("resource", pending.resource.as_deref()),
    ];
    let mut all: Vec<(&str, &str)> = ours
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .filter(|(key, _)| !users.iter().any(|(users_key, _)| users_key == key))
        .collect();
    for (at, (key, value)) in users.iter().enumerate() {
        let comes_again = users.iter().skip(at + 1).any(|(later, _)| later == key);
        if !comes_again {
            all.push((key, value));
        }
    }
    all
}

/// No parameter may be there twice (RFC 6749 §3.1), and none of ours may be set by the server.
fn check_collisions(endpoint: &Url, parameters: &[(&str, &str)]) -> Result<(), Failure> {
    for (given, _) in endpoint.query_pairs() {
        let sent = parameters
            .iter()
            .any(|(key, _)| key.eq_ignore_ascii_case(&given));
        if sent || refused_param(&given) {
            let given = sanitize(&given, SHOWN);
            return Err(failure(
                Kind::MetadataInvalid,
                format!(
                    "the authorization_endpoint of the authorization server already sets \
                     `{given}`; leave out --authorize-param {given} if you gave it, else whoever \
                     runs the server has to mend its metadata"
                ),
            ));
        }
    }
    Ok(())
}

fn canonical(server: &Url) -> String {
    let mut url = server.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Neither can fail for an address that has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let text: String = url.into();
    match text.strip_suffix('/') {
        Some(origin) if server.path() == "/" => origin.to_owned(),
        _ => text,
    }
}

/// Percent-encodes what a launcher could stumble over. The meaning stays the same (RFC 3986 §2.1).
fn quiet(text: &str) -> String {
    let mut quiet = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_touchy(letter) {
            // Writing to a string cannot fail.
            let _ = write!(quiet, "%{:02X}", u32::from(letter));
        } else {
            quiet.push(letter);
        }
    }
    quiet
}

fn is_touchy(letter: char) -> bool {
    TOUCHY.contains(letter)
}

/// Whether every `%` begins an escape (RFC 3986 §2.1), and none of them is a control character.
fn escapes_are_plain(text: &str) -> bool {
    text.split('%').skip(1).all(|tail| {
        let digits = tail.get(..2).unwrap_or_default();
        digits.bytes().all(|byte| byte.is_ascii_hexdigit())
            && u8::from_str_radix(digits, 16).is_ok_and(|byte| !byte.is_ascii_control())
    })
}

fn failure(kind: Kind, text: impl Into<String>) -> Failure {
    Failure::new(kind, Executed::No, text)
}

#[cfg(test)]
mod tests;
