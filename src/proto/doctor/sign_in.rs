//! What a sign-in needs, as checks.
//!
//! In: judging documents, the authorization server, what is stored. Out: getting hold of them
//! (`sign_in`), when a sign-in is needed (`commands/doctor`).

use std::time::Duration;

use super::Check;
use crate::proto::auth::client::{Choice, ClientAuth, Provenance};
use crate::proto::auth::discovery::{Document, Finding, Verdict};
use crate::proto::auth::metadata::{ServerMetadata, is_plain};
use crate::proto::auth::scope::{Origin, Wanted};
use crate::proto::auth::token::Tokens;
use crate::proto::auth::{limits, quirks};
use crate::proto::failure::{Failure, Kind};
use crate::proto::text::{public_part, public_url, sanitize};

/// The option that signs in with a token from elsewhere.
pub const HEADER: &str = "--header \"Authorization: Bearer ${TOKEN}\"";

/// The option that names a client.
pub const CLIENT: &str = "--static-oauth-client-info '{\"client_id\": \"…\"}'";

/// What signs in by hand.
pub const SIGN_IN: &str = "sign in with \"mcp-bridge login URL\", or here with --login";

/// Longest address or name that is shown, in characters.
const SHOWN: usize = 200;

/// Longest list of scopes that is shown, in characters.
const SCOPES: usize = 300;

/// A clock this far behind the time of issue of a token is wrong.
const CLOCK: Duration = Duration::from_secs(300);

/// What the bridge would fail with, and the option against it.
#[must_use]
pub fn failed(id: &'static str, failure: &Failure) -> Check {
    let ask = "ask the server's operator";
    let sentence = failure.text.split(ASKED).next().unwrap_or_default();
    let mut check = Check::bad_sentence(id, sentence, ask).of_kind(failure.kind);
    match failure.kind {
        Kind::DiscoveryFailed => {
            check.advice = Some(ASK_OR_GIVE.to_owned());
        }
        Kind::DiscoveryUnreachable => check.advice = Some(LATER.to_owned()),
        _ => {}
    }
    match option(failure.kind, check.advice.as_deref().unwrap_or_default()) {
        Some(flag) => check.with_flag(flag),
        None => check,
    }
}

/// Where the list of requests begins at the end of an error: here each has its line.
const ASKED: &str = " (asked: ";

/// What is left where nobody says how to sign in; [`HEADER`] follows.
const ASK_OR_GIVE: &str =
    "ask the server's operator how to sign in, or give a token that you have from them";

const LATER: &str = "try again in a while; if it stays, tell the server's operator";

/// The option that helps against a failure, as its advice says.
fn option(kind: Kind, advice: &str) -> Option<String> {
    let named = |option: &str| advice.contains(option).then(|| option.to_owned());
    match kind {
        Kind::DiscoveryFailed => Some(HEADER.to_owned()),
        Kind::NoRegistrationMethod => Some(CLIENT.to_owned()),
        Kind::IssuerMismatch => {
            let option = "--expect-issuer ";
            let (_, issuer) = advice.split_once(option)?;
            Some(format!("{option}{}", issuer.split(' ').next()?))
        }
        Kind::PkceUnsupported => named("--allow-missing-pkce"),
        Kind::BlockedAddress => named("--allow-private-network"),
        Kind::StoreUnwritable => named("--store files"),
        Kind::CallbackPortInUse => named("--host localhost"),
        _ => None,
    }
}

/// One line for each document that was asked for, with its milliseconds, and what makes them no
/// good all together.
#[must_use]
pub fn documents(findings: &[(Finding, u64)], failure: Option<&Failure>) -> Vec<Check> {
    let mut checks: Vec<Check> = findings
        .iter()
        .map(|(finding, millis)| document(finding).in_millis(*millis))
        .collect();
    let Some(failure) = failure else {
        return checks;
    };
    let guilty = findings
        .iter()
        .rposition(|(finding, _)| is_guilty(finding, failure));
    let guilty = guilty.and_then(|at| findings.get(at).zip(checks.get_mut(at)));
    if let Some(((finding, _), check)) = guilty {
        let id = match failure.kind {
            Kind::IssuerMismatch => "issuer",
            _ => check.id,
        };
        let mut bad = failed(id, failure);
        let what = match failure.kind {
            Kind::DiscoveryUnreachable => &finding.outcome,
            _ => &bad.text,
        };
        bad.text = format!("{}: {what}", address(&finding.url));
        bad.millis = check.millis;
        *check = bad;
        return checks;
    }
    let last = findings.last().map(|(finding, _)| finding.document);
    let id = match (failure.kind, last) {
        (Kind::IssuerMismatch, _) => "issuer",
        (_, Some(Document::Server)) => "server-metadata",
        _ => "resource-metadata",
    };
    checks.push(failed(id, failure));
    checks
}

