//! Registering a client (RFC 7591): what is sent, what the answer means, what a refusal leaves to
//! try.
//!
//! In: bodies. Out: whether to register at all (`super::choose`), sending.

use serde_json::{Map, Value, json};

use super::super::answer::{self, Members, Refused, Unusable};
use super::super::metadata::ServerMetadata;
use super::super::settings::{DEVICE_GRANT, Grant, JWT_GRANT, Settings};
use super::{BASIC, Client, ClientAuth, NONE, POST, Provenance, Registered, fits, quoted};
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::secret::Secret;

/// `client_name` of a registration, unless the user names another.
const CLIENT_NAME: &str = "mcp-bridge";

/// What a server may have against a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    Scope,
    RefreshGrant,
    ApplicationType,
    /// It does not say.
    Anything,
}

impl Blame {
    /// What the refusal is about, as far as one can tell; `None` if no change would help.
    fn of(status: u16, code: Option<&str>, description: Option<&str>) -> Option<Self> {
        let description = description.unwrap_or_default().to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| description.contains(word));
        // Keycloak forbids scopes that it does not know.
        let scope = code == Some("invalid_scope") || says(&["scope"]);
        match status {
            403 if says(&["scope"]) => Some(Self::Scope),
            400 | 422 if scope => Some(Self::Scope),
            400 | 422 if says(&["refresh", "grant_type", "grant type"]) => Some(Self::RefreshGrant),
            400 | 422 if code == Some("invalid_redirect_uri") => Some(Self::ApplicationType),
            400 | 422 if says(&["application", "redirect"]) => Some(Self::ApplicationType),
            400 => Some(Self::Anything),
            422 if code == Some("invalid_client_metadata") => Some(Self::Anything),
            _ => None,
        }
    }

    /// Leaves out or changes what is blamed.
    fn adjust(self, body: &mut Map<String, Value>) {
        if matches!(self, Self::Scope | Self::Anything) {
            body.remove("scope");
        }
        if matches!(self, Self::ApplicationType | Self::Anything) {
            body.remove("application_type");
        }
        if self == Self::RefreshGrant
            && let Some(grants) = body.get_mut("grant_types").and_then(Value::as_array_mut)
        {
            grants.retain(|grant| grant != "refresh_token");
        }
    }
}

/// The body of a registration request (RFC 7591 §2), as JSON. `retry` leaves out or changes what
/// `refusal` blames.
///
/// `--static-oauth-client-metadata` goes over it member by member; a `null` there leaves a member
/// out. `application_type` is `native` (`OpenID` Connect Registration 1.0 §2; MCP 2026-07-28,
/// Authorization, Dynamic Client Registration). Without `none` among the methods that the server
/// lists, one with a secret is asked for.
#[must_use]
pub fn registration(
    settings: &Settings,
    server: &ServerMetadata,
    redirect_uri: Option<&str>,
    scope: Option<&str>,
    retry: Option<&RegistrationRefusal>,
) -> Value {
    let grants = match settings.grant {
        Grant::Browser => json!(["authorization_code", "refresh_token"]),
        Grant::Device => json!([DEVICE_GRANT, "refresh_token"]),
        Grant::ClientCredentials => json!(["client_credentials"]),
        Grant::Enterprise(_) | Grant::Workload(_) => json!([JWT_GRANT]),
    };
    let uses_browser = matches!(settings.grant, Grant::Browser);
    // Left out, it would mean `code`, which goes with the authorization endpoint alone.
    let response_types = if uses_browser {
        json!(["code"])
    } else {
        json!([])
    };
    let mut body = Map::new();
    body.insert("client_name".to_owned(), json!(CLIENT_NAME));
    body.insert("application_type".to_owned(), json!("native"));
    body.insert("grant_types".to_owned(), grants);
    body.insert("response_types".to_owned(), response_types);
    body.insert(
        "token_endpoint_auth_method".to_owned(),
        json!(method_to_ask_for(settings, server)),
    );
    if let Some(address) = redirect_uri.filter(|_| uses_browser) {
        body.insert("redirect_uris".to_owned(), json!([address]));
    }
    if let Some(scope) = scope.filter(|scope| !scope.is_empty()) {
        body.insert("scope".to_owned(), json!(scope));
    }
    let blame = retry.and_then(|refusal| {
        Blame::of(
            refusal.status,
            refusal.code.as_deref(),
            refusal.description.as_deref(),
        )
    });
    if let Some(blame) = blame {
        blame.adjust(&mut body);
    }
    for (name, value) in &settings.client_metadata {
        if value.is_null() {
            body.remove(name);
        } else {
            body.insert(name.clone(), value.clone());
        }
    }
    Value::Object(body)
}

