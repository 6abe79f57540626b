//! A small authorization server (OAuth 2.1): metadata, registration, a consent page, tokens.
//!
//! It forgets everything when it ends, and it trusts whoever presses the button.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::{HeaderMap, Method, StatusCode, Uri};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;

/// Everything that was registered, asked and given.
#[derive(Default)]
pub(crate) struct Authority {
    secrets: RandomState,
    given_out: u64,
    clients: HashMap<String, Registration>,
    /// Requests that a person has not decided on, by their number.
    asked: HashMap<String, Asked>,
    codes: HashMap<String, Asked>,
    tokens: HashSet<String>,
}

#[derive(Clone, Default)]
struct Registration {
    name: String,
    redirect_uris: Vec<String>,
}

/// What the bridge asked for when it sent the person here.
#[derive(Clone)]
struct Asked {
    client: String,
    redirect_uri: String,
    state: String,
    /// The SHA-256 of a secret that only the bridge has (PKCE, RFC 7636).
    challenge: String,
}

/// An answer, and what it means to whoever watches.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
    pub(crate) meaning: String,
}

impl Authority {
    /// Whether a request brings a token of this server.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        headers
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .is_some_and(|token| self.tokens.contains(token))
    }

    /// The answer to a request without a good token (RFC 9728 §5.1).
    pub(crate) fn challenge(origin: &str) -> Reply {
        let place = format!("{origin}/.well-known/oauth-protected-resource/mcp");
        Reply {
            headers: vec![(
                "www-authenticate",
                format!("Bearer resource_metadata=\"{place}\""),
            )],
            ..json_reply(
                StatusCode::UNAUTHORIZED,
                &json!({}),
                "sign in first; this says where to learn how",
            )
        }
    }

    /// What stands at this address; `None` if it is none of ours.
    pub(crate) fn answer(
        &mut self,
        method: &Method,
        uri: &Uri,
        body: &[u8],
        origin: &str,
    ) -> Option<Reply> {
        let query = pairs(uri.query().unwrap_or_default().as_bytes());
        Some(match (method.as_str(), uri.path()) {
            ("GET", "/.well-known/oauth-protected-resource/mcp") => json_reply(
                StatusCode::OK,
                &json!({"resource": format!("{origin}/mcp"), "authorization_servers": [origin]}),
                "who gives out tokens for this server",
            ),
            ("GET", "/.well-known/oauth-authorization-server") => json_reply(
                StatusCode::OK,
                &json!({
                    "issuer": origin,
                    "authorization_endpoint": format!("{origin}/authorize"),
                    "token_endpoint": format!("{origin}/token"),
                    "registration_endpoint": format!("{origin}/register"),
                    "response_types_supported": ["code"],
                    "grant_types_supported": ["authorization_code"],
                    "code_challenge_methods_supported": ["S256"],
                    "token_endpoint_auth_methods_supported": ["none"],
                    "authorization_response_iss_parameter_supported": true,
                }),
                "where it registers clients, asks people, gives tokens",
            ),
            ("POST", "/register") => self.register(body),
            ("GET", "/authorize") => self.ask(&query),
            ("POST", "/consent") => self.consent(&pairs(body), origin),
            ("POST", "/token") => self.exchange(&pairs(body)),
            _ => return None,
        })
    }

    /// Dynamic client registration (RFC 7591).
    fn register(&mut self, body: &[u8]) -> Reply {
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let uris = asked["redirect_uris"].as_array();
        let registration = Registration {
            name: text(&asked["client_name"]),
            redirect_uris: uris.into_iter().flatten().map(text).collect(),
        };
        let client = self.secret("client");
        let answer = json!({
            "client_id": client,
            "client_name": registration.name,
            "redirect_uris": registration.redirect_uris,
            "token_endpoint_auth_method": "none",
        });
        let meaning = format!("\"{}\" is a client now", registration.name);
        self.clients.insert(client, registration);
        json_reply(StatusCode::CREATED, &answer, &meaning)
    }

    /// The page that asks the person.
    fn ask(&mut self, query: &HashMap<String, String>) -> Reply {
        let field = |name: &str| query.get(name).cloned().unwrap_or_default();
        let asked = Asked {
            client: field("client_id"),
            redirect_uri: field("redirect_uri"),
            state: field("state"),
            challenge: field("code_challenge"),
        };
        let Some(client) = self.clients.get(&asked.client) else {
            return page(StatusCode::BAD_REQUEST, "<p>This client is not known.</p>");
        };
        if !client.redirect_uris.contains(&asked.redirect_uri) || asked.challenge.is_empty() {
            return page(StatusCode::BAD_REQUEST, "<p>This is no request of it.</p>");
        }
        let name = escape(&client.name);
        let number = self.secret("request");
        self.asked.insert(number.clone(), asked);
        let form = format!(
            "<h1>{name} wants to use demo-server</h1>\
             <p>It may add numbers and count down, in your name.</p>\
             <form method=\"post\" action=\"/consent\">\
             <button name=\"request\" value=\"{number}\">Allow</button></form>"
        );
        page(StatusCode::OK, &form)
    }

    /// The person pressed the button: back to the bridge, with a code.
    fn consent(&mut self, form: &HashMap<String, String>, origin: &str) -> Reply {
        let number = form.get("request").map_or("", String::as_str);
        let Some(asked) = self.asked.remove(number) else {
            return page(
                StatusCode::BAD_REQUEST,
                "<p>This was decided on already.</p>",
            );
        };
        let code = self.secret("code");
        let answer = form_urlencoded::Serializer::new(String::new())
            .append_pair("code", &code)
            .append_pair("state", &asked.state)
            .append_pair("iss", origin)
            .finish();
        let location = format!("{}?{answer}", asked.redirect_uri);
        self.codes.insert(code, asked);
        Reply {
            status: StatusCode::SEE_OTHER,
            headers: vec![("location", location)],
            body: String::new(),
            meaning: "allowed: the browser takes a code to the bridge".to_owned(),
        }
    }

    /// A code becomes a token, once, for whoever has the secret behind the challenge.
    fn exchange(&mut self, form: &HashMap<String, String>) -> Reply {
        let field = |name: &str| form.get(name).cloned().unwrap_or_default();
        let proof = URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier")));
        let asked = self.codes.remove(&field("code")).filter(|asked| {
            asked.client == field("client_id")
                && asked.redirect_uri == field("redirect_uri")
                && asked.challenge == proof
        });
        if asked.is_none() {
            let error = json!({"error": "invalid_grant"});
            return json_reply(StatusCode::BAD_REQUEST, &error, "refused");
        }
        let token = self.secret("token");
        let answer = json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600});
        self.tokens.insert(token);
        json_reply(
            StatusCode::OK,
            &answer,
            "the code, and the proof that it is the bridge's, for a token",
        )
    }

    /// A text that nobody can guess.
    fn secret(&mut self, kind: &str) -> String {
        let mut secret = format!("{kind}-");
        for _ in 0..2 {
            self.given_out += 1;
            let half = self.secrets.hash_one(self.given_out);
            // Writing to a string cannot fail.
            let _ = write!(secret, "{half:016x}");
        }
        secret
    }
}

fn pairs(text: &[u8]) -> HashMap<String, String> {
    form_urlencoded::parse(text).into_owned().collect()
}

fn json_reply(status: StatusCode, body: &Value, meaning: &str) -> Reply {
    Reply {
        status,
        headers: vec![
            ("content-type", "application/json".to_owned()),
            ("cache-control", "no-store".to_owned()),
        ],
        body: body.to_string(),
        meaning: meaning.to_owned(),
    }
}

fn page(status: StatusCode, content: &str) -> Reply {
    let style = "body{font:1rem/1.5 system-ui,sans-serif;max-width:30rem;margin:15vh auto;padding:0 1rem}\
                 button{font:inherit;padding:.5em 2em}:root{color-scheme:light dark}";
    Reply {
        status,
        headers: vec![("content-type", "text/html; charset=utf-8".to_owned())],
        body: format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
             <title>demo-server</title><style>{style}</style>{content}"
        ),
        meaning: "the consent page, for the person".to_owned(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}
