//! The inside of `authority`: what it knows, the log, metadata, registration, the consent page.
//!
//! In: every endpoint up to the consent page. Out: the token, device and revocation endpoints
//! (`authority_grants`), what a client may send to each (`authority_manners`).

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};
use url::Url;
use url::form_urlencoded;

use super::authority::{Decision, Document, Iss, Rules, merge, oauth_error, origin_of};
use super::call::Call;
use super::reply::Reply;
use super::watched::Watched;

pub(super) type Handler = Arc<dyn Fn(&Visit) -> Reply + Send + Sync>;

/// What the server knows. The same office may answer on several origins.
pub(super) struct Office {
    pub(super) state: Watched<State>,
    handlers: Mutex<Vec<(String, Option<usize>, Handler)>>,
    assertions: Mutex<Arc<Watched<HashSet<String>>>>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) rules: Rules,
    pub(super) visits: Vec<Visit>,
    pub(super) violations: Vec<String>,
    pub(super) lenient: bool,
    pub(super) clients: HashMap<String, Client>,
    pub(super) codes: HashMap<String, Code>,
    pub(super) refresh: HashMap<String, Refresh>,
    pub(super) access: HashMap<String, Access>,
    pub(super) last_access: Option<String>,
    pub(super) devices: HashMap<String, Grant>,
    pub(super) seen_jti: HashSet<String>,
    pub(super) reuses: usize,
    pub(super) secrets: Vec<String>,
    serial: usize,
}

/// A client the server knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    pub(super) secret: Option<String>,
    pub(super) method: String,
    /// Its redirect addresses; none: any loopback address will do.
    pub(super) redirects: Vec<String>,
    /// Uncompressed P-256 point, for `private_key_jwt`.
    pub(super) public_key: Option<Vec<u8>>,
    pub(super) registered: bool,
}

/// What somebody was allowed.
#[derive(Clone, Debug, Default)]
pub(super) struct Grant {
    pub(super) client: String,
    pub(super) scope: String,
    pub(super) resource: Option<String>,
    pub(super) family: usize,
}

pub(super) struct Code {
    pub(super) grant: Grant,
    pub(super) redirect: String,
    pub(super) challenge: String,
}

pub(super) struct Refresh {
    pub(super) grant: Grant,
    pub(super) replaced: bool,
}

pub(super) struct Access {
    pub(super) grant: Grant,
    pub(super) until: Option<Instant>,
    pub(super) ended: bool,
}

/// One request to the server.
#[derive(Clone)]
pub(crate) struct Visit {
    /// The endpoint: its path, or `metadata` for every form of that.
    pub(crate) endpoint: String,
    /// 1 for the first request to this endpoint.
    pub(crate) nth: usize,
    /// The request.
    pub(crate) call: Call,
    /// Query of a GET, form of a POST; nothing for a JSON body.
    pub(crate) form: Vec<(String, String)>,
    office: Arc<Office>,
}

impl Visit {
    /// Acts, and gives the server's own answer.
    pub(crate) fn usual(&self) -> Reply {
        self.office.usual(self)
    }

    /// The first parameter with this name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.form.iter();
        pairs
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The scopes it asks for, in order.
    pub(crate) fn scopes(&self) -> Vec<&str> {
        self.get("scope")
            .map_or_else(Vec::new, |scope| scope.split(' ').collect())
    }

    /// Id and secret of HTTP Basic, decoded (RFC 6749 §2.3.1).
    pub(crate) fn basic(&self) -> Option<(String, String)> {
        use base64::Engine as _;
        let header = self.call.header("authorization")?;
        let packed = header.strip_prefix("Basic ")?;
        let engine = base64::engine::general_purpose::STANDARD;
        let text = String::from_utf8(engine.decode(packed).ok()?).ok()?;
        let (id, secret) = text.split_once(':')?;
        let plain = |text: &str| {
            let pair = format!("x={text}");
            let mut pairs = form_urlencoded::parse(pair.as_bytes());
            pairs
                .next()
                .map_or_else(String::new, |(_, value)| value.into_owned())
        };
        Some((plain(id), plain(secret)))
    }