fn method_to_ask_for(settings: &Settings, server: &ServerMetadata) -> &'static str {
    let listed = server
        .token_endpoint_auth_methods_supported
        .as_deref()
        .unwrap_or_default();
    let lists = |method: &&str| listed.iter().any(|it| it == method);
    let without_secret = !matches!(settings.grant, Grant::ClientCredentials);
    [NONE, BASIC, POST]
        .into_iter()
        .filter(|method| *method != NONE || without_secret)
        .find(lists)
        .unwrap_or(if without_secret { NONE } else { BASIC })
}

/// Why a registration was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationRefusal {
    /// HTTP status.
    pub status: u16,
    /// `error` (RFC 7591 §3.2.2), sanitized.
    pub code: Option<String>,
    /// `error_description`, sanitized.
    pub description: Option<String>,
    /// One changed attempt may help. The caller makes one and no more, whatever the second answer
    /// says.
    pub worth_a_retry: bool,
    /// What to tell the person.
    pub failure: Failure,
}

/// Reads the answer to a registration request (RFC 7591 §3.2). What the server says of the client
/// overrules what was `requested`.
///
/// # Errors
/// The refusal.
pub fn registered(
    settings: &Settings,
    server: &ServerMetadata,
    requested: &Value,
    status: u16,
    body: &[u8],
) -> Result<Client, Box<RegistrationRefusal>> {
    let members = answer::object(body);
    let refused = members.as_ref().and_then(answer::refused);
    let members = match members {
        Some(members) if answer::is_success(status) && refused.is_none() => members,
        _ => {
            return Err(Box::new(refusal(
                settings,
                server,
                requested,
                status,
                refused.unwrap_or_default(),
            )));
        }
    };
    let unusable = |what: &str| {
        let text = format!(
            "{} registered a client, but {what}; {}",
            quoted(&server.issuer),
            ways_out(server)
        );
        Box::new(RegistrationRefusal {
            status,
            code: None,
            description: None,
            worth_a_retry: false,
            failure: Failure::new(Kind::RegistrationRejected, Executed::No, text)
                .with_status(status),
        })
    };
    let asked_method = requested.get("token_endpoint_auth_method");
    let mut client = read(members, asked_method, server)
        .map_err(|Unusable(member)| unusable(&format!("its answer has no usable {member}")))?;
    let ours = strings(requested.get("redirect_uris"));
    if client
        .registered
        .0
        .get("redirect_uris")
        .is_none_or(Value::is_null)
    {
        client.redirect_uris.clone_from(&ours);
    }
    let is_kept = |address: &String| client.redirect_uris.iter().any(|it| fits(it, address));
    if let Some(address) = ours.first()
        && !ours.iter().any(is_kept)
    {
        return Err(unusable(&format!(
            "without the redirect address {}",
            quoted(address)
        )));
    }
    Ok(client)
}

/// A registered client from the members of an answer.
fn read(
    members: Members,
    asked_method: Option<&Value>,
    server: &ServerMetadata,
) -> Result<Client, Unusable> {
    let id = match members.get("client_id") {
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        _ => return Err(Unusable("client_id")),
    };
    if !answer::is_printable(&id) {
        return Err(Unusable("client_id"));
    }
    Ok(Client {
        id,
        auth: auth(&members, asked_method, server)?,
        provenance: Provenance::Registered,
        redirect_uris: strings(members.get("redirect_uris")),
        issuer: Some(server.issuer.clone()),
        scope: answer::words(&members, "scope")?,
        secret_expires_at: answer::seconds(&members, "client_secret_expires_at")?
            .filter(|at| *at != 0),
        registered: Registered(members),
    })
}

