//! Which parts of a command line must not stand in a configuration file as they are.
//!
//! In: values of options and the address, judged by name and by shape. Out: refusing them
//! (`settings`), masking them (`commands`).
//!
//! Configuration files are synchronised, shared and pasted into bug reports, so the judgement is on
//! the careful side; whoever is refused wrongly loses nothing by `${VAR}`. What is taken for
//! harmless:
//!
//! - a text that consists of `${VAR}`, names of authentication schemes (RFC 9110 §11.1) and
//!   punctuation;
//! - a header whose name has nothing to do with secrets, and whose value has no long run in which
//!   letters and digits mix and no known beginning of a token;
//! - a JSON document whose members with secret names hold `${VAR}` or `@FILE`;
//! - an address without user name, password and secret-looking parameters.

use serde_json::Value;
use url::Url;

/// Beginnings by which the makers of tokens and keys let them be recognised.
const BEGINNINGS: [&str; 35] = [
    "AIza",
    "AKIA",
    "ASIA",
    "ATATT",
    "EAAC",
    "GOCSPX-",
    "SG.",
    "dapi",
    "dckr_pat_",
    "dop_v1_",
    "eyJ",
    "figd_",
    "ghp_",
    "gho_",
    "ghr_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "gsk_",
    "hf_",
    "lin_api_",
    "napi_",
    "npm_",
    "ntn_",
    "pypi-",
    "rk_live_",
    "sbp_",
    "shpat_",
    "sk-",
    "sk_",
    "tvly-",
    "xai-",
    "xox",
    "ya29.",
];

/// Shortest text with such a beginning that is taken for a token, in characters.
const SHORTEST_TOKEN: usize = 12;

/// Shortest run of letters and digits, dashes and underscores among them, that is taken for a
/// secret if it has both.
const MIXED_RUN: usize = 20;

/// Shortest run of letters or digits that is taken for a secret whatever it is made of.
const LONG_RUN: usize = 32;

/// Parts of names whose values are secret.
const SECRET_WORDS: [&str; 17] = [
    "assertion",
    "auth",
    "bearer",
    "cookie",
    "credential",
    "jwt",
    "key",
    "passphrase",
    "passw",
    "private",
    "pwd",
    "saml",
    "secret",
    "session",
    "signature",
    "softwarestatement",
    "token",
];

/// Names of parameters that are secret though they are too short to be looked for in others.
const SECRET_NAMES: [&str; 5] = ["code", "pass", "pw", "sid", "sig"];

/// Ends of names that speak of secrets and hold none (RFC 7591 §2, RFC 8693 §2.1).
const HARMLESS_ENDS: [&str; 9] = [
    "_alg",
    "_endpoint",
    "_expires_at",
    "_issued_at",
    "_method",
    "_type",
    "_types",
    "_uri",
    "_uris",
];

/// Members of a JSON Web Key that are private (RFC 7518 §6).
const PRIVATE_OF_JWK: [&str; 8] = ["d", "dp", "dq", "k", "oth", "p", "q", "qi"];

/// Names of authentication schemes, and what stands beside them in a header.
const SCHEMES: [&str; 8] = [
    "apikey",
    "basic",
    "bearer",
    "digest",
    "dpop",
    "key",
    "negotiate",
    "token",
];

/// A secret that stands where it must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// Where and what: `--header holds the value of X-Key`. Quotes nothing secret.
    pub what: String,
    /// What to do instead, ready to paste.
    pub way_out: String,
}

/// The first secret of a command line: the address, then the options with their long names, without
/// dashes.
pub fn find<'a>(
    url: &str,
    options: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Option<Literal> {
    let in_options = || {
        let mut options = options.into_iter();
        options.find_map(|(name, value)| in_option(name, value))
    };
    in_url(url).or_else(in_options)
}

/// A secret in the address of the server.
#[must_use]
pub fn in_url(url: &str) -> Option<Literal> {
    let part = secret_part(url)?;
    let next = match part {
        Part::User => {
            "leave user name and password out of the address, and put the line \
             Authorization: Basic … into a file: --header-file FILE"
        }
        Part::Parameter => {
            "many servers take it in a header as well: leave it out of the address and use \
             --header 'Authorization: Bearer ${TOKEN}', or put that line into a file and use \
             --header-file FILE"
        }
    };
    Some(Literal {
        what: format!("the address holds {}", part.name()),
        way_out: next.to_owned(),
    })
}

/// A secret in the value of an option.
#[must_use]
pub fn in_option(name: &str, value: &str) -> Option<Literal> {
    match name {
        "header" => in_header(value),
        "header-command" => {
            let (_, command) = value.split_once(':')?;
            (has_token(command) || has_run(command)).then(|| Literal {
                what: "--header-command holds what looks like a secret".to_owned(),
                way_out: "put the command into a script that only you can read, and name that: \
                          --header-command 'NAME: SCRIPT'"
                    .to_owned(),
            })
        }
        "enterprise-idp"
        | "static-oauth-client-info"
        | "static-oauth-client-metadata"
        | "workload-jwt" => in_document(name, value),
        "auth-success-url"
        | "client-metadata-url"
        | "expect-issuer"
        | "proxy"
        | "resource"
        | "token-endpoint" => {
            let part = secret_part(value)?;
            Some(in_settings_file(name, part.name()))
        }
        "authorize-param" => {
            let (key, value) = value.split_once('=')?;
            let is_secret = is_secret_name(key) || has_token(value) || has_run(value);
            is_secret.then(|| in_settings_file(name, "what looks like a secret"))
        }
        _ => has_token(value).then(|| in_settings_file(name, "what looks like a secret")),
    }
}

