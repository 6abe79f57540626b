//! The address of the sign-in page, the resource, and what may be opened.

use std::time::SystemTime;

use super::super::client::{ClientAuth, Provenance, Registered};
use super::*;

fn settings(server: &str) -> Settings {
    Settings::stored(Url::parse(server).unwrap().into(), "key")
}

fn pending(endpoint: &str) -> Pending {
    Pending {
        state: "st-1".into(),
        verifier: "verifier-canary".into(),
        server: ServerMetadata {
            issuer: "https://as.example".into(),
            authorization_endpoint: Some(Url::parse(endpoint).unwrap()),
            ..ServerMetadata::default()
        },
        client: Client {
            id: "c 1".into(),
            auth: ClientAuth::None,
            provenance: Provenance::Registered,
            redirect_uris: Vec::new(),
            issuer: None,
            scope: None,
            secret_expires_at: None,
            registered: Registered::default(),
        },
        redirect_uri: "http://localhost:3334/oauth/callback".into(),
        resource: Some("https://mcp.example/mcp".into()),
        scope: Some("read write".into()),
        since: SystemTime::UNIX_EPOCH,
    }
}

fn built(params: &[(&str, &str)], pending: &Pending) -> Result<String, Failure> {
    let mut settings = settings("https://mcp.example/mcp");
    settings.authorize_params = params
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    url(&settings, pending, "challenge").map(String::from)
}

#[test]
fn c01_c04_c06_c15_the_request_holds_each_parameter_once_in_order() {
    let address = built(&[], &pending("https://as.example/authorize")).unwrap();
    assert_eq!(
        address,
        "https://as.example/authorize?response_type=code&client_id=c%201\
         &code_challenge=challenge&code_challenge_method=S256\
         &redirect_uri=http%3A%2F%2Flocalhost%3A3334%2Foauth%2Fcallback&state=st-1\
         &scope=read%20write&resource=https%3A%2F%2Fmcp.example%2Fmcp"
    );
    assert!(!address.contains("verifier-canary"));
}

#[test]
fn c06_c10_c13_what_nobody_wants_is_left_out() {
    let mut pending = pending("https://as.example/authorize");
    pending.resource = None;
    pending.scope = None;
    let address = built(&[], &pending).unwrap();
    for absent in ["resource=", "scope=", "prompt=", "response_mode="] {
        assert!(!address.contains(absent), "{absent} in {address}");
    }
}

#[test]
fn c13_c14_the_users_parameters_come_last_and_win() {
    let pending = pending("https://as.example/authorize");
    let params = [
        ("prompt", "login"),
        ("access_type", "offline"),
        ("scope", "a+b c"),
        ("prompt", "consent"),
        ("resource", "urn:x"),
    ];
    let address = built(&params, &pending).unwrap();
    assert!(
        address.ends_with(
            "&state=st-1&access_type=offline&scope=a%2Bb%20c&prompt=consent&resource=urn%3Ax"
        ),
        "{address}"
    );
    for once in ["scope=", "prompt=", "resource="] {
        assert_eq!(address.matches(once).count(), 1, "{once} in {address}");
    }
}

#[test]
fn c14_parameters_that_the_sign_in_needs_are_refused_in_any_case() {
    for key in OURS {
        assert!(refused_param(key), "{key}");
        assert!(refused_param(&key.to_ascii_uppercase()), "{key}");
        assert!(refused_param(&key.replacen('e', "E", 1)), "{key}");
    }
    for key in [
        "prompt",
        "audience",
        "access_type",
        "resource",
        "scope",
        "",
        "stat",
    ] {
        assert!(!refused_param(key), "{key}");
    }
}

#[test]
fn c15_the_endpoints_own_query_stays() {
    let address = built(
        &[],
        &pending("https://as.example/a%2Fb?tenant=a+b&p=%5B1%5D"),
    )
    .unwrap();
    assert!(
        address.starts_with("https://as.example/a%2Fb?tenant=a+b&p=%5B1%5D&response_type=code&"),
        "{address}"
    );
    let address = built(&[], &pending("https://as.example/a?")).unwrap();
    assert!(
        address.starts_with("https://as.example/a?response_type=code&"),
        "{address}"
    );
}