/// Whether it is this document that everything failed for.
fn is_guilty(finding: &Finding, failure: &Failure) -> bool {
    match &finding.verdict {
        Some(Verdict::Unusable(own) | Verdict::Elsewhere(own)) => {
            own.kind == failure.kind && failure.text.starts_with(&own.text)
        }
        Some(Verdict::Temporary) => failure.kind == Kind::DiscoveryUnreachable,
        Some(Verdict::Absent | Verdict::Another) | None => false,
    }
}

fn document(finding: &Finding) -> Check {
    let id = match finding.document {
        Document::Resource => "resource-metadata",
        Document::Server => "server-metadata",
    };
    let (address, outcome) = (address(&finding.url), &finding.outcome);
    let text = |what: &str| format!("{address}: {outcome}{what}");
    match &finding.verdict {
        None => Check::good(id, text(", found")),
        Some(Verdict::Absent) => Check::good(id, text(", nothing there, which is allowed")),
        Some(Verdict::Another) => Check::good(id, text(", which is no metadata")),
        Some(Verdict::Temporary) => Check::warning(id, text(""), LATER),
        Some(Verdict::Elsewhere(failure) | Verdict::Unusable(failure)) => {
            let bad = failed(id, failure);
            let text = format!("{address}: {}", bad.text);
            Check::warning(id, text, bad.advice.unwrap_or_default())
        }
    }
}

/// There is no metadata at all, and the addresses of old are taken instead. `status` is what the
/// first of them answered, if it did.
#[must_use]
pub fn assumed(endpoint: &str, status: Option<u16>, is_there: bool) -> Check {
    let id = "server-metadata";
    let endpoint = sanitize(endpoint, SHOWN);
    let answered = match status {
        Some(status) => format!("HTTP {status}"),
        None => "no answer".to_owned(),
    };
    if is_there {
        let text = format!(
            "the server has no metadata; the default addresses of MCP 2025-03-26 would be tried \
             ({endpoint}: {answered})"
        );
        let advice = "nothing, if signing in works; otherwise ask the server's operator for \
                      metadata";
        return Check::warning(id, text, advice);
    }
    let text = format!(
        "the server wants credentials and does not say where to get them: there is no metadata, \
         and no sign-in at the default address ({endpoint}: {answered})"
    );
    Check::bad(id, text, ASK_OR_GIVE)
        .with_flag(HEADER)
        .of_kind(Kind::DiscoveryFailed)
}

/// Who gives the tokens, and whether that was somebody else at the sign-in before.
#[must_use]
pub fn issuer(found: &str, before: Option<&str>) -> Check {
    let found = shown(found);
    match before {
        None => Check::good("issuer", format!("tokens come from {found}")),
        Some(before) => {
            let text = format!(
                "the server now sends people to {found}; the last sign-in was at {}",
                shown(before)
            );
            let advice = format!("if you trust the new one, {SIGN_IN}");
            Check::warning("issuer", text, advice).with_flag("--login")
        }
    }
}

/// Whether a browser can sign in there safely (RFC 7636). `may_lack`: PKCE need not be promised,
/// because the user says so (`by_user`) or the provider is known to support it.
#[must_use]
pub fn code_flow(server: &ServerMetadata, may_lack: bool, by_user: bool) -> Check {
    let id = "pkce";
    let methods = server.code_challenge_methods_supported.as_deref();
    let is_offered = methods.is_some_and(|methods| methods.iter().any(|it| it == "S256"));
    match server.check_code_flow(may_lack) {
        Err(failure) if failure.kind == Kind::PkceUnsupported => failed(id, &failure),
        Err(failure) => failed("server-metadata", &failure),
        Ok(()) if is_offered => Check::good(id, "S256 is offered"),
        Ok(()) if server.assumed => Check::good(id, "S256 is used; nobody says what is offered"),
        Ok(()) if by_user => Check::warning(
            id,
            "the authorization server does not promise PKCE, and --allow-missing-pkce accepts that",
            "ask its operator for code_challenge_methods_supported in the metadata",
        ),
        Ok(()) => Check::good(
            id,
            "S256 is not in the metadata, but this provider is known to support it",
        ),
    }
}

