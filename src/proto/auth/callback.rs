//! The browser's way back (RFC 6749 §4.1.2, RFC 8252 §7.3, RFC 9207).
//!
//! In: judging one HTTP request, or a pasted address, against the pending sign-in. Out: sockets and
//! pages (`edge/callback`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Url, form_urlencoded};

use super::address::is_loopback;
use super::authorize::Pending;
use super::client::Provenance;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::secret::{Secret, mask_quoted};
use crate::proto::text::sanitize;

/// Most characters of a server's words that are shown.
const DESCRIPTION: usize = 256;

/// Most characters of an issuer, a code word or an address that are shown.
const SHOWN: usize = 128;

/// One request as it came in.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Method.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// Every `Host` field.
    pub hosts: &'a [&'a str],
    /// `Origin`, if there is one.
    pub origin: Option<&'a str>,
}

/// Without the query, which holds the code.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target.split('?').next();
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &path)
            .finish_non_exhaustive()
    }
}

/// What becomes of it.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Not for us: answer with this status (400, 404, 405, 421) and go on waiting.
    Ignore(u16),
    /// The browser is back, with the outcome of the sign-in. The wait is over.
    Back(Outcome),
}

/// The outcome of an authorization request.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// `code`, to be exchanged once.
    Code(Secret),
    /// The sign-in failed. `retry` names what one more request may do better.
    Failed(Failure, Option<Retry>),
}

/// What one more authorization request may do better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Ask without `offline_access`.
    WithoutOfflineAccess,
    /// Register anew.
    NewClient,
}

/// Judges a request to the callback address at `port`, under `path`, in the order: path, method,
/// host, each parameter once, `state`, `iss`, then `error` or `code`.
#[must_use]
pub fn judge(pending: &Pending, port: u16, path: &str, request: &Request<'_>) -> Verdict {
    let (target, query) = request
        .target
        .split_once('?')
        .unwrap_or((request.target, ""));
    if target != path {
        return Verdict::Ignore(404);
    }
    if request.method != "GET" {
        return Verdict::Ignore(405);
    }
    match request.hosts {
        [host] if is_ours(host, port) => {}
        [_] => return Verdict::Ignore(421),
        _ => return Verdict::Ignore(400),
    }
    if request.origin.is_some_and(|origin| !is_local(origin)) {
        return Verdict::Ignore(400);
    }
    match answer(pending, query) {
        Ok(outcome) => Verdict::Back(outcome),
        Err(_) => Verdict::Ignore(400),
    }
}

/// Judges a pasted redirect address, or its query alone, in the same way.
///
/// # Errors
/// A sentence that says what is missing or wrong; the person may paste again.
pub fn pasted(pending: &Pending, text: &str) -> Result<Outcome, String> {
    let query = query(&pending.redirect_uri, text)?;
    answer(pending, query).map_err(|fault| {
        match fault {
            Fault::Repeated => "that address has a parameter twice; copy it once more",
            Fault::NoState => {
                "that address has no `state`; paste all of the address that the browser ends up on"
            }
            Fault::WrongState => WRONG_STATE,
            Fault::NoCode => {
                "that address has neither `code` nor `error`; paste the one that the browser ends \
                 up on after you signed in"
            }
        }
        .to_owned()
    })
}

/// The address to ask for in the place of a browser that cannot reach this machine, so that
/// another process here gets what was pasted. `link` is the one that it gave the person.
///
/// # Errors
/// A sentence: it waits for no such address, or for another one.
pub fn forwarded(link: &Secret, text: &str) -> Result<Url, String> {
    let link = Url::parse(link.reveal()).ok();
    let parameter = |name: &str| {
        let mut pairs = link.as_ref()?.query_pairs();
        Some(pairs.find(|(key, _)| key == name)?.1.into_owned())
    };
    let redirect = parameter("redirect_uri").and_then(|uri| Url::parse(&uri).ok());
    let (Some(mut redirect), Some(state)) = (
        redirect.filter(is_loopback),
        parameter("state").map(Secret::from),
    ) else {
        return Err("the process that signs in waits for no address".to_owned());
    };
    let query = query(redirect.as_str(), text)?;
    let is_ours = form_urlencoded::parse(query.as_bytes())
        .any(|(key, value)| key == "state" && same(value.as_bytes(), state.reveal().as_bytes()));
    if !is_ours {
        return Err(WRONG_STATE.to_owned());
    }
    redirect.set_query(Some(query));
    Ok(redirect)
}

