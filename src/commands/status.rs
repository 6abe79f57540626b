//! `status`: every sign-in in the store, for people or as JSON.
//!
//! In: what is shown, and how. Out: the files (`edge/store`). Secrets are never shown.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::{print, style};
use crate::edge::log;
use crate::edge::store::{Entry, Store};
use crate::error::Failure;
use crate::proto::doctor::render::{self, Style};
use crate::proto::doctor::{Check, Mark};
use crate::proto::failure::Kind;
use crate::proto::text;
use crate::settings::StatusSettings;

/// Longest name of a server that is shown, in characters.
const NAME_CHARS: usize = 300;

/// One sign-in, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Status {
    /// The server without its query; missing when only npm `mcp-remote` knows it.
    server: Option<String>,
    /// `--profile` it was made with.
    profile: Option<String>,
    /// Name of its files in the store.
    key: String,
    signed_in: bool,
    /// Account, as the authorization server's ID token names it.
    account: Option<String>,
    issuer: Option<String>,
    /// Granted scopes.
    scope: Option<String>,
    /// RFC 3339, UTC; missing: not known.
    expires_at: Option<String>,
    expired: Option<bool>,
    /// Whether it is renewed without a person.
    refreshable: bool,
    /// Whether a client is registered or known for it.
    registered: bool,
    /// `mcp-bridge` or `mcp-remote`.
    written_by: Option<&'static str>,
    last_error: Option<LastError>,
}

#[derive(Debug, Serialize)]
struct LastError {
    kind: String,
    text: String,
    at: String,
}

/// Prints every sign-in.
///
/// # Errors
/// A [`Failure`] when the store cannot be read.
pub fn run(settings: StatusSettings) -> Result<(), Failure> {
    let store = Store::open(settings.store.base).in_keychain(settings.store.keychain);
    let entries = store.list()?;
    let now = now();
    let all: Vec<Status> = entries
        .iter()
        .map(|entry| status(entry, now))
        .filter(Status::is_of_interest)
        .collect();
    for (level, note) in store.take_notes() {
        log::say(level, &note);
    }
    if settings.json {
        let json = serde_json::to_string_pretty(&all)
            .map_err(|error| Failure::runtime(error.to_string()))?;
        return print(&format!("{json}\n"));
    }
    if all.is_empty() {
        return print("Nobody is signed in anywhere. \"mcp-bridge login URL\" signs in.\n");
    }
    let style = style(settings.style);
    let texts: Vec<String> = all.iter().map(|status| status.shown(style)).collect();
    print(&texts.join("\n"))
}

fn status(entry: &Entry, now: u64) -> Status {
    let (state, tokens) = (entry.state(), entry.tokens());
    let ours = tokens.as_ref().is_some_and(|tokens| state.is_about(tokens));
    let expires = tokens.as_ref().and_then(|tokens| tokens.expires_at);
    Status {
        server: state.server,
        profile: state.profile,
        key: entry.key().to_owned(),
        signed_in: tokens.is_some(),
        account: state.account,
        issuer: tokens
            .as_ref()
            .and_then(|tokens| tokens.issuer.clone())
            .or(state.issuer),
        scope: tokens
            .as_ref()
            .and_then(|tokens| tokens.scope.clone())
            .or(state.scope),
        expires_at: expires.map(rfc3339),
        expired: expires.map(|at| at <= now),
        refreshable: tokens
            .as_ref()
            .is_some_and(|tokens| tokens.refresh.is_some()),
        registered: entry.client().is_some(),
        written_by: tokens
            .as_ref()
            .map(|_| if ours { "mcp-bridge" } else { "mcp-remote" }),
        last_error: state.last_error.map(|error| LastError {
            kind: error.kind,
            text: error.text,
            at: rfc3339(error.at),
        }),
    }
}

impl Status {
    /// A server that never asked for a sign-in leaves nothing worth a line.
    fn is_of_interest(&self) -> bool {
        self.signed_in || self.registered || self.last_error.is_some()
    }

    fn shown(&self, style: Style) -> String {
        let name = self.server.as_ref().unwrap_or(&self.key);
        let mut out = format!("{}\n", style.bold(&text::sanitize(name, NAME_CHARS)));
        out.extend(
            self.checks()
                .iter()
                .map(|check| render::check(check, style)),
        );
        out
    }

    fn checks(&self) -> Vec<Check> {
        let mut checks = vec![match (self.signed_in, &self.account) {
            (true, Some(account)) => Check::good("signed-in", format!("yes, as {account}")),
            (true, None) => Check::good("signed-in", "yes"),
            (false, _) => Check::warning("signed-in", "no", "to sign in").with_flag(self.login()),
        }];
        let mut fact = |id, text: Option<&str>| {
            checks.extend(text.map(|text| Check::good(id, text)));
        };
        fact("profile", self.profile.as_deref());
        fact("issuer", self.issuer.as_deref());
        fact("scopes", self.scope.as_deref());
        if self.signed_in {
            checks.push(self.validity());
            checks.push(if self.refreshable {
                Check::good("renewal", "by itself")
            } else {
                let advice = "when it has ended, sign in again";
                Check::warning("renewal", "the server gives none", advice).with_flag(self.login())
            });
        }
        let writer = self
            .written_by
            .map(|writer| Check::good("written-by", writer));
        checks.extend(writer);
        checks.extend(self.last_error.as_ref().map(LastError::check));
        checks
    }

    /// What signs in, ready to be typed.
    fn login(&self) -> String {
        let server = self.server.as_deref().unwrap_or("URL");
        let profile = self.profile.as_ref();
        let profile = profile.map(|name| format!(" --profile {name}"));
        format!("mcp-bridge login {server}{}", profile.unwrap_or_default())
    }

    fn validity(&self) -> Check {
        let id = "valid";
        match (&self.expires_at, self.expired) {
            (Some(at), Some(true)) if self.refreshable => {
                Check::good(id, format!("expired at {at}; renewed at the next use"))
            }
            (Some(at), Some(true)) => {
                let text = format!("expired at {at}; the next use asks to sign in");
                Check::warning(id, text, "to sign in now").with_flag(self.login())
            }
            (Some(at), _) => Check::good(id, format!("until {at}")),
            (None, _) => Check::good(id, "until the server says otherwise"),
        }
    }
}

impl LastError {
    fn check(&self) -> Check {
        let check = Check {
            mark: Mark::Warning,
            ..Check::good("last-error", format!("{} ({})", self.text, self.at))
        };
        match Kind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == self.kind)
        {
            Some(kind) => check.of_kind(kind),
            None => check,
        }
    }
}

/// RFC 3339, UTC, from Unix milliseconds.
fn rfc3339(millis: u64) -> String {
    log::iso8601(UNIX_EPOCH + Duration::from_millis(millis))
}

#[expect(
    clippy::disallowed_methods,
    reason = "expiry is shown by the wall clock"
)]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