/// What would be asked for, and what was left out of it.
#[must_use]
pub fn scopes(wanted: &Wanted) -> Vec<Check> {
    let id = "scope";
    let source = match wanted.origin {
        Origin::User => "you chose it",
        Origin::Challenge => "the server's refusal names it",
        Origin::Resource => "the server's metadata names it",
        Origin::Nobody => "nobody names one",
    };
    let scope = wanted.scope.as_deref().unwrap_or("nothing in particular");
    let text = format!("would ask for {} ({source})", sanitize(scope, SCOPES));
    let left_out = wanted.notes.iter().map(|note| {
        let advice = "choose the scopes with --static-oauth-client-metadata '{\"scope\": \"…\"}'";
        Check::warning(id, note.clone(), advice)
    });
    [Check::good(id, text)]
        .into_iter()
        .chain(left_out)
        .collect()
}

/// Who we are towards the authorization server.
#[must_use]
pub fn client(choice: &Choice, server: &ServerMetadata) -> Check {
    let text = match choice {
        Choice::Use(client) => {
            let whose = match client.provenance {
                Provenance::Given => "the client of --static-oauth-client-info".to_owned(),
                Provenance::Document => {
                    format!("the metadata document {}", shown(&client.id))
                }
                Provenance::Registered => {
                    format!("the client registered before, {}", shown(&client.id))
                }
            };
            format!("{whose}, {}", identification(&client.auth))
        }
        Choice::Register(why) => {
            let endpoint = server.registration_endpoint.as_ref();
            let endpoint = endpoint.map(address).unwrap_or_default();
            let why = why.as_deref().map(|why| format!("; {why}"));
            let why = sanitize(&why.unwrap_or_default(), SCOPES);
            format!("none yet: one would be registered at {endpoint}{why}")
        }
    };
    Check::good("client", text)
}

/// Why there is no client to be had.
#[must_use]
pub fn no_client(failure: &Failure, server: &ServerMetadata) -> Check {
    let check = failed("client", failure);
    match failure.kind {
        Kind::ClientIssuerMismatch if is_plain(&server.issuer) => {
            let issuer = &server.issuer;
            let client = "--static-oauth-client-info '{\"client_id\": \"…\", \"issuer\": ";
            check.with_flag(format!("{client}\"{issuer}\"}}'"))
        }
        Kind::NoRegistrationMethod => {
            let advice = quirks::of(&server.issuer).hint.map(str::to_owned);
            Check {
                advice: advice.or(check.advice),
                ..check
            }
        }
        _ => check,
    }
}

/// How a client identifies itself, as a part of a sentence.
fn identification(auth: &ClientAuth) -> String {
    match auth {
        ClientAuth::None => "which has no secret".to_owned(),
        auth => format!("which identifies itself with {}", auth.method()),
    }
}

/// Where tokens are asked for, and whether `grant` can be expected there (RFC 8414 §2,
/// `grant_types_supported`).
#[must_use]
pub fn token_endpoint(server: &ServerMetadata, grant: &str) -> Check {
    let id = "token-endpoint";
    let Some(endpoint) = &server.token_endpoint else {
        let text = format!(
            "the authorization server {} names no token endpoint",
            shown(&server.issuer)
        );
        return Check::bad(id, text, "ask its operator").of_kind(Kind::MetadataInvalid);
    };
    let text = address(endpoint);
    match &server.grant_types_supported {
        Some(grants) if !grants.iter().any(|it| it == grant) => {
            let text = format!("{text}, whose metadata does not list the grant {grant}");
            let advice = "ask its operator whether it may be used all the same";
            Check::warning(id, text, advice)
        }
        _ => Check::good(id, text),
    }
}

