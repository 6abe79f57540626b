//! An OAuth authorization server on loopback that a test bends to its needs and that keeps a log.
//!
//! In: what a test says to it and asks of it. Out: how it answers (`authority_office`), the grants
//! (`authority_grants`), and the MCP server that wants its tokens (`authority_guard`).
//!
//! It does everything a careful server does: PKCE with S256, exact redirect addresses, client
//! authentication as registered, resource indicators, rotating refresh tokens that revoke the
//! whole family when one comes twice. What a client should not do is noted as a violation, and
//! dropping the server fails the test over it.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;

use serde_json::{Value, json};

use super::authority_office::{Client, Office, State, Visit};
use super::call::Call;
use super::remote::Remote;
use super::reply::Reply;
use super::tls::ServerTls;
use super::watched::DEADLINE;

/// How the server behaves; every field may be changed while it runs, with [`AuthServer::rules`].
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "every one is a switch that a test turns by itself"
)]
pub(crate) struct Rules {
    /// Path of the issuer, such as `/tenant`; empty for none. The endpoints stay where they are.
    pub(crate) issuer_path: String,
    /// The issuer it claims in metadata, `iss` and assertions; otherwise its origin and the path.
    pub(crate) issuer: Option<String>,
    /// Which forms of the metadata address answer.
    pub(crate) documents: Vec<Document>,
    /// Changes to the metadata (RFC 7396: null removes).
    pub(crate) metadata_edits: Value,
    /// Whether clients may register (RFC 7591).
    pub(crate) registration: bool,
    /// Changes to the answer to a registration (RFC 7396). The client is remembered as answered.
    pub(crate) registration_edits: Value,
    /// Initial access token that a registration needs.
    pub(crate) registration_token: Option<String>,
    /// Client authentication methods, as metadata lists them. A client that asks for another gets
    /// the first.
    pub(crate) client_methods: Vec<String>,
    /// Status of `invalid_client`.
    pub(crate) invalid_client_status: u16,
    /// Whether an https address is a client id (client ID metadata documents).
    pub(crate) metadata_documents: bool,
    /// Whether the port of a loopback redirect address may differ from the registered one.
    pub(crate) any_loopback_port: bool,
    /// What the person says.
    pub(crate) decision: Decision,
    /// The `iss` of authorization responses.
    pub(crate) iss: Iss,
    /// Scope that is granted; otherwise what was asked for.
    pub(crate) granted_scope: Option<String>,
    /// Life of an access token in seconds; none: no `expires_in`, and it lives on.
    pub(crate) expires_in: Option<u64>,
    /// Whether refresh tokens are given out.
    pub(crate) refresh_tokens: bool,
    /// Whether a refresh token is replaced when it is used.
    pub(crate) rotation: bool,
    /// Whether a replaced refresh token that comes again revokes the family; otherwise it works on.
    pub(crate) reuse_detection: bool,
    /// Changes to token answers (RFC 7396). What was issued stays issued.
    pub(crate) token_edits: Value,
    /// Whether `resource` has to be sent.
    pub(crate) wants_resource: bool,
    /// Whether a refresh has to name a scope.
    pub(crate) refresh_wants_scope: bool,
    /// Parameters of authorization requests that are fine beside the standard ones.
    pub(crate) more_parameters: Vec<String>,
    /// Members of registrations that are fine beside the usual ones.
    pub(crate) more_members: Vec<String>,
    /// Whether there is a device authorization endpoint (RFC 8628).
    pub(crate) device_flow: bool,
    /// Answers to polls for a device code, in order: an error code each; then `decision` counts.
    pub(crate) device_polls: VecDeque<String>,
    /// Changes to the answer of the device authorization endpoint (RFC 7396).
    pub(crate) device_edits: Value,
    /// Whether there is a revocation endpoint (RFC 7009).
    pub(crate) revocation: bool,
    /// Subject tokens that a token exchange takes.
    pub(crate) subject_tokens: Vec<String>,
    /// Assertions that the JWT bearer grant takes, as often as they come.
    pub(crate) assertions: Vec<String>,
}

/// Where metadata stands for an issuer (MCP 2025-11-25, Authorization Server Metadata Discovery).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    /// `/.well-known/oauth-authorization-server` before the issuer's path.
    OAuth,
    /// `/.well-known/openid-configuration` before the issuer's path.
    OpenIdBefore,
    /// `/.well-known/openid-configuration` behind the issuer's path.
    OpenIdBehind,
}

/// What the person does on the consent page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Agrees at once.
    Approve,
    /// Refuses.
    Deny,
    /// Looks at the page and does nothing.
    Nothing,
}

/// The `iss` parameter of an authorization response (RFC 9207).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Iss {
    /// Not sent, not advertised.
    Absent,
    /// Sent and advertised.
    Right,
    /// Sent with this text; metadata says what `metadata_edits` says.
    Text(String),
}

