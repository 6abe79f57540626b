//! What to ask for at first, and what to add when the server wants more (MCP 2026-07-28,
//! Authorization, Scope Selection Strategy and Step-Up Authorization Flow; RFC 6749 §3.3).
//!
//! In: lists of scopes. Out: how often (`brake`, [`StepUps`]), and asking.

use std::collections::{HashMap, HashSet};

use super::challenge::Challenge;
use super::limits;
use super::metadata::{ResourceMetadata, ServerMetadata};
use super::settings::{Grant, Settings};
use crate::proto::text::sanitize;

/// Asks for a refresh token (`OpenID` Connect Core 1.0 §11).
const OFFLINE: &str = "offline_access";

/// Most characters of a dropped scope that are shown.
const SHOWN: usize = 64;

/// Where the scopes of a request come from, for error texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `--static-oauth-client-metadata` (or the given client).
    User,
    /// The challenge.
    Challenge,
    /// Protected resource metadata.
    Resource,
    /// Nobody says anything: the parameter is left out.
    Nobody,
}

/// Scopes to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Separated by single spaces; `None`: leave the parameter out.
    pub scope: Option<String>,
    /// Where they come from.
    pub origin: Origin,
    /// Sentences about scopes that were dropped.
    pub notes: Vec<String>,
}

/// Chooses the scopes of a sign-in: the user's, else the challenge's, else all of the resource's,
/// else none. `offline_access` is added where the server lists it, refresh tokens are wanted and
/// some scope is asked for; what the user chose stays as it is.
#[must_use]
pub fn select(
    settings: &Settings,
    challenge: &Challenge,
    resource: Option<&ResourceMetadata>,
    server: &ServerMetadata,
) -> Wanted {
    let mut notes = Vec::new();
    let mut chosen = (Vec::new(), Origin::Nobody);
    let listed = listed(resource);
    let sources = [
        (users_scope(settings), Origin::User),
        (challenge.scope.as_deref(), Origin::Challenge),
        (listed.as_deref(), Origin::Resource),
    ];
    for (scope, origin) in sources {
        let Some(scope) = scope else { continue };
        let (scopes, dropped) = clean(scope);
        notes.extend(dropped);
        // The user may want none at all; from anybody else an empty list says nothing.
        if !scopes.is_empty() || origin == Origin::User {
            chosen = (scopes, origin);
            break;
        }
    }
    let (mut scopes, origin) = chosen;
    let is_offered = server
        .scopes_supported
        .iter()
        .flatten()
        .any(|scope| scope == OFFLINE);
    let is_ours = origin != Origin::User && !scopes.is_empty();
    let is_missing = is_ours && !scopes.iter().any(|scope| scope == OFFLINE);
    if is_offered && is_missing && wants_refresh(settings) {
        scopes.push(OFFLINE.to_owned());
    }
    Wanted {
        scope: joined(&scopes),
        origin,
        notes,
    }
}

/// The scopes of a step-up: those asked for so far and those of the challenge, in a stable order.
/// A challenge that names none asks for what the resource lists and was not asked for yet.
/// `None`: nothing would be gained, the server wants nothing beyond what was granted. A grant of
/// `None` is all that was asked for (RFC 6749 §5.1).
#[must_use]
pub fn step_up(
    requested: Option<&str>,
    granted: Option<&str>,
    challenge: &Challenge,
    resource: Option<&ResourceMetadata>,
) -> Option<String> {
    let (mut scopes, _) = clean(requested.unwrap_or_default());
    let (granted, _) = clean(granted.or(requested).unwrap_or_default());
    let (demanded, _) = clean(challenge.scope.as_deref().unwrap_or_default());
    let (demanded, had) = if demanded.is_empty() {
        let (listed, _) = clean(&listed(resource)?);
        (listed, &scopes)
    } else {
        (demanded, &granted)
    };
    let had: HashSet<&str> = had.iter().map(String::as_str).collect();
    if demanded.iter().all(|scope| had.contains(scope.as_str())) {
        return None;
    }
    let known: HashSet<String> = scopes.iter().cloned().collect();
    scopes.extend(demanded.into_iter().filter(|scope| !known.contains(scope)));
    joined(&scopes)
}

