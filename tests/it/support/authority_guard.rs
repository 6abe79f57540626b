//! Makes a ready-made MCP server ask for tokens, and publish where they come from.
//!
//! In: which requests are let through, the challenge, protected resource metadata. Out: what the
//! server does with a request that may pass (`world`), the tokens themselves (`authority`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::authority::{AuthServer, merge, origin_of};
use super::authority_office::{Grant, Office};
use super::call::Call;
use super::reply::Reply;
use super::watched::Watched;

/// The well-known place of protected resource metadata (RFC 9728 §3).
const PLACE: &str = "/.well-known/oauth-protected-resource";

/// The doorkeeper of an MCP server. Clones are the same one; it may be changed while it stands.
#[derive(Clone)]
pub(crate) struct Guard {
    state: Arc<Watched<State>>,
}

/// What the doorkeeper goes by.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// Which requests need a token, by [`Call::key`]; none: all.
    pub(crate) only: Option<Vec<String>>,
    /// What a 401 says.
    pub(crate) challenge: Challenge,
    /// Scope that a challenge names.
    pub(crate) challenge_scope: Option<String>,
    /// Where the metadata stands.
    pub(crate) metadata: Place,
    /// Changes to the metadata (RFC 7396: null removes).
    pub(crate) metadata_edits: Value,
    /// The issuers it names; otherwise the servers it takes tokens from.
    pub(crate) issuers: Option<Vec<String>>,
    /// The resource identifier its metadata claims; otherwise the address that was asked. A token
    /// that is for a resource has to be for one that metadata claimed, or for an address where a
    /// client met a 401 (with HTTP+SSE, messages go elsewhere than where the client came in).
    pub(crate) resource: Option<String>,
    /// Scope that a tool, or a request by its [`Call::key`], needs.
    pub(crate) scopes: HashMap<String, String>,
    /// Refuses every token.
    pub(crate) refuses_all: bool,
    /// Scheme of challenges and tokens.
    pub(crate) scheme: String,
}

/// The `WWW-Authenticate` of a 401.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// `Bearer`, with `resource_metadata` where there is some, and the scope if one is set.
    Usual,
    /// `Bearer`, without `resource_metadata`.
    Bare,
    /// No such field.
    Absent,
    /// These fields; `{origin}` is filled in.
    Text(Vec<String>),
}

/// Where protected resource metadata stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// With the path of the MCP server behind the well-known one.
    Path,
    /// At the root alone.
    Root,
    /// There is none.
    Nowhere,
    /// At this path, which only the challenge tells.
    At(String),
}

struct State {
    door: Door,
    offices: Vec<Arc<Office>>,
    names: Vec<String>,
    /// Answers its authorization server's paths itself.
    hosts: Option<Arc<Office>>,
    /// Resources that clients were told of.
    resources: HashSet<String>,
    refusals: usize,
    admitted: usize,
    violations: Vec<String>,
}

impl Default for Door {
    fn default() -> Self {
        Self {
            only: None,
            challenge: Challenge::Usual,
            challenge_scope: None,
            metadata: Place::Path,
            metadata_edits: json!({}),
            issuers: None,
            resource: None,
            scopes: HashMap::new(),
            refuses_all: false,
            scheme: "Bearer".to_owned(),
        }
    }
}

impl Guard {
    /// Takes tokens of this authorization server, on every request.
    pub(crate) fn of(auth: &AuthServer) -> Self {
        Self::of_all(&[auth])
    }

    /// Takes tokens of these authorization servers.
    pub(crate) fn of_all(servers: &[&AuthServer]) -> Self {
        let state = State {
            door: Door::default(),
            offices: servers.iter().map(|auth| auth.office()).collect(),
            names: servers.iter().map(|auth| auth.issuer()).collect(),
            hosts: None,
            resources: HashSet::new(),
            refusals: 0,
            admitted: 0,
            violations: Vec::new(),
        };
        Self {
            state: Arc::new(Watched::new(state)),
        }
    }