/// The address that the browser comes back to, and which port is free.
pub enum Callback<'a> {
    /// It can be listened on.
    Free(&'a str),
    /// This port is taken, and the address with the next one is used.
    Moved(u16, &'a str),
    /// It has to be this port, which cannot be listened on; another one is free.
    Taken(u16, &'a Failure),
}

/// Whether the browser can come back.
#[must_use]
pub fn callback(callback: &Callback<'_>) -> Check {
    let id = "callback";
    match callback {
        Callback::Free(address) => Check::good(id, format!("{address}, and the port is free")),
        Callback::Moved(taken, address) => {
            let text = format!("port {taken} is taken, so {address} would be used");
            let advice = "nothing, unless the authorization server knows the old address alone: \
                          then end the program that has the port";
            Check::warning(id, text, advice)
        }
        Callback::Taken(free, failure) => {
            let mut check = failed(id, failure);
            if check.flag.is_none() && *free != 0 {
                check.advice = Some(
                    "end the program that has it, or put another port behind the URL (a client of \
                     your own must be registered with it)"
                        .to_owned(),
                );
                check.flag = Some(free.to_string());
            }
            check
        }
    }
}

/// What is wrong with the place where sign-ins are kept, or was (`is_mended`). A file that cannot be
/// read costs no more than a look where there are tokens all the same.
#[must_use]
pub fn store(kind: Kind, sentence: &str, is_mended: bool, has_tokens: bool) -> Check {
    let id = "store";
    if is_mended {
        return Check::good(id, sentence);
    }
    if kind == Kind::StoreCorrupt {
        let check = if has_tokens {
            Check::warning(id, sentence, "nothing: it is made anew")
        } else {
            Check::bad(id, sentence, SIGN_IN).with_flag("--login")
        };
        return check.of_kind(kind);
    }
    let advice = "make it yours and readable, or name another folder in MCP_BRIDGE_CONFIG_DIR";
    let check = Check::bad_sentence(id, sentence, advice).of_kind(kind);
    match option(kind, check.advice.as_deref().unwrap_or_default()) {
        Some(flag) => check.with_flag(flag),
        None => check,
    }
}

/// A stored sign-in.
#[derive(Debug)]
pub struct Stored<'a> {
    /// Its tokens.
    pub tokens: &'a Tokens,
    /// Whose it is.
    pub account: Option<&'a str>,
    /// Who wrote it: `mcp-bridge` or `mcp-remote`.
    pub writer: &'a str,
    /// Its expiry in RFC 3339.
    pub until: Option<&'a str>,
    /// How it goes on.
    pub renewal: Renewal,
    /// Unix milliseconds.
    pub now: u64,
}

/// How a sign-in goes on after its token has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Without a person.
    ByItself,
    /// Perhaps without a person, for this reason.
    InDoubt(&'static str),
    /// Not without a person.
    Never,
}

/// What a stored sign-in is good for.
#[must_use]
pub fn stored(stored: &Stored<'_>) -> Check {
    let id = "stored-sign-in";
    let Stored { tokens, now, .. } = stored;
    let mut parts = vec!["signed in".to_owned()];
    if let Some(account) = stored.account {
        parts.push(format!("as {}", sanitize(account, SHOWN)));
    }
    if let Some(issuer) = &tokens.issuer {
        parts.push(format!("at {}", shown(issuer)));
    }
    let is_expired = tokens.is_expired(*now);
    let mut facts = vec![parts.join(" ")];
    facts.push(match (tokens.expires_at, stored.until) {
        (Some(at), Some(until)) if at <= *now => {
            format!("expired {} ago ({until})", span(now - at))
        }
        (Some(at), Some(until)) => format!("valid for {} ({until})", span(at - now)),
        _ => "valid until the server says otherwise".to_owned(),
    });
    facts.extend(match stored.renewal {
        Renewal::ByItself if is_expired => Some("renewed at the next use".to_owned()),
        Renewal::ByItself => Some("renewed by itself".to_owned()),
        Renewal::InDoubt(_) => None,
        Renewal::Never => Some("not renewed by itself".to_owned()),
    });
    let scope = tokens.scope.as_ref();
    facts.extend(scope.map(|scope| format!("scope {}", sanitize(scope, SCOPES))));
    facts.push(format!("written by {}", stored.writer));
    let text = facts.join(", ");
    let clock = now.saturating_add(millis(CLOCK));
    if let Some(issued) = tokens.issued_at.filter(|issued| clock < *issued) {
        let text = format!(
            "{text}; by this clock it was issued in {}",
            span(issued - now)
        );
        let advice = "set the clock of this computer, and let it be set automatically";
        return Check::warning(id, text, advice);
    }
    match stored.renewal {
        Renewal::InDoubt(why) => Check::warning(
            id,
            format!("{text}; {why}"),
            format!("nothing, if it goes on working; otherwise {SIGN_IN}"),
        )
        .with_flag("--login"),
        Renewal::Never if is_expired => Check::bad(id, text, SIGN_IN)
            .with_flag("--login")
            .of_kind(Kind::SignInRequired),
        Renewal::Never | Renewal::ByItself => Check::good(id, text),
    }
}

/// What went wrong the last time.
#[must_use]
pub fn last_error(kind: &str, text: &str, at: u64, now: u64) -> Check {
    let check = Check::bad_sentence("last-error", text, SIGN_IN);
    let text = format!(
        "{} ago: {} [{}]",
        span(now.saturating_sub(at)),
        check.text,
        sanitize(kind, SHOWN)
    );
    Check::warning("last-error", text, check.advice.unwrap_or_default())
}

/// So many windows were opened of late that no other one is.
#[must_use]
pub fn brake(opened: usize) -> Check {
    let minutes = limits::BRAKE_WINDOW.as_secs() / 60;
    let text = format!(
        "{opened} sign-ins were begun within {minutes} min and nothing came of them, so the bridge \
         begins no other one for now"
    );
    Check::warning("sign-in-pause", text, SIGN_IN).with_flag("--login")
}

/// Another process waits for the person.
#[must_use]
pub fn pending(process: u32, since: u64, now: u64) -> Check {
    let text = format!(
        "process {process} began a sign-in {} ago that is not finished",
        span(now.saturating_sub(since))
    );
    let advice = "finish it in the browser, or end that process";
    Check::warning("pending-sign-in", text, advice)
}

/// The server lets us in; `is_signed_in`: with what is stored, or perhaps without.
#[must_use]
pub fn let_in(is_signed_in: bool) -> Check {
    let text = if is_signed_in {
        "the server lets you in with the stored sign-in"
    } else {
        "the server asks for no sign-in"
    };
    Check::good("sign-in", text)
}

/// The server does not let us in, and nothing speaks against signing in. `had_token`: it refused
/// the stored one.
#[must_use]
pub fn kept_out(had_token: bool, needs_person: bool) -> Check {
    let text = match (had_token, needs_person) {
        (true, _) => "the server refuses the stored sign-in, and a new one is possible",
        (false, true) => "the server wants you to sign in, and everything is there for it",
        (false, false) => {
            "the server wants a token, which the bridge gets by itself when it starts"
        }
    };
    let advice = if needs_person {
        SIGN_IN
    } else {
        "try it here with --login"
    };
    Check::warning("sign-in", text, advice)
        .with_flag("--login")
        .of_kind(Kind::SignInRequired)
}

/// The user's own `Authorization` header.
#[must_use]
pub fn own_header(is_refused: bool) -> Check {
    let id = "authorization";
    if !is_refused {
        let text = "your own Authorization header is used, so there is nothing to sign in for";
        return Check::good(id, text);
    }
    let advice = "check the header's value and whether it has expired, or leave the header out to \
                  sign in";
    Check::bad(id, "your Authorization header was refused", advice).of_kind(Kind::SignInRequired)
}

/// A length of time for people, from milliseconds.
fn span(millis: u64) -> String {
    let minutes = millis / 60_000;
    let (count, unit) = match minutes {
        0 => return "less than a minute".to_owned(),
        1..120 => (minutes, "minute"),
        120..2880 => (minutes / 60, "hour"),
        _ => (minutes / 1440, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

fn address(url: &url::Url) -> String {
    sanitize(&public_url(url), SHOWN)
}

/// What may be an address, without what may be secret in it.
fn shown(text: &str) -> String {
    sanitize(public_part(text), SHOWN)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