impl Default for Rules {
    fn default() -> Self {
        let methods = ["none", "client_secret_basic", "client_secret_post"];
        Self {
            issuer_path: String::new(),
            issuer: None,
            documents: vec![Document::OAuth],
            metadata_edits: json!({}),
            registration: true,
            registration_edits: json!({}),
            registration_token: None,
            client_methods: methods.map(str::to_owned).to_vec(),
            invalid_client_status: 401,
            metadata_documents: false,
            any_loopback_port: false,
            decision: Decision::Approve,
            iss: Iss::Right,
            granted_scope: None,
            expires_in: Some(3600),
            refresh_tokens: true,
            rotation: true,
            reuse_detection: true,
            token_edits: json!({}),
            wants_resource: true,
            refresh_wants_scope: false,
            more_parameters: Vec::new(),
            more_members: Vec::new(),
            device_flow: false,
            device_polls: VecDeque::new(),
            device_edits: json!({}),
            revocation: true,
            subject_tokens: Vec::new(),
            assertions: Vec::new(),
        }
    }
}

/// A running authorization server. Dropping it fails the test when a client broke a rule.
///
/// It may stay uncalled. [`Remote`]'s own methods (`stop`, `restart`, `origin`, …) work on it.
pub(crate) struct AuthServer {
    remote: Remote,
    office: Arc<Office>,
}

impl AuthServer {
    /// A server with the usual rules.
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// A server whose rules differ in something.
    pub(crate) fn with(change: impl FnOnce(&mut Rules)) -> Self {
        let office = Office::new(change);
        let answering = Arc::clone(&office);
        Self::around(office, Remote::serve(move |call| answering.answer(call)))
    }

    /// As [`with`](Self::with), over HTTPS.
    pub(crate) fn with_tls(tls: &ServerTls, change: impl FnOnce(&mut Rules)) -> Self {
        let office = Office::new(change);
        let answering = Arc::clone(&office);
        let remote = Remote::serve_tls(tls, move |call| answering.answer(call));
        Self::around(office, remote)
    }

    fn around(office: Arc<Office>, remote: Remote) -> Self {
        remote.may_stay_uncalled();
        Self { remote, office }
    }

    /// The issuer identifier that a protected resource names.
    pub(crate) fn issuer(&self) -> String {
        let rules = self.office.rules(|rules| rules.clone());
        let own = || format!("{}{}", self.remote.origin(), rules.issuer_path);
        rules.issuer.clone().unwrap_or_else(own)
    }

    /// Looks at the rules, or changes them.
    pub(crate) fn rules<R>(&self, act: impl FnOnce(&mut Rules) -> R) -> R {
        self.office.rules(act)
    }

    /// Answers an endpoint in another way: `metadata`, `/register`, `/authorize`, `/token`,
    /// `/device` or `/revoke`. [`Visit::usual`] acts and gives the usual answer, which may be held
    /// (`.after(&gate)`) or thrown away (the connection breaks after the server has acted). What
    /// was said last wins.
    pub(crate) fn on(
        &self,
        endpoint: &str,
        handler: impl Fn(&Visit) -> Reply + Send + Sync + 'static,
    ) {
        self.office.on(endpoint, None, Arc::new(handler));
    }

    /// As [`on`](Self::on), for the `nth` request to the endpoint alone (from now on; 1 is the next).
    pub(crate) fn on_nth(
        &self,
        endpoint: &str,
        nth: usize,
        handler: impl Fn(&Visit) -> Reply + Send + Sync + 'static,
    ) {
        let nth = self.count(endpoint) + nth;
        self.office.on(endpoint, Some(nth), Arc::new(handler));
    }

    /// Answers the `nth` request from now on with an OAuth error.
    pub(crate) fn fail_nth(&self, endpoint: &str, nth: usize, status: u16, error: &'static str) {
        self.on_nth(endpoint, nth, move |_| oauth_error(status, error));
    }

    /// Adds a client that nobody registered. Without a secret it is public; with one it has to
    /// authenticate with `method`.
    pub(crate) fn add_client(&self, id: &str, secret: Option<(&str, &str)>) {
        let (secret, method) = secret.map_or((None, "none"), |(secret, method)| {
            (Some(secret.to_owned()), method)
        });
        self.office.add_client(
            id,
            Client {
                secret,
                method: method.to_owned(),
                ..Client::default()
            },
        );
    }

    /// Adds a client that authenticates with `private_key_jwt` and ES256; gives its key, PKCS#8 PEM.
    pub(crate) fn add_key_client(&self, id: &str) -> String {
        let key = rcgen::KeyPair::generate().expect("a key");
        self.office.add_client(
            id,
            Client {
                method: "private_key_jwt".to_owned(),
                public_key: Some(key.public_key_raw().to_vec()),
                ..Client::default()
            },
        );
        key.serialize_pem()
    }

    /// Takes the assertions that `idp` hands out at its token exchange, each of them once.
    pub(crate) fn trust(&self, idp: &Self) {
        self.office.share_assertions(&idp.office);
    }

