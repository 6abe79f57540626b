//! Tokens and registered clients in the form of npm `mcp-remote` 0.15.1.
//!
//! In: what its members mean, and which of them that program must find again. Out: files
//! (`files`), what only we know (`state`).

use serde_json::{Map, Value};

use super::files::Bytes;
use super::pretty;
use crate::proto::auth::client::{Client, ClientAuth, Provenance, Registered};
use crate::proto::auth::token::{TokenType, Tokens};
use crate::proto::secret::Secret;

/// Reads `tokens.json`.
///
/// # Errors
/// What is wrong with it, to follow its path.
pub(super) fn tokens(text: &[u8]) -> Result<Tokens, &'static str> {
    let members = object(text)?;
    let access = required(&members, "access_token")?;
    let expires_at = number(&members, "expires_at")?;
    // A lifetime alone says nothing: it is not known since when it runs.
    let lifetime = number(&members, "expires_in")?;
    let issued_at = expires_at
        .zip(lifetime)
        .map(|(expires_at, lifetime)| expires_at.saturating_sub(lifetime.saturating_mul(1000)));
    let tokens = Tokens {
        access: access.into(),
        token_type: token_type(optional(&members, "token_type")?),
        refresh: optional(&members, "refresh_token")?.map(Secret::from),
        id_token: optional(&members, "id_token")?.map(Secret::from),
        scope: optional(&members, "scope")?.map(str::to_owned),
        requested_scope: optional(&members, "requested_scope")?
            .filter(|scope| !scope.is_empty())
            .map(str::to_owned),
        expires_at,
        issued_at,
        issuer: optional(&members, "issuer")?.map(str::to_owned),
    };
    if !tokens.is_sane() {
        return Err("holds a token that cannot be sent");
    }
    Ok(tokens)
}

/// Writes `tokens.json` over what is in it. Members that it does not set stay, `requested_scope`
/// among them: `mcp-remote` signs in anew when that is not what it would ask for itself.
pub(super) fn tokens_text(before: Option<&[u8]>, tokens: &Tokens) -> Bytes {
    let mut members = before
        .and_then(|text| object(text).ok())
        .unwrap_or_default();
    let written_type = optional(&members, "token_type").unwrap_or_default();
    if written_type.is_none() || token_type(written_type) != tokens.token_type {
        let name = match tokens.token_type {
            TokenType::Bearer => "Bearer",
            TokenType::Dpop => "DPoP",
        };
        members.insert("token_type".to_owned(), name.into());
    }
    let lifetime = tokens
        .expires_at
        .zip(tokens.issued_at)
        .map(|(expires_at, issued_at)| expires_at.saturating_sub(issued_at) / 1000);
    let reveal = |secret: &Secret| Value::from(secret.reveal());
    for (name, value) in [
        ("access_token", Some(reveal(&tokens.access))),
        ("refresh_token", tokens.refresh.as_ref().map(reveal)),
        ("id_token", tokens.id_token.as_ref().map(reveal)),
        ("scope", tokens.scope.clone().map(Value::from)),
        ("expires_in", lifetime.map(Value::from)),
        ("expires_at", tokens.expires_at.map(Value::from)),
        ("issuer", tokens.issuer.clone().map(Value::from)),
    ] {
        set(&mut members, name, value);
    }
    pretty(&members)
}

/// Reads `client_info.json`.
///
/// # Errors
/// What is wrong with it, to follow its path.
pub(super) fn client(text: &[u8]) -> Result<Client, &'static str> {
    let members = object(text)?;
    let id = required(&members, "client_id")?.to_owned();
    let redirect_uris = match members.get("redirect_uris") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(uris)) => {
            let texts: Option<Vec<_>> = uris.iter().map(Value::as_str).collect();
            let texts = texts.ok_or(WRONG_TYPE)?;
            texts.into_iter().map(str::to_owned).collect()
        }
        Some(_) => return Err(WRONG_TYPE),
    };
    let secret = optional(&members, "client_secret")?.map(Secret::from);
    let method = optional(&members, "token_endpoint_auth_method")?;
    let auth = match (method, secret) {
        (Some("none"), _) | (_, None) => ClientAuth::None,
        (Some("client_secret_post"), Some(secret)) => ClientAuth::Post(secret),
        // What a registration without a method means (RFC 7591 §2).
        (_, Some(secret)) => ClientAuth::Basic(secret),
    };
    let secret_expires_at = number(&members, "client_secret_expires_at")?;
    Ok(Client {
        id,
        auth,
        provenance: Provenance::Registered,
        redirect_uris,
        issuer: optional(&members, "issuer")?.map(str::to_owned),
        scope: optional(&members, "scope")?.map(str::to_owned),
        secret_expires_at: secret_expires_at.filter(|at| *at != 0),
        registered: Registered(members),
    })
}