#[test]
fn c15_an_endpoint_that_sets_our_parameters_is_refused() {
    for query in [
        "client_id=evil",
        "tenant=a&state=x",
        "Redirect_URI=https://evil.example",
        "scope=all",
        "resource=x",
        "response_mode=form_post",
        "request_uri=x",
        "%63lient_id=evil",
    ] {
        let endpoint = format!("https://as.example/authorize?{query}");
        let refusal = built(&[], &pending(&endpoint)).unwrap_err();
        assert_eq!(refusal.kind, Kind::MetadataInvalid, "{query}");
    }
    let endpoint = "https://as.example/authorize?prompt=none";
    let refusal = built(&[("prompt", "consent")], &pending(endpoint)).unwrap_err();
    assert!(
        refusal.text.contains("--authorize-param prompt"),
        "{}",
        refusal.text
    );
}

#[test]
fn c15_a_long_address_and_a_missing_endpoint_are_refused() {
    let mut long = pending("https://as.example/authorize");
    long.scope = Some("s".repeat(limits::AUTHORIZATION_URL));
    assert_eq!(built(&[], &long).unwrap_err().kind, Kind::LimitExceeded);
    let mut missing = pending("https://as.example/authorize");
    missing.server.authorization_endpoint = None;
    assert_eq!(
        built(&[], &missing).unwrap_err().kind,
        Kind::MetadataInvalid
    );
}

