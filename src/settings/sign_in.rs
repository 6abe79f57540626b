//! How to sign in: what the options about it mean together.
//!
//! In: addresses, contradictions, the name of the sign-in in the store. Out: who the program is
//! (`identities`), where sign-ins are kept (`store`), signing in (`crate::proto::auth`).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use url::Url;

use super::addresses::{address, endpoint, issuer};
use super::documents::Document;
use super::variables::Variables;
use super::{Notice, identities};
use crate::cli::{Cli, Secret, SignInArgs};
use crate::error::Failure;
use crate::proto::Level;
use crate::proto::auth::authorize::refused_param;
use crate::proto::auth::key::{Parts, store_key};
use crate::proto::auth::settings::{GivenClient, Grant, Resource, Settings};

const CLIENT_METADATA: &str = "--static-oauth-client-metadata";

/// Gives the options about signing in at `server` their meaning. `headers` are names and
/// unexpanded values of the user's own headers.
///
/// # Errors
/// A [`Failure`] that names the option and says what would be right. It quotes no value.
pub(super) fn sign_in(
    cli: &Cli,
    server: &Url,
    headers: BTreeMap<String, Secret>,
    variables: &mut Variables<'_>,
    notices: &mut Vec<Notice>,
) -> Result<Settings, Failure> {
    let args = &cli.sign_in;
    let client_metadata = client_metadata(args)?;
    let given_client = identities::given_client(cli, variables, notices)?;
    let client_metadata_url = args.client_metadata_url.as_ref().map(document_url);
    let client_metadata_url = client_metadata_url.transpose()?;
    let resource = resource(args, notices)?;
    let authorize_params = authorize_params(&args.authorize_param, notices)?;
    let grant = grant(cli, variables, notices)?;
    check_client(&grant, given_client.as_ref(), client_metadata_url.is_some())?;
    let token_endpoint = token_endpoint(args)?;
    let headers: Vec<(String, String)> = headers
        .into_iter()
        .map(|(name, value)| (name, value.reveal().to_owned()))
        .collect();
    let key = store_key(&Parts {
        url: cli.url.reveal(),
        resource: match &resource {
            Resource::Fixed(_) => args.resource.as_ref().map(|text| text.reveal().trim()),
            Resource::Discovered | Resource::Off => None,
        },
        authorize_params: &authorize_params,
        headers: &headers,
        client_metadata_url: client_metadata_url.as_deref(),
        token_endpoint: token_endpoint.as_ref().map(Url::as_str),
        profile: args.profile.as_deref(),
    });
    Ok(Settings {
        server: Arc::new(server.clone()),
        key,
        profile: args.profile.clone(),
        grant,
        given_client,
        client_metadata,
        client_metadata_url,
        resource,
        authorize_params,
        host: args.host.clone(),
        callback_path: args.callback_path.clone(),
        callback_port: cli.callback_port,
        success_url: success_url(args, cli.network.allow_http)?,
        timeout: args.auth_timeout,
        token_endpoint,
        use_id_token: args.use_id_token,
        expected_issuer: args
            .expect_issuer
            .as_ref()
            .map(|text| issuer("--expect-issuer", text.reveal()))
            .transpose()?,
        allow_missing_pkce: args.allow_missing_pkce,
        allow_private_network: args.allow_private_network,
        no_browser: args.no_browser,
    })
}

/// `--auth-success-url`.
fn success_url(args: &SignInArgs, allow_http: bool) -> Result<Option<Url>, Failure> {
    let Some(text) = &args.auth_success_url else {
        return Ok(None);
    };
    let place = "--auth-success-url";
    let url = address(place, text.reveal(), allow_http)?;
    if text.reveal().contains(['?', '#']) {
        let what = format!("{place} must have no query (?…) and no fragment (#…)");
        return Err(Failure::usage(what));
    }
    Ok(Some(url))
}

/// `--token-endpoint`.
fn token_endpoint(args: &SignInArgs) -> Result<Option<Url>, Failure> {
    let Some(text) = &args.token_endpoint else {
        return Ok(None);
    };
    if !args.client_credentials {
        let failure = Failure::usage("--token-endpoint goes with --client-credentials alone");
        return Err(failure.hint("add --client-credentials, or leave --token-endpoint out"));
    }
    endpoint("--token-endpoint", text.reveal()).map(Some)
}

/// `--client-metadata-url`: the text itself becomes the client id (MCP 2025-11-25, Authorization,
/// Client ID Metadata Documents), so it must be as it is after parsing.
fn document_url(text: &Secret) -> Result<String, Failure> {
    let text = text.reveal().trim();
    let url = Url::parse(text).ok().filter(|url| {
        let has_path = url.path() != "/";
        let is_plain = url.username().is_empty() && url.password().is_none();
        url.scheme() == "https" && has_path && is_plain && url.fragment().is_none()
    });
    if url.is_none() || has_dot_segment(text) {
        let what = "--client-metadata-url must be an https:// URL with a path, without user name, \
                    fragment and dot segments";
        return Err(Failure::usage(what));
    }
    Ok(text.to_owned())
}