/// The query of a pasted redirect address, or of what was pasted alone.
fn query<'a>(redirect_uri: &str, text: &'a str) -> Result<&'a str, String> {
    let text = text.trim();
    let text = text.split('#').next().unwrap_or_default();
    match text.split_once('?') {
        Some(("", query)) => Ok(query),
        Some((address, query)) if is_redirect(redirect_uri, address) => Ok(query),
        Some(_) => Err(format!(
            "that is another address; paste the one that the browser ends up on, which begins \
             with {redirect_uri}"
        )),
        None => Ok(text),
    }
}

const WRONG_STATE: &str = "the `state` in that address is not the one of this sign-in; use the \
                           link that was shown last";

/// Why an answer is not one to the pending request.
enum Fault {
    /// A parameter is there twice.
    Repeated,
    NoState,
    WrongState,
    NoCode,
}

/// Nothing of the query is used before its `state` is known to be ours, and nothing but `state`
/// before its `iss` is.
fn answer(pending: &Pending, query: &str) -> Result<Outcome, Fault> {
    let mut parameters = BTreeMap::new();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        if parameters.insert(key, value).is_some() {
            return Err(Fault::Repeated);
        }
    }
    // A parameter without a value counts as left out (RFC 6749 §3.1).
    let get = |name: &str| parameters.get(name).filter(|value| !value.is_empty());
    let state = get("state").ok_or(Fault::NoState)?;
    let code = get("code");
    // Words of the server that may be shown.
    let shown = |value: &str| {
        let code = code.map(Cow::as_ref);
        let secrets = [pending.state.reveal(), pending.verifier.reveal()];
        match mask_quoted(value.as_bytes(), secrets.into_iter().chain(code)) {
            Some(masked) => String::from_utf8_lossy(&masked).into_owned(),
            None => value.to_owned(),
        }
    };
    if !same(state.as_bytes(), pending.state.reveal().as_bytes()) {
        return Err(Fault::WrongState);
    }
    if let Err(failure) = check_issuer(pending, parameters.get("iss").map(Cow::as_ref), shown) {
        return Ok(Outcome::Failed(failure, None));
    }
    if let Some(error) = get("error") {
        let words = Words {
            description: get("error_description").map(|text| shown(text)),
            page: get("error_uri").map(|text| shown(text)),
        };
        let (failure, retry) = refusal(pending, &shown(error), &words);
        return Ok(Outcome::Failed(failure, retry));
    }
    let code = code.ok_or(Fault::NoCode)?;
    // RFC 6749 A.11.
    if !code.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        let text = "the authorization server sent a code that holds forbidden characters; try \
                    again, and tell whoever runs it if that happens again";
        return Ok(Outcome::Failed(
            failure(Kind::AuthorizationError, text),
            None,
        ));
    }
    Ok(Outcome::Code(Secret::from(code.as_ref())))
}

/// RFC 9207 §2.4: byte for byte, and present where it was promised.
fn check_issuer(
    pending: &Pending,
    issuer: Option<&str>,
    shown: impl Fn(&str) -> String,
) -> Result<(), Failure> {
    let expected = &pending.server.issuer;
    let trouble = match issuer {
        Some(issuer) if issuer == expected => return Ok(()),
        None if !pending.server.iss_parameter_supported => return Ok(()),
        Some(issuer) => format!("came from `{}`", sanitize(&shown(issuer), SHOWN)),
        None => "did not say who sent it".to_owned(),
    };
    Err(failure(
        Kind::IssMismatch,
        format!(
            "the answer to the sign-in {trouble} and should have come from `{}`; it was not used. \
             This may be an attack: sign in again, and if it comes back tell whoever runs the \
             server",
            sanitize(expected, SHOWN)
        ),
    ))
}

/// What the server says beside the error code. Never acted on.
struct Words {
    description: Option<String>,
    page: Option<String>,
}

