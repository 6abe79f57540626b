use super::*;

/// Built at run time, so that no scanner takes the tests for leaked secrets.
fn token(start: &str) -> String {
    format!("{start}{}", "a1B2c3D4e5F6g7H8")
}

#[test]
fn harmless_options_pass() {
    for (name, value) in [
        ("header", "Authorization: Bearer ${TOKEN}"),
        ("header", "Authorization:${AUTH_HEADER}"),
        ("header", "X-Api-Key: ${KEY}"),
        ("header", "Authorization: Token token=\"${KEY}\""),
        ("header", "Authorization: Basic ${USER}:${PASSWORD}"),
        ("header", "Accept-Language: en-US,en;q=0.9"),
        ("header", "User-Agent: Mozilla/5.0 (X11; Linux x86_64)"),
        ("header", "X-MCP-Toolsets: repos,issues,pull_requests"),
        ("header", "X-Region: eu-west-1"),
        ("header", "X-Version: 2025-11-25"),
        ("header", "X-Empty:"),
        ("header", "no colon, so it is refused elsewhere"),
        (
            "header-command",
            "Authorization: gcloud auth print-access-token",
        ),
        ("static-oauth-client-info", "@/home/me/client.json"),
        ("static-oauth-client-info", "${CLIENT}"),
        (
            "static-oauth-client-info",
            r#"{"client_id": "a1b2c3d4e5f6a1b2c3d4e5f6.apps"}"#,
        ),
        (
            "static-oauth-client-info",
            r#"{"client_id": "x", "client_secret": "${S}"}"#,
        ),
        (
            "static-oauth-client-info",
            r#"{"client_id": "x", "client_secret": ${S}}"#,
        ),
        (
            "static-oauth-client-info",
            r#"{"client_id": "x", "private_key_pem": "@key.pem"}"#,
        ),
        (
            "static-oauth-client-info",
            r#"{"client_id": "x", "token_endpoint_auth_method": "private_key_jwt"}"#,
        ),
        (
            "static-oauth-client-metadata",
            r#"{"client_name": "x", "scope": "read write"}"#,
        ),
        (
            "static-oauth-client-metadata",
            r#"{"jwks": {"keys": [{"kty": "EC", "x": "1"}]}}"#,
        ),
        (
            "enterprise-idp",
            r#"{"client_id": "x", "command": ["idp", "token"]}"#,
        ),
        ("workload-jwt", "@/var/run/token"),
        ("workload-jwt", r#"["print-jwt", "--audience", "x"]"#),
        ("proxy", "http://proxy.example:8080"),
        ("proxy", "none"),
        ("authorize-param", "access_type=offline"),
        ("resource", "https://api.example.com/mcp?tenant=7"),
        ("transport", "sse-only"),
        ("header-file", "/home/me/a1b2c3d4e5f6a1b2c3d4e5f6/headers"),
    ] {
        assert_eq!(in_option(name, value), None, "--{name} {value}");
    }
}

#[test]
fn secrets_are_found_and_never_quoted() {
    let secret = token("");
    let known = token("ghp_");
    for (name, value) in [
        ("header", format!("Authorization: Bearer {secret}")),
        ("header", "Authorization: hunter2".to_owned()),
        ("header", format!("X-Custom: {known}")),
        ("header", format!("X-Custom: {secret}{secret}")),
        ("header", "X-Custom: Bearer short".to_owned()),
        (
            "header",
            "X-Tenant: 123e4567-e89b-12d3-a456-426614174000".to_owned(),
        ),
        ("header", "Cookie: theme=dark".to_owned()),
        ("header", format!("Authorization: Bearer ${{A}}{secret}")),
        ("header", format!("{known}: x-{secret}-{secret}")),
        ("header-command", format!("X-Key: echo {secret}{secret}")),
        (
            "static-oauth-client-info",
            format!(r#"{{"client_id":"x","client_secret":"{secret}"}}"#),
        ),
        (
            "static-oauth-client-info",
            r#"{"client_secret":"-----BEGIN X"}"#.to_owned(),
        ),
        (
            "static-oauth-client-info",
            format!(r#"{{"client_id": ${{ID}}, "client_secret":"{secret}"}}"#),
        ),
        (
            "static-oauth-client-metadata",
            r#"{"jwks":{"keys":[{"kty":"EC","d":"hunter2"}]}}"#.to_owned(),
        ),
        (
            "static-oauth-client-metadata",
            format!(r#"{{"software_statement":"{secret}"}}"#),
        ),
        (
            "enterprise-idp",
            format!(r#"{{"client_id":"x","id_token":"{}"}}"#, token("eyJ")),
        ),
        (
            "enterprise-idp",
            format!(r#"{{"command":["curl","{secret}{secret}"]}}"#),
        ),
        ("workload-jwt", format!(r#"["echo","{}"]"#, token("eyJ"))),
        ("proxy", format!("http://me:{secret}@proxy.example:8080")),
        (
            "token-endpoint",
            format!("https://as.example/token?client_secret={secret}"),
        ),
        ("authorize-param", "login_token=hunter2".to_owned()),
        ("profile", known.clone()),
    ] {
        let found = in_option(name, &value).unwrap_or_else(|| panic!("--{name} {value}"));
        assert!(found.what.contains(&format!("--{name}")), "{found:?}");
        for quoted in [secret.as_str(), "hunter2", "BEGIN", "theme", "short"] {
            let text = format!("{found:?}");
            assert!(!text.contains(quoted), "{text} quotes {quoted}");
        }
        assert!(!format!("{found:?}").contains(&known), "{found:?}");
    }
}

#[test]
fn the_way_out_can_be_pasted() {
    let found = in_option("header", "Authorization: Bearer hunter2").unwrap();
    assert!(
        found
            .way_out
            .contains("--header 'Authorization: Bearer ${TOKEN}'"),
        "{found:?}"
    );
    let found = in_option("header", "X-Api-Key: hunter2").unwrap();
    assert!(
        found.way_out.contains("--header 'X-Api-Key: ${X_API_KEY}'"),
        "{found:?}"
    );
    assert!(found.way_out.contains("--header-file FILE"), "{found:?}");
    let found = in_option("static-oauth-client-info", r#"{"client_secret":"hunter2"}"#).unwrap();
    assert!(
        found.way_out.contains("--static-oauth-client-info @FILE"),
        "{found:?}"
    );
    assert!(
        found
            .way_out
            .contains("\"client_secret\": \"${CLIENT_SECRET}\""),
        "{found:?}"
    );
    // What the way out says is taken.
    assert_eq!(in_option("header", "X-Api-Key: ${X_API_KEY}"), None);
}

#[test]
fn addresses_are_judged_by_user_and_query() {
    for url in [
        "https://mcp.example.com/mcp",
        "https://mcp.example.com/mcp?tenant=acme&debug=true",
        "https://mcp.example.com/mcp?api_key=",
        "http://localhost:3000/",
        "not an address",
    ] {
        assert_eq!(in_url(url), None, "{url}");
    }
    for url in [
        "https://me@mcp.example.com/",
        "https://me:hunter2@mcp.example.com/",
        "https://mcp.example.com/?exaApiKey=hunter2",
        "https://mcp.example.com/?access_token=hunter2",
        "https://mcp.example.com/?sig=hunter2",
        "https://mcp.example.com/?a=b3c4d5e6f7a8b9c0d1e2f3hunter2",
        "https://mcp.example.com/?b3c4d5e6f7a8b9c0d1e2f3hunter2",
        "https://mcp.example.com/#b3c4d5e6f7a8b9c0d1e2f3hunter2",
    ] {
        let found = in_url(url).unwrap_or_else(|| panic!("{url}"));
        assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
    }
    let options = [("transport", "sse-only"), ("header", "X-Key: hunter2")];
    let found = find("https://example.com/", options).unwrap();
    assert!(found.what.contains("X-Key"), "{found:?}");
    assert_eq!(find("https://example.com/", [("debug", "")]), None);
}

#[test]
fn variables_are_named() {
    let names = |text| variables(text).collect::<Vec<_>>();
    assert_eq!(names("Bearer ${A} ${B}"), ["A", "B"]);
    assert_eq!(names("$A ${} ${C"), Vec::<&str>::new());
}

#[test]
fn of_foreign_arguments_only_the_harmless_are_shown() {
    let secret = token("");
    let args: Vec<String> = [
        "-y".to_owned(),
        "mcp-remote@latest".to_owned(),
        "https://example.com/mcp?key=1".to_owned(),
        "3334".to_owned(),
        "--header".to_owned(),
        format!("X-Api-Key: {secret}"),
        "--header".to_owned(),
        "Authorization: Bearer ${TOKEN}".to_owned(),
        format!("--resource=https://me:{secret}@example.com/"),
        "--transport".to_owned(),
        "http-only".to_owned(),
        "--unknown".to_owned(),
        format!("{secret}{secret}"),
        format!("{secret}-{secret}"),
        token("sk-"),
    ]
    .into();
    let forms = shown(&args);
    let form = |arg: &str| {
        let mut forms = forms.iter();
        forms.find_map(|(known, form)| (known == arg).then(|| form.clone()))
    };
    for arg in [
        "-y",
        "mcp-remote@latest",
        "3334",
        "--header",
        "http-only",
        "--unknown",
    ] {
        assert_eq!(form(arg).as_deref(), Some(arg));
    }
    assert_eq!(form(&args[2]).as_deref(), Some("https://example.com/mcp?…"));
    assert_eq!(form(&args[5]).as_deref(), Some("X-Api-Key: …"));
    assert_eq!(form(&args[7]).as_deref(), Some(args[7].as_str()));
    for at in [8, 12, 13, 14] {
        assert_eq!(form(&args[at]), None, "{}", args[at]);
    }
    assert!(!forms.iter().any(|(_, form)| form.contains(&secret)));
}