/// Syntax of RFC 6749 §3.3: valid tokens once each, in order, up to [`limits::SCOPES`]; what is
/// dropped is described.
#[must_use]
pub fn clean(scope: &str) -> (Vec<String>, Vec<String>) {
    let mut scopes = Vec::new();
    let mut seen = HashSet::new();
    let mut invalid = Dropped::default();
    let mut surplus = Dropped::default();
    for token in scope.split(' ').filter(|token| !token.is_empty()) {
        if !is_token(token) {
            invalid.add(token);
        } else if seen.contains(token) {
        } else if scopes.len() == limits::SCOPES {
            surplus.add(token);
        } else {
            seen.insert(token);
            scopes.push(token.to_owned());
        }
    }
    let notes = [
        invalid.note("not valid scopes"),
        surplus.note(&format!("beyond the first {}", limits::SCOPES)),
    ];
    (scopes, notes.into_iter().flatten().collect())
}

/// Step-ups so far, by operation (`tools/call NAME`).
#[derive(Debug, Default)]
pub struct StepUps {
    counts: HashMap<String, u32>,
    last: HashMap<String, (Vec<String>, Vec<String>)>,
}

impl StepUps {
    /// Whether one more is allowed for this operation; counts it.
    pub fn allow(&mut self, operation: &str) -> bool {
        let count = self.counts.entry(operation.to_owned()).or_default();
        *count += 1;
        *count <= limits::STEP_UPS
    }

    /// Whether this operation is refused again with the same demand though a step-up lies between,
    /// and that brought nothing. Remembers demand and grant for the next time.
    pub fn is_stuck(
        &mut self,
        operation: &str,
        demanded: Option<&str>,
        granted: Option<&str>,
    ) -> bool {
        let sorted = |scope: Option<&str>| {
            let (mut scopes, _) = clean(scope.unwrap_or_default());
            scopes.sort_unstable();
            scopes
        };
        let now = (sorted(demanded), sorted(granted));
        let before = self.last.insert(operation.to_owned(), now.clone());
        before == Some(now)
    }

    /// The operation succeeded.
    pub fn succeeded(&mut self, operation: &str) {
        self.counts.remove(operation);
        self.last.remove(operation);
    }
}

/// Scopes that were left out, of which one is shown.
#[derive(Default)]
struct Dropped {
    count: usize,
    first: String,
}

impl Dropped {
    fn add(&mut self, token: &str) {
        if self.count == 0 {
            self.first = sanitize(token, SHOWN);
        }
        self.count += 1;
    }

    fn note(&self, why: &str) -> Option<String> {
        let scopes = match self.count {
            0 => return None,
            1 => format!("the scope `{}`", self.first),
            count => format!("{count} scopes (`{}` first)", self.first),
        };
        Some(format!("left out {scopes}: {why}"))
    }
}

fn users_scope(settings: &Settings) -> Option<&str> {
    let metadata = settings.client_metadata.get("scope");
    let given = settings.given_client.as_ref();
    metadata
        .and_then(|scope| scope.as_str())
        .or_else(|| given.and_then(|client| client.scope.as_deref()))
}

fn listed(resource: Option<&ResourceMetadata>) -> Option<String> {
    Some(resource?.scopes_supported.as_ref()?.join(" "))
}

/// Whether the grant can bring a refresh token, and the user's own `grant_types` do not forego it.
fn wants_refresh(settings: &Settings) -> bool {
    let users = settings.client_metadata.get("grant_types");
    let forgoes = users
        .and_then(|types| types.as_array())
        .is_some_and(|types| !types.iter().any(|grant| grant == "refresh_token"));
    matches!(settings.grant, Grant::Browser | Grant::Device) && !forgoes
}

fn is_token(token: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    token.len() <= limits::SCOPE && token.bytes().all(is_valid)
}

fn joined(scopes: &[String]) -> Option<String> {
    (!scopes.is_empty()).then(|| scopes.join(" "))
}

#[cfg(test)]
mod tests;