/// The names in every `${VAR}` of a text, in their order.
pub fn variables(text: &str) -> impl Iterator<Item = &str> {
    let mut pieces = text.split("${");
    pieces.next();
    pieces.filter_map(|piece| {
        let (name, _) = piece.split_once('}')?;
        (!name.is_empty()).then_some(name)
    })
}

/// What may be shown of each argument of a command line that somebody else may have written: the
/// argument, and its form for show. Arguments that are missing here are for nobody.
#[must_use]
pub fn shown(args: &[String]) -> Vec<(String, String)> {
    let mut forms = Vec::new();
    let mut option: Option<&str> = None;
    for arg in args {
        let form = match (arg.strip_prefix("--"), option.take()) {
            (Some(name), _) => {
                if let Some((name, value)) = name.split_once('=') {
                    value_shown(name, value).map(|value| format!("--{name}={value}"))
                } else {
                    option = Some(name);
                    Some(arg.clone())
                }
            }
            (None, Some(name)) => value_shown(name, arg),
            (None, None) => word_shown(arg),
        };
        let form = form.filter(|_| !has_token(arg) && arg.len() <= LONGEST_SHOWN);
        forms.extend(form.map(|form| (arg.clone(), form)));
    }
    forms
}

/// Longest argument that is shown, in bytes.
const LONGEST_SHOWN: usize = 400;

fn value_shown(option: &str, value: &str) -> Option<String> {
    if in_option(option, value).is_none() {
        return Some(value.to_owned()).filter(|_| is_judged(option) || !has_run(value));
    }
    let (name, _) = value.split_once(':').filter(|_| option == "header")?;
    Some(format!("{name}: …")).filter(|_| is_presentable(name))
}

/// Whether a value that is not found to be secret was looked at for more than well-known tokens.
fn is_judged(option: &str) -> bool {
    matches!(
        option,
        "header"
            | "header-command"
            | "enterprise-idp"
            | "static-oauth-client-info"
            | "static-oauth-client-metadata"
            | "workload-jwt"
    )
}

/// Something that belongs to no option: an address without what may be secret in it, a short word.
fn word_shown(word: &str) -> Option<String> {
    if !word.contains("://") {
        return (!has_run(word)).then(|| word.to_owned());
    }
    let url = Url::parse(word).ok()?;
    let is_whole = in_url(word).is_none() && url.query().is_none() && url.fragment().is_none();
    if is_whole {
        return Some(word.to_owned());
    }
    let more = if url.query().is_some() { "?…" } else { "" };
    Some(crate::proto::text::public_url(&url) + more)
}

/// The part of an address that is secret.
#[derive(Clone, Copy)]
enum Part {
    User,
    Parameter,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::User => "a user name or password",
            Self::Parameter => "what looks like a secret in its query",
        }
    }
}

fn secret_part(address: &str) -> Option<Part> {
    let url = Url::parse(address.trim()).ok()?;
    if !url.username().is_empty() || url.password().is_some() {
        return Some(Part::User);
    }
    let is_secret = |name: &str, value: &str| {
        !value.is_empty() && (is_secret_name(name) || has_token(value) || has_run(value))
    };
    let in_query = url
        .query_pairs()
        .any(|(name, value)| is_secret(&name, &value) || value.is_empty() && is_secret("", &name));
    let fragment = url.fragment().unwrap_or_default();
    (in_query || has_token(fragment) || has_run(fragment)).then_some(Part::Parameter)
}

fn in_header(line: &str) -> Option<Literal> {
    let (name, value) = line.split_once(':')?;
    let (name, value) = (name.trim(), value.trim());
    let rest = without_variables(value);
    let is_plain = if is_secret_name(name) {
        is_scheme(&rest)
    } else {
        !has_token(&rest) && !has_run(&rest) && !begins_with_scheme(&rest)
    };
    if is_plain {
        return None;
    }
    if !is_presentable(name) {
        return Some(Literal {
            what: "--header holds a secret".to_owned(),
            way_out: "write the line into a file that only you can read, and use --header-file \
                      FILE"
                .to_owned(),
        });
    }
    let variable = variable_for(name);
    let scheme = value
        .split_once(' ')
        .map(|(scheme, _)| scheme)
        .filter(|scheme| is_scheme(scheme))
        .map(|scheme| format!("{scheme} "))
        .unwrap_or_default();
    Some(Literal {
        what: format!("--header holds the value of {name}"),
        way_out: format!(
            "use --header '{name}: {scheme}${{{variable}}}' (in single quotation marks, so that \
             your shell leaves it as it is), or put the line into a file that only you can read \
             and use --header-file FILE"
        ),
    })
}

