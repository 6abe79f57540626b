//! What the user decided about signing in.
//!
//! In: values. Out: reading them (`crate::settings`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use url::Url;

use crate::proto::secret::Secret;
use crate::proto::text;

/// What the user decided about signing in. `Debug` shows no secret.
#[derive(Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub struct Settings {
    /// The server.
    pub server: Arc<Url>,
    /// Name of this sign-in in the store (`key::store_key`).
    pub key: String,
    /// `--profile`: what the person calls this sign-in.
    pub profile: Option<String>,
    /// How tokens are got.
    pub grant: Grant,
    /// `--static-oauth-client-info`.
    pub given_client: Option<GivenClient>,
    /// `--static-oauth-client-metadata`: members for the registration, over the defaults.
    pub client_metadata: Map<String, Value>,
    /// `--client-metadata-url`.
    pub client_metadata_url: Option<String>,
    /// The `resource` parameter (RFC 8707).
    pub resource: Resource,
    /// `--authorize-param`, in order; a later one with the same key wins.
    pub authorize_params: Vec<(String, String)>,
    /// Host in the redirect address (`--host`).
    pub host: String,
    /// Path in the redirect address (`--callback-path`).
    pub callback_path: String,
    /// The port the user insists on.
    pub callback_port: Option<u16>,
    /// `--auth-success-url`.
    pub success_url: Option<Url>,
    /// Longest wait for the person (`--auth-timeout`).
    pub timeout: Duration,
    /// `--token-endpoint`.
    pub token_endpoint: Option<Url>,
    /// `--use-id-token`.
    pub use_id_token: bool,
    /// `--expect-issuer`.
    pub expected_issuer: Option<String>,
    /// `--allow-missing-pkce`.
    pub allow_missing_pkce: bool,
    /// `--allow-private-network`.
    pub allow_private_network: bool,
    /// `--no-browser`.
    pub no_browser: bool,
}

impl Settings {
    /// What can be said of a sign-in that is known from the store alone.
    #[must_use]
    pub fn stored(server: Arc<Url>, key: &str) -> Self {
        Self {
            server,
            key: key.to_owned(),
            profile: None,
            grant: Grant::Browser,
            given_client: None,
            client_metadata: Map::new(),
            client_metadata_url: None,
            resource: Resource::Discovered,
            authorize_params: Vec::new(),
            host: "localhost".to_owned(),
            callback_path: "/oauth/callback".to_owned(),
            callback_port: None,
            success_url: None,
            timeout: Duration::from_secs(300),
            token_endpoint: None,
            use_id_token: false,
            expected_issuer: None,
            allow_missing_pkce: false,
            allow_private_network: false,
            no_browser: true,
        }
    }

    /// The `resource` parameter that the user insists on.
    #[must_use]
    pub fn fixed_resource(&self) -> Option<&str> {
        match &self.resource {
            Resource::Fixed(resource) => Some(resource),
            Resource::Discovered | Resource::Off => None,
        }
    }
}

/// Where, how, and nothing that the user typed: a query, a parameter or a member may be secret.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("server", &text::origin(&self.server))
            .field("key", &self.key)
            .field("grant", &self.grant)
            .finish_non_exhaustive()
    }
}

/// Grant type of device authorization (RFC 8628 §3.4).
pub const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Grant type of JWT assertions (RFC 7523 §2.1).
pub const JWT_GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// How tokens are got.
#[derive(Clone, Debug)]
pub enum Grant {
    /// The person signs in with a browser on this machine (RFC 6749 §4.1, RFC 8252).
    Browser,
    /// `--device-code` (RFC 8628).
    Device,
    /// `--client-credentials` (RFC 6749 §4.4).
    ClientCredentials,
    /// `--enterprise-idp`: enterprise-managed authorization.
    Enterprise(Enterprise),
    /// `--workload-jwt`: workload identity (RFC 7523 §2.1).
    Workload(Source),
}

/// The enterprise's identity provider.
#[derive(Clone, Debug)]
pub struct Enterprise {
    /// `issuer`.
    pub issuer: Option<String>,
    /// `token_endpoint`; found by discovery of the issuer where it is missing.
    pub token_endpoint: Option<Url>,
    /// `client_id` at the identity provider.
    pub client_id: String,
    /// `client_secret` at the identity provider.
    pub client_secret: Option<Secret>,
    /// The subject token.
    pub subject: Source,
    /// `subject_token_type`, an URN of RFC 8693 §3.
    pub subject_type: String,
}

/// Where a secret text comes from, each time it is needed.
#[derive(Clone)]
pub enum Source {
    /// It was given.
    Text(Secret),
    /// The content of this file, read for each use.
    File(std::path::PathBuf),
    /// The first line that this program prints, run for each use without a shell.
    Command(Vec<String>),
}

/// The kind alone: a command line may hold a password.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text",
            Self::File(_) => "File",
            Self::Command(_) => "Command",
        })
    }
}

/// `--static-oauth-client-info`.
#[derive(Clone, Debug)]
pub struct GivenClient {
    /// `client_id`.
    pub id: String,
    /// `client_secret`.
    pub secret: Option<Secret>,
    /// `token_endpoint_auth_method`, if given.
    pub auth_method: Option<String>,
    /// `token_endpoint_auth_signing_alg`, if given.
    pub signing_alg: Option<String>,
    /// `private_key_pem`.
    pub private_key: Option<Secret>,
    /// `kid`, if given.
    pub key_id: Option<String>,
    /// `issuer`, if given.
    pub issuer: Option<String>,
    /// `redirect_uris`, if given.
    pub redirect_uris: Vec<String>,
    /// `scope`, if given.
    pub scope: Option<String>,
}

/// The `resource` parameter (RFC 8707).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// What the server's metadata says, else its address.
    Discovered,
    /// `--resource`.
    Fixed(String),
    /// `--disable-resource-parameter`.
    Off,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f21_the_debug_form_shows_nothing_that_was_typed() {
        let server = Url::parse("https://me:canary@mcp.example/mcp?key=canary").unwrap();
        let mut settings = Settings::stored(Arc::new(server), "0123");
        settings.authorize_params = vec![("hint".to_owned(), "canary".to_owned())];
        let metadata = serde_json::json!({"software_statement": "canary"});
        settings.client_metadata = metadata.as_object().unwrap().clone();
        settings.success_url = Url::parse("https://a.example/?key=canary").ok();
        settings.resource = Resource::Fixed("https://mcp.example/?key=canary".to_owned());
        for source in [
            Source::Text("canary".into()),
            Source::Command(vec!["print".to_owned(), "--password=canary".to_owned()]),
        ] {
            settings.grant = Grant::Workload(source);
            let shown = format!("{settings:?}");
            assert!(shown.contains("https://mcp.example"), "{shown}");
            assert!(!shown.contains("canary"), "{shown}");
        }
    }
}
