//! Who the program is: the client that the user registered, the organisation's identity provider,
//! the workload.
//!
//! In: members and their meaning. Out: reading JSON and files (`documents`), using them
//! (`crate::proto::auth`).

use super::Notice;
use super::addresses::{endpoint, issuer};
use super::documents::{self, Document};
use super::variables::Variables;
use crate::cli::{Cli, Secret};
use crate::edge::keys::Signer;
use crate::error::Failure;
use crate::proto::Level;
use crate::proto::auth::settings::{Enterprise, GivenClient, Source};

pub(super) const CLIENT_INFO: &str = "--static-oauth-client-info";
pub(super) const ENTERPRISE: &str = "--enterprise-idp";
pub(super) const WORKLOAD: &str = "--workload-jwt";

/// Ways in which a client can identify itself (RFC 7591 §2, RFC 7523 §2.2).
const AUTH_METHODS: [&str; 4] = [
    "none",
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
];

/// Algorithms that keys can sign with (RFC 7518 §3.1, RFC 8037 §3.1).
const SIGNING_ALGORITHMS: [&str; 3] = ["RS256", "ES256", "EdDSA"];

/// Members of `--enterprise-idp`.
const ENTERPRISE_MEMBERS: [&str; 9] = [
    "issuer",
    "token_endpoint",
    "client_id",
    "client_secret",
    "id_token",
    "refresh_token",
    "saml",
    "command",
    "subject_token_type",
];

/// Members of `--enterprise-idp` that say where the subject token is from, with its type (RFC 8693
/// §3) unless `subject_token_type` says another.
const SUBJECTS: [(&str, &str); 4] = [
    ("id_token", "urn:ietf:params:oauth:token-type:id_token"),
    (
        "refresh_token",
        "urn:ietf:params:oauth:token-type:refresh_token",
    ),
    ("saml", "urn:ietf:params:oauth:token-type:saml2"),
    ("command", "urn:ietf:params:oauth:token-type:id_token"),
];

/// `--static-oauth-client-info`.
pub(super) fn given_client(
    cli: &Cli,
    variables: &mut Variables<'_>,
    notices: &mut Vec<Notice>,
) -> Result<Option<GivenClient>, Failure> {
    let Some(given) = &cli.sign_in.static_oauth_client_info else {
        return Ok(None);
    };
    let document = Document::read_expanded(CLIENT_INFO, given, variables, notices)?;
    let Some(id) = document.text("client_id")? else {
        return Err(document.wrong("client_id is missing"));
    };
    let signing_alg = one_of(
        &document,
        "token_endpoint_auth_signing_alg",
        &SIGNING_ALGORITHMS,
    )?;
    let client = GivenClient {
        id: id.to_owned(),
        secret: document.text("client_secret")?.map(Secret::from),
        auth_method: one_of(&document, "token_endpoint_auth_method", &AUTH_METHODS)?,
        private_key: private_key(&document, signing_alg.as_deref())?,
        signing_alg,
        key_id: document.text("kid")?.map(str::to_owned),
        issuer: document
            .text("issuer")?
            .map(|text| issuer(&format!("{CLIENT_INFO}: issuer"), text))
            .transpose()?,
        redirect_uris: document.texts("redirect_uris")?,
        scope: document.text("scope")?.map(str::to_owned),
    };
    let missing = match client.auth_method.as_deref() {
        Some("client_secret_basic" | "client_secret_post") if client.secret.is_none() => {
            Some("client_secret")
        }
        Some("private_key_jwt") if client.private_key.is_none() => Some("private_key_pem"),
        _ => None,
    };
    if let Some(name) = missing {
        let what = format!("{name} is missing, which token_endpoint_auth_method asks for");
        return Err(document.wrong(&what));
    }
    let secrets = ["client_secret", "private_key_pem"];
    warn_of_literals(cli, CLIENT_INFO, &document, &secrets, notices);
    Ok(Some(client))
}

/// `--enterprise-idp`.
pub(super) fn enterprise(
    cli: &Cli,
    variables: &mut Variables<'_>,
    notices: &mut Vec<Notice>,
) -> Result<Option<Enterprise>, Failure> {
    let Some(given) = &cli.sign_in.enterprise_idp else {
        return Ok(None);
    };
    let document = Document::read_expanded(ENTERPRISE, given, variables, notices)?;
    if !document
        .names()
        .all(|name| ENTERPRISE_MEMBERS.contains(&name))
    {
        let failure = document.wrong("there is a member that is not known");
        return Err(failure.hint(format!("members are {}", ENTERPRISE_MEMBERS.join(", "))));
    }
    let Some(client_id) = document.text("client_id")? else {
        return Err(document.wrong("client_id is missing"));
    };
    let at = |name: &str| format!("{ENTERPRISE}: {name}");
    let issuer = document
        .text("issuer")?
        .map(|text| issuer(&at("issuer"), text))
        .transpose()?;
    let token_endpoint = document
        .text("token_endpoint")?
        .map(|text| endpoint(&at("token_endpoint"), text))
        .transpose()?;
    if issuer.is_none() && token_endpoint.is_none() {
        return Err(document.wrong("issuer and token_endpoint are missing; one is needed"));
    }
    let (subject, usual_type) = subject(&document)?;
    let secrets = ["client_secret", "id_token", "refresh_token", "saml"];
    warn_of_literals(cli, ENTERPRISE, &document, &secrets, notices);
    Ok(Some(Enterprise {
        issuer,
        token_endpoint,
        client_id: client_id.to_owned(),
        client_secret: document.text("client_secret")?.map(Secret::from),
        subject,
        subject_type: document
            .text("subject_token_type")?
            .unwrap_or(usual_type)
            .to_owned(),
    }))
}