#[test]
fn c07_c08_the_resource() {
    let server = |server: &str| resource(&settings(server), None).unwrap();
    for (address, expected) in [
        ("https://mcp.example", "https://mcp.example"),
        ("https://mcp.example/", "https://mcp.example"),
        ("HTTPS://MCP.Example/MCP", "https://mcp.example/MCP"),
        ("https://mcp.example/mcp", "https://mcp.example/mcp"),
        ("https://mcp.example/mcp/", "https://mcp.example/mcp/"),
        ("https://mcp.example:443/mcp", "https://mcp.example/mcp"),
        ("https://mcp.example:443/", "https://mcp.example"),
        (
            "https://mcp.example:8443/mcp",
            "https://mcp.example:8443/mcp",
        ),
        ("https://mcp.example:8443", "https://mcp.example:8443"),
        ("http://localhost:80/mcp", "http://localhost/mcp"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://[::1]:3000/", "http://[::1]:3000"),
        ("https://user:pw@mcp.example/mcp", "https://mcp.example/mcp"),
        ("https://mcp.example/mcp#top", "https://mcp.example/mcp"),
        ("https://mcp.example/mcp?key=1", "https://mcp.example/mcp"),
        ("https://mcp.example?key=1", "https://mcp.example"),
        ("https://mcp.example/?key=1#x", "https://mcp.example"),
        ("https://mcp.example/a%2Fb", "https://mcp.example/a%2Fb"),
        ("https://mcp.example/a%20b/", "https://mcp.example/a%20b/"),
        ("https://mcp.example//", "https://mcp.example//"),
    ] {
        assert_eq!(server(address), expected, "{address}");
    }
    let mut settings = settings("https://mcp.example/mcp");
    let metadata = Some("https://MCP.example:443/");
    assert_eq!(resource(&settings, metadata).as_deref(), metadata);
    settings.resource = Resource::Fixed("api://x".into());
    assert_eq!(resource(&settings, metadata).as_deref(), Some("api://x"));
    settings.resource = Resource::Off;
    assert_eq!(resource(&settings, metadata), None);
}

#[test]
fn c16_g07_only_plain_web_addresses_are_opened() {
    for address in [
        "https://as.example/authorize?a=b&c=d",
        "https://as.example:8443/a;v=1/b~c?x=%20%2B",
        "https://xn--bcher-kva.example/",
        "http://localhost:3000/authorize",
        "http://127.0.0.1/authorize",
        "http://[::1]:9/authorize",
    ] {
        assert_eq!(openable(address), Ok(()), "{address}");
    }
    let long = format!("https://as.example/{}", "a".repeat(100_000));
    for address in [
        "",
        "-flag",
        "--app=https://as.example",
        "https:",
        "https://",
        "as.example/authorize",
        "//as.example/authorize",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "javascript://as.example/%0aalert(1)",
        "data:text/html,x",
        "file:///System/Applications/Calculator.app",
        "file://host/share",
        "vbscript:x",
        "ms-msdt:/id",
        "ms-settings:",
        "mailto:a@b",
        "ftp://as.example/",
        "ssh://as.example/",
        "blob:https://as.example/x",
        "view-source:https://as.example/",
        "\\\\host\\share",
        "https:\\\\as.example\\x",
        "http://as.example/authorize",
        "http://localhost.evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://0.0.0.0/",
        "https://user@as.example/",
        "https://user:pw@as.example/",
        "https://localhost@evil.example/",
        "https://$(calc)/",
        "https://as.example/$(calc)",
        "https://as.example/`calc`",
        "https://as.example/%COMSPEC%",
        "https://as.example/%0a",
        "https://as.example/?x=%0D%0Ay",
        "https://as.example/%00",
        "https://as.example/%1b[31m",
        "https://as.example/%7F",
        "https://as.example/%",
        "https://as.example/%2",
        "https://as.example/a b",
        "https://as.example/a\nb",
        "https://as.example/a\tb",
        " https://as.example/",
        "https://as.example/\"x",
        "https://as.example/'x",
        "https://as.example/a|b",
        "https://as.example/a^b",
        "https://as.example/a<b",
        "https://as.example/\u{202e}x",
        "https://as.example/\u{1b}]8;;x\u{7}",
        "https://\u{e4}.example/",
        "https://-as.example/",
        &long,
    ] {
        let refusal = openable(address).unwrap_err();
        assert_eq!(refusal.kind, Kind::InsecureUrl, "{address}");
        assert!(!refusal.text.chars().any(char::is_control), "{address:?}");
        assert!(!refusal.text.contains('\u{202e}') && refusal.text.len() < 500);
    }
}

#[test]
fn c16_a_refusal_shows_no_secret() {
    for address in [
        "ftp://as.example/x?state=canary",
        "https://me:canary@as.example/x",
        "https://as.example/\u{1b}?state=canary",
    ] {
        let refusal = openable(address).unwrap_err();
        assert!(!refusal.text.contains("canary"), "{}", refusal.text);
    }
}

#[test]
fn c16_plain_http_goes_to_the_users_own_server_alone() {
    let plain = Url::parse("http://mcp.lan:8000/mcp").unwrap();
    assert_eq!(
        openable_for("http://mcp.lan:8000/authorize?a=b", &plain),
        Ok(())
    );
    for address in [
        "http://mcp.lan/authorize",
        "http://mcp.lan:8001/authorize",
        "http://as.lan:8000/authorize",
    ] {
        assert!(openable_for(address, &plain).is_err(), "{address}");
    }
    let safe = Url::parse("https://mcp.lan:8000/mcp").unwrap();
    assert!(openable_for("http://mcp.lan:8000/authorize", &safe).is_err());
}

#[test]
fn c16_c17_what_a_launcher_could_stumble_over_is_escaped() {
    let endpoint = "https://as.example/$(calc)/it's|a^b?filter=$x'(1)!";
    let address = built(&[("claims", "{\"a\":`b`\\}")], &pending(endpoint)).unwrap();
    assert!(
        address.starts_with(
            "https://as.example/%24%28calc%29/it%27s%7Ca%5Eb?filter=%24x%27%281%29%21&response_type"
        ),
        "{address}"
    );
    assert!(
        address.ends_with("&claims=%7B%22a%22%3A%60b%60%5C%7D"),
        "{address}"
    );
    let refusal = built(&[], &pending("https://$(calc)/authorize")).unwrap_err();
    assert_eq!(refusal.kind, Kind::InsecureUrl);
    let refusal = built(&[], &pending("https://as.example/%COMSPEC%")).unwrap_err();
    assert_eq!(refusal.kind, Kind::InsecureUrl);
}