    /// Whether it went to this endpoint or path.
    pub(super) fn is_to(&self, endpoint: &str) -> bool {
        self.endpoint == endpoint || self.call.path == endpoint
    }
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.call)
    }
}

impl Office {
    pub(super) fn new(change: impl FnOnce(&mut Rules)) -> Arc<Self> {
        let mut state = State::default();
        change(&mut state.rules);
        Arc::new(Self {
            state: Watched::new(state),
            handlers: Mutex::default(),
            assertions: Mutex::default(),
        })
    }

    pub(super) fn rules<R>(&self, act: impl FnOnce(&mut Rules) -> R) -> R {
        self.state.with(|state| act(&mut state.rules))
    }

    pub(super) fn on(&self, endpoint: &str, nth: Option<usize>, handler: Handler) {
        let mut handlers = self.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        handlers.push((endpoint.to_owned(), nth, handler));
    }

    /// The handler that was set last of those that are for this request.
    fn handler(&self, visit: &Visit) -> Option<Handler> {
        let handlers = self.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        let is_for = |(endpoint, nth, _): &&(String, Option<usize>, Handler)| {
            *endpoint == visit.endpoint && nth.is_none_or(|nth| nth == visit.nth)
        };
        let found = handlers.iter().rev().find(is_for);
        found.map(|(.., handler)| Arc::clone(handler))
    }

    pub(super) fn add_client(&self, id: &str, client: Client) {
        self.state.with(|state| {
            state.secrets.extend(client.secret.clone());
            state.clients.insert(id.to_owned(), client);
        });
    }

