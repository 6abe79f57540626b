//! What well-known authorization servers do differently, by the host of their issuer. Every row has
//! its source. For any other server flags do the same, except that no flag repeats the scope of a
//! renewal.
//!
//! In: the table. Out: acting on it.

use url::Url;

/// What is different at one authorization server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// PKCE with S256 works, though the metadata does not say so (`--allow-missing-pkce`).
    pub pkce_unadvertised: bool,
    /// A refresh request must repeat the scope.
    pub refresh_needs_scope: bool,
    /// What to tell a person who gets no further here, with the flags that help.
    pub hint: Option<&'static str>,
}

/// Microsoft Entra ID. It offers S256 without listing it
/// (<https://github.com/modelcontextprotocol/typescript-sdk/issues/832>) and refuses a renewal
/// without scope (<https://github.com/modelcontextprotocol/typescript-sdk/issues/2718>). A resource
/// that does not match the scope is AADSTS9010010
/// (<https://github.com/punkpeye/mcp-remote/issues/217>).
const ENTRA: Quirks = Quirks {
    pkce_unadvertised: true,
    refresh_needs_scope: true,
    hint: Some(
        "Microsoft Entra ID registers no clients by itself: register an app with the platform \
         \"Mobile and desktop applications\" and pass --static-oauth-client-info \
         '{\"client_id\": \"…\"}'; for AADSTS9010010 add --disable-resource-parameter, or name the \
         resource of the scope with --resource",
    ),
};

/// Google. A refresh token comes only with two parameters of its own
/// (<https://developers.google.com/identity/protocols/oauth2/web-server#offline>), and every client
/// has a secret (<https://developers.google.com/identity/protocols/oauth2/native-app>).
const GOOGLE: Quirks = Quirks {
    pkce_unadvertised: false,
    refresh_needs_scope: false,
    hint: Some(
        "Google registers no clients by itself and wants a secret: create a desktop client and \
         pass --static-oauth-client-info '{\"client_id\": \"…\", \"client_secret\": \"…\"}'; to \
         stay signed in, add --authorize-param access_type=offline --authorize-param \
         prompt=consent",
    ),
};

/// Auth0. `resource` counts only in tenants that switched it on
/// (<https://github.com/danny-avila/LibreChat/issues/13401>), and so does registration
/// (<https://auth0.com/docs/get-started/applications/dynamic-client-registration>).
const AUTH0: Quirks = Quirks {
    pkce_unadvertised: false,
    refresh_needs_scope: false,
    hint: Some(
        "Auth0 ignores the resource parameter unless the tenant switched it on: name the API with \
         --authorize-param audience=IDENTIFIER; where registration is closed, pass \
         --static-oauth-client-info '{\"client_id\": \"…\"}'",
    ),
};

/// Amazon Cognito. It offers S256 without listing it
/// (<https://github.com/anthropics/claude-code/issues/13275>), has no registration, and some APIs
/// behind it want the ID token (<https://github.com/punkpeye/mcp-remote/issues/219>).
const COGNITO: Quirks = Quirks {
    pkce_unadvertised: true,
    refresh_needs_scope: false,
    hint: Some(
        "Amazon Cognito registers no clients by itself: create an app client with a callback \
         address on http://localhost and pass --static-oauth-client-info '{\"client_id\": \
         \"…\"}'; if the server wants the ID token, add --use-id-token",
    ),
};

/// Atlassian. Its metadata names another issuer than the one that leads to it
/// (<https://github.com/atlassian/atlassian-mcp-server/issues/205>).
const ATLASSIAN: Quirks = Quirks {
    pkce_unadvertised: false,
    refresh_needs_scope: false,
    hint: Some(
        "Atlassian's metadata names another issuer than the address that leads to it: if you \
         trust that issuer, accept it with --expect-issuer URL",
    ),
};

/// GitHub. It has neither registration nor metadata documents
/// (<https://github.com/github/github-mcp-server/issues/2532>).
const GITHUB: Quirks = Quirks {
    pkce_unadvertised: false,
    refresh_needs_scope: false,
    hint: Some(
        "GitHub registers no clients by itself: create an OAuth app and pass \
         --static-oauth-client-info '{\"client_id\": \"…\", \"client_secret\": \"…\"}', or pass a \
         personal access token with --header 'Authorization: Bearer …'",
    ),
};

/// Slack. Its metadata names another issuer than the one that leads to it, and there is no
/// registration (<https://github.com/slackapi/slack-skills-plugin/issues/7>); the redirect address
/// must be one of the app's own (<https://github.com/openai/codex/issues/13200>).
const SLACK: Quirks = Quirks {
    pkce_unadvertised: false,
    refresh_needs_scope: false,
    hint: Some(
        "Slack registers no clients by itself and takes only the redirect addresses of the app: \
         create one, pass --static-oauth-client-info '{\"client_id\": \"…\"}', and make the \
         address match with --host, --callback-path and the port after the URL; if the issuer is \
         the trouble, accept it with --expect-issuer URL",
    ),
};

/// Okta. Registration is for administrators
/// (<https://github.com/modelcontextprotocol/modelcontextprotocol/issues/695>).
const OKTA: Quirks = Quirks {
    pkce_unadvertised: false,
    refresh_needs_scope: false,
    hint: Some(
        "Okta registers clients for administrators only: let one create a native app and pass \
         --static-oauth-client-info '{\"client_id\": \"…\"}'",
    ),
};

