//! The inside of `authority`: what no request should look like.
//!
//! In: unknown and repeated parameters, headers that do not belong there. Out: values, which the
//! endpoints judge themselves (`authority_office`, `authority_grants`).

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::authority_office::{Office, Visit};

/// Members of a registration that a native client has a use for.
const REGISTRATION: [&str; 8] = [
    "client_name",
    "client_uri",
    "redirect_uris",
    "grant_types",
    "response_types",
    "token_endpoint_auth_method",
    "application_type",
    "scope",
];

impl Office {
    /// What no request to this endpoint should look like.
    pub(super) fn check_manners(&self, visit: &Visit) {
        let more = self.rules(|rules| rules.more_parameters.clone());
        let known = parameters_of(visit);
        let mut names = HashSet::new();
        for (name, _) in &visit.form {
            if !names.insert(name) {
                self.complain(visit, &format!("{name} comes twice"));
            }
            let expected = known.contains(&name.as_str()) || more.contains(name);
            if !known.is_empty() && !expected {
                self.complain(visit, &format!("an unexpected parameter {name}"));
            }
        }
        if matches!(visit.endpoint.as_str(), "/authorize" | "/activate") {
            return; // this is the person's browser
        }
        for name in ["cookie", "mcp-session-id", "referer", "origin"] {
            if visit.call.header(name).is_some() {
                self.complain(visit, &format!("it carries {name}"));
            }
        }
        let accept = visit.call.header("accept").unwrap_or_default();
        if visit.endpoint != "/revoke" && !accept.contains("application/json") {
            self.complain(visit, "it does not ask for JSON");
        }
        if visit.endpoint == "metadata" && visit.call.header("authorization").is_some() {
            self.complain(visit, "discovery carries credentials");
        }
        let kind = visit.call.header("content-type").unwrap_or_default();
        let wanted = match visit.endpoint.as_str() {
            "/register" => "application/json",
            "/token" | "/device" | "/revoke" => "application/x-www-form-urlencoded",
            _ => return,
        };
        if !kind.starts_with(wanted) {
            self.complain(visit, &format!("content-type is {kind:?}"));
        }
        if visit.call.query.is_some() {
            self.complain(visit, "it has a query");
        }
    }

    /// What a registration should not contain.
    pub(super) fn check_members(&self, visit: &Visit, asked: &Map<String, Value>) {
        let more = self.rules(|rules| rules.more_members.clone());
        for name in asked.keys() {
            let known = REGISTRATION.contains(&name.as_str()) || more.contains(name);
            if !known {
                self.complain(visit, &format!("an unexpected member {name}"));
            }
        }
        let empty = |value: &Value| {
            value.is_null() || value == &json!("") || value.as_array().is_some_and(Vec::is_empty)
        };
        // A client without redirects has no response types, and the default would be `code`.
        let says_nothing =
            |(name, value): (&String, &Value)| name != "response_types" && empty(value);
        if asked.iter().any(says_nothing) {
            self.complain(visit, "a member that says nothing");
        }
    }
}

fn parameters_of(visit: &Visit) -> &'static [&'static str] {
    match visit.endpoint.as_str() {
        "/authorize" => &[
            "response_type",
            "client_id",
            "redirect_uri",
            "scope",
            "state",
            "code_challenge",
            "code_challenge_method",
            "resource",
        ],
        "/token" => &[
            "grant_type",
            "code",
            "redirect_uri",
            "code_verifier",
            "refresh_token",
            "client_id",
            "client_secret",
            "client_assertion",
            "client_assertion_type",
            "scope",
            "resource",
            "device_code",
            "assertion",
            "audience",
            "requested_token_type",
            "subject_token",
            "subject_token_type",
        ],
        "/device" => &[
            "client_id",
            "client_secret",
            "client_assertion",
            "client_assertion_type",
            "scope",
            "resource",
        ],
        "/revoke" => &[
            "token",
            "token_type_hint",
            "client_id",
            "client_secret",
            "client_assertion",
            "client_assertion_type",
        ],
        _ => &[],
    }
}