/// Writes `client_info.json`: the registration answer with what became of it, over what is known
/// of the same client already.
pub(super) fn client_text(before: Option<&[u8]>, client: &Client) -> Bytes {
    let mut members = before
        .and_then(|text| object(text).ok())
        .filter(|members| optional(members, "client_id") == Ok(Some(&client.id)))
        .unwrap_or_default();
    members.extend(client.registered.0.clone());
    // `mcp-remote` does not read a file with a null, or a number in quotes.
    members.retain(|_, value| !value.is_null());
    for name in ["client_id_issued_at", "client_secret_expires_at"] {
        let value = number(&members, name).unwrap_or_default();
        set(&mut members, name, value.map(Value::from));
    }
    if let Some(expires_at) = client.secret_expires_at {
        members.insert("client_secret_expires_at".to_owned(), expires_at.into());
    }
    let (method, secret) = match &client.auth {
        ClientAuth::None => ("none", None),
        ClientAuth::Basic(secret) => ("client_secret_basic", Some(secret)),
        ClientAuth::Post(secret) => ("client_secret_post", Some(secret)),
        ClientAuth::PrivateKeyJwt { .. } => ("private_key_jwt", None),
    };
    members.insert("client_id".to_owned(), client.id.clone().into());
    members.insert("token_endpoint_auth_method".to_owned(), method.into());
    members.insert(
        "redirect_uris".to_owned(),
        client.redirect_uris.clone().into(),
    );
    for (name, value) in [
        ("client_secret", secret.map(Secret::reveal)),
        ("issuer", client.issuer.as_deref()),
        ("scope", client.scope.as_deref()),
    ] {
        if let Some(value) = value {
            members.insert(name.to_owned(), value.into());
        }
    }
    pretty(&members)
}

const WRONG_TYPE: &str = "has a member of the wrong type";

fn object(text: &[u8]) -> Result<Map<String, Value>, &'static str> {
    super::readable(text)?;
    match serde_json::from_slice(text) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err("is not a JSON object"),
        Err(_) => Err("is not JSON"),
    }
}

fn required<'a>(members: &'a Map<String, Value>, name: &str) -> Result<&'a str, &'static str> {
    match optional(members, name)? {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err("lacks a member that it must have"),
    }
}

fn optional<'a>(
    members: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a str>, &'static str> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(WRONG_TYPE),
    }
}

/// A whole number that is not negative, perhaps in quotes; of others the whole part.
fn number(members: &Map<String, Value>, name: &str) -> Result<Option<u64>, &'static str> {
    let number = match members.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_u64().or_else(|| number.as_f64().and_then(whole)),
        Some(Value::String(text)) => text
            .trim()
            .parse()
            .ok()
            .or_else(|| text.trim().parse().ok().and_then(whole)),
        Some(_) => None,
    };
    number.map(Some).ok_or(WRONG_TYPE)
}

fn whole(number: f64) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "negative numbers become 0 and large ones the largest, as meant"
    )]
    number.is_finite().then_some(number as u64)
}

fn token_type(name: Option<&str>) -> TokenType {
    if name.is_some_and(|name| name.eq_ignore_ascii_case("DPoP")) {
        TokenType::Dpop
    } else {
        TokenType::Bearer
    }
}

fn set(members: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => {
            members.insert(name.to_owned(), value);
        }
        None => {
            members.remove(name);
        }
    }
}

#[cfg(test)]
mod tests;