/// RFC 6749 §4.1.2.1, `OpenID` Connect Core 1.0 §3.1.2.6, RFC 8707 §2.
fn refusal(pending: &Pending, error: &str, words: &Words) -> (Failure, Option<Retry>) {
    let registered = pending.client.provenance == Provenance::Registered;
    let scope = pending.scope.as_deref().unwrap_or_default();
    let mut retry = None;
    let (kind, next) = match error {
        "access_denied" => (
            Kind::AuthorizationDenied,
            "sign in again and agree, or ask an administrator for access".to_owned(),
        ),
        "invalid_scope" => {
            if scope.split(' ').any(|scope| scope == "offline_access") {
                retry = Some(Retry::WithoutOfflineAccess);
            } else if registered && is_beyond(scope, pending.client.scope.as_deref()) {
                retry = Some(Retry::NewClient);
            }
            let asked = if scope.is_empty() {
                "no scope was asked for".to_owned()
            } else {
                format!("asked for were `{}`", sanitize(scope, DESCRIPTION))
            };
            (
                Kind::AuthorizationError,
                format!(
                    "{asked}; choose with --static-oauth-client-metadata '{{\"scope\":\"…\"}}'"
                ),
            )
        }
        "unauthorized_client" | "invalid_client" if registered => {
            retry = Some(Retry::NewClient);
            (
                Kind::ClientRejected,
                "the registration is no longer good; a new one may be".to_owned(),
            )
        }
        "unauthorized_client" | "invalid_client" => (
            Kind::ClientRejected,
            format!(
                "check the client id and that {} is registered for it \
                 (--static-oauth-client-info)",
                pending.redirect_uri
            ),
        ),
        "invalid_target" => (
            Kind::AuthorizationError,
            match &pending.resource {
                Some(resource) => format!(
                    "the resource asked for was `{}`; give another with --resource VALUE or none \
                     with --disable-resource-parameter",
                    sanitize(resource, DESCRIPTION)
                ),
                None => "give one with --resource VALUE".to_owned(),
            },
        ),
        "server_error" | "temporarily_unavailable" => {
            (Kind::AuthorizationError, "try again in a while".to_owned())
        }
        "login_required"
        | "interaction_required"
        | "consent_required"
        | "account_selection_required" => (
            Kind::AuthorizationError,
            "try again with --authorize-param prompt=consent".to_owned(),
        ),
        _ => (Kind::AuthorizationError, "try again".to_owned()),
    };
    // Writing to a string cannot fail.
    let mut text = "the authorization server ended the sign-in".to_owned();
    if is_error_code(error) {
        let _ = write!(text, " with `{}`", sanitize(error, SHOWN));
    }
    if let Some(description) = &words.description {
        let _ = write!(text, " ({})", sanitize(description, DESCRIPTION));
    }
    if let Some(page) = words.page.as_ref().filter(|page| is_web_page(page)) {
        let _ = write!(text, " [{}]", sanitize(page, DESCRIPTION));
    }
    let _ = write!(text, "; {next}");
    (failure(kind, text), retry)
}

/// `error` may hold these characters (RFC 6749 §4.1.2.1).
fn is_error_code(error: &str) -> bool {
    error
        .bytes()
        .all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
}

/// An address worth showing: `https`, and nothing in it that passes for a password.
fn is_web_page(address: &str) -> bool {
    Url::parse(address).is_ok_and(|url| {
        url.scheme() == "https" && url.username().is_empty() && url.password().is_none()
    })
}

/// Whether a `Host` names this machine and our port. Anything else comes from a name that was made
/// to point here (DNS rebinding).
fn is_ours(host: &str, port: u16) -> bool {
    let (name, given) = match host.rsplit_once(':') {
        // The colons of an address in brackets.
        Some((_, tail)) if tail.ends_with(']') => (host, None),
        Some((name, given)) => (name, Some(given)),
        None => (host, None),
    };
    let is_port = match given {
        Some(given) => given == port.to_string(),
        None => port == 80,
    };
    is_port && is_loopback_name(name)
}

fn is_loopback_name(name: &str) -> bool {
    let v6 = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    match v6 {
        Some(v6) => v6.parse() == Ok(Ipv6Addr::LOCALHOST),
        None => {
            name.eq_ignore_ascii_case("localhost")
                || name
                    .parse()
                    .is_ok_and(|address: Ipv4Addr| address.is_loopback())
        }
    }
}

fn is_local(origin: &str) -> bool {
    Url::parse(origin).is_ok_and(|origin| origin.host_str().is_some_and(is_loopback_name))
}

/// Whether a pasted address is the redirect address, with or without its scheme: browsers hide it.
fn is_redirect(expected: &str, address: &str) -> bool {
    address == expected || Some(address) == expected.strip_prefix("http://")
}

/// Equality that takes as long for a near miss as for a far one.
fn same(left: &[u8], right: &[u8]) -> bool {
    let difference = left.iter().zip(right).fold(0, |difference, (left, right)| {
        black_box(difference | (left ^ right))
    });
    left.len() == right.len() && difference == 0
}

fn failure(kind: Kind, text: impl Into<String>) -> Failure {
    Failure::new(kind, Executed::No, text)
}

/// Whether a client registered for these scopes was never allowed to ask for all of those. Of a
/// client registered without any, nobody knows.
fn is_beyond(asked: &str, registered: Option<&str>) -> bool {
    registered.is_some_and(|registered| {
        let mut asked = asked.split(' ').filter(|scope| !scope.is_empty());
        asked.any(|scope| !registered.split(' ').any(|allowed| allowed == scope))
    })
}

#[cfg(test)]
mod tests;