/// Whether the path has a segment that parsing removes (RFC 3986 §3.3).
fn has_dot_segment(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.split(['/', '\\']).any(|segment| {
        let segment = segment.to_ascii_lowercase().replace("%2e", ".");
        segment == "." || segment == ".."
    })
}

/// `--resource` and `--disable-resource-parameter`.
fn resource(args: &SignInArgs, notices: &mut Vec<Notice>) -> Result<Resource, Failure> {
    let text = args.resource.as_ref().map(|text| text.reveal().trim());
    if args.disable_resource_parameter || text == Some("") {
        let mut say = |level, text: &str| notices.push(Notice::new(level, text));
        if args.disable_resource_parameter && text.is_some_and(|text| !text.is_empty()) {
            let text = "--resource has no effect beside --disable-resource-parameter";
            say(Level::Warn, text);
        }
        let text = "tokens are asked for without naming this server (RFC 8707), so another server \
                    that gets one could use it here";
        say(Level::Info, text);
        return Ok(Resource::Off);
    }
    let Some(text) = text else {
        return Ok(Resource::Discovered);
    };
    let wrong = |what: &str| Failure::usage(format!("--resource {what}"));
    let url = Url::parse(text).map_err(|_| wrong("must be an absolute URI"))?;
    if url.fragment().is_some() {
        return Err(wrong("must have no fragment (#…)"));
    }
    Ok(Resource::Fixed(url.into()))
}

/// `--authorize-param`: the last one of each key.
fn authorize_params(
    given: &[Secret],
    notices: &mut Vec<Notice>,
) -> Result<Vec<(String, String)>, Failure> {
    let mut params: Vec<(String, String)> = Vec::new();
    for (index, text) in given.iter().enumerate() {
        let place = format!("--authorize-param (number {})", index + 1);
        let pair = text.reveal().split_once('=');
        let pair = pair.map(|(key, value)| (key.trim(), value));
        let Some((key, value)) = pair.filter(|(key, _)| !key.is_empty()) else {
            return Err(Failure::usage(format!("{place} must be KEY=VALUE")));
        };
        if refused_param(key) {
            let failure = Failure::usage(format!("{place}: the program sets {key} itself"));
            return Err(failure.hint("leave it out"));
        }
        if key.eq_ignore_ascii_case("resource") {
            let text = format!(
                "{place}: resource would be missing from the token requests; --resource sets it in \
                 all of them"
            );
            notices.push(Notice::new(Level::Warn, text));
        }
        params.retain(|(known, _)| known != key);
        params.push((key.to_owned(), value.to_owned()));
    }
    Ok(params)
}

/// `--static-oauth-client-metadata`.
fn client_metadata(args: &SignInArgs) -> Result<Map<String, Value>, Failure> {
    let Some(given) = &args.static_oauth_client_metadata else {
        return Ok(Map::new());
    };
    let document = Document::read(CLIENT_METADATA, given)?;
    if document.has("client_id") {
        let failure = document.wrong("client_id has no place in what is registered");
        return Err(failure.hint("pass a client that exists with --static-oauth-client-info"));
    }
    // What is read here and not only passed on.
    document.text("scope")?;
    document.texts("redirect_uris")?;
    Ok(document.into_members())
}

/// The way to sign in.
fn grant(
    cli: &Cli,
    variables: &mut Variables<'_>,
    notices: &mut Vec<Notice>,
) -> Result<Grant, Failure> {
    let args = &cli.sign_in;
    let ways = [
        ("--device-code", args.device_code.then_some(Grant::Device)),
        (
            "--client-credentials",
            args.client_credentials.then_some(Grant::ClientCredentials),
        ),
        (
            identities::ENTERPRISE,
            identities::enterprise(cli, variables, notices)?.map(Grant::Enterprise),
        ),
        (
            identities::WORKLOAD,
            identities::workload(cli)?.map(Grant::Workload),
        ),
    ];
    let mut chosen = ways
        .into_iter()
        .filter_map(|(name, grant)| Some((name, grant?)));
    match (chosen.next(), chosen.next()) {
        (None, _) => Ok(Grant::Browser),
        (Some((_, grant)), None) => Ok(grant),
        (Some((first, _)), Some((second, _))) => {
            let failure = Failure::usage(format!("{first} and {second} exclude each other"));
            Err(failure.hint("choose one way to sign in"))
        }
    }
}

/// Whether the client is there that the way to sign in needs.
fn check_client(
    grant: &Grant,
    given: Option<&GivenClient>,
    has_document: bool,
) -> Result<(), Failure> {
    let (what, next) = match grant {
        Grant::ClientCredentials if !given.is_some_and(has_credentials) => (
            "--client-credentials needs a client with a secret or a key",
            "pass --static-oauth-client-info with client_id and client_secret or private_key_pem",
        ),
        Grant::Enterprise(_) if given.is_none() && !has_document => (
            "--enterprise-idp needs a client that the server's authorization server knows",
            "pass it with --static-oauth-client-info or --client-metadata-url",
        ),
        _ => return Ok(()),
    };
    Err(Failure::usage(what).hint(next))
}

fn has_credentials(client: &GivenClient) -> bool {
    let has_one = client.secret.is_some() || client.private_key.is_some();
    has_one && client.auth_method.as_deref() != Some("none")
}

#[cfg(test)]
mod tests;