    /// Every request so far, in the order of arrival.
    pub(crate) fn visits(&self) -> Vec<Visit> {
        self.office.state.with(|state| state.visits.clone())
    }

    /// The requests to an endpoint or a path so far.
    pub(crate) fn visits_to(&self, endpoint: &str) -> Vec<Visit> {
        let mut visits = self.visits();
        visits.retain(|visit| visit.is_to(endpoint));
        visits
    }

    /// How many those are.
    pub(crate) fn count(&self, endpoint: &str) -> usize {
        self.visits_to(endpoint).len()
    }

    /// Registrations asked for.
    pub(crate) fn registrations(&self) -> Vec<Visit> {
        self.visits_to("/register")
    }

    /// Authorization requests.
    pub(crate) fn authorize_requests(&self) -> Vec<Visit> {
        self.visits_to("/authorize")
    }

    /// Token requests with this grant type.
    pub(crate) fn grants(&self, grant_type: &str) -> Vec<Visit> {
        let mut visits = self.visits_to("/token");
        visits.retain(|visit| visit.get("grant_type") == Some(grant_type));
        visits
    }

    /// Waits for the `nth` request to an endpoint (the first is 1).
    #[track_caller]
    pub(crate) fn wait_visit(&self, endpoint: &str, nth: usize) -> Visit {
        let found = self.office.state.wait(DEADLINE, |state| {
            let mut visits = state.visits.iter().filter(|visit| visit.is_to(endpoint));
            visits.nth(nth - 1).cloned()
        });
        found.unwrap_or_else(|| {
            let visits = self.visits();
            panic!("request {nth} to {endpoint} did not come; {visits:#?}")
        })
    }

    /// Access tokens given out so far.
    pub(crate) fn tokens_issued(&self) -> usize {
        self.office.state.with(|state| state.access.len())
    }

    /// The access token given out last.
    #[track_caller]
    pub(crate) fn last_token(&self) -> String {
        let last = self.office.state.with(|state| state.last_access.clone());
        last.expect("a token was given out")
    }

    /// How often a replaced refresh token came again.
    pub(crate) fn reuses(&self) -> usize {
        self.office.state.with(|state| state.reuses)
    }

    /// Everything secret that went through here: codes, tokens, client secrets, verifiers, states.
    pub(crate) fn secrets(&self) -> Vec<String> {
        self.office.secrets()
    }

    /// Forgets the clients that registered, as a server with its registrations in memory does when
    /// it starts again. Clients that were added stay.
    pub(crate) fn forget_clients(&self) {
        self.office
            .state
            .with(|state| state.clients.retain(|_, client| !client.registered));
    }

    /// Forgets the clients that registered, and every code and token.
    pub(crate) fn forget_everything(&self) {
        self.forget_clients();
        self.office.state.with(|state| {
            state.codes.clear();
            state.refresh.clear();
            state.end_access_tokens();
        });
    }

    /// Ends every access token given out so far; refresh tokens live on.
    pub(crate) fn end_access_tokens(&self) {
        self.office.state.with(State::end_access_tokens);
    }

    /// Ends every refresh token given out so far; access tokens live on.
    pub(crate) fn end_refresh_tokens(&self) {
        self.office.state.with(|state| state.refresh.clear());
    }

    /// Forgets and gives the rules that clients broke so far.
    pub(crate) fn take_violations(&self) -> Vec<String> {
        let state = &self.office.state;
        state.with(|state| std::mem::take(&mut state.violations))
    }

    /// Notes no violations, now and from now on.
    pub(crate) fn lenient(&self) {
        self.office.state.with(|state| {
            state.violations.clear();
            state.lenient = true;
        });
    }

    pub(super) fn office(&self) -> Arc<Office> {
        Arc::clone(&self.office)
    }
}

impl Deref for AuthServer {
    type Target = Remote;

    fn deref(&self) -> &Remote {
        &self.remote
    }
}

impl Drop for AuthServer {
    fn drop(&mut self) {
        let violations = self.take_violations();
        if !std::thread::panicking() && !violations.is_empty() {
            let visits = self.visits();
            panic!("a client broke rules:\n{violations:#?}\nits requests were:\n{visits:#?}");
        }
    }
}

/// An error answer (RFC 6749 §5.2).
pub(crate) fn oauth_error(status: u16, error: &str) -> Reply {
    Reply::json(&json!({"error": error, "error_description": "said by the test"}))
        .with_status(status)
        .header("cache-control", "no-store")
}

/// Scheme, host and port under which a request came.
pub(super) fn origin_of(call: &Call) -> String {
    let scheme = if call.secure { "https" } else { "http" };
    format!("{scheme}://{}", call.header("host").unwrap_or_default())
}

/// Changes `target` as RFC 7396 says.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in patch {
        if value.is_null() {
            target
                .as_object_mut()
                .expect("it is an object")
                .remove(name);
        } else {
            merge(&mut target[name], value);
        }
    }
}