/// The method that the answer names decides; without one, a secret goes the way that was asked for,
/// else the way that the server lists.
fn auth(
    members: &Members,
    asked: Option<&Value>,
    server: &ServerMetadata,
) -> Result<ClientAuth, Unusable> {
    let text = |name| match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(Unusable(name)),
    };
    let method = text("token_endpoint_auth_method")?;
    let Some(secret) = text("client_secret")?.map(Secret::from) else {
        return match method {
            None | Some(NONE | BASIC | POST) => Ok(ClientAuth::None),
            Some(_) => Err(Unusable("token_endpoint_auth_method")),
        };
    };
    match (method, asked.and_then(Value::as_str)) {
        (Some(NONE), _) => Ok(ClientAuth::None),
        (Some(BASIC), _) | (None, Some(BASIC)) => Ok(ClientAuth::Basic(secret)),
        (Some(POST), _) | (None, Some(POST)) => Ok(ClientAuth::Post(secret)),
        (None, _) => Ok(ClientAuth::with_secret(secret, server)),
        (Some(_), _) => Err(Unusable("token_endpoint_auth_method")),
    }
}

fn refusal(
    settings: &Settings,
    server: &ServerMetadata,
    requested: &Value,
    status: u16,
    refused: Refused,
) -> RegistrationRefusal {
    let issuer = quoted(&server.issuer);
    let said = refused.in_brackets();
    let sent = match strings(requested.get("redirect_uris")).first() {
        Some(address) if matches!(status, 400 | 422) => {
            format!(" with the redirect address {}", quoted(address))
        }
        _ => String::new(),
    };
    // Where there is no metadata the endpoint was a guess (MCP 2025-03-26, Authorization,
    // Fallbacks for Servers without Metadata Discovery): nothing of the kind is behind it.
    let is_absent = server.assumed && matches!(status, 400..500) && refused.code.is_none();
    let what = match status {
        _ if is_absent => {
            format!("{issuer} does not say how to sign in, and offers no registration")
        }
        200..300 => format!("{issuer} answered the registration with something else than a client"),
        401 | 403 => format!("{issuer} registers clients only for those it permits{said}"),
        404 | 405 => format!("{issuer} names a registration endpoint that does not exist"),
        408 | 429 | 500.. => format!("{issuer} cannot register a client right now{said}"),
        _ => format!("{issuer} did not register a client{sent}{said}"),
    };
    let (kind, next_step) = if is_absent {
        let next_step = "if you have a token for this server, pass --header \"Authorization: Bearer \
             TOKEN\"; if it knows a client of yours, pass --static-oauth-client-info \
             '{\"client_id\": \"…\"}'";
        (Kind::NoRegistrationMethod, next_step)
    } else {
        (Kind::RegistrationRejected, ways_out(server))
    };
    let text = format!("{what} (HTTP {status}); {next_step}");
    let blame = Blame::of(
        status,
        refused.code.as_deref(),
        refused.description.as_deref(),
    );
    let is_adjustable = |blame: Blame| {
        let mut body = requested.as_object().cloned().unwrap_or_default();
        body.retain(|name, _| !settings.client_metadata.contains_key(name));
        let before = body.clone();
        blame.adjust(&mut body);
        body != before
    };
    RegistrationRefusal {
        status,
        code: refused.code,
        description: refused.description,
        worth_a_retry: blame.is_some_and(is_adjustable),
        failure: Failure::new(kind, Executed::No, text).with_status(status),
    }
}

/// What a person can do without registration.
fn ways_out(server: &ServerMetadata) -> &'static str {
    if server.client_id_metadata_document_supported {
        "try again later, pass --client-metadata-url URL of a client metadata document, or \
         register a client by hand and pass --static-oauth-client-info '{\"client_id\": \"…\"}'"
    } else {
        "try again later, change what is registered with --static-oauth-client-metadata JSON, or \
         register a client by hand and pass --static-oauth-client-info '{\"client_id\": \"…\"}'"
    }
}

/// The texts of a list.
fn strings(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).map(Vec::as_slice);
    let texts = list.unwrap_or_default().iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}