    pub(super) fn assertions(&self) -> Arc<Watched<HashSet<String>>> {
        let slot = self.assertions.lock();
        Arc::clone(&slot.unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn share_assertions(&self, other: &Self) {
        let shared = other.assertions();
        let slot = self.assertions.lock();
        *slot.unwrap_or_else(PoisonError::into_inner) = shared;
    }

    pub(super) fn secrets(&self) -> Vec<String> {
        self.state.with(|state| {
            let mut secrets = state.secrets.clone();
            for visit in &state.visits {
                for name in ["state", "code_verifier", "client_assertion"] {
                    secrets.extend(visit.get(name).map(str::to_owned));
                }
            }
            secrets.sort();
            secrets.dedup();
            secrets
        })
    }

    /// Whether an office has something at a path; for servers that host it beside something else.
    pub(super) fn has(path: &str) -> bool {
        endpoint_of(path).is_some()
    }

    /// Answers one request.
    pub(super) fn answer(self: &Arc<Self>, call: &Call) -> Reply {
        let endpoint = endpoint_of(&call.path).unwrap_or(call.path.as_str());
        let text = match call.verb.as_str() {
            "GET" => call.query.clone().unwrap_or_default(),
            _ if call.json.is_null() => call.text(),
            _ => String::new(),
        };
        let pairs = form_urlencoded::parse(text.as_bytes());
        let form = pairs
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect();
        let mut visit = Visit {
            endpoint: endpoint.to_owned(),
            nth: 0,
            call: call.clone(),
            form,
            office: Arc::clone(self),
        };
        self.state.with(|state| {
            let before = state
                .visits
                .iter()
                .filter(|seen| seen.endpoint == visit.endpoint);
            visit.nth = before.count() + 1;
            state.visits.push(visit.clone());
        });
        match self.handler(&visit) {
            Some(handler) => handler(&visit),
            None => self.usual(&visit),
        }
    }

    fn usual(&self, visit: &Visit) -> Reply {
        self.check_manners(visit);
        match (visit.endpoint.as_str(), visit.call.verb.as_str()) {
            ("metadata", "GET") => self.metadata(visit),
            ("/register", "POST") => self.register(visit),
            ("/authorize", "GET") => self.authorize(visit),
            ("/token", "POST") => self.token(visit),
            ("/device", "POST") => self.device(visit),
            ("/revoke", "POST") => self.revoke(visit),
            ("/activate", "GET") => Reply::html(200, "<title>Enter your code</title>"),
            ("metadata" | "/register" | "/authorize" | "/token" | "/device" | "/revoke", _) => {
                self.complain(visit, "a method that is not for this endpoint");
                Reply::text(405, "Method Not Allowed")
            }
            _ => Reply::text(404, "Not Found"),
        }
    }

    pub(super) fn issuer(&self, visit: &Visit) -> String {
        self.rules(|rules| {
            let own = || format!("{}{}", origin_of(&visit.call), rules.issuer_path);
            rules.issuer.clone().unwrap_or_else(own)
        })
    }

    /// Notes what is wrong with a request.
    pub(super) fn complain(&self, visit: &Visit, complaint: &str) {
        self.state.with(|state| {
            if !state.lenient {
                state.violations.push(format!("{complaint}: {visit:?}"));
            }
        });
    }

    fn metadata(&self, visit: &Visit) -> Reply {
        let rules = self.rules(|rules| rules.clone());
        let path = rules.issuer_path.as_str();
        let place = |document: &Document| match document {
            Document::OAuth => format!("/.well-known/oauth-authorization-server{path}"),
            Document::OpenIdBefore => format!("/.well-known/openid-configuration{path}"),
            Document::OpenIdBehind => format!("{path}/.well-known/openid-configuration"),
        };
        if !rules
            .documents
            .iter()
            .map(place)
            .any(|place| place == visit.call.path)
        {
            return Reply::text(404, "Not Found");
        }
        let origin = origin_of(&visit.call);
        let mut grants = vec!["authorization_code", "refresh_token", "client_credentials"];
        let mut document = json!({
            "issuer": self.issuer(visit),
            "authorization_endpoint": format!("{origin}/authorize"),
            "token_endpoint": format!("{origin}/token"),
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": rules.client_methods,
            "authorization_response_iss_parameter_supported": rules.iss == Iss::Right,
            "client_id_metadata_document_supported": rules.metadata_documents,
        });
        if rules.registration {
            document["registration_endpoint"] = json!(format!("{origin}/register"));
        }
        if rules.device_flow {
            grants.push("urn:ietf:params:oauth:grant-type:device_code");
            document["device_authorization_endpoint"] = json!(format!("{origin}/device"));
        }
        if rules.revocation {
            document["revocation_endpoint"] = json!(format!("{origin}/revoke"));
        }
        document["grant_types_supported"] = json!(grants);
        merge(&mut document, &rules.metadata_edits);
        Reply::json(&document)
    }

    fn register(&self, visit: &Visit) -> Reply {
        let rules = self.rules(|rules| rules.clone());
        let Value::Object(asked) = &visit.call.json else {
            return oauth_error(400, "invalid_client_metadata");
        };
        if !rules.registration {
            return Reply::html(404, "<title>Not Found</title>");
        }
        let bearer = visit.call.header("authorization");
        let wanted = rules
            .registration_token
            .as_ref()
            .map(|token| format!("Bearer {token}"));
        if bearer != wanted {
            return oauth_error(401, "invalid_token");
        }
        self.check_members(visit, asked);
        let (id, secret) = (self.fresh("client"), self.secret("client-secret"));
        let method = asked
            .get("token_endpoint_auth_method")
            .and_then(Value::as_str)
            .unwrap_or("client_secret_basic");
        let listed = rules.client_methods.iter().any(|known| known == method);
        let first = rules.client_methods.first().map_or("none", String::as_str);
        let method = if listed { method } else { first };
        let mut answer = visit.call.json.clone();
        answer["client_id"] = json!(id);
        answer["token_endpoint_auth_method"] = json!(method);
        if method.starts_with("client_secret") {
            answer["client_secret"] = json!(secret);
            answer["client_secret_expires_at"] = json!(0);
        }
        merge(&mut answer, &rules.registration_edits);
        let redirects = answer["redirect_uris"].as_array();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let client = Client {
            secret: text(&answer["client_secret"]),
            method: text(&answer["token_endpoint_auth_method"]).unwrap_or_default(),
            redirects: redirects
                .map(|all| all.iter().filter_map(text).collect())
                .unwrap_or_default(),
            public_key: None,
            registered: true,
        };
        if let Some(id) = answer["client_id"].as_str() {
            self.add_client(id, client);
        }
        Reply::json(&answer).with_status(201)
    }

    fn authorize(&self, visit: &Visit) -> Reply {
        let rules = self.rules(|rules| rules.clone());
        let get = |name| visit.get(name).unwrap_or_default();
        let (client, redirect) = (get("client_id"), get("redirect_uri"));
        let known = self.state.with(|state| state.clients.get(client).cloned());
        let by_document = rules.metadata_documents && client.starts_with("https://");
        let Some(known) = known.or(by_document.then(Client::default)) else {
            return Reply::html(400, "<title>Unknown client</title>");
        };
        let fits = |registered: &String| {
            registered == redirect
                || (rules.any_loopback_port && without_port(registered) == without_port(redirect))
        };
        let loopback = without_port(redirect).is_some();
        let fine = known.redirects.iter().any(fits) || (known.redirects.is_empty() && loopback);
        if !fine {
            return Reply::html(
                400,
                "<title>This redirect address is not registered</title>",
            );
        }
        for (name, holds) in [
            ("response_type is not code", get("response_type") == "code"),
            (
                "no S256 challenge",
                get("code_challenge_method") == "S256" && get("code_challenge").len() == 43,
            ),
            ("a state of less than 128 bits", get("state").len() >= 22),
            (
                "no resource",
                visit.get("resource").is_some() || !rules.wants_resource,
            ),
        ] {
            if !holds {
                self.complain(visit, name);
            }
        }
        let mut target = Url::parse(redirect).expect("it was registered");
        let scope = rules.granted_scope.unwrap_or_else(|| get("scope").into());
        {
            let mut answer = target.query_pairs_mut();
            match rules.decision {
                Decision::Nothing => return Reply::html(200, "<title>Sign in</title>"),
                Decision::Deny => answer.append_pair("error", "access_denied"),
                Decision::Approve => {
                    let code = self.secret("code");
                    answer.append_pair("code", &code);
                    let grant = Grant {
                        client: client.to_owned(),
                        scope,
                        resource: visit.get("resource").map(str::to_owned),
                        family: self.serial(),
                    };
                    let entry = Code {
                        grant,
                        redirect: redirect.to_owned(),
                        challenge: get("code_challenge").to_owned(),
                    };
                    self.state.with(|state| state.codes.insert(code, entry));
                    &mut answer
                }
            };
            if let Some(state) = visit.get("state") {
                answer.append_pair("state", state);
            }
            match &rules.iss {
                Iss::Absent => {}
                Iss::Right => {
                    answer.append_pair("iss", &self.issuer(visit));
                }
                Iss::Text(text) => {
                    answer.append_pair("iss", text);
                }
            }
        }
        Reply::redirect(302, target.as_str())
    }

    /// A number nobody had before.
    pub(super) fn serial(&self) -> usize {
        self.state.with(|state| {
            state.serial += 1;
            state.serial
        })
    }

    /// A name nobody had before, on any server of this test run.
    pub(super) fn fresh(&self, kind: &str) -> String {
        let own = std::ptr::from_ref(self).addr() >> 4;
        format!("{kind}-{own:x}-{}", self.serial())
    }

    /// As [`fresh`](Self::fresh), and remembered as a secret.
    pub(super) fn secret(&self, kind: &str) -> String {
        let secret = self.fresh(kind);
        self.state.with(|state| state.secrets.push(secret.clone()));
        secret
    }
}

impl State {
    pub(super) fn end_access_tokens(&mut self) {
        for access in self.access.values_mut() {
            access.ended = true;
        }
    }
}

fn endpoint_of(path: &str) -> Option<&str> {
    let well_known = path.starts_with("/.well-known/oauth-authorization-server")
        || path.contains("/.well-known/openid-configuration");
    let own = [
        "/register",
        "/authorize",
        "/token",
        "/device",
        "/revoke",
        "/activate",
    ];
    if well_known {
        Some("metadata")
    } else {
        own.contains(&path).then_some(path)
    }
}

/// A loopback address without its port.
fn without_port(address: &str) -> Option<String> {
    let mut url = Url::parse(address).ok()?;
    let host = url.host_str()?;
    let loopback = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
    url.set_port(None).ok()?;
    loopback.then(|| url.into())
}
