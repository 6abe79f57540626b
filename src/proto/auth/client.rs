//! Who we are towards an authorization server: given by the user, a metadata document, stored, or
//! newly registered (RFC 7591; MCP 2026-07-28, Authorization, Client Registration).
//!
//! In: choosing, what is registered, and what the answer means. Out: sending it (`edge/oauth`),
//! keeping it (`edge/store`).

use serde_json::{Map, Value};
use url::Url;

use super::address::is_loopback;
use super::metadata::{ServerMetadata, same_issuer};
use super::settings::{DEVICE_GRANT, GivenClient, Grant, Settings};
use super::token::TokenError;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::secret::Secret;
use crate::proto::text::sanitize;

mod register;

pub use register::{RegistrationRefusal, registered, registration};

/// A client whose secret expires this soon is not used any more, in seconds.
const SECRET_MARGIN: u64 = 60;

/// Longest address or name that is quoted, in characters.
const QUOTED_CHARS: usize = 200;

/// Methods of client authentication by their registered names (RFC 7591 §2).
const NONE: &str = "none";
const BASIC: &str = "client_secret_basic";
const POST: &str = "client_secret_post";
const KEY: &str = "private_key_jwt";

/// How the client identifies itself at the token endpoint (RFC 6749 §2.3, RFC 7523 §2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// `none`: the client id in the body.
    None,
    /// `client_secret_basic`.
    Basic(Secret),
    /// `client_secret_post`.
    Post(Secret),
    /// `private_key_jwt`.
    PrivateKeyJwt {
        /// `RS256`, `ES256` or `EdDSA`; `None`: what the key is good for.
        algorithm: Option<String>,
        /// PKCS#8, PEM.
        key: Secret,
        /// `kid` of the key, if it has one.
        key_id: Option<String>,
    },
}

/// Where a client identity comes from. Only registered ones are ever discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// `--static-oauth-client-info`.
    Given,
    /// `--client-metadata-url`.
    Document,
    /// Dynamic client registration.
    Registered,
}

/// A client identity at one authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// How it identifies itself.
    pub auth: ClientAuth,
    /// Where it comes from.
    pub provenance: Provenance,
    /// Redirect addresses it is registered with; empty: not known.
    pub redirect_uris: Vec<String>,
    /// The issuer it belongs to, where known.
    pub issuer: Option<String>,
    /// `scope` it is registered with.
    pub scope: Option<String>,
    /// `client_secret_expires_at` in Unix seconds; `None`: never (RFC 7591 §3.2.1).
    pub secret_expires_at: Option<u64>,
    /// The registration answer as it came, for the store. Holds secrets.
    pub registered: Registered,
}

/// The members of a registration answer. Its debug form shows none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Registered(pub Map<String, Value>);

impl ClientAuth {
    /// Its registered name (RFC 7591 §2).
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::None => NONE,
            Self::Basic(_) => BASIC,
            Self::Post(_) => POST,
            Self::PrivateKeyJwt { .. } => KEY,
        }
    }

    /// With a secret: the first of basic and post that the server lists, basic if it lists nothing
    /// (RFC 8414 §2) or neither.
    fn with_secret(secret: Secret, server: &ServerMetadata) -> Self {
        let listed = server.token_endpoint_auth_methods_supported.as_deref();
        let lists = |method| listed.is_some_and(|list| list.iter().any(|it| it == method));
        if lists(POST) && !lists(BASIC) {
            Self::Post(secret)
        } else {
            Self::Basic(secret)
        }
    }
}

impl std::fmt::Debug for Registered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Registered([hidden])")
    }
}

/// Which identity to use.
#[derive(Clone, Debug)]
pub enum Choice {
    /// This one.
    Use(Client),
    /// Register a new one; a sentence says why what is at hand is not used, if there is anything.
    Register(Option<String>),
}