/// Nothing special.
const NONE: Quirks = Quirks {
    pkce_unadvertised: false,
    refresh_needs_scope: false,
    hint: None,
};

/// Hosts of issuers; one that starts with a dot stands for everything below it. Entra's clouds:
/// <https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud>.
const HOSTS: [(&str, Quirks); 16] = [
    ("login.microsoftonline.com", ENTRA),
    ("login.microsoftonline.us", ENTRA),
    ("login.partner.microsoftonline.cn", ENTRA),
    ("login.chinacloudapi.cn", ENTRA),
    ("sts.windows.net", ENTRA),
    ("accounts.google.com", GOOGLE),
    (".auth0.com", AUTH0),
    ("auth.atlassian.com", ATLASSIAN),
    ("mcp.atlassian.com", ATLASSIAN),
    (".mcp.atlassian.com", ATLASSIAN),
    ("github.com", GITHUB),
    ("slack.com", SLACK),
    (".slack.com", SLACK),
    (".okta.com", OKTA),
    (".oktapreview.com", OKTA),
    (".okta-emea.com", OKTA),
];

/// The row for an issuer; nothing special where there is none.
#[must_use]
pub fn of(issuer: &str) -> Quirks {
    let Ok(issuer) = Url::parse(issuer) else {
        return NONE;
    };
    let host = match issuer.host_str() {
        Some(host) if issuer.scheme() == "https" => host,
        _ => return NONE,
    };
    if is_cognito(host) {
        return COGNITO;
    }
    HOSTS
        .iter()
        .find(|(name, _)| match name.strip_prefix('.') {
            Some(_) => host.ends_with(name),
            None => host == *name,
        })
        .map_or(NONE, |(_, quirks)| *quirks)
}

/// `cognito-idp.REGION.amazonaws.com`.
fn is_cognito(host: &str) -> bool {
    host.strip_prefix("cognito-idp.")
        .and_then(|rest| rest.strip_suffix(".amazonaws.com"))
        .is_some_and(|region| !region.is_empty() && !region.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "https://login.microsoftonline.com/8f4e/v2.0";
    const POOL: &str = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_x";

    #[test]
    fn h01_h21_pkce_is_known_to_work_at_entra_and_cognito() {
        for issuer in [
            TENANT,
            "https://login.microsoftonline.us/8f4e/v2.0",
            "https://sts.windows.net/8f4e/",
            POOL,
        ] {
            assert!(of(issuer).pkce_unadvertised, "{issuer}");
        }
        for issuer in ["https://accounts.google.com", "https://as.example/"] {
            assert!(!of(issuer).pkce_unadvertised, "{issuer}");
        }
    }

    #[test]
    fn h04_entra_alone_wants_the_scope_again() {
        assert!(of(TENANT).refresh_needs_scope);
        let others = HOSTS.iter().filter(|(_, quirks)| *quirks != ENTRA);
        assert!(others.into_iter().all(|(_, it)| !it.refresh_needs_scope));
        assert!(!of(POOL).refresh_needs_scope);
    }

    #[test]
    fn h05_h11_h14_h15_h19_h22_h23_h25_h27_every_hint_carries_the_flags_that_help() {
        let cases: [(&str, &[&str]); 12] = [
            (
                TENANT,
                &[
                    "AADSTS9010010",
                    "--disable-resource-parameter",
                    "--resource",
                ],
            ),
            (TENANT, &["--static-oauth-client-info"]),
            (
                "https://accounts.google.com/",
                &["--authorize-param access_type=offline"],
            ),
            (
                "https://accounts.google.com",
                &["prompt=consent", "client_secret"],
            ),
            ("https://t.eu.auth0.com/", &["--authorize-param audience="]),
            (POOL, &["--static-oauth-client-info", "http://localhost"]),
            (POOL, &["--use-id-token"]),
            ("https://auth.atlassian.com/abc", &["--expect-issuer"]),
            ("https://cf.mcp.atlassian.com", &["--expect-issuer"]),
            (
                "https://github.com/login/oauth",
                &["--static-oauth-client-info", "--header"],
            ),
            (
                "https://mcp.slack.com",
                &["--expect-issuer", "--callback-path", "--host"],
            ),
            (
                "https://t.okta.com/oauth2/default",
                &["--static-oauth-client-info"],
            ),
        ];
        for (issuer, flags) in cases {
            let hint = of(issuer).hint.unwrap_or_default();
            for flag in flags {
                assert!(hint.contains(flag), "{issuer}: {hint}");
            }
        }
    }

    #[test]
    fn a_host_that_only_looks_like_one_of_them_is_none_of_them() {
        for issuer in [
            "https://login.microsoftonline.com.evil.example/8f4e/v2.0",
            "https://evil.example/login.microsoftonline.com",
            "https://login.microsoftonline.com@evil.example/",
            "https://evilgithub.com/",
            "https://evilauth0.com/",
            "https://cognito-idp.evil.example.amazonaws.com/",
            "https://cognito-idp..amazonaws.com/",
            "http://login.microsoftonline.com/8f4e/v2.0",
            "login.microsoftonline.com",
            "",
        ] {
            assert_eq!(of(issuer), NONE, "{issuer}");
        }
    }
}