/// Where the subject token is from, and its usual type.
fn subject(document: &Document) -> Result<(Source, &'static str), Failure> {
    let mut subjects = SUBJECTS.into_iter().filter(|(name, _)| document.has(name));
    let (Some((name, usual_type)), None) = (subjects.next(), subjects.next()) else {
        let names = SUBJECTS.map(|(name, _)| name).join(", ");
        return Err(document.wrong(&format!("exactly one of {names} is needed")));
    };
    let source = if name == "command" {
        command(&document.texts(name)?)
    } else {
        let text = document.text(name)?.unwrap_or_default();
        let path = documents::file(&format!("{ENTERPRISE}: {name}"), text)?;
        Some(match path {
            Some(path) => Source::File(path.to_owned()),
            None => Source::Text(Secret::from(text)),
        })
    };
    let wrong = || document.wrong("command must be a list of a program and its arguments");
    Ok((source.ok_or_else(wrong)?, usual_type))
}

/// `--workload-jwt`.
pub(super) fn workload(cli: &Cli) -> Result<Option<Source>, Failure> {
    let Some(given) = &cli.sign_in.workload_jwt else {
        return Ok(None);
    };
    let text = given.reveal();
    if let Some(path) = documents::file(WORKLOAD, text)? {
        return Ok(Some(Source::File(path.to_owned())));
    }
    let program = |text| {
        command(&documents::strings(
            &documents::parse(WORKLOAD, text).ok()?,
        )?)
    };
    let source = program(text).ok_or_else(|| {
        let failure = Failure::usage(format!(
            "{WORKLOAD} takes no JWT itself, since that would be open to other users of this \
             machine"
        ));
        failure.hint(r#"write @FILE, or a program that prints it: ["PROGRAM", "ARGUMENT"]"#)
    })?;
    Ok(Some(source))
}

/// A program and its arguments.
fn command(words: &[String]) -> Option<Source> {
    words
        .first()
        .filter(|program| !program.is_empty())
        .map(|_| Source::Command(words.to_vec()))
}

/// A member with one of a few values.
fn one_of(document: &Document, name: &str, values: &[&str]) -> Result<Option<String>, Failure> {
    match document.text(name)? {
        Some(text) if !values.contains(&text) => {
            Err(document.wrong(&format!("{name} must be one of {}", values.join(", "))))
        }
        text => Ok(text.map(str::to_owned)),
    }
}

/// `private_key_pem`: the key or the file that holds it. Where its lines were joined by `\n`, as
/// one-line variables have it, they are taken apart again. A key that cannot sign is refused.
fn private_key(document: &Document, algorithm: Option<&str>) -> Result<Option<Secret>, Failure> {
    let name = "private_key_pem";
    let Some(given) = document.text(name)? else {
        return Ok(None);
    };
    let key = documents::content(&format!("{CLIENT_INFO}: {name}"), &Secret::from(given))?;
    let key = if key.reveal().contains('\n') {
        key
    } else {
        Secret::from(key.reveal().replace("\\n", "\n"))
    };
    Signer::from_pem(&key, algorithm)
        .map_err(|problem| document.wrong(&format!("{name} {problem}")))?;
    Ok(Some(key))
}

/// Says once that a secret stands on the command line itself.
fn warn_of_literals(
    cli: &Cli,
    option: &str,
    document: &Document,
    secrets: &[&str],
    notices: &mut Vec<Notice>,
) {
    let is_file =
        |name: &str| matches!(document.text(name), Ok(Some(text)) if text.starts_with('@'));
    let literal = secrets
        .iter()
        .find(|name| document.is_literal(name) && !is_file(name));
    let name = option.trim_start_matches('-');
    let is_typed = cli.typed.iter().any(|typed| typed == name);
    if let Some(member) = literal.filter(|_| is_typed) {
        let variable = name.replace('-', "_").to_uppercase();
        let text = format!(
            "{option} holds {member} in plain text on the command line, which other users of this \
             machine can read; {option} @FILE, ${{VAR}} inside it, and the variable \
             MCP_BRIDGE_{variable} hide it"
        );
        notices.push(Notice::new(Level::Warn, text));
    }
}