fn in_document(option: &str, value: &str) -> Option<Literal> {
    let value = value.trim();
    if value.starts_with('@') || without_variables(value).is_empty() {
        return None;
    }
    // A variable may stand for any value.
    let parsed = serde_json::from_str(value)
        .or_else(|_| serde_json::from_str(&replace_variables(value, "null")));
    // What is no JSON is refused for that.
    let document: Value = parsed.ok()?;
    let member = secret_member("", &document)?;
    let by_variable = match option {
        "enterprise-idp" | "static-oauth-client-info" => {
            let variable = variable_for(&member);
            format!(", or write \"{member}\": \"${{{variable}}}\" in it")
        }
        _ => String::new(),
    };
    Some(Literal {
        what: match member.as_str() {
            "" => format!("--{option} holds what looks like a secret"),
            member => format!("--{option} holds {member}"),
        },
        way_out: format!(
            "put the JSON into a file that only you can read, and use --{option} @FILE{}",
            if member.is_empty() { "" } else { &by_variable }
        ),
    })
}

/// The name of a member that holds a secret; empty if it has none fit for show.
fn secret_member(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::Object(members) => {
            let is_key = members.contains_key("kty");
            members.iter().find_map(|(name, value)| {
                let is_private = is_key && PRIVATE_OF_JWK.contains(&name.as_str());
                if is_private {
                    return Some(name.clone());
                }
                secret_member(name, value)
            })
        }
        Value::Array(values) => {
            let mut values = values.iter();
            values.find_map(|value| secret_member(name, value))
        }
        Value::String(text) => {
            let rest = without_variables(text);
            let is_named = is_secret_name(name)
                && !HARMLESS_ENDS.iter().any(|end| name.ends_with(end))
                && !text.starts_with('@')
                && !is_scheme(&rest);
            let is_secret = is_named
                || has_token(&rest)
                || name == "command" && has_run(&rest)
                || name.is_empty() && has_run(&rest);
            let name = Some(name).filter(|name| is_presentable(name));
            is_secret.then(|| name.unwrap_or_default().to_owned())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// For options that know neither `${VAR}` nor `@FILE`.
fn in_settings_file(option: &str, what: &str) -> Literal {
    let list = if option == "authorize-param" {
        "[\"…\"]"
    } else {
        "\"…\""
    };
    Literal {
        what: format!("--{option} holds {what}"),
        way_out: format!(
            "write the line {option} = {list} into a file that only you can read, and use \
             --config FILE"
        ),
    }
}

/// A variable's name for a header or member.
fn variable_for(name: &str) -> String {
    if name.eq_ignore_ascii_case("authorization") {
        return "TOKEN".to_owned();
    }
    let upper = name.chars().map(|letter| match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' => letter.to_ascii_uppercase(),
        _ => '_',
    });
    upper.collect()
}

fn is_secret_name(name: &str) -> bool {
    let name: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    SECRET_NAMES.contains(&name.as_str()) || SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// Whether a name can be repeated: it is one, and not a secret in the wrong place.
fn is_presentable(name: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    !name.is_empty() && name.chars().all(is_part) && !has_token(name) && !has_run(name)
}

fn without_variables(text: &str) -> String {
    replace_variables(text, "")
}

fn replace_variables(text: &str, by: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        replaced.push_str(before);
        let variable = after.split_once('}').filter(|(name, _)| !name.is_empty());
        if let Some((_, tail)) = variable {
            replaced.push_str(by);
            rest = tail;
        } else {
            replaced.push_str("${");
            rest = after;
        }
    }
    replaced.push_str(rest);
    replaced
}

/// Whether there is nothing but names of schemes and punctuation.
fn is_scheme(text: &str) -> bool {
    let mut words = text.split(|letter: char| !letter.is_alphanumeric());
    words.all(|word| word.is_empty() || SCHEMES.contains(&word.to_ascii_lowercase().as_str()))
}

/// Whether credentials follow the name of a scheme.
fn begins_with_scheme(text: &str) -> bool {
    let first = text.split_once(' ').map(|(first, _)| first);
    first.is_some_and(|word| !word.is_empty() && is_scheme(word))
}

/// Whether some word begins as tokens do, or it is a key in PEM.
fn has_token(text: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let mut words = text.split(|letter: char| !is_part(letter));
    text.contains("-----BEGIN")
        || words.any(|word| {
            word.len() >= SHORTEST_TOKEN && BEGINNINGS.iter().any(|start| word.starts_with(start))
        })
}

/// Whether a run of characters is too long and too mixed for a word.
fn has_run(text: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    let mut runs = text.split(|letter: char| !is_part(letter));
    runs.any(|run| {
        let has_digit = run.bytes().any(|byte| byte.is_ascii_digit());
        let has_letter = run.bytes().any(|byte| byte.is_ascii_alphabetic());
        let mut words = run.split(['-', '_']);
        run.len() >= MIXED_RUN && has_digit && has_letter
            || words.any(|word| word.len() >= LONG_RUN)
    })
}

#[cfg(test)]
mod tests;