    /// Takes tokens of this authorization server, whose endpoints and metadata also stand on the
    /// MCP server's own origin: that origin is what the metadata names as issuer.
    pub(crate) fn hosting(auth: &AuthServer) -> Self {
        let guard = Self::of(auth);
        guard.state.with(|state| {
            state.hosts = Some(auth.office());
            state.names.clear();
        });
        guard
    }

    /// Looks at what it goes by, or changes it.
    pub(crate) fn door<R>(&self, act: impl FnOnce(&mut Door) -> R) -> R {
        self.state.with(|state| act(&mut state.door))
    }

    /// Takes tokens of this authorization server alone from now on, and names it as issuer: the
    /// MCP server has moved to it.
    pub(crate) fn move_to(&self, auth: &AuthServer) {
        self.state.with(|state| {
            state.offices = vec![auth.office()];
            state.names = vec![auth.issuer()];
            state.hosts = None;
        });
    }

    /// Requests that were refused with 401 or 403 so far.
    pub(crate) fn refusals(&self) -> usize {
        self.state.with(|state| state.refusals)
    }

    /// Requests that came with a good token so far.
    pub(crate) fn admitted(&self) -> usize {
        self.state.with(|state| state.admitted)
    }

    /// Forgets and gives the rules that clients broke so far.
    pub(crate) fn take_violations(&self) -> Vec<String> {
        self.state
            .with(|state| std::mem::take(&mut state.violations))
    }

    /// The answer to a request that may not pass, or that is not for the MCP server.
    pub(crate) fn stop(&self, call: &Call) -> Option<Reply> {
        let (door, hosts) = self
            .state
            .with(|state| (state.door.clone(), state.hosts.clone()));
        if call.path.starts_with(PLACE) || door.metadata == Place::At(call.path.clone()) {
            return Some(self.metadata(call, &door));
        }
        if let Some(office) = hosts.filter(|_| Office::has(&call.path)) {
            return Some(office.answer(call));
        }
        if call.path.starts_with("/.well-known/") {
            return Some(Reply::text(404, "Not Found"));
        }
        if call
            .query
            .as_deref()
            .is_some_and(|query| query.contains("access_token="))
        {
            self.complain(call, "a token in the address");
        }
        let open = door
            .only
            .as_ref()
            .is_some_and(|keys| !keys.iter().any(|key| key == call.key()));
        let token = self.token(call, &door);
        let grant = token.as_deref().and_then(|token| self.look_up(token));
        let ours = |grant: &Grant| {
            let named = grant.resource.as_ref();
            named.is_none_or(|resource| self.state.with(|state| state.resources.contains(resource)))
        };
        let grant = grant.filter(ours).filter(|_| !door.refuses_all);
        if open && token.is_none() {
            return None;
        }
        let Some(grant) = grant else {
            return Some(self.refuse(call, &door, token.is_some()));
        };
        let tool = call.params().get("name").and_then(Value::as_str);
        let needed = tool.filter(|_| call.key() == "tools/call");
        let needed = needed.and_then(|tool| door.scopes.get(tool));
        let needed = needed.or_else(|| door.scopes.get(call.key()));
        if let Some(needed) = needed {
            let has = |wanted: &str| grant.scope.split(' ').any(|scope| scope == wanted);
            if !needed.split(' ').all(has) {
                return Some(self.want_more(call, &door, needed));
            }
        }
        self.state.with(|state| state.admitted += 1);
        None
    }

    fn token(&self, call: &Call, door: &Door) -> Option<String> {
        let header = call.header("authorization")?;
        let token = header.strip_prefix(&format!("{} ", door.scheme));
        if token.is_none() {
            self.complain(call, "authorization of another scheme");
        }
        Some(token.unwrap_or_default().to_owned())
    }

    fn look_up(&self, token: &str) -> Option<Grant> {
        let offices = self.state.with(|state| state.offices.clone());
        offices.iter().find_map(|office| office.look_up(token))
    }