/// Chooses among what is given, the metadata document and what is stored, in this order (MCP
/// 2026-07-28, Authorization, Client Registration). `redirect_uri` is the address that is listened
/// on, `None` for a grant that has none; `now` is in Unix seconds.
///
/// A stored identity is used if it was registered, for this issuer as far as known, with this
/// redirect address, and its secret has not expired. A stored one that was given tells which issuer
/// the given client belongs to. Workload identity needs no client and has nothing to choose.
///
/// # Errors
/// `client_issuer_mismatch` for a given client that belongs to another issuer, `client_rejected` or
/// `metadata_invalid` for one that cannot identify itself here, `no_registration_method` with the
/// redirect address to register by hand.
pub fn choose(
    settings: &Settings,
    server: &ServerMetadata,
    stored: Option<&Client>,
    redirect_uri: Option<&str>,
    now: u64,
) -> Result<Choice, Failure> {
    if let Some(given) = &settings.given_client {
        return use_given(settings, given, server, stored).map(Choice::Use);
    }
    let wants_secret = matches!(settings.grant, Grant::ClientCredentials);
    let document = settings.client_metadata_url.as_deref();
    if let Some(url) = document
        && server.client_id_metadata_document_supported
        && !wants_secret
    {
        return Ok(Choice::Use(Client {
            id: url.to_owned(),
            auth: ClientAuth::None,
            provenance: Provenance::Document,
            redirect_uris: Vec::new(),
            issuer: Some(server.issuer.clone()),
            scope: None,
            secret_expires_at: None,
            registered: Registered::default(),
        }));
    }
    // These clients are made known to the server by people, before.
    if matches!(
        settings.grant,
        Grant::ClientCredentials | Grant::Enterprise(_)
    ) {
        return Err(no_registration(settings, server, None));
    }
    let unusable = match stored {
        Some(stored) if stored.provenance == Provenance::Registered => {
            match why_not(stored, settings, server, redirect_uri, now) {
                None => return Ok(Choice::Use(use_stored(stored, server))),
                why => why,
            }
        }
        _ => None,
    };
    if server.registration_endpoint.is_none() {
        return Err(no_registration(settings, server, redirect_uri));
    }
    Ok(Choice::Register(unusable.or_else(|| {
        document.map(|_| {
            format!(
                "{} takes no client metadata documents, so a client is registered",
                quoted(&server.issuer)
            )
        })
    })))
}

fn use_given(
    settings: &Settings,
    given: &GivenClient,
    server: &ServerMetadata,
    stored: Option<&Client>,
) -> Result<Client, Failure> {
    let recorded = stored
        .filter(|stored| stored.provenance == Provenance::Given && stored.id == given.id)
        .and_then(|stored| stored.issuer.as_deref());
    if let Some(owner) = given.issuer.as_deref().or(recorded)
        && !same_issuer(owner, &server.issuer)
    {
        let text = format!(
            "the client of --static-oauth-client-info belongs to {}, but the server now sends \
             people to {}; if that is right, say so with \"issuer\": \"{}\" in \
             --static-oauth-client-info",
            quoted(owner),
            quoted(&server.issuer),
            quoted(&server.issuer),
        );
        return Err(Failure::new(Kind::ClientIssuerMismatch, Executed::No, text));
    }
    Ok(Client {
        id: given.id.clone(),
        auth: given_auth(settings, given, server)?,
        provenance: Provenance::Given,
        redirect_uris: given.redirect_uris.clone(),
        issuer: Some(server.issuer.clone()),
        scope: given.scope.clone(),
        secret_expires_at: None,
        registered: Registered::default(),
    })
}

