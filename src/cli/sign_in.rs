//! The options about signing in, as they were typed.
//!
//! In: names, help texts, values that can be checked by themselves. Out: everything that needs
//! another option, a file or a variable (`crate::settings`).

use std::time::Duration;

use clap::{Args, Command, ValueEnum};
use url::{Host, Url};

use super::{Secret, seconds, seconds_or_zero};

/// Longest `--profile`, in bytes.
const LONGEST_PROFILE: usize = 64;

/// Heading of the options that most people never need.
const AT_A_COMPANY: &str = "Sign-in at a company";

/// Options about signing in.
#[derive(Args, Clone, Debug)]
#[expect(
    clippy::doc_markdown,
    clippy::struct_excessive_bools,
    reason = "the docs are shown on terminals; each switch is an option of its own"
)]
pub struct SignInArgs {
    /// Open no browser: show the link instead
    #[arg(long)]
    pub no_browser: bool,

    /// Sign in with a code on another device
    #[arg(long)]
    pub device_code: bool,

    /// Name of this sign-in, for several accounts at one server
    ///
    /// 1 to 64 of the characters A–Z, a–z, 0–9, dot, underscore and dash.
    #[arg(long, value_name = "NAME", value_parser = profile)]
    pub profile: Option<String>,

    /// Longest wait for the person who signs in
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = patience)]
    #[arg(allow_negative_numbers = true)]
    pub auth_timeout: Duration,

    /// Longest wait for sign-in or server before `initialize` is answered without it
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds_or_zero)]
    #[arg(allow_negative_numbers = true)]
    pub initialize_wait: Duration,

    /// What to register with, such as client_name and scope
    ///
    /// A JSON object with members of RFC 7591 §2, or a file that holds it.
    #[arg(long, value_name = "JSON|@FILE")]
    #[arg(help_heading = AT_A_COMPANY)]
    pub static_oauth_client_metadata: Option<Secret>,

    /// Client to use instead of registering one: client_id, client_secret, …
    ///
    /// A JSON object, or a file that holds it; ${VAR} is replaced. Members: client_id,
    /// client_secret, token_endpoint_auth_method, issuer, redirect_uris, scope; for
    /// private_key_jwt also private_key_pem (text or @FILE), token_endpoint_auth_signing_alg, kid.
    #[arg(long, value_name = "JSON|@FILE")]
    #[arg(help_heading = AT_A_COMPANY)]
    pub static_oauth_client_info: Option<Secret>,

    /// Address of a client metadata document, to be used as client_id
    #[arg(long, value_name = "URL")]
    #[arg(help_heading = AT_A_COMPANY)]
    pub client_metadata_url: Option<Secret>,

    /// Resource to ask tokens for, instead of the server's own word (RFC 8707)
    #[arg(long, value_name = "URI")]
    #[arg(help_heading = AT_A_COMPANY)]
    pub resource: Option<Secret>,

    /// Ask for tokens without naming a resource
    #[arg(long)]
    #[arg(help_heading = AT_A_COMPANY)]
    pub disable_resource_parameter: bool,

    /// Add this to the authorization request (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    #[arg(help_heading = AT_A_COMPANY)]
    pub authorize_param: Vec<Secret>,

    /// Host in the redirect address
    #[arg(long, value_name = "HOST", default_value = "localhost", value_parser = host)]
    #[arg(help_heading = AT_A_COMPANY)]
    pub host: String,

    /// Path in the redirect address
    #[arg(long, value_name = "PATH", default_value = "/oauth/callback", value_parser = path)]
    #[arg(help_heading = AT_A_COMPANY)]
    pub callback_path: String,

    /// Page to send the browser to after the sign-in
    #[arg(long, value_name = "URL")]
    #[arg(help_heading = AT_A_COMPANY)]
    pub auth_success_url: Option<Secret>,

    /// Send the ID token instead of the access token
    #[arg(long)]
    #[arg(help_heading = AT_A_COMPANY)]
    pub use_id_token: bool,

    /// Sign in as a program, with the secret or key of --static-oauth-client-info
    #[arg(long)]
    #[arg(help_heading = AT_A_COMPANY)]
    pub client_credentials: bool,

    /// Token endpoint for --client-credentials, instead of asking the server
    #[arg(long, value_name = "URL")]
    #[arg(help_heading = AT_A_COMPANY)]
    pub token_endpoint: Option<Secret>,

    /// Sign in through the organisation's identity provider
    ///
    /// A JSON object, or a file that holds it; ${VAR} is replaced. Members: issuer or
    /// token_endpoint; client_id, client_secret; one of id_token, refresh_token, saml (text or
    /// @FILE) and command (a program and its arguments, which prints the token);
    /// subject_token_type.
    #[arg(long, value_name = "JSON|@FILE")]
    #[arg(help_heading = AT_A_COMPANY)]
    pub enterprise_idp: Option<Secret>,

    /// Sign in with the JWT of this workload: @FILE, or ["PROGRAM", "ARGUMENT", …]
    #[arg(long, value_name = "@FILE|JSON")]
    #[arg(help_heading = AT_A_COMPANY)]
    pub workload_jwt: Option<Secret>,

    /// The only issuer to sign in at
    #[arg(long, value_name = "URL")]
    #[arg(help_heading = AT_A_COMPANY)]
    pub expect_issuer: Option<Secret>,

    /// Sign in although the authorization server does not promise PKCE
    #[arg(long)]
    #[arg(help_heading = AT_A_COMPANY)]
    pub allow_missing_pkce: bool,

    /// Follow what the server says into private networks
    #[arg(long)]
    #[arg(help_heading = AT_A_COMPANY)]
    pub allow_private_network: bool,

    /// Where sign-ins are kept.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Where sign-ins are kept.
