//! A command line of the bridge that is written down, for somebody else to run elsewhere and later.
//!
//! In: making it independent of the present folder, and checking it as the bridge will. Out: who
//! writes it where (`install`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use serde_json::Value;

use super::{Notice, Settings, remote_url};
use crate::cli::{Cli, Parsed, Secret, Typed};
use crate::error::Failure;
use crate::proto::Level;
use crate::proto::clients::secrets;

/// Options whose value is a text, or `@FILE` with a file that holds it.
const DOCUMENTS: [&str; 4] = [
    "enterprise-idp",
    "static-oauth-client-info",
    "static-oauth-client-metadata",
    "workload-jwt",
];

/// The arguments: address, port, options, with absolute paths in place of relative ones.
///
/// # Errors
/// The present folder is not known, or a path is not UTF-8.
pub(super) fn arguments(words: &[&Secret], typed: &[Typed]) -> Result<Vec<String>, Failure> {
    let words = words.iter().map(|word| word.reveal().to_owned());
    let mut args: Vec<String> = words.collect();
    for option in typed {
        let value = match &option.value {
            Some(value) if option.is_path => Some(Secret::from(absolute(value.reveal())?)),
            Some(value) if DOCUMENTS.contains(&option.name.as_str()) => Some(document(value)?),
            other => other.clone(),
        };
        let option = Typed {
            value,
            ..option.clone()
        };
        args.extend(option.args());
    }
    Ok(args)
}

/// Reads arguments as the bridge will, its address included. `variables` are those that are known
/// here; others may be set where the bridge runs, so what depends on them is not judged.
///
/// # Errors
/// What the bridge would say.
pub fn check_command_line(
    args: &[String],
    variables: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Vec<Notice>, Failure> {
    let cli = parse(args)?;
    remote_url(cli.url.reveal(), cli.network.allow_http)?;
    let mentioned = args.iter().flat_map(|arg| secrets::variables(arg));
    let mut values = BTreeMap::new();
    let mut is_complete = true;
    for name in mentioned {
        let value = variables(name);
        is_complete &= value.is_some();
        values.insert(name.to_owned(), value.unwrap_or_else(|| "x".into()));
    }
    let env = |name: &str| values.get(name).cloned();
    match Settings::resolve(&cli, &env) {
        Ok((_, mut notices)) => {
            notices.retain(|notice| notice.level >= Level::Warn);
            Ok(notices)
        }
        Err(failure) if is_complete => Err(failure),
        Err(_) => Ok(Vec::new()),
    }
}

fn parse(args: &[String]) -> Result<Cli, Failure> {
    let words = std::iter::once("mcp-bridge").chain(args.iter().map(String::as_str));
    match Parsed::read(words.map(OsString::from), &|_| None)? {
        Parsed::Run(cli) => Ok(*cli),
        _ => Err(Failure::usage("the URL of the server is missing").hint(
            "write it as https://HOST/PATH; options such as --help have no place in an entry",
        )),
    }
}

/// A path that does not depend on the present folder.
fn absolute(path: &str) -> Result<String, Failure> {
    let path = std::path::absolute(Path::new(path))
        .map_err(|error| Failure::runtime(format!("the present folder is not known: {error}")))?;
    path.into_os_string()
        .into_string()
        .map_err(|_| Failure::usage("the path of the present folder is not valid UTF-8"))
}

/// `@FILE`, or JSON with `@FILE` in it.
fn document(given: &Secret) -> Result<Secret, Failure> {
    if let Some(path) = given
        .reveal()
        .strip_prefix('@')
        .filter(|path| !path.is_empty())
    {
        return Ok(Secret::from(format!("@{}", absolute(path)?)));
    }
    let mut text = given.reveal().to_owned();
    // What is no JSON has no files, or is refused later.
    let parsed = serde_json::from_str(&text).unwrap_or_default();
    let Value::Object(members) = parsed else {
        return Ok(given.clone());
    };
    for value in members.values() {
        let path = value.as_str().and_then(|value| value.strip_prefix('@'));
        if let Some(path) = path.filter(|path| !path.is_empty()) {
            let found = Value::from(format!("@{path}")).to_string();
            let wanted = Value::from(format!("@{}", absolute(path)?)).to_string();
            text = text.replace(&found, &wanted);
        }
    }
    Ok(Secret::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(name: &str, value: &str, is_path: bool) -> Typed {
        Typed {
            name: name.to_owned(),
            value: Some(Secret::from(value)),
            is_path,
        }
    }

    #[test]
    fn paths_are_made_absolute_wherever_they_stand() {
        let here = |name: &str| absolute(name).unwrap();
        assert!(Path::new(&here("a")).is_absolute());
        let json = |name: &str| format!(r#"{{"client_id": "x", "private_key_pem": "@{name}"}}"#);
        let typed = [
            option("ca-cert", "ca.pem", true),
            option("static-oauth-client-metadata", "@meta.json", false),
            option("static-oauth-client-info", &json("key.pem"), false),
            option("header", "X: @a", false),
            option("profile", "@work", false),
        ];
        let url = Secret::from("https://example.com/");
        let args = arguments(&[&url, &Secret::from("3334")], &typed).unwrap();
        let expected = [
            "https://example.com/",
            "3334",
            "--ca-cert",
            &here("ca.pem"),
            "--static-oauth-client-metadata",
            &format!("@{}", here("meta.json")),
            "--static-oauth-client-info",
            &json(&here("key.pem").replace('\\', r"\\")),
            "--header",
            "X: @a",
            "--profile",
            "@work",
        ];
        assert_eq!(args, expected);
    }

    fn checked(line: &[&str]) -> Result<Vec<Notice>, String> {
        let args: Vec<String> = line.iter().map(|&arg| arg.to_owned()).collect();
        let variables = |name: &str| (name == "SET").then(|| "value".into());
        check_command_line(&args, &variables).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_command_line_is_judged_as_the_bridge_judges_it() {
        let url = "https://example.com/mcp";
        for line in [
            &[url][..],
            &[url, "3334", "--debug"],
            &[url, "--header", "A: ${SET}"],
            &[url, "--header", "A: ${UNSET}"],
            &[url, "--static-oauth-client-info", "${UNSET}"],
            &[
                url,
                "--static-oauth-client-info",
                r#"{"client_id": "x", "private_key_pem": "${UNSET}"}"#,
            ],
        ] {
            assert_eq!(checked(line), Ok(Vec::new()), "{line:?}");
        }
        for (line, words) in [
            (&[][..], "URL of the server is missing"),
            (&["--help"], "URL of the server is missing"),
            (&["example.com"], "no scheme"),
            (&["http://example.com/"], "--allow-http"),
            (&[url, "--ignore-tols", "x"], "--ignore-tool"),
            (&[url, "--header", "canary"], "no colon"),
            (
                &[url, "--header-file", "/nonexistent/canary"],
                "--header-file",
            ),
            (&[url, "--static-oauth-client-info", "${SET}"], "JSON"),
            (&[url, "--client-key", "/x"], "--client-cert"),
        ] {
            let text = checked(line).unwrap_err();
            assert!(text.contains(words), "{line:?}: {text}");
        }
        let notices = checked(&[url, "--insecure"]).unwrap();
        assert!(notices[0].text.contains("--insecure"), "{notices:?}");
    }
}