/// How the given client identifies itself. For a program that signs in by itself, the method must
/// be one that the server lists, if it lists any.
fn given_auth(
    settings: &Settings,
    given: &GivenClient,
    server: &ServerMetadata,
) -> Result<ClientAuth, Failure> {
    let rejected = |text: String| Failure::new(Kind::ClientRejected, Executed::No, text);
    let lacks = |method: &str, member: &str| {
        rejected(format!(
            "{method} in --static-oauth-client-info needs {member}; add it there"
        ))
    };
    let secret = || given.secret.clone();
    let with_key = || {
        let key = given.private_key.clone();
        key.map(|key| ClientAuth::PrivateKeyJwt {
            algorithm: given.signing_alg.clone(),
            key,
            key_id: given.key_id.clone(),
        })
    };
    let auth = match given.auth_method.as_deref() {
        None => with_key()
            .or_else(|| secret().map(|secret| ClientAuth::with_secret(secret, server)))
            .unwrap_or(ClientAuth::None),
        Some(NONE) => ClientAuth::None,
        Some(BASIC) => ClientAuth::Basic(secret().ok_or_else(|| lacks(BASIC, "client_secret"))?),
        Some(POST) => ClientAuth::Post(secret().ok_or_else(|| lacks(POST, "client_secret"))?),
        Some(KEY) => with_key().ok_or_else(|| lacks(KEY, "private_key_pem"))?,
        Some(other) => {
            return Err(rejected(format!(
                "--static-oauth-client-info asks for {}, which is not supported; use {NONE}, \
                 {BASIC}, {POST} or {KEY}",
                quoted(other)
            )));
        }
    };
    if let Some(algorithm) = given.signing_alg.as_deref()
        && matches!(auth, ClientAuth::PrivateKeyJwt { .. })
    {
        check_signing(algorithm, server)?;
    }
    if matches!(settings.grant, Grant::ClientCredentials) {
        if auth == ClientAuth::None {
            return Err(rejected(
                "--client-credentials needs client_secret or private_key_pem in \
                 --static-oauth-client-info; add one there"
                    .to_owned(),
            ));
        }
        let listed = server.token_endpoint_auth_methods_supported.as_deref();
        if let Some(listed) = listed.filter(|list| !list.is_empty())
            && !listed.iter().any(|it| it == auth.method())
        {
            return Err(rejected(format!(
                "the client of --static-oauth-client-info identifies itself with {}, but {} takes \
                 only {}; change token_endpoint_auth_method in --static-oauth-client-info",
                auth.method(),
                quoted(&server.issuer),
                quoted(&listed.join(", ")),
            )));
        }
    }
    Ok(auth)
}

/// Checks the algorithm of a signed assertion against what the server lists, if it lists any
/// (RFC 8414 §2, `token_endpoint_auth_signing_alg_values_supported`).
///
/// # Errors
/// `metadata_invalid` naming both.
pub fn check_signing(algorithm: &str, server: &ServerMetadata) -> Result<(), Failure> {
    let listed = server
        .token_endpoint_auth_signing_alg_values_supported
        .as_deref();
    match listed {
        Some(listed) if !listed.is_empty() && !listed.iter().any(|it| it == algorithm) => {
            let text = format!(
                "the private key signs with {}, but {} takes only {}; use another key, or set \
                 token_endpoint_auth_signing_alg in --static-oauth-client-info",
                quoted(algorithm),
                quoted(&server.issuer),
                quoted(&listed.join(", ")),
            );
            Err(Failure::new(Kind::MetadataInvalid, Executed::No, text))
        }
        _ => Ok(()),
    }
}

/// Why a registered client cannot be used, if it cannot.
fn why_not(
    stored: &Client,
    settings: &Settings,
    server: &ServerMetadata,
    redirect_uri: Option<&str>,
    now: u64,
) -> Option<String> {
    if let Some(issuer) = &stored.issuer
        && !same_issuer(issuer, &server.issuer)
    {
        return Some(format!(
            "the stored client belongs to {}, the server now sends people to {}",
            quoted(issuer),
            quoted(&server.issuer)
        ));
    }
    let has_expired = |at: u64| at <= now.saturating_add(SECRET_MARGIN);
    if stored.secret_expires_at.is_some_and(has_expired) {
        return Some("the registration of the stored client has expired".to_owned());
    }
    if let Some(address) = redirect_uri
        && !stored.redirect_uris.is_empty()
        && !stored.redirect_uris.iter().any(|it| fits(it, address))
    {
        return Some(format!(
            "the redirect address changed to {}, and the stored client was registered with another",
            quoted(address)
        ));
    }
    let grants = stored.registered.0.get("grant_types")?.as_array()?;
    let has = |grant: &str| grants.iter().any(|it| it == grant);
    let (wanted, other) = match settings.grant {
        Grant::Device => (DEVICE_GRANT, "authorization_code"),
        _ => ("authorization_code", DEVICE_GRANT),
    };
    (has(other) && !has(wanted))
        .then(|| "the stored client was registered for another way to sign in".to_owned())
}