#[derive(Args, Clone, Debug)]
pub struct StoreArgs {
    /// Keep tokens in files, which npm mcp-remote shares, or in the system's keychain
    #[arg(long, value_enum, default_value_t = StoreKind::Files, value_name = "PLACE")]
    pub store: StoreKind,
}

/// Where tokens are kept, spelled as in `--store`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StoreKind {
    /// In files that the user alone can read.
    Files,
    /// In the system's keychain.
    Keychain,
}

impl SignInArgs {
    /// Long names of the options that matter for signing in alone.
    pub(crate) fn names() -> Vec<String> {
        let command = Self::augment_args(Command::new("mcp-bridge"));
        command
            .get_arguments()
            .filter_map(|arg| arg.get_long().map(str::to_owned))
            .filter(|name| name != "initialize-wait")
            .collect()
    }
}

fn profile(text: &str) -> Result<String, String> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if text.is_empty() || text.len() > LONGEST_PROFILE || !text.bytes().all(is_fine) {
        return Err("must be 1 to 64 letters, digits, dots, underscores and dashes".into());
    }
    Ok(text.to_owned())
}

/// Seconds above zero; an `s` behind them is what some guides write.
fn patience(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    seconds(text.strip_suffix('s').unwrap_or(text))
}

/// A host as it stands in an address, and nothing else.
fn host(text: &str) -> Result<String, String> {
    let wrong = "must be the name or address of a host, such as localhost or [::1]";
    let url = Url::parse(&format!("http://{text}/")).map_err(|_| wrong)?;
    let is_same = match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case(text),
        Some(Host::Ipv4(address)) => address.to_string() == text,
        Some(Host::Ipv6(_)) => text.starts_with('[') && text.ends_with(']'),
        None => false,
    };
    if is_same {
        Ok(text.to_owned())
    } else {
        Err(wrong.into())
    }
}

/// A path that stands in an address as it is.
fn path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("must begin with /".into());
    }
    match Url::parse(&format!("http://localhost{text}")) {
        Ok(url) if url.path() == text && url.query().is_none() && url.fragment().is_none() => {
            Ok(text.to_owned())
        }
        _ => Err("must be a plain path, without query and fragment".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c37_the_wait_for_the_person_may_end_in_s() {
        for (text, seconds) in [("60", 60), ("60s", 60), (" 5 ", 5), ("1e2", 100)] {
            assert_eq!(patience(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(patience("1.9s"), Ok(Duration::from_millis(1900)));
        for text in ["0", "0s", "-1", "5m", "s", "", "60ss", "60sec"] {
            assert!(patience(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_are_hosts_and_no_more() {
        for text in [
            "localhost",
            "127.0.0.1",
            "[::1]",
            "my-box.example",
            "LOCALHOST",
        ] {
            assert_eq!(host(text).as_deref(), Ok(text));
        }
        for text in [
            "", "::1", "a:1", "u@a", "a/b", "a?b", "a#b", "http://a", "a b", "127.1", "[::1",
        ] {
            assert!(host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn paths_are_paths_and_no_more() {
        for text in [
            "/",
            "/back",
            "/oauth/callback/",
            "/a%20b",
            "/.mcp-remote/id",
            "/wait-for-auth",
        ] {
            assert_eq!(path(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "back",
            "http://x/",
            "/a?b",
            "/a#b",
            "/a b",
            "/é",
            "/a/../b",
            "/a\\b",
        ] {
            assert!(path(text).is_err(), "{text}");
        }
    }

    #[test]
    fn f28_a_profile_is_a_short_plain_name() {
        let longest = "x".repeat(64);
        for text in ["a", "Work-2.b_c", ".", longest.as_str()] {
            assert_eq!(profile(text).as_deref(), Ok(text));
        }
        for text in ["", "a b", "a/b", "é", "a\n", "a|b", "x".repeat(65).as_str()] {
            assert!(profile(text).is_err(), "{text:?}");
        }
    }
}