    fn refuse(&self, call: &Call, door: &Door, had_token: bool) -> Reply {
        self.state.with(|state| {
            state.refusals += 1;
            state.resources.insert(address(call));
        });
        let reply = Reply::json(&json!({"error": "invalid_token"})).with_status(401);
        let mut parameters = Vec::new();
        match &door.challenge {
            Challenge::Absent => return reply,
            Challenge::Text(fields) => {
                let origin = origin_of(call);
                return fields.iter().fold(reply, |reply, field| {
                    reply.add_header("www-authenticate", &field.replace("{origin}", &origin))
                });
            }
            Challenge::Usual => parameters.extend(metadata_parameter(call, door)),
            Challenge::Bare => {}
        }
        if let Some(scope) = &door.challenge_scope {
            parameters.push(format!("scope=\"{scope}\""));
        }
        if had_token {
            parameters.push("error=\"invalid_token\"".to_owned());
        }
        let text = format!("{} {}", door.scheme, parameters.join(", "));
        reply.header("www-authenticate", text.trim_end())
    }

    fn want_more(&self, call: &Call, door: &Door, needed: &str) -> Reply {
        self.state.with(|state| state.refusals += 1);
        let mut parameters = vec![
            "error=\"insufficient_scope\"".to_owned(),
            format!("scope=\"{needed}\""),
        ];
        parameters.extend(metadata_parameter(call, door));
        let text = format!("{} {}", door.scheme, parameters.join(", "));
        Reply::json(&json!({"error": "insufficient_scope"}))
            .with_status(403)
            .header("www-authenticate", &text)
    }

    fn metadata(&self, call: &Call, door: &Door) -> Reply {
        for name in ["authorization", "cookie", "mcp-session-id"] {
            if call.header(name).is_some() {
                self.complain(call, &format!("discovery carries {name}"));
            }
        }
        let path = call.path.strip_prefix(PLACE);
        let stands = match &door.metadata {
            Place::Path => path.is_some_and(|path| !path.is_empty()),
            Place::Root => path == Some(""),
            Place::At(place) => *place == call.path,
            Place::Nowhere => false,
        };
        if !stands {
            return Reply::text(404, "Not Found");
        }
        let origin = origin_of(call);
        let own = format!("{origin}{}", path.unwrap_or_default());
        let names = self.state.with(|state| state.names.clone());
        let names = if names.is_empty() {
            vec![origin]
        } else {
            names
        };
        let mut document = json!({
            "resource": door.resource.clone().unwrap_or(own),
            "authorization_servers": door.issuers.clone().unwrap_or(names),
            "bearer_methods_supported": ["header"],
        });
        merge(&mut document, &door.metadata_edits);
        if let Some(resource) = document["resource"].as_str() {
            let resource = resource.to_owned();
            self.state.with(|state| state.resources.insert(resource));
        }
        Reply::json(&document)
    }

    fn complain(&self, call: &Call, complaint: &str) {
        self.state
            .with(|state| state.violations.push(format!("{complaint}: {call:?}")));
    }
}

/// Panics when a client broke a rule; [`LegacyRemote`](super::LegacyRemote) does it at its end.
pub(super) fn assert_clean(guard: &Guard) {
    let violations = guard.take_violations();
    assert!(
        violations.is_empty(),
        "the client broke rules of authorization:\n{violations:#?}"
    );
}

fn metadata_parameter(call: &Call, door: &Door) -> Option<String> {
    let origin = origin_of(call);
    let place = match &door.metadata {
        Place::Path => format!("{PLACE}{}", call.path),
        Place::Root => PLACE.to_owned(),
        Place::At(path) => path.clone(),
        Place::Nowhere => return None,
    };
    Some(format!("resource_metadata=\"{origin}{place}\""))
}

/// Where a request went, without the query.
fn address(call: &Call) -> String {
    format!("{}{}", origin_of(call), call.path)
}