/// The stored client, for use at this server.
fn use_stored(stored: &Client, server: &ServerMetadata) -> Client {
    let mut client = stored.clone();
    client.issuer = Some(server.issuer.clone());
    if let ClientAuth::Basic(secret) = &stored.auth
        && !stored
            .registered
            .0
            .contains_key("token_endpoint_auth_method")
    {
        client.auth = ClientAuth::with_secret(secret.clone(), server);
    }
    client
}

/// Whether a registered redirect address covers the one in use: the same, or the same without its
/// port on a loopback host (RFC 8252 §7.3).
fn fits(registered: &str, address: &str) -> bool {
    if registered == address {
        return true;
    }
    let (Ok(registered), Ok(mut address)) = (Url::parse(registered), Url::parse(address)) else {
        return false;
    };
    if registered.port().is_none() && is_loopback(&address) && address.set_port(None).is_err() {
        return false;
    }
    registered == address
}

fn no_registration(
    settings: &Settings,
    server: &ServerMetadata,
    redirect_uri: Option<&str>,
) -> Failure {
    let issuer = quoted(&server.issuer);
    let text = match settings.grant {
        Grant::ClientCredentials => format!(
            "--client-credentials needs a client that {issuer} knows; pass \
             --static-oauth-client-info '{{\"client_id\": \"…\", \"client_secret\": \"…\"}}'"
        ),
        Grant::Enterprise(_) => format!(
            "--enterprise-idp needs a client that {issuer} knows; pass \
             --static-oauth-client-info '{{\"client_id\": \"…\"}}'"
        ),
        _ => {
            let address = redirect_uri.map_or_else(String::new, |address| {
                format!(" and the redirect address {}", quoted(address))
            });
            let document = if server.client_id_metadata_document_supported {
                ", or --client-metadata-url URL of a client metadata document"
            } else {
                ""
            };
            format!(
                "{issuer} registers no clients by itself; register one there by hand (public, \
                 native, with PKCE{address}) and pass --static-oauth-client-info \
                 '{{\"client_id\": \"…\"}}', with \"client_secret\" if there is one{document}"
            )
        }
    };
    Failure::new(Kind::NoRegistrationMethod, Executed::No, text)
}

/// The failure to show when the token endpoint refused the client itself and a new registration is
/// no way out: how it identified itself, what the server takes, and what to change.
#[must_use]
pub fn rejected(client: &Client, server: &ServerMetadata, error: &TokenError) -> Failure {
    let listed = match server.token_endpoint_auth_methods_supported.as_deref() {
        None | Some([]) => "does not say what it takes".to_owned(),
        Some(listed) => format!("takes {}", quoted(&listed.join(", "))),
    };
    let next_step = match client.provenance {
        Provenance::Given => {
            "check client_id, client_secret and token_endpoint_auth_method in \
             --static-oauth-client-info"
        }
        Provenance::Document => {
            "leave out --client-metadata-url, or pass --static-oauth-client-info \
             '{\"client_id\": \"…\"}'"
        }
        Provenance::Registered => {
            "register a client by hand and pass --static-oauth-client-info '{\"client_id\": \"…\"}'"
        }
    };
    let text = format!(
        "{}; the client identified itself with {}, and {} {listed}; {next_step}",
        error.text,
        client.auth.method(),
        quoted(&server.issuer),
    );
    let failure = Failure::new(Kind::ClientRejected, Executed::No, text);
    match error.status {
        0 => failure,
        status => failure.with_status(status),
    }
}

fn quoted(text: &str) -> String {
    sanitize(text, QUOTED_CHARS)
}

#[cfg(test)]
mod tests;
