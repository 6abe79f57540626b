//! Addresses that options name: what each has to be before anybody is asked there.
//!
//! In: judging their form. Out: which options have them (`sign_in`, `identities`).

use url::Url;

use super::is_loopback;
use crate::error::Failure;

/// An address that credentials are sent to: `https`, or `http` to this machine, without user name
/// and fragment.
pub(super) fn endpoint(place: &str, text: &str) -> Result<Url, Failure> {
    address(place, text, false).and_then(|url| match url.fragment() {
        None => Ok(url),
        Some(_) => Err(Failure::usage(format!(
            "{place} must have no fragment (#…)"
        ))),
    })
}

/// An issuer as it stands in metadata (RFC 8414 §2): kept letter by letter.
pub(super) fn issuer(place: &str, text: &str) -> Result<String, Failure> {
    let text = text.trim();
    let url = endpoint(place, text)?;
    match url.query() {
        None => Ok(text.to_owned()),
        Some(_) => Err(Failure::usage(format!("{place} must have no query (?…)"))),
    }
}

/// `https`, or `http` where that is safe or allowed; without user name.
pub(super) fn address(place: &str, text: &str, allow_http: bool) -> Result<Url, Failure> {
    let wrong = |what: &str| Failure::usage(format!("{place} {what}"));
    let url = Url::parse(text.trim()).map_err(|error| wrong(&format!("is not a URL: {error}")))?;
    let host = url.host().ok_or_else(|| wrong("names no host"))?;
    match url.scheme() {
        "https" => {}
        "http" if allow_http || is_loopback(&host) => {}
        _ => {
            return Err(wrong(
                "must begin with https:// (or with http:// on this machine)",
            ));
        }
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must hold no user name and password"));
    }
    Ok(url)
}
